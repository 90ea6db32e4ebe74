/**
 * Random clients against random servers: honest ones that refuse, ones whose words are changed on the wire, and noise.
 * FUZZ_RUNS sets how many dialogues of each kind there are, FUZZ_SEED where their seeds begin; a failure names its own.
 */
import { describe, expect, it } from "@effect/vitest"
import { env } from "node:process"
import { runDialogue } from "./fuzz/dialogue.js"
import { prepare, runSession } from "./fuzz/session.js"

const numberFrom = (name: string, fallback: number): number => {
  const value = Number(env[name] ?? fallback)
  if (!Number.isInteger(value) || value < 0) throw new Error(`${name} is not a whole number`)
  return value
}

const firstSeed = numberFrom("FUZZ_SEED", Date.now() % 1_000_000_000)
const seedsOf = (runs: number): ReadonlyArray<number> =>
  Array.from({ length: numberFrom("FUZZ_RUNS", runs) }, (_, index) => firstSeed + index)

const report = (seed: number, problem: string): string =>
  `FUZZ_SEED=${seed} FUZZ_RUNS=1 npx vitest run test/Fuzz.test.ts: ${problem}`

const messageOf = (error: unknown): string =>
  error instanceof Error ? `a defect: ${error.stack ?? error.message}` : String(error)

const limit = { timeout: 3_600_000 }

describe("without a runtime", () => {
  it("a dialogue ends, and tells the truth, whatever the server says", limit, () => {
    const problems: Array<string> = []
    for (const seed of seedsOf(94_000)) {
      try {
        const problem = runDialogue(seed)
        if (problem !== undefined) problems.push(report(seed, problem))
      } catch (error) {
        problems.push(report(seed, messageOf(error)))
      }
    }
    expect(problems.slice(0, 5)).toEqual([])
  })
})

describe("with sessions", () => {
  it("every effect ends, with typed errors and true outcomes, and leaves nothing behind", limit, async () => {
    await prepare()
    const problems: Array<string> = []
    for (const seed of seedsOf(6_000)) {
      const problem = await runSession(seed).catch(messageOf)
      if (problem !== undefined) problems.push(report(seed, problem))
    }
    expect(problems.slice(0, 5)).toEqual([])
  })
})
