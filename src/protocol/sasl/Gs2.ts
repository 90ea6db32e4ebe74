/**
 * The GS2 header that opens SCRAM and OAUTHBEARER messages (RFC 5801 sections 4 and 5, RFC 5802 section 7).
 */

/**
 * What the client knows of channel binding (RFC 5802 section 6).
 *
 * - `Unsupported` (`n`): it cannot bind, or binds to nothing although the server could
 * - `NotOffered` (`y`): it could, and the server offers no mechanism that does; a server that did offer one
 *   learns from this that somebody removed it
 * - `Bound` (`p`): it binds
 */
export type Binding =
  | { readonly _tag: "Unsupported" }
  | { readonly _tag: "NotOffered" }
  | { readonly _tag: "Bound"; readonly type: string; readonly data: Uint8Array }

/** A name with `,` and `=` written as `=2C` and `=3D`. */
export const saslName = (name: string): string => name.replaceAll("=", "=3D").replaceAll(",", "=2C")

const flag = (binding: Binding): string => {
  switch (binding._tag) {
    case "Unsupported":
      return "n"
    case "NotOffered":
      return "y"
    case "Bound":
      return `p=${binding.type}`
  }
}

/** The header with its two commas. */
export const header = (binding: Binding, authorizationId: string | undefined): string =>
  `${flag(binding)},${authorizationId === undefined ? "" : `a=${saslName(authorizationId)}`},`
