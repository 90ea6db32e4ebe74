/**
 * The interface of all SASL mechanisms (RFC 4422): a machine that takes challenges and gives responses, and asks for the
 * hashes it needs. It has neither lines nor base64, clock or random source, so that a captured exchange can be replayed.
 */

export type Algorithm = "MD5" | "SHA-1" | "SHA-256" | "SHA-512"

/** A computation, whose octets are given to `answer`. */
export type Request =
  | { readonly _tag: "Hash"; readonly algorithm: Algorithm; readonly data: Uint8Array }
  | {
      readonly _tag: "Hmac"
      readonly algorithm: Algorithm
      readonly key: Uint8Array
      readonly data: Uint8Array
    }
  | {
      /** PBKDF2 with HMAC, as long as the algorithm's output: `Hi` of RFC 5802 section 2.2. */
      readonly _tag: "SaltedPassword"
      readonly algorithm: Algorithm
      readonly password: Uint8Array
      readonly salt: Uint8Array
      readonly iterations: number
    }

/** The initial response, or the response to a challenge. */
export interface Respond {
  readonly _tag: "Respond"
  readonly octets: Uint8Array
  /** What the server says went wrong; a refusal follows. */
  readonly remark?: string | undefined
}

/** The exchange has to be cancelled, and a success that comes all the same is not believed. */
export interface Fail {
  readonly _tag: "Fail"
  readonly reason: "Challenge" | "ServerNotVerified"
  readonly detail: string
  /** What a mechanism of the program has failed with. */
  readonly cause?: unknown
}

/** `Wait` is given by `start` only: the server speaks first. */
export type Step = Respond | Wait | { readonly _tag: "Request"; readonly request: Request } | Fail

export interface Wait {
  readonly _tag: "Wait"
}

/** One authentication. After a `Fail` every step is a `Fail`. */
export interface Mechanism {
  /** The name in the SASL registry, in capital letters. */
  readonly name: string
  readonly start: () => Step
  readonly challenge: (octets: Uint8Array) => Step
  readonly answer: (octets: Uint8Array) => Step
  /** The server says that authentication succeeded: `undefined` if it may be believed. */
  readonly succeed: () => Fail | undefined
}

/** A mechanism as a dialogue from top to bottom: it yields its steps and returns the last one. */
export type Script = Generator<Step, Respond | Fail, Uint8Array>

export const respond = (octets: Uint8Array, remark?: string): Respond => ({
  _tag: "Respond",
  octets,
  ...(remark === undefined ? {} : { remark })
})

export const fail = (reason: Fail["reason"], detail: string): Fail => ({ _tag: "Fail", reason, detail })

export const wait: Wait = { _tag: "Wait" }

export function* compute(request: Request): Generator<Step, Uint8Array, Uint8Array> {
  return yield { _tag: "Request", request }
}

export interface MechanismOptions {
  readonly name: string
  /** Whether the script checks the server's proof: success is believed only once it has returned. Default false. */
  readonly provesServer?: boolean
  readonly script: () => Script
}

const noOctets = new Uint8Array(0)

export const make = (options: MechanismOptions): Mechanism => {
  const script = options.script()
  let awaited: "start" | "challenge" | "answer" | "nothing" = "start"
  let through = false
  let failure: Fail | undefined

  const stop = (step: Fail): Fail => {
    failure = step
    awaited = "nothing"
    return step
  }

  const take = (given: "start" | "challenge" | "answer", octets: Uint8Array): Step => {
    if (failure !== undefined) return failure
    if (given !== awaited) {
      through = false
      return stop(
        given === "challenge" && awaited === "nothing"
          ? fail("Challenge", `the server asks for more than ${options.name} has to say`)
          : fail("Challenge", `${options.name} was given a ${given} out of turn`)
      )
    }
    const { done, value } = script.next(octets)
    if (value._tag === "Fail") return stop(value)
    through = done === true
    awaited = through ? "nothing" : value._tag === "Request" ? "answer" : "challenge"
    return value
  }

  return {
    name: options.name,
    start: () => take("start", noOctets),
    challenge: (octets) => take("challenge", octets),
    answer: (octets) => take("answer", octets),
    succeed: () => {
      if (options.provesServer !== true || through) return undefined
      return failure?.reason === "ServerNotVerified"
        ? failure
        : fail("ServerNotVerified", "it announced success before it had proved that it knows the password")
    }
  }
}
