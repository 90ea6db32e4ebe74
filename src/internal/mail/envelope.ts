/**
 * The envelope that the fields of a message imply (RFC 5322 sections 3.6.2, 3.6.3 and 3.6.6; smtplib's
 * `send_message`), and variable envelope return paths.
 */
import addressparser from "nodemailer/lib/addressparser"
import type { Field } from "../../protocol/HeaderSection.js"
import * as HeaderSection from "../../protocol/HeaderSection.js"
import { isInvalid } from "../../protocol/Invalid.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import { listFault, mailboxes } from "./address.js"
import type { Correspondents, MessageFields } from "./model.js"
import { accept, refusal, refuseIf } from "./refuse.js"

/** The sender and the recipients, as bare addresses. */
export interface Envelope {
  readonly from: string
  readonly to: ReadonlyArray<string>
}

/** The parts of a return path. */
export interface VerpOptions {
  /** The address that receives bounces, such as `bounces@lists.example.org`. */
  readonly sender: string
  /** Separates its local part from the recipient. Default `+`. */
  readonly delimiter?: string | undefined
}

/** Each mailbox once, in its first place. */
const onceEach = (addresses: ReadonlyArray<string>): ReadonlyArray<string> => {
  const known = new Map<string, string>()
  for (const address of addresses) {
    const mailbox = Mailboxes.parseForwardPath(address, "to")
    const identity = isInvalid(mailbox) ? address : Mailboxes.identity(mailbox)
    if (!known.has(identity)) known.set(identity, address)
  }
  return [...known.values()]
}

export const envelopeOfCorrespondents = ({ bcc, cc, from, sender, to }: Correspondents): Envelope => ({
  from: (sender ?? from[0])?.address ?? "",
  to: onceEach(mailboxes([...to, ...cc, ...bcc]).map(({ address }) => address))
})

export const envelopeOfMessage = (message: MessageFields): Envelope =>
  envelopeOfCorrespondents(message.resent ?? message)

// What a decoder puts in place of bytes that are not UTF-8.
const replacement = "\uFFFD"

const addressesIn = (fields: ReadonlyArray<Field>, name: string): ReadonlyArray<string> =>
  HeaderSection.named(fields, name).flatMap(({ body }) => {
    // UTF-8, of which ASCII is a part (RFC 6532).
    const text = HeaderSection.unfold(new TextDecoder().decode(HeaderSection.fromLatin1(body)))
    refuseIf(name, listFault(text))
    return addressparser(text, { flatten: true }).map(({ address }) => {
      if (address.includes(replacement)) throw refusal(name, "holds an address that is not in UTF-8")
      accept(Mailboxes.parseForwardPath(address, name))
      return address
    })
  })

/** `Resent-` if the message was sent again. */
const prefixOf = (fields: ReadonlyArray<Field>): string => {
  const blocks = HeaderSection.named(fields, "Resent-Date").length
  if (blocks > 1) throw refusal("Resent-Date", "occurs more than once, which is ambiguous; give from and to")
  return blocks === 1 ? "Resent-" : ""
}

const senderIn = (fields: ReadonlyArray<Field>, prefix: string): string => {
  const [sender] = addressesIn(fields, `${prefix}Sender`)
  const from = sender ?? addressesIn(fields, `${prefix}From`)[0]
  if (from === undefined) throw refusal(`${prefix}From`, "is missing or empty; give from")
  return from
}

const recipientsIn = (fields: ReadonlyArray<Field>, prefix: string): ReadonlyArray<string> => {
  const recipients = ["To", "Cc", "Bcc"].flatMap((name) => addressesIn(fields, prefix + name))
  if (recipients.length === 0) throw refusal(`${prefix}To`, "names no recipient, nor do Cc and Bcc; give to")
  return onceEach(recipients)
}

/** The envelope that a header section implies. Fields are read only for what is not given. */
export const envelopeOfFields = <From, To>(
  fields: ReadonlyArray<Field>,
  given: { readonly from: From | undefined; readonly to: To | undefined }
): { readonly from: From | string; readonly to: To | ReadonlyArray<string> } => {
  if (given.from !== undefined && given.to !== undefined) return { from: given.from, to: given.to }
  const prefix = prefixOf(fields)
  const from = given.from ?? senderIn(fields, prefix)
  return { from, to: given.to ?? recipientsIn(fields, prefix) }
}

/** A return path that names one recipient: `bounces+ann=example.net@lists.example.org`. */
export const verpPath = (sender: string, recipient: string, field: string, delimiter = "+"): string => {
  const from = accept(Mailboxes.parse(sender, "verp"))
  const to = accept(Mailboxes.parse(recipient, field))
  if (from.localPart.startsWith('"') || to.localPart.startsWith('"')) {
    throw refusal(field, "has a quoted local part, or the sender has; a return path cannot hold it")
  }
  const path = `${from.localPart}${delimiter}${to.localPart}=${to.asciiDomain}@${from.domain}`
  const made = Mailboxes.parse(path, field)
  if (isInvalid(made)) throw refusal(field, `makes a return path that ${made.reason}`)
  return path
}

/** The recipient that a return path names; `undefined` if the path was made for another sender. */
export const verpRecipient = (sender: string, path: string, delimiter = "+"): string | undefined => {
  const from = Mailboxes.parse(sender, "verp")
  const to = Mailboxes.parse(path, "path")
  if (isInvalid(from) || isInvalid(to)) return undefined
  if (to.asciiDomain.toLowerCase() !== from.asciiDomain.toLowerCase()) return undefined
  const beginning = `${from.localPart}${delimiter}`
  if (!to.localPart.toLowerCase().startsWith(beginning.toLowerCase())) return undefined
  const rest = to.localPart.slice(beginning.length)
  const at = rest.lastIndexOf("=")
  return at > 0 && at < rest.length - 1 ? `${rest.slice(0, at)}@${rest.slice(at + 1)}` : undefined
}
