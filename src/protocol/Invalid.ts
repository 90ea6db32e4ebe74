/** Invalid input from the program, as a value: it is found before a byte is sent, and never thrown. */

/** Which field is invalid, and why. */
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

export const notOneOf = (field: string, choices: ReadonlyArray<string>): Invalid =>
  invalid(field, `is none of ${choices.map((choice) => `"${choice}"`).join(", ")}`)

// Plain JavaScript and configuration have no types.

export const invalidChoice = (
  field: string,
  value: unknown,
  choices: ReadonlyArray<string>
): Invalid | undefined =>
  value === undefined || choices.some((choice) => choice === value) ? undefined : notOneOf(field, choices)

export const invalidText = (field: string, value: unknown): Invalid | undefined =>
  typeof value === "string" ? undefined : invalid(field, "is not a string")

export const invalidRecord = (field: string, value: unknown): Invalid | undefined =>
  typeof value === "object" && value !== null ? undefined : invalid(field, "is not an object")
