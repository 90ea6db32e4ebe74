/**
 * `sendAll` of a client. It is loaded only when it is used, since effect/Stream is.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { NotSentCause, Receipt } from "../../SmtpClient.js"
import { ContentError, InvalidArgument } from "../../SmtpError.js"
import type { Keyed as KeyedReceipt } from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"
import type { Keyed, Submission } from "../../SmtpSubmission.js"
import { describeCause } from "../cause.js"
import { addressesOf } from "../request.js"

/**
 * Receipts come in the order in which they are known. As many submissions are under way as `concurrency` says, and no
 * more are pulled: neither side can outrun the other.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sendAll = <K, E, R, E2, R2>(
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>,
  deliver: (submission: Submission<E, R>) => Effect.Effect<Receipt, InvalidArgument | E, R>,
  concurrency: number
): Stream.Stream<KeyedReceipt<K, E, NotSentCause>, E2, R | R2> =>
  Stream.mapEffect(
    submissions,
    ({ key, submission }) =>
      Effect.match(
        Effect.suspend(() => deliver(submission)),
        {
          onFailure: (error) => ({ key, receipt: unsent(submission, error), error }),
          onSuccess: (receipt) => ({ key, receipt, error: undefined })
        }
      ),
    { concurrency, unordered: true }
  )

const unsent = <E, R>(submission: Submission<E, R>, error: unknown): Receipt => {
  const cause =
    error instanceof InvalidArgument
      ? error
      : new ContentError({ reason: "Failed", detail: `the stream failed: ${describeCause(error)}` })
  return Receipts.make(addressesOf(submission).map((address) => Receipts.notSent(address, cause)))
}
