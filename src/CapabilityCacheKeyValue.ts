/**
 * A CapabilityCache over @effect/platform's KeyValueStore: it survives restarts, and processes can share it. A session in
 * any of them then notices when an endpoint no longer offers STARTTLS (RFC 3207 section 6).
 *
 * @since 0.1.0
 */
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { MemoryOptions, Service } from "./CapabilityCache.js"
import { CapabilityCache } from "./CapabilityCache.js"
import type { Entry, Table } from "./internal/cache/capabilityTables.js"
import { makeService } from "./internal/cache/capabilityTables.js"
import * as Slots from "./internal/cache/slots.js"
import { makeBestEffort } from "./internal/effect/bestEffort.js"

/**
 * The bounds of the cache, and where it stands in the store. Processes that share a store must use the same `prefix` and
 * capacities: they do not find entries that were written with others. A capacity of 0 keeps nothing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends MemoryOptions {
  /** What every key in the store begins with. Default `"effect-smtplib/"`. */
  readonly prefix?: string | undefined
  /** How long the store may take for one read or write, before a session goes on without. Default 2 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

const Announcement = Schema.Struct({
  name: Schema.String,
  at: Schema.Finite,
  lines: Schema.Array(Schema.String)
})

const Pin = Schema.Struct({ name: Schema.String, at: Schema.Finite })

const warning =
  "The store of the capability cache does not work. Until it does, nothing is remembered, and sessions do not notice when an endpoint no longer offers STARTTLS."

/**
 * Makes a cache in the `KeyValueStore`.
 *
 * - An entry is one value of the store: a JSON text that is read and written whole, and found by its full endpoint. A value
 *   that cannot be read counts as absent.
 * - There are no locks. Of two writes to the same place the later one stays, so that an endpoint may be forgotten until its
 *   next session. A value that is half written counts as absent.
 * - The store holds at most both capacities and one value more. An entry has four places; if all are taken, the oldest of
 *   those entries is evicted, which begins before the capacity is reached.
 * - Times are those of Effect's Clock. If the clocks of two machines differ, entries expire earlier or later by as much.
 *
 * Neither this effect nor the methods fail. A store that fails, dies, or exceeds `timeout` remembers nothing, and one warning
 * is logged when that begins. Anyone who can write to the store can make the cache forget, or claim that an endpoint has
 * completed STARTTLS, which keeps sessions from using it without.
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
  Effect.map(KeyValueStore.KeyValueStore, (store) => {
    const prefix = options.prefix ?? "effect-smtplib/"
    const bestEffort = makeBestEffort(options.timeout ?? "2 seconds", warning)
    const makeTable = <A extends Entry, I>(
      schema: Schema.Schema<A, I>,
      name: string,
      capacity: number,
      timeToLive: Duration.DurationInput
    ): Table<A> => {
      const slots = Slots.make(store, schema, {
        saltKey: `${prefix}salt`,
        prefix: `${prefix}${name}/`,
        capacity,
        timeToLive: Duration.toMillis(timeToLive)
      })
      return {
        get: (key) => bestEffort(slots.get(key), undefined),
        set: (entry) => bestEffort(slots.set(entry), undefined)
      }
    }
    return makeService(
      makeTable(Announcement, "announced", options.capacity ?? 1000, options.timeToLive ?? "1 hour"),
      makeTable(Pin, "pinned", options.pinCapacity ?? 10_000, options.pinTimeToLive ?? "30 days")
    )
  })

/**
 * A cache in the `KeyValueStore`, as by `make`.
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
