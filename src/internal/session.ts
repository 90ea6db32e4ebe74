/**
 * The session behind SmtpSession: sets a connection up, turns commands into effects and exchanges into errors. What
 * is on the wire, and when, is decided by the exchange and the dialogue below it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Scope from "effect/Scope"
import { CapabilityCache } from "../CapabilityCache.js"
import type { Command, Place } from "../protocol/Command.js"
import * as Commands from "../protocol/Command.js"
import { isInvalid } from "../protocol/Invalid.js"
import type { Reply } from "../protocol/Reply.js"
import { isRefusal, isTransient } from "../protocol/Reply.js"
import type { Credentials } from "../SmtpAuth.js"
import type { SmtpCommand } from "../SmtpCommand.js"
import * as SmtpCommands from "../SmtpCommand.js"
import type { Disconnection } from "../SmtpError.js"
import {
  CommandRefused,
  ConnectError,
  DataError,
  HeloError,
  InvalidArgument,
  NotSupported,
  TlsError
} from "../SmtpError.js"
import type { Group, Options, Replies, RepliesTo, Service, SetupError, State } from "../SmtpSession.js"
import type { Connection } from "../SmtpSocket.js"
import { formatEndpoint, SmtpSocket } from "../SmtpSocket.js"
import type { SecuredConnection, TlsInfo } from "../TlsUpgrade.js"
import { TlsUpgrade } from "../TlsUpgrade.js"
import * as Authentication from "./authenticate.js"
import { defaultClientName } from "./clientName.js"
import { sendData } from "./data.js"
import * as Delivery from "./delivery.js"
import type { Entrant, Exchange, Failure, Owner } from "./exchange.js"
import * as Exchanges from "./exchange.js"
import { disconnection, invalidArgument } from "./failure.js"
import * as Lanes from "./lane.js"
import type { Settings } from "./sessionOptions.js"
import { read as readOptions } from "./sessionOptions.js"
import * as Tapes from "./tape.js"

interface Surroundings {
  readonly socket: SmtpSocket["Type"]
  readonly tls: TlsUpgrade["Type"]
  readonly cache: CapabilityCache["Type"]
}

/** A connection whose server has greeted. */
interface Greeted {
  readonly exchange: Exchange
  readonly greeting: Reply
  readonly tlsInfo: TlsInfo | undefined
  /** Holds the sockets and the fibers of the exchange. */
  readonly scope: Scope.CloseableScope
}

const secure = (
  { tls }: Surroundings,
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

// RFC 7435: where clear text would do, so does TLS with anybody; but not to hand a password to.
const takesAnybody = ({ tls }: Settings, { auth, tlsOptions }: Options): boolean =>
  tls === "opportunistic" && auth === undefined && tlsOptions?.verify === undefined

const readGreeting = (
  connection: Connection,
  settings: Settings,
  options: Options
): Effect.Effect<
  { readonly exchange: Exchange; readonly greeting: Reply },
  ConnectError | Disconnection,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const tape = Tapes.make(options.transcript)
    tape.note(`connected to ${formatEndpoint(settings.endpoint)}`)
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
    const exchange = yield* Exchanges.make(connection, greeter, {
      dialect: settings.dialect,
      replyLimits: settings.replyLimits,
      limits: settings.limits,
      tape
    })
    yield* greeted.await
    exchange.finish(greeter)
    if (outcome === undefined || "failure" in outcome) {
      const failure = outcome?.failure ?? { _tag: "Abandoned", reason: "nothing was read" }
      return yield* disconnection(failure, "greeting", tape)
    }
    const { reply } = outcome
    if (reply.code === 220) return { exchange, greeting: reply }
    // RFC 5321 section 3.1: QUIT is all that may follow, but for 421, whose sender has gone.
    if (reply.code !== 421) yield* sayGoodbye(exchange)
    return yield* new ConnectError({ endpoint: formatEndpoint(settings.endpoint), reason: "Greeting", reply })
  })

const sayGoodbye = (exchange: Exchange): Effect.Effect<void> =>
  submitAndWait(exchange, [Commands.quit], () => undefined).pipe(
    Effect.timeout(exchange.limits.quit),
    Effect.ignore
  )

/** One address of the host: dialled, secured if that comes first, and greeted by. */
const attempt = (
  surroundings: Surroundings,
  settings: Settings,
  options: Options,
  parent: Scope.Scope,
  except: Array<string>
): Effect.Effect<Greeted, ConnectError | TlsError | Disconnection> =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(parent, ExecutionStrategy.sequential)
    const opened = Effect.gen(function* () {
      const dialled = yield* surroundings.socket.dial(settings.endpoint, {
        timeout: settings.limits.connect,
        except
      })
      if (dialled.addresses.remoteAddress !== undefined) except.push(dialled.addresses.remoteAddress)
      const secured =
        settings.tls === "implicit" ? yield* secure(surroundings, settings, options, dialled) : undefined
      const { exchange, greeting } = yield* readGreeting(secured ?? dialled, settings, options)
      return { exchange, greeting, tlsInfo: secured?.tls, scope }
    })
    return yield* Effect.onError(Scope.extend(opened, scope), () => Scope.close(scope, Exit.void))
  })

// A 4yz greeting speaks for one address: the host may have a better one.
const isTurnedAwayForNow = (error: ConnectError | TlsError | Disconnection): boolean =>
  error._tag === "ConnectError" && error.reply !== undefined && isTransient(error.reply)

const open = (
  surroundings: Surroundings,
  settings: Settings,
  options: Options,
  scope: Scope.Scope
): Effect.Effect<Greeted, ConnectError | TlsError | Disconnection> => {
  const except: Array<string> = []
  const next = (
    first: ConnectError | TlsError | Disconnection | undefined
  ): Effect.Effect<Greeted, ConnectError | TlsError | Disconnection> => {
    const tried = except.length
    return Effect.catchAll(attempt(surroundings, settings, options, scope, except), (error) => {
      if (isTurnedAwayForNow(error) && except.length > tried) return next(first ?? error)
      return Effect.fail(first ?? error)
    })
  }
  return next(undefined)
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const connect = (
  options: Options
): Effect.Effect<
  Service,
  ConnectError | TlsError | InvalidArgument | Disconnection,
  Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache
> => Effect.map(establish(options), ({ service }) => service)

interface Established {
  readonly service: Service
  readonly settings: Settings
  readonly surroundings: Surroundings
}

const establish = (
  options: Options
): Effect.Effect<
  Established,
  ConnectError | TlsError | InvalidArgument | Disconnection,
  Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache
> =>
  Effect.gen(function* () {
    const settings = readOptions(options)
    if (isInvalid(settings)) return yield* invalidArgument(settings)
    const surroundings = { socket: yield* SmtpSocket, tls: yield* TlsUpgrade, cache: yield* CapabilityCache }
    const scope = yield* Effect.scope
    const greeted = yield* open(surroundings, settings, options, scope)
    const service = yield* build(greeted, surroundings, settings, options)
    yield* Scope.addFinalizer(scope, closeGracefully(greeted.exchange, service))
    return { service, settings, surroundings }
  })

// A finalizer is uninterruptible, and a timeout inside it does nothing without `interruptible`.
const closeGracefully = (exchange: Exchange, { quit }: Service): Effect.Effect<void> =>
  Effect.suspend(() =>
    exchange.failure() === undefined && exchange.dialogue.state() !== "Closed"
      ? Effect.ignore(Effect.timeout(Effect.interruptible(quit), exchange.limits.quit))
      : Effect.void
  ).pipe(Effect.zipRight(exchange.close))

/** Writes commands in the lane that the fiber holds, or in a lane of its own; gives all replies to each. */
const makeExecute =
  (exchange: Exchange, held: FiberRef.FiberRef<Entrant | undefined>) =>
  (commands: ReadonlyArray<Command>): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
    Effect.flatMap(FiberRef.get(held), (entrant) =>
      entrant !== undefined && exchange.holder() === entrant
        ? submitAndWait(exchange, commands, () => undefined)
        : inOwnLane(exchange, commands)
    )

const submitAndWait = (
  exchange: Exchange,
  commands: ReadonlyArray<Command>,
  leave: () => void
): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
  Effect.async((resume) => Effect.sync(submit(exchange, commands, leave, resume)))

// The lane is entered and used in one step: an interruption can fall before it or behind it, but not in between.
const inOwnLane = (
  exchange: Exchange,
  commands: ReadonlyArray<Command>
): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
  Effect.async((resume) => {
    const leave = (): void => exchange.leave(entrant)
    let cancel = leave
    const entrant: Entrant = {
      purpose: "commands",
      begin: () => {
        cancel = submit(exchange, commands, leave, resume)
      },
      turnedAway: (failure) =>
        resume(Effect.fail(disconnection(failure, commands[0]?.phase ?? "command", exchange.tape)))
    }
    exchange.enter(entrant)
    return Effect.sync(() => cancel())
  })

/** Puts the commands on the wire; gives what is to be done when nobody waits for the replies any more. */
const submit = (
  exchange: Exchange,
  commands: ReadonlyArray<Command>,
  leave: () => void,
  resume: (result: Effect.Effect<ReadonlyArray<Replies>, Disconnection>) => void
): (() => void) => {
  const { dialogue, tape } = exchange
  const replies: Array<[Reply, ...Array<Reply>]> = []
  let continued = false
  const end = (result: Effect.Effect<ReadonlyArray<Replies>, Disconnection>): void => {
    exchange.finish(owner)
    leave()
    resume(result)
  }
  const owner: Owner = {
    replied: (_command, reply, _meaning, more) => {
      const latest = replies.at(-1)
      if (continued && latest !== undefined) latest.push(reply)
      else replies.push([reply])
      continued = more
      if (!more && replies.length === commands.length) end(Effect.succeed(replies))
    },
    failed: (failure, phase) => end(Effect.fail(disconnection(failure, phase ?? "idle", tape)))
  }
  exchange.start(owner)
  const problem = dialogue.submit(owner, commands)
  if (problem === undefined) exchange.flush()
  else {
    const reason = `the ${problem.field} ${problem.reason}`
    end(Effect.fail(disconnection({ _tag: "Abandoned", reason }, "idle", tape)))
  }
  return () => {
    if (!dialogue.withdraw(owner)) {
      exchange.bound(owner)
      return
    }
    exchange.finish(owner)
    leave()
  }
}

const build = (
  { exchange, greeting, scope, tlsInfo: implicitTls }: Greeted,
  surroundings: Surroundings,
  settings: Settings,
  options: Options
): Effect.Effect<Service> =>
  Effect.gen(function* () {
    const { dialogue, tape } = exchange
    const { dialect } = settings
    const held = FiberRef.unsafeMake<Entrant | undefined>(undefined)
    const perform = makeExecute(exchange, held)
    let tlsInfo = implicitTls
    let greeted = false

    // Whoever said EHLO or QUIT, if in the program's own words: the session has been greeted, or is over.
    const learn = (commands: ReadonlyArray<Command>, replies: ReadonlyArray<Replies>): Effect.Effect<void> =>
      Effect.suspend(() => {
        const last = commands.at(-1)
        const reply = replies[commands.length - 1]?.[0]
        if (last === undefined || reply === undefined || isRefusal(reply)) return Effect.void
        if (last.kind === "Ehlo" || last.kind === "Helo") greeted = true
        return last.kind === "Quit" ? exchange.close : Effect.void
      })

    const execute = (
      commands: ReadonlyArray<Command>
    ): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
      Effect.tap(perform(commands), (replies) => learn(commands, replies))

    const clientName = options.clientName ?? defaultClientName(exchange.connection().addresses.localAddress)
    const verifiedTls = (): boolean => tlsInfo?.verified === true
    const unprotected = (): boolean => settings.tls === "starttls" && tlsInfo === undefined
    const security = (): "clear" | "tls" => (tlsInfo === undefined ? "clear" : "tls")

    const one = (command: Command): Effect.Effect<Reply, Disconnection> =>
      Effect.flatMap(execute([command]), ([replies]) =>
        replies === undefined
          ? Effect.fail(disconnection(noReply, command.phase, tape))
          : Effect.succeed(replies[0])
      )

    const insideTransaction = Effect.map(
      FiberRef.get(held),
      (entrant) => entrant !== undefined && exchange.holder() === entrant
    )

    const occupied = Effect.map(
      insideTransaction,
      (inside) => !inside && exchange.holder()?.purpose === "transaction"
    )

    /** Keeps the lane for several commands that belong together. */
    const together = <A, E, R>(
      purpose: Entrant["purpose"],
      use: Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | Disconnection, R> =>
      Effect.flatMap(insideTransaction, (inside): Effect.Effect<A, E | Disconnection, R> => {
        if (inside) return use
        const lane = Lanes.make(exchange, purpose)
        return Effect.onExit(
          Effect.flatMap(lane.take, (failure): Effect.Effect<A, E | Disconnection, R> =>
            failure === undefined
              ? Effect.locally(use, held, lane.entrant)
              : Effect.fail(disconnection(failure, "idle", tape))
          ),
          () => Effect.sync(lane.leave)
        )
      })

    // Half an AUTH or a handshake is no state that anybody could go on from.
    const destroyOnInterrupt = <A, E, R>(use: Effect.Effect<A, E, R>, what: string): Effect.Effect<A, E, R> =>
      Effect.onInterrupt(use, () =>
        Effect.sync(() => exchange.fail({ _tag: "Abandoned", reason: `${what} was interrupted` }))
      )

    const sayEhlo: Effect.Effect<Reply, HeloError | Disconnection> = Effect.gen(function* () {
      const verb = dialect === "lmtp" ? "LHLO" : "EHLO"
      const reply = yield* one(Commands.ehlo(clientName, verb))
      if (isRefusal(reply)) return yield* new HeloError({ command: verb, reply })
      yield* surroundings.cache.put(
        { endpoint: settings.endpoint, dialect, security: security() },
        reply.lines
      )
      return reply
    })

    const sayHelo: Effect.Effect<Reply, HeloError | Disconnection> = Effect.gen(function* () {
      const reply = yield* one(Commands.helo(clientName))
      return isRefusal(reply) ? yield* new HeloError({ command: "HELO", reply }) : reply
    })

    const mayFallBack: Effect.Effect<boolean> = Effect.suspend(() =>
      dialect === "smtp" && settings.tls !== "starttls" && options.auth === undefined && tlsInfo === undefined
        ? Effect.map(surroundings.cache.pinned(settings.endpoint), (pinned) => !pinned)
        : Effect.succeed(false)
    )

    // RFC 5321 section 3.2: HELO is for servers that do not know EHLO, not for those that refuse this client.
    const isUnknownEhlo = (code: number): boolean => [500, 501, 502, 504, 550].includes(code)

    const greet: Effect.Effect<void, HeloError | Disconnection> = Effect.catchTag(
      Effect.asVoid(sayEhlo),
      "HeloError",
      (error) =>
        Effect.flatMap(mayFallBack, (allowed) =>
          allowed && isUnknownEhlo(error.reply.code) ? Effect.asVoid(sayHelo) : Effect.fail(error)
        )
    )

    // Asked again once the session is this fiber's: another may have said it in the meantime.
    const unlessGreeted = <E>(use: Effect.Effect<void, E>): Effect.Effect<void, E> =>
      Effect.suspend(() => (greeted ? Effect.void : use))

    const ehloOrHeloIfNeeded: Effect.Effect<void, HeloError | Disconnection> = unlessGreeted(
      together("commands", unlessGreeted(greet))
    )

    const wrongDialect = (command: string, needed: string): InvalidArgument =>
      new InvalidArgument({ field: "dialect", reason: `is ${dialect}, and ${command} belongs to ${needed}` })

    const endpointName = formatEndpoint(settings.endpoint)

    const shakeHands: Effect.Effect<TlsInfo, TlsError> = Effect.gen(function* () {
      const connection = exchange.connection()
      if (connection.buffered() > 0)
        return yield* new TlsError({ endpoint: endpointName, reason: "Injection" })
      const secured = yield* Scope.extend(secure(surroundings, settings, options, connection), scope)
      tlsInfo = secured.tls
      greeted = false
      exchange.upgraded(secured)
      tape.note(`TLS: ${secured.tls.protocol}, ${secured.tls.cipher}`)
      yield* surroundings.cache.pin(settings.endpoint)
      return secured.tls
    }).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => exchange.fail({ _tag: "Abandoned", reason: `TLS failed: ${error.message}` }))
      )
    )

    const requestTls: Effect.Effect<void, CommandRefused | TlsError | Disconnection> = Effect.gen(
      function* () {
        const reply = yield* one(Commands.startTls)
        if (isRefusal(reply))
          return yield* new CommandRefused({ command: "STARTTLS", phase: "starttls", reply })
      }
    ).pipe(
      Effect.catchTag("ProtocolError", (error) => {
        const failure = exchange.failure()
        const injected = failure?._tag === "Violated" && failure.injection
        return Effect.fail(injected ? new TlsError({ endpoint: endpointName, reason: "Injection" }) : error)
      })
    )

    const startTls: Service["startTls"] = together(
      "commands",
      Effect.gen(function* () {
        if (dialogue.secured() || tlsInfo !== undefined) {
          return yield* new InvalidArgument({ field: "session", reason: "has TLS already" })
        }
        yield* ehloOrHeloIfNeeded
        if (!dialogue.capabilities().starttls) {
          const reason = `the server does not offer it; check the port: 587 for STARTTLS, 465 for tls "implicit"`
          return yield* new NotSupported({ extension: "STARTTLS", reason })
        }
        return yield* destroyOnInterrupt(Effect.zipRight(requestTls, shakeHands), "STARTTLS")
      })
    )

    const authenticationPort: Authentication.Port = {
      exchange: (line) =>
        one(line.startsWith("AUTH ") ? Commands.auth(line.slice(5)) : Commands.authResponse(line)),
      abandon: (reply, reason) =>
        Effect.suspend(() => {
          const failure: Failure = { _tag: "Violated", reason, reply, injection: false }
          exchange.fail(failure)
          return Effect.fail(disconnection(failure, "auth", tape))
        }),
      get mechanisms() {
        return dialogue.capabilities().authMechanisms
      },
      get tls() {
        return tlsInfo?.verified === false && takesAnybody(settings, options) ? undefined : tlsInfo
      },
      endpoint: settings.endpoint._tag === "Tcp" ? settings.endpoint : undefined,
      allowInsecureAuth: options.allowInsecureAuth ?? false
    }

    const authenticate: Service["authenticate"] = (credentials: Credentials) =>
      together(
        "commands",
        Effect.gen(function* () {
          if (dialogue.authenticated()) {
            return yield* new InvalidArgument({ field: "session", reason: "is authenticated already" })
          }
          if (dialogue.inTransaction()) {
            return yield* new InvalidArgument({ field: "session", reason: "is in a mail transaction" })
          }
          yield* ehloOrHeloIfNeeded
          return yield* destroyOnInterrupt(
            Authentication.authenticate(credentials, authenticationPort),
            "authentication"
          ).pipe(
            Effect.tapErrorTag("AuthenticationError", (error) =>
              Effect.sync(() => {
                if (Authentication.endsSession(error))
                  exchange.fail({ _tag: "Abandoned", reason: error.message })
              })
            )
          )
        })
      )

    const context = Effect.gen(function* () {
      const clock = yield* Effect.clock
      return {
        capabilities: dialogue.capabilities(),
        verifiedTls: verifiedTls(),
        occupied: yield* occupied,
        unprotected: unprotected(),
        now: clock.unsafeCurrentTimeMillis()
      }
    })

    const run = <P extends Place, E, L extends InvalidArgument | NotSupported>(
      command: SmtpCommand<P, E, L>
    ): Effect.Effect<Reply, E | L | Disconnection> =>
      Effect.gen(function* () {
        const prepared = yield* command.prepare(yield* context)
        const reply = yield* one(prepared)
        const refused = command.refuse(reply)
        return refused === undefined ? reply : yield* Effect.fail(refused)
      })

    const group: Service["group"] = (commands) =>
      Effect.gen(function* () {
        const prepared: Array<Command> = []
        for (const command of commands) prepared.push(yield* command.prepare(yield* context))
        const problem = dialogue.check(prepared)
        if (problem !== undefined) return yield* invalidArgument(problem)
        const replies = (yield* execute(prepared)).map(([reply]) => reply)
        return isComplete(commands, replies) ? replies : yield* disconnection(noReply, "command", tape)
      })

    const bdat: Service["bdat"] = (octets, bdatOptions = {}) =>
      Effect.gen(function* () {
        if (!dialogue.capabilities().chunking) {
          return yield* new NotSupported({ extension: "CHUNKING", reason: "the server does not know BDAT" })
        }
        const last = bdatOptions.last ?? false
        const [replies] = yield* execute([Commands.bdat([new Uint8Array(octets)], last)])
        if (replies === undefined) return yield* disconnection(noReply, "bdat", tape)
        const accepted = replies.some((reply) => !isRefusal(reply))
        if (accepted) return replies
        exchange.reset()
        return yield* new DataError({ phase: last ? "final" : "bdat", reply: replies[0] })
      })

    const resetUnfinished = Effect.sync(() => {
      if (exchange.failure() === undefined && dialogue.inTransaction()) exchange.reset()
    })

    const transaction: Service["transaction"] = (from, parameters, use) =>
      together(
        "transaction",
        Effect.suspend(() =>
          dialogue.inTransaction()
            ? Effect.fail(Delivery.nested())
            : Effect.onExit(
                Effect.zipRight(run(SmtpCommands.mail(from, parameters)), use),
                () => resetUnfinished
              )
        )
      )

    const port: Delivery.Port = {
      exchange,
      dialect,
      pipelining: settings.pipelining,
      verifiedTls,
      greet: ehloOrHeloIfNeeded,
      insideTransaction,
      unprotected
    }

    const state = (): State => {
      if (dialogue.state() === "Closed" || exchange.failure() !== undefined) return "Closed"
      if (dialogue.inTransaction()) return "Transaction"
      return greeted ? "Ready" : "Greeted"
    }

    const service: Service = {
      endpoint: settings.endpoint,
      addresses: exchange.connection().addresses,
      greeting,
      capabilities: Effect.sync(dialogue.capabilities),
      tls: Effect.sync(() => tlsInfo),
      state: Effect.sync(state),
      awaitClosed: Effect.map(exchange.awaitEnd, (failure) =>
        failure === undefined ? undefined : disconnection(failure, "idle", tape)
      ),
      ehlo: sayEhlo,
      helo: dialect === "lmtp" ? Effect.fail(wrongDialect("HELO", "smtp")) : sayHelo,
      lhlo: dialect === "smtp" ? Effect.fail(wrongDialect("LHLO", "lmtp")) : sayEhlo,
      ehloOrHeloIfNeeded,
      startTls,
      authenticate,
      mail: (from, parameters) => run(SmtpCommands.mail(from, parameters)),
      rcpt: (to, parameters) => run(SmtpCommands.rcpt(to, parameters)),
      data: (content, contentOptions) =>
        together("commands", sendData(exchange, dialect, content, contentOptions)),
      bdat,
      rset: run(SmtpCommands.rset),
      noop: run(SmtpCommands.noop),
      vrfy: (user) => run(SmtpCommands.vrfy(user)),
      expn: (list) => run(SmtpCommands.expn(list)),
      help: (topic) => run(SmtpCommands.help(topic)),
      quit: Effect.gen(function* () {
        const reply = yield* one(Commands.quit)
        return isRefusal(reply) ? yield* new CommandRefused({ command: "QUIT", phase: "quit", reply }) : reply
      }),
      command: (verb, argument) => run(SmtpCommands.command(verb, argument)),
      run,
      group,
      transaction,
      deliver: (submission) => Delivery.deliver(port, submission),
      send: (submission) => Delivery.send(port, submission)
    }
    return service
  })

const isComplete = <Commands extends Group>(
  commands: Commands,
  replies: ReadonlyArray<Reply>
): replies is ReadonlyArray<Reply> & RepliesTo<Commands> => replies.length === commands.length

const noReply: Failure = { _tag: "Abandoned", reason: "no reply was read" }

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Service, SetupError, Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Effect.gen(function* () {
    const established = yield* establish(options)
    const { service } = established
    yield* startTlsByPolicy(established)
    yield* service.ehloOrHeloIfNeeded
    if (options.auth !== undefined) yield* service.authenticate(options.auth)
    return service
  })

const startTlsByPolicy = ({
  service,
  settings,
  surroundings
}: Established): Effect.Effect<void, SetupError> => {
  switch (settings.tls) {
    case "none":
    case "implicit":
      return Effect.void
    case "starttls":
      return Effect.asVoid(
        Effect.catchTag(service.startTls, "NotSupported", (error) =>
          vanishedOr(settings, surroundings, error)
        )
      )
    case "opportunistic":
      return Effect.catchTags(Effect.asVoid(service.startTls), {
        NotSupported: () => unlessPinned(settings, surroundings),
        CommandRefused: () => unlessPinned(settings, surroundings)
      })
  }
}

const vanished = ({ endpoint }: Settings): TlsError =>
  new TlsError({ endpoint: formatEndpoint(endpoint), reason: "OfferVanished" })

const vanishedOr = (
  settings: Settings,
  { cache }: Surroundings,
  error: NotSupported
): Effect.Effect<never, NotSupported | TlsError> =>
  Effect.flatMap(cache.pinned(settings.endpoint), (pinned) =>
    Effect.fail(pinned ? vanished(settings) : error)
  )

const unlessPinned = (settings: Settings, { cache }: Surroundings): Effect.Effect<void, TlsError> =>
  Effect.flatMap(cache.pinned(settings.endpoint), (pinned) =>
    pinned ? Effect.fail(vanished(settings)) : Effect.void
  )
