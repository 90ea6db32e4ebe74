/**
 * The log lines for messages whose outcome is Unknown, or was told and may be wrong. A message can be found by its envelope
 * id and its Message-ID; no address is named.
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

const mostNames = 100

/**
 * The messages told to be accepted since the server last owed no reply, in a session that sends eagerly. With one reply
 * too many before, those outcomes were the replies to other commands.
 */
export class ToldEarly {
  private names: Array<string> = []
  private count = 0

  clear(): void {
    if (this.count === 0) return
    this.count = 0
    this.names = []
  }

  add({ envelope }: Request, content: Prepared<unknown, unknown> | undefined): void {
    if (this.count++ >= mostNames) return
    const messageId = content?._tag === "Bytes" ? messageIdOf(content.content.octets) : undefined
    this.names.push(envelope.parameters.envelopeId ?? messageId ?? "one without a name")
  }

  /** A Warning, if there are any. */
  warning(): Effect.Effect<void> {
    if (this.count === 0) return Effect.void
    const others = this.count > this.names.length ? ` and ${this.count - this.names.length} others` : ""
    return Effect.logWarning(
      "The server broke the protocol. These messages were told to be accepted before that was seen, and may have " +
        `been refused: ${this.names.join(", ")}${others}. Look for them at the server, and do not use chunking: "eager" there.`
    )
  }
}

// RFC 5322 section 3.6.4; a header section longer than this hardly names itself behind it.
const searched = 65_536

const messageIdOf = (octets: Uint8Array): string | undefined => {
  const text = new TextDecoder("latin1").decode(octets.subarray(0, searched))
  const end = text.indexOf("\r\n\r\n")
  const header = end === -1 ? text : text.slice(0, end)
  return /^message-id:(?:[ \t]|\r\n[ \t])*(<[!-~]{1,250}>)/im.exec(header)?.[1]
}
