/**
 * Commands as effects: puts them on the wire in the turn that the fiber holds, or in one of its own, and waits for
 * their replies.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import type { Command, Phase } from "../../protocol/Command.js"
import type { Reply } from "../../protocol/Reply.js"
import type { Disconnection } from "../../SmtpError.js"
import type { Replies } from "../../SmtpSession.js"
import type { Turn, Driver, Failure, Owner } from "./driver.js"
import { disconnection } from "./failure.js"
import * as HeldTurns from "./heldTurn.js"
import type { Attributes, CommandTrace } from "../telemetry/tracing.js"
import * as Tracing from "../telemetry/tracing.js"

export interface SessionCommands {
  /** Writes commands; gives all replies to each. */
  readonly execute: (commands: ReadonlyArray<Command>) => Effect.Effect<ReadonlyArray<Replies>, Disconnection>
  /** Writes one command; gives its reply, or the first of them. */
  readonly one: (command: Command) => Effect.Effect<Reply, Disconnection>
  /** Keeps the turn for several commands that belong together. */
  readonly together: <A, E, R>(
    purpose: Turn["purpose"],
    use: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Disconnection, R>
  /** Runs commands in a turn that was taken otherwise. */
  readonly holding: <A, E, R>(turn: Turn, use: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Whether this fiber has the turn already. */
  readonly inside: Effect.Effect<boolean>
}

/** The turns that a fiber holds: of each session, the one that it took last comes first. */
interface Held {
  readonly turn: Turn
  readonly rest: Held | undefined
}

// One for all sessions: a fiber never lets go of a reference that it has once set, and drags each along to every
// fiber that it begins.
const held = FiberRef.unsafeMake<Held | undefined>(undefined)

const isAmong = (turns: Held | undefined, turn: Turn): boolean => {
  for (let own = turns; own !== undefined; own = own.rest) if (own.turn === turn) return true
  return false
}

/** `after` hears of all commands and replies before whoever waits for them. */
export const make = (
  driver: Driver,
  attributes: () => Attributes,
  after: (commands: ReadonlyArray<Command>, replies: ReadonlyArray<Replies>) => Effect.Effect<void>
): SessionCommands => {
  const isHolder = (turns: Held | undefined): boolean => {
    const holder = driver.turnHolder()
    return holder !== undefined && isAmong(turns, holder)
  }

  const inside = Effect.map(FiberRef.get(held), isHolder)

  const holding: SessionCommands["holding"] = (turn, use) =>
    Effect.locallyWith(use, held, (rest) => ({ turn, rest }))

  const execute: SessionCommands["execute"] = (commands) =>
    Effect.withFiberRuntime<ReadonlyArray<Replies>, Disconnection>((fiber) => {
      const trace = Tracing.commandsOf(fiber, attributes, driver.now)
      return isHolder(fiber.getFiberRef(held))
        ? submitAndWait(driver, commands, () => undefined, trace)
        : inOwnLane(driver, commands, trace)
    }).pipe(Effect.tap((replies) => after(commands, replies)))

  const together: SessionCommands["together"] = <A, E, R>(
    purpose: Turn["purpose"],
    use: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | Disconnection, R> =>
    Effect.flatMap(inside, (isInside): Effect.Effect<A, E | Disconnection, R> => {
      if (isInside) return use
      const own = HeldTurns.make(driver, purpose)
      return Effect.onExit(
        Effect.flatMap(own.take, (failure): Effect.Effect<A, E | Disconnection, R> =>
          failure === undefined
            ? holding(own.turn, use)
            : Effect.fail(disconnection(failure, "idle", driver.recentLines))
        ),
        () => Effect.sync(own.leave)
      )
    })

  return {
    execute,
    one: (command) =>
      Effect.flatMap(execute([command]), ([replies]) =>
        replies === undefined
          ? Effect.fail(disconnection(noReply, command.phase, driver.recentLines))
          : Effect.succeed(replies[0])
      ),
    together,
    holding,
    inside
  }
}

/** What a session would have to be in to end a command without a reply to it. */
export const noReply: Failure = { _tag: "Abandoned", reason: "no reply was read" }

/** Writes commands in a turn that somebody else takes care of. */
export const submitAndWait = (
  driver: Driver,
  commands: ReadonlyArray<Command>,
  leave: () => void,
  trace?: CommandTrace
): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
  Effect.async((resume) => Effect.sync(submit(driver, commands, leave, resume, trace)))

// The turn is entered and used in one step: an interruption can fall before it or behind it, but not in between.
const inOwnLane = (
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

/** Puts the commands on the wire; gives what is to be done when nobody waits for the replies any more. */
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
  const end = (result: Exit.Exit<ReadonlyArray<Replies>, Disconnection>): void => {
    // An envelope of which nobody knows belongs to nobody.
    if (abandoned && commands.some(({ kind }) => kind === "Mail") && dialogue.inTransaction()) driver.reset()
    driver.finish(owner)
    dialogue.forget(owner)
    leave()
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
      if (!more && complete) end(Exit.succeed(replies))
    },
    failed: (failure, phase) => end(Exit.fail(disconnection(failure, phaseOf(phase), recentLines)))
  }
  driver.start(owner)
  const problem = dialogue.submit(owner, commands)
  if (problem === undefined) driver.flush()
  else {
    const refused: Failure = { _tag: "Abandoned", reason: `the ${problem.field} ${problem.reason}` }
    end(Exit.fail(disconnection(driver.failure() ?? refused, "idle", recentLines)))
  }
  return () => {
    abandoned = true
    if (!dialogue.withdraw(owner)) {
      driver.bound(owner)
      return
    }
    driver.finish(owner)
    dialogue.forget(owner)
    leave()
  }
}
