/**
 * Assertions that a client signs for itself: JSON Web Tokens with RS256 (RFC 7519, RFC 7523 section 2.1), by the Web
 * Crypto of the platform.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid } from "../../protocol/Invalid.js"
import { encode } from "../../protocol/sasl/Base64.js"

/** Signs claims. */
export type Sign = (claims: Readonly<Record<string, unknown>>) => Effect.Effect<Redacted.Redacted>

const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }

/** Reads a private key: RSA, PKCS #8, in PEM. */
export const signer = (
  privateKey: Redacted.Redacted,
  keyId: string | undefined
): Effect.Effect<Sign, Invalid> =>
  Effect.tryPromise({
    try: () =>
      crypto.subtle.importKey("pkcs8", derOf(Redacted.value(privateKey)), algorithm, false, ["sign"]),
    catch: () => invalid("grant.privateKey", "is not a private RSA key: PKCS #8 in PEM")
  }).pipe(
    Effect.map((key): Sign => {
      const head = part({ alg: "RS256", typ: "JWT", kid: keyId })
      return (claims) => {
        const signed = `${head}.${part(claims)}`
        return Effect.map(
          Effect.promise(() => crypto.subtle.sign(algorithm, key, new TextEncoder().encode(signed))),
          (signature) => Redacted.make(`${signed}.${base64Url(new Uint8Array(signature))}`)
        )
      }
    })
  )

/** In environment variables the line ends of a PEM are often written as `\n`. */
const derOf = (pem: string): Uint8Array<ArrayBuffer> => {
  const [, body] = /-----BEGIN PRIVATE KEY-----(.*)-----END PRIVATE KEY-----/s.exec(pem) ?? []
  const text = atob((body ?? "").replace(/\\n|\s/g, ""))
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

const part = (value: unknown): string => base64Url(new TextEncoder().encode(JSON.stringify(value)))

const base64Url = (octets: Uint8Array): string =>
  encode(octets).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "")
