/** Options from Effect's Config: a key for each, in capitals behind a prefix. */
import { readFileSync } from "node:fs"
import * as Config from "effect/Config"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import type { Options } from "../../SmtpClient.js"
import type { Checked } from "../effect/config.js"
import { checked, failed, missing, optional, valid } from "../effect/config.js"
import { warn } from "../effect/runtime.js"
import { isNotPem, pem } from "./fields.js"
import * as Profiles from "../providers/profiles.js"
import * as Texts from "./text.js"
import * as Urls from "./url.js"

/** `timeouts.greeting` becomes `TIMEOUTS_GREETING`, `maxSessions` becomes `MAX_SESSIONS`. */
export const capitals = (name: string): string =>
  name
    .replaceAll(/([a-z])([A-Z])/g, "$1_$2")
    .replaceAll(/[^A-Za-z0-9]+/g, "_")
    .toUpperCase()

/**
 * Options that are read from the file that the variable behind the name of the option and `_FILE` names, and what the file
 * has to hold if it is PEM.
 */
const fromFiles: ReadonlyArray<readonly [option: string, holds?: string]> = [
  ["tlsOptions.ca", "CERTIFICATE"],
  ["tlsOptions.cert", "CERTIFICATE"],
  ["tlsOptions.key", "PRIVATE KEY"],
  ["password"]
]

/** Names under which other programs read what is written here under the name of the option. */
const misnomers: ReadonlyArray<readonly [option: string, advice: string, others: ReadonlyArray<string>]> = [
  ["host", "", ["SERVER", "HOSTNAME", "ADDRESS"]],
  ["username", "", ["USER", "USER_NAME", "LOGIN", "AUTH_USER", "AUTH_USERNAME"]],
  ["password", "", ["PASS", "PASSWD", "PWD", "AUTH_PASS", "AUTH_PASSWORD"]],
  [
    "tls",
    ' to "implicit" (TLS from the first byte, port 465), "starttls" or "none"',
    ["SECURE", "SSL", "USE_SSL", "USE_TLS", "REQUIRE_TLS", "IGNORE_TLS", "STARTTLS", "ENCRYPTION"]
  ],
  ["tlsOptions.verify", "", ["REJECT_UNAUTHORIZED", "TLS_REJECT_UNAUTHORIZED", "TLS_VERIFY", "VERIFY"]],
  ["tlsOptions.ca", "", ["CA", "TLS_CA"]],
  ["tlsOptions.servername", "", ["SERVERNAME", "TLS_SERVERNAME"]],
  ["clientName", "", ["HELO", "EHLO", "HELO_NAME", "EHLO_NAME"]],
  ["maxSessions", "", ["MAX_CONNECTIONS"]],
  ["timeouts.connect", "", ["CONNECTION_TIMEOUT", "CONNECT_TIMEOUT"]],
  ["timeouts.greeting", "", ["GREETING_TIMEOUT"]]
]

interface Misnomer {
  readonly option: string
  readonly text: string
}

/** A text for each variable that is set under another name. Without a prefix most are those of other programs. */
const readMisnomers = (prefix: string, keyOf: (option: string) => string) =>
  Config.all(
    (prefix === "" ? [] : misnomers).flatMap(([option, advice, others]) =>
      others.map((other) => {
        const key = `${prefix}_${other}`
        return Config.map(text(key, true), (value): Misnomer | undefined =>
          value === undefined
            ? undefined
            : { option, text: `${key} has no effect: set ${keyOf(option)}${advice} instead` }
        )
      })
    )
  )

export const config = (prefix: string): Config.Config<Options> => {
  const keyOf = (option: string): string => {
    const name = capitals(Texts.nameOf(option))
    return prefix === "" ? name : `${prefix}_${name}`
  }
  const texts = Config.all(
    Texts.fields.map(({ isSecret, name }) =>
      // Every process has the search path of its programs in PATH.
      keyOf(name) === "PATH" ? Config.succeed(undefined) : text(keyOf(name), isSecret)
    )
  )
  const files = Config.all(fromFiles.map(([option]) => text(`${keyOf(option)}_FILE`, false)))
  const urls = text(keyOf("url"), true)
  const provider = text(keyOf("provider"), false)
  return checked(
    Config.all({ texts, files, urls, provider, misnomers: readMisnomers(prefix, keyOf) }),
    ({ files, misnomers, provider, texts, urls }) =>
      assemble(named(texts), files, urls, provider, misnomers, keyOf)
  )
}

// A text that cannot be read is never shown.
const text = (key: string, isSecret: boolean): Config.Config<string | undefined> =>
  optional(isSecret ? Config.map(Config.redacted(key), Redacted.value) : Config.string(key))

const named = (values: ReadonlyArray<string | undefined>): Map<string, string> => {
  const texts = new Map<string, string>()
  for (const [index, { name }] of Texts.fields.entries()) {
    const value = values[index]
    if (value !== undefined) texts.set(name, value)
  }
  return texts
}

/** Puts what the files hold into `texts`. */
const readFiles = (
  paths: ReadonlyArray<string | undefined>,
  texts: Map<string, string>,
  keyOf: (name: string) => string
): Invalid | undefined => {
  for (const [index, [option, holds]] of fromFiles.entries()) {
    const path = paths[index]
    if (path === undefined) continue
    const field = `${keyOf(option)}_FILE`
    if (texts.has(option)) return invalid(field, `is given beside ${keyOf(option)}: give one of them`)
    const content = readFile(path, field, holds)
    if (isInvalid(content)) return content
    texts.set(option, content)
  }
  return undefined
}

// The path is never shown: a key that was set in its place would be.
const readFile = (path: string, field: string, holds: string | undefined): string | Invalid => {
  if (path.includes("-----BEGIN")) {
    return invalid(field, `holds PEM and no path: set ${field.replace(/_FILE$/, "")} to it`)
  }
  try {
    const content = readFileSync(path, "utf8")
    if (holds === undefined) return content.replace(/\r?\n$/, "")
    if (isInvalid(pem(content, field))) {
      return invalid(field, "names a file that is not PEM, which holds -----BEGIN")
    }
    return content.includes(`${holds}-----`)
      ? content
      : invalid(field, `names a file that holds PEM of another kind, and no ${holds.toLowerCase()}`)
  } catch (cause) {
    return invalid(field, `names a file that cannot be read (${codeOf(cause)})`)
  }
}

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : "its path is not valid"

const assemble = (
  texts: Map<string, string>,
  files: ReadonlyArray<string | undefined>,
  urls: string | undefined,
  provider: string | undefined,
  misnomers: ReadonlyArray<Misnomer | undefined>,
  keyOf: (name: string) => string
): Checked<Options> => {
  // How a compose file unsets what an image sets.
  if (texts.get("username") === "" && (texts.get("password") ?? "") === "") {
    texts.delete("username")
    texts.delete("password")
  }
  const unread = readFiles(files, texts, keyOf)
  if (unread !== undefined) return failed(Urls.configError(unread, (name) => name))
  for (const misnomer of misnomers) {
    if (misnomer === undefined || texts.has(misnomer.option)) continue
    if (misnomer.option !== "host" || urls === undefined) warn(misnomer.text)
  }
  if (provider !== undefined) {
    const problem =
      urls === undefined ? addProvider(provider, texts) : "stands beside a URL; remove one of them"
    if (problem !== undefined) return failed(Urls.configError(invalid("provider", problem), keyOf))
  }
  const twice = urls === undefined ? undefined : ["host", "port", "path"].find((name) => texts.has(name))
  if (twice !== undefined) {
    const beside = invalid(twice, `stands beside ${keyOf("url")}, which names the server; remove one of them`)
    return failed(Urls.configError(beside, keyOf))
  }
  if (urls === undefined && !texts.has("host") && !texts.has("path")) {
    return missing(keyOf("host"), `Expected ${keyOf("host")} to exist`)
  }
  const all = urls?.trim().split(/\s+/)
  const options = Texts.checkOptions(all === undefined ? Texts.read(texts) : Urls.readAll(all, texts))
  if (!isInvalid(options)) return valid(options)
  const isOwn = (name: string): boolean => texts.has(Texts.nameOf(name))
  const problem = all === undefined ? options : Urls.attribute(options, all, isOwn)
  const { field, reason } = problem
  const named = reason === isNotPem ? invalid(field, `${reason}, or set ${keyOf(field)}_FILE to it`) : problem
  return failed(Urls.configError(named, keyOf))
}

/** Adds what the profile says and the texts do not. Port and TLS belong together: one that is given replaces both. */
const addProvider = (name: string, texts: Map<string, string>): string | undefined => {
  const profile = Profiles.fromName(name)
  if (profile === undefined) return `is ${JSON.stringify(name)}; use one of ${Profiles.names.join(", ")}`
  const { host, maxSessions, port, tls } = profile
  const added = texts.has("port") || texts.has("tls") ? { host } : { host, port: String(port), tls }
  const sessions = maxSessions === undefined ? {} : { maxSessions: String(maxSessions) }
  for (const [option, value] of Object.entries({ ...added, ...sessions })) {
    if (!texts.has(option)) texts.set(option, value)
  }
  return undefined
}
