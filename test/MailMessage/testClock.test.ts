/** A composed message under TestClock: one adjust is enough, as README's recipe says. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as MailMessage from "../../src/MailMessage.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { makeClient } from "../SmtpClient/client.js"

const input: MailMessage.Input = {
  from: "app@example.com",
  to: "ann@example.net",
  subject: "Grüße",
  text: "Hello.\n",
  html: '<p>Grüße <img src="cid:logo@x"></p>',
  alternatives: [{ contentType: "text/markdown", content: "*Hello*" }],
  attachments: [
    { filename: "logo.png", cid: "logo@x", content: new Uint8Array(5_000) },
    { filename: "report.pdf", content: new Uint8Array(20_000) }
  ]
}

describe("a composed message", () => {
  it.scoped("is sent again within one adjust of the clock, in the fiber that makes it", () =>
    Effect.gen(function* () {
      let count = 0
      const server = yield* SmtpTest.server({ accept: () => (count++ < 2 ? "450 4.2.0 later" : "250 ok") })
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      const fiber = yield* MailMessage.make(input).pipe(
        Effect.flatMap((message) => MailMessage.submission(message)),
        Effect.flatMap(client.send),
        Effect.fork
      )
      yield* TestClock.adjust("1 hour")
      expect(fiber.unsafePoll()).not.toBeNull()
      const receipt = yield* Fiber.join(fiber)
      expect(receipt.accepted).toHaveLength(1)
      expect(count).toBe(3)
    })
  )

  it.effect("of parts in memory is composed without a turn of the event loop", () =>
    Effect.gen(function* () {
      const message = yield* MailMessage.make(input)
      const { content } = Effect.runSync(MailMessage.submission(message))
      expect(content).toBeInstanceOf(Uint8Array)
    })
  )
})
