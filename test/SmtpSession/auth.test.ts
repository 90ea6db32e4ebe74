import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpError from "../../src/SmtpError.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import * as Certificates from "../servers/certificates.js"
import { scramServer } from "./scram.js"
import { ehlo, goodbye, greeting, judged } from "./oneSession.js"
import { failed, failedAsScripted, overTcp, serverTls, startTls, succeeded } from "./overTcp.js"

const { expect: says, reply, script, silence } = SmtpTest

const username = "app"
const secret = "pencil"

const password = (...mechanisms: ReadonlyArray<SmtpAuth.PasswordMechanism>) =>
  SmtpAuth.password({ username, password: Redacted.make(secret), mechanisms })

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const plain = `AUTH PLAIN ${base64(`\0${username}\0${secret}`)}`

/** LOGIN up to the answer to the user name. */
const loginName = script(says("AUTH LOGIN"), reply(`334 ${base64("Username:")}`), says(base64(username)))

/** A session in clear that authenticates, for exchanges where TLS makes no difference. */
const authenticates =
  (auth: SmtpAuth.Credentials, more: Partial<SmtpSession.Options> = {}) =>
  (options: SmtpSession.Options) =>
    SmtpSession.make({ ...options, tls: "none", allowInsecureAuth: true, auth, ...more })

/** As `authenticates`, by hand: gives the error and the state that the session is in then. */
const authenticatesByHand = (auth: SmtpAuth.Credentials) => (options: SmtpSession.Options) =>
  Effect.gen(function* () {
    const session = yield* SmtpSession.make({ ...options, tls: "none", allowInsecureAuth: true })
    const error = yield* Effect.flip(session.authenticate(auth))
    return { error, state: yield* session.state }
  })

const inClear = (mechanisms: string, ...steps: ReadonlyArray<SmtpTest.Script>) =>
  script(greeting, ehlo(`AUTH ${mechanisms}`), ...steps)

const onTls = (mechanisms: string, ...steps: ReadonlyArray<SmtpTest.Script>) =>
  script(greeting, ehlo("STARTTLS"), startTls, ehlo(`AUTH ${mechanisms}`), ...steps)

describe("SCRAM over TLS", () => {
  const meetScram = (server: SmtpTest.Script, auth: SmtpAuth.Credentials) =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      return yield* overTcp(server, serverTls(made), (options) =>
        Effect.gen(function* () {
          const session = yield* SmtpSession.make({ ...options, tlsOptions: { ca: made.ca } })
          const outcome = yield* Effect.either(session.authenticate(auth))
          const cache = yield* CapabilityCache.CapabilityCache
          return { outcome, state: yield* session.state, bound: yield* cache.bound(session.endpoint) }
        })
      )
    })

  const welcome = () => script(says(""), reply("235 welcome"))

  it.live("proves the password without sending it, and believes the server that proves it too", () =>
    Effect.gen(function* () {
      const server = scramServer({ mechanism: "SCRAM-SHA-256", password: secret }, welcome)
      const met = yield* meetScram(onTls("SCRAM-SHA-256", server.script, goodbye), password("SCRAM-SHA-256"))
      expect(succeeded(met)).toMatchObject({
        outcome: { right: { code: 235 } },
        state: "Ready",
        bound: false
      })
      expect(server.record.proven).toBe(true)
      // RFC 5802 section 6: the client could bind, and saw no -PLUS.
      expect(server.record.binding.toString()).toBe("y,,")
    })
  )

  it.live("with -PLUS is bound to tls-exporter of this very connection (RFC 9266)", () =>
    Effect.gen(function* () {
      const server = scramServer({ mechanism: "SCRAM-SHA-256-PLUS", password: secret }, welcome)
      const met = yield* meetScram(
        onTls("SCRAM-SHA-256 SCRAM-SHA-256-PLUS PLAIN", server.script, goodbye),
        SmtpAuth.password({ username, password: Redacted.make(secret) })
      )
      expect(succeeded(met)).toMatchObject({ outcome: { right: { code: 235 } }, bound: true })
      const exporter = met.handshakes[0]?.exporter ?? new Uint8Array(0)
      expect(exporter.length).toBe(32)
      expect(server.record).toEqual({
        proven: true,
        binding: Buffer.concat([Buffer.from("p=tls-exporter,,"), exporter])
      })
    })
  )

  it.live("says `n` where -PLUS was announced and is not wanted, never `y` (RFC 5802 section 6)", () =>
    Effect.gen(function* () {
      const server = scramServer({ mechanism: "SCRAM-SHA-256", password: secret }, welcome)
      const met = yield* meetScram(
        onTls("SCRAM-SHA-256 SCRAM-SHA-256-PLUS", server.script, goodbye),
        password("SCRAM-SHA-256")
      )
      succeeded(met)
      expect(server.record.binding.toString()).toBe("n,,")
    })
  )

  it.live("ends the session of a server that does not know the password", () =>
    Effect.gen(function* () {
      const server = scramServer(
        { mechanism: "SCRAM-SHA-256", password: secret, signature: base64("x".repeat(32)) },
        () => script(says("*"), reply("501 cancelled"), SmtpTest.expectEnd)
      )
      const met = yield* meetScram(onTls("SCRAM-SHA-256", server.script), password("SCRAM-SHA-256"))
      expect(succeeded(met)).toMatchObject({
        outcome: { left: { _tag: "AuthenticationError", reason: "ServerNotVerified" } },
        state: "Closed"
      })
    })
  )

  it.live("believes no 235 that comes before the server's proof", () =>
    Effect.gen(function* () {
      const met = yield* meetScram(
        onTls("SCRAM-SHA-256", says(/^AUTH SCRAM-SHA-256 /), reply("235 welcome"), SmtpTest.expectEnd),
        password("SCRAM-SHA-256")
      )
      expect(succeeded(met)).toMatchObject({
        outcome: { left: { _tag: "AuthenticationError", reason: "ServerNotVerified" } },
        state: "Closed"
      })
    })
  )

  it.live("refused with 535 is followed by PLAIN on verified TLS, as many announce what they cannot do", () =>
    Effect.gen(function* () {
      const server = scramServer({ mechanism: "SCRAM-SHA-256", password: "another" }, () => reply("535 no"))
      const met = yield* meetScram(
        onTls("SCRAM-SHA-256 PLAIN", server.script, says(plain), reply("235 welcome"), goodbye),
        password("SCRAM-SHA-256", "PLAIN")
      )
      expect(succeeded(met)).toMatchObject({ outcome: { right: { code: 235 } } })
      expect(server.record.proven).toBe(false)
    })
  )

  it.live("refused with 535 is followed by nothing where TLS verified nobody", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const server = scramServer({ mechanism: "SCRAM-SHA-256", password: "another" }, () => reply("535 no"))
      const met = yield* overTcp(
        onTls("SCRAM-SHA-256 PLAIN", server.script, goodbye),
        serverTls(made),
        (options) =>
          SmtpSession.make({
            ...options,
            tlsOptions: { verify: false },
            auth: password("SCRAM-SHA-256", "PLAIN")
          })
      )
      expect(failedAsScripted(met)).toMatchObject({ reason: "Rejected", mechanism: "SCRAM-SHA-256" })
    })
  )
})

describe("a refusal of AUTH (RFC 4954 section 6)", () => {
  for (const [code, reason, transient] of [
    ["535 5.7.8 wrong", "Rejected", false],
    ["534 5.7.9 too weak", "Rejected", false],
    ["454 4.7.0 later", "Temporary", true],
    ["432 4.7.12 change it", "Temporary", true]
  ] as const) {
    it.live(`with ${code.slice(0, 3)} is ${reason}, after one attempt, and the session goes on`, () =>
      Effect.gen(function* () {
        const met = yield* overTcp(
          inClear("PLAIN LOGIN", says(plain), reply(code), goodbye),
          {},
          authenticatesByHand(password("PLAIN", "LOGIN"))
        )
        const { error, state } = succeeded(met)
        expect(error).toMatchObject({ _tag: "AuthenticationError", reason, mechanism: "PLAIN" })
        expect(SmtpError.isTransient(error)).toBe(transient)
        expect(state).toBe("Ready")
      })
    )
  }

  it.live("with 504 is followed by the next mechanism", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear(
          "PLAIN LOGIN",
          says(plain),
          reply("504 not here"),
          loginName,
          reply(`334 ${base64("Password:")}`),
          says(base64(secret)),
          reply("235 welcome"),
          goodbye
        ),
        {},
        authenticates(password("PLAIN", "LOGIN"))
      )
      succeeded(met)
    })
  )

  it.live("ends with the third attempt", () =>
    Effect.gen(function* () {
      const no = reply("504 not here")
      const met = yield* overTcp(
        inClear(
          "CRAM-MD5 SCRAM-SHA-1 PLAIN LOGIN",
          says("AUTH CRAM-MD5"),
          no,
          says(/^AUTH SCRAM-SHA-1 /),
          no,
          says(plain),
          no,
          goodbye
        ),
        {},
        authenticates(password("CRAM-MD5", "SCRAM-SHA-1", "PLAIN", "LOGIN"))
      )
      expect(failedAsScripted(met)).toMatchObject({ reason: "NoCommonMechanism", mechanism: "PLAIN" })
    })
  )

  it.live("of a token asks once for a fresh one, and tells what the server said was wrong (RFC 7628)", () =>
    Effect.gen(function* () {
      const response = (token: string) => base64(`user=${username}\x01auth=Bearer ${token}\x01\x01`)
      const asked: Array<boolean> = []
      const auth = SmtpAuth.oauth2({
        username,
        mechanisms: ["XOAUTH2"],
        token: ({ refresh }) =>
          Effect.sync(() => {
            asked.push(refresh)
            return Redacted.make(refresh ? "fresh" : "stale")
          })
      })
      const refuse = script(reply(`334 ${base64('{"status":"401"}')}`), says(""), reply("535 5.7.8 expired"))
      const met = yield* overTcp(
        inClear(
          "XOAUTH2",
          says(`AUTH XOAUTH2 ${response("stale")}`),
          refuse,
          says(`AUTH XOAUTH2 ${response("fresh")}`),
          reply("235 welcome"),
          goodbye
        ),
        {},
        authenticates(auth)
      )
      succeeded(met)
      expect(asked).toEqual([false, true])
    })
  )
})

describe("a server that loses its way in AUTH", () => {
  const login = password("LOGIN")
  const begun = script(loginName, reply(`334 ${base64("Password:")}`))

  it.live("is cancelled when its challenge is not base64, and the session goes on", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear(
          "CRAM-MD5",
          says("AUTH CRAM-MD5"),
          reply("334 what?!"),
          says("*"),
          reply("501 cancelled"),
          goodbye
        ),
        {},
        authenticatesByHand(password("CRAM-MD5"))
      )
      expect(succeeded(met)).toMatchObject({ error: { reason: "Challenge" }, state: "Ready" })
    })
  )

  const cancelled = script(says("*"), reply("501 cancelled"), goodbye)
  const scram = (serverFirst: (nonce: string) => string, then: SmtpTest.Script): SmtpTest.Script =>
    SmtpTest.branch({
      "AUTH SCRAM-SHA-1": (line) => {
        const first = Buffer.from(line.slice("AUTH SCRAM-SHA-1 ".length), "base64").toString()
        return script(reply(`334 ${base64(serverFirst(first.slice(first.indexOf("r=") + 2)))}`), then)
      }
    })
  const unusable: Readonly<Record<string, readonly [SmtpAuth.PasswordMechanism, SmtpTest.Script]>> = {
    "an empty challenge to CRAM-MD5": ["CRAM-MD5", script(says("AUTH CRAM-MD5"), reply("334 "), cancelled)],
    "a SCRAM nonce that is not the client's": [
      "SCRAM-SHA-1",
      scram(() => "r=another,s=QSXCR+Q6,i=4096", cancelled)
    ],
    "a SCRAM nonce that adds nothing": [
      "SCRAM-SHA-1",
      scram((nonce) => `r=${nonce},s=QSXCR+Q6,i=4096`, cancelled)
    ],
    "too few iterations of SCRAM": [
      "SCRAM-SHA-1",
      scram((nonce) => `r=${nonce}x,s=QSXCR+Q6,i=4095`, cancelled)
    ],
    "absurdly many iterations of SCRAM": [
      "SCRAM-SHA-1",
      scram((nonce) => `r=${nonce}x,s=QSXCR+Q6,i=999999999`, cancelled)
    ]
  }
  for (const [what, [mechanism, server]] of Object.entries(unusable)) {
    it.live(`is cancelled for ${what}, and the session goes on`, () =>
      Effect.gen(function* () {
        const met = yield* overTcp(inClear(mechanism, server), {}, authenticatesByHand(password(mechanism)))
        const { error, state } = succeeded(met)
        expect(error).toMatchObject({ reason: "Challenge", mechanism })
        expect([...judged(error), state]).toEqual([
          "AuthenticationError",
          undefined,
          "permanent",
          "NotSent",
          "Ready"
        ])
      })
    )
  }

  it.live("is answered with nothing when its SCRAM is an error, which is told with the refusal", () =>
    Effect.gen(function* () {
      const server = scram(() => "e=unknown-user", script(says(""), reply("535 5.7.8 no"), goodbye))
      const met = yield* overTcp(
        inClear("SCRAM-SHA-1", server),
        {},
        authenticatesByHand(password("SCRAM-SHA-1"))
      )
      const { error, state } = succeeded(met)
      expect(error).toMatchObject({ reason: "Rejected", detail: "unknown-user", reply: { code: 535 } })
      expect([...judged(error), state]).toEqual([
        "AuthenticationError",
        undefined,
        "permanent",
        "NotSent",
        "Ready"
      ])
    })
  )

  it.live("is cancelled when it never stops asking", () =>
    Effect.gen(function* () {
      const endless = SmtpAuth.mechanism({
        name: "X-ENDLESS",
        begin: Effect.succeed({ respond: () => Effect.succeed(Redacted.make(new Uint8Array([1]))) })
      })
      const met = yield* overTcp(
        inClear(
          "X-ENDLESS",
          says("AUTH X-ENDLESS"),
          SmtpTest.repeat(script(reply("334 AQ=="), says("AQ==")), 16),
          reply("334 AQ=="),
          says("*"),
          reply("501 cancelled"),
          goodbye
        ),
        {},
        authenticatesByHand(endless)
      )
      expect(succeeded(met)).toMatchObject({ error: { reason: "Challenge" }, state: "Ready" })
    })
  )

  it.live("and takes the cancellation for a success is left", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear(
          "CRAM-MD5",
          says("AUTH CRAM-MD5"),
          reply("334 what?!"),
          says("*"),
          reply("235 welcome"),
          SmtpTest.expectEnd
        ),
        {},
        authenticatesByHand(password("CRAM-MD5"))
      )
      expect(succeeded(met)).toMatchObject({
        error: { _tag: "ProtocolError", phase: "auth" },
        state: "Closed"
      })
    })
  )

  it.live("and answers 250 in place of 235 is left", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear("PLAIN", says(plain), reply("250 ok"), SmtpTest.expectEnd),
        {},
        authenticatesByHand(password("PLAIN"))
      )
      expect(succeeded(met)).toMatchObject({
        error: { _tag: "ProtocolError", phase: "auth" },
        state: "Closed"
      })
    })
  )

  it.live("is ServerDisconnected with its words when it says 421", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear("LOGIN", begun, says(base64(secret)), reply("421 4.3.2 shutting down"), SmtpTest.close),
        {},
        authenticatesByHand(login)
      )
      const { error, state } = succeeded(met)
      expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "auth", reply: { code: 421 } })
      expect(SmtpError.isTransient(error)).toBe(true)
      expect(state).toBe("Closed")
    })
  )

  it.live("is ServerDisconnected when it just leaves", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear("LOGIN", begun, says(base64(secret)), SmtpTest.close),
        {},
        authenticatesByHand(login)
      )
      expect(succeeded(met)).toMatchObject({
        error: { _tag: "ServerDisconnected", phase: "auth" },
        state: "Closed"
      })
    })
  )

  it.live("is ReplyTimeout when it says nothing more", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear("LOGIN", begun, silence),
        {},
        authenticates(login, { timeouts: { auth: "100 millis" } })
      )
      expect(failedAsScripted(met)).toMatchObject({ _tag: "ReplyTimeout", phase: "auth", limitMillis: 100 })
    })
  )
})

describe("authenticate by hand", () => {
  const connects = <A, E>(use: (session: SmtpSession.Service) => Effect.Effect<A, E>) => {
    return (options: SmtpSession.Options) =>
      Effect.flatMap(SmtpSession.connect({ ...options, tls: "none", allowInsecureAuth: true }), use)
  }

  it.live("says EHLO first where nobody has", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear("PLAIN", says(plain), reply("235 2.7.0 welcome"), goodbye),
        {},
        connects((session) => session.authenticate(password("PLAIN")))
      )
      expect(succeeded(met)).toMatchObject({ code: 235 })
    })
  )

  it.live("is InvalidArgument a second time, and nothing is sent (RFC 4954 section 4)", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear("PLAIN", says(plain), reply("235 welcome"), goodbye),
        {},
        connects((session) =>
          Effect.zipRight(
            session.authenticate(password("PLAIN")),
            Effect.flip(session.authenticate(password("PLAIN")))
          )
        )
      )
      expect(succeeded(met)).toMatchObject({ _tag: "InvalidArgument", field: "session" })
    })
  )

  it.live("is InvalidArgument within a mail transaction (RFC 4954 section 4)", () =>
    Effect.gen(function* () {
      const sender = script(says("MAIL FROM:<a@x.test>"), reply("250 ok"))
      const met = yield* overTcp(
        inClear("PLAIN", sender, says("RSET"), reply("250 ok"), says(plain), reply("235 welcome"), goodbye),
        {},
        connects((session) =>
          Effect.gen(function* () {
            yield* session.ehlo
            yield* session.mail("a@x.test")
            const error = yield* Effect.flip(session.authenticate(password("PLAIN")))
            yield* session.rset
            yield* session.authenticate(password("PLAIN"))
            return error
          })
        )
      )
      expect(succeeded(met)).toMatchObject({ _tag: "InvalidArgument", field: "session" })
    })
  )

  it.live("ends the session when it is interrupted in the middle", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<boolean>()
      const met = yield* overTcp(
        inClear("LOGIN", loginName, SmtpTest.effect(Deferred.succeed(asked, true)), SmtpTest.expectEnd),
        {},
        connects((session) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(session.authenticate(password("LOGIN")))
            yield* Deferred.await(asked)
            yield* Fiber.interrupt(fiber)
            return { state: yield* session.state, next: yield* Effect.flip(session.noop) }
          })
        )
      )
      expect(succeeded(met)).toMatchObject({ state: "Closed", next: { _tag: "ServerDisconnected" } })
    })
  )

  it.live("keeps the commands of other fibers out of its exchange", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<boolean>()
      const met = yield* overTcp(
        inClear(
          "LOGIN",
          loginName,
          SmtpTest.effect(Deferred.succeed(asked, true)),
          SmtpTest.expectNothing("50 millis"),
          reply(`334 ${base64("Password:")}`),
          says(base64(secret)),
          reply("235 welcome"),
          says("NOOP"),
          reply("250 ok"),
          goodbye
        ),
        {},
        connects((session) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(session.authenticate(password("LOGIN")))
            yield* Deferred.await(asked)
            const noop = yield* session.noop
            return [(yield* Fiber.join(fiber)).code, noop.code]
          })
        )
      )
      expect(succeeded(met)).toEqual([235, 250])
    })
  )

  it.live("says PLAIN again to a server that has read AUTH without its initial response", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        inClear(
          "PLAIN",
          says(plain),
          reply("334 OK. Continue authentication"),
          says(plain.slice("AUTH PLAIN ".length)),
          reply("235 welcome"),
          goodbye
        ),
        {},
        connects((session) => session.authenticate(password("PLAIN")))
      )
      succeeded(met)
    })
  )

  it.live("takes a password in UTF-8 and a line too long for a command in two steps", () =>
    Effect.gen(function* () {
      const long = "pässwörd €".repeat(50)
      const credentials = SmtpAuth.password({
        username: "jörg",
        password: Redacted.make(long),
        mechanisms: ["PLAIN"]
      })
      const met = yield* overTcp(
        inClear(
          "PLAIN",
          says("AUTH PLAIN"),
          reply("334 "),
          says(base64(`\0jörg\0${long}`)),
          reply("235 welcome"),
          goodbye
        ),
        {},
        connects((session) => session.authenticate(credentials))
      )
      succeeded(met)
    })
  )

  for (const [announced, reason] of [
    ["AUTH", "NotOffered"],
    ["AUTH ", "NotOffered"],
    ["AUTH=", "NotOffered"],
    ["AUTH X-ONE X-TWO", "NoCommonMechanism"],
    ["AUTH PLAINER =PLAIN PLAIN,LOGIN", "NoCommonMechanism"]
  ] as const) {
    it.live(`is ${reason} where the server announces ${JSON.stringify(announced)}, and sends nothing`, () =>
      Effect.gen(function* () {
        const server = script(greeting, ehlo(announced, "8BITMIME"), goodbye)
        const { error, state } = succeeded(
          yield* overTcp(server, {}, authenticatesByHand(password("PLAIN", "LOGIN")))
        )
        expect(error).toMatchObject({ _tag: "AuthenticationError", reason })
        expect(state).toBe("Ready")
        const made = yield* overTcp(server, {}, authenticates(password("PLAIN", "LOGIN")))
        expect(failedAsScripted(made)).toMatchObject({ _tag: "AuthenticationError", reason })
        expect(made.received).toBe("EHLO client.test\r\nQUIT\r\n")
      })
    )
  }

  it.live("finds nothing in common where the server offers other mechanisms, and sends nothing", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(inClear("GSSAPI", goodbye), {}, authenticates(password("PLAIN")))
      expect(failed(met)).toMatchObject({ _tag: "AuthenticationError", reason: "NoCommonMechanism" })
      expect(met.received).not.toContain("AUTH")
    })
  )
})
