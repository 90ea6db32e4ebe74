/**
 * Who may submit commands to a session: one turn at a time, first come, first served. A message whose last byte is on
 * its way passes the turn on while its replies are still to come.
 */
import type { Failure } from "./failure.js"

/** The right to submit commands. */
export interface Turn {
  /** A `"message"` can follow messages that have no replies yet, as far as the window allows; the others wait for them. */
  readonly purpose: "commands" | "transaction" | "message"
  readonly begin: () => void
  /** The session has failed before the turn began. */
  readonly rejected: (failure: Failure) => void
}

/** How much may be in flight before another message follows. */
export interface Window {
  /** Messages, with the one that follows. */
  readonly messages: number
  /** Bytes of content. */
  readonly octets: number
}

interface Passed {
  readonly turn: Turn
  readonly bytes: number
}

export class TurnQueue {
  /** The turn that has begun, and was neither passed on nor given back. */
  holder: Turn | undefined
  private readonly waiting: Array<Turn> = []
  // No Map: one that is never empty for long keeps what has left it alive, by the tables that it outgrew.
  private readonly passed: Array<Passed> = []
  private bytes = 0
  private isLeaving = false
  private isAdmitting = false
  private isOpen = true

  constructor(
    /** Whether replies are still to come that a holder must not leave to the next turn. */
    private readonly isHeld: () => boolean,
    private readonly window: Window
  ) {}

  take(turn: Turn): void {
    this.waiting.push(turn)
    this.admitNext()
  }

  /** Passes the turn on: `bytes` of it count against the window until it leaves. */
  pass(turn: Turn, bytes: number): void {
    if (this.holder !== turn || this.isLeaving) return
    this.passed.push({ turn, bytes })
    this.bytes += bytes
    this.holder = undefined
    this.admitNext()
  }

  /** Gives the turn back, or the place in the queue. */
  leave(turn: Turn): void {
    if (this.holder === turn) {
      this.isLeaving = true
      this.settle()
      return
    }
    const place = this.passed.findIndex((one) => one.turn === turn)
    if (place === -1) {
      const waiting = this.waiting.indexOf(turn)
      if (waiting !== -1) this.waiting.splice(waiting, 1)
    } else {
      for (const gone of this.passed.splice(place, 1)) this.bytes -= gone.bytes
    }
    this.admitNext()
  }

  /** What held a turn that was given back may have gone. */
  settle(): void {
    if (!this.isLeaving || this.isHeld()) return
    this.isLeaving = false
    this.holder = undefined
    this.admitNext()
  }

  /** Admits no further turn. */
  stop(): void {
    this.isOpen = false
  }

  /** Admits no further turn; gives those that wait. */
  close(): ReadonlyArray<Turn> {
    this.stop()
    return this.waiting.splice(0)
  }

  private next(): Turn | undefined {
    const next = this.waiting[0]
    if (next === undefined || this.passed.length === 0) return next
    const { messages, octets } = this.window
    return next.purpose === "message" && this.passed.length < messages && this.bytes < octets
      ? next
      : undefined
  }

  // A turn may be over as soon as it has begun: one loop for all of them, however many that are.
  private admitNext(): void {
    if (this.isAdmitting) return
    this.isAdmitting = true
    for (
      let next = this.next();
      next !== undefined && this.holder === undefined && this.isOpen;
      next = this.next()
    ) {
      this.waiting.shift()
      this.holder = next
      next.begin()
    }
    this.isAdmitting = false
  }
}
