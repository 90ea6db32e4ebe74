/**
 * What text a message may hold, and where. A fault is the end of a sentence that starts with the field's name.
 */

const controlPattern = /\p{Cc}|[\u2028\u2029]/u
// HT is white space of header fields (RFC 5322 section 3.2.2).
const controlButTabPattern = /(?!\t)(?:\p{Cc}|[\u2028\u2029])/u
const surrogatePattern = /\p{Cs}/u

const controlName = (character: string): string => {
  switch (character) {
    case "\r":
      return "a CR"
    case "\n":
      return "an LF"
    case "\0":
      return "a NUL"
    default: {
      const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")
      return `the control character U+${code}`
    }
  }
}

const faultBy = (pattern: RegExp, text: unknown): string | undefined => {
  if (text === undefined) return undefined
  if (typeof text !== "string") return "is no string"
  const control = pattern.exec(text)
  if (control !== null) return `holds ${controlName(control[0])}`
  return bodyFault(text)
}

/** What is wrong with a value of an unstructured field, such as a subject. */
export const headerFault = (text: unknown): string | undefined => faultBy(controlButTabPattern, text)

/** What is wrong with a display name or a file name. */
export const displayFault = (text: unknown): string | undefined => faultBy(controlPattern, text)

/** What is wrong with text of the body: only what UTF-8 cannot express. */
export const bodyFault = (text: unknown): string | undefined => {
  if (text === undefined) return undefined
  if (typeof text !== "string") return "is no string"
  return surrogatePattern.test(text) ? "holds half a surrogate pair, which is no character" : undefined
}

/** Text with CRLF as its only line end. */
export const withLineEnds = (text: string): string => text.replace(/\r\n|\r|\n/g, "\r\n")
