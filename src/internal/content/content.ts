/**
 * Content made ready for transactions: octets and strings are copied and known before MAIL; of a stream the first
 * octets are pulled, and every run is held to the octets of the run before (RFC 5321 section 4.5.2, RFC 3030).
 * It writes to no connection: the session gives it a sink.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Canonical, ContentViolation, Facts, Framing } from "../../protocol/Content.js"
import * as Encoding from "../../protocol/Content.js"
import type { Content } from "../../SmtpContent.js"
import type { ContentFacts } from "../../protocol/Plan.js"
import type { InvalidArgument } from "../../SmtpError.js"
import { ContentError } from "../../SmtpError.js"
import type { ContentReport } from "../../SmtpReceipt.js"
import type { Prepared, PreparedBytes, PrepareOptions, RunOptions, Sink } from "./model.js"
import { empty, encodingOptions, halfSurrogate, isStreamed, notContent, valueOf, violated } from "./model.js"
import { prepareStream } from "./stream.js"
import type { Past } from "./runRecord.js"
import { noPast } from "./runRecord.js"
import { BufferRing } from "./bufferRing.js"

/**
 * Runs the content once, in the fiber and with the errors and requirements of whoever gave it. The end of the
 * message is only handed to the sink once the stream has ended and is known to be what it was, or was declared to
 * be, so that an error of the content always means that the message is incomplete.
 */
export const run = <E, R, E2, R2>(
  prepared: Prepared<E, R>,
  options: RunOptions,
  sink: Sink<E2, R2>
): Effect.Effect<Facts, ContentError | E | E2, R | R2> =>
  prepared._tag === "Bytes" ? runBytes(prepared, options, sink) : prepared.run(options, sink)

/**
 * Makes content ready. Octets and strings are copied when this is called, not when the effect runs. A stream is
 * pulled until it gives its first octet, when the effect runs; it is released when the scope closes, or earlier.
 *
 * Fails with `InvalidArgument` if the content is empty, is no content at all, or is a string that UTF-8 cannot
 * express; with `ContentError` if content in memory may not be sent under the options, if a stream stalled, or if
 * `SmtpContent.once` was used before. A stream is held to what it gave in the past.
 */
export const prepare = <E = never, R = never>(
  content: Content<E, R>,
  options: PrepareOptions,
  past: Past = noPast()
): Effect.Effect<Prepared<E, R>, ContentError | InvalidArgument | E, R | Scope.Scope> => {
  const given = valueOf(content)
  if (given !== undefined && isStreamed(given)) return prepareStream(given, options, past)
  const prepared = given === undefined ? notContent() : prepareBytes(given, options)
  return prepared._tag === "Bytes" ? Effect.succeed(prepared) : Effect.fail(prepared)
}

/** `prepare` for content in memory, without an effect; `undefined` for any other. */
export const prepareInMemory = (
  content: Content<unknown, unknown>,
  options: PrepareOptions
): PreparedBytes | ContentError | InvalidArgument | undefined => {
  const given = valueOf(content)
  if (given === undefined) return notContent()
  return isStreamed(given) ? undefined : prepareBytes(given, options)
}

// Small arrays come out of a pool that is shared, at a tenth of the cost of one of their own.
const allocate = (length: number): Uint8Array => Buffer.allocUnsafe(length)

export const prepareBytes = (
  content: Uint8Array | string,
  options: PrepareOptions
): PreparedBytes | ContentError | InvalidArgument => {
  if (content.length === 0 && !options.allowEmpty) return empty()
  const canonical =
    typeof content === "string"
      ? canonicaliseText(content, options)
      : Encoding.canonicalise(content, options, allocate)
  if ("_tag" in canonical) return violated(canonical)
  const { facts } = canonical
  if (facts.eightBit && typeof content === "string" && /\p{Surrogate}/u.test(content)) {
    return halfSurrogate()
  }
  return { _tag: "Bytes", facts, content: canonical, options }
}

// One copy: the text is encoded to where it will be written from.
const canonicaliseText = (text: string, options: PrepareOptions): Canonical | ContentViolation => {
  const length = Buffer.byteLength(text, "utf8")
  const memory = Buffer.allocUnsafe(length + Encoding.ownedRoom)
  memory.write(text, 0, "utf8")
  return Encoding.canonicalise(memory.subarray(0, length), options, allocate, memory)
}

/**
 * The whole message in one array, if it takes at most `bound` octets on the wire: for the write that also holds
 * commands. `run` serves the others.
 */
export const whole = (prepared: PreparedBytes, framing: Framing, bound: number): Uint8Array | undefined => {
  const { content, facts } = prepared
  if (framing === "bdat") return facts.octets <= bound ? content.octets : undefined
  const octets = facts.octets + facts.dotLines + Encoding.endOfData.length
  return octets <= bound ? Encoding.encodeForData(content, allocate) : undefined
}

/** What a plan has to know of content in memory. */
export const factsOf = ({ facts }: PreparedBytes): ContentFacts => ({
  octets: facts.octets,
  eightBit: facts.eightBit,
  utf8Header: facts.headerUtf8
})

/** What a receipt says of the content. */
export const reportOf = (facts: Facts): ContentReport => ({
  octets: facts.octets,
  changed: facts.changed || facts.finalLineEndAdded,
  longestLine: facts.longestLine
})

// The most that one call of a sink is given of content in memory, before transparency.
const writeLength = 262_144

const runBytes = <E, R>(
  prepared: PreparedBytes,
  options: RunOptions,
  sink: Sink<E, R>
): Effect.Effect<Facts, ContentError | E, R> =>
  Effect.gen(function* () {
    const { content, facts } = prepared
    const refused = refusal(facts, options)
    if (refused !== undefined) return yield* refused
    if (options.framing === "data" && facts.dotLines > 0 && !prepared.options.binary) {
      yield* writeTransparent(prepared, sink)
    } else {
      yield* writeViews(options.framing === "data" ? content.withEndOfData : content.octets, sink)
    }
    return facts
  })

const refusal = (facts: Facts, options: RunOptions): ContentError | undefined => {
  if (options.maxSize !== undefined && facts.octets > options.maxSize) {
    const detail = `its ${facts.octets} bytes are more than the limit of ${options.maxSize}`
    return new ContentError({ reason: "TooLarge", detail })
  }
  if (options.require7bit === true && facts.eightBit) {
    const detail = "it holds 8-bit bytes where only 7-bit may be sent; encode it before sending"
    return new ContentError({ reason: "NotAscii", detail })
  }
  return undefined
}

const writeViews = <E, R>(octets: Uint8Array, sink: Sink<E, R>): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    let start = 0
    // What is left for the last call holds all of the end of data, never a part of it.
    for (; octets.length - start > writeLength + Encoding.endOfData.length; start += writeLength) {
      yield* sink([octets.subarray(start, start + writeLength)], false)
    }
    yield* sink([octets.subarray(start)], true)
  })

const writeTransparent = <E, R>(
  { content: { octets }, options }: PreparedBytes,
  sink: Sink<E, R>
): Effect.Effect<void, E | ContentError, R> =>
  Effect.gen(function* () {
    const memory = new BufferRing()
    const encoder = Encoding.makeEncoder(
      "data",
      encodingOptions(options, { framing: "data" }),
      memory.allocate
    )
    for (let start = 0; start < octets.length; start += writeLength) {
      const isLast = start + writeLength >= octets.length
      const encoded = encoder.push(octets.subarray(start, start + writeLength))
      const end = isLast ? encoder.end() : []
      if ("_tag" in encoded) return yield* violated(encoded)
      if ("_tag" in end) return yield* violated(end)
      yield* sink(isLast ? [...encoded, ...end] : encoded, isLast)
      memory.next()
    }
  })
