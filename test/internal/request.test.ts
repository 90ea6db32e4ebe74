import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { addressesOf, read } from "../../src/internal/session/request.js"
import * as Capabilities from "../../src/protocol/Capabilities.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import * as Plans from "../../src/protocol/Plan.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import { untyped } from "../support/untyped.js"
import { runsOf } from "../support/runs.js"

const submission = { from: "a@x.test", to: "b@y.test", content: "Subject: hi\r\n" }

const fieldOf = (given: unknown): string => {
  const request = read(untyped(given))
  return isInvalid(request) ? request.field : "none"
}

const holed = new Array<string>(2)
holed[1] = "b@y.test"

describe("a submission that no type has seen", () => {
  const notSubmissions: ReadonlyArray<unknown> = [undefined, null, 5, "a@x.test", Symbol.iterator]

  it.each(notSubmissions)("is no object: %s", (given) => {
    expect(fieldOf(given)).toBe("submission")
    expect(addressesOf(untyped(given))).toEqual([])
  })

  it.each<readonly [string, object]>([
    ["from", { from: undefined }],
    ["from", { from: null }],
    ["from", { from: { address: "a@x.test" } }],
    ["to", { to: undefined }],
    ["to", { to: null }],
    ["to[0]", { to: 5 }],
    ["to[0]", { to: [null] }],
    ["to[0]", { to: holed }],
    ["to[1]", { to: ["b@y.test", undefined] }],
    ["to[0].address", { to: {} }],
    ["to[1].address", { to: ["b@y.test", { address: 5 }] }],
    ["to[0].notify", { to: { address: "b@y.test", notify: {} } }],
    ["to[0].notify", { to: { address: "b@y.test", notify: [0n] } }],
    ["recipientParameters.notify", { recipientParameters: { notify: new Array<string>(1) } }],
    ["to[0].originalRecipient", { to: { address: "b@y.test", originalRecipient: null } }],
    ["to[0].rrvs", { to: { address: "b@y.test", rrvs: { since: "today" } } }],
    ["to[0].extra", { to: { address: "b@y.test", extra: [null] } }],
    ["parameters", { parameters: null }],
    ["parameters", { parameters: "RET=HDRS" }],
    ["parameters[0]", { parameters: [5] }],
    ["parameters.size", { parameters: { size: Symbol.iterator } }],
    ["parameters.body", { parameters: { body: null } }],
    ["parameters.smtputf8", { parameters: { smtputf8: "yes" } }],
    ["parameters.priority", { parameters: { priority: "1" } }],
    ["parameters.envelopeId", { parameters: { envelopeId: 5 } }],
    ["parameters.auth", { parameters: { auth: 5 } }],
    ["parameters.deliverBy", { parameters: { deliverBy: null } }],
    ["parameters.holdUntil", { parameters: { holdUntil: "tomorrow" } }],
    ["parameters.extra", { parameters: { extra: {} } }],
    ["parameters.extra", { parameters: { extra: new Array<string>(1) } }],
    ["parameters.extra", { parameters: { extra: [{ keyword: "X", value: 5 }] } }],
    ["recipientParameters", { recipientParameters: 5 }],
    ["recipientParameters[0]", { recipientParameters: [undefined] }],
    ["recipientParameters.notify", { recipientParameters: { notify: 5 } }],
    ["recipients", { recipients: null }],
    ["advanced", { advanced: null }],
    ["advanced.maxSplits", { advanced: { maxSplits: null } }],
    ["advanced.inspectionLimit", { advanced: { inspectionLimit: "1" } }],
    ["timeout", { timeout: null }],
    ["timeout", { timeout: -5 }],
    ["timeout", { timeout: Number.NaN }],
    ["timeout", { timeout: "-5 seconds" }],
    ["onOutcome", { onOutcome: "log" }]
  ])("is wrong in its %s, which is named: %o", (field, own) => {
    expect(fieldOf({ ...submission, ...own })).toBe(field)
  })

  it("may throw as it is read", () => {
    const throwing = {
      get from(): string {
        throw new Error("no such thing")
      }
    }
    expect(read(untyped(throwing))).toEqual({
      _tag: "Invalid",
      field: "submission",
      reason: "cannot be read: no such thing"
    })
  })

  it("has an outcome for each recipient that was named, with the address where it has one", () => {
    const to: Submission["to"] = untyped(["b@y.test", null, { address: "c@y.test" }, {}, 5])
    expect(addressesOf({ ...submission, to })).toEqual(["b@y.test", "", "c@y.test", "", ""])
  })
})

describe("whatever a submission holds", () => {
  const anything = FastCheck.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSparseArray: true
  })
  const mostly = (good: unknown) =>
    FastCheck.oneof({ weight: 9, arbitrary: FastCheck.constant(good) }, { weight: 1, arbitrary: anything })
  const some = (fields: Readonly<Record<string, unknown>>) =>
    FastCheck.record(Object.fromEntries(Object.entries(fields).map(([name, good]) => [name, mostly(good)])), {
      requiredKeys: []
    })
  const extra = [{ keyword: "X", value: "1" }]
  const mail = some({
    size: 5,
    body: "8BITMIME",
    smtputf8: true,
    ret: "FULL",
    envelopeId: "id",
    auth: null,
    requireTls: false,
    priority: 1,
    deliverBy: { seconds: 5, mode: "R" },
    holdFor: 5,
    holdUntil: new Date(0),
    extra
  })
  const rcpt = { notify: ["FAILURE"], originalRecipient: "c@y.test", rrvs: { since: new Date(0) }, extra }
  const recipient = FastCheck.oneof(some({ address: "b@y.test", ...rcpt }), mostly("b@y.test"))
  const given = FastCheck.record({
    from: mostly("a@x.test"),
    to: FastCheck.oneof(recipient, FastCheck.array(recipient)),
    content: mostly("x"),
    parameters: FastCheck.oneof(mail, mostly(undefined), FastCheck.array(mostly("RET=FULL"))),
    recipientParameters: FastCheck.oneof(
      some(rcpt),
      mostly(undefined),
      FastCheck.array(mostly("NOTIFY=NEVER"))
    ),
    timeout: mostly(undefined),
    onOutcome: mostly(undefined)
  })
  const facts = { octets: undefined, eightBit: undefined, utf8Header: undefined }
  const context: Plans.PlanContext = {
    capabilities: Capabilities.none,
    dialect: "smtp",
    verifiedTls: false,
    mails: 0,
    isAwake: true,
    now: 0,
    pipelining: "data",
    chunking: "off",
    recipients: "any"
  }

  it("it is read or refused, and what was read is planned or refused: nothing throws", () => {
    let planned = 0
    FastCheck.assert(
      FastCheck.property(given, (candidate) => {
        const request = read(untyped(candidate))
        expect(Array.isArray(addressesOf(untyped(candidate)))).toBe(true)
        if (isInvalid(request)) {
          expect(request.reason).not.toContain("cannot be read")
          return
        }
        planned++
        expect(Plans.plan(request.envelope, facts, context)).toHaveProperty("_tag")
      }),
      { numRuns: runsOf(2000) }
    )
    expect(planned).toBeGreaterThan(50)
  })
})
