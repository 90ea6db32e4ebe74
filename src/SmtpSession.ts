/**
 * One connection to a server as a scoped resource: every command as a typed Effect, transactions, and whole sends
 * with one outcome per recipient. It is never dialled again: services that outlive a connection want SmtpClient.
 * RFC 5321, RFC 2033 (LMTP), RFC 3207 (STARTTLS), RFC 4954 (AUTH).
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Stream } from "effect/Stream"
import type { CapabilityCache } from "./CapabilityCache.js"
import * as internal from "./internal/session/session.js"
import type { TimeLimitOptions } from "./internal/session/timeLimits.js"
import type { Capabilities } from "./protocol/Capabilities.js"
import type { Place } from "./protocol/Command.js"
import type { MailParameters, RecipientParameters } from "./protocol/Parameters.js"
import type { Limits, Reply } from "./protocol/Reply.js"
import type { Chunking, Pipelining } from "./protocol/Plan.js"
import type { Credentials } from "./SmtpAuth.js"
import type { ProxyHeader } from "./protocol/ProxyHeader.js"
import type { ClientAttributes, SmtpCommand } from "./SmtpCommand.js"
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
import type { Listener } from "./SmtpTranscript.js"
import type { TlsInfo, TlsOptions, TlsUpgrade } from "./TlsUpgrade.js"

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
   * How much leaves in one write: each command alone; MAIL with every RCPT; these and DATA; or these and, where
   * messages wait, behind the content of the message before.
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
   * What a reply may measure, in octets and lines.
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
   * An end of the connection that a PROXY header speaks of.
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

/**
 * A session.
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpSession extends Context.Tag("effect-smtplib/SmtpSession")<SmtpSession, Service>() {}

/**
 * When a session is on TLS.
 *
 * - `"starttls"` begins in clear and goes on only after STARTTLS (RFC 3207): a server without the offer, or someone
 *   who removes it, ends the session before anything is sent
 * - `"implicit"` is on TLS from the first octet (RFC 8314)
 * - `"opportunistic"` uses STARTTLS if it is offered and goes on in clear if not: it protects against listeners, not
 *   against an attacker on the wire. Without `auth` the certificate is not verified, unless the TLS options say so,
 *   and `authenticate` then sends nothing
 * - `"none"` is in clear
 *
 * @since 0.1.0
 * @category models
 */
export type TlsPolicy = "starttls" | "implicit" | "opportunistic" | "none"

/**
 * How much may be in flight on a session with `pipelining: "overlap"` and `chunking: "eager"`: sent, and not answered
 * yet. The outcome of messages in flight is `Unknown` if the connection breaks.
 *
 * @since 0.1.0
 * @category models
 */
export interface WindowOptions {
  /** Messages. Default 32. */
  readonly messages?: number | undefined
  /**
   * Bytes of content under `"eager"`, beyond which no further message begins. Default 1,048,576. With `"overlap"` one
   * content at most waits for its verdict, however long it is.
   */
  readonly octets?: number | undefined
}

/**
 * Settings whose defaults suit nearly every program.
 *
 * @since 0.1.0
 * @category models
 */
export interface AdvancedOptions {
  /** How much may be in flight at once with `"overlap"` and `"eager"`. */
  readonly window?: WindowOptions | undefined
  /**
   * Whether a transaction that begins before the verdict on the one before it begins with RSET, in case that one was
   * refused. Default true; behind BDAT it is always so (RFC 3030 section 2).
   */
  readonly resetBetween?: boolean | undefined
  /**
   * How recent the last reply of the server must be for content to leave before the replies to its envelope. After a
   * longer silence the connection may have been lost unnoticed, and the outcome would be `Unknown`. Default 2 seconds.
   */
  readonly eagerWithin?: Duration.DurationInput | undefined
  /** The longest reply that is accepted: by default 12,288 bytes a line, 512 lines and 131,072 bytes in all. */
  readonly replyLimits?: Partial<Limits> | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Host name or address of the server; `"host:port"` is accepted. */
  readonly host?: string | undefined
  /** Port of the server. Default: 587 with `"starttls"`, 465 with `"implicit"`, 25 with the others, 24 for LMTP. */
  readonly port?: number | undefined
  /** Path of a UNIX socket, instead of host and port. */
  readonly path?: string | undefined
  /** Local IP address to connect from. */
  readonly localAddress?: string | undefined
  /** Local port to connect from. */
  readonly localPort?: number | undefined
  /**
   * Header of the PROXY protocol, which tells the server whom the program speaks for. It is sent first, before TLS. Use it
   * only with a server that expects it: any other reads it as a command.
   */
  readonly proxyHeader?: ProxyHeader | undefined
  /**
   * Attributes that `make` sends by XCLIENT, after TLS and before AUTH, to a Postfix that trusts this client. If the server
   * does not offer XCLIENT, `make` fails with `NotSupported`.
   */
  readonly xclient?: ClientAttributes | undefined
  /** `"lmtp"` for a mail store (RFC 2033): LHLO, and one reply per recipient after the content. */
  readonly dialect?: "smtp" | "lmtp" | undefined
  /**
   * Name for EHLO: a fully qualified domain name or an address literal. Default: this host's name if it is qualified, else
   * the literal of the local address.
   */
  readonly clientName?: string | undefined
  /** When the session is on TLS. Default `"starttls"`; `"none"` for a UNIX socket. */
  readonly tls?: TlsPolicy | undefined
  /** TLS options of this session, which override those of the layer. */
  readonly tlsOptions?: TlsOptions | undefined
  /** Credentials with which `make` authenticates. */
  readonly auth?: Credentials | undefined
  /** Sends credentials on a connection without TLS. Default false. */
  readonly allowInsecureAuth?: boolean | undefined
  /**
   * How much is sent in one write, if the server offers PIPELINING (RFC 2920). Default `"data"`: MAIL, RCPT and DATA
   * together. With `"overlap"` the envelope of a waiting message directly follows the content of the one before: one round
   * trip per message, from the second message of a session on.
   */
  readonly pipelining?: Pipelining | undefined
  /**
   * Whether content is sent by BDAT, if the server offers CHUNKING (RFC 3030). Default `"off"`, which uses DATA. With `"on"`
   * the first chunk waits for the replies to the envelope. With `"eager"` it does not, so that a whole `advanced.window` of
   * messages is in flight at once. Use `"eager"` only with a server that is known to read and drop the chunks of a refused
   * transaction, since RFC 3030 section 4 shows the other order. A server that reads a refused chunk as commands breaks the
   * session, and would execute the text of a message.
   */
  readonly chunking?: Chunking | undefined
  /**
   * Time limits by phase. Defaults, from RFC 5321 section 4.5.3.2: 5 minutes for the greeting, MAIL, RCPT and other
   * commands, 2 for DATA, 3 for a block of content, 10 for the final reply; 1 minute each for the connection attempt and
   * the TLS handshake, 5 seconds for QUIT.
   */
  readonly timeouts?: TimeLimitOptions | undefined
  /** Receives every line, redacted. */
  readonly transcript?: Listener | undefined
  /** Settings whose defaults suit nearly every program. */
  readonly advanced?: AdvancedOptions | undefined
}

/**
 * Where a session stands. `Greeted` has not said EHLO yet; `Transaction` holds an envelope.
 *
 * @since 0.1.0
 * @category models
 */
export type State = "Greeted" | "Ready" | "Transaction" | "Closed"

/**
 * What setting a session up can fail with.
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
 * What can keep a message from being sent over a session.
 *
 * @since 0.1.0
 * @category models
 */
export type NotSentCause = Disconnection | HeloError | NotSupported | ContentError | RecipientsRefused

/**
 * What a send can fail with, besides the content's own errors.
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
 * One reply, or under LMTP one per accepted recipient.
 *
 * @since 0.1.0
 * @category models
 */
export type Replies = readonly [Reply, ...ReadonlyArray<Reply>]

/**
 * The commands of a group: all but the last have to be such that others may follow them.
 *
 * @since 0.1.0
 * @category models
 */
export type Group = readonly [
  ...ReadonlyArray<SmtpCommand<"Anywhere", unknown, InvalidArgument | NotSupported>>,
  SmtpCommand<Place, unknown, InvalidArgument | NotSupported>
]

/**
 * One reply for each command of a group, in their order.
 *
 * @since 0.1.0
 * @category models
 */
export type RepliesTo<Commands extends Group> = { readonly [Index in keyof Commands]: Reply }

/**
 * A mail transaction that has begun. Once the message is accepted, or the scope has closed, its methods are
 * `InvalidArgument`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transaction {
  /** RCPT (RFC 5321 section 4.1.1.3). Several at once leave in one write where the server offers PIPELINING. */
  readonly rcpt: Service["rcpt"]
  /** DATA, the content, and its replies (RFC 5321 section 4.1.1.4). */
  readonly data: Service["data"]
  /** One chunk of BDAT (RFC 3030). */
  readonly bdat: Service["bdat"]
}

/**
 * A session. Commands of several fibers are carried out one after the other, in the order of asking; a transaction
 * is never interleaved with anything.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly endpoint: Endpoint
  /** Both ends of the connection, as far as the transport knows them. */
  readonly addresses: Addresses
  /** The server's first words. */
  readonly greeting: Reply
  /** What the latest EHLO announced; STARTTLS empties it. */
  readonly capabilities: Effect.Effect<Capabilities>
  readonly tls: Effect.Effect<TlsInfo | undefined>
  readonly state: Effect.Effect<State>
  /** Ends when the session has: with the failure that ended it, or `undefined` after QUIT and close. */
  readonly awaitClosed: Effect.Effect<Disconnection | undefined>
  /** EHLO, or LHLO in the LMTP dialect, with the session's client name (RFC 5321 section 4.1.1.1). */
  readonly ehlo: Effect.Effect<Reply, HeloError | Disconnection>
  /** HELO: the server's capabilities are empty afterwards. `InvalidArgument` in the LMTP dialect. */
  readonly helo: Effect.Effect<Reply, HeloError | InvalidArgument | Disconnection>
  /** LHLO (RFC 2033 section 4.1). `InvalidArgument` in the SMTP dialect. */
  readonly lhlo: Effect.Effect<Reply, HeloError | InvalidArgument | Disconnection>
  /**
   * EHLO if nothing was said yet; HELO if the server does not know EHLO and nothing that only EHLO could grant (TLS,
   * AUTH) is asked for. `send` does this by itself.
   */
  readonly ehloOrHeloIfNeeded: Effect.Effect<void, HeloError | Disconnection>
  /**
   * STARTTLS and the handshake (RFC 3207). What the server announced before is forgotten; say EHLO again, or leave it
   * to the next command that needs it. `NotSupported` if it is not offered, `CommandRefused` if it is refused.
   */
  readonly startTls: Effect.Effect<
    TlsInfo,
    TlsError | CommandRefused | NotSupported | HeloError | InvalidArgument | Disconnection
  >
  /** AUTH, with fallback across the mechanisms that server and credentials have in common (RFC 4954). */
  readonly authenticate: (
    credentials: Credentials
  ) => Effect.Effect<Reply, AuthenticationError | HeloError | InvalidArgument | Disconnection>
  /**
   * MAIL by hand (RFC 5321 section 4.1.1.2), as with smtplib, for a session that one fiber has to itself. The session is in
   * a transaction until the message is accepted, RSET, or EHLO: `send`, `deliver` and `transaction` of any fiber are
   * `InvalidArgument` until then. `mail`, `rcpt`, `data` and `bdat` are `InvalidArgument` while a message or a
   * `transaction` is under way. `transaction` is the safer form.
   */
  readonly mail: (
    from: string,
    parameters?: MailParameters | ReadonlyArray<string>
  ) => Effect.Effect<Reply, SenderRefused | InvalidArgument | NotSupported | Disconnection>
  /** RCPT by hand (RFC 5321 section 4.1.1.3). A refusal leaves the recipients accepted before it standing. */
  readonly rcpt: (
    to: string,
    parameters?: RecipientParameters | ReadonlyArray<string>
  ) => Effect.Effect<Reply, RecipientsRefused | InvalidArgument | NotSupported | Disconnection>
  /**
   * DATA, the content, and its replies (RFC 5321 section 4.1.1.4). Fails with `DataError` if DATA or, for everybody,
   * the content was refused; with `RecipientsRefused` if the server opened DATA though nobody was accepted.
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
   * One chunk of BDAT, octet for octet (RFC 3030). A refusal resets the transaction; `RecipientsRefused` if the server
   * took the last chunk though nobody was accepted.
   */
  readonly bdat: (
    octets: Uint8Array,
    options?: { readonly last?: boolean | undefined }
  ) => Effect.Effect<Replies, DataError | RecipientsRefused | NotSupported | InvalidArgument | Disconnection>
  readonly rset: Effect.Effect<Reply, CommandRefused | Disconnection>
  readonly noop: Effect.Effect<Reply, CommandRefused | Disconnection>
  /** VRFY: any reply is given as it is. */
  readonly vrfy: (user: string) => Effect.Effect<Reply, InvalidArgument | NotSupported | Disconnection>
  /** EXPN: any reply is given as it is. */
  readonly expn: (list: string) => Effect.Effect<Reply, InvalidArgument | NotSupported | Disconnection>
  /** HELP: any reply is given as it is. */
  readonly help: (topic?: string) => Effect.Effect<Reply, InvalidArgument | Disconnection>
  /** QUIT, and the end of the connection. Closing the scope does it too, if nobody has. */
  readonly quit: Effect.Effect<Reply, CommandRefused | Disconnection>
  /** A command in the program's own words, smtplib's docmd: any reply is given as it is. */
  readonly command: (verb: string, argument?: string) => Effect.Effect<Reply, InvalidArgument | Disconnection>
  /** Runs a command that is a value. */
  readonly run: <P extends Place, E, L extends InvalidArgument | NotSupported>(
    command: SmtpCommand<P, E, L>
  ) => Effect.Effect<Reply, E | L | Disconnection>
  /**
   * Writes several commands at once where the server offers PIPELINING, one after the other where not, and gives the
   * reply to each, refusals included. Fails before anything is sent if one of them cannot be.
   */
  readonly group: <const Commands extends Group>(
    commands: Commands
  ) => Effect.Effect<RepliesTo<Commands>, InvalidArgument | NotSupported | Disconnection>
  /**
   * Begins a transaction by hand that has the session to itself: MAIL, and then the methods of the handle until the scope
   * closes. Commands and messages of other fibers wait for that; what is unfinished by then is reset. `send`, `deliver`
   * and another `transaction` from the same fiber are `InvalidArgument`.
   */
  readonly transaction: (
    from: string,
    parameters?: MailParameters | ReadonlyArray<string>
  ) => Effect.Effect<Transaction, SenderRefused | InvalidArgument | NotSupported | Disconnection, Scope.Scope>
  /**
   * Sends a message and accounts for every recipient: one outcome each, in the order given. It fails only for what is
   * wrong locally (`InvalidArgument`) and for the content's own errors; all that a server or connection can do is in
   * the receipt.
   */
  readonly deliver: <E = never, R = never>(
    submission: Submission<E, R>
  ) => Effect.Effect<Receipt<NotSentCause>, InvalidArgument | NoInfer<E>, NoInfer<R>>
  /**
   * `deliver` that fails when nobody was accepted, with the cause behind the most doubtful outcome, so that a retry
   * on `SmtpError.isTransient` can never deliver a message twice. Do not wrap it in `Effect.timeout` and
   * `Effect.retry`, which cannot know what had left: give `timeout` in the submission.
   */
  readonly send: <E = never, R = never>(
    submission: Submission<E, R>
  ) => Effect.Effect<Receipt<NotSentCause>, SendError | NoInfer<E>, NoInfer<R>>
  /**
   * Delivers a stream of submissions and gives their receipts in the order of completion, with the keys that they came
   * with. What goes wrong with one message is in its own receipt, and never ends the stream: not even a defect of its
   * content, or an interruption from within it, which is `ContentError` there. Where the source fails, dies or is
   * interrupted, the receipts of what is under way come first, and the end of the source after them. Submissions are
   * pulled no faster than the server takes them and the receipts are read, so that any number of them flows through
   * constant memory. Interruption gives up what is under way; receipts that the reader leaves unread go to `onOutcome`.
   *
   * With `chunking: "eager"` this is the fastest way to send; with `pipelining: "overlap"` it is about as fast as the sends
   * of many fibers. An effect, since effect/Stream is loaded only when it is needed.
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
 * Dials and reads the greeting; the program says the rest. With `tls: "implicit"` the handshake comes first; with
 * `"starttls"`, the default, no mail leaves before `startTls`.
 *
 * Fails with `ConnectError` if there is no connection, or if the greeting is not 220; with `TlsError` if the
 * handshake fails; with `InvalidArgument` for options that cannot be. A host's next address is tried when one
 * greets with 4yz, up to eight of them, and none later than `timeouts.greeting` after the first. The session ends with the scope, by QUIT if it is healthy.
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
 * A session that is ready to send: connected, greeted, on TLS as `tls` says, authenticated if `auth` is given.
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
 * A session for one message: opens it, sends, and ends it, with a round trip less than `make` and `send` take. QUIT
 * leaves in the write that ends the content where the server offers PIPELINING (RFC 2920 section 3.1) and `pipelining`
 * is neither `"off"` nor `"envelope"`. For several messages `make` a session, or use `SmtpClient`.
 *
 * Fails as `make` and `send` do; a submission that cannot be is found before anything is dialled.
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
 * A session as a layer, for scripts: one connection, opened when the layer is built and never again.
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
 * A session from configuration: every option is a Config.
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
