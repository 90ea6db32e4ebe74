import { expect, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { suite } from "./availability.js"
import type { Feature } from "./conformance.js"
import { conformance, expectOctets, fromRunning } from "./conformance.js"
import { Dovecot, layer as dovecotLayer, start } from "./dovecot.js"
import { bob, fullRecipient, unknownRecipient, user } from "./running.js"

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const content = encode("From: <bob@example.test>\r\nSubject: Dovecot\r\n\r\n.dots\r\n")

const features: ReadonlyArray<Feature> = ["8BITMIME", "PIPELINING", "longLines"]

suite("Dovecot", ["Dovecot"], () => {
  conformance(
    "Dovecot LMTP over TCP",
    Effect.map(start(), (running) => fromRunning(running, "lmtp")),
    features
  )

  conformance(
    "Dovecot LMTP over a UNIX socket",
    Effect.map(start(), (running) => ({
      ...fromRunning(running, "lmtp"),
      endpoint: { path: running.socket, dialect: "lmtp" }
    })),
    features
  )

  layer(Layer.merge(dovecotLayer(), NodeSmtp.layer), { excludeTestServices: true })("and a session", (it) => {
    it.scoped("give each recipient the verdict of its own mailbox (RFC 2033 section 4.2)", () =>
      Effect.gen(function* () {
        const { awaitMessages, socket } = yield* Dovecot
        const smtp = yield* SmtpSession.make({ path: socket, dialect: "lmtp" })
        const to = [user(301), fullRecipient, unknownRecipient, user(302)]
        const receipt = yield* smtp.send({ from: bob, to, content })
        expect(receipt.outcomes).toMatchObject([
          { _tag: "Accepted", recipient: user(301), reply: { code: 250 } },
          {
            _tag: "Refused",
            recipient: fullRecipient,
            phase: "final",
            permanent: true,
            reply: { code: 552 }
          },
          {
            _tag: "Refused",
            recipient: unknownRecipient,
            phase: "rcpt",
            permanent: true,
            reply: { code: 550 }
          },
          { _tag: "Accepted", recipient: user(302), reply: { code: 250 } }
        ])
        for (const recipient of [user(301), user(302)]) {
          expectOctets((yield* awaitMessages(recipient))[0]?.content, content)
        }
      })
    )

    it.scoped("give the replies for each recipient to DATA by hand", () =>
      Effect.gen(function* () {
        const { socket } = yield* Dovecot
        const smtp = yield* SmtpSession.make({ path: socket, dialect: "lmtp" })
        yield* smtp.mail(bob)
        yield* smtp.rcpt(user(303))
        yield* smtp.rcpt(fullRecipient)
        const replies = yield* smtp.data(content)
        expect(replies.map(({ code }) => code)).toEqual([250, 552])
        expect((yield* smtp.noop).code).toBe(250)
      })
    )
  })
})
