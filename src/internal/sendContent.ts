/**
 * The content of one transaction, with the errors and needs of whoever gave it: small content leaves with the run itself, the
 * rest is written as it comes, with backpressure from the socket.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Facts } from "../protocol/Content.js"
import type { ContentError } from "../SmtpError.js"
import type { ContentReport } from "../SmtpReceipt.js"
import type { ContentOptions } from "../SmtpSubmission.js"
import type { Prepared, PrepareOptions } from "./content.js"
import * as Contents from "./content.js"
import type { Exchange } from "./exchange.js"
import type { Run } from "./transactionRun.js"

/**
 * Octets of content that leave in one write with what belongs to them.
 *
 * @since 0.1.0
 * @category constants
 */
export const wholeLength = 262_144

/**
 * @since 0.1.0
 * @category constructors
 */
export const prepareOptions = (options: ContentOptions, stallTimeout: Duration.Duration): PrepareOptions => ({
  lineEnds: options.lineEnds ?? "convert",
  longLines: options.longLines ?? "send",
  allowNul: options.allowNul ?? false,
  allowEmpty: options.allowEmpty ?? false,
  binary: false,
  stallTimeout
})

/**
 * One transaction with its content. What the server made of it is in the run; the error is only ever the content's
 * own.
 *
 * @since 0.1.0
 * @category combinators
 */
export const transact = <E, R>(
  exchange: Exchange,
  run: Run,
  content: Prepared<E, R>,
  require7bit: boolean
): Effect.Effect<ContentReport | undefined, ContentError | E, R> => {
  const begun = Effect.async<"Content" | "Ended">((resume) => {
    run.begin(
      () => resume(Effect.succeed("Content")),
      () => resume(Effect.succeed("Ended"))
    )
  })
  return Effect.flatMap(begun, (what) => {
    if (what === "Ended")
      return Effect.succeed(content._tag === "Bytes" ? reportOf(content.facts) : undefined)
    return sendContent(exchange, run, content, require7bit)
  })
}

const sendContent = <E, R>(
  exchange: Exchange,
  run: Run,
  content: Prepared<E, R>,
  require7bit: boolean
): Effect.Effect<ContentReport | undefined, ContentError | E, R> =>
  Effect.suspend(() => {
    run.contentBegun()
    // One step: nobody may see the last octet on the wire and the run without it.
    const sink: Contents.Sink<never, never> = (octets, last) =>
      Effect.suspend(() => {
        // Whoever waits for the end of the run interrupts this.
        if (run.hasEnded()) return Effect.never
        const taken = exchange.putContent(octets, last)
        if (last) run.contentComplete()
        return taken
      })
    const sending = Contents.run(
      content,
      { framing: "data", maxSize: exchange.dialogue.capabilities().size, require7bit },
      sink
    )
    // The end of the run ends the content in uninterruptible regions too.
    return Effect.raceFirst(
      Effect.interruptible(Effect.map(sending, reportOf)),
      Effect.as(run.awaitEnd, undefined)
    ).pipe(
      Effect.tapErrorCause(() => Effect.sync(run.stop)),
      Effect.zipLeft(run.awaitEnd)
    )
  })

const reportOf = (facts: Facts): ContentReport => ({
  octets: facts.octets,
  changed: facts.changed || facts.finalLineEndAdded,
  longestLine: facts.longestLine
})
