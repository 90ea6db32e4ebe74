import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { inTransaction } from "./oneSession.js"

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
        inTransaction(smtp, ({ rcpt }) => rcpt(message.to), message.from),
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

describe("plaintext behind the 220 of STARTTLS (RFC 3207 section 6)", () => {
  for (const [what, separate] of [
    ["in the same segment", false],
    ["in a segment of its own", true]
  ] as const) {
    it.scoped(`ends the session, and no handshake begins: ${what}`, () =>
      Effect.gen(function* () {
        const injected = "250-mail.test\r\n250 AUTH PLAIN\r\n"
        const server = yield* SmtpTest.scripted(
          SmtpTest.script(
            SmtpTest.reply("220 mail.test"),
            SmtpTest.expect("EHLO client.test"),
            SmtpTest.reply("250-mail.test", "250 STARTTLS"),
            SmtpTest.expect("STARTTLS"),
            SmtpTest.inject(separate ? "220 go\r\n" : `220 go\r\n${injected}`),
            separate ? SmtpTest.inject(injected) : SmtpTest.script(),
            SmtpTest.expectEnd
          )
        )
        const [error, state] = yield* server.verify(
          Effect.gen(function* () {
            const smtp = yield* connected
            return [yield* Effect.flip(smtp.startTls), yield* smtp.state] as const
          }).pipe(Effect.scoped, Effect.provide(server.layer))
        )
        expect(error).toMatchObject({ _tag: "TlsError", reason: "Injection" })
        expect(state).toBe("Closed")
      })
    )
  }
})
