/** Why a token endpoint issued no token. SmtpOAuth exports it. */
import * as Data from "effect/Data"

/**
 * No access token was obtained. Sessions carry it as the cause of an `AuthenticationError`. It holds no secret: neither
 * what was sent, nor what the endpoint repeats of it.
 *
 * - `Unreachable`: the HTTP client failed, e.g. no connection
 * - `Timeout`: no answer within `timeout`
 * - `Unavailable`: the endpoint is temporarily unavailable (429, 5xx)
 * - `Refused`: the endpoint refused; `code` is the error code of RFC 6749 section 5.2, e.g. `invalid_grant`
 * - `Malformed`: the answer does not follow RFC 6749
 * - `Closed`: the scope of the credentials has closed
 *
 * @since 0.1.0
 * @category errors
 */
export class OAuthError extends Data.TaggedError("OAuthError")<{
  readonly reason: "Unreachable" | "Timeout" | "Unavailable" | "Refused" | "Malformed" | "Closed"
  /** The URL of the token endpoint, without its query. */
  readonly endpoint: string
  /** The HTTP status of the answer. */
  readonly status?: number | undefined
  readonly code?: string | undefined
  /** What the endpoint or the HTTP client reported. */
  readonly detail?: string | undefined
}> {
  /** Whether a later request may succeed. Sessions and clients read it. */
  get isTransient(): boolean {
    return this.reason === "Unreachable" || this.reason === "Timeout" || this.reason === "Unavailable"
  }

  override get message(): string {
    const status = this.status === undefined ? "" : ` (status ${this.status})`
    const detail = this.detail === undefined ? "" : `: ${this.detail}`
    const endpoint = `The token endpoint ${this.endpoint}`
    switch (this.reason) {
      case "Unreachable":
        return `${endpoint} cannot be reached${detail}; check the URL and the network`
      case "Timeout":
        return `${endpoint} did not answer within the time limit; try again later`
      case "Unavailable":
        return `${endpoint} is temporarily unavailable${status}${detail}; try again later`
      case "Refused":
        return `${endpoint} refused with ${this.code ?? "no code"}${status}${detail}; ${adviceOn(this.code)}`
      case "Malformed":
        return `${endpoint} sent an invalid answer${status}${detail}; check the URL`
      case "Closed":
        return `${endpoint} was not asked, since the scope of the credentials has closed; keep it open while sessions authenticate`
    }
  }
}

const adviceOn = (code: string | undefined): string => {
  switch (code) {
    case "invalid_grant":
      return "the refresh token or the assertion has expired or was revoked: ask the user for consent again"
    case "invalid_client":
    case "unauthorized_client":
      return "check the client's id, secret and registration"
    case "invalid_scope":
      return "check the scope"
    default:
      return "check the client, the grant and the scope"
  }
}
