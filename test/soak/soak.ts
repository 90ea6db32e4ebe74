/**
 * Many sessions in one process, over TCP, TLS and memory, with faults of the server and interruptions of the program:
 * what stays open, and what stays in memory, may not grow with their number.
 *
 * `npm run soak` runs 20,000 of them; `npm run soak -- 1000` fewer. SOAK_SEED repeats a run's choices.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import { setImmediate as turn } from "node:timers/promises"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as NodeSmtpTest from "../../src/NodeSmtpTest.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import type { Random } from "../fuzz/random.js"
import { makeRandom } from "../fuzz/random.js"
import * as Certificates from "../servers/certificates.js"
import type { Resources } from "../support/resources.js"
import { leftOpen, openResources } from "../support/resources.js"

const total = Number(process.argv[2] ?? 20_000)
const seed = Number(process.env["SOAK_SEED"] ?? Date.now() % 1_000_000)
const batchSize = 250
const atOnce = 16
// What a collected heap may have grown by: V8 goes on compiling, and the caches keep the TLS sessions of each batch's
// ports, up to their bounds. 3.9 MiB after 20,000 sessions, with no more objects in a snapshot than before.
const heapBound = (4 + total / 5_000) * 1024 * 1024
// What the process may have grown by, with all that is outside the heap. V8 keeps pages for a while: 48 MiB after 20,000
// sessions, 44 of them after the first 5,000. A leak of 4 KiB a session would add 80.
const residentBound = 96 * 1024 * 1024

// -- the server

const faults: readonly [SmtpTest.Script, ...ReadonlyArray<SmtpTest.Script>] = [
  SmtpTest.close,
  SmtpTest.reset,
  SmtpTest.silence,
  SmtpTest.stopReading,
  SmtpTest.script(SmtpTest.halfClose, SmtpTest.silence),
  SmtpTest.script(SmtpTest.inject("421 4.3.2 shutting down\r\n"), SmtpTest.close),
  SmtpTest.script(SmtpTest.inject("250 out of turn\r\n"), SmtpTest.silence),
  SmtpTest.script(SmtpTest.inject(Uint8Array.of(0, 255, 13, 10, 50)), SmtpTest.silence),
  SmtpTest.script(SmtpTest.inject("250-half a reply"), SmtpTest.close)
]

const commands = (random: Random, upgrades: boolean): SmtpTest.Script => {
  const offered = [
    "mx.test",
    "SIZE 10000000",
    ...(random.chance(0.7) ? ["PIPELINING"] : []),
    ...(upgrades ? ["STARTTLS"] : [])
  ]
  const hello = SmtpTest.reply(
    ...offered.map((line, index) => `250${index < offered.length - 1 ? "-" : " "}${line}`)
  )
  const ok = SmtpTest.reply("250 ok")
  return SmtpTest.branch(
    {
      EHLO: hello,
      STARTTLS: SmtpTest.script(SmtpTest.reply("220 go"), SmtpTest.upgrade),
      MAIL: random.chance(0.05) ? SmtpTest.reply("451 later") : ok,
      RCPT: random.chance(0.1) ? SmtpTest.reply("550 no") : ok,
      DATA: SmtpTest.script(SmtpTest.reply("354 go"), SmtpTest.expectContent(), ok),
      QUIT: SmtpTest.script(SmtpTest.reply("221 bye"), SmtpTest.close)
    },
    ok
  )
}

const makeScript = (random: Random, upgrades: boolean): SmtpTest.Script => {
  const greeting = SmtpTest.reply("220 mx.test")
  if (random.chance(0.05)) return random.pick(faults)
  return random.chance(0.5)
    ? SmtpTest.script(greeting, SmtpTest.repeat(commands(random, upgrades)))
    : SmtpTest.script(
        greeting,
        SmtpTest.repeat(commands(random, upgrades), random.below(8)),
        random.pick(faults)
      )
}

// -- the client

const limit = "100 millis"

const options: SmtpSession.Options = {
  clientName: "client.test",
  timeouts: {
    connect: limit,
    tls: "500 millis",
    greeting: limit,
    ehlo: limit,
    starttls: limit,
    mail: limit,
    rcpt: limit,
    data: limit,
    content: limit,
    final: limit,
    rset: limit,
    noop: limit,
    quit: limit
  }
}

const message = new TextEncoder().encode(`Subject: soak\r\n\r\n${"hello\r\n".repeat(100)}`)
const large = new Uint8Array(2_000_000).fill(0x78)

const contentOf = (random: Random): Uint8Array | Stream.Stream<Uint8Array> => {
  if (random.chance(0.02)) return large
  return random.chance(0.3) ? Stream.make(message, message) : message
}

const program = (random: Random, own: SmtpSession.Options) =>
  Effect.scoped(
    Effect.gen(function* () {
      const smtp = yield* SmtpSession.make({ ...options, ...own })
      for (let count = random.below(4); count > 0; count--) {
        yield* smtp.deliver({ from: "a@x.test", to: ["b@y.test", "c@y.test"], content: contentOf(random) })
      }
      if (random.chance(0.3)) yield* smtp.noop
    })
  )

/** The program, or the beginning of it. */
const disturbed = <A, E, R>(
  random: Random,
  use: Effect.Effect<A, E, R>
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(use)
    if (random.chance(0.2)) {
      yield* Effect.sleep(Duration.millis(random.below(30)))
      return yield* Fiber.interrupt(fiber)
    }
    return yield* Fiber.await(fiber)
  })

// -- the figures

interface Figures {
  readonly sessions: number
  readonly heap: number
  readonly resident: number
  readonly resources: Resources
}

// What was destroyed closes in the turns of the event loop that follow, and some of it frees more.
const collect = async (): Promise<void> => {
  for (let count = 0; count < 20; count++) {
    await turn()
    if (count % 4 === 0) globalThis.gc?.()
  }
}

const measure = (sessions: number): Effect.Effect<Figures> =>
  Effect.gen(function* () {
    yield* Effect.promise(collect)
    const { heapUsed, rss } = process.memoryUsage()
    return { sessions, heap: heapUsed, resident: rss, resources: yield* openResources }
  })

const mebibytes = (octets: number): string => (octets / 1024 / 1024).toFixed(1).padStart(9)

const show = ({ heap, resident, resources, sessions }: Figures): string => {
  const open = Object.values(resources).reduce((sum, count) => sum + count, 0)
  return `${String(sessions).padStart(9)}${mebibytes(heap)}${mebibytes(resident)}${String(open).padStart(9)}`
}

// -- the run

interface Tally {
  succeeded: number
  failed: number
  interrupted: number
}

const count = (tally: Tally, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isSuccess(exit)) tally.succeeded++
  else if (Exit.isInterrupted(exit)) tally.interrupted++
  else tally.failed++
}

/** Sessions against listeners of their own, whose records end with them. */
const batch = (first: number, size: number, certificates: Certificates.Certificates, tally: Tally) =>
  Effect.scoped(
    Effect.gen(function* () {
      const tls = { cert: certificates.certificate, key: certificates.key }
      const scripts = (salt: number, upgrades: boolean) => (index: number) =>
        makeScript(makeRandom(seed + salt * 7919 + first * 31 + index), upgrades)
      const plain = yield* NodeSmtpTest.listen(scripts(1, false))
      const upgrading = yield* NodeSmtpTest.listen(scripts(2, true), { tls })
      const implicit = yield* NodeSmtpTest.listen(scripts(3, false), { tls, mode: "implicit" })
      const memory = yield* SmtpTest.scripted(scripts(4, false))
      const session = (index: number) => {
        const random = makeRandom(seed + index)
        const kind = random.below(20)
        const tlsOptions = { ca: random.chance(0.9) ? certificates.ca : [] }
        if (kind < 4) {
          const inMemory = program(random, { host: "mx.test", tls: "none" }).pipe(
            Effect.provide(memory.layer)
          )
          return disturbed(random, inMemory)
        }
        if (kind < 6)
          return disturbed(random, program(random, { host: "localhost", port: upgrading.port, tlsOptions }))
        if (kind < 7) {
          const { port } = implicit
          return disturbed(random, program(random, { host: "localhost", port, tls: "implicit", tlsOptions }))
        }
        return disturbed(random, program(random, { host: "127.0.0.1", port: plain.port, tls: "none" }))
      }
      yield* Effect.forEach(
        Array.from({ length: size }, (_, index) => first + index),
        (index) => Effect.map(session(index), (exit) => count(tally, exit)),
        { concurrency: atOnce, discard: true }
      )
      // Scripts fail here, whose clients have left: that is what they are for.
      const servers = [plain.server, upgrading.server, implicit.server, memory]
      yield* Effect.forEach(servers, ({ done }) => Effect.ignore(Effect.timeout(done, "5 seconds")))
    })
  )

const soak = Effect.gen(function* () {
  const certificates = yield* Certificates.makeCertificates()
  const tally: Tally = { succeeded: 0, failed: 0, interrupted: 0 }
  const marks = [0.25, 0.5, 0.75, 1].map((part) => Math.ceil(total * part))
  // Code is compiled, and caches are filled, before anything is compared.
  yield* batch(-batchSize, batchSize, certificates, { ...tally })
  const begun = yield* measure(0)
  const figures: Array<Figures> = [begun]
  console.log(`seed ${seed}\n sessions heap MiB  rss MiB   open\n${show(begun)}`)
  for (let first = 0; first < total; first += batchSize) {
    const size = Math.min(batchSize, total - first)
    yield* batch(first, size, certificates, tally)
    if (marks.some((mark) => first < mark && mark <= first + size)) {
      const figure = yield* measure(first + size)
      figures.push(figure)
      console.log(show(figure))
    }
  }
  const { failed, interrupted, succeeded } = tally
  console.log(`${succeeded} sessions succeeded, ${failed} failed, ${interrupted} were interrupted`)
  const problems = figures.slice(1).flatMap((figure) => {
    const left = leftOpen(begun.resources, figure.resources)
    const grown = figure.heap - begun.heap
    const residentGrown = figure.resident - begun.resident
    return [
      ...(Object.keys(left).length > 0 ? [`open after ${figure.sessions}: ${JSON.stringify(left)}`] : []),
      ...(grown > heapBound ? [`the heap has grown by${mebibytes(grown)} MiB after ${figure.sessions}`] : []),
      ...(residentGrown > residentBound
        ? [`the process has grown by${mebibytes(residentGrown)} MiB after ${figure.sessions}`]
        : [])
    ]
  })
  if (succeeded === 0 || failed === 0 || interrupted === 0) problems.push("there was no mixture of sessions")
  for (const problem of problems) console.log(problem)
  console.log(problems.length === 0 ? "flat" : "not flat")
  if (problems.length > 0) process.exitCode = 1
})

if (globalThis.gc === undefined) throw new Error("run it with node --expose-gc, as `npm run soak` does")
// That it is unknown whether a message was accepted is what is meant to happen here.
const quiet = Logger.replace(Logger.defaultLogger, Logger.none)
const layer = Layer.mergeAll(NodeSmtp.layerTransport, CapabilityCache.layerMemory, quiet)
await Effect.runPromise(Effect.provide(soak, layer))
