/** What goes wrong with a memory that sessions can do without, and is no reason not to send. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** Turns what goes wrong into `otherwise`; tells the log when that begins, and no more. */
export type Forgiving = <A, E>(operation: Effect.Effect<A, E>, otherwise: A) => Effect.Effect<A>

/** One that dies, or does not answer in time, is no better than one that fails. */
export const make = (timeout: Duration.DurationInput, warning: string): Forgiving => {
  let isFailing = false
  const warnOnce = (cause: unknown): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (isFailing) return Effect.void
      isFailing = true
      return Effect.logWarning(warning, cause)
    })
  const worked = Effect.sync(() => {
    isFailing = false
  })
  return (operation, otherwise) =>
    operation.pipe(
      // So that the limit holds in an uninterruptible region too.
      Effect.interruptible,
      Effect.timeout(timeout),
      Effect.zipLeft(worked),
      Effect.catchAllCause((cause) => Effect.as(warnOnce(cause), otherwise))
    )
}
