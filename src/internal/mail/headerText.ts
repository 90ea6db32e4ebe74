/**
 * The header fields of a message that are not about MIME. nodemailer encodes words (RFC 2047) and folds lines. Every
 * value was checked by `read`: none holds a line end.
 */
import { encodeWord, foldLines, quoteString } from "nodemailer/lib/mime-funcs"
import { addrSpec, isGroup, parseList } from "./address.js"
import type { Address, HeaderField, ListFields, Mailbox, MessageFields, Priority, Resent } from "./model.js"
import { listNames } from "./model.js"
import { refusal } from "./refuse.js"

// RFC 5322 section 2.1.1, and RFC 2047 section 2 for the length of an encoded word.
const foldLength = 76
const lineLimit = 998
const encodedWordLength = 52

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0

// "Q" stays legible where most characters are Latin letters; "B" is shorter elsewhere.
const encoded = (text: string): string =>
  encodeWord(text, count(text, /[^\t -~]/g) < count(text, /[A-Za-z]/g) ? "Q" : "B", encodedWordLength)

const longestWord = (text: string): number =>
  text.split(/[ \t]/).reduce((longest, word) => Math.max(longest, word.length), 0)

// Readers would change the text unless it is encoded: characters beyond ASCII, white space at ends and in runs, what
// looks like an encoded word, and words that no line can hold.
const needsEncoding = (text: string, limit: number): boolean =>
  /[^ -~]|^ | $| {2}|=\?/.test(text) || longestWord(text) > limit

// Python's email package takes a fold right after the colon for a part of the value. This stands for the space there.
const unbreakable = "\u0001"

const field = (name: string, body: string): string =>
  foldLines(`${name}:${unbreakable}${body}`, foldLength).replace(unbreakable, " ")

// The longest word that fits behind the name on the first line.
const wordLimit = (name: string): number => lineLimit - name.length - 2

const unstructured = (name: string, text: string): string =>
  text === "" ? `${name}:` : field(name, needsEncoding(text, wordLimit(name)) ? encoded(text) : text)

// A display name shares its line with the field's name and an address.
const phraseLimit = 200

const phrase = (text: string): string => {
  // Readers take a quoted `;` for the one that ends a group.
  if (needsEncoding(text, phraseLimit) || text.includes(";")) return encoded(text)
  return /^[A-Za-z0-9 ]+$/.test(text) ? text : quoteString(text)
}

// Every reader takes this for an address, even without angle brackets.
const plainAddress = /^[^\s"(),:;<>@[\\\]]+@[^\s"(),:;<>@[\\\]]+$/

const mailboxText = (mailbox: Mailbox): string => {
  const address = addrSpec(mailbox)
  if (mailbox.name !== undefined) return `${phrase(mailbox.name)} <${address}>`
  return plainAddress.test(address) ? address : `<${address}>`
}

// RFC 2047 section 5: white space separates an encoded word from a colon.
const groupName = (name: string): string => phrase(name).replace(/^=\?.*/, "$& ")

const addressText = (address: Address): string =>
  isGroup(address)
    ? `${groupName(address.group)}:${address.members.map((member) => ` ${mailboxText(member)}`).join(",")};`
    : mailboxText(address)

const addressField = (name: string, addresses: ReadonlyArray<Address>): ReadonlyArray<string> =>
  addresses.length === 0 ? [] : [field(name, addresses.map(addressText).join(", "))]

const idField = (name: string, ids: ReadonlyArray<string>): ReadonlyArray<string> =>
  ids.length === 0 ? [] : [field(name, ids.join(" "))]

export const dateText = (date: Date): string => date.toUTCString().replace("GMT", "+0000")

const resentFields = (resent: Resent | undefined): ReadonlyArray<string> =>
  resent === undefined
    ? []
    : [
        field("Resent-Date", dateText(resent.date)),
        ...addressField("Resent-From", resent.from),
        ...addressField("Resent-Sender", resent.sender === undefined ? [] : [resent.sender]),
        ...addressField("Resent-To", resent.to),
        ...addressField("Resent-Cc", resent.cc),
        field("Resent-Message-ID", resent.messageId)
      ]

const capitalised = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1)

const listFields = (list: ListFields | undefined): ReadonlyArray<string> => {
  if (list === undefined) return []
  return [
    ...(list.id === undefined ? [] : [listIdField(list.id)]),
    ...listNames.flatMap((name) => {
      const uris = list[name] ?? []
      return uris.length === 0
        ? []
        : [field(`List-${capitalised(name)}`, uris.map((uri) => `<${uri}>`).join(", "))]
    }),
    // RFC 8058 section 3.1, to the letter.
    ...(list.oneClick === true ? ["List-Unsubscribe-Post: List-Unsubscribe=One-Click"] : [])
  ]
}

const listIdField = (id: string): string => {
  const at = id.lastIndexOf("<")
  if (at === -1) return field("List-Id", `<${id}>`)
  const description = id.slice(0, at).trim()
  return field("List-Id", description === "" ? id.slice(at) : `${phrase(description)} ${id.slice(at)}`)
}

const priorityFields: Record<Priority, ReadonlyArray<string>> = {
  high: ["X-Priority: 1 (Highest)", "Importance: High"],
  normal: [],
  low: ["X-Priority: 5 (Lowest)", "Importance: Low"]
}

type Syntax = "addresses" | "phrases" | "tokens"

const syntaxes: ReadonlyMap<string, Syntax> = new Map([
  ...[
    ...["apparently-to", "author", "delivered-to", "disposition-notification-to", "envelope-to", "errors-to"],
    ...["mail-followup-to", "mail-reply-to", "original-from", "return-receipt-to", "x-complaints-to"],
    ...["x-confirm-reading-to", "x-envelope-to", "x-original-to"]
  ].map((name) => [name, "addresses"] as const),
  ["keywords", "phrases"],
  ...[
    ...["accept-language", "archived-at", "authentication-results", "auto-submitted", "autocrypt"],
    ...["bimi-selector", "deferred-delivery", "disposition-notification-options", "expires", "expiry-date"],
    ...["latest-delivery-time", "message-context", "obsoletes", "original-message-id", "original-recipient"],
    ...["precedence", "received", "reply-by", "require-recipient-valid-since", "sensitivity", "solicitation"],
    ...["supersedes", "thread-index", "tls-required", "x-auto-response-suppress"]
  ].map((name) => [name, "tokens"] as const)
])

const commentPattern = /"(?:[^"\\]|\\.)*"|\(([^()\\]*)\)/g

/** Only comments may hold more than ASCII (RFC 2047 section 5). */
const tokens = (text: string, place: string): string => {
  const ascii = text.replace(commentPattern, (found: string, comment: string | undefined) =>
    comment === undefined || /^[\t -~]*$/.test(comment) ? found : `(${encoded(comment)})`
  )
  if (/[^\t -~]/.test(ascii))
    throw refusal(place, "holds characters beyond ASCII, which this field cannot hold")
  return ascii
}

const phrases = (text: string): string =>
  (text.match(/(?:"(?:[^"\\]|\\.)*"|[^",])+/g) ?? [])
    .map((item) =>
      phrase(
        item
          .trim()
          .replace(/^"(.*)"$/, "$1")
          .replace(/\\(.)/g, "$1")
      )
    )
    .join(", ")

const addressList = (text: string, place: string): string => {
  const addresses = parseList(text, place)
  if (addresses.length === 0) throw refusal(place, "names no address")
  return addresses.map(addressText).join(", ")
}

/**
 * A field of a program's own, encoded by its syntax; one that is not known is unstructured. Throws if the value does not
 * follow the syntax.
 */
export const ownField = ({ name, value }: HeaderField, place: string): string => {
  const syntax = syntaxes.get(name.toLowerCase())
  if (syntax === undefined) return unstructured(name, value)
  const body =
    syntax === "addresses"
      ? addressList(value, place)
      : syntax === "phrases"
        ? phrases(value)
        : tokens(value, place)
  if (longestWord(body) > wordLimit(name)) {
    throw refusal(place, `has a word that no line of ${lineLimit} characters can hold`)
  }
  return field(name, body)
}

/**
 * The fields in the order of RFC 5322 section 3.6, each with its line end. Bcc is left out. The composer writes Date,
 * Message-ID and the fields of MIME.
 */
export const headerText = (message: MessageFields): string =>
  [
    ...resentFields(message.resent),
    ...addressField("From", message.from),
    ...addressField("Sender", message.sender === undefined ? [] : [message.sender]),
    ...addressField("Reply-To", message.replyTo),
    ...addressField("To", message.to),
    ...addressField("Cc", message.cc),
    ...idField("In-Reply-To", message.inReplyTo),
    ...idField("References", message.references),
    ...(message.subject === undefined ? [] : [unstructured("Subject", message.subject)]),
    ...listFields(message.list),
    ...priorityFields[message.priority ?? "normal"],
    ...message.headers.map((header) => ownField(header, header.name))
  ]
    .map((line) => `${line}\r\n`)
    .join("")

/** Whether the header goes beyond ASCII, as only a local part can. */
export const needsSmtpUtf8 = (message: MessageFields): boolean => /\P{ASCII}/u.test(headerText(message))
