import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Supervisor from "effect/Supervisor"
import * as TestClock from "effect/TestClock"
import * as SmtpAuth from "../src/SmtpAuth.js"
import type { Content } from "../src/SmtpContent.js"
import type { Receipt } from "../src/SmtpReceipt.js"
import * as SmtpSession from "../src/SmtpSession.js"
import type { Submission } from "../src/SmtpSubmission.js"
import * as SmtpTest from "../src/SmtpTest.js"
import type { Interrupted, Unit } from "./support/stepping.js"
import { counting } from "./support/dials.js"
import { atEveryStep } from "./support/stepping.js"
import {
  ask,
  goodbye,
  inTransaction,
  octets,
  opened,
  outcomes,
  silentEnd,
  withSession
} from "./SmtpSession/oneSession.js"

const options: SmtpSession.Options = { host: "mx.test", tls: "none", clientName: "client.test" }

const capabilities = ["PIPELINING", "8BITMIME"]

const text = (octets: Uint8Array): string => new TextDecoder().decode(octets)

/** Everything that runs in the effect's scope has ended when the scope has. */
const leavingNothing = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const supervisor = yield* Supervisor.track
    const result = yield* Effect.supervised(Effect.scoped(effect), supervisor)
    const left = yield* supervisor.value
    return { ...result, fibers: left.length }
  })

interface Run {
  readonly exit: Exit.Exit<unknown, unknown>
  readonly reached: boolean
  readonly told: ReadonlyArray<Receipt>
  readonly second: Exit.Exit<Receipt, SmtpSession.SendError>
  readonly state: SmtpSession.State
  readonly messages: ReadonlyArray<string>
  readonly transcript: string
  readonly fibers: number
}

const firstText = "Subject: first\r\n\r\n.one\r\ntwo\r\n"
const secondText = "Subject: second\r\n\r\nthree\r\n"

type Own = Partial<Submission> & { readonly pipelining: "off" | "envelope" | "data" }

/** One send that is interrupted, another one after it, and what server and hook have to say. */
const interruptedSend = (
  interrupted: Interrupted,
  content: Content,
  { pipelining, ...submission }: Own
): Effect.Effect<Run, SmtpSession.SetupError> => {
  const told: Array<Receipt> = []
  return leavingNothing(
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ capabilities })
      const smtp = yield* Effect.provide(SmtpSession.make({ ...options, pipelining }), server.layer)
      const first = yield* interrupted(
        smtp.send({
          from: "a@x.test",
          to: ["b@y.test", "c@y.test"],
          content,
          onOutcome: (receipt) => Effect.sync(() => told.push(receipt)),
          ...submission
        })
      )
      const second = yield* Effect.exit(smtp.send({ from: "a@x.test", to: "d@y.test", content: secondText }))
      const state = yield* smtp.state
      const messages = (yield* server.messages).map((message) => text(message.content))
      return { ...first, told, second, state, messages, transcript: yield* server.transcript }
    })
  )
}

const count = (texts: ReadonlyArray<string>, one: string): number =>
  texts.filter((each) => each === one).length

/** What was told against what the server has: what is not true. */
const liesAboutFirst = (run: Run, content: string): ReadonlyArray<string> => {
  const delivered = count(run.messages, content)
  const tags = new Set(run.told.flatMap(({ outcomes }) => outcomes.map(({ _tag }) => _tag)))
  const lies: Array<string> = []
  if (delivered > 1) lies.push("delivered twice")
  if (run.told.length > 1) lies.push("told twice")
  if (run.told.some(({ outcomes }) => outcomes.length !== 2)) lies.push("not one outcome for each recipient")
  if (delivered === 1 && (tags.has("NotSent") || tags.has("Refused"))) lies.push("delivered, and denied")
  if (delivered === 0 && (tags.has("Accepted") || tags.has("Unknown")))
    lies.push("not delivered, and claimed")
  if (Exit.isSuccess(run.exit) && delivered !== 1) lies.push("success without delivery")
  if (Exit.isFailure(run.exit) && !Exit.isInterrupted(run.exit)) lies.push("failed")
  return lies
}

/** What is wrong with the session that the interruption left behind. */
const faultsAfter = (run: Run, content: string): ReadonlyArray<string> => {
  const faults: Array<string> = []
  const delivered = count(run.messages, secondText)
  if (run.messages.length !== count(run.messages, content) + delivered)
    faults.push("a spoilt message arrived")
  if (Exit.isSuccess(run.second) && delivered !== 1) faults.push("the second success without delivery")
  if (Exit.isFailure(run.second)) {
    if (delivered !== 0) faults.push("the second was delivered, and failed")
    if (run.state !== "Closed") faults.push("an open session failed")
    // Only where content was owed does the session have to go.
    if (!run.transcript.includes("S: 354")) faults.push("closed without need")
  }
  if (run.fibers > 0) faults.push(`${run.fibers} fibers are left`)
  return faults
}

// An interruption between the last step of a send and the first of its caller takes the result with it, as that of
// any effect.
const unseen = 5

// Nor has a send begun that is interrupted in its first steps, with its hook still to be taken hold of.
const unbegun = 14

const faultsAtEveryStep = (unit: Unit, content: () => Content, expected: string, own: Own) =>
  Effect.gen(function* () {
    const faults: Array<string> = []
    const untold: Array<number> = []
    const steps = yield* atEveryStep(unit, (step, interrupted) =>
      Effect.map(interruptedSend(interrupted, content(), own), (run) => {
        const found = [...liesAboutFirst(run, expected), ...faultsAfter(run, expected)]
        faults.push(...found.map((fault) => `step ${step}: ${fault}`))
        const isUntold = Exit.isFailure(run.exit) && run.told.length === 0
        if (isUntold && step >= unbegun) untold.push(step)
        return run
      })
    )
    if (untold.length > unseen) faults.push(`nobody was told at ${untold.join(", ")}`)
    return { steps, faults }
  })

const pipelinings = ["off", "envelope", "data"] as const

const stream = (...parts: ReadonlyArray<string>): Content =>
  Stream.fromIterable(parts.map(octets)).pipe(Stream.tap(() => Effect.yieldNow()))

describe("send, interrupted at every step", () => {
  for (const pipelining of pipelinings) {
    it.effect(
      `tells the truth and leaves the session whole or closed: octets, pipelining "${pipelining}"`,
      () =>
        Effect.gen(function* () {
          const { faults, steps } = yield* faultsAtEveryStep("operations", () => firstText, firstText, {
            pipelining
          })
          expect(faults).toEqual([])
          expect(steps).toBeGreaterThan(100)
        }),
      60_000
    )

    it.effect(
      `tells the truth and leaves the session whole or closed: a stream, pipelining "${pipelining}"`,
      () =>
        Effect.gen(function* () {
          const parts = ["Subject: first\r\n", "\r\n.one\r\n", "two\r\n"]
          const content = () => stream(...parts)
          const { faults, steps } = yield* faultsAtEveryStep("turns", content, firstText, { pipelining })
          expect(faults).toEqual([])
          expect(steps).toBeGreaterThan(20)
        }),
      60_000
    )
  }

  it.effect(
    "tells the truth and leaves the session whole or closed: a stream of several blocks",
    () =>
      Effect.gen(function* () {
        const parts = ["Subject: long\r\n\r\n", ...Array.from({ length: 4 }, () => "x".repeat(58) + "\r\n")]
        const long = parts.map((part) => part.repeat(1000))
        const content = () => stream(...long)
        const { faults, steps } = yield* faultsAtEveryStep("turns", content, long.join(""), {
          pipelining: "data"
        })
        expect(faults).toEqual([])
        expect(steps).toBeGreaterThan(20)
      }),
    60_000
  )

  it.effect(
    "tells the truth and leaves the session whole or closed: with a time limit of its own",
    () =>
      Effect.gen(function* () {
        const own = { pipelining: "data", timeout: "1 minute" } as const
        const { faults, steps } = yield* faultsAtEveryStep("turns", () => firstText, firstText, own)
        expect(faults).toEqual([])
        expect(steps).toBeGreaterThan(10)
      }),
    60_000
  )
})

describe("a session, after every step at which one of its commands can be interrupted", () => {
  type Use = (smtp: SmtpSession.Service) => Effect.Effect<unknown, unknown>

  const secrets = SmtpAuth.password({ username: "app", password: Redacted.make("secret") })

  const commands: Readonly<Record<string, { readonly use: Use; readonly mayClose: boolean }>> = {
    noop: { use: (smtp) => smtp.noop, mayClose: false },
    ehlo: { use: (smtp) => smtp.ehlo, mayClose: false },
    "mail, rcpt and data by hand": {
      use: (smtp) =>
        smtp.mail("a@x.test").pipe(
          Effect.zipRight(smtp.rcpt("b@y.test")),
          Effect.zipRight(smtp.data(firstText)),
          Effect.onInterrupt(() => Effect.ignore(smtp.rset))
        ),
      mayClose: true
    },
    transaction: {
      use: (smtp) =>
        inTransaction(smtp, ({ data, rcpt }) => Effect.zipRight(rcpt("b@y.test"), data(firstText))),
      mayClose: true
    },
    group: { use: (smtp) => inTransaction(smtp, ({ rcpt }) => rcpt("b@y.test")), mayClose: false },
    startTls: { use: (smtp) => smtp.startTls, mayClose: true },
    authenticate: { use: (smtp) => smtp.authenticate(secrets), mayClose: true }
  }

  for (const [name, { mayClose, use }] of Object.entries(commands)) {
    it.effect(
      `serves the next send or says that it is closed: ${name}`,
      () =>
        Effect.gen(function* () {
          const faults: Array<string> = []
          yield* atEveryStep("operations", (step, interrupted) =>
            leavingNothing(
              Effect.gen(function* () {
                const server = yield* SmtpTest.server()
                const own = { ...options, allowInsecureAuth: true }
                const smtp = yield* Effect.provide(SmtpSession.connect(own), server.layer)
                yield* smtp.ehlo
                const { exit, reached } = yield* interrupted(use(smtp))
                const next = yield* Effect.exit(
                  smtp.send({ from: "a@x.test", to: "d@y.test", content: secondText })
                )
                const state = yield* smtp.state
                const messages = (yield* server.messages).map(({ content }) => text(content))
                return { exit, reached, next, state, messages }
              })
            ).pipe(
              Effect.map((run) => {
                const found: Array<string> = []
                if (Exit.isFailure(run.exit) && !Exit.isInterrupted(run.exit)) found.push(String(run.exit))
                if (run.messages.some((message) => message !== firstText && message !== secondText)) {
                  found.push("a spoilt message arrived")
                }
                if (count(run.messages, secondText) !== (Exit.isSuccess(run.next) ? 1 : 0))
                  found.push("untrue")
                if (Exit.isFailure(run.next) && !(mayClose && run.state === "Closed")) {
                  found.push(`${run.state}: ${String(run.next)}`)
                }
                if (run.fibers > 0) found.push(`${run.fibers} fibers are left`)
                faults.push(...found.map((fault) => `step ${step}: ${fault}`))
                return run
              })
            )
          )
          expect(faults).toEqual([])
        }),
      60_000
    )
  }

  const making = ["C: EHLO client.test", "C: STARTTLS", "C: EHLO client.test", "C: AUTH PLAIN"]

  /** What the client said is a beginning of what leads to a session, and QUIT at most behind it. */
  const isBeginning = (transcript: string): boolean => {
    const said = transcript.split("\n").filter((line) => line.startsWith("C: "))
    const before = said.at(-1) === "C: QUIT" ? said.slice(0, -1) : said
    return before.every((line, index) => line.startsWith(making[index] ?? "nothing"))
  }

  it.effect(
    "leaves nothing when it was being made",
    () =>
      Effect.gen(function* () {
        const faults: Array<string> = []
        const own: SmtpSession.Options = { ...options, tls: "starttls", auth: secrets }
        const steps = yield* atEveryStep("operations", (step, interrupted) =>
          leavingNothing(
            Effect.gen(function* () {
              const server = yield* SmtpTest.server()
              const { dials, transport } = counting(yield* Layer.build(server.layer))
              const made = Effect.scoped(Effect.provide(SmtpSession.make(own), transport))
              const { reached } = yield* interrupted(made)
              yield* Effect.repeatN(Effect.yieldNow(), 20)
              return { reached, connections: dials().open, transcript: yield* server.transcript }
            })
          ).pipe(
            Effect.map((run) => {
              if (run.fibers > 0) faults.push(`step ${step}: ${run.fibers} fibers are left`)
              if (run.connections > 0) faults.push(`step ${step}: the connection is left`)
              if (!isBeginning(run.transcript)) faults.push(`step ${step}: ${run.transcript}`)
              return run
            })
          )
        )
        expect(faults).toEqual([])
        expect(steps).toBeGreaterThan(100)
      }),
    60_000
  )
})

describe("sends of many fibers on one session", () => {
  it.effect.each(pipelinings)(
    'keep their order and their own outcomes, whichever is interrupted, and when: pipelining "%s"',
    (pipelining) =>
      Effect.gen(function* () {
        const faults: Array<string> = []
        const letters = ["one", "two", "three", "four"]
        const send = (smtp: SmtpSession.Service, letter: string) =>
          smtp.send({ from: "a@x.test", to: `${letter}@y.test`, content: letter })
        const steps = yield* atEveryStep("turns", (step, interrupted) =>
          leavingNothing(
            Effect.gen(function* () {
              const server = yield* SmtpTest.server({ capabilities })
              const smtp = yield* Effect.provide(SmtpSession.make({ ...options, pipelining }), server.layer)
              const before = yield* Effect.forEach(["one", "two"], (letter) =>
                Effect.fork(send(smtp, letter))
              )
              yield* Effect.yieldNow()
              const { exit, reached } = yield* interrupted(
                Effect.zipRight(Effect.yieldNow(), send(smtp, "three"))
              )
              const last = yield* Effect.exit(send(smtp, "four"))
              const exits = [...(yield* Effect.forEach(before, Fiber.await)), last]
              const messages = (yield* server.messages).map(({ content }) => text(content).trim())
              return { exit, reached, exits, messages, transcript: yield* server.transcript }
            })
          ).pipe(
            Effect.map((run) => {
              const order = run.messages.map((message) => letters.indexOf(message))
              if (!order.every((place, index) => index === 0 || place > (order[index - 1] ?? -1))) {
                faults.push(`step ${step}: ${run.messages.join(", ")}`)
              }
              for (const [index, letter] of ["one", "two", "four"].entries()) {
                const exit = run.exits[index]
                const delivered = count(run.messages, letter)
                if (delivered !== (exit !== undefined && Exit.isSuccess(exit) ? 1 : 0)) {
                  faults.push(`step ${step}: ${letter}, ${delivered} times: ${String(exit)}`)
                }
              }
              if (run.messages.indexOf("one") !== 0 || run.messages.indexOf("two") !== 1) {
                faults.push(`step ${step}: somebody else's message suffered`)
              }
              if (run.fibers > 0) faults.push(`step ${step}: ${run.fibers} fibers are left`)
              return run
            })
          )
        )
        expect(faults).toEqual([])
        expect(steps).toBeGreaterThan(20)
      }),
    60_000
  )
})

type Gate = Deferred.Deferred<undefined>

const makeGate = Deferred.make<undefined>()

const sending = (smtp: SmtpSession.Service, own: Partial<Submission> = {}) =>
  smtp.send({ from: "a@x.test", to: "b@y.test", content: firstText, ...own })

/** Runs the send until the server's script has come to the gate, and interrupts it there. */
const interruptAt = (
  gate: Gate,
  send: Effect.Effect<unknown, unknown>
): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(send)
    yield* Deferred.await(gate)
    return yield* Fiber.interrupt(fiber)
  })

const reached = (gate: Gate) => SmtpTest.effect(Deferred.succeed(gate, undefined))

const begun = SmtpTest.script(
  SmtpTest.expect("MAIL FROM:<a@x.test> SIZE=29"),
  SmtpTest.expect("RCPT TO:<b@y.test>"),
  SmtpTest.expect("DATA")
)

const opens = opened("PIPELINING", "SIZE")

const next = SmtpTest.script(
  SmtpTest.expectGroup("MAIL FROM:<a@x.test> SIZE=26", "RCPT TO:<d@y.test>", "DATA"),
  SmtpTest.reply("250 ok"),
  SmtpTest.reply("250 ok"),
  SmtpTest.reply("354 go"),
  SmtpTest.expectContent(secondText),
  SmtpTest.reply("250 second")
)

const sendNext = (smtp: SmtpSession.Service) =>
  smtp.send({ from: "a@x.test", to: "d@y.test", content: secondText })

describe("a send that is given up before its turn", () => {
  const busy = SmtpTest.script(
    opens,
    begun,
    SmtpTest.reply("250 ok"),
    SmtpTest.reply("250 ok"),
    SmtpTest.reply("354 go"),
    SmtpTest.expectContent(firstText),
    SmtpTest.reply("250 first", { delay: "1 minute" }),
    goodbye
  )

  const hooked = (
    use: (second: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown>,
    own: Partial<Submission> = {}
  ) =>
    Effect.gen(function* () {
      const told: Array<Receipt> = []
      const second = { ...own, onOutcome: (receipt: Receipt) => Effect.sync(() => told.push(receipt)) }
      yield* withSession(busy, (smtp) =>
        Effect.gen(function* () {
          const first = yield* Effect.fork(sending(smtp))
          yield* TestClock.adjust("1 second")
          yield* use(sending(smtp, second))
          yield* TestClock.adjust("1 minute")
          expect((yield* Fiber.join(first)).accepted).toHaveLength(1)
        })
      )
      return told.map(outcomes)
    })

  const interruptedAfterASecond = (send: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(send)
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
    })

  const notSent = [["b@y.test NotSent ServerDisconnected idle"]]

  it.effect("tells its hook once that it was not sent: during its turn", () =>
    Effect.map(hooked(interruptedAfterASecond), (told) => expect(told).toEqual(notSent))
  )

  it.effect("tells its hook once that it was not sent: with its stream still to give an octet", () =>
    Effect.map(hooked(interruptedAfterASecond, { content: Stream.never }), (told) =>
      expect(told).toEqual(notSent)
    )
  )

  it.effect("tells its hook nothing when it times out: its receipt says all there is to know", () =>
    Effect.map(
      hooked(
        (send) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(Effect.flip(send))
            yield* TestClock.adjust("1 second")
            expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "ReplyTimeout", phase: "idle" })
          }),
        { timeout: "1 second" }
      ),
      (told) => expect(told).toEqual([])
    )
  )
})

describe("rule 19: what an interrupted send puts on the wire", () => {
  it.effect("is RSET, once, when DATA was refused, and the session lives", () =>
    Effect.gen(function* () {
      const gate = yield* makeGate
      const script = SmtpTest.script(
        opens,
        begun,
        reached(gate),
        SmtpTest.reply("250 ok", { delay: "1 second" }),
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("451 not now"),
        ask("RSET", "250 ok"),
        next,
        goodbye
      )
      yield* withSession(script, (smtp) =>
        Effect.gen(function* () {
          yield* interruptAt(gate, sending(smtp))
          const after = yield* Effect.fork(sendNext(smtp))
          yield* TestClock.adjust("1 second")
          expect((yield* Fiber.join(after)).accepted).toHaveLength(1)
        })
      )
    })
  )

  it.effect("is a single dot when 354 came with nobody accepted, and the session lives", () =>
    Effect.gen(function* () {
      const gate = yield* makeGate
      const script = SmtpTest.script(
        opens,
        begun,
        reached(gate),
        SmtpTest.reply("250 ok", { delay: "1 second" }),
        SmtpTest.reply("550 no"),
        SmtpTest.reply("354 go"),
        SmtpTest.expectContent(""),
        SmtpTest.reply("250 accepted, of all things"),
        next,
        goodbye
      )
      const told: Array<Receipt> = []
      yield* withSession(script, (smtp) =>
        Effect.gen(function* () {
          yield* interruptAt(
            gate,
            sending(smtp, { onOutcome: (receipt) => Effect.sync(() => told.push(receipt)) })
          )
          const after = yield* Effect.fork(sendNext(smtp))
          yield* TestClock.adjust("1 second")
          expect((yield* Fiber.join(after)).accepted).toHaveLength(1)
        })
      )
      expect(told.map(outcomes)).toEqual([["b@y.test Refused 550 rcpt"]])
    })
  )

  it.effect("is nothing more when 354 came with somebody accepted: neither a dot nor RSET", () =>
    Effect.gen(function* () {
      const gate = yield* makeGate
      const script = SmtpTest.script(
        opens,
        begun,
        reached(gate),
        SmtpTest.reply("250 ok", { delay: "1 second" }),
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("354 go"),
        silentEnd
      )
      const told: Array<Receipt> = []
      yield* withSession(script, (smtp) =>
        Effect.gen(function* () {
          yield* interruptAt(
            gate,
            sending(smtp, { onOutcome: (receipt) => Effect.sync(() => told.push(receipt)) })
          )
          const after = yield* Effect.fork(Effect.flip(sendNext(smtp)))
          yield* TestClock.adjust("1 second")
          const error = yield* Fiber.join(after)
          expect(error._tag).toBe("ServerDisconnected")
          expect(yield* smtp.state).toBe("Closed")
        })
      )
      expect(told.map(outcomes)).toEqual([["b@y.test NotSent ServerDisconnected content"]])
    })
  )

  it.effect("is nothing more in the middle of content", () =>
    Effect.gen(function* () {
      const gate = yield* makeGate
      const script = SmtpTest.script(
        opened("PIPELINING", "8BITMIME"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test> BODY=8BITMIME", "RCPT TO:<b@y.test>", "DATA"),
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("354 go"),
        SmtpTest.expectOctets(65_536),
        reached(gate),
        SmtpTest.expectEnd
      )
      const block = octets("x".repeat(65_534) + "\r\n")
      const endless = Stream.concat(Stream.make(block, block), Stream.never)
      const told: Array<Receipt> = []
      yield* withSession(script, (smtp) =>
        Effect.gen(function* () {
          const own: Partial<Submission> = {
            content: endless,
            onOutcome: (receipt) => Effect.sync(() => told.push(receipt))
          }
          yield* interruptAt(gate, sending(smtp, own))
          expect(yield* smtp.state).toBe("Closed")
        })
      )
      expect(told.map(outcomes)).toEqual([["b@y.test NotSent ServerDisconnected content"]])
    })
  )

  it.effect("is nothing of a complete message, whose outcome reaches the hook, and the session lives", () =>
    Effect.gen(function* () {
      const gate = yield* makeGate
      const script = SmtpTest.script(
        opens,
        begun,
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("354 go"),
        SmtpTest.expectContent(firstText),
        reached(gate),
        SmtpTest.reply("250 first", { delay: "9 minutes" }),
        next,
        goodbye
      )
      const told: Array<Receipt> = []
      yield* withSession(script, (smtp) =>
        Effect.gen(function* () {
          yield* interruptAt(
            gate,
            sending(smtp, { onOutcome: (receipt) => Effect.sync(() => told.push(receipt)) })
          )
          expect(told).toEqual([])
          const after = yield* Effect.fork(sendNext(smtp))
          yield* TestClock.adjust("9 minutes")
          expect((yield* Fiber.join(after)).accepted).toHaveLength(1)
        })
      )
      expect(told.map(outcomes)).toEqual([["b@y.test Accepted 250"]])
    })
  )

  it.effect("is nothing at all while it waits for its turn", () =>
    Effect.gen(function* () {
      const gate = yield* makeGate
      const script = SmtpTest.script(
        opens,
        SmtpTest.expect("NOOP"),
        reached(gate),
        SmtpTest.reply("250 ok", { delay: "1 second" }),
        next,
        goodbye
      )
      yield* withSession(script, (smtp) =>
        Effect.gen(function* () {
          const noop = yield* Effect.fork(smtp.noop)
          const waiting = yield* Effect.fork(sending(smtp))
          const after = yield* Effect.fork(sendNext(smtp))
          yield* Deferred.await(gate)
          yield* Fiber.interrupt(waiting)
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(noop)
          expect((yield* Fiber.join(after)).accepted).toHaveLength(1)
        })
      )
    })
  )

  it.effect("has to be answered in ten seconds, or the session ends", () =>
    Effect.gen(function* () {
      const gate = yield* makeGate
      const script = SmtpTest.script(opens, SmtpTest.expect("NOOP"), reached(gate), silentEnd)
      yield* withSession(script, (smtp) =>
        Effect.gen(function* () {
          yield* interruptAt(gate, smtp.noop)
          yield* TestClock.adjust(Duration.millis(9_999))
          expect(yield* smtp.state).not.toBe("Closed")
          yield* TestClock.adjust(Duration.millis(1))
          expect(yield* smtp.state).toBe("Closed")
        })
      )
    })
  )
})

describe("content that does not come to its end", () => {
  const script = SmtpTest.script(
    opened("PIPELINING", "8BITMIME"),
    SmtpTest.expectGroup("MAIL FROM:<a@x.test> BODY=8BITMIME", "RCPT TO:<b@y.test>", "DATA"),
    SmtpTest.reply("250 ok"),
    SmtpTest.reply("250 ok"),
    SmtpTest.reply("354 go"),
    SmtpTest.expectOctets(65_536),
    SmtpTest.expectEnd
  )
  const block = octets("x".repeat(65_534) + "\r\n")
  const beginning = Stream.make(block, block)

  it.effect("fails the send with the stream's own error, and destroys the connection", () =>
    withSession(script, (smtp) =>
      Effect.gen(function* () {
        const content = Stream.concat(beginning, Stream.fail("no paper" as const))
        const error = yield* Effect.flip(smtp.send({ from: "a@x.test", to: "b@y.test", content }))
        expect(error).toBe("no paper")
        expect(yield* smtp.state).toBe("Closed")
      })
    )
  )

  it.effect("dies with the stream's own defect, and destroys the connection", () =>
    withSession(script, (smtp) =>
      Effect.gen(function* () {
        const content = Stream.concat(beginning, Stream.die("defect"))
        const exit = yield* Effect.exit(smtp.send({ from: "a@x.test", to: "b@y.test", content }))
        expect(exit).toMatchObject({ cause: { _tag: "Die", defect: "defect" } })
        expect(yield* smtp.state).toBe("Closed")
      })
    )
  )

  it.effect("is interrupted with a stream that interrupts itself, and destroys the connection", () =>
    withSession(script, (smtp) =>
      Effect.gen(function* () {
        const content = Stream.concat(beginning, Stream.fromEffect(Effect.interrupt))
        const exit = yield* Effect.exit(smtp.send({ from: "a@x.test", to: "b@y.test", content }))
        expect(Exit.isInterrupted(exit)).toBe(true)
        expect(yield* smtp.state).toBe("Closed")
      })
    )
  )
})
