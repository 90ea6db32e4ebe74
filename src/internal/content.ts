/**
 * Content made ready for transactions: octets and strings are copied and known before MAIL; of a stream the first
 * octets are pulled, and every run is held to the octets of the run before (RFC 5321 section 4.5.2, RFC 3030).
 * It writes to no connection: the session gives it a sink.
 *
 * @since 0.1.0
 */
import type * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import type { Canonical, ContentViolation, Facts, Framing } from "../protocol/Content.js"
import * as Encoding from "../protocol/Content.js"
import type { Content, Streamed } from "../SmtpContent.js"
import { replayable } from "../SmtpContent.js"
import { ContentError, InvalidArgument } from "../SmtpError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface PrepareOptions extends Pick<
  Encoding.Options,
  "lineEnds" | "longLines" | "allowNul" | "binary"
> {
  readonly allowEmpty: boolean
  /** How long a stream may give nothing while it is asked. Infinity is no limit. */
  readonly stallTimeout: Duration.Duration
}

/**
 * What depends on the server: it may differ from run to run.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunOptions {
  /** Binary content goes by "bdat" only. */
  readonly framing: Framing
  /** The server's SIZE limit, in octets of canonical content. */
  readonly maxSize?: number | undefined
  /** The server takes no 8-bit octets. A stream's own promise is checked in any case. */
  readonly require7bit?: boolean | undefined
}

/**
 * Takes octets for the wire, in order; a run waits for it. `last` marks the call that holds the end of the message:
 * under "data" the final dot, under "bdat" the octets of BDAT LAST, which may be none. From this call on the outcome
 * is Unknown. The arrays are never written to afterwards.
 *
 * @since 0.1.0
 * @category models
 */
export type Sink<E, R> = (octets: ReadonlyArray<Uint8Array>, last: boolean) => Effect.Effect<void, E, R>

/**
 * @since 0.1.0
 * @category models
 */
export type Prepared<E, R> = PreparedBytes | PreparedStream<E, R>

/**
 * Content in memory, about which everything is known.
 *
 * @since 0.1.0
 * @category models
 */
export interface PreparedBytes {
  readonly _tag: "Bytes"
  readonly facts: Facts
  readonly content: Canonical
  readonly options: PrepareOptions
}

/**
 * A stream that has given its first octets. It may serve several transactions, one after the other, on one session
 * or on several.
 *
 * @since 0.1.0
 * @category models
 */
export interface PreparedStream<E, R> {
  readonly _tag: "Stream"
  /** What the program declared, for SIZE; `undefined` if nothing. */
  readonly declaredSize: number | undefined
  /** The program's promise, kept by every run. */
  readonly content7bit: boolean
  /** Whether it can be run more than once. */
  readonly replayable: boolean
  /** Pulls, and holds in memory, until the stream ends or at least `bound` octets are held. */
  readonly peek: (bound: number) => Effect.Effect<Peek, ContentError | E, R>
  readonly run: <E2, R2>(
    options: RunOptions,
    sink: Sink<E2, R2>
  ) => Effect.Effect<Facts, ContentError | E | E2, R | R2>
}

/**
 * What is known of a stream before it is sent: all, if it ended within the bound.
 *
 * @since 0.1.0
 * @category models
 */
export interface Peek {
  readonly ended: boolean
  readonly facts: Facts
}

/**
 * Runs the content once, in the fiber and with the errors and requirements of whoever gave it. The end of the
 * message is only handed to the sink once the stream has ended and is known to be what it was, or was declared to
 * be, so that an error of the content always means that the message is incomplete.
 *
 * @since 0.1.0
 * @category combinators
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
 * `SmtpContent.once` was used before.
 *
 * @since 0.1.0
 * @category constructors
 */
export const prepare = <E = never, R = never>(
  content: Content<E, R>,
  options: PrepareOptions
): Effect.Effect<Prepared<E, R>, ContentError | InvalidArgument | E, R | Scope.Scope> => {
  const prepared = prepareInMemory(content, options)
  if (prepared !== undefined) {
    return prepared._tag === "Bytes" ? Effect.succeed(prepared) : Effect.fail(prepared)
  }
  const streamed = streamedOf(content)
  return streamed === undefined ? Effect.fail(notContent()) : prepareStream(streamed, options)
}

const streamedOf = <E, R>(content: Content<E, R>): Streamed<E, R> | undefined => {
  if (typeof content === "string" || isOctets(content) || !Predicate.isObject(content)) return undefined
  if (!("_tag" in content)) return replayable(content)
  return content._tag === "Streamed" ? content : undefined
}

/**
 * `prepare` for content in memory, without an effect; `undefined` for any other.
 *
 * @since 0.1.0
 * @category constructors
 */
export const prepareInMemory = (
  content: Content<unknown, unknown>,
  options: PrepareOptions
): PreparedBytes | ContentError | InvalidArgument | undefined => {
  if (typeof content === "string" || isOctets(content)) return prepareBytes(content, options)
  if (!Predicate.isObject(content) || !("_tag" in content)) return undefined
  if (content._tag === "Bytes") return prepareBytes(content.octets, options)
  return content._tag === "Text" ? prepareBytes(content.text, options) : undefined
}

const isOctets = (content: unknown): content is Uint8Array =>
  content instanceof Uint8Array || Object.prototype.toString.call(content) === "[object Uint8Array]"

// Small arrays come out of a pool that is shared, at a tenth of the cost of one of their own.
const allocate = (length: number): Uint8Array => Buffer.allocUnsafe(length)

const emptyContent = (): InvalidArgument =>
  new InvalidArgument({ field: "content", reason: "is empty; set allowEmpty to send an empty message" })

const notContent = (): InvalidArgument =>
  new InvalidArgument({ field: "content", reason: "is neither octets nor a string nor a Stream" })

const contentError = ({ detail, reason }: ContentViolation): ContentError =>
  new ContentError({ reason, detail })

const changed = (detail: string): ContentError => new ContentError({ reason: "Changed", detail })

/**
 * The part of `prepare` for content in memory, without an effect.
 *
 * @since 0.1.0
 * @category constructors
 */
export const prepareBytes = (
  content: Uint8Array | string,
  options: PrepareOptions
): PreparedBytes | ContentError | InvalidArgument => {
  if (content.length === 0 && !options.allowEmpty) return emptyContent()
  const canonical =
    typeof content === "string"
      ? canonicaliseText(content, options)
      : Encoding.canonicalise(content, options, allocate)
  if ("_tag" in canonical) return contentError(canonical)
  const { facts } = canonical
  if (facts.eightBit && typeof content === "string" && /\p{Surrogate}/u.test(content)) {
    return new InvalidArgument({
      field: "content",
      reason: "holds half of a surrogate pair, which UTF-8 cannot express; give octets instead"
    })
  }
  return { _tag: "Bytes", facts, content: canonical, options }
}

// One copy: the text is encoded to where it will be written from.
const canonicaliseText = (text: string, options: PrepareOptions): Canonical | ContentViolation => {
  const length = Buffer.byteLength(text, "utf8")
  const memory = Buffer.allocUnsafe(length + Encoding.ownedRoom)
  memory.write(text, 0, "utf8")
  return Encoding.canonicaliseOwned(memory, length, options, allocate)
}

/**
 * The whole message in one array, if it takes at most `bound` octets on the wire: for the write that also holds
 * commands. `run` serves the others.
 *
 * @since 0.1.0
 * @category accessors
 */
export const whole = (prepared: PreparedBytes, framing: Framing, bound: number): Uint8Array | undefined => {
  const { content, facts } = prepared
  if (framing === "bdat") return facts.octets <= bound ? content.octets : undefined
  const octets = facts.octets + facts.dotLines + Encoding.endOfData.length
  return octets <= bound ? Encoding.encodeForData(content, allocate) : undefined
}

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
    const detail = `its ${facts.octets} octets are more than the limit of ${options.maxSize}`
    return new ContentError({ reason: "TooLarge", detail })
  }
  if (options.require7bit === true && facts.eightBit) {
    const detail = "it holds 8-bit octets where only 7-bit may be sent; encode it before sending"
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
  prepared: PreparedBytes,
  sink: Sink<E, R>
): Effect.Effect<void, E | ContentError, R> =>
  Effect.gen(function* () {
    const { octets } = prepared.content
    const encoder = Encoding.makeEncoder(
      "data",
      encodingOptions(prepared.options, { framing: "data" }),
      allocate
    )
    let start = 0
    for (; octets.length - start > writeLength; start += writeLength) {
      const encoded = encoder.push(octets.subarray(start, start + writeLength))
      if ("_tag" in encoded) return yield* contentError(encoded)
      yield* sink(encoded, false)
    }
    const encoded = encoder.push(octets.subarray(start))
    if ("_tag" in encoded) return yield* contentError(encoded)
    const end = encoder.end()
    if ("_tag" in end) return yield* contentError(end)
    yield* sink([...encoded, ...end], true)
  })

const encodingOptions = (prepare: PrepareOptions, run: RunOptions): Encoding.Options => ({
  lineEnds: prepare.lineEnds,
  longLines: prepare.longLines,
  allowNul: prepare.allowNul,
  binary: prepare.binary,
  maxSize: run.maxSize,
  require7bit: run.require7bit
})

// Octets of a stream are gathered into blocks of this length, whatever pieces they come in.
const blockLength = 65_536

// A block that fills more slowly than this goes out as it is, so that the server sees a slow producer alive.
const blockMillis = 5_000

/** One run of a stream, from the opening of its resources to their release. */
interface Pass<E, R> {
  readonly scope: Scope.CloseableScope
  readonly pull: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E>, R>
  /** What the last pull gave and no block holds yet, the next octets last. */
  pending: Array<Uint8Array>
  /** Blocks that `peek` has made and no sink was given. */
  readonly peeked: Array<Uint8Array>
  ended: boolean
  started: boolean
  /** Octets that blocks were made of. */
  octets: number
  readonly digest: Digest | undefined
  /** What a run before this one gave. */
  readonly expected: Expected | undefined
  /** This run turned out to differ from what was expected. */
  differs: boolean
}

/** Octets as a run gave them, all of them if it was complete. */
interface Expected {
  readonly octets: number
  readonly digest: string
  readonly complete: boolean
}

interface Digest {
  readonly update: (octets: Uint8Array) => void
  readonly value: () => string
}

// SHA-256 is native: it is faster than a lesser hash in JavaScript, and nobody can make two contents agree.
const makeDigest: Effect.Effect<Digest> = Effect.promise(() => import("node:crypto")).pipe(
  Effect.map(({ createHash }) => {
    const hash = createHash("sha256")
    return {
      update: (octets) => {
        hash.update(octets)
      },
      value: () => hash.copy().digest("base64")
    }
  })
)

/** Ends a wait for the producer that lasts too long. One fiber a run: none for each pull. */
interface Watch {
  readonly begin: () => void
  readonly end: () => void
  readonly now: () => number
  readonly guard: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ContentError, R>
}

const makeWatch = (clock: Clock.Clock, limit: Duration.Duration): Watch => {
  let waitingSince: number | undefined
  const limitMillis = Duration.toMillis(limit)
  const stalled: Effect.Effect<never, ContentError> = Effect.suspend(() => {
    const waited = waitingSince === undefined ? 0 : clock.unsafeCurrentTimeMillis() - waitingSince
    if (waited >= limitMillis) {
      const detail = `the stream gave nothing for ${limitMillis} ms`
      return Effect.fail(new ContentError({ reason: "Stalled", detail }))
    }
    return Effect.zipRight(clock.sleep(Duration.millis(limitMillis - waited)), stalled)
  })
  return {
    begin: () => {
      waitingSince = clock.unsafeCurrentTimeMillis()
    },
    end: () => {
      waitingSince = undefined
    },
    now: () => clock.unsafeCurrentTimeMillis(),
    guard: (effect) =>
      Effect.suspend(() => {
        waitingSince = undefined
        return Number.isFinite(limitMillis)
          ? Effect.raceFirst(Effect.interruptible(effect), Effect.interruptible(stalled))
          : effect
      })
  }
}

const prepareStream = <E, R>(
  content: Streamed<E, R>,
  options: PrepareOptions
): Effect.Effect<PreparedStream<E, R>, ContentError | InvalidArgument | E, R | Scope.Scope> =>
  Effect.gen(function* () {
    if (!Predicate.hasProperty(content.stream, Symbol.for("effect/Stream"))) {
      return yield* notContent()
    }
    if (content.size !== undefined && !(Number.isSafeInteger(content.size) && content.size >= 0)) {
      return yield* new InvalidArgument({ field: "content.size", reason: "is not a whole number of octets" })
    }
    const watch = makeWatch(yield* Effect.clock, options.stallTimeout)
    const scope = yield* Effect.scope
    const first = yield* openPass(content, scope, undefined)
    yield* watch.guard(untilOctets(first, watch))
    if (first.pending.length === 0 && !options.allowEmpty) return yield* emptyContent()
    return streamRuns(content, options, scope, watch, first)
  })

/** Pulls until there are octets or the stream has ended. */
const untilOctets = <E, R>(pass: Pass<E, R>, watch: Watch): Effect.Effect<void, E, R> =>
  Effect.suspend(() =>
    pass.ended || pass.pending.length > 0
      ? Effect.void
      : Effect.zipRight(pullOnce(pass, watch), untilOctets(pass, watch))
  )

const pullOnce = <E, R>(pass: Pass<E, R>, watch: Watch): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    watch.begin()
    return Effect.matchEffect(pass.pull, {
      onFailure: (failure) => {
        watch.end()
        if (Option.isSome(failure)) return Effect.fail(failure.value)
        pass.ended = true
        return Effect.void
      },
      onSuccess: (chunk) => {
        watch.end()
        pass.pending = Array.from(chunk)
          .filter((octets) => octets.length > 0)
          .reverse()
        return Effect.void
      }
    })
  })

const openPass = <E, R>(
  content: Streamed<E, R>,
  parent: Scope.Scope,
  expected: Expected | undefined
): Effect.Effect<Pass<E, R>, ContentError, R> =>
  Effect.gen(function* () {
    if (!content.claim()) {
      return yield* new ContentError({
        reason: "UsedTwice",
        detail: "it is a stream that can be run only once, and a second run was needed"
      })
    }
    const { toPull } = yield* Effect.promise(() => import("effect/Stream"))
    const digest = content.replayable ? yield* makeDigest : undefined
    const scope = yield* Scope.fork(parent, ExecutionStrategy.sequential)
    const pull = yield* Scope.extend(toPull(content.stream), scope)
    return {
      scope,
      pull,
      pending: [],
      peeked: [],
      ended: false,
      started: false,
      octets: 0,
      digest,
      expected,
      differs: false
    }
  })

/** The next block of at most `blockLength` octets, copied from what the stream gives; `undefined` at its end. */
const nextBlock = <E, R>(pass: Pass<E, R>, watch: Watch): Effect.Effect<Uint8Array | undefined, E, R> =>
  Effect.gen(function* () {
    if (pass.ended && pass.pending.length === 0) return undefined
    const block = allocate(blockLength)
    const since = watch.now()
    let filled = fill(block, 0, pass)
    while (filled < blockLength && !pass.ended) {
      if (filled > 0 && watch.now() - since >= blockMillis) break
      yield* pullOnce(pass, watch)
      filled = fill(block, filled, pass)
    }
    return filled === 0 ? undefined : block.subarray(0, filled)
  })

const fill = <E, R>(block: Uint8Array, offset: number, pass: Pass<E, R>): number => {
  let filled = offset
  while (filled < block.length) {
    const octets = pass.pending.pop()
    if (octets === undefined) break
    const room = block.length - filled
    block.set(octets.length > room ? octets.subarray(0, room) : octets, filled)
    if (octets.length > room) pass.pending.push(octets.subarray(room))
    filled += Math.min(room, octets.length)
  }
  return filled
}

/** Counts and hashes a block; says how the content differs from what it should be, as soon as it does. */
const account = <E, R>(
  pass: Pass<E, R>,
  block: Uint8Array,
  declared: number | undefined
): ContentError | undefined => {
  const { digest, expected, octets: before } = pass
  const total = before + block.length
  if (declared !== undefined && total > declared) {
    return changed(`it has more than the ${declared} octets that were declared`)
  }
  if (expected?.complete === true && total > expected.octets) return differs(pass)
  pass.octets = total
  if (digest === undefined) return undefined
  if (expected === undefined || before >= expected.octets || total < expected.octets) {
    digest.update(block)
    return undefined
  }
  const boundary = expected.octets - before
  digest.update(block.subarray(0, boundary))
  if (digest.value() !== expected.digest) return differs(pass)
  digest.update(block.subarray(boundary))
  return undefined
}

const differs = <E, R>(pass: Pass<E, R>): ContentError => {
  pass.differs = true
  return changed(
    "a second run of the stream gave other octets than the first; give a stream that can be run again"
  )
}

/** What is wrong once the stream has ended. */
const accountEnd = <E, R>(
  pass: Pass<E, R>,
  declared: number | undefined,
  allowEmpty: boolean
): ContentError | undefined => {
  if (declared !== undefined && pass.octets < declared) {
    return changed(`it has ${pass.octets} octets where ${declared} were declared`)
  }
  const least = pass.expected?.octets ?? (allowEmpty ? 0 : 1)
  return pass.octets < least || (pass.octets === 0 && !allowEmpty) ? differs(pass) : undefined
}

/** What the next run is held to: the longest run so far. */
const expectation = <E, R>(pass: Pass<E, R>, complete: boolean): Expected | undefined =>
  pass.differs || pass.digest === undefined || pass.octets < (pass.expected?.octets ?? 0)
    ? pass.expected
    : { octets: pass.octets, digest: pass.digest.value(), complete }

const streamRuns = <E, R>(
  content: Streamed<E, R>,
  prepareOptions: PrepareOptions,
  parent: Scope.Scope,
  watch: Watch,
  first: Pass<E, R>
): PreparedStream<E, R> => {
  const declared = content.size
  let current = first
  let complete = false

  /** The pass that no run has begun, opened anew if need be. */
  const freshPass: Effect.Effect<Pass<E, R>, ContentError, R> = Effect.suspend(() => {
    if (!current.started) return Effect.succeed(current)
    return Effect.map(openPass(content, parent, expectation(current, complete)), (pass) => {
      current = pass
      return pass
    })
  })

  const produce = (pass: Pass<E, R>): Effect.Effect<Uint8Array | undefined, ContentError | E, R> =>
    Effect.flatMap(nextBlock(pass, watch), (block) => {
      const wrong =
        block === undefined
          ? accountEnd(pass, declared, prepareOptions.allowEmpty)
          : account(pass, block, declared)
      return wrong === undefined ? Effect.succeed(block) : Effect.fail(wrong)
    })

  const peek = (bound: number): Effect.Effect<Peek, ContentError | E, R> =>
    Effect.gen(function* () {
      const pass = yield* freshPass
      const encoder = Encoding.makeEncoder("bdat", encodingOptions(prepareOptions, { framing: "bdat" }))
      let ended = false
      for (const block of pass.peeked) encoder.push(block)
      while (!ended && encoder.facts().octets < bound) {
        const block = yield* produce(pass)
        if (block === undefined) {
          ended = true
        } else {
          pass.peeked.push(block)
          const encoded = encoder.push(block)
          if ("_tag" in encoded) return yield* contentError(encoded)
        }
      }
      if (ended) encoder.end()
      return { ended, facts: encoder.facts() }
    }).pipe(watch.guard)

  const send = <E2, R2>(
    pass: Pass<E, R>,
    options: RunOptions,
    sink: Sink<E2, R2>
  ): Effect.Effect<Facts, ContentError | E | E2, R | R2> =>
    Effect.gen(function* () {
      const require7bit = content.content7bit || options.require7bit
      const encoder = Encoding.makeEncoder(
        options.framing,
        encodingOptions(prepareOptions, { ...options, require7bit }),
        allocate
      )
      // One piece is always kept back: none is the last before the stream has ended.
      let kept: ReadonlyArray<Uint8Array> = []
      for (;;) {
        const block = pass.peeked.shift() ?? (yield* produce(pass))
        if (block === undefined) break
        const encoded = encoder.push(block)
        if ("_tag" in encoded) return yield* contentError(encoded)
        if (kept.length > 0) yield* sink(kept, false)
        kept = encoded
      }
      complete = true
      const end = encoder.end()
      if ("_tag" in end) return yield* contentError(end)
      yield* sink([...kept, ...end], true)
      return encoder.facts()
    })

  return {
    _tag: "Stream",
    declaredSize: declared,
    content7bit: content.content7bit,
    replayable: content.replayable,
    peek,
    run: (options, sink) =>
      freshPass.pipe(
        Effect.tap((pass) => {
          pass.started = true
        }),
        Effect.flatMap((pass) =>
          watch.guard(send(pass, options, sink)).pipe(Effect.onExit((exit) => Scope.close(pass.scope, exit)))
        )
      )
  }
}
