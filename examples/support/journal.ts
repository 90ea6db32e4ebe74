/**
 * What a mailing has done so far, a line of JSON for each step, so that a later run goes on where this one ended. A
 * recipient is written down before anything is sent to it: one of which nothing more is known may have the message.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

export type Step = "begun" | "accepted" | "refused" | "later" | "unknown"

export interface Journal {
  /** The last step of each address, in this run and those before. */
  readonly steps: ReadonlyMap<string, Step>
  readonly write: (address: string, step: Step) => Effect.Effect<void, Error>
}

const Line = Schema.parseJson(
  Schema.Struct({
    address: Schema.String,
    step: Schema.Literal("begun", "accepted", "refused", "later", "unknown")
  })
)

const decode = Schema.decodeOption(Line)

/** Reads the journal, if there is one, and opens it for more; it is closed with the scope. */
export const open = (path: string) =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    const steps = new Map<string, Step>()
    if (yield* files.exists(path)) {
      // The last line of a run that was cut off may be half a line.
      for (const line of (yield* files.readFileString(path)).split("\n")) {
        const read = decode(line)
        if (Option.isSome(read)) steps.set(read.value.address, read.value.step)
      }
    }
    const file = yield* files.open(path, { flag: "a" })
    const journal: Journal = {
      steps,
      write: (address, step) => {
        steps.set(address, step)
        return file.writeAll(new TextEncoder().encode(`${JSON.stringify({ address, step })}\n`))
      }
    }
    return journal
  })
