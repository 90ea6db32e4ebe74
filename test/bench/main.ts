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
import { makeCertificates } from "../../examples/support/certificates.js"
import type { Arguments } from "./arguments.js"
import { readArguments, usage, UsageError } from "./arguments.js"
import { makeChildren } from "./children.js"
import { compile } from "./compile.js"
import type { Laboratory, Results } from "./measure.js"
import { measureAll } from "./measure.js"
import type { Peer } from "./peers/catalogue.js"
import { makePeers } from "./peers/catalogue.js"
import { linesOf, showResults } from "./report.js"

const progress = (text: string): void => {
  if (stderr.isTTY) stderr.write(`\r\u001b[K${text}`)
}

const choosePeers = (peers: ReadonlyArray<Peer>, texts: ReadonlyArray<string>): ReadonlyArray<Peer> => {
  const chosen = peers.filter(({ name }) => texts.length === 0 || texts.some((text) => name.includes(text)))
  if (chosen.length === 0) throw new UsageError(`no peer has a name with ${texts.join(" or ")}`)
  return chosen
}

const run = async (lab: Laboratory, peers: ReadonlyArray<Peer>, chosen: Arguments) => {
  const all: Array<Results> = []
  for (const workload of chosen.workloads) {
    const results = await measureAll(lab, workload, peers, chosen.rounds, progress)
    progress("")
    stdout.write(showResults(results))
    all.push(results)
  }
  return all
}

const isSound = (results: Results): boolean =>
  linesOf(results).every(({ _tag }) => _tag === "Figures" || _tag === "Absent")

const main = async (chosen: Arguments): Promise<boolean> => {
  const certificates = await Effect.runPromise(makeCertificates())
  const scratch = mkdtempSync(join(tmpdir(), "effect-smtplib-bench-"))
  const compiled = compile(root)
  const children = makeChildren()
  try {
    const authority = join(scratch, "ca.pem")
    writeFileSync(authority, certificates.ca)
    const peers = choosePeers(makePeers({ folder: compiled.folder, root }), chosen.peers)
    const sink = children.startSink(join(compiled.folder, "test/bench/sink/process.js"))
    const { certificate, key } = certificates
    const security = { certificate, key, user: "bench", password: "secret" }
    const results = await run({ children, sink, security, authority, scratch }, peers, chosen)
    if (chosen.json !== undefined) writeFileSync(chosen.json, JSON.stringify(results, undefined, 2))
    return results.every(isSound)
  } finally {
    children.end()
    compiled.remove()
    rmSync(scratch, { recursive: true, force: true })
  }
}

try {
  if (argv.includes("--help")) stdout.write(`${usage}\n`)
  else if (!(await main(readArguments(argv.slice(2))))) process.exitCode = 1
} catch (error) {
  stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
