/**
 * A logger that keeps what is logged, in place of the default one.
 */
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Inspectable from "effect/Inspectable"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"

export interface LogEntry {
  /** e.g. `WARN` */
  readonly level: string
  /** The messages of one call, joined with spaces. */
  readonly text: string
  readonly annotations: Readonly<Record<string, unknown>>
}

export interface Logs {
  readonly layer: Layer.Layer<never>
  readonly entries: Effect.Effect<ReadonlyArray<LogEntry>>
}

/** Provide `layer` around the program, then look at `entries`. */
export const collectLogs: Effect.Effect<Logs> = Effect.sync(() => {
  const entries: Array<LogEntry> = []
  const logger = Logger.make<unknown, undefined>(({ annotations, logLevel, message }) => {
    const parts: ReadonlyArray<unknown> = Array.isArray(message) ? message : [message]
    entries.push({
      level: logLevel.label,
      text: parts.map((part) => Inspectable.toStringUnknown(part)).join(" "),
      annotations: Object.fromEntries(HashMap.toEntries(annotations))
    })
    return undefined
  })
  return {
    layer: Logger.replace(Logger.defaultLogger, logger),
    entries: Effect.sync(() => [...entries])
  }
})
