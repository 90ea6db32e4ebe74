import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { nodeCrypto } from "../../src/internal/session/saslCrypto.js"
import { saslPrep } from "../../src/internal/session/saslPrep.js"

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

const hexadecimal = (octets: Uint8Array): string => Buffer.from(octets).toString("hex")

describe("computations", () => {
  it.effect("salts passwords as RFC 6070 does", () =>
    Effect.gen(function* () {
      const octets = yield* nodeCrypto.compute({
        _tag: "SaltedPassword",
        algorithm: "SHA-1",
        password: utf8("password"),
        salt: utf8("salt"),
        iterations: 4096
      })
      expect(hexadecimal(octets)).toBe("4b007901b765489abead49d926f721d065a429c1")
    })
  )

  it.effect("hashes as FIPS 180 does", () =>
    Effect.gen(function* () {
      const octets = yield* nodeCrypto.compute({ _tag: "Hash", algorithm: "SHA-256", data: utf8("abc") })
      expect(hexadecimal(octets)).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    })
  )

  it.effect("keys hashes as RFC 2202 does", () =>
    Effect.gen(function* () {
      const octets = yield* nodeCrypto.compute({
        _tag: "Hmac",
        algorithm: "SHA-1",
        key: utf8("Jefe"),
        data: utf8("what do ya want for nothing?")
      })
      expect(hexadecimal(octets)).toBe("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
    })
  )

  it.live("do not hold the event loop while a password is salted", () =>
    Effect.gen(function* () {
      let salted = false
      let turns = 0
      const count = Effect.iterate(0, {
        while: () => !salted,
        body: (before) =>
          Effect.as(
            Effect.promise(() => new Promise(setImmediate)),
            (turns = before + 1)
          )
      })
      const salt = nodeCrypto.compute({
        _tag: "SaltedPassword",
        algorithm: "SHA-512",
        password: utf8("password"),
        salt: utf8("salt"),
        iterations: 50_000
      })
      yield* Effect.all([Effect.tap(salt, () => Effect.sync(() => (salted = true))), count], {
        concurrency: 2
      })
      expect(turns).toBeGreaterThan(10)
    })
  )

  it.effect.each(["SHA-1", "SHA-256", "SHA-512"] as const)("support %s", (algorithm) =>
    Effect.map(nodeCrypto.supports(algorithm), (supported) => expect(supported).toBe(true))
  )
})

describe("nonces", () => {
  it.effect("are 32 printable characters without a comma, and never twice the same", () =>
    Effect.gen(function* () {
      const nonces = yield* Effect.replicateEffect(nodeCrypto.nonce, 100)
      for (const nonce of nonces) expect(nonce).toMatch(/^[A-Za-z0-9+/]{32}$/)
      expect(new Set(nonces).size).toBe(100)
    })
  )
})

describe("SASLprep (RFC 4013 section 3)", () => {
  it.effect.each([
    ["I\u00adX", "IX"],
    ["user", "user"],
    ["USER", "USER"],
    ["\u00aa", "a"],
    ["\u2168", "IX"],
    ["a\u00a0b", "a b"]
  ] as const)("prepares %j to %j", ([value, prepared]) =>
    Effect.map(saslPrep("password", value, "stored"), (found) => expect(found).toBe(prepared))
  )

  it.effect.each(["\u0007", "\u0627\u0031", "\u00ad", "😀"])("cannot prepare the password %j", (value) =>
    Effect.map(Effect.flip(saslPrep("password", value, "stored")), (wrong) =>
      expect(wrong).toMatchObject({ _tag: "Invalid", field: "password" })
    )
  )
})
