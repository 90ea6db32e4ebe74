/**
 * The client's side of one connection as a state machine without I/O, fibers or time: groups of commands and
 * content go in, octets to write come out; received octets go in, events come out. It owns the expectations,
 * the order of everything on the wire and the security state. Who sends what, and when, is decided above it.
 * RFC 5321 section 4.3, RFC 2920 section 3.1, RFC 3207, RFC 2033.
 */
import type { Capabilities } from "./Capabilities.js"
import * as Capability from "./Capabilities.js"
import type { Command, Kind, Meaning } from "./Command.js"
import * as Commands from "./Command.js"
import type { Invalid } from "./Invalid.js"
import { invalid } from "./Invalid.js"
import * as WriteBuffers from "./WriteBuffer.js"
import * as Queues from "./Queue.js"
import type { Limits, Reply } from "./Reply.js"
import { defaultLimits, isViolation, makeParser } from "./Reply.js"
import type { Secrets } from "./Secrets.js"
import * as Secret from "./Secrets.js"

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
 * - `Closed`: nothing any more
 */
export type State =
  "Greeting" | "Turned" | "Open" | "Waiting" | "Responding" | "Content" | "Upgrading" | "Closed"

/**
 * What happened, for the owner of the command it happened to. Replies come to an owner in the order of its
 * commands.
 */
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
  /** The server said goodbye: 421 to the oldest command, or an unsolicited refusal. */
  | { readonly _tag: "Goodbye"; readonly reply: Reply }
  /** Nothing that the server says can be matched to a command any more. */
  | {
      readonly _tag: "Violated"
      readonly reason: string
      readonly reply: Reply | undefined
      /** Whether it was plaintext behind the reply to STARTTLS. */
      readonly injection: boolean
    }

/** A reply that is waited for. */
export interface Expectation<Owner> {
  readonly owner: Owner
  readonly command: Command
  /** Where its last octet ends, among all octets for the wire; infinite while its content flows. */
  readonly end: number
}

export interface Options<Owner = unknown> {
  readonly dialect: "smtp" | "lmtp"
  readonly limits?: Limits | undefined
  /** Told of each command as it is given to the wire, without the octets that follow its line. */
  readonly sent?: ((command: Command, owner: Owner) => void) | undefined
}

/** The machine. Every method that may put octets on the wire leaves them for `take`. */
export interface Dialogue<Owner> {
  readonly state: () => State
  /** What the latest EHLO or HELO announced; nothing before it, nor after TLS began. */
  readonly capabilities: () => Capabilities
  /** Whether EHLO or HELO was accepted, since TLS began. */
  readonly greeted: () => boolean
  readonly secured: () => boolean
  readonly authenticated: () => boolean
  /** What was said in AUTH: every reply is given without it, save the challenges of an exchange. */
  readonly secrets: Secrets
  /** How many MAIL commands were given to the wire (RFC 9422 section 4). */
  readonly mails: () => number
  /** Whether the server holds, or may come to hold, an envelope. */
  readonly inTransaction: () => boolean
  /** Whether the last command that was submitted, and is not answered yet, is RSET. */
  readonly resetting: () => boolean
  /** Whether the owner has submitted last: whatever is submitted now comes behind its commands. */
  readonly isLatest: (owner: Owner) => boolean
  /** The owner submits nothing more, and all its replies have come: nothing is to keep it in memory. */
  readonly forget: (owner: Owner) => void
  /** How many recipients of that envelope have been accepted. */
  readonly recipients: () => number
  /**
   * Queues commands. They leave in groups as large as the server allows: one at a time without PIPELINING, and
   * nothing behind a command that has to be the last of its group.
   */
  readonly submit: (owner: Owner, commands: ReadonlyArray<Command>) => Invalid | undefined
  /** Drops the commands of `owner` that have not left, and says whether it waits for no reply either. */
  readonly withdraw: (owner: Owner) => boolean
  /** Begins the content that a 354 asked for; the final reply is expected from here on. */
  readonly beginContent: (owner: Owner) => Invalid | undefined
  /** Puts octets of the content on the wire, once it has begun; `last` with the end of data. */
  readonly content: (octets: ReadonlyArray<Uint8Array>, last: boolean) => void
  /** Octets to write, in order; each is given once. */
  readonly take: () => ReadonlyArray<Uint8Array>
  /** How many octets `take` has given. */
  readonly taken: () => number
  /** How many octets there have been for the wire, with those that `take` has yet to give. */
  readonly put: () => number
  readonly receive: (octets: Uint8Array) => void
  /** The next event of what was received, or `undefined` when more octets are needed. */
  readonly next: () => Event<Owner> | undefined
  /** The oldest reply that is waited for. */
  readonly head: () => Expectation<Owner> | undefined
  /** The oldest reply that `owner` waits for. */
  readonly headOf: (owner: Owner) => Expectation<Owner> | undefined
  /** The latest reply that `owner` waits for. */
  readonly tailOf: (owner: Owner) => Expectation<Owner> | undefined
  /** The handshake succeeded: all that was known from before it is forgotten (RFC 3207 section 4.2). */
  readonly upgraded: () => void
  /** The connection is gone, or must not be used any more. What was expected stays visible. */
  readonly close: () => void
}

/**
 * What the server holds of a mail transaction, as far as its replies have told.
 */
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

/**
 * One entry for each command that ends its group and each meaning of its reply: the state that the reply leads
 * to. What is missing leads to `Open`.
 */
const transitions: Readonly<Partial<Record<Kind, Partial<Record<Meaning, State>>>>> = {
  Greeting: { Success: "Open", Refusal: "Turned" },
  StartTls: { Success: "Upgrading" },
  Auth: { Intermediate: "Responding" },
  AuthResponse: { Intermediate: "Responding" },
  Data: { Success: "Content" },
  Quit: { Success: "Closed" }
}

/**
 * Which commands each state lets the owner submit. `undefined` lets all pass; what is written when is not
 * decided here.
 */
const refusal = (state: State, command: Command): Invalid | undefined => {
  if (state === "Closed") return invalid("session", "is closed")
  if ((state === "Responding") !== (command.kind === "AuthResponse")) {
    return state === "Responding"
      ? invalid("session", "is in the middle of an authentication exchange")
      : invalid("session", "is in no authentication exchange")
  }
  return undefined
}

/** A dialogue that waits for the greeting. */
export const make = <Owner>(greeter: Owner, options: Options<Owner>): Dialogue<Owner> => {
  const parser = makeParser(options.limits ?? defaultLimits)
  let state: State = "Greeting"
  let capabilities: Capabilities = Capability.none
  // RFC 5321 section 3.1: for good; a refused QUIT does not open what the greeting has closed.
  let turnedAway = false
  let greeted = false
  let secured = false
  let authenticated = false
  const secrets = Secret.make()
  let mails = 0
  // The envelope that the commands written last belong to.
  let envelope: Envelope | undefined
  let unsent: Array<Unsent<Owner>> = []
  const expected = Queues.make<Expected<Owner>>()
  let flowing: Expected<Owner> | undefined
  const output = WriteBuffers.make()
  let writer: Owner | undefined
  let taken = 0
  // How much had been taken when the reply began that is being read, and when the latest octets came.
  let takenBefore = 0
  let takenAtReceive = 0

  const expect = (owner: Owner, command: Command, end: number): Expected<Owner> => {
    const expectation = { owner, command, envelope, end, replies: 0 }
    expected.push(expectation)
    return expectation
  }

  expect(greeter, Commands.greeting, 0)

  const write = (owner: Owner, whole: Command): void => {
    output.line(whole.line)
    for (const part of whole.octets) output.octets(part)
    const command = Commands.withoutOctets(whole)
    if (command.kind === "Mail") {
      mails++
      envelope = { sender: "Pending", accepted: 0, before: standing(envelope) }
    }
    expect(owner, command, output.put())
    writer = owner
    if (command.secret) secrets.keep(command)
    options.sent?.(command, owner)
    if (command.kind === "Rset" || command.kind === "BdatLast") envelope = undefined
    if (command.place === "Last") state = "Waiting"
  }

  // RFC 2920 section 3.1: without PIPELINING each command waits for the reply to the one before it.
  const mayWrite = (): boolean =>
    state === "Open" && (expected.isEmpty() || (capabilities.pipelining && !awaitsVerdicts()))

  // RFC 2033 section 4.2: should one of the replies to the content be missing, the next would stand in for it.
  const awaitsVerdicts = (): boolean => {
    const kind = expected.last()?.command.kind
    return options.dialect === "lmtp" && (kind === "Final" || kind === "BdatLast")
  }

  const pump = (): void => {
    if (unsent.length === 0) return
    let written = 0
    for (let next = unsent[0]; next !== undefined && mayWrite(); next = unsent[written]) {
      written++
      write(next.owner, next.command)
    }
    if (written > 0) unsent = unsent.slice(written)
  }

  const checkGroup = (commands: ReadonlyArray<Command>): Invalid | undefined => {
    for (const command of commands) {
      if (/[\r\n\0]/.test(command.line)) return invalid("command", "holds a line break or a NUL")
      if (command.kind === "StartTls" && secured) return invalid("session", "has TLS already")
      if (command.kind === "Auth" && authenticated) return invalid("session", "is authenticated already")
      if (command.kind === "Auth" && inTransaction()) return invalid("session", "is in a mail transaction")
      if (turnedAway && command.kind !== "Quit") {
        return invalid("session", "was turned away by the greeting: only QUIT may follow")
      }
      const problem = refusal(state, command)
      if (problem !== undefined) return problem
    }
    return Commands.misplaced(commands)
  }

  const submit = (owner: Owner, commands: ReadonlyArray<Command>): Invalid | undefined => {
    const problem = checkGroup(commands)
    if (problem !== undefined) return problem
    if (commands.length === 0) return undefined
    if (state === "Responding" || state === "Turned") {
      unsent.unshift(...commands.map((command) => ({ owner, command })))
      state = "Open"
      pump()
      return undefined
    }
    pump()
    for (const command of commands) {
      if (unsent.length === 0 && mayWrite()) write(owner, command)
      else unsent.push({ owner, command })
    }
    return undefined
  }

  // What waits to leave counts as well: whoever asks comes behind it.
  const inTransaction = (): boolean =>
    unsent.reduce(
      (inside, { command }) => command.kind === "Mail" || (inside && command.kind !== "Rset"),
      standing(envelope) !== undefined
    )

  const beginContent = (owner: Owner): Invalid | undefined => {
    if (state !== "Content" || flowing !== undefined)
      return invalid("content", "was not asked for by a 354 reply")
    flowing = expect(owner, Commands.final, Number.POSITIVE_INFINITY)
    return undefined
  }

  const content = (octets: ReadonlyArray<Uint8Array>, last: boolean): void => {
    if (flowing === undefined || state === "Closed") return
    for (const part of octets) output.octets(part)
    if (!last) return
    flowing.end = output.put()
    flowing = undefined
    envelope = undefined
    state = "Open"
    pump()
  }

  const violated = (reason: string, reply: Reply | undefined, injection = false): Event<Owner> => {
    state = "Closed"
    return { _tag: "Violated", reason, reply, injection }
  }

  const goodbye = (reply: Reply): Event<Owner> => {
    state = "Closed"
    return { _tag: "Goodbye", reply }
  }

  const acceptedEarly = "the message was accepted before its end was sent"

  const unsolicited = (reply: Reply): Event<Owner> => {
    if (reply.code >= 400) return goodbye(reply)
    return expected.head()?.command.kind === "Final"
      ? violated(acceptedEarly, reply)
      : violated("a reply came that no command asked for", reply)
  }

  const injected = (): Event<Owner> => violated("plaintext follows the reply to STARTTLS", undefined, true)

  const repliesTo = ({ command, envelope }: Expected<Owner>): number => {
    if (options.dialect !== "lmtp" || envelope === undefined) return 1
    return command.kind === "Final" || command.kind === "BdatLast" ? Math.max(1, envelope.accepted) : 1
  }

  const impossible = (expectation: Expected<Owner>, meaning: Meaning): string | undefined => {
    const { command, envelope } = expectation
    if (meaning === "Violation") {
      return `${command.verb === "" ? "the content" : command.verb} was answered by a reply that does not belong there`
    }
    if (meaning !== "Success") return undefined
    if (expectation === flowing) return acceptedEarly
    if (command.kind === "Rcpt" && envelope?.sender === "Refused") {
      return "a recipient was accepted after the sender was refused"
    }
    return undefined
  }

  const learn = ({ command, envelope: about }: Expected<Owner>, meaning: Meaning, reply: Reply): void => {
    const success = meaning === "Success"
    switch (command.kind) {
      case "Greeting":
        turnedAway = !success
        return
      case "Mail":
        if (about === undefined) return
        about.sender = success ? "Accepted" : "Refused"
        if (envelope === about) envelope = standing(about)
        return
      case "Rcpt":
        if (about !== undefined && success) about.accepted++
        return
      case "Auth":
      case "AuthResponse":
        if (success) authenticated = true
        return
      case "Ehlo":
      case "Helo":
        if (!success) return
        greeted = true
        capabilities = command.kind === "Ehlo" ? Capability.fromReply(reply) : Capability.none
        parser.advertiseEnhancedCodes(capabilities.enhancedStatusCodes)
        envelope = undefined
        return
      default:
        return
    }
  }

  // RFC 5321 section 4.5.3.2.5 lets a server break in on the content: what is left of it has no reader.
  const settle = (expectation: Expected<Owner>, meaning: Meaning): void => {
    const { command } = expectation
    if (expectation === flowing) state = "Closed"
    else if (command.place === "Last") {
      state = transitions[command.kind]?.[meaning] ?? (turnedAway ? "Turned" : "Open")
    }
  }

  const answer = (expectation: Expected<Owner>, reply: Reply): Event<Owner> => {
    const { command, owner } = expectation
    if (reply.code === 421 && command.kind !== "Greeting") return goodbye(reply)
    const meaning = Commands.meaning(command.kind, reply)
    const reason = impossible(expectation, meaning)
    if (reason !== undefined || meaning === "Violation") return violated(reason ?? "", reply)
    expectation.replies++
    const more = expectation !== flowing && expectation.replies < repliesTo(expectation)
    if (!more) expected.shift()
    learn(expectation, meaning, reply)
    settle(expectation, meaning)
    if (state === "Upgrading" && parser.pending() > 0) return injected()
    return { _tag: "Replied", owner, command, reply, meaning, more }
  }

  const next = (): Event<Owner> | undefined => {
    if (state === "Closed") return undefined
    // Only now, so that whoever looks on sees a reply before the command that it has let go.
    pump()
    // Half a line is enough: it would become the beginning of the first reply under TLS.
    if (state === "Upgrading") return parser.pending() > 0 ? injected() : undefined
    const reply = parser.next()
    if (reply === undefined) return undefined
    if (isViolation(reply)) return violated(reply.reason, undefined)
    const before = takenBefore
    takenBefore = takenAtReceive
    const expectation = expected.head()
    if (expectation === undefined || !hadLeft(expectation, before))
      return unsolicited(secrets.withholdFrom(reply))
    const isChallenge = Commands.mayBeChallenged(expectation.command) && reply.code === 334
    return answer(expectation, isChallenge ? reply : secrets.withholdFrom(reply))
  }

  // A reply that was there before its command answers something else. Content is answerable from its beginning.
  const hadLeft = (expectation: Expected<Owner>, before: number): boolean =>
    expectation === flowing || expectation.end <= before

  const headOf = (owner: Owner): Expectation<Owner> | undefined =>
    expected.find((expectation) => expectation.owner === owner)

  return {
    state: () => state,
    capabilities: () => capabilities,
    greeted: () => greeted,
    secured: () => secured,
    authenticated: () => authenticated,
    secrets,
    mails: () => mails,
    inTransaction,
    resetting: () => (unsent.at(-1) ?? expected.last())?.command.kind === "Rset",
    isLatest: (owner) => (unsent.at(-1)?.owner ?? writer) === owner,
    forget: (owner) => {
      if (writer === owner) writer = undefined
    },
    recipients: () => envelope?.accepted ?? 0,
    submit,
    withdraw: (owner) => {
      unsent = unsent.filter((pending) => pending.owner !== owner)
      return headOf(owner) === undefined
    },
    beginContent,
    content,
    take: () => {
      if (state !== "Closed") pump()
      if (state === "Closed") return []
      taken = output.put()
      return output.take()
    },
    taken: () => taken,
    put: output.put,
    receive: (octets) => {
      takenAtReceive = taken
      // The beginning of a reply may be there already.
      if (parser.pending() === 0) takenBefore = taken
      parser.push(octets)
    },
    next,
    head: expected.head,
    headOf,
    tailOf: (owner) => expected.findLast((expectation) => expectation.owner === owner),
    upgraded: () => {
      if (state !== "Upgrading" || parser.pending() > 0) return
      greeted = false
      secured = true
      authenticated = false
      capabilities = Capability.none
      parser.advertiseEnhancedCodes(false)
      envelope = undefined
      state = "Open"
      pump()
    },
    close: () => {
      state = "Closed"
      unsent = []
    }
  }
}
