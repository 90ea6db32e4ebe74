/**
 * One message on its way through a session, without an effect: takes its turn and goes through as many transactions as
 * it needs, and accounts for every recipient. What only a fiber can do (say EHLO, look at a stream, send one) it asks
 * for; small content in memory it sends by itself. The rules of a transaction are those of protocol/Transaction; what
 * is on the wire is that of transactionRun.
 */
import type { Capabilities } from "../../protocol/Capabilities.js"
import * as Commands from "../../protocol/Command.js"
import type { Circumstances, ContentFacts, Plan, PlannedRecipient } from "../../protocol/Plan.js"
import * as Plans from "../../protocol/Plan.js"
import * as Transactions from "../../protocol/Transaction.js"
import type { Disconnection, HeloError, InvalidArgument } from "../../SmtpError.js"
import { ContentError, NotSupported } from "../../SmtpError.js"
import type { ContentReport } from "../../SmtpReceipt.js"
import type { NotSentCause } from "../../SmtpSession.js"
import type { Receipt } from "./account.js"
import { forget, interrupted, noAccount, receiptOf, settle } from "./account.js"
import type { Prepared } from "../content/content.js"
import * as Contents from "../content/content.js"
import type { Turn, Driver, Failure, Owner } from "./driver.js"
import { disconnection, inClear, nested, refusedLocally } from "./failure.js"
import type { Request } from "./request.js"
import { reportOf, wholeLength } from "./sendContent.js"
import type { Settings } from "../options/session.js"
import type { Attributes, CommandTrace } from "../telemetry/tracing.js"
import type { Run } from "./transactionRun.js"
import * as TransactionRun from "./transactionRun.js"

/** What a session gives to its messages. */
export interface Port {
  readonly driver: Driver
  readonly dialect: "smtp" | "lmtp"
  readonly settings: Pick<Settings, "pipelining" | "chunking" | "resetBetween" | "eagerWithin" | "window">
  readonly verifiedTls: () => boolean
  /** Whether EHLO or HELO was accepted. */
  readonly greeted: () => boolean
  /** Whether mail would go in clear though the program has asked for TLS. */
  readonly unprotected: () => boolean
  readonly experience: Experience
  /** Whether the session is over with this message: QUIT may leave in the write that ends it. */
  readonly isLast?: boolean
  /** What spans say of the session. */
  readonly attributes: () => Attributes
}

/** What the session has shown so far, which tells how much may be under way at once. */
export interface Experience {
  /** The server has given its verdict on a message of this session. */
  proven: boolean
  /** The endpoint hangs up on too many commands: RSET is to be spared. */
  restrained: boolean
  /** Whether QUIT has left behind a message: nothing may follow it. */
  leaving: boolean
}

/** What a message asks of whoever drives it; nothing goes on before the answer. */
export type Demand =
  /** EHLO, within the turn; then `greeted`. */
  | { readonly _tag: "Greet"; readonly turn: Turn }
  /** A look at the stream; then `inspected`. */
  | { readonly _tag: "Inspect" }
  /** The content of a run; then `contentSent` or `contentFailed`. */
  | { readonly _tag: "Send"; readonly run: Run; readonly require7bit: boolean }
  /** Nothing any more. */
  | { readonly _tag: "Settled"; readonly receipt: Receipt }
  /** Nothing any more: what the program asked for cannot be. */
  | { readonly _tag: "Refused"; readonly error: InvalidArgument }

export interface Message {
  /** From now on `ask` hears of every demand. */
  readonly listen: (ask: (demand: Demand) => void) => void
  /** Asks for the turn. */
  readonly begin: (content: Prepared<unknown, unknown>) => void
  readonly greeted: (error: HeloError | Disconnection | undefined) => void
  readonly inspected: (facts: ContentFacts) => void
  readonly contentSent: (report: ContentReport | undefined) => void
  readonly contentFailed: (error: ContentError) => void
  /** Whether a transaction of this message has run before the present one. */
  readonly hasRun: () => boolean
  /** Gives the message up for this failure: what is known now, and the rest is reported, if anything is under way. */
  readonly expire: (failure: Failure) => Receipt
  /**
   * Nobody waits any more: what has not left is withdrawn, and what becomes of the message is reported as soon as it is
   * known. That is now, if nothing of it is under way.
   */
  readonly abandon: () => void
  /** Whoever waits hears of something else, which the message has come to nothing by. */
  readonly leave: () => void
}

export { nested }

type Batch = ReadonlyArray<PlannedRecipient>

/** Why recipients that had no transaction yet get none. */
type Stop = () => NotSentCause

interface Current {
  readonly run: Run
  readonly machine: Transactions.Transaction
  readonly batch: Batch
}

/** Hears what became of a message that nobody waits for; with its content, as long as that is needed. */
export type Report = (receipt: Receipt, content: Prepared<unknown, unknown> | undefined) => void

/**
 * `report` hears of a message once and as soon as it is known. It outlives the content, and is not to hold it.
 */
export const make = (port: Port, request: Request, report: Report, trace?: CommandTrace): Message => {
  const { driver } = port
  const { dialogue, recentLines } = driver
  const account = noAccount()
  let ask: (demand: Demand) => void = () => undefined
  let content: Prepared<unknown, unknown> | undefined
  let plan: Plan | undefined
  let plannedFor: Capabilities | undefined
  let waiting: Array<Batch> = []
  let splits = request.maxSplits
  let runs = 0
  let current: Current | undefined
  let settled = true
  let sending = false
  let reported = false

  // What is over lets go of all that it held: garbage that has grown old keeps alive what it points to.
  const leaveWith = (demand: Demand): void => {
    const tell = ask
    ask = () => undefined
    content = undefined
    plan = undefined
    current = undefined
    driver.leaveTurn(turn)
    tell(demand)
  }

  const isUnderWay = (): boolean => current?.run.hasEnded() === false

  const finish = (missing: Stop): void =>
    leaveWith({ _tag: "Settled", receipt: receiptOf(request, account, missing) })

  const planned = (facts: ContentFacts): void => {
    if (dialogue.inTransaction()) {
      leaveWith({ _tag: "Refused", error: nested() })
      return
    }
    const made = planOf(port, request, facts)
    if (made._tag === "Plan") {
      plan = made
      plannedFor = dialogue.capabilities()
      waiting = [...made.batches]
      runNext(made)
      return
    }
    const error = refusedLocally(made)
    if (error._tag === "NotSupported") finish(() => error)
    else leaveWith({ _tag: "Refused", error })
  }

  // Nobody else changes what is known of the session while the message has the turn.
  const admitted = (): void => {
    if (plan !== undefined) goOn(plan)
    else if (port.unprotected()) leaveWith({ _tag: "Refused", error: inClear() })
    else if (port.greeted()) inspect()
    else ask({ _tag: "Greet", turn })
  }

  // The turn was somebody else's in between, and the session may not be the one that was planned for: the refusal of
  // those who are left stands.
  const goOn = (made: Plan): void => {
    if (dialogue.inTransaction() || dialogue.capabilities() !== plannedFor) finish(nothingMissing)
    else runNext(made)
  }

  const inspect = (): void => {
    if (content?._tag === "Bytes") planned(factsOf(content))
    else ask({ _tag: "Inspect" })
  }

  const runNext = (made: Plan): void => {
    const stop = runs === 0 ? undefined : beforeFurther(port, content)
    const batch = stop === undefined ? waiting.shift() : undefined
    if (batch === undefined) {
      // Another session may serve those that were too many for a transaction.
      if (stop?._tag === "NotSupported") forget(account, waiting)
      finish(stop === undefined ? nothingMissing : () => stop)
      return
    }
    const machine = Transactions.make(made, batch, port.dialect)
    const run = TransactionRun.make(driver, machine, {
      trace,
      framing: made.framing,
      content: content?._tag === "Bytes" ? Contents.whole(content, made.framing, wholeLength) : undefined,
      onLeft: () => {
        if (waiting.length > 0) return
        if (mayBeLast(port, made, machine)) sayGoodbye(port, trace)
        // Behind DATA the next content waits for this one's verdict, whatever the window has room for.
        else if (mayBeFollowed(port, made)) driver.passTurn(turn, made.ahead === "content" ? run.octets() : 0)
      },
      onEndAfterAbandon: endedLate
    })
    current = { run, machine, batch }
    settled = false
    sending = false
    driver.together(() => {
      if (mustReset(port)) driver.reset()
      run.begin(
        () => {
          sending = true
          ask({ _tag: "Send", run, require7bit: made.requires7bit })
        },
        () => {
          // Whoever sends the content has still to say how that went.
          if (!sending) ended(undefined, content?._tag === "Bytes" ? reportOf(content.facts) : undefined)
        }
      )
    })
  }

  const nothingMissing: Stop = () => disconnection(interrupted, "idle", recentLines)

  const ended = (failed: ContentError | undefined, sent: ContentReport | undefined): void => {
    if (current === undefined || abandonedRun) return
    if (sent !== undefined) account.content = sent
    runs++
    settled = true
    const overflow = settleWith(current, failed)
    const failure = driver.failure()
    if (failure !== undefined) {
      finish(() => failed ?? disconnection(failure, "idle", recentLines))
      return
    }
    port.experience.proven ||= current.machine.progress() === "Complete"
    if (overflow.length > 0 && splits > 0 && isAccepted(current.batch)) {
      splits--
      waiting.unshift(overflow)
    }
    if (waiting.length === 0) finish(nothingMissing)
    else if (driver.turnHolder() === turn) admitted()
    else reenter()
  }

  // Recipients that were too many for a transaction whose turn had been passed on.
  const reenter = (): void => {
    driver.leaveTurn(turn)
    driver.takeTurn(turn)
  }

  const settleWith = ({ batch, machine, run }: Current, otherwise?: NotSentCause): Batch =>
    settle(recentLines, request, account, batch, machine.verdicts(), run.loss(), otherwise)

  const isAccepted = (batch: Batch): boolean =>
    batch.some(({ positions }) => account.outcomes[positions[0] ?? 0]?._tag === "Accepted")

  const receiptNow = (failure: Failure): Receipt => {
    if (current !== undefined && !settled) {
      const { batch, machine, run } = current
      const loss = run.hasEnded() ? run.loss() : run.lossNow(failure)
      settle(recentLines, request, account, batch, machine.verdicts(), loss, undefined)
    }
    return receiptOf(request, account, () => disconnection(failure, "idle", recentLines))
  }

  let abandonedRun = false

  const endedLate = (): void => {
    if (!reported) {
      reported = true
      report(receiptNow(interrupted), content)
    }
    content = undefined
    driver.leaveTurn(turn)
  }

  const abandon = (): void => {
    ask = () => undefined
    if (isUnderWay()) {
      abandonedRun = true
      current?.run.abandon()
    } else {
      endedLate()
    }
  }

  const turn: Turn = {
    purpose: "message",
    begin: admitted,
    rejected: (failure) => ask({ _tag: "Settled", receipt: receiptNow(failure) })
  }

  return {
    listen: (listener) => {
      ask = listener
    },
    begin: (prepared) => {
      content = prepared
      driver.takeTurn(turn)
    },
    greeted: (error) => {
      if (error === undefined) inspect()
      else finish(() => error)
    },
    inspected: planned,
    contentSent: (sent) => ended(undefined, sent),
    contentFailed: (error) => {
      if (current === undefined) finish(() => error)
      else ended(error, undefined)
    },
    hasRun: () => runs > 0,
    // One step: what the receipt says has not left must not leave after it.
    expire: (failure) => {
      reported ||= !isUnderWay()
      const receipt = receiptNow(failure)
      abandon()
      return receipt
    },
    abandon,
    leave: () => {
      ask = () => undefined
      driver.leaveTurn(turn)
    }
  }
}

/** All that a plan has to know of content in memory. */
export const factsOf = ({ facts }: Contents.PreparedBytes): ContentFacts => ({
  octets: facts.octets,
  eightBit: facts.eightBit,
  utf8Header: facts.headerNonAscii
})

const planOf = (
  { dialect, driver, experience, settings, verifiedTls }: Port,
  { envelope, policy }: Request,
  facts: ContentFacts
): ReturnType<typeof Plans.plan> => {
  const { dialogue } = driver
  const { chunking, eagerWithin, pipelining } = settings
  const circumstances: Circumstances = {
    capabilities: dialogue.capabilities(),
    dialect,
    verifiedTls: verifiedTls(),
    mails: dialogue.mails(),
    awake: experience.proven && !experience.restrained && driver.silentFor() <= eagerWithin,
    now: driver.now()
  }
  return Plans.plan(envelope, facts, circumstances, { pipelining, chunking, recipients: policy })
}

// RFC 2033 section 4.2 forbids it for LMTP. The first message of a session is alone, to see what the server does.
const mayBeFollowed = ({ dialect, driver, experience, settings }: Port, { ahead }: Plan): boolean =>
  dialect === "smtp" &&
  driver.dialogue.capabilities().pipelining &&
  experience.proven &&
  !experience.restrained &&
  (settings.pipelining === "overlap" || ahead === "content")

/** RFC 2920 section 3.1: QUIT may end the group that the content begins, if there will be no other transaction. */
const mayBeLast = (
  { dialect, driver, isLast, settings }: Port,
  { ahead }: Plan,
  machine: Transactions.Transaction
): boolean =>
  isLast === true &&
  dialect === "smtp" &&
  driver.dialogue.capabilities().pipelining &&
  (settings.pipelining === "data" || settings.pipelining === "overlap") &&
  ahead !== "content" &&
  !machine.verdicts().some(({ _tag }) => _tag === "Overflow")

const sayGoodbye = ({ driver, experience }: Port, trace: CommandTrace | undefined): void => {
  const owner: Owner = { trace, replied: () => driver.fork(driver.close), failed: () => undefined }
  experience.leaving = true
  driver.start(owner)
  driver.dialogue.submit(owner, [Commands.quit])
  driver.flush()
}

/** Whether a transaction before this one may leave an envelope behind; behind BDAT it must be RSET (RFC 3030). */
const mustReset = ({ driver, settings }: Port): boolean =>
  driver.dialogue.head() !== undefined && (settings.resetBetween || settings.chunking !== "off")

/** Why no other transaction of the message may follow. */
const beforeFurther = (
  port: Port,
  content: Prepared<unknown, unknown> | undefined
): ContentError | NotSupported | undefined => {
  if (content?._tag === "Stream" && !content.replayable) {
    const detail = "it can be run only once, and the server takes fewer recipients at a time"
    return new ContentError({ reason: "UsedTwice", detail })
  }
  const { dialogue } = port.driver
  const { mailMax } = dialogue.capabilities().limits
  return mailMax === undefined || dialogue.mails() < mailMax
    ? undefined
    : new NotSupported({ extension: "LIMITS", reason: Plans.mailMaxReached(mailMax) })
}
