/** Bytes of scripted servers: text, comparison, and a buffer that finds lines and contents. Independent of the client. */

const LF = 0x0a
const CR = 0x0d
const DOT = 0x2e

export const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

const encoder = new TextEncoder()

export const toBytes = (value: string | Uint8Array): Uint8Array =>
  typeof value === "string" ? encoder.encode(value) : value

/** Decodes UTF-8; anything else becomes U+FFFD. */
export const toText = (bytes: Uint8Array): string =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)

const escapes: Record<string, string> = { "\r": "\\r", "\n": "\\n", "\t": "\\t", "\\": "\\\\" }

const escape = (character: string): string =>
  escapes[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`

/** Readable bytes: UTF-8 with controls escaped, or bytes over 127 in hexadecimal if they are not UTF-8. */
export const showBytes = (bytes: Uint8Array, limit = 200): string => {
  const shown = bytes.subarray(0, limit)
  const text = toText(shown)
  const escaped = text.includes("\ufffd")
    ? String.fromCharCode(...shown).replaceAll(/[\u0000-\u001f\u007f-\u00ff\\]/gu, escape)
    : text.replaceAll(/[\u0000-\u001f\u007f\\]/gu, escape)
  return bytes.length > limit ? `${escaped}… (${bytes.length} bytes)` : escaped
}

/** The index of the first difference, the shorter length included; -1 for equal bytes. */
export const firstDifference = (left: Uint8Array, right: Uint8Array): number => {
  const shorter = Math.min(left.length, right.length)
  for (let index = 0; index < shorter; index++) if (left[index] !== right[index]) return index
  return left.length === right.length ? -1 : shorter
}

/** The bytes from shortly before an index. */
export const showAround = (bytes: Uint8Array, at: number): string => {
  const start = at > 100 ? at - 60 : 0
  return (start > 0 ? "…" : "") + showBytes(bytes.subarray(start))
}

/** Appending and taking move each byte about once, so that large contents cost linear time. */
export class ByteBuffer {
  private store = new Uint8Array(4096)
  private start = 0
  private end = 0

  get length(): number {
    return this.end - this.start
  }

  append(bytes: Uint8Array): void {
    if (this.end + bytes.length > this.store.length) {
      const next = new Uint8Array(Math.max(4096, 2 * (this.length + bytes.length)))
      next.set(this.view())
      this.store = next
      this.end -= this.start
      this.start = 0
    }
    this.store.set(bytes, this.end)
    this.end += bytes.length
  }

  take(count: number): Uint8Array {
    const taken = this.store.slice(this.start, this.start + count)
    this.start += count
    return taken
  }

  clear(): void {
    this.start = this.end
  }

  view(): Uint8Array {
    return this.store.subarray(this.start, this.end)
  }
}

/** The index after the first CRLF, or -1. */
export const lineEnd = (bytes: Uint8Array, from: number): number => {
  for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1)) {
    if (at > 0 && bytes[at - 1] === CR) return at + 1
  }
  return -1
}

/** The index after the first line that is a single dot, or -1. */
export const contentEnd = (bytes: Uint8Array, from: number): number => {
  for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at - 1] !== CR || bytes[at - 2] !== DOT) continue
    if (at === 2 || (at >= 4 && bytes[at - 3] === LF && bytes[at - 4] === CR)) return at + 1
  }
  return -1
}

/** Removes dot-stuffing and the terminating dot (RFC 5321 section 4.5.2). */
export const unstuff = (raw: Uint8Array): Uint8Array => {
  const content = raw.subarray(0, raw.length - 3)
  const unstuffed = new Uint8Array(content.length)
  let length = 0
  for (let index = 0; index < content.length; index++) {
    const isLineStart = index === 0 || (content[index - 1] === LF && content[index - 2] === CR)
    if (isLineStart && content[index] === DOT) continue
    unstuffed[length++] = content[index] ?? 0
  }
  return unstuffed.slice(0, length)
}
