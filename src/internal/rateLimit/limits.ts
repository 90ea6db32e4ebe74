/** Limits as they are counted: checked, and in milliseconds. */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"

export type Unit = "messages" | "recipients"

export interface Window {
  readonly of: Unit
  readonly limit: number
  /** Milliseconds. */
  readonly interval: number
}

/** How much is asked for. */
export type Amounts = Readonly<Record<Unit, number>>

interface Limit {
  readonly limit: number
  readonly interval: Duration.DurationInput
}

export const read = (
  limits: Readonly<Partial<Record<Unit, Limit | undefined>>>
): ReadonlyArray<Window> | Invalid => {
  const windows: Array<Window> = []
  for (const of of ["messages", "recipients"] as const) {
    const limit = limits[of]
    const window = limit === undefined ? undefined : readOne(of, limit)
    if (isInvalid(window)) return window
    if (window !== undefined) windows.push(window)
  }
  return windows
}

const readOne = (of: Unit, { interval, limit }: Limit): Window | Invalid => {
  if (!Number.isSafeInteger(limit) || limit < 1) {
    return invalid(`${of}.limit`, "is not a whole number above zero")
  }
  const length = Option.map(Duration.decodeUnknown(interval), Duration.toMillis)
  return Option.isSome(length) && length.value > 0 && Number.isFinite(length.value)
    ? { of, limit, interval: length.value }
    : invalid(`${of}.interval`, `is not a duration above zero, such as "1 minute"`)
}

/** Why there is never a place: fields of a RateLimitError. */
export const whyNever = (
  windows: ReadonlyArray<Window>,
  amounts: Amounts
): { readonly reason: "OverLimit" | "Invalid"; readonly of: Unit; readonly limit?: number } | undefined => {
  for (const of of ["messages", "recipients"] as const) {
    if (!Number.isSafeInteger(amounts[of]) || amounts[of] < 0) return { reason: "Invalid", of }
  }
  const over = windows.find(({ limit, of }) => amounts[of] > limit)
  return over === undefined ? undefined : { reason: "OverLimit", of: over.of, limit: over.limit }
}

/** A number under `key` and its interval under `key_INTERVAL`, both or neither. */
export const limitConfig = (key: string): Config.Config<Limit | undefined> =>
  Config.all({
    limit: Config.option(
      Config.validate(Config.integer(key), {
        message: "Expected a number above zero",
        validation: (limit) => limit > 0
      })
    ),
    interval: Config.option(Config.duration(`${key}_INTERVAL`))
  }).pipe(
    Config.mapOrFail(({ interval, limit }) => {
      if (Option.isNone(limit) && Option.isNone(interval)) return Either.right(undefined)
      if (Option.isNone(interval)) return missing(`${key}_INTERVAL`)
      return Option.isNone(limit)
        ? missing(key)
        : Either.right({ limit: limit.value, interval: interval.value })
    })
  )

const missing = (key: string) =>
  Either.left(
    ConfigError.MissingData([key], `Expected ${key} to exist: a limit has a number and an interval`)
  )
