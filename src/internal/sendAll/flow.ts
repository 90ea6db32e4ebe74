/**
 * What lies between a stream of submissions and that of their receipts: as many are under way as there is room for, in
 * messages and in octets, and receipts are given as they come. Who sends them is a carrier, which needs no fiber for
 * what can be done without. It is loaded by whoever has loaded effect/Stream.
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
import type { Disconnection, SmtpError, InvalidArgument } from "../../SmtpError.js"
import { ContentError } from "../../SmtpError.js"
import type { Keyed as KeyedReceipt, Receipt } from "../../SmtpReceipt.js"
import type { Keyed, Submission } from "../../SmtpSubmission.js"
import { contained, inDoubt, unsent } from "./defectsAsErrors.js"
import { hookEffect } from "../effect/hook.js"
import { keyOf, submissionOf } from "../session/request.js"
import * as Turns from "./batchReceipts.js"
import * as Wakeup from "../effect/wakeup.js"

/** What a flow itself can say of a recipient. */
type OwnCause = InvalidArgument | ContentError | Disconnection

/** Whoever sends what flows. */
export interface Carrier<E, R, C extends SmtpError> {
  /** How many messages may be under way, with those whose receipts nobody has taken. */
  readonly mostMessages: number
  /** How many octets may be under way before another message begins. */
  readonly mostOctets: number
  /** Runs what begins one or many, so that all of them leave together. */
  readonly together: (begin: () => void) => void
  /** The same where so many are under way that others need not begin at once: when what is leaving has left. */
  readonly afterwards: (begin: () => void) => void
  /** What is returned gives the submission up, should the flow end before it has come to anything. */
  readonly begin: (
    submission: Submission<E | ContentError, R>,
    parcel: Parcel<E, R, C>
  ) => (() => void) | undefined
}

/** A submission under way. */
export interface Parcel<E, R, C extends SmtpError> {
  /** Says how many octets are under way with it. */
  readonly weigh: (octets: number) => void
  /** Runs what needs a fiber, until the flow ends, and takes what that comes to. */
  readonly fork: (use: Effect.Effect<Receipt<C>, InvalidArgument | ContentError | E, R>) => void
  /** Says what it has come to, if not by `fork`. */
  readonly end: (exit: Exit.Exit<Receipt<C>, InvalidArgument | ContentError | E>) => void
}

/**
 * Receipts come in the order in which they are known, and those of all that is under way come before the stream ends as
 * the submissions did. Neither side can outrun the other.
 */
export const through = <K, E, R, E2, R2, C extends SmtpError>(
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>,
  carrierOf: (runtime: Runtime.Runtime<R>, scope: Scope.Scope) => Effect.Effect<Carrier<E, R, C>>
): Stream.Stream<KeyedReceipt<K, E, C | OwnCause>, E2, R | R2> =>
  Stream.fromPull(
    Effect.gen(function* () {
      const pull = yield* Stream.toPull(submissions)
      const runtime = yield* Effect.runtime<R>()
      // The last to close is the first here. Nothing more begins from the moment of the end, however long the source
      // takes to be interrupted.
      const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const carrier = yield* carrierOf(runtime, scope)
      const flow = make<K, E, R, E2, C>(carrier, runtime, scope)
      yield* Effect.uninterruptible(
        Effect.zipRight(
          Effect.forkScoped(Effect.interruptible(feed(pull, flow))),
          Effect.addFinalizer(() => Effect.sync(flow.stop))
        )
      )
      return flow.take
    })
  )

interface Flow<K, E, R, E2, C extends SmtpError> {
  /** Waits until another submission may begin. */
  readonly room: Effect.Effect<void>
  /** Begins submissions as there is room for them, and waits until all of these have begun. */
  readonly offer: (submissions: ReadonlyArray<Keyed<K, E, R>>) => Effect.Effect<void>
  /** No more submissions come. */
  readonly end: (cause: Cause.Cause<Option.Option<E2>>) => void
  /** The receipts that have not been taken; fails as the submissions did once all of them were. */
  readonly take: Effect.Effect<Chunk.Chunk<KeyedReceipt<K, E, C | OwnCause>>, Option.Option<E2>>
  /** Gives up what is under way. */
  readonly stop: () => void
}

const feed = <K, E, R, E2, R2, C extends SmtpError>(
  pull: Effect.Effect<Chunk.Chunk<Keyed<K, E, R>>, Option.Option<E2>, R2>,
  flow: Flow<K, E, R, E2, C>
): Effect.Effect<void, never, R2> =>
  flow.room.pipe(
    Effect.zipRight(pull),
    Effect.flatMap((chunk) => flow.offer(Chunk.toReadonlyArray(chunk))),
    Effect.forever,
    Effect.catchAllCause((cause) => Effect.sync(() => flow.end(cause)))
  )

/** A receipt that nobody has read yet, and who hears of it should nobody read it. */
interface Unread<K, E, C extends SmtpError> {
  readonly result: KeyedReceipt<K, E, C | OwnCause>
  readonly onOutcome: Submission["onOutcome"]
}

/** A submission that has begun. One object for both, since what is alive with every message is what costs. */
interface Begun<E, R, C extends SmtpError> extends Parcel<E, R, C> {
  octets: number
  giveUp: () => void
}

const make = <K, E, R, E2, C extends SmtpError>(
  carrier: Carrier<E, R, C>,
  runtime: Runtime.Runtime<R>,
  scope: Scope.Scope
): Flow<K, E, R, E2, C> => {
  const { mostMessages, mostOctets } = carrier
  const runFork = Runtime.runFork(runtime)
  const changed = Wakeup.make()
  const active: Array<Begun<E, R, C>> = []
  const receipts: Array<Unread<K, E, C>> = []
  let offered: Iterator<Keyed<K, E, R>, undefined> = none
  // Of those that were offered.
  let left = 0
  let octets = 0
  let beginning = false
  let stopped = false
  let ended: Cause.Cause<Option.Option<E2>> | undefined

  // However the source has ended: what is under way has receipts to come.
  const isOver = (): boolean => ended !== undefined && active.length === 0

  // Somebody waits for every message that comes to its end, so that none has to begin at once.
  const isBusy = (): boolean => active.length > mostMessages / 2

  // One goes whatever its length.
  const hasRoom = (): boolean =>
    active.length + receipts.length < mostMessages && (active.length === 0 || octets < mostOctets)

  const tellHook = ({ onOutcome, result: { receipt } }: Unread<K, E, C>): void => {
    if (onOutcome !== undefined && receipt.outcomes.length > 0) {
      runFork(hookEffect(onOutcome, receipt, undefined))
    }
  }

  const weigh = (begun: Begun<E, R, C>, length: number): void => {
    octets += length - begun.octets
    begun.octets = length
  }

  const add = (
    keyed: Keyed<K, E, R>,
    begun: Begun<E, R, C>,
    receipt: Receipt<C | OwnCause>,
    error?: InvalidArgument | E
  ): void => {
    const place = active.indexOf(begun)
    if (place !== -1) active.splice(place, 1)
    weigh(begun, 0)
    const unread = { result: { key: keyOf(keyed), receipt, error }, onOutcome: hookOf(keyed) }
    if (stopped) {
      tellHook(unread)
      return
    }
    receipts.push(unread)
    if (isBusy()) carrier.afterwards(beginMore)
    else beginMore()
    changed.wake()
  }

  const end = (
    keyed: Keyed<K, E, R>,
    begun: Begun<E, R, C>,
    exit: Exit.Exit<Receipt<C>, InvalidArgument | ContentError | E>
  ): void => {
    if (Exit.isSuccess(exit)) {
      add(keyed, begun, exit.value)
      return
    }
    const submission = submissionOf(keyed)
    const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
    if (failure instanceof ContentError) add(keyed, begun, unsent(submission, failure))
    else if (failure !== undefined) add(keyed, begun, unsent(submission, failure), failure)
    // Who stops it tells the hook.
    else if (!stopped) add(keyed, begun, inDoubt(submission, exit.cause))
  }

  const beginOne = (keyed: Keyed<K, E, R>): void => {
    const begun: Begun<E, R, C> = {
      octets: 0,
      giveUp: nothing,
      weigh: (length) => weigh(begun, length),
      fork: (use) => {
        begun.giveUp = nothing
        runFork(use, { scope }).addObserver(begun.end)
      },
      end: (exit) => end(keyed, begun, exit)
    }
    active.push(begun)
    const giveUp = carrier.begin(contained(submissionOf(keyed)), begun)
    if (giveUp !== undefined) begun.giveUp = giveUp
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
    if (beginning || left === 0) return
    beginning = true
    try {
      carrier.together(beginOffered)
    } finally {
      beginning = false
    }
  }

  // Not where a message waits for room that unread receipts take, with the carrier about to run empty.
  const mayGather = (): boolean =>
    active.length > 0 &&
    receipts.length < Turns.worthAChunk &&
    receipts[0]?.onOutcome === undefined &&
    (isBusy() || hasRoom())

  const gathered = Turns.gather(mayGather)

  return {
    room: Wakeup.until(changed, () => (hasRoom() ? Effect.void : undefined)),
    offer: (submissions) =>
      Effect.suspend(() => {
        if (stopped) return Effect.void
        offered = submissions.values()
        left = submissions.length
        beginMore()
        return Wakeup.until(changed, () => (left === 0 ? Effect.void : undefined))
      }),
    end: (cause) => {
      ended = cause
      changed.wake()
    },
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
        beginMore()
        changed.wake()
        return Effect.succeed(Chunk.unsafeFromArray(given.map(({ result }) => result)))
      }
    ),
    stop: () => {
      stopped = true
      left = 0
      // The last first, so that none has its turn because one before it was given up.
      for (const { giveUp } of active.splice(0).reverse()) giveUp()
      receipts.splice(0).forEach(tellHook)
    }
  }
}

const none: Iterator<never, undefined> = { next: () => ({ done: true, value: undefined }) }

const nothing = (): void => undefined

// What a stream of unknown length counts as.
const usualLength = 65_536

/** How many octets a submission counts as, before its content is known. */
export const expectedLength = ({ content }: Submission<unknown, unknown>): number =>
  Predicate.isObject(content) && "_tag" in content && content._tag === "Streamed"
    ? Math.max(content.size ?? usualLength, usualLength)
    : usualLength

const hookOf = <K, E, R>(keyed: Keyed<K, E, R>): Submission["onOutcome"] => {
  const submission: unknown = submissionOf(keyed)
  return isHooked(submission) ? submission.onOutcome : undefined
}

const isHooked = (
  submission: unknown
): submission is { readonly onOutcome: NonNullable<Submission["onOutcome"]> } =>
  Predicate.hasProperty(submission, "onOutcome") && Predicate.isFunction(submission.onOutcome)
