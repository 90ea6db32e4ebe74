/** What is wrong with credentials whatever the server. A client checks when it is made, a session before AUTH. */
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid } from "../../protocol/Invalid.js"
import { minimumIterations } from "../../protocol/sasl/Scram.js"
import { checkIdentity, checkMechanismName, checkPassword, checkTrace } from "../../protocol/sasl/Values.js"
import type { Credentials } from "../../SmtpAuth.js"
import { oauth2Mechanisms, passwordMechanisms } from "../../SmtpAuth.js"

/** Shows no secret. Tokens, and passwords of an effect, are checked when they are obtained. */
export const problemOf = (credentials: Credentials): Invalid | undefined => {
  switch (credentials._tag) {
    case "Password": {
      const { authorizationId, maximumIterations, mechanisms, password, username } = credentials
      return (
        checkIdentity("username", username) ??
        (Redacted.isRedacted(password) ? checkPassword("password", Redacted.value(password)) : undefined) ??
        checkOptional(checkIdentity, "authorizationId", authorizationId) ??
        checkMechanisms(mechanisms, passwordMechanisms) ??
        (maximumIterations !== undefined && !(maximumIterations >= minimumIterations)
          ? invalid("maximumIterations", `is less than ${minimumIterations}`)
          : undefined)
      )
    }
    case "OAuth2":
      return (
        checkIdentity("username", credentials.username) ??
        checkMechanisms(credentials.mechanisms, oauth2Mechanisms)
      )
    case "External":
      return checkOptional(checkIdentity, "authorizationId", credentials.authorizationId)
    case "Anonymous":
      return checkOptional(checkTrace, "trace", credentials.trace)
    case "ProgramMechanism":
      return checkMechanismName("name", credentials.name)
  }
}

const checkMechanisms = (
  wanted: ReadonlyArray<string> | undefined,
  known: ReadonlyArray<string>
): Invalid | undefined => {
  if (wanted === undefined) return undefined
  if (wanted.length === 0) return invalid("mechanisms", "is empty")
  const unknown = wanted.map((name) => name.toUpperCase()).find((name) => !known.includes(name))
  return unknown === undefined
    ? undefined
    : invalid("mechanisms", `holds ${unknown}; known are ${known.join(", ")}`)
}

const checkOptional = (
  check: (field: string, value: string) => Invalid | undefined,
  field: string,
  value: string | undefined
): Invalid | undefined => (value === undefined ? undefined : check(field, value))
