import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import type * as SmtpClient from "../../src/SmtpClient.js"
import { ContentError } from "../../src/SmtpError.js"
import type { Keyed as KeyedReceipt, Receipt } from "../../src/SmtpReceipt.js"
import type { Keyed, Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { untyped } from "../support/untyped.js"
import { goodbye, opened, outcomes, submission } from "../SmtpSession/oneSession.js"
import { joinInTime, makeClient, switchable } from "./client.js"

const levels = [
  ["in turn", {}],
  ["overlapped", { pipelining: "overlap" }],
  ["eager", { chunking: "eager" }]
] as const satisfies ReadonlyArray<readonly [string, SmtpClient.Options]>

const keyed = (word: string, own: Partial<Submission> = {}): Keyed<string> => ({
  key: word,
  submission: { ...submission, to: `${word}@y.test`, ...own }
})

const words = (count: number): ReadonlyArray<string> => Array.from({ length: count }, (_, at) => `w${at}`)

const told = <E>({ error, key, receipt }: KeyedReceipt<string, E>): string =>
  `${key}: ${outcomes(receipt).join(", ")}${error === undefined ? "" : ` (${String(error)})`}`

const accepted = (...all: ReadonlyArray<string>): ReadonlyArray<string> =>
  all.map((word) => `${word}: ${word}@y.test Accepted 250`)

const collected = <E, E2>(
  client: SmtpClient.Service,
  submissions: Stream.Stream<Keyed<string, E>, E2>,
  own: SmtpClient.SendAllOptions = {}
): Effect.Effect<ReadonlyArray<string>, E2> =>
  Effect.flatMap(client.sendAll(submissions, own), (receipts) =>
    Effect.map(Stream.runCollect(receipts), (all) => Chunk.toReadonlyArray(all).map(told))
  )

const detailOf = ({ receipt: { notSent } }: KeyedReceipt<string>): string => {
  const cause = notSent[0]?.cause
  return cause instanceof ContentError ? cause.detail : ""
}

describe("many messages through a client", () => {
  it.scoped.each(levels)("have a receipt each, over all the sessions that there may be: %s", ([, level]) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({
        accept: ({ address }) => (address === "w7@y.test" ? "550 5.1.1 no" : undefined)
      })
      const client = yield* makeClient({ "mx.test": server }, { ...level, maxSessions: 3, maxMessages: 20 })
      const all = words(200)
      const lines = yield* collected(client, Stream.fromIterable(all.map((word) => keyed(word))))
      expect([...lines].sort()).toEqual(
        ["w7: w7@y.test Refused 550 rcpt", ...accepted(...all.filter((word) => word !== "w7"))].sort()
      )
      expect(yield* server.messages).toHaveLength(199)
      expect((yield* server.connections).length).toBeGreaterThanOrEqual(10)
    })
  )

  it.scoped("are under way up to a number of octets, and one goes whatever its length", () =>
    Effect.gen(function* () {
      const release = yield* Deferred.make<"go">()
      const server = yield* SmtpTest.server()
      const socket = {
        dial: (...at: Parameters<typeof server.socket.dial>) =>
          Effect.zipRight(Deferred.await(release), server.socket.dial(...at))
      }
      const own = { chunking: "eager", maxSessions: 2, advanced: { window: { octets: 10_000 } } } as const
      const client = yield* makeClient({ "mx.test": { socket } }, own)
      const pulled: Array<number> = []
      const content = "x".repeat(70).concat("\r\n").repeat(200)
      const sources = [12_000, 13_000, 14_400, 40_001, 100].map((length, at) =>
        Effect.sync(() => {
          pulled.push(at)
          return keyed(`w${at}`, {
            content: content
              .repeat(3)
              .slice(0, length - 2)
              .concat("\r\n")
          })
        })
      )
      const source = Stream.fromIterable(sources).pipe(
        Stream.rechunk(1),
        Stream.mapEffect((one) => one)
      )
      const fiber = yield* Effect.fork(collected(client, source))
      yield* TestClock.adjust("1 second")
      // 39,400 octets are fewer than twice two windows: the next may come, and no other behind it.
      expect(pulled).toEqual([0, 1, 2, 3])
      yield* Deferred.succeed(release, "go")
      expect([...(yield* Fiber.join(fiber))].sort()).toEqual(accepted(...words(5)))
    })
  )

  it.scoped("of any length go one by one where one is more than the bound", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const own = { chunking: "eager", maxSessions: 1, advanced: { window: { octets: 1 } } } as const
      const client = yield* makeClient({ "mx.test": server }, own)
      let pulled = 0
      let taken = 0
      let most = 0
      const source = Stream.fromIterable(words(50)).pipe(
        Stream.rechunk(1),
        Stream.map((word) => {
          pulled += 1
          most = Math.max(most, pulled - taken)
          return keyed(word)
        })
      )
      yield* Stream.runForEach(yield* client.sendAll(source), () => Effect.sync(() => taken++))
      expect([pulled, taken]).toEqual([50, 50])
      expect(most).toBeLessThanOrEqual(3)
    })
  )

  it.scoped("are no more than the program allows, nor than its reader takes", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server }, { chunking: "eager" })
      let pulled = 0
      const source = Stream.fromIterable(words(50)).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => pulled++)),
        Stream.map((word) => keyed(word))
      )
      const stuck = Stream.tap(yield* client.sendAll(source, { concurrency: 4 }), () => Effect.never)
      const fiber = yield* Effect.fork(Stream.runDrain(stuck))
      yield* TestClock.adjust("1 minute")
      expect(pulled).toBeGreaterThanOrEqual(4)
      expect(pulled).toBeLessThanOrEqual(9)
      yield* Fiber.interrupt(fiber)
      const all = collected(client, Stream.make(keyed("one"), keyed("two")), { concurrency: Infinity })
      expect(yield* all).toEqual(accepted("one", "two"))
    })
  )

  it.scoped("are refused one by one where the options are wrong, and nothing is sent", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      for (const [field, options] of [
        ...[0, -1, 1.5, Number.NaN, "4"].map((concurrency) => ["concurrency", { concurrency }] as const),
        ["retry", { retry: "often" }],
        ["options", null]
      ] as const) {
        const receipts = yield* client.sendAll(Stream.make(keyed("one"), keyed("two")), untyped(options))
        const errors = Array.from(yield* Stream.runCollect(receipts), ({ error }) => error)
        expect(errors).toMatchObject([
          { _tag: "InvalidArgument", field },
          { _tag: "InvalidArgument", field }
        ])
      }
      expect(yield* server.transcript).toBe("")
    })
  )

  it.scoped("are tried again, and at another relay, each for itself", () =>
    Effect.gen(function* () {
      let refusals = 2
      const server = yield* SmtpTest.server({
        accept: ({ address }) => (address === "busy@y.test" && refusals-- > 0 ? "451 later" : undefined)
      })
      const away = switchable(server)
      away.state.isDown = true
      const client = yield* makeClient(
        { "away.test": away, "mx.test": server },
        {
          host: undefined,
          relays: [{ host: "away.test" }, { host: "mx.test", priority: 1 }],
          chunking: "eager",
          retry: { schedule: Schedule.spaced("1 minute") }
        }
      )
      const source = Stream.fromIterable(["one", "busy", "two"].map((word) => keyed(word)))
      const fiber = yield* Effect.fork(collected(client, source))
      const lines = yield* joinInTime(fiber, "10 seconds")
      expect(lines).toEqual(accepted("one", "two", "busy"))
    })
  )

  it.scoped("keep to limits, of a client and of a message", () =>
    Effect.gen(function* () {
      const server = SmtpTest.script(opened("PIPELINING"), SmtpTest.delay("1 hour"), goodbye)
      const scripted = yield* SmtpTest.scripted(server)
      const own = { maxSessions: 1, timeout: "2 minutes", timeouts: { mail: "5 minutes" } } as const
      const client = yield* makeClient({ "mx.test": scripted }, own)
      const source = Stream.make(keyed("late"), keyed("soon", { timeout: "1 minute" }))
      const lines = yield* joinInTime(yield* Effect.fork(collected(client, source)), "10 seconds")
      expect(lines).toEqual([
        "soon: soon@y.test NotSent ClientUnavailable",
        "late: late@y.test NotSent ReplyTimeout mail"
      ])
    })
  )

  it.scoped("are refused one by one where none can be sent", () =>
    Effect.gen(function* () {
      const client = yield* makeClient({})
      const lines = yield* collected(client, Stream.make(keyed("one"), keyed("two")))
      expect(lines).toEqual(["one: one@y.test NotSent ConnectError", "two: two@y.test NotSent ConnectError"])
      yield* client.close
      expect(yield* collected(client, Stream.make(keyed("one")))).toEqual([
        "one: one@y.test NotSent ClientUnavailable"
      ])
    })
  )
})

describe("a message among many that breaks from within", () => {
  const broken = [
    ["its content dies", Stream.die(new Error("a bug")), "the stream ended in a defect: a bug"],
    [
      "its content interrupts itself",
      Stream.fromEffect(Effect.interrupt),
      "the stream was interrupted from within"
    ]
  ] as const

  it.scoped.each(broken)("has a receipt of its own, and the others theirs: %s", ([, content, detail]) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server }, { chunking: "eager" })
      const all = words(20)
      const source = Stream.fromIterable(all.map((word) => keyed(word, word === "w10" ? { content } : {})))
      const receipts = Chunk.toReadonlyArray(yield* Stream.runCollect(yield* client.sendAll(source)))
      const torn = receipts.filter(({ key }) => key === "w10")
      expect(torn.map((receipt) => [told(receipt), detailOf(receipt)])).toEqual([
        ["w10: w10@y.test NotSent ContentError", detail]
      ])
      const others = receipts.filter(({ key }) => key !== "w10").map(told)
      expect([...others].sort()).toEqual([...accepted(...all.filter((word) => word !== "w10"))].sort())
    })
  )
})

describe("a source", () => {
  const ends = [
    ["fails", Stream.fail("no more"), (cause: Cause.Cause<string>) => Cause.isFailure(cause)],
    ["dies", Stream.die("defect"), (cause: Cause.Cause<string>) => Cause.isDie(cause)],
    [
      "is interrupted",
      Stream.fromEffect(Effect.interrupt),
      (cause: Cause.Cause<string>) => Cause.isInterruptedOnly(cause)
    ]
  ] as const

  it.scoped.each(ends)("that %s ends the stream so, after the receipts of what had begun", ([, end, isSo]) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server }, { chunking: "eager" })
      const lines: Array<string> = []
      const some: Stream.Stream<Keyed<string>> = Stream.fromIterable(words(5).map((word) => keyed(word)))
      const source: Stream.Stream<Keyed<string>, string> = Stream.concat(some, end)
      const exit = yield* Effect.exit(
        Stream.runForEach(yield* client.sendAll(source), (one) => Effect.sync(() => lines.push(told(one))))
      )
      expect([...lines].sort()).toEqual(accepted(...words(5)))
      expect(Exit.isFailure(exit) && isSo(exit.cause)).toBe(true)
    })
  )
})

describe("a reader that leaves", () => {
  it.scoped.each(levels)("has the hook hear of every message that has begun, once: %s", ([, level]) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server }, { ...level, maxSessions: 2 })
      const hooked: Array<string> = []
      let begun = 0
      const onOutcome = (receipt: Receipt) => Effect.sync(() => hooked.push(...outcomes(receipt)))
      const source = Stream.fromIterable(words(300)).pipe(
        Stream.rechunk(1),
        Stream.map((word) => {
          begun += 1
          return keyed(word, { onOutcome })
        })
      )
      const read = yield* Stream.runCollect(Stream.take(yield* client.sendAll(source), 5))
      yield* TestClock.adjust("1 minute")
      const heard = [...Chunk.toReadonlyArray(read).map(({ receipt }) => outcomes(receipt)[0]), ...hooked]
      const names = heard.map((line) => line?.split(" ")[0])
      expect(new Set(names).size).toBe(names.length)
      // One may have been pulled that never began.
      expect([begun, begun - 1]).toContain(names.length)
      const delivered = (yield* server.messages).flatMap(({ recipients }) =>
        recipients.map(({ address }) => address)
      )
      const acceptedNames = heard
        .filter((line) => line?.includes("Accepted"))
        .map((line) => line?.split(" ")[0])
      expect([...acceptedNames].sort()).toEqual([...delivered].sort())
      // The sessions are as good as before.
      expect(yield* collected(client, Stream.make(keyed("after")))).toEqual(accepted("after"))
    })
  )
})
