/** A real listener for the servers of SmtpTest: TCP on loopback or a UNIX socket, with implicit TLS or STARTTLS. */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"
import type { Endpoint } from "../../SmtpSocket.js"
import type { ServerConnection, ServerUpgrade } from "../testing/model.js"
import { destroySocket, fromNodeSocket, takeSocket } from "./connection.js"
import { exporterOf } from "./tls.js"

/**
 * Where to listen, and with which certificate.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The path of a UNIX socket, instead of a TCP port. */
  readonly path?: string | undefined
  /** The certificate (`cert`, `key`) and other options of node:tls. Required for TLS. */
  readonly tls?: Tls.TlsOptions | undefined
  /** `"implicit"` begins with the handshake; `"starttls"` (default) leaves it to the server. */
  readonly mode?: "implicit" | "starttls" | undefined
}

/**
 * A successful TLS handshake, as the server saw it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Handshake {
  readonly protocol: string | null
  /** The name that the client sent (SNI). */
  readonly servername: string | undefined
  /** Whether it resumed an earlier TLS session. */
  readonly resumed: boolean
  /** The subject of the client's certificate if it is trusted, e.g. `CN=client`. */
  readonly client: string | undefined
  /**
   * RFC 9266 `tls-exporter`, to compare with the client's channel binding. `undefined` where the runtime does not
   * implement it.
   */
  readonly exporter: Uint8Array | undefined
}

/**
 * A listener and its server. The `socket` and `layer` of the server still connect in memory.
 *
 * @since 0.1.0
 * @category models
 */
export interface Listening<out Server> {
  readonly endpoint: Endpoint
  /** 0 for a UNIX socket. */
  readonly port: number
  readonly server: Server
  /** The errors of failed handshakes. */
  readonly handshakeFailures: Effect.Effect<ReadonlyArray<unknown>>
  /** The successful handshakes, in order. */
  readonly handshakes: Effect.Effect<ReadonlyArray<Handshake>>
}

/** The same object as the Connection, so that `takeSocket` finds its socket. */
const serverEnd = (socket: Net.Socket, reset: () => void): ServerConnection =>
  Object.assign(fromNodeSocket(socket), {
    end: Effect.sync(() => {
      socket.end()
    }),
    reset: Effect.sync(reset)
  })

const handshakeOf = (socket: Tls.TLSSocket): Handshake => ({
  protocol: socket.getProtocol(),
  servername: "servername" in socket && typeof socket.servername === "string" ? socket.servername : undefined,
  resumed: socket.isSessionReused(),
  client: socket.authorized ? socket.getPeerX509Certificate()?.subject : undefined,
  exporter: exporterOf(socket)
})

/** By a TLS server that never listens, so that its events belong to this connection. */
const secure = (socket: Net.Socket, options: Tls.TlsOptions): Effect.Effect<Tls.TLSSocket, Error> =>
  Effect.async((resume) => {
    const server = Tls.createServer(options)
    // With a half-open socket Node does not notice that the client leaves during the handshake.
    socket.allowHalfOpen = false
    server.on("secureConnection", (secured) => {
      secured.allowHalfOpen = true
      resume(Effect.succeed(secured))
    })
    server.on("tlsClientError", (error) => resume(Effect.fail(error)))
    server.emit("connection", socket)
    return Effect.sync(() => socket.destroy())
  })

/** Listens on a free loopback port or the path, until the scope closes. */
const startListening = (server: Net.Server, path: string | undefined) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.once("error", (error) => resume(Effect.die(error)))
      const onListening = (): void => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      }
      if (path === undefined) server.listen(0, "127.0.0.1", onListening)
      else server.listen(path, onListening)
    }),
    () => Effect.async<unknown>((resume) => void server.close(() => resume(Effect.void)))
  )

/** The sockets of a listener, each with the TLS socket above it. */
class OpenSockets {
  readonly secured = new Map<Net.Socket, Net.Socket | undefined>()
  private isClosing = false

  add(socket: Net.Socket): boolean {
    this.secured.set(socket, undefined)
    socket.on("error", () => undefined)
    socket.on("close", () => this.secured.delete(socket))
    if (this.isClosing) socket.destroy()
    return !this.isClosing
  }

  /** Top first: Node 20 sometimes crashes when the socket below a TLS socket is reset or destroyed first. */
  destroy(socket: Net.Socket): void {
    const above = this.secured.get(socket)
    if (above !== undefined) destroySocket(above)
    socket.destroy()
  }

  destroyAll(): void {
    this.isClosing = true
    for (const socket of this.secured.keys()) this.destroy(socket)
  }
}

const makeUpgrade = (tls: Tls.TlsOptions | undefined, sockets: OpenSockets) => {
  const failures: Array<unknown> = []
  const handshakes: Array<Handshake> = []
  const upgrade: ServerUpgrade = (connection) =>
    Effect.gen(function* () {
      const socket = tls && takeSocket(connection)
      if (tls === undefined || socket === undefined) {
        return yield* Effect.fail(new Error("the listener has no certificate; give it the option tls"))
      }
      const secured = yield* secure(socket, tls)
      handshakes.push(handshakeOf(secured))
      sockets.secured.set(socket, secured)
      return serverEnd(secured, () => destroySocket(secured))
    }).pipe(Effect.tapError((error) => Effect.sync(() => void failures.push(error))))
  return {
    upgrade,
    handshakeFailures: Effect.sync(() => [...failures]),
    handshakes: Effect.sync(() => [...handshakes])
  }
}

/**
 * Passes each connection to the server. All are destroyed when the scope closes. A listener that cannot listen is a
 * defect.
 */
export const listen = <
  Server extends { readonly accept: (connection: ServerConnection) => Effect.Effect<void> }
>(
  makeServer: (upgrade: ServerUpgrade) => Effect.Effect<Server, never, Scope.Scope>,
  { mode, path, tls }: Options
): Effect.Effect<Listening<Server>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sockets = new OpenSockets()
    // One ticket key for all connections, or a client could not resume its TLS session.
    const { handshakeFailures, handshakes, upgrade } = makeUpgrade(
      tls && { ticketKeys: randomBytes(48), ...tls },
      sockets
    )
    const server = yield* makeServer(upgrade)
    const listener = Net.createServer({ allowHalfOpen: true, noDelay: true })
    const port = yield* startListening(listener, path)
    const run = yield* FiberSet.makeRuntime()
    yield* Effect.addFinalizer(() => Effect.sync(() => sockets.destroyAll()))

    const accept = (socket: Net.Socket): Effect.Effect<void> =>
      Effect.gen(function* () {
        const plain = serverEnd(socket, () => {
          // libuv does not reset a stream that is being shut down, and Node would lose it.
          if (socket.writableEnded) socket.destroy()
          else socket.resetAndDestroy()
        })
        yield* server.accept(mode === "implicit" ? yield* upgrade(plain) : plain)
      }).pipe(Effect.scoped, Effect.ignore, Effect.ensuring(Effect.sync(() => sockets.destroy(socket))))

    listener.on("connection", (socket) => {
      if (sockets.add(socket)) run(accept(socket))
    })
    const endpoint: Endpoint =
      path === undefined ? { _tag: "Tcp", host: "127.0.0.1", port } : { _tag: "Unix", path }
    return { endpoint, port, server, handshakeFailures, handshakes }
  })
