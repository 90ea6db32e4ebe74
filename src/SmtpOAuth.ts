/**
 * Access tokens for SmtpAuth from a token endpoint (RFC 6749), over the HttpClient of @effect/platform: by a refresh
 * token, by the client's own credentials, or by a service account's key; for Gmail, Microsoft 365 and any other
 * endpoint. A token is kept until shortly before it expires, and shared by all sessions. How a user gives consent,
 * and where the first refresh token comes from, is not its business.
 *
 * No secret is in its errors, logs and spans. The HttpClient sees them, since it sends them: one that follows
 * redirects by itself or logs bodies gives them away.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { signer } from "./internal/oauth/assertion.js"
import { invalidArgument } from "./internal/session/failure.js"
import { OAuthError } from "./internal/oauth/error.js"
import * as TokenCache from "./internal/oauth/tokenCache.js"
import type { Answer, Form } from "./internal/oauth/tokenEndpoint.js"
import * as TokenEndpoint from "./internal/oauth/tokenEndpoint.js"
import type { Invalid } from "./protocol/Invalid.js"
import { invalid, invalidChoice, isInvalid } from "./protocol/Invalid.js"
import { checkIdentity } from "./protocol/sasl/Values.js"
import * as SmtpAuth from "./SmtpAuth.js"
import type { InvalidArgument } from "./SmtpError.js"

export {
  /**
   * No access token could be had: `reason` and `code` say why. Sessions carry it as the cause of an
   * `AuthenticationError`.
   *
   * @since 0.1.0
   * @category errors
   */
  OAuthError
} from "./internal/oauth/error.js"

/**
 * Credentials from a token endpoint.
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
  /** For `auth` of any number of sessions. */
  readonly credentials: SmtpAuth.OAuth2
  /**
   * The token itself, for other uses: the one that is kept, or a new one. With `refresh` one that is not the
   * `refused` one. Concurrent callers share one request; interrupting one of them leaves the others waiting.
   */
  readonly token: (request?: SmtpAuth.TokenRequest) => Effect.Effect<Redacted.Redacted, OAuthError>
}

/**
 * What the tokens are asked with.
 *
 * @since 0.1.0
 * @category models
 */
export type Grant = RefreshToken | ClientCredentials | ServiceAccount

/**
 * The consent that a user has given before (RFC 6749 section 6).
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
 * Assertions signed by the key of a service account (RFC 7523 section 2.1), which is what Google has in place of
 * client credentials.
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
  /** Whom the account acts for, `sub`. */
  readonly subject?: string | undefined
}

/**
 * The program, as it is registered with the endpoint.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly id: string
  /** Public clients have none. */
  readonly secret?: Redacted.Redacted | undefined
  /** Whether the secret goes into the body or into HTTP Basic (RFC 6749 section 2.3.1). Default `"post"`. */
  readonly authentication?: "post" | "basic" | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Who authenticates to the SMTP server: usually the mail address. */
  readonly username: string
  /** `https`, or `http` on a loopback address. */
  readonly tokenUrl: string
  readonly grant: Grant
  /** Scopes, separated by spaces. */
  readonly scope?: string | undefined
  /** What else the endpoint wants in the body, e.g. `audience`; no secrets. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /** See SmtpAuth. */
  readonly mechanisms?: SmtpAuth.OAuth2Options["mechanisms"]
  /** See SmtpAuth. */
  readonly initialResponse?: boolean | undefined
  /** How long before its end a token is replaced, or half of its lifetime if that is less. Default 1 minute. */
  readonly refreshBefore?: Duration.DurationInput | undefined
  /** How long a token is taken to live when the endpoint does not say. Default 1 hour. */
  readonly lifetime?: Duration.DurationInput | undefined
  /** How long the endpoint may take. Default 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Hears of each refresh token that the endpoint gives in place of the one before, which it then may refuse: store
   * it, or the next start of the program has none. A failure is logged, and keeps nobody from the access token.
   */
  readonly onRefreshToken?: ((refreshToken: Redacted.Redacted) => Effect.Effect<void, unknown>) | undefined
}

/**
 * What a preset leaves to the program.
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
  /** With the scope `https://mail.google.com/`. */
  readonly refreshToken: Redacted.Redacted
}

/**
 * Gmail and Google Workspace, by the consent of the mailbox's owner.
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
export const gmail = ({ clientId, clientSecret, refreshToken, ...options }: GmailOptions): Options => ({
  ...options,
  tokenUrl: googleTokenUrl,
  grant: { _tag: "RefreshToken", refreshToken, client: { id: clientId, secret: clientSecret } }
})

const googleTokenUrl = "https://oauth2.googleapis.com/token"

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
 * Google Workspace, by a service account to which the domain has delegated the scope `https://mail.google.com/`. It
 * acts for `username`.
 *
 * @since 0.1.0
 * @category presets
 */
export const gmailServiceAccount = ({
  clientEmail,
  privateKey,
  privateKeyId,
  scope = "https://mail.google.com/",
  ...options
}: GmailServiceAccountOptions): Options => ({
  ...options,
  scope,
  tokenUrl: googleTokenUrl,
  grant: {
    _tag: "ServiceAccount",
    issuer: clientEmail,
    privateKey,
    keyId: privateKeyId,
    subject: options.username
  }
})

/**
 * @since 0.1.0
 * @category models
 */
export interface Microsoft365Options extends PresetOptions {
  /** The directory's id or one of its domains. */
  readonly tenant: string
  readonly clientId: string
  readonly clientSecret?: Redacted.Redacted | undefined
  /** The consent of the mailbox's owner, with the scope `SMTP.Send`; without it the application sends by itself. */
  readonly refreshToken?: Redacted.Redacted | undefined
}

/**
 * Microsoft 365: by the consent of the mailbox's owner if there is a refresh token, else by the application's own
 * permission `SMTP.SendAsApp`. Microsoft replaces refresh tokens: see `onRefreshToken`.
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
export const microsoft365 = ({
  clientId,
  clientSecret,
  refreshToken,
  scope,
  tenant,
  ...options
}: Microsoft365Options): Options => {
  const client = { id: clientId, secret: clientSecret }
  return {
    ...options,
    scope:
      scope ??
      (refreshToken === undefined
        ? "https://outlook.office365.com/.default"
        : "https://outlook.office.com/SMTP.Send offline_access"),
    tokenUrl: `https://login.microsoftonline.com/${encodeURIComponent(tenant)}/oauth2/v2.0/token`,
    grant:
      refreshToken === undefined
        ? { _tag: "ClientCredentials", client }
        : { _tag: "RefreshToken", refreshToken, client }
  }
}

/**
 * Credentials whose tokens come from the endpoint, through the HttpClient of the surroundings. Nothing is asked of the
 * endpoint before the first session authenticates.
 *
 * - A token is kept until `refreshBefore` its end. If it cannot be replaced then for a reason that may pass, it serves
 *   until it has expired.
 * - A token that the SMTP server refused is replaced once; of the sessions that were refused with the same one, the
 *   first asks for all.
 * - One request is under way at a time, for all who wait. It belongs to the scope, and not to any of them: interrupting
 *   them does not end it, since with the answer a new refresh token may be lost. Closing the scope does.
 * - Nothing is tried twice here. `isTransient` of the error says whether a later try may succeed, and sessions and
 *   clients go by it.
 *
 * Fails with `InvalidArgument` for options that cannot be.
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
    const settings = yield* Effect.mapError(readOptions(options), invalidArgument)
    const ask = yield* Effect.mapError(makeAsk(client, settings), invalidArgument)
    const token = yield* TokenCache.make({
      obtain: obtain(ask, settings),
      mayPass: ({ isTransient }) => isTransient,
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
 * Credentials as a service; see `make`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SmtpOAuth, InvalidArgument, HttpClient.HttpClient> =>
  Layer.scoped(SmtpOAuth, make(options))

/**
 * Credentials from configuration: every option is a Config; see `config` for names that are ready.
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
): Layer.Layer<SmtpOAuth, InvalidArgument | ConfigError.ConfigError, HttpClient.HttpClient> =>
  Layer.scoped(SmtpOAuth, Effect.flatMap(Config.unwrap(options), make))

// Settings

interface Settings {
  readonly options: Options
  readonly url: URL
  /** As errors name it. */
  readonly endpoint: string
  readonly refreshBefore: number
  readonly lifetime: number
  readonly timeout: Duration.Duration
}

const readOptions = (options: Options): Either.Either<Settings, Invalid> => {
  const url = readUrl(options.tokenUrl)
  if (isInvalid(url)) return Either.left(url)
  const refreshBefore = readDuration("refreshBefore", options.refreshBefore ?? "1 minute")
  if (isInvalid(refreshBefore)) return Either.left(refreshBefore)
  const lifetime = readDuration("lifetime", options.lifetime ?? "1 hour")
  if (isInvalid(lifetime)) return Either.left(lifetime)
  const timeout = readDuration("timeout", options.timeout ?? "10 seconds")
  if (isInvalid(timeout)) return Either.left(timeout)
  if (Duration.toMillis(timeout) === 0)
    return Either.left(invalid("timeout", "is zero: no endpoint can meet it"))
  const wrong = checkIdentity("username", options.username) ?? checkGrant(options.grant)
  if (wrong !== undefined) return Either.left(wrong)
  return Either.right({
    options,
    url,
    endpoint: url.origin + url.pathname,
    refreshBefore: Duration.toMillis(refreshBefore),
    lifetime: Duration.toMillis(lifetime),
    timeout
  })
}

const loopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/

const readUrl = (tokenUrl: string): URL | Invalid => {
  if (!URL.canParse(tokenUrl)) return invalid("tokenUrl", "is not a URL")
  const url = new URL(tokenUrl)
  if (url.username !== "" || url.password !== "") return invalid("tokenUrl", "holds a user name or password")
  if (url.hash !== "") return invalid("tokenUrl", "has a fragment, which RFC 6749 section 3.2 forbids")
  // RFC 6749 section 3.2: the secrets travel in it.
  if (url.protocol === "https:" || (url.protocol === "http:" && loopback.test(url.hostname))) return url
  return invalid("tokenUrl", "is not https; http is for loopback addresses only")
}

const readDuration = (field: string, value: Duration.DurationInput): Duration.Duration | Invalid =>
  Option.getOrElse(Duration.decodeUnknown(value), () =>
    invalid(field, `is not a duration, such as "30 seconds"`)
  )

const checkGrant = (grant: Grant): Invalid | undefined => {
  if (grant._tag === "ServiceAccount") return grant.issuer === "" ? empty("grant.issuer") : undefined
  const { authentication, id, secret } = grant.client
  if (id === "") return empty("grant.client.id")
  if (secret !== undefined && Redacted.value(secret) === "") return empty("grant.client.secret")
  if (secret === undefined && grant._tag === "ClientCredentials") {
    return invalid("grant.client.secret", "is missing, and without it anybody could be the client")
  }
  if (grant._tag === "RefreshToken" && Redacted.value(grant.refreshToken) === "") {
    return empty("grant.refreshToken")
  }
  return invalidChoice("grant.client.authentication", authentication, ["post", "basic"])
}

const empty = (field: string): Invalid => invalid(field, "is empty")

// Requests

type Ask = Effect.Effect<Answer, OAuthError>

const makeAsk = (client: HttpClient.HttpClient, settings: Settings): Effect.Effect<Ask, Invalid> => {
  const { endpoint, options, timeout, url } = settings
  const { grant } = options
  const post = (fields: Form["fields"], by: Client | undefined): Ask =>
    Effect.timeoutFail(TokenEndpoint.post(client, url, formOf(options, fields, by)), {
      duration: timeout,
      onTimeout: () => new OAuthError({ reason: "Timeout", endpoint })
    })
  switch (grant._tag) {
    case "ClientCredentials":
      return Effect.succeed(post([["grant_type", "client_credentials"]], grant.client))
    case "RefreshToken":
      return Effect.sync(() => askWithRefreshToken(grant, settings, post))
    case "ServiceAccount":
      return Effect.map(signer(grant.privateKey, grant.keyId), (sign) =>
        Effect.flatMap(
          Effect.flatMap(Clock.currentTimeMillis, (now) => sign(claimsOf(settings, grant, now))),
          (assertion) =>
            post(
              [
                ["grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
                ["assertion", assertion]
              ],
              undefined
            )
        )
      )
  }
}

/** Remembers the latest refresh token. */
const askWithRefreshToken = (
  grant: RefreshToken,
  { options: { onRefreshToken }, timeout }: Settings,
  post: (fields: Form["fields"], by: Client) => Ask
): Ask => {
  let latest = grant.refreshToken
  return Effect.suspend(() =>
    post(
      [
        ["grant_type", "refresh_token"],
        ["refresh_token", latest]
      ],
      grant.client
    )
  ).pipe(
    Effect.tap(({ refreshToken }) => {
      if (refreshToken === undefined || Redacted.value(refreshToken) === Redacted.value(latest))
        return Effect.void
      latest = refreshToken
      return onRefreshToken === undefined
        ? Effect.void
        : onRefreshToken(refreshToken).pipe(
            Effect.timeout(timeout),
            Effect.catchAllCause(() => notKept)
          )
    })
  )
}

const notKept = Effect.logWarning(
  "onRefreshToken failed: the endpoint has replaced the refresh token, and the new one is known to this process alone"
)

const formOf = ({ parameters, scope }: Options, fields: Form["fields"], client: Client | undefined): Form => {
  const basic =
    client?.authentication === "basic" && client.secret !== undefined
      ? { id: client.id, secret: client.secret }
      : undefined
  const more: Array<Form["fields"][number]> = Object.entries(parameters ?? {})
  if (scope !== undefined) more.push(["scope", scope])
  if (client !== undefined && basic === undefined) {
    more.push(["client_id", client.id])
    if (client.secret !== undefined) more.push(["client_secret", client.secret])
  }
  return { fields: [...fields, ...more], basic }
}

/** Google takes scopes from the assertion, others from the form: both have them. */
const claimsOf = (
  { options, url }: Settings,
  { issuer, subject }: ServiceAccount,
  now: number
): Readonly<Record<string, unknown>> => {
  const issuedAt = Math.floor(now / 1000)
  return {
    iss: issuer,
    sub: subject,
    scope: options.scope,
    aud: url.href,
    iat: issuedAt,
    exp: issuedAt + 300
  }
}

const obtain = (
  ask: Ask,
  { lifetime, refreshBefore }: Settings
): Effect.Effect<TokenCache.Held, OAuthError> =>
  Effect.gen(function* () {
    // Its time runs from when it was asked for: nobody knows when it was made.
    const askedAt = yield* Clock.currentTimeMillis
    const { accessToken, expiresIn } = yield* ask
    const lives = expiresIn === undefined ? lifetime : expiresIn * 1000
    return {
      token: accessToken,
      staleAt: askedAt + lives - Math.min(refreshBefore, lives / 2),
      expiresAt: askedAt + lives
    }
  })

// Configuration

/**
 * Options under names that begin with the prefix:
 *
 * - `_USERNAME`; `_PROVIDER` (`gmail` or `microsoft365`, with `_TENANT`) or else `_TOKEN_URL`
 * - `_CLIENT_ID`, `_CLIENT_SECRET`, `_CLIENT_AUTHENTICATION` (`post` or `basic`)
 * - `_REFRESH_TOKEN`, without which the client acts by itself; or for a service account `_ISSUER`, `_PRIVATE_KEY`,
 *   `_KEY_ID` and `_SUBJECT`
 * - `_SCOPE`, `_REFRESH_BEFORE`, `_LIFETIME`, `_TIMEOUT`
 *
 * What is missing or cannot be is a ConfigError that names the key.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpOAuth from "effect-smtplib/SmtpOAuth"
 *
 * const credentials = Effect.flatMap(SmtpOAuth.config("SMTP_OAUTH"), SmtpOAuth.make)
 * ```
 *
 * @since 0.1.0
 * @category config
 */
export const config = (prefix: string): Config.Config<Options> => {
  const key: Key = (name) => `${prefix}_${name}`
  return Config.mapOrFail(valuesOf(key), (values) => fromValues(values, key))
}

type Key = (name: string) => string

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

const valuesOf = (key: Key) =>
  Config.all({
    common: Config.all({
      username: Config.nonEmptyString(key("USERNAME")),
      scope: optional(Config.nonEmptyString(key("SCOPE"))),
      refreshBefore: optional(Config.duration(key("REFRESH_BEFORE"))),
      lifetime: optional(Config.duration(key("LIFETIME"))),
      timeout: optional(Config.duration(key("TIMEOUT")))
    }),
    provider: optional(Config.literal("gmail", "microsoft365")(key("PROVIDER"))),
    tenant: optional(Config.nonEmptyString(key("TENANT"))),
    tokenUrl: optional(
      Config.validate(Config.string(key("TOKEN_URL")), {
        message: "Expected a URL with https, or with http and a loopback address",
        validation: (url) => !isInvalid(readUrl(url))
      })
    ),
    clientId: optional(Config.nonEmptyString(key("CLIENT_ID"))),
    clientSecret: optional(Config.redacted(Config.nonEmptyString(key("CLIENT_SECRET")))),
    authentication: optional(Config.literal("post", "basic")(key("CLIENT_AUTHENTICATION"))),
    refreshToken: optional(Config.redacted(Config.nonEmptyString(key("REFRESH_TOKEN")))),
    issuer: optional(Config.nonEmptyString(key("ISSUER"))),
    privateKey: optional(Config.redacted(Config.nonEmptyString(key("PRIVATE_KEY")))),
    keyId: optional(Config.nonEmptyString(key("KEY_ID"))),
    subject: optional(Config.nonEmptyString(key("SUBJECT")))
  })

type Values = Config.Config.Success<ReturnType<typeof valuesOf>>

type Read<A> = Either.Either<A, ConfigError.ConfigError>

const present = <A>(value: A | undefined, key: string, why: string): Read<A> =>
  value === undefined
    ? Either.left(ConfigError.MissingData([key], `Expected ${key} to exist ${why}`))
    : Either.right(value)

const fromValues = (values: Values, key: Key): Read<Options> => {
  const { common, provider, tokenUrl } = values
  if (provider === "gmail") return gmailFrom(values, key)
  if (provider === "microsoft365") return microsoft365From(values, key)
  return Either.gen(function* () {
    return {
      ...common,
      tokenUrl: yield* present(tokenUrl, key("TOKEN_URL"), `where ${key("PROVIDER")} does not`),
      grant: yield* grantFrom(values, key)
    }
  })
}

const gmailFrom = (values: Values, key: Key): Read<Options> =>
  Either.gen(function* () {
    const { common, issuer, keyId, privateKey } = values
    if (privateKey !== undefined) {
      const clientEmail = yield* present(issuer, key("ISSUER"), `where ${key("PRIVATE_KEY")} does`)
      return gmailServiceAccount({ ...common, clientEmail, privateKey, privateKeyId: keyId })
    }
    return gmail({
      ...common,
      clientId: yield* present(values.clientId, key("CLIENT_ID"), "for gmail"),
      clientSecret: yield* present(values.clientSecret, key("CLIENT_SECRET"), "for gmail"),
      refreshToken: yield* present(values.refreshToken, key("REFRESH_TOKEN"), "for gmail")
    })
  })

const microsoft365From = (values: Values, key: Key): Read<Options> =>
  Either.gen(function* () {
    const { id, secret } = yield* clientFrom(values, key)
    return microsoft365({
      ...values.common,
      tenant: yield* present(values.tenant, key("TENANT"), "for microsoft365"),
      clientId: id,
      clientSecret: secret,
      refreshToken: values.refreshToken
    })
  })

const clientFrom = (
  { authentication, clientId, clientSecret, refreshToken }: Values,
  key: Key
): Read<Client> =>
  Either.gen(function* () {
    const id = yield* present(clientId, key("CLIENT_ID"), "for this grant")
    if (refreshToken === undefined) {
      yield* present(clientSecret, key("CLIENT_SECRET"), `where ${key("REFRESH_TOKEN")} does not`)
    }
    return { id, secret: clientSecret, authentication }
  })

const grantFrom = (values: Values, key: Key): Read<Grant> => {
  const { issuer, keyId, privateKey, refreshToken, subject } = values
  if (privateKey !== undefined) {
    const named = present(issuer, key("ISSUER"), `where ${key("PRIVATE_KEY")} does`)
    return Either.map(named, (name) => ({
      _tag: "ServiceAccount",
      issuer: name,
      privateKey,
      keyId,
      subject
    }))
  }
  return Either.map(clientFrom(values, key), (client) =>
    refreshToken === undefined
      ? { _tag: "ClientCredentials", client }
      : { _tag: "RefreshToken", refreshToken, client }
  )
}
