/**
 * npm's smtp-server, in this process: an implementation of the server's side that shares nothing with this library.
 * It accepts everybody but `unknownRecipient`, and keeps what came octet for octet, without transparency.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Server as NetServer } from "node:net"
import type {
  SMTPServerAuthentication,
  SMTPServerAuthenticationResponse,
  SMTPServerDataResult,
  SMTPServerDataStream,
  SMTPServerEnvelope,
  SMTPServerOptions
} from "smtp-server"
import { SMTPServer } from "smtp-server"
import type { Certificates } from "../servers/certificates.js"
import { makeCertificates } from "../servers/certificates.js"
import { awaitCount, make as makeDelivered } from "../servers/delivered.js"
import { accounts, busyRecipient, unknownRecipient } from "../servers/running.js"

export interface Accepted {
  readonly envelope: SMTPServerEnvelope
  /** Whether it came over TLS. */
  readonly secure: boolean
  /** Who was authenticated. */
  readonly user: string | undefined
  readonly octets: Uint8Array
}

export interface RunningSmtpServer {
  /** Plain, with STARTTLS; 0 on a UNIX socket. */
  readonly port: number
  /** Implicit TLS; 0 on a UNIX socket. */
  readonly tlsPort: number
  readonly certificates: Certificates
  /** All that was accepted so far, in order. */
  readonly accepted: Effect.Effect<ReadonlyArray<Accepted>>
  /** The contents that the recipient got, as soon as there are `count` (1 by default). */
  readonly delivered: (recipient: string, count?: number) => Effect.Effect<ReadonlyArray<Uint8Array>>
  /** The mechanisms that were tried, in order. */
  readonly attempts: Effect.Effect<ReadonlyArray<string>>
}

export interface SmtpServerOptions {
  /** Listens on a UNIX socket only. */
  readonly path?: string | undefined
  /** These outrank what is set here. */
  readonly server?: SMTPServerOptions | undefined
  /** The access token that XOAUTH2 takes, whoever the user is. */
  readonly token?: string | undefined
  /** The verdict on a content, for one recipient: an error refuses it. Asked under LMTP only. */
  readonly verdict?: ((recipient: string) => Error | undefined) | undefined
}

/** A refusal with a code, as smtp-server takes it. */
export const refusal = (code: number, text: string): Error =>
  Object.assign(new Error(text), { responseCode: code })

const collect = (stream: SMTPServerDataStream, done: (octets: Uint8Array) => void): void => {
  const chunks: Array<Buffer> = []
  stream.on("data", (chunk: Buffer) => chunks.push(chunk))
  stream.on("end", () => {
    done(Buffer.concat(chunks))
  })
}

const listen = (server: SMTPServer, path: string | undefined): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.on("error", () => undefined)
      const where = path === undefined ? { port: 0, host: "127.0.0.1" } : { path }
      const listener: NetServer = server.listen(where, () => {
        const address = listener.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () =>
      Effect.async<undefined>((resume) => {
        server.close(() => {
          resume(Effect.succeed(undefined))
        })
      })
  )

const isRight = (auth: SMTPServerAuthentication, token: string | undefined): boolean => {
  const { accessToken, method, password, username } = auth
  if (method === "XOAUTH2") return token !== undefined && accessToken === token
  const account = accounts.find((known) => known.username === username)
  if (account === undefined) return false
  return method === "CRAM-MD5" ? auth.validatePassword(account.password) : password === account.password
}

const verdictOn = (
  recipients: ReadonlyArray<string>,
  verdict: (recipient: string) => Error | undefined
): Array<SMTPServerDataResult> =>
  recipients.map((recipient) => verdict(recipient) ?? `OK: delivered to ${recipient}`)

/** Starts the server; it stops with the scope. */
export const startSmtpServer = (
  options: SmtpServerOptions = {}
): Effect.Effect<RunningSmtpServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const certificates = yield* makeCertificates()
    const accepted: Array<Accepted> = []
    const attempts: Array<string> = []
    const { path, token, verdict = () => undefined } = options
    const lmtp = options.server?.lmtp === true

    const answer = (auth: SMTPServerAuthentication): SMTPServerAuthenticationResponse =>
      isRight(auth, token)
        ? { user: auth.username }
        : auth.method === "XOAUTH2"
          ? { data: { status: "401", schemes: "bearer" } }
          : {}

    const shared: SMTPServerOptions = {
      name: "mail.example.test",
      key: certificates.key,
      cert: certificates.certificate,
      size: 50 * 1024 * 1024,
      authMethods: ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"],
      authOptional: true,
      hideDSN: false,
      hideENHANCEDSTATUSCODES: false,
      disableReverseLookup: true,
      closeTimeout: 50,
      onAuth: (auth, _session, callback) => {
        attempts.push(auth.method)
        callback(null, answer(auth))
      },
      onRcptTo: ({ address }, _session, callback) => {
        if (address === unknownRecipient) callback(refusal(550, "no such user here"))
        else if (address === busyRecipient) callback(refusal(450, "busy for a test"))
        else callback()
      },
      onData: (stream, session, callback) => {
        collect(stream, (octets) => {
          const { envelope, secure } = session
          const user: unknown = session.user
          if (stream.sizeExceeded) {
            callback(refusal(552, "too large"))
            return
          }
          const takers = envelope.rcptTo.filter(({ address }) => !lmtp || verdict(address) === undefined)
          accepted.push({
            envelope: { ...envelope, rcptTo: takers },
            secure,
            user: typeof user === "string" ? user : undefined,
            octets
          })
          if (lmtp)
            callback(
              null,
              verdictOn(
                envelope.rcptTo.map(({ address }) => address),
                verdict
              )
            )
          else callback(null, `OK: queued as ${accepted.length}`)
        })
      },
      ...options.server
    }

    const port = yield* listen(new SMTPServer(shared), path)
    const tlsPort = path === undefined ? yield* listen(new SMTPServer({ ...shared, secure: true }), path) : 0
    const messages = (recipient: string) =>
      Effect.sync(() =>
        accepted
          .filter(({ envelope }) => envelope.rcptTo.some(({ address }) => address === recipient))
          .map(({ octets }) => makeDelivered(octets))
      )
    return {
      port,
      tlsPort,
      certificates,
      accepted: Effect.sync(() => [...accepted]),
      delivered: (recipient, count = 1) =>
        Effect.map(awaitCount(messages(recipient), count), (all) => all.map(({ raw }) => raw)),
      attempts: Effect.sync(() => [...attempts])
    }
  })
