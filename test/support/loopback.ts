/**
 * Servers on loopback and the waiting that tests with real sockets need. Nothing here knows SMTP.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Tls from "node:tls"
import type { Connection } from "../../src/SmtpSocket.js"

export interface Listening<S extends Net.Socket = Net.Socket> {
  /** 0 for a UNIX socket. */
  readonly port: number
  /** Every socket that was accepted, in order. */
  readonly sockets: ReadonlyArray<S>
}

const onLoopback: Net.ListenOptions = { host: "127.0.0.1", port: 0 }

const serve = <S extends Net.Socket>(
  server: Net.Server,
  sockets: Array<S>,
  where: Net.ListenOptions
): Effect.Effect<Listening<S>, never, Scope.Scope> => {
  const open = new Set<Net.Socket>()
  server.on("connection", (socket: Net.Socket) => {
    open.add(socket)
    socket.on("error", () => undefined)
    socket.on("close", () => open.delete(socket))
  })
  return Effect.acquireRelease(
    Effect.async<Listening<S>>((resume) => {
      server.listen(where, () => {
        const address = server.address()
        const port = address === null || typeof address === "string" ? 0 : address.port
        resume(Effect.succeed({ port, sockets }))
      })
    }),
    () =>
      Effect.async<undefined>((resume) => {
        server.close(() => resume(Effect.succeed(undefined)))
        for (const socket of open) socket.destroy()
      })
  )
}

/** A server; its sockets and itself are closed with the scope. */
export const listen = (onSocket: (socket: Net.Socket) => void, where: Net.ListenOptions = onLoopback) =>
  Effect.suspend(() => {
    const sockets: Array<Net.Socket> = []
    const server = Net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket)
      onSocket(socket)
    })
    return serve(server, sockets, where)
  })

/** A server that speaks TLS from the first octet; `onSocket` sees completed handshakes. */
export const listenTls = (
  options: Tls.TlsOptions,
  onSocket: (socket: Tls.TLSSocket) => void,
  where: Net.ListenOptions = onLoopback
) =>
  Effect.suspend(() => {
    const sockets: Array<Tls.TLSSocket> = []
    const server = Tls.createServer(options, (socket) => {
      sockets.push(socket)
      socket.on("error", () => undefined)
      onSocket(socket)
    })
    server.on("tlsClientError", () => undefined)
    return serve(server, sockets, where)
  })

/** Waits until something has become true, one turn of the event loop after another. */
export const eventually = (condition: () => boolean) =>
  Effect.async<undefined>((resume) => {
    const look = () => {
      if (condition()) resume(Effect.succeed(undefined))
      else setImmediate(look)
    }
    look()
  })

/** How many network handles of this process are open. */
export const openHandles = () =>
  process.getActiveResourcesInfo().filter((kind) => /TCP|Pipe|TLS|ConnectWrap/.test(kind)).length

export const bytes = (text: string) => new TextEncoder().encode(text)

export const pullText = (connection: Connection) =>
  Effect.map(connection.pull, (octets) =>
    octets === undefined ? undefined : Buffer.from(octets).toString("latin1")
  )
