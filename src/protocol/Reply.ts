/**
 * The reply model and an incremental parser with hard limits (RFC 5321 section 4.2, RFC 2034). It opens no
 * socket and knows nothing of commands: which reply answers which command is the business of Dialogue.
 */
import { printable } from "./Printable.js"

/** An enhanced status code (RFC 3463), whose class always equals the first digit of the reply's code. */
export interface EnhancedCode {
  readonly class: 2 | 4 | 5
  readonly subject: number
  readonly detail: number
  /** Whether the server had announced ENHANCEDSTATUSCODES; many send the codes without saying so. */
  readonly advertised: boolean
}

/** One complete reply. */
export interface Reply {
  /** The three digits, 100 to 599. Decisions are made by this number alone. */
  readonly code: number
  /** Present when every line that carries an enhanced status code carries this one. */
  readonly enhancedCode: EnhancedCode | undefined
  /** The text of each line as it was received, without code, separator and line end. */
  readonly lines: ReadonlyArray<string>
  /** The lines without their enhanced status codes, joined with LF. */
  readonly text: string
}

/** What the first digit says. `Malformed` never leaves the parser: such a reply is a violation. */
export type Severity =
  | "PositivePreliminary"
  | "PositiveCompletion"
  | "PositiveIntermediate"
  | "TransientNegative"
  | "PermanentNegative"

const severities: ReadonlyArray<Severity> = [
  "PositivePreliminary",
  "PositiveCompletion",
  "PositiveIntermediate",
  "TransientNegative",
  "PermanentNegative"
]

/**
 * The severity of a reply, from the first digit of its code (RFC 5321 section 4.2.1).
 *
 * @since 0.1.0
 * @category accessors
 */
export const severity = (reply: Reply): Severity =>
  severities[Math.floor(reply.code / 100) - 1] ?? "PermanentNegative"

/**
 * A 2yz reply.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSuccess = (reply: Reply): boolean => reply.code >= 200 && reply.code < 300

/**
 * A 4yz or 5yz reply: the server's refusal, for now or for good.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isRefusal = (reply: Reply): boolean => reply.code >= 400

/**
 * A 4yz reply: the same command may succeed later.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isTransient = (reply: Reply): boolean => reply.code >= 400 && reply.code < 500

/**
 * A 5yz reply: the same command will not succeed.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isPermanent = (reply: Reply): boolean => reply.code >= 500

/**
 * The enhanced status code as it is written, e.g. `5.1.1`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const formatEnhancedCode = (code: EnhancedCode): string =>
  `${code.class}.${code.subject}.${code.detail}`

/**
 * Whether the reply has the enhanced status subject and detail, whatever its class: `hasDetail(reply, 5, 3)`
 * is true of x.5.3.
 *
 * @since 0.1.0
 * @category predicates
 */
export const hasDetail = (reply: Reply, subject: number, detail: number): boolean =>
  reply.enhancedCode?.subject === subject && reply.enhancedCode.detail === detail

/**
 * The reply on one line, for messages and logs: `550 5.1.1 no such user`. What would act instead of being seen, such
 * as control characters, is shown as an escape; `lines` and `text` have it as it came.
 */
export const format = (reply: Reply): string => {
  const code = reply.enhancedCode === undefined ? "" : ` ${formatEnhancedCode(reply.enhancedCode)}`
  const text = printable(reply.text.replaceAll("\n", " / "))
  return text === "" ? `${reply.code}${code}` : `${reply.code}${code} ${text}`
}

// RFC 3463 section 2: class "." subject "." detail, then white space or the end of the line.
const enhancedPattern = /^([245])\.(\d{1,3})\.(\d{1,3})(?:[ \t]+|$)/

/**
 * Builds a reply from its code and the texts of its lines; enhanced status codes are taken from the lines.
 * Lines that carry different enhanced codes leave the reply without one, and their texts as they are.
 */
export const make = (code: number, lines: ReadonlyArray<string>, advertised = false): Reply => {
  let enhancedCode: EnhancedCode | undefined
  let text = ""
  const firstDigit = Math.floor(code / 100)
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? ""
    // A cheap look before the pattern: most lines of most replies have no enhanced code.
    const match =
      line.charCodeAt(1) === 0x2e && line.charCodeAt(0) - 0x30 === firstDigit
        ? enhancedPattern.exec(line)
        : null
    const digit = firstDigit === 2 ? 2 : firstDigit === 4 ? 4 : 5
    if (match !== null) {
      const subject = Number(match[2])
      const detail = Number(match[3])
      if (enhancedCode === undefined) {
        enhancedCode = { class: digit, subject, detail, advertised }
      } else if (enhancedCode.subject !== subject || enhancedCode.detail !== detail) {
        return { code, enhancedCode: undefined, lines, text: lines.join("\n") }
      }
    }
    const stripped = match === null ? line : line.slice(match[0].length)
    text = index === 0 ? stripped : `${text}\n${stripped}`
  }
  return { code, enhancedCode, lines, text }
}

/** Octets that are not a reply: after one of these nothing that the peer says can be matched to a command. */
export interface Violation {
  readonly _tag: "Violation"
  readonly reason: string
}

/** Limits of the parser; all are finite. */
export interface Limits {
  /** Octets of one line with its CRLF. The longest legal line is an AUTH challenge (RFC 4954 section 4). */
  readonly lineLength: number
  /** Lines of one reply. */
  readonly lines: number
  /** Octets of one reply. */
  readonly replyLength: number
}

/** 12,288 octets a line, 512 lines and 128 KiB a reply. */
export const defaultLimits: Limits = { lineLength: 12_288, lines: 512, replyLength: 131_072 }

/** Bytes in, replies out. A parser that has returned a violation returns it for ever. */
export interface Parser {
  /** Takes octets as they came; nothing is interpreted before `next`. The array must not change afterwards. */
  readonly push: (octets: Uint8Array) => void
  /** The next complete reply, `undefined` when more octets are needed, or what was wrong. */
  readonly next: () => Reply | Violation | undefined
  /** Octets that were pushed and are not part of a returned reply: zero before a protocol switch. */
  readonly pending: () => number
  /** Says whether ENHANCEDSTATUSCODES is announced, for the replies to come. */
  readonly advertiseEnhancedCodes: (advertised: boolean) => void
}

export const isViolation = (value: Reply | Violation): value is Violation => "_tag" in value

const LF = 0x0a
const CR = 0x0d
const noOctets = new Uint8Array(0)
const digit = (octet: number | undefined): number =>
  octet !== undefined && octet >= 0x30 && octet <= 0x39 ? octet - 0x30 : -1

/**
 * An incremental parser: any split of the same octets gives the same replies. Lines end in CRLF and nothing
 * else; all lines of a reply carry the same code.
 */
export const makeParser = (limits: Limits = defaultLimits): Parser => {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  let buffer: Uint8Array = noOctets
  let offset = 0
  // How much of `buffer` is known to hold no LF: a slow peer costs each octet one look, not one a push.
  let scanned = 0
  let code = 0
  let lines: Array<string> = []
  let replyLength = 0
  let advertised = false
  let violation: Violation | undefined
  // The reply read last if it was of one line, and where in `buffer` that begins.
  let latest: Reply | undefined
  let latestStart = 0

  // A group of recipients is answered by one line over and over: it is read once. A refusal is told for each.
  const isAgain = (start: number, end: number): boolean => {
    if (latest === undefined || latest.code >= 300 || lines.length > 0) return false
    for (let index = start, other = latestStart; index <= end; index++, other++) {
      if (buffer[index] !== buffer[other]) return false
    }
    return true
  }

  const fail = (reason: string): Violation => {
    violation = { _tag: "Violation", reason }
    buffer = noOctets
    offset = 0
    scanned = 0
    replyLength = 0
    lines = []
    return violation
  }

  // One bound decides, the nearer of the two, so that how the octets were split never changes what is reported.
  const allowed = (): number => Math.min(limits.lineLength, limits.replyLength - replyLength)
  const failTooLong = (): Violation =>
    limits.lineLength <= limits.replyLength - replyLength
      ? fail(`a reply line is longer than ${limits.lineLength} octets`)
      : fail(`a reply is longer than ${limits.replyLength} octets`)

  const push = (octets: Uint8Array): void => {
    if (violation !== undefined || octets.length === 0) return
    latest = undefined
    if (offset === buffer.length) {
      buffer = octets
      offset = 0
      scanned = 0
      return
    }
    const rest = buffer.length - offset
    const joined = new Uint8Array(rest + octets.length)
    joined.set(buffer.subarray(offset))
    joined.set(octets, rest)
    buffer = joined
    scanned -= offset
    offset = 0
  }

  const next = (): Reply | Violation | undefined => {
    for (;;) {
      if (violation !== undefined) return violation
      const end = buffer.indexOf(LF, Math.max(scanned, offset))
      if (end === -1) {
        scanned = buffer.length
        const rest = buffer.length - offset
        return rest > 0 && rest >= allowed() ? failTooLong() : undefined
      }
      const start = offset
      const length = end + 1 - start
      if (length > allowed()) return failTooLong()
      offset = end + 1
      scanned = offset
      if (latest !== undefined && isAgain(start, end)) return latest
      replyLength += length
      if (end === start || buffer[end - 1] !== CR) return fail("a reply line ends in LF without CR")
      const last = end - 1
      const hundreds = digit(buffer[start])
      const tens = digit(buffer[start + 1])
      const ones = digit(buffer[start + 2])
      if (last - start < 3 || hundreds < 1 || hundreds > 5 || tens < 0 || ones < 0) {
        return fail("a reply line does not begin with a code from 100 to 599")
      }
      const separator = last - start === 3 ? 0x20 : buffer[start + 3]
      if (separator !== 0x20 && separator !== 0x2d) {
        return fail("the code of a reply line is followed by neither a space nor a hyphen")
      }
      const firstCarriageReturn = buffer.indexOf(CR, start)
      if (firstCarriageReturn !== last) return fail("a reply line holds a CR that does not end it")
      const lineCode = hundreds * 100 + tens * 10 + ones
      if (lines.length > 0 && lineCode !== code) {
        return fail(`the lines of one reply disagree: ${code} and then ${lineCode}`)
      }
      if (lines.length >= limits.lines) return fail(`a reply has more than ${limits.lines} lines`)
      code = lineCode
      lines.push(last - start <= 4 ? "" : decoder.decode(buffer.subarray(start + 4, last)))
      if (separator === 0x20) {
        const reply = make(code, lines, advertised)
        latest = lines.length === 1 ? reply : undefined
        latestStart = start
        lines = []
        replyLength = 0
        return reply
      }
    }
  }

  return {
    push,
    next,
    pending: () => buffer.length - offset + replyLength,
    advertiseEnhancedCodes: (value) => {
      advertised = value
      latest = undefined
    }
  }
}
