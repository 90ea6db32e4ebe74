import { describe, expect, it } from "@effect/vitest"
import { fromLines } from "../../src/protocol/Capabilities.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import type { ClientAttributes } from "../../src/protocol/Xclient.js"
import { make, unsupported } from "../../src/protocol/Xclient.js"
import { untyped } from "../support/untyped.js"

const command = (client: ClientAttributes) => {
  const made = make(client, "xclient")
  if (isInvalid(made)) throw new Error(`${made.field} ${made.reason}`)
  return made
}

describe("XCLIENT", () => {
  it.each<[string, ClientAttributes]>([
    [
      "XCLIENT NAME=client.example.net ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=client.example.net LOGIN=ann@example.net DESTADDR=198.51.100.2 DESTPORT=25",
      {
        name: "client.example.net",
        address: "192.0.2.1",
        port: 4711,
        protocol: "ESMTP",
        helo: "client.example.net",
        login: "ann@example.net",
        destinationAddress: "198.51.100.2",
        destinationPort: 25
      }
    ],
    ["XCLIENT ADDR=IPV6:2001:db8::1", { address: "2001:db8::1" }],
    ["XCLIENT NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL]", { name: "[UNAVAILABLE]", address: "[TEMPUNAVAIL]" }],
    ["XCLIENT LOGIN=a+20b+2B+3D+C3+BC", { login: "a b+=ü" }],
    ["XCLIENT NAME=x+20LOGIN+3Droot HELO=+09+7F", { name: "x LOGIN=root", helo: "\t\u007f" }]
  ])("is the line %s", (line, client) => {
    expect(command(client)).toMatchObject({ line, place: "Last", secret: false })
  })

  it.each<[string, ClientAttributes]>([
    ["xclient", {}],
    ["xclient", { name: "x".repeat(600) }],
    ["xclient.name", { name: "" }],
    ["xclient.helo", { helo: "a\r\nMAIL FROM:<>" }],
    ["xclient.login", { login: "a\0b" }],
    ["xclient.address", { address: "[192.0.2.1]" }],
    ["xclient.port", { port: -1 }],
    ["xclient.destinationAddress", { destinationAddress: "mail.test" }],
    ["xclient.destinationPort", { destinationPort: 1.5 }],
    ["xclient.address", { address: "192.0.2.1 LOGIN=root" }],
    ["xclient.address", { address: "[UNAVAILABLE] LOGIN=root" }],
    ["xclient.address", { address: untyped(null) }],
    ["xclient.name", { name: untyped(42) }],
    ["xclient.login", { login: untyped(["ann"]) }],
    ["xclient.port", { port: untyped("25") }],
    ["xclient.protocol", { protocol: untyped("ESMTP LOGIN=root") }],
    ["xclient", untyped(null)]
  ])("that cannot be is invalid, and names %s", (field, client) => {
    expect(make(client, "xclient")).toMatchObject({ _tag: "Invalid", field })
  })

  it.each<[ClientAttributes, string]>([
    [{}, "xclient has no attribute"],
    [{ name: "" }, "xclient.name is empty"],
    [{ address: "x[UNAVAILABLE]" }, "xclient.address is no IP address"],
    [{ address: "[UNAVAILABLE]x" }, "xclient.address is no IP address"],
    [{ port: 65_536 }, "xclient.port is not a port: a whole number from 0 to 65535"],
    [{ port: -1, destinationPort: -1 }, "xclient.port is not a port: a whole number from 0 to 65535"],
    [{ protocol: untyped("LMTP") }, 'xclient.protocol is none of "SMTP", "ESMTP"'],
    [{ name: untyped(42) }, "xclient.name is not a string"],
    [untyped(null), "xclient is not an object"]
  ])("%j: %s", (client, text) => {
    const made = make(client, "xclient")
    expect(isInvalid(made) ? `${made.field} ${made.reason}` : made.line).toBe(text)
  })

  it("takes every port and both protocols", () => {
    expect(command({ port: 0, protocol: "SMTP", destinationPort: 65_535 }).line).toBe(
      "XCLIENT PORT=0 PROTO=SMTP DESTPORT=65535"
    )
  })

  it("is supported as far as it was announced, in any letter case", () => {
    const all = command({ name: "x.test", helo: "x.test" })
    const offered = (line: string) => unsupported(all, fromLines(["mx.test", line]))
    expect(offered("XCLIENT NAME ADDR HELO")).toBeUndefined()
    expect(offered("xclient name helo")).toBeUndefined()
    expect(offered("XCLIENT NAME ADDR")?.reason).toContain("HELO")
    expect(offered("SIZE")?.reason).toContain("smtpd_authorized_xclient_hosts")
  })
})
