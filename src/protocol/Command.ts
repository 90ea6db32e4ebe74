/**
 * Every command as a value: its line, its place in a group (RFC 2920 section 3.1), and which replies mean success (RFC
 * 5321 section 4.3.2). Arguments are already checked and encoded; `custom` alone checks what a program wrote.
 */
import type { Invalid } from "./Invalid.js"
import { invalid } from "./Invalid.js"
import type { Reply } from "./Reply.js"
import { byteLength } from "./Utf8.js"

/** The list from which the type, the time limits, the errors and their Schema come. */
export const phases = [
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
  "quit",
  "command",
  "idle"
] as const

/**
 * Where in the dialogue something happens. `content` is the message in transit, `final` the wait for the reply that
 * takes responsibility for it, `idle` the time between commands.
 */
export type Phase = (typeof phases)[number]

/**
 * Decides what a reply to the command means. `Greeting` and `Final` are replies without a command line: the server's
 * first, and the one to the content.
 */
export type Kind =
  | "Greeting"
  | "Ehlo"
  | "Helo"
  | "StartTls"
  | "Auth"
  | "AuthResponse"
  | "Mail"
  | "Rcpt"
  | "Data"
  | "Bdat"
  | "BdatLast"
  | "Final"
  | "Rset"
  | "Noop"
  | "Vrfy"
  | "Expn"
  | "Help"
  | "Quit"
  | "Other"

/** Whether more commands may follow in the same group; nothing is sent after `Last` before its reply. */
export type Place = "Anywhere" | "Last"

/** A command, ready for the wire. */
export interface Command {
  readonly kind: Kind
  readonly verb: string
  /** The line without CRLF. */
  readonly line: string
  readonly place: Place
  readonly phase: Phase
  /** Whether the line, and a challenge in reply to it, must never be shown. */
  readonly secret: boolean
  /** The chunk of BDAT, which follows the line. */
  readonly octets: ReadonlyArray<Uint8Array>
}

const noOctets: ReadonlyArray<Uint8Array> = []

const make = (
  kind: Kind,
  verb: string,
  line: string,
  place: Place,
  phase: Phase,
  secret = false
): Command => ({
  kind,
  verb,
  line,
  place,
  phase,
  secret,
  octets: noOctets
})

/** The wait for the greeting. */
export const greeting: Command = make("Greeting", "", "", "Last", "greeting")

/** The wait for the reply to the content after DATA. */
export const final: Command = make("Final", "", "", "Anywhere", "final")

/** EHLO, or LHLO in the LMTP dialect (RFC 5321 section 4.1.1.1, RFC 2033 section 4.1). */
export const ehlo = (clientName: string, verb: "EHLO" | "LHLO" = "EHLO"): Command =>
  make("Ehlo", verb, `${verb} ${clientName}`, "Last", "ehlo")

export const helo = (clientName: string): Command =>
  make("Helo", "HELO", `HELO ${clientName}`, "Last", "ehlo")

/** XCLIENT, as its whole line. Like HELO it resets the session, so that EHLO has to follow. */
export const xclient = (line: string): Command => make("Helo", "XCLIENT", line, "Last", "command")

/** STARTTLS (RFC 3207). */
export const startTls: Command = make("StartTls", "STARTTLS", "STARTTLS", "Last", "starttls")

/** AUTH with its mechanism and, where it has one, the initial response in base64 (RFC 4954 section 4). */
export const auth = (argument: string): Command =>
  make("Auth", "AUTH", `AUTH ${argument}`, "Last", "auth", true)

/** A response within AUTH in base64, or the `*` that cancels it (RFC 4954 section 4). */
export const authResponse = (line: string): Command =>
  make("AuthResponse", "AUTH", line, "Last", "auth", true)

/** MAIL, as its whole line. */
export const mail = (line: string): Command => make("Mail", "MAIL", line, "Anywhere", "mail")

/** RCPT, as its whole line. */
export const rcpt = (line: string): Command => make("Rcpt", "RCPT", line, "Anywhere", "rcpt")

export const data: Command = make("Data", "DATA", "DATA", "Last", "data")

/** A chunk of BDAT (RFC 3030 section 2). */
export const bdat = (octets: ReadonlyArray<Uint8Array>, last: boolean): Command => {
  let count = 0
  for (const part of octets) count += part.length
  const line = last ? `BDAT ${count} LAST` : `BDAT ${count}`
  return { ...make(last ? "BdatLast" : "Bdat", "BDAT", line, "Anywhere", last ? "final" : "bdat"), octets }
}

/** Whether the reply to it takes responsibility for a message, or refuses it. */
export const isEndOfContent = ({ kind }: Command): boolean => kind === "Final" || kind === "BdatLast"

/** A command that was sent, without the memory of its chunk. */
export const withoutOctets = (command: Command): Command =>
  command.octets.length === 0 ? command : { ...command, octets: noOctets }

export const rset: Command = make("Rset", "RSET", "RSET", "Anywhere", "rset")

export const noop: Command = make("Noop", "NOOP", "NOOP", "Last", "noop")

export const quit: Command = make("Quit", "QUIT", "QUIT", "Last", "quit")

const withArgument = (verb: string, argument: string): string =>
  argument === "" ? verb : `${verb} ${argument}`

export const vrfy = (argument: string): Command =>
  make("Vrfy", "VRFY", withArgument("VRFY", argument), "Last", "vrfy")

export const expn = (argument: string): Command =>
  make("Expn", "EXPN", withArgument("EXPN", argument), "Last", "expn")

export const help = (argument: string): Command =>
  make("Help", "HELP", withArgument("HELP", argument), "Last", "help")

// A command that a program writes keeps its meaning for the state of the session. A bare line of DATA, BDAT, STARTTLS or
// AUTH would leave the connection between two protocols.
const known: Readonly<Record<string, (line: string) => Command>> = {
  EHLO: (line) => make("Ehlo", "EHLO", line, "Last", "ehlo"),
  LHLO: (line) => make("Ehlo", "LHLO", line, "Last", "ehlo"),
  HELO: (line) => make("Helo", "HELO", line, "Last", "ehlo"),
  MAIL: mail,
  RCPT: rcpt,
  XCLIENT: xclient,
  RSET: (line) => make("Rset", "RSET", line, "Anywhere", "rset"),
  QUIT: (line) => make("Quit", "QUIT", line, "Last", "quit")
}

const ownMethod: Readonly<Record<string, string>> = {
  DATA: "data",
  BDAT: "bdat",
  STARTTLS: "startTls",
  AUTH: "authenticate"
}

/** A command as the program writes it (smtplib's docmd), but not DATA, BDAT, STARTTLS and AUTH. */
export const custom = (verb: string, argument: string): Command | Invalid => {
  if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(verb)) {
    return invalid("verb", "is not a command verb: letters, digits and hyphens, beginning with a letter")
  }
  const problem = unsafeText("argument", argument)
  if (problem !== undefined) return problem
  const upper = verb.toUpperCase()
  const method = ownMethod[upper]
  if (method !== undefined) return invalid("verb", `is ${upper}, which has a method of its own: ${method}`)
  const line = withArgument(verb, argument)
  const overlong = overlongLine(argument === "" ? "verb" : "argument", line)
  return overlong ?? known[upper]?.(line) ?? make("Other", upper, line, "Last", "command")
}

/** Checks a line, given without its CRLF, against RFC 5321 section 4.5.3.1.4; `field` is what made it long. */
export const overlongLine = (field: string, line: string): Invalid | undefined =>
  byteLength(line) > 510 ? invalid(field, "makes the line longer than 512 bytes") : undefined

/** Checks that a text can stand in a command line: no CR, LF or NUL, and well-formed Unicode. */
export const unsafeText = (field: string, text: string): Invalid | undefined => {
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit === 0x0d || unit === 0x0a) return invalid(field, "holds a line break")
    if (unit === 0) return invalid(field, "holds a NUL")
    if (unit >= 0xd800 && unit <= 0xdfff) {
      const low = unit < 0xdc00 ? text.charCodeAt(index + 1) : Number.NaN
      if (!(low >= 0xdc00 && low <= 0xdfff)) return invalid(field, "holds half of a surrogate pair")
      index++
    }
  }
  return undefined
}

/** Checks that only the last command of a group has the place `Last` (RFC 2920 section 3.1). */
export const misplaced = (commands: ReadonlyArray<Command>): Invalid | undefined => {
  const command = commands.slice(0, -1).find(({ place }) => place === "Last")
  return command === undefined
    ? undefined
    : invalid("group", `has ${command.verb} before its end, where only the last command may stand`)
}

/** What a reply means for its command. `Violation`: the server must not send it here. */
export type Meaning = "Success" | "Intermediate" | "Refusal" | "Violation"

type Meanings = (code: number) => Meaning

const completion: Meanings = (code) =>
  code >= 400 ? "Refusal" : code >= 200 && code < 300 ? "Success" : "Violation"

const only =
  (success: number): Meanings =>
  (code) =>
    code === success ? "Success" : code >= 400 ? "Refusal" : "Violation"

const challenge: Meanings = (code) => (code === 334 ? "Intermediate" : completion(code))

// A system status, a help text, a greeting, a goodbye and a log-in take no responsibility for a message.
const noVerdicts: ReadonlySet<number> = new Set([211, 214, 220, 221, 235])
const verdict: Meanings = (code) => (noVerdicts.has(code) ? "Violation" : completion(code))

const meanings: Readonly<Partial<Record<Kind, Meanings>>> = {
  // RFC 5321 section 3.1: no code but 220 opens the session.
  Greeting: (code) => (code === 220 ? "Success" : "Refusal"),
  // RFC 3207 section 4.
  StartTls: only(220),
  Auth: challenge,
  AuthResponse: challenge,
  // RFC 5321 section 4.3.2.
  Data: only(354),
  Final: verdict,
  Bdat: verdict,
  BdatLast: verdict
}

/** What a reply to a command of this kind means (RFC 5321 section 4.3.2); the code alone decides. */
export const meaning = (kind: Kind, { code }: Reply): Meaning => (meanings[kind] ?? completion)(code)

/** Whether the server says that it hangs up: 421, or 221 to anything but QUIT. */
export const isGoodbye = (kind: Kind, { code }: Reply): boolean =>
  kind !== "Greeting" && (code === 421 || (code === 221 && kind !== "Quit"))

/** Whether the server says that it does not know the command. */
export const isUnknown = ({ code }: Reply): boolean => code === 500 || code === 502

/** Whether the server does not know BDAT (RFC 3030 section 2): it reads the chunk as commands. */
export const isUnknownChunk = ({ kind }: Command, reply: Reply): boolean =>
  (kind === "Bdat" || kind === "BdatLast") && isUnknown(reply)

/** Whether a 334 in reply is a challenge for the mechanism; it is not after `*` (RFC 4954 section 4). */
export const mayBeChallenged = ({ line, secret }: Command): boolean => secret && line !== "*"
