/**
 * Fibers that wait for something to change and look again when it has. It knows no condition of its own.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * @since 0.1.0
 * @category models
 */
export interface Wakeup {
  /** Ends at the next `wake`. */
  readonly next: Effect.Effect<void>
  /** Lets every waiting fiber look again. */
  readonly wake: () => void
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (): Wakeup => {
  let waiting: Array<() => void> = []
  const next: Effect.Effect<void> = Effect.async((resume) => {
    const waiter = () => resume(Effect.void)
    waiting.push(waiter)
    return Effect.sync(() => {
      waiting = waiting.filter((other) => other !== waiter)
    })
  })
  return {
    next,
    wake: () => {
      if (waiting.length === 0) return
      const woken = waiting
      waiting = []
      for (const waiter of woken) waiter()
    }
  }
}

/**
 * Looks until there is an answer: `undefined` means not yet.
 *
 * @since 0.1.0
 * @category combinators
 */
export const until = <A, E>(
  wakeup: Wakeup,
  look: () => Effect.Effect<A, E> | undefined
): Effect.Effect<A, E> => Effect.suspend(() => look() ?? Effect.zipRight(wakeup.next, until(wakeup, look)))
