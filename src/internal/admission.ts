/**
 * The lane of a session: one entrant at a time has the right to submit commands, in the order of asking. It knows
 * nothing of commands.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category models
 */
export interface Admission<Entrant> {
  readonly enter: (entrant: Entrant) => void
  /** Gives the lane back, or the place in the queue. The lane stays its holder's while `isHeld`: see `settle`. */
  readonly leave: (entrant: Entrant) => void
  readonly holder: () => Entrant | undefined
  /** What held the lane may have gone: a holder that has left makes room now. */
  readonly settle: () => void
  /** Nobody is admitted any more; gives those who wait. */
  readonly close: () => ReadonlyArray<Entrant>
}

/**
 * `isHeld` says whether a holder that has left has something on the wire that nobody may come upon.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Entrant extends { readonly begin: () => void }>(
  isHeld: () => boolean
): Admission<Entrant> => {
  const queue: Array<Entrant> = []
  let holder: Entrant | undefined
  let departing = false
  let open = true

  const admitNext = (): void => {
    while (holder === undefined && open) {
      const next = queue.shift()
      if (next === undefined) return
      holder = next
      next.begin()
    }
  }

  const settle = (): void => {
    if (!departing || isHeld()) return
    departing = false
    holder = undefined
    admitNext()
  }

  return {
    enter: (entrant) => {
      queue.push(entrant)
      admitNext()
    },
    leave: (entrant) => {
      const place = queue.indexOf(entrant)
      if (place !== -1) queue.splice(place, 1)
      if (holder !== entrant) return
      departing = true
      settle()
    },
    holder: () => holder,
    settle,
    close: () => {
      open = false
      return queue.splice(0)
    }
  }
}
