/**
 * Every error of the library, as tagged classes with a message a person can act on, and the predicates that
 * decide what to do next. The classes import no Schema (SmtpSchema holds the codecs), and no secret is ever one
 * of their fields.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import { describeCause } from "./internal/effect/cause.js"
import type { Phase } from "./protocol/Command.js"
import { deliveryOf, isTransient as isTransientError } from "./protocol/Outcome.js"
import type { Reply } from "./protocol/Reply.js"
import { format, isTransient as isTransientReply } from "./protocol/Reply.js"

export type {
  /**
   * Where in the dialogue something happened.
   *
   * @since 0.1.0
   * @category models
   */
  Phase
} from "./protocol/Command.js"

/**
 * What is known of the message behind an error.
 *
 * @since 0.1.0
 * @category models
 */
export type Delivery = "NotSent" | "Refused" | "Unknown"

/**
 * A recipient that the server refused, and its words.
 *
 * @since 0.1.0
 * @category models
 */
export interface RefusedRecipient {
  /** The recipient as the caller gave it. */
  readonly address: string
  readonly reply: Reply
}

const during: Record<Phase, string> = {
  greeting: "while waiting for the greeting",
  ehlo: "during EHLO",
  starttls: "during STARTTLS",
  auth: "during authentication",
  mail: "in reply to MAIL",
  rcpt: "in reply to RCPT",
  data: "in reply to DATA",
  content: "while the message was being sent",
  bdat: "in reply to BDAT",
  final: "after the whole message was sent",
  rset: "in reply to RSET",
  noop: "in reply to NOOP",
  vrfy: "in reply to VRFY",
  expn: "in reply to EXPN",
  help: "in reply to HELP",
  quit: "in reply to QUIT",
  command: "in reply to a command",
  idle: "while the session was idle"
}

const causeText = (cause: unknown): string => (cause === undefined ? "" : `: ${describeCause(cause)}`)

const refusalAdvice = (reply: Reply): string =>
  isTransientReply(reply)
    ? "; the refusal is temporary, so try again later"
    : "; trying the same again will not help"

// JSON of an error goes to logs and other processes: a cause is the program's own value, so only its sentence goes.
const toPlain = (error: Error): unknown =>
  Object.assign(
    {},
    error,
    { message: error.message },
    error.cause === undefined ? undefined : { cause: describeCause(error.cause) }
  )

const unknownAdvice = "; the server may or may not have accepted it, so sending it again may deliver it twice"

/**
 * No connection in time, or a greeting other than 220 (421 included; its reply is carried).
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectError extends Data.TaggedError("ConnectError")<{
  /** Host and port, or the path of the UNIX socket. */
  readonly endpoint: string
  readonly reason: "Unreachable" | "Timeout" | "Greeting"
  readonly reply?: Reply | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    switch (this.reason) {
      case "Unreachable":
        return `Could not connect to ${this.endpoint}${causeText(this.cause)}; check host and port, and that the server accepts connections`
      case "Timeout":
        return `No connection to ${this.endpoint} within the time limit${causeText(this.cause)}; check host, port and firewall`
      case "Greeting":
        return `${this.endpoint} did not welcome the session${this.reply === undefined ? "; check that it is an SMTP server" : `: ${format(this.reply)}${refusalAdvice(this.reply)}`}`
    }
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

// The codes are those of Node's and OpenSSL's verification.
const certificateAdvice = (cause: unknown): string => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  switch (code) {
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return "whoever runs the server has to renew it, unless this machine's clock is wrong"
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return "connect to a name that it is for, or give that name in tlsOptions.servername"
    default:
      return "give the authority in tlsOptions.ca or the name in tlsOptions.servername"
  }
}

/**
 * The session could not be secured, and is closed.
 *
 * - `Handshake`: what the server sent is no handshake that can succeed, or it refused ours
 * - `Disconnected`: the connection was lost in the middle of the handshake, without a reason of TLS
 * - `Certificate`: the certificate or its name was not accepted
 * - `Timeout`: the handshake did not end within its time limit
 * - `Injection`: plaintext came behind the 220 of STARTTLS
 * - `OfferVanished`: this endpoint has offered STARTTLS before, and does not now
 * - `Configuration`: `tlsOptions` cannot be used
 *
 * @since 0.1.0
 * @category errors
 */
export class TlsError extends Data.TaggedError("TlsError")<{
  readonly endpoint: string
  readonly reason:
    "Handshake" | "Disconnected" | "Certificate" | "Timeout" | "Injection" | "OfferVanished" | "Configuration"
  readonly cause?: unknown
}> {
  override get message(): string {
    const cause = causeText(this.cause)
    switch (this.reason) {
      case "Handshake":
        return `The TLS handshake with ${this.endpoint} failed${cause}; check that this port speaks TLS in the chosen way ("implicit" usually is port 465, "starttls" 587)`
      case "Disconnected":
        return `The connection to ${this.endpoint} was lost in the middle of the TLS handshake${cause}; try again later, and if it goes on, check that this port speaks TLS in the chosen way`
      case "Certificate":
        return `The certificate of ${this.endpoint} was not accepted${cause}; ${certificateAdvice(this.cause)}`
      case "Timeout":
        return `The TLS handshake with ${this.endpoint} did not end within the time limit${cause}; check that this port speaks TLS in the chosen way`
      case "Injection":
        return `${this.endpoint} sent plaintext behind its reply to STARTTLS; someone may be tampering with the connection, so it was closed`
      case "OfferVanished":
        return `${this.endpoint} has offered STARTTLS before and does not now; someone may be stripping it, so nothing was sent in clear`
      case "Configuration":
        return `The TLS options for ${this.endpoint} cannot be used${cause}; check ca, cert, key and passphrase in tlsOptions`
    }
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

/**
 * End of stream, reset, or 421 to any command: the session is closed.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerDisconnected extends Data.TaggedError("ServerDisconnected")<{
  readonly phase: Phase
  /** The server's last words, where it said goodbye. */
  readonly reply?: Reply | undefined
  /** Recipients that had been refused before the connection was lost. */
  readonly refused?: ReadonlyArray<RefusedRecipient> | undefined
  readonly cause?: unknown
  /** The last lines on the wire, redacted. */
  readonly transcript?: ReadonlyArray<string> | undefined
}> {
  override get message(): string {
    const words =
      this.reply === undefined ? causeText(this.cause) : `: ${format(this.reply)}${refusalAdvice(this.reply)}`
    const advice =
      this.reply !== undefined ? "" : this.phase === "final" ? unknownAdvice : "; connect again to go on"
    const what = this.reply === undefined ? "The connection was lost" : "The server closed the connection"
    return `${what} ${during[this.phase]}${words}${advice}`
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

/**
 * No reply, or no progress of a write, within the limit of the phase: the session is closed. Or the limit of a whole
 * send has run out.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReplyTimeout extends Data.TaggedError("ReplyTimeout")<{
  readonly phase: Phase
  /** The limit that ran out, in milliseconds. */
  readonly limitMillis: number
  /** Whether it is the send's own limit, over all that the send does: it is not tried again, nor elsewhere. */
  readonly isOfSend?: boolean | undefined
  readonly refused?: ReadonlyArray<RefusedRecipient> | undefined
  readonly transcript?: ReadonlyArray<string> | undefined
}> {
  override get message(): string {
    if (this.isOfSend === true) {
      const advice =
        this.phase === "final" ? unknownAdvice : "; nothing was delivered: raise the timeout of the send"
      return `The send's own limit of ${this.limitMillis} ms has run out ${during[this.phase]}${advice}`
    }
    const what = this.phase === "content" ? "made no progress" : "did not answer"
    const advice =
      this.phase === "final"
        ? unknownAdvice
        : this.phase === "greeting"
          ? `; check that this is an SMTP server and that it speaks first: a port for TLS from the first octet, usually 465, needs tls "implicit"`
          : "; try again later, or raise the time limit of this phase"
    return `The server ${what} within ${this.limitMillis} ms ${during[this.phase]}${advice}`
  }
}

/**
 * A malformed, oversized, mismatched or unexpected reply: the session is closed, since nothing that the server
 * says can be matched to a command any more.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProtocolError extends Data.TaggedError("ProtocolError")<{
  readonly phase: Phase
  readonly reason: string
  readonly reply?: Reply | undefined
  readonly refused?: ReadonlyArray<RefusedRecipient> | undefined
  readonly transcript?: ReadonlyArray<string> | undefined
}> {
  override get message(): string {
    const words = this.reply === undefined ? "" : ` (${format(this.reply)})`
    const advice =
      delivery(this) === "Unknown"
        ? unknownAdvice
        : this.phase === "greeting"
          ? "; check that host and port are those of an SMTP server"
          : "; report it to whoever runs the server or stands between"
    return `The server broke the protocol ${during[this.phase]}: ${this.reason}${words}${advice}`
  }
}

/**
 * EHLO and HELO (or LHLO) were refused; the session is open.
 *
 * @since 0.1.0
 * @category errors
 */
export class HeloError extends Data.TaggedError("HeloError")<{
  readonly command: "EHLO" | "HELO" | "LHLO"
  readonly reply: Reply
}> {
  override get message(): string {
    return `The server refused ${this.command}: ${format(this.reply)}${refusalAdvice(this.reply)}; clientName has to be a name or address that the server believes`
  }
}

/**
 * NOOP, RSET, STARTTLS or QUIT was refused; the session is open.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommandRefused extends Data.TaggedError("CommandRefused")<{
  readonly command: string
  readonly phase: Phase
  readonly reply: Reply
}> {
  override get message(): string {
    return `The server refused ${this.command}: ${format(this.reply)}${refusalAdvice(this.reply)}`
  }
}

/**
 * Authentication did not succeed; the session is open.
 *
 * - `Rejected`: the server refused the credentials (535)
 * - `Temporary`: the server cannot decide now (454, 432)
 * - `NoCommonMechanism`: the server offers none of the mechanisms that the credentials allow
 * - `NotOffered`: the server offers no AUTH at all, or only before TLS
 * - `Insecure`: the session has no TLS, or opportunistic TLS that verified nobody, and `allowInsecureAuth` is not
 *   set; nothing was sent
 * - `Token`: the program's token effect failed
 * - `TokenUnavailable`: it failed with an error whose property `isTransient` is `true`, or took longer than
 *   `timeouts.auth`: the token may be had later
 * - `Challenge`: the server's challenge could not be understood
 * - `ServerNotVerified`: the server did not prove that it knows the password (SCRAM)
 *
 * @since 0.1.0
 * @category errors
 */
export class AuthenticationError extends Data.TaggedError("AuthenticationError")<{
  readonly reason:
    | "Rejected"
    | "Temporary"
    | "NoCommonMechanism"
    | "NotOffered"
    | "Insecure"
    | "Token"
    | "TokenUnavailable"
    | "Challenge"
    | "ServerNotVerified"
  /** The mechanism that was tried last. */
  readonly mechanism?: string | undefined
  readonly reply?: Reply | undefined
  readonly detail?: string | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    const how = this.mechanism === undefined ? "" : ` with ${this.mechanism}`
    const detail = this.detail === undefined ? "" : `: ${this.detail}`
    const words = this.reply === undefined ? detail : `: ${format(this.reply)}${detail}`
    switch (this.reason) {
      case "Rejected":
        return `The server rejected the credentials${how}${words}; check the user name and the password or token`
      case "Temporary":
        return `The server could not authenticate${how} for now${words}; try again later`
      case "NoCommonMechanism":
        return `The server offers no mechanism that these credentials can use${detail}; give credentials of another kind, or check that TLS is on`
      case "NotOffered":
        return `The server does not offer AUTH${detail}; check that this is the submission port, and that TLS is on`
      case "Insecure":
        return `Credentials are not sent without TLS, nor over opportunistic TLS that verified nobody: choose tls "starttls" or "implicit", or set allowInsecureAuth`
      case "Token":
        return `The access token could not be obtained${causeText(this.cause)}${detail}; check the effect that gives it`
      case "TokenUnavailable":
        return `The access token could not be obtained for now${causeText(this.cause)}${detail}; try again later`
      case "Challenge":
        return `The server's challenge could not be used${how}${words}; try another mechanism`
      case "ServerNotVerified":
        return `The server did not prove its identity${how}${words}; do not trust this connection`
    }
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

/**
 * The program asked for what the server does not offer. Nothing of the message was sent; the session is open.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotSupported extends Data.TaggedError("NotSupported")<{
  /** The EHLO keyword, e.g. `SMTPUTF8`. */
  readonly extension: string
  readonly reason: string
}> {
  override get message(): string {
    return `The server cannot do what was asked (${this.extension}): ${this.reason}`
  }
}

/**
 * MAIL was refused; the session is open and was reset.
 *
 * @since 0.1.0
 * @category errors
 */
export class SenderRefused extends Data.TaggedError("SenderRefused")<{
  /** The reverse-path as the caller gave it. */
  readonly sender: string
  readonly reply: Reply
}> {
  override get message(): string {
    return `The server refused the sender <${this.sender}>: ${format(this.reply)}${refusalAdvice(this.reply)}`
  }
}

/**
 * Every recipient was refused, or any under `recipients: "all"`, or the one of `rcpt`. The session is open and
 * was reset.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecipientsRefused extends Data.TaggedError("RecipientsRefused")<{
  /** Each refused recipient with its reply. */
  readonly recipients: ReadonlyArray<RefusedRecipient>
  /** Under `"all"` one refusal is enough; under `"any"` nobody was accepted. */
  readonly policy: "any" | "all"
}> {
  override get message(): string {
    const shown = this.recipients.slice(0, 5).map(({ address, reply }) => `<${address}>: ${format(reply)}`)
    const more =
      this.recipients.length > shown.length ? `; and ${this.recipients.length - shown.length} more` : ""
    const what = this.policy === "all" ? "A recipient was refused" : "No recipient was accepted"
    return `${what}: ${shown.join("; ")}${more}`
  }
}

/**
 * DATA or BDAT was refused, or the message was refused after its content. The session is open and was reset; it
 * is closed if the refusal came in the middle of the content.
 *
 * @since 0.1.0
 * @category errors
 */
export class DataError extends Data.TaggedError("DataError")<{
  readonly phase: Phase
  readonly reply: Reply
}> {
  override get message(): string {
    return `The server refused the message ${during[this.phase]}: ${format(this.reply)}${refusalAdvice(this.reply)}`
  }
}

/**
 * The content cannot be sent as it is. The message was not delivered.
 *
 * - `Nul`: it holds a NUL octet, and `allowNul` is not set
 * - `LineEnds`: bare CR or LF, under `lineEnds: "refuse"`
 * - `LineTooLong`: a line over 998 octets, under `longLines: "refuse"`
 * - `TooLarge`: it outgrew the server's SIZE in mid-stream
 * - `Changed`: a second run gave other octets than the first, or than the declared size
 * - `NotAscii`: 8-bit octets where 7-bit was promised or required
 * - `UsedTwice`: `SmtpContent.once` was needed a second time
 * - `Stalled`: the stream gave nothing within its time limit
 * - `Failed`: the stream failed on a later run, after somebody had been accepted on an earlier one; or it gave what is
 *   no Uint8Array
 *
 * @since 0.1.0
 * @category errors
 */
export class ContentError extends Data.TaggedError("ContentError")<{
  readonly reason:
    | "Nul"
    | "LineEnds"
    | "LineTooLong"
    | "TooLarge"
    | "Changed"
    | "NotAscii"
    | "UsedTwice"
    | "Stalled"
    | "Failed"
  readonly detail: string
}> {
  override get message(): string {
    return `The content cannot be sent: ${this.detail}`
  }
}

/**
 * A local mistake: CR, LF, NUL or an impossible value in what reaches a command line, or a call that the state
 * of the session forbids. Nothing was sent.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidArgument extends Data.TaggedError("InvalidArgument")<{
  /** The option or argument, e.g. `to[1]`. */
  readonly field: string
  readonly reason: string
}> {
  override get message(): string {
    return `Invalid ${this.field}: it ${this.reason}`
  }
}

/**
 * SmtpClient has no session to give. Nothing was sent.
 *
 * - `QueueFull`: as many messages wait as may
 * - `Timeout`: no session was free in time
 * - `RateLimit`: the rate limit has no place in time
 * - `RateLimitStore`: the rate limit could not be asked. Nothing goes past a limit of which nobody knows; the client asks
 *   again by its `retry`
 * - `Closed`: the client has come to its end
 *
 * @since 0.1.0
 * @category errors
 */
export class ClientUnavailable extends Data.TaggedError("ClientUnavailable")<{
  readonly reason: "QueueFull" | "Timeout" | "RateLimit" | "RateLimitStore" | "Closed"
  /** What the rate limit had to say. */
  readonly cause?: unknown
}> {
  override get message(): string {
    switch (this.reason) {
      case "QueueFull":
        return "The client's queue of waiting messages is full; send less at once, or allow a longer queue"
      case "Timeout":
        return "No session was free within the time limit; allow more sessions, or a longer wait"
      case "RateLimit":
        return `The rate limit leaves no room for the message in time${causeText(this.cause)}; send more slowly, or raise the limit`
      case "RateLimitStore":
        return `The rate limit could not be asked${causeText(this.cause)}; check its store, and try again later`
      case "Closed":
        return "The client is closed: the scope that it was made in has ended"
    }
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

/**
 * A failure that ended the session in the middle of a dialogue.
 *
 * @since 0.1.0
 * @category models
 */
export type Disconnection = ServerDisconnected | ReplyTimeout | ProtocolError

/**
 * Every error of the library.
 *
 * @since 0.1.0
 * @category models
 */
export type SmtpError =
  | ConnectError
  | TlsError
  | Disconnection
  | HeloError
  | CommandRefused
  | AuthenticationError
  | NotSupported
  | SenderRefused
  | RecipientsRefused
  | DataError
  | ContentError
  | InvalidArgument
  | ClientUnavailable

/**
 * What became of the message: `NotSent` (nothing of it can have been accepted), `Refused` (the server said no),
 * or `Unknown` (the connection was lost after the last octet and before the reply, or the server said yes before it
 * had the whole message).
 *
 * @example
 * ```ts
 * import * as SmtpError from "effect-smtplib/SmtpError"
 *
 * const error = new SmtpError.ServerDisconnected({ phase: "final" })
 * SmtpError.delivery(error) // "Unknown": sending it again may deliver it twice
 * ```
 *
 * @since 0.1.0
 * @category predicates
 */
export const delivery = (error: SmtpError): Delivery => deliveryOf(error)

/**
 * Whether the same attempt may succeed later. Always `false` where `delivery` is `Unknown`: a retry there may
 * deliver the message twice.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpError from "effect-smtplib/SmtpError"
 *
 * const later = (error: SmtpError.SmtpError) =>
 *   SmtpError.isTransient(error) ? Effect.succeed("queued") : Effect.fail(error)
 * ```
 *
 * @since 0.1.0
 * @category predicates
 */
export const isTransient = (error: SmtpError): boolean => isTransientError(error)

/**
 * Whether the error is one of this library's, for unions with a program's own errors.
 *
 * @example
 * ```ts
 * import * as SmtpError from "effect-smtplib/SmtpError"
 *
 * const advise = (error: unknown) => (SmtpError.isSmtpError(error) ? SmtpError.delivery(error) : "not ours")
 * ```
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSmtpError = (error: unknown): error is SmtpError =>
  errorClasses.some((errorClass) => error instanceof errorClass)

const errorClasses = [
  ConnectError,
  TlsError,
  ServerDisconnected,
  ReplyTimeout,
  ProtocolError,
  HeloError,
  CommandRefused,
  AuthenticationError,
  NotSupported,
  SenderRefused,
  RecipientsRefused,
  DataError,
  ContentError,
  InvalidArgument,
  ClientUnavailable
] as const
