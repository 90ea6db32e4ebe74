/**
 * The driver of a message: does in a fiber what the message demands. `deliver` and `send` drive it in the caller's fiber;
 * `launch` forks one only if there is a demand. What the message does on the wire is decided in message.ts.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { ContentFacts } from "../../protocol/Plan.js"
import type { InvalidArgument } from "../../SmtpError.js"
import { ContentError } from "../../SmtpError.js"
import type { ContentReport, Receipt as AnyReceipt } from "../../SmtpReceipt.js"
import type { SendError } from "../../SmtpSession.js"
import type { ContentOptions, Submission } from "../../SmtpSubmission.js"
import type { Prepared, PreparedBytes, PrepareOptions, Sink } from "../content/model.js"
import * as Contents from "../content/content.js"
import type { Past } from "../content/runRecord.js"
import { describeCause } from "../effect/cause.js"
import { hookEffect } from "../effect/hook.js"
import type { Fork } from "../effect/runtime.js"
import { interrupt, makeFork } from "../effect/runtime.js"
import * as Wakeup from "../effect/wakeup.js"
import * as Tracing from "../telemetry/tracing.js"
import { invalidArgument, nested } from "./failure.js"
import { Message } from "./message.js"
import type { Demand, MessageContext } from "./messageContext.js"
import { mustProveBdat } from "./messageContext.js"
import type { Receipt, Settled } from "./receipt.js"
import { failureOf } from "./receipt.js"
import type { Request } from "./request.js"
import { read as readRequest } from "./request.js"

// -- content

/** Content in memory, or a stream to be opened within the send. */
export type Preparation<E, R> =
  | Prepared<E, R>
  | { readonly _tag: "Failed"; readonly error: ContentError | InvalidArgument }
  | {
      readonly _tag: "Opening"
      readonly submission: Submission<E, R>
      /** What the stream has given on earlier attempts. */
      readonly past?: Past
    }

/** Prepares content in memory; a stream is left as it is, and `stallTimeout` is for streams. */
export const prepare = <E, R>(
  stallTimeout: Duration.Duration,
  request: Request,
  submission: Submission<E, R>
): Preparation<E, R> => {
  const prepared = Contents.prepareInMemory(
    submission.content,
    optionsOf(submission, stallTimeout, isBinary(request))
  )
  if (prepared === undefined) return { _tag: "Opening", submission }
  return prepared._tag === "Bytes" ? prepared : { _tag: "Failed", error: prepared }
}

const isBinary = ({ envelope }: Request): boolean => envelope.parameters.body === "BINARYMIME"

export const optionsOf = (
  options: ContentOptions,
  stallTimeout: Duration.Duration,
  binary: boolean
): PrepareOptions => ({
  lineEnds: options.lineEnds ?? "convert",
  longLines: options.longLines ?? "send",
  allowNul: options.allowNul ?? false,
  allowEmpty: options.allowEmpty ?? false,
  binary,
  stallTimeout
})

const isContentError = (error: unknown): error is ContentError => error instanceof ContentError

// -- the driver

/**
 * Drives a message from `act` until it is settled. `run` is given what needs a fiber, which goes on to the end in that
 * fiber; `done` hears of the end if nothing needed one.
 */
const drive = <E, R>(
  message: Message,
  content: Prepared<E, R>,
  act: () => void,
  run: (rest: Effect.Effect<Settled, InvalidArgument | E, R>) => void,
  done: (exit: Exit.Exit<Settled, InvalidArgument>) => void
): void => {
  message.listen((progress) => {
    if (progress._tag === "Settled") done(Exit.succeed(progress))
    else if (progress._tag === "NotAllowed") done(Exit.fail(progress.error))
    else run(Effect.flatMap(answer(message, content, progress), (next) => driveHere(message, content, next)))
  })
  act()
}

/** Drives a message in the fiber that runs the effect. */
export const driveHere = <E, R>(
  message: Message,
  content: Prepared<E, R>,
  act: () => void
): Effect.Effect<Settled, InvalidArgument | E, R> =>
  Effect.async((resume) => {
    drive(message, content, act, resume, resume)
  })

/** Does what is demanded; gives the answer, which lets the message go on. */
const answer = <E, R>(
  message: Message,
  content: Prepared<E, R>,
  demand: Demand
): Effect.Effect<() => void, E, R> => {
  switch (demand._tag) {
    case "Greet":
      return Effect.match(message.session.greet(message), {
        onSuccess: () => () => message.greeted(undefined),
        onFailure: (error) => () => message.greeted(error)
      })
    case "Inspect":
      return accounted(message, inspect(message, content), (facts) => message.inspected(facts))
    case "Send":
      return accounted(message, sendContent(message, content, demand.require7bit), (report) =>
        message.settleTransaction(report)
      )
  }
}

/**
 * The content failed: for its giver on its first run, else for the recipients that are left. Not even a defect may take
 * with it what the server has said of the recipients before.
 */
const accounted = <A, E, R>(
  message: Message,
  use: Effect.Effect<A, ContentError | E, R>,
  tell: (value: A) => void
): Effect.Effect<() => void, E, R> => {
  const failed = (error: ContentError) => () => message.contentFailed(error)
  return use.pipe(
    Effect.map((value) => () => tell(value)),
    Effect.catchAll((error) => {
      if (isContentError(error)) return Effect.succeed(failed(error))
      return message.hasRun ? Effect.succeed(failed(failedLater(error, "failed"))) : Effect.fail(error)
    }),
    Effect.catchAllDefect((defect) =>
      message.hasRun ? Effect.succeed(failed(failedLater(defect, "ended in a defect"))) : Effect.die(defect)
    )
  )
}

const failedLater = (error: unknown, end: string): ContentError =>
  new ContentError({
    reason: "Failed",
    detail: `the stream ${end} on a later run: ${describeCause(error)}`
  })

/** What the plan has to know of a stream, which is looked at as far as the server makes it necessary. */
const inspect = <E, R>(
  { request, session }: Message,
  content: Prepared<E, R>
): Effect.Effect<ContentFacts, ContentError | E, R> => {
  if (content._tag === "Bytes") return Effect.succeed(Contents.factsOf(content))
  const { content7bit, declaredSize } = content
  if (content7bit) return Effect.succeed({ octets: declaredSize, eightBit: false, utf8Header: false })
  const bound = session.driver.dialogue.capabilities().eightBitMime ? 1 : request.inspectionLimit
  return Effect.map(content.peek(bound), ({ ended, facts }) => ({
    octets: ended ? facts.octets : declaredSize,
    eightBit: ended || facts.eightBit ? facts.eightBit : undefined,
    utf8Header: facts.headerUtf8
  }))
}

const isEmpty = (octets: ReadonlyArray<Uint8Array>): boolean => octets.every(({ length }) => length === 0)

/** The first byte, and the others: it is no line for a server that does not know BDAT, whatever it is. */
const apart = (octets: ReadonlyArray<Uint8Array>): readonly [Uint8Array, ReadonlyArray<Uint8Array>] => {
  const [first = new Uint8Array(0), ...rest] = octets.filter(({ length }) => length > 0)
  return [first.subarray(0, 1), [first.subarray(1), ...rest]]
}

/**
 * Sends the content until the transaction has ended, which may be before its end: then it gives `undefined`. What fails
 * or is interrupted stops the transaction, and waits for that.
 */
const sendContent = <E, R>(
  message: Message,
  content: Prepared<E, R>,
  require7bit: boolean
): Effect.Effect<ContentReport | undefined, ContentError | E, R> =>
  Effect.suspend(() => {
    const { driver } = message.session
    const ended = Wakeup.until(message.changes, () => (message.isRunning ? undefined : Effect.void))
    const maxSize = driver.dialogue.capabilities().size
    const put: Sink<never, never> = (octets, last) =>
      Effect.suspend(() => {
        switch (message.mayPut()) {
          case "Never":
            return Effect.never
          case "NotYet":
            return Effect.zipRight(mayPut, put(octets, last))
          case "Now":
            if (mustProveBdat(message.session, message.framing) && !isEmpty(octets)) {
              const [first, rest] = apart(octets)
              message.put([first], false)
              return put(rest, last)
            }
            message.put(octets, last)
            return last ? Effect.void : driver.drain
        }
      })
    const mayPut = Wakeup.until(message.changes, () =>
      message.mayPut() === "NotYet" ? undefined : Effect.void
    )
    message.contentBegun()
    const sending = Contents.run(content, { framing: message.framing, maxSize, require7bit }, put)
    // The end of the transaction ends the content in uninterruptible regions too.
    return Effect.raceFirst(
      Effect.interruptible(Effect.map(sending, Contents.reportOf)),
      Effect.as(ended, undefined)
    ).pipe(
      Effect.tapErrorCause(() => {
        message.stop()
        return ended
      }),
      Effect.zipLeft(ended)
    )
  })

// -- deliver and send

/** Hears once what became of a message whose caller was interrupted, or whose timeout has run out. */
export type Report = (receipt: AnyReceipt) => void

/**
 * Delivers a submission. Total over what servers and connections do: that is in the receipt. Fails with
 * `InvalidArgument` before anything is sent, and with what the content's own stream fails with, unless a transaction of
 * this message has run before.
 */
export const deliver = <E, R>(
  session: MessageContext,
  submission: Submission<E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  submit(session, submission, readRequest(submission), Effect.succeed)

/** `deliver` that fails when nobody was accepted. */
export const send = <E, R>(
  session: MessageContext,
  submission: Submission<E, R>,
  request: Request | Invalid = readRequest(submission)
): Effect.Effect<Receipt, SendError | E, R> =>
  submit(session, submission, request, (receipt) => {
    const error = failureOf(submission.from, receipt, submission.recipients ?? "any")
    return error === undefined ? Effect.succeed(receipt) : Effect.fail(error)
  })

const submit = <E, R, E2>(
  session: MessageContext,
  submission: Submission<E, R>,
  request: Request | Invalid,
  conclude: (receipt: Receipt) => Effect.Effect<Receipt, E2>
): Effect.Effect<Receipt, InvalidArgument | E | E2, R> => {
  if (isInvalid(request)) return Effect.fail(invalidArgument(request))
  const prepared = prepare(session.driver.limits.stall, request, submission)
  const { onOutcome } = submission
  if (onOutcome === undefined) return deliverPrepared(session, request, prepared, undefined, conclude)
  return Effect.flatMap(makeFork(), (fork) =>
    deliverPrepared(session, request, prepared, reportTo(onOutcome, request, fork), conclude)
  )
}

/** Tells the program's hook. */
export const reportTo =
  (onOutcome: NonNullable<Submission["onOutcome"]>, { envelope }: Request, fork: Fork): Report =>
  (receipt) => {
    fork(hookEffect(onOutcome, receipt, envelope.parameters.envelopeId))
  }

/** The same with the submission read, and its content prepared if it is in memory. */
export const deliverPrepared = <E, R, E2 = never>(
  session: MessageContext,
  request: Request,
  prepared: Preparation<E, R>,
  report: Report | undefined,
  conclude: (receipt: Receipt) => Effect.Effect<Receipt, E2> = Effect.succeed
): Effect.Effect<Receipt, InvalidArgument | E | E2, R> =>
  Tracing.ofSend("SMTP send", session.attributes, request.recipients.length, (fiber) => {
    if (session.isExcluded(fiber)) return Effect.fail(nested())
    const trace = Tracing.commandsOf(fiber, session.attributes, session.driver.now)
    const message = new Message(session, request, report, trace)
    const settled = withinTimeout(message, opened(message, prepared))
    return guarded(
      message,
      Effect.flatMap(settled, ({ receipt, warning }) => {
        Tracing.tellReceipt(fiber, receipt)
        return warning === undefined ? conclude(receipt) : Effect.zipRight(warning, conclude(receipt))
      })
    )
  })

/** One guard for all of a message: between two there would be a moment without. */
const guarded = <A, E, R>(message: Message, use: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.onExit(use, (exit) => {
    if (Exit.isSuccess(exit)) return Effect.void
    return Effect.sync(() => (Exit.isInterrupted(exit) ? message.abandon() : message.leave()))
  })

/** The message with its content opened, for as long as it is driven. */
const opened = <E, R>(
  message: Message,
  preparation: Preparation<E, R>
): Effect.Effect<Settled, InvalidArgument | E, R> => {
  const { request, session } = message
  const driven = (content: Prepared<E, R>): Effect.Effect<Settled, InvalidArgument | E, R> =>
    driveHere(message, content, () => message.start(content))
  const unsent = (error: ContentError): Effect.Effect<Settled> => Effect.sync(() => message.unsent(error))
  switch (preparation._tag) {
    case "Bytes":
    case "Stream":
      return driven(preparation)
    case "Failed":
      return isContentError(preparation.error) ? unsent(preparation.error) : Effect.fail(preparation.error)
    case "Opening": {
      const { past, submission } = preparation
      const options = optionsOf(submission, session.driver.limits.stall, isBinary(request))
      const content = Contents.prepare(submission.content, options, past)
      return Effect.catchIf(Effect.scoped(Effect.flatMap(content, driven)), isContentError, unsent)
    }
  }
}

const withinTimeout = <E, R>(
  message: Message,
  sent: Effect.Effect<Settled, E, R>
): Effect.Effect<Settled, E, R> => {
  const { limitMillis, timeout } = message.request
  if (timeout === undefined) return sent
  const limit = Math.ceil(limitMillis ?? Duration.toMillis(timeout))
  const expired = Effect.map(Effect.sleep(timeout), () =>
    message.expire({ _tag: "Expired", phase: "idle", limitMillis: limit, isOfSend: true })
  )
  // A limit holds in uninterruptible regions too, such as finalizers.
  return Effect.raceFirst(Effect.interruptible(sent), Effect.interruptible(expired))
}

// -- without a fiber

/** Who waits for a message that was launched. */
export interface Waiting {
  readonly fork: Fork
  /** The message has ended; not called once it was given up. */
  readonly ended: (exit: Exit.Exit<Receipt, InvalidArgument>) => void
  readonly report: Report | undefined
}

/** Sends content in memory, in a fiber only if one is needed; the function returned gives the message up. */
export const launch = (
  session: MessageContext,
  request: Request,
  content: PreparedBytes,
  { ended, fork, report }: Waiting
): (() => void) => {
  const message = new Message(session, request, report, undefined)
  let fiber: Fiber.RuntimeFiber<Settled, InvalidArgument> | undefined
  let isGivenUp = false

  const settled = (exit: Exit.Exit<Settled, InvalidArgument>): void => {
    if (Exit.isSuccess(exit) && exit.value.warning !== undefined) fork(exit.value.warning)
    if (!isGivenUp) ended(Exit.map(exit, ({ receipt }) => receipt))
  }

  drive<never, never>(
    message,
    content,
    () => message.start(content),
    (rest) => {
      fiber = fork(rest)
      fiber.addObserver((exit) => {
        if (Exit.isInterrupted(exit)) message.abandon()
        else if (Exit.isFailure(exit)) message.leave()
        settled(exit)
      })
    },
    settled
  )

  return () => {
    isGivenUp = true
    message.abandon()
    if (fiber !== undefined) interrupt(fiber)
  }
}
