/**
 * What a client has said in AUTH, and what no reply of the session may repeat of it: servers answer what they do not
 * understand by quoting it, at once or many commands later. Responses are found whole or in part, in groups and in
 * both alphabets of base64; passwords and tokens as they are and in base64. A server that knows a secret and means to
 * disguise it can make anything print.
 */
import type { Command } from "./Command.js"
import type { Reply } from "./Reply.js"
import { encode } from "./sasl/Base64.js"

const redacted = "[redacted]"

// So many characters in a row are no accident: eight of base64 in any letter case are one in 10 to the 12.
const windowLength = 8

const shortestGuarded = 4

// Only a program that authenticates over and over on one session comes near them.
const maximumWindows = 16_384
const maximumPatterns = 64

const outside = -1

// Servers quote commands in capitals, so letter case does not count; "-" and "_" stand in URLs (RFC 4648 section 5).
const places: ReadonlyArray<number> = Array.from({ length: 128 }, (_, unit) => {
  const character = String.fromCharCode(unit).toLowerCase().replace("-", "+").replace("_", "/")
  const place = "abcdefghijklmnopqrstuvwxyz0123456789+/".indexOf(character)
  return place === -1 ? outside : place
})

/** The place in the alphabet of base64. */
const placeOf = (unit: number): number => places[unit] ?? outside

interface Folded {
  /** One character for each place in the alphabet; what stands between them is left out. */
  readonly text: string
  /** Where each of them stands. */
  readonly indices: ReadonlyArray<number>
}

const fold = (text: string): Folded => {
  const indices: Array<number> = []
  let folded = ""
  for (let index = 0; index < text.length; index++) {
    const place = placeOf(text.charCodeAt(index))
    if (place === outside) continue
    folded += String.fromCharCode(place)
    indices.push(index)
  }
  return { text: folded, indices }
}

/**
 * Whether a text may hold a window of what was added; that it does not is certain. Every reply of an authenticated
 * session is looked at, so this is one pass over its characters.
 */
class Sieve {
  // One bit for each hash of three characters in a row.
  private readonly bits = new Uint8Array(4096)

  add(text: string): void {
    let hash = 0
    let count = 0
    for (let index = 0; index < text.length; index++) {
      const place = placeOf(text.charCodeAt(index))
      if (place === outside) continue
      hash = nextHash(hash, place)
      if (++count >= 3) this.bits[hash >> 3] = (this.bits[hash >> 3] ?? 0) | (1 << (hash & 7))
    }
  }

  mayHold(text: string): boolean {
    let hash = 0
    let count = 0
    let run = 0
    for (let index = 0; index < text.length; index++) {
      const place = placeOf(text.charCodeAt(index))
      if (place === outside) continue
      hash = nextHash(hash, place)
      const found = ++count >= 3 && ((this.bits[hash >> 3] ?? 0) & (1 << (hash & 7))) !== 0
      run = found ? run + 1 : 0
      if (run === windowLength - 2) return true
    }
    return false
  }
}

const nextHash = (hash: number, place: number): number => ((hash << 5) ^ place) & 0x7fff

/** All windows of what was added, up to a bound: the older half goes first. */
class Windows {
  private latest = new Set<string>()
  private earlier = new Set<string>()

  add(text: string): void {
    if (this.latest.size >= maximumWindows) {
      this.earlier = this.latest
      this.latest = new Set()
    }
    const folded = fold(text).text
    for (let start = 0; start + windowLength <= folded.length; start++) {
      this.latest.add(folded.slice(start, start + windowLength))
    }
  }

  has(window: string): boolean {
    return this.latest.has(window) || this.earlier.has(window)
  }
}

/** The text without the windows that were kept, and with the line breaks between them. */
const withoutWindows = (text: string, windows: Windows): string => {
  const folded = fold(text)
  const covered = new Uint8Array(text.length)
  for (let start = 0; start + windowLength <= folded.text.length; start++) {
    if (!windows.has(folded.text.slice(start, start + windowLength))) continue
    covered.fill(1, folded.indices[start], (folded.indices[start + windowLength - 1] ?? 0) + 1)
  }
  let shown = ""
  let inside = false
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index)
    const hidden: boolean = (covered[index] === 1 && character !== "\n") || (inside && character === "=")
    if (!hidden) shown += character
    else if (!inside) shown += redacted
    inside = hidden
  }
  return shown
}

const literally = (text: string): string => text.replaceAll(/[$()*+./?[\\\]^{|}]/g, "\\$&")

const wordOf = (value: string): RegExp =>
  new RegExp(`(?<![\\p{L}\\p{N}])${literally(value)}(?![\\p{L}\\p{N}])`, "gu")

const base64WordOf = (value: string): RegExp =>
  new RegExp(`(?<![A-Za-z0-9+/=])${literally(value)}(?![A-Za-z0-9+/=])`, "gi")

/** What base64 makes of the text wherever it stands in a longer one, without the characters that it shares with it. */
const inBase64 = (text: string): ReadonlyArray<string> => {
  const bytes = new TextEncoder().encode(text)
  return [0, 1, 2].map((shift) => {
    const shifted = new Uint8Array(shift + bytes.length)
    shifted.set(bytes, shift)
    const first = Math.ceil((shift * 8) / 6)
    return encode(shifted).slice(first, first + Math.floor((bytes.length * 8 - (first * 6 - shift * 8)) / 6))
  })
}

/** The latest patterns, each under the value that it finds. */
class Patterns {
  private readonly patterns = new Map<string, RegExp>()

  add(value: string, pattern: RegExp): void {
    this.patterns.delete(value)
    this.patterns.set(value, pattern)
    const [oldest] = this.patterns.keys()
    if (this.patterns.size > maximumPatterns && oldest !== undefined) this.patterns.delete(oldest)
  }

  withhold(text: string): string {
    let shown = text
    for (const pattern of this.patterns.values()) shown = shown.replace(pattern, redacted)
    return shown
  }
}

/** The response of a secret line, in base64; empty where there is none. */
const responseOf = ({ kind, line }: Command): string => (kind === "Auth" ? (line.split(" ")[2] ?? "") : line)

export class Secrets {
  /** `undefined` while nothing is kept. */
  private sieve: Sieve | undefined
  private readonly windows = new Windows()
  // Those that the sieve lets fall, and those that are too short for it.
  private readonly long = new Patterns()
  private readonly short = new Patterns()

  /** Keeps the response that a secret line holds (RFC 4954 section 4). */
  keep(command: Command): void {
    const response = responseOf(command)
    this.keepBase64(response)
    // "=" stands for an empty response, and "*" is none.
    if (response.length > 1 && fold(response).text.length < windowLength) {
      this.short.add(response, base64WordOf(response))
    }
  }

  /**
   * Keeps a value that may be quoted as it is: a password, a token. One of fewer than 8 characters is found as a word
   * only, and one of fewer than 4 not at all: to take it out of every sentence would tell what it is.
   */
  guard(value: string): void {
    for (const text of inBase64(value)) this.keepBase64(text)
    if (value.length < shortestGuarded) return
    this.sieve?.add(value)
    const pattern = value.length < windowLength ? wordOf(value) : new RegExp(literally(value), "gu")
    const patterns = fold(value).text.length < windowLength ? this.short : this.long
    patterns.add(value, pattern)
  }

  /** The text as it may be shown. */
  withhold(text: string): string {
    if (this.sieve === undefined) return text
    const shown = this.short.withhold(text)
    return this.sieve.mayHold(shown) ? withoutWindows(this.long.withhold(shown), this.windows) : shown
  }

  /** The reply as it may be shown: without challenges, too. */
  withholdFrom(reply: Reply): Reply {
    if (this.sieve === undefined) return reply
    if (reply.code === 334) return { ...reply, lines: [redacted], text: redacted }
    const joined = reply.lines.length === 1 ? (reply.lines[0] ?? "") : reply.lines.join("\n")
    const shown = this.withhold(joined)
    // The text of one line is the end of it.
    if (shown === joined && reply.lines.length === 1) return reply
    const text = this.withhold(reply.text)
    return shown === joined && text === reply.text ? reply : { ...reply, lines: shown.split("\n"), text }
  }

  private keepBase64(text: string): void {
    this.sieve ??= new Sieve()
    this.sieve.add(text)
    this.windows.add(text)
  }
}
