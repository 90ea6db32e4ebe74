/**
 * The last lines on the wire, for failures, and the transcript's listener. What is kept are the values themselves;
 * text is made of them only when somebody reads.
 */
import type { Command } from "../../protocol/Command.js"
import { printable } from "../../protocol/Printable.js"
import type { Reply } from "../../protocol/Reply.js"
import type { Entry, Listener } from "../../SmtpTranscript.js"
import { format } from "../../SmtpTranscript.js"

export interface RecentLines {
  readonly sent: (command: Command) => void
  /** `answered` is the command that the reply answers, and decides whether it may be shown. */
  readonly received: (reply: Reply, answered: Command | undefined) => void
  /** Content on its way; `last` with its end. */
  readonly content: (octets: number, last: boolean) => void
  /** Something about the connection itself. */
  readonly note: (text: string) => void
  /** The last lines, redacted, oldest first. */
  readonly tail: () => ReadonlyArray<string>
}

/** What the ring holds: a command, a reply, how many octets of content, or a note. */
type Moment = Command | Reply | number | string

const isReply = (moment: Command | Reply): moment is Reply => "code" in moment

const shown = (moment: Moment, answered: Command | undefined): ReadonlyArray<Entry> => {
  if (typeof moment === "string") return [{ from: "session", text: moment }]
  if (typeof moment === "number") return [{ from: "client", text: `[content: ${moment} octets]` }]
  return isReply(moment)
    ? shownReply(moment, answered).map((text) => ({ from: "server", text: printable(text) }))
    : [{ from: "client", text: printable(shownCommand(moment)) }]
}

const capacity = 12

// RFC 4954: the mechanism is no secret, and the one thing worth knowing of a failed exchange.
const shownCommand = (command: Command): string => {
  if (!command.secret) return command.line
  if (command.kind === "AuthResponse") return command.line === "*" ? "*" : "[redacted]"
  const [verb, mechanism, response] = command.line.split(" ")
  return response === undefined
    ? `${verb ?? ""} ${mechanism ?? ""}`
    : `${verb ?? ""} ${mechanism ?? ""} [redacted]`
}

const shownReply = (reply: Reply, answered: Command | undefined): ReadonlyArray<string> => {
  if (answered?.secret === true && reply.code === 334) return ["334 [redacted]"]
  return reply.lines.map((line, index) => {
    const separator = index < reply.lines.length - 1 ? "-" : " "
    return line === "" && separator === " " ? String(reply.code) : `${reply.code}${separator}${line}`
  })
}

export const makeRecentLines = (given: Listener | undefined): RecentLines => {
  let listener = given
  const ring = new Array<Moment | undefined>(capacity)
  // The command that a reply answers.
  const about = new Array<Command | undefined>(capacity)
  let position = 0
  let flowing = 0

  // A listener that throws is heard of no more: mail is worth more than its transcript.
  const tell = (listen: Listener, entries: ReadonlyArray<Entry>): void => {
    try {
      for (const entry of entries) listen(entry)
    } catch {
      listener = undefined
    }
  }

  const keep = (moment: Moment, answered?: Command): void => {
    const place = position % capacity
    ring[place] = moment
    about[place] = answered
    position++
    if (listener !== undefined) tell(listener, shown(moment, answered))
  }

  return {
    sent: keep,
    received: keep,
    content: (octets, last) => {
      flowing += octets
      if (!last) return
      const total = flowing
      flowing = 0
      keep(total)
    },
    note: keep,
    tail: () => {
      const entries: Array<Entry> = []
      for (let index = Math.max(0, position - capacity); index < position; index++) {
        const place = index % capacity
        const moment = ring[place]
        if (moment !== undefined) entries.push(...shown(moment, about[place]))
      }
      return entries.map(format)
    }
  }
}
