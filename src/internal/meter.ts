/**
 * The metrics of sessions, under names in the manner of OpenTelemetry: recipients by outcome, replies by code, and how
 * long replies take by phase. Hooks are looked up once, so that a reply costs two additions.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import type { Phase } from "../protocol/Command.js"
import type { Receipt } from "../SmtpReceipt.js"

const registry = Metric.globalMetricRegistry

const seconds = MetricBoundaries.fromIterable([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600])

const repliesKey = MetricKey.counter("smtp.client.replies", {
  description: "Replies of servers, by code.",
  incremental: true
})

const durationKey = MetricKey.histogram(
  "smtp.client.reply.duration",
  seconds,
  "Seconds until a reply, by the phase of the dialogue."
)

const recipientsKey = MetricKey.counter("smtp.client.recipients", {
  description: "Recipients of messages, by outcome.",
  incremental: true
})

const memoized = <K extends PropertyKey, A>(make: (key: K) => A): ((key: K) => A) => {
  const known: Partial<Record<K, A>> = {}
  return (key) => (known[key] ??= make(key))
}

const byCode = memoized((code: number) =>
  registry.get(MetricKey.tagged(repliesKey, "smtp.reply.code", String(code)))
)

const byPhase = memoized((phase: Phase) => registry.get(MetricKey.tagged(durationKey, "smtp.phase", phase)))

const byOutcome = memoized((outcome: string) =>
  registry.get(MetricKey.tagged(recipientsKey, "outcome", outcome))
)

const add = (outcome: string, count: number): void => {
  if (count > 0) byOutcome(outcome).update(count)
}

/**
 * A reply came, `millis` after its command had left or the reply before it had come.
 *
 * @since 0.1.0
 * @category combinators
 */
export const replied = (phase: Phase, code: number, millis: number): void => {
  byCode(code).update(1)
  byPhase(phase).update(millis / 1000)
}

/**
 * A message has come to its end.
 *
 * @since 0.1.0
 * @category combinators
 */
export const settled = (receipt: Receipt): void => {
  add("accepted", receipt.accepted.length)
  add("refused", receipt.refused.length)
  add("not_sent", receipt.notSent.length)
  add("unknown", receipt.unknown.length)
}
