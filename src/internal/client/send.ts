/**
 * One message through a client. A round is attempts at one relay after another, until one has answered; the schedule of
 * retries separates rounds; one table holds the outcomes of all attempts.
 *
 * A state machine that calls back: it waits for a session, and for a session to deliver, without a fiber. What only a
 * fiber can do (streams, pauses, rate limits, time limits, spans, log lines) it hands to `run`: the fiber of its caller
 * for `deliver`, one of its own for `sendAll`.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Outcomes from "../../protocol/Outcome.js"
import type { NotSentCause, Receipt } from "../../SmtpClient.js"
import { ClientUnavailable, ContentError, InvalidArgument, ServerDisconnected } from "../../SmtpError.js"
import type { Receipt as AnyReceipt } from "../../SmtpReceipt.js"
import type { SetupError } from "../../SmtpSession.js"
import { noPast } from "../content/runRecord.js"
import { describeCause } from "../effect/cause.js"
import * as Elapsed from "../effect/elapsed.js"
import { hookEffect } from "../effect/hook.js"
import type { Preparation } from "../session/deliver.js"
import { deliverPrepared, launch } from "../session/deliver.js"
import type { Request } from "../session/request.js"
import { restricted } from "../session/request.js"
import type { OpenSession as Session } from "../session/session.js"
import * as Meter from "../telemetry/meter.js"
import * as Tracing from "../telemetry/tracing.js"
import type { ClientParts, PreparedSubmission, SendContext, SendSettings } from "./deliver.js"
import type { Positions } from "./outcomes.js"
import { AttemptOutcomes, forReplacement, hasUsedUp, inDoubt, learn, those, leaseEnd } from "./outcomes.js"
import type { Lease } from "./pool.js"
import type { Relay } from "./relays.js"
import type { Pauses } from "./retry.js"
import { pausesOf } from "./retry.js"
import * as Telemetry from "./telemetry.js"

type AnyRelay = Relay<Session, SetupError>

type SendExit<E> = Exit.Exit<Receipt, InvalidArgument | E>

const interrupted = (): ServerDisconnected =>
  new ServerDisconnected({ phase: "idle", cause: "the send was interrupted" })

const unavailable = (reason: ClientUnavailable["reason"]): ClientUnavailable =>
  new ClientUnavailable({ reason })

const nothing = (): void => undefined

/** Stands for `leave` until what is waited for has begun. */
const beginning = (): void => undefined

const none: ReadonlySet<AnyRelay> = new Set()

export class ClientMessage<E, R> {
  private readonly content: Preparation<E, R>
  private readonly table: AttemptOutcomes<NotSentCause>
  private readonly since: number
  private readonly limitMillis: number | undefined
  private run: (step: Effect.Effect<void, never, R>) => void = nothing
  private done: (exit: SendExit<E>) => void = nothing
  /** With a session, the session tells what becomes of the message. */
  private stage: "Waiting" | "WithSession" | "GivenUp" = "Waiting"
  /** Gives up what the message waits for. */
  private leave: () => void = nothing
  /** Relays that this round has been to. */
  private tried: ReadonlySet<AnyRelay> = none
  private pauses: Pauses | undefined
  /** For how long it waits yet for relays that pause, in milliseconds; unknown before the first that does. */
  private waitLeft: number | undefined
  /** Whether a session was replaced that did not do, at no cost to the message. */
  private isReplaced = false
  /** What the caller was told, who may have been interrupted before that arrived. */
  private settled: Receipt | undefined
  private isCounted = false
  private isTold = false

  constructor(
    private readonly parts: ClientParts,
    private readonly submission: PreparedSubmission<E, R>,
    private readonly settings: SendSettings,
    private readonly context: SendContext
  ) {
    const { recipients, timeout } = submission.request
    const { content } = submission
    // A stream is compared with what it gave on other attempts for the same message, and for no other message.
    this.content = content._tag === "Opening" ? { ...content, past: noPast() } : content
    this.table = new AttemptOutcomes(recipients)
    this.since = Elapsed.millis(context.clock)
    this.limitMillis = timeout === undefined ? settings.timeoutMillis : Duration.toMillis(timeout)
  }

  /**
   * Begins. Has `run` perform what only a fiber can, and calls `done` at the end, before it returns if possible. The
   * function returned gives the message up, at whatever point it is: only its hook is told what becomes of it.
   */
  begin(run: (step: Effect.Effect<void, never, R>) => void, done: (exit: SendExit<E>) => void): () => void {
    this.run = run
    this.done = done
    this.round(this.submission.request.recipients.map((_, position) => position))
    return () => this.giveUp()
  }

  // -- ends

  private giveUp(): void {
    const { stage } = this
    this.stage = "GivenUp"
    this.leave()
    if (stage === "Waiting") this.report(this.receipt())
  }

  private finish(receipt = this.receipt()): void {
    this.settled = receipt
    this.count(receipt)
    if (this.context.tracedBy !== undefined) Tracing.tellReceipt(this.context.tracedBy, receipt)
    this.done(Exit.succeed(receipt))
  }

  private fail(cause: Cause.Cause<InvalidArgument | E>): void {
    // What ends in a defect has no receipt, and is counted by what is known.
    if (Cause.isDie(cause)) this.count(this.receipt())
    this.done(Exit.failCause(cause))
  }

  private receipt(): Receipt {
    return this.settled ?? this.table.receipt(interrupted)
  }

  /** Only once: an outcome that is known after an interruption was counted as Unknown. */
  private count(receipt: AnyReceipt): void {
    if (!this.isCounted) Meter.sent(receipt, Elapsed.millis(this.context.clock) - this.since)
    this.isCounted = true
  }

  /** Tells the hook what became of a message whose caller was interrupted. */
  private report(receipt: AnyReceipt): void {
    const { onOutcome, request } = this.submission
    this.count(receipt)
    if (!this.isTold && onOutcome !== undefined) {
      const { hooks } = this.parts
      const hook = this.context.fork(hookEffect(onOutcome, receipt, request.envelope.parameters.envelopeId))
      hooks.add(hook)
      hook.addObserver(() => hooks.delete(hook))
    }
    this.isTold = true
  }

  // -- stages

  /** Begins what the message waits for; what that returns gives it up, unless it has ended already. */
  private wait(begin: () => () => void): void {
    this.leave = beginning
    const leave = begin()
    if (this.leave === beginning) this.leave = leave
  }

  /** Has a fiber perform the effect, and goes on with what it comes to. */
  private perform<A>(
    effect: Effect.Effect<A, never, R>,
    goOn: (value: A) => void,
    leave: () => void = nothing
  ): void {
    this.wait(() => {
      this.run(
        Effect.map(Effect.exit(effect), (exit) => {
          if (this.stage === "GivenUp") return
          this.leave = nothing
          if (Exit.isSuccess(exit)) goOn(exit.value)
          else this.fail(exit.cause)
        })
      )
      return leave
    })
  }

  // -- rounds

  private round(positions: Positions): void {
    const { reserve } = this.parts.rateLimit
    this.tried = none
    if (reserve === undefined) {
      this.attempt(positions, undefined)
      return
    }
    const reservation = Effect.flatMap(
      Effect.suspend(() => reserve(positions.length, this.remaining())),
      (millis) => (millis === 0 ? Effect.succeed(true) : Effect.as(Effect.sleep(millis), true))
    )
    const next = Effect.match(this.within("rate limit", reservation, false), {
      onFailure: (error) => () => this.notSent(positions, error),
      onSuccess: (mayGo) => () => (mayGo ? this.attempt(positions, undefined) : this.finish())
    })
    this.perform(next, (goOn) => goOn())
  }

  /** A round has ended: another follows by the schedule, or the message is settled. */
  private conclude(): void {
    const positions = this.worthAnotherRound()
    if (positions.length === 0) {
      this.finish()
    } else if (this.submission.isUsedUp()) {
      this.table.spoil(positions)
      this.finish()
    } else {
      this.perform(this.pause(positions), (isDue) => {
        if (isDue) this.round(positions)
        else this.finish()
      })
    }
  }

  /** For whom another round may end otherwise; under "all" it is for all or none. */
  private worthAnotherRound(): Positions {
    const { recipients, policy } = this.submission.request
    const { mayDuplicate, schedule } = this.settings.retry
    if (schedule === undefined || !this.isPatient()) return []
    const worth = this.table.where((outcome) => Outcomes.retries(outcome, mayDuplicate).sameRelay)
    return policy === "all" && worth.length < recipients.length ? [] : worth
  }

  /** Waits for the next round; succeeds with whether there is one. */
  private pause(positions: Positions): Effect.Effect<boolean> {
    const { schedule } = this.settings.retry
    if (schedule === undefined) return Effect.succeed(false)
    const steps = (this.pauses ??= pausesOf(schedule))
    const step = Effect.suspend(() => steps.next(this.receipt()))
    const next = Effect.orElseSucceed(this.within("schedule", step, undefined), () => undefined)
    return Effect.flatMap(next, (millis) => {
      if (millis === undefined || millis >= this.remaining()) return Effect.succeed(false)
      const line = `A message is tried again in ${Math.round(millis)} ms, for ${positions.length} recipients`
      return Effect.zipRight(
        Effect.annotateLogs(Effect.logDebug(line), this.annotations()),
        Effect.isSuccess(this.inTime(Effect.sleep(millis)))
      )
    })
  }

  /** Waits as long as the message may, and until the client closes. */
  private inTime<A, E2>(use: Effect.Effect<A, E2>): Effect.Effect<A, E2 | ClientUnavailable> {
    return Effect.suspend(() => {
      const left = this.remaining()
      const closed = Effect.zipRight(this.parts.queue.awaitClosing, Effect.fail(unavailable("Closed")))
      const expired = Effect.delay(Effect.fail(unavailable("Timeout")), Math.max(0, left))
      const ended = left === Infinity ? closed : Effect.raceFirst(closed, expired)
      // A limit holds in uninterruptible regions too, such as finalizers.
      return Effect.raceFirst(Effect.interruptible(use), Effect.interruptible(ended))
    })
  }

  /**
   * Lets a part of the program do its work in time. A defect of it is logged, since what is known of the message is worth
   * more; only if nothing is known, it is for the caller.
   */
  private within<A, B, E2>(
    part: "rate limit" | "schedule",
    use: Effect.Effect<A, E2>,
    otherwise: B
  ): Effect.Effect<A | B, E2 | ClientUnavailable> {
    return Effect.catchAllDefect(this.inTime(use), (defect) => {
      if (this.table.isEmpty) return Effect.die(defect)
      const line = `The ${part} ended in a defect, and a message is tried no more: ${describeCause(defect)}`
      return Effect.as(Effect.annotateLogs(Effect.logError(line), this.annotations()), otherwise)
    })
  }

  /** Of the limit, in whole milliseconds: a timer may go off a fraction too early, and nothing begins within that. */
  private remaining(): number {
    const passed = Elapsed.millis(this.context.clock) - this.since
    return this.limitMillis === undefined ? Infinity : Math.floor(this.limitMillis - passed)
  }

  // -- attempts

  /** `aliveAfter` is given where the last session had died while it was idle: the same relay is tried once more. */
  private attempt(positions: Positions, aliveAfter: number | undefined): void {
    const left = this.remaining()
    if (left <= 0) {
      this.notSent(positions, unavailable("Timeout"))
      return
    }
    this.wait(() =>
      this.parts.queue.ask({ except: this.tried, aliveAfter }, left, (answer, pauseMillis) => {
        if (Exit.isSuccess(answer)) {
          this.deliver(positions, answer.value, aliveAfter !== undefined)
          return
        }
        const failure = Cause.failureOption(answer.cause)
        if (Option.isNone(failure)) this.fail(Cause.die(Cause.squash(answer.cause)))
        else if (pauseMillis !== undefined)
          this.awaitRelay(positions, failure.value, pauseMillis, () => this.attempt(positions, aliveAfter))
        else if (failure.value._tag === "ClientUnavailable") this.notSent(positions, failure.value)
        // Every relay is out of order for as long as nothing changes.
        else this.finishNotSent(positions, failure.value)
      })
    )
  }

  /**
   * Goes on waiting for a relay that has failed, which is no attempt: until its pauses are as long as the rest of the
   * schedule is.
   */
  private awaitRelay(positions: Positions, error: NotSentCause, pauseMillis: number, goOn: () => void): void {
    const { schedule } = this.settings.retry
    if (schedule === undefined || !this.isPatient()) this.finishNotSent(positions, error)
    else if (this.waitLeft !== undefined) {
      this.waitLeft -= pauseMillis
      goOn()
    } else {
      this.table.recordNotSent(positions, error)
      const steps = (this.pauses ??= pausesOf(schedule))
      const rest = Effect.suspend(() => steps.rest(this.receipt()))
      const length = Effect.orElseSucceed(this.within("schedule", rest, 0), () => 0)
      this.perform(length, (millis) => {
        this.waitLeft = millis
        this.awaitRelay(positions, error, pauseMillis, goOn)
      })
    }
  }

  private isPatient(): boolean {
    return this.waitLeft === undefined || this.waitLeft > 0
  }

  private notSent(positions: Positions, cause: NotSentCause): void {
    this.table.recordNotSent(positions, cause)
    this.conclude()
  }

  private finishNotSent(positions: Positions, cause: NotSentCause): void {
    this.table.recordNotSent(positions, cause)
    this.finish()
  }

  /** Delivers through a session. */
  private deliver(positions: Positions, lease: Lease<Session, SetupError>, isRepeated: boolean): void {
    const { session } = lease
    const { content } = this
    const { fork, tracedBy } = this.context
    const request = this.part(positions)
    let isHeard = false
    // By then the message was given up: the table changes no more.
    const hear = (receipt: AnyReceipt): void => {
      isHeard = true
      const known = this.table.copy()
      known.record(positions, receipt)
      this.report(known.receipt(interrupted))
    }
    const ended = (exit: SendExit<E>): void => this.attempted(positions, lease, exit, isRepeated)
    const leave = (): void =>
      lease.release({
        _tag: "Doubtful",
        // By then the session has told all that there is to tell.
        proven: () => {
          if (!isHeard) hear(inDoubt(this.submission.request.recipients, positions))
        }
      })
    this.stage = "WithSession"
    if (content._tag === "Bytes" && this.limitMillis === undefined && tracedBy === undefined) {
      this.wait(() => {
        const abandon = launch(session.messages, request, content, { fork, report: hear, ended })
        return () => {
          abandon()
          leave()
        }
      })
      return
    }
    const delivery = Effect.exit(deliverPrepared(session.messages, request, content, hear))
    const goOn = (exit: SendExit<E>): void => {
      const hasInterruptedItself = Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)
      if (hasInterruptedItself) {
        leave()
        this.fail(exit.cause)
      } else ended(exit)
    }
    this.perform(delivery, goOn, leave)
  }

  private part(positions: Positions): Request {
    const part = restricted(this.submission.request, positions)
    return this.limitMillis === undefined
      ? part
      : { ...part, timeout: Duration.millis(this.remaining()), limitMillis: this.limitMillis }
  }

  /** Writes down what came of an attempt, gives the session back, and goes on. */
  private attempted(
    positions: Positions,
    lease: Lease<Session, SetupError>,
    exit: SendExit<E>,
    isRepeated: boolean
  ): void {
    this.stage = "Waiting"
    this.leave = nothing
    const state = lease.session.state()
    // Every recipient was accepted, as of nearly all messages.
    if (
      Exit.isSuccess(exit) &&
      exit.value.accepted.length === this.submission.request.recipients.length &&
      state === "Ready"
    ) {
      this.settled = exit.value
      lease.release({ _tag: "Clean", work: "accepted" })
      this.finish(exit.value)
      return
    }
    if (Exit.isFailure(exit)) {
      lease.release(
        state === "Closed" ? { _tag: "Spent", reason: "failed", work: "none" } : { _tag: "Doubtful" }
      )
      this.contentFailed(positions, exit.cause)
      return
    }
    const receipt = exit.value
    this.table.record(positions, receipt)
    const history = { hasDelivered: lease.history.hasDelivered, isReplacement: isRepeated }
    const signs = Outcomes.signsOf(receipt, history)
    const { body } = this.submission.request.envelope.parameters
    const unlearned = learn(positions, receipt, lease, body === "BINARYMIME", () => {
      this.parts.queue.replaceSessions(lease.relay)
    })
    const isUsedUp = hasUsedUp(receipt, lease)
    const left = unlearned ?? this.forReplacement(positions, receipt, lease, signs)
    if (unlearned !== undefined) lease.release({ _tag: "Spent", reason: "replaced", work: "answered" })
    else if (isUsedUp) lease.release({ _tag: "Spent", reason: "mailmax", work: "answered" })
    else lease.release(leaseEnd(receipt, lease, signs))
    if (receipt.outcomes.some(Outcomes.isEndOfSend)) this.finish()
    else if (this.submission.isUsedUp()) this.conclude()
    else if (isUsedUp) this.attempt(those(positions, receipt, Outcomes.needsAnotherSession), undefined)
    else if (left.length > 0) {
      const isForAll = this.submission.request.policy === "all"
      this.attempt(isForAll ? positions : left, this.parts.queue.moment)
    } else this.elsewhere(positions, receipt, lease.relay)
  }

  /** Once for a message, so that a server that does it always makes no loop. */
  private forReplacement(
    positions: Positions,
    receipt: Receipt,
    lease: Lease<Session, SetupError>,
    signs: Outcomes.Signs
  ): Positions {
    const left = this.isReplaced ? [] : forReplacement(positions, receipt, lease, signs)
    this.isReplaced ||= left.length > 0
    return left
  }

  /** The submission or its content is at fault: for its giver, unless something is known of a recipient already. */
  private contentFailed(positions: Positions, cause: Cause.Cause<InvalidArgument | E>): void {
    if (this.table.isEmpty) {
      this.fail(cause)
      return
    }
    const error = Cause.squash(cause)
    const end = Option.isSome(Cause.failureOption(cause)) ? "failed" : "ended in a defect"
    const detail = `the stream ${end} on a later run: ${describeCause(error)}`
    this.finishNotSent(
      positions,
      error instanceof InvalidArgument ? error : new ContentError({ reason: "Failed", detail })
    )
  }

  /** Goes to another relay with those that this one could not be used for; under "all" with all or none. */
  private elsewhere(positions: Positions, receipt: Receipt, not: AnyRelay): void {
    const { queue, relays } = this.parts
    const worth = those(positions, receipt, (outcome) => Outcomes.retries(outcome, false).otherRelay)
    const isForAll = this.submission.request.policy === "any" || worth.length === positions.length
    this.tried = new Set([...this.tried, not])
    const mayGo = this.tried.size < relays.size && this.remaining() > 0 && !queue.isClosed
    if (worth.length === 0 || !isForAll || !mayGo) {
      this.conclude()
      return
    }
    const line = `A message goes to another relay, for ${worth.length} recipients`
    const annotations = { ...this.annotations(), ...Telemetry.annotations(relays.get(not)) }
    this.perform(Effect.annotateLogs(Effect.logWarning(line), annotations), () =>
      this.attempt(worth, undefined)
    )
  }

  private annotations(): Record<string, unknown> {
    const { envelopeId } = this.submission.request.envelope.parameters
    return envelopeId === undefined ? {} : { "smtp.envelope_id": envelopeId }
  }
}
