/**
 * The parameters of MAIL and RCPT (RFC 5321 section 4.1.2) as a program gives them. ParameterTable holds what is known
 * of each, ParameterLine makes and reads command lines.
 */
import type { Capabilities } from "./Capabilities.js"

/** A parameter for which there is no typed field, e.g. `{ keyword: "XVERP" }`. */
export interface ExtraParameter {
  /** Letters, digits and hyphens. */
  readonly keyword: string
  /** Printable ASCII without space and `=`. It is sent unchanged. */
  readonly value?: string | undefined
  /**
   * The EHLO keyword that the server has to announce. Known for SOLICIT, MTRK, TRANSID, CONPERM and CONNEG; any other
   * keyword is sent unchecked without it.
   */
  readonly extension?: string | undefined
}

/** When the message is no longer worth delivering (RFC 2852). */
export interface DeliverBy {
  /** Seconds from now, -999999999 to 999999999; positive with mode `R`. */
  readonly seconds: number
  /** `R` returns the message when the time is up, `N` notifies the sender and goes on. */
  readonly mode: "R" | "N"
  /** Asks each relay for a "relayed" notification. */
  readonly trace?: boolean | undefined
}

/** The parameters of MAIL. */
export interface MailParameters {
  /** SIZE: bytes of the message with CRLF line ends and without dot-stuffing (RFC 1870). */
  readonly size?: number | undefined
  /**
   * BODY (RFC 6152; BINARYMIME by RFC 3030, requires CHUNKING). `7BIT` is left out for a server without 8BITMIME, which
   * assumes it.
   */
  readonly body?: "7BIT" | "8BITMIME" | "BINARYMIME" | undefined
  /** SMTPUTF8 (RFC 6531). */
  readonly smtputf8?: boolean | undefined
  /** RET: how much of the message a failure notification returns (RFC 3461 section 4.3). */
  readonly ret?: "FULL" | "HDRS" | undefined
  /** ENVID: printable ASCII, at most 100 bytes once encoded (RFC 3461 section 4.4). */
  readonly envelopeId?: string | undefined
  /** AUTH: who submitted the message; `null` is `<>`, not known or not told (RFC 4954 section 5). */
  readonly auth?: string | null | undefined
  /** REQUIRETLS: every hop over verified TLS, or no delivery (RFC 8689). */
  readonly requireTls?: boolean | undefined
  /** MT-PRIORITY: -9 to 9 (RFC 6710). */
  readonly priority?: number | undefined
  /** BY (RFC 2852). */
  readonly deliverBy?: DeliverBy | undefined
  /** HOLDFOR: seconds, 1 to 999999999 (RFC 4865). Not together with `holdUntil`. */
  readonly holdFor?: number | undefined
  /** HOLDUNTIL: rounded up to a full second (RFC 4865). */
  readonly holdUntil?: Date | undefined
  /** Further parameters. */
  readonly extra?: ReadonlyArray<ExtraParameter> | undefined
}

/** The conditions of NOTIFY other than NEVER. */
export type NotifyCondition = "SUCCESS" | "FAILURE" | "DELAY"

/** An original recipient with its address type, e.g. `x400`. */
export interface OriginalRecipient {
  readonly type: string
  readonly address: string
}

/** The parameters of RCPT. */
export interface RecipientParameters {
  /** NOTIFY: when to notify the sender (RFC 3461 section 4.1). */
  readonly notify?: "NEVER" | ReadonlyArray<NotifyCondition> | undefined
  /**
   * ORCPT: at most 500 bytes once encoded (RFC 3461 section 4.2). A string has the type `rfc822`, or `utf-8` if it is
   * not ASCII (RFC 6533).
   */
  readonly originalRecipient?: string | OriginalRecipient | undefined
  /** RRVS: deliver only if the mailbox has had one owner since then (RFC 7293). */
  readonly rrvs?: { readonly since: Date; readonly action?: "C" | "R" | undefined } | undefined
  /** Further parameters. */
  readonly extra?: ReadonlyArray<ExtraParameter> | undefined
}

/** A request that the server of this session cannot fulfil. */
export interface Unsupported {
  readonly _tag: "Unsupported"
  /** The EHLO keyword. */
  readonly extension: string
  readonly reason: string
}

export const unsupported = (extension: string, reason: string): Unsupported => ({
  _tag: "Unsupported",
  extension,
  reason
})

/** The session that parameters are checked against. */
export interface Context {
  /** From the latest EHLO. */
  readonly capabilities: Capabilities
  /** Whether the session runs over TLS with a verified certificate. */
  readonly tls: boolean
  /** Milliseconds since 1970; without it HOLDUNTIL may lie in the past. */
  readonly now?: number | undefined
}
