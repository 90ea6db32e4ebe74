/** Services that a session can do without: a call that fails, dies or takes too long must neither fail nor hold it up. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

// A limit from outside costs a fiber for each call: the services of this library end in time by themselves.
const known = new WeakSet<object>()

/** Says that every method of the service ends in time. */
export const withOwnLimit = <A extends object>(service: A): A => {
  known.add(service)
  return service
}

export const hasOwnLimit = (service: object): boolean => known.has(service)

/** Gives `otherwise` where the operation comes to nothing. The log tells of the first of such operations in a row. */
export type BestEffort = <A, E>(operation: Effect.Effect<A, E>, otherwise: A) => Effect.Effect<A>

export const makeBestEffort = (timeout: Duration.DurationInput, warning: string): BestEffort => {
  let isFailing = false
  return (operation, otherwise) =>
    operation.pipe(
      // So that the limit holds in an uninterruptible region too.
      Effect.interruptible,
      Effect.timeout(timeout),
      Effect.tap(() => {
        isFailing = false
      }),
      Effect.catchAllCause((cause) => {
        const told = isFailing
        isFailing = true
        return Effect.as(told ? Effect.void : Effect.logWarning(warning, cause), otherwise)
      })
    )
}
