import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ask, goodbye, message, octets, opened, outcomes, submission } from "./oneSession.js"
import { replies, writes } from "./severalAtOnce.js"

const base: SmtpSession.Options = { host: "mx.test", tls: "none", clientName: "client.test" }

const envelope = ["MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"]
const group = SmtpTest.script(
  SmtpTest.expectGroup(...envelope, "DATA"),
  replies("250 ok", "250 ok", "354 go")
)
const content = SmtpTest.expectContent(message)

/** What became of the message, and what the client wrote, one text for each write. */
const once = (script: SmtpTest.Scripts, own: SmtpSession.Options = {}, given: Partial<Submission> = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(script)
      const sending = SmtpSession.sendOnce({ ...base, ...own }, { ...submission, ...given })
      const result = yield* Effect.either(server.verify(Effect.provide(sending, server.layer)))
      return { result, writes: yield* writes(server) }
    })
  )

const accepted = (recipient = "b@y.test") => [`${recipient} Accepted 250`]

const told = ({ result }: Effect.Effect.Success<ReturnType<typeof once>>): unknown =>
  result._tag === "Right" ? outcomes(result.right) : result.left

describe("a session for one message", () => {
  it.effect.each([
    ["with PIPELINING", ["PIPELINING"], {}],
    ["without PIPELINING", [], {}],
    ['at pipelining "overlap"', ["PIPELINING"], { pipelining: "overlap" }],
    ['at pipelining "envelope"', ["PIPELINING"], { pipelining: "envelope" }],
    ['at pipelining "off"', ["PIPELINING"], { pipelining: "off" }]
  ] as const)("says QUIT once the verdict is in: %s", ([, capabilities, own]) =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened(...capabilities),
        ...[...envelope, "DATA"].flatMap((line) => [
          SmtpTest.expect(line),
          SmtpTest.reply(line === "DATA" ? "354 go" : "250 ok")
        ]),
        content,
        SmtpTest.expectNothing("1 second"),
        SmtpTest.reply("250 ok"),
        goodbye
      )
      const running = yield* Effect.fork(once(script, own))
      yield* TestClock.adjust("1 second")
      expect(told(yield* Fiber.join(running))).toEqual(accepted())
    })
  )

  it.effect("does so behind a stream as well", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("PIPELINING", "8BITMIME"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test> BODY=8BITMIME", "RCPT TO:<b@y.test>", "DATA"),
        replies("250 ok", "250 ok", "354 go"),
        content,
        SmtpTest.reply("250 ok"),
        goodbye
      )
      const run = yield* once(script, {}, { content: Stream.make(octets(message)) })
      expect(told(run)).toEqual(accepted())
    })
  )

  it.effect("gives the receipt before the reply to QUIT, which is with the socket by then", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("PIPELINING"),
        group,
        content,
        SmtpTest.reply("250 ok"),
        SmtpTest.expect("QUIT"),
        SmtpTest.delay("1 minute")
      )
      const server = yield* SmtpTest.scripted(script)
      const receipt = yield* Effect.provide(SmtpSession.sendOnce(base, submission), server.layer)
      expect(outcomes(receipt)).toEqual(accepted())
      expect((yield* writes(server)).at(-1)).toBe("QUIT\r\n")
    }).pipe(Effect.scoped)
  )

  it.effect("closes the connection one second after QUIT at the latest", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("PIPELINING"),
        group,
        content,
        SmtpTest.reply("250 ok"),
        SmtpTest.expect("QUIT"),
        SmtpTest.expectEnd
      )
      const server = yield* SmtpTest.scripted(script)
      yield* Effect.provide(SmtpSession.sendOnce(base, submission), server.layer)
      const ended = yield* Effect.fork(server.verify(Effect.void))
      yield* TestClock.adjust("999 millis")
      expect(yield* Fiber.poll(ended)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(ended)
    }).pipe(Effect.scoped)
  )

  it.effect("is Unknown when a server that says yes to QUIT alone answers the content by 221", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("PIPELINING"),
        group,
        content,
        SmtpTest.reply("221 bye"),
        SmtpTest.close
      )
      expect(told(yield* once(script))).toMatchObject({ _tag: "ServerDisconnected", phase: "final" })
    })
  )

  it.effect("says QUIT by itself where no content leaves", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("PIPELINING"),
        SmtpTest.expectGroup(...envelope, "DATA"),
        replies("250 ok", "550 nobody", "554 no recipients"),
        ask("RSET", "250 ok"),
        goodbye
      )
      const run = yield* once(script)
      expect(told(run)).toMatchObject({ _tag: "RecipientsRefused" })
    })
  )

  it.effect("says QUIT behind a refusal of the message too", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("PIPELINING"),
        group,
        content,
        SmtpTest.reply("554 5.7.1 spam"),
        ask("RSET", "250 ok"),
        goodbye
      )
      expect(told(yield* once(script))).toMatchObject({ _tag: "DataError", reply: { code: 554 } })
    })
  )

  it.effect("keeps the session for recipients that were too many for the first transaction", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("PIPELINING"),
        SmtpTest.expectGroup(...envelope, "RCPT TO:<c@y.test>", "DATA"),
        replies("250 ok", "250 ok", "452 4.5.3 too many", "354 go"),
        content,
        SmtpTest.reply("250 ok"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<c@y.test>", "DATA"),
        replies("250 ok", "250 ok", "354 go"),
        content,
        SmtpTest.reply("250 ok"),
        goodbye
      )
      const run = yield* once(script, {}, { to: ["b@y.test", "c@y.test"] })
      expect(told(run)).toEqual([...accepted(), ...accepted("c@y.test")])
    })
  )

  it.effect("does not know the verdict when the session ends in its place", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(opened("PIPELINING"), group, content, SmtpTest.close)
      expect(told(yield* once(script))).toMatchObject({
        _tag: "ServerDisconnected",
        phase: "final"
      })
    })
  )

  it.effect("is interrupted with the outcome going to the hook", () =>
    Effect.gen(function* () {
      const hooked: Array<string> = []
      const script = SmtpTest.script(
        opened("PIPELINING"),
        group,
        content,
        SmtpTest.delay("500 millis"),
        SmtpTest.reply("250 ok"),
        goodbye
      )
      const onOutcome: Submission["onOutcome"] = (receipt) =>
        Effect.sync(() => {
          hooked.push(...outcomes(receipt))
        })
      const server = yield* SmtpTest.scripted(script)
      const sending = SmtpSession.sendOnce(base, { ...submission, onOutcome })
      const running = yield* Effect.fork(Effect.provide(sending, server.layer))
      yield* Effect.repeatN(Effect.yieldNow(), 200)
      const interrupting = yield* Effect.fork(Fiber.interrupt(running))
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(interrupting)
      expect(hooked).toEqual(accepted())
    }).pipe(Effect.scoped)
  )

  it.effect("ends within a second of its interruption, though the verdict has a longer limit", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(opened("PIPELINING"), group, content, SmtpTest.silence)
      const server = yield* SmtpTest.scripted(script)
      const running = yield* Effect.fork(Effect.provide(SmtpSession.sendOnce(base, submission), server.layer))
      yield* Effect.repeatN(Effect.yieldNow(), 200)
      const interrupting = yield* Effect.fork(Fiber.interrupt(running))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(interrupting)).toMatchObject({ _tag: "Failure" })
    }).pipe(Effect.scoped)
  )

  it.effect("dials nobody for a submission that cannot be", () =>
    Effect.gen(function* () {
      const run = yield* Effect.scoped(
        Effect.gen(function* () {
          const server = yield* SmtpTest.scripted([])
          const sending = SmtpSession.sendOnce(base, { ...submission, to: [] })
          const error = yield* Effect.flip(Effect.provide(sending, server.layer))
          return { error, connections: (yield* server.connections).length }
        })
      )
      expect(run).toMatchObject({ error: { _tag: "InvalidArgument", field: "to" }, connections: 0 })
    })
  )

  it.effect("fails as a session does that cannot be made", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("PIPELINING", "AUTH PLAIN"),
        ask(/^AUTH PLAIN /, "535 5.7.8 no"),
        goodbye
      )
      const auth = SmtpAuth.password({ username: "u", password: Redacted.make("p"), mechanisms: ["PLAIN"] })
      const run = yield* once(script, { auth, allowInsecureAuth: true })
      expect(told(run)).toMatchObject({ _tag: "AuthenticationError" })
    })
  )
})

describe("the timeout of a message that opens its own session", () => {
  const mute: Readonly<Record<string, readonly [SmtpTest.Script, SmtpSession.Options, phase: string]>> = {
    greeting: [SmtpTest.silence, {}, "greeting"],
    EHLO: [
      SmtpTest.script(SmtpTest.reply("220 mx.test"), SmtpTest.expect("EHLO client.test"), SmtpTest.silence),
      {},
      "ehlo"
    ],
    AUTH: [
      SmtpTest.script(opened("AUTH PLAIN"), SmtpTest.expect(/^AUTH PLAIN/), SmtpTest.silence),
      {
        auth: SmtpAuth.password({ username: "ann", password: Redacted.make("secret") }),
        allowInsecureAuth: true
      },
      "auth"
    ]
  }
  it.effect.each(Object.entries(mute))("covers a server that is mute after %s", ([, [script, own, phase]]) =>
    Effect.gen(function* () {
      const sending = yield* Effect.fork(once(script, own, { timeout: "2 seconds" }))
      yield* TestClock.adjust("1999 millis")
      expect(sending.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      expect(told(yield* Fiber.join(sending))).toMatchObject({
        _tag: "ReplyTimeout",
        isOfSend: true,
        phase,
        limitMillis: 2000
      })
    })
  )

  it.effect("is that of opening and sending together", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        SmtpTest.delay("1500 millis"),
        opened("PIPELINING"),
        group,
        SmtpTest.silence
      )
      const sending = yield* Effect.fork(once(script, {}, { timeout: "2 seconds" }))
      yield* TestClock.adjust("1500 millis")
      yield* TestClock.adjust("499 millis")
      expect(sending.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      yield* TestClock.adjust("10 seconds")
      expect(told(yield* Fiber.join(sending))).toMatchObject({ _tag: "ReplyTimeout", limitMillis: 2000 })
    })
  )
})
