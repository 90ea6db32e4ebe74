/**
 * Rate limits that several processes share, over the RateLimiter store of @effect/experimental: in memory, in Redis,
 * or wherever a program keeps one.
 *
 * @since 0.1.0
 */
import type { ConsumeResult, RateLimiterStore } from "@effect/experimental/RateLimiter"
import * as RateLimiter from "@effect/experimental/RateLimiter"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { invalidArgument } from "./internal/session/failure.js"
import type { Window } from "./internal/rateLimit/limits.js"
import * as RateLimits from "./internal/rateLimit/limits.js"
import { invalid, isInvalid } from "./protocol/Invalid.js"
import type { InvalidArgument } from "./SmtpError.js"
import type { Limits, Request, Service } from "./SmtpRateLimit.js"
import { RateLimitError, SmtpRateLimit } from "./SmtpRateLimit.js"

/**
 * Processes that share a store have to agree on `prefix` and on the limits.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Limits {
  /** What every key in the store begins with. Default `"effect-smtplib/"`. */
  readonly prefix?: string | undefined
  /** How long the store may take for one question, before it counts as failed. Default 2 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Limits in the RateLimiterStore of the surroundings.
 *
 * - Each limit is a token bucket: as many as it holds may go at once, and then it is filled again steadily over its
 *   interval. In the long run an interval has no more than the limit; one that begins with a full bucket may have up
 *   to twice as many. The layer in memory of SmtpRateLimit is stricter, for one process.
 * - Messages and recipients are two buckets, and are taken one after the other. What was taken from one is given back
 *   when the other has no room in time; if it cannot be, the limit holds less for a while, and never more.
 * - Times are those of the clocks of the processes: by as much as they differ, a bucket fills too early or too late.
 * - A store that fails, dies or does not answer in time is a RateLimitError with reason `Store`: nothing may be sent
 *   then, or the limit would hold for nobody. To the sender of a client it is ClientUnavailable with reason
 *   `RateLimitStore`, which the client's `retry` tries again. What a store has taken without saying so stays taken.
 *
 * Fails with `InvalidArgument` for limits that cannot be.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Service, InvalidArgument, RateLimiterStore> =>
  Effect.gen(function* () {
    const windows = RateLimits.read(options)
    if (isInvalid(windows)) return yield* invalidArgument(windows)
    const timeout = Duration.decodeUnknown(options.timeout ?? "2 seconds")
    if (Option.isNone(timeout) || Duration.toMillis(timeout.value) === 0) {
      return yield* invalidArgument(invalid("timeout", `is not a duration above zero, such as "2 seconds"`))
    }
    const limiter = yield* RateLimiter.make
    const prefix = options.prefix ?? "effect-smtplib/"

    const consume = (
      { key }: Request,
      window: Window,
      tokens: number
    ): Effect.Effect<ConsumeResult, RateLimitError> =>
      limiter
        .consume({
          algorithm: "token-bucket",
          onExceeded: "delay",
          window: window.interval,
          limit: window.limit,
          key: `${prefix}${window.of}/${key}`,
          tokens
        })
        .pipe(
          Effect.timeout(timeout.value),
          // A store that dies is no better than one that fails.
          Effect.catchAllCause((cause) =>
            Cause.isInterruptedOnly(cause)
              ? Effect.interrupt
              : Effect.fail(
                  new RateLimitError({ reason: "Store", key, of: window.of, cause: Cause.squash(cause) })
                )
          )
        )

    return { reserve: reserveWith(windows, consume) }
  })

/**
 * Limits in the RateLimiterStore of the surroundings; see `make`.
 *
 * @example
 * ```ts
 * import * as RateLimiter from "@effect/experimental/RateLimiter"
 * import * as Layer from "effect/Layer"
 * import * as SmtpRateLimitStore from "effect-smtplib/SmtpRateLimitStore"
 *
 * // In production the store is one that the processes share, e.g. that of @effect/experimental/RateLimiter/Redis.
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
  window: Window,
  tokens: number
) => Effect.Effect<ConsumeResult, RateLimitError>

const reserveWith =
  (windows: ReadonlyArray<Window>, consume: Consume): Service["reserve"] =>
  (request) =>
    Effect.gen(function* () {
      const never = RateLimits.whyNever(windows, request)
      if (never !== undefined) return yield* new RateLimitError({ key: request.key, ...never })
      const concerned = windows.filter(({ of }) => request[of] > 0)
      const longest = Duration.toMillis(request.within ?? Duration.infinity)
      // Asked first, so that those who would not wait take nothing from those who do.
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

/** How long a bucket takes to be out of debt. */
const delayOf = ({ interval, limit }: Window, remaining: number): number =>
  remaining >= 0 ? 0 : (-remaining * interval) / limit

const within = (
  { key }: Request,
  longest: number,
  delays: ReadonlyArray<number>
): Effect.Effect<Duration.Duration, RateLimitError> => {
  const wait = Math.ceil(Math.max(0, ...delays))
  return wait > longest
    ? Effect.fail(new RateLimitError({ reason: "Exceeded", key, retryAfterMillis: wait }))
    : Effect.succeed(Duration.millis(wait))
}

/** Everything or nothing, as far as the store lets us. */
const takeAll = (
  windows: ReadonlyArray<Window>,
  request: Request,
  longest: number,
  consume: Consume
): Effect.Effect<Duration.Duration, RateLimitError> => {
  const taken: Array<Window> = []
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
