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

/** The codes that count, in the order of the commands; "Unknown" if none does. A reply with `id` names a message. */
const told = (lines: string, codes: string, accepted = 0, dialect: "smtp" | "lmtp" = "smtp") => {
  const replies = codes.split(" ").filter(Boolean)
  const goodbye = makeReply(421, ["4.3.2 closing"])
  const answers = readPast(
    pendingOf(lines, accepted),
    goodbye,
    replies.map((code) => makeReply(Number.parseInt(code), [code.endsWith("id") ? "OK id=1abc-2D" : "ok"])),
    dialect
  )
  return answers.length === 0 ? "Unknown" : answers.map(({ reply }) => reply.code).join(" ")
}

describe("replies behind a 421", () => {
  it.each([
    // Exim: an ACL defers MAIL by 421 and the session goes on.
    ["MAIL RCPT LAST RSET MAIL RCPT LAST", "503 503 250 250 250 250", "421 503 503 250 250 250 250"],
    // The same for one of two recipients: the verdict names the message, as no other reply does.
    ["RCPT RCPT LAST", "250 250id", "421 250 250"],
    // The 421 may have come in addition, and the verdict be late.
    ["RCPT RCPT LAST", "250 250", "Unknown"],
    ["LAST RSET MAIL RCPT LAST", "250id 250 250 250", "Unknown"],
    ["LAST RSET MAIL RCPT LAST", "250 250 250 250id", "421 250 250 250 250"],
    // One reply more than there are commands: the 421 came in addition.
    ["RCPT RCPT LAST", "250 250 250id", "Unknown"],
    ["dot", "250", "Unknown"],
    ["dot", "250id", "Unknown"],
    ["dot", "", "421"],
    // Replies are missing: only the 421 to the content is certain.
    ["dot MAIL RCPT DATA", "", "421"],
    ["dot MAIL RCPT DATA", "250 250 354", "421 250 250 354"],
    ["dot MAIL RCPT DATA", "250 250 250 354", "Unknown"],
    ["dot MAIL RCPT DATA", "250 250", "Unknown"],
    ["MAIL RCPT LAST RSET MAIL RCPT LAST", "503 503 250", "Unknown"],
    ["MAIL RCPT LAST", "", "Unknown"],
    // No server that obeys the protocol says this.
    ["MAIL RCPT LAST", "250 250", "Unknown"],
    ["RCPT LAST", "250id", "421 250"],
    ["RCPT LAST", "250", "Unknown"],
    ["RCPT DATA", "250", "Unknown"],
    ["RCPT BDAT LAST", "250 250id", "421 250 250"],
    ["RCPT BDAT LAST", "250id 250", "Unknown"],
    ["MAIL RCPT RSET MAIL RCPT LAST", "250 250 250 250 250id", "Unknown"],
    ["MAIL RCPT RSET MAIL RCPT LAST", "503 250 250 250 250id", "421 503 250 250 250 250"],
    ["MAIL RCPT LAST RSET MAIL RCPT LAST", "503 503 503 250 250 250", "Unknown"]
  ] as const)("%s: 421 %s: %s", (lines, codes, expected) => {
    // Where the envelope has begun before, a recipient has been accepted.
    expect(told(lines, codes, lines.startsWith("MAIL") ? 0 : 1)).toBe(expected)
  })

  it("RCPT refused by 421 and nobody else accepted: no acceptance of the content counts", () => {
    expect(told("RCPT LAST", "250id")).toBe("Unknown")
    expect(told("RCPT BDAT LAST", "250 554")).toBe("Unknown")
    expect(told("RCPT BDAT LAST", "554 554")).toBe("421 554 554")
  })

  it("MAIL refused before it: no acceptance of a recipient counts", () => {
    const envelope = { sender: "Refused", accepted: 0 } as const
    const command = Commands.rcpt("RCPT TO:<b@y.test>")
    const pending = [1, 2].map(() => ({ command, envelope, replies: 0 }))
    const answers = (code: number) =>
      readPast(pending, makeReply(421, [""]), [makeReply(code, [""])], "smtp").length
    expect([answers(250), answers(503)]).toEqual([0, 2])
  })

  it("LMTP has one reply to the content for each recipient", () => {
    expect(told("dot", "250id", 2, "lmtp")).toBe("421 250")
    expect(told("dot", "250", 2, "lmtp")).toBe("Unknown")
    const answers = readPast(
      pendingOf("dot RSET", 2),
      makeReply(421, [""]),
      [makeReply(250, ["2.0.0 <b@y.test> a1 Saved"]), makeReply(250, [""])],
      "lmtp"
    )
    expect(answers.map(({ more, pending }) => [pending.command.kind, more])).toEqual([
      ["Final", true],
      ["Final", false],
      ["Rset", false]
    ])
    expect(told("dot", "", 2, "lmtp")).toBe("421")
    expect(told("dot", "250id 250id", 2, "lmtp")).toBe("Unknown")
  })
})
