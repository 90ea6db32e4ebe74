/** The options of a session, as SmtpSession exports them. */
import type * as Duration from "effect/Duration"
import type { Chunking, Pipelining } from "../../protocol/Plan.js"
import type { ProxyHeader } from "../../protocol/ProxyHeader.js"
import type { Limits } from "../../protocol/Reply.js"
import type { Credentials } from "../../SmtpAuth.js"
import type { ClientAttributes } from "../../SmtpCommand.js"
import type { Listener } from "../../SmtpTranscript.js"
import type { TlsOptions } from "../../TlsUpgrade.js"
import type { TimeLimitOptions } from "../session/timeLimits.js"

/**
 * When a session uses TLS.
 *
 * - `"starttls"` begins in clear and goes on only after STARTTLS (RFC 3207): if the server does not offer it, or
 *   an attacker removes the offer, the session ends before anything is sent
 * - `"implicit"` is on TLS from the first byte (RFC 8314)
 * - `"opportunistic"` uses STARTTLS if it is offered, and clear text if not: this protects against eavesdropping, not against
 *   an active attacker. Without `auth` the certificate is not verified unless the TLS options say so, and `authenticate`
 *   then sends nothing
 * - `"none"` uses no TLS
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

/** The options of a session. */
export interface SessionOptions {
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
  /** When the session is on TLS. Default `"starttls"`; `"implicit"` on port 465, `"none"` for a UNIX socket. */
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
   * the first chunk waits for the replies to the envelope, and the first of a session is a single byte, which shows that the
   * server does not read a chunk as commands. With `"eager"` it does not, so that a whole `advanced.window` of
   * messages is in flight at once. Use `"eager"` only with a server that is known to read and drop the chunks of a refused
   * transaction, since RFC 3030 section 4 shows the other order. A server that reads a refused chunk as commands breaks the
   * session, and would execute the text of a message. `"eager"` also trusts the server to give exactly one reply to each
   * command: with one reply too many, the replies behind it are taken for those of the next command until the session ends. A Warning then names the messages that
   * were told to be accepted.
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
