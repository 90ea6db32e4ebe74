/** Monotonic time, for limits and pauses, which must not jump with the time of day. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Fork } from "./runtime.js"
import { interrupt } from "./runtime.js"

const nativeClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/** Milliseconds since an arbitrary moment, in fractions. Effect's own clock would make a BigInt of the same number. */
export const millis = (clock: Clock.Clock): number =>
  clock === nativeClock ? performance.now() : Number(clock.unsafeCurrentTimeNanos()) / 1_000_000

/** What a timer of Node takes: 24 days. */
const longest = 2_147_483_647

/**
 * Calls once, when the time has passed; the function returned stops it. Effect's own clock would take a fiber for a timer
 * of Node.
 */
export const after = (clock: Clock.Clock, fork: Fork, millis: number, wake: () => void): (() => void) => {
  if (clock === nativeClock) {
    if (millis === Infinity) return () => undefined
    let left = millis
    let timer: ReturnType<typeof setTimeout>
    const wait = (): void => {
      const step = Math.min(left, longest)
      left -= step
      timer = setTimeout(left > 0 ? wait : wake, step)
    }
    wait()
    return () => clearTimeout(timer)
  }
  // A timer that begins in an uninterruptible region must stop all the same.
  const sleeping = fork(Effect.interruptible(Effect.map(clock.sleep(Duration.millis(millis)), wake)))
  return () => interrupt(sleeping)
}
