/**
 * Two connections joined in memory, with the manners of a TCP connection: a bounded pipe each way, half-close and
 * reset. No timer and no real input or output, so that it works under TestClock.
 */
import * as Effect from "effect/Effect"
import type { Addresses, Connection } from "../../SmtpSocket.js"
import { ConnectionLost } from "../transport/connection.js"
import * as Wakeup from "../effect/wakeup.js"

export interface PairOptions {
  /** How many octets each pipe takes while nobody pulls. Default 65,536. */
  readonly capacity?: number | undefined
}

/** Two connected ends. */
export interface Pair {
  readonly client: Connection
  readonly server: ServerEnd
}

/** The end of a server, which can also close the way a server does. */
export interface ServerEnd extends Connection {
  /** Half-close: after what was written the client sees the end of the stream; it can still write. */
  readonly end: Effect.Effect<void>
  /** The client's pull fails after what it had received; its writes fail at once. */
  readonly reset: Effect.Effect<void>
}

type Closing =
  { readonly _tag: "Open" } | { readonly _tag: "Ended" } | { readonly _tag: "Lost"; readonly cause: Error }

/** One direction. What is beyond the capacity has been handed over but not flushed. */
interface Pipe {
  readonly write: (octets: ReadonlyArray<Uint8Array>) => Effect.Effect<void, ConnectionLost>
  readonly pull: Effect.Effect<Uint8Array | undefined, ConnectionLost>
  readonly received: () => number
  /** No more is written: the reader sees the end after all that was written. */
  readonly end: () => void
  /** The writer is gone: what was not flushed is dropped, and then the reader sees the end or the loss. */
  readonly cut: (closing: Closing) => void
  /** The reader is gone: nothing is kept, and writes fail. */
  readonly refuse: (cause: Error) => void
}

const makePipe = (capacity: number): Pipe => {
  const wakeup = Wakeup.make()
  let chunks: Array<Uint8Array> = []
  let queued = 0
  let handed = 0
  let pulled = 0
  let closing: Closing = { _tag: "Open" }
  let refused: Error | undefined
  /** Where flushing stopped for good, counted like `handed`. */
  let frozenAt: number | undefined

  const writeFailure = (): Effect.Effect<never, ConnectionLost> | undefined => {
    if (refused !== undefined) return Effect.fail(new ConnectionLost({ operation: "write", cause: refused }))
    if (closing._tag === "Open") return undefined
    const cause = closing._tag === "Lost" ? closing.cause : new Error("this side has ended its stream")
    return Effect.fail(new ConnectionLost({ operation: "write", cause }))
  }

  const enqueue = (octets: Uint8Array) => {
    if (octets.length === 0) return
    chunks.push(octets.slice())
    queued += octets.length
    handed += octets.length
  }

  const flushed = (end: number) => () => {
    if (end <= (frozenAt ?? pulled + capacity)) return Effect.void
    return frozenAt === undefined ? undefined : writeFailure()
  }

  const freeze = () => {
    frozenAt ??= Math.min(handed, pulled + capacity)
  }

  /** The next chunk, of which only what lies within the capacity has been received. */
  const take = (): Uint8Array | undefined => {
    const first = chunks[0]
    if (first === undefined) return undefined
    const taken = first.length <= capacity ? first : first.subarray(0, capacity)
    if (taken.length === first.length) chunks.shift()
    else chunks[0] = first.subarray(taken.length)
    queued -= taken.length
    pulled += taken.length
    wakeup.wake()
    return taken
  }

  const look = (): Effect.Effect<Uint8Array | undefined, ConnectionLost> | undefined => {
    const taken = take()
    if (taken !== undefined) return Effect.succeed(taken)
    switch (closing._tag) {
      case "Open":
        return undefined
      case "Ended":
        return Effect.succeed(undefined)
      case "Lost":
        return Effect.fail(new ConnectionLost({ operation: "read", cause: closing.cause }))
    }
  }

  const keepFirst = (limit: number) => {
    const kept: Array<Uint8Array> = []
    let length = 0
    for (const chunk of chunks) {
      const part = chunk.subarray(0, limit - length)
      if (part.length > 0) kept.push(part)
      length += part.length
    }
    chunks = kept
    queued = length
  }

  return {
    write: (octets) =>
      Effect.suspend(() => {
        const failure = writeFailure()
        if (failure !== undefined) return failure
        for (const array of octets) enqueue(array)
        wakeup.wake()
        return Wakeup.until(wakeup, flushed(handed))
      }),
    pull: Wakeup.until(wakeup, look),
    received: () => Math.min(queued, capacity),
    end: () => {
      if (closing._tag !== "Open") return
      closing = { _tag: "Ended" }
      wakeup.wake()
    },
    cut: (next) => {
      if (closing._tag === "Lost") return
      freeze()
      keepFirst(capacity)
      closing = next
      wakeup.wake()
    },
    refuse: (cause) => {
      if (refused !== undefined) return
      refused = cause
      freeze()
      keepFirst(0)
      wakeup.wake()
    }
  }
}

const addressesOf = (remotePort: number, localPort: number): Addresses => ({
  remoteAddress: "127.0.0.1",
  remotePort,
  localAddress: "127.0.0.1",
  localPort
})

const makeEnd = (incoming: Pipe, outgoing: Pipe, addresses: Addresses): Connection => ({
  pull: incoming.pull,
  write: outgoing.write,
  buffered: incoming.received,
  destroy: Effect.sync(() => {
    const cause = new Error("the connection was destroyed on this side")
    outgoing.cut({ _tag: "Ended" })
    incoming.refuse(new Error("the peer has closed the connection"))
    incoming.cut({ _tag: "Lost", cause })
  }),
  addresses
})

/**
 * Two ends joined by two bounded pipes. A write ends when all of it fits the peer's pipe or has been pulled;
 * pull gives the arrays as they were written, in pieces of at most the capacity.
 */
export const makePair = (options?: PairOptions): Effect.Effect<Pair> =>
  Effect.sync(() => {
    const capacity = Math.max(1, options?.capacity ?? 65_536)
    const toServer = makePipe(capacity)
    const toClient = makePipe(capacity)
    const server = makeEnd(toServer, toClient, addressesOf(50_000, 25))
    return {
      client: makeEnd(toClient, toServer, addressesOf(25, 50_000)),
      server: {
        ...server,
        end: Effect.sync(toClient.end),
        reset: Effect.sync(() => {
          const cause = new Error("the peer has reset the connection")
          toClient.cut({ _tag: "Lost", cause })
          toServer.refuse(cause)
          toServer.cut({ _tag: "Lost", cause: new Error("this side has reset the connection") })
        })
      }
    }
  })
