import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Supervisor from "effect/Supervisor"
import * as TestClock from "effect/TestClock"
import { atEveryStep } from "../../support/stepping.js"
import * as TimeOfDay from "../../support/timeOfDay.js"
import type { FakePool, FakeRelay, Relay } from "./fake.js"
import { anything, isOpen, makePool, openAt, pass, relay, stay, useOne } from "./fake.js"

const forkAll = <A, E, R>(count: number, make: (index: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(
    Array.from({ length: count }, (_, index) => index),
    // One after the other, so that they ask in this order.
    (index) => Effect.zipLeft(Effect.fork(make(index)), Effect.yieldNow())
  )

/** Lets every fiber go on that can. */
const settle = TestClock.adjust(0)

/** Two users for each place of a session that takes two, out of step: it is never idle. */
const neverIdle = (pool: FakePool) =>
  Effect.forEach(
    [1000, 1300, 700, 1100],
    (millis) => Effect.fork(Effect.forever(Effect.ignore(stay(pool, millis)))),
    { discard: true }
  )

describe("a pool", () => {
  it.scoped("opens nothing before it is asked, and then no more than is needed", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { pool } = yield* makePool([a])
      yield* TestClock.adjust("1 hour")
      expect(a.attempts).toBe(0)
      expect([yield* pass(pool), yield* pass(pool)]).toEqual(["a1", "a1"])
      expect(a.attempts).toBe(1)
    })
  )

  it.scoped("opens up to its bound, and serves those who wait in the order of asking", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { events, pool } = yield* makePool([a])
      const order: Array<number> = []
      const users = yield* forkAll(20, (index) =>
        useOne(pool, () =>
          Effect.zipRight(
            Effect.sync(() => order.push(index)),
            Effect.sleep("1 second")
          )
        )
      )
      yield* TestClock.adjust("1 minute")
      yield* Fiber.joinAll(users)
      expect(order).toEqual(Array.from({ length: 20 }, (_, index) => index))
      expect([a.attempts, events.mostOpen]).toEqual([2, 2])
    })
  )

  it.scoped("gives the session that was used last, so that what is not needed grows old", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { events, pool } = yield* makePool([a], { idleMillis: 10_000 })
      yield* Effect.fork(stay(pool, "1 second"))
      yield* Effect.fork(stay(pool, "2 seconds"))
      yield* TestClock.adjust("2 seconds")
      for (let count = 0; count < 5; count++) {
        expect(yield* pass(pool)).toBe("a2")
        yield* TestClock.adjust("2 seconds")
      }
      expect([events.retired, openAt(a)]).toEqual([["a idle"], ["a2"]])
    })
  )

  it.scoped("closes an idle session on the millisecond, and not before", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { pool } = yield* makePool([a], { idleMillis: 10_000 })
      yield* pass(pool)
      yield* TestClock.adjust(9999)
      expect(openAt(a)).toEqual(["a1"])
      yield* TestClock.adjust(1)
      expect(openAt(a)).toEqual([])
      expect(yield* pass(pool)).toBe("a2")
    })
  )

  it.scoped("closes an idle session in time, whatever becomes of the time of day", () =>
    Effect.gen(function* () {
      const timeOfDay = yield* TimeOfDay.make
      const a = relay("a")
      const { pool } = yield* Effect.withClock(makePool([a], { idleMillis: 10_000 }), timeOfDay.clock)
      yield* pass(pool)
      timeOfDay.shift("1 hour", "forward")
      expect(yield* pass(pool)).toBe("a1")
      timeOfDay.shift("2 hours", "back")
      yield* TestClock.adjust("10 seconds")
      expect(openAt(a)).toEqual([])
    })
  )

  it.scoped("retires by age, but never under a user", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { events, pool } = yield* makePool([a], { maxAgeMillis: 10_000, maxSessions: 1 })
      yield* pass(pool)
      yield* TestClock.adjust("9 seconds")
      const user = yield* Effect.fork(stay(pool, "5 seconds"))
      yield* TestClock.adjust("4 seconds")
      expect(openAt(a)).toEqual(["a1"])
      yield* TestClock.adjust("1 seconds")
      expect([yield* Fiber.join(user), events.retired, openAt(a)]).toEqual(["a1", ["a age"], []])
    })
  )

  for (const none of [{ idleMillis: 0 }, { maxAgeMillis: 0 }]) {
    it.scoped(`keeps nothing with ${JSON.stringify(none)}, and still serves`, () =>
      Effect.gen(function* () {
        const a = relay("a", { behaviour: { opens: "succeeds", takes: 10 } })
        const { pool } = yield* makePool([a], { ...none, maxSessions: 1 })
        const first = yield* Effect.fork(pass(pool))
        yield* TestClock.adjust(10)
        expect([yield* Fiber.join(first), a.attempts, openAt(a)]).toEqual(["a1", 1, []])
        const users = yield* forkAll(3, () => stay(pool, "1 second"))
        yield* TestClock.adjust("4 seconds")
        const kept = "idleMillis" in none ? ["a2", "a2", "a2"] : ["a2", "a3", "a4"]
        expect([yield* Fiber.join(Fiber.all(users)), openAt(a)]).toEqual([kept, []])
        const gone = yield* Effect.fork(pass(pool))
        yield* settle
        yield* Fiber.interrupt(gone)
        const { attempts } = a
        yield* TestClock.adjust("1 minute")
        expect([a.attempts, openAt(a)]).toEqual([attempts, []])
      })
    )
  }

  it.scoped(
    "tells whether a session was opened for who gets it, or may have died before anybody used it",
    () =>
      Effect.gen(function* () {
        const a = relay("a", { behaviour: { opens: "succeeds", takes: 10 } })
        const { events, pool } = yield* makePool([a], { maxSessions: 1 })
        const ask = Effect.fork(
          pool.use(anything, Infinity, ({ isUsed, release }) =>
            Effect.sync(() => {
              release({ _tag: "Spent", reason: "failed", work: "none" })
              return isUsed
            })
          )
        )
        const gone = yield* ask
        yield* settle
        yield* Fiber.interrupt(gone)
        yield* TestClock.adjust(10)
        expect(yield* Fiber.join(yield* ask)).toBe(true)
        // One that died before it was used says nothing of its source, which is tried again at once.
        const next = yield* ask
        yield* TestClock.adjust(10)
        expect(yield* Fiber.join(next)).toBe(false)
        expect(events.retired).toEqual(["a failed", "a failed"])
      })
  )

  it.scoped("retires after so many messages, its own limit or the server's", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "succeeds", maxMessages: 3 } })
      const { events, pool } = yield* makePool([a], { maxMessages: 5 })
      const names = yield* Effect.replicateEffect(pass(pool), 7)
      expect(names).toEqual(["a1", "a1", "a1", "a2", "a2", "a2", "a3"])
      a.behaviour = { opens: "succeeds", maxMessages: 9 }
      yield* Effect.replicateEffect(pass(pool), 8)
      expect(events.retired).toEqual(["a mailmax", "a mailmax", "a mailmax", "a messages"])
    })
  )

  it.scoped("forgets a session that ends while it is idle", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { events, pool } = yield* makePool([a])
      yield* pass(pool)
      for (const { ended } of a.sessions) yield* Deferred.succeed(ended, "goodbye")
      yield* settle
      expect([pool.count().open, events.retired]).toEqual([0, ["a goodbye"]])
      expect(yield* pass(pool)).toBe("a2")
    })
  )

  it.scoped(
    "gives a session that shows life to whoever has met a dead one, and opens one if there is none",
    () =>
      Effect.gen(function* () {
        const a = relay("a")
        const { events, pool } = yield* makePool([a])
        yield* Effect.fork(stay(pool, "1 second"))
        yield* Effect.fork(stay(pool, "1 second"))
        yield* TestClock.adjust("1 second")
        const wish = { ...anything, aliveAfter: pool.moment() }
        // Both places are taken by sessions of which nobody knows whether they live.
        expect(yield* useOne(pool, () => Effect.void, wish)).toBe("a3")
        expect(yield* useOne(pool, () => Effect.void, wish)).toBe("a3")
        expect(events).toMatchObject({ retired: ["a displaced"], mostOpen: 2 })
      })
  )

  it.scoped("counts a session as open until it is closed", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const slow = {
        ...a.source,
        open: Effect.zipLeft(
          a.source.open,
          Effect.addFinalizer(() => Effect.sleep("5 seconds"))
        )
      }
      const { pool } = yield* makePool([{ ...a, source: slow }], { maxMessages: 1, maxSessions: 1 })
      yield* pass(pool)
      const user = yield* Effect.fork(pass(pool))
      yield* TestClock.adjust(4999)
      expect([a.attempts, pool.count().open]).toEqual([1, 1])
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(user)).toBe("a2")
      yield* Effect.fork(pool.close(0))
      yield* TestClock.adjust("5 seconds")
    })
  )

  it.scoped("shares sessions that take several users at once, after having opened as many as it may", () =>
    Effect.gen(function* () {
      const a = relay("a", { slots: 3 })
      const { pool } = yield* makePool([a])
      const users = yield* forkAll(7, () => stay(pool, "1 second"))
      yield* settle
      expect(a.sessions.map(({ users }) => users)).toEqual([3, 3])
      yield* TestClock.adjust("2 seconds")
      const names = yield* Fiber.join(Fiber.all(users))
      expect(names.slice(0, 6).sort()).toEqual(["a1", "a1", "a1", "a2", "a2", "a2"])
    })
  )

  it.scoped("shares a session at once, and opens further ones one at a time", () =>
    Effect.gen(function* () {
      const a = relay("a", { slots: 4, behaviour: { opens: "succeeds", takes: "1 second" } })
      const { pool } = yield* makePool([a], { maxSessions: 3 })
      yield* Effect.fork(stay(pool, "1 minute"))
      yield* TestClock.adjust("1 second")
      yield* forkAll(3, () => stay(pool, "1 minute"))
      yield* settle
      expect([a.sessions.map(({ users }) => users), pool.count().opening]).toEqual([[4], 1])
      yield* TestClock.adjust("1 second")
      yield* forkAll(2, () => stay(pool, "1 minute"))
      yield* settle
      expect([a.sessions.map(({ users }) => users), pool.count().opening]).toEqual([[4, 2], 1])
    })
  )

  for (const reason of ["mailmax", "refused", "replaced"] as const) {
    it.scoped(`leaves a session to those who share it, and gives nobody what takes no more: ${reason}`, () =>
      Effect.gen(function* () {
        const a = relay("a", { slots: 2 })
        const { events, pool } = yield* makePool([a], { maxSessions: 1 })
        const neighbour = yield* Effect.fork(stay(pool, "5 seconds"))
        yield* settle
        yield* pool.use(anything, Infinity, (lease) =>
          Effect.sync(() => lease.release({ _tag: "Spent", reason, work: "answered" }))
        )
        const next = yield* Effect.fork(pass(pool))
        yield* TestClock.adjust(4999)
        expect([openAt(a), events.retired]).toEqual([["a1"], []])
        yield* TestClock.adjust(1)
        expect([yield* Fiber.join(neighbour), yield* Fiber.join(next)]).toEqual(["a1", "a2"])
        expect(events.retired).toEqual([`a ${reason}`])
      })
    )
  }

  it.scoped("retires by age what is shared and never idle", () =>
    Effect.gen(function* () {
      const a = relay("a", { slots: 2 })
      const { events, pool } = yield* makePool([a], { maxSessions: 1, maxAgeMillis: 10_000 })
      yield* neverIdle(pool)
      yield* TestClock.adjust("12 seconds")
      expect(events.retired).toEqual(["a age"])
      expect(openAt(a)).toEqual(["a2"])
    })
  )
})

describe("a pool whose user is interrupted", () => {
  it.scoped("gives nobody the session before it is proven", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const proof = yield* Effect.makeLatch()
      const { pool } = yield* makePool([a], { maxSessions: 1 }, { prove: () => Effect.as(proof.await, true) })
      const first = yield* Effect.fork(stay(pool, "1 hour"))
      yield* settle
      yield* Fiber.interrupt(first)
      const second = yield* Effect.fork(pass(pool))
      yield* settle
      expect([second.unsafePoll(), pool.count().idle]).toEqual([null, 0])
      yield* proof.open
      expect(yield* Fiber.join(second)).toBe("a1")
    })
  )

  it.scoped("closes the session that does not prove clean", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { events, pool } = yield* makePool([a], {}, { prove: () => Effect.succeed(false) })
      const first = yield* Effect.fork(stay(pool, "1 hour"))
      yield* settle
      yield* Fiber.interrupt(first)
      expect([yield* pass(pool), events.retired]).toEqual(["a2", ["a interrupted"]])
    })
  )

  for (const outcome of ["clean", "unclean"] as const) {
    it.scoped(
      `leaves the session to those who share it until they have gone, and then it is ${outcome}`,
      () =>
        Effect.gen(function* () {
          const a = relay("a", { slots: 3 })
          const proofs: Array<boolean> = []
          const { events, pool } = yield* makePool(
            [a],
            { maxSessions: 1 },
            {
              prove: (_session, alone) =>
                Effect.map(outcome === "clean" ? Effect.delay(alone, 500) : Effect.void, () => {
                  proofs.push(outcome === "clean")
                  return outcome === "clean"
                })
            }
          )
          const neighbour = yield* Effect.fork(stay(pool, "1 hour"))
          yield* settle
          const gone = yield* Effect.fork(stay(pool, "1 day"))
          yield* settle
          yield* Fiber.interrupt(gone)
          const next = yield* Effect.fork(pass(pool))
          yield* TestClock.adjust(3_599_999)
          expect([next.unsafePoll(), openAt(a), events.retired]).toEqual([null, ["a1"], []])
          yield* TestClock.adjust(501)
          expect(yield* Fiber.join(neighbour)).toBe("a1")
          expect(yield* Fiber.join(next)).toBe(outcome === "clean" ? "a1" : "a2")
          expect(events.retired).toEqual(outcome === "clean" ? [] : ["a interrupted"])
          expect(proofs).toHaveLength(1)
        })
    )
  }

  it.scoped("lets an opening go on for the next one", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "succeeds", takes: "2 seconds" } })
      const { pool } = yield* makePool([a])
      const first = yield* Effect.fork(pass(pool))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(first)
      const second = yield* Effect.fork(pass(pool))
      yield* TestClock.adjust("1 second")
      expect([yield* Fiber.join(second), a.attempts]).toEqual(["a1", 1])
    })
  )

  it.effect(
    "at any step of waiting and using leaves no lease, no fiber, no place in the queue, and serves the next",
    () =>
      Effect.gen(function* () {
        const faults: Array<string> = []
        const steps = yield* atEveryStep("operations", (step, interrupted) =>
          Effect.gen(function* () {
            const supervisor = yield* Supervisor.track
            const a = relay("a")
            const run = yield* Effect.scoped(
              Effect.gen(function* () {
                const { pool } = yield* makePool([a], { maxSessions: 1 })
                const holder = yield* Effect.fork(useOne(pool, () => Effect.yieldNow()))
                const { exit, reached } = yield* interrupted(useOne(pool, () => Effect.yieldNow()))
                const next = yield* pass(pool)
                yield* Fiber.join(holder)
                const count = pool.count()
                if (count.idle !== 1 || count.waiting !== 0)
                  faults.push(`step ${step}: ${JSON.stringify(count)}`)
                if (next !== "a1") faults.push(`step ${step}: ${next}`)
                if (Exit.isFailure(exit) && !Exit.isInterrupted(exit)) faults.push(`step ${step}: failed`)
                return { reached }
              })
            ).pipe(Effect.supervised(supervisor))
            if (a.sessions.some(isOpen)) faults.push(`step ${step}: open`)
            if ((yield* supervisor.value).length > 0) faults.push(`step ${step}: fibers`)
            return run
          })
        )
        expect(faults).toEqual([])
        expect(steps).toBeGreaterThan(20)
      }),
    60_000
  )
})

describe("a pool whose source fails", () => {
  it.scoped("tells everybody who waits for it, and leaves it alone for longer each time", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "refuses", takes: 10 } })
      const { events, pool } = yield* makePool([a])
      for (const [index, pause] of [0, 500, 1000, 2000, 4000, 8000, 8000].entries()) {
        const users = yield* forkAll(5, () => Effect.flip(pass(pool)))
        yield* TestClock.adjust(Math.max(0, pause - 1))
        // Both places were tried the first time, later one at a time.
        expect(a.attempts).toBe(index === 0 ? 2 : index + 1)
        yield* TestClock.adjust(index === 0 ? 0 : 1)
        yield* TestClock.adjust(10)
        for (const error of yield* Fiber.join(Fiber.all(users))) expect(error).toMatchObject({ by: "a" })
        expect(a.attempts).toBe(index + 2)
      }
      expect(events.pauses).toEqual([500, 500, 1000, 2000, 4000, 8000, 8000, 8000])
    })
  )

  it.scoped("tells of a failure at once, and counts its connection until that is closed", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "refuses", closingTakes: "5 seconds" } })
      const { events, pool } = yield* makePool([a], { maxSessions: 1, longestPauseMillis: 1000 })
      expect(yield* Effect.flip(pass(pool))).toMatchObject({ by: "a" })
      expect([events.pauses, pool.count().opening]).toEqual([[500], 1])
      a.behaviour = { opens: "succeeds" }
      const users = yield* forkAll(3, () => pass(pool))
      yield* TestClock.adjust(4999)
      expect(a.attempts).toBe(1)
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(Fiber.all(users))).toEqual(["a1", "a1", "a1"])
      expect([a.attempts, pool.count().opening]).toEqual([2, 0])
    })
  )

  it.scoped("is left alone no longer when the time of day is set back meanwhile", () =>
    Effect.gen(function* () {
      const timeOfDay = yield* TimeOfDay.make
      const a = relay("a", { behaviour: { opens: "refuses" } })
      const { pool } = yield* Effect.withClock(makePool([a]), timeOfDay.clock)
      yield* Effect.flip(pass(pool))
      a.behaviour = { opens: "succeeds" }
      timeOfDay.shift("1 hour", "back")
      const user = yield* Effect.fork(pass(pool))
      yield* TestClock.adjust(500)
      expect(yield* Fiber.join(user)).toBe("a1")
    })
  )

  it.scoped("comes back by itself, and opens as many as before", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "refuses" } })
      const { pool } = yield* makePool([a])
      yield* Effect.flip(pass(pool))
      a.behaviour = { opens: "succeeds" }
      const users = yield* forkAll(4, () => stay(pool, "1 second"))
      yield* TestClock.adjust(500)
      expect(openAt(a)).toEqual(["a1", "a2"])
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.joinAll(users)
    })
  )

  it.scoped("tells nobody while other sessions serve: the server just takes no more", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { events, pool } = yield* makePool([a])
      yield* Effect.fork(stay(pool, "1 second"))
      yield* settle
      a.behaviour = { opens: "refuses" }
      const users = yield* forkAll(5, () => stay(pool, "1 second"))
      yield* TestClock.adjust("6 seconds")
      expect(yield* Fiber.join(Fiber.all(users))).toEqual(Array.from({ length: 5 }, () => "a1"))
      expect(events.pauses).toEqual([500, 1000, 2000, 4000])
    })
  )

  it.scoped("fails at once for a while where trying again cannot help", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "refusesForGood" } })
      const { pool } = yield* makePool([a], { maxSessions: 1 })
      for (let count = 0; count < 5; count++)
        expect(yield* Effect.flip(pass(pool))).toMatchObject({ by: "a" })
      expect(a.attempts).toBe(1)
      a.behaviour = { opens: "succeeds" }
      yield* TestClock.adjust("8 seconds")
      expect(yield* pass(pool)).toBe("a1")
    })
  )

  it.scoped("leaves it alone too when sessions fail their first users", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { pool } = yield* makePool([a], { maxSessions: 1 })
      const failing = pool.use(anything, Infinity, (lease) =>
        Effect.sync(() => lease.release({ _tag: "Spent", reason: "failed", work: "none" }))
      )
      yield* failing
      const user = yield* Effect.fork(failing)
      yield* TestClock.adjust(499)
      expect(a.attempts).toBe(1)
      yield* TestClock.adjust(1)
      yield* Fiber.join(user)
      expect(a.attempts).toBe(2)
    })
  )

  it.scoped("passes a defect on to those who wait", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const broken: Relay = { ...a, source: { ...a.source, open: Effect.die("broken") } }
      const { pool } = yield* makePool([broken])
      const exit = yield* Effect.exit(pass(pool))
      expect(Exit.isFailure(exit) && Cause.isDie(exit.cause)).toBe(true)
    })
  )
})

describe("a pool of several sources", () => {
  const main = (opens: Relay["behaviour"]["opens"] = "succeeds") =>
    relay("main", { priority: 0, behaviour: { opens } })
  const spare = () => relay("spare", { priority: 1 })

  it.scoped("uses the best, and the next only when the best is out of order", () =>
    Effect.gen(function* () {
      const relays = [spare(), main()] as const
      const { pool } = yield* makePool(relays)
      expect(yield* pass(pool)).toBe("main1")
      relays[1].behaviour = { opens: "refuses" }
      for (const { ended } of relays[1].sessions) yield* Deferred.succeed(ended, "lost")
      yield* settle
      expect([yield* pass(pool), yield* pass(pool)]).toEqual(["spare1", "spare1"])
      // Tried again when its pause is over, while the spare serves.
      yield* TestClock.adjust(500)
      expect(yield* pass(pool)).toBe("spare1")
      yield* settle
      expect(relays[1].attempts).toBe(3)
      relays[1].behaviour = { opens: "succeeds" }
      yield* TestClock.adjust(1000)
      expect(yield* pass(pool)).toBe("spare1")
      yield* settle
      expect(yield* pass(pool)).toBe("main2")
    })
  )

  it.scoped("goes back to the best even when the spare has every place", () =>
    Effect.gen(function* () {
      const relays = [main("refuses"), spare()] as const
      const { events, pool } = yield* makePool(relays, { maxSessions: 1 })
      expect(yield* pass(pool)).toBe("spare1")
      relays[0].behaviour = { opens: "succeeds" }
      yield* TestClock.adjust(500)
      expect(yield* pass(pool)).toBe("spare1")
      yield* settle
      expect([yield* pass(pool), events]).toMatchObject([
        "main1",
        { retired: ["spare displaced"], mostOpen: 1 }
      ])
    })
  )

  it.scoped("tells those who wait only when all have failed", () =>
    Effect.gen(function* () {
      const relays = [
        main("refuses"),
        relay("spare", { priority: 1, behaviour: { opens: "refuses" } })
      ] as const
      const { pool } = yield* makePool(relays)
      expect(yield* Effect.flip(pass(pool))).toMatchObject({ by: "spare" })
      expect(relays.map(({ attempts }) => attempts)).toEqual([1, 1])
    })
  )

  it.scoped("shares the load between equals", () =>
    Effect.gen(function* () {
      const relays = [relay("a"), relay("b"), relay("c")] as const
      const { pool } = yield* makePool(relays, { maxSessions: 6 })
      const names = yield* Effect.replicateEffect(Effect.zipLeft(pass(pool), settle), 30)
      for (const { source } of relays) {
        const share = names.filter((name) => name.startsWith(source.name)).length
        expect(share).toBeGreaterThanOrEqual(9)
      }
    })
  )

  it.scoped("keeps a message from where it has been", () =>
    Effect.gen(function* () {
      const relays = [main(), spare()] as const
      const { pool } = yield* makePool(relays, { maxSessions: 1 })
      expect(yield* pass(pool)).toBe("main1")
      const wish = { ...anything, except: new Set<FakeRelay>([relays[0].source]) }
      expect(yield* useOne(pool, () => Effect.void, wish)).toBe("spare1")
    })
  )

  it.scoped("looks at those who want the same once for all, however many wait", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { pool } = yield* makePool([a, relay("b", { priority: 1 })])
      let looks = 0
      class Watched extends Set<FakeRelay> {
        override has(source: FakeRelay): boolean {
          looks += 1
          return super.has(source)
        }
      }
      const users = yield* forkAll(300, () =>
        useOne(pool, () => Effect.sleep(1), { except: new Watched([a.source]), aliveAfter: undefined })
      )
      yield* TestClock.adjust("1 second")
      expect(new Set(yield* Fiber.join(Fiber.all(users)))).toEqual(new Set(["b1", "b2"]))
      expect(looks).toBeLessThan(300 * 20)
    })
  )

  it.scoped("finds a place for it though those elsewhere are shared and never idle", () =>
    Effect.gen(function* () {
      const a = relay("a", { slots: 2 })
      const b = relay("b", { slots: 2, priority: 1 })
      const { events, pool } = yield* makePool([a, b], { maxSessions: 1 })
      yield* neverIdle(pool)
      const other = yield* Effect.fork(
        useOne(pool, () => Effect.void, { except: new Set([a.source]), aliveAfter: undefined })
      )
      yield* TestClock.adjust("5 seconds")
      expect(other.unsafePoll()).not.toBeNull()
      expect(yield* Fiber.join(other)).toBe("b1")
      expect(events.mostOpen).toBe(1)
    })
  )

  it.scoped("finds a place for it though a better one may have recovered, which it cannot use", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const b = relay("b", { priority: 1 })
      const { pool } = yield* makePool([a, b], { maxSessions: 1 })
      yield* pool.use(anything, Infinity, (lease) =>
        Effect.sync(() => lease.release({ _tag: "Spent", reason: "failed", work: "none" }))
      )
      yield* TestClock.adjust("1 second")
      const other = yield* Effect.fork(
        useOne(pool, () => Effect.void, { except: new Set([a.source]), aliveAfter: undefined })
      )
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(other)).toBe("b1")
      expect(a.attempts).toBeLessThan(5)
    })
  )

  it.scoped("goes back to the best though those of the spare are shared and never idle", () =>
    Effect.gen(function* () {
      const a = relay("a", { slots: 2, behaviour: { opens: "refuses" } })
      const b = relay("b", { slots: 2, priority: 1 })
      const { pool } = yield* makePool([a, b], { maxSessions: 1 })
      yield* neverIdle(pool)
      yield* TestClock.adjust("5 seconds")
      expect([openAt(a).length, openAt(b).length]).toEqual([0, 1])
      a.behaviour = { opens: "succeeds" }
      yield* TestClock.adjust("20 seconds")
      expect([openAt(a), openAt(b)]).toEqual([["a1"], []])
    })
  )

  it.scoped("holds each source to a bound of its own", () =>
    Effect.gen(function* () {
      const relays = [relay("a", { maxSessions: 1 }), relay("b", { maxSessions: 2 })] as const
      const { pool } = yield* makePool(relays, { maxSessions: 10 })
      const users = yield* forkAll(9, () => stay(pool, "1 second"))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.joinAll(users)
      expect(relays.map(({ sessions }) => sessions.length)).toEqual([1, 2])
    })
  )
})

describe("waiting", () => {
  it.scoped("ends at once when the queue is full, and does not count who has a session coming", () =>
    Effect.gen(function* () {
      const { events, pool } = yield* makePool([relay("a")], { maxWaiting: 3 })
      const users = yield* forkAll(5, () => stay(pool, "1 second"))
      expect(yield* Effect.flip(pass(pool))).toMatchObject({ _tag: "ClientUnavailable", reason: "QueueFull" })
      expect([events.waiting, pool.count().waiting]).toEqual([3, 3])
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.joinAll(users)
    })
  )

  it.scoped("is refused when the queue is full from within a round too", () =>
    Effect.gen(function* () {
      const { ask, pool } = yield* makePool([relay("a")], { maxSessions: 1, maxWaiting: 0 })
      const answers: Array<string> = []
      yield* pass(pool)
      // The first is served within the round, and asks for two more there.
      ask((answer) => {
        answers.push(answer._tag)
        ask((second) => answers.push(`second ${second._tag}`))
      })
      yield* settle
      expect(answers).toEqual(["Success", "second Failure"])
    })
  )

  it.scoped("serves messages that may go to different relays in the order of asking", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const b = relay("b", { priority: 1 })
      const { ask, pool } = yield* makePool([a, b])
      const notA = { ...anything, except: new Set([a.source]) }
      const notB = { ...anything, except: new Set([b.source]) }
      yield* Effect.all([useOne(pool, () => settle, notA), useOne(pool, () => settle, notA)], {
        concurrency: 2
      })
      expect(openAt(b)).toEqual(["b1", "b2"])
      const served: Array<string> = []
      // Three ask while both sessions are idle: the first and the last cannot use them.
      ask((answer) => {
        if (Exit.isSuccess(answer)) answer.value.release({ _tag: "Clean", work: "accepted" })
        for (const [name, request] of [
          ["first", notB] as const,
          ["second", notA] as const,
          ["third", notB] as const
        ])
          ask(({ _tag }) => served.push(`${name} ${_tag}`), request)
      }, notA)
      expect(served).toEqual(["second Success"])
      yield* settle
      expect(served).toEqual(["second Success", "first Success"])
    })
  )

  it.scoped("ends when its time is up, and the place goes to the next", () =>
    Effect.gen(function* () {
      const { events, pool } = yield* makePool([relay("a")], { maxSessions: 1 })
      yield* Effect.fork(stay(pool, "10 seconds"))
      yield* settle
      const limited = yield* Effect.fork(Effect.flip(useOne(pool, () => Effect.void, anything, 3000)))
      const next = yield* Effect.fork(pass(pool))
      yield* TestClock.adjust(2999)
      expect(limited.unsafePoll()).toBe(null)
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(limited)).toMatchObject({ _tag: "ClientUnavailable", reason: "Timeout" })
      expect([events.waiting, pool.count().waiting]).toEqual([1, 1])
      yield* TestClock.adjust("7 seconds")
      expect(yield* Fiber.join(next)).toBe("a1")
    })
  )
})

describe("closing a pool", () => {
  it.scoped("turns away who waits and who comes, and lets who works finish", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { events, pool } = yield* makePool([a], { maxSessions: 2 })
      const working = yield* Effect.fork(stay(pool, "3 seconds"))
      yield* settle
      const second = yield* Effect.fork(stay(pool, "1 second"))
      yield* settle
      const waiting = yield* Effect.fork(Effect.flip(pass(pool)))
      yield* settle
      const closing = yield* Effect.fork(pool.close(10_000))
      yield* settle
      const closed = { _tag: "ClientUnavailable", reason: "Closed" }
      expect(yield* Fiber.join(waiting)).toMatchObject(closed)
      expect(yield* Effect.flip(pass(pool))).toMatchObject(closed)
      yield* TestClock.adjust(2999)
      expect([closing.unsafePoll(), yield* Fiber.join(second), openAt(a)]).toEqual([null, "a2", ["a1"]])
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
      expect([yield* Fiber.join(working), openAt(a), events.retired]).toEqual([
        "a1",
        [],
        ["a closed", "a closed"]
      ])
      yield* pool.close(10_000)
    })
  )

  it.scoped("waits for the proof of a session whose user was interrupted", () =>
    Effect.gen(function* () {
      const a = relay("a")
      const { events, pool } = yield* makePool(
        [a],
        {},
        { prove: () => Effect.delay(Effect.succeed(true), "7 seconds") }
      )
      const gone = yield* Effect.fork(stay(pool, "1 hour"))
      yield* settle
      yield* Fiber.interrupt(gone)
      const closing = yield* Effect.fork(pool.close(10_000))
      yield* TestClock.adjust(6999)
      expect([closing.unsafePoll(), openAt(a)]).toEqual([null, ["a1"]])
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
      expect([openAt(a), events.retired]).toEqual([[], ["a closed"]])
    })
  )

  it.scoped("waits no longer than it may", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "succeeds" } })
      const { pool } = yield* makePool([a])
      yield* Effect.fork(stay(pool, "1 hour"))
      yield* settle
      const closing = yield* Effect.fork(pool.close(10_000))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(closing)
      expect(openAt(a)).toEqual([])
    })
  )

  it.scoped("opens nothing for a relay that may have recovered", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "refuses" } })
      const b = relay("b", { priority: 1 })
      const { events, pool } = yield* makePool([a, b], { maxSessions: 1 })
      yield* pass(pool)
      yield* TestClock.adjust("1 second")
      a.behaviour = { opens: "succeeds" }
      const user = yield* Effect.fork(stay(pool, "1 second"))
      yield* settle
      const waiting = yield* Effect.fork(Effect.exit(pass(pool)))
      yield* settle
      const { attempts } = a
      const closing = yield* Effect.fork(pool.close(10_000))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(user)
      yield* Fiber.join(waiting)
      yield* Fiber.join(closing)
      expect(a.attempts).toBe(attempts)
      expect(events.retired).toEqual(["b closed"])
    })
  )

  it.scoped("gives up what is being opened", () =>
    Effect.gen(function* () {
      const a = relay("a", { behaviour: { opens: "hangs" } })
      const { pool } = yield* makePool([a])
      const waiting = yield* Effect.fork(Effect.flip(pass(pool)))
      yield* settle
      yield* pool.close(10_000)
      expect(yield* Fiber.join(waiting)).toMatchObject({ reason: "Closed" })
    })
  )
})

// -- random schedules

type Event =
  | {
      readonly _tag: "Use"
      readonly millis: number
      readonly limit: number
      readonly except: boolean
    }
  | { readonly _tag: "Fail"; readonly millis: number }
  | { readonly _tag: "Interrupt"; readonly which: number }
  | { readonly _tag: "End"; readonly which: number }
  | {
      readonly _tag: "Behave"
      readonly relay: 0 | 1
      readonly opens: Relay["behaviour"]["opens"]
      readonly takes: number
    }
  | { readonly _tag: "Pass"; readonly millis: number }

const millis = FastCheck.integer({ min: 0, max: 3000 })
const which = FastCheck.nat(50)

const event: FastCheck.Arbitrary<Event> = FastCheck.oneof(
  {
    weight: 6,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Use" as const),
      millis,
      limit: FastCheck.option(millis, { nil: Infinity }),
      except: FastCheck.boolean()
    })
  },
  { weight: 1, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Fail" as const), millis }) },
  { weight: 2, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Interrupt" as const), which }) },
  { weight: 1, arbitrary: FastCheck.record({ _tag: FastCheck.constant("End" as const), which }) },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Behave" as const),
      relay: FastCheck.constantFrom(0 as const, 1 as const),
      opens: FastCheck.constantFrom(
        "succeeds" as const,
        "succeeds" as const,
        "refuses" as const,
        "refusesForGood" as const
      ),
      takes: FastCheck.constantFrom(0, 100, 2000)
    })
  },
  { weight: 3, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Pass" as const), millis }) }
)

describe("a pool under random schedules of users, interruptions and failures", () => {
  const run = (events: ReadonlyArray<Event>, maxSessions: number, slots: number) =>
    Effect.gen(function* () {
      const relays = [relay("a", { slots }), relay("b", { priority: 1, slots })] as const
      const faults: Array<string> = []
      const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
      const watch = (session: { readonly users: number; readonly isOpen: boolean }): Effect.Effect<void> =>
        Effect.sync(() => {
          if (session.users > slots) faults.push("too many users")
        })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { events: seen, pool } = yield* makePool(relays, {
            maxSessions,
            maxMessages: 7,
            idleMillis: 2000,
            maxAgeMillis: 9000
          })
          const except = new Set<FakeRelay>([relays[0].source])
          for (const each of events) {
            switch (each._tag) {
              case "Use": {
                const wish = each.except ? { ...anything, except } : anything
                const use = useOne(
                  pool,
                  ({ session }) => Effect.zipRight(watch(session), Effect.sleep(each.millis)),
                  wish,
                  each.limit
                )
                fibers.push(yield* Effect.fork(use))
                break
              }
              case "Fail":
                fibers.push(
                  yield* Effect.fork(
                    pool.use(anything, Infinity, (lease) =>
                      Effect.map(Effect.sleep(each.millis), () =>
                        lease.release({ _tag: "Spent", reason: "failed", work: "none" })
                      )
                    )
                  )
                )
                break
              case "Interrupt": {
                const fiber = fibers[each.which % Math.max(1, fibers.length)]
                if (fiber !== undefined) yield* Effect.fork(Fiber.interrupt(fiber))
                break
              }
              case "End": {
                const sessions = relays.flatMap((each) => each.sessions)
                const session = sessions[each.which % Math.max(1, sessions.length)]
                if (session !== undefined) yield* Deferred.succeed(session.ended, "lost")
                break
              }
              case "Behave":
                relays[each.relay].behaviour = { opens: each.opens, takes: each.takes }
                break
              case "Pass":
                yield* TestClock.adjust(each.millis)
            }
            yield* Effect.yieldNow()
          }
          for (const each of relays) each.behaviour = { opens: "succeeds" }
          yield* TestClock.adjust("10 minutes")
          const unanswered = fibers.filter((fiber) => fiber.unsafePoll() === null).length
          if (unanswered > 0) faults.push(`${unanswered} were never answered`)
          if (seen.mostOpen > maxSessions) faults.push(`${seen.mostOpen} were open`)
          const { idle, open, opening, waiting } = pool.count()
          if (open !== 0 || idle !== 0 || opening !== 0 || waiting !== 0)
            faults.push("something is left over")
        })
      )
      if (relays.some(({ sessions }) => sessions.some(isOpen))) faults.push("a session is open")
      return faults
    })

  it.effect.prop(
    "answers everybody, keeps to its bound, and leaves nothing",
    [
      FastCheck.array(event, { maxLength: 60 }),
      FastCheck.integer({ min: 1, max: 3 }),
      FastCheck.integer({ min: 1, max: 2 })
    ],
    ([events, maxSessions, slots]) =>
      Effect.map(run(events, maxSessions, slots), (faults) => {
        expect(faults).toEqual([])
      }),
    { fastCheck: { numRuns: 60 }, timeout: 60_000 }
  )
})
