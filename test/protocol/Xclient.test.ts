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

  it("is supported as far as it was announced, in any letter case", () => {
    const all = command({ name: "x.test", helo: "x.test" })
    const offered = (line: string) => unsupported(all, fromLines(["mx.test", line]))
    expect(offered("XCLIENT NAME ADDR HELO")).toBeUndefined()
    expect(offered("xclient name helo")).toBeUndefined()
    expect(offered("XCLIENT NAME ADDR")?.reason).toContain("HELO")
    expect(offered("SIZE")?.reason).toContain("smtpd_authorized_xclient_hosts")
  })
})
