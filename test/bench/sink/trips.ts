/**
 * Counts the round trips of a connection: the longest chain of "a reply left the sink, and then octets came".
 *
 * The connection and its greeting are the first trip. A read continues the chain by one when replies have left the
 * sink since the read before it, and by nothing when none has, or when it only carries on with a command, a chunk or
 * content of which the sink had seen the beginning: those octets were on their way before the reply. What a read
 * causes belongs to its trip, however long the reply is held back.
 *
 * A client that waits for each reply makes one trip per reply; one that keeps a window of 32 messages in flight makes
 * one trip per 32 messages, where there is a delay to fill. Without a delay the sink may have answered before such a
 * client writes on by itself, and counts a trip that nobody waited for: without delay the count is an upper bound.
 */

export interface Trips {
  /** Octets have come; `midway` when they carry on with something begun. Gives the trip that they belong to. */
  readonly read: (midway: boolean) => number
  /** The replies that a trip has caused have left. */
  readonly left: (trip: number) => void
  /** Round trips that the sink does not read itself: those of a TLS handshake. */
  readonly add: (trips: number) => void
}

/** Each trip is told to `count` as it is made. */
export const makeTrips = (count: (trips: number) => void): Trips => {
  let current = 1
  let answered = 0
  count(1)

  const advance = (trip: number): void => {
    count(trip - current)
    current = trip
  }

  return {
    read: (midway) => {
      if (!midway && answered >= current) advance(answered + 1)
      return current
    },
    left: (trip) => {
      answered = Math.max(answered, trip)
    },
    add: (trips) => {
      advance(current + trips)
      answered = current
    }
  }
}
