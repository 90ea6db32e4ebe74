/**
 * Which text a message may hold, and where. A fault ends a sentence that begins with the field's name.
 */

const controlPattern = /\p{Cc}|[\u2028\u2029]/u
// HT is white space of header fields (RFC 5322 section 3.2.2).
const controlButTabPattern = /(?!\t)(?:\p{Cc}|[\u2028\u2029])/u

const names: Readonly<Record<string, string>> = { "\r": "a CR", "\n": "an LF", "\0": "a NUL" }

const controlName = (character: string): string =>
  names[character] ??
  `the control character U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`

const faultBy = (pattern: RegExp, text: unknown): string | undefined => {
  const control = typeof text === "string" ? pattern.exec(text)?.[0] : undefined
  return control === undefined ? bodyFault(text) : `holds ${controlName(control)}`
}

/** For the value of an unstructured field, such as a subject. */
export const headerFault = (text: unknown): string | undefined => faultBy(controlButTabPattern, text)

/** For a display name or a file name. */
export const displayFault = (text: unknown): string | undefined => faultBy(controlPattern, text)

/** For text of the body. */
export const bodyFault = (text: unknown): string | undefined => {
  if (text === undefined) return undefined
  if (typeof text !== "string") return "is not a string"
  return /\p{Cs}/u.test(text) ? "holds half a surrogate pair, which is no character" : undefined
}

export const withLineEnds = (text: string): string => text.replace(/\r\n|\r|\n/g, "\r\n")
