/**
 * A pool of sessions: opens them lazily up to a bound, leases them in the order of asking, and retires what is old,
 * idle, used up or doubtful. It knows nothing of mail, and of a session only when it has ended and how it is proven.
 *
 * Who is interrupted while waiting gives the place up; who is interrupted with a lease leaves a session that is
 * proven before anybody else gets it. An opening belongs to the pool and goes on when the one who wanted it has gone.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { ClientUnavailable } from "../../SmtpError.js"
import * as Elapsed from "../effect/elapsed.js"
import * as Wakeup from "../effect/wakeup.js"
import * as Alarms from "./alarm.js"
import * as Lines from "./line.js"
import type { Opened, Source, Tracked } from "./sources.js"
import * as Sources from "./sources.js"
import type { Answer, Waiter, Wish } from "./waiter.js"
import * as Waiters from "./waiter.js"

/**
 * Why a session is not used any more.
 *
 * - `messages`: it has carried as many as this side allows; `mailmax`: as many as the server allows
 * - `age`, `idle`: it was open, or idle, for as long as this side allows
 * - `goodbye`: the server said 421; `lost`: the connection ended; `failed`: it was no use any more for its user
 * - `interrupted`: whoever used it was interrupted, and it did not prove clean
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

export interface Bounds {
  readonly maxSessions: number
  readonly maxWaiting: number
  readonly maxMessages: number
  readonly maxAgeMillis: number
  readonly idleMillis: number
  readonly longestPauseMillis: number
}

/** Hears what happens; called synchronously. */
export interface Observer<S, E> {
  readonly opened: (source: Source<S, E>) => void
  readonly openingFailed: (source: Source<S, E>, cause: Cause.Cause<E>, pauseMillis: number) => void
  readonly retired: (source: Source<S, E>, reason: Retirement) => void
  /** How many sessions are open, and how many of them are idle. */
  readonly counted: (source: Source<S, E>, open: number, idle: number) => void
  readonly waited: (millis: number) => void
  readonly waiting: (count: number) => void
}

/** What the pool has to know of sessions. */
export interface Conduct<S> {
  /** Ends when the session has. */
  readonly awaitEnd: (session: S) => Effect.Effect<Retirement>
  /**
   * Whether the session is fit for the next user: within a bound of its own, which begins when `alone` ends. Until then
   * others use the session too, and take the time that is theirs.
   */
  readonly prove: (session: S, alone: Effect.Effect<void>) => Effect.Effect<boolean>
}

/** What the user of a lease makes of the session. */
export type Verdict =
  | { readonly _tag: "Clean" }
  /** It was not used at all. */
  | { readonly _tag: "Unused" }
  /** It has to be proven; `proven` hears when that has come to an end, whatever the end. */
  | { readonly _tag: "Doubtful"; readonly proven?: (() => void) | undefined }
  /** It is of no use any more; `didWork` says whether it was of any to this user. */
  | { readonly _tag: "Spent"; readonly reason: Retirement; readonly didWork: boolean }

export interface Lease<S, E> {
  readonly session: S
  readonly source: Source<S, E>
  /** Whether it was open before: others have used it, or who it was opened for has gone. It may have died since. */
  readonly isUsed: boolean
  /** Whether the server limits the messages of a session. */
  readonly isLimited: boolean
  /** To be called once; whoever ends without it has left a doubtful session. */
  readonly release: (verdict: Verdict) => void
}

export interface Count {
  readonly open: number
  readonly idle: number
  /** What is being opened, and what has failed to open and is being closed. */
  readonly opening: number
  readonly waiting: number
}

export interface Pool<S, E> {
  /**
   * Waits for a lease, at most `limitMillis`, and runs `body`, uninterruptibly but for what it restores.
   * Fails with what kept every acceptable source from opening a session, or with `ClientUnavailable`.
   */
  readonly use: <A, E2, R>(
    wish: Wish<Source<S, E>>,
    limitMillis: number | undefined,
    body: (lease: Lease<S, E>, restore: Restore) => Effect.Effect<A, E2, R>
  ) => Effect.Effect<A, E | E2 | ClientUnavailable, R>
  /**
   * Asks for a lease without a fiber: `hear` is called with the answer, once. It was called already where nothing is
   * returned; else what is returned gives the place up, and `hear` is not called any more.
   */
  readonly ask: (
    wish: Wish<Source<S, E>>,
    hear: (answer: Answer<Lease<S, E>, E>) => void
  ) => (() => void) | undefined
  /** The moment of the pool, for `aliveAfter`. */
  readonly moment: () => number
  readonly count: () => Count
  readonly countOf: (source: Source<S, E>) => Pick<Count, "open" | "idle" | "opening">
  readonly isTrusted: (source: Source<S, E>) => boolean
  readonly isClosed: () => boolean
  /** Ends when the pool has begun to close. */
  readonly awaitClosing: Effect.Effect<void>
  /**
   * Turns away who waits and who comes, lets leases come to their end within the limit, then closes every session.
   * Whoever calls it again waits for the same end.
   */
  readonly close: (limitMillis: number) => Effect.Effect<void>
}

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

interface Entry<S, E> {
  readonly tracked: Tracked<S, E>
  readonly session: S
  readonly scope: Scope.CloseableScope
  readonly openedAt: number
  /** How many messages the server allows. */
  readonly maxMessages: number
  /** How often its source had failed when it began to be opened. */
  readonly failuresBefore: number
  /** Nobody gets one that is leaving: it is closed when its last user has gone. */
  phase: "Open" | "Leaving" | "Closing"
  /** Why it is leaving. */
  leavesFor: Retirement
  leases: number
  /** How many of its users have left it in doubt: nobody gets it before it is proven. */
  doubts: number
  /** Those who wait for a proof, and hear of it at the end of the session at the latest. */
  readonly doubters: Set<() => void>
  /** Where a session is to be opened in its place. */
  successor: Tracked<S, E> | undefined
  messages: number
  /** Whether nobody has been offered it since it was opened. */
  isNew: boolean
  /** Whether those who wait have been offered it since it was opened, or given back. */
  isOffered: boolean
  idleSince: number
  /** The moment at which it was last known to live. */
  aliveAt: number
}

type Waiting<S, E> = Waiter<Source<S, E>, Lease<S, E>, E>

/**
 * Lives as long as the scope, on the runtime of whoever makes it; nothing is opened before it is asked for.
 */
export const make = <S, E>(
  sources: ReadonlyArray<Source<S, E>>,
  bounds: Bounds,
  conduct: Conduct<S>,
  observer: Observer<S, E>
): Effect.Effect<Pool<S, E>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime()
    const clock = yield* Effect.clock
    const work = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.parallel)
    return build(sources, bounds, conduct, observer, {
      now: () => Elapsed.millis(clock),
      fork: (effect) => Runtime.runFork(runtime)(effect, { scope: work, immediate: false }),
      endWork: Scope.close(work, Exit.void)
    })
  })

interface Surroundings {
  readonly now: () => number
  /** Runs until its end, or that of the pool. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
  readonly endWork: Effect.Effect<void>
}

const build = <S, E>(
  sources: ReadonlyArray<Source<S, E>>,
  bounds: Bounds,
  conduct: Conduct<S>,
  observer: Observer<S, E>,
  { endWork, fork, now }: Surroundings
): Pool<S, E> => {
  const tracked = sources.map((source) => Sources.track(source))
  const entries = new Set<Entry<S, E>>()
  // Those who wait, in the order of asking.
  const line = Lines.make<Waiting<S, E>>()
  const changes = Wakeup.make()
  const awaitEmpty = (isEmpty: () => boolean): Effect.Effect<void> =>
    Wakeup.until(changes, () => (isEmpty() ? Effect.void : undefined))
  // How many of those who wait would not take any session: in all, and by what they want.
  let choosy = 0
  const kinds = new Map<string, number>()
  let moment = 0
  let opening = 0
  let failing = 0
  let closed = false
  let ended = false

  // -- what there is

  const room = (): number => bounds.maxSessions - entries.size - opening - failing

  const idleOf = (place: Tracked<S, E>): number => {
    let idle = 0
    for (const entry of entries) if (entry.tracked === place && isIdle(entry)) idle++
    return idle
  }

  const isReady = ({ doubts, phase }: Entry<S, E>): boolean => phase === "Open" && doubts === 0

  const isIdle = (entry: Entry<S, E>): boolean => entry.leases === 0 && isReady(entry)

  const isLeaving = ({ phase }: Entry<S, E>): boolean => phase === "Leaving"

  const report = (place: Tracked<S, E>): void => observer.counted(place.source, place.open, idleOf(place))

  /** When an idle session is to be retired. */
  const dueAt = ({ idleSince, openedAt }: Entry<S, E>): number =>
    Math.min(idleSince + bounds.idleMillis, openedAt + bounds.maxAgeMillis)

  /** Why nobody may use it any more, whether or not somebody does. */
  const reasonToEnd = (entry: Entry<S, E>, at: number): Retirement | undefined => {
    if (entry.messages >= entry.maxMessages) return "mailmax"
    if (entry.messages >= bounds.maxMessages) return "messages"
    return at >= entry.openedAt + bounds.maxAgeMillis ? "age" : undefined
  }

  // Whoever waits comes first: a limit of zero keeps nothing, but lets what was opened do its work.
  const reasonToRetire = (entry: Entry<S, E>, at: number): Retirement | undefined => {
    const isWanted = !entry.isOffered && line.size() > 0
    if (isWanted && entry.messages === 0) return undefined
    const isIdleForLong = !isWanted && at >= entry.idleSince + bounds.idleMillis
    return reasonToEnd(entry, at) ?? (isIdleForLong ? "idle" : undefined)
  }

  // -- the end of sessions

  const retire = (entry: Entry<S, E>, reason: Retirement): void => {
    if (entry.phase === "Closing") return
    entry.phase = "Closing"
    entry.tracked.live -= 1
    observer.retired(entry.tracked.source, reason)
    // It counts as open until it is closed: the server may be counting too.
    fork(
      Effect.zipRight(
        Scope.close(entry.scope, Exit.void),
        Effect.sync(() => forget(entry))
      )
    )
  }

  const forget = (entry: Entry<S, E>): void => {
    entries.delete(entry)
    entry.tracked.open -= 1
    for (const proven of entry.doubters) proven()
    entry.doubters.clear()
    if (!closed && entry.successor !== undefined && isVacant(entry.successor, now())) openAt(entry.successor)
    report(entry.tracked)
    changes.wake()
    serve()
  }

  const retireDue = (at: number): void => {
    for (const entry of entries) {
      if (!isIdle(entry)) continue
      const reason = reasonToRetire(entry, at)
      if (reason !== undefined) retire(entry, reason)
    }
  }

  // -- leases

  const release = (entry: Entry<S, E>, verdict: Verdict, isUsed: boolean): void => {
    entry.leases -= 1
    entry.isOffered = false
    const at = now()
    switch (verdict._tag) {
      case "Clean":
        keep(entry, at)
        break
      case "Unused":
        entry.messages -= 1
        settle(entry, at)
        break
      case "Doubtful":
        doubt(entry, verdict.proven ?? (() => undefined))
        break
      case "Spent":
        spend(entry, verdict, isUsed, at)
        break
    }
    report(entry.tracked)
    changes.wake()
    serve()
  }

  const keep = (entry: Entry<S, E>, at: number): void => {
    Sources.worked(entry.tracked, entry.failuresBefore)
    entry.aliveAt = ++moment
    entry.idleSince = at
    settle(entry, at)
  }

  const settle = (entry: Entry<S, E>, at: number): void => {
    if (isLeaving(entry) && entry.leases === 0 && entry.doubts === 0) retire(entry, entry.leavesFor)
    if (!isIdle(entry)) {
      makeWay(entry, at)
      return
    }
    entry.successor = closed ? undefined : betterThan(entry, at)
    const reason = closed ? "closed" : entry.successor === undefined ? reasonToRetire(entry, at) : "displaced"
    if (reason === undefined) alarm.set(dueAt(entry))
    else retire(entry, reason)
  }

  /** A session that several users share may never be idle: a better source would wait for its place for ever. */
  const makeWay = (entry: Entry<S, E>, at: number): void => {
    const better = closed || !isReady(entry) ? undefined : betterThan(entry, at)
    if (better === undefined || [...entries].some(isLeaving)) return
    entry.successor = better
    leave(entry, "displaced")
  }

  // A session that fails the one it was opened for says as much about its source as one that cannot be opened.
  const spend = (
    entry: Entry<S, E>,
    { didWork, reason }: Extract<Verdict, { readonly _tag: "Spent" }>,
    isUsed: boolean,
    at: number
  ): void => {
    retire(entry, reason)
    if (didWork) Sources.worked(entry.tracked, entry.failuresBefore)
    else if (!isUsed && entry.messages <= 1)
      Sources.failed(entry.tracked, entry.failuresBefore, undefined, at, bounds.longestPauseMillis)
  }

  const doubt = (entry: Entry<S, E>, heard: () => void): void => {
    if (entry.phase === "Closing") {
      entry.doubters.add(heard)
      if (!entries.has(entry)) heard()
      return
    }
    entry.doubts += 1
    entry.doubters.add(heard)
    const alone = awaitEmpty(() => entry.leases === 0)
    fork(
      Effect.onExit(conduct.prove(entry.session, alone), (exit) =>
        Effect.sync(() => proven(entry, heard, Exit.isSuccess(exit) && exit.value))
      ).pipe(Effect.asVoid)
    )
  }

  const proven = (entry: Entry<S, E>, heard: () => void, isFit: boolean): void => {
    entry.doubts -= 1
    if (!isFit) giveUp(entry)
    else if (entry.doubters.delete(heard)) {
      heard()
      keep(entry, now())
    }
    report(entry.tracked)
    changes.wake()
    serve()
  }

  // Others may still have their outcome from it: it ends when the last of them has gone, or by itself.
  const giveUp = (entry: Entry<S, E>): void => {
    if (entry.leases + entry.doubts === 0) retire(entry, "interrupted")
    else leave(entry, "interrupted")
  }

  const leave = (entry: Entry<S, E>, reason: Retirement): void => {
    if (entry.phase !== "Open") return
    entry.phase = "Leaving"
    entry.leavesFor = reason
  }

  const grant = (waiter: Waiting<S, E>, entry: Entry<S, E>): void => {
    dequeue(waiter)
    const isUsed = !entry.isNew
    entry.isNew = false
    entry.leases += 1
    entry.messages += 1
    entry.tracked.leases += 1
    let released = false
    observer.waited(now() - waiter.since)
    report(entry.tracked)
    waiter.answer({
      _tag: "Granted",
      lease: {
        session: entry.session,
        source: entry.tracked.source,
        isUsed,
        isLimited: entry.maxMessages < Infinity,
        release: (verdict) => {
          if (released) return
          released = true
          release(entry, verdict, isUsed)
        }
      }
    })
  }

  // -- opening

  const admit = (
    place: Tracked<S, E>,
    { maxMessages, session }: Opened<S>,
    scope: Scope.CloseableScope,
    failuresBefore: number
  ): void => {
    Sources.opened(place)
    const at = now()
    const entry: Entry<S, E> = {
      tracked: place,
      session,
      scope,
      openedAt: at,
      maxMessages: maxMessages ?? Infinity,
      failuresBefore,
      phase: "Open",
      leavesFor: "displaced",
      leases: 0,
      doubts: 0,
      doubters: new Set(),
      successor: undefined,
      messages: 0,
      isNew: true,
      isOffered: false,
      idleSince: at,
      aliveAt: ++moment
    }
    place.live += 1
    place.open += 1
    entries.add(entry)
    observer.opened(place.source)
    fork(Effect.map(conduct.awaitEnd(session), (reason) => retire(entry, reason)))
    alarm.set(dueAt(entry))
    report(place)
    serve()
    entry.isNew = false
  }

  const openAt = (place: Tracked<S, E>): void => {
    const failuresBefore = place.failures
    place.opening += 1
    opening += 1
    fork(
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const exit = yield* Effect.exit(restore(Scope.extend(place.source.open, scope)))
          place.opening -= 1
          opening -= 1
          if (Exit.isSuccess(exit) && !closed) {
            admit(place, exit.value, scope, failuresBefore)
            return
          }
          // Its connection counts until it is closed, as that of a session does: the server may be counting too.
          place.failing += 1
          failing += 1
          if (Exit.isFailure(exit) && !closed) openingFailed(place, exit.cause, failuresBefore)
          yield* Scope.close(scope, Exit.void)
          place.failing -= 1
          failing -= 1
          changes.wake()
          serve()
        })
      )
    )
  }

  const openingFailed = (place: Tracked<S, E>, cause: Cause.Cause<E>, failuresBefore: number): void => {
    const at = now()
    Sources.failed(place, failuresBefore, cause, at, bounds.longestPauseMillis)
    observer.openingFailed(place.source, cause, place.notBefore - at)
    forEachWaiting((waiter) => {
      if (!waiter.wish.except.has(place.source) && !hasHope(waiter)) turn(waiter, cause)
    })
    serve()
  }

  const acceptableTo = ({ wish }: Waiting<S, E>): ReadonlyArray<Tracked<S, E>> =>
    wish.except.size === 0 ? tracked : tracked.filter(({ source }) => !wish.except.has(source))

  const hasHope = (waiter: Waiting<S, E>): boolean =>
    acceptableTo(waiter).some((place) => place.opening > 0 || Sources.isTrusted(place))

  const forEachWaiting = (visit: (waiter: Waiting<S, E>) => void): void =>
    Lines.visit(line, (waiter) => {
      visit(waiter)
      return true
    })

  const enqueue = (waiter: Waiting<S, E>): void => {
    waiter.place = line.join(waiter)
    observer.waiting(line.size())
    if (waiter.kind === undefined) return
    choosy += 1
    kinds.set(waiter.kind, (kinds.get(waiter.kind) ?? 0) + 1)
  }

  const dequeue = ({ kind, place }: Waiting<S, E>): void => {
    if (place === undefined || !line.leave(place)) return
    observer.waiting(line.size())
    if (kind === undefined) return
    choosy -= 1
    const others = (kinds.get(kind) ?? 1) - 1
    if (others === 0) kinds.delete(kind)
    else kinds.set(kind, others)
  }

  const kindOf = ({ aliveAfter, except }: Wish<Source<S, E>>): string | undefined => {
    if (except.size === 0 && aliveAfter === undefined) return undefined
    const not = tracked.flatMap(({ source }, index) => (except.has(source) ? [index] : []))
    return `${not.join(" ")},${aliveAfter ?? ""}`
  }

  const turn = (waiter: Waiting<S, E>, cause: Cause.Cause<E | ClientUnavailable>): void => {
    dequeue(waiter)
    waiter.answer({ _tag: "Turned", cause })
  }

  // -- serving

  const suits = (entry: Entry<S, E>, { wish }: Waiting<S, E>): boolean =>
    wish.aliveAfter === undefined || entry.aliveAt > wish.aliveAfter

  /** The session that was used last, of the source that was used least: what is not needed grows old. */
  const findIdle = (places: ReadonlyArray<Tracked<S, E>>, waiter: Waiting<S, E>): Entry<S, E> | undefined => {
    let best: Entry<S, E> | undefined
    for (const entry of entries) {
      if (!isIdle(entry) || !places.includes(entry.tracked) || !suits(entry, waiter)) continue
      if (best === undefined || isBetter(entry, best)) best = entry
    }
    return best
  }

  const isBetter = (one: Entry<S, E>, other: Entry<S, E>): boolean =>
    one.tracked === other.tracked ? one.aliveAt > other.aliveAt : one.tracked.leases < other.tracked.leases

  /** The session with the fewest users, of those that take several at once. */
  const findShared = (
    places: ReadonlyArray<Tracked<S, E>>,
    waiter: Waiting<S, E>,
    at: number
  ): Entry<S, E> | undefined => {
    let best: Entry<S, E> | undefined
    for (const entry of entries) {
      const { slots } = entry.tracked.source
      if (slots === 1 || !isReady(entry) || entry.leases >= slots) continue
      if (reasonToEnd(entry, at) !== undefined || !places.includes(entry.tracked) || !suits(entry, waiter))
        continue
      if (best === undefined || entry.leases < best.leases) best = entry
    }
    return best
  }

  /** An idle session that is of no use for the waiter, and whose place is: the one that was used longest ago. */
  const findUseless = (
    places: ReadonlyArray<Tracked<S, E>>,
    waiter: Waiting<S, E>
  ): Entry<S, E> | undefined => {
    let oldest: Entry<S, E> | undefined
    for (const entry of entries) {
      if (!isIdle(entry) || (places.includes(entry.tracked) && suits(entry, waiter))) continue
      if (oldest === undefined || entry.aliveAt < oldest.aliveAt) oldest = entry
    }
    return oldest
  }

  /**
   * Lets a session come to its end whose place the waiter needs: one that several users share may never be idle.
   * Gives whether there is one.
   */
  const vacate = (places: ReadonlyArray<Tracked<S, E>>): boolean => {
    let best: Entry<S, E> | undefined
    for (const entry of entries) {
      if (!isReady(entry) || entry.tracked.source.slots === 1 || places.includes(entry.tracked)) continue
      if (best === undefined || entry.leases < best.leases) best = entry
    }
    if (best === undefined) return false
    leave(best, "displaced")
    return true
  }

  const placeToOpen = (places: ReadonlyArray<Tracked<S, E>>, at: number): Tracked<S, E> | undefined => {
    let best: Tracked<S, E> | undefined
    for (const place of places) {
      if (!Sources.mayOpen(place, at)) continue
      if (best === undefined || isLighter(place, best)) best = place
    }
    return best
  }

  const isLighter = (one: Tracked<S, E>, other: Tracked<S, E>): boolean =>
    one.source.priority === other.source.priority
      ? one.live + one.opening < other.live + other.opening
      : one.source.priority < other.source.priority

  const isVacant = (place: Tracked<S, E>, at: number): boolean =>
    place.live + place.opening === 0 && Sources.mayOpen(place, at)

  /** A source that was out of order, and may be in order again, while one that is no better serves. */
  const mayHaveRecovered = (place: Tracked<S, E>, at: number): boolean =>
    !Sources.isTrusted(place) &&
    isVacant(place, at) &&
    tracked.some((other) => Sources.isTrusted(other) && other.source.priority >= place.source.priority)

  /** An equal of a source that serves, which was not needed before. */
  const mayHelp = (place: Tracked<S, E>, at: number): boolean =>
    isVacant(place, at) &&
    tracked.some((other) => other.live > 0 && other.source.priority === place.source.priority)

  /** Opens what nobody waits for, in the room that is left. */
  const warm = (at: number): void => {
    for (const place of tracked) {
      if (room() > 0 && (mayHaveRecovered(place, at) || mayHelp(place, at))) openAt(place)
    }
  }

  /** The better source whose place the session has: with every place taken, it could never recover. */
  const betterThan = ({ tracked: { source } }: Entry<S, E>, at: number): Tracked<S, E> | undefined =>
    tracked.length === 1 || room() > 0
      ? undefined
      : tracked.find((place) => place.source.priority < source.priority && mayHaveRecovered(place, at))

  // What is being opened, or being closed to make room, is for those who have waited longest.
  interface Coming {
    readonly openings: Map<Tracked<S, E>, number>
    closings: number
    /** Nobody who has waited longer waits for what is in use. */
    mayVacate: boolean
  }

  const isComing = (places: ReadonlyArray<Tracked<S, E>>, { openings }: Coming): boolean => {
    for (const place of places) {
      const count = openings.get(place) ?? 0
      if (count === 0) continue
      openings.set(place, count - 1)
      return true
    }
    return false
  }

  /** Whether anything was done for the waiter, or is under way. */
  const serveOne = (waiter: Waiting<S, E>, coming: Coming, at: number): boolean => {
    const places = Sources.preferred(acceptableTo(waiter))
    const idle = findIdle(places, waiter)
    if (idle !== undefined) {
      grant(waiter, idle)
      return true
    }
    const isUnderWay = isComing(places, coming) || makeRoom(places, waiter, coming, at)
    const shared = findShared(places, waiter, at)
    if (shared === undefined) return isUnderWay
    grant(waiter, shared)
    return true
  }

  const makeRoom = (
    places: ReadonlyArray<Tracked<S, E>>,
    waiter: Waiting<S, E>,
    coming: Coming,
    at: number
  ): boolean => {
    const place = placeToOpen(places, at)
    if (place === undefined) {
      for (const { notBefore } of places) if (notBefore > at) alarm.set(notBefore)
      return false
    }
    if (room() > 0) {
      openAt(place)
      return true
    }
    if (coming.closings > 0) {
      coming.closings -= 1
      return true
    }
    const useless = findUseless(places, waiter)
    if (useless === undefined) return coming.mayVacate && vacate(places)
    retire(useless, "displaced")
    return true
  }

  let calls = 0
  // Those who have asked since anybody was served: whether there is room for them in the queue shows then.
  let newcomers: Array<Waiting<S, E>> = []

  // Whoever is served may call back at once: one loop at a time keeps the order.
  const serve = (): void => {
    calls += 1
    if (calls > 1) return
    for (let served = 0; served < calls;) {
      served = calls
      if (!closed && line.size() > 0) serveAll()
    }
    calls = 0
    const asked = newcomers
    newcomers = []
    // Who waits for an opening of its own is not in the queue of those who wait for others.
    for (const waiter of asked) {
      const isInQueue = waiter.answered() === undefined && line.size() - opening > bounds.maxWaiting
      if (isInQueue) turn(waiter, unavailable("QueueFull"))
    }
  }

  const serveAll = (): void => {
    const at = now()
    retireDue(at)
    serveThose(at)
    for (const entry of entries) entry.isOffered = true
    if (tracked.length > 1) warm(at)
  }

  const serveThose = (at: number): void => {
    const coming: Coming = { openings: new Map(), closings: 0, mayVacate: true }
    for (const place of tracked) if (place.opening > 0) coming.openings.set(place, place.opening)
    for (const entry of entries) if (entry.phase !== "Open") coming.closings += 1
    coming.closings += failing
    // What one cannot have, nobody behind it can who wants the same.
    let arePlainStuck = false
    let stuck: Set<string> | undefined
    Lines.visit(line, (waiter) => {
      const { kind } = waiter
      const isHopeless = kind === undefined ? arePlainStuck : stuck?.has(kind)
      if (isHopeless !== true && !serveOne(waiter, coming, at)) {
        coming.mayVacate = false
        if (kind === undefined) arePlainStuck = true
        else (stuck ??= new Set()).add(kind)
      }
      const arePlainLeft = !arePlainStuck && line.size() > choosy
      return arePlainLeft || (stuck?.size ?? 0) < kinds.size
    })
  }

  const goOff = (): void => {
    const at = now()
    retireDue(at)
    serve()
    for (const entry of entries) if (isIdle(entry)) alarm.set(dueAt(entry))
  }

  const alarm = Alarms.make(now, fork, goOff)

  // -- asking

  const unavailable = (reason: ClientUnavailable["reason"]): Cause.Cause<ClientUnavailable> =>
    Cause.fail(new ClientUnavailable({ reason }))

  /** Why it makes no sense to wait: nothing but a change of the configuration could help. */
  const hopeless = (waiter: Waiting<S, E>, at: number): Cause.Cause<E> | undefined => {
    const acceptable = acceptableTo(waiter)
    const isHopeless = acceptable.every(
      (place) => place.isPermanent && place.notBefore > at && place.opening === 0 && !Sources.isTrusted(place)
    )
    return isHopeless ? acceptable[0]?.lastFailure : undefined
  }

  const ask = (wish: Wish<Source<S, E>>): Waiting<S, E> => {
    const at = now()
    const waiter: Waiting<S, E> = Waiters.make(wish, kindOf(wish), at)
    if (closed) {
      turn(waiter, unavailable("Closed"))
      return waiter
    }
    const cause = hopeless(waiter, at)
    if (cause !== undefined) {
      turn(waiter, cause)
      return waiter
    }
    enqueue(waiter)
    newcomers.push(waiter)
    serve()
    return waiter
  }

  const withdraw = (waiter: Waiting<S, E>): void => {
    const answer = waiter.answered()
    if (answer === undefined) {
      dequeue(waiter)
      // The one behind may want what this one did not.
      serve()
    } else if (answer._tag === "Granted") answer.lease.release({ _tag: "Unused" })
  }

  const awaitLease = (
    waiter: Waiting<S, E>,
    limitMillis: number | undefined
  ): Effect.Effect<Lease<S, E>, E | ClientUnavailable> => {
    if (limitMillis === undefined || waiter.answered() !== undefined) return waiter.lease
    const expire = Effect.sync(() => turn(waiter, unavailable("Timeout")))
    const timer = fork(Effect.delay(expire, limitMillis))
    return Effect.ensuring(
      waiter.lease,
      Effect.sync(() => timer.unsafeInterruptAsFork(FiberId.none))
    )
  }

  const use: Pool<S, E>["use"] = (wish, limitMillis, body) =>
    Effect.uninterruptibleMask((restore) => {
      const waiter = ask(wish)
      return Effect.matchCauseEffect(restore(awaitLease(waiter, limitMillis)), {
        onFailure: (cause) =>
          Effect.suspend(() => {
            withdraw(waiter)
            return Effect.failCause(cause)
          }),
        onSuccess: (lease) =>
          Effect.onExit(body(lease, restore), () => Effect.sync(() => lease.release({ _tag: "Doubtful" })))
      })
    })

  // -- the end

  /** Nobody uses a session, and nobody waits for the proof of one. */
  const isAtRest = (): boolean => [...entries].every(({ doubts, leases }) => leases + doubts === 0)

  const closing = Wakeup.make()

  const closeNow = (limitMillis: number): Effect.Effect<void> =>
    Effect.gen(function* () {
      closed = true
      closing.wake()
      forEachWaiting((waiter) => turn(waiter, unavailable("Closed")))
      for (const entry of entries) if (isIdle(entry)) retire(entry, "closed")
      // A finalizer is uninterruptible, and a limit inside it does nothing without `interruptible`.
      yield* Effect.timeoutOption(Effect.interruptible(awaitEmpty(isAtRest)), limitMillis)
      for (const entry of entries) retire(entry, "closed")
      yield* awaitEmpty(() => entries.size === 0)
      yield* endWork
      ended = true
      changes.wake()
    })

  const askAndHear: Pool<S, E>["ask"] = (wish, hear) => {
    const waiter = ask(wish)
    if (waiter.answered() !== undefined) {
      waiter.listen(hear)
      return undefined
    }
    let isGivenUp = false
    waiter.listen((answer) => {
      if (!isGivenUp) hear(answer)
    })
    return () => {
      isGivenUp = true
      withdraw(waiter)
    }
  }

  return {
    use,
    ask: askAndHear,
    moment: () => moment,
    count: () => ({
      open: entries.size,
      idle: [...entries].filter(isIdle).length,
      opening: opening + failing,
      waiting: line.size()
    }),
    countOf: (source) => {
      const place = tracked.find((each) => each.source === source)
      return place === undefined
        ? { open: 0, idle: 0, opening: 0 }
        : { open: place.open, idle: idleOf(place), opening: place.opening + place.failing }
    },
    isTrusted: (source) => tracked.some((each) => each.source === source && Sources.isTrusted(each)),
    isClosed: () => closed,
    awaitClosing: Wakeup.until(closing, () => (closed ? Effect.void : undefined)),
    close: (limitMillis) =>
      Effect.suspend(() => (closed ? awaitEmpty(() => ended) : Effect.uninterruptible(closeNow(limitMillis))))
  }
}
