import { describe, expect, it } from "@effect/vitest"
import * as MemoryTurns from "effect-smtplib/internal/content/bufferRing"

describe("memoryTurns", () => {
  it("gives arrays of exactly the length asked for", () => {
    const { allocate } = MemoryTurns.make()
    expect([0, 1, 16_384, 16_385, 70_000].map((length) => allocate(length).length)).toEqual([
      0, 1, 16_384, 16_385, 70_000
    ])
  })

  it("never gives the same memory twice in one turn", () => {
    const { allocate } = MemoryTurns.make()
    expect(allocate(10).buffer).not.toBe(allocate(10).buffer)
  })

  it("gives the memory of a turn again in the third turn after it, and not before", () => {
    const memory = MemoryTurns.make()
    const turns = Array.from({ length: 8 }, () => {
      const { buffer } = memory.allocate(100)
      memory.next()
      return buffer
    })
    turns.forEach((buffer, turn) => {
      expect(turns.indexOf(buffer)).toBe(turn % 3)
    })
  })

  it("takes larger memory where more is asked for, and keeps that", () => {
    const memory = MemoryTurns.make()
    const turn = (length: number) => {
      const { buffer } = memory.allocate(length)
      for (let next = 0; next < 3; next++) memory.next()
      return buffer
    }
    const small = turn(100)
    const large = turn(20_000)
    expect(large).not.toBe(small)
    expect([turn(30_000), turn(100)]).toEqual([large, large])
  })

  it("takes back what a turn has given, if nobody else was given it", () => {
    const memory = MemoryTurns.make()
    const first = memory.allocate(100)
    memory.again()
    expect(memory.allocate(100).buffer).toBe(first.buffer)
  })
})
