import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import type { Node } from "../../../src/internal/client/linkedList.js"
import { LinkedList } from "../../../src/internal/client/linkedList.js"

const drain = <A>(list: LinkedList<A>): ReadonlyArray<A> => {
  const items: Array<A> = []
  for (let node = list.first; node !== undefined; node = list.first) {
    items.push(node.item)
    list.remove(node)
  }
  return items
}

describe("a linked list", () => {
  it("keeps the order of joining, whichever items leave", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.option(FastCheck.nat(20), { nil: undefined })),
        (steps) => {
          const list = new LinkedList<number>()
          const nodes: Array<Node<number>> = []
          let expected: ReadonlyArray<number> = []
          for (const [number, step] of steps.entries()) {
            if (step === undefined) {
              nodes.push(list.push(number))
              expected = [...expected, number]
              continue
            }
            const node = nodes[step]
            if (node === undefined) continue
            expect(list.remove(node)).toBe(expected.includes(node.item))
            expected = expected.filter((item) => item !== node.item)
          }
          expect(list.size).toBe(expected.length)
          expect(drain(list)).toEqual(expected)
          expect(list.size).toBe(0)
        }
      )
    )
  })

  it("lets go of what has left it", () => {
    const list = new LinkedList<number>()
    const nodes = [0, 1, 2].map((number) => list.push(number))
    const [, middle] = nodes
    if (middle !== undefined) list.remove(middle)
    expect([middle?.before, middle?.behind]).toEqual([undefined, undefined])
    expect(drain(list)).toEqual([0, 2])
  })
})
