/**
 * The argument of `send` and `deliver`: an envelope, content, and options for both. It is plain data, which is copied
 * when it is passed and never changed.
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
   * Whether the message goes to the recipients that the server accepts, or to all or none.
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
 * How content is sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContentOptions {
  /**
   * How a bare CR or bare LF is sent: `"convert"` (default) makes it CRLF, `"refuse"` fails with `ContentError`. A server
   * could read it as the end of the message (RFC 5321 section 2.3.8).
   */
  readonly lineEnds?: "convert" | "refuse" | undefined
  /** Whether lines over 998 bytes are sent: `"send"` (default) or `"refuse"` (RFC 5321 section 4.5.3.1.6). */
  readonly longLines?: "send" | "refuse" | undefined
  /** Sends NUL bytes, which many servers refuse (RFC 5321 section 4.5.2). Default false. */
  readonly allowNul?: boolean | undefined
  /** Sends an empty message, which is usually a mistake. Default false. */
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
   * Parameters of MAIL, typed or as on the wire (`["RET=HDRS"]`). SIZE, BODY and SMTPUTF8 are added if needed: SMTPUTF8 for
   * an address or a header beyond ASCII in UTF-8. A header in another charset, such as Latin-1, is sent as it is, with
   * BODY=8BITMIME. A parameter that the server does not offer fails with `NotSupported`, before anything is sent.
   */
  readonly parameters?: MailParameters | ReadonlyArray<string> | undefined
  /** Parameters of every RCPT; those of a recipient override them. */
  readonly recipientParameters?: RecipientParameters | ReadonlyArray<string> | undefined
  /** `"any"` (default) sends to the recipients that the server accepts; `"all"` sends only if it accepts all. */
  readonly recipients?: RecipientsPolicy | undefined
  /**
   * Time limit of the whole send, from the wait for a session to the final reply. When it runs out, the outcomes say which
   * recipients the message may have reached; `Effect.timeout` around the send could not.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Called once with the receipt of a send that was interrupted, or whose `timeout` ran out with something in flight, as
   * soon as the outcome is known: at once with `NotSent` if nothing was sent, else with the server's reply. Also called with
   * each receipt of `sendAll` that was not read, if the message had begun.
   */
  readonly onOutcome?: ((receipt: Receipt) => Effect.Effect<void>) | undefined
  /** Settings whose defaults suit nearly every message. */
  readonly advanced?: AdvancedOptions | undefined
}

/**
 * A submission of `sendAll`, and the key of its receipt.
 *
 * @since 0.1.0
 * @category models
 */
export interface Keyed<out K, E = never, R = never> {
  readonly key: K
  /**
   * An effect runs once there is room for the message, in a fiber of its own. If it fails, its error is in the receipt of
   * this message, and the others go on: so one bad row of a mailing is not the end of the stream.
   */
  readonly submission: Submission<E, R> | Effect.Effect<Submission<E, R>, E, R>
}
