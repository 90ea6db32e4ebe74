/**
 * OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's older form of it): a bearer token at once. On
 * failure the server explains itself in a challenge, which must be answered before its refusal comes.
 */
import { header } from "./Gs2.js"
import type { Mechanism } from "./Mechanism.js"
import { make, respond } from "./Mechanism.js"

export interface BearerOptions {
  readonly username: string
  readonly token: string
  /** The endpoint that the client connected to, where it has a host and a port. */
  readonly endpoint: { readonly host: string; readonly port: number } | undefined
}

const separator = "\u0001"

/** The error challenge is answered with a single U+0001 (RFC 7628 section 3.2.3). */
export const oauthBearer = (options: BearerOptions): Mechanism =>
  make({
    name: "OAUTHBEARER",
    provesServer: false,
    *script() {
      const { endpoint } = options
      const pairs = [
        ...(endpoint === undefined ? [] : [`host=${endpoint.host}`, `port=${endpoint.port}`]),
        `auth=Bearer ${options.token}`
      ]
      const message = [header({ _tag: "Unsupported" }, options.username), ...pairs, "", ""].join(separator)
      const error = yield respond(new TextEncoder().encode(message))
      return respond(Uint8Array.of(1), new TextDecoder().decode(error))
    }
  })

/** The error challenge is answered with an empty line. */
export const xoauth2 = (options: { readonly username: string; readonly token: string }): Mechanism =>
  make({
    name: "XOAUTH2",
    provesServer: false,
    *script() {
      const message = [`user=${options.username}`, `auth=Bearer ${options.token}`, "", ""].join(separator)
      const error = yield respond(new TextEncoder().encode(message))
      return respond(new Uint8Array(0), new TextDecoder().decode(error))
    }
  })
