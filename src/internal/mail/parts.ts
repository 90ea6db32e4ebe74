/**
 * The parts of a message: attachments, other forms of the text, and calendar objects (RFC 2045, RFC 2046, RFC 6047).
 */
import { invalidChoice } from "../../protocol/Invalid.js"
import { isOctets } from "../content/model.js"
import { checkContentIds } from "./contentIds.js"
import { isContentId } from "./identity.js"
import { dataUrl } from "./dataUrl.js"
import { guess, isPlain, mayNotBeEncoded, withCharset } from "./mediaType.js"
import type { Alternative, Attachment, AttachmentInput, AttachmentOptions, Calendar } from "./model.js"
import { calendarMethods } from "./model.js"
import { accept, isMissing, isObject, readEach, refusal, refuseIf } from "./refuse.js"
import { bodyFault, displayFault } from "./text.js"

const token = "[!#$%&'*+\\-.0-9A-Z^_`a-z{|}~]+"
const mediaTypePattern = new RegExp(
  `^(${token}/${token})(?:[ \\t]*;[ \\t]*${token}=(?:${token}|"(?:[ !#-[\\]-~]|\\\\[ -~])*"))*$`
)
const contentTypeLimit = 200
const fileNameLimit = 255

const contentTypeFault = (contentType: string | undefined): string | undefined => {
  if (contentType === undefined) return undefined
  const type = typeof contentType === "string" ? mediaTypePattern.exec(contentType)?.[1] : undefined
  if (type === undefined) return "is not a media type, such as `text/plain` or `application/pdf`"
  if (contentType.length > contentTypeLimit) return `is longer than ${contentTypeLimit} characters`
  return /^multipart\//i.test(type) ? "is a multipart type, which an attachment cannot be" : undefined
}

const charsetFault = (contentType: string): string | undefined => {
  const charset = /;[ \t]*charset="?([^";]*)"?/i.exec(contentType)?.[1]
  return charset === undefined || /^(utf-8|us-ascii)$/i.test(charset)
    ? undefined
    : "names another charset than utf-8, in which strings are sent"
}

const fileNameFault = (name: string | undefined): string | undefined => {
  const fault = displayFault(name)
  if (name === undefined || fault !== undefined) return fault
  if (name.trim() === "") return "is empty"
  return name.length > fileNameLimit ? `is longer than ${fileNameLimit} characters` : undefined
}

/** Checks the description of an attachment, in memory or not. */
export const checkAttachmentOptions = (options: AttachmentOptions, field: string): void => {
  const { cid, contentType, disposition, filename } = options
  refuseIf(`${field}.filename`, fileNameFault(filename))
  refuseIf(`${field}.contentType`, contentTypeFault(contentType))
  if (cid !== undefined && !isContentId(cid)) {
    throw refusal(`${field}.cid`, "is not a content ID, such as `logo@example.com` without angle brackets")
  }
  accept(invalidChoice(`${field}.disposition`, disposition, ["attachment", "inline"]))
}

const checkEncoding = ({ content, contentType }: Attachment, field: string): void => {
  if (contentType === undefined || !mayNotBeEncoded(contentType) || isPlain(content)) return
  throw refusal(
    `${field}.contentType`,
    `is ${contentType}, and the content is not 7-bit with CRLF and lines of at most 998 bytes; ` +
      "give message/global or application/octet-stream, which may be encoded"
  )
}

/** Checks an attachment in memory. */
export const checkAttachment = (attachment: Attachment, field: string): void => {
  checkAttachmentOptions(attachment, field)
  checkEncoding(attachment, field)
}

const encoder = new TextEncoder()

/** The type of an attachment that was given as a string: it is sent in UTF-8, and its type has to say so. */
const textType = (input: AttachmentInput, text: string, field: string): string | undefined => {
  const type = input.contentType ?? guess(input)
  const contentType = /\P{ASCII}/u.test(text) ? withCharset(type) : type
  refuseIf(`${field}.contentType`, contentTypeFault(contentType) ?? charsetFault(contentType))
  return contentType === type ? input.contentType : contentType
}

const contentAdvice =
  "give bytes, a string or a data: URL; a Mailer, `compose` and `submission` also take MailMessage.file(path) and " +
  "MailMessage.streamed(stream)"

/** The bytes or the text of an attachment, and the type that a `data:` URL names. */
const contentOf = (
  { content }: AttachmentInput,
  field: string
): { readonly content: Uint8Array | string; readonly contentType?: string } => {
  if (isMissing(content)) throw refusal(field, `is missing; ${contentAdvice}`)
  if (!(content instanceof URL)) {
    if (typeof content !== "string" && !isOctets(content))
      throw refusal(field, `is of another type; ${contentAdvice}`)
    return { content }
  }
  const read = dataUrl(content.href)
  if (read === undefined) {
    throw refusal(field, `is a URL that holds no data (${content.protocol}); ${contentAdvice}`)
  }
  return read
}

const readAttachment = (given: AttachmentInput, field: string): Attachment => {
  checkAttachmentOptions(given, field)
  const read = contentOf(given, `${field}.content`)
  const { content } = read
  const input = { ...given, contentType: given.contentType ?? read.contentType }
  const { cid, disposition, filename } = input
  const contentType = typeof content === "string" ? textType(input, content, field) : input.contentType
  if (typeof content === "string") refuseIf(`${field}.content`, bodyFault(content))
  const attachment = {
    ...(filename === undefined ? {} : { filename: filename.trim() }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(cid === undefined ? {} : { cid }),
    ...(disposition === undefined ? {} : { disposition }),
    // A copy: the program may change its array later.
    content: typeof content === "string" ? encoder.encode(content) : new Uint8Array(content)
  }
  checkEncoding(attachment, field)
  return attachment
}

/** `positions` are those of the attachments in the list that they were picked from. */
export const readAttachments = (
  input: ReadonlyArray<AttachmentInput> = [],
  positions: ReadonlyArray<number> = []
): ReadonlyArray<Attachment> => {
  const read = readEach(input, "attachments", readAttachment, positions)
  checkContentIds(read, (position) => `attachments[${positions[position] ?? position}]`)
  return read
}

const alternativeTypeFault = (contentType: string): string | undefined => {
  const fault = contentTypeFault(contentType)
  if (fault !== undefined) return fault
  // RFC 2046 section 5.2: messages may not be encoded, and text must be.
  return /^message\//i.test(contentType)
    ? "is a message, which is no form of a text; attach it"
    : charsetFault(contentType)
}

export const readAlternatives = (input: ReadonlyArray<Alternative> = []): ReadonlyArray<Alternative> =>
  readEach(input, "alternatives", ({ content, contentType }, field) => {
    refuseIf(
      `${field}.contentType`,
      isMissing(contentType) ? "is missing" : alternativeTypeFault(contentType)
    )
    refuseIf(`${field}.content`, isMissing(content) ? "is missing" : bodyFault(content))
    return { contentType, content }
  })

export const readCalendar = (input: Calendar | undefined): { readonly calendar?: Calendar } => {
  if (input === undefined) return {}
  if (!isObject(input)) throw refusal("calendar", "is not an object")
  const { content, filename, method } = input
  refuseIf("calendar.content", isMissing(content) ? "is missing" : bodyFault(content))
  accept(invalidChoice("calendar.method", method, calendarMethods))
  refuseIf("calendar.filename", fileNameFault(filename))
  // RFC 6047 section 2.4: both have to say the same.
  const named = /^METHOD(?:;[^:\r\n]*)?:[ \t]*([A-Za-z]+)/im.exec(content)?.[1]?.toUpperCase()
  if (named !== method) {
    throw refusal("calendar.method", `is ${method}, and the calendar object says ${named ?? "none"}`)
  }
  return { calendar: { method, content, ...(filename === undefined ? {} : { filename: filename.trim() }) } }
}
