/**
 * `sendAll` of a client. It is loaded only when it is used, since effect/Stream is.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { NotSentCause, Receipt } from "../../SmtpClient.js"
import type { InvalidArgument } from "../../SmtpError.js"
import { ContentError } from "../../SmtpError.js"
import type { Keyed as KeyedReceipt } from "../../SmtpReceipt.js"
import type { Keyed, Submission } from "../../SmtpSubmission.js"
import { contained, inDoubt, unsent } from "../contained.js"
import { keyOf, submissionOf } from "../request.js"

type Deliver<E, R> = (
  submission: Submission<E | ContentError, R>
) => Effect.Effect<Receipt, InvalidArgument | ContentError | E, R>

type Result<K, E> = KeyedReceipt<K, E, NotSentCause>

/**
 * Receipts come in the order in which they are known. As many submissions are under way as `concurrency` says, and no
 * more are pulled: neither side can outrun the other.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sendAll = <K, E, R, E2, R2>(
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>,
  deliver: Deliver<E, R>,
  concurrency: number
): Stream.Stream<Result<K, E>, E2, R | R2> =>
  thenEnd(submissions, (source) =>
    Stream.mapEffect(source, (keyed) => deliverOne(keyed, deliver), { concurrency, unordered: true })
  )

/** However the source ends: what is under way has its receipts first. */
const thenEnd = <A, B, E, R, R2>(
  source: Stream.Stream<A, E, R>,
  use: (source: Stream.Stream<A, never, R>) => Stream.Stream<B, never, R2>
): Stream.Stream<B, E, R2> =>
  Stream.suspend(() => {
    let ended: Stream.Stream<never, E> = Stream.empty
    const lasting = Stream.catchAllCause(source, (cause) => {
      ended = Stream.failCause(cause)
      return Stream.empty
    })
    return Stream.concat(
      use(lasting),
      Stream.suspend(() => ended)
    )
  })

const deliverOne = <K, E, R>(
  keyed: Keyed<K, E, R>,
  deliver: Deliver<E, R>
): Effect.Effect<Result<K, E>, never, R> => {
  const key = keyOf(keyed)
  const submission = submissionOf(keyed)
  return Effect.matchCause(
    Effect.suspend(() => deliver(contained(submission))),
    {
      onFailure: (cause): Result<K, E> => {
        const failure = Option.getOrUndefined(Cause.failureOption(cause))
        if (failure === undefined) return { key, receipt: inDoubt(submission, cause), error: undefined }
        const receipt = unsent(submission, failure)
        return { key, receipt, error: failure instanceof ContentError ? undefined : failure }
      },
      onSuccess: (receipt) => ({ key, receipt, error: undefined })
    }
  )
}
