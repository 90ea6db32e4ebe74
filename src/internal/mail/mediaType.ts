/**
 * Media types of attachments: guessed from names by nodemailer's table, and which of them may be encoded (RFC 2046
 * section 5.2, RFC 6532 section 3.7).
 */
import { detectMimeType } from "nodemailer/lib/mime-funcs"
import type { Attachment, AttachmentOptions } from "./model.js"

const unknownType = "application/octet-stream"

/**
 * Whether parts of this type have to go out as they are: messages within messages, but for message/global.
 */
export const mayNotBeEncoded = (contentType: string): boolean =>
  /^message\//i.test(contentType) && !/^message\/global/i.test(contentType)

const NUL = 0
const LF = 10
const CR = 13
const lineLimit = 998

/**
 * Whether any server takes the octets as they are: 7-bit, no NUL, lines of at most 998 octets that end in CRLF.
 */
export const isPlain = (octets: Uint8Array): boolean => {
  let lineStart = 0
  for (let index = 0; index < octets.length; index++) {
    const octet = octets[index] ?? NUL
    if (octet === NUL || octet > 127) return false
    if (octet === CR && octets[index + 1] !== LF) return false
    if (octet !== LF) continue
    if (octets[index - 1] !== CR || index - 1 - lineStart > lineLimit) return false
    lineStart = index + 1
  }
  return octets.length - lineStart <= lineLimit
}

/** The type that a name stands for. */
export const guess = ({ filename }: AttachmentOptions): string => {
  const guessed = filename === undefined ? unknownType : detectMimeType(filename)
  return /^multipart\//i.test(guessed) ? unknownType : guessed
}

/** The type of a text that will be UTF-8: without a charset it would be US-ASCII (RFC 2046 section 4.1.2). */
export const withCharset = (contentType: string): string =>
  /^text\//i.test(contentType) && !/;[ \t]*charset=/i.test(contentType)
    ? `${contentType}; charset=utf-8`
    : contentType

/** The type of an attachment in memory: the one it was given, else a guess that its octets allow. */
export const mediaType = (attachment: Attachment): string => {
  if (attachment.contentType !== undefined) return attachment.contentType
  const guessed = guess(attachment)
  return mayNotBeEncoded(guessed) && !isPlain(attachment.content) ? unknownType : guessed
}

/** The type of an attachment whose octets nobody has seen. */
export const streamedMediaType = (options: AttachmentOptions): string => {
  if (options.contentType !== undefined) return options.contentType
  const guessed = guess(options)
  return mayNotBeEncoded(guessed) ? unknownType : guessed
}
