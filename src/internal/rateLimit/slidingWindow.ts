/**
 * Places in time under limits: which is the earliest one, such that no interval ever holds more than its limit. Time
 * is a parameter, in milliseconds; nothing here waits.
 */
import type { Amounts, Window } from "./limits.js"

export interface SlidingWindow {
  /** `wait` is the time until the earliest place, which is taken if `wait` is not over `longest`. */
  readonly reserve: (
    key: string,
    amounts: Amounts,
    now: number,
    longest: number
  ) => { readonly granted: boolean; readonly wait: number }
  /** How many keys it holds places of. */
  readonly size: () => number
}

/** What was reserved at one time. */
interface Place {
  readonly at: number
  readonly amount: number
}

/** The places of one limit, in the order of time; those before `first` lie too far back to count. */
interface Log {
  readonly window: Window
  places: Array<Place>
  first: number
  /** The sum of those from `first` on. */
  total: number
}

interface Key {
  readonly logs: ReadonlyArray<Log>
  /** Nobody gets a place before the one who asked before. */
  last: number
}

export const make = (windows: ReadonlyArray<Window>): SlidingWindow => {
  // In the order of their latest use: those at the front are forgotten when they count no more.
  const keys = new Map<string, Key>()
  const longestInterval = Math.max(0, ...windows.map(({ interval }) => interval))

  const forget = (now: number): void => {
    for (const [key, { last }] of keys) {
      if (last + longestInterval > now) return
      keys.delete(key)
    }
  }

  const fresh = (): Key => ({
    logs: windows.map((window) => ({ window, places: [], first: 0, total: 0 })),
    last: Number.NEGATIVE_INFINITY
  })

  return {
    reserve: (name, amounts, now, longest) => {
      forget(now)
      const key = keys.get(name) ?? fresh()
      const from = Math.max(now, key.last)
      const at = Math.max(from, ...key.logs.map((log) => earliest(log, amounts[log.window.of], from)))
      // Timers know whole milliseconds only.
      const wait = Math.ceil(at - now)
      if (wait > longest) return { granted: false, wait }
      for (const log of key.logs) add(log, now + wait, amounts[log.window.of])
      key.last = now + wait
      keys.delete(name)
      keys.set(name, key)
      return { granted: true, wait }
    },
    size: () => keys.size
  }
}

/** When enough of the oldest places have left the interval that ends there. */
const earliest = ({ first, places, total, window }: Log, amount: number, from: number): number => {
  let left = total
  let at = from
  for (let index = first; index < places.length; index++) {
    const place = places[index]
    if (place === undefined) break
    if (left + amount <= window.limit && place.at + window.interval > at) break
    left -= place.amount
    at = Math.max(at, place.at + window.interval)
  }
  return at
}

const add = (log: Log, at: number, amount: number): void => {
  if (amount === 0) return
  // Places are reserved in the order of time, so that what has left the interval here has left it for good.
  for (let place = log.places[log.first]; place !== undefined; place = log.places[log.first]) {
    if (place.at + log.window.interval > at) break
    log.total -= place.amount
    log.first++
  }
  log.places.push({ at, amount })
  log.total += amount
  if (log.first > 64 && log.first * 2 > log.places.length) {
    log.places = log.places.slice(log.first)
    log.first = 0
  }
}
