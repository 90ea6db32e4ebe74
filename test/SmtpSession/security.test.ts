import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import type { Options } from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ask, ehlo, goodbye, greeting, opened, silentEnd, withConnection, withSession } from "./oneSession.js"

const password = (options: Partial<SmtpAuth.PasswordOptions> = {}) =>
  SmtpAuth.password({ username: "tim", password: Redacted.make("tanstaaftanstaaf"), ...options })

const insecure = (auth: SmtpAuth.Credentials): Options => ({ auth, allowInsecureAuth: true })

const authenticated = (
  mechanisms: string,
  auth: SmtpAuth.Credentials,
  ...pieces: ReadonlyArray<SmtpTest.Script>
) =>
  withSession(
    SmtpTest.script(opened(`AUTH ${mechanisms}`), ...pieces, goodbye),
    Effect.succeed,
    insecure(auth)
  )

const plain = "AHRpbQB0YW5zdGFhZnRhbnN0YWFm"
const username = "dGlt"
const secret = "dGFuc3RhYWZ0YW5zdGFhZg=="

describe("AUTH by a session (RFC 4954)", () => {
  it.effect("PLAIN with the initial response on its line", () =>
    authenticated("PLAIN", password(), ask(`AUTH PLAIN ${plain}`, "235 2.7.0 welcome"))
  )

  it.effect("PLAIN by a mechanism name in lower case, which goes out in upper case", () =>
    authenticated("plain", password({ mechanisms: ["plain"] }), ask(`AUTH PLAIN ${plain}`, "235 welcome"))
  )

  it.effect("PLAIN without initial response, if the server is not to get one", () =>
    authenticated(
      "PLAIN",
      password({ initialResponse: false }),
      ask("AUTH PLAIN", "334 "),
      ask(plain, "235 welcome")
    )
  )

  it.effect("LOGIN, step by step", () =>
    authenticated(
      "LOGIN",
      password({ initialResponse: false }),
      ask("AUTH LOGIN", "334 VXNlcm5hbWU6"),
      ask(username, "334 UGFzc3dvcmQ6"),
      ask(secret, "235 welcome")
    )
  )

  it.effect("CRAM-MD5, by the exchange of RFC 2195 section 2", () =>
    authenticated(
      "CRAM-MD5",
      password(),
      ask("AUTH CRAM-MD5", "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"),
      ask("dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw", "235 welcome")
    )
  )

  it.effect("passes over mechanisms that it does not know", () =>
    authenticated("X-UNKNOWN GSSAPI PLAIN", password(), ask(`AUTH PLAIN ${plain}`, "235 welcome"))
  )

  it.effect("tries the next mechanism on 504", () =>
    authenticated(
      "PLAIN LOGIN",
      password({ mechanisms: ["PLAIN", "LOGIN"], initialResponse: false }),
      ask("AUTH PLAIN", "504 unknown after all"),
      ask("AUTH LOGIN", "334 VXNlcm5hbWU6"),
      ask(username, "334 UGFzc3dvcmQ6"),
      ask(secret, "235 welcome")
    )
  )

  it.effect("by a mechanism of the program's own", () =>
    authenticated(
      "X-TICKET",
      SmtpAuth.mechanism({
        name: "X-TICKET",
        begin: Effect.succeed({
          respond: (challenge) => Effect.succeed(Redacted.make(challenge.toReversed()))
        })
      }),
      ask("AUTH X-TICKET", "334 YWJj"),
      ask("Y2Jh", "235 welcome")
    )
  )

  it.effect("is done by hand with authenticate, EHLO before it, none after it", () =>
    Effect.gen(function* () {
      const reply = yield* withConnection(
        SmtpTest.script(
          greeting,
          ehlo("AUTH PLAIN"),
          ask(`AUTH PLAIN ${plain}`, "235 welcome"),
          ask("NOOP", "250 ok"),
          goodbye
        ),
        (smtp) => Effect.zipLeft(smtp.authenticate(password()), smtp.noop),
        { allowInsecureAuth: true }
      )
      expect(reply.code).toBe(235)
    })
  )
})

describe("AUTH that does not succeed", () => {
  const failing = (
    mechanisms: ReadonlyArray<string>,
    pieces: ReadonlyArray<SmtpTest.Script>,
    options: Options = insecure(password())
  ) => Effect.flip(withSession(SmtpTest.script(opened(...mechanisms), ...pieces), Effect.succeed, options))

  it.effect("is AuthenticationError, Rejected, on 535, and the session says QUIT", () =>
    Effect.gen(function* () {
      const error = yield* failing(["AUTH PLAIN"], [ask(`AUTH PLAIN ${plain}`, "535 5.7.8 wrong"), goodbye])
      expect(error).toMatchObject({
        _tag: "AuthenticationError",
        reason: "Rejected",
        mechanism: "PLAIN",
        reply: { code: 535 }
      })
    })
  )

  it.effect("is bounded when the server answers 334 for ever", () =>
    Effect.gen(function* () {
      const patient = SmtpAuth.mechanism({
        name: "X-PATIENT",
        begin: Effect.succeed({ respond: (challenge) => Effect.succeed(Redacted.make(challenge)) })
      })
      const error = yield* failing(
        ["AUTH X-PATIENT"],
        [
          ask("AUTH X-PATIENT", "334 YWJj"),
          SmtpTest.repeat(ask("YWJj", "334 YWJj"), 16),
          ask("*", "501 cancelled"),
          goodbye
        ],
        insecure(patient)
      )
      expect(error).toMatchObject({ _tag: "AuthenticationError", reason: "Challenge" })
      expect(error.message).toContain("more than 16 challenges")
    })
  )

  it.effect("is Insecure, with nothing sent, on a session without TLS", () =>
    Effect.gen(function* () {
      const error = yield* failing(["AUTH PLAIN"], [goodbye], { auth: password() })
      expect(error).toMatchObject({ _tag: "AuthenticationError", reason: "Insecure" })
    })
  )

  it.effect("is NotOffered where the server offers no AUTH", () =>
    Effect.gen(function* () {
      const error = yield* failing([], [goodbye])
      expect(error).toMatchObject({ _tag: "AuthenticationError", reason: "NotOffered" })
    })
  )
})

describe("STARTTLS by a session (RFC 3207)", () => {
  it.effect("forgets what was announced in clear: the second EHLO replaces the first", () =>
    Effect.gen(function* () {
      const capabilities = yield* withSession(
        SmtpTest.script(
          opened("STARTTLS", "AUTH PLAIN", "SIZE 10"),
          ask("STARTTLS", "220 go ahead"),
          SmtpTest.upgrade,
          ehlo("DSN"),
          goodbye
        ),
        (smtp) => smtp.capabilities,
        { tls: "starttls" }
      )
      expect(["DSN", "SIZE", "AUTH", "STARTTLS"].map(capabilities.has)).toEqual([true, false, false, false])
    })
  )

  it.effect("does not believe what was said in clear behind the 220: TlsError, nothing more is sent", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(
            opened("STARTTLS"),
            SmtpTest.expect("STARTTLS"),
            SmtpTest.reply("220 go ahead", "250 injected"),
            silentEnd
          ),
          Effect.succeed,
          { tls: "starttls" }
        )
      )
      expect(error).toMatchObject({ _tag: "TlsError", reason: "Injection" })
    })
  )

  it.effect("is NotSupported where it is not offered, and nothing goes on in clear", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(SmtpTest.script(opened("AUTH PLAIN"), goodbye), Effect.succeed, {
          tls: "starttls",
          auth: password()
        })
      )
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "STARTTLS" })
    })
  )

  it.effect("is CommandRefused on 454", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(opened("STARTTLS"), ask("STARTTLS", "454 4.7.0 not now"), goodbye),
          Effect.succeed,
          { tls: "starttls" }
        )
      )
      expect(error).toMatchObject({ _tag: "CommandRefused", command: "STARTTLS", reply: { code: 454 } })
    })
  )

  it.effect("is InvalidArgument a second time", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("STARTTLS"),
          ask("STARTTLS", "220 go ahead"),
          SmtpTest.upgrade,
          ehlo("STARTTLS"),
          goodbye
        ),
        (smtp) => Effect.flip(smtp.startTls),
        { tls: "starttls" }
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "session" })
    })
  )
})
