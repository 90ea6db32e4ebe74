/** What is known of a mail provider, as plain data. SmtpProvider exports these types. */

/**
 * What a provider documents of its limits. Those that depend on the account or the plan are not here.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  /** Connections at the same time. */
  readonly sessions?: number
  readonly messagesPerMinute?: number
  readonly messagesPerDay?: number
  readonly recipientsPerMessage?: number
  readonly recipientsPerDay?: number
  /** The largest message, in bytes, with its transfer encodings. */
  readonly messageBytes?: number
}

/**
 * What a known reply means.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reading {
  readonly code: number
  /** The enhanced status code, e.g. `5.7.9`; without it any matches. */
  readonly enhancedCode?: string
  /** A part of the reply's text, in any letter case; without it any matches. */
  readonly text?: string
  /**
   * - `Throttled`: slow down, and try again soon
   * - `QuotaExceeded`: nothing more until the quota is renewed or raised
   * - `AuthDisabled`: the account may not authenticate in this way
   * - `AuthFailed`: the credentials are wrong, or of the wrong kind
   * - `SenderRefused`: the sender is not verified
   */
  readonly meaning: "Throttled" | "QuotaExceeded" | "AuthDisabled" | "AuthFailed" | "SenderRefused"
  /** A sentence for the person who runs the program: what happened, and what to do. */
  readonly sentence: string
}

/**
 * A provider: options of a session or client, and what is known beside them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Profile {
  readonly host: string
  readonly port: number
  readonly tls: "starttls" | "implicit" | "none"
  /** Sessions of a client, where the provider limits them. */
  readonly maxSessions?: number
  /** The mechanisms that the provider documents for passwords. The server's EHLO reply decides. */
  readonly mechanisms?: ReadonlyArray<string>
  readonly limits: Limits
  readonly readings: ReadonlyArray<Reading>
}
