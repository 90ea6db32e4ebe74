/**
 * How fast messages may leave: before each one a client asks how long to wait, and its place is reserved. Limits are
 * of messages, of recipients, or of both, for each key. The layer in memory is exact, for one process; several
 * processes share limits by SmtpRateLimitStore.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { describeCause } from "./internal/effect/cause.js"
import * as Elapsed from "./internal/effect/elapsed.js"
import { invalidArgument } from "./internal/session/failure.js"
import type { Window } from "./internal/rateLimit/limits.js"
import * as RateLimits from "./internal/rateLimit/limits.js"
import * as SlidingWindow from "./internal/rateLimit/slidingWindow.js"
import { isInvalid } from "./protocol/Invalid.js"
import type { InvalidArgument } from "./SmtpError.js"

/**
 * The service that clients ask.
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
   * Reserves a place for messages and recipients together, and gives how long to wait before they are sent: zero if
   * they may go at once. Places are given in the order of asking. A place that is not used stays taken, so that
   * limits are never exceeded; `within` keeps places from being taken in vain.
   */
  readonly reserve: (request: Request) => Effect.Effect<Duration.Duration, RateLimitError>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Request {
  /** What the limits hold for, e.g. the host of a relay. */
  readonly key: string
  readonly messages: number
  readonly recipients: number
  /** The longest wait that is of use: beyond it nothing is reserved, and `reserve` fails with `Exceeded`. */
  readonly within?: Duration.DurationInput | undefined
}

/**
 * So many in any interval of this length.
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
 * There is no place.
 *
 * - `OverLimit`: there never will be: more was asked for than a limit holds. Send to fewer recipients at a time
 * - `Exceeded`: none within the time that is of use; `retryAfterMillis` says when there is one. Nothing was reserved
 * - `Store`: the store of SmtpRateLimitStore failed or did not answer
 * - `Invalid`: numbers that are none
 *
 * @since 0.1.0
 * @category errors
 */
export class RateLimitError extends Data.TaggedError("RateLimitError")<{
  readonly reason: "OverLimit" | "Exceeded" | "Store" | "Invalid"
  readonly key: string
  /** Which limit it was. */
  readonly of?: "messages" | "recipients" | undefined
  /** What the limit holds, for `OverLimit`. */
  readonly limit?: number | undefined
  readonly retryAfterMillis?: number | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    const of = this.of ?? "messages"
    switch (this.reason) {
      case "OverLimit":
        return `The rate limit of ${this.key} never has room for that many ${of} at once: it holds ${this.limit ?? 0}; ask for fewer at a time, or raise the limit`
      case "Exceeded":
        return `The rate limit of ${this.key} has no room in time; try again in ${this.retryAfterMillis ?? 0} ms, send more slowly, or raise the limit`
      case "Store":
        return `The store of the rate limit of ${this.key} does not work${this.cause === undefined ? "" : `: ${describeCause(this.cause)}`}; nothing is sent without it`
      case "Invalid":
        return `The rate limit of ${this.key} was asked for ${of} that are no whole number from 0 upwards`
    }
  }
}

/**
 * Limits in memory, on Effect's Clock. No interval of the length that is given ever holds more than the limit,
 * wherever it begins: a sliding window, and no token bucket, which may let twice as many pass. As many as the limit
 * may go at once; to spread them, give a smaller limit for a shorter interval. Only places are counted: a message that
 * leaves later than its place would allow may come close to the next ones.
 *
 * It keeps as many times as the limit counts for each key that was used within the interval, and those that wait.
 *
 * Fails with `InvalidArgument` for limits that cannot be.
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
    const windows = RateLimits.read(limits)
    if (isInvalid(windows)) return Effect.fail(invalidArgument(windows))
    const places = SlidingWindow.make(windows)
    return Effect.succeed({
      reserve: (request) =>
        Effect.flatMap(Effect.clock, (clock) =>
          Effect.suspend(() => {
            const problem = whyNever(windows, request)
            if (problem !== undefined) return Effect.fail(problem)
            const longest = Duration.toMillis(request.within ?? Duration.infinity)
            const { granted, wait } = places.reserve(request.key, request, Elapsed.millis(clock), longest)
            return granted ? Effect.succeed(Duration.millis(wait)) : Effect.fail(exceeded(request, wait))
          })
        )
    })
  })

const whyNever = (windows: ReadonlyArray<Window>, request: Request): RateLimitError | undefined => {
  const found = RateLimits.whyNever(windows, request)
  return found === undefined ? undefined : new RateLimitError({ key: request.key, ...found })
}

const exceeded = ({ key }: Request, wait: number): RateLimitError =>
  new RateLimitError({ reason: "Exceeded", key, retryAfterMillis: wait })

/**
 * Limits in memory; see `makeMemory`.
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
 * Limits in memory, from configuration.
 *
 * @example
 * ```ts
 * import { SmtpRateLimit } from "effect-smtplib"
 *
 * const layer = SmtpRateLimit.layerMemoryConfig(SmtpRateLimit.config("SMTP_RATE"))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemoryConfig = (
  limits: Config.Config.Wrap<Limits>
): Layer.Layer<SmtpRateLimit, InvalidArgument | ConfigError.ConfigError> =>
  Layer.effect(SmtpRateLimit, Effect.flatMap(Config.unwrap(limits), makeMemory))

/**
 * Limits under names that begin with the prefix: `_MESSAGES` and `_MESSAGES_INTERVAL`, `_RECIPIENTS` and
 * `_RECIPIENTS_INTERVAL`. A number without its interval is a ConfigError that names the key.
 *
 * @since 0.1.0
 * @category config
 */
export const config = (prefix: string): Config.Config<Limits> =>
  Config.all({
    messages: RateLimits.limitConfig(`${prefix}_MESSAGES`),
    recipients: RateLimits.limitConfig(`${prefix}_RECIPIENTS`)
  })

/**
 * No limits: everything may go at once.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNone: Layer.Layer<SmtpRateLimit> = Layer.succeed(SmtpRateLimit, {
  reserve: () => Effect.succeed(Duration.zero)
})
