import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Scheduler } from "effect/Scheduler"
import { interrupt } from "../../src/internal/effect/runtime.js"
import * as Wakeup from "../../src/internal/effect/wakeup.js"

const immediate: Scheduler = { shouldYield: () => false, scheduleTask: (task) => task() }

describe("a fiber that waits", () => {
  it("does not look again once the waiter before it has interrupted it in the same call", () => {
    const wakeup = Wakeup.make()
    let looks = 0
    let isWoken = false
    const first = Wakeup.until(wakeup, () => {
      if (isWoken) interrupt(second)
      return isWoken ? Effect.void : undefined
    })
    Effect.runFork(first, { scheduler: immediate })
    const second = Effect.runFork(
      Wakeup.until(wakeup, () => {
        looks++
        return undefined
      }),
      { scheduler: immediate }
    )
    expect(looks).toBe(1)
    isWoken = true
    wakeup.wake()
    expect(looks).toBe(1)
  })
})
