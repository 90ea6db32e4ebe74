/**
 * One transaction on the wire: carries the steps of protocol/Transaction to a driver, and keeps to the rules of
 * interruption once somebody has lost interest. It knows nothing of receipts.
 */
import * as Effect from "effect/Effect"
import type { Command, Phase } from "../../protocol/Command.js"
import * as Commands from "../../protocol/Command.js"
import type { Framing } from "../../protocol/Content.js"
import { endOfData } from "../../protocol/Content.js"
import type { Loss } from "../../protocol/Outcome.js"
import { lossOf } from "../../protocol/Outcome.js"
import type { Step } from "../../protocol/Transaction.js"
import type { Driver, Failure, Owner } from "./driver.js"
import type { CommandTrace } from "../telemetry/tracing.js"
import * as Wakeup from "../effect/wakeup.js"

/**
 * The machine that a run carries out: a whole transaction, or the content of one that a program drives by hand.
 */
export interface Machine {
  readonly start: () => Step
  readonly replied: (...reply: Parameters<Owner["replied"]>) => Step
  readonly contentBegun: () => void
  readonly contentComplete: () => void
  readonly progress: () => "None" | "Flowing" | "Complete" | "Declined"
}

export interface Options {
  readonly trace?: CommandTrace | undefined
  readonly framing: Framing
  /** Given when it fits into one write, as it goes over the wire. */
  readonly content: Uint8Array | undefined
  /** The last octet of the content is on its way; only replies are still to come. */
  readonly onLeft: () => void
  readonly onEndAfterAbandon: () => void
}

export interface Run {
  /** Begins, and calls back when content is due that was not given, and when the run has ended. */
  readonly begin: (wanted: () => void, ended: () => void) => void
  readonly framing: Framing
  /** The content that was asked for is on its way. */
  readonly contentBegun: () => void
  /** Puts content on the wire, at once; waits, if it is not the last, until the socket was given it. */
  readonly put: (octets: ReadonlyArray<Uint8Array>, last: boolean) => Effect.Effect<void>
  /** How many octets of content were put on the wire. */
  readonly octets: () => number
  /** What is known should the run be given up now. */
  readonly lossNow: (failure: Failure) => Loss<Failure>
  /**
   * Nobody waits for the result any more. What has not left is withdrawn; what has left is brought to an end that
   * sends nothing more to anybody, or the connection is destroyed (a dot or RSET within content would be text).
   */
  readonly abandon: () => void
  /** The content failed: the envelope is reset where that can be, between chunks, and the connection destroyed where not. */
  readonly stop: () => void
  readonly hasEnded: () => boolean
  readonly awaitEnd: Effect.Effect<void>
  /** `undefined` when every reply came. */
  readonly loss: () => Loss<Failure> | undefined
}

const inMidContent: Failure = {
  _tag: "Abandoned",
  reason: "a message was abandoned in the middle of its content"
}

export const make = (
  driver: Driver,
  machine: Machine,
  { content, framing, onEndAfterAbandon, onLeft, trace }: Options
): Run => {
  const { dialogue } = driver
  let wanted: () => void = () => undefined
  let listeners: Array<() => void> = []
  const replies = Wakeup.make()
  let finished = false
  let abandoned = false
  let answered = false
  let contentDue = false
  // No further chunk leaves; the run ends once what has left is answered.
  let halted = false
  let length = 0
  let loss: Loss<Failure> | undefined

  const hasEnded = (): boolean => finished

  const finish = (): void => {
    if (finished) return
    finished = true
    driver.finish(owner)
    dialogue.forget(owner)
    if (abandoned) onEndAfterAbandon()
    const told = listeners
    listeners = []
    wanted = () => undefined
    for (const listener of told) listener()
  }

  const submit = (commands: ReadonlyArray<Command>): void => {
    const problem = dialogue.submit(owner, commands)
    if (problem === undefined) {
      driver.flush()
      return
    }
    const refused: Failure = { _tag: "Abandoned", reason: `the ${problem.field} ${problem.reason}` }
    driver.fail(refused)
    // A session that had ended before tells nobody any more.
    owner.failed(driver.failure() ?? refused, undefined)
  }

  const contentBegun = (): void => {
    if (framing === "data") dialogue.beginContent(owner)
    machine.contentBegun()
  }

  const putOctets = (octets: ReadonlyArray<Uint8Array>, last: boolean): void => {
    let added = 0
    for (const part of octets) added += part.length
    length += added
    if (framing === "data") dialogue.content(octets, last)
    else submit([Commands.bdat(octets, last)])
    driver.recentLines.content(added, last)
    if (last) machine.contentComplete()
    driver.flush()
  }

  // One step: nobody may see the last octet on the wire and the machine without it.
  const put = (octets: ReadonlyArray<Uint8Array>, last: boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      // Whoever waits for the end of the run interrupts this.
      if (finished || halted) return Effect.never
      if (mustWait()) return Effect.zipRight(nextReply, put(octets, last))
      driver.together(() => {
        putOctets(octets, last)
        if (last && !finished) onLeft()
      })
      return last ? Effect.void : driver.drain
    })

  // RFC 2920: without PIPELINING a chunk waits for the reply to the one before, and must not count as sent until then.
  const mustWait = (): boolean =>
    framing === "bdat" && !dialogue.capabilities().pipelining && dialogue.headOf(owner) !== undefined

  const nextReply: Effect.Effect<void> = Wakeup.until(replies, () =>
    finished || halted || !mustWait() ? Effect.void : undefined
  )

  const decline = (): void => {
    contentDue = true
    dialogue.beginContent(owner)
    machine.contentBegun()
    putOctets([endOfData], true)
  }

  const contentAsked = (): void => {
    if (abandoned) {
      if (framing === "bdat") {
        done(true)
        return
      }
      contentDue = true
      driver.fail(inMidContent)
      return
    }
    contentDue = true
    if (content === undefined) {
      wanted()
      return
    }
    contentBegun()
    driver.together(() => {
      putOctets([content], true)
      if (!finished) onLeft()
    })
  }

  const done = (reset: boolean): void => {
    // Behind the commands of whoever has come next, RSET would be theirs.
    if (reset && dialogue.isLatest(owner)) driver.reset()
    finish()
  }

  const offer = (commands: ReadonlyArray<Command>): void =>
    driver.together(() => {
      submit(commands)
      if (!finished) contentAsked()
    })

  const doneOnceAnswered = (): void => {
    if (dialogue.headOf(owner) === undefined) done(true)
  }

  const halt = (): void => {
    halted = true
    dialogue.withdraw(owner)
    doneOnceAnswered()
  }

  const follow = (step: Step): void => {
    switch (step._tag) {
      case "Submit":
        // Whoever was interrupted wants nothing more to be sent: the envelope so far is taken back.
        if (abandoned) done(true)
        else submit(step.commands)
        return
      case "Offer":
        offer(step.commands)
        return
      case "Wait":
        if (halted) doneOnceAnswered()
        return
      case "Content":
        contentAsked()
        return
      case "Halt":
        halt()
        return
      case "Decline":
        decline()
        return
      case "Done":
        done(step.reset)
        return
      case "Stopped":
        driver.fail({ _tag: "Abandoned", reason: "the content of a message was refused before its end" })
        return
      case "Violated":
        driver.fail({ _tag: "Violated", reason: step.reason, reply: undefined, injection: false })
        return
    }
  }

  const handed = (): boolean => {
    if (machine.progress() !== "Complete") return false
    // No reply is expected any more when the last one was none that could be.
    const tail = dialogue.tailOf(owner)
    return tail === undefined || tail.end <= driver.handed()
  }

  const inContent: Phase = framing === "data" ? "content" : "bdat"

  // `isComplete` says whether the whole message has left, or will.
  const lossBy = (failure: Failure, unanswered: Phase | undefined, isComplete: boolean): Loss<Failure> =>
    lossOf(failure, unanswered, isComplete, contentDue ? inContent : "idle")

  const owner: Owner = {
    trace,
    replied: (command, reply, meaning, more) => {
      answered = true
      follow(machine.replied(command, reply, meaning, more))
      replies.wake()
    },
    failed: (failure, phase) => {
      if (finished) return
      loss = lossBy(failure, phase, handed())
      finish()
    }
  }

  const abandon = (): void => {
    if (finished || abandoned) return
    abandoned = true
    const progress = machine.progress()
    if (progress === "Complete" || progress === "Declined") return
    if (framing === "data" && contentDue) {
      driver.fail(inMidContent)
      return
    }
    if (contentDue) halted = true
    const idle = dialogue.withdraw(owner)
    if (idle) done(answered || contentDue)
    else driver.bound(owner)
  }

  return {
    begin: (onWanted, onEnded) => {
      wanted = onWanted
      listeners.push(onEnded)
      driver.start(owner)
      follow(machine.start())
    },
    framing,
    contentBegun,
    put,
    octets: () => length,
    // On a session that goes on, a message that is complete leaves, whoever gives it up.
    lossNow: (failure) =>
      lossBy(failure, dialogue.headOf(owner)?.command.phase, machine.progress() === "Complete"),
    abandon,
    stop: () => {
      if (finished) return
      if (framing === "data") {
        driver.fail(inMidContent)
        return
      }
      halt()
      if (!hasEnded()) driver.bound(owner)
    },
    hasEnded,
    awaitEnd: Effect.async((resume) => {
      if (finished) resume(Effect.void)
      else listeners.push(() => resume(Effect.void))
    }),
    loss: () => loss
  }
}
