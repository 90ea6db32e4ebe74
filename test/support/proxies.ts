/**
 * Proxies on loopback, independent of this library and of the packages it uses, and the tests that every proxy module
 * must pass. They resolve the given names and no others.
 */
import { expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as Http from "node:http"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { inspect } from "node:util"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import type { InvalidArgument } from "../../src/SmtpError.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import type { DialOptions, Service } from "../../src/SmtpSocket.js"
import { SmtpSocket } from "../../src/SmtpSocket.js"
import { bytes, eventually, listen, openHandles, pullText } from "./loopback.js"
import { resourcesLeftBy } from "./resources.js"
import { startSmtpServer } from "./smtpServer.js"

/** What a client asked the proxy for. */
export interface ProxyRequest {
  readonly host: string
  readonly port: number
  /** As received: user and password, or the header. */
  readonly credentials: string | undefined
}

export interface RunningProxy {
  readonly port: number
  readonly requests: ReadonlyArray<ProxyRequest>
  /** The connections of clients. */
  readonly sockets: ReadonlyArray<Net.Socket>
}

export interface ProxyOptions {
  /** The names that it resolves, all to this host. */
  readonly names?: ReadonlyArray<string> | undefined
  /** The expected credentials, as in `ProxyRequest`. */
  readonly credentials?: string | undefined
  /** Bytes that the proxy sends after its answer, in the same write. */
  readonly afterAnswer?: string | undefined
}

const knows = ({ names = [] }: ProxyOptions, host: string): boolean =>
  host === "127.0.0.1" || names.includes(host)

/** Joins both sides, and ends each with the other. */
const join = (one: Net.Socket, other: Net.Socket): void => {
  for (const socket of [one, other]) socket.on("error", () => undefined)
  one.pipe(other).pipe(one)
  one.on("close", () => other.destroy())
  other.on("close", () => one.destroy())
}

/** Reads exactly as many octets. */
const take = async (socket: Net.Socket, count: number): Promise<Buffer> => {
  for (;;) {
    const octets: unknown = socket.read(count)
    if (octets instanceof Buffer) return octets
    if (socket.readableEnded) throw new Error("the client has gone")
    await new Promise((resolve, reject) => {
      socket.once("readable", resolve)
      socket.once("end", resolve)
      socket.once("close", reject)
    })
  }
}

const takeUntilNul = async (socket: Net.Socket): Promise<string> => {
  let text = ""
  for (;;) {
    const octet = (await take(socket, 1)).toString("latin1")
    if (octet === "\0") return text
    text += octet
  }
}

const serveSocks4 = async (
  socket: Net.Socket,
  options: ProxyOptions,
  requests: Array<ProxyRequest>
): Promise<void> => {
  const head = await take(socket, 7)
  const userId = await takeUntilNul(socket)
  const port = head.readUInt16BE(1)
  const address = [...head.subarray(3, 7)].join(".")
  const host = address.startsWith("0.0.0.") ? await takeUntilNul(socket) : address
  requests.push({ host, port, credentials: userId === "" ? undefined : userId })
  const code = userId === (options.credentials ?? userId) ? (knows(options, host) ? 0x5a : 0x5b) : 0x5d
  const answer = Buffer.from([0, code, 0, 0, 0, 0, 0, 0])
  if (code === 0x5a) await connect(socket, port, answer, options)
  else socket.end(answer)
}

const connect = (
  socket: Net.Socket,
  port: number,
  answer: Buffer,
  { afterAnswer = "" }: ProxyOptions
): Promise<void> =>
  new Promise((resolve, reject) => {
    const server = Net.connect({ host: "127.0.0.1", port, allowHalfOpen: true }, () => {
      socket.write(Buffer.concat([answer, bytes(afterAnswer)]))
      join(socket, server)
      resolve()
    })
    server.once("error", reject)
  })

const authenticateSocks5 = async (
  socket: Net.Socket,
  { credentials }: ProxyOptions
): Promise<string | undefined> => {
  const [count = 0] = await take(socket, 1)
  const methods = [...(await take(socket, count))]
  const method = credentials === undefined ? 0 : 2
  socket.write(Buffer.from([5, methods.includes(method) ? method : 0xff]))
  if (method === 0) return undefined
  const text = async (): Promise<string> => (await take(socket, (await take(socket, 1))[0] ?? 0)).toString()
  await take(socket, 1)
  const given = `${await text()}:${await text()}`
  socket.write(Buffer.from([1, given === credentials ? 0 : 1]))
  return given
}

const serveSocks5 = async (
  socket: Net.Socket,
  options: ProxyOptions,
  requests: Array<ProxyRequest>
): Promise<void> => {
  const credentials = await authenticateSocks5(socket, options)
  const [, , , type] = await take(socket, 4)
  const host =
    type === 3
      ? (await take(socket, (await take(socket, 1))[0] ?? 0)).toString()
      : type === 1
        ? [...(await take(socket, 4))].join(".")
        : (await take(socket, 16)).toString("hex")
  const port = (await take(socket, 2)).readUInt16BE(0)
  requests.push({ host, port, credentials })
  if (knows(options, host))
    await connect(socket, port, Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 1]), options)
  else socket.end(Buffer.from([5, 4, 0, 1, 0, 0, 0, 0, 0, 0]))
}

/** A SOCKS proxy that speaks the version that its client does. */
export const socksProxy = (options: ProxyOptions = {}): Effect.Effect<RunningProxy, never, Scope.Scope> =>
  Effect.suspend(() => {
    const requests: Array<ProxyRequest> = []
    const serve = async (socket: Net.Socket): Promise<void> => {
      const [version] = await take(socket, 1)
      await (version === 4 ? serveSocks4 : serveSocks5)(socket, options, requests)
    }
    return Effect.map(
      listen((socket) => void serve(socket).catch(() => socket.destroy())),
      ({ port, sockets }) => ({ port, sockets, requests })
    )
  })

/** A proxy that knows CONNECT and nothing else, in clear or, with a certificate, over TLS. */
export const httpProxy = (
  options: ProxyOptions & { readonly tls?: Tls.TlsOptions | undefined } = {}
): Effect.Effect<RunningProxy, never, Scope.Scope> =>
  Effect.suspend(() => {
    const requests: Array<ProxyRequest> = []
    const http = Http.createServer()
    http.on("connect", (request, socket: Net.Socket) => {
      const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(request.url ?? "") ?? []
      const credentials = request.headers["proxy-authorization"]
      requests.push({ host, port: Number(port), credentials })
      if (credentials !== options.credentials) {
        socket.end(
          "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nno\r\n"
        )
      } else if (knows(options, host)) {
        connect(
          socket,
          Number(port),
          Buffer.from("HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n"),
          options
        ).catch(() => socket.destroy())
      } else socket.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    })
    const secure = options.tls
    return Effect.map(
      listen((socket) => {
        if (secure === undefined) http.emit("connection", socket)
        else {
          const secured = new Tls.TLSSocket(socket, { isServer: true, ...secure })
          secured.on("error", () => socket.destroy())
          http.emit("connection", secured)
        }
      }),
      ({ port, sockets }) => ({ port, sockets, requests })
    )
  })

/** A proxy that handles its connections as given. */
export const hostileProxy = (onSocket: (socket: Net.Socket) => void) =>
  Effect.map(listen(onSocket), ({ port, sockets }): RunningProxy => ({ port, sockets, requests: [] }))

/** A proxy that sends its answers in turn, one for each read, and then ends the connection as given. */
export const answering = (
  answers: ReadonlyArray<string | ReadonlyArray<number>>,
  end: (socket: Net.Socket) => void
): Effect.Effect<RunningProxy, never, Scope.Scope> =>
  hostileProxy((socket) => {
    const left = answers.map((answer) =>
      typeof answer === "string" ? Buffer.from(answer, "latin1") : Buffer.from(answer)
    )
    socket.on("data", () => {
      const answer = left.shift()
      if (answer !== undefined && answer.length > 0) socket.write(answer)
      if (left.length === 0) end(socket)
    })
  })

/** The first bytes of the answers, split as the answers are. */
export const cutOff = (
  answers: ReadonlyArray<ReadonlyArray<number>>,
  length: number
): ReadonlyArray<ReadonlyArray<number>> => {
  const [first, ...others] = answers
  if (first === undefined) return []
  return length < first.length ? [first.slice(0, length)] : [first, ...cutOff(others, length - first.length)]
}

/** Everything that could be printed about an error. */
export const printed = (error: Error): string =>
  `${inspect(error, { depth: Infinity, showHidden: true })} ${JSON.stringify(error)} ${String(error.stack)}`

/** Makes a dialler from a proxy's port. */
export type MakeDialler = (port: number) => Effect.Effect<Service, InvalidArgument>

export const dialThrough = (
  service: Service,
  port: number,
  options: Partial<DialOptions> & { readonly host?: string } = {}
) => {
  const { host = "127.0.0.1", ...rest } = options
  return service.dial({ _tag: "Tcp", host, port }, { timeout: Duration.seconds(10), ...rest })
}

const layerOf = (service: Service) =>
  Layer.mergeAll(Layer.succeed(SmtpSocket, service), NodeSmtp.layerTls, CapabilityCache.layerMemory)

/** The tests for every kind of proxy. */
export const behavesAsADialler = (
  start: (options?: ProxyOptions) => Effect.Effect<RunningProxy, never, Scope.Scope>,
  make: MakeDialler
): void => {
  const policies = ["starttls", "implicit", "none"] as const
  for (const tls of policies) {
    it.scopedLive(`carries a whole session with tls "${tls}", to a name that only the proxy knows`, () =>
      Effect.gen(function* () {
        const server = yield* startSmtpServer()
        const proxy = yield* start({ names: ["mail.test"] })
        const session = yield* SmtpSession.make({
          host: "mail.test",
          port: tls === "implicit" ? server.tlsPort : server.port,
          tls,
          tlsOptions: { ca: server.certificates.ca, servername: "localhost" }
        }).pipe(Effect.provide(layerOf(yield* make(proxy.port))))
        yield* session.send({ from: "a@x.test", to: "ann@example.test", content: "Subject: x\r\n\r\nx\r\n" })
        expect(proxy.requests).toMatchObject([
          { host: "mail.test", port: session.endpoint._tag === "Tcp" ? session.endpoint.port : 0 }
        ])
        expect(yield* server.accepted).toMatchObject([{ secure: tls !== "none" }])
        expect(session.addresses.remoteAddress).toBeUndefined()
      })
    )
  }

  it.scopedLive("loses no byte that follows the proxy's answer in the same write", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("250 later\r\n"))
      const proxy = yield* start({ afterAnswer: "220 first\r\n" })
      const connection = yield* dialThrough(yield* make(proxy.port), port)
      let text = ""
      while (!text.includes("later")) text += (yield* pullText(connection)) ?? ""
      expect(text).toBe("220 first\r\n250 later\r\n")
    })
  )

  it.scopedLive("reads an answer that arrives byte by byte, and loses nothing after it", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("250 later\r\n"))
      const proxy = yield* start({ afterAnswer: "220 first\r\n" })
      const between = yield* listen((socket) => {
        const onward = Net.connect({ host: "127.0.0.1", port: proxy.port })
        onward.on("error", () => socket.destroy())
        socket.on("close", () => onward.destroy())
        socket.pipe(onward)
        onward.on("data", (octets) => {
          for (const octet of octets) socket.write(Uint8Array.of(octet))
        })
      })
      const connection = yield* dialThrough(yield* make(between.port), port)
      let text = ""
      while (!text.includes("later")) text += (yield* pullText(connection)) ?? ""
      expect(text).toBe("220 first\r\n250 later\r\n")
    })
  )

  it.scopedLive("rejects a server that speaks first, which is not a proxy", () =>
    Effect.gen(function* () {
      const proxy = yield* hostileProxy((socket) => {
        socket.resume().write("220 mail.test ESMTP\r\n")
      })
      const error = yield* Effect.flip(dialThrough(yield* make(proxy.port), 25))
      expect(error).toMatchObject({ reason: "Unreachable", cause: { _tag: "ProxyError" } })
      expect(error.message).toMatch(/invalid answer|could not be reached/)
    })
  )

  it.scopedLive("sends a PROXY header to the server, not to the proxy", () =>
    Effect.gen(function* () {
      let said = ""
      const { port } = yield* listen((socket) => {
        socket.on("data", (octets) => {
          said += octets.toString("latin1")
          if (said.endsWith("PROXY UNKNOWN\r\n")) socket.write("220 mail.test ESMTP\r\n")
          else socket.write(said.endsWith("QUIT\r\n") ? "221 bye\r\n" : "250 mail.test\r\n")
        })
      })
      const proxy = yield* start()
      const service = yield* make(proxy.port)
      const open = SmtpSession.make({
        host: "127.0.0.1",
        port,
        tls: "none",
        clientName: "client.test",
        proxyHeader: { version: 1 }
      })
      yield* Effect.scoped(open).pipe(Effect.provide(layerOf(service)))
      expect(said).toBe("PROXY UNKNOWN\r\nEHLO client.test\r\nQUIT\r\n")
      expect(proxy.requests).toMatchObject([{ host: "127.0.0.1", port }])
    })
  )

  it.scopedLive("sends a non-ASCII name as A-labels", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 ready\r\n"))
      const proxy = yield* start({ names: ["xn--bcher-kva.test"] })
      const connection = yield* dialThrough(yield* make(proxy.port), port, { host: "b\u00fccher.test" })
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
      expect(proxy.requests).toMatchObject([{ host: "xn--bcher-kva.test", port }])
    })
  )

  it.scopedLive("sends no request for a host that no proxy can reach", () =>
    Effect.gen(function* () {
      const proxy = yield* start()
      const service = yield* make(proxy.port)
      const hosts = [
        "",
        `${"x".repeat(63)}.`.repeat(4),
        "x".repeat(300),
        "\u00fc".repeat(300),
        "fe80::1%eth0",
        "mail.test\0",
        "mail.test:25 HTTP/1.1\r\nX: y",
        "\u00fc|.test"
      ]
      for (const host of hosts) {
        const error = yield* Effect.flip(dialThrough(service, 25, { host }))
        expect([host, error]).toMatchObject([
          host,
          { reason: "Unreachable", cause: { _tag: "ProxyError", reason: "NotSupported" } }
        ])
      }
      expect(proxy.sockets).toEqual([])
    })
  )

  it.scopedLive("counts bytes that follow the answer as buffered, so that STARTTLS can refuse them", () =>
    Effect.gen(function* () {
      const { port } = yield* listen(() => undefined)
      const proxy = yield* start({ afterAnswer: "220 first\r\n" })
      const connection = yield* dialThrough(yield* make(proxy.port), port)
      yield* eventually(() => connection.buffered() === 11)
    })
  )

  it.scopedLive("carries megabytes both ways unchanged", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.pipe(socket))
      const proxy = yield* start()
      const connection = yield* dialThrough(yield* make(proxy.port), port)
      const sent = new Uint8Array(4 * 1024 * 1024).map((_, index) => (index * 7 + (index >> 8)) & 0xff)
      yield* Effect.fork(connection.write([sent.subarray(0, 1000), sent.subarray(1000)]))
      const received: Array<Uint8Array> = []
      let count = 0
      while (count < sent.length) {
        const octets = yield* connection.pull
        if (octets === undefined) break
        received.push(octets)
        count += octets.length
      }
      expect(Buffer.concat(received).equals(sent)).toBe(true)
    })
  )

  it.scopedLive("fails a write after the proxy has left, and still returns what was received", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("421 bye\r\n"))
      const proxy = yield* start()
      const connection = yield* dialThrough(yield* make(proxy.port), port)
      yield* eventually(() => connection.buffered() > 0)
      for (const socket of proxy.sockets) socket.resetAndDestroy()
      yield* eventually(() => proxy.sockets.every(({ closed }) => closed))
      expect(yield* pullText(connection)).toBe("421 bye\r\n")
      let error = undefined
      while (error === undefined) {
        error = yield* Effect.match(connection.write([bytes("NOOP\r\n")]), {
          onFailure: (lost) => lost,
          onSuccess: () => undefined
        })
        yield* Effect.yieldNow()
      }
      expect(error).toMatchObject({ _tag: "ConnectionLost", operation: "write" })
    })
  )

  it.scopedLive("fails with ConnectError that names server and proxy when the proxy is unreachable", () =>
    Effect.gen(function* () {
      const gone = yield* Effect.scoped(start())
      const error = yield* Effect.flip(dialThrough(yield* make(gone.port), 25, { host: "mail.test" }))
      expect(error).toMatchObject({
        _tag: "ConnectError",
        reason: "Unreachable",
        endpoint: "mail.test:25",
        cause: { _tag: "ProxyError", reason: "Unreachable", proxy: `127.0.0.1:${gone.port}` }
      })
      expect(error.message).toContain(`the proxy 127.0.0.1:${gone.port} could not be reached`)
      expect(error.message).toContain("ECONNREFUSED")
    })
  )

  it.scopedLive("fails with ConnectError when the proxy refuses", () =>
    Effect.gen(function* () {
      const proxy = yield* start()
      const error = yield* Effect.flip(dialThrough(yield* make(proxy.port), 25, { host: "elsewhere.test" }))
      expect(error).toMatchObject({
        reason: "Unreachable",
        endpoint: "elsewhere.test:25",
        cause: { _tag: "ProxyError", reason: "Refused", proxy: `127.0.0.1:${proxy.port}` }
      })
      yield* eventually(() => proxy.sockets.every((socket) => socket.closed || socket.readableEnded))
    })
  )

  it.scopedLive("does not support UNIX sockets", () =>
    Effect.gen(function* () {
      const service = yield* make(1)
      const error = yield* Effect.flip(
        service.dial({ _tag: "Unix", path: "/run/lmtp" }, { timeout: Duration.seconds(1) })
      )
      expect(error).toMatchObject({ endpoint: "/run/lmtp", cause: { reason: "NotSupported" } })
    })
  )

  it.scopedLive("fails when the proxy closes at once or after half an answer", () =>
    Effect.gen(function* () {
      for (const words of ["", "H", "\u0005"]) {
        const proxy = yield* hostileProxy((socket) => {
          socket.once("data", () => socket.end(words, "latin1"))
        })
        const error = yield* Effect.flip(dialThrough(yield* make(proxy.port), 25))
        expect([words, error.reason]).toEqual([words, "Unreachable"])
        expect(error).toMatchObject({ cause: { _tag: "ProxyError" } })
      }
    })
  )

  it.scopedLive("fails when the proxy resets the connection", () =>
    Effect.gen(function* () {
      const proxy = yield* hostileProxy((socket) => socket.once("data", () => socket.resetAndDestroy()))
      const error = yield* Effect.flip(dialThrough(yield* make(proxy.port), 25))
      // Where there is TLS with the proxy, it was still to come.
      expect(error).toMatchObject({ reason: "Unreachable", cause: { _tag: "ProxyError" } })
      expect(error.message).toMatch(/closed the connection|could not be reached/)
    })
  )

  it.scopedLive("fails when the proxy sends garbage, and reads little of it", () =>
    Effect.gen(function* () {
      let sent = 0
      const proxy = yield* hostileProxy((socket) => {
        const flood = () => {
          sent += 65_536
          socket.write(Buffer.alloc(65_536, "z"), (error) => {
            if (error === null || error === undefined) flood()
          })
        }
        flood()
      })
      const error = yield* Effect.flip(dialThrough(yield* make(proxy.port), 25))
      expect(error).toMatchObject({ reason: "Unreachable", cause: { _tag: "ProxyError" } })
      expect(sent).toBeLessThan(64 * 1024 * 1024)
    })
  )

  it.scopedLive("fails at the time limit when the proxy is silent or slow, and leaves nothing open", () =>
    Effect.gen(function* () {
      const drip = (socket: Net.Socket) => {
        const timer = setInterval(() => socket.write("H"), 5)
        socket.on("close", () => clearInterval(timer))
      }
      for (const behaviour of [() => undefined, drip]) {
        const proxy = yield* hostileProxy((socket) => {
          socket.resume()
          if (behaviour === drip) setTimeout(() => drip(socket), 1000)
        })
        const service = yield* make(proxy.port)
        const left = yield* resourcesLeftBy(
          Effect.gen(function* () {
            const error = yield* Effect.flip(
              Effect.scoped(dialThrough(service, 25, { timeout: Duration.millis(100) }))
            )
            expect(error).toMatchObject({ _tag: "ConnectError", reason: "Timeout" })
            expect(error.message).toContain(`the proxy 127.0.0.1:${proxy.port}`)
            yield* eventually(() => proxy.sockets.every(({ readableEnded }) => readableEnded))
            for (const socket of proxy.sockets) socket.destroy()
          })
        )
        expect(left).toEqual({})
      }
    })
  )

  it.scoped("follows Effect's Clock for its time limit", () =>
    Effect.gen(function* () {
      const proxy = yield* hostileProxy((socket) => socket.resume())
      const service = yield* make(proxy.port)
      const dialling = yield* Effect.fork(
        Effect.uninterruptible(Effect.flip(dialThrough(service, 25, { timeout: Duration.minutes(5) })))
      )
      yield* eventually(() => proxy.sockets.length === 1)
      yield* TestClock.adjust("299 seconds")
      expect(yield* Fiber.poll(dialling)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(dialling)).toMatchObject({ reason: "Timeout", endpoint: "127.0.0.1:25" })
    })
  )

  it.scopedLive("leaves nothing open when interrupted at any point", () =>
    Effect.gen(function* () {
      const server = yield* listen((socket) => socket.resume().on("end", () => socket.destroy()))
      const proxy = yield* start()
      const service = yield* make(proxy.port)
      const before = openHandles()
      for (let turns = 0; turns < 60; turns++) {
        const dialling = yield* Effect.fork(
          Effect.scoped(Effect.zipRight(dialThrough(service, server.port), Effect.never))
        )
        for (let turn = 0; turn < turns; turn++) {
          yield* turn % 2 === 0
            ? Effect.yieldNow()
            : Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        yield* Fiber.interrupt(dialling)
      }
      yield* eventually(() => openHandles() <= before)
      expect(openHandles()).toBeLessThanOrEqual(before)
    })
  )

  it.scopedLive("closes the connection with its scope, and at once when destroyed", () =>
    Effect.gen(function* () {
      const server = yield* listen((socket) => socket.resume())
      const proxy = yield* start()
      const service = yield* make(proxy.port)
      const scope = yield* Scope.make()
      const one = yield* Scope.extend(dialThrough(service, server.port), scope)
      const other = yield* Scope.extend(dialThrough(service, server.port), scope)
      yield* eventually(() => server.sockets.length === 2)
      yield* other.destroy
      yield* eventually(() => server.sockets.some(({ readableEnded }) => readableEnded))
      yield* Scope.close(scope, Exit.void)
      yield* eventually(() => server.sockets.every(({ readableEnded }) => readableEnded))
      expect(yield* Effect.flip(one.pull)).toMatchObject({ operation: "read" })
    })
  )
}
