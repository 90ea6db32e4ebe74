/**
 * One mail transaction, without I/O: reads an envelope, plans its commands from what the server offers and what
 * the content needs, says after each reply what to do next, and tells what became of each recipient. RFC 5321
 * sections 3.3 and 4.5.3.1.10, RFC 2920, RFC 2033, RFC 9422.
 *
 * @since 0.1.0
 */
import type { Capabilities } from "./Capabilities.js"
import { exceedsSize } from "./Capabilities.js"
import type { Command, Meaning, Phase } from "./Command.js"
import * as Commands from "./Command.js"
import type { Invalid } from "./Invalid.js"
import { invalid, isInvalid } from "./Invalid.js"
import type { Mailbox } from "./Mailbox.js"
import * as Mailboxes from "./Mailbox.js"
import type { MailParameters, RecipientParameters, Unsupported } from "./Parameters.js"
import { mailLine, recipientLine, unsupported } from "./Parameters.js"
import type { Reply } from "./Reply.js"
import { hasDetail, isRefusal } from "./Reply.js"

/**
 * How much of a transaction leaves in one write: each command alone, MAIL with every RCPT, or these and DATA.
 *
 * @since 0.1.0
 * @category models
 */
export type Pipelining = "off" | "envelope" | "data"

/**
 * Whether the message goes to whoever is accepted, or to everybody or nobody.
 *
 * @since 0.1.0
 * @category models
 */
export type RecipientsPolicy = "any" | "all"

/**
 * A recipient as the caller gave it.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecipientInput extends RecipientParameters {
  readonly address: string
}

/**
 * A recipient of the envelope. Equal recipients of the caller are one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Recipient {
  readonly mailbox: Mailbox
  readonly parameters: RecipientParameters
  /** Which of the caller's recipients this one stands for. */
  readonly positions: ReadonlyArray<number>
}

/**
 * An envelope whose addresses have been read.
 *
 * @since 0.1.0
 * @category models
 */
export interface Envelope {
  readonly sender: Mailbox | null
  readonly parameters: MailParameters
  readonly recipients: ReadonlyArray<Recipient>
}

const sameParameters = (left: RecipientParameters, right: RecipientParameters): boolean =>
  JSON.stringify(comparable(left)) === JSON.stringify(comparable(right))

// Field by field, so that the order in which an object was written makes no difference.
const comparable = ({ extra, notify, originalRecipient, rrvs }: RecipientParameters): unknown => [
  typeof notify === "object" ? [...new Set(notify)].sort() : notify,
  typeof originalRecipient === "object"
    ? [originalRecipient.type, originalRecipient.address]
    : originalRecipient,
  rrvs && [rrvs.since, rrvs.action],
  extra?.map(({ extension, keyword, value }) => [keyword, value, extension])
]

/**
 * Reads the envelope that a caller gave: each address, and that equal recipients ask for the same.
 *
 * @since 0.1.0
 * @category constructors
 */
export const readEnvelope = (
  from: string,
  to: ReadonlyArray<RecipientInput>,
  parameters: MailParameters
): Envelope | Invalid => {
  const sender = Mailboxes.parseReversePath(from, "from")
  if (isInvalid(sender)) return sender
  if (to.length === 0) return invalid("to", "is empty: name at least one recipient")
  const byIdentity = new Map<
    string,
    { mailbox: Mailbox; parameters: RecipientParameters; positions: Array<number> }
  >()
  for (const [position, input] of to.entries()) {
    const mailbox = Mailboxes.parseForwardPath(input.address, `to[${position}]`)
    if (isInvalid(mailbox)) return mailbox
    const { notify, originalRecipient, rrvs, extra } = input
    const recipientParameters = { notify, originalRecipient, rrvs, extra }
    const identity = Mailboxes.identity(mailbox)
    const known = byIdentity.get(identity)
    if (known === undefined) {
      byIdentity.set(identity, { mailbox, parameters: recipientParameters, positions: [position] })
    } else if (sameParameters(known.parameters, recipientParameters)) {
      known.positions.push(position)
    } else {
      return invalid(
        `to[${position}]`,
        `names the mailbox of to[${known.positions[0] ?? 0}] with other parameters`
      )
    }
  }
  return { sender, parameters, recipients: [...byIdentity.values()] }
}

/**
 * What is known of the content before MAIL. `undefined` is not known.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContentFacts {
  /** Octets with CRLF line ends and without stuffed dots (RFC 1870 section 3): exact, or the caller's estimate. */
  readonly octets: number | undefined
  readonly eightBit: boolean | undefined
  /** Whether the header holds octets beyond ASCII. */
  readonly utf8Header: boolean | undefined
}

/**
 * The state of the session that a plan depends on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Circumstances {
  readonly capabilities: Capabilities
  readonly dialect: "smtp" | "lmtp"
  /** Whether the session runs over TLS with a verified certificate. */
  readonly verifiedTls: boolean
  /** How many MAIL commands the session has sent (RFC 9422 section 4). */
  readonly mails: number
  /** The time in milliseconds since 1970, for parameters that are checked against it. */
  readonly now: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface PlanOptions {
  readonly pipelining: Pipelining
  readonly recipients: RecipientsPolicy
}

/**
 * A recipient with its command.
 *
 * @since 0.1.0
 * @category models
 */
export interface PlannedRecipient extends Recipient {
  readonly command: Command
}

/**
 * The commands of a transaction. `batches` has more than one entry where the server's LIMITS ask for several
 * transactions.
 *
 * @since 0.1.0
 * @category models
 */
export interface Plan {
  readonly _tag: "Plan"
  readonly mail: Command
  readonly batches: ReadonlyArray<ReadonlyArray<PlannedRecipient>>
  readonly pipelining: Pipelining
  readonly policy: RecipientsPolicy
}

const bodyOf = (
  { parameters: { body } }: Envelope,
  { eightBit }: ContentFacts,
  { eightBitMime }: Capabilities
): MailParameters["body"] | Invalid | Unsupported => {
  if (body === "BINARYMIME")
    return invalid("parameters.body", "is BINARYMIME, which DATA cannot carry; use bdat")
  if (body === "7BIT" && eightBit === true)
    return invalid("parameters.body", "is 7BIT, and the content is not")
  if (body !== undefined || eightBit === false) return body
  if (eightBitMime) return "8BITMIME"
  return eightBit === true
    ? unsupported("8BITMIME", "the content has 8-bit octets; encode it as base64 or quoted-printable")
    : unsupported("8BITMIME", "nobody knows whether the content stream has 8-bit octets; promise content7bit")
}

const needsSmtpUtf8 = (envelope: Envelope, facts: ContentFacts): string | undefined => {
  const addresses = [envelope.sender, ...envelope.recipients.map(({ mailbox }) => mailbox)]
  if (addresses.some((mailbox) => mailbox?.needsSmtpUtf8 === true)) {
    return "an address has characters beyond ASCII before its @, and the server takes none"
  }
  return facts.utf8Header === true
    ? "the header has characters beyond ASCII, and the server takes none; use encoded words"
    : undefined
}

const mailParameters = (
  envelope: Envelope,
  facts: ContentFacts,
  { capabilities }: Circumstances
): MailParameters | Invalid | Unsupported => {
  const given = envelope.parameters
  const need = needsSmtpUtf8(envelope, facts)
  if (need !== undefined && !capabilities.smtpUtf8) return unsupported("SMTPUTF8", need)
  const body = bodyOf(envelope, facts, capabilities)
  if (typeof body === "object") return body
  const size = given.size ?? facts.octets
  if (size !== undefined && exceedsSize(capabilities, size)) {
    return unsupported(
      "SIZE",
      `the message has ${size} octets, and the server takes ${capabilities.size ?? 0}`
    )
  }
  return {
    ...given,
    smtputf8: need === undefined ? given.smtputf8 : true,
    body,
    size: capabilities.has("SIZE") ? size : undefined
  }
}

const splitByLimits = (
  recipients: ReadonlyArray<PlannedRecipient>,
  { limits }: Capabilities
): ReadonlyArray<ReadonlyArray<PlannedRecipient>> => {
  const most = limits.rcptMax ?? Number.POSITIVE_INFINITY
  const mostDomains = limits.rcptDomainMax ?? Number.POSITIVE_INFINITY
  const batches: Array<{ domains: Set<string>; recipients: Array<PlannedRecipient> }> = []
  for (const recipient of recipients) {
    const domain = recipient.mailbox.asciiDomain.toLowerCase()
    const room = batches.find(
      (batch) =>
        batch.recipients.length < most && (batch.domains.has(domain) || batch.domains.size < mostDomains)
    )
    if (room === undefined) batches.push({ domains: new Set([domain]), recipients: [recipient] })
    else {
      room.domains.add(domain)
      room.recipients.push(recipient)
    }
  }
  return batches.map((batch) => batch.recipients)
}

const withinLimits = (
  plan: Plan,
  { capabilities, dialect, mails }: Circumstances
): Plan | Invalid | Unsupported => {
  const recipients = plan.batches.reduce((sum, batch) => sum + batch.length, 0)
  if (plan.policy === "all" && dialect === "lmtp" && recipients > 1) {
    return invalid(
      "recipients",
      'is "all", which LMTP cannot keep for several recipients: each has its own reply'
    )
  }
  if (plan.policy === "all" && plan.batches.length > 1) {
    return unsupported(
      "LIMITS",
      'the recipients do not fit into one transaction, as `recipients: "all"` needs'
    )
  }
  const mailMax = capabilities.limits.mailMax
  if (mailMax !== undefined && mails >= mailMax) {
    return unsupported(
      "LIMITS",
      `this session has used up its ${mailMax} MAIL commands (MAILMAX); open another`
    )
  }
  return plan
}

/**
 * Plans the commands of an envelope: each parameter checked against what the server offers, SIZE, BODY and
 * SMTPUTF8 added by need, recipients divided by the server's LIMITS. Nothing has been sent when it refuses.
 *
 * @since 0.1.0
 * @category constructors
 */
export const plan = (
  envelope: Envelope,
  facts: ContentFacts,
  circumstances: Circumstances,
  options: PlanOptions
): Plan | Invalid | Unsupported => {
  const { capabilities, now, verifiedTls } = circumstances
  const parameters = mailParameters(envelope, facts, circumstances)
  if ("_tag" in parameters) return parameters
  const context = { capabilities, tls: verifiedTls, now }
  const mail = mailLine(Mailboxes.toPath(envelope.sender), parameters, context, "parameters")
  if (typeof mail !== "string") return mail
  const recipients: Array<PlannedRecipient> = []
  for (const recipient of envelope.recipients) {
    const field = `to[${recipient.positions[0] ?? 0}]`
    const line = recipientLine(Mailboxes.toPath(recipient.mailbox), recipient.parameters, context, field)
    if (typeof line !== "string") return line
    recipients.push({ ...recipient, command: Commands.rcpt(line) })
  }
  // Under "all" the server must not be given the chance to open DATA before everybody is accepted.
  const held = options.recipients === "all" && recipients.length > 1
  const pipelining = held && options.pipelining === "data" ? "envelope" : options.pipelining
  return withinLimits(
    {
      _tag: "Plan",
      mail: Commands.mail(mail),
      batches: splitByLimits(recipients, capabilities),
      pipelining: capabilities.pipelining ? pipelining : "off",
      policy: options.recipients
    },
    circumstances
  )
}

/**
 * What to do next.
 *
 * - `Submit`: write these commands
 * - `Wait`: for more replies
 * - `Content`: the content is due, and owed to those who were accepted
 * - `Decline`: 354 came with nobody accepted: a single dot, whose reply is no acceptance (RFC 2920 section 3.1)
 * - `Done`: no reply is missing; `reset` when the server may still hold the envelope
 * - `Violated`: the server did what it may not, and nothing it says can be trusted
 * - `Stopped`: the content was refused before its end: what is left of it has no reader
 *
 * @since 0.1.0
 * @category models
 */
export type Step =
  | { readonly _tag: "Submit"; readonly commands: ReadonlyArray<Command> }
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Content" }
  | { readonly _tag: "Decline" }
  | { readonly _tag: "Done"; readonly reset: boolean }
  | { readonly _tag: "Violated"; readonly reason: string }
  | { readonly _tag: "Stopped" }

/**
 * What is known of one recipient. `Open` is not decided; `Overflow` was one too many for this transaction;
 * `Held` was not refused, but somebody else was, under `"all"`.
 *
 * @since 0.1.0
 * @category models
 */
export type Verdict =
  | { readonly _tag: "Accepted"; readonly reply: Reply }
  | { readonly _tag: "Refused"; readonly reply: Reply; readonly phase: Phase }
  | { readonly _tag: "Overflow"; readonly reply: Reply }
  | { readonly _tag: "Held" }
  | { readonly _tag: "Open" }

/**
 * How far the content has got: `Complete` from the moment that its last octet was handed to the socket.
 *
 * @since 0.1.0
 * @category models
 */
export type Progress = "None" | "Flowing" | "Complete" | "Declined"

/**
 * A transaction under way.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transaction {
  readonly start: () => Step
  /** Takes the replies in the order of the commands. */
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
 *
 * @since 0.1.0
 * @category predicates
 */
export const isOverflow = (reply: Reply, acceptedBefore: number): boolean => {
  if (acceptedBefore === 0 || !isRefusal(reply)) return false
  if (reply.enhancedCode !== undefined) return hasDetail(reply, 5, 3)
  return reply.code === 452 || (reply.code === 552 && acceptedBefore >= 100)
}

const wait: Step = { _tag: "Wait" }
const open: Verdict = { _tag: "Open" }
const acceptedEarly: Step = {
  _tag: "Violated",
  reason: "the message was accepted before its end was sent"
}

// RFC 2033 section 4.2: no recipient, no 354; and how many replies a dot would get there is anybody's guess.
const openData = (accepted: number, dialect: "smtp" | "lmtp"): Step => {
  if (accepted > 0) return { _tag: "Content" }
  return dialect === "smtp"
    ? { _tag: "Decline" }
    : { _tag: "Violated", reason: "DATA was opened though no recipient was accepted" }
}

const submitOne = (command: Command): Step => ({ _tag: "Submit", commands: [command] })

/**
 * A transaction for one batch of a plan.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  { mail, pipelining, policy }: Omit<Plan, "batches">,
  recipients: ReadonlyArray<PlannedRecipient>,
  dialect: "smtp" | "lmtp"
): Transaction => {
  const rcptReplies: Array<Reply> = []
  const finals: Array<Reply> = []
  let mailReply: Reply | undefined
  let dataReply: Reply | undefined
  let accepted = 0
  let progress: Progress = "None"

  const done = (reset: boolean): Step => ({ _tag: "Done", reset })

  const start = (): Step => {
    switch (pipelining) {
      case "off":
        return submitOne(mail)
      case "envelope":
        return { _tag: "Submit", commands: [mail, ...recipients.map(({ command }) => command)] }
      case "data":
        return {
          _tag: "Submit",
          commands: [mail, ...recipients.map(({ command }) => command), Commands.data]
        }
    }
  }

  const afterEnvelope = (): Step => {
    if (pipelining === "data") return wait
    const heldBack = policy === "all" && accepted < recipients.length
    if (accepted === 0 || heldBack) return done(true)
    return submitOne(Commands.data)
  }

  const afterMail = (meaning: Meaning): Step => {
    const first = recipients[0]
    if (pipelining !== "off" || first === undefined) return wait
    return meaning === "Refusal" ? done(true) : submitOne(first.command)
  }

  const afterRcpt = (reply: Reply, meaning: Meaning): Step => {
    rcptReplies.push(reply)
    if (meaning === "Success") accepted++
    const next = recipients[rcptReplies.length]
    if (next === undefined) return afterEnvelope()
    return pipelining === "off" ? submitOne(next.command) : wait
  }

  const afterData = (meaning: Meaning): Step =>
    meaning === "Refusal" ? done(true) : openData(accepted, dialect)

  const afterFinal = (reply: Reply, meaning: Meaning, more: boolean): Step => {
    if (progress === "Declined") return done(false)
    if (progress !== "Complete" && meaning !== "Refusal") return acceptedEarly
    finals.push(reply)
    if (more) return wait
    if (progress === "Flowing") return { _tag: "Stopped" }
    return done(meaning === "Refusal")
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
      default:
        return afterFinal(reply, meaning, more)
    }
  }

  const repliesPerRecipient = (): boolean => dialect === "lmtp" && progress === "Complete"

  const finalPhase = (): Phase => (progress === "Flowing" ? "content" : "final")

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
    const final = progress === "Declined" ? undefined : finals[repliesPerRecipient() ? acceptedBefore : 0]
    if (final === undefined) return open
    return isRefusal(final)
      ? { _tag: "Refused", reply: final, phase: finalPhase() }
      : { _tag: "Accepted", reply: final }
  }

  return {
    start,
    replied,
    contentBegun: () => {
      progress = "Flowing"
    },
    contentComplete: () => {
      progress = accepted === 0 ? "Declined" : "Complete"
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

/**
 * The content of a transaction whose envelope the program has sent by hand.
 *
 * @since 0.1.0
 * @category models
 */
export interface DataTransaction extends Omit<Transaction, "verdicts"> {
  /** The replies to the content, or the one that refused DATA; `declined` if nobody was there to get it. */
  readonly result: () => { readonly replies: ReadonlyArray<Reply>; readonly declined: boolean }
  /** The refusal that counts for everybody. */
  readonly refusal: () => { readonly reply: Reply; readonly phase: Phase } | undefined
}

/**
 * DATA and its content, for as many recipients as have been accepted.
 *
 * @since 0.1.0
 * @category constructors
 */
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
    if (progress !== "Complete" && meaning !== "Refusal") return acceptedEarly
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
 *
 * @since 0.1.0
 * @category accessors
 */
export const queueId = (reply: Reply): string | undefined => {
  for (const pattern of queueIdPatterns) {
    const id = pattern.exec(reply.text)?.[1]?.replace(/\.+$/, "")
    if (id !== undefined && /\d/.test(id)) return id
  }
  return undefined
}
