/**
 * OAUTHBEARER (RFC 7628) and XOAUTH2 (its older form, of Google and Microsoft): a bearer token at once. On failure the
 * server explains itself in a challenge, and its refusal follows the answer to that.
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

const makeBearer = (name: string, fields: ReadonlyArray<string>, afterError: Uint8Array): Mechanism =>
  make({
    name,
    *script() {
      const message = [...fields, "", ""].join(separator)
      const error = yield respond(new TextEncoder().encode(message))
      return respond(afterError, new TextDecoder().decode(error))
    }
  })

/** An error is answered by a single U+0001 (RFC 7628 section 3.2.3). */
export const oauthBearer = ({ endpoint, token, username }: BearerOptions): Mechanism => {
  const address = endpoint === undefined ? [] : [`host=${endpoint.host}`, `port=${endpoint.port}`]
  const fields = [header({ _tag: "Unsupported" }, username), ...address, `auth=Bearer ${token}`]
  return makeBearer("OAUTHBEARER", fields, Uint8Array.of(1))
}

/** An error is answered by an empty line. */
export const xoauth2 = ({ token, username }: Omit<BearerOptions, "endpoint">): Mechanism =>
  makeBearer("XOAUTH2", [`user=${username}`, `auth=Bearer ${token}`], new Uint8Array(0))
