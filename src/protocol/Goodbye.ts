/**
 * What the replies behind a 421 are worth. Some servers say it and hang up; Exim can answer one command by it and go on;
 * others say it in addition to their answers, and whoever counts replies is then one off. So an acceptance behind a 421
 * counts only where no other reading of the replies is possible.
 */
import type { Command } from "./Command.js"
import * as Commands from "./Command.js"
import type { Parser, Reply } from "./Reply.js"
import { isRefusal, isViolation } from "./Reply.js"
import type { Secrets } from "./Secrets.js"
import { queueId } from "./Transaction.js"

/** A reply that is waited for, and the envelope that its command belongs to. */
export interface Pending {
  readonly command: Command
  readonly envelope:
    { readonly sender: "Pending" | "Accepted" | "Refused"; readonly accepted: number } | undefined
  /** How many replies to it have come. */
  readonly replies: number
}

/** Which command a reply answers, if the replies are in the order of the commands. */
export interface Answer<P extends Pending> {
  readonly pending: P
  readonly reply: Reply
  readonly more: boolean
}

/** The replies in the order of the commands; `undefined` if a server that obeys the protocol cannot have said that. */
const inOrder = <P extends Pending>(
  pending: ReadonlyArray<P>,
  replies: ReadonlyArray<Reply>,
  dialect: "smtp" | "lmtp"
): { readonly answers: ReadonlyArray<Answer<P>>; readonly isComplete: boolean } | undefined => {
  const answers: Array<Answer<P>> = []
  const envelopes = new Map<Pending["envelope"], { isRefused: boolean; accepted: number }>()
  for (const one of pending) {
    const { command, envelope } = one
    const now = envelopes.get(envelope) ?? {
      isRefused: envelope?.sender === "Refused",
      accepted: envelope?.accepted ?? 0
    }
    envelopes.set(envelope, now)
    const isEnd = Commands.isEndOfContent(command)
    const due = isEnd && dialect === "lmtp" ? Math.max(1, now.accepted) : 1
    for (let place = one.replies + 1; place <= due; place++) {
      const reply = replies[answers.length]
      if (reply === undefined) return { answers, isComplete: false }
      const meaning = Commands.meaning(command.kind, reply)
      if (meaning === "Violation" || meaning === "Intermediate") return undefined
      const isSuccess = meaning === "Success"
      if (isSuccess && command.kind === "Rcpt") {
        if (now.isRefused) return undefined
        now.accepted++
      }
      // The next envelope would be answered by what is left of this one.
      if (!isSuccess && command.kind === "Rset") return undefined
      // Content for nobody is accepted by no server that has read what was sent.
      if (isSuccess && (isEnd || command.kind === "Bdat") && (now.isRefused || now.accepted === 0))
        return undefined
      if (command.kind === "Mail") now.isRefused = !isSuccess
      answers.push({ pending: one, reply, more: place < due })
    }
  }
  return answers.length === replies.length ? { answers, isComplete: true } : undefined
}

/** Whether content was accepted by replies that name a message, as no other does: the order cannot have shifted. */
const namesMessages = (answers: ReadonlyArray<Answer<Pending>>): boolean =>
  answers.every(({ pending: { command }, reply }) => {
    const isAcceptance = Commands.isEndOfContent(command) && !isRefusal(reply)
    return isAcceptance === (queueId(reply) !== undefined)
  })

/** The answers that are certain. `goodbye` came while `pending` were unanswered, and `replies` after it. */
export const readPast = <P extends Pending>(
  pending: ReadonlyArray<P>,
  goodbye: Reply,
  replies: ReadonlyArray<Reply>,
  dialect: "smtp" | "lmtp"
): ReadonlyArray<Answer<P>> => {
  const asAnswer = inOrder(pending, [goodbye, ...replies], dialect)
  if (asAnswer === undefined) return []
  // Had it come in addition, the last reply may still be to come, however late.
  const isCertain =
    replies.length === 0 ||
    inOrder(pending, replies, dialect) === undefined ||
    (asAnswer.isComplete && namesMessages(asAnswer.answers))
  if (!isCertain) return []
  if (asAnswer.isComplete) return asAnswer.answers
  const [first] = asAnswer.answers
  return first !== undefined && Commands.isEndOfContent(first.pending.command) ? [first] : []
}

/** Collects what comes behind a goodbye. */
export class Parting {
  private readonly replies: Array<Reply> = []
  /** Something came that is no reply. */
  private isBroken = false

  constructor(
    private readonly goodbye: Reply,
    /** It answers the oldest command, or may do so. */
    private readonly isAnswer: boolean,
    private readonly dialect: "smtp" | "lmtp"
  ) {}

  collect(parser: Parser, secrets: Secrets): void {
    let reply = parser.next()
    while (reply !== undefined && !this.isBroken) {
      if (isViolation(reply)) this.isBroken = true
      else this.replies.push(secrets.withholdFrom(reply))
      reply = parser.next()
    }
  }

  answers<P extends Pending>(pending: ReadonlyArray<P>): ReadonlyArray<Answer<P>> {
    if (this.isBroken || !this.isAnswer) return []
    return readPast(pending, this.goodbye, this.replies, this.dialect)
  }
}

/** A server that does not know BDAT reads the chunk as commands: what it has taken is unknown if it says yes to one. */
export const readAsCommands = (command: Command, reply: Reply, parser: Parser): string | undefined => {
  if (!Commands.isUnknownChunk(command, reply)) return undefined
  for (let behind = parser.next(); behind !== undefined; behind = parser.next()) {
    if (isViolation(behind) || behind.code < 400)
      return "the server does not know BDAT, and read the content as commands"
  }
  return undefined
}
