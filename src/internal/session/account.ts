/**
 * The account of one message: verdicts become outcomes, outcomes the receipt, and the most doubtful of them the error
 * of `send`.
 */
import type { Reply } from "../../protocol/Reply.js"
import { isRefusal, isSuccess } from "../../protocol/Reply.js"
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
import type { Cut } from "./transactionRun.js"

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
  cut: Cut | undefined,
  otherwise: NotSentCause | undefined
): ReadonlyArray<PlannedRecipient> => {
  const overflow: Array<PlannedRecipient> = []
  const refused = memoize(() => refusedOf(batch, verdicts))
  const open = memoize(() => openOutcome(recentLines, cut, refused(), otherwise))
  const accepted = makeAccepted()
  const outcome = (address: string, verdict: Verdict): Outcome => {
    switch (verdict._tag) {
      case "Accepted":
        return accepted(address, verdict.reply)
      case "Refused":
        return Receipts.refused(address, verdict.reply, verdict.phase)
      case "Overflow":
        return Receipts.refused(address, verdict.reply, "rcpt")
      case "Held":
        return Receipts.notSent(address, new RecipientsRefused({ recipients: refused(), policy: "all" }))
      case "Open":
        return open()(address)
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

const openOutcome = (
  recentLines: RecentLines,
  cut: Cut | undefined,
  refused: ReadonlyArray<RefusedRecipient>,
  otherwise: NotSentCause | undefined
): ((address: string) => Outcome) => {
  if (cut === undefined) {
    // Every reply came, and nothing is decided: the run was abandoned before its content.
    const cause = otherwise ?? disconnection(interrupted, "data", recentLines, refused)
    return (address) => Receipts.notSent(address, cause)
  }
  const { failure, handed, phase } = cut
  const reply = failure._tag === "Disconnected" ? failure.reply : undefined
  if (reply !== undefined && isRefusal(reply) && (phase === "final" || phase === "content")) {
    return (address) => Receipts.refused(address, reply, phase)
  }
  const cause = disconnection(failure, phase, recentLines, refused)
  // A 2yz in the middle of the content: what the server has made of it nobody can say.
  const taken = failure._tag === "Violated" && failure.reply !== undefined && isSuccess(failure.reply)
  const doubtful = handed || (taken && phase === "content")
  if (doubtful) return (address) => Receipts.unknown(address, cause)
  return (address) => Receipts.notSent(address, otherwise ?? cause)
}

export const noAccount = (): Account => ({ outcomes: [], content: undefined })

/**
 * What `send` fails with when nobody was accepted: the cause behind the most doubtful outcome, Unknown before
 * NotSent before Refused, so that a retry on transient errors can never deliver a message twice.
 */
export const failureOf = <Cause extends SmtpError = NotSentCause>(
  from: string,
  receipt: AnyReceipt<Cause>,
  policy: RecipientsPolicy
): Cause | Disconnection | SenderRefused | RecipientsRefused | DataError | undefined => {
  if (receipt.accepted.length > 0) return undefined
  const [doubtful] = receipt.unknown
  if (doubtful !== undefined) return doubtful.cause
  const [missing] = receipt.notSent
  if (missing !== undefined) return missing.cause
  const [first] = receipt.refused
  if (first === undefined) return undefined
  if (first.phase === "mail") return new SenderRefused({ sender: from, reply: first.reply })
  const ofMessage = receipt.refused.find(({ phase }) => phase !== "rcpt")
  const verdicts = new Set(receipt.refused.filter(({ phase }) => phase === "final").map(({ reply }) => reply))
  // Several verdicts on one message are those of LMTP, one for each recipient.
  if (ofMessage !== undefined && verdicts.size <= 1) {
    return new DataError({ phase: ofMessage.phase, reply: ofMessage.reply })
  }
  return new RecipientsRefused({
    recipients: receipt.refused.map(({ recipient, reply }) => ({ address: recipient, reply })),
    policy
  })
}
