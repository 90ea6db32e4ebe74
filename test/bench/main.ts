/**
 * `npm run bench`: this library, other clients and the bare socket, in one interleaved run against the same sink.
 * `npm run bench -- --help` names the options; README.md has the results.
 */
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { argv, stderr, stdout } from "node:process"
import { root } from "../../.ci/modules.js"
import type { Certificates } from "../../examples/support/certificates.js"
import { makeCertificates } from "../../examples/support/certificates.js"
import type { Arguments } from "./arguments.js"
import { readArguments, usage, UsageError } from "./arguments.js"
import { makeChildren } from "./children.js"
import type { ColdRow } from "./coldStart.js"
import { coldTable, measureColdStart } from "./coldStart.js"
import { bundleOf, compareAll, comparisonTable } from "./compare.js"
import { compile, makeFolder } from "./compile.js"
import { machine, versions } from "./machine.js"
import type { Laboratory, Results } from "./measure.js"
import { measureAll } from "./measure.js"
import type { Peer, Places } from "./peers/catalogue.js"
import { makePeers } from "./peers/catalogue.js"
import type { Titled } from "./report.js"
import {
  describeRounds,
  explanation,
  footnotes,
  linesOf,
  recipientTable,
  seriesTables,
  summaryTable,
  tableOf
} from "./report.js"
import { showTable, toMarkdown } from "./table.js"
import { coldStart } from "./workloads.js"
import { writeResults } from "./write.js"

const progress = (text: string): void => {
  if (stderr.isTTY) stderr.write(`\r\u001b[K${text}`)
}

const choosePeers = (peers: ReadonlyArray<Peer>, texts: ReadonlyArray<string>): ReadonlyArray<Peer> => {
  const chosen = peers.filter(({ name }) => texts.length === 0 || texts.some((text) => name.includes(text)))
  if (chosen.length === 0) throw new UsageError(`no peer has a name with ${texts.join(" or ")}`)
  return chosen
}

/** Everything of a run. */
interface Run {
  readonly machine: string
  readonly versions: string
  readonly rounds: number
  readonly results: ReadonlyArray<Results>
  readonly coldStart: ReadonlyArray<ColdRow>
}

const titled = (results: Results): Titled => ({
  title: `${results.workload.title} (${results.workload.name})`,
  table: tableOf(results)
})

/** The tables that are made of several workloads, and that of the start of a script. */
const furtherTables = ({ coldStart: cold, results }: Pick<Run, "coldStart" | "results">) => {
  const recipients = recipientTable(results)
  return [
    ...(recipients === undefined ? [] : [{ title: "CPU of each further recipient", table: recipients }]),
    ...seriesTables(results),
    ...(cold.length === 0
      ? []
      : [{ title: `A script that sends one message (${coldStart})`, table: coldTable(cold) }])
  ]
}

const show = ({ table, title }: Titled): void => {
  progress("")
  stdout.write(`\n${title}\n\n${showTable(table)}\n`)
}

const perform = async (lab: Laboratory, places: Places, chosen: Arguments): Promise<Run> => {
  const peers = choosePeers(makePeers(places), chosen.peers)
  const named = { machine: machine(), versions: versions(peers), rounds: chosen.rounds }
  stdout.write(
    `${[named.machine, named.versions, describeRounds(chosen.rounds), ...footnotes(peers)].join("\n")}\n`
  )
  const results: Array<Results> = []
  for (const workload of chosen.workloads) {
    const one = await measureAll(lab, workload, peers, chosen.rounds, progress)
    show(titled(one))
    results.push(one)
  }
  const cold = chosen.coldStart ? await measureColdStart(lab, places, chosen.rounds, progress) : []
  furtherTables({ results, coldStart: cold }).forEach(show)
  return { ...named, results, coldStart: cold }
}

const isSound = ({ coldStart: cold, results }: Run): boolean =>
  results.flatMap(linesOf).every(({ _tag }) => _tag === "Figures" || _tag === "Absent") &&
  cold.every(({ _tag }) => _tag === "Lives")

const write = async ({ results, ...run }: Run): Promise<void> => {
  const peers = [...new Set(results.flatMap(({ rows }) => rows.map(({ peer }) => peer)))]
  const heading = [
    `Measured on ${run.machine}.`,
    `Against ${run.versions}.`,
    describeRounds(run.rounds)
  ].join("\n")
  // Without the backslash it would be the sign of a list.
  const notes = footnotes(peers).map((note) => `\\${note}`)
  const tables = [...results.map(titled), ...furtherTables({ results, coldStart: run.coldStart })]
  const sections = tables.map(({ table, title }) => `## ${title}\n\n${toMarkdown(table)}`)
  await writeResults(root, results, {
    summary: [heading, toMarkdown(summaryTable(results, peers)), ...notes].join("\n\n"),
    details: [`# Results of \`npm run bench\``, heading, explanation, ...notes, ...sections].join("\n\n")
  })
}

/** What a run leaves on this machine, and takes away again however it ends. */
const prepare = async (certificates: Certificates, { compare }: Arguments) => {
  const children = makeChildren()
  const scratch = mkdtempSync(join(tmpdir(), "effect-smtplib-bench-"))
  const folder = makeFolder(root)
  const other = makeFolder(root)
  const end = (): void => {
    children.end()
    for (const own of [scratch, folder, other]) rmSync(own, { recursive: true, force: true })
  }
  process.once("exit", end)
  await compile(root, folder)
  if (compare !== undefined) await compile(root, other, await bundleOf(compare))
  const authority = join(scratch, "ca.pem")
  writeFileSync(authority, certificates.ca)
  const sink = children.startSink(join(folder, "test/bench/sink/process.js"))
  const { certificate, key } = certificates
  const security = { certificate, key, user: "bench", password: "secret" }
  const lab: Laboratory = { children, sink, security, authority, scratch }
  return { lab, places: { folder, root, scratch }, before: { folder: other, root, scratch }, end }
}

const showComparison = async (
  lab: Laboratory,
  places: Places,
  before: Places,
  rounds: number
): Promise<void> => {
  stdout.write(`${machine()}\n${describeRounds(rounds)}\n`)
  const rows = await compareAll(lab, makePeers(before), makePeers(places), rounds, progress)
  progress("")
  stdout.write(`\n${showTable(comparisonTable(rows))}\n`)
}

const main = async (chosen: Arguments): Promise<boolean> => {
  const { before, end, lab, places } = await prepare(await Effect.runPromise(makeCertificates()), chosen)
  try {
    if (chosen.compare !== undefined) {
      await showComparison(lab, places, before, chosen.rounds)
      return true
    }
    const run = await perform(lab, places, chosen)
    if (chosen.json !== undefined) writeFileSync(chosen.json, JSON.stringify(run, undefined, 2))
    const sound = isSound(run)
    if (chosen.write && sound) await write(run)
    if (chosen.write && !sound) stderr.write("nothing was written: a row is void or failed\n")
    return sound
  } finally {
    end()
  }
}

try {
  if (argv.includes("--help")) stdout.write(`${usage}\n`)
  else if (!(await main(readArguments(argv.slice(2))))) process.exitCode = 1
} catch (error) {
  stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
