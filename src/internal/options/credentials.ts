/** Credentials as they are written: a text for each part, and the kind told by the parts that are there. */
import type * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import type { Credentials } from "../../SmtpAuth.js"
import * as SmtpAuth from "../../SmtpAuth.js"
import type { Rows } from "./fields.js"
import { choice, flag, list, option, secret, text } from "./fields.js"

export interface WrittenCredentials {
  readonly auth?: "password" | "oauth2" | "external" | "anonymous"
  readonly username?: string
  readonly password?: Redacted.Redacted
  readonly token?: Redacted.Redacted
  readonly authorizationId?: string
  readonly mechanisms?: ReadonlyArray<string>
  readonly initialResponse?: boolean
}

export const credentialRows: Rows<WrittenCredentials> = {
  auth: option(
    choice("password", "oauth2", "external", "anonymous"),
    "by what is given",
    "Kind of credentials."
  ),
  username: option(text, "none", 'User name; the trace under `"anonymous"`.'),
  password: option(secret, "none", "Password of the user."),
  token: option(secret, "none", "OAuth access token of the user."),
  authorizationId: option(text, "none", "The user to act as, if it is another one."),
  mechanisms: option(list, "all", "SASL mechanisms that may be used, separated by commas."),
  initialResponse: option(flag, "true", "Sends the first response with AUTH.")
}

const partsOf: Readonly<
  Record<NonNullable<WrittenCredentials["auth"]>, ReadonlyArray<keyof WrittenCredentials>>
> = {
  password: ["auth", "username", "password", "authorizationId", "mechanisms", "initialResponse"],
  oauth2: ["auth", "username", "token", "mechanisms", "initialResponse"],
  external: ["auth", "authorizationId", "initialResponse"],
  anonymous: ["auth", "username", "initialResponse"]
}

const kindOf = ({ auth, password, token, username }: WrittenCredentials): WrittenCredentials["auth"] => {
  if (auth !== undefined) return auth
  if (token !== undefined) return "oauth2"
  return username !== undefined || password !== undefined ? "password" : undefined
}

/** A part that would be ignored. */
const strayOf = (written: WrittenCredentials, kind: WrittenCredentials["auth"]): Invalid | undefined => {
  const known: ReadonlyArray<string> = kind === undefined ? [] : partsOf[kind]
  const stray = Object.keys(written).find((name) => !known.includes(name))
  if (stray === undefined) return undefined
  return invalid(
    stray,
    kind === undefined ? "is of no use without a username" : `does not go with auth "${kind}"`
  )
}

export const readCredentials = (written: WrittenCredentials): Credentials | undefined | Invalid => {
  const { authorizationId, initialResponse, mechanisms, password, token, username } = written
  const common = { initialResponse }
  const kind = kindOf(written)
  const stray = strayOf(written, kind)
  if (stray !== undefined) return stray
  switch (kind) {
    case undefined:
      return undefined
    case "external":
      return SmtpAuth.external({ ...common, authorizationId })
    case "anonymous":
      return SmtpAuth.anonymous({ ...common, trace: username })
    case "password": {
      const known = readMechanisms(mechanisms, SmtpAuth.passwordMechanisms)
      if (isInvalid(known)) return known
      if (username === undefined) return noUsername(written)
      if (password === undefined) return invalid("password", "is missing: there is a username")
      return SmtpAuth.password({ ...common, username, password, authorizationId, mechanisms: known })
    }
    case "oauth2": {
      const known = readMechanisms(mechanisms, SmtpAuth.oauth2Mechanisms)
      if (isInvalid(known)) return known
      if (username === undefined) return noUsername(written)
      if (token === undefined) return invalid("token", 'is missing: auth is "oauth2"')
      return SmtpAuth.oauth2({ ...common, username, token, mechanisms: known })
    }
  }
}

const noUsername = ({ auth, password, token }: WrittenCredentials): Invalid => {
  const secret = token !== undefined ? "token" : password !== undefined ? "password" : undefined
  return invalid(
    "username",
    `is missing: ${secret === undefined ? `auth is "${auth}"` : `there is a ${secret}`}`
  )
}

const readMechanisms = <A extends string>(
  names: ReadonlyArray<string> | undefined,
  known: ReadonlyArray<A>
): ReadonlyArray<A> | undefined | Invalid => {
  if (names === undefined) return undefined
  const found = names.flatMap((name) => known.find((each) => each === name.toUpperCase()) ?? [])
  return found.length === names.length
    ? found
    : invalid("mechanisms", `has a name that is none of ${known.join(", ")}`)
}
