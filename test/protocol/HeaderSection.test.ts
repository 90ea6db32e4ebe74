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
        }
        const { octets: held, section } = gathered ?? gatherer.end()
        expect(section).toEqual(HeaderSection.read(octets, true))
        expect(held).toEqual(octets.subarray(0, start))
      })
    )
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
      const shallow = `${levels.slice(0, 90).join("")}X: \xc3\xa4\r\n\r\n`
      expect(isUtf8(shallow, 65_536)).toBe(true)
    }
  )
})
