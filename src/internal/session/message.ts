/**
 * The road of one message through a session, as a machine without effects. It is the message's turn and the owner of
 * its commands. Where a fiber is needed it makes a demand, and goes on once that is answered (see deliver.ts).
 *
 * Theory of operation
 *
 * 1. Waiting. `start` asks the session for a turn. Nothing is on the wire yet.
 * 2. Getting ready. `begin` is called when the turn comes. If nobody has said EHLO, the message demands it (`Greet`).
 *    Content in memory is known; a stream is looked at first (`Inspect`), as far as the server makes that necessary.
 *    protocol/Plan decides the commands, and what leaves before the first reply.
 * 3. In a transaction, one for each batch of recipients. protocol/Transaction says after each reply what comes next, and
 *    `follow` does it. Small content leaves in one write with its commands; other content is demanded (`Send`) and
 *    comes in through `put`.
 * 4. Left. With its last octet the message may pass its turn on: the next message follows in the same write.
 *    Only replies are still to come.
 * 5. Ended. All replies are in, or the session has failed. protocol/Outcome gives each recipient its outcome. If
 *    recipients are left, the next transaction follows, at once or when the turn comes again.
 * 6. Settled. The receipt goes out, the turn is given back, and everything the message held is released.
 *
 * What is guaranteed
 *
 * - Every recipient gets one outcome, and the receipt is given once: as `Settled`, or as the report of a message that
 *   was given up.
 * - Unknown begins when the last octet is handed to the socket. At a failure `isHanded` decides: what is still in memory
 *   never leaves, and is NotSent. If only the caller gives up, a complete message does leave (`settledNow`).
 * - Nothing follows half-sent content under DATA, where a dot would complete it and RSET would be text: the connection is
 *   destroyed. Between chunks of BDAT the envelope can be reset.
 * - RSET follows a refusal or an unfinished transaction, unless commands of another owner are behind it already.
 *
 * Giving up
 *
 * `abandon` is called when the caller is interrupted, `expire` when the send's own timeout runs out. What has not left is
 * withdrawn. The replies to what has left must come within the session's grace, or the session ends. A complete message
 * cannot be recalled; it is reported when its reply is in. `expire` gives the receipt as it stands and, in the same
 * step, keeps from leaving what it calls NotSent.
 */
import type { Command, Meaning, Phase } from "../../protocol/Command.js"
import * as Commands from "../../protocol/Command.js"
import type { Framing } from "../../protocol/Content.js"
import { endOfData } from "../../protocol/Content.js"
import type { Loss } from "../../protocol/Outcome.js"
import { lossOf } from "../../protocol/Outcome.js"
import type { ContentFacts, Plan, PlannedRecipient } from "../../protocol/Plan.js"
import type { Reply } from "../../protocol/Reply.js"
import type { Step } from "../../protocol/Transaction.js"
import { Transaction } from "../../protocol/Transaction.js"
import type { ContentError, Disconnection, HeloError } from "../../SmtpError.js"
import type { ContentReport } from "../../SmtpReceipt.js"
import type { NotSentCause } from "../../SmtpSession.js"
import type { Prepared } from "../content/model.js"
import { factsOf, reportOf, whole } from "../content/content.js"
import type { Wakeup } from "../effect/wakeup.js"
import { make as makeWakeup } from "../effect/wakeup.js"
import type { CommandTrace } from "../telemetry/tracing.js"
import type { Failure, Owner, Turn } from "./driver.js"
import { inClear, nested, refusedLocally } from "./failure.js"
import type { Demand, MessageContext, NotAllowed } from "./messageContext.js"
import * as Contexts from "./messageContext.js"
import type { Receipt, Settled } from "./receipt.js"
import { interrupted, OutcomeTable } from "./receipt.js"
import type { Request } from "./request.js"

const nobody = (): void => undefined

export class Message implements Turn, Owner {
  readonly purpose = "message"
  private tell: (progress: Demand | Settled | NotAllowed) => void = nobody
  private content: Prepared<unknown, unknown> | undefined
  private plan: Plan | undefined
  private batches: Array<ReadonlyArray<PlannedRecipient>> = []
  private splitsLeft: number
  private readonly outcomes: OutcomeTable

  // The transaction under way, or ended and not settled yet.
  private transaction: Transaction | undefined
  isRunning = false
  private isSending = false
  private isHalted = false
  private isAbandoned = false
  private bytesPut = 0
  contentError: ContentError | undefined
  /** How the session ended, if that cut the transaction short. */
  loss: Loss<Failure> | undefined
  private wakeup: Wakeup | undefined

  /** `report` hears once what became of a message that was given up, as soon as it is known. */
  constructor(
    readonly session: MessageContext,
    readonly request: Request,
    private report: ((receipt: Receipt) => void) | undefined,
    readonly trace: CommandTrace | undefined
  ) {
    this.splitsLeft = request.maxSplits
    this.outcomes = new OutcomeTable(request, session.driver.recentLines)
  }

  // -- 1. waiting

  /** From now on `tell` hears every demand, and how the message ends. */
  listen(tell: (progress: Demand | Settled | NotAllowed) => void): void {
    this.tell = tell
  }

  start(content: Prepared<unknown, unknown>): void {
    this.content = content
    this.session.driver.takeTurn(this)
  }

  /** Sends the content of an envelope that the program has sent itself, in a turn that its fiber has. */
  startByHand(content: Prepared<unknown, unknown>, transaction: Transaction): void {
    this.content = content
    this.run(transaction)
  }

  rejected(failure: Failure): void {
    this.end(this.settledNow(failure))
  }

  // -- 2. getting ready

  // Nobody else changes the state of the session while the message has the turn.
  begin(): void {
    const { plan, session } = this
    const { dialogue } = session.driver
    if (plan !== undefined) {
      // The turn was another's in between: if the session has changed since, the refusal of those left stands.
      if (dialogue.inTransaction() || dialogue.capabilities() !== plan.capabilities) this.finish()
      else this.runNext(plan)
    } else if (session.unprotected()) {
      this.end({ _tag: "NotAllowed", error: inClear() })
    } else if (session.greeted()) {
      this.inspect()
    } else {
      this.tell({ _tag: "Greet" })
    }
  }

  greeted(error: HeloError | Disconnection | undefined): void {
    if (error === undefined) this.inspect()
    else this.finish(() => error)
  }

  private inspect(): void {
    if (this.content?._tag === "Bytes") this.inspected(factsOf(this.content))
    else this.tell({ _tag: "Inspect" })
  }

  inspected(facts: ContentFacts): void {
    const { dialogue } = this.session.driver
    if (dialogue.inTransaction()) {
      this.end({ _tag: "NotAllowed", error: nested() })
      return
    }
    const plan = Contexts.planFor(this.session, this.request, facts)
    if (plan._tag === "Plan") {
      this.plan = plan
      this.batches = [...plan.batches]
      this.runNext(plan)
      return
    }
    const error = refusedLocally(plan)
    if (error._tag === "NotSupported") this.finish(() => error)
    else this.end({ _tag: "NotAllowed", error })
  }

  // -- 3. in a transaction

  private runNext(plan: Plan): void {
    const obstacle = this.hasRun ? Contexts.whyNoFurther(this.session, this.content) : undefined
    const batch = this.batches[0]
    if (obstacle === undefined && batch !== undefined) {
      this.batches.shift()
      this.run(new Transaction(plan, batch, this.session.dialect))
      return
    }
    // Another session may serve the recipients that were too many for a transaction.
    if (obstacle?._tag === "NotSupported") this.outcomes.forget(this.batches.flat())
    this.finish(obstacle && (() => obstacle))
  }

  /** Whether a transaction of this message has come to its end. */
  get hasRun(): boolean {
    return !this.outcomes.isEmpty
  }

  private run(transaction: Transaction): void {
    const { driver } = this.session
    this.transaction = transaction
    this.isRunning = true
    this.isSending = this.isHalted = false
    this.bytesPut = 0
    this.loss = this.contentError = undefined
    driver.together(() => {
      if (this.plan !== undefined) Contexts.beginTransaction(this.session)
      driver.start(this)
      this.follow(transaction.start())
    })
  }

  replied(command: Command, reply: Reply, meaning: Meaning, more: boolean): void {
    if (this.transaction === undefined) return
    if (command.kind === "Bdat" && meaning === "Success") this.session.state.takesBdat = true
    this.follow(this.transaction.replied(command, reply, meaning, more))
    this.wakeup?.wake()
  }

  private follow(step: Step): void {
    const { driver } = this.session
    switch (step._tag) {
      case "Submit":
        // The envelope so far is taken back: an abandoned message sends nothing more.
        if (this.isAbandoned) this.close(true)
        else this.submit(step.commands)
        return
      case "Offer":
        driver.together(() => {
          this.submit(step.commands)
          if (this.isRunning) this.sendContent()
        })
        return
      case "Wait":
        if (this.isHalted && driver.dialogue.headOf(this) === undefined) this.close(true)
        return
      case "Content":
        this.sendContent()
        return
      case "Halt":
        this.isHalted = true
        if (driver.dialogue.withdraw(this)) this.close(true)
        return
      case "Decline":
        this.contentBegun()
        this.put([endOfData], true)
        return
      case "Done":
        this.close(step.reset)
        return
      case "Stopped":
        driver.fail({ _tag: "Abandoned", reason: "the content of a message was refused before its end" })
        return
      case "Violated":
        driver.fail({ _tag: "Violated", reason: step.reason, reply: undefined, injection: false })
        return
    }
  }

  private submit(commands: ReadonlyArray<Command>): void {
    const { driver } = this.session
    // How the session ends is told once the replies behind the goodbye have been read.
    if (driver.dialogue.state() === "Parting") return
    const problem = driver.dialogue.submit(this, commands)
    if (problem === undefined) {
      driver.flush()
      return
    }
    const refused: Failure = { _tag: "Abandoned", reason: `the ${problem.field} ${problem.reason}` }
    driver.fail(refused)
    // A session that had ended before tells nobody any more.
    this.failed(driver.failure() ?? refused, undefined)
  }

  private sendContent(): void {
    const { content, framing, plan } = this
    if (this.isAbandoned) {
      if (framing === "bdat") this.close(true)
      else this.session.driver.fail(Contexts.inMidContent)
      return
    }
    const isWhole = content?._tag === "Bytes" && !Contexts.mustProveBdat(this.session, framing)
    const bytes = isWhole ? whole(content, framing, Contexts.wholeLength) : undefined
    if (bytes === undefined) {
      this.isSending = true
      this.tell({ _tag: "Send", require7bit: plan?.requires7bit ?? false })
      return
    }
    this.contentBegun()
    this.put([bytes], true)
  }

  get framing(): Framing {
    return this.plan?.framing ?? "data"
  }

  /** To be called before the first `put`. */
  contentBegun(): void {
    if (this.framing === "data") this.session.driver.dialogue.beginContent(this)
    this.transaction?.contentBegun()
  }

  /**
   * Whether `put` may be called: not any more once the transaction has ended, and not yet where a chunk of BDAT has to
   * wait for the reply to the one before, so that it does not count as sent until then.
   */
  mayPut(): "Now" | "NotYet" | "Never" {
    const { dialogue } = this.session.driver
    if (!this.isRunning || this.isHalted || dialogue.hasEnded()) return "Never"
    return Contexts.areChunksAlone(this.session, this.framing) && dialogue.headOf(this) !== undefined
      ? "NotYet"
      : "Now"
  }

  /** Wakes at every reply and at the end of the transaction. */
  get changes(): Wakeup {
    return (this.wakeup ??= makeWakeup())
  }

  /** Puts content on the wire. */
  put(octets: ReadonlyArray<Uint8Array>, last: boolean): void {
    const { driver } = this.session
    let length = 0
    for (const part of octets) length += part.length
    this.bytesPut += length
    driver.together(() => {
      if (this.framing === "data") driver.dialogue.content(octets, last)
      else this.submit([Commands.bdat(octets, last)])
      driver.recentLines.content(length, last)
      if (last) this.transaction?.contentComplete()
      driver.flush()
      if (this.isRunning && this.transaction?.progress() === "Complete") this.left()
    })
  }

  // -- 4. left

  private left(): void {
    const { batches, plan, session } = this
    // Behind DATA the next content waits for this one's verdict, whatever the window has room for.
    if (batches.length === 0 && plan !== undefined && Contexts.mayBeFollowed(session, plan))
      session.driver.passTurn(this, plan.ahead === "content" ? this.bytesPut : 0)
  }

  // -- 5. ended

  private close(reset: boolean): void {
    const { driver } = this.session
    // Behind commands of another owner, RSET would hit that one's envelope.
    if (reset && driver.dialogue.isLatest(this)) driver.reset()
    this.ended()
  }

  failed(failure: Failure, unanswered: Phase | undefined): void {
    if (!this.isRunning) return
    this.loss = this.lossBy(failure, unanswered, this.isHanded())
    this.ended()
  }

  private isHanded(): boolean {
    if (this.transaction?.progress() !== "Complete") return false
    const { dialogue, handed } = this.session.driver
    // No reply is expected any more when the last one was none that could be.
    const tail = dialogue.tailOf(this)
    return tail === undefined || tail.end <= handed()
  }

  private lossBy(failure: Failure, unanswered: Phase | undefined, isComplete: boolean): Loss<Failure> {
    const isContentDue = this.transaction?.progress() !== "None"
    const before = !isContentDue ? "idle" : this.framing === "data" ? "content" : "bdat"
    return lossOf(failure, unanswered, isComplete, before)
  }

  private ended(): void {
    const { driver } = this.session
    if (!this.isRunning) return
    this.isRunning = false
    driver.finish(this)
    driver.dialogue.forget(this)
    if (this.isAbandoned) this.reportLate()
    // The sender of the content has still to say how that went.
    else if (!this.isSending)
      this.settleTransaction(this.content?._tag === "Bytes" ? reportOf(this.content.facts) : undefined)
    this.wakeup?.wake()
  }

  /** The content failed, before its transaction or in it. */
  contentFailed(error: ContentError): void {
    this.contentError = error
    if (this.transaction === undefined) this.finish(() => error)
    else this.settleTransaction(undefined)
  }

  /** The content failed, and no more of it is to leave. */
  stop(): void {
    if (this.isRunning) this.withdraw()
  }

  /** Records what the transaction came to, and goes on. */
  settleTransaction(report: ContentReport | undefined): void {
    const { contentError, plan, transaction } = this
    const { driver, state } = this.session
    if (transaction === undefined || this.isAbandoned) return
    const verdicts = this.outcomes.record(transaction, this.loss, contentError)
    this.outcomes.content = report ?? this.outcomes.content
    this.transaction = undefined
    const failure = driver.failure()
    if (failure !== undefined || plan === undefined) {
      this.finish(failure && (() => contentError ?? this.outcomes.disconnection(failure)))
      return
    }
    state.proven ||= transaction.progress() === "Complete"
    const isAccepted = verdicts.some(({ _tag }) => _tag === "Accepted")
    if (isAccepted && plan.ahead === "content") state.toldEarly?.add(this.request, this.content)
    const overflow = transaction.recipients.filter((_, index) => verdicts[index]?._tag === "Overflow")
    if (isAccepted && overflow.length > 0 && this.splitsLeft > 0) {
      this.splitsLeft--
      this.batches.unshift(overflow)
    }
    if (this.batches.length === 0) {
      this.finish()
    } else if (driver.turnHolder() === this) {
      this.begin()
    } else {
      driver.leaveTurn(this)
      driver.takeTurn(this)
    }
  }

  /** Settles the message; a recipient without an outcome was not sent to, because of `missing`. */
  private finish(missing?: () => NotSentCause): void {
    this.end(this.outcomes.settled(this.content, missing))
  }

  /** The content cannot be sent. */
  unsent(error: ContentError): Settled {
    return this.outcomes.settled(undefined, () => error)
  }

  private end(progress: Settled | NotAllowed): void {
    const { tell } = this
    this.leave()
    tell(progress)
  }

  /** Nothing more is told. Lets go of all that it held: garbage that has grown old keeps alive what it points to. */
  leave(): void {
    if (this.isRunning) return
    this.tell = nobody
    this.content = undefined
    this.plan = undefined
    this.transaction = undefined
    this.session.driver.leaveTurn(this)
  }

  // -- giving up

  /** What is known, if the message were given up now because of this failure. */
  private settledNow(failure: Failure): Settled {
    const { transaction } = this
    if (transaction !== undefined) {
      const unanswered = this.session.driver.dialogue.headOf(this)?.command.phase
      // On a session that goes on, a complete message leaves, even if nobody waits for it.
      const loss = this.isRunning
        ? this.lossBy(failure, unanswered, transaction.progress() === "Complete")
        : this.loss
      this.outcomes.record(transaction, loss, undefined)
    }
    return this.outcomes.settled(this.content, () => this.outcomes.disconnection(failure))
  }

  /** Gives the message up because its own time limit has run out; a later outcome is reported. */
  expire(failure: Failure): Settled {
    const settled = this.settledNow(failure)
    if (!this.isRunning) this.report = undefined
    this.abandon()
    return settled
  }

  /** The caller has gone: what has not left is withdrawn, and what becomes of the message is reported. */
  abandon(): void {
    const progress = this.transaction?.progress()
    this.tell = nobody
    if (!this.isRunning) {
      this.reportLate()
      return
    }
    if (this.isAbandoned) return
    this.isAbandoned = true
    if (progress !== "Complete" && progress !== "Declined") this.withdraw()
  }

  /** Sends nothing more: the envelope is reset between chunks, and the connection destroyed where it cannot be. */
  private withdraw(): void {
    const { driver } = this.session
    if (this.transaction?.progress() !== "None") {
      this.isHalted = true
      if (this.framing === "data") driver.fail(Contexts.inMidContent)
    }
    if (!this.isRunning) return
    if (driver.dialogue.withdraw(this)) this.close(true)
    else driver.bound(this)
  }

  private reportLate(): void {
    const { receipt, warning } = this.settledNow(interrupted)
    const { report } = this
    this.report = undefined
    if (warning !== undefined) this.session.driver.fork(warning)
    report?.(receipt)
    this.leave()
  }
}
