/**
 * The lane as an effect: the right to submit commands, taken in the order of asking and given back whatever
 * happens.
 */
import * as Effect from "effect/Effect"
import type { Entrant, Exchange, Failure } from "./driver.js"

export interface Lane {
  readonly entrant: Entrant
  /** Waits for the lane; gives the failure of a session that ended before. Interruption gives the place up. */
  readonly take: Effect.Effect<Failure | undefined>
  /** Gives the lane back, once or more often. */
  readonly leave: () => void
}

export const make = (exchange: Exchange, purpose: Entrant["purpose"]): Lane => {
  let admitted: (failure: Failure | undefined) => void = () => undefined
  const entrant: Entrant = {
    purpose,
    begin: () => admitted(undefined),
    turnedAway: (failure) => admitted(failure)
  }
  const leave = (): void => exchange.leave(entrant)
  return {
    entrant,
    take: Effect.async((resume) => {
      admitted = (failure) => resume(Effect.succeed(failure))
      exchange.enter(entrant)
      return Effect.sync(leave)
    }),
    leave
  }
}
