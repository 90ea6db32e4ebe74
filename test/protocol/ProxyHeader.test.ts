import { describe, expect, it } from "@effect/vitest"
import { isInvalid } from "../../src/protocol/Invalid.js"
import type { ProxyHeader } from "../../src/protocol/ProxyHeader.js"
import { encode } from "../../src/protocol/ProxyHeader.js"
import { untyped } from "../support/untyped.js"

const v4 = {
  source: { address: "192.0.2.1", port: 56_324 },
  destination: { address: "198.51.100.2", port: 25 }
}
const v6 = {
  source: { address: "2001:db8::1", port: 65_535 },
  destination: { address: "::ffff:192.0.2.1", port: 0 }
}

const octets = (header: ProxyHeader): Buffer => {
  const encoded = encode(header, "proxyHeader")
  if (isInvalid(encoded)) throw new Error(`${encoded.field} ${encoded.reason}`)
  return Buffer.from(encoded)
}

describe("the PROXY header", () => {
  it.each<[string, ProxyHeader]>([
    ["PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n", { version: 1, ...v4 }],
    ["PROXY TCP6 2001:db8:0:0:0:0:0:1 0:0:0:0:0:ffff:c000:201 65535 0\r\n", { version: 1, ...v6 }],
    ["PROXY UNKNOWN\r\n", { version: 1 }]
  ])("of version 1 is the line %j (section 2.1)", (line, header) => {
    expect(octets(header).toString("latin1")).toBe(line)
    expect(octets(header).length).toBeLessThanOrEqual(107)
  })

  const signature = "0d0a0d0a000d0a515549540a"

  it.each<[string, string, ProxyHeader]>([
    ["IPv4", `${signature}21 11 000c c0000201 c6336402 dc04 0019`, { version: 2, ...v4 }],
    [
      "IPv6",
      `${signature}21 21 0024 20010db8000000000000000000000001 00000000000000000000ffffc0000201 ffff 0000`,
      { version: 2, ...v6 }
    ],
    ["LOCAL", `${signature}20 00 0000`, { version: 2 }]
  ])("of version 2 has the octets of the specification for %s (section 2.2)", (_, expected, header) => {
    expect(octets(header).toString("hex")).toBe(expected.replaceAll(" ", ""))
  })

  it.each<[string, ProxyHeader]>([
    ["proxyHeader.source", { version: 1, destination: v4.destination }],
    ["proxyHeader.destination", { version: 2, source: v4.source }],
    ["proxyHeader.source.address", { version: 1, ...v4, source: { address: "mail.test", port: 1 } }],
    ["proxyHeader.source.address", { version: 1, ...v4, source: { address: "1.2.3.4\r\n", port: 1 } }],
    ["proxyHeader.source.address", { version: 1, ...v4, source: { address: "fe80::1%eth0", port: 1 } }],
    ["proxyHeader.source.port", { version: 1, ...v4, source: { address: "192.0.2.1", port: 70_000 } }],
    [
      "proxyHeader.destination.port",
      { version: 2, ...v4, destination: { address: "192.0.2.1", port: Number.NaN } }
    ],
    ["proxyHeader.destination.address", { version: 2, source: v4.source, destination: v6.destination }],
    ["proxyHeader.source.address", { version: 2, ...v4, source: { address: "/run/app.sock", port: 0 } }],
    ["proxyHeader.source.address", { version: 2, ...v4, source: { address: untyped(42), port: 0 } }],
    ["proxyHeader.source.port", { version: 2, ...v4, source: { address: "192.0.2.1", port: untyped("25") } }],
    ["proxyHeader.source", { version: 2, ...v4, source: untyped(null) }],
    ["proxyHeader.source", { version: 2, ...v4, source: untyped("192.0.2.1:25") }],
    ["proxyHeader.version", { version: untyped("1") }],
    ["proxyHeader", untyped(null)]
  ])("that cannot be is invalid, and names %s", (field, header) => {
    expect(encode(header, "proxyHeader")).toMatchObject({ _tag: "Invalid", field })
  })

  it.each<[string, ProxyHeader]>([
    [
      "proxyHeader.source is missing: give source and destination, or neither",
      { version: 1, destination: v4.destination }
    ],
    ["proxyHeader.source.address is no IP address", { version: 1, ...v4, source: { address: "a", port: 1 } }],
    [
      "proxyHeader.source.port is not a port: a whole number from 0 to 65535",
      { version: 1, ...v4, source: { address: "192.0.2.1", port: -1 } }
    ],
    [
      "proxyHeader.source.port is not a port: a whole number from 0 to 65535",
      { version: 1, ...v4, source: { address: "192.0.2.1", port: 65_536 } }
    ],
    [
      "proxyHeader.destination.address is of another family than that of the source",
      { version: 2, source: v4.source, destination: v6.destination }
    ],
    ["proxyHeader.version is neither 1 nor 2", { version: untyped(3) }]
  ])("that cannot be: %s", (text, header) => {
    const encoded = encode(header, "proxyHeader")
    expect(isInvalid(encoded) ? `${encoded.field} ${encoded.reason}` : "accepted").toBe(text)
  })

  it("of a version that configuration made up is invalid", () => {
    const header: ProxyHeader = { ...v4, version: 2 }
    expect(encode(Object.assign({}, header, { version: 3 }), "proxyHeader")).toMatchObject({
      field: "proxyHeader.version"
    })
  })
})
