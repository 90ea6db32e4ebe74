/**
 * A scheduler that counts what fibers do: with it a test can put an interruption at any point of a run, and meet
 * the same points again in the next run.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Scheduler from "effect/Scheduler"

/**
 * What is counted, over all fibers: every operation; or the times that a fiber begins to run or goes on, which is
 * where interruptions fall outside of tests. Where a race is begun only these will do: Effect waits for ever for the
 * sides of a race that was interrupted in the one operation between their making and their start.
 */
export type Unit = "operations" | "turns"

interface Stepping {
  readonly scheduler: Scheduler.Scheduler
  /** From now on is counted; `reached` hears of the step. */
  readonly begin: (reached: () => void) => void
}

const makeStepping = (step: number, unit: Unit): Stepping => {
  const tasks: Array<Scheduler.Task> = []
  let running = false
  let reached: (() => void) | undefined
  let count = 0

  const stepped = (what: Unit): void => {
    if (reached === undefined || what !== unit || ++count !== step) return
    const tell = reached
    reached = undefined
    tell()
  }

  const run = (): void => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
      stepped("turns")
      task()
    }
    running = false
  }

  return {
    scheduler: {
      scheduleTask: (task) => {
        tasks.push(task)
        if (running) return
        running = true
        queueMicrotask(run)
      },
      shouldYield: (fiber) => {
        stepped("operations")
        return fiber.currentOpCount > 2048 ? 0 : false
      }
    },
    begin: (listener) => {
      reached = listener
    }
  }
}

/** Runs the effect and interrupts it at the step that the test is run for, if it takes that many. */
export type Interrupted = <A, E, R>(
  effect: Effect.Effect<A, E, R>
) => Effect.Effect<{ readonly exit: Exit.Exit<A, E>; readonly reached: boolean }, never, R>

/** Runs a test in which `interrupted`, used once, ends its effect at the step of that number, from 1. */
const atStep = <A, E, R>(
  step: number,
  unit: Unit,
  test: (interrupted: Interrupted) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const { begin, scheduler } = makeStepping(step, unit)
    const interrupted: Interrupted = (effect) =>
      Effect.gen(function* () {
        let reached = false
        const fiber = yield* Effect.fork(effect)
        begin(() => {
          reached = true
          fiber.unsafeInterruptAsFork(FiberId.none)
        })
        const exit = yield* Fiber.await(fiber)
        return { exit, reached }
      })
    return Effect.withScheduler(test(interrupted), scheduler)
  })

/** Runs the test for every step, until it says that its effect came to its end before the step. */
export const atEveryStep = <E, R>(
  unit: Unit,
  test: (step: number, interrupted: Interrupted) => Effect.Effect<{ readonly reached: boolean }, E, R>
): Effect.Effect<number, E, R> =>
  Effect.gen(function* () {
    let step = 1
    while ((yield* atStep(step, unit, (interrupted) => test(step, interrupted))).reached) step++
    return step - 1
  })
