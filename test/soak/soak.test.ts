import { expect, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { root } from "../../.ci/modules.js"

// A process of its own: nothing else adds to the heap, and the collector can be called.
it(
  "a thousand sessions with faults leave open handles and heap as they were",
  { timeout: 120_000 },
  async () => {
    const args = ["--expose-gc", "--import", "tsx", "test/soak/soak.ts", "1000"]
    const run = promisify(execFile)(process.execPath, args, { cwd: root })
    const { stdout } = await run.catch((error: unknown) => ({ stdout: String(error) }))
    expect(stdout.trim().split("\n").at(-1), stdout).toBe("flat")
  }
)
