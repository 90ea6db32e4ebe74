/**
 * What a message is made of, as plain data: what a program gives, and what it becomes once it has been read. It knows
 * nothing of MIME and of the wire (RFC 5322 section 3.6).
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/** A mailbox with its display name, if it has one. */
export interface Mailbox {
  /** White space around it is left out, and several spaces between its words are one. */
  readonly name?: string | undefined
  /** The bare address, `local@domain`. */
  readonly address: string
}

/** A named group of mailboxes (RFC 5322 section 3.4); it may be empty, as in `undisclosed-recipients:;`. */
export interface Group {
  readonly group: string
  readonly members: ReadonlyArray<Mailbox>
}

/** What an address field of the header holds. */
export type Address = Mailbox | Group

/**
 * An address, or one as it is written in a header: `"ann@example.net"`, `"Ann <ann@example.net>"`. A string is one
 * address and never several, so that no display name can add a recipient.
 */
export type AddressInput = string | Address

/** One address or several. */
export type AddressesInput = AddressInput | ReadonlyArray<AddressInput>

/** How recipients are asked to show a part: by itself, or where the text or HTML refers to it. */
export type Disposition = "attachment" | "inline"

/** What is said of an attachment. */
export interface AttachmentOptions {
  /** The name to save it under: any characters but control characters, without white space at its ends. */
  readonly filename?: string | undefined
  /** The media type, with parameters if need be. It is guessed from the name where it is missing. */
  readonly contentType?: string | undefined
  /** The content id, without angle brackets, by which HTML refers to it: `<img src="cid:logo@example.com">`. */
  readonly cid?: string | undefined
  /** `"inline"` by default for what has a content id, else `"attachment"`. */
  readonly disposition?: Disposition | undefined
}

/** An attachment whose octets are in memory, and are stored with the message. */
export interface Attachment extends AttachmentOptions {
  readonly content: Uint8Array
}

/** An attachment as a program gives it. A string is stored as UTF-8. */
export interface AttachmentInput extends AttachmentOptions {
  readonly content: Uint8Array | string
}

/**
 * An attachment whose octets come while the message is sent. It is no part of the stored message, and is given anew
 * each time that one is composed.
 */
export interface StreamedAttachment<E, R> extends AttachmentOptions {
  readonly _tag: "StreamedAttachment"
  /** Gives the same octets each time it is run. */
  readonly stream: Stream.Stream<Uint8Array, E, R>
  /** Tells early, before anything is sent, what would go wrong at once. */
  readonly check: Effect.Effect<void, E, R>
}

/**
 * One more form of the text, e.g. `text/markdown`. It comes behind text and HTML, and the later form is the better one
 * to whoever knows its type (RFC 2046 section 5.1.4).
 */
export interface Alternative {
  readonly contentType: string
  readonly content: string
}

/** The methods of iTIP (RFC 5546 section 1.4). */
export type CalendarMethod = (typeof calendarMethods)[number]

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

/** An iCalendar object (RFC 5545), sent as RFC 6047 says. The method is the one that the object names. */
export interface Calendar {
  readonly method: CalendarMethod
  readonly content: string
  /** The name of the same object as an attachment; `invite.ics` by default. */
  readonly filename?: string | undefined
}

/**
 * The fields of a mailing list: RFC 2369, RFC 2919 and, for one-click unsubscription, RFC 8058. Each is one URI or
 * several in order of preference.
 */
export interface ListFields {
  /** The identifier of the list, with a description if there is one: `Dogs <dogs.lists.example.com>`. */
  readonly id?: string | undefined
  readonly help?: ReadonlyArray<string> | undefined
  readonly unsubscribe?: ReadonlyArray<string> | undefined
  /** The https URI of `unsubscribe` does it at once when a mail program sends POST (RFC 8058). Sign the message. */
  readonly oneClick?: boolean | undefined
  readonly subscribe?: ReadonlyArray<string> | undefined
  readonly post?: ReadonlyArray<string> | undefined
  readonly owner?: ReadonlyArray<string> | undefined
  readonly archive?: ReadonlyArray<string> | undefined
}

/** The fields of a mailing list as a program gives them. */
export interface ListFieldsInput {
  readonly id?: string | undefined
  readonly help?: string | ReadonlyArray<string> | undefined
  readonly unsubscribe?: string | ReadonlyArray<string> | undefined
  readonly oneClick?: boolean | undefined
  readonly subscribe?: string | ReadonlyArray<string> | undefined
  readonly post?: string | ReadonlyArray<string> | undefined
  readonly owner?: string | ReadonlyArray<string> | undefined
  readonly archive?: string | ReadonlyArray<string> | undefined
}

export const listNames = ["help", "unsubscribe", "subscribe", "post", "owner", "archive"] as const

export type Priority = (typeof priorities)[number]

export const priorities = ["high", "normal", "low"] as const

/** A field of the program's own. */
export interface HeaderField {
  readonly name: string
  readonly value: string
}

/** Fields of a program's own, one by one or by name. */
export type HeadersInput =
  ReadonlyArray<HeaderField> | Readonly<Record<string, string | ReadonlyArray<string>>>

/** Who sends a message again, and to whom (RFC 5322 section 3.6.6). The envelope is then theirs. */
export interface Resent {
  readonly date: Date
  readonly messageId: string
  readonly from: ReadonlyArray<Mailbox>
  readonly sender?: Mailbox | undefined
  readonly to: ReadonlyArray<Address>
  readonly cc: ReadonlyArray<Address>
  readonly bcc: ReadonlyArray<Address>
}

export interface ResentInput {
  /** Now, if it is missing. */
  readonly date?: Date | undefined
  readonly messageId?: string | undefined
  readonly from: AddressesInput
  readonly sender?: AddressInput | undefined
  readonly to?: AddressesInput | undefined
  readonly cc?: AddressesInput | undefined
  readonly bcc?: AddressesInput | undefined
}

/** A message once it has been read. */
export interface Message {
  readonly date: Date
  readonly messageId: string
  readonly boundary: string
  readonly from: ReadonlyArray<Mailbox>
  readonly sender?: Mailbox | undefined
  readonly replyTo: ReadonlyArray<Address>
  readonly to: ReadonlyArray<Address>
  readonly cc: ReadonlyArray<Address>
  readonly bcc: ReadonlyArray<Address>
  readonly subject?: string | undefined
  readonly inReplyTo: ReadonlyArray<string>
  readonly references: ReadonlyArray<string>
  readonly text?: string | undefined
  readonly html?: string | undefined
  readonly alternatives: ReadonlyArray<Alternative>
  readonly calendar?: Calendar | undefined
  readonly attachments: ReadonlyArray<Attachment>
  readonly list?: ListFields | undefined
  readonly priority?: Priority | undefined
  readonly headers: ReadonlyArray<HeaderField>
  readonly resent?: Resent | undefined
}

/** A message as a program gives it. Only `from` has to be there. */
export interface Input {
  /** Whose message it is. Several need a `sender`. */
  readonly from: AddressesInput
  /** Who has sent it for them. */
  readonly sender?: AddressInput | undefined
  readonly replyTo?: AddressesInput | undefined
  readonly to?: AddressesInput | undefined
  readonly cc?: AddressesInput | undefined
  /** Recipients of the envelope, whom the message never names. */
  readonly bcc?: AddressesInput | undefined
  readonly subject?: string | undefined
  /** Now, if it is missing; to the second. */
  readonly date?: Date | undefined
  /** Made anew if it is missing. */
  readonly messageId?: string | undefined
  readonly inReplyTo?: string | ReadonlyArray<string> | undefined
  readonly references?: string | ReadonlyArray<string> | undefined
  readonly text?: string | undefined
  readonly html?: string | undefined
  readonly alternatives?: ReadonlyArray<Alternative> | undefined
  readonly calendar?: Calendar | undefined
  readonly attachments?: ReadonlyArray<AttachmentInput> | undefined
  readonly list?: ListFieldsInput | undefined
  readonly priority?: Priority | undefined
  /** Fields that nothing here stands for. What has an option of its own is refused. */
  readonly headers?: HeadersInput | undefined
  readonly resent?: ResentInput | undefined
  /** What separates the parts; made anew if it is missing. Letters, digits, `.`, `_` and `-`, at most 40. */
  readonly boundary?: string | undefined
}
