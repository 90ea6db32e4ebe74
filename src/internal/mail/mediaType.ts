/**
 * Media types of attachments, guessed from names by nodemailer's table, and which of them may be encoded (RFC 2046
 * section 5.2, RFC 6532 section 3.7).
 */
import { detectMimeType } from "nodemailer/lib/mime-funcs"
import * as Encoding from "../../protocol/Content.js"
import type { Attachment, AttachmentOptions } from "./model.js"

const unknownType = "application/octet-stream"

/** Messages within messages, except message/global, are sent as they are. */
export const mayNotBeEncoded = (contentType: string): boolean =>
  /^message\//i.test(contentType) && !/^message\/global/i.test(contentType)

const plain: Encoding.EncodingOptions = {
  ...Encoding.defaultOptions,
  lineEnds: "refuse",
  longLines: "refuse",
  require7bit: true
}

/** Whether any server accepts the bytes unencoded: 7-bit, no NUL, lines of at most 998 bytes that end in CRLF. */
export const isPlain = (bytes: Uint8Array): boolean => !("_tag" in Encoding.canonicalise(bytes, plain))

export const guess = ({ filename }: AttachmentOptions): string => {
  const guessed = filename === undefined ? unknownType : detectMimeType(filename)
  return /^multipart\//i.test(guessed) ? unknownType : guessed
}

/** Names the charset of a text that is sent in UTF-8; the default is US-ASCII (RFC 2046 section 4.1.2). */
export const withCharset = (contentType: string): string =>
  /^text\//i.test(contentType) && !/;[ \t]*charset=/i.test(contentType)
    ? `${contentType}; charset=utf-8`
    : contentType

/** The type that was given, or a guess that allows the content. A stream has no content yet. */
export const mediaType = (attachment: AttachmentOptions & Partial<Attachment>): string => {
  if (attachment.contentType !== undefined) return attachment.contentType
  const guessed = guess(attachment)
  const fits = !mayNotBeEncoded(guessed) || (attachment.content !== undefined && isPlain(attachment.content))
  return fits ? guessed : unknownType
}
