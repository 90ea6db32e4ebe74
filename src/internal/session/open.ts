/**
 * Opens a connection: dials, writes the PROXY header, does implicit TLS, and reads the greeting. When one address of the
 * host turns the client away temporarily, the next one is tried (RFC 5321 section 3.1).
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { CapabilityCache } from "../../CapabilityCache.js"
import * as Commands from "../../protocol/Command.js"
import type { Reply } from "../../protocol/Reply.js"
import { isTransient } from "../../protocol/Reply.js"
import { afterGreeting } from "../../protocol/SetUp.js"
import type { Disconnection, TlsError } from "../../SmtpError.js"
import { ConnectError } from "../../SmtpError.js"
import type { Options } from "../../SmtpSession.js"
import type { Connection, SmtpSocket } from "../../SmtpSocket.js"
import { formatEndpoint } from "../../SmtpSocket.js"
import type { SecuredConnection, TlsInfo, TlsUpgrade } from "../../TlsUpgrade.js"
import * as Elapsed from "../effect/elapsed.js"
import { hasOwnLimit } from "../effect/bestEffort.js"
import { forkScope } from "../effect/scope.js"
import { withTimeLimit } from "../effect/timeLimit.js"
import type { SessionSettings } from "../options/session.js"
import { submitAndWait } from "./commands.js"
import type { Driver, Failure, Owner } from "./driver.js"
import { makeDriver } from "./makeDriver.js"
import { disconnection, lostAfterHandshake } from "./failure.js"
import { ToldEarly } from "./logUnknown.js"
import { RecentLines } from "./recentLines.js"

/** The services that a session stands on. */
export interface Services {
  readonly socket: SmtpSocket["Type"]
  readonly tls: TlsUpgrade["Type"]
  readonly cache: CapabilityCache["Type"]
}

/** A connection whose server has greeted. */
export interface Greeted {
  readonly driver: Driver
  readonly greeting: Reply
  readonly tlsInfo: TlsInfo | undefined
  /** Holds the sockets and the fibers of the driver. */
  readonly scope: Scope.CloseableScope
  /** Whether the endpoint has ended a session because of too many commands. */
  readonly restrained: boolean
  readonly toldEarly: ToldEarly | undefined
}

type OpenError = ConnectError | TlsError | Disconnection

export const secure = (
  { tls }: Services,
  settings: SessionSettings,
  options: Options,
  connection: Connection
): Effect.Effect<SecuredConnection, TlsError, Scope.Scope> =>
  tls.upgrade(connection, {
    host: settings.host,
    port: settings.port,
    timeout: settings.limits.tls,
    tls: options.tlsOptions ?? {},
    verifyByDefault: !takesAnybody(settings, options)
  })

/**
 * RFC 7435: where clear text would do, TLS needs no verified certificate, unless there is a password to be sent.
 */
export const takesAnybody = ({ tls }: SessionSettings, { auth, tlsOptions }: Options): boolean =>
  tls === "opportunistic" && auth === undefined && tlsOptions?.verify === undefined

const connectError = (
  { endpoint }: SessionSettings,
  reason: ConnectError["reason"],
  about: { readonly cause?: unknown; readonly reply?: Reply } = {}
): ConnectError => new ConnectError({ endpoint: formatEndpoint(endpoint), reason, ...about })

const limitToConnect = <A, R>(
  settings: SessionSettings,
  effect: Effect.Effect<A, ConnectError, R>
): Effect.Effect<A, ConnectError, R> =>
  withTimeLimit(effect, settings.limits.connect, () => connectError(settings, "Timeout"))

// A socket of the program may exceed its limit.
const dial = (
  { socket }: Services,
  settings: SessionSettings,
  except: ReadonlyArray<string>
): Effect.Effect<Connection, ConnectError, Scope.Scope> => {
  const dialling = socket.dial(settings.endpoint, { timeout: settings.limits.connect, except })
  return hasOwnLimit(socket) ? dialling : limitToConnect(settings, dialling)
}

/** The PROXY header comes before all else: the server greets after it has read it. */
const writeProxyHeader = (
  connection: Connection,
  settings: SessionSettings
): Effect.Effect<void, ConnectError> =>
  settings.proxyHeader === undefined
    ? Effect.void
    : limitToConnect(
        settings,
        Effect.mapError(connection.write([settings.proxyHeader]), (cause) =>
          connectError(settings, "Unreachable", { cause })
        )
      )

const readGreeting = (
  { cache }: Services,
  connection: Connection,
  tls: TlsInfo | undefined,
  settings: SessionSettings,
  options: Options
): Effect.Effect<Pick<Greeted, "driver" | "greeting" | "toldEarly">, OpenError, Scope.Scope> =>
  Effect.gen(function* () {
    const recentLines = new RecentLines(options.transcript)
    recentLines.note(`connected to ${formatEndpoint(settings.endpoint)}`)
    const greeted = yield* Deferred.make<Reply, Failure>()
    const greeter: Owner = {
      replied: (_command, reply) => Deferred.unsafeDone(greeted, Effect.succeed(reply)),
      failed: (failure) => Deferred.unsafeDone(greeted, Effect.fail(failure))
    }
    const toldEarly = settings.chunking === "eager" ? new ToldEarly() : undefined
    const driver = yield* makeDriver(connection, greeter, {
      dialect: settings.dialect,
      replyLimits: settings.replyLimits,
      limits: settings.limits,
      recentLines,
      window: settings.window,
      onTooManyCommands: cache.restrain(settings.endpoint),
      onViolation: Effect.suspend(() => toldEarly?.warning() ?? Effect.void)
    })
    const greeting = yield* Effect.mapError(Deferred.await(greeted), (failure) => {
      const error = disconnection(failure, "greeting", recentLines)
      return lostAfterHandshake(error, failure, settings.endpoint, tls)
    })
    driver.finish(greeter)
    const next = afterGreeting(greeting)
    if (next === "Commands") return { driver, greeting, toldEarly }
    if (next === "Quit") yield* quit(driver)
    return yield* connectError(settings, "Greeting", { reply: greeting })
  })

const quit = (driver: Driver): Effect.Effect<void> =>
  Effect.ignore(
    withTimeLimit(
      submitAndWait(driver, [Commands.quit], () => undefined),
      driver.limits.quit,
      () => undefined
    )
  )

/** One address of the host. */
const openAddress = (
  services: Services,
  settings: SessionSettings,
  options: Options,
  parent: Scope.Scope,
  except: Array<string>
): Effect.Effect<Greeted, OpenError> =>
  Effect.gen(function* () {
    const scope = yield* forkScope(parent)
    const opened = Effect.gen(function* () {
      const dialled = yield* dial(services, settings, except)
      const { remoteAddress } = dialled.addresses
      if (remoteAddress !== undefined && !except.includes(remoteAddress)) except.push(remoteAddress)
      yield* writeProxyHeader(dialled, settings)
      const secured =
        settings.tls === "implicit" ? yield* secure(services, settings, options, dialled) : undefined
      const greeted = yield* readGreeting(services, secured ?? dialled, secured?.tls, settings, options)
      const spendsCommands = settings.pipelining === "overlap" || settings.chunking === "eager"
      const restrained = spendsCommands && (yield* services.cache.restrained(settings.endpoint))
      return { ...greeted, tlsInfo: secured?.tls, scope, restrained }
    })
    return yield* Effect.onError(Scope.extend(opened, scope), () => Scope.close(scope, Exit.void))
  })

// The owner of the name can give a new address for every look-up, and hours of them in one: no address is tried later
// than the limit of one greeting after the first.
const mostAddresses = 8

const isTemporaryRefusal = (error: OpenError): boolean =>
  error._tag === "ConnectError" && error.reply !== undefined && isTransient(error.reply)

export const open = (
  services: Services,
  settings: SessionSettings,
  options: Options,
  scope: Scope.Scope
): Effect.Effect<Greeted, OpenError> =>
  Effect.flatMap(Effect.clock, (clock) => {
    const except: Array<string> = []
    const latest = Elapsed.millis(clock) + Duration.toMillis(settings.limits.greeting)
    const next = (first: OpenError | undefined): Effect.Effect<Greeted, OpenError> => {
      const tried = except.length
      return Effect.catchAll(openAddress(services, settings, options, scope, except), (error) => {
        const hasNext =
          except.length > tried && except.length < mostAddresses && Elapsed.millis(clock) < latest
        return isTemporaryRefusal(error) && hasNext ? next(first ?? error) : Effect.fail(first ?? error)
      })
    }
    return next(undefined)
  })
