/**
 * `deliver`: takes a submission through as many transactions as it needs, and accounts for every recipient. The
 * rules of a transaction are those of protocol/Transaction; what is on the wire is that of transactionRun.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { isInvalid } from "../protocol/Invalid.js"
import type { Circumstances, ContentFacts, Pipelining, PlannedRecipient } from "../protocol/Plan.js"
import * as Plans from "../protocol/Plan.js"
import * as Transactions from "../protocol/Transaction.js"
import type { Disconnection, HeloError } from "../SmtpError.js"
import { ContentError, InvalidArgument, NotSupported } from "../SmtpError.js"
import type { NotSentCause, SendError } from "../SmtpSession.js"
import type { Submission } from "../SmtpSubmission.js"
import type { Account, Receipt } from "./account.js"
import { failureOf, interrupted, noAccount, receiptOf, settle } from "./account.js"
import { describeCause } from "./cause.js"
import type { Prepared } from "./content.js"
import * as Contents from "./content.js"
import type { Entrant, Exchange, Failure } from "./exchange.js"
import { disconnection, inClear, invalidArgument, refusedLocally } from "./failure.js"
import type { Lane } from "./lane.js"
import { make as makeLane } from "./lane.js"
import type { Request } from "./request.js"
import { read as readRequest } from "./request.js"
import { prepareOptions, transact, wholeLength } from "./sendContent.js"
import type { Cut, Run } from "./transactionRun.js"
import * as TransactionRun from "./transactionRun.js"

/**
 * What a session gives to a delivery.
 *
 * @since 0.1.0
 * @category models
 */
export interface Port {
  readonly exchange: Exchange
  readonly dialect: "smtp" | "lmtp"
  readonly pipelining: Pipelining
  readonly verifiedTls: () => boolean
  /** Says EHLO, or HELO, if nobody has, in the lane that the entrant has. */
  readonly greet: (entrant: Entrant) => Effect.Effect<void, HeloError | Disconnection>
  /** Held while a program drives a transaction of its own: a delivery inside it could never begin. */
  readonly insideTransaction: Effect.Effect<boolean>
  /** Whether mail would go in clear though the program has asked for TLS. */
  readonly unprotected: () => boolean
}

/**
 * Delivers a submission. Total over what servers and connections do: what they did is in the receipt.
 *
 * Fails with `InvalidArgument` before anything is sent, and with what the content's own stream fails with, unless
 * a transaction of this message has run before.
 *
 * @since 0.1.0
 * @category combinators
 */
export const deliver = <E, R>(
  port: Port,
  submission: Submission<E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> => conclude(port, submission, Effect.succeed)

/** Delivers, and makes something of the receipt; who is interrupted before that hears of it by the hook. */
const conclude = <E, R, A, E2>(
  port: Port,
  submission: Submission<E, R>,
  conclusion: (receipt: Receipt) => Effect.Effect<A, E2>
): Effect.Effect<A, InvalidArgument | E | E2, R> => {
  const request = readRequest(submission)
  if (isInvalid(request)) return Effect.fail(invalidArgument(request))
  const prepared = Contents.prepare(
    submission.content,
    prepareOptions(submission, port.exchange.limits.stall)
  )
  return Effect.flatMap(Effect.runtime(), (runtime) => {
    const { onOutcome } = submission
    const message = makeMessage(port, request, (receipt) => {
      if (onOutcome !== undefined) Runtime.runFork(runtime)(Effect.suspend(() => onOutcome(receipt)))
    })
    const sent = Effect.scoped(
      Effect.flatMap(prepared, (content) => deliverContent(port, request, content, message))
    )
    return withinTimeout(sent, request, message).pipe(
      Effect.catchAll((error) =>
        error instanceof ContentError
          ? Effect.succeed(receiptOf(request, noAccount(), () => error))
          : Effect.fail(error)
      ),
      Effect.flatMap(conclusion),
      Effect.onInterrupt(() => Effect.sync(message.unheard))
    )
  })
}

const withinTimeout = <E, R>(
  sent: Effect.Effect<Receipt, E, R>,
  { timeout }: Request,
  message: Message
): Effect.Effect<Receipt, E, R> => {
  if (timeout === undefined) return sent
  const limitMillis = Duration.toMillis(timeout)
  const expired = Effect.map(Effect.sleep(timeout), () =>
    message.receiptNow({ _tag: "Expired", phase: "idle", limitMillis })
  )
  // A limit holds in uninterruptible regions too, such as finalizers.
  return Effect.raceFirst(Effect.interruptible(sent), Effect.interruptible(expired))
}

/**
 * Two mail transactions at once, which no server takes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const nested = (): InvalidArgument =>
  new InvalidArgument({
    field: "session",
    reason: "is in a transaction that the program drives itself; end that first, or use another session"
  })

const deliverContent = <E, R>(
  port: Port,
  request: Request,
  content: Prepared<E, R>,
  message: Message
): Effect.Effect<Receipt, InvalidArgument | ContentError | E, R> =>
  Effect.gen(function* () {
    if (yield* port.insideTransaction) return yield* nested()
    return yield* Effect.onExit(
      Effect.flatMap(message.lane.take, (turnedAway) =>
        turnedAway === undefined
          ? deliverInLane(port, request, content, message)
          : Effect.succeed(message.receiptNow(turnedAway))
      ),
      (exit) => Effect.sync(() => message.leave(Exit.isInterrupted(exit)))
    )
  })

// Nobody else changes what is known of the session from here on.
const deliverInLane = <E, R>(
  port: Port,
  request: Request,
  content: Prepared<E, R>,
  message: Message
): Effect.Effect<Receipt, InvalidArgument | ContentError | E, R> =>
  Effect.gen(function* () {
    if (port.unprotected()) return yield* inClear()
    const greeted = yield* Effect.either(port.greet(message.lane.entrant))
    if (greeted._tag === "Left") return receiptOf(request, noAccount(), () => greeted.left)
    const facts = yield* contentFacts(port, request, content)
    return yield* transactions(port, request, content, facts, message)
  })

/** What the plan has to know of the content; a stream is looked at as far as the server makes it necessary. */
const contentFacts = <E, R>(
  { exchange }: Port,
  request: Request,
  content: Prepared<E, R>
): Effect.Effect<ContentFacts, ContentError | E, R> => {
  if (content._tag === "Bytes") {
    const { eightBit, headerNonAscii, octets } = content.facts
    return Effect.succeed({ octets, eightBit, utf8Header: headerNonAscii })
  }
  const octets = content.declaredSize
  if (content.content7bit) return Effect.succeed({ octets, eightBit: false, utf8Header: false })
  const bound = exchange.dialogue.capabilities().eightBitMime ? 1 : request.inspectionLimit
  return Effect.map(content.peek(bound), ({ ended, facts }) => ({
    octets: ended ? facts.octets : octets,
    eightBit: ended || facts.eightBit ? facts.eightBit : undefined,
    utf8Header: facts.headerNonAscii
  }))
}

/** A message in the lane, and what is known of it at any moment. */
interface Message {
  readonly lane: Lane
  readonly account: Account
  /** Gives the message up to whoever waited for it, with what is known now. */
  readonly receiptNow: (failure: Failure) => Receipt
  /** Leaves the lane: at once, or when the transaction on the wire has come to its end. */
  readonly leave: (interrupted: boolean) => void
  /** Nobody waits for the outcome any more. */
  readonly unheard: () => void
  readonly startRun: (
    machine: Transactions.Transaction,
    batch: ReadonlyArray<PlannedRecipient>,
    whole: Uint8Array | undefined
  ) => Run
  /** Writes down what the run came to; gives the recipients that were too many for it. */
  readonly settleRun: (otherwise?: NotSentCause) => ReadonlyArray<PlannedRecipient>
}

const makeMessage = (port: Port, request: Request, report: (receipt: Receipt) => void): Message => {
  const { exchange } = port
  const account = noAccount()
  const lane = makeLane(exchange, "transaction")
  let current:
    | {
        readonly run: Run
        readonly machine: Transactions.Transaction
        readonly batch: ReadonlyArray<PlannedRecipient>
      }
    | undefined
  let settled = true

  const settleWith = (cut: Cut | undefined, otherwise?: NotSentCause): ReadonlyArray<PlannedRecipient> =>
    current === undefined
      ? []
      : settle(exchange.tape, request, account, current.batch, current.machine.verdicts(), cut, otherwise)

  const receiptNow = (failure: Failure): Receipt => {
    if (current !== undefined && !settled) {
      const { run } = current
      settleWith(run.hasEnded() ? run.cut() : run.cutNow(failure))
    }
    return receiptOf(request, account, () => disconnection(failure, "idle", exchange.tape))
  }

  let reported = false

  // Nobody waits any more when a run ends late: the truth goes to the hook.
  const unheard = (): void => {
    if (reported || current?.run.hasEnded() !== true) return
    reported = true
    report(receiptNow(interrupted))
  }

  const endedLate = (): void => {
    unheard()
    lane.leave()
  }

  return {
    lane,
    account,
    receiptNow,
    leave: (isInterrupted) => {
      if (current?.run.hasEnded() === false) current.run.abandon()
      else if (isInterrupted) endedLate()
      else lane.leave()
    },
    unheard,
    startRun: (machine, batch, whole) => {
      const run = TransactionRun.make(exchange, machine, whole, endedLate)
      current = { run, machine, batch }
      settled = false
      return run
    },
    settleRun: (otherwise) => {
      settled = true
      return settleWith(current?.run.cut(), otherwise)
    }
  }
}

const transactions = <E, R>(
  port: Port,
  request: Request,
  content: Prepared<E, R>,
  facts: ContentFacts,
  message: Message
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  Effect.gen(function* () {
    const { dialogue } = port.exchange
    if (dialogue.inTransaction()) return yield* nested()
    const { account } = message
    const plan = planOf(port, request, facts, yield* Effect.clock)
    if (plan._tag !== "Plan") {
      const refused = refusedLocally(plan)
      return refused._tag === "NotSupported" ? receiptOf(request, account, () => refused) : yield* refused
    }
    const whole = content._tag === "Bytes" ? Contents.whole(content, "data", wholeLength) : undefined
    const transactionOf = (batch: Batch): Transactions.Transaction =>
      Transactions.make(plan, batch, port.dialect)
    const waiting = [...plan.batches]
    let splits = request.maxSplits
    let first = true
    let stop: Stop | undefined
    for (let batch = waiting.shift(); batch !== undefined && stop === undefined; batch = waiting.shift()) {
      stop = first ? undefined : beforeFurther(port, content)
      if (stop !== undefined) break
      const run = message.startRun(transactionOf(batch), batch, whole)
      const result = yield* Effect.either(transact(port.exchange, run, content, plan.requires7bit))
      if (result._tag === "Left" && first && !(result.left instanceof ContentError)) {
        return yield* Effect.fail(result.left)
      }
      const failed = result._tag === "Left" ? contentFailure(result.left) : undefined
      if (result._tag === "Right" && result.right !== undefined) account.content = result.right
      const overflow = message.settleRun(failed)
      stop = afterTransaction(port, failed)
      if (overflow.length > 0 && splits > 0 && isAccepted(account, batch)) {
        splits--
        waiting.unshift(overflow)
      }
      first = false
    }
    return receiptOf(request, account, stop ?? (() => disconnection(interrupted, "idle", port.exchange.tape)))
  })

type Batch = ReadonlyArray<PlannedRecipient>

/** Why recipients that had no transaction yet get none. */
type Stop = () => NotSentCause

const beforeFurther = <E, R>(port: Port, content: Prepared<E, R>): Stop | undefined => {
  if (content._tag === "Stream" && !content.replayable) {
    const detail = "it can be run only once, and the server takes fewer recipients at a time"
    return () => new ContentError({ reason: "UsedTwice", detail })
  }
  const { dialogue } = port.exchange
  const { mailMax } = dialogue.capabilities().limits
  if (mailMax === undefined || dialogue.mails() < mailMax) return undefined
  const reason = `this session has used up its ${mailMax} MAIL commands (MAILMAX); open another`
  return () => new NotSupported({ extension: "LIMITS", reason })
}

const afterTransaction = ({ exchange }: Port, failed: ContentError | undefined): Stop | undefined => {
  const failure = exchange.failure()
  if (failure === undefined) return undefined
  return () => failed ?? disconnection(failure, "idle", exchange.tape)
}

const isAccepted = ({ outcomes }: Account, batch: Batch): boolean =>
  batch.some(({ positions }) => outcomes.get(positions[0] ?? 0)?._tag === "Accepted")

const planOf = (
  { dialect, exchange, pipelining, verifiedTls }: Port,
  { envelope, policy }: Request,
  facts: ContentFacts,
  clock: Clock.Clock
): ReturnType<typeof Plans.plan> => {
  const { dialogue } = exchange
  const circumstances: Circumstances = {
    capabilities: dialogue.capabilities(),
    dialect,
    verifiedTls: verifiedTls(),
    mails: dialogue.mails(),
    now: clock.unsafeCurrentTimeMillis()
  }
  return Plans.plan(envelope, facts, circumstances, { pipelining, recipients: policy })
}

const contentFailure = (error: unknown): ContentError =>
  error instanceof ContentError
    ? error
    : new ContentError({
        reason: "Failed",
        detail: `the stream failed on a later run: ${describeCause(error)}`
      })

/**
 * `deliver` that fails when nobody was accepted.
 *
 * @since 0.1.0
 * @category combinators
 */
export const send = <E, R>(
  port: Port,
  submission: Submission<E, R>
): Effect.Effect<Receipt, SendError | E, R> =>
  conclude(port, submission, (receipt) => {
    const error = failureOf(submission.from, receipt, submission.recipients ?? "any")
    return error === undefined ? Effect.succeed(receipt) : Effect.fail(error)
  })
