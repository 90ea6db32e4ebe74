/**
 * The lines of a session as they happen, like smtplib's debuglevel. Redaction follows the protocol state, not patterns: no
 * line of an AUTH exchange is shown, in either direction, and of content only the number of bytes.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { makeRunSync } from "./internal/effect/runtime.js"

/**
 * One line, or one event between lines.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  /** `client` and `server` lines were on the wire; `session` entries are about the connection itself. */
  readonly from: "client" | "server" | "session"
  /** The text without its line end, redacted, and with escapes in place of control characters. */
  readonly text: string
}

/**
 * Receives entries as they happen. It is called synchronously for every command: keep it fast. A listener that throws is
 * not called again.
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
 * Formats an entry as one line: `C: `, `S: ` or `*: ` and the text.
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
 * Makes a listener that logs each entry at Debug level, with the logger, annotations and minimum level of the fiber that
 * makes it.
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
export const logged: Effect.Effect<Listener> = Effect.map(
  makeRunSync,
  (runSync): Listener =>
    (entry) =>
      runSync(Effect.logDebug(format(entry)))
)

/**
 * Makes a listener that keeps the latest entries in memory, and a function that reads them.
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
 * Combines listeners into one.
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
