/**
 * Messages as the servers delivered them, and how to compare them with what a client sent.
 *
 * What is compared is `content`: the delivered octets in canonical form and without the server's own trace
 * fields. It equals the message that the client was given, octet by octet, once that has CRLF line ends too:
 *
 * - Exim, Dovecot and aiosmtpd store CRLF as it came.
 * - Postfix writes mailboxes with LF, so each LF of the file stands for one CRLF. Bare CR and bare LF, which
 *   RFC 5321 section 2.3.8 forbids, therefore cannot be told from CRLF there: use aiosmtpd to look for them.
 * - Every mailbox is a Maildir: no "From " line is escaped, no line is added at the end. Dots, long lines and
 *   8-bit octets stay as they are.
 * - After DATA the content always ends in CRLF; only BDAT can leave a last line without one, and servers may add
 *   it then.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as FileSystem from "node:fs/promises"
import { join } from "node:path"
import { inRealTime } from "./process.js"

/** One delivered message. */
export interface Delivered {
  /** The octets as the server stored them. */
  readonly raw: Uint8Array
  /** The fields that the server put on top, unfolded, e.g. `Return-Path: <ann@example.test>`. */
  readonly trace: ReadonlyArray<string>
  /** The rest, with CRLF line ends: what the client sent. */
  readonly content: Uint8Array
}

const LF = 0x0a
const CR = 0x0d

/** Every LF that has no CR before it becomes CRLF. */
export const canonical = (octets: Uint8Array): Uint8Array => {
  let missing = 0
  for (let index = octets.indexOf(LF); index !== -1; index = octets.indexOf(LF, index + 1)) {
    if (octets[index - 1] !== CR) missing++
  }
  if (missing === 0) return octets
  const result = new Uint8Array(octets.length + missing)
  let length = 0
  for (let start = 0; start < octets.length;) {
    const next = octets.indexOf(LF, start)
    const end = next === -1 ? octets.length : next
    result.set(octets.subarray(start, end), length)
    length += end - start
    if (next !== -1) {
      if (octets[next - 1] !== CR) result[length++] = CR
      result[length++] = LF
    }
    start = end + 1
  }
  return result
}

const traceField = /^(?:return-path|received|delivered-to|x-original-to|envelope-to|delivery-date):/i

/**
 * Takes trace fields (RFC 5321 section 4.4, and what servers add beside them) from the top of a message with
 * CRLF line ends, up to the first other field. A message that begins with such a field of its own loses it, so
 * let test messages begin with another, e.g. From or Subject.
 */
export const stripTrace = (
  octets: Uint8Array
): { readonly trace: ReadonlyArray<string>; readonly content: Uint8Array } => {
  const text = Buffer.from(octets)
  const trace: Array<string> = []
  let offset = 0
  while (offset < text.length) {
    let end = text.indexOf("\r\n", offset)
    // A line that begins with white space belongs to the field above it.
    while (end !== -1 && (text[end + 2] === 0x20 || text[end + 2] === 0x09))
      end = text.indexOf("\r\n", end + 2)
    if (end === -1) break
    const field = text.toString("utf8", offset, end)
    if (!traceField.test(field)) break
    trace.push(field.replaceAll(/\r\n[ \t]+/g, " "))
    offset = end + 2
  }
  return { trace, content: octets.subarray(offset) }
}

/** A message from the octets of its file. */
export const make = (raw: Uint8Array): Delivered => ({ raw, ...stripTrace(canonical(raw)) })

/** The messages of one Maildir, oldest first; none while it does not exist. */
export const readMaildir = (folder: string): Effect.Effect<ReadonlyArray<Delivered>> =>
  Effect.promise(async () => {
    const arrivals = join(folder, "new")
    const names = await FileSystem.readdir(arrivals).catch((): Array<string> => [])
    const files = await Promise.all(
      names.map(async (name) => {
        const path = join(arrivals, name)
        const { mtimeNs } = await FileSystem.stat(path, { bigint: true })
        return { mtimeNs, name, raw: new Uint8Array(await FileSystem.readFile(path)) }
      })
    )
    return files
      .sort((a, b) => (a.mtimeNs === b.mtimeNs ? (a.name < b.name ? -1 : 1) : a.mtimeNs < b.mtimeNs ? -1 : 1))
      .map((file) => make(file.raw))
  })

/** Looks until there are at least `count` messages; dies with what there is when that takes over 10 seconds. */
export const awaitCount = (
  messages: Effect.Effect<ReadonlyArray<Delivered>>,
  count: number
): Effect.Effect<ReadonlyArray<Delivered>> =>
  messages.pipe(
    Effect.filterOrFail(
      (found) => found.length >= count,
      (found) => new Error(`${found.length} of ${count} messages were delivered in time`)
    ),
    Effect.retry(Schedule.spaced(Duration.millis(10)).pipe(Schedule.upTo(Duration.seconds(10)))),
    Effect.orDie,
    inRealTime
  )
