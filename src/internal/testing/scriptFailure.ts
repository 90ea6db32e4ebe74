/** Why a script failed. SmtpTest exports it. */
import * as Data from "effect/Data"

const shownLines = 40

/**
 * A script failed.
 *
 * - `Mismatch`: the client sent something else than the script expects
 * - `ClientLeft`: the client ended, or lost, the connection before the script's end
 * - `Effect`: an effect of the script failed, or the script requires something impossible
 *
 * @since 0.1.0
 * @category errors
 */
export class ScriptFailure extends Data.TaggedError("ScriptFailure")<{
  readonly reason: "Mismatch" | "ClientLeft" | "Effect"
  /** The connection's number, from 1. */
  readonly connection: number
  /** The step that failed, as the script writes it. */
  readonly step: string
  readonly detail: string
  readonly expected?: string | undefined
  readonly received?: string | undefined
  readonly transcript: ReadonlyArray<string>
}> {
  override get message(): string {
    const skipped = Math.max(0, this.transcript.length - shownLines)
    return [
      `Connection ${this.connection}, at ${this.step}: ${this.detail}`,
      ...(this.expected === undefined ? [] : [`  expected: ${this.expected}`]),
      ...(this.received === undefined ? [] : [`  received: ${this.received}`]),
      skipped === 0 ? "Transcript:" : `Transcript (without the first ${skipped} lines):`,
      ...this.transcript.slice(skipped).map((line) => `  ${line}`)
    ].join("\n")
  }
}
