/**
 * One mail transaction under way, without I/O: says after each reply what to do next, and tells what became of each
 * recipient. RFC 5321 sections 3.3 and 4.5.3.1.10, RFC 2920, RFC 2033, RFC 3030.
 */
import type { Command, Meaning, Phase } from "./Command.js"
import * as Commands from "./Command.js"
import type { Plan, PlannedRecipient } from "./Plan.js"
import type { Reply } from "./Reply.js"
import { hasDetail, isRefusal } from "./Reply.js"

/**
 * What to do next.
 *
 * - `Submit`: write these commands
 * - `Offer`: write these commands, and the content right behind them
 * - `Wait`: for more replies
 * - `Content`: the content is due, and owed to those who were accepted
 * - `Halt`: no further chunk of the content; what has left is answered yet, and then the envelope is to be reset
 * - `Decline`: 354 came with nobody accepted: a single dot, whose reply is no acceptance (RFC 2920 section 3.1)
 * - `Done`: no reply is missing; `reset` when the server may still hold the envelope
 * - `Violated`: the server did what it may not, and nothing it says can be trusted
 * - `Stopped`: the content was refused before its end: what is left of it has no reader
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
 * What is known of one recipient. `Open` is not decided; `Overflow` was one too many for this transaction;
 * `Held` was not refused, but somebody else was, under `"all"`.
 */
export type Verdict =
  | { readonly _tag: "Accepted"; readonly reply: Reply }
  | { readonly _tag: "Refused"; readonly reply: Reply; readonly phase: Phase }
  | { readonly _tag: "Overflow"; readonly reply: Reply }
  | { readonly _tag: "Held" }
  | { readonly _tag: "Open" }

/** How far the content has got: `Complete` from the moment that its last octet was handed to the socket. */
export type Progress = "None" | "Flowing" | "Complete" | "Declined"

/** A transaction under way. */
export interface Transaction {
  readonly start: () => Step
  /** Takes the replies in the order of the commands. An acceptance before the end of the content is none: Dialogue. */
  readonly replied: (command: Command, reply: Reply, meaning: Meaning, more: boolean) => Step
  readonly contentBegun: () => void
  readonly contentComplete: () => void
  readonly progress: () => Progress
  /** One for each planned recipient, in their order. */
  readonly verdicts: () => ReadonlyArray<Verdict>
}

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
const open: Verdict = { _tag: "Open" }
const acceptedInPart: Step = {
  _tag: "Violated",
  reason: "the last chunk was accepted after one before it was refused"
}

// RFC 2033 section 4.2: no recipient, no 354; and how many replies a dot would get there is anybody's guess.
const openData = (accepted: number, dialect: "smtp" | "lmtp"): Step => {
  if (accepted > 0) return { _tag: "Content" }
  return dialect === "smtp"
    ? { _tag: "Decline" }
    : { _tag: "Violated", reason: "DATA was opened though no recipient was accepted" }
}

const submitOne = (command: Command): Step => ({ _tag: "Submit", commands: [command] })

/** A transaction for one batch of a plan. */
export const make = (
  { ahead, framing, mail, policy }: Pick<Plan, "ahead" | "framing" | "mail" | "policy">,
  recipients: ReadonlyArray<PlannedRecipient>,
  dialect: "smtp" | "lmtp"
): Transaction => {
  const rcptReplies: Array<Reply> = []
  const finals: Array<Reply> = []
  let mailReply: Reply | undefined
  let dataReply: Reply | undefined
  let refusedChunk: Reply | undefined
  let isInPart = false
  let accepted = 0
  let progress: Progress = "None"

  const done = (reset: boolean): Step => ({ _tag: "Done", reset })

  const envelope = (): ReadonlyArray<Command> => [mail, ...recipients.map(({ command }) => command)]

  const start = (): Step => {
    switch (ahead) {
      case "command":
        return submitOne(mail)
      case "envelope":
        return { _tag: "Submit", commands: envelope() }
      case "data":
        return { _tag: "Submit", commands: [...envelope(), Commands.data] }
      case "content":
        return { _tag: "Offer", commands: envelope() }
    }
  }

  // What was offered before anybody was accepted goes to nobody.
  const afterOffer = (): Step => (accepted === 0 && progress !== "Complete" ? halt : wait)

  const afterEnvelope = (): Step => {
    if (ahead === "data") return wait
    if (ahead === "content") return afterOffer()
    const heldBack = policy === "all" && accepted < recipients.length
    if (accepted === 0 || heldBack) return done(true)
    return framing === "bdat" ? { _tag: "Content" } : submitOne(Commands.data)
  }

  const afterMail = (meaning: Meaning): Step => {
    const first = recipients[0]
    if (ahead !== "command" || first === undefined) return wait
    return meaning === "Refusal" ? done(true) : submitOne(first.command)
  }

  const afterRcpt = (reply: Reply, meaning: Meaning): Step => {
    rcptReplies.push(reply)
    if (meaning === "Success") accepted++
    const next = recipients[rcptReplies.length]
    if (next === undefined) return afterEnvelope()
    return ahead === "command" ? submitOne(next.command) : wait
  }

  const afterData = (meaning: Meaning): Step =>
    meaning === "Refusal" ? done(true) : openData(accepted, dialect)

  // RFC 3030 section 2: behind a chunk that was refused none is sent, and the state is indeterminate.
  const afterChunk = (reply: Reply, meaning: Meaning): Step => {
    if (meaning !== "Refusal") return wait
    refusedChunk ??= reply
    return progress === "Flowing" ? halt : wait
  }

  const afterFinal = (reply: Reply, meaning: Meaning, more: boolean): Step => {
    if (progress === "Declined") return done(false)
    if (refusedChunk !== undefined && meaning !== "Refusal") {
      isInPart = true
      return acceptedInPart
    }
    finals.push(reply)
    if (more) return wait
    if (progress === "Flowing") return { _tag: "Stopped" }
    return done(meaning === "Refusal" || accepted === 0)
  }

  const replied = (command: Command, reply: Reply, meaning: Meaning, more: boolean): Step => {
    switch (command.kind) {
      case "Mail":
        mailReply = reply
        return afterMail(meaning)
      case "Rcpt":
        return afterRcpt(reply, meaning)
      case "Data":
        dataReply = reply
        return afterData(meaning)
      case "Bdat":
        return afterChunk(reply, meaning)
      default:
        return afterFinal(reply, meaning, more)
    }
  }

  const repliesPerRecipient = (): boolean => dialect === "lmtp" && progress === "Complete"

  const finalPhase = (): Phase => (progress === "Flowing" ? "content" : "final")

  let latest: Extract<Verdict, { readonly _tag: "Accepted" }> | undefined

  const ofContent = (acceptedBefore: number): Verdict => {
    if (isInPart) return open
    if (refusedChunk !== undefined) return { _tag: "Refused", reply: refusedChunk, phase: "bdat" }
    const final = progress === "Declined" ? undefined : finals[repliesPerRecipient() ? acceptedBefore : 0]
    if (final === undefined) return open
    if (isRefusal(final)) return { _tag: "Refused", reply: final, phase: finalPhase() }
    // Most recipients share the one reply.
    if (latest?.reply !== final) latest = { _tag: "Accepted", reply: final }
    return latest
  }

  const verdict = (index: number, acceptedBefore: number): Verdict => {
    if (mailReply !== undefined && isRefusal(mailReply))
      return { _tag: "Refused", reply: mailReply, phase: "mail" }
    const rcpt = rcptReplies[index]
    if (rcpt !== undefined && isRefusal(rcpt)) {
      const overflow = policy === "any" && isOverflow(rcpt, acceptedBefore)
      return overflow ? { _tag: "Overflow", reply: rcpt } : { _tag: "Refused", reply: rcpt, phase: "rcpt" }
    }
    if (policy === "all" && accepted < rcptReplies.length) return { _tag: "Held" }
    if (dataReply !== undefined && isRefusal(dataReply))
      return { _tag: "Refused", reply: dataReply, phase: "data" }
    return ofContent(acceptedBefore)
  }

  return {
    start,
    replied,
    contentBegun: () => {
      progress = "Flowing"
    },
    contentComplete: () => {
      progress = framing === "data" && accepted === 0 ? "Declined" : "Complete"
    },
    progress: () => progress,
    verdicts: () => {
      let acceptedBefore = 0
      return recipients.map((_, index) => {
        const result = verdict(index, acceptedBefore)
        const reply = rcptReplies[index]
        if (reply !== undefined && !isRefusal(reply)) acceptedBefore++
        return result
      })
    }
  }
}

/** The content of a transaction whose envelope the program has sent by hand. */
export interface DataTransaction extends Omit<Transaction, "verdicts"> {
  /** The replies to the content, or the one that refused DATA; `declined` if nobody was there to get it. */
  readonly result: () => { readonly replies: ReadonlyArray<Reply>; readonly declined: boolean }
  /** The refusal that counts for everybody. */
  readonly refusal: () => { readonly reply: Reply; readonly phase: Phase } | undefined
}

/** DATA and its content, for as many recipients as have been accepted. */
export const makeData = (accepted: number, dialect: "smtp" | "lmtp"): DataTransaction => {
  const replies: Array<Reply> = []
  let progress: Progress = "None"
  let refusedIn: Phase = "data"

  const afterData = (reply: Reply, meaning: Meaning): Step => {
    if (meaning === "Refusal") {
      replies.push(reply)
      return { _tag: "Done", reset: true }
    }
    return openData(accepted, dialect)
  }

  const afterFinal = (reply: Reply, meaning: Meaning, more: boolean): Step => {
    if (progress === "Declined") return { _tag: "Done", reset: false }
    refusedIn = progress === "Flowing" ? "content" : "final"
    replies.push(reply)
    if (more) return wait
    return progress === "Flowing" ? { _tag: "Stopped" } : { _tag: "Done", reset: meaning === "Refusal" }
  }

  return {
    start: () => submitOne(Commands.data),
    replied: (command, reply, meaning, more) =>
      command.kind === "Data" ? afterData(reply, meaning) : afterFinal(reply, meaning, more),
    contentBegun: () => {
      progress = "Flowing"
    },
    contentComplete: () => {
      progress = accepted === 0 ? "Declined" : "Complete"
    },
    progress: () => progress,
    result: () => ({ replies, declined: progress === "Declined" }),
    refusal: () => {
      const [first] = replies
      return first !== undefined && replies.every(isRefusal) ? { reply: first, phase: refusedIn } : undefined
    }
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
