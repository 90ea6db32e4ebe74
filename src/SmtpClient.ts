/**
 * Sends many messages over a pool of sessions: the service that a backend depends on. A client bounds its sessions and
 * its queue, replaces sessions that end, fails over to other relays, retries, and reports one outcome per recipient.
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
import type * as SmtpRateLimit from "./SmtpRateLimit.js"
import type * as SmtpSession from "./SmtpSession.js"
import type { SmtpSocket } from "./SmtpSocket.js"
import type { Keyed, Submission } from "./SmtpSubmission.js"
import type { TlsUpgrade } from "./TlsUpgrade.js"

/**
 * The service of a client. `layer`, `layerConfig` and `layerUrl` provide it; `NodeSmtp.layerClient` and `layerClientConfig`
 * provide it with everything that it requires.
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpClient extends Context.Tag("effect-smtplib/SmtpClient")<SmtpClient, Service>() {}

/**
 * A server to send through. Its session options override those of the client.
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
 * How to retry what was refused temporarily or not sent: never, as `retryBriefly` or `retryGreylisted`, or by options.
 *
 * @since 0.1.0
 * @category models
 */
export type Retry = "off" | "briefly" | "greylisted" | RetryOptions

/**
 * @since 0.1.0
 * @category models
 */
export interface RetryOptions {
  /** Its input is the receipt before the next attempt. Default `"briefly"`. */
  readonly schedule?: "off" | "briefly" | "greylisted" | Schedule.Schedule<unknown, Receipt> | undefined
  /** Retries after `Unknown` too, which can deliver a message twice. Default false. */
  readonly mayDuplicate?: boolean | undefined
}

/**
 * Options of the sessions at every relay, and of the client.
 *
 * A client waits for the greeting for 30 seconds by default, and for the replies to MAIL and RCPT for a minute until the
 * relay has accepted a message. Other limits are those of SmtpSession. A relay that was silent at its first two
 * connection attempts or greetings is refused without a retry until `maxPause` has passed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends SmtpSession.Options {
  /** Several relays, instead of `host` or `path`. The session options beside them are defaults for all relays. */
  readonly relays?: ReadonlyArray<Relay> | undefined
  /** How many sessions may be open at once, including those that are being closed. Default 5. */
  readonly maxSessions?: number | undefined
  /** How many messages may wait for a session; one more is `ClientUnavailable`. Default: no bound, senders wait. */
  readonly maxWaiting?: number | undefined
  /** How many messages a session carries before it is replaced. Default 1000. */
  readonly maxMessages?: number | undefined
  /** How long a session is used. Zero opens a session for each message. Default 15 minutes. */
  readonly maxAge?: Duration.DurationInput | undefined
  /** How long an idle session is kept; choose less than the server does. Default 30 seconds. */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /**
   * The longest backoff of a relay; the first is about half a second, and each one is twice as long. It follows connections
   * that fail, 421, and replies that take no messages for now. Messages wait for the relay meanwhile, which spends none of
   * their attempts: each waits as long as its retries would. Default 30 seconds.
   */
  readonly maxPause?: Duration.DurationInput | undefined
  /** Default `"briefly"`. */
  readonly retry?: Retry | undefined
  /**
   * Limits for this client alone, or a service that several clients share; `"off"` for none. Default: the SmtpRateLimit
   * that is provided to the client, if any. A send of a client without a limit fails with `InvalidArgument` where an
   * SmtpRateLimit is provided to the sender, since it would be ignored.
   */
  readonly rateLimit?: SmtpRateLimit.Limits | SmtpRateLimit.Service | "off" | undefined
  /** The key under which the rate limit counts messages. Default: the host of the first relay. */
  readonly rateLimitKey?: string | undefined
  /** The limit of a send that gives none of its own; sends with a limit cost about a fifth more CPU. Default: none. */
  readonly timeout?: Duration.DurationInput | undefined
  /** How long messages in flight may take when the client closes. Default 30 seconds. */
  readonly shutdownTimeout?: Duration.DurationInput | undefined
}

/**
 * Options that override those of a URL.
 *
 * @since 0.1.0
 * @category models
 */
export interface UrlOptions extends Options {
  /** The password of the user that the URL names. */
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
 * The outcomes of one message after all its attempts.
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
 * What `send` can fail with, besides the errors of the content.
 *
 * @since 0.1.0
 * @category models
 */
export type SendError = SmtpSession.SendError | SmtpSession.SetupError | ClientUnavailable

/**
 * What `check` can fail with.
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
  /** Overrides that of the client. */
  readonly retry?: Retry | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SendAllOptions extends SendOptions {
  /**
   * How many messages may be in flight, including those that wait for a retry; at least 1. Default: twice as many as the
   * sessions take at once. Content in flight is bounded as well, to twice the windows of the sessions.
   */
  readonly concurrency?: number | undefined
}

/**
 * The sessions and the queue of a client at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface State {
  readonly isClosed: boolean
  /** Sessions, including those that are being closed. */
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
  /** Whether the relay is in use: sessions are open, or nothing has failed lately. */
  readonly isTrusted: boolean
  readonly open: number
  readonly idle: number
  readonly opening: number
  /**
   * How many sessions the client opens there at present: `maxSessions`, or fewer for a while after the server has said that
   * there are too many.
   */
  readonly limit: number
}

/**
 * A client, for any number of concurrent fibers.
 *
 * Interruption: an interrupted waiter leaves the queue, and nothing is sent. A message that is interrupted in flight is
 * not sent if it was not complete; if it was, `onOutcome` gets the outcome as soon as it is known. `onOutcome` runs
 * once for every interrupted message. The session is used again after a NOOP has proven it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * Sends a message, and fails if no recipient was accepted, with the cause behind the most doubtful outcome.
   *
   * `retry` retries what is safe to retry, and the submission's `timeout` covers waits, attempts and pauses. Do not wrap
   * `send` in `Effect.retry` or `Effect.timeout`, which cannot tell what was sent already.
   */
  readonly send: <E = never, R = never>(
    submission: Submission<E, R>,
    options?: SendOptions
  ) => Effect.Effect<Receipt, SendError | NoInfer<E>, NoInfer<R>>
  /**
   * Sends a message and reports one outcome per recipient, in the order given. Fails only with `InvalidArgument` and with
   * the errors of the content: what relays, connections and the client do is in the receipt.
   *
   * Every attempt sends the same message: bytes are copied, and a stream is run again and compared. The content of
   * `SmtpContent.once` cannot run again, so its first attempt is its last.
   */
  readonly deliver: <E = never, R = never>(
    submission: Submission<E, R>,
    options?: SendOptions
  ) => Effect.Effect<Receipt, InvalidArgument | NoInfer<E>, NoInfer<R>>
  /**
   * Sends every submission of a stream and emits their receipts as they are known. A submission that fails never ends the
   * stream: its error, or a defect or interruption within its content as `ContentError`, is in its receipt. When the
   * source ends, the receipts of messages in flight come first. Backpressure keeps memory constant: the source is
   * pulled as fast as messages are sent and receipts are read.
   *
   * @example
   * ```ts
   * import * as Effect from "effect/Effect"
   * import * as Stream from "effect/Stream"
   * import type { SmtpClient, SmtpSubmission } from "effect-smtplib"
   *
   * const mailing = (client: SmtpClient.Service, mails: Stream.Stream<SmtpSubmission.Keyed<string>>) =>
   *   Effect.flatMap(
   *     client.sendAll(mails),
   *     Stream.runForEach(({ key, receipt }) => Effect.log(key, receipt.outcomes))
   *   )
   * ```
   */
  readonly sendAll: <K, E = never, R = never, E2 = never, R2 = never>(
    submissions: Stream<Keyed<K, E, R>, E2, R2>,
    options?: SendAllOptions
  ) => Effect.Effect<Stream<KeyedReceipt<K, E, NotSentCause>, E2, R | R2>>
  /**
   * Checks whether mail can be sent now: acquires a session, authenticated if so configured, and sends NOOP. It waits in
   * the queue like a message and has no timeout; `Effect.timeout` around it is safe.
   */
  readonly check: Effect.Effect<void, CheckError>
  readonly state: Effect.Effect<State>
  /**
   * Closes the client, as the end of its scope does. New and waiting messages are `ClientUnavailable`, those in flight
   * may finish within `shutdownTimeout`, then every session sends QUIT. A second call waits for the same end.
   */
  readonly close: Effect.Effect<void>
}

/**
 * Makes a client that lives as long as the scope. The first message opens the first session.
 *
 * With a rate limit (the option `rateLimit`, or an SmtpRateLimit that is provided), each message reserves its place there
 * once, and again for each retry. Another session or relay within one attempt does not count.
 *
 * Fails with `InvalidArgument` if an option is invalid.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeSmtp, SmtpClient } from "effect-smtplib"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* SmtpClient.make({ host: "mail.example.com", maxSessions: 10 })
 *   const content = "Subject: Hello\r\n\r\nHello.\r\n"
 *   return yield* client.send({ from: "app@example.com", to: "ann@example.net", content })
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
 * Provides a client as a layer.
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
 * Provides a client from configuration: one Config per option, or one for all, such as `config` returns.
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
 * Provides a client from one URL, or from one URL per relay.
 *
 * `smtp:` uses STARTTLS, `smtps:` TLS from the first byte, `lmtp:` talks to a mail store, and `lmtp:///path` to its UNIX
 * socket. User and password are percent-encoded. The query holds any other option by its name, as in
 * `smtps://user:password@host:465?maxSessions=10&timeouts.greeting=30 seconds`. The first URL has the options of the
 * client; `priority` and `maxSessions` of the others are those of their relay.
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
 * Sends a message through the client: `send` of the service. Fails if no recipient was accepted.
 *
 * @since 0.1.0
 * @category accessors
 */
export const send = <E = never, R = never>(
  submission: Submission<E, R>,
  options?: SendOptions
): Effect.Effect<Receipt, SendError | E, SmtpClient | R> =>
  Effect.flatMap(SmtpClient, (client) => client.send(submission, options))

/**
 * Sends a message through the client and reports one outcome per recipient: `deliver` of the service.
 *
 * @since 0.1.0
 * @category accessors
 */
export const deliver = <E = never, R = never>(
  submission: Submission<E, R>,
  options?: SendOptions
): Effect.Effect<Receipt, InvalidArgument | E, SmtpClient | R> =>
  Effect.flatMap(SmtpClient, (client) => client.deliver(submission, options))

/**
 * Checks whether mail can be sent now: `check` of the service.
 *
 * @since 0.1.0
 * @category accessors
 */
export const check: Effect.Effect<void, CheckError, SmtpClient> = Effect.flatMap(
  SmtpClient,
  (client) => client.check
)

/**
 * Reads every option that can be written as text, under names that begin with the prefix: `config("SMTP")` reads
 * `SMTP_HOST`, `SMTP_USERNAME`, `SMTP_PASSWORD`, `SMTP_MAX_SESSIONS`, `SMTP_TIMEOUTS_GREETING`, and so on.
 *
 * `SMTP_URL` holds URLs as in `layerUrl`, separated by spaces; the other names override them, but for host, port and path,
 * which cannot stand beside it. An invalid value is a ConfigError that names the key. Passwords and tokens are Redacted. An
 * empty prefix does not read `path`, because `PATH` has another meaning.
 *
 * `SMTP_PROVIDER` names a profile of SmtpProvider, e.g. `gmail` or `ses:eu-west-1`, for host, port, TLS and the limit of
 * sessions. Other variables override it; if one of port and TLS is given, the profile gives neither.
 *
 * `SMTP_TLS_OPTIONS_CA_FILE`, `_CERT_FILE` and `_KEY_FILE` name files with PEM, and `SMTP_PASSWORD_FILE` one with a
 * password. They are read when the configuration is.
 * A variable that other programs read, such as `SMTP_USER` or `SMTP_SECURE`, logs a Warning that names the right one.
 *
 * @since 0.1.0
 * @category config
 */
export const config: (prefix: string) => Config.Config<Options> = Configs.config

/**
 * Retries five times within about half a minute, with exponential backoff and jitter. That covers a restart of the server.
 *
 * @since 0.1.0
 * @category retry
 */
export const retryBriefly: Schedule.Schedule<unknown, Receipt> = Retries.briefly

/**
 * Retries after 1, 5, 10, 15 and 30 minutes, for servers that refuse a new sender's first message with 450 or 451. Retries
 * are kept in memory and do not survive a restart.
 *
 * @since 0.1.0
 * @category retry
 */
export const retryGreylisted: Schedule.Schedule<unknown, Receipt> = Retries.greylisted
