import { SystemError } from "@effect/platform/Error"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type { Key, Service } from "../src/CapabilityCache.js"
import { CapabilityCache } from "../src/CapabilityCache.js"
import * as CapabilityCacheKeyValue from "../src/CapabilityCacheKeyValue.js"
import { announcementKey, endpointKey } from "../src/internal/cache/capabilityTables.js"
import * as SmtpSession from "../src/SmtpSession.js"
import type { Endpoint } from "../src/SmtpSocket.js"
import * as SmtpTest from "../src/SmtpTest.js"
import * as OneSession from "./SmtpSession/oneSession.js"
import { collectLogs } from "./support/logs.js"
import { ask, ehlo, goodbye, greeting } from "./SmtpSession/oneSession.js"
import { runsOf } from "./support/runs.js"

const endpoint: Endpoint = { _tag: "Tcp", host: "mail.example.com", port: 587 }
const key: Key = { endpoint, dialect: "smtp", security: "tls" }
const lines = ["mail.example.com", "SIZE 1000", "SMTPUTF8"]

const at = (host: string): Endpoint => ({ _tag: "Tcp", host, port: 25 })
const keyOf = (host: string): Key => ({ ...key, endpoint: at(host) })
const hosts = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, index) => `mx${index}.test`)

/** A store in memory whose keys and values a test can see and change. */
const openStore = () => {
  const values = new Map<string, string>()
  const store = KeyValueStore.makeStringOnly({
    get: (name) => Effect.sync(() => Option.fromNullable(values.get(name))),
    set: (name, value) => Effect.sync(() => void values.set(name, value)),
    remove: (name) => Effect.sync(() => void values.delete(name)),
    clear: Effect.sync(() => values.clear()),
    size: Effect.sync(() => values.size)
  })
  const damage = (to: string, which = ""): void => {
    for (const name of values.keys()) if (name.includes(which)) values.set(name, to)
  }
  return { values, store, damage }
}

/** A cache over the store, as a process that has just started makes it. */
const started = (
  store: KeyValueStore.KeyValueStore,
  options?: CapabilityCacheKeyValue.Options
): Effect.Effect<Service> =>
  Effect.provideService(CapabilityCacheKeyValue.make(options), KeyValueStore.KeyValueStore, store)

const rawLines = (cache: Service, of: Key = key) =>
  Effect.map(cache.get(of), (announced) => announced?.capabilities.rawLines)

const rememberedHosts = (cache: Service, names: ReadonlyArray<string>) =>
  Effect.filter(names, (host) => Effect.map(cache.get(keyOf(host)), (announced) => announced !== undefined))

const pinnedHosts = (cache: Service, names: ReadonlyArray<string>) =>
  Effect.filter(names, (host) => cache.pinned(at(host)))

describe("CapabilityCacheKeyValue", () => {
  it.effect("gives what was announced last, read, with its time", () =>
    Effect.gen(function* () {
      const cache = yield* CapabilityCache
      yield* TestClock.setTime(5000)
      yield* cache.put(key, ["old.example.com"])
      yield* cache.put(key, lines)
      const announced = yield* cache.get(key)
      expect(announced?.capabilities.rawLines).toEqual(lines)
      expect(announced?.capabilities.size).toBe(1000)
      expect(announced?.at).toBe(5000)
    }).pipe(Effect.provide(CapabilityCacheKeyValue.layer().pipe(Layer.provide(KeyValueStore.layerMemory))))
  )

  it.effect("knows nothing of other endpoints, dialects and security states", () =>
    Effect.gen(function* () {
      const cache = yield* started(openStore().store)
      yield* cache.put(key, lines)
      yield* cache.pin(endpoint)
      const others: ReadonlyArray<Endpoint> = [
        { ...endpoint, port: 25 },
        at("other.example.com"),
        { _tag: "Unix", path: "mail.example.com:587" }
      ]
      expect(yield* rawLines(cache, { ...key, security: "clear" })).toBeUndefined()
      expect(yield* rawLines(cache, { ...key, dialect: "lmtp" })).toBeUndefined()
      for (const other of others) {
        expect(yield* rawLines(cache, { ...key, endpoint: other })).toBeUndefined()
        expect(yield* cache.pinned(other)).toBe(false)
      }
      expect(yield* rawLines(cache)).toEqual(lines)
    })
  )

  it.effect("pins an endpoint only when told to, not when STARTTLS is announced", () =>
    Effect.gen(function* () {
      const cache = yield* started(openStore().store)
      yield* cache.put({ ...key, security: "clear" }, ["mail.example.com", "STARTTLS"])
      expect(yield* cache.pinned(endpoint)).toBe(false)
      yield* cache.pin(endpoint)
      expect(yield* cache.pinned(endpoint)).toBe(true)
    })
  )

  it.effect("forgets an announcement after an hour and a pin 30 days after the last handshake", () =>
    Effect.gen(function* () {
      const cache = yield* started(openStore().store)
      yield* cache.put(key, lines)
      yield* cache.pin(endpoint)
      yield* TestClock.adjust("59 minutes")
      expect(yield* rawLines(cache)).toEqual(lines)
      yield* TestClock.adjust("1 minute")
      expect([yield* rawLines(cache), yield* cache.pinned(endpoint)]).toEqual([undefined, true])
      yield* cache.pin(endpoint)
      yield* TestClock.adjust("719 hours")
      expect(yield* cache.pinned(endpoint)).toBe(true)
      yield* TestClock.adjust("1 hour")
      expect(yield* cache.pinned(endpoint)).toBe(false)
    })
  )

  it.effect(
    "remembers channel binding across restarts, apart from STARTTLS, and beside records of before",
    () =>
      Effect.gen(function* () {
        const { store } = openStore()
        yield* Effect.flatMap(started(store), (cache) => cache.pin(endpoint))
        const cache = yield* started(store)
        expect([yield* cache.pinned(endpoint), yield* cache.bound(endpoint)]).toEqual([true, false])
        yield* cache.bind(endpoint)
        yield* TestClock.adjust("29 days")
        const later = yield* started(store)
        expect([yield* later.pinned(endpoint), yield* later.bound(endpoint)]).toEqual([true, true])
        expect(yield* later.bound({ ...endpoint, port: 25 })).toBe(false)
        yield* TestClock.adjust("1 day")
        expect(yield* later.bound(endpoint)).toBe(false)
      })
  )

  it.effect("remembers for an hour that an endpoint loses pipelined input", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      yield* Effect.flatMap(started(store), (cache) => cache.loseInput(endpoint))
      const cache = yield* started(store)
      expect([yield* cache.losesInput(endpoint), yield* cache.restrained(endpoint)]).toEqual([true, false])
      yield* TestClock.adjust("1 hour")
      expect(yield* cache.losesInput(endpoint)).toBe(false)
    })
  )

  it.effect("forgets what a clock that was far ahead has written", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      yield* TestClock.setTime(Date.UTC(2090, 0))
      yield* Effect.flatMap(started(store), (cache) => cache.pin(endpoint))
      yield* TestClock.setTime(Date.UTC(2030, 0))
      const cache = yield* started(store)
      expect(yield* cache.pinned(endpoint)).toBe(false)
      yield* cache.pin(endpoint)
      expect(yield* cache.pinned(endpoint)).toBe(true)
    })
  )

  it.effect("writes no host and no path into the keys of the store, which begin with the prefix", () =>
    Effect.gen(function* () {
      const { store, values } = openStore()
      const cache = yield* started(store, { prefix: "mail." })
      yield* cache.put({ ...key, endpoint: { _tag: "Unix", path: "/run/../a b\n" } }, lines)
      yield* cache.pin(at("MX.test/\0:%2F"))
      expect(
        [...values.keys()].filter((name) => !/^mail\.(salt|(announced|pinned)\/\d+)$/.test(name))
      ).toEqual([])
      expect(values.size).toBe(3)
    })
  )

  it.effect("shares nothing with a cache of another prefix in the same store", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const one = yield* started(store, { prefix: "one/" })
      const other = yield* started(store, { prefix: "other/" })
      yield* one.pin(endpoint)
      expect([yield* one.pinned(endpoint), yield* other.pinned(endpoint)]).toEqual([true, false])
    })
  )
})

describe("the names of entries", () => {
  const endpoints: FastCheck.Arbitrary<Endpoint> = FastCheck.oneof(
    FastCheck.record({
      _tag: FastCheck.constant("Unix" as const),
      path: FastCheck.string({ unit: "binary" })
    }),
    FastCheck.record({
      _tag: FastCheck.constant("Tcp" as const),
      host: FastCheck.oneof(
        FastCheck.string({ unit: "binary" }),
        FastCheck.string({ unit: FastCheck.constantFrom("a", "1", ":", "[", "]", " ", "/", "%") })
      ),
      port: FastCheck.constantFrom(1, 11, 25, 125)
    })
  )

  it("differ for different endpoints, whatever characters are in host or path", () => {
    const plain = (of: Endpoint): string =>
      of._tag === "Unix"
        ? JSON.stringify([of.path])
        : JSON.stringify([of.host.toLowerCase().replace(/\.$/, ""), of.port])
    FastCheck.assert(
      FastCheck.property(endpoints, endpoints, (left, right) => {
        expect(endpointKey(left) === endpointKey(right)).toBe(plain(left) === plain(right))
      }),
      { numRuns: runsOf(2000) }
    )
  })

  it.each<readonly [Endpoint, Endpoint]>([
    [at("a:1"), { _tag: "Tcp", host: "a", port: 1 }],
    [at("[::1]"), at("::1")],
    [{ _tag: "Unix", path: "a:25" }, at("a")],
    [
      { _tag: "Unix", path: "/run/lmtp" },
      { _tag: "Unix", path: "/run/LMTP" }
    ]
  ])("tell %o from %o", (left, right) => {
    expect(endpointKey(left)).not.toBe(endpointKey(right))
  })

  it("differ by dialect and security", () => {
    const names = (["smtp", "lmtp"] as const).flatMap((dialect) =>
      (["clear", "tls"] as const).map((security) => announcementKey({ endpoint, dialect, security }))
    )
    expect(new Set(names).size).toBe(4)
  })
})

describe("the bound", () => {
  it.effect("holds for the store, whatever is put into it, by however many caches", () =>
    Effect.gen(function* () {
      const { store, values } = openStore()
      const options = { capacity: 5, pinCapacity: 7 }
      const caches = yield* Effect.all([started(store, options), started(store, options)])
      yield* Effect.forEach(
        hosts(40),
        (host, index) =>
          Effect.forEach(caches.slice(index % 2), (cache) =>
            Effect.zipRight(cache.put(keyOf(host), lines), cache.pin(at(host)))
          ),
        { concurrency: 10 }
      )
      expect(values.size).toBeLessThanOrEqual(5 + 7 + 1)
    })
  )

  it.effect("never costs the entry that was just made", () =>
    Effect.gen(function* () {
      const cache = yield* started(openStore().store, { capacity: 3 })
      for (const host of hosts(20)) {
        yield* TestClock.adjust("1 second")
        yield* cache.put(keyOf(host), lines)
        expect(yield* rawLines(cache, keyOf(host))).toEqual(lines)
      }
    })
  )

  it.effect("costs the entry that was written longest ago among those it could replace", () =>
    Effect.gen(function* () {
      const cache = yield* started(openStore().store, { capacity: 1 })
      yield* cache.put(keyOf("old.test"), lines)
      yield* TestClock.adjust("1 second")
      yield* cache.put(keyOf("new.test"), lines)
      expect(yield* rememberedHosts(cache, ["old.test", "new.test"])).toEqual(["new.test"])
    })
  )

  it.effect("leaves room for most of what it allows", () =>
    Effect.gen(function* () {
      const cache = yield* started(openStore().store, { pinCapacity: 200 })
      yield* Effect.forEach(hosts(80), (host) => cache.pin(at(host)))
      expect((yield* pinnedHosts(cache, hosts(80))).length).toBeGreaterThan(70)
    })
  )

  it.effect("of announcements costs no pin (RFC 3207 section 6)", () =>
    Effect.gen(function* () {
      const cache = yield* started(openStore().store, { capacity: 1, timeToLive: "1 minute" })
      yield* cache.put(key, lines)
      yield* cache.pin(endpoint)
      yield* Effect.forEach(hosts(20), (host) => cache.put(keyOf(host), lines))
      yield* TestClock.adjust("1 minute")
      expect([yield* rawLines(cache), yield* cache.pinned(endpoint)]).toEqual([undefined, true])
    })
  )

  it.effect("of zero keeps nothing", () =>
    Effect.gen(function* () {
      const { store, values } = openStore()
      const cache = yield* started(store, { capacity: 0, pinCapacity: 0 })
      yield* cache.put(key, lines)
      yield* cache.pin(endpoint)
      expect([yield* cache.get(key), yield* cache.pinned(endpoint), values.size]).toEqual([
        undefined,
        false,
        0
      ])
    })
  )

  it.effect("puts entries where nobody can tell who does not see the store's salt", () =>
    Effect.gen(function* () {
      const places = yield* Effect.forEach([1, 2], () =>
        Effect.gen(function* () {
          const { store, values } = openStore()
          const cache = yield* started(store)
          yield* Effect.forEach(hosts(8), (host) => cache.pin(at(host)))
          return [...values.keys()].sort()
        })
      )
      expect(places[0]).not.toEqual(places[1])
    })
  )
})

describe("two caches over one store", () => {
  it.effect("know what the other has learned", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const [one, other] = yield* Effect.all([started(store), started(store)])
      yield* one.put(key, lines)
      yield* other.pin(endpoint)
      expect(yield* rawLines(other)).toEqual(lines)
      expect(yield* one.pinned(endpoint)).toBe(true)
    })
  )

  it.effect("give what was announced last, whoever has heard it", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const [one, other] = yield* Effect.all([started(store), started(store)])
      yield* one.put(key, lines)
      yield* TestClock.adjust("1 second")
      yield* other.put(key, ["mail.example.com"])
      expect(yield* rawLines(one)).toEqual(["mail.example.com"])
    })
  )

  it.effect("agree again after both were the first to write to it", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const [one, other] = yield* Effect.all([started(store), started(store)])
      yield* Effect.all([one.pin(endpoint), other.pin(endpoint)], { concurrency: "unbounded" })
      yield* one.pin(endpoint)
      expect([yield* one.pinned(endpoint), yield* other.pinned(endpoint)]).toEqual([true, true])
    })
  )

  it.effect("go on after the store was cleared under them", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const [one, other] = yield* Effect.all([started(store), started(store)])
      yield* one.pin(endpoint)
      yield* store.clear
      expect(yield* one.pinned(endpoint)).toBe(false)
      yield* other.pin(endpoint)
      expect(yield* one.pinned(endpoint)).toBe(true)
    })
  )

  it.scopedLive("may be those of two processes, one after the other, over a directory", () =>
    Effect.gen(function* () {
      const directory = yield* Effect.flatMap(FileSystem.FileSystem, (files) =>
        files.makeTempDirectoryScoped()
      )
      const process = <A>(use: (cache: Service) => Effect.Effect<A>) =>
        Effect.flatMap(CapabilityCache, use).pipe(
          Effect.provide(
            CapabilityCacheKeyValue.layer().pipe(
              Layer.provide(Layer.fresh(KeyValueStore.layerFileSystem(`${directory}/cache`)))
            )
          )
        )
      yield* process((cache) => Effect.zipRight(cache.put(key, lines), cache.pin(endpoint)))
      expect(yield* process((cache) => Effect.all([rawLines(cache), cache.pinned(endpoint)]))).toEqual([
        lines,
        true
      ])
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

describe("a corrupt entry", () => {
  const corrupt: ReadonlyArray<readonly [string, string]> = [
    ["empty", ""],
    ["cut off", '{"name":"tcp mail.exa'],
    ["another kind of JSON", "[1,2,3]"],
    ["null", "null"],
    ["of the wrong types", '{"name":1,"at":"now","lines":"SIZE"}'],
    ["with a time that is no number", '{"name":"tcp mail.example.com:587","at":1e999,"lines":[]}'],
    ["very deep", "[".repeat(100_000)]
  ]
  for (const [name, value] of corrupt) {
    it.effect(`that is ${name} is ignored, and replaced by the next one`, () =>
      Effect.gen(function* () {
        const { damage, store } = openStore()
        const cache = yield* started(store)
        const learn = Effect.zipRight(cache.put(key, lines), cache.pin(endpoint))
        yield* learn
        damage(value, "/announced/")
        damage(value, "/pinned/")
        expect([yield* cache.get(key), yield* cache.pinned(endpoint)]).toEqual([undefined, false])
        yield* learn
        expect([yield* rawLines(cache), yield* cache.pinned(endpoint)]).toEqual([lines, true])
      })
    )
  }

  it.effect("may be any text at all, and so may the salt", () =>
    Effect.gen(function* () {
      const texts = FastCheck.sample(
        FastCheck.oneof(FastCheck.string({ unit: "binary" }), FastCheck.json()),
        {
          numRuns: runsOf(100),
          seed: 3207
        }
      )
      const { damage, store } = openStore()
      const cache = yield* started(store, { capacity: 4, pinCapacity: 4 })
      for (const text of texts) {
        yield* cache.pin(endpoint)
        damage(text)
        expect([yield* cache.get(key), yield* cache.pinned(endpoint)]).toEqual([undefined, false])
      }
      yield* cache.pin(endpoint)
      expect(yield* cache.pinned(endpoint)).toBe(true)
    })
  )

  it.effect("of another endpoint is never given for this one", () =>
    Effect.gen(function* () {
      const { store, values } = openStore()
      const cache = yield* started(store, { capacity: 1 })
      yield* cache.put(keyOf("other.test"), ["other.test"])
      expect(values.has("effect-smtplib/announced/0")).toBe(true)
      expect(yield* rawLines(cache)).toBeUndefined()
    })
  )
})

describe("a store that does not work", () => {
  const failure = new SystemError({ reason: "Busy", module: "KeyValueStore", method: "any" })

  const broken = (outcome: () => Effect.Effect<never, SystemError>): KeyValueStore.KeyValueStore =>
    KeyValueStore.makeStringOnly({
      get: outcome,
      set: outcome,
      remove: outcome,
      clear: Effect.suspend(outcome),
      size: Effect.suspend(outcome)
    })

  const useAll = (cache: Service) =>
    Effect.all([cache.put(key, lines), cache.pin(endpoint), cache.get(key), cache.pinned(endpoint)])
  const nothing = [undefined, undefined, undefined, false]

  const ways: ReadonlyArray<readonly [string, () => Effect.Effect<never, SystemError>]> = [
    ["fails", () => Effect.fail(failure)],
    ["dies", () => Effect.die("a driver's defect")],
    ["interrupts itself", () => Effect.interrupt],
    [
      "throws",
      () => {
        throw new Error("not even an effect")
      }
    ]
  ]
  for (const [name, outcome] of ways) {
    it.effect(`remembers nothing when it ${name}, and the log is warned once`, () =>
      Effect.gen(function* () {
        const logs = yield* collectLogs
        const cache = yield* started(broken(outcome))
        const results = yield* Effect.provide(Effect.zipRight(useAll(cache), useAll(cache)), logs.layer)
        expect(results).toEqual(nothing)
        expect((yield* logs.entries).map(({ level }) => level)).toEqual(["WARN"])
      })
    )
  }

  it.effect("is given up after its time limit", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      const cache = yield* started(
        broken(() => Effect.never),
        { timeout: "1 second" }
      )
      const fiber = yield* Effect.fork(Effect.provide(useAll(cache), logs.layer))
      yield* TestClock.adjust("4 seconds")
      expect(yield* Fiber.join(fiber)).toEqual(nothing)
    })
  )

  it.effect("does not keep a program from being interrupted", () =>
    Effect.gen(function* () {
      const cache = yield* started(broken(() => Effect.never))
      const fiber = yield* Effect.fork(cache.pinned(endpoint))
      yield* Effect.yieldNow()
      expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
    })
  )

  it.effect("is used again when it works again, and a second outage is told of too", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      const { store } = openStore()
      let works = false
      const flapping: KeyValueStore.KeyValueStore = {
        ...store,
        get: (name) => (works ? store.get(name) : Effect.fail(failure))
      }
      const cache = yield* started(flapping)
      yield* Effect.gen(function* () {
        yield* cache.pin(endpoint)
        works = true
        yield* cache.pin(endpoint)
        expect(yield* cache.pinned(endpoint)).toBe(true)
        works = false
        expect(yield* cache.pinned(endpoint)).toBe(false)
      }).pipe(Effect.provide(logs.layer))
      expect(yield* logs.entries).toHaveLength(2)
    })
  )
})

describe("sessions over one store", () => {
  const options = { host: "mx.test", tls: "opportunistic", clientName: "client.test" } as const
  const mx = at("mx.test")
  const startTls = SmtpTest.script(ask("STARTTLS", "220 go ahead"), SmtpTest.upgrade)
  const secured = SmtpTest.script(greeting, ehlo("STARTTLS"), startTls, ehlo("SIZE 2000"), goodbye)

  /** A session in a process that has just started, to the end of its script. */
  const session = <A, E>(
    store: KeyValueStore.KeyValueStore,
    script: SmtpTest.Script,
    use: (smtp: SmtpSession.Service) => Effect.Effect<A, E>,
    own: SmtpSession.Options = {}
  ) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(script)
      const cache = yield* started(store)
      const result = yield* SmtpSession.make({ ...options, ...own }).pipe(
        Effect.flatMap(use),
        Effect.scoped,
        Effect.provideService(CapabilityCache, cache),
        Effect.provide(server.layer),
        server.verify,
        Effect.either
      )
      return { result, received: yield* server.receivedText }
    }).pipe(Effect.scoped)

  it.effect("go on in clear with a server that has never offered STARTTLS", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const script = SmtpTest.script(greeting, ehlo(), goodbye)
      yield* session(store, script, () => Effect.void)
      const { result } = yield* session(store, script, (smtp) => smtp.tls)
      expect(result).toMatchObject({ _tag: "Right", right: undefined })
    })
  )

  it.effect(
    "notice after a restart that the offer has vanished, and send nothing in clear (RFC 3207 section 6)",
    () =>
      Effect.gen(function* () {
        const { store } = openStore()
        yield* session(store, secured, () => Effect.void)
        const stripped = SmtpTest.script(greeting, ehlo("8BITMIME"), goodbye)
        const { received, result } = yield* session(store, stripped, (smtp) =>
          smtp.send(OneSession.submission)
        )
        expect(result).toMatchObject({ left: { _tag: "TlsError", reason: "OfferVanished" } })
        expect(received).toBe("EHLO client.test\r\nQUIT\r\n")
      })
  )

  it.effect("take a refusal of STARTTLS for a vanished offer, too", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      yield* session(store, secured, () => Effect.void)
      const refused = SmtpTest.script(
        greeting,
        ehlo("STARTTLS"),
        ask("STARTTLS", "454 4.7.0 not now"),
        goodbye
      )
      const { result } = yield* session(store, refused, () => Effect.void)
      expect(result).toMatchObject({ left: { _tag: "TlsError", reason: "OfferVanished" } })
    })
  )

  it.effect("notice it under starttls, too, and say what it looks like", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      yield* session(store, secured, () => Effect.void, { port: 25, tls: "starttls" })
      const stripped = SmtpTest.script(greeting, ehlo(), goodbye)
      const { result } = yield* session(store, stripped, () => Effect.void, { port: 25, tls: "starttls" })
      expect(result).toMatchObject({ left: { _tag: "TlsError", reason: "OfferVanished" } })
    })
  )

  it.effect("still notice it when every announcement has expired, and not when the pin has", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      yield* session(store, secured, () => Effect.void)
      const stripped = SmtpTest.script(greeting, ehlo(), goodbye)
      yield* TestClock.adjust("29 days")
      const first = yield* session(store, stripped, () => Effect.void)
      yield* TestClock.adjust("1 day")
      const second = yield* session(store, stripped, () => Effect.void)
      expect([first.result._tag, second.result._tag]).toEqual(["Left", "Right"])
    })
  )

  it.effect("are not held to the offer alone: a handshake that fails pins nothing, and goes no further", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const cut = SmtpTest.script(
        greeting,
        ehlo("STARTTLS"),
        SmtpTest.expect("STARTTLS"),
        SmtpTest.reply("220 go ahead", "250 and plaintext"),
        SmtpTest.expectEnd
      )
      const { result } = yield* session(store, cut, () => Effect.void)
      expect(result).toMatchObject({ left: { _tag: "TlsError", reason: "Injection" } })
      expect(yield* Effect.flatMap(started(store), (cache) => cache.pinned(mx))).toBe(false)
    })
  )

  it.effect("trust nothing behind TLS that was announced before it (RFC 3207 section 4.2)", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const script = SmtpTest.script(
        greeting,
        ehlo("STARTTLS", "SIZE 1000", "AUTH PLAIN", "DSN"),
        startTls,
        ehlo("SIZE 2000"),
        goodbye
      )
      const { result } = yield* session(store, script, (smtp) => smtp.capabilities)
      expect(result).toMatchObject({ right: { size: 2000, authMechanisms: [], dsn: false, starttls: false } })
      const cache = yield* started(store)
      const of = (security: Key["security"]) => rawLines(cache, { endpoint: mx, dialect: "smtp", security })
      expect(yield* of("clear")).toEqual(["mx.test", "STARTTLS", "SIZE 1000", "AUTH PLAIN", "DSN"])
      expect(yield* of("tls")).toEqual(["mx.test", "SIZE 2000"])
    })
  )

  it.effect("decide by what they were told themselves, whatever the store says", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const cache = yield* started(store)
      for (const security of ["clear", "tls"] as const) {
        yield* cache.put({ endpoint: mx, dialect: "smtp", security }, ["mx.test", "SIZE 1", "STARTTLS"])
      }
      const script = SmtpTest.script(
        greeting,
        ehlo(),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        OneSession.content(OneSession.message, "250 ok"),
        goodbye
      )
      const { result } = yield* session(store, script, (smtp) => smtp.send(OneSession.submission))
      expect(result._tag).toBe("Right")
    })
  )

  it.effect("work with a store that does not", () =>
    Effect.gen(function* () {
      const { store } = openStore()
      const broken: KeyValueStore.KeyValueStore = { ...store, get: () => Effect.die("gone") }
      const { result } = yield* session(broken, secured, (smtp) => smtp.tls)
      expect(result).toMatchObject({ right: { protocol: "TLSv1.3" } })
    })
  )
})
