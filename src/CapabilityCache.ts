/**
 * Remembers across sessions what endpoints announced in reply to EHLO or LHLO, so that a program can ask without a
 * connection; which endpoints have completed STARTTLS, so that a session notices when the offer vanishes (RFC 3207
 * section 6); which have authenticated by SCRAM bound to the TLS channel; and which have hung up because of too many
 * commands, or lose pipelined ones. A session never uses remembered announcements.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BoundedMap from "./internal/cache/boundedMap.js"
import type { Announcement, Entry, Table } from "./internal/cache/capabilityTables.js"
import { makeService } from "./internal/cache/capabilityTables.js"
import { withOwnLimit } from "./internal/effect/bestEffort.js"
import type { Capabilities } from "./protocol/Capabilities.js"
import type { Endpoint } from "./SmtpSocket.js"

/**
 * The service that sessions tell, and that you can ask. `NodeSmtp.layer` and `layerMemory` provide it.
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
 * The methods never fail: a store that cannot be reached remembers nothing. A session treats a cache that dies, or does not
 * answer within 2 seconds, in the same way, and logs one warning when that begins.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** The latest announcement, or `undefined` if none is remembered. */
  readonly get: (key: Key) => Effect.Effect<Announced | undefined>
  /** Remembers the lines of a positive reply to EHLO or LHLO, without code and separator. */
  readonly put: (key: Key, lines: ReadonlyArray<string>) => Effect.Effect<void>
  /** Remembers that the endpoint has completed STARTTLS. Call it after the handshake, never after the offer. */
  readonly pin: (endpoint: Endpoint) => Effect.Effect<void>
  /** Whether the endpoint has completed STARTTLS before. */
  readonly pinned: (endpoint: Endpoint) => Effect.Effect<boolean>
  /** Remembers that SCRAM bound to the TLS channel (a -PLUS mechanism) has authenticated at the endpoint. */
  readonly bind: (endpoint: Endpoint) => Effect.Effect<void>
  /** Whether it has: sessions then show the endpoint no password by PLAIN or LOGIN in place of -PLUS. */
  readonly bound: (endpoint: Endpoint) => Effect.Effect<boolean>
  /** Remembers that the endpoint announces PIPELINING and loses commands behind the first one of a group. */
  readonly loseInput: (endpoint: Endpoint) => Effect.Effect<void>
  /** Whether it does. */
  readonly losesInput: (endpoint: Endpoint) => Effect.Effect<boolean>
  /** Remembers that the endpoint has ended a session because of too many commands. */
  readonly restrain: (endpoint: Endpoint) => Effect.Effect<void>
  /** Whether it has: sessions with `pipelining: "overlap"` or `chunking: "eager"` then send fewer RSET. */
  readonly restrained: (endpoint: Endpoint) => Effect.Effect<boolean>
}

/**
 * What an announcement is remembered for: servers announce different things before and after TLS, and to EHLO and LHLO.
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
 * The bounds of a cache. The least recently used entry is evicted first.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions {
  /**
   * The number of announcements, including the endpoints that hang up on too many commands or lose pipelined ones.
   * Default 1,000.
   */
  readonly capacity?: number | undefined
  /** How long an announcement is kept. Default 1 hour. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /** The number of endpoints that have completed STARTTLS, or have authenticated by SCRAM-PLUS. Default 10,000. */
  readonly pinCapacity?: number | undefined
  /** How long one is kept after the last completed STARTTLS, or the last SCRAM-PLUS. Default 30 days. */
  readonly pinTimeToLive?: Duration.DurationInput | undefined
}

const makeTable = <A extends Entry>(capacity: number, timeToLive: Duration.DurationInput): Table<A> => {
  const entries = BoundedMap.make<string, A>(capacity)
  const limit = Duration.toMillis(timeToLive)
  return {
    get: (name) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const entry = entries.get(name)
        if (entry === undefined || now - entry.at < limit) return entry
        entries.remove(name)
        return undefined
      }),
    set: (entry) => Effect.sync(() => entries.set(entry.name, entry))
  }
}

/**
 * Makes a cache in memory, which lives as long as the service.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory = ({
  capacity = 1000,
  pinCapacity = 10_000,
  pinTimeToLive = "30 days",
  timeToLive = "1 hour"
}: MemoryOptions = {}): Effect.Effect<Service> =>
  Effect.sync(() =>
    makeService(makeTable<Announcement>(capacity, timeToLive), makeTable(pinCapacity, pinTimeToLive))
  )

/**
 * A cache in memory, within bounds of your choice.
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
 * A cache in memory with the defaults of `MemoryOptions`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<CapabilityCache> = layerMemoryWith({})

/**
 * Remembers nothing. Sessions then cannot notice that an endpoint no longer offers STARTTLS.
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
    bind: () => Effect.void,
    bound: () => Effect.succeed(false),
    loseInput: () => Effect.void,
    losesInput: () => Effect.succeed(false),
    restrain: () => Effect.void,
    restrained: () => Effect.succeed(false)
  })
)
