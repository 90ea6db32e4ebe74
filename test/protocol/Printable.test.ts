import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { printable } from "../../src/protocol/Printable.js"

describe("text of a peer", () => {
  it("is left as it is when every character of it can be seen", () => {
    expect(printable("5.1.1 größer, 大, 🎉 \\ ~")).toBe("5.1.1 größer, 大, 🎉 \\ ~")
  })

  it.each([
    ["\u001b[2Jcleared", "\\x1b[2Jcleared"],
    ["a\r\nb\tc\0", "a\\x0d\\x0ab\\x09c\\x00"],
    ["\u007f\u0085\u009b31m", "\\x7f\\x85\\x9b31m"],
    ["a\u2028b\u2029c", "a\\u2028b\\u2029c"],
    ["\u202egnp.exe \u2066x\u2069\u200f\u061c", "\\u202egnp.exe \\u2066x\\u2069\\u200f\\u061c"]
  ])("shows what would act: %j", (text, shown) => {
    expect(printable(text)).toBe(shown)
  })

  it("has nothing left that acts, whatever it was", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary" }), (text) => {
        expect(printable(text)).not.toMatch(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u)
      })
    )
  })
})
