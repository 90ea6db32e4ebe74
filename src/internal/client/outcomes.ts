/** The outcomes of one message over all attempts: the one that stands for each recipient, in the caller's order. */
import type { Phase } from "../../protocol/Command.js"
import type { Signs } from "../../protocol/Outcome.js"
import {
  endOfSession,
  hadNotBegun,
  isThrottle,
  lacksBdat,
  later,
  leaves,
  losesPipelined,
  needsAnotherSession
} from "../../protocol/Outcome.js"
import type { SmtpError } from "../../SmtpError.js"
import { CommandRefused, ContentError, ServerDisconnected } from "../../SmtpError.js"
import type { Outcome, Receipt } from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"
import type { SetupError } from "../../SmtpSession.js"
import { outcomesOf } from "../session/request.js"
import type { OpenSession as Session } from "../session/session.js"
import type { Lease, LeaseEnd, Unwillingness } from "./pool.js"

/** Places in the list of recipients as the caller gave it. */
export type Positions = ReadonlyArray<number>

export class AttemptOutcomes<Cause extends SmtpError> {
  constructor(
    private readonly recipients: ReadonlyArray<string>,
    private outcomes: ReadonlyArray<Outcome<Cause> | undefined> = [],
    private content?: Receipt["content"]
  ) {}

  /** Whether nothing is known of anybody. */
  get isEmpty(): boolean {
    return this.outcomes.length === 0
  }

  record(positions: Positions, receipt: Receipt<Cause>): void {
    this.write(positions, (index) => receipt.outcomes[index])
    this.content = receipt.content ?? this.content
  }

  recordNotSent(positions: Positions, cause: Cause): void {
    this.write(positions, (_, recipient) => Receipts.notSent(recipient, cause))
  }

  /** The recipients that the condition holds for, of those that something is known of. */
  where(holds: (outcome: Outcome<Cause>) => boolean): Positions {
    return this.outcomes.flatMap((outcome, position) =>
      outcome !== undefined && holds(outcome) ? [position] : []
    )
  }

  /** What is known; a recipient that nothing is known of was not sent to, by this cause. */
  receipt(missing: () => Cause): Receipt<Cause> {
    const outcomeOf = (recipient: string, position: number): Outcome<Cause> =>
      this.outcomes[position] ?? Receipts.notSent(recipient, missing())
    return Receipts.make(outcomesOf(this.recipients, outcomeOf), this.content)
  }

  /** Another attempt is due, and the content can be run no more. What a server has said stands. */
  spoil(this: AttemptOutcomes<Cause | ContentError>, positions: Positions): void {
    for (const position of positions) {
      const outcome = this.outcomes[position]
      if (outcome?._tag !== "NotSent") continue
      const detail = `it can be run only once, and another attempt is needed: ${outcome.cause.message}`
      this.recordNotSent([position], new ContentError({ reason: "UsedTwice", detail }))
    }
  }

  /** The table as it is now, for an attempt whose caller was interrupted. */
  copy(): AttemptOutcomes<SmtpError> {
    return new AttemptOutcomes<SmtpError>(this.recipients, this.outcomes, this.content)
  }

  private write(
    positions: Positions,
    outcomeOf: (index: number, recipient: string) => Outcome<Cause> | undefined
  ): void {
    const outcomes = [...this.outcomes]
    for (const [index, position] of positions.entries()) {
      const outcome = outcomeOf(index, this.recipients[position] ?? "")
      if (outcome !== undefined) outcomes[position] = later(outcomes[position], outcome)
    }
    this.outcomes = outcomes
  }
}

// -- what one attempt says

/** The recipients that the condition holds for. */
export const those = (
  positions: Positions,
  { outcomes }: Receipt,
  holds: (outcome: Receipt["outcomes"][number]) => boolean
): Positions =>
  positions.filter((_, index) => {
    const outcome = outcomes[index]
    return outcome !== undefined && holds(outcome)
  })

/** Whether some recipients are left because the session may carry no more transactions (RFC 9422 MAILMAX). */
export const hasUsedUp = (
  { outcomes }: Receipt,
  { isLimited, isUsed }: Lease<Session, SetupError>
): boolean =>
  isLimited && outcomes.some(needsAnotherSession) && (isUsed || !outcomes.every(needsAnotherSession))

/**
 * For whom another session is asked at once: one that was open before had ended, or may not carry more messages, and that
 * is not the message's fault.
 */
export const forReplacement = (
  positions: Positions,
  receipt: Receipt,
  { isUsed, session }: Lease<Session, SetupError>,
  { isWornOut }: Signs
): Positions => {
  if (!isUsed) return []
  return session.state() === "Closed" && hadNotBegun(receipt)
    ? positions
    : those(positions, receipt, isWornOut)
}

/**
 * Writes down what the attempt says of the server's habits, and calls `learned` if that is news. Gives those that may have
 * another outcome on a session that is opened by it: also where a message on another session has said so first.
 */
export const learn = (
  positions: Positions,
  receipt: Receipt,
  { relay: { habits }, session: { messages } }: Lease<Session, SetupError>,
  isBinary: boolean,
  learned: () => void
): Positions | undefined => {
  if (receipt.outcomes.some(lacksBdat)) {
    if (!habits.lacksBdat) {
      habits.lacksBdat = true
      learned()
    }
    // BINARYMIME goes by BDAT alone (RFC 3030).
    return isBinary ? [] : those(positions, receipt, lacksBdat)
  }
  const isPipelined =
    messages.settings.pipelining !== "off" && messages.driver.dialogue.capabilities().pipelining
  if (isPipelined && receipt.outcomes.some(losesPipelined)) {
    if (!habits.losesPipelined) {
      habits.losesPipelined = true
      learned()
    }
    return those(positions, receipt, losesPipelined)
  }
  return undefined
}

/** Given up, and no session has said what became of it: nothing else can be said for sure. */
export const inDoubt = (recipients: ReadonlyArray<string>, positions: Positions): Receipt => {
  const cause = new ServerDisconnected({ phase: "final", cause: "the send was interrupted" })
  const those = positions.map((position) => recipients[position] ?? "")
  return Receipts.make(outcomesOf(those, (recipient) => Receipts.unknown(recipient, cause)))
}

/** What the attempt says of its session and its relay. */
export const leaseEnd = (
  receipt: Receipt,
  { history, relay, session }: Lease<Session, SetupError>,
  { isWornOut, unwilling }: Signs
): LeaseEnd<SetupError> => {
  const answered = receipt.refused.length > 0 ? "answered" : "none"
  const work = receipt.accepted.length > 0 ? "accepted" : answered
  const left = leaves(receipt, session.state(), relay.slots > 1)
  const refusal = unwilling === undefined ? undefined : unwillingnessOf(unwilling, history.hasDelivered)
  if (left === "spent") return { _tag: "Spent", reason: endOfSession(receipt), work, unwilling: refusal }
  if (receipt.refused.some(isWornOut)) return { _tag: "Spent", reason: "refused", work, unwilling: refusal }
  return left === "clean"
    ? { _tag: "Clean", work, unwilling: refusal }
    : { _tag: "Doubtful", unwilling: refusal }
}

const unwillingnessOf = (
  { phase, reply }: NonNullable<Signs["unwilling"]>,
  hasDelivered: boolean
): Unwillingness<SetupError> => ({
  error:
    reply === undefined || reply.code === 421
      ? new ServerDisconnected({ phase, reply })
      : new CommandRefused({ command: commandOf(phase), phase, reply }),
  mayBeCrowded: reply !== undefined && (!hasDelivered || isThrottle(reply))
})

const commandOf = (phase: Phase): string => (phase === "final" ? "the message" : phase.toUpperCase())
