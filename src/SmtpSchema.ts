/**
 * Schema codecs for replies, errors and receipts, which carry them between processes (Rpc, HttpApi, Workflow, cluster).
 * They encode to plain JSON and decode to the same classes and models. Importing Schema costs over 100 ms, so this module
 * is not part of the barrel.
 *
 * The cause of an error may hold secrets or have no JSON, so only its message is encoded. It decodes to an Error with
 * that message.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Schema from "effect/Schema"
import { describeCause } from "./internal/effect/cause.js"
import { phases } from "./protocol/Command.js"
import type { Reply as ReplyModel } from "./protocol/Reply.js"
import * as Errors from "./SmtpError.js"
import type { Outcome as OutcomeModel, Receipt as ReceiptModel } from "./SmtpReceipt.js"
import * as Receipts from "./SmtpReceipt.js"

const EnhancedCode = Schema.Struct({
  class: Schema.Literal(2, 4, 5),
  subject: Schema.NonNegativeInt,
  detail: Schema.NonNegativeInt,
  advertised: Schema.Boolean
})

/**
 * The JSON form of a reply.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReplyEncoded {
  readonly code: number
  readonly enhancedCode?:
    | {
        readonly class: 2 | 4 | 5
        readonly subject: number
        readonly detail: number
        readonly advertised: boolean
      }
    | undefined
  readonly lines: ReadonlyArray<string>
  readonly text: string
}

/**
 * Encodes and decodes a reply of the server. The JSON has no enhanced status code if the reply has none. Decoding fails
 * with a ParseError on a code outside 100 to 599.
 *
 * @since 0.1.0
 * @category codecs
 * @example
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as SmtpSchema from "effect-smtplib/SmtpSchema"
 *
 * const decode = Schema.decodeUnknown(SmtpSchema.Reply)
 * const reply = decode({ code: 250, lines: ["OK"], text: "OK" })
 * ```
 */
export const Reply: Schema.Schema<ReplyModel, ReplyEncoded> = Schema.transform(
  Schema.Struct({
    code: Schema.Int.pipe(Schema.between(100, 599)),
    enhancedCode: Schema.optional(EnhancedCode),
    lines: Schema.Array(Schema.String),
    text: Schema.String
  }),
  Schema.declare((value): value is ReplyModel => typeof value === "object" && value !== null),
  {
    decode: ({ code, enhancedCode, lines, text }) => ({ code, enhancedCode, lines, text }),
    encode: ({ code, enhancedCode, lines, text }) => ({
      code,
      ...(enhancedCode === undefined ? {} : { enhancedCode }),
      lines,
      text
    })
  }
).annotations({ identifier: "Reply" })

const Cause = Schema.transform(Schema.String, Schema.Unknown, {
  decode: (message) => new Error(message),
  encode: describeCause
})

const RefusedRecipient = Schema.Struct({ address: Schema.String, reply: Reply })

const Phase = Schema.Literal(...phases)
const optionalReply = Schema.optional(Reply)
const optionalCause = Schema.optional(Cause)
const optionalText = Schema.optional(Schema.String)
const optionalRefused = Schema.optional(Schema.Array(RefusedRecipient))
const optionalTranscript = Schema.optional(Schema.Array(Schema.String))

// Fields that are `undefined` are left out, so that the encoded value is its own JSON, and an absent cause stays absent.
const pick = (error: object, keys: ReadonlyArray<string>): Record<string, unknown> =>
  Object.fromEntries(
    keys.flatMap((key) => {
      const value: unknown = Reflect.get(error, key)
      return value === undefined ? [] : [[key, value]]
    })
  )

// Decoding checks the JSON once, by `from`; the constructors of the classes check nothing. The two functions are not
// `strict` because `pick` is untyped; `A extends Fields` says that the class has these fields.
const codec = <Fields extends object, Encoded, A extends Errors.SmtpError & Fields>(
  errorClass: new (fields: Fields) => A,
  from: Schema.Schema<Fields, Encoded> & { readonly fields: Schema.Struct.Fields }
): Schema.Schema<A, Encoded> => {
  const keys = Object.keys(from.fields)
  return Schema.transform(
    from,
    Schema.declare((value): value is A => value instanceof errorClass),
    { strict: false, decode: (fields) => new errorClass(fields), encode: (error: A) => pick(error, keys) }
  ).annotations({ identifier: errorClass.name })
}

/** The fields of each error. A required field or a reason that is missing here does not compile. */
const fields = {
  ConnectError: Schema.TaggedStruct("ConnectError", {
    endpoint: Schema.String,
    reason: Schema.Literal("Unreachable", "Timeout", "Greeting"),
    reply: optionalReply,
    cause: optionalCause
  }),
  TlsError: Schema.TaggedStruct("TlsError", {
    endpoint: Schema.String,
    reason: Schema.Literal(
      "Handshake",
      "Disconnected",
      "Certificate",
      "Timeout",
      "Injection",
      "OfferVanished",
      "Configuration"
    ),
    cause: optionalCause
  }),
  ServerDisconnected: Schema.TaggedStruct("ServerDisconnected", {
    phase: Phase,
    reply: optionalReply,
    isFirstEhlo: Schema.optional(Schema.Boolean),
    refused: optionalRefused,
    cause: optionalCause,
    transcript: optionalTranscript
  }),
  ReplyTimeout: Schema.TaggedStruct("ReplyTimeout", {
    phase: Phase,
    limitMillis: Schema.Number,
    limitPhase: Schema.optional(Phase),
    isOfSend: Schema.optional(Schema.Boolean),
    refused: optionalRefused,
    transcript: optionalTranscript
  }),
  ProtocolError: Schema.TaggedStruct("ProtocolError", {
    phase: Phase,
    reason: Schema.String,
    reply: optionalReply,
    refused: optionalRefused,
    transcript: optionalTranscript
  }),
  HeloError: Schema.TaggedStruct("HeloError", {
    command: Schema.Literal("EHLO", "HELO", "LHLO"),
    reply: Reply
  }),
  CommandRefused: Schema.TaggedStruct("CommandRefused", {
    command: Schema.String,
    phase: Phase,
    reply: Reply
  }),
  AuthenticationError: Schema.TaggedStruct("AuthenticationError", {
    reason: Schema.Literal(
      "Rejected",
      "Temporary",
      "NoCommonMechanism",
      "NotOffered",
      "Insecure",
      "Token",
      "TokenUnavailable",
      "Challenge",
      "ServerNotVerified"
    ),
    mechanism: optionalText,
    reply: optionalReply,
    detail: optionalText,
    cause: optionalCause
  }),
  NotSupported: Schema.TaggedStruct("NotSupported", { extension: Schema.String, reason: Schema.String }),
  SenderRefused: Schema.TaggedStruct("SenderRefused", { sender: Schema.String, reply: Reply }),
  RecipientsRefused: Schema.TaggedStruct("RecipientsRefused", {
    recipients: Schema.Array(RefusedRecipient),
    policy: Schema.Literal("any", "all")
  }),
  DataError: Schema.TaggedStruct("DataError", { phase: Phase, reply: Reply }),
  ContentError: Schema.TaggedStruct("ContentError", {
    reason: Schema.Literal(
      "Nul",
      "LineEnds",
      "LineTooLong",
      "TooLarge",
      "Changed",
      "NotAscii",
      "UsedTwice",
      "Stalled",
      "Failed"
    ),
    detail: Schema.String
  }),
  InvalidArgument: Schema.TaggedStruct("InvalidArgument", { field: Schema.String, reason: Schema.String }),
  ClientUnavailable: Schema.TaggedStruct("ClientUnavailable", {
    reason: Schema.Literal("QueueFull", "Timeout", "RateLimit", "RateLimitStore", "Closed"),
    detail: Schema.optional(Schema.String),
    cause: optionalCause
  })
}

/**
 * The codec of each error: it decodes to the class of `SmtpError` with the same name.
 *
 * @since 0.1.0
 * @category errors
 */
export const ConnectError = codec(Errors.ConnectError, fields.ConnectError),
  TlsError = codec(Errors.TlsError, fields.TlsError),
  ServerDisconnected = codec(Errors.ServerDisconnected, fields.ServerDisconnected),
  ReplyTimeout = codec(Errors.ReplyTimeout, fields.ReplyTimeout),
  ProtocolError = codec(Errors.ProtocolError, fields.ProtocolError),
  HeloError = codec(Errors.HeloError, fields.HeloError),
  CommandRefused = codec(Errors.CommandRefused, fields.CommandRefused),
  AuthenticationError = codec(Errors.AuthenticationError, fields.AuthenticationError),
  NotSupported = codec(Errors.NotSupported, fields.NotSupported),
  SenderRefused = codec(Errors.SenderRefused, fields.SenderRefused),
  RecipientsRefused = codec(Errors.RecipientsRefused, fields.RecipientsRefused),
  DataError = codec(Errors.DataError, fields.DataError),
  ContentError = codec(Errors.ContentError, fields.ContentError),
  InvalidArgument = codec(Errors.InvalidArgument, fields.InvalidArgument),
  ClientUnavailable = codec(Errors.ClientUnavailable, fields.ClientUnavailable)

/**
 * Encodes and decodes any error of the library, by its `_tag`: the error schema of an Rpc or an HttpApi endpoint that
 * sends mail. It decodes to an instance of the same class, so `SmtpError.delivery`, `SmtpError.isTransient` and
 * `Effect.catchTag` work on the other side too.
 *
 * @since 0.1.0
 * @category codecs
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as SmtpError from "effect-smtplib/SmtpError"
 * import * as SmtpSchema from "effect-smtplib/SmtpSchema"
 *
 * const program = Effect.gen(function* () {
 *   const sent = new SmtpError.ServerDisconnected({ phase: "final" })
 *   const json = JSON.stringify(yield* Schema.encode(SmtpSchema.SmtpError)(sent))
 *   const received = yield* Schema.decode(Schema.parseJson(SmtpSchema.SmtpError))(json)
 *   return SmtpError.delivery(received) // "Unknown"
 * })
 * ```
 */
export const SmtpError = Schema.Union(
  ConnectError,
  TlsError,
  ServerDisconnected,
  ReplyTimeout,
  ProtocolError,
  HeloError,
  CommandRefused,
  AuthenticationError,
  NotSupported,
  SenderRefused,
  RecipientsRefused,
  DataError,
  ContentError,
  InvalidArgument,
  ClientUnavailable
).annotations({ identifier: "SmtpError" })

/**
 * Encodes and decodes an error that ended the session in the middle of a dialogue.
 *
 * @since 0.1.0
 * @category codecs
 */
export const Disconnection = Schema.Union(ServerDisconnected, ReplyTimeout, ProtocolError).annotations({
  identifier: "Disconnection"
})

const Accepted = Schema.TaggedStruct("Accepted", {
  recipient: Schema.String,
  reply: Reply,
  queueId: Schema.optional(Schema.String)
})

const Refused = Schema.TaggedStruct("Refused", {
  recipient: Schema.String,
  reply: Reply,
  permanent: Schema.Boolean,
  phase: Phase
})

const NotSent = Schema.TaggedStruct("NotSent", { recipient: Schema.String, cause: SmtpError })

const Unknown = Schema.TaggedStruct("Unknown", { recipient: Schema.String, cause: Disconnection })

const OutcomeFields = Schema.Union(Accepted, Refused, NotSent, Unknown)

/**
 * The JSON form of an outcome.
 *
 * @since 0.1.0
 * @category models
 */
export type OutcomeEncoded = typeof OutcomeFields.Encoded

const outcomeTags: ReadonlyArray<unknown> = ["Accepted", "Refused", "NotSent", "Unknown"]

const isOutcome = (value: unknown): value is OutcomeModel =>
  typeof value === "object" && value !== null && "_tag" in value && outcomeTags.includes(value._tag)

/**
 * Encodes and decodes the outcome of one recipient. The JSON has no queue id if it is not known.
 *
 * @since 0.1.0
 * @category codecs
 */
export const Outcome: Schema.Schema<OutcomeModel, OutcomeEncoded> = Schema.transform(
  OutcomeFields,
  Schema.declare(isOutcome),
  {
    decode: (outcome) => (outcome._tag === "Accepted" ? { ...outcome, queueId: outcome.queueId } : outcome),
    encode: (outcome) => {
      if (outcome._tag !== "Accepted") return outcome
      const { queueId, ...rest } = outcome
      return queueId === undefined ? rest : { ...rest, queueId }
    }
  }
).annotations({ identifier: "Outcome" })

const ContentReport = Schema.Struct({
  octets: Schema.NonNegativeInt,
  changed: Schema.Boolean,
  longestLine: Schema.NonNegativeInt
})

/**
 * The JSON form of a receipt: the outcomes in the caller's order, and the report of the content.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReceiptEncoded {
  readonly outcomes: NonEmptyReadonlyArray<OutcomeEncoded>
  readonly content?: typeof ContentReport.Encoded | undefined
}

/**
 * Encodes and decodes the receipt of one message. The JSON holds the outcomes alone; decoding makes the lists of
 * accepted, refused, unsent and unknown recipients of them.
 *
 * @since 0.1.0
 * @category codecs
 * @example
 * ```ts
 * import * as Schema from "effect/Schema"
 * import type * as SmtpReceipt from "effect-smtplib/SmtpReceipt"
 * import * as SmtpSchema from "effect-smtplib/SmtpSchema"
 *
 * const toJson = (receipt: SmtpReceipt.Receipt) => Schema.encode(Schema.parseJson(SmtpSchema.Receipt))(receipt)
 * ```
 */
export const Receipt: Schema.Schema<ReceiptModel, ReceiptEncoded> = Schema.transform(
  Schema.Struct({ outcomes: Schema.NonEmptyArray(Outcome), content: Schema.optional(ContentReport) }),
  Schema.declare(
    (value): value is ReceiptModel => typeof value === "object" && value !== null && "outcomes" in value
  ),
  {
    decode: ({ content, outcomes }) => Receipts.make(outcomes, content),
    encode: ({ content, outcomes }) => (content === undefined ? { outcomes } : { outcomes, content })
  }
).annotations({ identifier: "Receipt" })
