/**
 * Measures: one peer with one workload, in a process of its own against a listener of its own; and all of them in one
 * interleaved run, round by round, so that whatever else this machine does meets everybody alike.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Children, Ended, SinkProcess } from "./children.js"
import { makeWriter, shapeOf } from "./content.js"
import type { Job, Measured } from "./job.js"
import { sender } from "./job.js"
import type { Peer } from "./peers/catalogue.js"
import type { Security } from "./sink/server.js"
import type { Account } from "./sink/tally.js"
import type { Workload } from "./workloads.js"

/** The figures of one measurement. */
export interface Sample extends Measured {
  readonly messages: number
  /** Round trips that the sink counted. */
  readonly trips: number
  /** CPU seconds of the sink. */
  readonly sinkCpu: number
}

/** What came of one measurement. */
export type Outcome =
  | { readonly _tag: "Measured"; readonly sample: Sample }
  | { readonly _tag: "Void"; readonly problems: ReadonlyArray<string> }
  | { readonly _tag: "Failed"; readonly reason: string }

/** A peer and all that was measured of it with a workload. */
export interface Row {
  readonly peer: Peer
  readonly outcomes: ReadonlyArray<Outcome>
}

export interface Results {
  readonly workload: Workload
  readonly rows: ReadonlyArray<Row>
}

/** What all measurements of a run share. */
export interface Laboratory {
  readonly children: Children
  readonly sink: SinkProcess
  readonly security: Security
  /** The file that holds the authority's certificate. */
  readonly authority: string
  /** A folder for templates, which whoever made it removes. */
  readonly scratch: string
}

/** What a measurement may take before it is given up. */
const limitSeconds = 300

/** The file with message number 0 of a size, and beside it one with line feeds for smtp-source. */
export const templateFor = (scratch: string, octets: number): string => {
  const file = join(scratch, `message-${octets}`)
  const message = makeWriter(shapeOf(octets))(0)
  writeFileSync(file, message)
  writeFileSync(`${file}.lf`, message.toString("latin1").replaceAll("\r\n", "\n").slice(0, -1), "latin1")
  return file
}

// Where there is a delay, those who keep many messages in flight would be done before it begins to matter.
const scale = (workload: Workload, peer: Peer): number => (workload.delay > 0 ? peer.inFlight : peer.share)

/** Enough for a figure, whatever the share. */
const fewest = 50

const scaled = (count: number, factor: number): number =>
  factor < 1 ? Math.max(Math.min(count, fewest), Math.round(count * factor)) : count * factor

const jobOf = (lab: Laboratory, workload: Workload, peer: Peer, port: number): Job => ({
  mode: "",
  port,
  octets: workload.octets,
  recipients: workload.recipients,
  connections: workload.connections,
  warmUp: scaled(workload.warmUp, scale(workload, peer)),
  messages: scaled(workload.messages, scale(workload, peer)),
  fresh: workload.fresh,
  streamed: workload.streamed,
  ca: workload.fresh ? lab.authority : "",
  user: lab.security.user,
  password: lab.security.password,
  template: workload.streamed ? "" : templateFor(lab.scratch, workload.octets)
})

const failure = (ended: Ended): string => {
  if (ended.timedOut) return `not done after ${limitSeconds} s`
  return ended.errors.trim().split("\n").at(-1) ?? `ended with ${ended.code}`
}

const judge = (peer: Peer, job: Job, ended: Ended, account: Account): Outcome => {
  if (ended.code !== 0) return { _tag: "Failed", reason: failure(ended) }
  if (account.problems.length > 0) return { _tag: "Void", problems: account.problems }
  const { cpu: sinkCpu, trips } = account
  const { messages } = job
  try {
    return { _tag: "Measured", sample: { ...peer.read(ended, account), messages, trips, sinkCpu } }
  } catch (error) {
    return { _tag: "Failed", reason: String(error) }
  }
}

/** One peer, one workload, once. */
export const measure = async (lab: Laboratory, workload: Workload, peer: Peer): Promise<Outcome> => {
  const expected = jobOf(lab, workload, peer, 0)
  const port = await lab.sink.open({
    shape: shapeOf(workload.octets),
    expectation: {
      warmUp: expected.warmUp,
      messages: expected.messages,
      sender,
      recipients: peer.recipients(workload),
      numbered: peer.numbered
    },
    delay: workload.delay,
    security: workload.fresh ? lab.security : undefined
  })
  const job = { ...expected, port }
  const ended = await lab.children.run(peer.command(job), limitSeconds)
  const account = await lab.sink.close()
  return judge(peer, job, ended, account)
}

/** Whether a peer has a row with a workload. */
const takesPart =
  (workload: Workload) =>
  (peer: Peer): boolean => {
    if (workload.peers === "Library" && peer.kind !== "Library") return false
    if (workload.peers === "Streaming" && peer.kind === "Client") return false
    return peer.can(workload)
  }

/** All peers with one workload: each once, and again, as many rounds as asked. */
export const measureAll = async (
  lab: Laboratory,
  workload: Workload,
  peers: ReadonlyArray<Peer>,
  rounds: number,
  progress: (text: string) => void
): Promise<Results> => {
  const chosen = peers.filter(takesPart(workload))
  const outcomes = new Map<Peer, Array<Outcome>>(chosen.map((peer) => [peer, []]))
  for (let round = 1; round <= rounds; round++) {
    for (const peer of chosen.filter(({ absence }) => absence === undefined)) {
      progress(`${workload.name}: round ${round} of ${rounds}, ${peer.name}`)
      outcomes.get(peer)?.push(await measure(lab, workload, peer))
    }
  }
  return { workload, rows: chosen.map((peer) => ({ peer, outcomes: outcomes.get(peer) ?? [] })) }
}
