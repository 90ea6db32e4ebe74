/**
 * Sleeps until the next deadline and has it expire. What the deadlines are, and when they change, is its owner's to
 * say; time is that of the timers it is given.
 */

export interface Deadline {
  /** In milliseconds of `now`. */
  readonly at: number
  readonly expire: () => void
}

export interface Watchdog {
  /** A deadline has come up that may be earlier than those before, or nothing is to be watched any more. */
  readonly poke: () => void
  /** A deadline has come up that is no earlier than `longestSleep` from now. */
  readonly begin: () => void
}

/**
 * A watchdog that sleeps no longer than `longestSleep`, the shortest limit there is: whatever limit begins while it
 * sleeps ends after it has woken, so that it needs no word of each command. Deadlines expire from the timer alone,
 * never within a call of `poke` or `begin`.
 */
export const make = (options: {
  readonly now: () => number
  readonly deadlines: () => ReadonlyArray<Deadline>
  readonly longestSleep: number
  /** Calls once, when the milliseconds have passed; the function returned stops it. */
  readonly after: (millis: number, wake: () => void) => () => void
}): Watchdog => {
  let stop: (() => void) | undefined

  const next = (): Deadline | undefined =>
    options
      .deadlines()
      .filter(({ at }) => Number.isFinite(at))
      .reduce<Deadline | undefined>(
        (earliest, deadline) => (earliest === undefined || deadline.at < earliest.at ? deadline : earliest),
        undefined
      )

  const sleep = (): void => {
    const deadline = next()
    if (deadline === undefined) return
    const remaining = Math.max(0, deadline.at - options.now())
    stop = options.after(Math.min(remaining, options.longestSleep), woken)
  }

  const woken = (): void => {
    stop = undefined
    const deadline = next()
    if (deadline !== undefined && deadline.at <= options.now()) deadline.expire()
    begin()
  }

  // What expires may have poked already.
  const begin = (): void => {
    if (stop === undefined) sleep()
  }

  return {
    poke: () => {
      stop?.()
      stop = undefined
      sleep()
    },
    begin
  }
}
