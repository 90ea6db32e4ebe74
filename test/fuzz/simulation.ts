/**
 * Runs an effect on a clock and a scheduler of its own: time passes when nobody has anything else to do, and an
 * effect that waits for what never comes is seen at once.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scheduler from "effect/Scheduler"
import * as Supervisor from "effect/Supervisor"

interface Timer {
  readonly at: number
  readonly run: () => void
}

export type Ended<A, E> =
  | {
      readonly _tag: "Ended"
      readonly exit: Exit.Exit<A, E>
      /** What still ran or slept when the effect had ended, and nothing moved any more. */
      readonly left: ReadonlyArray<string>
    }
  | { readonly _tag: "Hangs"; readonly why: string }

// A session's longest limit is 10 minutes, and no program here has more than some dozen waits in a row.
const longestMillis = 24 * 60 * 60 * 1000
const mostTasks = 1_000_000
// What waits for the event loop itself, an import say, gets so much real time before it counts as hanging.
const patienceMillis = 3_000

const turn = (): Promise<undefined> =>
  new Promise((resolve) => {
    setImmediate(() => {
      resolve(undefined)
    })
  })

export const simulate = async <A, E>(effect: Effect.Effect<A, E>): Promise<Ended<A, E>> => {
  const tasks: Array<Scheduler.Task> = []
  const timers: Array<Timer> = []
  const supervisor = Supervisor.unsafeTrack()
  let now = 0
  let exit: Exit.Exit<A, E> | undefined

  const scheduler: Scheduler.Scheduler = {
    scheduleTask: (task) => {
      tasks.push(task)
    },
    shouldYield: (fiber) => (fiber.currentOpCount > 2048 ? 0 : false)
  }

  const sleep = (duration: Duration.Duration): Effect.Effect<void> =>
    Effect.async((resume) => {
      const millis = Duration.toMillis(duration)
      if (!Number.isFinite(millis)) return
      const timer = { at: now + millis, run: () => resume(Effect.void) }
      const place = timers.findIndex(({ at }) => at > timer.at)
      timers.splice(place === -1 ? timers.length : place, 0, timer)
      return Effect.sync(() => {
        const index = timers.indexOf(timer)
        if (index !== -1) timers.splice(index, 1)
      })
    })

  const nanos = (): bigint => BigInt(Math.round(now * 1_000_000))
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanos: Effect.sync(nanos),
    sleep
  }

  const fiber = Effect.runFork(Effect.withClock(Effect.supervised(effect, supervisor), clock), { scheduler })
  fiber.addObserver((result) => {
    exit = result
  })

  const runTasks = (): boolean => {
    for (let count = 0; count < mostTasks; count++) {
      const task = tasks.shift()
      if (task === undefined) return true
      task()
    }
    return false
  }

  let idleSince = performance.now()
  for (;;) {
    if (!runTasks()) return { _tag: "Hangs", why: `still busy after ${mostTasks} steps` }
    await turn()
    if (tasks.length > 0) {
      idleSince = performance.now()
      continue
    }
    if (exit !== undefined) break
    const timer = timers.shift()
    if (timer !== undefined) {
      now = timer.at
      if (now > longestMillis) return { _tag: "Hangs", why: "still waiting after a day" }
      timer.run()
      idleSince = performance.now()
    } else if (performance.now() - idleSince > patienceMillis)
      return { _tag: "Hangs", why: "nothing moves, and no timer runs" }
  }
  const fibers = await Effect.runPromise(supervisor.value)
  const running = fibers.filter((child) => child.id() !== fiber.id() && child.unsafePoll() === null)
  return {
    _tag: "Ended",
    exit,
    left: [
      ...running.map((child) => `fiber ${child.id().id}`),
      ...timers.map(({ at }) => `a timer for ${at} ms, at ${now} ms`)
    ]
  }
}
