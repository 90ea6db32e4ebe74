/**
 * Reservations under limits: each gets the earliest time at which no interval holds more than its limit. Time is a
 * parameter, in milliseconds; nothing here waits.
 */
import type { Amounts, RateWindow } from "./limits.js"

export interface SlidingWindow {
  /** `wait` is the time until the earliest slot, which is reserved unless `wait` exceeds `longest`. */
  readonly reserve: (
    key: string,
    amounts: Amounts,
    now: number,
    longest: number
  ) => { readonly granted: boolean; readonly wait: number }
  /** The number of keys with reservations. */
  readonly size: () => number
}

interface Reservation {
  readonly at: number
  readonly amount: number
}

/** The reservations under one limit, in order of time. Those before `first` no longer count. */
interface ReservationLog {
  readonly window: RateWindow
  reservations: Array<Reservation>
  first: number
  /** The sum of those from `first` on. */
  total: number
}

interface KeyLogs {
  readonly logs: ReadonlyArray<ReservationLog>
  /** The latest reservation: a later request never gets an earlier slot. */
  last: number
}

export const makeSlidingWindow = (windows: ReadonlyArray<RateWindow>): SlidingWindow => {
  // Least recently used first.
  const keys = new Map<string, KeyLogs>()
  const longestInterval = Math.max(0, ...windows.map(({ interval }) => interval))

  const evictExpired = (now: number): void => {
    for (const [key, { last }] of keys) {
      if (last + longestInterval > now) return
      keys.delete(key)
    }
  }

  return {
    reserve: (name, amounts, now, longest) => {
      evictExpired(now)
      const key = keys.get(name) ?? {
        logs: windows.map((window) => ({ window, reservations: [], first: 0, total: 0 })),
        last: Number.NEGATIVE_INFINITY
      }
      const from = Math.max(now, key.last)
      const at = Math.max(from, ...key.logs.map((log) => earliest(log, amounts[log.window.of], from)))
      // Timers have a resolution of whole milliseconds.
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

/** When enough of the oldest reservations have left the interval that ends there. */
const earliest = (
  { first, reservations, total, window }: ReservationLog,
  amount: number,
  from: number
): number => {
  let left = total
  let at = from
  for (let index = first; index < reservations.length; index++) {
    const oldest = reservations[index]
    if (oldest === undefined || (left + amount <= window.limit && oldest.at + window.interval > at)) break
    left -= oldest.amount
    at = Math.max(at, oldest.at + window.interval)
  }
  return at
}

const add = (log: ReservationLog, at: number, amount: number): void => {
  if (amount === 0) return
  // Times only grow, so a reservation that has left the interval here never counts again.
  for (
    let oldest = log.reservations[log.first];
    oldest !== undefined && oldest.at + log.window.interval <= at;
    oldest = log.reservations[log.first]
  ) {
    log.total -= oldest.amount
    log.first++
  }
  log.reservations.push({ at, amount })
  log.total += amount
  if (log.first > 64 && log.first * 2 > log.reservations.length) {
    log.reservations = log.reservations.slice(log.first)
    log.first = 0
  }
}
