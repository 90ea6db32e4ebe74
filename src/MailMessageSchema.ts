/**
 * A Schema codec for `MailMessage`, to store messages as JSON or to send them to another process. It is a module of its
 * own because importing Schema takes over 100 ms.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { alternativesOrders, calendarMethods, priorities } from "./internal/mail/model.js"
import { messageFault } from "./internal/mail/read.js"
import * as MailMessages from "./MailMessage.js"

const Mailbox = Schema.Struct({ name: Schema.optional(Schema.String), address: Schema.String })

const Address = Schema.Union(Mailbox, Schema.Struct({ group: Schema.String, members: Schema.Array(Mailbox) }))

const MessageId = Schema.String.pipe(Schema.pattern(/^<[^<>]+>$/))

const list = <A, I>(item: Schema.Schema<A, I>) =>
  Schema.optionalWith(Schema.Array(item), { default: (): ReadonlyArray<A> => [] })

const Uris = Schema.optional(Schema.Array(Schema.String))

const correspondents = {
  from: Schema.Array(Mailbox),
  sender: Schema.optional(Mailbox),
  to: list(Address),
  cc: list(Address),
  bcc: list(Address)
}

const fields = Schema.Struct({
  date: Schema.Date,
  messageId: MessageId,
  boundary: Schema.String,
  ...correspondents,
  replyTo: list(Address),
  subject: Schema.optional(Schema.String),
  inReplyTo: list(MessageId),
  references: list(MessageId),
  text: Schema.optional(Schema.String),
  html: Schema.optional(Schema.String),
  alternatives: list(Schema.Struct({ contentType: Schema.String, content: Schema.String })),
  alternativesOrder: Schema.optional(Schema.Literal(...alternativesOrders)),
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
  resent: Schema.optional(Schema.Struct({ date: Schema.Date, messageId: MessageId, ...correspondents }))
})

/**
 * The JSON form of a message. Attachments are base64.
 *
 * @since 0.1.0
 * @category models
 */
export type MailMessageEncoded = Schema.Schema.Encoded<typeof fields>

/**
 * Encodes a `MailMessage` to plain JSON and decodes it to the same class. Decoding fails with a `ParseError` on a message
 * that `make` would refuse. Attachments that are streams or files are not part of a message: give them to `submission`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 * import * as MailMessageSchema from "effect-smtplib/MailMessageSchema"
 *
 * const Json = Schema.parseJson(MailMessageSchema.MailMessage)
 *
 * const stored = MailMessage.make({ from: "app@example.com", to: "ann@example.net", text: "Hello.\n" }).pipe(
 *   Effect.flatMap(Schema.encode(Json))
 * )
 * const restored = Effect.flatMap(stored, Schema.decode(Json))
 * ```
 *
 * @since 0.1.0
 * @category codecs
 */
export const MailMessage: Schema.Schema<MailMessages.MailMessage, MailMessageEncoded> = Schema.transform(
  fields.pipe(
    Schema.filter((message) => {
      const fault = messageFault(message)
      return fault && { path: [fault.field], message: fault.message }
    })
  ),
  Schema.instanceOf(MailMessages.MailMessage),
  { strict: true, decode: (message) => new MailMessages.MailMessage(message), encode: (message) => message }
).annotations({ identifier: "MailMessage" })
