/**
 * Replies of a server (RFC 5321 section 4.2): what `vrfy`, `command` and `group` give, and what receipts and errors hold.
 *
 * @since 0.1.0
 */
export type {
  /**
   * An enhanced status code (RFC 3463), whose class always equals the first digit of the reply's code.
   *
   * @since 0.1.0
   * @category models
   */
  EnhancedCode,
  /**
   * One complete reply.
   *
   * @since 0.1.0
   * @category models
   */
  Reply,
  /**
   * The meaning of the first digit of a code.
   *
   * @since 0.1.0
   * @category models
   */
  Severity
} from "./protocol/Reply.js"

export {
  /**
   * Formats a reply on one line, for messages and logs.
   *
   * @example
   * ```ts
   * import type { SmtpReceipt } from "effect-smtplib"
   * import { SmtpReply } from "effect-smtplib"
   *
   * const reasons = (receipt: SmtpReceipt.Receipt) =>
   *   receipt.refused.map(({ recipient, reply }) => `${recipient}: ${SmtpReply.format(reply)}`)
   * ```
   *
   * @since 0.1.0
   * @category accessors
   */
  format,
  formatEnhancedCode,
  hasDetail,
  isPermanent,
  isRefusal,
  isSuccess,
  isTransient,
  severity
} from "./protocol/Reply.js"
