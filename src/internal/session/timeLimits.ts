/** The time limits of a session: one for each phase, with the defaults of RFC 5321 section 4.5.3.2 where it has one. */
import * as Duration from "effect/Duration"
import * as Record from "effect/Record"
import type { Phase } from "../../protocol/Command.js"
import type { Rows } from "../options/fields.js"
import { optionWith, timeLimit } from "../options/fields.js"

export type TimeLimits = Readonly<Record<Phase | "connect" | "tls" | "stall", Duration.Duration>>

export type TimeLimitOptions = {
  readonly [Name in Exclude<keyof TimeLimits, "idle">]?: Duration.DurationInput | undefined
}

const limit = <const D extends Duration.DurationInput>(value: D, of: string) =>
  optionWith(timeLimit, value, of)

export const timeLimitRows = {
  connect: limit("1 minute", "The connection attempt."),
  tls: limit("1 minute", "The TLS handshake."),
  greeting: limit("5 minutes", "The greeting; 30 seconds in a client."),
  ehlo: limit("5 minutes", "The reply to EHLO, HELO or LHLO."),
  starttls: limit("5 minutes", "The reply to STARTTLS."),
  auth: limit("5 minutes", "Each reply to AUTH, and an OAuth token."),
  mail: limit("5 minutes", "The reply to MAIL; a minute in a client until a relay took a message."),
  rcpt: limit("5 minutes", "The reply to RCPT; a minute in a client until a relay took a message."),
  data: limit("2 minutes", "The reply to DATA."),
  content: limit("3 minutes", "A block of content to be taken by the server."),
  bdat: limit("3 minutes", "The reply to a BDAT chunk that is not the last."),
  final: limit("10 minutes", "The reply to the whole message."),
  rset: limit("5 minutes", "The reply to RSET."),
  noop: limit("5 minutes", "The reply to NOOP."),
  vrfy: limit("5 minutes", "The reply to VRFY."),
  expn: limit("5 minutes", "The reply to EXPN."),
  help: limit("5 minutes", "The reply to HELP."),
  command: limit("5 minutes", "The reply to any other command."),
  quit: limit("5 seconds", "The reply to QUIT."),
  stall: limit("5 minutes", "The next bytes of a content stream.")
} satisfies Rows<TimeLimitOptions>

const defaults: TimeLimits = {
  ...Record.map(timeLimitRows, (row) => Duration.decode(row.default)),
  idle: Duration.infinity
}

/** The limits that options ask for, whose values are known to be durations. */
export const make = (options: TimeLimitOptions): TimeLimits => ({
  ...defaults,
  ...Record.map(timeLimitRows, (_, name) => {
    const value = options[name]
    return value === undefined ? defaults[name] : Duration.decode(value)
  })
})
