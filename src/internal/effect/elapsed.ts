/** Monotonic time, for limits and pauses, which must not jump with the time of day. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"

const nativeClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/** Milliseconds since an arbitrary moment, in fractions. Effect's own clock would make a BigInt of the same number. */
export const millis = (clock: Clock.Clock): number =>
  clock === nativeClock ? performance.now() : Number(clock.unsafeCurrentTimeNanos()) / 1_000_000
