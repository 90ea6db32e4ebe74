/**
 * Testing a program that sends mail, without a network: once against a server in memory that captures messages, and
 * once against a script, for what no real server does on demand.
 *
 *   npx tsx examples/testing.ts
 */
import { SmtpSession } from "effect-smtplib"
import * as SmtpTest from "effect-smtplib/SmtpTest"
import * as Effect from "effect/Effect"
import { run } from "./support/main.js"
import * as Print from "./support/print.js"

/** The program under test: it gets its transport from outside, as every program does. */
const notify = Effect.scoped(
  Effect.gen(function* () {
    const smtp = yield* SmtpSession.make({ host: "mail.example.com", clientName: "app.example.com" })
    return yield* smtp.deliver({
      from: "app@example.com",
      to: ["ann@example.net", "nobody@example.net"],
      content: "Subject: Disk full\r\n\r\nPlease look.\r\n"
    })
  })
)

/** What was sent? Ask the server that captured it. */
const captured = Effect.gen(function* () {
  Print.receipt(yield* notify)
  const server = yield* SmtpTest.SmtpTest
  for (const message of yield* server.messages) Print.line(`  captured: ${JSON.stringify(message.source)}`)
}).pipe(
  Effect.provide(
    SmtpTest.layer({
      accept: ({ address }) => (address.startsWith("nobody@") ? "550 5.1.1 no such user" : undefined)
    })
  )
)

/** What if the server dies between the last dot and its reply? Write it down, line by line. */
const script = SmtpTest.script(
  SmtpTest.reply("220 mx.test ESMTP"),
  SmtpTest.expect("EHLO app.example.com"),
  SmtpTest.reply("250-mx.test", "250 STARTTLS"),
  SmtpTest.expect("STARTTLS"),
  SmtpTest.reply("220 go ahead"),
  SmtpTest.upgrade,
  SmtpTest.expect("EHLO app.example.com"),
  SmtpTest.reply("250-mx.test", "250 PIPELINING"),
  SmtpTest.expectGroup(
    "MAIL FROM:<app@example.com>",
    "RCPT TO:<ann@example.net>",
    "RCPT TO:<nobody@example.net>",
    "DATA"
  ),
  SmtpTest.reply("250 ok"),
  SmtpTest.reply("250 ok"),
  SmtpTest.reply("550 5.1.1 no such user"),
  SmtpTest.reply("354 go ahead"),
  SmtpTest.expectContent(),
  SmtpTest.close
)

const scripted = Effect.gen(function* () {
  const server = yield* SmtpTest.scripted(script)
  Print.receipt(yield* server.verify(Effect.provide(notify, server.layer)))
}).pipe(Effect.scoped)

run(
  Effect.gen(function* () {
    Print.heading("A server that captures")
    yield* captured
    Print.heading("A server that dies before its reply")
    yield* scripted
  })
)
