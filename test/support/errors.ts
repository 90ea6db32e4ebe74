/**
 * Arbitrary replies and errors, for properties that have to hold of all of them.
 */
import * as FastCheck from "effect/FastCheck"
import type { Reply } from "../../src/protocol/Reply.js"
import { phases } from "../../src/protocol/Command.js"
import { make } from "../../src/protocol/Reply.js"
import * as SmtpError from "../../src/SmtpError.js"
import * as SmtpReceipt from "../../src/SmtpReceipt.js"

const text = FastCheck.string({ unit: "binary", maxLength: 40 })
const word = FastCheck.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 20 })

const oneOf = <A extends string>(...values: readonly [A, ...ReadonlyArray<A>]): FastCheck.Arbitrary<A> =>
  FastCheck.constantFrom(...values)

const optional = <A>(arbitrary: FastCheck.Arbitrary<A>): FastCheck.Arbitrary<A | undefined> =>
  FastCheck.option(arbitrary, { nil: undefined })

/** A reply as the parser makes them, with an enhanced status code in every second one. */
export const reply: FastCheck.Arbitrary<Reply> = FastCheck.record({
  code: FastCheck.integer({ min: 100, max: 599 }),
  enhanced: optional(FastCheck.tuple(FastCheck.nat(999), FastCheck.nat(999))),
  lines: FastCheck.array(text, { minLength: 1, maxLength: 4 }),
  advertised: FastCheck.boolean()
}).map(({ advertised, code, enhanced, lines }) => {
  const prefix = enhanced === undefined ? "" : `${Math.floor(code / 100)}.${enhanced[0]}.${enhanced[1]} `
  return make(
    code,
    lines.map((line) => prefix + line),
    advertised
  )
})

/** A refusal, for now or for good. */
const refusal = reply.filter(({ code }) => code >= 400)

const phase: FastCheck.Arbitrary<SmtpError.Phase> = oneOf(...phases)

const refusedRecipient = FastCheck.record({ address: word, reply: refusal })
const recipients = FastCheck.array(refusedRecipient, { minLength: 1, maxLength: 8 })
const transcript = FastCheck.array(word, { maxLength: 3 })
const cause: FastCheck.Arbitrary<unknown> = FastCheck.oneof(
  word.map((message) => new Error(message)),
  word,
  FastCheck.constant({ authorization: "Bearer hunter2" })
)

/** One arbitrary for each class, by its tag. */
export const byTag = {
  ConnectError: FastCheck.record({
    endpoint: word,
    reason: oneOf("Unreachable", "Timeout", "Greeting"),
    reply: optional(reply),
    cause: optional(cause)
  }).map((fields) => new SmtpError.ConnectError(fields)),
  TlsError: FastCheck.record({
    endpoint: word,
    reason: oneOf(
      "Handshake",
      "Disconnected",
      "Certificate",
      "Timeout",
      "Injection",
      "OfferVanished",
      "Configuration"
    ),
    cause: optional(cause)
  }).map((fields) => new SmtpError.TlsError(fields)),
  ServerDisconnected: FastCheck.record({
    phase,
    reply: optional(refusal),
    isFirstEhlo: optional(FastCheck.boolean()),
    refused: optional(recipients),
    cause: optional(cause),
    transcript: optional(transcript)
  }).map((fields) => new SmtpError.ServerDisconnected(fields)),
  ReplyTimeout: FastCheck.record({
    phase,
    limitMillis: FastCheck.nat(),
    limitPhase: optional(phase),
    isOfSend: optional(FastCheck.boolean()),
    refused: optional(recipients),
    transcript: optional(transcript)
  }).map((fields) => new SmtpError.ReplyTimeout(fields)),
  ProtocolError: FastCheck.record({
    phase,
    reason: word,
    reply: optional(reply),
    refused: optional(recipients),
    transcript: optional(transcript)
  }).map((fields) => new SmtpError.ProtocolError(fields)),
  HeloError: FastCheck.record({
    command: oneOf("EHLO", "HELO", "LHLO"),
    reply: refusal
  }).map((fields) => new SmtpError.HeloError(fields)),
  CommandRefused: FastCheck.record({ command: word, phase, reply: refusal }).map(
    (fields) => new SmtpError.CommandRefused(fields)
  ),
  AuthenticationError: FastCheck.record({
    reason: oneOf(
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
    mechanism: optional(word),
    reply: optional(refusal),
    detail: optional(word),
    cause: optional(cause)
  }).map((fields) => new SmtpError.AuthenticationError(fields)),
  NotSupported: FastCheck.record({ extension: word, reason: word }).map(
    (fields) => new SmtpError.NotSupported(fields)
  ),
  SenderRefused: FastCheck.record({ sender: text, reply: refusal }).map(
    (fields) => new SmtpError.SenderRefused(fields)
  ),
  RecipientsRefused: FastCheck.record({
    recipients,
    policy: oneOf("any", "all")
  }).map((fields) => new SmtpError.RecipientsRefused(fields)),
  DataError: FastCheck.record({ phase, reply: refusal }).map((fields) => new SmtpError.DataError(fields)),
  ContentError: FastCheck.record({
    reason: oneOf(
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
    detail: word
  }).map((fields) => new SmtpError.ContentError(fields)),
  InvalidArgument: FastCheck.record({ field: word, reason: word }).map(
    (fields) => new SmtpError.InvalidArgument(fields)
  ),
  ClientUnavailable: FastCheck.record({
    reason: oneOf("QueueFull", "Timeout", "RateLimit", "RateLimitStore", "Closed"),
    detail: optional(text),
    cause: optional(cause)
  }).map((fields) => new SmtpError.ClientUnavailable(fields))
} satisfies { readonly [Tag in SmtpError.SmtpError["_tag"]]: FastCheck.Arbitrary<SmtpError.SmtpError> }

/** Any error of the library. */
export const error: FastCheck.Arbitrary<SmtpError.SmtpError> = FastCheck.oneof(...Object.values(byTag))

const outcome: FastCheck.Arbitrary<SmtpReceipt.Outcome> = FastCheck.oneof(
  FastCheck.tuple(word, reply).map(([recipient, answer]) => SmtpReceipt.accepted(recipient, answer)),
  FastCheck.constant(SmtpReceipt.accepted("ann@example.net", make(250, ["2.0.0 Ok: queued as 4A6B71234"]))),
  FastCheck.tuple(word, refusal, phase).map((fields) => SmtpReceipt.refused(...fields)),
  FastCheck.tuple(word, error).map((fields) => SmtpReceipt.notSent(...fields)),
  FastCheck.tuple(
    word,
    FastCheck.oneof(byTag.ServerDisconnected, byTag.ReplyTimeout, byTag.ProtocolError)
  ).map((fields) => SmtpReceipt.unknown(...fields))
)

const contentReport = FastCheck.record({
  octets: FastCheck.nat(),
  changed: FastCheck.boolean(),
  longestLine: FastCheck.nat()
})

export const receipt: FastCheck.Arbitrary<SmtpReceipt.Receipt> = FastCheck.tuple(
  FastCheck.tuple(outcome, FastCheck.array(outcome, { maxLength: 4 })),
  optional(contentReport)
).map(([[first, others], content]) => SmtpReceipt.make([first, ...others], content))
