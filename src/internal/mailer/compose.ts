/** From a message of a program to a submission, through all policies in their order; DKIM is the last. */
import * as Effect from "effect/Effect"
import * as Dkim from "../../Dkim.js"
import type { Submission } from "../../SmtpSubmission.js"
import { envelopeOfCorrespondents } from "../mail/envelope.js"
import { embedImages } from "../mail/images.js"
import type {
  AnyAttachment,
  AttachmentInput,
  ComposeInput,
  HeadersInput,
  MessageFields,
  PartContext,
  PartError
} from "../mail/model.js"
import { readCorrespondents } from "../mail/read.js"
import { attempt, isObject, refusal } from "../mail/refuse.js"
import type { ComposeOptions } from "../mail/submission.js"
import { defaults as identity, makeSubmission, readComposition } from "../mail/submission.js"
import type { Body, Composed, ComposeError, Details, Header, Input, Skipped } from "./model.js"
import type { Screened } from "./recipients.js"
import { addressOf, fieldsOf, recipientsOf, redirectedMessage, screen } from "./recipients.js"
import type { Settings } from "./settings.js"
import { listOf } from "./unsubscribe.js"

/** Everything of a message but its texts and attachments, with the defaults. */
type Frame = Omit<ComposeInput, "text" | "html" | "attachments">

const withDefaults = (
  frame: Omit<Frame, "from"> & Pick<Input, "from">,
  { defaults = {} }: Settings
): Frame => {
  const from = frame.from ?? defaults.from
  if (from === undefined)
    throw refusal("from", "is missing; give it, or set it in the defaults of the mailer")
  const list = { ...defaults.list, ...frame.list }
  return {
    ...frame,
    from,
    sender: frame.sender ?? defaults.sender,
    replyTo: frame.replyTo ?? defaults.replyTo,
    priority: frame.priority ?? defaults.priority,
    list: Object.keys(list).length === 0 ? undefined : list,
    headers: mergedHeaders(defaults.headers, frame.headers)
  }
}

const mergedHeaders = (
  defaults: HeadersInput | undefined,
  own: HeadersInput | undefined
): HeadersInput | undefined => {
  // What is no list of fields is refused by its reader.
  if (defaults === undefined || (own !== undefined && !isObject(own) && !Array.isArray(own))) return own
  const fields = fieldsOf(own)
  const names = new Set(fields.map(({ name }) => name.toLowerCase()))
  return [...fieldsOf(defaults).filter(({ name }) => !names.has(name.toLowerCase())), ...fields]
}

const isText = (body: Body): body is string => !Effect.isEffect(body)

const isEffect = <B extends Body>(body: B): body is B & Effect.Effect<string, PartError<B>, PartContext<B>> =>
  Effect.isEffect(body)

/** The text; what is neither a string nor an effect is refused when the message is read. */
const render = <B extends Body>(
  body: B | undefined
): Effect.Effect<string | undefined, PartError<B>, PartContext<B>> => {
  if (body === undefined) return Effect.succeed(undefined)
  if (isEffect(body)) return body
  return Effect.succeed(isText(body) ? body : undefined)
}

interface Bodies {
  readonly text: string | undefined
  readonly html: string | undefined
  readonly images: ReadonlyArray<AttachmentInput>
}

const derive = (
  text: string | undefined,
  html: string | undefined,
  settings: Settings,
  unique: () => string
): Bodies => {
  const { textFromHtml } = settings
  if (typeof html !== "string") return { text, html, images: [] }
  const embedded = settings.embedImages ? embedImages(html, unique) : { html, attachments: [] }
  const derived = text === undefined && textFromHtml !== undefined ? textFromHtml(embedded.html) : text
  return { text: derived, html: embedded.html, images: embedded.attachments }
}

/** A message without a body is most often a template that gave nothing. */
const refuseEmpty = (
  { html, text }: Bodies,
  { alternatives = [], calendar }: Frame,
  attachments: ReadonlyArray<unknown>
): void => {
  if (text !== undefined || (html !== undefined && html !== "")) return
  if (calendar !== undefined || alternatives.length > 0 || attachments.length > 0) return
  throw html === undefined
    ? refusal("text", 'is missing, and so is html: give one of them, or text: "" for an empty message')
    : refusal("html", 'is empty, and there is no text: give one of them, or text: "" for an empty message')
}

const headerOf = (message: MessageFields): Header => {
  const { cc, date, from, messageId, replyTo, sender, subject, to } = message
  return {
    from,
    ...(sender && { sender }),
    replyTo,
    to,
    cc,
    ...(subject !== undefined && { subject }),
    messageId,
    date
  }
}

export const skipped = (reason: Skipped["reason"], details: Details): Skipped => ({
  _tag: "Skipped",
  reason,
  envelope: details.envelope,
  header: details.header,
  suppressed: details.suppressed,
  redirectedFrom: details.redirectedFrom
})

export const detailsOf = (
  from: string,
  { redirectedFrom, suppressed, to }: Screened,
  header: Header | undefined
): Details => ({ envelope: { from, to: to.map(addressOf) }, header, suppressed, redirectedFrom })

/** The original envelope of a message. */
const addressed = (frame: Frame, { from, to }: ComposeOptions) => {
  const envelope = envelopeOfCorrespondents(
    frame.resent === undefined ? readCorrespondents(frame, "") : readCorrespondents(frame.resent, "resent.")
  )
  if (to === undefined && envelope.to.length === 0) {
    throw refusal("to", "is empty, and so are cc and bcc; name a recipient")
  }
  const recipients = to ?? envelope.to
  if (recipientsOf(recipients).length === 0) throw refusal("to", "names no recipient")
  return { from: from ?? envelope.from, to: recipients }
}

const sign = <E, R>(submission: Submission<E, R>, { dkim }: Settings) =>
  dkim === undefined ? Effect.succeed(submission) : Dkim.sign(submission, dkim)

export const compose = <Text extends Body, Html extends Body, A extends AnyAttachment>(
  message: Input<Text, Html, A>,
  given: ComposeOptions,
  settings: Settings
): Effect.Effect<
  Composed<PartError<Text | Html | A>, PartContext<Text | Html | A>> | Skipped,
  ComposeError<Text | Html | A>,
  PartContext<Text | Html | A>
> =>
  Effect.gen(function* () {
    const { attachments = [], html, text, unsubscribe = false, ...others } = message
    const options = { ...settings.submission, ...given }
    const { frame, from, to } = yield* attempt(() => {
      const frame = withDefaults(others, settings)
      return { frame, ...addressed(frame, options) }
    })
    const screened = yield* screen(to, settings)
    const { redirectTo } = settings
    const details = detailsOf(from, screened, undefined)
    if (screened.to.length === 0) return skipped("Suppressed", details)
    // A test address may unsubscribe, and nobody in its name.
    const subscribers = details.envelope.to.slice(0, redirectTo === undefined ? undefined : 1)
    const found = yield* identity
    const bodies = derive(yield* render(text), yield* render(html), settings, found.unique)
    const { message: read, streams } = yield* attempt(() => {
      refuseEmpty(bodies, frame, attachments)
      return readComposition(
        {
          ...(redirectTo === undefined
            ? frame
            : redirectedMessage(frame, screened.redirectedFrom, redirectTo)),
          ...(unsubscribe === false
            ? {}
            : { list: listOf(frame.list, unsubscribe, settings.unsubscribe, subscribers) }),
          text: bodies.text,
          html: bodies.html,
          attachments: [...attachments, ...bodies.images]
        },
        found
      )
    })
    const submission = yield* makeSubmission(read, streams, { ...options, from, to: screened.to })
    return {
      _tag: "Composed",
      submission: yield* sign(submission, settings),
      ...details,
      header: headerOf(read)
    }
  })

/** What is known of a message that cannot be composed: its envelope before all policies, if that can be read. */
export const intended = (
  message: Input<Body, Body, AnyAttachment>,
  given: ComposeOptions,
  settings: Settings
): Effect.Effect<Details> => {
  const read = attempt(() => addressed(withDefaults(message, settings), { ...settings.submission, ...given }))
  return Effect.match(read, {
    onFailure: () => nothingKnown,
    onSuccess: ({ from, to }) => ({
      ...nothingKnown,
      envelope: { from, to: recipientsOf(to).map(addressOf) }
    })
  })
}

/** The result of a message of which nothing could be read. */
export const nothingKnown: Details = {
  envelope: { from: "", to: [] },
  header: undefined,
  suppressed: [],
  redirectedFrom: []
}
