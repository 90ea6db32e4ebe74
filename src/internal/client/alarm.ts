/**
 * One alarm on Effect's Clock: it goes off at the earliest of the times it was set to. What is due then, it does not
 * know.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"

export interface Alarm {
  /** Sets the alarm, unless it goes off before that time anyway. Milliseconds of the clock; infinity sets nothing. */
  readonly set: (at: number) => void
}

/** `goOff` is called from a fiber of its own. */
export const make = (
  now: () => number,
  fork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>,
  goOff: () => void
): Alarm => {
  let pending: { readonly at: number; readonly fiber: Fiber.RuntimeFiber<void> } | undefined
  return {
    set: (at) => {
      if (at === Infinity || (pending !== undefined && pending.at <= at)) return
      pending?.fiber.unsafeInterruptAsFork(FiberId.none)
      const fiber = fork(
        Effect.zipRight(
          // Whole milliseconds: a fraction that is lost in between would set the alarm off too early, for ever.
          Effect.sleep(Math.max(0, Math.ceil(at - now()))),
          Effect.sync(() => {
            if (pending?.fiber === fiber) pending = undefined
            goOff()
          })
        )
      )
      pending = { at, fiber }
    }
  }
}
