/**
 * The one pass over the octets of content: it learns the facts, and notes what has to be put in. All that canonical
 * line ends and transparency ever do is to put in single octets (RFC 5321 sections 2.3.8 and 4.5.2).
 */
import type { ScanState } from "./Facts.js"
import { bareLineEnd, finishLine } from "./Facts.js"
import { Utf8Validator } from "../Utf8.js"

const NUL = 0x00
const LF = 0x0a
const CR = 0x0d
const DOT = 0x2e

/** The most octets that one scan takes, so that what a change of line ends needs is bounded. */
export const sliceLength = 65_536

/** Single octets to be put in before octets of a slice, in order. */
export interface Insertions {
  count: number
  /** The first `count` are valid: the position from the start of the slice times 256, plus the octet. */
  readonly entries: Array<number>
}

/** None yet. */
export const makeInsertions = (): Insertions => ({ count: 0, entries: [] })

const insert = (insertions: Insertions, position: number, octet: number): void => {
  insertions.entries[insertions.count++] = (position << 8) | octet
}

/** The octets of a slice again, as words of four: all but the first and the last few. */
interface Words {
  readonly words: Int32Array
  /** Where the first word begins. */
  readonly start: number
  /** Where the last word ends. */
  readonly end: number
}

const noWords: Words = { words: new Int32Array(0), start: 0, end: 0 }

// Up to this length a view of the words costs more than it saves.
const shortLength = 64

const wordsOf = (octets: Uint8Array, start: number, end: number): Words => {
  if (end - start < shortLength) return noWords
  const first = start + (-(octets.byteOffset + start) & 3)
  const words = new Int32Array(octets.buffer, octets.byteOffset + first, (end - first) >> 2)
  return { words, start: first, end: first + (words.length << 2) }
}

// Taken from a word of plain octets, none of them below 14, it leaves every high bit as it should be.
const firstPlain = 0x0e0e0e0e
const highBits = 0x80808080 | 0

/** Whether one of the four octets is below 14: a borrow shows in a high bit that the octet does not have itself. */
const holdsControl = (word: number): boolean => ((word - firstPlain) & ~word & highBits) !== 0

/**
 * The end of the run of plain octets from `start`: the position of the first below 14, or `end`. Runs, the bulk of
 * any message, are looked at four words at a time, which is ten times as fast as octet by octet.
 */
const endOfRun = (state: ScanState, octets: Uint8Array, view: Words, start: number, end: number): number => {
  const { words } = view
  let joined = 0
  let index = start
  while (index < end && ((index - view.start) & 3) !== 0) {
    const octet = octets[index] ?? 0
    if (octet <= CR) {
      state.joined |= joined
      return index
    }
    joined |= octet
    index++
  }
  if (index < view.end) {
    let word = (index - view.start) >> 2
    for (const last = words.length - 4; word <= last; word += 4) {
      const a = words[word] ?? 0
      const b = words[word + 1] ?? 0
      const c = words[word + 2] ?? 0
      const d = words[word + 3] ?? 0
      const all = a | b | c | d
      const less = (a - firstPlain) | (b - firstPlain) | (c - firstPlain) | (d - firstPlain)
      if (((all | less) & highBits) === 0) continue
      if (holdsControl(a) || holdsControl(b) || holdsControl(c) || holdsControl(d)) break
      joined |= all
    }
    for (; word < words.length; word++) {
      const four = words[word] ?? 0
      if (holdsControl(four)) break
      joined |= four
    }
    index = view.start + (word << 2)
  }
  while (index < end) {
    const octet = octets[index] ?? 0
    if (octet <= CR) break
    joined |= octet
    index++
  }
  state.joined |= joined
  return index
}

/**
 * Looks at the octets from `start` to `end`, at most one slice: runs of plain octets, and the control characters
 * between them.
 */
export const scan = (
  state: ScanState,
  octets: Uint8Array,
  start: number,
  end: number,
  insertions: Insertions,
  transparency: boolean
): void => {
  const view = wordsOf(octets, start, end)
  const beganInHeader = state.inHeader
  // Where the header section ends, or the slice.
  let headerEnd = end
  let index = start
  let lineStart = start - state.lineLength
  insertions.count = 0
  state.received += end - start
  if (state.heldCarriageReturn) {
    state.heldCarriageReturn = false
    insert(insertions, 0, CR)
    if (octets[start] === LF) {
      index++
    } else {
      insert(insertions, 0, LF)
      bareLineEnd(state)
    }
    finishLine(state, start - lineStart)
    lineStart = index
    if (beganInHeader && !state.inHeader) headerEnd = index
  }
  if (lineStart === index && octets[index] === DOT && index < end) {
    state.dotLines++
    if (transparency) insert(insertions, index - start, DOT)
  }
  for (;;) {
    index = endOfRun(state, octets, view, index, end)
    if (index === end) break
    const octet = octets[index]
    const lineLength = index - lineStart
    if (octet === CR) {
      if (index + 1 === end) {
        state.heldCarriageReturn = true
        break
      }
      index++
      if (octets[index] === LF) {
        index++
      } else {
        insert(insertions, index - start, LF)
        bareLineEnd(state)
      }
    } else if (octet === LF) {
      // The LF of a CRLF was taken with its CR.
      insert(insertions, index - start, CR)
      bareLineEnd(state)
      index++
    } else {
      if (octet === NUL && state.nulLine === 0) state.nulLine = state.lines + 1
      index++
      continue
    }
    finishLine(state, lineLength)
    lineStart = index
    if (beganInHeader && headerEnd === end && !state.inHeader) headerEnd = index
    if (index < end && octets[index] === DOT) {
      state.dotLines++
      if (transparency) insert(insertions, index - start, DOT)
    }
  }
  state.lineLength = index - lineStart
  if (beganInHeader && (state.inHeader ? (state.joined & highBits) !== 0 : state.headerNonAscii)) {
    state.headerText ??= new Utf8Validator()
    state.headerText.push(octets, start, headerEnd)
  }
}

// A piece shorter than this is moved octet by octet: a native call takes longer.
const shortPiece = 12

/**
 * Writes the octets from `start` to `end` and the insertions to `target` at `offset`, and gives the offset behind
 * them. The octets are put at their last possible place first, and then moved forward piece by piece: one native
 * call a piece, without a view of it.
 */
export const place = (
  octets: Uint8Array,
  start: number,
  end: number,
  insertions: Insertions,
  target: Uint8Array,
  offset: number
): number => {
  const { count, entries } = insertions
  const source = offset + count
  target.set(start === 0 && end === octets.length ? octets : octets.subarray(start, end), source)
  let from = source
  let to = offset
  for (let index = 0; index < count; index++) {
    const entry = entries[index] ?? 0
    const position = source + (entry >>> 8)
    if (position - from < shortPiece) {
      while (from < position) target[to++] = target[from++] ?? 0
    } else {
      target.copyWithin(to, from, position)
      to += position - from
      from = position
    }
    target[to++] = entry & 0xff
  }
  return offset + end - start + count
}
