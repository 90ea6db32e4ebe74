/**
 * Carries out the steps of protocol/SetUp on a session: commands by callback, without a fiber in between, and the rest
 * (the TLS handshake, the capability cache, what authentication asks for) as effects of the fiber that waits.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Duration from "effect/Duration"
import * as Scope from "effect/Scope"
import type { AuthenticationContext, AuthenticationMemory } from "../../protocol/sasl/Authentication.js"
import * as SetUp from "../../protocol/SetUp.js"
import type { SetUpFailure, Step } from "../../protocol/SetUpStep.js"
import { done, isUntrusted } from "../../protocol/SetUpStep.js"
import type { KnownCredentials } from "./password.js"
import { readPassword } from "./password.js"
import type { Disconnection } from "../../SmtpError.js"
import {
  AuthenticationError,
  CommandRefused,
  HeloError,
  InvalidArgument,
  ServerDisconnected,
  TlsError
} from "../../SmtpError.js"
import type { Replies, Service, SetupError } from "../../SmtpSession.js"
import type { Endpoint } from "../../SmtpSocket.js"
import { formatEndpoint } from "../../SmtpSocket.js"
import { withFiber } from "../effect/runtime.js"
import type { CommandTrace } from "../telemetry/tracing.js"
import * as Tracing from "../telemetry/tracing.js"
import type { Authentication } from "./authenticate.js"
import { noReply, submit } from "./commands.js"
import type { SessionContext } from "./context.js"
import type { Failure } from "./driver.js"
import { disconnection, invalidArgument, notSupported } from "./failure.js"
import { secure, takesAnybody } from "./open.js"

export interface SessionSetUp {
  readonly methods: Pick<
    Service,
    "ehlo" | "helo" | "lhlo" | "ehloOrHeloIfNeeded" | "startTls" | "authenticate"
  >
  /** Brings a session from the greeting to its first message, as the options say. */
  readonly prepare: (authentication: Authentication | undefined) => Effect.Effect<void, SetupError>
}

export const makeSetUp = (session: SessionContext): SessionSetUp => {
  const { options, settings, state } = session
  const context: SetUp.SetUpContext = {
    dialect: settings.dialect,
    clientName: session.clientName,
    tls: settings.tls,
    authenticates: options.auth !== undefined,
    dialogue: session.driver.dialogue,
    secured: () => state.tls !== undefined
  }
  const by = <Tag extends SetupError["_tag"], A>(
    tags: ReadonlyArray<Tag>,
    begin: () => Step<A>,
    authentication?: Authentication
  ) => only(tags, run(session, begin, authentication))
  const ehlo = by(["HeloError"], () => SetUp.ehlo(context, done))
  const helo = by(["HeloError"], () => SetUp.helo(context, done))
  const ehloOrHelo = by(["HeloError"], () => SetUp.ehloOrHelo(context, () => done(undefined)))
  const startTls = by(["TlsError", "CommandRefused", "NotSupported", "HeloError", "InvalidArgument"], () =>
    SetUp.startTls(context, () => done(undefined))
  )
  const begin = (authentication: Authentication) => () => authentication.begin(authenticationContext(session))
  const belongsTo = (dialect: string, command: string) =>
    Effect.suspend(() => {
      const reason = `is ${settings.dialect}, and ${command} belongs to ${dialect}`
      return Effect.fail(new InvalidArgument({ field: "dialect", reason }))
    })
  return {
    methods: {
      ehlo,
      helo: settings.dialect === "lmtp" ? belongsTo("smtp", "HELO") : helo,
      lhlo: settings.dialect === "smtp" ? belongsTo("lmtp", "LHLO") : ehlo,
      ehloOrHeloIfNeeded: Effect.suspend(() => (context.dialogue.greeted() ? Effect.void : ehloOrHelo)),
      startTls: Effect.flatMap(startTls, () => Effect.orDie(Effect.fromNullable(state.tls))),
      authenticate: (credentials) =>
        Effect.flatMap(
          Effect.flatMap(readPassword(credentials, settings.limits.auth), (known) =>
            loadAuthentication(known, settings.limits.auth)
          ),
          (authentication) =>
            by(
              ["AuthenticationError", "HeloError", "InvalidArgument"],
              () => SetUp.authenticate(context, begin(authentication)),
              authentication
            )
        )
    },
    prepare: (authentication) =>
      Effect.asVoid(
        run(
          session,
          () => SetUp.prepare(context, settings.xclient, authentication && begin(authentication)),
          authentication
        )
      )
  }
}

// Loaded by a session that authenticates: the mechanisms are a good part of the library.
export const loadAuthentication = (
  credentials: KnownCredentials,
  tokenLimit: Duration.Duration,
  memory?: AuthenticationMemory
): Effect.Effect<Authentication> =>
  Effect.map(
    Effect.promise(() => import("./authenticate.js")),
    ({ makeAuthentication }) => makeAuthentication(credentials, tokenLimit, memory)
  )

const authenticationContext = ({
  driver,
  options,
  settings,
  state
}: SessionContext): AuthenticationContext => ({
  mechanisms: driver.dialogue.capabilities().authMechanisms,
  tls: state.tls?.verified === false && takesAnybody(settings, options) ? undefined : state.tls,
  allowInsecureAuth: options.allowInsecureAuth ?? false,
  endpoint: settings.endpoint._tag === "Tcp" ? settings.endpoint : undefined,
  secrets: driver.dialogue.secrets
})

type Tagged<Tag> = Extract<SetupError, { readonly _tag: Tag }>

const isOneOf = <Tag extends string>(
  error: SetupError,
  tags: ReadonlyArray<Tag>
): error is Tagged<Tag> | Disconnection =>
  [...tags, "ServerDisconnected", "ProtocolError", "ReplyTimeout"].includes(error._tag)

/** Leaves out the errors of other parts of the set-up. */
const only = <Tag extends SetupError["_tag"], A>(
  tags: ReadonlyArray<Tag>,
  effect: Effect.Effect<A, SetupError>
): Effect.Effect<A, Tagged<Tag> | Disconnection> =>
  Effect.catchAll(effect, (error) => (isOneOf(error, tags) ? Effect.fail(error) : Effect.die(error)))

/** Carries out steps in one turn. */
const run = <A>(
  session: SessionContext,
  begin: () => Step<A>,
  authentication?: Authentication
): Effect.Effect<A, SetupError> =>
  session.commands.together(
    "commands",
    withFiber<A, SetupError>((fiber) => {
      const trace = Tracing.commandsOf(fiber, session.attributes, session.driver.now)
      const steps = new Run<A>(session, trace, authentication)
      return Effect.onExit(steps.follow(begin()), (exit) => Effect.sync(() => steps.leave(exit)))
    })
  )

type Submit<A> = Extract<Step<A>, { readonly _tag: "Submit" }>
type Resume<A> = (result: Effect.Effect<A, SetupError>) => void

class Run<A> {
  private part: SetUp.IndivisiblePart | undefined
  private cancel: () => void = () => undefined
  private abandoned = false

  constructor(
    private readonly session: SessionContext,
    private readonly trace: CommandTrace | undefined,
    private readonly authentication: Authentication | undefined
  ) {}

  readonly follow = (step: Step<A>): Effect.Effect<A, SetupError> => {
    const { driver, services, settings, state } = this.session
    const { dialect, endpoint } = settings
    this.part = SetUp.indivisiblePart(step, this.part)
    switch (step._tag) {
      case "Submit":
        return Effect.async((resume) => this.submit(step, resume))
      case "Secure":
        return Effect.flatMap(shakeHands(this.session), () => this.follow(step.answered()))
      case "Announced": {
        const security = state.tls === undefined ? "clear" : "tls"
        return Effect.flatMap(services.cache.put({ endpoint, dialect, security }, step.lines), () =>
          this.follow(step.answered())
        )
      }
      case "Pinned":
        return Effect.flatMap(services.cache.pinned(endpoint), (pinned) => this.follow(step.answered(pinned)))
      case "ChannelBound":
        return Effect.flatMap(services.cache.bound(endpoint), (bound) => this.follow(step.answered(bound)))
      case "BindChannel":
        return Effect.flatMap(services.cache.bind(endpoint), () => this.follow(step.answered()))
      case "Done":
        return Effect.succeed(step.value)
      case "Failed": {
        const error = setUpError(step.failure, endpoint)
        if (isUntrusted(step.failure)) driver.fail({ _tag: "Abandoned", reason: error.message })
        return Effect.fail(error)
      }
      case "Violated": {
        const failure: Failure = { ...step, injection: false }
        driver.fail(failure)
        return Effect.fail(disconnection(failure, "auth", driver.recentLines))
      }
      default:
        return this.authentication === undefined
          ? Effect.dieMessage("authentication was begun without credentials")
          : Effect.flatMap(this.authentication.answer(step), this.follow)
    }
  }

  private submit(step: Submit<A>, resume: Resume<A>): void {
    const { driver } = this.session
    this.cancel = submit(
      driver,
      [step.command],
      () => undefined,
      // What was received behind the reply comes first: it may end the session.
      (exit) => driver.afterwards(() => this.answered(step, exit, resume)),
      this.trace
    )
  }

  private answered(
    step: Submit<A>,
    exit: Exit.Exit<ReadonlyArray<Replies>, Disconnection>,
    resume: Resume<A>
  ): void {
    if (this.abandoned) return
    const reply = Exit.isSuccess(exit) ? exit.value[0]?.[0] : undefined
    if (reply === undefined) {
      resume(Effect.suspend(() => (step.lost === undefined ? this.lose(step, exit) : this.follow(step.lost))))
      return
    }
    const next = step.replied(reply)
    if (next._tag === "Submit") {
      this.part = SetUp.indivisiblePart(next, this.part)
      this.submit(next, resume)
    } else resume(Effect.suspend(() => this.follow(next)))
  }

  private lose(step: Submit<A>, exit: Exit.Exit<unknown, Disconnection>): Effect.Effect<never, SetupError> {
    const { driver, settings } = this.session
    const failure = driver.failure()
    if (failure?._tag === "Violated" && failure.injection) {
      return Effect.fail(tlsError(settings.endpoint, "Injection"))
    }
    if (Exit.isSuccess(exit)) return Effect.fail(disconnection(noReply, "idle", driver.recentLines))
    const lost = Effect.failCause(exit.cause)
    return step.command.phase === "ehlo"
      ? Effect.catchTag(lost, "ServerDisconnected", this.refusedEhlo)
      : lost
  }

  /** 421 to EHLO may be about the client's name, unless the endpoint has accepted an EHLO. */
  private readonly refusedEhlo = (error: ServerDisconnected): Effect.Effect<never, ServerDisconnected> => {
    if (error.reply === undefined) return Effect.fail(error)
    const { services, settings } = this.session
    const { dialect, endpoint } = settings
    const known = Effect.forEach(["clear", "tls"] as const, (security) =>
      services.cache.get({ endpoint, dialect, security })
    )
    return Effect.flatMap(known, (announced) => {
      const { cause, phase, reply, transcript } = error
      const isFirstEhlo = announced.every((each) => each === undefined)
      return Effect.fail(
        isFirstEhlo ? new ServerDisconnected({ phase, reply, isFirstEhlo, cause, transcript }) : error
      )
    })
  }

  // Nobody could go on from half an AUTH or a handshake: neither after an interruption, nor after a defect of a part of
  // the program. Only a typed error leaves the session in order.
  leave(exit: Exit.Exit<A, SetupError>): void {
    if (Exit.isSuccess(exit)) return
    const isInterrupted = Cause.isInterrupted(exit.cause)
    if (this.part !== undefined && (isInterrupted || Cause.isDie(exit.cause))) {
      const how = isInterrupted ? "was interrupted" : "ended in a defect"
      this.session.driver.fail({ _tag: "Abandoned", reason: `${this.part} ${how}` })
    }
    this.abandoned = true
    this.cancel()
  }
}

const shakeHands = (session: SessionContext): Effect.Effect<void, TlsError> =>
  Effect.gen(function* () {
    const { driver, options, scope, services, settings, state } = session
    const connection = driver.connection()
    // What was received behind the 220 was sent in clear, by anybody.
    if (connection.buffered() > 0) return yield* tlsError(settings.endpoint, "Injection")
    const secured = yield* Scope.extend(secure(services, settings, options, connection), scope)
    state.tls = secured.tls
    yield* driver.upgraded(secured)
    driver.recentLines.note(`TLS: ${secured.tls.protocol}, ${secured.tls.cipher}`)
    yield* services.cache.pin(settings.endpoint)
  }).pipe(
    Effect.tapError(({ message }) =>
      Effect.sync(() => session.driver.fail({ _tag: "Abandoned", reason: `TLS failed: ${message}` }))
    )
  )

const tlsError = (endpoint: Endpoint, reason: TlsError["reason"]): TlsError =>
  new TlsError({ endpoint: formatEndpoint(endpoint), reason })

// Mail catchers for development seldom have TLS. A name without a dot is that of a container, or localhost.
const isLocal = (endpoint: Endpoint): boolean =>
  endpoint._tag === "Unix" ||
  /^(?:[^.:]+|.*\.localhost|host\.docker\.internal|127(?:\.\d+){3}|::1|(?:::ffff:)127(?:\.\d+){3})\.?$/i.test(
    endpoint.host
  )

const localAdvice = 'a mail catcher on this machine may have no TLS: set tls to "none"'

export const setUpError = (failure: SetUpFailure, endpoint: Endpoint): SetupError => {
  switch (failure._tag) {
    case "HeloRefused":
      return new HeloError({ command: failure.command, reply: failure.reply })
    case "CommandRefused": {
      const { command, reply } = failure
      return new CommandRefused({ command: command.verb, phase: command.phase, reply })
    }
    case "Unsupported": {
      const { extension, reason } = failure
      return notSupported(
        extension === "STARTTLS" && isLocal(endpoint)
          ? { ...failure, reason: `${reason}; ${localAdvice}` }
          : failure
      )
    }
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
