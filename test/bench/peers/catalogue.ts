/**
 * Everybody who takes part: how each is started for a job, which workloads it can do, and where it comes from.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import type { Command, Ended } from "../children.js"
import type { Job, Measured } from "../job.js"
import { clientName, host, readMeasured, recipientsOf, sender, toArguments } from "../job.js"
import type { Account } from "../sink/tally.js"
import type { Workload } from "../workloads.js"

/** This library, other clients, and what the socket allows. */
export type Kind = "Library" | "Client" | "Limit"

export interface Peer {
  readonly name: string
  /** What its version is that of. */
  readonly product: string
  readonly kind: Kind
  /** How content leaves. */
  readonly content: "DATA" | "BDAT"
  /** How many messages are in flight at a time: where there is a delay, as many times the messages are sent. */
  readonly inFlight: number
  /** Which part of a workload's messages it sends where there is no delay: less than 1 for who would take minutes. */
  readonly share: number
  /** Whether each message can have a number of its own. */
  readonly numbered: boolean
  /** Whom its messages are for: a program that has names of its own cannot be told others. */
  readonly recipients: (job: Pick<Job, "recipients">) => ReadonlyArray<string>
  readonly can: (workload: Workload) => boolean
  /** What has to be known to read its figures; a footnote, whose sentence begins with the peer's name. */
  readonly remark: string | undefined
  /** Why it cannot run on this machine; `undefined` if it can. */
  readonly absence: string | undefined
  readonly version: string
  readonly command: (job: Job) => Command
  readonly read: (ended: Ended, account: Account) => Measured
}

/** Where the compiled programs are. */
export interface Places {
  readonly folder: string
  readonly root: string
  /** Where a program may be built; whoever made it removes it. */
  readonly scratch: string
}

const always = (): boolean => true

const onNode =
  ({ folder }: Places, module: string) =>
  (mode: string) =>
  (job: Job): Command => ({
    program: process.execPath,
    args: [join(folder, "test/bench/peers/node.js"), module, ...toArguments({ ...job, mode })],
    environment: {}
  })

const versionIn = (root: string, path: string): string => {
  const manifest: unknown = JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"))
  const version: unknown =
    typeof manifest === "object" && manifest !== null ? Reflect.get(manifest, "version") : undefined
  return typeof version === "string" ? version : "?"
}

const common = {
  share: 1,
  numbered: true,
  recipients: recipientsOf,
  remark: undefined,
  inFlight: 1,
  content: "DATA",
  absence: undefined,
  can: always
} as const

const fromOutput = ({ output }: Ended): Measured => readMeasured(output)

/** Where a pool of connections is compared with another. */
const pooledWorkloads: ReadonlySet<string> = new Set(["small", "small-long", "small-ten", "recipients-100"])

const library = (places: Places): ReadonlyArray<Peer> => {
  const command = onNode(places, "library")
  const version = versionIn(places.root, ".")
  const base = { ...common, product: "effect-smtplib", kind: "Library", version, read: fromOutput } as const
  const kept = ({ fresh }: Workload): boolean => !fresh
  const small = ({ fresh, streamed }: Workload): boolean => !fresh && !streamed
  const pooled = ({ name }: Workload): boolean => pooledWorkloads.has(name)
  // With its defaults it opens as many connections as are wanted: who sends in turn wants one.
  const single = (workload: Workload): boolean => pooled(workload) && workload.connections === 1
  const bdat = { ...base, content: "BDAT" } as const
  return [
    { ...base, name: "effect-smtplib data", command: command("data") },
    {
      ...base,
      name: "effect-smtplib overlap fibers",
      can: small,
      command: command("overlap")
    },
    {
      ...base,
      name: "effect-smtplib overlap sendAll",
      can: kept,
      command: command("overlap-all")
    },
    { ...bdat, name: "effect-smtplib chunking on", can: kept, command: command("chunked") },
    {
      ...bdat,
      name: "effect-smtplib eager fibers",
      inFlight: 32,
      can: small,
      command: command("eager")
    },
    {
      ...bdat,
      name: "effect-smtplib eager sendAll",
      inFlight: 32,
      can: kept,
      command: command("eager-all")
    },
    { ...base, name: "effect-smtplib client data", can: single, command: command("client") },
    { ...base, name: "effect-smtplib client overlap", can: pooled, command: command("client-overlap") },
    {
      ...base,
      name: "effect-smtplib client overlap sendAll",
      can: pooled,
      command: command("client-overlap-all")
    },
    { ...bdat, name: "effect-smtplib client eager", can: pooled, command: command("client-eager") },
    {
      ...bdat,
      name: "effect-smtplib client eager sendAll",
      can: pooled,
      command: command("client-eager-all")
    }
  ]
}

const nodemailer = (places: Places): ReadonlyArray<Peer> => {
  const command = onNode(places, "nodemailer")
  const version = versionIn(places.root, "node_modules/nodemailer")
  const base = { ...common, product: "nodemailer", kind: "Client", version, read: fromOutput } as const
  return [
    { ...base, name: "nodemailer pool", command: command("pool"), can: ({ fresh }) => !fresh },
    { ...base, name: "nodemailer connection", command: command("connection") }
  ]
}

const emailjs = (places: Places): Peer => ({
  ...common,
  name: "emailjs",
  product: "emailjs",
  remark:
    "leaves Nagle's algorithm on and writes the last dot by itself, which on loopback waits about 44 ms for a delayed " +
    "acknowledgement: with small messages its figure is that of one wait for each, and not of work.",
  share: 1 / 100,
  kind: "Client",
  version: versionIn(places.root, "node_modules/emailjs"),
  command: onNode(places, "emailjs")(""),
  read: fromOutput,
  can: ({ streamed }) => !streamed
})

const raw = (places: Places): ReadonlyArray<Peer> => {
  const command = onNode(places, "raw")
  const base = {
    ...common,
    product: "Node",
    kind: "Limit",
    version: process.version,
    read: fromOutput,
    can: ({ fresh, streamed }: Workload) => !fresh && !streamed
  } as const
  const large = ({ streamed }: Workload): boolean => streamed
  return [
    { ...base, name: "socket lock-step", command: command("lock-step") },
    { ...base, name: "socket grouped", command: command("grouped") },
    { ...base, name: "socket overlapped", command: command("overlapped") },
    { ...base, name: "socket chunked", content: "BDAT", command: command("chunked") },
    { ...base, name: "socket window of 32", content: "BDAT", inFlight: 32, command: command("window") },
    { ...base, name: "socket poured as DATA", can: large, command: command("poured-data") },
    {
      ...base,
      name: "socket poured as BDAT",
      can: large,
      content: "BDAT",
      command: command("poured-chunks")
    }
  ]
}

/** What a command prints, or `undefined` if it cannot be run. */
const ask = (program: string, args: ReadonlyArray<string>, environment = {}): string | undefined => {
  try {
    const options = { encoding: "utf8", env: { ...process.env, ...environment }, stdio: "pipe" } as const
    return execFileSync(program, args, options).trim()
  } catch {
    return undefined
  }
}

const python = (places: Places): Peer => {
  const said = ask("python3", ["--version"])
  return {
    ...common,
    name: "Python smtplib",
    product: "Python",
    kind: "Client",
    version: said?.replace("Python ", "") ?? "",
    absence: said === undefined ? "not installed" : undefined,
    can: ({ streamed }) => !streamed,
    command: (job) => ({
      program: "python3",
      args: [join(places.root, "test/bench/peers/smtplib_peer.py"), ...toArguments(job)],
      environment: {}
    }),
    read: fromOutput
  }
}

/** Builds Go's peer; `undefined` where that cannot be done. */
const buildGo = ({ root, scratch }: Places): string | undefined => {
  const program = join(scratch, "netsmtp")
  const source = join(root, "test/bench/peers/netsmtp.go")
  const environment = { CGO_ENABLED: "0", GOFLAGS: "-mod=mod", GOTOOLCHAIN: "local" }
  return ask("go", ["build", "-o", program, source], environment) === undefined ? undefined : program
}

const go = (places: Places): Peer => {
  const said = ask("go", ["version"])
  const program = said === undefined ? undefined : buildGo(places)
  return {
    ...common,
    name: "Go net/smtp",
    product: "Go",
    kind: "Client",
    version: /go([\d.]+)/.exec(said ?? "")?.[1] ?? "",
    absence: program === undefined ? "not installed" : undefined,
    can: ({ streamed }) => !streamed,
    command: (job) => ({ program: program ?? "go", args: toArguments(job), environment: {} }),
    read: fromOutput
  }
}

// -- smtp-source, Postfix's generator of load, written in C

const serversFolder = (): string =>
  process.env["EFFECT_SMTPLIB_SERVERS"] ?? "/var/cache/effect-smtplib-servers"

/** The program and what it needs to find its libraries: on the path, or where `.ci/install-servers` unpacks Postfix. */
const findSmtpSource = (): Command | undefined => {
  const installed = ask("/bin/sh", ["-c", "command -v smtp-source"])
  if (installed !== undefined) return { program: installed, args: [], environment: {} }
  const root = serversFolder()
  const program = join(root, "usr/sbin/smtp-source")
  if (!existsSync(program) || !existsSync(join(root, "library-path"))) return undefined
  const libraries = readFileSync(join(root, "library-path"), "utf8").split("\n").filter(Boolean)
  const environment = { LD_LIBRARY_PATH: libraries.map((path) => join(root, path)).join(":") }
  return { program, args: [], environment }
}

/** The version of Postfix, as the postconf beside it says. */
const postfixVersion = ({ environment, program }: Command): string =>
  ask(join(dirname(program), "postconf"), ["-c", tmpdir(), "-dh", "mail_version"], environment) ?? ""

/** Runs a program and says its process id first and its CPU times last. */
const timed = '"$@" & echo "pid $!"; wait "$!"; code=$?; times; exit "$code"'

const minutes = /(\d+)m([\d.]+)s\s+(\d+)m([\d.]+)s\s*$/

/** The CPU seconds of the children, as the shell's `times` says them in its last line. */
const childSeconds = (output: string): number => {
  const [, userMinutes, user, systemMinutes, system] = minutes.exec(output) ?? []
  return Number(userMinutes) * 60 + Number(user) + Number(systemMinutes) * 60 + Number(system)
}

const smtpSourceArguments = (job: Job): ReadonlyArray<string> => [
  ...["-d", "-s", String(job.connections), "-m", String(job.warmUp + job.messages)],
  ...["-r", String(job.recipients), "-M", clientName, "-f", sender, "-t", "recipient@sink.test"],
  ...["-F", `${job.template}.lf`, `${host}:${job.port}`]
]

// It counts them down to the one that it was told.
const smtpSourceRecipients: Peer["recipients"] = ({ recipients }) =>
  Array.from({ length: recipients }, (_, index) => {
    const left = recipients - index
    return `${left > 1 ? left : ""}recipient@sink.test`
  })

const smtpSource = (): Peer => {
  const found = findSmtpSource()
  return {
    ...common,
    name: "smtp-source (C)",
    product: "Postfix",
    kind: "Client",
    numbered: false,
    recipients: smtpSourceRecipients,
    version: found === undefined ? "" : postfixVersion(found),
    absence: found === undefined ? "not installed" : undefined,
    can: ({ fresh, streamed }) => !fresh && !streamed,
    command: (job) => ({
      program: "/bin/sh",
      args: ["-c", timed, "smtp-source", found?.program ?? "smtp-source", ...smtpSourceArguments(job)],
      environment: found?.environment ?? {}
    }),
    // It measures nothing by itself: the time is the sink's, the CPU time that of its whole life.
    read: ({ output, peak }, account) => {
      const counted = account.messages === 0 ? 0 : account.counted / account.messages
      return { seconds: account.seconds, cpu: childSeconds(output) * counted, peak, idle: 0 }
    }
  }
}

export const makePeers = (places: Places): ReadonlyArray<Peer> => [
  ...library(places),
  ...nodemailer(places),
  emailjs(places),
  python(places),
  go(places),
  smtpSource(),
  ...raw(places)
]
