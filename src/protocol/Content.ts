/**
 * The message content as it goes over the wire: canonical line ends, transparency, the end of data and the
 * framing of BDAT (RFC 5321 sections 2.3.8 and 4.5.2, RFC 3030), and what is learned of the content on the way.
 * It parses no MIME and no header fields, and writes nothing anywhere: octets in, octets out.
 */
import type { ContentViolation, Facts, EncodingOptions } from "./content/Facts.js"
import { factsOf, finish, ScanState, violationOf } from "./content/Facts.js"
import { makeInsertions, place, scan, sliceLength } from "./content/Scan.js"

export type { ContentViolation, Facts, EncodingOptions } from "./content/Facts.js"

export { defaultOptions } from "./content/Facts.js"

export { sliceLength } from "./content/Scan.js"

/**
 * How the content is framed. DATA needs transparency and the final dot; BDAT counts octets and needs neither.
 */
export type Framing = "data" | "bdat"

/**
 * Octets in, octets for the wire out. Any split of the same octets gives the same wire. The arrays returned may be
 * views of the array that was pushed, which must not change before they are written.
 */
export interface Encoder {
  readonly push: (octets: Uint8Array) => ReadonlyArray<Uint8Array> | ContentViolation
  /** The final line end where it is missing, and under DATA the end of data. To be called once. */
  readonly end: () => ReadonlyArray<Uint8Array> | ContentViolation
  /** What is known so far; final after `end`. */
  readonly facts: () => Facts
}

const LF = 0x0a
const CR = 0x0d
const DOT = 0x2e

/**
 * The octets behind the last CRLF of content sent by DATA, and the whole of an empty message: a dot and CRLF. Not
 * to be written to.
 */
export const endOfData: Uint8Array = Uint8Array.of(DOT, CR, LF)

const allocateZeroed = (length: number): Uint8Array => new Uint8Array(length)

const lineEnd: Uint8Array = Uint8Array.of(CR, LF)
const lineEndAndEndOfData: Uint8Array = Uint8Array.of(CR, LF, DOT, CR, LF)

/**
 * An encoder: canonical line ends first, then, under DATA, transparency and the end of data. Content that is
 * canonical already and has no line that begins with a dot passes as views, without a copy. `allocate` gives an array
 * of exactly the length asked for, whatever its octets; all are overwritten. It is asked at most once for every
 * `sliceLength` octets of a push.
 */
export const makeEncoder = (
  framing: Framing,
  options: EncodingOptions,
  allocate: (length: number) => Uint8Array = allocateZeroed
): Encoder => {
  const state = new ScanState()
  const insertions = makeInsertions()
  const transparency = framing === "data" && !options.binary
  let broken: ContentViolation | undefined

  const pushSlice = (octets: Uint8Array, start: number, end: number, out: Array<Uint8Array>): void => {
    scan(state, octets, start, end, insertions, transparency)
    broken = violationOf(state, options)
    if (options.binary) {
      out.push(octets.subarray(start, end))
      return
    }
    const kept = state.heldCarriageReturn ? end - 1 : end
    if (insertions.count === 0) {
      if (kept > start) out.push(octets.subarray(start, kept))
      return
    }
    const target = allocate(kept - start + insertions.count)
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

/** Canonical content in memory. */
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

/** What has to be free behind the content in memory that is given away. */
export const ownedRoom = 5

/**
 * A canonical copy of content in memory, made in one pass over small content and in two over large. `allocate` gives
 * an array of exactly the length asked for, whatever its octets; all are overwritten. `owned` is memory that begins with
 * the octets, has `ownedRoom` octets behind them, and is not used again by the caller: then nothing is copied unless an
 * octet has to be put in between.
 */
export const canonicalise = (
  octets: Uint8Array,
  options: EncodingOptions,
  allocate: (length: number) => Uint8Array = allocateZeroed,
  owned?: Uint8Array
): Canonical | ContentViolation => {
  const state = new ScanState()
  const insertions = makeInsertions()
  for (let start = 0; start < octets.length; start += sliceLength) {
    scan(state, octets, start, Math.min(start + sliceLength, octets.length), insertions, false)
  }
  const kept = state.heldCarriageReturn ? octets.length - 1 : octets.length
  finish(state)
  const broken = violationOf(state, options)
  if (broken !== undefined) return broken
  const facts = factsOf(state, options)
  const length = facts.octets + (options.binary ? 0 : endOfData.length)
  const inOneScan = octets.length <= sliceLength
  if (options.binary || (inOneScan ? insertions.count === 0 : !facts.changed)) {
    const copy = owned?.subarray(0, length) ?? allocate(length)
    if (owned === undefined) copy.set(octets)
    return options.binary ? { facts, octets: copy, withEndOfData: copy } : closed(copy, kept, facts)
  }
  const target = allocate(length)
  const end = inOneScan ? place(octets, 0, kept, insertions, target, 0) : encodeInto(octets, target, false)
  return closed(target, end, facts)
}

/** Canonical line ends, and transparency if asked for, into `target`; gives the offset behind the last octet. */
const encodeInto = (octets: Uint8Array, target: Uint8Array, transparency: boolean): number => {
  const state = new ScanState()
  const insertions = makeInsertions()
  let offset = 0
  for (let start = 0; start < octets.length; start += sliceLength) {
    const end = Math.min(start + sliceLength, octets.length)
    scan(state, octets, start, end, insertions, transparency)
    offset = place(octets, start, state.heldCarriageReturn ? end - 1 : end, insertions, target, offset)
  }
  return offset
}

/** Adds the end of data, after the CRLF that the facts count and `end` does not. */
const closed = (target: Uint8Array, end: number, facts: Facts): Canonical => {
  target.set(end < facts.octets ? lineEndAndEndOfData : endOfData, end)
  return { facts, octets: target.subarray(0, facts.octets), withEndOfData: target }
}

/**
 * The whole of a message for DATA in one array: canonical, transparent, with the end of data. Meant for content
 * small enough for one write; without a line that begins with a dot it is not copied again.
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
