/** Replies, and an incremental parser with hard limits (RFC 5321 section 4.2, RFC 2034). */
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
 * A 4yz or 5yz reply: the server refuses, temporarily or permanently.
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

/** Not a reply: nothing that the peer says afterwards can be matched to a command. */
export interface Violation {
  readonly _tag: "Violation"
  readonly reason: string
}

/** Limits of the parser; all are finite. */
export interface Limits {
  /** Bytes of one line with its CRLF. The longest legal line is an AUTH challenge (RFC 4954 section 4). */
  readonly lineLength: number
  /** Lines of one reply. */
  readonly lines: number
  /** Bytes of one reply. */
  readonly replyLength: number
}

/** 12,288 bytes a line, 512 lines and 128 KiB a reply. */
export const defaultLimits: Limits = { lineLength: 12_288, lines: 512, replyLength: 131_072 }

export const isViolation = (value: Reply | Violation): value is Violation => "_tag" in value

const LF = 0x0a
const CR = 0x0d
const SP = 0x20
const HYPHEN = 0x2d
const noBytes: Uint8Array = new Uint8Array(0)
// Negative where it is none.
const digit = (octet = 0): number => (octet > 0x39 ? -1 : octet - 0x30)

/**
 * Incremental: any split of the same bytes gives the same replies. Lines end in CRLF, and also in LF or CR CR LF, as some
 * servers write them; empty lines before a reply are skipped. All lines of a reply carry the same code, except that a
 * greeting has the code of its last line: Postfix's postscreen says 220 before it turns clients away. A parser that has
 * returned a violation returns it forever.
 */
export class Parser {
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  private buffer = noBytes
  private offset = 0
  // How much of `buffer` is known to hold no LF: a slow peer costs each byte one look, not one a push.
  private scanned = 0
  private code = 0
  private lines: Array<string> = []
  private replyLength = 0
  private advertised = false
  private violation: Violation | undefined
  // The reply read last if it was of one line, and where in `buffer` that begins.
  private latest: Reply | undefined
  private latestStart = 0

  constructor(
    private readonly limits: Limits = defaultLimits,
    /** Whether the next reply is the greeting. */
    private awaitsGreeting = false
  ) {}

  /** Takes bytes as they came; nothing is interpreted before `next`. The array must not change afterwards. */
  push(bytes: Uint8Array): void {
    if (this.violation !== undefined) return
    this.latest = undefined
    if (this.offset === this.buffer.length) {
      this.buffer = bytes
      this.offset = 0
      this.scanned = 0
      return
    }
    const rest = this.buffer.length - this.offset
    const joined = new Uint8Array(rest + bytes.length)
    joined.set(this.buffer.subarray(this.offset))
    joined.set(bytes, rest)
    this.buffer = joined
    this.scanned -= this.offset
    this.offset = 0
  }

  /** Bytes that were pushed and are not part of a returned reply: zero before a protocol switch. */
  pending(): number {
    return this.buffer.length - this.offset + this.replyLength
  }

  /** Whether the beginning of a reply was pushed; empty lines before it do not count. */
  hasBegun(): boolean {
    if (this.lines.length > 0) return true
    for (let index = this.offset; index < this.buffer.length; index++) {
      const octet = this.buffer[index]
      if (octet !== CR && octet !== LF) return true
    }
    return false
  }

  /** Says whether ENHANCEDSTATUSCODES is announced, for the replies to come. */
  advertiseEnhancedCodes(advertised: boolean): void {
    this.advertised = advertised
    this.latest = undefined
  }

  /** The next complete reply, `undefined` when more bytes are needed, or what was wrong. */
  next(): Reply | Violation | undefined {
    while (this.violation === undefined) {
      const end = this.buffer.indexOf(LF, this.scanned)
      if (end === -1) {
        this.scanned = this.buffer.length
        const rest = this.buffer.length - this.offset
        return rest > 0 && rest >= this.allowed() ? this.failTooLong() : undefined
      }
      const start = this.offset
      const length = end + 1 - start
      if (length > this.allowed()) return this.failTooLong()
      this.offset = end + 1
      this.scanned = this.offset
      const again = this.again(start, end)
      if (again !== undefined) return again
      this.replyLength += length
      const reply = this.readLine(start, end)
      if (reply !== undefined) return reply
    }
    return this.violation
  }

  /** The reply that the line ends, or what is wrong with it. */
  private readLine(start: number, end: number): Reply | Violation | undefined {
    const { buffer } = this
    let last = end
    while (buffer[last - 1] === CR) last--
    if (last === start && this.lines.length === 0) {
      this.latest = undefined
      return undefined
    }
    const hundreds = digit(buffer[start])
    const tens = digit(buffer[start + 1])
    const ones = digit(buffer[start + 2])
    if (hundreds < 1 || hundreds > 5 || tens < 0 || ones < 0) {
      return this.fail("a reply line does not begin with a code from 100 to 599")
    }
    const separator = last - start === 3 ? SP : buffer[start + 3]
    if (separator !== SP && separator !== HYPHEN) {
      return this.fail("the code of a reply line is followed by neither a space nor a hyphen")
    }
    const firstCr = buffer.indexOf(CR, start)
    if (firstCr !== -1 && firstCr < last) return this.fail("a reply line holds a CR that does not end it")
    const code = hundreds * 100 + tens * 10 + ones
    if (this.lines.length > 0 && code !== this.code && !this.awaitsGreeting) {
      return this.fail(`the lines of one reply disagree: ${this.code} and then ${code}`)
    }
    if (this.lines.length >= this.limits.lines) {
      return this.fail(`a reply has more than ${this.limits.lines} lines`)
    }
    this.code = code
    this.lines.push(this.decoder.decode(buffer.subarray(start + 4, last)))
    if (separator === HYPHEN) return undefined
    const reply = make(code, this.lines, this.advertised)
    this.latest = this.lines.length === 1 ? reply : undefined
    this.latestStart = start
    this.lines = []
    this.replyLength = 0
    this.awaitsGreeting = false
    return reply
  }

  // A group of recipients is answered by one line over and over: it is read once. Refusals are told for each.
  private again(start: number, end: number): Reply | undefined {
    const { latest } = this
    if (latest === undefined || latest.code >= 300 || this.lines.length > 0) return undefined
    for (let index = start, other = this.latestStart; index <= end; index++, other++) {
      if (this.buffer[index] !== this.buffer[other]) return undefined
    }
    return latest
  }

  // The nearer of two bounds decides, so that how the bytes were split never changes what is reported.
  private allowed(): number {
    return Math.min(this.limits.lineLength, this.limits.replyLength - this.replyLength)
  }

  private failTooLong(): Violation {
    const { lineLength, replyLength } = this.limits
    return lineLength <= replyLength - this.replyLength
      ? this.fail(`a reply line is longer than ${lineLength} bytes`)
      : this.fail(`a reply is longer than ${replyLength} bytes`)
  }

  private fail(reason: string): Violation {
    this.violation = { _tag: "Violation", reason }
    this.buffer = noBytes
    this.offset = 0
    this.scanned = 0
    this.replyLength = 0
    this.lines = []
    return this.violation
  }
}
