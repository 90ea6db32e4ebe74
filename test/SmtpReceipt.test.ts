import { describe, expect, it } from "@effect/vitest"
import { make as makeReply } from "../src/protocol/Reply.js"
import { ServerDisconnected } from "../src/SmtpError.js"
import * as SmtpReceipt from "../src/SmtpReceipt.js"

const reply = (code: number, text: string) => makeReply(code, [text], false)

const cause = new ServerDisconnected({ phase: "mail" })
const afterDot = new ServerDisconnected({ phase: "final" })

describe("a receipt", () => {
  const [accepted, refused] = [
    SmtpReceipt.accepted("ann@y.test", reply(250, "ok")),
    SmtpReceipt.refused("bob@y.test", reply(550, "no"), "rcpt")
  ] as const
  const outcomes: SmtpReceipt.Receipt["outcomes"] = [
    accepted,
    refused,
    SmtpReceipt.notSent("carl@y.test", cause),
    SmtpReceipt.unknown("dora@y.test", afterDot),
    SmtpReceipt.accepted("eve@y.test", reply(250, "ok"))
  ]
  const receipt = SmtpReceipt.make(outcomes, { octets: 22, changed: false, longestLine: 11 })

  it("keeps the outcomes in the caller's order", () => {
    expect(receipt.outcomes).toEqual(outcomes)
  })

  it("has at least one outcome, by its type", () => {
    const [first] = receipt.outcomes
    const { recipient }: { readonly recipient: string } = first
    expect(recipient).toBe("ann@y.test")
  })

  it("has each outcome in the list of its kind, in the same order", () => {
    expect(receipt.accepted.map(({ recipient }) => recipient)).toEqual(["ann@y.test", "eve@y.test"])
    expect(receipt.refused.map(({ recipient }) => recipient)).toEqual(["bob@y.test"])
    expect(receipt.notSent.map(({ recipient }) => recipient)).toEqual(["carl@y.test"])
    expect(receipt.unknown.map(({ recipient }) => recipient)).toEqual(["dora@y.test"])
  })

  it("tells of the content, where something of it was seen", () => {
    expect(receipt.content).toEqual({ octets: 22, changed: false, longestLine: 11 })
    expect(SmtpReceipt.make([accepted]).content).toBeUndefined()
  })

  it("is plain data, causes aside", () => {
    const plain = SmtpReceipt.make([accepted, refused])
    expect(structuredClone(JSON.parse(JSON.stringify(plain)))).toMatchObject({
      accepted: [{ _tag: "Accepted", recipient: "ann@y.test" }],
      refused: [{ _tag: "Refused", recipient: "bob@y.test" }]
    })
  })
})

describe("an outcome", () => {
  it("Refused is permanent for 5yz alone (RFC 5321 section 4.2.1)", () => {
    expect(SmtpReceipt.refused("a@y.test", reply(552, "no"), "final").permanent).toBe(true)
    expect(SmtpReceipt.refused("a@y.test", reply(452, "no"), "final").permanent).toBe(false)
    expect(SmtpReceipt.refused("a@y.test", reply(421, "no"), "final").permanent).toBe(false)
  })

  it("Refused names the phase", () => {
    expect(SmtpReceipt.refused("a@y.test", reply(550, "no"), "data")).toMatchObject({ phase: "data" })
  })

  const replies: ReadonlyArray<readonly [string, string | undefined]> = [
    ["2.0.0 Ok: queued as 4Xyz12", "4Xyz12"],
    ["OK id=1uABcd-000123-4e", "1uABcd-000123-4e"],
    ["2.0.0 4AIJk123456 Message accepted for delivery", "4AIJk123456"],
    ["ok", undefined],
    ["Thank you", undefined]
  ]
  for (const [text, queueId] of replies) {
    it(`Accepted has ${queueId ?? "no queue id"} of "${text}"`, () => {
      expect(SmtpReceipt.accepted("a@y.test", reply(250, text)).queueId).toBe(queueId)
    })
  }
})
