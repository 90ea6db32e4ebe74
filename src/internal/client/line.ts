/**
 * A line of those who wait: at its end one joins it, from anywhere one leaves it, both in constant time. It is a list of
 * links, and no Set: one that is never empty for long would keep alive what has left it, by the tables that it outgrew.
 */

/** A place in a line. */
export interface Place<A> {
  readonly item: A
  before: Place<A> | undefined
  behind: Place<A> | undefined
  isTaken: boolean
}

export interface Line<A> {
  readonly join: (item: A) => Place<A>
  /** Gives whether the place was still taken. */
  readonly leave: (place: Place<A>) => boolean
  readonly size: () => number
  readonly first: () => Place<A> | undefined
}

export const make = <A>(): Line<A> => {
  let first: Place<A> | undefined
  let last: Place<A> | undefined
  let size = 0
  return {
    join: (item) => {
      const place: Place<A> = { item, before: last, behind: undefined, isTaken: true }
      if (last === undefined) first = place
      else last.behind = place
      last = place
      size += 1
      return place
    },
    leave: (place) => {
      if (!place.isTaken) return false
      place.isTaken = false
      if (place.before === undefined) first = place.behind
      else place.before.behind = place.behind
      if (place.behind === undefined) last = place.before
      else place.behind.before = place.before
      size -= 1
      return true
    },
    size: () => size,
    first: () => first
  }
}

/**
 * Visits everybody in the order of joining, as long as `visit` wants to go on. Whoever is visited may leave, and so may
 * others; who joins meanwhile is visited too.
 */
export const visit = <A>(line: Line<A>, visit: (item: A) => boolean): void => {
  let place = line.first()
  while (place !== undefined) {
    const { behind, isTaken } = place
    if (isTaken && !visit(place.item)) return
    // The next one may have left while this one was visited; a place that was left still knows who was behind it.
    place = place.isTaken ? place.behind : behind
  }
}
