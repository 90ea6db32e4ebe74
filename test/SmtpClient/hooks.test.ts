import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { collectLogs } from "../support/logs.js"
import { ask, goodbye, opened, submission } from "../SmtpSession/oneSession.js"
import { makeClient, network } from "./client.js"

const settle = TestClock.adjust(0)

const named = { ...submission, parameters: { envelopeId: "letter-17" } } as const

const never = { "mx.test": { socket: { dial: () => Effect.never } } }

const broken = [
  ["dies", () => Effect.die("a bug")],
  [
    "throws",
    (): never => {
      throw new Error("a bug")
    }
  ]
] as const

const logged = [
  {
    level: "ERROR",
    text: "onOutcome ended in a defect: a bug",
    annotations: { "smtp.envelope_id": "letter-17" }
  }
]

describe("the hook of a message", () => {
  it.scoped("that is running is awaited by the end of its client", () =>
    Effect.gen(function* () {
      let isSaved = false
      const onOutcome = () =>
        Effect.delay(
          Effect.sync(() => {
            isSaved = true
          }),
          "3 seconds"
        )
      const client = yield* makeClient(never)
      const sending = yield* Effect.fork(client.deliver({ ...submission, onOutcome }))
      yield* settle
      yield* Fiber.interrupt(sending)
      const closing = yield* Effect.fork(client.close)
      yield* TestClock.adjust(2_999)
      expect([closing.unsafePoll(), isSaved]).toEqual([null, false])
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
      expect(isSaved).toBe(true)
    })
  )

  it.scoped("is awaited no longer than the client may take to close", () =>
    Effect.gen(function* () {
      const client = yield* makeClient(never, { shutdownTimeout: "10 seconds" })
      const sending = yield* Effect.fork(client.deliver({ ...submission, onOutcome: () => Effect.never }))
      yield* settle
      yield* Fiber.interrupt(sending)
      const closing = yield* Effect.fork(client.close)
      yield* TestClock.adjust(9_999)
      expect(closing.unsafePoll()).toBe(null)
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
    })
  )

  it.scoped.each(broken)("is the program's: that it %s is logged, and costs nothing else", ([, onOutcome]) =>
    Effect.gen(function* () {
      const { entries, layer } = yield* collectLogs
      const server = yield* SmtpTest.server({ capabilities: ["DSN"], accept: () => "450 4.2.0 later" })
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      const sending = client.deliver({ ...named, onOutcome })
      const fiber = yield* Effect.fork(Effect.provide(sending, layer))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.interrupt(fiber)
      expect((yield* entries).filter(({ level }) => level === "ERROR")).toEqual(logged)
      yield* client.close
    })
  )

  it.scoped.each(broken)("of a session is logged where it %s", ([, onOutcome]) =>
    Effect.gen(function* () {
      const { entries, layer } = yield* collectLogs
      const server = yield* SmtpTest.scripted([
        SmtpTest.script(
          opened(),
          SmtpTest.expect(/^MAIL/),
          SmtpTest.delay("1 second"),
          SmtpTest.reply("550 no"),
          ask("RSET", "250 ok"),
          goodbye
        )
      ])
      const { clientName, host, tls } = { clientName: "client.test", host: "mx.test", tls: "none" } as const
      const session = yield* Effect.provide(
        SmtpSession.make({ clientName, host, tls }),
        network({ "mx.test": server })
      )
      yield* Effect.fork(session.deliver(submission))
      yield* settle
      const waiting = yield* Effect.fork(Effect.provide(session.deliver({ ...named, onOutcome }), layer))
      yield* settle
      yield* Fiber.interrupt(waiting)
      expect((yield* entries).filter(({ level }) => level === "ERROR")).toEqual(logged)
      yield* TestClock.adjust("1 second")
    })
  )
})
