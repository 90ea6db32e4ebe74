/** The GS2 header that opens SCRAM and OAUTHBEARER messages (RFC 5801 sections 4 and 5, RFC 5802 section 7). */

/**
 * What the client can do for channel binding (RFC 5802 section 6).
 *
 * - `Unsupported`: nothing, or nothing although the server could
 * - `NotOffered`: bind, and the server does not offer it; a server that does learns that somebody removed the offer
 * - `Bound`: it binds
 */
export type Binding =
  | { readonly _tag: "Unsupported" }
  | { readonly _tag: "NotOffered" }
  | { readonly _tag: "Bound"; readonly type: string; readonly data: Uint8Array }

/** A name with `,` and `=` written as `=2C` and `=3D`. */
export const saslName = (name: string): string => name.replaceAll("=", "=3D").replaceAll(",", "=2C")

/** The header with its two commas. */
export const header = (binding: Binding, authorizationId: string | undefined): string => {
  const flag = { Unsupported: "n", NotOffered: "y", Bound: "p" }[binding._tag]
  const bound = binding._tag === "Bound" ? `=${binding.type}` : ""
  return `${flag}${bound},${authorizationId === undefined ? "" : `a=${saslName(authorizationId)}`},`
}
