/** Hands the bytes of a dialogue to the socket, one write at a time, and keeps account of what has left. */
import * as Effect from "effect/Effect"
import type { Dialogue } from "../../protocol/Dialogue.js"
import type { ConnectionLost } from "../../SmtpSocket.js"
import * as Wakeup from "../effect/wakeup.js"
import type { DirectConnection } from "../transport/directConnection.js"

// Progress shows between two writes: a large chunk as a whole could take longer on a slow line than the limit of a write.
const sliceLength = 524_288

interface OutputOptions {
  readonly elapsed: () => number
  readonly began: () => void
  /** A write is through. `before` is how many bytes were flushed before it. */
  readonly flushed: (before: number) => void
  readonly failed: (error: ConnectionLost) => void
}

export class Output {
  /** When the write in flight began. */
  writingSince: number | undefined
  /** How many bytes the socket was given. */
  handed = 0
  /** How many of them the operating system has taken. */
  flushed = 0
  private state: "Open" | "Failed" | "Closed" = "Open"
  private unwritten: ReadonlyArray<Uint8Array> = []
  private isPumping = false
  private readonly taken = Wakeup.make()

  constructor(
    private readonly dialogue: Pick<Dialogue<never>, "take" | "taken" | "put">,
    private connection: DirectConnection,
    private readonly options: OutputOptions
  ) {}

  /** Waits until the socket was given all that is in the dialogue now. */
  readonly drain: Effect.Effect<void> = Effect.suspend(() => {
    const end = this.dialogue.put()
    return Wakeup.until(this.taken, () =>
      this.state === "Closed" || this.dialogue.taken() >= end ? Effect.void : undefined
    )
  })

  /** Goes on over another connection. */
  switchTo(connection: DirectConnection): void {
    this.connection = connection
  }

  close(): void {
    this.state = "Closed"
    this.taken.wake()
  }

  /** Writes what there is, or what comes up while it writes. */
  pump(): void {
    // A write that is through at once lets the next one begin from this loop, and not from within it.
    if (this.isPumping) return
    this.isPumping = true
    while (this.state === "Open" && this.writingSince === undefined && this.fill()) {
      this.writingSince = this.options.elapsed()
      this.options.began()
      this.connection.write(this.nextSlice(), this.wrote)
    }
    this.isPumping = false
  }

  private fill(): boolean {
    if (this.unwritten.length > 0) return true
    this.unwritten = this.dialogue.take()
    if (this.unwritten.length === 0) return false
    this.taken.wake()
    return true
  }

  private nextSlice(): ReadonlyArray<Uint8Array> {
    const all = this.unwritten
    const length = all.reduce((sum, part) => sum + part.length, 0)
    if (length <= sliceLength) {
      this.unwritten = []
      this.handed += length
      return all
    }
    const slice: Array<Uint8Array> = []
    const rest: Array<Uint8Array> = []
    let room = sliceLength
    for (const part of all) {
      const fitting = part.subarray(0, room)
      if (fitting.length > 0) slice.push(fitting)
      if (fitting.length < part.length) rest.push(part.subarray(fitting.length))
      room -= fitting.length
    }
    this.unwritten = rest
    this.handed += sliceLength
    return slice
  }

  private readonly wrote = (error: ConnectionLost | undefined): void => {
    this.writingSince = undefined
    if (error !== undefined) {
      if (this.state !== "Open") return
      this.state = "Failed"
      this.options.failed(error)
      return
    }
    const before = this.flushed
    this.flushed = this.handed
    this.options.flushed(before)
    this.pump()
  }
}
