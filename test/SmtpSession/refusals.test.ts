/**
 * Refusals for now and for good where the envelope leaves in one write and DATA waits for its replies: what the program
 * is told, and that the session goes on with the next message. The other ways of the envelope are held in send.test.ts.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SmtpTest from "../../src/SmtpTest.js"
import {
  ask,
  content,
  goodbye,
  judged,
  message,
  opened,
  outcomes,
  submission,
  withSession
} from "./oneSession.js"
import { replies } from "./severalAtOnce.js"

const { script } = SmtpTest

const envelope = (...lines: ReadonlyArray<string>): SmtpTest.Script =>
  script(SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"), replies(...lines))

const verdict = (line: string): SmtpTest.Script =>
  script(envelope("250 ok", "250 ok"), ask("DATA", "354 go"), content(message, line))

const steps = {
  mail: { error: ["SenderRefused", undefined], refusing: (no: string) => envelope(no, "503 need MAIL") },
  rcpt: { error: ["RecipientsRefused", undefined], refusing: (no: string) => envelope("250 ok", no) },
  data: {
    error: ["DataError", "data"],
    refusing: (no: string) => script(envelope("250 ok", "250 ok"), ask("DATA", no))
  },
  final: { error: ["DataError", "final"], refusing: verdict }
} as const

describe('a refusal with `pipelining: "envelope"` leaves the session as it was', () => {
  for (const phase of ["mail", "rcpt", "data", "final"] as const) {
    for (const [no, mayPass] of [
      ["451 4.3.0 later", "transient"],
      ["550 5.7.1 no", "permanent"]
    ] as const) {
      it.effect(`${no.slice(0, 3)} to ${phase}`, () => {
        const { error, refusing } = steps[phase]
        const once = script(refusing(no), ask("RSET", "250 ok"))
        return withSession(
          script(opened("PIPELINING"), once, once, verdict("250 ok"), goodbye),
          (smtp) =>
            Effect.gen(function* () {
              const receipt = yield* smtp.deliver(submission)
              expect(outcomes(receipt)).toEqual([`b@y.test Refused ${no.slice(0, 3)} ${phase}`])
              const failure = yield* Effect.flip(smtp.send(submission))
              expect(judged(failure)).toEqual([...error, mayPass, "Refused"])
              expect(yield* smtp.state).toBe("Ready")
              expect(outcomes(yield* smtp.send(submission))).toEqual(["b@y.test Accepted 250"])
            }),
          { pipelining: "envelope" }
        )
      })
    }
  }
})
