/** `sendAll` of a session: as many messages are under way as its window takes. */
import type * as Stream from "effect/Stream"
import { isInvalid } from "../../protocol/Invalid.js"
import type { InvalidArgument } from "../../SmtpError.js"
import type { Keyed as KeyedReceipt } from "../../SmtpReceipt.js"
import type { NotSentCause } from "../../SmtpSession.js"
import type { Keyed } from "../../SmtpSubmission.js"
import { sendAllBy, weightOf } from "../sendAll/sendAll.js"
import { deliverPrepared, launch, prepare, reportTo } from "./deliver.js"
import { invalidArgument, nested } from "./failure.js"
import type { MessageContext } from "./messageContext.js"
import { read as readRequest } from "./request.js"

/** See `SmtpSession.Service.sendAll`. `isExcluded`: a transaction by hand excludes messages of the caller. */
export const sendAll = <K, E, R, E2, R2>(
  session: MessageContext,
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>,
  isExcluded: () => boolean
): Stream.Stream<KeyedReceipt<K, E, NotSentCause | InvalidArgument>, E2, R | R2> => {
  const { driver, settings } = session
  return sendAllBy<K, E, R, E2, R2, NotSentCause>(submissions, ({ fork, forkBeyond, isTraced }) => ({
    // Twice the window: while one of them is under way the other waits, so that the turn never runs empty.
    maxMessages: 2 * settings.window.messages,
    maxBytes: 2 * settings.window.octets,
    together: driver.together,
    afterwards: driver.afterwards,
    sendOne: (submission, slot) => {
      const request = readRequest(submission)
      if (isInvalid(request)) return slot.fail(invalidArgument(request))
      if (isExcluded()) return slot.fail(nested())
      const content = prepare(driver.limits.stall, request, submission)
      if (content._tag === "Failed") return slot.fail(content.error)
      slot.weigh(weightOf(content))
      const { onOutcome } = submission
      const report = onOutcome === undefined ? undefined : reportTo(onOutcome, request, forkBeyond)
      if (content._tag === "Bytes" && !isTraced && request.timeout === undefined)
        return launch(session, request, content, { fork, report, ended: (exit) => slot.end(exit) })
      return slot.run(deliverPrepared(session, request, content, report))
    }
  }))
}
