/**
 * The metrics of sessions, under names in the manner of OpenTelemetry: recipients by outcome, replies by code, and how
 * long replies take by phase. Hooks are looked up once, so that a reply costs two additions.
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import type * as MetricHook from "effect/MetricHook"
import type { Phase } from "../../protocol/Command.js"
import { overall } from "../../protocol/Outcome.js"
import type { Receipt } from "../../SmtpReceipt.js"

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

const sentKey = MetricKey.counter("smtp.client.send.recipients", {
  description: "Recipients of messages that went through a client, by the outcome of all attempts.",
  incremental: true
})

const sendDurationKey = MetricKey.histogram(
  "smtp.client.send.duration",
  seconds,
  "Seconds that messages took to go through a client, waits and all attempts, by what send makes of them."
)

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

const bySentOutcome = memoized((outcome: string) =>
  registry.get(MetricKey.tagged(sentKey, "outcome", outcome))
)

const bySendOutcome = memoized((outcome: string) =>
  registry.get(MetricKey.tagged(sendDurationKey, "outcome", outcome))
)

const labels = { Accepted: "accepted", Refused: "refused", NotSent: "not_sent", Unknown: "unknown" } as const

const count = (
  { accepted, notSent, refused, unknown }: Receipt,
  hookOf: (outcome: string) => MetricHook.MetricHook.Counter<number>
): void => {
  if (accepted.length > 0) hookOf("accepted").update(accepted.length)
  if (refused.length > 0) hookOf("refused").update(refused.length)
  if (notSent.length > 0) hookOf("not_sent").update(notSent.length)
  if (unknown.length > 0) hookOf("unknown").update(unknown.length)
}

/** A reply came, `millis` after its command had left or the reply before it had come. */
export const replied = (phase: Phase, code: number, millis: number): void => {
  byCode(code).update(1)
  byPhase(phase).update(millis / 1000)
}

/** A message has come to its end on a session. */
export const settled = (receipt: Receipt): void => {
  count(receipt, byOutcome)
}

/**
 * A message has come to its end in a client, after all that it tried: a session or none, once or several times.
 */
export const sent = (receipt: Receipt, millis: number): void => {
  count(receipt, bySentOutcome)
  bySendOutcome(labels[overall(receipt)]).update(millis / 1000)
}
