/** The outcomes of one message over all attempts: the one that stands for each recipient, in the caller's order. */
import { endOfSession, later, leaves, needsAnotherSession } from "../../protocol/Outcome.js"
import type { SmtpError } from "../../SmtpError.js"
import type { Outcome, Receipt } from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"
import type { SetupError } from "../../SmtpSession.js"
import type { OpenSession as Session } from "../session/session.js"
import type { Lease, Verdict } from "./pool.js"

/** Places in the list of recipients as the caller gave it. */
export type Positions = ReadonlyArray<number>

export class AttemptOutcomes<Cause extends SmtpError> {
  /** The one receipt that there mostly is needs no copy. */
  private only: Receipt<Cause> | undefined

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
    if (this.isEmpty && positions.length === this.recipients.length) {
      this.only = receipt
      this.outcomes = receipt.outcomes
    } else this.write(positions, (index) => receipt.outcomes[index])
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
    return (
      this.only ??
      Receipts.make(
        this.recipients.map(
          (recipient, position) => this.outcomes[position] ?? Receipts.notSent(recipient, missing())
        ),
        this.content
      )
    )
  }

  /** The table as it is now, for what an attempt comes to that nobody waits for. */
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
    this.only = undefined
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

/** What the attempt says of its session. */
export const verdictOn = (receipt: Receipt, { relay, session }: Lease<Session, SetupError>): Verdict => {
  switch (leaves(receipt, session.state(), relay.slots > 1)) {
    case "clean":
      return { _tag: "Clean" }
    case "prove":
      return { _tag: "Doubtful" }
    case "spent":
      return {
        _tag: "Spent",
        reason: endOfSession(receipt),
        didWork: receipt.accepted.length + receipt.refused.length > 0
      }
  }
}
