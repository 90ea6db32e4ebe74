/**
 * One connection to a server as a scoped resource: every command as a typed effect, transactions, and whole sends with one
 * outcome per recipient. A session does not reconnect: use SmtpClient in services that outlive a connection. RFC 5321,
 * RFC 2033 (LMTP), RFC 3207 (STARTTLS), RFC 4954 (AUTH).
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Stream } from "effect/Stream"
import type { CapabilityCache } from "./CapabilityCache.js"
import * as internal from "./internal/session/session.js"
import type { SessionOptions as Options } from "./internal/options/sessionModel.js"
import type { Capabilities } from "./protocol/Capabilities.js"
import type { Place } from "./protocol/Command.js"
import type { MailParameters, RecipientParameters } from "./protocol/Parameters.js"
import type { Reply } from "./protocol/Reply.js"
import type { Credentials } from "./SmtpAuth.js"
import type { SmtpCommand } from "./SmtpCommand.js"
import type { Content } from "./SmtpContent.js"
import type {
  AuthenticationError,
  CommandRefused,
  ConnectError,
  ContentError,
  DataError,
  Disconnection,
  HeloError,
  InvalidArgument,
  NotSupported,
  RecipientsRefused,
  SenderRefused,
  TlsError
} from "./SmtpError.js"
import type { Keyed as KeyedReceipt, Receipt } from "./SmtpReceipt.js"
import type { Addresses, Endpoint, SmtpSocket } from "./SmtpSocket.js"
import type { ContentOptions, Keyed, Submission } from "./SmtpSubmission.js"
import type { TlsInfo, TlsUpgrade } from "./TlsUpgrade.js"

export type {
  /**
   * What a server announced.
   *
   * @since 0.1.0
   * @category models
   */
  Capabilities
} from "./protocol/Capabilities.js"

export type {
  /**
   * How much is sent in one write: each command alone; MAIL with every RCPT; these and DATA; or these, directly behind
   * the content of the message before.
   *
   * @since 0.1.0
   * @category models
   */
  Pipelining,
  /**
   * How content goes out: by DATA; by BDAT once the envelope's replies are in; or by BDAT in the same write as the
   * envelope.
   *
   * @since 0.1.0
   * @category models
   */
  Chunking
} from "./protocol/Plan.js"

export type {
  /**
   * The longest reply that is accepted, in bytes and lines.
   *
   * @since 0.1.0
   * @category models
   */
  Limits
} from "./protocol/Reply.js"

export type {
  /**
   * The header of the PROXY protocol.
   *
   * @since 0.1.0
   * @category models
   */
  ProxyHeader,
  /**
   * An end of the connection that a PROXY header describes.
   *
   * @since 0.1.0
   * @category models
   */
  ProxyAddress
} from "./protocol/ProxyHeader.js"

export type {
  /**
   * Time limits by phase.
   *
   * @since 0.1.0
   * @category models
   */
  TimeLimitOptions
} from "./internal/session/timeLimits.js"

export type { AdvancedOptions, TlsPolicy, WindowOptions } from "./internal/options/sessionModel.js"

export type {
  /**
   * The options of a session.
   *
   * @since 0.1.0
   * @category models
   */
  SessionOptions as Options
} from "./internal/options/sessionModel.js"

/**
 * A session, which `layer` and `layerConfig` provide.
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpSession extends Context.Tag("effect-smtplib/SmtpSession")<SmtpSession, Service>() {}

/**
 * The state of a session: before EHLO, ready for a message, in a mail transaction, or closed.
 *
 * @since 0.1.0
 * @category models
 */
export type State = "Greeted" | "Ready" | "Transaction" | "Closed"

/**
 * The errors of opening a session.
 *
 * @since 0.1.0
 * @category models
 */
export type SetupError =
  | ConnectError
  | TlsError
  | HeloError
  | CommandRefused
  | NotSupported
  | AuthenticationError
  | InvalidArgument
  | Disconnection

/**
 * The causes of `NotSent` on a session.
 *
 * @since 0.1.0
 * @category models
 */
export type NotSentCause = Disconnection | HeloError | NotSupported | ContentError | RecipientsRefused

/**
 * The errors of a send, besides those of the content.
 *
 * @since 0.1.0
 * @category models
 */
export type SendError =
  | SenderRefused
  | RecipientsRefused
  | DataError
  | ContentError
  | NotSupported
  | HeloError
  | InvalidArgument
  | Disconnection

/**
 * One reply; with LMTP one per accepted recipient.
 *
 * @since 0.1.0
 * @category models
 */
export type Replies = readonly [Reply, ...ReadonlyArray<Reply>]

/**
 * The commands of a group. Only the last may be one that others must not follow (RFC 2920 section 3.1).
 *
 * @since 0.1.0
 * @category models
 */
export type Group = readonly [
  ...ReadonlyArray<SmtpCommand<"Anywhere", unknown, InvalidArgument | NotSupported>>,
  SmtpCommand<Place, unknown, InvalidArgument | NotSupported>
]

/**
 * One reply for each command of a group, in the same order.
 *
 * @since 0.1.0
 * @category models
 */
export type RepliesTo<Commands extends Group> = { readonly [Index in keyof Commands]: Reply }

/**
 * A mail transaction that has begun. Its methods fail with `InvalidArgument` once the message is accepted or the scope is
 * closed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transaction {
  /** Sends RCPT. Concurrent calls share one write if the server offers PIPELINING. */
  readonly rcpt: Service["rcpt"]
  /** Sends DATA and the content. */
  readonly data: Service["data"]
  /** Sends one chunk of BDAT. */
  readonly bdat: Service["bdat"]
}

/**
 * A session. Commands of concurrent fibers run one after the other, first come, first served. Nothing comes between the
 * commands of a message or of a `transaction`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly endpoint: Endpoint
  /** Both ends of the connection, if the transport tells them. */
  readonly addresses: Addresses
  /** The greeting of the server. */
  readonly greeting: Reply
  /** What the server announced in reply to the latest EHLO. Empty after STARTTLS and HELO. */
  readonly capabilities: Effect.Effect<Capabilities>
  readonly tls: Effect.Effect<TlsInfo | undefined>
  readonly state: Effect.Effect<State>
  /** Waits until the session ends. Gives the error that ended it, or `undefined` after QUIT or the end of the scope. */
  readonly awaitClosed: Effect.Effect<Disconnection | undefined>
  /** Sends EHLO, or LHLO in the LMTP dialect, with the client name (RFC 5321 section 4.1.1.1). */
  readonly ehlo: Effect.Effect<Reply, HeloError | Disconnection>
  /** Sends HELO. Fails with `InvalidArgument` in the LMTP dialect. */
  readonly helo: Effect.Effect<Reply, HeloError | InvalidArgument | Disconnection>
  /** Sends LHLO (RFC 2033 section 4.1). Fails with `InvalidArgument` in the SMTP dialect. */
  readonly lhlo: Effect.Effect<Reply, HeloError | InvalidArgument | Disconnection>
  /**
   * Sends EHLO unless the session is greeted already, and HELO if the server does not support EHLO and the options require
   * neither TLS nor AUTH. `send` does this by itself.
   */
  readonly ehloOrHeloIfNeeded: Effect.Effect<void, HeloError | Disconnection>
  /**
   * Sends STARTTLS and performs the handshake (RFC 3207). The capabilities are empty afterwards: the next `send` sends EHLO
   * again. Fails with `NotSupported` if the server does not offer STARTTLS, and with `CommandRefused` if it refuses.
   */
  readonly startTls: Effect.Effect<
    TlsInfo,
    TlsError | CommandRefused | NotSupported | HeloError | InvalidArgument | Disconnection
  >
  /** Authenticates, trying the mechanisms that server and credentials have in common (RFC 4954). */
  readonly authenticate: (
    credentials: Credentials
  ) => Effect.Effect<Reply, AuthenticationError | HeloError | InvalidArgument | Disconnection>
  /**
   * Sends MAIL by hand (RFC 5321 section 4.1.1.2), as smtplib does. Not for a session that fibers share: use `transaction`
   * there. Until the message is accepted, or `rset` or `ehlo` succeeds, `send`, `deliver` and `transaction` of any fiber
   * fail with `InvalidArgument`. So do `mail`, `rcpt`, `data` and `bdat` while a message or a `transaction` is in flight.
   */
  readonly mail: (
    from: string,
    parameters?: MailParameters | ReadonlyArray<string>
  ) => Effect.Effect<Reply, SenderRefused | InvalidArgument | NotSupported | Disconnection>
  /** Sends RCPT by hand (RFC 5321 section 4.1.1.3). A refusal does not affect the recipients accepted before. */
  readonly rcpt: (
    to: string,
    parameters?: RecipientParameters | ReadonlyArray<string>
  ) => Effect.Effect<Reply, RecipientsRefused | InvalidArgument | NotSupported | Disconnection>
  /**
   * Sends DATA and the content by hand (RFC 5321 section 4.1.1.4). Fails with `DataError` if the server refuses DATA, or
   * the content for all recipients; with `RecipientsRefused` if the server accepts DATA but no recipient was accepted.
   */
  readonly data: <E = never, R = never>(
    content: Content<E, R>,
    options?: ContentOptions
  ) => Effect.Effect<
    Replies,
    DataError | RecipientsRefused | ContentError | InvalidArgument | Disconnection | NoInfer<E>,
    NoInfer<R>
  >
  /**
   * Sends one chunk of BDAT by hand, byte for byte (RFC 3030). A refusal resets the transaction. Fails with
   * `RecipientsRefused` if the server accepts the last chunk but no recipient was accepted.
   */
  readonly bdat: (
    bytes: Uint8Array,
    options?: { readonly last?: boolean | undefined }
  ) => Effect.Effect<Replies, DataError | RecipientsRefused | NotSupported | InvalidArgument | Disconnection>
  readonly rset: Effect.Effect<Reply, CommandRefused | Disconnection>
  readonly noop: Effect.Effect<Reply, CommandRefused | Disconnection>
  /** Sends VRFY. Gives any reply, refusals included. */
  readonly vrfy: (user: string) => Effect.Effect<Reply, InvalidArgument | NotSupported | Disconnection>
  /** Sends EXPN. Gives any reply, refusals included. */
  readonly expn: (list: string) => Effect.Effect<Reply, InvalidArgument | NotSupported | Disconnection>
  /** Sends HELP. Gives any reply, refusals included. */
  readonly help: (topic?: string) => Effect.Effect<Reply, InvalidArgument | Disconnection>
  /** Sends QUIT and closes the connection. Closing the scope does the same. */
  readonly quit: Effect.Effect<Reply, CommandRefused | Disconnection>
  /** Sends any other command, like smtplib's docmd. Gives any reply, refusals included. */
  readonly command: (verb: string, argument?: string) => Effect.Effect<Reply, InvalidArgument | Disconnection>
  /** Sends a command of SmtpCommand. */
  readonly run: <P extends Place, E, L extends InvalidArgument | NotSupported>(
    command: SmtpCommand<P, E, L>
  ) => Effect.Effect<Reply, E | L | Disconnection>
  /**
   * Sends several commands in one write, or one after the other if the server does not offer PIPELINING. Gives the reply to
   * each, refusals included. Fails before anything is sent if a command is invalid.
   */
  readonly group: <const Commands extends Group>(
    commands: Commands
  ) => Effect.Effect<RepliesTo<Commands>, InvalidArgument | NotSupported | Disconnection>
  /**
   * Begins a transaction by hand: sends MAIL, and gives a handle for the rest. It has the session to itself until the scope
   * closes: commands and messages of other fibers wait. An unfinished transaction is then reset. `send`, `deliver` and
   * another `transaction` of the same fiber fail with `InvalidArgument`.
   */
  readonly transaction: (
    from: string,
    parameters?: MailParameters | ReadonlyArray<string>
  ) => Effect.Effect<Transaction, SenderRefused | InvalidArgument | NotSupported | Disconnection, Scope.Scope>
  /**
   * Sends a message and reports one outcome per recipient, in the order given. Fails only with `InvalidArgument` and with
   * the errors of the content: whatever the server or the connection does is in the receipt.
   */
  readonly deliver: <E = never, R = never>(
    submission: Submission<E, R>
  ) => Effect.Effect<Receipt<NotSentCause>, InvalidArgument | NoInfer<E>, NoInfer<R>>
  /**
   * Sends a message like `deliver`, and fails if no recipient was accepted. The error is the cause of the most uncertain
   * outcome, so that a retry on `SmtpError.isTransient` never delivers a message twice. Use `timeout` of the submission
   * instead of `Effect.timeout`, after which the outcome is lost.
   */
  readonly send: <E = never, R = never>(
    submission: Submission<E, R>
  ) => Effect.Effect<Receipt<NotSentCause>, SendError | NoInfer<E>, NoInfer<R>>
  /**
   * Delivers a stream of submissions. Gives their receipts with their keys, in the order of completion. An error, a defect
   * or an interruption of one message is in its receipt and does not end the stream. If the source fails, the receipts of
   * the messages in flight come first. Backpressure keeps memory constant. Interruption abandons the messages in flight;
   * receipts that are not read go to `onOutcome`.
   *
   * With `chunking: "eager"` this is the fastest way to send. `sendAll` is an effect because effect/Stream is loaded on
   * first use.
   *
   * @example
   * ```ts
   * import * as Effect from "effect/Effect"
   * import * as Stream from "effect/Stream"
   * import type { SmtpSession, SmtpSubmission } from "effect-smtplib"
   *
   * const mailing = (smtp: SmtpSession.Service, submissions: Stream.Stream<SmtpSubmission.Keyed<string>>) =>
   *   Effect.gen(function* () {
   *     const receipts = yield* smtp.sendAll(submissions)
   *     yield* Stream.runForEach(receipts, ({ key, receipt }) => Effect.log(key, receipt.outcomes))
   *   })
   * ```
   */
  readonly sendAll: <K, E = never, R = never, E2 = never, R2 = never>(
    submissions: Stream<Keyed<K, E, R>, E2, R2>
  ) => Effect.Effect<Stream<KeyedReceipt<K, E, NotSentCause | InvalidArgument>, E2, R | R2>>
}

/**
 * Connects and reads the greeting; the rest is up to you. With `tls: "implicit"` the handshake comes first. With
 * `"starttls"`, the default, no mail is sent before `startTls`. The session ends with the scope, by QUIT if it is healthy.
 *
 * Fails with `ConnectError` if there is no connection, or if the greeting is not 220; with `TlsError` if the handshake
 * fails; with `InvalidArgument` if an option is invalid. After a 4yz greeting the next address of the host is tried, up to
 * eight, within `timeouts.greeting`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeSmtp, SmtpSession } from "effect-smtplib"
 *
 * const program = Effect.gen(function* () {
 *   const smtp = yield* SmtpSession.connect({ host: "mail.example.com", tls: "none" })
 *   yield* smtp.ehlo
 *   return yield* smtp.vrfy("postmaster")
 * }).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const connect: (
  options: Options
) => Effect.Effect<
  Service,
  ConnectError | TlsError | InvalidArgument | Disconnection,
  Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache
> = internal.connect

/**
 * Opens a session that is ready to send: greeted, on TLS according to `tls`, and authenticated if `auth` is given.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 * import { NodeSmtp, SmtpAuth, SmtpSession } from "effect-smtplib"
 *
 * const program = Effect.gen(function* () {
 *   const smtp = yield* SmtpSession.make({
 *     host: "mail.example.com",
 *     auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
 *   })
 *   return yield* smtp.send({
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
) => Effect.Effect<Service, SetupError, Scope.Scope | SmtpSocket | TlsUpgrade | CapabilityCache> =
  internal.make

/**
 * Opens a session for one message, with a round trip less than `make` and `send`: QUIT is with the socket when you have
 * the receipt, and its reply is not waited for. The connection closes with that reply, and after one second at the latest;
 * a `process.exit` before that closes it without harm to the message. For several messages use `make` or `SmtpClient`.
 * Fails like `make` and `send`. The `timeout` of the submission covers opening the session, too.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeSmtp, SmtpSession } from "effect-smtplib"
 *
 * const program = SmtpSession.sendOnce(
 *   { host: "mail.example.com" },
 *   { from: "app@example.com", to: "ann@example.net", content: "Subject: Hello\r\n\r\nHello.\r\n" }
 * ).pipe(Effect.provide(NodeSmtp.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const sendOnce: <E = never, R = never>(
  options: Options,
  submission: Submission<E, R>
) => Effect.Effect<
  Receipt<NotSentCause>,
  SetupError | SendError | E,
  R | SmtpSocket | TlsUpgrade | CapabilityCache
> = internal.sendOnce

/**
 * Provides a session, for scripts: one connection, opened when the layer is built. It does not reconnect.
 *
 * @example
 * ```ts
 * import { NodeSmtp, SmtpSession } from "effect-smtplib"
 * import * as Layer from "effect/Layer"
 *
 * const live = SmtpSession.layer({ host: "mail.example.com" }).pipe(Layer.provide(NodeSmtp.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<SmtpSession, SetupError, SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Layer.scoped(SmtpSession, make(options))

/**
 * Provides a session from configuration: every option is a Config.
 *
 * @example
 * ```ts
 * import { SmtpSession } from "effect-smtplib"
 * import * as Config from "effect/Config"
 *
 * const live = SmtpSession.layerConfig({ host: Config.string("SMTP_HOST"), port: Config.port("SMTP_PORT") })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<
  SmtpSession,
  SetupError | ConfigError.ConfigError,
  SmtpSocket | TlsUpgrade | CapabilityCache
> => Layer.scoped(SmtpSession, Effect.flatMap(Config.unwrap(options), make))
