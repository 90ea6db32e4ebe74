/**
 * A server for the examples: npm's smtp-server on loopback, with a certificate made just now. It knows one user,
 * refuses some recipients, and keeps what it accepts.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { AddressInfo } from "node:net"
import type { SMTPServerDataStream } from "smtp-server"
import { SMTPServer } from "smtp-server"
import { makeCertificates } from "./certificates.js"

export interface ServerOptions {
  readonly username: string
  readonly password: string
  /** Recipients that do not exist here. */
  readonly unknown?: ReadonlyArray<string> | undefined
  /** Recipients that are refused for now, and taken the second time they are named. */
  readonly greylisted?: ReadonlyArray<string> | undefined
  /** How long the server thinks about each message, in milliseconds. */
  readonly thinks?: number | undefined
  /** TLS from the first octet; without it the server offers STARTTLS. */
  readonly implicitTls?: boolean | undefined
}

export interface RunningServer {
  readonly host: string
  readonly port: number
  /** PEM of the authority that has signed the server's certificate. */
  readonly ca: string
  /** The octets of every message that was accepted. */
  readonly messages: ReadonlyArray<Uint8Array>
}

const refusal = (code: number, text: string): Error => Object.assign(new Error(text), { responseCode: code })

const collect = (stream: SMTPServerDataStream, done: (message: Uint8Array) => void): void => {
  const chunks: Array<Buffer> = []
  stream.on("data", (chunk: Buffer) => chunks.push(chunk))
  stream.on("end", () => {
    done(new Uint8Array(Buffer.concat(chunks)))
  })
}

const host = "127.0.0.1"

const listen = (server: SMTPServer): Effect.Effect<number, Error> =>
  Effect.async((resume) => {
    const onError = (error: Error): void => {
      resume(Effect.fail(error))
    }
    server.once("error", onError)
    const listener = server.listen(0, host, () => {
      server.off("error", onError)
      // What goes wrong on one connection is the affair of its client.
      server.on("error", () => undefined)
      const address: AddressInfo | string | null = listener.address()
      resume(
        typeof address === "object" && address !== null
          ? Effect.succeed(address.port)
          : Effect.fail(new Error("The server has no port"))
      )
    })
  })

const close = (server: SMTPServer): Effect.Effect<void> =>
  Effect.async((resume) => {
    server.close(() => {
      resume(Effect.void)
    })
  })

/** Listens until the scope is closed. */
export const startServer = (options: ServerOptions): Effect.Effect<RunningServer, Error, Scope.Scope> =>
  Effect.gen(function* () {
    const certificates = yield* makeCertificates({ names: [host, "localhost"] })
    const unknown = new Set(options.unknown)
    const greylisted = new Set(options.greylisted)
    const messages: Array<Uint8Array> = []
    const server = new SMTPServer({
      name: "mail.example.com",
      key: certificates.key,
      cert: certificates.certificate,
      secure: options.implicitTls ?? false,
      size: 10_485_760,
      hideENHANCEDSTATUSCODES: false,
      disableReverseLookup: true,
      closeTimeout: 100,
      onAuth: ({ password, username }, _session, callback) => {
        if (username === options.username && password === options.password) callback(null, { user: username })
        else callback(refusal(535, "Authentication credentials invalid"))
      },
      onRcptTo: ({ address }, _session, callback) => {
        if (greylisted.delete(address)) callback(refusal(450, "Greylisted, come back later"))
        else callback(unknown.has(address) ? refusal(550, "No such user here") : null)
      },
      onData: (stream, _session, callback) => {
        collect(stream, (message) => {
          setTimeout(() => {
            messages.push(message)
            callback(null, `OK: queued as ${messages.length}`)
          }, options.thinks ?? 0)
        })
      }
    })
    yield* Effect.addFinalizer(() => close(server))
    const port = yield* listen(server)
    return { host, port, ca: certificates.ca, messages }
  })
