/** The time limits of a session, each with the default of RFC 5321 section 4.5.3.2 where it names one. */
import * as Duration from "effect/Duration"
import type { Phase } from "../../protocol/Command.js"

/** One limit for each phase, and those of the dial, the handshake and the content's producer. */
export type TimeLimits = Readonly<Record<Phase | "connect" | "tls" | "stall", Duration.Duration>>

export type TimeLimitOptions = {
  readonly [Name in Exclude<keyof TimeLimits, "idle">]?: Duration.DurationInput | undefined
}

const defaults: TimeLimits = {
  connect: Duration.minutes(1),
  tls: Duration.minutes(1),
  greeting: Duration.minutes(5),
  ehlo: Duration.minutes(5),
  starttls: Duration.minutes(5),
  auth: Duration.minutes(5),
  mail: Duration.minutes(5),
  rcpt: Duration.minutes(5),
  data: Duration.minutes(2),
  content: Duration.minutes(3),
  bdat: Duration.minutes(3),
  final: Duration.minutes(10),
  rset: Duration.minutes(5),
  noop: Duration.minutes(5),
  vrfy: Duration.minutes(5),
  expn: Duration.minutes(5),
  help: Duration.minutes(5),
  command: Duration.minutes(5),
  quit: Duration.seconds(5),
  stall: Duration.minutes(5),
  idle: Duration.infinity
}

/** The limits with a program's own over the defaults. */
export const make = (options: TimeLimitOptions): TimeLimits => {
  const own: Partial<Record<keyof TimeLimits, Duration.Duration>> = {}
  for (const name of names) {
    const value = options[name]
    if (value !== undefined) own[name] = Duration.decode(value)
  }
  return { ...defaults, ...own }
}

const names: ReadonlyArray<keyof TimeLimitOptions> = [
  "connect",
  "tls",
  "greeting",
  "ehlo",
  "starttls",
  "auth",
  "mail",
  "rcpt",
  "data",
  "content",
  "bdat",
  "final",
  "rset",
  "noop",
  "vrfy",
  "expn",
  "help",
  "command",
  "quit",
  "stall"
]
