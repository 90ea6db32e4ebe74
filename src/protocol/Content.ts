/**
 * The message content as it goes over the wire: canonical line ends, transparency, the end of data and the
 * framing of BDAT (RFC 5321 sections 2.3.8 and 4.5.2, RFC 3030), and what is learned of the content on the way.
 * It parses no MIME and no header fields, and writes nothing anywhere: octets in, octets out.
 *
 * @since 0.1.0
 */

/**
 * What is known of the content, once it was encoded or inspected.
 *
 * @since 0.1.0
 * @category models
 */
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
   * Whether an octet over 127 occurs before the first empty line, which asks for SMTPUTF8 (RFC 6531 section 3.4,
   * RFC 6532). Only the header section of the message itself is looked at, never those of its MIME parts; content
   * without an empty line is a header section from end to end.
   */
  readonly headerNonAscii: boolean
}

/**
 * Why the content cannot be sent as it is. One that was returned is returned for ever.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContentViolation {
  readonly _tag: "ContentViolation"
  readonly reason: "Nul" | "LineEnds" | "LineTooLong" | "NotAscii" | "TooLarge"
  /** A sentence for people, without its first capital and its full stop. */
  readonly detail: string
}

/**
 * What may be sent, and what is done about line ends.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
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

/**
 * Convert line ends, send long lines, refuse NUL.
 *
 * @since 0.1.0
 * @category models
 */
export const defaultOptions: Options = {
  lineEnds: "convert",
  longLines: "send",
  allowNul: false,
  binary: false
}

/**
 * How the content is framed. DATA needs transparency and the final dot; BDAT counts octets and needs neither.
 *
 * @since 0.1.0
 * @category models
 */
export type Framing = "data" | "bdat"

/**
 * Octets in, octets for the wire out. Any split of the same octets gives the same wire. The arrays returned may be
 * views of the array that was pushed, which must not change before they are written.
 *
 * @since 0.1.0
 * @category models
 */
export interface Encoder {
  readonly push: (octets: Uint8Array) => ReadonlyArray<Uint8Array> | ContentViolation
  /** The final line end where it is missing, and under DATA the end of data. To be called once. */
  readonly end: () => ReadonlyArray<Uint8Array> | ContentViolation
  /** What is known so far; final after `end`. */
  readonly facts: () => Facts
}

/**
 * @since 0.1.0
 * @category predicates
 */
export const isContentViolation = (value: unknown): value is ContentViolation =>
  typeof value === "object" && value !== null && "_tag" in value && value._tag === "ContentViolation"

/**
 * Octets of the longest line that RFC 5321 lets a client rely on, without its CRLF.
 *
 * @since 0.1.0
 * @category constants
 */
export const maximumLineLength = 998

const NUL = 0x00
const LF = 0x0a
const CR = 0x0d
const DOT = 0x2e

/**
 * The octets behind the last CRLF of content sent by DATA, and the whole of an empty message: a dot and CRLF. Not
 * to be written to.
 *
 * @since 0.1.0
 * @category constants
 */
export const endOfData: Uint8Array = Uint8Array.of(DOT, CR, LF)

// Content is taken in slices of this many octets, so that what a change of line ends needs is bounded.
const sliceLength = 65_536

interface State {
  /** Octets that came in. */
  received: number
  /** CR and LF that were added, the final CRLF among them. */
  added: number
  lines: number
  /** Octets of the unfinished line; zero at the start of a line. */
  lineLength: number
  longestLine: number
  dotLines: number
  /** The last octet was a CR, which is only given out once the next octet says what it was. */
  heldCarriageReturn: boolean
  /** All octets joined by "or": its high bits tell of 8-bit octets. */
  joined: number
  inHeader: boolean
  headerNonAscii: boolean
  finalLineEndAdded: boolean
  // Numbers of the first lines with the trait, zero for none.
  nulLine: number
  bareLine: number
  longLine: number
}

const makeState = (): State => ({
  received: 0,
  added: 0,
  lines: 0,
  lineLength: 0,
  longestLine: 0,
  dotLines: 0,
  heldCarriageReturn: false,
  joined: 0,
  inHeader: true,
  headerNonAscii: false,
  finalLineEndAdded: false,
  nulLine: 0,
  bareLine: 0,
  longLine: 0
})

const highBits = 0x80808080 | 0

const finishLine = (state: State, length: number, joined: number): void => {
  state.lines++
  if (length > state.longestLine) {
    state.longestLine = length
    if (length > maximumLineLength && state.longLine === 0) state.longLine = state.lines
  }
  if (length === 0 && state.inHeader) {
    state.inHeader = false
    state.headerNonAscii = (joined & highBits) !== 0
  }
}

const bareLineEnd = (state: State): void => {
  state.added++
  if (state.bareLine === 0) state.bareLine = state.lines + 1
}

/** One octet to be put in before the octet at `position`, as one small integer. */
const insertion = (position: number, octet: number): number => (position << 8) | octet

/**
 * Looks at the octets from `start` to `end` (at most one slice) and notes what has to be put in where; all that
 * canonical line ends and transparency ever do is to put in single octets. Words of four octets without a control
 * character, the bulk of any message, are looked at as a whole: three times as fast as one by one.
 */
const scan = (
  state: State,
  octets: Uint8Array,
  start: number,
  end: number,
  insertions: Array<number>,
  transparency: boolean
): void => {
  let index = start
  let joined = state.joined
  let lineStart = start - state.lineLength
  state.received += end - start
  if (state.heldCarriageReturn) {
    state.heldCarriageReturn = false
    insertions.push(insertion(0, CR))
    if (octets[start] === LF) {
      index = start + 1
    } else {
      insertions.push(insertion(0, LF))
      bareLineEnd(state)
    }
    finishLine(state, start - lineStart, joined)
    lineStart = index
  }
  if (lineStart === index && index < end && octets[index] === DOT) {
    state.dotLines++
    if (transparency) insertions.push(insertion(index - start, DOT))
  }
  // The first octet at a multiple of four of the buffer, and the words from there to the end.
  const aligned = index + (-(octets.byteOffset + index) & 3)
  const words =
    end - aligned < 4
      ? undefined
      : new Int32Array(octets.buffer, octets.byteOffset + aligned, (end - aligned) >> 2)
  while (index < end) {
    if (words !== undefined && index >= aligned && ((index - aligned) & 3) === 0) {
      let word = (index - aligned) >> 2
      for (; word < words.length; word++) {
        const four = words[word] ?? 0
        // Not zero if any of the four octets is below 14.
        if (((four - 0x0e0e0e0e) & ~four & highBits) !== 0) break
        joined |= four
      }
      index = aligned + (word << 2)
      if (index >= end) break
    }
    const octet = octets[index] ?? 0
    joined |= octet
    if (octet === LF) {
      const canonical = index > start && octets[index - 1] === CR
      if (!canonical) {
        insertions.push(insertion(index - start, CR))
        bareLineEnd(state)
      }
      finishLine(state, (canonical ? index - 1 : index) - lineStart, joined)
      lineStart = index + 1
    } else if (octet === CR && octets[index + 1] !== LF && index + 1 < end) {
      insertions.push(insertion(index + 1 - start, LF))
      bareLineEnd(state)
      finishLine(state, index - lineStart, joined)
      lineStart = index + 1
    } else if (octet === NUL && state.nulLine === 0) {
      state.nulLine = state.lines + 1
    }
    index++
    if (lineStart === index && index < end && octets[index] === DOT) {
      state.dotLines++
      if (transparency) insertions.push(insertion(index - start, DOT))
    }
  }
  state.heldCarriageReturn = end > start && octets[end - 1] === CR
  state.lineLength = end - lineStart - (state.heldCarriageReturn ? 1 : 0)
  state.joined = joined
}

const length998 = `over ${maximumLineLength} octets`

/** The first violation among what was seen so far. `unfinished` octets of the last line count as a line. */
const violationOf = (state: State, options: Options): ContentViolation | undefined => {
  if (options.maxSize !== undefined && canonicalOctets(state, options) > options.maxSize) {
    return violation("TooLarge", `it is larger than the limit of ${options.maxSize} octets`)
  }
  if (options.require7bit === true && (state.joined & highBits) !== 0) {
    return violation(
      "NotAscii",
      "it holds 8-bit octets where only 7-bit may be sent; encode it before sending"
    )
  }
  if (options.binary) return undefined
  if (!options.allowNul && state.nulLine > 0) {
    return violation("Nul", `line ${state.nulLine} holds a NUL octet; encode it, or set allowNul`)
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

const canonicalOctets = (state: State, options: Options): number =>
  options.binary ? state.received : state.received + state.added

const factsOf = (state: State, options: Options): Facts => {
  const eightBit = (state.joined & highBits) !== 0
  return {
    octets: canonicalOctets(state, options),
    eightBit,
    nul: state.nulLine > 0,
    longestLine: Math.max(state.longestLine, state.lineLength),
    dotLines: state.dotLines,
    changed: !options.binary && state.bareLine > 0,
    finalLineEndAdded: !options.binary && state.finalLineEndAdded,
    headerNonAscii: state.inHeader ? eightBit : state.headerNonAscii
  }
}

const allocateZeroed = (length: number): Uint8Array => new Uint8Array(length)

/**
 * Writes the octets from `start` to `end` and the insertions to `target` at `offset`, and gives the offset behind
 * them. The octets are put at their last possible place first, and then moved forward piece by piece: one native
 * call a piece, without a view of it.
 */
const place = (
  octets: Uint8Array,
  start: number,
  end: number,
  insertions: ReadonlyArray<number>,
  target: Uint8Array,
  offset: number
): number => {
  const count = insertions.length
  const source = offset + count
  target.set(start === 0 && end === octets.length ? octets : octets.subarray(start, end), source)
  let from = 0
  let to = offset
  for (const entry of insertions) {
    const position = entry >>> 8
    if (position > from) {
      target.copyWithin(to, source + from, source + position)
      to += position - from
      from = position
    }
    target[to++] = entry & 0xff
  }
  return offset + end - start + count
}

const lineEnd: Uint8Array = Uint8Array.of(CR, LF)
const lineEndAndEndOfData: Uint8Array = Uint8Array.of(CR, LF, DOT, CR, LF)

/**
 * The end of the content: a held CR was a bare one, and an unfinished line is finished. Says whether CRLF has to
 * follow what was given out.
 */
const finish = (state: State): boolean => {
  if (state.heldCarriageReturn) {
    bareLineEnd(state)
  } else if (state.lineLength > 0) {
    state.added += 2
    state.finalLineEndAdded = true
  } else {
    return false
  }
  finishLine(state, state.lineLength, state.joined)
  state.heldCarriageReturn = false
  state.lineLength = 0
  return true
}

/**
 * An encoder: canonical line ends first, then, under DATA, transparency and the end of data. Content that is
 * canonical already and has no line that begins with a dot passes as views, without a copy. `allocate` gives an array
 * of exactly the length asked for, whatever its octets; all are overwritten.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeEncoder = (
  framing: Framing,
  options: Options,
  allocate: (length: number) => Uint8Array = allocateZeroed
): Encoder => {
  const state = makeState()
  const transparency = framing === "data" && !options.binary
  let broken: ContentViolation | undefined

  const pushSlice = (octets: Uint8Array, start: number, end: number, out: Array<Uint8Array>): void => {
    const insertions: Array<number> = []
    scan(state, octets, start, end, insertions, transparency)
    broken = violationOf(state, options)
    if (options.binary) {
      out.push(octets.subarray(start, end))
      return
    }
    const kept = state.heldCarriageReturn ? end - 1 : end
    if (insertions.length === 0) {
      if (kept > start) out.push(octets.subarray(start, kept))
      return
    }
    const target = allocate(kept - start + insertions.length)
    place(octets, start, kept, insertions, target, 0)
    out.push(target)
  }

  const push = (octets: Uint8Array): ReadonlyArray<Uint8Array> | ContentViolation => {
    const out: Array<Uint8Array> = []
    for (let start = 0; start < octets.length && broken === undefined; start += sliceLength) {
      pushSlice(octets, start, Math.min(start + sliceLength, octets.length), out)
    }
    return broken ?? out
  }

  const end = (): ReadonlyArray<Uint8Array> | ContentViolation => {
    if (broken !== undefined) return broken
    const unfinished = finish(state)
    broken = violationOf(state, options)
    if (broken !== undefined) return broken
    if (options.binary) return []
    if (framing === "bdat") return unfinished ? [lineEnd] : []
    return [unfinished ? lineEndAndEndOfData : endOfData]
  }

  return { push, end, facts: () => factsOf(state, options) }
}

/**
 * Looks at content in memory once, without a copy of it.
 *
 * @since 0.1.0
 * @category accessors
 */
export const inspect = (octets: Uint8Array, options: Options): Facts | ContentViolation => {
  const state = makeState()
  const insertions: Array<number> = []
  for (let start = 0; start < octets.length; start += sliceLength) {
    insertions.length = 0
    scan(state, octets, start, Math.min(start + sliceLength, octets.length), insertions, false)
  }
  finish(state)
  return violationOf(state, options) ?? factsOf(state, options)
}

/**
 * Canonical content in memory.
 *
 * @since 0.1.0
 * @category models
 */
export interface Canonical {
  readonly facts: Facts
  /** The content for BDAT: `facts.octets` octets. */
  readonly octets: Uint8Array
  /**
   * The content and the end of data in one array, ready for DATA if `facts.dotLines` is zero; a view of the same
   * memory as `octets`. In binary content it is `octets`.
   */
  readonly withEndOfData: Uint8Array
}

/**
 * A canonical copy of content in memory, made in one pass over small content and in two over large. `allocate` gives
 * an array of exactly the length asked for, whatever its octets; all are overwritten.
 *
 * @since 0.1.0
 * @category constructors
 */
export const canonicalise = (
  octets: Uint8Array,
  options: Options,
  allocate: (length: number) => Uint8Array = allocateZeroed
): Canonical | ContentViolation => {
  if (octets.length > sliceLength) return canonicaliseLarge(octets, options, allocate)
  const state = makeState()
  const insertions: Array<number> = []
  if (octets.length > 0) scan(state, octets, 0, octets.length, insertions, false)
  const kept = state.heldCarriageReturn ? octets.length - 1 : octets.length
  finish(state)
  const broken = violationOf(state, options)
  if (broken !== undefined) return broken
  const facts = factsOf(state, options)
  if (options.binary) return binaryCopy(octets, facts, allocate)
  const target = allocate(facts.octets + endOfData.length)
  return closed(target, place(octets, 0, kept, insertions, target, 0), facts)
}

const canonicaliseLarge = (
  octets: Uint8Array,
  options: Options,
  allocate: (length: number) => Uint8Array
): Canonical | ContentViolation => {
  const facts = inspect(octets, options)
  if ("_tag" in facts) return facts
  if (options.binary) return binaryCopy(octets, facts, allocate)
  const target = allocate(facts.octets + endOfData.length)
  if (!facts.changed) {
    target.set(octets)
    return closed(target, octets.length, facts)
  }
  return closed(target, encodeInto(octets, target, false), facts)
}

/** Canonical line ends, and transparency if asked for, into `target`; gives the offset behind the last octet. */
const encodeInto = (octets: Uint8Array, target: Uint8Array, transparency: boolean): number => {
  const state = makeState()
  const insertions: Array<number> = []
  let offset = 0
  for (let start = 0; start < octets.length; start += sliceLength) {
    const end = Math.min(start + sliceLength, octets.length)
    insertions.length = 0
    scan(state, octets, start, end, insertions, transparency)
    offset = place(octets, start, state.heldCarriageReturn ? end - 1 : end, insertions, target, offset)
  }
  return offset
}

const binaryCopy = (
  octets: Uint8Array,
  facts: Facts,
  allocate: (length: number) => Uint8Array
): Canonical => {
  const target = allocate(octets.length)
  target.set(octets)
  return { facts, octets: target, withEndOfData: target }
}

/** Adds the end of data, after the CRLF that the facts count and `end` does not. */
const closed = (target: Uint8Array, end: number, facts: Facts): Canonical => {
  target.set(end < facts.octets ? lineEndAndEndOfData : endOfData, end)
  return { facts, octets: target.subarray(0, facts.octets), withEndOfData: target }
}

/**
 * The whole of a message for DATA in one array: canonical, transparent, with the end of data. Meant for content
 * small enough for one write; without a line that begins with a dot it is not copied again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const encodeForData = (
  content: Canonical,
  allocate: (length: number) => Uint8Array = allocateZeroed
): Uint8Array => {
  const { facts, octets, withEndOfData } = content
  if (facts.dotLines === 0 || withEndOfData === octets) return withEndOfData
  const target = allocate(withEndOfData.length + facts.dotLines)
  target.set(endOfData, encodeInto(octets, target, true))
  return target
}
