import { describe, expect, it } from "@effect/vitest"
import { readClientOptions } from "../../src/internal/options/client.js"
import { defaultClientName } from "../../src/internal/session/clientName.js"
import { readSessionOptions } from "../../src/internal/options/session.js"

describe("a host from a quoted or padded variable", () => {
  it.each([
    ['"mail.example.com"', "stands in quotes; give it without them"],
    ["'mail.example.com'", "stands in quotes; give it without them"],
    ["mail.example.com ", "begins or ends with white space; remove it"],
    ["mail.example.com,", "holds a character that no host name has; give a name or an address, and no URL"]
  ])("is refused by what is wrong: %s", (host, reason) => {
    expect(readSessionOptions({ host })).toMatchObject({ field: "host", reason })
  })
})

describe("host", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8::1", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["fe80::1%eth0", "fe80::1%eth0"],
    ["[fe80::1%eth0]", "fe80::1%eth0"],
    ["[192.0.2.1]", "192.0.2.1"],
    ["mail.example.com.", "mail.example.com."],
    ["b\u00fccher.example", "b\u00fccher.example"]
  ])("%s is accepted, and its port follows from tls", (host, expected) => {
    expect(readSessionOptions({ host })).toMatchObject({ host: expected, port: 587 })
  })

  it.each([
    ["[2001:db8::1]:25", "2001:db8::1"],
    ["[fe80::1%2]:25", "fe80::1%2"],
    ["192.0.2.1:25", "192.0.2.1"],
    ["mail.example.com.:25", "mail.example.com."],
    ["b\u00fccher.example:25", "b\u00fccher.example"]
  ])("%s is a host and a port", (host, expected) => {
    expect(readSessionOptions({ host })).toMatchObject({ host: expected, port: 25 })
  })

  it.each([
    '"mail.example.com"',
    "'mail.example.com'",
    "a.example,b.example",
    "a.example;b.example",
    "a b",
    "[mail.example.com]",
    "[mail.example.com]:25",
    "[]",
    "[1.2.3]",
    "[2001:db8::1::2]",
    "[[::1]]",
    "[::1",
    "::1]",
    "2001:db8::g",
    "2001:db8::1::2",
    "1:2:3",
    "fe80::1%",
    "fe80::1%a b",
    "[fe80::1%]",
    "192.0.2.1%eth0",
    "mail.example.com%eth0",
    ".",
    "mail.example.com..",
    ""
  ])("%s is refused by name", (host) => {
    expect(readSessionOptions({ host })).toMatchObject({ _tag: "Invalid", field: "host" })
  })

  it("is read in the same way for every relay", () => {
    const relays = [{ host: "[fe80::1%eth0]:25" }, { host: "::1" }] as const
    expect(readClientOptions({ relays })).toMatchObject({
      relays: [
        { host: "fe80::1%eth0", port: 25 },
        { host: "::1", port: 587 }
      ]
    })
    expect(readClientOptions({ relays: [{ host: "::1" }, { host: "[mail.example.com]" }] })).toMatchObject({
      field: "relays[1].host"
    })
  })
})

describe("localAddress", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["fe80::1%eth0", "fe80::1%eth0"]
  ])("%s is accepted", (localAddress, expected) => {
    expect(readSessionOptions({ host: "mail.example.com", localAddress })).toMatchObject({
      endpoint: { localAddress: expected }
    })
  })

  it.each(["", "localhost", "2001:db8", "1.2.3", "::1:25%", "[::1"])("%s is refused", (localAddress) => {
    expect(readSessionOptions({ host: "mail.example.com", localAddress })).toMatchObject({
      field: "localAddress"
    })
  })
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

  const long = Array.from({ length: 5 }, () => "a".repeat(60)).join(".")

  it.each([
    ["app.example.com", "app.example.com"],
    ["169.254.100.6", "[169.254.100.6]"],
    ["10.0.0.5", "[10.0.0.5]"],
    ["2001:db8::1", "[192.0.2.7]"],
    ["1.2", "[192.0.2.7]"],
    ["app.7", "[192.0.2.7]"],
    ["my_app.internal", "[192.0.2.7]"],
    ["localhost", "[192.0.2.7]"],
    ["localhost.localdomain", "[192.0.2.7]"],
    ["app", "[192.0.2.7]"],
    ["app.example.com.", "[192.0.2.7]"],
    ["app..example.com", "[192.0.2.7]"],
    ["-app.example.com", "[192.0.2.7]"],
    ["app\r\nRSET.example.com", "[192.0.2.7]"],
    ["müller.example.com", "[192.0.2.7]"],
    ["", "[192.0.2.7]"],
    [long, "[192.0.2.7]"]
  ])("of a host that is called %j is %s", (host, said) => {
    expect(defaultClientName("192.0.2.7", host)).toBe(said)
    const isLiteral = said === "[192.0.2.7]"
    expect(defaultClientName(undefined, host)).toBe(isLiteral ? "[127.0.0.1]" : said)
    expect(defaultClientName("fe80::1%eth0", host)).toBe(isLiteral ? "[IPv6:fe80::1]" : said)
  })

  it.each(["my_app.internal", "1.2", "10.0.0.500"])("%s is refused by name", (clientName) => {
    expect(readSessionOptions({ host: "mail.example.com", clientName })).toMatchObject({
      field: "clientName"
    })
  })
})
