import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import type * as SmtpClient from "../../src/SmtpClient.js"
import { SmtpRateLimit } from "../../src/SmtpRateLimit.js"
import type { Service as RateLimit } from "../../src/SmtpRateLimit.js"
import type { Service as SocketService } from "../../src/SmtpSocket.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { collectLogs } from "../support/logs.js"
import { untyped } from "../support/untyped.js"
import { outcomes, submission } from "../SmtpSession/oneSession.js"
import { joinInTime, makeClient } from "./client.js"

const settle = TestClock.adjust(0)

const both = { ...submission, to: ["a@y.test", "b@y.test"], parameters: { envelopeId: "letter-17" } } as const

/** How many recipients were not sent to, by the metric. */
const notSentCount = (): number =>
  Metric.unsafeSnapshot().flatMap(({ metricKey: { name, tags }, metricState }) =>
    name === "smtp.client.send.recipients" &&
    tags.some(({ value }) => value === "not_sent") &&
    MetricState.isCounterState(metricState)
      ? [Number(metricState.count)]
      : []
  )[0] ?? 0

const firstOnly = ["a@y.test Accepted 250", "b@y.test Refused 450 rcpt"]

const octets = (text: string): Uint8Array => new TextEncoder().encode(text)

/** A server that refuses the second recipient for now. */
const busy = SmtpTest.server({
  capabilities: ["DSN"],
  accept: ({ address }) => (address === "b@y.test" ? "450 4.2.1 later" : undefined)
})

/** Does the first as it should, and the others as the program's defect has it. */
const once = <A>(first: () => A, later: () => A): (() => A) => {
  let calls = 0
  return () => (calls++ === 0 ? first() : later())
}

const bug = (): never => {
  throw new Error("a bug")
}

const free = Effect.succeed(Duration.zero)

const withLimit = (reserve: RateLimit["reserve"], own: SmtpClient.Options) =>
  Effect.flatMap(busy, (server) =>
    Effect.provideService(makeClient({ "mx.test": server }, own), SmtpRateLimit, { reserve })
  )

const recurs: SmtpClient.Options = { retry: { schedule: Schedule.recurs(2) } }

describe("a defect of a part of the program, once a server has said something", () => {
  const schedules = [
    ["dies", Schedule.mapEffect(Schedule.recurs(3), () => Effect.die("a bug"))],
    ["throws", Schedule.recurWhile(bug)]
  ] as const

  it.scoped.each(schedules)("ends the retries, and is logged: the schedule %s", ([, schedule]) =>
    Effect.gen(function* () {
      const { entries, layer } = yield* collectLogs
      const server = yield* busy
      const client = yield* makeClient({ "mx.test": server }, { retry: { schedule } })
      expect(outcomes(yield* Effect.provide(client.deliver(both), layer))).toEqual(firstOnly)
      expect((yield* entries).filter(({ level }) => level === "ERROR")).toEqual([
        {
          level: "ERROR",
          text: "The schedule ended in a defect, and a message is tried no more: a bug",
          annotations: { "smtp.envelope_id": "letter-17" }
        }
      ])
    })
  )

  const limits = [
    ["dies", () => Effect.die("a bug")],
    ["throws", bug]
  ] as const

  it.scoped.each(limits)("ends the retries, and is logged: the rate limit %s", ([, later]) =>
    Effect.gen(function* () {
      const { entries, layer } = yield* collectLogs
      const client = yield* withLimit(
        once<Effect.Effect<Duration.Duration>>(() => free, later),
        recurs
      )
      expect(outcomes(yield* Effect.provide(client.deliver(both), layer))).toEqual(firstOnly)
      expect((yield* entries).filter(({ level }) => level === "ERROR").map(({ text }) => text)).toEqual([
        "The rate limit ended in a defect, and a message is tried no more: a bug"
      ])
    })
  )

  const dials = [
    ["dies", () => Effect.die(new Error("a bug"))],
    ["throws", bug]
  ] as const

  it.scoped.each(dials)("is a relay that cannot be reached: the dialer %s", ([, later]) =>
    Effect.gen(function* () {
      const server = yield* busy
      let dials = 0
      const socket: SocketService = {
        dial: (...how) => (dials++ === 0 ? server.socket.dial(...how) : later())
      }
      const client = yield* makeClient({ "mx.test": { socket } }, { ...recurs, maxMessages: 1 })
      const receipt = yield* joinInTime(yield* Effect.fork(client.deliver(both)), "1 second")
      expect(outcomes(receipt)).toEqual(firstOnly)
      expect(dials).toBeGreaterThan(1)
      // Another relay does what this one cannot.
      const servers = { "mx.test": { socket }, "other.test": yield* SmtpTest.server() }
      const relays = [{ host: "mx.test" }, { host: "other.test", priority: 1 }]
      const spared = yield* makeClient(servers, { host: undefined, relays })
      expect(outcomes(yield* spared.deliver(submission))).toEqual(["b@y.test Accepted 250"])
    })
  )

  it.scoped("leaves the recipients of another attempt without the content that it breaks", () =>
    Effect.gen(function* () {
      let refusals = 0
      const server = yield* SmtpTest.server({
        accept: ({ address }) => (address === "b@y.test" && refusals++ === 0 ? "450 4.2.1 later" : undefined)
      })
      const client = yield* makeClient({ "mx.test": server }, recurs)
      const run = once<Stream.Stream<Uint8Array>>(
        () => Stream.make(octets(submission.content)),
        () => Stream.die("a bug")
      )
      const sending = client.deliver({ ...submission, to: both.to, content: Stream.suspend(run) })
      const receipt = yield* joinInTime(yield* Effect.fork(sending), "1 second")
      expect(outcomes(receipt)).toEqual(firstOnly)
    })
  )

  it.scoped("leaves the recipients of another transaction without the content that it breaks", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ capabilities: ["LIMITS RCPTMAX=1"] })
      const client = yield* makeClient({ "mx.test": server })
      const run = once<Stream.Stream<Uint8Array>>(
        () => Stream.make(octets(submission.content)),
        () => Stream.die("a bug")
      )
      const sending = client.deliver({ ...submission, to: both.to, content: Stream.suspend(run) })
      const receipt = yield* joinInTime(yield* Effect.fork(sending), "1 second")
      expect(outcomes(receipt)).toEqual(["a@y.test Accepted 250", "b@y.test NotSent ContentError"])
      expect(receipt.notSent.map(({ cause }) => cause.message)).toEqual([
        expect.stringContaining("the stream ended in a defect on a later run: a bug")
      ])
    })
  )
})

describe("a defect of a part of the program, with nothing known", () => {
  it.scoped("is for the giver of the message, and is counted", () =>
    Effect.gen(function* () {
      const before = notSentCount()
      const client = yield* withLimit(bug, recurs)
      const exit = yield* Effect.exit(client.deliver(both))
      expect(Exit.isFailure(exit) && Cause.isDie(exit.cause)).toBe(true)
      expect(notSentCount() - before).toBe(2)
    })
  )
})

describe("retry options that are none", () => {
  const wrong = [
    ["retry.schedule", { schedule: {} }],
    ["retry.schedule", { schedule: 5 }],
    ["retry.schedule", { schedule: null }],
    ["retry", 5],
    ["retry", null]
  ] as const

  it.scoped.each(wrong)("are refused by the name of the field: %s of %j", ([field, retry]) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      const own = yield* Effect.flip(client.send(submission, { retry: untyped(retry) }))
      expect(own).toMatchObject({ _tag: "InvalidArgument", field })
      expect(yield* Effect.flip(makeClient({ "mx.test": server }, { retry: untyped(retry) }))).toMatchObject({
        _tag: "InvalidArgument",
        field
      })
    })
  )
})

describe("the limit of a send, and the end of its client", () => {
  const hanging = [
    ["the rate limit", withLimit(() => Effect.never, { retry: "off" }), "NotSent ClientUnavailable"],
    [
      "the pause that the rate limit asks for",
      withLimit(() => Effect.succeed(Duration.infinity), { retry: "off" }),
      "NotSent ClientUnavailable"
    ],
    [
      "the schedule",
      Effect.flatMap(busy, (server) =>
        makeClient(
          { "mx.test": server },
          { retry: { schedule: Schedule.mapEffect(Schedule.recurs(3), () => Effect.never) } }
        )
      ),
      "Refused 450 rcpt"
    ]
  ] as const

  it.scoped.each(hanging)("end the wait for %s", ([, make, outcome]) =>
    Effect.gen(function* () {
      const client = yield* make
      const limited = yield* Effect.fork(client.deliver({ ...submission, timeout: "5 seconds" }))
      const waiting = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust(4_999)
      expect(limited.unsafePoll()).toBe(null)
      yield* TestClock.adjust(1)
      expect(outcomes(yield* Fiber.join(limited))).toEqual([`b@y.test ${outcome}`])
      yield* settle
      expect(waiting.unsafePoll()).toBe(null)
      yield* client.close
      expect(outcomes(yield* Fiber.join(waiting))).toEqual([`b@y.test ${outcome}`])
    })
  )
})
