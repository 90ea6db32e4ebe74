/**
 * Tells whether two runs of a stream gave the same octets, without keeping them. A message authentication code under
 * a key that nobody knows: no two contents can be made to agree, and with GMAC (NIST SP 800-38D) a gigabyte costs a
 * tenth of a second where SHA-256 costs six.
 */
import * as Effect from "effect/Effect"

/** One run, as far as it went. The same octets have the same value, however they were cut. */
export interface Fingerprint {
  readonly update: (octets: Uint8Array) => void
  /** The value of all octets; none can follow. */
  readonly value: () => string
}

/** Gives a function that begins a fingerprint. Only those of one function can be compared. */
export const makeBegin: Effect.Effect<() => Fingerprint> = Effect.promise(() => import("node:crypto")).pipe(
  Effect.map(({ createCipheriv, randomBytes }) => {
    const key = randomBytes(16)
    // Nothing is encrypted, and no code is shown to anybody: that the nonce comes again does no harm.
    const nonce = new Uint8Array(12)
    return () => {
      const code = createCipheriv("aes-128-gcm", key, nonce)
      let value: string | undefined
      return {
        update: (octets) => {
          code.setAAD(octets)
        },
        value: () => {
          if (value === undefined) {
            code.final()
            value = code.getAuthTag().toString("base64")
          }
          return value
        }
      }
    }
  })
)
