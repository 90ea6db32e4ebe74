/**
 * The turn as an effect: the right to submit commands, taken in the order of asking and given back whatever
 * happens.
 */
import * as Effect from "effect/Effect"
import type { Turn, Driver, Failure } from "./driver.js"

export interface HeldTurn {
  readonly turn: Turn
  /** Waits for the turn; gives the failure of a session that ended before. Interruption gives the place up. */
  readonly take: Effect.Effect<Failure | undefined>
  /** Gives the turn back, once or more often. */
  readonly leave: () => void
}

export const make = (driver: Driver, purpose: Turn["purpose"]): HeldTurn => {
  let admitted: (failure: Failure | undefined) => void = () => undefined
  const turn: Turn = {
    purpose,
    begin: () => admitted(undefined),
    rejected: (failure) => admitted(failure)
  }
  const leave = (): void => driver.leaveTurn(turn)
  return {
    turn,
    take: Effect.async((resume) => {
      admitted = (failure) => resume(Effect.succeed(failure))
      driver.takeTurn(turn)
      return Effect.sync(leave)
    }),
    leave
  }
}
