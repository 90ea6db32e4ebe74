/**
 * Values as configuration or plain JavaScript hands them over: no type has seen them.
 */

const isAnything = (_value: unknown, given: boolean): _value is never => given

/** Any value where any type is wanted. */
export const untyped = (value: unknown): never => {
  if (isAnything(value, true)) return value
  throw new Error("nothing was given")
}
