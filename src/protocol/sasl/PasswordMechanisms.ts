/** The mechanisms that prove a password. */

export interface PasswordMechanism<Name extends string = string> {
  readonly name: Name
  /** The hash of SCRAM. */
  readonly scram?: "SHA-1" | "SHA-256" | "SHA-512"
  /** Whether it is bound to the TLS channel. */
  readonly binds?: true
  /** Whether the password itself is sent: the others need a secret of their own kind on the server. */
  readonly sendsPassword?: true
  /** Whether it cannot express an authorization identity. */
  readonly onlyOneself?: true
}

const table = <Name extends string>(
  rows: ReadonlyArray<PasswordMechanism<Name>>
): ReadonlyArray<PasswordMechanism<Name>> => rows

/** In the order of preference. */
export const passwordMechanismTable = table([
  { name: "SCRAM-SHA-512-PLUS", scram: "SHA-512", binds: true },
  { name: "SCRAM-SHA-256-PLUS", scram: "SHA-256", binds: true },
  { name: "SCRAM-SHA-1-PLUS", scram: "SHA-1", binds: true },
  { name: "SCRAM-SHA-512", scram: "SHA-512" },
  { name: "SCRAM-SHA-256", scram: "SHA-256" },
  { name: "SCRAM-SHA-1", scram: "SHA-1" },
  { name: "CRAM-MD5", onlyOneself: true },
  { name: "PLAIN", sendsPassword: true },
  { name: "LOGIN", sendsPassword: true, onlyOneself: true }
])
