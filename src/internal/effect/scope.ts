/** Scopes within scopes. Effect 4 drops ExecutionStrategy: it is used here alone. */
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Scope from "effect/Scope"

/** A scope that closes with its parent, at the latest. */
export const forkScope = (
  parent: Scope.Scope,
  finalizers: "sequential" | "parallel" = "sequential"
): Effect.Effect<Scope.CloseableScope> =>
  Scope.fork(parent, finalizers === "sequential" ? ExecutionStrategy.sequential : ExecutionStrategy.parallel)

/** As Effect.addFinalizer, in fewer operations: the finalizer runs with the services of the fiber that closes the scope. */
export const onClose = (finalizer: Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, finalizer))
