/**
 * Reads the envelope that a program gave, and plans the commands of its transactions from what the server offers and
 * what the content needs. It sends nothing. RFC 5321 section 3.3, RFC 1870, RFC 6152, RFC 6531, RFC 9422.
 */
import type { Capabilities } from "./Capabilities.js"
import { exceedsSize } from "./Capabilities.js"
import type { Command } from "./Command.js"
import * as Commands from "./Command.js"
import type { Invalid } from "./Invalid.js"
import { invalid, isInvalid } from "./Invalid.js"
import type { Mailbox } from "./Mailbox.js"
import * as Mailboxes from "./Mailbox.js"
import type { MailParameters, RecipientParameters, Unsupported } from "./Parameters.js"
import { unsupported } from "./Parameters.js"
import { mailParameters, recipientParameters } from "./ParameterLine.js"
import type { Framing } from "./Content.js"

/**
 * How much leaves in one write: each command alone; MAIL with every RCPT; these and DATA; or these and, where messages
 * wait, behind the content of the message before (RFC 2920 section 3.1).
 */
export type Pipelining = "off" | "envelope" | "data" | "overlap"

/**
 * How content goes out: by DATA; by BDAT once the envelope's replies are in; or by BDAT in the same write as the
 * envelope, which departs from the order of events in RFC 3030 section 4.
 */
export type Chunking = "off" | "on" | "eager"

/**
 * What of a transaction leaves before its first reply: one command, the envelope, the envelope with DATA, or the
 * envelope with its content.
 */
export type Ahead = "command" | "envelope" | "data" | "content"

/** Whether the message goes to whoever is accepted, or to everybody or nobody. */
export type RecipientsPolicy = "any" | "all"

/** A recipient as the caller gave it. */
export interface RecipientInput extends RecipientParameters {
  readonly address: string
}

/** A recipient of the envelope. Equal recipients of the caller are one. */
export interface Recipient {
  readonly mailbox: Mailbox
  readonly parameters: RecipientParameters
  /** Which of the caller's recipients this one stands for. */
  readonly positions: ReadonlyArray<number>
}

/** An envelope whose addresses have been read. */
export interface Envelope {
  readonly sender: Mailbox | null
  readonly parameters: MailParameters
  readonly recipients: ReadonlyArray<Recipient>
}

/** Equal for values that mean the same: the order of fields does not matter, nor that of a list of texts. */
const fingerprint = (value: unknown): string => {
  if (value instanceof Date) return `${value.getTime()}`
  if (Array.isArray(value)) {
    const items = Array.from<unknown, string>(value, fingerprint)
    return `[${(value.every((item) => typeof item === "string") ? [...new Set(items)].sort() : items).join()}]`
  }
  if (typeof value !== "object" || value === null) return JSON.stringify(String(value))
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  return `{${fields
    .map(([name, field]) => `${name}:${fingerprint(field)}`)
    .sort()
    .join()}}`
}

const noParameters: RecipientParameters = {}

const parseRecipient = (address: string, position: number): Mailbox | Invalid =>
  Mailboxes.parsePlain(address) ?? Mailboxes.parseForwardPath(address, `to[${position}]`)

/** Reads the envelope that a caller gave: each address, and that equal recipients ask for the same. */
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
    const mailbox = parseRecipient(input.address, position)
    if (isInvalid(mailbox)) return mailbox
    const own = recipientParameters.isEmpty(input) ? noParameters : recipientParameters.pick(input)
    const identity = Mailboxes.identity(mailbox)
    const known = byIdentity.get(identity)
    if (known === undefined) {
      byIdentity.set(identity, { mailbox, parameters: own, positions: [position] })
    } else if (fingerprint(known.parameters) === fingerprint(own)) {
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

/** What is known of the content before MAIL. `undefined` is not known. */
export interface ContentFacts {
  /** Octets with CRLF line ends and without stuffed dots (RFC 1870 section 3): exact, or the caller's estimate. */
  readonly octets: number | undefined
  readonly eightBit: boolean | undefined
  /** Whether the header goes beyond ASCII in UTF-8. */
  readonly utf8Header: boolean | undefined
}

/** What a plan depends on besides the message. */
export interface PlanContext {
  readonly capabilities: Capabilities
  readonly dialect: "smtp" | "lmtp"
  /** Whether the session runs over TLS with a verified certificate. */
  readonly verifiedTls: boolean
  /** How many MAIL commands the session has sent (RFC 9422 section 4). */
  readonly mails: number
  /** Whether the server has just answered: on a connection that died while idle, eager content would be Unknown. */
  readonly isAwake: boolean
  /** The time in milliseconds since 1970, for parameters that are checked against it. */
  readonly now: number
  readonly pipelining: Pipelining
  readonly chunking: Chunking
  readonly recipients: RecipientsPolicy
}

/** A recipient with its command. */
export interface PlannedRecipient extends Recipient {
  readonly command: Command
}

/**
 * The commands of a transaction. `batches` has more than one entry where the server's LIMITS ask for several
 * transactions.
 */
export interface Plan {
  readonly _tag: "Plan"
  /** What the server offered when the plan was made. */
  readonly capabilities: Capabilities
  readonly mail: Command
  readonly batches: ReadonlyArray<ReadonlyArray<PlannedRecipient>>
  readonly framing: Framing
  readonly ahead: Ahead
  readonly policy: RecipientsPolicy
  /** Whether the server was told, or takes it for granted, that no octet is over 127 (RFC 6152). */
  readonly requires7bit: boolean
}

const bodyOf = (
  { parameters: { body } }: Envelope,
  { eightBit }: ContentFacts,
  { eightBitMime }: Capabilities,
  framing: Framing
): MailParameters["body"] | Invalid | Unsupported => {
  if (body === "BINARYMIME" && framing === "data")
    return unsupported(
      "CHUNKING",
      "BINARYMIME goes by BDAT alone, which the server or the option chunking rules out"
    )
  if (body === "7BIT" && eightBit === true)
    return invalid("parameters.body", "is 7BIT, and the content is not")
  if (body !== undefined || eightBit === false) return body
  if (eightBitMime) return "8BITMIME"
  return eightBit === true
    ? unsupported("8BITMIME", "the content has 8-bit bytes; encode it as base64 or quoted-printable")
    : unsupported("8BITMIME", "the content stream may have 8-bit bytes; set content7bit if it has none")
}

const needsSmtpUtf8 = (envelope: Envelope, facts: ContentFacts): string | undefined => {
  const { recipients, sender } = envelope
  if (sender?.needsSmtpUtf8 === true || recipients.some(({ mailbox }) => mailbox.needsSmtpUtf8)) {
    return "an address has characters beyond ASCII before its @, and the server accepts none"
  }
  return facts.utf8Header === true
    ? "the header has characters beyond ASCII, and the server accepts none; use encoded words"
    : undefined
}

const parametersFor = (
  envelope: Envelope,
  facts: ContentFacts,
  { capabilities }: PlanContext,
  framing: Framing
): MailParameters | Invalid | Unsupported => {
  const given = envelope.parameters
  const need = needsSmtpUtf8(envelope, facts)
  if (need !== undefined && !capabilities.smtpUtf8) return unsupported("SMTPUTF8", need)
  const body = bodyOf(envelope, facts, capabilities, framing)
  if (typeof body === "object") return body
  const size = facts.octets ?? given.size
  if (size !== undefined && exceedsSize(capabilities, size)) {
    return unsupported(
      "SIZE",
      `the message has ${size} bytes, and the server accepts ${capabilities.size ?? 0}`
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
  if (limits.rcptMax === undefined && limits.rcptDomainMax === undefined) return [recipients]
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
  { capabilities, dialect, mails }: PlanContext
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
    return unsupported("LIMITS", mailMaxReached(mailMax))
  }
  return plan
}

/** What is to be said when a session has no MAIL left (RFC 9422 section 4). */
export const mailMaxReached = (mailMax: number): string =>
  `this session has used up its ${mailMax} MAIL commands (MAILMAX); open another`

// No RFC says how many replies a refused chunk has in LMTP.
const framingOf = ({ capabilities, chunking, dialect }: PlanContext): Framing =>
  chunking !== "off" && capabilities.chunking && dialect === "smtp" ? "bdat" : "data"

const aheadOf = (
  recipients: number,
  framing: Framing,
  { capabilities, chunking, isAwake, pipelining, recipients: policy }: PlanContext
): Ahead => {
  if (pipelining === "off" || !capabilities.pipelining) return "command"
  // Under "all" the server must not be able to accept the message before it has accepted every recipient.
  if (policy === "all" && recipients > 1) return "envelope"
  if (framing === "bdat") return chunking === "eager" && isAwake ? "content" : "envelope"
  return pipelining === "envelope" ? "envelope" : "data"
}

/**
 * Plans the commands of an envelope: each parameter checked against what the server offers, SIZE, BODY and
 * SMTPUTF8 added by need, recipients divided by the server's LIMITS. Nothing has been sent when it refuses.
 */
export const plan = (
  envelope: Envelope,
  facts: ContentFacts,
  context: PlanContext
): Plan | Invalid | Unsupported => {
  const { capabilities, now, verifiedTls } = context
  const framing = framingOf(context)
  const parameters = parametersFor(envelope, facts, context, framing)
  if ("_tag" in parameters) return parameters
  const known = { capabilities, tls: verifiedTls, now }
  const mail = mailParameters.line(Mailboxes.toPath(envelope.sender), parameters, known, "parameters")
  if (typeof mail !== "string") return mail
  const recipients: Array<PlannedRecipient> = []
  for (const { mailbox, parameters: own, positions } of envelope.recipients) {
    const line = recipientParameters.line(Mailboxes.toPath(mailbox), own, known, `to[${positions[0] ?? 0}]`)
    if (typeof line !== "string") return line
    recipients.push({ mailbox, parameters: own, positions, command: Commands.rcpt(line) })
  }
  return withinLimits(
    {
      _tag: "Plan",
      capabilities,
      mail: Commands.mail(mail),
      batches: splitByLimits(recipients, capabilities),
      framing,
      ahead: aheadOf(recipients.length, framing, context),
      policy: context.recipients,
      requires7bit:
        parameters.body === "7BIT" || (parameters.body === undefined && !capabilities.eightBitMime)
    },
    context
  )
}
