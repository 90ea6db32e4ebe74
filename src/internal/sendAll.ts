/**
 * `sendAll`: a stream of submissions through one session. As many are under way as the session's window takes, and
 * small content in memory needs no fiber of its own. It is loaded only when it is used, since effect/Stream is.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isInvalid } from "../protocol/Invalid.js"
import type { InvalidArgument } from "../SmtpError.js"
import { ContentError } from "../SmtpError.js"
import type { Keyed as KeyedReceipt, Receipt } from "../SmtpReceipt.js"
import type { NotSentCause } from "../SmtpSession.js"
import type { Keyed, Submission } from "../SmtpSubmission.js"
import { noAccount, receiptOf } from "./account.js"
import { contained, inDoubt, unsent } from "./contained.js"
import type { PreparedBytes } from "./content.js"
import * as Contents from "./content.js"
import type { Port } from "./delivery.js"
import { deliver, deliverPrepared, optionsOf, reportUnheard, serve } from "./delivery.js"
import { warnOf } from "./doubt.js"
import { invalidArgument } from "./failure.js"
import type { Demand, Message } from "./message.js"
import { hookEffect } from "./hook.js"
import * as Messages from "./message.js"
import * as Meter from "./meter.js"
import type { Request } from "./request.js"
import { keyOf, read as readRequest, submissionOf } from "./request.js"
import * as Tracing from "./tracing.js"
import * as Turns from "./turns.js"
import * as Wakeup from "./wakeup.js"

type Result<K, E> = KeyedReceipt<K, E, NotSentCause | InvalidArgument>

/**
 * Delivers every submission of the stream; see `SmtpSession.Service.sendAll`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sendAll = <K, E, R, E2, R2>(
  port: Port,
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>
): Stream.Stream<Result<K, E>, E2, R | R2> =>
  Stream.fromPull(
    Effect.gen(function* () {
      const pull = yield* Stream.toPull(submissions)
      const nested = yield* port.insideTransaction
      const traced = yield* Effect.withFiberRuntime<boolean>((fiber) =>
        Effect.succeed(Tracing.isTraced(fiber))
      )
      // The last to close is the first here. Nothing more begins from the moment of the end, however long the source
      // takes to be interrupted.
      const fibers = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const flow = makeFlow<K, E, R, E2>(port, { nested, traced }, fibers, yield* Effect.runtime<R>())
      yield* Effect.uninterruptible(
        Effect.zipRight(
          Effect.forkScoped(Effect.interruptible(feed(pull, flow))),
          Effect.addFinalizer(() => Effect.sync(flow.stop))
        )
      )
      return flow.take
    })
  )

/** What lies between the stream of submissions and that of receipts. */
interface Flow<K, E, R, E2> {
  /** Waits until another submission may begin. */
  readonly room: Effect.Effect<void>
  /** Begins submissions as there is room for them, and waits until all of these have begun. */
  readonly offer: (submissions: ReadonlyArray<Keyed<K, E, R>>) => Effect.Effect<void>
  /** No more submissions come. */
  readonly end: (cause: Cause.Cause<Option.Option<E2>>) => void
  /** The receipts that have not been taken; fails as the submissions did once all of them were. */
  readonly take: Effect.Effect<Chunk.Chunk<Result<K, E>>, Option.Option<E2>>
  /** Gives up what is under way. */
  readonly stop: () => void
}

const feed = <K, E, R, E2, R2>(
  pull: Effect.Effect<Chunk.Chunk<Keyed<K, E, R>>, Option.Option<E2>, R2>,
  flow: Flow<K, E, R, E2>
): Effect.Effect<void, never, R2> =>
  flow.room.pipe(
    Effect.zipRight(pull),
    Effect.flatMap((chunk) => flow.offer(Chunk.toReadonlyArray(chunk))),
    Effect.forever,
    Effect.catchAllCause((cause) => Effect.sync(() => flow.end(cause)))
  )

/** How the flow is used: within a transaction of the program's own, and with somebody who sees its spans. */
interface Use {
  readonly nested: boolean
  readonly traced: boolean
}

/** A receipt that nobody has read yet, and who hears of it should nobody read it. */
interface Unread<K, E> {
  readonly result: Result<K, E>
  readonly onOutcome: Keyed<K, E>["submission"]["onOutcome"]
}

const makeFlow = <K, E, R, E2>(
  port: Port,
  { nested, traced }: Use,
  scope: Scope.Scope,
  runtime: Runtime.Runtime<R>
): Flow<K, E, R, E2> => {
  const { exchange } = port
  const { window } = port.settings
  // Twice the window: while one of them is under way the other waits, so that the lane never runs empty.
  const mostMessages = 2 * window.messages
  const mostOctets = 2 * window.octets
  const changed = Wakeup.make()
  const active: Array<Message> = []
  const receipts: Array<Unread<K, E>> = []
  let offered: Iterator<Keyed<K, E, R>, undefined> = none
  // Of those that were offered.
  let left = 0
  let beginning = false
  let stopped = false
  let fibers = 0
  let octets = 0
  let ended: Cause.Cause<Option.Option<E2>> | undefined

  const underWay = (): number => active.length + fibers

  const deactivate = (message: Message): void => {
    const place = active.indexOf(message)
    if (place !== -1) active.splice(place, 1)
  }

  // However the source has ended: what is under way has receipts to come.
  const isOver = (): boolean => ended !== undefined && underWay() === 0

  const end = (cause: Cause.Cause<Option.Option<E2>>): void => {
    ended = cause
    changed.wake()
  }

  const hasRoom = (): boolean =>
    underWay() === 0
      ? receipts.length < mostMessages
      : underWay() + receipts.length < mostMessages && octets < mostOctets

  const tellHook = ({ onOutcome, result }: Unread<K, E>): void => {
    const { receipt } = result
    if (onOutcome !== undefined && receipt.outcomes.length > 0)
      Runtime.runFork(runtime)(Effect.suspend(() => onOutcome(receipt)))
  }

  const add = (
    keyed: Keyed<K, E, R>,
    receipt: Receipt<NotSentCause | InvalidArgument>,
    error?: InvalidArgument | E
  ): void => {
    const unread: Unread<K, E> = { result: { key: keyOf(keyed), receipt, error }, onOutcome: hookOf(keyed) }
    if (stopped) {
      tellHook(unread)
      return
    }
    receipts.push(unread)
    // Somebody waits for the lane already: whoever comes behind need not come before the next write.
    if (underWay() > window.messages) exchange.afterwards(beginMore)
    else beginMore()
    changed.wake()
  }

  const addExit = (
    keyed: Keyed<K, E, R>,
    exit: Exit.Exit<Receipt<NotSentCause>, InvalidArgument | ContentError | E>
  ): void => {
    if (Exit.isSuccess(exit)) {
      add(keyed, exit.value)
      return
    }
    const submission = submissionOf(keyed)
    const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
    if (failure instanceof ContentError) add(keyed, unsent(submission, failure))
    else if (failure !== undefined) add(keyed, unsent(submission, failure), failure)
    // Who stops it tells the hook.
    else if (!stopped) add(keyed, inDoubt(submission, exit.cause))
  }

  /** Runs what needs a fiber, until the scope closes; `length` octets are under way meanwhile. */
  const fork = (
    keyed: Keyed<K, E, R>,
    length: number,
    use: Effect.Effect<Receipt<NotSentCause>, InvalidArgument | ContentError | E, R>,
    interrupted: () => void = () => undefined
  ): void => {
    fibers++
    octets += length
    Runtime.runFork(runtime)(use, { scope }).addObserver((exit) => {
      fibers--
      octets -= length
      if (Exit.isInterrupted(exit)) interrupted()
      addExit(keyed, exit)
      changed.wake()
    })
  }

  const beginBytes = (keyed: Keyed<K, E, R>, request: Request, content: PreparedBytes): void => {
    const { submission } = keyed
    const { onOutcome } = submission
    const report = reportUnheard(port, request)
    const message = Messages.make(port, request, (receipt, unsettled) => {
      report(receipt, unsettled)
      if (onOutcome === undefined) return
      const { envelopeId } = request.envelope.parameters
      Runtime.runFork(runtime)(hookEffect(onOutcome, receipt, envelopeId))
    })
    const length = content.facts.octets
    active.push(message)
    octets += length
    const done = (): void => {
      deactivate(message)
      octets -= length
    }
    const settled = (receipt: Receipt<NotSentCause>): Receipt<NotSentCause> => {
      Meter.settled(receipt)
      if (receipt.unknown.length > 0) exchange.fork(warnOf(request, content, receipt))
      return receipt
    }
    message.listen((demand: Demand) => {
      if (demand._tag === "Settled") {
        done()
        settled(demand.receipt)
        add(keyed, demand.receipt)
      } else if (demand._tag === "Refused") {
        done()
        add(keyed, unsent(submission, demand.error), demand.error)
      } else {
        // From here on the fiber takes care of the message.
        deactivate(message)
        const served = Effect.map(serve<E, R>(port, request, content, message, demand), settled)
        // Should it be interrupted before it has begun to guard the message, nobody else gives that up.
        fork(keyed, 0, Effect.ensuring(served, Effect.sync(done)), message.abandon)
      }
    })
    message.begin(content)
  }

  const beginOne = (keyed: Keyed<K, E, R>): void => {
    const submission = submissionOf(keyed)
    const request = readRequest(submission)
    const error = isInvalid(request) ? invalidArgument(request) : nested ? Messages.nested() : undefined
    if (error !== undefined || isInvalid(request)) {
      add(keyed, unsent(submission, error), error)
      return
    }
    const content = Contents.prepareInMemory(
      submission.content,
      optionsOf(exchange.limits.stall, request, submission)
    )
    if (content === undefined) {
      fork(keyed, expectedLength(submission), deliver(port, contained(submission)))
    } else if (content._tag === "Bytes" && (traced || request.timeout !== undefined)) {
      fork(keyed, content.facts.octets, deliverPrepared(port, submission, request, content))
    } else if (content._tag === "Bytes") {
      beginBytes(keyed, request, content)
    } else if (content._tag === "ContentError") {
      add(
        keyed,
        receiptOf(request, noAccount(), () => content)
      )
    } else {
      add(keyed, unsent(submission, content), content)
    }
  }

  const beginOffered = (): void => {
    while (left > 0 && hasRoom()) {
      left--
      const next = offered.next()
      if (next.done !== true) beginOne(next.value)
    }
  }

  // At once when one has ended, so that the next leaves with whatever else does.
  const beginMore = (): void => {
    if (beginning || stopped || left === 0) return
    beginning = true
    try {
      exchange.together(beginOffered)
    } finally {
      beginning = false
    }
  }

  // Not where a message waits for room that unread receipts take, with the lane about to run empty.
  const mayGather = (): boolean =>
    underWay() > 0 &&
    receipts.length < Turns.worthAChunk &&
    receipts[0]?.onOutcome === undefined &&
    (underWay() > window.messages || hasRoom())

  const gathered = Turns.gather(mayGather)

  return {
    room: Wakeup.until(changed, () => (hasRoom() ? Effect.void : undefined)),
    offer: (submissions) =>
      Effect.suspend(() => {
        offered = submissions.values()
        left = submissions.length
        beginMore()
        return Wakeup.until(changed, () => (stopped || left === 0 ? Effect.void : undefined))
      }),
    end,
    // All that have come by the time that the fiber goes on. Who leaves has read what it was given: where a hook waits
    // for what is left unread, receipts are given one by one.
    take: Effect.flatMap(
      Effect.zipRight(
        Wakeup.until(changed, () => (receipts.length > 0 || isOver() ? Effect.void : undefined)),
        gathered
      ),
      () => {
        if (receipts.length === 0) return Effect.failCause(ended ?? Cause.empty)
        const hooked = receipts.findIndex(({ onOutcome }) => onOutcome !== undefined)
        const given = receipts.splice(0, hooked === -1 ? receipts.length : Math.max(1, hooked))
        const taken = Chunk.unsafeFromArray(given.map(({ result }) => result))
        beginMore()
        changed.wake()
        return Effect.succeed(taken)
      }
    ),
    stop: () => {
      stopped = true
      left = 0
      // The last first, so that none has its turn because one before it was given up.
      for (const message of active.splice(0).reverse()) message.abandon()
      receipts.splice(0).forEach(tellHook)
    }
  }
}

const none: Iterator<never, undefined> = { next: () => ({ done: true, value: undefined }) }

const hookOf = <K, E, R>(keyed: Keyed<K, E, R>): Submission["onOutcome"] => {
  const submission: unknown = submissionOf(keyed)
  return isHooked(submission) ? submission.onOutcome : undefined
}

const isHooked = (
  submission: unknown
): submission is { readonly onOutcome: NonNullable<Submission["onOutcome"]> } =>
  Predicate.hasProperty(submission, "onOutcome") && Predicate.isFunction(submission.onOutcome)

// What a stream of unknown length counts as.
const usualLength = 65_536

const expectedLength = ({ content }: Submission<unknown, unknown>): number =>
  Predicate.isObject(content) && "_tag" in content && content._tag === "Streamed"
    ? Math.max(content.size ?? usualLength, usualLength)
    : usualLength
