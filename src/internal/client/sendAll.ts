/** `sendAll` of a client: the messages of the stream leave by many sessions. */
import type * as Stream from "effect/Stream"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { NotSentCause } from "../../SmtpClient.js"
import type { Keyed as KeyedReceipt } from "../../SmtpReceipt.js"
import type { Keyed } from "../../SmtpSubmission.js"
import type { RetrySettings } from "../options/client.js"
import { sendAllBy, weightOf } from "../sendAll/sendAll.js"
import { invalidArgument } from "../session/failure.js"
import type { ClientParts } from "./deliver.js"
import { deliver, prepare } from "./deliver.js"
import { ClientMessage } from "./send.js"

export interface SendAllSettings {
  /** How messages are retried; or what is wrong with the options, which is every message's own error. */
  readonly retry: RetrySettings | Invalid
  readonly timeoutMillis: number | undefined
  readonly maxMessages: number
  readonly maxBytes: number
}

const atOnce = (begin: () => void): void => begin()

/** See `SmtpClient.Service.sendAll`. */
export const sendAll = <K, E, R, E2, R2>(
  parts: ClientParts,
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>,
  { maxBytes, maxMessages, retry, timeoutMillis }: SendAllSettings
): Stream.Stream<KeyedReceipt<K, E, NotSentCause>, E2, R | R2> =>
  sendAllBy<K, E, R, E2, R2, NotSentCause>(submissions, ({ clock, fork, forkBeyond, isTraced }) => ({
    maxMessages,
    maxBytes,
    together: atOnce,
    afterwards: atOnce,
    sendOne: (submission, slot) => {
      if (isInvalid(retry)) return slot.fail(invalidArgument(retry))
      const prepared = prepare(submission)
      if (isInvalid(prepared)) return slot.fail(invalidArgument(prepared))
      slot.weigh(weightOf(prepared.content))
      if (isTraced) return slot.run(deliver(parts, prepared, { retry, timeoutMillis }))
      const context = { clock, fork: forkBeyond, tracedBy: undefined }
      const message = new ClientMessage(parts, prepared, { retry, timeoutMillis }, context)
      return message.begin(fork, (exit) => slot.end(exit))
    }
  }))
