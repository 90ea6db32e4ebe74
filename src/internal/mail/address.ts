/**
 * Addresses of a header: what a program or a field gives, read with nodemailer's parser and held to the rules of
 * src/protocol/Mailbox (RFC 5322 section 3.4, RFC 6532).
 */
import type { Address as Parsed } from "nodemailer/lib/addressparser"
import addressparser from "nodemailer/lib/addressparser"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import type { Address, AddressesInput, AddressInput, Group, Mailbox } from "./model.js"
import { displayFault } from "./text.js"

export const isGroup = (address: Address): address is Group => "group" in address

/** The mailboxes of a field, those of its groups included. */
export const mailboxes = (addresses: ReadonlyArray<Address>): ReadonlyArray<Mailbox> =>
  addresses.flatMap((address) => (isGroup(address) ? address.members : [address]))

/** White space around and between the words of a name is no part of them: readers make one space of it. */
const words = (name: string): string => name.trim().replace(/ {2,}/g, " ")

const withName = (address: string, name = ""): Mailbox =>
  words(name) === "" ? { address } : { name: words(name), address }

/** Plain JavaScript knows no types. */
export const isArray = (value: unknown): boolean => Array.isArray(value)

/** An object that is no list. */
export const isObject = (value: unknown): boolean =>
  typeof value === "object" && value !== null && !isArray(value)

const readMailbox = (mailbox: Mailbox, field: string): Mailbox | Invalid => {
  if (!isObject(mailbox)) return invalid(field, "is no mailbox, such as `{ name, address }`")
  const { address, name } = mailbox
  if (typeof address !== "string") return invalid(field, "has no address")
  const fault = displayFault(name)
  if (fault !== undefined) return invalid(field, `has a display name that ${fault}`)
  const parsed = Mailboxes.parse(address, field)
  return isInvalid(parsed) ? parsed : withName(address, name)
}

const readGroup = ({ group, members }: Group, field: string): Group | Invalid => {
  const fault = displayFault(group) ?? (words(group) === "" ? "is empty" : undefined)
  if (fault !== undefined) return invalid(field, `has a group name that ${fault}`)
  if (!isArray(members)) return invalid(field, "has no list of members")
  const read: Array<Mailbox> = []
  for (const [position, member] of members.entries()) {
    const mailbox = readMailbox(member, `${field}.members[${position}]`)
    if (isInvalid(mailbox)) return mailbox
    read.push(mailbox)
  }
  return { group: words(group), members: read }
}

const fromParsed = (parsed: Parsed): Address =>
  parsed.group === undefined
    ? { name: parsed.name, address: parsed.address }
    : {
        group: parsed.name,
        members: parsed.group.flatMap((member) =>
          member.group === undefined ? [{ name: member.name, address: member.address }] : []
        )
      }

const readObject = (address: Address, field: string): Address | Invalid =>
  isGroup(address) ? readGroup(address, field) : readMailbox(address, field)

/** The text without its comments, and without what its quotes hold; `undefined` if one of them has no end. */
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

// The parser makes the best of anything; what a program writes has to have one meaning only.
const isWellFormed = (outside: string, parsed: Parsed): boolean => {
  if (parsed.group !== undefined) return /^[^:;<>]*:[^:;]*;$/.test(outside)
  return /^[^<>]*<[^<>]*>$/.test(outside)
}

/** A string may be nothing but an address, which no parser need take apart. */
const readString = (text: string, field: string): Address | Invalid => {
  const bare = Mailboxes.parse(text, field)
  if (!isInvalid(bare)) return { address: text }
  const fault = displayFault(text)
  if (fault !== undefined) return invalid(field, fault)
  const parsed = addressparser(text)
  const [only, ...others] = parsed
  if (only === undefined) return bare
  if (others.length > 0) return invalid(field, "holds several addresses; give each on its own")
  const outside = outlineOf(text)
  if (outside === undefined) return invalid(field, endless)
  if (only.group === undefined && !outside.includes("<")) return bare
  if (!isWellFormed(outside, only))
    return invalid(field, "is not written as `Name <address>` or `group: addresses;`")
  return readObject(fromParsed(only), field)
}

/** Reads one address. */
export const readAddress = (input: AddressInput, field: string): Address | Invalid => {
  if (typeof input === "string") return readString(input, field)
  if (!isObject(input)) return invalid(field, "is neither a string nor an address")
  return readObject(input, field)
}

const isList = (input: AddressesInput): input is ReadonlyArray<AddressInput> => Array.isArray(input)

/** Reads one address or several; a list names each by its position. */
export const readAddresses = (
  input: AddressesInput | undefined,
  field: string
): ReadonlyArray<Address> | Invalid => {
  if (input === undefined) return []
  const list = isList(input) ? input : [input]
  const read: Array<Address> = []
  for (const [position, item] of list.entries()) {
    const address = readAddress(item, isList(input) ? `${field}[${position}]` : field)
    if (isInvalid(address)) return address
    read.push(address)
  }
  return read
}

/** Reads a field that takes no groups, such as From and Sender. */
export const readMailboxes = (
  input: AddressesInput | undefined,
  field: string
): ReadonlyArray<Mailbox> | Invalid => {
  const read = readAddresses(input, field)
  if (isInvalid(read)) return read
  const named: Array<Mailbox> = []
  for (const address of read) {
    if (isGroup(address)) return invalid(field, "holds a group, where only mailboxes may stand")
    named.push(address)
  }
  return named
}

const endless = "has a quote or a comment without an end"

/** One of a list, as its outline has it: `Name <address>`, or an address with white space around its @ at most. */
const hasOneMeaning = (item: string): boolean =>
  /[<>]/.test(item)
    ? /^[^<>]*<[^<>]*>$/.test(item)
    : !item.includes("@") || item.split("@").every((part) => !/[ \t]/.test(part.trim()))

/**
 * What is wrong with a list of addresses that the parser would make the best of, since its best is mail for some of
 * them, or for somebody else.
 */
export const listFault = (text: string): string | undefined => {
  const outline = outlineOf(text)
  if (outline === undefined) return endless
  const items = outline
    // Colons and commas of domain literals and of routes separate nothing.
    .replace(/\[[^[\]]*\]/g, "[]")
    .replace(/<[^<>]*>/g, "<>")
    .split(/[,;]/)
    .map((item) => item.slice(item.lastIndexOf(":") + 1).trim())
  return items.every(hasOneMeaning)
    ? undefined
    : "has more beside an address than a name; write `Name <address>`, and a comma between addresses"
}

/**
 * Reads an address list as a header field writes it: names, comments, groups, and as many addresses as there are.
 */
export const parseList = (text: string, field: string): ReadonlyArray<Address> | Invalid => {
  const fault = displayFault(text) ?? listFault(text)
  if (fault !== undefined) return invalid(field, fault)
  return readAddresses(addressparser(text).map(fromParsed), field)
}

/** The address as a header writes it: the domain as A-labels, which every program understands. */
export const addrSpec = ({ address }: Mailbox): string => {
  const mailbox = Mailboxes.parse(address, "address")
  return isInvalid(mailbox) ? address : `${mailbox.localPart}@${mailbox.asciiDomain}`
}

/** Whether a header that names these addresses goes beyond ASCII. */
export const needsSmtpUtf8 = (addresses: ReadonlyArray<Address>): boolean =>
  mailboxes(addresses).some((mailbox) => /\P{ASCII}/u.test(addrSpec(mailbox)))
