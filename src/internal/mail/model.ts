/**
 * The parts of a message as plain data: as a program gives them, and as `make` keeps them (RFC 5322 section 3.6).
 * MailMessage exports these types; nothing here depends on MIME or on nodemailer.
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/** A mailbox, with a display name if it has one. */
export interface Mailbox {
  /** White space at its ends is dropped, and several spaces between words become one. */
  readonly name?: string | undefined
  /** The bare address, `local@domain`. */
  readonly address: string
}

/** A named group of mailboxes (RFC 5322 section 3.4). It may be empty, as in `undisclosed-recipients:;`. */
export interface Group {
  readonly group: string
  readonly members: ReadonlyArray<Mailbox>
}

/** A mailbox or a group. */
export type Address = Mailbox | Group

/**
 * An address as a program gives it. A string is written as in a header, `"ann@example.net"` or
 * `"Ann <ann@example.net>"`, and is always one address, so that no display name can add a recipient.
 */
export type AddressInput = string | Address

/** One address or several. */
export type AddressesInput = AddressInput | ReadonlyArray<AddressInput>

/** Where a mail program shows a part: in its list of attachments, or where the text or HTML refers to it. */
export type Disposition = "attachment" | "inline"

/** Describes an attachment. */
export interface AttachmentOptions {
  /** The name under which it is saved. Control characters are refused; white space at its ends is dropped. */
  readonly filename?: string | undefined
  /** The media type, with parameters if needed. By default it is guessed from the name. */
  readonly contentType?: string | undefined
  /** The content ID, without angle brackets, that HTML refers to: `<img src="cid:logo@example.com">`. */
  readonly cid?: string | undefined
  /**
   * Default `"inline"` with a content ID, `"attachment"` without one. With `"attachment"`, mail programs list it even if
   * it has a content ID.
   */
  readonly disposition?: Disposition | undefined
}

/** An attachment in memory, stored with the message. */
export interface Attachment extends AttachmentOptions {
  readonly content: Uint8Array
}

/** An attachment in memory, as a program gives it. */
export interface AttachmentInput extends AttachmentOptions {
  /** Bytes, a string, which is stored as UTF-8, or a `data:` URL, whose media type is the default of `contentType`. */
  readonly content: Uint8Array | string | URL
}

/**
 * An attachment whose bytes are read while the message is sent. It is not stored with the message: give it to
 * `content` or `submission` each time. `streamed` and `file` make one.
 */
export interface StreamedAttachment<E, R> extends AttachmentOptions {
  readonly _tag: "StreamedAttachment"
  /** Must give the same bytes each time it runs. */
  readonly stream: Stream.Stream<Uint8Array, E, R>
  /** Runs before anything is sent, and fails if the stream would fail at once. */
  readonly check: Effect.Effect<void, E, R>
}

/** An attachment of any kind: in memory, or one whose bytes are read while the message is sent. */
export type AnyAttachment = AttachmentInput | StreamedAttachment<unknown, unknown>

/** What reading a part of a message can fail with: an attachment, or an effect that renders a text. */
export type PartError<Part> =
  Part extends StreamedAttachment<infer E, unknown>
    ? E
    : Part extends Effect.Effect<unknown, infer E, unknown>
      ? E
      : never

/** What reading a part of a message requires. */
export type PartContext<Part> =
  Part extends StreamedAttachment<unknown, infer R>
    ? R
    : Part extends Effect.Effect<unknown, unknown, infer R>
      ? R
      : never

/** Another form of the text, such as `text/markdown` or `text/x-amp-html`. */
export interface Alternative {
  readonly contentType: string
  readonly content: string
}

export const alternativesOrders = ["richness", "given"] as const

/**
 * The order of the forms of the text. A mail program shows the last form that it supports (RFC 2046 section 5.1.4).
 *
 * - `"richness"`: plain text, other text, AMP, HTML, what is not text, a calendar object
 * - `"given"`: `text`, `html`, `calendar`, then `alternatives` as they are given
 */
export type AlternativesOrder = (typeof alternativesOrders)[number]

export const calendarMethods = [
  "PUBLISH",
  "REQUEST",
  "REPLY",
  "ADD",
  "CANCEL",
  "REFRESH",
  "COUNTER",
  "DECLINECOUNTER"
] as const

/** A method of iTIP (RFC 5546 section 1.4). */
export type CalendarMethod = (typeof calendarMethods)[number]

/**
 * An iCalendar object (RFC 5545), sent as RFC 6047 requires. `method` must equal the METHOD of the object.
 */
export interface Calendar {
  readonly method: CalendarMethod
  readonly content: string
  /** The name of the copy that is attached. Default `invite.ics`. */
  readonly filename?: string | undefined
}

export const listNames = ["help", "unsubscribe", "subscribe", "post", "owner", "archive"] as const

interface ListIdentity {
  /** The identifier of the list, with a description if there is one: `Dogs <dogs.lists.example.com>`. */
  readonly id?: string | undefined
  /** Mail programs may unsubscribe with one POST to the https URI of `unsubscribe` (RFC 8058). Requires DKIM. */
  readonly oneClick?: boolean | undefined
}

/** The fields of a mailing list (RFC 2369, RFC 2919, RFC 8058). URIs are in order of preference. */
export interface ListFields
  extends
    ListIdentity,
    Readonly<Partial<Record<(typeof listNames)[number], ReadonlyArray<string> | undefined>>> {}

/** The fields of a mailing list, as a program gives them. */
export interface ListFieldsInput
  extends
    ListIdentity,
    Readonly<Partial<Record<(typeof listNames)[number], string | ReadonlyArray<string> | undefined>>> {}

export const priorities = ["high", "normal", "low"] as const

/** How urgent a mail program shows the message. */
export type Priority = (typeof priorities)[number]

/** A header field that no option covers. */
export interface HeaderField {
  readonly name: string
  readonly value: string
}

/** Header fields that no option covers, as a list or by name. */
export type HeadersInput =
  ReadonlyArray<HeaderField> | Readonly<Record<string, string | ReadonlyArray<string>>>

/** The fields that name authors and recipients. */
export interface Correspondents {
  readonly from: ReadonlyArray<Mailbox>
  readonly sender?: Mailbox | undefined
  readonly to: ReadonlyArray<Address>
  readonly cc: ReadonlyArray<Address>
  readonly bcc: ReadonlyArray<Address>
}

export interface CorrespondentsInput {
  /** The authors. Several require a `sender`. */
  readonly from: AddressesInput
  /** Who sent the message on behalf of the authors. */
  readonly sender?: AddressInput | undefined
  readonly to?: AddressesInput | undefined
  readonly cc?: AddressesInput | undefined
  /** Recipients of the envelope only: no header field names them. */
  readonly bcc?: AddressesInput | undefined
}

/**
 * Who sends an existing message again, and to whom (RFC 5322 section 3.6.6). The envelope is taken from here.
 */
export interface Resent extends Correspondents {
  readonly date: Date
  readonly messageId: string
}

/** Who sends an existing message again, as a program gives it. */
export interface ResentInput extends CorrespondentsInput {
  /** Default now. */
  readonly date?: Date | undefined
  /** Default a new ID. */
  readonly messageId?: string | undefined
}

/** Every field of a message, as `make` has checked and completed it. */
export interface MessageFields extends Correspondents {
  readonly date: Date
  readonly messageId: string
  readonly boundary: string
  readonly replyTo: ReadonlyArray<Address>
  readonly subject?: string | undefined
  readonly inReplyTo: ReadonlyArray<string>
  readonly references: ReadonlyArray<string>
  readonly text?: string | undefined
  readonly html?: string | undefined
  readonly alternatives: ReadonlyArray<Alternative>
  readonly alternativesOrder?: AlternativesOrder | undefined
  readonly calendar?: Calendar | undefined
  readonly attachments: ReadonlyArray<Attachment>
  readonly list?: ListFields | undefined
  readonly priority?: Priority | undefined
  readonly headers: ReadonlyArray<HeaderField>
  readonly resent?: Resent | undefined
}

/** A message as a program gives it, with attachments of any kind in one list. Only `from` is required. */
export interface ComposeInput<A extends AnyAttachment = AttachmentInput> extends Omit<Input, "attachments"> {
  /** In memory, of a file, of a stream: `{ filename, content }`, `file`, `streamed`. */
  readonly attachments?: ReadonlyArray<A> | undefined
}

/** A message as a program gives it. Only `from` is required. */
export interface Input extends CorrespondentsInput {
  readonly replyTo?: AddressesInput | undefined
  readonly subject?: string | undefined
  /** Default now. Kept in whole seconds. */
  readonly date?: Date | undefined
  /** Default a new ID. */
  readonly messageId?: string | undefined
  readonly inReplyTo?: string | ReadonlyArray<string> | undefined
  readonly references?: string | ReadonlyArray<string> | undefined
  readonly text?: string | undefined
  readonly html?: string | undefined
  readonly alternatives?: ReadonlyArray<Alternative> | undefined
  /** Default `"richness"`. */
  readonly alternativesOrder?: AlternativesOrder | undefined
  readonly calendar?: Calendar | undefined
  readonly attachments?: ReadonlyArray<AttachmentInput> | undefined
  readonly list?: ListFieldsInput | undefined
  readonly priority?: Priority | undefined
  /**
   * Fields that no option covers. A field that has an option of its own is refused. Fields of addresses, such as
   * Disposition-Notification-To, and other structured fields are encoded by their syntax; those that are not known as
   * unstructured text.
   */
  readonly headers?: HeadersInput | undefined
  readonly resent?: ResentInput | undefined
  /** Separates the parts: 1 to 40 letters, digits, `.`, `_` and `-`. Default a new one. */
  readonly boundary?: string | undefined
}
