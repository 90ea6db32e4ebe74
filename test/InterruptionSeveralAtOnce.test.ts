/**
 * Interruption at every step while several messages are on their way at once: what was told against what the server
 * has, and what is left of the session.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Supervisor from "effect/Supervisor"
import type { Content } from "../src/SmtpContent.js"
import type { Receipt } from "../src/SmtpReceipt.js"
import * as SmtpSession from "../src/SmtpSession.js"
import type { Submission } from "../src/SmtpSubmission.js"
import * as SmtpTest from "../src/SmtpTest.js"
import type { Interrupted, Unit } from "./support/stepping.js"
import { atEveryStep } from "./support/stepping.js"
import { octets } from "./SmtpSession/oneSession.js"
import { letter, textOf } from "./SmtpSession/severalAtOnce.js"

const base: SmtpSession.Options = { host: "mx.test", tls: "none", clientName: "client.test" }

const levels: Readonly<Record<string, SmtpSession.Options>> = {
  overlap: { pipelining: "overlap" },
  'overlap, chunking "on"': { pipelining: "overlap", chunking: "on" },
  'chunking "eager"': { chunking: "eager" },
  "a window of two": { chunking: "eager", advanced: { window: { messages: 2 } } }
}

const capabilities = ["PIPELINING", "8BITMIME", "CHUNKING"]

/** Everything that runs in the effect's scope has ended when the scope has. */
const leavingNothing = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const supervisor = yield* Supervisor.track
    const result = yield* Effect.supervised(Effect.scoped(effect), supervisor)
    return { ...result, fibers: (yield* supervisor.value).length }
  })

const opened = (own: SmtpSession.Options) =>
  Effect.gen(function* () {
    const server = yield* SmtpTest.server({ capabilities })
    const smtp = yield* Effect.provide(SmtpSession.make({ ...base, ...own }), server.layer)
    // What comes first goes alone.
    yield* smtp.send(letter("zero"))
    const words = Effect.map(server.messages, (messages) =>
      messages.map(({ source }) => /^Subject: (\w+)\r\n\r\n\1\r\n$/.exec(source)?.[1] ?? `spoilt: ${source}`)
    )
    return { smtp, words }
  })

const streamed = (word: string): Content => {
  const text = textOf(word)
  return Stream.make(octets(text.slice(0, 9)), octets(text.slice(9))).pipe(
    Stream.tap(() => Effect.yieldNow())
  )
}

const count = (words: ReadonlyArray<string>, word: string): number =>
  words.filter((one) => one === word).length

/** What was told of a letter to one against what the server has. */
const liesAbout = (
  words: ReadonlyArray<string>,
  word: string,
  told: ReadonlyArray<Receipt>
): ReadonlyArray<string> => {
  const delivered = count(words, word)
  const tags = told.flatMap(({ outcomes }) => outcomes.map(({ _tag }) => _tag))
  const lies: Array<string> = []
  if (delivered > 1) lies.push("delivered twice")
  if (told.length > 1) lies.push("told twice")
  if (delivered === 1 && (tags.includes("NotSent") || tags.includes("Refused")))
    lies.push("delivered, and denied")
  if (delivered === 0 && tags.includes("Accepted")) lies.push("not delivered, and claimed")
  return lies.map((lie) => `${word}: ${lie}`)
}

interface Own {
  readonly content: (word: string) => Content
  readonly hook: boolean
}

/** Two letters on their way, a third that is interrupted, and a fourth. */
const amongNeighbours = (interrupted: Interrupted, level: SmtpSession.Options, { content, hook }: Own) => {
  const told: Array<Receipt> = []
  return leavingNothing(
    Effect.gen(function* () {
      const { smtp, words } = yield* opened(level)
      const send = (word: string) => smtp.send({ ...letter(word), content: content(word) })
      const before = yield* Effect.forEach(["one", "two"], (word) => Effect.fork(send(word)))
      yield* Effect.yieldNow()
      const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(receipt))
      const own: Submission = {
        ...letter("three"),
        content: content("three"),
        ...(hook ? { onOutcome } : {})
      }
      const { exit, reached } = yield* interrupted(smtp.send(own))
      const last = yield* Effect.exit(smtp.send(letter("four")))
      const exits = [...(yield* Effect.forEach(before, Fiber.await)), last]
      const state = yield* smtp.state
      return { exit, reached, exits, state, told, words: yield* words }
    })
  )
}

type Run = Effect.Effect.Success<ReturnType<typeof amongNeighbours>>

const faultsAmongNeighbours = ({ exit, exits, fibers, state, told, words }: Run): ReadonlyArray<string> => {
  const faults = [...liesAbout(words, "three", told)]
  if (Exit.isSuccess(exit) && count(words, "three") !== 1) faults.push("success without delivery")
  if (Exit.isFailure(exit) && !Exit.isInterrupted(exit)) faults.push("three failed")
  for (const [index, word] of ["one", "two", "four"].entries()) {
    const own = exits[index]
    const delivered = count(words, word)
    const isSuccess = own !== undefined && Exit.isSuccess(own)
    if (delivered !== (isSuccess ? 1 : 0)) faults.push(`${word}: ${delivered} times, ${String(own)}`)
    if (!isSuccess && state !== "Closed") faults.push(`${word} failed, and the session is ${state}`)
  }
  faults.push(...words.filter((word) => word.startsWith("spoilt")))
  if (fibers > 0) faults.push(`${fibers} fibers are left`)
  return faults
}

// An interruption between the last step of a send and the first of its caller takes the result with it, as that of
// any effect.
const unseen = 5

const sweepNeighbours = (unit: Unit, level: SmtpSession.Options, own: Own) =>
  Effect.gen(function* () {
    const faults: Array<string> = []
    let untold = 0
    const steps = yield* atEveryStep(unit, (step, interrupted) =>
      Effect.map(amongNeighbours(interrupted, level, own), (run) => {
        faults.push(...faultsAmongNeighbours(run).map((fault) => `step ${step}: ${fault}`))
        if (Exit.isFailure(run.exit) && run.told.length === 0 && count(run.words, "three") === 1) untold++
        return run
      })
    )
    if (own.hook && untold > unseen) faults.push(`delivered, and nobody told, ${untold} times`)
    return { steps, faults }
  })

describe("a send among others on their way, interrupted at every step", () => {
  const contents: Readonly<Record<string, (word: string) => Content>> = { octets: textOf, streams: streamed }

  for (const [name, level] of Object.entries(levels)) {
    for (const [kind, content] of Object.entries(contents)) {
      // A window changes nothing of what one stream does.
      if (kind === "streams" && level.advanced !== undefined) continue
      it.effect(`leaves them their own outcome and tells the truth: ${name}, ${kind}`, () =>
        Effect.gen(function* () {
          const { faults, steps } = yield* sweepNeighbours("turns", level, { content, hook: true })
          expect(faults).toEqual([])
          expect(steps).toBeGreaterThan(10)
        })
      )
    }
  }

  it.effect("leaves the session to others at every single operation, though no hook is given", () =>
    Effect.gen(function* () {
      const level = { chunking: "eager" } as const
      const { faults, steps } = yield* sweepNeighbours("operations", level, { content: textOf, hook: false })
      expect(faults).toEqual([])
      expect(steps).toBeGreaterThan(50)
    })
  )
})

const words = ["one", "two", "three", "four", "five", "six"]

/** A stream of letters whose reader is interrupted, and a letter after that. */
const inStream = (interrupted: Interrupted, level: SmtpSession.Options) => {
  const hooked = new Map<string, Array<Receipt>>()
  const given = new Map<string, Array<Receipt>>()
  const note = (where: Map<string, Array<Receipt>>, word: string, receipt: Receipt): void => {
    where.set(word, [...(where.get(word) ?? []), receipt])
  }
  return leavingNothing(
    Effect.gen(function* () {
      const session = yield* opened(level)
      const { smtp } = session
      const submissions = Stream.fromIterable(words).pipe(
        Stream.rechunk(2),
        Stream.map((word) => ({
          key: word,
          submission: {
            ...letter(word),
            ...(words.indexOf(word) % 3 === 2 ? { content: streamed(word) } : {}),
            onOutcome: (receipt: Receipt) => Effect.sync(() => note(hooked, word, receipt))
          }
        }))
      )
      const receipts = yield* smtp.sendAll(submissions)
      const reading = Stream.runForEach(receipts, ({ key, receipt }) =>
        Effect.sync(() => note(given, key, receipt))
      )
      const { exit, reached } = yield* interrupted(reading)
      const last = yield* Effect.exit(smtp.send(letter("seven")))
      const state = yield* smtp.state
      return { exit, reached, last, state, hooked, given, words: yield* session.words }
    })
  )
}

type StreamRun = Effect.Effect.Success<ReturnType<typeof inStream>>

const faultsInStream = (run: StreamRun): ReadonlyArray<string> => {
  const faults = words.flatMap((word) =>
    liesAbout(run.words, word, [...(run.given.get(word) ?? []), ...(run.hooked.get(word) ?? [])])
  )
  if (Exit.isSuccess(run.exit) && words.some((word) => run.given.get(word)?.length !== 1))
    faults.push("one is lost")
  if (Exit.isFailure(run.exit) && !Exit.isInterrupted(run.exit)) faults.push("failed")
  if (count(run.words, "seven") !== (Exit.isSuccess(run.last) ? 1 : 0)) faults.push("the last: untrue")
  if (Exit.isFailure(run.last) && run.state !== "Closed")
    faults.push(`an open session failed: ${String(run.last)}`)
  faults.push(...run.words.filter((word) => word.startsWith("spoilt")))
  if (run.fibers > 0) faults.push(`${run.fibers} fibers are left`)
  return faults
}

describe("a stream of messages whose reader is interrupted at every step", () => {
  for (const [name, level] of Object.entries(levels)) {
    it.effect(`tells the truth of every message and leaves the session whole or closed: ${name}`, () =>
      Effect.gen(function* () {
        const faults: Array<string> = []
        const steps = yield* atEveryStep("turns", (step, interrupted) =>
          Effect.map(inStream(interrupted, level), (run) => {
            faults.push(...faultsInStream(run).map((fault) => `step ${step}: ${fault}`))
            return run
          })
        )
        expect(faults).toEqual([])
        expect(steps).toBeGreaterThan(20)
      })
    )
  }
})
