/** The options of a client: their table, and how they are read when the client is made. */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidRecord, isInvalid } from "../../protocol/Invalid.js"
import type { Options, Receipt, Relay, Retry } from "../../SmtpClient.js"
import type * as SmtpSession from "../../SmtpSession.js"
import type { Bounds } from "../client/pool.js"
import * as Retries from "../client/retry.js"
import { readLimits } from "../rateLimit/limits.js"
import * as Credentials from "../session/credentials.js"
import { formatEndpoint } from "../transport/connection.js"
import type { Kind, Rows } from "./fields.js"
import { choice, duration, flag, int, number, opaque, option, optionWith, problemOf, text } from "./fields.js"
import type { SessionSettings } from "./session.js"
import { readSessionOptions } from "./session.js"

// -- the table

const preset = choice("off", "briefly", "greylisted")

/** Written as the name of a schedule, with `retry.mayDuplicate` beside it. */
const retry: Kind<Retry> = {
  type: `${preset.type}, or an object`,
  problemOf: () => undefined,
  leaves: [
    ...preset.leaves.map((leaf) => ({ ...leaf, read: preset.read })),
    {
      path: "mayDuplicate",
      type: flag.type,
      isSecret: false,
      fallback: "false",
      doc: "Tries again after `Unknown` too, which can deliver a message twice.",
      read: (written, name, current) => {
        const mayDuplicate = flag.read(written, name)
        if (typeof mayDuplicate !== "boolean") return mayDuplicate
        return { schedule: typeof current === "string" ? current : undefined, mayDuplicate }
      }
    }
  ]
}

const relays: Kind<ReadonlyArray<Relay>> = {
  ...opaque("list of objects"),
  problemOf: (value, name) => {
    if (!Array.isArray(value)) return invalid(name, "is not a list")
    if (value.length === 0) return invalid(name, "is empty: there is nowhere to send to")
    // Array.from, since findIndex of an array with holes would hand them over as undefined.
    const index = Array.from<unknown>(value).findIndex((relay) => !Predicate.isObject(relay))
    return index === -1 ? undefined : invalid(`${name}[${index}]`, "is not an object")
  }
}

const rateLimit: Kind<NonNullable<Options["rateLimit"]>> = {
  ...opaque("limits, a service, or off"),
  problemOf: (value, name) => {
    if (value === "off" || (Predicate.isObject(value) && "reserve" in value)) return undefined
    if (!Predicate.isObject(value)) return invalid(name, "is neither limits nor a service nor off")
    const limits = readLimits(value)
    if (isInvalid(limits)) return { ...limits, field: `${name}.${limits.field}` }
    return limits.length > 0 ? undefined : invalid(name, "sets no limit; give messages or recipients")
  }
}

/** Those that concern the client as a whole. */
export const clientRows = {
  relays: option(relays, "`host`", "Several servers, each with options of its own and a `priority`."),
  maxSessions: optionWith(int(1), 5, "Sessions open at once, those that are being closed included."),
  maxWaiting: optionWith(int(0), Infinity, "Messages that may wait for a session; without it senders wait."),
  maxMessages: optionWith(
    int(1),
    1000,
    "Messages of one session; the server's MAILMAX (RFC 9422) is kept as well."
  ),
  maxAge: optionWith(duration, "15 minutes", "How long a session is used."),
  idleTimeout: optionWith(
    duration,
    "30 seconds",
    "How long an idle session is kept; choose less than the server does."
  ),
  maxPause: optionWith(
    duration,
    "30 seconds",
    "Longest pause after a relay failed; pauses begin at half a second and double."
  ),
  retry: optionWith(retry, "briefly", "Further attempts after temporary refusals and failures."),
  rateLimit: option(
    rateLimit,
    "SmtpRateLimit",
    "Limits, or a service; default the service provided, if any."
  ),
  rateLimitKey: option(text, "first host", "Key under which an SmtpRateLimit counts messages."),
  timeout: option(duration, "none", "Limit of a send without its own: waits, attempts and pauses together."),
  shutdownTimeout: optionWith(duration, "30 seconds", "Time for messages in flight when the client closes.")
} satisfies Rows<Omit<Options, keyof SmtpSession.Options>>

/** Those of a server among several. */
export const relayRows = {
  priority: optionWith(number, 0, "The lowest goes first; relays with equal priority share the load."),
  maxSessions: option(int(1), "those of the client", "Sessions open at this relay.")
} satisfies Rows<Omit<Relay, keyof SmtpSession.Options>>

/** Limits of the sessions of a client, where they are not those of SmtpSession. */
export const clientTimeouts = {
  greeting: Duration.seconds(30),
  /** For MAIL and RCPT, until a message was delivered. */
  firstMail: Duration.minutes(1)
}

// -- reading

export interface RelaySettings {
  readonly name: string
  readonly endpoint: SessionSettings["endpoint"]
  readonly host: string
  readonly port: number
  readonly priority: number
  readonly maxSessions: number
  readonly slots: number
  /** Bytes of content in flight on a session, beyond which no other message begins. */
  readonly windowOctets: number
  readonly session: SmtpSession.Options
}

export interface RetrySettings {
  readonly schedule: Schedule.Schedule<unknown, Receipt> | undefined
  readonly mayDuplicate: boolean
}

export interface ClientSettings {
  readonly relays: ReadonlyArray<RelaySettings>
  readonly bounds: Bounds
  readonly retry: RetrySettings
  readonly timeoutMillis: number | undefined
  readonly shutdownMillis: number
  readonly rateLimit: Options["rateLimit"]
  readonly rateLimitKey: string
}

export const readClientOptions = (options: Options): ClientSettings | Invalid => {
  const wrong = invalidRecord("options", options) ?? problemOf(clientRows, options)
  if (wrong !== undefined) return wrong
  const relays = readRelays(options)
  if (isInvalid(relays)) return relays
  const retry = readRetry(options.retry)
  if (isInvalid(retry)) return retry
  const timeoutMillis = Duration.toMillis(options.timeout ?? Infinity)
  return {
    relays,
    bounds: {
      maxSessions: options.maxSessions ?? clientRows.maxSessions.default,
      maxWaiting: options.maxWaiting ?? clientRows.maxWaiting.default,
      maxMessages: options.maxMessages ?? clientRows.maxMessages.default,
      maxAgeMillis: Duration.toMillis(options.maxAge ?? clientRows.maxAge.default),
      idleMillis: Duration.toMillis(options.idleTimeout ?? clientRows.idleTimeout.default),
      longestPauseMillis: Duration.toMillis(options.maxPause ?? clientRows.maxPause.default),
      jitter: () => 0.8 + Math.random() * 0.4
    },
    retry,
    timeoutMillis: timeoutMillis === Infinity ? undefined : timeoutMillis,
    shutdownMillis: Duration.toMillis(options.shutdownTimeout ?? clientRows.shutdownTimeout.default),
    rateLimit: options.rateLimit,
    rateLimitKey: options.rateLimitKey ?? relays[0]?.host ?? ""
  }
}

const readRelays = (options: Options): ReadonlyArray<RelaySettings> | Invalid => {
  const { relays } = options
  if (relays === undefined) {
    const only = readRelay(options)
    return isInvalid(only) ? only : [only]
  }
  if (options.host !== undefined || options.path !== undefined) {
    const field = options.host === undefined ? "path" : "host"
    return invalid(
      field,
      "is given beside relays: name every server in relays, or the only one in host or path"
    )
  }
  const read: Array<RelaySettings> = []
  for (const [index, relay] of relays.entries()) {
    const settings = readRelay(over(options, definedOf(relay)))
    if (isInvalid(settings)) return { ...settings, field: `relays[${index}].${settings.field}` }
    read.push(settings)
  }
  return read
}

const readRelay = (relay: Relay): RelaySettings | Invalid => {
  const settings = readSessionOptions(relay)
  if (isInvalid(settings)) return settings
  const wrong =
    (relay.auth === undefined ? undefined : Credentials.problemOf(relay.auth)) ?? problemOf(relayRows, relay)
  if (wrong !== undefined) return wrong
  const { chunking, endpoint, host, pipelining, port, window } = settings
  // With "overlap" one message is being sent and one is next; others wait so that the session is never idle.
  const slots =
    chunking === "eager" ? window.messages : pipelining === "overlap" ? Math.min(4, window.messages) : 1
  return {
    name: formatEndpoint(endpoint),
    endpoint,
    host,
    port,
    priority: relay.priority ?? relayRows.priority.default,
    maxSessions: relay.maxSessions ?? Infinity,
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

/** Options without those that are undefined, which must not override others when they are spread over them. */
export const definedOf = (options: Options & Relay): Options & Relay =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

export const readCount = (
  value: number | undefined,
  fallback: number,
  field: string,
  least: number
): number | Invalid => (value === undefined ? fallback : (int(least).problemOf(value, field) ?? value))

/** How a client, or one send, tries again. */
export const readRetry = (retry: Retry | undefined): RetrySettings | Invalid => {
  if (retry === undefined || typeof retry === "string") {
    const name = preset.read(retry ?? clientRows.retry.default, "retry")
    return isInvalid(name) ? name : { schedule: Retries.presets[name], mayDuplicate: false }
  }
  const wrong = invalidRecord("retry", retry)
  if (wrong !== undefined) return wrong
  const { mayDuplicate = false, schedule = clientRows.retry.default } = retry
  const notAFlag = flag.problemOf(mayDuplicate, "retry.mayDuplicate")
  if (notAFlag !== undefined) return notAFlag
  if (typeof schedule !== "string") {
    return Schedule.isSchedule(schedule)
      ? { schedule, mayDuplicate }
      : invalid("retry.schedule", "is neither a Schedule nor the name of one")
  }
  const name = preset.read(schedule, "retry.schedule")
  return isInvalid(name) ? name : { schedule: Retries.presets[name], mayDuplicate }
}
