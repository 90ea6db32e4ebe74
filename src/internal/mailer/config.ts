/** The options of a mailer that can be written as text. */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import type { Checked } from "../effect/config.js"
import { checked, missing, optional, valid } from "../effect/config.js"
import type { Environment, Options } from "./model.js"

const list = (text: string): ReadonlyArray<string> =>
  text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "")

interface Written {
  readonly from: string | undefined
  readonly replyTo: string | undefined
  readonly envelopeFrom: string | undefined
  readonly timeout: Duration.Duration | undefined
  readonly redirectAll: string | undefined
  readonly allowOnly: string | undefined
  readonly directory: string | undefined
  readonly dryRun: boolean | undefined
  readonly domain: string | undefined
  readonly selector: string | undefined
  readonly privateKey: Redacted.Redacted | undefined
}

const environmentsOf = (written: Written): ReadonlyArray<Environment> => [
  ...(written.redirectAll === undefined
    ? []
    : [{ _tag: "RedirectAll", to: list(written.redirectAll) } as const]),
  ...(written.allowOnly === undefined
    ? []
    : [{ _tag: "AllowOnly", allowed: list(written.allowOnly) } as const]),
  ...(written.directory === undefined ? [] : [{ _tag: "ToDirectory", path: written.directory } as const]),
  ...(written.dryRun === true ? [{ _tag: "DryRun" } as const] : [])
]

export const config = (prefix: string): Config.Config<Options> => {
  const keyOf = (name: string): string => (prefix === "" ? name : `${prefix}_${name}`)
  const text = (name: string) => optional(Config.nonEmptyString(keyOf(name)))
  const written = Config.all({
    from: text("FROM"),
    replyTo: text("REPLY_TO"),
    envelopeFrom: text("ENVELOPE_FROM"),
    timeout: optional(Config.duration(keyOf("TIMEOUT"))),
    // Empty is invalid, and not production.
    redirectAll: optional(Config.string(keyOf("REDIRECT_ALL"))),
    allowOnly: optional(Config.string(keyOf("ALLOW_ONLY"))),
    directory: optional(Config.string(keyOf("DIRECTORY"))),
    dryRun: optional(Config.boolean(keyOf("DRY_RUN"))),
    domain: text("DKIM_DOMAIN"),
    selector: text("DKIM_SELECTOR"),
    privateKey: optional(Config.redacted(keyOf("DKIM_PRIVATE_KEY")))
  })
  return checked(written, (values): Checked<Options> => {
    const { domain, envelopeFrom, from, privateKey, replyTo, selector, timeout } = values
    const common: Options = {
      defaults: { from, replyTo },
      submission: { ...(envelopeFrom !== undefined && { from: envelopeFrom }), timeout },
      environment: environmentsOf(values)
    }
    if (domain === undefined && selector === undefined && privateKey === undefined) return valid(common)
    const lacks = (name: string) =>
      missing(keyOf(name), `Expected ${keyOf(name)} to exist beside the other keys of DKIM`)
    if (domain === undefined) return lacks("DKIM_DOMAIN")
    if (selector === undefined) return lacks("DKIM_SELECTOR")
    if (privateKey === undefined) return lacks("DKIM_PRIVATE_KEY")
    return valid({ ...common, dkim: { keys: [{ domain, selector, privateKey }] } })
  })
}
