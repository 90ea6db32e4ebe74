/**
 * What is seen on the wire, line by line: smtplib's debuglevel. Lines are redacted by the state of the protocol,
 * not by their looks: no line of an AUTH exchange is ever shown, in either direction, and content is shown only as
 * its number of octets.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"

/**
 * One line, or one event between lines.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  /** `client` and `server` lines were on the wire; `session` entries tell of the connection itself. */
  readonly from: "client" | "server" | "session"
  /** The text without its line end, redacted, and with escapes in place of control characters. */
  readonly text: string
}

/**
 * Receives entries as they happen, on the path of every command: it must be quick and must not throw.
 *
 * @example
 * ```ts
 * import type * as SmtpTranscript from "effect-smtplib/SmtpTranscript"
 *
 * const lines: Array<string> = []
 * const listener: SmtpTranscript.Listener = (entry) => lines.push(`${entry.from}: ${entry.text}`)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Listener = (entry: Entry) => void

/**
 * The entry as one line: `C: `, `S: ` or `*: ` and the text.
 *
 * @example
 * ```ts
 * import * as SmtpTranscript from "effect-smtplib/SmtpTranscript"
 *
 * SmtpTranscript.format({ from: "client", text: "NOOP" }) // "C: NOOP"
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const format = (entry: Entry): string => {
  const mark = entry.from === "client" ? "C" : entry.from === "server" ? "S" : "*"
  return `${mark}: ${entry.text}`
}

/**
 * A listener that writes each entry to Effect's log at Debug level, with the logger, annotations and minimum level
 * of the fiber that makes it.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeSmtp, SmtpSession, SmtpTranscript } from "effect-smtplib"
 *
 * const program = Effect.gen(function* () {
 *   const transcript = yield* SmtpTranscript.logged
 *   const smtp = yield* SmtpSession.make({ host: "mail.example.com", transcript })
 *   return yield* smtp.noop
 * }).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const logged: Effect.Effect<Listener> = Effect.map(Effect.runtime(), (runtime): Listener => {
  const runSync = Runtime.runSync(runtime)
  return (entry) => runSync(Effect.logDebug(format(entry)))
})

/**
 * A listener that keeps the latest entries in memory, and the way to read them.
 *
 * @example
 * ```ts
 * import { SmtpTranscript } from "effect-smtplib"
 *
 * const { entries, listener } = SmtpTranscript.collector({ capacity: 100 })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const collector = (
  options: { readonly capacity?: number | undefined } = {}
): { readonly listener: Listener; readonly entries: () => ReadonlyArray<Entry> } => {
  const capacity = options.capacity ?? 1_000
  const entries: Array<Entry> = []
  return {
    listener: (entry) => {
      entries.push(entry)
      if (entries.length > capacity) entries.shift()
    },
    entries: () => [...entries]
  }
}

/**
 * One listener that tells several.
 *
 * @example
 * ```ts
 * import { SmtpTranscript } from "effect-smtplib"
 *
 * const first = SmtpTranscript.collector()
 * const second = SmtpTranscript.collector()
 * const both = SmtpTranscript.combine(first.listener, second.listener)
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const combine =
  (...listeners: ReadonlyArray<Listener>): Listener =>
  (entry) => {
    for (const listener of listeners) listener(entry)
  }
