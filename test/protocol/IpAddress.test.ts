import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { isIP } from "node:net"
import { octetsOf } from "../../src/protocol/IpAddress.js"
import { runsOf } from "../support/runs.js"

const hex = (text: string): string | undefined => {
  const octets = octetsOf(text)
  return octets === undefined ? undefined : Buffer.from(octets).toString("hex")
}

describe("IpAddress.octetsOf", () => {
  it.each([
    ["192.0.2.1", "c0000201"],
    ["::", "00000000000000000000000000000000"],
    ["::1", "00000000000000000000000000000001"],
    ["2001:db8::", "20010db8000000000000000000000000"],
    ["2001:DB8:0:0:8:800:200C:417A", "20010db80000000000080800200c417a"],
    ["::ffff:192.0.2.1", "00000000000000000000ffffc0000201"],
    ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221"]
  ])("reads %s", (text, expected) => {
    expect(hex(text)).toBe(expected)
  })

  it.each([
    "",
    "x1.2.3.4",
    "1.2.3.4x",
    "1.2.3",
    "1.2.3.4.5",
    "::1.2.3.4.5",
    "1.2.3.256",
    "::1.2.3.256",
    "1::2::3",
    "1:2",
    "1:2:3:4:5:6:7:8::",
    "1:2:3:4:5:6:7:8:9",
    "::1:2:3:4:5:6:7:8",
    "1.2.3.4::",
    "1.2.3.4:1:2:3:4:5:6",
    "::1.2.3.4:1",
    "::12345",
    "::x1",
    "::1x",
    undefined,
    5
  ])("%j is none", (text) => {
    expect(octetsOf(text)).toBeUndefined()
  })

  it("the longest and the shortest gap", () => {
    expect([hex("1:2:3:4:5:6:7::"), hex("::2:3:4:5:6:7:8")]).toStrictEqual([
      "00010002000300040005000600070000",
      "00000002000300040005000600070008"
    ])
  })

  const piece = FastCheck.constantFrom(
    ":",
    "::",
    ".",
    "0",
    "1",
    "ffff",
    "192.0.2.1",
    "256",
    "g",
    "%eth0",
    " "
  )

  it("takes exactly what Node takes for an address without a zone", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.oneof(
          FastCheck.array(piece, { maxLength: 17 }).map((pieces) => pieces.join("")),
          FastCheck.ipV4(),
          FastCheck.ipV6()
        ),
        (text) => {
          const length = octetsOf(text)?.length ?? 0
          const family = text.includes("%") ? 0 : isIP(text)
          expect([text, length]).toEqual([text, family === 0 ? 0 : family === 4 ? 4 : 16])
        }
      ),
      { numRuns: runsOf(5000) }
    )
  })
})
