import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"

const message = { from: "a@x.test", to: "b@y.test", content: "Subject: hi\r\n\r\nhello\r\n" }

/** A session of `connect`, which leaves STARTTLS to the program, with the policy that asks for it. */
const connected = SmtpSession.connect({ host: "mail.test", clientName: "client.test" })

describe("a session of connect under the policy starttls", () => {
  it.scoped("sends no mail before startTls, in whatever way it is asked to", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const smtp = yield* Effect.provide(connected, server.layer)
      yield* smtp.ehlo
      const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        smtp.send(message),
        smtp.deliver(message),
        smtp.mail(message.from),
        smtp.transaction(message.from, {}, smtp.rcpt(message.to)),
        smtp.command("mail", "FROM:<a@x.test>")
      ]
      for (const attempt of attempts) {
        expect(yield* Effect.flip(attempt)).toMatchObject({ _tag: "InvalidArgument", field: "tls" })
      }
      expect(yield* server.transcript).not.toContain("MAIL")
    })
  )

  it.scoped("sends after it", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const smtp = yield* Effect.provide(connected, server.layer)
      yield* smtp.startTls
      expect((yield* smtp.send(message)).accepted.length).toBe(1)
      expect(yield* server.messages).toMatchObject([{ secured: true }])
    })
  )
})
