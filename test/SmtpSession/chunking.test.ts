import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as SmtpContent from "../../src/SmtpContent.js"
import type { Receipt } from "../../src/SmtpReceipt.js"
import type * as SmtpSession from "../../src/SmtpSession.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ask, goodbye, octets, opened, outcomes, silentEnd, withSession } from "./oneSession.js"
import {
  alone,
  chunk,
  chunked,
  chunkedAlone,
  chunkedLater,
  deliverAll,
  lastChunk,
  provesBdat,
  letter,
  replies,
  resetChunked,
  textOf,
  writes
} from "./severalAtOnce.js"

const on: SmtpSession.Options = { chunking: "on" }
const eager: SmtpSession.Options = { chunking: "eager" }

const opens = opened("PIPELINING", "CHUNKING")

const accepted = (...words: ReadonlyArray<string>) => words.map((word) => `${word}@y.test Accepted 250`)

/** One session that delivers these at once. */
const delivers = (
  script: SmtpTest.Script,
  own: SmtpSession.Options,
  submissions: ReadonlyArray<Submission>,
  lines: ReadonlyArray<string>
) =>
  withSession(
    script,
    (smtp) => Effect.map(deliverAll(smtp, submissions), (told) => expect(told).toEqual(lines)),
    own
  )

const half = "x".repeat(65_534) + "\r\n"
const tail = "the end\r\n"

const streamed = (...parts: ReadonlyArray<string>) =>
  SmtpContent.replayable(Stream.fromIterable(parts.map(octets)), { content7bit: true })

const toStream = (...parts: ReadonlyArray<string>): Submission => ({
  ...letter("two"),
  content: streamed(...parts)
})

const envelope = SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<two@y.test>")

describe('chunking "on" (RFC 3030)', () => {
  it.effect("sends content in one chunk once the envelope's replies are in", () =>
    delivers(
      SmtpTest.script(opens, chunkedAlone("one"), chunkedLater("two"), goodbye),
      on,
      ["one", "two"].map(letter),
      accepted("one", "two")
    )
  )

  it.effect("a content that fails is the cause for its own transaction alone", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING", "CHUNKING", "LIMITS RCPTMAX=1"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"),
        replies("250 ok", "250 ok"),
        provesBdat(tail),
        lastChunk(tail.slice(1)),
        SmtpTest.reply("250 taken"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<c@y.test>"),
        replies("250 ok", "250 ok"),
        ask("RSET", "250 ok"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<d@y.test>"),
        replies("250 ok", "421 4.3.2 closing"),
        SmtpTest.close
      ),
      (smtp) =>
        Effect.gen(function* () {
          let runs = 0
          const stream = Stream.suspend(() => {
            runs++
            return runs === 2 ? Stream.fail("broken") : Stream.make(octets(tail))
          })
          const content = SmtpContent.replayable(stream, { content7bit: true })
          const receipt = yield* smtp.deliver({
            ...letter("two"),
            to: ["b", "c", "d"].map((to) => `${to}@y.test`),
            content
          })
          expect(outcomes(receipt)).toEqual([
            "b@y.test Accepted 250",
            "c@y.test NotSent ContentError",
            "d@y.test NotSent ServerDisconnected rcpt"
          ])
        }),
      on
    )
  )

  it.effect("uses DATA where the server does not offer CHUNKING", () =>
    delivers(
      SmtpTest.script(opened("PIPELINING"), alone("one"), goodbye),
      on,
      [letter("one")],
      accepted("one")
    )
  )

  it.effect("sends no chunk when nobody was accepted", () =>
    delivers(
      SmtpTest.script(opens, envelope, replies("250 ok", "550 no"), ask("RSET", "250 ok"), goodbye),
      on,
      [letter("two")],
      ["two@y.test Refused 550 rcpt"]
    )
  )

  it.effect("says BDAT 0 LAST for an empty message, and leaves dots alone", () =>
    withSession(
      SmtpTest.script(
        opens,
        envelope,
        replies("250 ok", "250 ok"),
        lastChunk(""),
        SmtpTest.reply("250 empty"),
        envelope,
        replies("250 ok", "250 ok"),
        provesBdat("."),
        lastChunk("\r\n..\r\n.\r\n"),
        SmtpTest.reply("250 dots"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const empty = yield* smtp.deliver({ ...letter("two"), content: "", allowEmpty: true })
          expect(outcomes(empty)).toEqual(accepted("two"))
          const dots = yield* smtp.deliver({ ...letter("two"), content: ".\r\n..\n.\r\n" })
          expect(outcomes(dots)).toEqual(accepted("two"))
        }),
      on
    )
  )

  const binary = Uint8Array.of(
    ...octets("Subject: all octets\r\n\r\n"),
    ...Array.from({ length: 256 }, (_, octet) => octet)
  )

  it.effect("sends BINARYMIME octet for octet", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test> BODY=BINARYMIME", "RCPT TO:<two@y.test>"),
        replies("250 ok", "250 ok"),
        provesBdat("S"),
        SmtpTest.expect(`BDAT ${binary.length - 1} LAST`),
        SmtpTest.expect(binary.subarray(1)),
        SmtpTest.reply("250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const receipt = yield* smtp.deliver({
            ...letter("two"),
            content: binary,
            parameters: { body: "BINARYMIME" }
          })
          expect(outcomes(receipt)).toEqual(accepted("two"))
          expect(receipt.content).toMatchObject({ octets: binary.length, changed: false })
        }),
      on
    )
  )

  it.effect("divides a stream into chunks, and counts what it holds, whatever size was declared", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING", "CHUNKING", "SIZE"),
        SmtpTest.expectGroup(
          `MAIL FROM:<a@x.test> SIZE=${half.length * 2 + tail.length}`,
          "RCPT TO:<two@y.test>"
        ),
        replies("250 ok", "250 ok"),
        provesBdat(half),
        // Each is answered only once the next is there.
        chunk(half.slice(1)),
        chunk(half),
        lastChunk(tail),
        replies("250 one", "250 two", "250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const stream = Stream.fromIterable([half, half.slice(0, 10), half.slice(10), tail].map(octets))
          const size = half.length * 2 + tail.length
          const content = SmtpContent.replayable(stream, { size, content7bit: true })
          expect(outcomes(yield* smtp.deliver({ ...letter("two"), content }))).toEqual(accepted("two"))
        }),
      on
    )
  )

  it.effect("resets, and lives on, when a stream ends before its declared size", () =>
    withSession(
      SmtpTest.script(
        opens,
        envelope,
        replies("250 ok", "250 ok"),
        provesBdat(half),
        chunk(half.slice(1)),
        SmtpTest.reply("250 one"),
        ask("RSET", "250 ok"),
        chunkedLater("one"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const stream = Stream.fromIterable([half, tail].map(octets))
          const content = SmtpContent.replayable(stream, { size: 1_000_000, content7bit: true })
          const receipt = yield* smtp.deliver({ ...letter("two"), content })
          expect(outcomes(receipt)).toEqual(["two@y.test NotSent ContentError"])
          expect(outcomes(yield* smtp.deliver(letter("one")))).toEqual(accepted("one"))
        }),
      on
    )
  )

  it.effect("waits with each chunk for the reply to the one before where there is no PIPELINING", () =>
    withSession(
      SmtpTest.script(
        opened("CHUNKING"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<two@y.test>", "250 ok"),
        provesBdat(half),
        chunk(half.slice(1)),
        SmtpTest.expectNothing("1 second"),
        SmtpTest.reply("250 one"),
        chunk(half),
        SmtpTest.expectNothing("1 second"),
        SmtpTest.reply("250 two"),
        lastChunk(tail),
        SmtpTest.reply("250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(smtp.deliver(toStream(half, half, tail)))
          yield* TestClock.adjust("1 second")
          yield* TestClock.adjust("1 second")
          expect(outcomes(yield* Fiber.join(fiber))).toEqual(accepted("two"))
        }),
      on
    )
  )

  it.effect("without PIPELINING sends nothing behind a refused chunk, and pulls no more of the stream", () =>
    withSession(
      SmtpTest.script(
        opened("CHUNKING"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<two@y.test>", "250 ok"),
        provesBdat(half),
        chunk(half.slice(1)),
        SmtpTest.reply("452 4.3.1 full"),
        ask("RSET", "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          let pulled = 0
          const stream = Stream.repeatEffect(Effect.sync(() => (pulled++, octets(half))))
          const content = SmtpContent.replayable(Stream.take(stream, 1000), { content7bit: true })
          const receipt = yield* smtp.deliver({ ...letter("two"), content })
          expect(outcomes(receipt)).toEqual(["two@y.test Refused 452 bdat"])
          expect(pulled).toBeLessThan(6)
        }),
      on
    )
  )

  it.effect(
    "without PIPELINING has sent nothing of the last chunk when the connection breaks before it",
    () =>
      withSession(
        SmtpTest.script(
          opened("CHUNKING"),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<two@y.test>", "250 ok"),
          provesBdat(half),
          chunk(half.slice(1)),
          SmtpTest.close
        ),
        (smtp) =>
          Effect.map(smtp.deliver(toStream(half, tail)), (receipt) =>
            expect(outcomes(receipt)).toEqual(["two@y.test NotSent ServerDisconnected bdat"])
          ),
        on
      )
  )
})

describe("the first byte that a session sends by BDAT", () => {
  const due = SmtpTest.script(
    opens,
    envelope,
    replies("250 ok", "250 ok"),
    SmtpTest.expect("BDAT 1"),
    SmtpTest.expect(octets("S"))
  )
  const smuggled = { ...letter("two"), content: "Subject: s\r\n\r\nMAIL FROM:<e@x.test>\r\n" }

  for (const code of ["500 5.5.2 what", "502 5.5.1 not here"]) {
    it.effect(`is all that a server gets that answers ${code.slice(0, 3)}`, () =>
      delivers(
        SmtpTest.script(due, SmtpTest.reply(code), silentEnd),
        on,
        [smuggled],
        [`two@y.test Refused ${code.slice(0, 3)} bdat`]
      )
    )
  }

  for (const code of ["452 4.3.1 full", "554 5.7.1 no"]) {
    it.effect(`is followed by RSET when the server answers ${code.slice(0, 3)}, and the session lives`, () =>
      delivers(
        SmtpTest.script(due, SmtpTest.reply(code), ask("RSET", "250 ok"), chunkedAlone("one"), goodbye),
        on,
        [smuggled, letter("one")],
        [`two@y.test Refused ${code.slice(0, 3)} bdat`, ...accepted("one")]
      )
    )
  }

  it.effect("leaves the message NotSent when the connection is lost", () =>
    delivers(
      SmtpTest.script(due, SmtpTest.close),
      on,
      [smuggled],
      ["two@y.test NotSent ServerDisconnected bdat"]
    )
  )

  it.effect("is followed by RSET, and no other byte, when the caller is interrupted meanwhile", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<undefined>()
      yield* withSession(
        SmtpTest.script(
          due,
          SmtpTest.effect(Deferred.succeed(reached, undefined)),
          SmtpTest.delay("1 second"),
          SmtpTest.reply("250 ok"),
          ask("RSET", "250 ok"),
          chunkedLater("one"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(smtp.send(smuggled))
            yield* Deferred.await(reached)
            yield* Fiber.interruptFork(fiber)
            yield* TestClock.adjust("1 second")
            yield* Fiber.await(fiber)
            expect(outcomes(yield* smtp.deliver(letter("one")))).toEqual(accepted("one"))
          }),
        on
      )
    })
  )

  it.effect("goes alone in eager sessions too", () =>
    withSession(
      SmtpTest.script(due, SmtpTest.reply("502 5.5.1 not here"), silentEnd),
      (smtp, server) =>
        Effect.gen(function* () {
          const [first, ...others] = yield* deliverAll(smtp, ["two", "three", "four"].map(letter))
          expect(first).toBe("two@y.test Refused 502 bdat")
          expect(others.every((line) => line.includes("NotSent"))).toBe(true)
          expect((yield* writes(server)).join("")).toMatch(/BDAT 1\r\nS$/)
        }),
      eager
    )
  )
})

describe("a chunk that is refused", () => {
  const begins = SmtpTest.script(
    opens,
    envelope,
    replies("250 ok", "250 ok"),
    provesBdat(half),
    chunk(half.slice(1))
  )
  const refused = ["two@y.test Refused 552 bdat"]

  it.effect("is the first: none follows, RSET, and the session lives", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      yield* withSession(
        SmtpTest.script(
          begins,
          SmtpTest.reply("552 5.3.4 too much"),
          ask("RSET", "250 ok"),
          SmtpTest.effect(Deferred.succeed(gate, undefined)),
          chunkedLater("one"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const stream = Stream.concat(Stream.make(octets(half), octets(half)), Stream.never)
            const content = SmtpContent.replayable(stream, { content7bit: true })
            const receipt = yield* smtp.deliver({ ...letter("two"), content })
            expect(outcomes(receipt)).toEqual(refused)
            yield* Deferred.await(gate)
            expect(outcomes(yield* smtp.deliver(letter("one")))).toEqual(accepted("one"))
          }),
        on
      )
    })
  )

  it.effect("is in the middle, and what had left already is refused too", () =>
    delivers(
      SmtpTest.script(
        begins,
        chunk(half),
        lastChunk(tail),
        replies("250 ok", "552 5.3.4 too much", "503 5.5.1 no"),
        ask("RSET", "250 ok"),
        goodbye
      ),
      on,
      [toStream(half, half, tail)],
      refused
    )
  )

  it.effect("is the last", () =>
    delivers(
      SmtpTest.script(
        begins,
        lastChunk(tail),
        replies("250 ok", "552 too much"),
        ask("RSET", "250 ok"),
        goodbye
      ),
      on,
      [toStream(half, tail)],
      ["two@y.test Refused 552 final"]
    )
  )

  it.effect("and the last accepted all the same: nobody knows what the recipients got", () =>
    delivers(
      SmtpTest.script(begins, lastChunk(tail), replies("552 too much", "250 ok"), silentEnd),
      on,
      [toStream(half, tail)],
      ["two@y.test Unknown ProtocolError final"]
    )
  )

  for (const code of ["500 5.5.2 what", "502 5.5.1 not here"]) {
    it.effect(`by ${code.slice(0, 3)} was read as commands: the connection is destroyed`, () =>
      delivers(
        SmtpTest.script(begins, lastChunk(tail), SmtpTest.reply(code), silentEnd),
        on,
        [toStream(half, tail)],
        [`two@y.test Refused ${code.slice(0, 3)} bdat`]
      )
    )
    it.effect(`by ${code.slice(0, 3)}, and then a yes: what the server has taken is unknown`, () =>
      delivers(
        SmtpTest.script(begins, lastChunk(tail), replies(code, "250 ok"), silentEnd),
        on,
        [toStream(half, tail)],
        ["two@y.test Unknown ProtocolError final"]
      )
    )
  }
})

describe('chunking "eager"', () => {
  const words = ["one", "two", "three"]

  const window = SmtpTest.script(opens, chunkedAlone("one"), chunked("two"), resetChunked("three"))

  it.effect("has a window of messages on their way, from the second message of a session on", () =>
    withSession(
      SmtpTest.script(
        window,
        resetChunked("four"),
        replies("250 ok", "250 ok", "250 two"),
        replies("250 ok", "250 ok", "250 ok", "250 three"),
        replies("250 ok", "250 ok", "250 ok", "250 four"),
        goodbye
      ),
      (smtp, server) =>
        Effect.gen(function* () {
          expect(yield* deliverAll(smtp, [...words, "four"].map(letter))).toEqual(accepted(...words, "four"))
          // The first message ends in a fiber: the second leaves by itself, and the others behind it.
          const together = (yield* writes(server)).filter((text) => text.includes("RSET"))
          expect(together.map((text) => text.match(/LAST/g)?.length)).toEqual([2])
        }),
      eager
    )
  )

  it.effect("never has more messages on their way than the window takes", () =>
    withSession(
      SmtpTest.script(
        window,
        SmtpTest.expectNothing("1 second"),
        replies("250 ok", "250 ok", "250 two"),
        resetChunked("four"),
        replies("250 ok", "250 ok", "250 ok", "250 three", "250 ok", "250 ok", "250 ok", "250 four"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const all = yield* Effect.fork(deliverAll(smtp, [...words, "four"].map(letter)))
          yield* TestClock.adjust("1 second")
          expect(yield* Fiber.join(all)).toEqual(accepted(...words, "four"))
        }),
      { ...eager, advanced: { window: { messages: 2 } } }
    )
  )

  it.effect("lets no message follow while as many octets as the window has are unanswered", () =>
    withSession(
      SmtpTest.script(
        window,
        SmtpTest.expectNothing("1 second"),
        replies("250 ok", "250 ok", "250 two", "250 ok", "250 ok", "250 ok", "250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const all = yield* Effect.fork(deliverAll(smtp, words.map(letter)))
          yield* TestClock.adjust("1 second")
          expect(yield* Fiber.join(all)).toEqual(accepted(...words))
        }),
      { ...eager, advanced: { window: { octets: textOf("two").length + 1 } } }
    )
  )

  it.effect(
    "waits for the envelope's replies when the server has been silent for longer than eagerWithin",
    () =>
      withSession(
        SmtpTest.script(
          opens,
          chunkedAlone("one"),
          chunkedLater("two"),
          chunked("three"),
          replies("250 ok", "250 ok", "250 three"),
          goodbye
        ),
        (smtp, server) =>
          Effect.gen(function* () {
            yield* smtp.deliver(letter("one"))
            yield* TestClock.adjust("2001 millis")
            yield* smtp.deliver(letter("two"))
            yield* TestClock.adjust("2 seconds")
            expect(outcomes(yield* smtp.deliver(letter("three")))).toEqual(accepted("three"))
            const together = (yield* writes(server)).filter((text) => /MAIL[^]*BDAT/.test(text))
            expect(together).toHaveLength(1)
            expect(together[0]).toContain("three@y.test")
          }),
        eager
      )
  )

  it.effect("says RSET behind BDAT whatever resetBetween says (RFC 3030 section 2)", () =>
    delivers(
      SmtpTest.script(
        window,
        replies("250 ok", "250 ok", "250 two"),
        replies("250 ok", "250 ok", "250 ok", "250 three"),
        goodbye
      ),
      { ...eager, advanced: { resetBetween: false } },
      words.map(letter),
      accepted(...words)
    )
  )

  it.effect("holds the content back where everybody has to be accepted", () =>
    withSession(
      SmtpTest.script(
        opens,
        chunkedAlone("one"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<two@y.test>", "RCPT TO:<three@y.test>"),
        replies("250 ok", "250 ok", "550 no"),
        ask("RSET", "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.deliver(letter("one"))
          const to = ["two@y.test", "three@y.test"]
          expect(outcomes(yield* smtp.deliver({ ...letter("two"), to, recipients: "all" }))).toEqual([
            "two@y.test NotSent RecipientsRefused",
            "three@y.test Refused 550 rcpt"
          ])
        }),
      eager
    )
  )

  it.effect("refuses one message, one recipient, one sender, and no neighbour", () =>
    withSession(
      SmtpTest.script(
        window,
        resetChunked("four"),
        resetChunked("five"),
        replies("250 ok", "250 ok", "554 not two"),
        replies("250 reset", "250 ok", "550 not three", "250 for nobody"),
        replies("250 reset", "550 not from you", "503 no", "503 no"),
        replies("250 reset", "250 ok", "250 ok", "250 five"),
        goodbye
      ),
      (smtp) =>
        Effect.map(deliverAll(smtp, [...words, "four", "five"].map(letter)), (lines) => {
          expect(lines).toEqual([
            "one@y.test Accepted 250",
            "two@y.test Refused 554 final",
            "three@y.test Refused 550 rcpt",
            "four@y.test Refused 550 mail",
            "five@y.test Accepted 250"
          ])
        }),
      eager
    )
  )

  it.effect("resets behind the last of them if that was refused", () =>
    delivers(
      SmtpTest.script(
        window,
        replies("250 ok", "250 ok", "250 two", "250 reset", "250 ok", "550 no", "554 nobody"),
        ask("RSET", "250 ok"),
        goodbye
      ),
      eager,
      words.map(letter),
      ["one@y.test Accepted 250", "two@y.test Accepted 250", "three@y.test Refused 550 rcpt"]
    )
  )

  it.effect("halts a stream whose recipients are all refused, resets, and lets the next come", () =>
    withSession(
      SmtpTest.script(
        opens,
        chunkedAlone("one"),
        envelope,
        chunk(half),
        replies("250 ok", "550 no", "503 5.5.1 nobody"),
        ask("RSET", "250 ok"),
        chunked("three"),
        replies("250 ok", "250 ok", "250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.deliver(letter("one"))
          const stream = Stream.concat(Stream.make(octets(half), octets(half)), Stream.never)
          const content = SmtpContent.replayable(stream, { content7bit: true })
          const receipt = yield* smtp.deliver({ ...letter("two"), content })
          expect(outcomes(receipt)).toEqual(["two@y.test Refused 550 rcpt"])
          expect(outcomes(yield* smtp.deliver(letter("three")))).toEqual(accepted("three"))
        }),
      eager
    )
  )

  it.effect("never writes a MAIL beyond MAILMAX", () =>
    delivers(
      SmtpTest.script(
        opened("PIPELINING", "CHUNKING", "LIMITS MAILMAX=3"),
        chunkedAlone("one"),
        chunked("two"),
        resetChunked("three"),
        replies("250 ok", "250 ok", "250 two", "250 ok", "250 ok", "250 ok", "250 three"),
        goodbye
      ),
      eager,
      [...words, "four"].map(letter),
      [...accepted(...words), "four@y.test NotSent NotSupported"]
    )
  )
})

describe("eager messages on their way, when the session ends", () => {
  const words = ["one", "two", "three", "four"]
  const window = SmtpTest.script(
    opens,
    chunkedAlone("one"),
    chunked("two"),
    resetChunked("three"),
    resetChunked("four")
  )
  const answers = [
    ...["250 ok", "250 ok", "250 two"],
    ...["250 reset", "250 ok", "250 ok", "250 three"],
    ...["250 reset", "250 ok", "250 ok", "250 four"]
  ]
  /** How many of the replies each message has to wait for. */
  const complete = [3, 7, 11]

  const outcomesOf = (count: number, one: (message: number) => string): ReadonlyArray<string> => [
    "one@y.test Accepted 250",
    ...complete.map((end, message) =>
      count >= end
        ? `${words[message + 1]}@y.test Accepted 250`
        : `${words[message + 1]}@y.test ${one(message)}`
    )
  ]

  // The 421 is a verdict where the content's own reply is due; all else was handed over, and nothing is said of it.
  const afterGoodbye = (count: number, message: number): string =>
    count === (complete[message] ?? 0) - 1 ? "Refused 421 final" : "Unknown ServerDisconnected final"

  for (const [count] of answers.entries()) {
    it.effect(`421 in place of reply ${count + 1}, and the end: the rest is unknown`, () =>
      delivers(
        SmtpTest.script(window, replies(...answers.slice(0, count), "421 4.3.2 bye"), SmtpTest.close),
        eager,
        words.map(letter),
        outcomesOf(count, (message) => afterGoodbye(count, message))
      )
    )
    it.effect(`the end of the stream in place of reply ${count + 1}: the rest is unknown`, () =>
      delivers(
        SmtpTest.script(window, replies(...answers.slice(0, count)), SmtpTest.close),
        eager,
        words.map(letter),
        outcomesOf(count, () => "Unknown ServerDisconnected final")
      )
    )
    it.effect(`a reset in place of reply ${count + 1}: the rest is unknown`, () =>
      delivers(
        SmtpTest.script(window, replies(...answers.slice(0, count)), SmtpTest.reset),
        eager,
        words.map(letter),
        outcomesOf(count, () => "Unknown ServerDisconnected final")
      )
    )
    it.effect(`silence in place of reply ${count + 1}: the rest is unknown once the limit is over`, () =>
      withSession(
        SmtpTest.script(window, replies(...answers.slice(0, count)), silentEnd),
        (smtp) =>
          Effect.gen(function* () {
            const all = yield* Effect.fork(deliverAll(smtp, words.map(letter)))
            yield* TestClock.adjust("10 minutes")
            expect(yield* Fiber.join(all)).toEqual(outcomesOf(count, () => "Unknown ReplyTimeout final"))
          }),
        eager
      )
    )
  }

  // An ACL of Exim that defers by 421 answers one command; the session goes on, and stays open.
  const goesOn = (rest: SmtpTest.Script, expected: ReadonlyArray<string>) =>
    withSession(
      SmtpTest.script(window, rest, silentEnd),
      (smtp) =>
        Effect.gen(function* () {
          const all = yield* Effect.fork(deliverAll(smtp, words.map(letter)))
          yield* TestClock.adjust("2 seconds")
          expect(yield* Fiber.join(all)).toEqual(expected)
        }),
      eager
    )

  it.effect("421 in answer to MAIL, and the session goes on: the others have their replies", () =>
    goesOn(replies("421 4.7.1 later", "503 5.5.1 no sender", "503 5.5.1 no sender", ...answers.slice(3)), [
      "one@y.test Accepted 250",
      "two@y.test Refused 421 mail",
      "three@y.test Accepted 250",
      "four@y.test Accepted 250"
    ])
  )

  it.effect("421 in answer to RCPT, and the session goes on: the others have their replies", () =>
    goesOn(
      replies(...answers.slice(0, 4), "250 ok", "421 4.7.1 later", "503 5.5.1 nobody", ...answers.slice(7)),
      [
        "one@y.test Accepted 250",
        "two@y.test Accepted 250",
        "three@y.test Refused 421 rcpt",
        "four@y.test Accepted 250"
      ]
    )
  )

  it.effect("421 in addition to the replies: no acceptance behind it counts", () =>
    goesOn(replies(...answers.slice(0, 3), "421 4.3.2 shutting down", ...answers.slice(3)), [
      "one@y.test Accepted 250",
      "two@y.test Accepted 250",
      "three@y.test Unknown ServerDisconnected final",
      "four@y.test Unknown ServerDisconnected final"
    ])
  )

  it.effect("421 in addition, and the end before the last reply: no acceptance behind it counts", () =>
    delivers(
      SmtpTest.script(
        window,
        replies(...answers.slice(0, 4), "421 4.3.2 shutting down", ...answers.slice(4, -1)),
        SmtpTest.close
      ),
      eager,
      words.map(letter),
      [
        "one@y.test Accepted 250",
        "two@y.test Accepted 250",
        "three@y.test Unknown ServerDisconnected final",
        "four@y.test Unknown ServerDisconnected final"
      ]
    )
  )

  it.effect("a refused RSET: what is behind it may have been read", () =>
    delivers(
      SmtpTest.script(window, replies(...answers.slice(0, 3), "451 not now"), silentEnd),
      eager,
      words.map(letter),
      outcomesOf(3, () => "Unknown ProtocolError final")
    )
  )

  it.effect("too many commands, and the end: what is behind it was not read", () =>
    delivers(
      SmtpTest.script(
        window,
        replies(...answers.slice(0, 3), "554 Too many nonmail commands"),
        SmtpTest.close
      ),
      eager,
      words.map(letter),
      outcomesOf(3, () => "NotSent ServerDisconnected mail")
    )
  )

  for (const [what, rest] of [
    ["more replies", replies("250 ok")],
    ["silence", SmtpTest.script()]
  ] as const) {
    it.effect(`too many commands, and ${what}: what is behind it may have been read`, () =>
      withSession(
        SmtpTest.script(
          window,
          replies(...answers.slice(0, 3), "554 Too many nonmail commands"),
          rest,
          silentEnd
        ),
        (smtp) =>
          Effect.gen(function* () {
            const all = yield* Effect.fork(deliverAll(smtp, words.map(letter)))
            yield* TestClock.adjust("2 seconds")
            expect(yield* Fiber.join(all)).toEqual(outcomesOf(3, () => "Unknown ProtocolError final"))
          }),
        eager
      )
    )
  }
})

describe("eager messages and interruption (rules 18 and 19)", () => {
  const reached = (gate: Deferred.Deferred<undefined>) => SmtpTest.effect(Deferred.succeed(gate, undefined))

  it.effect(
    "a complete message cannot be recalled: its outcome reaches the hook once, its neighbours theirs",
    () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<undefined>()
        const told: Array<Receipt> = []
        yield* withSession(
          SmtpTest.script(
            opens,
            chunkedAlone("one"),
            chunked("two"),
            resetChunked("three"),
            resetChunked("four"),
            reached(gate),
            SmtpTest.delay("1 minute"),
            replies("250 ok", "250 ok", "250 two", "250 ok", "250 ok", "250 ok", "250 three"),
            replies("250 ok", "250 ok", "250 ok", "250 four"),
            goodbye
          ),
          (smtp) =>
            Effect.gen(function* () {
              yield* smtp.deliver(letter("one"))
              const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(receipt))
              const fibers = yield* Effect.forEach(["two", "three", "four"], (word) =>
                Effect.fork(smtp.deliver({ ...letter(word), ...(word === "three" ? { onOutcome } : {}) }))
              )
              yield* Deferred.await(gate)
              const [two, three, four] = fibers
              if (two === undefined || three === undefined || four === undefined) return
              yield* Fiber.interrupt(three)
              expect(told).toEqual([])
              yield* TestClock.adjust("1 minute")
              expect(outcomes(yield* Fiber.join(two))).toEqual(accepted("two"))
              expect(outcomes(yield* Fiber.join(four))).toEqual(accepted("four"))
              expect(told.map(outcomes)).toEqual([accepted("three")])
            }),
          eager
        )
      })
  )

  /** Between two chunks of a stream, with a complete message before it and another one waiting. */
  const betweenChunks = (
    content: (gate: Deferred.Deferred<undefined>) => Stream.Stream<Uint8Array, string>,
    end: (fiber: Fiber.Fiber<Receipt, unknown>) => Effect.Effect<unknown, unknown>,
    expected: (told: ReadonlyArray<Receipt>) => void
  ) =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      const complete = yield* Deferred.make<undefined>()
      const told: Array<Receipt> = []
      yield* withSession(
        SmtpTest.script(
          opens,
          chunkedAlone("one"),
          chunked("two"),
          reached(complete),
          SmtpTest.expectGroup("RSET", "MAIL FROM:<a@x.test>", "RCPT TO:<three@y.test>"),
          chunk(half),
          reached(gate),
          SmtpTest.reply("250 ok", { delay: "4 minutes" }),
          replies("250 ok", "250 two", "250 ok", "250 ok", "250 ok", "250 chunk"),
          SmtpTest.expect("RSET"),
          chunked("four"),
          replies("250 ok", "250 ok", "250 ok", "250 four"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.deliver(letter("one"))
            const two = yield* Effect.fork(smtp.deliver(letter("two")))
            yield* Deferred.await(complete)
            const three = yield* Effect.fork(
              smtp.deliver({
                ...letter("three"),
                content: SmtpContent.replayable(content(gate), { content7bit: true }),
                onOutcome: (receipt) => Effect.sync(() => told.push(receipt))
              })
            )
            yield* Deferred.await(gate)
            const four = yield* Effect.fork(smtp.deliver(letter("four")))
            const ending = yield* Effect.fork(end(three))
            yield* TestClock.adjust("4 minutes")
            yield* Fiber.join(ending)
            expect(outcomes(yield* Fiber.join(two))).toEqual(accepted("two"))
            expect(outcomes(yield* Fiber.join(four))).toEqual(accepted("four"))
            expected(told)
          }),
        { ...eager, timeouts: { stall: "1 minute" } }
      )
    })

  const begun = Stream.make(octets(half), octets(half))

  it.effect("a stream between two chunks is reset, and its neighbours have their own outcome", () =>
    betweenChunks(
      () => Stream.concat(begun, Stream.never),
      (fiber) => Fiber.interrupt(fiber),
      (told) => expect(told.map(outcomes)).toEqual([["three@y.test NotSent ServerDisconnected data"]])
    )
  )

  it.effect("a stream that fails between two chunks is reset, and fails its sender", () =>
    betweenChunks(
      (gate) =>
        Stream.concat(begun, Stream.fromEffect(Effect.zipRight(Deferred.await(gate), Effect.fail("torn")))),
      (fiber) => Effect.map(Effect.flip(Fiber.join(fiber)), (error) => expect(error).toBe("torn")),
      (told) => expect(told).toEqual([])
    )
  )

  it.effect("a stream that stalls between two chunks is reset", () =>
    betweenChunks(
      () => Stream.concat(begun, Stream.never),
      (fiber) =>
        Effect.map(Effect.orDie(Fiber.join(fiber)), (receipt) =>
          expect(outcomes(receipt)).toEqual(["three@y.test NotSent ContentError"])
        ),
      (told) => expect(told).toEqual([])
    )
  )

  it.effect("a stream that dies between two chunks is reset", () =>
    betweenChunks(
      (gate) =>
        Stream.concat(begun, Stream.fromEffect(Effect.zipRight(Deferred.await(gate), Effect.die("torn")))),
      (fiber) =>
        Effect.map(Fiber.await(fiber), (exit) => expect(exit).toMatchObject({ cause: { _tag: "Die" } })),
      (told) => expect(told).toEqual([])
    )
  )

  it.effect("a stream that fails is not waited for longer than the grace, if the server is silent", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      yield* withSession(
        SmtpTest.script(
          opens,
          chunkedAlone("one"),
          SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<two@y.test>"),
          chunk(half),
          reached(gate),
          SmtpTest.silence
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.deliver(letter("one"))
            const torn = Stream.concat(begun, Stream.fail("torn"))
            const content = SmtpContent.replayable(torn, { content7bit: true })
            const two = yield* Effect.fork(Effect.flip(smtp.deliver({ ...letter("two"), content })))
            yield* Deferred.await(gate)
            yield* TestClock.adjust("9999 millis")
            expect(two.unsafePoll()).toBeNull()
            yield* TestClock.adjust("1 milli")
            expect(yield* Fiber.join(two)).toBe("torn")
          }),
        eager
      )
    })
  )
})
