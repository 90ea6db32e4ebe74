/**
 * Memory for octets on their way to the socket, used again in turn. Fresh memory for every block would be given back
 * by the garbage collector long after it was written, hundreds of megabytes later; and it is slower.
 */

export interface MemoryTurns {
  /** An array of exactly this length, of any octets, until its turn comes again. */
  readonly allocate: (length: number) => Uint8Array
  /** Takes back what was allocated in this turn: nobody was given it. */
  readonly again: () => void
  /** Begins the next turn, in the memory of three turns ago. */
  readonly next: () => void
}

interface Turn {
  readonly arrays: Array<Uint8Array>
  used: number
}

// Arrays grow by this much at once, so that one that is a little longer than the last does not cost a new one.
const grain = 16_384

const allocateIn = (turn: Turn, length: number): Uint8Array => {
  const array = turn.arrays[turn.used]
  if (array !== undefined && array.length >= length) {
    turn.used++
    return array.subarray(0, length)
  }
  const grown = Buffer.allocUnsafeSlow(Math.ceil(length / grain) * grain)
  turn.arrays[turn.used++] = grown
  return grown.subarray(0, length)
}

/**
 * One turn is what one call of a sink is given. Three are enough where a call of the sink ends once what the calls
 * before it were given is needed no more: one is on its way to the socket, one waits to follow it, one is filled.
 */
export const make = (): MemoryTurns => {
  let now: Turn = { arrays: [], used: 0 }
  let following: Turn = { arrays: [], used: 0 }
  let last: Turn = { arrays: [], used: 0 }
  return {
    allocate: (length) => allocateIn(now, length),
    again: () => {
      now.used = 0
    },
    next: () => {
      const oldest = following
      following = last
      last = now
      now = oldest
      now.used = 0
    }
  }
}
