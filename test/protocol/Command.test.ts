import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import type { Kind, Meaning } from "../../src/protocol/Command.js"
import * as Command from "../../src/protocol/Command.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import { make } from "../../src/protocol/Reply.js"

const lineOf = (command: ReturnType<typeof Command.custom>): string =>
  isInvalid(command) ? `Invalid ${command.field}: it ${command.reason}` : command.line

const custom = (verb: string, argument = ""): Command.Command => {
  const command = Command.custom(verb, argument)
  if (isInvalid(command)) throw new Error(command.reason)
  return command
}

const codes = [
  199, 211, 214, 220, 221, 235, 250, 251, 252, 299, 334, 354, 399, 421, 450, 452, 500, 502, 550, 599
] as const

/** One letter for each of `codes`. */
const letters: Readonly<Record<string, Meaning>> = {
  S: "Success",
  I: "Intermediate",
  R: "Refusal",
  V: "Violation"
}

describe("what a reply means (RFC 5321 section 4.3.2)", () => {
  //                                      1 22222 2222 333 444 5555
  const completion = /*                */ "V SSSSS SSSS VVV RRR RRRR"
  const verdict = /*                   */ "V VVVVV SSSS VVV RRR RRRR"
  const table: Readonly<Record<Kind, string>> = {
    Greeting: /* RFC 5321 section 3.1 */ "R RRSRR RRRR RRR RRR RRRR",
    Ehlo: completion,
    Helo: completion,
    StartTls: /* RFC 3207 section 4 */ "V VVSVV VVVV VVV RRR RRRR",
    Auth: /* RFC 4954 section 4 */ "V SSSSS SSSS IVV RRR RRRR",
    AuthResponse: "V SSSSS SSSS IVV RRR RRRR",
    Mail: completion,
    Rcpt: completion,
    Data: "V VVVVV VVVV VSV RRR RRRR",
    Bdat: verdict,
    BdatLast: verdict,
    Final: verdict,
    Rset: completion,
    Noop: completion,
    Vrfy: completion,
    Expn: completion,
    Help: completion,
    Quit: completion,
    Other: completion
  }
  const kinds = [
    "Greeting",
    "Ehlo",
    "Helo",
    "StartTls",
    "Auth",
    "AuthResponse",
    "Mail",
    "Rcpt",
    "Data",
    "Bdat",
    "BdatLast",
    "Final",
    "Rset",
    "Noop",
    "Vrfy",
    "Expn",
    "Help",
    "Quit",
    "Other"
  ] as const

  it("the table has every kind", () => {
    expect([...kinds].sort()).toStrictEqual(Object.keys(table).sort())
  })

  for (const kind of kinds) {
    it(`to ${kind}`, () => {
      const expected = Array.from(table[kind].replaceAll(" ", "")).map((letter) => letters[letter])
      expect(codes.map((code) => Command.meaning(kind, make(code, [""])))).toStrictEqual(expected)
    })
  }

  it.each<readonly [number, Meaning]>([
    [199, "Violation"],
    [200, "Success"],
    [299, "Success"],
    [300, "Violation"],
    [399, "Violation"],
    [400, "Refusal"]
  ])("%i to a command is %s", (code, meaning) => {
    expect(Command.meaning("Mail", make(code, [""]))).toBe(meaning)
    expect(Command.meaning("Data", make(code, [""]))).toBe(meaning === "Success" ? "Violation" : meaning)
  })

  it("is decided by the code alone, whatever the enhanced code and the text say", () => {
    expect(Command.meaning("Rcpt", make(250, ["2.1.5 refused"]))).toBe("Success")
    expect(Command.meaning("Rcpt", make(550, ["OK"]))).toBe("Refusal")
  })

  it("to commands: any 2yz is success and any 4yz or 5yz a refusal; 1yz and 3yz never are either", () => {
    const plain = kinds.filter((kind) => table[kind] === completion)
    FastCheck.assert(
      FastCheck.property(
        FastCheck.constantFrom(...plain),
        FastCheck.integer({ min: 100, max: 599 }),
        (kind, code) => {
          const expected = code >= 400 ? "Refusal" : code >= 200 && code < 300 ? "Success" : "Violation"
          expect(Command.meaning(kind, make(code, [""]))).toBe(expected)
        }
      )
    )
  })
})

describe("the place in a group (RFC 2920 section 3.1)", () => {
  it.each([
    Command.ehlo("client.example"),
    Command.ehlo("client.example", "LHLO"),
    Command.helo("client.example"),
    Command.startTls,
    Command.auth("PLAIN"),
    Command.authResponse("AGEAYg=="),
    Command.data,
    Command.noop,
    Command.vrfy("ann"),
    Command.expn("staff"),
    Command.help(""),
    Command.quit,
    custom("XCLIENT", "NAME=a"),
    custom("NOOP"),
    custom("EHLO", "client.example"),
    custom("quit")
  ])("$line is the last of its group", ({ place }) => {
    expect(place).toBe("Last")
  })

  it.each([
    Command.mail("MAIL FROM:<>"),
    Command.rcpt("RCPT TO:<a@example.com>"),
    Command.rset,
    Command.bdat([], false),
    Command.bdat([], true),
    custom("MAIL", "FROM:<>"),
    custom("RCPT", "TO:<a@example.com>"),
    custom("RSET")
  ])("$line stands anywhere", ({ place }) => {
    expect(place).toBe("Anywhere")
  })
})

describe("lines", () => {
  it.each([
    [Command.ehlo("client.example"), "EHLO client.example"],
    [Command.ehlo("client.example", "LHLO"), "LHLO client.example"],
    [Command.helo("client.example"), "HELO client.example"],
    [Command.startTls, "STARTTLS"],
    [Command.auth("PLAIN ="), "AUTH PLAIN ="],
    [Command.authResponse("*"), "*"],
    [Command.authResponse(""), ""],
    [Command.data, "DATA"],
    [Command.vrfy("ann"), "VRFY ann"],
    [Command.expn("staff"), "EXPN staff"],
    [Command.help(""), "HELP"],
    [Command.help("MAIL"), "HELP MAIL"]
  ])("%#", (command, line) => {
    expect(command.line).toBe(line)
  })

  it.each([
    [Command.greeting, "Greeting", "", "Last", "greeting"],
    [Command.final, "Final", "", "Anywhere", "final"],
    [Command.ehlo("c"), "Ehlo", "EHLO", "Last", "ehlo"],
    [Command.ehlo("c", "LHLO"), "Ehlo", "LHLO", "Last", "ehlo"],
    [Command.helo("c"), "Helo", "HELO", "Last", "ehlo"],
    [Command.xclient("XCLIENT NAME=a"), "Helo", "XCLIENT", "Last", "command"],
    [Command.startTls, "StartTls", "STARTTLS", "Last", "starttls"],
    [Command.auth("PLAIN"), "Auth", "AUTH", "Last", "auth"],
    [Command.authResponse("*"), "AuthResponse", "AUTH", "Last", "auth"],
    [Command.mail("MAIL FROM:<>"), "Mail", "MAIL", "Anywhere", "mail"],
    [Command.rcpt("RCPT TO:<a>"), "Rcpt", "RCPT", "Anywhere", "rcpt"],
    [Command.data, "Data", "DATA", "Last", "data"],
    [Command.bdat([], false), "Bdat", "BDAT", "Anywhere", "bdat"],
    [Command.bdat([], true), "BdatLast", "BDAT", "Anywhere", "final"],
    [Command.rset, "Rset", "RSET", "Anywhere", "rset"],
    [Command.noop, "Noop", "NOOP", "Last", "noop"],
    [Command.vrfy("a"), "Vrfy", "VRFY", "Last", "vrfy"],
    [Command.expn("a"), "Expn", "EXPN", "Last", "expn"],
    [Command.help(""), "Help", "HELP", "Last", "help"],
    [Command.quit, "Quit", "QUIT", "Last", "quit"],
    [custom("ehlo", "c"), "Ehlo", "EHLO", "Last", "ehlo"],
    [custom("lhlo", "c"), "Ehlo", "LHLO", "Last", "ehlo"],
    [custom("helo", "c"), "Helo", "HELO", "Last", "ehlo"],
    [custom("mail", "FROM:<>"), "Mail", "MAIL", "Anywhere", "mail"],
    [custom("rcpt", "TO:<a>"), "Rcpt", "RCPT", "Anywhere", "rcpt"],
    [custom("xclient", "NAME=a"), "Helo", "XCLIENT", "Last", "command"],
    [custom("rset"), "Rset", "RSET", "Anywhere", "rset"],
    [custom("quit"), "Quit", "QUIT", "Last", "quit"],
    [custom("turn"), "Other", "TURN", "Last", "command"]
  ] as const)("%# have a kind, a verb, a place and a phase", (command, kind, verb, place, phase) => {
    expect(command).toMatchObject({ kind, verb, place, phase })
  })

  it("of the greeting and of the content there are none", () => {
    expect([Command.greeting.line, Command.final.line]).toStrictEqual(["", ""])
    expect([Command.noop.line, Command.rset.line, Command.quit.line]).toStrictEqual(["NOOP", "RSET", "QUIT"])
  })

  it("without bytes behind them are kept as they are", () => {
    expect(Command.withoutOctets(Command.rset)).toBe(Command.rset)
    const chunk = Command.bdat([new Uint8Array(1)], true)
    expect(Command.withoutOctets(chunk)).toStrictEqual({ ...chunk, octets: [] })
  })

  it("only AUTH and its responses are secret", () => {
    expect(Command.auth("PLAIN").secret).toBe(true)
    expect(Command.authResponse("").secret).toBe(true)
    expect(Command.ehlo("client.example").secret).toBe(false)
    expect(Command.mail("MAIL FROM:<>").secret).toBe(false)
  })
})

describe("what is told by the kind and the code", () => {
  const content = ["Final", "BdatLast"]
  const chunks = ["Bdat", "BdatLast"]
  const commands = [
    Command.greeting,
    Command.noop,
    Command.quit,
    Command.final,
    Command.bdat([], false),
    Command.bdat([], true)
  ]
  const codes = [220, 221, 250, 421, 450, 500, 501, 502, 503]

  it.each(commands)("$kind", (command) => {
    const { kind } = command
    const holds = (test: (code: number) => boolean) => codes.filter(test)
    const of = (code: number) => make(code, [""])
    expect(Command.isEndOfContent(command)).toBe(content.includes(kind))
    expect(holds((code) => Command.isGoodbye(kind, of(code)))).toStrictEqual(
      kind === "Greeting" ? [] : kind === "Quit" ? [421] : [221, 421]
    )
    expect(holds((code) => Command.isUnknownChunk(command, of(code)))).toStrictEqual(
      chunks.includes(kind) ? [500, 502] : []
    )
    expect(holds((code) => Command.isUnknown(of(code)))).toStrictEqual([500, 502])
  })

  it("a group may end in a command that has to be the last, and not go on behind it", () => {
    const { data, noop, rset } = Command
    expect([[], [data], [rset, data], [rset, rset]].map(Command.misplaced)).toStrictEqual(
      Array.from({ length: 4 }, () => undefined)
    )
    expect(Command.misplaced([rset, noop, data])).toStrictEqual({
      _tag: "Invalid",
      field: "group",
      reason: "has NOOP before its end, where only the last command may stand"
    })
    expect(Command.misplaced([data, rset])).toMatchObject({ field: "group" })
  })
})

describe("a 334 in reply", () => {
  it("is a challenge to AUTH and its responses, and to nothing else (RFC 4954 section 4)", () => {
    expect(Command.mayBeChallenged(Command.auth("LOGIN"))).toBe(true)
    expect(Command.mayBeChallenged(Command.authResponse(""))).toBe(true)
    expect(Command.mayBeChallenged(Command.authResponse("*"))).toBe(false)
    expect(Command.mayBeChallenged(Command.noop)).toBe(false)
  })
})

describe("BDAT (RFC 3030 section 2)", () => {
  it("counts the octets at hand, over all of their parts", () => {
    const parts = [new Uint8Array(3), new Uint8Array(0), new Uint8Array(1000)]
    expect(Command.bdat(parts, false)).toMatchObject({ kind: "Bdat", line: "BDAT 1003", phase: "bdat" })
    expect(Command.bdat(parts, true)).toMatchObject({ kind: "BdatLast", line: "BDAT 1003 LAST" })
  })

  it("may be empty", () => {
    expect(Command.bdat([], true).line).toBe("BDAT 0 LAST")
  })

  it("LAST waits for the verdict on the message, as the final dot does", () => {
    expect(Command.bdat([], true).phase).toBe(Command.final.phase)
  })

  it("counts octets, not characters", () => {
    expect(Command.bdat([new TextEncoder().encode("grüße")], true).line).toBe("BDAT 7 LAST")
  })
})

describe("a command in the program's own words", () => {
  it("is sent as it was written", () => {
    expect(lineOf(Command.custom("xClient", "NAME=mail.example  ADDR=192.0.2.1"))).toBe(
      "xClient NAME=mail.example  ADDR=192.0.2.1"
    )
    expect(lineOf(Command.custom("TURN", ""))).toBe("TURN")
  })

  it.each([
    ["DATA", "data"],
    ["data", "data"],
    ["BDAT", "bdat"],
    ["StartTLS", "startTls"],
    ["AUTH", "authenticate"]
  ])("%s is refused, and the method named", (verb, method) => {
    expect(lineOf(Command.custom(verb, ""))).toBe(
      `Invalid verb: it is ${verb.toUpperCase()}, which has a method of its own: ${method}`
    )
  })

  it.each([
    ["EHLO", "Ehlo"],
    ["ehlo", "Ehlo"],
    ["LHLO", "Ehlo"],
    ["HELO", "Helo"],
    ["MAIL", "Mail"],
    ["rcpt", "Rcpt"],
    ["RSET", "Rset"],
    ["Quit", "Quit"],
    ["VRFY", "Other"],
    ["CONSTRUCTOR", "Other"]
  ])("%s means %s to the session", (verb, kind) => {
    expect(custom(verb, "x").kind).toBe(kind)
  })

  it.each(["", " ", "1X", "X Y", "X\r\nY", "X\n", "X:", "GRÜSS", "X_Y", "\u017fize", "-X"])(
    "%j is no verb",
    (verb) => {
      expect(lineOf(Command.custom(verb, ""))).toMatch(/^Invalid verb: it is not a command verb/)
    }
  )

  it.each([
    ["a\r\nQUIT", "holds a line break"],
    ["a\rb", "holds a line break"],
    ["a\nb", "holds a line break"],
    ["a\0", "holds a NUL"],
    ["\ud800", "holds half of a surrogate pair"]
  ])("the argument %j is refused", (argument, reason) => {
    expect(lineOf(Command.custom("X", argument))).toBe(`Invalid argument: it ${reason}`)
  })

  it("has 512 octets with its CRLF at most, in UTF-8 (RFC 5321 section 4.5.3.1.4)", () => {
    expect(lineOf(Command.custom("X", "a".repeat(508)))).toHaveLength(510)
    expect(lineOf(Command.custom("X", "a".repeat(509)))).toBe(
      "Invalid argument: it makes the line longer than 512 bytes"
    )
    expect(lineOf(Command.custom("X".repeat(511), ""))).toMatch(/^Invalid verb/)
    expect(lineOf(Command.custom("X", "ü".repeat(254)))).toHaveLength(256)
    expect(lineOf(Command.custom("X", "ü".repeat(255)))).toMatch(/^Invalid argument/)
  })
})

describe("text that is unsafe on a line", () => {
  it.each([
    ["\r", "holds a line break"],
    ["\n", "holds a line break"],
    ["a\0b", "holds a NUL"],
    ["\ud83d", "holds half of a surrogate pair"],
    ["\ude00", "holds half of a surrogate pair"],
    ["\ud83d\ud83d\ude00", "holds half of a surrogate pair"],
    ["\ud83d\n", "holds half of a surrogate pair"],
    ["\ud83d\ude00\ude00", "holds half of a surrogate pair"],
    ["\ud83d\ue000", "holds half of a surrogate pair"],
    ["\ud83d\udbff", "holds half of a surrogate pair"],
    ["\udc00\udc00", "holds half of a surrogate pair"],
    ["\udfff", "holds half of a surrogate pair"]
  ])("%j", (text, reason) => {
    expect(Command.unsafeText("name", text)).toStrictEqual({ _tag: "Invalid", field: "name", reason })
  })

  it.each([
    "",
    "plain",
    "\t",
    "grüße",
    "\u{1f600}",
    "\u2028",
    "\ud7ff\ue000",
    "\ud800\udc00",
    "\udbff\udfff"
  ])("%j is safe", (text) => {
    expect(Command.unsafeText("name", text)).toBeUndefined()
  })

  it("what passes is one line that survives UTF-8", () => {
    const text = FastCheck.array(
      FastCheck.oneof(FastCheck.nat({ max: 0xffff }), FastCheck.constantFrom(0, 10, 13, 0xd83d, 0xde00)),
      { maxLength: 8 }
    ).map((units) => String.fromCharCode(...units))
    FastCheck.assert(
      FastCheck.property(text, text, (before, after) => {
        for (const candidate of [before, `${before}\ud800${after}`, `${before}\n${after}`]) {
          const round = new TextDecoder("utf-8", { ignoreBOM: true }).decode(
            new TextEncoder().encode(candidate)
          )
          const safe = round === candidate && !/[\r\n\0]/.test(candidate)
          expect(Command.unsafeText("name", candidate) === undefined).toBe(safe)
        }
      })
    )
  })
})
