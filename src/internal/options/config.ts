/** Options from Effect's Config: a key for each, in capitals behind a prefix. */
import * as Config from "effect/Config"
import * as Redacted from "effect/Redacted"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Options } from "../../SmtpClient.js"
import type { Checked } from "../effect/config.js"
import { checked, failed, missing, optional, valid } from "../effect/config.js"
import * as Texts from "./text.js"
import * as Urls from "./url.js"

/** `timeouts.greeting` becomes `TIMEOUTS_GREETING`, `maxSessions` becomes `MAX_SESSIONS`. */
export const capitals = (name: string): string =>
  name
    .replaceAll(/([a-z])([A-Z])/g, "$1_$2")
    .replaceAll(/[^A-Za-z0-9]+/g, "_")
    .toUpperCase()

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
  return checked(Config.all({ texts, urls: text(keyOf("url"), true) }), ({ texts, urls }) =>
    assemble(texts, urls, keyOf)
  )
}

// A text that cannot be read is never shown.
const text = (key: string, isSecret: boolean): Config.Config<string | undefined> =>
  optional(isSecret ? Config.map(Config.redacted(key), Redacted.value) : Config.string(key))

const assemble = (
  values: ReadonlyArray<string | undefined>,
  urls: string | undefined,
  keyOf: (name: string) => string
): Checked<Options> => {
  const texts = new Map<string, string>()
  for (const [index, { name }] of Texts.fields.entries()) {
    const value = values[index]
    if (value !== undefined) texts.set(name, value)
  }
  if (urls === undefined && !texts.has("host") && !texts.has("path")) {
    return missing(keyOf("host"), `Expected ${keyOf("host")} to exist`)
  }
  const all = urls?.trim().split(/\s+/)
  const options = Texts.checkOptions(all === undefined ? Texts.read(texts) : Urls.readAll(all, texts))
  if (!isInvalid(options)) return valid(options)
  const isOwn = (name: string): boolean => texts.has(Texts.nameOf(name))
  const problem = all === undefined ? options : Urls.attribute(options, all, isOwn)
  return failed(Urls.configError(problem, keyOf))
}
