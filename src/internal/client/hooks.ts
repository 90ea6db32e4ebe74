/** The hooks of a client that are running: closing it waits for them. */
import * as Effect from "effect/Effect"
import type { AnyFiber } from "../effect/runtime.js"
import * as Wakeup from "../effect/wakeup.js"

export interface RunningHooks {
  /** Remembers a hook until it ends. */
  readonly watch: (fiber: AnyFiber) => void
  /** Completes when no hook runs. */
  readonly awaitNone: Effect.Effect<void>
}

export const make = (): RunningHooks => {
  const running = new Set<AnyFiber>()
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
