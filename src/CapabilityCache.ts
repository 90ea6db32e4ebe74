/**
 * What endpoints announced in reply to EHLO or LHLO, remembered across sessions, so that a program can ask without
 * a connection; and which endpoints have completed STARTTLS, so that an opportunistic session notices when the
 * offer vanishes (RFC 3207 section 6); and which have hung up on too many commands. It never feeds a session: sessions decide by what they were told themselves.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BoundedMap from "./internal/cache/boundedMap.js"
import { announcementKey, endpointKey, restraintKey } from "./internal/cache/capabilityKey.js"
import { withOwnLimit } from "./internal/effect/ownLimit.js"
import type { Capabilities } from "./protocol/Capabilities.js"
import { fromLines } from "./protocol/Capabilities.js"
import type { Endpoint } from "./SmtpSocket.js"

/**
 * The service that remembers.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { CapabilityCache } from "effect-smtplib"
 *
 * const takesSmtpUtf8 = Effect.gen(function* () {
 *   const cache = yield* CapabilityCache.CapabilityCache
 *   const announced = yield* cache.get({
 *     endpoint: { _tag: "Tcp", host: "mail.example.com", port: 587 },
 *     dialect: "smtp",
 *     security: "tls"
 *   })
 *   return announced?.capabilities.has("SMTPUTF8")
 * })
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class CapabilityCache extends Context.Tag("effect-smtplib/CapabilityCache")<
  CapabilityCache,
  Service
>() {}

/**
 * None of it fails: a store that cannot be reached is one that remembers nothing. So is one, for a session, that dies or
 * does not answer within 2 seconds; a Warning is logged when that begins.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** What was announced last, or `undefined` when nothing is remembered. */
  readonly get: (key: Key) => Effect.Effect<Announced | undefined>
  /** Remembers the lines of a positive reply to EHLO or LHLO, without code and separator. */
  readonly put: (key: Key, lines: ReadonlyArray<string>) => Effect.Effect<void>
  /** Remembers that the endpoint has completed STARTTLS: to be called after the handshake, never after the offer. */
  readonly pin: (endpoint: Endpoint) => Effect.Effect<void>
  /** Whether the endpoint has completed STARTTLS before. */
  readonly pinned: (endpoint: Endpoint) => Effect.Effect<boolean>
  /** Remembers that the endpoint has ended a session because of too many commands. */
  readonly restrain: (endpoint: Endpoint) => Effect.Effect<void>
  /** Whether it has: sessions with `pipelining: "overlap"` or `chunking: "eager"` then spare it their RSET. */
  readonly restrained: (endpoint: Endpoint) => Effect.Effect<boolean>
}

/**
 * Servers announce different things before and after TLS, and to EHLO and LHLO.
 *
 * @since 0.1.0
 * @category models
 */
export interface Key {
  /** Local address and port do not count, nor does the letter case of the host. */
  readonly endpoint: Endpoint
  readonly dialect: "smtp" | "lmtp"
  readonly security: "clear" | "tls"
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Announced {
  readonly capabilities: Capabilities
  /** When it was announced, by Effect's Clock, in milliseconds since 1970. */
  readonly at: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions {
  /**
   * How many endpoints' announcements, and restraints with them, are kept; the one used longest ago goes first.
   * Default 1,000.
   */
  readonly capacity?: number | undefined
  /** How long an announcement is kept. Default 1 hour. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /** How many pins are kept, apart from announcements; the one used longest ago goes first. Default 10,000. */
  readonly pinCapacity?: number | undefined
  /** How long a pin is kept after the last completed STARTTLS. Default 30 days. */
  readonly pinTimeToLive?: Duration.DurationInput | undefined
}

interface Remembered {
  readonly lines: ReadonlyArray<string>
  readonly at: number
}

/**
 * A memory of its own, as long as the service lives.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory = (options?: MemoryOptions): Effect.Effect<Service> =>
  Effect.sync(() => {
    const timeToLive = Duration.toMillis(options?.timeToLive ?? "1 hour")
    const pinTimeToLive = Duration.toMillis(options?.pinTimeToLive ?? "30 days")
    const announcements = BoundedMap.make<string, Remembered>(options?.capacity ?? 1000)
    const pins = BoundedMap.make<string, number>(options?.pinCapacity ?? 10_000)
    return withOwnLimit({
      get: (key) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const name = announcementKey(key)
          const remembered = announcements.get(name)
          if (remembered === undefined) return undefined
          if (now - remembered.at < timeToLive) {
            return { capabilities: fromLines(remembered.lines), at: remembered.at }
          }
          announcements.remove(name)
          return undefined
        }),
      put: (key, lines) =>
        Effect.map(Clock.currentTimeMillis, (now) =>
          announcements.set(announcementKey(key), { lines: [...lines], at: now })
        ),
      pin: (endpoint) => Effect.map(Clock.currentTimeMillis, (now) => pins.set(endpointKey(endpoint), now)),
      pinned: (endpoint) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const at = pins.get(endpointKey(endpoint))
          return at !== undefined && now - at < pinTimeToLive
        }),
      restrain: (endpoint) =>
        Effect.map(Clock.currentTimeMillis, (now) =>
          announcements.set(restraintKey(endpoint), { lines: [], at: now })
        ),
      restrained: (endpoint) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const remembered = announcements.get(restraintKey(endpoint))
          return remembered !== undefined && now - remembered.at < timeToLive
        })
    })
  })

/**
 * Remembers in memory, within bounds that the program chooses.
 *
 * @example
 * ```ts
 * import { CapabilityCache } from "effect-smtplib"
 *
 * const layer = CapabilityCache.layerMemoryWith({ capacity: 100, timeToLive: "10 minutes" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemoryWith = (options: MemoryOptions): Layer.Layer<CapabilityCache> =>
  Layer.effect(CapabilityCache, makeMemory(options))

/**
 * Remembers in memory: the announcements of 1,000 endpoints for an hour, and 10,000 pins for 30 days.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<CapabilityCache> = layerMemoryWith({})

/**
 * Remembers nothing. An opportunistic session then cannot notice that an endpoint's offer of STARTTLS has vanished.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNone: Layer.Layer<CapabilityCache> = Layer.succeed(
  CapabilityCache,
  withOwnLimit({
    get: () => Effect.succeed(undefined),
    put: () => Effect.void,
    pin: () => Effect.void,
    pinned: () => Effect.succeed(false),
    restrain: () => Effect.void,
    restrained: () => Effect.succeed(false)
  })
)
