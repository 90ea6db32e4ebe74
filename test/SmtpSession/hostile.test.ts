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
import * as SmtpError from "../../src/SmtpError.js"
import type * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ask, ehlo, goodbye, greeting, opened, outcomes, withConnection, withSession } from "./dialogue.js"

const script = SmtpTest.script

/** What a program decides by: the error, where it happened, whether to try again and what became of the message. */
const judged = (error: unknown): ReadonlyArray<unknown> =>
  SmtpError.isSmtpError(error)
    ? [
        error._tag,
        "phase" in error ? error.phase : undefined,
        SmtpError.isTransient(error) ? "transient" : "permanent",
        SmtpError.delivery(error)
      ]
    : [error]

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
    "that ends in a lone LF": "220 mx.test\n",
    "with the code 000": "000 mx.test\r\n",
    "with the code 099": "099 mx.test\r\n",
    "with the code 600": "600 mx.test\r\n",
    "with the code 999": "999 mx.test\r\n",
    "that is an empty line": "\r\n"
  }
  for (const [what, greets] of Object.entries(unusable)) {
    it.effect(`${what} is ProtocolError, and nothing is said`, () =>
      Effect.gen(function* () {
        const judgement = yield* refusing(script(SmtpTest.inject(greets), SmtpTest.expectEnd))
        expect(judgement).toEqual(violation("greeting"))
      })
    )
  }

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

type SetUp = readonly [script: SmtpTest.Script, options: SmtpSession.Options]

const setUp: Readonly<Record<"greeting" | "ehlo" | "starttls" | "auth", SetUp>> = {
  greeting: [script(), {}],
  ehlo: [script(greeting, SmtpTest.expect("EHLO client.test")), {}],
  starttls: [script(opened("STARTTLS"), SmtpTest.expect("STARTTLS")), { tls: "starttls" }],
  auth: [
    script(opened("AUTH PLAIN"), SmtpTest.expect(/^AUTH PLAIN /)),
    { auth: login, allowInsecureAuth: true }
  ]
}

const phases = ["greeting", "ehlo", "starttls", "auth"] as const

describe("a server that goes while a session is set up", () => {
  const ways: Readonly<Record<string, SmtpTest.Script>> = {
    "end of stream": SmtpTest.close,
    "half-close": script(SmtpTest.halfClose, SmtpTest.silence),
    reset: SmtpTest.reset,
    "half a reply": script(SmtpTest.inject("25"), SmtpTest.close)
  }
  for (const phase of phases) {
    const [until, options] = setUp[phase]
    for (const [way, end] of Object.entries(ways)) {
      it.effect(`is ServerDisconnected: ${way} in ${phase}`, () =>
        Effect.gen(function* () {
          const judgement = yield* refusing(script(until, end), options)
          expect(judgement).toEqual(["ServerDisconnected", phase, "transient", "NotSent"])
        })
      )
    }

    it.effect(`is ReplyTimeout: silence in ${phase}`, () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(refusing(script(until, SmtpTest.silence), options))
        yield* TestClock.adjust("10 minutes")
        expect(yield* Fiber.join(fiber)).toEqual(["ReplyTimeout", phase, "transient", "NotSent"])
      })
    )

    it.effect(`is ProtocolError: garbage in ${phase}`, () =>
      Effect.gen(function* () {
        const judgement = yield* refusing(
          script(until, SmtpTest.inject("garbage\r\n"), SmtpTest.expectEnd),
          options
        )
        expect(judgement).toEqual(violation(phase))
      })
    )

    it.effect(`is told with its reply: 421 in ${phase}, behind which nothing is said`, () =>
      Effect.gen(function* () {
        const goes = script(until, SmtpTest.reply("421 4.3.2 bye"), SmtpTest.expectEnd)
        const error = yield* Effect.flip(withSession(goes, () => Effect.void, options))
        expect(error).toMatchObject({ reply: { code: 421 } })
        expect(judged(error)).toEqual(
          phase === "greeting"
            ? ["ConnectError", undefined, "transient", "NotSent"]
            : ["ServerDisconnected", phase, "transient", "NotSent"]
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
