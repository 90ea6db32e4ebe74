import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ask, goodbye, opened, outcomes, submission } from "../SmtpSession/oneSession.js"
import { makeClient } from "./client.js"

const settle = TestClock.adjust(0)

/** A server that answers the content after the delay. */
const slow = (delay: string) =>
  SmtpTest.script(
    opened(),
    ask(/^MAIL/, "250 ok"),
    ask(/^RCPT/, "250 ok"),
    ask("DATA", "354 go"),
    SmtpTest.expectContent(submission.content),
    SmtpTest.delay(delay === "never" ? "10 minutes" : "5 seconds"),
    SmtpTest.reply("250 ok")
  )

describe("closing a client", () => {
  it.scoped("lets a message under way finish, turns the others away, and says QUIT", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([SmtpTest.script(slow("5 seconds"), goodbye)])
      const scope = yield* Scope.make()
      const client = yield* Scope.extend(makeClient({ "mx.test": server }, { maxSessions: 1 }), scope)
      const working = yield* Effect.fork(client.deliver(submission))
      yield* settle
      const waiting = yield* Effect.fork(client.deliver(submission))
      yield* settle
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* settle
      expect(outcomes(yield* Fiber.join(waiting))).toEqual(["b@y.test NotSent ClientUnavailable"])
      expect(yield* Effect.flip(client.send(submission))).toMatchObject({
        _tag: "ClientUnavailable",
        reason: "Closed"
      })
      yield* TestClock.adjust(4999)
      expect([working.unsafePoll(), closing.unsafePoll()]).toEqual([null, null])
      yield* TestClock.adjust(1)
      expect(outcomes(yield* Fiber.join(working))).toEqual(["b@y.test Accepted 250"])
      yield* Fiber.join(closing)
      yield* server.done
    })
  )

  it.scoped("waits no longer than it may: the outcome is what is known then", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([slow("never")])
      const client = yield* makeClient({ "mx.test": server }, { shutdownTimeout: "10 seconds" })
      const working = yield* Effect.fork(client.deliver(submission))
      yield* settle
      const closing = yield* Effect.fork(client.close)
      yield* TestClock.adjust("10 seconds")
      // QUIT is said within 5 seconds, or not at all.
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(closing)
      expect(outcomes(yield* Fiber.join(working))).toEqual(["b@y.test Unknown ServerDisconnected final"])
      expect(yield* client.state).toMatchObject({ open: 0, isClosed: true })
    })
  )

  it.scoped("ends the pause before another attempt: the outcome is that of the last one", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ accept: () => "450 4.2.0 later" })
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      const pausing = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust("10 seconds")
      yield* client.close
      expect(outcomes(yield* Fiber.join(pausing))).toEqual(["b@y.test Refused 450 rcpt"])
    })
  )

  it.scoped("gives up what is being opened", () =>
    Effect.gen(function* () {
      const client = yield* makeClient({ "mx.test": { socket: { dial: () => Effect.never } } })
      const waiting = yield* Effect.fork(client.deliver(submission))
      yield* settle
      yield* client.close
      expect(outcomes(yield* Fiber.join(waiting))).toEqual(["b@y.test NotSent ClientUnavailable"])
      yield* client.close
    })
  )
})
