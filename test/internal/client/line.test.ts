import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import type { Place } from "../../../src/internal/client/line.js"
import * as Lines from "../../../src/internal/client/line.js"

const inOrder = <A>(line: Lines.Line<A>): ReadonlyArray<A> => {
  const items: Array<A> = []
  Lines.visit(line, (item) => items.push(item) > 0)
  return items
}

describe("a line", () => {
  it("keeps the order of joining, whoever leaves", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.option(FastCheck.nat(20), { nil: undefined })),
        (steps) => {
          const line = Lines.make<number>()
          const places: Array<Place<number>> = []
          let expected: ReadonlyArray<number> = []
          for (const [number, step] of steps.entries()) {
            if (step === undefined) {
              places.push(line.join(number))
              expected = [...expected, number]
              continue
            }
            const place = places[step]
            if (place === undefined) continue
            expect(line.leave(place)).toBe(expected.includes(place.item))
            expected = expected.filter((item) => item !== place.item)
          }
          expect(inOrder(line)).toEqual(expected)
          expect(line.size()).toBe(expected.length)
        }
      )
    )
  })

  it("visits who is still there, whoever leaves meanwhile, and ends when it is told", () => {
    const line = Lines.make<number>()
    const places = [0, 1, 2, 3, 4].map((number) => line.join(number))
    const visited: Array<number> = []
    Lines.visit(line, (number) => {
      visited.push(number)
      if (number === 1) for (const place of places.slice(1, 4)) line.leave(place)
      if (number === 4) line.join(5)
      return number < 5
    })
    expect(visited).toEqual([0, 1, 4, 5])
    expect(inOrder(line)).toEqual([0, 4, 5])
  })
})
