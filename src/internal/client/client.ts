/** The client behind SmtpClient: a pool over the relays, and messages that go through it. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
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
  Service
} from "../../SmtpClient.js"
import type { InvalidArgument } from "../../SmtpError.js"
import * as SmtpError from "../../SmtpError.js"
import type { Options as SessionOptions, SetupError } from "../../SmtpSession.js"
import { SmtpSocket } from "../../SmtpSocket.js"
import type { Submission } from "../../SmtpSubmission.js"
import { TlsUpgrade } from "../../TlsUpgrade.js"
import { failureOf } from "../session/receipt.js"
import { bestEffortCache } from "../cache/bestEffortCache.js"
import { hasOwnLimit, withOwnLimit } from "../effect/bestEffort.js"
import * as Elapsed from "../effect/elapsed.js"
import type { AnyFiber } from "../effect/runtime.js"
import { makeFork, withFiber } from "../effect/runtime.js"
import { invalidArgument } from "../session/failure.js"
import type { AuthenticationMemory } from "../../protocol/sasl/Authentication.js"
import type { OpenSession as Session } from "../session/session.js"
import { ready } from "../session/session.js"
import type { RelaySettings, RetrySettings, ClientSettings } from "../options/client.js"
import { clientTimeouts, readClientOptions, readCount, readRetry } from "../options/client.js"
import type { ClientParts } from "./deliver.js"
import { deliver as deliverPrepared, prepare } from "./deliver.js"
import type { Retirement, SessionConduct } from "./pool.js"
import * as Queues from "./queue.js"
import * as RateLimits from "./rateLimit.js"
import type { Habits, OpeningFailure, Progress, Relay } from "./relays.js"
import { unknownHabits } from "./relays.js"
import type { SendAllSettings } from "./sendAll.js"
import * as Telemetry from "./telemetry.js"

type Services = SmtpSocket | TlsUpgrade | CapabilityCache

export const make = (options: Options): Effect.Effect<Service, InvalidArgument, Scope.Scope | Services> =>
  Effect.gen(function* () {
    const settings = readClientOptions(options)
    if (isInvalid(settings)) return yield* invalidArgument(settings)
    // A session has a scope of its own, and not the one that the client is made in.
    const services = Context.pick(SmtpSocket, TlsUpgrade, CapabilityCache)(yield* Effect.context<Services>())
    const fork = yield* makeFork()
    const relays = new Map(settings.relays.map((relay) => [relayOf(relay, services), relay]))
    const observer = Telemetry.observe(relays, fork)
    const queue = yield* Queues.make([...relays.keys()], settings.bounds, conduct, observer)
    const hooks = new Set<AnyFiber>()
    const close = closing(queue, hooks, settings.shutdownMillis, yield* Effect.clock)
    yield* Effect.addFinalizer(() => close)
    const rateLimit = yield* RateLimits.make(settings)
    return makeService({ queue, relays, rateLimit, hooks }, settings, close)
  })

/** Hooks that are running may take what the sessions leave of the limit. */
const closing = (
  queue: ClientParts["queue"],
  hooks: ReadonlySet<AnyFiber>,
  limitMillis: number,
  clock: Clock.Clock
): Effect.Effect<void> => {
  // A second call waits for the same end.
  let since: number | undefined
  const awaitHooks: Effect.Effect<void> = Effect.suspend(() =>
    hooks.size === 0 ? Effect.void : Effect.zipRight(Fiber.awaitAll(hooks), awaitHooks)
  )
  return Effect.suspend(() => {
    const begun = (since ??= Elapsed.millis(clock))
    const left = Effect.sync(() => Math.max(0, limitMillis - (Elapsed.millis(clock) - begun)))
    // A finalizer is uninterruptible, and a limit inside it does nothing without `interruptible`.
    const inTime = Effect.flatMap(left, (millis) =>
      Effect.timeoutOption(Effect.interruptible(awaitHooks), millis)
    )
    return Effect.asVoid(Effect.zipRight(queue.close(limitMillis), inTime))
  })
}

const relayOf = (
  settings: RelaySettings,
  services: Context.Context<Services>
): Relay<Session, SetupError> => {
  const { maxSessions, name, priority, session, slots } = settings
  const habits = unknownHabits()
  const memory: AuthenticationMemory = { inVain: [] }
  const progress: Progress = { awaited: undefined }
  return {
    name,
    priority,
    maxSessions,
    slots,
    opensAlone: session.auth !== undefined,
    habits,
    progress,
    failureOf: (cause) =>
      Option.match(Cause.failureOption(cause), { onNone: () => "temporary", onSome: openingFailureOf }),
    open: Effect.flatMap(recalling(habits, services, settings), () =>
      openWatched(sessionOptions(session, habits), services, settings, memory, progress)
    ).pipe(
      Effect.map((opened) => ({
        session: opened,
        maxMessages: opened.messages.driver.dialogue.capabilities().limits.mailMax
      })),
      // Parts of the program open a session: a defect of theirs is a relay that cannot be reached.
      Effect.catchAllDefect((cause) =>
        Effect.fail(new SmtpError.ConnectError({ endpoint: name, reason: "Unreachable", cause }))
      )
    )
  }
}

/** Exchanges with the cache what outlives the client. */
const recalling = (
  habits: Habits,
  services: Context.Context<Services>,
  { endpoint }: RelaySettings
): Effect.Effect<void> => {
  const cache = bestEffortCache(Context.get(services, CapabilityCache))
  let isRemembered = false
  const recall = Effect.map(cache.losesInput(endpoint), (loses) => {
    habits.losesPipelined ||= loses
    isRemembered = loses
  })
  const remember = Effect.map(cache.loseInput(endpoint), () => {
    isRemembered = true
  })
  return Effect.suspend(() => {
    if (isRemembered) return Effect.void
    return habits.losesPipelined ? remember : recall
  })
}

/** The options of the next session, by what is known of the server. */
const sessionOptions = (options: SessionOptions, habits: Habits): SessionOptions => {
  const { timeouts = {} } = options
  const { firstMail, greeting } = clientTimeouts
  const ofMail = habits.hasDelivered ? undefined : firstMail
  return {
    ...options,
    timeouts: {
      ...timeouts,
      greeting: timeouts.greeting ?? greeting,
      mail: timeouts.mail ?? ofMail,
      rcpt: timeouts.rcpt ?? ofMail
    },
    ...(habits.lacksBdat && { chunking: "off" }),
    ...(habits.losesPipelined && { pipelining: "off" })
  }
}

const warnAfter = Duration.seconds(5)

/** Opens a session, and logs a Warning if the server is silent: most often another one is expected there. */
const openWatched = (
  options: SessionOptions,
  services: Context.Context<Services>,
  { host, name, port }: RelaySettings,
  memory: AuthenticationMemory,
  progress: Progress
): Effect.Effect<Session, SetupError, Scope.Scope> =>
  Effect.suspend(() => {
    const socket = Context.get(services, SmtpSocket)
    progress.awaited = undefined
    const watched: SmtpSocket["Type"] = {
      dial: (...args) =>
        Effect.map(socket.dial(...args), (connection) => {
          progress.awaited =
            options.tls === "implicit" ? "the TLS handshake and the greeting" : "the greeting"
          return connection
        })
    }
    if (hasOwnLimit(socket)) withOwnLimit(watched)
    const warning = Effect.suspend(() =>
      Effect.annotateLogs(Effect.logWarning(silence(name, progress)), {
        "server.address": host,
        "server.port": port
      })
    )
    const greeted = (watch: AnyFiber) =>
      Effect.suspend(() => {
        progress.awaited = "EHLO, STARTTLS and AUTH"
        return Fiber.interrupt(watch)
      })
    return Effect.flatMap(Effect.fork(Effect.interruptible(Effect.delay(warning, warnAfter))), (watch) =>
      Effect.ensuring(ready(options, { memory, greeted: () => greeted(watch) }), Fiber.interrupt(watch))
    ).pipe(Effect.provide(Context.add(services, SmtpSocket, watched)))
  })

const silence = (name: string, { awaited = "the connection attempt" }: Progress): string =>
  `${name} has been silent for 5 seconds during ${awaited}. Check host, port and firewall, and that the option tls suits the ` +
  'port: "implicit" usually is 465, "starttls" 587.'

const openingFailureOf = (error: SetupError): OpeningFailure => {
  if (error._tag === "AuthenticationError" && error.reason === "Rejected")
    return error.reply?.code === 538 ? "permanent" : "credentials"
  if (error._tag === "ReplyTimeout" && error.phase === "greeting") return "silent"
  if (error._tag === "ConnectError" && error.reason === "Timeout") return "silent"
  if (!SmtpError.isTransient(error)) return "permanent"
  return "reply" in error && error.reply !== undefined ? "crowded" : "temporary"
}

// The replies of an interrupted message come within 10 seconds, or the session ends.
const longestProof = Duration.seconds(15)

const conduct: SessionConduct<Session> = {
  awaitEnd: ({ service }) =>
    Effect.map(service.awaitClosed, (failure): Retirement =>
      failure?._tag === "ServerDisconnected" && failure.reply !== undefined ? "goodbye" : "lost"
    ),
  // NOOP has its turn behind the interrupted message, and behind those of others, which may take their time.
  prove: ({ service, state }, alone, isShared) =>
    service.noop.pipe(
      Effect.map(state),
      Effect.raceFirst(Effect.as(Effect.zipRight(alone, Effect.sleep(longestProof)), undefined)),
      Effect.match({
        onFailure: () => false,
        onSuccess: (now) => now === "Ready" || (isShared && now === "Transaction")
      })
    )
}

const makeService = (parts: ClientParts, settings: ClientSettings, close: Effect.Effect<void>): Service => {
  const deliver = <E, R, E2 = never>(
    submission: Submission<E, R>,
    options: SendOptions = {},
    conclude?: (receipt: Receipt) => Effect.Effect<Receipt, E2>
  ): Effect.Effect<Receipt, InvalidArgument | E | E2, R> => {
    const prepared = prepare(submission)
    if (isInvalid(prepared)) return Effect.fail(invalidArgument(prepared))
    const retry = retryOf(settings, options)
    if (isInvalid(retry)) return Effect.fail(invalidArgument(retry))
    return deliverPrepared(parts, prepared, { retry, timeoutMillis: settings.timeoutMillis }, conclude)
  }

  const send: Service["send"] = (submission, options) =>
    deliver(submission, options, (receipt) => {
      const error = failureOf<NotSentCause>(submission.from, receipt, submission.recipients ?? "any")
      return error === undefined ? Effect.succeed(receipt) : Effect.fail(error)
    })

  return {
    send,
    deliver: (submission, options) => deliver(submission, options),
    sendAll: (submissions, options = {}) =>
      withFiber((fiber) => {
        const wrong = RateLimits.ignoredBy(parts.rateLimit, fiber)
        return Effect.map(
          Effect.promise(() => import("./sendAll.js")),
          ({ sendAll }) => sendAll(parts, submissions, sendAllSettings(settings, options, wrong))
        )
      }),
    check: check(parts),
    state: Effect.sync(() => parts.queue.state()),
    close
  }
}

const retryOf = ({ retry }: ClientSettings, options: SendOptions): RetrySettings | Invalid =>
  invalidRecord("options", options) ?? (options.retry === undefined ? retry : readRetry(options.retry))

// Twice as much as sessions take at once: while half of it is under way the rest waits, so that no session does.
const sendAllSettings = (
  settings: ClientSettings,
  options: SendAllOptions,
  wrong: Invalid | undefined
): SendAllSettings => {
  const { bounds, relays, timeoutMillis } = settings
  const sessions = Math.min(bounds.maxSessions, 1000)
  const most = 2 * sessions * Math.max(...relays.map(({ slots }) => slots))
  const own = wrong ?? retryOf(settings, options)
  const messages = isInvalid(own) ? own : readCount(options.concurrency, most, "concurrency", 1)
  return {
    retry: isInvalid(messages) ? messages : own,
    timeoutMillis,
    maxMessages: isInvalid(messages) ? most : messages,
    maxBytes: 2 * sessions * Math.max(...relays.map(({ windowOctets }) => windowOctets))
  }
}

const check = ({ queue }: ClientParts): Service["check"] => {
  const attempt = (aliveAfter: number | undefined): Effect.Effect<void, CheckError> =>
    Queues.withLease(queue, { except: new Set(), aliveAfter }, Infinity, ({ isUsed, release, session }) =>
      Effect.map(session.service.noop, () => release({ _tag: "Clean", work: "answered" })).pipe(
        // One that had died while it was idle says nothing of the relay.
        Effect.catchAll((error) => {
          release({ _tag: "Doubtful" })
          return isUsed && aliveAfter === undefined ? attempt(queue.moment) : Effect.fail(error)
        })
      )
    )
  return attempt(undefined)
}
