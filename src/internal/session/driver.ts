/**
 * Drives a Dialogue over a Connection: moves octets, calls owners, watches time. What comes in is dealt with where it
 * comes in, without a fiber, and what that sets off leaves in one write; one fiber watches the limits. No rule of the
 * protocol is decided here.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Command, Meaning, Phase } from "../../protocol/Command.js"
import * as Commands from "../../protocol/Command.js"
import type { Dialogue } from "../../protocol/Dialogue.js"
import * as Dialogues from "../../protocol/Dialogue.js"
import type { Limits, Reply } from "../../protocol/Reply.js"
import type { Connection, ConnectionLost } from "../../SmtpSocket.js"
import type { Window } from "./turn.js"
import { makeTurnQueue } from "./turn.js"
import { describeCause } from "../effect/cause.js"
import * as Elapsed from "../effect/elapsed.js"
import * as Fibers from "../effect/runtime.js"
import * as Meter from "../telemetry/meter.js"
import type { TimeLimits } from "./timeLimits.js"
import type { RecentLines } from "./recentLines.js"
import type { CommandTrace } from "../telemetry/tracing.js"
import * as Wakeup from "../effect/wakeup.js"
import type { Reader, DirectConnection } from "../transport/directConnection.js"
import * as DirectConnections from "../transport/directConnection.js"
import type { Deadline } from "./watchdog.js"
import * as Watchdogs from "./watchdog.js"

/**
 * Why a session ended.
 *
 * - `Disconnected`: the peer's end of stream, reset, or goodbye
 * - `Expired`: no reply, or no progress of a write, within the limit
 * - `Violated`: nothing that the server says can be matched to a command any more
 * - `Abandoned`: this side gave the connection up, because what was on the wire could not be completed
 * - `Unreached`: the server said goodbye to an earlier command, and answers in order: it has read nothing of this one
 */
export type Failure =
  | { readonly _tag: "Disconnected"; readonly reply: Reply | undefined; readonly cause: unknown }
  /** `isOfSend`: the limit is that of a whole send. */
  | {
      readonly _tag: "Expired"
      readonly phase: Phase
      readonly limitMillis: number
      readonly isOfSend?: boolean
    }
  | {
      readonly _tag: "Violated"
      readonly reason: string
      readonly reply: Reply | undefined
      readonly injection: boolean
    }
  | { readonly _tag: "Abandoned"; readonly reason: string }
  | { readonly _tag: "Unreached" }

/**
 * Whoever has submitted commands. Its functions are called from the reading or the watching fiber and must not
 * throw.
 */
export interface Owner {
  readonly replied: (command: Command, reply: Reply, meaning: Meaning, more: boolean) => void
  /** The session has failed; `phase` is that of the owner's oldest unanswered command. */
  readonly failed: (failure: Failure, phase: Phase | undefined) => void
  /** Makes the spans of its commands, if somebody traces. */
  readonly trace?: CommandTrace | undefined
}

/**
 * The right to submit commands. One turn at a time, in the order of asking. A `"message"` can follow messages that are
 * complete and not answered yet; the others begin once every reply is in.
 */
export interface Turn {
  readonly purpose: "commands" | "transaction" | "message"
  readonly begin: () => void
  /** The session has failed before the turn began. */
  readonly rejected: (failure: Failure) => void
}

export interface Driver {
  readonly dialogue: Dialogue<Owner>
  readonly limits: TimeLimits
  readonly recentLines: RecentLines
  readonly connection: () => Connection
  /** How many octets of the dialogue were handed to the socket. */
  readonly handed: () => number
  readonly failure: () => Failure | undefined
  /** Asks for the turn. */
  readonly takeTurn: (turn: Turn) => void
  /** Passes the turn on: only replies to its commands are still to come. */
  readonly passTurn: (turn: Turn, octets: number) => void
  /** Gives the turn back, or the place in the queue. */
  readonly leaveTurn: (turn: Turn) => void
  /** The turn that has begun and was not passed on. */
  readonly turnHolder: () => Turn | undefined
  /** Registers an owner until `finish`, so that it hears of a failure. */
  readonly start: (owner: Owner) => void
  readonly finish: (owner: Owner) => void
  /** To be called after octets were left in the dialogue: they are written as soon as the socket takes them. */
  readonly flush: () => void
  /** Lets everything that `submitting` leaves in the dialogue go out in one write. */
  readonly together: (submitting: () => void) => void
  /** Runs what can wait until octets that are being gathered have left: the server is at work meanwhile. */
  readonly afterwards: (task: () => void) => void
  /** Waits until the socket was given all that is in the dialogue now, to the last octet. */
  readonly drain: Effect.Effect<void>
  /** Ends the session: every owner hears of it, nothing more is written, the connection is destroyed. */
  readonly fail: (failure: Failure) => void
  /** The owed RSET: whoever comes next does not wait for its reply. */
  readonly reset: () => void
  /** Runs an effect that nobody waits for, such as a log line. */
  readonly fork: (effect: Effect.Effect<void>) => void
  /** The time of day in milliseconds, by the clock of the session. */
  readonly now: () => number
  /** How long it is since the server has answered, in milliseconds; zero while it owes a reply. */
  readonly silentFor: () => number
  /** The replies of an owner that nobody waits for any more have to come in time, or the session ends. */
  readonly bound: (owner: Owner) => void
  /** Ends when the session has. */
  readonly awaitEnd: Effect.Effect<Failure | undefined>
  /** Goes on over the secured connection. */
  readonly upgraded: (connection: Connection) => Effect.Effect<void>
  /** Says that the session is closed in good order, and destroys the connection. */
  readonly close: Effect.Effect<void>
}

// How long octets are still read after a write has failed: a 421 or 552 often hides behind EPIPE.
const readOnMillis = 2_000

// Octets of one write. The limit on its progress is 3 minutes, which is little for a large chunk on a slow line.
const sliceLength = 524_288

// How long replies may take that nobody waits for any more.
const graceMillis = 10_000

/**
 * Begins to read: the dialogue waits for the greeting, which goes to `greeter`. The fibers end with the scope; the
 * connection is the caller's to acquire, and is destroyed here when the session fails.
 */
export const make = (
  first: Connection,
  greeter: Owner,
  options: {
    readonly dialect: "smtp" | "lmtp"
    readonly replyLimits: Limits | undefined
    readonly limits: TimeLimits
    readonly recentLines: RecentLines
    readonly window: Window
    /** Run when the server has ended the session because of too many commands. */
    readonly onTooManyCommands: Effect.Effect<void>
  }
): Effect.Effect<Driver, never, Scope.Scope> =>
  Effect.gen(function* () {
    const runFork = yield* Fibers.makeFork()
    const clock = yield* Effect.clock
    const ended = yield* Deferred.make<Failure | undefined>()
    const scope = yield* Effect.scope
    const openWire = (connection: Connection) => Scope.extend(DirectConnections.open(connection), scope)
    let timer: Fibers.AnyFiber | undefined
    const driver = build(first, yield* openWire(first), greeter, options, {
      openWire,
      fork: (effect) => {
        runFork(effect)
      },
      now: () => clock.unsafeCurrentTimeMillis(),
      elapsed: () => Elapsed.millis(clock),
      after: (millis, wake) => {
        // Whoever opens a session in an uninterruptible region must be able to close it.
        const sleeping = runFork(Effect.interruptible(Effect.map(clock.sleep(Duration.millis(millis)), wake)))
        timer = sleeping
        return () => Fibers.interrupt(sleeping)
      },
      finish: (failure) => {
        Deferred.unsafeDone(ended, Effect.succeed(failure))
        if (failure !== undefined && "reply" in failure && failure.reply !== undefined) {
          if (namesTooManyCommands(failure.reply)) runFork(options.onTooManyCommands)
        }
      },
      awaitEnd: Deferred.await(ended)
    })
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => (timer === undefined ? Effect.void : Fiber.interrupt(timer)))
    )
    driver.begin()
    return driver
  })

interface Surroundings {
  readonly fork: Driver["fork"]
  readonly openWire: (connection: Connection) => Effect.Effect<DirectConnection>
  readonly now: () => number
  /** The same, but that it only passes: the limits count by it. */
  readonly elapsed: () => number
  /** Calls once, when the milliseconds have passed; the function returned stops it. One at a time. */
  readonly after: (millis: number, wake: () => void) => () => void
  readonly finish: (failure: Failure | undefined) => void
  readonly awaitEnd: Effect.Effect<Failure | undefined>
}

interface Running extends Driver {
  /** Reads from now on. */
  readonly begin: () => void
}

const isGoodbye = (failure: Failure): boolean =>
  failure._tag === "Disconnected" && failure.reply !== undefined

// RFC 5321 section 4.5.3: Postfix and Exim count RSET, and hang up on whoever exceeds their patience.
const namesTooManyCommands = (reply: Reply): boolean =>
  /too many (?:\S+ ){0,2}(?:commands|errors)/i.test(reply.text)

const build = (
  first: Connection,
  firstWire: DirectConnection,
  greeter: Owner,
  options: Parameters<typeof make>[2],
  { after, awaitEnd, elapsed, finish, fork, now, openWire }: Surroundings
): Running => {
  const { limits, recentLines } = options
  const dialogue = Dialogues.make<Owner>(greeter, {
    dialect: options.dialect,
    limits: options.replyLimits,
    sent: (command, owner) => {
      recentLines.sent(command)
      owner.trace?.sent(command)
    }
  })
  // An array: a Set that owners come to and leave keeps those that left alive, by the tables that it outgrew.
  let owners: Array<Owner> = [greeter]
  const taken = Wakeup.make()
  let connection = first
  let direct = firstWire
  let writing = false
  let flushing = false
  let failure: Failure | undefined
  let open = true
  let handed = 0
  let flushed = 0
  let writingSince: number | undefined
  // What the dialogue has given and the socket was not given yet.
  let unwritten: ReadonlyArray<Uint8Array> = []
  // The limit of the head runs from the later of its last octet flushed and the reply before it.
  let headSince = elapsed()
  // Until when their last reply has to be there; `undefined` while replies to others come first.
  const bounds = new Map<Owner, number | undefined>()
  let readOnUntil: number | undefined
  let lost: ConnectionLost | undefined
  // With what the server has announced that it hangs up.
  let lastWords: Reply | undefined
  // The turn stays its holder's until the replies are in that nobody waits for any more.
  const turns = makeTurnQueue<Turn>(
    () => bounds.size > 0,
    ({ purpose }) => purpose === "message",
    options.window
  )
  // While octets are gathered for one write nothing leaves.
  let gathering = false
  let scheduled = false
  let postponed: Array<() => void> = []

  const fail = (cause: Failure): void => {
    if (!open) return
    shutDown(cause, cause)
    fork(connection.destroy)
  }

  const shutDown = (cause: Failure, told: Failure | undefined): void => {
    failure = cause
    open = false
    dialogue.close()
    const head = dialogue.head()?.owner
    const affected = owners
    owners = []
    const waiting = turns.close()
    direct.stop()
    finish(told)
    taken.wake()
    watchdog.poke()
    // A goodbye answers the oldest command alone.
    const others: Failure = isGoodbye(cause) ? { _tag: "Unreached" } : cause
    for (const owner of affected) {
      const phase = dialogue.headOf(owner)?.command.phase
      owner.trace?.failed(cause._tag)
      owner.failed(owner === head || phase === undefined ? cause : others, phase)
    }
    for (const turn of waiting) turn.rejected(cause)
  }

  const close = (): Effect.Effect<void> => {
    if (open) shutDown({ _tag: "Abandoned", reason: "the session was closed" }, undefined)
    return connection.destroy
  }

  const takeTurn = (turn: Turn): void => {
    if (open) turns.take(turn)
    else turn.rejected(failure ?? { _tag: "Abandoned", reason: "the session is closed" })
  }

  const finishOwner = (owner: Owner): void => {
    const place = owners.indexOf(owner)
    if (place !== -1) owners.splice(place, 1)
    bounds.delete(owner)
    turns.settle()
  }

  // Whatever other fibers submit in the same turn leaves in the same write.
  const flush = (): void => {
    if (gathering || scheduled) return
    scheduled = true
    queueMicrotask(() => {
      scheduled = false
      writeOut()
    })
  }

  const together = (submitting: () => void): void => {
    if (gathering) {
      submitting()
      return
    }
    gathering = true
    try {
      submitting()
    } catch (defect) {
      // What is on the wire may be half of a group: nothing could be matched to its replies any more.
      fail({ _tag: "Abandoned", reason: `a defect ended the session: ${describeCause(defect)}` })
      throw defect
    } finally {
      gathering = false
    }
    writeOut()
    while (postponed.length > 0) {
      const tasks = postponed
      postponed = []
      for (const task of tasks) task()
    }
  }

  const afterwards = (task: () => void): void => {
    if (gathering) postponed.push(task)
    else task()
  }

  const resetter: Owner = {
    replied: (_command, reply, meaning) => {
      if (meaning !== "Refusal") return
      if (namesTooManyCommands(reply)) awaitLeave(reply)
      else resetRefused(reply)
    },
    failed: () => undefined
  }

  const resetRefused = (reply: Reply): void => {
    const reason = "RSET was refused, so the envelope may still stand"
    fail({ _tag: "Violated", reason, reply, injection: false })
  }

  // Exim says this and hangs up, and has read nothing behind it. Who says it and goes on may have taken what followed.
  const awaitLeave = (reply: Reply): void => {
    lastWords = reply
    readOnUntil = elapsed() + readOnMillis
    watchdog.poke()
  }

  const reset = (): void => {
    if (dialogue.resetting()) return
    dialogue.submit(resetter, [Commands.rset])
    flush()
  }

  // `waited` is how long the server has taken for the reply.
  const dispatch = (event: Dialogues.Event<Owner>, waited: number): void => {
    switch (event._tag) {
      case "Replied":
        recentLines.received(event.reply, event.command)
        Meter.replied(event.command.phase, event.reply.code, waited)
        event.owner.trace?.replied(event.command, event.reply, event.more)
        event.owner.replied(event.command, event.reply, event.meaning, event.more)
        if (event.command.kind === "Quit" && event.meaning === "Success") fork(close())
        return
      case "Goodbye":
        recentLines.received(event.reply, undefined)
        fail({ _tag: "Disconnected", reply: event.reply, cause: undefined })
        return
      case "Violated":
        if (event.reply !== undefined) recentLines.received(event.reply, dialogue.head()?.command)
        fail({ _tag: "Violated", reason: event.reason, reply: event.reply, injection: event.injection })
        return
    }
  }

  const readEvents = (): void => {
    let event = dialogue.next()
    if (event === undefined) return
    let waited = -headSince
    headSince = elapsed()
    waited += headSince
    while (event !== undefined) {
      if (lastWords === undefined) dispatch(event, waited)
      else if (event._tag === "Goodbye") disconnected(undefined)
      else resetRefused(lastWords)
      waited = 0
      event = open ? dialogue.next() : undefined
    }
  }

  // What the replies let go leaves in one write.
  const received = (octets: Uint8Array): void => {
    dialogue.receive(octets)
    try {
      together(readEvents)
    } catch {
      // The session is over, and has told those who wait; above it is nobody but the event loop.
      return
    }
    if (bounds.size > 0) beginBound()
    watchdog.begin()
  }

  // Nobody waits for these replies, but for those before them somebody may.
  const beginBound = (): void => {
    const owner = dialogue.head()?.owner
    if (owner === undefined || !bounds.has(owner) || bounds.get(owner) !== undefined) return
    bounds.set(owner, elapsed() + graceMillis)
    watchdog.poke()
  }

  const disconnected = (cause: unknown): void =>
    fail({ _tag: "Disconnected", reply: lastWords, cause: lost ?? cause })

  const readOnEnded = (): void => {
    if (lastWords === undefined || lost !== undefined) disconnected(undefined)
    else resetRefused(lastWords)
  }

  const reading = (): boolean => open && dialogue.state() !== "Upgrading"

  const reader: Reader = {
    received: (octets) => {
      if (!open) return
      received(octets)
      if (!reading()) direct.stop()
    },
    ended: (error) => {
      if (open) disconnected(error)
    }
  }

  // What one write takes of a batch, so that progress shows before all of it is through.
  const nextSlice = (): ReadonlyArray<Uint8Array> => {
    const length = unwritten.reduce((sum, part) => sum + part.length, 0)
    if (length <= sliceLength) {
      const all = unwritten
      unwritten = []
      handed += length
      return all
    }
    const slice: Array<Uint8Array> = []
    const rest: Array<Uint8Array> = []
    let room = sliceLength
    for (const part of unwritten) {
      const fitting = part.subarray(0, room)
      if (fitting.length > 0) slice.push(fitting)
      if (fitting.length < part.length) rest.push(part.subarray(fitting.length))
      room -= fitting.length
    }
    unwritten = rest
    handed += sliceLength
    return slice
  }

  const takeOutput = (): ReadonlyArray<Uint8Array> | undefined => {
    if (unwritten.length === 0) {
      unwritten = dialogue.take()
      if (unwritten.length === 0) return undefined
      taken.wake()
    }
    writingSince = elapsed()
    watchdog.begin()
    return nextSlice()
  }

  const wrote = (error: ConnectionLost | undefined): void => {
    writing = false
    writingSince = undefined
    if (error !== undefined) {
      writeFailed(error)
      return
    }
    const before = flushed
    flushed = handed
    const head = dialogue.head()
    if (head !== undefined && head.end > before && head.end <= flushed) {
      headSince = elapsed()
      watchdog.begin()
    }
    writeOut()
  }

  // What the server has said before it hung up is worth more than the error of the write.
  const writeFailed = (error: ConnectionLost): void => {
    if (!open) return
    lost = error
    readOnUntil = elapsed() + readOnMillis
    watchdog.poke()
  }

  // A write that is through at once lets the next one begin from here, and not from within it.
  const writeOut = (): void => {
    if (flushing) return
    flushing = true
    while (open && !writing && lost === undefined) {
      const octets = takeOutput()
      if (octets === undefined) break
      writing = true
      direct.write(octets, wrote)
    }
    flushing = false
  }

  const drain: Effect.Effect<void> = Effect.suspend(() => {
    const end = dialogue.put()
    return Wakeup.until(taken, () => (!open || dialogue.taken() >= end ? Effect.void : undefined))
  })

  const deadlines = (): ReadonlyArray<Deadline> => {
    if (!open) return []
    const all: Array<Deadline> = []
    const expire = (phase: Phase, limitMillis: number) => () => fail({ _tag: "Expired", phase, limitMillis })
    const head = dialogue.head()
    if (head !== undefined && head.end <= flushed) {
      const { phase } = head.command
      const limit = Duration.toMillis(limits[phase])
      all.push({ at: headSince + limit, expire: expire(phase, limit) })
    }
    if (writingSince !== undefined) {
      const limit = Duration.toMillis(limits.content)
      all.push({ at: writingSince + limit, expire: expire("content", limit) })
    }
    if (readOnUntil !== undefined) all.push({ at: readOnUntil, expire: readOnEnded })
    const reason = "the replies to an interrupted command did not come in time"
    for (const at of bounds.values()) {
      if (at !== undefined) all.push({ at, expire: () => fail({ _tag: "Abandoned", reason }) })
    }
    return all
  }

  const watchdog = Watchdogs.make({
    now: elapsed,
    deadlines,
    longestSleep: Math.max(1, Math.min(graceMillis, ...Object.values(limits).map(Duration.toMillis))),
    after
  })

  return {
    dialogue,
    limits,
    recentLines,
    connection: () => connection,
    handed: () => handed,
    failure: () => failure,
    takeTurn,
    passTurn: turns.pass,
    leaveTurn: turns.leave,
    turnHolder: turns.holder,
    start: (owner) => {
      owners.push(owner)
    },
    finish: finishOwner,
    flush,
    together,
    afterwards,
    drain,
    fail,
    reset,
    fork,
    now,
    silentFor: () => (dialogue.head() === undefined ? elapsed() - headSince : 0),
    bound: (owner) => {
      bounds.set(owner, undefined)
      beginBound()
    },
    awaitEnd,
    upgraded: (secured) =>
      Effect.map(openWire(secured), (opened) => {
        connection = secured
        if (!open) return
        direct = opened
        dialogue.upgraded()
        headSince = elapsed()
        direct.read(reader)
        flush()
      }),
    close: Effect.suspend(close),
    begin: () => {
      direct.read(reader)
      watchdog.begin()
    }
  }
}
