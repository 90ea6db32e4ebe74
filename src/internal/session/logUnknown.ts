/**
 * The log line for a message whose outcome is Unknown. The message can be found by its envelope id and its Message-ID;
 * no address is named.
 */
import * as Effect from "effect/Effect"
import type { Receipt } from "../../SmtpReceipt.js"
import type { Prepared } from "../content/model.js"
import type { Request } from "./request.js"

/** A Warning, if an outcome is Unknown. */
export const warningOf = (
  { envelope }: Request,
  content: Prepared<unknown, unknown> | undefined,
  receipt: Receipt
): Effect.Effect<void> | undefined => {
  const [first] = receipt.unknown
  if (first === undefined) return undefined
  const count = receipt.unknown.length
  const { envelopeId } = envelope.parameters
  const messageId = content?._tag === "Bytes" ? messageIdOf(content.content.octets) : undefined
  return Effect.logWarning(
    `It is unknown whether the message was accepted for ${count} of ${receipt.outcomes.length} recipients: ${first.cause.message}`
  ).pipe(
    Effect.annotateLogs({
      ...(envelopeId === undefined ? {} : { "smtp.envelope_id": envelopeId }),
      ...(messageId === undefined ? {} : { "email.message_id": messageId })
    })
  )
}

// RFC 5322 section 3.6.4; a header section longer than this hardly names itself behind it.
const searched = 65_536

const messageIdOf = (octets: Uint8Array): string | undefined => {
  const text = new TextDecoder("latin1").decode(octets.subarray(0, searched))
  const end = text.indexOf("\r\n\r\n")
  const header = end === -1 ? text : text.slice(0, end)
  return /^message-id:(?:[ \t]|\r\n[ \t])*(<[!-~]{1,250}>)/im.exec(header)?.[1]
}
