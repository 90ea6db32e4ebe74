/**
 * Dates, message IDs and boundaries: what tells one message from another (RFC 5322 sections 3.3 and 3.6.4, RFC 2046
 * section 5.1.1).
 */
import { isInvalid } from "../../protocol/Invalid.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import type { Mailbox } from "./model.js"
import { refusal, several } from "./refuse.js"

/** Stand in for what the program does not give. */
export interface Defaults {
  readonly date: Date
  /** Random letters and digits, different for each call. */
  readonly unique: () => string
}

export const readDate = (date: Date | undefined, field: string, defaults: Defaults): Date => {
  if (date === undefined) return defaults.date
  if (!(date instanceof Date) || Number.isNaN(date.getTime())) throw refusal(field, "is not a valid date")
  const year = date.getUTCFullYear()
  // RFC 5322 section 3.3: four digits, not before 1900.
  if (year < 1900 || year > 9999) throw refusal(field, "is not within the years 1900 to 9999")
  return new Date(Math.floor(date.getTime() / 1000) * 1000)
}

// RFC 5322 section 3.6.4, without the obsolete forms; a domain literal may follow the @.
const atoms = "[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~]+(?:\\.[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~]+)*"
const messageIdPattern = new RegExp(`^<?(${atoms}@(?:${atoms}|\\[[!-Z^-~]*\\]))>?$`)
const contentIdPattern = new RegExp(`^${atoms}(?:@${atoms})?$`)

// RFC 5322 section 2.1.1, less the longest name of a field that holds IDs.
const idLimit = 900

const bracketed = (id: string | undefined, field: string): string => {
  if (id === undefined) throw refusal(field, "is not a message ID; write it as <unique@domain>, in ASCII")
  if (id.length > idLimit) throw refusal(field, `is longer than ${idLimit} characters`)
  return `<${id}>`
}

const domainOf = (mailbox: Mailbox | undefined): string => {
  const parsed = mailbox === undefined ? undefined : Mailboxes.parse(mailbox.address, "from")
  return parsed === undefined || isInvalid(parsed) ? "localhost" : parsed.asciiDomain
}

/** Reads the ID of this message, or makes one in the domain of its first author. */
export const readMessageId = (
  given: string | undefined,
  field: string,
  author: Mailbox | undefined,
  defaults: Defaults
): string => {
  const id = given ?? `<${defaults.unique()}@${domainOf(author)}>`
  return bracketed(typeof id === "string" ? messageIdPattern.exec(id)?.[1] : undefined, field)
}

// A reply repeats the IDs of others as they are, by whatever rules they were made.
const readForeignId = (text: string, field: string): string => {
  const found = typeof text === "string" ? /^(<?)([!-;=?-~]+)>?$/.exec(text) : null
  const [, bracket, id] = found ?? []
  return bracketed(bracket === "<" || id?.includes("@") === true ? id : undefined, field)
}

/** Reads IDs of other messages. A string may be the value of another message's field, and hold several. */
export const readMessageIds = (
  input: string | ReadonlyArray<string> | undefined,
  field: string
): ReadonlyArray<string> => {
  if (input === undefined) return []
  if (typeof input !== "string") {
    return several(input).map((id, position) => readForeignId(id, `${field}[${position}]`))
  }
  const ids = input.split(/[ \t]+|(?<=>)(?=<)/).filter((id) => id !== "")
  return ids.map((id) => readForeignId(id, field))
}

export const isContentId = (cid: unknown): boolean =>
  typeof cid === "string" && contentIdPattern.test(cid) && cid.length <= idLimit

export const readBoundary = (boundary: string | undefined, defaults: Defaults): string => {
  if (boundary === undefined) return defaults.unique()
  if (typeof boundary === "string" && /^[A-Za-z0-9._-]{1,40}$/.test(boundary)) return boundary
  throw refusal("boundary", "is not 1 to 40 letters, digits, dots, underscores and hyphens")
}
