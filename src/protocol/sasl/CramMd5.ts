/** CRAM-MD5 (RFC 2195): the user name and an HMAC of the challenge. It proves nothing of the server. */
import type { Mechanism } from "./Mechanism.js"
import { compute, fail, make, respond, wait } from "./Mechanism.js"

export const cramMd5 = (options: { readonly username: string; readonly password: string }): Mechanism =>
  make({
    name: "CRAM-MD5",
    *script() {
      const encoder = new TextEncoder()
      const challenge = yield wait
      // Without a fresh challenge the digest would be the same every time, as good as the password.
      if (challenge.length === 0) return fail("Challenge", "the challenge is empty")
      const digest = yield* compute({
        _tag: "Hmac",
        algorithm: "MD5",
        key: encoder.encode(options.password),
        data: challenge
      })
      const hexadecimal = Array.from(digest, (octet) => octet.toString(16).padStart(2, "0")).join("")
      return respond(encoder.encode(`${options.username} ${hexadecimal}`))
    }
  })
