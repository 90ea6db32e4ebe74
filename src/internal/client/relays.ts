/**
 * The relays of a client: their order, and whether a session can be expected at one. After a failure a relay pauses for
 * a time that doubles, and is then tried by one session, or one message, at a time. Pure: time is a parameter.
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
  /** Whether the first session is opened alone, so that a wrong password is tried once. */
  readonly opensAlone: boolean
  readonly open: Effect.Effect<OpenedSession<S>, E, Scope.Scope>
  readonly habits: Habits
  readonly progress: Progress
  readonly failureOf: (cause: Cause.Cause<E>) => OpeningFailure
}

/** What was learned of a server: sessions that are opened from then on heed it. */
export interface Habits {
  /** Whether a message was ever accepted. */
  hasDelivered: boolean
  /** It announces CHUNKING and does not know BDAT. */
  lacksBdat: boolean
  /** It announces PIPELINING and loses what is pipelined. */
  losesPipelined: boolean
}

export const unknownHabits = (): Habits => ({ hasDelivered: false, lacksBdat: false, losesPipelined: false })

/** Of the latest opening. */
export interface Progress {
  /** What it waits for, once it is connected. */
  awaited: string | undefined
}

export interface OpenedSession<S> {
  readonly session: S
  /** How many messages the server allows a session, if it says so. */
  readonly maxMessages: number | undefined
}

/**
 * - `temporary`: another attempt may help
 * - `silent`: no answer to the connection attempt, or no greeting in time
 * - `crowded`: the server turned the session away for now, perhaps because others are open
 * - `credentials`: it refused the credentials
 * - `permanent`: nothing but other options can help
 */
export type OpeningFailure = "temporary" | "silent" | "crowded" | "credentials" | "permanent"

/** `unwilling`: an open session takes no message for now, and neither would a new one. */
export type FailureKind = OpeningFailure | "unwilling"

export interface Failure<E> {
  readonly kind: FailureKind
  /** Absent where a session failed the first message that used it. */
  readonly cause: Cause.Cause<E> | undefined
  /** How often the relay had failed when the attempt began: those of one number have failed together. */
  readonly failuresBefore: number
  /** How many other sessions have messages. */
  readonly others: number
}

export interface RelayHealth<E> {
  /** How many attempts have failed, one after the other, since one succeeded. */
  readonly failures: number
  /** Nothing is opened before this time, in milliseconds of the clock. */
  readonly notBefore: number
  readonly lastFailure: Cause.Cause<E> | undefined
  /** Whether it is useless to wait: until the pause is over every message is refused at once. */
  readonly isFinal: boolean
  /** Whether open sessions pause too, until a message is accepted. */
  readonly isUnwilling: boolean
  /** Whether that was while other sessions had messages: it is over once one of theirs is accepted. */
  readonly isCrowded: boolean
  /** What the last attempts failed by, and how many of them. */
  readonly kind: FailureKind | undefined
  readonly ofKind: number
  /** Whether a session was ever opened. */
  readonly hasOpened: boolean
  /** How many sessions it takes at present. */
  readonly limit: number
  /** When the limit changed last. */
  readonly limitedAt: number
}

export const healthy = (maxSessions: number): RelayHealth<never> => ({
  failures: 0,
  notBefore: -Infinity,
  lastFailure: undefined,
  isFinal: false,
  isUnwilling: false,
  isCrowded: false,
  kind: undefined,
  ofKind: 0,
  hasOpened: false,
  limit: maxSessions,
  limitedAt: -Infinity
})

/** When a failure is seen, in milliseconds, and how long it may make the relay pause. */
interface Moment {
  readonly now: number
  readonly longestPause: number
  /** A factor of about 1. */
  readonly jitter: number
}

const shortestPause = 500
const credentialsPause = { first: 60_000, longest: 3_600_000 }
/** How long a lower limit is kept before one more session is tried. */
const limitMillis = 10_000

const pauseOf = (
  kind: FailureKind,
  isFinal: boolean,
  failures: number,
  { jitter, longestPause }: Moment
): number => {
  const doubled = 2 ** Math.min(failures - 1, 30)
  if (kind === "credentials") return Math.min(credentialsPause.first * doubled, credentialsPause.longest)
  return isFinal ? longestPause : Math.min(shortestPause * doubled * jitter, longestPause)
}

/** An opening or a message has failed in a way that speaks of the relay. */
export const afterFailure = <E>(
  health: RelayHealth<E>,
  { cause, failuresBefore, kind, others }: Failure<E>,
  at: Moment
): RelayHealth<E> => {
  const isNew = failuresBefore >= health.failures
  const failures = Math.max(health.failures, failuresBefore + 1)
  const ofKind = health.kind === kind ? health.ofKind + (isNew ? 1 : 0) : 1
  // A relay that has worked may be away for a while; one that never has is rather a mistake in the options.
  const isFinal =
    kind === "permanent" || kind === "credentials" || (kind === "silent" && ofKind >= 2 && !health.hasOpened)
  const isCrowded = others > 0 && (kind === "crowded" || kind === "unwilling")
  return {
    ...health,
    failures,
    notBefore: at.now + pauseOf(kind, isFinal, kind === "credentials" ? ofKind : failures, at),
    lastFailure: cause ?? health.lastFailure,
    isFinal,
    isUnwilling: health.isUnwilling || kind === "unwilling",
    isCrowded: kind === "unwilling" && isCrowded && (isNew || health.isCrowded),
    kind,
    ofKind,
    ...(isCrowded &&
      isNew && {
        limit: Math.max(1, Math.floor(Math.min(health.limit, others + 1) / 2)),
        limitedAt: at.now
      })
  }
}

/** A session was opened: others may be, unless messages were the trouble. */
export const afterOpening = <E>(health: RelayHealth<E>): RelayHealth<E> => ({
  ...health,
  notBefore: health.isUnwilling ? health.notBefore : -Infinity,
  isFinal: false,
  kind: undefined,
  ofKind: 0,
  hasOpened: true
})

/** A message had its replies; one that was accepted ends every pause that it began after. */
export const afterWork = <E>(
  health: RelayHealth<E>,
  failuresBefore: number,
  wasAccepted: boolean,
  now: number,
  maxSessions: number
): RelayHealth<E> => {
  const isWell =
    (health.failures === failuresBefore && (wasAccepted || !health.isUnwilling)) ||
    (health.isCrowded && wasAccepted)
  const isCured = isWell && health.failures > 0
  const mayGrow = wasAccepted && health.limit < maxSessions && now >= health.limitedAt + limitMillis
  if (!isCured && !mayGrow) return health
  return {
    ...health,
    ...(isCured && { failures: 0, notBefore: -Infinity, isUnwilling: false, isCrowded: false }),
    ...(mayGrow && { limit: health.limit + 1, limitedAt: now })
  }
}

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
