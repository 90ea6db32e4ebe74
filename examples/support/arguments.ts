/**
 * Reads the arguments of the demo: a server as a URL, an envelope, and the file that holds the message.
 */
import type { SmtpSession } from "effect-smtplib"
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import { UsageError } from "./main.js"

export const usage = `usage: npm run demo
       npm run demo -- --url URL --from ADDRESS --to ADDRESS[,ADDRESS...] [--ca FILE] [FILE]

Without arguments the demo sends examples/message.eml to a server of its own. With --url it sends FILE (by default
the same message) to yours; the password is taken from the environment: SMTP_PASSWORD.

  smtp://user@host:587              STARTTLS, or nothing is sent; ?tls=opportunistic and ?tls=none ask for less
  smtps://user@host:465             TLS from the first octet
  lmtp://host:24, lmtp:///path      a mail store, over TCP (STARTTLS, unless ?tls= says otherwise) or a UNIX socket
  --ca FILE                         PEM of the authority to trust, instead of those that Node knows`

/** Where to send and what, as far as the arguments tell. */
export interface Target {
  readonly server: SmtpSession.Options
  /** The user name in the URL: present if the session is to authenticate. */
  readonly username: string | undefined
  readonly from: string
  readonly to: ReadonlyArray<string>
  readonly ca: string | undefined
  readonly file: string | undefined
}

export type Arguments =
  | { readonly _tag: "Help" }
  | { readonly _tag: "OwnServer" }
  | { readonly _tag: "Target"; readonly target: Target }

/** What is wrong, and how it is right. */
export const wrong = (problem: string): UsageError => new UsageError({ message: `${problem}\n\n${usage}` })

const splitArguments = (args: ReadonlyArray<string>) =>
  Effect.try({
    try: () =>
      parseArgs({
        args: [...args],
        allowPositionals: true,
        options: {
          url: { type: "string" },
          from: { type: "string" },
          to: { type: "string", multiple: true },
          ca: { type: "string" },
          help: { type: "boolean", short: "h" }
        }
      }),
    catch: (error) => wrong(error instanceof Error ? error.message : String(error))
  })

const tlsPolicies: ReadonlyMap<string | null, SmtpSession.TlsPolicy | undefined> = new Map([
  [null, undefined],
  ["starttls", "starttls"],
  ["implicit", "implicit"],
  ["opportunistic", "opportunistic"],
  ["none", "none"]
])

const readTls = (url: URL): Effect.Effect<SmtpSession.TlsPolicy | undefined, UsageError> => {
  const asked = url.searchParams.get("tls")
  if (!tlsPolicies.has(asked)) {
    return Effect.fail(wrong(`?tls=${asked ?? ""} is unknown: say starttls, implicit, opportunistic or none`))
  }
  if (url.protocol === "smtps:" && asked !== null && asked !== "implicit") {
    return Effect.fail(wrong(`smtps:// is TLS from the first octet: with ?tls=${asked} say smtp://`))
  }
  return Effect.succeed(url.protocol === "smtps:" ? "implicit" : tlsPolicies.get(asked))
}

const decode = (text: string): Effect.Effect<string, UsageError> =>
  Effect.try({
    try: () => decodeURIComponent(text),
    catch: () => wrong("--url holds a % that encodes nothing: write a plain % as %25")
  })

const readUrl = (text: string): Effect.Effect<SmtpSession.Options & { username?: string }, UsageError> =>
  Effect.gen(function* () {
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url === undefined || !["smtp:", "smtps:", "lmtp:"].includes(url.protocol)) {
      return yield* wrong("--url is no address of a server: it begins with smtp://, smtps:// or lmtp://")
    }
    if (url.password !== "") {
      return yield* wrong("--url holds a password, which others on this machine can see: use SMTP_PASSWORD")
    }
    const tls = yield* readTls(url)
    const dialect = url.protocol === "lmtp:" ? "lmtp" : "smtp"
    const username = url.username === "" ? {} : { username: yield* decode(url.username) }
    if (url.hostname === "") {
      if (dialect === "smtp" || url.pathname.length < 2) return yield* wrong("--url names no host")
      return { path: yield* decode(url.pathname), dialect, tls, ...username }
    }
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
    return { host, port: url.port === "" ? undefined : Number(url.port), dialect, tls, ...username }
  })

/** Reads the arguments behind the name of the program. */
export const readArguments = (args: ReadonlyArray<string>): Effect.Effect<Arguments, UsageError> =>
  Effect.gen(function* () {
    const { positionals, values } = yield* splitArguments(args)
    if (values.help === true) return { _tag: "Help" }
    if (args.length === 0) return { _tag: "OwnServer" }
    const { ca, from, url } = values
    const to = (values.to ?? []).flatMap((list) => list.split(",")).map((address) => address.trim())
    if (url === undefined) return yield* wrong("--url is missing")
    if (from === undefined) return yield* wrong("--from is missing")
    if (to.length === 0) return yield* wrong("--to is missing")
    if (positionals.length > 1) return yield* wrong("Only one FILE can be sent")
    const { username, ...server } = yield* readUrl(url)
    return { _tag: "Target", target: { server, username, from, to, ca, file: positionals[0] } }
  })
