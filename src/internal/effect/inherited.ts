/** A value that a fiber hands down to its children. Effect 4 drops FiberRef: it is used here alone. */
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import type * as Scope from "effect/Scope"
import type { AnyFiber } from "./runtime.js"

export interface Inherited<A> {
  readonly of: (fiber: AnyFiber) => A
  /** The fiber has the value until the scope closes, and so has whoever waits for that fiber, as under a timeout. */
  readonly set: (value: A) => Effect.Effect<void, never, Scope.Scope>
}

export const make = <A>(initial: A): Inherited<A> => {
  const ref = FiberRef.unsafeMake(initial)
  return {
    of: (fiber) => fiber.getFiberRef(ref),
    set: (value) => Effect.locallyScoped(ref, value)
  }
}
