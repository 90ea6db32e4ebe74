/**
 * The typed parameters of MAIL and RCPT, one row each: a new parameter needs its field in Parameters, its row here and
 * its test. `mailRows` and `recipientRows` say where a parameter may stand; their order is that of the command line.
 */
import type { Invalid } from "./Invalid.js"
import { invalid, isInvalid } from "./Invalid.js"
import type {
  Context,
  DeliverBy,
  MailParameters,
  NotifyCondition,
  OriginalRecipient,
  RecipientParameters,
  Unsupported
} from "./Parameters.js"
import { unsupported } from "./Parameters.js"
import * as Xtext from "./Xtext.js"

/** The type of a value at run time, since plain JavaScript can pass anything. */
export interface Shape {
  readonly fits: (value: unknown) => boolean
  /** The end of a sentence that begins with the field. */
  readonly reason: string
}

/** A part of a command line; `undefined` is not sent. */
export type Rendered = string | undefined | Invalid | Unsupported

/** How the value of a parameter is checked, written and read. */
interface ValueKind<V> {
  readonly shape: Shape
  /** Copies a value that the program could change later; absent where it cannot. */
  readonly copy?: (value: V) => V
  /** Gives the esmtp-value, or `""` for a parameter without one. */
  readonly render: (value: V, field: string, context: Context) => Rendered
  /** Reads an esmtp-value. */
  readonly parse: (text: string) => V | undefined
  /** The end of a sentence about a text that `parse` cannot read. */
  readonly syntax: string
}

export interface Row<V> {
  readonly keyword: string
  /** The EHLO keywords that the server has to announce. */
  readonly requires: ReadonlyArray<string> | ((value: V) => ReadonlyArray<string>)
  /** Bytes that the RFC adds to the limit of the command line. */
  readonly room: number
  readonly value: ValueKind<V>
}

/** One row for each field. */
export type Rows<T> = { readonly [K in keyof T]-?: Row<Exclude<T[K], undefined>> }

// -- shapes and kinds of values

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const isString = (value: unknown): boolean => typeof value === "string"

const isStringIfGiven = (value: unknown): boolean => value === undefined || isString(value)

// Array.from, since `every` skips holes.
const isListOf = (value: unknown, fits: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && Array.from<unknown>(value).every(fits)

// `instanceof` is false for a Date of another realm.
const isDate = (value: unknown): boolean => Object.prototype.toString.call(value) === "[object Date]"

const text: Shape = { fits: isString, reason: "is not a string" }

export const extraShape: Shape = {
  fits: (value) =>
    isListOf(
      value,
      (item) =>
        isObject(item) &&
        isString(item["keyword"]) &&
        isStringIfGiven(item["value"]) &&
        isStringIfGiven(item["extension"])
    ),
  reason: "is not a list of objects whose keyword, value and extension are strings"
}

const flag: ValueKind<boolean> = {
  shape: { fits: (value) => typeof value === "boolean", reason: "is neither true nor false" },
  render: (value) => (value ? "" : undefined),
  parse: (value) => (value === "" ? true : undefined),
  syntax: "has a value, where none is allowed"
}

const choice = <V extends string>(...choices: ReadonlyArray<V>): ValueKind<V> => ({
  shape: text,
  render: (value, field) =>
    choices.includes(value) ? value : invalid(field, `is none of ${choices.join(", ")}`),
  parse: (value) => choices.find((each) => each === value.toUpperCase()),
  syntax: `is none of ${choices.join(", ")}`
})

const integer = (least: number, most: number, digits: RegExp): ValueKind<number> => ({
  shape: { fits: (value) => typeof value === "number", reason: "is not a number" },
  render: (value, field) =>
    Number.isInteger(value) && value >= least && value <= most
      ? `${value}`
      : invalid(field, `is not a whole number from ${least} to ${most}`),
  // Adding 0 turns -0 into 0.
  parse: (value) => (digits.test(value) ? Math.min(Number(value), Number.MAX_SAFE_INTEGER) + 0 : undefined),
  syntax: `is not a whole number from ${least} to ${most}`
})

const printable = /^[ -~]+$/
const control = /\p{Cc}|\p{Cs}/u
const nineDigits = 999_999_999

/** RFC 3339 in UTC without a fraction; `undefined` outside the years 0 to 9999. */
const formatTime = (milliseconds: number): string | undefined => {
  const date = new Date(milliseconds)
  if (Number.isNaN(date.getTime())) return undefined
  const iso = date.toISOString()
  return iso.length === 24 ? `${iso.slice(0, 19)}Z` : undefined
}

const parseTime = (time: string): Date | undefined => {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/i.test(time)) return undefined
  const date = new Date(time.toUpperCase())
  return Number.isNaN(date.getTime()) ? undefined : date
}

const notATime = "is not a time that RFC 3339 can write"

// -- values of MAIL

const sevenOrEightBit = choice("7BIT", "8BITMIME", "BINARYMIME")

const body: typeof sevenOrEightBit = {
  ...sevenOrEightBit,
  // A server without 8BITMIME takes 7BIT for granted.
  render: (value, field, context) =>
    value === "7BIT" && !context.capabilities.eightBitMime
      ? undefined
      : sevenOrEightBit.render(value, field, context)
}

const envelopeId: ValueKind<string> = {
  shape: text,
  render: (id, field) => {
    if (id === "") return invalid(field, "is empty")
    if (!printable.test(id)) return invalid(field, "holds a character other than printable ASCII")
    const xtext = Xtext.encode(id)
    return xtext.length > 100 ? invalid(field, "is longer than 100 bytes once encoded as xtext") : xtext
  },
  parse: (value) => Xtext.decode(value) || undefined,
  syntax: "is not xtext"
}

const auth: ValueKind<string | null> = {
  shape: { fits: (value) => value === null || isString(value), reason: "is neither a string nor null" },
  render: (mailbox, field) => {
    if (mailbox === null) return "<>"
    if (mailbox === "" || mailbox === "<>") return invalid(field, "is not a mailbox; give null for <>")
    if (control.test(mailbox)) return invalid(field, "holds a control character")
    const xtext = Xtext.encode(mailbox)
    // RFC 4954 section 3: at most 500 octets, " AUTH=" included.
    return xtext.length > 494 ? invalid(field, "is longer than 494 bytes once encoded as xtext") : xtext
  },
  parse: (value) => (value === "<>" ? null : Xtext.decode(value) || undefined),
  syntax: "is neither xtext nor <>"
}

const requireTls: ValueKind<boolean> = {
  ...flag,
  render: (value, _, { tls }) => {
    if (!value) return undefined
    return tls ? "" : unsupported("REQUIRETLS", "the session is not on verified TLS, which REQUIRETLS needs")
  }
}

const deliverBy: ValueKind<DeliverBy> = {
  shape: { fits: isObject, reason: "is not an object" },
  copy: (value) => ({ ...value }),
  render: ({ mode, seconds, trace }, field, { capabilities: { deliverByMinimum: least } }) => {
    if (!Number.isInteger(seconds) || Math.abs(seconds) > nineDigits) {
      return invalid(`${field}.seconds`, `is not a whole number from -${nineDigits} to ${nineDigits}`)
    }
    if (!["R", "N"].includes(mode)) return invalid(`${field}.mode`, "is neither R nor N")
    if (mode === "R" && seconds <= 0) {
      return invalid(`${field}.seconds`, "is not positive, as mode R requires")
    }
    return mode === "R" && least !== undefined && seconds < least
      ? unsupported("DELIVERBY", `the server accepts no less than ${least} s, and ${seconds} s was requested`)
      : `${seconds};${mode}${trace === true ? "T" : ""}`
  },
  parse: (value) => {
    const [, seconds, mode, trace] = /^([+-]?\d{1,9});([RN])(T?)$/i.exec(value) ?? []
    if (seconds === undefined || mode === undefined) return undefined
    return { seconds: Number(seconds) + 0, mode: mode.toUpperCase() === "R" ? "R" : "N", trace: trace !== "" }
  },
  syntax: "is not seconds;R or seconds;N"
}

const seconds = integer(1, nineDigits, /^\d{1,9}$/)

const holdFor: ValueKind<number> = {
  ...seconds,
  render: (value, field, context) => {
    const rendered = seconds.render(value, field, context)
    const most = context.capabilities.futureRelease?.maximumInterval
    return typeof rendered === "string" && most !== undefined && value > most
      ? unsupported(
          "FUTURERELEASE",
          `the server holds a message for at most ${most} s, and ${value} s was requested`
        )
      : rendered
  }
}

const holdUntil: ValueKind<Date> = {
  shape: { fits: isDate, reason: "is not a Date" },
  copy: (date) => new Date(date),
  render: (date, field, { capabilities, now }) => {
    const time = Math.ceil(date.getTime() / 1000) * 1000
    const written = formatTime(time)
    if (written === undefined) return invalid(field, notATime)
    if (now !== undefined && time <= now) return invalid(field, "is not in the future")
    const latest = capabilities.futureRelease?.maximumTime
    if (latest === undefined || time <= latest) return written
    const limit = formatTime(latest) ?? "an earlier time"
    return unsupported(
      "FUTURERELEASE",
      `the server holds a message until ${limit}, and ${written} was requested`
    )
  },
  parse: parseTime,
  syntax: "is not an RFC 3339 time"
}

// -- values of RCPT

const conditions: ReadonlyArray<NotifyCondition> = ["SUCCESS", "FAILURE", "DELAY"]

const notify: ValueKind<"NEVER" | ReadonlyArray<NotifyCondition>> = {
  shape: {
    fits: (value) => isString(value) || isListOf(value, isString),
    reason: "is neither a string nor a list of strings"
  },
  copy: (value) => (typeof value === "string" ? value : [...value]),
  render: (value, field) => {
    const given: ReadonlyArray<string> = typeof value === "string" ? [value] : [...new Set(value)]
    if (given.length === 0) return invalid(field, 'is empty; give "NEVER" to ask for no notification')
    if (given.length === 1 && given[0] === "NEVER") return "NEVER"
    if (given.includes("NEVER")) {
      return invalid(field, "holds NEVER beside other conditions; NEVER stands alone")
    }
    return given.every((condition) => conditions.some((known) => known === condition))
      ? given.join(",")
      : invalid(field, "holds a condition other than SUCCESS, FAILURE, DELAY and NEVER")
  },
  parse: (value) => {
    const names = value.toUpperCase().split(",")
    if (names.length === 1 && names[0] === "NEVER") return "NEVER"
    const found = names.flatMap((name) => conditions.filter((condition) => condition === name))
    return found.length === names.length ? found : undefined
  },
  syntax: "is neither NEVER alone nor a list of SUCCESS, FAILURE and DELAY"
}

const encodeRecipient = ({ address, type }: OriginalRecipient, field: string): string | Invalid => {
  if (!/^[A-Za-z0-9][A-Za-z0-9-]*$/.test(type)) {
    return invalid(field, "has an address type that is not letters, digits and hyphens")
  }
  if (address === "") return invalid(field, "is empty")
  if (control.test(address)) return invalid(field, "holds a control character")
  if (type.toLowerCase() === "utf-8") return `${type};${Xtext.encodeUtf8Address(address)}`
  return printable.test(address)
    ? `${type};${Xtext.encode(address)}`
    : invalid(field, `holds a character beyond ASCII, which the address type ${type} cannot carry`)
}

const originalRecipient: ValueKind<string | OriginalRecipient> = {
  shape: {
    fits: (value) =>
      isString(value) || (isObject(value) && isString(value["type"]) && isString(value["address"])),
    reason: "is neither a string nor an object with a type and an address"
  },
  copy: (value) => (typeof value === "string" ? value : { ...value }),
  render: (value, field) => {
    // A local part without quotes has no semicolon, so this address would get its type twice.
    if (typeof value === "string" && /^[A-Za-z0-9-]+;/.test(value)) {
      return invalid(field, "begins with an address type; give { type, address }, or the address alone")
    }
    const typed =
      typeof value === "string"
        ? { type: /^[ -~]*$/.test(value) ? "rfc822" : "utf-8", address: value }
        : value
    const encoded = encodeRecipient(typed, field)
    return !isInvalid(encoded) && encoded.length > 500
      ? invalid(field, "is longer than 500 bytes once encoded")
      : encoded
  },
  parse: (value) => {
    const [, type, encoded] = /^([A-Za-z0-9-]+);(.+)$/.exec(value) ?? []
    if (type === undefined || encoded === undefined) return undefined
    const address = type.toLowerCase() === "utf-8" ? Xtext.decodeUtf8Address(encoded) : Xtext.decode(encoded)
    return address === undefined ? undefined : { type, address }
  },
  syntax: "is not an address type, a semicolon and xtext"
}

const rrvs: ValueKind<NonNullable<RecipientParameters["rrvs"]>> = {
  shape: {
    fits: (value) => isObject(value) && isDate(value["since"]) && isStringIfGiven(value["action"]),
    reason: "is not an object with a Date"
  },
  copy: (value) => ({ ...value, since: new Date(value.since) }),
  render: ({ action, since }, field) => {
    const time = formatTime(since.getTime())
    if (time === undefined) return invalid(`${field}.since`, notATime)
    if (action === undefined) return time
    return ["C", "R"].includes(action)
      ? `${time};${action}`
      : invalid(`${field}.action`, "is neither C nor R")
  },
  parse: (value) => {
    const [, time = "", action] = /^([^;]*)(?:;([CR]))?$/i.exec(value) ?? []
    const since = parseTime(time)
    if (since === undefined) return undefined
    return action === undefined ? { since } : { since, action: action.toUpperCase() === "C" ? "C" : "R" }
  },
  syntax: "is not an RFC 3339 time with or without ;C or ;R"
}

// -- the tables

export const mailRows: Rows<Omit<MailParameters, "extra">> = {
  size: {
    keyword: "SIZE",
    requires: ["SIZE"],
    room: 26,
    value: integer(0, Number.MAX_SAFE_INTEGER, /^\d{1,20}$/)
  },
  body: {
    keyword: "BODY",
    requires: (value) => (value === "BINARYMIME" ? ["BINARYMIME", "CHUNKING"] : ["8BITMIME"]),
    room: 17,
    value: body
  },
  smtputf8: { keyword: "SMTPUTF8", requires: ["SMTPUTF8"], room: 10, value: flag },
  ret: { keyword: "RET", requires: ["DSN"], room: 8, value: choice("FULL", "HDRS") },
  envelopeId: { keyword: "ENVID", requires: ["DSN"], room: 107, value: envelopeId },
  auth: { keyword: "AUTH", requires: ["AUTH"], room: 500, value: auth },
  requireTls: { keyword: "REQUIRETLS", requires: ["REQUIRETLS"], room: 11, value: requireTls },
  priority: {
    keyword: "MT-PRIORITY",
    requires: ["MT-PRIORITY"],
    room: 15,
    value: integer(-9, 9, /^-?\d$/)
  },
  deliverBy: { keyword: "BY", requires: ["DELIVERBY"], room: 17, value: deliverBy },
  holdFor: { keyword: "HOLDFOR", requires: ["FUTURERELEASE"], room: 34, value: holdFor },
  holdUntil: { keyword: "HOLDUNTIL", requires: ["FUTURERELEASE"], room: 34, value: holdUntil }
}

export const recipientRows: Rows<Omit<RecipientParameters, "extra">> = {
  notify: { keyword: "NOTIFY", requires: ["DSN"], room: 28, value: notify },
  originalRecipient: { keyword: "ORCPT", requires: ["DSN"], room: 500, value: originalRecipient },
  rrvs: { keyword: "RRVS", requires: ["RRVS"], room: 33, value: rrvs }
}
