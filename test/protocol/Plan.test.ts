import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Capabilities from "../../src/protocol/Capabilities.js"
import type { Invalid } from "../../src/protocol/Invalid.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import type { MailParameters, Unsupported } from "../../src/protocol/Parameters.js"
import type { ContentFacts, Envelope, Plan, PlanContext, RecipientInput } from "../../src/protocol/Plan.js"
import * as Plans from "../../src/protocol/Plan.js"

const envelopeOf = (
  to: ReadonlyArray<string | RecipientInput>,
  parameters: MailParameters = {},
  from = "sender@example.com"
): Envelope => {
  const envelope = Plans.readEnvelope(
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
    const envelope = Plans.readEnvelope(from, to, {})
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

  it.each<readonly [RecipientInput, RecipientInput]>([
    [
      { address: "", notify: ["SUCCESS"] },
      { address: "", notify: ["FAILURE"] }
    ],
    [
      { address: "", rrvs: { since: new Date(1000) } },
      { address: "", rrvs: { since: new Date(2000) } }
    ],
    [
      { address: "", extra: [{ keyword: "X", value: "1" }] },
      { address: "", extra: [{ keyword: "X", value: "2" }] }
    ],
    [
      { address: "", extra: [{ keyword: "X" }, { keyword: "Y" }] },
      { address: "", extra: [{ keyword: "Y" }, { keyword: "X" }] }
    ],
    [
      { address: "", extra: [{ keyword: "X" }, { keyword: "X" }] },
      { address: "", extra: [{ keyword: "X" }] }
    ]
  ])("parameters that differ are told apart: %j, %j", (one, other) => {
    const address = "a@example.com"
    expect(problem("", { address: "b@example.com" }, { ...one, address }, { ...other, address })).toBe(
      "to[2] names the mailbox of to[1] with other parameters"
    )
  })

  it("a field that is undefined is as good as none", () => {
    const address = "a@example.com"
    expect(
      positions(
        { address, extra: [{ keyword: "X", value: undefined }] },
        { address, extra: [{ keyword: "X" }] },
        { address, extra: [{ keyword: "X", extension: undefined }] }
      )
    ).toStrictEqual([[0, 1, 2]])
  })

  it("the null sender is the empty string (RFC 5321 section 4.5.5)", () => {
    expect(envelopeOf(["a@example.com"], {}, "").sender).toBeNull()
    expect(mailOf({ from: "" })).toBe("MAIL FROM:<>")
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
  readonly circumstances?: Partial<PlanContext>
  readonly options?: Partial<PlanContext>
}

const planOf = (situation: Situation): Plan | Invalid | Unsupported =>
  Plans.plan(
    envelopeOf(situation.to ?? ["a@example.com"], situation.parameters, situation.from),
    { ...plain, ...situation.facts },
    {
      capabilities: announcing(...(situation.announced ?? ["PIPELINING"])),
      dialect: "smtp",
      verifiedTls: false,
      mails: 0,
      isAwake: true,
      now: 0,
      pipelining: "data",
      chunking: "off",
      recipients: "any",
      ...situation.circumstances,
      ...situation.options
    }
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
      "Unsupported SIZE: the message has 100 bytes, and the server accepts 99"
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
      /^Unsupported 8BITMIME: the content stream may/
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
      "BINARYMIME, which only BDAT carries",
      { announced: ["BINARYMIME", "CHUNKING"], parameters: { body: "BINARYMIME" } },
      /^Unsupported CHUNKING: BINARYMIME/
    ]
  ])("%s", (_, situation, expected) => {
    expect(mailOf(situation)).toMatch(expected)
    if (typeof expected === "string") expect(mailOf(situation)).toBe(expected)
  })
})

describe("the plan: whether the content must be 7-bit (RFC 6152)", () => {
  it.each<readonly [MailParameters, ReadonlyArray<string>, Partial<ContentFacts>, boolean]>([
    [{}, [], {}, true],
    [{}, ["8BITMIME"], {}, false],
    [{}, ["8BITMIME"], { eightBit: true }, false],
    [{ body: "7BIT" }, [], {}, true],
    [{ body: "7BIT" }, ["8BITMIME"], {}, true],
    [{ body: "8BITMIME" }, ["8BITMIME"], {}, false]
  ])("parameters %j, announced %j, content %j: %s", (parameters, announced, facts, requires7bit) => {
    expect(planOf({ parameters, announced, facts })).toMatchObject({ requires7bit })
  })

  it("it may be binary though the server does not announce 8BITMIME", () => {
    const parameters = { body: "BINARYMIME" } as const
    const announced = ["BINARYMIME", "CHUNKING"]
    expect(planOf({ parameters, announced, options: { chunking: "on" } })).toMatchObject({
      requires7bit: false
    })
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

  it("of the sender that cannot be are Invalid by their names", () => {
    expect(mailOf({ announced: ["DSN"], parameters: { envelopeId: "" } })).toMatch(
      /^Invalid parameters\.envelopeId/
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
    expect(mailOf({ to, options, announced: ["LIMITS RCPTMAX=4"] })).toBe(
      'Unsupported LIMITS: the recipients do not fit into one transaction, as `recipients: "all"` needs'
    )
    expect(mailOf({ to, options, announced: ["LIMITS RCPTMAX=5"] })).toMatch(/^MAIL/)
  })
})

describe('the plan: pipelining and "all"', () => {
  const two = ["a@example.com", "b@example.com"]
  const shapeOf = (situation: Situation): string => {
    const plan = planOf(situation)
    return plan._tag === "Plan" ? `${plan.ahead} by ${plan.framing}` : plan._tag
  }

  it.each([
    ["off", "command by data"],
    ["envelope", "envelope by data"],
    ["data", "data by data"],
    ["overlap", "data by data"]
  ] as const)("%s is kept with PIPELINING, and one command at a time goes without", (pipelining, shape) => {
    expect(shapeOf({ options: { pipelining } })).toBe(shape)
    expect(shapeOf({ to: two, options: { pipelining } })).toBe(shape)
    expect(shapeOf({ options: { pipelining }, announced: [] })).toBe("command by data")
  })

  it('"all" holds DATA back from several recipients', () => {
    expect(shapeOf({ to: two, options: { recipients: "all" } })).toBe("envelope by data")
    expect(shapeOf({ to: two, options: { recipients: "all", pipelining: "off" } })).toBe("command by data")
    expect(shapeOf({ options: { recipients: "all" } })).toBe("data by data")
  })

  const announced = ["PIPELINING", "CHUNKING"]

  it("content goes by BDAT where it is wanted and offered (RFC 3030), but not in LMTP", () => {
    expect(shapeOf({ announced, options: { chunking: "off" } })).toBe("data by data")
    expect(shapeOf({ announced, options: { chunking: "on" } })).toBe("envelope by bdat")
    expect(shapeOf({ announced, options: { chunking: "eager" } })).toBe("content by bdat")
    expect(shapeOf({ announced: ["PIPELINING"], options: { chunking: "eager" } })).toBe("data by data")
    expect(shapeOf({ announced: ["CHUNKING"], options: { chunking: "eager" } })).toBe("command by bdat")
    const circumstances = { dialect: "lmtp" } as const
    expect(shapeOf({ announced, circumstances, options: { chunking: "eager" } })).toBe("data by data")
  })

  it("content is not eager towards a server that has been silent, nor where everybody has to be accepted", () => {
    const options = { chunking: "eager" } as const
    expect(shapeOf({ announced, options, circumstances: { isAwake: false } })).toBe("envelope by bdat")
    expect(shapeOf({ announced, to: two, options: { ...options, recipients: "all" } })).toBe(
      "envelope by bdat"
    )
    expect(shapeOf({ announced, options: { ...options, pipelining: "off" } })).toBe("command by bdat")
  })

  it("a binary body goes by BDAT or not at all (RFC 3030 section 3)", () => {
    const parameters = { body: "BINARYMIME" } as const
    const binary = [...announced, "BINARYMIME"]
    expect(mailOf({ announced: binary, parameters, options: { chunking: "on" } })).toBe(
      "MAIL FROM:<sender@example.com> BODY=BINARYMIME"
    )
    expect(mailOf({ announced: binary, parameters })).toMatch(/^Unsupported CHUNKING/)
    expect(mailOf({ announced: ["BINARYMIME"], parameters, options: { chunking: "on" } })).toMatch(
      /^Unsupported CHUNKING/
    )
  })

  it('LMTP cannot keep "all" for several', () => {
    const circumstances = { dialect: "lmtp" } as const
    expect(mailOf({ to: two, circumstances })).toMatch(/^MAIL/)
    expect(mailOf({ to: two, circumstances, options: { recipients: "all" } })).toBe(
      'Invalid recipients: it is "all", which LMTP cannot keep for several recipients: each has its own reply'
    )
    expect(mailOf({ circumstances, options: { recipients: "all" } })).toMatch(/^MAIL/)
    expect(
      mailOf({ to: ["a@x.example", "a@X.example"], circumstances, options: { recipients: "all" } })
    ).toMatch(/^MAIL/)
  })
})
