/**
 * Runs an example as a program: a failure is one sentence on standard error, and an exit code.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import process from "node:process"

/** The program was called in a way that it does not know. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {}

/** Not all came out as it should; what did was printed. */
export class Disappointed extends Data.TaggedError("Disappointed")<{ readonly message: string }> {}

export const run = (program: Effect.Effect<void, Error>): void => {
  // Whoever reads the output may have had enough of it, as `head` has.
  process.stdout.once("error", () => {
    process.exit(1)
  })
  NodeRuntime.runMain(
    Effect.catchAll(program, (error) =>
      Effect.sync(() => {
        console.error(error.message)
        process.exitCode = error instanceof UsageError ? 2 : 1
      })
    )
  )
}
