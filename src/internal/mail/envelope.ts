/**
 * From whom and to whom a message goes, as its fields say (RFC 5322 sections 3.6.2, 3.6.3 and 3.6.6; smtplib's
 * `send_message`), and variable envelope return paths.
 */
import addressparser from "nodemailer/lib/addressparser"
import type { Field } from "../../protocol/HeaderSection.js"
import * as HeaderSection from "../../protocol/HeaderSection.js"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import { listFault, mailboxes } from "./address.js"
import type { Message } from "./model.js"

/** An envelope: bare addresses. */
export interface Envelope {
  readonly from: string
  readonly to: ReadonlyArray<string>
}

/** Each mailbox once, where it stands first: a copy for every place would be one too many for each return path. */
const onceEach = (addresses: ReadonlyArray<string>): ReadonlyArray<string> => {
  const known = new Map<string, string>()
  for (const address of addresses) {
    const mailbox = Mailboxes.parseForwardPath(address, "to")
    const identity = isInvalid(mailbox) ? address : Mailboxes.identity(mailbox)
    if (!known.has(identity)) known.set(identity, address)
  }
  return [...known.values()]
}

/**
 * The envelope of a message: from `sender`, else from the first of `from`, to all of `to`, `cc` and `bcc`; of a
 * message that is sent again, those of `resent`.
 */
export const ofMessage = (message: Message): Envelope => {
  const { bcc, cc, from, sender, to } = message.resent ?? message
  return {
    from: (sender ?? from[0])?.address ?? "",
    to: onceEach(mailboxes([...to, ...cc, ...bcc]).map(({ address }) => address))
  }
}

const decoder = new TextDecoder()

// What the decoder puts in place of octets that are not UTF-8.
const notUtf8 = "\uFFFD"

/** A field in the characters that it stands for: UTF-8, of which ASCII is a part (RFC 6532). */
const textOf = (field: Field): string =>
  HeaderSection.unfold(decoder.decode(HeaderSection.fromLatin1(field.body)))

const addressesOf = (fields: ReadonlyArray<Field>, name: string): ReadonlyArray<string> | Invalid => {
  const found: Array<string> = []
  for (const field of HeaderSection.named(fields, name)) {
    const text = textOf(field)
    const fault = listFault(text)
    if (fault !== undefined) return invalid(name, fault)
    for (const { address } of addressparser(text, { flatten: true })) {
      if (address.includes(notUtf8)) return invalid(name, "holds an address that is not in UTF-8")
      const mailbox = Mailboxes.parseForwardPath(address, name)
      if (isInvalid(mailbox)) return mailbox
      found.push(address)
    }
  }
  return found
}

/** `Resent-` if the message was sent again, by the one block that tells so. */
const prefixOf = (fields: ReadonlyArray<Field>): string | Invalid => {
  const blocks = HeaderSection.named(fields, "Resent-Date").length
  if (blocks > 1) {
    return invalid(
      "Resent-Date",
      "occurs more than once, and nobody can tell which sending is meant; give from and to"
    )
  }
  return blocks === 1 ? "Resent-" : ""
}

const senderOf = (fields: ReadonlyArray<Field>, prefix: string): string | Invalid => {
  const senders = addressesOf(fields, `${prefix}Sender`)
  if (isInvalid(senders)) return senders
  const authors = senders.length > 0 ? senders : addressesOf(fields, `${prefix}From`)
  if (isInvalid(authors)) return authors
  return authors[0] ?? invalid(`${prefix}From`, "is missing: nobody has sent the message; give from")
}

const recipientsOf = (fields: ReadonlyArray<Field>, prefix: string): ReadonlyArray<string> | Invalid => {
  const recipients: Array<string> = []
  for (const name of ["To", "Cc", "Bcc"]) {
    const addresses = addressesOf(fields, prefix + name)
    if (isInvalid(addresses)) return addresses
    recipients.push(...addresses)
  }
  return recipients.length > 0
    ? onceEach(recipients)
    : invalid(`${prefix}To`, "names nobody, nor do Cc and Bcc: give to")
}

/**
 * The envelope that the fields of a header section say; what is given outranks them, and is then not looked for.
 */
export const ofFields = <From, To>(
  fields: ReadonlyArray<Field>,
  given: { readonly from: From | undefined; readonly to: To | undefined }
): { readonly from: From | string; readonly to: To | ReadonlyArray<string> } | Invalid => {
  if (given.from !== undefined && given.to !== undefined) return { from: given.from, to: given.to }
  const prefix = prefixOf(fields)
  if (isInvalid(prefix)) return prefix
  const from = given.from ?? senderOf(fields, prefix)
  if (isInvalid(from)) return from
  const to = given.to ?? recipientsOf(fields, prefix)
  return isInvalid(to) ? to : { from, to }
}

const defaultDelimiter = "+"

/** The return path that names one recipient: `bounces+ann=example.net@lists.example.org`. */
export const verp = (
  sender: string,
  recipient: string,
  field: string,
  delimiter: string = defaultDelimiter
): string | Invalid => {
  const from = Mailboxes.parse(sender, "verp")
  if (isInvalid(from)) return from
  const to = Mailboxes.parse(recipient, field)
  if (isInvalid(to)) return to
  if (from.localPart.startsWith('"') || to.localPart.startsWith('"')) {
    return invalid(field, "has a quoted local part, or the return path has, which a return path cannot carry")
  }
  const path = `${from.localPart}${delimiter}${to.localPart}=${to.asciiDomain}@${from.domain}`
  const made = Mailboxes.parse(path, field)
  return isInvalid(made) ? invalid(field, `makes a return path that ${made.reason}`) : path
}

/** The recipient that a return path names; `undefined` if it was not made for this sender. */
export const verpRecipient = (
  sender: string,
  path: string,
  delimiter: string = defaultDelimiter
): string | undefined => {
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
