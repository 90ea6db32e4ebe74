/**
 * From a message that has been read to its octets: nodemailer's composer makes parts, encodings and delimiters, and
 * gets neither paths nor addresses of the web. All that goes in has CRLF line ends, and so has all that comes out.
 */
import type * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { MailComposerAttachment, MailComposerOptions } from "nodemailer/lib/mail-composer"
import MailComposer from "nodemailer/lib/mail-composer"
import type MimeNode from "nodemailer/lib/mime-node"
import { Readable } from "node:stream"
import type { ContentError } from "../../SmtpError.js"
import { isOctets, notOctets } from "../content/model.js"
import { headerText } from "./fields.js"
import type { Alternative, AttachmentOptions, Calendar, Message, StreamedAttachment } from "./model.js"
import { fromReadable, toReadable } from "./nodeStream.js"
import { withLineEnds } from "./text.js"
import { mayNotBeEncoded, mediaType, streamedMediaType, withCharset } from "./mediaType.js"

// Neither quoted-printable nor base64 can hold "=_" (RFC 2045 section 6.7).
const boundaryPrefix = "=_"

// Octets in memory are encoded in pieces of this length, each a whole number of base64 lines.
const pieceLength = 57 * 1024

function* pieces(octets: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < octets.length; start += pieceLength) {
    yield octets.subarray(start, start + pieceLength)
  }
}

const described = (
  { cid, disposition, filename }: AttachmentOptions,
  contentType: string
): MailComposerAttachment => ({
  // The composer would make up a name of its own.
  filename: filename ?? false,
  contentType,
  contentDisposition: disposition ?? (cid === undefined ? "attachment" : "inline"),
  contentTransferEncoding: mayNotBeEncoded(contentType) ? "7bit" : "base64",
  ...(cid === undefined ? {} : { cid })
})

const alternative = ({ content, contentType }: Alternative): Alternative => ({
  contentType: withCharset(contentType),
  content: withLineEnds(content)
})

const calendarEvent = ({ content, filename, method }: Calendar) => ({
  method,
  content: withLineEnds(content),
  ...(filename === undefined ? {} : { filename })
})

const text = (value: string | undefined): string | undefined =>
  value === undefined ? undefined : withLineEnds(value)

const composerOptions = (
  message: Message,
  streamed: ReadonlyArray<MailComposerAttachment>
): MailComposerOptions => ({
  date: message.date,
  messageId: message.messageId,
  baseBoundary: message.boundary,
  boundaryPrefix,
  text: text(message.text),
  html: text(message.html),
  alternatives: message.alternatives.map(alternative),
  ...(message.calendar === undefined ? {} : { icalEvent: calendarEvent(message.calendar) }),
  attachments: [
    ...message.attachments.map((attachment) => ({
      ...described(attachment, mediaType(attachment)),
      content: Readable.from(pieces(attachment.content), { objectMode: false })
    })),
    ...streamed
  ],
  disableFileAccess: true,
  disableUrlAccess: true
})

/** What an attachment's stream has ended with, since Node's streams carry no causes. */
interface Failure<E> {
  cause: Cause.Cause<E> | undefined
}

/** The attachment, whose stream fails where the types of a program have hidden what is no octets. */
const octetsOnly = <E, R>(
  attachment: StreamedAttachment<E, R>,
  position: number
): StreamedAttachment<E | ContentError, R> => ({
  ...attachment,
  stream: Stream.mapChunksEffect(attachment.stream, (chunk) =>
    Chunk.every(chunk, isOctets) ? Effect.succeed(chunk) : Effect.fail(notOctets(`attachments[${position}]`))
  )
})

/** An attachment's stream as the composer reads it: no faster than that, and no longer than the scope is open. */
const asReadable = <E, R>(
  attachment: StreamedAttachment<E, R>,
  failure: Failure<E>
): Effect.Effect<MailComposerAttachment, never, R | Scope.Scope> =>
  Effect.map(
    toReadable(attachment.stream, (cause) => {
      failure.cause ??= cause
    }),
    (content) => ({ ...described(attachment, streamedMediaType(attachment)), content })
  )

/** Whatever ended the octets early: an attachment, with the error that is its own, or a defect. */
const reason = <E>(failure: Failure<E>, error: unknown): Effect.Effect<never, E> =>
  failure.cause === undefined ? Effect.die(error) : Effect.failCause(failure.cause)

/**
 * An asterisk may stand in a value without quotes (RFC 2045 section 5.1), but Python's email package ends the value
 * there (RFC 2231 section 7 reserves it).
 */
const quoteAsterisks = (node: MimeNode): void => {
  const { filename } = node
  const disposition = node.getHeader("Content-Disposition")
  if (
    typeof disposition === "string" &&
    filename?.includes("*") === true &&
    /^[ !#-[\]-~]{1,60}$/.test(filename)
  ) {
    const value = `${disposition}; filename="${filename}"`
    node.setHeader("Content-Disposition", { prepared: true, foldLines: true, value })
  }
  node.childNodes.forEach(quoteAsterisks)
}

const bodyOf = (options: MailComposerOptions): Readable => {
  const root = new MailComposer(options).compile()
  quoteAsterisks(root)
  return root.createReadStream()
}

/**
 * The octets of a message. Each run composes it anew, and gives the same octets if the attachments' streams do.
 */
export const octets = <E, R>(
  message: Message,
  streamed: ReadonlyArray<StreamedAttachment<E, R>>
): Stream.Stream<Uint8Array, E | ContentError, R> => compose(message, streamed.map(octetsOnly))

const compose = <E = never, R = never>(
  message: Message,
  streamed: ReadonlyArray<StreamedAttachment<E, R>>
): Stream.Stream<Uint8Array, E, R> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const failure: Failure<E> = { cause: undefined }
      const contents = yield* Effect.forEach(streamed, (attachment) => asReadable(attachment, failure))
      const body = fromReadable(
        () => bodyOf(composerOptions(message, contents)),
        (error) => reason(failure, error)
      )
      const header = new TextEncoder().encode(headerText(message))
      return Stream.concat(Stream.make(header), body)
    })
  )

/** The octets in one array if they are at most `bound`. */
export const octetsWithin = (message: Message, bound: number): Effect.Effect<Uint8Array | undefined> => {
  if (inMemory(message) > bound) return Effect.succeed(undefined)
  return Stream.runCollect(compose(message, [])).pipe(
    Effect.map((chunks) => Buffer.concat([...chunks])),
    Effect.map((whole) => (whole.length > bound ? undefined : whole))
  )
}

/** A lower bound of what the message takes. */
const inMemory = (message: Message): number => {
  const texts = [message.text, message.html, message.calendar?.content]
  const characters = [...texts, ...message.alternatives.map(({ content }) => content)]
  return [
    ...characters.map((content) => content?.length ?? 0),
    ...message.attachments.map(({ content }) => content.length)
  ].reduce((sum, length) => sum + length, 0)
}
