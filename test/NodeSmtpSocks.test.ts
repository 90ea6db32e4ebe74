import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { inspect } from "node:util"
import * as NodeSmtpSocks from "../src/NodeSmtpSocks.js"
import { SmtpSocket } from "../src/SmtpSocket.js"
import { listen, pullText } from "./support/loopback.js"
import { behavesAsADialler, dialThrough, hostileProxy, socksProxy } from "./support/proxies.js"

const host = "127.0.0.1"
const password = Redacted.make("hunter2")

describe("NodeSmtpSocks, version 5", () => {
  behavesAsADialler(socksProxy, (port) => NodeSmtpSocks.make({ host, port }))
})

describe("NodeSmtpSocks, version 4", () => {
  behavesAsADialler(socksProxy, (port) => NodeSmtpSocks.make({ host, port, version: 4 }))
})

describe("NodeSmtpSocks with credentials", () => {
  behavesAsADialler(
    (options) => socksProxy({ ...options, credentials: "app:hunter2" }),
    (port) => NodeSmtpSocks.make({ host, port, username: "app", password })
  )

  it.scopedLive("gives user name and password to version 5, and the user name to version 4", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 ready\r\n"))
      const five = yield* socksProxy({ credentials: "app:hunter2" })
      yield* dialThrough(
        yield* NodeSmtpSocks.make({ host, port: five.port, username: "app", password }),
        port
      )
      const four = yield* socksProxy({ credentials: "app" })
      const service = yield* NodeSmtpSocks.make({ host, port: four.port, version: 4, username: "app" })
      expect(yield* pullText(yield* dialThrough(service, port))).toBe("220 ready\r\n")
      expect([...five.asked, ...four.asked].map(({ credentials }) => credentials)).toEqual([
        "app:hunter2",
        "app"
      ])
    })
  )

  it.scopedLive.each([{ username: "app", password }, {}])(
    "is Authentication for a proxy that wants others, with no secret: %#",
    (options) =>
      Effect.gen(function* () {
        const proxy = yield* socksProxy({ credentials: "other:secret" })
        const service = yield* NodeSmtpSocks.make({ host, port: proxy.port, ...options })
        const error = yield* Effect.flip(dialThrough(service, 25))
        expect(error).toMatchObject({ cause: { _tag: "ProxyError", reason: "Authentication" } })
        const printed = `${inspect(error, { depth: Infinity, showHidden: true })} ${JSON.stringify(error)} ${String(error.stack)}`
        expect(printed).not.toContain("hunter2")
        expect(printed).toContain(`127.0.0.1:${proxy.port}`)
      })
  )
})

describe("NodeSmtpSocks", () => {
  it.scopedLive("hands addresses on as addresses", () =>
    Effect.gen(function* () {
      const proxy = yield* socksProxy()
      const service = yield* NodeSmtpSocks.make({ host, port: proxy.port })
      yield* Effect.flip(dialThrough(service, 25, { host: "2001:db8::1" }))
      expect(proxy.asked).toMatchObject([{ host: "20010db8000000000000000000000001", port: 25 }])
    })
  )

  it.scopedLive.each<[string, ReadonlyArray<number>]>([
    ["another version", [4, 0]],
    ["a method that was not offered", [5, 9]],
    ["no method", [5, 0xff]]
  ])("gives up a proxy that answers with %s", ([, answer]) =>
    Effect.gen(function* () {
      const proxy = yield* hostileProxy((socket) =>
        socket.once("data", () => socket.write(Buffer.from(answer)))
      )
      const error = yield* Effect.flip(dialThrough(yield* NodeSmtpSocks.make({ host, port: proxy.port }), 25))
      expect(error).toMatchObject({
        reason: "Unreachable",
        cause: { reason: answer[1] === 0xff ? "Authentication" : "Malformed" }
      })
    })
  )

  it.effect.each<[string, Partial<NodeSmtpSocks.Options>]>([
    ["host", { host: "" }],
    ["host", { host: "socks5://proxy" }],
    ["port", { port: 0 }],
    ["username", { password }],
    ["username", { username: "x".repeat(256) }],
    ["username", { username: "a\0b" }],
    ["password", { username: "app", password: Redacted.make("") }],
    ["password", { username: "app", password, version: 4 }]
  ])("is InvalidArgument for a wrong %s", ([field, wrong]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(NodeSmtpSocks.make({ host, ...wrong }))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
    })
  )

  it.scopedLive("is a layer from configuration", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 ready\r\n"))
      const proxy = yield* socksProxy({ credentials: "app:hunter2" })
      const values = {
        PROXY_HOST: host,
        PROXY_PORT: String(proxy.port),
        PROXY_VERSION: "5",
        PROXY_USERNAME: "app",
        PROXY_PASSWORD: "hunter2"
      }
      const layer = NodeSmtpSocks.layerConfig(NodeSmtpSocks.config("PROXY"))
      const text = yield* Effect.flatMap(SmtpSocket, (service) =>
        Effect.flatMap(dialThrough(service, port), pullText)
      ).pipe(
        Effect.provide(layer),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values))))
      )
      expect(text).toBe("220 ready\r\n")
    })
  )
})
