import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { createHash, randomBytes } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import type * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeSmtp from "../src/NodeSmtp.js"
import type { DialOptions, Endpoint } from "../src/SmtpSocket.js"
import { SmtpSocket } from "../src/SmtpSocket.js"
import { bytes, eventually, listen, openHandles, pullText } from "./support/loopback.js"

const dial = (endpoint: Endpoint, options?: Partial<DialOptions>) =>
  Effect.flatMap(SmtpSocket, (socket) => socket.dial(endpoint, { timeout: Duration.seconds(10), ...options }))

const tcp = (port: number, host = "127.0.0.1"): Endpoint => ({ _tag: "Tcp", host, port })

describe("NodeSmtp.layerSocket", () => {
  it.scopedLive("carries bytes both ways and reports the addresses", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.pipe(socket))
      const connection = yield* dial(tcp(port))
      yield* connection.write([bytes("EHLO "), bytes(""), bytes("client\r\n")])
      expect(yield* pullText(connection)).toBe("EHLO client\r\n")
      expect(connection.addresses).toMatchObject({ remoteAddress: "127.0.0.1", remotePort: port })
      expect(connection.addresses.localPort).toBeGreaterThan(0)
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("passes several arrays to the system as one write", () =>
    Effect.gen(function* () {
      const received: Array<string> = []
      const { port } = yield* listen((socket) =>
        socket.on("data", (octets) => received.push(octets.toString()))
      )
      const connection = yield* dial(tcp(port))
      yield* connection.write([bytes("a"), bytes("b"), bytes("c")])
      yield* eventually(() => received.length > 0)
      expect(received).toEqual(["abc"])
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("dials a UNIX socket", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "effect-smtplib-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const path = join(folder, "lmtp")
      yield* listen((socket) => socket.end("220 ready\r\n"), { path })
      const connection = yield* dial({ _tag: "Unix", path })
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
      expect(yield* connection.pull).toBeUndefined()
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("dials from the given local address and port", () =>
    Effect.gen(function* () {
      const { port, sockets } = yield* listen(() => undefined)
      const spare = yield* Effect.scoped(listen(() => undefined, { host: "127.0.0.2", port: 0 }))
      yield* dial({ _tag: "Tcp", host: "127.0.0.1", port, localAddress: "127.0.0.2", localPort: spare.port })
      yield* eventually(() => sockets.length === 1)
      expect(sockets[0]?.remoteAddress).toBe("127.0.0.2")
      expect(sockets[0]?.remotePort).toBe(spare.port)
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("reports a refused port with host and port", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(listen(() => undefined))
      const error = yield* Effect.flip(dial(tcp(port)))
      expect(error).toMatchObject({
        _tag: "ConnectError",
        reason: "Unreachable",
        endpoint: `127.0.0.1:${port}`
      })
      expect(error.message).toContain("ECONNREFUSED")
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("reports an invalid port without throwing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(dial(tcp(70_000)))
      expect(error).toMatchObject({ reason: "Unreachable", endpoint: "127.0.0.1:70000" })
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("tries the addresses of a host in turn, and uses the one that answers", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 ready\r\n"))
      const connection = yield* dial(tcp(port, "mail.test"))
      expect(connection.addresses.remoteAddress).toBe("127.0.0.1")
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
    }).pipe(
      Effect.provide(
        NodeSmtp.layerSocketWith({ resolve: () => Effect.succeed(["::1", "127.0.0.3", "127.0.0.1"]) })
      )
    )
  )

  it.scopedLive("reports why each address of a host failed", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(listen(() => undefined))
      const error = yield* Effect.flip(dial(tcp(port, "mail.test")))
      expect(error.endpoint).toBe(`mail.test:${port}`)
      expect(error.cause).toBeInstanceOf(AggregateError)
      expect(error.message).toContain(`127.0.0.2:${port}; connect ECONNREFUSED 127.0.0.3:${port}`)
    }).pipe(
      Effect.provide(NodeSmtp.layerSocketWith({ resolve: () => Effect.succeed(["127.0.0.2", "127.0.0.3"]) }))
    )
  )

  it.scopedLive("tries sixteen addresses of a host and no more", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(listen(() => undefined))
      const error = yield* Effect.flip(dial(tcp(port, "mail.test")))
      expect(error.cause).toBeInstanceOf(AggregateError)
      expect(error.cause).toMatchObject({ errors: { length: 16 } })
    }).pipe(
      Effect.provide(
        NodeSmtp.layerSocketWith({
          resolve: () => Effect.succeed(Array.from({ length: 100 }, (_, index) => `127.0.1.${index + 1}`))
        })
      )
    )
  )

  it.scopedLive("skips the addresses in `except`", () =>
    Effect.gen(function* () {
      const { port } = yield* listen(() => undefined, { host: "0.0.0.0", port: 0 })
      const connection = yield* dial(tcp(port, "mail.test"), { except: ["127.0.0.2"] })
      expect(connection.addresses.remoteAddress).toBe("127.0.0.3")
      const error = yield* Effect.flip(dial(tcp(port, "mail.test"), { except: ["127.0.0.2", "127.0.0.3"] }))
      expect(error.reason).toBe("Unreachable")
    }).pipe(
      Effect.provide(NodeSmtp.layerSocketWith({ resolve: () => Effect.succeed(["127.0.0.2", "127.0.0.3"]) }))
    )
  )

  it.scopedLive("reports a name without an address", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(dial(tcp(25, "mail.test")))
      expect(error.message).toContain("mail.test has no address")
    }).pipe(Effect.provide(NodeSmtp.layerSocketWith({ resolve: () => Effect.succeed([]) })))
  )

  it.scoped("ends a dial at its time limit by Effect's Clock", () =>
    Effect.gen(function* () {
      const dialling = yield* Effect.fork(
        Effect.flip(dial(tcp(25, "mail.test"), { timeout: Duration.seconds(30) }))
      )
      yield* TestClock.adjust("29 seconds")
      expect(yield* Fiber.poll(dialling)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(dialling)).toMatchObject({
        _tag: "ConnectError",
        reason: "Timeout",
        endpoint: "mail.test:25"
      })
    }).pipe(Effect.provide(NodeSmtp.layerSocketWith({ resolve: () => Effect.never })))
  )

  it.scoped("ends an uninterruptible dial at its time limit", () =>
    Effect.gen(function* () {
      const dialling = yield* Effect.fork(
        Effect.uninterruptible(Effect.flip(dial(tcp(25, "mail.test"), { timeout: Duration.seconds(30) })))
      )
      yield* TestClock.adjust("30 seconds")
      expect(yield* Fiber.join(dialling)).toMatchObject({ reason: "Timeout" })
    }).pipe(Effect.provide(NodeSmtp.layerSocketWith({ resolve: () => Effect.never })))
  )

  it.scopedLive("leaves nothing open when a dial is interrupted at any point", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.resume().on("end", () => socket.destroy()))
      const before = openHandles()
      for (let turns = 0; turns < 12; turns++) {
        const dialling = yield* Effect.fork(Effect.scoped(Effect.zipRight(dial(tcp(port)), Effect.never)))
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow()
        yield* Fiber.interrupt(dialling)
      }
      yield* eventually(() => openHandles() <= before)
      expect(openHandles()).toBeLessThanOrEqual(before)
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("closes the connection with its scope", () =>
    Effect.gen(function* () {
      const { port, sockets } = yield* listen((socket) => socket.resume())
      const scope = yield* Scope.make()
      const connection = yield* Scope.extend(dial(tcp(port)), scope)
      yield* eventually(() => sockets.length === 1)
      yield* Scope.close(scope, Exit.void)
      yield* eventually(() => sockets[0]?.readableEnded === true)
      expect(yield* Effect.flip(connection.pull)).toMatchObject({ operation: "read" })
      expect(yield* Effect.flip(connection.write([bytes("x")]))).toMatchObject({ operation: "write" })
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )
})

describe("A connection of NodeSmtp", () => {
  it.scopedLive("counts bytes that were received and not pulled", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 ready\r\n"))
      const connection = yield* dial(tcp(port))
      yield* eventually(() => connection.buffered() === 11)
      yield* connection.pull
      expect(connection.buffered()).toBe(0)
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("loses nothing to an interrupted pull", () =>
    Effect.gen(function* () {
      const { port, sockets } = yield* listen(() => undefined)
      const connection = yield* dial(tcp(port))
      yield* eventually(() => sockets.length === 1)
      const pulling = yield* Effect.fork(connection.pull)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(pulling)
      sockets[0]?.write("220")
      expect(yield* pullText(connection)).toBe("220")
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("still writes after the peer has ended its stream", () =>
    Effect.gen(function* () {
      const received: Array<Buffer> = []
      const { port } = yield* listen((socket) => {
        socket.end("221 bye\r\n")
        socket.on("data", (octets) => received.push(octets))
      })
      const connection = yield* dial(tcp(port))
      expect(yield* pullText(connection)).toBe("221 bye\r\n")
      expect(yield* connection.pull).toBeUndefined()
      expect(yield* connection.pull).toBeUndefined()
      yield* connection.write([bytes("QUIT\r\n")])
      yield* eventually(() => received.length > 0)
      expect(Buffer.concat(received).toString()).toBe("QUIT\r\n")
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("returns what was received before a reset, then the loss", () =>
    Effect.gen(function* () {
      const { port, sockets } = yield* listen((socket) => socket.write("421 bye\r\n"))
      const connection = yield* dial(tcp(port))
      yield* eventually(() => connection.buffered() > 0)
      sockets[0]?.resetAndDestroy()
      yield* eventually(() => openSockets(sockets) === 0)
      expect(yield* pullText(connection)).toBe("421 bye\r\n")
      const error = yield* Effect.flip(connection.pull)
      expect(error).toMatchObject({ _tag: "ConnectionLost", operation: "read" })
      expect(error.message).toContain("ECONNRESET")
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("returns the server's last reply after a failed write", () =>
    Effect.gen(function* () {
      // More than Node reads ahead, so that the second part waits in the kernel when the write fails.
      const first = "x".repeat(100_000)
      const goodbye = "421 bye\r\n"
      const { port, sockets } = yield* listen((socket) => socket.write(first))
      const connection = yield* dial(tcp(port))
      yield* eventually(() => connection.buffered() > 0)
      yield* eventually(() => sockets[0]?.writableLength === 0)
      sockets[0]?.end(goodbye, () => sockets[0]?.destroy())
      let failure = undefined
      while (failure === undefined) {
        failure = yield* Effect.match(connection.write([bytes("NOOP\r\n")]), {
          onFailure: (error) => error,
          onSuccess: () => undefined
        })
        yield* Effect.yieldNow()
      }
      expect(failure).toMatchObject({ operation: "write" })
      const received: Array<Uint8Array> = []
      for (;;) {
        const octets = yield* Effect.orElseSucceed(connection.pull, () => undefined)
        if (octets === undefined) break
        received.push(octets)
      }
      expect(Buffer.concat(received).toString().slice(first.length)).toBe(goodbye)
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("fails a waiting write when destroyed", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.pause())
      const connection = yield* dial(tcp(port))
      const writing = yield* Effect.fork(Effect.flip(connection.write([new Uint8Array(64 * 1024 * 1024)])))
      yield* Effect.yieldNow()
      expect(yield* Fiber.poll(writing)).toMatchObject({ _tag: "None" })
      yield* connection.destroy
      expect(yield* Fiber.join(writing)).toMatchObject({ _tag: "ConnectionLost", operation: "write" })
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("fails a waiting pull when destroyed", () =>
    Effect.gen(function* () {
      const { port } = yield* listen(() => undefined)
      const connection = yield* dial(tcp(port))
      const pulling = yield* Effect.fork(Effect.flip(connection.pull))
      yield* Effect.yieldNow()
      yield* connection.destroy
      expect(yield* Fiber.join(pulling)).toMatchObject({ _tag: "ConnectionLost", operation: "read" })
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("does not read from a flooding server while nobody pulls", () =>
    Effect.gen(function* () {
      const chunk = Buffer.alloc(64 * 1024)
      let taken = 0
      const { port } = yield* listen((socket) => {
        const flood = () => {
          taken += chunk.length
          socket.write(chunk, (error) => {
            if (error === null || error === undefined) flood()
          })
        }
        flood()
      })
      const connection = yield* dial(tcp(port))
      let seen = -1
      while (seen !== taken) {
        seen = taken
        yield* Effect.sleep("100 millis")
      }
      expect(connection.buffered()).toBeLessThan(256 * 1024)
      expect(taken).toBeLessThan(64 * 1024 * 1024)
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )

  it.scopedLive("echoes 64 MiB unchanged", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.pipe(socket))
      const connection = yield* dial(tcp(port))
      const chunk = randomBytes(1024 * 1024)
      const sent = createHash("sha256")
      const received = createHash("sha256")
      const writing = yield* Effect.fork(
        Effect.gen(function* () {
          for (let count = 0; count < 64; count++) {
            chunk.writeUInt32BE(count)
            const octets = Uint8Array.from(chunk)
            sent.update(octets)
            yield* connection.write([octets.subarray(0, 1000), octets.subarray(1000)])
          }
        })
      )
      let total = 0
      while (total < 64 * chunk.length) {
        const octets = yield* connection.pull
        if (octets === undefined) break
        received.update(octets)
        total += octets.length
      }
      yield* Fiber.join(writing)
      expect(received.digest("hex")).toBe(sent.digest("hex"))
    }).pipe(Effect.provide(NodeSmtp.layerSocket))
  )
})

const openSockets = (sockets: ReadonlyArray<Net.Socket>) => sockets.filter((socket) => !socket.closed).length

describe("NodeSmtp.passwordFile", () => {
  it.scopedLive("reads the file each time, without its last line end", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "effect-smtplib-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const path = join(folder, "password")
      const password = NodeSmtp.passwordFile(path)
      for (const [written, read] of [
        ["one\n", "one"],
        ["two \r\n", "two "],
        ["three", "three"]
      ] as const) {
        yield* Effect.promise(() => writeFile(path, written))
        expect(Redacted.value(yield* password)).toBe(read)
      }
      yield* Effect.promise(() => rm(path))
      expect((yield* Effect.flip(password)).message).toMatch(/^cannot read the password: ENOENT/)
    })
  )
})
