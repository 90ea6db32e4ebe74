/** Options from Effect's Config: one key for each, in capitals behind a prefix. */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as ConfigErrors from "effect/ConfigError"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Options } from "../../SmtpClient.js"
import * as Urls from "./url.js"
import * as Written from "./text.js"

/** `timeouts.greeting` becomes `TIMEOUTS_GREETING`, `maxSessions` becomes `MAX_SESSIONS`. */
const capitals = (name: string): string =>
  name
    .replaceAll(/([a-z])([A-Z])/g, "$1_$2")
    .replaceAll(/[^A-Za-z0-9]+/g, "_")
    .toUpperCase()

// Where every process finds its programs, and no socket.
const searchPath = "PATH"

export const config = (prefix: string): Config.Config<Options> => {
  const keyOf = (option: string): string => {
    const name = capitals(Written.nameOf(option))
    return prefix === "" ? name : `${prefix}_${name}`
  }
  const texts = Config.all(
    Written.fields.map(({ isSecret, name }) =>
      keyOf(name) === searchPath ? Config.succeed(undefined) : text(keyOf(name), isSecret)
    )
  )
  const urls = text(keyOf("url"), true)
  return Config.all({ texts, urls }).pipe(Config.mapOrFail(({ texts, urls }) => assemble(texts, urls, keyOf)))
}

const assemble = (
  values: ReadonlyArray<string | undefined>,
  urls: string | undefined,
  keyOf: (name: string) => string
): Either.Either<Options, ConfigError.ConfigError> => {
  const texts = new Map<string, string>()
  for (const [index, { name }] of Written.fields.entries()) {
    const value = values[index]
    if (value !== undefined) texts.set(name, value)
  }
  if (urls === undefined && !texts.has("host") && !texts.has("path")) {
    return Either.left(ConfigErrors.MissingData([keyOf("host")], `Expected ${keyOf("host")} to exist`))
  }
  const all = urls?.trim().split(/\s+/)
  const options = all === undefined ? Written.read(texts) : Urls.readAll(all, texts)
  const problem = isInvalid(options) ? options : Written.problemOf(options)
  if (problem !== undefined) {
    const isOwn = (name: string): boolean => texts.has(Written.nameOf(name))
    const attributed = all === undefined ? problem : Urls.attribute(problem, all, isOwn)
    return Either.left(Urls.configError(attributed, keyOf))
  }
  return isInvalid(options) ? Either.left(Urls.configError(options, keyOf)) : Either.right(options)
}

// Secret or not: a text that cannot be read is shown to nobody.
const text = (key: string, isSecret: boolean): Config.Config<string | undefined> =>
  (isSecret ? Config.map(Config.redacted(key), Redacted.value) : Config.string(key)).pipe(
    Config.option,
    Config.map(Option.getOrUndefined)
  )
