/**
 * One message through a client. Content in memory needs no fiber as long as its first attempt is its only one: the
 * pool and the session call back.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type { Receipt } from "../../SmtpClient.js"
import type { InvalidArgument } from "../../SmtpError.js"
import type { Receipt as AnyReceipt } from "../../SmtpReceipt.js"
import type { SetupError } from "../../SmtpSession.js"
import type { PreparedBytes } from "../content/content.js"
import { hookEffect } from "../effect/hook.js"
import { launch } from "../session/launch.js"
import type { Established as Session } from "../session/session.js"
import * as Tracing from "../telemetry/tracing.js"
import type { Attempted, Message, Port, Progress } from "./attempts.js"
import * as Attempts from "./attempts.js"
import type { RetrySettings } from "../options/client.js"
import type { Parcel } from "./preparedSubmission.js"
import type { Lease } from "./pool.js"
import type { Source } from "./sources.js"
import type { Answer, Wish } from "./waiter.js"

/** Delivers; the outcome of an interrupted message goes to its hook. */
export const deliver = <E, R>(
  port: Port,
  parcel: Parcel<E, R>,
  retry: RetrySettings,
  timeoutMillis: number | undefined
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  Effect.flatMap(Effect.runtime(), (runtime) =>
    Effect.withFiberRuntime((fiber) => {
      const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
      const fork = Runtime.runFork(runtime)
      const message = Attempts.make(parcel, retry, timeoutMillis, clock, telling(port, parcel, fork))
      const content = contentFor(port, message, Tracing.isTraced(fiber))
      return content === undefined ? throughout(port, message) : direct(port, message, content, fork)
    })
  )

/** Tells the hook of a message that nobody waits for any more. */
export const telling =
  <E, R>({ hooks }: Port, { envelopeId, onOutcome }: Parcel<E, R>, fork: Fork) =>
  (receipt: AnyReceipt): void => {
    if (onOutcome !== undefined) hooks.watch(fork(hookEffect(onOutcome, receipt, envelopeId)))
  }

/**
 * The content, where the first attempt needs no fiber: nobody traces, and nothing but a session has to be waited for.
 */
export const contentFor = <E, R>(
  { pace }: Port,
  { deadline, parcel: { content } }: Message<E, R>,
  isTraced: boolean
): PreparedBytes | undefined =>
  content._tag === "Bytes" && pace === undefined && deadline === undefined && !isTraced ? content : undefined

/** Delivers in the fiber that runs it. */
export const throughout = <E, R>(
  port: Port,
  message: Message<E, R>
): Effect.Effect<Receipt, InvalidArgument | E, R> =>
  guarded(
    message,
    Tracing.ofSend(
      "SmtpClient send",
      nowhere,
      message.parcel.recipients.length,
      () => Attempts.rounds(port, message),
      (receipt) =>
        Effect.sync(() => {
          message.count(receipt)
          return receipt
        })
    )
  )

// Which relay an attempt goes to is said by its own span.
const nowhere = (): Tracing.Attributes => ({})

/** Whoever is interrupted while it carries a message gives that up. */
export const guarded = <A, E, R, E2, R2>(
  message: Message<E2, R2>,
  use: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.onInterrupt(use, () => Effect.sync(() => Attempts.giveUp(message)))

const direct = <E, R>(
  port: Port,
  message: Message<E, R>,
  content: PreparedBytes,
  fork: Fork
): Effect.Effect<Receipt, InvalidArgument | E, R> => {
  let giveUp: () => void = () => Attempts.giveUp(message)
  const first = Effect.async<Progress<E, R>>((resume) => {
    giveUp = begin(port, message, content, fork, (progress) => resume(Effect.succeed(progress))) ?? giveUp
  })
  return Effect.flatMap(first, (progress) =>
    progress._tag === "Settled" ? Effect.succeed(progress.receipt) : progress.rest
  ).pipe(Effect.onInterrupt(() => Effect.sync(() => giveUp())))
}

/** Runs what needs a fiber of its own. */
export type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>

const anySession: Wish<Source<Session, SetupError>> = { except: new Set(), aliveAfter: undefined }

/**
 * Begins a message, and tells how far it has come after its first attempt. That was told already where nothing is
 * returned; else what is returned gives the message up, at whatever point it is.
 */
export const begin = <E, R>(
  port: Port,
  message: Message<E, R>,
  content: PreparedBytes,
  fork: Fork,
  tell: (progress: Progress<E, R>) => void
): (() => void) | undefined => {
  const { ledger, parcel } = message
  const positions = Attempts.everybody(message)
  // What gives up that which the message waits for; it is over once the first attempt is.
  const stage: Stage = { isOver: false, leave: () => undefined }

  const follow = (attempted: Attempted<E>): void => {
    stage.isOver = true
    stage.leave = () => undefined
    tell(Attempts.progressOf(port, message, attempted))
  }

  const carry = (lease: Lease<Session, SetupError>): void => {
    const { hear, proven } = Attempts.follower(message, positions)
    message.isWithSession = true
    const abandon = launch(lease.session.port, parcel.part(positions, undefined), content, {
      fork,
      unheard: hear,
      ended: (exit) => follow(Attempts.attempted(port, message, positions, lease, exit, false))
    })
    if (stage.isOver) return
    stage.leave = () => {
      abandon()
      lease.release({ _tag: "Doubtful", proven })
    }
  }

  const answered = (answer: Answer<Lease<Session, SetupError>, SetupError>): void => {
    if (answer._tag === "Granted") {
      carry(answer.lease)
      return
    }
    const failure = Cause.failureOption(answer.cause)
    if (Option.isSome(failure)) ledger.recordNotSent(positions, failure.value)
    follow(Option.isSome(failure) ? Exit.succeed(Attempts.done) : Exit.die(Cause.squash(answer.cause)))
  }

  const place = port.pool.ask(anySession, answered)
  if (place !== undefined) stage.leave = place

  if (stage.isOver) return undefined
  return () => {
    stage.leave()
    Attempts.giveUp(message)
  }
}

interface Stage {
  isOver: boolean
  leave: () => void
}
