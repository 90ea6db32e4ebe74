/**
 * A message that exists already, on its way to a submission: what its header says of the envelope, which parameters
 * it needs, and its octets without the fields that name blind copies (smtplib's `send_message`).
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as Encoding from "../../protocol/Content.js"
import type { Section } from "../../protocol/HeaderSection.js"
import * as HeaderSection from "../../protocol/HeaderSection.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import * as SmtpContent from "../../SmtpContent.js"
import { ContentError, InvalidArgument } from "../../SmtpError.js"
import { isOctets, notOctets } from "../content/model.js"

/** What was learned of a message without sending it. */
export interface Prepared<E, R> {
  /** The content to send: what was given, or the same without blind copies. */
  readonly content: Content<E | ContentError, R>
  /** `undefined` if the content cannot be looked at before it is sent. */
  readonly section: Section | undefined
  /** Whether a header section at any level goes beyond ASCII. */
  readonly needsSmtpUtf8: boolean
}

const headerLimit = 1_048_576

const nothing = new Uint8Array(0)

// What some editors put before a text in UTF-8. It is no part of a message: no field may begin with it.
const byteOrderMark = Uint8Array.of(0xef, 0xbb, 0xbf)

const isMarkSoFar = (octets: Uint8Array): boolean =>
  byteOrderMark.every((octet, index) => index >= octets.length || octet === octets[index])

const withoutMark = (octets: Uint8Array): Uint8Array =>
  octets.length >= byteOrderMark.length && isMarkSoFar(octets)
    ? octets.subarray(byteOrderMark.length)
    : octets

/** The octets behind a byte order mark, if there is one; a beginning that may become one is held back. */
const dropMark = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>
): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.suspend(() => {
    let beginning: Uint8Array | undefined = nothing
    const push = (octets: Uint8Array): Uint8Array => {
      if (beginning === undefined) return octets
      const all: Uint8Array = beginning.length === 0 ? octets : Buffer.concat([beginning, octets])
      const undecided = all.length < byteOrderMark.length && isMarkSoFar(all)
      beginning = undecided ? all : undefined
      return undecided ? nothing : withoutMark(all)
    }
    const pushed = Stream.mapChunksEffect(stream, (chunk) =>
      Chunk.every(chunk, isOctets) ? Effect.succeed(Chunk.map(chunk, push)) : Effect.fail(notOctets())
    )
    return Stream.concat(
      pushed,
      Stream.sync(() => beginning ?? nothing)
    )
  })

const blind = /^(?:resent-)?bcc$/i

/** The octets without the fields that name blind copies; the same array if there are none. */
const withoutBlind = (octets: Uint8Array, { fields }: Section): Uint8Array => {
  const hidden = fields.filter(({ name }) => blind.test(name))
  if (hidden.length === 0) return octets
  const kept = new Uint8Array(hidden.reduce((left, { end, start }) => left - (end - start), octets.length))
  let start = 0
  let length = 0
  const keep = (until: number): void => {
    kept.set(octets.subarray(start, until), length)
    length += until - start
  }
  for (const field of hidden) {
    keep(field.start)
    start = field.end
  }
  keep(octets.length)
  return kept
}

const emptySection: Section = { fields: [], length: 0 }

const encode = (content: Uint8Array | string): Uint8Array | InvalidArgument => {
  if (typeof content !== "string") return content
  if (!/\p{Surrogate}/u.test(content)) return new TextEncoder().encode(content)
  return new InvalidArgument({
    field: "content",
    reason: "holds half of a surrogate pair, which UTF-8 cannot express; give octets instead"
  })
}

/** Looks at octets as they will be on the wire. */
interface Look {
  readonly push: (octets: Uint8Array) => void
  readonly end: () => {
    readonly eightBit: boolean
    readonly nonAsciiHeader: boolean
    readonly octets: number
  }
}

// Nothing is refused here: what may not be sent is the business of the send.
const tolerant: Encoding.Options = { ...Encoding.defaultOptions, allowNul: true }

const makeLook = (): Look => {
  const encoder = Encoding.makeEncoder("bdat", tolerant)
  const inspector = HeaderSection.makeInspector()
  let octets = 0
  const take = (pieces: ReadonlyArray<Uint8Array> | Encoding.ContentViolation): void => {
    if ("_tag" in pieces) return
    for (const piece of pieces) inspector.push(piece)
  }
  return {
    push: (piece) => {
      octets += piece.length
      take(encoder.push(piece))
    },
    end: () => {
      take(encoder.end())
      return { eightBit: encoder.facts().eightBit, nonAsciiHeader: inspector.nonAscii(), octets }
    }
  }
}

const prepareBytes = <E, R>(
  content: Content<E, R>,
  given: Uint8Array | string
): Effect.Effect<Prepared<E, R>, InvalidArgument> => {
  const encoded = encode(given)
  if (encoded instanceof InvalidArgument) return Effect.fail(encoded)
  const octets = withoutMark(encoded)
  const section = HeaderSection.read(octets, true) ?? emptySection
  const look = makeLook()
  look.push(octets)
  const kept = withoutBlind(octets, section)
  return Effect.succeed({
    content: kept === encoded ? content : kept,
    section,
    needsSmtpUtf8: look.end().nonAsciiHeader
  })
}

const tooLong = (): ContentError =>
  new ContentError({ reason: "TooLarge", detail: `its header section has more than ${headerLimit} octets` })

const usedTwice = (): ContentError =>
  new ContentError({
    reason: "UsedTwice",
    detail: "it is a stream that can be run only once, and a second run was needed"
  })

const claimed = <E, R>({ claim, stream }: Streamed<E, R>): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.suspend((): Stream.Stream<Uint8Array, E | ContentError, R> =>
    claim() ? stream : Stream.fail(usedTwice())
  )

/** The header section of a stream, in memory until it is complete. */
interface Head {
  /** What may go on; nothing while the section is incomplete. */
  readonly push: (octets: Uint8Array) => Uint8Array | ContentError
  readonly end: () => Uint8Array
  readonly section: () => Section
  /** Octets that were left out. */
  readonly removed: () => number
}

const makeHead = (): Head => {
  const gatherer = HeaderSection.makeGatherer()
  let section: Section | undefined
  let removed = 0
  const release = ({ octets, section: found }: HeaderSection.Gathered): Uint8Array => {
    section = found
    const kept = withoutBlind(octets, found)
    removed = octets.length - kept.length
    return kept
  }
  return {
    push: (octets) => {
      if (section !== undefined) return octets
      const gathered = gatherer.push(octets)
      if (gathered !== undefined) return release(gathered)
      return gatherer.held() > headerLimit ? tooLong() : nothing
    },
    end: () => (section === undefined ? release(gatherer.end()) : nothing),
    section: () => section ?? emptySection,
    removed: () => removed
  }
}

const dropBlind = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>
): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.suspend(() => {
    const head = makeHead()
    const pushed = Stream.mapEffect(stream, (octets) => {
      const kept = head.push(octets)
      return kept instanceof ContentError ? Effect.fail(kept) : Effect.succeed(kept)
    })
    return Stream.filter(Stream.concat(pushed, Stream.sync(head.end)), (octets) => octets.length > 0)
  })

const prepareReplayable = <E, R>(
  content: Streamed<E, R>
): Effect.Effect<Prepared<E, R>, E | ContentError, R> =>
  Effect.gen(function* () {
    const head = makeHead()
    const look = makeLook()
    const stream = dropMark(content.stream)
    yield* Stream.runForEachChunk(stream, (chunk) =>
      Effect.suspend(() => {
        for (const octets of Chunk.toReadonlyArray(chunk)) {
          look.push(octets)
          const kept = head.push(octets)
          if (kept instanceof ContentError) return Effect.fail(kept)
        }
        return Effect.void
      })
    )
    head.end()
    const { eightBit, nonAsciiHeader, octets } = look.end()
    return {
      content: SmtpContent.replayable(dropBlind(stream), {
        size: octets - head.removed(),
        content7bit: !eightBit
      }),
      section: head.section(),
      needsSmtpUtf8: nonAsciiHeader
    }
  })

const prepareOnce = <E, R>(content: Streamed<E, R>): Prepared<E, R> => ({
  content: SmtpContent.once(dropBlind(dropMark(claimed(content))), { content7bit: content.content7bit }),
  section: undefined,
  needsSmtpUtf8: false
})

const notContent = (): InvalidArgument =>
  new InvalidArgument({ field: "content", reason: "is neither octets nor a string nor a Stream" })

/**
 * Looks at a message before it is sent. Octets and strings are looked at in memory; a stream that can be run again is
 * run once for it; one that cannot is left alone, and loses blind copies as it flows.
 */
export const prepare = <E = never, R = never>(
  content: Content<E, R>
): Effect.Effect<Prepared<E, R>, InvalidArgument | ContentError | E, R> => {
  if (typeof content === "string" || content instanceof Uint8Array) return prepareBytes(content, content)
  if (!Predicate.isObject(content)) return Effect.fail(notContent())
  if (!("_tag" in content)) return prepareStream(SmtpContent.replayable(content))
  if (content._tag === "Streamed") return prepareStream(content)
  return prepareBytes(content, content._tag === "Bytes" ? content.octets : content.text)
}

const prepareStream = <E, R>(
  content: Streamed<E, R>
): Effect.Effect<Prepared<E, R>, InvalidArgument | ContentError | E, R> => {
  if (!Predicate.hasProperty(content.stream, Stream.StreamTypeId)) return Effect.fail(notContent())
  return content.replayable ? prepareReplayable(content) : Effect.succeed(prepareOnce(content))
}
