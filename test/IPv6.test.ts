/** Real connections to the IPv6 loopback address, with every way in: options, URL, Config, relays and proxies. */
import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Net from "node:net"
import { networkInterfaces } from "node:os"
import * as CapabilityCache from "../src/CapabilityCache.js"
import * as NodeSmtp from "../src/NodeSmtp.js"
import * as NodeSmtpHttpProxy from "../src/NodeSmtpHttpProxy.js"
import * as NodeSmtpSocks from "../src/NodeSmtpSocks.js"
import * as NodeSmtpTest from "../src/NodeSmtpTest.js"
import * as SmtpClient from "../src/SmtpClient.js"
import * as SmtpSession from "../src/SmtpSession.js"
import { makeCertificates } from "./servers/certificates.js"
import { listen } from "./support/loopback.js"
import { httpProxy, socksProxy } from "./support/proxies.js"

/** The interface that has ::1. */
const loopback = Object.entries(networkInterfaces()).find(([, addresses]) =>
  addresses?.some(({ address }) => address === "::1")
)?.[0]

/** Passes on what comes to [::1]. */
const onIpv6 = (port: number) =>
  Effect.map(
    listen(
      (socket) => {
        const server = Net.connect(port, "127.0.0.1")
        for (const one of [socket, server]) one.on("error", () => undefined)
        socket.pipe(server).pipe(socket)
        socket.on("close", () => server.destroy())
      },
      { host: "::1", port: 0 }
    ),
    (listening) => listening.port
  )

const message = { from: "a@x.test", to: "b@y.test", content: "Subject: hi\r\n\r\nhello\r\n" }

const define = (zone: string): void => {
  const ways: ReadonlyArray<readonly [string, (port: number) => SmtpClient.Options]> = [
    ["host and port", (port) => ({ host: "::1", port })],
    ["host with port", (port) => ({ host: `[::1]:${port}` })],
    ["brackets", (port) => ({ host: "[::1]", port })],
    ["a zone", (port) => ({ host: `::1%${zone}`, port })],
    ["a zone in brackets", (port) => ({ host: `[::1%${zone}]:${port}` })],
    ["a relay", (port) => ({ relays: [{ host: `[::1%${zone}]:${port}`, tls: "none" }] })],
    ["a local address", (port) => ({ host: "::1", port, localAddress: "[::1]" })]
  ]

  it.scopedLive.each(ways)("is dialled: %s", ([, options]) =>
    Effect.gen(function* () {
      const { port, server } = yield* NodeSmtpTest.server()
      const client = yield* SmtpClient.make({
        tls: "none",
        retry: "off",
        ...options(yield* onIpv6(port))
      })
      yield* client.send(message)
      expect((yield* server.messages).length).toBe(1)
    }).pipe(Effect.provide(NodeSmtp.layer))
  )

  it.scopedLive.each([
    ["an address", "[::1]"],
    ["a zone", `[::1%25${zone}]`],
    ["a zone without RFC 6874", `[::1%${zone}]`]
  ])("is dialled by URL: %s", ([, host]) =>
    Effect.gen(function* () {
      const { port, server } = yield* NodeSmtpTest.server()
      const url = `smtp://${host}:${yield* onIpv6(port)}?tls=none`
      yield* Effect.provide(
        Effect.flatMap(SmtpClient.SmtpClient, (client) => client.send(message)),
        SmtpClient.layerUrl(url)
      )
      expect((yield* server.messages).length).toBe(1)
    }).pipe(Effect.provide(NodeSmtp.layer))
  )

  it.scopedLive("needs a certificate for the address without its zone", () =>
    Effect.gen(function* () {
      const made = yield* makeCertificates({ names: ["::1"] })
      const { port } = yield* NodeSmtpTest.server({
        tls: { cert: made.certificate, key: made.key }
      })
      const at = yield* onIpv6(port)
      for (const host of [`[::1]:${at}`, `[::1%${zone}]:${at}`]) {
        const session = yield* SmtpSession.make({ host, tls: "starttls", tlsOptions: { ca: made.ca } })
        expect(yield* session.tls).toMatchObject({ verified: true, servername: "::1" })
      }
    }).pipe(Effect.provide(NodeSmtp.layer))
  )

  for (const host of ["::1", "[::1]", `[::1%${zone}]`]) {
    it.scopedLive(`is dialled as a proxy, also from Config: ${host}`, () =>
      Effect.gen(function* () {
        const { port, server } = yield* NodeSmtpTest.server()
        const socks = String(yield* onIpv6((yield* socksProxy()).port))
        const http = String(yield* onIpv6((yield* httpProxy()).port))
        const environment = {
          SOCKS_HOST: host,
          SOCKS_PORT: socks,
          HTTP_HOST: host === "::1" ? host : `${host}:${http}`,
          ...(host === "::1" && { HTTP_PORT: http })
        }
        for (const proxy of [
          NodeSmtpSocks.layerConfig(NodeSmtpSocks.config("SOCKS")),
          NodeSmtpHttpProxy.layerConfig(NodeSmtpHttpProxy.config("HTTP"))
        ]) {
          const layer = Layer.mergeAll(proxy, NodeSmtp.layerTls, CapabilityCache.layerMemory)
          const session = yield* Effect.provide(
            SmtpSession.make({ host: "127.0.0.1", port, tls: "none" }),
            layer
          ).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment)))))
          yield* session.send(message)
        }
        expect((yield* server.messages).length).toBe(2)
      })
    )
  }

  it.scopedLive("is dialled from Config", () =>
    Effect.gen(function* () {
      const { port, server } = yield* NodeSmtpTest.server()
      const environment = new Map([
        ["SMTP_HOST", `[::1%${zone}]:${yield* onIpv6(port)}`],
        ["SMTP_TLS", "none"]
      ])
      const options = yield* Effect.withConfigProvider(
        SmtpClient.config("SMTP"),
        ConfigProvider.fromMap(environment)
      )
      yield* (yield* SmtpClient.make(options)).send(message)
      expect((yield* server.messages).length).toBe(1)
    }).pipe(Effect.provide(NodeSmtp.layer))
  )
}

const name = "the IPv6 loopback address"

if (loopback !== undefined) describe(name, () => define(loopback))
else if (process.env["CI"] === "true") {
  describe(name, () => it("exists on this machine", () => expect.fail("no interface has the address ::1")))
} else {
  console.warn(`skipped: ${name} (no interface has the address ::1)`)
  describe.skip(`${name} (no interface has it)`, () => define("lo"))
}
