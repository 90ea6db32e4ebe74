/**
 * Every error of the library, as tagged classes whose message says what to do next, and predicates for programs. No field
 * holds a secret. SmtpSchema has the codecs.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import { messages, toPlain } from "./internal/errorMessages.js"
import type { Phase } from "./protocol/Command.js"
import { deliveryOf, isTransient as isTransientError } from "./protocol/Outcome.js"
import type { Reply } from "./protocol/Reply.js"

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
 * The outcome of the message behind an error.
 *
 * @since 0.1.0
 * @category models
 */
export type Delivery = "NotSent" | "Refused" | "Unknown"

/**
 * A recipient that the server refused, with its reply.
 *
 * @since 0.1.0
 * @category models
 */
export interface RefusedRecipient {
  /** The recipient as the caller gave it. */
  readonly address: string
  readonly reply: Reply
}

/**
 * No connection, or a greeting other than 220, which is in `reply`.
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
    return messages.ConnectError(this)
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

/**
 * The session could not be secured, and is closed.
 *
 * - `Handshake`: the handshake failed on either side
 * - `Disconnected`: the connection was lost during the handshake, without a TLS alert
 * - `Certificate`: the certificate or its name was not accepted
 * - `Timeout`: the handshake took longer than `timeouts.tls`
 * - `Injection`: plaintext came after the 220 of STARTTLS
 * - `OfferVanished`: this endpoint offered STARTTLS before, and does not now
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
    return messages.TlsError(this)
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
  /** The reply with which the server closed the connection, if any. */
  readonly reply?: Reply | undefined
  /** Whether it was a reply to EHLO at an endpoint that has accepted none, as far as CapabilityCache knows. */
  readonly isFirstEhlo?: boolean | undefined
  /** Recipients that had been refused before the connection was lost. */
  readonly refused?: ReadonlyArray<RefusedRecipient> | undefined
  readonly cause?: unknown
  /** The last lines on the wire, redacted. */
  readonly transcript?: ReadonlyArray<string> | undefined
}> {
  override get message(): string {
    return messages.ServerDisconnected(this)
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

/**
 * No reply, or no progress of a write, within the limit of the phase, or the `timeout` of a whole send ran out. The
 * session is closed.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReplyTimeout extends Data.TaggedError("ReplyTimeout")<{
  readonly phase: Phase
  /** The limit that ran out, in milliseconds. */
  readonly limitMillis: number
  /** The phase of that limit, if it was the limit of another command or message on the session. */
  readonly limitPhase?: Phase | undefined
  /** Whether the `timeout` of the send ran out. The client does not retry such a send. */
  readonly isOfSend?: boolean | undefined
  readonly refused?: ReadonlyArray<RefusedRecipient> | undefined
  readonly transcript?: ReadonlyArray<string> | undefined
}> {
  override get message(): string {
    return messages.ReplyTimeout(this)
  }
}

/**
 * A malformed, oversized or unexpected reply. The session is closed, since later replies cannot be matched to commands.
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
    return messages.ProtocolError(this)
  }
}

/**
 * The server refused EHLO and HELO, or LHLO. The session stays open.
 *
 * @since 0.1.0
 * @category errors
 */
export class HeloError extends Data.TaggedError("HeloError")<{
  readonly command: "EHLO" | "HELO" | "LHLO"
  readonly reply: Reply
}> {
  override get message(): string {
    return messages.HeloError(this)
  }
}

/**
 * The server refused NOOP, RSET, STARTTLS, XCLIENT or QUIT. The session stays open.
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
    return messages.CommandRefused(this)
  }
}

/**
 * Authentication failed. The session stays open.
 *
 * - `Rejected`: the server refused the credentials (535)
 * - `Temporary`: the server cannot decide at the moment (454, 432)
 * - `NoCommonMechanism`: the server offers none of the mechanisms that the credentials allow
 * - `NotOffered`: the server offers no AUTH at all, or only before TLS
 * - `Insecure`: the session has no TLS, or opportunistic TLS without a verified certificate, and `allowInsecureAuth` is
 *   not set; nothing was sent
 * - `Token`: the program's effect for the token or the password failed
 * - `TokenUnavailable`: it failed with an error whose property `isTransient` is `true`, or took longer than
 *   `timeouts.auth`; a later attempt may succeed
 * - `Challenge`: the mechanism could not answer the server's challenge
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
    return messages.AuthenticationError(this)
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

/**
 * The program requested something that the server does not offer. Nothing was sent, and the session stays open.
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
    return messages.NotSupported(this)
  }
}

/**
 * The server refused MAIL. The session stays open and was reset.
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
    return messages.SenderRefused(this)
  }
}

/**
 * The server refused every recipient, or one under `recipients: "all"`, or the one of `rcpt`. The session stays open and
 * was reset.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecipientsRefused extends Data.TaggedError("RecipientsRefused")<{
  /** Each refused recipient with its reply. */
  readonly recipients: ReadonlyArray<RefusedRecipient>
  /** Under `"all"` one refusal is enough; under `"any"` no recipient was accepted. */
  readonly policy: "any" | "all"
}> {
  override get message(): string {
    return messages.RecipientsRefused(this)
  }
}

/**
 * The server refused DATA, BDAT or the whole message. The session stays open and was reset; it is closed if the refusal
 * came while the content was being sent.
 *
 * @since 0.1.0
 * @category errors
 */
export class DataError extends Data.TaggedError("DataError")<{
  readonly phase: Phase
  readonly reply: Reply
}> {
  override get message(): string {
    return messages.DataError(this)
  }
}

/**
 * The content cannot be sent as it is. The message was not delivered.
 *
 * - `Nul`: it holds a NUL byte, and `allowNul` is not set
 * - `LineEnds`: it holds a bare CR or LF, under `lineEnds: "refuse"`
 * - `LineTooLong`: it holds a line over 998 bytes, under `longLines: "refuse"`
 * - `TooLarge`: the stream is larger than the server's SIZE
 * - `Changed`: a second run of the stream gave other bytes than the first, or than the declared size
 * - `NotAscii`: it holds 8-bit bytes where 7-bit was promised or required
 * - `UsedTwice`: `SmtpContent.once` was needed a second time
 * - `Stalled`: the stream gave nothing within `timeouts.stall`
 * - `Failed`: the stream failed on a later run, when an earlier one had reached a recipient; or it gave something other
 *   than a Uint8Array; or a stream that can run only once turned out to have no From (`MailMessage.raw`)
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
    return messages.ContentError(this)
  }
}

/**
 * An invalid option or argument, or a call that the state of the session forbids. Nothing was sent.
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
    return messages.InvalidArgument(this)
  }
}

/**
 * The client has no session for the message. Nothing was sent.
 *
 * - `QueueFull`: `maxWaiting` messages are waiting
 * - `Timeout`: no session was free within the timeout of the send
 * - `RateLimit`: the rate limit has no place within the timeout of the send
 * - `RateLimitStore`: the store of the rate limit failed. Nothing is sent without a place; the client tries again as
 *   `retry` says
 * - `Closed`: the client is closed
 *
 * @since 0.1.0
 * @category errors
 */
export class ClientUnavailable extends Data.TaggedError("ClientUnavailable")<{
  readonly reason: "QueueFull" | "Timeout" | "RateLimit" | "RateLimitStore" | "Closed"
  /** What the relays were doing when the time was up, if none had a session. */
  readonly detail?: string | undefined
  /** The error of the rate limit. */
  readonly cause?: unknown
}> {
  override get message(): string {
    return messages.ClientUnavailable(this)
  }

  override toJSON(): unknown {
    return toPlain(this)
  }
}

/**
 * An error that ended the session in the middle of a dialogue.
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
 * Tells the outcome of the message: `NotSent` (nothing of it can have been accepted), `Refused` (the server refused it),
 * or `Unknown` (the connection was lost after the last byte and before the reply, or the server accepted the message
 * before it had all of it).
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
 * Tells whether the same attempt may succeed later. Always `false` where `delivery` is `Unknown`, since a retry may deliver
 * the message twice, and for what is no error of this library.
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
export const isTransient = (error: unknown): boolean => isSmtpError(error) && isTransientError(error)

/**
 * Tells whether an error is one of this library, for unions with a program's own errors.
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
