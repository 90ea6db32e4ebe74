import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SmtpReply from "../src/SmtpReply.js"
import * as SmtpSession from "../src/SmtpSession.js"
import * as SmtpTest from "../src/SmtpTest.js"

describe("SmtpReply", () => {
  it.scoped("formats and judges the replies that a session gives", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.reply("220 mx.test ESMTP"),
          SmtpTest.expect("VRFY nobody"),
          SmtpTest.reply("550-5.1.1 no such user,", "550 5.1.1 not here"),
          SmtpTest.expect("QUIT"),
          SmtpTest.reply("221 bye")
        )
      )
      const asking = Effect.gen(function* () {
        const smtp = yield* SmtpSession.connect({ host: "mx.test", tls: "none" })
        return yield* smtp.vrfy("nobody")
      }).pipe(Effect.scoped, Effect.provide(server.layer))
      const reply: SmtpReply.Reply = yield* server.verify(asking)
      expect(SmtpReply.format(reply)).toBe("550 5.1.1 no such user, / not here")
      expect(SmtpReply.isPermanent(reply)).toBe(true)
      expect(SmtpReply.isTransient(reply)).toBe(false)
      expect(SmtpReply.severity(reply)).toBe("PermanentNegative")
      expect(SmtpReply.hasDetail(reply, 1, 1)).toBe(true)
    })
  )
})
