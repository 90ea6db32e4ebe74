/**
 * Options from URLs: `smtp:`, `smtps:` and `lmtp:`. What a URL holds is never shown, since it may hold a password.
 */
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import type { Options, UrlOptions } from "../../SmtpClient.js"
import { definedOf, over } from "./client.js"
import * as Written from "./text.js"

type Url = string | Redacted.Redacted

/**
 * Reads one URL, or one for each relay. What the program says itself outranks them all, the password included.
 */
export const read = (
  urls: Url | ReadonlyArray<Url>,
  { password, ...own }: UrlOptions
): Effect.Effect<Options, ConfigError.ConfigError> =>
  Effect.suspend(() => {
    const extra = password === undefined ? nothing : new Map([["password", Redacted.value(password)]])
    const all = isSeveral(urls) ? urls : [urls]
    const given = definedOf(own)
    const read = readAll(all, extra)
    const options = isInvalid(read) ? read : outranked(read, given)
    const problem = isInvalid(options) ? options : Written.problemOf(options)
    if (problem !== undefined) {
      return Effect.fail(configError(attribute(problem, all, isSaidBy(given, extra)), (name) => name))
    }
    return isInvalid(options) ? Effect.fail(configError(options, (name) => name)) : Effect.succeed(options)
  })

const fieldsOfAuth = [
  "username",
  "password",
  "authorizationId",
  "mechanisms",
  "maximumIterations",
  "trace",
  "name"
]

/** Whether the program says an option itself, were it within another. */
const isSaidBy = (own: Options, extra: ReadonlyMap<string, string>): IsOwn => {
  const names: ReadonlySet<string> = new Set([...Object.keys(own), ...extra.keys()])
  const ofAuth = own.auth === undefined ? [] : fieldsOfAuth
  return (name, isOfRelay) => {
    // The sessions of each relay are said by its URL alone, and what it says of the client is its own fault.
    if (isOfRelay && (name === "maxSessions" || ofClientOnly.has(name))) return false
    return names.has(name.replace(/[.[].*$/, "")) || ofAuth.includes(name)
  }
}

/** Whether an option was said elsewhere than in the URLs. */
type IsOwn = (name: string, isOfRelay: boolean) => boolean

/**
 * A problem that a URL has is one of `url`, and says which URL and which option; the program's own options have theirs
 * under their own names.
 */
export const attribute = (problem: Invalid, urls: ReadonlyArray<Url>, isOwn: IsOwn): Invalid => {
  const [, place, inRelay] = /^relays\[(\d+)\]\.(.+)$/.exec(problem.field) ?? []
  const name = inRelay ?? problem.field
  if (isOwn("relays", false)) return problem
  if (isOwn(name, inRelay !== undefined)) return { ...problem, field: name }
  const isOfUrl = name === "url"
  if (urls.length < 2)
    return isOfUrl ? problem : invalid("url", `holds a URL whose ${name} ${problem.reason}`)
  // What concerns the client is said by the first.
  const index = Number(place ?? 0)
  return invalid(
    "url",
    `holds a URL, number ${index + 1}${hostIn(urls[index])}, ${isOfUrl ? "which" : `whose ${name}`} ${problem.reason}`
  )
}

/** For a person to find the URL by. Before an @ that comes too late there may be half of a password. */
const hostIn = (url: Url | undefined): string => {
  const text = url === undefined ? "" : textOf(url)
  if (!URL.canParse(text)) return ""
  const { hash, hostname, pathname, search } = new URL(text)
  return hostname === "" || `${pathname}${search}${hash}`.includes("@") ? "" : ` (${hostname})`
}

// What is neither is no address either.
const textOf = (url: Url): string =>
  typeof url === "string" ? url : Redacted.isRedacted(url) ? Redacted.value(url) : ""

const nothing: ReadonlyMap<string, string> = new Map()

/** What a relay says would outrank the client: the program's options are put before both. */
const outranked = (read: Options, own: Options): Options => ({
  ...over(read, own),
  // How many sessions a relay may have is its own; the program's number is that of the client.
  ...(read.relays === undefined || own.relays !== undefined
    ? {}
    : { relays: read.relays.map((relay) => ({ ...over(relay, own), maxSessions: relay.maxSessions })) })
})

const isSeveral = (urls: Url | ReadonlyArray<Url>): urls is ReadonlyArray<Url> => Array.isArray(urls)

/** A problem of an option as the error of a configuration, which calls options by other names. */
export const configError = (
  { field, reason }: Invalid,
  keyOf: (name: string) => string
): ConfigError.ConfigError => ConfigError.InvalidData([keyOf(field)], `${keyOf(field)} ${reason}`)

/**
 * Reads several URLs, each of which is to say `extra` too. A problem of one of several is that of a relay.
 */
export const readAll = (urls: ReadonlyArray<Url>, extra: ReadonlyMap<string, string>): Options | Invalid => {
  const all: Array<Options> = []
  for (const [index, url] of urls.entries()) {
    const options = readOne(textOf(url), extra, index > 0)
    if (isInvalid(options)) {
      return urls.length === 1 ? options : { ...options, field: `relays[${index}].${options.field}` }
    }
    all.push(options)
  }
  const [first] = all
  if (first === undefined) return invalid("url", "is missing: there is nowhere to send to")
  return all.length === 1 ? first : { ...ofClient(first), relays: all }
}

const ofClient = ({
  idleTimeout,
  maxAge,
  maxMessages,
  maxPause,
  maxSessions,
  maxWaiting,
  rateLimitKey,
  retry,
  shutdownTimeout,
  timeout
}: Options): Options => ({
  idleTimeout,
  maxAge,
  maxMessages,
  maxPause,
  maxSessions,
  maxWaiting,
  rateLimitKey,
  retry,
  shutdownTimeout,
  timeout
})

/** By their names in a URL. */
const ofClientOnly: ReadonlySet<string> = new Set([
  "idleTimeout",
  "maxAge",
  "maxMessages",
  "maxPause",
  "maxWaiting",
  "rateLimitKey",
  "retry",
  "retry.mayDuplicate",
  "shutdownTimeout",
  "timeout"
])

const schemes: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map([
  ["smtp:", new Map()],
  ["smtps:", new Map([["tls", "implicit"]])],
  ["lmtp:", new Map([["dialect", "lmtp"]])]
])

const inUrl = "belongs before the query of the URL"

const notInQuery: ReadonlyMap<string, string> = new Map([
  ["host", inUrl],
  ["port", inUrl],
  ["path", inUrl],
  ["username", inUrl],
  ["password", inUrl],
  ["dialect", "is said by the scheme of the URL: smtp: or lmtp:"]
])

const notAnAddress =
  "is no address of a server: smtp://, smtps:// or lmtp://, then host:port, with a port up to 65535 if any, and with %2F, %3F, %23 or %40 for /, ?, # or @ in a user name or password"

const known: ReadonlySet<string> = new Set(Written.fields.map(({ name }) => name))

const readOne = (text: string, extra: ReadonlyMap<string, string>, isAnother: boolean): Options | Invalid => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const scheme = url === undefined ? undefined : schemes.get(url.protocol)
  if (url === undefined || scheme === undefined) {
    return invalid("url", notAnAddress)
  }
  const texts = new Map(scheme)
  const problem =
    readAddress(url, texts) ?? readQuery(url, texts) ?? (isAnother ? strayOf(texts, extra) : undefined)
  return problem ?? Written.read(new Map([...texts, ...extra]))
}

/** What a URL other than the first says, and nobody would hear. */
const strayOf = (
  texts: ReadonlyMap<string, string>,
  extra: ReadonlyMap<string, string>
): Invalid | undefined => {
  const stray = [...texts.keys()].find((name) => ofClientOnly.has(name) && !extra.has(name))
  return stray === undefined
    ? undefined
    : invalid(stray, "belongs to the first URL: it concerns the whole client")
}

const readAddress = (url: URL, texts: Map<string, string>): Invalid | undefined => {
  if (url.hash !== "") return invalid("url", "has a #: write %23 for one within a user name or password")
  for (const name of ["username", "password"] as const) {
    if (url[name] === "") continue
    const value = decode(url[name])
    if (value === undefined) return invalid(name, "holds a % that encodes nothing: write %25 for a plain %")
    texts.set(name, value)
  }
  if (url.hostname === "") return readPath(url, texts)
  if (url.pathname !== "" && url.pathname !== "/") return invalid("url", "has a path behind the host")
  // The schemes are none that the URL standard knows: what is beyond ASCII in a host is left encoded.
  const host = decode(url.hostname)
  if (host === undefined) return invalid("host", "holds a % that encodes nothing")
  texts.set("host", host.replace(/^\[(.*)\]$/, "$1"))
  if (url.port !== "") texts.set("port", url.port)
  return undefined
}

const readPath = (url: URL, texts: Map<string, string>): Invalid | undefined => {
  if (url.protocol !== "lmtp:" || url.pathname.length < 2) return invalid("url", "names no host")
  const path = decode(url.pathname)
  if (path === undefined) return invalid("path", "holds a % that encodes nothing: write %25 for a plain %")
  texts.set("path", path)
  return undefined
}

const readQuery = (url: URL, texts: Map<string, string>): Invalid | undefined => {
  const seen = new Set<string>()
  for (const [name, value] of url.searchParams) {
    const elsewhere = notInQuery.get(name)
    if (elsewhere !== undefined) return invalid(name, elsewhere)
    if (!known.has(name)) return unknownOption(name, url)
    if (seen.has(name)) return invalid(name, "is given twice")
    seen.add(name)
    if (name === "tls" && texts.get(name) !== undefined && texts.get(name) !== value) {
      return invalid(name, "contradicts smtps:, which is TLS from the first octet: begin with smtp:")
    }
    texts.set(name, value)
  }
  return undefined
}

/** Behind an @ that comes too late is the host, and before it the password: what is there is shown to nobody. */
const unknownOption = (name: string, { search }: URL): Invalid =>
  search.includes("@")
    ? invalid("url", "has an unknown option, and an @ behind it: a ? in a user name or password is %3F")
    : invalid("url", `has an option that is unknown: ${JSON.stringify(name)}`)

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
