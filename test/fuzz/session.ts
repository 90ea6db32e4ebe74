/**
 * A session with a random program against a random server over connections in memory. Gives what was wrong with it,
 * if anything.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import type { ServerEnd } from "../../src/internal/testing/memoryConnection.js"
import { makePair } from "../../src/internal/testing/memoryConnection.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpCommand from "../../src/SmtpCommand.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import * as SmtpError from "../../src/SmtpError.js"
import type { Accepted, Receipt } from "../../src/SmtpReceipt.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { SmtpSocket } from "../../src/SmtpSocket.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import type { Random } from "./random.js"
import { makeRandom } from "./random.js"
import { isComplete } from "./received.js"
import type { Acceptance, Server } from "./server.js"
import { makeServer } from "./server.js"
import { simulate } from "./simulation.js"
import { inTransaction } from "../SmtpSession/oneSession.js"

const encode = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"))

const decode = (octets: Uint8Array): string => Buffer.from(octets).toString("latin1")

const shown = (text: string): string =>
  JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text).slice(1, -1)

// -- the server's end

type Leaving = "close" | "reset" | "halfClose" | "silence" | "stopReading"

interface Manners {
  /** After how many octets the server leaves, and how. */
  readonly leaving: Leaving
  readonly after: number
  readonly slowness: number
}

const mannersOf = (random: Random): Manners => ({
  leaving: random.pick(["close", "reset", "halfClose", "silence", "stopReading"]),
  after: random.chance(0.3) ? random.below(600) : Number.POSITIVE_INFINITY,
  slowness: random.pick([0, 0, 0.02, 0.2])
})

const serve = (
  random: Random,
  server: Server,
  end: ServerEnd,
  manners: Manners,
  trace: Array<string>
): Effect.Effect<void> => {
  let budget = manners.after

  const writePiece = (text: string): Effect.Effect<void, unknown> =>
    Effect.gen(function* () {
      if (random.chance(manners.slowness)) {
        yield* Effect.sleep(random.pick(["1 millis", "3 seconds", "1 minutes", "4 minutes", "30 minutes"]))
      }
      trace.push(`S: ${shown(text)}`)
      yield* end.write([encode(text)])
      if (random.chance(0.1)) yield* Effect.yieldNow()
    })

  const write = (text: string): Effect.Effect<void, unknown> => {
    const allowed = text.slice(0, budget)
    budget -= allowed.length
    return Effect.forEach(allowed === "" ? [] : random.cut(allowed), writePiece, { discard: true })
  }

  const leave: Effect.Effect<void> = Effect.suspend(() => {
    switch (manners.leaving) {
      case "close":
        return end.destroy
      case "reset":
        return end.reset
      case "halfClose":
        return end.end
      case "silence":
        return Effect.void
      case "stopReading":
        return Effect.never
    }
  })

  return Effect.gen(function* () {
    yield* write(server.greet())
    for (;;) {
      if (budget === 0) {
        budget = -1
        trace.push(`-- ${manners.leaving}`)
        yield* leave
      }
      if (server.hasClosed()) return yield* end.destroy
      const octets = yield* end.pull
      if (octets === undefined) return
      trace.push(`C: ${shown(decode(octets))}`)
      const answer = random.cut(decode(octets)).map((piece) => server.receive(piece))
      if (budget >= 0) yield* write(answer.join(""))
    }
  }).pipe(Effect.ignore)
}

// -- the client's program

interface Message {
  readonly content: string
  readonly to: ReadonlyArray<string>
  readonly results: Array<Result>
  /** A send that ran out of its own time ends with what is known, and the hook tells the rest. */
  readonly mayBeToldLater: boolean
}

/** What the client was told of a message. */
type Result =
  | { readonly _tag: "Receipt"; readonly receipt: Receipt }
  | { readonly _tag: "Failed"; readonly delivery: SmtpError.Delivery }

interface World {
  readonly random: Random
  readonly seed: number
  readonly smtp: SmtpSession.Service
  /** Whether the pipes take more than a few octets at a time. */
  readonly hasRoom: boolean
  readonly messages: Array<Message>
  readonly problems: Array<string>
  readonly trace: Array<string>
}

const names = ["a@x.test", "b@x.test", "c@y.test", "d@z.test"] as const

const contentOf = ({ hasRoom, messages, random, seed }: World): string => {
  const lines = Array.from({ length: random.below(4) }, () =>
    random.pick(["hello", ".", "..", ".dot", "", "x".repeat(70)])
  )
  const bulk = hasRoom && random.chance(0.01) ? "y".repeat(300_000) : ""
  return ["Message-ID: " + String(seed) + "." + String(messages.length), "", ...lines, bulk, ""].join("\r\n")
}

class Broken {
  readonly _tag = "Broken"
}

const asContent = ({ random }: World, text: string): SmtpContent.Content<Broken> => {
  const pieces = [...random.cut(text.slice(0, 40)), ...random.cut(text.slice(40))].filter(
    (piece) => piece !== ""
  )
  const chunks = Stream.fromIterable(pieces.map(encode))
  const paced = random.chance(0.1) ? Stream.tap(chunks, () => Effect.sleep("2 seconds")) : chunks
  switch (random.below(6)) {
    case 0:
      return paced
    case 1:
      return SmtpContent.replayable(paced, { size: text.length, content7bit: true })
    case 2:
      return SmtpContent.once(paced, { content7bit: random.chance(0.5) })
    case 3:
      return random.chance(0.5) ? Stream.concat(paced, Stream.fail(new Broken())) : encode(text)
    default:
      return text
  }
}

const begin = (world: World): { readonly message: Message; readonly submission: Submission<Broken> } => {
  const { messages, random } = world
  const to = Array.from({ length: 1 + random.below(4) }, () => random.pick(names))
  const timeout = random.chance(0.15) ? random.pick(["1 millis", "10 seconds", "10 minutes"]) : undefined
  const message: Message = {
    content: contentOf(world),
    to,
    results: [],
    mayBeToldLater: timeout !== undefined
  }
  messages.push(message)
  const submission: Submission<Broken> = {
    from: random.pick(["s@x.test", ""]),
    to,
    content: asContent(world, message.content),
    recipients: random.pick(["any", "any", "all"]),
    timeout,
    onOutcome: (receipt) =>
      Effect.sync(() => {
        message.results.push({ _tag: "Receipt", receipt })
      })
  }
  return { message, submission }
}

type Operation = Effect.Effect<unknown, SmtpError.SmtpError | Broken>

/** Several submissions in one stream, which may break, and whose reader may leave before its end. */
const sendAll = (world: World): Operation => {
  const { problems, random, smtp } = world
  const count = random.below(8)
  const keyed = Array.from({ length: count }, (_, key) => ({ key, ...begin(world) }))
  const source = Stream.fromIterable(keyed).pipe(
    Stream.map(({ key, submission }) => ({
      key,
      submission: random.chance(0.05) ? { ...submission, to: [] } : submission
    })),
    Stream.rechunk(random.pick([1, 3, 100])),
    random.chance(0.2) ? Stream.tap(() => Effect.yieldNow()) : (same) => same
  )
  const broken = random.chance(0.1)
  const submissions = broken ? Stream.concat(source, Stream.fail(new Broken())) : source
  const wanted = random.chance(0.1) ? random.below(4) : count
  const seen = new Set<number>()
  return Effect.flatMap(smtp.sendAll(submissions), (receipts) =>
    Stream.runForEach(Stream.take(receipts, wanted), ({ error, key, receipt }) =>
      Effect.sync(() => {
        if (seen.has(key)) problems.push(`sendAll gave ${key} twice`)
        seen.add(key)
        const message = keyed[key]?.message
        const isForNobody = receipt.outcomes.every(({ recipient }) => recipient === "")
        const isBad = error !== undefined && SmtpError.isSmtpError(error) && isForNobody
        if (!isBad) message?.results.push({ _tag: "Receipt", receipt })
      })
    )
  ).pipe(
    Effect.zipRight(
      Effect.sync(() => {
        const expected = Math.min(count, wanted)
        if (seen.size < expected) problems.push(`sendAll gave ${seen.size} of ${expected}`)
      })
    )
  )
}

const deliver = (world: World): Operation => {
  const { message, submission } = begin(world)
  return Effect.tap(world.smtp.deliver(submission), (receipt) =>
    Effect.zipRight(
      Effect.sync(() => message.results.push({ _tag: "Receipt", receipt })),
      submission.timeout === undefined
        ? closedAfter(
            world,
            "deliver",
            [...receipt.notSent, ...receipt.unknown].map(({ cause }) => cause)
          )
        : Effect.void
    )
  )
}

const send = (world: World): Operation => {
  const { message, submission } = begin(world)
  return world.smtp.send(submission).pipe(
    Effect.tap((receipt) => {
      message.results.push({ _tag: "Receipt", receipt })
    }),
    Effect.tapError((error) => {
      const delivery = SmtpError.isSmtpError(error) ? SmtpError.delivery(error) : "NotSent"
      message.results.push({ _tag: "Failed", delivery })
      return submission.timeout === undefined ? closedAfter(world, "send", [error]) : Effect.void
    })
  )
}

const isDisconnection = (error: unknown): boolean =>
  SmtpError.isSmtpError(error) && ["ServerDisconnected", "ReplyTimeout", "ProtocolError"].includes(error._tag)

const closedAfter = (
  { problems, smtp }: World,
  what: string,
  errors: ReadonlyArray<unknown>
): Effect.Effect<void> =>
  errors.some(isDisconnection)
    ? Effect.map(smtp.state, (state) => {
        if (state !== "Closed")
          problems.push(`${what} failed by a disconnection, and the session is ${state}`)
      })
    : Effect.void

const raw = (world: World): Operation => {
  const { random, smtp } = world
  const byHand = (use: Operation): Operation =>
    Effect.tapError(use, (error) => closedAfter(world, "a command", [error]))
  switch (random.below(19)) {
    case 0:
      return byHand(smtp.noop)
    case 1:
      return byHand(smtp.rset)
    case 2:
      return byHand(smtp.mail(random.pick(["s@x.test", "", "not an address"])))
    case 3:
      return byHand(smtp.rcpt(random.pick(names)))
    case 4:
      return byHand(smtp.data(asContent(world, "by hand\r\n")))
    case 5:
      return byHand(smtp.bdat(encode("chunk\r\n"), { last: random.chance(0.5) }))
    case 6:
      return byHand(smtp.vrfy("someone"))
    case 7:
      return byHand(smtp.expn("list"))
    case 8:
      return byHand(smtp.help())
    case 9:
      return byHand(random.pick([smtp.ehlo, smtp.helo, smtp.lhlo, smtp.ehloOrHeloIfNeeded]))
    case 10:
      return byHand(smtp.command(random.pick(["XTRA", "NOOP", "DATA", "no verb", "QUIT"]), "argument"))
    case 11:
      return random.chance(0.3) ? byHand(smtp.quit) : byHand(smtp.noop)
    case 12:
      return byHand(smtp.startTls)
    case 13:
      return byHand(smtp.authenticate(credentials))
    case 14:
      return byHand(smtp.group([SmtpCommand.mail("s@x.test"), SmtpCommand.rcpt(random.pick(names))]))
    case 15:
      return byHand(smtp.group([SmtpCommand.rset, SmtpCommand.noop]))
    case 16:
      return byHand(inTransaction(smtp, ({ rcpt }) => rcpt(random.pick(names)), "s@x.test"))
    case 17:
      return byHand(
        inTransaction(
          smtp,
          ({ data, rcpt }) => Effect.zipRight(rcpt("a@x.test"), data("in hand\r\n")),
          "s@x.test"
        )
      )
    default:
      return inTransaction(smtp, () => Effect.suspend(() => operation(world)), "s@x.test")
  }
}

const credentials = SmtpAuth.password({
  username: "app",
  password: Redacted.make("secret"),
  mechanisms: ["PLAIN", "LOGIN"]
})

const mail = (world: World): Operation => {
  const kind = world.random.below(7)
  if (kind < 4) return deliver(world)
  return kind < 6 ? send(world) : sendAll(world)
}

const operation = (world: World): Operation => (world.random.chance(0.6) ? mail(world) : raw(world))

const pause = (random: Random): Effect.Effect<void> =>
  random.chance(0.5)
    ? Effect.repeatN(Effect.yieldNow(), random.below(40))
    : Effect.sleep(random.pick(["0 millis", "1 millis", "2 minutes", "20 minutes"]))

const interrupted = (random: Random, use: Operation): Operation =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(use)
    yield* pause(random)
    const exit = yield* Fiber.interrupt(fiber)
    return yield* Exit.isInterrupted(exit) ? Effect.void : exit
  })

const isTyped = (error: unknown): boolean => SmtpError.isSmtpError(error) || error instanceof Broken

const watched = ({ problems, trace }: World, what: string, use: Operation): Effect.Effect<void> =>
  Effect.map(Effect.exit(use), (exit) => {
    trace.push(
      `-- ${what} ended: ${Exit.isSuccess(exit) ? "Success" : Cause.pretty(exit.cause).split("\n")[0]}`
    )
    if (Exit.isSuccess(exit)) return
    const error = Cause.failureOption(exit.cause)
    if (Option.isNone(error) || !isTyped(error.value)) problems.push(`${what}: ${Cause.pretty(exit.cause)}`)
  })

const program = (world: World): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { random } = world
    // Where nothing but mail is sent there is more of it under way at once.
    const mailing = random.chance(0.4)
    const next = (): Effect.Effect<void> => {
      const use = Effect.suspend(() => (mailing ? mail(world) : operation(world)))
      return watched(world, "an operation", random.chance(0.15) ? interrupted(random, use) : use)
    }
    for (let count = 1 + random.below(4); count > 0; count--) {
      if (random.chance(mailing ? 0.6 : 0.15)) {
        const several = Array.from({ length: 2 + random.below(4) }, next)
        yield* Effect.all(several, { concurrency: "unbounded", discard: true })
      } else yield* next()
      if (random.chance(0.05)) yield* pause(random)
    }
  })

// -- the truth

const acceptanceWrong = (
  server: Server,
  { content }: Message,
  { recipient, reply }: Accepted,
  acceptance: Acceptance | undefined
): string | undefined => {
  if (acceptance === undefined) return `${recipient} Accepted, and did not get it`
  if (!reply.text.includes(`queued as ${acceptance.queueId}.`))
    return `${recipient} Accepted by another's reply`
  return isComplete(server.received().slice(0, acceptance.octets), content) === undefined
    ? `${recipient} Accepted by a reply from before all of it was sent`
    : undefined
}

const receiptWrong = (server: Server, message: Message, receipt: Receipt): string | undefined => {
  const told = receipt.outcomes.map(({ recipient }) => recipient)
  if (told.join() !== message.to.join()) return `outcomes for ${told.join()} instead of ${message.to.join()}`
  const complete = isComplete(server.received(), message.content)
  for (const outcome of receipt.outcomes) {
    const { _tag, recipient } = outcome
    if (_tag === "Accepted" && complete === undefined)
      return `${recipient} Accepted, though not all of it was sent`
    if (!server.isHonest()) continue
    const accepted = server.acceptances.find(
      (acceptance) => acceptance.content === message.content && acceptance.recipient === recipient
    )
    if (accepted !== undefined && (_tag === "NotSent" || _tag === "Refused"))
      return `${recipient} got it, and is ${_tag}`
    if (_tag !== "Accepted") continue
    const wrong = acceptanceWrong(server, message, outcome, accepted)
    if (wrong !== undefined) return wrong
  }
  const nothing = receipt.outcomes.every(({ _tag }) => _tag === "NotSent")
  // What had left behind a command to which the server said goodbye was not read.
  return nothing && complete === "DATA" ? "NotSent, though all of it was sent" : undefined
}

const failureWrong = (server: Server, message: Message, delivery: SmtpError.Delivery): string | undefined =>
  server.isHonest() &&
  delivery !== "Unknown" &&
  server.acceptances.some(({ content }) => content === message.content)
    ? `send failed with ${delivery}, and the server accepted`
    : undefined

const doubled = (server: Server, { content }: Message): string | undefined => {
  const got = server.acceptances.filter((acceptance) => acceptance.content === content)
  const twice = got.find(({ recipient }, index) =>
    got.some((other, place) => place < index && other.recipient === recipient)
  )
  return twice === undefined || !server.isHonest() ? undefined : `${twice.recipient} got it twice`
}

const messageWrong = (server: Server, message: Message): ReadonlyArray<string | undefined> => [
  doubled(server, message),
  message.results.length > (message.mayBeToldLater ? 2 : 1)
    ? `told ${message.results.length} times of one message`
    : undefined,
  ...message.results.map((result) =>
    result._tag === "Receipt"
      ? receiptWrong(server, message, result.receipt)
      : failureWrong(server, message, result.delivery)
  )
]

// -- one run

const optionsOf = (random: Random, dialect: "smtp" | "lmtp"): SmtpSession.Options => ({
  host: "mx.test",
  clientName: "client.test",
  dialect,
  tls: random.pick(["none", "none", "none", "starttls", "opportunistic", "implicit"]),
  auth: random.chance(0.15) ? credentials : undefined,
  allowInsecureAuth: random.chance(0.5),
  pipelining: random.pick(["off", "envelope", "data", "data", "overlap", "overlap", "overlap"]),
  chunking: random.pick(["off", "off", "on", "eager", "eager"]),
  timeouts: random.chance(0.3)
    ? { final: "5 minutes", stall: "1 seconds", content: "10 seconds" }
    : undefined,
  advanced: {
    window: random.pick([undefined, undefined, { messages: 1 }, { messages: 3 }, { octets: 100 }]),
    resetBetween: random.chance(0.8),
    eagerWithin: random.pick([undefined, undefined, "0 millis", "1 hour"]),
    replyLimits: random.chance(0.1) ? { lineLength: 60, lines: 5, replyLength: 300 } : undefined
  }
})

/** Imports what sessions import when they need it: while an import is under way, the time of a simulation would pass. */
export const prepare = (): Promise<unknown> =>
  Effect.gen(function* () {
    const { layer } = yield* SmtpTest.server()
    const content = Stream.make(encode("hello\r\n"))
    const session = SmtpSession.make({ host: "mx.test", clientName: "client.test" })
    const submission = { from: "", to: "a@x.test", content }
    yield* Effect.flatMap(session, (smtp) =>
      Effect.zipRight(
        smtp.send(submission),
        Effect.flatMap(smtp.sendAll(Stream.make({ key: 1, submission })), Stream.runDrain)
      )
    ).pipe(Effect.scoped, Effect.provide(layer))
  }).pipe(Effect.scoped, Effect.runPromise)

export const runSession = async (seed: number): Promise<string | undefined> => {
  const trace: Array<string> = []
  const problem = await examine(seed, trace)
  return problem === undefined ? undefined : [problem, ...trace.slice(-60)].join("\n  ")
}

const examine = async (seed: number, trace: Array<string>): Promise<string | undefined> => {
  const random = makeRandom(seed)
  const dialect = random.pick(["smtp", "smtp", "smtp", "lmtp"])
  const server = makeServer(random, dialect)
  const manners = mannersOf(random)
  const messages: Array<Message> = []
  const problems: Array<string> = []
  const connections = { open: 0 }

  const run = Effect.scoped(
    Effect.gen(function* () {
      const capacity = random.pick([1, 50, 65_536, 65_536, 65_536])
      const pair = yield* makePair({ capacity })
      yield* Effect.forkScoped(serve(random, server, pair.server, manners, trace))
      let dialled = false
      const socket = Layer.succeed(SmtpSocket, {
        dial: () =>
          Effect.suspend(() => {
            if (dialled) {
              return Effect.fail(new SmtpError.ConnectError({ endpoint: "mx.test", reason: "Unreachable" }))
            }
            dialled = true
            connections.open++
            const destroy = Effect.zipRight(
              pair.client.destroy,
              Effect.sync(() => {
                connections.open = 0
              })
            )
            return Effect.acquireRelease(
              Effect.succeed({ ...pair.client, destroy }),
              (connection) => connection.destroy
            )
          })
      })
      const transport = Layer.mergeAll(socket, SmtpTest.layerTls, CapabilityCache.layerMemory)
      const open = random.chance(0.8) ? SmtpSession.make : SmtpSession.connect
      const client: Effect.Effect<void, SmtpError.SmtpError, Scope.Scope | SmtpTest.Transport> = Effect.gen(
        function* () {
          const smtp = yield* open(optionsOf(random, dialect))
          yield* Effect.forkDaemon(smtp.awaitClosed)
          yield* program({ random, seed, hasRoom: capacity > 50, smtp, messages, problems, trace })
        }
      )
      return yield* Effect.exit(
        Effect.provide(
          Effect.scoped(random.chance(0.05) ? Effect.timeoutOption(client, "3 minutes") : client),
          transport
        )
      )
    })
  )

  const ended = await simulate(Effect.provide(run, Logger.replace(Logger.defaultLogger, Logger.none)))
  if (ended._tag === "Hangs") return `it hangs: ${ended.why}`
  if (Exit.isFailure(ended.exit)) return `it died: ${Cause.pretty(ended.exit.cause)}`
  const exit = ended.exit.value
  if (Exit.isFailure(exit)) {
    const error = Cause.failureOption(exit.cause)
    if (Option.isNone(error) || !isTyped(error.value)) return `the session: ${Cause.pretty(exit.cause)}`
  }
  if (ended.left.length > 0) return `left behind: ${ended.left.join(", ")}`
  if (connections.open > 0) return "the connection was not destroyed"
  const wrong = messages.flatMap((message) => messageWrong(server, message))
  return [...problems, ...wrong].find((problem) => problem !== undefined)
}
