/**
 * One run of a stream of content: its pieces are pulled, gathered into blocks, counted, and compared with the run
 * before. Nothing is encoded here.
 */
import type * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { Streamed } from "../../SmtpContent.js"
import type { InvalidArgument } from "../../SmtpError.js"
import { ContentError } from "../../SmtpError.js"
import { changed, empty, isOctets, notOctets } from "./model.js"
import * as Elapsed from "../effect/elapsed.js"
import * as Fingerprints from "./fingerprint.js"

/** From the opening of the stream's resources to their release. */
export interface Pass<E, R> {
  readonly scope: Scope.CloseableScope
  readonly pull: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E>, R>
  /** What the last pull gave, without empty pieces. */
  pending: ReadonlyArray<Uint8Array>
  /** The piece that goes into a block next, and how much of it went into the one before. */
  piece: number
  taken: number
  /** Blocks that a look ahead has made and no sink was given. */
  readonly peeked: Array<Uint8Array>
  ended: boolean
  started: boolean
  readonly account: Account
}

/** What a run has come to so far; it outlives the run, and holds nothing of the content. */
interface Account {
  /** Octets that blocks were made of. */
  octets: number
  /** These are all that the stream gives. */
  complete: boolean
  /** This run turned out to differ from the one before. */
  differs: boolean
  readonly history: History | undefined
}

/** What the runs of a stream for one message have come to, each of which is held to those before it. */
export interface Past {
  /** The last run, which may be going on. */
  last: Account | undefined
}

/** Of a stream that has not been run. */
export const noPast = (): Past => ({ last: undefined })

/** What a stream that can be run again is compared by. */
interface History {
  readonly begin: () => Fingerprints.Fingerprint
  /** Of this run. */
  readonly fingerprint: Fingerprints.Fingerprint
  /** What a run before this one gave, all of it if that was complete. */
  readonly expected: Expected | undefined
  /** Of this run as far as the one before went; `undefined` from there on. */
  comparing: Fingerprints.Fingerprint | undefined
}

interface Expected {
  readonly octets: number
  readonly fingerprint: string
  readonly complete: boolean
}

/** Ends a wait for the producer that lasts too long. One fiber a run: none for each pull. */
export interface Watch {
  readonly begin: () => void
  readonly end: () => void
  /** To be run after a pull that gave nothing. */
  readonly pause: Effect.Effect<void>
  readonly now: () => number
  readonly guard: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ContentError, R>
}

// Pulls that give nothing, between two turns of the event loop: a stream of them would hold up every timer, the limits of
// the program too.
const pullsInOneTurn = 64

export const makeWatch = (clock: Clock.Clock, limit: Duration.Duration): Watch => {
  let waitingSince: number | undefined
  let pulls = 0
  const elapsed = () => Elapsed.millis(clock)
  const limitMillis = Duration.toMillis(limit)
  const stalled: Effect.Effect<never, ContentError> = Effect.suspend(() => {
    const waited = waitingSince === undefined ? 0 : elapsed() - waitingSince
    if (waited >= limitMillis) {
      const detail = `the stream gave nothing for ${limitMillis} ms`
      return Effect.fail(new ContentError({ reason: "Stalled", detail }))
    }
    return Effect.zipRight(clock.sleep(Duration.millis(limitMillis - waited)), stalled)
  })
  return {
    begin: () => {
      waitingSince ??= elapsed()
    },
    end: () => {
      waitingSince = undefined
    },
    pause: Effect.suspend(() => {
      pulls++
      return pulls % pullsInOneTurn === 0 ? clock.sleep(Duration.zero) : Effect.void
    }),
    now: elapsed,
    guard: (effect) =>
      Effect.suspend(() => {
        waitingSince = undefined
        return Number.isFinite(limitMillis)
          ? Effect.raceFirst(Effect.interruptible(effect), Effect.interruptible(stalled))
          : effect
      })
  }
}

/** Opens the stream for another run, which is held to the octets of those before. */
export const openPass = <E, R>(
  content: Streamed<E, R>,
  parent: Scope.Scope,
  past: Past
): Effect.Effect<Pass<E, R>, ContentError, R> =>
  Effect.gen(function* () {
    if (!content.claim()) {
      return yield* new ContentError({
        reason: "UsedTwice",
        detail: "it is a stream that can be run only once, and a second run was needed"
      })
    }
    const { toPull } = yield* Effect.promise(() => import("effect/Stream"))
    const history = content.replayable ? yield* makeHistory(past.last) : undefined
    const scope = yield* Scope.fork(parent, ExecutionStrategy.sequential)
    const pull = yield* Scope.extend(toPull(content.stream), scope)
    const account = { octets: 0, complete: false, differs: false, history }
    past.last = account
    return {
      scope,
      pull,
      pending: [],
      piece: 0,
      taken: 0,
      peeked: [],
      ended: false,
      started: false,
      account
    }
  })

const makeHistory = (before: Account | undefined): Effect.Effect<History> =>
  Effect.map(
    before?.history === undefined ? Fingerprints.makeBegin : Effect.succeed(before.history.begin),
    (begin) => {
      const expected = before === undefined ? undefined : expectation(before)
      return {
        begin,
        fingerprint: begin(),
        expected,
        comparing: expected === undefined || expected.octets === 0 ? undefined : begin()
      }
    }
  )

/** What the next run is held to: the longest run so far. */
const expectation = ({ complete, differs, history, octets }: Account): Expected | undefined => {
  const before = history?.expected
  if (differs || history === undefined || octets < (before?.octets ?? 0)) return before
  return { octets, fingerprint: history.fingerprint.value(), complete: complete || before?.complete === true }
}

/** Pulls until there are octets or the stream has ended. */
export const untilOctets = <E, R>(pass: Pass<E, R>, watch: Watch): Effect.Effect<void, ContentError | E, R> =>
  Effect.whileLoop({
    while: () => !pass.ended && pass.piece === pass.pending.length,
    body: () => pullOnce(pass, watch),
    step: () => undefined
  })

const pullOnce = <E, R>(pass: Pass<E, R>, watch: Watch): Effect.Effect<void, ContentError | E, R> =>
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
        const pieces = Array.from(chunk)
        if (!pieces.every(isOctets)) return Effect.fail(notOctets())
        pass.pending = pieces.filter((octets) => octets.length > 0)
        pass.piece = 0
        // Chunks without an octet are as good as silence.
        if (pass.pending.length === 0) return watch.pause
        watch.end()
        return Effect.void
      }
    })
  })

// A block that fills more slowly than this goes out as it is, so that the server sees a slow producer alive.
const blockMillis = 5_000

/**
 * The next block, copied from what the stream gives to memory of `allocate` until that is full: it goes on as the
 * run before did, as far as can be said, and as was declared. `undefined` at the end.
 */
export const nextBlock = <E, R>(
  pass: Pass<E, R>,
  watch: Watch,
  limits: { readonly declared: number | undefined; readonly allowEmpty: boolean },
  allocate: () => Uint8Array
): Effect.Effect<Uint8Array | undefined, ContentError | E, R> =>
  Effect.flatMap(gather(pass, watch, allocate), (block) => {
    const wrong =
      block === undefined
        ? countEnd(pass.account, limits.declared, limits.allowEmpty)
        : count(pass.account, block, limits.declared)
    return wrong === undefined ? Effect.succeed(block) : Effect.fail(wrong)
  })

const gather = <E, R>(
  pass: Pass<E, R>,
  watch: Watch,
  allocate: () => Uint8Array
): Effect.Effect<Uint8Array | undefined, ContentError | E, R> =>
  Effect.suspend(() => {
    if (pass.ended && pass.piece === pass.pending.length) return Effect.succeed(undefined)
    const block = allocate()
    const since = watch.now()
    let filled = fill(block, 0, pass)
    const pulling = Effect.whileLoop({
      while: () =>
        filled < block.length && !pass.ended && (filled === 0 || watch.now() - since < blockMillis),
      body: () => pullOnce(pass, watch),
      step: () => {
        filled = fill(block, filled, pass)
      }
    })
    return Effect.map(pulling, () => (filled === 0 ? undefined : block.subarray(0, filled)))
  })

const fill = <E, R>(block: Uint8Array, offset: number, pass: Pass<E, R>): number => {
  let filled = offset
  for (;;) {
    const octets = pass.pending[pass.piece]
    if (octets === undefined || filled === block.length) break
    const length = Math.min(block.length - filled, octets.length - pass.taken)
    block.set(length === octets.length ? octets : octets.subarray(pass.taken, pass.taken + length), filled)
    filled += length
    pass.taken += length
    if (pass.taken < octets.length) break
    pass.piece++
    pass.taken = 0
  }
  return filled
}

/** Counts a block; says how the content differs from what it should be, as soon as it does. */
const count = (
  account: Account,
  block: Uint8Array,
  declared: number | undefined
): ContentError | undefined => {
  const before = account.octets
  const total = before + block.length
  if (declared !== undefined && total > declared) {
    return changed(`it has more than the ${declared} octets that were declared`)
  }
  const { history } = account
  if (history?.expected?.complete === true && total > history.expected.octets) return differs(account)
  account.octets = total
  if (history === undefined) return undefined
  history.fingerprint.update(block)
  return agrees(history, block, before) ? undefined : differs(account)
}

/** Whether a block that begins `before` octets into the run goes on as the run before did, as far as can be said. */
const agrees = (history: History, block: Uint8Array, before: number): boolean => {
  const { comparing, expected } = history
  if (comparing === undefined || expected === undefined) return true
  const left = expected.octets - before
  comparing.update(block.subarray(0, left))
  if (block.length < left) return true
  history.comparing = undefined
  return comparing.value() === expected.fingerprint
}

const differs = (account: Account): ContentError => {
  account.differs = true
  return changed(
    "a second run of the stream gave other octets than the first; give a stream that can be run again"
  )
}

/** What is wrong once the stream has ended. */
const countEnd = (
  account: Account,
  declared: number | undefined,
  allowEmpty: boolean
): ContentError | undefined => {
  const { history, octets } = account
  if (declared !== undefined && octets < declared) {
    return changed(`it has ${octets} octets where ${declared} were declared`)
  }
  const least = history?.expected?.octets ?? (allowEmpty ? 0 : 1)
  if (octets < least || (octets === 0 && !allowEmpty)) return differs(account)
  account.complete = true
  return undefined
}

/** What is wrong with a stream that has ended before its first octet, where a message is not to be empty. */
export const nothing = <E, R>({ account }: Pass<E, R>): ContentError | InvalidArgument =>
  (account.history?.expected?.octets ?? 0) > 0 ? differs(account) : empty()
