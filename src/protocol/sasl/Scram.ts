/**
 * SCRAM with SHA-1, SHA-256 and SHA-512, with and without channel binding (RFC 5802, RFC 7677, RFC 9266,
 * draft-melnikov-scram-sha-512). The server has to prove that it knows the password too. Names and passwords are given
 * prepared (RFC 4013).
 */
import { decode, encode } from "./Base64.js"
import type { Binding } from "./Gs2.js"
import { header, saslName } from "./Gs2.js"
import type { Fail, Mechanism, Script } from "./Mechanism.js"
import { compute, fail, make, respond } from "./Mechanism.js"

export interface ScramOptions {
  readonly algorithm: "SHA-1" | "SHA-256" | "SHA-512"
  readonly username: string
  readonly password: string
  readonly authorizationId?: string | undefined
  /** Printable ASCII without commas, from at least 18 random octets, never used twice. */
  readonly nonce: string
  readonly binding: Binding
  readonly maximumIterations?: number | undefined
}

/** RFC 5802 section 5.1, RFC 7677 section 4: with fewer, a false server could attack the exchange cheaply. */
export const minimumIterations = 4096

// Servers ask for 4,096 to 600,000. 100,000 take 20 to 50 milliseconds of one thread: a hostile server can cost about a
// second with all attempts of one authentication.
const defaultMaximumIterations = 1_000_000

interface ServerFirst {
  readonly nonce: string
  readonly salt: Uint8Array
  readonly iterations: number
}

const encoder = new TextEncoder()

// Errors that say that somebody changed the exchange on its way (RFC 5802 section 7).
const tampering: ReadonlyArray<string> = [
  "server-does-support-channel-binding",
  "channel-bindings-dont-match"
]

const decodeText = (octets: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(octets)
  } catch {
    return undefined
  }
}

const attribute = (name: string, text: string | undefined): string | undefined =>
  text?.startsWith(`${name}=`) === true ? text.slice(2) : undefined

const parseServerFirst = (text: string, options: ScramOptions): ServerFirst | Fail => {
  const attributes = text.split(",")
  if (attribute("m", attributes[0]) !== undefined) {
    return fail("Challenge", "the server demands an extension of SCRAM that is not supported")
  }
  const nonce = attribute("r", attributes[0])
  const salt = decode(attribute("s", attributes[1]) ?? "")
  const count = attribute("i", attributes[2]) ?? ""
  if (nonce === undefined || salt === undefined || salt.length === 0 || !/^[1-9][0-9]{0,9}$/.test(count)) {
    return fail("Challenge", "the server's first message is not one of SCRAM")
  }
  // RFC 5802 section 5.1: the nonce begins with the client's, and the server has added to it.
  if (!nonce.startsWith(options.nonce) || nonce === options.nonce || !/^[\x21-\x2b\x2d-\x7e]+$/.test(nonce)) {
    return fail("Challenge", "the server's nonce does not continue the client's")
  }
  const iterations = Number(count)
  if (iterations < minimumIterations) {
    return fail(
      "Challenge",
      `the server asks for ${iterations} iterations, fewer than the ${minimumIterations} that keep a password safe`
    )
  }
  const maximum = options.maximumIterations ?? defaultMaximumIterations
  if (iterations > maximum) {
    return fail("Challenge", `the server asks for ${iterations} iterations; at most ${maximum} are allowed`)
  }
  return { nonce, salt, iterations }
}

const exclusiveOr = (left: Uint8Array, right: Uint8Array): Uint8Array =>
  left.map((octet, index) => octet ^ (right[index] ?? 0))

const equal = (left: Uint8Array, right: Uint8Array): boolean =>
  left.length === right.length && exclusiveOr(left, right).every((octet) => octet === 0)

const concatenate = (left: Uint8Array, right: Uint8Array): Uint8Array => {
  const joined = new Uint8Array(left.length + right.length)
  joined.set(left)
  joined.set(right, left.length)
  return joined
}

// An error attribute is answered with nothing, and the refusal follows.
function* refused(error: string): Script {
  if (tampering.includes(error)) {
    return fail("ServerNotVerified", `the server says ${error}, as if someone had changed the exchange`)
  }
  yield respond(new Uint8Array(0), error)
  return fail("Challenge", "the server goes on after an error")
}

function* exchange(options: ScramOptions): Script {
  const { algorithm, binding } = options
  const hmac = (key: Uint8Array, data: string) =>
    compute({ _tag: "Hmac", algorithm, key, data: encoder.encode(data) })

  const gs2Header = header(binding, options.authorizationId)
  const clientFirstBare = `n=${saslName(options.username)},r=${options.nonce}`
  const serverFirst = decodeText(yield respond(encoder.encode(gs2Header + clientFirstBare)))
  if (serverFirst === undefined) return fail("Challenge", "the server's first message is not UTF-8")
  const earlyError = attribute("e", serverFirst.split(",")[0])
  if (earlyError !== undefined) return yield* refused(earlyError)
  const parsed = parseServerFirst(serverFirst, options)
  if ("_tag" in parsed) return parsed

  const saltedPassword = yield* compute({
    _tag: "SaltedPassword",
    algorithm,
    password: encoder.encode(options.password),
    salt: parsed.salt,
    iterations: parsed.iterations
  })
  const bindingData = binding._tag === "Bound" ? binding.data : new Uint8Array(0)
  const channelBinding = encode(concatenate(encoder.encode(gs2Header), bindingData))
  const clientFinalWithoutProof = `c=${channelBinding},r=${parsed.nonce}`
  const authMessage = `${clientFirstBare},${serverFirst},${clientFinalWithoutProof}`

  const clientKey = yield* hmac(saltedPassword, "Client Key")
  const storedKey = yield* compute({ _tag: "Hash", algorithm, data: clientKey })
  const clientSignature = yield* hmac(storedKey, authMessage)
  const serverKey = yield* hmac(saltedPassword, "Server Key")
  const serverSignature = yield* hmac(serverKey, authMessage)
  const proof = encode(exclusiveOr(clientKey, clientSignature))

  const serverFinal = decodeText(
    yield respond(encoder.encode(`${clientFinalWithoutProof},p=${proof}`))
  )?.split(",")[0]
  const error = attribute("e", serverFinal)
  if (error !== undefined) return yield* refused(error)
  const verifier = decode(attribute("v", serverFinal) ?? "")
  if (verifier === undefined || verifier.length === 0) {
    return fail("ServerNotVerified", "its last message holds no signature")
  }
  if (!equal(verifier, serverSignature)) return fail("ServerNotVerified", "its signature is wrong")
  return respond(new Uint8Array(0))
}

/** With `binding: Bound` the mechanism is the one whose name ends in `-PLUS`. */
export const scram = (options: ScramOptions): Mechanism =>
  make({
    name: `SCRAM-${options.algorithm}${options.binding._tag === "Bound" ? "-PLUS" : ""}`,
    provesServer: true,
    script: () => exchange(options)
  })
