/**
 * Looks at an existing message before it is sent: whether it has a header, which fields are in it, which parameters it
 * requires. Leaves out the fields that name blind copies, and a byte order mark (smtplib's `send_message`).
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Encoding from "../../protocol/Content.js"
import type { Section } from "../../protocol/HeaderSection.js"
import * as HeaderSection from "../../protocol/HeaderSection.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import * as SmtpContent from "../../SmtpContent.js"
import { ContentError, InvalidArgument } from "../../SmtpError.js"
import { isOctets, notOctets } from "../content/model.js"
import { claimed, headerLimit, headerTooLong, lookOptions, sourceOf } from "../content/source.js"
import { dateText } from "./headerText.js"
import type { Defaults } from "./identity.js"
import { readMessageId } from "./identity.js"

export interface RawMessage<E, R> {
  /** What was given, or the same without blind copies. */
  readonly content: Content<E | ContentError, R>
  /** `undefined` if the content cannot be looked at before it is sent. */
  readonly section: Section | undefined
  /** Whether a header section at any level goes beyond ASCII in UTF-8. */
  readonly needsSmtpUtf8: boolean
}

export interface RawRules {
  readonly allowHeaderless: boolean
  /** Stand in for Date and Message-ID if they are missing and this is given. */
  readonly defaults: Defaults | undefined
}

const nothing = new Uint8Array(0)
const emptySection: Section = { fields: [], length: 0 }

// Some editors put it before a text in UTF-8. No field name may begin with it.
const byteOrderMark = Uint8Array.of(0xef, 0xbb, 0xbf)

const beginsLikeMark = (bytes: Uint8Array): boolean =>
  byteOrderMark.every((byte, index) => index >= bytes.length || byte === bytes[index])

const withoutMark = (bytes: Uint8Array): Uint8Array =>
  bytes.length >= byteOrderMark.length && beginsLikeMark(bytes) ? bytes.subarray(byteOrderMark.length) : bytes

/** The bytes without the fields that name blind copies; the same array if there are none. */
const withoutBlind = (bytes: Uint8Array, { fields }: Section): Uint8Array => {
  const hidden = fields.filter(({ name }) => /^(?:resent-)?bcc$/i.test(name))
  if (hidden.length === 0) return bytes
  const kept: Array<Uint8Array> = []
  let start = 0
  for (const field of hidden) {
    kept.push(bytes.subarray(start, field.start))
    start = field.end
  }
  return Buffer.concat([...kept, bytes.subarray(start)])
}

const has = ({ fields }: Section, name: string): boolean => HeaderSection.named(fields, name).length > 0

// Ends a sentence that begins with From.
const headFault = (section: Section, { allowHeaderless }: RawRules): string | undefined => {
  if (allowHeaderless || has(section, "From")) return undefined
  const isHeader = section.fields.some(({ name }) => /^[!-9;-~]+$/.test(name) && name !== "")
  return isHeader
    ? "is missing, which every message requires; add it to the header, or set allowHeaderless"
    : "is missing: the content does not begin with a header; use `compose`, or set allowHeaderless"
}

/** Makes the fields to put before a message. Each call gives the same. */
const makeAddition = ({ defaults }: RawRules): ((section: Section) => Uint8Array) => {
  if (defaults === undefined) return () => nothing
  const { date } = defaults
  const unique = defaults.unique()
  return (section) => {
    if (!has(section, "From")) return nothing
    const domain = /@([^\s<>,;"()]+)/.exec(HeaderSection.named(section.fields, "From")[0]?.body ?? "")?.[1]
    const author = domain === undefined ? undefined : { address: `postmaster@${domain}` }
    const fields = [
      ...(has(section, "Date") ? [] : [`Date: ${dateText(date)}\r\n`]),
      ...(has(section, "Message-ID")
        ? []
        : [
            `Message-ID: ${readMessageId(undefined, "messageId", author, { date, unique: () => unique })}\r\n`
          ])
    ]
    return new TextEncoder().encode(fields.join(""))
  }
}

const behind = (addition: Uint8Array, bytes: Uint8Array): Uint8Array =>
  addition.length === 0 ? bytes : Buffer.concat([addition, bytes])

/** Looks at a message as servers will get it. */
class Look {
  bytes = 0
  private readonly encoder = Encoding.makeEncoder("bdat", lookOptions("convert"))
  private readonly inspector = HeaderSection.makeInspector()

  push(piece: Uint8Array): void {
    this.bytes += piece.length
    this.inspect(this.encoder.push(piece))
  }

  end(): { readonly eightBit: boolean; readonly utf8Header: boolean } {
    this.inspect(this.encoder.end())
    return { eightBit: this.encoder.facts().eightBit, utf8Header: this.inspector.isUtf8() }
  }

  private inspect(pieces: ReadonlyArray<Uint8Array> | Encoding.ContentViolation): void {
    if ("_tag" in pieces) return
    for (const piece of pieces) this.inspector.push(piece)
  }
}

/** Takes a message piece by piece, and holds its header section back until it is complete. */
class Stripper {
  section: Section | undefined
  /** Bytes of fields that were left out, less those that were added. */
  removed = 0
  /** The first bytes, while they may still become a byte order mark. */
  private beginning: Uint8Array | undefined = nothing
  private readonly gatherer = HeaderSection.makeGatherer()

  constructor(
    private readonly open: (section: Section) => Uint8Array | ContentError,
    private readonly look?: Look
  ) {}

  push(bytes: Uint8Array): Uint8Array | ContentError {
    if (this.beginning === undefined) return this.pushText(bytes)
    const all: Uint8Array = Buffer.concat([this.beginning, bytes])
    if (all.length < byteOrderMark.length && beginsLikeMark(all)) {
      this.beginning = all
      return nothing
    }
    this.beginning = undefined
    return this.pushText(withoutMark(all))
  }

  end(): Uint8Array | ContentError {
    const rest = this.beginning ?? nothing
    this.look?.push(rest)
    if (this.section !== undefined) return rest
    return this.release(this.gatherer.push(rest) ?? this.gatherer.end())
  }

  private pushText(bytes: Uint8Array): Uint8Array | ContentError {
    this.look?.push(bytes)
    if (this.section !== undefined) return bytes
    const gathered = this.gatherer.push(bytes)
    if (gathered !== undefined) return this.release(gathered)
    return this.gatherer.held() > headerLimit ? headerTooLong() : nothing
  }

  private release({ octets, section }: HeaderSection.Gathered): Uint8Array | ContentError {
    this.section = section
    const addition = this.open(section)
    if (addition instanceof ContentError) return addition
    const kept = behind(addition, withoutBlind(octets, section))
    this.removed = octets.length - kept.length
    return kept
  }
}

const strip = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>,
  stripper: Stripper
): Stream.Stream<Uint8Array, E | ContentError, R> => {
  const stripChunk = (
    chunk: Chunk.Chunk<Uint8Array>
  ): Effect.Effect<Chunk.Chunk<Uint8Array>, ContentError> => {
    const kept: Array<Uint8Array> = []
    for (const bytes of chunk) {
      const next = isOctets(bytes) ? stripper.push(bytes) : notOctets()
      if (next instanceof ContentError) return Effect.fail(next)
      if (next.length > 0) kept.push(next)
    }
    return Effect.succeed(Chunk.unsafeFromArray(kept))
  }
  const end = Stream.suspend((): Stream.Stream<Uint8Array, ContentError> => {
    const rest = stripper.end()
    return rest instanceof ContentError ? Stream.fail(rest) : Stream.make(rest)
  })
  return Stream.concat(
    Stream.mapChunksEffect(stream, stripChunk),
    Stream.filter(end, (rest) => rest.length > 0)
  )
}

const stripped = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>,
  open: (section: Section) => Uint8Array | ContentError
): Stream.Stream<Uint8Array, E | ContentError, R> => Stream.suspend(() => strip(stream, new Stripper(open)))

const checkHead = (section: Section, rules: RawRules): Effect.Effect<void, InvalidArgument> => {
  const reason = headFault(section, rules)
  return reason === undefined ? Effect.void : Effect.fail(new InvalidArgument({ field: "From", reason }))
}

const prepareBytes = <E, R>(
  content: Content<E, R>,
  given: Uint8Array,
  rules: RawRules
): Effect.Effect<RawMessage<E, R>, InvalidArgument> => {
  const bytes = withoutMark(given)
  const section = HeaderSection.read(bytes, true) ?? emptySection
  const look = new Look()
  look.push(bytes)
  const kept = behind(makeAddition(rules)(section), withoutBlind(bytes, section))
  return Effect.as(checkHead(section, rules), {
    content: kept === given ? content : kept,
    section,
    needsSmtpUtf8: look.end().utf8Header
  })
}

/** Runs the stream once to look at it. */
const prepareReplayable = <E, R>(
  { stream }: Streamed<E, R>,
  rules: RawRules
): Effect.Effect<RawMessage<E, R>, E | ContentError | InvalidArgument, R> =>
  Effect.gen(function* () {
    const look = new Look()
    const open = makeAddition(rules)
    const stripper = new Stripper(open, look)
    yield* Stream.runDrain(strip(stream, stripper))
    const { eightBit, utf8Header } = look.end()
    const size = look.bytes - stripper.removed
    const section = stripper.section ?? emptySection
    yield* checkHead(section, rules)
    return {
      content: SmtpContent.replayable(stripped(stream, open), { size, content7bit: !eightBit }),
      section,
      needsSmtpUtf8: utf8Header
    }
  })

/** Leaves the stream alone, which is checked and loses its blind copies while it is sent. */
const prepareOnce = <E, R>(content: Streamed<E, R>, rules: RawRules): RawMessage<E, R> => {
  const add = makeAddition(rules)
  const open = (section: Section): Uint8Array | ContentError => {
    const fault = headFault(section, rules)
    return fault === undefined
      ? add(section)
      : new ContentError({ reason: "Failed", detail: `From ${fault}` })
  }
  return {
    content: SmtpContent.once(stripped(claimed(content), open), { content7bit: content.content7bit }),
    section: undefined,
    needsSmtpUtf8: false
  }
}

export const prepareRaw = <E = never, R = never>(
  content: Content<E, R>,
  rules: RawRules
): Effect.Effect<RawMessage<E, R>, InvalidArgument | ContentError | E, R> =>
  Effect.flatMap(
    sourceOf(content),
    (source): Effect.Effect<RawMessage<E, R>, InvalidArgument | ContentError | E, R> => {
      if (isOctets(source)) return prepareBytes(content, source, rules)
      return source.replayable ? prepareReplayable(source, rules) : Effect.succeed(prepareOnce(source, rules))
    }
  )
