import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { decode, encode } from "../../../src/protocol/sasl/Base64.js"
import { runsOf } from "../../support/runs.js"

describe("base64", () => {
  it("writes what Buffer writes, and reads it back", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.uint8Array({ maxLength: 300 }), (octets) => {
        expect(encode(octets)).toBe(Buffer.from(octets).toString("base64"))
        expect(decode(encode(octets))).toEqual(octets)
      })
    )
  })

  it("reads no text that it would not write", () => {
    const characters = FastCheck.constantFrom(...Array.from("ABab01+/=-_ \n"))
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: characters, maxLength: 12 }), (text) => {
        const octets = decode(text)
        if (octets !== undefined) expect(encode(octets)).toBe(text)
      }),
      { numRuns: runsOf(200) }
    )
  })

  it.each([
    ["an empty text", "", []],
    ["one octet", "AA==", [0]],
    ["all values", "/+8=", [0xff, 0xef]]
  ])("reads %s", (_, text, octets) => {
    expect(decode(text)).toEqual(Uint8Array.from(octets))
  })

  it.each([
    ["missing padding", "AA"],
    ["padding alone", "="],
    ["padding in the middle", "AA==AAAA"],
    ["a space", "AAAA "],
    ["a line break", "AAAA\n"],
    ["the URL alphabet", "-_-_"],
    ["bits left over", "AB=="],
    ["plain words", "Username:"]
  ])("refuses %s", (_, text) => {
    expect(decode(text)).toBeUndefined()
  })
})
