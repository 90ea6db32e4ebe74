/**
 * Commands as effects: puts them on the wire in the lane that the fiber holds, or in one of its own, and waits for
 * their replies.
 */
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import type { Command, Phase } from "../../protocol/Command.js"
import type { Reply } from "../../protocol/Reply.js"
import type { Disconnection } from "../../SmtpError.js"
import type { Replies } from "../../SmtpSession.js"
import type { Entrant, Exchange, Failure, Owner } from "./driver.js"
import { disconnection } from "./failure.js"
import * as Lanes from "./heldTurn.js"
import type { Attributes, CommandTrace } from "../telemetry/tracing.js"
import * as Tracing from "../telemetry/tracing.js"

export interface Channel {
  /** Writes commands; gives all replies to each. */
  readonly execute: (commands: ReadonlyArray<Command>) => Effect.Effect<ReadonlyArray<Replies>, Disconnection>
  /** Writes one command; gives its reply, or the first of them. */
  readonly one: (command: Command) => Effect.Effect<Reply, Disconnection>
  /** Keeps the lane for several commands that belong together. */
  readonly together: <A, E, R>(
    purpose: Entrant["purpose"],
    use: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Disconnection, R>
  /** Runs commands in a lane that was taken otherwise. */
  readonly holding: <A, E, R>(entrant: Entrant, use: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Whether this fiber has the lane already. */
  readonly inside: Effect.Effect<boolean>
}

/** The lanes that a fiber holds: of each session, the one that it took last comes first. */
interface Held {
  readonly entrant: Entrant
  readonly rest: Held | undefined
}

// One for all sessions: a fiber never lets go of a reference that it has once set, and drags each along to every
// fiber that it begins.
const held = FiberRef.unsafeMake<Held | undefined>(undefined)

const isAmong = (lanes: Held | undefined, entrant: Entrant): boolean => {
  for (let lane = lanes; lane !== undefined; lane = lane.rest) if (lane.entrant === entrant) return true
  return false
}

/** `after` hears of all commands and replies before whoever waits for them. */
export const make = (
  exchange: Exchange,
  attributes: () => Attributes,
  after: (commands: ReadonlyArray<Command>, replies: ReadonlyArray<Replies>) => Effect.Effect<void>
): Channel => {
  const isHolder = (lanes: Held | undefined): boolean => {
    const holder = exchange.holder()
    return holder !== undefined && isAmong(lanes, holder)
  }

  const inside = Effect.map(FiberRef.get(held), isHolder)

  const holding: Channel["holding"] = (entrant, use) =>
    Effect.locallyWith(use, held, (rest) => ({ entrant, rest }))

  const execute: Channel["execute"] = (commands) =>
    Effect.withFiberRuntime<ReadonlyArray<Replies>, Disconnection>((fiber) => {
      const trace = Tracing.commandsOf(fiber, attributes, exchange.now)
      return isHolder(fiber.getFiberRef(held))
        ? submitAndWait(exchange, commands, () => undefined, trace)
        : inOwnLane(exchange, commands, trace)
    }).pipe(Effect.tap((replies) => after(commands, replies)))

  const together: Channel["together"] = <A, E, R>(
    purpose: Entrant["purpose"],
    use: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | Disconnection, R> =>
    Effect.flatMap(inside, (isInside): Effect.Effect<A, E | Disconnection, R> => {
      if (isInside) return use
      const lane = Lanes.make(exchange, purpose)
      return Effect.onExit(
        Effect.flatMap(lane.take, (failure): Effect.Effect<A, E | Disconnection, R> =>
          failure === undefined
            ? holding(lane.entrant, use)
            : Effect.fail(disconnection(failure, "idle", exchange.tape))
        ),
        () => Effect.sync(lane.leave)
      )
    })

  return {
    execute,
    one: (command) =>
      Effect.flatMap(execute([command]), ([replies]) =>
        replies === undefined
          ? Effect.fail(disconnection(noReply, command.phase, exchange.tape))
          : Effect.succeed(replies[0])
      ),
    together,
    holding,
    inside
  }
}

/** What a session would have to be in to end a command without a reply to it. */
export const noReply: Failure = { _tag: "Abandoned", reason: "no reply was read" }

/** Writes commands in a lane that somebody else takes care of. */
export const submitAndWait = (
  exchange: Exchange,
  commands: ReadonlyArray<Command>,
  leave: () => void,
  trace?: CommandTrace
): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
  Effect.async((resume) => Effect.sync(submit(exchange, commands, leave, resume, trace)))

// The lane is entered and used in one step: an interruption can fall before it or behind it, but not in between.
const inOwnLane = (
  exchange: Exchange,
  commands: ReadonlyArray<Command>,
  trace: CommandTrace | undefined
): Effect.Effect<ReadonlyArray<Replies>, Disconnection> =>
  Effect.async((resume) => {
    const leave = (): void => exchange.leave(entrant)
    let cancel = leave
    const entrant: Entrant = {
      purpose: "commands",
      begin: () => {
        cancel = submit(exchange, commands, leave, resume, trace)
      },
      turnedAway: (failure) => resume(Effect.fail(disconnection(failure, "idle", exchange.tape)))
    }
    exchange.enter(entrant)
    return Effect.sync(() => cancel())
  })

/** Puts the commands on the wire; gives what is to be done when nobody waits for the replies any more. */
const submit = (
  exchange: Exchange,
  commands: ReadonlyArray<Command>,
  leave: () => void,
  resume: (result: Effect.Effect<ReadonlyArray<Replies>, Disconnection>) => void,
  trace: CommandTrace | undefined
): (() => void) => {
  const { dialogue, tape } = exchange
  const replies: Array<[Reply, ...Array<Reply>]> = []
  let continued = false
  let abandoned = false
  const end = (result: Effect.Effect<ReadonlyArray<Replies>, Disconnection>): void => {
    // An envelope of which nobody knows belongs to nobody.
    if (abandoned && commands.some(({ kind }) => kind === "Mail") && dialogue.inTransaction())
      exchange.reset()
    exchange.finish(owner)
    dialogue.forget(owner)
    leave()
    resume(result)
  }
  // What is still to be handed to the socket cannot have been accepted.
  const phaseOf = (phase: Phase | undefined): Phase => {
    const head = dialogue.headOf(owner)
    return phase === "final" && head !== undefined && head.end > exchange.handed()
      ? "bdat"
      : (phase ?? "idle")
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
      if (!more && complete) end(Effect.succeed(replies))
    },
    failed: (failure, phase) => end(Effect.fail(disconnection(failure, phaseOf(phase), tape)))
  }
  exchange.start(owner)
  const problem = dialogue.submit(owner, commands)
  if (problem === undefined) exchange.flush()
  else {
    const refused: Failure = { _tag: "Abandoned", reason: `the ${problem.field} ${problem.reason}` }
    end(Effect.fail(disconnection(exchange.failure() ?? refused, "idle", tape)))
  }
  return () => {
    abandoned = true
    if (!dialogue.withdraw(owner)) {
      exchange.bound(owner)
      return
    }
    exchange.finish(owner)
    dialogue.forget(owner)
    leave()
  }
}
