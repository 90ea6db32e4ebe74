import * as Socket from "@effect/platform/Socket"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { layerTls } from "../src/NodeSmtp.js"
import type { Endpoint, FromSocketOptions } from "../src/SmtpSocket.js"
import { ConnectionLost, formatEndpoint, fromSocket } from "../src/SmtpSocket.js"
import { TlsUpgrade } from "../src/TlsUpgrade.js"
import { makeCertificates } from "./servers/certificates.js"
import { bytes, eventually, listen, listenTls, pullText } from "./support/loopback.js"

const endpoint: Endpoint = { _tag: "Tcp", host: "mail.example.com", port: 25 }

const dial = (port: number, options?: Partial<FromSocketOptions>) =>
  NodeSocket.makeNet({ host: "127.0.0.1", port }).pipe(
    Effect.flatMap((socket) => fromSocket(socket, endpoint, { timeout: Duration.seconds(10), ...options }))
  )

describe("formatEndpoint", () => {
  it("names host and port, an IPv6 address in brackets, or the path", () => {
    expect(formatEndpoint(endpoint)).toBe("mail.example.com:25")
    expect(formatEndpoint({ _tag: "Tcp", host: "::1", port: 465 })).toBe("[::1]:465")
    expect(formatEndpoint({ _tag: "Unix", path: "/run/lmtp" })).toBe("/run/lmtp")
  })
})

describe("ConnectionLost", () => {
  it("says what failed and why", () => {
    const lost = new ConnectionLost({ operation: "write", cause: new Error("write EPIPE") })
    expect(lost.message).toBe("The write failed: write EPIPE")
  })
})

describe("fromSocket", () => {
  it.scopedLive("carries octets both ways and ends with the peer's stream", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => {
        socket.once("data", (octets: Buffer) => socket.end(octets))
      })
      const connection = yield* dial(port)
      yield* connection.write([bytes("EHLO "), bytes(""), bytes("client\r\n")])
      expect(yield* pullText(connection)).toBe("EHLO client\r\n")
      expect(yield* connection.pull).toBeUndefined()
      expect(connection.addresses.remoteAddress).toBeUndefined()
    })
  )

  it.scopedLive("fails a write after the end instead of waiting for ever", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.end("421 bye\r\n"))
      const connection = yield* dial(port)
      expect(yield* pullText(connection)).toBe("421 bye\r\n")
      expect(yield* connection.pull).toBeUndefined()
      expect(yield* Effect.flip(connection.write([bytes("QUIT\r\n")]))).toMatchObject({
        _tag: "ConnectionLost",
        operation: "write"
      })
    })
  )

  it.scopedLive("gives what was received before a reset, then the loss", () =>
    Effect.gen(function* () {
      const { port, sockets } = yield* listen((socket) => socket.write("421 bye\r\n"))
      const connection = yield* dial(port)
      yield* eventually(() => connection.buffered() === 9)
      sockets[0]?.resetAndDestroy()
      yield* eventually(() => sockets[0]?.closed === true)
      expect(yield* pullText(connection)).toBe("421 bye\r\n")
      const error = yield* Effect.flip(connection.pull)
      expect(error).toMatchObject({ _tag: "ConnectionLost", operation: "read" })
      expect(error.message).toContain("ECONNRESET")
    })
  )

  it.scopedLive("gives the connection up when more waits than it may hold", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write(Buffer.alloc(4 * 1024 * 1024)))
      const connection = yield* dial(port, { maxBuffered: 100_000 })
      const isLost = yield* Effect.fork(
        Effect.flip(Effect.forever(connection.pull.pipe(Effect.delay("50 millis"))))
      )
      const error = yield* Fiber.join(isLost)
      expect(error.message).toContain("100000 bytes that were not read")
    })
  )

  it.scopedLive("destroys at once, with a write under way", () =>
    Effect.gen(function* () {
      const { port, sockets } = yield* listen((socket) => socket.pause())
      const connection = yield* dial(port)
      yield* eventually(() => sockets.length === 1)
      const writing = yield* Effect.fork(Effect.flip(connection.write([new Uint8Array(64 * 1024 * 1024)])))
      yield* Effect.sleep("10 millis")
      yield* connection.destroy
      yield* connection.destroy
      expect(yield* Fiber.join(writing)).toMatchObject({ operation: "write" })
      expect(yield* Effect.flip(connection.pull)).toMatchObject({ operation: "read" })
      expect(yield* Effect.flip(connection.write([bytes("x")]))).toMatchObject({ operation: "write" })
      sockets[0]?.resume()
      yield* eventually(() => sockets[0]?.readableEnded === true || sockets[0]?.destroyed === true)
    })
  )

  it.scopedLive("closes the socket with the scope", () =>
    Effect.gen(function* () {
      const { port, sockets } = yield* listen((socket) => socket.resume())
      yield* Effect.scoped(dial(port))
      yield* eventually(() => sockets[0]?.readableEnded === true)
    })
  )

  it.scopedLive("tells of a socket that does not open, with the system's reason", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(listen(() => undefined))
      const error = yield* Effect.flip(dial(port))
      expect(error).toMatchObject({
        _tag: "ConnectError",
        reason: "Unreachable",
        endpoint: "mail.example.com:25"
      })
      expect(error.message).toContain("ECONNREFUSED")
    })
  )

  it.scoped("ends the wait for a socket that does not open at the time limit, by the Clock", () =>
    Effect.gen(function* () {
      let stopped = false
      const never = Socket.Socket.of({
        [Socket.TypeId]: Socket.TypeId,
        run: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => (stopped = true))),
        runRaw: () => Effect.never,
        writer: Effect.succeed(() => Effect.never)
      })
      const dialling = yield* Effect.fork(
        Effect.flip(fromSocket(never, endpoint, { timeout: Duration.seconds(30) }))
      )
      // The import in it takes turns of the event loop, which the TestClock does not wait for.
      yield* Effect.promise(() => import("@effect/platform/Socket"))
      yield* TestClock.adjust("30 seconds")
      const error = yield* Fiber.join(dialling)
      expect(error).toMatchObject({ _tag: "ConnectError", reason: "Timeout" })
      expect(stopped).toBe(true)
    })
  )

  it.scopedLive("can be secured like any other connection", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls({ cert: certificates.certificate, key: certificates.key }, (socket) =>
        socket.write("220 ready\r\n")
      )
      const connection = yield* dial(port)
      const service = yield* TlsUpgrade
      const secured = yield* service.upgrade(connection, {
        host: "localhost",
        port,
        timeout: Duration.seconds(10),
        tls: { ca: certificates.ca }
      })
      expect(yield* pullText(secured)).toBe("220 ready\r\n")
      yield* secured.destroy
      expect(Exit.isFailure(yield* Effect.exit(connection.pull))).toBe(true)
    }).pipe(Effect.provide(layerTls))
  )
})
