/**
 * The turn of a session: one turn at a time has the right to submit commands, in the order of asking. A message
 * whose last octet is on its way passes the turn on while its replies are still to come. It knows nothing of commands.
 */

/** What may follow messages that are still to be answered: other messages, as far as the window allows. */
export interface Window {
  /** How many messages may be under way, with the one that follows. */
  readonly messages: number
  /** How many octets of content may be under way before another message follows. */
  readonly octets: number
}

export interface TurnQueue<Turn> {
  readonly take: (turn: Turn) => void
  /**
   * Passes the turn on: what the turn has submitted is complete, and will be answered; `octets` of it count against
   * the window. It is still to leave.
   */
  readonly pass: (turn: Turn, octets: number) => void
  /** Gives the turn back, or the place in the queue. The turn stays its holder's while `isHeld`: see `settle`. */
  readonly leave: (turn: Turn) => void
  readonly holder: () => Turn | undefined
  /** What held the turn may have gone: a holder that has left makes room now. */
  readonly settle: () => void
  /** Nobody is admitted any more; gives those who wait. */
  readonly close: () => ReadonlyArray<Turn>
}

interface Passed<Turn> {
  readonly turn: Turn
  readonly octets: number
}

/**
 * `isHeld` says whether a holder that has left has something on the wire that nobody may come upon; `mayFollow`,
 * whether a turn can cope with messages before it that have no answer yet.
 */
export const makeTurnQueue = <Turn extends { readonly begin: () => void }>(
  isHeld: () => boolean,
  mayFollow: (turn: Turn) => boolean,
  window: Window
): TurnQueue<Turn> => {
  const queue: Array<Turn> = []
  // Those that have passed the turn on, in that order. No Map: one that is never empty for long keeps what has left it
  // alive, by the tables that it outgrew.
  const passed: Array<Passed<Turn>> = []
  let octets = 0
  let holder: Turn | undefined
  let departing = false
  let admitting = false
  let open = true

  const hasRoom = (turn: Turn): boolean =>
    passed.length === 0 || (mayFollow(turn) && passed.length < window.messages && octets < window.octets)

  const nextIn = (): Turn | undefined => {
    const next = queue[0]
    return next !== undefined && hasRoom(next) ? next : undefined
  }

  // A turn may be through as soon as it has begun: one loop for all of them, however many that are.
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
    take: (turn) => {
      queue.push(turn)
      admitNext()
    },
    pass: (turn, length) => {
      if (holder !== turn || departing) return
      passed.push({ turn, octets: length })
      octets += length
      holder = undefined
      admitNext()
    },
    leave: (turn) => {
      if (holder === turn) {
        departing = true
        settle()
        return
      }
      const place = passed.findIndex((one) => one.turn === turn)
      if (place === -1) {
        const waiting = queue.indexOf(turn)
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
