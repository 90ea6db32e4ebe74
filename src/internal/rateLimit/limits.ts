/** Rate limits, validated and in milliseconds. */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import type { Limit, Limits } from "../../SmtpRateLimit.js"
import { checked, missing, optional, valid } from "../effect/config.js"

export type RateUnit = "messages" | "recipients"

const units = ["messages", "recipients"] as const

export interface RateWindow {
  readonly of: RateUnit
  readonly limit: number
  /** Milliseconds. */
  readonly interval: number
}

/** How much a request asks for. */
export type Amounts = Readonly<Record<RateUnit, number>>

export const readLimits = (limits: Limits): ReadonlyArray<RateWindow> | Invalid => {
  const windows: Array<RateWindow> = []
  for (const of of units) {
    const limit = limits[of]
    const window = limit === undefined ? undefined : readLimit(of, limit)
    if (isInvalid(window)) return window
    if (window !== undefined) windows.push(window)
  }
  return windows
}

const readLimit = (of: RateUnit, given: Limit): RateWindow | Invalid => {
  if (!Predicate.isObject(given)) return invalid(of, "is not an object with limit and interval")
  const { interval, limit } = given
  if (!Number.isSafeInteger(limit) || limit < 1) {
    return invalid(`${of}.limit`, "is not a whole number above zero")
  }
  const length = Option.map(Duration.decodeUnknown(interval), Duration.toMillis)
  return Option.isSome(length) && length.value > 0 && Number.isFinite(length.value)
    ? { of, limit, interval: length.value }
    : invalid(`${of}.interval`, `is not a duration above zero, such as "1 minute"`)
}

/** Why no wait can help: fields of a RateLimitError. */
export const whyNever = (
  windows: ReadonlyArray<RateWindow>,
  amounts: Amounts
):
  | { readonly reason: "OverLimit" | "Invalid"; readonly of: RateUnit; readonly limit?: number }
  | undefined => {
  for (const of of units) {
    if (!Number.isSafeInteger(amounts[of]) || amounts[of] < 0) return { reason: "Invalid", of }
  }
  const over = windows.find(({ limit, of }) => amounts[of] > limit)
  return over && { reason: "OverLimit", of: over.of, limit: over.limit }
}

/** A number under `key` and its interval under `key_INTERVAL`, both or neither. */
export const limitConfig = (key: string): Config.Config<Limit | undefined> => {
  const both = Config.all({
    limit: optional(
      Config.validate(Config.integer(key), {
        message: "Expected a number above zero",
        validation: (limit) => limit > 0
      })
    ),
    interval: optional(Config.duration(`${key}_INTERVAL`))
  })
  return checked(both, ({ interval, limit }) => {
    if (limit === undefined && interval === undefined) return valid(undefined)
    if (limit !== undefined && interval !== undefined) return valid({ limit, interval })
    const absent = limit === undefined ? key : `${key}_INTERVAL`
    return missing(absent, `Expected ${absent} to exist: a limit requires a number and an interval`)
  })
}
