/**
 * One transaction on the wire: carries the steps of protocol/Transaction to an exchange, and keeps to the rules of
 * interruption once somebody has lost interest. It knows nothing of receipts.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Command, Phase } from "../protocol/Command.js"
import { endOfData } from "../protocol/Content.js"
import type { Step } from "../protocol/Transaction.js"
import type { Exchange, Failure, Owner } from "./exchange.js"

/**
 * The machine that a run carries out: a whole transaction, or the content of one that a program drives by hand.
 *
 * @since 0.1.0
 * @category models
 */
export interface Machine {
  readonly start: () => Step
  readonly replied: (...reply: Parameters<Owner["replied"]>) => Step
  readonly contentBegun: () => void
  readonly contentComplete: () => void
  readonly progress: () => "None" | "Flowing" | "Complete" | "Declined"
}

/**
 * What ended a run before its last reply.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cut {
  readonly failure: Failure
  readonly phase: Phase
  /** Whether the last octet of the content had been handed to the socket. */
  readonly handed: boolean
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Run {
  /** Begins, and calls back when content is due that was not given, and when the run has ended. */
  readonly begin: (wanted: () => void, ended: () => void) => void
  /** The content that 354 asked for is on its way. */
  readonly contentBegun: () => void
  /** All of the content was put on the wire. */
  readonly contentComplete: () => void
  /** What is known should the run be given up now. */
  readonly cutNow: (failure: Failure) => Cut
  /**
   * Nobody waits for the result any more. What has not left is withdrawn; what has left is brought to an end that
   * sends nothing more to anybody, or the connection is destroyed (a dot or RSET within content would be text).
   */
  readonly abandon: () => void
  /** The content failed, and somebody waits for what that came to: the connection is destroyed. */
  readonly stop: () => void
  readonly hasEnded: () => boolean
  readonly awaitEnd: Effect.Effect<void>
  /** `undefined` when every reply came. */
  readonly cut: () => Cut | undefined
}

const inMidContent: Failure = {
  _tag: "Abandoned",
  reason: "a message was abandoned in the middle of its content"
}

/**
 * `content` is given when it fits into one write, with its end of data.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  exchange: Exchange,
  machine: Machine,
  content: Uint8Array | undefined,
  onEndAfterAbandon: () => void
): Run => {
  const { dialogue } = exchange
  let wanted: () => void = () => undefined
  const listeners: Array<() => void> = []
  let finished = false
  let abandoned = false
  let answered = false
  let contentDue = false
  let cut: Cut | undefined

  const finish = (): void => {
    if (finished) return
    finished = true
    exchange.finish(owner)
    if (abandoned) onEndAfterAbandon()
    for (const listener of listeners) listener()
  }

  const submit = (commands: ReadonlyArray<Command>): void => {
    const problem = dialogue.submit(owner, commands)
    if (problem === undefined) {
      exchange.flush()
      return
    }
    const refused: Failure = { _tag: "Abandoned", reason: `the ${problem.field} ${problem.reason}` }
    exchange.fail(refused)
    // A session that had ended before tells nobody any more.
    owner.failed(exchange.failure() ?? refused, undefined)
  }

  const complete = (octets: Uint8Array): void => {
    dialogue.beginContent(owner)
    machine.contentBegun()
    dialogue.content([octets], true)
    machine.contentComplete()
    exchange.tape.content(octets.length, true)
    exchange.flush()
  }

  const contentAsked = (): void => {
    if (abandoned) {
      contentDue = true
      exchange.fail(inMidContent)
      return
    }
    if (content !== undefined) {
      complete(content)
      return
    }
    contentDue = true
    wanted()
  }

  const done = (reset: boolean): void => {
    if (reset) exchange.reset()
    finish()
  }

  const follow = (step: Step): void => {
    switch (step._tag) {
      case "Submit":
        // Whoever was interrupted wants nothing more to be sent: the envelope so far is taken back.
        if (abandoned) done(true)
        else submit(step.commands)
        return
      case "Wait":
        return
      case "Content":
        contentAsked()
        return
      case "Decline":
        complete(endOfData)
        return
      case "Done":
        done(step.reset)
        return
      case "Stopped":
        exchange.fail({ _tag: "Abandoned", reason: "the content of a message was refused before its end" })
        return
      case "Violated":
        exchange.fail({ _tag: "Violated", reason: step.reason, reply: undefined, injection: false })
        return
    }
  }

  const handed = (): boolean => {
    if (machine.progress() !== "Complete") return false
    const head = dialogue.headOf(owner)
    return head === undefined || head.end <= exchange.handed()
  }

  const cutBy = (failure: Failure, phase: Phase | undefined): Cut => {
    const all = handed()
    const told = phase === "final" && !all ? "content" : (phase ?? (contentDue ? "content" : "idle"))
    return { failure, phase: told, handed: all }
  }

  const owner: Owner = {
    replied: (command, reply, meaning, more) => {
      answered = true
      follow(machine.replied(command, reply, meaning, more))
    },
    failed: (failure, phase) => {
      if (finished) return
      cut = cutBy(failure, phase)
      finish()
    }
  }

  return {
    begin: (onWanted, onEnded) => {
      wanted = onWanted
      listeners.push(onEnded)
      exchange.start(owner)
      follow(machine.start())
    },
    contentBegun: () => {
      dialogue.beginContent(owner)
      machine.contentBegun()
    },
    contentComplete: machine.contentComplete,
    cutNow: (failure) => cutBy(failure, dialogue.headOf(owner)?.command.phase),
    abandon: () => {
      if (finished || abandoned) return
      abandoned = true
      const progress = machine.progress()
      if (progress === "Flowing" || contentDue) {
        if (progress !== "Complete") exchange.fail(inMidContent)
        return
      }
      if (progress !== "None") return
      const idle = dialogue.withdraw(owner)
      if (!idle) exchange.bound(owner)
      else done(answered)
    },
    stop: () => {
      if (!finished) exchange.fail(inMidContent)
    },
    hasEnded: () => finished,
    awaitEnd: Effect.async((resume) => {
      if (finished) resume(Effect.void)
      else listeners.push(() => resume(Effect.void))
    }),
    cut: () => cut
  }
}
