/** The options of SmtpOAuth from Effect's Config. */
import * as Config from "effect/Config"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Grant, Options } from "../../SmtpOAuth.js"
import type { Checked } from "../effect/config.js"
import { checked, checks, missing, optional, valid } from "../effect/config.js"
import { gmail, gmailServiceAccount, microsoft365 } from "./presets.js"
import { readTokenUrl } from "./settings.js"

export const oauthConfig = (prefix: string): Config.Config<Options> => {
  const key = (name: string) => `${prefix}_${name}`
  const present: Present = (value, name, when) =>
    value === undefined ? missing(key(name), `Expected ${key(name)} to exist ${when}`) : valid(value)
  return checked(valuesOf(key), (values) => optionsOf(values, present))
}

type Present = <A>(value: A | undefined, name: string, when: string) => Checked<A>

const valuesOf = (key: (name: string) => string) => {
  const text = (name: string) => optional(Config.nonEmptyString(key(name)))
  const secret = (name: string) => optional(Config.redacted(Config.nonEmptyString(key(name))))
  const duration = (name: string) => optional(Config.duration(key(name)))
  return Config.all({
    common: Config.all({
      username: Config.nonEmptyString(key("USERNAME")),
      scope: text("SCOPE"),
      refreshBefore: duration("REFRESH_BEFORE"),
      lifetime: duration("LIFETIME"),
      timeout: duration("TIMEOUT")
    }),
    provider: optional(Config.literal("gmail", "microsoft365")(key("PROVIDER"))),
    tenant: text("TENANT"),
    tokenUrl: optional(
      Config.validate(Config.string(key("TOKEN_URL")), {
        message: "Expected a URL with https, or with http and a loopback address",
        validation: (url) => !isInvalid(readTokenUrl(url))
      })
    ),
    clientId: text("CLIENT_ID"),
    clientSecret: secret("CLIENT_SECRET"),
    authentication: optional(Config.literal("post", "basic")(key("CLIENT_AUTHENTICATION"))),
    refreshToken: secret("REFRESH_TOKEN"),
    issuer: text("ISSUER"),
    privateKey: secret("PRIVATE_KEY"),
    keyId: text("KEY_ID"),
    subject: text("SUBJECT")
  })
}

type Values = Config.Config.Success<ReturnType<typeof valuesOf>>

const optionsOf = (values: Values, present: Present): Checked<Options> =>
  checks(function* () {
    const { clientSecret, common, keyId, privateKey, provider, refreshToken, subject } = values
    const tokenUrl =
      provider === undefined ? yield* present(values.tokenUrl, "TOKEN_URL", "without PROVIDER") : ""
    if (privateKey !== undefined && provider !== "microsoft365") {
      const issuer = yield* present(values.issuer, "ISSUER", "with PRIVATE_KEY")
      return provider === "gmail"
        ? gmailServiceAccount({ ...common, clientEmail: issuer, privateKey, privateKeyId: keyId })
        : { ...common, tokenUrl, grant: { _tag: "ServiceAccount", issuer, privateKey, keyId, subject } }
    }
    const clientId = yield* present(values.clientId, "CLIENT_ID", "for this grant")
    if (provider === "gmail") {
      return gmail({
        ...common,
        clientId,
        clientSecret: yield* present(clientSecret, "CLIENT_SECRET", "for gmail"),
        refreshToken: yield* present(refreshToken, "REFRESH_TOKEN", "for gmail")
      })
    }
    if (refreshToken === undefined) yield* present(clientSecret, "CLIENT_SECRET", "without REFRESH_TOKEN")
    if (provider === "microsoft365") {
      const tenant = yield* present(values.tenant, "TENANT", "for microsoft365")
      return microsoft365({ ...common, tenant, clientId, clientSecret, refreshToken })
    }
    const client = { id: clientId, secret: clientSecret, authentication: values.authentication }
    const grant: Grant =
      refreshToken === undefined
        ? { _tag: "ClientCredentials", client }
        : { _tag: "RefreshToken", refreshToken, client }
    return { ...common, tokenUrl, grant }
  })
