/**
 * A bounded table in a KeyValueStore. A store cannot be listed, and several processes may write to it at once, so there is
 * no index. An entry lives in one of four slots that follow from its name, and replaces the oldest of the entries there if
 * all four are taken. The names are hashed with a salt that the store keeps: otherwise anybody could choose names that evict
 * a certain entry.
 */
import type { PlatformError } from "@effect/platform/Error"
import type { KeyValueStore } from "@effect/platform/KeyValueStore"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ParseError } from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { nodeCrypto } from "../session/saslCrypto.js"
import type { Entry } from "./capabilityTables.js"

export interface Slots<A extends Entry> {
  /** The entry of this name, unless it has expired. */
  readonly get: (name: string) => Effect.Effect<A | undefined, PlatformError>
  readonly set: (entry: A) => Effect.Effect<void, PlatformError | ParseError>
}

export interface SlotsOptions {
  /** Where the salt is kept; tables may share one. */
  readonly saltKey: string
  /** What the keys of this table's slots begin with. */
  readonly prefix: string
  /** The number of slots. */
  readonly capacity: number
  /** How long an entry counts, in milliseconds. */
  readonly timeToLive: number
}

/** In how many slots an entry may live: enough that the table fills up well before entries are evicted. */
const choices = 4

export const make = <A extends Entry, I>(
  store: KeyValueStore,
  schema: Schema.Schema<A, I>,
  { capacity, prefix, saltKey, timeToLive }: SlotsOptions
): Slots<A> => {
  const json = Schema.parseJson(schema)
  const decode = Schema.decodeOption(json)
  const encode = Schema.encode(json)
  const count = Math.floor(capacity)
  const utf8 = new TextEncoder()

  const readSalt = Effect.map(
    Effect.suspend(() => store.get(saltKey)),
    (found) => Option.getOrUndefined(Option.filter(found, (salt) => /^[A-Za-z0-9+/]{32}$/.test(salt)))
  )

  const readOrMakeSalt = Effect.flatMap(readSalt, (salt) =>
    salt === undefined
      ? Effect.tap(nodeCrypto.nonce, (made) => store.set(saltKey, made))
      : Effect.succeed(salt)
  )

  const slotsOf = (salt: string, name: string): Effect.Effect<ReadonlyArray<string>> =>
    Effect.map(
      nodeCrypto.compute({
        _tag: "Hmac",
        algorithm: "SHA-256",
        key: utf8.encode(salt),
        data: utf8.encode(name)
      }),
      (hash) => {
        const words = new DataView(hash.buffer, hash.byteOffset)
        const numbers = Array.from({ length: choices }, (_, index) => words.getUint32(4 * index) % count)
        return [...new Set(numbers)].map((number) => `${prefix}${number}`)
      }
    )

  // A slot whose value cannot be read is free.
  const read = (slot: string) =>
    Effect.map(store.get(slot), (found) => ({
      slot,
      entry: Option.getOrUndefined(Option.flatMap(found, (text) => decode(text)))
    }))

  const readAll = (salt: string, name: string) =>
    Effect.flatMap(slotsOf(salt, name), Effect.forEach(read, { concurrency: "unbounded" }))

  // An entry of the future, from a clock that was wrong, must not live forever.
  const isFresh = (now: number, entry: Entry): boolean => Math.abs(now - entry.at) < timeToLive

  const get: Slots<A>["get"] = (name) =>
    Effect.gen(function* () {
      const salt = yield* readSalt
      if (salt === undefined) return undefined
      const now = yield* Clock.currentTimeMillis
      let latest: A | undefined
      for (const { entry } of yield* readAll(salt, name)) {
        if (entry?.name !== name || !isFresh(now, entry)) continue
        if (latest === undefined || entry.at > latest.at) latest = entry
      }
      return latest
    })

  const set: Slots<A>["set"] = (entry) =>
    Effect.gen(function* () {
      const value = yield* encode(entry)
      const salt = yield* readOrMakeSalt
      const now = yield* Clock.currentTimeMillis
      const found = yield* readAll(salt, entry.name)
      const chosen =
        found.find((candidate) => candidate.entry?.name === entry.name) ??
        found.find((candidate) => candidate.entry === undefined || !isFresh(now, candidate.entry)) ??
        found.reduce((one, other) => ((other.entry?.at ?? 0) < (one.entry?.at ?? 0) ? other : one))
      yield* store.set(chosen.slot, value)
    })

  return count >= 1 ? { get, set } : { get: () => Effect.succeed(undefined), set: () => Effect.void }
}
