import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import { makePair } from "../../src/internal/testing/memoryConnection.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import { ContentError } from "../../src/SmtpError.js"
import type { Keyed as KeyedReceipt, Receipt } from "../../src/SmtpReceipt.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { SmtpSocket } from "../../src/SmtpSocket.js"
import type { Keyed, Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { untyped } from "../support/untyped.js"
import { ask, goodbye, inTransaction, octets, opened, outcomes, withSession } from "./oneSession.js"
import {
  alone,
  chunked,
  chunkedAlone,
  group,
  letter,
  replies,
  resetChunked,
  resetGroup,
  textOf
} from "./severalAtOnce.js"

const overlap: SmtpSession.Options = { pipelining: "overlap" }
const eager: SmtpSession.Options = { chunking: "eager" }

const opens = opened("PIPELINING", "CHUNKING")

const content = (word: string) => SmtpTest.expectContent(textOf(word))

const keyed = (word: string, own: Partial<Submission> = {}): Keyed<string> => ({
  key: word,
  submission: { ...letter(word), ...own }
})

/** A line for each recipient, behind the key, and the error of the submission if it has one. */
const told = <E>({ error, key, receipt }: KeyedReceipt<string, E>): string => {
  const described = error === undefined ? "" : ` (${String(error)})`
  return `${key}: ${outcomes(receipt).join(", ")}${described}`
}

const sendAll = <E, R, E2, R2>(
  smtp: SmtpSession.Service,
  submissions: Stream.Stream<Keyed<string, E, R>, E2, R2>
): Effect.Effect<Array<string>, E2, R | R2> =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const receipts = yield* smtp.sendAll(submissions)
    yield* Stream.runForEach(receipts, (receipt) => Effect.sync(() => lines.push(told(receipt))))
    return lines
  })

const accepted = (...words: ReadonlyArray<string>) =>
  words.map((word) => `${word}: ${word}@y.test Accepted 250`)

describe("a stream of messages", () => {
  it.effect("overlaps, and gives each receipt with its key as soon as it is complete", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        alone("one"),
        group("two"),
        replies("250 ok", "250 ok", "354 go"),
        content("two"),
        resetGroup("three"),
        replies("250 two", "250 reset", "250 ok", "250 ok", "354 go"),
        content("three"),
        SmtpTest.reply("250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.map(
          sendAll(smtp, Stream.fromIterable(["one", "two", "three"].map((word) => keyed(word)))),
          (lines) => expect(lines).toEqual(accepted("one", "two", "three"))
        ),
      overlap
    )
  )

  it.effect("is in the order of completion: those that need no server first", () =>
    withSession(
      SmtpTest.script(
        opens,
        chunkedAlone("one"),
        chunked("two"),
        resetChunked("three"),
        replies("250 ok", "250 ok", "550 not two", "250 ok", "250 ok", "250 ok", "250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const lines = yield* sendAll(
            smtp,
            Stream.make(
              keyed("one"),
              keyed("two"),
              keyed("nobody", { to: [] }),
              keyed("bad", { to: "no address" }),
              keyed("empty", { content: "" }),
              keyed("nul", { content: "a\0" }),
              keyed("three")
            )
          )
          expect(lines.map((line) => line.replace(/ \(.*/, ""))).toEqual([
            "nobody:  NotSent InvalidArgument",
            "bad: no address NotSent InvalidArgument",
            "empty: empty@y.test NotSent InvalidArgument",
            "nul: nul@y.test NotSent ContentError",
            "one: one@y.test Accepted 250",
            "two: two@y.test Refused 550 final",
            "three: three@y.test Accepted 250"
          ])
          expect(lines[0]).toMatch(/\(InvalidArgument: Invalid to: it is empty/)
          expect(lines[1]).toMatch(/\(InvalidArgument: /)
          expect(lines[2]).toMatch(/\(InvalidArgument: Invalid content: it is empty/)
          expect(lines[3]).not.toContain("(")
        }),
      eager
    )
  )

  it.effect(
    "takes streams as content next to octets, and what they fail with goes to the receipt's error",
    () =>
      withSession(
        SmtpTest.script(
          opens,
          chunkedAlone("one"),
          chunked("three"),
          replies("250 ok", "250 ok", "250 three"),
          chunked("two"),
          replies("250 ok", "250 ok", "250 two"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const late = Stream.fromEffect(Effect.as(Effect.sleep("1 second"), octets(textOf("two"))))
            const two = SmtpContent.replayable(late, { content7bit: true })
            const lines = yield* Effect.fork(
              sendAll(
                smtp,
                Stream.make<Array<Keyed<string, string>>>(
                  keyed("one"),
                  { key: "two", submission: { ...letter("two"), content: two } },
                  { key: "torn", submission: { ...letter("torn"), content: Stream.fail("torn") } },
                  keyed("three")
                )
              )
            )
            yield* TestClock.adjust("1 second")
            expect([...(yield* Fiber.join(lines))].sort()).toEqual([
              ...accepted("one", "three"),
              "torn: torn@y.test NotSent ContentError (torn)",
              ...accepted("two")
            ])
          }),
        eager
      )
  )

  it.effect("keeps to the time limit of a submission", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        group("one"),
        replies("250 ok", "250 ok", "354 go"),
        content("one"),
        SmtpTest.reply("250 one", { delay: "1 minute" }),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const hooked: Array<Receipt> = []
          const onOutcome = (receipt: Receipt) => Effect.sync(() => hooked.push(receipt))
          const lines = yield* Effect.fork(
            sendAll(smtp, Stream.make(keyed("one", { timeout: "1 second", onOutcome })))
          )
          yield* TestClock.adjust("1 second")
          expect(yield* Fiber.join(lines)).toEqual(["one: one@y.test Unknown ReplyTimeout final"])
          yield* TestClock.adjust("1 minute")
          expect(hooked.map(outcomes)).toEqual([["one@y.test Accepted 250"]])
        }),
      overlap
    )
  )

  it.effect("says EHLO for the first of them if nobody has", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const smtp = yield* Effect.provide(
        SmtpSession.connect({ host: "mx.test", tls: "none", clientName: "client.test", ...eager }),
        server.layer
      )
      const lines = yield* sendAll(smtp, Stream.fromIterable(["one", "two"].map((word) => keyed(word))))
      expect(lines).toEqual(accepted("one", "two"))
      expect((yield* server.transcript).match(/C: EHLO/g)).toHaveLength(1)
    }).pipe(Effect.scoped)
  )

  it.effect("within a transaction by hand is refused, message by message", () =>
    withSession(
      SmtpTest.script(opened(), ask("MAIL FROM:<a@x.test>", "250 ok"), ask("RSET", "250 ok"), goodbye),
      (smtp) =>
        inTransaction(smtp, () =>
          Effect.map(sendAll(smtp, Stream.make(keyed("one"), keyed("two"))), (lines): void => {
            expect(lines.map((line) => line.replace(/ \(.*/, ""))).toEqual([
              "one: one@y.test NotSent InvalidArgument",
              "two: two@y.test NotSent InvalidArgument"
            ])
          })
        )
    )
  )
})

describe("a stream of messages that does not come to its end", () => {
  const two = SmtpTest.script(opened("PIPELINING"), alone("one"), alone("two"), goodbye)

  it.effect("fails as its source does, after the receipts of what had begun", () =>
    withSession(two, (smtp) =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const source = Stream.concat(Stream.make(keyed("one"), keyed("two")), Stream.fail("no more"))
        const receipts = yield* smtp.sendAll(source)
        const error = yield* Effect.flip(
          Stream.runForEach(receipts, (receipt) => Effect.sync(() => lines.push(told(receipt))))
        )
        expect(error).toBe("no more")
        expect(lines).toEqual(accepted("one", "two"))
      })
    )
  )

  it.effect("dies as its source does", () =>
    withSession(SmtpTest.script(opened("PIPELINING"), goodbye), (smtp) =>
      Effect.gen(function* () {
        const source: Stream.Stream<Keyed<string>> = Stream.die("defect")
        const exit = yield* Effect.exit(sendAll(smtp, source))
        expect(exit).toMatchObject({ cause: { _tag: "Die", defect: "defect" } })
      })
    )
  )

  it.effect.each([
    ["dies", Stream.die("defect"), Cause.isDie],
    ["is interrupted", Stream.fromEffect(Effect.interrupt), Cause.isInterruptedOnly]
  ] as const)("ends as a source that %s, after the receipts of what had begun", ([, end, isSo]) =>
    withSession(two, (smtp) =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const words = Stream.make(keyed("one"), keyed("two"))
        const source: Stream.Stream<Keyed<string>> = Stream.concat(words, end)
        const receipts = yield* smtp.sendAll(source)
        const exit = yield* Effect.exit(
          Stream.runForEach(receipts, (receipt) => Effect.sync(() => lines.push(told(receipt))))
        )
        expect(lines).toEqual(accepted("one", "two"))
        expect(Exit.isFailure(exit) && isSo(exit.cause)).toBe(true)
      })
    )
  )

  it.effect("gives every message its receipt when the session ends in the middle", () =>
    withSession(
      SmtpTest.script(
        opens,
        chunkedAlone("one"),
        chunked("two"),
        resetChunked("three"),
        replies("250 ok", "250 ok", "250 two", "421 bye"),
        SmtpTest.close
      ),
      (smtp) =>
        Effect.gen(function* () {
          const words = ["one", "two", ...Array.from({ length: 200 }, (_, index) => `w${index}`)]
          words[2] = "three"
          const lines = yield* sendAll(smtp, Stream.fromIterable(words.map((word) => keyed(word))))
          expect(lines.slice(0, 2)).toEqual(accepted("one", "two"))
          expect(lines[2]).toBe("three: three@y.test Unknown ServerDisconnected final")
          // The one behind had come into the window when the first of the two was accepted.
          const phase = (word: string) => (word === "w1" ? "mail" : "idle")
          const rest = words
            .slice(3)
            .map((word) => `${word}: ${word}@y.test NotSent ServerDisconnected ${phase(word)}`)
          expect(lines.slice(3)).toEqual(rest)
        }),
      { ...eager, advanced: { window: { messages: 2 } } }
    )
  )

  it.effect("gives up what waits when its reader leaves, and tells the hook of all that had begun", () =>
    withSession(
      SmtpTest.script(
        opens,
        chunkedAlone("one"),
        chunked("two"),
        resetChunked("three"),
        SmtpTest.delay("1 minute"),
        replies("250 ok", "250 ok", "250 two", "250 ok", "250 ok", "250 ok", "250 three"),
        SmtpTest.expectNothing("1 second"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const hooked: Array<string> = []
          const onOutcome = (receipt: Receipt) => Effect.sync(() => hooked.push(...outcomes(receipt)))
          const words = ["one", "two", "three", "four", "five"]
          const receipts = yield* smtp.sendAll(
            Stream.fromIterable(words.map((word) => keyed(word, { onOutcome })))
          )
          const read = yield* Stream.runCollect(Stream.take(receipts, 1))
          expect(Array.from(read, told)).toEqual(accepted("one"))
          yield* TestClock.adjust("1 minute")
          yield* TestClock.adjust("1 second")
          expect(hooked).toEqual([
            "five@y.test NotSent ServerDisconnected idle",
            "four@y.test NotSent ServerDisconnected idle",
            "two@y.test Accepted 250",
            "three@y.test Accepted 250"
          ])
        }),
      { ...eager, advanced: { window: { messages: 2 } } }
    )
  )
})

describe("a message among many whose content breaks from within", () => {
  const chunk = octets("Subject: torn\r\n")
  const detailOf = ({ receipt: { notSent } }: KeyedReceipt<string>): string => {
    const cause = notSent[0]?.cause
    return cause instanceof ContentError ? cause.detail : ""
  }
  const broken = [
    ["dies", Stream.die(new Error("a bug")), "the stream ended in a defect: a bug"],
    [
      "dies late",
      Stream.concat(Stream.make(chunk), Stream.die("late")),
      "the stream ended in a defect: late"
    ],
    ["interrupts itself", Stream.fromEffect(Effect.interrupt), "the stream was interrupted from within"]
  ] as const

  /** A session that has shown what it can, with the server that keeps what it gets. */
  const meet = Effect.gen(function* () {
    const server = yield* SmtpTest.server()
    const options = { host: "mx.test", tls: "none", clientName: "client.test", ...eager } as const
    const smtp = yield* Effect.provide(SmtpSession.make(options), server.layer)
    yield* smtp.send(letter("first"))
    return { server, smtp }
  })

  it.scoped.each(broken)("has a receipt of its own, and the others theirs: it %s", ([, content, detail]) =>
    Effect.gen(function* () {
      const { server, smtp } = yield* meet
      const words = Array.from({ length: 20 }, (_, index) => `w${index}`)
      const source = words.map((word) => keyed(word, word === "w10" ? { content } : {}))
      const receipts = Array.from(yield* Stream.runCollect(yield* smtp.sendAll(Stream.fromIterable(source))))
      const torn = receipts.filter(({ key }) => key === "w10")
      expect(torn.map((receipt) => [told(receipt), detailOf(receipt)])).toEqual([
        ["w10: w10@y.test NotSent ContentError", detail]
      ])
      const others = receipts.filter(({ key }) => key !== "w10").map(told)
      expect(others.sort()).toEqual(accepted(...words.filter((word) => word !== "w10")).sort())
      expect((yield* server.messages).length).toBe(20)
    })
  )

  it.scoped.each(broken)("is for its sender where it is sent alone: it %s", ([, content]) =>
    Effect.gen(function* () {
      const { smtp } = yield* meet
      for (const send of [smtp.send, smtp.deliver]) {
        const exit = yield* Effect.exit(send({ ...letter("torn"), content }))
        expect(Exit.isFailure(exit) && (Cause.isDie(exit.cause) || Cause.isInterruptedOnly(exit.cause))).toBe(
          true
        )
      }
    })
  )

  it.scoped("is in doubt where it had left before its stream's release died", () =>
    Effect.gen(function* () {
      const { smtp } = yield* meet
      const content = Stream.ensuring(Stream.make(chunk), Effect.die("no lock"))
      const lines = yield* sendAll(smtp, Stream.make(keyed("one"), keyed("torn", { content }), keyed("two")))
      expect(lines.sort()).toEqual([
        ...accepted("one"),
        "torn: torn@y.test Unknown ServerDisconnected final",
        ...accepted("two")
      ])
    })
  )

  it.scoped("keeps what was accepted of it before: a later run that dies is for those that are left", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ capabilities: ["8BITMIME", "LIMITS RCPTMAX=1"] })
      const options = { host: "mx.test", tls: "none", clientName: "client.test" } as const
      const smtp = yield* Effect.provide(SmtpSession.make(options), server.layer)
      let runs = 0
      const content = SmtpContent.replayable(
        Stream.suspend(() => (runs++ === 0 ? Stream.make(octets(textOf("one"))) : Stream.die("later")))
      )
      const lines = yield* sendAll(smtp, Stream.make(keyed("one", { to: ["b@y.test", "c@y.test"], content })))
      expect(lines).toEqual(["one: b@y.test Accepted 250, c@y.test NotSent ContentError"])
    })
  )
})

describe("an item of a stream as plain JavaScript may hand it over", () => {
  const good = { from: "a@x.test", to: "b@y.test", content: "Subject: hi\r\n" }
  const unreadable = {
    ...good,
    content: Stream.make(octets("Subject: hi\r\n")),
    get to(): string {
      throw new Error("unreadable")
    }
  }
  it.scoped.each([
    ["no item", undefined, "submission"],
    ["no submission", { key: "bad", submission: undefined }, "submission"],
    ["no sender", { key: "bad", submission: { ...good, from: undefined } }, "from"],
    ["no recipients", { key: "bad", submission: { ...good, to: undefined } }, "to"],
    ["null for recipients", { key: "bad", submission: { ...good, to: null } }, "to"],
    ["null for a recipient", { key: "bad", submission: { ...good, to: [null] } }, "to[0]"],
    ["no content", { key: "bad", submission: { ...good, content: undefined } }, "content"],
    ["octets that are none", { key: "bad", submission: { ...good, content: { _tag: "Bytes" } } }, "content"],
    ["a hook that is none", { key: "bad", submission: { ...good, onOutcome: "log" } }, "onOutcome"],
    ["what throws when it is read", { key: "bad", submission: unreadable }, "submission"]
  ] as const)("is InvalidArgument in its receipt, and the others go their way: %s", ([, bad, field]) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const options = { host: "mx.test", tls: "none", clientName: "client.test", ...eager } as const
      const smtp = yield* Effect.provide(SmtpSession.make(options), server.layer)
      const source: Stream.Stream<Keyed<string>> = Stream.make(keyed("one"), untyped(bad), keyed("two"))
      const receipts = Array.from(yield* Stream.runCollect(yield* smtp.sendAll(source)))
      expect(receipts.filter(({ key }) => key === "one" || key === "two").map(told)).toEqual(
        accepted("one", "two")
      )
      const errors = receipts.flatMap(({ error }) => (error === undefined ? [] : [error]))
      expect(errors).toMatchObject([{ _tag: "InvalidArgument", field }])
      yield* smtp.send(letter("after"))
    })
  )
})

describe("a stream of messages whose reader leaves", () => {
  /** A session with a server that answers at once. */
  const captured = Effect.gen(function* () {
    const server = yield* SmtpTest.server()
    const options = { host: "mx.test", tls: "none", clientName: "client.test", ...eager } as const
    const smtp = yield* Effect.provide(SmtpSession.make(options), server.layer)
    return { server, smtp }
  })

  it.scoped("tells the hook of every message that had begun and whose receipt nobody read", () =>
    Effect.gen(function* () {
      const { server, smtp } = yield* captured
      const hooked: Array<string> = []
      const onOutcome = (receipt: Receipt) => Effect.sync(() => hooked.push(...outcomes(receipt)))
      const words = Array.from({ length: 100 }, (_, index) => `w${index}`)
      const receipts = yield* smtp.sendAll(
        Stream.fromIterable(words.map((word) => keyed(word, { onOutcome })))
      )
      const read = Array.from(yield* Stream.runCollect(Stream.take(receipts, 3)), told)
      yield* Effect.repeatN(Effect.yieldNow(), 200)
      const delivered = (yield* server.messages).length
      expect(delivered).toBeGreaterThan(3)
      const all = [...read.map((line) => line.replace(/^\w+: /, "")), ...hooked]
      expect(all.filter((line) => line.endsWith(" Accepted 250")).sort()).toEqual(
        words
          .slice(0, delivered)
          .map((word) => `${word}@y.test Accepted 250`)
          .sort()
      )
      const given = all.filter((line) => line.includes(" NotSent "))
      expect(given.length + delivered).toBe(all.length)
      expect(given.sort()).toEqual(
        words
          .slice(delivered, all.length)
          .map((word) => `${word}@y.test NotSent ServerDisconnected idle`)
          .sort()
      )
    })
  )

  it.scoped("begins nothing more, however long the source takes to end", () =>
    Effect.gen(function* () {
      const { server, smtp } = yield* captured
      const gate = yield* Deferred.make<undefined>()
      const slow = Stream.fromEffect(Effect.uninterruptible(Effect.as(Deferred.await(gate), keyed("late"))))
      const words = Array.from({ length: 8 }, (_, index) => `w${index}`)
      const source = Stream.concat(Stream.fromIterable(words.map((word) => keyed(word))), slow)
      const receipts = yield* smtp.sendAll(source)
      const reading = yield* Effect.fork(Stream.runDrain(receipts))
      yield* Effect.repeatN(Effect.yieldNow(), 200)
      const leaving = yield* Effect.fork(Fiber.interrupt(reading))
      yield* Effect.repeatN(Effect.yieldNow(), 50)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(leaving)
      yield* smtp.send(letter("after"))
      const subjects = (yield* server.messages).map(({ source }) => /^Subject: (\w+)/.exec(source)?.[1])
      expect(subjects).toEqual([...words, "after"])
    })
  )
})

describe("a stream of messages and backpressure", () => {
  /** A server that is silent after the first message; the gate opens when it has begun to be. */
  const stalled = (gate: Deferred.Deferred<undefined>) =>
    SmtpTest.script(
      opens,
      chunkedAlone("one"),
      SmtpTest.effect(Deferred.succeed(gate, undefined)),
      SmtpTest.delay("2 minutes"),
      SmtpTest.close
    )

  /** How many submissions of an endless source are pulled while the server is silent. */
  const pulledBy = (window: SmtpSession.WindowOptions, own: Partial<Submission> = {}) =>
    Effect.flatMap(Deferred.make<undefined>(), (gate) =>
      withSession(
        stalled(gate),
        (smtp) =>
          Effect.gen(function* () {
            let pulled = 0
            const source = Stream.iterate(0, (number) => number + 1).pipe(
              Stream.rechunk(1),
              Stream.map((number) => {
                pulled++
                return number === 0 ? keyed("one") : keyed(`w${number}`, own)
              })
            )
            const sending = yield* Effect.fork(sendAll(smtp, source))
            yield* Deferred.await(gate)
            yield* TestClock.adjust("1 minute")
            const meanwhile = pulled
            yield* Fiber.interrupt(sending)
            yield* TestClock.adjust("1 minute")
            return meanwhile
          }),
        { ...eager, advanced: { window } }
      )
    )

  it.effect.each([
    ["octets", { content: "x".repeat(1000) }],
    ["octets with a time limit", { content: "x".repeat(1000), timeout: "1 hour" }],
    [
      "streams of a declared size",
      {
        content: SmtpContent.replayable(Stream.concat(Stream.make(octets("x".repeat(1000))), Stream.never), {
          size: 1_000_000
        })
      }
    ]
  ] as const)("pulls no more octets than its window has room for: %s", ([, own]) =>
    Effect.map(pulledBy({ octets: 1000 }, own), (pulled) => expect(pulled).toBeLessThan(8))
  )

  it.effect("pulls no more than its window when the server does not answer", () =>
    Effect.map(pulledBy({ messages: 4 }), (pulled) => expect(pulled).toBe(9))
  )

  it.effect("pulls no more than twice its window when nobody reads the receipts", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const smtp = yield* Effect.provide(
        SmtpSession.make({
          host: "mx.test",
          tls: "none",
          clientName: "client.test",
          ...eager,
          advanced: { window: { messages: 4 } }
        }),
        server.layer
      )
      let pulled = 0
      const source = Stream.iterate(0, (number) => number + 1).pipe(
        Stream.rechunk(1),
        Stream.map((number) => {
          pulled++
          return keyed(`w${number}`)
        })
      )
      const gate = yield* Deferred.make<undefined>()
      const receipts = yield* smtp.sendAll(source)
      const reading = yield* Effect.fork(
        Stream.runForEachChunk(receipts, () =>
          Effect.zipRight(Deferred.succeed(gate, undefined), Effect.never)
        )
      )
      yield* Deferred.await(gate)
      yield* Effect.repeatN(Effect.yieldNow(), 2000)
      const read = (yield* server.messages).length
      // What the reader has taken, and what waits for it.
      expect(pulled).toBeLessThanOrEqual(17)
      expect(read).toBeLessThanOrEqual(pulled)
      yield* Fiber.interrupt(reading)
    }).pipe(Effect.scoped)
  )
})

/** The heap after all that nobody holds has gone. */
const heap = (): number => {
  setFlagsFromString("--expose-gc")
  const collect: unknown = runInNewContext("gc")
  if (typeof collect === "function") Reflect.apply(collect, undefined, [])
  return process.memoryUsage().heapUsed
}

/** A server that remembers nothing but how often each numbered message came. */
const countingServer = (most: number) =>
  Effect.gen(function* () {
    const pair = yield* makePair()
    const counts = new Uint8Array(most)
    let rest = ""
    let inData = false
    const answerTo = (line: string): string => {
      // The first byte of the first content is a chunk of its own, and ends no line.
      const number = /^S?ubject: w(\d+)/.exec(line)?.[1]
      if (number !== undefined) counts[Number(number)] = (counts[Number(number)] ?? 0) + 1
      if (line.startsWith("EHLO")) return "250-mx.test\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
      if (/^S?BDAT/.test(line) || (inData && line === ".")) {
        inData = false
        return "250 ok\r\n"
      }
      if (inData || !/^(?:RSET|MAIL|RCPT|DATA|QUIT)/.test(line)) return ""
      inData = line === "DATA"
      return inData ? "354 go\r\n" : "250 ok\r\n"
    }
    const serve = Effect.flatMap(pair.server.pull, (received) => {
      const lines = (rest + new TextDecoder().decode(received)).split("\r\n")
      rest = lines.pop() ?? ""
      return pair.server.write([octets(lines.map(answerTo).join(""))])
    })
    yield* Effect.forkScoped(
      Effect.zipRight(pair.server.write([octets("220 mx.test\r\n")]), Effect.forever(serve))
    )
    const socket = Layer.succeed(SmtpSocket, { dial: () => Effect.succeed(pair.client) })
    return { counts, layer: Layer.mergeAll(socket, SmtpTest.layerTls, CapabilityCache.layerNone) }
  })

describe("many messages in a stream", () => {
  const most = 20_000

  const flow = (name: string, own: SmtpSession.Options) =>
    it.scopedLive(`arrive once each and take no more memory than a few: ${name}`, () =>
      Effect.gen(function* () {
        const { counts, layer } = yield* countingServer(most)
        const smtp = yield* Effect.provide(
          SmtpSession.make({ host: "mx.test", tls: "none", clientName: "client.test", ...own }),
          layer
        )
        const heaps: Array<number> = []
        const source = Stream.range(0, most - 1).pipe(Stream.map((number) => keyed(`w${number}`)))
        const receipts = yield* smtp.sendAll(source)
        let read = 0
        yield* Stream.runForEach(receipts, ({ receipt }) =>
          Effect.sync(() => {
            expect(receipt.accepted.length).toBe(1)
            if (++read % 5000 === 0) heaps.push(heap())
          })
        )
        expect(read).toBe(most)
        expect(counts.every((count) => count === 1)).toBe(true)
        const [first, ...later] = heaps
        expect(Math.max(...later)).toBeLessThan((first ?? 0) + 4 * 1024 * 1024)
      })
    )
  it.scopedLive("give their receipts several at a time, though the server answers one by one", () =>
    Effect.gen(function* () {
      const { layer } = yield* countingServer(500)
      const options = { host: "mx.test", tls: "none", clientName: "client.test", ...overlap } as const
      const smtp = yield* Effect.provide(SmtpSession.make(options), layer)
      const source = Stream.range(0, 499).pipe(Stream.map((number) => keyed(`w${number}`)))
      const lengths: Array<number> = []
      yield* Stream.runForEachChunk(yield* smtp.sendAll(source), (chunk) =>
        Effect.sync(() => lengths.push(chunk.length))
      )
      expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(500)
      expect(lengths.length).toBeLessThan(250)
    })
  )

  flow("eager", eager)
  flow("overlapped", overlap)
})
