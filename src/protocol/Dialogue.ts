/**
 * The client's side of one connection as a state machine without I/O, fibers or time: commands and content go in, bytes to
 * write come out; received bytes go in, events come out. It decides what may be written when, and which reply answers which
 * command. RFC 5321 section 4.3, RFC 2920 section 3.1, RFC 3207, RFC 2033.
 */
import type { Capabilities } from "./Capabilities.js"
import * as Capability from "./Capabilities.js"
import type { Command, Kind, Meaning } from "./Command.js"
import * as Commands from "./Command.js"
import type { Answer, Pending } from "./Goodbye.js"
import { Parting, readAsCommands } from "./Goodbye.js"
import type { Invalid } from "./Invalid.js"
import { invalid } from "./Invalid.js"
import * as Queues from "./Queue.js"
import type { Limits, Reply } from "./Reply.js"
import { defaultLimits, isViolation, Parser } from "./Reply.js"
import { Secrets } from "./Secrets.js"
import { WriteBuffer } from "./WriteBuffer.js"

/**
 * What may be written next.
 *
 * - `Greeting`: nothing, before the last line of the greeting
 * - `Turned`: the greeting was not 220: only QUIT
 * - `Open`: commands
 * - `Waiting`: nothing, before the reply to the last command of a group
 * - `Responding`: a response of AUTH, or `*`
 * - `Content`: content, or the dot that declines 354
 * - `Upgrading`: the TLS handshake
 * - `Parting`: nothing any more; replies behind a goodbye are read
 * - `Closed`: nothing any more
 */
export type State =
  "Greeting" | "Turned" | "Open" | "Waiting" | "Responding" | "Content" | "Upgrading" | "Parting" | "Closed"

/**
 * Where the reply to the last command of a group leads; what is missing leads to `Open`, or for good to `Turned` after a
 * greeting that was not 220. Writing such a command leads to `Waiting`. From `Content` the end of data leads to `Open`, and
 * from `Upgrading` the handshake. A goodbye or a violation leads to `Parting` or `Closed` from everywhere.
 */
const transitions: Readonly<Partial<Record<Kind, Partial<Record<Meaning, State>>>>> = {
  Greeting: { Success: "Open", Refusal: "Turned" },
  StartTls: { Success: "Upgrading" },
  Auth: { Intermediate: "Responding" },
  AuthResponse: { Intermediate: "Responding" },
  Data: { Success: "Content" },
  Quit: { Success: "Closed" }
}

/** What happened, for the owner of the command it happened to. Replies come in the order of its commands. */
export type Event<Owner> =
  | {
      readonly _tag: "Replied"
      readonly owner: Owner
      readonly command: Command
      readonly reply: Reply
      readonly meaning: Exclude<Meaning, "Violation">
      /** Whether more replies to this command follow: one per accepted recipient after the content of LMTP. */
      readonly more: boolean
    }
  /**
   * The server said goodbye: 421 to the oldest command, or an unsolicited refusal. `readOn` where replies behind it can
   * still say what became of a message: nothing more is written, and `readPast` gives what they say.
   */
  | { readonly _tag: "Goodbye"; readonly reply: Reply; readonly readOn: boolean }
  /** Nothing that the server says can be matched to a command any more. */
  | {
      readonly _tag: "Violated"
      readonly reason: string
      readonly reply: Reply | undefined
      /** Whether it was plaintext behind the reply to STARTTLS. */
      readonly injection: boolean
    }

/** A reply that is waited for. */
export interface Expectation<Owner> extends Pending {
  readonly owner: Owner
  /** Where its last byte ends, among all bytes for the wire; infinite while its content is still being written. */
  readonly end: number
}

export interface DialogueOptions<Owner = unknown> {
  readonly dialect: "smtp" | "lmtp"
  readonly limits?: Limits | undefined
  /** Told of each command as it is written, without the bytes that follow its line. */
  readonly sent?: ((command: Command, owner: Owner) => void) | undefined
}

/** What the server holds of a mail transaction, as far as its replies have told. */
interface Envelope {
  sender: "Pending" | "Accepted" | "Refused"
  accepted: number
  /** The envelope that stood before this one's MAIL, and still does if that is refused. */
  readonly before: Envelope | undefined
}

// RFC 5321 section 4.1.4: a nested MAIL is answered by 503 and changes nothing.
const standing = (envelope: Envelope | undefined): Envelope | undefined =>
  envelope?.sender === "Refused" ? standing(envelope.before) : envelope

interface Unsent<Owner> {
  readonly owner: Owner
  readonly command: Command
}

interface Expected<Owner> {
  readonly owner: Owner
  readonly command: Command
  readonly envelope: Envelope | undefined
  end: number
  /** How many replies have come: LMTP gives the content one per accepted recipient. */
  replies: number
}

const acceptedEarly = "the message was accepted before its end was sent"

/** The machine, which waits for the greeting. Methods that may write leave their bytes for `take`. */
export class Dialogue<Owner> {
  /** What was said in AUTH: every reply is given without it, save the challenges of an exchange. */
  readonly secrets = new Secrets()
  private current: State = "Greeting"
  // RFC 5321 section 3.1: a refused QUIT does not open what the greeting has closed.
  private idle: "Open" | "Turned" = "Open"
  private announced: Capabilities = Capability.none
  private hasGreeted = false
  private hasTls = false
  private hasAuthenticated = false
  private mailCount = 0
  /** The envelope that the commands written last belong to. */
  private envelope: Envelope | undefined
  private unsent: Array<Unsent<Owner>> = []
  private readonly expected = Queues.make<Expected<Owner>>()
  /** Content that has begun and not ended. */
  private flowing: Expected<Owner> | undefined
  private writer: Owner | undefined
  private readonly output = new WriteBuffer()
  private readonly parser: Parser
  private parting: Parting | undefined
  // How much had been taken when the reply began that is being read, and when the latest bytes came.
  private takenBefore = 0
  private takenAtReceive = 0

  constructor(
    greeter: Owner,
    private readonly options: DialogueOptions<Owner>
  ) {
    this.parser = new Parser(options.limits ?? defaultLimits, true)
    this.expect(greeter, Commands.greeting, 0)
  }

  readonly state = (): State => this.current

  /** What the latest EHLO or HELO announced; nothing before it, nor after TLS began. */
  readonly capabilities = (): Capabilities => this.announced

  /** Whether EHLO or HELO was accepted, since TLS began. */
  readonly greeted = (): boolean => this.hasGreeted

  readonly secured = (): boolean => this.hasTls

  readonly authenticated = (): boolean => this.hasAuthenticated

  /** How many MAIL commands were written (RFC 9422 section 4). */
  readonly mails = (): number => this.mailCount

  /** Whether the server holds, or may come to hold, an envelope; once all that waits to leave has left. */
  inTransaction(): boolean {
    let inside = standing(this.envelope) !== undefined
    for (const { command } of this.unsent) {
      inside = command.kind === "Mail" || (inside && command.kind !== "Rset")
    }
    return inside
  }

  /** Whether the last command that was submitted, and is not answered yet, is RSET. */
  resetting(): boolean {
    return (this.unsent.at(-1) ?? this.expected.last())?.command.kind === "Rset"
  }

  /** Whether the owner has submitted last: whatever is submitted now comes behind its commands. */
  isLatest(owner: Owner): boolean {
    return (this.unsent.at(-1)?.owner ?? this.writer) === owner
  }

  /** The owner submits nothing more, and all its replies have come: nothing is to keep it in memory. */
  forget(owner: Owner): void {
    if (this.writer === owner) this.writer = undefined
  }

  /** How many recipients of the present envelope have been accepted. */
  readonly recipients = (): number => this.envelope?.accepted ?? 0

  /** The oldest reply that is waited for. */
  readonly head = (): Expectation<Owner> | undefined => this.expected.head()

  /** The oldest reply that `owner` waits for. */
  readonly headOf = (owner: Owner): Expectation<Owner> | undefined =>
    this.expected.find((expectation) => expectation.owner === owner)

  /** The latest reply that `owner` waits for. */
  readonly tailOf = (owner: Owner): Expectation<Owner> | undefined =>
    this.expected.findLast((expectation) => expectation.owner === owner)

  // -- what goes out

  /**
   * Queues commands. They leave in groups as large as the server allows: one at a time without PIPELINING, and
   * nothing behind a command that has to be the last of its group.
   */
  submit(owner: Owner, commands: ReadonlyArray<Command>): Invalid | undefined {
    const problem = this.problemOf(commands)
    if (problem !== undefined || commands.length === 0) return problem
    // A response of AUTH, or QUIT after a greeting that was not 220, overtakes what waits for the state to be open.
    if (this.current === "Responding" || this.current === "Turned") {
      this.unsent.unshift(...commands.map((command) => ({ owner, command })))
      this.current = "Open"
      this.pump()
      return undefined
    }
    this.pump()
    for (const command of commands) {
      if (this.unsent.length === 0 && this.mayWrite()) this.write(owner, command)
      else this.unsent.push({ owner, command })
    }
    return undefined
  }

  /** Drops the commands of `owner` that have not left, and says whether it waits for no reply either. */
  withdraw(owner: Owner): boolean {
    this.unsent = this.unsent.filter((pending) => pending.owner !== owner)
    return this.headOf(owner) === undefined
  }

  /** Begins the content that a 354 asked for; the final reply is expected from here on. */
  beginContent(owner: Owner): Invalid | undefined {
    if (this.current !== "Content" || this.flowing !== undefined)
      return invalid("content", "was not asked for by a 354 reply")
    this.flowing = this.expect(owner, Commands.final, Number.POSITIVE_INFINITY)
    return undefined
  }

  /** Writes bytes of the content, once it has begun; `last` with the end of data. */
  content(bytes: ReadonlyArray<Uint8Array>, last: boolean): void {
    if (this.flowing === undefined || this.hasEnded()) return
    for (const part of bytes) this.output.bytes(part)
    if (!last) return
    this.flowing.end = this.output.put
    this.flowing = undefined
    this.envelope = undefined
    this.current = "Open"
    this.pump()
  }

  /** Bytes to write, in order; each is given once. */
  take(): ReadonlyArray<Uint8Array> {
    if (!this.hasEnded()) this.pump()
    return this.hasEnded() ? [] : this.output.take()
  }

  /** How many bytes `take` has given. */
  readonly taken = (): number => this.output.taken

  /** How many bytes there have been for the wire, with those that `take` has yet to give. */
  readonly put = (): number => this.output.put

  private problemOf(commands: ReadonlyArray<Command>): Invalid | undefined {
    for (const command of commands) {
      const problem = this.problemOfOne(command)
      if (problem !== undefined) return problem
    }
    return Commands.misplaced(commands)
  }

  private problemOfOne({ kind, line }: Command): Invalid | undefined {
    const isResponding = this.current === "Responding"
    if (/[\r\n\0]/.test(line)) return invalid("command", "holds a line break or a NUL")
    if (kind === "StartTls" && this.hasTls) return invalid("session", "has TLS already")
    if (kind === "Auth" && this.hasAuthenticated) return invalid("session", "is authenticated already")
    if (kind === "Auth" && this.inTransaction()) return invalid("session", "is in a mail transaction")
    if (this.idle === "Turned" && kind !== "Quit") {
      return invalid("session", "was turned away by the greeting: only QUIT may follow")
    }
    if (this.hasEnded()) return invalid("session", "is closed")
    if (isResponding === (kind === "AuthResponse")) return undefined
    return isResponding
      ? invalid("session", "is in the middle of an authentication exchange")
      : invalid("session", "is in no authentication exchange")
  }

  /** Whether nothing more may be written. */
  hasEnded(): boolean {
    return this.current === "Closed" || this.current === "Parting"
  }

  private pump(): void {
    if (this.unsent.length === 0) return
    let written = 0
    for (let next = this.unsent[0]; next !== undefined && this.mayWrite(); next = this.unsent[written]) {
      written++
      this.write(next.owner, next.command)
    }
    if (written > 0) this.unsent = this.unsent.slice(written)
  }

  // RFC 2920 section 3.1: without PIPELINING each command waits for the reply to the one before it.
  private mayWrite(): boolean {
    return (
      this.current === "Open" &&
      (this.expected.isEmpty() || (this.announced.pipelining && !this.awaitsVerdicts()))
    )
  }

  // RFC 2033 section 4.2: should one of the replies to the content be missing, the next would stand in for it.
  private awaitsVerdicts(): boolean {
    const last = this.expected.last()
    return this.options.dialect === "lmtp" && last !== undefined && Commands.isEndOfContent(last.command)
  }

  private write(owner: Owner, whole: Command): void {
    this.output.line(whole.line)
    for (const part of whole.octets) this.output.bytes(part)
    const command = Commands.withoutOctets(whole)
    if (command.kind === "Mail") {
      this.mailCount++
      this.envelope = { sender: "Pending", accepted: 0, before: standing(this.envelope) }
    }
    this.expect(owner, command, this.output.put)
    this.writer = owner
    if (command.secret) this.secrets.keep(command)
    this.options.sent?.(command, owner)
    if (command.kind === "Rset" || command.kind === "BdatLast") this.envelope = undefined
    if (command.place === "Last") this.current = "Waiting"
  }

  private expect(owner: Owner, command: Command, end: number): Expected<Owner> {
    const expectation = { owner, command, envelope: this.envelope, end, replies: 0 }
    this.expected.push(expectation)
    return expectation
  }

  // -- what comes in

  receive(bytes: Uint8Array): void {
    this.takenAtReceive = this.output.taken
    // The beginning of a reply may be there already.
    if (!this.parser.hasBegun()) this.takenBefore = this.output.taken
    this.parser.push(bytes)
  }

  /** The next event of what was received, or `undefined` when more bytes are needed. */
  next(): Event<Owner> | undefined {
    if (this.current === "Parting") this.parting?.collect(this.parser, this.secrets)
    if (this.hasEnded()) return undefined
    // Only now, so that a transcript shows a reply before the command that it has let go.
    this.pump()
    // Half a line is enough: it would become the beginning of the first reply under TLS.
    if (this.current === "Upgrading") return this.parser.pending() > 0 ? this.injected() : undefined
    const reply = this.parser.next()
    if (reply === undefined) return undefined
    if (isViolation(reply)) return this.violated(reply.reason, undefined)
    const before = this.takenBefore
    this.takenBefore = this.takenAtReceive
    const expectation = this.expected.head()
    // A reply that was there before its command answers something else. Content is answerable from its beginning.
    if (expectation === undefined || (expectation !== this.flowing && expectation.end > before)) {
      return this.unsolicited(this.secrets.withholdFrom(reply))
    }
    const isChallenge = reply.code === 334 && Commands.mayBeChallenged(expectation.command)
    return this.answer(expectation, isChallenge ? reply : this.secrets.withholdFrom(reply))
  }

  private answer(expectation: Expected<Owner>, reply: Reply): Event<Owner> {
    const { command, owner } = expectation
    if (Commands.isGoodbye(command.kind, reply)) return this.goodbye(reply, true)
    const meaning = Commands.meaning(command.kind, reply)
    if (meaning === "Violation") {
      const what = command.verb === "" ? "the content" : command.verb
      return this.violated(`${what} was answered by a reply that does not belong there`, reply)
    }
    const reason =
      meaning === "Success" ? this.impossible(expectation) : readAsCommands(command, reply, this.parser)
    if (reason !== undefined) return this.violated(reason, reply)
    expectation.replies++
    const more = expectation !== this.flowing && expectation.replies < this.repliesTo(expectation)
    if (!more) this.expected.shift()
    this.learn(expectation, meaning, reply)
    // RFC 5321 section 4.5.3.2.5 lets a server break in on the content: what is left of it has no reader.
    if (expectation === this.flowing || Commands.isUnknownChunk(command, reply)) this.current = "Closed"
    else if (command.place === "Last") this.current = transitions[command.kind]?.[meaning] ?? this.idle
    if (this.current === "Upgrading" && this.parser.pending() > 0) return this.injected()
    return { _tag: "Replied", owner, command, reply, meaning, more }
  }

  private impossible(expectation: Expected<Owner>): string | undefined {
    if (expectation === this.flowing) return acceptedEarly
    return expectation.command.kind === "Rcpt" && expectation.envelope?.sender === "Refused"
      ? "a recipient was accepted after the sender was refused"
      : undefined
  }

  private repliesTo({ command, envelope }: Expected<Owner>): number {
    return this.options.dialect === "lmtp" && envelope !== undefined && Commands.isEndOfContent(command)
      ? Math.max(1, envelope.accepted)
      : 1
  }

  private learn({ command, envelope }: Expected<Owner>, meaning: Meaning, reply: Reply): void {
    const success = meaning === "Success"
    switch (command.kind) {
      case "Greeting":
        if (!success) this.idle = "Turned"
        return
      case "Mail":
        if (envelope === undefined) return
        envelope.sender = success ? "Accepted" : "Refused"
        if (this.envelope === envelope) this.envelope = standing(envelope)
        return
      case "Rcpt":
        if (envelope !== undefined && success) envelope.accepted++
        return
      case "Auth":
      case "AuthResponse":
        if (success) this.hasAuthenticated = true
        return
      case "Ehlo":
      case "Helo":
        if (!success) return
        this.hasGreeted = true
        this.announce(command.kind === "Ehlo" ? Capability.fromReply(reply) : Capability.none)
        return
      default:
        return
    }
  }

  private announce(capabilities: Capabilities): void {
    this.announced = capabilities
    this.parser.advertiseEnhancedCodes(capabilities.enhancedStatusCodes)
    this.envelope = undefined
  }

  private unsolicited(reply: Reply): Event<Owner> {
    if (reply.code >= 400) return this.goodbye(reply, false)
    return this.expected.head()?.command.kind === "Final"
      ? this.violated(acceptedEarly, reply)
      : this.violated("a reply came that no command asked for", reply)
  }

  private goodbye(reply: Reply, isAnswer: boolean): Event<Owner> {
    const whole = this.expected.filter(
      ({ command, end }) => Commands.isEndOfContent(command) && end <= this.output.taken
    )
    // Even in place of the one reply that is due: a server that says it in addition gives that one later.
    const readOn = reply.code !== 221 && whole.length > 0
    this.current = readOn ? "Parting" : "Closed"
    if (readOn) this.parting = new Parting(reply, isAnswer, this.options.dialect)
    return { _tag: "Goodbye", reply, readOn }
  }

  /**
   * What is certain of the replies behind a goodbye, about messages that were handed to the socket whole: `handed` is how
   * many bytes were.
   */
  readPast(handed: number): ReadonlyArray<Answer<Expectation<Owner>>> {
    const pending = this.expected.filter(({ end }) => end <= handed)
    const whole = pending.filter(({ command }) => Commands.isEndOfContent(command))
    const answers = this.parting?.answers(pending) ?? []
    return answers.filter((answer) => whole.some(({ owner }) => owner === answer.pending.owner))
  }

  private injected(): Event<Owner> {
    return this.violated("plaintext follows the reply to STARTTLS", undefined, true)
  }

  private violated(reason: string, reply: Reply | undefined, injection = false): Event<Owner> {
    this.current = "Closed"
    return { _tag: "Violated", reason, reply, injection }
  }

  /** The handshake succeeded: all that was known from before it is forgotten (RFC 3207 section 4.2). */
  upgraded(): void {
    if (this.current !== "Upgrading" || this.parser.pending() > 0) return
    this.hasGreeted = false
    this.hasTls = true
    this.hasAuthenticated = false
    this.announce(Capability.none)
    this.current = "Open"
    this.pump()
  }

  /** The connection is gone, or must not be used any more. What was expected stays visible. */
  close(): void {
    this.current = "Closed"
    this.unsent = []
  }
}
