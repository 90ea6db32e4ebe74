/**
 * One message through the sessions of a pool: attempts at one relay after another, rounds of attempts by the
 * schedule, and one account of it all. What is on the wire is the session's business.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { NotSentCause, Outcome, Receipt } from "../../SmtpClient.js"
import type { Disconnection, Phase } from "../../SmtpError.js"
import { ClientUnavailable, ContentError, InvalidArgument, ServerDisconnected } from "../../SmtpError.js"
import type { Receipt as AnyReceipt } from "../../SmtpReceipt.js"
import * as Receipts from "../../SmtpReceipt.js"
import type { SetupError, State } from "../../SmtpSession.js"
import { describeCause } from "../effect/cause.js"
import { deliverPrepared } from "../session/deliver.js"
import * as Elapsed from "../effect/elapsed.js"
import * as Meter from "../telemetry/meter.js"
import type { Request } from "../session/request.js"
import type { Established as Session } from "../session/session.js"
import type { Hooks } from "./hooks.js"
import type { Ledger, Positions } from "./outcomes.js"
import * as Ledgers from "./outcomes.js"
import type { RelaySettings, RetrySettings } from "../options/client.js"
import type { Parcel } from "./preparedSubmission.js"
import * as Parcels from "./preparedSubmission.js"
import type { Lease, Pool, Restore, Retirement, Verdict } from "./pool.js"
import * as Retries from "./retry.js"
import type { Source } from "./sources.js"
import * as Telemetry from "./telemetry.js"

export type Relays = ReadonlyMap<Source<Session, SetupError>, RelaySettings>

/** Asks for leave to send, in time: gives how long to wait before it. */
export type Pace = (
  recipients: number,
  limitMillis: number | undefined
) => Effect.Effect<number, ClientUnavailable | InvalidArgument>

export interface Port {
  readonly pool: Pool<Session, SetupError>
  readonly relays: Relays
  /** Absent: at any pace. */
  readonly pace: Pace | undefined
  /** Those who are hearing what became of a message. */
  readonly hooks: Hooks
}

/** A message under way, with all that its attempts share. */
export interface Message<E, R> {
  readonly parcel: Parcel<E, R>
  readonly ledger: Ledger
  readonly clock: Clock.Clock
  readonly limitMillis: number | undefined
  readonly deadline: number | undefined
  readonly retry: RetrySettings
  /** Counts what became of it, once. */
  readonly count: (receipt: AnyReceipt) => void
  /** Tells the program what became of a message for which nobody waits any more. */
  readonly report: (receipt: AnyReceipt) => void
  /** Whether an attempt is with a session. */
  isWithSession: boolean
  /** Nothing more is to be tried: the submission, or a part of the program, was found at fault. */
  isOver: boolean
}

export const make = <E, R>(
  parcel: Parcel<E, R>,
  retry: RetrySettings,
  timeoutMillis: number | undefined,
  clock: Clock.Clock,
  tell: (receipt: AnyReceipt) => void
): Message<E, R> => {
  const limit = parcel.timeoutMillis ?? timeoutMillis
  const since = Elapsed.millis(clock)
  let isCounted = false
  let isTold = false
  // What is told late was counted in doubt, when nobody wanted to wait any longer.
  const count = (receipt: AnyReceipt): void => {
    if (!isCounted) Meter.sent(receipt, Elapsed.millis(clock) - since)
    isCounted = true
  }
  return {
    parcel: Parcels.forMessage(parcel),
    ledger: Ledgers.make(parcel.recipients),
    clock,
    limitMillis: limit,
    deadline: limit === undefined ? undefined : since + limit,
    retry,
    count,
    report: (receipt) => {
      count(receipt)
      if (!isTold) tell(receipt)
      isTold = true
    },
    isWithSession: false,
    isOver: false
  }
}

/** Nobody waits for the message any more. What is with a session tells its own outcome. */
export const giveUp = <E, R>({ isWithSession, ledger, report }: Message<E, R>): void => {
  if (!isWithSession) report(ledger.receipt(interrupted))
}

type AnySource = Source<Session, SetupError>

/** What is to follow an attempt. */
export type Next =
  | { readonly _tag: "Done" }
  | { readonly _tag: "Again"; readonly positions: Positions; readonly aliveAfter: number | undefined }
  | { readonly _tag: "Elsewhere"; readonly positions: Positions; readonly not: AnySource }

export const done: Next = { _tag: "Done" }

/** What an attempt came to: an error is for the giver of the message. */
export type Attempted<E> = Exit.Exit<Next, InvalidArgument | E>

const interrupted = (): ServerDisconnected =>
  new ServerDisconnected({ phase: "idle", cause: "the send was interrupted" })

// In whole milliseconds: a timer may go off a fraction too early, and nothing is to begin within that.
const remaining = <E, R>({ clock, deadline }: Message<E, R>): number | undefined =>
  deadline === undefined ? undefined : Math.floor(deadline - Elapsed.millis(clock))

/** Whether there is no time left to begin anything. */
const isLate = <E, R>(message: Message<E, R>): boolean => {
  const left = remaining(message)
  return left !== undefined && left <= 0
}

// -- rounds

/** As many attempts as the message needs. */
export const rounds = <E, R>(
  port: Port,
  message: Message<E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  countingDeath(
    message,
    Effect.flatMap(
      Effect.suspend(() => round(port, message, everybody(message))),
      () => conclude(port, message)
    )
  )

/** What ends in a defect has no receipt, and is counted by what is known. */
const countingDeath = <A, E, R, E2, R2>(
  { count, ledger }: Message<E2, R2>,
  use: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.tapDefect(use, () => Effect.sync(() => count(ledger.receipt(interrupted))))

/** How far a message has come by its first attempt. */
export type Progress<E, R> =
  | { readonly _tag: "Settled"; readonly receipt: Receipt }
  /** What is left to do, by a fiber. */
  | { readonly _tag: "Unsettled"; readonly rest: Effect.Effect<Receipt, InvalidArgument | E, R> }

/** What is to be done after the first attempt. A receipt is counted. */
export const progressOf = <E, R>(port: Port, message: Message<E, R>, first: Attempted<E>): Progress<E, R> => {
  if (Exit.isFailure(first)) {
    return { _tag: "Unsettled", rest: countingDeath(message, Effect.failCause(first.cause)) }
  }
  const next = first.value
  if (next._tag === "Done" && worthAnother(message).length === 0) {
    const receipt = message.ledger.receipt(interrupted)
    message.count(receipt)
    return { _tag: "Settled", receipt }
  }
  const rest = Effect.flatMap(follow(port, message, new Set(), next), () => conclude(port, message))
  return {
    _tag: "Unsettled",
    rest: Effect.tap(countingDeath(message, rest), (receipt) => Effect.sync(() => message.count(receipt)))
  }
}

const conclude = <E, R>(
  port: Port,
  message: Message<E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  worthAnother(message).length === 0
    ? Effect.succeed(message.ledger.receipt(interrupted))
    : again(port, message, Retries.pauses(message.retry.schedule))

export const everybody = <E, R>({ parcel }: Message<E, R>): Positions =>
  parcel.recipients.map((_, index) => index)

/** For whom another attempt may end otherwise; under "all" it is for everybody or nobody. */
const worthAnother = <E, R>({ isOver, ledger, parcel, retry }: Message<E, R>): Positions => {
  if (retry.schedule === undefined || isOver) return []
  const worth = ledger.where(
    (outcome) => outcome !== undefined && Retries.isWorthAnother(outcome, retry.mayDuplicate)
  )
  return parcel.policy === "all" && worth.length < parcel.recipients.length ? [] : worth
}

const again = <E, R>(
  port: Port,
  message: Message<E, R>,
  pauses: Retries.Pauses
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  Effect.gen(function* () {
    const { ledger, parcel } = message
    for (;;) {
      const positions = worthAnother(message)
      if (positions.length === 0) break
      if (parcel.isUsedUp()) {
        spoil(message, positions)
        break
      }
      const pause = yield* contained(
        message,
        "schedule",
        inTime(
          port,
          message,
          Effect.suspend(() => pauses(ledger.receipt(interrupted)))
        ),
        undefined
      ).pipe(Effect.catchAll(() => Effect.succeed(undefined)))
      const left = remaining(message)
      if (pause === undefined || (left !== undefined && pause >= left)) break
      yield* logRetry(message, positions, pause)
      if (!(yield* Effect.isSuccess(inTime(port, message, Effect.sleep(pause))))) break
      yield* round(port, message, positions)
    }
    return ledger.receipt(interrupted)
  })

/** Waits as long as the message may, and until the client ends. */
const inTime = <A, E, R, E2, R2>(
  { pool }: Port,
  message: Message<E2, R2>,
  use: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ClientUnavailable, R> =>
  Effect.suspend(() => {
    const left = remaining(message)
    const closed = Effect.zipRight(pool.awaitClosing, Effect.fail(unavailable("Closed")))
    const ended =
      left === undefined
        ? closed
        : Effect.raceFirst(closed, Effect.delay(Effect.fail(unavailable("Timeout")), Math.max(0, left)))
    // A limit holds in uninterruptible regions too, such as finalizers.
    return Effect.raceFirst(Effect.interruptible(use), Effect.interruptible(ended))
  })

/**
 * A part of the program ends in a defect: what is known of the message is worth more than the defect, which is logged.
 * Where nothing is known, it is for the giver of the message.
 */
const contained = <A, B, E, R, E2, R2>(
  message: Message<E2, R2>,
  part: "rate limit" | "schedule",
  use: Effect.Effect<A, E, R>,
  otherwise: B
): Effect.Effect<A | B, E, R> =>
  Effect.catchAllDefect(use, (defect) => {
    if (message.ledger.isEmpty()) return Effect.die(defect)
    message.isOver = true
    const why = describeCause(defect)
    return Effect.logError(`The ${part} ended in a defect, and a message is tried no more: ${why}`).pipe(
      Effect.annotateLogs(envelopeOf(message.parcel)),
      Effect.as(otherwise)
    )
  })

/** Another attempt was due, and the content can be run no more. What a server has said stands. */
const spoil = <E, R>({ ledger }: Message<E, R>, positions: Positions): void => {
  const receipt = ledger.receipt(interrupted)
  for (const position of positions) {
    const outcome = receipt.outcomes[position]
    if (outcome?._tag !== "NotSent") continue
    const detail = `it can be run only once, and another attempt is needed: ${outcome.cause.message}`
    ledger.recordNotSent([position], new ContentError({ reason: "UsedTwice", detail }))
  }
}

/** Attempts until the message has been where it can go now. */
const round = <E, R>(
  port: Port,
  message: Message<E, R>,
  positions: Positions
): Effect.Effect<void, InvalidArgument | E, R> => {
  const attempts = follow(port, message, new Set(), { _tag: "Again", positions, aliveAfter: undefined })
  return port.pace === undefined
    ? attempts
    : Effect.flatMap(paced(port, port.pace, message, positions), (mayGo) => (mayGo ? attempts : Effect.void))
}

const follow = <E, R>(
  port: Port,
  message: Message<E, R>,
  except: Set<AnySource>,
  next: Next
): Effect.Effect<void, InvalidArgument | E, R> => {
  const attempt = (
    to: Positions,
    aliveAfter: number | undefined
  ): Effect.Effect<void, InvalidArgument | E, R> =>
    Effect.flatMap(oneAttempt(port, message, to, except, aliveAfter), (then) =>
      follow(port, message, except, then)
    )
  switch (next._tag) {
    case "Done":
      return Effect.void
    case "Again":
      return attempt(next.positions, next.aliveAfter)
    case "Elsewhere":
      except.add(next.not)
      if (except.size === port.relays.size || isLate(message) || port.pool.isClosed()) return Effect.void
      return Effect.zipRight(
        logFailover(port, message, next),
        Effect.suspend(() => attempt(next.positions, undefined))
      )
  }
}

/** Waits for the rate limit; gives whether the message may go. */
const paced = <E, R>(
  port: Port,
  pace: Pace,
  message: Message<E, R>,
  positions: Positions
): Effect.Effect<boolean> =>
  contained(
    message,
    "rate limit",
    inTime(
      port,
      message,
      Effect.flatMap(
        Effect.suspend(() => pace(positions.length, remaining(message))),
        (millis) => (millis === 0 ? Effect.succeed(true) : Effect.as(Effect.sleep(millis), true))
      )
    ),
    false
  ).pipe(
    Effect.catchAll((error) => {
      message.ledger.recordNotSent(positions, error)
      return Effect.succeed(false)
    })
  )

const unavailable = (reason: ClientUnavailable["reason"]): ClientUnavailable =>
  new ClientUnavailable({ reason })

// -- attempts

const oneAttempt = <E, R>(
  port: Port,
  message: Message<E, R>,
  positions: Positions,
  except: ReadonlySet<AnySource>,
  aliveAfter: number | undefined
): Effect.Effect<Next, InvalidArgument | E, R> => {
  const { ledger } = message
  const left = remaining(message)
  const notSent = (cause: NotSentCause): Effect.Effect<Next> =>
    Effect.sync(() => {
      ledger.recordNotSent(positions, cause)
      return done
    })
  if (isLate(message)) return notSent(unavailable("Timeout"))
  return port.pool
    .use({ except, aliveAfter }, left, (lease, restore) =>
      Effect.either(withSession(port, message, positions, lease, restore, aliveAfter !== undefined))
    )
    .pipe(
      Effect.matchEffect({
        // The pool's own: there was no session.
        onFailure: notSent,
        onSuccess: (result) =>
          result._tag === "Right" ? Effect.succeed(result.right) : Effect.fail(result.left)
      })
    )
}

/** Runs uninterruptibly but for the send itself, so that what came of it is written down whatever happens. */
const withSession = <E, R>(
  port: Port,
  message: Message<E, R>,
  positions: Positions,
  lease: Lease<Session, SetupError>,
  restore: Restore,
  isRepeated: boolean
): Effect.Effect<Next, InvalidArgument | E, R> =>
  Effect.suspend(() => {
    const { parcel } = message
    const { hear, proven } = follower(message, positions)
    const sending = deliverPrepared(
      lease.session.port,
      { onOutcome: (receipt) => Effect.sync(() => hear(receipt)) },
      part(message, positions),
      parcel.content
    )
    message.isWithSession = true
    return Effect.flatMap(Effect.exit(restore(sending)), (exit): Effect.Effect<Next, InvalidArgument | E> => {
      if (Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)) {
        lease.release({ _tag: "Doubtful", proven })
        return Effect.failCause(exit.cause)
      }
      return attempted(port, message, positions, lease, exit, isRepeated)
    })
  })

const part = <E, R>(message: Message<E, R>, positions: Positions): Request => {
  const { limitMillis, parcel } = message
  const request = parcel.part(positions, remaining(message))
  return limitMillis === undefined ? request : { ...request, limitMillis }
}

/** Whoever is told what became of an attempt that was given up. */
interface Follower {
  readonly hear: (receipt: AnyReceipt) => void
  /** To be called once the session is proven: by then its own hook has told all that there is to be told. */
  readonly proven: () => void
}

/** An attempt for these recipients begins. */
export const follower = <E, R>(message: Message<E, R>, positions: Positions): Follower => {
  const allWith = message.ledger.begin(positions)
  let isHeard = false
  const hear = (receipt: AnyReceipt): void => {
    isHeard = true
    message.report(allWith(receipt))
  }
  return {
    hear,
    proven: () => {
      if (!isHeard) hear(inDoubt(message, positions))
    }
  }
}

/** Writes down what came of an attempt, and gives the session back. */
export const attempted = <E, R>(
  { pool }: Port,
  message: Message<E, R>,
  positions: Positions,
  lease: Lease<Session, SetupError>,
  exit: Exit.Exit<Receipt, InvalidArgument | E>,
  isRepeated: boolean
): Attempted<E> => {
  const { ledger, parcel } = message
  const state = lease.session.state()
  message.isWithSession = false
  if (Exit.isFailure(exit)) {
    lease.release(state === "Closed" ? noUse("failed") : { _tag: "Doubtful" })
    return failed(message, positions, exit.cause)
  }
  const receipt = exit.value
  ledger.record(positions, receipt)
  const isUsedUp = hasUsedUp(receipt, lease)
  lease.release(
    isUsedUp ? { _tag: "Spent", reason: "mailmax", didWork: true } : verdictOn(receipt, state, lease)
  )
  message.isOver ||= receipt.outcomes.some(Retries.isEndOfSend)
  if (message.isOver || parcel.isUsedUp()) return Exit.succeed(done)
  if (isUsedUp) return Exit.succeed(rest(positions, receipt))
  const wasDead = lease.isUsed && !isRepeated && state === "Closed" && hadNotBegun(receipt)
  return Exit.succeed(
    wasDead
      ? { _tag: "Again", positions, aliveAfter: pool.moment() }
      : elsewhere(message, positions, receipt, lease.source)
  )
}

/** Interrupted, and nobody has said what became of it: nothing else can be said for sure. */
const inDoubt = <E, R>({ parcel }: Message<E, R>, positions: Positions): AnyReceipt => {
  const cause = new ServerDisconnected({ phase: "final", cause: "the send was interrupted" })
  return Receipts.make(
    positions.map((position) => Receipts.unknown(parcel.recipients[position] ?? "", cause))
  )
}

/** The submission or its content is at fault: for its giver, unless something is known of a recipient already. */
const failed = <E, R>(
  message: Message<E, R>,
  positions: Positions,
  cause: Cause.Cause<InvalidArgument | E>
): Attempted<E> => {
  const { ledger } = message
  if (ledger.isEmpty()) return Exit.failCause(cause)
  message.isOver = true
  const error = Cause.squash(cause)
  const end = Option.isSome(Cause.failureOption(cause)) ? "failed" : "ended in a defect"
  const detail = `the stream ${end} on a later run: ${describeCause(error)}`
  ledger.recordNotSent(
    positions,
    error instanceof InvalidArgument ? error : new ContentError({ reason: "Failed", detail })
  )
  return Exit.succeed(done)
}

// -- what a receipt says of the session

const noUse = (reason: Retirement): Verdict => ({ _tag: "Spent", reason, didWork: false })

const verdictOn = (receipt: Receipt, state: State, { source }: Lease<Session, SetupError>): Verdict => {
  const didWork = receipt.accepted.length + receipt.refused.length > 0
  if (state === "Closed") return { _tag: "Spent", reason: reasonOf(receipt), didWork }
  const isInDoubt = receipt.unknown.length > 0 || receipt.notSent.some(({ cause }) => isDisconnection(cause))
  // Other messages may be under way on a session that takes several.
  const isAtRest = state === "Ready" || (state === "Transaction" && source.slots > 1)
  return isInDoubt || !isAtRest ? { _tag: "Doubtful" } : { _tag: "Clean" }
}

const isDisconnection = (cause: NotSentCause): cause is Disconnection =>
  cause._tag === "ServerDisconnected" || cause._tag === "ReplyTimeout" || cause._tag === "ProtocolError"

const reasonOf = ({ notSent, refused, unknown }: Receipt): Retirement => {
  const wasTold =
    refused.some(({ reply }) => reply.code === 421) ||
    [...notSent, ...unknown].some(
      ({ cause }) => cause._tag === "ServerDisconnected" && cause.reply !== undefined
    )
  if (wasTold) return "goodbye"
  return notSent.length + unknown.length > 0 ? "failed" : "lost"
}

const isLimit = (outcome: Outcome): boolean =>
  outcome._tag === "NotSent" && outcome.cause._tag === "NotSupported" && outcome.cause.extension === "LIMITS"

/** Whether some recipients are left because the session may carry no more transactions (RFC 9422 MAILMAX). */
const hasUsedUp = ({ outcomes }: Receipt, { isLimited, isUsed }: Lease<Session, SetupError>): boolean =>
  isLimited && outcomes.some(isLimit) && (isUsed || !outcomes.every(isLimit))

const rest = (positions: Positions, { outcomes }: Receipt): Next => ({
  _tag: "Again",
  positions: positions.filter((_, index) => {
    const outcome = outcomes[index]
    return outcome !== undefined && isLimit(outcome)
  }),
  aliveAfter: undefined
})

const beforeContent: ReadonlySet<Phase> = new Set(["idle", "rset", "mail", "rcpt", "data"])

/** Whether the connection was lost before anything of the content had left. */
const hadNotBegun = ({ outcomes }: Receipt): boolean =>
  outcomes.every(
    (outcome) =>
      outcome._tag === "NotSent" &&
      (outcome.cause._tag === "ServerDisconnected" || outcome.cause._tag === "ReplyTimeout") &&
      beforeContent.has(outcome.cause.phase)
  )

const elsewhere = <E, R>(
  { parcel }: Message<E, R>,
  positions: Positions,
  { outcomes }: Receipt,
  not: AnySource
): Next => {
  const worth = positions.filter((_, index) => {
    const outcome = outcomes[index]
    return outcome !== undefined && Retries.isWorthAnotherRelay(outcome)
  })
  const isForEverybody = parcel.policy === "any" || worth.length === positions.length
  return worth.length > 0 && isForEverybody ? { _tag: "Elsewhere", positions: worth, not } : done
}

// -- log lines

const logRetry = <E, R>(
  { parcel }: Message<E, R>,
  positions: Positions,
  millis: number
): Effect.Effect<void> =>
  Effect.logDebug(`A message is tried again in ${millis} ms, for ${positions.length} recipients`).pipe(
    Effect.annotateLogs(envelopeOf(parcel))
  )

const logFailover = <E, R>(
  { relays }: Port,
  { parcel }: Message<E, R>,
  { not, positions }: Extract<Next, { readonly _tag: "Elsewhere" }>
): Effect.Effect<void> =>
  Effect.logWarning(`A message goes to another relay, for ${positions.length} recipients`).pipe(
    Effect.annotateLogs({ ...envelopeOf(parcel), ...Telemetry.annotations(relays.get(not)) })
  )

const envelopeOf = <E, R>({ envelopeId }: Parcel<E, R>): Record<string, unknown> =>
  envelopeId === undefined ? {} : { "smtp.envelope_id": envelopeId }
