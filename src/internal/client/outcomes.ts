/**
 * The account of one message over all attempts: the latest outcome of each recipient, in the caller's order.
 */
import type { NotSentCause, Outcome, Receipt } from "../../SmtpClient.js"
import type { Outcome as AnyOutcome, Receipt as AnyReceipt } from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"

/** Places in the list of recipients as the caller gave it. */
export type Positions = ReadonlyArray<number>

export interface Ledger {
  /** Writes down what an attempt for these recipients came to. */
  readonly record: (positions: Positions, receipt: Receipt) => void
  /** Writes down that none of these was sent to. */
  readonly recordNotSent: (positions: Positions, cause: NotSentCause) => void
  /** Whether nothing is known of anybody. */
  readonly isEmpty: () => boolean
  /** Those of whom it holds; `undefined` stands for nothing known. */
  readonly where: (holds: (outcome: Outcome | undefined) => boolean) => Positions
  /** What is known; whoever nothing is known of was not sent to, by this cause. */
  readonly receipt: (missing: () => NotSentCause) => Receipt
  /** An attempt begins; gives what is known in all should nobody wait for it, and it come to a receipt late. */
  readonly begin: (positions: Positions) => (receipt: AnyReceipt) => AnyReceipt
}

/**
 * Whether the later outcome says more. A message that may have been delivered stays in doubt until a server says that
 * it has it, and an attempt that did not get far does not take back what a server has said.
 */
export const replaces = (later: AnyOutcome, earlier: AnyOutcome | undefined): boolean => {
  switch (earlier?._tag) {
    case undefined:
      return true
    case "Accepted":
      return false
    case "Unknown":
      return later._tag === "Accepted"
    case "Refused":
      return later._tag !== "NotSent"
    case "NotSent":
      return later._tag !== "NotSent" || later.cause._tag !== "ClientUnavailable"
  }
}

export const make = (recipients: ReadonlyArray<string>): Ledger => {
  const outcomes: Array<Outcome | undefined> = recipients.map(() => undefined)
  let content: Receipt["content"]
  // The one receipt that there mostly is needs no copy.
  let only: Receipt | undefined
  let isEmpty = true
  const write = (position: number, outcome: Outcome | undefined): void => {
    if (outcome !== undefined && replaces(outcome, outcomes[position])) outcomes[position] = outcome
  }
  const nameOf = (position: number): string => recipients[position] ?? ""
  return {
    record: (positions, receipt) => {
      only = isEmpty && positions.length === recipients.length ? receipt : undefined
      isEmpty = false
      for (const [index, position] of positions.entries()) write(position, receipt.outcomes[index])
      content = receipt.content ?? content
    },
    recordNotSent: (positions, cause) => {
      only = undefined
      isEmpty = false
      for (const position of positions) write(position, Receipts.notSent(nameOf(position), cause))
    },
    isEmpty: () => isEmpty,
    where: (holds) => outcomes.flatMap((outcome, position) => (holds(outcome) ? [position] : [])),
    receipt: (missing) =>
      only ??
      Receipts.make(
        outcomes.map((outcome, position) => outcome ?? Receipts.notSent(nameOf(position), missing())),
        content
      ),
    begin: (positions) => {
      const earlier = isEmpty ? [] : [...outcomes]
      return (receipt) => {
        const all: Array<AnyOutcome | undefined> = [...earlier]
        for (const [index, position] of positions.entries()) {
          const outcome = receipt.outcomes[index]
          if (outcome !== undefined && replaces(outcome, all[position])) all[position] = outcome
        }
        return Receipts.make(
          all.flatMap((outcome) => outcome ?? []),
          receipt.content ?? content
        )
      }
    }
  }
}
