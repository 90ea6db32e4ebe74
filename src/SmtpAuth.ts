/**
 * Credentials as values: who the client is, and which SASL mechanisms may prove it. Give them to a session or client as
 * `auth`, or to `authenticate` of a session (RFC 4954).
 *
 * Credentials are sent over TLS only, unless the session has `allowInsecureAuth`. A session says AUTH at most three times
 * and then fails with `AuthenticationError`, whose `reason` says what to do. A value that is empty, longer than 1,024
 * bytes, or holds NUL, CR or LF is `InvalidArgument`, and nothing is sent.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { passwordMechanismTable } from "./protocol/sasl/PasswordMechanisms.js"

/**
 * What a session can authenticate with. Use the constructors below; secrets stay Redacted.
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
   * Whether a mechanism's first message may stand on the AUTH line, which saves a round trip. Set `false` for servers that
   * do not accept it there. Default `true`. A message that would make the line longer than 512 bytes always follows in a
   * line of its own (RFC 4954 section 4).
   */
  readonly initialResponse?: boolean | undefined
}

/**
 * The mechanisms that prove a password.
 *
 * @since 0.1.0
 * @category models
 */
export type PasswordMechanism = (typeof passwordMechanismTable)[number]["name"]

/**
 * The password mechanisms in the order of preference: SCRAM bound to the TLS channel, SCRAM, CRAM-MD5, and then PLAIN and
 * LOGIN, which send the password. These are sound on verified TLS, and most servers offer nothing else; there CRAM-MD5 comes
 * last, since many servers announce it without a secret for the user.
 *
 * @since 0.1.0
 * @category models
 */
export const passwordMechanisms: ReadonlyArray<PasswordMechanism> = passwordMechanismTable.map(
  ({ name }) => name
)

/**
 * The mechanisms that present a bearer token.
 *
 * @since 0.1.0
 * @category models
 */
export type OAuth2Mechanism = "OAUTHBEARER" | "XOAUTH2"

/**
 * The token mechanisms in the order of preference.
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
  /**
   * An effect is run for each session, and once more if the server refuses the password: if it then gives another one, that
   * is tried at once. So a password that is rotated needs no restart. `NodeSmtp.passwordFile` reads a file. Errors are
   * treated like those of a token.
   */
  readonly password: Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown>
  /** The identity to act as, if not the user's own. CRAM-MD5 and LOGIN cannot express it and are not used then. */
  readonly authorizationId?: string | undefined
  /** The mechanisms to use, in the order of preference and in any letter case. Default `passwordMechanisms`. */
  readonly mechanisms?: ReadonlyArray<PasswordMechanism | Lowercase<PasswordMechanism>> | undefined
  /**
   * The most iterations that a SCRAM server may demand. Default 1,000,000, which take up to half a second of one thread of
   * the pool for each attempt. At least 4,096 (RFC 5802 section 5.1).
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
 * What a function that obtains tokens is called with.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenRequest {
  /** Whether the server has refused the token given before: do not give it again from a cache. */
  readonly refresh: boolean
  /** The refused token. A cache that meanwhile holds another one can give that. */
  readonly refused?: Redacted.Redacted | undefined
}

/**
 * An access token, an effect that obtains one, or a function that is told whether the last one was refused. If its error
 * has a property `isTransient` that is `true`, `AuthenticationError` has the reason `TokenUnavailable` and is transient.
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
  /** The mechanisms to use, in the order of preference and in any letter case. Default `oauth2Mechanisms`. */
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
  /** The identity to act as. Default: the one of the client certificate. */
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
 * One run of a program's own mechanism. Challenges and responses are without base64.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  /** The first message, which may be empty. Absent if the server speaks first. */
  readonly initialResponse?: Redacted.Redacted<Uint8Array> | undefined
  readonly respond: (challenge: Uint8Array) => Effect.Effect<Redacted.Redacted<Uint8Array>, unknown>
  /** Runs after the server has announced success: `false` if the server has not proved itself. Default: it has. */
  readonly verified?: Effect.Effect<boolean, unknown> | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface MechanismOptions extends CommonOptions {
  /** As the server announces it, in any letter case. */
  readonly name: string
  /** Begins an exchange. Runs once for every AUTH, so that sessions with the same credentials share no state. */
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
 * Authenticates with a user name and a password, by the first of `mechanisms` that the server announces.
 *
 * The next mechanism is tried if the server does not know the first after all (500 to 504), or hangs up on it: then on a
 * new connection, except by `authenticate`. After 535 to SCRAM or CRAM-MD5 on verified TLS, PLAIN or LOGIN is tried once,
 * because many servers announce mechanisms for which they hold no secret. Leave PLAIN and LOGIN out of `mechanisms` if the
 * server must never see the password.
 *
 * Once a -PLUS mechanism has worked at an endpoint, the CapabilityCache remembers it. Neither its absence nor its refusal then
 * leads to PLAIN or LOGIN, unless `mechanisms` holds no -PLUS name.
 *
 * SCRAM prepares user name and password with SASLprep (RFC 4013); a value that cannot be prepared is `InvalidArgument`. The
 * other mechanisms send both as they are, in UTF-8.
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
 * Authenticates with an OAuth 2.0 access token, by OAUTHBEARER (RFC 7628) or XOAUTH2.
 *
 * The token effect runs at authentication. If the server refuses the exchange by a 5yz other than 504, the effect runs once
 * more with `refresh: true`, and a different token is tried: on a new connection if the server has hung up. An error of the effect is the cause of an `AuthenticationError` with the reason `Token` or
 * `TokenUnavailable`, so keep secrets out of it. After `timeouts.auth` the effect is interrupted: `TokenUnavailable`.
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
 * Authenticates by EXTERNAL, with an identity that the server knows already: usually the client certificate of
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
 * Authenticates as nobody in particular, by ANONYMOUS (RFC 4505).
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
 * Authenticates by a mechanism of your own.
 *
 * If an effect of it fails, the exchange is cancelled, and `AuthenticationError` has the reason `Challenge` and the error as
 * its cause, so keep secrets out of it. An exchange is cancelled after 16 challenges.
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
