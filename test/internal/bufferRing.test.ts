import { describe, expect, it } from "@effect/vitest"
import { BufferRing } from "effect-smtplib/internal/content/bufferRing"

describe("BufferRing", () => {
  it("gives arrays of exactly the length asked for", () => {
    const { allocate } = new BufferRing()
    expect([0, 1, 16_384, 16_385, 70_000].map((length) => allocate(length).length)).toEqual([
      0, 1, 16_384, 16_385, 70_000
    ])
  })

  it("never gives the same memory twice in one slot", () => {
    const { allocate } = new BufferRing()
    expect(allocate(10).buffer).not.toBe(allocate(10).buffer)
  })

  it("gives the memory of a slot again three slots later, and not before", () => {
    const memory = new BufferRing()
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
    const memory = new BufferRing()
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

  it("takes back what a slot has given, if nobody else was given it", () => {
    const memory = new BufferRing()
    const first = memory.allocate(100)
    memory.reuse()
    expect(memory.allocate(100).buffer).toBe(first.buffer)
  })
})
