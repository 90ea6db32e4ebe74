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
import { clientOf, submission, switchable } from "./clients.js"

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
      const client = yield* clientOf(
        { "metrics.test": { socket } },
        { host: "metrics.test", idleTimeout: "10 seconds" }
      )
      yield* client.send(submission)
      const prefix = "smtp.client.connection"
      expect(numbersOf("metrics.test")).toMatchObject({
        [`${prefix}.count idle`]: 1,
        [`${prefix}.count used`]: 0,
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
      const client = yield* clientOf({ "mx.test": yield* SmtpTest.server() })
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
          const client = yield* clientOf(
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
