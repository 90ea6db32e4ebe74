/**
 * This library, as a program would use it: the modes are the levels of pipelining and chunking.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import * as NodeSmtp from "../../../src/NodeSmtp.js"
import * as SmtpAuth from "../../../src/SmtpAuth.js"
import * as SmtpClient from "../../../src/SmtpClient.js"
import * as SmtpContent from "../../../src/SmtpContent.js"
import * as SmtpSession from "../../../src/SmtpSession.js"
import type { Keyed as KeyedReceipt } from "../../../src/SmtpReceipt.js"
import type { Keyed, Submission } from "../../../src/SmtpSubmission.js"
import { makeSource, makeWriter } from "../content.js"
import type { Job } from "../job.js"
import { clientName, host, recipientsOf, sender, shapeOfJob } from "../job.js"
import type { Open } from "./driver.js"

/** The window's default, in messages. */
const windowMessages = 32

const securityOf = (job: Job): SmtpSession.Options =>
  job.ca === ""
    ? { tls: "none" }
    : {
        tls: "starttls",
        tlsOptions: { ca: readFileSync(job.ca, "utf8") },
        auth: SmtpAuth.password({ username: job.user, password: Redacted.make(job.password) })
      }

/** How a mode sends: the options of its sessions, and how messages are put to them. */
interface Level {
  readonly options: SmtpSession.Options
  /** To sessions, to a client that has as many, or to a client as it is without options. */
  readonly to?: "Client" | "PlainClient"
  /** One fiber; as many as the window has room for; or one stream. */
  readonly use: "InTurn" | "Fibers" | "SendAll"
}

const levels: Record<string, Level> = {
  data: { options: {}, use: "InTurn" },
  overlap: { options: { pipelining: "overlap" }, use: "Fibers" },
  "overlap-all": { options: { pipelining: "overlap" }, use: "SendAll" },
  chunked: { options: { chunking: "on" }, use: "InTurn" },
  eager: { options: { chunking: "eager" }, use: "Fibers" },
  "eager-all": { options: { chunking: "eager" }, use: "SendAll" },
  client: { options: {}, to: "PlainClient", use: "InTurn" },
  "client-overlap": { options: { pipelining: "overlap" }, to: "Client", use: "Fibers" },
  "client-overlap-all": { options: { pipelining: "overlap" }, to: "Client", use: "SendAll" },
  "client-eager": { options: { chunking: "eager" }, to: "Client", use: "Fibers" },
  "client-eager-all": { options: { chunking: "eager" }, to: "Client", use: "SendAll" }
}

const levelOf = ({ mode }: Job): Level => levels[mode] ?? { options: {}, use: "InTurn" }

const optionsOf = (job: Job): SmtpSession.Options => ({
  host,
  port: job.port,
  clientName,
  ...levelOf(job).options,
  ...securityOf(job)
})

const makeContent = (job: Job): ((message: number) => SmtpContent.Content) => {
  if (!job.streamed) return makeWriter(shapeOfJob(job))
  const source = makeSource(shapeOfJob(job))
  return (message) => {
    const blocks = Stream.suspend(() => Stream.fromIteratorSucceed(source(message), 1))
    return SmtpContent.replayable(blocks, { size: job.octets })
  }
}

const makeSubmission = (job: Job): ((message: number) => Submission) => {
  const content = makeContent(job)
  const to = [...recipientsOf(job)]
  return (message) => ({ from: sender, to, content: content(message) })
}

/** A session, or a client with several. */
interface Sender {
  readonly send: (submission: Submission) => Effect.Effect<unknown, Error>
  readonly sendAll: (
    submissions: Stream.Stream<Keyed<number>>
  ) => Effect.Effect<Stream.Stream<KeyedReceipt<number>>>
  readonly sessions: number
}

/** Sends one message after the other, taking the next free number. */
const inTurn = (
  sender: Sender,
  next: () => number | undefined,
  submission: (message: number) => Submission
): Effect.Effect<void, Error> =>
  Effect.gen(function* () {
    for (let message = next(); message !== undefined; message = next()) {
      yield* sender.send(submission(message))
    }
  })

/** As many fibers as the windows take messages, each sending in turn. */
const inFibers = (...[sender, next, submission]: Parameters<typeof inTurn>): ReturnType<typeof inTurn> =>
  Effect.replicateEffect(inTurn(sender, next, submission), sender.sessions * windowMessages, {
    concurrency: "unbounded",
    discard: true
  })

const notAccepted = (key: number): Error => new Error(`message ${key} was not accepted`)

/** Messages of one chunk of the stream, as a program that reads them from somewhere would have them. */
const chunkLength = 8

function* keyed(next: () => number | undefined, submission: (message: number) => Submission) {
  for (let key = next(); key !== undefined; key = next()) yield { key, submission: submission(key) }
}

/** One stream of all messages. */
const inStream = (
  sender: Sender,
  next: () => number | undefined,
  submission: (message: number) => Submission
): Effect.Effect<void, Error> => {
  const submissions = Stream.fromIteratorSucceed(keyed(next, submission), chunkLength)
  return Stream.unwrap(sender.sendAll(submissions)).pipe(
    Stream.runForEach(({ key, receipt }) =>
      receipt.accepted.length === receipt.outcomes.length ? Effect.void : Effect.fail(notAccepted(key))
    )
  )
}

const uses = { InTurn: inTurn, Fibers: inFibers, SendAll: inStream }

const numbers = (first: number, count: number): (() => number | undefined) => {
  let next = first
  return () => (next < first + count ? next++ : undefined)
}

const fresh: Open = (job) => {
  const runtime = ManagedRuntime.make(NodeSmtp.layer)
  const submission = makeSubmission(job)
  const options = optionsOf(job)
  const one = (message: number) => SmtpSession.sendOnce(options, submission(message))
  return Promise.resolve({
    send: (first, count) =>
      runtime.runPromise(
        Effect.gen(function* () {
          for (let message = first; message < first + count; message++) yield* one(message)
        })
      ),
    close: () => runtime.dispose()
  })
}

const asSender = ({ send, sendAll }: Omit<Sender, "sessions">, sessions: number): Sender => ({
  send: (submission) => send(submission),
  sendAll: (submissions) => sendAll(submissions),
  sessions
})

/** The limits of a client: as many sessions as the job says, and as many messages as a pool without a limit takes. */
const limitsOf = (job: Job) =>
  levelOf(job).to === "Client" ? { maxSessions: job.connections, maxMessages: Infinity } : {}

/** The sessions of a job, or the client that opens them. */
const sendersOf = (job: Job) =>
  levelOf(job).to === undefined
    ? Effect.replicateEffect(
        Effect.map(SmtpSession.make(optionsOf(job)), (session) => asSender(session, 1)),
        job.connections
      )
    : Effect.map(SmtpClient.make({ ...optionsOf(job), ...limitsOf(job) }), (client) => [
        asSender(client, job.connections)
      ])

const kept: Open = async (job) => {
  const runtime = ManagedRuntime.make(NodeSmtp.layer)
  const submission = makeSubmission(job)
  const scope = await Effect.runPromise(Scope.make())
  const senders = await runtime.runPromise(Scope.extend(sendersOf(job), scope))
  return {
    send: (first, count) => {
      const next = numbers(first, count)
      const use: (...given: Parameters<typeof inTurn>) => Effect.Effect<void, Error> = uses[levelOf(job).use]
      const work = (sender: Sender) => use(sender, next, submission)
      return Effect.runPromise(Effect.forEach(senders, work, { concurrency: "unbounded", discard: true }))
    },
    close: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      await runtime.dispose()
    }
  }
}

export const open: Open = (job) => (job.fresh ? fresh(job) : kept(job))
