/**
 * The SOCKS handshake, by the package `socks`, on our socket. The package gets the proxy's bytes one by one, so that all
 * bytes after the last of them stay in the socket. Its errors hold the password, so only their text is kept.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Net from "node:net"
import { Duplex } from "node:stream"
import { SocksClient } from "socks"
import type { DialOptions, TcpEndpoint } from "../../SmtpSocket.js"
import { describeCause } from "../effect/cause.js"
import { destroySocket } from "./connection.js"
import type { ProxyAddress, Tunnel } from "./proxy.js"
import { nameOfProxy } from "./proxy.js"
import { ProxyError } from "./proxyError.js"

export interface SocksOptions extends ProxyAddress {
  readonly version: 4 | 5
  readonly username: string | undefined
  readonly password: Redacted.Redacted | undefined
}

export const socksTunnel =
  (options: SocksOptions): Tunnel =>
  (socket, destination, limit) =>
    Effect.async((resume) => {
      const adapter = adapterOf(socket)
      let isDone = false
      let isFirst = true
      const finish = (result: Effect.Effect<void, ProxyError>): void => {
        isDone = true
        socket.off("readable", feed)
        socket.off("end", onLost)
        socket.off("error", onLost)
        socket.off("close", onLost)
        resume(result)
      }
      const fail = (reason: ProxyError["reason"], cause: unknown): void =>
        finish(
          Effect.fail(new ProxyError({ reason, proxy: nameOfProxy(options), detail: describeCause(cause) }))
        )
      const onLost = (cause: unknown): void =>
        fail("Closed", cause instanceof Error ? cause : "it ended its stream")
      const feed = (): void => {
        while (!isDone) {
          const byte: unknown = socket.read(1)
          if (!(byte instanceof Uint8Array)) {
            if (socket.readableEnded) onLost(undefined)
            return
          }
          if (isFirst && !mayAnswer(options.version, byte[0])) {
            fail("Malformed", `it does not speak version ${options.version}`)
            return
          }
          isFirst = false
          attempt(() => adapter.emit("data", byte))
        }
      }
      const attempt = (step: () => void): void => {
        try {
          step()
        } catch (cause) {
          fail("Malformed", cause)
        }
      }
      socket.on("readable", feed)
      socket.on("end", onLost)
      socket.on("error", onLost)
      socket.on("close", onLost)
      attempt(() => {
        const client = clientOf(options, destination, limit)
        client.once("established", ({ remoteHost }) => {
          // The package reads an address of an unknown type as empty, and the session would get its bytes.
          if (options.version === 5 && remoteHost === undefined)
            fail("Malformed", "its answer has an address of an unknown type")
          else finish(Effect.void)
        })
        // Never removed: the package's timer may report long after.
        client.on("error", ({ message }) =>
          fail(reasonOf(message), message.replace("undefined", "an unknown code"))
        )
        client.connect(adapter)
      })
      return Effect.sync(() => {
        isDone = true
        adapter.destroy()
        destroySocket(socket)
      })
    })

// The package keeps its options until its own timer ends, so that must be short. Ours ends the handshake before.
const longestTimer = 3_600_000

const clientOf = (
  { host, password, port, username, version }: SocksOptions,
  destination: TcpEndpoint,
  limit: DialOptions["timeout"]
): SocksClient =>
  new SocksClient({
    command: "connect",
    proxy: {
      host,
      port,
      type: version,
      ...(username !== undefined && { userId: username }),
      ...(password !== undefined && { password: Redacted.value(password) })
    },
    destination: { host: destination.host, port: destination.port },
    timeout: Math.min(Duration.toMillis(limit) + 1000, longestTimer)
  })

/** Passes writes on to the socket; reads come as events. */
const adapterOf = (socket: Net.Socket): Duplex => {
  const adapter = new Duplex({
    read: () => undefined,
    write: (chunk: Uint8Array, _encoding, callback) => {
      socket.write(chunk)
      callback()
    }
  })
  adapter.on("error", () => undefined)
  return adapter
}

/** The package does not check version 4, where an answer begins with 0. Some proxies begin with 4. */
const mayAnswer = (version: 4 | 5, first: number | undefined): boolean =>
  version === 5 ? first === 5 : first === 0 || first === 4

/** The package reports its reasons as text only. */
const reasonOf = (message: string): ProxyError["reason"] => {
  // A proxy that changed its version in between.
  if (/rejected connection - Granted/.test(message)) return "Malformed"
  if (/no accepted authentication|authentication failed/i.test(message)) return "Authentication"
  if (/rejected/i.test(message)) return "Refused"
  return /closed|timed out/i.test(message) ? "Closed" : "Malformed"
}
