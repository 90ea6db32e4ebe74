/**
 * The SOCKS handshake, by the package `socks`, on a socket that is ours: it is given the proxy's octets one by one, so
 * that what is behind the last of them stays in the socket, and its errors, which hold the password, go no further.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Net from "node:net"
import { Duplex } from "node:stream"
import { SocksClient } from "socks"
import { describeCause } from "../effect/cause.js"
import { destroySocket } from "./connection.js"
import type { Tunnel } from "./proxy.js"
import { nameOf } from "./proxy.js"
import { ProxyError } from "./proxyError.js"

export interface Options {
  readonly host: string
  readonly port: number
  readonly version: 4 | 5
  readonly username: string | undefined
  readonly password: Redacted.Redacted | undefined
}

// The package keeps its options until its own timer ends; ours ends the handshake before.
const longestTimer = 3_600_000

export const tunnel =
  (options: Options): Tunnel =>
  (socket, destination, limit) =>
    Effect.async((resume) => {
      const adapter = adapterOf(socket)
      const finish = (result: Effect.Effect<void, ProxyError>): void => {
        socket.off("readable", feed)
        socket.off("end", lost)
        socket.off("error", lost)
        socket.off("close", lost)
        resume(result)
      }
      const fail = (reason: ProxyError["reason"], cause: unknown): void =>
        finish(Effect.fail(new ProxyError({ reason, proxy: nameOf(options), detail: describeCause(cause) })))
      const lost = (cause: unknown): void => fail("Closed", cause instanceof Error ? cause : "it went away")
      let done = false
      let isFirst = true
      const feed = (): void => {
        while (!done) {
          const octet: unknown = socket.read(1)
          if (!(octet instanceof Uint8Array)) {
            if (socket.readableEnded) lost(undefined)
            return
          }
          if (isFirst && !mayAnswer(options.version, octet[0])) {
            done = true
            fail("Malformed", `it does not speak version ${options.version}`)
            return
          }
          isFirst = false
          tryTo(() => adapter.emit("data", octet))
        }
      }
      const tryTo = (step: () => void): void => {
        try {
          step()
        } catch (cause) {
          done = true
          fail("Malformed", cause)
        }
      }
      socket.on("readable", feed)
      socket.on("end", lost)
      socket.on("error", lost)
      socket.on("close", lost)
      tryTo(() => {
        const client = new SocksClient({
          command: "connect",
          proxy: proxyOf(options),
          destination: { host: destination.host, port: destination.port },
          timeout: Math.min(Duration.toMillis(limit) + 1000, longestTimer)
        })
        client.once("established", ({ remoteHost }) => {
          done = true
          // The package takes an address of any other type for one of no octets, which the session would get.
          if (options.version === 5 && remoteHost === undefined)
            fail("Malformed", "its answer has an address of an unknown type")
          else finish(Effect.void)
        })
        // For ever: its timer may report to it long after.
        client.on("error", ({ message }) => {
          done = true
          fail(reasonOf(message), message.replace("undefined", "a code that it alone knows"))
        })
        client.connect(adapter)
      })
      return Effect.sync(() => {
        done = true
        adapter.destroy()
        destroySocket(socket)
      })
    })

const proxyOf = ({ host, password, port, username, version }: Options) => ({
  host,
  port,
  type: version,
  ...(username === undefined ? {} : { userId: username }),
  ...(password === undefined ? {} : { password: Redacted.value(password) })
})

/** Writes go to the socket; what is read is handed over by events. */
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

// The package does not look at it in version 4, where an answer begins with 0. Some begin with 4.
const mayAnswer = (version: 4 | 5, first: number | undefined): boolean =>
  version === 5 ? first === 5 : first === 0 || first === 4

/** The package says what went wrong in words alone. */
const reasonOf = (message: string): ProxyError["reason"] => {
  // It was granted by a proxy that had changed its version in between.
  if (/rejected connection - Granted/.test(message)) return "Malformed"
  if (/no accepted authentication|authentication failed/i.test(message)) return "Authentication"
  if (/rejected/i.test(message)) return "Refused"
  return /closed|timed out/i.test(message) ? "Closed" : "Malformed"
}
