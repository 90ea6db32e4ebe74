/** Fibers outside of an effect. The parts of Effect's runtime that Effect 4 renames or drops are used here alone. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** Runs an effect in a fiber of its own. A fiber with a `scope` is interrupted when that closes. */
export type Fork<R = never> = <A, E>(
  effect: Effect.Effect<A, E, R>,
  options?: { readonly scope?: Scope.Scope; readonly immediate?: boolean }
) => Fiber.RuntimeFiber<A, E>

/** Forks with the services and the fiber references of the fiber that asks. */
export const makeFork = <R = never>(): Effect.Effect<Fork<R>, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => Runtime.runFork(runtime))

/** The effect made from `makeFork`, without operations for it. */
export const withFork = <A, E, R>(make: (fork: Fork) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber, { runtimeFlags }) => {
    const { currentContext: context } = fiber
    return make(Runtime.runFork(Runtime.make({ context, runtimeFlags, fiberRefs: fiber.getFiberRefs() })))
  })

/** Runs effects at once, for a caller that cannot wait. */
export const makeRunSync: Effect.Effect<(effect: Effect.Effect<void>) => void> = Effect.map(
  Effect.runtime(),
  (runtime) => Runtime.runSync(runtime)
)

/** Logs from a place that is no effect, with the loggers and annotations of the fiber that runs it. */
export const warn = (message: string): void => {
  const fiber = Option.getOrUndefined(Fiber.getCurrentFiber())
  if (fiber === undefined) return
  Runtime.runSync({ ...Runtime.defaultRuntime, fiberRefs: fiber.getFiberRefs() }, Effect.logWarning(message))
}

/** The effect made from the fiber that runs it. */
export const withFiber = <A, E = never, R = never>(
  make: (fiber: AnyFiber) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.withFiberRuntime<A, E, R>(make)

/** Interrupts a fiber and does not wait for its end. */
export const interrupt = (fiber: AnyFiber): void => fiber.unsafeInterruptAsFork(FiberId.none)

/** The clock of a fiber, without an operation for it. */
export const clockOf = (fiber: AnyFiber): Clock.Clock =>
  Context.get(fiber.currentDefaultServices, Clock.Clock)
