/**
 * Servers that go, break the protocol or fall silent in another hello than the first EHLO: in HELO, in LHLO and in EHLO
 * behind TLS.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ask, greeting, judged, opened, withConnection, withSession } from "./oneSession.js"

const { script } = SmtpTest

interface Hello {
  readonly until: SmtpTest.Script
  readonly options: SmtpSession.Options
  readonly byHand: (smtp: SmtpSession.Service) => Effect.Effect<unknown, unknown>
}

const hellos: Readonly<Record<string, Hello>> = {
  HELO: {
    until: script(greeting, ask("EHLO client.test", "502 what?"), SmtpTest.expect("HELO client.test")),
    options: {},
    byHand: (smtp) => smtp.ehloOrHeloIfNeeded
  },
  LHLO: {
    until: script(greeting, SmtpTest.expect("LHLO client.test")),
    options: { dialect: "lmtp" },
    byHand: (smtp) => smtp.ehlo
  },
  "EHLO behind TLS": {
    until: script(
      opened("STARTTLS"),
      ask("STARTTLS", "220 go"),
      SmtpTest.upgrade,
      SmtpTest.expect("EHLO client.test")
    ),
    options: { tls: "starttls" },
    byHand: (smtp) => Effect.zipRight(smtp.startTls, smtp.ehlo)
  }
}

const ways: Readonly<Record<string, readonly [end: SmtpTest.Script, error: string, mayPass: string]>> = {
  "the end of the stream": [SmtpTest.close, "ServerDisconnected", "transient"],
  "a half-close": [script(SmtpTest.halfClose, SmtpTest.silence), "ServerDisconnected", "transient"],
  "a reset": [SmtpTest.reset, "ServerDisconnected", "transient"],
  "421": [script(SmtpTest.reply("421 4.3.2 bye"), SmtpTest.expectEnd), "ServerDisconnected", "transient"],
  garbage: [script(SmtpTest.inject("what?\r\n"), SmtpTest.expectEnd), "ProtocolError", "permanent"],
  silence: [SmtpTest.silence, "ReplyTimeout", "transient"]
}

describe("a server that is lost in a later hello", () => {
  for (const [hello, { byHand, options, until }] of Object.entries(hellos)) {
    for (const [way, [end, error, mayPass]] of Object.entries(ways)) {
      it.effect(`is told, and left: ${way} in ${hello}`, () =>
        Effect.gen(function* () {
          const judgement = [error, "ehlo", mayPass, "NotSent"]
          const making = yield* Effect.fork(
            Effect.flip(withSession(script(until, end), () => Effect.void, options))
          )
          yield* TestClock.adjust("6 minutes")
          expect(judged(yield* Fiber.join(making))).toEqual(judgement)
          const saying = yield* Effect.fork(
            withConnection(
              script(until, end),
              (smtp) => Effect.zip(Effect.flip(byHand(smtp)), smtp.state),
              options
            )
          )
          yield* TestClock.adjust("6 minutes")
          const [told, state] = yield* Fiber.join(saying)
          expect([judged(told), state]).toEqual([judgement, "Closed"])
        })
      )
    }
  }
})
