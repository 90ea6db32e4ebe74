/**
 * When a message is tried again, and for whom. What is not known to have failed is never tried again by itself.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import type { Outcome, Receipt } from "../../SmtpClient.js"
import * as SmtpError from "../../SmtpError.js"

type Plan = Schedule.Schedule<unknown, Receipt>

/** Five times within about half a minute: what a restart of the server takes. */
export const briefly: Plan = Schedule.exponential(Duration.seconds(1)).pipe(
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(5))
)

/**
 * For servers that refuse a stranger's first message and take a later one: after 1, 5, 10, 15 and 30 minutes.
 */
export const greylisted: Plan = Schedule.fromDelays(
  Duration.minutes(1),
  Duration.minutes(5),
  Duration.minutes(10),
  Duration.minutes(15),
  Duration.minutes(30)
)

export const presets: Readonly<Record<"off" | "briefly" | "greylisted", Plan | undefined>> = {
  off: undefined,
  briefly,
  greylisted
}

/** Gives how long to wait before the next attempt, or `undefined` when there is none. */
export type Pauses = (receipt: Receipt) => Effect.Effect<number | undefined>

/**
 * The steps of a schedule without its sleeping, so that nobody sleeps towards an attempt that comes too late.
 */
export const pauses = (schedule: Plan | undefined): Pauses => {
  if (schedule === undefined) return () => Effect.succeed(undefined)
  let state: unknown = schedule.initial
  return (receipt) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.map(schedule.step(now, receipt, state), ([next, , decision]) => {
        state = next
        if (ScheduleDecision.isDone(decision)) return undefined
        return Math.max(0, ScheduleIntervals.start(decision.intervals) - now)
      })
    )
}

/**
 * Whether the same attempt may have another outcome later. A client that is full or closed does not become another
 * one for this message; the store of a rate limit may.
 */
export const isWorthAnother = (outcome: Outcome, mayDuplicate: boolean): boolean => {
  switch (outcome._tag) {
    case "Accepted":
      return false
    case "Refused":
      return !outcome.permanent
    case "NotSent":
      if (isEndOfSend(outcome)) return false
      return outcome.cause._tag === "ClientUnavailable"
        ? outcome.cause.reason === "RateLimitStore"
        : SmtpError.isTransient(outcome.cause)
    case "Unknown":
      return mayDuplicate
  }
}

/**
 * Whether another relay may do better: this one could not be used, and the message has not gone to anybody.
 */
export const isWorthAnotherRelay = (outcome: Outcome): boolean => {
  if (outcome._tag !== "NotSent" || isEndOfSend(outcome)) return false
  switch (outcome.cause._tag) {
    case "ConnectError":
    case "TlsError":
    case "ServerDisconnected":
    case "ReplyTimeout":
    case "ProtocolError":
    case "HeloError":
    case "CommandRefused":
    case "AuthenticationError":
    case "NotSupported":
      return true
    default:
      return false
  }
}

/** Whether the limit of the whole send has run out: it is over, whatever may do better. */
export const isEndOfSend = (outcome: Outcome): boolean =>
  (outcome._tag === "NotSent" || outcome._tag === "Unknown") &&
  outcome.cause._tag === "ReplyTimeout" &&
  outcome.cause.isOfSend === true
