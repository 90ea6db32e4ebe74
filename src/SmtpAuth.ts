/**
 * Credentials as values: who the client is, and which SASL mechanisms may be used to prove it. Nothing here
 * talks to a server; sessions do (`auth` in their options, or `authenticate`), by the rules of RFC 4954.
 *
 * With every kind of credentials a session sends nothing without TLS unless it was told `allowInsecureAuth`,
 * makes at most three attempts, and fails with `AuthenticationError` (its `reason` says what to do), or with
 * `InvalidArgument`, before anything is sent, when a value cannot be used: empty, over 1,024 octets, or with a
 * NUL, CR or LF in it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"

/**
 * What a session can authenticate with. Made by the constructors below; holds no secret in clear.
 *
 * @since 0.1.0
 * @category models
 */
export type Credentials = Password | OAuth2 | External | Anonymous | ProgramMechanism

/**
 * Options of all credentials.
 *
 * @since 0.1.0
 * @category models
 */
export interface CommonOptions {
  /**
   * Whether the first octets of a mechanism may travel on the AUTH line, which saves a round trip. `false` is for
   * servers that do not take them there; smtplib's `initial_response_ok`. Default `true`. A line that would be
   * longer than 512 octets always takes the slower form (RFC 4954 section 4).
   */
  readonly initialResponse?: boolean | undefined
}

/**
 * The mechanisms that prove a password.
 *
 * @since 0.1.0
 * @category models
 */
export type PasswordMechanism =
  | "SCRAM-SHA-512-PLUS"
  | "SCRAM-SHA-256-PLUS"
  | "SCRAM-SHA-1-PLUS"
  | "SCRAM-SHA-512"
  | "SCRAM-SHA-256"
  | "SCRAM-SHA-1"
  | "CRAM-MD5"
  | "PLAIN"
  | "LOGIN"

/**
 * The order in which password mechanisms are preferred: first those that also prove the server and bind to the
 * TLS channel, then those that prove the server, then the one that at least hides the password, then those that
 * send it. On verified TLS the last are sound, and what most servers offer; leave them out with `mechanisms` if
 * the server must never see the password.
 *
 * @since 0.1.0
 * @category models
 */
export const passwordMechanisms: ReadonlyArray<PasswordMechanism> = [
  "SCRAM-SHA-512-PLUS",
  "SCRAM-SHA-256-PLUS",
  "SCRAM-SHA-1-PLUS",
  "SCRAM-SHA-512",
  "SCRAM-SHA-256",
  "SCRAM-SHA-1",
  "CRAM-MD5",
  "PLAIN",
  "LOGIN"
]

/**
 * The mechanisms that present a bearer token.
 *
 * @since 0.1.0
 * @category models
 */
export type OAuth2Mechanism = "OAUTHBEARER" | "XOAUTH2"

/**
 * The standard before Google's older form of it.
 *
 * @since 0.1.0
 * @category models
 */
export const oauth2Mechanisms: ReadonlyArray<OAuth2Mechanism> = ["OAUTHBEARER", "XOAUTH2"]

/**
 * @since 0.1.0
 * @category models
 */
export interface PasswordOptions extends CommonOptions {
  readonly username: string
  readonly password: Redacted.Redacted
  /** The identity to act as, when it is not the user's own. CRAM-MD5 and LOGIN cannot express it and are left out. */
  readonly authorizationId?: string | undefined
  /** The mechanisms to use, the most preferred first, in any letter case. Default `passwordMechanisms`. */
  readonly mechanisms?: ReadonlyArray<PasswordMechanism | Lowercase<PasswordMechanism>> | undefined
  /**
   * The most iterations that a SCRAM server may ask this client to compute. Default 1,000,000, up to half a second of
   * one thread of the pool for each attempt; the least is always 4,096 (RFC 5802 section 5.1).
   */
  readonly maximumIterations?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Password extends PasswordOptions {
  readonly _tag: "Password"
}

/**
 * What the token effect is asked for.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenRequest {
  /** The server has refused the token given before: a cache should be passed over. */
  readonly refresh: boolean
  /**
   * The token that was refused. A cache that has come to hold another one meanwhile, for another session, can give
   * that and spare the endpoint a request.
   */
  readonly refused?: Redacted.Redacted | undefined
}

/**
 * Where an access token comes from: the token itself, an effect that obtains one, or a function that is told
 * whether the last one was refused. An error of it with a property `isTransient` that is `true` is taken for one that
 * may pass: `AuthenticationError` then has the reason `TokenUnavailable`, and is transient.
 *
 * @since 0.1.0
 * @category models
 */
export type Token =
  | Redacted.Redacted
  | Effect.Effect<Redacted.Redacted, unknown>
  | ((request: TokenRequest) => Effect.Effect<Redacted.Redacted, unknown>)

/**
 * @since 0.1.0
 * @category models
 */
export interface OAuth2Options extends CommonOptions {
  /** Usually the mail address. */
  readonly username: string
  readonly token: Token
  /** The mechanisms to use, the most preferred first, in any letter case. Default `oauth2Mechanisms`. */
  readonly mechanisms?: ReadonlyArray<OAuth2Mechanism | Lowercase<OAuth2Mechanism>> | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface OAuth2 extends OAuth2Options {
  readonly _tag: "OAuth2"
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ExternalOptions extends CommonOptions {
  /** The identity to act as; without it the server takes the one of the client certificate. */
  readonly authorizationId?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface External extends ExternalOptions {
  readonly _tag: "External"
}

/**
 * @since 0.1.0
 * @category models
 */
export interface AnonymousOptions extends CommonOptions {
  /** For the server's log: a mail address, or a word without `@`; at most 255 characters. */
  readonly trace?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Anonymous extends AnonymousOptions {
  readonly _tag: "Anonymous"
}

/**
 * One run of a program's own mechanism.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  /** What to say first. An empty array is a response too; absent means that the server speaks first. */
  readonly initialResponse?: Redacted.Redacted<Uint8Array> | undefined
  /** The response to a challenge of the server, both without base64. */
  readonly respond: (challenge: Uint8Array) => Effect.Effect<Redacted.Redacted<Uint8Array>, unknown>
  /**
   * Asked when the server announces success: `false` if it has not proved what the mechanism makes it prove.
   * Absent: success is believed.
   */
  readonly verified?: Effect.Effect<boolean, unknown> | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface MechanismOptions extends CommonOptions {
  /** As the server announces it, in any letter case. */
  readonly name: string
  /** Begins an exchange; run once for every AUTH, so that sessions which share the credentials share no state. */
  readonly begin: Effect.Effect<Exchange, unknown>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ProgramMechanism extends MechanismOptions {
  readonly _tag: "ProgramMechanism"
}

/**
 * A user name and a password. The first mechanism of `mechanisms` that the server announces is used; the next,
 * if the server does not know it after all (504). A server that refuses the password by SCRAM or CRAM-MD5 is
 * asked once more by PLAIN or LOGIN if TLS verified it, because many announce mechanisms for which they hold no
 * secret.
 *
 * For SCRAM, user name and password are prepared with SASLprep (RFC 4013); a value that cannot be prepared is
 * `InvalidArgument`. All other mechanisms send the strings as they are, in UTF-8: their servers compare octets,
 * and where they prepare, that is their part (RFC 4616 section 2).
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import * as Redacted from "effect/Redacted"
 * import { SmtpAuth } from "effect-smtplib"
 *
 * const auth = SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
 *
 * const neverInClear = SmtpAuth.password({
 *   username: "app",
 *   password: Redacted.make("secret"),
 *   mechanisms: ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
 * })
 * ```
 */
export const password = (options: PasswordOptions): Password => ({ ...options, _tag: "Password" })

/**
 * An OAuth 2.0 access token, by OAUTHBEARER (RFC 7628) or XOAUTH2. The token effect is run at authentication; if
 * the server refuses the token it is run once more, with `refresh: true`, and a token other than the refused one
 * is tried once. An error of the effect becomes `AuthenticationError` with reason `Token` (`TokenUnavailable` if it
 * is transient by its own word) and the error as its cause, so let no secret into it. One that takes longer than
 * `timeouts.auth` is interrupted, and the token is `TokenUnavailable`.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 * import { SmtpAuth } from "effect-smtplib"
 *
 * declare const cachedToken: Effect.Effect<Redacted.Redacted>
 * declare const freshToken: Effect.Effect<Redacted.Redacted>
 *
 * const auth = SmtpAuth.oauth2({
 *   username: "app@example.com",
 *   token: ({ refresh }) => (refresh ? freshToken : cachedToken)
 * })
 * ```
 */
export const oauth2 = (options: OAuth2Options): OAuth2 => ({ ...options, _tag: "OAuth2" })

/**
 * The identity that the server already knows from the lower layers, usually the client certificate given in
 * `tlsOptions` (RFC 4422 appendix A).
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { SmtpAuth } from "effect-smtplib"
 *
 * const auth = SmtpAuth.external()
 * ```
 */
export const external = (options: ExternalOptions = {}): External => ({ ...options, _tag: "External" })

/**
 * Nobody in particular, with a trace for the server's log if you wish (RFC 4505).
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { SmtpAuth } from "effect-smtplib"
 *
 * const auth = SmtpAuth.anonymous({ trace: "ann@example.com" })
 * ```
 */
export const anonymous = (options: AnonymousOptions = {}): Anonymous => ({ ...options, _tag: "Anonymous" })

/**
 * A mechanism of the program's own; smtplib's `auth(mechanism, authobject)`. Errors of its effects become
 * `AuthenticationError` with reason `Challenge` and the error as their cause, so let no secret into them; the
 * exchange is then cancelled. A server that never stops asking is cancelled after 16 challenges.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 * import { SmtpAuth } from "effect-smtplib"
 *
 * const auth = SmtpAuth.mechanism({
 *   name: "X-TICKET",
 *   begin: Effect.succeed({
 *     initialResponse: Redacted.make(new TextEncoder().encode("ticket")),
 *     respond: (challenge) => Effect.succeed(Redacted.make(challenge.toReversed()))
 *   })
 * })
 * ```
 */
export const mechanism = (options: MechanismOptions): ProgramMechanism => ({
  ...options,
  _tag: "ProgramMechanism"
})
