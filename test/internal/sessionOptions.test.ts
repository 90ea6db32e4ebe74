import { describe, expect, it } from "@effect/vitest"
import { readSessionOptions } from "../../src/internal/options/session.js"

describe("host", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8::1", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["fe80::1%eth0", "fe80::1%eth0"],
    ["mail.example.com.", "mail.example.com."],
    ["b\u00fccher.example", "b\u00fccher.example"]
  ])("%s is accepted, and its port follows from tls", (host, expected) => {
    expect(readSessionOptions({ host })).toMatchObject({ host: expected, port: 587 })
  })

  it("[2001:db8::1]:25 is an address and a port", () => {
    expect(readSessionOptions({ host: "[2001:db8::1]:25" })).toMatchObject({ host: "2001:db8::1", port: 25 })
  })

  it.each(['"mail.example.com"', "'mail.example.com'", "a.example,b.example", "a.example;b.example", "a b"])(
    "%s is refused by name",
    (host) => {
      expect(readSessionOptions({ host })).toMatchObject({ field: "host" })
    }
  )
})

describe("tls", () => {
  it.each([
    [{ host: "mail.example.com", port: 465 }, "implicit"],
    [{ host: "mail.example.com:465" }, "implicit"],
    [{ host: "mail.example.com", port: 465, tls: "starttls" }, "starttls"],
    [{ host: "mail.example.com", port: 2465 }, "starttls"],
    [{ host: "mail.example.com" }, "starttls"],
    [{ path: "/run/lmtp" }, "none"]
  ] as const)("follows from the port: %j is %s", (options, tls) => {
    expect(readSessionOptions(options)).toMatchObject({ tls })
  })
})

describe("clientName", () => {
  it.each([
    ["192.0.2.1", "[192.0.2.1]"],
    ["2001:db8::1", "[IPv6:2001:db8::1]"],
    ["client.example", "client.example"]
  ])("%s is said as %s", (clientName, said) => {
    expect(readSessionOptions({ host: "mail.example.com", clientName })).toMatchObject({ clientName: said })
  })

  it.each(["my_app.internal", "1.2", "10.0.0.500"])("%s is refused by name", (clientName) => {
    expect(readSessionOptions({ host: "mail.example.com", clientName })).toMatchObject({
      field: "clientName"
    })
  })
})
