/**
 * What all the servers share: a state folder, free ports, a child process that ends with its scope (or with
 * this process, however that ends), and the wait until it answers.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import * as FileSystem from "node:fs/promises"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Installation, ServerName } from "./availability.js"
import { ServerUnavailable } from "./availability.js"

/** The servers live in real time, whatever clock the test has. */
export const inRealTime = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withClock(effect, Clock.make())

/** User and group of Debian's `nobody` and `nogroup`, who own the mailboxes. */
export const nobody = 65_534

/** A new folder, removed with the scope. Every user may pass through it: the servers have users of their own. */
export const makeStateFolder = (server: ServerName): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const folder = await FileSystem.mkdtemp(join(tmpdir(), `smtplib-${server.toLowerCase()}-`))
      await FileSystem.chmod(folder, 0o755)
      return folder
    }),
    (folder) =>
      Effect.promise(() =>
        FileSystem.rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
      )
  )

/** A folder with the given owner and mode, whatever the umask. */
export const makeFolder = (path: string, owner: number, group: number, mode: number): Promise<void> =>
  FileSystem.mkdir(path, { recursive: true })
    .then(() => FileSystem.chown(path, owner, group))
    .then(() => FileSystem.chmod(path, mode))

/** Writes a file that looks old: Postfix waits for seconds when one of its own has just been changed. */
export const writeOldFile = (path: string, text: string): Promise<void> =>
  FileSystem.writeFile(path, text).then(() => FileSystem.utimes(path, 1_700_000_000, 1_700_000_000))

/** Numeric ids of a user of this machine. */
export const lookUpUser = (name: string): Promise<{ readonly user: number; readonly group: number }> =>
  FileSystem.readFile("/etc/passwd", "utf8").then((text) => {
    const fields = text
      .split("\n")
      .map((line) => line.split(":"))
      .find(([user]) => user === name)
    if (fields === undefined) throw new Error(`there is no user ${name}; run .ci/install-servers as root`)
    return { user: Number(fields[2]), group: Number(fields[3]) }
  })

/** The numeric id of a group of this machine. */
export const lookUpGroup = (name: string): Promise<number> =>
  FileSystem.readFile("/etc/group", "utf8").then((text) => {
    const fields = text
      .split("\n")
      .map((line) => line.split(":"))
      .find(([group]) => group === name)
    if (fields === undefined) throw new Error(`there is no group ${name}; run .ci/install-servers as root`)
    return Number(fields[2])
  })

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const listener = Net.createServer()
    listener.once("error", () => resolve(false))
    listener.listen(port, "127.0.0.1", () => listener.close(() => resolve(true)))
  })

const freePort = async (taken: ReadonlyArray<number>): Promise<number> => {
  for (;;) {
    // Below the range that the system takes the near ends of connections from: nobody else gets it by chance.
    const port = randomInt(12_000, 32_000)
    if (!taken.includes(port) && (await isFree(port))) return port
  }
}

/** Two loopback ports that are free now. */
export const freePorts: Effect.Effect<readonly [number, number]> = Effect.promise(async () => {
  const first = await freePort([])
  return [first, await freePort([first])]
})

/** A running server's process. */
export interface ServerProcess {
  /** What the server has written to its standard output and standard error so far. */
  readonly output: () => string
  readonly isRunning: () => boolean
}

// The server ends when our end of the standard input does: with the scope, or with this process, even by
// SIGKILL. `cat` waits for that; `wait` notices a server that ends by itself.
const supervisor = `
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
(cat <&3 >/dev/null; kill -TERM "$server") 2>/dev/null &
wait "$server"
`

const killGroup = (child: ChildProcess): void => {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch {
    // Nobody of the group is left.
  }
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const stop = (child: ChildProcess, ending: ProcessOptions["ending"]): Effect.Effect<void> => {
  const ended = Effect.async<boolean>((resume) => {
    child.once("exit", () => resume(Effect.succeed(true)))
    child.stdin?.end()
    if (ending === "kill") killGroup(child)
    if (hasEnded(child)) resume(Effect.succeed(true))
  })
  return ended.pipe(
    Effect.interruptible,
    Effect.timeoutOption(Duration.seconds(5)),
    inRealTime,
    Effect.zipRight(Effect.sync(() => killGroup(child)))
  )
}

/** How a program is started, and how it ends with its scope. */
export interface ProcessOptions {
  readonly directory: string
  /**
   * "terminate" asks with SIGTERM and waits; "kill" ends the whole group at once, for servers whose processes all
   * stay in it and that are slow to say goodbye.
   */
  readonly ending: "terminate" | "kill"
}

/** Starts a program that stays in the foreground, in a process group of its own. */
export const startProcess = (
  installation: Installation,
  command: ReadonlyArray<string>,
  options: ProcessOptions
): Effect.Effect<ServerProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn("/bin/sh", ["-c", supervisor, "server", ...command], {
        cwd: options.directory,
        detached: true,
        env: installation.environment,
        stdio: ["pipe", "pipe", "pipe"]
      })
      let output = ""
      const collect = (chunk: Buffer): void => {
        output = (output + chunk.toString("utf8")).slice(-65_536)
      }
      child.stdout.on("data", collect)
      child.stderr.on("data", collect)
      child.stdin.on("error", () => undefined)
      child.on("error", (error) => collect(Buffer.from(error.message)))
      return { child, output: () => output, isRunning: () => !hasEnded(child) }
    }),
    ({ child }) => stop(child, options.ending)
  )

/** Where a server listens: a loopback port, or the path of a UNIX socket. */
export type Listener = number | string

/** The first octets that a server sends, `undefined` when it does not listen; "" when it waits for TLS. */
const greeting = (listener: Listener, waitsForClient: boolean): Promise<string | undefined> =>
  new Promise((resolve) => {
    const socket = typeof listener === "number" ? Net.connect(listener, "127.0.0.1") : Net.connect(listener)
    socket.setTimeout(5000, () => socket.destroy())
    socket.once("connect", () => {
      if (!waitsForClient) return
      resolve("")
      socket.destroy()
    })
    socket.once("data", (chunk) => {
      resolve(chunk.toString("latin1"))
      socket.end("QUIT\r\n")
      socket.resume()
    })
    socket.once("error", () => resolve(undefined))
    socket.once("close", () => resolve(undefined))
  })

const tail = (text: string): string => text.trimEnd().split("\n").slice(-12).join("\n")

/** What has to answer before a server counts as started. */
export interface Readiness {
  /** Listeners that greet with 220 at once. */
  readonly greeting: ReadonlyArray<Listener>
  /** Listeners where the client speaks first, as with implicit TLS. */
  readonly silent: ReadonlyArray<Listener>
  /** The server's log, for the case that it does not start. */
  readonly log: Effect.Effect<string>
}

/** Succeeds as soon as every listener answers; fails when the process has ended or nothing answers in time. */
export const awaitReady = (
  server: ServerName,
  running: ServerProcess,
  readiness: Readiness
): Effect.Effect<void, ServerUnavailable> => {
  const notReady = (reason: string): Effect.Effect<never, ServerUnavailable> =>
    Effect.flatMap(readiness.log, (log) =>
      Effect.fail(
        new ServerUnavailable({ server, reason: `${reason}\n${tail(running.output())}\n${tail(log)}` })
      )
    )
  const answers = Effect.promise(async () => {
    const greetings = await Promise.all(readiness.greeting.map((listener) => greeting(listener, false)))
    const silences = await Promise.all(readiness.silent.map((listener) => greeting(listener, true)))
    return (
      greetings.every((text) => text?.startsWith("220") === true) && silences.every((text) => text === "")
    )
  })
  return answers.pipe(
    Effect.filterOrFail(
      (ready) => ready,
      () => "not yet" as const
    ),
    Effect.retry({
      schedule: Schedule.spaced(Duration.millis(20)),
      while: () => running.isRunning()
    }),
    Effect.timeoutFail({ duration: Duration.seconds(15), onTimeout: () => "too late" as const }),
    Effect.catchAll(() =>
      notReady(running.isRunning() ? "it did not answer in time" : "it ended while it started")
    ),
    Effect.asVoid,
    inRealTime
  )
}

/** The first line that the server prints. */
export const firstLine = (
  server: ServerName,
  running: ServerProcess
): Effect.Effect<string, ServerUnavailable> =>
  Effect.sync(running.output).pipe(
    Effect.filterOrFail(
      (output) => output.includes("\n"),
      () => "not yet" as const
    ),
    Effect.retry({
      schedule: Schedule.spaced(Duration.millis(10)),
      while: () => running.isRunning()
    }),
    Effect.timeoutFail({ duration: Duration.seconds(15), onTimeout: () => "too late" as const }),
    Effect.mapBoth({
      onFailure: () =>
        new ServerUnavailable({ server, reason: tail(`it did not start\n${running.output()}`) }),
      onSuccess: (output) => output.slice(0, output.indexOf("\n"))
    }),
    inRealTime
  )

/** A text file's content, or "" when there is none yet. */
export const readLog = (path: string): Effect.Effect<string> =>
  Effect.promise(() => FileSystem.readFile(path, "utf8").catch(() => ""))
