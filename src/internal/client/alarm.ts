/**
 * One alarm on Effect's Clock: it goes off at the earliest of the times it was set to. What is due then, it does not
 * know.
 */
import * as Effect from "effect/Effect"
import type { AnyFiber } from "../effect/runtime.js"
import { interrupt } from "../effect/runtime.js"

export interface Alarm {
  /** Sets the alarm, unless it goes off before that time anyway. Milliseconds of the clock; infinity sets nothing. */
  readonly set: (at: number) => void
}

/** `goOff` is called from a fiber of its own. */
export const make = (
  now: () => number,
  fork: (effect: Effect.Effect<void>) => AnyFiber,
  goOff: () => void
): Alarm => {
  let pending: { readonly at: number; readonly fiber: AnyFiber } | undefined
  return {
    set: (at) => {
      if (at === Infinity || (pending !== undefined && pending.at <= at)) return
      if (pending !== undefined) interrupt(pending.fiber)
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
