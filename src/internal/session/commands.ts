/** Commands as effects: takes the turn to write them, or uses the one that the fiber holds, and waits for the replies. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Command, Phase } from "../../protocol/Command.js"
import type { Reply } from "../../protocol/Reply.js"
import type { Disconnection } from "../../SmtpError.js"
import type { Replies } from "../../SmtpSession.js"
import * as Inherited from "../effect/inherited.js"
import type { AnyFiber } from "../effect/runtime.js"
import { withFiber } from "../effect/runtime.js"
import type { Attributes, CommandTrace } from "../telemetry/tracing.js"
import * as Tracing from "../telemetry/tracing.js"
import type { Driver, Failure, Owner, Turn } from "./driver.js"
import { disconnection } from "./failure.js"

interface HeldTurn {
  readonly turn: Turn
  readonly fiber: AnyFiber
}

export interface CommandRunner {
  /** Writes commands; gives all replies to each. */
  readonly execute: (commands: ReadonlyArray<Command>) => Effect.Effect<ReadonlyArray<Replies>, Disconnection>
  /** The same within a turn that the caller has taken. */
  readonly executeHeld: CommandRunner["execute"]
  /** Writes one command; gives its reply, or the first of them. */
  readonly one: (command: Command) => Effect.Effect<Reply, Disconnection>
  /** The same within a turn that the caller has taken. */
  readonly oneHeld: CommandRunner["one"]
  /** Runs commands that belong together in one turn. */
  readonly together: <A, E, R>(
    purpose: Turn["purpose"],
    use: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Disconnection, R>
  /** Runs commands in a turn that has begun already. */
  readonly holding: <A, E, R>(turn: Turn, use: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Says in which turn the commands of a fiber run. */
  readonly hold: (held: HeldTurn | undefined) => void
  /** Whether the fiber's commands run in the present turn. */
  readonly isHolder: (fiber: AnyFiber) => boolean
}

/** The turn of the transaction by hand that a fiber, or the one that forked it, has begun. */
export const transactionTurn = Inherited.make<Turn | undefined>(undefined)

export const makeCommandRunner = (driver: Driver, attributes: () => Attributes): CommandRunner => {
  let held: HeldTurn | undefined

  const hold = (next: HeldTurn | undefined): void => {
    held = next
  }

  const isHolder = (fiber: AnyFiber): boolean =>
    held !== undefined &&
    held.turn === driver.turnHolder() &&
    (held.fiber === fiber || transactionTurn.of(fiber) === held.turn)

  const holding: CommandRunner["holding"] = (turn, use) =>
    withFiber((fiber) => {
      hold({ turn, fiber })
      return Effect.ensuring(
        use,
        Effect.sync(() => hold(undefined))
      )
    })

  const traceOf = (fiber: AnyFiber): CommandTrace | undefined =>
    Tracing.commandsOf(fiber, attributes, driver.now)

  const executeHeld: CommandRunner["execute"] = (commands) =>
    withFiber((fiber) => submitAndWait(driver, commands, () => undefined, traceOf(fiber)))

  const execute: CommandRunner["execute"] = (commands) =>
    withFiber((fiber) =>
      isHolder(fiber) ? executeHeld(commands) : inOwnTurn(driver, commands, traceOf(fiber))
    )

  const firstBy =
    (run: CommandRunner["execute"]): CommandRunner["one"] =>
    (command) =>
      Effect.flatMap(run([command]), ([replies]) =>
        replies === undefined
          ? Effect.fail(disconnection(noReply, command.phase, driver.recentLines))
          : Effect.succeed(replies[0])
      )

  return {
    execute,
    executeHeld,
    one: firstBy(execute),
    oneHeld: firstBy(executeHeld),
    together: <A, E, R>(purpose: Turn["purpose"], use: Effect.Effect<A, E, R>) =>
      withFiber<A, E | Disconnection, R>((fiber) => {
        if (isHolder(fiber)) return use
        const { leave, take, turn } = makeTurn(driver, purpose)
        return Effect.onExit(Effect.zipRight(take, holding(turn, use)), () => Effect.sync(leave))
      }),
    holding,
    hold,
    isHolder
  }
}

/** A turn that a fiber can wait for. An interrupted waiter has to `leave` as well as one that has got it. */
export const makeTurn = (
  driver: Driver,
  purpose: Turn["purpose"]
): {
  readonly turn: Turn
  readonly take: Effect.Effect<void, Disconnection>
  readonly leave: () => void
} => {
  let answer: (result: Effect.Effect<void, Disconnection>) => void = () => undefined
  const turn: Turn = {
    purpose,
    begin: () => answer(Effect.void),
    rejected: (failure) => answer(Effect.fail(disconnection(failure, "idle", driver.recentLines)))
  }
  return {
    turn,
    take: Effect.async((resume) => {
      answer = resume
      driver.takeTurn(turn)
    }),
    leave: () => driver.leaveTurn(turn)
  }
}

/** For a command that ended without a reply to it, which no session can come to. */
export const noReply: Failure = { _tag: "Abandoned", reason: "no reply was read" }

/** Writes commands in a turn that the caller has taken, and leaves. */
export const submitAndWait = (
  driver: Driver,
  commands: ReadonlyArray<Command>,
  leave: () => void,
  trace?: CommandTrace
): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
  Effect.async((resume) => Effect.sync(submit(driver, commands, leave, resume, trace)))

// The turn is taken and used in one step: an interruption can fall before it or behind it, but not in between.
const inOwnTurn = (
  driver: Driver,
  commands: ReadonlyArray<Command>,
  trace: CommandTrace | undefined
): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
  Effect.async((resume) => {
    const leave = (): void => driver.leaveTurn(turn)
    let cancel = leave
    const turn: Turn = {
      purpose: "commands",
      begin: () => {
        cancel = submit(driver, commands, leave, resume, trace)
      },
      rejected: (failure) => resume(Effect.fail(disconnection(failure, "idle", driver.recentLines)))
    }
    driver.takeTurn(turn)
    return Effect.sync(() => cancel())
  })

/** Puts the commands on the wire. The function returned gives up waiting for the replies. */
export const submit = (
  driver: Driver,
  commands: ReadonlyArray<Command>,
  leave: () => void,
  resume: (result: Exit.Exit<ReadonlyArray<Replies>, Disconnection>) => void,
  trace: CommandTrace | undefined
): (() => void) => {
  const { dialogue, recentLines } = driver
  const replies: Array<[Reply, ...Array<Reply>]> = []
  let continued = false
  let abandoned = false
  const end = (): void => {
    driver.finish(owner)
    dialogue.forget(owner)
    leave()
  }
  const endWith = (result: Exit.Exit<ReadonlyArray<Replies>, Disconnection>): void => {
    // No program knows of the envelope that an interrupted MAIL has begun.
    if (abandoned && commands.some(({ kind }) => kind === "Mail") && dialogue.inTransaction()) driver.reset()
    end()
    resume(result)
  }
  // What is still to be handed to the socket cannot have been accepted.
  const phaseOf = (phase: Phase | undefined): Phase => {
    const head = dialogue.headOf(owner)
    return phase === "final" && head !== undefined && head.end > driver.handed() ? "bdat" : (phase ?? "idle")
  }
  const owner: Owner = {
    trace,
    replied: (_command, reply, _meaning, more) => {
      const latest = replies.at(-1)
      if (continued && latest !== undefined) latest.push(reply)
      else replies.push([reply])
      continued = more
      const complete =
        replies.length === commands.length || (abandoned && dialogue.headOf(owner) === undefined)
      if (!more && complete) endWith(Exit.succeed(replies))
    },
    failed: (failure, phase) => endWith(Exit.fail(disconnection(failure, phaseOf(phase), recentLines)))
  }
  driver.start(owner)
  const problem = dialogue.submit(owner, commands)
  if (problem === undefined) driver.flush()
  else {
    const refused: Failure = { _tag: "Abandoned", reason: `the ${problem.field} ${problem.reason}` }
    endWith(Exit.fail(disconnection(driver.failure() ?? refused, "idle", recentLines)))
  }
  return () => {
    abandoned = true
    if (dialogue.withdraw(owner)) end()
    else driver.bound(owner)
  }
}
