/**
 * One mail transaction as a machine without I/O: after each reply it says what to do next, and what the replies say of
 * each recipient. RFC 5321 sections 3.3 and 4.5.3.1.10, RFC 2920, RFC 2033, RFC 3030.
 */
import type { Command, Meaning, Phase } from "./Command.js"
import * as Commands from "./Command.js"
import type { Ahead, Plan, PlannedRecipient } from "./Plan.js"
import type { Reply } from "./Reply.js"
import { hasDetail, isRefusal } from "./Reply.js"

/**
 * What to do next.
 *
 * - `Submit`: write these commands
 * - `Offer`: write these commands, and the content right behind them
 * - `Wait`: for more replies
 * - `Content`: send the content, which is owed to the accepted recipients
 * - `Halt`: send no further chunk; once what has left is answered, reset the envelope
 * - `Decline`: 354 came with nobody accepted: send a single dot, whose reply is no acceptance (RFC 2920 section 3.1)
 * - `Done`: no reply is missing; `reset` when the server may still hold the envelope
 * - `Violated`: the server broke the protocol, and nothing it says can be trusted
 * - `Stopped`: the content was refused before its end, or as an unknown command; the rest of it has no reader
 */
export type Step =
  | { readonly _tag: "Submit"; readonly commands: ReadonlyArray<Command> }
  | { readonly _tag: "Offer"; readonly commands: ReadonlyArray<Command> }
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Content" }
  | { readonly _tag: "Halt" }
  | { readonly _tag: "Decline" }
  | { readonly _tag: "Done"; readonly reset: boolean }
  | { readonly _tag: "Violated"; readonly reason: string }
  | { readonly _tag: "Stopped" }

/**
 * What the replies say of one recipient. `Open` is undecided; `Overflow` was one too many for this transaction; `Held`
 * was not refused, but another recipient was, under `"all"`.
 */
export type Verdict =
  | { readonly _tag: "Accepted"; readonly reply: Reply }
  | { readonly _tag: "Refused"; readonly reply: Reply; readonly phase: Phase }
  | { readonly _tag: "Overflow"; readonly reply: Reply }
  | { readonly _tag: "Held" }
  | { readonly _tag: "Open" }

/**
 * How far the content has got: `Due` once it may begin, `Complete` once its last octet was given to the dialogue,
 * `Declined` if a single dot stands in its place.
 */
export type Progress = "None" | "Due" | "Flowing" | "Complete" | "Declined"

/**
 * Whether the refusal of a recipient means "too many for one transaction" rather than this recipient (RFC 5321
 * section 4.5.3.1.10, RFC 1870 section 6.4).
 */
export const isOverflow = (reply: Reply, acceptedBefore: number): boolean => {
  if (acceptedBefore === 0 || !isRefusal(reply)) return false
  if (reply.enhancedCode !== undefined) return hasDetail(reply, 5, 3)
  return reply.code === 452 || (reply.code === 552 && acceptedBefore >= 100)
}

const wait: Step = { _tag: "Wait" }
const halt: Step = { _tag: "Halt" }
const done: Step = { _tag: "Done", reset: false }
const doneWithReset: Step = { _tag: "Done", reset: true }
const open: Verdict = { _tag: "Open" }
const held: Verdict = { _tag: "Held" }
const submitOne = (command: Command): Step => ({ _tag: "Submit", commands: [command] })

type Envelope = Pick<Plan, "framing" | "mail" | "policy"> & {
  /** `undefined` where the program has sent the envelope itself. */
  readonly ahead: Ahead | undefined
}

/** One batch of a plan, or the content of an envelope that the program has sent by hand. */
export class Transaction {
  private readonly rcptReplies: Array<Reply> = []
  private readonly finals: Array<Reply> = []
  private mailReply: Reply | undefined
  private dataReply: Reply | undefined
  private refusedChunk: Reply | undefined
  private isUncertain = false
  private accepted = 0
  private reached: Progress = "None"
  private latest: Extract<Verdict, { readonly _tag: "Accepted" }> | undefined

  constructor(
    private readonly envelope: Envelope,
    readonly recipients: ReadonlyArray<PlannedRecipient>,
    private readonly dialect: "smtp" | "lmtp"
  ) {}

  /** DATA by hand, for as many recipients as have been accepted. */
  static byHand(accepted: number, dialect: "smtp" | "lmtp"): Transaction {
    const transaction = new Transaction(
      { ahead: undefined, framing: "data", mail: Commands.data, policy: "any" },
      [],
      dialect
    )
    transaction.accepted = accepted
    return transaction
  }

  start(): Step {
    const { ahead, mail } = this.envelope
    switch (ahead) {
      case undefined:
        return submitOne(Commands.data)
      case "command":
        return submitOne(mail)
      case "envelope":
        return { _tag: "Submit", commands: this.commands() }
      case "data":
        return { _tag: "Submit", commands: [...this.commands(), Commands.data] }
      case "content":
        this.reached = "Due"
        return { _tag: "Offer", commands: this.commands() }
    }
  }

  /** Takes the replies in the order of the commands. The dialogue lets no acceptance of unfinished content through. */
  replied(command: Command, reply: Reply, meaning: Meaning, more: boolean): Step {
    if (Commands.isUnknownChunk(command, reply)) {
      this.refusedChunk ??= reply
      return { _tag: "Stopped" }
    }
    switch (command.kind) {
      case "Mail":
        this.mailReply = reply
        return this.afterMail(meaning)
      case "Rcpt":
        return this.afterRcpt(reply, meaning)
      case "Data":
        this.dataReply = reply
        return meaning === "Refusal" ? doneWithReset : this.openData()
      case "Bdat":
        return this.afterChunk(reply, meaning)
      default:
        return this.afterFinal(reply, meaning, more)
    }
  }

  contentBegun(): void {
    this.reached = "Flowing"
  }

  contentComplete(): void {
    this.reached = this.envelope.framing === "data" && this.accepted === 0 ? "Declined" : "Complete"
  }

  progress(): Progress {
    return this.reached
  }

  /** One for each planned recipient, in their order. */
  verdicts(): ReadonlyArray<Verdict> {
    let acceptedBefore = 0
    return this.recipients.map((_, index) => {
      const verdict = this.verdict(index, acceptedBefore)
      const reply = this.rcptReplies[index]
      if (reply !== undefined && !isRefusal(reply)) acceptedBefore++
      return verdict
    })
  }

  /** The replies to the content, or the one that refused DATA. */
  contentReplies(): ReadonlyArray<Reply> {
    return this.dataReply !== undefined && isRefusal(this.dataReply) ? [this.dataReply] : this.finals
  }

  /** The refusal of the content for every recipient. */
  refusal(): { readonly reply: Reply; readonly phase: Phase } | undefined {
    const replies = this.contentReplies()
    const [reply] = replies
    if (reply === undefined || !replies.every(isRefusal)) return undefined
    return { reply, phase: reply === this.dataReply ? "data" : this.finalPhase() }
  }

  private commands(): ReadonlyArray<Command> {
    return [this.envelope.mail, ...this.recipients.map(({ command }) => command)]
  }

  private afterMail(meaning: Meaning): Step {
    const [first] = this.recipients
    if (this.envelope.ahead !== "command" || first === undefined) return wait
    return meaning === "Refusal" ? doneWithReset : submitOne(first.command)
  }

  private afterRcpt(reply: Reply, meaning: Meaning): Step {
    this.rcptReplies.push(reply)
    if (meaning === "Success") this.accepted++
    const next = this.recipients[this.rcptReplies.length]
    if (next === undefined) return this.afterEnvelope()
    return this.envelope.ahead === "command" ? submitOne(next.command) : wait
  }

  private afterEnvelope(): Step {
    const { ahead, framing, policy } = this.envelope
    if (ahead === "data") return wait
    // What was offered before anybody was accepted goes to nobody.
    if (ahead === "content") return this.accepted === 0 && this.reached !== "Complete" ? halt : wait
    const isHeld = policy === "all" && this.accepted < this.recipients.length
    if (this.accepted === 0 || isHeld) return doneWithReset
    return framing === "bdat" ? this.contentDue() : submitOne(Commands.data)
  }

  private contentDue(): Step {
    this.reached = "Due"
    return { _tag: "Content" }
  }

  // RFC 2033 section 4.2: no recipient, no 354; how many replies a dot would get there is not defined.
  private openData(): Step {
    if (this.accepted > 0) return this.contentDue()
    return this.dialect === "smtp"
      ? { _tag: "Decline" }
      : { _tag: "Violated", reason: "DATA was opened though no recipient was accepted" }
  }

  // RFC 3030 section 2: behind a refused chunk none is sent, and the state is indeterminate.
  private afterChunk(reply: Reply, meaning: Meaning): Step {
    if (meaning !== "Refusal") return wait
    this.refusedChunk ??= reply
    return this.reached === "Flowing" ? halt : wait
  }

  private afterFinal(reply: Reply, meaning: Meaning, more: boolean): Step {
    if (this.reached === "Declined") return done
    if (this.refusedChunk !== undefined && meaning !== "Refusal") {
      this.isUncertain = true
      return { _tag: "Violated", reason: "the last chunk was accepted after one before it was refused" }
    }
    // RFC 3463 section 3.2: it says that an address is valid. The verdict is still to come, behind one reply too many.
    if (this.envelope.ahead === "content" && meaning !== "Refusal" && reply.enhancedCode?.subject === 1) {
      this.isUncertain = true
      return { _tag: "Violated", reason: "the reply to the content is one about an address" }
    }
    this.finals.push(reply)
    if (more) return wait
    if (this.reached === "Flowing") return { _tag: "Stopped" }
    return meaning === "Refusal" || this.accepted === 0 ? doneWithReset : done
  }

  private finalPhase(): Phase {
    return this.reached === "Flowing" ? "content" : "final"
  }

  private verdict(index: number, acceptedBefore: number): Verdict {
    const { policy } = this.envelope
    if (this.mailReply !== undefined && isRefusal(this.mailReply))
      return { _tag: "Refused", reply: this.mailReply, phase: "mail" }
    const rcpt = this.rcptReplies[index]
    if (rcpt !== undefined && isRefusal(rcpt)) {
      const overflow = policy === "any" && isOverflow(rcpt, acceptedBefore)
      return overflow ? { _tag: "Overflow", reply: rcpt } : { _tag: "Refused", reply: rcpt, phase: "rcpt" }
    }
    if (policy === "all" && this.accepted < this.rcptReplies.length) return held
    if (this.dataReply !== undefined && isRefusal(this.dataReply))
      return { _tag: "Refused", reply: this.dataReply, phase: "data" }
    return this.ofContent(acceptedBefore)
  }

  private ofContent(acceptedBefore: number): Verdict {
    if (this.isUncertain || this.reached === "Declined") return open
    if (this.refusedChunk !== undefined) return { _tag: "Refused", reply: this.refusedChunk, phase: "bdat" }
    const isByRecipient = this.dialect === "lmtp" && this.reached === "Complete"
    const final = this.finals[isByRecipient ? acceptedBefore : 0]
    if (final === undefined) return open
    if (isRefusal(final)) return { _tag: "Refused", reply: final, phase: this.finalPhase() }
    // Most recipients share the one reply.
    if (this.latest?.reply !== final) this.latest = { _tag: "Accepted", reply: final }
    return this.latest
  }
}

// A word in one of these places is a name only if it holds a digit: "Ok accepted" names nothing.
const queueIdPatterns: ReadonlyArray<RegExp> = [
  // Exchange, before whose place a Message-ID stands
  /\[InternalId=(\d+)/i,
  // Postfix and many that follow it; Yandex says where
  /\bqueued (?:on \S+ )?as <?([^\s<>;,()]+)/i,
  // Exim
  /\bid=<?([^\s<>;,()]+)/i,
  // Sendmail, OpenSMTPD
  /^([\w.-]{6,}) message accepted/i,
  // qmail
  /^ok \d+ qp (\d+)/i,
  // Gmail
  /^ok +\d+ ([\w.-]+) - gsmtp/i,
  // Dovecot
  /^<[^>]*> (\S+) saved/i,
  /\bqueue(?:d)?(?: with)?[ -]?id[ :]+<?([^\s<>;,()]+)/i,
  // Haraka
  /^message queued \(([^\s()]+)\)/i,
  // Amazon SES
  /^ok:? +([\w-]{8,})(?:[ .]|$)/i
]

/**
 * The name under which the server keeps the message, where the final reply tells it in one of the usual ways.
 */
export const queueId = (reply: Reply): string | undefined => {
  // What no pattern can find needs no look: no digit, no name.
  if (!/\d/.test(reply.text)) return undefined
  for (const pattern of queueIdPatterns) {
    const id = pattern.exec(reply.text)?.[1]?.replace(/\.+$/, "")
    if (id !== undefined && /\d/.test(id)) return id
  }
  return undefined
}
