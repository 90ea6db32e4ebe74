/** A server that says 421 in addition to its replies, which come later: nothing may be delivered twice or taken for sent. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type * as SmtpSession from "../../src/SmtpSession.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { opened, silentEnd, withSession } from "./oneSession.js"
import {
  chunked,
  chunkedAlone,
  deliverAll,
  group,
  letter,
  replies,
  resetChunked,
  textOf
} from "./severalAtOnce.js"

/** What these come to, sent at once behind `first`. */
const told = (
  script: SmtpTest.Script,
  submissions: ReadonlyArray<Submission>,
  own: SmtpSession.Options = {},
  first: ReadonlyArray<Submission> = []
) =>
  withSession(
    script,
    (smtp) =>
      Effect.gen(function* () {
        yield* deliverAll(smtp, first)
        const fiber = yield* Effect.fork(deliverAll(smtp, submissions))
        yield* TestClock.adjust("10 seconds")
        return yield* Fiber.join(fiber)
      }),
    own
  )

const later = (text: string) => SmtpTest.script(SmtpTest.delay("50 millis"), SmtpTest.reply(text))

const sent = SmtpTest.script(
  opened("PIPELINING"),
  group("two"),
  replies("250 ok", "250 ok", "354 go"),
  SmtpTest.expectContent(textOf("two"))
)

describe("421 in place of the only verdict", () => {
  it.effect("is the verdict when nothing follows", () =>
    Effect.gen(function* () {
      for (const end of [SmtpTest.close, silentEnd]) {
        const lines = yield* told(SmtpTest.script(sent, replies("421 4.3.2 bye"), end), [letter("two")])
        expect(lines).toEqual(["two@y.test Refused 421 final"])
      }
    })
  )

  it.effect("leaves the message Unknown when another reply follows, however the bytes are split", () =>
    Effect.gen(function* () {
      for (const queued of [replies("250 queued as A1"), later("250 queued as A1")]) {
        const script = SmtpTest.script(sent, replies("421 4.3.2 bye"), queued, silentEnd)
        expect(yield* told(script, [letter("two")])).toEqual(["two@y.test Unknown ServerDisconnected final"])
      }
    })
  )
})

describe("421 in addition, before a verdict that takes its time", () => {
  it.effect("lets no reply to another command count as the verdict", () =>
    Effect.gen(function* () {
      const lines = yield* told(
        SmtpTest.script(
          opened("PIPELINING", "CHUNKING"),
          chunkedAlone("one"),
          chunked("two"),
          resetChunked("three"),
          replies("250 ok", "250 ok", "421 4.3.2 bye", "250 two", "250 ok", "250 ok", "250 ok"),
          SmtpTest.delay("4 seconds"),
          silentEnd
        ),
        ["two", "three"].map(letter),
        { chunking: "eager" },
        [letter("one")]
      )
      expect(lines).toEqual([
        "two@y.test Unknown ServerDisconnected final",
        "three@y.test Unknown ServerDisconnected final"
      ])
    })
  )
})
