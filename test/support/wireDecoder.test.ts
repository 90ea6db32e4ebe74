import { describe, expect, it } from "@effect/vitest"
import type { Item, LineEnds } from "./wireDecoder.js"
import {
  decode,
  faults,
  fromLatin1,
  latin1,
  lineLimit,
  messages,
  readPath,
  readXtext,
  replyCodes
} from "./wireDecoder.js"

const described = (items: ReadonlyArray<Item>): ReadonlyArray<string> =>
  items.map((item) => {
    switch (item._tag) {
      case "Command":
        return latin1(item.line)
      case "Response":
        return `response ${latin1(item.line)}`
      case "Content":
        return `content ${latin1(item.octets)}`
      case "Chunk":
        return `${item.last ? "last chunk" : "chunk"} ${latin1(item.octets)}`
      case "Unfinished":
        return `unfinished ${item.what} ${latin1(item.octets)}`
    }
  })

const read = (text: string, codes?: ReadonlyArray<number>, lineEnds?: LineEnds): ReadonlyArray<string> =>
  described(decode(fromLatin1(text), { codes, lineEnds }))

const envelope = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n"
const evil = "MAIL FROM:<evil@z.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nsmuggled\r\n"

const contents = (text: string, lineEnds: LineEnds): ReadonlyArray<string> =>
  messages(decode(fromLatin1(text), { lineEnds })).map(({ content }) => latin1(content))

describe("the decoder of a client's octets", () => {
  it("gives each command without its CRLF", () => {
    expect(read("EHLO a\r\nnoop\r\n")).toEqual(["EHLO a", "noop"])
  })

  it("takes content behind 354 alone (RFC 5321 section 4.1.1.4)", () => {
    expect(read("DATA\r\nNOOP\r\n.\r\nQUIT\r\n", [220, 354, 250, 221])).toEqual([
      "DATA",
      "content NOOP\r\n",
      "QUIT"
    ])
    expect(read("DATA\r\nNOOP\r\nQUIT\r\n", [220, 503, 250, 221])).toEqual(["DATA", "NOOP", "QUIT"])
  })

  it("takes one dot from each line that begins with one (RFC 5321 section 4.5.2)", () => {
    expect(read("DATA\r\n..\r\n.a\r\n...\r\na.\r\n.\r\n")).toEqual(["DATA", "content .\r\na\r\n..\r\na.\r\n"])
  })

  it("takes an empty message for one", () => {
    expect(read("DATA\r\n.\r\nQUIT\r\n")).toEqual(["DATA", "content ", "QUIT"])
  })

  it("counts the octets of BDAT, whatever they look like (RFC 3030 section 2)", () => {
    expect(read("BDAT 9\r\nQUIT\r\n.\r\nBDAT 0 LAST\r\nQUIT\r\n")).toEqual([
      "BDAT 9",
      "chunk QUIT\r\n.\r\n",
      "BDAT 0 LAST",
      "last chunk ",
      "QUIT"
    ])
  })

  it("takes a line for a response as long as the server says 334 (RFC 4954 section 4)", () => {
    expect(read("AUTH LOGIN\r\nYQ==\r\nYg==\r\nQUIT\r\n", [220, 334, 334, 235, 221])).toEqual([
      "AUTH LOGIN",
      "response YQ==",
      "response Yg==",
      "QUIT"
    ])
    expect(read("AUTH PLAIN AGEAYg==\r\nQUIT\r\n", [220, 235, 221])).toEqual(["AUTH PLAIN AGEAYg==", "QUIT"])
  })

  it("says what the client did not finish", () => {
    expect(read("NOOP\r\nQUI")).toEqual(["NOOP", "unfinished line QUI"])
    expect(read("DATA\r\na\r\n.")).toEqual(["DATA", "unfinished content a\r\n."])
    expect(read("BDAT 3\r\nab")).toEqual(["BDAT 3", "unfinished chunk ab"])
  })

  it("reads the codes of replies, one for those of several lines (RFC 5321 section 4.2.1)", () => {
    expect(replyCodes(fromLatin1("220 hi\r\n250-mx.test\r\n250 SIZE\r\n354\r\n"))).toEqual([220, 250, 354])
  })

  it("gives messages with their envelope, and none that was refused or reset", () => {
    const text = `${envelope}one\r\n.\r\n${envelope}two\r\n.\r\nMAIL FROM:<c@x.test>\r\nRSET\r\nBDAT 1 LAST\r\nx`
    const codes = [220, 250, 250, 354, 250, 250, 250, 354, 554, 250, 250, 503]
    const taken = messages(decode(fromLatin1(text), { codes }))
    expect(
      taken.map(({ content, mail, rcpts }) => [latin1(mail), rcpts.map(latin1), latin1(content)])
    ).toEqual([["MAIL FROM:<a@x.test>", ["RCPT TO:<b@y.test>"], "one\r\n"]])
  })
})

describe("the strings of SMTP smuggling (RFC 5321 sections 2.3.8 and 4.5.2)", () => {
  const ends: ReadonlyArray<readonly [string, ReadonlyArray<LineEnds>]> = [
    ["\r\n.\r\n", ["crlf", "lf", "any"]],
    ["\n.\n", ["lf", "any"]],
    ["\n.\r\n", ["lf", "any"]],
    ["\r\n.\n", ["lf", "any"]],
    ["\r.\r", ["any"]],
    ["\r.\r\n", ["any"]],
    ["\r\n.\r", ["any"]],
    ["\r.\n", ["any"]]
  ]
  for (const [end, fooled] of ends) {
    for (const lineEnds of ["crlf", "lf", "any"] as const) {
      const two = fooled.includes(lineEnds)
      it(`${JSON.stringify(end)} ${two ? "ends" : "does not end"} the message where ${lineEnds} ends a line`, () => {
        const taken = contents(`${envelope}innocent${end}${evil}.\r\n`, lineEnds)
        expect(taken).toHaveLength(two ? 2 : 1)
        if (two) expect(taken).toEqual(["innocent\r\n", "smuggled\r\n"])
      })
    }
  }

  it("the doubled dots of transparency fool nobody", () => {
    for (const lineEnds of ["crlf", "lf", "any"] as const) {
      expect(contents(`${envelope}innocent\r\n..\r\n${evil}.\r\n`, lineEnds)).toHaveLength(1)
    }
  })
})

describe("the grammar of MAIL and RCPT (RFC 5321 section 4.1.2)", () => {
  const path = (line: string): string | undefined => {
    const found = readPath(fromLatin1(line))
    return found === undefined ? undefined : latin1(found.path)
  }

  it("reads paths and parameters", () => {
    expect(path("MAIL FROM:<>")).toBe("")
    expect(path('RCPT TO:<"a>\\" b"@[IPv6:::1]>')).toBe('"a>\\" b"@[IPv6:::1]')
    expect(path("RCPT TO:<Postmaster>")).toBe("Postmaster")
    expect(readPath(fromLatin1("MAIL FROM:<a@b> RET=HDRS SMTPUTF8"))?.parameters).toEqual([
      { keyword: "RET", value: "HDRS" },
      { keyword: "SMTPUTF8", value: undefined }
    ])
  })

  it.each([
    "MAIL FROM:a@b",
    "MAIL FROM:<a@b> ",
    "MAIL FROM:<a@b>x",
    "MAIL FROM:<a@b>  RET=HDRS",
    "MAIL FROM:<a@b> RET=HDRS=",
    "MAIL FROM:<a@b> \x80",
    "MAIL FROM:<a b@c>",
    "MAIL FROM:<a@\xe9>",
    "MAIL FROM:<a@b\r>",
    'MAIL FROM:<"a\n"@b>',
    "MAIL FROM:<a@b..c>",
    "RCPT TO:<>",
    "RCPT TO:<a@[1.2.3.4]>>",
    "RCPT TO:<@r:a@b>"
  ])("does not read %j", (line) => {
    expect(path(line)).toBeUndefined()
  })

  it("reads xtext (RFC 3461 section 4)", () => {
    expect(latin1(readXtext("a+2Bb+3D") ?? new Uint8Array(0))).toBe("a+b=")
    expect([readXtext("a+"), readXtext("a="), readXtext("+2b"), readXtext("a b")]).toEqual(
      Array(4).fill(undefined)
    )
  })

  it("allows the line what its parameters add (RFC 1870, RFC 3461)", () => {
    expect(lineLimit(fromLatin1("MAIL FROM:<a@b>"))).toBe(512)
    expect(lineLimit(fromLatin1("MAIL FROM:<a@b> SIZE=1 ret=FULL"))).toBe(512 + 26 + 8)
    expect(lineLimit(fromLatin1("MAIL FROM:<a@b> XA=b XC"))).toBe(512 + 5 + 3)
    expect(lineLimit(fromLatin1("RCPT TO:<a@b> NOTIFY=NEVER SIZE=1"))).toBe(512 + 28 + 7)
  })
})

describe("the faults of lines", () => {
  it.each(["NOOP\0\r\n", "NOOP a\nb\r\n", "NOOP a\rb\r\n", `NOOP ${"x".repeat(506)}\r\n`])(
    "are seen: %j",
    (text) => {
      expect(faults(decode(fromLatin1(text)))).toHaveLength(1)
    }
  )

  it("are seen in AUTH: what is no base64, and what is too long", () => {
    const auth = (line: string) =>
      faults(decode(fromLatin1(`AUTH LOGIN\r\n${line}\r\n`), { codes: [220, 334] }))
    expect(auth("a b")).toHaveLength(1)
    expect(auth("A".repeat(12_287))).toHaveLength(1)
    expect([auth("*"), auth(""), auth("YQ=="), auth("A".repeat(12_286))]).toEqual([[], [], [], []])
  })

  it("are none in a line of exactly 512 octets", () => {
    expect(faults(decode(fromLatin1(`NOOP ${"x".repeat(505)}\r\n`)))).toEqual([])
  })

  it("are seen in content with a bare CR or LF", () => {
    for (const text of ["a\nb", "a\rb", "\n", "a\n\r\n"]) {
      expect(faults(decode(fromLatin1(`DATA\r\n${text}\r\n.\r\n`)))).toHaveLength(1)
    }
    expect(faults(decode(fromLatin1("DATA\r\na\r\n\r\n..\r\n.\r\n")))).toEqual([])
  })
})
