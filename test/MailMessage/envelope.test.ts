import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as MailMessage from "../../src/MailMessage.js"

// What vitest calls any.
const containing = (text: string): unknown => expect.stringContaining(text)

const envelopeOf = (input: MailMessage.Input) => Effect.map(MailMessage.make(input), MailMessage.envelope)

describe("the envelope of a message", () => {
  it.effect("is from the only author, to To, Cc and Bcc, members of groups included", () =>
    Effect.gen(function* () {
      expect(
        yield* envelopeOf({
          from: "App <app@example.com>",
          to: ["ann@example.net", { group: "Us", members: [{ address: "bob@example.net" }] }],
          cc: "carol@example.net",
          bcc: ["dave@example.net", "undisclosed-recipients:;"]
        })
      ).toEqual({
        from: "app@example.com",
        to: ["ann@example.net", "bob@example.net", "carol@example.net", "dave@example.net"]
      })
    })
  )

  it.effect("is from the sender where there is one (RFC 5322 section 3.6.2)", () =>
    Effect.gen(function* () {
      expect(
        yield* envelopeOf({
          from: ["ann@example.com", "bob@example.com"],
          sender: "office@example.com",
          to: "carol@example.net"
        })
      ).toEqual({ from: "office@example.com", to: ["carol@example.net"] })
    })
  )

  it.effect("names each mailbox once, by the equality of sessions, in its first place", () =>
    Effect.gen(function* () {
      const { to } = yield* envelopeOf({
        from: "app@example.com",
        to: ["ann@example.net", "bob@exämple.org"],
        cc: ["carol@example.net", "Ann <ann@EXAMPLE.net>", '"ann"@example.net', "Ann@example.net"],
        bcc: ["ann@example.net", "bob@xn--exmple-cua.org", "dave@example.net"]
      })
      expect(to).toEqual([
        "ann@example.net",
        "bob@exämple.org",
        "carol@example.net",
        "Ann@example.net",
        "dave@example.net"
      ])
    })
  )

  it.effect("of a message that is sent again is all of the Resent- fields", () =>
    Effect.gen(function* () {
      const first = {
        from: "ann@example.com",
        to: "bob@example.net",
        cc: "x@example.net",
        bcc: "y@example.net"
      }
      expect(
        yield* envelopeOf({
          ...first,
          resent: { from: "carol@example.com", to: "dave@example.net", bcc: "erin@example.net" }
        })
      ).toEqual({ from: "carol@example.com", to: ["dave@example.net", "erin@example.net"] })
      expect(
        yield* envelopeOf({
          ...first,
          resent: { from: "carol@example.com", sender: "office@example.com", cc: "dave@example.net" }
        })
      ).toEqual({ from: "office@example.com", to: ["dave@example.net"] })
    })
  )
})

const submission = MailMessage.make({
  from: "app@example.com",
  to: ["ann@example.net", "Bob <bob+x=y@exämple.org>"],
  subject: "x",
  text: "x"
}).pipe(Effect.flatMap((message) => MailMessage.submission(message)))

const sender = "bounces@lists.example.org"

describe("variable envelope return paths", () => {
  it.effect("are one submission for each recipient, with the recipient in the reverse-path", () =>
    Effect.gen(function* () {
      const whole = yield* submission
      const each = yield* MailMessage.verp(whole, { sender })
      expect(each.map(({ from, to }) => [from, to])).toEqual([
        ["bounces+ann=example.net@lists.example.org", { address: "ann@example.net" }],
        ["bounces+bob+x=y=xn--exmple-cua.org@lists.example.org", { address: "bob+x=y@exämple.org" }]
      ])
      expect(each.every(({ content }) => content === whole.content)).toBe(true)
    })
  )

  it.effect("keep what a recipient asks for, and take another delimiter", () =>
    Effect.gen(function* () {
      const whole = {
        ...(yield* submission),
        to: { address: "ann@example.net", notify: ["FAILURE"] as const }
      }
      expect(yield* MailMessage.verp(whole, { sender, delimiter: "-" })).toMatchObject([
        { from: "bounces-ann=example.net@lists.example.org", to: { notify: ["FAILURE"] } }
      ])
    })
  )

  it.effect("are refused where the address cannot hold them", () =>
    Effect.gen(function* () {
      const whole = yield* submission
      const refused = (to: string, from = sender) =>
        Effect.flip(MailMessage.verp({ ...whole, to: ["ann@example.net", to] }, { sender: from }))
      expect(yield* refused('"a b"@example.net')).toMatchObject({
        field: "to[1]",
        reason: containing("quoted")
      })
      expect(yield* refused(`${"x".repeat(60)}@example.net`)).toMatchObject({
        field: "to[1]",
        reason: containing("more than 64 bytes")
      })
      expect(yield* refused("bob@example.net", "nobody")).toMatchObject({ field: "verp" })
    })
  )

  it("are read back, whatever letters the local part has", () => {
    const local = FastCheck.stringMatching(/^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}$/)
    FastCheck.assert(
      FastCheck.property(local, FastCheck.constantFrom("example.net", "a.b.example"), (name, domain) => {
        const recipient = `${name}@${domain}`
        const [made] = Effect.runSync(MailMessage.verp({ from: "", to: recipient, content: "x" }, { sender }))
        expect(MailMessage.verpRecipient(made?.from ?? "", { sender })).toBe(recipient)
      })
    )
  })

  it("of another sender name nobody", () => {
    for (const path of [
      "bounces@lists.example.org",
      "x+ann=example.net@lists.example.org",
      "bounces+ann@lists.example.org",
      "bounces+ann=example.net@example.org",
      "<>",
      ""
    ]) {
      expect(MailMessage.verpRecipient(path, { sender })).toBeUndefined()
    }
  })
})
