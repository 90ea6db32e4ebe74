/**
 * The least that talks to a server: write octets, read one reply. It knows nothing of SMTP beyond "a reply ends
 * with a line that has no hyphen after its code", so the servers are checked by something other than the library.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Tls from "node:tls"

export interface RawClient {
  /** Sends the octets as they are, and reads one reply. */
  readonly exchange: (text: string | Uint8Array) => Effect.Effect<string>
  /** Reads one reply. */
  readonly reply: Effect.Effect<string>
  /** Goes on under TLS. */
  readonly secure: (ca: string) => Effect.Effect<void>
}

const complete = /^(?:\d{3}-.*\r\n)*\d{3}(?: .*)?\r\n/

interface Reader {
  readonly next: () => Promise<string>
  readonly detach: () => void
}

const makeReader = (socket: Net.Socket): Reader => {
  let received = ""
  let waiting: (() => void) | undefined
  let ended = false
  const onData = (chunk: Buffer): void => {
    received += chunk.toString("utf8")
    waiting?.()
  }
  const onEnd = (): void => {
    ended = true
    waiting?.()
  }
  socket.on("data", onData).on("close", onEnd).on("error", onEnd)
  const next = (): Promise<string> => {
    const match = complete.exec(received)?.[0]
    if (match !== undefined) {
      received = received.slice(match.length)
      return Promise.resolve(match)
    }
    if (ended) return Promise.reject(new Error(`the connection ended in the middle of a reply: ${received}`))
    return new Promise<void>((resolve) => (waiting = resolve)).then(next)
  }
  return { next, detach: () => socket.off("data", onData) }
}

const secured = (options: Tls.ConnectionOptions): Promise<Net.Socket> =>
  new Promise((resolve, reject) => {
    const socket = Tls.connect({ host: "127.0.0.1", servername: "localhost", ...options })
    socket.once("secureConnect", () => resolve(socket)).once("error", reject)
  })

const dial = (endpoint: number | string, ca: string | undefined): Promise<Net.Socket> =>
  ca !== undefined && typeof endpoint === "number"
    ? secured({ port: endpoint, ca })
    : Promise.resolve(
        typeof endpoint === "number" ? Net.connect(endpoint, "127.0.0.1") : Net.connect(endpoint)
      )

/** Connects to a port or UNIX socket (with `ca`, by implicit TLS); the greeting is the first reply. */
export const connect = (
  endpoint: number | string,
  ca?: string
): Effect.Effect<RawClient, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      let socket = await dial(endpoint, ca)
      let reader = makeReader(socket)
      return {
        exchange: (text: string | Uint8Array) =>
          Effect.promise(() => {
            socket.write(text)
            return reader.next()
          }),
        reply: Effect.promise(() => reader.next()),
        secure: (authority: string) =>
          Effect.promise(async () => {
            reader.detach()
            socket = await secured({ socket, ca: authority })
            reader = makeReader(socket)
          }),
        close: Effect.sync(() => socket.destroy())
      }
    }),
    (client) => client.close
  )
