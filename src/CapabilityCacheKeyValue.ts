/**
 * A CapabilityCache over @effect/platform's KeyValueStore: what endpoints announced, and which of them have
 * completed STARTTLS, is remembered across restarts and shared by the processes that share the store. An
 * opportunistic session then notices in any of them that an offer has vanished (RFC 3207 section 6).
 *
 * @since 0.1.0
 */
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Service } from "./CapabilityCache.js"
import { CapabilityCache } from "./CapabilityCache.js"
import { announcementKey, endpointKey, restraintKey } from "./internal/cache/capabilityKey.js"
import * as Forgiving from "./internal/effect/bestEffort.js"
import { withOwnLimit } from "./internal/effect/ownLimit.js"
import * as Slots from "./internal/cache/slots.js"
import { fromLines } from "./protocol/Capabilities.js"

/**
 * Processes that share a store have to agree on `prefix` and both capacities: what one writes under others, the
 * rest do not find.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** What every key in the store begins with. Default `"effect-smtplib/"`. */
  readonly prefix?: string | undefined
  /** How many announcements the store holds at most. Default 1,000; 0 keeps none. */
  readonly capacity?: number | undefined
  /** How long an announcement is kept. Default 1 hour. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /** How many pins the store holds at most, apart from announcements. Default 10,000; 0 keeps none. */
  readonly pinCapacity?: number | undefined
  /** How long a pin is kept after the last completed STARTTLS. Default 30 days. */
  readonly pinTimeToLive?: Duration.DurationInput | undefined
  /** How long the store may take for one question or one change, before a session goes on without. Default 2 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

const Announcement = Schema.Struct({
  name: Schema.String,
  at: Schema.Finite,
  lines: Schema.Array(Schema.String)
})

const Pin = Schema.Struct({ name: Schema.String, at: Schema.Finite })

const warning =
  "The store of the capability cache does not work: nothing is remembered, and a vanished offer of STARTTLS goes unnoticed, until it does"

/**
 * Remembers in the KeyValueStore of the surroundings.
 *
 * - An entry is one value of the store, a JSON text that is read and written whole. It is found by its full
 *   endpoint: nothing is ever given for another one. What cannot be read as an entry counts as absent and is
 *   replaced by the next one in its place.
 * - No lock is taken and none is needed: of two writes to the same place the later one stays. Two processes that
 *   remember the same endpoint both tell the truth; of two endpoints that meet in one place at the same moment, or
 *   that are the very first in the store, one may be forgotten until its next session. A store whose `set` is not
 *   atomic may show half of a value for that moment, which counts as absent.
 * - The store never holds more than both capacities and one value besides. An entry has four places; with all of
 *   them taken the one written longest ago goes, which begins to happen before the capacity is reached.
 * - Times are those of Effect's Clock: processes on machines whose clocks differ forget sooner or later by as much.
 *
 * It never fails, nor do its methods. A store that fails, dies or does not answer in time is one that remembers
 * nothing, and a Warning is logged when that begins. Who can write to the store can make it forget, or claim a pin
 * that keeps opportunistic sessions from an endpoint without STARTTLS; announcements are never fed to sessions.
 *
 * @example
 * ```ts
 * import * as KeyValueStore from "@effect/platform/KeyValueStore"
 * import * as Effect from "effect/Effect"
 * import * as CapabilityCacheKeyValue from "effect-smtplib/CapabilityCacheKeyValue"
 *
 * const pinned = Effect.gen(function* () {
 *   const cache = yield* CapabilityCacheKeyValue.make({ prefix: "mail/" })
 *   return yield* cache.pinned({ _tag: "Tcp", host: "mail.example.com", port: 587 })
 * }).pipe(Effect.provide(KeyValueStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service, never, KeyValueStore.KeyValueStore> =>
  Effect.gen(function* () {
    const store = yield* KeyValueStore.KeyValueStore
    const forgiving = Forgiving.make(options.timeout ?? "2 seconds", warning)
    const prefix = options.prefix ?? "effect-smtplib/"
    const announcements = Slots.make(store, Announcement, {
      saltKey: `${prefix}salt`,
      prefix: `${prefix}announced/`,
      capacity: options.capacity ?? 1000,
      timeToLive: Duration.toMillis(options.timeToLive ?? "1 hour")
    })
    const pins = Slots.make(store, Pin, {
      saltKey: `${prefix}salt`,
      prefix: `${prefix}pinned/`,
      capacity: options.pinCapacity ?? 10_000,
      timeToLive: Duration.toMillis(options.pinTimeToLive ?? "30 days")
    })
    return withOwnLimit({
      get: (key) =>
        Effect.map(forgiving(announcements.get(announcementKey(key)), undefined), (found) =>
          found === undefined ? undefined : { capabilities: fromLines(found.lines), at: found.at }
        ),
      put: (key, lines) =>
        Effect.flatMap(Clock.currentTimeMillis, (at) =>
          forgiving(announcements.set({ name: announcementKey(key), at, lines }), undefined)
        ),
      pin: (endpoint) =>
        Effect.flatMap(Clock.currentTimeMillis, (at) =>
          forgiving(pins.set({ name: endpointKey(endpoint), at }), undefined)
        ),
      pinned: (endpoint) =>
        forgiving(
          Effect.map(pins.get(endpointKey(endpoint)), (found) => found !== undefined),
          false
        ),
      restrain: (endpoint) =>
        Effect.flatMap(Clock.currentTimeMillis, (at) =>
          forgiving(announcements.set({ name: restraintKey(endpoint), at, lines: [] }), undefined)
        ),
      restrained: (endpoint) =>
        forgiving(
          Effect.map(announcements.get(restraintKey(endpoint)), (found) => found !== undefined),
          false
        )
    })
  })

/**
 * The capability cache over the KeyValueStore of the surroundings; see `make`.
 *
 * @example
 * ```ts
 * import * as NodeKeyValueStore from "@effect/platform-node/NodeKeyValueStore"
 * import * as Layer from "effect/Layer"
 * import { NodeSmtp } from "effect-smtplib"
 * import * as CapabilityCacheKeyValue from "effect-smtplib/CapabilityCacheKeyValue"
 *
 * const cache = CapabilityCacheKeyValue.layer().pipe(
 *   Layer.provide(NodeKeyValueStore.layerFileSystem("/var/lib/app/smtp"))
 * )
 * const layer = Layer.merge(NodeSmtp.layerTransport, cache)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<CapabilityCache, never, KeyValueStore.KeyValueStore> =>
  Layer.effect(CapabilityCache, make(options))
