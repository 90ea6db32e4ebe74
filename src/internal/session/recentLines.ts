/**
 * The last lines on the wire, for errors, and the transcript's listener. Commands and replies are kept as they are: text is
 * made of them only for a reader.
 */
import type { Command } from "../../protocol/Command.js"
import { printable } from "../../protocol/Printable.js"
import type { Reply } from "../../protocol/Reply.js"
import type { Entry, Listener } from "../../SmtpTranscript.js"
import { format } from "../../SmtpTranscript.js"

const capacity = 12

/** A command, a reply, how many bytes of content, or a note about the connection. */
type Line = Command | Reply | number | string

export class RecentLines {
  private readonly lines = new Array<Line | undefined>(capacity)
  // The commands that replies answer decide whether they may be shown.
  private readonly answered = new Array<Command | undefined>(capacity)
  private position = 0
  private contentBytes = 0

  constructor(private listener: Listener | undefined) {}

  sent(command: Command): void {
    this.keep(command)
  }

  received(reply: Reply, answered: Command | undefined): void {
    this.keep(reply, answered)
  }

  /** Content on its way; `last` with its end. */
  content(bytes: number, last: boolean): void {
    this.contentBytes += bytes
    if (!last) return
    this.keep(this.contentBytes)
    this.contentBytes = 0
  }

  /** Something about the connection itself. */
  note(text: string): void {
    this.keep(text)
  }

  /** The last lines, redacted, oldest first. */
  tail(): ReadonlyArray<string> {
    const entries: Array<Entry> = []
    for (let index = Math.max(0, this.position - capacity); index < this.position; index++) {
      const line = this.lines[index % capacity]
      if (line !== undefined) entries.push(...shown(line, this.answered[index % capacity]))
    }
    return entries.map(format)
  }

  private keep(line: Line, answered?: Command): void {
    const place = this.position % capacity
    this.lines[place] = line
    this.answered[place] = answered
    this.position++
    if (this.listener === undefined) return
    // A listener that throws is not called again: mail is worth more than its transcript.
    try {
      for (const entry of shown(line, answered)) this.listener(entry)
    } catch {
      this.listener = undefined
    }
  }
}

const shown = (line: Line, answered: Command | undefined): ReadonlyArray<Entry> => {
  if (typeof line === "string") return [{ from: "session", text: line }]
  if (typeof line === "number") return [{ from: "client", text: `[content: ${line} bytes]` }]
  return "code" in line
    ? shownReply(line, answered).map((text) => ({ from: "server", text: printable(text) }))
    : [{ from: "client", text: printable(shownCommand(line)) }]
}

// RFC 4954: the mechanism is no secret, and the one thing worth knowing of a failed exchange.
const shownCommand = (command: Command): string => {
  if (!command.secret) return command.line
  if (command.kind === "AuthResponse") return command.line === "*" ? "*" : "[redacted]"
  const [verb = "", mechanism = "", response] = command.line.split(" ")
  return response === undefined ? `${verb} ${mechanism}` : `${verb} ${mechanism} [redacted]`
}

const shownReply = (reply: Reply, answered: Command | undefined): ReadonlyArray<string> => {
  if (answered?.secret === true && reply.code === 334) return ["334 [redacted]"]
  return reply.lines.map((line, index) => {
    const separator = index < reply.lines.length - 1 ? "-" : " "
    return line === "" && separator === " " ? String(reply.code) : `${reply.code}${separator}${line}`
  })
}
