/**
 * Addresses of a header, read with nodemailer's parser and held to the rules of src/protocol/Mailbox (RFC 5322 section
 * 3.4, RFC 6532). The parser accepts anything; text with more than one meaning is refused here.
 */
import type { Address as Parsed } from "nodemailer/lib/addressparser"
import addressparser from "nodemailer/lib/addressparser"
import { isInvalid } from "../../protocol/Invalid.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import type { Address, AddressesInput, AddressInput, Group, Mailbox } from "./model.js"
import { accept, isList, isObject, refusal, refuseIf } from "./refuse.js"
import { displayFault } from "./text.js"

export const isGroup = (address: Address): address is Group => "group" in address

/** The mailboxes of a field, members of groups included. */
export const mailboxes = (addresses: ReadonlyArray<Address>): ReadonlyArray<Mailbox> =>
  addresses.flatMap((address) => (isGroup(address) ? address.members : [address]))

// Readers drop white space around a name, and make one space of several.
const words = (name: string): string => name.trim().replace(/ {2,}/g, " ")

const readMailbox = (mailbox: Mailbox, field: string): Mailbox => {
  if (!isObject(mailbox)) throw refusal(field, "is not a mailbox such as `{ name, address }`")
  const { address, name } = mailbox
  if (typeof address !== "string") throw refusal(field, "has no address")
  const fault = displayFault(name)
  if (fault !== undefined) throw refusal(field, `has a display name that ${fault}`)
  accept(Mailboxes.parse(address, field))
  const shown = words(name ?? "")
  return shown === "" ? { address } : { name: shown, address }
}

const readGroup = ({ group, members }: Group, field: string): Group => {
  const fault = displayFault(group) ?? (words(group) === "" ? "is empty" : undefined)
  if (fault !== undefined) throw refusal(field, `has a group name that ${fault}`)
  if (!isList(members)) throw refusal(field, "has no list of members")
  return {
    group: words(group),
    members: members.map((member, position) => readMailbox(member, `${field}.members[${position}]`))
  }
}

const readObject = (address: Address, field: string): Address =>
  isGroup(address) ? readGroup(address, field) : readMailbox(address, field)

const fromParsed = ({ address, group, name }: Parsed): Address =>
  group === undefined
    ? { name, address }
    : {
        group: name,
        members: group.flatMap((member) =>
          member.group === undefined ? [{ name: member.name, address: member.address }] : []
        )
      }

const unterminated = "has a quote or a comment without an end"

/** The text without its comments and without the content of its quotes; `undefined` if one of them has no end. */
const outlineOf = (text: string): string | undefined => {
  let outline = ""
  let quoted = false
  let depth = 0
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index)
    if (character === "\\" && (quoted || depth > 0)) index++
    else if (character === '"' && depth === 0) {
      quoted = !quoted
      outline += character
    } else if (quoted) continue
    else if (character === "(") depth++
    else if (character === ")" && depth > 0) depth--
    else if (depth === 0) outline += character
  }
  return quoted || depth > 0 ? undefined : outline.trim()
}

const groupPattern = /^[^:;<>]*:[^:;]*;$/
const namedPattern = /^[^<>]*<[^<>]*>$/

const readString = (text: string, field: string): Address => {
  const bare = Mailboxes.parse(text, field)
  if (!isInvalid(bare)) return { address: text }
  refuseIf(field, displayFault(text))
  const [parsed, ...others] = addressparser(text)
  if (parsed === undefined) throw refusal(field, bare.reason)
  if (others.length > 0) throw refusal(field, "holds several addresses; give each on its own")
  const outline = outlineOf(text)
  if (outline === undefined) throw refusal(field, unterminated)
  if (parsed.group === undefined && !outline.includes("<")) throw refusal(field, bare.reason)
  const pattern = parsed.group === undefined ? namedPattern : groupPattern
  if (!pattern.test(outline))
    throw refusal(field, "is not written as `Name <address>` or `group: addresses;`")
  return readObject(fromParsed(parsed), field)
}

const readAddress = (input: AddressInput, field: string): Address => {
  if (typeof input === "string") return readString(input, field)
  if (!isObject(input)) throw refusal(field, "is neither a string nor an address")
  return readObject(input, field)
}

const isSeveral = (input: AddressesInput): input is ReadonlyArray<AddressInput> => Array.isArray(input)

/** Reads one address or several. Only a list names each by its position. */
export const readAddresses = (input: AddressesInput | undefined, field: string): ReadonlyArray<Address> => {
  if (input === undefined) return []
  if (!isSeveral(input)) return [readAddress(input, field)]
  return input.map((item, position) => readAddress(item, `${field}[${position}]`))
}

/** Reads a field that allows no groups, such as From. */
export const readMailboxes = (input: AddressesInput | undefined, field: string): ReadonlyArray<Mailbox> =>
  readAddresses(input, field).map((address) => {
    if (isGroup(address)) throw refusal(field, "holds a group; give a mailbox")
    return address
  })

// An item of an outline: `Name <address>`, or an address with white space only around its @.
const hasOneMeaning = (item: string): boolean =>
  /[<>]/.test(item)
    ? namedPattern.test(item)
    : !item.includes("@") || item.split("@").every((part) => !/[ \t]/.test(part.trim()))

/** What makes a list ambiguous: the parser would drop an address or invent one. */
export const listFault = (text: string): string | undefined => {
  const outline = outlineOf(text)
  if (outline === undefined) return unterminated
  const items = outline
    // Colons and commas of domain literals and of routes separate nothing.
    .replace(/\[[^[\]]*\]/g, "[]")
    .replace(/<[^<>]*>/g, "<>")
    .split(/[,;]/)
    .map((item) => item.slice(item.lastIndexOf(":") + 1).trim())
  return items.every(hasOneMeaning)
    ? undefined
    : "has text beside an address; write `Name <address>`, with a comma between addresses"
}

/** Reads an address list as it is written in a header field. */
export const parseList = (text: string, field: string): ReadonlyArray<Address> => {
  refuseIf(field, displayFault(text) ?? listFault(text))
  const parsed = addressparser(text)
  const bare = parsed.findIndex(({ address, group }) => group === undefined && address === "")
  if (bare !== -1)
    throw refusal(`${field}[${bare}]`, "holds a name without an address; write `Name <address>`")
  return readAddresses(parsed.map(fromParsed), field)
}

/** The address as a header writes it: the domain as A-labels, which every program understands. */
export const addrSpec = ({ address }: Mailbox): string => {
  const mailbox = Mailboxes.parse(address, "address")
  return isInvalid(mailbox) ? address : `${mailbox.localPart}@${mailbox.asciiDomain}`
}
