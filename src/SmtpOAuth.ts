/**
 * Access tokens for SmtpAuth from a token endpoint (RFC 6749), over the HttpClient of @effect/platform: with a refresh
 * token, with client credentials, or with the key of a service account. Presets exist for Gmail and Microsoft 365. A
 * token is cached until shortly before it expires, and shared by all sessions. Get the first refresh token, and the
 * user's consent, elsewhere.
 *
 * Errors, logs and spans hold no secrets. The HttpClient sees them: do not use one that follows redirects on its own or
 * logs bodies.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { ConfigError } from "./internal/effect/config.js"
import { oauthConfig } from "./internal/oauth/config.js"
import { OAuthError } from "./internal/oauth/error.js"
import { makeObtain } from "./internal/oauth/grant.js"
import * as presets from "./internal/oauth/presets.js"
import { readOAuthOptions } from "./internal/oauth/settings.js"
import { makeTokenCache } from "./internal/oauth/tokenCache.js"
import { invalidArgument } from "./internal/session/failure.js"
import { isInvalid } from "./protocol/Invalid.js"
import * as SmtpAuth from "./SmtpAuth.js"
import type { InvalidArgument } from "./SmtpError.js"

export { OAuthError } from "./internal/oauth/error.js"

/**
 * Credentials with tokens from a token endpoint. `layer` and `layerConfig` provide it.
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpOAuth extends Context.Tag("effect-smtplib/SmtpOAuth")<SmtpOAuth, Service>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** The option `auth` for any number of sessions. */
  readonly credentials: SmtpAuth.OAuth2
  /**
   * Returns the cached token or a new one. With `refresh`, returns one other than `refused`. Concurrent callers share
   * one request, and interrupting one of them does not affect the others.
   */
  readonly token: (request?: SmtpAuth.TokenRequest) => Effect.Effect<Redacted.Redacted, OAuthError>
}

/**
 * How tokens are requested.
 *
 * @since 0.1.0
 * @category models
 */
export type Grant = RefreshToken | ClientCredentials | ServiceAccount

/**
 * A refresh token from an earlier consent of the user (RFC 6749 section 6).
 *
 * @since 0.1.0
 * @category models
 */
export interface RefreshToken {
  readonly _tag: "RefreshToken"
  readonly refreshToken: Redacted.Redacted
  readonly client: Client
}

/**
 * The client's own credentials, without a user (RFC 6749 section 4.4).
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientCredentials {
  readonly _tag: "ClientCredentials"
  readonly client: Client
}

/**
 * Assertions signed with the key of a service account (RFC 7523 section 2.1), Google's form of client credentials.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServiceAccount {
  readonly _tag: "ServiceAccount"
  /** The name of the account, `iss`; Google's `client_email`. */
  readonly issuer: string
  /** RSA, PKCS #8 in PEM; Google's `private_key`. */
  readonly privateKey: Redacted.Redacted
  /** Google's `private_key_id`. */
  readonly keyId?: string | undefined
  /** The user that the account acts for, `sub`. */
  readonly subject?: string | undefined
}

/**
 * Your application, as registered with the endpoint.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly id: string
  /** Not for public clients. */
  readonly secret?: Redacted.Redacted | undefined
  /** Sends the secret in the body or by HTTP Basic (RFC 6749 section 2.3.1). Default `"post"`. */
  readonly authentication?: "post" | "basic" | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The user name at the SMTP server, usually the mail address. */
  readonly username: string
  /** `https`, or `http` with a loopback address. */
  readonly tokenUrl: string
  readonly grant: Grant
  /** Scopes, separated by spaces. */
  readonly scope?: string | undefined
  /** Further fields of the request body, e.g. `audience`; no secrets. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /** See SmtpAuth. */
  readonly mechanisms?: SmtpAuth.OAuth2Options["mechanisms"]
  /** See SmtpAuth. */
  readonly initialResponse?: boolean | undefined
  /** How long before it expires a token is replaced, at most half of its lifetime. Default 1 minute. */
  readonly refreshBefore?: Duration.DurationInput | undefined
  /** The lifetime of a token if the endpoint does not say. Default 1 hour. */
  readonly lifetime?: Duration.DurationInput | undefined
  /** The time limit of one request. Default 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Called with each new refresh token. Store it: the endpoint may refuse the old one from then on. A failure is logged
   * and does not fail the request for an access token.
   */
  readonly onRefreshToken?: ((refreshToken: Redacted.Redacted) => Effect.Effect<void, unknown>) | undefined
}

/**
 * The options that a preset does not set.
 *
 * @since 0.1.0
 * @category models
 */
export type PresetOptions = Omit<Options, "tokenUrl" | "grant">

/**
 * @since 0.1.0
 * @category models
 */
export interface GmailOptions extends PresetOptions {
  readonly clientId: string
  readonly clientSecret: Redacted.Redacted
  /** For the scope `https://mail.google.com/`. */
  readonly refreshToken: Redacted.Redacted
}

/**
 * Options for Gmail and Google Workspace, with a refresh token of the mailbox's owner.
 *
 * @example
 * ```ts
 * import * as Redacted from "effect/Redacted"
 * import * as SmtpOAuth from "effect-smtplib/SmtpOAuth"
 *
 * declare const secrets: { readonly client: Redacted.Redacted; readonly refresh: Redacted.Redacted }
 * const layer = SmtpOAuth.layer(
 *   SmtpOAuth.gmail({
 *     username: "app@gmail.com",
 *     clientId: "1234.apps.googleusercontent.com",
 *     clientSecret: secrets.client,
 *     refreshToken: secrets.refresh
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category presets
 */
export const gmail: (options: GmailOptions) => Options = presets.gmail

/**
 * @since 0.1.0
 * @category models
 */
export interface GmailServiceAccountOptions extends PresetOptions {
  /** `client_email` of the account's key. */
  readonly clientEmail: string
  /** `private_key` of the account's key. */
  readonly privateKey: Redacted.Redacted
  /** `private_key_id` of the account's key. */
  readonly privateKeyId?: string | undefined
}

/**
 * Options for Google Workspace, with a service account that acts for `username`. The domain must have delegated the
 * scope `https://mail.google.com/` to it.
 *
 * @since 0.1.0
 * @category presets
 */
export const gmailServiceAccount: (options: GmailServiceAccountOptions) => Options =
  presets.gmailServiceAccount

/**
 * @since 0.1.0
 * @category models
 */
export interface Microsoft365Options extends PresetOptions {
  /** The directory's id or one of its domains. */
  readonly tenant: string
  readonly clientId: string
  readonly clientSecret?: Redacted.Redacted | undefined
  /** For the scope `SMTP.Send`. Without it the application sends with its own permission. */
  readonly refreshToken?: Redacted.Redacted | undefined
}

/**
 * Options for Microsoft 365: with a refresh token of the mailbox's owner, or else with the application's permission
 * `SMTP.SendAsApp`. Microsoft replaces refresh tokens: set `onRefreshToken`.
 *
 * @example
 * ```ts
 * import * as Redacted from "effect/Redacted"
 * import * as SmtpOAuth from "effect-smtplib/SmtpOAuth"
 *
 * declare const clientSecret: Redacted.Redacted
 * const layer = SmtpOAuth.layer(
 *   SmtpOAuth.microsoft365({
 *     username: "app@example.com",
 *     tenant: "example.com",
 *     clientId: "11111111-2222-3333-4444-555555555555",
 *     clientSecret
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category presets
 */
export const microsoft365: (options: Microsoft365Options) => Options = presets.microsoft365

/**
 * Makes credentials whose tokens come from the endpoint. The first session that authenticates requests the first token.
 *
 * - A token is replaced `refreshBefore` it expires. If that fails with a transient error, the old one serves until it
 *   expires.
 * - A token that the SMTP server refuses is replaced once, for all sessions that were refused with it.
 * - One request is in flight at a time. It belongs to the scope: interrupting its callers does not end it, since a new
 *   refresh token could be lost with the answer. Closing the scope does.
 * - Failed requests are not retried here. Sessions and clients retry if `isTransient` of the error is true.
 *
 * Fails with `InvalidArgument` for an invalid option.
 *
 * @example
 * ```ts
 * import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 * import { NodeSmtp, SmtpSession } from "effect-smtplib"
 * import * as SmtpOAuth from "effect-smtplib/SmtpOAuth"
 *
 * declare const clientSecret: Redacted.Redacted
 * const program = Effect.gen(function* () {
 *   const { credentials } = yield* SmtpOAuth.make({
 *     username: "app@example.com",
 *     tokenUrl: "https://login.example.com/token",
 *     grant: { _tag: "ClientCredentials", client: { id: "app", secret: clientSecret } }
 *   })
 *   return yield* SmtpSession.make({ host: "mail.example.com", auth: credentials })
 * }).pipe(Effect.scoped, Effect.provide([NodeSmtp.layer, FetchHttpClient.layer]))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Service, InvalidArgument, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const settings = readOAuthOptions(options)
    if (isInvalid(settings)) return yield* invalidArgument(settings)
    const token = yield* makeTokenCache({
      obtain: yield* Effect.mapError(makeObtain(client, settings), invalidArgument),
      isTransient: (error) => error.isTransient,
      closed: () => new OAuthError({ reason: "Closed", endpoint: settings.endpoint })
    })
    return {
      token,
      credentials: SmtpAuth.oauth2({
        username: options.username,
        token,
        mechanisms: options.mechanisms,
        initialResponse: options.initialResponse
      })
    }
  })

/**
 * Provides credentials. See `make`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SmtpOAuth, InvalidArgument, HttpClient.HttpClient> =>
  Layer.scoped(SmtpOAuth, make(options))

/**
 * Provides credentials with options from configuration: a Config of your own for each option, or `config`.
 *
 * @example
 * ```ts
 * import * as SmtpOAuth from "effect-smtplib/SmtpOAuth"
 *
 * const layer = SmtpOAuth.layerConfig(SmtpOAuth.config("SMTP_OAUTH"))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SmtpOAuth, InvalidArgument | ConfigError, HttpClient.HttpClient> =>
  Layer.scoped(SmtpOAuth, Effect.flatMap(Config.unwrap(options), make))

/**
 * Reads options from keys with the prefix:
 *
 * - `_USERNAME`; `_PROVIDER` (`gmail` or `microsoft365`, the latter with `_TENANT`) or `_TOKEN_URL`
 * - `_CLIENT_ID`, `_CLIENT_SECRET`, `_CLIENT_AUTHENTICATION` (`post` or `basic`)
 * - `_REFRESH_TOKEN`, or for a service account `_ISSUER`, `_PRIVATE_KEY`, `_KEY_ID` and `_SUBJECT`; with neither, the
 *   grant is client credentials
 * - `_SCOPE`, `_REFRESH_BEFORE`, `_LIFETIME`, `_TIMEOUT`
 *
 * A missing or invalid value is a ConfigError that names the key.
 *
 * @since 0.1.0
 * @category config
 */
export const config: (prefix: string) => Config.Config<Options> = oauthConfig
