/**
 * Reading a message checks dozens of nested values. The functions that do it throw InvalidArgument, and `attempt` and
 * `caught` are the only places that catch it.
 */
import * as Effect from "effect/Effect"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import { InvalidArgument } from "../../SmtpError.js"

/** To be thrown. The reason ends a sentence that begins with the field's name. */
export const refusal = (field: string, reason: string): InvalidArgument =>
  new InvalidArgument({ field, reason })

export const refuseIf = (field: string, reason: string | undefined): void => {
  if (reason !== undefined) throw refusal(field, reason)
}

export const accept = <A>(read: A | Invalid): A => {
  if (isInvalid(read)) throw refusal(read.field, read.reason)
  return read
}

export const caught = <A>(read: () => A): A | InvalidArgument => {
  try {
    return read()
  } catch (error) {
    if (error instanceof InvalidArgument) return error
    throw error
  }
}

export const attempt = <A>(read: () => A): Effect.Effect<A, InvalidArgument> =>
  Effect.suspend(() => {
    const result = caught(read)
    return result instanceof InvalidArgument ? Effect.fail(result) : Effect.succeed(result)
  })

// Plain JavaScript and parsed JSON hold any value, whatever the types say.

export const isList = (value: unknown): boolean => Array.isArray(value)

export const isObject = (value: unknown): boolean =>
  typeof value === "object" && value !== null && !isList(value)

export const isMissing = (value: unknown): boolean => value === undefined

const isTexts = (input: string | ReadonlyArray<string>): input is ReadonlyArray<string> => isList(input)

export const several = (input: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  isTexts(input) ? input : [input]

/** Reads each item of a list of objects, and names it by its position, or by the one that stands for it. */
export const readEach = <A, B>(
  items: ReadonlyArray<A>,
  field: string,
  read: (item: A, field: string) => B,
  positions: ReadonlyArray<number> = []
): ReadonlyArray<B> => {
  if (!isList(items)) throw refusal(field, "is not a list")
  return items.map((item, position) => {
    const place = `${field}[${positions[position] ?? position}]`
    if (!isObject(item)) throw refusal(place, "is not an object")
    return read(item, place)
  })
}
