/** A session of a pool: who uses it, how it is given back, and when it is used no more. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { RelayPool } from "./pool.js"
import type { OpenedSession, Relay } from "./relays.js"

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
export type Verdict<E> =
  | {
      readonly _tag: "Clean"
      readonly work: Work
      readonly unwilling?: Unwillingness<E> | undefined
    }
  /** It has to prove itself; `proven` is called when that has ended, whatever the end. */
  | {
      readonly _tag: "Doubtful"
      readonly proven?: (() => void) | undefined
      readonly unwilling?: Unwillingness<E> | undefined
    }
  /** It is of no use any more. */
  | {
      readonly _tag: "Spent"
      readonly reason: Retirement
      readonly work: Work
      readonly unwilling?: Unwillingness<E> | undefined
    }

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
  readonly release: (verdict: Verdict<E>) => void
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
  /** Tells those that wait for this relay and have no other. */
  readonly relayFailed: (pool: RelayPool<S, E>, cause: Cause.Cause<E>) => void
  /** Something has changed that those that wait, or that close the client, may go on by. */
  readonly changed: (pool: RelayPool<S, E>) => void
}

/** Reasons to use a session no more whose connection is still open: others may have messages on it. */
const isOpen: ReadonlySet<Retirement> = new Set(["mailmax", "refused", "replaced"])

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
  hasDelivered = false
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
      (!this.pool.health.isUnwilling || this.pool.mayProbe(at)) &&
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
    const { pool } = this
    const isUsed = this.messages > 0 || !this.isFresh
    const { failures, isUnwilling } = pool.health
    const failuresBefore = isUnwilling ? failures : Math.min(this.failuresBefore, failures)
    this.leases += 1
    this.messages += 1
    pool.leases += 1
    if (isUnwilling) pool.probes += 1
    pool.report()
    let isReleased = false
    return {
      session: this.opened.session,
      relay: pool.relay,
      isUsed,
      isLimited: this.opened.maxMessages !== undefined,
      history: this,
      release: (verdict) => {
        if (isReleased) return
        isReleased = true
        if (isUnwilling) pool.probes -= 1
        this.release(verdict, isUsed, failuresBefore)
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

  private release(verdict: Verdict<E>, isUsed: boolean, failuresBefore: number): void {
    const { owner, pool } = this
    this.leases -= 1
    this.isFresh = true
    switch (verdict._tag) {
      case "Clean":
        this.worked(verdict.work, failuresBefore)
        break
      case "Doubtful":
        this.doubt(verdict.proven ?? (() => undefined))
        break
      case "Spent":
        if (isOpen.has(verdict.reason)) this.leave(verdict.reason)
        else this.retire(verdict.reason)
        if (verdict.work !== "none") this.worked(verdict.work, failuresBefore)
        // A session that fails the first to use it says as much about its relay as one that cannot be opened.
        else if (!isUsed && this.messages <= 1 && verdict.unwilling === undefined)
          pool.failed({ kind: "unwilling", cause: undefined, failuresBefore, others: 0 })
        break
    }
    if (verdict.unwilling !== undefined) this.refused(verdict.unwilling, failuresBefore)
    if (this.phase === "Open" && this.doubts === 0) {
      if (pool.live > pool.health.limit) this.leave("crowded")
      else if (owner.mustMakeWay(pool)) this.leave("displaced")
    }
    this.retireIfLeft()
    owner.changed(pool)
  }

  private refused({ error, mayBeCrowded }: Unwillingness<E>, failuresBefore: number): void {
    const { owner, pool } = this
    const others = mayBeCrowded ? pool.othersInUse(this) : 0
    const cause = Cause.fail(error)
    pool.failed({ kind: "unwilling", cause, failuresBefore, others })
    // The first refusal may be that of one message; a probe spoke for those that wait.
    if (others === 0 && failuresBefore > 0) owner.relayFailed(pool, cause)
  }

  private retireIfLeft(): void {
    if (this.phase === "Leaving" && this.leases + this.doubts === 0) this.retire(this.leavesFor)
  }

  private worked(work: Work, failuresBefore: number): void {
    const wasAccepted = work === "accepted"
    if (wasAccepted) {
      this.hasDelivered = true
      this.pool.relay.habits.hasDelivered = true
    }
    this.pool.worked(failuresBefore, wasAccepted)
    this.aliveAt = ++this.owner.moment
    this.idleSince = this.owner.now()
  }

  private doubt(proven: () => void): void {
    const { owner } = this
    if (this.phase === "Closing") {
      this.onceClosed(proven)
      return
    }
    this.doubts += 1
    const alone = owner.until(() => this.leases === 0)
    const proof = Effect.onExit(
      owner.conduct.prove(this.opened.session, alone, this.pool.relay.slots > 1),
      (exit) => Effect.sync(() => this.tried(proven, Exit.isSuccess(exit) && exit.value))
    )
    owner.fork(Effect.asVoid(proof))
  }

  // Others may still have their outcome from one that is unfit: it ends when the last of them has gone, or by itself.
  private tried(proven: () => void, isFit: boolean): void {
    this.doubts -= 1
    this.isFresh = true
    if (isFit) {
      proven()
      this.worked("answered", this.failuresBefore)
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
