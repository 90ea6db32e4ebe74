/**
 * One message through a client. In a round it goes to one relay after another until one has dealt with it; rounds follow
 * by the schedule of retries; one table holds the outcomes of all attempts.
 *
 * A state machine that calls back: it waits for a session, and for a session to deliver, without a fiber. What only a
 * fiber can do (streams, pauses, rate limits, time limits, spans, log lines) it hands to `run`: the fiber of its caller
 * for `deliver`, one of its own for `sendAll`.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Outcomes from "../../protocol/Outcome.js"
import type { NotSentCause, Receipt } from "../../SmtpClient.js"
import { ClientUnavailable, ContentError, InvalidArgument, ServerDisconnected } from "../../SmtpError.js"
import type { Receipt as AnyReceipt } from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"
import type { SetupError } from "../../SmtpSession.js"
import { inCallersFiber } from "../effect/callersFiber.js"
import { describeCause } from "../effect/cause.js"
import * as Elapsed from "../effect/elapsed.js"
import { hookEffect } from "../effect/hook.js"
import type { AnyFiber, Fork } from "../effect/runtime.js"
import { clockOf, makeFork, withFiber } from "../effect/runtime.js"
import type { RelaySettings, RetrySettings } from "../options/client.js"
import { deliverPrepared, launch } from "../session/deliver.js"
import type { Request } from "../session/request.js"
import type { Established as Session } from "../session/session.js"
import * as Meter from "../telemetry/meter.js"
import * as Tracing from "../telemetry/tracing.js"
import type { Positions } from "./outcomes.js"
import { AttemptOutcomes } from "./outcomes.js"
import type { Lease, Verdict } from "./pool.js"
import type { PreparedSubmission } from "./preparedSubmission.js"
import { forMessage } from "./preparedSubmission.js"
import type { SessionQueue } from "./queue.js"
import type { ReserveRate } from "./rateLimit.js"
import type { Relay } from "./relays.js"
import type { Pauses } from "./retry.js"
import { pauses } from "./retry.js"
import * as Telemetry from "./telemetry.js"

type AnyRelay = Relay<Session, SetupError>

/** What the messages of a client share. */
export interface ClientParts {
  readonly queue: SessionQueue<Session, SetupError>
  readonly relays: ReadonlyMap<AnyRelay, RelaySettings>
  /** Absent: no limit. */
  readonly rateLimit: ReserveRate | undefined
  /** Hooks that are running: closing the client waits for them. */
  readonly hooks: Set<AnyFiber>
}

export interface SendSettings {
  readonly retry: RetrySettings
  readonly timeoutMillis: number | undefined
}

/** What a fiber does for a message; it calls the message back before it ends. */
export type RunStep<R> = (step: Effect.Effect<void, never, R>) => void

type SendExit<E> = Exit.Exit<Receipt, InvalidArgument | E>

/** Delivers in the fiber of the caller; what becomes of an interrupted message is told to its hook. */
export const deliver = <E, R>(
  parts: ClientParts,
  submission: PreparedSubmission<E, R>,
  settings: SendSettings
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  Effect.flatMap(makeFork(), (fork) =>
    withFiber((fiber) => {
      const message = new ClientMessage(parts, submission, settings, clockOf(fiber), fork)
      return Tracing.isTraced(fiber) ? deliverTraced(message) : deliverWithin(message, false)
    })
  )

const deliverWithin = <E, R>(
  message: ClientMessage<E, R>,
  isTraced: boolean
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  inCallersFiber<Receipt, InvalidArgument | E, R>((run, done) => message.begin(isTraced, run, done))

/** Delivers in a span. */
export const deliverTraced = <E, R>(
  message: ClientMessage<E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  Tracing.ofSend("SmtpClient send", nowhere, message.recipients.length, (fiber) =>
    Effect.tap(deliverWithin(message, true), (receipt) =>
      Effect.sync(() => Tracing.tellReceipt(fiber, receipt))
    )
  )

// Which relay an attempt goes to is said by its own span.
const nowhere = (): Tracing.Attributes => ({})

const interrupted = (): ServerDisconnected =>
  new ServerDisconnected({ phase: "idle", cause: "the send was interrupted" })

const unavailable = (reason: ClientUnavailable["reason"]): ClientUnavailable =>
  new ClientUnavailable({ reason })

const nothing = (): void => undefined

export class ClientMessage<E, R> {
  private readonly submission: PreparedSubmission<E, R>
  private readonly table: AttemptOutcomes<NotSentCause>
  private readonly since: number
  private readonly limitMillis: number | undefined
  private isTraced = false
  private run: RunStep<R> = nothing
  private done: (exit: SendExit<E>) => void = nothing
  /** Gives up what the message waits for. */
  private leave: () => void = nothing
  private stages = 0
  /** Relays that this round has been to. */
  private tried = new Set<AnyRelay>()
  private pauses: Pauses | undefined
  private isWithSession = false
  /** Nothing more is to be tried: the submission, or a part of the program, was found at fault. */
  private isOver = false
  private isGivenUp = false
  private isCounted = false
  private isTold = false

  constructor(
    private readonly parts: ClientParts,
    submission: PreparedSubmission<E, R>,
    private readonly settings: SendSettings,
    private readonly clock: Clock.Clock,
    /** Runs what goes on when the caller has gone. */
    private readonly fork: Fork
  ) {
    this.submission = forMessage(submission)
    this.table = new AttemptOutcomes(submission.recipients)
    this.since = Elapsed.millis(clock)
    this.limitMillis = submission.timeoutMillis ?? settings.timeoutMillis
  }

  get recipients(): ReadonlyArray<string> {
    return this.submission.recipients
  }

  /**
   * Begins, and calls `done` at the end, before it returns where that can be. The function returned gives the message
   * up, at whatever point it is: what becomes of it is then told to its hook alone.
   */
  begin(isTraced: boolean, run: RunStep<R>, done: (exit: SendExit<E>) => void): () => void {
    this.isTraced = isTraced
    this.run = run
    this.done = done
    this.round(this.submission.recipients.map((_, position) => position))
    return () => this.giveUp()
  }

  // -- ends

  private giveUp(): void {
    this.isGivenUp = true
    this.leave()
    // What is with a session tells its own outcome.
    if (!this.isWithSession) this.report(this.receipt())
  }

  private finish(): void {
    const receipt = this.receipt()
    this.count(receipt)
    this.done(Exit.succeed(receipt))
  }

  private fail(cause: Cause.Cause<InvalidArgument | E>): void {
    // What ends in a defect has no receipt, and is counted by what is known.
    if (Cause.isDie(cause)) this.count(this.receipt())
    this.done(Exit.failCause(cause))
  }

  private receipt(): Receipt {
    return this.table.receipt(interrupted)
  }

  /** Only once: what is told late was counted in doubt, when nobody wanted to wait any longer. */
  private count(receipt: AnyReceipt): void {
    if (!this.isCounted) Meter.sent(receipt, Elapsed.millis(this.clock) - this.since)
    this.isCounted = true
  }

  /** Tells the hook what became of a message that nobody waits for any more. */
  private report(receipt: AnyReceipt): void {
    const { envelopeId, onOutcome } = this.submission
    this.count(receipt)
    if (!this.isTold && onOutcome !== undefined) {
      const { hooks } = this.parts
      const hook = this.fork(hookEffect(onOutcome, receipt, envelopeId))
      hooks.add(hook)
      hook.addObserver(() => hooks.delete(hook))
    }
    this.isTold = true
  }

  // -- stages

  /** Begins what the message waits for; what that returns gives it up, unless it has ended already. */
  private wait(begin: () => () => void): void {
    const stage = ++this.stages
    this.leave = nothing
    const leave = begin()
    if (this.stages === stage) this.leave = leave
  }

  /** Has a fiber perform the effect, and goes on with what it comes to. */
  private perform<A>(effect: Effect.Effect<A, never, R>, goOn: (value: A) => void): void {
    this.wait(() => {
      this.run(
        Effect.matchCause(effect, {
          onFailure: (cause) => {
            if (!this.isGivenUp) this.fail(cause)
          },
          onSuccess: (value) => {
            if (!this.isGivenUp) goOn(value)
          }
        })
      )
      return nothing
    })
  }

  // -- rounds

  private round(positions: Positions): void {
    const { rateLimit } = this.parts
    this.tried = new Set()
    if (rateLimit === undefined) this.attempt(positions, undefined)
    else
      this.perform(this.reserve(rateLimit, positions), (mayGo) => {
        if (mayGo) this.attempt(positions, undefined)
        else this.conclude()
      })
  }

  /** Waits for the rate limit; succeeds with whether the message may go. */
  private reserve(rateLimit: ReserveRate, positions: Positions): Effect.Effect<boolean> {
    const reservation = Effect.flatMap(
      Effect.suspend(() => rateLimit(positions.length, this.remaining())),
      (millis) => (millis === 0 ? Effect.succeed(true) : Effect.as(Effect.sleep(millis), true))
    )
    return Effect.catchAll(this.sparing("rate limit", this.inTime(reservation), false), (error) =>
      Effect.sync(() => {
        this.table.recordNotSent(positions, error)
        return false
      })
    )
  }

  /** A round has ended: another follows by the schedule, or the message is settled. */
  private conclude(): void {
    const positions = this.worthAnotherRound()
    if (positions.length === 0) {
      this.finish()
    } else if (this.submission.isUsedUp()) {
      this.spoil(positions)
      this.finish()
    } else {
      this.perform(this.pause(positions), (isDue) => {
        if (isDue) this.round(positions)
        else this.finish()
      })
    }
  }

  /** For whom another round may end otherwise; under "all" it is for everybody or nobody. */
  private worthAnotherRound(): Positions {
    const { recipients, policy } = this.submission
    const { mayDuplicate, schedule } = this.settings.retry
    if (schedule === undefined || this.isOver) return []
    const worth = this.table.where((outcome) => Outcomes.retries(outcome, mayDuplicate).sameRelay)
    return policy === "all" && worth.length < recipients.length ? [] : worth
  }

  /** Waits for the next round; succeeds with whether there is one. */
  private pause(positions: Positions): Effect.Effect<boolean> {
    const { schedule } = this.settings.retry
    if (schedule === undefined) return Effect.succeed(false)
    const steps = (this.pauses ??= pauses(schedule))
    const step = this.inTime(Effect.suspend(() => steps(this.receipt())))
    const next = Effect.orElseSucceed(this.sparing("schedule", step, undefined), () => undefined)
    return Effect.flatMap(next, (millis) => {
      const left = this.remaining()
      if (millis === undefined || (left !== undefined && millis >= left)) return Effect.succeed(false)
      const line = `A message is tried again in ${millis} ms, for ${positions.length} recipients`
      return Effect.zipRight(
        Effect.annotateLogs(Effect.logDebug(line), this.annotations()),
        Effect.isSuccess(this.inTime(Effect.sleep(millis)))
      )
    })
  }

  /** Another round was due, and the content can be run no more. What a server has said stands. */
  private spoil(positions: Positions): void {
    const { outcomes } = this.receipt()
    for (const position of positions) {
      const outcome = outcomes[position]
      if (outcome?._tag !== "NotSent") continue
      const detail = `it can be run only once, and another attempt is needed: ${outcome.cause.message}`
      this.table.recordNotSent([position], new ContentError({ reason: "UsedTwice", detail }))
    }
  }

  /** Waits as long as the message may, and until the client ends. */
  private inTime<A, E2, R2>(use: Effect.Effect<A, E2, R2>): Effect.Effect<A, E2 | ClientUnavailable, R2> {
    return Effect.suspend(() => {
      const left = this.remaining()
      const closed = Effect.zipRight(this.parts.queue.awaitClosing, Effect.fail(unavailable("Closed")))
      const ended =
        left === undefined
          ? closed
          : Effect.raceFirst(closed, Effect.delay(Effect.fail(unavailable("Timeout")), Math.max(0, left)))
      // A limit holds in uninterruptible regions too, such as finalizers.
      return Effect.raceFirst(Effect.interruptible(use), Effect.interruptible(ended))
    })
  }

  /**
   * What is known of the message is worth more than a defect of a part of the program, which is logged. Where nothing
   * is known, the defect is for the giver of the message.
   */
  private sparing<A, B, E2>(
    part: "rate limit" | "schedule",
    use: Effect.Effect<A, E2>,
    otherwise: B
  ): Effect.Effect<A | B, E2> {
    return Effect.catchAllDefect(use, (defect) => {
      if (this.table.isEmpty) return Effect.die(defect)
      this.isOver = true
      const line = `The ${part} ended in a defect, and a message is tried no more: ${describeCause(defect)}`
      return Effect.as(Effect.annotateLogs(Effect.logError(line), this.annotations()), otherwise)
    })
  }

  // In whole milliseconds: a timer may go off a fraction too early, and nothing is to begin within that.
  private remaining(): number | undefined {
    return this.limitMillis === undefined
      ? undefined
      : Math.floor(this.since + this.limitMillis - Elapsed.millis(this.clock))
  }

  // -- attempts

  /** `aliveAfter` is given where the last session had died while it was idle: the same relay is tried once more. */
  private attempt(positions: Positions, aliveAfter: number | undefined): void {
    const left = this.remaining()
    if (left !== undefined && left <= 0) {
      this.notSent(positions, unavailable("Timeout"))
      return
    }
    this.wait(() =>
      this.parts.queue.ask({ except: this.tried, aliveAfter }, left, (answer) => {
        if (Exit.isSuccess(answer)) {
          this.deliver(positions, answer.value, aliveAfter !== undefined)
          return
        }
        const failure = Cause.failureOption(answer.cause)
        if (Option.isSome(failure)) this.notSent(positions, failure.value)
        else this.fail(Cause.die(Cause.squash(answer.cause)))
      })
    )
  }

  private notSent(positions: Positions, cause: NotSentCause): void {
    this.table.recordNotSent(positions, cause)
    this.conclude()
  }

  /** Delivers through a session. */
  private deliver(positions: Positions, lease: Lease<Session, SetupError>, isRepeated: boolean): void {
    const { session } = lease
    const { content } = this.submission
    const request = this.part(positions)
    const known = this.table.copy()
    let isHeard = false
    const hear = (receipt: AnyReceipt): void => {
      isHeard = true
      known.record(positions, receipt)
      this.report(known.receipt(interrupted))
    }
    // By then the session has told all that there is to tell.
    const proven = (): void => {
      if (!isHeard) hear(this.inDoubt(positions))
    }
    const ended = (exit: SendExit<E>): void => this.attempted(positions, lease, exit, isRepeated)
    const leave = (): void => lease.release({ _tag: "Doubtful", proven })
    this.isWithSession = true
    if (content._tag === "Bytes" && this.limitMillis === undefined && !this.isTraced) {
      this.wait(() => {
        const abandon = launch(session.port, request, content, { fork: this.fork, report: hear, ended })
        return () => {
          abandon()
          leave()
        }
      })
      return
    }
    this.wait(() => {
      this.run(
        Effect.map(Effect.exit(deliverPrepared(session.port, request, content, hear)), (exit) => {
          if (this.isGivenUp) return
          if (Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)) {
            leave()
            this.fail(exit.cause)
          } else ended(exit)
        })
      )
      return leave
    })
  }

  private part(positions: Positions): Request {
    const request = this.submission.part(positions, this.remaining())
    return this.limitMillis === undefined ? request : { ...request, limitMillis: this.limitMillis }
  }

  /** Given up, and no session has said what became of it: nothing else can be said for sure. */
  private inDoubt(positions: Positions): AnyReceipt {
    const cause = new ServerDisconnected({ phase: "final", cause: "the send was interrupted" })
    const { recipients } = this.submission
    return Receipts.make(positions.map((position) => Receipts.unknown(recipients[position] ?? "", cause)))
  }

  /** Writes down what came of an attempt, gives the session back, and goes on. */
  private attempted(
    positions: Positions,
    lease: Lease<Session, SetupError>,
    exit: SendExit<E>,
    isRepeated: boolean
  ): void {
    this.isWithSession = false
    this.stages += 1
    this.leave = nothing
    const state = lease.session.state()
    if (Exit.isFailure(exit)) {
      lease.release(
        state === "Closed" ? { _tag: "Spent", reason: "failed", didWork: false } : { _tag: "Doubtful" }
      )
      this.contentFailed(positions, exit.cause)
      return
    }
    const receipt = exit.value
    const outcomes = receipt.outcomes
    this.table.record(positions, receipt)
    const isUsedUp = hasUsedUp(receipt, lease)
    lease.release(isUsedUp ? { _tag: "Spent", reason: "mailmax", didWork: true } : verdictOn(receipt, lease))
    this.isOver ||= outcomes.some(Outcomes.isEndOfSend)
    if (this.isOver || this.submission.isUsedUp()) this.conclude()
    else if (isUsedUp) this.attempt(those(positions, receipt, Outcomes.needsAnotherSession), undefined)
    else if (lease.isUsed && !isRepeated && state === "Closed" && Outcomes.hadNotBegun(receipt))
      this.attempt(positions, this.parts.queue.moment)
    else this.elsewhere(positions, receipt, lease.relay)
  }

  /** The submission or its content is at fault: for its giver, unless something is known of a recipient already. */
  private contentFailed(positions: Positions, cause: Cause.Cause<InvalidArgument | E>): void {
    if (this.table.isEmpty) {
      this.fail(cause)
      return
    }
    this.isOver = true
    const error = Cause.squash(cause)
    const end = Option.isSome(Cause.failureOption(cause)) ? "failed" : "ended in a defect"
    const detail = `the stream ${end} on a later run: ${describeCause(error)}`
    this.notSent(
      positions,
      error instanceof InvalidArgument ? error : new ContentError({ reason: "Failed", detail })
    )
  }

  /** Goes to another relay with those that this one could not be used for; under "all" with everybody or nobody. */
  private elsewhere(positions: Positions, receipt: Receipt, not: AnyRelay): void {
    const { queue, relays } = this.parts
    const worth = those(positions, receipt, (outcome) => Outcomes.retries(outcome, false).otherRelay)
    const isForAll = this.submission.policy === "any" || worth.length === positions.length
    this.tried.add(not)
    const left = this.remaining()
    const isLate = left !== undefined && left <= 0
    if (worth.length === 0 || !isForAll || this.tried.size === relays.size || isLate || queue.isClosed) {
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
    const { envelopeId } = this.submission
    return envelopeId === undefined ? {} : { "smtp.envelope_id": envelopeId }
  }
}

const those = (
  positions: Positions,
  { outcomes }: Receipt,
  holds: (outcome: Receipt["outcomes"][number]) => boolean
): Positions =>
  positions.filter((_, index) => {
    const outcome = outcomes[index]
    return outcome !== undefined && holds(outcome)
  })

/** Whether some recipients are left because the session may carry no more transactions (RFC 9422 MAILMAX). */
const hasUsedUp = ({ outcomes }: Receipt, { isLimited, isUsed }: Lease<Session, SetupError>): boolean =>
  isLimited &&
  outcomes.some(Outcomes.needsAnotherSession) &&
  (isUsed || !outcomes.every(Outcomes.needsAnotherSession))

const verdictOn = (receipt: Receipt, { relay, session }: Lease<Session, SetupError>): Verdict => {
  switch (Outcomes.leaves(receipt, session.state(), relay.slots > 1)) {
    case "clean":
      return { _tag: "Clean" }
    case "prove":
      return { _tag: "Doubtful" }
    case "spent":
      return {
        _tag: "Spent",
        reason: Outcomes.endOfSession(receipt),
        didWork: receipt.accepted.length + receipt.refused.length > 0
      }
  }
}
