/** Delivery in the fiber of the caller. */
import * as Effect from "effect/Effect"
import type { Receipt } from "../../SmtpClient.js"
import type { InvalidArgument } from "../../SmtpError.js"
import { inCallersFiber } from "../effect/callersFiber.js"
import { clockOf, makeFork } from "../effect/runtime.js"
import { invalidArgument } from "../session/failure.js"
import * as Tracing from "../telemetry/tracing.js"
import type { PreparedSubmission } from "./preparedSubmission.js"
import { ignoredBy } from "./rateLimit.js"
import type { ClientParts, SendContext, SendSettings } from "./send.js"
import { ClientMessage } from "./send.js"

/** What becomes of an interrupted message is told to its hook. */
export const deliver = <E, R, E2 = never>(
  parts: ClientParts,
  submission: PreparedSubmission<E, R>,
  settings: SendSettings,
  conclude?: (receipt: Receipt) => Effect.Effect<Receipt, E2>
): Effect.Effect<Receipt, InvalidArgument | E | E2, R> =>
  Effect.flatMap(makeFork(), (fork) =>
    Tracing.ofSend("SmtpClient send", nowhere, submission.request.recipients.length, (fiber) => {
      const ignored = ignoredBy(parts.rateLimit, fiber)
      if (ignored !== undefined) return Effect.fail(invalidArgument(ignored))
      const tracedBy = Tracing.isTraced(fiber) ? fiber : undefined
      const context: SendContext = { clock: clockOf(fiber), fork, tracedBy }
      const message = new ClientMessage(parts, submission, settings, context)
      const delivered = inCallersFiber<Receipt, InvalidArgument | E, R>((run, done) =>
        message.begin(run, done)
      )
      return conclude === undefined ? delivered : Effect.flatMap(delivered, conclude)
    })
  )

// Which relay an attempt goes to is said by its own span.
const nowhere = (): Tracing.Attributes => ({})
