/**
 * The set-up of a session, from the greeting to the first message, without I/O: which command comes next, and what a
 * refusal means. RFC 5321 sections 3.1 to 3.2 and 4.1.1.1, RFC 3207, RFC 2033. Only sessions with credentials load AUTH,
 * which is in sasl/Authentication.
 */
import type { Command } from "./Command.js"
import * as Commands from "./Command.js"
import type { Dialogue } from "./Dialogue.js"
import { invalid } from "./Invalid.js"
import { unsupported } from "./Parameters.js"
import type { Reply } from "./Reply.js"
import { isRefusal } from "./Reply.js"
import type { Failed, Step } from "./SetUpStep.js"
import { done, failed, submit } from "./SetUpStep.js"
import * as Xclient from "./Xclient.js"

/** The state of the session to be set up. */
export interface SetUpContext {
  readonly dialect: "smtp" | "lmtp"
  readonly clientName: string
  readonly tls: "none" | "implicit" | "opportunistic" | "starttls"
  /** Whether the options of the session hold credentials. */
  readonly authenticates: boolean
  readonly dialogue: Pick<Dialogue<never>, "greeted" | "capabilities" | "authenticated" | "inTransaction">
  /** Whether the session is on TLS. */
  readonly secured: () => boolean
}

/** RFC 5321 section 3.1: only QUIT may follow a greeting other than 220; nobody would read it after 421. */
export const afterGreeting = ({ code }: Reply): "Commands" | "Quit" | "Nothing" => {
  if (code === 220) return "Commands"
  return code === 421 ? "Nothing" : "Quit"
}

export type IndivisiblePart = "STARTTLS" | "authentication"

/** The part that an interruption or a defect may not leave half done; the last step belongs to the part `before` it. */
export const indivisiblePart = (
  step: Step<unknown>,
  before: IndivisiblePart | undefined
): IndivisiblePart | undefined => {
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
  return submit(Commands.ehlo(clientName, verb), (reply) =>
    isRefusal(reply)
      ? refused(failed({ _tag: "HeloRefused", command: verb, reply }), reply)
      : { _tag: "Announced", lines: reply.lines, answered: () => then(reply) }
  )
}

export const helo = <A>({ clientName }: SetUpContext, then: (reply: Reply) => Step<A>): Step<A> =>
  submit(Commands.helo(clientName), (reply) =>
    isRefusal(reply) ? failed({ _tag: "HeloRefused", command: "HELO", reply }) : then(reply)
  )

// RFC 5321 section 3.2: HELO is for servers that do not know EHLO, not for those that refuse this client.
const unknownEhlo: ReadonlyArray<number> = [500, 501, 502, 504, 550]

// HELO grants neither STARTTLS nor AUTH, and under TLS an unknown EHLO is suspicious.
const mayFallBackToHelo = ({ authenticates, dialect, secured, tls }: SetUpContext): boolean =>
  dialect === "smtp" && tls !== "starttls" && !authenticates && !secured()

/** EHLO if nothing was said yet; HELO if the server does not know EHLO. */
export const ehloOrHelo = <A>(context: SetUpContext, then: () => Step<A>): Step<A> => {
  if (context.dialogue.greeted()) return then()
  return ehlo(context, then, (refusal, { code }) =>
    mayFallBackToHelo(context) && unknownEhlo.includes(code)
      ? { _tag: "Pinned", answered: (pinned) => (pinned ? refusal : helo(context, then)) }
      : refusal
  )
}

const ehloIfNeeded = <A>(context: SetUpContext, then: () => Step<A>): Step<A> =>
  context.dialogue.greeted() ? then() : ehlo(context, then)

const notOffered = unsupported(
  "STARTTLS",
  `the server does not offer it; check the port: 587 for STARTTLS, 465 for tls "implicit"`
)

/** STARTTLS and the handshake; `unavailable` if the server does not offer it, or refuses it. */
export const startTls = <A>(
  context: SetUpContext,
  then: () => Step<A>,
  unavailable: (refusal: Failed) => Step<A> = (refusal) => refusal
): Step<A> => {
  if (context.secured()) return failed(invalid("session", "has TLS already"))
  return ehloIfNeeded(context, () => {
    if (!context.dialogue.capabilities().starttls) return unavailable(failed(notOffered))
    return submit(Commands.startTls, (reply) =>
      isRefusal(reply)
        ? unavailable(failed({ _tag: "CommandRefused", command: Commands.startTls, reply }))
        : { _tag: "Secure", answered: then }
    )
  })
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
      return startTls(context, then, (refusal) =>
        refusal.failure._tag === "Unsupported" ? unlessPinned(() => refusal) : refusal
      )
  }
}

// With XCLIENT the server begins anew: what it announced before does not count.
const introduce = <A>(context: SetUpContext, xclient: Command, then: () => Step<A>): Step<A> =>
  ehloOrHelo(context, () => {
    const missing = Xclient.unsupported(xclient, context.dialogue.capabilities())
    if (missing !== undefined) return failed(missing)
    return submit(xclient, (reply) =>
      isRefusal(reply) ? failed({ _tag: "CommandRefused", command: xclient, reply }) : ehlo(context, then)
    )
  })

/** Authenticates by the steps that `begin` gives. */
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
