import { expect, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { suite } from "./availability.js"
import { conformance, expectOctets, fromRunning } from "./conformance.js"
import { deferredSender, Exim, layer as eximLayer, start } from "./exim.js"
import { agreesOnEveryMessage, deliversOverSessions, levels } from "./levels.js"
import { bob, busyRecipient, refusedField, user } from "./running.js"

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const content = encode("From: <bob@example.test>\r\nSubject: Exim\r\n\r\n.dots\r\n")

const session = Effect.flatMap(Exim, ({ host, port }) => SmtpSession.make({ host, port, tls: "none" }))

suite("Exim", ["Exim"], () => {
  conformance("Exim", Effect.map(start(), fromRunning), [
    "STARTTLS",
    "implicit",
    "AUTH",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
    "PIPELINING",
    "longLines"
  ])

  layer(Layer.merge(eximLayer(), NodeSmtp.layer), { excludeTestServices: true })("and a session", (it) => {
    it.scoped("learn refusals for now and after the content, and the queue id", () =>
      Effect.gen(function* () {
        const smtp = yield* session
        const receipt = yield* smtp.send({ from: bob, to: [busyRecipient, user(301)], content })
        expect(receipt.refused).toMatchObject([{ recipient: busyRecipient, permanent: false }])
        expect(receipt.accepted[0]?.queueId).toMatch(/^[\w-]{16,}$/)
        const refused = encode(`${refusedField}\r\n\r\nx\r\n`)
        expect(yield* Effect.flip(smtp.send({ from: bob, to: user(302), content: refused }))).toMatchObject({
          _tag: "DataError",
          phase: "final",
          reply: { code: 550 }
        })
      })
    )

    it.scoped.each(Object.keys(levels).map((level, index) => [level, index] as const))(
      "agree on every message of many at once: %s",
      ([level, index]) =>
        Effect.flatMap(Exim, (server) => agreesOnEveryMessage(server, level, 501 + 50 * index))
    )

    it.scoped("agree on what is behind a 421 that does not end the session", () =>
      Effect.gen(function* () {
        const { awaitMessages, host, port } = yield* Exim
        const smtp = yield* SmtpSession.make({ host, port, tls: "none", chunking: "eager" })
        yield* smtp.send({ from: bob, to: user(310), content })
        const receipts = yield* Effect.forEach(
          [bob, deferredSender, bob, bob],
          (from, index) => smtp.deliver({ from, to: user(311 + index), content }),
          { concurrency: "unbounded" }
        )
        expect(receipts.map(({ outcomes: [{ _tag }] }) => _tag)).toEqual([
          "Accepted",
          "Refused",
          "Accepted",
          "Accepted"
        ])
        expect(receipts[1]?.refused).toMatchObject([
          { phase: "mail", permanent: false, reply: { code: 421 } }
        ])
        for (const index of [311, 313, 314]) expect(yield* awaitMessages(user(index))).toHaveLength(1)
      })
    )

    it.scoped("agree on BDAT by hand (RFC 3030)", () =>
      Effect.gen(function* () {
        const { awaitMessages } = yield* Exim
        const smtp = yield* session
        yield* smtp.mail(bob)
        yield* smtp.rcpt(user(303))
        yield* smtp.bdat(content.subarray(0, 20))
        yield* smtp.bdat(content.subarray(20), { last: true })
        expectOctets((yield* awaitMessages(user(303)))[0]?.content, content)
      })
    )
  })

  layer(
    Layer.merge(
      eximLayer({ overrides: { recipients_max: "10", recipients_max_reject: "false" } }),
      NodeSmtp.layer
    ),
    { excludeTestServices: true }
  )("with lowered limits and a session", (it) => {
    it.scoped("divide the recipients of one message into as many transactions as it takes", () =>
      Effect.gen(function* () {
        const { awaitMessages } = yield* Exim
        const smtp = yield* session
        const to = Array.from({ length: 25 }, (_, index) => user(400 + index))
        expect((yield* smtp.send({ from: bob, to, content })).accepted.length).toBe(25)
        for (const recipient of to) {
          const messages = yield* awaitMessages(recipient)
          expect(messages.length).toBe(1)
          expectOctets(messages[0]?.content, content)
        }
      })
    )
  })

  layer(Layer.merge(eximLayer({ overrides: { smtp_accept_max_nonmail: "1" } }), NodeSmtp.layer), {
    excludeTestServices: true
  })("that ends sessions for few commands without mail, and sessions", (it) => {
    it.scoped.each(Object.keys(levels).map((level, index) => [level, index] as const))(
      "deliver every message once: %s",
      ([level, index]) =>
        Effect.gen(function* () {
          const sessions = yield* deliversOverSessions(yield* Exim, level, 501 + 50 * index)
          expect(sessions).toBeGreaterThan(1)
        })
    )
  })
})
