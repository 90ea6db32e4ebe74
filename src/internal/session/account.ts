/**
 * The account of one message: verdicts become outcomes, outcomes the receipt, and the most doubtful of them the error
 * of `send`.
 */
import type { Reply } from "../../protocol/Reply.js"
import type { Loss } from "../../protocol/Outcome.js"
import { outcomeOf, overall, refusalOf } from "../../protocol/Outcome.js"
import type { PlannedRecipient, RecipientsPolicy } from "../../protocol/Plan.js"
import type { Verdict } from "../../protocol/Transaction.js"
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
import type { Failure } from "./driver.js"
import { disconnection } from "./failure.js"
import type { Request } from "./request.js"
import type { RecentLines } from "./recentLines.js"

type Outcome = AnyOutcome<NotSentCause>

export type Receipt = AnyReceipt<NotSentCause>

/** Why a message that nobody waits for any more was not sent. */
export const interrupted: Failure = { _tag: "Abandoned", reason: "the send was interrupted" }

/** Everything that has become known of a message. */
export interface Account {
  /** By the place of the recipient in the submission. */
  readonly outcomes: Array<Outcome | undefined>
  content: ContentReport | undefined
}

/**
 * What is known, with the cause that kept the message from those of whom nothing is. Errors are made only where
 * somebody will see them: each costs more than a message.
 */
export const receiptOf = (request: Request, account: Account, missing: () => NotSentCause): Receipt =>
  Receipts.make(
    request.recipients.map(
      (recipient, position) => account.outcomes[position] ?? Receipts.notSent(recipient, missing())
    ),
    account.content
  )

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

/** Writes down what one transaction came to; gives the recipients that were too many for it. */
export const settle = (
  recentLines: RecentLines,
  request: Request,
  account: Account,
  batch: ReadonlyArray<PlannedRecipient>,
  verdicts: ReadonlyArray<Verdict>,
  loss: Loss<Failure> | undefined,
  otherwise: NotSentCause | undefined
): ReadonlyArray<PlannedRecipient> => {
  const overflow: Array<PlannedRecipient> = []
  const refused = memoize(() => refusedOf(batch, verdicts))
  // Without a loss every reply came, and nothing is decided: the transaction was given up before its content.
  const disconnected = memoize(() =>
    disconnection(loss?.failure ?? interrupted, loss?.phase ?? "data", recentLines, refused())
  )
  const accepted = makeAccepted()
  const outcome = (address: string, verdict: Verdict): Outcome => {
    const fate = outcomeOf(verdict, loss)
    switch (fate._tag) {
      case "Accepted":
        return accepted(address, fate.reply)
      case "Refused":
        return Receipts.refused(address, fate.reply, fate.phase)
      case "Unknown":
        return Receipts.unknown(address, disconnected())
      case "NotSent":
        return verdict._tag === "Held"
          ? Receipts.notSent(address, new RecipientsRefused({ recipients: refused(), policy: "all" }))
          : Receipts.notSent(address, otherwise ?? disconnected())
    }
  }
  for (const [index, recipient] of batch.entries()) {
    const verdict = verdicts[index] ?? { _tag: "Open" as const }
    for (const position of recipient.positions) {
      const address = request.recipients[position] ?? recipient.mailbox.source
      account.outcomes[position] = outcome(address, verdict)
    }
    if (verdict._tag === "Overflow") overflow.push(recipient)
  }
  return overflow
}

/** Takes back what was written down of recipients that were too many for a transaction. */
export const forget = (
  { outcomes }: Account,
  batches: ReadonlyArray<ReadonlyArray<PlannedRecipient>>
): void => {
  for (const { positions } of batches.flat()) for (const position of positions) outcomes[position] = undefined
}

/** Most recipients share one reply, whose queue id is looked for once. */
const makeAccepted = (): ((recipient: string, reply: Reply) => Accepted) => {
  let latest: Accepted | undefined
  return (recipient, reply) => {
    latest =
      latest?.reply === reply
        ? { _tag: "Accepted", recipient, reply, queueId: latest.queueId }
        : Receipts.accepted(recipient, reply)
    return latest
  }
}

const memoize = <A>(make: () => A): (() => A) => {
  let made: { readonly value: A } | undefined
  return () => (made ??= { value: make() }).value
}

export const noAccount = (): Account => ({ outcomes: [], content: undefined })

/** What `send` fails with when nobody was accepted: the cause behind the most doubtful outcome. */
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
