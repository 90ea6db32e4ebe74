/**
 * What the peers are measured with. Numbers of messages are such that the slowest peer of a workload takes some
 * seconds; a tenth as many are sent before the count begins.
 */

/** What is counted a second. */
export type Unit = "messages" | "octets"

/** Workloads that differ in one number: what a message costs is looked at against it. */
export interface Series {
  readonly name: string
  readonly title: string
  readonly value: number
}

export interface Workload {
  readonly name: string
  readonly title: string
  readonly unit: Unit
  readonly octets: number
  readonly recipients: number
  readonly connections: number
  readonly messages: number
  readonly warmUp: number
  /** Milliseconds of round-trip delay that the sink adds. */
  readonly delay: number
  /** A connection with STARTTLS and AUTH for each message. */
  readonly fresh: boolean
  readonly streamed: boolean
  /** Of what it is one, where several are the same but for one number. */
  readonly series: Series | undefined
  /** Whose cost is looked at: everybody's, or only that of this library, where it is compared with itself. */
  readonly peers: "Everybody" | "Library" | "Streaming"
}

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

type Given = Pick<Workload, "name" | "title" | "messages"> & Partial<Workload>

const workload = (given: Given): Workload => ({
  unit: "messages",
  octets: kibibyte,
  recipients: 1,
  connections: 1,
  warmUp: Math.max(1, Math.round(given.messages / 10)),
  delay: 0,
  fresh: false,
  streamed: false,
  series: undefined,
  peers: "Everybody",
  ...given
})

export const workloads: ReadonlyArray<Workload> = [
  workload({ name: "small", title: "1 KiB, one recipient, one connection", messages: 5000 }),
  workload({ name: "small-long", title: "1 KiB, one recipient, one connection, warm", messages: 30_000 }),
  workload({
    name: "small-ten",
    title: "1 KiB, one recipient, ten connections",
    messages: 30_000,
    connections: 10
  }),
  workload({ name: "recipients-10", title: "1 KiB, 10 recipients", messages: 3000, recipients: 10 }),
  workload({ name: "recipients-100", title: "1 KiB, 100 recipients", messages: 500, recipients: 100 }),
  workload({ name: "10k", title: "10 KiB", messages: 3000, octets: 10 * kibibyte }),
  workload({ name: "1m", title: "1 MiB", messages: 100, octets: mebibyte, unit: "octets" }),
  workload({
    name: "100m",
    title: "100 MiB, streamed",
    messages: 6,
    warmUp: 1,
    octets: 100 * mebibyte,
    streamed: true,
    unit: "octets"
  }),
  workload({
    name: "1g",
    title: "1 GiB, streamed",
    messages: 1,
    warmUp: 0,
    octets: 1024 * mebibyte,
    streamed: true,
    unit: "octets",
    peers: "Streaming"
  }),
  workload({ name: "delay-5", title: "1 KiB, 5 ms round-trip delay", messages: 150, warmUp: 5, delay: 5 }),
  workload({ name: "delay-50", title: "1 KiB, 50 ms round-trip delay", messages: 30, warmUp: 2, delay: 50 }),
  workload({
    name: "fresh",
    title: "1 KiB, a new connection with STARTTLS and AUTH for each message",
    messages: 200,
    fresh: true
  }),
  ...[1000, 5000, 20_000, 50_000].map((messages) =>
    workload({
      name: `flat-messages-${messages}`,
      title: `1 KiB, ${messages} messages`,
      series: { name: "flat-messages", title: "number of messages", value: messages },
      messages,
      warmUp: 5000,
      peers: "Library"
    })
  ),
  ...[1, 5, 20, 50].map((connections) =>
    workload({
      name: `flat-connections-${connections}`,
      title: `1 KiB, ${connections} connections`,
      series: { name: "flat-connections", title: "number of connections", value: connections },
      messages: 20_000,
      warmUp: 5000,
      connections,
      peers: "Library"
    })
  ),
  ...[1, 10, 50].map((connections) =>
    workload({
      name: `delay-connections-${connections}`,
      title: `1 KiB, 5 ms round-trip delay, ${connections} connections`,
      series: {
        name: "delay-connections",
        title: "number of connections, with 5 ms round-trip delay",
        value: connections
      },
      messages: 150 * connections,
      warmUp: 5 * connections,
      connections,
      delay: 5,
      peers: "Library"
    })
  )
]

/** The workload of a name. */
export const workloadNamed = (name: string): Workload => {
  const found = workloads.find((one) => one.name === name)
  if (found === undefined) throw new Error(`there is no workload ${name}`)
  return found
}

/** The name under which the start of a script is asked for; `coldStart.ts` measures it. */
export const coldStart = "cold-start"
