import { describe, expect, it } from "@effect/vitest"
import * as SlidingWindow from "../../src/internal/rateLimit/slidingWindow.js"

const one = { messages: 1, recipients: 1 }

describe("SlidingWindow", () => {
  it("forgets keys whose places count no more, and none that still do", () => {
    const places = SlidingWindow.make([{ of: "messages", limit: 1, interval: 1000 }])
    for (let key = 0; key < 10_000; key++) places.reserve(String(key), one, key, Infinity)
    expect(places.size()).toBe(1000)
    expect(places.reserve("9999", one, 9999, Infinity)).toEqual({ granted: true, wait: 1000 })
    expect(places.reserve("9000", one, 9999, Infinity)).toEqual({ granted: true, wait: 1 })
  })

  it("keeps no key that was granted nothing", () => {
    const places = SlidingWindow.make([{ of: "messages", limit: 1, interval: 1000 }])
    places.reserve("a", one, 0, 0)
    expect(places.reserve("a", one, 0, 999)).toEqual({ granted: false, wait: 1000 })
    expect(places.size()).toBe(1)
  })

  it("fills each interval to its limit over a hundred thousand places in a row", () => {
    const places = SlidingWindow.make([{ of: "recipients", limit: 10_000, interval: 60_000 }])
    let wait = 0
    for (let count = 0; count < 100_000; count++) wait = places.reserve("a", one, 0, Infinity).wait
    expect(wait).toBe(9 * 60_000)
  })
})
