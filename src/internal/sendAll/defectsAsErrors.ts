/**
 * One of many submissions: what breaks its content from within is its own outcome, and not the end of the others. It is
 * loaded only with effect/Stream.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Disconnection } from "../../SmtpError.js"
import { ContentError, InvalidArgument, ServerDisconnected } from "../../SmtpError.js"
import type { Receipt } from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"
import type { Submission } from "../../SmtpSubmission.js"
import { isStreamed, valueOf } from "../content/model.js"
import { describeCause } from "../effect/cause.js"
import { addressesOf, outcomesOf } from "../session/request.js"

/** The submission with content that fails with `ContentError` where it would die, or interrupt itself. */
export const defectsAsErrors = <E, R>(submission: Submission<E, R>): Submission<E | ContentError, R> => {
  try {
    const { content } = submission
    const value = valueOf(content)
    return value === undefined || !isStreamed(value)
      ? submission
      : { ...submission, content: { ...value, stream: failing(value.stream) } }
  } catch {
    // What cannot be read is refused by whoever reads it next.
    return submission
  }
}

/** A submission in the making, which fails with `ContentError` where it would die, or interrupt itself. */
export const making = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | ContentError, R> =>
  Effect.catchAllCause(effect, (cause) => Effect.fail(failureOf(cause, "the submission")))

// An interruption from without runs no handler: what comes here is the stream's own.
const failing = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>
): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.catchAllCause(stream, (cause) => Stream.fail(failureOf(cause, "the stream")))

const failureOf = <E>(cause: Cause.Cause<E>, what: string): E | ContentError =>
  Option.getOrElse(
    Cause.failureOption(cause),
    () => new ContentError({ reason: "Failed", detail: `${what} ${describeEnd(cause)}` })
  )

const describeEnd = (cause: Cause.Cause<unknown>): string =>
  Option.match(Cause.dieOption(cause), {
    onNone: () => "was interrupted from within",
    onSome: (defect) => `ended in a defect: ${describeCause(defect)}`
  })

/** The receipt of a submission of which nothing was sent; `undefined` if it could not be made. */
export const unsentReceipt = <E, R>(
  submission: Submission<E, R> | undefined,
  error: unknown
): Receipt<InvalidArgument | ContentError> => {
  const what = submission === undefined ? "the submission" : "the stream"
  const cause =
    error instanceof InvalidArgument || error instanceof ContentError
      ? error
      : new ContentError({ reason: "Failed", detail: `${what} failed: ${describeCause(error)}` })
  return Receipts.make(outcomesOf(addressesOf(submission), (address) => Receipts.notSent(address, cause)))
}

/**
 * The receipt of a submission whose send ended in a defect of something other than its content: nobody can say what the
 * server has made of it.
 */
export const unknownReceipt = <E, R>(
  submission: Submission<E, R> | undefined,
  cause: Cause.Cause<unknown>
): Receipt<Disconnection> => {
  const why = new ServerDisconnected({
    phase: "final",
    cause: `the send ended: ${describeCause(Cause.squash(cause))}`
  })
  return Receipts.make(outcomesOf(addressesOf(submission), (address) => Receipts.unknown(address, why)))
}
