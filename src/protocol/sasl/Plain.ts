/**
 * PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login-00), EXTERNAL (RFC 4422 appendix A) and ANONYMOUS
 * (RFC 4505): mechanisms that say what they have to say, and compute nothing. The strings are sent as they are
 * given: to prepare them for comparison is the server's part (RFC 4616 section 2).
 */
import type { Mechanism } from "./Mechanism.js"
import { make, respond, wait } from "./Mechanism.js"

export interface PlainOptions {
  readonly username: string
  readonly password: string
  readonly authorizationId?: string | undefined
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

/** `authzid NUL authcid NUL passwd`, at once. */
export const plain = (options: PlainOptions): Mechanism =>
  make({
    name: "PLAIN",
    provesServer: false,
    *script() {
      return respond(utf8(`${options.authorizationId ?? ""}\0${options.username}\0${options.password}`))
    }
  })

/**
 * The user name to the first challenge and the password to the second, whatever the challenges say: some
 * servers translate their prompts. It has no initial response: servers that ignore one would take the next
 * line, the password, for the user name.
 */
export const login = (options: { readonly username: string; readonly password: string }): Mechanism =>
  make({
    name: "LOGIN",
    provesServer: false,
    *script() {
      yield wait
      yield respond(utf8(options.username))
      return respond(utf8(options.password))
    }
  })

/** The authorization identity, or nothing for the one that the server takes from the certificate. */
export const external = (options: { readonly authorizationId?: string | undefined }): Mechanism =>
  make({
    name: "EXTERNAL",
    provesServer: false,
    *script() {
      return respond(utf8(options.authorizationId ?? ""))
    }
  })

/** Trace information for the server's log: an address, or a word without `@`, or nothing. */
export const anonymous = (options: { readonly trace?: string | undefined }): Mechanism =>
  make({
    name: "ANONYMOUS",
    provesServer: false,
    *script() {
      return respond(utf8(options.trace ?? ""))
    }
  })
