/** Outcomes become the receipt of a message, and the receipt the error of `send`. What counts is in protocol/Outcome. */
import type * as Effect from "effect/Effect"
import type { Loss } from "../../protocol/Outcome.js"
import { outcomeOf, overall, refusalOf } from "../../protocol/Outcome.js"
import type { PlannedRecipient, RecipientsPolicy } from "../../protocol/Plan.js"
import type { Transaction, Verdict } from "../../protocol/Transaction.js"
import type { Disconnection, RefusedRecipient, SmtpError } from "../../SmtpError.js"
import { DataError, RecipientsRefused, SenderRefused } from "../../SmtpError.js"
import type {
  Accepted,
  ContentReport,
  Outcome as AnyOutcome,
  Receipt as AnyReceipt
} from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"
import type { NotSentCause } from "../../SmtpSession.js"
import type { Prepared } from "../content/model.js"
import * as Meter from "../telemetry/meter.js"
import type { Failure } from "./driver.js"
import { disconnection } from "./failure.js"
import { warningOf } from "./logUnknown.js"
import type { RecentLines } from "./recentLines.js"
import type { Request } from "./request.js"
import { outcomesOf } from "./request.js"

export type Outcome = AnyOutcome<NotSentCause>

export type Receipt = AnyReceipt<NotSentCause>

/** Why a message was not sent whose caller has gone. */
export const interrupted: Failure = { _tag: "Abandoned", reason: "the send was interrupted" }

/** The end of a message. */
export interface Settled {
  readonly _tag: "Settled"
  readonly receipt: Receipt
  /** The log line, if an outcome is Unknown. */
  readonly warning: Effect.Effect<void> | undefined
}

/** The outcomes of a message so far. Errors are made where somebody will see them: each costs more than a message. */
export class OutcomeTable {
  // By the places of the recipients in the submission.
  private readonly outcomes: Array<Outcome | undefined> = []
  private isCounted = false
  content: ContentReport | undefined

  constructor(
    private readonly request: Request,
    private readonly recentLines: RecentLines
  ) {}

  /** Whether no transaction has been recorded. */
  get isEmpty(): boolean {
    return this.outcomes.length === 0
  }

  /**
   * Records what a transaction came to. `contentError` is the cause of NotSent, if nothing else is known; `loss` is
   * absent if every reply came.
   */
  record(
    transaction: Transaction,
    loss: Loss<Failure> | undefined,
    contentError: NotSentCause | undefined
  ): ReadonlyArray<Verdict> {
    const { recipients } = transaction
    const verdicts = transaction.verdicts()
    let refused: ReadonlyArray<RefusedRecipient> | undefined
    let disconnected: Disconnection | undefined
    let accepted: Accepted | undefined
    const refusedOnes = (): ReadonlyArray<RefusedRecipient> => (refused ??= refusedOf(recipients, verdicts))
    // Without a loss an open verdict means that the transaction was given up before its content.
    const cause = (): Disconnection =>
      (disconnected ??= disconnection(
        loss?.failure ?? interrupted,
        loss?.phase ?? "data",
        this.recentLines,
        refusedOnes()
      ))
    const outcome = (address: string, verdict: Verdict): Outcome => {
      const fate = outcomeOf(verdict, loss)
      switch (fate._tag) {
        case "Accepted":
          // Most recipients share one reply, whose queue id is looked for once.
          accepted =
            accepted?.reply === fate.reply
              ? { _tag: "Accepted", recipient: address, reply: fate.reply, queueId: accepted.queueId }
              : Receipts.accepted(address, fate.reply)
          return accepted
        case "Refused":
          return Receipts.refused(address, fate.reply, fate.phase)
        case "Unknown":
          return Receipts.unknown(address, cause())
        case "NotSent":
          return verdict._tag === "Held"
            ? Receipts.notSent(address, new RecipientsRefused({ recipients: refusedOnes(), policy: "all" }))
            : Receipts.notSent(address, contentError ?? cause())
      }
    }
    for (const [index, { mailbox, positions }] of recipients.entries()) {
      const verdict = verdicts[index] ?? { _tag: "Open" as const }
      for (const position of positions) {
        this.outcomes[position] = outcome(this.request.recipients[position] ?? mailbox.source, verdict)
      }
    }
    return verdicts
  }

  forget(batch: ReadonlyArray<PlannedRecipient>): void {
    for (const { positions } of batch) for (const position of positions) this.outcomes[position] = undefined
  }

  /**
   * The receipt, whose outcomes are counted the first time. A recipient of whom nothing is known was not sent to,
   * because of `missing`. `content` is that of the message, for the log line.
   */
  settled(
    content: Prepared<unknown, unknown> | undefined,
    missing: () => NotSentCause = () => this.disconnection(interrupted)
  ): Settled {
    const outcomes = outcomesOf(
      this.request.recipients,
      (recipient, position) => this.outcomes[position] ?? Receipts.notSent(recipient, missing())
    )
    const receipt = Receipts.make(outcomes, this.content)
    if (this.isCounted) return { _tag: "Settled", receipt, warning: undefined }
    this.isCounted = true
    Meter.settled(receipt)
    return { _tag: "Settled", receipt, warning: warningOf(this.request, content, receipt) }
  }

  disconnection(failure: Failure): Disconnection {
    return disconnection(failure, "idle", this.recentLines)
  }
}

const refusedOf = (
  recipients: ReadonlyArray<PlannedRecipient>,
  verdicts: ReadonlyArray<Verdict>
): ReadonlyArray<RefusedRecipient> =>
  recipients.flatMap(({ mailbox }, index) => {
    const verdict = verdicts[index]
    return verdict?._tag === "Refused" || verdict?._tag === "Overflow"
      ? [{ address: mailbox.source, reply: verdict.reply }]
      : []
  })

/** What `send` fails with if nobody was accepted. */
export const failureOf = <Cause extends SmtpError = NotSentCause>(
  from: string,
  receipt: AnyReceipt<Cause>,
  policy: RecipientsPolicy
): Cause | Disconnection | SenderRefused | RecipientsRefused | DataError | undefined => {
  switch (overall(receipt)) {
    case "Accepted":
      return undefined
    case "Unknown":
      return receipt.unknown[0]?.cause
    case "NotSent":
      return receipt.notSent[0]?.cause
    case "Refused": {
      const refusal = refusalOf(receipt.refused)
      switch (refusal?._tag) {
        case undefined:
          return undefined
        case "SenderRefused":
          return new SenderRefused({ sender: from, reply: refusal.reply })
        case "DataError":
          return new DataError({ phase: refusal.phase, reply: refusal.reply })
        case "RecipientsRefused":
          return new RecipientsRefused({
            recipients: receipt.refused.map(({ recipient, reply }) => ({ address: recipient, reply })),
            policy
          })
      }
    }
  }
}
