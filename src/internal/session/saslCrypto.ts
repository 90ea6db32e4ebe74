/** The computations of SASL by node:crypto, which the first of them loads. PBKDF2 runs on the thread pool. */
import * as Effect from "effect/Effect"
import type { Algorithm, Request } from "../../protocol/sasl/Mechanism.js"

export interface Crypto {
  /** A nonce for SCRAM: 24 random octets in base64, which has no comma. */
  readonly nonce: Effect.Effect<string>
  /** Whether the algorithm can be used; MD5 cannot where FIPS rules are in force. */
  readonly supports: (algorithm: Algorithm) => Effect.Effect<boolean>
  readonly compute: (request: Request) => Effect.Effect<Uint8Array>
}

const names = { MD5: "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512" } as const
const lengths = { MD5: 16, "SHA-1": 20, "SHA-256": 32, "SHA-512": 64 } as const

const load = Effect.promise(() => import("node:crypto"))

export const nodeCrypto: Crypto = {
  nonce: Effect.map(load, ({ randomBytes }) => randomBytes(24).toString("base64")),
  supports: (algorithm) =>
    Effect.map(load, ({ createHmac }) => {
      try {
        createHmac(names[algorithm], "key").update("").digest()
        return true
      } catch {
        return false
      }
    }),
  compute: (request) =>
    Effect.flatMap(load, (crypto) => {
      const name = names[request.algorithm]
      switch (request._tag) {
        case "Hash":
          return Effect.sync(() => new Uint8Array(crypto.createHash(name).update(request.data).digest()))
        case "Hmac":
          return Effect.sync(
            () => new Uint8Array(crypto.createHmac(name, request.key).update(request.data).digest())
          )
        case "SaltedPassword":
          return Effect.async<Uint8Array>((resume) => {
            crypto.pbkdf2(
              request.password,
              request.salt,
              request.iterations,
              lengths[request.algorithm],
              name,
              (error, key) => resume(error === null ? Effect.succeed(new Uint8Array(key)) : Effect.die(error))
            )
          })
      }
    })
}
