import { describe, expect, it } from "@effect/vitest"
import { byteLength, Utf8Validator } from "../../src/protocol/Utf8.js"

describe("the bytes of a text in UTF-8", () => {
  it.each([
    "",
    "a\u007f",
    "\u0080",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000\uffff",
    "\u{10000}",
    "a\u{10ffff}b"
  ])("%j", (text) => {
    expect(byteLength(text)).toBe(new TextEncoder().encode(text).length)
  })
})

describe("well-formed UTF-8 (RFC 3629 section 4)", () => {
  const isValid = (...bytes: ReadonlyArray<number>): boolean => {
    const validator = new Utf8Validator()
    for (const byte of bytes) validator.push(Uint8Array.of(0, byte, 0x80), 1, 2)
    validator.end()
    return validator.isValid()
  }

  it.each([
    [],
    [0x7f],
    [0xc2, 0x80],
    [0xdf, 0xbf, 0x41],
    [0xe0, 0xa0, 0x80],
    [0xe1, 0x80, 0x80],
    [0xed, 0x9f, 0xbf],
    [0xef, 0xbf, 0xbf],
    [0xf0, 0x90, 0x80, 0x80],
    [0xf1, 0x80, 0x80, 0x80],
    [0xf4, 0x8f, 0xbf, 0xbf, 0xc3, 0xa4]
  ])("%#: is", (...bytes) => {
    expect(isValid(...bytes)).toBe(true)
  })

  it.each([
    [0x80],
    [0xc1, 0x80],
    [0xc2],
    [0xc2, 0x7f],
    [0xc2, 0xc0],
    [0xe0, 0x9f, 0xbf],
    [0xed, 0xa0, 0x80],
    [0xe1, 0x80],
    [0xf0, 0x8f, 0xbf, 0xbf],
    [0xf0, 0x90, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xf5, 0x80, 0x80, 0x80]
  ])("%#: is not", (...bytes) => {
    expect(isValid(...bytes)).toBe(false)
  })
})
