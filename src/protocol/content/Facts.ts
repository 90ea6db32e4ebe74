/**
 * What is learned of content on its way, and what may not be sent. It looks at no octet itself: the scan does.
 */

import type { Utf8Validator } from "../Utf8.js"

/** What is known of the content, once it was encoded or inspected. */
export interface Facts {
  /**
   * Octets of the canonical content: with every CRLF, with the final one if it was added, without the dots of
   * transparency. This is what SIZE counts (RFC 1870 section 3).
   */
  readonly octets: number
  /** Whether an octet over 127 occurs (RFC 6152). */
  readonly eightBit: boolean
  /** Whether a NUL occurs. */
  readonly nul: boolean
  /** Octets of the longest line, without its CRLF. In binary content a bare CR or LF ends a line here too. */
  readonly longestLine: number
  /** Lines that begin with a dot: the octets that transparency adds. */
  readonly dotLines: number
  /** Whether a bare CR or a bare LF became CRLF. */
  readonly changed: boolean
  /** Whether the content did not end in a line end, so that CRLF was added. */
  readonly finalLineEndAdded: boolean
  /**
   * Whether what stands before the first empty line goes beyond ASCII in well-formed UTF-8, which asks for SMTPUTF8
   * (RFC 6531 section 3.4, RFC 6532). Other octets over 127 ask for 8BITMIME alone. Only the header section of the
   * message itself is looked at, never those of its MIME parts; content without an empty line is a header section from
   * end to end.
   */
  readonly headerUtf8: boolean
}

/** Why the content cannot be sent as it is. One that was returned is returned for ever. */
export interface ContentViolation {
  readonly _tag: "ContentViolation"
  readonly reason: "Nul" | "LineEnds" | "LineTooLong" | "NotAscii" | "TooLarge"
  /** A sentence for people, without its first capital and its full stop. */
  readonly detail: string
}

/** What may be sent, and what is done about line ends. */
export interface EncodingOptions {
  /** A bare CR or bare LF becomes CRLF, or is a violation. */
  readonly lineEnds: "convert" | "refuse"
  /** A line over 998 octets goes out as it is, or is a violation (RFC 5321 section 4.5.3.1.6). */
  readonly longLines: "send" | "refuse"
  readonly allowNul: boolean
  /** BINARYMIME (RFC 3030 section 3): octet for octet, by BDAT only; the three options above are without effect. */
  readonly binary: boolean
  /** The largest canonical content, in octets. */
  readonly maxSize?: number | undefined
  /** An octet over 127 is a violation. */
  readonly require7bit?: boolean | undefined
}

/** Convert line ends, send long lines, refuse NUL. */
export const defaultOptions: EncodingOptions = {
  lineEnds: "convert",
  longLines: "send",
  allowNul: false,
  binary: false
}

/** Octets of the longest line that RFC 5321 lets a client rely on, without its CRLF. */
const maximumLineLength = 998

/** What the scan has seen so far. */
export class ScanState {
  received = 0
  /** CR and LF that were added, the final CRLF among them. */
  added = 0
  lines = 0
  /** Octets of the unfinished line; zero at the start of a line. */
  lineLength = 0
  longestLine = 0
  dotLines = 0
  /** The last octet was a CR, which is only given out once the next octet says what it was. */
  heldCarriageReturn = false
  /** All octets joined by "or": its high bits tell of 8-bit octets. */
  joined = 0
  inHeader = true
  headerNonAscii = false
  /** Of the header section, from the first slice with an octet over 127 on. */
  headerText: Utf8Validator | undefined = undefined
  finalLineEndAdded = false
  // Numbers of the first lines with the trait, zero for none.
  nulLine = 0
  bareLine = 0
  longLine = 0
}

const highBits = 0x80808080 | 0

/** Counts a line that has ended, when nothing behind it was seen yet. */
export const finishLine = (state: ScanState, length: number): void => {
  state.lines++
  if (length > state.longestLine) {
    state.longestLine = length
    if (length > maximumLineLength && state.longLine === 0) state.longLine = state.lines
  }
  if (length === 0 && state.inHeader) {
    state.inHeader = false
    state.headerNonAscii = (state.joined & highBits) !== 0
  }
}

/**
 * Counts a bare CR or LF, which is one octet longer as CRLF. It belongs to the line that is not finished yet.
 */
export const bareLineEnd = (state: ScanState): void => {
  state.added++
  if (state.bareLine === 0) state.bareLine = state.lines + 1
}

/**
 * The end of the content: a held CR was a bare one, and an unfinished line is finished. Says whether CRLF has to
 * follow what was given out.
 */
export const finish = (state: ScanState): boolean => {
  if (state.inHeader) state.headerText?.end()
  if (state.heldCarriageReturn) {
    bareLineEnd(state)
  } else if (state.lineLength > 0) {
    state.added += 2
    state.finalLineEndAdded = true
  } else {
    return false
  }
  finishLine(state, state.lineLength)
  state.heldCarriageReturn = false
  state.lineLength = 0
  return true
}

const length998 = `over ${maximumLineLength} bytes`

/** The first violation among what was seen so far. An unfinished line counts as one. */
export const violationOf = (state: ScanState, options: EncodingOptions): ContentViolation | undefined => {
  if (options.maxSize !== undefined && canonicalOctets(state, options) > options.maxSize) {
    return violation("TooLarge", `it is larger than the limit of ${options.maxSize} bytes`)
  }
  if (options.require7bit === true && (state.joined & highBits) !== 0) {
    return violation(
      "NotAscii",
      "it holds 8-bit bytes where only 7-bit may be sent; encode it before sending"
    )
  }
  if (options.binary) return undefined
  if (!options.allowNul && state.nulLine > 0) {
    return violation("Nul", `line ${state.nulLine} holds a NUL byte; encode it, or set allowNul`)
  }
  if (options.lineEnds === "refuse" && state.bareLine > 0) {
    return violation("LineEnds", `line ${state.bareLine} ends in a bare CR or LF; end lines in CRLF`)
  }
  if (options.longLines === "refuse") {
    const line =
      state.longLine > 0 ? state.longLine : state.lineLength > maximumLineLength ? state.lines + 1 : 0
    if (line > 0) return violation("LineTooLong", `line ${line} is ${length998}; encode or fold it`)
  }
  return undefined
}

const violation = (reason: ContentViolation["reason"], detail: string): ContentViolation => ({
  _tag: "ContentViolation",
  reason,
  detail
})

const canonicalOctets = (state: ScanState, options: EncodingOptions): number =>
  options.binary ? state.received : state.received + state.added

/** What is known, in the words of the interface. */
export const factsOf = (state: ScanState, options: EncodingOptions): Facts => {
  const eightBit = (state.joined & highBits) !== 0
  return {
    octets: canonicalOctets(state, options),
    eightBit,
    nul: state.nulLine > 0,
    longestLine: Math.max(state.longestLine, state.lineLength),
    dotLines: state.dotLines,
    changed: !options.binary && state.bareLine > 0,
    finalLineEndAdded: !options.binary && state.finalLineEndAdded,
    headerUtf8: (state.inHeader ? eightBit : state.headerNonAscii) && state.headerText?.isValid() !== false
  }
}
