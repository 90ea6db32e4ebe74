/**
 * `sendAll` of sessions and clients: from a stream of submissions to a stream of their receipts, as they come. It keeps
 * as many messages under way as there is room for, in messages and in bytes. It is loaded only when it is used, since
 * effect/Stream takes long to load.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { Disconnection, InvalidArgument, SmtpError } from "../../SmtpError.js"
import { ContentError } from "../../SmtpError.js"
import type { Keyed as KeyedReceipt, Receipt } from "../../SmtpReceipt.js"
import type { Keyed, Submission } from "../../SmtpSubmission.js"
import { hookEffect } from "../effect/hook.js"
import type { Fork } from "../effect/runtime.js"
import { clockOf, makeFork, withFiber } from "../effect/runtime.js"
import { forkScope } from "../effect/scope.js"
import * as Wakeup from "../effect/wakeup.js"
import type { Preparation } from "../session/deliver.js"
import { keyOf, submissionOf } from "../session/request.js"
import * as Tracing from "../telemetry/tracing.js"
import { gather, worthAChunk } from "./batchReceipts.js"
import { defectsAsErrors, making, unknownReceipt, unsentReceipt } from "./defectsAsErrors.js"

/** How one session or client sends the messages of a stream. */
export interface Sender<E, R, C extends SmtpError> {
  /** How many messages may be under way, with those whose receipts nobody has taken. */
  readonly maxMessages: number
  /** How many bytes may be under way before another message begins. */
  readonly maxBytes: number
  /** Runs what begins one message or many, so that all of them leave together. */
  readonly together: (begin: () => void) => void
  /** The same where other messages keep the sender busy: once what is leaving has left. */
  readonly afterwards: (begin: () => void) => void
  /** Begins a submission; the function returned gives it up. */
  readonly sendOne: (submission: Submission<E | ContentError, R>, slot: Slot<E, R, C>) => () => void
}

/** What a sender is given by the stream that it serves. */
export interface SenderContext<R> {
  readonly clock: Clock.Clock
  readonly isTraced: boolean
  /** Runs what needs a fiber, until the stream ends. */
  readonly fork: Fork<R>
  /** The same, beyond the end of the stream. */
  readonly forkBeyond: Fork<R>
}

/** What `sendAll` itself can say of a recipient. */
type OwnCause = InvalidArgument | ContentError | Disconnection

type Batch<K, E, C extends SmtpError> = Chunk.Chunk<KeyedReceipt<K, E, C | OwnCause>>

/**
 * The receipts of all that is under way come before the stream ends as the submissions did. Neither side can outrun the
 * other.
 */
export const sendAllBy = <K, E, R, E2, R2, C extends SmtpError>(
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>,
  senderOf: (context: SenderContext<R>) => Sender<E, R, C>
): Stream.Stream<KeyedReceipt<K, E, C | OwnCause>, E2, R | R2> =>
  Stream.fromPull(
    Effect.gen(function* () {
      const pull = yield* Stream.toPull(submissions)
      const forkBeyond = yield* makeFork<R>()
      // The last to close is the first here. Nothing more begins from the moment of the end, however long the source
      // takes to be interrupted.
      const scope = yield* forkScope(yield* Effect.scope)
      const fork: Fork<R> = (effect, options) => forkBeyond(effect, { ...options, scope })
      const sender = yield* withFiber((fiber) =>
        Effect.succeed(
          senderOf({ clock: clockOf(fiber), isTraced: Tracing.isTraced(fiber), fork, forkBeyond })
        )
      )
      const all = new SendAll<K, E, R, E2, C>(sender, fork, forkBeyond)
      yield* Effect.uninterruptible(
        Effect.zipRight(
          Effect.forkScoped(Effect.interruptible(feed(pull, all))),
          Effect.addFinalizer(() => Effect.sync(() => all.stop()))
        )
      )
      return all.take
    })
  )

const feed = <K, E, R, E2, R2, C extends SmtpError>(
  pull: Effect.Effect<Chunk.Chunk<Keyed<K, E, R>>, Option.Option<E2>, R2>,
  all: SendAll<K, E, R, E2, C>
): Effect.Effect<void, never, R2> =>
  all.room.pipe(
    Effect.zipRight(pull),
    Effect.flatMap((chunk) => all.offer(Chunk.toReadonlyArray(chunk))),
    Effect.forever,
    Effect.catchAllCause((cause) => Effect.sync(() => all.end(cause)))
  )

/** A receipt that nobody has read yet, and who hears of it should nobody read it. */
interface Unread<K, E, C extends SmtpError> {
  readonly result: KeyedReceipt<K, E, C | OwnCause>
  readonly onOutcome: Submission["onOutcome"]
}

class SendAll<K, E, R, E2, C extends SmtpError> {
  private readonly changed = Wakeup.make()
  private readonly active: Array<MessageSlot<K, E, R, E2, C>> = []
  private readonly receipts: Array<Unread<K, E, C>> = []
  private offered: Iterator<Keyed<K, E, R>, undefined> = none
  /** Of those that were offered. */
  private left = 0
  private bytes = 0
  private isBeginning = false
  private isStopped = false
  private sourceEnd: Cause.Cause<Option.Option<E2>> | undefined

  constructor(
    private readonly sender: Sender<E, R, C>,
    readonly fork: Fork<R>,
    private readonly forkBeyond: Fork<R>
  ) {}

  // -- submissions

  /** Waits until another submission may begin. */
  readonly room: Effect.Effect<void> = Wakeup.until(this.changed, () =>
    this.hasRoom() ? Effect.void : undefined
  )

  /** Begins submissions as there is room for them, and waits until all of these have begun. */
  offer(submissions: ReadonlyArray<Keyed<K, E, R>>): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.isStopped) return Effect.void
      this.offered = submissions.values()
      this.left = submissions.length
      this.beginMore()
      return Wakeup.until(this.changed, () => (this.left === 0 ? Effect.void : undefined))
    })
  }

  /** No more submissions come. */
  end(cause: Cause.Cause<Option.Option<E2>>): void {
    this.sourceEnd = cause
    this.changed.wake()
  }

  // One goes whatever its length.
  private hasRoom(): boolean {
    const { active, bytes, receipts, sender } = this
    return (
      active.length + receipts.length < sender.maxMessages && (active.length === 0 || bytes < sender.maxBytes)
    )
  }

  // At once when one has ended, so that the next leaves with whatever else does.
  private readonly beginMore = (): void => {
    if (this.isBeginning || this.left === 0) return
    this.isBeginning = true
    try {
      this.sender.together(() => {
        while (this.left > 0 && this.hasRoom()) {
          this.left--
          const next = this.offered.next()
          if (next.done !== true) this.beginOne(next.value)
        }
      })
    } finally {
      this.isBeginning = false
    }
  }

  private beginOne(keyed: Keyed<K, E, R>): void {
    const slot = new MessageSlot(this, keyOf(keyed))
    this.active.push(slot)
    const given = submissionOf(keyed)
    if (Effect.isEffect(given)) this.make(slot, given)
    else this.send(slot, given)
  }

  /** Begins a submission that has to be made first. */
  private make(slot: MessageSlot<K, E, R, E2, C>, submission: Effect.Effect<Submission<E, R>, E, R>): void {
    this.fork(making(submission)).addObserver((exit) => {
      if (Exit.isFailure(exit)) this.ended(slot, Exit.failCause(exit.cause))
      else if (!this.isStopped) this.sender.together(() => this.send(slot, exit.value))
    })
  }

  private send(slot: MessageSlot<K, E, R, E2, C>, submission: Submission<E, R>): void {
    slot.submission = submission
    slot.giveUp = this.sender.sendOne(defectsAsErrors(submission), slot)
  }

  weigh(slot: MessageSlot<K, E, R, E2, C>, bytes: number): void {
    this.bytes += bytes - slot.bytes
    slot.bytes = bytes
  }

  // -- receipts

  ended(
    slot: MessageSlot<K, E, R, E2, C>,
    exit: Exit.Exit<Receipt<C>, InvalidArgument | ContentError | E>
  ): void {
    if (Exit.isSuccess(exit)) {
      this.add(slot, exit.value)
      return
    }
    const { submission } = slot
    const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
    if (failure instanceof ContentError) this.add(slot, unsentReceipt(submission, failure))
    else if (failure !== undefined) this.add(slot, unsentReceipt(submission, failure), failure)
    // A slot that was stopped tells its hook itself.
    else if (!this.isStopped) this.add(slot, unknownReceipt(submission, exit.cause))
  }

  private add(
    slot: MessageSlot<K, E, R, E2, C>,
    receipt: Receipt<C | OwnCause>,
    error?: InvalidArgument | E
  ): void {
    const place = this.active.indexOf(slot)
    if (place !== -1) this.active.splice(place, 1)
    this.weigh(slot, 0)
    const unread = { result: { key: slot.key, receipt, error }, onOutcome: hookOf(slot.submission) }
    if (this.isStopped) {
      this.tellHook(unread)
      return
    }
    this.receipts.push(unread)
    if (this.isBusy()) this.sender.afterwards(this.beginMore)
    else this.beginMore()
    this.changed.wake()
  }

  // Somebody waits for every message that ends, so that none has to begin at once.
  private isBusy(): boolean {
    return this.active.length > this.sender.maxMessages / 2
  }

  // Not where a message waits for room that unread receipts take, with the sender about to run empty.
  private readonly gathered = gather(
    () =>
      this.active.length > 0 &&
      this.receipts.length < worthAChunk &&
      this.receipts[0]?.onOutcome === undefined &&
      (this.isBusy() || this.hasRoom())
  )

  /**
   * The receipts that have not been taken: all that have come by the time that the fiber goes on. Fails as the
   * submissions did once all were taken.
   */
  readonly take: Effect.Effect<Batch<K, E, C>, Option.Option<E2>> = Wakeup.until(this.changed, () =>
    this.receipts.length > 0 || (this.sourceEnd !== undefined && this.active.length === 0)
      ? Effect.void
      : undefined
  ).pipe(
    Effect.zipRight(this.gathered),
    Effect.flatMap(() => {
      if (this.receipts.length === 0) return Effect.failCause(this.sourceEnd ?? Cause.empty)
      // A reader that leaves has read what it was given: where a hook waits for what is left unread, receipts are given
      // one by one.
      const hooked = this.receipts.findIndex(({ onOutcome }) => onOutcome !== undefined)
      const given = this.receipts.splice(0, hooked === -1 ? this.receipts.length : Math.max(1, hooked))
      this.beginMore()
      this.changed.wake()
      return Effect.succeed(Chunk.unsafeFromArray(given.map(({ result }) => result)))
    })
  )

  /** Gives up what is under way. */
  stop(): void {
    this.isStopped = true
    this.left = 0
    // The last first, so that none has its turn because one before it was given up.
    for (const { giveUp } of this.active.splice(0).reverse()) giveUp()
    for (const unread of this.receipts.splice(0)) this.tellHook(unread)
  }

  private tellHook({ onOutcome, result: { receipt } }: Unread<K, E, C>): void {
    if (onOutcome !== undefined) {
      this.forkBeyond(hookEffect(onOutcome, receipt, undefined))
    }
  }
}

/** A submission under way, as its sender sees it. */
export interface Slot<E, R, C extends SmtpError> {
  /** Says how many bytes are under way with it. */
  readonly weigh: (bytes: number) => void
  /** Says what it has come to. */
  readonly end: (exit: Exit.Exit<Receipt<C>, InvalidArgument | ContentError | E>) => void
  /** Ends it by an error; nothing was sent. */
  readonly fail: (error: InvalidArgument | ContentError | E) => () => void
  /** Runs it in a fiber until the stream ends, and takes what that comes to. */
  readonly run: (send: Effect.Effect<Receipt<C>, InvalidArgument | ContentError | E, R>) => () => void
}

// One object for each message, since what is alive with every message is what costs.
class MessageSlot<K, E, R, E2, C extends SmtpError> implements Slot<E, R, C> {
  bytes = 0
  /** Absent until it is made. */
  submission: Submission<E, R> | undefined = undefined
  giveUp: () => void = nothing

  constructor(
    private readonly all: SendAll<K, E, R, E2, C>,
    readonly key: K
  ) {}

  weigh(bytes: number): void {
    this.all.weigh(this, bytes)
  }

  end(exit: Exit.Exit<Receipt<C>, InvalidArgument | ContentError | E>): void {
    this.all.ended(this, exit)
  }

  fail(error: InvalidArgument | ContentError | E): () => void {
    this.end(Exit.fail(error))
    return nothing
  }

  run(send: Effect.Effect<Receipt<C>, InvalidArgument | ContentError | E, R>): () => void {
    this.all.fork(send).addObserver((exit) => this.end(exit))
    return nothing
  }
}

const none: Iterator<never, undefined> = { next: () => ({ done: true, value: undefined }) }

const nothing = (): void => undefined

// What a stream of unknown length counts as.
const usualLength = 65_536

/** How many bytes a submission counts as. */
export const weightOf = (content: Preparation<unknown, unknown>): number => {
  if (content._tag === "Bytes") return content.facts.octets
  const streamed = content._tag === "Opening" ? content.submission.content : undefined
  return Predicate.isObject(streamed) && "_tag" in streamed && streamed._tag === "Streamed"
    ? Math.max(streamed.size ?? usualLength, usualLength)
    : usualLength
}

const hookOf = (submission: unknown): Submission["onOutcome"] =>
  Predicate.hasProperty(submission, "onOutcome") && isHook(submission.onOutcome)
    ? submission.onOutcome
    : undefined

const isHook = (hook: unknown): hook is NonNullable<Submission["onOutcome"]> => Predicate.isFunction(hook)
