/** What the replies behind a 421 are worth: by themselves, and of all messages on their way. */
import { describe, expect, it } from "@effect/vitest"
import type { Command } from "../../src/protocol/Command.js"
import * as Commands from "../../src/protocol/Command.js"
import type { Pending } from "../../src/protocol/Goodbye.js"
import { readPast } from "../../src/protocol/Goodbye.js"
import { make as makeReply } from "../../src/protocol/Reply.js"

type Envelope = NonNullable<Pending["envelope"]>

const pendingOf = (lines: string, accepted = 0): ReadonlyArray<Pending> => {
  let envelope: Envelope | undefined =
    accepted > 0 ? { sender: "Accepted", accepted } : { sender: "Pending", accepted: 0 }
  const commands: Readonly<Record<string, Command>> = {
    MAIL: Commands.mail("MAIL FROM:<>"),
    RCPT: Commands.rcpt("RCPT TO:<b@y.test>"),
    DATA: Commands.data,
    dot: Commands.final,
    LAST: Commands.bdat([], true),
    BDAT: Commands.bdat([new Uint8Array(1)], false),
    RSET: Commands.rset
  }
  return lines.split(" ").map((line) => {
    const command = commands[line]
    if (command === undefined) throw new Error(`no such command: ${line}`)
    if (line === "MAIL") envelope = { sender: "Pending", accepted: 0 }
    if (line === "RSET") envelope = undefined
    return { command, envelope, replies: 0 }
  })
}

/** The codes that count, in the order of the commands; "Unknown" if none does. */
const told = (
  lines: string,
  codes: string,
  end: "open" | "closed",
  accepted = 0,
  dialect: "smtp" | "lmtp" = "smtp"
) => {
  const replies = codes.split(" ").filter(Boolean)
  const goodbye = makeReply(421, ["4.3.2 closing"])
  const answers = readPast(
    pendingOf(lines, accepted),
    goodbye,
    replies.map((code) => makeReply(Number(code), [""])),
    dialect,
    end === "open"
  )
  return answers.length === 0 ? "Unknown" : answers.map(({ reply }) => reply.code).join(" ")
}

describe("replies behind a 421", () => {
  it.each([
    // Exim: an ACL defers MAIL by 421 and the session goes on.
    ["MAIL RCPT LAST RSET MAIL RCPT LAST", "503 503 250 250 250 250", "open", "421 503 503 250 250 250 250"],
    [
      "MAIL RCPT LAST RSET MAIL RCPT LAST",
      "503 503 250 250 250 250",
      "closed",
      "421 503 503 250 250 250 250"
    ],
    // The same for one of two recipients.
    ["RCPT RCPT LAST", "250 250", "open", "421 250 250"],
    // The server has hung up: it may have left out the last reply, and said 421 in addition.
    ["RCPT RCPT LAST", "250 250", "closed", "Unknown"],
    // One reply more than there are commands: the 421 came in addition.
    ["RCPT RCPT LAST", "250 250 250", "open", "Unknown"],
    ["dot", "250", "open", "Unknown"],
    ["dot", "250", "closed", "Unknown"],
    ["dot", "", "closed", "421"],
    ["dot", "", "open", "421"],
    // Replies are missing: only the 421 to the content is certain.
    ["dot MAIL RCPT DATA", "", "closed", "421"],
    ["dot MAIL RCPT DATA", "250 250 354", "open", "421 250 250 354"],
    ["dot MAIL RCPT DATA", "250 250 354", "closed", "421 250 250 354"],
    ["dot MAIL RCPT DATA", "250 250 250 354", "open", "Unknown"],
    ["dot MAIL RCPT DATA", "250 250", "closed", "Unknown"],
    ["MAIL RCPT LAST RSET MAIL RCPT LAST", "503 503 250", "closed", "Unknown"],
    ["MAIL RCPT LAST", "", "closed", "Unknown"],
    // No server that obeys the protocol says this.
    ["MAIL RCPT LAST", "250 250", "open", "Unknown"],
    ["RCPT LAST", "250", "open", "421 250"],
    ["RCPT DATA", "250", "open", "Unknown"],
    ["RCPT BDAT LAST", "250 250", "open", "421 250 250"],
    ["MAIL RCPT RSET MAIL RCPT LAST", "250 250 250 250 250", "open", "Unknown"],
    ["MAIL RCPT RSET MAIL RCPT LAST", "503 250 250 250 250", "open", "421 503 250 250 250 250"],
    ["MAIL RCPT LAST RSET MAIL RCPT LAST", "503 503 503 250 250 250", "open", "Unknown"]
  ] as const)("%s: 421 %s, then the connection is %s: %s", (lines, codes, end, expected) => {
    // Where the envelope has begun before, a recipient has been accepted.
    expect(told(lines, codes, end, lines.startsWith("MAIL") ? 0 : 1)).toBe(expected)
  })

  it("RCPT refused by 421 and nobody else accepted: no acceptance of the content counts", () => {
    expect(told("RCPT LAST", "250", "open", 0)).toBe("Unknown")
    expect(told("RCPT BDAT LAST", "250 554", "open", 0)).toBe("Unknown")
    expect(told("RCPT BDAT LAST", "554 554", "open", 0)).toBe("421 554 554")
  })

  it("MAIL refused before it: no acceptance of a recipient counts", () => {
    const envelope = { sender: "Refused", accepted: 0 } as const
    const command = Commands.rcpt("RCPT TO:<b@y.test>")
    const pending = [1, 2].map(() => ({ command, envelope, replies: 0 }))
    const answers = (code: number) =>
      readPast(pending, makeReply(421, [""]), [makeReply(code, [""])], "smtp", true).length
    expect([answers(250), answers(503)]).toEqual([0, 2])
  })

  it("LMTP has one reply to the content for each recipient", () => {
    expect(told("dot", "250", "open", 2, "lmtp")).toBe("421 250")
    const answers = readPast(
      pendingOf("dot RSET", 2),
      makeReply(421, [""]),
      [makeReply(250, [""]), makeReply(250, [""])],
      "lmtp",
      true
    )
    expect(answers.map(({ more, pending }) => [pending.command.kind, more])).toEqual([
      ["Final", true],
      ["Final", false],
      ["Rset", false]
    ])
    expect(told("dot", "250", "closed", 2, "lmtp")).toBe("Unknown")
    expect(told("dot", "", "closed", 2, "lmtp")).toBe("421")
    expect(told("dot", "250 250", "open", 2, "lmtp")).toBe("Unknown")
  })
})
