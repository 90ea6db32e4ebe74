/** A submission that was read and copied, and the parts of it that single attempts send. */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { RecipientsPolicy } from "../../protocol/Plan.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import type { Submission } from "../../SmtpSubmission.js"
import { noPast } from "../content/runRecord.js"
import type { Preparation } from "../session/deliver.js"
import { prepare } from "../session/deliver.js"
import type { Request } from "../session/request.js"
import { read as readRequest, restricted } from "../session/request.js"
import type { Positions } from "./outcomes.js"

export interface PreparedSubmission<E, R> {
  readonly from: string
  readonly recipients: ReadonlyArray<string>
  readonly policy: RecipientsPolicy
  readonly timeoutMillis: number | undefined
  readonly envelopeId: string | undefined
  readonly onOutcome: Submission["onOutcome"]
  readonly content: Preparation<E, R>
  /** Whether the content can be run no more. */
  readonly isUsedUp: () => boolean
  /** What one attempt sends. */
  readonly part: (positions: Positions, timeoutMillis: number | undefined) => Request
}

export const make = <E, R>(submission: Submission<E, R>): PreparedSubmission<E, R> | Invalid => {
  const request = readRequest(submission)
  if (isInvalid(request)) return request
  const { content, isUsedUp } = watch(submission.content)
  return {
    from: submission.from,
    recipients: request.recipients,
    policy: request.policy,
    timeoutMillis: request.timeout === undefined ? undefined : Duration.toMillis(request.timeout),
    envelopeId: request.envelope.parameters.envelopeId,
    onOutcome: submission.onOutcome,
    // A session knows how long a stream may pause.
    content: prepare(Duration.infinity, request, { ...submission, content }),
    isUsedUp,
    part: (positions, timeoutMillis) => {
      const part = restricted(request, positions)
      const timeout = timeoutMillis === undefined ? undefined : Duration.millis(timeoutMillis)
      return part.timeout === timeout ? part : { ...part, timeout }
    }
  }
}

/**
 * The same for one message: all its attempts must give the same content, and other messages from the same submission
 * need not.
 */
export const forMessage = <E, R>(submission: PreparedSubmission<E, R>): PreparedSubmission<E, R> =>
  submission.content._tag === "Opening"
    ? { ...submission, content: { ...submission.content, past: noPast() } }
    : submission

interface Watched<E, R> {
  readonly content: Content<E, R>
  readonly isUsedUp: () => boolean
}

const isStreamed = <E, R>(content: Content<E, R>): content is Streamed<E, R> =>
  Predicate.isObject(content) && "_tag" in content && content._tag === "Streamed"

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
