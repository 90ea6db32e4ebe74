/** Turns a message into a submission, and what a program composes into a message and its streams. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Content } from "../../SmtpContent.js"
import * as SmtpContent from "../../SmtpContent.js"
import type { ContentError, InvalidArgument } from "../../SmtpError.js"
import type { MailParameters, Submission } from "../../SmtpSubmission.js"
import type { Streams } from "./compose.js"
import { checkStreams, compose, composeWhole } from "./compose.js"
import { envelopeOfFields, envelopeOfMessage } from "./envelope.js"
import { needsSmtpUtf8 } from "./headerText.js"
import type { Defaults } from "./identity.js"
import type {
  AnyAttachment,
  AttachmentInput,
  ComposeInput,
  MessageFields,
  PartContext,
  PartError,
  StreamedAttachment
} from "./model.js"
import { prepareRaw } from "./raw.js"
import { readMessage } from "./read.js"
import { attempt, isList, refusal } from "./refuse.js"

/** The options of a submission. `from` and `to` override the envelope of the message. */
export interface ComposeOptions extends Omit<Submission, "from" | "to" | "content"> {
  /** The reverse-path. `""` is the null reverse-path. */
  readonly from?: Submission["from"] | undefined
  readonly to?: Submission["to"] | undefined
}

/** The options of a submission of an existing message. */
export interface RawOptions extends ComposeOptions {
  /** Accepts content without a From field, or without a header. Default false. */
  readonly allowHeaderless?: boolean | undefined
  /** Adds Date and Message-ID to a header that has From, if they are missing. Default false. */
  readonly addMissing?: boolean | undefined
}

const unique = (): string => globalThis.crypto.randomUUID().replaceAll("-", "")

export const defaults: Effect.Effect<Defaults> = Effect.map(Clock.currentTimeMillis, (now) => ({
  date: new Date(Math.floor(now / 1000) * 1000),
  unique
}))

const isWritten = (parameters: Submission["parameters"]): parameters is ReadonlyArray<string> =>
  Array.isArray(parameters)

/** Adds SMTPUTF8 if the message requires it, unless the program has decided. */
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

/** The message and its streams have been checked. */
export const makeSubmission = <E, R>(
  message: MessageFields,
  streams: Streams<E, R>,
  { from, parameters, to, ...others }: ComposeOptions
): Effect.Effect<Submission<E | ContentError, R>, InvalidArgument | E, R> =>
  Effect.gen(function* () {
    const { streamed } = streams
    const derived = yield* attempt(() => {
      const envelope = envelopeOfMessage(message)
      if (to === undefined && envelope.to.length === 0) {
        throw refusal("to", "is empty, and so are cc and bcc; name a recipient")
      }
      return envelope
    })
    yield* Effect.forEach(streamed, ({ check }) => check, { discard: true })
    const needed = needsSmtpUtf8(message)
    const whole = streamed.length === 0 ? composeWhole(message) : undefined
    return {
      ...others,
      ...withSmtpUtf8(parameters, needed),
      from: from ?? derived.from,
      to: to ?? derived.to,
      content: whole ?? SmtpContent.replayable(compose(message, streams), { content7bit: !needed })
    }
  })

/** A submission of an existing message. */
export const makeRawSubmission = <E, R>(
  content: Content<E, R>,
  { addMissing = false, allowHeaderless = false, from, parameters, to, ...others }: RawOptions
): Effect.Effect<Submission<E | ContentError, R>, InvalidArgument | ContentError | E, R> =>
  Effect.gen(function* () {
    const found = yield* defaults
    const message = yield* prepareRaw(content, { allowHeaderless, defaults: addMissing ? found : undefined })
    const envelope = yield* attempt(() => {
      if (message.section !== undefined) return envelopeOfFields(message.section.fields, { from, to })
      if (from !== undefined && to !== undefined) return { from, to }
      throw refusal(
        "content",
        "is a stream that can run only once, so its header is unknown; give from and to"
      )
    })
    return {
      ...others,
      ...withSmtpUtf8(parameters, message.needsSmtpUtf8),
      ...envelope,
      content: message.content
    }
  })

const isStreamed = <A extends AnyAttachment>(
  attachment: A
): attachment is A & StreamedAttachment<PartError<A>, PartContext<A>> =>
  Predicate.isTagged(attachment, "StreamedAttachment")

const isInMemory = (attachment: AnyAttachment): attachment is AttachmentInput =>
  !Predicate.isTagged(attachment, "StreamedAttachment")

export interface Composition<E, R> {
  readonly message: MessageFields
  readonly streams: Streams<E, R>
}

/** Reads a message with attachments of any kind, which keep their order and are named by their place. Throws. */
export const readComposition = <A extends AnyAttachment>(
  input: ComposeInput<A>,
  found: Defaults
): Composition<PartError<A>, PartContext<A>> => {
  const { attachments = [], ...others } = input
  if (!isList(attachments)) throw refusal("attachments", "is not a list")
  const inMemory: Array<AttachmentInput> = []
  const streamed: Array<StreamedAttachment<PartError<A>, PartContext<A>>> = []
  const places: Array<number> = []
  const streamPlaces: Array<number> = []
  for (const [position, attachment] of attachments.entries()) {
    if (isStreamed(attachment)) {
      streamed.push(attachment)
      streamPlaces.push(position)
    } else if (isInMemory(attachment)) {
      inMemory.push(attachment)
      places.push(position)
    }
  }
  const positions = [...places, ...streamPlaces]
  const message = readMessage({ ...others, attachments: inMemory }, found, positions)
  const streams = { streamed, positions }
  checkStreams(message, streams)
  return { message, streams }
}
