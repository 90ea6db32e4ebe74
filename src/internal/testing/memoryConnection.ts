/**
 * Two connections joined in memory that behave like TCP: a bounded pipe each way, half-close and reset. No timers and
 * no real I/O, so that they work under TestClock.
 */
import * as Effect from "effect/Effect"
import type { Connection } from "../../SmtpSocket.js"
import * as Wakeup from "../effect/wakeup.js"
import { ConnectionLost } from "../transport/connection.js"

export interface ServerEnd extends Connection {
  /** Half-close: the client reads the end of the stream and can still write. */
  readonly end: Effect.Effect<void>
  /** The client's pull fails after what it had received; its writes fail at once. */
  readonly reset: Effect.Effect<void>
}

/** One direction. Bytes beyond the capacity are queued but not flushed. */
class Pipe {
  private readonly wakeup = Wakeup.make()
  private chunks: Array<Uint8Array> = []
  private queuedBytes = 0
  private writtenBytes = 0
  private pulledBytes = 0
  /** An error if the reader loses the connection. */
  private closing: "Open" | "Ended" | Error = "Open"
  private refused: Error | undefined
  /** How many of the written bytes were flushed when flushing stopped. */
  private frozenAt: number | undefined

  constructor(private readonly capacity: number) {}

  readonly pull = Wakeup.until(this.wakeup, () => this.look())

  write(arrays: ReadonlyArray<Uint8Array>): Effect.Effect<void, ConnectionLost> {
    return Effect.suspend(() => {
      const failure = this.writeFailure()
      if (failure !== undefined) return failure
      for (const bytes of arrays) {
        if (bytes.length > 0) this.chunks.push(bytes.slice())
        this.queuedBytes += bytes.length
        this.writtenBytes += bytes.length
      }
      this.wakeup.wake()
      const end = this.writtenBytes
      return Wakeup.until(this.wakeup, (): Effect.Effect<void, ConnectionLost> | undefined => {
        if (end <= (this.frozenAt ?? this.pulledBytes + this.capacity)) return Effect.void
        return this.frozenAt === undefined ? undefined : this.writeFailure()
      })
    })
  }

  /** Received and not pulled. */
  buffered(): number {
    return Math.min(this.queuedBytes, this.capacity)
  }

  /** Ends the stream: the reader sees the end after all that was written. */
  end(): void {
    if (this.closing !== "Open") return
    this.closing = "Ended"
    this.wakeup.wake()
  }

  /** Closes the writing side: what was not flushed is dropped, then the reader sees the end or the error. */
  close(closing: "Ended" | Error): void {
    if (this.closing instanceof Error) return
    this.freeze()
    this.keepFirst(this.capacity)
    this.closing = closing
    this.wakeup.wake()
  }

  /** Closes the reading side: everything is dropped, and writes fail. */
  refuse(cause: Error): void {
    if (this.refused !== undefined) return
    this.refused = cause
    this.freeze()
    this.keepFirst(0)
    this.wakeup.wake()
  }

  private writeFailure(): ConnectionLost | undefined {
    if (this.refused === undefined && this.closing === "Open") return undefined
    const cause = this.closing instanceof Error ? this.closing : new Error("this side has ended its stream")
    return new ConnectionLost({ operation: "write", cause: this.refused ?? cause })
  }

  private look(): Effect.Effect<Uint8Array | undefined, ConnectionLost> | undefined {
    const [first] = this.chunks
    if (first !== undefined) return Effect.succeed(this.take(first))
    if (this.closing === "Open") return undefined
    return this.closing === "Ended"
      ? Effect.succeed(undefined)
      : new ConnectionLost({ operation: "read", cause: this.closing })
  }

  /** Only what lies within the capacity has been received. */
  private take(first: Uint8Array): Uint8Array {
    const taken = first.subarray(0, this.capacity)
    if (taken.length === first.length) this.chunks.shift()
    else this.chunks[0] = first.subarray(taken.length)
    this.queuedBytes -= taken.length
    this.pulledBytes += taken.length
    this.wakeup.wake()
    return taken
  }

  private freeze(): void {
    this.frozenAt ??= Math.min(this.writtenBytes, this.pulledBytes + this.capacity)
  }

  private keepFirst(limit: number): void {
    let room = limit
    this.chunks = this.chunks.flatMap((chunk) => {
      const part = chunk.subarray(0, room)
      room -= part.length
      return part.length > 0 ? [part] : []
    })
    this.queuedBytes = limit - room
  }
}

const makeEnd = (incoming: Pipe, outgoing: Pipe, localPort: number, remotePort: number): Connection => ({
  pull: incoming.pull,
  write: (bytes) => outgoing.write(bytes),
  buffered: () => incoming.buffered(),
  destroy: Effect.sync(() => {
    outgoing.close("Ended")
    incoming.refuse(new Error("the peer has closed the connection"))
    incoming.close(new Error("the connection was destroyed on this side"))
  }),
  addresses: { remoteAddress: "127.0.0.1", remotePort, localAddress: "127.0.0.1", localPort }
})

/**
 * Two ends joined by two bounded pipes. A write ends when all of it fits into the peer's pipe or has been pulled; pull
 * returns the arrays as they were written, in pieces of at most the capacity (default 65,536 bytes).
 */
export const makePair = (options?: {
  readonly capacity?: number | undefined
}): Effect.Effect<{ readonly client: Connection; readonly server: ServerEnd }> =>
  Effect.sync(() => {
    const capacity = Math.max(1, options?.capacity ?? 65_536)
    const toServer = new Pipe(capacity)
    const toClient = new Pipe(capacity)
    return {
      client: makeEnd(toClient, toServer, 50_000, 25),
      server: {
        ...makeEnd(toServer, toClient, 25, 50_000),
        end: Effect.sync(() => toClient.end()),
        reset: Effect.sync(() => {
          const cause = new Error("the peer has reset the connection")
          toClient.close(cause)
          toServer.refuse(cause)
          toServer.close(new Error("this side has reset the connection"))
        })
      }
    }
  })
