/**
 * Finds the fields and the end of a header section (RFC 5322 section 2.2), and tells whether any header section of a
 * message, those of its MIME parts included, goes beyond ASCII in UTF-8 (RFC 6532). Decodes no field and changes nothing.
 */

import { Utf8Validator } from "./Utf8.js"

/** A field of the header section, folded lines included. */
export interface Field {
  /** The name as it is written; the whole line if it has no colon. */
  readonly name: string
  /** What follows the colon, folds included, one character per octet. */
  readonly body: string
  /** Where the field begins. */
  readonly start: number
  /** Where the next field begins. */
  readonly end: number
}

/** The header section at the beginning of a message. */
export interface Section {
  readonly fields: ReadonlyArray<Field>
  /** Octets before the empty line that ends the section. */
  readonly length: number
}

const LF = 0x0a
const CR = 0x0d
const SP = 0x20
const HT = 0x09
const colon = ":"

const sliceLength = 8192

/** A string with one character per octet. */
export const toLatin1 = (octets: Uint8Array): string => {
  let text = ""
  for (let start = 0; start < octets.length; start += sliceLength) {
    text += String.fromCharCode(...octets.subarray(start, start + sliceLength))
  }
  return text
}

export const fromLatin1 = (text: string): Uint8Array =>
  Uint8Array.from(text, (character) => character.charCodeAt(0))

/** The text without spaces and tabs at its end. A regular expression would take quadratic time on runs inside. */
export const trimEnd = (text: string): string => {
  let end = text.length
  while (end > 0 && isWhiteSpace(text.charCodeAt(end - 1))) end--
  return text.slice(0, end)
}

const isWhiteSpace = (octet: number | undefined): boolean => octet === SP || octet === HT

/** Where the line that begins at `start` ends, and where the next one begins. CRLF, CR and LF end a line. */
const lineAt = (octets: Uint8Array, start: number): { readonly end: number; readonly next: number } => {
  let end = start
  while (end < octets.length && octets[end] !== LF && octets[end] !== CR) end++
  const pair = octets[end] === CR && octets[end + 1] === LF
  return { end, next: Math.min(octets.length, end + (pair ? 2 : 1)) }
}

const makeField = (octets: Uint8Array, start: number, textEnd: number, end: number): Field => {
  const text = toLatin1(octets.subarray(start, textEnd))
  const at = text.indexOf(colon)
  return at === -1
    ? { name: text, body: "", start, end }
    : { name: trimEnd(text.slice(0, at)), body: text.slice(at + 1), start, end }
}

/**
 * Reads the header section. CRLF, bare CR and bare LF all end a line, as they do once the content is canonical. Returns
 * `undefined` if the section may continue after the octets, unless they are `complete`.
 */
export const read = (octets: Uint8Array, complete: boolean): Section | undefined => {
  const fields: Array<Field> = []
  let start = 0
  let textEnd = 0
  let position = 0
  const finish = (): void => {
    if (position > start) fields.push(makeField(octets, start, textEnd, position))
  }
  while (position < octets.length) {
    const { end, next } = lineAt(octets, position)
    // The octet after the line end may be the second half of a CRLF, or continue the field.
    if (!complete && next >= octets.length) return undefined
    if (end === position) break
    if (!isWhiteSpace(octets[position])) {
      finish()
      start = position
    }
    textEnd = end
    position = next
  }
  if (!complete && position >= octets.length) return undefined
  finish()
  return { fields, length: position }
}

/** The fields of a name, in any letter case, from top to bottom. */
export const named = (fields: ReadonlyArray<Field>, name: string): ReadonlyArray<Field> =>
  fields.filter((field) => field.name.toLowerCase() === name.toLowerCase())

/** The body of a field on one line (RFC 5322 section 2.2.3), without white space at its ends. */
export const unfold = (body: string): string => trimEnd(body.replace(/[\r\n]/g, "")).replace(/^[ \t]+/, "")

/** The header section of a message, with the octets that came with it. */
export interface Gathered {
  readonly section: Section
  /** From the beginning of the message; after the section whatever the last piece brought. */
  readonly octets: Uint8Array
}

/** Gathers the header section of a message that comes in pieces. */
export interface Gatherer {
  /** `undefined` until the section is complete. */
  readonly push: (octets: Uint8Array) => Gathered | undefined
  /** The section of a message that has no more octets. */
  readonly end: () => Gathered
  /** How many octets are held. */
  readonly held: () => number
}

const firstCapacity = 4096

const isLineEnd = (octet: number | undefined): boolean => octet === CR || octet === LF

/** Whether an empty line begins after the octet at `from`, or is the first. */
const hasEmptyLine = (octets: Uint8Array, from: number): boolean => {
  if (isLineEnd(octets[0])) return true
  for (let at = from; at + 1 < octets.length; at++) {
    const pair = octets[at] === CR && octets[at + 1] === LF
    if (isLineEnd(octets[at]) && isLineEnd(octets[at + 1]) && !pair) return true
  }
  return false
}

/** A gatherer that reads the section once, when its empty line has come, so that small pieces cost no more. */
export const makeGatherer = (): Gatherer => {
  let buffer = new Uint8Array(firstCapacity)
  let length = 0
  let emptyLineSeen = false
  const held = (): Uint8Array => buffer.subarray(0, length)
  return {
    push: (octets) => {
      const from = Math.max(0, length - 1)
      if (length + octets.length > buffer.length) {
        const larger = new Uint8Array(2 * (length + octets.length))
        larger.set(held())
        buffer = larger
      }
      buffer.set(octets, length)
      length += octets.length
      emptyLineSeen ||= hasEmptyLine(held(), from)
      const section = emptyLineSeen ? read(held(), false) : undefined
      return section === undefined ? undefined : { section, octets: held() }
    },
    end: () => ({ section: read(held(), true) ?? { fields: [], length: 0 }, octets: held() }),
    held: () => length
  }
}

/** Looks at a message piece by piece. */
export interface Inspector {
  /** Octets with canonical line ends. */
  readonly push: (octets: Uint8Array) => void
  /** Whether a header section, of the message or of a part at any level, goes beyond ASCII in well-formed UTF-8. */
  readonly isUtf8: () => boolean
}

// Each level costs time for each line that looks like a delimiter.
const deepest = 100

// Enough of a line to recognise a delimiter (RFC 2046 section 5.1.1) and to read the parameter that names it.
const keptOfLine = 4096

const boundaryOf = (contentType: string): string | undefined => {
  if (!/^\s*multipart\//i.test(contentType)) return undefined
  const found = /;\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/i.exec(contentType)
  return found?.[1]?.replace(/\\(.)/g, "$1") ?? found?.[2]
}

class HeaderInspector implements Inspector {
  private inHeader = true
  // Whether an earlier section goes beyond ASCII in UTF-8, and what is known of this one.
  private isUtf8Before = false
  private nonAscii = false
  private isValid = true
  private contentType = ""
  private encoding = ""
  private current: "type" | "encoding" | "other" = "other"
  private boundaries: ReadonlyArray<string> = []
  // The beginning of the unfinished line.
  private kept = ""
  private highBit = false
  private validator = new Utf8Validator()

  private isSectionUtf8(): boolean {
    return this.nonAscii && this.isValid
  }

  private leaveSection(): void {
    this.isUtf8Before ||= this.isSectionUtf8()
    this.nonAscii = false
    this.isValid = true
    this.inHeader = false
  }

  private beginSection(): void {
    this.leaveSection()
    this.inHeader = true
    this.contentType = ""
    this.encoding = ""
    this.current = "other"
  }

  private endSection(): void {
    const boundary = boundaryOf(this.contentType)
    if (boundary !== undefined && this.boundaries.length < deepest)
      this.boundaries = [...this.boundaries, boundary]
    const nested = /^\s*message\/(rfc822|global)\b/i.test(this.contentType)
    if (nested && !/base64|quoted-printable/i.test(this.encoding)) this.beginSection()
    else this.leaveSection()
  }

  private endOfLine(): void {
    if (!this.highBit) return
    this.nonAscii = true
    this.validator.end()
    this.isValid &&= this.validator.isValid()
  }

  private headerLine(line: string): void {
    if (line === "") {
      this.endSection()
      return
    }
    this.endOfLine()
    if (!/^[ \t]/.test(line)) {
      const name = line.slice(0, line.indexOf(colon)).trim().toLowerCase()
      this.current =
        name === "content-type" ? "type" : name === "content-transfer-encoding" ? "encoding" : "other"
      line = line.slice(line.indexOf(colon) + 1)
    }
    if (this.current === "type") this.contentType += line
    else if (this.current === "encoding") this.encoding += line
  }

  private delimiterLine(line: string): boolean {
    if (!line.startsWith("--")) return false
    const text = trimEnd(line.slice(2))
    const closed = text.endsWith("--") ? text.slice(0, -2) : undefined
    const depth = this.boundaries.findLastIndex((boundary) => text === boundary || closed === boundary)
    if (depth === -1) return false
    const closing = text !== this.boundaries[depth]
    this.boundaries = this.boundaries.slice(0, closing ? depth : depth + 1)
    if (closing) this.leaveSection()
    else this.beginSection()
    return true
  }

  private keep(octets: Uint8Array): void {
    if (this.inHeader) this.highBit ||= octets.some((octet) => octet > 127)
    if (this.inHeader && this.highBit) this.validator.push(octets, 0, octets.length)
    if (this.kept.length < keptOfLine)
      this.kept += toLatin1(octets.subarray(0, keptOfLine - this.kept.length))
  }

  push(octets: Uint8Array): void {
    let start = 0
    for (let at = octets.indexOf(LF); at !== -1; at = octets.indexOf(LF, start)) {
      this.keep(octets.subarray(start, at))
      const line = this.kept.replace(/\r$/, "")
      if (!this.delimiterLine(line) && this.inHeader) this.headerLine(line)
      this.kept = ""
      if (this.highBit) this.validator = new Utf8Validator()
      this.highBit = false
      start = at + 1
    }
    this.keep(octets.subarray(start))
  }

  isUtf8(): boolean {
    if (this.inHeader) this.endOfLine()
    return this.isUtf8Before || this.isSectionUtf8()
  }
}

/**
 * Inspects every header section of a message: follows the delimiters of multipart types, and enters message/rfc822 and
 * message/global unless they are encoded. Ignores parts that are nested more than a hundred deep.
 */
export const makeInspector = (): Inspector => new HeaderInspector()
