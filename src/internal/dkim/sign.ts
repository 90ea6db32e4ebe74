/**
 * Signs content: one look at the octets that will be on the wire for the hashes, then the signature before them. A
 * stream is looked at in constant memory, and a later run that differs from what was signed ends in an error.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import RelaxedBody from "nodemailer/lib/dkim/relaxed-body"
import type { KeyObject } from "node:crypto"
import { createHash, sign as signData } from "node:crypto"
import * as Encoding from "../../protocol/Content.js"
import type { Algorithm, Form, SignedField, Tags } from "../../protocol/DkimSignature.js"
import * as Signatures from "../../protocol/DkimSignature.js"
import * as HeaderSection from "../../protocol/HeaderSection.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import * as SmtpContent from "../../SmtpContent.js"
import { ContentError, InvalidArgument } from "../../SmtpError.js"

/** A key with the name under which verifiers find its other half. */
export interface Key {
  readonly algorithm: Algorithm
  readonly domain: string
  readonly selector: string
  readonly privateKey: Redacted.Redacted<KeyObject>
}

/** What to sign, and how. */
export interface Settings {
  readonly keys: ReadonlyArray<Key>
  readonly fields: ReadonlyArray<string>
  readonly oversigned: ReadonlyArray<string>
  readonly header: Form
  readonly body: Form
  /** Seconds since 1970. */
  readonly signedAt: number
  readonly expiresAt: number | undefined
  readonly lineEnds: Encoding.Options["lineEnds"]
  /** Octets of a stream that can be run only once which may be held in memory. */
  readonly bufferLimit: number
}

const headerLimit = 1_048_576

const contentError = ({ detail, reason }: Encoding.ContentViolation): ContentError =>
  new ContentError({ reason, detail })

const encodingOptions = ({ lineEnds }: Settings): Encoding.Options => ({
  ...Encoding.defaultOptions,
  lineEnds,
  // Whether NUL may be sent is the business of the send.
  allowNul: true
})

// -- hashes

interface BodyHash {
  readonly push: (octets: Uint8Array) => Effect.Effect<void>
  readonly end: Effect.Effect<string>
}

/** RFC 6376 section 3.4.4, by nodemailer; a write returns when the octets were hashed. */
const makeRelaxed = (): BodyHash => {
  const body = new RelaxedBody()
  // It passes on what it hashes, which nobody wants.
  body.resume()
  return {
    push: (octets) =>
      Effect.async((resume) => {
        body.write(octets, () => {
          resume(Effect.void)
        })
      }),
    end: Effect.async((resume) => {
      body.once("hash", (hash: string) => {
        resume(Effect.succeed(hash))
      })
      body.end()
    })
  }
}

const emptyLines = Uint8Array.from({ length: 4096 }, (_, index) => (index % 2 === 0 ? 13 : 10))

/** RFC 6376 section 3.4.3: empty lines at the end are one line end, and so is an empty body. */
const makeSimple = (): BodyHash => {
  const hash = createHash("sha256")
  // Octets of line ends that only count if something follows; canonical content alternates CR and LF.
  let pending = 0
  const release = (): void => {
    for (; pending > 0; pending -= Math.min(pending, emptyLines.length)) {
      hash.update(emptyLines.subarray(0, Math.min(pending, emptyLines.length)))
    }
  }
  return {
    push: (octets) =>
      Effect.sync(() => {
        const last = octets.findLastIndex((octet) => octet !== 13 && octet !== 10)
        if (last !== -1) {
          release()
          hash.update(octets.subarray(0, last + 1))
        }
        pending += octets.length - last - 1
      }),
    end: Effect.sync(() => hash.update(emptyLines.subarray(0, 2)).digest("base64"))
  }
}

/** What a signature covers, and what the content is known by. */
interface Digests {
  readonly fields: ReadonlyArray<SignedField>
  readonly bodyHash: string
  readonly facts: Encoding.Facts
  /** Of all octets. */
  readonly whole: string
}

interface Look {
  readonly push: (octets: Uint8Array) => Effect.Effect<void, ContentError>
  readonly end: Effect.Effect<Digests, ContentError>
}

const join = (pieces: ReadonlyArray<Uint8Array>): Uint8Array => Buffer.concat(pieces)

const signedFields = (octets: Uint8Array, section: HeaderSection.Section): ReadonlyArray<SignedField> =>
  section.fields.map(({ end, name, start }) => ({
    name,
    text: HeaderSection.toLatin1(octets.subarray(start, end)).replace(/\r\n$/, "")
  }))

const makeLook = (settings: Settings): Look => {
  const encoder = Encoding.makeEncoder("bdat", encodingOptions(settings))
  const body = settings.body === "relaxed" ? makeRelaxed() : makeSimple()
  const whole = createHash("sha256")
  const gatherer = HeaderSection.makeGatherer()
  let fields: ReadonlyArray<SignedField> | undefined

  /** Takes the header section off the octets so far; gives what is body. */
  const takeHead = (octets: Uint8Array, complete: boolean): Uint8Array | ContentError => {
    if (fields !== undefined) return octets
    const gathered = gatherer.push(octets) ?? (complete ? gatherer.end() : undefined)
    if (gathered !== undefined) {
      fields = signedFields(gathered.octets, gathered.section)
      return gathered.octets.subarray(gathered.section.length + 2)
    }
    if (gatherer.held() <= headerLimit) return octets.subarray(octets.length)
    const detail = `its header section has more than ${headerLimit} octets`
    return new ContentError({ reason: "TooLarge", detail })
  }

  const take = (
    pieces: ReadonlyArray<Uint8Array> | Encoding.ContentViolation,
    complete: boolean
  ): Effect.Effect<void, ContentError> => {
    if ("_tag" in pieces) return Effect.fail(contentError(pieces))
    const octets = join(pieces)
    whole.update(octets)
    const rest = takeHead(octets, complete)
    if (rest instanceof ContentError) return Effect.fail(rest)
    return rest.length === 0 ? Effect.void : body.push(rest)
  }

  return {
    push: (octets) => Effect.suspend(() => take(encoder.push(octets), false)),
    end: Effect.suspend(() => take(encoder.end(), true)).pipe(
      Effect.zipRight(body.end),
      Effect.map((bodyHash) => ({
        fields: fields ?? [],
        bodyHash,
        facts: encoder.facts(),
        whole: whole.digest("base64")
      }))
    )
  }
}

// -- signatures

/** RFC 8463 section 3: Ed25519 signs the hash, RSA hashes by itself. Both leave the event loop free. */
const rawSignature = ({ algorithm, privateKey }: Key, text: string): Effect.Effect<Buffer> =>
  Effect.async((resume) => {
    const data = HeaderSection.fromLatin1(text)
    const done = (error: Error | null, signature: Buffer): void => {
      resume(error === null ? Effect.succeed(signature) : Effect.die(error))
    }
    const key = Redacted.value(privateKey)
    if (algorithm === "rsa-sha256") signData("sha256", data, key, done)
    else signData(null, createHash("sha256").update(data).digest(), key, done)
  })

const signatureBy = (key: Key, settings: Settings, { bodyHash, fields }: Digests): Effect.Effect<string> => {
  const { algorithm, domain, selector } = key
  const { body, expiresAt, header, oversigned, signedAt } = settings
  const names = Signatures.signedNames(fields, settings.fields, oversigned)
  const tags: Tags = { algorithm, header, body, domain, selector, signedAt, expiresAt, names, bodyHash }
  const field = Signatures.unsigned(tags)
  return Effect.map(rawSignature(key, Signatures.signingText(fields, tags, field)), (signature) =>
    Signatures.complete(field, signature.toString("base64"))
  )
}

const signatures = (settings: Settings, digests: Digests): Effect.Effect<Uint8Array, InvalidArgument> =>
  Effect.gen(function* () {
    if (!digests.fields.some(({ name }) => name.toLowerCase() === "from")) {
      return yield* new InvalidArgument({
        field: "content",
        reason: "has no From field, which a signature has to cover (RFC 6376 section 5.4)"
      })
    }
    const made = yield* Effect.forEach(settings.keys, (key) => signatureBy(key, settings, digests), {
      concurrency: "unbounded"
    })
    return HeaderSection.fromLatin1(made.join(""))
  })

// -- content

const signBytes = (
  octets: Uint8Array,
  settings: Settings
): Effect.Effect<SmtpContent.Bytes, ContentError | InvalidArgument> =>
  Effect.gen(function* () {
    const look = makeLook(settings)
    yield* look.push(octets)
    const prefix = yield* signatures(settings, yield* look.end)
    const canonical = Encoding.canonicalise(octets, encodingOptions(settings))
    if ("_tag" in canonical) return yield* contentError(canonical)
    return SmtpContent.bytes(join([prefix, canonical.octets]))
  })

const changed = (): ContentError =>
  new ContentError({
    reason: "Changed",
    detail:
      "a later run of the stream gave other octets than were signed; give a stream that can be run again"
  })

/** The octets that were signed, or an error before the stream has ended. */
const verified = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>,
  settings: Settings,
  expected: string
): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.suspend(() => {
    const encoder = Encoding.makeEncoder("bdat", encodingOptions(settings))
    const whole = createHash("sha256")
    const take = (pieces: ReadonlyArray<Uint8Array> | Encoding.ContentViolation) => {
      if ("_tag" in pieces) return Effect.fail(contentError(pieces))
      for (const piece of pieces) whole.update(piece)
      return Effect.succeed(pieces)
    }
    const end = Effect.suspend(() => take(encoder.end())).pipe(
      Effect.filterOrFail(() => whole.digest("base64") === expected, changed)
    )
    return Stream.flattenIterables(
      Stream.concat(
        Stream.mapEffect(stream, (octets) => Effect.suspend(() => take(encoder.push(octets)))),
        Stream.fromEffect(end)
      )
    )
  })

const signReplayable = <E, R>(
  content: Streamed<E, R>,
  settings: Settings
): Effect.Effect<Streamed<E | ContentError, R>, ContentError | InvalidArgument | E, R> =>
  Effect.gen(function* () {
    const look = makeLook(settings)
    yield* Stream.runForEachChunk(content.stream, (chunk) =>
      Effect.forEach(Chunk.toReadonlyArray(chunk), look.push, { discard: true })
    )
    const digests = yield* look.end
    const prefix = yield* signatures(settings, digests)
    return SmtpContent.replayable(
      Stream.concat(Stream.make(prefix), verified(content.stream, settings, digests.whole)),
      { size: prefix.length + digests.facts.octets, content7bit: !digests.facts.eightBit }
    )
  })

const collect = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>,
  limit: number
): Effect.Effect<Uint8Array, E | ContentError, R> =>
  Effect.suspend(() => {
    const pieces: Array<Uint8Array> = []
    let length = 0
    const detail = `it can be run only once, and has more than the ${limit} octets that may be held to sign it`
    return Stream.runForEach(stream, (octets) => {
      length += octets.length
      if (length > limit) return Effect.fail(new ContentError({ reason: "TooLarge", detail }))
      pieces.push(new Uint8Array(octets))
      return Effect.void
    }).pipe(Effect.map(() => join(pieces)))
  })

const signOnce = <E, R>(
  content: Streamed<E, R>,
  settings: Settings
): Effect.Effect<SmtpContent.Bytes, ContentError | InvalidArgument | E, R> =>
  Effect.suspend(() => {
    if (content.claim()) {
      return Effect.flatMap(collect(content.stream, settings.bufferLimit), (octets) =>
        signBytes(octets, settings)
      )
    }
    const detail = "it is a stream that can be run only once, and a second run was needed"
    return Effect.fail(new ContentError({ reason: "UsedTwice", detail }))
  })

const signStream = <E, R>(
  content: Streamed<E, R>,
  settings: Settings
): Effect.Effect<Content<E | ContentError, R>, ContentError | InvalidArgument | E, R> => {
  if (!Predicate.hasProperty(content.stream, Stream.StreamTypeId)) return Effect.fail(notContent())
  return content.replayable ? signReplayable(content, settings) : signOnce(content, settings)
}

const notContent = (): InvalidArgument =>
  new InvalidArgument({ field: "content", reason: "is neither octets nor a string nor a Stream" })

const signText = (
  text: string,
  settings: Settings
): Effect.Effect<SmtpContent.Bytes, ContentError | InvalidArgument> =>
  /\p{Surrogate}/u.test(text)
    ? Effect.fail(
        new InvalidArgument({
          field: "content",
          reason: "holds half of a surrogate pair, which UTF-8 cannot express; give octets instead"
        })
      )
    : signBytes(new TextEncoder().encode(text), settings)

/** The same content with a signature by each key before it. */
export const sign = <E = never, R = never>(
  content: Content<E, R>,
  settings: Settings
): Effect.Effect<Content<E | ContentError, R>, ContentError | InvalidArgument | E, R> => {
  if (typeof content === "string") return signText(content, settings)
  if (content instanceof Uint8Array) return signBytes(content, settings)
  if (!Predicate.isObject(content)) return Effect.fail(notContent())
  if (!("_tag" in content)) return signStream(SmtpContent.replayable(content), settings)
  if (content._tag === "Streamed") return signStream(content, settings)
  return content._tag === "Bytes" ? signBytes(content.octets, settings) : signText(content.text, settings)
}
