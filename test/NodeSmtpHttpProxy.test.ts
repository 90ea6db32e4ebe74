import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { inspect } from "node:util"
import * as NodeSmtpHttpProxy from "../src/NodeSmtpHttpProxy.js"
import { SmtpSocket } from "../src/SmtpSocket.js"
import { makeCertificates } from "./servers/certificates.js"
import { listen, pullText } from "./support/loopback.js"
import { behavesAsADialler, dialThrough, hostileProxy, httpProxy } from "./support/proxies.js"

const host = "127.0.0.1"
const password = Redacted.make("hünter2")
const basic = `Basic ${Buffer.from("app:hünter2").toString("base64")}`

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

  it.scopedLive("says nothing to a proxy whose certificate is not trusted", () =>
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
      expect(proxy.asked).toEqual([])
    })
  )
})

describe("NodeSmtpHttpProxy with credentials", () => {
  it.scopedLive("gives them by Basic, in UTF-8 (RFC 7617)", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 ready\r\n"))
      const proxy = yield* httpProxy({ credentials: basic })
      const service = yield* NodeSmtpHttpProxy.make({ host, port: proxy.port, username: "app", password })
      expect(yield* pullText(yield* dialThrough(service, port))).toBe("220 ready\r\n")
      expect(proxy.asked.map(({ credentials }) => credentials)).toEqual([basic])
    })
  )

  it.scopedLive("is Authentication for a 407, with no secret", () =>
    Effect.gen(function* () {
      const proxy = yield* httpProxy({ credentials: "Basic other" })
      const service = yield* NodeSmtpHttpProxy.make({ host, port: proxy.port, username: "app", password })
      const error = yield* Effect.flip(dialThrough(service, 25))
      expect(error).toMatchObject({ cause: { _tag: "ProxyError", reason: "Authentication", status: 407 } })
      expect(error.message).toBe(
        `Could not connect to 127.0.0.1:25: the proxy 127.0.0.1:${proxy.port} did not accept the credentials: 407 Proxy Authentication Required; check host and port, and that the server accepts connections`
      )
      const printed = `${inspect(error, { depth: Infinity, showHidden: true })} ${JSON.stringify(error)}`
      expect(printed).not.toMatch(new RegExp(`hünter2|${basic.slice(6)}`))
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
      "a refusal with words that are none",
      "HTTP/1.1 503 \u001b[31mred\r\nContent-Length: 0\r\n\r\n",
      "Refused"
    ]
  ])("that answers with %s is given up", ([, answer, reason]) =>
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

  it.scopedLive("whose answer comes octet by octet is understood", () =>
    Effect.gen(function* () {
      const answer = "HTTP/1.1 200 OK\r\nProxy-Agent: slow\r\n\r\n220 ready\r\n"
      const proxy = yield* hostileProxy((socket) => {
        socket.once("data", () => {
          const octets = Array.from(answer)
          const next = () => {
            const octet = octets.shift()
            if (octet !== undefined) socket.write(octet, () => setImmediate(next))
          }
          next()
        })
      })
      const connection = yield* dialThrough(yield* NodeSmtpHttpProxy.make({ host, port: proxy.port }), 25)
      let text = ""
      while (!text.endsWith("\n")) text += (yield* pullText(connection)) ?? ""
      expect(text).toBe("220 ready\r\n")
    })
  )

  it.scopedLive("is asked for an IPv6 address in brackets", () =>
    Effect.gen(function* () {
      const proxy = yield* httpProxy()
      yield* Effect.flip(
        dialThrough(yield* NodeSmtpHttpProxy.make({ host, port: proxy.port }), 25, { host: "2001:db8::1" })
      )
      expect(proxy.asked).toMatchObject([{ host: "[2001:db8::1]", port: 25 }])
    })
  )

  it.effect.each<[string, Partial<NodeSmtpHttpProxy.Options>]>([
    ["host", { host: "http://proxy" }],
    ["port", { port: 70_000 }],
    ["username", { username: "a:b" }],
    ["username", { password }],
    ["password", { username: "app", password: Redacted.make("a\r\nX: y") }]
  ])("is InvalidArgument for a wrong %s", ([field, wrong]) =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(NodeSmtpHttpProxy.make({ host, ...wrong }))).toMatchObject({
        _tag: "InvalidArgument",
        field
      })
    })
  )

  it.scopedLive("is a layer from configuration", () =>
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
