import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Content from "effect-smtplib/protocol/Content"
import { isUtf8 } from "node:buffer"
import { runsOf } from "../support/runs.js"

const LF = 0x0a
const CR = 0x0d
const DOT = 0x2e

const octets = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0))
const text = (bytes: Uint8Array): string => Array.from(bytes, (octet) => String.fromCharCode(octet)).join("")
const join = (arrays: ReadonlyArray<Uint8Array>): Uint8Array =>
  Uint8Array.from(arrays.flatMap((array) => Array.from(array)))

const lenient: Content.EncodingOptions = { ...Content.defaultOptions, allowNul: true }

const isContentViolation = (value: object): value is Content.ContentViolation => "_tag" in value

const inspect = (
  bytes: Uint8Array,
  options: Content.EncodingOptions
): Content.Facts | Content.ContentViolation => {
  const result = Content.canonicalise(bytes, options)
  return isContentViolation(result) ? result : result.facts
}

type Wire = { readonly wire: Uint8Array; readonly facts: Content.Facts }

const encodePieces = (
  framing: Content.Framing,
  pieces: ReadonlyArray<Uint8Array>,
  options: Content.EncodingOptions = lenient
): Wire | Content.ContentViolation => {
  const encoder = Content.makeEncoder(framing, options)
  const out: Array<Uint8Array> = []
  for (const piece of pieces) {
    const encoded = encoder.push(piece)
    if (isContentViolation(encoded)) return encoded
    out.push(...encoded)
  }
  const end = encoder.end()
  if (isContentViolation(end)) return end
  return { wire: join([...out, ...end]), facts: encoder.facts() }
}

const encode = (framing: Content.Framing, input: string, options?: Content.EncodingOptions): string => {
  const result = encodePieces(framing, [octets(input)], options)
  return "_tag" in result ? result._tag : text(result.wire)
}

const reasonOf = (input: string, options: Partial<Content.EncodingOptions>): string | undefined => {
  const result = inspect(octets(input), { ...Content.defaultOptions, ...options })
  return isContentViolation(result) ? result.reason : undefined
}

const factsOf = (input: string, options: Content.EncodingOptions = lenient): Content.Facts => {
  const result = inspect(octets(input), options)
  if (isContentViolation(result)) throw new Error(result.detail)
  return result
}

/** RFC 5321 section 2.3.8, octet by octet: any CR LF, CR or LF ends a line, and content ends in a line end. */
const naiveLines = (input: ReadonlyArray<number>) => {
  const lines: Array<ReadonlyArray<number>> = []
  let line: Array<number> = []
  let changed = false
  for (let index = 0; index < input.length; index++) {
    const octet = input[index]
    if (octet === CR || octet === LF) {
      if (octet === CR && input[index + 1] === LF) index++
      else changed = true
      lines.push(line)
      line = []
    } else if (octet !== undefined) {
      line.push(octet)
    }
  }
  const finalLineEndAdded = line.length > 0
  if (finalLineEndAdded) lines.push(line)
  return { lines, changed, finalLineEndAdded }
}

const naive = (input: ReadonlyArray<number>) => {
  const { changed, finalLineEndAdded, lines } = naiveLines(input)
  const canonical = lines.flatMap((line) => [...line, CR, LF])
  const headerEnd = lines.findIndex((line) => line.length === 0)
  const header = headerEnd === -1 ? lines : lines.slice(0, headerEnd)
  const facts: Content.Facts = {
    octets: canonical.length,
    eightBit: input.some((octet) => octet > 127),
    nul: input.includes(0),
    longestLine: Math.max(0, ...lines.map((line) => line.length)),
    dotLines: lines.filter((line) => line[0] === DOT).length,
    changed,
    finalLineEndAdded,
    headerUtf8:
      header.some((line) => line.some((octet) => octet > 127)) &&
      isUtf8(Uint8Array.from(header.flatMap((line) => [...line, CR, LF])))
  }
  return { canonical, facts }
}

/** The receiver of RFC 5321 section 4.5.2: every message up to a lone dot, unstuffed, and what follows them. */
const receive = (wire: Uint8Array) => {
  const messages: Array<string> = []
  let message = ""
  let rest = text(wire)
  for (;;) {
    const end = rest.indexOf("\r\n")
    if (end === -1) return { messages, rest: message + rest }
    const line = rest.slice(0, end)
    rest = rest.slice(end + 2)
    if (line === ".") {
      messages.push(message)
      message = ""
    } else {
      message += `${line.startsWith(".") ? line.slice(1) : line}\r\n`
    }
  }
}

const anyContent = FastCheck.array(
  FastCheck.oneof(
    { weight: 6, arbitrary: FastCheck.constantFrom(CR, LF, DOT, 0x61, 0x00, 0x09, 0xff) },
    { weight: 1, arbitrary: FastCheck.constantFrom(0x0b, 0x0e, 0x7f, 0x80, 0x8a, 0x8d) }
  ),
  { maxLength: 60 }
)

// Long runs of plain octets between the interesting ones, at any alignment, so that whole words are skipped.
const anyLongContent = FastCheck.array(
  FastCheck.oneof(
    FastCheck.constantFrom([CR], [LF], [CR, LF], [CR, LF, DOT], [0x00], [0xff], [DOT]),
    FastCheck.integer({ min: 1, max: 40 }).map((length) => new Array<number>(length).fill(0x61))
  ),
  { maxLength: 40 }
).map((parts) => parts.flat())

// Runs of every kind of octet that a word of four can hold, on both sides of what the scan takes for plain.
const anyRuns = FastCheck.array(
  FastCheck.tuple(
    FastCheck.constantFrom(0x00, 0x01, 0x09, 0x0b, 0x0e, 0x61, 0x7f, 0x80, 0x8a, 0x8d, 0x8e, 0xff),
    FastCheck.integer({ min: 1, max: 90 }),
    FastCheck.constantFrom([], [CR], [LF], [CR, LF], [CR, LF, DOT], [0x09])
  ).map(([octet, length, end]) => [...new Array<number>(length).fill(octet), ...end]),
  { maxLength: 12 }
).map((runs) => runs.flat())

const anyInput = FastCheck.oneof(anyContent, anyLongContent, anyRuns)

const split = (input: ReadonlyArray<number>, lengths: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  let start = 0
  for (const length of lengths) {
    pieces.push(Uint8Array.from(input.slice(start, start + length)))
    start += length
  }
  return [...pieces, Uint8Array.from(input.slice(start))]
}

const anyLengths = FastCheck.array(FastCheck.integer({ min: 0, max: 7 }), { maxLength: 40 })

describe("makeEncoder", () => {
  it("ends content with a dot on a line of its own, without a blank line before it (RFC 5321 4.1.1.4)", () => {
    expect(encode("data", "a\r\n")).toBe("a\r\n.\r\n")
  })

  it("adds the final CRLF where there is none", () => {
    expect(encode("data", "a")).toBe("a\r\n.\r\n")
    expect(encode("bdat", "a")).toBe("a\r\n")
  })

  it("sends empty content as the dot alone, and as no octets by BDAT", () => {
    expect(encode("data", "")).toBe(".\r\n")
    expect(encode("bdat", "")).toBe("")
  })

  it("doubles a dot that begins a line, the very first octet among them (RFC 5321 4.5.2)", () => {
    expect(encode("data", ".\r\n..\r\na.\r\n.b")).toBe("..\r\n...\r\na.\r\n..b\r\n.\r\n")
  })

  it("leaves dots alone under BDAT (RFC 3030 section 2)", () => {
    expect(encode("bdat", ".\r\n.a\r\n")).toBe(".\r\n.a\r\n")
  })

  it.each([
    ["\\n.\\n", "a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"],
    ["\\r.\\r", "a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"],
    ["\\n.\\r\\n", "a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"],
    ["\\r\\n.\\n", "a\r\n.\nb", "a\r\n..\r\nb\r\n.\r\n"],
    ["\\r\\n.\\r\\n", "a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"],
    ["\\r\\r\\n.", "a\r\r\n.\r", "a\r\n\r\n..\r\n.\r\n"],
    ["\\n\\r.", "\n\r.", "\r\n\r\n..\r\n.\r\n"]
  ])("makes %s inside content harmless, before transparency", (_, input, wire) => {
    expect(encode("data", input)).toBe(wire)
    const pieces = Array.from(input, octets)
    const result = encodePieces("data", pieces)
    expect("wire" in result && text(result.wire)).toBe(wire)
  })

  it("doubles a dot that comes in another chunk than the line end before it", () => {
    const result = encodePieces("data", [octets("a\r"), octets("\n"), octets("."), octets("\r\n")])
    expect("wire" in result && text(result.wire)).toBe("a\r\n..\r\n.\r\n")
  })

  it("holds a CR at the end of a chunk until the next octet says what it is", () => {
    const encoder = Content.makeEncoder("bdat", lenient)
    const first = encoder.push(octets("a\r"))
    expect(isContentViolation(first) ? first : text(join(first))).toBe("a")
    const second = encoder.push(octets("\nb"))
    expect(isContentViolation(second) ? second : text(join(second))).toBe("\r\nb")
    expect(encoder.facts().changed).toBe(false)
  })

  it("passes canonical content without a copy", () => {
    const input = octets("Subject: a\r\n\r\nb\r\n")
    const encoded = Content.makeEncoder("data", Content.defaultOptions).push(input)
    expect("_tag" in encoded || encoded.map((array) => array.buffer === input.buffer)).toEqual([true])
  })

  it("sends binary content octet for octet (RFC 3030 section 3)", () => {
    const input = "\0\r.\n\xff\r\n.\r"
    expect(encode("bdat", input, { ...Content.defaultOptions, binary: true })).toBe(input)
    const facts = factsOf(input, { ...Content.defaultOptions, binary: true })
    expect([facts.octets, facts.changed, facts.finalLineEndAdded]).toEqual([9, false, false])
  })

  it("returns its violation for ever", () => {
    const encoder = Content.makeEncoder("data", Content.defaultOptions)
    const violation = encoder.push(octets("a\0"))
    expect(violation).toMatchObject({ reason: "Nul" })
    expect(encoder.push(octets("b"))).toBe(violation)
    expect(encoder.end()).toBe(violation)
  })

  it("gives a receiver exactly one message, the canonical content, whatever the content", () => {
    FastCheck.assert(
      FastCheck.property(anyInput, anyLengths, (input, lengths) => {
        const result = encodePieces("data", split(input, lengths))
        if ("_tag" in result) throw new Error(result.detail)
        const canonical = text(Uint8Array.from(naive(input).canonical))
        expect(receive(result.wire)).toEqual({ messages: [canonical], rest: "" })
      }),
      { numRuns: runsOf(2000) }
    )
  })

  it("lets neither a bare CR nor a bare LF onto the wire", () => {
    FastCheck.assert(
      FastCheck.property(anyInput, anyLengths, (input, lengths) => {
        const result = encodePieces("data", split(input, lengths))
        expect("wire" in result && text(result.wire).replaceAll("\r\n", "")).not.toMatch(/[\r\n]/)
      }),
      { numRuns: runsOf(1000) }
    )
  })

  it("gives the same wire and the same facts for any split", () => {
    FastCheck.assert(
      FastCheck.property(
        anyInput,
        anyLengths,
        FastCheck.constantFrom<Content.Framing>("data", "bdat"),
        FastCheck.boolean(),
        (input, lengths, framing, binary) => {
          const options = { ...lenient, binary }
          const pieces = encodePieces(framing, split(input, lengths), options)
          expect(pieces).toEqual(encodePieces(framing, [Uint8Array.from(input)], options))
        }
      ),
      { numRuns: runsOf(1000) }
    )
  })

  it("gives BDAT the canonical content, and facts that are true", () => {
    FastCheck.assert(
      FastCheck.property(anyInput, anyLengths, (input, lengths) => {
        const { canonical, facts } = naive(input)
        expect(encodePieces("bdat", split(input, lengths))).toEqual({
          wire: Uint8Array.from(canonical),
          facts
        })
      }),
      { numRuns: runsOf(2000) }
    )
  })

  const special = [CR, LF, DOT, 0x00, 0x09, 0x0e, 0x61, 0x80, 0x8d, 0xff]

  it("treats every three octets alike, wherever a push ends between them and at any alignment", () => {
    const plain = (length: number) => new Array<number>(length).fill(0x61)
    for (const first of special) {
      for (const second of special) {
        for (const third of special) {
          const before = plain(70 + ((first + second + third) & 7))
          const input = [...before, first, second, third, ...plain(70)]
          const { canonical, facts } = naive(input)
          for (const cut of [1, 2, 3]) {
            const pieces = split(input, [before.length + cut])
            const result = encodePieces("bdat", pieces)
            if ("_tag" in result) throw new Error(result.detail)
            expect(result.facts).toEqual(facts)
            expect(Buffer.compare(result.wire, Uint8Array.from(canonical))).toBe(0)
          }
        }
      }
    }
  })

  it("treats every two octets alike where large content is cut into slices", () => {
    const plain = new Uint8Array(Content.sliceLength - 1).fill(0x61)
    for (const first of special) {
      for (const second of special) {
        const whole = encodePieces("data", [Uint8Array.of(...plain.subarray(-9), first, second)])
        const memory = new Uint8Array(plain.length + 2)
        memory.set(plain)
        memory.set([first, second], plain.length)
        const encoder = Content.makeEncoder("data", lenient)
        const pushed = encoder.push(memory)
        const end = encoder.end()
        if ("_tag" in whole || "_tag" in pushed || "_tag" in end) throw new Error("unexpected violation")
        const wire = Buffer.concat([...pushed, ...end])
        expect(wire.subarray(plain.length - 9)).toEqual(Buffer.from(whole.wire))
        const longer = plain.length - 9
        expect(encoder.facts()).toEqual({
          ...whole.facts,
          octets: whole.facts.octets + longer,
          longestLine: whole.facts.longestLine + longer
        })
      }
    }
  })

  it("asks for memory at most once for a slice, in exactly the length that it fills", () => {
    const asked: Array<number> = []
    const encoder = Content.makeEncoder("data", lenient, (length) => {
      asked.push(length)
      return new Uint8Array(length)
    })
    const given = encoder.push(octets(".\n".repeat(Content.sliceLength)))
    expect(asked).toEqual([2, 2].map((times) => times * Content.sliceLength))
    expect("_tag" in given ? given : given.map((array) => array.length)).toEqual(asked)
  })

  it("keeps its state where large content is cut into slices", () => {
    for (const offset of [-3, -2, -1, 0, 1]) {
      for (const middle of ["\r\n.", "\n.", "\r.", "\r\r\n.", ".\r\n"]) {
        const input = Array.from(octets(`${"a".repeat(65_536 + offset)}${middle}b\r\n`))
        const { canonical } = naive(input)
        const result = encodePieces("data", [Uint8Array.from(input)])
        if ("_tag" in result) throw new Error(result.detail)
        expect(receive(result.wire)).toEqual({ messages: [text(Uint8Array.from(canonical))], rest: "" })
      }
    }
  })
})

describe("inspect", () => {
  it("finds what an independent reading of the content finds, at any alignment", () => {
    FastCheck.assert(
      FastCheck.property(anyInput, FastCheck.integer({ min: 0, max: 5 }), (input, offset) => {
        const memory = new Uint8Array(offset + input.length + 3).fill(LF)
        memory.set(input, offset)
        const view = memory.subarray(offset, offset + input.length)
        expect(inspect(view, lenient)).toEqual(naive(input).facts)
      }),
      { numRuns: runsOf(2000) }
    )
  })

  it("counts SIZE with CRLFs and the final one, without stuffed dots (RFC 1870 section 3)", () => {
    expect(factsOf(".a\n.b").octets).toBe(8)
  })

  it("tells non-ASCII header fields from a non-ASCII body (RFC 6531)", () => {
    expect(factsOf("Subject: \xc3\xa9\r\n\r\nbody")).toMatchObject({ headerUtf8: true, eightBit: true })
    expect(factsOf("Subject: e\r\n\r\nb\xc3\xa9")).toMatchObject({ headerUtf8: false, eightBit: true })
  })

  it("tells UTF-8 in header fields from other charsets, which ask for 8BITMIME alone", () => {
    expect(factsOf("Subject: \xe4\r\n\r\nbody")).toMatchObject({ headerUtf8: false, eightBit: true })
    expect(factsOf("Subject: \xc3\xa4\r\nX: \xe4\r\n\r\n").headerUtf8).toBe(false)
    expect(factsOf("Subject: \xe4").headerUtf8).toBe(false)
    expect(factsOf("Subject: \xc3").headerUtf8).toBe(false)
    expect(factsOf("Subject: \xc3\xa4\n\n\xe4").headerUtf8).toBe(true)
    expect(factsOf("Subject: \xc3\xa4\n\n\xe4\nb\n").headerUtf8).toBe(true)
  })

  it("tells well-formed UTF-8 as Node does, in pieces of any length, across slices", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.oneof(
          FastCheck.array(
            FastCheck.constantFrom(
              0x41,
              0x7f,
              0x80,
              0xa0,
              0xbf,
              0xc0,
              0xc2,
              0xe0,
              0xe1,
              0xed,
              0xf0,
              0xf1,
              0xf4,
              0xf5
            ),
            { maxLength: 12 }
          ).map((input) => Uint8Array.from(input)),
          FastCheck.string({ unit: "grapheme" }).map((text) => new TextEncoder().encode(text))
        ),
        FastCheck.constantFrom(0, Content.sliceLength - 5),
        FastCheck.integer({ min: 1, max: 9 }),
        (value, before, length) => {
          const head = octets(`X: ${"x".repeat(before)}`)
          const input = Uint8Array.from([
            ...head,
            ...value.filter((octet) => octet > 13),
            13,
            10,
            13,
            10,
            0xff
          ])
          const header = input.subarray(0, -1)
          const expected = header.some((octet) => octet > 127) && isUtf8(header)
          const whole = Content.canonicalise(input, Content.defaultOptions)
          if ("_tag" in whole) throw new Error(whole.detail)
          expect(whole.facts.headerUtf8).toBe(expected)
          const encoder = Content.makeEncoder("bdat", Content.defaultOptions)
          encoder.push(input.subarray(0, head.length))
          for (let start = head.length; start < input.length; start += length) {
            encoder.push(input.subarray(start, start + length))
          }
          encoder.end()
          expect(encoder.facts().headerUtf8).toBe(expected)
        }
      )
    )
  })

  it("takes an empty line of bare LFs for the end of the header section too", () => {
    expect(factsOf("Subject: e\n\n\xc3\xa9").headerUtf8).toBe(false)
  })

  it("refuses NUL unless it is allowed or the content is binary", () => {
    expect(reasonOf("a\0", {})).toBe("Nul")
    expect(reasonOf("a\0", { allowNul: true })).toBeUndefined()
    expect(reasonOf("a\0", { binary: true })).toBeUndefined()
  })

  it("refuses bare CR and bare LF if asked to, at the end of the content as well", () => {
    expect(reasonOf("a\nb", { lineEnds: "refuse" })).toBe("LineEnds")
    expect(reasonOf("a\rb", { lineEnds: "refuse" })).toBe("LineEnds")
    expect(reasonOf("a\r", { lineEnds: "refuse" })).toBe("LineEnds")
    expect(reasonOf("a\r\nb", { lineEnds: "refuse" })).toBeUndefined()
  })

  it("takes 998 octets for the longest line, its CRLF not counted (RFC 5321 4.5.3.1.6)", () => {
    const line = "a".repeat(998)
    expect(reasonOf(`${line}\r\n`, { longLines: "refuse" })).toBeUndefined()
    expect(reasonOf(`${line}a\r\n`, { longLines: "refuse" })).toBe("LineTooLong")
    expect(reasonOf(`b\r\n${line}a`, { longLines: "refuse" })).toBe("LineTooLong")
    expect(reasonOf(`${line}a\r\n`, {})).toBeUndefined()
  })

  it("refuses 8-bit octets where 7-bit is required (RFC 6152)", () => {
    expect(reasonOf("a\x7f", { require7bit: true })).toBeUndefined()
    expect(reasonOf("a\x80", { require7bit: true })).toBe("NotAscii")
    expect(reasonOf(`${"a".repeat(64)}\x80${"a".repeat(64)}`, { require7bit: true })).toBe("NotAscii")
  })

  it("refuses content over the limit, counting the final CRLF that is added", () => {
    expect(reasonOf("abc", { maxSize: 5 })).toBeUndefined()
    expect(reasonOf("abcd", { maxSize: 5 })).toBe("TooLarge")
    expect(reasonOf("a\nb\n", { maxSize: 5 })).toBe("TooLarge")
  })

  const long = "a".repeat(999)
  it.each<readonly [string, Partial<Content.EncodingOptions>, string]>([
    ["a\r\nb\0\r\nc\0", {}, "line 2 holds a NUL byte; encode it, or set allowNul"],
    ["a\r\nb\nc\r", { lineEnds: "refuse" }, "line 2 ends in a bare CR or LF; end lines in CRLF"],
    [`a\r\n${long}\r\n${long}a\r\n`, { longLines: "refuse" }, "line 2 is over 998 bytes; encode or fold it"],
    [`a\r\n${long}`, { longLines: "refuse" }, "line 2 is over 998 bytes; encode or fold it"],
    ["abcd", { maxSize: 5 }, "it is larger than the limit of 5 bytes"],
    [
      "\xff",
      { require7bit: true },
      "it holds 8-bit bytes where only 7-bit may be sent; encode it before sending"
    ]
  ])("says where the fault is and what to do: %#", (input, options, detail) => {
    expect(inspect(octets(input), { ...Content.defaultOptions, ...options })).toMatchObject({
      _tag: "ContentViolation",
      detail
    })
  })

  it("by default converts line ends, sends long lines and refuses NUL", () => {
    expect(Content.defaultOptions).toStrictEqual({
      lineEnds: "convert",
      longLines: "send",
      allowNul: false,
      binary: false
    })
  })
})

describe("makeEncoder with limits", () => {
  it("refuses a line that has grown too long before it ends", () => {
    const encoder = Content.makeEncoder("data", { ...Content.defaultOptions, longLines: "refuse" })
    expect(encoder.push(octets("a".repeat(998)))).toHaveLength(1)
    expect(encoder.push(octets("a"))).toMatchObject({ reason: "LineTooLong" })
  })

  it.each<readonly [string, Partial<Content.EncodingOptions>]>([
    ["a\r", { lineEnds: "refuse" }],
    ["abc", { maxSize: 4 }]
  ])("refuses %j at its end, which shows what it is", (input, options) => {
    const encoder = Content.makeEncoder("data", { ...Content.defaultOptions, ...options })
    expect(encoder.push(octets(input))).toHaveLength(1)
    expect(encoder.end()).toMatchObject({ _tag: "ContentViolation" })
  })

  it("knows nothing before the first bytes, and gives nothing for a CR that may be half a line end", () => {
    const encoder = Content.makeEncoder("bdat", Content.defaultOptions)
    expect(encoder.facts()).toStrictEqual({
      octets: 0,
      eightBit: false,
      nul: false,
      longestLine: 0,
      dotLines: 0,
      changed: false,
      finalLineEndAdded: false,
      headerUtf8: false
    })
    expect(encoder.push(octets("\r"))).toStrictEqual([])
  })

  it("refuses content that outgrows the limit as soon as it does", () => {
    const encoder = Content.makeEncoder("data", { ...Content.defaultOptions, maxSize: 4 })
    expect(encoder.push(octets("ab\r\n"))).toHaveLength(1)
    expect(encoder.push(octets("c"))).toMatchObject({ reason: "TooLarge" })
  })
})

describe("canonicalise", () => {
  it("gives the canonical content, and the same with the end of data, whatever memory it is given", () => {
    FastCheck.assert(
      FastCheck.property(anyInput, (input) => {
        const { canonical, facts } = naive(input)
        const result = Content.canonicalise(Uint8Array.from(input), lenient, (length) =>
          new Uint8Array(length).fill(0xaa)
        )
        if ("_tag" in result) throw new Error(result.detail)
        expect(result.facts).toEqual(facts)
        expect(Array.from(result.octets)).toEqual(canonical)
        expect(Array.from(result.withEndOfData)).toEqual([...canonical, DOT, CR, LF])
      }),
      { numRuns: runsOf(1000) }
    )
  })

  it("gives for large content what it gives for small", () => {
    const part = ".a\n.b\r\nc\r.\r\r\n\n"
    for (const input of [
      part.repeat(10_000),
      "ab\r\n".repeat(50_000),
      `${"x".repeat(65_535)}\r\ny`,
      `${"x".repeat(65_535)}\r\n.y\n`
    ]) {
      const bytes = octets(input)
      const { canonical, facts } = naive(Array.from(bytes))
      const result = Content.canonicalise(bytes, lenient, (length) => new Uint8Array(length).fill(0xaa))
      if ("_tag" in result) throw new Error(result.detail)
      expect(result.facts).toEqual(facts)
      expect(text(result.octets)).toBe(text(Uint8Array.from(canonical)))
      expect(text(result.withEndOfData.subarray(-5))).toBe("\r\n.\r\n")
      expect(receive(Content.encodeForData(result))).toEqual({ messages: [text(result.octets)], rest: "" })
    }
  })

  it("keeps nothing of the memory it was given", () => {
    const input = octets("a\r\n")
    const result = Content.canonicalise(input, lenient)
    input.fill(0)
    expect("_tag" in result || text(result.octets)).toBe("a\r\n")
  })

  it("copies binary content as it is", () => {
    const input = octets("\0\n.\r")
    const result = Content.canonicalise(input, { ...Content.defaultOptions, binary: true })
    if ("_tag" in result) throw new Error(result.detail)
    expect(result.octets).toEqual(input)
    expect(result.octets.buffer).not.toBe(input.buffer)
    expect(Content.encodeForData(result)).toEqual(input)
  })
})

describe("canonicalise with memory of its own", () => {
  it("gives what canonicalise gives, and touches no more than the room behind the content", () => {
    FastCheck.assert(
      FastCheck.property(anyInput, FastCheck.boolean(), (input, binary) => {
        const options = { ...lenient, binary }
        const memory = new Uint8Array(input.length + Content.ownedRoom + 4).fill(0xaa)
        memory.set(input)
        const owned = memory.subarray(0, input.length + Content.ownedRoom)
        const result = Content.canonicalise(owned.subarray(0, input.length), options, undefined, owned)
        expect(result).toEqual(Content.canonicalise(Uint8Array.from(input), options))
        expect(Array.from(memory.subarray(-4))).toEqual([0xaa, 0xaa, 0xaa, 0xaa])
      }),
      { numRuns: runsOf(1000) }
    )
  })

  it("does not copy content that is canonical, or lacks nothing but its final CRLF", () => {
    for (const content of ["a\r\n", "a", "a\r\n".repeat(40_000)]) {
      const memory = octets(`${content}-----`)
      const result = Content.canonicalise(memory.subarray(0, content.length), lenient, undefined, memory)
      expect("_tag" in result || result.withEndOfData.buffer === memory.buffer).toBe(true)
    }
  })
})

describe("encodeForData", () => {
  it("gives what there is where no line begins with a dot", () => {
    const canonical = Content.canonicalise(octets("a\nb."), lenient)
    if ("_tag" in canonical) throw new Error(canonical.detail)
    expect(Content.encodeForData(canonical)).toBe(canonical.withEndOfData)
  })

  it("gives the octets that an encoder gives", () => {
    FastCheck.assert(
      FastCheck.property(anyInput, (input) => {
        const canonical = Content.canonicalise(Uint8Array.from(input), lenient)
        const encoded = encodePieces("data", [Uint8Array.from(input)])
        if ("_tag" in canonical || "_tag" in encoded) throw new Error("unexpected violation")
        const wire = Content.encodeForData(canonical, (length) => new Uint8Array(length).fill(0xaa))
        expect(Array.from(wire)).toEqual(Array.from(encoded.wire))
      }),
      { numRuns: runsOf(1000) }
    )
  })
})
