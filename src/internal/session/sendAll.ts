/**
 * `sendAll`: a stream of submissions through one session. As many are under way as the session's window takes, and
 * small content in memory needs no fiber of its own. It is loaded only when it is used, since effect/Stream is.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import type * as Stream from "effect/Stream"
import { isInvalid } from "../../protocol/Invalid.js"
import type { InvalidArgument } from "../../SmtpError.js"
import type { Keyed as KeyedReceipt } from "../../SmtpReceipt.js"
import type { NotSentCause } from "../../SmtpSession.js"
import type { Keyed } from "../../SmtpSubmission.js"
import type { Waiting } from "./deliver.js"
import { deliverPrepared, launch, prepare, reportTo } from "./deliver.js"
import { invalidArgument, nested } from "./failure.js"
import { withFiber } from "../effect/runtime.js"
import * as Flows from "../sendAll/flow.js"
import type { MessageContext } from "./messageContext.js"
import { read as readRequest } from "./request.js"
import * as Tracing from "../telemetry/tracing.js"

/** Delivers every submission of the stream; see `SmtpSession.Service.sendAll`. */
export const sendAll = <K, E, R, E2, R2>(
  port: MessageContext,
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>,
  isExcluded: () => boolean
): Stream.Stream<KeyedReceipt<K, E, NotSentCause | InvalidArgument>, E2, R | R2> =>
  Flows.through<K, E, R, E2, R2, NotSentCause>(submissions, (runtime, scope) =>
    withFiber((fiber) =>
      Effect.succeed(
        carrier<E, R>(port, {
          isExcluded,
          isTraced: Tracing.isTraced(fiber),
          fork: (effect) => Runtime.runFork(runtime)(effect, { scope }),
          forkBeyond: Runtime.runFork(runtime)
        })
      )
    )
  )

interface Surroundings {
  /** Whether a transaction by hand excludes messages of the fiber that asked for the stream. */
  readonly isExcluded: () => boolean
  readonly isTraced: boolean
  /** Runs what needs a fiber, until the stream ends. */
  readonly fork: Waiting["fork"]
  /** The same, beyond the end of the stream. */
  readonly forkBeyond: Waiting["fork"]
}

const carrier = <E, R>(
  port: MessageContext,
  { fork, forkBeyond, isExcluded, isTraced }: Surroundings
): Flows.Carrier<E, R, NotSentCause> => {
  const { driver, settings } = port
  return {
    // Twice the window: while one of them is under way the other waits, so that a turn is always taken.
    mostMessages: 2 * settings.window.messages,
    mostOctets: 2 * settings.window.octets,
    together: driver.together,
    afterwards: driver.afterwards,
    begin: (submission, parcel) => {
      const request = readRequest(submission)
      if (isInvalid(request) || isExcluded()) {
        parcel.end(Exit.fail(isInvalid(request) ? invalidArgument(request) : nested()))
        return undefined
      }
      const content = prepare(driver.limits.stall, request, submission)
      if (content._tag === "Failed") {
        parcel.end(Exit.fail(content.error))
        return undefined
      }
      parcel.weigh(content._tag === "Bytes" ? content.facts.octets : Flows.expectedLength(submission))
      const { onOutcome } = submission
      const report = onOutcome === undefined ? undefined : reportTo(onOutcome, request, forkBeyond)
      if (content._tag !== "Bytes" || isTraced || request.timeout !== undefined) {
        parcel.fork(deliverPrepared(port, request, content, report))
        return undefined
      }
      return launch(port, request, content, { fork, report, ended: parcel.end })
    }
  }
}
