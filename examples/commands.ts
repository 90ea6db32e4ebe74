/**
 * SMTP by hand: every verb is an effect, and its reply is a value. With Python this would be an evening with
 * smtplib and set_debuglevel(1).
 *
 *   npx tsx examples/commands.ts
 */
import { NodeSmtp, SmtpAuth, SmtpCommand, SmtpReply, SmtpSession } from "effect-smtplib"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { run } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

const main = Effect.gen(function* () {
  const server = yield* startServer({ username: "app", password: "secret", unknown: ["bob@example.org"] })

  // Only dials and reads the greeting: the rest is up to this program, in this order.
  const smtp = yield* SmtpSession.connect({
    host: server.host,
    port: server.port,
    tlsOptions: { ca: server.ca },
    transcript: Print.transcript
  })
  yield* smtp.ehlo
  yield* smtp.startTls
  yield* smtp.ehlo
  const capabilities = yield* smtp.capabilities
  Print.heading(`It can ${capabilities.keywords.join(", ")}; messages of up to ${capabilities.size} octets`)
  yield* smtp.authenticate(SmtpAuth.password({ username: "app", password: Redacted.make("secret") }))

  // VRFY and `command` give any reply as it is: a refusal is an answer, and no error.
  const verified = yield* smtp.vrfy("ann@example.net")
  const unknown = yield* smtp.command("XYZZY", "plugh")
  Print.heading(`VRFY: ${SmtpReply.format(verified)}; XYZZY: ${SmtpReply.format(unknown)}`)

  // MAIL, RCPT and the others fail with an error of their own when they are refused, and the session goes on.
  yield* smtp.mail("app@example.com")
  yield* smtp.rcpt("ann@example.net")
  yield* Effect.catchTag(smtp.rcpt("bob@example.org"), "RecipientsRefused", (error) =>
    Effect.sync(() => {
      Print.heading(error.message)
    })
  )
  yield* smtp.data("Subject: By hand\r\n\r\n.Dots are taken care of.\r\n")

  // A group leaves in one write and gives one reply for each command, refusals included.
  const [mail, ann, bob] = yield* smtp.group([
    SmtpCommand.mail("app@example.com"),
    SmtpCommand.rcpt("ann@example.net"),
    SmtpCommand.rcpt("bob@example.org")
  ])
  Print.heading(`A group: ${[mail, ann, bob].map(({ code }) => code).join(", ")}`)

  // A transaction has the session to itself until its scope closes. What is unfinished by then is reset.
  yield* smtp.rset
  yield* Effect.scoped(
    Effect.gen(function* () {
      const transaction = yield* smtp.transaction("app@example.com")
      yield* transaction.rcpt("ann@example.net")
    })
  )
  yield* smtp.noop
})

run(main.pipe(Effect.scoped, Effect.provide(NodeSmtp.layer)))
