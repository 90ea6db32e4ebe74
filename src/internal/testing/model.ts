/** What SmtpTest exports as types. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { CapabilityCache } from "../../CapabilityCache.js"
import type {
  Connection,
  ConnectionLost,
  Endpoint,
  Service as SocketService,
  SmtpSocket
} from "../../SmtpSocket.js"
import type { TlsUpgrade } from "../../TlsUpgrade.js"
import type { InboxError } from "./inboxError.js"
import type { ScriptStep } from "./recordedConnection.js"
import type { ScriptFailure } from "./scriptFailure.js"

/**
 * The server side of a dialogue. Build it with `script` and the steps of this module, each of which is a script itself.
 *
 * @since 0.1.0
 * @category models
 */
export interface Script {
  /** How the server answers the dial. */
  readonly dial: "Accepts" | "Refuses" | "Hangs"
  readonly steps: ReadonlyArray<ScriptStep>
}

/**
 * One script for the first connection, one for each connection in turn, or a function of the connection's index (from
 * 0). A dial without a script is refused.
 *
 * @since 0.1.0
 * @category models
 */
export type Scripts = Script | ReadonlyArray<Script> | ((index: number) => Script | undefined)

/**
 * The services that a session requires.
 *
 * @since 0.1.0
 * @category models
 */
export type Transport = SmtpSocket | TlsUpgrade | CapabilityCache

/**
 * @since 0.1.0
 * @category models
 */
export interface ReplyOptions {
  /** Offsets that split the reply into separate writes, or one byte per write. TCP may join them without a `pause`. */
  readonly split?: ReadonlyArray<number> | "byteByByte" | undefined
  /** The time between two writes of a split reply. */
  readonly pause?: Duration.DurationInput | undefined
  /** The time before the reply. Earlier replies are sent first. */
  readonly delay?: Duration.DurationInput | undefined
  /** Sends the reply in its own write. Default: consecutive replies share one. */
  readonly separate?: boolean | undefined
}

/**
 * A message content received after DATA.
 *
 * @since 0.1.0
 * @category models
 */
export interface Content {
  /** Without dot-stuffing and without the terminating dot. */
  readonly octets: Uint8Array
  /** As received, with the terminating `.` CRLF. */
  readonly raw: Uint8Array
}

/**
 * The server's end of a connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerConnection extends Connection {
  /** Half-close: the client reads the end of the stream and can still write. */
  readonly end: Effect.Effect<void, ConnectionLost>
  /** Resets the connection: the client's next read or write fails. */
  readonly reset: Effect.Effect<void>
}

/**
 * The server's side of a TLS handshake.
 *
 * @since 0.1.0
 * @category models
 */
export type ServerUpgrade = (
  connection: ServerConnection
) => Effect.Effect<ServerConnection, unknown, Scope.Scope>

/**
 * @since 0.1.0
 * @category models
 */
export interface ScriptedOptions {
  /** Bytes that each direction accepts while the other side does not read. Default 65,536. */
  readonly capacity?: number | undefined
  /** What the step `upgrade` does with the server's end. Default: nothing, to match `layerTls`. */
  readonly upgrade?: ServerUpgrade | undefined
}

/**
 * What happened on one connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionRecord {
  /** Every byte that was read from the client, including those within TLS. */
  readonly received: Uint8Array
  /** The same bytes as they were read; in memory, one array for each array that the client wrote. */
  readonly chunks: ReadonlyArray<Uint8Array>
  /** The contents that were read after DATA. */
  readonly contents: ReadonlyArray<Content>
  /** Lines of both sides in order: `C: ` for the client, `S: ` for the server, `-- ` for other events. */
  readonly transcript: ReadonlyArray<string>
}

/**
 * A server that runs scripts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scripted {
  /** Dials a new connection in memory for any endpoint, and runs the next script on it. */
  readonly socket: SocketService
  /** Provides `socket`, `layerTls` and CapabilityCache.layerNone. */
  readonly layer: Layer.Layer<Transport>
  /** Runs the next script on another connection, e.g. of a TCP listener. Ends when both sides are done. */
  readonly accept: (connection: ServerConnection) => Effect.Effect<void>
  /** Waits for the end of every script (of a function: every script that has begun). Fails when one of them fails. */
  readonly done: Effect.Effect<void, ScriptFailure>
  /** Runs the client, then waits for `done`. A script that fails interrupts the client and hides its error. */
  readonly verify: <A, E, R>(client: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ScriptFailure, R>
  /** Every byte of every client, in order of the connections. */
  readonly received: Effect.Effect<Uint8Array>
  /** `received` as UTF-8. */
  readonly receivedText: Effect.Effect<string>
  /** The transcripts of all connections, joined by line feeds. */
  readonly transcript: Effect.Effect<string>
  readonly connections: Effect.Effect<ReadonlyArray<ConnectionRecord>>
  /** The endpoints that were dialled, in order. */
  readonly dialled: Effect.Effect<ReadonlyArray<Endpoint>>
}

/**
 * What `branch` does with a command line: a script, or a function of the line without its CRLF.
 *
 * @since 0.1.0
 * @category models
 */
export type Handler = Script | ((line: string) => Script)

/**
 * @since 0.1.0
 * @category models
 */
export interface Path {
  /** The mailbox between the angle brackets; empty for the null reverse-path. */
  readonly address: string
  /** ESMTP parameters, e.g. `SIZE=120`. */
  readonly parameters: ReadonlyArray<string>
}

/**
 * A message that a capturing server has accepted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Message {
  /** The connection's number, from 1. */
  readonly connection: number
  readonly sender: Path
  /** The accepted recipients. */
  readonly recipients: ReadonlyArray<Path>
  /** The content without dot-stuffing. */
  readonly content: Uint8Array
  /** The content as UTF-8, with its transfer encodings. */
  readonly source: string
  /** The authenticated user. */
  readonly user: string | undefined
  /** Whether the message came after STARTTLS. */
  readonly secured: boolean
}

/**
 * A mailbox of a header field.
 *
 * @since 0.1.0
 * @category models
 */
export interface Mailbox {
  /** The decoded display name. */
  readonly name?: string | undefined
  readonly address: string
}

/**
 * An attachment or an embedded image of a parsed message.
 *
 * @since 0.1.0
 * @category models
 */
export interface Attachment {
  readonly filename: string | undefined
  /** The media type without parameters, e.g. `image/png`. */
  readonly contentType: string
  /** The Content-ID without angle brackets, to which `cid:` URLs of the HTML refer. */
  readonly cid: string | undefined
  /** The decoded bytes. */
  readonly content: Uint8Array
}

/**
 * A captured message, and what its reader sees: header fields and bodies without their encodings.
 *
 * @since 0.1.0
 * @category models
 */
export interface ParsedMessage extends Message {
  readonly subject: string | undefined
  /** The first mailbox of From. The envelope's sender is in `sender`. */
  readonly from: Mailbox | undefined
  /** The mailboxes of To, with the members of groups. The envelope's recipients are in `recipients`. */
  readonly to: ReadonlyArray<Mailbox>
  readonly cc: ReadonlyArray<Mailbox>
  readonly replyTo: ReadonlyArray<Mailbox>
  /** Every header field in its order, with its name in lower case and its value unfolded. */
  readonly headers: ReadonlyArray<{ readonly name: string; readonly value: string }>
  readonly text: string | undefined
  readonly html: string | undefined
  /** Where the links of the HTML point, then the http and https URLs in the text; each once. */
  readonly links: ReadonlyArray<string>
  readonly attachments: ReadonlyArray<Attachment>
}

/**
 * The credentials of AUTH PLAIN.
 *
 * @since 0.1.0
 * @category models
 */
export interface Credentials {
  readonly authorizationId: string
  readonly username: string
  readonly password: Redacted.Redacted
}

/**
 * What a capturing server announces and refuses. The functions return a reply line such as `550 5.1.1 no such user`, or
 * `undefined` to accept. After a reply with 421 the server closes the connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerOptions {
  /** The name in the greeting. Default `mx.test`. */
  readonly hostname?: string | undefined
  /** Default `"smtp"`. With `"lmtp"` the server expects LHLO and replies for each recipient (RFC 2033). */
  readonly protocol?: "smtp" | "lmtp" | undefined
  /** The lines of the EHLO reply after the first. The server acts on STARTTLS, AUTH, CHUNKING and SIZE. */
  readonly capabilities?: ReadonlyArray<string> | undefined
  /** Whether AUTH PLAIN succeeds. Default: always. */
  readonly authenticate?: ((credentials: Credentials) => boolean) | undefined
  /** The reply to MAIL. */
  readonly acceptSender?: ((sender: Path) => string | undefined) | undefined
  /** The reply to RCPT. */
  readonly accept?: ((recipient: Path) => string | undefined) | undefined
  /** The final reply; with LMTP, the one for the given recipient. */
  readonly acceptMessage?: ((message: Message, recipient: Path | undefined) => string | undefined) | undefined
  /** Bytes that each direction accepts while the other side does not read. Default 65,536. */
  readonly capacity?: number | undefined
  /** What STARTTLS does with the server's end. Default: nothing, to match `layerTls`. */
  readonly upgrade?: ServerUpgrade | undefined
}

/**
 * A server that captures messages.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service extends Pick<
  Scripted,
  "socket" | "layer" | "accept" | "transcript" | "connections"
> {
  /** The messages accepted so far, in order. */
  readonly messages: Effect.Effect<ReadonlyArray<Message>>
  /** `messages`, parsed by postal-mime, which must be installed (optional peer). */
  readonly parsedMessages: Effect.Effect<ReadonlyArray<ParsedMessage>, InboxError>
  /**
   * Waits for a message that matches, and returns the first one. Messages that arrived before count too. The message stays
   * in `messages`. The time limit follows Effect's Clock. Requires postal-mime (optional peer).
   */
  readonly waitFor: (
    predicate: (message: ParsedMessage) => boolean,
    timeout: Duration.DurationInput
  ) => Effect.Effect<ParsedMessage, InboxError>
  /** Returns the messages so far and forgets them. */
  readonly takeMessages: Effect.Effect<ReadonlyArray<Message>>
  /** Forgets the messages so far. */
  readonly clear: Effect.Effect<void>
}
