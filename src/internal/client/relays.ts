/**
 * The relays of a client: their order, and whether a session can be expected at one. After a failure a relay is left
 * alone for a pause that doubles each time, and then one session at a time is tried. Pure: time is a parameter.
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** A server that sessions can be opened at. */
export interface Relay<S, E> {
  /** As logs and metrics name it. */
  readonly name: string
  /** The lowest goes first; equal ones share the load. */
  readonly priority: number
  readonly maxSessions: number
  /** How many messages a session takes at once. */
  readonly slots: number
  readonly open: Effect.Effect<OpenedSession<S>, E, Scope.Scope>
  /** Whether another attempt with the same credentials and options cannot help. */
  readonly isPermanent: (cause: Cause.Cause<E>) => boolean
}

export interface OpenedSession<S> {
  readonly session: S
  /** How many messages the server allows a session, if it says so. */
  readonly maxMessages: number | undefined
}

export interface RelayHealth<E> {
  /** How many openings, or first uses, have failed since a new session did its work. */
  readonly failures: number
  /** Nothing is opened before this time, in milliseconds of the clock. */
  readonly notBefore: number
  readonly lastFailure: Cause.Cause<E> | undefined
  /** Whether the last opening has failed in a way that another attempt cannot help. */
  readonly isPermanent: boolean
}

export const healthy: RelayHealth<never> = {
  failures: 0,
  notBefore: -Infinity,
  lastFailure: undefined,
  isPermanent: false
}

const shortestPause = 500

/**
 * An opening, or the first use of a session, has failed: `cause` is that of an opening. Attempts that began at the same
 * number of failures have failed together.
 */
export const afterFailure = <E>(
  { failures, lastFailure }: RelayHealth<E>,
  failuresBefore: number,
  cause: Cause.Cause<E> | undefined,
  isPermanent: boolean,
  now: number,
  longestPause: number
): RelayHealth<E> => {
  const total = Math.max(failures, failuresBefore + 1)
  const pause = isPermanent ? longestPause : shortestPause * 2 ** Math.min(total - 1, 30)
  return {
    failures: total,
    notBefore: now + Math.min(pause, longestPause),
    lastFailure: cause ?? lastFailure,
    isPermanent
  }
}

/** A session was opened: others may be. */
export const afterOpening = <E>(health: RelayHealth<E>): RelayHealth<E> =>
  health.failures === 0 ? health : { ...health, notBefore: -Infinity, isPermanent: false }

/** A session did its work: failures from before it was opened no longer count. */
export const afterWork = <E>(health: RelayHealth<E>, failuresBefore: number): RelayHealth<E> =>
  health.failures > 0 && health.failures === failuresBefore ? { ...health, failures: 0 } : health

/** What the choice of a relay depends on. */
export interface Candidate {
  readonly priority: number
  /** Whether sessions can be expected: some are open, or nothing has failed lately. */
  readonly isTrusted: boolean
}

/** Where a message goes that may go to these: the trusted ones of the best priority, or all where none is trusted. */
export const preferred = <C extends Candidate>(candidates: ReadonlyArray<C>): ReadonlyArray<C> => {
  if (candidates.length <= 1) return candidates
  const trusted = candidates.filter(({ isTrusted }) => isTrusted)
  const best = Math.min(...trusted.map(({ priority }) => priority))
  return trusted.length === 0 ? candidates : trusted.filter(({ priority }) => priority === best)
}
