/** Why a token endpoint gave no token. It is public through SmtpOAuth. */
import * as Data from "effect/Data"

/**
 * No access token could be had. No secret is one of its fields: neither what was sent, nor what the endpoint repeats
 * of it.
 *
 * - `Unreachable`: no answer: no connection, or the HTTP client failed
 * - `Timeout`: no answer within the time limit
 * - `Unavailable`: the endpoint cannot answer now (429, 5xx)
 * - `Refused`: the endpoint refused; `code` is the error code of RFC 6749 section 5.2, e.g. `invalid_grant`
 * - `Malformed`: the answer is none that RFC 6749 knows
 * - `Closed`: the scope that the tokens were made in has ended
 */
export class OAuthError extends Data.TaggedError("OAuthError")<{
  readonly reason: "Unreachable" | "Timeout" | "Unavailable" | "Refused" | "Malformed" | "Closed"
  /** The URL of the token endpoint, without its query. */
  readonly endpoint: string
  /** The status of the answer, where there was one. */
  readonly status?: number | undefined
  readonly code?: string | undefined
  /** What the endpoint or the HTTP client said about it. */
  readonly detail?: string | undefined
}> {
  /** Whether the same may succeed later; SmtpAuth asks. */
  get isTransient(): boolean {
    return this.reason === "Unreachable" || this.reason === "Timeout" || this.reason === "Unavailable"
  }

  override get message(): string {
    const detail = this.detail === undefined ? "" : `: ${this.detail}`
    const status = this.status === undefined ? "" : ` (status ${this.status})`
    switch (this.reason) {
      case "Unreachable":
        return `The token endpoint ${this.endpoint} could not be reached${detail}; check the URL and the network`
      case "Timeout":
        return `The token endpoint ${this.endpoint} did not answer within the time limit${detail}; try again later`
      case "Unavailable":
        return `The token endpoint ${this.endpoint} cannot answer now${status}${detail}; try again later`
      case "Refused":
        return `The token endpoint ${this.endpoint} refused with ${this.code ?? "no code"}${status}${detail}; ${adviceOn(this.code)}`
      case "Malformed":
        return `The token endpoint ${this.endpoint} gave an answer that cannot be used${status}${detail}; check the URL`
      case "Closed":
        return `No token of ${this.endpoint} is asked for any more: the scope that it was made in has ended`
    }
  }
}

const adviceOn = (code: string | undefined): string => {
  switch (code) {
    case "invalid_grant":
      return "the refresh token or the assertion is expired or revoked: consent has to be given again"
    case "invalid_client":
    case "unauthorized_client":
      return "check the client's id and secret, and what it is registered for"
    case "invalid_scope":
      return "check the scope"
    default:
      return "check the client, the grant and the scope"
  }
}
