/**
 * Commands as values, for `run` and `group` of a session: the line, its place in a group (RFC 2920 section 3.1), and the
 * error of a refusal. Nothing is checked or sent before a session runs the command.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { busy, inClear, invalidArgument, notSupported, refusedLocally } from "./internal/session/failure.js"
import type { Capabilities } from "./protocol/Capabilities.js"
import type { Command, Place } from "./protocol/Command.js"
import * as Commands from "./protocol/Command.js"
import { isInvalid } from "./protocol/Invalid.js"
import { parseForwardPath, parseReversePath, toPath } from "./protocol/Mailbox.js"
import type { MailParameters, RecipientParameters } from "./protocol/Parameters.js"
import { mailParameters, recipientParameters } from "./protocol/ParameterLine.js"
import type { Reply } from "./protocol/Reply.js"
import { isRefusal } from "./protocol/Reply.js"
import type { ClientAttributes } from "./protocol/Xclient.js"
import * as Xclient from "./protocol/Xclient.js"
import {
  CommandRefused,
  InvalidArgument,
  NotSupported,
  RecipientsRefused,
  SenderRefused
} from "./SmtpError.js"

export type {
  /**
   * A command as it goes on the wire.
   *
   * @since 0.1.0
   * @category models
   */
  Command,
  /**
   * Whether others may follow a command in its group.
   *
   * @since 0.1.0
   * @category models
   */
  Place
} from "./protocol/Command.js"

export type {
  /**
   * The attributes of the original client that XCLIENT sends.
   *
   * @since 0.1.0
   * @category models
   */
  ClientAttributes
} from "./protocol/Xclient.js"

/**
 * A command. `P` says whether others may follow it in its group, `E` is the error of a refusal, `L` the error of an invalid
 * command, which is not sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface SmtpCommand<out P extends Place, out E, out L extends InvalidArgument | NotSupported> {
  readonly place: P
  readonly prepare: (context: Context) => Effect.Effect<Command, L>
  /** Gives the error of a reply, or `undefined` if the reply is a result. */
  readonly refuse: (reply: Reply) => E | undefined
}

/**
 * The state of the session that a command is checked against.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context {
  readonly capabilities: Capabilities
  /** Whether the session runs over TLS with a verified certificate. */
  readonly verifiedTls: boolean
  /** Whether a `send`, `deliver` or `transaction` is in flight. */
  readonly occupied: boolean
  /** Whether mail would be sent in clear although the options ask for TLS. */
  readonly unprotected: boolean
  /** Milliseconds since 1970. */
  readonly now: number
}

const unrefused = (): undefined => undefined

const ready =
  <const P extends Place>(place: P) =>
  (command: Command, phase: CommandRefused["phase"]): SmtpCommand<P, CommandRefused, never> => ({
    place,
    prepare: () => Effect.succeed(command),
    refuse: (reply) =>
      isRefusal(reply) ? new CommandRefused({ command: command.verb, phase, reply }) : undefined
  })

/**
 * Makes MAIL with a reverse-path (`""` is the null reverse-path) and parameters, typed or as text (RFC 5321 section
 * 4.1.1.2). Fails with `NotSupported` if the server does not offer a parameter.
 *
 * @example
 * ```ts
 * import { SmtpCommand } from "effect-smtplib"
 *
 * SmtpCommand.mail("app@example.com", { ret: "HDRS" })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const mail = (
  from: string,
  parameters: MailParameters | ReadonlyArray<string> = {}
): SmtpCommand<"Anywhere", SenderRefused, InvalidArgument | NotSupported> => ({
  place: "Anywhere",
  prepare: ({ capabilities, now, occupied, unprotected, verifiedTls }) => {
    if (occupied) return Effect.fail(busy())
    if (unprotected) return Effect.fail(inClear())
    const sender = parseReversePath(from, "from")
    if (isInvalid(sender)) return Effect.fail(invalidArgument(sender))
    const given = mailParameters.read(parameters, "parameters")
    if (isInvalid(given)) return Effect.fail(invalidArgument(given))
    if (sender?.needsSmtpUtf8 === true && given.smtputf8 !== true) return Effect.fail(needsSmtpUtf8("from"))
    const context = { capabilities, tls: verifiedTls, now }
    const line = mailParameters.line(toPath(sender), given, context, "parameters")
    return typeof line === "string" ? Effect.succeed(Commands.mail(line)) : Effect.fail(refusedLocally(line))
  },
  refuse: (reply) => (isRefusal(reply) ? new SenderRefused({ sender: from, reply }) : undefined)
})

const needsSmtpUtf8 = (field: string): InvalidArgument =>
  new InvalidArgument({
    field,
    reason: "has characters beyond ASCII before its @: give MAIL the parameter smtputf8"
  })

/**
 * Makes RCPT with a forward-path and parameters, typed or as text (RFC 5321 section 4.1.1.3).
 *
 * @example
 * ```ts
 * import { SmtpCommand } from "effect-smtplib"
 *
 * SmtpCommand.rcpt("ann@example.net", { notify: ["FAILURE"] })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const rcpt = (
  to: string,
  parameters: RecipientParameters | ReadonlyArray<string> = {}
): SmtpCommand<"Anywhere", RecipientsRefused, InvalidArgument | NotSupported> => ({
  place: "Anywhere",
  prepare: ({ capabilities, now, occupied, verifiedTls }) => {
    if (occupied) return Effect.fail(busy())
    const recipient = parseForwardPath(to, "to")
    if (isInvalid(recipient)) return Effect.fail(invalidArgument(recipient))
    const given = recipientParameters.read(parameters, "parameters")
    if (isInvalid(given)) return Effect.fail(invalidArgument(given))
    if (recipient.needsSmtpUtf8 && !capabilities.smtpUtf8) {
      const reason = "the recipient has characters beyond ASCII before its @, and the server takes none"
      return Effect.fail(new NotSupported({ extension: "SMTPUTF8", reason }))
    }
    const context = { capabilities, tls: verifiedTls, now }
    const line = recipientParameters.line(toPath(recipient), given, context, "parameters")
    return typeof line === "string" ? Effect.succeed(Commands.rcpt(line)) : Effect.fail(refusedLocally(line))
  },
  refuse: (reply) =>
    isRefusal(reply)
      ? new RecipientsRefused({ recipients: [{ address: to, reply }], policy: "all" })
      : undefined
})

/**
 * RSET: ends a mail transaction without a message (RFC 5321 section 4.1.1.5).
 *
 * @since 0.1.0
 * @category constructors
 */
export const rset: SmtpCommand<"Anywhere", CommandRefused, never> = ready("Anywhere")(Commands.rset, "rset")

/**
 * NOOP (RFC 5321 section 4.1.1.9).
 *
 * @since 0.1.0
 * @category constructors
 */
export const noop: SmtpCommand<"Last", CommandRefused, never> = ready("Last")(Commands.noop, "noop")

/** The command, if its line is not too long. */
const within = (field: string, command: Command): Effect.Effect<Command, InvalidArgument> => {
  const overlong = Commands.overlongLine(field, command.line)
  return overlong === undefined ? Effect.succeed(command) : Effect.fail(invalidArgument(overlong))
}

const asking = (
  make: (argument: string) => Command,
  field: string,
  argument: string
): SmtpCommand<"Last", never, InvalidArgument | NotSupported> => ({
  place: "Last",
  prepare: ({ capabilities }) => {
    const problem = Commands.unsafeText(field, argument)
    if (problem !== undefined) return Effect.fail(invalidArgument(problem))
    if (!/\P{ASCII}/u.test(argument)) return within(field, make(argument))
    // RFC 6531 section 3.7.4.2: the parameter announces an argument beyond ASCII.
    return capabilities.smtpUtf8
      ? within(field, make(`${argument} SMTPUTF8`))
      : Effect.fail(
          new NotSupported({ extension: "SMTPUTF8", reason: `the ${field} has characters beyond ASCII` })
        )
  },
  refuse: unrefused
})

/**
 * Makes VRFY (RFC 5321 section 4.1.1.6). Any reply is a result; 252 neither confirms nor denies the user.
 *
 * @since 0.1.0
 * @category constructors
 */
export const vrfy = (user: string): SmtpCommand<"Last", never, InvalidArgument | NotSupported> =>
  asking(Commands.vrfy, "user", user)

/**
 * Makes EXPN (RFC 5321 section 4.1.1.7). Any reply is a result.
 *
 * @since 0.1.0
 * @category constructors
 */
export const expn = (list: string): SmtpCommand<"Last", never, InvalidArgument | NotSupported> =>
  asking(Commands.expn, "list", list)

/**
 * Makes HELP (RFC 5321 section 4.1.1.8). Any reply is a result.
 *
 * @since 0.1.0
 * @category constructors
 */
export const help = (topic = ""): SmtpCommand<"Last", never, InvalidArgument> => ({
  place: "Last",
  prepare: () => {
    const problem = Commands.unsafeText("topic", topic)
    return problem === undefined
      ? within("topic", Commands.help(topic))
      : Effect.fail(invalidArgument(problem))
  },
  refuse: unrefused
})

/**
 * Makes XCLIENT, which tells a Postfix that trusts this client about the original client (Postfix, XCLIENT_README). Send it
 * before AUTH, and EHLO again after it; the option `xclient` of a session does both. Fails with `NotSupported` if the server
 * does not offer XCLIENT or one of the attributes.
 *
 * @example
 * ```ts
 * import { SmtpCommand } from "effect-smtplib"
 *
 * SmtpCommand.xclient({ name: "client.example.net", address: "2001:db8::7", login: "ann" })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const xclient = (
  client: ClientAttributes
): SmtpCommand<"Last", CommandRefused, InvalidArgument | NotSupported> => ({
  place: "Last",
  prepare: ({ capabilities }) => {
    const made = Xclient.make(client, "client")
    if (isInvalid(made)) return Effect.fail(invalidArgument(made))
    const missing = Xclient.unsupported(made, capabilities)
    return missing === undefined ? Effect.succeed(made) : Effect.fail(notSupported(missing))
  },
  refuse: (reply) =>
    isRefusal(reply) ? new CommandRefused({ command: "XCLIENT", phase: "command", reply }) : undefined
})

/**
 * Makes any other command, like smtplib's docmd. Any reply is a result. Fails with `InvalidArgument` for DATA, BDAT,
 * STARTTLS and AUTH, which are methods of a session.
 *
 * @example
 * ```ts
 * import { SmtpCommand } from "effect-smtplib"
 *
 * SmtpCommand.command("ETRN", "example.org")
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const command = (verb: string, argument = ""): SmtpCommand<"Last", never, InvalidArgument> => ({
  place: "Last",
  prepare: ({ occupied, unprotected }) => {
    const made = Commands.custom(verb, argument)
    if (isInvalid(made)) return Effect.fail(invalidArgument(made))
    if (made.kind !== "Mail") return Effect.succeed(made)
    if (occupied) return Effect.fail(busy())
    return unprotected ? Effect.fail(inClear()) : Effect.succeed(made)
  },
  refuse: unrefused
})
