import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FiberRefs from "effect/FiberRefs"
import * as HashSet from "effect/HashSet"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { inTransaction } from "./oneSession.js"
import { letter } from "./severalAtOnce.js"

const options: SmtpSession.Options = { host: "mx.test", tls: "none", clientName: "client.test" }

const references = Effect.map(Effect.getFiberRefs, (refs) => HashSet.size(FiberRefs.fiberRefs(refs)))

describe("a fiber that opens one session after the other", () => {
  const flow = (name: string, use: (smtp: SmtpSession.Service) => Effect.Effect<unknown, unknown>) =>
    it.scoped(`carries nothing of those that are over: ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* SmtpTest.server()
        const once = Effect.scoped(Effect.flatMap(SmtpSession.make(options), use)).pipe(
          Effect.provide(server.layer)
        )
        yield* once
        const before = yield* references
        yield* Effect.repeatN(once, 20)
        expect(yield* references).toBe(before)
      })
    )
  flow("send", (smtp) => smtp.send(letter("one")))
  flow("commands by hand", (smtp) =>
    Effect.all([smtp.mail("a@x.test"), smtp.rcpt("b@y.test"), smtp.data("Subject: x\r\n\r\nx\r\n")])
  )
  flow("a transaction", (smtp) => inTransaction(smtp, ({ rcpt }) => rcpt("b@y.test")))

  it.scoped("may have envelopes on several of them at once", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const open = Effect.provide(SmtpSession.make(options), server.layer)
      const sessions = [yield* open, yield* open, yield* open]
      for (const smtp of sessions) yield* smtp.mail("a@x.test")
      for (const smtp of sessions) yield* smtp.rcpt("b@y.test")
      for (const smtp of sessions) yield* smtp.data("Subject: x\r\n\r\nx\r\n")
      expect((yield* server.messages).length).toBe(3)
    })
  )

  it.scoped("may nest a transaction of one in that of another", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const open = Effect.provide(SmtpSession.make(options), server.layer)
      const [one, two] = [yield* open, yield* open]
      const data = "Subject: x\r\n\r\nx\r\n"
      yield* inTransaction(one, (outer) =>
        Effect.gen(function* () {
          yield* inTransaction(two, (inner) => Effect.zipRight(inner.rcpt("d@y.test"), inner.data(data)))
          yield* outer.rcpt("b@y.test")
          yield* outer.data(data)
        })
      )
      expect((yield* server.messages).length).toBe(2)
    })
  )
})
