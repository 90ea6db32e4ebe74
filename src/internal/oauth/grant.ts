/** Obtains a token by each kind of grant. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import type { Client, Options, RefreshToken, ServiceAccount } from "../../SmtpOAuth.js"
import { withTimeLimit } from "../effect/timeLimit.js"
import { makeSigner } from "./assertion.js"
import { OAuthError } from "./error.js"
import type { OAuthSettings } from "./settings.js"
import type { CachedToken } from "./tokenCache.js"
import type { TokenForm, TokenResponse } from "./tokenEndpoint.js"
import { postForm } from "./tokenEndpoint.js"

type TokenRequest = Effect.Effect<TokenResponse, OAuthError>
type Post = (fields: TokenForm["fields"], client?: Client) => TokenRequest

/** Each run asks the endpoint once. The first one of a grant by refresh token uses that of the options. */
export const makeObtain = (
  client: HttpClient.HttpClient,
  settings: OAuthSettings
): Effect.Effect<Effect.Effect<CachedToken, OAuthError>, Invalid> => {
  const { endpoint, lifetimeMillis, options, refreshBeforeMillis, timeout, url } = settings
  const post: Post = (fields, by) =>
    withTimeLimit(
      postForm(client, url, formOf(options, fields, by)),
      timeout,
      () => new OAuthError({ reason: "Timeout", endpoint })
    )
  return Effect.map(makeRequest(settings, post), (request) =>
    Effect.gen(function* () {
      // The lifetime counts from the request: the endpoint does not say when it issued the token.
      const requestedAt = yield* Clock.currentTimeMillis
      const { accessToken, expiresIn } = yield* request
      const lifetime = expiresIn === undefined ? lifetimeMillis : expiresIn * 1000
      return {
        token: accessToken,
        staleAt: requestedAt + lifetime - Math.min(refreshBeforeMillis, lifetime / 2),
        expiresAt: requestedAt + lifetime
      }
    })
  )
}

const makeRequest = (settings: OAuthSettings, post: Post): Effect.Effect<TokenRequest, Invalid> => {
  const { grant } = settings.options
  switch (grant._tag) {
    case "ClientCredentials":
      return Effect.succeed(post([["grant_type", "client_credentials"]], grant.client))
    case "RefreshToken":
      return Effect.sync(() => byRefreshToken(grant, settings, post))
    case "ServiceAccount":
      return Effect.map(makeSigner(grant.privateKey, grant.keyId), (sign) =>
        Clock.currentTimeMillis.pipe(
          Effect.flatMap((now) => sign(claimsOf(settings, grant, now))),
          Effect.flatMap((assertion) =>
            post([
              ["grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
              ["assertion", assertion]
            ])
          )
        )
      )
  }
}

/** Uses the latest refresh token that the endpoint has issued. */
const byRefreshToken = (
  grant: RefreshToken,
  { options: { onRefreshToken }, timeout }: OAuthSettings,
  post: Post
): TokenRequest => {
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
      if (refreshToken === undefined || Redacted.value(refreshToken) === Redacted.value(latest)) {
        return Effect.void
      }
      latest = refreshToken
      return onRefreshToken === undefined
        ? Effect.void
        : onRefreshToken(refreshToken).pipe(
            (store) => withTimeLimit(store, timeout, () => "timeout"),
            Effect.catchAllCause(() => Effect.logWarning(notStored))
          )
    })
  )
}

const notStored =
  "onRefreshToken failed: the endpoint issued a new refresh token, and it was not stored. It is lost when this process ends."

const formOf = (
  { parameters, scope }: Options,
  fields: TokenForm["fields"],
  client: Client | undefined
): TokenForm => {
  const basic =
    client?.authentication === "basic" && client.secret !== undefined
      ? { id: client.id, secret: client.secret }
      : undefined
  const more: Array<TokenForm["fields"][number]> = Object.entries(parameters ?? {})
  if (scope !== undefined) more.push(["scope", scope])
  if (client !== undefined && basic === undefined) {
    more.push(["client_id", client.id])
    if (client.secret !== undefined) more.push(["client_secret", client.secret])
  }
  return { fields: [...fields, ...more], basic }
}

/** Google reads the scope from the assertion, others from the form: it is in both. */
const claimsOf = (
  { options, url }: OAuthSettings,
  { issuer, subject }: ServiceAccount,
  now: number
): Readonly<Record<string, unknown>> => {
  const iat = Math.floor(now / 1000)
  return { iss: issuer, sub: subject, scope: options.scope, aud: url.href, iat, exp: iat + 300 }
}
