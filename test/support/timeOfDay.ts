/**
 * A clock whose time of day a test sets back or forward, as whoever keeps a machine's clock does, while time passes as
 * it did before.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

export interface TimeOfDay {
  readonly clock: Clock.Clock
  readonly shift: (by: Duration.DurationInput, direction: "back" | "forward") => void
}

export const make: Effect.Effect<TimeOfDay> = Effect.map(Effect.clock, (clock) => {
  let shifted = 0
  const millis = (): number => clock.unsafeCurrentTimeMillis() + shifted
  return {
    clock: {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      unsafeCurrentTimeMillis: millis,
      currentTimeMillis: Effect.sync(millis),
      unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
      currentTimeNanos: clock.currentTimeNanos,
      sleep: (duration) => clock.sleep(duration)
    },
    shift: (by, direction) => {
      shifted += direction === "back" ? -Duration.toMillis(by) : Duration.toMillis(by)
    }
  }
})
