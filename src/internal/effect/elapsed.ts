/** Time that only passes: for limits and pauses, which must not jump with the time of day. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"

const nativeClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/**
 * Milliseconds since a moment that nobody knows, in fractions: their differences count. Nanoseconds are a BigInt, which
 * Effect's own clock makes of what is read here at once.
 */
export const millis = (clock: Clock.Clock): number =>
  clock === nativeClock ? performance.now() : Number(clock.unsafeCurrentTimeNanos()) / 1_000_000
