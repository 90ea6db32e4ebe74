/**
 * Many messages, over sessions that it keeps: the service that a backend depends on. It bounds sessions and queue,
 * replaces sessions that end, goes to another relay, tries again what may be tried again, and accounts for every
 * recipient. What is on the wire is the business of SmtpSession.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Stream } from "effect/Stream"
import type { CapabilityCache } from "./CapabilityCache.js"
import * as internal from "./internal/client/client.js"
import * as Configs from "./internal/options/config.js"
import * as Retries from "./internal/client/retry.js"
import * as Urls from "./internal/options/url.js"
import type { ClientUnavailable, CommandRefused, Disconnection, InvalidArgument } from "./SmtpError.js"
import type { Keyed as KeyedReceipt, Outcome as AnyOutcome, Receipt as AnyReceipt } from "./SmtpReceipt.js"
import type * as SmtpSession from "./SmtpSession.js"
import type { SmtpSocket } from "./SmtpSocket.js"
import type { Keyed, Submission } from "./SmtpSubmission.js"
import type { TlsUpgrade } from "./TlsUpgrade.js"

/**
 * A client.
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpClient extends Context.Tag("effect-smtplib/SmtpClient")<SmtpClient, Service>() {}

/**
 * A server to send through. Its options override those of the client.
 *
 * @since 0.1.0
 * @category models
 */
export interface Relay extends SmtpSession.Options {
  /** The lowest goes first; relays with equal priority share the load. Default 0. */
  readonly priority?: number | undefined
  /** How many sessions may be open at this relay. Default: as many as the client may have. */
  readonly maxSessions?: number | undefined
}

/**
 * When the client retries recipients that were refused temporarily or not sent to.
 *
 * - `"off"`: never
 * - `"briefly"` (default): `retryBriefly`
 * - `"greylisted"`: `retryGreylisted`
 *
 * @since 0.1.0
 * @category models
 */
export type Retry = "off" | "briefly" | "greylisted" | RetryOptions

/**
 * How the client retries.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryOptions {
  /** When the next attempt is made, if any; its input is the receipt of the attempts so far. Default `"briefly"`. */
  readonly schedule?: "off" | "briefly" | "greylisted" | Schedule.Schedule<unknown, Receipt> | undefined
  /** Retries after `Unknown` too, so that recipients may get the message twice. Default false. */
  readonly mayDuplicate?: boolean | undefined
}

/**
 * The options of a client, and those of its sessions.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends SmtpSession.Options {
  /** Several relays, instead of `host` or `path`. The other options are the defaults of every relay. */
  readonly relays?: ReadonlyArray<Relay> | undefined
  /** Sessions open at once, those that are being closed included. Default 5. */
  readonly maxSessions?: number | undefined
  /** Messages that may wait for a session; one more fails with `ClientUnavailable`. Default: no bound, senders wait. */
  readonly maxWaiting?: number | undefined
  /** Messages that a session sends before it is replaced. Default 1000. */
  readonly maxMessages?: number | undefined
  /** How long a session is used; with zero each message gets a session of its own. Default 15 minutes. */
  readonly maxAge?: Duration.DurationInput | undefined
  /**
   * How long an idle session is kept; choose less than the server does. With zero a session is closed as soon as no message
   * waits for it. Default 30 seconds.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /** Longest pause after a relay failed; pauses begin at half a second and double. Default 30 seconds. */
  readonly maxPause?: Duration.DurationInput | undefined
  /** When the client retries. Default `"briefly"`. */
  readonly retry?: Retry | undefined
  /** Key under which an SmtpRateLimit, if provided, counts messages. Default: the host of the first relay. */
  readonly rateLimitKey?: string | undefined
  /** Time limit of a send without its own: waits, attempts and pauses together. Default: none. */
  readonly timeout?: Duration.DurationInput | undefined
  /** How long closing the client waits for messages in flight. Default 30 seconds. */
  readonly shutdownTimeout?: Duration.DurationInput | undefined
}

/**
 * Options beside a URL, which override those in it.
 *
 * @since 0.1.0
 * @category models
 */
export interface UrlOptions extends Options {
  /** Password of the user in the URL. */
  readonly password?: Redacted.Redacted | undefined
}

/**
 * What can keep a message from being sent.
 *
 * @since 0.1.0
 * @category models
 */
export type NotSentCause = SmtpSession.NotSentCause | SmtpSession.SetupError | ClientUnavailable

/**
 * The account of one message over all its attempts.
 *
 * @since 0.1.0
 * @category models
 */
export type Receipt = AnyReceipt<NotSentCause>

/**
 * What became of the message for one recipient.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = AnyOutcome<NotSentCause>

/**
 * What a send can fail with, besides the content's own errors.
 *
 * @since 0.1.0
 * @category models
 */
export type SendError = SmtpSession.SendError | SmtpSession.SetupError | ClientUnavailable

/**
 * What a check can fail with.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckError = SmtpSession.SetupError | CommandRefused | Disconnection | ClientUnavailable

/**
 * @since 0.1.0
 * @category models
 */
export interface SendOptions {
  /** In place of the client's. */
  readonly retry?: Retry | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SendAllOptions extends SendOptions {
  /**
   * How many messages may be under way at once, at least one, those that wait between attempts included. Default:
   * twice as many as the client's sessions take. Whatever it is, were it `Infinity`, no message begins while twice the
   * octets of the sessions' windows are under way. What is no whole number is `InvalidArgument` for every submission.
   */
  readonly concurrency?: number | undefined
}

/**
 * What a client has at a moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface State {
  readonly isClosed: boolean
  /** Sessions, those that are being closed included. */
  readonly open: number
  readonly idle: number
  /** Sessions that are being opened. */
  readonly opening: number
  /** Messages that wait for a session. */
  readonly waiting: number
  readonly relays: ReadonlyArray<RelayState>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface RelayState {
  /** Host and port, or the path. */
  readonly name: string
  readonly priority: number
  /** Whether sessions can be expected there: some are open, or nothing has failed lately. */
  readonly isTrusted: boolean
  readonly open: number
  readonly idle: number
  readonly opening: number
}

/**
 * A client, for any number of fibers at once.
 *
 * Interruption: who waits gives up the place, and nothing was sent. Who is interrupted in the middle of a message does
 * not send it, if it was not complete; what became of a complete one is told to `onOutcome` as soon as it is known.
 * `onOutcome` hears of every message that was interrupted on its way, once. The session is used by nobody else before
 * it has proven clean, which takes a NOOP.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * `deliver` that fails when nobody was accepted, with the cause behind the most doubtful outcome. What may be tried
   * again was tried again, by `retry`: do not wrap it in `Effect.retry` or `Effect.timeout`, which cannot know what
   * had left. `timeout` in the submission covers waiting, every attempt and the pauses between them.
   */
  readonly send: <E = never, R = never>(
    submission: Submission<E, R>,
    options?: SendOptions
  ) => Effect.Effect<Receipt, SendError | NoInfer<E>, NoInfer<R>>
  /**
   * Sends a message and accounts for every recipient: one outcome each, in the order given. It fails only for what is
   * wrong locally (`InvalidArgument`) and for the content's own errors; all that relays, connections and the client
   * itself can do is in the receipt.
   *
   * The message is the same in every attempt: its octets are given once, or a stream is run again and compared.
   * `SmtpContent.once` cannot be: its first attempt is its last.
   */
  readonly deliver: <E = never, R = never>(
    submission: Submission<E, R>,
    options?: SendOptions
  ) => Effect.Effect<Receipt, InvalidArgument | NoInfer<E>, NoInfer<R>>
  /**
   * Delivers every submission of a stream, and gives their receipts as they are known. What is wrong with one of them
   * is in its own receipt, and never ends the stream: not even a defect of its content, or an interruption from within
   * it, which is `ContentError` there. However the source ends, the receipts of what is under way come first.
   * Submissions are pulled no faster than they are sent and their receipts are read, so that any number of them flows
   * through constant memory. An effect, since effect/Stream is loaded only when it is needed.
   *
   * @example
   * ```ts
   * import * as Effect from "effect/Effect"
   * import * as Stream from "effect/Stream"
   * import type { SmtpSubmission } from "effect-smtplib"
   * import { SmtpClient } from "effect-smtplib"
   *
   * const mailing = (submissions: Stream.Stream<SmtpSubmission.Keyed<string>>) =>
   *   Effect.gen(function* () {
   *     const client = yield* SmtpClient.SmtpClient
   *     const receipts = yield* client.sendAll(submissions)
   *     yield* Stream.runForEach(receipts, ({ key, receipt }) => Effect.log(key, receipt.outcomes))
   *   })
   * ```
   */
  readonly sendAll: <K, E = never, R = never, E2 = never, R2 = never>(
    submissions: Stream<Keyed<K, E, R>, E2, R2>,
    options?: SendAllOptions
  ) => Effect.Effect<Stream<KeyedReceipt<K, E, NotSentCause>, E2, R | R2>>
  /**
   * Whether mail could be sent now: a session that is open or can be opened, authentication included, and NOOP. It
   * waits for its turn as messages do, and has no limit of its own: `Effect.timeout` around it does no harm.
   */
  readonly check: Effect.Effect<void, CheckError>
  readonly state: Effect.Effect<State>
  /**
   * Ends the client, as the end of its scope does: new sends are `ClientUnavailable`, and so are those that wait;
   * those under way may finish within `shutdownTimeout`; then every session says QUIT. Who calls it again waits for
   * the same end.
   */
  readonly close: Effect.Effect<void>
}

/**
 * A client that lives as long as the scope. Nothing is opened before the first message. Where an SmtpRateLimit is
 * provided, the first attempt waits for its place, and so does each that `retry` makes; another session or relay in
 * between does not ask again.
 *
 * Fails with `InvalidArgument` for options that cannot be.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeSmtp, SmtpClient } from "effect-smtplib"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* SmtpClient.make({ host: "mail.example.com", maxSessions: 10 })
 *   return yield* client.send({
 *     from: "app@example.com",
 *     to: "ann@example.net",
 *     content: "Subject: Hello\r\n\r\nHello.\r\n"
 *   })
 * }).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<Service, InvalidArgument, Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache> =
  internal.make

/**
 * A client as a layer.
 *
 * @example
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as Redacted from "effect/Redacted"
 * import { NodeSmtp, SmtpAuth, SmtpClient } from "effect-smtplib"
 *
 * const live = SmtpClient.layer({
 *   auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") }),
 *   relays: [{ host: "mx1.example.com" }, { host: "mx2.example.com", priority: 1 }]
 * }).pipe(Layer.provide(NodeSmtp.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<SmtpClient, InvalidArgument, SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Layer.scoped(SmtpClient, make(options))

/**
 * A client from configuration: a Config for each option, or one for all, such as `config` gives.
 *
 * @example
 * ```ts
 * import { SmtpClient } from "effect-smtplib"
 *
 * // SMTP_HOST, SMTP_USERNAME, SMTP_PASSWORD, SMTP_MAX_SESSIONS and so on.
 * const live = SmtpClient.layerConfig(SmtpClient.config("SMTP"))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<
  SmtpClient,
  InvalidArgument | ConfigError.ConfigError,
  SmtpSocket | TlsUpgrade | CapabilityCache
> => Layer.scoped(SmtpClient, Effect.flatMap(Config.unwrap(options), make))

/**
 * Makes a client from one URL, or from one for each relay. The scheme is `smtp:` with STARTTLS, `smtps:` with TLS from the
 * first byte, or `lmtp:` for a mail store, with `lmtp:///path` for a UNIX socket. User and password are percent-encoded.
 * The query holds the other options by name: `smtps://user:password@host:465?maxSessions=10&timeouts.greeting=30 seconds`.
 * The first URL sets the options of the client; the others may set `priority` and `maxSessions` of their relay.
 *
 * Fails with a ConfigError that names the key and never shows the password.
 *
 * @example
 * ```ts
 * import * as Redacted from "effect/Redacted"
 * import { SmtpClient } from "effect-smtplib"
 *
 * const live = SmtpClient.layerUrl("smtps://app@mail.example.com?maxSessions=10", {
 *   password: Redacted.make("secret")
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerUrl = (
  url: string | Redacted.Redacted | ReadonlyArray<string | Redacted.Redacted>,
  own: UrlOptions = {}
): Layer.Layer<
  SmtpClient,
  InvalidArgument | ConfigError.ConfigError,
  SmtpSocket | TlsUpgrade | CapabilityCache
> => Layer.scoped(SmtpClient, Effect.flatMap(Urls.read(url, own), make))

/**
 * Reads options from variables whose names begin with the prefix: `config("SMTP")` reads `SMTP_HOST`, `SMTP_PORT`,
 * `SMTP_TLS`, `SMTP_USERNAME`, `SMTP_PASSWORD`, `SMTP_MAX_SESSIONS`, `SMTP_TIMEOUTS_GREETING` and so on, the names of the
 * options in capitals; docs/options.md lists them all. `SMTP_URL` holds URLs for `layerUrl`, separated by spaces; the
 * other variables override them. An invalid value is a ConfigError that names the variable. Passwords and tokens are
 * Redacted. With an empty prefix `path` cannot be set, since `PATH` is something else.
 *
 * @since 0.1.0
 * @category config
 */
export const config: (prefix: string) => Config.Config<Options> = Configs.config

/**
 * Five more attempts within about half a minute, after pauses that double, with jitter: what a restart of the server
 * takes.
 *
 * @since 0.1.0
 * @category retry
 */
export const retryBriefly: Schedule.Schedule<unknown, Receipt> = Retries.briefly

/**
 * For servers that refuse a stranger's first message for now (450, 451) and take a later one: more attempts after 1, 5,
 * 10, 15 and 30 minutes. What a process keeps in memory for an hour is lost with it: this is no queue.
 *
 * @since 0.1.0
 * @category retry
 */
export const retryGreylisted: Schedule.Schedule<unknown, Receipt> = Retries.greylisted
