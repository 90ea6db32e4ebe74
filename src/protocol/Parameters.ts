/**
 * The parameters of MAIL and RCPT (RFC 5321 section 4.1.2): typed, checked against what the server announced, and
 * rendered. It drops nothing that was asked for: what the server does not offer comes back as `Unsupported`.
 * Which parameters a message needs is decided elsewhere.
 */
import type { Capabilities } from "./Capabilities.js"
import type { Invalid } from "./Invalid.js"
import { invalid, isInvalid } from "./Invalid.js"
import { octetLength } from "./Utf8.js"
import * as Xtext from "./Xtext.js"

/** A parameter for which there is no typed field. */
export interface ExtraParameter {
  /** An esmtp-keyword, e.g. `XVERP`. */
  readonly keyword: string
  /** An esmtp-value: printable ASCII without space and `=`. It is sent as it is. */
  readonly value?: string | undefined
  /** The EHLO keyword that must be announced. Known for SOLICIT, MTRK, TRANSID, CONPERM and CONNEG. */
  readonly extension?: string | undefined
}

/** When the message is no longer worth delivering (RFC 2852). */
export interface DeliverBy {
  /** Seconds from now, -999999999 to 999999999; positive under `R`. */
  readonly seconds: number
  /** `R` returns the message when the time is up, `N` notifies the sender and goes on. */
  readonly mode: "R" | "N"
  /** Asks each relay for a "relayed" notification. */
  readonly trace?: boolean | undefined
}

/** The parameters of MAIL. */
export interface MailParameters {
  /** SIZE: octets of the message with its CRLFs and without stuffed dots (RFC 1870). */
  readonly size?: number | undefined
  /**
   * BODY (RFC 6152; BINARYMIME by RFC 3030, with CHUNKING). `7BIT` is what a server without 8BITMIME assumes
   * anyway, so it is left out there.
   */
  readonly body?: "7BIT" | "8BITMIME" | "BINARYMIME" | undefined
  /** SMTPUTF8 (RFC 6531). */
  readonly smtputf8?: boolean | undefined
  /** RET: how much of the message a failure notification returns (RFC 3461 section 4.3). */
  readonly ret?: "FULL" | "HDRS" | undefined
  /** ENVID: printable ASCII, at most 100 octets once encoded (RFC 3461 section 4.4). */
  readonly envelopeId?: string | undefined
  /** AUTH: who submitted the message; `null` says `<>`, not known or not told (RFC 4954 section 5). */
  readonly auth?: string | null | undefined
  /** REQUIRETLS: every hop over verified TLS, or no delivery (RFC 8689). */
  readonly requireTls?: boolean | undefined
  /** MT-PRIORITY: -9 to 9 (RFC 6710). */
  readonly priority?: number | undefined
  /** BY (RFC 2852). */
  readonly deliverBy?: DeliverBy | undefined
  /** HOLDFOR: seconds, 1 to 999999999 (RFC 4865). Never together with `holdUntil`. */
  readonly holdFor?: number | undefined
  /** HOLDUNTIL: rounded up to a full second (RFC 4865). */
  readonly holdUntil?: Date | undefined
  readonly extra?: ReadonlyArray<ExtraParameter> | undefined
}

/** The conditions of NOTIFY other than NEVER. */
export type NotifyCondition = "SUCCESS" | "FAILURE" | "DELAY"

/** An original recipient of a given address type, e.g. `x400`. */
export interface OriginalRecipient {
  readonly type: string
  readonly address: string
}

/** The parameters of RCPT. */
export interface RecipientParameters {
  /** NOTIFY: when to notify the sender (RFC 3461 section 4.1). */
  readonly notify?: "NEVER" | ReadonlyArray<NotifyCondition> | undefined
  /**
   * ORCPT: at most 500 octets once encoded (RFC 3461 section 4.2). A string is of type `rfc822`, or `utf-8` when
   * it is beyond ASCII (RFC 6533).
   */
  readonly originalRecipient?: string | OriginalRecipient | undefined
  /** RRVS: deliver only if the mailbox has had one owner since then (RFC 7293). */
  readonly rrvs?: { readonly since: Date; readonly action?: "C" | "R" | undefined } | undefined
  readonly extra?: ReadonlyArray<ExtraParameter> | undefined
}

/** What this session's server cannot do, or not in the bounds it announced. */
export interface Unsupported {
  readonly _tag: "Unsupported"
  /** The EHLO keyword. */
  readonly extension: string
  readonly reason: string
}

export const unsupported = (extension: string, reason: string): Unsupported => ({
  _tag: "Unsupported",
  extension,
  reason
})

export const isUnsupported = (value: unknown): value is Unsupported =>
  typeof value === "object" && value !== null && "_tag" in value && value._tag === "Unsupported"

/** What parameters are checked against. */
export interface Context {
  /** Those of this session's latest EHLO. */
  readonly capabilities: Capabilities
  /** Whether the session is on TLS whose certificate was verified. */
  readonly tls: boolean
  /** Milliseconds since 1970; without it HOLDUNTIL is not compared with the present. */
  readonly now?: number | undefined
}

/** One rendered parameter; `undefined` is one that is not sent. */
type Rendered = string | undefined | Invalid | Unsupported

const needs = (context: Context, extension: string, purpose: string): Unsupported | undefined =>
  context.capabilities.has(extension)
    ? undefined
    : unsupported(extension, `the server does not announce ${extension}, which ${purpose} needs`)

const renderSize = (size: number | undefined, context: Context, field: string): Rendered => {
  if (size === undefined) return undefined
  if (!Number.isSafeInteger(size) || size < 0) {
    return invalid(`${field}.size`, "is not a whole number of octets from 0")
  }
  return needs(context, "SIZE", "size") ?? `SIZE=${size}`
}

const renderBody = (body: MailParameters["body"], context: Context, field: string): Rendered => {
  switch (body) {
    case undefined:
      return undefined
    case "7BIT":
      return context.capabilities.has("8BITMIME") ? "BODY=7BIT" : undefined
    case "8BITMIME":
      return needs(context, "8BITMIME", "an 8-bit body") ?? "BODY=8BITMIME"
    case "BINARYMIME":
      return (
        needs(context, "BINARYMIME", "a binary body") ??
        needs(context, "CHUNKING", "a binary body") ??
        "BODY=BINARYMIME"
      )
    default:
      return invalid(`${field}.body`, "is none of 7BIT, 8BITMIME and BINARYMIME")
  }
}

const renderSmtpUtf8 = (smtputf8: boolean | undefined, context: Context): Rendered =>
  smtputf8 === true
    ? (needs(context, "SMTPUTF8", "an internationalised address or header") ?? "SMTPUTF8")
    : undefined

const renderRet = (ret: MailParameters["ret"], context: Context, field: string): Rendered => {
  switch (ret) {
    case undefined:
      return undefined
    case "FULL":
    case "HDRS":
      return needs(context, "DSN", "ret") ?? `RET=${ret}`
    default:
      return invalid(`${field}.ret`, "is neither FULL nor HDRS")
  }
}

const printablePattern = /^[ -~]+$/
const envelopeIdLimit = 100
const originalRecipientLimit = 500

const renderEnvelopeId = (envelopeId: string | undefined, context: Context, field: string): Rendered => {
  if (envelopeId === undefined) return undefined
  if (envelopeId === "") return invalid(`${field}.envelopeId`, "is empty")
  if (!printablePattern.test(envelopeId)) {
    return invalid(`${field}.envelopeId`, "holds something other than printable ASCII")
  }
  const xtext = Xtext.encode(envelopeId)
  if (xtext.length > envelopeIdLimit) {
    return invalid(`${field}.envelopeId`, `is longer than ${envelopeIdLimit} octets once encoded as xtext`)
  }
  return needs(context, "DSN", "envelopeId") ?? `ENVID=${xtext}`
}

// RFC 4954 section 3: the parameter adds 500 octets to the line, " AUTH=" among them.
const authLimit = 494

const renderAuth = (auth: string | null | undefined, context: Context, field: string): Rendered => {
  if (auth === undefined) return undefined
  if (auth === null) return needs(context, "AUTH", "auth") ?? "AUTH=<>"
  if (auth === "" || auth === "<>") return invalid(`${field}.auth`, "is not a mailbox; give null for <>")
  if (/\p{Cc}|\p{Cs}/u.test(auth)) return invalid(`${field}.auth`, "holds a control character")
  const xtext = Xtext.encode(auth)
  if (xtext.length > authLimit) {
    return invalid(`${field}.auth`, `is longer than ${authLimit} octets once encoded as xtext`)
  }
  return needs(context, "AUTH", "auth") ?? `AUTH=${xtext}`
}

const renderRequireTls = (requireTls: boolean | undefined, context: Context): Rendered => {
  if (requireTls !== true) return undefined
  if (!context.tls) {
    return unsupported("REQUIRETLS", "the session is not on verified TLS, which REQUIRETLS needs")
  }
  return needs(context, "REQUIRETLS", "requireTls") ?? "REQUIRETLS"
}

const renderPriority = (priority: number | undefined, context: Context, field: string): Rendered => {
  if (priority === undefined) return undefined
  if (!Number.isInteger(priority) || priority < -9 || priority > 9) {
    return invalid(`${field}.priority`, "is not a whole number from -9 to 9")
  }
  return needs(context, "MT-PRIORITY", "priority") ?? `MT-PRIORITY=${priority}`
}

const nineDigits = 999_999_999

const renderDeliverBy = (deliverBy: DeliverBy | undefined, context: Context, field: string): Rendered => {
  if (deliverBy === undefined) return undefined
  const { mode, seconds, trace } = deliverBy
  if (!Number.isInteger(seconds) || Math.abs(seconds) > nineDigits) {
    return invalid(`${field}.deliverBy.seconds`, `is not a whole number from -${nineDigits} to ${nineDigits}`)
  }
  if (!["R", "N"].includes(mode)) return invalid(`${field}.deliverBy.mode`, "is neither R nor N")
  if (mode === "R" && seconds <= 0) {
    return invalid(`${field}.deliverBy.seconds`, "is not positive, as by-mode R requires")
  }
  const missing = needs(context, "DELIVERBY", "deliverBy")
  if (missing !== undefined) return missing
  const minimum = context.capabilities.deliverByMinimum
  if (mode === "R" && minimum !== undefined && seconds < minimum) {
    return unsupported(
      "DELIVERBY",
      `the server takes no by-time under ${minimum} s, and ${seconds} s was asked`
    )
  }
  return `BY=${seconds};${mode}${trace === true ? "T" : ""}`
}

/** RFC 3339 in UTC without a fraction, or `undefined` outside the years 0 to 9999. */
const formatTime = (milliseconds: number): string | undefined => {
  const date = new Date(milliseconds)
  if (Number.isNaN(date.getTime())) return undefined
  const text = date.toISOString()
  return text.length === 24 ? `${text.slice(0, 19)}Z` : undefined
}

const renderHoldFor = (seconds: number, context: Context, field: string): Rendered => {
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > nineDigits) {
    return invalid(`${field}.holdFor`, `is not a whole number of seconds from 1 to ${nineDigits}`)
  }
  const missing = needs(context, "FUTURERELEASE", "holdFor")
  if (missing !== undefined) return missing
  const maximum = context.capabilities.futureRelease?.maximumInterval
  if (maximum !== undefined && seconds > maximum) {
    return unsupported(
      "FUTURERELEASE",
      `the server holds a message for at most ${maximum} s, and ${seconds} s was asked`
    )
  }
  return `HOLDFOR=${seconds}`
}

const renderHoldUntil = (date: Date, context: Context, field: string): Rendered => {
  const time = Math.ceil(date.getTime() / 1000) * 1000
  const text = formatTime(time)
  if (text === undefined) return invalid(`${field}.holdUntil`, "is not a time that RFC 3339 can write")
  if (context.now !== undefined && time <= context.now) {
    return invalid(`${field}.holdUntil`, "is not in the future")
  }
  const missing = needs(context, "FUTURERELEASE", "holdUntil")
  if (missing !== undefined) return missing
  const maximum = context.capabilities.futureRelease?.maximumTime
  const latest = maximum === undefined ? undefined : formatTime(maximum)
  if (maximum !== undefined && time > maximum) {
    return unsupported(
      "FUTURERELEASE",
      `the server holds a message until ${latest ?? "an earlier time"}, and ${text} was asked`
    )
  }
  return `HOLDUNTIL=${text}`
}

const renderHold = (parameters: MailParameters, context: Context, field: string): Rendered => {
  const { holdFor, holdUntil } = parameters
  if (holdFor !== undefined && holdUntil !== undefined) {
    return invalid(`${field}.holdFor`, "is given beside holdUntil; give one of them")
  }
  if (holdFor !== undefined) return renderHoldFor(holdFor, context, field)
  return holdUntil === undefined ? undefined : renderHoldUntil(holdUntil, context, field)
}

const notifyConditions = ["SUCCESS", "FAILURE", "DELAY"] as const

const renderNotify = (notify: RecipientParameters["notify"], context: Context, field: string): Rendered => {
  if (notify === undefined) return undefined
  const conditions: ReadonlyArray<string> = typeof notify === "string" ? [notify] : [...new Set(notify)]
  if (conditions.length === 0) return invalid(`${field}.notify`, 'is empty; give "NEVER" to ask for nothing')
  if (conditions.includes("NEVER")) {
    if (conditions.length > 1) {
      return invalid(`${field}.notify`, "holds NEVER beside other conditions; NEVER stands alone")
    }
  } else if (!conditions.every((condition) => notifyConditions.some((known) => known === condition))) {
    return invalid(`${field}.notify`, "holds a condition other than SUCCESS, FAILURE, DELAY and NEVER")
  }
  return needs(context, "DSN", "notify") ?? `NOTIFY=${conditions.join(",")}`
}

const encodeOriginalRecipient = (recipient: OriginalRecipient, field: string): string | Invalid => {
  const { address, type } = recipient
  if (!/^[A-Za-z0-9][A-Za-z0-9-]*$/.test(type)) {
    return invalid(field, "has an address type that is not letters, digits and hyphens")
  }
  if (address === "") return invalid(field, "is empty")
  if (/\p{Cc}|\p{Cs}/u.test(address)) return invalid(field, "holds a control character")
  if (type.toLowerCase() === "utf-8") return `${type};${Xtext.encodeUtf8Address(address)}`
  if (!printablePattern.test(address)) {
    return invalid(field, `holds something beyond ASCII, which the address type ${type} cannot carry`)
  }
  return `${type};${Xtext.encode(address)}`
}

const typedRecipient = (recipient: string | OriginalRecipient): OriginalRecipient => {
  if (typeof recipient !== "string") return recipient
  return { type: /^[ -~]*$/.test(recipient) ? "rfc822" : "utf-8", address: recipient }
}

const renderOriginalRecipient = (
  recipient: string | OriginalRecipient | undefined,
  context: Context,
  parent: string
): Rendered => {
  if (recipient === undefined) return undefined
  const field = `${parent}.originalRecipient`
  // A bare local part holds no semicolon, so this is a typed address that would get its type twice.
  if (typeof recipient === "string" && /^[A-Za-z0-9-]+;/.test(recipient)) {
    return invalid(field, "begins with an address type; give { type, address }, or the address alone")
  }
  const value = encodeOriginalRecipient(typedRecipient(recipient), field)
  if (isInvalid(value)) return value
  if (value.length > originalRecipientLimit) {
    return invalid(field, `is longer than ${originalRecipientLimit} octets once encoded`)
  }
  return needs(context, "DSN", "originalRecipient") ?? `ORCPT=${value}`
}

const renderRrvs = (rrvs: RecipientParameters["rrvs"], context: Context, field: string): Rendered => {
  if (rrvs === undefined) return undefined
  const since = formatTime(rrvs.since.getTime())
  if (since === undefined) return invalid(`${field}.rrvs.since`, "is not a time that RFC 3339 can write")
  const { action } = rrvs
  if (action !== undefined && !["C", "R"].includes(action)) {
    return invalid(`${field}.rrvs.action`, "is neither C nor R")
  }
  return needs(context, "RRVS", "rrvs") ?? `RRVS=${since}${action === undefined ? "" : `;${action}`}`
}

const typedMailKeywords = [
  "SIZE",
  "BODY",
  "SMTPUTF8",
  "RET",
  "ENVID",
  "AUTH",
  "REQUIRETLS",
  "MT-PRIORITY",
  "BY",
  "HOLDFOR",
  "HOLDUNTIL"
] as const
const typedRecipientKeywords = ["NOTIFY", "ORCPT", "RRVS"] as const

/** The EHLO keyword behind a registered parameter that has no typed field (RFC 1845, 3865, 3885, 4141). */
const registeredExtension = (keyword: string): string | undefined => {
  switch (keyword) {
    case "TRANSID":
      return "CHECKPOINT"
    case "SOLICIT":
      return "NO-SOLICITING"
    case "MTRK":
    case "CONPERM":
    case "CONNEG":
      return keyword
    default:
      return undefined
  }
}

const keywordPattern = /^[A-Za-z0-9][A-Za-z0-9-]*$/
const valuePattern = /^[!-<>-~]+$/

const findParameterFault = (keyword: string, value: string | undefined): string | undefined => {
  if (!keywordPattern.test(keyword)) return "has a keyword that is not letters, digits and hyphens"
  if (value === undefined || valuePattern.test(value)) return undefined
  return value === ""
    ? "has an empty value; leave it out"
    : "has a value with something other than printable ASCII, or with a space or ="
}

const renderExtra = (
  extra: ReadonlyArray<ExtraParameter> | undefined,
  typed: ReadonlyArray<string>,
  context: Context,
  field: string
): ReadonlyArray<Rendered> => {
  if (extra === undefined) return []
  const seen = new Set<string>()
  return extra.map((parameter, index): Rendered => {
    const at = `${field}.extra[${index}]`
    const { extension, keyword, value } = parameter
    const fault = findParameterFault(keyword, value)
    if (fault !== undefined) return invalid(at, fault)
    const name = keyword.toUpperCase()
    if (typed.includes(name)) return invalid(at, `is ${name}, which has a field of its own; use that`)
    if (seen.has(name)) return invalid(at, `gives ${name} a second time`)
    seen.add(name)
    const required = extension ?? registeredExtension(name)
    const missing = required === undefined ? undefined : needs(context, required, name)
    return missing ?? (value === undefined ? keyword : `${keyword}=${value}`)
  })
}

const join = (rendered: ReadonlyArray<Rendered>): string | Invalid | Unsupported => {
  let text = ""
  let lacking: Unsupported | undefined
  for (const item of rendered) {
    if (item === undefined) continue
    if (typeof item === "string") text += ` ${item}`
    else if (item._tag === "Invalid") return item
    else lacking ??= item
  }
  return lacking ?? text
}

/**
 * Renders the parameters of MAIL, each with a space before it; `""` when there are none. A local mistake is
 * reported before what the server lacks.
 */
export const renderMail = (
  parameters: MailParameters,
  context: Context,
  field: string
): string | Invalid | Unsupported =>
  join([
    renderSize(parameters.size, context, field),
    renderBody(parameters.body, context, field),
    renderSmtpUtf8(parameters.smtputf8, context),
    renderRet(parameters.ret, context, field),
    renderEnvelopeId(parameters.envelopeId, context, field),
    renderAuth(parameters.auth, context, field),
    renderRequireTls(parameters.requireTls, context),
    renderPriority(parameters.priority, context, field),
    renderDeliverBy(parameters.deliverBy, context, field),
    renderHold(parameters, context, field),
    ...renderExtra(parameters.extra, typedMailKeywords, context, field)
  ])

/** Renders the parameters of RCPT, each with a space before it; `""` when there are none. */
export const renderRecipient = (
  parameters: RecipientParameters,
  context: Context,
  field: string
): string | Invalid | Unsupported => {
  const { extra, notify, originalRecipient, rrvs } = parameters
  const isPlain = notify === undefined && originalRecipient === undefined && rrvs === undefined
  if (isPlain && extra === undefined) return ""
  return join([
    renderNotify(parameters.notify, context, field),
    renderOriginalRecipient(parameters.originalRecipient, context, field),
    renderRrvs(parameters.rrvs, context, field),
    ...renderExtra(parameters.extra, typedRecipientKeywords, context, field)
  ])
}

/** Octets of a command line with its CRLF before any extension adds to them (RFC 5321 section 4.5.3.1.4). */
const commandLineLimit = 512

const whenGiven = (value: unknown, addition: number): number => (value === undefined ? 0 : addition)
const whenSet = (value: boolean | undefined, addition: number): number => (value === true ? addition : 0)

// What defines an unknown parameter also allows room for it.
const extraAddition = (extra: ReadonlyArray<ExtraParameter> | undefined): number =>
  (extra ?? []).reduce(
    (sum, { keyword, value }) => sum + keyword.length + (value === undefined ? 1 : value.length + 2),
    0
  )

/**
 * Octets that a MAIL line with these parameters may have, CRLF included: 512, and what each extension in use adds
 * (RFC 1870, 2852, 3461, 4865, 4954, 6152, 6531, 6710, 8689).
 */
export const mailLineLimit = (parameters: MailParameters): number =>
  commandLineLimit +
  whenGiven(parameters.size, 26) +
  whenGiven(parameters.body, 17) +
  whenSet(parameters.smtputf8, 10) +
  whenGiven(parameters.ret, 8) +
  whenGiven(parameters.envelopeId, 107) +
  whenGiven(parameters.auth, 500) +
  whenSet(parameters.requireTls, 11) +
  whenGiven(parameters.priority, 15) +
  whenGiven(parameters.deliverBy, 17) +
  whenGiven(parameters.holdFor ?? parameters.holdUntil, 34) +
  extraAddition(parameters.extra)

/** Octets that a RCPT line with these parameters may have, CRLF included (RFC 3461 section 5.4, RFC 7293). */
export const recipientLineLimit = (parameters: RecipientParameters): number =>
  commandLineLimit +
  whenGiven(parameters.notify, 28) +
  whenGiven(parameters.originalRecipient, 500) +
  whenGiven(parameters.rrvs, 33) +
  extraAddition(parameters.extra)

const checkLine = (line: string, limit: number, field: string): string | Invalid => {
  // A character is three octets at most.
  if (line.length * 3 + 2 <= limit) return line
  const length = octetLength(line) + 2
  return length > limit
    ? invalid(field, `makes a command line of ${length} octets, where ${limit} are allowed`)
    : line
}

/** The MAIL line without its CRLF, for a path as `Mailbox.toPath` gives it. */
export const mailLine = (
  path: string,
  parameters: MailParameters,
  context: Context,
  field: string
): string | Invalid | Unsupported => {
  const rendered = renderMail(parameters, context, field)
  return typeof rendered === "string"
    ? checkLine(`MAIL FROM:${path}${rendered}`, mailLineLimit(parameters), field)
    : rendered
}

/** The RCPT line without its CRLF, for a path as `Mailbox.toPath` gives it. */
export const recipientLine = (
  path: string,
  parameters: RecipientParameters,
  context: Context,
  field: string
): string | Invalid | Unsupported => {
  const rendered = renderRecipient(parameters, context, field)
  return typeof rendered === "string"
    ? checkLine(`RCPT TO:${path}${rendered}`, recipientLineLimit(parameters), field)
    : rendered
}

/** Reads one parameter as it is written on the wire, e.g. `BODY=8BITMIME`. */
export const parseParameter = (text: string, field: string): ExtraParameter | Invalid => {
  const separator = text.indexOf("=")
  const keyword = separator === -1 ? text : text.slice(0, separator)
  const value = separator === -1 ? undefined : text.slice(separator + 1)
  const fault = findParameterFault(keyword, value)
  if (fault !== undefined) return invalid(field, fault)
  return value === undefined ? { keyword } : { keyword, value }
}

type Read<A> = (value: string, field: string) => Partial<A> | Invalid

const without =
  <A>(parameters: Partial<A>): Read<A> =>
  (value, field) =>
    value === "" ? parameters : invalid(field, "has a value, where none is allowed")

const oneOf =
  <V extends string, A>(values: ReadonlyArray<V>, make: (value: V) => Partial<A>): Read<A> =>
  (value, field) => {
    const known = values.find((candidate) => candidate === value.toUpperCase())
    return known === undefined ? invalid(field, `is none of ${values.join(", ")}`) : make(known)
  }

const matching =
  <A>(pattern: RegExp, make: (match: RegExpExecArray) => Partial<A> | undefined, expected: string): Read<A> =>
  (value, field) => {
    const match = pattern.exec(value)
    return (match === null ? undefined : make(match)) ?? invalid(field, `is not ${expected}`)
  }

const readTime = (text: string): Date | undefined => {
  const date = new Date(text.toUpperCase())
  return Number.isNaN(date.getTime()) ? undefined : date
}

const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/i
const rrvsPattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))(?:;([CR]))?$/i

const readAuth = (value: string): Partial<MailParameters> | undefined => {
  if (value === "<>") return { auth: null }
  const auth = Xtext.decode(value)
  return auth === undefined || auth === "" ? undefined : { auth }
}

const readEnvelopeId = (value: string): Partial<MailParameters> | undefined => {
  const envelopeId = Xtext.decode(value)
  return envelopeId === undefined || envelopeId === "" ? undefined : { envelopeId }
}

const readDeliverBy = (match: RegExpExecArray): Partial<MailParameters> => ({
  deliverBy: {
    seconds: Number(match[1]) + 0,
    mode: match[2]?.toUpperCase() === "R" ? "R" : "N",
    trace: match[3] !== ""
  }
})

const readMail = (keyword: string): Read<MailParameters> | undefined => {
  switch (keyword) {
    case "SIZE":
      return matching(
        /^\d{1,20}$/,
        ([digits]) => ({ size: Math.min(Number(digits), Number.MAX_SAFE_INTEGER) }),
        "a number of up to 20 digits"
      )
    case "BODY":
      return oneOf(["7BIT", "8BITMIME", "BINARYMIME"], (body) => ({ body }))
    case "SMTPUTF8":
      return without({ smtputf8: true })
    case "RET":
      return oneOf(["FULL", "HDRS"], (ret) => ({ ret }))
    case "ENVID":
      return matching(/^.+$/, ([value]) => readEnvelopeId(value), "xtext")
    case "AUTH":
      return matching(/^.+$/, ([value]) => readAuth(value), "xtext or <>")
    case "REQUIRETLS":
      return without({ requireTls: true })
    case "MT-PRIORITY":
      return matching(/^-?\d$/, ([value]) => ({ priority: Number(value) + 0 }), "a number from -9 to 9")
    case "BY":
      return matching(/^([+-]?\d{1,9});([RN])(T?)$/i, readDeliverBy, "seconds;R or seconds;N")
    case "HOLDFOR":
      return matching(/^\d{1,9}$/, ([value]) => ({ holdFor: Number(value) }), "a number of seconds")
    case "HOLDUNTIL":
      return matching(
        timePattern,
        ([value]) => {
          const holdUntil = readTime(value)
          return holdUntil === undefined ? undefined : { holdUntil }
        },
        "an RFC 3339 time"
      )
    default:
      return undefined
  }
}

const readNotify: Read<RecipientParameters> = (value, field) => {
  const names = value.toUpperCase().split(",")
  if (names.length === 1 && names[0] === "NEVER") return { notify: "NEVER" }
  const notify = names.flatMap((name) => notifyConditions.filter((condition) => condition === name))
  return notify.length === names.length
    ? { notify }
    : invalid(field, "is neither NEVER alone nor a list of SUCCESS, FAILURE and DELAY")
}

const readOriginalRecipient = (match: RegExpExecArray): Partial<RecipientParameters> | undefined => {
  const type = match[1] ?? ""
  const encoded = match[2] ?? ""
  const address = type.toLowerCase() === "utf-8" ? Xtext.decodeUtf8Address(encoded) : Xtext.decode(encoded)
  return address === undefined ? undefined : { originalRecipient: { type, address } }
}

const readRrvs = (match: RegExpExecArray): Partial<RecipientParameters> | undefined => {
  const since = readTime(match[1] ?? "")
  if (since === undefined) return undefined
  if (match[2] === undefined) return { rrvs: { since } }
  return { rrvs: { since, action: match[2].toUpperCase() === "C" ? "C" : "R" } }
}

const readRecipient = (keyword: string): Read<RecipientParameters> | undefined => {
  switch (keyword) {
    case "NOTIFY":
      return readNotify
    case "ORCPT":
      return matching(
        /^([A-Za-z0-9-]+);(.+)$/,
        readOriginalRecipient,
        "an address type, a semicolon and xtext"
      )
    case "RRVS":
      return matching(rrvsPattern, readRrvs, "an RFC 3339 time with or without ;C or ;R")
    default:
      return undefined
  }
}

interface WithExtra {
  readonly extra?: ReadonlyArray<ExtraParameter> | undefined
}

const isString = (value: unknown): boolean => typeof value === "string"

const parseAll = <A extends WithExtra>(
  texts: ReadonlyArray<string>,
  field: string,
  read: (keyword: string) => Read<A> | undefined
): { readonly typed: ReadonlyArray<Partial<A>>; readonly extra: ReadonlyArray<ExtraParameter> } | Invalid => {
  const seen = new Set<string>()
  const typed: Array<Partial<A>> = []
  const extra: Array<ExtraParameter> = []
  for (const [index, text] of texts.entries()) {
    const at = `${field}[${index}]`
    if (!isString(text)) return invalid(at, "is no string")
    const parameter = parseParameter(text.trim(), at)
    if (isInvalid(parameter)) return parameter
    const keyword = parameter.keyword.toUpperCase()
    if (seen.has(keyword)) return invalid(at, `gives ${keyword} a second time`)
    seen.add(keyword)
    const reader = read(keyword)
    if (reader === undefined) {
      extra.push(parameter)
      continue
    }
    const value = reader(parameter.value ?? "", at)
    if (isInvalid(value)) return value
    typed.push(value)
  }
  return { typed, extra }
}

/**
 * Reads parameters of MAIL as they are written on the wire, e.g. `["BODY=8BITMIME", "SMTPUTF8"]`. What has no
 * typed field becomes `extra`.
 */
export const parseMail = (texts: ReadonlyArray<string>, field: string): MailParameters | Invalid => {
  const parsed = parseAll(texts, field, readMail)
  if (isInvalid(parsed)) return parsed
  const parameters = parsed.typed.reduce<MailParameters>((all, one) => ({ ...all, ...one }), {})
  return parsed.extra.length === 0 ? parameters : { ...parameters, extra: parsed.extra }
}

/** Reads parameters of RCPT as they are written on the wire, e.g. `["NOTIFY=SUCCESS,DELAY"]`. */
export const parseRecipient = (
  texts: ReadonlyArray<string>,
  field: string
): RecipientParameters | Invalid => {
  const parsed = parseAll(texts, field, readRecipient)
  if (isInvalid(parsed)) return parsed
  const parameters = parsed.typed.reduce<RecipientParameters>((all, one) => ({ ...all, ...one }), {})
  return parsed.extra.length === 0 ? parameters : { ...parameters, extra: parsed.extra }
}
