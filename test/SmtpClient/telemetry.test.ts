import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as MetricKeyType from "effect/MetricKeyType"
import * as MetricState from "effect/MetricState"
import * as TestClock from "effect/TestClock"
import * as SmtpTest from "../../src/SmtpTest.js"
import { collectLogs } from "../support/logs.js"
import { collector, told } from "../support/tracing.js"
import { submission } from "../SmtpSession/oneSession.js"
import { joinInTime, makeClient, switchable } from "./client.js"

/** How many recipients went through clients, by outcome, and how many messages, by what `send` makes of them. */
const sent = (): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Metric.unsafeSnapshot().flatMap(({ metricKey: { name, tags }, metricState }) => {
      const values = tags.flatMap(({ key, value }) => (key === "unit" ? [] : [value]))
      const label = `${name.replace("smtp.client.send.", "")} ${values.join(" ")}`
      if (!name.startsWith("smtp.client.send.")) return []
      if (MetricState.isCounterState(metricState)) return [[label, Number(metricState.count)]]
      return MetricState.isHistogramState(metricState) ? [[label, metricState.count]] : []
    })
  )

/** By how much the numbers have grown. */
const grown = (before: Readonly<Record<string, number>>): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(sent())
      .map(([label, number]) => [label, number - (before[label] ?? 0)] as const)
      .filter(([, number]) => number !== 0)
  )

/** The numbers of the metrics of a server, by name and what else tells them apart. */
const numbersOf = (host: string): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }) => {
      const tags = metricKey.tags.filter(({ key }) => key !== "server.port")
      if (!tags.some(({ key, value }) => key === "server.address" && value === host)) return []
      const rest = tags.flatMap(({ key, value }) => (key === "server.address" ? [] : [value]))
      const name = [metricKey.name, ...rest].join(" ")
      if (MetricState.isGaugeState(metricState)) return [[name, Number(metricState.value)]]
      return MetricState.isCounterState(metricState) ? [[name, Number(metricState.count)]] : []
    })
  )

describe("a client tells", () => {
  it.scoped("how many sessions are open, idle, opened, closed and why, under OpenTelemetry's names", () =>
    Effect.gen(function* () {
      const { socket, state } = switchable(yield* SmtpTest.server())
      const client = yield* makeClient(
        { "metrics.test": { socket } },
        { host: "metrics.test", idleTimeout: "10 seconds" }
      )
      yield* client.send(submission)
      const prefix = "smtp.client.connection"
      expect(numbersOf("metrics.test")).toMatchObject({
        [`${prefix}.count idle`]: 1,
        [`${prefix}.count used`]: 0,
        [`${prefix}.max`]: 5,
        [`${prefix}.opened`]: 1
      })
      yield* TestClock.adjust("10 seconds")
      state.isDown = true
      yield* client.deliver(submission)
      expect(numbersOf("metrics.test")).toMatchObject({
        [`${prefix}.count idle`]: 0,
        [`${prefix}.count used`]: 0,
        [`${prefix}.opened`]: 1,
        [`${prefix}.failed`]: 1,
        [`${prefix}.closed idle`]: 1
      })
    })
  )

  it.scoped(
    "once what became of each recipient, after all attempts, and of whoever never had a session",
    () =>
      Effect.gen(function* () {
        let refusals = 1
        const server = yield* SmtpTest.server({
          accept: ({ address }) =>
            address === "late@y.test" && refusals-- > 0 ? "450 4.2.0 later" : undefined
        })
        const client = yield* makeClient({ "mx.test": server }, { retry: "briefly" })
        const before = sent()
        const fiber = yield* Effect.fork(client.deliver({ ...submission, to: ["b@y.test", "late@y.test"] }))
        yield* joinInTime(fiber, "1 second")
        expect(grown(before)).toEqual({ "recipients accepted": 2, "duration accepted": 1 })
        yield* client.close
        yield* client.deliver(submission)
        expect(grown(before)).toMatchObject({ "recipients not_sent": 1, "duration not_sent": 1 })
      })
  )

  it.scoped("once what became of a message that was interrupted", () =>
    Effect.gen(function* () {
      const client = yield* makeClient({ "mx.test": { socket: { dial: () => Effect.never } } })
      const before = sent()
      const fiber = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      expect(grown(before)).toEqual({ "recipients not_sent": 1, "duration not_sent": 1 })
    })
  )

  it.scoped("what all clients of a server have together", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const own = { host: "shared.test" }
      const one = yield* makeClient({ "shared.test": server }, own)
      const other = yield* makeClient({ "shared.test": server }, own)
      yield* one.send(submission)
      yield* other.send(submission)
      expect(numbersOf("shared.test")).toMatchObject({ "smtp.client.connection.count idle": 2 })
      yield* one.close
      expect(numbersOf("shared.test")).toMatchObject({ "smtp.client.connection.count idle": 1 })
      yield* other.close
      expect(numbersOf("shared.test")).toMatchObject({ "smtp.client.connection.count idle": 0 })
    })
  )

  it.scoped("a tracer of the whole send, and of its attempts within it", () =>
    Effect.gen(function* () {
      let refusals = 1
      const server = yield* SmtpTest.server({
        accept: () => (refusals-- > 0 ? "450 4.2.0 later" : undefined)
      })
      const client = yield* makeClient({ "mx.test": server }, { retry: "briefly" })
      const seen = collector()
      const fiber = yield* Effect.fork(Effect.withTracer(client.deliver(submission), seen.tracer))
      yield* joinInTime(fiber, "1 second")
      expect(told(seen).filter((line) => line.includes("send well"))).toEqual([
        "SmtpClient send well",
        "SMTP send in SmtpClient send well",
        "SMTP send in SmtpClient send well"
      ])
      expect(Object.fromEntries(seen.spans[0]?.attributes ?? [])).toMatchObject({
        "smtp.recipients": 1,
        "smtp.recipients.accepted": 1,
        "smtp.recipients.refused": 0
      })
    })
  )

  it.scoped("a tracer that a send failed, because nobody was accepted", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ accept: () => "550 5.1.1 no such user" })
      const client = yield* makeClient({ "mx.test": server })
      const seen = collector()
      yield* Effect.flip(Effect.withTracer(client.send(submission), seen.tracer))
      expect(told(seen).filter((line) => /send (?:well|badly)$|RCPT/.test(line))).toEqual([
        "SmtpClient send badly",
        "SMTP send in SmtpClient send well",
        "SMTP RCPT in SMTP send 550 well"
      ])
    })
  )

  it.scoped("that durations are in seconds", () =>
    Effect.gen(function* () {
      const client = yield* makeClient({ "mx.test": yield* SmtpTest.server() })
      yield* client.send(submission)
      const durations = Metric.unsafeSnapshot().filter(
        ({ metricKey }) =>
          metricKey.name.startsWith("smtp.client.") && MetricKeyType.isHistogramKey(metricKey.keyType)
      )
      expect(new Set(durations.map(({ metricKey }) => metricKey.name))).toEqual(
        new Set([
          "smtp.client.reply.duration",
          "smtp.client.send.duration",
          "smtp.client.connection.wait_time"
        ])
      )
      for (const { metricKey } of durations) {
        expect(metricKey.tags.map(({ key, value }) => `${key}=${value}`)).toContain("unit=s")
      }
    })
  )

  it.scoped("how long messages wait", () =>
    Effect.gen(function* () {
      const waits = () =>
        Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }) =>
          MetricKeyType.isHistogramKey(metricKey.keyType) &&
          metricKey.name === "smtp.client.connection.wait_time" &&
          MetricState.isHistogramState(metricState)
            ? [{ count: metricState.count, max: metricState.max }]
            : []
        )
      const client = yield* makeClient({ "mx.test": yield* SmtpTest.server() })
      const before = waits()[0]?.count ?? 0
      yield* client.send(submission)
      expect(waits()).toMatchObject([{ count: before + 1 }])
    })
  )

  it.scoped("the log what is opened and closed, what fails, and where a message goes instead", () =>
    Effect.gen(function* () {
      const { socket, state } = switchable(yield* SmtpTest.server())
      const spare = yield* SmtpTest.server({ accept: () => "421 4.3.2 going down" })
      const logs = yield* collectLogs
      yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* makeClient(
            { main: { socket }, spare },
            { host: undefined, relays: [{ host: "main" }, { host: "spare" }] }
          )
          state.isDown = true
          const fiber = yield* Effect.fork(client.deliver(submission))
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(fiber)
        })
      ).pipe(Effect.provide(logs.layer), Logger.withMinimumLogLevel(LogLevel.Debug))
      const lines = (yield* logs.entries).map(({ annotations, level, text }) => [
        level,
        text.replace(/[;:].*$/, ""),
        annotations["server.address"]
      ])
      expect(lines).toContainEqual(["WARN", "No SMTP session could be opened", "main"])
      expect(lines).toContainEqual(["DEBUG", "An SMTP session was opened", "spare"])
      expect(lines).toContainEqual(["DEBUG", "An SMTP session is closed", "spare"])
      expect(lines).toContainEqual(["WARN", "A message goes to another relay, for 1 recipients", "spare"])
    })
  )
})
