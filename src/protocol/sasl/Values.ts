/**
 * Which strings can be credentials. The mechanisms take them as given: a NUL in a password would move the borders of a
 * PLAIN message, a U+0001 those of a bearer message.
 */
import type { Invalid } from "../Invalid.js"
import { invalid } from "../Invalid.js"

/** Octets of a value: escaped and encoded it fits an authentication line of 12,288 octets (RFC 4954 section 4). */
const maximumLength = 1024

/** What is wrong with a password. */
export const checkPassword = (field: string, value: string): Invalid | undefined => {
  if (value === "") return invalid(field, "is empty")
  if (value.includes("\0")) return invalid(field, "holds a NUL")
  if (/[\r\n]/.test(value))
    return invalid(field, "holds a CR or LF; was it read from a file with its line end?")
  if (/\p{Surrogate}/u.test(value)) return invalid(field, "holds half of a surrogate pair")
  if (new TextEncoder().encode(value).length > maximumLength) {
    return invalid(field, `is longer than ${maximumLength} bytes`)
  }
  return undefined
}

/** What is wrong with a user name or an authorization identity. */
export const checkIdentity = (field: string, value: string): Invalid | undefined =>
  checkPassword(field, value) ??
  (/\p{Cc}/u.test(value) ? invalid(field, "holds a control character") : undefined)

/** What is wrong with a bearer token (RFC 6750 section 2.1, taken generously: any visible ASCII). */
export const checkToken = (field: string, value: string): Invalid | undefined => {
  if (value === "") return invalid(field, "is empty")
  if (!/^[\x21-\x7e]+$/.test(value)) return invalid(field, "holds white space or other than visible ASCII")
  return undefined
}

/** What is wrong with the trace of ANONYMOUS (RFC 4505 section 2). */
export const checkTrace = (field: string, value: string): Invalid | undefined => {
  if (Array.from(value).length > 255) return invalid(field, "is longer than 255 characters")
  return checkIdentity(field, value)
}

/** What is wrong with the name of a mechanism (RFC 4422 section 3.1). */
export const checkMechanismName = (field: string, value: string): Invalid | undefined =>
  /^[A-Za-z0-9_-]{1,20}$/.test(value)
    ? undefined
    : invalid(field, "is not 1 to 20 letters, digits, hyphens and underscores")
