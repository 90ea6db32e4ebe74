/**
 * The set-up of a session, from the greeting to the first message, without I/O: which command comes next, what a refusal
 * means, and what must not happen in clear. RFC 5321 sections 3.1 to 3.2 and 4.1.1.1, RFC 3207, RFC 2033. AUTH is in
 * sasl/Authentication, which only those load who need it.
 *
 * | `tls`           | before STARTTLS | STARTTLS not offered | STARTTLS refused |
 * | --------------- | --------------- | -------------------- | ---------------- |
 * | `none`          | no STARTTLS     |                      |                  |
 * | `implicit`      | no STARTTLS     |                      |                  |
 * | `opportunistic` | EHLO or HELO    | in clear, unless pinned: OfferVanished | the same |
 * | `starttls`      | EHLO            | NotSupported, or if pinned OfferVanished | CommandRefused |
 */
import type { Command } from "./Command.js"
import * as Commands from "./Command.js"
import type { Dialogue } from "./Dialogue.js"
import { invalid } from "./Invalid.js"
import { unsupported } from "./Parameters.js"
import type { Reply } from "./Reply.js"
import { isRefusal } from "./Reply.js"
import type { Failed, Step } from "./SetUpStep.js"
import { done, failed } from "./SetUpStep.js"
import * as Xclient from "./Xclient.js"

/** What the set-up has to know of its session. */
export interface SetUpContext {
  readonly dialect: "smtp" | "lmtp"
  readonly clientName: string
  readonly tls: "none" | "implicit" | "opportunistic" | "starttls"
  /** Whether the program has given credentials with the options. */
  readonly authenticates: boolean
  readonly dialogue: Pick<Dialogue<never>, "capabilities" | "authenticated" | "inTransaction">
  /** Whether EHLO or HELO was accepted, since TLS began. */
  readonly greeted: () => boolean
  /** Whether the session is on TLS. */
  readonly secured: () => boolean
}

/** What follows the greeting; QUIT is all that may follow one that is not 220, but for 421, whose sender has gone. */
export const afterGreeting = ({ code }: Reply): "Commands" | "Quit" | "Nothing" => {
  if (code === 220) return "Commands"
  return code === 421 ? "Nothing" : "Quit"
}

/** The part that an interruption or a defect may not leave half done; the last step belongs to the part `before` it. */
export const indivisiblePart = (
  step: Step<unknown>,
  before: "STARTTLS" | "authentication" | undefined
): "STARTTLS" | "authentication" | undefined => {
  switch (step._tag) {
    case "Submit":
      if (step.command.kind === "StartTls") return "STARTTLS"
      return step.command.phase === "auth" ? "authentication" : undefined
    case "Secure":
      return "STARTTLS"
    case "Announced":
    case "Pinned":
      return undefined
    case "Done":
    case "Failed":
    case "Violated":
      return before
    default:
      return "authentication"
  }
}

/** EHLO, or LHLO in the LMTP dialect. */
export const ehlo = <A>(
  { clientName, dialect }: SetUpContext,
  then: (reply: Reply) => Step<A>,
  refused: (failed: Failed, reply: Reply) => Step<A> = (failed) => failed
): Step<A> => {
  const verb = dialect === "lmtp" ? "LHLO" : "EHLO"
  return {
    _tag: "Submit",
    command: Commands.ehlo(clientName, verb),
    replied: (reply) =>
      isRefusal(reply)
        ? refused(failed({ _tag: "HeloRefused", command: verb, reply }), reply)
        : { _tag: "Announced", lines: reply.lines, answered: () => then(reply) }
  }
}

export const helo = <A>({ clientName }: SetUpContext, then: (reply: Reply) => Step<A>): Step<A> => ({
  _tag: "Submit",
  command: Commands.helo(clientName),
  replied: (reply) =>
    isRefusal(reply) ? failed({ _tag: "HeloRefused", command: "HELO", reply }) : then(reply)
})

// RFC 5321 section 3.2: HELO is for servers that do not know EHLO, not for those that refuse this client.
const unknownEhlo: ReadonlyArray<number> = [500, 501, 502, 504, 550]

const mayFallBackToHelo = ({ authenticates, dialect, secured, tls }: SetUpContext): boolean =>
  dialect === "smtp" && tls !== "starttls" && !authenticates && !secured()

/** EHLO if nothing was said yet; HELO where the server does not know EHLO, and nothing is lost by it. */
export const ehloOrHelo = <A>(context: SetUpContext, then: () => Step<A>): Step<A> => {
  if (context.greeted()) return then()
  return ehlo(context, then, (failed, { code }) =>
    mayFallBackToHelo(context) && unknownEhlo.includes(code)
      ? { _tag: "Pinned", answered: (pinned) => (pinned ? failed : helo(context, then)) }
      : failed
  )
}

/** EHLO if nothing was said yet, for what HELO could not grant. */
const ehloIfNeeded = <A>(context: SetUpContext, then: () => Step<A>): Step<A> =>
  context.greeted() ? then() : ehlo(context, then)

const notOffered = unsupported(
  "STARTTLS",
  `the server does not offer it; check the port: 587 for STARTTLS, 465 for tls "implicit"`
)

/** STARTTLS and the handshake; `unavailable` where the server does not offer it, or refuses. */
export const startTls = <A>(
  context: SetUpContext,
  then: () => Step<A>,
  unavailable: (failed: Failed) => Step<A> = (failed) => failed
): Step<A> => {
  if (context.secured()) return failed(invalid("session", "has TLS already"))
  return ehloIfNeeded(context, () =>
    context.dialogue.capabilities().starttls
      ? {
          _tag: "Submit",
          command: Commands.startTls,
          replied: (reply) =>
            isRefusal(reply)
              ? unavailable(failed({ _tag: "CommandRefused", command: Commands.startTls, reply }))
              : { _tag: "Secure", secured: then }
        }
      : unavailable(failed(notOffered))
  )
}

const unlessPinned = <A>(next: () => Step<A>): Step<A> => ({
  _tag: "Pinned",
  answered: (pinned) => (pinned ? failed({ _tag: "OfferVanished" }) : next())
})

const byPolicy = <A>(context: SetUpContext, then: () => Step<A>): Step<A> => {
  switch (context.tls) {
    case "none":
    case "implicit":
      return then()
    case "opportunistic":
      return ehloOrHelo(context, () => startTls(context, then, () => unlessPinned(then)))
    case "starttls":
      return startTls(context, then, (failed) =>
        failed.failure._tag === "Unsupported" ? unlessPinned(() => failed) : failed
      )
  }
}

// The server begins anew with XCLIENT: what it announced before is forgotten.
const introduce = <A>(context: SetUpContext, xclient: Command, then: () => Step<A>): Step<A> =>
  ehloOrHelo(context, () => {
    const missing = Xclient.unsupported(xclient, context.dialogue.capabilities())
    if (missing !== undefined) return failed(missing)
    return {
      _tag: "Submit",
      command: xclient,
      replied: (reply) =>
        isRefusal(reply) ? failed({ _tag: "CommandRefused", command: xclient, reply }) : ehlo(context, then)
    }
  })

/** AUTH, which `begin` says once the session may. */
export const authenticate = <A>(context: SetUpContext, begin: () => Step<A>): Step<A> => {
  if (context.dialogue.authenticated()) return failed(invalid("session", "is authenticated already"))
  if (context.dialogue.inTransaction()) return failed(invalid("session", "is in a mail transaction"))
  return ehloIfNeeded(context, begin)
}

/** All that comes between the greeting and the first message. */
export const prepare = (
  context: SetUpContext,
  xclient: Command | undefined,
  begin: (() => Step<unknown>) | undefined
): Step<unknown> => {
  const introduced = (): Step<unknown> =>
    ehloOrHelo(context, () => (begin === undefined ? done(undefined) : authenticate(context, begin)))
  return byPolicy(context, () =>
    xclient === undefined ? introduced() : introduce(context, xclient, introduced)
  )
}
