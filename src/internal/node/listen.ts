/**
 * A real listener in front of a server for tests: TCP on loopback or a UNIX socket, TLS from the first octet or at
 * the server's upgrade. It gives each connection to the server and knows nothing of what is said on it.
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"
import type { Endpoint } from "../../SmtpSocket.js"
import type { NodeConnection } from "./connection.js"
import { destroySocket, fromNodeSocket, takeSocket } from "./connection.js"
import type { ServerConnection, ServerUpgrade } from "../testing/model.js"

/** Where to listen, and with which certificate. */
export interface Options {
  /** The path of a UNIX socket, instead of a TCP port. */
  readonly path?: string | undefined
  /** The server's certificate (`cert`, `key`) and more, as node:tls takes it; needed for TLS of either kind. */
  readonly tls?: Tls.TlsOptions | undefined
  /** `"implicit"` performs the handshake first; `"starttls"` (default) leaves it to the server's upgrade. */
  readonly mode?: "implicit" | "starttls" | undefined
}

/** A handshake that succeeded, as the server saw it. */
export interface Handshake {
  readonly protocol: string | null
  /** The name that the client asked for (SNI). */
  readonly servername: string | undefined
  /** Whether it resumed an earlier TLS session. */
  readonly resumed: boolean
  /** The subject of the client's certificate, e.g. `CN=client`, if it had one that is trusted. */
  readonly client: string | undefined
  /** RFC 9266 `tls-exporter`, to compare with what the client bound its password to. */
  readonly exporter: Uint8Array
}

/** What a listener came to. */
export interface Listening<out Server> {
  readonly endpoint: Endpoint
  /** 0 for a UNIX socket. */
  readonly port: number
  readonly server: Server
  /** What ended the handshakes that failed. */
  readonly handshakeFailures: Effect.Effect<ReadonlyArray<unknown>>
  /** The handshakes that succeeded, in order. */
  readonly handshakes: Effect.Effect<ReadonlyArray<Handshake>>
}

interface Accepting {
  readonly accept: (connection: ServerConnection) => Effect.Effect<void>
}

interface Accepted {
  readonly socket: Net.Socket
  readonly node: NodeConnection
}

const serverEnd = (
  { node, socket }: Accepted,
  reset: () => void,
  known: WeakMap<ServerConnection, Accepted>
): ServerConnection => {
  const end: ServerConnection = {
    ...node,
    end: Effect.sync(() => {
      socket.end()
    }),
    reset: Effect.sync(reset)
  }
  known.set(end, { node, socket })
  return end
}

const servernameOf = (socket: Tls.TLSSocket): string | undefined =>
  "servername" in socket && typeof socket.servername === "string" ? socket.servername : undefined

const handshakeOf = (socket: Tls.TLSSocket): Handshake => ({
  protocol: socket.getProtocol(),
  servername: servernameOf(socket),
  resumed: socket.isSessionReused(),
  client: socket.authorized ? socket.getPeerX509Certificate()?.subject : undefined,
  exporter: socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0))
})

// A TLS server of its own for each handshake, never listening, so that its events are this connection's.
const secure = (socket: Net.Socket, options: Tls.TlsOptions): Effect.Effect<Tls.TLSSocket, Error> =>
  Effect.async((resume) => {
    const server = Tls.createServer(options)
    // In a half-open socket Node would not notice that the client left in the middle of the handshake.
    socket.allowHalfOpen = false
    server.on("secureConnection", (secured) => {
      secured.allowHalfOpen = true
      resume(Effect.succeed(secured))
    })
    server.on("tlsClientError", (error) => {
      resume(Effect.fail(error))
    })
    server.emit("connection", socket)
    return Effect.sync(() => socket.destroy())
  })

const startListening = (server: Net.Server, path: string | undefined): Effect.Effect<number> =>
  Effect.async((resume) => {
    server.once("error", (error) => {
      resume(Effect.die(error))
    })
    const listening = (): void => {
      const address = server.address()
      resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
    }
    if (path === undefined) server.listen(0, "127.0.0.1", listening)
    else server.listen(path, listening)
  })

const stopListening = (server: Net.Server): Effect.Effect<void> =>
  Effect.async((resume) => {
    server.close(() => {
      resume(Effect.void)
    })
  })

const noCertificate = () =>
  new Error("the server upgrades to TLS without a certificate: give the listener its tls options")

/**
 * Listens, on a loopback port of the system's choice or the path, and gives each connection to the server. Every
 * connection is destroyed when the scope closes; a listener that cannot listen is a defect.
 */
export const listen = <Server extends Accepting>(
  makeServer: (upgrade: ServerUpgrade) => Effect.Effect<Server, never, Scope.Scope>,
  options: Options
): Effect.Effect<Listening<Server>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const known = new WeakMap<ServerConnection, Accepted>()
    const failures: Array<unknown> = []
    const handshakes: Array<Handshake> = []
    // Each socket, and what is above it since TLS began.
    const sockets = new Map<Net.Socket, Net.Socket>()
    // One key for all connections, or a client could not resume its TLS session.
    const tls = options.tls === undefined ? undefined : { ticketKeys: randomBytes(48), ...options.tls }

    const upgrade: ServerUpgrade = (connection) =>
      Effect.gen(function* () {
        const accepted = known.get(connection)
        if (tls === undefined || accepted === undefined) return yield* Effect.fail(noCertificate())
        const socket = takeSocket(accepted.node) ?? accepted.socket
        const secured = yield* secure(socket, tls)
        handshakes.push(handshakeOf(secured))
        sockets.set(socket, secured)
        const cut = (): void => destroySocket(secured)
        return serverEnd({ socket: secured, node: fromNodeSocket(secured) }, cut, known)
      }).pipe(
        Effect.tapError((error) =>
          Effect.sync(() => {
            failures.push(error)
          })
        )
      )

    // From above: Node 20 crashes, now and then, when the socket below a TLS socket is reset or destroyed first.
    const destroy = (socket: Net.Socket): void => {
      const above = sockets.get(socket)
      if (above !== undefined) destroySocket(above)
      socket.destroy()
    }

    const server = yield* makeServer(upgrade)
    const listener = Net.createServer({ allowHalfOpen: true, noDelay: true })
    const port = yield* Effect.acquireRelease(startListening(listener, options.path), () =>
      stopListening(listener)
    )
    const run = yield* FiberSet.makeRuntime()
    let closing = false
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closing = true
        for (const socket of sockets.keys()) destroy(socket)
      })
    )

    const accept = (socket: Net.Socket): Effect.Effect<void> =>
      Effect.gen(function* () {
        const reset = (): void => {
          // libuv resets no stream that is being shut down, and Node would lose it for ever.
          if (socket.writableEnded) socket.destroy()
          else socket.resetAndDestroy()
        }
        const plain = serverEnd({ socket, node: fromNodeSocket(socket) }, reset, known)
        yield* server.accept(options.mode === "implicit" ? yield* upgrade(plain) : plain)
      }).pipe(Effect.scoped, Effect.ignore, Effect.ensuring(Effect.sync(() => destroy(socket))))

    listener.on("connection", (socket) => {
      sockets.set(socket, socket)
      socket.on("error", () => undefined)
      socket.on("close", () => sockets.delete(socket))
      if (closing) socket.destroy()
      else run(accept(socket))
    })

    const endpoint: Endpoint =
      options.path === undefined
        ? { _tag: "Tcp", host: "127.0.0.1", port }
        : { _tag: "Unix", path: options.path }
    return {
      endpoint,
      port,
      server,
      handshakeFailures: Effect.sync(() => [...failures]),
      handshakes: Effect.sync(() => [...handshakes])
    }
  })
