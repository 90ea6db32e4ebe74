/**
 * Runs an example as its user does: in a process of its own, from the sources.
 */
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { root } from "../../.ci/modules.js"

export interface Finished {
  readonly code: number | string | null | undefined
  readonly stdout: string
  readonly stderr: string
}

/** `environment` is all that the program has, besides the way to its commands. */
export const runExample = (
  name: string,
  args: ReadonlyArray<string> = [],
  environment: Readonly<Record<string, string>> = {}
): Effect.Effect<Finished> =>
  Effect.async((resume) => {
    const child = execFile(
      process.execPath,
      ["--import", "tsx", `examples/${name}.ts`, ...args],
      { cwd: root, env: { PATH: process.env["PATH"], ...environment } },
      (error, stdout, stderr) => {
        resume(Effect.succeed({ code: error === null ? 0 : error.code, stdout, stderr }))
      }
    )
    return Effect.sync(() => {
      child.kill()
    })
  })
