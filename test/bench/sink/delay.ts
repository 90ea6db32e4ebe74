/**
 * Holds back each write of replies until a delay after the octets that caused it have come. Later reads are taken in
 * the meantime: the delay is of the line, not of the server.
 */

export interface Held {
  readonly text: string
  readonly trip: number
}

interface Waiting extends Held {
  readonly due: number
}

/** Gives what holds writes back. Node's timers are of whole milliseconds: the delay may be one longer, never shorter. */
export const makeDelay = (milliseconds: number, release: (held: Held) => void): ((held: Held) => void) => {
  if (milliseconds === 0) return release
  const queue: Array<Waiting> = []

  const releaseDue = (): void => {
    for (let head = queue[0]; head !== undefined; head = queue[0]) {
      const rest = head.due - performance.now()
      if (rest > 0) {
        setTimeout(releaseDue, Math.ceil(rest))
        return
      }
      queue.shift()
      release(head)
    }
  }

  return (held) => {
    queue.push({ ...held, due: performance.now() + milliseconds })
    if (queue.length === 1) setTimeout(releaseDue, milliseconds)
  }
}
