/**
 * A submission that was read and copied, and the parts of it that single attempts send.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { RecipientsPolicy } from "../../protocol/Plan.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import * as Contents from "../../SmtpContent.js"
import type { Receipt as AnyReceipt } from "../../SmtpReceipt.js"
import type { Recipient, Submission } from "../../SmtpSubmission.js"
import { read as readRequest } from "../request.js"
import * as Duration from "effect/Duration"
import type { Positions } from "./ledger.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Parcel<E, R> {
  readonly from: string
  readonly recipients: ReadonlyArray<string>
  readonly policy: RecipientsPolicy
  readonly timeoutMillis: number | undefined
  readonly envelopeId: string | undefined
  readonly onOutcome: Submission["onOutcome"]
  /** Whether the content can be run no more. */
  readonly isUsedUp: () => boolean
  readonly part: (
    positions: Positions,
    timeoutMillis: number | undefined,
    onOutcome: (receipt: AnyReceipt) => Effect.Effect<void>
  ) => Submission<E, R>
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = <E, R>(submission: Submission<E, R>): Parcel<E, R> | Invalid => {
  const request = readRequest(submission)
  if (isInvalid(request)) return request
  const { content, isUsedUp } = watch(copyContent(submission.content))
  const to = copyRecipients(submission.to)
  const common = {
    ...submission,
    content,
    parameters: copy(submission.parameters),
    recipientParameters: copy(submission.recipientParameters)
  }
  return {
    from: submission.from,
    recipients: request.recipients,
    policy: request.policy,
    timeoutMillis: request.timeout === undefined ? undefined : Duration.toMillis(request.timeout),
    envelopeId: request.envelope.parameters.envelopeId,
    onOutcome: submission.onOutcome,
    isUsedUp,
    part: (positions, timeoutMillis, onOutcome) => ({
      ...common,
      to: positions.length === to.length ? to : positions.flatMap((position) => to[position] ?? []),
      timeout: timeoutMillis,
      onOutcome
    })
  }
}

const isSeveral = (to: Submission["to"]): to is ReadonlyArray<string | Recipient> => Array.isArray(to)

const copyRecipients = (to: Submission["to"]): ReadonlyArray<string | Recipient> =>
  (isSeveral(to) ? to : [to]).map((recipient) =>
    typeof recipient === "string" ? recipient : { ...recipient }
  )

const isList = (value: object): value is ReadonlyArray<string> => Array.isArray(value)

const copy = <A extends object>(
  value: A | ReadonlyArray<string> | undefined
): A | ReadonlyArray<string> | undefined =>
  value === undefined ? undefined : isList(value) ? [...value] : { ...value }

const copyContent = <E, R>(content: Content<E, R>): Content<E, R> =>
  content instanceof Uint8Array ? Contents.bytes(content) : content

interface Watched<E, R> {
  readonly content: Content<E, R>
  readonly isUsedUp: () => boolean
}

const isStreamed = <E, R>(content: Content<E, R>): content is Streamed<E, R> =>
  typeof content === "object" && "_tag" in content && content._tag === "Streamed"

/** Notices that content which may be run once has been. */
const watch = <E, R>(content: Content<E, R>): Watched<E, R> => {
  if (!isStreamed(content) || content.replayable) return { content, isUsedUp: () => false }
  let used = false
  const claim = (): boolean => {
    used = true
    return content.claim()
  }
  return { content: { ...content, claim }, isUsedUp: () => used }
}
