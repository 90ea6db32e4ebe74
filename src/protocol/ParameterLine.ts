/**
 * Makes MAIL and RCPT lines with their parameters, each checked against what the server announced, and reads parameters
 * that a program gave (RFC 5321 section 4.1.2). A parameter that the server does not support is never dropped: the
 * result is `Unsupported`.
 */
import type { Invalid } from "./Invalid.js"
import { invalid, invalidRecord, isInvalid } from "./Invalid.js"
import type {
  Context,
  ExtraParameter,
  MailParameters,
  RecipientParameters,
  Unsupported
} from "./Parameters.js"
import { unsupported } from "./Parameters.js"
import type { Rendered, Row, Rows } from "./ParameterTable.js"
import { extraShape, mailRows, recipientRows } from "./ParameterTable.js"
import { byteLength } from "./Utf8.js"

/** What can be done with the parameters of one command. */
export interface ParameterSet<P, Q = P> {
  /**
   * Renders parameters, each with a space before it; `""` when there are none. A local mistake is reported before what
   * the server lacks.
   */
  readonly render: (parameters: P, context: Context, field: string) => string | Invalid | Unsupported
  /** Bytes that a command line with these parameters may have, CRLF included. */
  readonly lineLimit: (parameters: P) => number
  /** The command line without its CRLF, for a path as `Mailbox.toPath` gives it. */
  readonly line: (
    path: string,
    parameters: P,
    context: Context,
    field: string
  ) => string | Invalid | Unsupported
  /**
   * Reads parameters as a program gave them: objects of any shape, which are copied, or texts as on the wire, e.g.
   * `["BODY=8BITMIME", "SMTPUTF8"]`. A text without a typed field becomes `extra`.
   */
  readonly read: (parameters: P | ReadonlyArray<string>, field: string) => Q | Invalid
  /** Whether no parameter is given. */
  readonly isEmpty: (parameters: P) => boolean
  /** The parameters alone, of an object that holds more. */
  readonly pick: (parameters: P) => Q
}

interface WithExtra {
  readonly extra?: ReadonlyArray<ExtraParameter> | undefined
}

type Draft<P> = { -readonly [K in keyof P]?: P[K] }

/** A row applied to all parameters of a command, whatever the type of its own. */
interface AppliedRow<P> {
  readonly keyword: string
  readonly room: (parameters: P) => number
  readonly render: (parameters: P, context: Context, field: string) => Rendered
  readonly copy: (parameters: P, into: Draft<P>, field: string) => Invalid | undefined
  readonly parse: (text: string, into: Draft<P>, field: string) => Invalid | undefined
}

const isGiven = <V>(value: V): value is Exclude<V, undefined> => value !== undefined

const applyRow = <P extends object, K extends keyof P & string>(
  name: K,
  { keyword, requires, room, value: kind }: Row<Exclude<P[K], undefined>>
): AppliedRow<P> => ({
  keyword,
  room: (parameters) => (isGiven(parameters[name]) && parameters[name] !== false ? room : 0),
  render: (parameters, context, field) => {
    const value = parameters[name]
    if (!isGiven(value)) return undefined
    const text = kind.render(value, `${field}.${name}`, context)
    if (typeof text !== "string") return text
    const required = typeof requires === "function" ? requires(value) : requires
    return lacking(context, required, name) ?? (text === "" ? keyword : `${keyword}=${text}`)
  },
  copy: (parameters, into, field) => {
    if (!(name in parameters)) return undefined
    const value = parameters[name]
    if (isGiven(value) && !kind.shape.fits(value)) return invalid(`${field}.${name}`, kind.shape.reason)
    into[name] = isGiven(value) && kind.copy !== undefined ? kind.copy(value) : value
    return undefined
  },
  parse: (text, into, field) => {
    const value = kind.parse(text)
    if (value === undefined) return invalid(field, kind.syntax)
    into[name] = value
    return undefined
  }
})

const lacking = (
  { capabilities }: Context,
  requires: ReadonlyArray<string>,
  name: string
): Unsupported | undefined => {
  const missing = requires.find((keyword) => !capabilities.has(keyword))
  return missing === undefined
    ? undefined
    : unsupported(missing, `the server does not announce ${missing}, which ${name} requires`)
}

// -- parameters without a typed field

/** The EHLO keywords of some that are registered (RFC 1845, 3865, 3885, 4141). */
const registered: ReadonlyMap<string, string> = new Map([
  ["TRANSID", "CHECKPOINT"],
  ["SOLICIT", "NO-SOLICITING"],
  ["MTRK", "MTRK"],
  ["CONPERM", "CONPERM"],
  ["CONNEG", "CONNEG"]
])

const syntaxFault = (keyword: string, value: string | undefined): string | undefined => {
  if (!/^[A-Za-z0-9][A-Za-z0-9-]*$/.test(keyword)) {
    return "has a keyword that is not letters, digits and hyphens"
  }
  if (value === undefined || /^[!-<>-~]+$/.test(value)) return undefined
  return value === ""
    ? "has an empty value; leave it out"
    : "has a value with a space, =, or a character other than printable ASCII"
}

const renderExtra = (
  { extension, keyword, value }: ExtraParameter,
  context: Context
): string | Unsupported => {
  const required = extension ?? registered.get(keyword.toUpperCase())
  const missing = required === undefined ? undefined : lacking(context, [required], keyword)
  return missing ?? (value === undefined ? keyword : `${keyword}=${value}`)
}

/** Reads one parameter as it is written on the wire, e.g. `BODY=8BITMIME`. */
export const parseParameter = (text: string, field: string): ExtraParameter | Invalid => {
  const [keyword = "", value] = text.split(/=(.*)/s)
  const fault = syntaxFault(keyword, value)
  if (fault !== undefined) return invalid(field, fault)
  return value === undefined ? { keyword } : { keyword, value }
}

// -- the sets of MAIL and RCPT

/** Bytes of a command line with its CRLF before any extension adds to them (RFC 5321 section 4.5.3.1.4). */
const commandLineLimit = 512

const isTexts = (parameters: unknown): parameters is ReadonlyArray<unknown> => Array.isArray(parameters)

const parameterSet = <T extends object>(
  command: string,
  rows: Rows<T>,
  conflict?: (parameters: T, field: string) => Invalid | undefined
): ParameterSet<T & WithExtra, Partial<T> & WithExtra> => {
  type P = T & WithExtra
  type Into = Draft<T> & { extra?: ReadonlyArray<ExtraParameter> | undefined }
  const applied: Array<AppliedRow<T>> = []
  const names: Array<keyof T> = []
  for (const name in rows) {
    applied.push(applyRow(name, rows[name]))
    names.push(name)
  }
  const byKeyword = new Map(applied.map((row) => [row.keyword, row]))

  const findFault = (extra: ReadonlyArray<ExtraParameter>, field: string): Invalid | undefined => {
    const seen = new Set<string>()
    for (const [index, { keyword, value }] of extra.entries()) {
      const at = `${field}.extra[${index}]`
      const fault = syntaxFault(keyword, value)
      if (fault !== undefined) return invalid(at, fault)
      const name = keyword.toUpperCase()
      if (byKeyword.has(name)) return invalid(at, `is ${name}, which has a field of its own; use that`)
      if (seen.has(name)) return invalid(at, `gives ${name} a second time`)
      seen.add(name)
    }
    return undefined
  }

  const render: ParameterSet<P>["render"] = (parameters, context, field) => {
    let text = ""
    let lacks: Unsupported | undefined
    for (const row of applied) {
      const part = row.render(parameters, context, field)
      if (part === undefined) continue
      if (typeof part === "string") text += ` ${part}`
      else if (part._tag === "Invalid") return part
      else lacks ??= part
    }
    const { extra } = parameters
    const wrong = conflict?.(parameters, field) ?? (extra && findFault(extra, field))
    if (wrong !== undefined) return wrong
    for (const each of extra ?? []) {
      const part = renderExtra(each, context)
      if (typeof part === "string") text += ` ${part}`
      else lacks ??= part
    }
    return lacks ?? text
  }

  const isEmpty = (parameters: P): boolean => {
    for (const name of names) if (parameters[name] !== undefined) return false
    return parameters.extra === undefined
  }

  const lineLimit = (parameters: P): number => {
    let limit = commandLineLimit
    for (const row of applied) limit += row.room(parameters)
    // An unknown parameter has room for itself.
    for (const { keyword, value } of parameters.extra ?? []) {
      limit += keyword.length + (value === undefined ? 1 : value.length + 2)
    }
    return limit
  }

  const line: ParameterSet<P>["line"] = (path, parameters, context, field) => {
    const rendered = isEmpty(parameters) ? "" : render(parameters, context, field)
    if (typeof rendered !== "string") return rendered
    const text = `${command}:${path}${rendered}`
    // A UTF-16 unit is three bytes of UTF-8 at most.
    if (text.length * 3 + 2 <= commandLineLimit) return text
    const length = byteLength(text) + 2
    const limit = lineLimit(parameters)
    return length > limit
      ? invalid(field, `makes a command line of ${length} bytes, where ${limit} are allowed`)
      : text
  }

  const parse = (texts: ReadonlyArray<unknown>, into: Into, field: string): Invalid | undefined => {
    const seen = new Set<string>()
    const extra: Array<ExtraParameter> = []
    for (const [index, text] of texts.entries()) {
      const at = `${field}[${index}]`
      if (typeof text !== "string") return invalid(at, "is not a string")
      const parameter = parseParameter(text.trim(), at)
      if (isInvalid(parameter)) return parameter
      const keyword = parameter.keyword.toUpperCase()
      if (seen.has(keyword)) return invalid(at, `gives ${keyword} a second time`)
      seen.add(keyword)
      const row = byKeyword.get(keyword)
      if (row === undefined) extra.push(parameter)
      const wrong = row?.parse(parameter.value ?? "", into, at)
      if (wrong !== undefined) return wrong
    }
    if (extra.length > 0) into.extra = extra
    return undefined
  }

  const copy = (parameters: P, into: Into, field: string): Invalid | undefined => {
    const notAnObject = invalidRecord(field, parameters)
    if (notAnObject !== undefined) return notAnObject
    for (const row of applied) {
      const wrong = row.copy(parameters, into, field)
      if (wrong !== undefined) return wrong
    }
    const { extra } = parameters
    if (extra === undefined) return undefined
    if (!extraShape.fits(extra)) return invalid(`${field}.extra`, extraShape.reason)
    into.extra = extra.map((each) => ({ ...each }))
    return undefined
  }

  return {
    render,
    lineLimit,
    line,
    isEmpty,
    pick: (parameters) => {
      const picked: Into = {}
      for (const name of names) picked[name] = parameters[name]
      if (parameters.extra !== undefined) picked.extra = parameters.extra
      return picked
    },
    read: (parameters, field) => {
      const read: Into = {}
      return (isTexts(parameters) ? parse(parameters, read, field) : copy(parameters, read, field)) ?? read
    }
  }
}

/** Parameters of MAIL. */
export const mailParameters: ParameterSet<MailParameters> = parameterSet(
  "MAIL FROM",
  mailRows,
  ({ holdFor, holdUntil }, field) =>
    holdFor === undefined || holdUntil === undefined
      ? undefined
      : invalid(`${field}.holdFor`, "is given beside holdUntil; give one of them")
)

/** Parameters of RCPT. */
export const recipientParameters: ParameterSet<RecipientParameters> = parameterSet("RCPT TO", recipientRows)
