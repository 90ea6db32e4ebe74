/**
 * Reads what a program gives as a message: every field is checked, named by its place where it is wrong, and brought
 * into one form. Whatever passes here can be composed, and no value of it can become a header field, a part or a
 * recipient of its own.
 */
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidChoice, isInvalid } from "../../protocol/Invalid.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import { isArray, isObject, mailboxes, readAddresses, readMailboxes } from "./address.js"
import type {
  Address,
  Alternative,
  Attachment,
  AttachmentInput,
  AttachmentOptions,
  Calendar,
  HeaderField,
  HeadersInput,
  Input,
  ListFields,
  ListFieldsInput,
  Mailbox,
  Message,
  Resent,
  ResentInput
} from "./model.js"
import { calendarMethods, listNames, priorities } from "./model.js"
import { bodyFault, displayFault, headerFault } from "./text.js"
import { guess, isPlain, mayNotBeEncoded, mediaType, withCharset } from "./mediaType.js"

/** What is made anew where the program gives nothing. */
export interface Defaults {
  readonly date: Date
  /** Random letters and digits, another each time. */
  readonly unique: () => string
}

/** The first of several faults. */
const firstInvalid = (...checks: ReadonlyArray<() => Invalid | undefined>): Invalid | undefined => {
  for (const check of checks) {
    const found = check()
    if (found !== undefined) return found
  }
  return undefined
}

// Plain JavaScript knows no types.
const isMissing = (value: unknown): boolean => value === undefined

const listInvalid = (items: ReadonlyArray<unknown>, field: string): Invalid | undefined => {
  if (!isArray(items)) return invalid(field, "is no list")
  const position = items.findIndex((item) => !isObject(item))
  return position === -1 ? undefined : invalid(`${field}[${position}]`, "is no object")
}

const fault = (field: string, reason: string | undefined): Invalid | undefined =>
  reason === undefined ? undefined : invalid(field, reason)

const isTexts = (input: string | ReadonlyArray<string>): input is ReadonlyArray<string> =>
  Array.isArray(input)

const several = (input: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  input === undefined ? [] : isTexts(input) ? input : [input]

// -- identification

const readDate = (date: Date | undefined, field: string, otherwise: Date): Date | Invalid => {
  if (date === undefined) return otherwise
  if (!(date instanceof Date) || Number.isNaN(date.getTime())) return invalid(field, "is no valid date")
  const year = date.getUTCFullYear()
  // RFC 5322 section 3.3: four digits, not before 1900.
  if (year < 1900 || year > 9999) return invalid(field, "is not within the years 1900 to 9999")
  return new Date(Math.floor(date.getTime() / 1000) * 1000)
}

// RFC 5322 section 3.6.4, without the obsolete forms; a domain literal may follow the @.
const atoms = "[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~]+(?:\\.[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~]+)*"
const messageIdPattern = new RegExp(`^<?(${atoms}@(?:${atoms}|\\[[!-Z^-~]*\\]))>?$`)

// RFC 5322 section 2.1.1, less the longest name of a field that holds ids.
const idLimit = 900

const idOf = (id: string | undefined, field: string): string | Invalid => {
  if (id === undefined) return invalid(field, "is no message id; it is written as <unique@domain>, in ASCII")
  if (id.length > idLimit) return invalid(field, `is longer than ${idLimit} characters`)
  return `<${id}>`
}

const readMessageId = (text: string, field: string): string | Invalid =>
  idOf(typeof text === "string" ? messageIdPattern.exec(text)?.[1] : undefined, field)

/** What others have made, by whatever rules, and a reply has to repeat as it is. */
const readForeignId = (text: string, field: string): string | Invalid => {
  const found = typeof text === "string" ? /^(<?)([!-;=?-~]+)>?$/.exec(text) : null
  const [, bracket, id] = found ?? []
  return idOf(bracket === "<" || id?.includes("@") === true ? id : undefined, field)
}

const readMessageIds = (
  input: string | ReadonlyArray<string> | undefined,
  field: string
): ReadonlyArray<string> | Invalid => {
  const read: Array<string> = []
  // A single string may be what another message's field holds: several ids.
  const given =
    typeof input === "string" ? input.split(/[ \t]+|(?<=>)(?=<)/).filter((id) => id !== "") : several(input)
  for (const [position, text] of given.entries()) {
    const id = readForeignId(text, typeof input === "string" ? field : `${field}[${position}]`)
    if (isInvalid(id)) return id
    read.push(id)
  }
  return read
}

const domainOf = (mailbox: Mailbox | undefined): string => {
  const parsed = mailbox === undefined ? undefined : Mailboxes.parse(mailbox.address, "from")
  return parsed === undefined || isInvalid(parsed) ? "localhost" : parsed.asciiDomain
}

const boundaryPattern = /^[A-Za-z0-9._-]{1,40}$/

const readBoundary = (boundary: string | undefined, defaults: Defaults): string | Invalid => {
  if (boundary === undefined) return defaults.unique()
  if (typeof boundary === "string" && boundaryPattern.test(boundary)) return boundary
  return invalid("boundary", "is not 1 to 40 letters, digits, dots, underscores and hyphens")
}

// -- originators and recipients

interface Correspondents {
  readonly from: ReadonlyArray<Mailbox>
  readonly sender?: Mailbox | undefined
  readonly to: ReadonlyArray<Address>
  readonly cc: ReadonlyArray<Address>
  readonly bcc: ReadonlyArray<Address>
}

type CorrespondentsInput = Pick<ResentInput, "from" | "sender" | "to" | "cc" | "bcc">

const readSender = (
  input: CorrespondentsInput,
  from: ReadonlyArray<Mailbox>,
  prefix: string
): { readonly sender?: Mailbox } | Invalid => {
  const read = readMailboxes(input.sender, `${prefix}sender`)
  if (isInvalid(read)) return read
  const [sender, ...others] = read
  if (others.length > 0)
    return invalid(`${prefix}sender`, "holds several addresses; only one can have sent it")
  if (sender !== undefined) return { sender }
  // RFC 5322 section 3.6.2.
  if (from.length > 1)
    return invalid(`${prefix}sender`, "is missing, and `from` names several who may have sent it")
  return {}
}

const readCorrespondents = (input: CorrespondentsInput, prefix: string): Correspondents | Invalid => {
  const from = readMailboxes(input.from, `${prefix}from`)
  if (isInvalid(from)) return from
  if (from.length === 0) return invalid(`${prefix}from`, "is empty: name at least one author")
  const sender = readSender(input, from, prefix)
  if (isInvalid(sender)) return sender
  const to = readAddresses(input.to, `${prefix}to`)
  if (isInvalid(to)) return to
  const cc = readAddresses(input.cc, `${prefix}cc`)
  if (isInvalid(cc)) return cc
  const bcc = readAddresses(input.bcc, `${prefix}bcc`)
  if (isInvalid(bcc)) return bcc
  return { from, ...sender, to, cc, bcc }
}

const readResent = (
  input: ResentInput | undefined,
  defaults: Defaults
): { readonly resent?: Resent } | Invalid => {
  if (input === undefined) return {}
  if (!isObject(input)) return invalid("resent", "is no object")
  const correspondents = readCorrespondents(input, "resent.")
  if (isInvalid(correspondents)) return correspondents
  const { bcc, cc, to } = correspondents
  if (mailboxes([...to, ...cc, ...bcc]).length === 0)
    return invalid("resent.to", "is empty: name who gets it")
  const date = readDate(input.date, "resent.date", defaults.date)
  if (isInvalid(date)) return date
  const messageId = readMessageId(
    input.messageId ?? `<${defaults.unique()}@${domainOf(correspondents.from[0])}>`,
    "resent.messageId"
  )
  if (isInvalid(messageId)) return messageId
  return { resent: { date, messageId, ...correspondents } }
}

// -- fields of the program's own

const namePattern = /^[!-9;-~]{1,76}$/

/** Fields that an option stands for, that belong to parts, or that others write on the way. */
const reserved: ReadonlyMap<string, string> = new Map([
  ...["From", "Sender", "To", "Cc", "Bcc", "Subject", "Date", "References", "Priority"].map(
    (name): [string, string] => [name.toLowerCase(), `the option \`${name.toLowerCase()}\``]
  ),
  ["reply-to", "the option `replyTo`"],
  ["message-id", "the option `messageId`"],
  ["in-reply-to", "the option `inReplyTo`"],
  ["importance", "the option `priority`"],
  ["x-priority", "the option `priority`"],
  ...["id", "unsubscribe-post", ...listNames].map((name): [string, string] => [
    `list-${name}`,
    "the option `list`"
  ]),
  ["mime-version", "the message's own structure"],
  ["return-path", "the server that delivers the message"],
  ["dkim-signature", "Dkim"]
])

const ownerOf = (name: string): string | undefined => {
  const lower = name.toLowerCase()
  if (lower.startsWith("content-")) return "the message's own structure"
  if (lower.startsWith("resent-")) return "the option `resent`"
  return reserved.get(lower)
}

const headerInvalid = ({ name, value }: HeaderField, field: string): Invalid | undefined => {
  if (typeof name !== "string" || !namePattern.test(name)) {
    return invalid(field, "has a name that is not 1 to 76 printable ASCII characters without space and colon")
  }
  const owner = ownerOf(name)
  if (owner !== undefined) return invalid(field, `is written by ${owner}`)
  return fault(field, isMissing(value) ? "has no value" : headerFault(value))
}

const isFields = (input: HeadersInput): input is ReadonlyArray<HeaderField> => Array.isArray(input)

/** A name as it is shown in an error, whatever it holds. */
const shown = (name: unknown): string => JSON.stringify(String(name))

const readHeaders = (input: HeadersInput | undefined): ReadonlyArray<HeaderField> | Invalid => {
  if (input === undefined) return []
  const wrong = isFields(input)
    ? listInvalid(input, "headers")
    : isObject(input)
      ? undefined
      : invalid("headers", "is neither a list nor an object")
  if (wrong !== undefined) return wrong
  const given = isFields(input)
    ? input.map(({ name, value }) => ({ name, value }))
    : Object.entries(input).flatMap(([name, values]) => several(values).map((value) => ({ name, value })))
  for (const header of given) {
    const found = headerInvalid(header, `headers[${shown(header.name)}]`)
    if (found !== undefined) return found
  }
  return given
}

const uriLimit = 900

const uriFault = (uri: unknown): string | undefined => {
  if (typeof uri !== "string" || !/^[!-;=?-~]+$/.test(uri)) {
    return "is no URI: it holds white space, angle brackets, or characters beyond ASCII"
  }
  if (uri.length > uriLimit) return `is longer than ${uriLimit} characters`
  return /^[A-Za-z][A-Za-z0-9+.-]*:./.test(uri)
    ? undefined
    : "is no absolute URI, such as https://... or mailto:..."
}

// RFC 2919 section 2: a list label, a dot and a name space.
const listIdPattern = /^(?:[^<>]*[ \t]*<)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+>?$/

const listIdFault = (id: string | undefined): string | undefined => {
  if (id === undefined) return undefined
  const held = headerFault(id)
  if (held !== undefined) return held
  return listIdPattern.test(id) && id.includes("<") === id.endsWith(">")
    ? undefined
    : "is no list identifier, such as `Dogs <dogs.lists.example.com>`"
}

const readUris = (
  input: string | ReadonlyArray<string> | undefined,
  field: string
): ReadonlyArray<string> | undefined | Invalid => {
  if (input === undefined) return undefined
  for (const [position, uri] of several(input).entries()) {
    const reason = uriFault(uri)
    if (reason !== undefined)
      return invalid(typeof input === "string" ? field : `${field}[${position}]`, reason)
  }
  return several(input)
}

const readList = (input: ListFieldsInput | undefined): { readonly list?: ListFields } | Invalid => {
  if (input === undefined) return {}
  if (!isObject(input)) return invalid("list", "is no object")
  const idFault = listIdFault(input.id)
  if (idFault !== undefined) return invalid("list.id", idFault)
  const uris: Record<string, ReadonlyArray<string>> = {}
  for (const name of listNames) {
    const read = readUris(input[name], `list.${name}`)
    if (isInvalid(read)) return read
    if (read !== undefined && read.length > 0) uris[name] = read
  }
  // RFC 8058 section 3.1.
  const oneClick = input.oneClick === true
  if (oneClick && uris["unsubscribe"]?.some((uri) => /^https:/i.test(uri)) !== true) {
    return invalid("list.oneClick", "needs an https URI in `list.unsubscribe`")
  }
  return {
    list: {
      ...(input.id === undefined ? {} : { id: input.id }),
      ...uris,
      ...(oneClick ? { oneClick } : {})
    }
  }
}

// -- parts

const token = "[!#$%&'*+\\-.0-9A-Z^_`a-z{|}~]+"
const mediaTypePattern = new RegExp(
  `^(${token}/${token})(?:[ \\t]*;[ \\t]*${token}=(?:${token}|"(?:[ !#-[\\]-~]|\\\\[ -~])*"))*$`
)
const contentTypeLimit = 200

/** What is wrong with a media type, parameters included. */
export const contentTypeFault = (contentType: string | undefined): string | undefined => {
  if (contentType === undefined) return undefined
  const type = typeof contentType === "string" ? mediaTypePattern.exec(contentType)?.[1] : undefined
  if (type === undefined) return "is no media type, such as `text/plain` or `application/pdf`"
  if (contentType.length > contentTypeLimit) return `is longer than ${contentTypeLimit} characters`
  return /^multipart\//i.test(type) ? "is a multipart type, which an attachment cannot be" : undefined
}

const charsetPattern = /;[ \t]*charset="?([^";]*)"?/i

const alternativeTypeFault = (contentType: string): string | undefined => {
  const wrong = contentTypeFault(contentType)
  if (wrong !== undefined) return wrong
  // RFC 2046 section 5.2: they may not be encoded, and text has to be.
  if (/^message\//i.test(contentType)) return "is a message, which is no form of a text; attach it"
  return charsetFault(contentType)
}

const charsetFault = (contentType: string): string | undefined => {
  const charset = charsetPattern.exec(contentType)?.[1]
  return charset === undefined || /^(utf-8|us-ascii)$/i.test(charset)
    ? undefined
    : "names another charset than utf-8, in which strings are sent"
}

const cidPattern = new RegExp(`^${atoms}(?:@${atoms})?$`)
const fileNameLimit = 255

const fileNameFault = (name: string | undefined): string | undefined => {
  if (name === undefined) return undefined
  const held = displayFault(name)
  if (held !== undefined) return held
  if (name.trim() === "") return "is empty"
  return name.length > fileNameLimit ? `is longer than ${fileNameLimit} characters` : undefined
}

/** What is wrong with what is said of an attachment. */
export const attachmentInvalid = (options: AttachmentOptions, field: string): Invalid | undefined => {
  const { cid, contentType, disposition, filename } = options
  return firstInvalid(
    () => fault(`${field}.filename`, fileNameFault(filename)),
    () => fault(`${field}.contentType`, contentTypeFault(contentType)),
    () =>
      cid === undefined || (typeof cid === "string" && cidPattern.test(cid) && cid.length <= idLimit)
        ? undefined
        : invalid(`${field}.cid`, "is no content id, such as `logo@example.com`; leave out angle brackets"),
    () => invalidChoice(`${field}.disposition`, disposition, ["attachment", "inline"])
  )
}

/** An attachment whose content id another has too. */
export const duplicateCid = (
  attachments: ReadonlyArray<AttachmentOptions>,
  field: (position: number) => string
): Invalid | undefined => {
  const seen = new Map<string, number>()
  for (const [position, { cid }] of attachments.entries()) {
    if (cid === undefined) continue
    const first = seen.get(cid)
    if (first !== undefined)
      return invalid(`${field(position)}.cid`, `is the content id of ${field(first)} too`)
    seen.set(cid, position)
  }
  return undefined
}

const encoder = new TextEncoder()

const nestedAdvice = "; give message/global or application/octet-stream, which may be encoded"

const contentTypeInvalid = (attachment: Attachment, field: string): Invalid | undefined => {
  const { content, contentType } = attachment
  if (contentType === undefined || !mayNotBeEncoded(contentType) || isPlain(content)) return undefined
  const reason = `is ${contentType}, and the content is not 7-bit with CRLF and lines of at most 998 octets`
  return invalid(`${field}.contentType`, reason + nestedAdvice)
}

const isOctets = (content: unknown): content is Uint8Array => content instanceof Uint8Array

/** A string becomes UTF-8, and its type has to say so. */
const asUtf8 = (input: AttachmentInput, field: string): AttachmentInput | Invalid => {
  if (typeof input.content !== "string") return input
  const type = input.contentType ?? guess(input)
  const contentType = /\P{ASCII}/u.test(input.content) ? withCharset(type) : type
  const wrong = contentTypeFault(contentType) ?? charsetFault(contentType)
  if (wrong !== undefined) return invalid(`${field}.contentType`, wrong)
  return contentType === type ? input : { ...input, contentType }
}

const readAttachment = (input: AttachmentInput, field: string): Attachment | Invalid => {
  const wrong = attachmentInvalid(input, field)
  if (wrong !== undefined) return wrong
  const described = asUtf8(input, field)
  if (isInvalid(described)) return described
  const { cid, content, contentType, disposition, filename } = described
  if (typeof content !== "string" && !isOctets(content)) {
    return invalid(
      `${field}.content`,
      "is neither octets nor a string; give a stream when the message is composed"
    )
  }
  const reason = typeof content === "string" ? bodyFault(content) : undefined
  if (reason !== undefined) return invalid(`${field}.content`, reason)
  const attachment = {
    // White space around it is no part of a name: readers drop it.
    ...(filename === undefined ? {} : { filename: filename.trim() }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(cid === undefined ? {} : { cid }),
    ...(disposition === undefined ? {} : { disposition }),
    // What the program gave is copied, and not kept.
    content: typeof content === "string" ? encoder.encode(content) : new Uint8Array(content)
  }
  return contentTypeInvalid(attachment, field) ?? attachment
}

const readAttachments = (input: ReadonlyArray<AttachmentInput> = []): ReadonlyArray<Attachment> | Invalid => {
  const wrong = listInvalid(input, "attachments")
  if (wrong !== undefined) return wrong
  const read: Array<Attachment> = []
  for (const [position, item] of input.entries()) {
    const attachment = readAttachment(item, `attachments[${position}]`)
    if (isInvalid(attachment)) return attachment
    read.push(attachment)
  }
  return duplicateCid(read, (position) => `attachments[${position}]`) ?? read
}

const readAlternatives = (input: ReadonlyArray<Alternative> = []): ReadonlyArray<Alternative> | Invalid => {
  const wrong = listInvalid(input, "alternatives")
  if (wrong !== undefined) return wrong
  const read: Array<Alternative> = []
  for (const [position, { content, contentType }] of input.entries()) {
    const field = `alternatives[${position}]`
    const wrong = firstInvalid(
      () =>
        fault(
          `${field}.contentType`,
          isMissing(contentType) ? "is missing" : alternativeTypeFault(contentType)
        ),
      () => fault(`${field}.content`, isMissing(content) ? "is missing" : bodyFault(content))
    )
    if (wrong !== undefined) return wrong
    read.push({ contentType, content })
  }
  return read
}

const readCalendar = (input: Calendar | undefined): { readonly calendar?: Calendar } | Invalid => {
  if (input === undefined) return {}
  if (!isObject(input)) return invalid("calendar", "is no object")
  const { content, filename, method } = input
  const wrong = firstInvalid(
    () => fault("calendar.content", isMissing(content) ? "is missing" : bodyFault(content)),
    () => invalidChoice("calendar.method", method, calendarMethods),
    () => fault("calendar.filename", fileNameFault(filename))
  )
  if (wrong !== undefined) return wrong
  // RFC 6047 section 2.4: both have to say the same.
  const named = /^METHOD(?:;[^:\r\n]*)?:[ \t]*([A-Za-z]+)/im.exec(content)?.[1]?.toUpperCase()
  if (named !== method) {
    return invalid("calendar.method", `is ${method}, and the calendar object says ${named ?? "none"}`)
  }
  return { calendar: { method, content, ...(filename === undefined ? {} : { filename: filename.trim() }) } }
}

/** Octets that go out as they are: in base64 a boundary cannot occur. */
const goesOutPlain = (attachment: Attachment): boolean => mayNotBeEncoded(mediaType(attachment))

const holdsBoundary = (message: Message): boolean => {
  const texts = [message.text, message.html, ...message.alternatives.map(({ content }) => content)]
  const delimiter = encoder.encode(message.boundary)
  return (
    texts.some((text) => text?.includes(message.boundary) === true) ||
    message.calendar?.content.includes(message.boundary) === true ||
    message.attachments.some(
      (attachment) => goesOutPlain(attachment) && includes(attachment.content, delimiter)
    )
  )
}

const boundaryInvalid = (message: Message): Invalid | undefined =>
  holdsBoundary(message) ? invalid("boundary", "occurs in the content; give another") : undefined

const includes = (octets: Uint8Array, searched: Uint8Array): boolean => {
  for (let at = octets.indexOf(searched[0] ?? 0); at !== -1; at = octets.indexOf(searched[0] ?? 0, at + 1)) {
    if (searched.every((octet, index) => octets[at + index] === octet)) return true
  }
  return false
}

/** Reads a message. */
export const read = (input: Input, defaults: Defaults): Message | Invalid => {
  if (!isObject(input)) return invalid("message", "is no object")
  const correspondents = readCorrespondents(input, "")
  if (isInvalid(correspondents)) return correspondents
  const replyTo = readAddresses(input.replyTo, "replyTo")
  if (isInvalid(replyTo)) return replyTo
  const identity = readIdentity(input, correspondents.from[0], defaults)
  if (isInvalid(identity)) return identity
  const fields = readFields(input, defaults)
  if (isInvalid(fields)) return fields
  const parts = readParts(input)
  if (isInvalid(parts)) return parts
  const message = { ...identity, ...correspondents, replyTo, ...fields, ...parts }
  return boundaryInvalid(message) ?? message
}

type Identity = Pick<Message, "date" | "messageId" | "boundary" | "inReplyTo" | "references">

const readIdentity = (input: Input, author: Mailbox | undefined, defaults: Defaults): Identity | Invalid => {
  const date = readDate(input.date, "date", defaults.date)
  if (isInvalid(date)) return date
  const messageId = readMessageId(
    input.messageId ?? `<${defaults.unique()}@${domainOf(author)}>`,
    "messageId"
  )
  if (isInvalid(messageId)) return messageId
  const boundary = readBoundary(input.boundary, defaults)
  if (isInvalid(boundary)) return boundary
  const inReplyTo = readMessageIds(input.inReplyTo, "inReplyTo")
  if (isInvalid(inReplyTo)) return inReplyTo
  const references = readMessageIds(input.references, "references")
  if (isInvalid(references)) return references
  return { date, messageId, boundary, inReplyTo, references }
}

type Fields = Pick<Message, "subject" | "list" | "priority" | "headers" | "resent">

const readFields = (input: Input, defaults: Defaults): Fields | Invalid => {
  const { priority, subject } = input
  const wrong = firstInvalid(
    () => fault("subject", headerFault(subject)),
    () => invalidChoice("priority", priority, priorities)
  )
  if (wrong !== undefined) return wrong
  const list = readList(input.list)
  if (isInvalid(list)) return list
  const headers = readHeaders(input.headers)
  if (isInvalid(headers)) return headers
  const resent = readResent(input.resent, defaults)
  if (isInvalid(resent)) return resent
  return {
    ...(subject === undefined ? {} : { subject }),
    ...(priority === undefined ? {} : { priority }),
    ...list,
    headers,
    ...resent
  }
}

type Parts = Pick<Message, "text" | "html" | "alternatives" | "calendar" | "attachments">

const readParts = (input: Input): Parts | Invalid => {
  const { html, text } = input
  const wrong = firstInvalid(
    () => fault("text", bodyFault(text)),
    () => fault("html", bodyFault(html))
  )
  if (wrong !== undefined) return wrong
  const alternatives = readAlternatives(input.alternatives)
  if (isInvalid(alternatives)) return alternatives
  const calendar = readCalendar(input.calendar)
  if (isInvalid(calendar)) return calendar
  const attachments = readAttachments(input.attachments)
  if (isInvalid(attachments)) return attachments
  return {
    ...(text === undefined ? {} : { text }),
    ...(html === undefined ? {} : { html }),
    alternatives,
    ...calendar,
    attachments
  }
}

/** What is wrong with a message that has the form of one that was read, wherever it comes from. */
export const check = (message: Message): Invalid | undefined => {
  const { attachments, ...others } = message
  const rest = read({ ...others, attachments: [] }, { date: message.date, unique: () => message.boundary })
  if (isInvalid(rest)) return rest
  for (const [position, attachment] of attachments.entries()) {
    const field = `attachments[${position}]`
    const wrong = attachmentInvalid(attachment, field) ?? contentTypeInvalid(attachment, field)
    if (wrong !== undefined) return wrong
  }
  return duplicateCid(attachments, (position) => `attachments[${position}]`) ?? boundaryInvalid(message)
}
