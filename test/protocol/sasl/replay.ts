/**
 * Plays the server's side of an exchange against a mechanism, and computes what the mechanism asks for with
 * node:crypto, synchronously.
 */
import { createHash, createHmac, pbkdf2Sync } from "node:crypto"
import type { Fail, Mechanism, Request, Step } from "../../../src/protocol/sasl/Mechanism.js"

const names = { MD5: "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512" } as const
const lengths = { MD5: 16, "SHA-1": 20, "SHA-256": 32, "SHA-512": 64 } as const

const compute = (request: Request): Uint8Array => {
  const name = names[request.algorithm]
  switch (request._tag) {
    case "Hash":
      return createHash(name).update(request.data).digest()
    case "Hmac":
      return createHmac(name, request.key).update(request.data).digest()
    case "SaltedPassword":
      return pbkdf2Sync(request.password, request.salt, request.iterations, lengths[request.algorithm], name)
  }
}

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

export const text = (octets: Uint8Array): string => new TextDecoder().decode(octets)

type Settled = { readonly said: string; readonly remark?: string | undefined } | "waits" | Fail

export const settle = (mechanism: Mechanism, first: Step): Settled => {
  let step = first
  while (step._tag === "Request") step = mechanism.answer(compute(step.request))
  if (step._tag === "Wait") return "waits"
  if (step._tag === "Fail") return step
  return step.remark === undefined
    ? { said: text(step.octets) }
    : { said: text(step.octets), remark: step.remark }
}

/** What the client says at first and to each challenge. */
export const replay = (mechanism: Mechanism, challenges: ReadonlyArray<string>): ReadonlyArray<Settled> => [
  settle(mechanism, mechanism.start()),
  ...challenges.map((challenge) => settle(mechanism, mechanism.challenge(utf8(challenge))))
]
