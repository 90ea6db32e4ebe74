/**
 * The receipt of a message: plain data with one outcome for each recipient, as the caller gave it.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { Phase } from "./protocol/Command.js"
import type { Reply } from "./protocol/Reply.js"
import { isPermanent } from "./protocol/Reply.js"
import { queueId } from "./protocol/Transaction.js"
import type { Disconnection, InvalidArgument, SmtpError } from "./SmtpError.js"

/**
 * The server has taken responsibility for the recipient.
 *
 * @since 0.1.0
 * @category models
 */
export interface Accepted {
  readonly _tag: "Accepted"
  /** The recipient as the caller gave it. */
  readonly recipient: string
  /** The reply to the content. */
  readonly reply: Reply
  /** The server's id of the message, if its reply names one. */
  readonly queueId: string | undefined
}

/**
 * The server refused the recipient or the message, temporarily or permanently.
 *
 * @since 0.1.0
 * @category models
 */
export interface Refused {
  readonly _tag: "Refused"
  readonly recipient: string
  readonly reply: Reply
  /** Whether the reply is 5yz: sending the same again will be refused again. */
  readonly permanent: boolean
  /** What was refused: the sender (`mail`), the recipient (`rcpt`), or the message (`data`, `content`, `final`). */
  readonly phase: Phase
}

/**
 * The message was certainly not sent to the recipient: the cause came before its last byte.
 *
 * @since 0.1.0
 * @category models
 */
export interface NotSent<out Cause extends SmtpError = SmtpError> {
  readonly _tag: "NotSent"
  readonly recipient: string
  readonly cause: Cause
}

/**
 * The connection was lost after the last byte and before the reply: the message may have been accepted, and sending it
 * again may deliver it twice.
 *
 * @since 0.1.0
 * @category models
 */
export interface Unknown {
  readonly _tag: "Unknown"
  readonly recipient: string
  readonly cause: Disconnection
}

/**
 * The outcome of one recipient. `Cause` is what can keep a message from being sent.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome<Cause extends SmtpError = SmtpError> = Accepted | Refused | NotSent<Cause> | Unknown

/**
 * Facts about the content that was sent; absent if none was.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContentReport {
  /** Bytes with CRLF line ends and without stuffed dots, as SIZE counts them. */
  readonly octets: number
  /** Whether a bare CR or bare LF was converted to CRLF, or a final CRLF added. */
  readonly changed: boolean
  /** Bytes of the longest line without its CRLF; servers must accept 998 (RFC 5321 section 4.5.3.1.6). */
  readonly longestLine: number
}

/**
 * The receipt of one message.
 *
 * @since 0.1.0
 * @category models
 */
export interface Receipt<out Cause extends SmtpError = SmtpError> {
  /**
   * One for each recipient, in the caller's order. At least one: a submission of `sendAll` whose recipients cannot be read
   * has one outcome, for the recipient `""`.
   */
  readonly outcomes: NonEmptyReadonlyArray<Outcome<Cause>>
  readonly accepted: ReadonlyArray<Accepted>
  readonly refused: ReadonlyArray<Refused>
  readonly notSent: ReadonlyArray<NotSent<Cause>>
  readonly unknown: ReadonlyArray<Unknown>
  readonly content: ContentReport | undefined
}

/**
 * The receipt of one submission of `sendAll`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Keyed<out K, out E = never, out Cause extends SmtpError = SmtpError> {
  /** The key of the submission. */
  readonly key: K
  readonly receipt: Receipt<Cause>
  /** What is wrong with the submission itself, or what its content failed with. Every outcome is then `NotSent`. */
  readonly error: InvalidArgument | E | undefined
}

/**
 * Makes the outcome of a recipient that the server has taken responsibility for; reads the queue id from the reply.
 *
 * @since 0.1.0
 * @category constructors
 */
export const accepted = (recipient: string, reply: Reply): Accepted => ({
  _tag: "Accepted",
  recipient,
  reply,
  queueId: queueId(reply)
})

/**
 * Makes the outcome of a recipient that the server refused in a phase; a 5yz reply makes it permanent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const refused = (recipient: string, reply: Reply, phase: Phase): Refused => ({
  _tag: "Refused",
  recipient,
  reply,
  permanent: isPermanent(reply),
  phase
})

/**
 * Makes the outcome of a recipient to which nothing was sent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const notSent = <Cause extends SmtpError>(recipient: string, cause: Cause): NotSent<Cause> => ({
  _tag: "NotSent",
  recipient,
  cause
})

/**
 * Makes the outcome of a recipient whose message was sent and not answered.
 *
 * @since 0.1.0
 * @category constructors
 */
export const unknown = (recipient: string, cause: Disconnection): Unknown => ({
  _tag: "Unknown",
  recipient,
  cause
})

/**
 * Makes a receipt from the outcomes of its recipients.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Cause extends SmtpError>(
  outcomes: NonEmptyReadonlyArray<Outcome<Cause>>,
  content?: ContentReport
): Receipt<Cause> => {
  const accepted: Array<Accepted> = []
  const refused: Array<Refused> = []
  const notSent: Array<NotSent<Cause>> = []
  const unknown: Array<Unknown> = []
  for (const outcome of outcomes) {
    if (outcome._tag === "Accepted") accepted.push(outcome)
    else if (outcome._tag === "Refused") refused.push(outcome)
    else if (outcome._tag === "NotSent") notSent.push(outcome)
    else unknown.push(outcome)
  }
  return { outcomes, accepted, refused, notSent, unknown, content }
}
