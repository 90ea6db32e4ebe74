/**
 * The sessions of one relay: opens, leases, proves and retires them. When to open one is decided by relays, and who gets
 * it by queue.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Wakeup from "../effect/wakeup.js"
import type { Failure, OpenedSession, Relay, RelayHealth, RelayState } from "./relays.js"
import * as Relays from "./relays.js"

/**
 * Why a session is used no more.
 *
 * - `messages`: it has carried as many as the client allows; `mailmax`: as many as the server allows
 * - `age`, `idle`: it was open, or idle, for as long as the client allows
 * - `goodbye`: the server said 421; `lost`: the connection ended; `failed`: it failed its user
 * - `interrupted`: its user was interrupted, and it did not prove clean
 * - `displaced`: another relay needed its place
 * - `crowded`: the server takes fewer sessions
 * - `refused`: the server takes no more messages on this session
 * - `replaced`: sessions at its relay are opened with other options by now
 * - `closed`: the client was closed
 */
export type Retirement =
  | "messages"
  | "mailmax"
  | "age"
  | "idle"
  | "goodbye"
  | "lost"
  | "failed"
  | "interrupted"
  | "displaced"
  | "crowded"
  | "refused"
  | "replaced"
  | "closed"

/** What the relay did for the user of a lease: it accepted the message, answered otherwise, or failed. */
export type Work = "accepted" | "answered" | "none"

/** The relay takes no messages for now. */
export interface Unwillingness<E> {
  readonly error: E
  /** Whether that may be because other sessions are in use. */
  readonly mayBeCrowded: boolean
}

/** What the user of a lease makes of the session. */
export type LeaseEnd<E> = (
  | { readonly _tag: "Clean"; readonly work: Work }
  /** It has to prove itself; `proven` is called when that has ended, whatever the end. */
  | { readonly _tag: "Doubtful"; readonly proven?: (() => void) | undefined }
  /** It is of no use any more. */
  | { readonly _tag: "Spent"; readonly reason: Retirement; readonly work: Work }
) & { readonly unwilling?: Unwillingness<E> | undefined }

export interface Lease<S, E> {
  readonly session: S
  readonly relay: Relay<S, E>
  /** Whether it was open before the message asked: it may have died since. */
  readonly isUsed: boolean
  /** Whether the server limits the messages of a session. */
  readonly isLimited: boolean
  /** What is known of it by now. */
  readonly history: {
    /** Whether a message was accepted on it. */
    readonly hasDelivered: boolean
  }
  /** Only the first call counts. */
  readonly release: (end: LeaseEnd<E>) => void
}

/** The options that bound the sessions of a client. */
export interface Bounds {
  readonly maxSessions: number
  readonly maxWaiting: number
  readonly maxMessages: number
  readonly maxAgeMillis: number
  readonly idleMillis: number
  readonly longestPauseMillis: number
  /** A factor of about 1 for the next pause, so that clients do not come back together. */
  readonly jitter: () => number
}

/** What the pool has to know of sessions. */
export interface SessionConduct<S> {
  /** Ends when the session has. */
  readonly awaitEnd: (session: S) => Effect.Effect<Retirement>
  /**
   * Whether the session is fit for the next user, within a limit of its own that begins when `alone` ends: until then
   * others use the session too, and may take their time.
   */
  readonly prove: (session: S, alone: Effect.Effect<void>, isShared: boolean) => Effect.Effect<boolean>
}

/** Called synchronously when something happens. */
export interface PoolObserver<S, E> {
  readonly opened: (relay: Relay<S, E>) => void
  readonly openingFailed: (relay: Relay<S, E>, cause: Cause.Cause<E>, pauseMillis: number) => void
  readonly retired: (relay: Relay<S, E>, reason: Retirement) => void
  readonly counted: (relay: Relay<S, E>, open: number, idle: number, limit: number) => void
  /** A message that waited has a session. */
  readonly waited: (millis: number) => void
  /** How many messages wait. */
  readonly waiting: (count: number) => void
}

/** What the pools of a client share. */
export interface Shared<S, E> {
  readonly limits: Bounds
  readonly conduct: SessionConduct<S>
  readonly observer: PoolObserver<S, E>
  /** Woken after every change. */
  readonly changes: Wakeup.Wakeup
  readonly isClosed: boolean
  /** The number of the last event at which a session was known to live. */
  moment: number
  readonly now: () => number
  /** Runs until its end, or that of the client. */
  readonly fork: (effect: Effect.Effect<void>) => unknown
  /** Lets waiting messages look again. `returned` was given back; `failure` is why the relay serves no message for now. */
  readonly changed: (pool: RelayPool<S, E>, returned?: PooledSession<S, E>, failure?: Cause.Cause<E>) => void
}

/** Reasons to use a session no more whose connection is still open: others may have messages on it. */
const isOpen: ReadonlySet<Retirement> = new Set(["mailmax", "refused", "replaced"])

export class PooledSession<S, E> {
  /** A leaving session is not leased, and closed when its last user has gone. */
  phase: "Open" | "Leaving" | "Closing" = "Open"
  leases = 0
  /** How many proofs are under way: it is not leased before they have ended. */
  unproven = 0
  /** The moment at which it was last known to live. */
  aliveAt: number
  /** Whether waiting messages have yet to be offered it, since it was opened or given back. */
  isFresh = true
  private messages = 0
  hasDelivered = false
  private idleSince: number
  private leavesFor: Retirement = "displaced"
  private readonly afterClosing: Array<() => void> = []

  constructor(
    readonly pool: RelayPool<S, E>,
    private readonly shared: Shared<S, E>,
    private readonly opened: OpenedSession<S>,
    private readonly scope: Scope.CloseableScope,
    /** How often its relay had failed when it began to be opened. */
    private readonly failuresBefore: number,
    private readonly openedAt: number
  ) {
    this.idleSince = openedAt
    this.aliveAt = ++shared.moment
  }

  isIdle(): boolean {
    return this.leases === 0 && this.unproven === 0 && this.phase === "Open"
  }

  /** Whether it takes another message. What was opened may do its work, however short its life is to be. */
  isLeasable(aliveAfter: number, at: number): boolean {
    return (
      this.phase === "Open" &&
      this.unproven === 0 &&
      this.leases < this.pool.relay.slots &&
      (!this.pool.health.isUnwilling || Relays.mayTry(this.pool, at)) &&
      this.aliveAt > aliveAfter &&
      (this.messages === 0 || this.reasonToEnd(at) === undefined)
    )
  }

  /** Fewer users go first; of idle ones that of the relay that was used least, and then the one that was used last. */
  isBetterThan(other: PooledSession<S, E>): boolean {
    if (this.leases !== other.leases) return this.leases < other.leases
    const uses = this.leases > 0 ? 0 : this.pool.leases - other.pool.leases
    return uses < 0 || (uses === 0 && this.aliveAt > other.aliveAt)
  }

  /**
   * Retires it if it is idle for too long, or has done enough: a fresh one may do its first work however late it is. If it
   * stays idle, returns when it is due.
   */
  retireIfDue(at: number): number | undefined {
    if (!this.isIdle()) return undefined
    const { isClosed, limits } = this.shared
    const idleUntil = this.idleSince + limits.idleMillis
    const isUnused = this.isFresh && this.messages === 0
    const due =
      (isUnused ? undefined : this.reasonToEnd(at)) ?? (this.isFresh || at < idleUntil ? undefined : "idle")
    const reason = isClosed ? "closed" : due
    if (reason === undefined) return Math.min(idleUntil, this.openedAt + limits.maxAgeMillis)
    this.retire(reason)
    return undefined
  }

  lease(): Lease<S, E> {
    const { pool } = this
    const isUsed = this.messages > 0 || !this.isFresh
    const { failures, isUnwilling } = pool.health
    const failuresBefore = isUnwilling ? failures : Math.min(this.failuresBefore, failures)
    this.leases += 1
    this.messages += 1
    pool.leases += 1
    if (isUnwilling) pool.probes += 1
    let isReleased = false
    return {
      session: this.opened.session,
      relay: pool.relay,
      isUsed,
      isLimited: this.opened.maxMessages !== undefined,
      history: this,
      release: (end) => {
        if (isReleased) return
        isReleased = true
        if (isUnwilling) pool.probes -= 1
        this.release(end, isUsed, failuresBefore)
      }
    }
  }

  /** Closes it once its users have gone, which is now where it has none. */
  leave(reason: Retirement): void {
    if (this.phase !== "Open") return
    this.phase = "Leaving"
    this.leavesFor = reason
    this.retireIfLeft()
  }

  retire(reason: Retirement): void {
    if (this.phase === "Closing") return
    this.phase = "Closing"
    this.pool.live -= 1
    this.shared.observer.retired(this.pool.relay, reason)
    this.shared.fork(
      Effect.zipRight(
        Scope.close(this.scope, Exit.void),
        Effect.sync(() => this.closed())
      )
    )
  }

  private reasonToEnd(at: number): Retirement | undefined {
    const { maxAgeMillis, maxMessages } = this.shared.limits
    if (this.messages >= (this.opened.maxMessages ?? Infinity)) return "mailmax"
    if (this.messages >= maxMessages) return "messages"
    return at >= this.openedAt + maxAgeMillis ? "age" : undefined
  }

  private release(end: LeaseEnd<E>, isUsed: boolean, failuresBefore: number): void {
    const { pool, shared } = this
    const { unwilling } = end
    this.leases -= 1
    this.isFresh = true
    if (end._tag === "Doubtful") this.prove(end.proven ?? (() => undefined))
    else {
      if (end._tag === "Spent") {
        if (isOpen.has(end.reason)) this.leave(end.reason)
        else this.retire(end.reason)
      }
      if (end._tag === "Clean" || end.work !== "none") this.worked(end.work, failuresBefore)
      // A session that fails the first to use it says as much about its relay as one that cannot be opened.
      else if (!isUsed && this.messages <= 1 && unwilling === undefined)
        pool.failed({ kind: "unwilling", cause: undefined, failuresBefore, others: 0 })
    }
    const failure = unwilling === undefined ? undefined : this.refused(unwilling, failuresBefore)
    if (this.unproven === 0 && pool.live > pool.health.limit) this.leave("crowded")
    this.retireIfLeft()
    shared.changed(pool, this, failure)
  }

  /** Returns the failure for those that wait. The first refusal may be that of one message; a probe spoke for them. */
  private refused(
    { error, mayBeCrowded }: Unwillingness<E>,
    failuresBefore: number
  ): Cause.Cause<E> | undefined {
    let others = 0
    if (mayBeCrowded)
      for (const other of this.pool.sessions) if (other !== this && other.leases > 0) others += 1
    const cause = Cause.fail(error)
    this.pool.failed({ kind: "unwilling", cause, failuresBefore, others })
    return others === 0 && failuresBefore > 0 ? cause : undefined
  }

  private retireIfLeft(): void {
    if (this.phase === "Leaving" && this.leases + this.unproven === 0) this.retire(this.leavesFor)
  }

  private worked(work: Work, failuresBefore: number): void {
    const wasAccepted = work === "accepted"
    if (wasAccepted) {
      this.hasDelivered = true
      this.pool.relay.habits.hasDelivered = true
    }
    const { pool, shared } = this
    this.aliveAt = ++shared.moment
    this.idleSince = shared.now()
    pool.health = Relays.afterWork(
      pool.health,
      failuresBefore,
      wasAccepted,
      this.idleSince,
      pool.relay.maxSessions
    )
  }

  private prove(proven: () => void): void {
    const { shared } = this
    if (this.phase === "Closing") {
      this.onceClosed(proven)
      return
    }
    this.unproven += 1
    const alone = Wakeup.until(shared.changes, () => (this.leases === 0 ? Effect.void : undefined))
    const proof = Effect.onExit(
      shared.conduct.prove(this.opened.session, alone, this.pool.relay.slots > 1),
      (exit) => Effect.sync(() => this.proved(proven, Exit.isSuccess(exit) && exit.value))
    )
    shared.fork(Effect.asVoid(proof))
  }

  // Others may still have their outcome from one that is unfit: it ends when the last of them has gone, or by itself.
  private proved(proven: () => void, isFit: boolean): void {
    this.unproven -= 1
    this.isFresh = true
    if (isFit) {
      proven()
      this.worked("answered", this.failuresBefore)
    } else {
      this.onceClosed(proven)
      this.leave("interrupted")
    }
    this.retireIfLeft()
    this.shared.changed(this.pool)
  }

  // It counts as open until here: the server may be counting too.
  private closed(): void {
    this.pool.sessions.delete(this)
    for (const hear of this.afterClosing) hear()
    this.shared.changed(this.pool)
  }

  private onceClosed(hear: () => void): void {
    if (this.pool.sessions.has(this)) this.afterClosing.push(hear)
    else hear()
  }
}

export class RelayPool<S, E> implements RelayState<E> {
  readonly sessions = new Set<PooledSession<S, E>>()
  health: RelayHealth<E>
  live = 0
  opening = 0
  /** Openings that have failed, and whose connections are being closed. */
  failing = 0
  /** How many leases were given: equal relays share them. */
  leases = 0
  probes = 0
  probedAt = -Infinity

  constructor(
    readonly relay: Relay<S, E>,
    private readonly shared: Shared<S, E>
  ) {
    this.health = Relays.healthy(relay.maxSessions)
  }

  get places(): number {
    return this.sessions.size + this.opening + this.failing
  }

  /** How many sessions it may have at present, as far as other relays leave it room. */
  get limit(): number {
    return Math.min(this.health.limit, this.shared.limits.maxSessions)
  }

  /** How many places it is about to give back. */
  get leaving(): number {
    let leaving = this.failing
    for (const { phase } of this.sessions) if (phase !== "Open") leaving += 1
    return leaving
  }

  /** Opens a session; that goes on when the message it was for has gone. */
  open(): void {
    const failuresBefore = this.health.failures
    this.opening += 1
    this.shared.fork(
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
    const { limits } = this.shared
    const at = { now: this.shared.now(), longestPause: limits.longestPauseMillis, jitter: limits.jitter() }
    this.health = Relays.afterFailure(this.health, failure, at)
  }

  /** Has sessions that are open end with the messages that they have: new ones are opened with other options. */
  replaceAll(): void {
    for (const session of this.sessions) session.leave("replaced")
  }

  report(idle: number): void {
    const { size } = this.sessions
    // A gauge is a sum over clients, and a closed one has no share in it.
    const limit = this.shared.isClosed && size === 0 ? 0 : this.limit
    this.shared.observer.counted(this.relay, size, idle, limit)
  }

  private opened(
    exit: Exit.Exit<OpenedSession<S>, E>,
    scope: Scope.CloseableScope,
    failuresBefore: number
  ): Effect.Effect<void> {
    const { shared } = this
    this.opening -= 1
    if (Exit.isSuccess(exit) && !shared.isClosed) {
      this.admit(exit.value, scope, failuresBefore)
      return Effect.void
    }
    // Its connection counts until it is closed, as that of a session does.
    this.failing += 1
    if (Exit.isFailure(exit) && !shared.isClosed) {
      const { cause } = exit
      this.failed({
        kind: this.relay.failureOf(cause),
        cause,
        failuresBefore,
        others: this.live
      })
      shared.observer.openingFailed(this.relay, cause, this.health.notBefore - shared.now())
      shared.changed(this, undefined, cause)
    }
    return Effect.map(Scope.close(scope, Exit.void), () => {
      this.failing -= 1
      shared.changed(this)
    })
  }

  private admit(opened: OpenedSession<S>, scope: Scope.CloseableScope, failuresBefore: number): void {
    const { shared } = this
    const session = new PooledSession(this, shared, opened, scope, failuresBefore, shared.now())
    this.health = Relays.afterOpening(this.health)
    this.live += 1
    this.sessions.add(session)
    shared.observer.opened(this.relay)
    shared.fork(Effect.map(shared.conduct.awaitEnd(opened.session), (reason) => session.retire(reason)))
    shared.changed(this)
  }
}
