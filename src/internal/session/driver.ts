/**
 * Drives a Dialogue over a Connection: moves bytes, calls owners, watches time. What comes in is dealt with where it comes
 * in, without a fiber, and what that sets off leaves in one write. No rule of the protocol is decided here.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Command, Meaning, Phase } from "../../protocol/Command.js"
import * as Commands from "../../protocol/Command.js"
import type { Event, Expectation } from "../../protocol/Dialogue.js"
import { Dialogue } from "../../protocol/Dialogue.js"
import { inDoubt } from "../../protocol/Outcome.js"
import type { Limits, Reply } from "../../protocol/Reply.js"
import type { Connection, ConnectionLost } from "../../SmtpSocket.js"
import { describeCause } from "../effect/cause.js"
import * as Wakeup from "../effect/wakeup.js"
import * as Meter from "../telemetry/meter.js"
import type { CommandTrace } from "../telemetry/tracing.js"
import { tlsFailureOf } from "../transport/connection.js"
import type { DirectConnection, Reader } from "../transport/directConnection.js"
import type { Failure } from "./failure.js"
import { Output } from "./output.js"
import type { RecentLines } from "./recentLines.js"
import type { TimeLimits } from "./timeLimits.js"
import type { Turn, Window } from "./turn.js"
import { TurnQueue } from "./turn.js"
import type { Deadline } from "./watchdog.js"
import { Watchdog } from "./watchdog.js"

export type { Failure, Turn }

/** Hears of the commands that it has submitted. Its functions must not throw. */
export interface Owner {
  readonly replied: (command: Command, reply: Reply, meaning: Meaning, more: boolean) => void
  /** The session has failed; `phase` is that of the owner's oldest unanswered command. */
  readonly failed: (failure: Failure, phase: Phase | undefined) => void
  /** Makes the spans of its commands, if they are traced. */
  readonly trace?: CommandTrace | undefined
}

// How long a 421 or 552 may still come after a write has failed: it often hides behind EPIPE.
const readOnMillis = 2_000

// How long replies may take that no caller waits for.
const graceMillis = 10_000

export interface DriverOptions {
  readonly dialect: "smtp" | "lmtp"
  readonly replyLimits: Limits | undefined
  readonly limits: TimeLimits
  readonly recentLines: RecentLines
  readonly window: Window
  /** Run when the server has ended the session because of too many commands. */
  readonly onTooManyCommands: Effect.Effect<void>
  /** Run when the server has broken the protocol, or the order of its replies. */
  readonly onViolation: Effect.Effect<void>
}

/** What a driver needs of the runtime. */
export interface DriverRuntime {
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly openDirect: (connection: Connection) => Effect.Effect<DirectConnection>
  /** The time of day, in milliseconds. */
  readonly now: () => number
  /** Milliseconds that only pass: limits count by them. */
  readonly elapsed: () => number
  /** Calls once, when the milliseconds have passed; the function returned stops it. One at a time. */
  readonly after: (millis: number, wake: () => void) => () => void
}

const closedHere: Failure = { _tag: "Abandoned", reason: "the session was closed" }

const chunkUnknown: Failure = {
  _tag: "Abandoned",
  reason: "the server does not know BDAT, and reads content as commands"
}

const isGoodbye = (failure: Failure): boolean =>
  failure._tag === "Disconnected" && failure.reply !== undefined

// Behind a goodbye there may be one. Any other refusal that no command asked for was a reply to one.
const isRefusalUnasked = (failure: Failure): boolean =>
  failure._tag === "Disconnected" && failure.reply !== undefined && failure.reply.code !== 421

// RFC 5321 section 4.5.3: Postfix and Exim count RSET, and hang up on clients that send too many.
const namesTooManyCommands = (reply: Reply): boolean =>
  /too many (?:\S+ ){0,2}(?:commands|errors)/i.test(reply.text)

export class Driver {
  readonly dialogue: Dialogue<Owner>
  readonly limits: TimeLimits
  readonly recentLines: RecentLines
  /** Runs an effect that no caller waits for, such as a log line. */
  readonly fork: (effect: Effect.Effect<void>) => void
  /** The time of day in milliseconds, by the clock of the session. */
  readonly now: () => number
  /** Waits until the socket was given all that is in the dialogue now, to the last byte. */
  readonly drain: Effect.Effect<void>
  private ended: Failure | undefined
  private readonly end = Wakeup.make()
  // An array: a Set that owners come to and leave keeps those that left alive, by the tables that it outgrew.
  private owners: Array<Owner>
  private readonly turns: TurnQueue
  private readonly output: Output
  private readonly watchdog: Watchdog
  // The limit of the oldest reply runs from the later of its command's last byte flushed and the reply before it.
  private headSince: number
  // Owners whose caller has gone, and until when their last reply has to come; `undefined` while others come before it.
  private readonly bounds = new Map<Owner, number | undefined>()
  private readOnUntil: number | undefined
  private writeError: ConnectionLost | undefined
  /** The reply in which the server has announced that it hangs up. */
  private lastWords: Reply | undefined
  /** The goodbye behind which replies can still say what became of a message. */
  private goodbye: Reply | undefined
  private isGathering = false
  private isScheduled = false
  private postponed: Array<() => void> = []

  constructor(
    private connectionNow: Connection,
    private direct: DirectConnection,
    greeter: Owner,
    private readonly options: DriverOptions,
    private readonly runtime: DriverRuntime
  ) {
    const { limits, recentLines } = options
    this.limits = limits
    this.recentLines = recentLines
    this.fork = runtime.fork
    this.now = runtime.now
    this.owners = [greeter]
    this.headSince = runtime.elapsed()
    this.dialogue = new Dialogue<Owner>(greeter, {
      dialect: options.dialect,
      limits: options.replyLimits,
      sent: (command, owner) => {
        recentLines.sent(command)
        owner.trace?.sent(command)
      }
    })
    this.turns = new TurnQueue(() => this.bounds.size > 0, options.window)
    this.watchdog = new Watchdog({
      now: runtime.elapsed,
      deadlines: () => this.deadlines(),
      longestSleep: Math.max(1, Math.min(graceMillis, ...Object.values(limits).map(Duration.toMillis))),
      after: runtime.after
    })
    this.output = new Output(this.dialogue, direct, {
      elapsed: runtime.elapsed,
      began: () => this.watchdog.begin(),
      flushed: (before) => this.wrote(before),
      failed: (error) => this.writeFailed(error)
    })
    this.drain = this.output.drain
  }

  /** Reads from now on. */
  begin(): void {
    this.direct.read(this.reader)
    this.watchdog.begin()
  }

  readonly connection = (): Connection => this.connectionNow

  /** How many bytes of the dialogue were handed to the socket. */
  readonly handed = (): number => this.output.handed

  readonly failure = (): Failure | undefined => this.ended

  /** Ends when the session has; `undefined` if it was closed in good order. */
  readonly awaitEnd: Effect.Effect<Failure | undefined> = Wakeup.until(this.end, () => {
    if (this.ended === undefined) return undefined
    return Effect.succeed(this.ended === closedHere ? undefined : this.ended)
  })

  /** How long it is since the server has answered, in milliseconds; zero while it owes a reply. */
  readonly silentFor = (): number =>
    this.dialogue.head() === undefined ? this.runtime.elapsed() - this.headSince : 0

  /** Asks for the turn. */
  takeTurn(turn: Turn): void {
    if (this.ended === undefined) this.turns.take(turn)
    else turn.rejected(this.ended)
  }

  /** Passes the turn on: only replies to its commands are still to come. */
  readonly passTurn = (turn: Turn, bytes: number): void => this.turns.pass(turn, bytes)

  /** Gives the turn back, or the place in the queue. */
  readonly leaveTurn = (turn: Turn): void => this.turns.leave(turn)

  /** The turn that has begun and was not passed on. */
  readonly turnHolder = (): Turn | undefined => this.turns.holder

  /** Registers an owner until `finish`, so that it hears of a failure. */
  start(owner: Owner): void {
    this.owners.push(owner)
  }

  finish(owner: Owner): void {
    const place = this.owners.indexOf(owner)
    if (place !== -1) this.owners.splice(place, 1)
    this.bounds.delete(owner)
    this.turns.settle()
  }

  /** No caller waits for the replies of this owner: they have to come in time, or the session ends. */
  bound(owner: Owner): void {
    this.bounds.set(owner, undefined)
    this.beginBound()
  }

  private beginBound(): void {
    const owner = this.dialogue.head()?.owner
    if (owner === undefined || !this.bounds.has(owner) || this.bounds.get(owner) !== undefined) return
    this.bounds.set(owner, this.runtime.elapsed() + graceMillis)
    this.watchdog.poke()
  }

  // -- writing

  /** To be called after bytes were left in the dialogue. What other fibers submit in the same turn leaves with them. */
  flush(): void {
    if (this.isGathering || this.isScheduled) return
    this.isScheduled = true
    queueMicrotask(() => {
      this.isScheduled = false
      this.output.pump()
    })
  }

  /** Lets everything that `submit` leaves in the dialogue go out in one write. */
  readonly together = (submit: () => void): void => {
    if (this.isGathering) {
      submit()
      return
    }
    try {
      this.gather(submit)
      this.output.pump()
      while (this.postponed.length > 0) {
        for (const task of this.postponed.splice(0)) task()
      }
    } catch (defect) {
      // What is on the wire may be half of a group: nothing could be matched to its replies any more.
      this.fail({ _tag: "Abandoned", reason: `a defect ended the session: ${describeCause(defect)}` })
      throw defect
    }
  }

  private gather(submit: () => void): void {
    this.isGathering = true
    try {
      submit()
    } finally {
      this.isGathering = false
    }
  }

  /** Runs what can wait until bytes that are being gathered have left: the server is at work meanwhile. */
  readonly afterwards = (task: () => void): void => {
    if (this.isGathering) this.postponed.push(task)
    else task()
  }

  /** The owed RSET: the next turn does not wait for its reply. */
  reset(): void {
    if (this.dialogue.resetting()) return
    this.dialogue.submit(this.resetter, [Commands.rset])
    this.flush()
  }

  private readonly resetter: Owner = {
    replied: (_command, reply, meaning) => {
      if (meaning !== "Refusal") return
      if (namesTooManyCommands(reply)) this.awaitGoodbye(reply)
      else this.resetRefused(reply)
    },
    failed: () => undefined
  }

  private resetRefused(reply: Reply): void {
    const reason = "RSET was refused, so the envelope may still stand"
    this.fail({ _tag: "Violated", reason, reply, injection: false })
  }

  // Exim says this and hangs up, and has read nothing behind it. A server that says it and goes on may have taken what
  // followed.
  private awaitGoodbye(reply: Reply): void {
    this.lastWords = reply
    this.readOn()
  }

  private wrote(before: number): void {
    const head = this.dialogue.head()
    if (head === undefined || head.end <= before || head.end > this.output.flushed) return
    this.headSince = this.runtime.elapsed()
    this.watchdog.begin()
  }

  // What the server has said before it hung up is worth more than the error of the write.
  private writeFailed(error: ConnectionLost): void {
    this.writeError = error
    this.readOn()
  }

  private readOn(): void {
    this.readOnUntil = this.runtime.elapsed() + readOnMillis
    this.watchdog.poke()
  }

  // -- reading

  private readonly reader: Reader = {
    received: (bytes) => {
      if (this.ended !== undefined) return
      this.dialogue.receive(bytes)
      try {
        // What the replies let go leaves in one write.
        this.together(() => this.readEvents())
      } catch {
        // The session has failed, and told its owners; above is only the event loop.
        return
      }
      if (this.bounds.size > 0) this.beginBound()
      this.watchdog.begin()
    },
    ended: (error) => {
      if (this.ended === undefined) this.disconnected(error)
    }
  }

  private readEvents(): void {
    let event = this.dialogue.next()
    if (event === undefined) return
    const now = this.runtime.elapsed()
    let waited = now - this.headSince
    this.headSince = now
    while (event !== undefined) {
      // The fiber that waits for the reply to STARTTLS may go on within the call that tells of it.
      if (this.dialogue.state() === "Upgrading") this.direct.stop()
      if (this.lastWords === undefined) this.dispatch(event, waited)
      else if (event._tag === "Goodbye") this.disconnected(undefined)
      else this.resetRefused(this.lastWords)
      waited = 0
      event = this.ended === undefined ? this.dialogue.next() : undefined
    }
  }

  // `waited` is how long the server has taken for the reply.
  private dispatch(event: Event<Owner>, waited: number): void {
    switch (event._tag) {
      case "Replied": {
        const { command, meaning, more, owner, reply } = event
        this.recentLines.received(reply, command)
        Meter.replied(command.phase, reply.code, waited)
        owner.trace?.replied(command, reply, more)
        owner.replied(command, reply, meaning, more)
        if (command.kind === "Quit" && meaning === "Success") this.fork(this.close)
        else if (Commands.isUnknownChunk(command, reply)) this.fail(chunkUnknown)
        return
      }
      case "Goodbye":
        this.recentLines.received(event.reply, undefined)
        if (event.readOn) {
          this.goodbye = event.reply
          this.turns.stop()
          this.readOn()
        } else this.fail({ _tag: "Disconnected", reply: event.reply, cause: undefined })
        return
      case "Violated":
        if (event.reply !== undefined) this.recentLines.received(event.reply, this.dialogue.head()?.command)
        this.fail({
          _tag: "Violated",
          reason: event.reason,
          reply: event.reply,
          injection: event.injection
        })
        return
    }
  }

  /** Replies behind a goodbye have come as far as they do. */
  private parted(reply: Reply): void {
    this.shutDown({ _tag: "Disconnected", reply, cause: undefined })
    this.fork(this.connectionNow.destroy)
  }

  private answerLate({ command, owner }: Expectation<Owner>, reply: Reply, more: boolean): void {
    this.recentLines.received(reply, command)
    owner.trace?.replied(command, reply, more)
    owner.replied(
      command,
      reply,
      reply.code === 421 ? "Refusal" : Commands.meaning(command.kind, reply),
      more
    )
  }

  private disconnected(cause: unknown): void {
    if (this.goodbye !== undefined) this.parted(this.goodbye)
    else {
      // An alert says more than the write that came too late for it.
      const reason = tlsFailureOf(cause) === undefined ? (this.writeError ?? cause) : cause
      this.fail({ _tag: "Disconnected", reply: this.lastWords, cause: reason })
    }
  }

  /** Goes on over the secured connection. */
  upgraded(secured: Connection): Effect.Effect<void> {
    return Effect.map(this.runtime.openDirect(secured), (opened) => {
      this.connectionNow = secured
      if (this.ended !== undefined) return
      this.direct = opened
      this.output.switchTo(opened)
      this.dialogue.upgraded()
      this.headSince = this.runtime.elapsed()
      opened.read(this.reader)
      this.flush()
    })
  }

  // -- limits and the end

  private deadlines(): ReadonlyArray<Deadline> {
    if (this.ended !== undefined) return []
    const all: Array<Deadline> = []
    const expireAfter = (since: number, phase: Phase): void => {
      const limitMillis = Duration.toMillis(this.limits[phase])
      all.push({ at: since + limitMillis, expire: () => this.fail({ _tag: "Expired", phase, limitMillis }) })
    }
    const head = this.dialogue.head()
    if (head !== undefined && head.end <= this.output.flushed) expireAfter(this.headSince, head.command.phase)
    if (this.output.writingSince !== undefined) expireAfter(this.output.writingSince, "content")
    if (this.readOnUntil !== undefined) all.push({ at: this.readOnUntil, expire: () => this.readOnEnded() })
    const reason = "the replies to an interrupted command did not come in time"
    for (const at of this.bounds.values()) {
      if (at !== undefined) all.push({ at, expire: () => this.fail({ _tag: "Abandoned", reason }) })
    }
    return all
  }

  private readOnEnded(): void {
    if (this.goodbye !== undefined) this.parted(this.goodbye)
    else if (this.lastWords === undefined || this.writeError !== undefined) this.disconnected(undefined)
    else this.resetRefused(this.lastWords)
  }

  /** Ends the session: every owner hears of it, nothing more is written, the connection is destroyed. */
  fail(failure: Failure): void {
    if (this.ended !== undefined) return
    this.shutDown(failure)
    this.fork(this.connectionNow.destroy)
  }

  /** Closes the session in good order, and destroys the connection. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    if (this.ended === undefined) this.shutDown(closedHere)
    return this.connectionNow.destroy
  })

  private shutDown(failure: Failure): void {
    this.ended = failure
    this.dialogue.close()
    const head = this.dialogue.head()
    const waiting = this.turns.close()
    const answers = this.dialogue.readPast(this.output.handed)
    for (const { more, pending, reply } of answers) this.answerLate(pending, reply, more)
    const affected = this.owners
    this.owners = []
    this.direct.stop()
    if ("reply" in failure && failure.reply !== undefined && namesTooManyCommands(failure.reply)) {
      this.fork(this.options.onTooManyCommands)
    }
    if (failure._tag === "Violated" || (head === undefined && isRefusalUnasked(failure)))
      this.fork(this.options.onViolation)
    this.output.close()
    this.watchdog.poke()
    // A goodbye answers the oldest command alone, and says nothing of a message if that is in doubt.
    const isInDoubt = this.goodbye !== undefined && answers.length === 0 && head?.command.phase === "final"
    // RSET has been answered by its refusal: what was behind it is unread if the server hung up.
    const isUnread = this.lastWords !== undefined && isGoodbye(failure)
    const behind: Failure = isUnread ? { _tag: "Unreached" } : inDoubt
    const others = isGoodbye(failure) ? behind : failure
    for (const owner of affected) {
      const phase = this.dialogue.headOf(owner)?.command.phase
      const isAnswered = (owner === head?.owner && !isInDoubt && !isUnread) || phase === undefined
      owner.trace?.failed(failure._tag)
      owner.failed(isAnswered ? failure : others, phase)
    }
    for (const turn of waiting) turn.rejected(failure)
    this.end.wake()
  }
}
