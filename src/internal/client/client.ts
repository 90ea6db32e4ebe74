/** The client behind SmtpClient: a pool over the relays, and messages that go through it. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { CapabilityCache } from "../../CapabilityCache.js"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalidRecord, isInvalid } from "../../protocol/Invalid.js"
import type {
  CheckError,
  NotSentCause,
  Options,
  Receipt,
  SendAllOptions,
  SendOptions,
  Service,
  State
} from "../../SmtpClient.js"
import type { InvalidArgument } from "../../SmtpError.js"
import * as SmtpError from "../../SmtpError.js"
import type { SetupError } from "../../SmtpSession.js"
import { SmtpRateLimit } from "../../SmtpRateLimit.js"
import { SmtpSocket } from "../../SmtpSocket.js"
import type { Submission } from "../../SmtpSubmission.js"
import { TlsUpgrade } from "../../TlsUpgrade.js"
import { failureOf } from "../session/account.js"
import * as Elapsed from "../effect/elapsed.js"
import { invalidArgument } from "../session/failure.js"
import type { Established as Session } from "../session/session.js"
import { ready } from "../session/session.js"
import type { Port } from "./attempts.js"
import { deliver as deliverParcel } from "./deliver.js"
import * as Hooks from "./hooks.js"
import type { RelaySettings, RetrySettings, Settings } from "../options/client.js"
import { read as readOptions, readCount, readRetry } from "../options/client.js"
import * as Paces from "./rateLimit.js"
import * as Parcels from "./preparedSubmission.js"
import type { Conduct, Retirement } from "./pool.js"
import * as Pools from "./pool.js"
import type { Terms } from "./sendAll.js"
import type { Source } from "./sources.js"
import * as Telemetry from "./telemetry.js"

type Surroundings = SmtpSocket | TlsUpgrade | CapabilityCache

export const make = (options: Options): Effect.Effect<Service, InvalidArgument, Scope.Scope | Surroundings> =>
  Effect.gen(function* () {
    const settings = readOptions(options)
    if (isInvalid(settings)) return yield* invalidArgument(settings)
    const surroundings = yield* theSurroundings
    const runtime = yield* Effect.runtime()
    const relays = new Map(settings.relays.map((relay) => [sourceOf(relay, surroundings), relay]))
    const observer = Telemetry.observe(relays, (line) => {
      Runtime.runFork(runtime)(line)
    })
    const pool = yield* Pools.make([...relays.keys()], settings.bounds, conduct, observer)
    const hooks = Hooks.make()
    const close = closing(pool, hooks, settings.shutdownMillis, yield* Effect.clock)
    yield* Effect.addFinalizer(() => close)
    const limit = Option.getOrUndefined(yield* Effect.serviceOption(SmtpRateLimit))
    const pace = limit === undefined ? undefined : Paces.make(limit, settings.rateLimitKey)
    return build({ pool, relays, pace, hooks }, settings, close)
  })

/** What the sessions leave of the limit is for the hooks that are running then. */
const closing = (
  pool: Port["pool"],
  hooks: Hooks.Hooks,
  limitMillis: number,
  clock: Clock.Clock
): Effect.Effect<void> => {
  // Whoever closes it again waits for the same end.
  let since: number | undefined
  const awaitHooks = Effect.suspend(() => {
    const now = Elapsed.millis(clock)
    const left = Math.max(0, limitMillis - (now - (since ?? now)))
    // A finalizer is uninterruptible, and a limit inside it does nothing without `interruptible`.
    return Effect.asVoid(Effect.timeoutOption(Effect.interruptible(hooks.awaitNone), left))
  })
  return Effect.suspend(() => {
    since ??= Elapsed.millis(clock)
    return Effect.zipRight(pool.close(limitMillis), awaitHooks)
  })
}

// A session is to have a scope of its own, and not the one that the client is made in.
const theSurroundings = Effect.gen(function* () {
  return Context.make(SmtpSocket, yield* SmtpSocket).pipe(
    Context.add(TlsUpgrade, yield* TlsUpgrade),
    Context.add(CapabilityCache, yield* CapabilityCache)
  )
})

// The program's own parts open a session: a defect of theirs is a relay that cannot be reached.
const sourceOf = (
  { maxSessions, name, priority, session, slots }: RelaySettings,
  surroundings: Context.Context<Surroundings>
): Source<Session, SetupError> => ({
  name,
  priority,
  maxSessions,
  slots,
  isPermanent: (cause) => Option.exists(Cause.failureOption(cause), (error) => !SmtpError.isTransient(error)),
  open: ready(session).pipe(
    Effect.map((opened) => ({
      session: opened,
      maxMessages: opened.port.driver.dialogue.capabilities().limits.mailMax
    })),
    Effect.provide(surroundings),
    Effect.catchAllDefect((cause) =>
      Effect.fail(new SmtpError.ConnectError({ endpoint: name, reason: "Unreachable", cause }))
    )
  )
})

// How long a session may take to show that it is clean: the replies of an interrupted message come within 10 seconds,
// or the session ends.
const longestProof = Duration.seconds(15)

const conduct: Conduct<Session> = {
  awaitEnd: ({ service }) =>
    Effect.map(service.awaitClosed, (failure): Retirement =>
      failure?._tag === "ServerDisconnected" && failure.reply !== undefined ? "goodbye" : "lost"
    ),
  // The turns of a session are taken in the order of asking: what comes after the interrupted message finds it gone. With
  // the messages of others before it that may take as long as they may.
  prove: ({ service, state }, alone) =>
    service.noop.pipe(
      Effect.map(state),
      Effect.raceFirst(Effect.as(Effect.zipRight(alone, Effect.sleep(longestProof)), undefined)),
      Effect.match({ onFailure: () => false, onSuccess: (now) => now === "Ready" || now === "Transaction" })
    )
}

const build = (port: Port, settings: Settings, close: Effect.Effect<void>): Service => {
  const prepare = <E, R>(
    submission: Submission<E, R>,
    options: SendOptions
  ): Effect.Effect<Receipt, InvalidArgument | E, R> => {
    const parcel = Parcels.make(submission)
    if (isInvalid(parcel)) return Effect.fail(invalidArgument(parcel))
    const own = retryOf(settings, options)
    if (isInvalid(own)) return Effect.fail(invalidArgument(own))
    return deliverParcel(port, parcel, own, settings.timeoutMillis)
  }

  const deliver: Service["deliver"] = (submission, options = {}) => prepare(submission, options)

  const send: Service["send"] = (submission, options = {}) =>
    Effect.flatMap(prepare(submission, options), (receipt) => {
      const error = failureOf<NotSentCause>(submission.from, receipt, submission.recipients ?? "any")
      return error === undefined ? Effect.succeed(receipt) : Effect.fail(error)
    })

  return {
    send,
    deliver,
    sendAll: (submissions, options = {}) =>
      Effect.map(
        Effect.promise(() => import("./sendAll.js")),
        ({ sendAll }) => sendAll(port, submissions, termsOf(settings, options))
      ),
    check: check(port),
    state: Effect.sync(() => stateOf(port)),
    close
  }
}

const retryOf = ({ retry }: Settings, options: SendOptions): RetrySettings | Invalid =>
  invalidRecord("options", options) ?? (options.retry === undefined ? retry : readRetry(options.retry))

// Twice as much as sessions take at once: while half of it is under way the rest waits, so that no session does.
const termsOf = (settings: Settings, options: SendAllOptions): Terms => {
  const { bounds, relays, timeoutMillis } = settings
  const sessions = Math.min(bounds.maxSessions, 1000)
  const most = 2 * sessions * Math.max(...relays.map(({ slots }) => slots))
  const own = retryOf(settings, options)
  const messages = isInvalid(own) ? own : readCount(options.concurrency, most, "concurrency", 1)
  return {
    retry: isInvalid(messages) ? messages : own,
    timeoutMillis,
    messages: isInvalid(messages) ? most : messages,
    octets: 2 * sessions * Math.max(...relays.map(({ windowOctets }) => windowOctets))
  }
}

const check = ({ pool }: Port): Service["check"] => {
  const attempt = (aliveAfter: number | undefined): Effect.Effect<void, CheckError> =>
    Effect.flatMap(
      pool.use({ except: new Set(), aliveAfter }, undefined, ({ isUsed, release, session }, restore) =>
        Effect.flatMap(Effect.exit(restore(session.service.noop)), (exit) => {
          if (Exit.isSuccess(exit)) {
            release({ _tag: "Clean" })
            return Effect.succeed(Option.none())
          }
          release({ _tag: "Doubtful" })
          // One that had died while it was idle says nothing of the relay.
          const isDead = isUsed && aliveAfter === undefined && !Cause.isInterrupted(exit.cause)
          return isDead ? Effect.succeed(Option.some(pool.moment())) : Effect.failCause(exit.cause)
        })
      ),
      Option.match({ onNone: () => Effect.void, onSome: attempt })
    )
  return attempt(undefined)
}

const stateOf = ({ pool, relays }: Port): State => ({
  ...pool.count(),
  isClosed: pool.isClosed(),
  relays: [...relays].map(([source, { name, priority }]) => ({
    name,
    priority,
    isTrusted: pool.isTrusted(source),
    ...pool.countOf(source)
  }))
})
