/**
 * The lane of a session: one entrant at a time has the right to submit commands, in the order of asking. A message
 * whose last octet is on its way passes the lane on while its replies are still to come. It knows nothing of commands.
 */

/** What may follow messages that are still to be answered: other messages, as far as the window allows. */
export interface Window {
  /** How many messages may be under way, with the one that follows. */
  readonly messages: number
  /** How many octets of content may be under way before another message follows. */
  readonly octets: number
}

export interface Admission<Entrant> {
  readonly enter: (entrant: Entrant) => void
  /**
   * Passes the lane on: what the entrant has submitted is complete, and will be answered; `octets` of it count against
   * the window. It is still to leave.
   */
  readonly pass: (entrant: Entrant, octets: number) => void
  /** Gives the lane back, or the place in the queue. The lane stays its holder's while `isHeld`: see `settle`. */
  readonly leave: (entrant: Entrant) => void
  readonly holder: () => Entrant | undefined
  /** What held the lane may have gone: a holder that has left makes room now. */
  readonly settle: () => void
  /** Nobody is admitted any more; gives those who wait. */
  readonly close: () => ReadonlyArray<Entrant>
}

interface Passed<Entrant> {
  readonly entrant: Entrant
  readonly octets: number
}

/**
 * `isHeld` says whether a holder that has left has something on the wire that nobody may come upon; `mayFollow`,
 * whether an entrant can cope with messages before it that have no answer yet.
 */
export const make = <Entrant extends { readonly begin: () => void }>(
  isHeld: () => boolean,
  mayFollow: (entrant: Entrant) => boolean,
  window: Window
): Admission<Entrant> => {
  const queue: Array<Entrant> = []
  // Those that have passed the lane on, in that order. No Map: one that is never empty for long keeps what has left it
  // alive, by the tables that it outgrew.
  const passed: Array<Passed<Entrant>> = []
  let octets = 0
  let holder: Entrant | undefined
  let departing = false
  let admitting = false
  let open = true

  const hasRoom = (entrant: Entrant): boolean =>
    passed.length === 0 || (mayFollow(entrant) && passed.length < window.messages && octets < window.octets)

  const nextIn = (): Entrant | undefined => {
    const next = queue[0]
    return next !== undefined && hasRoom(next) ? next : undefined
  }

  // An entrant may be through as soon as it has begun: one loop for all of them, however many that are.
  const admitNext = (): void => {
    if (admitting) return
    admitting = true
    let next = nextIn()
    while (next !== undefined && holder === undefined && open) {
      queue.shift()
      holder = next
      next.begin()
      next = nextIn()
    }
    admitting = false
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
    pass: (entrant, length) => {
      if (holder !== entrant || departing) return
      passed.push({ entrant, octets: length })
      octets += length
      holder = undefined
      admitNext()
    },
    leave: (entrant) => {
      if (holder === entrant) {
        departing = true
        settle()
        return
      }
      const place = passed.findIndex((one) => one.entrant === entrant)
      if (place === -1) {
        const waiting = queue.indexOf(entrant)
        if (waiting !== -1) queue.splice(waiting, 1)
      } else {
        for (const gone of passed.splice(place, 1)) octets -= gone.octets
      }
      admitNext()
    },
    holder: () => holder,
    settle,
    close: () => {
      open = false
      return queue.splice(0)
    }
  }
}
