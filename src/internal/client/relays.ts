/**
 * The relays of a client: their health, and which of them a message or a new session goes to. After a failure a relay
 * pauses for a time that doubles, and is then tried by one session, or one message, at a time. Pure: time is a parameter.
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { describeCause } from "../effect/cause.js"

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

// -- choosing

/** A relay and its pool, as far as the choice depends on them. */
export interface RelayState<E> {
  readonly relay: Pick<Relay<never, never>, "name" | "priority" | "opensAlone" | "progress">
  readonly health: RelayHealth<E>
  /** Sessions that are not being closed. */
  readonly live: number
  readonly opening: number
  /** How many places it takes of those that the client has: sessions that are opened or closed take one too. */
  readonly places: number
  /** How many messages try a relay that was unwilling. */
  readonly probes: number
  readonly probedAt: number
}

const betweenProbes = 500

/** Whether a relay that was unwilling may be tried: by one message at a time. */
export const mayTry = ({ health, opening, probes }: RelayState<unknown>, at: number): boolean =>
  at >= health.notBefore && probes + opening === 0

/** Whether sessions can be expected: some are open, or nothing has failed lately. */
export const isTrusted = (state: RelayState<unknown>, at: number): boolean =>
  state.health.failures === 0 || (state.live > 0 && (!state.health.isUnwilling || mayTry(state, at)))

export const isFull = ({ health, places }: RelayState<unknown>): boolean => places >= health.limit

/** Whether another session may be opened: one at a time where the last attempt has failed. */
const mayOpen = (state: RelayState<unknown>, at: number): boolean => {
  const { hasOpened, isUnwilling, notBefore } = state.health
  if (at < notBefore || isFull(state)) return false
  if (isUnwilling) return mayTry(state, at)
  return state.opening === 0 || (isTrusted(state, at) && (hasOpened || !state.relay.opensAlone))
}

/** Where a message goes that may go to these: the trusted ones of the best priority, or all where none is trusted. */
export const preferred = <R extends RelayState<unknown>>(
  relays: ReadonlyArray<R>,
  at: number
): ReadonlyArray<R> => {
  if (relays.length <= 1) return relays
  const trusted = relays.filter((state) => isTrusted(state, at))
  const best = Math.min(...trusted.map(({ relay }) => relay.priority))
  return trusted.length === 0 ? relays : trusted.filter(({ relay }) => relay.priority === best)
}

/** Where the next session is opened: at the relay of the best priority; of equal ones, at that with the fewest. */
export const whereToOpen = <R extends RelayState<unknown>>(
  relays: ReadonlyArray<R>,
  at: number
): R | undefined => {
  let best: R | undefined
  for (const state of relays) {
    if (!mayOpen(state, at)) continue
    const byPriority = best === undefined ? -1 : state.relay.priority - best.relay.priority
    const sessions = best === undefined ? Infinity : best.live + best.opening
    if (byPriority < 0 || (byPriority === 0 && state.live + state.opening < sessions)) best = state
  }
  return best
}

/**
 * Relays that have no session while others serve, and get one that no message waits for: those that may have recovered, and
 * equals that were not needed before. One that was displaced does not come back at once.
 */
export const toProbe = <R extends RelayState<unknown>>(
  relays: ReadonlyArray<R>,
  at: number
): ReadonlyArray<R> =>
  relays.filter((state) => {
    const { priority } = state.relay
    const isVacant = state.live + state.opening === 0 && at >= state.probedAt + betweenProbes
    const isEqual = isTrusted(state, at)
    return (
      isVacant &&
      mayOpen(state, at) &&
      relays.some((other) =>
        isEqual
          ? other.live > 0 && other.relay.priority === priority
          : isTrusted(other, at) && other.relay.priority >= priority
      )
    )
  })

export const openingAt = (relays: ReadonlyArray<RelayState<unknown>>): number => {
  let sum = 0
  for (const { opening } of relays) sum += opening
  return sum
}

/** Why waiting is useless, where it is: only a change of the options can help. */
export const finalFailure = <E>(
  relays: ReadonlyArray<RelayState<E>>,
  at: number
): Cause.Cause<E> | undefined => {
  for (const state of relays) {
    const { isFinal, notBefore } = state.health
    if (!isFinal || notBefore <= at || state.opening > 0 || isTrusted(state, at)) return undefined
  }
  return relays[0]?.health.lastFailure
}

/** Why none of the relays has a session, for a message that has waited for one in vain. */
export const whyUnavailable = (
  relays: ReadonlyArray<RelayState<unknown>>,
  at: number
): string | undefined => {
  if (relays.some(({ live }) => live > 0)) return undefined
  const each = relays.flatMap(({ health, opening, relay: { name, progress } }) => {
    const { awaited } = progress
    if (opening > 0)
      return [`still connecting to ${name}${awaited === undefined ? "" : `, waiting for ${awaited}`}`]
    if (health.lastFailure === undefined || health.notBefore <= at) return []
    return [`${name} is not tried again yet after: ${describeCause(Cause.squash(health.lastFailure))}`]
  })
  return each.length === 0 ? undefined : each.join("; ")
}
