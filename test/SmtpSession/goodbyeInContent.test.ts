import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { listen } from "../support/listen.js"
import { greeting, outcomes } from "./oneSession.js"

const line = new TextEncoder().encode(`${"x".repeat(76)}\r\n`.repeat(800))

// A write that fails often hides the reason, which has been received already.
it.scopedLive("a 421 in the middle of content is heard over TCP, though the writes behind it fail", () =>
  Effect.gen(function* () {
    const { port } = yield* listen(
      SmtpTest.script(
        greeting,
        SmtpTest.expect("EHLO client.test"),
        SmtpTest.reply("250-mx.test", "250-PIPELINING", "250 8BITMIME"),
        SmtpTest.expectGroup(/^MAIL FROM/, /^RCPT TO/, "DATA"),
        SmtpTest.reply("250 ok", "250 ok", "354 go"),
        SmtpTest.expectOctets(60_000),
        SmtpTest.reply("421 4.3.2 shutting down"),
        SmtpTest.close
      )
    )
    const smtp = yield* SmtpSession.make({ host: "127.0.0.1", port, tls: "none", clientName: "client.test" })
    const content = Stream.repeatEffect(Effect.as(Effect.yieldNow(), line)).pipe(Stream.take(2_000))
    const receipt = yield* smtp.deliver({ from: "a@x.test", to: "b@y.test", content })
    expect(outcomes(receipt)).toEqual(["b@y.test Refused 421 content"])
    expect(yield* smtp.state).toBe("Closed")
  }).pipe(Effect.provide(NodeSmtp.layer))
)
