/**
 * The sessions of one relay: opens them, leases them, and retires what is old, idle, used up, in doubt or lost. It
 * decides neither when to open one nor who gets it: see queue.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { describeCause } from "../effect/cause.js"
import { PooledSession } from "./pooledSession.js"
import type { PoolOwner } from "./pooledSession.js"
import type { Candidate, Failure, OpenedSession, Relay, RelayHealth } from "./relays.js"
import * as Relays from "./relays.js"

const betweenProbes = 500

export class RelayPool<S, E> implements Candidate {
  readonly sessions = new Set<PooledSession<S, E>>()
  readonly priority: number
  health: RelayHealth<E>
  /** Sessions that are not being closed. */
  live = 0
  opening = 0
  /** Openings that have failed, and whose connections are being closed. */
  failing = 0
  /** How many leases were given: equal relays share them. */
  leases = 0
  /** How many messages try a relay that was unwilling. */
  probes = 0
  private probedAt = -Infinity

  constructor(
    readonly relay: Relay<S, E>,
    private readonly owner: PoolOwner<S, E>
  ) {
    this.priority = relay.priority
    this.health = Relays.healthy(relay.maxSessions)
  }

  get isTrusted(): boolean {
    const { failures, isUnwilling } = this.health
    return failures === 0 || (this.live > 0 && (!isUnwilling || this.mayProbe(this.owner.now())))
  }

  /** Whether a relay that was unwilling may be tried: by one message at a time. */
  mayProbe(at: number): boolean {
    return at >= this.health.notBefore && this.probes + this.opening === 0
  }

  get idle(): number {
    let idle = 0
    for (const session of this.sessions) if (session.isIdle()) idle += 1
    return idle
  }

  /** How many places it takes of those that the client has. */
  get places(): number {
    return this.sessions.size + this.opening + this.failing
  }

  /** How many sessions it may have at present, as far as other relays leave it room. */
  get limit(): number {
    return Math.min(this.health.limit, this.owner.limits.maxSessions)
  }

  get isFull(): boolean {
    return this.places >= this.health.limit
  }

  /** How many places it is about to give back. */
  get leaving(): number {
    let leaving = this.failing
    for (const { phase } of this.sessions) if (phase !== "Open") leaving += 1
    return leaving
  }

  /** Whether another session may be opened: one at a time where the last attempt has failed. */
  mayOpen(at: number): boolean {
    const { hasOpened, isUnwilling, notBefore } = this.health
    if (at < notBefore || this.isFull) return false
    if (isUnwilling) return this.mayProbe(at)
    return this.opening === 0 || (this.isTrusted && (hasOpened || !this.relay.opensAlone))
  }

  /**
   * Whether a session may be opened that nobody waits for: there is none, and one that was opened before and had to make way
   * does not come back at once.
   */
  mayBeProbed(at: number): boolean {
    return this.live + this.opening === 0 && at >= this.probedAt + betweenProbes && this.mayOpen(at)
  }

  probe(at: number): void {
    this.probedAt = at
    this.open()
  }

  /** Whether it is useless to wait: nothing but a change of the options can help. */
  isHopeless(at: number): boolean {
    const { isFinal, notBefore } = this.health
    return isFinal && notBefore > at && this.opening === 0 && !this.isTrusted
  }

  /** The session to lease: the one with the fewest users, of the idle ones that was used last. */
  best(aliveAfter: number, at: number): PooledSession<S, E> | undefined {
    return pick(
      this.sessions,
      (session) => session.isLeasable(aliveAfter, at),
      (one, other) =>
        one.leases < other.leases || (one.leases === other.leases && one.aliveAt > other.aliveAt)
    )
  }

  oldestIdle(): PooledSession<S, E> | undefined {
    return pick(
      this.sessions,
      (session) => session.isIdle(),
      (one, other) => one.aliveAt < other.aliveAt
    )
  }

  retireDue(at: number): void {
    for (const session of this.sessions) session.retireIfDue(at)
  }

  /** Opens a session; that goes on when the message it was for has gone. */
  open(): void {
    const failuresBefore = this.health.failures
    this.opening += 1
    this.owner.fork(
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Scope.make(), (scope) =>
          Effect.flatMap(Effect.exit(restore(Scope.extend(this.relay.open, scope))), (exit) =>
            this.opened(exit, scope, failuresBefore)
          )
        )
      )
    )
  }

  failed(failure: Failure<E>): void {
    const { limits } = this.owner
    const at = { now: this.owner.now(), longestPause: limits.longestPauseMillis, jitter: limits.jitter() }
    this.health = Relays.afterFailure(this.health, failure, at)
  }

  worked(failuresBefore: number, wasAccepted: boolean): void {
    const now = this.owner.now()
    this.health = Relays.afterWork(this.health, failuresBefore, wasAccepted, now, this.relay.maxSessions)
  }

  /** How many other sessions have messages. */
  othersInUse(session?: PooledSession<S, E>): number {
    let others = 0
    for (const other of this.sessions) if (other !== session && other.leases > 0) others += 1
    return others
  }

  /** Has sessions that are open end with the messages that they have: new ones are opened with other options. */
  replaceAll(): void {
    for (const session of this.sessions) session.leave("replaced")
  }

  report(): void {
    const { size } = this.sessions
    // A gauge is a sum over clients, and a closed one has no share in it.
    const limit = this.owner.isClosed && size === 0 ? 0 : this.limit
    this.owner.observer.counted(this.relay, size, this.idle, limit)
  }

  private opened(
    exit: Exit.Exit<OpenedSession<S>, E>,
    scope: Scope.CloseableScope,
    failuresBefore: number
  ): Effect.Effect<void> {
    const { owner } = this
    this.opening -= 1
    if (Exit.isSuccess(exit) && !owner.isClosed) {
      this.admit(exit.value, scope, failuresBefore)
      return Effect.void
    }
    // Its connection counts until it is closed, as that of a session does.
    this.failing += 1
    if (Exit.isFailure(exit) && !owner.isClosed) {
      const { cause } = exit
      this.failed({
        kind: this.relay.failureOf(cause),
        cause,
        failuresBefore,
        others: this.live
      })
      owner.observer.openingFailed(this.relay, cause, this.health.notBefore - owner.now())
      owner.relayFailed(this, cause)
    }
    return Effect.map(Scope.close(scope, Exit.void), () => {
      this.failing -= 1
      owner.changed(this)
    })
  }

  private admit(opened: OpenedSession<S>, scope: Scope.CloseableScope, failuresBefore: number): void {
    const { owner } = this
    const session = new PooledSession(this, owner, opened, scope, failuresBefore, owner.now())
    this.health = Relays.afterOpening(this.health)
    this.live += 1
    this.sessions.add(session)
    owner.observer.opened(this.relay)
    owner.fork(Effect.map(owner.conduct.awaitEnd(opened.session), (reason) => session.retire(reason)))
    owner.changed(this)
  }
}

/** The best of those that the condition holds for; of equals, the first. */
export const pick = <A>(
  items: Iterable<A>,
  holds: (item: A) => boolean,
  isBetter: (one: A, other: A) => boolean
): A | undefined => {
  let best: A | undefined
  for (const item of items) if (holds(item) && (best === undefined || isBetter(item, best))) best = item
  return best
}

// -- among several

/** Why none of the relays has a session, for a message that has waited for one in vain. */
export const obstacles = <S, E>(pools: ReadonlyArray<RelayPool<S, E>>, at: number): string | undefined => {
  if (pools.some(({ sessions }) => sessions.size > 0)) return undefined
  const each = pools.flatMap(({ health, opening, relay: { name, progress } }) => {
    const { awaited } = progress
    if (opening > 0)
      return [`still connecting to ${name}${awaited === undefined ? "" : `, waiting for ${awaited}`}`]
    if (health.lastFailure === undefined || health.notBefore <= at) return []
    return [`${name} is not tried again yet after: ${describeCause(Cause.squash(health.lastFailure))}`]
  })
  return each.length === 0 ? undefined : each.join("; ")
}

export const openingAt = <S, E>(pools: ReadonlyArray<RelayPool<S, E>>): number =>
  pools.reduce((sum, { opening }) => sum + opening, 0)

/** The relay of the best priority where one may be opened; of equal ones, that with the fewest sessions. */
export const lightest = <S, E>(
  pools: ReadonlyArray<RelayPool<S, E>>,
  at: number
): RelayPool<S, E> | undefined =>
  pick(
    pools,
    (pool) => pool.mayOpen(at),
    (one, other) =>
      one.priority < other.priority ||
      (one.priority === other.priority && one.live + one.opening < other.live + other.opening)
  )

/** The session with the fewest users; of idle ones, that of the relay that was used least. */
export const bestOf = <S, E>(
  pools: ReadonlyArray<RelayPool<S, E>>,
  aliveAfter: number,
  at: number
): PooledSession<S, E> | undefined =>
  pools.length === 1
    ? pools[0]?.best(aliveAfter, at)
    : pick(
        pools.flatMap((pool) => pool.best(aliveAfter, at) ?? []),
        () => true,
        (one, other) =>
          one.leases < other.leases ||
          (one.leases + other.leases === 0 && one.pool.leases < other.pool.leases)
      )

/** Why waiting is useless, where it is. */
export const hopeless = <S, E>(
  pools: ReadonlyArray<RelayPool<S, E>>,
  at: number
): Cause.Cause<E> | undefined =>
  pools.every((pool) => pool.isHopeless(at)) ? pools[0]?.health.lastFailure : undefined
