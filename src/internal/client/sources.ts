/**
 * Where sessions come from, and how far each place is to be trusted: after a failure nobody tries it again for a
 * while, and then one at a time. It opens nothing itself.
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** A place that sessions can be opened at: a relay. */
export interface Source<S, E> {
  /** As logs and metrics name it. */
  readonly name: string
  /** The lowest goes first; equal ones share the load. */
  readonly priority: number
  readonly maxSessions: number
  /** How many users a session takes at once. */
  readonly slots: number
  readonly open: Effect.Effect<Opened<S>, E, Scope.Scope>
  /** Whether to try again, with the same credentials and options, cannot help. */
  readonly isPermanent: (cause: Cause.Cause<E>) => boolean
}

export interface Opened<S> {
  readonly session: S
  /** How many messages the server lets a session carry, where it tells. */
  readonly maxMessages: number | undefined
}

/** A source, and what has become of the sessions that were opened there. */
export interface Tracked<S, E> {
  readonly source: Source<S, E>
  /** Sessions that are open, and not about to be closed. */
  live: number
  /** Sessions that are open, and those that are about to be closed. */
  open: number
  opening: number
  /** Openings that have failed, and whose connections are about to be closed. */
  failing: number
  /** How many openings, or first uses, have failed since a new session did its work. */
  failures: number
  /** Nothing is opened before this time. */
  notBefore: number
  lastFailure: Cause.Cause<E> | undefined
  isPermanent: boolean
  /** How many leases were given: equal sources share them. */
  leases: number
}

export const track = <S, E>(source: Source<S, E>): Tracked<S, E> => ({
  source,
  live: 0,
  open: 0,
  opening: 0,
  failing: 0,
  failures: 0,
  notBefore: -Infinity,
  lastFailure: undefined,
  isPermanent: false,
  leases: 0
})

const shortestPause = 500

/**
 * How long a source is left alone after it has failed: twice as long each time, up to the longest; as long at once
 * where another attempt cannot help. Attempts that had begun at the same number of failures have failed together.
 */
export const failed = <S, E>(
  tracked: Tracked<S, E>,
  failuresBefore: number,
  cause: Cause.Cause<E> | undefined,
  now: number,
  longestPause: number
): void => {
  tracked.failures = Math.max(tracked.failures, failuresBefore + 1)
  tracked.lastFailure = cause ?? tracked.lastFailure
  tracked.isPermanent = cause !== undefined && tracked.source.isPermanent(cause)
  const pause = tracked.isPermanent ? longestPause : shortestPause * 2 ** Math.min(tracked.failures - 1, 30)
  tracked.notBefore = now + Math.min(pause, longestPause)
}

/** A session was opened: others may be. */
export const opened = <S, E>(tracked: Tracked<S, E>): void => {
  tracked.notBefore = -Infinity
  tracked.isPermanent = false
}

/** A session has done its work: what had failed before it was opened counts no more. */
export const worked = <S, E>(tracked: Tracked<S, E>, failuresBefore: number): void => {
  if (tracked.failures === failuresBefore) tracked.failures = 0
}

/** Whether sessions can be expected from here: some are open, or nothing has failed lately. */
export const isTrusted = <S, E>({ failures, live }: Tracked<S, E>): boolean => live > 0 || failures === 0

/** Whether another session may be opened now: one at a time where the last attempt has failed. */
export const mayOpen = <S, E>(tracked: Tracked<S, E>, now: number): boolean =>
  now >= tracked.notBefore &&
  tracked.open + tracked.opening + tracked.failing < tracked.source.maxSessions &&
  (isTrusted(tracked) || tracked.opening === 0)

/** The sources to look at: those of the best priority that can be trusted, or all of them where none can. */
export const preferred = <S, E>(acceptable: ReadonlyArray<Tracked<S, E>>): ReadonlyArray<Tracked<S, E>> => {
  const [only] = acceptable
  if (only === undefined || acceptable.length === 1) return acceptable
  const trusted = acceptable.filter(isTrusted)
  if (trusted.length === 0) return acceptable
  const best = Math.min(...trusted.map(({ source }) => source.priority))
  return trusted.filter(({ source }) => source.priority === best)
}
