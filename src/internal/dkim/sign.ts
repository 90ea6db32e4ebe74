/**
 * Signs content: looks at the bytes as they will be sent, hashes them, and puts the signatures before them. Streams are
 * hashed in constant memory, and a later run that differs from the signed one fails.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import RelaxedBody from "nodemailer/lib/dkim/relaxed-body"
import type { KeyObject } from "node:crypto"
import { createHash, sign as signData } from "node:crypto"
import * as Encoding from "../../protocol/Content.js"
import type { Algorithm, Form, SignedField } from "../../protocol/DkimSignature.js"
import * as Signatures from "../../protocol/DkimSignature.js"
import * as HeaderSection from "../../protocol/HeaderSection.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import * as SmtpContent from "../../SmtpContent.js"
import { ContentError, InvalidArgument } from "../../SmtpError.js"
import { changed, isOctets, violated } from "../content/model.js"
import { claimed, headerLimit, headerTooLong, lookOptions, sourceOf } from "../content/source.js"

/** A private key, with the domain and the selector under which verifiers find the public key. */
export interface Key {
  readonly algorithm: Algorithm
  readonly domain: string
  readonly selector: string
  readonly privateKey: Redacted.Redacted<KeyObject>
}

export interface SigningOptions {
  readonly keys: ReadonlyArray<Key>
  readonly fields: ReadonlyArray<string>
  readonly oversigned: ReadonlyArray<string> | undefined
  readonly header: Form
  readonly body: Form
  /** Seconds since 1970. */
  readonly signedAt: number
  readonly expiresAt: number | undefined
  readonly lineEnds: Encoding.EncodingOptions["lineEnds"]
  /** The most bytes to hold of a stream that can run only once. */
  readonly bufferLimit: number
}

// -- hashes

interface BodyHash {
  readonly push: (bytes: Uint8Array) => Effect.Effect<void>
  readonly end: Effect.Effect<string>
}

/** RFC 6376 section 3.4.4, by nodemailer. `push` waits until the bytes are hashed. */
const makeRelaxed = (): BodyHash => {
  const body = new RelaxedBody()
  // It passes on what it hashes; nothing else reads that.
  body.resume()
  return {
    push: (bytes) =>
      Effect.async((resume) => {
        body.write(bytes, () => {
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
  // Line ends that count only if something follows. Canonical content alternates CR and LF.
  let pending = 0
  const release = (): void => {
    for (; pending > 0; pending -= Math.min(pending, emptyLines.length)) {
      hash.update(emptyLines.subarray(0, Math.min(pending, emptyLines.length)))
    }
  }
  return {
    push: (bytes) =>
      Effect.sync(() => {
        const last = bytes.findLastIndex((byte) => byte !== 13 && byte !== 10)
        if (last !== -1) {
          release()
          hash.update(bytes.subarray(0, last + 1))
        }
        pending += bytes.length - last - 1
      }),
    end: Effect.sync(() => hash.update(emptyLines.subarray(0, 2)).digest("base64"))
  }
}

interface Digests {
  readonly fields: ReadonlyArray<SignedField>
  readonly bodyHash: string
  readonly facts: Encoding.Facts
  /** Of all bytes as they are sent. */
  readonly whole: string
}

/** Hashes a message piece by piece. */
class Digester {
  private readonly encoder: Encoding.Encoder
  private readonly body: BodyHash
  private readonly whole = createHash("sha256")
  private readonly gatherer = HeaderSection.makeGatherer()
  private fields: ReadonlyArray<SignedField> | undefined

  constructor({ body, lineEnds }: SigningOptions) {
    this.encoder = Encoding.makeEncoder("bdat", lookOptions(lineEnds))
    this.body = body === "relaxed" ? makeRelaxed() : makeSimple()
  }

  push(bytes: Uint8Array): Effect.Effect<void, ContentError> {
    return Effect.suspend(() => this.take(this.encoder.push(bytes), false))
  }

  readonly end: Effect.Effect<Digests, ContentError> = Effect.suspend(() =>
    Effect.zipRight(this.take(this.encoder.end(), true), this.body.end)
  ).pipe(
    Effect.map((bodyHash) => ({
      fields: this.fields ?? [],
      bodyHash,
      facts: this.encoder.facts(),
      whole: this.whole.digest("base64")
    }))
  )

  private take(
    pieces: ReadonlyArray<Uint8Array> | Encoding.ContentViolation,
    complete: boolean
  ): Effect.Effect<void, ContentError> {
    if ("_tag" in pieces) return Effect.fail(violated(pieces))
    const bytes = Buffer.concat(pieces)
    this.whole.update(bytes)
    const rest = this.bodyIn(bytes, complete)
    if (rest === undefined) return Effect.fail(headerTooLong())
    return rest.length === 0 ? Effect.void : this.body.push(rest)
  }

  /** The part that belongs to the body; `undefined` if the header section is too long. */
  private bodyIn(bytes: Uint8Array, complete: boolean): Uint8Array | undefined {
    if (this.fields !== undefined) return bytes
    const gathered = this.gatherer.push(bytes) ?? (complete ? this.gatherer.end() : undefined)
    if (gathered === undefined) {
      return this.gatherer.held() > headerLimit ? undefined : bytes.subarray(bytes.length)
    }
    const { octets, section } = gathered
    this.fields = section.fields.map(({ end, name, start }) => ({
      name,
      text: HeaderSection.toLatin1(octets.subarray(start, end)).replace(/\r\n$/, "")
    }))
    return octets.subarray(section.length + 2)
  }
}

// -- signatures

/** RFC 8463 section 3: Ed25519 signs the hash, RSA hashes by itself. With a callback, neither blocks the event loop. */
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

const signatureBy = (
  key: Key,
  options: SigningOptions,
  { bodyHash, fields }: Digests
): Effect.Effect<string> => {
  const { algorithm, domain, selector } = key
  const { body, expiresAt, header, oversigned, signedAt } = options
  const names = Signatures.signedNames(fields, options.fields, oversigned)
  const tags = { algorithm, header, body, domain, selector, signedAt, expiresAt, names, bodyHash }
  const field = Signatures.unsigned(tags)
  return Effect.map(rawSignature(key, Signatures.signingText(fields, tags, field)), (signature) =>
    Signatures.complete(field, signature.toString("base64"))
  )
}

const signatures = (options: SigningOptions, digests: Digests): Effect.Effect<Uint8Array, InvalidArgument> =>
  Effect.gen(function* () {
    if (!digests.fields.some(({ name }) => name.toLowerCase() === "from")) {
      return yield* new InvalidArgument({
        field: "content",
        reason: "has no From field, which a signature must cover (RFC 6376 section 5.4); add one"
      })
    }
    const made = yield* Effect.forEach(options.keys, (key) => signatureBy(key, options, digests), {
      concurrency: "unbounded"
    })
    return HeaderSection.fromLatin1(made.join(""))
  })

// -- content

const signBytes = (
  bytes: Uint8Array,
  options: SigningOptions
): Effect.Effect<SmtpContent.Bytes, ContentError | InvalidArgument> =>
  Effect.gen(function* () {
    const digester = new Digester(options)
    yield* digester.push(bytes)
    const prefix = yield* signatures(options, yield* digester.end)
    const canonical = Encoding.canonicalise(bytes, lookOptions(options.lineEnds))
    if ("_tag" in canonical) return yield* violated(canonical)
    return SmtpContent.bytes(Buffer.concat([prefix, canonical.octets]))
  })

/** Passes on what was signed; fails before its end if it differs. */
const verified = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>,
  options: SigningOptions,
  expected: string
): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.suspend(() => {
    const encoder = Encoding.makeEncoder("bdat", lookOptions(options.lineEnds))
    const whole = createHash("sha256")
    const take = (pieces: ReadonlyArray<Uint8Array> | Encoding.ContentViolation) => {
      if ("_tag" in pieces) return Effect.fail(violated(pieces))
      for (const piece of pieces) whole.update(piece)
      return Effect.succeed(pieces)
    }
    const end = Effect.suspend(() => take(encoder.end())).pipe(
      Effect.filterOrFail(
        () => whole.digest("base64") === expected,
        () =>
          changed("a later run of the stream differs from the signed one; give a stream that can run again")
      )
    )
    return Stream.flattenIterables(
      Stream.concat(
        Stream.mapEffect(stream, (bytes) => Effect.suspend(() => take(encoder.push(bytes)))),
        Stream.fromEffect(end)
      )
    )
  })

const signReplayable = <E, R>(
  { stream }: Streamed<E, R>,
  options: SigningOptions
): Effect.Effect<Streamed<E | ContentError, R>, ContentError | InvalidArgument | E, R> =>
  Effect.gen(function* () {
    const digester = new Digester(options)
    yield* Stream.runForEachChunk(stream, (chunk) =>
      Effect.forEach(Chunk.toReadonlyArray(chunk), (bytes) => digester.push(bytes), { discard: true })
    )
    const digests = yield* digester.end
    const prefix = yield* signatures(options, digests)
    return SmtpContent.replayable(
      Stream.concat(Stream.make(prefix), verified(stream, options, digests.whole)),
      { size: prefix.length + digests.facts.octets, content7bit: !digests.facts.eightBit }
    )
  })

const signOnce = <E, R>(
  content: Streamed<E, R>,
  options: SigningOptions
): Effect.Effect<SmtpContent.Bytes, ContentError | InvalidArgument | E, R> =>
  Effect.suspend(() => {
    const limit = options.bufferLimit
    const pieces: Array<Uint8Array> = []
    let length = 0
    const detail = `it can run only once, and has more than the ${limit} bytes of bufferLimit, which signing holds`
    return Stream.runForEach(claimed(content), (bytes) => {
      length += bytes.length
      if (length > limit) return Effect.fail(new ContentError({ reason: "TooLarge", detail }))
      pieces.push(new Uint8Array(bytes))
      return Effect.void
    }).pipe(Effect.flatMap(() => signBytes(Buffer.concat(pieces), options)))
  })

/** The same content with one signature per key before it. */
export const sign = <E = never, R = never>(
  content: Content<E, R>,
  options: SigningOptions
): Effect.Effect<Content<E | ContentError, R>, ContentError | InvalidArgument | E, R> =>
  Effect.flatMap(
    sourceOf(content),
    (source): Effect.Effect<Content<E | ContentError, R>, ContentError | InvalidArgument | E, R> => {
      if (isOctets(source)) return signBytes(source, options)
      return source.replayable ? signReplayable(source, options) : signOnce(source, options)
    }
  )
