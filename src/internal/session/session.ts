/**
 * The session behind SmtpSession: puts its parts together and turns commands into effects. What is on the wire, and
 * when, is decided by the driver and the dialogue below it.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { CapabilityCache } from "../../CapabilityCache.js"
import type { Place } from "../../protocol/Command.js"
import * as Commands from "../../protocol/Command.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import type { Reply } from "../../protocol/Reply.js"
import { isRefusal } from "../../protocol/Reply.js"
import type { SmtpCommand } from "../../SmtpCommand.js"
import * as SmtpCommands from "../../SmtpCommand.js"
import type { ConnectError, Disconnection, TlsError, InvalidArgument } from "../../SmtpError.js"
import { CommandRefused, DataError, NotSupported, RecipientsRefused } from "../../SmtpError.js"
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
import { open } from "./open.js"
import type { SessionContext } from "./context.js"
import * as Contexts from "./context.js"
import { sendData } from "./data.js"
import * as Delivery from "./deliver.js"
import type { Turn } from "./driver.js"
import { noReply } from "./commands.js"
import { disconnection, invalidArgument, notYours } from "./failure.js"
import * as Caches from "../cache/limitedCache.js"
import { nested } from "./message.js"
import { read as readRequest } from "./request.js"
import { read as readOptions } from "../options/session.js"
import type { SessionSetUp } from "./setUp.js"
import { makeSetUp } from "./setUp.js"

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
    yield* established.prepare
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
  readonly session: SessionContext
  readonly service: Service
  readonly prepare: SessionSetUp["prepare"]
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
    const services = {
      socket: yield* SmtpSocket,
      tls: yield* TlsUpgrade,
      cache: Caches.limit(yield* CapabilityCache)
    }
    const scope = yield* Effect.scope
    const greeted = yield* open(services, settings, options, scope)
    const session = Contexts.make(greeted, services, settings, options)
    const built = build(session, greeted.greeting)
    yield* Scope.addFinalizer(scope, closeGracefully(session, built.service))
    return { session, ...built }
  })

// A finalizer is uninterruptible, and a timeout inside it does nothing without `interruptible`.
const closeGracefully = ({ driver, state }: SessionContext, { quit }: Service): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (driver.failure() !== undefined || driver.dialogue.state() === "Closed") return Effect.void
    const goodbye = state.leaving ? Effect.asVoid(driver.awaitEnd) : Effect.asVoid(quit)
    return Effect.ignore(Effect.timeout(Effect.interruptible(goodbye), driver.limits.quit))
  }).pipe(Effect.zipRight(driver.close))

const build = (session: SessionContext, greeting: Reply): Omit<Established, "session"> => {
  const { commands, driver, state, settings } = session
  const { dialogue, recentLines } = driver
  const { dialect } = settings
  const setUp = makeSetUp(session)
  const methods = makeCommands(session)
  const port: Delivery.Port = {
    driver,
    dialect,
    settings,
    verifiedTls: () => isVerified(session),
    greeted: () => state.greeted,
    greet: (turn) => commands.holding(turn, setUp.methods.ehloOrHeloIfNeeded),
    experience: state,
    attributes: session.attributes,
    insideTransaction: commands.inside,
    unprotected: () => isUnprotected(session)
  }

  const currentState = (): State => {
    if (dialogue.state() === "Closed" || driver.failure() !== undefined) return "Closed"
    if (dialogue.inTransaction()) return "Transaction"
    return state.greeted ? "Ready" : "Greeted"
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
    ...methods,
    data: (content, contentOptions) => {
      const sending = sendData(driver, dialect, content, contentOptions)
      return commands.together(
        "commands",
        Effect.flatMap(session.isForeign, (foreign) => (foreign ? Effect.fail(notYours()) : sending))
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
  return { service, prepare: setUp.prepare, port, state: currentState }
}

const isVerified = ({ state }: SessionContext): boolean => state.tls?.verified === true

const isUnprotected = ({ state, settings }: SessionContext): boolean =>
  settings.tls === "starttls" && state.tls === undefined

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

const makeCommands = (session: SessionContext): CommandMethods => {
  const { commands, driver } = session
  const { dialogue, recentLines } = driver

  const occupied = Effect.map(commands.inside, (inside) => !inside && isTransaction(driver.turnHolder()))

  const context = Effect.gen(function* () {
    const clock = yield* Effect.clock
    return {
      capabilities: dialogue.capabilities(),
      verifiedTls: isVerified(session),
      occupied: yield* occupied,
      foreign: yield* session.isForeign,
      unprotected: isUnprotected(session),
      now: clock.unsafeCurrentTimeMillis()
    }
  })

  // A local mistake is found at once. In their turn the commands are made again if STARTTLS or EHLO of another fiber has
  // changed what they were made from.
  const prepared = <Made, A, E, E2>(
    make: Effect.Effect<Made, E>,
    use: (made: Made) => Effect.Effect<A, E2>
  ): Effect.Effect<A, E | E2 | Disconnection> =>
    Effect.flatMap(make, (made) => {
      const capabilities = dialogue.capabilities()
      return commands.together(
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
        commands.one
      )
      const refused = command.refuse(reply)
      return refused === undefined ? reply : yield* Effect.fail(refused)
    })

  const group: Service["group"] = (given) =>
    Effect.gen(function* () {
      const all = Effect.flatMap(context, (known) =>
        Effect.forEach(given, (command) => command.prepare(known))
      )
      const replies = yield* prepared(
        Effect.filterOrFail(
          all,
          (made) => Commands.misplaced(made) === undefined,
          (made) => invalidArgument(Commands.misplaced(made) ?? invalid("group", "cannot be sent"))
        ),
        commands.execute
      )
      const firsts = replies.map(([reply]) => reply)
      return isComplete(given, firsts) ? firsts : yield* disconnection(noReply, "command", recentLines)
    })

  const bdat: Service["bdat"] = (octets, { last = false } = {}) => {
    // Copied when it is called, as all that a program gives.
    const chunk = Commands.bdat([new Uint8Array(octets)], last)
    return Effect.gen(function* () {
      if (!dialogue.capabilities().chunking) {
        return yield* new NotSupported({ extension: "CHUNKING", reason: "the server does not know BDAT" })
      }
      if (yield* session.isForeign) return yield* notYours()
      const recipients = dialogue.recipients()
      const [replies] = yield* commands.execute([chunk])
      if (replies === undefined) return yield* disconnection(noReply, "bdat", recentLines)
      if (replies.every(isRefusal)) {
        driver.reset()
        return yield* new DataError({ phase: last ? "final" : "bdat", reply: replies[0] })
      }
      return last && recipients === 0
        ? yield* new RecipientsRefused({ recipients: [], policy: "any" })
        : replies
    })
  }

  const resetUnfinished = Effect.sync(() => {
    if (driver.failure() === undefined && dialogue.inTransaction()) driver.reset()
  })

  const transaction: Service["transaction"] = (from, parameters, use) =>
    commands.together(
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
    const reply = yield* commands.one(Commands.quit)
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

const isTransaction = (holder: Turn | undefined): boolean =>
  holder !== undefined && holder.purpose !== "commands"

const isComplete = <Commands extends Group>(
  commands: Commands,
  replies: ReadonlyArray<Reply>
): replies is ReadonlyArray<Reply> & RepliesTo<Commands> => replies.length === commands.length
