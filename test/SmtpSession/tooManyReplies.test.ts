/** What a session says when a server gives one reply too many while messages go by `chunking: "eager"`. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as SmtpSession from "../../src/SmtpSession.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { opened, outcomes, silentEnd, withSession } from "./oneSession.js"
import {
  chunked,
  chunkedAlone,
  deliverAll,
  lastChunk,
  letter,
  replies,
  resetChunked
} from "./severalAtOnce.js"

/** The warnings about messages already told, while `deliver` runs behind a first message. */
const warningsOf = (
  server: SmtpTest.Script,
  deliver: (smtp: SmtpSession.Service) => Effect.Effect<ReadonlyArray<string>, unknown>,
  told: ReadonlyArray<string>
) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => {
      lines.push(String(message))
    })
    yield* withSession(
      SmtpTest.script(opened("PIPELINING", "CHUNKING", "DSN"), chunkedAlone("one"), server, silentEnd),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.deliver(letter("one"))
          expect(yield* deliver(smtp)).toEqual(told)
          yield* smtp.awaitClosed
        }),
      { chunking: "eager" }
    ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    return lines.filter((line) => line.startsWith("The server broke the protocol"))
  })

const inTurn = (submissions: ReadonlyArray<Submission>) => (smtp: SmtpSession.Service) =>
  Effect.map(Effect.forEach(submissions, smtp.deliver), (receipts) => receipts.flatMap(outcomes))

const named = (name: string) => ({
  ...letter("two"),
  content: `Message-ID: <${name}@x.test>\r\n\r\ntwo\r\n`
})

const takes = ({ content }: { readonly content: string }, parameters = "") =>
  SmtpTest.script(
    SmtpTest.expectGroup(`MAIL FROM:<a@x.test>${parameters}`, "RCPT TO:<two@y.test>"),
    lastChunk(content)
  )

const shifted = replies("250 ok", "250 one too many", "250 ok", "554 5.7.1 refused")
const isAccepted = "two@y.test Accepted 250"

describe("one reply too many", () => {
  it.effect("is a Warning that names the message already told by its Message-ID", () =>
    Effect.gen(function* () {
      const m1 = named("m1")
      const lines = yield* warningsOf(SmtpTest.script(takes(m1), shifted), inTurn([m1]), [isAccepted])
      expect(lines).toHaveLength(1)
      expect(lines[0]).toContain("<m1@x.test>.")
    })
  )

  it.effect("names no message before which the server owed nothing any more", () =>
    Effect.gen(function* () {
      const [m1, m2] = [named("m1"), named("m2")]
      const lines = yield* warningsOf(
        SmtpTest.script(takes(m1), replies("250 ok", "250 ok", "250 one"), takes(m2), shifted),
        inTurn([m1, m2]),
        [isAccepted, isAccepted]
      )
      expect(lines[0]).toContain("<m2@x.test>.")
      expect(lines[0]).not.toContain("m1")
    })
  )

  it.effect("names all that were told since then", () =>
    Effect.gen(function* () {
      const words = ["two", "three"]
      const lines = yield* warningsOf(
        SmtpTest.script(
          chunked("two"),
          resetChunked("three"),
          shifted,
          replies("250 ok", "250 ok", "250 ok", "250 three")
        ),
        (smtp) => deliverAll(smtp, words.map(letter)),
        [isAccepted, "three@y.test Unknown ProtocolError final"]
      )
      expect(lines[0]).toContain("one without a name.")
    })
  )

  it.effect("is seen at an enhanced code about an address in place of the verdict", () =>
    Effect.gen(function* () {
      const lines = yield* warningsOf(
        SmtpTest.script(
          chunked("two"),
          resetChunked("three"),
          replies("250 2.1.0 ok", "250 2.1.0 one too many", "250 2.1.5 ok")
        ),
        (smtp) => deliverAll(smtp, ["two", "three"].map(letter)),
        ["two@y.test Unknown ProtocolError final", "three@y.test Unknown ProtocolError final"]
      )
      expect(lines).toEqual([])
    })
  )

  it.effect("is a Warning that prefers the ENVID", () =>
    Effect.gen(function* () {
      const submission = { ...named("m1"), parameters: { envelopeId: "order-1" } }
      const lines = yield* warningsOf(
        SmtpTest.script(takes(submission, " ENVID=order-1"), shifted),
        inTurn([submission]),
        [isAccepted]
      )
      expect(lines[0]).toContain("order-1.")
    })
  )
})
