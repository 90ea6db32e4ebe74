/**
 * Sleeps until the next deadline and has it expire. What the deadlines are, and when they change, is its owner's to
 * say; time is Effect's Clock.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Wakeup from "./wakeup.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Deadline {
  /** In milliseconds of the clock. */
  readonly at: number
  readonly expire: () => void
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Watchdog {
  /** Watches for as long as `isOn`. */
  readonly run: Effect.Effect<void>
  /** A deadline has come up that may be earlier than those before, or nothing is to be watched any more. */
  readonly poke: () => void
  /** A deadline has come up that is no earlier than `longestSleep` from now. */
  readonly begin: () => void
}

/**
 * A watchdog that sleeps no longer than `longestSleep`, the shortest limit there is: whatever limit begins while it
 * sleeps ends after it has woken, so that it needs no word of each command.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly isOn: () => boolean
  readonly now: () => number
  readonly deadlines: () => ReadonlyArray<Deadline>
  readonly longestSleep: number
}): Watchdog => {
  const alarm = Wakeup.make()
  let pokes = 0
  let watching = true

  const poke = (): void => {
    pokes++
    alarm.wake()
  }

  const next = (): Deadline | undefined =>
    options
      .deadlines()
      .filter(({ at }) => Number.isFinite(at))
      .reduce<Deadline | undefined>(
        (earliest, deadline) => (earliest === undefined || deadline.at < earliest.at ? deadline : earliest),
        undefined
      )

  const watchOnce: Effect.Effect<void> = Effect.suspend(() => {
    const seen = pokes
    const poked = Wakeup.until(alarm, () => (pokes === seen ? undefined : Effect.void))
    const deadline = next()
    if (deadline === undefined) {
      watching = false
      return Effect.map(poked, () => {
        watching = true
      })
    }
    const remaining = deadline.at - options.now()
    if (remaining <= 0) {
      deadline.expire()
      return Effect.void
    }
    return Effect.raceFirst(Effect.sleep(Math.min(remaining, options.longestSleep)), poked)
  })

  return {
    run: Effect.whileLoop({ while: options.isOn, body: () => watchOnce, step: () => undefined }),
    poke,
    begin: () => {
      if (!watching) poke()
    }
  }
}
