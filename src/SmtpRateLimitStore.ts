/**
 * Rate limits that several processes share, in a RateLimiterStore of @effect/experimental: in memory, in Redis, or one
 * of your own.
 *
 * @since 0.1.0
 */
import type { ConsumeResult, RateLimiterStore } from "@effect/experimental/RateLimiter"
import * as RateLimiter from "@effect/experimental/RateLimiter"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { RateWindow } from "./internal/rateLimit/limits.js"
import { timeLimit } from "./internal/options/fields.js"
import { readLimits, whyNever } from "./internal/rateLimit/limits.js"
import { invalidArgument } from "./internal/session/failure.js"
import { isInvalid } from "./protocol/Invalid.js"
import type { InvalidArgument } from "./SmtpError.js"
import type { Limits, Request, Service } from "./SmtpRateLimit.js"
import { RateLimitError, SmtpRateLimit } from "./SmtpRateLimit.js"

/**
 * Processes that share a store must use the same limits and the same `prefix`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Limits {
  /** The prefix of every key in the store. Default `"effect-smtplib/"`. */
  readonly prefix?: string | undefined
  /** How long one request to the store may take before it counts as failed. Default 2 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Makes limits in the RateLimiterStore of the context.
 *
 * - Each limit is a token bucket: as many messages as it holds may leave at once, then it refills steadily over its
 *   interval. An interval that begins with a full bucket may hold up to twice the limit; on average none holds more.
 *   `SmtpRateLimit.makeMemory` is stricter, for one process.
 * - Messages and recipients are two buckets. If the second has no room in time, the tokens of the first are returned. If
 *   that fails they stay taken, so that a limit is never exceeded.
 * - Buckets refill by the clocks of the processes: clocks that differ shift the refill by their difference.
 * - If the store fails, dies or does not answer in time, `reserve` fails with `RateLimitError`, reason `Store`. A client
 *   retries it by its `retry`, and then reports `ClientUnavailable`, reason `RateLimitStore`.
 *
 * Fails with `InvalidArgument` for an invalid limit or timeout.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Service, InvalidArgument, RateLimiterStore> =>
  Effect.gen(function* () {
    const windows = readLimits(options)
    if (isInvalid(windows)) return yield* invalidArgument(windows)
    const { prefix = "effect-smtplib/", timeout = "2 seconds" } = options
    const problem = timeLimit.problemOf(timeout, "timeout")
    if (problem !== undefined) return yield* invalidArgument(problem)
    const limiter = yield* RateLimiter.make
    const consume: Consume = ({ key }, { interval, limit, of }, tokens) =>
      limiter
        .consume({
          algorithm: "token-bucket",
          onExceeded: "delay",
          window: interval,
          limit,
          key: `${prefix}${of}/${key}`,
          tokens
        })
        .pipe(
          Effect.timeout(timeout),
          Effect.catchAllCause((cause) =>
            Cause.isInterruptedOnly(cause)
              ? Effect.interrupt
              : new RateLimitError({ reason: "Store", key, of, cause: Cause.squash(cause) })
          )
        )
    return { reserve: (request) => reserve(windows, consume, request) }
  })

/**
 * Provides limits in the RateLimiterStore of the context. See `make`.
 *
 * @example
 * ```ts
 * import * as RateLimiter from "@effect/experimental/RateLimiter"
 * import * as Layer from "effect/Layer"
 * import * as SmtpRateLimitStore from "effect-smtplib/SmtpRateLimitStore"
 *
 * // In production use a store that the processes share, e.g. that of @effect/experimental/RateLimiter/Redis.
 * const layer = SmtpRateLimitStore.layer({ messages: { limit: 30, interval: "1 minute" } }).pipe(
 *   Layer.provide(RateLimiter.layerStoreMemory)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SmtpRateLimit, InvalidArgument, RateLimiterStore> =>
  Layer.effect(SmtpRateLimit, make(options))

type Consume = (
  request: Request,
  window: RateWindow,
  tokens: number
) => Effect.Effect<ConsumeResult, RateLimitError>

const reserve = (
  windows: ReadonlyArray<RateWindow>,
  consume: Consume,
  request: Request
): Effect.Effect<Duration.Duration, RateLimitError> =>
  Effect.gen(function* () {
    const never = whyNever(windows, request)
    if (never !== undefined) return yield* new RateLimitError({ key: request.key, ...never })
    const concerned = windows.filter(({ of }) => request[of] > 0)
    const longest = Duration.toMillis(request.within ?? Duration.infinity)
    // Look before taking, so that a caller who would not wait takes nothing from those who do.
    if (Number.isFinite(longest)) {
      const delays = yield* Effect.forEach(concerned, (window) =>
        Effect.map(consume(request, window, 0), ({ remaining }) =>
          delayOf(window, remaining - request[window.of])
        )
      )
      yield* within(request, longest, delays)
    }
    return yield* takeAll(concerned, request, longest, consume)
  })

/** How long a bucket takes to refill to zero. */
const delayOf = ({ interval, limit }: RateWindow, remaining: number): number =>
  remaining >= 0 ? 0 : (-remaining * interval) / limit

const within = (
  { key }: Request,
  longest: number,
  delays: ReadonlyArray<number>
): Effect.Effect<Duration.Duration, RateLimitError> => {
  const wait = Math.ceil(Math.max(0, ...delays))
  return wait > longest
    ? new RateLimitError({ reason: "Exceeded", key, retryAfterMillis: wait })
    : Effect.succeed(Duration.millis(wait))
}

/** Takes all tokens or, as far as the store allows, none. */
const takeAll = (
  windows: ReadonlyArray<RateWindow>,
  request: Request,
  longest: number,
  consume: Consume
): Effect.Effect<Duration.Duration, RateLimitError> => {
  const taken: Array<RateWindow> = []
  const giveBack = Effect.suspend(() =>
    Effect.forEach(taken, (window) => Effect.ignore(consume(request, window, -request[window.of])), {
      discard: true
    })
  )
  return Effect.forEach(windows, (window) =>
    Effect.map(consume(request, window, request[window.of]), ({ remaining }) => {
      taken.push(window)
      return delayOf(window, remaining)
    })
  ).pipe(
    Effect.flatMap((delays) => within(request, longest, delays)),
    Effect.tapError(() => giveBack)
  )
}
