/**
 * Servers that break the protocol while a session is set up, or vanish from it: what the program is told, and that
 * nothing more is said to them.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import type * as SmtpError from "../../src/SmtpError.js"
import type * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import {
  ask,
  ehlo,
  goodbye,
  greeting,
  judged,
  opened,
  outcomes,
  withConnection,
  withSession
} from "./oneSession.js"

const script = SmtpTest.script

/** The judgement on a session that cannot be made. */
const refusing = (from: SmtpTest.Script, options: SmtpSession.Options = {}) =>
  Effect.map(Effect.flip(withSession(from, () => Effect.void, options)), judged)

const violation = (phase: SmtpError.Phase) => ["ProtocolError", phase, "permanent", "NotSent"]

describe("a greeting", () => {
  it.effect("that takes four minutes is waited for (RFC 5321 section 4.5.3.2.1)", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        withSession(
          script(SmtpTest.reply("220 mx.test", { delay: "4 minutes" }), ehlo(), goodbye),
          (smtp) => smtp.state
        )
      )
      yield* TestClock.adjust("4 minutes")
      expect(yield* Fiber.join(fiber)).toBe("Ready")
    })
  )

  it.effect("that comes an octet a second is read", () =>
    Effect.gen(function* () {
      const dribbled = SmtpTest.reply("220-mx.test", "220 hi", { split: "byteByByte", pause: "1 second" })
      const fiber = yield* Effect.fork(
        withSession(script(dribbled, ehlo(), goodbye), (smtp) => Effect.succeed(smtp.greeting.lines))
      )
      yield* TestClock.adjust("1 minute")
      expect(yield* Fiber.join(fiber)).toEqual(["mx.test", "hi"])
    })
  )

  it.effect("that never comes is ReplyTimeout, and transient", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(refusing(SmtpTest.silence))
      yield* TestClock.adjust("5 minutes")
      expect(yield* Fiber.join(fiber)).toEqual(["ReplyTimeout", "greeting", "transient", "NotSent"])
    })
  )

  it.effect("that ends in a lone CR is no greeting: ReplyTimeout", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(refusing(script(SmtpTest.inject("220 mx.test\r"), SmtpTest.silence)))
      yield* TestClock.adjust("5 minutes")
      expect(yield* Fiber.join(fiber)).toEqual(["ReplyTimeout", "greeting", "transient", "NotSent"])
    })
  )

  const unusable: Readonly<Record<string, string | Uint8Array>> = {
    "of another protocol": "HTTP/1.1 400 Bad Request\r\n\r\n",
    "of SSH": "SSH-2.0-OpenSSH_9.6\r\n",
    "of binary": Uint8Array.from({ length: 64 }, (_, index) => (index % 2 === 0 ? 0xff : 0x0a)),
    "with the code 000": "000 mx.test\r\n",
    "with the code 099": "099 mx.test\r\n",
    "with the code 600": "600 mx.test\r\n",
    "with the code 999": "999 mx.test\r\n"
  }
  for (const [what, greets] of Object.entries(unusable)) {
    it.effect(`${what} is ProtocolError, and nothing is said`, () =>
      Effect.gen(function* () {
        const judgement = yield* refusing(script(SmtpTest.inject(greets), SmtpTest.expectEnd))
        expect(judgement).toEqual(violation("greeting"))
      })
    )
  }

  it.effect("that is an empty line is no greeting: ReplyTimeout", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(refusing(script(SmtpTest.inject("\r\n"), SmtpTest.silence)))
      yield* TestClock.adjust("5 minutes")
      expect(yield* Fiber.join(fiber)).toEqual(["ReplyTimeout", "greeting", "transient", "NotSent"])
    })
  )

  it.effect.each(["\n", "\r\r\n", "\r\n\r\n", "\n\n"])(
    "delivers to a server that ends its lines in %j",
    (lineEnd) =>
      Effect.gen(function* () {
        const says = (line: string) => SmtpTest.inject(line + lineEnd)
        const server = script(
          says("220 mx.test"),
          SmtpTest.expect("EHLO client.test"),
          says("250 mx.test"),
          SmtpTest.expect("MAIL FROM:<a@x.test>"),
          says("250 ok"),
          SmtpTest.expect("RCPT TO:<b@y.test>"),
          says("250 ok"),
          SmtpTest.expect("DATA"),
          says("354 go"),
          SmtpTest.expectContent("x\r\n"),
          says("250 2.0.0 taken"),
          SmtpTest.expect("QUIT"),
          says("221 bye"),
          SmtpTest.close
        )
        const receipt = yield* withConnection(server, (smtp) =>
          smtp.deliver({ from: "a@x.test", to: ["b@y.test"], content: "x\r\n" })
        )
        expect(receipt.accepted).toMatchObject([{ reply: { code: 250, text: "taken" } }])
      })
  )

  it.effect("of two replies at once ends the session before a word is said", () =>
    withConnection(script(SmtpTest.inject("220 mx.test\r\n250 mx.test\r\n"), SmtpTest.expectEnd), (smtp) =>
      Effect.gen(function* () {
        expect(judged(yield* Effect.flip(smtp.ehlo))).toEqual(violation("idle"))
        expect(yield* smtp.state).toBe("Closed")
      })
    )
  )
})

describe("an answer to EHLO", () => {
  it.effect("of a hundred long lines is understood to the last", () =>
    Effect.gen(function* () {
      const keywords = Array.from({ length: 100 }, (_, index) => `X-${index} ${"a".repeat(400)}`)
      const last = yield* withSession(script(opened(...keywords), goodbye), (smtp) =>
        Effect.map(smtp.capabilities, (capabilities) => capabilities.has("X-99"))
      )
      expect(last).toBe(true)
    })
  )

  it.effect("with octets that are no keywords does not hide the keywords about them", () =>
    Effect.gen(function* () {
      const seen = yield* withSession(
        script(opened("PIPELINING", "", "=?*!", "  DSN", "\u00fcber", "8bitmime"), goodbye),
        (smtp) =>
          Effect.map(smtp.capabilities, ({ has }) => [has("PIPELINING"), has("8BITMIME"), has("=?*!")])
      )
      expect(seen.slice(0, 2)).toEqual([true, true])
    })
  )

  it.effect("whose LIMITS is malformed sets no limit (RFC 9422 section 4)", () =>
    Effect.gen(function* () {
      const receipt = yield* withSession(
        script(
          opened("LIMITS RCPTMAX=0 RCPTMAX=x MAILMAX=-1 =5 RCPTMAX"),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("RCPT TO:<c@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectContent(),
          SmtpTest.reply("250 ok"),
          goodbye
        ),
        (smtp) => smtp.deliver({ from: "a@x.test", to: ["b@y.test", "c@y.test"], content: "x\r\n" })
      )
      expect(outcomes(receipt)).toEqual(["b@y.test Accepted 250", "c@y.test Accepted 250"])
    })
  )
})

const login = SmtpAuth.password({
  username: "ann",
  password: Redacted.make("pass"),
  mechanisms: ["PLAIN"]
})

interface SetUp {
  readonly until: SmtpTest.Script
  readonly options: SmtpSession.Options
  /** The same by hand; nobody has a session yet that is not greeted. */
  readonly byHand: ((smtp: SmtpSession.Service) => Effect.Effect<unknown, unknown>) | undefined
}

const setUp: Readonly<Record<"greeting" | "ehlo" | "starttls" | "auth", SetUp>> = {
  greeting: { until: script(), options: {}, byHand: undefined },
  ehlo: {
    until: script(greeting, SmtpTest.expect("EHLO client.test")),
    options: {},
    byHand: (smtp) => smtp.ehlo
  },
  starttls: {
    until: script(opened("STARTTLS"), SmtpTest.expect("STARTTLS")),
    options: { tls: "starttls" },
    byHand: (smtp) => smtp.startTls
  },
  auth: {
    until: script(opened("AUTH PLAIN"), SmtpTest.expect(/^AUTH PLAIN /)),
    options: { auth: login, allowInsecureAuth: true },
    byHand: (smtp) => smtp.authenticate(login)
  }
}

const phases = ["greeting", "ehlo", "starttls", "auth"] as const

/** The judgement of `make`, and of the program that does it by hand, whose session is closed then. */
const refusingIn = (phase: (typeof phases)[number], end: SmtpTest.Script) =>
  Effect.gen(function* () {
    const { byHand, options, until } = setUp[phase]
    const judgement = yield* refusing(script(until, end), options)
    if (byHand === undefined) return [judgement]
    const ended = yield* withConnection(
      script(until, end),
      (smtp) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(byHand(smtp))
          return { error: judged(error), state: yield* smtp.state }
        }),
      { tls: "none", allowInsecureAuth: true }
    )
    expect(ended.state).toBe("Closed")
    return [judgement, ended.error]
  })

describe("a server that goes while a session is set up", () => {
  const ways: Readonly<Record<string, SmtpTest.Script>> = {
    "end of stream": SmtpTest.close,
    "half-close": script(SmtpTest.halfClose, SmtpTest.silence),
    reset: SmtpTest.reset,
    "half a reply": script(SmtpTest.inject("25"), SmtpTest.close)
  }
  for (const phase of phases) {
    const times = setUp[phase].byHand === undefined ? 1 : 2
    const all = (judgement: ReadonlyArray<unknown>) => Array.from({ length: times }, () => judgement)

    for (const [way, end] of Object.entries(ways)) {
      it.effect(`is ServerDisconnected: ${way} in ${phase}`, () =>
        Effect.gen(function* () {
          const judgements = yield* refusingIn(phase, end)
          expect(judgements).toEqual(all(["ServerDisconnected", phase, "transient", "NotSent"]))
        })
      )
    }

    it.effect(`is ReplyTimeout: silence in ${phase}`, () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(refusingIn(phase, SmtpTest.silence))
        yield* Effect.repeatN(TestClock.adjust("5 minutes"), 2 * times)
        expect(yield* Fiber.join(fiber)).toEqual(all(["ReplyTimeout", phase, "transient", "NotSent"]))
      })
    )

    it.effect(`is ProtocolError: garbage in ${phase}`, () =>
      Effect.gen(function* () {
        const garbage = script(SmtpTest.inject("garbage\r\n"), SmtpTest.expectEnd)
        expect(yield* refusingIn(phase, garbage)).toEqual(all(violation(phase)))
      })
    )

    it.effect(`is told with its reply: 421 in ${phase}, behind which nothing is said`, () =>
      Effect.gen(function* () {
        const { options, until } = setUp[phase]
        const goes = script(SmtpTest.reply("421 4.3.2 bye"), SmtpTest.expectEnd)
        const error = yield* Effect.flip(withSession(script(until, goes), () => Effect.void, options))
        expect(error).toMatchObject({ reply: { code: 421 } })
        expect(yield* refusingIn(phase, goes)).toEqual(
          all(
            phase === "greeting"
              ? ["ConnectError", undefined, "transient", "NotSent"]
              : ["ServerDisconnected", phase, "transient", "NotSent"]
          )
        )
      })
    )
  }
})

describe("a server that says 421 to a command by hand (RFC 5321 section 3.8)", () => {
  const commands: ReadonlyArray<
    readonly [SmtpError.Phase, string, (smtp: SmtpSession.Service) => Effect.Effect<unknown, unknown>]
  > = [
    ["mail", "MAIL FROM:<a@x.test>", (smtp) => smtp.mail("a@x.test")],
    ["rset", "RSET", (smtp) => smtp.rset],
    ["noop", "NOOP", (smtp) => smtp.noop],
    ["vrfy", "VRFY ann", (smtp) => smtp.vrfy("ann")],
    ["quit", "QUIT", (smtp) => smtp.quit]
  ]
  for (const [phase, line, run] of commands) {
    it.effect(`ends the session: ${phase}`, () =>
      withSession(script(opened(), ask(line, "421 4.3.2 bye"), SmtpTest.expectEnd), (smtp) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(run(smtp))
          expect(error).toMatchObject({ reply: { code: 421 } })
          expect(judged(error)).toEqual(["ServerDisconnected", phase, "transient", "NotSent"])
          expect(yield* smtp.state).toBe("Closed")
        })
      )
    )
  }
})

describe("EHLO keywords that come twice", () => {
  it.effect("count once: the first SIZE, and every mechanism of AUTH", () =>
    withSession(
      script(opened("SIZE 1000", "SIZE 5", "AUTH PLAIN", "AUTH=LOGIN PLAIN", "SIZE 9"), goodbye),
      (smtp) =>
        Effect.map(smtp.capabilities, ({ authMechanisms, keywords, size }) => {
          expect({ authMechanisms, keywords, size }).toEqual({
            authMechanisms: ["PLAIN", "LOGIN"],
            keywords: ["SIZE", "AUTH"],
            size: 1000
          })
        })
    )
  )
})
