/**
 * Opens a connection and reads the greeting: dials, secures what is to be on TLS from the first octet, and goes on to
 * the host's next address when one is turned away for now (RFC 5321 section 3.1).
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { CapabilityCache } from "../../CapabilityCache.js"
import * as Commands from "../../protocol/Command.js"
import type { Reply } from "../../protocol/Reply.js"
import { isTransient } from "../../protocol/Reply.js"
import type { Disconnection, TlsError } from "../../SmtpError.js"
import { ConnectError } from "../../SmtpError.js"
import type { Options } from "../../SmtpSession.js"
import type { Connection, SmtpSocket } from "../../SmtpSocket.js"
import { formatEndpoint } from "../../SmtpSocket.js"
import type { SecuredConnection, TlsInfo, TlsUpgrade } from "../../TlsUpgrade.js"
import * as Elapsed from "../effect/elapsed.js"
import type { Driver, Failure, Owner } from "./driver.js"
import * as Drivers from "./driver.js"
import { submitAndWait } from "./commands.js"
import { disconnection } from "./failure.js"
import type { Settings } from "../options/session.js"
import { hasOwnLimit } from "../effect/ownLimit.js"
import { makeRecentLines } from "./recentLines.js"

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
}

/** Puts a connection on TLS as the session's options say. */
export const secure = (
  { tls }: Services,
  settings: Settings,
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

/** RFC 7435: where clear text would do, so does TLS with anybody; but not to hand a password to. */
export const takesAnybody = ({ tls }: Settings, { auth, tlsOptions }: Options): boolean =>
  tls === "opportunistic" && auth === undefined && tlsOptions?.verify === undefined

const readGreeting = (
  { cache }: Services,
  connection: Connection,
  settings: Settings,
  options: Options
): Effect.Effect<
  { readonly driver: Driver; readonly greeting: Reply },
  ConnectError | Disconnection,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const recentLines = makeRecentLines(options.transcript)
    recentLines.note(`connected to ${formatEndpoint(settings.endpoint)}`)
    const greeted = yield* Effect.makeLatch()
    let outcome: { readonly reply: Reply } | { readonly failure: Failure } | undefined
    const settle = (what: NonNullable<typeof outcome>): void => {
      outcome ??= what
      greeted.unsafeOpen()
    }
    const greeter: Owner = {
      replied: (_command, reply) => settle({ reply }),
      failed: (failure) => settle({ failure })
    }
    const driver = yield* Drivers.make(connection, greeter, {
      dialect: settings.dialect,
      replyLimits: settings.replyLimits,
      limits: settings.limits,
      recentLines,
      window: settings.window,
      onTooManyCommands: cache.restrain(settings.endpoint)
    })
    yield* greeted.await
    driver.finish(greeter)
    if (outcome === undefined || "failure" in outcome) {
      const failure = outcome?.failure ?? { _tag: "Abandoned", reason: "nothing was read" }
      return yield* disconnection(failure, "greeting", recentLines)
    }
    const { reply } = outcome
    if (reply.code === 220) return { driver, greeting: reply }
    // RFC 5321 section 3.1: QUIT is all that may follow, but for 421, whose sender has gone.
    if (reply.code !== 421) yield* sayGoodbye(driver)
    return yield* new ConnectError({ endpoint: formatEndpoint(settings.endpoint), reason: "Greeting", reply })
  })

const sayGoodbye = (driver: Driver): Effect.Effect<void> =>
  Effect.interruptible(submitAndWait(driver, [Commands.quit], () => undefined)).pipe(
    Effect.timeout(driver.limits.quit),
    Effect.ignore
  )

const spendsCommands = ({ chunking, pipelining }: Settings): boolean =>
  pipelining === "overlap" || chunking === "eager"

/** The PROXY header comes before all else: the server does not greet before it has read it. */
const announceClient = (
  connection: Connection,
  { endpoint, limits, proxyHeader }: Settings
): Effect.Effect<void, ConnectError> =>
  proxyHeader === undefined
    ? Effect.void
    : connection.write([proxyHeader]).pipe(
        Effect.mapError(
          (cause) => new ConnectError({ endpoint: formatEndpoint(endpoint), reason: "Unreachable", cause })
        ),
        Effect.timeoutFail({
          duration: limits.connect,
          onTimeout: () => new ConnectError({ endpoint: formatEndpoint(endpoint), reason: "Timeout" })
        })
      )

/** One that a program has plugged in may not keep to the limit that it is given. */
const dial = (
  { socket }: Services,
  { endpoint, limits: { connect } }: Settings,
  except: ReadonlyArray<string>
): Effect.Effect<Connection, ConnectError, Scope.Scope> => {
  const dialling = socket.dial(endpoint, { timeout: connect, except })
  return hasOwnLimit(socket)
    ? dialling
    : // So that the limit holds in an uninterruptible region too.
      Effect.timeoutFail(Effect.interruptible(dialling), {
        duration: connect,
        onTimeout: () => new ConnectError({ endpoint: formatEndpoint(endpoint), reason: "Timeout" })
      })
}

/** One address of the host: dialled, secured if that comes first, and greeted by. */
const attempt = (
  services: Services,
  settings: Settings,
  options: Options,
  parent: Scope.Scope,
  except: Array<string>
): Effect.Effect<Greeted, ConnectError | TlsError | Disconnection> =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(parent, ExecutionStrategy.sequential)
    const opened = Effect.gen(function* () {
      const dialled = yield* dial(services, settings, except)
      const { remoteAddress } = dialled.addresses
      if (remoteAddress !== undefined && !except.includes(remoteAddress)) except.push(remoteAddress)
      yield* announceClient(dialled, settings)
      const secured =
        settings.tls === "implicit" ? yield* secure(services, settings, options, dialled) : undefined
      const { driver, greeting } = yield* readGreeting(services, secured ?? dialled, settings, options)
      const restrained = spendsCommands(settings) && (yield* services.cache.restrained(settings.endpoint))
      return { driver, greeting, tlsInfo: secured?.tls, scope, restrained }
    })
    return yield* Effect.onError(Scope.extend(opened, scope), () => Scope.close(scope, Exit.void))
  })

// Whoever owns the name can give a new address for every look-up, and hours of them in one: no address is begun
// later than the limit of one greeting after the first.
const mostAddresses = 8

// A 4yz greeting speaks for one address: the host may have a better one.
const isTurnedAwayForNow = (error: ConnectError | TlsError | Disconnection): boolean =>
  error._tag === "ConnectError" && error.reply !== undefined && isTransient(error.reply)

export const open = (
  services: Services,
  settings: Settings,
  options: Options,
  scope: Scope.Scope
): Effect.Effect<Greeted, ConnectError | TlsError | Disconnection> =>
  Effect.flatMap(Effect.clock, (clock) => {
    const except: Array<string> = []
    const elapsed = () => Elapsed.millis(clock)
    const latest = elapsed() + Duration.toMillis(settings.limits.greeting)
    const next = (
      first: ConnectError | TlsError | Disconnection | undefined
    ): Effect.Effect<Greeted, ConnectError | TlsError | Disconnection> => {
      const tried = except.length
      return Effect.catchAll(attempt(services, settings, options, scope, except), (error) => {
        const another = except.length > tried && except.length < mostAddresses && elapsed() < latest
        if (isTurnedAwayForNow(error) && another) return next(first ?? error)
        return Effect.fail(first ?? error)
      })
    }
    return next(undefined)
  })
