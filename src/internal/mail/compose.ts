/**
 * Composes the bytes of a message. nodemailer's composer makes parts, encodings and delimiters, and gets neither paths
 * nor URLs; all text that goes in has CRLF line ends.
 */
import type * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { MailComposerAttachment, MailComposerOptions } from "nodemailer/lib/mail-composer"
import * as Base64 from "nodemailer/lib/base64"
import MailComposer from "nodemailer/lib/mail-composer"
import type MimeNode from "nodemailer/lib/mime-node"
import * as QuotedPrintable from "nodemailer/lib/qp"
import { Readable } from "node:stream"
import type { ContentError } from "../../SmtpError.js"
import { isOctets, notOctets } from "../content/model.js"
import { checkContentIds, checkReferences } from "./contentIds.js"
import { headerText } from "./headerText.js"
import { mayNotBeEncoded, mediaType, withCharset } from "./mediaType.js"
import type {
  Alternative,
  Attachment,
  AttachmentOptions,
  Calendar,
  MessageFields,
  StreamedAttachment
} from "./model.js"
import { fromReadable, toReadable } from "./nodeStream.js"
import { checkAttachmentOptions } from "./parts.js"
import { checkMessage } from "./read.js"
import { refusal } from "./refuse.js"
import { withLineEnds } from "./text.js"

/** Attachments that are streams, and where each attachment of the message, then each of these stands in the whole list. */
export interface Streams<E, R> {
  readonly streamed: ReadonlyArray<StreamedAttachment<E, R>>
  readonly positions?: ReadonlyArray<number>
}

const isStreamed = (attachment: unknown): boolean =>
  Predicate.isTagged(attachment, "StreamedAttachment") &&
  Predicate.hasProperty(attachment, "stream") &&
  Predicate.hasProperty(attachment.stream, Stream.StreamTypeId)

const checkStreamed = <E, R>(attachment: StreamedAttachment<E, R>, field: string): void => {
  if (!isStreamed(attachment)) {
    throw refusal(field, "is neither `streamed` nor a `file`; give bytes and strings to `make`")
  }
  checkAttachmentOptions(attachment, field)
  if (attachment.contentType !== undefined && mayNotBeEncoded(attachment.contentType)) {
    throw refusal(
      `${field}.contentType`,
      "may not be encoded, and a stream may give bytes that require it; give message/global"
    )
  }
}

/** Checks what `readMessage` has not seen: the streams, and what they have in common with the message. */
export const checkStreams = <E, R>(message: MessageFields, { positions, streamed }: Streams<E, R>): void => {
  const stored = message.attachments.length
  const place = (position: number): string => {
    if (positions !== undefined) return `attachments[${positions[position] ?? position}]`
    return position < stored ? `message.attachments[${position}]` : `attachments[${position - stored}]`
  }
  for (const [position, attachment] of streamed.entries()) checkStreamed(attachment, place(stored + position))
  const all = [...message.attachments, ...streamed]
  checkContentIds(all, place)
  checkReferences(message, all)
}

/** Checks all that goes into the content: a message that the constructor made is checked nowhere else. */
export const checkComposition = <E, R>(message: MessageFields, streams: Streams<E, R>): void => {
  checkMessage(message)
  checkStreams(message, streams)
}

// Attachments in memory are encoded in pieces of this length, each a whole number of base64 lines.
const pieceLength = 57 * 1024

function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += pieceLength) {
    yield bytes.subarray(start, start + pieceLength)
  }
}

const inPieces = (bytes: Uint8Array): Readable => Readable.from(pieces(bytes), { objectMode: false })

const composerAttachment = (
  attachment: AttachmentOptions & Partial<Attachment>,
  content: Readable | Buffer
): MailComposerAttachment => {
  const { cid, disposition, filename } = attachment
  const contentType = mediaType(attachment)
  // The composer puts parts with a `cid` into multipart/related, whose parts mail programs do not list.
  const id =
    cid === undefined
      ? {}
      : disposition === "attachment"
        ? { headers: { "Content-ID": `<${cid}>` } }
        : { cid }
  return {
    // The composer would invent a name for `undefined`.
    filename: filename ?? false,
    contentType,
    contentDisposition: disposition ?? (cid === undefined ? "attachment" : "inline"),
    contentTransferEncoding: mayNotBeEncoded(contentType) ? "7bit" : "base64",
    ...id,
    content
  }
}

// In the order of "richness".
const forms: ReadonlyArray<RegExp> = [
  /^text\/plain\b/i,
  /^text\/(?!x-amp-html|html|calendar)/i,
  /^text\/x-amp-html\b/i,
  /^text\/html\b/i,
  /^(?!text\/)/i
]

const richness = ({ contentType }: Alternative): number => {
  const position = forms.findIndex((form) => form.test(contentType))
  return position === -1 ? forms.length : position
}

const alternativesOf = (message: MessageFields): ReadonlyArray<Alternative> => {
  const { alternatives, alternativesOrder, calendar, html, text } = message
  const given = [
    { contentType: "text/plain", content: text ?? "" },
    { contentType: "text/html", content: html ?? "" }
  ].filter(({ content }) => content !== "")
  if (calendar !== undefined) {
    const contentType = `text/calendar; charset=utf-8; method=${calendar.method}`
    given.push({ contentType, content: calendar.content })
  }
  const all = [...given, ...alternatives]
  return alternativesOrder === "given" ? all : all.sort((one, other) => richness(one) - richness(other))
}

/** The copy of a calendar object that can be saved. */
const calendarFile = ({ content, filename = "invite.ics" }: Calendar): MailComposerAttachment => ({
  filename,
  contentType: "application/ics",
  contentDisposition: "attachment",
  contentTransferEncoding: "base64",
  content: withLineEnds(content)
})

/** All attachments in the order of the list that they were picked from. */
const inOrder = <A>(all: ReadonlyArray<A>, positions: ReadonlyArray<number> = []): ReadonlyArray<A> =>
  Array.from(all.entries())
    .sort(([one], [other]) => (positions[one] ?? one) - (positions[other] ?? other))
    .map(([, attachment]) => attachment)

const composerOptions = (
  message: MessageFields,
  streamed: ReadonlyArray<MailComposerAttachment>,
  contentOf: (bytes: Uint8Array) => Readable | Buffer,
  positions?: ReadonlyArray<number>
): MailComposerOptions => {
  const { attachments, boundary, calendar, date, messageId } = message
  const stored = attachments.map((attachment) =>
    composerAttachment(attachment, contentOf(attachment.content))
  )
  return {
    date,
    messageId,
    baseBoundary: boundary,
    // Neither quoted-printable nor base64 can hold "=_" (RFC 2045 section 6.7).
    boundaryPrefix: "=_",
    alternatives: alternativesOf(message).map(({ content, contentType }) => ({
      contentType: withCharset(contentType),
      content: withLineEnds(content)
    })),
    attachments: [
      ...inOrder([...stored, ...streamed], positions),
      ...(calendar === undefined ? [] : [calendarFile(calendar)])
    ],
    disableFileAccess: true,
    disableUrlAccess: true
  }
}

/** RFC 2231 sections 3 and 4. */
const extended = (filename: string): string =>
  (
    encodeURIComponent(filename)
      .replace(/[!'()*~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
      .match(/(?:%..|[^%]){1,48}/g) ?? []
  )
    .map((piece, index) => `filename*${index}*=${index === 0 ? "utf-8''" : ""}${piece}`)
    .join("; ")

/**
 * An asterisk may stand in a value without quotes (RFC 2045 section 5.1), but Python's email package ends the value
 * there (RFC 2231 section 7 reserves it). nodemailer itself encodes names beyond printable ASCII.
 */
const quoteAsterisks = (node: MimeNode): void => {
  const { filename } = node
  const disposition = node.getHeader("Content-Disposition")
  if (
    typeof disposition === "string" &&
    filename !== undefined &&
    /^(?!.*=\?)(?=.*\*)[ !#-[\]-~]+$/.test(filename)
  ) {
    const parameter = filename.length > 60 ? extended(filename) : `filename="${filename}"`
    node.setHeader("Content-Disposition", {
      prepared: true,
      foldLines: true,
      value: `${disposition}; ${parameter}`
    })
  }
  node.childNodes.forEach(quoteAsterisks)
}

const bodyOf = (
  message: MessageFields,
  streamed: ReadonlyArray<MailComposerAttachment>,
  contentOf: (bytes: Uint8Array) => Readable | Buffer,
  positions?: ReadonlyArray<number>
): MimeNode => {
  const root = new MailComposer(composerOptions(message, streamed, contentOf, positions)).compile()
  quoteAsterisks(root)
  return root
}

const headerOf = (message: MessageFields): Uint8Array => new TextEncoder().encode(headerText(message))

/** The stream of an attachment, which fails where the types of a program hid something else than bytes. */
const bytesOnly = <E, R>(
  { stream }: StreamedAttachment<E, R>,
  position: number
): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.mapChunksEffect(stream, (chunk) =>
    Chunk.every(chunk, isOctets) ? Effect.succeed(chunk) : Effect.fail(notOctets(`attachments[${position}]`))
  )

/** The bytes of a message. Each run composes it anew. */
export const compose = <E = never, R = never>(
  message: MessageFields,
  { positions, streamed }: Streams<E, R>
): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      let failure: Cause.Cause<E | ContentError> | undefined
      const attachments = yield* Effect.forEach(streamed, (attachment, position) =>
        Effect.map(
          toReadable(bytesOnly(attachment, position), (cause) => {
            failure ??= cause
          }),
          (readable) => composerAttachment(attachment, readable)
        )
      )
      const body = fromReadable(
        () => bodyOf(message, attachments, inPieces, positions).createReadStream(),
        (error): Effect.Effect<never, E | ContentError> =>
          failure === undefined ? Effect.die(error) : Effect.failCause(failure)
      )
      return Stream.concat(Stream.make(headerOf(message)), body)
    })
  )

/** At least as many bytes as this are in the message. */
const leastLength = ({ alternatives, attachments, calendar, html, text }: MessageFields): number =>
  [text, html, calendar?.content, ...[...alternatives, ...attachments].map(({ content }) => content)]
    .map((content) => content?.length ?? 0)
    .reduce((sum, length) => sum + length, 0)

const LF = 10
const lineEnd = Buffer.from("\r\n")

const encodedBody = (content: string | Buffer, encoding: string | false): string | Buffer => {
  if (encoding === "base64") return Base64.wrap(Base64.encode(content))
  return encoding === "quoted-printable" ? QuotedPrintable.wrap(QuotedPrintable.encode(content)) : content
}

/** What `createReadStream` gives, without its turns of the event loop. Content is in memory. */
const write = (node: MimeNode, pieces: Array<string | Buffer>): void => {
  const encoding = node.getTransferEncoding()
  pieces.push(node.buildHeaders(), "\r\n\r\n")
  const { boundary, childNodes, content, multipart } = node
  if (typeof content === "string" || Buffer.isBuffer(content)) pieces.push(encodedBody(content, encoding))
  if (typeof multipart !== "string" || typeof boundary !== "string") return
  for (const [position, child] of childNodes.entries()) {
    pieces.push(`${position > 0 ? "\r\n" : ""}--${boundary}\r\n`)
    write(child, pieces)
  }
  pieces.push(`\r\n--${boundary}--\r\n`)
}

// A session writes this many bytes at once, together with the commands.
const oneWrite = 131_072

/** The bytes of a message without streams in one array, if one write can hold them; composed at once. */
export const composeWhole = (message: MessageFields): Uint8Array | undefined => {
  if (leastLength(message) > oneWrite) return undefined
  const pieces: Array<string | Buffer> = [headerText(message)]
  const inMemory = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  write(bodyOf(message, [], inMemory), pieces)
  const bytes = Buffer.concat(pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece)))
  const whole = bytes.at(-1) === LF ? bytes : Buffer.concat([bytes, lineEnd])
  return whole.length > oneWrite ? undefined : whole
}
