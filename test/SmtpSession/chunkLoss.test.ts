/**
 * A server that goes while content comes in chunks (RFC 3030): what was sent before the last chunk is told apart from
 * what may have been accepted.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as SmtpContent from "../../src/SmtpContent.js"
import * as SmtpError from "../../src/SmtpError.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { octets, opened, outcomes, submission, withSession } from "./oneSession.js"
import { chunk, lastChunk, provesBdat, replies } from "./severalAtOnce.js"

const { script } = SmtpTest

const half = "x".repeat(65_534) + "\r\n"

const begun = script(
  opened("PIPELINING", "CHUNKING"),
  SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"),
  replies("250 ok", "250 ok"),
  provesBdat(half),
  chunk(half.slice(1))
)

const ways: Readonly<Record<string, { readonly end: SmtpTest.Script; readonly cause: string }>> = {
  "the end of the stream": { end: SmtpTest.close, cause: "ServerDisconnected" },
  "a half-close": { end: script(SmtpTest.halfClose, SmtpTest.silence), cause: "ServerDisconnected" },
  "a reset": { end: SmtpTest.reset, cause: "ServerDisconnected" },
  "half a reply": { end: script(SmtpTest.inject("25"), SmtpTest.close), cause: "ServerDisconnected" },
  garbage: { end: script(SmtpTest.inject("what?\r\n"), SmtpTest.expectEnd), cause: "ProtocolError" },
  silence: { end: SmtpTest.silence, cause: "ReplyTimeout" }
}

const goodbyes = script(SmtpTest.reply("421 4.3.2 bye"), SmtpTest.expectEnd)

/** What becomes of a message whose stream goes on like this behind its first chunk. */
const delivering = (server: SmtpTest.Script, rest: Stream.Stream<Uint8Array>) =>
  withSession(
    server,
    (smtp) =>
      Effect.gen(function* () {
        const stream = Stream.concat(Stream.make(octets(half)), rest)
        const content = SmtpContent.replayable(stream, { content7bit: true })
        const sending = yield* Effect.fork(smtp.deliver({ ...submission, content }))
        yield* TestClock.adjust("15 minutes")
        const receipt = yield* Fiber.join(sending)
        // What the causes say by themselves is what the receipt says.
        for (const { _tag, cause } of [...receipt.notSent, ...receipt.unknown])
          expect(SmtpError.delivery(cause)).toBe(_tag)
        return { told: outcomes(receipt), state: yield* smtp.state }
      }),
    { chunking: "on", timeouts: { stall: "1 hour" } }
  )

const goesOn = Stream.concat(Stream.make(octets(half)), Stream.never)

describe("before the last chunk nothing can have been accepted", () => {
  for (const [way, { cause, end }] of Object.entries(ways)) {
    it.effect(`NotSent: ${way}`, () =>
      Effect.gen(function* () {
        const ended = yield* delivering(script(begun, end), goesOn)
        expect(ended).toEqual({ told: [`b@y.test NotSent ${cause} bdat`], state: "Closed" })
      })
    )
  }
  it.effect("NotSent: 421", () =>
    Effect.gen(function* () {
      const ended = yield* delivering(script(begun, goodbyes), goesOn)
      expect(ended).toEqual({ told: ["b@y.test NotSent ServerDisconnected bdat"], state: "Closed" })
    })
  )
})

describe("behind the last chunk nobody knows, unless the server has said so", () => {
  const sent = script(begun, lastChunk("the end\r\n"), SmtpTest.reply("250 ok"))
  const theEnd = Stream.make(octets("the end\r\n"))
  for (const [way, { cause, end }] of Object.entries(ways)) {
    it.effect(`Unknown: ${way}`, () =>
      Effect.gen(function* () {
        const ended = yield* delivering(script(sent, end), theEnd)
        expect(ended).toEqual({ told: [`b@y.test Unknown ${cause} final`], state: "Closed" })
      })
    )
  }
  it.effect("Refused: 421", () =>
    Effect.gen(function* () {
      const ended = yield* delivering(script(sent, goodbyes), theEnd)
      expect(ended).toEqual({ told: ["b@y.test Refused 421 final"], state: "Closed" })
    })
  )
})
