/** DATA by hand: the content of a transaction that the program drives itself. */
import * as Effect from "effect/Effect"
import * as Transactions from "../../protocol/Transaction.js"
import type { Content } from "../../SmtpContent.js"
import type { Disconnection, InvalidArgument } from "../../SmtpError.js"
import { ContentError, DataError, RecipientsRefused } from "../../SmtpError.js"
import type { Replies } from "../../SmtpSession.js"
import type { ContentOptions } from "../../SmtpSubmission.js"
import * as Contents from "../content/content.js"
import type { Driver } from "./driver.js"
import { noReply } from "./commands.js"
import { disconnection } from "./failure.js"
import { prepareOptions, transact, wholeLength } from "./sendContent.js"
import * as TransactionRun from "./transactionRun.js"

/** Sends DATA and the content in the turn that the fiber holds. */
export const sendData = <E, R>(
  driver: Driver,
  dialect: "smtp" | "lmtp",
  content: Content<E, R>,
  options: ContentOptions = {}
): Effect.Effect<
  Replies,
  DataError | RecipientsRefused | ContentError | InvalidArgument | Disconnection | E,
  R
> =>
  Effect.scoped(
    Effect.gen(function* () {
      const prepared = yield* Contents.prepare(content, prepareOptions(options, driver.limits.stall))
      const machine = Transactions.makeData(driver.dialogue.recipients(), dialect)
      const size = driver.dialogue.capabilities().size
      if (prepared._tag === "Bytes" && size !== undefined && prepared.facts.octets > size) {
        const detail = `its ${prepared.facts.octets} octets are more than the ${size} that the server takes`
        return yield* new ContentError({ reason: "TooLarge", detail })
      }
      const whole = prepared._tag === "Bytes" ? Contents.whole(prepared, "data", wholeLength) : undefined
      const run = TransactionRun.make(driver, machine, {
        framing: "data",
        content: whole,
        onLeft: () => undefined,
        onEndAfterAbandon: () => undefined
      })
      const sending = transact(driver, run, prepared)
      yield* Effect.onInterrupt(sending, () => Effect.sync(run.abandon))
      const loss = run.loss()
      const { replies, declined } = machine.result()
      const [first, ...others] = replies
      if (declined) return yield* new RecipientsRefused({ recipients: [], policy: "any" })
      const refusal = machine.refusal()
      // Under LMTP a recipient without a reply may have got the message, whatever the others were told.
      const inDoubt = refusal !== undefined && machine.progress() === "Complete"
      if (loss !== undefined && (first === undefined || inDoubt)) {
        return yield* disconnection(loss.failure, loss.phase, driver.recentLines)
      }
      if (first === undefined) return yield* disconnection(noReply, "data", driver.recentLines)
      return refusal === undefined ? [first, ...others] : yield* new DataError(refusal)
    })
  )
