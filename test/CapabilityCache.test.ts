import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import type { Key } from "../src/CapabilityCache.js"
import { CapabilityCache, layerMemory, layerMemoryWith, layerNone } from "../src/CapabilityCache.js"
import type { Endpoint } from "../src/SmtpSocket.js"

const endpoint: Endpoint = { _tag: "Tcp", host: "mail.example.com", port: 587 }
const key: Key = { endpoint, dialect: "smtp", security: "tls" }
const lines = ["mail.example.com", "SIZE 1000", "SMTPUTF8"]

const at = (host: string): Endpoint => ({ _tag: "Tcp", host, port: 25 })

describe("CapabilityCache.layerMemory", () => {
  it.effect("gives what was announced last, read, with its time", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* TestClock.setTime(5000)
      yield* cache.put(key, ["old.example.com"])
      yield* cache.put(key, lines)
      const announced = yield* cache.get(key)
      expect(announced?.capabilities.rawLines).toEqual(lines)
      expect(announced?.capabilities.has("smtputf8")).toBe(true)
      expect(announced?.capabilities.size).toBe(1000)
      expect(announced?.at).toBe(5000)
    }).pipe(Effect.provide(layerMemory))
  )

  it.effect("knows nothing of other endpoints, dialects and security states", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* cache.put(key, lines)
      expect(yield* cache.get({ ...key, security: "clear" })).toBeUndefined()
      expect(yield* cache.get({ ...key, dialect: "lmtp" })).toBeUndefined()
      expect(yield* cache.get({ ...key, endpoint: { ...endpoint, port: 25 } })).toBeUndefined()
      expect(
        yield* cache.get({ ...key, endpoint: { _tag: "Unix", path: "mail.example.com:587" } })
      ).toBeUndefined()
    }).pipe(Effect.provide(layerMemory))
  )

  it.effect(
    "takes hosts in any letter case, with or without the dot at the end, from any local address",
    () =>
      Effect.gen(function* () {
        const cache = yield* CapabilityCache
        yield* cache.put(key, lines)
        yield* cache.pin(endpoint)
        const same: Endpoint = { _tag: "Tcp", host: "Mail.Example.COM.", port: 587, localAddress: "10.0.0.1" }
        expect((yield* cache.get({ ...key, endpoint: same }))?.capabilities.rawLines).toEqual(lines)
        expect(yield* cache.pinned(same)).toBe(true)
      }).pipe(Effect.provide(layerMemory))
  )

  it.effect("keeps the path of a UNIX socket apart from others", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* cache.put({ ...key, endpoint: { _tag: "Unix", path: "/run/lmtp" } }, lines)
      expect(yield* cache.get({ ...key, endpoint: { _tag: "Unix", path: "/run/lmtp" } })).toBeDefined()
      expect(yield* cache.get({ ...key, endpoint: { _tag: "Unix", path: "/run/LMTP" } })).toBeUndefined()
    }).pipe(Effect.provide(layerMemory))
  )

  it.effect("forgets an announcement after an hour", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* cache.put(key, lines)
      yield* TestClock.adjust("59 minutes")
      expect(yield* cache.get(key)).toBeDefined()
      yield* TestClock.adjust("1 minute")
      expect(yield* cache.get(key)).toBeUndefined()
    }).pipe(Effect.provide(layerMemory))
  )

  it.effect("forgets the announcement used longest ago when it is full", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      const keyOf = (host: string): Key => ({ ...key, endpoint: at(host) })
      yield* cache.put(keyOf("a"), lines)
      yield* cache.put(keyOf("b"), lines)
      yield* cache.get(keyOf("a"))
      yield* cache.put(keyOf("c"), lines)
      expect(yield* cache.get(keyOf("b"))).toBeUndefined()
      expect(yield* cache.get(keyOf("a"))).toBeDefined()
      expect(yield* cache.get(keyOf("c"))).toBeDefined()
    }).pipe(Effect.provide(layerMemoryWith({ capacity: 2 })))
  )

  it.effect("copies the lines it is given", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      const mine = [...lines]
      yield* cache.put(key, mine)
      mine.length = 0
      expect((yield* cache.get(key))?.capabilities.rawLines).toEqual(lines)
    }).pipe(Effect.provide(layerMemory))
  )

  it.effect("pins an endpoint only when told to, for 30 days from the last time", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* cache.put(key, ["mail.example.com", "STARTTLS"])
      expect(yield* cache.pinned(endpoint)).toBe(false)
      yield* cache.pin(endpoint)
      yield* TestClock.adjust("29 days")
      expect(yield* cache.pinned(endpoint)).toBe(true)
      yield* cache.pin(endpoint)
      yield* TestClock.adjust("29 days")
      expect(yield* cache.pinned(endpoint)).toBe(true)
      yield* TestClock.adjust("1 day")
      expect(yield* cache.pinned(endpoint)).toBe(false)
    }).pipe(Effect.provide(layerMemory))
  )

  it.effect("keeps a pin whose endpoint's announcements were forgotten (RFC 3207 section 6)", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* cache.put(key, lines)
      yield* cache.pin(endpoint)
      yield* cache.put({ ...key, endpoint: at("other") }, lines)
      expect(yield* cache.get(key)).toBeUndefined()
      expect(yield* cache.pinned(endpoint)).toBe(true)
    }).pipe(Effect.provide(layerMemoryWith({ capacity: 1 })))
  )

  it.effect("bounds the pins too", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* cache.pin(at("a"))
      yield* cache.pin(at("b"))
      yield* cache.pin(at("c"))
      expect(yield* Effect.forEach(["a", "b", "c"], (host) => cache.pinned(at(host)))).toEqual([
        false,
        true,
        true
      ])
    }).pipe(Effect.provide(layerMemoryWith({ pinCapacity: 2, pinTimeToLive: "1 minute" })))
  )
})

describe("CapabilityCache.layerNone", () => {
  it.effect("remembers nothing", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* cache.put(key, lines)
      yield* cache.pin(endpoint)
      expect(yield* cache.get(key)).toBeUndefined()
      expect(yield* cache.pinned(endpoint)).toBe(false)
    }).pipe(Effect.provide(layerNone))
  )
})
