import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SmtpError from "../../src/SmtpError.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { SmtpSocket } from "../../src/SmtpSocket.js"
import * as SmtpTest from "../../src/SmtpTest.js"

describe("a host whose every look-up gives another address, each of which is busy", () => {
  it.scoped("is dialled eight times and no more", () =>
    Effect.gen(function* () {
      let dials = 0
      const busy = SmtpTest.script(SmtpTest.reply("421 4.3.2 busy"), SmtpTest.close)
      const server = yield* SmtpTest.scripted(Array.from({ length: 20 }, () => busy))
      const context = yield* Layer.build(server.layer)
      const inner = Context.get(context, SmtpSocket)
      const socket = SmtpSocket.of({
        dial: (endpoint, options) =>
          Effect.map(inner.dial(endpoint, options), (connection) => ({
            ...connection,
            addresses: { ...connection.addresses, remoteAddress: `192.0.2.${++dials}` }
          }))
      })
      const error = yield* SmtpSession.connect({ host: "mx.test", tls: "none" }).pipe(
        Effect.flip,
        Effect.provide(Context.add(context, SmtpSocket, socket))
      )
      expect(error).toMatchObject({ _tag: "ConnectError", reason: "Greeting", reply: { code: 421 } })
      expect(SmtpError.isTransient(error)).toBe(true)
      expect(dials).toBe(8)
    })
  )
})
