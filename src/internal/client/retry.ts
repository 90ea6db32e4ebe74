/** When a message is tried again. For which recipients is decided by protocol/Outcome. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import type { Receipt } from "../../SmtpClient.js"

export type RetrySchedule = Schedule.Schedule<unknown, Receipt>

export const briefly: RetrySchedule = Schedule.exponential(Duration.seconds(1)).pipe(
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(5))
)

export const greylisted: RetrySchedule = Schedule.fromDelays(
  Duration.minutes(1),
  Duration.minutes(5),
  Duration.minutes(10),
  Duration.minutes(15),
  Duration.minutes(30)
)

export const presets: Readonly<Record<"off" | "briefly" | "greylisted", RetrySchedule | undefined>> = {
  off: undefined,
  briefly,
  greylisted
}

/** Milliseconds to wait before the next attempt; `undefined` when there is none. */
export type Pauses = (receipt: Receipt) => Effect.Effect<number | undefined>

/** The steps of a schedule without its sleeping, so that nobody sleeps towards an attempt that comes too late. */
export const pauses = (schedule: RetrySchedule): Pauses => {
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
