/**
 * Messages from typed parts: what most programs have is a subject, a text and an attachment, and not octets. A
 * MailMessage is plain data that Schema stores and sends over RPC; `submission` makes of it what `send` and `deliver`
 * take, and `raw` does the same for a message that exists already. MIME itself is composed by nodemailer, which has
 * to be installed beside this library. RFC 5322, RFC 2045 to 2047, RFC 2231, RFC 6532.
 *
 * @since 0.1.0
 */
import type { PlatformError } from "@effect/platform/Error"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { invalidArgument } from "./internal/session/failure.js"
import { needsSmtpUtf8, parseList } from "./internal/mail/address.js"
import * as Composition from "./internal/mail/compose.js"
import type { Envelope } from "./internal/mail/envelope.js"
import * as Envelopes from "./internal/mail/envelope.js"
import type { Address, AttachmentOptions, Input, Message, StreamedAttachment } from "./internal/mail/model.js"
import { calendarMethods, priorities } from "./internal/mail/model.js"
import * as Raw from "./internal/mail/raw.js"
import * as Reading from "./internal/mail/read.js"
import { mayNotBeEncoded } from "./internal/mail/mediaType.js"
import type { Invalid } from "./protocol/Invalid.js"
import { invalid, isInvalid } from "./protocol/Invalid.js"
import type { Content } from "./SmtpContent.js"
import * as SmtpContent from "./SmtpContent.js"
import type { ContentError } from "./SmtpError.js"
import { InvalidArgument } from "./SmtpError.js"
import type { MailParameters, Recipient, Submission } from "./SmtpSubmission.js"

export type {
  /**
   * What an address field holds: a mailbox or a group.
   *
   * @since 0.1.0
   * @category models
   */
  Address,
  /**
   * One address or several, as a program gives them.
   *
   * @since 0.1.0
   * @category models
   */
  AddressesInput,
  /**
   * An address, or one as it is written in a header. A string is one address and never several.
   *
   * @since 0.1.0
   * @category models
   */
  AddressInput,
  /**
   * One more form of the text.
   *
   * @since 0.1.0
   * @category models
   */
  Alternative,
  /**
   * An attachment that is stored with the message.
   *
   * @since 0.1.0
   * @category models
   */
  Attachment,
  /**
   * An attachment in memory, as a program gives it.
   *
   * @since 0.1.0
   * @category models
   */
  AttachmentInput,
  /**
   * What is said of an attachment.
   *
   * @since 0.1.0
   * @category models
   */
  AttachmentOptions,
  /**
   * An iCalendar object with its method (RFC 6047).
   *
   * @since 0.1.0
   * @category models
   */
  Calendar,
  /**
   * The methods of iTIP (RFC 5546).
   *
   * @since 0.1.0
   * @category models
   */
  CalendarMethod,
  /**
   * How recipients are asked to show a part.
   *
   * @since 0.1.0
   * @category models
   */
  Disposition,
  /**
   * A named group of mailboxes.
   *
   * @since 0.1.0
   * @category models
   */
  Group,
  /**
   * A field of the program's own.
   *
   * @since 0.1.0
   * @category models
   */
  HeaderField,
  /**
   * Fields of the program's own, one by one or by name.
   *
   * @since 0.1.0
   * @category models
   */
  HeadersInput,
  /**
   * A message as a program gives it.
   *
   * @since 0.1.0
   * @category models
   */
  Input,
  /**
   * The fields of a mailing list.
   *
   * @since 0.1.0
   * @category models
   */
  ListFields,
  /**
   * The fields of a mailing list, as a program gives them.
   *
   * @since 0.1.0
   * @category models
   */
  ListFieldsInput,
  /**
   * A mailbox with its display name, if it has one.
   *
   * @since 0.1.0
   * @category models
   */
  Mailbox,
  /**
   * What a mail program may show as urgent.
   *
   * @since 0.1.0
   * @category models
   */
  Priority,
  /**
   * Who sends a message again, and to whom.
   *
   * @since 0.1.0
   * @category models
   */
  Resent,
  /**
   * Who sends a message again, as a program gives it.
   *
   * @since 0.1.0
   * @category models
   */
  ResentInput,
  /**
   * An attachment whose octets come while the message is sent.
   *
   * @since 0.1.0
   * @category models
   */
  StreamedAttachment
} from "./internal/mail/model.js"

export type {
  /**
   * From whom and to whom: bare addresses.
   *
   * @since 0.1.0
   * @category models
   */
  Envelope
} from "./internal/mail/envelope.js"

// -- model

const MailboxSchema = Schema.Struct({ name: Schema.optional(Schema.String), address: Schema.String })

const AddressSchema = Schema.Union(
  MailboxSchema,
  Schema.Struct({ group: Schema.String, members: Schema.Array(MailboxSchema) })
)

const MessageId = Schema.String.pipe(Schema.pattern(/^<[^<>]+>$/))

const list = <A, I>(item: Schema.Schema<A, I>) =>
  Schema.optionalWith(Schema.Array(item), { default: (): ReadonlyArray<A> => [] })

const Uris = Schema.optional(Schema.Array(Schema.String))

const Correspondents = {
  from: Schema.Array(MailboxSchema),
  sender: Schema.optional(MailboxSchema),
  to: list(AddressSchema),
  cc: list(AddressSchema),
  bcc: list(AddressSchema)
}

const fields = Schema.Struct({
  date: Schema.Date,
  messageId: MessageId,
  boundary: Schema.String,
  ...Correspondents,
  replyTo: list(AddressSchema),
  subject: Schema.optional(Schema.String),
  inReplyTo: list(MessageId),
  references: list(MessageId),
  text: Schema.optional(Schema.String),
  html: Schema.optional(Schema.String),
  alternatives: list(Schema.Struct({ contentType: Schema.String, content: Schema.String })),
  calendar: Schema.optional(
    Schema.Struct({
      method: Schema.Literal(...calendarMethods),
      content: Schema.String,
      filename: Schema.optional(Schema.String)
    })
  ),
  attachments: list(
    Schema.Struct({
      filename: Schema.optional(Schema.String),
      contentType: Schema.optional(Schema.String),
      cid: Schema.optional(Schema.String),
      disposition: Schema.optional(Schema.Literal("attachment", "inline")),
      content: Schema.Uint8ArrayFromBase64
    })
  ),
  list: Schema.optional(
    Schema.Struct({
      id: Schema.optional(Schema.String),
      oneClick: Schema.optional(Schema.Boolean),
      help: Uris,
      unsubscribe: Uris,
      subscribe: Uris,
      post: Uris,
      owner: Uris,
      archive: Uris
    })
  ),
  priority: Schema.optional(Schema.Literal(...priorities)),
  headers: list(Schema.Struct({ name: Schema.String, value: Schema.String })),
  resent: Schema.optional(Schema.Struct({ date: Schema.Date, messageId: MessageId, ...Correspondents }))
})

/**
 * A message: fields, text and attachments as plain data, with Date, Message-ID and the boundary of its parts fixed,
 * so that each run of its content gives the same octets, and a message that is sent again is known to be the same
 * one.
 *
 * It is a Schema class: `Schema.encode(MailMessage.MailMessage)` gives JSON, attachments as base64, and decoding
 * checks what `make` checks. Attachments that are streams or files cannot be stored; they are given to `submission`.
 *
 * Use `make`: the constructor is Schema's own, wants every field in its final form, and throws.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 *
 * const stored = MailMessage.make({ from: "app@example.com", to: "ann@example.net", text: "Hello.\n" }).pipe(
 *   Effect.flatMap(Schema.encode(MailMessage.MailMessage)),
 *   Effect.map((json) => JSON.stringify(json))
 * )
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export class MailMessage extends Schema.Class<MailMessage>("effect-smtplib/MailMessage")(
  fields.pipe(
    Schema.filter((message) => {
      const wrong = Reading.check(message)
      return wrong === undefined
        ? undefined
        : { path: [wrong.field], message: `Invalid ${wrong.field}: it ${wrong.reason}` }
    })
  )
) {}

// -- constructors

const unique = (): string => globalThis.crypto.randomUUID().replaceAll("-", "")

const orFail = <A>(read: A | Invalid): Effect.Effect<A, InvalidArgument> =>
  isInvalid(read) ? Effect.fail(invalidArgument(read)) : Effect.succeed(read)

/**
 * Reads a message, and fixes its date, its id and its boundary where they are not given. What is given is copied.
 *
 * Fails with `InvalidArgument`, whose `field` names what is wrong: `to[1]`, `headers["X-Foo"]`,
 * `attachments[0].filename`. No value may hold CR, LF or NUL where a header could come of it.
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
export const make = (input: Input): Effect.Effect<MailMessage, InvalidArgument> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const defaults = { date: new Date(Math.floor(now / 1000) * 1000), unique }
    return Effect.map(
      Effect.suspend(() => orFail(Reading.read(input, defaults))),
      (message) => new MailMessage(message, { disableValidation: true })
    )
  })

/**
 * Reads a list of addresses as people and header fields write it: `"Ann <ann@example.net>, bob@example.org"`. Do not
 * put such a text together from what others have typed: one comma more is one recipient more.
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
export const addresses = (text: string): Effect.Effect<ReadonlyArray<Address>, InvalidArgument> =>
  Effect.suspend(() => orFail(parseList(text, "addresses")))

/**
 * An attachment whose octets a stream gives while the message is sent, in constant memory. It has to give the same
 * octets each time it is run.
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
  options: AttachmentOptions = {}
): StreamedAttachment<E, R> => ({ _tag: "StreamedAttachment", ...options, stream, check: Effect.void })

/**
 * A file as an attachment, read while the message is sent. Whether it can be read is asked before anything is sent.
 * Its name is the last part of the path, unless another is given.
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
  options: AttachmentOptions = {}
): StreamedAttachment<PlatformError, FileSystem.FileSystem> => ({
  _tag: "StreamedAttachment",
  ...options,
  filename: options.filename ?? path.split(/[/\\]/).at(-1),
  stream: Stream.unwrap(Effect.map(FileSystem.FileSystem, (files) => files.stream(path))),
  check: canBeRead(path)
})

const canBeRead = (path: string): Effect.Effect<void, PlatformError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    yield* files.access(path, { readable: true })
    const { type } = yield* files.stat(path)
    if (type === "Directory") {
      yield* new SystemError({
        reason: "BadResource",
        module: "FileSystem",
        method: "stream",
        pathOrDescriptor: path,
        description: "it is a directory"
      })
    }
  })

// -- content

// Plain JavaScript knows no types.
const isStreamed = (attachment: unknown): boolean =>
  Predicate.isTagged(attachment, "StreamedAttachment") &&
  Predicate.hasProperty(attachment, "stream") &&
  Predicate.hasProperty(attachment.stream, Stream.StreamTypeId)

const streamedInvalid = <E, R>(attachment: StreamedAttachment<E, R>, field: string): Invalid | undefined => {
  if (!isStreamed(attachment)) {
    return invalid(field, "is neither `streamed` nor a `file`; give octets and strings to `make`")
  }
  const wrong = Reading.attachmentInvalid(attachment, field)
  if (wrong !== undefined) return wrong
  return attachment.contentType !== undefined && mayNotBeEncoded(attachment.contentType)
    ? invalid(
        `${field}.contentType`,
        "may not be encoded, and nobody has seen what the stream gives; give message/global"
      )
    : undefined
}

const compositionInvalid = <E, R>(
  message: Message,
  attachments: ReadonlyArray<StreamedAttachment<E, R>>
): Invalid | undefined => {
  const wrong = Reading.check(message)
  if (wrong !== undefined) return wrong
  for (const [position, attachment] of attachments.entries()) {
    const found = streamedInvalid(attachment, `attachments[${position}]`)
    if (found !== undefined) return found
  }
  const stored = message.attachments.length
  return Reading.duplicateCid([...message.attachments, ...attachments], (position) =>
    position < stored ? `message.attachments[${position}]` : `attachments[${position - stored}]`
  )
}

/**
 * What is composed with a message: attachments that are not stored with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContentOptions<E, R> {
  readonly attachments?: ReadonlyArray<StreamedAttachment<E, R>> | undefined
}

/**
 * The octets of a message, header section included: CRLF line ends, lines of at most 998 octets, and 7-bit but for
 * addresses whose local part is beyond ASCII. It holds a few pieces of each attachment in memory, whatever their
 * size. It may be run again, and gives the same octets.
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
  Stream.suspend((): Stream.Stream<Uint8Array, E | InvalidArgument | ContentError, R> => {
    const wrong = compositionInvalid(message, attachments)
    return wrong === undefined
      ? Composition.octets(message, attachments)
      : Stream.fail(invalidArgument(wrong))
  })

// -- envelope

/**
 * From whom and to whom the message goes: from `sender`, else from the first of `from`; to all of `to`, `cc` and
 * `bcc`, members of groups included; whoever is named more than once gets one copy, in the first place. Of a message
 * that is sent again, all these are of `resent`.
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
export const envelope = (message: MailMessage): Envelope => Envelopes.ofMessage(message)

/** Everything of a submission but the content, and with an envelope that may be left to the message. */
type Overrides = Omit<Submission, "from" | "to" | "content">

/**
 * What outranks the message, and all that a submission takes besides.
 *
 * @since 0.1.0
 * @category models
 */
export interface RawOptions extends Overrides {
  /** The reverse-path, whatever the message says; `""` is the null reverse-path. */
  readonly from?: Submission["from"] | undefined
  /** The recipients, whatever the message says. */
  readonly to?: Submission["to"] | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SubmissionOptions<E, R> extends RawOptions, ContentOptions<E, R> {}

const isWritten = (parameters: Submission["parameters"]): parameters is ReadonlyArray<string> =>
  Array.isArray(parameters)

/** SMTPUTF8 where the message needs it and the program has not decided otherwise. */
const withSmtpUtf8 = (
  parameters: Submission["parameters"],
  needed: boolean
): { readonly parameters?: MailParameters | ReadonlyArray<string> } => {
  if (!needed) return parameters === undefined ? {} : { parameters }
  if (isWritten(parameters)) {
    const known = parameters.some((parameter) => parameter.toUpperCase() === "SMTPUTF8")
    return { parameters: known ? parameters : [...parameters, "SMTPUTF8"] }
  }
  return { parameters: { ...parameters, smtputf8: parameters?.smtputf8 ?? true } }
}

const headerNeedsSmtpUtf8 = (message: Message): boolean => {
  const shown = ({
    cc,
    from,
    sender,
    to
  }: Omit<Message["resent"] & object, "bcc">): ReadonlyArray<Address> => [
    ...from,
    ...(sender === undefined ? [] : [sender]),
    ...to,
    ...cc
  ]
  const resent = message.resent === undefined ? [] : shown(message.resent)
  return needsSmtpUtf8([...shown(message), ...message.replyTo, ...resent])
}

// What a session writes at once, together with the commands.
const atOnce = 131_072

const contentOf = <E, R>(
  message: Message,
  attachments: ReadonlyArray<StreamedAttachment<E, R>>,
  content7bit: boolean
): Effect.Effect<Content<E | ContentError, R>> => {
  const flowing = SmtpContent.replayable(Composition.octets(message, attachments), { content7bit })
  if (attachments.length > 0) return Effect.succeed(flowing)
  return Effect.map(Composition.octetsWithin(message, atOnce), (whole) => whole ?? flowing)
}

const makeSubmission = <E, R>(
  message: MailMessage,
  options: SubmissionOptions<E, R>
): Effect.Effect<Submission<E | ContentError, R>, InvalidArgument | E, R> =>
  Effect.gen(function* () {
    const { attachments = [], from, parameters, to, ...others } = options
    const wrong = compositionInvalid(message, attachments)
    if (wrong !== undefined) return yield* invalidArgument(wrong)
    const derived = Envelopes.ofMessage(message)
    if (to === undefined && derived.to.length === 0) {
      return yield* new InvalidArgument({
        field: "to",
        reason: "is empty, as are cc and bcc: name a recipient"
      })
    }
    yield* Effect.forEach(attachments, ({ check }) => check, { discard: true })
    const international = headerNeedsSmtpUtf8(message)
    return {
      ...others,
      ...withSmtpUtf8(parameters, international),
      from: from ?? derived.from,
      to: to ?? derived.to,
      content: yield* contentOf(message, attachments, !international)
    }
  })

/**
 * What `send`, `deliver` and `sendAll` take: the envelope of the message, its content, and the parameters that it
 * needs. Content of less than 128 KiB is octets, which leave in one write with the commands; more, and whatever has
 * streams or files, flows in constant memory. SMTPUTF8 is asked for only if the header names a mailbox whose local
 * part is beyond ASCII. Blind copies are in the envelope alone.
 *
 * Fails with `InvalidArgument` if nobody is to get the message, or a streamed attachment is described wrongly, and
 * with what a file says that cannot be read.
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
} = dual(
  (args) => Predicate.hasProperty(args[0], "messageId"),
  <E, R>(message: MailMessage, options: SubmissionOptions<E, R> = {}) => makeSubmission(message, options)
)

/**
 * A submission of a message that exists already, such as an .eml file: octets, a string or a stream, sent as they
 * are.
 *
 * Without `from` or `to` the envelope is what the header says, by the rules of smtplib's `send_message`: Sender or
 * else From; To, Cc and Bcc, each mailbox once; and all of these from the Resent- fields if the message was sent again, which it may
 * have been once only. Bcc and Resent-Bcc are left out of what is sent, and so is a byte order mark before the first
 * field, which some editors put there; nothing else is changed.
 *
 * A stream that can be run again is run once to be looked at, so that its size and its needs are known before MAIL.
 * One that cannot (`SmtpContent.once`) needs `from` and `to`, since its header is seen only when it is sent; and
 * `parameters.smtputf8` if it needs SMTPUTF8.
 *
 * Fails with `InvalidArgument` if the header does not say who is to get it, or says it more than once
 * (`Resent-Date`); with `ContentError` if the header section has more than 1 MiB; and with the stream's own errors.
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
  Effect.gen(function* () {
    const { from, parameters, to, ...others } = options
    const prepared = yield* Raw.prepare(content)
    const { section } = prepared
    const given = { from, to }
    const read = section === undefined ? withoutHeader(given) : Envelopes.ofFields(section.fields, given)
    if (isInvalid(read)) return yield* invalidArgument(read)
    return {
      ...others,
      ...withSmtpUtf8(parameters, prepared.needsSmtpUtf8),
      ...read,
      content: prepared.content
    }
  })

const withoutHeader = ({
  from,
  to
}: Pick<RawOptions, "from" | "to">): Pick<Submission, "from" | "to"> | Invalid =>
  from === undefined || to === undefined
    ? invalid(
        "content",
        "is a stream that can be run only once, and its header is not seen before it is sent; give from and to"
      )
    : { from, to }

// -- variable envelope return paths

/**
 * @since 0.1.0
 * @category models
 */
export interface VerpOptions {
  /** The address that bounces go to, e.g. `bounces@lists.example.org`. */
  readonly sender: string
  /** What stands between its local part and the recipient's; `+` by default. */
  readonly delimiter?: string | undefined
}

const recipientsOf = ({ to }: Pick<Submission, "to">) =>
  (isSeveral(to) ? to : [to]).map((recipient) =>
    typeof recipient === "string" ? { address: recipient } : recipient
  )

const isSeveral = (to: Submission["to"]): to is Exclude<Submission["to"], string | Recipient> =>
  Array.isArray(to)

/**
 * One submission for each recipient, each with a reverse-path that names the recipient, so that a bounce tells whose
 * it is: `bounces+ann=example.net@lists.example.org` (VERP). The content is the same for all.
 *
 * Fails with `InvalidArgument` if an address cannot be written so: local parts have at most 64 octets.
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
  Effect.forEach(recipientsOf(submission), (recipient, position) =>
    Effect.map(orFail(Envelopes.verp(sender, recipient.address, `to[${position}]`, delimiter)), (from) => ({
      ...submission,
      from,
      to: recipient
    }))
  )

/**
 * The recipient that the reverse-path of a bounce names; `undefined` if the path was not made for this sender.
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
