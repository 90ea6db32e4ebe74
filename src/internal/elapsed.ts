/**
 * Time that only passes: for limits and pauses, which must not jump with the time of day.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"

/**
 * Whole milliseconds since a moment that nobody knows: their differences count.
 *
 * @since 0.1.0
 * @category accessors
 */
export const millis = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos() / 1_000_000n)
