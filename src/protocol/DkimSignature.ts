/**
 * The text of a DKIM-Signature field and of what it signs: which fields, in which canonical form (RFC 6376 sections
 * 3.4 and 5.4). It hashes nothing, knows no keys, and does not look at the body.
 */
import { trimEnd } from "./HeaderSection.js"

/** How a field or the body may change on the way without breaking the signature (RFC 6376 section 3.4). */
export type Form = "relaxed" | "simple"

export type Algorithm = "rsa-sha256" | "ed25519-sha256"

/**
 * A field of the message: its name, and the whole of it without its last line end, one character for each octet.
 */
export interface SignedField {
  readonly name: string
  readonly text: string
}

/** All tags of a signature but the last (RFC 6376 section 3.5). */
export interface Tags {
  readonly algorithm: Algorithm
  readonly header: Form
  readonly body: Form
  readonly domain: string
  readonly selector: string
  /** Seconds since 1970. */
  readonly signedAt: number
  readonly expiresAt: number | undefined
  /** The names of the signed fields, in order, each as often as it is signed. */
  readonly names: ReadonlyArray<string>
  /** In base64. */
  readonly bodyHash: string
}

/**
 * Fields that a signature covers if nothing else is asked for: those of RFC 6376 section 5.4.1 and RFC 8058.
 */
export const defaultFields: ReadonlyArray<string> = [
  "From",
  "Sender",
  "Reply-To",
  "To",
  "Cc",
  "Subject",
  "Date",
  "Message-ID",
  "In-Reply-To",
  "References",
  "MIME-Version",
  "Content-Type",
  "Content-Transfer-Encoding",
  "Content-ID",
  "Content-Description",
  "Resent-Date",
  "Resent-From",
  "Resent-Sender",
  "Resent-To",
  "Resent-Cc",
  "Resent-Message-ID",
  "List-Id",
  "List-Help",
  "List-Unsubscribe",
  "List-Unsubscribe-Post",
  "List-Subscribe",
  "List-Post",
  "List-Owner",
  "List-Archive"
]

/**
 * Fields that nobody may add behind the signature, if nothing else is asked for: what readers are shown, and what
 * says how to read it.
 */
export const defaultOversigned: ReadonlyArray<string> = [
  "From",
  "Reply-To",
  "To",
  "Cc",
  "Subject",
  "Date",
  "Message-ID",
  "MIME-Version",
  "Content-Type",
  "Content-Transfer-Encoding"
]

const sameName = (left: string, right: string): boolean => left.toLowerCase() === right.toLowerCase()

/**
 * The names for `h=`: each as often as the message has the field, and once more if it is oversigned, so that one
 * more of it would break the signature (RFC 6376 section 5.4.2).
 */
export const signedNames = (
  fields: ReadonlyArray<SignedField>,
  names: ReadonlyArray<string>,
  oversigned: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const all = [...names, ...oversigned].map((name) => name.toLowerCase())
  return [...new Set(all)].flatMap((name) => {
    const present = fields.filter((field) => sameName(field.name, name)).length
    const more = oversigned.some((other) => sameName(other, name)) ? 1 : 0
    return Array.from({ length: present + more }, () => name)
  })
}

/** A field in its canonical form (RFC 6376 sections 3.4.1 and 3.4.2). */
export const canonicalField = (text: string, form: Form): string => {
  if (form === "simple") return text
  const colon = text.indexOf(":")
  const name = trimEnd(text.slice(0, colon))
  const body = text
    .slice(colon + 1)
    .replaceAll("\r\n", "")
    .replace(/[ \t]+/g, " ")
    .replace(/^ | $/g, "")
  return `${name.toLowerCase()}:${body}`
}

/**
 * The signed fields, each once, from the last of its name upwards; a name without a field left stands for nothing.
 */
const selected = (
  fields: ReadonlyArray<SignedField>,
  names: ReadonlyArray<string>
): ReadonlyArray<SignedField> => {
  const left = [...fields]
  return names.flatMap((name) => {
    const position = left.findLastIndex((field) => sameName(field.name, name))
    return position === -1 ? [] : left.splice(position, 1)
  })
}

const lineLength = 74

/** Joins what may stand on one line together, and breaks the line between them. */
const fold = (pieces: ReadonlyArray<string>): string => {
  const lines: Array<string> = []
  let line = ""
  for (const piece of pieces) {
    if (line !== "" && line.length + piece.length > lineLength) {
      lines.push(line.trimEnd())
      line = ""
    }
    line += piece
  }
  return [...lines, line.trimEnd()].join("\r\n ")
}

const chunks = (text: string): ReadonlyArray<string> => text.match(/.{1,72}/g) ?? []

/** The field up to and including `b=`, folded. */
export const unsigned = (tags: Tags): string => {
  const { algorithm, body, bodyHash, domain, expiresAt, header, names, selector, signedAt } = tags
  const last = names.length - 1
  return `${fold([
    "DKIM-Signature: ",
    "v=1; ",
    `a=${algorithm}; `,
    `c=${header}/${body}; `,
    `d=${domain}; `,
    `s=${selector}; `,
    `t=${signedAt}; `,
    ...(expiresAt === undefined ? [] : [`x=${expiresAt}; `]),
    ...names.map((name, index) => `${index === 0 ? "h=" : ""}${name}${index === last ? "; " : ":"}`),
    `bh=${bodyHash}; `
  ])}\r\n b=`
}

/**
 * The text to sign: the fields that `unsigned` names, and `unsigned` itself without its last line end, one character
 * for each octet (RFC 6376 section 3.7).
 */
export const signingText = (
  fields: ReadonlyArray<SignedField>,
  { header, names }: Pick<Tags, "header" | "names">,
  unsignedField: string
): string =>
  [
    ...selected(fields, names).map(({ text }) => `${canonicalField(text, header)}\r\n`),
    canonicalField(unsignedField, header)
  ].join("")

/** The whole field with its line end. The signature is in base64. */
export const complete = (unsignedField: string, signature: string): string =>
  `${unsignedField}${chunks(signature).join("\r\n ")}\r\n`
