/** Why an inbox has no message for the test. SmtpTest exports it. */
import * as Data from "effect/Data"

/**
 * An inbox cannot give the message that a test asks for.
 *
 * - `NoMatch`: no message matched within the time limit
 * - `ParserMissing`: the package postal-mime, an optional peer, is not installed
 * - `Unreadable`: postal-mime refused the message, e.g. for parts nested too deeply
 *
 * @since 0.1.0
 * @category errors
 */
export class InboxError extends Data.TaggedError("InboxError")<{
  readonly reason: "NoMatch" | "ParserMissing" | "Unreadable"
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.detail
  }
}
