/**
 * Header fields that programs write themselves, and the fields of mailing lists (RFC 2369, RFC 2919, RFC 8058).
 */
import type { HeaderField, HeadersInput, ListFields, ListFieldsInput } from "./model.js"
import { listNames } from "./model.js"
import { isMissing, isObject, readEach, refusal, refuseIf, several } from "./refuse.js"
import { ownField } from "./headerText.js"
import { headerFault } from "./text.js"

const structure = "the structure of the message"
const option = (name: string): string => `the option \`${name}\``

/** What writes a field, for fields that a program may not write itself. */
const writers: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ["from", "sender", "to", "cc", "bcc", "subject", "date", "references", "priority"].map((name) => [
      name,
      option(name)
    ])
  ),
  ...Object.fromEntries(
    ["id", "unsubscribe-post", ...listNames].map((name) => [`list-${name}`, option("list")])
  ),
  "reply-to": option("replyTo"),
  "message-id": option("messageId"),
  "in-reply-to": option("inReplyTo"),
  importance: option("priority"),
  "x-priority": option("priority"),
  "mime-version": structure,
  "return-path": "the server that delivers the message",
  "dkim-signature": "Dkim"
}

const writerOf = (name: string): string | undefined => {
  const lower = name.toLowerCase()
  if (lower.startsWith("content-")) return structure
  if (lower.startsWith("resent-")) return option("resent")
  return Object.hasOwn(writers, lower) ? writers[lower] : undefined
}

const placeOf = (name: unknown): string => `headers[${JSON.stringify(String(name))}]`

const readHeader = ({ name, value }: HeaderField): HeaderField => {
  const field = placeOf(name)
  if (typeof name !== "string" || !/^[!-9;-~]{1,76}$/.test(name)) {
    throw refusal(field, "has a name that is not 1 to 76 printable ASCII characters without space and colon")
  }
  const writer = writerOf(name)
  if (writer !== undefined) throw refusal(field, `is written by ${writer}`)
  refuseIf(field, isMissing(value) ? "has no value" : headerFault(value))
  ownField({ name, value }, field)
  return { name, value }
}

const isFields = (input: HeadersInput): input is ReadonlyArray<HeaderField> => Array.isArray(input)

export const readHeaders = (input: HeadersInput | undefined): ReadonlyArray<HeaderField> => {
  if (input === undefined) return []
  if (isFields(input)) return readEach(input, "headers", readHeader)
  if (!isObject(input)) throw refusal("headers", "is neither a list nor an object")
  return Object.entries(input).flatMap(([name, values]) =>
    several(values).map((value) => readHeader({ name, value }))
  )
}

const uriLimit = 900

const uriFault = (uri: unknown): string | undefined => {
  if (typeof uri !== "string" || !/^[!-;=?-~]+$/.test(uri)) {
    return "is not a URI: it holds white space, angle brackets or characters beyond ASCII"
  }
  if (uri.length > uriLimit) return `is longer than ${uriLimit} characters`
  return /^[A-Za-z][A-Za-z0-9+.-]*:./.test(uri)
    ? undefined
    : "is not an absolute URI, such as https://... or mailto:..."
}

// RFC 2919 section 2: a list label, a dot and a name space.
const listIdPattern = /^(?:[^<>]*[ \t]*<)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+>?$/

const listIdFault = (id: string): string | undefined =>
  headerFault(id) ??
  (listIdPattern.test(id) && id.includes("<") === id.endsWith(">")
    ? undefined
    : "is not a list identifier, such as `Dogs <dogs.lists.example.com>`")

const readUris = (input: string | ReadonlyArray<string>, field: string): ReadonlyArray<string> => {
  for (const [position, uri] of several(input).entries()) {
    refuseIf(typeof input === "string" ? field : `${field}[${position}]`, uriFault(uri))
  }
  return several(input)
}

export const readList = (input: ListFieldsInput | undefined): { readonly list?: ListFields } => {
  if (input === undefined) return {}
  if (!isObject(input)) throw refusal("list", "is not an object")
  const { id } = input
  if (id !== undefined) refuseIf("list.id", listIdFault(id))
  const uris: Record<string, ReadonlyArray<string>> = {}
  for (const name of listNames) {
    const given = input[name]
    const read = given === undefined ? [] : readUris(given, `list.${name}`)
    if (read.length > 0) uris[name] = read
  }
  // RFC 8058 section 3.1.
  const oneClick = input.oneClick === true
  if (oneClick && uris["unsubscribe"]?.some((uri) => /^https:/i.test(uri)) !== true) {
    throw refusal("list.oneClick", "requires an https URI in `list.unsubscribe`")
  }
  return { list: { ...(id === undefined ? {} : { id }), ...uris, ...(oneClick ? { oneClick } : {}) } }
}
