/** Reads the options of a mailer once, when it is made, and warns of an environment that is not production. */
import * as Effect from "effect/Effect"
import type { Key, KeyOptions, Options as DkimOptions } from "../../Dkim.js"
import * as Dkim from "../../Dkim.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import { InvalidArgument } from "../../SmtpError.js"
import { accept, attempt, isList, isObject, refusal } from "../mail/refuse.js"
import type { ComposeOptions } from "../mail/submission.js"
import type { Environment, Options, SendOptions, Suppression } from "./model.js"
import { allowance } from "./recipients.js"
import { checkUnsubscribe } from "./unsubscribe.js"

export interface Settings extends Pick<Options, "defaults" | "before" | "after" | "unsubscribe"> {
  readonly submission: Omit<ComposeOptions, "to">
  readonly retry: SendOptions["retry"]
  readonly redirectTo: ReadonlyArray<string> | undefined
  readonly isAllowed: (address: string) => boolean
  readonly suppression: Suppression | undefined
  readonly textFromHtml: ((html: string) => string) | undefined
  readonly embedImages: boolean
  readonly dkim: DkimOptions | undefined
  /** What takes the place of the client. */
  readonly sink:
    { readonly _tag: "ToDirectory"; readonly path: string } | { readonly _tag: "DryRun" } | undefined
  /** Whether to log what becomes of each message. */
  readonly isSafe: boolean
}

const isEnvironments = (environment: Options["environment"]): environment is ReadonlyArray<Environment> =>
  Array.isArray(environment)

const environmentsOf = (environment: Options["environment"]): ReadonlyArray<Environment> => {
  if (environment === undefined) return []
  return isEnvironments(environment) ? environment : [environment]
}

type Rules = Pick<Settings, "redirectTo" | "isAllowed" | "sink">

const nobody: Rules = { redirectTo: undefined, isAllowed: () => true, sink: undefined }

const readAddresses = (addresses: ReadonlyArray<string>, field: string): ReadonlyArray<string> => {
  if (!isList(addresses) || addresses.length === 0) throw refusal(field, "names no address")
  for (const [position, address] of addresses.entries()) {
    accept(Mailboxes.parse(address, `${field}[${position}]`))
  }
  return addresses
}

const readRule = (rules: Rules, environment: Environment): Rules => {
  const twice = (): InvalidArgument =>
    refusal(
      "environment",
      "has several rules for the same thing: redirectAll or allowOnly, toDirectory or dryRun"
    )
  const screens = rules.redirectTo !== undefined || rules.isAllowed !== nobody.isAllowed
  switch (environment._tag) {
    case "RedirectAll":
      if (screens) throw twice()
      return { ...rules, redirectTo: readAddresses(environment.to, "redirectAll") }
    case "AllowOnly": {
      if (screens) throw twice()
      if (!isList(environment.allowed)) throw refusal("allowOnly", "is not a list")
      const allowed = environment.allowed.map((entry, position) => allowance(entry, `allowOnly[${position}]`))
      return { ...rules, isAllowed: (address) => allowed.some((allows) => allows(address)) }
    }
    case "ToDirectory":
    case "DryRun":
      if (rules.sink !== undefined) throw twice()
      if (environment._tag === "ToDirectory" && environment.path === "") {
        throw refusal("toDirectory", "is empty; give the path of a directory")
      }
      return { ...rules, sink: environment }
    default:
      throw refusal("environment", "is none; use redirectAll, allowOnly, toDirectory or dryRun")
  }
}

/** Ends a sentence that begins with the mailer. */
const describe = (environment: Environment): string => {
  switch (environment._tag) {
    case "RedirectAll":
      return `redirects every message to ${environment.to.join(", ")}`
    case "AllowOnly":
      return `sends only to ${environment.allowed.join(", ") || "nobody"}`
    case "ToDirectory":
      return `writes every message to ${environment.path} and sends nothing`
    case "DryRun":
      return "is a dry run and sends nothing"
  }
}

const isKey = (key: Key | KeyOptions): key is Key => "algorithm" in key

/** A signature has to cover the fields of one-click unsubscription (RFC 8058 section 4). */
const signedFields = ({ dkim, unsubscribe }: Options): Pick<DkimOptions, "fields"> =>
  dkim?.fields === undefined || unsubscribe === undefined
    ? {}
    : { fields: [...dkim.fields, "List-Unsubscribe", "List-Unsubscribe-Post"] }

const readDkim = ({ dkim, ...others }: Options): Effect.Effect<DkimOptions | undefined, InvalidArgument> => {
  if (dkim === undefined) return Effect.succeed(undefined)
  const keys = Effect.forEach(dkim.keys, (key) => (isKey(key) ? Effect.succeed(key) : Dkim.key(key)))
  return Effect.flatMap(keys, (read) => {
    const options = { ...dkim, ...signedFields({ dkim, ...others }), keys: read }
    // Signs a probe: an option that is wrong is known at start, and not with the first message.
    return Effect.as(Dkim.signContent(probe, options), options)
  }).pipe(
    Effect.catchTag("ContentError", (error) => Effect.die(error)),
    Effect.mapError(({ field, reason }) => new InvalidArgument({ field: `dkim.${field}`, reason }))
  )
}

const probe = "From: postmaster@example.com\r\n\r\n"

const byPackage: Effect.Effect<(html: string) => string, InvalidArgument> = Effect.tryPromise({
  try: () => import("html-to-text"),
  catch: () =>
    new InvalidArgument({
      field: "textFromHtml",
      reason: "requires the package html-to-text; run `npm install html-to-text@10`, or give a function"
    })
}).pipe(
  Effect.map(
    ({ convert }) =>
      (html) =>
        convert(html, {
          wordwrap: 78,
          // RFC 3986 appendix C: in angle brackets a URL can be told from the text around it.
          selectors: [{ selector: "a", options: { linkBrackets: ["<", ">"] } }]
        })
  )
)

const readTextFromHtml = ({
  textFromHtml = false
}: Options): Effect.Effect<Settings["textFromHtml"], InvalidArgument> => {
  if (textFromHtml === true) return byPackage
  return Effect.succeed(textFromHtml === false ? undefined : textFromHtml)
}

export const readOptions = (options: Options): Effect.Effect<Settings, InvalidArgument> =>
  Effect.gen(function* () {
    const environments = environmentsOf(options.environment)
    const rules = yield* attempt(() => {
      if (!isObject(options)) throw refusal("options", "is not an object")
      if (options.unsubscribe !== undefined) checkUnsubscribe(options.unsubscribe)
      return environments.reduce(readRule, nobody)
    })
    const { after, before, defaults, embedImages = true, suppression, unsubscribe } = options
    const { retry, ...submission } = options.submission ?? {}
    const dkim = yield* readDkim(options)
    const textFromHtml = yield* readTextFromHtml(options)
    yield* Effect.forEach(
      environments,
      (environment) => Effect.logWarning(`This is not production: the mailer ${describe(environment)}.`),
      { discard: true }
    )
    return {
      ...rules,
      defaults,
      submission,
      retry,
      before,
      after,
      suppression,
      unsubscribe,
      textFromHtml,
      embedImages,
      dkim,
      isSafe: environments.length > 0
    }
  })
