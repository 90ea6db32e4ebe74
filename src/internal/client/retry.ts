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

/** The pauses between the attempts for a message, in milliseconds. */
export interface Pauses {
  /** That before the next attempt; `undefined` when there is none. */
  readonly next: (receipt: Receipt) => Effect.Effect<number | undefined>
  /** All that are left, which stay left: infinite where they do not end. */
  readonly rest: (receipt: Receipt) => Effect.Effect<number>
}

// More attempts than that are meant to go on for as long as it takes.
const mostSteps = 1000

/** The steps of a schedule without its sleeping, so that nobody sleeps towards an attempt that comes too late. */
export const pausesOf = (schedule: RetrySchedule): Pauses => {
  const stepAt = (
    now: number,
    from: unknown,
    receipt: Receipt
  ): Effect.Effect<{ readonly state: unknown; readonly pause: number } | undefined> =>
    Effect.map(
      schedule.step(now, receipt, from),
      ([state, , decision]: readonly [unknown, unknown, ScheduleDecision.ScheduleDecision]) =>
        ScheduleDecision.isDone(decision)
          ? undefined
          : { state, pause: Math.max(0, ScheduleIntervals.start(decision.intervals) - now) }
    )
  let state: unknown = schedule.initial
  let isOver = false
  const lookAhead = (
    now: number,
    from: unknown,
    receipt: Receipt,
    total: number,
    steps: number
  ): Effect.Effect<number> => {
    if (steps > mostSteps) return Effect.succeed(Infinity)
    return Effect.flatMap(stepAt(now + total, from, receipt), (next) =>
      next === undefined
        ? Effect.succeed(total)
        : lookAhead(now, next.state, receipt, total + next.pause, steps + 1)
    )
  }
  return {
    next: (receipt) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.map(stepAt(now, state, receipt), (next) => {
          if (next === undefined) isOver = true
          else state = next.state
          return next?.pause
        })
      ),
    rest: (receipt) =>
      isOver
        ? Effect.succeed(0)
        : Effect.flatMap(Clock.currentTimeMillis, (now) => lookAhead(now, state, receipt, 0, 0))
  }
}
