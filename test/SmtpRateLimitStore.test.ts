import * as RateLimiter from "@effect/experimental/RateLimiter"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type { Limit, Request, Service } from "../src/SmtpRateLimit.js"
import { SmtpRateLimit } from "../src/SmtpRateLimit.js"
import * as SmtpRateLimitStore from "../src/SmtpRateLimitStore.js"
import * as SmtpTest from "../src/SmtpTest.js"
import { makeClient } from "./SmtpClient/client.js"
import { submission } from "./SmtpSession/oneSession.js"

type Store = RateLimiter.RateLimiterStore["Type"]

const openStore = Effect.provide(RateLimiter.RateLimiterStore, RateLimiter.layerStoreMemory)

/** What a process that has just started makes over a store that it shares. */
const started = (store: Store, options: SmtpRateLimitStore.Options) =>
  Effect.provideService(SmtpRateLimitStore.make(options), RateLimiter.RateLimiterStore, store)

const ask = (limits: Service, request: Partial<Request> = {}) =>
  Effect.map(limits.reserve({ key: "mx.test", messages: 1, recipients: 1, ...request }), Duration.toMillis)

const perMinute = (limit: number): Limit => ({ limit, interval: "1 minute" })

const broken = (
  failing: (key: string) => Effect.Effect<never, RateLimiter.RateLimiterError>,
  store: Store
): Store => ({
  ...store,
  tokenBucket: (options) =>
    options.key.includes("recipients") ? failing(options.key) : store.tokenBucket(options)
})

describe("SmtpRateLimitStore", () => {
  it.effect("shares a limit between processes that share the store", () =>
    Effect.gen(function* () {
      const store = yield* openStore
      const one = yield* started(store, { messages: perMinute(2) })
      const other = yield* started(store, { messages: perMinute(2) })
      expect(yield* ask(one)).toBe(0)
      expect(yield* ask(other)).toBe(0)
      expect(yield* ask(one)).toBe(30_000)
      expect(yield* ask(other)).toBe(60_000)
    })
  )

  it.scoped("holds two clients of two processes to one limit, and serves both", () =>
    Effect.gen(function* () {
      const store = yield* openStore
      const server = yield* SmtpTest.server()
      const client = Effect.gen(function* () {
        const limits = yield* started(store, { messages: perMinute(2) })
        return yield* makeClient({ "mx.test": server }).pipe(Effect.provideService(SmtpRateLimit, limits))
      })
      const clients = [yield* client, yield* client]
      const sending = yield* Effect.forEach([...clients, ...clients], ({ send }) =>
        Effect.fork(send(submission))
      )
      const counts: Array<number> = []
      for (const time of [0, 29_999, 1, 29_999, 1]) {
        yield* TestClock.adjust(time)
        counts.push((yield* server.messages).length)
      }
      expect(counts).toEqual([2, 2, 3, 3, 4])
      yield* Fiber.joinAll(sending)
    })
  )

  it.effect("refills a bucket steadily", () =>
    Effect.gen(function* () {
      const limits = yield* started(yield* openStore, { messages: perMinute(2) })
      yield* ask(limits)
      yield* ask(limits)
      yield* TestClock.adjust("30 seconds")
      expect(yield* ask(limits)).toBe(0)
      expect(yield* ask(limits)).toBe(30_000)
    })
  )

  it.effect(
    "returns the longer wait of messages and recipients, and counts keys and prefixes separately",
    () =>
      Effect.gen(function* () {
        const store = yield* openStore
        const limits = yield* started(store, { messages: perMinute(60), recipients: perMinute(10) })
        expect(yield* ask(limits, { recipients: 10 })).toBe(0)
        expect(yield* ask(limits, { recipients: 5 })).toBe(30_000)
        expect(yield* ask(limits, { recipients: 0 })).toBe(0)
        expect(yield* ask(limits, { key: "other.test", recipients: 5 })).toBe(0)
        const apart = yield* started(store, { recipients: perMinute(10), prefix: "apart/" })
        expect(yield* ask(apart, { recipients: 10 })).toBe(0)
      })
  )

  it.effect("fails at once for more recipients than the limit holds, and takes nothing", () =>
    Effect.gen(function* () {
      const limits = yield* started(yield* openStore, { messages: perMinute(1), recipients: perMinute(10) })
      expect(yield* Effect.flip(ask(limits, { recipients: 11 }))).toMatchObject({
        _tag: "RateLimitError",
        reason: "OverLimit",
        of: "recipients",
        limit: 10
      })
      expect(yield* ask(limits, { recipients: 10 })).toBe(0)
    })
  )

  it.effect("takes nothing when the wait would exceed `within`", () =>
    Effect.gen(function* () {
      const limits = yield* started(yield* openStore, { messages: perMinute(100), recipients: perMinute(1) })
      yield* ask(limits)
      for (let count = 0; count < 50; count++) {
        expect(yield* Effect.flip(ask(limits, { within: "59 seconds" }))).toMatchObject({
          reason: "Exceeded",
          retryAfterMillis: 60_000
        })
      }
      expect(yield* ask(limits, { within: "1 minute" })).toBe(60_000)
      expect(yield* ask(limits, { recipients: 0, messages: 98 })).toBe(0)
    })
  )

  it.effect("returns its tokens when another process took the rest in the meantime", () =>
    Effect.gen(function* () {
      const store = yield* openStore
      const looked = yield* Deferred.make<undefined>()
      const goOn = yield* Deferred.make<undefined>()
      const slow: Store = {
        ...store,
        tokenBucket: (options) =>
          options.tokens > 0
            ? Effect.zipRight(
                Effect.zipRight(Deferred.succeed(looked, undefined), Deferred.await(goOn)),
                store.tokenBucket(options)
              )
            : store.tokenBucket(options)
      }
      const one = yield* started(slow, { messages: perMinute(1) })
      const other = yield* started(store, { messages: perMinute(1) })
      const late = yield* Effect.fork(Effect.flip(ask(one, { within: 0 })))
      yield* Deferred.await(looked)
      expect(yield* ask(other, { within: 0 })).toBe(0)
      yield* Deferred.succeed(goOn, undefined)
      expect(yield* Fiber.join(late)).toMatchObject({ reason: "Exceeded" })
      yield* TestClock.adjust("1 minute")
      expect(yield* ask(other, { within: 0 })).toBe(0)
    })
  )

  it.effect.each<[string, Effect.Effect<never, RateLimiter.RateLimiterError>]>([
    ["fails", Effect.fail(new RateLimiter.RateLimitStoreError({ message: "connection refused" }))],
    ["dies", Effect.dieMessage("connection refused")]
  ])("fails with RateLimitError when the store %s, and returns its tokens", ([, failing]) =>
    Effect.gen(function* () {
      const store = yield* openStore
      const limits = yield* started(
        broken(() => failing, store),
        { messages: perMinute(1), recipients: perMinute(1) }
      )
      const error = yield* Effect.flip(ask(limits))
      expect(error).toMatchObject({
        _tag: "RateLimitError",
        reason: "Store",
        key: "mx.test",
        of: "recipients"
      })
      expect(error.message).toContain("connection refused")
      expect(yield* ask(limits, { recipients: 0 })).toBe(0)
    })
  )

  const failed = Effect.fail(new RateLimiter.RateLimitStoreError({ message: "connection refused" }))

  it.scoped("retries after a store failure, and loses, duplicates and oversends nothing", () =>
    Effect.gen(function* () {
      const store = yield* openStore
      const server = yield* SmtpTest.server()
      let failures = 2
      const flaky: Store = {
        ...store,
        tokenBucket: (options) => (failures-- > 0 ? failed : store.tokenBucket(options))
      }
      const limits = yield* started(flaky, { messages: perMinute(1) })
      const client = yield* makeClient({ "mx.test": server }, { retry: "briefly" }).pipe(
        Effect.provideService(SmtpRateLimit, limits)
      )
      const first = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust("30 seconds")
      expect(yield* Fiber.join(first)).toMatchObject({ outcomes: [{ _tag: "Accepted" }] })
      const second = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust("29 seconds")
      expect((yield* server.messages).length).toBe(1)
      yield* TestClock.adjust("31 seconds")
      expect(yield* Fiber.join(second)).toMatchObject({ outcomes: [{ _tag: "Accepted" }] })
      expect((yield* server.messages).length).toBe(2)
    })
  )

  it.scoped("sends nothing, and reports ClientUnavailable, while the store keeps failing", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const limits = yield* started(
        broken(() => failed, yield* openStore),
        { recipients: perMinute(1) }
      )
      const client = yield* makeClient({ "mx.test": server }, { retry: "briefly" }).pipe(
        Effect.provideService(SmtpRateLimit, limits)
      )
      const sending = yield* Effect.fork(Effect.flip(client.send(submission)))
      yield* TestClock.adjust("2 minutes")
      const error = yield* Fiber.join(sending)
      expect(error).toMatchObject({ _tag: "ClientUnavailable", reason: "RateLimitStore" })
      expect(error.message).toBe(
        "Cannot check the rate limit: The rate limit store failed for mx.test: connection refused; check the store, since nothing is sent without it. Try again later."
      )
      expect(yield* server.messages).toEqual([])
    })
  )

  it.effect("fails with RateLimitError when the store does not answer in time", () =>
    Effect.gen(function* () {
      const limits = yield* started(
        broken(() => Effect.never, yield* openStore),
        { recipients: perMinute(1) }
      )
      const waiting = yield* Effect.fork(Effect.flip(ask(limits)))
      yield* TestClock.adjust("1999 millis")
      expect(yield* Fiber.poll(waiting)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(waiting)).toMatchObject({ reason: "Store" })
    })
  )

  it.effect.each<[string, SmtpRateLimitStore.Options]>([
    ["messages.limit", { messages: perMinute(0) }],
    ["recipients.interval", { recipients: { limit: 1, interval: 0 } }],
    ["timeout", { timeout: 0 }]
  ])("is InvalidArgument for a wrong %s", ([field, options]) =>
    Effect.gen(function* () {
      const store = yield* openStore
      expect(yield* Effect.flip(started(store, options))).toMatchObject({ _tag: "InvalidArgument", field })
    })
  )

  it.effect.prop(
    "never lets an interval hold more than twice a limit, and in the long run no more than one",
    [
      FastCheck.integer({ min: 1, max: 10 }),
      FastCheck.array(
        FastCheck.record({
          pause: FastCheck.integer({ min: 0, max: 500 }),
          recipients: FastCheck.integer({ min: 1, max: 10 })
        }),
        { maxLength: 100 }
      )
    ],
    ([limit, steps]) =>
      Effect.gen(function* () {
        const interval = 1000
        const limits = yield* started(yield* openStore, { recipients: { limit, interval } })
        const sent: Array<{ readonly at: number; readonly recipients: number }> = []
        let now = 0
        for (const { pause, recipients } of steps) {
          now += pause
          yield* TestClock.adjust(pause)
          if (recipients > limit) continue
          sent.push({ at: now + (yield* ask(limits, { recipients })), recipients })
        }
        for (const { at: begin } of sent) {
          for (const intervals of [1, 5]) {
            const total = sent
              .filter(({ at }) => at >= begin && at < begin + intervals * interval)
              .reduce((sum, place) => sum + place.recipients, 0)
            expect(total).toBeLessThanOrEqual((intervals + 1) * limit)
          }
        }
      })
  )

  it.effect("is a layer of SmtpRateLimit", () =>
    Effect.gen(function* () {
      const waits = yield* Effect.flatMap(SmtpRateLimit, (limits) =>
        Effect.all([ask(limits), ask(limits)])
      ).pipe(
        Effect.provide(SmtpRateLimitStore.layer({ messages: perMinute(1) })),
        Effect.provide(RateLimiter.layerStoreMemory)
      )
      expect(waits).toEqual([0, 60_000])
    })
  )
})
