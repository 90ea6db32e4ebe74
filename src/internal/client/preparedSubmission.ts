/** A submission that was read and copied, so that every attempt sends the same. */
import * as Duration from "effect/Duration"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Content } from "../../SmtpContent.js"
import type { Submission } from "../../SmtpSubmission.js"
import { isStreamed } from "../content/model.js"
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
  const { content } = submission
  let isUsedUp = false
  const watched: Content<E, R> =
    !isStreamed(content) || content.replayable
      ? content
      : {
          ...content,
          claim: () => {
            isUsedUp = true
            return content.claim()
          }
        }
  return {
    request,
    onOutcome: submission.onOutcome,
    // A session knows how long a stream may pause.
    content: prepare(Duration.infinity, request, { ...submission, content: watched }),
    isUsedUp: () => isUsedUp
  }
}
