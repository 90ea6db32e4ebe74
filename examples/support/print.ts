/**
 * How the examples print: in colours on a terminal or with FORCE_COLOR, as plain text elsewhere.
 */
import type { SmtpReceipt, SmtpTranscript } from "effect-smtplib"
import { SmtpReply } from "effect-smtplib"
import { env, stdout } from "node:process"

const isSet = (value: string | undefined): boolean => value !== undefined && value !== "" && value !== "0"

const coloured = isSet(env["FORCE_COLOR"]) || (stdout.isTTY && !isSet(env["NO_COLOR"]))

const paint =
  (code: number) =>
  (text: string): string =>
    coloured ? `\u001b[${code}m${text}\u001b[0m` : text

const bold = paint(1)
const dim = paint(2)
const red = paint(31)
const green = paint(32)
const yellow = paint(33)
const cyan = paint(36)

export const line = (text = ""): void => {
  console.log(text)
}

export const heading = (text: string): void => {
  line(`\n${bold(text)}`)
}

const speakers = { client: cyan("C:"), server: green("S:"), session: dim("*:") }

/** Prints each line of the dialogue as it happens. Nothing secret comes here: sessions redact before they tell. */
export const transcript: SmtpTranscript.Listener = ({ from, text }) => {
  line(`  ${speakers[from]} ${from === "session" ? dim(text) : text}`)
}

/** What became of one recipient, as a sentence. */
const describe = (outcome: SmtpReceipt.Outcome): string => {
  switch (outcome._tag) {
    case "Accepted":
      return `${green("accepted")}: ${SmtpReply.format(outcome.reply)}`
    case "Refused": {
      const what = outcome.permanent ? "refused for good" : "refused for now"
      return `${red(what)} in phase ${outcome.phase}: ${SmtpReply.format(outcome.reply)}`
    }
    case "NotSent":
      return `${yellow("not sent")}: ${outcome.cause.message}`
    case "Unknown":
      return `${yellow("unknown")}: ${outcome.cause.message}`
  }
}

export const receipt = ({ content, outcomes }: SmtpReceipt.Receipt): void => {
  const width = Math.max(...outcomes.map(({ recipient }) => recipient.length))
  for (const outcome of outcomes) line(`  ${outcome.recipient.padEnd(width)}  ${describe(outcome)}`)
  if (content === undefined) return
  const changed = content.changed ? "line ends made CRLF" : "unchanged"
  line(dim(`  ${content.octets} octets, ${changed}, longest line ${content.longestLine}`))
}
