import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Reply from "../../src/protocol/Reply.js"
import { runsOf } from "../support/runs.js"

const octets = (text: string): Uint8Array => new TextEncoder().encode(text)

type Output = Reply.Reply | Reply.Violation

/** Everything the parser says, up to and with a violation, when `next` is called after every push. */
const feed = (parser: Reply.Parser, parts: Iterable<Uint8Array>): ReadonlyArray<Output> => {
  const outputs: Array<Output> = []
  for (const part of parts) {
    parser.push(part)
    for (let output = parser.next(); output !== undefined; output = parser.next()) {
      outputs.push(output)
      if (Reply.isViolation(output)) return outputs
    }
  }
  return outputs
}

const parse = (text: string, limits?: Reply.Limits): ReadonlyArray<Output> =>
  feed(new Reply.Parser(limits), [octets(text)])

const violation = (text: string, limits?: Reply.Limits): string => {
  const last = parse(text, limits).at(-1)
  return last !== undefined && Reply.isViolation(last) ? last.reason : "no violation"
}

describe("replies (RFC 5321 section 4.2)", () => {
  it("one line", () => {
    expect(parse("250 OK\r\n")).toStrictEqual([
      { code: 250, enhancedCode: undefined, lines: ["OK"], text: "OK" }
    ])
  })

  it("several lines, joined with LF", () => {
    expect(parse("250-first\r\n250-\r\n250 last\r\n")).toMatchObject([
      { code: 250, lines: ["first", "", "last"], text: "first\n\nlast" }
    ])
  })

  it("a code alone, with and without the space", () => {
    expect(parse("250\r\n354 \r\n")).toMatchObject([
      { code: 250, lines: [""], text: "" },
      { code: 354, lines: [""], text: "" }
    ])
  })

  it("a code alone ends a reply of several lines", () => {
    expect(parse("250-first\r\n250\r\n")).toMatchObject([{ lines: ["first", ""] }])
  })

  it("several replies in one push, in order", () => {
    expect(parse("250 a\r\n550 b\r\n354 c\r\n")).toMatchObject([{ code: 250 }, { code: 550 }, { code: 354 }])
  })

  it("a line that comes over and over reads as one that came once", () => {
    const again = "250 2.1.5 fine\r\n"
    const whole = `${again}${again}250 2.1.5 fin\r\n${again}250-2.1.5 fine\r\n${again}${again}`
    const replies = parse(whole)
    expect(replies.map((reply) => ("code" in reply ? reply.lines : []))).toEqual([
      ["2.1.5 fine"],
      ["2.1.5 fine"],
      ["2.1.5 fin"],
      ["2.1.5 fine"],
      ["2.1.5 fine", "2.1.5 fine"],
      ["2.1.5 fine"]
    ])
  })

  it("a refusal that comes twice is two, each with a recipient of its own", () => {
    const [first, second] = parse("550 no\r\n550 no\r\n")
    expect(second).toStrictEqual(first)
    expect(second).not.toBe(first)
  })

  it("an acceptance that comes over and over is read once, while one push holds it", () => {
    const [first, second, third, other, again] = parse(
      "250 ok\r\n250 ok\r\n250-a\r\n250 ok\r\n250 ok\r\n299 b\r\n"
    )
    expect(second).toBe(first)
    expect(third).toMatchObject({ lines: ["a", "ok"] })
    expect(other).toStrictEqual(first)
    expect(again).toMatchObject({ code: 299 })
    const [go, on] = parse("300 go\r\n300 go\r\n")
    expect(on).not.toBe(go)
  })

  it("any code from 100 to 599", () => {
    expect(parse("100 a\r\n599 b\r\n")).toMatchObject([{ code: 100 }, { code: 599 }])
  })

  it("text keeps its spaces, tabs and a byte order mark", () => {
    expect(parse("250  a\tb \r\n250 \ufeffc\r\n")).toMatchObject([
      { lines: [" a\tb "] },
      { lines: ["\ufeffc"] }
    ])
  })

  it("text is UTF-8, and what is not becomes replacement characters", () => {
    const parser = new Reply.Parser()
    expect(feed(parser, [octets("250 gr"), Uint8Array.of(0xc3, 0xbc, 0xff), octets("\r\n")])).toMatchObject([
      { text: "grü\ufffd" }
    ])
  })

  it("an unfinished reply is no reply, and its octets are pending", () => {
    const parser = new Reply.Parser()
    expect(feed(parser, [octets("250-first\r\n250 la")])).toStrictEqual([])
    expect(parser.pending()).toBe(17)
    expect(feed(parser, [octets("st\r\n")])).toMatchObject([{ lines: ["first", "last"] }])
    expect(parser.pending()).toBe(0)
  })

  it("what follows a reply is pending, which is how injected plaintext shows (RFC 3207)", () => {
    const parser = new Reply.Parser()
    parser.push(octets("220 go\r\n250 injected\r\n"))
    expect(parser.next()).toMatchObject({ code: 220 })
    expect(parser.pending()).toBe(14)
  })

  it("has begun with its first line, which is read, and its other bytes", () => {
    const parser = new Reply.Parser()
    expect(parser.hasBegun()).toBe(false)
    expect(feed(parser, [octets("250-first\r\n")])).toStrictEqual([])
    expect(parser.hasBegun()).toBe(true)
    expect(feed(parser, [octets("250 last\r\n")])).toHaveLength(1)
    expect(parser.hasBegun()).toBe(false)
  })

  it("without lines has no text", () => {
    expect(Reply.make(250, [])).toStrictEqual({ code: 250, enhancedCode: undefined, lines: [], text: "" })
  })

  it("empty pushes change nothing", () => {
    const parser = new Reply.Parser()
    expect(feed(parser, [octets(""), octets("250 "), octets(""), octets("OK\r\n"), octets("")])).toHaveLength(
      1
    )
  })
})

describe("line ends of servers that do not write CRLF", () => {
  it.each(["\n", "\r\r\n", "\r\r\r\n"])("%j", (lineEnd) => {
    const written = ["250-first", "250", "250 2.0.0 next", "334 "].map((line) => line + lineEnd).join("")
    expect(parse(written)).toStrictEqual([
      Reply.make(250, ["first", ""]),
      Reply.make(250, ["2.0.0 next"]),
      Reply.make(334, [""])
    ])
  })

  it("empty lines before a reply", () => {
    expect(parse("\r\n\n\r\r\n250 a\r\n\r\n250 a\r\n\n250 a\r\n")).toStrictEqual(
      Array.from({ length: 3 }, () => Reply.make(250, ["a"]))
    )
  })

  it("empty lines are pending until a reply follows, and are no beginning of one", () => {
    const parser = new Reply.Parser()
    parser.push(octets("220 go\r\n\r\n\r"))
    expect(parser.next()).toMatchObject({ code: 220 })
    expect(parser.next()).toBeUndefined()
    expect([parser.pending(), parser.hasBegun()]).toEqual([3, false])
    parser.push(octets("\n2"))
    expect(parser.next()).toBeUndefined()
    expect([parser.pending(), parser.hasBegun()]).toEqual([5, true])
  })

  it("a bare LF is no beginning of a reply", () => {
    const parser = new Reply.Parser()
    parser.push(octets("\n\r\n"))
    expect(parser.hasBegun()).toBe(false)
  })

  it("empty lines count against the limit of a reply", () => {
    expect(violation("\r\n".repeat(60_000))).toBe("no violation")
    expect(violation("\r\n".repeat(70_000))).toBe("a reply is longer than 131072 bytes")
  })
})

describe("a greeting whose codes differ", () => {
  it.each([
    ["220-mx.test\r\n521 5.7.1 no\r\n", Reply.make(521, ["mx.test", "5.7.1 no"])],
    ["220-mx.test\r\n450 4.3.2 later\r\n", Reply.make(450, ["mx.test", "4.3.2 later"])],
    ["554-no\r\n220 mx.test\r\n", Reply.make(220, ["no", "mx.test"])]
  ])("has the code of its last line: %j", (text, reply) => {
    expect(feed(new Reply.Parser(Reply.defaultLimits, true), [octets(text)])).toStrictEqual([reply])
  })

  it("is the first reply only", () => {
    const parser = new Reply.Parser(Reply.defaultLimits, true)
    expect(feed(parser, [octets("220 mx.test\r\n250-a\r\n550 b\r\n")])).toMatchObject([
      { code: 220 },
      { _tag: "Violation" }
    ])
  })
})

describe("violations", () => {
  it.each([
    ["250 a\rb\r\n", "CR that does not end it"],
    ["250 a\rb\n", "CR that does not end it"],
    ["250-a\r\n\r\n250 b\r\n", "does not begin with a code"],
    ["25\r\n", "does not begin with a code"],
    ["2\n50 a\r\n", "does not begin with a code"],
    ["2:0 a\r\n", "does not begin with a code"],
    ["2/0 a\r\n", "does not begin with a code"],
    ["25\r0 a\r\n", "does not begin with a code"],
    ["OK\r\n", "does not begin with a code"],
    ["099 a\r\n", "does not begin with a code"],
    ["600 a\r\n", "does not begin with a code"],
    ["2x0 a\r\n", "does not begin with a code"],
    ["25x a\r\n", "does not begin with a code"],
    ["-250 a\r\n", "does not begin with a code"],
    [" 250 a\r\n", "does not begin with a code"],
    ["2500 a\r\n", "neither a space nor a hyphen"],
    ["250\ta\r\n", "neither a space nor a hyphen"],
    ["250_a\r\n", "neither a space nor a hyphen"],
    ["250-a\r\n550 b\r\n", "disagree: 250 and then 550"],
    ["250-a\r\n251-b\r\n", "disagree: 250 and then 251"],
    ["HTTP/1.1 400 Bad Request\r\n", "does not begin with a code"]
  ])("%j", (text, expected) => {
    expect(violation(text)).toContain(expected)
  })

  it("replies before a violation are still given", () => {
    expect(parse("250 OK\r\nnonsense\r\n")).toMatchObject([{ code: 250 }, { _tag: "Violation" }])
  })

  it("a parser that has failed says so for ever and holds nothing", () => {
    const parser = new Reply.Parser()
    const first = feed(parser, [octets("250-a\r\n250-b\r\nnonsense\r\n250 OK\r\n")]).at(-1)
    expect([parser.pending(), parser.hasBegun()]).toEqual([0, false])
    parser.push(octets("250 OK\r\n"))
    expect(parser.next()).toBe(first)
    expect(parser.next()).toBe(first)
    expect(parser.pending()).toBe(0)
  })
})

describe("limits", () => {
  const limits: Reply.Limits = { lineLength: 20, lines: 3, replyLength: 50 }

  it("a line may have its limit, CRLF included, and no more", () => {
    expect(violation(`250 ${"a".repeat(14)}\r\n`, limits)).toBe("no violation")
    expect(violation(`250 ${"a".repeat(15)}\r\n`, limits)).toBe("a reply line is longer than 20 bytes")
  })

  it("a line that never ends is given up at its limit", () => {
    expect(violation("a".repeat(19), limits)).toBe("no violation")
    expect(violation("a".repeat(20), limits)).toBe("a reply line is longer than 20 bytes")
  })

  it("a reply may have so many lines and no more", () => {
    expect(violation("250-\r\n250-\r\n250 \r\n", limits)).toBe("no violation")
    expect(violation("250-\r\n250-\r\n250-\r\n250 \r\n", limits)).toBe("a reply has more than 3 lines")
  })

  it("a reply may have so many octets and no more", () => {
    const line = `250-${"a".repeat(14)}\r\n`
    expect(violation(`${line}${line}250 aaaa\r\n`, limits)).toBe("no violation")
    expect(violation(`${line}${line}250-aaaa\r\n`, limits)).toBe("no violation")
    expect(violation(`${line}${line}250-aaaa\r\n2`, limits)).toBe("a reply is longer than 50 bytes")
    expect(violation(`${line}${line}250 aaaaa\r\n`, limits)).toBe("a reply is longer than 50 bytes")
    expect(violation(`${line}${line}250 aaaaaa`, limits)).toBe("a reply is longer than 50 bytes")
  })

  it("of two equal limits that of the line is named", () => {
    expect(violation("a".repeat(20), { ...limits, replyLength: 20 })).toBe(
      "a reply line is longer than 20 bytes"
    )
  })

  it("limits hold for each reply anew", () => {
    expect(parse("250-\r\n250-\r\n250 \r\n".repeat(10), limits)).toHaveLength(10)
  })

  it("the default accepts the longest AUTH challenge (RFC 4954 section 4)", () => {
    expect(violation(`334 ${"A".repeat(12_282)}\r\n`)).toBe("no violation")
    expect(violation(`334 ${"A".repeat(12_283)}\r\n`)).toContain("longer than 12288 bytes")
  })

  it("the default ends a reply that never does", () => {
    expect(violation("250-more\r\n".repeat(100_000))).toBe("a reply has more than 512 lines")
  })
})

describe("enhanced status codes (RFC 2034, RFC 3463)", () => {
  it("is taken from the text and left in the lines", () => {
    expect(parse("550 5.1.1 no such user\r\n")).toStrictEqual([
      {
        code: 550,
        enhancedCode: { class: 5, subject: 1, detail: 1, advertised: false },
        lines: ["5.1.1 no such user"],
        text: "no such user"
      }
    ])
  })

  it("is taken from each line that has it", () => {
    expect(parse("451-4.7.650 slow\r\n451-down\r\n451 4.7.650 please\r\n")).toMatchObject([
      { enhancedCode: { class: 4, subject: 7, detail: 650 }, text: "slow\ndown\nplease" }
    ])
  })

  it("may have three digits, and white space behind it", () => {
    expect(parse("451 4.100.200 \t slow\r\n")).toMatchObject([
      { enhancedCode: { class: 4, subject: 100, detail: 200 }, text: "slow" }
    ])
  })

  it("may stand alone on a line", () => {
    expect(parse("250 2.0.0\r\n")).toMatchObject([
      { enhancedCode: { class: 2, subject: 0, detail: 0 }, text: "" }
    ])
  })

  it("is dropped, never an error, when the lines disagree, and their texts stay whole", () => {
    expect(parse("550-5.1.1 a\r\n550 5.7.1 b\r\n550-5.1.1 a\r\n550 5.1.2 b\r\n")).toMatchObject([
      { code: 550, enhancedCode: undefined, text: "5.1.1 a\n5.7.1 b" },
      { code: 550, enhancedCode: undefined, text: "5.1.1 a\n5.1.2 b" }
    ])
  })

  it.each([
    "550 4.1.1 class of another reply",
    "250 5.1.1 class of another reply",
    "354 3.0.0 no such class",
    "550 5.1 two numbers",
    "550 5.1.1000 four digits",
    "550 5.1.1.1 four numbers",
    "550 5.1.1x no space",
    "550 5.x 5.1.1 further on",
    "550 v5.1.1 not at the start",
    "550  5.1.1 not at the start"
  ])("%s: is not one", (line) => {
    expect(parse(`${line}\r\n`)).toMatchObject([{ enhancedCode: undefined, text: line.slice(4) }])
  })

  it("says whether the server had announced them", () => {
    const parser = new Reply.Parser()
    parser.push(octets("250 2.0.0 a\r\n250 2.0.0 b\r\n"))
    expect(parser.next()).toMatchObject({ enhancedCode: { advertised: false } })
    parser.advertiseEnhancedCodes(true)
    expect(parser.next()).toMatchObject({ enhancedCode: { advertised: true } })
  })

  it("compares subject and detail whatever the class", () => {
    expect(Reply.hasDetail(Reply.make(452, ["4.5.3 too many"]), 5, 3)).toBe(true)
    expect(Reply.hasDetail(Reply.make(552, ["5.5.3 too many"]), 5, 3)).toBe(true)
    expect(Reply.hasDetail(Reply.make(452, ["4.3.1 full"]), 5, 3)).toBe(false)
    expect(Reply.hasDetail(Reply.make(452, ["4.5.1 no"]), 5, 3)).toBe(false)
    expect(Reply.hasDetail(Reply.make(452, ["4.4.3 no"]), 5, 3)).toBe(false)
    expect(Reply.hasDetail(Reply.make(452, ["too many"]), 5, 3)).toBe(false)
  })
})

describe("what a reply says (RFC 5321 section 4.2.1)", () => {
  it.each([
    [150, "PositivePreliminary"],
    [250, "PositiveCompletion"],
    [354, "PositiveIntermediate"],
    [451, "TransientNegative"],
    [550, "PermanentNegative"]
  ])("%d is %s", (code, severity) => {
    expect(Reply.severity(Reply.make(code, [""]))).toBe(severity)
  })

  it("success, transient and permanent refusal exclude each other", () => {
    for (let code = 100; code < 600; code++) {
      const reply = Reply.make(code, [""])
      const answers = [Reply.isSuccess(reply), Reply.isTransient(reply), Reply.isPermanent(reply)]
      expect(answers.filter((answer) => answer)).toHaveLength(
        code >= 200 && code < 300 ? 1 : code >= 400 ? 1 : 0
      )
      expect(Reply.isRefusal(reply)).toBe(Reply.isTransient(reply) || Reply.isPermanent(reply))
    }
  })

  it("is written on one line", () => {
    expect(Reply.format(Reply.make(550, ["5.1.1 no", "5.1.1 user"]))).toBe("550 5.1.1 no / user")
    expect(Reply.format(Reply.make(250, [""]))).toBe("250")
    expect(Reply.format(Reply.make(550, ["5.1.1 \u001b[2J\u0007no\u202e"]))).toBe(
      "550 5.1.1 \\x1b[2J\\x07no\\u202e"
    )
    expect(Reply.format(Reply.make(250, ["2.0.0"]))).toBe("250 2.0.0")
  })
})

describe("for any octets", () => {
  const limits: Reply.Limits = { lineLength: 24, lines: 4, replyLength: 60 }
  const line = FastCheck.tuple(
    FastCheck.constantFrom("250", "550", "354", "2", "600"),
    FastCheck.constantFrom("-", "-", " ", " ", "", "x"),
    FastCheck.oneof(
      FastCheck.constantFrom("", "OK", "5.1.1 no", "2.0.0 ok", "2.1.5", "grüße 😀", "a".repeat(20), "\0"),
      FastCheck.string({ maxLength: 30 })
    ),
    FastCheck.constantFrom("\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "")
  ).map((parts) => parts.join(""))
  const stream = FastCheck.array(line, { maxLength: 12 }).map((lines) => octets(lines.join("")))
  const noise = FastCheck.oneof(stream, FastCheck.uint8Array({ maxLength: 200 }))

  const split = (whole: Uint8Array, cuts: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
    const positions = [...cuts.map((cut) => cut % (whole.length + 1)), whole.length].sort((a, b) => a - b)
    return positions.map((end, index) => whole.slice(positions[index - 1] ?? 0, end))
  }

  it("any split gives the same replies and the same violation", () => {
    FastCheck.assert(
      FastCheck.property(noise, FastCheck.array(FastCheck.nat(), { maxLength: 20 }), (whole, cuts) => {
        const inOne = feed(new Reply.Parser(limits), [whole])
        expect(feed(new Reply.Parser(limits), split(whole, cuts))).toStrictEqual(inOne)
        const single = Array.from(whole, (octet) => Uint8Array.of(octet))
        expect(feed(new Reply.Parser(limits), single)).toStrictEqual(inOne)
      }),
      { numRuns: runsOf(200) }
    )
  })

  it("pushing everything before the first look gives the same too", () => {
    FastCheck.assert(
      FastCheck.property(noise, FastCheck.array(FastCheck.nat(), { maxLength: 20 }), (whole, cuts) => {
        const parser = new Reply.Parser(limits)
        for (const part of split(whole, cuts)) parser.push(part)
        expect(feed(parser, [octets("")])).toStrictEqual(feed(new Reply.Parser(limits), [whole]))
      }),
      { numRuns: runsOf(100) }
    )
  })

  it("noise never throws, and what is pending is what was pushed less what was given", () => {
    FastCheck.assert(
      FastCheck.property(noise, (whole) => {
        const parser = new Reply.Parser(limits)
        const outputs = feed(parser, [whole])
        const last = outputs.at(-1)
        if (last !== undefined && Reply.isViolation(last)) {
          expect(parser.pending()).toBe(0)
          return
        }
        const rest = whole.slice(whole.length - parser.pending())
        expect(feed(new Reply.Parser(limits), [rest])).toStrictEqual([])
        expect(feed(new Reply.Parser(limits), [whole.slice(0, whole.length - rest.length)])).toStrictEqual(
          outputs
        )
      }),
      { numRuns: runsOf(100) }
    )
  })

  it("a reply that is written is the reply that is read", () => {
    const text = FastCheck.string({ unit: "grapheme", maxLength: 40 }).filter((part) => !/[\r\n]/.test(part))
    FastCheck.assert(
      FastCheck.property(
        FastCheck.integer({ min: 100, max: 599 }),
        FastCheck.array(text, { minLength: 1, maxLength: 8 }),
        (code, lines) => {
          const written = lines
            .map((part, index) => `${code}${index === lines.length - 1 ? " " : "-"}${part}\r\n`)
            .join("")
          expect(parse(written)).toStrictEqual([Reply.make(code, lines)])
        }
      )
    )
  })
})
