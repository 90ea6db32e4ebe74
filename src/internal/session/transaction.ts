/** A mail transaction by hand: its commands, and the handle that has the turn of the session until its scope closes. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Place } from "../../protocol/Command.js"
import * as Commands from "../../protocol/Command.js"
import type { MailParameters } from "../../protocol/Parameters.js"
import type { Reply } from "../../protocol/Reply.js"
import { isRefusal } from "../../protocol/Reply.js"
import type { Context, SmtpCommand } from "../../SmtpCommand.js"
import * as SmtpCommands from "../../SmtpCommand.js"
import type { Disconnection, SenderRefused } from "../../SmtpError.js"
import { DataError, InvalidArgument, NotSupported, RecipientsRefused } from "../../SmtpError.js"
import type { Replies, Transaction } from "../../SmtpSession.js"
import { withFiber } from "../effect/runtime.js"
import type { CommandRunner } from "./commands.js"
import { makeTurn, noReply, transactionTurn } from "./commands.js"
import type { SessionContext } from "./context.js"
import { isTransactionByHand, isUnprotected, isVerified } from "./context.js"
import { sendData } from "./data.js"
import { disconnection, nested } from "./failure.js"
import type { MessageContext } from "./messageContext.js"

/** What a command is checked against. */
export const commandContext = (session: SessionContext, occupied: boolean): Effect.Effect<Context> =>
  Effect.map(Effect.clock, (clock) => ({
    capabilities: session.driver.dialogue.capabilities(),
    verifiedTls: isVerified(session),
    occupied,
    unprotected: isUnprotected(session),
    now: clock.unsafeCurrentTimeMillis()
  }))

/** The reply, or the error that a refusal becomes. */
export const accepted = <P extends Place, E, L extends InvalidArgument | NotSupported>(
  command: SmtpCommand<P, E, L>,
  reply: Reply
): Effect.Effect<Reply, E> => {
  const refused = command.refuse(reply)
  return refused === undefined ? Effect.succeed(reply) : Effect.fail(refused)
}

/** One chunk of BDAT; a refused one resets the transaction. */
export const sendChunk = (
  { driver }: SessionContext,
  execute: CommandRunner["execute"],
  bytes: Uint8Array,
  { last = false }: { readonly last?: boolean | undefined } = {}
): Effect.Effect<Replies, DataError | RecipientsRefused | NotSupported | Disconnection> => {
  // The program may change its array once this is called.
  const chunk = Commands.bdat([new Uint8Array(bytes)], last)
  return Effect.gen(function* () {
    const { dialogue, recentLines } = driver
    if (!dialogue.capabilities().chunking) {
      return yield* new NotSupported({
        extension: "CHUNKING",
        reason: "the server does not offer it; send the content by data"
      })
    }
    const recipients = dialogue.recipients()
    const [replies] = yield* execute([chunk])
    if (replies === undefined) return yield* disconnection(noReply, "bdat", recentLines)
    if (replies.every(isRefusal)) {
      driver.reset()
      const isUnknown = Commands.isUnknown(replies[0])
      return yield* new DataError({ phase: last && !isUnknown ? "final" : "bdat", reply: replies[0] })
    }
    return last && recipients === 0
      ? yield* new RecipientsRefused({ recipients: [], policy: "any" })
      : replies
  })
}

/** Takes the turn and says MAIL. */
export const beginTransaction = (
  session: SessionContext,
  messages: MessageContext,
  from: string,
  parameters?: MailParameters | ReadonlyArray<string>
): Effect.Effect<
  Transaction,
  SenderRefused | InvalidArgument | NotSupported | Disconnection,
  Scope.Scope
> => {
  const { commands, driver } = session
  const { dialogue } = driver
  return Effect.uninterruptibleMask((restore) =>
    withFiber((fiber) => {
      if (commands.isHolder(fiber) || isTransactionByHand(session)) return Effect.fail(nested())
      const { leave, take, turn } = makeTurn(driver, "transaction")
      let begun = false
      let ended = false

      const end = Effect.sync(() => {
        if (ended) return
        ended = true
        if (begun && driver.failure() === undefined && dialogue.inTransaction()) driver.reset()
        if (begun) commands.hold(undefined)
        leave()
      })

      const run = <P extends Place, E, L extends InvalidArgument | NotSupported>(
        command: SmtpCommand<P, E, L>
      ): Effect.Effect<Reply, E | L | Disconnection> =>
        commandContext(session, false).pipe(
          Effect.flatMap((context) => command.prepare(context)),
          Effect.flatMap((made) => commands.oneHeld(made)),
          Effect.flatMap((reply) => accepted(command, reply))
        )

      const whileOpen = <A, E, R>(use: Effect.Effect<A, E, R>): Effect.Effect<A, E | InvalidArgument, R> =>
        Effect.suspend<A, E | InvalidArgument, R>(() =>
          !ended && (dialogue.inTransaction() || driver.failure() !== undefined) ? use : Effect.fail(over())
        )

      const sender = Effect.suspend(() => {
        if (dialogue.inTransaction()) return Effect.fail(nested())
        commands.hold({ turn, fiber })
        begun = true
        return run(SmtpCommands.mail(from, parameters))
      })

      const handle: Transaction = {
        rcpt: (to, given) => whileOpen(run(SmtpCommands.rcpt(to, given))),
        data: (content, options) => whileOpen(sendData(messages, content, options)),
        bdat: (bytes, options) => whileOpen(sendChunk(session, commands.executeHeld, bytes, options))
      }

      return restore(Effect.zipRight(take, sender)).pipe(
        Effect.onError(() => end),
        Effect.zipRight(Effect.addFinalizer(() => end)),
        Effect.zipRight(transactionTurn.set(turn)),
        Effect.as(handle)
      )
    })
  )
}

const over = (): InvalidArgument =>
  new InvalidArgument({ field: "transaction", reason: "has ended; begin another one" })
