import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Supervisor from "effect/Supervisor"
import * as TestClock from "effect/TestClock"
import type * as SmtpClient from "../../src/SmtpClient.js"
import type { Receipt } from "../../src/SmtpReceipt.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import type { Interrupted } from "../support/stepping.js"
import { atEveryStep } from "../support/stepping.js"
import { ask, goodbye, opened, outcomes, submission } from "../SmtpSession/oneSession.js"
import { joinInTime, makeClient, switchable } from "./client.js"

const settle = TestClock.adjust(0)

const message = (subject: string): string => `Subject: ${subject}\r\n\r\nx\r\n`

/** Whoever has the only session when the message that is to be interrupted asks for one. */
type Before = "nothing was sent" | "a session is idle" | "the session is busy"

interface Run {
  readonly exit: Exit.Exit<Receipt, unknown>
  readonly reached: boolean
  readonly told: ReadonlyArray<Receipt>
  readonly next: ReadonlyArray<string>
  readonly delivered: ReadonlyArray<string>
  readonly open: number
  readonly fibers: number
}

const interruptedSend = (
  interrupted: Interrupted,
  before: Before,
  own: Partial<Submission> = {}
): Effect.Effect<Run, unknown> =>
  Effect.gen(function* () {
    const supervisor = yield* Supervisor.track
    const told: Array<Receipt> = []
    const run = yield* Effect.gen(function* () {
      const server = yield* SmtpTest.server({ capabilities: ["PIPELINING"] })
      const client = yield* makeClient({ "mx.test": server }, { maxSessions: 1 })
      const send = (subject: string, more: Partial<Submission> = {}) =>
        client.deliver({ ...submission, content: message(subject), ...more })
      if (before === "a session is idle") yield* send("before")
      const busy = before === "the session is busy" ? yield* Effect.fork(send("before")) : undefined
      const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(receipt))
      const to = ["b@y.test", "c@y.test"]
      const ended = yield* interrupted(send("first", { to, onOutcome, ...own }))
      const next = outcomes(yield* send("second"))
      if (busy !== undefined) yield* Fiber.join(busy)
      const { open } = yield* client.state
      const delivered = (yield* server.messages).map(({ source }) => source)
      return { ...ended, next, delivered, open }
    }).pipe(Effect.scoped, Effect.supervised(supervisor))
    return { ...run, told, fibers: (yield* supervisor.value).length }
  })

const faultsOf = (run: Run): ReadonlyArray<string> => {
  const faults: Array<string> = []
  const first = run.delivered.filter((text) => text === message("first")).length
  const receipts = Exit.isSuccess(run.exit) ? [...run.told, run.exit.value] : run.told
  const tags = new Set(receipts.flatMap((receipt) => receipt.outcomes.map(({ _tag }) => _tag)))
  if (first > 1) faults.push("delivered twice")
  if (receipts.length > 1) faults.push("told twice")
  if (receipts.some((receipt) => receipt.outcomes.length !== 2)) faults.push("not one outcome for each")
  if (first === 1 && (tags.has("NotSent") || tags.has("Refused"))) faults.push("delivered, and denied")
  if (first === 0 && tags.has("Accepted")) faults.push("not delivered, and claimed")
  if (run.next.join() !== "b@y.test Accepted 250") faults.push(`the next one: ${run.next.join()}`)
  if (run.open > 1) faults.push(`${run.open} sessions are open`)
  if (run.fibers > 0) faults.push(`${run.fibers} fibers are left`)
  return faults
}

const isUntold = (run: Run): boolean => Exit.isFailure(run.exit) && run.told.length === 0

// Between the last step of a send and the first of its caller an interruption takes the result with it, as that of any
// effect.
const unseen = 5

/** Where nobody was told, though the send had begun: the steps before it begins are the first ones. */
const withoutPrefix = (steps: ReadonlyArray<number>): ReadonlyArray<number> =>
  steps.filter((step, index) => step !== index + 1)

describe("a send through a client, interrupted at every step", () => {
  const cases = [
    ["nothing was sent", "turns"],
    ["a session is idle", "operations"],
    ["the session is busy", "operations"]
  ] as const

  for (const [before, unit] of cases) {
    it.effect(
      `tells the truth once, leaves nothing, and serves the next: ${before}`,
      () =>
        Effect.gen(function* () {
          const faults: Array<string> = []
          const untold: Array<number> = []
          const steps = yield* atEveryStep(unit, (step, interrupted) =>
            Effect.map(interruptedSend(interrupted, before), (run) => {
              faults.push(...faultsOf(run).map((fault) => `step ${step}: ${fault}`))
              if (isUntold(run)) untold.push(step)
              if (isUntold(run) && step === untold.length && run.delivered.includes(message("first")))
                faults.push(`step ${step}: delivered before it began`)
              return run
            })
          )
          expect(faults).toEqual([])
          expect(steps).toBeGreaterThan(unit === "turns" ? 20 : 100)
          expect(withoutPrefix(untold).length, `nobody was told at ${untold.join()}`).toBeLessThanOrEqual(
            unseen
          )
        }),
      120_000
    )
  }

  it.effect(
    "tells the truth once, leaves nothing, and serves the next: with a limit of its own",
    () =>
      Effect.gen(function* () {
        const faults: Array<string> = []
        const steps = yield* atEveryStep("turns", (step, interrupted) =>
          Effect.map(interruptedSend(interrupted, "the session is busy", { timeout: "1 minute" }), (run) => {
            faults.push(...faultsOf(run).map((fault) => `step ${step}: ${fault}`))
            return run
          })
        )
        expect(faults).toEqual([])
        expect(steps).toBeGreaterThan(10)
      }),
    120_000
  )
})

describe("a send that is interrupted", () => {
  const hook = () => {
    const told: Array<ReadonlyArray<string>> = []
    return { told, onOutcome: (receipt: Receipt) => Effect.sync(() => told.push(outcomes(receipt))) }
  }

  const interruptWhen = (
    client: SmtpClient.Service,
    own: Partial<Submission>,
    wait: Effect.Effect<unknown>
  ) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(client.deliver({ ...submission, ...own }))
      yield* wait
      yield* Fiber.interrupt(fiber)
    })

  it.scoped("while it waits for a session was not sent, and its hook hears so", () =>
    Effect.gen(function* () {
      const { onOutcome, told } = hook()
      const { socket, state } = switchable(yield* SmtpTest.server())
      state.isDown = true
      const client = yield* makeClient({ "mx.test": { socket } }, { retry: "briefly" })
      yield* interruptWhen(client, { onOutcome }, TestClock.adjust(100))
      expect(told).toEqual([["b@y.test NotSent ConnectError"]])
      const never = yield* makeClient({ "mx.test": { socket: { dial: () => Effect.never } } })
      yield* interruptWhen(never, { onOutcome }, settle)
      expect(told.slice(1)).toEqual([["b@y.test NotSent ServerDisconnected idle"]])
    })
  )

  it.scoped("after its last octet may have been delivered: the hook hears the reply", () =>
    Effect.gen(function* () {
      const { onOutcome, told } = hook()
      const complete = yield* Effect.makeLatch()
      const server = yield* SmtpTest.scripted([
        SmtpTest.script(
          opened(),
          ask(/^MAIL/, "250 ok"),
          ask(/^RCPT/, "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectContent(submission.content),
          SmtpTest.effect(complete.open),
          SmtpTest.delay("3 seconds"),
          SmtpTest.reply("250 2.0.0 queued as 17"),
          ask("NOOP", "250 ok"),
          goodbye
        )
      ])
      const client = yield* makeClient({ "mx.test": server })
      yield* interruptWhen(client, { onOutcome }, complete.await)
      expect(told).toEqual([])
      expect(yield* client.state).toMatchObject({ open: 1, idle: 0 })
      yield* TestClock.adjust("3 seconds")
      expect(told).toEqual([["b@y.test Accepted 250"]])
      expect(yield* client.state).toMatchObject({ open: 1, idle: 1 })
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("by its own content tells its hook once, and its session serves the next message", () =>
    Effect.gen(function* () {
      const { onOutcome, told } = hook()
      const server = yield* SmtpTest.server({ capabilities: ["PIPELINING", "CHUNKING"] })
      const client = yield* makeClient({ "mx.test": server }, { maxSessions: 1 })
      const content = Stream.concat(
        Stream.make(new TextEncoder().encode("Subject: x\r\n")),
        Stream.fromEffect(Effect.interrupt)
      )
      const exit = yield* Effect.exit(client.deliver({ ...submission, content, onOutcome }))
      expect(Exit.isInterrupted(exit)).toBe(true)
      expect(outcomes(yield* client.deliver(submission))).toEqual(["b@y.test Accepted 250"])
      expect(told).toEqual([["b@y.test NotSent ServerDisconnected idle"]])
      expect(yield* client.state).toMatchObject({ open: 1, idle: 1 })
    })
  )

  it.scoped("between two attempts tells what the first came to", () =>
    Effect.gen(function* () {
      const { onOutcome, told } = hook()
      const server = yield* SmtpTest.server({
        accept: ({ address }) => (address === "b@y.test" ? "450 4.2.0 later" : undefined)
      })
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      yield* interruptWhen(
        client,
        { to: ["b@y.test", "c@y.test"], onOutcome },
        TestClock.adjust("10 seconds")
      )
      expect(told).toEqual([["b@y.test Refused 450 rcpt", "c@y.test Accepted 250"]])
    })
  )

  it.scoped("in a later attempt tells of everybody", () =>
    Effect.gen(function* () {
      const { onOutcome, told } = hook()
      const again = yield* Effect.makeLatch()
      const envelope = SmtpTest.script(ask(/^MAIL/, "250 ok"), ask("RCPT TO:<b@y.test>", "450 later"))
      const server = yield* SmtpTest.scripted([
        SmtpTest.script(
          opened(),
          envelope,
          ask("RCPT TO:<c@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectContent(submission.content),
          SmtpTest.reply("250 ok"),
          SmtpTest.expect(/^MAIL/),
          SmtpTest.effect(again.open),
          SmtpTest.delay("1 second"),
          SmtpTest.reply("250 ok"),
          ask("RSET", "250 ok"),
          ask("NOOP", "250 ok"),
          goodbye
        )
      ])
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted", idleTimeout: "1 hour" })
      const wait = Effect.zipRight(TestClock.adjust("1 minute"), again.await)
      yield* interruptWhen(client, { to: ["b@y.test", "c@y.test"], onOutcome }, wait)
      yield* TestClock.adjust("1 second")
      expect(told).toEqual([["b@y.test Refused 450 rcpt", "c@y.test Accepted 250"]])
      yield* client.close
      yield* server.done
    })
  )

  it.scoped(
    "costs no message its outcome that shares the session, however long the server takes for it",
    () =>
      Effect.gen(function* () {
        const isThere = yield* Effect.makeLatch()
        const server = yield* SmtpTest.scripted([
          SmtpTest.script(
            opened("PIPELINING"),
            ask(/^MAIL/, "250 ok"),
            ask(/^RCPT/, "250 ok"),
            ask("DATA", "354 go"),
            SmtpTest.expectContent(submission.content),
            SmtpTest.effect(isThere.open),
            SmtpTest.delay("1 minute"),
            SmtpTest.reply("250 ok"),
            ask("NOOP", "250 ok"),
            goodbye
          )
        ])
        const client = yield* makeClient({ "mx.test": server }, { pipelining: "overlap", maxSessions: 1 })
        const neighbour = yield* Effect.fork(client.deliver(submission))
        yield* isThere.await
        const gone = yield* Effect.fork(client.deliver(submission))
        yield* settle
        yield* Fiber.interruptFork(gone)
        expect(outcomes(yield* joinInTime(neighbour, "1 second"))).toEqual(["b@y.test Accepted 250"])
      })
  )
})
