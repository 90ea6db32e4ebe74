/** Validates the options of SmtpOAuth. */
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidChoice, isInvalid } from "../../protocol/Invalid.js"
import { checkIdentity } from "../../protocol/sasl/Values.js"
import type { Grant, Options } from "../../SmtpOAuth.js"
import { duration, timeLimit } from "../options/fields.js"

export interface OAuthSettings {
  readonly options: Options
  readonly url: URL
  /** The URL without its query, for errors. */
  readonly endpoint: string
  readonly refreshBeforeMillis: number
  readonly lifetimeMillis: number
  readonly timeout: Duration.Duration
}

export const readOAuthOptions = (options: Options): OAuthSettings | Invalid => {
  const url = readTokenUrl(options.tokenUrl)
  if (isInvalid(url)) return url
  const { grant, lifetime = "1 hour", refreshBefore = "1 minute", timeout = "10 seconds", username } = options
  return (
    duration.problemOf(refreshBefore, "refreshBefore") ??
    duration.problemOf(lifetime, "lifetime") ??
    timeLimit.problemOf(timeout, "timeout") ??
    checkIdentity("username", username) ??
    checkGrant(grant) ?? {
      options,
      url,
      endpoint: url.origin + url.pathname,
      refreshBeforeMillis: Duration.toMillis(refreshBefore),
      lifetimeMillis: Duration.toMillis(lifetime),
      timeout: Duration.decode(timeout)
    }
  )
}

const loopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/

/** RFC 6749 section 3.2: https, since the request carries secrets, and no fragment. */
export const readTokenUrl = (tokenUrl: string): URL | Invalid => {
  if (!URL.canParse(tokenUrl)) return invalid("tokenUrl", "is not a URL")
  const url = new URL(tokenUrl)
  if (url.username !== "" || url.password !== "") return invalid("tokenUrl", "holds a user name or password")
  if (url.hash !== "") return invalid("tokenUrl", "has a fragment, which RFC 6749 section 3.2 forbids")
  if (url.protocol === "https:" || (url.protocol === "http:" && loopback.test(url.hostname))) return url
  return invalid("tokenUrl", "is not https; http is for loopback addresses only")
}

const checkGrant = (grant: Grant): Invalid | undefined => {
  if (grant._tag === "ServiceAccount") return grant.issuer === "" ? empty("grant.issuer") : undefined
  const { authentication, id, secret } = grant.client
  if (id === "") return empty("grant.client.id")
  if (secret !== undefined && Redacted.value(secret) === "") return empty("grant.client.secret")
  if (secret === undefined && grant._tag === "ClientCredentials") {
    return invalid("grant.client.secret", "is missing; client credentials require it")
  }
  if (grant._tag === "RefreshToken" && Redacted.value(grant.refreshToken) === "") {
    return empty("grant.refreshToken")
  }
  return invalidChoice("grant.client.authentication", authentication, ["post", "basic"])
}

const empty = (field: string): Invalid => invalid(field, "is empty")
