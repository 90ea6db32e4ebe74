/** Credentials as the pure mechanisms see them. */
import type { PreparedPassword } from "../SetUpStep.js"

/** Well-formed credentials. The names of mechanisms are in any letter case, in the order of preference. */
export type Credentials =
  | PasswordCredentials
  | TokenCredentials
  | (CommonCredentials & { readonly _tag: "External"; readonly authorizationId?: string | undefined })
  | (CommonCredentials & { readonly _tag: "Anonymous"; readonly trace?: string | undefined })
  | (CommonCredentials & { readonly _tag: "ProgramMechanism"; readonly name: string })

interface CommonCredentials {
  /** Whether the AUTH line may hold the initial response. Default true. */
  readonly initialResponse?: boolean | undefined
}

export interface PasswordCredentials extends CommonCredentials, PreparedPassword {
  readonly _tag: "Password"
  readonly authorizationId?: string | undefined
  readonly mechanisms?: ReadonlyArray<string> | undefined
  readonly maximumIterations?: number | undefined
}

export interface TokenCredentials extends CommonCredentials {
  readonly _tag: "OAuth2"
  readonly username: string
  readonly mechanisms?: ReadonlyArray<string> | undefined
  /** Whether another token can be had after the first was refused. */
  readonly renewable: boolean
}
