/** A submission that was read and copied, so that every attempt sends the same. */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import type { Submission } from "../../SmtpSubmission.js"
import { noPast } from "../content/runRecord.js"
import type { Preparation } from "../session/deliver.js"
import { prepare } from "../session/deliver.js"
import type { Request } from "../session/request.js"
import { read as readRequest } from "../session/request.js"

export interface PreparedSubmission<E, R> {
  readonly request: Request
  readonly onOutcome: Submission["onOutcome"]
  readonly content: Preparation<E, R>
  /** Whether the content can be run no more. */
  readonly isUsedUp: () => boolean
}

export const make = <E, R>(submission: Submission<E, R>): PreparedSubmission<E, R> | Invalid => {
  const request = readRequest(submission)
  if (isInvalid(request)) return request
  const { content, isUsedUp } = watch(submission.content)
  return {
    request,
    onOutcome: submission.onOutcome,
    // A session knows how long a stream may pause.
    content: prepare(Duration.infinity, request, { ...submission, content }),
    isUsedUp
  }
}

/** Content that is compared with what it gave on other attempts for the same message, and for no other message. */
export const comparedContent = <E, R>({ content }: PreparedSubmission<E, R>): Preparation<E, R> =>
  content._tag === "Opening" ? { ...content, past: noPast() } : content

const isStreamed = <E, R>(content: Content<E, R>): content is Streamed<E, R> =>
  Predicate.isObject(content) && "_tag" in content && content._tag === "Streamed"

/** Notices that content which may be run once has been. */
const watch = <E, R>(
  content: Content<E, R>
): { readonly content: Content<E, R>; readonly isUsedUp: () => boolean } => {
  if (!isStreamed(content) || content.replayable) return { content, isUsedUp: () => false }
  let used = false
  const claim = (): boolean => {
    used = true
    return content.claim()
  }
  return { content: { ...content, claim }, isUsedUp: () => used }
}
