/**
 * The specification of outcomes: what became of a recipient, who may try again, and what becomes of the session. The
 * rules are those of protocol/Outcome, over the transactions of protocol/Transaction.
 */
import { describe, expect, it } from "@effect/vitest"
import type { Failure } from "../../src/internal/session/driver.js"
import { disconnection } from "../../src/internal/session/failure.js"
import { RecentLines } from "../../src/internal/session/recentLines.js"
import type { Command, Phase } from "../../src/protocol/Command.js"
import * as Commands from "../../src/protocol/Command.js"
import type { Framing } from "../../src/protocol/Content.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import * as Mailboxes from "../../src/protocol/Mailbox.js"
import * as Outcomes from "../../src/protocol/Outcome.js"
import type { Reply } from "../../src/protocol/Reply.js"
import { make as makeReply } from "../../src/protocol/Reply.js"
import * as Transactions from "../../src/protocol/Transaction.js"
import * as SmtpError from "../../src/SmtpError.js"
import * as SmtpReceipt from "../../src/SmtpReceipt.js"

/*
 * - the server: its reply, or how the connection ended; "goodbye before" is a 421 to an earlier command, "too many
 *   commands" a refusal of RSET that says so, behind which the server hangs up
 * - to: the oldest command that has no reply; "dot" is the end of the content after DATA
 * - sent: whether nothing, a part or all of the message was handed to the socket
 * - same relay, other relay: whether it is tried again there, if a retry is asked for
 * - session: clean (the next message may use it), prove (NOOP first), or spent
 */
const recipients = `
  server                 | to        | sent | outcome  | same relay | other relay | session
  -----------------------|-----------|------|----------|------------|-------------|---------
  451 4.7.1 greylisted   | MAIL      | none | Refused  | yes        | no          | clean
  550 5.7.1 not you      | MAIL      | none | Refused  | no         | no          | clean
  450 4.2.1 busy         | RCPT      | none | Refused  | yes        | no          | clean
  550 5.1.1 no such user | RCPT      | none | Refused  | no         | no          | clean
  451 4.3.0 later        | DATA      | none | Refused  | yes        | no          | clean
  554 5.0.0 no           | DATA      | none | Refused  | no         | no          | clean
  452 4.3.1 disk full    | content   | part | Refused  | yes        | no          | spent
  552 5.3.4 too large    | content   | part | Refused  | no         | no          | spent
  250 2.0.0 queued       | content   | part | Unknown  | no         | no          | spent
  452 4.3.1 disk full    | BDAT      | part | Refused  | yes        | no          | clean
  552 5.3.4 too large    | BDAT      | part | Refused  | no         | no          | clean
  500 5.5.1 what         | BDAT      | part | Refused  | no         | no          | spent
  502 5.5.1 no BDAT here | BDAT      | part | Refused  | no         | no          | spent
  500 5.5.1 what         | BDAT LAST | all  | Refused  | no         | no          | spent
  250 2.0.0 queued       | dot       | all  | Accepted | no         | no          | clean
  252 2.0.0 perhaps      | dot       | all  | Accepted | no         | no          | clean
  221 2.0.0 closing      | dot       | all  | Unknown  | no         | no          | spent
  220 2.0.0 ready        | dot       | all  | Unknown  | no         | no          | spent
  211 2.0.0 status       | dot       | all  | Unknown  | no         | no          | spent
  214 2.0.0 help         | dot       | all  | Unknown  | no         | no          | spent
  235 2.7.0 logged in    | dot       | all  | Unknown  | no         | no          | spent
  251 2.1.5 forwarded    | dot       | all  | Accepted | no         | no          | clean
  354 go on              | dot       | all  | Unknown  | no         | no          | spent
  451 4.3.0 later        | dot       | all  | Refused  | yes        | no          | clean
  554 5.6.0 spam         | dot       | all  | Refused  | no         | no          | clean
  250 2.0.0 queued       | BDAT LAST | all  | Accepted | no         | no          | clean
  221 2.0.0 closing      | BDAT LAST | all  | Unknown  | no         | no          | spent
  220 2.0.0 ready        | BDAT LAST | all  | Unknown  | no         | no          | spent
  221 2.0.0 closing      | BDAT      | part | NotSent  | yes        | yes         | spent
  220 2.0.0 ready        | BDAT      | part | NotSent  | no         | yes         | spent
  554 5.6.0 spam         | BDAT LAST | all  | Refused  | no         | no          | clean

  221 2.0.0 closing      | MAIL      | none | NotSent  | yes        | yes         | spent
  221 2.0.0 closing      | RCPT      | none | NotSent  | yes        | yes         | spent
  221 2.0.0 closing      | DATA      | none | NotSent  | yes        | yes         | spent

  421 4.3.2 closing      | nothing   | none | NotSent  | yes        | yes         | spent
  554 5.3.2 closing      | nothing   | none | NotSent  | no         | yes         | spent
  250 OK                 | nothing   | none | NotSent  | no         | yes         | spent
  421 4.3.2 closing      | MAIL      | none | NotSent  | yes        | yes         | spent
  421 4.3.2 closing      | RCPT      | none | NotSent  | yes        | yes         | spent
  421 4.3.2 closing      | DATA      | none | NotSent  | yes        | yes         | spent
  421 4.3.2 closing      | content   | part | Refused  | yes        | no          | spent
  421 4.3.2 closing      | BDAT      | part | NotSent  | yes        | yes         | spent
  421 4.3.2 closing      | dot       | all  | Refused  | yes        | no          | spent
  421 4.3.2 closing      | BDAT LAST | all  | Refused  | yes        | no          | spent
  421 4.3.2 closing      | MAIL      | all  | Unknown  | no         | no          | spent
  421 4.3.2 closing      | RCPT      | all  | Unknown  | no         | no          | spent
  goodbye before         | MAIL      | none | NotSent  | yes        | yes         | spent
  goodbye before         | MAIL      | all  | Unknown  | no         | no          | spent
  too many commands      | MAIL      | all  | NotSent  | yes        | yes         | spent
  too many commands      | dot       | all  | Unknown  | no         | no          | spent
  goodbye before         | dot       | all  | Unknown  | no         | no          | spent

  end of stream          | nothing   | none | NotSent  | yes        | yes         | spent
  end of stream          | MAIL      | none | NotSent  | yes        | yes         | spent
  end of stream          | RCPT      | none | NotSent  | yes        | yes         | spent
  end of stream          | DATA      | none | NotSent  | yes        | yes         | spent
  end of stream          | content   | part | NotSent  | yes        | yes         | spent
  end of stream          | BDAT      | part | NotSent  | yes        | yes         | spent
  end of stream          | BDAT LAST | part | NotSent  | yes        | yes         | spent
  end of stream          | MAIL      | all  | Unknown  | no         | no          | spent
  end of stream          | BDAT      | all  | Unknown  | no         | no          | spent
  end of stream          | dot       | all  | Unknown  | no         | no          | spent
  end of stream          | BDAT LAST | all  | Unknown  | no         | no          | spent
  no reply in time       | RCPT      | none | NotSent  | yes        | yes         | spent
  no reply in time       | content   | part | NotSent  | yes        | yes         | spent
  no reply in time       | dot       | all  | Unknown  | no         | no          | spent
  no reply at all        | RCPT      | none | NotSent  | no         | yes         | spent
  no reply at all        | content   | part | NotSent  | no         | yes         | spent
  no reply at all        | dot       | all  | Unknown  | no         | no          | spent

  interrupted            | nothing   | none | NotSent  | yes        | yes         | prove
  interrupted            | RCPT      | none | NotSent  | yes        | yes         | prove
  interrupted            | dot       | all  | Unknown  | no         | no          | prove
  destroyed              | content   | part | NotSent  | yes        | yes         | spent
  timeout of the send    | nothing   | none | NotSent  | no         | no          | prove
  timeout of the send    | dot       | all  | Unknown  | no         | no          | prove
`

const rowsOf = (table: string): ReadonlyArray<ReadonlyArray<string>> =>
  table
    .split("\n")
    .filter((line) => line.includes("|") && !line.includes("--|"))
    .slice(1)
    .map((line) => line.split("|").map((cell) => cell.trim()))

const mailbox = Mailboxes.parse("ann@example.net", "to")
if (isInvalid(mailbox)) throw new Error(mailbox.reason)

const rcpt = Commands.rcpt("RCPT TO:<ann@example.net>")
const chunk = Commands.bdat([new Uint8Array(1)], false)
const lastChunk = Commands.bdat([], true)

interface Point {
  /** The command that the reply answers, if it is one. */
  readonly command: Command | undefined
  readonly framing: Framing
  /** What has been answered before. */
  readonly before: ReadonlyArray<readonly [command: Command, code: number]>
}

const mail = Commands.mail("MAIL FROM:<>")
const envelope = [
  [mail, 250],
  [rcpt, 250]
] as const
const opened = [...envelope, [Commands.data, 354]] as const

const points: Readonly<Record<string, Point>> = {
  nothing: { command: undefined, framing: "data", before: [] },
  MAIL: { command: mail, framing: "data", before: [] },
  RCPT: { command: rcpt, framing: "data", before: [[mail, 250]] },
  DATA: { command: Commands.data, framing: "data", before: envelope },
  content: { command: Commands.final, framing: "data", before: opened },
  dot: { command: Commands.final, framing: "data", before: opened },
  BDAT: { command: chunk, framing: "bdat", before: envelope },
  "BDAT LAST": { command: lastChunk, framing: "bdat", before: envelope }
}

const ends: Readonly<Record<string, Failure>> = {
  "end of stream": { _tag: "Disconnected", reply: undefined, cause: undefined },
  "goodbye before": Outcomes.inDoubt,
  "too many commands": { _tag: "Unreached" },
  "no reply in time": { _tag: "Expired", phase: "rcpt", limitMillis: 1 },
  "no reply at all": { _tag: "Violated", reason: "it is no reply", reply: undefined, injection: false },
  interrupted: { _tag: "Abandoned", reason: "the send was interrupted" },
  destroyed: { _tag: "Abandoned", reason: "a message was abandoned in the middle of its content" },
  "timeout of the send": { _tag: "Expired", phase: "idle", limitMillis: 1, isOfSend: true }
}

// The session outlives who waits.
const survives = (server: string): boolean => server === "interrupted" || server === "timeout of the send"

const replyOf = (text: string): Reply | undefined =>
  /^\d/.test(text) ? makeReply(Number(text.slice(0, 3)), [text.slice(4)]) : undefined

/** How the session ends by a reply, if it does. */
const endBy = (reply: Reply, { command }: Point, isMidContent: boolean): Failure | undefined => {
  const violated: Failure = { _tag: "Violated", reason: "it may not be said here", reply, injection: false }
  if (command === undefined) {
    return reply.code >= 400 ? { _tag: "Disconnected", reply, cause: undefined } : violated
  }
  if (Commands.isGoodbye(command.kind, reply)) return { _tag: "Disconnected", reply, cause: undefined }
  const meaning = Commands.meaning(command.kind, reply)
  return meaning === "Violation" || (isMidContent && meaning !== "Refusal") ? violated : undefined
}

interface Seen {
  readonly outcome: SmtpReceipt.Outcome
  readonly isOpen: boolean
}

const see = (server: string, to: string, sent: string): Seen => {
  const point = points[to] ?? points["nothing"]
  if (point === undefined) throw new Error(`no such point: ${to}`)
  const transaction = new Transactions.Transaction(
    { mail, ahead: "envelope", framing: point.framing, policy: "any" },
    [{ mailbox, parameters: {}, positions: [0], command: rcpt }],
    "smtp"
  )
  const tell = (command: Command, reply: Reply): Transactions.Step =>
    transaction.replied(command, reply, Commands.meaning(command.kind, reply), false)
  for (const [command, code] of point.before) tell(command, makeReply(code, [""]))
  if (sent !== "none") transaction.contentBegun()
  if (sent === "all") transaction.contentComplete()
  const reply = replyOf(server)
  const isMidContent = to === "content"
  const failure = reply === undefined ? ends[server] : endBy(reply, point, isMidContent)
  const isTold = failure === undefined && reply !== undefined && point.command !== undefined
  const step = isTold ? tell(point.command, reply) : undefined
  const unanswered: Phase | undefined = point.command?.phase
  const inContent = point.framing === "data" ? "content" : "bdat"
  const loss =
    failure === undefined
      ? undefined
      : Outcomes.lossOf(failure, unanswered, sent === "all", to === "nothing" ? "idle" : inContent)
  const [verdict] = transaction.verdicts()
  if (verdict === undefined) throw new Error("a recipient without a verdict")
  return {
    outcome: receiptOutcome(Outcomes.outcomeOf(verdict, loss), loss),
    isOpen: failure === undefined ? step?._tag !== "Stopped" : survives(server)
  }
}

const recentLines = new RecentLines(undefined)

const receiptOutcome = (
  fate: Outcomes.Fate,
  loss: Outcomes.Loss<Failure> | undefined
): SmtpReceipt.Outcome => {
  const recipient = "ann@example.net"
  if (fate._tag === "Accepted") return SmtpReceipt.accepted(recipient, fate.reply)
  if (fate._tag === "Refused") return SmtpReceipt.refused(recipient, fate.reply, fate.phase)
  if (loss === undefined) throw new Error("nothing was decided")
  const cause = disconnection(loss.failure, loss.phase, recentLines)
  // The error that a program sees says the same.
  expect(SmtpError.delivery(cause)).toBe(fate._tag)
  return SmtpReceipt[fate._tag === "Unknown" ? "unknown" : "notSent"](recipient, cause)
}

const said = (isSo: boolean): string => (isSo ? "yes" : "no")

describe("the outcome of a recipient", () => {
  it.each(rowsOf(recipients))("%s to %s, sent: %s", (...row) => {
    const [server = "", to = "", sent = ""] = row
    const { isOpen, outcome } = see(server, to, sent)
    const retries = Outcomes.retries(outcome, false)
    expect([
      outcome._tag,
      said(retries.sameRelay),
      said(retries.otherRelay),
      Outcomes.leaves(SmtpReceipt.make([outcome]), isOpen ? "Ready" : "Closed", false)
    ]).toStrictEqual(row.slice(3, 7))
  })
})

const reply = (code: number): Reply => makeReply(code, ["as the test says"])

const { ClientUnavailable, NotSupported, ReplyTimeout, ServerDisconnected } = SmtpError

const endpoint = "mail.example.com:587"

const byName = {
  Accepted: SmtpReceipt.accepted("ann@example.net", reply(250)),
  Refused: SmtpReceipt.refused("ann@example.net", reply(450), "rcpt"),
  NotSent: SmtpReceipt.notSent("ann@example.net", new ServerDisconnected({ phase: "mail" })),
  "no session": SmtpReceipt.notSent("ann@example.net", new ClientUnavailable({ reason: "Timeout" })),
  Unknown: SmtpReceipt.unknown("ann@example.net", new ServerDisconnected({ phase: "final" }))
} as const

const isName = (name: string): name is keyof typeof byName => name in byName

const outcomeNamed = (name: string): SmtpReceipt.Outcome => {
  if (!isName(name)) throw new Error(`no such outcome: ${name}`)
  return byName[name]
}

describe("a recipient that was not, or not only, in a transaction of its own", () => {
  it("is refused for now where it was one too many for the transaction", () => {
    expect(Outcomes.outcomeOf({ _tag: "Overflow", reply: reply(452) }, undefined)).toStrictEqual({
      _tag: "Refused",
      reply: reply(452),
      phase: "rcpt"
    })
  })

  it("is NotSent where another was refused under recipients: all", () => {
    expect(Outcomes.outcomeOf({ _tag: "Held" }, undefined)).toStrictEqual({ _tag: "NotSent" })
  })

  it("is NotSent where the transaction ended before its content", () => {
    expect(Outcomes.outcomeOf({ _tag: "Open" }, undefined)).toStrictEqual({ _tag: "NotSent" })
  })
})

describe("the end of a session as one transaction sees it", () => {
  const lost = { _tag: "Disconnected", reply: undefined } as const
  const goodbye = { _tag: "Disconnected", reply: makeReply(421, ["4.3.2 closing"]) } as const
  const unreached = { _tag: "Unreached" } as const

  it.each([
    ["a lost connection", lost, "mail", true, { failure: lost, phase: "final" }],
    ["a goodbye to the content", goodbye, "final", true, { failure: goodbye, phase: "final" }],
    ["a goodbye to a command", goodbye, "mail", true, { failure: Outcomes.inDoubt, phase: "final" }],
    ["a goodbye in the middle of it all", goodbye, "final", false, { failure: goodbye, phase: "bdat" }],
    ["nothing left to answer", lost, undefined, false, { failure: lost, phase: "bdat" }],
    ["a command without a reply", lost, "rcpt", false, { failure: lost, phase: "rcpt" }],
    ["a command that nobody reads", unreached, "mail", true, { failure: unreached, phase: "mail" }],
    ["content that nobody reads", unreached, "final", true, { failure: unreached, phase: "final" }]
  ] as const)("%s", (_what, failure, unanswered, isComplete, loss) => {
    expect(Outcomes.lossOf<Outcomes.Ending>(failure, unanswered, isComplete, "bdat")).toStrictEqual(loss)
  })

  it("takes back nothing that the replies have said", () => {
    const loss = { failure: goodbye, phase: "final" } as const
    const accepted = { _tag: "Accepted", reply: makeReply(250, ["OK"]) } as const
    expect(Outcomes.outcomeOf({ _tag: "Held" }, loss)).toStrictEqual({ _tag: "NotSent" })
    expect(Outcomes.outcomeOf(accepted, loss)).toBe(accepted)
  })
})

const attempts = `
  earlier    | next       | stands
  -----------|------------|-----------
  nothing    | NotSent    | NotSent
  nothing    | Unknown    | Unknown
  Accepted   | Refused    | Accepted
  Accepted   | NotSent    | Accepted
  Accepted   | Unknown    | Accepted
  Unknown    | Accepted   | Accepted
  Unknown    | Refused    | Unknown
  Unknown    | NotSent    | Unknown
  Unknown    | no session | Unknown
  Refused    | Accepted   | Accepted
  Refused    | Unknown    | Unknown
  Refused    | NotSent    | Refused
  Refused    | no session | Refused
  NotSent    | Accepted   | Accepted
  NotSent    | Refused    | Refused
  NotSent    | Unknown    | Unknown
  NotSent    | no session | NotSent
  no session | NotSent    | NotSent
`

describe("a further attempt", () => {
  it.each(rowsOf(attempts))("%s, then %s: %s stands", (earlier = "", next = "", stands = "") => {
    const before = earlier === "nothing" ? undefined : outcomeNamed(earlier)
    expect(Outcomes.later(before, outcomeNamed(next))).toBe(outcomeNamed(stands))
  })

  it("takes the later of two outcomes of the same kind, but for an acceptance or a doubt", () => {
    const again = {
      refused: SmtpReceipt.refused("ann@example.net", reply(550), "rcpt"),
      notSent: SmtpReceipt.notSent("ann@example.net", new ServerDisconnected({ phase: "rcpt" })),
      accepted: SmtpReceipt.accepted("ann@example.net", reply(250)),
      unknown: SmtpReceipt.unknown("ann@example.net", new ServerDisconnected({ phase: "final" }))
    }
    expect(Outcomes.later(byName.Refused, again.refused)).toBe(again.refused)
    expect(Outcomes.later(byName.NotSent, again.notSent)).toBe(again.notSent)
    expect(Outcomes.later(byName.Accepted, again.accepted)).toBe(byName.Accepted)
    expect(Outcomes.later(byName.Unknown, again.unknown)).toBe(byName.Unknown)
  })

  it("follows Unknown only at the program's word, and at the same relay", () => {
    expect(Outcomes.retries(byName.Unknown, false)).toStrictEqual({ sameRelay: false, otherRelay: false })
    expect(Outcomes.retries(byName.Unknown, true)).toStrictEqual({ sameRelay: true, otherRelay: false })
  })
})

const { AuthenticationError, CommandRefused, ConnectError, ContentError, DataError, ProtocolError } =
  SmtpError

const causes: ReadonlyArray<
  readonly [cause: string, SmtpError.SmtpError, sameRelay: "yes" | "no", otherRelay: "yes" | "no"]
> = [
  ["a host that cannot be reached", new ConnectError({ endpoint, reason: "Unreachable" }), "yes", "yes"],
  [
    "a host name that does not exist",
    new ConnectError({
      endpoint,
      reason: "Unreachable",
      cause: Object.assign(new Error(), { code: "ENOTFOUND" })
    }),
    "no",
    "yes"
  ],
  [
    "a host that hangs up",
    new ConnectError({
      endpoint,
      reason: "Unreachable",
      cause: Object.assign(new Error(), { code: "ECONNRESET" })
    }),
    "yes",
    "yes"
  ],
  [
    "a host, for no known cause",
    new ConnectError({ endpoint, reason: "Unreachable", cause: null }),
    "yes",
    "yes"
  ],
  ["a greeting that is no reply", new ConnectError({ endpoint, reason: "Greeting" }), "no", "yes"],
  ["a greeting of 421", new ConnectError({ endpoint, reason: "Greeting", reply: reply(421) }), "yes", "yes"],
  ["a greeting of 554", new ConnectError({ endpoint, reason: "Greeting", reply: reply(554) }), "no", "yes"],
  ["a handshake in vain", new SmtpError.TlsError({ endpoint, reason: "Certificate" }), "no", "yes"],
  ["a handshake in time", new SmtpError.TlsError({ endpoint, reason: "Timeout" }), "yes", "yes"],
  ["a handshake cut off", new SmtpError.TlsError({ endpoint, reason: "Disconnected" }), "yes", "yes"],
  [
    "STARTTLS not offered any more",
    new SmtpError.TlsError({ endpoint, reason: "OfferVanished" }),
    "yes",
    "yes"
  ],
  ["EHLO refused", new SmtpError.HeloError({ command: "EHLO", reply: reply(550) }), "no", "yes"],
  [
    "STARTTLS refused for now",
    new CommandRefused({ command: "STARTTLS", phase: "starttls", reply: reply(454) }),
    "yes",
    "yes"
  ],
  ["credentials rejected", new AuthenticationError({ reason: "Rejected" }), "no", "yes"],
  ["credentials not checked for now", new AuthenticationError({ reason: "Temporary" }), "yes", "yes"],
  ["no token for now", new AuthenticationError({ reason: "TokenUnavailable" }), "yes", "yes"],
  ["a reply to RSET that ends the session", new ProtocolError({ phase: "rset", reason: "-" }), "yes", "yes"],
  ["a reply that has no place", new ProtocolError({ phase: "mail", reason: "-" }), "no", "yes"],
  [
    "the sender refused for now",
    new SmtpError.SenderRefused({ sender: "bo@example.com", reply: reply(451) }),
    "yes",
    "no"
  ],
  ["the message refused for now", new DataError({ phase: "final", reply: reply(451) }), "yes", "no"],
  ["the message refused", new DataError({ phase: "final", reply: reply(554) }), "no", "no"],
  [
    "some recipients refused for now",
    new SmtpError.RecipientsRefused({
      policy: "any",
      recipients: [
        { address: "a@example.net", reply: reply(450) },
        { address: "b@example.net", reply: reply(550) }
      ]
    }),
    "yes",
    "no"
  ],
  ["an extension that is not offered", new NotSupported({ extension: "DSN", reason: "-" }), "no", "yes"],
  [
    "another recipient refused for good under all",
    new SmtpError.RecipientsRefused({
      policy: "all",
      recipients: [
        { address: "a@example.net", reply: reply(450) },
        { address: "b@example.net", reply: reply(550) }
      ]
    }),
    "no",
    "no"
  ],
  [
    "another recipient refused for now under all",
    new SmtpError.RecipientsRefused({
      policy: "all",
      recipients: [{ address: "a@example.net", reply: reply(450) }]
    }),
    "yes",
    "no"
  ],
  ["the content", new ContentError({ reason: "TooLarge", detail: "-" }), "no", "no"],
  ["a local mistake", new SmtpError.InvalidArgument({ field: "to", reason: "-" }), "no", "no"],
  ["no session in time", new ClientUnavailable({ reason: "Timeout" }), "no", "no"],
  ["a full queue", new ClientUnavailable({ reason: "QueueFull" }), "no", "no"],
  ["the rate limit", new ClientUnavailable({ reason: "RateLimit" }), "no", "no"],
  ["the store of the rate limit", new ClientUnavailable({ reason: "RateLimitStore" }), "yes", "no"],
  ["the end of the client", new ClientUnavailable({ reason: "Closed" }), "no", "no"],
  ["the timeout of the send", new ReplyTimeout({ phase: "idle", limitMillis: 1, isOfSend: true }), "no", "no"]
]

describe("what was not sent", () => {
  it.each(causes)("because of %s", (_situation, cause, ...expected) => {
    const [sameRelay, otherRelay] = expected.map((word) => word === "yes")
    expect(Outcomes.retries(SmtpReceipt.notSent("ann@example.net", cause), false)).toStrictEqual({
      sameRelay,
      otherRelay
    })
  })

  it.each([
    ["NotSent", new ReplyTimeout({ phase: "mail", limitMillis: 1, isOfSend: true }), true],
    ["NotSent", new ReplyTimeout({ phase: "mail", limitMillis: 1 }), false],
    ["NotSent", new ServerDisconnected({ phase: "mail" }), false],
    ["Unknown", new ReplyTimeout({ phase: "final", limitMillis: 1, isOfSend: true }), true],
    ["Unknown", new ReplyTimeout({ phase: "final", limitMillis: 1 }), false]
  ] as const)("%s, %s: the end of the send: %s", (tag, cause, isSo) => {
    const outcome = SmtpReceipt[tag === "NotSent" ? "notSent" : "unknown"]("ann@example.net", cause)
    expect(Outcomes.isEndOfSend(outcome)).toBe(isSo)
  })

  it.each([byName.Accepted, byName.Refused])("%j: not the end of the send", (outcome) => {
    expect(Outcomes.isEndOfSend(outcome)).toBe(false)
    expect(Outcomes.needsAnotherSession(outcome)).toBe(false)
    expect(Outcomes.losesPipelined(outcome)).toBe(false)
  })

  it("goes to another session of the relay where this one has no MAIL left", () => {
    const of = (cause: SmtpError.SmtpError): boolean =>
      Outcomes.needsAnotherSession(SmtpReceipt.notSent("ann@example.net", cause))
    expect(of(new NotSupported({ extension: "LIMITS", reason: "-" }))).toBe(true)
    expect(of(new NotSupported({ extension: "DSN", reason: "-" }))).toBe(false)
    expect(of(new ServerDisconnected({ phase: "mail" }))).toBe(false)
    expect(
      Outcomes.needsAnotherSession({
        _tag: "Unknown",
        cause: new NotSupported({ extension: "LIMITS", reason: "-" })
      })
    ).toBe(false)
    expect(
      Outcomes.needsAnotherSession({ _tag: "NotSent", cause: { _tag: "DataError", extension: "LIMITS" } })
    ).toBe(false)
  })
})

const errors: ReadonlyArray<
  readonly [SmtpError.SmtpError, delivery: "NotSent" | "Refused" | "Unknown", isTransient: boolean]
> = [
  [new ServerDisconnected({ phase: "idle" }), "NotSent", true],
  [new ServerDisconnected({ phase: "content", reply: reply(250) }), "NotSent", true],
  [new ServerDisconnected({ phase: "content", reply: reply(421) }), "Refused", true],
  [new ServerDisconnected({ phase: "bdat", reply: reply(500) }), "NotSent", false],
  [new ServerDisconnected({ phase: "bdat", reply: reply(421) }), "NotSent", true],
  [new ServerDisconnected({ phase: "final", reply: reply(421) }), "Refused", true],
  [new ServerDisconnected({ phase: "final" }), "Unknown", false],
  [new ReplyTimeout({ phase: "content", limitMillis: 1 }), "NotSent", true],
  [new ReplyTimeout({ phase: "final", limitMillis: 1 }), "Unknown", false],
  [new ProtocolError({ phase: "content", reason: "-", reply: reply(250) }), "Unknown", false],
  [new ProtocolError({ phase: "content", reason: "-", reply: reply(554) }), "NotSent", false],
  [new ProtocolError({ phase: "content", reason: "-" }), "NotSent", false],
  [new ProtocolError({ phase: "bdat", reason: "-", reply: reply(500) }), "Unknown", false],
  [new ProtocolError({ phase: "bdat", reason: "-", reply: reply(250) }), "NotSent", false],
  [new ProtocolError({ phase: "bdat", reason: "-" }), "NotSent", false],
  [new ProtocolError({ phase: "rcpt", reason: "-", reply: reply(500) }), "NotSent", false],
  [new ProtocolError({ phase: "final", reason: "-", reply: reply(554) }), "Unknown", false],
  [new SmtpError.SenderRefused({ sender: "bo@example.com", reply: reply(451) }), "Refused", true],
  [new SmtpError.RecipientsRefused({ policy: "any", recipients: [] }), "Refused", false],
  [new DataError({ phase: "data", reply: reply(451) }), "Refused", true],
  [new DataError({ phase: "data", reply: reply(554) }), "Refused", false],
  [new SmtpError.HeloError({ command: "EHLO", reply: reply(421) }), "NotSent", true],
  [new CommandRefused({ command: "STARTTLS", phase: "starttls", reply: reply(554) }), "NotSent", false],
  [new ClientUnavailable({ reason: "Timeout" }), "NotSent", true],
  [new ClientUnavailable({ reason: "Closed" }), "NotSent", false],
  [new ContentError({ reason: "TooLarge", detail: "-" }), "NotSent", false],
  [new SmtpError.InvalidArgument({ field: "to", reason: "-" }), "NotSent", false]
]

describe("an error", () => {
  it.each(errors)("%j: %s, transient: %s", (error, delivery, isTransient) => {
    expect([Outcomes.deliveryOf(error), Outcomes.isTransient(error)]).toStrictEqual([delivery, isTransient])
  })
})

describe("the session", () => {
  const receiptOf = (...outcomes: SmtpReceipt.Receipt["outcomes"]): SmtpReceipt.Receipt =>
    SmtpReceipt.make(outcomes)
  const lostIn = (phase: Phase, code?: number): SmtpReceipt.Outcome =>
    SmtpReceipt.notSent(
      "ann@example.net",
      new ServerDisconnected({ phase, reply: code === undefined ? undefined : reply(code) })
    )

  it("with a transaction open is the next message's only where several share it", () => {
    const receipt = receiptOf(byName.Accepted)
    expect(Outcomes.leaves(receipt, "Transaction", false)).toBe("prove")
    expect(Outcomes.leaves(receipt, "Transaction", true)).toBe("clean")
    expect(Outcomes.leaves(receipt, "Greeted", true)).toBe("prove")
    expect(Outcomes.leaves(receiptOf(byName.Unknown), "Transaction", true)).toBe("prove")
    expect(Outcomes.leaves(receiptOf(lostIn("mail")), "Ready", false)).toBe("prove")
    expect(Outcomes.leaves(receiptOf(byName["no session"]), "Ready", false)).toBe("clean")
  })

  it("ended by the server's goodbye, by a failure, or after the replies", () => {
    expect(Outcomes.endOfSession(receiptOf(SmtpReceipt.refused("a@example.net", reply(421), "final")))).toBe(
      "goodbye"
    )
    expect(Outcomes.endOfSession(receiptOf(byName.Accepted, lostIn("rcpt", 421)))).toBe("goodbye")
    expect(Outcomes.endOfSession(receiptOf(lostIn("rcpt")))).toBe("failed")
    expect(Outcomes.endOfSession(receiptOf(byName.Unknown))).toBe("failed")
    const refusedAuth = new AuthenticationError({ reason: "Rejected", reply: reply(535) })
    expect(Outcomes.endOfSession(receiptOf(SmtpReceipt.notSent("a@example.net", refusedAuth)))).toBe("failed")
    expect(
      Outcomes.endOfSession(
        receiptOf(
          SmtpReceipt.unknown("a@example.net", new ServerDisconnected({ phase: "final", reply: reply(221) }))
        )
      )
    ).toBe("goodbye")
    expect(Outcomes.endOfSession(receiptOf(byName.Accepted, byName.Refused))).toBe("lost")
  })

  it.each([
    ["idle", true],
    ["rset", true],
    ["mail", true],
    ["rcpt", true],
    ["data", true],
    ["content", false],
    ["bdat", false]
  ] as const)("lost in phase %s had not begun with the message: %s", (phase, hadNotBegun) => {
    expect(Outcomes.hadNotBegun(receiptOf(lostIn(phase)))).toBe(hadNotBegun)
    expect(Outcomes.hadNotBegun(receiptOf(lostIn(phase), byName.Refused))).toBe(false)
    const refused = new CommandRefused({ command: "RSET", phase, reply: reply(500) })
    expect(Outcomes.hadNotBegun(receiptOf(SmtpReceipt.notSent("a@example.net", refused)))).toBe(false)
  })
})

/*
 * - session: `new`, `used` (a message was accepted on it), `second` (it replaces one that did not do for the message)
 * - relay: whether it pauses; session: whether another takes the message at once
 */
const signs = `
  server                  | to    | session | relay  | session
  ------------------------|-------|---------|--------|--------
  421 4.7.0 slow down     | MAIL  | new     | pauses | stays
  421 4.7.0 slow down     | MAIL  | used    | pauses | stays
  421 4.4.2 timeout       | MAIL  | used    | works  | stays
  421 4.4.2 timeout       | MAIL  | new     | pauses | stays
  421 4.4.2 timeout       | MAIL  | second  | pauses | stays
  421 4.3.2 closing       | RCPT  | used    | pauses | stays
  421 4.3.2 closing       | final | used    | pauses | stays
  450 too many messages   | MAIL  | new     | works  | stays
  450 too many messages   | MAIL  | used    | works  | goes
  450 too many messages   | MAIL  | second  | pauses | stays
  450 4.1.8 no such sender| MAIL  | used    | works  | stays
  452 4.2.2 over quota    | MAIL  | used    | works  | stays
  451 4.3.2 later         | MAIL  | new     | pauses | stays
  451 4.3.2 later         | MAIL  | used    | works  | goes
  451 4.3.2 later         | MAIL  | second  | pauses | stays
  451 4.4.5 congested     | MAIL  | new     | pauses | stays
  450 4.7.1 too fast      | MAIL  | new     | pauses | stays
  450 4.7.1 too fast      | MAIL  | used    | works  | goes
  550 5.7.1 not you       | MAIL  | new     | works  | stays
  550 5.7.1 not you       | MAIL  | used    | works  | stays
  450 4.7.1 greylisted    | RCPT  | new     | works  | stays
  450 4.7.1 greylisted    | RCPT  | used    | works  | stays
  451 4.3.2 later         | RCPT  | new     | works  | stays
  451 4.3.2 later         | RCPT  | used    | works  | goes
  450 4.2.1 busy          | RCPT  | used    | works  | stays
  451 4.3.2 later         | DATA  | new     | pauses | stays
  451 4.3.2 later         | DATA  | used    | works  | goes
  451 4.7.1 policy        | DATA  | used    | pauses | stays
  451 4.4.5 congested     | final | new     | pauses | stays
  451 4.4.5 congested     | final | used    | works  | goes
  452 4.3.1 disk full     | final | used    | works  | stays
  451 4.7.1 greylisted    | final | used    | pauses | stays
  554 5.7.1 spam          | final | new     | works  | stays
`

describe("what a reply says of relay and session", () => {
  const phases: Readonly<Record<string, Phase>> = { MAIL: "mail", RCPT: "rcpt", DATA: "data", final: "final" }

  it.each(rowsOf(signs))("%s to %s on a %s session", (server, to = "", session, relay, then) => {
    const [code = "", ...text] = server.split(" ")
    const outcome = SmtpReceipt.refused(
      "ann@example.net",
      makeReply(Number(code), [text.join(" ")]),
      phases[to] ?? "idle"
    )
    const history = { hasDelivered: session === "used", isReplacement: session === "second" }
    const { isWornOut, unwilling } = Outcomes.signsOf(SmtpReceipt.make([outcome]), history)
    expect([
      unwilling === undefined ? "works" : "pauses",
      isWornOut(outcome) ? "goes" : "stays"
    ]).toStrictEqual([relay, then])
  })

  const sent = (cause: SmtpError.SmtpError) => SmtpReceipt.notSent("ann@example.net", cause)

  it.each([
    [SmtpReceipt.refused("ann@example.net", reply(502), "bdat"), true],
    [SmtpReceipt.refused("ann@example.net", reply(500), "bdat"), true],
    [SmtpReceipt.refused("ann@example.net", reply(552), "bdat"), false],
    [SmtpReceipt.refused("ann@example.net", reply(502), "rcpt"), false],
    [sent(new ProtocolError({ phase: "bdat", reason: "-", reply: reply(250) })), false],
    [
      SmtpReceipt.unknown(
        "ann@example.net",
        new ProtocolError({ phase: "bdat", reason: "-", reply: reply(500) })
      ),
      false
    ]
  ])("%j: a server that does not know BDAT: %s", (outcome, isSo) => {
    expect(Outcomes.lacksBdat(outcome)).toBe(isSo)
  })

  it.each([
    [sent(new ReplyTimeout({ phase: "rcpt", limitMillis: 1 })), true],
    [sent(new ReplyTimeout({ phase: "data", limitMillis: 1 })), true],
    [sent(new ReplyTimeout({ phase: "mail", limitMillis: 1 })), false],
    [sent(new ReplyTimeout({ phase: "rcpt", limitMillis: 1, isOfSend: true })), false],
    [sent(new ReplyTimeout({ phase: "content", limitMillis: 1 })), false],
    [sent(new ServerDisconnected({ phase: "rcpt" })), false],
    [SmtpReceipt.unknown("ann@example.net", new ReplyTimeout({ phase: "final", limitMillis: 1 })), false],
    [SmtpReceipt.unknown("ann@example.net", new ReplyTimeout({ phase: "rcpt", limitMillis: 1 })), false]
  ])("%j: a server that loses what is pipelined: %s", (outcome, isSo) => {
    expect(Outcomes.losesPipelined(outcome)).toBe(isSo)
  })

  it.each([
    [byName.Accepted, undefined],
    [
      sent(new ServerDisconnected({ phase: "mail", reply: reply(421) })),
      { phase: "mail", reply: reply(421) }
    ],
    [
      sent(new SmtpError.HeloError({ command: "EHLO", reply: reply(421) })),
      { phase: "idle", reply: reply(421) }
    ],
    [sent(new ServerDisconnected({ phase: "mail" })), undefined]
  ])("%j of a session that has delivered: the relay pauses for %j", (outcome, unwilling) => {
    const history = { hasDelivered: true, isReplacement: false }
    const seen = Outcomes.signsOf(SmtpReceipt.make([outcome]), history)
    expect([seen.unwilling, seen.isWornOut(outcome)]).toStrictEqual([unwilling, false])
  })

  it("a session that was lost before the message had begun speaks of the relay the second time", () => {
    const lost = SmtpReceipt.notSent(
      "ann@example.net",
      new SmtpError.ProtocolError({ phase: "rset", reason: "-" })
    )
    const unwilling = (isReplacement: boolean) =>
      Outcomes.signsOf(SmtpReceipt.make([lost]), { hasDelivered: false, isReplacement }).unwilling
    expect([unwilling(false), unwilling(true)]).toEqual([undefined, { phase: "idle", reply: undefined }])
  })
})

describe("the whole message", () => {
  const { Accepted, NotSent, Refused, Unknown } = byName

  it.each([
    [[Refused, NotSent, Unknown, Accepted], "Accepted"],
    [[Refused, NotSent, Unknown], "Unknown"],
    [[Refused, NotSent], "NotSent"],
    [[Refused], "Refused"]
  ] as const)("%#: the most doubtful outcome counts where nobody was accepted", (outcomes, counts) => {
    expect(Outcomes.overall(SmtpReceipt.make<SmtpError.SmtpError>(outcomes))).toBe(counts)
  })

  const refused = (code: number, phase: Phase): SmtpReceipt.Refused =>
    SmtpReceipt.refused("ann@example.net", reply(code), phase)
  const one = refused(554, "final")

  it.each([
    ["nobody", [], undefined],
    ["the sender", [refused(550, "mail")], { _tag: "SenderRefused", reply: reply(550) }],
    ["every recipient", [refused(550, "rcpt"), refused(450, "rcpt")], { _tag: "RecipientsRefused" }],
    [
      "DATA",
      [refused(550, "rcpt"), refused(451, "data")],
      { _tag: "DataError", phase: "data", reply: reply(451) }
    ],
    ["the message, by one reply", [one, one], { _tag: "DataError", phase: "final", reply: one.reply }],
    [
      "each recipient after LMTP's content",
      [refused(554, "final"), refused(451, "final")],
      { _tag: "RecipientsRefused" }
    ]
  ] as const)("refused was %s", (_what, refusals, expected) => {
    expect(Outcomes.refusalOf(refusals)).toStrictEqual(expected)
  })
})
