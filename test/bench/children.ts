/**
 * The processes of a run: every child ends with its time limit, with the run, or with this process.
 */
import type { ChildProcess } from "node:child_process"
import { fork, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { peakIn } from "./peers/usage.js"
import type { Answer, Question } from "./sink/process.js"
import type { SinkOptions } from "./sink/server.js"
import type { Account } from "./sink/tally.js"

/** How a program is started. */
export interface Command {
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly environment: Readonly<Record<string, string>>
}

/** What became of a program. */
export interface Ended {
  readonly output: string
  readonly errors: string
  /** 0 if it went well. */
  readonly code: number | null
  readonly timedOut: boolean
  readonly seconds: number
  /** The peak of resident memory that was seen from outside, in octets; 0 where nothing could be seen. */
  readonly peak: number
}

/** The sink in its process. */
export interface SinkProcess {
  readonly open: (options: SinkOptions) => Promise<number>
  readonly close: () => Promise<Account>
}

export interface Children {
  readonly run: (command: Command, limitSeconds: number) => Promise<Ended>
  readonly startSink: (program: string) => SinkProcess
  /** Ends everybody who is still there. */
  readonly end: () => void
}

const sampleEvery = 10

/** A group of processes, for those that start others. */
const killGroup = (child: ChildProcess): void => {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch {
    // Nobody of the group is left.
  }
}

/** The peak of a process that says `pid N` first, or of the child itself. */
const peakOf = (pid: number | undefined): number => {
  try {
    return peakIn(readFileSync(`/proc/${pid}/status`, "utf8")) ?? 0
  } catch {
    return 0
  }
}

const collect = (child: ChildProcess, limitSeconds: number): Promise<Ended> =>
  new Promise((resolve) => {
    const begin = performance.now()
    let output = ""
    let errors = ""
    let peak = 0
    let timedOut = false
    child.stdout?.on("data", (octets: Buffer) => (output += octets.toString("utf8")))
    child.stderr?.on("data", (octets: Buffer) => (errors = (errors + octets.toString("utf8")).slice(-4000)))
    const sampler = setInterval(() => {
      const said = /^pid (\d+)$/m.exec(output)?.[1]
      peak = Math.max(peak, peakOf(said === undefined ? child.pid : Number(said)))
    }, sampleEvery)
    const limit = setTimeout(() => {
      timedOut = true
      killGroup(child)
    }, limitSeconds * 1000)
    const finish = (code: number | null): void => {
      clearInterval(sampler)
      clearTimeout(limit)
      resolve({ output, errors, code, timedOut, peak, seconds: (performance.now() - begin) / 1000 })
    }
    child.once("error", (error) => {
      errors += error.message
      finish(null)
    })
    child.once("close", finish)
  })

const isAnswer = (value: unknown): value is Answer =>
  typeof value === "object" && value !== null && "_tag" in value

/** Puts one question after the other to the sink's process. */
const converse = (child: ChildProcess) => {
  let ended: string | undefined
  child.once("exit", () => (ended = "the sink has ended"))
  return (question: Question): Promise<Answer> =>
    new Promise((resolve, reject) => {
      if (ended !== undefined) {
        reject(new Error(ended))
        return
      }
      const onExit = (): void => reject(new Error("the sink has ended"))
      child.once("exit", onExit)
      child.once("message", (value) => {
        child.off("exit", onExit)
        if (isAnswer(value)) resolve(value)
        else reject(new Error("the sink gave a strange answer"))
      })
      child.send(question)
    })
}

const unexpected = (answer: Answer): Error =>
  new Error(answer._tag === "Failed" ? `the sink: ${answer.reason}` : `the sink answered ${answer._tag}`)

const sinkOver = (child: ChildProcess): SinkProcess => {
  const ask = converse(child)
  return {
    open: async (options) => {
      const answer = await ask({ _tag: "Open", options })
      if (answer._tag !== "Opened") throw unexpected(answer)
      return answer.port
    },
    close: async () => {
      const answer = await ask({ _tag: "Close" })
      if (answer._tag !== "Closed") throw unexpected(answer)
      return answer.account
    }
  }
}

export const makeChildren = (): Children => {
  const running = new Set<ChildProcess>()
  const keep = (child: ChildProcess): ChildProcess => {
    running.add(child)
    child.once("close", () => running.delete(child))
    return child
  }
  const end = (): void => {
    for (const child of running) killGroup(child)
  }
  process.once("exit", end)
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      end()
      process.exit(130)
    })
  }
  return {
    run: ({ args, environment, program }, limitSeconds) => {
      const env = { ...process.env, ...environment }
      const child = spawn(program, args, { env, detached: true, stdio: ["ignore", "pipe", "pipe"] })
      return collect(keep(child), limitSeconds)
    },
    startSink: (program) => sinkOver(keep(fork(program, { detached: true }))),
    end
  }
}
