/**
 * A server that takes content more slowly than the limit on the progress of a write allows.
 */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as SmtpTest from "../../src/SmtpTest.js"
import { octets, opened, outcomes, withSession } from "./oneSession.js"

it.effect("a server that reads an octet a second is given up, and the message was not sent", () =>
  withSession(
    SmtpTest.script(
      opened("PIPELINING"),
      SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
      SmtpTest.reply("250 ok", "250 ok", "354 go"),
      SmtpTest.repeat(SmtpTest.script(SmtpTest.delay("1 second"), SmtpTest.expectOctets(1)), 200),
      SmtpTest.silence
    ),
    (smtp) =>
      Effect.gen(function* () {
        const content = octets("x\r\n".repeat(400_000))
        const sending = yield* Effect.fork(smtp.deliver({ from: "a@x.test", to: "b@y.test", content }))
        yield* TestClock.adjust("4 minutes")
        expect(outcomes(yield* Fiber.join(sending))).toEqual(["b@y.test NotSent ReplyTimeout content"])
        expect(yield* smtp.state).toBe("Closed")
      })
  )
)
