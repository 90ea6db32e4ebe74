import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type { Scheduler } from "effect/Scheduler"
import * as Stream from "effect/Stream"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import * as Certificates from "../servers/certificates.js"
import {
  ask,
  content,
  ehlo,
  goodbye,
  greeting,
  inTransaction,
  message,
  opened,
  submission,
  withConnection,
  withSession
} from "./oneSession.js"
import { failed, overTcp, serverTls, startTls, succeeded } from "./overTcp.js"

/**
 * Runs a fiber within the call that resumes it: within the reader's callback, if it waits for a reply. Effect 3 does so
 * only with a scheduler like this one, Effect 4 always.
 */
const immediate: Scheduler = { shouldYield: () => false, scheduleTask: (task) => task() }

const auth = SmtpAuth.password({ username: "app", password: Redacted.make("secret"), mechanisms: ["PLAIN"] })

const plain = ask("AUTH PLAIN AGFwcABzZWNyZXQ=", "235 ok")

const group = SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")

const sent = SmtpTest.script(
  group,
  SmtpTest.reply("250 ok"),
  SmtpTest.reply("250 ok"),
  SmtpTest.reply("354 go"),
  content(message, "250 ok")
)

describe("a session whose fibers go on within the reader's callback", () => {
  it.live("upgrades at the reply to STARTTLS, authenticates and sends", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const capabilities = ["AUTH PLAIN", "PIPELINING"]
      const met = yield* overTcp(
        SmtpTest.script(greeting, ehlo("STARTTLS"), startTls, ehlo(...capabilities), plain, sent, goodbye),
        serverTls(made),
        (options) =>
          SmtpSession.make({ ...options, auth, tlsOptions: { ca: made.ca } }).pipe(
            Effect.flatMap((smtp) => smtp.send(submission)),
            Effect.scoped,
            Effect.withScheduler(immediate)
          )
      )
      expect(succeeded(met).accepted).toHaveLength(1)
    })
  )

  it.live("begins no handshake over plaintext behind the reply to STARTTLS", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const injected = SmtpTest.inject("220 go\r\n250 injected\r\n")
      const met = yield* overTcp(
        SmtpTest.script(
          greeting,
          ehlo("STARTTLS"),
          SmtpTest.expect("STARTTLS"),
          injected,
          SmtpTest.expectEnd
        ),
        serverTls(made),
        (options) =>
          SmtpSession.make({ ...options, tlsOptions: { ca: made.ca } }).pipe(Effect.withScheduler(immediate))
      )
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Injection" })
      expect(met.handshakes).toEqual([])
    })
  )

  it.effect("upgrades a connection that is read by a fiber", () =>
    withConnection(
      SmtpTest.script(
        opened("STARTTLS"),
        ask("STARTTLS", "220 go"),
        SmtpTest.upgrade,
        ehlo("PIPELINING"),
        sent,
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.ehlo
          yield* smtp.startTls
          expect((yield* smtp.send(submission)).accepted).toHaveLength(1)
        }).pipe(Effect.withScheduler(immediate))
    )
  )

  it.effect("runs a transaction by hand, a stream and commands of several fibers", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        content(message, "250 ok"),
        ask("NOOP", "250 ok"),
        ask("NOOP", "250 ok"),
        sent,
        sent,
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* inTransaction(smtp, ({ data, rcpt }) => Effect.zipRight(rcpt("b@y.test"), data(message)))
          const noops = yield* Effect.all([Effect.fork(smtp.noop), Effect.fork(smtp.noop)])
          yield* Fiber.joinAll(noops)
          const streamed = Stream.make(new TextEncoder().encode(message))
          expect((yield* smtp.send({ ...submission, content: streamed })).accepted).toHaveLength(1)
          expect((yield* smtp.send(submission)).accepted).toHaveLength(1)
        }).pipe(Effect.withScheduler(immediate))
    )
  )
})
