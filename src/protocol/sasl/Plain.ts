/**
 * PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login-00), EXTERNAL (RFC 4422 appendix A) and ANONYMOUS (RFC 4505). They
 * send their strings as given: to prepare them for comparison is the server's part (RFC 4616 section 2).
 */
import type { Mechanism } from "./Mechanism.js"
import { make, respond, wait } from "./Mechanism.js"

export interface PlainOptions {
  readonly username: string
  readonly password: string
  readonly authorizationId?: string | undefined
}

const respondText = (text: string) => respond(new TextEncoder().encode(text))

/** Says the same again to a server that has read AUTH without its initial response, and asks. */
const makeSingleMessage = (name: string, text: string): Mechanism =>
  make({
    name,
    *script() {
      yield respondText(text)
      return respondText(text)
    }
  })

export const plain = ({ authorizationId = "", password, username }: PlainOptions): Mechanism =>
  makeSingleMessage("PLAIN", `${authorizationId}\0${username}\0${password}`)

/** Without an authorization identity the server takes the one of the certificate. */
export const external = (options: { readonly authorizationId?: string | undefined }): Mechanism =>
  makeSingleMessage("EXTERNAL", options.authorizationId ?? "")

export const anonymous = (options: { readonly trace?: string | undefined }): Mechanism =>
  makeSingleMessage("ANONYMOUS", options.trace ?? "")

/**
 * Whatever the challenges say: some servers translate their prompts. There is no initial response, because servers that
 * ignore one would take the next line, the password, for the user name.
 */
export const login = (options: { readonly username: string; readonly password: string }): Mechanism =>
  make({
    name: "LOGIN",
    *script() {
      yield wait
      yield respondText(options.username)
      return respondText(options.password)
    }
  })
