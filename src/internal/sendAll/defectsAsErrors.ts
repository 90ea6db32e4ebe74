/**
 * One of many submissions: what breaks its content from within is its own outcome, and not the end of the others. It is
 * loaded only with effect/Stream.
 */
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Disconnection } from "../../SmtpError.js"
import { ContentError, InvalidArgument, ServerDisconnected } from "../../SmtpError.js"
import type { Receipt } from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"
import type { Submission } from "../../SmtpSubmission.js"
import { isStreamed, valueOf } from "../content/model.js"
import { describeCause } from "../effect/cause.js"
import { addressesOf } from "../session/request.js"

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

// An interruption from without runs no handler: what comes here is the stream's own.
const failing = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>
): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.catchAllCause(stream, (cause) => Stream.fail(failureOf(cause)))

const failureOf = <E>(cause: Cause.Cause<E>): E | ContentError =>
  Option.getOrElse(
    Cause.failureOption(cause),
    () => new ContentError({ reason: "Failed", detail: describeEnd(cause) })
  )

const describeEnd = (cause: Cause.Cause<unknown>): string =>
  Option.match(Cause.dieOption(cause), {
    onNone: () => "the stream was interrupted from within",
    onSome: (defect) => `the stream ended in a defect: ${describeCause(defect)}`
  })

/** The receipt of a submission of which nothing was sent. */
export const unsentReceipt = <E, R>(
  submission: Submission<E, R>,
  error: unknown
): Receipt<InvalidArgument | ContentError> => {
  const cause =
    error instanceof InvalidArgument || error instanceof ContentError
      ? error
      : new ContentError({ reason: "Failed", detail: `the stream failed: ${describeCause(error)}` })
  return Receipts.make(addressesOf(submission).map((address) => Receipts.notSent(address, cause)))
}

/**
 * The receipt of a submission whose send ended in a defect of something other than its content: nobody can say what the
 * server has made of it.
 */
export const unknownReceipt = <E, R>(
  submission: Submission<E, R>,
  cause: Cause.Cause<unknown>
): Receipt<Disconnection> => {
  const why = new ServerDisconnected({
    phase: "final",
    cause: `the send ended: ${describeCause(Cause.squash(cause))}`
  })
  return Receipts.make(addressesOf(submission).map((address) => Receipts.unknown(address, why)))
}
