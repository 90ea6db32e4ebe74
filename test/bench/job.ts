/**
 * What a peer is told, as arguments of its process, and what it answers, as a line of JSON. The peers that are written
 * in other languages read the same arguments.
 */
import { parseArgs } from "node:util"
import type { Shape } from "./content.js"
import { shapeOf } from "./content.js"

export interface Job {
  /** Which of the peer's ways of sending is meant. */
  readonly mode: string
  readonly port: number
  /** Octets of each message. */
  readonly octets: number
  readonly recipients: number
  readonly connections: number
  readonly warmUp: number
  readonly messages: number
  /** A new connection for each message, or all of them over those that are opened first. */
  readonly fresh: boolean
  /** Content is given as a stream, by peers that can take one. */
  readonly streamed: boolean
  /** A file with the authority's certificate: STARTTLS and AUTH are asked for. Empty for neither. */
  readonly ca: string
  readonly user: string
  readonly password: string
  /** A file with message number 0, for peers that cannot make the content themselves. */
  readonly template: string
}

/** What a peer measured of itself, over the counted messages. */
export interface Measured {
  readonly seconds: number
  /** CPU seconds, user and system. */
  readonly cpu: number
  /** Octets of resident memory, at most. */
  readonly peak: number
  /** Octets of resident memory, at most, when everything was open and nothing had been sent. */
  readonly idle: number
}

export const host = "127.0.0.1"
export const clientName = "client.test"
export const sender = "sender@client.test"

/** The recipients of each message. */
export const recipientsOf = ({ recipients }: Pick<Job, "recipients">): ReadonlyArray<string> =>
  Array.from({ length: recipients }, (_, index) =>
    index === 0 ? "recipient@sink.test" : `recipient${index}@sink.test`
  )

export const shapeOfJob = ({ octets }: Job): Shape => shapeOf(octets)

/** The arguments that tell a job. */
export const toArguments = (job: Job): ReadonlyArray<string> =>
  Object.entries(job).flatMap(([name, value]) =>
    typeof value === "boolean" ? (value ? [`--${name}`] : []) : [`--${name}`, String(value)]
  )

const text = { type: "string", default: "" } as const
const flag = { type: "boolean", default: false } as const

/** Reads what `toArguments` has written. */
export const readJob = (args: ReadonlyArray<string>): Job => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mode: text,
      port: text,
      octets: text,
      recipients: text,
      connections: text,
      warmUp: text,
      messages: text,
      fresh: flag,
      streamed: flag,
      ca: text,
      user: text,
      password: text,
      template: text
    }
  })
  return {
    ...values,
    port: Number(values.port),
    octets: Number(values.octets),
    recipients: Number(values.recipients),
    connections: Number(values.connections),
    warmUp: Number(values.warmUp),
    messages: Number(values.messages)
  }
}

/** A number of an object that was read from elsewhere. */
export const numberIn = (value: object, name: string): number => {
  const found: unknown = Reflect.get(value, name)
  if (typeof found !== "number" || !Number.isFinite(found)) throw new Error(`the peer did not say "${name}"`)
  return found
}

/** The object in the last line that a program has printed. */
export const readObject = (output: string): object => {
  const value: unknown = JSON.parse(output.trim().split("\n").at(-1) ?? "")
  if (typeof value !== "object" || value === null) throw new Error("the peer printed no object")
  return value
}

/** Reads what a peer has printed. */
export const readMeasured = (output: string): Measured => {
  const said = readObject(output)
  return {
    seconds: numberIn(said, "seconds"),
    cpu: numberIn(said, "cpu"),
    peak: numberIn(said, "peak"),
    idle: numberIn(said, "idle")
  }
}
