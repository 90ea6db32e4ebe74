/** The reply to EHLO or LHLO (RFC 5321 section 4.1.1.1): the server's name, and the extensions that it announces. */
import type { Reply } from "./Reply.js"
import { isSuccess } from "./Reply.js"

/** The limits that a server announces (RFC 9422); one that is absent or malformed is `undefined`. */
export interface Limits {
  /** MAILMAX: MAIL commands of one session, refused ones included. */
  readonly mailMax: number | undefined
  /** RCPTMAX: RCPT commands of one transaction. */
  readonly rcptMax: number | undefined
  /** RCPTDOMAINMAX: distinct domains among the recipients of one transaction. */
  readonly rcptDomainMax: number | undefined
}

/** The bounds that FUTURERELEASE announces (RFC 4865 section 3). */
export interface FutureRelease {
  /** The longest HOLDFOR, in seconds. */
  readonly maximumInterval: number | undefined
  /** The latest HOLDUNTIL, in milliseconds since 1970. */
  readonly maximumTime: number | undefined
}

/** What a server announces. To store it, store `rawLines`; `fromLines` makes equal capabilities of them. */
export interface Capabilities {
  /** The lines of the reply as they were received, without code and separator; empty for `none`. */
  readonly rawLines: ReadonlyArray<string>
  /** The server's name for itself; empty if it gave none. */
  readonly domain: string
  /** The rest of the first line. */
  readonly greeting: string
  /** Every keyword in upper case, in the order of the reply, each once. */
  readonly keywords: ReadonlyArray<string>
  /** Whether a keyword was announced; its letter case does not matter. */
  readonly has: (keyword: string) => boolean
  /** The raw parameters of a keyword: `""` when it has none, `undefined` when it was not announced. */
  readonly parameters: (keyword: string) => string | undefined
  /** Bytes of the largest message, or `undefined` if there is no fixed limit (RFC 1870 section 4). */
  readonly size: number | undefined
  /** The mechanisms of AUTH, in upper case and each once, the old `AUTH=` form included (RFC 4954). */
  readonly authMechanisms: ReadonlyArray<string>
  readonly limits: Limits
  /** `undefined` when FUTURERELEASE was not announced. */
  readonly futureRelease: FutureRelease | undefined
  /** The least by-time in seconds that DELIVERBY announces for by-mode R (RFC 2852 section 3). */
  readonly deliverByMinimum: number | undefined
  readonly pipelining: boolean
  readonly chunking: boolean
  readonly starttls: boolean
  readonly eightBitMime: boolean
  readonly binaryMime: boolean
  readonly smtpUtf8: boolean
  readonly dsn: boolean
  readonly enhancedStatusCodes: boolean
  readonly requireTls: boolean
}

const saturate = (digits: string): number => Math.min(Number(digits), Number.MAX_SAFE_INTEGER)

const firstWord = (text: string | undefined): string => text?.split(/[ \t]+/, 1)[0] ?? ""

// RFC 1870 section 4: no value and zero both say that there is no fixed limit.
const readSize = (parameters: string | undefined): number | undefined => {
  const value = firstWord(parameters)
  return /^\d{1,20}$/.test(value) && !/^0+$/.test(value) ? saturate(value) : undefined
}

const readSeconds = (text = ""): number | undefined => (/^\d{1,9}$/.test(text) ? Number(text) : undefined)

const noLimits: Limits = { mailMax: undefined, rcptMax: undefined, rcptDomainMax: undefined }

// RFC 9422 section 3: 1*(ALPHA / DIGIT / "-" / "_") "=" 1*(VCHAR except ";"), separated by single spaces.
const limitsPattern = /^[A-Za-z0-9_-]+=[!-:<-~]+(?: [A-Za-z0-9_-]+=[!-:<-~]+)*$/

/** The stricter value counts if a limit is announced twice. */
const readLimits = (parameters = ""): Limits => {
  if (!limitsPattern.test(parameters)) return noLimits
  const items = parameters.split(" ").map((item) => {
    const separator = item.indexOf("=")
    return { name: item.slice(0, separator).toUpperCase(), value: item.slice(separator + 1) }
  })
  const read = (name: string): number | undefined => {
    const values = items
      .filter((item) => item.name === name && /^[1-9]\d{0,5}$/.test(item.value))
      .map((item) => Number(item.value))
    return values.length === 0 ? undefined : Math.min(...values)
  }
  return { mailMax: read("MAILMAX"), rcptMax: read("RCPTMAX"), rcptDomainMax: read("RCPTDOMAINMAX") }
}

const dateTimePattern = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/

const readFutureRelease = (parameters: string | undefined): FutureRelease | undefined => {
  if (parameters === undefined) return undefined
  const [interval, dateTime = ""] = parameters.split(/[ \t]+/)
  const time = dateTimePattern.test(dateTime) ? Date.parse(dateTime.toUpperCase()) : NaN
  return { maximumInterval: readSeconds(interval), maximumTime: Number.isNaN(time) ? undefined : time }
}

// Keywords are ASCII (RFC 5321 section 4.1.1.1): toUpperCase alone would turn a long s into S.
const upperCase = (text: string): string => text.replaceAll(/[a-z]+/g, (letters) => letters.toUpperCase())

const words = (text: string): ReadonlyArray<string> => text.split(/[ \t]+/).filter((word) => word !== "")

/** `SIZE 1000` and, for AUTH alone, `AUTH=LOGIN PLAIN`: some servers still say only that. */
const readLine = (line: string): { readonly keyword: string; readonly parameters: string } => {
  const text = line.trim()
  const old = /^AUTH=/i.test(text)
  const end = old ? 4 : text.search(/[ \t]/)
  if (end === -1) return { keyword: upperCase(text), parameters: "" }
  return { keyword: upperCase(text.slice(0, end)), parameters: text.slice(old ? 5 : end).trim() }
}

/**
 * Reads the lines of an EHLO reply, the first of which names the server. If a keyword comes twice the first one counts,
 * except for AUTH, whose mechanisms are joined. Unknown keywords are kept.
 */
export const fromLines = (lines: ReadonlyArray<string>): Capabilities => {
  const extensions = new Map<string, string>()
  for (const line of lines.slice(1)) {
    const { keyword, parameters } = readLine(line)
    const known = extensions.get(keyword)
    if (keyword === "" || (known !== undefined && keyword !== "AUTH")) continue
    extensions.set(keyword, known === undefined ? parameters : `${known} ${parameters}`.trim())
  }
  const name = (lines[0] ?? "").trim()
  const domain = firstWord(name)
  const has = (keyword: string): boolean => extensions.has(keyword) || extensions.has(upperCase(keyword))
  return {
    rawLines: [...lines],
    domain,
    greeting: name.slice(domain.length).trim(),
    keywords: [...extensions.keys()],
    has,
    parameters: (keyword) => extensions.get(upperCase(keyword)),
    size: readSize(extensions.get("SIZE")),
    authMechanisms: [...new Set(words(upperCase(extensions.get("AUTH") ?? "")))],
    limits: readLimits(extensions.get("LIMITS")),
    futureRelease: readFutureRelease(extensions.get("FUTURERELEASE")),
    deliverByMinimum: readSeconds(firstWord(extensions.get("DELIVERBY"))),
    pipelining: has("PIPELINING"),
    chunking: has("CHUNKING"),
    starttls: has("STARTTLS"),
    eightBitMime: has("8BITMIME"),
    binaryMime: has("BINARYMIME"),
    smtpUtf8: has("SMTPUTF8"),
    dsn: has("DSN"),
    enhancedStatusCodes: has("ENHANCEDSTATUSCODES"),
    requireTls: has("REQUIRETLS")
  }
}

/** The capabilities before EHLO, after HELO and after STARTTLS. */
export const none: Capabilities = fromLines([])

/** Reads the reply to EHLO or LHLO; a refusal announces nothing. */
export const fromReply = (reply: Reply): Capabilities => (isSuccess(reply) ? fromLines(reply.lines) : none)

/** Whether a message of so many bytes is larger than the server's fixed limit, if any (RFC 1870 section 6.3). */
export const exceedsSize = (capabilities: Capabilities, octets: number): boolean =>
  capabilities.size !== undefined && octets > capabilities.size
