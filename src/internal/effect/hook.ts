/** Runs the program's hook for the outcome of a message. A defect of it is logged, and affects nothing else. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Receipt } from "../../SmtpReceipt.js"
import type { Submission } from "../../SmtpSubmission.js"
import { describeCause } from "./cause.js"

export const hookEffect = (
  onOutcome: NonNullable<Submission["onOutcome"]>,
  receipt: Receipt,
  envelopeId: string | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => onOutcome(receipt)).pipe(
    Effect.asVoid,
    Effect.catchAllCause((cause) =>
      Cause.isInterruptedOnly(cause) ? Effect.void : logBroken(cause, envelopeId)
    )
  )

const logBroken = (cause: Cause.Cause<unknown>, envelopeId: string | undefined): Effect.Effect<void> =>
  Effect.logError(`onOutcome ended in a defect: ${describeCause(Cause.squash(cause))}`).pipe(
    Effect.annotateLogs(envelopeId === undefined ? {} : { "smtp.envelope_id": envelopeId })
  )
