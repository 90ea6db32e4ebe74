/** The hooks of a client that are running: its end waits for them. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Wakeup from "../effect/wakeup.js"

export interface Hooks {
  /** Keeps a hook in mind until it ends. */
  readonly watch: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => void
  /** Ends when no hook runs. */
  readonly awaitNone: Effect.Effect<void>
}

export const make = (): Hooks => {
  const running = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  const changes = Wakeup.make()
  return {
    watch: (fiber) => {
      running.add(fiber)
      fiber.addObserver(() => {
        running.delete(fiber)
        changes.wake()
      })
    },
    awaitNone: Wakeup.until(changes, () => (running.size === 0 ? Effect.void : undefined))
  }
}
