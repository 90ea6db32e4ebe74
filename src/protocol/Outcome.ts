/**
 * What became of a message, decided in one place: for one recipient, over several attempts, for the session, and for
 * the error of `send`. Each rule is a row of the table in test/protocol/Outcome.test.ts. Unknown begins when the last
 * octet is handed to the socket (phase `final`), is never improved by a failure, and is never retried unasked.
 */
import type { Phase } from "./Command.js"
import { isUnknown } from "./Command.js"
import type { Reply } from "./Reply.js"
import { hasDetail, isPermanent, isRefusal, isSuccess, isTransient as isTransientReply } from "./Reply.js"
import type { Verdict } from "./Transaction.js"

export type Fate =
  | { readonly _tag: "Accepted"; readonly reply: Reply }
  | { readonly _tag: "Refused"; readonly reply: Reply; readonly phase: Phase }
  | { readonly _tag: "NotSent" }
  | { readonly _tag: "Unknown" }

interface ErrorFields {
  readonly phase?: Phase
  readonly reply?: Reply | undefined
  readonly reason?: string
  readonly cause?: unknown
  readonly extension?: string
  readonly isOfSend?: boolean | undefined
  readonly policy?: "any" | "all"
  readonly recipients?: ReadonlyArray<{ readonly reply: Reply }>
}

// What the system says of a name that does not exist; a name server that does not answer is EAI_AGAIN.
const isNoSuchHost = (cause: unknown): boolean =>
  typeof cause === "object" && cause !== null && "code" in cause && cause.code === "ENOTFOUND"

const hasTransientReply = ({ reply }: ErrorFields): boolean => reply !== undefined && isTransientReply(reply)

/**
 * One row for each error: whether the same attempt may succeed later, if nothing is Unknown, and whether another relay
 * is of use, since this one could not be used or cannot do what was asked.
 */
const errors = {
  ConnectError: {
    isTransient: ({ cause, reason, reply }: ErrorFields) =>
      reply === undefined ? reason !== "Greeting" && !isNoSuchHost(cause) : isTransientReply(reply),
    otherRelay: true
  },
  TlsError: {
    isTransient: ({ reason }: ErrorFields) =>
      reason === "Disconnected" || reason === "Timeout" || reason === "OfferVanished",
    otherRelay: true
  },
  ServerDisconnected: {
    isTransient: ({ reply }: ErrorFields) => reply === undefined || !isPermanent(reply),
    otherRelay: true
  },
  ReplyTimeout: { isTransient: () => true, otherRelay: true },
  // What ends a session before the message has begun says nothing of the message.
  ProtocolError: { isTransient: ({ phase }: ErrorFields) => phase === "rset", otherRelay: true },
  HeloError: { isTransient: hasTransientReply, otherRelay: true },
  CommandRefused: { isTransient: hasTransientReply, otherRelay: true },
  AuthenticationError: {
    isTransient: ({ reason }: ErrorFields) => reason === "Temporary" || reason === "TokenUnavailable",
    otherRelay: true
  },
  NotSupported: { isTransient: () => false, otherRelay: true },
  SenderRefused: { isTransient: hasTransientReply, otherRelay: false },
  RecipientsRefused: {
    isTransient: ({ policy, recipients = [] }: ErrorFields) =>
      policy === "all" ? recipients.every(hasTransientReply) : recipients.some(hasTransientReply),
    otherRelay: false
  },
  DataError: { isTransient: hasTransientReply, otherRelay: false },
  ContentError: { isTransient: () => false, otherRelay: false },
  InvalidArgument: { isTransient: () => false, otherRelay: false },
  ClientUnavailable: { isTransient: ({ reason }: ErrorFields) => reason !== "Closed", otherRelay: false }
}

/** What an error says of itself; the classes of SmtpError have this shape. */
export interface ErrorFacts extends ErrorFields {
  readonly _tag: keyof typeof errors
}

/** One outcome of a receipt. */
export type OutcomeFacts =
  | { readonly _tag: "Accepted"; readonly reply: Reply }
  | { readonly _tag: "Refused"; readonly reply: Reply; readonly phase: Phase }
  | { readonly _tag: "NotSent" | "Unknown"; readonly cause: ErrorFacts }

/** A receipt: its outcomes, and the same by kind. */
export interface ReceiptFacts {
  readonly outcomes: ReadonlyArray<OutcomeFacts>
  readonly accepted: ReadonlyArray<OutcomeFacts>
  readonly refused: ReadonlyArray<Extract<OutcomeFacts, { readonly _tag: "Refused" }>>
  readonly notSent: ReadonlyArray<{ readonly cause: ErrorFacts }>
  readonly unknown: ReadonlyArray<{ readonly cause: ErrorFacts }>
}

// -- one recipient

/**
 * How a session ended. `Disconnected` with a reply is the server's goodbye; `Unreached` is told to the commands behind
 * a refusal that named too many commands, if the server then hung up.
 */
export interface Ending {
  readonly _tag: "Disconnected" | "Expired" | "Violated" | "Abandoned" | "Unreached"
  readonly reply?: Reply | undefined
}

/** The end of a session as one transaction sees it; `final` if the server may have the whole message. */
export interface Loss<E extends Ending = Ending> {
  readonly failure: E
  readonly phase: Phase
}

/** What the server said last is no verdict on this message, though it was handed over whole. */
export const inDoubt = {
  _tag: "Disconnected",
  reply: undefined,
  cause: "the server said goodbye and gave no verdict on the message"
} as const

/**
 * `unanswered` is the phase of the oldest command without a reply, `isComplete` whether the last octet was handed to
 * the socket, `before` the phase to name if it was not and the reply to the content, or to nothing, was due.
 */
export const lossOf = <E extends Ending>(
  failure: E,
  unanswered: Phase | undefined,
  isComplete: boolean,
  before: Phase
): Loss<E | typeof inDoubt> => {
  const isUnread = failure._tag === "Unreached" && unanswered !== "final"
  if (isComplete && !isUnread) {
    // A goodbye is a verdict on the content only where that is the oldest thing without a reply.
    const isVerdict = failure._tag !== "Disconnected" || failure.reply === undefined || unanswered === "final"
    return { failure: isVerdict ? failure : inDoubt, phase: "final" }
  }
  return { failure, phase: unanswered === undefined || unanswered === "final" ? before : unanswered }
}

type Delivery = "NotSent" | "Refused" | "Unknown"

const afterLoss = (ending: Ending["_tag"], reply: Reply | undefined, phase: Phase): Delivery => {
  const isInContent = phase === "content" || phase === "final"
  if (ending === "Disconnected" && reply !== undefined && isRefusal(reply) && isInContent) return "Refused"
  // A server that says yes before the last octet may have kept what it had.
  const isTakenEarly = ending === "Violated" && phase === "content" && reply !== undefined && isSuccess(reply)
  // A server that does not know BDAT has read a chunk as commands.
  const isReadAsCommands =
    ending === "Violated" && phase === "bdat" && reply !== undefined && isUnknown(reply)
  return phase === "final" || isTakenEarly || isReadAsCommands ? "Unknown" : "NotSent"
}

const notSent: Fate = { _tag: "NotSent" }
const unknown: Fate = { _tag: "Unknown" }

/** What became of a recipient: the verdict of its transaction, and where that is open, what the end of the session says. */
export const outcomeOf = (verdict: Verdict, loss: Loss | undefined): Fate => {
  switch (verdict._tag) {
    case "Accepted":
    case "Refused":
      return verdict
    case "Overflow":
      return { _tag: "Refused", reply: verdict.reply, phase: "rcpt" }
    case "Held":
      return notSent
    case "Open": {
      if (loss === undefined) return notSent
      const { failure, phase } = loss
      const delivery = afterLoss(failure._tag, failure.reply, phase)
      if (delivery === "Refused" && failure.reply !== undefined)
        return { _tag: "Refused", reply: failure.reply, phase }
      return delivery === "Unknown" ? unknown : notSent
    }
  }
}

/** What an error says of the message behind it. */
export const deliveryOf = ({ _tag, phase = "idle", reply }: ErrorFacts): Delivery => {
  switch (_tag) {
    case "ServerDisconnected":
      return afterLoss("Disconnected", reply, phase)
    case "ReplyTimeout":
      return afterLoss("Expired", undefined, phase)
    case "ProtocolError":
      return afterLoss("Violated", reply, phase)
    case "SenderRefused":
    case "RecipientsRefused":
    case "DataError":
      return "Refused"
    default:
      return "NotSent"
  }
}

// -- further attempts

/**
 * What stands after a further attempt: a message that may have been delivered stays Unknown until a server says that
 * it has it, and an attempt that did not get far takes back nothing that a server has said.
 */
export const later = <Earlier extends OutcomeFacts, Next extends OutcomeFacts>(
  earlier: Earlier | undefined,
  next: Next
): Earlier | Next => {
  switch (earlier?._tag) {
    case undefined:
      return next
    case "Accepted":
      return earlier
    case "Unknown":
      return next._tag === "Accepted" ? next : earlier
    case "Refused":
      return next._tag === "NotSent" ? earlier : next
    case "NotSent":
      return next._tag === "NotSent" && next.cause._tag === "ClientUnavailable" ? earlier : next
  }
}

/** Who may try again for a recipient. */
export interface Retries {
  /** The same relay, later. */
  readonly sameRelay: boolean
  /** Another relay, at once. */
  readonly otherRelay: boolean
}

const nobody: Retries = { sameRelay: false, otherRelay: false }
const sameRelay: Retries = { sameRelay: true, otherRelay: false }

/** `mayDuplicate` is the program's word that a message may be sent again where it may have been delivered. */
export const retries = (outcome: OutcomeFacts, mayDuplicate: boolean): Retries => {
  switch (outcome._tag) {
    case "Accepted":
      return nobody
    case "Refused":
      return isPermanent(outcome.reply) ? nobody : sameRelay
    case "NotSent":
      return isEndOfSend(outcome) ? nobody : afterError(outcome.cause)
    case "Unknown":
      return mayDuplicate ? sameRelay : nobody
  }
}

const afterError = (error: ErrorFacts): Retries => {
  // A client that is full or closed stays so for this message; the store of a rate limit may come back.
  const isLasting = error._tag === "ClientUnavailable" && error.reason !== "RateLimitStore"
  return {
    sameRelay: !isLasting && isTransient(error),
    otherRelay: errors[error._tag].otherRelay
  }
}

/** Whether the limit of the whole send has run out: it is over, whatever may do better. */
export const isEndOfSend = (outcome: OutcomeFacts): boolean =>
  (outcome._tag === "NotSent" || outcome._tag === "Unknown") &&
  outcome.cause._tag === "ReplyTimeout" &&
  outcome.cause.isOfSend === true

/** Whether the same attempt may succeed later; never where the message may have been delivered. */
export const isTransient = (error: ErrorFacts): boolean =>
  deliveryOf(error) !== "Unknown" && errors[error._tag].isTransient(error)

/** Whether this session has no transaction left for the recipient (RFC 9422 MAILMAX), and another may have. */
export const needsAnotherSession = (outcome: OutcomeFacts): boolean =>
  outcome._tag === "NotSent" && outcome.cause._tag === "NotSupported" && outcome.cause.extension === "LIMITS"

/** Whether the server announced CHUNKING and does not know BDAT: by DATA it may take the message. */
export const lacksBdat = (outcome: OutcomeFacts): boolean =>
  outcome._tag === "Refused" && outcome.phase === "bdat" && isUnknown(outcome.reply)

/** Whether a command behind the first of a group had no reply, and no content: alone it may have one. */
export const losesPipelined = (outcome: OutcomeFacts): boolean =>
  outcome._tag === "NotSent" &&
  outcome.cause._tag === "ReplyTimeout" &&
  outcome.cause.isOfSend !== true &&
  (outcome.cause.phase === "rcpt" || outcome.cause.phase === "data")

const beforeContent: ReadonlySet<Phase | undefined> = new Set(["idle", "rset", "mail", "rcpt", "data"])

/**
 * Whether the session was lost before anything of the content had left: one that had died while it was idle shows
 * itself so, and costs the message nothing.
 */
export const hadNotBegun = ({ outcomes }: ReceiptFacts): boolean =>
  outcomes.every(
    (outcome) =>
      outcome._tag === "NotSent" && isDisconnection(outcome) && beforeContent.has(outcome.cause.phase)
  )

// -- the session

const isDisconnection = ({ cause: { _tag } }: { readonly cause: ErrorFacts }): boolean =>
  _tag === "ServerDisconnected" || _tag === "ReplyTimeout" || _tag === "ProtocolError"

/**
 * What becomes of a session after a message: the next may use it (`clean`), once NOOP has proven it (`prove`), or not
 * at all (`spent`). On a shared session the transaction that stands may be that of another message.
 */
export const leaves = (
  { notSent, unknown }: ReceiptFacts,
  session: "Greeted" | "Ready" | "Transaction" | "Closed",
  isShared: boolean
): "clean" | "prove" | "spent" => {
  if (session === "Closed") return "spent"
  const isAtRest = session === "Ready" || (session === "Transaction" && isShared)
  return isAtRest && unknown.length === 0 && !notSent.some(isDisconnection) ? "clean" : "prove"
}

/**
 * Why a session is closed after a message: the server said so, it failed, or it was lost once the message had its
 * replies.
 */
export const endOfSession = ({ notSent, refused, unknown }: ReceiptFacts): "goodbye" | "failed" | "lost" => {
  const isGoodbye = ({ cause: { _tag, reply } }: { readonly cause: ErrorFacts }): boolean =>
    _tag === "ServerDisconnected" && reply !== undefined
  if (refused.some(({ reply }) => reply.code === 421)) return "goodbye"
  if (notSent.some(isGoodbye) || unknown.some(isGoodbye)) return "goodbye"
  return notSent.length + unknown.length > 0 ? "failed" : "lost"
}

// -- the relay

/** What is known of a session before a message uses it. */
export interface SessionHistory {
  /** Whether a message was accepted on it. */
  readonly hasDelivered: boolean
  /** Whether it replaces one that did not do for this message. */
  readonly isReplacement: boolean
}

/** What a message says of its session and relay, besides what became of it. */
export interface Signs {
  /** The relay takes no messages for now: a reply that says so, or the end of a session that had done nothing. */
  readonly unwilling: { readonly phase: Phase; readonly reply: Reply | undefined } | undefined
  /** For whom this session does not do any more, while a new one may. */
  readonly isWornOut: (outcome: OutcomeFacts) => boolean
}

/** 4yz that speaks of the server (x.3.2, x.4.5), or of a MAIL whose sender is not at fault. */
const isOfSession = (reply: Reply, phase: Phase): boolean =>
  isTransientReply(reply) &&
  (isThrottle(reply) || (phase === "mail" && !isOfSender(reply) && reply.code !== 421))

/** The server takes nothing for now, or is congested (RFC 3463). */
export const isThrottle = (reply: Reply): boolean => hasDetail(reply, 3, 2) || hasDetail(reply, 4, 5)

const isOfSender = ({ enhancedCode }: Reply): boolean =>
  enhancedCode !== undefined && (enhancedCode.subject === 1 || enhancedCode.subject === 2)

/**
 * What one reply says of the relay. A refused recipient says nothing, and neither does a session that was idle for too long;
 * a session that has delivered may have reached a limit of its own, and a new one shows whether it was that.
 */
const isUnwilling = (
  reply: Reply,
  phase: Phase,
  { hasDelivered, isReplacement }: SessionHistory
): boolean => {
  if (reply.code === 421) return !(hasDelivered && !isReplacement && hasDetail(reply, 4, 2))
  if (!isTransientReply(reply) || phase === "rcpt") return false
  if (!isOfSession(reply, phase)) return isPolicy(reply)
  return isReplacement || (!hasDelivered && (isThrottle(reply) || isPolicy(reply)))
}

const isPolicy = ({ enhancedCode }: Reply): boolean => enhancedCode?.subject === 7

export const signsOf = (receipt: ReceiptFacts, history: SessionHistory): Signs => {
  let unwilling: Signs["unwilling"]
  for (const outcome of receipt.outcomes) {
    const said = saidOf(outcome)
    if (said !== undefined && isUnwilling(said.reply, said.phase, history)) unwilling ??= said
  }
  if (history.isReplacement && receipt.accepted.length === 0 && hadNotBegun(receipt))
    unwilling ??= { phase: "idle", reply: undefined }
  return {
    unwilling,
    isWornOut: (outcome) =>
      history.hasDelivered &&
      outcome._tag === "Refused" &&
      outcome.reply.code !== 421 &&
      isOfSession(outcome.reply, outcome.phase)
  }
}

const saidOf = (outcome: OutcomeFacts): { readonly phase: Phase; readonly reply: Reply } | undefined => {
  if (outcome._tag === "Accepted") return undefined
  const { phase = "idle", reply } = outcome._tag === "Refused" ? outcome : outcome.cause
  return reply === undefined ? undefined : { phase, reply }
}

// -- the whole message

/**
 * The outcome that counts for the message: Accepted if anybody was; else the most doubtful, so that a retry on
 * transient errors can never deliver it twice.
 */
export const overall = ({ accepted, notSent, unknown }: ReceiptFacts): Fate["_tag"] => {
  if (accepted.length > 0) return "Accepted"
  if (unknown.length > 0) return "Unknown"
  return notSent.length > 0 ? "NotSent" : "Refused"
}

/** What the refusals of a message that nobody accepted come to. */
export type Refusal =
  | { readonly _tag: "SenderRefused"; readonly reply: Reply }
  | { readonly _tag: "DataError"; readonly reply: Reply; readonly phase: Phase }
  | { readonly _tag: "RecipientsRefused" }

export const refusalOf = (refused: ReceiptFacts["refused"]): Refusal | undefined => {
  const [first] = refused
  if (first === undefined) return undefined
  if (first.phase === "mail") return { _tag: "SenderRefused", reply: first.reply }
  const ofMessage = refused.find(({ phase }) => phase !== "rcpt")
  const finals = new Set(refused.filter(({ phase }) => phase === "final").map(({ reply }) => reply))
  // Several replies to one message are those of LMTP, one for each recipient.
  return ofMessage !== undefined && finals.size <= 1
    ? { _tag: "DataError", reply: ofMessage.reply, phase: ofMessage.phase }
    : { _tag: "RecipientsRefused" }
}
