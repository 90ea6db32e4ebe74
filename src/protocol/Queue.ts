/**
 * A queue whose head leaves at the same cost whatever its length: an array that thousands wait in moves them all for
 * each that goes.
 */

export interface Queue<A> {
  readonly isEmpty: () => boolean
  readonly push: (item: A) => void
  readonly head: () => A | undefined
  readonly last: () => A | undefined
  /** Takes the head away. */
  readonly shift: () => void
  readonly find: (holds: (item: A) => boolean) => A | undefined
  readonly findLast: (holds: (item: A) => boolean) => A | undefined
  readonly filter: (holds: (item: A) => boolean) => ReadonlyArray<A>
}

// Places of those that have gone are given back once they are most of the array, and worth the move.
const fewest = 64

export const make = <A>(): Queue<A> => {
  let items: Array<A | undefined> = []
  let first = 0
  return {
    isEmpty: () => items.length === 0,
    push: (item) => {
      items.push(item)
    },
    head: () => items[first],
    last: () => items.at(-1),
    shift: () => {
      if (items.length === 0) return
      items[first] = undefined
      first++
      if (first === items.length) {
        items.length = 0
        first = 0
      } else if (first >= fewest && first * 2 > items.length) {
        items = items.slice(first)
        first = 0
      }
    },
    find: (holds) => {
      for (let index = first; index < items.length; index++) {
        const item = items[index]
        if (item !== undefined && holds(item)) return item
      }
      return undefined
    },
    filter: (holds) => items.slice(first).filter((item): item is A => item !== undefined && holds(item)),
    findLast: (holds) => {
      for (let index = items.length - 1; index >= first; index--) {
        const item = items[index]
        if (item !== undefined && holds(item)) return item
      }
      return undefined
    }
  }
}
