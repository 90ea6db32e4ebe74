import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as HeaderSection from "../../src/protocol/HeaderSection.js"
import { runsOf } from "../support/runs.js"

const latin1 = HeaderSection.fromLatin1

const fieldsOf = (text: string): ReadonlyArray<readonly [string, string]> =>
  (HeaderSection.read(latin1(text), true)?.fields ?? []).map(({ body, name }) => [name, body])

describe("a header section", () => {
  it("has its fields with their folds (RFC 5322 section 2.2)", () => {
    expect(fieldsOf("A: 1\r\nB : 2\r\n\t3\r\n 4\r\nnonsense\r\n\r\nC: 5\r\n")).toEqual([
      ["A", " 1"],
      ["B", " 2\r\n\t3\r\n 4"],
      ["nonsense", ""]
    ])
  })

  it("ends lines at CRLF, CR and LF alike", () => {
    expect(fieldsOf("A: 1\nB: 2\rC: 3\r\n\nD: 4")).toEqual([
      ["A", " 1"],
      ["B", " 2"],
      ["C", " 3"]
    ])
  })

  it.each([
    ["", undefined],
    ["A: 1", undefined],
    ["A: 1\r\n", undefined],
    ["A: 1\r\n\r\n", undefined],
    ["A: 1\r\n\r\nx", 6],
    ["A: 1\n\nx", 5],
    ["A: 1\r\rx", 5],
    ["A: 1\nB: 2", undefined],
    ["\nA", 0]
  ])("%j is complete as far as %s", (text, length) => {
    expect(HeaderSection.read(latin1(text), false)?.length).toBe(length)
  })

  it("ends at an empty line of bare LFs", () => {
    expect(fieldsOf("A: 1\n\nB: 2\n")).toEqual([["A", " 1"]])
  })

  it("gives the fields of a name in any letter case, and their bodies on one line", () => {
    const section = HeaderSection.read(latin1("A: 1\r\nB: 2\r\na: 3\r\n"), true)
    const named = HeaderSection.named(section?.fields ?? [], "A")
    expect(named.map(({ body }) => body)).toEqual([" 1", " 3"])
    expect(HeaderSection.named(section?.fields ?? [], "c")).toEqual([])
    expect(HeaderSection.unfold(" \t a\r\n \tb c \t\r\n ")).toBe("a \tb c")
    expect(HeaderSection.unfold("a  b")).toBe("a  b")
    expect([HeaderSection.trimEnd(" \t "), HeaderSection.trimEnd("")]).toEqual(["", ""])
  })

  it("may be all that there is, or nothing", () => {
    expect(fieldsOf("A: 1")).toEqual([["A", " 1"]])
    expect(fieldsOf("")).toEqual([])
    expect(fieldsOf("\r\nA: 1")).toEqual([])
    expect(fieldsOf(" A: 1\r\n")).toEqual([["A".padStart(2), " 1"]])
  })

  it("says which octets are a field's", () => {
    const text = "A: 1\r\nB: 2\r\n 3\r\nC: 4\r\n\r\n"
    const section = HeaderSection.read(latin1(text), true)
    expect(section?.fields.map(({ end, start }) => text.slice(start, end))).toEqual([
      "A: 1\r\n",
      "B: 2\r\n 3\r\n",
      "C: 4\r\n"
    ])
    expect(section?.length).toBe(text.length - 2)
  })

  it("is read as soon as it is complete, and the same as in one piece", () => {
    const line = FastCheck.constantFrom("A: 1", " folded", "\tfolded", "B: 2", "", "nonsense", "C: \xe4")
    const lineEnd = FastCheck.constantFrom("\r\n", "\n", "\r")
    const text = FastCheck.array(FastCheck.tuple(line, lineEnd), { maxLength: 8 }).map((all) =>
      all.flat().join("")
    )
    FastCheck.assert(
      FastCheck.property(text, (whole) => {
        const octets = latin1(whole)
        const expected = HeaderSection.read(octets, true)
        for (let length = 0; length <= octets.length; length++) {
          const early = HeaderSection.read(octets.subarray(0, length), false)
          if (early !== undefined) expect(early).toEqual(expected)
        }
      })
    )
  })

  it("is gathered from any pieces as from one", () => {
    const line = FastCheck.constantFrom("A: 1", " folded", "B: 2", "", "C: \xe4")
    const lineEnd = FastCheck.constantFrom("\r\n", "\n", "\r")
    const text = FastCheck.array(FastCheck.tuple(line, lineEnd), { maxLength: 8 }).map((all) =>
      all.flat().join("")
    )
    FastCheck.assert(
      FastCheck.property(text, FastCheck.integer({ min: 1, max: 9 }), (whole, size) => {
        const gatherer = HeaderSection.makeGatherer()
        const octets = latin1(whole)
        let gathered: HeaderSection.Gathered | undefined
        let start = 0
        for (; start < octets.length && gathered === undefined; start += size) {
          gathered = gatherer.push(octets.subarray(start, start + size))
          const sofar = octets.subarray(0, start + size)
          expect(gathered?.section).toEqual(HeaderSection.read(sofar, false))
          expect(gatherer.held()).toBe(sofar.length)
        }
        const { octets: held, section } = gathered ?? gatherer.end()
        expect(section).toEqual(HeaderSection.read(octets, true))
        expect(held).toEqual(octets.subarray(0, start))
      })
    )
  })

  it("is gathered from pieces larger than what is held at first", () => {
    const gatherer = HeaderSection.makeGatherer()
    expect(gatherer.end()).toEqual({ section: { fields: [], length: 0 }, octets: new Uint8Array(0) })
    const text = `A: ${"x".repeat(5000)}\r\nB: ${"y".repeat(9000)}\r\n`
    for (const [start, end] of [
      [0, 4096],
      [4096, 10_000],
      [10_000, undefined]
    ] as const)
      expect(gatherer.push(latin1(text.slice(start, end)))).toBeUndefined()
    const gathered = gatherer.push(latin1("\r\nz"))
    expect(gathered?.section.length).toBe(text.length)
    expect(HeaderSection.toLatin1(gathered?.octets ?? new Uint8Array())).toBe(`${text}\r\nz`)
  })

  it("takes a time in proportion to its length", { timeout: 15_000 }, () => {
    const spaces = " ".repeat(200_000)
    expect(HeaderSection.unfold(` x${spaces}y `)).toBe(`x${spaces}y`)
    expect(fieldsOf(`A${spaces}B : x\r\n`)).toEqual([[`A${spaces}B`, " x"]])
    const gatherer = HeaderSection.makeGatherer()
    const line = latin1("A: 1\r\n")
    for (let index = 0; index < 20_000; index++) gatherer.push(line)
    expect(gatherer.end().section.fields.length).toBe(20_000)
  })

  it("gives back any octets as Latin-1", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.uint8Array({ maxLength: 20_000 }), (octets) => {
        expect(latin1(HeaderSection.toLatin1(octets))).toEqual(octets)
      }),
      { numRuns: runsOf(20) }
    )
  })
})

describe("the inspector of all header sections", () => {
  const nested = [
    "Content-Type: multipart/mixed;",
    '\tboundary="a \\"b\\""',
    "",
    "preamble \xe4",
    '--a "b"  ',
    "Content-Type: message/rfc822",
    "",
    "Content-Type: multipart/alternative; boundary=c",
    "",
    "--c",
    "X: HERE",
    "",
    "\xe4",
    "--c--",
    "\xe4",
    '--a "b"--',
    "epilogue \xe4",
    ""
  ].join("\r\n")

  const isUtf8 = (text: string, pieces: number): boolean => {
    const inspector = HeaderSection.makeInspector()
    const octets = latin1(text)
    for (let start = 0; start < octets.length; start += pieces) {
      inspector.push(octets.subarray(start, start + pieces))
    }
    return inspector.isUtf8()
  }

  it("finds UTF-8 in any header, and in headers only, whatever the pieces", () => {
    for (const pieces of [1, 2, 3, 7, 64, 10_000]) {
      expect(isUtf8(nested, pieces)).toBe(false)
      expect(isUtf8(nested.replace("HERE", "\xc3\xa4"), pieces)).toBe(true)
      expect(isUtf8(nested.replace("HERE", "\xe4"), pieces)).toBe(false)
      expect(isUtf8("X: \xc3\xa4", pieces)).toBe(true)
      expect(isUtf8("X: \xe4", pieces)).toBe(false)
      expect(isUtf8("X: \xc3", pieces)).toBe(false)
      expect(isUtf8("X: \xc3\xa4\r\nY: \xe4\r\n\r\n", pieces)).toBe(false)
      expect(isUtf8("X: a\r\n\r\n\xe4", pieces)).toBe(false)
    }
  })

  const umlaut = "\xc3\xa4"
  it.each([
    ["another type with a boundary", "Content-Type: text/plain; boundary=c", "--c", false],
    ["a type that only ends like multipart", "Content-Type: x-multipart/mixed; boundary=c", "--c", false],
    ["no space before the type", "Content-Type:multipart/mixed;boundary=c", "--c", true],
    ["much space", "Content-Type :  multipart/mixed;  boundary = c", "--c", true],
    ["letter case", "content-TYPE: Multipart/Mixed; BOUNDARY=c", "--c", true],
    ["a parameter behind the boundary", "Content-Type: multipart/mixed; boundary=c; x=y", "--c", true],
    ["another parameter before it", 'Content-Type: multipart/mixed; x="y"; boundary="c"', "--c", true],
    ["multipart without a boundary", "Content-Type: multipart/mixed", "--", false],
    ["a folded type", "Content-Type:\r\n multipart/mixed;\r\n\tboundary=c", "--c", true],
    ["a folded field of another name", "X: a\r\n multipart/mixed; boundary=c", "--c", false],
    ["a type behind other fields", "X: a\r\nContent-Type: multipart/mixed; boundary=c\r\nY: b", "--c", true],
    ["space behind a delimiter", "Content-Type: multipart/mixed; boundary=c", "--c \t", true],
    ["a line that is no delimiter", "Content-Type: multipart/mixed; boundary=c", "xxc", false],
    ["a delimiter that goes on", "Content-Type: multipart/mixed; boundary=c", "--cc", false],
    [
      "a delimiter that goes on, and one that does not",
      "Content-Type: multipart/mixed; boundary=c",
      "--cxx\r\n--c",
      true
    ],
    [
      "a field behind one that is not UTF-8",
      "X: \xe4\r\nContent-Type: multipart/mixed; boundary=c",
      "--c",
      true
    ],
    ["a field that begins like a delimiter", `--X: ${umlaut}`, "", true],
    ["no space before a message", "Content-Type:message/global", "", true],
    ["a boundary that ends in hyphens", "Content-Type: multipart/mixed; boundary=c--", "--c--", true],
    ["the end of the parts", "Content-Type: multipart/mixed; boundary=c", "--c--", false],
    ["a part behind the end", "Content-Type: multipart/mixed; boundary=c", "--c--\r\n--c", false],
    ["a second part", "Content-Type: multipart/mixed; boundary=c", "--c\r\n\r\n--c", true],
    [
      "a part of an inner multipart that the outer delimiter has ended",
      "Content-Type: multipart/mixed; boundary=c",
      "--c\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n--c\r\n\r\n--d",
      false
    ],
    ["a message", "Content-Type: message/rfc822", "", true],
    ["a message beyond ASCII", "Content-Type:\tmessage/global; x=y", "", true],
    ["a type that only ends like a message", "Content-Type: x-message/rfc822", "", false],
    ["a type that only begins like a message", "Content-Type: message/rfc8222", "", false],
    ["a message in base64", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", "", false],
    [
      "a message in quoted-printable",
      "Content-Transfer-Encoding:\r\n Quoted-Printable\r\nContent-Type: message/rfc822",
      "",
      false
    ],
    ["a message that is not encoded", "Content-Type: message/rfc822\r\nX: base64", "", true],
    ["a message in 8 bits", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit", "", true],
    [
      "a message in base64 and then one that is not",
      "Content-Type: message/rfc822",
      "Content-Type: message/rfc822\r\n",
      true
    ]
  ])("%s", (_, head, delimiter, isFound) => {
    const text = [head, "", ...(delimiter === "" ? [] : [delimiter]), `X: ${umlaut}`, "", ""].join("\r\n")
    for (const pieces of [1, 5, 10_000]) expect(isUtf8(text, pieces)).toBe(isFound)
  })

  it("takes DEL for ASCII", () => {
    expect(isUtf8("X: \x7f\r\n\r\n", 100)).toBe(false)
  })

  it("keeps no more of a line than it needs", () => {
    expect(isUtf8(`X: ${"x".repeat(100_000)}\xc3\xa4\r\n\r\n`, 1000)).toBe(true)
    expect(isUtf8(`X: x\r\n\r\n${"x".repeat(100_000)}\xe4`, 1000)).toBe(false)
  })

  it(
    "takes a time in proportion to the message's length, however deep its parts are nested",
    {
      timeout: 15_000
    },
    () => {
      const levels = Array.from({ length: 40_000 }, (_, level) =>
        [`Content-Type: multipart/mixed; boundary=b${level}`, "", `--b${level}`, ""].join("\r\n")
      )
      expect(isUtf8(`${levels.join("")}\r\n${"--none\r\n".repeat(40_000)}`, 65_536)).toBe(false)
      expect(isUtf8(`\r\n${`--${" ".repeat(4000)}x\r\n`.repeat(300)}`, 65_536)).toBe(false)
      const within = (depth: number) => `${levels.slice(0, depth).join("")}X: \xc3\xa4\r\n\r\n`
      expect([90, 100, 101].map((depth) => isUtf8(within(depth), 65_536))).toEqual([true, true, false])
    }
  )
})
