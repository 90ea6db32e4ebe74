/** Fibers that wait for something to change and look again when it has. */
import * as Effect from "effect/Effect"

export interface Wakeup {
  /** Lets every waiting fiber look again. */
  readonly wake: () => void
  /** Waits for one `wake`; the function returned stops the wait. */
  readonly listen: (waiter: () => void) => () => void
}

export const make = (): Wakeup => {
  let waiting: Array<() => void> = []
  return {
    wake: () => {
      if (waiting.length === 0) return
      const woken = waiting
      waiting = []
      for (const waiter of woken) waiter()
    },
    listen: (waiter) => {
      waiting.push(waiter)
      return () => {
        waiting = waiting.filter((other) => other !== waiter)
      }
    }
  }
}

/**
 * Looks until there is an answer: `undefined` means not yet. To look and to begin to wait are one step, so that no `wake`
 * falls between them; `look` runs within the call of `wake`.
 */
export const until = <A, E>(
  wakeup: Wakeup,
  look: () => Effect.Effect<A, E> | undefined
): Effect.Effect<A, E> =>
  Effect.async((resume) => {
    let stop: () => void = () => undefined
    let stopped = false
    const attempt = (): void => {
      // A waiter before this one may have interrupted it within the same call of `wake`.
      if (stopped) return
      const answer = look()
      if (answer === undefined) stop = wakeup.listen(attempt)
      else resume(answer)
    }
    attempt()
    return Effect.sync(() => {
      stopped = true
      stop()
    })
  })
