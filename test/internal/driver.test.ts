import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { Failure, Owner } from "../../src/internal/session/driver.js"
import { makeDriver } from "../../src/internal/session/makeDriver.js"
import { makePair } from "../../src/internal/testing/memoryConnection.js"
import { RecentLines } from "../../src/internal/session/recentLines.js"
import * as TimeLimits from "../../src/internal/session/timeLimits.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { listen } from "../support/listen.js"
import { resourcesLeftBy } from "../support/resources.js"
import { message, octets, opened, submission } from "../SmtpSession/oneSession.js"

const { expect: client, reply, script } = SmtpTest

const timers = Effect.sync(() => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length)

/** Runs the client against the script over TCP; gives the sockets and the timers that it leaves. */
const leftBy = (
  pieces: SmtpTest.Script,
  use: (smtp: SmtpSession.Service) => Effect.Effect<unknown, unknown>
) =>
  Effect.gen(function* () {
    const { port } = yield* listen(pieces)
    const before = yield* timers
    const sockets = yield* resourcesLeftBy(
      SmtpSession.make({ host: "127.0.0.1", port, tls: "none", clientName: "client.test" }).pipe(
        Effect.flatMap(use),
        Effect.scoped,
        Effect.provide(NodeSmtp.layer),
        Effect.exit
      )
    )
    // The test runner has timers of its own, which may end meanwhile.
    return { sockets, timers: Math.max(0, (yield* timers) - before) }
  })

const nothing = { sockets: {}, timers: 0 }

const pipelined = script(
  opened("PIPELINING", "8BITMIME"),
  SmtpTest.expectGroup(/^MAIL/, "RCPT TO:<b@y.test>", "DATA"),
  reply("250 ok"),
  reply("250 ok"),
  reply("354 go")
)

describe("a defect of whoever hears of a reply", () => {
  it.scoped("ends the session, and does not leave it waiting for ever", () =>
    Effect.gen(function* () {
      const { client: near, server } = yield* makePair()
      const heard: Array<Failure> = []
      const greeter: Owner = {
        replied: () => {
          throw new Error("boom")
        },
        failed: (failure) => heard.push(failure)
      }
      const driver = yield* makeDriver(near, greeter, {
        dialect: "smtp",
        replyLimits: undefined,
        limits: TimeLimits.make({}),
        recentLines: new RecentLines(undefined),
        window: { messages: 1, octets: 1 },
        onTooManyCommands: Effect.void,
        onViolation: Effect.void
      })
      yield* server.write([octets("220 mx.test\r\n")])
      const failure = { _tag: "Abandoned", reason: "a defect ended the session: boom" }
      expect(yield* driver.awaitEnd).toEqual(failure)
      expect(heard).toEqual([failure])
      expect(yield* server.pull).toBeUndefined()
    })
  )
})

describe("a session over TCP leaves neither sockets nor timers", () => {
  it.scopedLive("when it ends in good order", () =>
    Effect.gen(function* () {
      const quit = script(client("QUIT"), reply("221 bye"))
      const pieces = script(pipelined, SmtpTest.expectContent(message), reply("250 ok"), quit)
      expect(yield* leftBy(pieces, (smtp) => smtp.send(submission))).toEqual(nothing)
    })
  )

  it.scopedLive("when the server resets the connection after the content", () =>
    Effect.gen(function* () {
      const pieces = script(pipelined, SmtpTest.expectContent(message), SmtpTest.reset)
      expect(yield* leftBy(pieces, (smtp) => smtp.send(submission))).toEqual(nothing)
    })
  )

  it.scopedLive("when a send is interrupted in the middle of its content", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      const pieces = script(
        pipelined,
        SmtpTest.expectOctets(65_536),
        SmtpTest.effect(Deferred.succeed(gate, undefined)),
        SmtpTest.silence
      )
      const content = Stream.concat(
        Stream.make(new Uint8Array(65_536).fill(120), new Uint8Array(65_536).fill(120)),
        Stream.never
      )
      const left = yield* leftBy(pieces, (smtp) =>
        Effect.gen(function* () {
          const sending = yield* Effect.fork(smtp.send({ ...submission, content }))
          yield* Deferred.await(gate)
          yield* Fiber.interrupt(sending)
        })
      )
      expect(left).toEqual(nothing)
    })
  )

  it.scopedLive("when a command is interrupted whose reply never comes", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      const pieces = script(
        opened(),
        client("NOOP"),
        SmtpTest.effect(Deferred.succeed(gate, undefined)),
        SmtpTest.close
      )
      const left = yield* leftBy(pieces, (smtp) =>
        Effect.gen(function* () {
          const noop = yield* Effect.fork(smtp.noop)
          yield* Deferred.await(gate)
          yield* Fiber.interrupt(noop)
          yield* smtp.awaitClosed
        })
      )
      expect(left).toEqual(nothing)
    })
  )
})
