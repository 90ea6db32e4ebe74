/**
 * What a program gives to `send` and `deliver`: an envelope, content, and how to treat both. It is plain data; it
 * is copied when it is given, and never changed.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { MailParameters, RecipientParameters } from "./protocol/Parameters.js"
import type { RecipientInput, RecipientsPolicy } from "./protocol/Plan.js"
import type { Content } from "./SmtpContent.js"
import type { Receipt } from "./SmtpReceipt.js"

export type {
  /**
   * The parameters of MAIL, typed.
   *
   * @since 0.1.0
   * @category models
   */
  MailParameters,
  /**
   * The parameters of RCPT, typed.
   *
   * @since 0.1.0
   * @category models
   */
  RecipientParameters
} from "./protocol/Parameters.js"

export type {
  /**
   * Whether the message goes to whoever is accepted, or to everybody or nobody.
   *
   * @since 0.1.0
   * @category models
   */
  RecipientsPolicy
} from "./protocol/Plan.js"

/**
 * A recipient with parameters of its own, e.g. `{ address: "bob@example.org", notify: ["FAILURE"] }`.
 *
 * @since 0.1.0
 * @category models
 */
export type Recipient = RecipientInput

/**
 * How content is treated on its way to the wire.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContentOptions {
  /**
   * What becomes of a bare CR or bare LF: `"convert"` (default) makes it CRLF, `"refuse"` fails with `ContentError`.
   * Left alone it could be read by a server as the end of the message (RFC 5321 section 2.3.8).
   */
  readonly lineEnds?: "convert" | "refuse" | undefined
  /** Lines over 998 octets: `"send"` (default) or `"refuse"` (RFC 5321 section 4.5.3.1.6). */
  readonly longLines?: "send" | "refuse" | undefined
  /** Lets NUL octets pass, which many servers do not (RFC 5321 section 4.5.2). Default false. */
  readonly allowNul?: boolean | undefined
  /** Lets an empty message pass, which hardly ever is meant. Default false. */
  readonly allowEmpty?: boolean | undefined
}

/**
 * Settings of a submission whose defaults suit nearly every message.
 *
 * @since 0.1.0
 * @category models
 */
export interface AdvancedOptions {
  /**
   * How many further transactions a message with too many recipients for one may take (RFC 5321 section 4.5.3.1.10).
   * Default 100.
   */
  readonly maxSplits?: number | undefined
  /**
   * Bytes of a stream that may be held in memory to see whether it is 7-bit, where the server lacks 8BITMIME and the
   * content promises nothing. Default 1,048,576.
   */
  readonly inspectionLimit?: number | undefined
}

/**
 * A message to submit.
 *
 * @example
 * ```ts
 * import type * as SmtpSubmission from "effect-smtplib/SmtpSubmission"
 *
 * const submission: SmtpSubmission.Submission = {
 *   from: "app@example.com",
 *   to: ["ann@example.net", { address: "bob@example.org", notify: ["FAILURE"] }],
 *   content: "Subject: Hello\r\n\r\nHello.\r\n"
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Submission<E = never, R = never> extends ContentOptions {
  /** The reverse-path: a bare address, or `""` for the null reverse-path of notifications. */
  readonly from: string
  /** One or more recipients: bare addresses, or addresses with parameters. */
  readonly to: string | Recipient | ReadonlyArray<string | Recipient>
  readonly content: Content<E, R>
  /**
   * Parameters of MAIL, typed or as they are written (`["RET=HDRS"]`). SIZE, BODY and SMTPUTF8 are added by need;
   * what the server does not offer is `NotSupported`, before anything is sent.
   */
  readonly parameters?: MailParameters | ReadonlyArray<string> | undefined
  /** Parameters of every RCPT; those of a recipient outrank them. */
  readonly recipientParameters?: RecipientParameters | ReadonlyArray<string> | undefined
  /**
   * `"any"` (default) sends to whoever is accepted; `"all"` sends only if everybody is.
   */
  readonly recipients?: RecipientsPolicy | undefined
  /**
   * The limit of the whole send, from asking for the session to the final reply. When it runs out the outcomes
   * say which recipients the message may have reached, which `Effect.timeout` around the send could not.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Called once with what became of a send that was interrupted, as soon as that is known: at once, with `NotSent`, if
   * nothing of it had left, and with the server's verdict if all of it had. The same after `timeout`, if it ran out with
   * something under way. And called with each receipt of `sendAll` that its reader left unread: of all that had begun,
   * and of nothing that was only pulled.
   */
  readonly onOutcome?: ((receipt: Receipt) => Effect.Effect<void>) | undefined
  /** Settings whose defaults suit nearly every message. */
  readonly advanced?: AdvancedOptions | undefined
}

/**
 * A submission of many, and the key by which its receipt is known.
 *
 * @since 0.1.0
 * @category models
 */
export interface Keyed<out K, E = never, R = never> {
  readonly key: K
  readonly submission: Submission<E, R>
}
