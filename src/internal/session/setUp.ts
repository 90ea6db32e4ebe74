/**
 * Carries out the steps of protocol/SetUp on a session: commands by callback, without a fiber in between, and the rest
 * (the TLS handshake, the capability cache, what authentication asks for) as effects of the fiber that waits.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Command, Phase } from "../../protocol/Command.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Reply } from "../../protocol/Reply.js"
import { isSuccess } from "../../protocol/Reply.js"
import * as SetUp from "../../protocol/SetUp.js"
import type { SetUpFailure, Step } from "../../protocol/SetUpStep.js"
import { done, isUntrusted } from "../../protocol/SetUpStep.js"
import * as Xclient from "../../protocol/Xclient.js"
import type { Credentials } from "../../SmtpAuth.js"
import { AuthenticationError, CommandRefused, HeloError, InvalidArgument, TlsError } from "../../SmtpError.js"
import type { Service, SetupError } from "../../SmtpSession.js"
import type { Endpoint } from "../../SmtpSocket.js"
import { formatEndpoint } from "../../SmtpSocket.js"
import type { CommandTrace } from "../telemetry/tracing.js"
import * as Tracing from "../telemetry/tracing.js"
import type { Authentication } from "./authenticate.js"
import type { SessionContext } from "./context.js"
import type { Failure, Owner } from "./driver.js"
import { disconnection, invalidArgument, notSupported } from "./failure.js"
import { secure, takesAnybody } from "./open.js"

/** The methods of a session that set it up by hand, and all of that in one. */
export interface SessionSetUp {
  readonly methods: Pick<
    Service,
    "ehlo" | "helo" | "lhlo" | "ehloOrHeloIfNeeded" | "startTls" | "authenticate"
  >
  /** Brings a session from the greeting to its first message, as the options say. */
  readonly prepare: Effect.Effect<void, SetupError>
}

export const makeSetUp = (session: SessionContext): SessionSetUp => {
  const { clientName, driver, options, settings, state } = session
  const { dialect } = settings
  const context: SetUp.SetUpContext = {
    dialect,
    clientName,
    tls: settings.tls,
    authenticates: options.auth !== undefined,
    dialogue: driver.dialogue,
    greeted: () => state.greeted,
    secured: () => state.tls !== undefined
  }

  const ehlo = run(session, () => SetUp.ehlo(context, done)).pipe(
    failingOnlyWith("HeloError", ...disconnections)
  )
  const helo = run(session, () => SetUp.helo(context, done)).pipe(
    failingOnlyWith("HeloError", ...disconnections)
  )
  const greet = run(session, () => SetUp.ehloOrHelo(context, () => done(undefined)))

  const wrongDialect = (command: string, needed: string): Effect.Effect<never, InvalidArgument> =>
    Effect.suspend(() => {
      const reason = `is ${dialect}, and ${command} belongs to ${needed}`
      return Effect.fail(new InvalidArgument({ field: "dialect", reason }))
    })

  const prepare = (authentication: Authentication | undefined): Effect.Effect<unknown, SetupError> => {
    const xclient = options.xclient === undefined ? undefined : Xclient.make(options.xclient, "xclient")
    if (isInvalid(xclient)) return Effect.fail(invalidArgument(xclient))
    return run(
      session,
      () => SetUp.prepare(context, { xclient, begin: authentication?.begin }),
      authentication
    )
  }

  return {
    methods: {
      ehlo,
      helo: dialect === "lmtp" ? wrongDialect("HELO", "smtp") : helo,
      lhlo: dialect === "smtp" ? wrongDialect("LHLO", "lmtp") : ehlo,
      ehloOrHeloIfNeeded: Effect.suspend(() => (state.greeted ? Effect.void : greet)).pipe(
        failingOnlyWith("HeloError", ...disconnections)
      ),
      startTls: run(session, () => SetUp.startTls(context, () => done(undefined))).pipe(
        Effect.zipRight(Effect.suspend(() => Effect.orDie(Effect.fromNullable(state.tls)))),
        failingOnlyWith(
          "TlsError",
          "CommandRefused",
          "NotSupported",
          "HeloError",
          "InvalidArgument",
          ...disconnections
        )
      ),
      authenticate: (credentials) =>
        loadAuthentication(session, credentials).pipe(
          Effect.flatMap((authentication) =>
            run(session, () => SetUp.authenticate(context, authentication.begin), authentication)
          ),
          failingOnlyWith("AuthenticationError", "HeloError", "InvalidArgument", ...disconnections)
        )
    },
    prepare:
      options.auth === undefined
        ? Effect.asVoid(prepare(undefined))
        : Effect.asVoid(Effect.flatMap(loadAuthentication(session, options.auth), prepare))
  }
}

// The mechanisms are a good part of the library: they are loaded by who authenticates.
const loadAuthentication = (
  { driver, options, settings, state }: SessionContext,
  credentials: Credentials
): Effect.Effect<Authentication> =>
  Effect.map(
    Effect.promise(() => import("./authenticate.js")),
    ({ makeAuthentication }) =>
      makeAuthentication(credentials, settings.limits.auth, () => ({
        mechanisms: driver.dialogue.capabilities().authMechanisms,
        tls: state.tls?.verified === false && takesAnybody(settings, options) ? undefined : state.tls,
        allowInsecureAuth: options.allowInsecureAuth ?? false,
        endpoint: settings.endpoint._tag === "Tcp" ? settings.endpoint : undefined,
        secrets: driver.dialogue.secrets
      }))
  )

const disconnections = ["ServerDisconnected", "ProtocolError", "ReplyTimeout"] as const

const isOneOf = <Tag extends SetupError["_tag"]>(
  error: SetupError,
  tags: ReadonlyArray<Tag>
): error is Extract<SetupError, { readonly _tag: Tag }> => tags.some((tag) => tag === error._tag)

/** Leaves out the errors of other parts of the set-up. */
const failingOnlyWith =
  <Tag extends SetupError["_tag"]>(...tags: ReadonlyArray<Tag>) =>
  <A>(effect: Effect.Effect<A, SetupError>): Effect.Effect<A, Extract<SetupError, { readonly _tag: Tag }>> =>
    Effect.catchAll(effect, (error) => (isOneOf(error, tags) ? Effect.fail(error) : Effect.die(error)))

type Submit<A> = Extract<Step<A>, { readonly _tag: "Submit" }>

/** Carries out steps in one turn. */
const run = <A>(
  session: SessionContext,
  begin: () => Step<A>,
  authentication?: Authentication
): Effect.Effect<A, SetupError> =>
  session.commands.together(
    "commands",
    Effect.withFiberRuntime<A, SetupError>((fiber) => {
      const trace = Tracing.commandsOf(fiber, session.attributes, session.driver.now)
      const own = new Run<A>(session, authentication, trace)
      return Effect.onExit(own.follow(begin()), (exit) => Effect.sync(() => own.leave(exit)))
    })
  )

class Run<A> implements Owner {
  private awaited: Submit<A> | undefined
  private abandoned = false
  private part: ReturnType<typeof SetUp.indivisiblePart>
  private resume: (result: Effect.Effect<A, SetupError>) => void = () => undefined

  constructor(
    private readonly session: SessionContext,
    private readonly authentication: Authentication | undefined,
    readonly trace: CommandTrace | undefined
  ) {}

  readonly follow = (step: Step<A>): Effect.Effect<A, SetupError> => {
    const { services, settings, state } = this.session
    if (step._tag !== "Done" && step._tag !== "Failed") this.part = SetUp.indivisiblePart(step)
    switch (step._tag) {
      case "Submit":
        return Effect.async((resume) => {
          this.resume = resume
          this.submit(step)
        })
      case "Secure":
        return Effect.flatMap(shakeHands(this.session), () => this.follow(step.secured()))
      case "Announced": {
        const { dialect, endpoint } = settings
        const key = { endpoint, dialect, security: state.tls === undefined ? "clear" : "tls" } as const
        return Effect.flatMap(services.cache.put(key, step.lines), () => this.follow(step.answered()))
      }
      case "Pinned":
        return Effect.flatMap(services.cache.pinned(settings.endpoint), (pinned) =>
          this.follow(step.answered(pinned))
        )
      case "Done":
        return Effect.succeed(step.value)
      case "Failed":
        return this.fail(step.failure)
      case "Violated":
        return this.violate(step.reply, step.reason)
      default:
        return this.authentication === undefined
          ? Effect.dieMessage("authentication was begun without credentials")
          : Effect.flatMap(this.authentication.answer(step), this.follow)
    }
  }

  private submit(step: Submit<A>): void {
    const { driver } = this.session
    this.awaited = step
    driver.start(this)
    const problem = driver.dialogue.submit(this, [step.command])
    if (problem === undefined) {
      driver.flush()
      return
    }
    driver.finish(this)
    const refused: Failure = { _tag: "Abandoned", reason: `the ${problem.field} ${problem.reason}` }
    this.failed(driver.failure() ?? refused, undefined)
  }

  replied(command: Command, reply: Reply): void {
    const { driver, state } = this.session
    const { awaited } = this
    this.awaited = undefined
    driver.finish(this)
    if (this.abandoned || awaited === undefined) {
      driver.dialogue.forget(this)
      return
    }
    if ((command.kind === "Ehlo" || command.kind === "Helo") && isSuccess(reply)) state.greeted = true
    // What was received behind the reply is looked at first: it may end the session.
    driver.afterwards(() => {
      const step = awaited.replied(reply)
      if (step._tag !== "Submit") {
        this.resume(this.follow(step))
        return
      }
      this.part = SetUp.indivisiblePart(step)
      this.submit(step)
    })
  }

  failed(failure: Failure, phase: Phase | undefined): void {
    const { driver, settings } = this.session
    const { awaited } = this
    this.awaited = undefined
    if (awaited === undefined) return
    if (awaited.lost !== undefined) this.resume(this.follow(awaited.lost))
    else if (failure._tag === "Violated" && failure.injection) {
      this.resume(Effect.fail(tlsError(settings.endpoint, "Injection")))
    } else this.resume(Effect.fail(disconnection(failure, phase ?? "idle", driver.recentLines)))
  }

  private fail(failure: SetUpFailure): Effect.Effect<never, SetupError> {
    const error = setUpError(failure, this.session.settings.endpoint)
    if (isUntrusted(failure)) this.session.driver.fail({ _tag: "Abandoned", reason: error.message })
    return Effect.fail(error)
  }

  private violate(reply: Reply, reason: string): Effect.Effect<never, SetupError> {
    const { driver } = this.session
    const failure: Failure = { _tag: "Violated", reason, reply, injection: false }
    driver.fail(failure)
    return Effect.fail(disconnection(failure, "auth", driver.recentLines))
  }

  /**
   * Half an AUTH or a handshake is no state that anybody could go on from: neither after an interruption, nor after a
   * defect of a part that a program has plugged in. Only a typed error may leave the session in order.
   */
  leave(exit: Exit.Exit<A, SetupError>): void {
    const { driver } = this.session
    if (Exit.isFailure(exit) && this.part !== undefined) {
      const isInterrupted = Cause.isInterrupted(exit.cause)
      const how = isInterrupted ? "was interrupted" : "ended in a defect"
      if (isInterrupted || Cause.isDie(exit.cause)) {
        driver.fail({ _tag: "Abandoned", reason: `${this.part} ${how}` })
      }
    }
    this.abandoned = true
    if (this.awaited !== undefined && !driver.dialogue.withdraw(this)) driver.bound(this)
    else {
      driver.finish(this)
      driver.dialogue.forget(this)
    }
  }
}

const shakeHands = (session: SessionContext): Effect.Effect<void, TlsError> =>
  Effect.gen(function* () {
    const { driver, options, scope, services, settings, state } = session
    const connection = driver.connection()
    // What was received behind the 220 was sent in clear, by whomever.
    if (connection.buffered() > 0) return yield* tlsError(settings.endpoint, "Injection")
    const secured = yield* Scope.extend(secure(services, settings, options, connection), scope)
    state.tls = secured.tls
    state.greeted = false
    yield* driver.upgraded(secured)
    driver.recentLines.note(`TLS: ${secured.tls.protocol}, ${secured.tls.cipher}`)
    yield* services.cache.pin(settings.endpoint)
  }).pipe(
    Effect.tapError((error) =>
      Effect.sync(() => session.driver.fail({ _tag: "Abandoned", reason: `TLS failed: ${error.message}` }))
    )
  )

const tlsError = (endpoint: Endpoint, reason: TlsError["reason"]): TlsError =>
  new TlsError({ endpoint: formatEndpoint(endpoint), reason })

export const setUpError = (failure: SetUpFailure, endpoint: Endpoint): SetupError => {
  switch (failure._tag) {
    case "HeloRefused":
      return new HeloError({ command: failure.command, reply: failure.reply })
    case "CommandRefused": {
      const { command, reply } = failure
      return new CommandRefused({ command: command.verb, phase: command.phase, reply })
    }
    case "Unsupported":
      return notSupported(failure)
    case "Invalid":
      return invalidArgument(failure)
    case "OfferVanished":
      return tlsError(endpoint, "OfferVanished")
    case "NotAuthenticated": {
      const { cause, detail, mechanism, reason, reply } = failure
      return new AuthenticationError({ reason, mechanism, reply, detail, cause })
    }
  }
}
