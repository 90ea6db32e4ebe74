/**
 * Every level of pipelining and chunking against a real server: messages of all kinds at once over one session, and
 * what the client says of each against what the server has.
 */
import { expect } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SmtpContent from "../../src/SmtpContent.js"
import type * as SmtpReceipt from "../../src/SmtpReceipt.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import { expectOctets } from "./conformance.js"
import type { Running } from "./running.js"
import { bob, busyRecipient, refusedField, unknownRecipient, user } from "./running.js"

/** The options of each level, by its name. */
export const levels: Readonly<
  Record<string, Pick<SmtpSession.Options, "pipelining" | "chunking" | "advanced">>
> = {
  off: { pipelining: "off" },
  envelope: { pipelining: "envelope" },
  data: { pipelining: "data" },
  overlap: { pipelining: "overlap" },
  "overlap without RSET": { pipelining: "overlap", advanced: { resetBetween: false } },
  "chunking on": { chunking: "on" },
  "overlap and chunking on": { pipelining: "overlap", chunking: "on" },
  eager: { chunking: "eager" }
}

type Kind = "octets" | "stream" | "large" | "unknown" | "busy" | "spam"

/** In this order over and over: what is refused stands between what is not. */
const kinds: ReadonlyArray<Kind> = [
  "octets",
  "stream",
  "unknown",
  "octets",
  "spam",
  "octets",
  "busy",
  "stream",
  "spam",
  "unknown",
  "large",
  "octets"
]

interface Letter {
  readonly kind: Kind
  readonly recipient: string
  readonly octets: Uint8Array
  readonly submission: Submission
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

const line = `${".line ".padEnd(76, "x")}\r\n`

const inThree = (octets: Uint8Array): SmtpContent.Content =>
  SmtpContent.replayable(
    Stream.fromChunk(Chunk.make(octets.subarray(0, 10), octets.subarray(10, 30), octets.subarray(30))).pipe(
      Stream.rechunk(1),
      Stream.tap(() => Effect.yieldNow())
    )
  )

const letterOf = (number: number): Letter => {
  const kind = kinds[number % kinds.length] ?? "octets"
  const recipient = user(number)
  const field = kind === "spam" ? `${refusedField}\r\n` : ""
  const body = kind === "large" ? line.repeat(10_000) : `.dots of ${number}\r\n`
  const octets = encode(`From: <${bob}>\r\nSubject: ${number}\r\n${field}\r\n${body}`)
  const to = kind === "unknown" ? unknownRecipient : kind === "busy" ? busyRecipient : recipient
  const content = kind === "stream" || kind === "large" ? inThree(octets) : octets
  return { kind, recipient, octets, submission: { from: bob, to, content } }
}

const isMeantToArrive = ({ kind }: Letter): boolean => !["unknown", "busy", "spam"].includes(kind)

/** Half of the letters as a stream, half by a fiber each. */
const sendThem = (session: SmtpSession.Service, letters: ReadonlyArray<Letter>) =>
  Effect.gen(function* () {
    const told = new Map<Letter, SmtpReceipt.Outcome>()
    const note = (letter: Letter, { outcomes }: SmtpReceipt.Receipt): void => {
      expect(outcomes.length).toBe(1)
      expect(told.has(letter)).toBe(false)
      const [outcome] = outcomes
      told.set(letter, outcome)
    }
    const half = Math.ceil(letters.length / 2)
    const receipts = yield* session.sendAll(
      Stream.fromIterable(letters.slice(0, half)).pipe(
        Stream.map((letter) => ({ key: letter, submission: letter.submission }))
      )
    )
    yield* Stream.runForEach(receipts, ({ key, receipt }) => Effect.sync(() => note(key, receipt)))
    yield* Effect.forEach(
      letters.slice(half),
      (letter) => Effect.map(session.deliver(letter.submission), (receipt) => note(letter, receipt)),
      { concurrency: "unbounded", discard: true }
    )
    expect(told.size).toBe(letters.length)
    return told
  })

const expectArrived = (server: Running, letter: Letter) =>
  Effect.gen(function* () {
    const messages = yield* server.awaitMessages(letter.recipient)
    expect(messages.length).toBe(1)
    expectOctets(messages[0]?.content, letter.octets)
  })

const expectAbsent = (server: Running, letter: Letter) =>
  Effect.map(server.messages(letter.recipient), (messages) => expect(messages).toEqual([]))

const described = (outcome: SmtpReceipt.Outcome | undefined): string =>
  outcome?._tag === "Refused"
    ? `Refused ${outcome.permanent ? "for good" : "for now"} ${outcome.phase}`
    : (outcome?._tag ?? "nothing")

const expected: Readonly<Record<Kind, string>> = {
  octets: "Accepted",
  stream: "Accepted",
  large: "Accepted",
  unknown: "Refused for good rcpt",
  busy: "Refused for now rcpt",
  spam: "Refused for good final"
}

const sessionOf = (server: Running & { readonly port: number }, level: SmtpSession.Options) =>
  SmtpSession.make({ ...level, host: server.host, port: server.port, tls: "none" })

const optionsOf = (level: string): SmtpSession.Options => ({ host: "", ...levels[level] })

/** 36 letters over one session: each has its own outcome, and what was accepted is what arrives. */
export const agreesOnEveryMessage = (
  server: Running & { readonly port: number },
  level: string,
  firstUser: number
) =>
  Effect.gen(function* () {
    const letters = Array.from({ length: 36 }, (_, index) => letterOf(firstUser + index))
    const session = yield* sessionOf(server, optionsOf(level))
    const told = yield* sendThem(session, letters)
    for (const letter of letters) {
      expect(described(told.get(letter))).toBe(expected[letter.kind])
      yield* isMeantToArrive(letter) ? expectArrived(server, letter) : expectAbsent(server, letter)
    }
    expect((yield* session.quit).code).toBe(221)
  })

/** Whether the outcome leaves nothing to do: the rest, which did not leave or was put off by a 421, is sent again. */
const isDone = (letter: Letter, outcome: SmtpReceipt.Outcome | undefined): boolean => {
  if (outcome?._tag === "NotSent") return false
  return outcome?._tag !== "Refused" || described(outcome) === expected[letter.kind]
}

/**
 * Letters to a server that ends sessions for too many commands: over as many sessions as it takes, each message is
 * accepted once and arrives once, and none is in doubt. Gives the number of sessions.
 */
export const deliversOverSessions = (
  server: Running & { readonly port: number },
  level: string,
  firstUser: number
) =>
  Effect.gen(function* () {
    let left = Array.from({ length: 36 }, (_, index) => letterOf(firstUser + index))
    const all = left
    let sessions = 0
    while (left.length > 0 && sessions < all.length) {
      sessions++
      const told = yield* Effect.scoped(
        Effect.flatMap(sessionOf(server, optionsOf(level)), (session) => sendThem(session, left))
      )
      for (const outcome of told.values()) expect(outcome._tag).not.toBe("Unknown")
      left = left.filter((letter) => !isDone(letter, told.get(letter)))
    }
    expect(left.map(({ kind, recipient }) => `${recipient}: ${kind}`)).toEqual([])
    for (const letter of all) {
      yield* isMeantToArrive(letter) ? expectArrived(server, letter) : expectAbsent(server, letter)
    }
    return sessions
  })
