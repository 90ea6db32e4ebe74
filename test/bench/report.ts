/**
 * Makes tables of what was measured: medians of the rounds, as plain text and as Markdown.
 */
import type { Outcome, Results, Row, Sample } from "./measure.js"
import type { Peer } from "./peers/catalogue.js"
import { median } from "./statistics.js"
import type { Workload } from "./workloads.js"

/** The medians of a row. */
export interface Figures {
  /** Messages, or octets, a second. */
  readonly rate: number
  readonly tripsPerMessage: number
  /** CPU seconds per 1,000 messages. */
  readonly cpuPerThousand: number
  /** Octets of memory, at most. */
  readonly peak: number
  /** The same, without what the process had before it sent anything; `undefined` if it did not say. */
  readonly grown: number | undefined
  /** Which part of the time the sink's processor was busy. */
  readonly sinkBusy: number
}

/** What there is to say of a peer with a workload. */
export type Line =
  | { readonly _tag: "Figures"; readonly peer: Peer; readonly figures: Figures }
  | { readonly _tag: "Void"; readonly peer: Peer; readonly problems: ReadonlyArray<string> }
  | { readonly _tag: "Failed"; readonly peer: Peer; readonly reason: string }
  | { readonly _tag: "Absent"; readonly peer: Peer; readonly reason: string }

const rateOf = (workload: Workload, { messages, seconds }: Sample): number =>
  (messages * (workload.unit === "octets" ? workload.octets : 1)) / seconds

const figuresOf = (workload: Workload, samples: ReadonlyArray<Sample>): Figures => {
  const medianOf = (value: (sample: Sample) => number): number => median(samples.map(value))
  return {
    rate: medianOf((sample) => rateOf(workload, sample)),
    tripsPerMessage: medianOf(({ messages, trips }) => trips / messages),
    cpuPerThousand: medianOf(({ cpu, messages }) => (cpu * 1000) / messages),
    peak: medianOf(({ peak }) => peak),
    grown: samples.some(({ idle }) => idle === 0) ? undefined : medianOf(({ idle, peak }) => peak - idle),
    sinkBusy: medianOf(({ seconds, sinkCpu }) => sinkCpu / seconds)
  }
}

const isMeasured = (outcome: Outcome): outcome is Extract<Outcome, { readonly _tag: "Measured" }> =>
  outcome._tag === "Measured"

/** One void or failed measurement decides for the row: nobody gets a figure for mail that was lost now and then. */
export const lineOf = (workload: Workload, { outcomes, peer }: Row): Line => {
  if (peer.absence !== undefined) return { _tag: "Absent", peer, reason: peer.absence }
  for (const outcome of outcomes) {
    if (outcome._tag === "Void") return { _tag: "Void", peer, problems: outcome.problems }
    if (outcome._tag === "Failed") return { _tag: "Failed", peer, reason: outcome.reason }
  }
  const samples = outcomes.filter(isMeasured).map(({ sample }) => sample)
  return { _tag: "Figures", peer, figures: figuresOf(workload, samples) }
}

export const linesOf = ({ rows, workload }: Results): ReadonlyArray<Line> =>
  rows.map((row) => lineOf(workload, row))

/** The best rate of this library with DATA, or with BDAT. */
const bestRate = (lines: ReadonlyArray<Line>, content: Peer["content"]): number =>
  Math.max(
    ...lines.flatMap((line) =>
      line._tag === "Figures" && line.peer.kind === "Library" && line.peer.content === content
        ? [line.figures.rate]
        : []
    )
  )

const grouped = (value: number, digits = 0): string =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })

const mebibyte = 1024 * 1024
const megabyte = 1_000_000

const showRate = (workload: Workload, rate: number): string =>
  workload.unit === "octets" ? grouped(rate / megabyte) : grouped(rate, rate < 100 ? 1 : 0)

const showRatio = (best: number, rate: number): string =>
  Number.isFinite(best) ? `${(best / rate).toFixed(best / rate < 10 ? 2 : 1)}` : ""

const cellsOf = (workload: Workload, lines: ReadonlyArray<Line>, line: Line): ReadonlyArray<string> => {
  switch (line._tag) {
    case "Absent":
      return [line.peer.name, line.reason]
    case "Void":
      return [line.peer.name, `VOID: ${line.problems[0] ?? ""}`]
    case "Failed":
      return [line.peer.name, `FAILED: ${line.reason}`]
    case "Figures": {
      const { cpuPerThousand, grown, peak, rate, sinkBusy, tripsPerMessage } = line.figures
      return [
        line.peer.name,
        showRate(workload, rate),
        tripsPerMessage.toFixed(2),
        cpuPerThousand.toFixed(cpuPerThousand < 10 ? 3 : 1),
        grouped(peak / mebibyte),
        grown === undefined ? "" : grouped(grown / mebibyte),
        `${Math.round(sinkBusy * 100)} %`,
        showRatio(bestRate(lines, "DATA"), rate),
        showRatio(bestRate(lines, "BDAT"), rate)
      ]
    }
  }
}

const headings = (workload: Workload): ReadonlyArray<string> => [
  "",
  workload.unit === "octets" ? "MB/s" : "messages/s",
  "round trips",
  "CPU s/1,000",
  "peak MiB",
  "grown MiB",
  "sink busy",
  "DATA ×",
  "BDAT ×"
]

/** The table of a workload: headings, then a row for each peer; rows without figures have two cells. */
export const tableOf = (results: Results): ReadonlyArray<ReadonlyArray<string>> => {
  const lines = linesOf(results)
  return [headings(results.workload), ...lines.map((line) => cellsOf(results.workload, lines, line))]
}

/** A table in columns: the first to the left, the others to the right. */
export const showTable = (table: ReadonlyArray<ReadonlyArray<string>>): string => {
  const [head = []] = table
  const complete = table.filter((row) => row.length === head.length)
  const widths = head.map((_, column) =>
    Math.max(...(column === 0 ? table : complete).map((row) => row[column]?.length ?? 0))
  )
  const show = (row: ReadonlyArray<string>): string =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return column === 0 || row.length < head.length ? cell.padEnd(width) : cell.padStart(width)
      })
      .join("  ")
      .trimEnd()
  return table.map(show).join("\n")
}

export const showResults = (results: Results): string =>
  `\n${results.workload.name}: ${results.workload.title}\n\n${showTable(tableOf(results))}\n`
