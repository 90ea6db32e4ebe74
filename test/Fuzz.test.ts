/**
 * Random clients against random servers: honest ones that refuse, ones whose words are changed on the wire, and noise.
 * FUZZ_RUNS sets how many dialogues of each kind there are, FUZZ_SEED where their seeds begin; a failure names its own.
 */
import { describe, expect, it } from "@effect/vitest"
import { env } from "node:process"
import { runDialogue } from "./fuzz/dialogue.js"
import { prepare, runSession } from "./fuzz/session.js"
import { runsOf } from "./support/runs.js"

// In CI always the same dialogues: a change answers for itself, not for the luck of the draw.
const firstSeed = Number(env["FUZZ_SEED"] ?? (env["CI"] === "true" ? 1 : Date.now() % 1_000_000_000))
const seedsOf = (runs: number): ReadonlyArray<number> =>
  Array.from({ length: runsOf(runs) }, (_, index) => firstSeed + index)

const report = (seed: number, problem: string): string =>
  `FUZZ_SEED=${seed} FUZZ_RUNS=1 npx vitest run test/Fuzz.test.ts: ${problem}`

const messageOf = (error: unknown): string =>
  error instanceof Error ? `a defect: ${error.stack ?? error.message}` : String(error)

const limit = { timeout: 3_600_000 }

/** The problems of the first seeds that have one: each hang takes seconds to be sure of. */
const firstProblems = async (
  runs: number,
  run: (seed: number) => Promise<string | undefined>
): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  for (const seed of seedsOf(runs)) {
    const problem = await run(seed).catch(messageOf)
    if (problem !== undefined) problems.push(report(seed, problem))
    if (problems.length === 3) break
  }
  return problems
}

// A session costs as much as 80 dialogues without one. FUZZ_RUNS=100000 is a search of minutes.
describe("without a runtime", () => {
  it("a dialogue ends, and tells the truth, whatever the server says", limit, async () => {
    const run = (seed: number) => Promise.resolve(seed).then(runDialogue)
    expect(await firstProblems(12_000, run)).toEqual([])
  })
})

describe("with sessions", () => {
  it("every effect ends, with typed errors and true outcomes, and leaves nothing behind", limit, async () => {
    await prepare()
    expect(await firstProblems(600, runSession)).toEqual([])
  })
})
