/**
 * The metrics of sessions, under names in the manner of OpenTelemetry: recipients by outcome, replies by code, and how
 * long replies take by phase. Metrics are looked up once, so that a reply costs two additions.
 */
import type { Phase } from "../../protocol/Command.js"
import { overall } from "../../protocol/Outcome.js"
import type { Receipt } from "../../SmtpReceipt.js"
import type { Update } from "../effect/metrics.js"
import { boundaries, counter, histogram } from "../effect/metrics.js"

const seconds = boundaries([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600])

const memoized = <K extends PropertyKey>(make: (key: K) => Update): ((key: K) => Update) => {
  const known: Partial<Record<K, Update>> = {}
  return (key) => (known[key] ??= make(key))
}

const byCode = memoized((code: number) =>
  counter("smtp.client.replies", "Replies of servers, by code.", { "smtp.reply.code": String(code) })
)

const byPhase = memoized((phase: Phase) =>
  histogram("smtp.client.reply.duration", "Seconds until a reply, by the phase of the dialogue.", seconds, {
    "smtp.phase": phase
  })
)

const byOutcome = memoized((outcome: string) =>
  counter("smtp.client.recipients", "Recipients of messages, by outcome.", { outcome })
)

const bySentOutcome = memoized((outcome: string) =>
  counter(
    "smtp.client.send.recipients",
    "Recipients of messages that went through a client, by the outcome of all attempts.",
    { outcome }
  )
)

const bySendOutcome = memoized((outcome: string) =>
  histogram(
    "smtp.client.send.duration",
    "Seconds that messages took to go through a client, waits and all attempts, by what send makes of them.",
    seconds,
    { outcome }
  )
)

const labels = { Accepted: "accepted", Refused: "refused", NotSent: "not_sent", Unknown: "unknown" } as const

const count = (
  { accepted, notSent, refused, unknown }: Receipt,
  updateOf: (outcome: string) => Update
): void => {
  if (accepted.length > 0) updateOf("accepted")(accepted.length)
  if (refused.length > 0) updateOf("refused")(refused.length)
  if (notSent.length > 0) updateOf("not_sent")(notSent.length)
  if (unknown.length > 0) updateOf("unknown")(unknown.length)
}

/** A reply came, `millis` after its command had left or the reply before it had come. */
export const replied = (phase: Phase, code: number, millis: number): void => {
  byCode(code)(1)
  byPhase(phase)(millis / 1000)
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
  bySendOutcome(labels[overall(receipt)])(millis / 1000)
}
