/**
 * `deliver` and `send`: drives one message in the fiber of whoever gave it, which says EHLO, pulls the content, and
 * waits. What the message does on the wire is decided by message.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { isInvalid } from "../../protocol/Invalid.js"
import type { ContentFacts } from "../../protocol/Plan.js"
import type { Disconnection, HeloError, InvalidArgument } from "../../SmtpError.js"
import { ContentError } from "../../SmtpError.js"
import type { SendError } from "../../SmtpSession.js"
import type { Submission } from "../../SmtpSubmission.js"
import type { Receipt } from "./account.js"
import { failureOf, noAccount, receiptOf } from "./account.js"
import { describeCause } from "../effect/cause.js"
import type { AnyFiber } from "../effect/runtime.js"
import type { Prepared, PreparedStream } from "../content/content.js"
import * as Contents from "../content/content.js"
import type { Past } from "../content/pass.js"
import { warnOf } from "./logUnknown.js"
import type { Turn } from "./driver.js"
import { invalidArgument } from "./failure.js"
import { hookEffect } from "../effect/hook.js"
import type { Demand, Message, Port as MessagePort } from "./message.js"
import * as Messages from "./message.js"
import * as Meter from "../telemetry/meter.js"
import type { Request } from "./request.js"
import { read as readRequest } from "./request.js"
import { prepareOptions, sendContent } from "./sendContent.js"
import * as Tracing from "../telemetry/tracing.js"

/** What a session gives to a delivery. */
export interface Port extends MessagePort {
  /** Says EHLO, or HELO, if nobody has, within the turn. */
  readonly greet: (turn: Turn) => Effect.Effect<void, HeloError | Disconnection>
  /** Whether a transaction by hand excludes messages of this fiber. */
  readonly isExcluded: (fiber: AnyFiber) => boolean
}

/**
 * Delivers a submission. Total over what servers and connections do: what they did is in the receipt.
 *
 * Fails with `InvalidArgument` before anything is sent, and with what the content's own stream fails with, unless
 * a transaction of this message has run before.
 */
export const deliver = <E, R>(
  port: Port,
  submission: Submission<E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> => {
  const request = readRequest(submission)
  if (isInvalid(request)) return Effect.fail(invalidArgument(request))
  const { stall } = port.driver.limits
  return deliverPrepared(port, submission, request, prepare(stall, request, submission))
}

/** Who hears of a message that nobody waits for any more. */
type Hook = Pick<Submission, "onOutcome">

/** The same with the submission read, and its content prepared if it is in memory. */
export const deliverPrepared = <E, R>(
  port: Port,
  hook: Hook,
  request: Request,
  prepared: Preparation<E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> => conclude(port, hook, request, prepared, Effect.succeed)

/** Delivers, and makes something of the receipt; who is interrupted before that hears of it by the hook. */
const conclude = <E, R, E2>(
  port: Port,
  { onOutcome }: Hook,
  request: Request,
  prepared: Preparation<E, R>,
  conclusion: (receipt: Receipt) => Effect.Effect<Receipt, E2>
): Effect.Effect<Receipt, InvalidArgument | E | E2, R> => {
  const content = prepared._tag === "Bytes" ? prepared : undefined
  const { driver } = port
  const concluded = (receipt: Receipt): Effect.Effect<Receipt, E2> => {
    Meter.settled(receipt)
    return receipt.unknown.length === 0
      ? conclusion(receipt)
      : Effect.zipRight(warnOf(request, content, receipt), conclusion(receipt))
  }
  const report = reportUnheard(port, request)
  const sent = (message: (trace: Tracing.CommandTrace | undefined) => Message) =>
    Tracing.ofSend(
      "SMTP send",
      port.attributes,
      request.recipients.length,
      (fiber) =>
        port.isExcluded(fiber)
          ? Effect.fail(Messages.nested())
          : carry(port, request, prepared, message(Tracing.commandsOf(fiber, port.attributes, driver.now))),
      concluded
    )
  if (onOutcome === undefined) return sent((trace) => Messages.make(port, request, report, trace))
  return Effect.flatMap(Effect.runtime(), (runtime) => {
    let abandon: () => void = () => undefined
    const sending = sent((trace) => {
      const message = Messages.make(
        port,
        request,
        (receipt, unsettled) => {
          report(receipt, unsettled)
          Runtime.runFork(runtime)(hookEffect(onOutcome, receipt, request.envelope.parameters.envelopeId))
        },
        trace
      )
      abandon = message.abandon
      return message
    })
    return Effect.onInterrupt(sending, () => Effect.sync(() => abandon()))
  })
}

/**
 * What became of a message whose sender was interrupted goes to metrics and log. A sender that has timed out was told
 * Unknown, which then counts.
 */
export const reportUnheard =
  ({ driver }: Port, request: Request): Messages.Report =>
  (receipt, content) => {
    if (request.timeout !== undefined) return
    Meter.settled(receipt)
    driver.fork(warnOf(request, content, receipt))
  }

interface Opening<E, R> {
  readonly _tag: "Opening"
  readonly submission: Submission<E, R>
  /** Where it goes on over several deliveries. */
  readonly past?: Past
}

/** Content in memory, or a stream to be opened within the send. */
export type Preparation<E, R> =
  Prepared<E, R> | { readonly _tag: "Failed"; readonly error: ContentError | InvalidArgument } | Opening<E, R>

/** Prepares content in memory; a stream is left as it is, and `stallTimeout` is for streams. */
export const prepare = <E, R>(
  stallTimeout: Duration.Duration,
  request: Request,
  submission: Submission<E, R>
): Preparation<E, R> => {
  const prepared = Contents.prepareInMemory(submission.content, optionsOf(stallTimeout, request, submission))
  if (prepared === undefined) return { _tag: "Opening", submission }
  return prepared._tag === "Bytes" ? prepared : { _tag: "Failed", error: prepared }
}

/** How the content of a submission is to be treated. */
export const optionsOf = <E, R>(
  stallTimeout: Duration.Duration,
  { envelope }: Request,
  submission: Submission<E, R>
): Contents.PrepareOptions => ({
  ...prepareOptions(submission, stallTimeout),
  binary: envelope.parameters.body === "BINARYMIME"
})

const carry = <E, R>(
  port: Port,
  request: Request,
  preparation: Preparation<E, R>,
  message: Message
): Effect.Effect<Receipt, InvalidArgument | E, R> => {
  switch (preparation._tag) {
    case "Bytes":
    case "Stream":
      return withinTimeout(drive(port, request, preparation, message), request, message)
    case "Failed":
      return unsent(request, preparation.error)
    case "Opening": {
      const { past, submission } = preparation
      const { stall } = port.driver.limits
      const opened = Contents.prepare(submission.content, optionsOf(stall, request, submission), past)
      const sent = Effect.flatMap(opened, (content) => drive(port, request, content, message))
      return withinTimeout(Effect.scoped(sent), request, message).pipe(
        Effect.catchIf(isContentError, (error) => unsent(request, error))
      )
    }
  }
}

const isContentError = (error: unknown): error is ContentError => error instanceof ContentError

const unsent = (
  request: Request,
  error: ContentError | InvalidArgument
): Effect.Effect<Receipt, InvalidArgument> =>
  error._tag === "ContentError"
    ? Effect.sync(() => receiptOf(request, noAccount(), () => error))
    : Effect.fail(error)

const withinTimeout = <E, R>(
  sent: Effect.Effect<Receipt, E, R>,
  request: Request,
  message: Message
): Effect.Effect<Receipt, E, R> => {
  const { timeout } = request
  if (timeout === undefined) return sent
  const limitMillis = Math.ceil(request.limitMillis ?? Duration.toMillis(timeout))
  const expired = Effect.map(Effect.sleep(timeout), () =>
    message.expire({ _tag: "Expired", phase: "idle", limitMillis, isOfSend: true })
  )
  // A limit holds in uninterruptible regions too, such as finalizers.
  return Effect.raceFirst(Effect.interruptible(sent), Effect.interruptible(expired))
}

/** Carries a message with its content through the session. */
const drive = <E, R>(
  port: Port,
  request: Request,
  content: Prepared<E, R>,
  message: Message
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  guarded(
    message,
    step(port, request, content, message, () => message.begin(content))
  )

/** Does what a message has asked for, and all that it asks for after that, until it is settled. */
export const serve = <E, R>(
  port: Port,
  request: Request,
  content: Prepared<E, R>,
  message: Message,
  demand: Demand
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  guarded(message, answer(port, request, content, message, demand))

/**
 * Whoever is interrupted, or dies, while it drives a message gives it up. One guard for all of it: between two guards
 * there would be a moment without.
 */
const guarded = <A, E, R>(message: Message, use: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.onExit(use, (exit) => {
    if (Exit.isSuccess(exit)) return Effect.void
    return Effect.sync(Exit.isInterrupted(exit) ? message.abandon : message.leave)
  })

/** What the message asks for, once `act` has answered what it asked for before. */
const step = <E, R>(
  port: Port,
  request: Request,
  content: Prepared<E, R>,
  message: Message,
  act: () => void
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  Effect.async((resume) => {
    message.listen((demand) => resume(answer(port, request, content, message, demand)))
    act()
  })

const answer = <E, R>(
  port: Port,
  request: Request,
  content: Prepared<E, R>,
  message: Message,
  demand: Demand
): Effect.Effect<Receipt, InvalidArgument | E, R> => {
  const after = (act: () => void): Effect.Effect<Receipt, InvalidArgument | E, R> =>
    step(port, request, content, message, act)
  switch (demand._tag) {
    case "Settled":
      return Effect.succeed(demand.receipt)
    case "Refused":
      return Effect.fail(demand.error)
    case "Greet":
      return Effect.flatMap(Effect.either(port.greet(demand.turn)), (greeted) =>
        after(() => message.greeted(greeted._tag === "Left" ? greeted.left : undefined))
      )
    case "Inspect":
      return Effect.flatMap(Effect.either(mended(message, streamFacts(port, request, content))), (looked) =>
        looked._tag === "Right"
          ? after(() => message.inspected(looked.right))
          : failed(message, looked.left, after)
      )
    case "Send":
      return Effect.flatMap(
        Effect.either(mended(message, sendContent(port.driver, demand.run, content, demand.require7bit))),
        (sent) =>
          sent._tag === "Right"
            ? after(() => message.contentSent(sent.right))
            : failed(message, sent.left, after)
      )
  }
}

/** The content failed: for its giver if it is the first time that it was run, else for the recipients that are left. */
const failed = <E, R>(
  message: Message,
  error: E | ContentError,
  after: (act: () => void) => Effect.Effect<Receipt, InvalidArgument | E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> => {
  if (isContentError(error)) return after(() => message.contentFailed(error))
  return message.hasRun() ? after(() => message.contentFailed(failedLater(error))) : Effect.fail(error)
}

const failedLater = (error: unknown, end = "failed"): ContentError =>
  new ContentError({
    reason: "Failed",
    detail: `the stream ${end} on a later run: ${describeCause(error)}`
  })

/** A defect of the content must not take with it what the server has said of those before. */
const mended = <A, E, R>(
  message: Message,
  use: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ContentError, R> =>
  Effect.catchAllDefect(use, (defect) =>
    message.hasRun() ? Effect.fail(failedLater(defect, "ended in a defect")) : Effect.die(defect)
  )

/** What the plan has to know of a stream, which is looked at as far as the server makes it necessary. */
const streamFacts = <E, R>(
  { driver }: Port,
  request: Request,
  content: Prepared<E, R>
): Effect.Effect<ContentFacts, ContentError | E, R> => {
  if (content._tag === "Bytes") return Effect.succeed(Messages.factsOf(content))
  const octets = content.declaredSize
  if (content.content7bit) return Effect.succeed({ octets, eightBit: false, utf8Header: false })
  return peek(content, driver.dialogue.capabilities().eightBitMime ? 1 : request.inspectionLimit)
}

const peek = <E, R>(
  content: PreparedStream<E, R>,
  bound: number
): Effect.Effect<ContentFacts, ContentError | E, R> =>
  Effect.map(content.peek(bound), ({ ended, facts }) => ({
    octets: ended ? facts.octets : content.declaredSize,
    eightBit: ended || facts.eightBit ? facts.eightBit : undefined,
    utf8Header: facts.headerNonAscii
  }))

/** `deliver` that fails when nobody was accepted. */
export const send = <E, R>(
  port: Port,
  submission: Submission<E, R>
): Effect.Effect<Receipt, SendError | E, R> => {
  const request = readRequest(submission)
  if (isInvalid(request)) return Effect.fail(invalidArgument(request))
  const { stall } = port.driver.limits
  return conclude(port, submission, request, prepare(stall, request, submission), (receipt) => {
    const error = failureOf(submission.from, receipt, submission.recipients ?? "any")
    return error === undefined ? Effect.succeed(receipt) : Effect.fail(error)
  })
}
