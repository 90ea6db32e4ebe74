/**
 * Reads the options of a client: every value that a program can get wrong is checked when the client is made, before
 * anything is sent.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidChoice, invalidRecord, invalidText, isInvalid } from "../../protocol/Invalid.js"
import type { Options, Receipt, Relay, Retry } from "../../SmtpClient.js"
import type * as SmtpSession from "../../SmtpSession.js"
import { formatEndpoint } from "../transport/connection.js"
import * as Credentials from "../session/credentials.js"
import { read as readSession } from "./session.js"
import type { Bounds } from "../client/queue.js"
import * as Retries from "../client/retry.js"

export interface RelaySettings {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly priority: number
  readonly maxSessions: number
  readonly slots: number
  /** How many octets of content a session takes at once, before another message. */
  readonly windowOctets: number
  readonly session: SmtpSession.Options
}

export interface RetrySettings {
  readonly schedule: Schedule.Schedule<unknown, Receipt> | undefined
  readonly mayDuplicate: boolean
}

export interface Settings {
  readonly relays: ReadonlyArray<RelaySettings>
  readonly bounds: Bounds
  readonly retry: RetrySettings
  readonly timeoutMillis: number | undefined
  readonly shutdownMillis: number
  readonly rateLimitKey: string
}

const notADuration = `is not a duration, such as "30 seconds"`

export const read = (options: Options): Settings | Invalid => {
  const wrong = invalidRecord("options", options) ?? misfitOf(options)
  if (wrong !== undefined) return wrong
  // Before the relays, who take what is not their own from the client.
  const bounds = readBounds(options)
  if (isInvalid(bounds)) return bounds
  const relays = readRelays(options)
  if (isInvalid(relays)) return relays
  const retry = readRetry(options.retry)
  if (isInvalid(retry)) return retry
  const timeout = readMillis(options.timeout, Infinity, "timeout")
  if (isInvalid(timeout)) return timeout
  const shutdown = readMillis(options.shutdownTimeout, 30_000, "shutdownTimeout")
  if (isInvalid(shutdown)) return shutdown
  return {
    relays,
    bounds,
    retry,
    timeoutMillis: timeout === Infinity ? undefined : timeout,
    shutdownMillis: shutdown,
    rateLimitKey: options.rateLimitKey ?? relays[0]?.host ?? ""
  }
}

/** What plain JavaScript can hand over, and nothing below could go on from. */
const misfitOf = ({ rateLimitKey, relays }: Options): Invalid | undefined => {
  const wrong = rateLimitKey === undefined ? undefined : invalidText("rateLimitKey", rateLimitKey)
  if (wrong !== undefined) return wrong
  if (relays === undefined) return undefined
  if (!Array.isArray(relays)) return invalid("relays", "is not a list")
  // By the iterator, which leaves out no hole.
  const index = Array.from<unknown>(relays).findIndex((relay) => !Predicate.isObject(relay))
  return index === -1 ? undefined : invalid(`relays[${index}]`, "is not an object")
}

const readRelays = (options: Options): ReadonlyArray<RelaySettings> | Invalid => {
  const { relays } = options
  if (relays === undefined) return readAll([options], () => "")
  if (options.host !== undefined || options.path !== undefined) {
    const field = options.host === undefined ? "path" : "host"
    return invalid(
      field,
      "is given beside relays: name every server in relays, or the only one in host or path"
    )
  }
  if (relays.length === 0) return invalid("relays", "is empty: there is nowhere to send to")
  return readAll(
    relays.map((relay) => over(options, definedOf(relay))),
    (index) => `relays[${index}].`
  )
}

const readAll = (
  relays: ReadonlyArray<Relay>,
  prefix: (index: number) => string
): ReadonlyArray<RelaySettings> | Invalid => {
  const read: Array<RelaySettings> = []
  for (const [index, relay] of relays.entries()) {
    const settings = readRelay(relay)
    if (isInvalid(settings)) return { ...settings, field: `${prefix(index)}${settings.field}` }
    read.push(settings)
  }
  return read
}

const readRelay = (relay: Relay): RelaySettings | Invalid => {
  const settings = readSession(relay)
  if (isInvalid(settings)) return settings
  const wrong = relay.auth === undefined ? undefined : Credentials.problemOf(relay.auth)
  if (wrong !== undefined) return wrong
  const maxSessions = readCount(relay.maxSessions, Infinity, "maxSessions", 1)
  if (isInvalid(maxSessions)) return maxSessions
  const priority = relay.priority ?? 0
  if (!Number.isFinite(priority)) return invalid("priority", "is not a number")
  const { chunking, endpoint, host, pipelining, port, window } = settings
  // With "overlap" one message has the wire, one is next, and others wait so that it never runs empty.
  const slots =
    chunking === "eager" ? window.messages : pipelining === "overlap" ? Math.min(4, window.messages) : 1
  return {
    name: formatEndpoint(endpoint),
    host,
    port,
    priority,
    maxSessions,
    slots,
    windowOctets: window.octets,
    session: relay
  }
}

/** Options over others; of `advanced` each one by itself. */
export const over = <A extends Options>(defaults: A, own: Options): A => {
  const advanced = own.advanced === undefined ? defaults.advanced : { ...defaults.advanced, ...own.advanced }
  return { ...defaults, ...own, ...(advanced === undefined ? {} : { advanced }) }
}

/** Options that are undefined are not there: what is spread over others must not undo them. */
export const definedOf = (options: Options & Relay): Options & Relay =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

const readBounds = (options: Options): Bounds | Invalid => {
  const maxSessions = readCount(options.maxSessions, 5, "maxSessions", 1)
  if (isInvalid(maxSessions)) return maxSessions
  const maxWaiting = readCount(options.maxWaiting, Infinity, "maxWaiting", 0)
  if (isInvalid(maxWaiting)) return maxWaiting
  const maxMessages = readCount(options.maxMessages, 1000, "maxMessages", 1)
  if (isInvalid(maxMessages)) return maxMessages
  const maxAgeMillis = readMillis(options.maxAge, 900_000, "maxAge")
  if (isInvalid(maxAgeMillis)) return maxAgeMillis
  const idleMillis = readMillis(options.idleTimeout, 30_000, "idleTimeout")
  if (isInvalid(idleMillis)) return idleMillis
  const longestPauseMillis = readMillis(options.maxPause, 30_000, "maxPause")
  if (isInvalid(longestPauseMillis)) return longestPauseMillis
  return { maxSessions, maxWaiting, maxMessages, maxAgeMillis, idleMillis, longestPauseMillis }
}

/** A whole number, were it without end. */
export const readCount = (
  value: number | undefined,
  fallback: number,
  field: string,
  least: number
): number | Invalid => {
  const count = value ?? fallback
  return count === Infinity || (Number.isInteger(count) && count >= least)
    ? count
    : invalid(field, `is not a whole number from ${least}`)
}

const readMillis = (
  value: Duration.DurationInput | undefined,
  fallback: number,
  field: string
): number | Invalid => {
  if (value === undefined) return fallback
  const duration = Duration.decodeUnknown(value)
  if (Option.isNone(duration)) return invalid(field, notADuration)
  return isBelowZero(value)
    ? invalid(field, "is negative, or not a number")
    : Duration.toMillis(duration.value)
}

/** What `Duration` would take for zero. */
const isBelowZero = (value: Duration.DurationInput): boolean => {
  switch (typeof value) {
    case "number":
      return !(value >= 0)
    case "bigint":
      return value < 0n
    case "string":
      return value.startsWith("-")
    default:
      return !Duration.isDuration(value) && !(value[0] * 1e9 + value[1] >= 0)
  }
}

/** Reads how a client, or one send, is to try again. */
export const readRetry = (retry: Retry | undefined): RetrySettings | Invalid => {
  if (retry === undefined) return { schedule: Retries.briefly, mayDuplicate: false }
  if (typeof retry === "string") {
    return (
      invalidChoice("retry", retry, ["off", "briefly", "greylisted"]) ?? {
        schedule: Retries.presets[retry],
        mayDuplicate: false
      }
    )
  }
  const wrong = invalidRecord("retry", retry)
  if (wrong !== undefined) return wrong
  const { mayDuplicate = false, schedule = "briefly" } = retry
  if (!Predicate.isBoolean(mayDuplicate)) return invalid("retry.mayDuplicate", "is neither true nor false")
  if (typeof schedule !== "string") {
    return Schedule.isSchedule(schedule)
      ? { schedule, mayDuplicate }
      : invalid("retry.schedule", "is neither a Schedule nor the name of one")
  }
  const preset = readRetry(schedule)
  return isInvalid(preset) ? { ...preset, field: "retry.schedule" } : { ...preset, mayDuplicate }
}
