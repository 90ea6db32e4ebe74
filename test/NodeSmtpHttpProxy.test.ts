import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import * as NodeSmtpHttpProxy from "../src/NodeSmtpHttpProxy.js"
import { isTransient } from "../src/SmtpError.js"
import { SmtpSocket } from "../src/SmtpSocket.js"
import { makeCertificates } from "./servers/certificates.js"
import { untyped } from "./support/untyped.js"
import { eventually, listen, openHandles, pullText } from "./support/loopback.js"
import {
  answering,
  behavesAsADialler,
  dialThrough,
  hostileProxy,
  httpProxy,
  printed
} from "./support/proxies.js"

const host = "127.0.0.1"
const password = Redacted.make("hünter2")
const basic = `Basic ${Buffer.from("app:hünter2").toString("base64")}`

const secrets = new RegExp(`hünter2|${basic.slice(6)}`)

const certificates = Effect.runSync(Effect.cached(makeCertificates()))

describe("NodeSmtpHttpProxy", () => {
  behavesAsADialler(httpProxy, (port) => NodeSmtpHttpProxy.make({ host, port }))
})

describe("NodeSmtpHttpProxy over TLS", () => {
  behavesAsADialler(
    (options) =>
      Effect.flatMap(certificates, ({ certificate, key }) =>
        httpProxy({ ...options, tls: { cert: certificate, key } })
      ),
    (port) => Effect.flatMap(certificates, ({ ca }) => NodeSmtpHttpProxy.make({ host, port, tls: { ca } }))
  )

  it.scopedLive("sends nothing to a proxy whose certificate is not trusted", () =>
    Effect.gen(function* () {
      const { certificate, key } = yield* certificates
      const proxy = yield* httpProxy({ tls: { cert: certificate, key } })
      const service = yield* NodeSmtpHttpProxy.make({
        host,
        port: proxy.port,
        tls: true,
        username: "app",
        password
      })
      const error = yield* Effect.flip(dialThrough(service, 25))
      expect(error).toMatchObject({
        cause: { reason: "Unreachable", cause: { _tag: "TlsError", reason: "Certificate" } }
      })
      expect(proxy.requests).toEqual([])
    })
  )
})

describe("An HTTP proxy over TLS", () => {
  const granted = "HTTP/1.1 200 OK\r\n\r\n"

  const overTls = (answer: string, end: (secured: Tls.TLSSocket, below: Net.Socket) => void) =>
    Effect.gen(function* () {
      const { ca, certificate, key } = yield* certificates
      const proxy = yield* hostileProxy((below) => {
        const secured = new Tls.TLSSocket(below, { isServer: true, cert: certificate, key })
        secured.on("error", () => below.destroy())
        secured.on("close", () => below.destroy())
        secured.once("data", () => {
          if (answer !== "") secured.write(answer)
          end(secured, below)
        })
      })
      return yield* NodeSmtpHttpProxy.make({
        host,
        port: proxy.port,
        tls: { ca, servername: "localhost" },
        username: "app",
        password
      })
    })

  it.scopedLive.each<[string, (secured: Tls.TLSSocket, below: Net.Socket) => void]>([
    ["ends", (secured) => secured.end()],
    ["resets", (_secured, below) => below.resetAndDestroy()],
    ["ends without a close_notify", (_secured, below) => below.end()]
  ])("that %s wherever in its answer is told, and leaves nothing open", ([, end]) =>
    Effect.gen(function* () {
      const before = openHandles()
      for (let length = 0; length < granted.length; length += 3) {
        const error = yield* Effect.scoped(
          Effect.flatMap(overTls(granted.slice(0, length), end), (service) =>
            Effect.flip(dialThrough(service, 25))
          )
        )
        expect(error).toMatchObject({ reason: "Unreachable", cause: { reason: "Closed" } })
        expect(printed(error)).not.toMatch(secrets)
      }
      yield* eventually(() => openHandles() <= before)
    })
  )

  it.scopedLive("that refuses repeatedly leaves nothing open", () =>
    Effect.gen(function* () {
      const service = yield* overTls("HTTP/1.1 407 No\r\n\r\n", (secured, below) =>
        secured.resume().on("end", () => below.destroy())
      )
      const before = openHandles()
      for (let time = 0; time < 50; time++) {
        const error = yield* Effect.flip(Effect.scoped(dialThrough(service, 25)))
        expect(error).toMatchObject({ cause: { reason: "Authentication" } })
      }
      yield* eventually(() => openHandles() <= before)
    })
  )

  it.scopedLive("that leaves during the handshake causes a transient error", () =>
    Effect.gen(function* () {
      const proxy = yield* hostileProxy((socket) => socket.once("data", () => socket.end()))
      const service = yield* NodeSmtpHttpProxy.make({ host, port: proxy.port, tls: true })
      const error = yield* Effect.flip(dialThrough(service, 25))
      expect(error).toMatchObject({
        cause: { reason: "Unreachable", cause: { _tag: "TlsError", reason: "Disconnected" } }
      })
      expect(isTransient(error)).toBe(true)
    })
  )
})

describe("NodeSmtpHttpProxy with credentials", () => {
  it.scopedLive("sends them by Basic, in UTF-8 (RFC 7617)", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 ready\r\n"))
      const proxy = yield* httpProxy({ credentials: basic })
      const service = yield* NodeSmtpHttpProxy.make({ host, port: proxy.port, username: "app", password })
      expect(yield* pullText(yield* dialThrough(service, port))).toBe("220 ready\r\n")
      expect(proxy.requests.map(({ credentials }) => credentials)).toEqual([basic])
    })
  )

  it.scopedLive("fails with Authentication after a 407, without secrets", () =>
    Effect.gen(function* () {
      const proxy = yield* httpProxy({ credentials: "Basic other" })
      const service = yield* NodeSmtpHttpProxy.make({ host, port: proxy.port, username: "app", password })
      const error = yield* Effect.flip(dialThrough(service, 25))
      expect(error).toMatchObject({ cause: { _tag: "ProxyError", reason: "Authentication", status: 407 } })
      expect(error.message).toBe(
        `Cannot connect to 127.0.0.1:25: the proxy 127.0.0.1:${proxy.port} did not accept the credentials: 407 Proxy Authentication Required. Check host and port.`
      )
      expect(printed(error)).not.toMatch(secrets)
    })
  )
})

describe("An HTTP proxy", () => {
  it.scopedLive.each<[string, string, string]>([
    ["another protocol", "220 mail.test ESMTP\r\n", "Malformed"],
    ["a header without end", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(100_000)}`, "Malformed"],
    ["a redirect", "HTTP/1.1 302 Found\r\nLocation: http://x.test/\r\n\r\n", "Refused"],
    ["a provisional answer", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "Malformed"],
    [
      "a refusal with an unreadable reason phrase",
      "HTTP/1.1 503 \u001b[31mred\r\nContent-Length: 0\r\n\r\n",
      "Refused"
    ]
  ])("that answers with %s fails the dial", ([, answer, reason]) =>
    Effect.gen(function* () {
      const proxy = yield* hostileProxy((socket) => socket.once("data", () => socket.write(answer, "latin1")))
      const error = yield* Effect.flip(
        dialThrough(yield* NodeSmtpHttpProxy.make({ host, port: proxy.port }), 25)
      )
      expect(error).toMatchObject({ reason: "Unreachable", cause: { _tag: "ProxyError" } })
      expect(error.cause).toHaveProperty(
        "reason",
        answer.includes("\u001b") ? expect.stringMatching(/Refused|Malformed/) : reason
      )
      expect(error.message).not.toMatch(/\p{Cc}/u)
    })
  )

  const failing = (answer: string, end: "end" | "resetAndDestroy" | "resume") =>
    Effect.gen(function* () {
      const proxy = yield* answering([answer], (socket) => socket[end]())
      const service = yield* NodeSmtpHttpProxy.make({ host, port: proxy.port, username: "app", password })
      const error = yield* Effect.flip(dialThrough(service, 25))
      expect(printed(error)).not.toMatch(secrets)
      expect(error.message).not.toMatch(/\p{Cc}/u)
      expect(error).toMatchObject({ reason: "Unreachable", cause: { _tag: "ProxyError" } })
      return error.cause
    }).pipe(Effect.scoped)

  it.scopedLive.each([300, 304, 400, 401, 403, 404, 405, 407, 421, 429, 500, 502, 503, 504, 511, 600, 999])(
    "that refuses with %d is reported with its status",
    (status) =>
      Effect.gen(function* () {
        const words = `HTTP/1.1 ${status} some words\r\nContent-Length: 9\r\n\r\n220 hello`
        expect(yield* failing(words, "resume")).toMatchObject({
          reason: status === 407 ? "Authentication" : "Refused",
          status,
          detail: `${status} some words`
        })
      })
  )

  it.scopedLive.each<[string, string]>([
    ["no version", "HTTP 200 OK\r\n\r\n"],
    ["another version", "HTTP/2 200 OK\r\n\r\n"],
    ["another upgrade", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
    ["an invalid status", "HTTP/1.1 OK\r\n\r\n"],
    ["an endless reason phrase", `HTTP/1.1 200 ${"x".repeat(200_000)}`],
    ["endless fields", `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(50_000)}`],
    ["an invalid field", "HTTP/1.1 200 OK\r\nX Y\r\n\r\n"],
    ["a NUL", "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["TLS", "\u0016\u0003\u0001\u0000\u0005\u0001\u0000\u0000\u0001\u0000"],
    ["SOCKS", "\u0005\u0000"]
  ])("that answers with %s is Malformed", ([, answer]) =>
    Effect.gen(function* () {
      expect(yield* failing(answer, "resume")).toHaveProperty("reason", "Malformed")
    })
  )

  const granted = "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"

  it.scopedLive.each(["end", "resetAndDestroy"] as const)(
    "that leaves anywhere in its answer causes Closed: %s",
    (end) =>
      Effect.gen(function* () {
        const before = openHandles()
        for (let length = 0; length < granted.length; length++) {
          const cause = yield* failing(granted.slice(0, length), end)
          expect([length, cause]).toMatchObject([length, { reason: "Closed" }])
        }
        yield* eventually(() => openHandles() <= before)
      })
  )

  it.scoped("that stops anywhere in its answer causes a timeout", () =>
    Effect.gen(function* () {
      for (let length = 0; length < granted.length; length++) {
        const proxy = yield* answering([granted.slice(0, length)], (socket) => socket.resume())
        const service = yield* NodeSmtpHttpProxy.make({ host, port: proxy.port })
        const dialling = yield* Effect.fork(
          Effect.flip(dialThrough(service, 25, { timeout: Duration.minutes(1) }))
        )
        yield* eventually(() => proxy.sockets.some(({ bytesWritten }) => bytesWritten === length))
        yield* TestClock.adjust("59 seconds")
        expect(yield* Fiber.poll(dialling)).toMatchObject({ _tag: "None" })
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(dialling)).toMatchObject({ reason: "Timeout" })
      }
    })
  )

  it.scopedLive.each([
    "HTTP/1.0 200 Connection established\r\n\r\n",
    "HTTP/1.1 200\r\n\r\n",
    "HTTP/1.1 299 fine\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    // RFC 9110 section 9.3.6: they are no part of an answer to CONNECT.
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
  ])("opens a tunnel by %j, and no byte after it is lost", (answer) =>
    Effect.gen(function* () {
      const proxy = yield* answering([`${answer}220 ready\r\n`], (socket) => socket.resume())
      const connection = yield* dialThrough(yield* NodeSmtpHttpProxy.make({ host, port: proxy.port }), 25)
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
    })
  )

  it.scopedLive(
    "gets CONNECT without any bytes after the request and without any field about the client",
    () =>
      Effect.gen(function* () {
        let request = ""
        const proxy = yield* hostileProxy((socket) =>
          socket.on("data", (octets) => {
            request += octets.toString("latin1")
            socket.write(granted)
          })
        )
        const own = { host, port: proxy.port, username: "app", password }
        yield* dialThrough(yield* NodeSmtpHttpProxy.make(own), 587, { host: "mail.test" })
        expect(request).toBe(
          `CONNECT mail.test:587 HTTP/1.1\r\nhost: mail.test:587\r\nproxy-authorization: ${basic}\r\nConnection: close\r\n\r\n`
        )
      })
  )

  it.scopedLive("gets an IPv6 address in brackets", () =>
    Effect.gen(function* () {
      const proxy = yield* httpProxy()
      yield* Effect.flip(
        dialThrough(yield* NodeSmtpHttpProxy.make({ host, port: proxy.port }), 25, { host: "2001:db8::1" })
      )
      expect(proxy.requests).toMatchObject([{ host: "[2001:db8::1]", port: 25 }])
    })
  )

  it.effect.each([
    '"proxy.example.com"',
    "[proxy.example.com]",
    "[::1",
    "::1::2",
    "proxy.example.com%eth0",
    "a,b",
    "proxy.example.com:x"
  ])("refuses the host %s", (wrong) =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(NodeSmtpHttpProxy.make({ host: wrong }))).toMatchObject({ field: "host" })
    })
  )

  it.effect("refuses a port beside one in host", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(NodeSmtpHttpProxy.make({ host: "proxy.example.com:1080", port: 1080 }))
      expect(error).toMatchObject({ field: "port" })
    })
  )

  it.effect.each<[string, Partial<NodeSmtpHttpProxy.Options>]>([
    ["host", { host: "http://proxy" }],
    ["port", { port: 70_000 }],
    ["username", { username: "a:b" }],
    ["username", { password }],
    ["password", { username: "app", password: Redacted.make("a\r\nX: y") }],
    ["host", { host: untyped(42) }],
    ["username", { username: untyped(["a"]) }],
    ["password", { username: "app", password: untyped("hunter2") }]
  ])("fails with InvalidArgument for an invalid %s", ([field, wrong]) =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(NodeSmtpHttpProxy.make({ host, ...wrong }))).toMatchObject({
        _tag: "InvalidArgument",
        field
      })
    })
  )

  it.scopedLive("reads a layer from configuration", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 ready\r\n"))
      const proxy = yield* httpProxy({ credentials: basic })
      const values = {
        PROXY_HOST: host,
        PROXY_PORT: String(proxy.port),
        PROXY_TLS: "false",
        PROXY_USERNAME: "app",
        PROXY_PASSWORD: "hünter2"
      }
      const text = yield* Effect.flatMap(SmtpSocket, (service) =>
        Effect.flatMap(dialThrough(service, port), pullText)
      ).pipe(
        Effect.provide(NodeSmtpHttpProxy.layerConfig(NodeSmtpHttpProxy.config("PROXY"))),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values))))
      )
      expect(text).toBe("220 ready\r\n")
    })
  )
})
