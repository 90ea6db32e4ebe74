import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Queues from "../../src/protocol/Queue.js"

describe("a queue", () => {
  const steps = FastCheck.array(
    FastCheck.oneof(FastCheck.constant("shift" as const), FastCheck.constant("push" as const)),
    { maxLength: 1000, size: "max" }
  )

  it.prop("is an array, whatever comes and goes", { steps }, ({ steps }) => {
    const queue = Queues.make<number>()
    const array: Array<number> = []
    let next = 0
    for (const step of steps) {
      if (step === "push") {
        array.push(next)
        queue.push(next++)
      } else {
        array.shift()
        queue.shift()
      }
      expect(queue.head()).toBe(array[0])
      expect(queue.last()).toBe(array.at(-1))
      expect(queue.isEmpty()).toBe(array.length === 0)
    }
    const isThird = (item: number): boolean => item % 3 === 0
    expect(queue.find(isThird)).toBe(array.find(isThird))
    expect(queue.findLast(isThird)).toBe(array.findLast(isThird))
    expect(queue.filter(isThird)).toEqual(array.filter(isThird))
  })

  it("keeps its order when many come before one goes", () => {
    const queue = Queues.make<number>()
    for (let number = 0; number < 1000; number++) queue.push(number)
    for (let number = 0; number < 1000; number++) {
      expect(queue.head()).toBe(number)
      expect(queue.last()).toBe(999)
      queue.shift()
    }
    expect(queue.head()).toBeUndefined()
    expect(queue.last()).toBeUndefined()
  })
})
