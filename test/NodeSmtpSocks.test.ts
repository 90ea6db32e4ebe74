import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import * as NodeSmtpSocks from "../src/NodeSmtpSocks.js"
import { SmtpSocket } from "../src/SmtpSocket.js"
import { untyped } from "./support/untyped.js"
import { eventually, listen, openHandles, pullText } from "./support/loopback.js"
import {
  answering,
  behavesAsADialler,
  cutOff,
  dialThrough,
  hostileProxy,
  printed,
  socksProxy
} from "./support/proxies.js"

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

  it.scopedLive("sends user name and password by version 5, and the user name by version 4", () =>
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
      expect([...five.requests, ...four.requests].map(({ credentials }) => credentials)).toEqual([
        "app:hunter2",
        "app"
      ])
    })
  )

  it.scopedLive.each([{ username: "app", password }, {}])(
    "fails with Authentication for refused credentials, without secrets: %#",
    (options) =>
      Effect.gen(function* () {
        const proxy = yield* socksProxy({ credentials: "other:secret" })
        const service = yield* NodeSmtpSocks.make({ host, port: proxy.port, ...options })
        const error = yield* Effect.flip(dialThrough(service, 25))
        expect(error).toMatchObject({ cause: { _tag: "ProxyError", reason: "Authentication" } })
        expect(printed(error)).not.toContain("hunter2")
        expect(printed(error)).toContain(`127.0.0.1:${proxy.port}`)
      })
  )
})

describe("NodeSmtpSocks", () => {
  it.scopedLive("sends addresses as addresses", () =>
    Effect.gen(function* () {
      const proxy = yield* socksProxy()
      const service = yield* NodeSmtpSocks.make({ host, port: proxy.port })
      yield* Effect.flip(dialThrough(service, 25, { host: "2001:db8::1" }))
      yield* Effect.flip(dialThrough(service, 25, { host: "::ffff:192.0.2.1" }))
      yield* Effect.flip(dialThrough(service, 25, { host: "192.0.2.1" }))
      expect(proxy.requests).toMatchObject([
        { host: "20010db8000000000000000000000001", port: 25 },
        { host: "00000000000000000000ffffc0000201", port: 25 },
        { host: "192.0.2.1", port: 25 }
      ])
    })
  )

  it.scopedLive.each<[string, ReadonlyArray<number>]>([
    ["another version", [4, 0]],
    ["a method that was not offered", [5, 9]],
    ["no method", [5, 0xff]]
  ])("rejects a proxy that answers with %s", ([, answer]) =>
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

  const address = [0, 1, 127, 0, 0, 1, 0, 25]
  const grantedAt = (code: number, version = 5) => [
    [5, 2],
    [1, 0],
    [version, code, ...address]
  ]
  const four = (code: number, version = 0) => [[version, code, 0, 0, 0, 0, 0, 0]]

  const refused = (
    version: 4 | 5,
    answers: ReadonlyArray<ReadonlyArray<number>>,
    end: "end" | "resetAndDestroy" | "resume"
  ) =>
    Effect.gen(function* () {
      const proxy = yield* answering(answers, (socket) => socket[end]())
      const own = version === 4 ? {} : { password }
      const service = yield* NodeSmtpSocks.make({ host, port: proxy.port, version, username: "app", ...own })
      const error = yield* Effect.flip(dialThrough(service, 25))
      expect(printed(error)).not.toContain("hunter2")
      expect(error.message).not.toContain("undefined")
      expect(error).toMatchObject({ reason: "Unreachable", cause: { _tag: "ProxyError" } })
      return error.cause
    }).pipe(Effect.scoped)

  it.scopedLive.each<[string, 4 | 5, ReadonlyArray<ReadonlyArray<number>>, string]>([
    ...Array.from({ length: 10 }, (_, index): [string, 5, ReadonlyArray<ReadonlyArray<number>>, string] => [
      `refuses with code ${index + 1}`,
      5,
      grantedAt(index + 1),
      "Refused"
    ]),
    ["refuses with code 255", 5, grantedAt(255), "Refused"],
    ["refuses with code 91", 4, four(0x5b), "Refused"],
    ["refuses with code 92", 4, four(0x5c), "Refused"],
    ["refuses with code 93", 4, four(0x5d), "Refused"],
    ["refuses with an unknown code", 4, four(0), "Refused"],
    ["is of another version", 5, [[4, 0]], "Malformed"],
    ["is of another version at the end", 5, grantedAt(0, 4), "Malformed"],
    ["is of another version than 4", 4, four(0x5a, 5), "Malformed"],
    ["speaks SMTP", 4, [[...Buffer.from("220 mail.test\r\n")]], "Malformed"],
    ["speaks HTTP", 5, [[...Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")]], "Malformed"],
    [
      "does not accept the credentials",
      5,
      [
        [5, 2],
        [1, 1]
      ],
      "Authentication"
    ],
    ["requires a method that was not offered", 5, [[5, 1]], "Malformed"],
    ["answers before it is asked", 5, [[5, 2, 1, 0, 5, 0, ...address]], "Malformed"],
    [
      "has an address of an unknown type",
      5,
      [
        [5, 0],
        [5, 0, 0, 2, 127, 0, 0, 1, 0, 25]
      ],
      "Malformed"
    ]
  ])("reports the reason when the proxy %s", ([, version, answers, reason]) =>
    Effect.gen(function* () {
      expect(yield* refused(version, answers, "resume")).toHaveProperty("reason", reason)
    })
  )

  it.scopedLive.each(["end", "resetAndDestroy"] as const)(
    "fails with Closed when the proxy leaves anywhere in its answer: %s",
    (end) =>
      Effect.gen(function* () {
        const before = openHandles()
        for (const [version, answers] of [
          [5, grantedAt(0)],
          [4, four(0x5a)]
        ] as const) {
          for (let length = 0; length < answers.flat().length; length++) {
            const cause = yield* refused(version, cutOff(answers, length), end)
            expect([version, length, cause]).toMatchObject([version, length, { reason: "Closed" }])
          }
        }
        yield* eventually(() => openHandles() <= before)
      })
  )

  it.scoped("times out when the proxy stops anywhere in its answer", () =>
    Effect.gen(function* () {
      for (let length = 0; length < grantedAt(0).flat().length; length++) {
        const said = cutOff(grantedAt(0), length)
        const proxy = yield* answering(said, (socket) => socket.resume())
        const service = yield* NodeSmtpSocks.make({ host, port: proxy.port, username: "app", password })
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

  it.scopedLive.each<[string, ReadonlyArray<number>]>([
    ["of IPv6", [4, ...Array<number>(16).fill(0x20)]],
    ["that is a name", [3, 9, ...Buffer.from("mail.test")]],
    ["that is an empty name", [3, 0]],
    ["that is the longest name", [3, 255, ...Array<number>(255).fill(0x41)]]
  ])("reads an answer with an address %s, and no byte more", ([, bound]) =>
    Effect.gen(function* () {
      const granted = [5, 0, 0, ...bound, 0, 25, ...Buffer.from("220 ready\r\n")]
      const proxy = yield* answering([[5, 0], granted], (socket) => socket.resume())
      const connection = yield* dialThrough(yield* NodeSmtpSocks.make({ host, port: proxy.port }), 25)
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
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
      expect(yield* Effect.flip(NodeSmtpSocks.make({ host: wrong }))).toMatchObject({ field: "host" })
    })
  )

  it.effect("refuses a port beside one in host", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(NodeSmtpSocks.make({ host: "proxy.example.com:1080", port: 1080 }))
      expect(error).toMatchObject({ field: "port" })
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
    ["password", { username: "app", password, version: 4 }],
    ["host", { host: untyped(null) }],
    ["version", { version: untyped("5") }],
    ["username", { username: untyped(42) }],
    ["password", { username: "app", password: untyped("hunter2") }],
    ["password", { username: "app", password: Redacted.make(untyped(42)) }]
  ])("fails with InvalidArgument for an invalid %s", ([field, wrong]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(NodeSmtpSocks.make({ host, ...wrong }))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      expect(printed(error)).not.toContain("hunter2")
    })
  )

  it.scopedLive("reads a layer from configuration", () =>
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
