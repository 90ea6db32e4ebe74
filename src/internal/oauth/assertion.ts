/** Signs JSON Web Tokens with RS256 (RFC 7519, RFC 7523 section 2.1), by Web Crypto. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid } from "../../protocol/Invalid.js"
import { encode } from "../../protocol/sasl/Base64.js"

export type SignClaims = (claims: Readonly<Record<string, unknown>>) => Effect.Effect<Redacted.Redacted>

const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }

export const makeSigner = (
  privateKey: Redacted.Redacted,
  keyId: string | undefined
): Effect.Effect<SignClaims, Invalid> =>
  Effect.tryPromise({
    try: () =>
      crypto.subtle.importKey("pkcs8", derOf(Redacted.value(privateKey)), algorithm, false, ["sign"]),
    catch: () => invalid("grant.privateKey", "is not an RSA private key in PKCS #8 PEM format")
  }).pipe(
    Effect.map((key): SignClaims => {
      const header = encodePart({ alg: "RS256", typ: "JWT", kid: keyId })
      return (claims) => {
        const signed = `${header}.${encodePart(claims)}`
        return Effect.map(
          Effect.promise(() => crypto.subtle.sign(algorithm, key, new TextEncoder().encode(signed))),
          (signature) => Redacted.make(`${signed}.${base64Url(new Uint8Array(signature))}`)
        )
      }
    })
  )

/** Environment variables often hold the line ends of a PEM as `\n`. */
const derOf = (pem: string): Uint8Array<ArrayBuffer> => {
  const [, body] = /-----BEGIN PRIVATE KEY-----(.*)-----END PRIVATE KEY-----/s.exec(pem) ?? []
  const text = atob((body ?? "").replace(/\\n|\s/g, ""))
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

const encodePart = (value: unknown): string => base64Url(new TextEncoder().encode(JSON.stringify(value)))

const base64Url = (bytes: Uint8Array): string =>
  encode(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "")
