/**
 * Options as they are written down, in the environment or in a URL: a name and a text each. Names are those of the
 * options, with a dot where one is within another.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import type { ProxyAddress } from "../../protocol/ProxyHeader.js"
import type { Options } from "../../SmtpClient.js"
import type { Credentials, OAuth2Mechanism, PasswordMechanism } from "../../SmtpAuth.js"
import * as SmtpAuth from "../../SmtpAuth.js"
import type { AdvancedOptions, TimeLimitOptions } from "../../SmtpSession.js"
import type { TlsOptions } from "../../TlsUpgrade.js"
import { read as readOptions } from "./client.js"

/** What has been read so far. */
interface Draft {
  readonly options: Options & { readonly priority?: number }
  readonly tlsOptions: TlsOptions | undefined
  readonly timeouts: TimeLimitOptions | undefined
  readonly advanced: AdvancedOptions | undefined
  readonly proxyHeader: Options["proxyHeader"]
  readonly xclient: Options["xclient"]
  readonly credentials: WrittenCredentials
  readonly retry: "off" | "briefly" | "greylisted" | undefined
  readonly mayDuplicate: boolean | undefined
}

interface WrittenCredentials {
  readonly auth?: "password" | "oauth2" | "external" | "anonymous"
  readonly username?: string
  readonly password?: Redacted.Redacted
  readonly token?: Redacted.Redacted
  readonly authorizationId?: string
  readonly mechanisms?: ReadonlyArray<string>
  readonly initialResponse?: boolean
}

type Read = (text: string) => ((draft: Draft) => Draft) | Invalid

/** An option that can be written down. */
export interface Field {
  readonly name: string
  /** Nobody may see it. */
  readonly isSecret: boolean
  readonly read: Read
}

// -- kinds of text

interface Value<A> {
  readonly _tag: "Value"
  readonly value: A
}

type Parse<A> = (text: string, name: string) => Value<A> | Invalid

const parsed = <A>(value: A): Value<A> => ({ _tag: "Value", value })

const text: Parse<string> = (value, name) => (value === "" ? invalid(name, "is empty") : parsed(value))

const secret: Parse<Redacted.Redacted> = (value, name) =>
  value === "" ? invalid(name, "is empty") : parsed(Redacted.make(value))

const number: Parse<number> = (value, name) =>
  /^-?\d{1,15}$/.test(value) ? parsed(Number(value)) : invalid(name, "is not a whole number")

const flags: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["yes", true],
  ["on", true],
  ["1", true],
  ["false", false],
  ["no", false],
  ["off", false],
  ["0", false]
])

const flag: Parse<boolean> = (value, name) => {
  const found = flags.get(value.toLowerCase())
  return found === undefined ? invalid(name, 'is neither "true" nor "false"') : parsed(found)
}

const duration: Parse<Duration.Duration> = (value, name) =>
  Option.match(Duration.decodeUnknown(value), {
    onNone: () => invalid(name, `is not a duration, such as "30 seconds"`),
    onSome: parsed
  })

const oneOf =
  <const A extends string>(...choices: ReadonlyArray<A>): Parse<A> =>
  (value, name) => {
    const found = choices.find((choice) => choice === value)
    return found === undefined
      ? invalid(name, `is none of ${choices.map((choice) => `"${choice}"`).join(", ")}`)
      : parsed(found)
  }

const addressAndPort: Parse<ProxyAddress> = (value, name) => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(value)
  const address = match?.[1] ?? match?.[2]
  return address === undefined
    ? invalid(name, 'is not an address and a port, such as "192.0.2.1:25" or "[2001:db8::1]:25"')
    : parsed({ address, port: Number(match?.[3]) })
}

const list: Parse<ReadonlyArray<string>> = (value, name) => {
  const items = value.split(",").map((item) => item.trim())
  return items.includes("") ? invalid(name, "has an empty item: separate them by commas") : parsed(items)
}

// -- the options

const field = <A>(
  name: string,
  parse: Parse<A>,
  put: (value: A, draft: Draft) => Draft,
  isSecret = false
): Field => ({
  name,
  isSecret,
  read: (written) => {
    const result = parse(written, name)
    return result._tag === "Invalid" ? result : (draft) => put(result.value, draft)
  }
})

const option = <A>(name: string, parse: Parse<A>, put: (value: A) => Draft["options"]): Field =>
  field(name, parse, (value, draft) => ({ ...draft, options: { ...draft.options, ...put(value) } }))

const ofTls = <A>(
  name: keyof TlsOptions,
  parse: Parse<A>,
  put: (value: A) => TlsOptions,
  isSecret = false
): Field =>
  field(
    `tlsOptions.${name}`,
    parse,
    (value, draft) => ({ ...draft, tlsOptions: { ...draft.tlsOptions, ...put(value) } }),
    isSecret
  )

const credential = <A>(
  name: keyof WrittenCredentials,
  parse: Parse<A>,
  put: (value: A) => WrittenCredentials,
  isSecret = false
): Field =>
  field(
    name,
    parse,
    (value, draft) => ({ ...draft, credentials: { ...draft.credentials, ...put(value) } }),
    isSecret
  )

// Every name, or the types do not agree.
const limits: Readonly<Record<keyof TimeLimitOptions, true>> = {
  connect: true,
  tls: true,
  greeting: true,
  ehlo: true,
  starttls: true,
  auth: true,
  mail: true,
  rcpt: true,
  data: true,
  content: true,
  bdat: true,
  final: true,
  rset: true,
  noop: true,
  vrfy: true,
  expn: true,
  help: true,
  command: true,
  quit: true,
  stall: true
}

const replyLimits: Readonly<Record<keyof NonNullable<AdvancedOptions["replyLimits"]>, true>> = {
  lineLength: true,
  lines: true,
  replyLength: true
}

/** Every option that can be written down. */
export const fields: ReadonlyArray<Field> = [
  option("host", text, (host) => ({ host })),
  option("port", number, (port) => ({ port })),
  option("path", text, (path) => ({ path })),
  option("localAddress", text, (localAddress) => ({ localAddress })),
  option("localPort", number, (localPort) => ({ localPort })),
  field("proxyHeader.version", oneOf("1", "2"), (version, draft) => ({
    ...draft,
    proxyHeader: { ...draft.proxyHeader, version: version === "1" ? 1 : 2 }
  })),
  ...(["source", "destination"] as const).map((name) =>
    field(`proxyHeader.${name}`, addressAndPort, (value, draft) => ({
      ...draft,
      proxyHeader: { version: 2, ...draft.proxyHeader, [name]: value }
    }))
  ),
  ...(["name", "address", "helo", "login", "destinationAddress"] as const).map((name) =>
    field(`xclient.${name}`, text, (value, draft) => ({
      ...draft,
      xclient: { ...draft.xclient, [name]: value }
    }))
  ),
  ...(["port", "destinationPort"] as const).map((name) =>
    field(`xclient.${name}`, number, (value, draft) => ({
      ...draft,
      xclient: { ...draft.xclient, [name]: value }
    }))
  ),
  field("xclient.protocol", oneOf("SMTP", "ESMTP"), (protocol, draft) => ({
    ...draft,
    xclient: { ...draft.xclient, protocol }
  })),
  option("dialect", oneOf("smtp", "lmtp"), (dialect) => ({ dialect })),
  option("clientName", text, (clientName) => ({ clientName })),
  option("tls", oneOf("starttls", "implicit", "opportunistic", "none"), (tls) => ({ tls })),
  ofTls("ca", text, (ca) => ({ ca })),
  ofTls("cert", text, (cert) => ({ cert })),
  ofTls("key", secret, (key) => ({ key }), true),
  ofTls("passphrase", secret, (passphrase) => ({ passphrase }), true),
  ofTls("servername", text, (servername) => ({ servername })),
  ofTls("minVersion", oneOf("TLSv1.2", "TLSv1.3"), (minVersion) => ({ minVersion })),
  ofTls("verify", flag, (verify) => ({ verify })),
  credential("auth", oneOf("password", "oauth2", "external", "anonymous"), (auth) => ({ auth })),
  credential("username", text, (username) => ({ username })),
  credential("password", secret, (password) => ({ password }), true),
  credential("token", secret, (token) => ({ token }), true),
  credential("authorizationId", text, (authorizationId) => ({ authorizationId })),
  credential("mechanisms", list, (mechanisms) => ({ mechanisms })),
  credential("initialResponse", flag, (initialResponse) => ({ initialResponse })),
  option("allowInsecureAuth", flag, (allowInsecureAuth) => ({ allowInsecureAuth })),
  option("pipelining", oneOf("off", "envelope", "data", "overlap"), (pipelining) => ({ pipelining })),
  option("chunking", oneOf("off", "on", "eager"), (chunking) => ({ chunking })),
  ...(["messages", "octets"] as const).map((name) =>
    field(`advanced.window.${name}`, number, (value, draft) => ({
      ...draft,
      advanced: { ...draft.advanced, window: { ...draft.advanced?.window, [name]: value } }
    }))
  ),
  field("advanced.resetBetween", flag, (resetBetween, draft) => ({
    ...draft,
    advanced: { ...draft.advanced, resetBetween }
  })),
  field("advanced.eagerWithin", duration, (eagerWithin, draft) => ({
    ...draft,
    advanced: { ...draft.advanced, eagerWithin }
  })),
  ...Object.keys(limits).map((name) =>
    field(`timeouts.${name}`, duration, (value, draft) => ({
      ...draft,
      timeouts: { ...draft.timeouts, [name]: value }
    }))
  ),
  ...Object.keys(replyLimits).map((name) =>
    field(`advanced.replyLimits.${name}`, number, (value, draft) => ({
      ...draft,
      advanced: { ...draft.advanced, replyLimits: { ...draft.advanced?.replyLimits, [name]: value } }
    }))
  ),
  option("priority", number, (priority) => ({ priority })),
  option("maxSessions", number, (maxSessions) => ({ maxSessions })),
  option("maxWaiting", number, (maxWaiting) => ({ maxWaiting })),
  option("maxMessages", number, (maxMessages) => ({ maxMessages })),
  option("maxAge", duration, (maxAge) => ({ maxAge })),
  option("idleTimeout", duration, (idleTimeout) => ({ idleTimeout })),
  option("maxPause", duration, (maxPause) => ({ maxPause })),
  option("timeout", duration, (timeout) => ({ timeout })),
  option("shutdownTimeout", duration, (shutdownTimeout) => ({ shutdownTimeout })),
  option("rateLimitKey", text, (rateLimitKey) => ({ rateLimitKey })),
  field("retry", oneOf("off", "briefly", "greylisted"), (retry, draft) => ({ ...draft, retry })),
  field("retry.mayDuplicate", flag, (mayDuplicate, draft) => ({ ...draft, mayDuplicate }))
]

/** The name that an option is written under: it may be part of one that is written as a whole. */
export const nameOf = (option: string): string => {
  // What anonymous credentials call a trace is written as the user.
  if (option === "trace") return "username"
  const found =
    fields.find(({ name }) => name === option) ?? fields.find(({ name }) => option.startsWith(`${name}.`))
  return found?.name ?? option
}

// -- reading

const empty: Draft = {
  options: {},
  tlsOptions: undefined,
  timeouts: undefined,
  advanced: undefined,
  proxyHeader: undefined,
  xclient: undefined,
  credentials: {},
  retry: undefined,
  mayDuplicate: undefined
}

/**
 * Reads what is written; gives the options, whether or not they make sense together. What a text holds is never in
 * what is said of it.
 */
export const read = (texts: ReadonlyMap<string, string>): Options | Invalid => {
  let draft = empty
  for (const { name, read } of fields) {
    const value = texts.get(name)
    if (value === undefined) continue
    const put = read(value)
    if (typeof put !== "function") return put
    draft = put(draft)
  }
  return optionsOf(draft)
}

/** Whether options make sense together; the problem names the option. */
export const problemOf = (options: Options): Invalid | undefined => {
  const settings = readOptions(options)
  return isInvalid(settings) ? settings : undefined
}

const optionsOf = (draft: Draft): Options | Invalid => {
  const auth = credentialsOf(draft.credentials)
  if (isInvalid(auth)) return auth
  const { advanced, mayDuplicate, options, proxyHeader, retry, timeouts, tlsOptions, xclient } = draft
  return {
    ...options,
    ...(auth === undefined ? {} : { auth }),
    ...(proxyHeader === undefined ? {} : { proxyHeader }),
    ...(timeouts === undefined ? {} : { timeouts }),
    ...(tlsOptions === undefined ? {} : { tlsOptions }),
    ...(advanced === undefined ? {} : { advanced }),
    ...(xclient === undefined ? {} : { xclient }),
    ...(mayDuplicate === undefined
      ? retry === undefined
        ? {}
        : { retry }
      : { retry: { schedule: retry, mayDuplicate } })
  }
}

const kindOf = ({ auth, password, token, username }: WrittenCredentials): WrittenCredentials["auth"] => {
  if (auth !== undefined) return auth
  if (token !== undefined) return "oauth2"
  return username !== undefined || password !== undefined ? "password" : undefined
}

const namesOf: Readonly<Record<NonNullable<WrittenCredentials["auth"]>, ReadonlyArray<string>>> = {
  password: ["auth", "username", "password", "authorizationId", "mechanisms", "initialResponse"],
  oauth2: ["auth", "username", "token", "mechanisms", "initialResponse"],
  external: ["auth", "authorizationId", "initialResponse"],
  anonymous: ["auth", "username", "initialResponse"]
}

/** What would be left aside without a word. */
const strayOf = (written: WrittenCredentials, kind: WrittenCredentials["auth"]): Invalid | undefined => {
  const known = kind === undefined ? [] : namesOf[kind]
  const stray = Object.keys(written).find((name) => !known.includes(name))
  if (stray === undefined) return undefined
  const reason = kind === undefined ? "is of no use without a username" : `does not go with auth "${kind}"`
  return invalid(stray, reason)
}

const credentialsOf = (written: WrittenCredentials): Credentials | undefined | Invalid => {
  const { authorizationId, initialResponse, mechanisms, password, token, username } = written
  const common = { initialResponse }
  const kind = kindOf(written)
  const stray = strayOf(written, kind)
  if (stray !== undefined) return stray
  switch (kind) {
    case undefined:
      return undefined
    case "external":
      return SmtpAuth.external({ ...common, authorizationId })
    case "anonymous":
      return SmtpAuth.anonymous({ ...common, trace: username })
    case "password": {
      const known = readMechanisms(mechanisms, SmtpAuth.passwordMechanisms)
      if (isInvalid(known)) return known
      if (username === undefined) return noUsername(written)
      if (password === undefined) return invalid("password", "is missing: there is a username")
      return SmtpAuth.password({ ...common, username, password, authorizationId, mechanisms: known })
    }
    case "oauth2": {
      const known = readMechanisms(mechanisms, SmtpAuth.oauth2Mechanisms)
      if (isInvalid(known)) return known
      if (username === undefined) return noUsername(written)
      if (token === undefined) return invalid("token", 'is missing: auth is "oauth2"')
      return SmtpAuth.oauth2({ ...common, username, token, mechanisms: known })
    }
  }
}

const noUsername = ({ auth, password, token }: WrittenCredentials): Invalid => {
  const secret = token !== undefined ? "token" : password !== undefined ? "password" : undefined
  return invalid(
    "username",
    `is missing: ${secret === undefined ? `auth is "${auth}"` : `there is a ${secret}`}`
  )
}

const readMechanisms = <A extends PasswordMechanism | OAuth2Mechanism>(
  names: ReadonlyArray<string> | undefined,
  known: ReadonlyArray<A>
): ReadonlyArray<A> | undefined | Invalid => {
  if (names === undefined) return undefined
  const found = names.flatMap((name) => known.find((each) => each === name.toUpperCase()) ?? [])
  return found.length === names.length
    ? found
    : invalid("mechanisms", `has a name that is none of ${known.join(", ")}`)
}
