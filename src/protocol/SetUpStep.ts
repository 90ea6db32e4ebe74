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
 * - `Submit`: write the command; `lost` replaces the error for a session that ends before the reply
 * - `Secure`: do the TLS handshake
 * - `Announced`: tell the capability cache what the server announced
 * - `Pinned`: whether the capability cache knows that the endpoint has completed STARTTLS before
 * - `Done`, `Failed`: the end, with the session in order unless the failure is `isUntrusted`
 * - `Violated`: the end of the session: the server said what it may not
 */
export type Step<A> =
  | {
      readonly _tag: "Submit"
      readonly command: Command
      readonly replied: (reply: Reply) => Step<A>
      readonly lost: Failed | undefined
    }
  | Ask<"Secure", A, []>
  | Ask<"Announced", A, [], { readonly lines: ReadonlyArray<string> }>
  | Ask<"Pinned", A, [pinned: boolean]>
  | AuthenticationStep<A>
  | { readonly _tag: "Done"; readonly value: A }
  | Failed
  | { readonly _tag: "Violated"; readonly reply: Reply; readonly reason: string }

type Ask<Tag, A, Answer extends ReadonlyArray<unknown>, Question = unknown> = Question & {
  readonly _tag: Tag
  readonly answered: (...answer: Answer) => Step<A>
}

/**
 * What authentication asks for.
 *
 * - `Nonce`: for SCRAM, at least 18 random bytes in base64
 * - `Md5`: whether MD5 may be computed
 * - `ChannelBound`: whether a mechanism that is bound to the TLS channel has worked at the endpoint before
 * - `BindChannel`: tell the capability cache that one has worked
 * - `Prepare`: SASLprep (RFC 4013)
 * - `Token`: an access token, other than the one that the server has refused
 * - `Program`: what the program's own mechanism makes of an event
 */
export type AuthenticationStep<A> =
  | Ask<"Nonce", A, [nonce: string]>
  | Ask<"Md5", A, [allowed: boolean]>
  | Ask<"ChannelBound", A, [bound: boolean]>
  | Ask<"BindChannel", A, []>
  | Ask<"Compute", A, [octets: Uint8Array], { readonly request: Request }>
  | Ask<"Prepare", A, [PreparedPassword], PreparedPassword>
  | Ask<"Token", A, [token: Secret], { readonly refused: Secret | undefined }>
  | Ask<"Program", A, [reaction: Reaction], { readonly event: MechanismEvent }>

export interface PreparedPassword {
  readonly username: string
  readonly password: Secret
}

/** What happens to a mechanism: `Success` is a 235, which it may refuse to believe. */
export type MechanismEvent =
  { readonly _tag: "Start" | "Success" } | { readonly _tag: "Challenge"; readonly octets: Uint8Array }

/** What a mechanism makes of an event. */
export type Reaction = Exclude<MechanismStep, { readonly _tag: "Request" }>

export interface Failed {
  readonly _tag: "Failed"
  readonly failure: SetUpFailure
}

/**
 * Why a session was not set up. `OfferVanished`: an endpoint that has completed STARTTLS before does not offer it, as if
 * somebody were removing the offer.
 */
export type SetUpFailure =
  | { readonly _tag: "HeloRefused"; readonly command: "EHLO" | "HELO" | "LHLO"; readonly reply: Reply }
  | { readonly _tag: "CommandRefused"; readonly command: Command; readonly reply: Reply }
  | Unsupported
  | Invalid
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

export const submit = <A>(command: Command, replied: (reply: Reply) => Step<A>, lost?: Failed): Step<A> => ({
  _tag: "Submit",
  command,
  replied,
  lost
})

export const done = <A>(value: A): Step<A> => ({ _tag: "Done", value })

export const failed = (failure: SetUpFailure): Failed => ({ _tag: "Failed", failure })

/** Whether the server may be a false one, so that the session must not be used any more. */
export const isUntrusted = (failure: SetUpFailure): boolean =>
  failure._tag === "NotAuthenticated" && failure.reason === "ServerNotVerified"
