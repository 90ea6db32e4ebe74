/**
 * Composes messages from a subject, texts and attachments. `compose` turns them into what `send` and `deliver` accept, and
 * `raw` does the same for an existing message such as an .eml file. nodemailer composes the MIME structure and must be
 * installed (optional peer). RFC 5322, RFC 2045 to 2047, RFC 2231, RFC 6532.
 *
 * `make` and `submission` are the two steps of `compose`, for programs that store messages. To store a message or to send it to another process, use the codec of `effect-smtplib/MailMessageSchema`.
 *
 * @since 0.1.0
 */
import type { PlatformError } from "@effect/platform/Error"
import type { FileSystem } from "@effect/platform/FileSystem"
import type { HttpClient } from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { checkReadable, fileSystem } from "./internal/effect/fileSystem.js"
import { checkDownload, download } from "./internal/effect/httpClient.js"
import { parseList } from "./internal/mail/address.js"
import * as Composing from "./internal/mail/compose.js"
import type { Envelope, VerpOptions } from "./internal/mail/envelope.js"
import * as Envelopes from "./internal/mail/envelope.js"
import type * as Model from "./internal/mail/model.js"
import { readMessage } from "./internal/mail/read.js"
import { attempt } from "./internal/mail/refuse.js"
import type { ComposeOptions, RawOptions } from "./internal/mail/submission.js"
import { defaults, makeRawSubmission, makeSubmission, readComposition } from "./internal/mail/submission.js"
import type { Content } from "./SmtpContent.js"
import type { ContentError, InvalidArgument } from "./SmtpError.js"
import type { Recipient, Submission } from "./SmtpSubmission.js"

/**
 * @since 0.1.0
 * @category models
 */
export type {
  Address,
  AddressesInput,
  AddressInput,
  Alternative,
  AlternativesOrder,
  AnyAttachment,
  Attachment,
  AttachmentInput,
  AttachmentOptions,
  Calendar,
  CalendarMethod,
  ComposeInput,
  Disposition,
  Group,
  HeaderField,
  HeadersInput,
  Input,
  ListFields,
  ListFieldsInput,
  Mailbox,
  MessageFields,
  PartContext,
  PartError,
  Priority,
  Resent,
  ResentInput,
  StreamedAttachment
} from "./internal/mail/model.js"

/**
 * @since 0.1.0
 * @category models
 */
export type { Envelope, VerpOptions } from "./internal/mail/envelope.js"

/**
 * @since 0.1.0
 * @category models
 */
export type { ComposeOptions, RawOptions } from "./internal/mail/submission.js"

// -- model

/**
 * A message: fields, texts and attachments in memory. Date, Message-ID and boundary are fixed, so its content has the
 * same bytes each time, and a message that is sent again is recognised as the same one.
 *
 * Use `make`. The constructor checks nothing; `content` and `submission` do.
 *
 * @since 0.1.0
 * @category models
 */
export class MailMessage extends Data.Class<Model.MessageFields> {}

// -- constructors

/**
 * Makes a message. Sets the date, the message ID and the boundary unless they are given, and copies attachments.
 *
 * Fails with `InvalidArgument`, whose `field` names the invalid value: `to[1]`, `headers["X-Foo"]`,
 * `attachments[0].filename`. No value that may reach a header can hold CR, LF or NUL.
 *
 * @example
 * ```ts
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const message = MailMessage.make({
 *   from: { name: "The Example App", address: "app@example.com" },
 *   to: ["Ann <ann@example.net>", { group: "Friends", members: [{ address: "bob@example.org" }] }],
 *   subject: "Grüße",
 *   text: "Hello, see the picture.\n",
 *   html: '<p>Hello: <img src="cid:logo@example.com"></p>',
 *   attachments: [
 *     { filename: "logo.svg", cid: "logo@example.com", content: '<svg xmlns="http://www.w3.org/2000/svg"/>' }
 *   ],
 *   list: { unsubscribe: "https://example.com/unsubscribe/ann", oneClick: true },
 *   headers: { "X-Campaign": "spring" }
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (input: Model.Input): Effect.Effect<MailMessage, InvalidArgument> =>
  Effect.flatMap(defaults, (found) => attempt(() => new MailMessage(readMessage(input, found))))

/**
 * Parses a list of addresses as it is written in a header field: `"Ann <ann@example.net>, bob@example.org"`. Do not
 * build such a list from user input: one more comma is one more recipient.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const message = Effect.flatMap(MailMessage.addresses("Ann <ann@example.net>, bob@example.org"), (to) =>
 *   MailMessage.make({ from: "app@example.com", to, subject: "Hello", text: "Hello.\n" })
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const addresses = (text: string): Effect.Effect<ReadonlyArray<Model.Address>, InvalidArgument> =>
  attempt(() => parseList(text, "addresses"))

/**
 * Makes an attachment of a stream, which runs in constant memory while the message is sent. It must give the same bytes
 * each time it runs.
 *
 * @example
 * ```ts
 * import * as Stream from "effect/Stream"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const rows = Stream.range(1, 1_000_000).pipe(Stream.map((row) => `${row}\n`), Stream.encodeText)
 * const attachment = MailMessage.streamed(rows, { filename: "rows.csv" })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const streamed = <E = never, R = never>(
  stream: Stream.Stream<Uint8Array, E, R>,
  options: Model.AttachmentOptions = {}
): Model.StreamedAttachment<E, R> => ({
  _tag: "StreamedAttachment",
  ...options,
  stream,
  check: Effect.void
})

/**
 * Makes an attachment of a file, which is read while the message is sent. `submission` fails with a `PlatformError` if
 * the file cannot be read. The default filename is the last part of the path.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const submission = MailMessage.make({ from: "app@example.com", to: "ann@example.net", text: "See below.\n" }).pipe(
 *   Effect.flatMap(MailMessage.submission({ attachments: [MailMessage.file("/srv/reports/march.pdf")] }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const file = (
  path: string,
  options: Model.AttachmentOptions = {}
): Model.StreamedAttachment<PlatformError, FileSystem> => ({
  _tag: "StreamedAttachment",
  ...options,
  filename: options.filename ?? path.split(/[/\\]/).at(-1),
  stream: Stream.unwrap(Effect.map(fileSystem, (files) => files.stream(path))),
  check: checkReadable(path)
})

/**
 * Makes an attachment of what a URL gives, through the HttpClient that the program provides. It is requested once before
 * the message is sent, and again each time it is read: for DKIM and for each attempt. `data:` URLs need no client: give
 * `new URL("data:...")` as the content of an attachment.
 *
 * @example
 * ```ts
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const attachment = MailMessage.url("https://cdn.example.com/terms.pdf", { filename: "terms.pdf" })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const url = (
  address: string | URL,
  options: Model.AttachmentOptions = {}
): Model.StreamedAttachment<HttpClientError, HttpClient> => ({
  _tag: "StreamedAttachment",
  ...options,
  filename: options.filename ?? String(address).split(/[?#]/)[0]?.split("/").at(-1),
  stream: download(String(address)),
  check: checkDownload(String(address))
})

// -- content

/**
 * Attachments that are not stored with the message.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContentOptions<E, R> {
  readonly attachments?: ReadonlyArray<Model.StreamedAttachment<E, R>> | undefined
}

/**
 * Composes the bytes of a message, header included: CRLF line ends, lines of at most 998 bytes, and 7-bit except for
 * addresses whose local part is not ASCII. Memory does not grow with the size of the attachments. Each run gives the
 * same bytes.
 *
 * Fails with `InvalidArgument` if the message or an attachment is invalid, or if the HTML refers to a `cid:` that no
 * attachment has; with `ContentError` if an attachment gives
 * something other than bytes, and with the errors of the attachments.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const text = MailMessage.make({ from: "app@example.com", to: "ann@example.net", text: "Hello.\n" }).pipe(
 *   Effect.flatMap((message) => MailMessage.content(message).pipe(Stream.decodeText(), Stream.mkString))
 * )
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const content = <E = never, R = never>(
  message: MailMessage,
  { attachments = [] }: ContentOptions<E, R> = {}
): Stream.Stream<Uint8Array, E | InvalidArgument | ContentError, R> =>
  Stream.unwrap(
    attempt(() => {
      const streams = { streamed: attachments }
      Composing.checkComposition(message, streams)
      const whole = attachments.length === 0 ? Composing.composeWhole(message) : undefined
      return whole === undefined ? Composing.compose(message, streams) : Stream.make(whole)
    })
  )

// -- envelope

/**
 * Returns the envelope of a message: from `sender`, or else the first of `from`; to each mailbox of `to`, `cc` and `bcc`
 * once, members of groups included. If the message has `resent`, all of these are taken from there.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const envelope = MailMessage.make({
 *   from: ["ann@example.com", "bob@example.com"],
 *   sender: "office@example.com",
 *   to: "carol@example.net",
 *   bcc: "archive@example.com"
 * }).pipe(Effect.map(MailMessage.envelope))
 * // { from: "office@example.com", to: ["carol@example.net", "archive@example.com"] }
 * ```
 *
 * @since 0.1.0
 * @category accessors
 */
export const envelope = (message: MailMessage): Envelope => Envelopes.envelopeOfMessage(message)

/**
 * The options of a submission, with attachments that are not stored with the message.
 *
 * @since 0.1.0
 * @category models
 */
export interface SubmissionOptions<E, R> extends ComposeOptions, ContentOptions<E, R> {}

/**
 * Makes a submission of a message, for `send`, `deliver` and `sendAll`. Content below 128 KiB is composed at once and
 * sent in one write with the commands. Larger messages and those with streams or files run in constant memory. SMTPUTF8
 * is requested only if the header names a mailbox whose local part is not ASCII. Blind copies are in the envelope only.
 *
 * Fails with `InvalidArgument` if the message has no recipient, an attachment is invalid or the HTML refers to a `cid:`
 * that no attachment has; and with the error of a file that cannot be read.
 *
 * @example
 * ```ts
 * import { SmtpSession } from "effect-smtplib"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const smtp = yield* SmtpSession.SmtpSession
 *   const message = yield* MailMessage.make({ from: "app@example.com", to: "ann@example.net", text: "Hello.\n" })
 *   return yield* smtp.send(yield* MailMessage.submission(message, { timeout: "1 minute" }))
 * })
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const submission: {
  <E = never, R = never>(
    options: SubmissionOptions<E, R>
  ): (message: MailMessage) => Effect.Effect<Submission<E | ContentError, R>, InvalidArgument | E, R>
  <E = never, R = never>(
    message: MailMessage,
    options?: SubmissionOptions<E, R>
  ): Effect.Effect<Submission<E | ContentError, R>, InvalidArgument | E, R>
  // The compiler infers from the last one where the function is passed on: `Effect.flatMap(MailMessage.submission)`.
  (message: MailMessage): Effect.Effect<Submission<ContentError>, InvalidArgument>
} = dual(
  (args) => Predicate.hasProperty(args[0], "messageId"),
  <E, R>(message: MailMessage, { attachments = [], ...options }: SubmissionOptions<E, R> = {}) =>
    Effect.suspend(() => {
      const streams = { streamed: attachments }
      return Effect.zipRight(
        attempt(() => Composing.checkComposition(message, streams)),
        makeSubmission(message, streams, options)
      )
    })
)

/**
 * Composes a message and makes a submission of it, for `send`, `deliver` and `sendAll`: `make` and `submission` in one
 * step. `attachments` holds attachments of any kind, and keeps their order.
 *
 * Fails with `InvalidArgument` before anything is sent: its `field` names the value by its path, such as `to[1]` or
 * `attachments[2].content`. Fails also with the error of a file that cannot be read. The types of errors and requirements are those of
 * the attachments.
 *
 * @example
 * ```ts
 * import { SmtpClient } from "effect-smtplib"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* SmtpClient.SmtpClient
 *   const submission = yield* MailMessage.compose({
 *     from: "app@example.com",
 *     to: "ann@example.net",
 *     subject: "Your invoice",
 *     text: "See below.\n",
 *     attachments: [{ filename: "note.txt", content: "Paid.\n" }, MailMessage.file("/srv/invoices/4711.pdf")]
 *   })
 *   return yield* client.send(submission)
 * })
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const compose = <A extends Model.AnyAttachment = never>(
  input: Model.ComposeInput<A>,
  options: ComposeOptions = {}
): Effect.Effect<
  Submission<Model.PartError<A> | ContentError, Model.PartContext<A>>,
  InvalidArgument | Model.PartError<A>,
  Model.PartContext<A>
> =>
  Effect.flatMap(defaults, (found) =>
    Effect.flatMap(
      attempt(() => readComposition(input, found)),
      ({ message, streams }) => makeSubmission(message, streams, options)
    )
  )

/**
 * Makes a submission of an existing message, such as an .eml file: bytes, a string or a stream. Removes Bcc and
 * Resent-Bcc fields and a byte order mark, and changes nothing else.
 *
 * Without `from` or `to`, the envelope is read from the header by the rules of smtplib's `send_message`: Sender, or else
 * From; each mailbox of To, Cc and Bcc once. If the message has a Resent-Date, the Resent- fields are used instead.
 *
 * Content without a header, or without a From field, is refused unless `allowHeaderless` is set. `addMissing` adds Date and
 * Message-ID if they are missing. `send` and `deliver` of sessions and clients accept any bytes.
 *
 * SMTPUTF8 is requested if a header goes beyond ASCII in UTF-8. A header in another charset, such as Latin-1, is sent as it
 * is, with 8BITMIME.
 *
 * A replayable stream runs once before it is sent, to find its envelope, its size and whether it requires SMTPUTF8. A
 * stream that can run only once (`SmtpContent.once`) requires `from` and `to`, and `parameters.smtputf8` if needed.
 *
 * Fails with `InvalidArgument` if the message has no From, or the header gives no envelope, or several (more than one Resent-Date); with
 * `ContentError` if the header has more than 1 MiB; and with the errors of the stream.
 *
 * @example
 * ```ts
 * import * as FileSystem from "@effect/platform/FileSystem"
 * import { SmtpSession } from "effect-smtplib"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const files = yield* FileSystem.FileSystem
 *   const smtp = yield* SmtpSession.SmtpSession
 *   return yield* smtp.send(yield* MailMessage.raw(files.stream("message.eml")))
 * })
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const raw = <E = never, R = never>(
  content: Content<E, R>,
  options: RawOptions = {}
): Effect.Effect<Submission<E | ContentError, R>, InvalidArgument | ContentError | E, R> =>
  makeRawSubmission(content, options)

// -- variable envelope return paths

const isSeveral = (to: Submission["to"]): to is Exclude<Submission["to"], string | Recipient> =>
  Array.isArray(to)

/**
 * Makes one submission per recipient, each with a reverse-path that names the recipient, so that a bounce identifies it
 * (VERP): `bounces+ann=example.net@lists.example.org`. All submissions share the content.
 *
 * Fails with `InvalidArgument` if an address does not fit: local parts have at most 64 bytes.
 *
 * @example
 * ```ts
 * import { SmtpSession } from "effect-smtplib"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 * import * as Effect from "effect/Effect"
 *
 * const deliverAll = (message: MailMessage.MailMessage) =>
 *   Effect.gen(function* () {
 *     const smtp = yield* SmtpSession.SmtpSession
 *     const submission = yield* MailMessage.submission(message)
 *     const each = yield* MailMessage.verp(submission, { sender: "bounces@lists.example.org" })
 *     return yield* Effect.forEach(each, (one) => smtp.deliver(one))
 *   })
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const verp = <E = never, R = never>(
  submission: Submission<E, R>,
  { delimiter, sender }: VerpOptions
): Effect.Effect<ReadonlyArray<Submission<E, R>>, InvalidArgument> =>
  attempt(() =>
    (isSeveral(submission.to) ? submission.to : [submission.to]).map((recipient, position) => {
      const to = typeof recipient === "string" ? { address: recipient } : recipient
      return { ...submission, from: Envelopes.verpPath(sender, to.address, `to[${position}]`, delimiter), to }
    })
  )

/**
 * Returns the recipient that the reverse-path of a bounce names, or `undefined` if the path has another sender.
 *
 * @example
 * ```ts
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const bounced = MailMessage.verpRecipient("bounces+ann=example.net@lists.example.org", {
 *   sender: "bounces@lists.example.org"
 * }) // "ann@example.net"
 * ```
 *
 * @since 0.1.0
 * @category accessors
 */
export const verpRecipient = (path: string, { delimiter, sender }: VerpOptions): string | undefined =>
  Envelopes.verpRecipient(sender, path, delimiter)
