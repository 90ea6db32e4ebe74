/** DATA by hand: the content of a transaction whose envelope the program has sent itself. */
import * as Effect from "effect/Effect"
import { Transaction } from "../../protocol/Transaction.js"
import type { Content } from "../../SmtpContent.js"
import type { Disconnection, InvalidArgument } from "../../SmtpError.js"
import { ContentError, DataError, RecipientsRefused } from "../../SmtpError.js"
import type { Replies } from "../../SmtpSession.js"
import type { ContentOptions } from "../../SmtpSubmission.js"
import { prepare } from "../content/content.js"
import { noReply } from "./commands.js"
import { driveHere, optionsOf } from "./deliver.js"
import { disconnection } from "./failure.js"
import { Message } from "./message.js"
import type { MessageContext } from "./messageContext.js"
import type { Request } from "./request.js"

const byHand: Request = {
  envelope: { sender: null, parameters: {}, recipients: [] },
  recipients: [],
  policy: "any",
  maxSplits: 0,
  inspectionLimit: 0,
  timeout: undefined
}

/** Sends DATA and the content in the turn that the fiber has. */
export const sendData = <E, R>(
  session: MessageContext,
  content: Content<E, R>,
  options: ContentOptions = {}
): Effect.Effect<
  Replies,
  DataError | RecipientsRefused | ContentError | InvalidArgument | Disconnection | E,
  R
> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { dialogue, limits, recentLines } = session.driver
      const prepared = yield* prepare(content, optionsOf(options, limits.stall, false))
      const size = dialogue.capabilities().size
      if (prepared._tag === "Bytes" && size !== undefined && prepared.facts.octets > size) {
        const detail = `its ${prepared.facts.octets} bytes are more than the ${size} that the server accepts`
        return yield* new ContentError({ reason: "TooLarge", detail })
      }
      const transaction = Transaction.byHand(dialogue.recipients(), session.dialect)
      const message = new Message(session, byHand, undefined, undefined)
      yield* driveHere(message, prepared, () => message.startByHand(prepared, transaction)).pipe(
        Effect.onInterrupt(() => Effect.sync(() => message.abandon()))
      )
      if (message.contentError !== undefined) return yield* message.contentError
      if (transaction.progress() === "Declined") {
        return yield* new RecipientsRefused({ recipients: [], policy: "any" })
      }
      const { loss } = message
      const [first, ...others] = transaction.contentReplies()
      const refusal = transaction.refusal()
      // Under LMTP a recipient without a reply may have got the message, whatever the others were told.
      const isUnknown = refusal !== undefined && loss?.phase === "final"
      if (loss !== undefined && (first === undefined || isUnknown)) {
        return yield* disconnection(loss.failure, loss.phase, recentLines)
      }
      if (first === undefined) return yield* disconnection(noReply, "data", recentLines)
      return refusal === undefined ? [first, ...others] : yield* new DataError(refusal)
    })
  )
