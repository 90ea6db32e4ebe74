/** Turns of the event loop, over which what comes one by one is gathered. */
import * as Effect from "effect/Effect"

/**
 * How many receipts are worth no further wait. A stream takes as long for a chunk as the session for a message, so that
 * receipts one by one would hold it up.
 */
export const worthAChunk = 8

// Turns are short where little goes on, and long enough to bring several receipts where much does.
const turnsToGather = 4

/** Waits for a few turns, as long as it is of use. */
export const gather = (isOfUse: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (isOfUse() ? wait(turnsToGather, isOfUse) : Effect.void))

const wait = (count: number, isOfUse: () => boolean): Effect.Effect<void> =>
  Effect.async((resume) => {
    let left = count
    let immediate = setImmediate(pass)
    function pass(): void {
      left--
      if (left > 0 && isOfUse()) immediate = setImmediate(pass)
      else resume(Effect.void)
    }
    return Effect.sync(() => {
      clearImmediate(immediate)
    })
  })
