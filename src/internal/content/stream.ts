/**
 * Streams of content made ready for transactions: the first octets are pulled, and each run goes block by block
 * through the encoder to the sink, with no more than three blocks in memory (RFC 5321 section 4.5.2, RFC 3030).
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { makeEncoder } from "../../protocol/Content.js"
import type { Streamed } from "../../SmtpContent.js"
import type { ContentError } from "../../SmtpError.js"
import { InvalidArgument } from "../../SmtpError.js"
import { BufferRing } from "./bufferRing.js"
import type { PreparedStream, PrepareOptions } from "./model.js"
import { encodingOptions, violated } from "./model.js"
import type { Pass } from "./pass.js"
import { openPass, StallWatch } from "./pass.js"
import type { Past } from "./runRecord.js"

// Octets of the blocks that a stream is gathered into, whatever pieces it gives. A block is as long as all before it:
// most streams end in the first, and where much is to come, each block costs a call of the sink.
const shortest = 65_536
const longest = 262_144

const blockLength = (octetsBefore: number): number => Math.min(longest, Math.max(shortest, octetsBefore))

// What was looked at waits for the run, however long.
const keepable = (): Uint8Array => Buffer.allocUnsafe(shortest)

/**
 * Pulls until the stream gives its first octet; it is released when the scope closes, or earlier. Every run is held to
 * those of the past.
 */
export const prepareStream = <E, R>(
  content: Streamed<E, R>,
  prepareOptions: PrepareOptions,
  past: Past
): Effect.Effect<PreparedStream<E, R>, ContentError | InvalidArgument | E, R | Scope.Scope> =>
  Effect.gen(function* () {
    if (content.size !== undefined && !(Number.isSafeInteger(content.size) && content.size >= 0)) {
      return yield* new InvalidArgument({ field: "content.size", reason: "is not a whole number of bytes" })
    }
    const limits = { declared: content.size, allowEmpty: prepareOptions.allowEmpty }
    const watch = new StallWatch(yield* Effect.clock, prepareOptions.stallTimeout)
    const open = openPass(content, limits, yield* Effect.scope, watch, past)
    let current = yield* open
    yield* watch.guard(current.untilOctets())
    if (current.isExhausted && !prepareOptions.allowEmpty) return yield* current.record.nothing()

    /** The pass that no run has begun, opened anew if need be. */
    const freshPass: Effect.Effect<Pass<E, R>, ContentError, R> = Effect.suspend(() =>
      current.isStarted
        ? Effect.map(open, (pass) => {
            current = pass
            return pass
          })
        : Effect.succeed(current)
    )

    const peek: PreparedStream<E, R>["peek"] = (bound) =>
      Effect.gen(function* () {
        const pass = yield* freshPass
        const encoder = makeEncoder("bdat", encodingOptions(prepareOptions, { framing: "bdat" }))
        let ended = false
        for (const block of pass.peeked) encoder.push(block)
        while (!ended && encoder.facts().octets < bound) {
          const block = yield* pass.nextBlock(keepable)
          ended = block === undefined
          if (block === undefined) break
          pass.peeked.push(block)
          const encoded = encoder.push(block)
          if ("_tag" in encoded) return yield* violated(encoded)
        }
        if (ended) encoder.end()
        return { ended, facts: encoder.facts() }
      }).pipe((looking) => watch.guard(looking))

    const run: PreparedStream<E, R>["run"] = (options, sink) =>
      Effect.flatMap(freshPass, (pass) => {
        pass.isStarted = true
        const memory = new BufferRing()
        const allocate = () => memory.allocate(blockLength(pass.record.octets))
        const require7bit = content.content7bit || options.require7bit
        const encoder = makeEncoder(
          options.framing,
          encodingOptions(prepareOptions, { ...options, require7bit }),
          memory.allocate
        )
        const sending = Effect.gen(function* () {
          // One piece is always kept back: none is the last before the stream has ended.
          let kept: ReadonlyArray<Uint8Array> = []
          for (;;) {
            const block = pass.peeked.shift() ?? (yield* pass.nextBlock(allocate))
            if (block === undefined) break
            const encoded = encoder.push(block)
            if ("_tag" in encoded) return yield* violated(encoded)
            if (encoded.length === 0) {
              memory.reuse()
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
        return Effect.onExit(watch.guard(sending), (exit) => Scope.close(pass.scope, exit))
      })

    return {
      _tag: "Stream" as const,
      declaredSize: content.size,
      content7bit: content.content7bit,
      replayable: content.replayable,
      peek,
      run
    }
  })
