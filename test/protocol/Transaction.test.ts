import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Capabilities from "../../src/protocol/Capabilities.js"
import type { Command } from "../../src/protocol/Command.js"
import * as Commands from "../../src/protocol/Command.js"
import type { Invalid } from "../../src/protocol/Invalid.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import type { MailParameters, Unsupported } from "../../src/protocol/Parameters.js"
import type { Reply } from "../../src/protocol/Reply.js"
import { isSuccess, make as makeReply } from "../../src/protocol/Reply.js"
import type {
  Circumstances,
  ContentFacts,
  Envelope,
  Pipelining,
  Plan,
  PlanOptions,
  PlannedRecipient,
  RecipientInput,
  Step,
  Transaction,
  Verdict
} from "../../src/protocol/Transaction.js"
import * as Transactions from "../../src/protocol/Transaction.js"

const envelopeOf = (
  to: ReadonlyArray<string | RecipientInput>,
  parameters: MailParameters = {},
  from = "sender@example.com"
): Envelope => {
  const envelope = Transactions.readEnvelope(
    from,
    to.map((recipient) => (typeof recipient === "string" ? { address: recipient } : recipient)),
    parameters
  )
  if (isInvalid(envelope)) throw new Error(`${envelope.field} ${envelope.reason}`)
  return envelope
}

describe("the envelope", () => {
  const positions = (...to: ReadonlyArray<string | RecipientInput>): ReadonlyArray<ReadonlyArray<number>> =>
    envelopeOf(to).recipients.map((recipient) => recipient.positions)
  const problem = (from: string, ...to: ReadonlyArray<RecipientInput>): string => {
    const envelope = Transactions.readEnvelope(from, to, {})
    return isInvalid(envelope) ? `${envelope.field} ${envelope.reason}` : "fine"
  }

  it("equal recipients are one, at the place of the first, with all their positions", () => {
    expect(positions("a@example.com", "b@example.com", "a@example.com", "a@example.com")).toStrictEqual([
      [0, 2, 3],
      [1]
    ])
  })

  it("needless quotes make no difference, needed ones do", () => {
    expect(positions('"a.b"@example.com', "a.b@example.com")).toStrictEqual([[0, 1]])
    expect(positions('"a b"@example.com', "ab@example.com")).toStrictEqual([[0], [1]])
    expect(positions('"a\\ b"@example.com', '"a b"@example.com')).toStrictEqual([[0, 1]])
  })

  it("the case of a domain makes no difference, nor its form; that of a local part does", () => {
    expect(positions("a@EXAMPLE.com", "a@example.COM")).toStrictEqual([[0, 1]])
    expect(positions("a@bücher.example", "a@xn--bcher-kva.example")).toStrictEqual([[0, 1]])
    expect(positions("Ann@example.com", "ann@example.com")).toStrictEqual([[0], [1]])
    expect(positions("postmaster", "Postmaster", "postmaster@example.com")).toStrictEqual([[0, 1], [2]])
  })

  it("the same mailbox with other parameters is refused", () => {
    const address = "a@example.com"
    for (const other of [
      { notify: "NEVER" as const },
      { originalRecipient: "b@example.com" },
      { rrvs: { since: new Date(0) } },
      { extra: [{ keyword: "X", value: "1" }] }
    ]) {
      expect(problem("", { address }, { address: "b@example.com" }, { address, ...other })).toBe(
        "to[2] names the mailbox of to[0] with other parameters"
      )
    }
  })

  it("parameters that mean the same are equal, however they were written", () => {
    const address = "a@example.com"
    const since = (): Date => new Date("2024-01-01T00:00:00Z")
    expect(
      positions(
        {
          address,
          notify: ["SUCCESS", "FAILURE"],
          originalRecipient: { type: "rfc822", address: "x@example.com" },
          rrvs: { since: since(), action: "C" },
          extra: [{ keyword: "X", value: "1" }]
        },
        {
          address,
          notify: ["FAILURE", "SUCCESS", "FAILURE"],
          originalRecipient: { address: "x@example.com", type: "rfc822" },
          rrvs: { action: "C", since: since() },
          extra: [{ value: "1", keyword: "X" }]
        }
      )
    ).toStrictEqual([[0, 1]])
  })

  it("the null sender is the empty string (RFC 5321 section 4.5.5)", () => {
    expect(envelopeOf(["a@example.com"], {}, "").sender).toBeNull()
    expect(problem("<>", { address: "a@example.com" })).toMatch(/^from /)
  })

  it("somebody has to receive it", () => {
    expect(problem("")).toBe("to is empty: name at least one recipient")
  })

  it("a problem names the recipient", () => {
    expect(problem("", { address: "a@example.com" }, { address: "b" })).toBe("to[1] has no @ and domain")
    expect(problem("nobody", { address: "a@example.com" })).toMatch(/^from /)
  })

  it("every position is that of exactly one recipient", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(
          FastCheck.constantFrom("a@x.example", "A@x.example", "a@X.example", '"a"@x.example'),
          {
            minLength: 1
          }
        ),
        (to) => {
          expect(
            positions(...to)
              .flat()
              .sort((left, right) => left - right)
          ).toStrictEqual([...to.keys()])
        }
      )
    )
  })
})

const announcing = (...lines: ReadonlyArray<string>): Capabilities.Capabilities =>
  Capabilities.fromLines(["mail.example.com", ...lines])

const plain: ContentFacts = { octets: 100, eightBit: false, utf8Header: false }

interface Situation {
  readonly to?: ReadonlyArray<string | RecipientInput>
  readonly from?: string
  readonly parameters?: MailParameters
  readonly facts?: Partial<ContentFacts>
  readonly announced?: ReadonlyArray<string>
  readonly circumstances?: Partial<Circumstances>
  readonly options?: Partial<PlanOptions>
}

const planOf = (situation: Situation): Plan | Invalid | Unsupported =>
  Transactions.plan(
    envelopeOf(situation.to ?? ["a@example.com"], situation.parameters, situation.from),
    { ...plain, ...situation.facts },
    {
      capabilities: announcing(...(situation.announced ?? ["PIPELINING"])),
      dialect: "smtp",
      verifiedTls: false,
      mails: 0,
      now: 0,
      ...situation.circumstances
    },
    { pipelining: "data", recipients: "any", ...situation.options }
  )

const mailOf = (situation: Situation): string => {
  const plan = planOf(situation)
  switch (plan._tag) {
    case "Plan":
      return plan.mail.line
    case "Invalid":
      return `Invalid ${plan.field}: it ${plan.reason}`
    case "Unsupported":
      return `Unsupported ${plan.extension}: ${plan.reason}`
  }
}

const batchesOf = (situation: Situation): ReadonlyArray<ReadonlyArray<string>> => {
  const plan = planOf(situation)
  return plan._tag === "Plan"
    ? plan.batches.map((batch) => batch.map(({ command }) => command.line.slice(8)))
    : []
}

describe("the plan: SIZE (RFC 1870)", () => {
  it("is told exactly, or as estimated, where it is announced", () => {
    expect(mailOf({ announced: ["SIZE"] })).toBe("MAIL FROM:<sender@example.com> SIZE=100")
    expect(mailOf({ announced: ["SIZE"], facts: { octets: undefined }, parameters: { size: 70 } })).toBe(
      "MAIL FROM:<sender@example.com> SIZE=70"
    )
  })

  it("is left out where it is not announced or not known", () => {
    expect(mailOf({})).toBe("MAIL FROM:<sender@example.com>")
    expect(mailOf({ announced: ["SIZE"], facts: { octets: undefined } })).toBe(
      "MAIL FROM:<sender@example.com>"
    )
  })

  it("over the server's limit is refused before MAIL, at the limit it is not", () => {
    expect(mailOf({ announced: ["SIZE 99"] })).toBe(
      "Unsupported SIZE: the message has 100 octets, and the server takes 99"
    )
    expect(mailOf({ announced: ["SIZE 100"] })).toBe("MAIL FROM:<sender@example.com> SIZE=100")
    expect(mailOf({ announced: ["SIZE 0"] })).toBe("MAIL FROM:<sender@example.com> SIZE=100")
  })
})

describe("the plan: BODY (RFC 6152, RFC 3030)", () => {
  const with8BitMime = ["8BITMIME"]
  it.each<readonly [string, Situation, string | RegExp]>([
    ["7-bit content", { announced: with8BitMime }, "MAIL FROM:<sender@example.com>"],
    [
      "8-bit content",
      { announced: with8BitMime, facts: { eightBit: true } },
      "MAIL FROM:<sender@example.com> BODY=8BITMIME"
    ],
    [
      "content of which it is not known",
      { announced: with8BitMime, facts: { eightBit: undefined } },
      "MAIL FROM:<sender@example.com> BODY=8BITMIME"
    ],
    [
      "8-bit content without 8BITMIME",
      { facts: { eightBit: true } },
      /^Unsupported 8BITMIME: the content has/
    ],
    [
      "unknown content without 8BITMIME",
      { facts: { eightBit: undefined } },
      /^Unsupported 8BITMIME: nobody knows/
    ],
    [
      "a promise of 7 bits that is kept",
      { announced: with8BitMime, parameters: { body: "7BIT" } },
      "MAIL FROM:<sender@example.com> BODY=7BIT"
    ],
    [
      "a promise of 7 bits that cannot be looked after",
      { announced: with8BitMime, parameters: { body: "7BIT" }, facts: { eightBit: undefined } },
      "MAIL FROM:<sender@example.com> BODY=7BIT"
    ],
    [
      "a promise of 7 bits that is broken",
      { announced: with8BitMime, parameters: { body: "7BIT" }, facts: { eightBit: true } },
      /^Invalid parameters.body: it is 7BIT/
    ],
    ["8BITMIME asked for, and not offered", { parameters: { body: "8BITMIME" } }, /^Unsupported 8BITMIME/],
    [
      "BINARYMIME, which needs BDAT",
      { announced: ["BINARYMIME", "CHUNKING"], parameters: { body: "BINARYMIME" } },
      /^Invalid parameters.body: it is BINARYMIME/
    ]
  ])("%s", (_, situation, expected) => {
    expect(mailOf(situation)).toMatch(expected)
    if (typeof expected === "string") expect(mailOf(situation)).toBe(expected)
  })
})

describe("the plan: SMTPUTF8 (RFC 6531)", () => {
  const announced = ["8BITMIME", "SMTPUTF8"]

  it("is asked for by a sender, a recipient or a header beyond ASCII", () => {
    expect(mailOf({ announced, from: "grü@example.com" })).toBe("MAIL FROM:<grü@example.com> SMTPUTF8")
    expect(mailOf({ announced, to: ["a@example.com", "ß@example.com"] })).toMatch(/ SMTPUTF8$/)
    expect(mailOf({ announced, facts: { eightBit: true, utf8Header: true } })).toBe(
      "MAIL FROM:<sender@example.com> BODY=8BITMIME SMTPUTF8"
    )
  })

  it("is not needed by a domain alone, nor by an 8-bit body", () => {
    expect(mailOf({ from: "a@bücher.example" })).toBe("MAIL FROM:<a@xn--bcher-kva.example>")
    expect(mailOf({ announced, facts: { eightBit: true, utf8Header: false } })).not.toMatch(/SMTPUTF8/)
    expect(mailOf({ announced, facts: { utf8Header: undefined } })).not.toMatch(/SMTPUTF8/)
  })

  it("that is not offered: nothing is sent", () => {
    expect(mailOf({ from: "grü@example.com" })).toMatch(/^Unsupported SMTPUTF8: an address/)
    expect(mailOf({ to: ["ß@example.com"] })).toMatch(/^Unsupported SMTPUTF8: an address/)
    expect(mailOf({ announced: ["8BITMIME"], facts: { eightBit: true, utf8Header: true } })).toMatch(
      /^Unsupported SMTPUTF8: the header/
    )
  })

  it("may be asked for without need", () => {
    expect(mailOf({ announced, parameters: { smtputf8: true } })).toMatch(/ SMTPUTF8$/)
    expect(mailOf({ parameters: { smtputf8: true } })).toMatch(/^Unsupported SMTPUTF8/)
  })
})

describe("the plan: parameters", () => {
  it("of a recipient that are not offered name the recipient's extension", () => {
    expect(mailOf({ to: ["b@example.com", { address: "a@example.com", notify: "NEVER" }] })).toMatch(
      /^Unsupported DSN/
    )
  })

  it("of a recipient that cannot be are Invalid at the caller's position", () => {
    const notify = { address: "a@example.com", notify: [] }
    expect(mailOf({ announced: ["DSN"], to: ["b@example.com", "b@example.com", notify] })).toMatch(
      /^Invalid to\[2\]/
    )
  })

  it("REQUIRETLS needs verified TLS (RFC 8689)", () => {
    const situation = { announced: ["REQUIRETLS"], parameters: { requireTls: true } }
    expect(mailOf(situation)).toMatch(/^Unsupported REQUIRETLS/)
    expect(mailOf({ ...situation, circumstances: { verifiedTls: true } })).toMatch(/ REQUIRETLS$/)
  })
})

describe("the plan: LIMITS (RFC 9422)", () => {
  const to = ["a@x.example", "b@y.example", "c@X.example", "d@z.example", "e@y.example"]

  it("RCPTMAX divides the recipients, in their order", () => {
    expect(batchesOf({ to, announced: ["LIMITS RCPTMAX=2"] })).toStrictEqual([
      ["<a@x.example>", "<b@y.example>"],
      ["<c@X.example>", "<d@z.example>"],
      ["<e@y.example>"]
    ])
  })

  it("RCPTDOMAINMAX counts domains, in any letter case", () => {
    expect(batchesOf({ to, announced: ["LIMITS RCPTDOMAINMAX=1"] })).toStrictEqual([
      ["<a@x.example>", "<c@X.example>"],
      ["<b@y.example>", "<e@y.example>"],
      ["<d@z.example>"]
    ])
  })

  it("no batch exceeds either limit, and nobody is lost or doubled", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.uniqueArray(FastCheck.tuple(FastCheck.nat(50), FastCheck.nat(6)), {
          minLength: 1,
          selector: ([user, domain]) => `${user} ${domain}`
        }),
        FastCheck.integer({ min: 1, max: 5 }),
        FastCheck.integer({ min: 1, max: 5 }),
        (pairs, most, domains) => {
          const everybody = pairs.map(([user, domain]) => `u${user}@d${domain}.example`)
          const announced = [`LIMITS RCPTMAX=${most} RCPTDOMAINMAX=${domains}`]
          const batches = batchesOf({ to: everybody, announced })
          expect(batches.flat().sort()).toStrictEqual(everybody.map((address) => `<${address}>`).sort())
          for (const batch of batches) {
            expect(batch.length).toBeLessThanOrEqual(most)
            expect(new Set(batch.map((path) => path.split("@")[1])).size).toBeLessThanOrEqual(domains)
          }
        }
      )
    )
  })

  it("MAILMAX ends the session's MAIL commands", () => {
    const announced = ["LIMITS MAILMAX=2"]
    expect(mailOf({ announced, circumstances: { mails: 1 } })).toMatch(/^MAIL/)
    expect(mailOf({ announced, circumstances: { mails: 2 } })).toMatch(/^Unsupported LIMITS: .* 2 MAIL/)
  })

  it('"all" is refused where the recipients need several transactions', () => {
    const options = { recipients: "all" } as const
    expect(mailOf({ to, options, announced: ["LIMITS RCPTMAX=4"] })).toMatch(/^Unsupported LIMITS/)
    expect(mailOf({ to, options, announced: ["LIMITS RCPTMAX=5"] })).toMatch(/^MAIL/)
  })
})

describe('the plan: pipelining and "all"', () => {
  const two = ["a@example.com", "b@example.com"]
  const levelOf = (situation: Situation): string => {
    const plan = planOf(situation)
    return plan._tag === "Plan" ? plan.pipelining : plan._tag
  }

  it.each(["off", "envelope", "data"] as const)("%s is kept with PIPELINING, off without", (pipelining) => {
    expect(levelOf({ options: { pipelining } })).toBe(pipelining)
    expect(levelOf({ options: { pipelining }, announced: [] })).toBe("off")
  })

  it('"all" holds DATA back from several recipients', () => {
    expect(levelOf({ to: two, options: { recipients: "all" } })).toBe("envelope")
    expect(levelOf({ to: two, options: { recipients: "all", pipelining: "off" } })).toBe("off")
    expect(levelOf({ options: { recipients: "all" } })).toBe("data")
  })

  it('LMTP cannot keep "all" for several', () => {
    const circumstances = { dialect: "lmtp" } as const
    expect(mailOf({ to: two, circumstances, options: { recipients: "all" } })).toMatch(/^Invalid recipients/)
    expect(mailOf({ circumstances, options: { recipients: "all" } })).toMatch(/^MAIL/)
    expect(
      mailOf({ to: ["a@x.example", "a@X.example"], circumstances, options: { recipients: "all" } })
    ).toMatch(/^MAIL/)
  })
})

const mail = Commands.mail("MAIL FROM:<>")
const rcptOf = (index: number): Command => Commands.rcpt(`RCPT TO:<${index}@example.com>`)

const plannedRecipients = (count: number): ReadonlyArray<PlannedRecipient> =>
  envelopeOf(Array.from({ length: count }, (_, index) => `${index}@example.com`)).recipients.map(
    (recipient, index) => ({ ...recipient, command: rcptOf(index) })
  )

interface Setting {
  readonly pipelining: Pipelining
  readonly policy?: "any" | "all"
  readonly dialect?: "smtp" | "lmtp"
}

const transactionOf = (count: number, setting: Setting): Transaction =>
  Transactions.make(
    { _tag: "Plan", mail, pipelining: setting.pipelining, policy: setting.policy ?? "any" },
    plannedRecipients(count),
    setting.dialect ?? "smtp"
  )

const showStep = (step: Step): string => {
  switch (step._tag) {
    case "Submit":
      return step.commands.map(({ verb }) => verb).join(" ")
    case "Done":
      return step.reset ? "Done, RSET" : "Done"
    case "Violated":
      return `Violated: ${step.reason}`
    default:
      return step._tag
  }
}

const showVerdict = (verdict: Verdict): string => {
  switch (verdict._tag) {
    case "Refused":
      return `Refused ${verdict.phase} ${verdict.reply.code}`
    case "Accepted":
    case "Overflow":
      return `${verdict._tag} ${verdict.reply.code}`
    default:
      return verdict._tag
  }
}

const tell = (transaction: Transaction, command: Command, reply: Reply, more = false): Step =>
  transaction.replied(command, reply, Commands.meaning(command.kind, reply), more)

interface Told {
  /** What it did at the start and after each reply. */
  readonly steps: ReadonlyArray<string>
  readonly verdicts: ReadonlyArray<string>
}

/** Answers commands as they are submitted, and content when it is due, until the replies or the steps end. */
const run = (count: number, setting: Setting, replies: ReadonlyArray<string>): Told => {
  const transaction = transactionOf(count, setting)
  const steps: Array<string> = []
  const asked: Array<Command> = []
  let finals = 0
  const follow = (step: Step): void => {
    steps.push(showStep(step))
    if (step._tag === "Submit") asked.push(...step.commands)
    if (step._tag === "Content" || step._tag === "Decline") {
      transaction.contentBegun()
      transaction.contentComplete()
      const accepted = transaction.verdicts().filter(({ _tag }) => _tag === "Open").length
      finals = setting.dialect === "lmtp" ? accepted : 1
      asked.push(...Array.from({ length: finals }, () => Commands.final))
    }
  }
  follow(transaction.start())
  for (const text of replies) {
    const command = asked.shift()
    if (command === undefined) throw new Error(`nothing asks for ${text}`)
    if (command.kind === "Final") finals--
    follow(tell(transaction, command, makeReply(Number(text.slice(0, 3)), [text.slice(4)]), finals > 0))
  }
  return { steps, verdicts: transaction.verdicts().map(showVerdict) }
}

const allSteps = {
  off: ["MAIL", "RCPT", "RCPT", "DATA"],
  envelope: ["MAIL RCPT RCPT", "Wait", "Wait", "DATA"],
  data: ["MAIL RCPT RCPT DATA", "Wait", "Wait", "Wait"]
} as const
const levels = ["off", "envelope", "data"] as const

describe.each(levels)("a transaction, pipelining %s", (pipelining) => {
  const beforeData = allSteps[pipelining]

  it("in which everything is accepted", () => {
    expect(run(2, { pipelining }, ["250", "250", "251", "354", "250"])).toStrictEqual({
      steps: [...beforeData, "Content", "Done"],
      verdicts: ["Accepted 250", "Accepted 250"]
    })
  })

  it("whose sender is refused: everybody is, by that reply", () => {
    const replies = pipelining === "off" ? ["550"] : ["550", "503", "503"]
    const { steps, verdicts } = run(2, { pipelining }, pipelining === "data" ? [...replies, "503"] : replies)
    expect(verdicts).toStrictEqual(["Refused mail 550", "Refused mail 550"])
    expect(steps.at(-1)).toBe("Done, RSET")
    expect(steps.slice(1, -1).every((step) => step === "Wait")).toBe(true)
  })

  it("one of whose recipients is refused goes to the other", () => {
    expect(run(2, { pipelining }, ["250", "550", "250", "354", "250"])).toStrictEqual({
      steps: [...beforeData, "Content", "Done"],
      verdicts: ["Refused rcpt 550", "Accepted 250"]
    })
  })

  it("all of whose recipients are refused has no content", () => {
    const replies = ["250", "550", "450", ...(pipelining === "data" ? ["503"] : [])]
    const { steps, verdicts } = run(2, { pipelining }, replies)
    expect(steps.at(-1)).toBe("Done, RSET")
    expect(steps).not.toContain("DATA")
    expect(verdicts).toStrictEqual(["Refused rcpt 550", "Refused rcpt 450"])
  })

  it("whose DATA is refused: that counts for those who were accepted", () => {
    expect(run(2, { pipelining }, ["250", "550", "250", "451"])).toStrictEqual({
      steps: [...beforeData, "Done, RSET"],
      verdicts: ["Refused rcpt 550", "Refused data 451"]
    })
  })

  it("whose content is refused", () => {
    expect(run(2, { pipelining }, ["250", "250", "250", "354", "552"])).toStrictEqual({
      steps: [...beforeData, "Content", "Done, RSET"],
      verdicts: ["Refused final 552", "Refused final 552"]
    })
  })

  it("that ends before any given reply leaves the rest open", () => {
    const replies = ["250", "550", "250", "354", "250"]
    const known = ["Open", "Open", "Refused rcpt 550", "Refused rcpt 550", "Refused rcpt 550"]
    for (const [index, expected] of known.entries()) {
      expect(run(2, { pipelining }, replies.slice(0, index)).verdicts).toStrictEqual([expected, "Open"])
    }
  })

  it("refused in the middle of the content stops", () => {
    const transaction = transactionOf(1, { pipelining })
    tell(transaction, mail, makeReply(250, [""]))
    tell(transaction, rcptOf(0), makeReply(250, [""]))
    expect(tell(transaction, Commands.data, makeReply(354, [""]))).toStrictEqual({ _tag: "Content" })
    transaction.contentBegun()
    expect(transaction.progress()).toBe("Flowing")
    expect(tell(transaction, Commands.final, makeReply(552, ["full"]))).toStrictEqual({ _tag: "Stopped" })
    expect(transaction.verdicts().map(showVerdict)).toStrictEqual(["Refused content 552"])
  })

  it("accepted in the middle of the content is a violation, and nobody is accepted (TRANSACTIONS 20)", () => {
    const transaction = transactionOf(1, { pipelining })
    tell(transaction, mail, makeReply(250, [""]))
    tell(transaction, rcptOf(0), makeReply(250, [""]))
    tell(transaction, Commands.data, makeReply(354, [""]))
    transaction.contentBegun()
    expect(tell(transaction, Commands.final, makeReply(250, ["queued"]))._tag).toBe("Violated")
    expect(transaction.verdicts()).toStrictEqual([{ _tag: "Open" }])
  })

  it('under "all" with everybody accepted goes its way', () => {
    const { verdicts } = run(2, { pipelining, policy: "all" }, ["250", "250", "250", "354", "250"])
    expect(verdicts).toStrictEqual(["Accepted 250", "Accepted 250"])
  })

  it("one recipient too many goes over to another transaction", () => {
    expect(run(2, { pipelining }, ["250", "250", "452", "354", "250"]).verdicts).toStrictEqual([
      "Accepted 250",
      "Overflow 452"
    ])
  })
})

// At the level "data" the plan leaves no transaction under "all" with several recipients.
describe.each(["off", "envelope"] as const)("a transaction, pipelining %s,", (pipelining) => {
  it('under "all" with one refused holds the others, and sends no DATA', () => {
    const { steps, verdicts } = run(3, { pipelining, policy: "all" }, ["250", "250", "550", "250"])
    expect(steps.at(-1)).toBe("Done, RSET")
    expect(steps).not.toContain("DATA")
    expect(verdicts).toStrictEqual(["Held", "Refused rcpt 550", "Held"])
  })

  it('under "all" cut off after a refusal: that is what holds the others, answered or not', () => {
    expect(run(3, { pipelining, policy: "all" }, ["250", "250", "550"]).verdicts).toStrictEqual([
      "Held",
      "Refused rcpt 550",
      "Held"
    ])
  })

  it('under "all" one too many is a refusal', () => {
    expect(run(2, { pipelining, policy: "all" }, ["250", "250", "452"]).verdicts).toStrictEqual([
      "Held",
      "Refused rcpt 452"
    ])
  })
})

describe("354 with nobody accepted (RFC 2920 section 3.1)", () => {
  it.each(["250", "554"])("is declined by a dot, whose %s accepts nobody", (final) => {
    expect(run(1, { pipelining: "data" }, ["250", "550", "354", final])).toStrictEqual({
      steps: ["MAIL RCPT DATA", "Wait", "Wait", "Decline", "Done"],
      verdicts: ["Refused rcpt 550"]
    })
  })

  it("nor does it where the sender was refused", () => {
    const { verdicts } = run(1, { pipelining: "data" }, ["550", "503", "354", "250"])
    expect(verdicts).toStrictEqual(["Refused mail 550"])
  })

  it("is a violation in LMTP (RFC 2033 section 4.2)", () => {
    const { steps } = run(1, { pipelining: "data", dialect: "lmtp" }, ["250", "550", "354"])
    expect(steps.at(-1)).toBe("Violated: DATA was opened though no recipient was accepted")
  })
})

describe("LMTP (RFC 2033 section 4.2)", () => {
  const setting = { pipelining: "data", dialect: "lmtp" } as const
  const envelope = ["250", "250", "550", "250", "250", "354"]

  it("the verdicts are those of the accepted recipients, in their order", () => {
    expect(run(4, setting, [...envelope, "250", "452", "550"])).toStrictEqual({
      steps: [
        "MAIL RCPT RCPT RCPT RCPT DATA",
        "Wait",
        "Wait",
        "Wait",
        "Wait",
        "Wait",
        "Content",
        "Wait",
        "Wait",
        "Done, RSET"
      ],
      verdicts: ["Accepted 250", "Refused rcpt 550", "Refused final 452", "Refused final 550"]
    })
  })

  it("a missing one leaves its recipient open, and the others keep theirs", () => {
    expect(run(4, setting, [...envelope, "250"]).verdicts).toStrictEqual([
      "Accepted 250",
      "Refused rcpt 550",
      "Open",
      "Open"
    ])
  })

  it("a refusal in the middle of the content counts for everybody", () => {
    const transaction = transactionOf(2, setting)
    for (const command of [mail, rcptOf(0), rcptOf(1)]) tell(transaction, command, makeReply(250, [""]))
    tell(transaction, Commands.data, makeReply(354, [""]))
    transaction.contentBegun()
    tell(transaction, Commands.final, makeReply(452, ["full"]))
    expect(transaction.verdicts().map(showVerdict)).toStrictEqual([
      "Refused content 452",
      "Refused content 452"
    ])
  })
})

describe("verdicts, whatever the replies", () => {
  // Replies that Dialogue lets through; what it does not, ends the run before.
  const code = FastCheck.constantFrom(250, 251, 354, 421, 450, 452, 550, 552)
  const setting = FastCheck.record({
    pipelining: FastCheck.constantFrom(...levels),
    policy: FastCheck.constantFrom("any" as const, "all" as const),
    dialect: FastCheck.constantFrom("smtp" as const, "lmtp" as const)
  })

  it("are one for each recipient, and Accepted only by a 2yz to the complete content", () => {
    const seen = new Set<string>()
    FastCheck.assert(
      FastCheck.property(
        setting,
        FastCheck.integer({ min: 1, max: 5 }),
        FastCheck.array(code, { maxLength: 20 }),
        FastCheck.constantFrom("Complete", "Flowing", "None"),
        (options, count, codes, reached) => {
          const transaction = transactionOf(count, options)
          const asked: Array<Command> = []
          const finals = new Set<Reply>()
          let step = transaction.start()
          for (const next of [...codes, undefined]) {
            if (step._tag === "Submit") asked.push(...step.commands)
            if (step._tag === "Content" || step._tag === "Decline") {
              if (reached !== "None") transaction.contentBegun()
              if (reached === "Complete") transaction.contentComplete()
              asked.push(
                ...Array.from({ length: options.dialect === "lmtp" ? count : 1 }, () => Commands.final)
              )
            }
            const verdicts = transaction.verdicts()
            expect(verdicts).toHaveLength(count)
            for (const verdict of verdicts) {
              seen.add(verdict._tag)
              if (verdict._tag !== "Accepted") continue
              expect(transaction.progress()).toBe("Complete")
              expect(isSuccess(verdict.reply) && finals.has(verdict.reply)).toBe(true)
            }
            const command = asked.shift()
            if (next === undefined || command === undefined) return
            const reply = makeReply(next, [""])
            const meaning = Commands.meaning(command.kind, reply)
            if (meaning === "Violation") return
            if (command.kind === "Final") finals.add(reply)
            step = transaction.replied(command, reply, meaning, asked.length > 0 && command.kind === "Final")
            if (["Done", "Violated", "Stopped"].includes(step._tag)) asked.length = 0
          }
        }
      ),
      { numRuns: Number(process.env["FUZZ_RUNS"] ?? 3_000) }
    )
    expect([...seen].sort()).toStrictEqual(["Accepted", "Held", "Open", "Overflow", "Refused"])
  })
})

describe("too many recipients (RFC 5321 section 4.5.3.1.10)", () => {
  it.each([
    [452, "too many recipients", 1, true],
    [452, "4.5.3 too many", 1, true],
    [452, "4.5.3 too many", 0, false],
    [452, "too many recipients", 0, false],
    [452, "4.2.2 mailbox full", 5, false],
    [452, "4.3.1 no space", 5, false],
    [552, "too many recipients", 99, false],
    [552, "too many recipients", 100, true],
    [552, "5.5.3 too many", 1, true],
    [552, "5.2.2 mailbox full", 100, false],
    [552, "5.2.3 too large", 100, false],
    [552, "5.3.4 too large", 100, false],
    [550, "5.5.3 too many", 1, true],
    [450, "4.5.3 too many", 1, true],
    [451, "later", 100, false],
    [550, "no", 100, false],
    [250, "2.5.3 fine", 1, false]
  ])("%i %s, %i accepted before: %s", (code, text, acceptedBefore, expected) => {
    expect(Transactions.isOverflow(makeReply(code, [text]), acceptedBefore)).toBe(expected)
  })
})

describe("DATA by hand", () => {
  const reply = (code: number): Reply => makeReply(code, [""])
  const begun = (accepted: number, dialect: "smtp" | "lmtp" = "smtp") => {
    const transaction = Transactions.makeData(accepted, dialect)
    expect(showStep(transaction.start())).toBe("DATA")
    const said = (command: Command, code: number, more = false): string =>
      showStep(transaction.replied(command, reply(code), Commands.meaning(command.kind, reply(code)), more))
    return { transaction, said }
  }

  it("is accepted", () => {
    const { said, transaction } = begun(1)
    expect(said(Commands.data, 354)).toBe("Content")
    transaction.contentBegun()
    transaction.contentComplete()
    expect(said(Commands.final, 250)).toBe("Done")
    expect(transaction.result()).toMatchObject({ replies: [{ code: 250 }], declined: false })
    expect(transaction.refusal()).toBeUndefined()
  })

  it("is refused at once", () => {
    const { said, transaction } = begun(1)
    expect(said(Commands.data, 554)).toBe("Done, RSET")
    expect(transaction.refusal()).toMatchObject({ reply: { code: 554 }, phase: "data" })
  })

  it("is refused in the middle of the content, or accepted there", () => {
    const refused = begun(1)
    refused.said(Commands.data, 354)
    refused.transaction.contentBegun()
    expect(refused.said(Commands.final, 552)).toBe("Stopped")
    expect(refused.transaction.refusal()).toMatchObject({ reply: { code: 552 }, phase: "content" })
    const accepted = begun(1)
    accepted.said(Commands.data, 354)
    accepted.transaction.contentBegun()
    expect(accepted.said(Commands.final, 250)).toMatch(/^Violated/)
    expect(accepted.transaction.result().replies).toStrictEqual([])
  })

  it("is refused after the content", () => {
    const { said, transaction } = begun(1)
    said(Commands.data, 354)
    transaction.contentBegun()
    transaction.contentComplete()
    expect(said(Commands.final, 450)).toBe("Done, RSET")
    expect(transaction.refusal()).toMatchObject({ phase: "final" })
  })

  it("is declined with nobody accepted, or a violation in LMTP", () => {
    const { said, transaction } = begun(0)
    expect(said(Commands.data, 354)).toBe("Decline")
    transaction.contentBegun()
    transaction.contentComplete()
    expect(said(Commands.final, 250)).toBe("Done")
    expect(transaction.result()).toStrictEqual({ replies: [], declined: true })
    expect(begun(0, "lmtp").said(Commands.data, 354)).toMatch(/^Violated/)
  })

  it("has one reply for each recipient in LMTP, and is refused only if all refuse", () => {
    const { said, transaction } = begun(2, "lmtp")
    said(Commands.data, 354)
    transaction.contentBegun()
    transaction.contentComplete()
    expect(said(Commands.final, 450, true)).toBe("Wait")
    expect(transaction.refusal()).toMatchObject({ reply: { code: 450 } })
    expect(said(Commands.final, 250)).toBe("Done")
    expect(transaction.refusal()).toBeUndefined()
    expect(transaction.result().replies).toHaveLength(2)
  })
})

describe("the server's name for the message", () => {
  it.each([
    ["Postfix", ["2.0.0 Ok: queued as 4F9D195432C"], "4F9D195432C"],
    ["Postfix, long", ["2.0.0 Ok: queued as 4FvTz62MGbz3xTq"], "4FvTz62MGbz3xTq"],
    ["amavis", ["2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 9B1C2D3"], "9B1C2D3"],
    ["Yandex", ["2.0.0 Ok: queued on mail-a1.example as 1430081058-6ltgNFKSir"], "1430081058-6ltgNFKSir"],
    ["Exim", ["OK id=1rAbCd-0004Xy-7z"], "1rAbCd-0004Xy-7z"],
    ["Exim 4.97", ["OK id=1rAbCd-000000003kZ-1Xyz"], "1rAbCd-000000003kZ-1Xyz"],
    ["Sendmail", ["2.0.0 4A1B2C3d012345 Message accepted for delivery"], "4A1B2C3d012345"],
    ["OpenSMTPD", ["2.0.0 5a4b3c2d Message accepted for delivery"], "5a4b3c2d"],
    [
      "Exchange",
      [
        "2.6.0 <id=7@example.com> [InternalId=30786325577734, Hostname=EX01.example.com] 1234 bytes in 0.1, 9.8 KB/sec Queued mail for delivery"
      ],
      "30786325577734"
    ],
    ["Exchange, old", ["2.6.0 <1A2B@mail.example.com> Queued mail for delivery"], undefined],
    ["a relay behind it", ["2.6.0 <1A@x.example> Queued mail for delivery -> 250 2.1.5"], undefined],
    [
      "Amazon SES",
      ["Ok 0102018f1c2d3e4f-11112222-3333-4444-5555-666677778888-000000"],
      "0102018f1c2d3e4f-11112222-3333-4444-5555-666677778888-000000"
    ],
    ["Gmail", ["2.0.0 OK  1510238743 s1si6371541qta.85 - gsmtp"], "s1si6371541qta.85"],
    ["qmail", ["ok 1700000000 qp 12345"], "12345"],
    ["Dovecot", ["2.0.0 <ann@example.com> WJ5cCbPzVl4pCgAAp2oGJQ Saved"], "WJ5cCbPzVl4pCgAAp2oGJQ"],
    [
      "Dovecot, second",
      ["2.0.0 <ann@example.com> qJ8xM0l+cWCNSwAA0J78UA:2 Saved"],
      "qJ8xM0l+cWCNSwAA0J78UA:2"
    ],
    [
      "Haraka",
      ["Message Queued (6F1B2C3D-1111-2222-3333-444455556666.1)"],
      "6F1B2C3D-1111-2222-3333-444455556666.1"
    ],
    ["Stalwart", ["2.0.0 Message queued with id 1a2b3c4d."], "1a2b3c4d"],
    ["brackets", ["2.0.0 Ok: queued as <1A2B3C>"], "1A2B3C"],
    ["the end of a sentence", ["queued as 1A2B3C."], "1A2B3C"],
    ["several lines", ["2.0.0 thank you", "2.0.0 Ok: queued as 1A2B3C"], "1A2B3C"],
    ["aiosmtpd", ["OK"], undefined],
    ["a plain thank you", ["2.0.0 Message accepted for delivery"], undefined],
    ["words only", ["Ok accepted"], undefined],
    ["words only, completed", ["OK completed"], undefined],
    ["Yahoo", ["OK , completed"], undefined],
    ["nothing", [""], undefined]
  ])("%s", (_, lines, expected) => {
    expect(Transactions.queueId(makeReply(250, lines))).toBe(expected)
  })

  it("is never empty, whatever the text", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(
          FastCheck.constantFrom("queued", "as", "id=", "ok", "<", ">", "1", ".", "(", ")", "qp", " ")
        ),
        (words) => {
          expect(Transactions.queueId(makeReply(250, [words.join(" ")]))).not.toBe("")
        }
      )
    )
  })
})
