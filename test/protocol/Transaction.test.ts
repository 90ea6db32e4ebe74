import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import type { Command } from "../../src/protocol/Command.js"
import * as Commands from "../../src/protocol/Command.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import * as Mailboxes from "../../src/protocol/Mailbox.js"
import type { Ahead, PlannedRecipient } from "../../src/protocol/Plan.js"
import type { Reply } from "../../src/protocol/Reply.js"
import { isSuccess, make as makeReply } from "../../src/protocol/Reply.js"
import type { Step, Transaction, Verdict } from "../../src/protocol/Transaction.js"
import * as Transactions from "../../src/protocol/Transaction.js"
import { runsOf } from "../support/runs.js"

const mail = Commands.mail("MAIL FROM:<>")
const rcptOf = (index: number): Command => Commands.rcpt(`RCPT TO:<${index}@example.com>`)

const mailboxOf = (address: string): Mailboxes.Mailbox => {
  const mailbox = Mailboxes.parse(address, "to")
  if (isInvalid(mailbox)) throw new Error(mailbox.reason)
  return mailbox
}

const plannedRecipients = (count: number): ReadonlyArray<PlannedRecipient> =>
  Array.from({ length: count }, (_, index) => ({
    mailbox: mailboxOf(`${index}@example.com`),
    parameters: {},
    positions: [index],
    command: rcptOf(index)
  }))

interface Setting {
  readonly ahead: Ahead
  readonly framing?: "data" | "bdat"
  readonly policy?: "any" | "all"
  readonly dialect?: "smtp" | "lmtp"
}

const transactionOf = (count: number, setting: Setting): Transaction =>
  new Transactions.Transaction(
    { mail, ahead: setting.ahead, framing: setting.framing ?? "data", policy: setting.policy ?? "any" },
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
  command: ["MAIL", "RCPT", "RCPT", "DATA"],
  envelope: ["MAIL RCPT RCPT", "Wait", "Wait", "DATA"],
  data: ["MAIL RCPT RCPT DATA", "Wait", "Wait", "Wait"]
} as const
const levels = ["command", "envelope", "data"] as const

describe.each(levels)("a transaction, %s ahead", (ahead) => {
  const beforeData = allSteps[ahead]

  it("in which everything is accepted", () => {
    expect(run(2, { ahead }, ["250", "250", "251", "354", "250"])).toStrictEqual({
      steps: [...beforeData, "Content", "Done"],
      verdicts: ["Accepted 250", "Accepted 250"]
    })
  })

  it("whose sender is refused: everybody is, by that reply", () => {
    const replies = ahead === "command" ? ["550"] : ["550", "503", "503"]
    const { steps, verdicts } = run(2, { ahead }, ahead === "data" ? [...replies, "503"] : replies)
    expect(verdicts).toStrictEqual(["Refused mail 550", "Refused mail 550"])
    expect(steps.at(-1)).toBe("Done, RSET")
    expect(steps.slice(1, -1).every((step) => step === "Wait")).toBe(true)
  })

  it("one of whose recipients is refused goes to the other", () => {
    expect(run(2, { ahead }, ["250", "550", "250", "354", "250"])).toStrictEqual({
      steps: [...beforeData, "Content", "Done"],
      verdicts: ["Refused rcpt 550", "Accepted 250"]
    })
  })

  it("all of whose recipients are refused has no content", () => {
    const replies = ["250", "550", "450", ...(ahead === "data" ? ["503"] : [])]
    const { steps, verdicts } = run(2, { ahead }, replies)
    expect(steps.at(-1)).toBe("Done, RSET")
    expect(steps).not.toContain("DATA")
    expect(verdicts).toStrictEqual(["Refused rcpt 550", "Refused rcpt 450"])
  })

  it("whose DATA is refused: that counts for those who were accepted", () => {
    expect(run(2, { ahead }, ["250", "550", "250", "451"])).toStrictEqual({
      steps: [...beforeData, "Done, RSET"],
      verdicts: ["Refused rcpt 550", "Refused data 451"]
    })
  })

  it("whose content is refused", () => {
    expect(run(2, { ahead }, ["250", "250", "250", "354", "552"])).toStrictEqual({
      steps: [...beforeData, "Content", "Done, RSET"],
      verdicts: ["Refused final 552", "Refused final 552"]
    })
  })

  it("that ends before any given reply leaves the rest open", () => {
    const replies = ["250", "550", "250", "354", "250"]
    const known = ["Open", "Open", "Refused rcpt 550", "Refused rcpt 550", "Refused rcpt 550"]
    for (const [index, expected] of known.entries()) {
      expect(run(2, { ahead }, replies.slice(0, index)).verdicts).toStrictEqual([expected, "Open"])
    }
  })

  it("refused in the middle of the content stops", () => {
    const transaction = transactionOf(1, { ahead })
    tell(transaction, mail, makeReply(250, [""]))
    tell(transaction, rcptOf(0), makeReply(250, [""]))
    expect(tell(transaction, Commands.data, makeReply(354, [""]))).toStrictEqual({ _tag: "Content" })
    transaction.contentBegun()
    expect(transaction.progress()).toBe("Flowing")
    expect(tell(transaction, Commands.final, makeReply(552, ["full"]))).toStrictEqual({ _tag: "Stopped" })
    expect(transaction.verdicts().map(showVerdict)).toStrictEqual(["Refused content 552"])
  })

  it('under "all" with everybody accepted goes its way', () => {
    const { verdicts } = run(2, { ahead, policy: "all" }, ["250", "250", "250", "354", "250"])
    expect(verdicts).toStrictEqual(["Accepted 250", "Accepted 250"])
  })

  it("one recipient too many goes over to another transaction", () => {
    expect(run(2, { ahead }, ["250", "250", "452", "354", "250"]).verdicts).toStrictEqual([
      "Accepted 250",
      "Overflow 452"
    ])
  })
})

// At the level "data" the plan leaves no transaction under "all" with several recipients.
describe.each(["command", "envelope"] as const)("a transaction, %s ahead,", (ahead) => {
  it('under "all" with one refused holds the others, and sends no DATA', () => {
    const { steps, verdicts } = run(3, { ahead, policy: "all" }, ["250", "250", "550", "250"])
    expect(steps.at(-1)).toBe("Done, RSET")
    expect(steps).not.toContain("DATA")
    expect(verdicts).toStrictEqual(["Held", "Refused rcpt 550", "Held"])
  })

  it('under "all" cut off after a refusal: that is what holds the others, answered or not', () => {
    expect(run(3, { ahead, policy: "all" }, ["250", "250", "550"]).verdicts).toStrictEqual([
      "Held",
      "Refused rcpt 550",
      "Held"
    ])
  })

  it('under "all" one too many is a refusal', () => {
    expect(run(2, { ahead, policy: "all" }, ["250", "250", "452"]).verdicts).toStrictEqual([
      "Held",
      "Refused rcpt 452"
    ])
  })
})

describe("354 with nobody accepted (RFC 2920 section 3.1)", () => {
  it.each(["250", "554"])("is declined by a dot, whose %s accepts nobody", (final) => {
    expect(run(1, { ahead: "data" }, ["250", "550", "354", final])).toStrictEqual({
      steps: ["MAIL RCPT DATA", "Wait", "Wait", "Decline", "Done"],
      verdicts: ["Refused rcpt 550"]
    })
  })

  it("nor does it where the sender was refused", () => {
    const { verdicts } = run(1, { ahead: "data" }, ["550", "503", "354", "250"])
    expect(verdicts).toStrictEqual(["Refused mail 550"])
  })

  it("is a violation in LMTP (RFC 2033 section 4.2)", () => {
    const { steps } = run(1, { ahead: "data", dialect: "lmtp" }, ["250", "550", "354"])
    expect(steps.at(-1)).toBe("Violated: DATA was opened though no recipient was accepted")
  })
})

describe("LMTP (RFC 2033 section 4.2)", () => {
  const setting = { ahead: "data", dialect: "lmtp" } as const
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

/*
 * - events: `begun` and `complete` are those of the content, the rest a command and its reply, in their order
 * - steps: what to do at the start and after each reply
 */
const chunks = `
  ahead    | events                                                                    | steps                                                    | verdicts
  ---------|---------------------------------------------------------------------------|----------------------------------------------------------|----------------------------------
  content  | begun, complete, MAIL 250, RCPT 250, RCPT 250, LAST 250                   | Offer, Wait, Wait, Wait, Done                            | Accepted 250, Accepted 250
  content  | begun, MAIL 250, RCPT 250, RCPT 250, BDAT 250, complete, LAST 250         | Offer, Wait, Wait, Wait, Wait, Done                      | Accepted 250, Accepted 250
  content  | begun, complete, MAIL 250, RCPT 550, RCPT 250, LAST 250                   | Offer, Wait, Wait, Wait, Done                            | Refused rcpt 550, Accepted 250
  content  | MAIL 250, RCPT 550, RCPT 550                                              | Offer, Wait, Wait, Halt                                  | Refused rcpt 550, Refused rcpt 550
  content  | begun, MAIL 250, RCPT 550, RCPT 550                                       | Offer, Wait, Wait, Halt                                  | Refused rcpt 550, Refused rcpt 550
  content  | begun, MAIL 250, RCPT 250, RCPT 550                                       | Offer, Wait, Wait, Wait                                  | Open, Refused rcpt 550
  content  | begun, complete, MAIL 250, RCPT 550, RCPT 550, LAST 554                   | Offer, Wait, Wait, Wait, Done RSET                       | Refused rcpt 550, Refused rcpt 550
  content  | begun, complete, MAIL 250, RCPT 550, RCPT 550, LAST 250                   | Offer, Wait, Wait, Wait, Done RSET                       | Refused rcpt 550, Refused rcpt 550
  content  | begun, MAIL 250, RCPT 250, RCPT 250, BDAT 552                             | Offer, Wait, Wait, Wait, Halt                            | Refused bdat 552, Refused bdat 552
  content  | begun, complete, MAIL 250, RCPT 250, RCPT 250, BDAT 552, LAST 503         | Offer, Wait, Wait, Wait, Wait, Done RSET                 | Refused bdat 552, Refused bdat 552
  content  | begun, complete, MAIL 250, RCPT 250, RCPT 250, BDAT 452, BDAT 552         | Offer, Wait, Wait, Wait, Wait, Wait                      | Refused bdat 452, Refused bdat 452
  content  | begun, complete, MAIL 250, RCPT 250, RCPT 250, BDAT 552, LAST 250         | Offer, Wait, Wait, Wait, Wait, Violated: accepted late   | Open, Open
  content  | begun, MAIL 250, RCPT 250, RCPT 250, BDAT 500                             | Offer, Wait, Wait, Wait, Stopped                         | Refused bdat 500, Refused bdat 500
  content  | begun, complete, MAIL 250, RCPT 250, RCPT 250, LAST 554 5.1.1             | Offer, Wait, Wait, Wait, Done RSET                       | Refused final 554, Refused final 554
  content  | begun, complete, MAIL 250, RCPT 250, RCPT 250, LAST 250 2.0.0             | Offer, Wait, Wait, Wait, Done                            | Accepted 250, Accepted 250
  content  | begun, complete, MAIL 250, RCPT 250, RCPT 250, LAST 250 2.1.5             | Offer, Wait, Wait, Wait, Violated: about an address      | Open, Open
  content  | begun, MAIL 250, RCPT 250, RCPT 250, LAST 552                             | Offer, Wait, Wait, Wait, Stopped                         | Refused content 552, Refused content 552
  envelope | MAIL 250, RCPT 250, RCPT 250, begun, complete, LAST 250 2.1.5             | MAIL RCPT RCPT, Wait, Wait, Content, Done                | Accepted 250, Accepted 250
  envelope | MAIL 250, RCPT 550, RCPT 250, begun, BDAT 552                             | MAIL RCPT RCPT, Wait, Wait, Content, Halt                | Refused rcpt 550, Refused bdat 552
  envelope | MAIL 250, RCPT 550, RCPT 550                                              | MAIL RCPT RCPT, Wait, Wait, Done RSET                    | Refused rcpt 550, Refused rcpt 550
  command  | MAIL 250, RCPT 250, RCPT 250, begun, complete, BDAT 250, LAST 250         | MAIL, RCPT, RCPT, Content, Wait, Done                    | Accepted 250, Accepted 250
`

const violations = {
  "accepted late": "the last chunk was accepted after one before it was refused",
  "about an address": "the reply to the content is one about an address"
}

describe("chunks (RFC 3030)", () => {
  const rows = chunks
    .split("\n")
    .filter((line) => line.includes("|") && !line.includes("--|"))
    .slice(1)
    .map((line) => line.split("|").map((cell) => cell.trim()))
  const isAhead = (text: string): text is Ahead => ["command", "envelope", "data", "content"].includes(text)
  const chunk = Commands.bdat([new Uint8Array(1)], false)
  const commands: Readonly<Record<string, Command>> = {
    MAIL: mail,
    RCPT: rcptOf(0),
    BDAT: chunk,
    LAST: Commands.bdat([], true)
  }
  const violationOf = (text: string): string =>
    Object.entries(violations).reduce((all, [short, reason]) => all.replace(reason, short), text)

  it.each(rows)("%s ahead: %s", (ahead = "", events = "", steps, verdicts) => {
    if (!isAhead(ahead)) throw new Error(`no such level: ${ahead}`)
    const transaction = transactionOf(2, { ahead, framing: "bdat" })
    expect(transaction.progress()).toBe("None")
    const start = transaction.start()
    if (start._tag === "Offer")
      expect(start.commands.map(({ verb }) => verb)).toEqual(["MAIL", "RCPT", "RCPT"])
    expect(transaction.progress()).toBe(ahead === "content" ? "Due" : "None")
    const seen = [showStep(start)]
    for (const event of events.split(", ")) {
      const command = commands[event.slice(0, 4)]
      if (event === "begun") transaction.contentBegun()
      else if (event === "complete") transaction.contentComplete()
      else if (command !== undefined) {
        const step = tell(transaction, command, makeReply(Number(event.slice(5, 8)), [event.slice(9)]))
        if (step._tag === "Content") expect(transaction.progress()).toBe("Due")
        seen.push(violationOf(showStep(step)).replace("Done, RSET", "Done RSET"))
      }
    }
    expect(seen.join(", ")).toBe(steps)
    expect(transaction.verdicts().map(showVerdict).join(", ")).toBe(verdicts)
  })

  it("that are accepted give every recipient the same verdict", () => {
    const transaction = transactionOf(2, { ahead: "content", framing: "bdat" })
    transaction.contentComplete()
    for (const command of [mail, rcptOf(0), rcptOf(1), Commands.bdat([], true)])
      tell(transaction, command, makeReply(250, [""]))
    const [first, second] = transaction.verdicts()
    expect(first).toBe(second)
  })
})

// How often the property below is tried. A long search: FUZZ_RUNS=100000.
const runs = runsOf(200)

describe(`verdicts, whatever the replies, ${runs} runs`, { timeout: 20_000 + runs * 10 }, () => {
  // Three of four answers are the ones that the command hopes for.
  const refusals = [450, 452, 550, 552]
  const codeFor = ({ kind }: Command, pick: number): number =>
    pick < 12 ? (kind === "Data" ? 354 : 250 + (pick % 2)) : (refusals[pick - 12] ?? 550)
  const setting = FastCheck.record({
    ahead: FastCheck.constantFrom(...levels),
    policy: FastCheck.constantFrom("any" as const, "all" as const),
    dialect: FastCheck.constantFrom("smtp" as const, "lmtp" as const)
  })

  it("are one for each recipient, and Accepted only by a 2yz to the complete content", () => {
    const seen = new Set<string>()
    FastCheck.assert(
      FastCheck.property(
        setting,
        FastCheck.integer({ min: 1, max: 5 }),
        FastCheck.array(FastCheck.nat({ max: 15 }), { maxLength: 20, size: "max" }),
        FastCheck.constantFrom("Complete", "Flowing", "None"),
        (options, count, picks, reached) => {
          const transaction = transactionOf(count, options)
          const asked: Array<Command> = []
          const finals = new Set<Reply>()
          let step = transaction.start()
          for (const next of [...picks, undefined]) {
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
            // Dialogue lets no other reply through before the end.
            const isEarly = command.kind === "Final" && reached !== "Complete"
            const reply = makeReply(isEarly ? 552 : codeFor(command, next), [""])
            const meaning = Commands.meaning(command.kind, reply)
            if (command.kind === "Final") finals.add(reply)
            step = transaction.replied(command, reply, meaning, asked.length > 0 && command.kind === "Final")
            if (["Done", "Violated", "Stopped"].includes(step._tag)) asked.length = 0
          }
        }
      ),
      { numRuns: runs }
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
    const transaction = Transactions.Transaction.byHand(accepted, dialect)
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
    expect(transaction.contentReplies()).toMatchObject([{ code: 250 }])
    expect(transaction.progress()).toBe("Complete")
    expect(transaction.refusal()).toBeUndefined()
  })

  it("is refused at once", () => {
    const { said, transaction } = begun(1)
    expect([transaction.contentReplies(), transaction.refusal(), transaction.verdicts()]).toStrictEqual([
      [],
      undefined,
      []
    ])
    expect(said(Commands.data, 554)).toBe("Done, RSET")
    expect(transaction.refusal()).toMatchObject({ reply: { code: 554 }, phase: "data" })
  })

  it("is refused in the middle of the content", () => {
    const refused = begun(1)
    refused.said(Commands.data, 354)
    refused.transaction.contentBegun()
    expect(refused.said(Commands.final, 552)).toBe("Stopped")
    expect(refused.transaction.refusal()).toMatchObject({ reply: { code: 552 }, phase: "content" })
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
    expect(transaction.contentReplies()).toStrictEqual([])
    expect(transaction.progress()).toBe("Declined")
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
    expect(transaction.contentReplies()).toHaveLength(2)
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
    ["the end of a thought", ["queued as 1A2B3C..."], "1A2B3C"],
    ["with an id", ["2.0.0 queued with id 1A2B3C"], "1A2B3C"],
    ["a queue-id", ["2.0.0 queue-id: 1A2B3C"], "1A2B3C"],
    ["a queueid", ["2.0.0 accepted, queueid 1A2B3C"], "1A2B3C"],
    ["Amazon SES, more words", ["Ok  0102018f1c2d3e4f in eu-west-1"], "0102018f1c2d3e4f"],
    ["Amazon SES, joined words", ["Ok 0102018f1c2d3e4f!"], undefined],
    ["a number elsewhere", ["2.0.0 Ok: queued as soon as 3 are there"], undefined],
    ["Sendmail's words further on", ["your 4A1B2C3d012345 message accepted"], undefined],
    ["qmail's words further on", ["not ok 1700000000 qp 12345"], undefined],
    ["Gmail's words further on", ["is ok 1510238743 s1si6371541qta.85 - gsmtp"], undefined],
    ["Dovecot's words further on", ["for <ann@example.com> WJ5cCbPzVl4 saved"], undefined],
    ["Haraka's words further on", ["no message queued (6F1B2C3D)"], undefined],
    ["Amazon's words further on", ["not ok 0102018f1c2d3e4f"], undefined],
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
