/** A time limit that also holds where the caller is uninterruptible, e.g. in acquireRelease. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

export const withTimeLimit = <A, E, R, E1>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration,
  onTimeout: () => E1
): Effect.Effect<A, E | E1, R> => Effect.timeoutFail(Effect.interruptible(effect), { duration, onTimeout })
