import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as TestClock from "effect/TestClock"
import type { Amounts } from "../src/internal/rateLimit/limits.js"
import type { Limits, Request, Service } from "../src/SmtpRateLimit.js"
import * as SmtpRateLimit from "../src/SmtpRateLimit.js"
import { makeMemory } from "../src/SmtpRateLimit.js"

const ask = (limits: Service, request: Partial<Request> = {}) =>
  Effect.map(limits.reserve({ key: "mx.test", messages: 1, recipients: 1, ...request }), Duration.toMillis)

const times = (count: number, limits: Service, request?: Partial<Request>) =>
  Effect.all(Array.from({ length: count }, () => ask(limits, request)))

const perMinute = (limit: number): SmtpRateLimit.Limit => ({ limit, interval: "1 minute" })

describe("SmtpRateLimit.makeMemory", () => {
  it.effect("grants as many at once as the limit, and the next one an interval later", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ messages: perMinute(3) })
      expect(yield* times(3, limits)).toEqual([0, 0, 0])
      yield* TestClock.adjust("20 seconds")
      expect(yield* times(4, limits)).toEqual([40_000, 40_000, 40_000, 100_000])
    })
  )

  it.effect("grants the next slot as soon as the oldest has left the interval", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ messages: perMinute(2) })
      yield* ask(limits)
      yield* TestClock.adjust("45 seconds")
      yield* ask(limits)
      expect(yield* ask(limits)).toBe(15_000)
      expect(yield* ask(limits)).toBe(60_000)
    })
  )

  it.effect("counts the recipients of a message together, and both limits at once", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({
        messages: { limit: 2, interval: "1 second" },
        recipients: perMinute(10)
      })
      expect(yield* ask(limits, { recipients: 7 })).toBe(0)
      expect(yield* ask(limits, { recipients: 3 })).toBe(0)
      expect(yield* ask(limits, { recipients: 0 })).toBe(1000)
      expect(yield* ask(limits, { recipients: 8 })).toBe(60_000)
    })
  )

  it.effect("grants slots in order of the requests: a small message does not overtake a large one", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ recipients: perMinute(10) })
      yield* ask(limits, { recipients: 5 })
      expect(yield* ask(limits, { recipients: 10 })).toBe(60_000)
      expect(yield* ask(limits, { recipients: 1 })).toBe(120_000)
    })
  )

  it.effect("counts each key by itself", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ messages: perMinute(1) })
      expect(yield* ask(limits, { key: "a" })).toBe(0)
      expect(yield* ask(limits, { key: "b" })).toBe(0)
      expect(yield* ask(limits, { key: "a" })).toBe(60_000)
    })
  )

  it.effect("returns no wait without limits", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({})
      expect(new Set(yield* times(1000, limits, { recipients: 1000 }))).toEqual(new Set([0]))
    })
  )

  it.effect("fails at once for more recipients than the limit holds, and reserves nothing", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ messages: perMinute(1), recipients: perMinute(10) })
      const error = yield* Effect.flip(ask(limits, { recipients: 11 }))
      expect(error).toMatchObject({ reason: "OverLimit", key: "mx.test", of: "recipients", limit: 10 })
      expect(error.message).toBe(
        "The rate limit of mx.test allows 10 recipients, and the request is for more; ask for fewer at a time, or raise the limit"
      )
      expect(yield* ask(limits, { recipients: 10 })).toBe(0)
    })
  )

  it.effect("fails with the wait, and reserves nothing, when the wait would exceed `within`", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ messages: perMinute(1) })
      yield* ask(limits, { within: 0 })
      for (let count = 0; count < 100; count++) {
        expect(yield* Effect.flip(ask(limits, { within: "59 seconds" }))).toMatchObject({
          reason: "Exceeded",
          retryAfterMillis: 60_000
        })
      }
      expect(yield* ask(limits, { within: "1 minute" })).toBe(60_000)
    })
  )

  it.effect.each([
    { messages: Number.NaN },
    { messages: -1 },
    { recipients: 0.5 },
    { recipients: Number.POSITIVE_INFINITY }
  ])("fails for invalid amounts: %o", (request) =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ messages: perMinute(1) })
      expect(yield* Effect.flip(ask(limits, request))).toMatchObject({ reason: "Invalid" })
      expect(yield* ask(limits)).toBe(0)
    })
  )

  it.effect.each<[string, Limits]>([
    ["messages.limit", { messages: perMinute(0) }],
    ["messages.limit", { messages: perMinute(Number.NaN) }],
    ["recipients.limit", { recipients: perMinute(1.5) }],
    ["messages.interval", { messages: { limit: 1, interval: 0 } }],
    ["recipients.interval", { recipients: { limit: 1, interval: Duration.infinity } }]
  ])("fails with InvalidArgument for an invalid %s", ([field, wrong]) =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(makeMemory(wrong))).toMatchObject({ _tag: "InvalidArgument", field })
    })
  )

  it.effect("grants each of many concurrent fibers its own slot", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ messages: { limit: 10, interval: "1 second" } })
      const waits = yield* Effect.all(
        Array.from({ length: 1000 }, () => Effect.zipRight(Effect.yieldNow(), ask(limits))),
        { concurrency: "unbounded" }
      )
      const counts = new Map<number, number>()
      for (const wait of waits) counts.set(wait, (counts.get(wait) ?? 0) + 1)
      expect([...counts]).toEqual(Array.from({ length: 100 }, (_, second) => [second * 1000, 10]))
    })
  )

  it.effect("ignores a time of day that is set back", () =>
    Effect.gen(function* () {
      const limits = yield* makeMemory({ messages: perMinute(1) })
      yield* ask(limits)
      const clock = yield* Effect.clock
      const setBack: Clock.Clock = {
        ...clock,
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeMillis: () => -1e12,
        unsafeCurrentTimeNanos: () => 15_000_000_000n
      }
      expect(yield* Effect.withClock(ask(limits), setBack)).toBe(45_000)
    })
  )

  const unit = FastCheck.option(
    FastCheck.record({
      limit: FastCheck.integer({ min: 1, max: 12 }),
      interval: FastCheck.integer({ min: 1, max: 300 })
    }),
    { nil: undefined }
  )

  const step = FastCheck.record({
    pause: FastCheck.integer({ min: 0, max: 120 }),
    messages: FastCheck.integer({ min: 0, max: 3 }),
    recipients: FastCheck.integer({ min: 0, max: 14 }),
    within: FastCheck.option(FastCheck.integer({ min: 0, max: 500 }), { nil: undefined })
  })

  it.effect.prop(
    "never exceeds a limit in any interval, and never waits while there is room",
    [FastCheck.record({ messages: unit, recipients: unit }), FastCheck.array(step, { maxLength: 120 })],
    ([given, steps]) =>
      Effect.gen(function* () {
        const limits = yield* makeMemory(given)
        const sent: Array<Amounts & { readonly at: number }> = []
        let now = 0
        const holds = (of: "messages" | "recipients", at: number, more: number): boolean => {
          const limit = given[of]
          if (limit === undefined || more === 0) return true
          const inside = sent.filter((place) => place.at > at - limit.interval && place.at <= at)
          return inside.reduce((sum, place) => sum + place[of], more) <= limit.limit
        }
        for (const { pause, within, ...amounts } of steps) {
          now += pause
          yield* TestClock.adjust(pause)
          const wait = yield* Effect.option(ask(limits, { ...amounts, within }))
          if (wait._tag === "None") continue
          const at = now + wait.value
          const fits = (time: number) =>
            holds("messages", time, amounts.messages) && holds("recipients", time, amounts.recipients)
          expect(fits(at)).toBe(true)
          // A moment earlier there was no room, or somebody who asked before would have been passed.
          const before = sent.at(-1)?.at ?? 0
          if (at > now && at > before) expect(fits(at - 1)).toBe(false)
          sent.push({ ...amounts, at })
        }
        for (const { at } of sent)
          expect([holds("messages", at, 0), holds("recipients", at, 0)]).toEqual([true, true])
        for (const of of ["messages", "recipients"] as const) {
          const limit = given[of]
          if (limit === undefined) continue
          for (const { at: begin } of sent) {
            const total = sent
              .filter(({ at }) => at >= begin && at < begin + limit.interval)
              .reduce((sum, place) => sum + place[of], 0)
            expect(total).toBeLessThanOrEqual(limit.limit)
          }
        }
      })
  )
})

describe("layers of SmtpRateLimit", () => {
  const reserve = Effect.flatMap(SmtpRateLimit.SmtpRateLimit, (limits) => times(2, limits))

  it.effect("apply limits from options and from configuration", () =>
    Effect.gen(function* () {
      expect(yield* Effect.provide(reserve, SmtpRateLimit.layerMemory({ messages: perMinute(1) }))).toEqual([
        0, 60_000
      ])
      const fromConfig = SmtpRateLimit.layerMemoryConfig(SmtpRateLimit.config("RATE"))
      const values = new Map([
        ["RATE_RECIPIENTS", "1"],
        ["RATE_RECIPIENTS_INTERVAL", "30 seconds"]
      ])
      const waits = yield* Effect.provide(reserve, fromConfig).pipe(
        Effect.withConfigProvider(ConfigProvider.fromMap(values))
      )
      expect(waits).toEqual([0, 30_000])
    })
  )

  it.effect("return no wait without limits", () =>
    Effect.map(Effect.provide(reserve, SmtpRateLimit.layerNone), (waits) => expect(waits).toEqual([0, 0]))
  )

  it.effect.each<[string, Readonly<Record<string, string>>]>([
    ["RATE_MESSAGES_INTERVAL", { RATE_MESSAGES: "1" }],
    ["RATE_MESSAGES", { RATE_MESSAGES_INTERVAL: "1 minute" }],
    ["RATE_MESSAGES", { RATE_MESSAGES: "0", RATE_MESSAGES_INTERVAL: "1 minute" }],
    ["RATE_RECIPIENTS", { RATE_RECIPIENTS: "many", RATE_RECIPIENTS_INTERVAL: "1 minute" }],
    ["RATE_RECIPIENTS_INTERVAL", { RATE_RECIPIENTS: "1", RATE_RECIPIENTS_INTERVAL: "soon" }]
  ])("fail with a ConfigError that names %s", ([key, values]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.withConfigProvider(
          Effect.suspend(() => SmtpRateLimit.config("RATE")),
          ConfigProvider.fromMap(new Map(Object.entries(values)))
        )
      )
      expect(JSON.stringify(error)).toContain(`"${key}"`)
    })
  )
})
