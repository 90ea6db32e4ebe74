/** One run of a stream of content: its pieces are pulled and gathered into blocks. Nothing is encoded here. */
import type * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { Streamed } from "../../SmtpContent.js"
import { ContentError } from "../../SmtpError.js"
import * as Elapsed from "../effect/elapsed.js"
import { forkScope } from "../effect/scope.js"
import { makeBegin } from "./fingerprint.js"
import { isOctets, notOctets, usedTwice } from "./model.js"
import type { ContentLimits, Past } from "./runRecord.js"
import { RunRecord } from "./runRecord.js"

// Pulls that give nothing, between two turns of the event loop: a stream of them would hold up every timer, the limits
// of the program too.
const pullsInOneTurn = 64

/** Ends a wait for the producer that lasts too long. One fiber a run: none for each pull. */
export class StallWatch {
  private waitingSince: number | undefined
  private pulls = 0
  private readonly limitMillis: number

  constructor(
    private readonly clock: Clock.Clock,
    limit: Duration.Duration
  ) {
    this.limitMillis = Duration.toMillis(limit)
  }

  now(): number {
    return Elapsed.millis(this.clock)
  }

  begin(): void {
    this.waitingSince ??= this.now()
  }

  end(): void {
    this.waitingSince = undefined
  }

  /** To be run after a pull that gave nothing. */
  pause(): Effect.Effect<void> {
    this.pulls++
    return this.pulls % pullsInOneTurn === 0 ? this.clock.sleep(Duration.zero) : Effect.void
  }

  guard<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | ContentError, R> {
    return Effect.suspend(() => {
      this.end()
      return Number.isFinite(this.limitMillis)
        ? Effect.raceFirst(Effect.interruptible(effect), Effect.interruptible(this.stalled()))
        : effect
    })
  }

  private stalled(): Effect.Effect<never, ContentError> {
    return Effect.suspend(() => {
      const waited = this.waitingSince === undefined ? 0 : this.now() - this.waitingSince
      if (waited >= this.limitMillis) {
        const detail = `the stream gave nothing for ${this.limitMillis} ms`
        return Effect.fail(new ContentError({ reason: "Stalled", detail }))
      }
      return Effect.zipRight(this.clock.sleep(Duration.millis(this.limitMillis - waited)), this.stalled())
    })
  }
}

// A block that fills more slowly than this goes out as it is, so that the server sees a slow producer alive.
const blockMillis = 5_000

/** From the opening of the stream's resources to their release. */
export class Pass<E, R> {
  /** Blocks that a look ahead has made and no sink was given. */
  readonly peeked: Array<Uint8Array> = []
  isStarted = false
  private isEnded = false
  /** What the last pull gave, without empty pieces. */
  private pending: ReadonlyArray<Uint8Array> = []
  /** The piece that goes into a block next, and how much of it went into the one before. */
  private piece = 0
  private taken = 0

  constructor(
    readonly scope: Scope.CloseableScope,
    readonly record: RunRecord,
    private readonly pull: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E>, R>,
    private readonly watch: StallWatch
  ) {}

  /** Whether the stream has ended, and blocks have taken all of it. */
  get isExhausted(): boolean {
    return this.isEnded && this.piece === this.pending.length
  }

  /** Pulls until there are octets or the stream has ended. */
  untilOctets(): Effect.Effect<void, ContentError | E, R> {
    return Effect.whileLoop({
      while: () => !this.isEnded && this.piece === this.pending.length,
      body: () => this.pullOnce(),
      step: () => undefined
    })
  }

  private pullOnce(): Effect.Effect<void, ContentError | E, R> {
    return Effect.suspend(() => {
      this.watch.begin()
      return Effect.matchEffect(this.pull, {
        onFailure: (failure) => {
          this.watch.end()
          if (Option.isSome(failure)) return Effect.fail(failure.value)
          this.isEnded = true
          return Effect.void
        },
        onSuccess: (chunk) => {
          const pieces = Array.from(chunk)
          if (!pieces.every(isOctets)) return Effect.fail(notOctets())
          this.pending = pieces.filter((octets) => octets.length > 0)
          this.piece = 0
          // Chunks without an octet are as good as silence.
          if (this.pending.length === 0) return this.watch.pause()
          this.watch.end()
          return Effect.void
        }
      })
    })
  }

  /**
   * The next block, copied from what the stream gives to memory of `allocate` until that is full, and held to what it
   * should be. `undefined` at the end.
   */
  nextBlock(allocate: () => Uint8Array): Effect.Effect<Uint8Array | undefined, ContentError | E, R> {
    return Effect.flatMap(this.gather(allocate), (block) => {
      const wrong = block === undefined ? this.record.end() : this.record.count(block)
      return wrong === undefined ? Effect.succeed(block) : Effect.fail(wrong)
    })
  }

  private gather(allocate: () => Uint8Array): Effect.Effect<Uint8Array | undefined, ContentError | E, R> {
    return Effect.suspend(() => {
      if (this.isExhausted) return Effect.succeed(undefined)
      const block = allocate()
      const since = this.watch.now()
      let filled = this.fill(block, 0)
      const pulling = Effect.whileLoop({
        while: () =>
          filled < block.length && !this.isEnded && (filled === 0 || this.watch.now() - since < blockMillis),
        body: () => this.pullOnce(),
        step: () => {
          filled = this.fill(block, filled)
        }
      })
      return Effect.map(pulling, () => (filled === 0 ? undefined : block.subarray(0, filled)))
    })
  }

  private fill(block: Uint8Array, offset: number): number {
    let filled = offset
    for (;;) {
      const octets = this.pending[this.piece]
      if (octets === undefined || filled === block.length) return filled
      const { taken } = this
      const length = Math.min(block.length - filled, octets.length - taken)
      block.set(length === octets.length ? octets : octets.subarray(taken, taken + length), filled)
      filled += length
      this.taken += length
      if (this.taken < octets.length) return filled
      this.piece++
      this.taken = 0
    }
  }
}

/** Opens the stream for another run, which is held to the octets of those before. */
export const openPass = <E, R>(
  content: Streamed<E, R>,
  limits: ContentLimits,
  parent: Scope.Scope,
  watch: StallWatch,
  past: Past
): Effect.Effect<Pass<E, R>, ContentError, R> =>
  Effect.gen(function* () {
    if (!content.claim()) return yield* usedTwice()
    const { toPull } = yield* Effect.promise(() => import("effect/Stream"))
    const begin = content.replayable ? (past.last?.begin ?? (yield* makeBegin)) : undefined
    const scope = yield* forkScope(parent)
    const pull = yield* Scope.extend(toPull(content.stream), scope)
    past.last = new RunRecord(limits, begin, past.last)
    return new Pass(scope, past.last, pull, watch)
  })
