/**
 * The metrics of sessions, under names in the manner of OpenTelemetry: recipients by outcome, replies by code, and how
 * long replies take by phase. Hooks are looked up once for each session, so that a reply costs two additions.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import type * as MetricHook from "effect/MetricHook"
import * as MetricKey from "effect/MetricKey"
import type { Phase } from "../protocol/Command.js"
import type { Receipt } from "../SmtpReceipt.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Meter {
  /** A reply came, `millis` after its command had left or the reply before it had come. */
  readonly replied: (phase: Phase, code: number, millis: number) => void
  /** A message has come to its end. */
  readonly settled: (receipt: Receipt) => void
}

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

const outcomeHook = (outcome: string): MetricHook.MetricHook.Counter<number> =>
  registry.get(MetricKey.tagged(recipientsKey, "outcome", outcome))

const memoized = <K extends PropertyKey, A>(make: (key: K) => A): ((key: K) => A) => {
  const known: Partial<Record<K, A>> = {}
  return (key) => (known[key] ??= make(key))
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (): Meter => {
  const byCode = memoized((code: number) =>
    registry.get(MetricKey.tagged(repliesKey, "smtp.reply.code", String(code)))
  )
  const byPhase = memoized((phase: Phase) => registry.get(MetricKey.tagged(durationKey, "smtp.phase", phase)))
  const accepted = outcomeHook("accepted")
  const refused = outcomeHook("refused")
  const notSent = outcomeHook("not_sent")
  const unknown = outcomeHook("unknown")
  const add = (hook: MetricHook.MetricHook.Counter<number>, count: number): void => {
    if (count > 0) hook.update(count)
  }
  return {
    replied: (phase, code, millis) => {
      byCode(code).update(1)
      byPhase(phase).update(millis / 1000)
    },
    settled: (receipt) => {
      add(accepted, receipt.accepted.length)
      add(refused, receipt.refused.length)
      add(notSent, receipt.notSent.length)
      add(unknown, receipt.unknown.length)
    }
  }
}
