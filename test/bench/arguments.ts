/**
 * Reads the arguments of the bench.
 */
import { parseArgs } from "node:util"
import type { Workload } from "./workloads.js"
import { coldStart, workloads } from "./workloads.js"

/** The name under which a workload is asked for: its series', where it belongs to one. */
const groupOf = ({ name, series }: Workload): string => series?.name ?? name

export const usage = `usage: npm run bench -- [--quick] [--only WORKLOAD[,WORKLOAD...]] [--peer TEXT[,TEXT...]]
                        [--rounds N] [--messages N] [--json FILE] [--write]
       npm run bench -- --compare FOLDER [--rounds N]

  --quick     a fifth of the messages where there are many
  --only      only these workloads: ${[...new Set(workloads.map(groupOf)), coldStart].join(", ")}
  --peer      only the peers whose names contain one of the texts
  --rounds    how often everybody is measured (default 3, with --compare 9); of several the medians are shown
  --messages  how many messages are counted, instead of each workload's own number
  --json      writes every figure of every round into a file
  --write     writes the results into README.md, and RESULTS.md and delay.svg of test/bench
  --compare   this checkout against the one in a folder, in turn: CPU time of the rows that must not become dearer`

/** A mistake in the arguments. */
export class UsageError extends Error {
  constructor(mistake: string) {
    super(`${mistake}\n\n${usage}`)
    this.name = "UsageError"
  }
}

export interface Arguments {
  readonly workloads: ReadonlyArray<Workload>
  /** Whether the start of a script is measured. */
  readonly coldStart: boolean
  /** What a peer's name has to contain; nothing for all peers. */
  readonly peers: ReadonlyArray<string>
  readonly rounds: number
  readonly json: string | undefined
  readonly write: boolean
  /** The folder of the checkout to compare with. */
  readonly compare: string | undefined
}

const defaultRounds = 3
const comparedRounds = 9

const parse = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string" },
        peer: { type: "string" },
        rounds: { type: "string" },
        messages: { type: "string" },
        json: { type: "string" },
        write: { type: "boolean", default: false },
        compare: { type: "string" }
      }
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

const readCount = (name: string, text: string | undefined, largest: number): number | undefined => {
  if (text === undefined) return undefined
  const count = Number(text)
  if (/^\d+$/.test(text) && count >= 1 && count <= largest) return count
  throw new UsageError(`--${name} ${text}: a whole number from 1 to ${largest} is wanted`)
}

const readList = (name: string, text: string | undefined): ReadonlyArray<string> => {
  if (text === undefined) return []
  const items = text.split(",").filter((item) => item !== "")
  if (items.length === 0) throw new UsageError(`--${name} names nothing`)
  return items
}

const choose = (names: ReadonlyArray<string>): ReadonlyArray<Workload> => {
  const isMeant = (workload: Workload): boolean =>
    names.includes(workload.name) || names.includes(groupOf(workload))
  const strange = names.filter(
    (name) =>
      name !== coldStart && !workloads.some((workload) => [workload.name, groupOf(workload)].includes(name))
  )
  if (strange.length > 0) throw new UsageError(`there is no workload ${strange.join(", ")}`)
  return names.length === 0 ? workloads : workloads.filter(isMeant)
}

const withMessages = (workload: Workload, messages: number): Workload => ({
  ...workload,
  messages,
  warmUp: Math.min(workload.warmUp, Math.ceil(messages / 10))
})

// What is small already stays as it is.
const quickened = (workload: Workload): Workload =>
  workload.messages > 1000 ? withMessages(workload, Math.ceil(workload.messages / 5)) : workload

/** Fails with `UsageError` where something is not as `usage` says. */
export const readArguments = (args: ReadonlyArray<string>): Arguments => {
  const { compare, json, messages, only, peer, quick, rounds, write } = parse(args)
  if (write && [only, peer, messages].some((option) => option !== undefined)) {
    throw new UsageError("--write wants a whole run: neither --only, nor --peer, nor --messages")
  }
  if (
    compare !== undefined &&
    (write || quick || [json, only, peer, messages].some((option) => option !== undefined))
  ) {
    throw new UsageError("--compare takes --rounds alone")
  }
  const names = readList("only", only)
  const count = readCount("messages", messages, 1_000_000)
  const sized = (workload: Workload): Workload => {
    // The number of messages is what such a series is about.
    if (workload.series?.value === workload.messages) return workload
    if (count !== undefined) return withMessages(workload, count)
    return quick ? quickened(workload) : workload
  }
  return {
    workloads: choose(names).map(sized),
    coldStart: names.length === 0 || names.includes(coldStart),
    peers: readList("peer", peer),
    rounds: readCount("rounds", rounds, 100) ?? (compare === undefined ? defaultRounds : comparedRounds),
    json,
    write,
    compare
  }
}
