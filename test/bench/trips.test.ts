import { describe, expect, it, vi } from "@effect/vitest"
import type { Held } from "./sink/delay.js"
import { makeDelay } from "./sink/delay.js"
import { makeTrips } from "./sink/trips.js"

const begin = () => {
  let count = 0
  const trips = makeTrips((more) => (count += more))
  return { trips, count: () => count }
}

/** A read whose replies leave at once. */
const readAndAnswer = (trips: ReturnType<typeof makeTrips>, midway = false): void => {
  trips.left(trips.read(midway))
}

describe("round trips", () => {
  it("are one for the connection and its greeting", () => {
    const { count, trips } = begin()
    trips.left(1)
    expect(count()).toBe(1)
  })

  it("are one for each reply that a client waits for", () => {
    const { count, trips } = begin()
    trips.left(1)
    for (let command = 0; command < 4; command++) readAndAnswer(trips)
    expect(count()).toBe(5)
  })

  it("are none for reads that come before the reply to an earlier one has left", () => {
    const { count, trips } = begin()
    trips.left(1)
    const first = trips.read(false)
    trips.read(false)
    trips.read(false)
    expect(count()).toBe(2)
    trips.left(first)
    trips.read(false)
    expect(count()).toBe(3)
  })

  it("are none for what carries on with something begun", () => {
    const { count, trips } = begin()
    trips.left(1)
    readAndAnswer(trips)
    readAndAnswer(trips, true)
    readAndAnswer(trips, true)
    expect(count()).toBe(2)
  })

  it("are one for a whole window in flight", () => {
    const { count, trips } = begin()
    trips.left(1)
    let inFlight = Array.from({ length: 32 }, () => trips.read(false))
    for (let window = 0; window < 3; window++) {
      inFlight = inFlight.map((trip) => {
        trips.left(trip)
        return trips.read(false)
      })
    }
    expect(count()).toBe(1 + 1 + 3)
  })

  it("hold those of a handshake, which the sink does not read", () => {
    const { count, trips } = begin()
    trips.left(1)
    readAndAnswer(trips)
    trips.add(1)
    readAndAnswer(trips)
    expect(count()).toBe(4)
  })
})

describe("the delay", () => {
  const begin = (milliseconds: number) => {
    const released: Array<readonly [string, number]> = []
    const hold = makeDelay(milliseconds, ({ text }: Held) => {
      released.push([text, performance.now()])
    })
    return { hold, released }
  }

  it("is none where none is asked for", () => {
    const { hold, released } = begin(0)
    hold({ text: "a", trip: 1 })
    expect(released).toHaveLength(1)
  })

  it("holds each write back from its own beginning, and lets later ones come in the meantime", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })
    try {
      const start = performance.now()
      const { hold, released } = begin(50)
      hold({ text: "a", trip: 1 })
      await vi.advanceTimersByTimeAsync(20)
      hold({ text: "b", trip: 1 })
      await vi.advanceTimersByTimeAsync(29)
      expect(released).toEqual([])
      await vi.advanceTimersByTimeAsync(100)
      expect(released).toEqual([
        ["a", start + 50],
        ["b", start + 70]
      ])
    } finally {
      vi.useRealTimers()
    }
  })
})
