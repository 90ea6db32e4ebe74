/** Lets a machine that calls back use the fiber of its caller: the fiber waits, and performs what it is given. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"

/**
 * `begin` is given `run`, which has the fiber perform an effect and wait again, and `done`, which ends the wait. What it
 * returns is called when the fiber is interrupted.
 */
export const inCallersFiber = <A, E, R>(
  begin: (
    run: (step: Effect.Effect<void, never, R>) => void,
    done: (exit: Exit.Exit<A, E>) => void
  ) => () => void
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let resume: ((next: Effect.Effect<A, E, R>) => void) | undefined
    // Given while the fiber performs something else.
    let given: Effect.Effect<A, E, R> | undefined
    let giveUp: () => void = () => undefined
    const give = (next: Effect.Effect<A, E, R>): void => {
      if (resume === undefined) {
        given = next
        return
      }
      const goOn = resume
      resume = undefined
      goOn(next)
    }
    const wait: Effect.Effect<A, E, R> = Effect.async((goOn) => {
      if (given === undefined) {
        resume = goOn
        return
      }
      const next = given
      given = undefined
      goOn(next)
    })
    const first: Effect.Effect<A, E, R> = Effect.async((goOn) => {
      resume = goOn
      giveUp = begin((step) => give(Effect.zipRight(step, wait)), give)
    })
    return Effect.onInterrupt(first, () => Effect.sync(() => giveUp()))
  })
