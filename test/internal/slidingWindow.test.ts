import { describe, expect, it } from "@effect/vitest"
import { makeSlidingWindow } from "../../src/internal/rateLimit/slidingWindow.js"

const one = { messages: 1, recipients: 1 }

describe("SlidingWindow", () => {
  it("evicts expired keys and no others", () => {
    const window = makeSlidingWindow([{ of: "messages", limit: 1, interval: 1000 }])
    for (let key = 0; key < 10_000; key++) window.reserve(String(key), one, key, Infinity)
    expect(window.size()).toBe(1000)
    expect(window.reserve("9999", one, 9999, Infinity)).toEqual({ granted: true, wait: 1000 })
    expect(window.reserve("9000", one, 9999, Infinity)).toEqual({ granted: true, wait: 1 })
  })

  it("keeps no key without a reservation", () => {
    const window = makeSlidingWindow([{ of: "messages", limit: 1, interval: 1000 }])
    window.reserve("a", one, 0, 0)
    expect(window.reserve("a", one, 0, 999)).toEqual({ granted: false, wait: 1000 })
    expect(window.size()).toBe(1)
  })

  it("fills each interval to its limit over a hundred thousand reservations", () => {
    const window = makeSlidingWindow([{ of: "recipients", limit: 10_000, interval: 60_000 }])
    let wait = 0
    for (let count = 0; count < 100_000; count++) wait = window.reserve("a", one, 0, Infinity).wait
    expect(wait).toBe(9 * 60_000)
  })
})
