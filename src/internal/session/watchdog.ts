/** Sleeps until the next deadline and has it expire, by one timer for all of them. */

export interface Deadline {
  /** In milliseconds of `now`. */
  readonly at: number
  readonly expire: () => void
}

interface WatchdogOptions {
  readonly now: () => number
  readonly deadlines: () => ReadonlyArray<Deadline>
  readonly longestSleep: number
  /** Calls once, when the milliseconds have passed; the function returned stops it. */
  readonly after: (millis: number, wake: () => void) => () => void
}

/**
 * Sleeps no longer than `longestSleep`, the shortest limit there is. A limit that begins while it sleeps ends after it
 * has woken, so it need not hear of each command. Deadlines expire from the timer alone.
 */
export class Watchdog {
  private stop: (() => void) | undefined

  constructor(private readonly options: WatchdogOptions) {}

  /** A deadline has come up that may be earlier than those before, or none is left. */
  poke(): void {
    this.stop?.()
    this.stop = undefined
    this.begin()
  }

  /** A deadline has come up that is no earlier than `longestSleep` from now. */
  begin(): void {
    if (this.stop !== undefined) return
    const next = this.next()
    if (next === undefined) return
    const { after, longestSleep, now } = this.options
    this.stop = after(Math.min(Math.max(0, next.at - now()), longestSleep), this.woken)
  }

  private readonly woken = (): void => {
    this.stop = undefined
    const next = this.next()
    if (next !== undefined && next.at <= this.options.now()) next.expire()
    this.begin()
  }

  private next(): Deadline | undefined {
    let next: Deadline | undefined
    for (const deadline of this.options.deadlines()) {
      if (Number.isFinite(deadline.at) && (next === undefined || deadline.at < next.at)) next = deadline
    }
    return next
  }
}
