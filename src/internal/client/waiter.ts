/**
 * Somebody who wants a lease, and the answer. The waiter outlives the fiber that waits: whatever was granted to a
 * fiber that has gone is found here, and given back.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { ClientUnavailable } from "../../SmtpError.js"
import type { Place } from "./line.js"

/** What a lease has to be like. */
export interface Wish<Source> {
  /** Sources that will not do: the message has been there. */
  readonly except: ReadonlySet<Source>
  /**
   * Only a session that has shown life after this moment of the pool will do: whoever has just met one that had died
   * while it was idle wants no other.
   */
  readonly aliveAfter: number | undefined
}

export type Answer<L, E> =
  | { readonly _tag: "Granted"; readonly lease: L }
  | { readonly _tag: "Turned"; readonly cause: Cause.Cause<E | ClientUnavailable> }

export interface Waiter<Source, L, E> {
  readonly wish: Wish<Source>
  /** The same for all who want the same; `undefined` where any session will do. */
  readonly kind: string | undefined
  /** Where in the line it stands. */
  place: Place<Waiter<Source, L, E>> | undefined
  /** Milliseconds of the clock. */
  readonly since: number
  readonly answered: () => Answer<L, E> | undefined
  /** Answers once; later answers are not heard. */
  readonly answer: (answer: Answer<L, E>) => void
  /** Hears the answer, at once if there is one. */
  readonly listen: (hear: (answer: Answer<L, E>) => void) => void
  /** Waits for the answer. */
  readonly lease: Effect.Effect<L, E | ClientUnavailable>
}

export const make = <Source, L, E>(
  wish: Wish<Source>,
  kind: string | undefined,
  since: number
): Waiter<Source, L, E> => {
  let answered: Answer<L, E> | undefined
  let listener: ((answer: Answer<L, E>) => void) | undefined
  const listen = (hear: (answer: Answer<L, E>) => void): void => {
    if (answered === undefined) listener = hear
    else hear(answered)
  }
  const result = (answer: Answer<L, E>): Effect.Effect<L, E | ClientUnavailable> =>
    answer._tag === "Granted" ? Effect.succeed(answer.lease) : Effect.failCause(answer.cause)
  return {
    wish,
    kind,
    place: undefined,
    since,
    answered: () => answered,
    answer: (answer) => {
      if (answered !== undefined) return
      answered = answer
      listener?.(answer)
    },
    listen,
    lease: Effect.suspend(() =>
      answered !== undefined
        ? result(answered)
        : Effect.async<L, E | ClientUnavailable>((resume) => {
            listen((answer) => resume(result(answer)))
          })
    )
  }
}
