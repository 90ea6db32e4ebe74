/**
 * The sessions of one relay: opens them, leases them, and retires what is old, idle, used up, in doubt or lost. It
 * decides neither when to open one nor who gets it: see queue.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Candidate, OpenedSession, Relay, RelayHealth } from "./relays.js"
import * as Relays from "./relays.js"

/**
 * Why a session is used no more.
 *
 * - `messages`: it has carried as many as the client allows; `mailmax`: as many as the server allows
 * - `age`, `idle`: it was open, or idle, for as long as the client allows
 * - `goodbye`: the server said 421; `lost`: the connection ended; `failed`: it failed its user
 * - `interrupted`: its user was interrupted, and it did not prove clean
 * - `displaced`: another relay needed its place
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
  | "closed"

/** What the user of a lease makes of the session. */
export type Verdict =
  | { readonly _tag: "Clean" }
  /** It has to prove itself; `proven` is called when that has ended, whatever the end. */
  | { readonly _tag: "Doubtful"; readonly proven?: (() => void) | undefined }
  /** It is of no use any more; `didWork` says whether it was of any to this user. */
  | { readonly _tag: "Spent"; readonly reason: Retirement; readonly didWork: boolean }

export interface Lease<S, E> {
  readonly session: S
  readonly relay: Relay<S, E>
  /** Whether it was open before the message asked: it may have died since. */
  readonly isUsed: boolean
  /** Whether the server limits the messages of a session. */
  readonly isLimited: boolean
  /** Only the first call counts. */
  readonly release: (verdict: Verdict) => void
}

/** The options that bound the sessions of a client. */
export interface Bounds {
  readonly maxSessions: number
  readonly maxWaiting: number
  readonly maxMessages: number
  readonly maxAgeMillis: number
  readonly idleMillis: number
  readonly longestPauseMillis: number
}

/** What the pool has to know of sessions. */
export interface SessionConduct<S> {
  /** Ends when the session has. */
  readonly awaitEnd: (session: S) => Effect.Effect<Retirement>
  /**
   * Whether the session is fit for the next user, within a limit of its own that begins when `alone` ends: until then
   * others use the session too, and may take their time.
   */
  readonly prove: (session: S, alone: Effect.Effect<void>) => Effect.Effect<boolean>
}

/** Called synchronously when something happens. */
export interface PoolObserver<S, E> {
  readonly opened: (relay: Relay<S, E>) => void
  readonly openingFailed: (relay: Relay<S, E>, cause: Cause.Cause<E>, pauseMillis: number) => void
  readonly retired: (relay: Relay<S, E>, reason: Retirement) => void
  readonly counted: (relay: Relay<S, E>, open: number, idle: number) => void
  /** A message that waited has a session. */
  readonly waited: (millis: number) => void
  /** How many messages wait. */
  readonly waiting: (count: number) => void
}

/** What the pools of a client share. */
export interface PoolOwner<S, E> {
  readonly limits: Bounds
  readonly conduct: SessionConduct<S>
  readonly observer: PoolObserver<S, E>
  readonly isClosed: boolean
  /** Counts the events at which a session was known to live. */
  moment: number
  readonly now: () => number
  /** Runs until its end, or that of the client. */
  readonly fork: (effect: Effect.Effect<void>) => unknown
  /** Completes once the condition holds; it is looked at after every change. */
  readonly until: (holds: () => boolean) => Effect.Effect<void>
  /** Whether a session of the pool that is given back has to be closed for another relay. */
  readonly mustMakeWay: (pool: RelayPool<S, E>) => boolean
  readonly openingFailed: (pool: RelayPool<S, E>, cause: Cause.Cause<E>) => void
  /** Something has changed that those that wait, or that close the client, may go on by. */
  readonly changed: (pool: RelayPool<S, E>) => void
}

export class PooledSession<S, E> {
  /** A leaving session is leased to nobody, and closed when its last user has gone. */
  phase: "Open" | "Leaving" | "Closing" = "Open"
  leases = 0
  /** How many users have left it in doubt: it is leased to nobody before it is proven. */
  doubts = 0
  /** The moment at which it was last known to live. */
  aliveAt: number
  /** Whether waiting messages have yet to be offered it, since it was opened or given back. */
  isFresh = true
  private messages = 0
  private idleSince: number
  private leavesFor: Retirement = "displaced"
  private readonly afterClosing: Array<() => void> = []

  constructor(
    readonly pool: RelayPool<S, E>,
    private readonly owner: PoolOwner<S, E>,
    private readonly opened: OpenedSession<S>,
    private readonly scope: Scope.CloseableScope,
    /** How often its relay had failed when it began to be opened. */
    private readonly failuresBefore: number,
    private readonly openedAt: number
  ) {
    this.idleSince = openedAt
    this.aliveAt = ++owner.moment
  }

  isIdle(): boolean {
    return this.leases === 0 && this.doubts === 0 && this.phase === "Open"
  }

  /** Whether it takes another message. What was opened may do its work, however short its life is to be. */
  isLeasable(aliveAfter: number, at: number): boolean {
    return (
      this.phase === "Open" &&
      this.doubts === 0 &&
      this.leases < this.pool.relay.slots &&
      this.aliveAt > aliveAfter &&
      (this.messages === 0 || this.reasonToEnd(at) === undefined)
    )
  }

  /** When it is to be retired, if it stays idle. */
  dueAt(): number {
    const { idleMillis, maxAgeMillis } = this.owner.limits
    return Math.min(this.idleSince + idleMillis, this.openedAt + maxAgeMillis)
  }

  /** Retires it if it is idle, and nobody is to use it any more: a fresh one may do its first work however late it is. */
  retireIfDue(at: number): void {
    if (!this.isIdle()) return
    const { isClosed, limits } = this.owner
    const isUnused = this.isFresh && this.messages === 0
    const isIdleForLong = !this.isFresh && at >= this.idleSince + limits.idleMillis
    const due = (isUnused ? undefined : this.reasonToEnd(at)) ?? (isIdleForLong ? "idle" : undefined)
    const reason = isClosed ? "closed" : due
    if (reason !== undefined) this.retire(reason)
  }

  lease(): Lease<S, E> {
    const isUsed = this.messages > 0 || !this.isFresh
    this.leases += 1
    this.messages += 1
    this.pool.leases += 1
    this.pool.report()
    let isReleased = false
    return {
      session: this.opened.session,
      relay: this.pool.relay,
      isUsed,
      isLimited: this.opened.maxMessages !== undefined,
      release: (verdict) => {
        if (isReleased) return
        isReleased = true
        this.release(verdict, isUsed)
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
    this.owner.observer.retired(this.pool.relay, reason)
    this.owner.fork(
      Effect.zipRight(
        Scope.close(this.scope, Exit.void),
        Effect.sync(() => this.closed())
      )
    )
  }

  private reasonToEnd(at: number): Retirement | undefined {
    const { maxAgeMillis, maxMessages } = this.owner.limits
    if (this.messages >= (this.opened.maxMessages ?? Infinity)) return "mailmax"
    if (this.messages >= maxMessages) return "messages"
    return at >= this.openedAt + maxAgeMillis ? "age" : undefined
  }

  private release(verdict: Verdict, isUsed: boolean): void {
    this.leases -= 1
    this.isFresh = true
    switch (verdict._tag) {
      case "Clean":
        this.worked()
        break
      case "Doubtful":
        this.doubt(verdict.proven ?? (() => undefined))
        break
      case "Spent":
        this.spend(verdict.reason, verdict.didWork, isUsed)
        break
    }
    if (this.phase === "Open" && this.doubts === 0 && this.owner.mustMakeWay(this.pool))
      this.leave("displaced")
    this.retireIfLeft()
    this.owner.changed(this.pool)
  }

  private retireIfLeft(): void {
    if (this.phase === "Leaving" && this.leases + this.doubts === 0) this.retire(this.leavesFor)
  }

  private worked(): void {
    this.pool.health = Relays.afterWork(this.pool.health, this.failuresBefore)
    this.aliveAt = ++this.owner.moment
    this.idleSince = this.owner.now()
  }

  // A session that fails the first to use it says as much about its relay as one that cannot be opened.
  private spend(reason: Retirement, didWork: boolean, isUsed: boolean): void {
    const { failuresBefore, pool } = this
    this.retire(reason)
    if (didWork) pool.health = Relays.afterWork(pool.health, failuresBefore)
    else if (!isUsed && this.messages <= 1) pool.failed(failuresBefore, undefined)
  }

  private doubt(proven: () => void): void {
    const { owner } = this
    if (this.phase === "Closing") {
      this.onceClosed(proven)
      return
    }
    this.doubts += 1
    const alone = owner.until(() => this.leases === 0)
    const proof = Effect.onExit(owner.conduct.prove(this.opened.session, alone), (exit) =>
      Effect.sync(() => this.tried(proven, Exit.isSuccess(exit) && exit.value))
    )
    owner.fork(Effect.asVoid(proof))
  }

  // Others may still have their outcome from one that is unfit: it ends when the last of them has gone, or by itself.
  private tried(proven: () => void, isFit: boolean): void {
    this.doubts -= 1
    this.isFresh = true
    if (isFit) {
      proven()
      this.worked()
    } else {
      this.onceClosed(proven)
      this.leave("interrupted")
    }
    this.retireIfLeft()
    this.owner.changed(this.pool)
  }

  // It counts as open until here: the server may be counting too.
  private closed(): void {
    this.pool.sessions.delete(this)
    for (const hear of this.afterClosing) hear()
    this.owner.changed(this.pool)
  }

  private onceClosed(hear: () => void): void {
    if (this.pool.sessions.has(this)) this.afterClosing.push(hear)
    else hear()
  }
}

export class RelayPool<S, E> implements Candidate {
  readonly sessions = new Set<PooledSession<S, E>>()
  readonly priority: number
  health: RelayHealth<E> = Relays.healthy
  /** Sessions that are not being closed. */
  live = 0
  opening = 0
  /** Openings that have failed, and whose connections are being closed. */
  failing = 0
  /** How many leases were given: equal relays share them. */
  leases = 0

  constructor(
    readonly relay: Relay<S, E>,
    private readonly owner: PoolOwner<S, E>
  ) {
    this.priority = relay.priority
  }

  get isTrusted(): boolean {
    return this.live > 0 || this.health.failures === 0
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

  /** How many places it is about to give back. */
  get leaving(): number {
    let leaving = this.failing
    for (const { phase } of this.sessions) if (phase !== "Open") leaving += 1
    return leaving
  }

  /** Whether another session may be opened: one at a time where the last attempt has failed. */
  mayOpen(at: number): boolean {
    return (
      at >= this.health.notBefore &&
      this.places < this.relay.maxSessions &&
      (this.isTrusted || this.opening === 0)
    )
  }

  /** Whether it may be opened, and has nothing yet. */
  isVacant(at: number): boolean {
    return this.live + this.opening === 0 && this.mayOpen(at)
  }

  /** Whether it is useless to wait: nothing but a change of the options can help. */
  isHopeless(at: number): boolean {
    const { isPermanent, notBefore } = this.health
    return isPermanent && notBefore > at && this.opening === 0 && !this.isTrusted
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

  failed(failuresBefore: number, cause: Cause.Cause<E> | undefined): void {
    const { owner } = this
    const isPermanent = cause !== undefined && this.relay.isPermanent(cause)
    this.health = Relays.afterFailure(
      this.health,
      failuresBefore,
      cause,
      isPermanent,
      owner.now(),
      owner.limits.longestPauseMillis
    )
  }

  report(): void {
    this.owner.observer.counted(this.relay, this.sessions.size, this.idle)
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
      this.failed(failuresBefore, exit.cause)
      owner.observer.openingFailed(this.relay, exit.cause, this.health.notBefore - owner.now())
      owner.openingFailed(this, exit.cause)
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
