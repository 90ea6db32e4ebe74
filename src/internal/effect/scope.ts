/** Scopes within scopes. Effect 4 drops ExecutionStrategy: it is used here alone. */
import type * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Scope from "effect/Scope"

/** A scope that closes with its parent, at the latest. */
export const forkScope = (
  parent: Scope.Scope,
  finalizers: "sequential" | "parallel" = "sequential"
): Effect.Effect<Scope.CloseableScope> =>
  Scope.fork(parent, finalizers === "sequential" ? ExecutionStrategy.sequential : ExecutionStrategy.parallel)
