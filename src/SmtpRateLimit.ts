/**
 * Limits the rate of messages and recipients for each key, e.g. each relay. A client reserves a slot before each
 * message and waits for it. The limits in memory are exact within one process; SmtpRateLimitStore shares limits
 * between processes.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { describeCause } from "./internal/effect/cause.js"
import type { ConfigError } from "./internal/effect/config.js"
import * as Elapsed from "./internal/effect/elapsed.js"
import { limitConfig, readLimits, whyNever } from "./internal/rateLimit/limits.js"
import { makeSlidingWindow } from "./internal/rateLimit/slidingWindow.js"
import { invalidArgument } from "./internal/session/failure.js"
import { isInvalid } from "./protocol/Invalid.js"
import type { InvalidArgument } from "./SmtpError.js"

/**
 * The rate limit that clients ask before each attempt. `layerMemory` and `SmtpRateLimitStore.layer` provide it.
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpRateLimit extends Context.Tag("effect-smtplib/SmtpRateLimit")<SmtpRateLimit, Service>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * Reserves a slot for messages and recipients together, and returns how long to wait before you send: zero if you
   * may send at once. Slots are granted in order of the requests. An unused slot still counts, so that limits are
   * never exceeded; set `within` to avoid reservations that you cannot use.
   */
  readonly reserve: (request: Request) => Effect.Effect<Duration.Duration, RateLimitError>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Request {
  /** What the limits apply to, e.g. the host of a relay. */
  readonly key: string
  readonly messages: number
  readonly recipients: number
  /** The longest acceptable wait. If it would be exceeded, `reserve` fails with `Exceeded` and reserves nothing. */
  readonly within?: Duration.DurationInput | undefined
}

/**
 * The most that any interval of this length may hold.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limit {
  readonly limit: number
  readonly interval: Duration.DurationInput
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  readonly messages?: Limit | undefined
  readonly recipients?: Limit | undefined
}

/**
 * No slot was reserved.
 *
 * - `OverLimit`: the request is larger than a limit and can never be granted; ask for fewer recipients at a time
 * - `Exceeded`: no slot within `within`; `retryAfterMillis` is the wait that would have been needed
 * - `Store`: the store of SmtpRateLimitStore failed or did not answer in time
 * - `Invalid`: `messages` or `recipients` is not a whole number from 0 upwards
 *
 * @since 0.1.0
 * @category errors
 */
export class RateLimitError extends Data.TaggedError("RateLimitError")<{
  readonly reason: "OverLimit" | "Exceeded" | "Store" | "Invalid"
  readonly key: string
  /** Which limit was reached. */
  readonly of?: "messages" | "recipients" | undefined
  /** The size of that limit, for `OverLimit`. */
  readonly limit?: number | undefined
  readonly retryAfterMillis?: number | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    const of = this.of ?? "messages"
    switch (this.reason) {
      case "OverLimit":
        return `The rate limit of ${this.key} allows ${this.limit ?? 0} ${of}, and the request is for more; ask for fewer at a time, or raise the limit`
      case "Exceeded":
        return `The rate limit of ${this.key} has no slot in time; try again in ${this.retryAfterMillis ?? 0} ms, send more slowly, or raise the limit`
      case "Store":
        return `The rate limit store failed for ${this.key}${this.cause === undefined ? "" : `: ${describeCause(this.cause)}`}; check the store, since nothing is sent without it`
      case "Invalid":
        return `The rate limit of ${this.key} cannot count the ${of} of the request; give a whole number from 0 upwards`
    }
  }
}

/**
 * Makes limits in memory, on Effect's Clock, for one process.
 *
 * They are a sliding window: no interval of the given length ever holds more than the limit, wherever it begins. (A
 * token bucket may let twice as many pass.) As many messages as the limit allows may leave at once; to spread them,
 * give a smaller limit for a shorter interval. Memory grows with the limit, for each key used within the interval.
 *
 * Fails with `InvalidArgument` for an invalid limit.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { SmtpRateLimit } from "effect-smtplib"
 *
 * const paced = Effect.gen(function* () {
 *   const limits = yield* SmtpRateLimit.makeMemory({
 *     messages: { limit: 30, interval: "1 minute" },
 *     recipients: { limit: 10_000, interval: "1 day" }
 *   })
 *   const wait = yield* limits.reserve({ key: "mail.example.com", messages: 1, recipients: 3 })
 *   yield* Effect.sleep(wait)
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory = (limits: Limits): Effect.Effect<Service, InvalidArgument> =>
  Effect.suspend(() => {
    const windows = readLimits(limits)
    if (isInvalid(windows)) return Effect.fail(invalidArgument(windows))
    const slots = makeSlidingWindow(windows)
    return Effect.succeed({
      reserve: (request) =>
        Effect.flatMap(Effect.clock, (clock) => {
          const { key, within } = request
          const problem = whyNever(windows, request)
          if (problem !== undefined) return new RateLimitError({ key, ...problem })
          const longest = Duration.toMillis(within ?? Duration.infinity)
          const { granted, wait } = slots.reserve(key, request, Elapsed.millis(clock), longest)
          return granted
            ? Effect.succeed(Duration.millis(wait))
            : new RateLimitError({ reason: "Exceeded", key, retryAfterMillis: wait })
        })
    })
  })

/**
 * Provides limits in memory. See `makeMemory`.
 *
 * @example
 * ```ts
 * import { SmtpRateLimit } from "effect-smtplib"
 *
 * const layer = SmtpRateLimit.layerMemory({ messages: { limit: 30, interval: "1 minute" } })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (limits: Limits): Layer.Layer<SmtpRateLimit, InvalidArgument> =>
  Layer.effect(SmtpRateLimit, makeMemory(limits))

/**
 * Provides limits in memory, read from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemoryConfig = (
  limits: Config.Config.Wrap<Limits>
): Layer.Layer<SmtpRateLimit, InvalidArgument | ConfigError> =>
  Layer.effect(SmtpRateLimit, Effect.flatMap(Config.unwrap(limits), makeMemory))

/**
 * Reads limits from the keys `_MESSAGES`, `_MESSAGES_INTERVAL`, `_RECIPIENTS` and `_RECIPIENTS_INTERVAL` behind the
 * prefix. A number without its interval is a ConfigError that names the key.
 *
 * @since 0.1.0
 * @category config
 */
export const config = (prefix: string): Config.Config<Limits> =>
  Config.all({
    messages: limitConfig(`${prefix}_MESSAGES`),
    recipients: limitConfig(`${prefix}_RECIPIENTS`)
  })

/**
 * Provides no limits: every wait is zero.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNone: Layer.Layer<SmtpRateLimit> = Layer.succeed(SmtpRateLimit, {
  reserve: () => Effect.succeed(Duration.zero)
})
