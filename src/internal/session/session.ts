/**
 * The session behind SmtpSession: puts its parts together and turns commands into effects. What is on the wire, and
 * when, is decided by the exchange and the dialogue below it.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { CapabilityCache } from "../../CapabilityCache.js"
import type { Place } from "../../protocol/Command.js"
import * as Commands from "../../protocol/Command.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import type { Reply } from "../../protocol/Reply.js"
import { isRefusal } from "../../protocol/Reply.js"
import type { SmtpCommand } from "../../SmtpCommand.js"
import * as SmtpCommands from "../../SmtpCommand.js"
import type { ConnectError, Disconnection, TlsError } from "../../SmtpError.js"
import {
  CommandRefused,
  DataError,
  InvalidArgument,
  NotSupported,
  RecipientsRefused
} from "../../SmtpError.js"
import type { Receipt } from "../../SmtpReceipt.js"
import type {
  Group,
  NotSentCause,
  Options,
  RepliesTo,
  SendError,
  Service,
  SetupError,
  State
} from "../../SmtpSession.js"
import { SmtpSocket } from "../../SmtpSocket.js"
import type { Submission } from "../../SmtpSubmission.js"
import { TlsUpgrade } from "../../TlsUpgrade.js"
import type * as Authentication from "./authenticate.js"
import { open, takesAnybody } from "./open.js"
import type { Core } from "./core.js"
import * as Cores from "./core.js"
import { sendData } from "./data.js"
import * as Delivery from "./deliver.js"
import type { Entrant, Failure } from "./driver.js"
import { noReply } from "./commands.js"
import { disconnection, invalidArgument, notYours } from "./failure.js"
import type { Hello } from "./hello.js"
import * as Caches from "../cache/limitedCache.js"
import { nested } from "./message.js"
import * as Hellos from "./hello.js"
import { read as readRequest } from "./request.js"
import { read as readOptions } from "../options/session.js"
import * as StartTls from "./startTls.js"

export const connect = (
  options: Options
): Effect.Effect<
  Service,
  ConnectError | TlsError | InvalidArgument | Disconnection,
  Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache
> => Effect.map(establish(options), ({ service }) => service)

export const make = (
  options: Options
): Effect.Effect<Service, SetupError, Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Effect.map(ready(options), ({ service }) => service)

/** `make`, for who carries messages through the session itself. */
export const ready = (
  options: Options
): Effect.Effect<Established, SetupError, Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Effect.gen(function* () {
    const established = yield* establish(options)
    const { core, service } = established
    yield* StartTls.byPolicy(core, service)
    yield* service.ehloOrHeloIfNeeded
    if (options.auth !== undefined) yield* service.authenticate(options.auth)
    return established
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
        Effect.flatMap(Scope.extend(ready(options), scope), ({ port }) =>
          Delivery.send({ ...port, isLast: true }, submission)
        ),
      Scope.close
    )
  })

/** A session, and what only this library knows of it. */
export interface Established {
  readonly core: Core
  readonly service: Service
  readonly port: Delivery.Port
  readonly state: () => State
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
    const surroundings = {
      socket: yield* SmtpSocket,
      tls: yield* TlsUpgrade,
      cache: Caches.limit(yield* CapabilityCache)
    }
    const scope = yield* Effect.scope
    const greeted = yield* open(surroundings, settings, options, scope)
    const core = Cores.make(greeted, surroundings, settings, options)
    const built = build(core, greeted.greeting)
    yield* Scope.addFinalizer(scope, closeGracefully(core, built.service))
    return { core, ...built }
  })

// A finalizer is uninterruptible, and a timeout inside it does nothing without `interruptible`.
const closeGracefully = ({ exchange, memory }: Core, { quit }: Service): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (exchange.failure() !== undefined || exchange.dialogue.state() === "Closed") return Effect.void
    const goodbye = memory.leaving ? Effect.asVoid(exchange.awaitEnd) : Effect.asVoid(quit)
    return Effect.ignore(Effect.timeout(Effect.interruptible(goodbye), exchange.limits.quit))
  }).pipe(Effect.zipRight(exchange.close))

const build = (core: Core, greeting: Reply): Pick<Established, "port" | "service" | "state"> => {
  const { channel, exchange, memory, settings } = core
  const { dialogue, tape } = exchange
  const { dialect } = settings
  const hello = Hellos.make(core)
  const commands = makeCommands(core)
  const port: Delivery.Port = {
    exchange,
    dialect,
    settings,
    verifiedTls: () => isVerified(core),
    greeted: () => memory.greeted,
    greet: (entrant) => channel.holding(entrant, hello.methods.ehloOrHeloIfNeeded),
    experience: memory,
    attributes: core.attributes,
    insideTransaction: channel.inside,
    unprotected: () => isUnprotected(core)
  }

  const state = (): State => {
    if (dialogue.state() === "Closed" || exchange.failure() !== undefined) return "Closed"
    if (dialogue.inTransaction()) return "Transaction"
    return memory.greeted ? "Ready" : "Greeted"
  }

  const service: Service = {
    endpoint: settings.endpoint,
    addresses: exchange.connection().addresses,
    greeting,
    capabilities: Effect.sync(dialogue.capabilities),
    tls: Effect.sync(() => memory.tls),
    state: Effect.sync(state),
    awaitClosed: Effect.map(exchange.awaitEnd, (failure) =>
      failure === undefined ? undefined : disconnection(failure, "idle", tape)
    ),
    ...hello.methods,
    startTls: StartTls.make(core, hello),
    authenticate: makeAuthenticate(core, hello),
    ...commands,
    data: (content, contentOptions) => {
      const sending = sendData(exchange, dialect, content, contentOptions)
      return channel.together(
        "commands",
        Effect.flatMap(core.isForeign, (foreign) => (foreign ? Effect.fail(notYours()) : sending))
      )
    },
    deliver: (submission) => Delivery.deliver(port, submission),
    send: (submission) => Delivery.send(port, submission),
    sendAll: (submissions) =>
      Effect.map(
        Effect.promise(() => import("./sendAll.js")),
        ({ sendAll }) => sendAll(port, submissions)
      )
  }
  return { service, port, state }
}

const isVerified = ({ memory }: Core): boolean => memory.tls?.verified === true

const isUnprotected = ({ memory, settings }: Core): boolean =>
  settings.tls === "starttls" && memory.tls === undefined

const authenticationPort = ({ channel, exchange, memory, options, settings }: Core): Authentication.Port => ({
  exchange: (line) =>
    channel.one(line.startsWith("AUTH ") ? Commands.auth(line.slice(5)) : Commands.authResponse(line)),
  abandon: (reply, reason) =>
    Effect.suspend(() => {
      const failure: Failure = { _tag: "Violated", reason, reply, injection: false }
      exchange.fail(failure)
      return Effect.fail(disconnection(failure, "auth", exchange.tape))
    }),
  guard: (secret) => exchange.dialogue.secrets.guard(Redacted.value(secret)),
  withhold: exchange.dialogue.secrets.withhold,
  get mechanisms() {
    return exchange.dialogue.capabilities().authMechanisms
  },
  get tls() {
    return memory.tls?.verified === false && takesAnybody(settings, options) ? undefined : memory.tls
  },
  endpoint: settings.endpoint._tag === "Tcp" ? settings.endpoint : undefined,
  allowInsecureAuth: options.allowInsecureAuth ?? false,
  tokenLimit: settings.limits.auth
})

const makeAuthenticate =
  (core: Core, { ehloIfNeeded }: Hello): Service["authenticate"] =>
  (credentials) => {
    const { exchange } = core
    const { dialogue } = exchange
    // Loaded by whoever authenticates: the mechanisms are a good part of the library.
    const authenticate = Effect.flatMap(
      Effect.promise(() => import("./authenticate.js")),
      ({ authenticate, endsSession }) =>
        authenticate(credentials, authenticationPort(core)).pipe(
          Effect.tapErrorTag("AuthenticationError", (error) =>
            Effect.sync(() => {
              if (endsSession(error)) exchange.fail({ _tag: "Abandoned", reason: error.message })
            })
          )
        )
    )
    return core.channel.together(
      "commands",
      Effect.gen(function* () {
        if (dialogue.authenticated()) {
          return yield* new InvalidArgument({ field: "session", reason: "is authenticated already" })
        }
        if (dialogue.inTransaction()) {
          return yield* new InvalidArgument({ field: "session", reason: "is in a mail transaction" })
        }
        yield* ehloIfNeeded
        return yield* Cores.destroyUnlessInOrder(core, "authentication", authenticate)
      })
    )
  }

type CommandMethods = Pick<
  Service,
  | "mail"
  | "rcpt"
  | "bdat"
  | "rset"
  | "noop"
  | "vrfy"
  | "expn"
  | "help"
  | "quit"
  | "command"
  | "run"
  | "group"
  | "transaction"
>

const makeCommands = (core: Core): CommandMethods => {
  const { channel, exchange } = core
  const { dialogue, tape } = exchange

  const occupied = Effect.map(channel.inside, (inside) => !inside && isTransaction(exchange.holder()))

  const context = Effect.gen(function* () {
    const clock = yield* Effect.clock
    return {
      capabilities: dialogue.capabilities(),
      verifiedTls: isVerified(core),
      occupied: yield* occupied,
      foreign: yield* core.isForeign,
      unprotected: isUnprotected(core),
      now: clock.unsafeCurrentTimeMillis()
    }
  })

  // A local mistake is found at once. In the lane the commands are made again if STARTTLS or EHLO of another fiber has
  // changed what they were made from.
  const prepared = <Made, A, E, E2>(
    make: Effect.Effect<Made, E>,
    use: (made: Made) => Effect.Effect<A, E2>
  ): Effect.Effect<A, E | E2 | Disconnection> =>
    Effect.flatMap(make, (made) => {
      const capabilities = dialogue.capabilities()
      return channel.together(
        "commands",
        Effect.suspend(() =>
          dialogue.capabilities() === capabilities ? use(made) : Effect.flatMap(make, use)
        )
      )
    })

  const run = <P extends Place, E, L extends InvalidArgument | NotSupported>(
    command: SmtpCommand<P, E, L>
  ): Effect.Effect<Reply, E | L | Disconnection> =>
    Effect.gen(function* () {
      const reply = yield* prepared(
        Effect.flatMap(context, (known) => command.prepare(known)),
        channel.one
      )
      const refused = command.refuse(reply)
      return refused === undefined ? reply : yield* Effect.fail(refused)
    })

  const group: Service["group"] = (commands) =>
    Effect.gen(function* () {
      const all = Effect.flatMap(context, (known) =>
        Effect.forEach(commands, (command) => command.prepare(known))
      )
      const replies = yield* prepared(
        Effect.filterOrFail(
          all,
          (made) => Commands.misplaced(made) === undefined,
          (made) => invalidArgument(Commands.misplaced(made) ?? invalid("group", "cannot be sent"))
        ),
        channel.execute
      )
      const firsts = replies.map(([reply]) => reply)
      return isComplete(commands, firsts) ? firsts : yield* disconnection(noReply, "command", tape)
    })

  const bdat: Service["bdat"] = (octets, { last = false } = {}) => {
    // Copied when it is called, as all that a program gives.
    const chunk = Commands.bdat([new Uint8Array(octets)], last)
    return Effect.gen(function* () {
      if (!dialogue.capabilities().chunking) {
        return yield* new NotSupported({ extension: "CHUNKING", reason: "the server does not know BDAT" })
      }
      if (yield* core.isForeign) return yield* notYours()
      const recipients = dialogue.recipients()
      const [replies] = yield* channel.execute([chunk])
      if (replies === undefined) return yield* disconnection(noReply, "bdat", tape)
      if (replies.every(isRefusal)) {
        exchange.reset()
        return yield* new DataError({ phase: last ? "final" : "bdat", reply: replies[0] })
      }
      return last && recipients === 0
        ? yield* new RecipientsRefused({ recipients: [], policy: "any" })
        : replies
    })
  }

  const resetUnfinished = Effect.sync(() => {
    if (exchange.failure() === undefined && dialogue.inTransaction()) exchange.reset()
  })

  const transaction: Service["transaction"] = (from, parameters, use) =>
    channel.together(
      "transaction",
      Effect.suspend(() =>
        dialogue.inTransaction()
          ? Effect.fail(nested())
          : Effect.onExit(
              Effect.zipRight(run(SmtpCommands.mail(from, parameters)), use),
              () => resetUnfinished
            )
      )
    )

  const quit: Service["quit"] = Effect.gen(function* () {
    const reply = yield* channel.one(Commands.quit)
    return isRefusal(reply) ? yield* new CommandRefused({ command: "QUIT", phase: "quit", reply }) : reply
  })

  return {
    mail: (from, parameters) => run(SmtpCommands.mail(from, parameters)),
    rcpt: (to, parameters) => run(SmtpCommands.rcpt(to, parameters)),
    bdat,
    rset: run(SmtpCommands.rset),
    noop: run(SmtpCommands.noop),
    vrfy: (user) => run(SmtpCommands.vrfy(user)),
    expn: (list) => run(SmtpCommands.expn(list)),
    help: (topic) => run(SmtpCommands.help(topic)),
    quit,
    command: (verb, argument) => run(SmtpCommands.command(verb, argument)),
    run,
    group,
    transaction
  }
}

const isTransaction = (holder: Entrant | undefined): boolean =>
  holder !== undefined && holder.purpose !== "commands"

const isComplete = <Commands extends Group>(
  commands: Commands,
  replies: ReadonlyArray<Reply>
): replies is ReadonlyArray<Reply> & RepliesTo<Commands> => replies.length === commands.length
