/**
 * The text of a DKIM-Signature field and of the header fields that it signs, in their canonical form (RFC 6376 sections
 * 3.4 and 5.4). Hashes and keys are left to the caller.
 */
import { trimEnd } from "./HeaderSection.js"

/** How a field or the body may change on the way without breaking the signature (RFC 6376 section 3.4). */
export type Form = "relaxed" | "simple"

/** How a signature is made. */
export type Algorithm = "rsa-sha256" | "ed25519-sha256"

export interface SignedField {
  readonly name: string
  /** The whole field without its last line end, one character per octet. */
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
 * The header fields that a signature covers by default, if the message has them (RFC 6376 section 5.4.1, RFC 8058).
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
 * The header fields of which nobody may add one more, by default: those that readers see, and those of MIME. Date,
 * Message-ID, To and MIME-Version count only if the message has them, since submission servers add them (RFC 6409
 * section 8).
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

const addedByServers: ReadonlySet<string> = new Set(["Date", "Message-ID", "To", "MIME-Version"])

const sameName = (left: string, right: string): boolean => left.toLowerCase() === right.toLowerCase()

/**
 * The names for `h=`: each as often as the message has the field, and once more if it is oversigned, so that another
 * field of that name breaks the signature (RFC 6376 section 5.4.2). Without `oversigned`, the default applies.
 */
export const signedNames = (
  fields: ReadonlyArray<SignedField>,
  names: ReadonlyArray<string>,
  oversigned: ReadonlyArray<string> | undefined
): ReadonlyArray<string> => {
  const guarded =
    oversigned ??
    defaultOversigned.filter(
      (name) => !addedByServers.has(name) || fields.some((field) => sameName(field.name, name))
    )
  const all = [...names, ...guarded].map((name) => name.toLowerCase())
  return [...new Set(all)].flatMap((name) => {
    const present = fields.filter((field) => sameName(field.name, name)).length
    const more = guarded.some((other) => sameName(other, name)) ? 1 : 0
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

/** The signed fields, each once, from the last of its name upwards. A name without a field left selects nothing. */
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

/** Folds a field, between pieces only. */
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
 * The text to sign: the fields that `unsigned` names, then `unsigned` itself without its last line end, one character
 * per octet (RFC 6376 section 3.7).
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

/** The whole field with its line end; the signature is base64. */
export const complete = (unsignedField: string, signature: string): string =>
  `${unsignedField}${chunks(signature).join("\r\n ")}\r\n`
