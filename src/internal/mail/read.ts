/**
 * Reads a message: checks each field, names the one that is wrong, and brings all into one form. What passes can be
 * composed, and no value of it can become a header field, a part or a recipient of its own.
 */
import { invalidChoice } from "../../protocol/Invalid.js"
import type { InvalidArgument } from "../../SmtpError.js"
import { mailboxes, readAddresses, readMailboxes } from "./address.js"
import { checkContentIds } from "./contentIds.js"
import { readHeaders, readList } from "./headers.js"
import type { Defaults } from "./identity.js"
import { readBoundary, readDate, readMessageId, readMessageIds } from "./identity.js"
import { mayNotBeEncoded, mediaType } from "./mediaType.js"
import type {
  Correspondents,
  CorrespondentsInput,
  Input,
  Mailbox,
  MessageFields,
  Resent,
  ResentInput
} from "./model.js"
import { alternativesOrders, priorities } from "./model.js"
import { checkAttachment, readAlternatives, readAttachments, readCalendar } from "./parts.js"
import { accept, caught, isObject, refusal, refuseIf } from "./refuse.js"
import { bodyFault, headerFault } from "./text.js"

const readSender = (
  input: CorrespondentsInput,
  from: ReadonlyArray<Mailbox>,
  field: string
): { readonly sender?: Mailbox } => {
  const [sender, ...others] = readMailboxes(input.sender, field)
  if (others.length > 0) throw refusal(field, "holds several addresses; give one")
  if (sender !== undefined) return { sender }
  // RFC 5322 section 3.6.2.
  if (from.length > 1)
    throw refusal(field, "is missing, and `from` names several authors; say which of them sends")
  return {}
}

export const readCorrespondents = (input: CorrespondentsInput, prefix: string): Correspondents => {
  const from = readMailboxes(input.from, `${prefix}from`)
  if (from.length === 0) throw refusal(`${prefix}from`, "is empty; name at least one author")
  return {
    from,
    ...readSender(input, from, `${prefix}sender`),
    to: readAddresses(input.to, `${prefix}to`),
    cc: readAddresses(input.cc, `${prefix}cc`),
    bcc: readAddresses(input.bcc, `${prefix}bcc`)
  }
}

const readResent = (input: ResentInput | undefined, defaults: Defaults): { readonly resent?: Resent } => {
  if (input === undefined) return {}
  if (!isObject(input)) throw refusal("resent", "is not an object")
  const correspondents = readCorrespondents(input, "resent.")
  const { bcc, cc, from, to } = correspondents
  if (mailboxes([...to, ...cc, ...bcc]).length === 0) {
    throw refusal("resent.to", "is empty; name a recipient")
  }
  const date = readDate(input.date, "resent.date", defaults)
  const messageId = readMessageId(input.messageId, "resent.messageId", from[0], defaults)
  return { resent: { date, messageId, ...correspondents } }
}

const checkBoundary = ({
  alternatives,
  attachments,
  boundary,
  calendar,
  html,
  text
}: MessageFields): void => {
  const texts = [text, html, calendar?.content, ...alternatives.map(({ content }) => content)]
  // In base64 a boundary cannot occur.
  const plain = attachments.filter((attachment) => mayNotBeEncoded(mediaType(attachment)))
  if (
    texts.some((content) => content?.includes(boundary) === true) ||
    plain.some(({ content }) =>
      Buffer.from(content.buffer, content.byteOffset, content.length).includes(boundary)
    )
  ) {
    throw refusal("boundary", "occurs in the content; give another")
  }
}

export const readMessage = (
  input: Input,
  defaults: Defaults,
  positions?: ReadonlyArray<number>
): MessageFields => {
  if (!isObject(input)) throw refusal("message", "is not an object")
  const { alternativesOrder, html, priority, subject, text } = input
  const correspondents = readCorrespondents(input, "")
  const replyTo = readAddresses(input.replyTo, "replyTo")
  const date = readDate(input.date, "date", defaults)
  const messageId = readMessageId(input.messageId, "messageId", correspondents.from[0], defaults)
  const boundary = readBoundary(input.boundary, defaults)
  const inReplyTo = readMessageIds(input.inReplyTo, "inReplyTo")
  const references = readMessageIds(input.references, "references")
  refuseIf("subject", headerFault(subject))
  accept(invalidChoice("priority", priority, priorities))
  accept(invalidChoice("alternativesOrder", alternativesOrder, alternativesOrders))
  const list = readList(input.list)
  const headers = readHeaders(input.headers)
  const resent = readResent(input.resent, defaults)
  refuseIf("text", bodyFault(text))
  refuseIf("html", bodyFault(html))
  const message = {
    date,
    messageId,
    boundary,
    ...correspondents,
    replyTo,
    ...(subject === undefined ? {} : { subject }),
    inReplyTo,
    references,
    ...(text === undefined ? {} : { text }),
    ...(html === undefined ? {} : { html }),
    alternatives: readAlternatives(input.alternatives),
    ...(alternativesOrder === undefined ? {} : { alternativesOrder }),
    ...readCalendar(input.calendar),
    attachments: readAttachments(input.attachments, positions),
    ...list,
    ...(priority === undefined ? {} : { priority }),
    headers,
    ...resent
  }
  checkBoundary(message)
  return message
}

/** Checks a message that was not read here: one that was stored, or made by the constructor. */
export const checkMessage = (message: MessageFields): void => {
  const { attachments, ...others } = message
  // Attachments are checked where they are, since reading copies them.
  readMessage({ ...others, attachments: [] }, { date: message.date, unique: () => message.boundary })
  for (const [position, attachment] of attachments.entries()) {
    checkAttachment(attachment, `attachments[${position}]`)
  }
  checkContentIds(attachments, (position) => `attachments[${position}]`)
  checkBoundary(message)
}

export const messageFault = (message: MessageFields): InvalidArgument | undefined =>
  caught((): undefined => {
    checkMessage(message)
  })
