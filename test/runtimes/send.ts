/**
 * A program of a user, for runtimes.test.ts: sends two messages over STARTTLS with AUTH, each on a session of its own, and
 * meets a certificate that it does not trust. Prints what a session is like, the outcomes and the error.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { NodeSmtp, SmtpAuth, SmtpClient, SmtpSession } from "effect-smtplib"
import { readFileSync } from "node:fs"
import { argv } from "node:process"

const [, , port, authority = "", secret = ""] = argv

const options = {
  host: "localhost",
  port: Number(port),
  tls: "starttls",
  tlsOptions: { ca: readFileSync(authority, "utf8") },
  auth: SmtpAuth.password({ username: "app", password: Redacted.make(secret) })
} as const

const message = {
  from: "app@example.com",
  to: "ann@example.net",
  content: "Subject: hello\r\n\r\nHello.\r\n"
}

const program = Effect.gen(function* () {
  const client = yield* SmtpClient.make({ ...options, maxMessages: 1, retry: "off" })
  const first = yield* client.deliver(message)
  const second = yield* client.deliver(message)
  const session = yield* SmtpSession.make(options)
  const tls = yield* session.tls
  const outcomes = [first, second].flatMap((receipt) => receipt.outcomes.map(({ _tag }) => _tag))
  const refused = yield* Effect.flip(SmtpSession.make({ ...options, tlsOptions: {} }))
  const error = refused._tag === "TlsError" ? refused.reason : refused._tag
  return [tls?.protocol, tls?.verified === true ? "verified" : "unverified", ...outcomes, error]
}).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))

console.log((await Effect.runPromise(program)).join(" "))
