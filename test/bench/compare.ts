/**
 * `npm run bench -- --compare FOLDER`: this checkout against another, message by message the same, in turn: what else
 * the machine does meets both alike. What counts is CPU time, which waits for nobody.
 */
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { Laboratory, Outcome } from "./measure.js"
import { measure } from "./measure.js"
import type { Peer } from "./peers/catalogue.js"
import { median } from "./statistics.js"
import type { Table } from "./table.js"
import type { Workload } from "./workloads.js"
import { workloadNamed } from "./workloads.js"

/** The rows that must not become dearer. */
const comparedPeers: ReadonlyArray<string> = [
  "effect-smtplib data",
  "effect-smtplib client data",
  "effect-smtplib overlap fibers",
  "effect-smtplib eager sendAll"
]

const warmUp = 2000
const messages = 10_000

/** One connection and 1 KiB. */
const comparedWorkload: Workload = {
  ...workloadNamed("small-long"),
  name: "compare",
  warmUp,
  messages
}

/** CPU seconds per 1,000 messages, of both in each round. */
export interface Pair {
  readonly before: number
  readonly after: number
}

export interface Comparison {
  readonly name: string
  readonly pairs: ReadonlyArray<Pair>
}

/** Makes the library of another checkout by that checkout's own build. */
export const bundleOf = async (checkout: string): Promise<(folder: string) => Promise<void>> => {
  const file = join(resolve(checkout), ".ci/build.ts")
  if (!existsSync(file)) throw new Error(`${checkout} is not a checkout: it has no .ci/build.ts`)
  const build: unknown = await import(pathToFileURL(file).href)
  const bundle: unknown =
    typeof build === "object" && build !== null ? Reflect.get(build, "bundle") : undefined
  if (typeof bundle !== "function") throw new Error(`${file} exports no bundle`)
  return async (folder) => {
    await Promise.resolve(Reflect.apply(bundle, undefined, [folder]))
  }
}

const cpuOf = (name: string, outcome: Outcome): number => {
  if (outcome._tag === "Measured") return (1000 * outcome.sample.cpu) / outcome.sample.messages
  throw new Error(`${name}: ${outcome._tag === "Failed" ? outcome.reason : outcome.problems.join("; ")}`)
}

/** Row by row, before and after in turn; who begins changes with the round. */
export const compareAll = async (
  lab: Laboratory,
  before: ReadonlyArray<Peer>,
  after: ReadonlyArray<Peer>,
  rounds: number,
  progress: (text: string) => void
): Promise<ReadonlyArray<Comparison>> => {
  const rows = comparedPeers.map((name) => ({ name, pairs: Array<Pair>() }))
  const cpu = async (peers: ReadonlyArray<Peer>, name: string): Promise<number> => {
    const peer = peers.find((one) => one.name === name)
    if (peer === undefined) throw new Error(`there is no peer ${name}`)
    return cpuOf(name, await measure(lab, comparedWorkload, peer))
  }
  for (let round = 1; round <= rounds; round++) {
    for (const { name, pairs } of rows) {
      progress(`round ${round} of ${rounds}, ${name}`)
      const first = await cpu(round % 2 === 1 ? before : after, name)
      const second = await cpu(round % 2 === 1 ? after : before, name)
      pairs.push(round % 2 === 1 ? { before: first, after: second } : { before: second, after: first })
    }
  }
  return rows
}

const milliseconds = (seconds: number): string => (seconds * 1000).toFixed(1)

/** Medians, and the ratio that half of the rounds exceed, with the lowest and the highest. */
export const comparisonTable = (rows: ReadonlyArray<Comparison>): Table => [
  ["CPU ms per 1,000 messages", "before", "after", "ratio", "lowest", "highest"],
  ...rows.map(({ name, pairs }) => {
    const ratios = pairs.map(({ after, before }) => after / before)
    return [
      name,
      milliseconds(median(pairs.map(({ before }) => before))),
      milliseconds(median(pairs.map(({ after }) => after))),
      median(ratios).toFixed(3),
      Math.min(...ratios).toFixed(3),
      Math.max(...ratios).toFixed(3)
    ]
  })
]
