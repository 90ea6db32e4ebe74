/** Options from URLs: `smtp:`, `smtps:` and `lmtp:`. A message never shows a URL, since it may hold a password. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import type { Options, UrlOptions } from "../../SmtpClient.js"
import type { ConfigError } from "../effect/config.js"
import { invalidData } from "../effect/config.js"
import { clientRows, definedOf, over } from "./client.js"
import { pick } from "./fields.js"
import * as Texts from "./text.js"

type Url = string | Redacted.Redacted

/** Reads one URL, or one for each relay. The options of the program override them all, the password included. */
export const read = (
  urls: Url | ReadonlyArray<Url>,
  { password, ...own }: UrlOptions
): Effect.Effect<Options, ConfigError> =>
  Effect.suspend(() => {
    const extra = new Map(password === undefined ? [] : [["password", Redacted.value(password)]])
    const all = isSeveral(urls) ? urls : [urls]
    const given = definedOf(own)
    const read = readAll(all, extra)
    const options = Texts.checkOptions(isInvalid(read) ? read : override(read, given))
    return isInvalid(options)
      ? Effect.fail(configError(attribute(options, all, isIn(given, extra)), (name) => name))
      : Effect.succeed(options)
  })

/** By their names in the errors of credentials. */
const partsOfAuth = [
  "username",
  "password",
  "authorizationId",
  "mechanisms",
  "maximumIterations",
  "trace",
  "name"
]

/** Whether an option comes from elsewhere than the URLs. */
type IsOwn = (name: string, isOfRelay: boolean) => boolean

/** Whether the program gives an option, or what holds it. */
const isIn = (own: Options, extra: ReadonlyMap<string, string>): IsOwn => {
  const names: ReadonlySet<string> = new Set([...Object.keys(own), ...extra.keys()])
  const ofAuth = own.auth === undefined ? [] : partsOfAuth
  return (name, isOfRelay) => {
    // The program cannot set the sessions of one relay, nor an option of the client in the URL of a relay.
    if (isOfRelay && Texts.clientFields.has(name)) return false
    return names.has(name.replace(/[.[].*$/, "")) || ofAuth.includes(name)
  }
}

/**
 * A problem within a URL is one of `url`, and says which URL and which option; options from elsewhere keep their names.
 */
export const attribute = (problem: Invalid, urls: ReadonlyArray<Url>, isOwn: IsOwn): Invalid => {
  const [, place, inRelay] = /^relays\[(\d+)\]\.(.+)$/.exec(problem.field) ?? []
  const name = inRelay ?? problem.field
  if (isOwn("relays", false)) return problem
  if (isOwn(name, inRelay !== undefined)) return { ...problem, field: name }
  const isOfUrl = name === "url"
  if (urls.length < 2) {
    return isOfUrl ? problem : invalid("url", `holds a URL whose ${name} ${problem.reason}`)
  }
  // Options of the client come from the first.
  const index = Number(place ?? 0)
  return invalid(
    "url",
    `holds a URL, number ${index + 1}${hostIn(urls[index])}, ${isOfUrl ? "which" : `whose ${name}`} ${problem.reason}`
  )
}

/** For a person to find the URL by. Before an @ that comes too late there may be half of a password. */
const hostIn = (url: Url | undefined): string => {
  const parsed = url === undefined ? undefined : parse(textOf(url)).url
  if (parsed === undefined) return ""
  const { hash, hostname, pathname, search } = parsed
  return hostname === "" || `${pathname}${search}${hash}`.includes("@") ? "" : ` (${hostname})`
}

// What is neither is no address either.
const textOf = (url: Url): string =>
  typeof url === "string" ? url : Redacted.isRedacted(url) ? Redacted.value(url) : ""

/** A relay would override the client, so the options of the program go over both. */
const override = (read: Options, own: Options): Options => ({
  ...over(read, own),
  // The program's number of sessions is that of the client.
  ...(read.relays === undefined || own.relays !== undefined
    ? {}
    : { relays: read.relays.map((relay) => ({ ...over(relay, own), maxSessions: relay.maxSessions })) })
})

const isSeveral = (urls: Url | ReadonlyArray<Url>): urls is ReadonlyArray<Url> => Array.isArray(urls)

/** A problem of an option as the error of a configuration, which calls options by other names. */
export const configError = ({ field, reason }: Invalid, keyOf: (name: string) => string): ConfigError =>
  invalidData(keyOf(field), `${keyOf(field)} ${reason}`)

/** Reads several URLs, with the texts of `extra` in each. A problem of one of several is that of a relay. */
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
  return all.length === 1 ? first : { ...pick(clientRows, first), relays: all }
}

const schemes: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map([
  ["smtp:", new Map()],
  ["smtps:", new Map([["tls", "implicit"]])],
  ["lmtp:", new Map([["dialect", "lmtp"]])]
])

const broken = "holds a % that encodes nothing: write %25 for a plain %"

const inUrl = "belongs before the query of the URL"

const notInQuery: ReadonlyMap<string, string> = new Map([
  ["host", inUrl],
  ["port", inUrl],
  ["path", inUrl],
  ["username", inUrl],
  ["password", inUrl],
  ["dialect", "follows from the scheme of the URL: smtp: or lmtp:"]
])

const notAnAddress =
  "is not the address of a server: smtp://, smtps:// or lmtp://, then host:port, with a port up to 65535 if any, and with %2F, %3F, %23 or %40 for /, ?, # or @ in a user name or password"

const known: ReadonlySet<string> = new Set(Texts.fields.map(({ name }) => name))

interface Parsed {
  readonly url: URL | undefined
  /** With its %. */
  readonly zone: string
}

/** The zone of an IPv6 address (RFC 6874), which the URL standard refuses. */
const zoned = /^([^/?#]*\/\/(?:[^/?#]*@)?\[[\dA-F:.]+)(?:%25|%)([^\]/?#@%]+)(?=\])/i

const parse = (text: string): Parsed => {
  const [, , zone] = zoned.exec(text) ?? []
  const plain = text.replace(zoned, "$1")
  return { url: URL.canParse(plain) ? new URL(plain) : undefined, zone: zone === undefined ? "" : `%${zone}` }
}

const readOne = (text: string, extra: ReadonlyMap<string, string>, isAnother: boolean): Options | Invalid => {
  const { url, zone } = parse(text)
  const scheme = url === undefined ? undefined : schemes.get(url.protocol)
  if (url === undefined || scheme === undefined) {
    return invalid("url", notAnAddress)
  }
  const texts = new Map(scheme)
  const problem =
    readAddress(url, zone, texts) ?? readQuery(url, texts) ?? (isAnother ? strayOf(texts, extra) : undefined)
  return problem ?? Texts.read(new Map([...texts, ...extra]))
}

/** An option of the client in a URL other than the first, which would be ignored. */
const strayOf = (
  texts: ReadonlyMap<string, string>,
  extra: ReadonlyMap<string, string>
): Invalid | undefined => {
  const stray = [...texts.keys()].find(
    (name) => Texts.clientFields.has(name) && name !== "maxSessions" && !extra.has(name)
  )
  return stray === undefined
    ? undefined
    : invalid(stray, "belongs to the first URL: it concerns the whole client")
}

const readAddress = (url: URL, zone: string, texts: Map<string, string>): Invalid | undefined => {
  if (url.hash !== "") return invalid("url", "has a #: write %23 for one within a user name or password")
  for (const name of ["username", "password"] as const) {
    if (url[name] === "") continue
    const value = decode(url[name])
    if (value === undefined) return invalid(name, broken)
    texts.set(name, value)
  }
  if (url.hostname === "") return readPath(url, texts)
  if (url.pathname !== "" && url.pathname !== "/") return invalid("url", "has a path behind the host")
  // The URL standard does not know these schemes, and leaves characters beyond ASCII in a host encoded.
  const host = decode(url.hostname)
  if (host === undefined) return invalid("host", broken)
  texts.set("host", host.replace(/^\[(.*)\]$/, `$1${zone}`))
  if (url.port !== "") texts.set("port", url.port)
  return undefined
}

const readPath = (url: URL, texts: Map<string, string>): Invalid | undefined => {
  if (url.protocol !== "lmtp:" || url.pathname.length < 2) return invalid("url", "has no host")
  const path = decode(url.pathname)
  if (path === undefined) return invalid("path", broken)
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
      return invalid(name, "contradicts smtps:, which is TLS from the first byte: begin with smtp:")
    }
    texts.set(name, value)
  }
  return undefined
}

/** The text before an @ in the query may be the end of a password, so it is not shown. */
const unknownOption = (name: string, { search }: URL): Invalid =>
  search.includes("@")
    ? invalid("url", "has an unknown option, and an @ behind it: a ? in a user name or password is %3F")
    : invalid("url", `has an unknown option: ${JSON.stringify(name)}`)

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
