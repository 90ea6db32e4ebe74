/**
 * Messages that wait for a session, in the order of asking, and the bound that the sessions of all relays share. Each
 * message gets the best session of the relays that are preferred for it (see relays), or one is opened there.
 *
 * If every place is taken, an idle session that the message cannot use is displaced at once. Otherwise the next session
 * that is given back is: first for a better relay that may have recovered, then for the message that waited longest.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { State } from "../../SmtpClient.js"
import { ClientUnavailable } from "../../SmtpError.js"
import * as Elapsed from "../effect/elapsed.js"
import type { AnyFiber, Fork } from "../effect/runtime.js"
import { interrupt, makeFork } from "../effect/runtime.js"
import { forkScope } from "../effect/scope.js"
import * as Wakeup from "../effect/wakeup.js"
import type { Bounds, Lease, PooledSession, PoolObserver, SessionConduct, Shared } from "./pool.js"
import { RelayPool } from "./pool.js"
import type { Relay } from "./relays.js"
import * as Relays from "./relays.js"

export interface LeaseRequest<S, E> {
  /** Relays that the message has been to. */
  readonly except: ReadonlySet<Relay<S, E>>
  /** Only sessions that have shown life after this moment: the message has just met one that had died while idle. */
  readonly aliveAfter: number | undefined
}

/** A lease; or what kept every acceptable relay from opening a session, or ClientUnavailable. */
export type Answer<S, E> = Exit.Exit<Lease<S, E>, E | ClientUnavailable>

/** `pauseMillis`: how long a relay pauses that has failed, if it may recover by itself. */
export type OnAnswer<S, E> = (answer: Answer<S, E>, pauseMillis?: number) => void

interface Waiter<S, E> {
  readonly line: WaitingLine<S, E>
  /** Place in the order of asking, over all lines. */
  readonly order: number
  readonly since: number
  /** Absent once it was called, or the waiter has withdrawn. */
  onAnswer: OnAnswer<S, E> | undefined
  timer: AnyFiber | undefined
}

/** Messages that accept the same sessions, in the order of asking: what the first cannot have, none behind it can. */
interface WaitingLine<S, E> {
  readonly key: string
  readonly pools: ReadonlyArray<RelayPool<S, E>>
  readonly aliveAfter: number
  readonly waiters: Set<Waiter<S, E>>
  /** The next to be served, and those behind it. */
  head: Waiter<S, E> | undefined
  rest: Iterator<Waiter<S, E>, undefined>
  /** How many before that have no session that is open. */
  stuck: number
}

/** Lives as long as the scope; what it runs, it runs as its maker would. */
export const make = <S, E>(
  relays: ReadonlyArray<Relay<S, E>>,
  bounds: Bounds,
  conduct: SessionConduct<S>,
  observer: PoolObserver<S, E>
): Effect.Effect<SessionQueue<S, E>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const work = yield* forkScope(yield* Effect.scope, "parallel")
    return new SessionQueue(relays, bounds, conduct, observer, yield* Effect.clock, yield* makeFork(), work)
  })

const unavailable = (reason: ClientUnavailable["reason"], detail?: string): Cause.Cause<ClientUnavailable> =>
  Cause.fail(new ClientUnavailable(detail === undefined ? { reason } : { reason, detail }))

export class SessionQueue<S, E> implements Shared<S, E> {
  isClosed = false
  moment = 0
  readonly changes = Wakeup.make()
  private readonly pools: ReadonlyArray<RelayPool<S, E>>
  private readonly lines = new Map<string, WaitingLine<S, E>>()
  private readonly closing = Wakeup.make()
  private alarm: { readonly at: number; readonly fiber: AnyFiber } | undefined
  private waiting = 0
  private waitingReported = 0
  /** Messages for which the queue may be too long. */
  private readonly newcomers: Array<Waiter<S, E>> = []
  private asked = 0
  private calls = 0
  private hasEnded = false
  /** Where the next session that is given back is displaced. */
  private displacing:
    { readonly pools: ReadonlyArray<RelayPool<S, E>>; readonly toBetter: boolean } | undefined
  /** Whether one was displaced for a better relay, which is then tried even if no message waits. */
  private isProbeDue = false

  constructor(
    relays: ReadonlyArray<Relay<S, E>>,
    readonly limits: Bounds,
    readonly conduct: SessionConduct<S>,
    readonly observer: PoolObserver<S, E>,
    private readonly clock: Clock.Clock,
    private readonly run: Fork,
    private readonly work: Scope.CloseableScope
  ) {
    this.pools = relays.map((relay) => new RelayPool(relay, this))
  }

  now(): number {
    return Elapsed.millis(this.clock)
  }

  fork(effect: Effect.Effect<void>): AnyFiber {
    return this.run(effect, { scope: this.work, immediate: false })
  }

  /**
   * Asks for a lease within the limit, which may be infinite. Calls `onAnswer` with the answer once, before it returns if
   * possible. The function returned withdraws: `onAnswer` is not called any more.
   */
  ask(request: LeaseRequest<S, E>, limitMillis: number, onAnswer: OnAnswer<S, E>): () => void {
    const line = this.lineOf(request)
    const since = this.now()
    const refusal: Cause.Cause<E | ClientUnavailable> | undefined = this.isClosed
      ? unavailable("Closed")
      : Relays.finalFailure(line.pools, since)
    if (refusal !== undefined) {
      onAnswer(Exit.failCause(refusal))
      return () => undefined
    }
    const waiter: Waiter<S, E> = { line, order: ++this.asked, since, onAnswer, timer: undefined }
    line.waiters.add(waiter)
    this.newcomers.push(waiter)
    this.lines.set(line.key, line)
    this.waiting += 1
    this.serve()
    if (limitMillis < Infinity && waiter.onAnswer !== undefined) {
      const expire = Effect.sync(() => {
        this.refuse(waiter, unavailable("Timeout", Relays.whyUnavailable(line.pools, this.now())))
        this.serve()
      })
      waiter.timer = this.fork(Effect.delay(expire, limitMillis))
    }
    return () => {
      // The next in line may accept what this one did not.
      if (this.dequeue(waiter) !== undefined) this.serve()
    }
  }

  state(): State {
    const now = this.now()
    const relays = this.pools.map((pool) => ({
      name: pool.relay.name,
      priority: pool.relay.priority,
      isTrusted: Relays.isTrusted(pool, now),
      open: pool.sessions.size,
      idle: sessionsOf([pool]).filter((session) => session.isIdle()).length,
      opening: pool.opening + pool.failing,
      limit: pool.limit
    }))
    const sum = (of: "open" | "idle" | "opening"): number =>
      relays.reduce((total, relay) => total + relay[of], 0)
    return {
      isClosed: this.isClosed,
      open: sum("open"),
      idle: sum("idle"),
      opening: sum("opening"),
      waiting: this.waiting,
      relays
    }
  }

  /** Completes when the client begins to close. */
  get awaitClosing(): Effect.Effect<void> {
    return Wakeup.until(this.closing, () => (this.isClosed ? Effect.void : undefined))
  }

  /**
   * Refuses those that wait and those that come, lets leases end within the limit, then closes every session. A second
   * call waits for the same end.
   */
  close(limitMillis: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.isClosed) return this.until(() => this.hasEnded)
      this.isClosed = true
      this.closing.wake()
      for (const line of this.lines.values()) this.refuseAll(line, unavailable("Closed"))
      this.serve()
      const atRest = this.until(() =>
        sessionsOf(this.pools).every(({ unproven, leases }) => unproven + leases === 0)
      )
      const closed = Effect.suspend(() => {
        for (const session of sessionsOf(this.pools)) session.retire("closed")
        return this.until(() => sessionsOf(this.pools).length === 0)
      })
      const ended = Effect.sync(() => {
        this.hasEnded = true
        this.changes.wake()
      })
      // A finalizer is uninterruptible, and a limit inside it does nothing without `interruptible`.
      const drained = Effect.timeoutOption(Effect.interruptible(atRest), limitMillis)
      const all = Effect.all([drained, closed, Scope.close(this.work, Exit.void), ended], { discard: true })
      return Effect.uninterruptible(all)
    })
  }

  changed(pool: RelayPool<S, E>, returned?: PooledSession<S, E>, failure?: Cause.Cause<E>): void {
    const { displacing } = this
    if (displacing !== undefined && !this.isClosed && returned?.phase === "Open" && returned.unproven === 0) {
      if (displacing.pools.includes(pool)) {
        this.isProbeDue ||= displacing.toBetter
        this.displacing = undefined
        returned.leave("displaced")
      }
    }
    this.changes.wake()
    if (failure !== undefined) this.refuseThoseWithout(pool, failure)
    this.serve()
  }

  /** Sessions that are open at the relay take no further messages. */
  replaceSessions(relay: Relay<S, E>): void {
    for (const pool of this.pools) if (pool.relay === relay) pool.replaceAll()
    this.serve()
  }

  // -- waiting

  private until(holds: () => boolean): Effect.Effect<void> {
    return Wakeup.until(this.changes, () => (holds() ? Effect.void : undefined))
  }

  private lineOf({ aliveAfter, except }: LeaseRequest<S, E>): WaitingLine<S, E> {
    const isPlain = except.size === 0 && aliveAfter === undefined
    const pools = isPlain ? this.pools : this.pools.filter(({ relay }) => !except.has(relay))
    const key = isPlain ? "" : [aliveAfter, ...pools.map((pool) => this.pools.indexOf(pool))].join()
    const known = this.lines.get(key)
    if (known !== undefined) return known
    const waiters = new Set<Waiter<S, E>>()
    const rest = waiters.values()
    return { key, pools, aliveAfter: aliveAfter ?? -Infinity, waiters, head: undefined, rest, stuck: 0 }
  }

  /** Returns how to answer the waiter, if it still waits. */
  private dequeue(waiter: Waiter<S, E>): Waiter<S, E>["onAnswer"] {
    const { onAnswer, line, timer } = waiter
    if (onAnswer === undefined) return undefined
    waiter.onAnswer = undefined
    line.waiters.delete(waiter)
    if (line.waiters.size === 0 && line.key !== "") this.lines.delete(line.key)
    this.waiting -= 1
    if (timer !== undefined) interrupt(timer)
    return onAnswer
  }

  private refuse(
    waiter: Waiter<S, E>,
    cause: Cause.Cause<E | ClientUnavailable>,
    pauseMillis?: number
  ): void {
    this.dequeue(waiter)?.(Exit.failCause(cause), pauseMillis)
  }

  /** Those that ask again meanwhile are not refused again. */
  private refuseAll(
    line: WaitingLine<S, E>,
    cause: Cause.Cause<E | ClientUnavailable>,
    pauseMillis?: number
  ): void {
    for (const waiter of [...line.waiters]) this.refuse(waiter, cause, pauseMillis)
  }

  /** Refuses messages that may go to this relay, which has failed, and have no other to wait for. */
  private refuseThoseWithout(failed: RelayPool<S, E>, cause: Cause.Cause<E>): void {
    const now = this.now()
    const { isFinal, notBefore } = failed.health
    for (const line of this.lines.values()) {
      const hasHope = line.pools.some((pool) => pool.opening > 0 || Relays.isTrusted(pool, now))
      if (!hasHope && line.pools.includes(failed))
        this.refuseAll(line, cause, isFinal ? undefined : notBefore - now)
    }
  }

  // -- serving

  /** Callbacks that ask or release have it run once more, and not within itself: that keeps the order. */
  private serve(): void {
    this.calls += 1
    if (this.calls > 1) return
    for (let served = 0; served < this.calls;) {
      served = this.calls
      this.serveOnce(this.now())
    }
    this.calls = 0
    for (let last = this.newcomers.pop(); last !== undefined; last = this.newcomers.pop()) {
      // A message that has a session coming is not in the queue of those that wait for others.
      if (this.waiting - Relays.openingAt(this.pools) > this.limits.maxWaiting)
        this.refuse(last, unavailable("QueueFull"))
    }
    if (this.waiting !== this.waitingReported) this.observer.waiting((this.waitingReported = this.waiting))
  }

  /** Serves again at that time, unless it does before. */
  private serveAt(at: number): void {
    if (at === Infinity || (this.alarm !== undefined && this.alarm.at <= at)) return
    if (this.alarm !== undefined) interrupt(this.alarm.fiber)
    const ring = Effect.sync(() => {
      this.alarm = undefined
      this.serve()
    })
    // Whole milliseconds: after a fraction that is lost in between, the alarm would ring too early, forever.
    const pause = Math.max(0, Math.ceil(at - this.now()))
    this.alarm = { at, fiber: this.fork(Effect.delay(ring, pause)) }
  }

  private serveOnce(at: number): void {
    this.displacing = undefined
    if (this.waiting > 0 || this.isProbeDue) {
      for (const { sessions } of this.pools) for (const session of sessions) session.retireIfDue(at)
      if (this.pools.length > 1 && !this.isClosed) this.probe(at)
      this.serveLines(at)
    }
    let dueAt = Infinity
    for (const pool of this.pools) {
      let idle = 0
      for (const session of pool.sessions) {
        session.isFresh = false
        const due = session.retireIfDue(at)
        if (due === undefined) continue
        idle += 1
        dueAt = Math.min(dueAt, due)
      }
      pool.report(idle)
    }
    this.serveAt(dueAt)
  }

  private serveLines(at: number): void {
    for (const line of this.lines.values()) {
      line.stuck = 0
      line.rest = line.waiters.values()
      line.head = line.rest.next().value
    }
    let isFirst = true
    for (let waiter = this.longestWaiting(); waiter !== undefined; waiter = this.longestWaiting()) {
      const { line } = waiter
      const pools = Relays.preferred(line.pools, at)
      const session = line.stuck > 0 ? undefined : bestOf(pools, line.aliveAfter, at)
      line.head = line.rest.next().value
      if (session === undefined) {
        if (this.isComing(line, pools, isFirst, at)) continue
        line.head = undefined
        isFirst = false
      } else {
        // A session is shared at once, and one more is opened if there may be: one at a time.
        if (session.leases > 0 && Relays.openingAt(pools) === 0 && this.room() > 0)
          Relays.whereToOpen(pools, at)?.open()
        this.observer.waited(at - waiter.since)
        this.dequeue(waiter)?.(Exit.succeed(session.lease()))
      }
    }
  }

  private longestWaiting(): Waiter<S, E> | undefined {
    let longest: Waiter<S, E> | undefined
    for (const line of this.lines.values()) {
      while (line.head !== undefined && line.head.onAnswer === undefined) line.head = line.rest.next().value
      const { head } = line
      if (head !== undefined && (longest === undefined || head.order < longest.order)) longest = head
    }
    return longest
  }

  // -- opening

  private room(): number {
    return this.pools.reduce((room, { places }) => room - places, this.limits.maxSessions)
  }

  /** Whether a session is coming for one more of the line: opens one, or closes an idle one for it, if need be. */
  private isComing(
    line: WaitingLine<S, E>,
    pools: ReadonlyArray<RelayPool<S, E>>,
    mayTakeUsed: boolean,
    at: number
  ): boolean {
    line.stuck += 1
    const opening = Relays.openingAt(pools)
    if (line.stuck > 1 && line.stuck <= opening) return true
    const pool = Relays.whereToOpen(pools, at)
    if (pool === undefined) {
      for (const pool of pools) {
        if (pool.health.notBefore > at) this.serveAt(pool.health.notBefore)
        // Idle sessions that may have died.
        else if (line.aliveAfter > -Infinity && Relays.isFull(pool) && pool.leaving === 0)
          this.displaceIdle([pool])
      }
      return line.stuck <= opening
    }
    if (line.stuck <= opening) return true
    if (this.room() > 0) pool.open()
    else if (line.stuck > opening + this.leaving() && !this.displaceIdle(this.pools)) {
      if (mayTakeUsed)
        this.displacing ??= { pools: this.pools.filter((other) => !pools.includes(other)), toBetter: false }
      return false
    }
    return true
  }

  private leaving(): number {
    return this.pools.reduce((sum, { leaving }) => sum + leaving, 0)
  }

  /** Closes the idle session of these pools that was used longest ago. */
  private displaceIdle(pools: ReadonlyArray<RelayPool<S, E>>): boolean {
    let oldest: PooledSession<S, E> | undefined
    for (const { sessions } of pools) {
      for (const session of sessions)
        if (session.isIdle() && (oldest === undefined || session.aliveAt < oldest.aliveAt)) oldest = session
    }
    oldest?.retire("displaced")
    return oldest !== undefined
  }

  /** Opens a session at relays that may have recovered; if there is no room, a session of a worse one is displaced. */
  private probe(at: number): void {
    const isLeaving = this.leaving() > 0
    for (const pool of Relays.toProbe(this.pools, at)) {
      if (this.room() > 0) {
        pool.probedAt = at
        pool.open()
      } else if (!isLeaving && !Relays.isTrusted(pool, at))
        this.displacing ??= {
          pools: this.pools.filter(({ relay }) => relay.priority > pool.relay.priority),
          toBetter: true
        }
    }
    if (!isLeaving) this.isProbeDue = false
  }
}

const sessionsOf = <S, E>(pools: ReadonlyArray<RelayPool<S, E>>): ReadonlyArray<PooledSession<S, E>> =>
  pools.flatMap(({ sessions }) => [...sessions])

const bestOf = <S, E>(
  pools: ReadonlyArray<RelayPool<S, E>>,
  aliveAfter: number,
  at: number
): PooledSession<S, E> | undefined => {
  let best: PooledSession<S, E> | undefined
  for (const pool of pools) {
    for (const session of pool.sessions)
      if (session.isLeasable(aliveAfter, at) && (best === undefined || session.isBetterThan(best)))
        best = session
  }
  return best
}

/** Waits for a lease in a fiber. A session that `use` does not release has to prove itself. */
export const withLease = <S, E, A, E2, R>(
  queue: SessionQueue<S, E>,
  request: LeaseRequest<S, E>,
  limitMillis: number,
  use: (lease: Lease<S, E>) => Effect.Effect<A, E2, R>
): Effect.Effect<A, E | E2 | ClientUnavailable, R> =>
  Effect.suspend(() => {
    let withdraw: () => void = () => undefined
    let lease: Lease<S, E> | undefined
    const leased = Effect.async<Lease<S, E>, E | ClientUnavailable>((resume) => {
      withdraw = queue.ask(request, limitMillis, (answer) => {
        if (Exit.isSuccess(answer)) lease = answer.value
        resume(answer)
      })
    })
    const giveBack = Effect.sync(() => {
      withdraw()
      lease?.release({ _tag: "Doubtful" })
    })
    return Effect.ensuring(Effect.flatMap(leased, use), giveBack)
  })
