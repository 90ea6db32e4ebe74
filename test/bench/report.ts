/**
 * Makes tables of what was measured. Figures are medians of the rounds, if there are several.
 */
import type { Outcome, Results, Row, Sample } from "./measure.js"
import type { Peer } from "./peers/catalogue.js"
import { median } from "./statistics.js"
import type { Table } from "./table.js"
import type { Series, Workload } from "./workloads.js"

/** The medians of a row. */
export interface Figures {
  /** Messages, or octets, a second. */
  readonly rate: number
  readonly tripsPerMessage: number
  /** CPU seconds per 1,000 messages. */
  readonly cpuPerThousand: number
  /** Octets of memory, at most. */
  readonly peak: number
  /** The same without what the process had before it sent anything; `undefined` if it did not say. */
  readonly grown: number | undefined
  /** Which part of the time the sink's processor was busy: near 1 the sink is what is measured. */
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

/** One void or failed measurement decides for the row: there is no figure for mail that is lost now and then. */
const lineOf = (workload: Workload, { outcomes, peer }: Row): Line => {
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

/** The best rate of this library, in all or with DATA or BDAT alone; minus infinity if it has none. */
const bestRate = (lines: ReadonlyArray<Line>, content?: Peer["content"]): number =>
  Math.max(
    ...lines.flatMap((line) =>
      line._tag === "Figures" &&
      line.peer.kind === "Library" &&
      (content === undefined || line.peer.content === content)
        ? [line.figures.rate]
        : []
    )
  )

// -- how figures look

const grouped = (value: number, digits = 0): string =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })

const mebibyte = 1024 * 1024
const megabyte = 1_000_000

const showRate = ({ unit }: Workload, rate: number): string => {
  if (unit === "octets") return grouped(rate / megabyte)
  return grouped(rate, rate < 100 ? 1 : 0)
}

const showRatio = (ratio: number): string => (Number.isFinite(ratio) ? ratio.toFixed(ratio < 10 ? 2 : 1) : "")

const showCpu = (seconds: number): string => seconds.toFixed(seconds < 10 ? 3 : 1)

const showMemory = (octets: number | undefined): string =>
  octets === undefined ? "" : grouped(octets / mebibyte)

/** A name, with the mark of its footnote. */
const marked = ({ name, remark }: Peer): string => (remark === undefined ? name : `${name} *`)

/** What has to be known to read the figures of peers that have a mark behind their names. */
export const footnotes = (peers: ReadonlyArray<Peer>): ReadonlyArray<string> =>
  peers.flatMap(({ name, remark }) => (remark === undefined ? [] : [`* ${name} ${remark}`]))

/** One round has no medians. */
export const describeRounds = (rounds: number): string =>
  rounds === 1
    ? "One round: each figure is that of a single measurement."
    : `Interleaved rounds, of which the medians are shown: ${rounds}.`

// -- the table of one workload

const figureCells = (
  workload: Workload,
  lines: ReadonlyArray<Line>,
  { cpuPerThousand, grown, peak, rate, sinkBusy, tripsPerMessage }: Figures
): ReadonlyArray<string> => [
  showRate(workload, rate),
  tripsPerMessage.toFixed(2),
  showCpu(cpuPerThousand),
  showMemory(peak),
  showMemory(grown),
  `${Math.round(sinkBusy * 100)} %`,
  showRatio(bestRate(lines, "DATA") / rate),
  showRatio(bestRate(lines, "BDAT") / rate)
]

const cellsOf = (workload: Workload, lines: ReadonlyArray<Line>, line: Line): ReadonlyArray<string> => {
  switch (line._tag) {
    case "Absent":
      return [marked(line.peer), line.reason]
    case "Void":
      return [marked(line.peer), `VOID: ${line.problems[0] ?? ""}`]
    case "Failed":
      return [marked(line.peer), `FAILED: ${line.reason}`]
    case "Figures":
      return [marked(line.peer), ...figureCells(workload, lines, line.figures)]
  }
}

/** A row for each peer. The last two columns: how many times as fast this library is, at its best. */
export const tableOf = (results: Results): Table => {
  const { workload } = results
  const lines = linesOf(results)
  return [
    [
      "",
      workload.unit === "octets" ? "MB/s" : "messages/s",
      "round trips",
      "CPU s/1,000",
      "peak MiB",
      "grown MiB",
      "sink busy",
      "by DATA ×",
      "by BDAT ×"
    ],
    ...lines.map((line) => cellsOf(workload, lines, line))
  ]
}

// -- series: what a message costs against one number

interface Member {
  readonly series: Series
  readonly results: Results
}

const membersOf = (all: ReadonlyArray<Results>): ReadonlyArray<Member> =>
  all.flatMap((results) => {
    const { series } = results.workload
    return series === undefined ? [] : [{ series, results }]
  })

const figuresFor = ({ rows, workload }: Results, name: string): Figures | undefined => {
  const row = rows.find(({ peer }) => peer.name === name)
  const line = row === undefined ? undefined : lineOf(workload, row)
  return line?._tag === "Figures" ? line.figures : undefined
}

const memberCell = ({ results }: Member, name: string): string => {
  const figures = figuresFor(results, name)
  if (figures === undefined) return ""
  return `${showRate(results.workload, figures.rate)} (${Math.round(figures.cpuPerThousand * 1000)} µs)`
}

export interface Titled {
  readonly title: string
  readonly table: Table
}

/** For each series messages a second, and CPU microseconds a message. */
export const seriesTables = (all: ReadonlyArray<Results>): ReadonlyArray<Titled> => {
  const members = membersOf(all)
  const names = [...new Set(members.map(({ series }) => series.name))]
  return names.map((name) => {
    const own = members.filter(({ series }) => series.name === name)
    const peers = own[0]?.results.rows.map(({ peer }) => peer.name) ?? []
    return {
      title: `messages/s (CPU of a message) against ${own[0]?.series.title ?? ""}`,
      table: [
        ["", ...own.map(({ series }) => grouped(series.value))],
        ...peers.map((peer) => [peer, ...own.map((member) => memberCell(member, peer))])
      ]
    }
  })
}

// -- the cost of a recipient

/** CPU microseconds of each further recipient: 100 of them compared with one. */
export const recipientTable = (all: ReadonlyArray<Results>): Table | undefined => {
  const one = all.find(({ workload }) => workload.name === "small")
  const many = all.find(({ workload }) => workload.name === "recipients-100")
  if (one === undefined || many === undefined) return undefined
  const further = many.workload.recipients - one.workload.recipients
  return [
    ["", "CPU µs"],
    ...many.rows.flatMap(({ peer: { name } }) => {
      const [less, more] = [figuresFor(one, name), figuresFor(many, name)]
      if (less === undefined || more === undefined) return []
      return [[name, (((more.cpuPerThousand - less.cpuPerThousand) * 1000) / further).toFixed(1)]]
    })
  ]
}

// -- the summary

interface Column {
  readonly heading: string
  readonly workload: string
  readonly cell: (results: Results, figures: Figures, kind: Peer["kind"]) => string
}

/** The rate, and behind it how many times that this library does. */
const rateCell: Column["cell"] = (results, { rate }, kind) => {
  const shown = showRate(results.workload, rate)
  const ratio = showRatio(bestRate(linesOf(results)) / rate)
  return kind === "Library" || ratio === "" ? shown : `${shown} (×${ratio})`
}

const columns: ReadonlyArray<Column> = [
  { heading: "1 KiB", workload: "small-long", cell: rateCell },
  { heading: "10 connections", workload: "small-ten", cell: rateCell },
  { heading: "100 recipients", workload: "recipients-100", cell: rateCell },
  { heading: "50 ms delay", workload: "delay-50", cell: rateCell },
  { heading: "TLS and AUTH each", workload: "fresh", cell: rateCell },
  { heading: "1 MiB, MB/s", workload: "1m", cell: rateCell },
  { heading: "100 MiB, MB/s", workload: "100m", cell: rateCell },
  {
    heading: "round trips",
    workload: "delay-50",
    cell: (_, { tripsPerMessage }) => tripsPerMessage.toFixed(2)
  },
  {
    heading: "CPU s/1,000",
    workload: "small-long",
    cell: (_, { cpuPerThousand }) => showCpu(cpuPerThousand)
  }
]

const summaryCell = (all: ReadonlyArray<Results>, { cell, workload }: Column, peer: Peer): string => {
  const results = all.find((one) => one.workload.name === workload)
  const figures = results === undefined ? undefined : figuresFor(results, peer.name)
  return results === undefined || figures === undefined ? "" : cell(results, figures, peer.kind)
}

/** One row for each peer that has any figure, one column for each workload that says most. */
export const summaryTable = (all: ReadonlyArray<Results>, peers: ReadonlyArray<Peer>): Table => [
  ["messages/s", ...columns.map(({ heading }) => heading)],
  ...peers
    .map((peer) => [marked(peer), ...columns.map((column) => summaryCell(all, column, peer))])
    .filter(([, ...cells]) => cells.some((cell) => cell !== ""))
]

/** How the tables are to be read. */
export const explanation = [
  "Every peer runs in a process of its own, one after the other, against the same sink in another process, which",
  "compares each message octet for octet with what it has to be. Round trips are counted by the sink, per message;",
  "without delay the count is an upper bound for whoever keeps several messages in flight. CPU seconds, user and system,",
  "are those of the peer for 1,000 messages; peak is its resident memory at most, and grown what of that came after its",
  "connections were open. Sink busy is the part of the time in which the sink used a processor: near 100 % it is the sink",
  "that is measured. By DATA × and by BDAT × say how many times as fast this library is as the row, at its best with",
  "either. MB are 1,000,000 octets of content, MiB 1,048,576. smtp-source and the sockets are not clients: the first is",
  "Postfix's generator of load, the others what Node's sockets allow with octets made beforehand."
].join("\n")
