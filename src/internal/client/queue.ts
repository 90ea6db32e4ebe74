/**
 * Messages that wait for a session, in the order of asking, and the bound that the sessions of all relays share. For
 * each message it takes the relay first, and then the best session of that relay's pool, or opens one.
 *
 * Where every place is taken, an idle session that no waiting message can use makes way at once; else the next one
 * that is given back does, first for a better relay that may be in order again, then for a message that waits.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { ClientUnavailable } from "../../SmtpError.js"
import * as Elapsed from "../effect/elapsed.js"
import type { AnyFiber } from "../effect/runtime.js"
import { interrupt, makeFork } from "../effect/runtime.js"
import * as Wakeup from "../effect/wakeup.js"
import * as Alarms from "./alarm.js"
import * as Lists from "./linkedList.js"
import type { Lease, PoolObserver, PooledSession, PoolOwner, SessionConduct, SessionLimits } from "./pool.js"
import { RelayPool } from "./pool.js"
import type { Relay } from "./relays.js"
import * as Relays from "./relays.js"

export interface Bounds extends SessionLimits {
  readonly maxSessions: number
  readonly maxWaiting: number
}

export interface QueueObserver<S, E> extends PoolObserver<S, E> {
  readonly waited: (millis: number) => void
  readonly waiting: (count: number) => void
}

/** What a session has to be like. */
export interface LeaseRequest<S, E> {
  /** Relays that the message has been to. */
  readonly except: ReadonlySet<Relay<S, E>>
  /**
   * Only a session that has shown life after this moment will do: a message that has just met one that had died while
   * idle is not to meet another.
   */
  readonly aliveAfter: number | undefined
}

export type Answer<S, E> =
  | { readonly _tag: "Leased"; readonly lease: Lease<S, E> }
  /** What kept every acceptable relay from opening a session, or ClientUnavailable. */
  | { readonly _tag: "Refused"; readonly cause: Cause.Cause<E | ClientUnavailable> }

interface Waiter<S, E> {
  readonly line: WaitingLine<S, E>
  /** Place in the order of asking, over all lines. */
  readonly order: number
  readonly since: number
  readonly hear: (answer: Answer<S, E>) => void
  node: Lists.Node<Waiter<S, E>> | undefined
  timer: AnyFiber | undefined
}

/** Those who ask for the same, in the order of asking: what the first cannot have, nobody behind it can. */
interface WaitingLine<S, E> {
  readonly key: string
  readonly pools: ReadonlyArray<RelayPool<S, E>>
  readonly aliveAfter: number
  readonly waiters: Lists.LinkedList<Waiter<S, E>>
  /** Whether there is nothing for the first of them, in this round. */
  isStuck: boolean
  /** How many were given a session in use in this round, where another is to be opened. */
  shared: number
}

export interface Count {
  readonly open: number
  readonly idle: number
  /** Sessions that are being opened, and those that have failed to open and are being closed. */
  readonly opening: number
}

/** Lives as long as the scope, on the runtime of its maker. */
export const make = <S, E>(
  relays: ReadonlyArray<Relay<S, E>>,
  bounds: Bounds,
  conduct: SessionConduct<S>,
  observer: QueueObserver<S, E>
): Effect.Effect<SessionQueue<S, E>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const fork = yield* makeFork()
    const clock = yield* Effect.clock
    const work = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.parallel)
    return new SessionQueue(relays, bounds, conduct, observer, {
      now: () => Elapsed.millis(clock),
      fork: (effect) => fork(effect, { scope: work, immediate: false }),
      endWork: Scope.close(work, Exit.void)
    })
  })

interface QueueRuntime {
  readonly now: () => number
  /** Runs until its end, or that of the client. */
  readonly fork: (effect: Effect.Effect<void>) => AnyFiber
  readonly endWork: Effect.Effect<void>
}

const unavailable = (reason: ClientUnavailable["reason"]): Cause.Cause<ClientUnavailable> =>
  Cause.fail(new ClientUnavailable({ reason }))

export class SessionQueue<S, E> {
  private readonly pools: ReadonlyArray<RelayPool<S, E>>
  private readonly lines = new Map<string, WaitingLine<S, E>>()
  private readonly alarm: Alarms.Alarm
  private readonly changes = Wakeup.make()
  private readonly closing = Wakeup.make()
  private waiting = 0
  private asked = 0
  private moments = 0
  private closed = false
  private ended = false
  /** Those who have asked since the last round: whether there is room for them in the queue shows at its end. */
  private newcomers: Array<Waiter<S, E>> = []
  private rounds = 0
  /** Where the next session that is given back makes way. */
  private yielding: Yielding<S, E> | undefined
  /** Whether one has made way for a better relay, which is then tried though nobody waits. */
  private isProbeDue = false

  constructor(
    relays: ReadonlyArray<Relay<S, E>>,
    private readonly bounds: Bounds,
    conduct: SessionConduct<S>,
    private readonly observer: QueueObserver<S, E>,
    private readonly runtime: QueueRuntime
  ) {
    const owner: PoolOwner<S, E> = {
      limits: bounds,
      conduct,
      observer,
      now: runtime.now,
      fork: runtime.fork,
      nextMoment: () => ++this.moments,
      isClosed: () => this.closed,
      until: (holds) => this.until(holds),
      mustMakeWay: (pool) => this.mustMakeWay(pool),
      changed: () => this.changed(),
      openingFailed: (pool, cause) => this.openingFailed(pool, cause)
    }
    this.pools = relays.map((relay) => new RelayPool(relay, owner))
    this.alarm = Alarms.make(runtime.now, runtime.fork, () => this.serve())
  }

  /**
   * Asks for a lease, within the limit if there is one. Calls `hear` with the answer once, before it returns where that
   * can be. The function returned withdraws: `hear` is not called any more.
   */
  ask(
    request: LeaseRequest<S, E>,
    limitMillis: number | undefined,
    hear: (answer: Answer<S, E>) => void
  ): () => void {
    const line = this.lineOf(request)
    const since = this.runtime.now()
    const refusal = this.closed ? unavailable("Closed") : hopeless(line.pools, since)
    if (refusal !== undefined) {
      hear({ _tag: "Refused", cause: refusal })
      return () => undefined
    }
    const waiter: Waiter<S, E> = { line, order: ++this.asked, since, hear, node: undefined, timer: undefined }
    waiter.node = line.waiters.push(waiter)
    this.lines.set(line.key, line)
    this.observer.waiting(++this.waiting)
    this.newcomers.push(waiter)
    this.serve()
    if (limitMillis !== undefined && waiter.node.isLinked) {
      const expire = Effect.sync(() => this.refuse(waiter, unavailable("Timeout")))
      waiter.timer = this.runtime.fork(Effect.delay(expire, limitMillis))
    }
    return () => {
      // The next in line may accept what this one did not.
      if (this.dequeue(waiter)) this.serve()
    }
  }

  /** The present moment, for `aliveAfter`. */
  moment(): number {
    return this.moments
  }

  isClosed(): boolean {
    return this.closed
  }

  countWaiting(): number {
    return this.waiting
  }

  countOf(relay: Relay<S, E>): Count & { readonly isTrusted: boolean } {
    const pool = this.pools.find((each) => each.relay === relay)
    return pool === undefined
      ? { open: 0, idle: 0, opening: 0, isTrusted: false }
      : {
          open: pool.sessions.size,
          idle: pool.idle,
          opening: pool.opening + pool.failing,
          isTrusted: pool.isTrusted
        }
  }

  /** Completes when the client has begun to close. */
  get awaitClosing(): Effect.Effect<void> {
    return Wakeup.until(this.closing, () => (this.closed ? Effect.void : undefined))
  }

  /**
   * Refuses those that wait and those that come, lets leases end within the limit, then closes every session. A second
   * call waits for the same end.
   */
  close(limitMillis: number): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.closed ? this.until(() => this.ended) : Effect.uninterruptible(this.closeNow(limitMillis))
    )
  }

  private closeNow(limitMillis: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.closed = true
      this.closing.wake()
      for (const line of this.lines.values()) this.refuseAll(line, unavailable("Closed"))
      this.serve()
      // A finalizer is uninterruptible, and a limit inside it does nothing without `interruptible`.
      const atRest = this.until(() => this.sessions().every(({ doubts, leases }) => doubts + leases === 0))
      return Effect.timeoutOption(Effect.interruptible(atRest), limitMillis)
    }).pipe(
      Effect.flatMap(() => {
        for (const session of this.sessions()) session.retire("closed")
        return this.until(() => this.sessions().length === 0)
      }),
      Effect.zipRight(this.runtime.endWork),
      Effect.map(() => {
        this.ended = true
        this.changes.wake()
      })
    )
  }

  private until(holds: () => boolean): Effect.Effect<void> {
    return Wakeup.until(this.changes, () => (holds() ? Effect.void : undefined))
  }

  private sessions(): ReadonlyArray<PooledSession<S, E>> {
    return this.pools.flatMap(({ sessions }) => [...sessions])
  }

  private changed(): void {
    this.changes.wake()
    this.serve()
  }

  // -- waiting

  private lineOf({ aliveAfter, except }: LeaseRequest<S, E>): WaitingLine<S, E> {
    const isPlain = except.size === 0 && aliveAfter === undefined
    const pools = isPlain ? this.pools : this.pools.filter(({ relay }) => !except.has(relay))
    const key = isPlain
      ? ""
      : `${pools.map((pool) => this.pools.indexOf(pool)).join(" ")},${aliveAfter ?? ""}`
    return (
      this.lines.get(key) ?? {
        key,
        pools,
        aliveAfter: aliveAfter ?? -Infinity,
        waiters: new Lists.LinkedList(),
        isStuck: false,
        shared: 0
      }
    )
  }

  /** Returns whether the waiter was still in line. */
  private dequeue({ line, node, timer }: Waiter<S, E>): boolean {
    if (node === undefined || !line.waiters.remove(node)) return false
    if (line.waiters.size === 0 && line.key !== "") this.lines.delete(line.key)
    this.observer.waiting(--this.waiting)
    if (timer !== undefined) interrupt(timer)
    return true
  }

  private refuse(waiter: Waiter<S, E>, cause: Cause.Cause<E | ClientUnavailable>): void {
    if (this.dequeue(waiter)) waiter.hear({ _tag: "Refused", cause })
  }

  private refuseAll({ waiters }: WaitingLine<S, E>, cause: Cause.Cause<E | ClientUnavailable>): void {
    while (waiters.first !== undefined) this.refuse(waiters.first.item, cause)
  }

  private openingFailed(failed: RelayPool<S, E>, cause: Cause.Cause<E>): void {
    for (const line of this.lines.values()) {
      const hasHope = line.pools.some(({ isTrusted, opening }) => isTrusted || opening > 0)
      if (!hasHope && line.pools.includes(failed)) this.refuseAll(line, cause)
    }
    this.serve()
  }

  // -- serving

  /** Runs rounds one after the other, whoever calls back within one: that keeps the order. */
  private serve(): void {
    this.rounds += 1
    if (this.rounds > 1) return
    for (let served = 0; served < this.rounds;) {
      served = this.rounds
      this.round(this.runtime.now())
    }
    this.rounds = 0
    const asked = this.newcomers
    this.newcomers = []
    // A message that an opening is under way for is not in the queue of those that wait for others.
    const opening = this.pools.reduce((sum, pool) => sum + pool.opening, 0)
    for (const waiter of asked) {
      if (waiter.node?.isLinked === true && this.waiting - opening > this.bounds.maxWaiting)
        this.refuse(waiter, unavailable("QueueFull"))
    }
  }

  private round(at: number): void {
    const isAsked = this.waiting > 0 || this.isProbeDue
    for (const pool of this.pools) pool.retireDue(at)
    this.leaseAll(at)
    for (const { sessions } of this.pools) {
      for (const session of sessions) {
        session.wasOffered()
        session.retireIfDue(at)
        if (session.isIdle()) this.alarm.set(session.dueAt())
      }
    }
    this.yielding = undefined
    if (isAsked && !this.closed) this.openWanted(at)
  }

  private leaseAll(at: number): void {
    for (const line of this.lines.values()) {
      line.isStuck = false
      line.shared = 0
    }
    for (;;) {
      const line = this.longestWaiting()
      if (line?.waiters.first === undefined) return
      const session = bestOf(Relays.preferred(line.pools), line.aliveAfter, at)
      if (session === undefined) line.isStuck = true
      else this.grant(line.waiters.first.item, session, at)
    }
  }

  private longestWaiting(): WaitingLine<S, E> | undefined {
    let longest: WaitingLine<S, E> | undefined
    for (const line of this.lines.values()) {
      if (
        !line.isStuck &&
        line.waiters.size > 0 &&
        (longest === undefined || orderOf(line) < orderOf(longest))
      )
        longest = line
    }
    return longest
  }

  private grant(waiter: Waiter<S, E>, session: PooledSession<S, E>, at: number): void {
    if (session.leases > 0) waiter.line.shared += 1
    this.dequeue(waiter)
    this.observer.waited(at - waiter.since)
    waiter.hear({ _tag: "Leased", lease: session.lease() })
  }

  // -- opening

  private room(): number {
    return this.pools.reduce((room, { places }) => room - places, this.bounds.maxSessions)
  }

  private openWanted(at: number): void {
    if (this.room() > 0) this.isProbeDue = false
    for (const pool of this.pools) if (this.room() > 0 && this.isWorthProbing(pool, at)) pool.open()
    const forecast: Forecast<S, E> = {
      opening: new Map(this.pools.map((pool) => [pool, pool.opening])),
      leaving: this.pools.reduce((sum, { leaving }) => sum + leaving, 0)
    }
    this.yieldToBetter(forecast, at)
    let isFirst = true
    for (const line of [...this.lines.values()].sort((one, other) => orderOf(one) - orderOf(other))) {
      isFirst &&= this.openFor(line, forecast, isFirst, at)
    }
  }

  /**
   * Whether a relay without sessions is to be tried though others serve: it may be in order again, or it is an equal that
   * was not needed before.
   */
  private isWorthProbing(pool: RelayPool<S, E>, at: number): boolean {
    if (this.pools.length === 1 || !pool.isVacant(at)) return false
    return this.pools.some((other) =>
      pool.isTrusted
        ? other.live > 0 && other.priority === pool.priority
        : other.isTrusted && other.priority >= pool.priority
    )
  }

  private yieldToBetter({ leaving }: Forecast<S, E>, at: number): void {
    if (this.room() > 0 || leaving > 0) return
    const better = this.pools.find((pool) => !pool.isTrusted && this.isWorthProbing(pool, at))
    if (better === undefined) return
    this.yielding = {
      pools: this.pools.filter(({ priority }) => priority > better.priority),
      isToBetter: true
    }
  }

  private mustMakeWay(pool: RelayPool<S, E>): boolean {
    if (this.yielding?.pools.includes(pool) !== true) return false
    this.isProbeDue ||= this.yielding.isToBetter
    this.yielding = undefined
    return true
  }

  /** Opens sessions for a line; returns whether one is coming for everybody in it. */
  private openFor(
    line: WaitingLine<S, E>,
    forecast: Forecast<S, E>,
    mayTakeUsed: boolean,
    at: number
  ): boolean {
    const pools = Relays.preferred(line.pools)
    for (let wanted = line.waiters.size + line.shared; wanted > 0; wanted--) {
      if (isComing(pools, forecast)) continue
      const pool = lightest(pools, at)
      if (pool === undefined) {
        for (const { health } of pools) if (health.notBefore > at) this.alarm.set(health.notBefore)
        return false
      }
      if (this.room() > 0) pool.open()
      else if (forecast.leaving > 0) forecast.leaving -= 1
      else if (!this.displaceIdle()) {
        if (mayTakeUsed && this.yielding === undefined)
          this.yielding = { pools: this.pools.filter((other) => !pools.includes(other)), isToBetter: false }
        return false
      }
    }
    return true
  }

  /** Closes the idle session that was used longest ago: those that could use it have been offered it. */
  private displaceIdle(): boolean {
    let oldest: PooledSession<S, E> | undefined
    for (const session of this.sessions())
      if (session.isIdle() && (oldest === undefined || session.aliveAt < oldest.aliveAt)) oldest = session
    oldest?.retire("displaced")
    return oldest !== undefined
  }
}

/** Waits for a lease in a fiber. A session that `use` does not release has to prove itself. */
export const withLease = <S, E, A, E2, R>(
  queue: SessionQueue<S, E>,
  request: LeaseRequest<S, E>,
  limitMillis: number | undefined,
  use: (lease: Lease<S, E>) => Effect.Effect<A, E2, R>
): Effect.Effect<A, E | E2 | ClientUnavailable, R> =>
  Effect.suspend(() => {
    let withdraw: () => void = () => undefined
    let lease: Lease<S, E> | undefined
    const leased = Effect.async<Lease<S, E>, E | ClientUnavailable>((resume) => {
      withdraw = queue.ask(request, limitMillis, (answer) => {
        if (answer._tag === "Leased") lease = answer.lease
        resume(answer._tag === "Leased" ? Effect.succeed(answer.lease) : Effect.failCause(answer.cause))
      })
    })
    const giveBack = Effect.sync(() => {
      withdraw()
      lease?.release({ _tag: "Doubtful" })
    })
    return Effect.ensuring(Effect.flatMap(leased, use), giveBack)
  })

interface Yielding<S, E> {
  readonly pools: ReadonlyArray<RelayPool<S, E>>
  readonly isToBetter: boolean
}

/** What is being opened, or closed to make room, is for those that have waited longest. */
interface Forecast<S, E> {
  readonly opening: Map<RelayPool<S, E>, number>
  leaving: number
}

const isComing = <S, E>(pools: ReadonlyArray<RelayPool<S, E>>, { opening }: Forecast<S, E>): boolean => {
  for (const pool of pools) {
    const count = opening.get(pool) ?? 0
    if (count === 0) continue
    opening.set(pool, count - 1)
    return true
  }
  return false
}

const orderOf = <S, E>({ waiters }: WaitingLine<S, E>): number => waiters.first?.item.order ?? Infinity

/** The relay where the fewest sessions are open, of the best priority among those where one may be opened. */
const lightest = <S, E>(pools: ReadonlyArray<RelayPool<S, E>>, at: number): RelayPool<S, E> | undefined => {
  let best: RelayPool<S, E> | undefined
  for (const pool of pools) {
    if (!pool.mayOpen(at)) continue
    const isBetter =
      best === undefined ||
      pool.priority < best.priority ||
      (pool.priority === best.priority && pool.live + pool.opening < best.live + best.opening)
    if (isBetter) best = pool
  }
  return best
}

/** The session with the fewest users; of idle ones, that of the relay that was used least. */
const bestOf = <S, E>(
  pools: ReadonlyArray<RelayPool<S, E>>,
  aliveAfter: number,
  at: number
): PooledSession<S, E> | undefined => {
  let best: PooledSession<S, E> | undefined
  for (const pool of pools) {
    const session = pool.best(aliveAfter, at)
    if (session === undefined) continue
    const isBetter =
      best === undefined ||
      session.leases < best.leases ||
      (best.leases === 0 && session.leases === 0 && pool.leases < best.pool.leases)
    if (isBetter) best = session
  }
  return best
}

/** Why waiting is useless, where it is. */
const hopeless = <S, E>(pools: ReadonlyArray<RelayPool<S, E>>, at: number): Cause.Cause<E> | undefined =>
  pools.every((pool) => pool.isHopeless(at)) ? pools[0]?.health.lastFailure : undefined
