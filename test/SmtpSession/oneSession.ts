/**
 * What the tests of sessions share: the pieces that most scripts begin and end with, and a client that runs against
 * a script. The server's side is the script, the client's side an effect, and what is left is the outcome.
 */
import * as Effect from "effect/Effect"
import * as SmtpError from "../../src/SmtpError.js"
import type { Receipt } from "../../src/SmtpReceipt.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"

export const clientName = "client.test"

export const greeting = SmtpTest.reply("220 mx.test ESMTP")

/** EHLO, answered with these capabilities. */
export const ehlo = (...capabilities: ReadonlyArray<string>): SmtpTest.Script => {
  const lines = ["mx.test", ...capabilities]
  return SmtpTest.script(
    SmtpTest.expect(`EHLO ${clientName}`),
    SmtpTest.reply(...lines.map((line, index) => `250${index < lines.length - 1 ? "-" : " "}${line}`))
  )
}

/** The greeting and EHLO: what `make` has done before a test begins. */
export const opened = (...capabilities: ReadonlyArray<string>): SmtpTest.Script =>
  SmtpTest.script(greeting, ehlo(...capabilities))

/** One line and the reply to it. */
export const ask = (line: string | RegExp, ...reply: ReadonlyArray<string>): SmtpTest.Script =>
  SmtpTest.script(SmtpTest.expect(line), SmtpTest.reply(...reply))

/** What a healthy session says last. */
export const goodbye = SmtpTest.script(ask("QUIT", "221 2.0.0 bye"), SmtpTest.expectEnd)

/** Nothing more comes from the client: not even QUIT. */
export const silentEnd = SmtpTest.expectEnd

/** Content, and the server's verdict on it. */
export const content = (text: string | Uint8Array, ...reply: ReadonlyArray<string>): SmtpTest.Script =>
  SmtpTest.script(SmtpTest.expectContent(text), SmtpTest.reply(...reply))

export const octets = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Runs `use` in a transaction by hand, whose scope closes with it. */
export const inTransaction = <A, E, R>(
  smtp: SmtpSession.Service,
  use: (transaction: SmtpSession.Transaction) => Effect.Effect<A, E, R>,
  from = "a@x.test",
  parameters: Parameters<SmtpSession.Service["transaction"]>[1] = {}
) => Effect.scoped(Effect.flatMap(smtp.transaction(from, parameters), use))

const options: SmtpSession.Options = { host: "mx.test", tls: "none", clientName }

type Client<A, E> = (
  smtp: SmtpSession.Service,
  server: SmtpTest.Scripted
) => Effect.Effect<A, E, SmtpTest.Transport>

const against =
  (open: typeof SmtpSession.make | typeof SmtpSession.connect) =>
  <A, E>(
    script: SmtpTest.Scripts,
    use: Client<A, E>,
    own: SmtpSession.Options = {}
  ): Effect.Effect<A, E | SmtpSession.SetupError | SmtpTest.ScriptFailure> =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* SmtpTest.scripted(script)
        const client = Effect.flatMap(open({ ...options, ...own }), (smtp) => use(smtp, server))
        return yield* server.verify(Effect.provide(Effect.scoped(client), server.layer))
      })
    )

/** Runs the client over a session that was made, to the script's end and the session's. */
export const withSession = against(SmtpSession.make)

/** Runs the client over a session that has read the greeting and said nothing. */
export const withConnection = against(SmtpSession.connect)

/** One line for each recipient: what became of the message, and the reply or cause that says so. */
export const outcomes = (receipt: Receipt): ReadonlyArray<string> =>
  receipt.outcomes.map((outcome) => {
    switch (outcome._tag) {
      case "Accepted":
        return `${outcome.recipient} Accepted ${outcome.reply.code}`
      case "Refused":
        return `${outcome.recipient} Refused ${outcome.reply.code} ${outcome.phase}`
      case "NotSent":
        return `${outcome.recipient} NotSent ${described(outcome.cause)}`
      case "Unknown":
        return `${outcome.recipient} Unknown ${described(outcome.cause)}`
    }
  })

const described = (cause: SmtpError.SmtpError): string =>
  "phase" in cause ? `${cause._tag} ${cause.phase}` : cause._tag

/** What a program decides by: the error, where it happened, whether to try again and what became of the message. */
export const judged = (error: unknown): ReadonlyArray<unknown> =>
  SmtpError.isSmtpError(error)
    ? [
        error._tag,
        "phase" in error ? error.phase : undefined,
        SmtpError.isTransient(error) ? "transient" : "permanent",
        SmtpError.delivery(error)
      ]
    : [error]

export const message = "Subject: hi\r\n\r\nhello\r\n"

export const submission = { from: "a@x.test", to: "b@y.test", content: message } as const
