/** The mechanisms that prove a password, in the order of preference. */

export interface PasswordMechanismRow {
  readonly name:
    | "SCRAM-SHA-512-PLUS"
    | "SCRAM-SHA-256-PLUS"
    | "SCRAM-SHA-1-PLUS"
    | "SCRAM-SHA-512"
    | "SCRAM-SHA-256"
    | "SCRAM-SHA-1"
    | "CRAM-MD5"
    | "PLAIN"
    | "LOGIN"
  /** The hash of SCRAM. */
  readonly scram?: "SHA-1" | "SHA-256" | "SHA-512"
  /** Whether it is bound to the TLS channel. */
  readonly binds?: true
  /** Whether the password itself is sent; with the others the server needs a secret of the mechanism's own kind. */
  readonly sendsPassword?: true
  /** Whether it cannot express an authorization identity. */
  readonly onlyOneself?: true
}

export const passwordMechanismRows: ReadonlyArray<PasswordMechanismRow> = [
  { name: "SCRAM-SHA-512-PLUS", scram: "SHA-512", binds: true },
  { name: "SCRAM-SHA-256-PLUS", scram: "SHA-256", binds: true },
  { name: "SCRAM-SHA-1-PLUS", scram: "SHA-1", binds: true },
  { name: "SCRAM-SHA-512", scram: "SHA-512" },
  { name: "SCRAM-SHA-256", scram: "SHA-256" },
  { name: "SCRAM-SHA-1", scram: "SHA-1" },
  { name: "CRAM-MD5", onlyOneself: true },
  { name: "PLAIN", sendsPassword: true },
  { name: "LOGIN", sendsPassword: true, onlyOneself: true }
]
