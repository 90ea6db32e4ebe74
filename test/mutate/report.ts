/**
 * What became of the mutants, and how two runs differ.
 */
import { readFileSync } from "node:fs"
import type { Mutant } from "./mutants.js"
import type { Verdict } from "./progress.js"

export interface Judged extends Omit<Mutant, "id"> {
  /** The test that failed, behind the file that it is in; none if the mutant survived. */
  readonly killedBy: string | undefined
}

export interface Report {
  readonly mutants: ReadonlyArray<Judged>
}

export const reportOf = (mutants: ReadonlyArray<Mutant>, verdicts: ReadonlyArray<Verdict>): Report => {
  const killers = new Map(
    verdicts.flatMap(({ by, file, id }) => (by === undefined ? [] : [[id, `${file}: ${by}`] as const]))
  )
  return { mutants: mutants.map(({ id, ...mutant }) => ({ ...mutant, killedBy: killers.get(id) })) }
}

/** A mutant of two groups is killed if one of them kills it. */
export const merge = (reports: ReadonlyArray<Report>): Report => {
  const all = new Map<string, Judged>()
  for (const mutant of reports.flatMap(({ mutants }) => mutants)) {
    const other = all.get(mutant.key)
    if (other?.killedBy === undefined) all.set(mutant.key, mutant)
  }
  return { mutants: [...all.values()] }
}

const isReport = (value: unknown): value is Report =>
  typeof value === "object" && value !== null && Array.isArray(Reflect.get(value, "mutants"))

export const readReport = (file: string): Report => {
  const value: unknown = JSON.parse(readFileSync(file, "utf8"))
  if (!isReport(value)) throw new Error(`${file} is not a report of npm run mutate`)
  return value
}

const isKilled = ({ killedBy }: Judged): boolean => killedBy !== undefined

const row = (name: string, mutants: ReadonlyArray<Judged>): string => {
  const killed = mutants.filter(isKilled).length
  const share = mutants.length === 0 ? 100 : (100 * killed) / mutants.length
  return `${name.padEnd(44)} ${String(killed).padStart(6)} of ${String(mutants.length).padStart(6)} ${share.toFixed(1).padStart(6)} %\n`
}

/** Killed of all, by module. */
export const show = ({ mutants }: Report): string => {
  const files = [...new Set(mutants.map(({ file }) => file))]
  const rows = files.map((file) =>
    row(
      file,
      mutants.filter((mutant) => mutant.file === file)
    )
  )
  return [...rows, row("all", mutants)].join("")
}

/** Mutants that were killed before and are not now, and those that are no longer there. */
export const compare = (before: Report, after: Report) => {
  const now = new Map(after.mutants.map((mutant) => [mutant.key, mutant]))
  const killed = before.mutants.filter(isKilled)
  const lost = killed.filter(({ key }) => now.get(key)?.killedBy === undefined && now.has(key))
  const absent = killed.filter(({ key }) => !now.has(key))
  const gained = after.mutants.filter(isKilled).length - (killed.length - lost.length - absent.length)
  const lines = [
    ...lost.map(
      ({ file, key, killedBy, line }) => `lost: ${file}:${line} ${key}\n      was killed by ${killedBy}\n`
    ),
    `${killed.length} killed before: ${lost.length} lost, ${absent.length} no longer in the code; ${gained} more killed\n`
  ]
  return { lost, absent, text: lines.join("") }
}
