/**
 * Measures the start of a script: the life of a process that loads a client, sends one message and ends. What this
 * library adds to `effect/Effect` is the difference of their two rows.
 */
import { join } from "node:path"
import type { Command } from "./children.js"
import { shapeOf } from "./content.js"
import { numberIn, readObject, recipientsOf, sender } from "./job.js"
import type { Laboratory } from "./measure.js"
import { templateFor } from "./measure.js"
import { median } from "./statistics.js"
import type { Table } from "./table.js"

interface Script {
  readonly name: string
  /** Whether it sends its message. */
  readonly sends: boolean
  readonly command: (port: number) => Command
}

/** One life, in seconds and octets. */
export interface Life {
  /** From the start of the process to its end. */
  readonly whole: number
  /** For loading the client's modules. */
  readonly loaded: number
  readonly cpu: number
  readonly peak: number
}

export type ColdRow =
  | { readonly _tag: "Lives"; readonly name: string; readonly lives: ReadonlyArray<Life> }
  | { readonly _tag: "Failed"; readonly name: string; readonly reason: string }

/** The row with which this library is compared. */
const baseline = "effect/Effect alone, nothing sent"

const octets = 1024
const limitSeconds = 30

const scriptsOf = (lab: Laboratory, folder: string, root: string): ReadonlyArray<Script> => {
  const onNode = (name: string, script: string, sends = true): Script => ({
    name,
    sends,
    command: (port) => ({
      program: process.execPath,
      args: [join(folder, "test/bench/peers/cold.js"), script, String(port)],
      environment: {}
    })
  })
  const python: Script = {
    name: "Python smtplib",
    sends: true,
    command: (port) => ({
      program: "python3",
      args: [join(root, "test/bench/peers/cold_smtplib.py"), String(port), templateFor(lab.scratch, octets)],
      environment: {}
    })
  }
  return [
    onNode("Node alone, nothing sent", "node", false),
    onNode(baseline, "effect", false),
    onNode("effect-smtplib, its modules", "library"),
    onNode("effect-smtplib, and effect, by their barrels", "barrel"),
    onNode("nodemailer", "nodemailer"),
    onNode("emailjs", "emailjs"),
    python
  ]
}

const readLife = (output: string, whole: number): Life => {
  const said = readObject(output)
  return {
    whole,
    loaded: numberIn(said, "loaded"),
    cpu: numberIn(said, "cpu"),
    peak: numberIn(said, "peak")
  }
}

const live = async (lab: Laboratory, script: Script): Promise<Life | string> => {
  const port = await lab.sink.open({
    shape: shapeOf(octets),
    expectation: {
      warmUp: 0,
      messages: script.sends ? 1 : 0,
      sender,
      recipients: recipientsOf({ recipients: 1 }),
      numbered: true
    },
    delay: 0,
    security: undefined
  })
  const ended = await lab.children.run(script.command(port), limitSeconds)
  const { problems } = await lab.sink.close()
  if (ended.code !== 0) return ended.errors.trim().split("\n").at(-1) ?? `ended with ${ended.code}`
  return problems[0] ?? readLife(ended.output, ended.seconds)
}

const rowOf = (name: string, outcomes: ReadonlyArray<Life | string>): ColdRow => {
  const reason = outcomes.find((outcome) => typeof outcome === "string")
  const lives = outcomes.filter((outcome) => typeof outcome !== "string")
  return reason === undefined ? { _tag: "Lives", name, lives } : { _tag: "Failed", name, reason }
}

/** All scripts, once in each round, and once before that, so that what they read is in memory. */
export const measureColdStart = async (
  lab: Laboratory,
  places: { readonly folder: string; readonly root: string },
  rounds: number,
  progress: (text: string) => void
): Promise<ReadonlyArray<ColdRow>> => {
  const scripts = scriptsOf(lab, places.folder, places.root)
  const outcomes = new Map<Script, Array<Life | string>>(scripts.map((script) => [script, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const script of scripts) {
      progress(`cold start: round ${round} of ${rounds}, ${script.name}`)
      const outcome = await live(lab, script)
      if (round > 0) outcomes.get(script)?.push(outcome)
    }
  }
  return scripts.map((script) => rowOf(script.name, outcomes.get(script) ?? []))
}

const milliseconds = (seconds: number): string => (seconds * 1000).toFixed(0)

const mediansOf = (lives: ReadonlyArray<Life>): Life => {
  const medianOf = (value: (life: Life) => number): number => median(lives.map(value))
  return {
    whole: medianOf(({ whole }) => whole),
    loaded: medianOf(({ loaded }) => loaded),
    cpu: medianOf(({ cpu }) => cpu),
    peak: medianOf(({ peak }) => peak)
  }
}

/** The table; rows without figures have two cells. */
export const coldTable = (rows: ReadonlyArray<ColdRow>): Table => {
  const reference = rows.find(({ name }) => name === baseline)
  const { loaded, whole } = mediansOf(reference?._tag === "Lives" ? reference.lives : [])
  return [
    ["", "ms in all", "above Effect", "ms to load", "above Effect", "CPU ms", "peak MiB"],
    ...rows.map((row) => {
      if (row._tag === "Failed") return [row.name, `FAILED: ${row.reason}`]
      const life = mediansOf(row.lives)
      return [
        row.name,
        milliseconds(life.whole),
        milliseconds(life.whole - whole),
        milliseconds(life.loaded),
        milliseconds(life.loaded - loaded),
        milliseconds(life.cpu),
        (life.peak / 1024 / 1024).toFixed(0)
      ]
    })
  ]
}
