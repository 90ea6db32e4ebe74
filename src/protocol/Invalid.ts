/**
 * Local misuse, as a value: a piece of input that must not reach the wire. It is never thrown, and says
 * nothing of what a server did.
 */

/** Input that was refused before an octet was sent: which field, and why. */
export interface Invalid {
  readonly _tag: "Invalid"
  /** The name of the option or argument as the program wrote it, e.g. `to[2].address`. */
  readonly field: string
  /** Why the value cannot be used, as the end of a sentence that starts with the field's name. */
  readonly reason: string
}

export const invalid = (field: string, reason: string): Invalid => ({ _tag: "Invalid", field, reason })

export const isInvalid = (value: unknown): value is Invalid =>
  typeof value === "object" && value !== null && "_tag" in value && value._tag === "Invalid"

/** A value that is none of those it may be: configuration and plain JavaScript know no literal types. */
export const invalidChoice = (
  field: string,
  value: string | undefined,
  choices: ReadonlyArray<string>
): Invalid | undefined =>
  value === undefined || choices.includes(value)
    ? undefined
    : invalid(field, `is none of ${choices.map((choice) => `"${choice}"`).join(", ")}`)

/** What is no text: plain JavaScript knows no types. */
export const invalidText = (field: string, value: unknown): Invalid | undefined =>
  typeof value === "string" ? undefined : invalid(field, "is not a string")

/** What has no fields: plain JavaScript knows no types. */
export const invalidRecord = (field: string, value: unknown): Invalid | undefined =>
  typeof value === "object" && value !== null ? undefined : invalid(field, "is not an object")
