/**
 * The commands of SmtpSession: checks each against the state of the session, writes it, and turns refusals into errors.
 */
import * as Effect from "effect/Effect"
import * as Commands from "../../protocol/Command.js"
import { invalid } from "../../protocol/Invalid.js"
import type { Reply } from "../../protocol/Reply.js"
import { isRefusal } from "../../protocol/Reply.js"
import * as SmtpCommands from "../../SmtpCommand.js"
import type { Disconnection, InvalidArgument } from "../../SmtpError.js"
import { CommandRefused } from "../../SmtpError.js"
import type { Group, RepliesTo, Service } from "../../SmtpSession.js"
import { noReply } from "./commands.js"
import type { SessionContext } from "./context.js"
import { isOccupied } from "./context.js"
import { sendData } from "./data.js"
import { busy, disconnection, invalidArgument } from "./failure.js"
import type { MessageContext } from "./messageContext.js"
import { accepted, beginTransaction, commandContext, sendChunk } from "./transaction.js"

type CommandMethods = Pick<
  Service,
  | "mail"
  | "rcpt"
  | "data"
  | "bdat"
  | "rset"
  | "noop"
  | "vrfy"
  | "expn"
  | "help"
  | "quit"
  | "command"
  | "run"
  | "group"
  | "transaction"
>

export const makeMethods = (session: SessionContext, messages: MessageContext): CommandMethods => {
  const { commands, driver } = session
  const { dialogue, recentLines } = driver

  const context = Effect.suspend(() => commandContext(session, isOccupied(session)))

  // A local mistake is found at once. In their turn the commands are made again if STARTTLS or EHLO of another fiber has
  // changed what they were made from.
  const prepared = <Made, A, E, E2>(
    make: Effect.Effect<Made, E>,
    use: (made: Made) => Effect.Effect<A, E2>
  ): Effect.Effect<A, E | E2 | Disconnection> =>
    Effect.flatMap(make, (made) => {
      const capabilities = dialogue.capabilities()
      return commands.together(
        "commands",
        Effect.suspend(() =>
          dialogue.capabilities() === capabilities ? use(made) : Effect.flatMap(make, use)
        )
      )
    })

  const run: Service["run"] = (command) =>
    Effect.flatMap(
      prepared(
        Effect.flatMap(context, (known) => command.prepare(known)),
        commands.one
      ),
      (reply) => accepted(command, reply)
    )

  const group: Service["group"] = (given) =>
    Effect.gen(function* () {
      const all = Effect.flatMap(context, (known) =>
        Effect.forEach(given, (command) => command.prepare(known))
      )
      const replies = yield* prepared(
        Effect.filterOrFail(
          all,
          (made) => Commands.misplaced(made) === undefined,
          (made) => invalidArgument(Commands.misplaced(made) ?? invalid("group", "cannot be sent"))
        ),
        commands.execute
      )
      const firsts = replies.map(([reply]) => reply)
      return isComplete(given, firsts) ? firsts : yield* disconnection(noReply, "command", recentLines)
    })

  const unlessOccupied = <A, E, R>(use: Effect.Effect<A, E, R>): Effect.Effect<A, E | InvalidArgument, R> =>
    Effect.suspend<A, E | InvalidArgument, R>(() => (isOccupied(session) ? Effect.fail(busy()) : use))

  const quit: Service["quit"] = Effect.gen(function* () {
    const reply = yield* commands.one(Commands.quit)
    if (isRefusal(reply)) return yield* new CommandRefused({ command: "QUIT", phase: "quit", reply })
    yield* driver.close
    return reply
  })

  return {
    mail: (from, parameters) => run(SmtpCommands.mail(from, parameters)),
    rcpt: (to, parameters) => run(SmtpCommands.rcpt(to, parameters)),
    data: (content, options) =>
      unlessOccupied(commands.together("commands", sendData(messages, content, options))),
    bdat: (bytes, options) => unlessOccupied(sendChunk(session, commands.execute, bytes, options)),
    rset: run(SmtpCommands.rset),
    noop: run(SmtpCommands.noop),
    vrfy: (user) => run(SmtpCommands.vrfy(user)),
    expn: (list) => run(SmtpCommands.expn(list)),
    help: (topic) => run(SmtpCommands.help(topic)),
    quit,
    command: (verb, argument) => run(SmtpCommands.command(verb, argument)),
    run,
    group,
    transaction: (from, parameters) => beginTransaction(session, messages, from, parameters)
  }
}

const isComplete = <Commands extends Group>(
  commands: Commands,
  replies: ReadonlyArray<Reply>
): replies is ReadonlyArray<Reply> & RepliesTo<Commands> => replies.length === commands.length
