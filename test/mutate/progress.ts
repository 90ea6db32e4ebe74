/**
 * What the process of one file of tests tells the one that started it, by files in the folder of the run: which mutant
 * it is at, and what became of those before.
 */
import { appendFileSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { env } from "node:process"
import type { Mutant } from "./mutants.js"

export interface Verdict {
  readonly id: string
  /** The file of tests that judged. */
  readonly file: string
  /** The test that failed; none if the mutant survived this file. */
  readonly by: string | undefined
}

const isVerdict = (value: unknown): value is Verdict =>
  typeof value === "object" && value !== null && "id" in value && "file" in value

export const verdictsIn = (folder: string): ReadonlyArray<Verdict> => {
  const file = join(folder, "verdicts")
  if (!existsSync(file)) return []
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean)
  return lines.map((line): unknown => JSON.parse(line)).filter(isVerdict)
}

const addVerdict = (folder: string, verdict: Verdict): void =>
  appendFileSync(join(folder, "verdicts"), `${JSON.stringify(verdict)}\n`)

const isMutantList = (value: unknown): value is ReadonlyArray<Mutant> => Array.isArray(value)

export const mutantsIn = (folder: string): ReadonlyArray<Mutant> => {
  const value: unknown = JSON.parse(readFileSync(join(folder, "mutants.json"), "utf8"))
  return isMutantList(value) ? value : []
}

const folder = (): string => env["MUTATE_FOLDER"] ?? ""
const testFile = (): string => env["MUTATE_TESTS"] ?? ""

const stem = (file: string): string => basename(file).replace(/(\.test)?\.ts$/, "")

/** Mutants that no file has killed and this file has not judged: those of the module that the tests are of, or all. */
export function* alive(): Generator<Mutant> {
  const ownOnly = env["MUTATE_OWN"] !== undefined
  const gone = new Set(
    verdictsIn(folder())
      .filter(({ by, file }) => by !== undefined || file === testFile())
      .map(({ id }) => id)
  )
  for (const mutant of mutantsIn(folder())) {
    if (!gone.has(mutant.id) && (!ownOnly || stem(mutant.file) === stem(testFile()))) yield mutant
  }
}

const atFile = (folder: string, tests: string): string => join(folder, `at-${tests.replaceAll("/", "_")}`)

/** Says which mutant is tried now. */
export const begin = (id: string): void => writeFileSync(atFile(folder(), testFile()), id)

/** Says what became of it. */
export const settle = (id: string, by: string | undefined): void =>
  addVerdict(folder(), { id, file: testFile(), by })

/** The mutant that was tried last by a file of tests, if nothing is known of what became of it. */
export const unsettled = (folder: string, tests: string): string | undefined => {
  const file = atFile(folder, tests)
  if (!existsSync(file)) return undefined
  const id = readFileSync(file, "utf8")
  return verdictsIn(folder).some((verdict) => verdict.id === id && verdict.file === tests) ? undefined : id
}

/** Ends a mutant that did not come to an end by itself. */
export const giveUp = (folder: string, tests: string, id: string): void => {
  addVerdict(folder, { id, file: tests, by: "did not come to an end" })
}

/** Forgets where an earlier run of a file of tests was. */
export const forgetPlace = (folder: string, tests: string): void =>
  rmSync(atFile(folder, tests), { force: true })

/** Milliseconds since a file of tests has begun with its mutant. */
export const atItSince = (folder: string, tests: string): number => {
  const file = atFile(folder, tests)
  return existsSync(file) ? Date.now() - statSync(file).mtimeMs : 0
}
