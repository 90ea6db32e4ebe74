/**
 * XCLIENT in the setting up of a session: EHLO says whether the server takes it, and is said again after it, since the
 * server has begun anew.
 */
import * as Effect from "effect/Effect"
import { xclient } from "../../SmtpCommand.js"
import type { Service, SetupError } from "../../SmtpSession.js"
import type { SessionContext } from "./context.js"

/** Tells the server whom the session speaks for, if the options say. */
export const introduce = (
  { commands, options }: SessionContext,
  { ehlo, ehloOrHeloIfNeeded, run }: Service
): Effect.Effect<void, SetupError> => {
  const client = options.xclient
  return client === undefined
    ? Effect.void
    : commands.together(
        "commands",
        ehloOrHeloIfNeeded.pipe(Effect.zipRight(run(xclient(client))), Effect.zipRight(ehlo), Effect.asVoid)
      )
}
