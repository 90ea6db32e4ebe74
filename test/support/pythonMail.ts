/**
 * Python's email package and dkimpy, which share nothing with this library, as a judge of messages: one process,
 * asked one message after the other.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type { ServerUnavailable } from "../servers/availability.js"
import { find } from "../servers/availability.js"

const Part = Schema.Struct({
  type: Schema.String,
  charset: Schema.NullOr(Schema.String),
  method: Schema.NullOr(Schema.String),
  disposition: Schema.NullOr(Schema.String),
  filename: Schema.NullOr(Schema.String),
  cid: Schema.NullOr(Schema.String),
  content: Schema.Uint8ArrayFromBase64
})

const Mailbox = Schema.Tuple(Schema.String, Schema.String)
const Addresses = Schema.Array(Schema.Tuple(Schema.NullOr(Schema.String), Schema.Array(Mailbox)))

const Parsed = Schema.Struct({
  names: Schema.Array(Schema.String),
  fields: Schema.Array(Schema.Tuple(Schema.String, Schema.String)),
  addresses: Schema.Record({ key: Schema.String, value: Addresses }),
  date: Schema.Number,
  parts: Schema.Array(Part),
  types: Schema.Array(Schema.String),
  defects: Schema.Array(Schema.String)
})

/** A message as Python reads it. */
export type Parsed = typeof Parsed.Type

const Verdicts = Schema.Struct({ verdicts: Schema.Array(Schema.Boolean) })

const decodeParsed = Schema.decodeUnknownSync(Schema.parseJson(Parsed))
const decodeVerdicts = Schema.decodeUnknownSync(Schema.parseJson(Verdicts))

export interface PythonMail {
  readonly parse: (message: Uint8Array) => Promise<Parsed>
  /** Whether each signature is good, from top to bottom, given the TXT records of the keys. */
  readonly verify: (
    message: Uint8Array,
    records: Readonly<Record<string, string>>
  ) => Promise<ReadonlyArray<boolean>>
}

const python = "/usr/bin/python3"
const script = fileURLToPath(new URL("./python_mail.py", import.meta.url))

const environment = (): Effect.Effect<Readonly<Record<string, string>>, ServerUnavailable> =>
  Effect.orElseSucceed(
    Effect.map(find("dkimpy"), (installation) => installation.environment),
    () => ({ PATH: "/usr/bin:/bin", LANG: "C.UTF-8" })
  )

/** Starts Python; it ends with the scope. */
export const startPythonMail: Effect.Effect<PythonMail, ServerUnavailable, Scope.Scope> = Effect.gen(
  function* () {
    const env = yield* environment()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(existsSync(python) ? python : "python3", [script], { env, stdio: ["pipe", "pipe", "inherit"] })
      ),
      (running) => Effect.sync(() => running.kill("SIGKILL"))
    )
    const waiting: Array<(line: string) => void> = []
    createInterface(child.stdout).on("line", (line) => {
      waiting.shift()?.(line)
    })
    const ask = (request: object): Promise<string> =>
      new Promise((resolve) => {
        waiting.push(resolve)
        child.stdin.write(`${JSON.stringify(request)}\n`)
      })
    const encode = (message: Uint8Array): string => Buffer.from(message).toString("base64")
    return {
      parse: async (message) => decodeParsed(await ask({ message: encode(message) })),
      verify: async (message, records) =>
        decodeVerdicts(await ask({ message: encode(message), records })).verdicts
    }
  }
)
