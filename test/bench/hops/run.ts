/**
 * The program that `hops.ts` compiles and starts: says how many functions in how many modules of src one warm message
 * runs through, by V8's coverage.
 */
import * as Effect from "effect/Effect"
import type { Profiler } from "node:inspector"
import { Session } from "node:inspector/promises"
import { argv, stdout } from "node:process"
import * as NodeSmtp from "../../../src/NodeSmtp.js"
import * as SmtpClient from "../../../src/SmtpClient.js"
import * as SmtpSession from "../../../src/SmtpSession.js"
import { makeWriter, shapeOf } from "../content.js"
import { clientName, host, recipientsOf, sender } from "../job.js"
import { openSink } from "../sink/server.js"

const source = new URL("../../../src/", import.meta.url).href

const warmUp = 300
const shape = shapeOf(1024)
const write = makeWriter(shape)

/** The functions that ran, by module. */
type Hops = ReadonlyMap<string, ReadonlyArray<string>>

const hopsOf = (scripts: ReadonlyArray<Profiler.ScriptCoverage>): Hops => {
  const hops = new Map<string, ReadonlyArray<string>>()
  for (const { functions, url } of scripts) {
    if (!url.startsWith(source)) continue
    // The first function of a script that has no name and begins with it is the module.
    const ran = functions.filter(
      ({ functionName, ranges }) =>
        (ranges[0]?.count ?? 0) > 0 && !(functionName === "" && ranges[0]?.startOffset === 0)
    )
    if (ran.length > 0)
      hops.set(
        url.slice(source.length),
        ran.map(({ functionName }) => functionName || "(anonymous)")
      )
  }
  return hops
}

/** What an effect runs through when it has run often before. */
const measure = <E>(effect: Effect.Effect<unknown, E>): Effect.Effect<Hops, E> =>
  Effect.gen(function* () {
    yield* Effect.repeatN(effect, warmUp)
    const session = new Session()
    session.connect()
    yield* Effect.promise(() => session.post("Profiler.enable"))
    yield* Effect.promise(() =>
      session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false })
    )
    yield* effect
    const { result } = yield* Effect.promise(() => session.post("Profiler.takePreciseCoverage"))
    session.disconnect()
    return hopsOf(result)
  })

const show = (name: string, hops: Hops): void => {
  const functions = [...hops.values()].reduce((sum, { length }) => sum + length, 0)
  stdout.write(`${name.padEnd(18)} ${functions} functions in ${hops.size} modules\n`)
  if (!argv.includes("--list")) return
  for (const [module, names] of [...hops].sort(([a], [b]) => a.localeCompare(b))) {
    stdout.write(`  ${module} (${names.length}): ${names.join(", ")}\n`)
  }
}

const main = Effect.gen(function* () {
  const sink = yield* Effect.promise(() =>
    openSink({
      shape,
      expectation: {
        warmUp: 0,
        messages: 2 * (warmUp + 2),
        sender,
        recipients: recipientsOf({ recipients: 1 }),
        numbered: true
      },
      delay: 0,
      security: undefined
    })
  )
  let number = 0
  const submission = Effect.sync(() => ({
    from: sender,
    to: [...recipientsOf({ recipients: 1 })],
    content: write(number++)
  }))
  const options = { host, port: sink.port, clientName, tls: "none" } as const
  const client = yield* SmtpClient.make(options)
  show("SmtpClient.send", yield* measure(Effect.flatMap(submission, (given) => client.send(given))))
  const session = yield* SmtpSession.make(options)
  show("SmtpSession.send", yield* measure(Effect.flatMap(submission, (given) => session.send(given))))
  show("SmtpSession.noop", yield* measure(session.noop))
  yield* Effect.promise(() => sink.close())
})

await Effect.runPromise(Effect.provide(Effect.scoped(main), NodeSmtp.layer))
