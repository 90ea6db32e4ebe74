/** Opens a session and puts its parts together: the methods of SmtpSession over the driver. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { CapabilityCache } from "../../CapabilityCache.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Reply } from "../../protocol/Reply.js"
import type { ConnectError, Disconnection, InvalidArgument, TlsError } from "../../SmtpError.js"
import { ReplyTimeout } from "../../SmtpError.js"
import type { Receipt } from "../../SmtpReceipt.js"
import type { NotSentCause, Options, SendError, Service, SetupError, State } from "../../SmtpSession.js"
import { SmtpSocket } from "../../SmtpSocket.js"
import type { Submission } from "../../SmtpSubmission.js"
import { TlsUpgrade } from "../../TlsUpgrade.js"
import { bestEffortCache } from "../cache/bestEffortCache.js"
import * as Elapsed from "../effect/elapsed.js"
import { makeFork, withFiber } from "../effect/runtime.js"
import { withTimeLimit } from "../effect/timeLimit.js"
import type { AuthenticationMemory } from "../../protocol/sasl/Authentication.js"
import type { SessionSettings } from "../options/session.js"
import { readSessionOptions } from "../options/session.js"
import { isFailedResumption } from "../transport/resumption.js"
import type { Authentication } from "./authenticate.js"
import type { SessionContext } from "./context.js"
import { isTransactionByHand, isUnprotected, isVerified, makeContext } from "./context.js"
import * as Delivery from "./deliver.js"
import { disconnection, invalidArgument, lostAfterHandshake } from "./failure.js"
import type { MessageContext } from "./messageContext.js"
import { makeMethods } from "./methods.js"
import { open } from "./open.js"
import { readPassword, renewing } from "./password.js"
import type { Request } from "./request.js"
import { read as readRequest } from "./request.js"
import type { SessionSetUp } from "./setUp.js"
import { loadAuthentication, makeSetUp } from "./setUp.js"

export const connect = (
  options: Options
): Effect.Effect<
  Service,
  ConnectError | TlsError | InvalidArgument | Disconnection,
  Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache
> =>
  Effect.flatMap(readSettings(options), (settings) =>
    Effect.map(resumeOrNot(establish(settings, options)), ({ service }) => service)
  )

export const make = (
  options: Options
): Effect.Effect<Service, SetupError, Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Effect.map(ready(options), ({ service }) => service)

interface ReadyOptions {
  /** What is learnt of AUTH, for all sessions of a relay. */
  readonly memory?: AuthenticationMemory
  /** Runs when the server has greeted. */
  readonly greeted?: (session: SessionContext) => Effect.Effect<unknown>
}

/** `make` for SmtpClient. */
export const ready = (
  options: Options,
  { greeted = () => Effect.void, memory }: ReadyOptions = {}
): Effect.Effect<OpenSession, SetupError, Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Effect.gen(function* () {
    const settings = yield* readSettings(options)
    const { auth } = options
    const { limits } = settings
    const known = auth === undefined ? undefined : yield* readPassword(auth, limits.auth)
    const authentication =
      known === undefined ? undefined : yield* loadAuthentication(known, limits.auth, memory)
    const renew = renewing(auth, known, limits.auth)
    return yield* resumeOrNot(prepared(settings, options, greeted, authentication, renew))
  })

/** Once more where the server could not resume a TLS session: it is not offered one again. */
const resumeOrNot = <A, E extends SetupError, R>(opened: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.catchAll(opened, (error) => (isFailedResumption(error) ? opened : Effect.fail(error)))

const prepared = (
  settings: SessionSettings,
  options: Options,
  greeted: (session: SessionContext) => Effect.Effect<unknown>,
  authentication: Authentication | undefined,
  renew: ReturnType<typeof renewing>
): Effect.Effect<OpenSession, SetupError, Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Effect.flatMap(establish(settings, options), (opened) =>
    Effect.catchAll(
      greeted(opened.session).pipe(
        Effect.zipRight(
          Effect.catchAll(opened.prepare(authentication), (error) => renew(opened.service, error))
        ),
        Effect.as(opened)
      ),
      (error) => {
        const { driver, state } = opened.session
        const failure = driver.failure()
        if (settings.tls !== "implicit" && !driver.dialogue.greeted()) {
          return Effect.fail(lostAfterHandshake(error, failure, settings.endpoint, state.tls))
        }
        if (failure?._tag !== "Disconnected" || authentication?.resumes(failure.reply) !== true) {
          return Effect.fail(error)
        }
        return Effect.mapError(prepared(settings, options, greeted, authentication, renew), (later) =>
          error._tag === "AuthenticationError" && later._tag !== "AuthenticationError" ? error : later
        )
      }
    )
  )

const readSettings = (options: Options): Effect.Effect<SessionSettings, InvalidArgument> =>
  Effect.suspend(() => {
    const settings = readSessionOptions(options)
    return isInvalid(settings) ? Effect.fail(invalidArgument(settings)) : Effect.succeed(settings)
  })

export const sendOnce = <E = never, R = never>(
  options: Options,
  submission: Submission<E, R>
): Effect.Effect<
  Receipt<NotSentCause>,
  SetupError | SendError | E,
  R | SmtpSocket | TlsUpgrade | CapabilityCache
> =>
  Effect.suspend(() => {
    const request = readRequest(submission)
    if (isInvalid(request)) return Effect.fail(invalidArgument(request))
    return Effect.acquireUseRelease(
      Scope.make(),
      (scope) =>
        Effect.flatMap(Scope.extend(readyInTime(options, request), scope), ({ left, opened }) =>
          Effect.zipRight(
            Scope.addFinalizer(scope, closeGracefully(opened.session, opened.service, longestQuit)),
            Delivery.send(opened.messages, submission, left)
          )
        ),
      closeBehind
    )
  })

// Nobody waits for the reply to this QUIT.
const longestQuit = Duration.seconds(1)

/**
 * Hands QUIT to the socket and closes the session behind the caller, who has the receipt. An interrupted caller waits:
 * it is to know that nothing is left.
 */
const closeBehind = (scope: Scope.CloseableScope, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
  const closing = Scope.close(scope, exit)
  if (Exit.isInterrupted(exit)) return closing
  return Effect.map(makeFork(), (fork) => {
    fork(closing, { immediate: true })
  })
}

/** Opens a session within the timeout of the message, and gives the message what is left of it. */
const readyInTime = (options: Options, request: Request) =>
  Effect.gen(function* () {
    const { timeout } = request
    if (timeout === undefined) return { opened: yield* ready(options), left: request }
    const clock = yield* Effect.clock
    const begun = Elapsed.millis(clock)
    const limitMillis = Duration.toMillis(timeout)
    let session: SessionContext | undefined
    const greeted = (greeting: SessionContext) =>
      Effect.sync(() => {
        session = greeting
      })
    const opened = yield* withTimeLimit(ready(options, { greeted }), timeout, () =>
      openingExpired(session, limitMillis)
    )
    const left = Duration.millis(Math.max(0, limitMillis - (Elapsed.millis(clock) - begun)))
    return { opened, left: { ...request, timeout: left, limitMillis } }
  })

const openingExpired = (session: SessionContext | undefined, millis: number): Disconnection => {
  const limit = { limitMillis: Math.ceil(millis), isOfSend: true }
  if (session === undefined) return new ReplyTimeout({ phase: "greeting", ...limit })
  const { driver } = session
  const late = isUnprotected(session) ? "starttls" : "auth"
  const phase = driver.dialogue.greeted() ? late : "ehlo"
  // No QUIT: a server that does not answer would hold the caller up again.
  driver.fail({ _tag: "Abandoned", reason: "the timeout of the send ran out" })
  return disconnection({ _tag: "Expired", phase, ...limit }, phase, driver.recentLines)
}

/** A session with what only this library sees of it. */
export interface OpenSession {
  readonly session: SessionContext
  readonly service: Service
  readonly prepare: SessionSetUp["prepare"]
  readonly messages: MessageContext
  readonly state: () => State
}

const establish = (
  settings: SessionSettings,
  options: Options
): Effect.Effect<
  OpenSession,
  ConnectError | TlsError | Disconnection,
  Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache
> =>
  Effect.gen(function* () {
    const services = {
      socket: yield* SmtpSocket,
      tls: yield* TlsUpgrade,
      cache: bestEffortCache(yield* CapabilityCache)
    }
    const scope = yield* Effect.scope
    const greeted = yield* open(services, settings, options, scope)
    const session = makeContext(greeted, services, settings, options)
    const built = build(session, greeted.greeting)
    yield* Scope.addFinalizer(scope, closeGracefully(session, built.service))
    return { session, ...built }
  })

const closeGracefully = (
  { driver }: SessionContext,
  { quit }: Service,
  longest: Duration.Duration = Duration.infinity
): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (driver.failure() !== undefined || driver.dialogue.hasEnded()) return Effect.void
    const limit = Duration.min(longest, driver.limits.quit)
    return Effect.ignore(withTimeLimit(quit, limit, () => undefined))
  }).pipe(Effect.zipRight(driver.close))

const build = (session: SessionContext, greeting: Reply): Omit<OpenSession, "session"> => {
  const { commands, driver, state, settings } = session
  const { dialogue, recentLines } = driver
  const { dialect } = settings
  const setUp = makeSetUp(session)
  const messages: MessageContext = {
    driver,
    dialect,
    settings,
    verifiedTls: () => isVerified(session),
    greeted: dialogue.greeted,
    greet: (turn) => commands.holding(turn, setUp.methods.ehloOrHeloIfNeeded),
    state,
    attributes: session.attributes,
    isExcluded: (fiber) => commands.isHolder(fiber) || isTransactionByHand(session),
    unprotected: () => isUnprotected(session)
  }

  const currentState = (): State => {
    if (dialogue.hasEnded() || driver.failure() !== undefined) return "Closed"
    if (dialogue.inTransaction()) return "Transaction"
    return dialogue.greeted() ? "Ready" : "Greeted"
  }

  const service: Service = {
    endpoint: settings.endpoint,
    addresses: driver.connection().addresses,
    greeting,
    capabilities: Effect.sync(dialogue.capabilities),
    tls: Effect.sync(() => state.tls),
    state: Effect.sync(currentState),
    awaitClosed: Effect.map(driver.awaitEnd, (failure) =>
      failure === undefined ? undefined : disconnection(failure, "idle", recentLines)
    ),
    ...setUp.methods,
    ...makeMethods(session, messages),
    deliver: (submission) => Delivery.deliver(messages, submission),
    send: (submission) => Delivery.send(messages, submission),
    sendAll: (submissions) =>
      withFiber((fiber) =>
        Effect.map(
          Effect.promise(() => import("./sendAll.js")),
          ({ sendAll }) => sendAll(messages, submissions, () => messages.isExcluded(fiber))
        )
      )
  }
  return { service, prepare: setUp.prepare, messages, state: currentState }
}
