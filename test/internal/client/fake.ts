/**
 * Sessions that only count: where they come from, how many are open, and what the test does to them.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { State } from "../../../src/SmtpClient.js"
import type { ClientUnavailable } from "../../../src/SmtpError.js"
import type {
  Bounds,
  Lease,
  PoolObserver,
  Retirement,
  SessionConduct
} from "../../../src/internal/client/pool.js"
import type { Answer, LeaseRequest } from "../../../src/internal/client/queue.js"
import * as Queues from "../../../src/internal/client/queue.js"
import { unknownHabits } from "../../../src/internal/client/relays.js"
import type { OpeningFailure, Relay as PoolRelay } from "../../../src/internal/client/relays.js"

export class Refused extends Data.TaggedError("Refused")<{
  readonly by: string
  readonly kind: OpeningFailure
}> {}

export interface FakeSession {
  readonly name: string
  readonly ended: Deferred.Deferred<Retirement>
  users: number
  isOpen: boolean
}

export type FakeRelay = PoolRelay<FakeSession, Refused>
export type FakeLease = Lease<FakeSession, Refused>
export type FakeRequest = LeaseRequest<FakeSession, Refused>

export interface FakePool {
  /** Waits for a lease and runs `body`. */
  readonly use: <A, E, R>(
    request: FakeRequest,
    limitMillis: number,
    body: (lease: FakeLease) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, Refused | ClientUnavailable | E, R>
  readonly moment: () => number
  readonly count: () => State
  readonly close: (limitMillis: number) => Effect.Effect<void>
}

/** What opening does: takes so long, and then succeeds or not. */
export interface Behaviour {
  readonly opens: "succeeds" | "hangs" | keyof typeof failures
  readonly takes?: Duration.DurationInput
  /** How long it takes to close what was opened, or has failed to be. */
  readonly closingTakes?: Duration.DurationInput
  readonly maxMessages?: number
}

export interface Relay {
  readonly source: FakeRelay
  behaviour: Behaviour
  readonly sessions: Array<FakeSession>
  attempts: number
}

export const relay = (
  name: string,
  own: Partial<Pick<FakeRelay, "priority" | "maxSessions" | "slots" | "opensAlone">> & {
    readonly behaviour?: Behaviour
  } = {}
): Relay => {
  const made: Relay = {
    behaviour: own.behaviour ?? { opens: "succeeds" },
    sessions: [],
    attempts: 0,
    source: {
      name,
      priority: own.priority ?? 0,
      maxSessions: own.maxSessions ?? Infinity,
      slots: own.slots ?? 1,
      opensAlone: own.opensAlone ?? false,
      habits: unknownHabits(),
      progress: { awaited: undefined },
      failureOf: (cause) => {
        const failure = Cause.failureOption(cause)
        return failure._tag === "Some" ? failure.value.kind : "temporary"
      },
      open: Effect.suspend(() => opening(made))
    }
  }
  return made
}

const failures = {
  refuses: "temporary",
  refusesForGood: "permanent",
  isSilent: "silent",
  isCrowded: "crowded",
  rejectsCredentials: "credentials"
} as const

const opening = (made: Relay) =>
  Effect.gen(function* () {
    made.attempts += 1
    const { closingTakes, maxMessages, opens, takes } = made.behaviour
    const { name } = made.source
    if (closingTakes !== undefined) yield* Effect.addFinalizer(() => Effect.sleep(closingTakes))
    if (takes !== undefined) yield* Effect.sleep(takes)
    if (opens === "hangs") return yield* Effect.never
    if (opens !== "succeeds") return yield* new Refused({ by: name, kind: failures[opens] })
    const ended = yield* Deferred.make<Retirement>()
    const session = { name: `${name}${made.sessions.length + 1}`, ended, users: 0, isOpen: true }
    made.sessions.push(session)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        session.isOpen = false
      })
    )
    return { session, maxMessages }
  })

export const isOpen = ({ isOpen }: FakeSession): boolean => isOpen

export const openAt = ({ sessions }: Relay): ReadonlyArray<string> =>
  sessions.filter(isOpen).map(({ name }) => name)

const generous: Bounds = {
  maxSessions: 2,
  maxWaiting: Infinity,
  maxMessages: Infinity,
  maxAgeMillis: Infinity,
  idleMillis: Infinity,
  longestPauseMillis: 8000,
  jitter: () => 1
}

export interface Events {
  readonly retired: Array<string>
  readonly pauses: Array<number>
  waiting: number
  mostOpen: number
}

export interface Made {
  readonly pool: FakePool
  /** Asks, and never withdraws. */
  readonly ask: (hear: (answer: Answer<FakeSession, Refused>) => void, request?: FakeRequest) => void
  readonly events: Events
}

export const makePool = (
  relays: ReadonlyArray<Relay>,
  own: Partial<Bounds> = {},
  conduct: Partial<SessionConduct<FakeSession>> = {}
): Effect.Effect<Made, never, Scope.Scope> =>
  Effect.gen(function* () {
    const events: Events = { retired: [], pauses: [], waiting: 0, mostOpen: 0 }
    const observer: PoolObserver<FakeSession, Refused> = {
      opened: () => {
        const open = relays.flatMap(({ sessions }) => sessions.filter(isOpen)).length
        events.mostOpen = Math.max(events.mostOpen, open)
      },
      openingFailed: (_source, _cause, pauseMillis) => events.pauses.push(pauseMillis),
      retired: ({ name }, reason) => events.retired.push(`${name} ${reason}`),
      counted: () => undefined,
      waited: () => undefined,
      waiting: (count) => {
        events.waiting = count
      }
    }
    const queue = yield* Queues.make(
      relays.map(({ source }) => source),
      { ...generous, ...own },
      {
        awaitEnd: ({ ended }) => Deferred.await(ended),
        prove: ({ isOpen }) => Effect.succeed(isOpen),
        ...conduct
      },
      observer
    )
    yield* Effect.addFinalizer(() => queue.close(0))
    const pool: FakePool = {
      use: (request, limitMillis, body) => Queues.withLease(queue, request, limitMillis, body),
      moment: () => queue.moment,
      count: () => queue.state(),
      close: (limitMillis) => queue.close(limitMillis)
    }
    const ask: Made["ask"] = (hear, request = anything) => queue.ask(request, Infinity, hear)
    return { ask, pool, events }
  })

export const anything = { except: new Set<FakeRelay>(), aliveAfter: undefined }

/** Uses a session and leaves it clean; gives its name. */
export const useOne = <A, E, R>(
  pool: FakePool,
  work: (lease: FakeLease) => Effect.Effect<A, E, R>,
  wish: FakeRequest = anything,
  limitMillis = Infinity
) =>
  pool.use(wish, limitMillis, (lease) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        lease.session.users += 1
        yield* restore(work(lease)).pipe(
          Effect.ensuring(
            Effect.sync(() => {
              lease.session.users -= 1
            })
          )
        )
        lease.release({ _tag: "Clean", work: "accepted" })
        return lease.session.name
      })
    )
  )

export const pass = (pool: FakePool) => useOne(pool, () => Effect.void)

export const stay = (pool: FakePool, time: Duration.DurationInput) => useOne(pool, () => Effect.sleep(time))
