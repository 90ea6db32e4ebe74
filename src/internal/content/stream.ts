/**
 * Streams of content made ready for transactions: the first octets are pulled, and each run goes block by block
 * through the encoder to the sink, with no more than three blocks in memory (RFC 5321 section 4.5.2, RFC 3030).
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import type { Facts } from "../../protocol/Content.js"
import { makeEncoder } from "../../protocol/Content.js"
import type { Streamed } from "../../SmtpContent.js"
import type { ContentError } from "../../SmtpError.js"
import { InvalidArgument } from "../../SmtpError.js"
import type { Peek, PreparedStream, PrepareOptions, RunOptions, Sink } from "./model.js"
import { encodingOptions, notContent, violated } from "./model.js"
import type { Pass, Past, Watch } from "./pass.js"
import { makeWatch, nextBlock, nothing, openPass, untilOctets } from "./pass.js"
import * as MemoryTurns from "./bufferRing.js"

/**
 * Pulls until the stream gives its first octet; it is released when the scope closes, or earlier.
 * Every run is held to those of the past.
 */
export const prepareStream = <E, R>(
  content: Streamed<E, R>,
  options: PrepareOptions,
  past: Past
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
    const first = yield* openPass(content, scope, past)
    yield* watch.guard(untilOctets(first, watch))
    if (first.pending.length === 0 && !options.allowEmpty) return yield* nothing(first)
    return streamRuns(content, options, scope, watch, past, first)
  })

// Octets of the blocks that a stream is gathered into, whatever pieces it gives. A block is as long as all before it:
// most streams end in the first, and where much is to come, each block costs a call of the sink.
const shortest = 65_536
const longest = 262_144

const blockLength = (octetsBefore: number): number => Math.min(longest, Math.max(shortest, octetsBefore))

// What was looked at waits for the run, however long.
const keepable = (): Uint8Array => Buffer.allocUnsafe(shortest)

const streamRuns = <E, R>(
  content: Streamed<E, R>,
  prepareOptions: PrepareOptions,
  parent: Scope.Scope,
  watch: Watch,
  past: Past,
  first: Pass<E, R>
): PreparedStream<E, R> => {
  const limits = { declared: content.size, allowEmpty: prepareOptions.allowEmpty }
  let current = first

  /** The pass that no run has begun, opened anew if need be. */
  const freshPass: Effect.Effect<Pass<E, R>, ContentError, R> = Effect.suspend(() => {
    if (!current.started) return Effect.succeed(current)
    return Effect.map(openPass(content, parent, past), (pass) => {
      current = pass
      return pass
    })
  })

  const peek = (bound: number): Effect.Effect<Peek, ContentError | E, R> =>
    Effect.gen(function* () {
      const pass = yield* freshPass
      const encoder = makeEncoder("bdat", encodingOptions(prepareOptions, { framing: "bdat" }))
      let ended = false
      for (const block of pass.peeked) encoder.push(block)
      while (!ended && encoder.facts().octets < bound) {
        const block = yield* nextBlock(pass, watch, limits, keepable)
        if (block === undefined) {
          ended = true
        } else {
          pass.peeked.push(block)
          const encoded = encoder.push(block)
          if ("_tag" in encoded) return yield* violated(encoded)
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
      const memory = MemoryTurns.make()
      const require7bit = content.content7bit || options.require7bit
      const encoder = makeEncoder(
        options.framing,
        encodingOptions(prepareOptions, { ...options, require7bit }),
        memory.allocate
      )
      const allocate = () => memory.allocate(blockLength(pass.account.octets))
      // One piece is always kept back: none is the last before the stream has ended.
      let kept: ReadonlyArray<Uint8Array> = []
      for (;;) {
        const block = pass.peeked.shift() ?? (yield* nextBlock(pass, watch, limits, allocate))
        if (block === undefined) break
        const encoded = encoder.push(block)
        if ("_tag" in encoded) return yield* violated(encoded)
        if (encoded.length === 0) {
          memory.again()
          continue
        }
        if (kept.length > 0) yield* sink(kept, false)
        kept = encoded
        memory.next()
      }
      const end = encoder.end()
      if ("_tag" in end) return yield* violated(end)
      yield* sink([...kept, ...end], true)
      return encoder.facts()
    })

  return {
    _tag: "Stream",
    declaredSize: content.size,
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
