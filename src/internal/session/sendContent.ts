/**
 * The content of one transaction, with the errors and needs of whoever gave it: small content leaves with the run
 * itself, the rest is written as it comes, with backpressure from the socket.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Facts } from "../../protocol/Content.js"
import type { ContentError } from "../../SmtpError.js"
import type { ContentReport } from "../../SmtpReceipt.js"
import type { ContentOptions } from "../../SmtpSubmission.js"
import type { Prepared, PrepareOptions } from "../content/content.js"
import * as Contents from "../content/content.js"
import type { Driver } from "./driver.js"
import type { Run } from "./transactionRun.js"

/** Octets of content that leave in one write with what belongs to them. */
export const wholeLength = 262_144

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
 */
export const transact = <E, R>(
  driver: Driver,
  run: Run,
  content: Prepared<E, R>
): Effect.Effect<void, ContentError | E, R> => {
  const begun = Effect.async<"Content" | "Ended">((resume) => {
    run.begin(
      () => resume(Effect.succeed("Content")),
      () => resume(Effect.succeed("Ended"))
    )
  })
  return Effect.flatMap(begun, (what) =>
    what === "Ended" ? Effect.void : Effect.asVoid(sendContent(driver, run, content, false))
  )
}

/**
 * The content that a run asked for, until the run has ended: then nothing of it is sent any more, and what it came to
 * is in the run. Gives `undefined` if the run ended first.
 */
export const sendContent = <E, R>(
  driver: Driver,
  run: Run,
  content: Prepared<E, R>,
  require7bit: boolean
): Effect.Effect<ContentReport | undefined, ContentError | E, R> =>
  Effect.suspend(() => {
    run.contentBegun()
    const maxSize = driver.dialogue.capabilities().size
    const sending = Contents.run(content, { framing: run.framing, maxSize, require7bit }, run.put)
    // The end of the run ends the content in uninterruptible regions too.
    return Effect.raceFirst(
      Effect.interruptible(Effect.map(sending, reportOf)),
      Effect.as(run.awaitEnd, undefined)
    ).pipe(
      Effect.tapErrorCause(() => Effect.zipRight(Effect.sync(run.stop), run.awaitEnd)),
      Effect.zipLeft(run.awaitEnd)
    )
  })

export const reportOf = (facts: Facts): ContentReport => ({
  octets: facts.octets,
  changed: facts.changed || facts.finalLineEndAdded,
  longestLine: facts.longestLine
})
