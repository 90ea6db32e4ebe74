/**
 * What the set-up of a session does next, as values: each step holds how to go on from it. SetUp and sasl/Authentication
 * make the steps, and whoever carries them out decides nothing.
 */
import type { Command } from "./Command.js"
import type { Invalid } from "./Invalid.js"
import type { Unsupported } from "./Parameters.js"
import type { Reply } from "./Reply.js"
import type { Request, Step as MechanismStep } from "./sasl/Mechanism.js"

/** A password or token. A function, so that nothing that is printed shows it. */
export type Secret = () => string

/**
 * - `Submit`: write the command; `lost` is for a session that ends before the reply, in place of the error for that
 * - `Secure`: do the TLS handshake
 * - `Announced`: keep what the server announced in the capability cache
 * - `Pinned`: whether the capability cache knows that the endpoint has completed STARTTLS before
 * - `Done`, `Failed`: the end, with the session in order unless the failure is `isUntrusted`
 * - `Violated`: the end of the session: the server said what it may not, and nothing it says can be trusted
 */
export type Step<A> =
  | {
      readonly _tag: "Submit"
      readonly command: Command
      readonly replied: (reply: Reply) => Step<A>
      readonly lost?: Failed | undefined
    }
  | { readonly _tag: "Secure"; readonly secured: () => Step<A> }
  | { readonly _tag: "Announced"; readonly lines: ReadonlyArray<string>; readonly answered: () => Step<A> }
  | { readonly _tag: "Pinned"; readonly answered: (pinned: boolean) => Step<A> }
  | AuthenticationStep<A>
  | { readonly _tag: "Done"; readonly value: A }
  | Failed
  | { readonly _tag: "Violated"; readonly reply: Reply; readonly reason: string }

/**
 * What authentication asks for.
 *
 * - `Nonce`: for SCRAM, 24 random bytes in base64
 * - `Md5`: whether MD5 may be computed
 * - `Compute`: a hash
 * - `Prepare`: user name and password by SASLprep (RFC 4013)
 * - `Token`: an access token, other than the one that the server has refused
 * - `Program`: a step of the program's own mechanism
 */
export type AuthenticationStep<A> =
  | { readonly _tag: "Nonce"; readonly answered: (nonce: string) => Step<A> }
  | { readonly _tag: "Md5"; readonly answered: (allowed: boolean) => Step<A> }
  | {
      readonly _tag: "Compute"
      readonly request: Request
      readonly answered: (octets: Uint8Array) => Step<A>
    }
  | {
      readonly _tag: "Prepare"
      readonly username: string
      readonly password: Secret
      readonly answered: (username: string, password: Secret) => Step<A>
    }
  | {
      readonly _tag: "Token"
      readonly refused: Secret | undefined
      readonly answered: (token: Secret) => Step<A>
    }
  | {
      readonly _tag: "Program"
      readonly event: MechanismEvent
      readonly answered: (step: Reaction) => Step<A>
    }

/** What happens to a mechanism: `Success` is a 235, which it may refuse to believe. */
export type MechanismEvent =
  | { readonly _tag: "Start" }
  | { readonly _tag: "Challenge"; readonly octets: Uint8Array }
  | { readonly _tag: "Success" }

/** What a mechanism makes of it. */
export type Reaction = Exclude<MechanismStep, { readonly _tag: "Request" }>

export interface Failed {
  readonly _tag: "Failed"
  readonly failure: SetUpFailure
}

/** Why a session was not set up. */
export type SetUpFailure =
  | { readonly _tag: "HeloRefused"; readonly command: "EHLO" | "HELO" | "LHLO"; readonly reply: Reply }
  | { readonly _tag: "CommandRefused"; readonly command: Command; readonly reply: Reply }
  | Unsupported
  | Invalid
  /** An endpoint that has completed STARTTLS before does not offer it: somebody may be stripping the offer. */
  | { readonly _tag: "OfferVanished" }
  | NotAuthenticated

export interface NotAuthenticated {
  readonly _tag: "NotAuthenticated"
  readonly reason:
    | "Rejected"
    | "Temporary"
    | "NoCommonMechanism"
    | "NotOffered"
    | "Insecure"
    | "Challenge"
    | "ServerNotVerified"
  readonly mechanism?: string | undefined
  readonly reply?: Reply | undefined
  readonly detail?: string | undefined
  readonly cause?: unknown
}

export const done = <A>(value: A): Step<A> => ({ _tag: "Done", value })

export const failed = (failure: SetUpFailure): Failed => ({ _tag: "Failed", failure })

/** Whether the server at the other end may be a false one, so that the session must not be used after the failure. */
export const isUntrusted = (failure: SetUpFailure): boolean =>
  failure._tag === "NotAuthenticated" && failure.reason === "ServerNotVerified"
