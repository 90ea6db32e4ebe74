/**
 * The whole surface of Python's smtplib, a row each: what was called there, and what it is here.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { SmtpSocket } from "../../src/SmtpSocket.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import * as SmtpTranscript from "../../src/SmtpTranscript.js"
import type { UpgradeOptions } from "../../src/TlsUpgrade.js"
import { TlsUpgrade } from "../../src/TlsUpgrade.js"
import {
  ask,
  content,
  ehlo,
  goodbye,
  greeting,
  message,
  opened,
  outcomes,
  silentEnd,
  submission,
  withConnection,
  withSession
} from "./oneSession.js"

const auth = SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
const plain = "AUTH PLAIN AGFwcABzZWNyZXQ="

describe("SMTP(host, port, local_hostname, timeout, source_address), connect", () => {
  it.effect("is make, with every argument under its own name", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(greeting, ask("EHLO app.example.com", "250 mx.test"), goodbye)
      )
      yield* SmtpSession.make({
        host: "mx.test",
        port: 2525,
        clientName: "app.example.com",
        localAddress: "192.0.2.7",
        timeouts: { connect: "10 seconds", greeting: "10 seconds" },
        tls: "none"
      }).pipe(Effect.scoped, Effect.provide(server.layer), server.verify)
      expect(yield* server.dialled).toEqual([
        { _tag: "Tcp", host: "mx.test", port: 2525, localAddress: "192.0.2.7", localPort: undefined }
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("is connect, which reads the greeting and says nothing", () =>
    Effect.gen(function* () {
      const reply = yield* withConnection(SmtpTest.script(greeting, goodbye), (smtp) =>
        Effect.succeed(smtp.greeting)
      )
      expect([reply.code, reply.text]).toEqual([220, "mx.test ESMTP"])
    })
  )
})

describe("SMTP_SSL, starttls(keyfile, certfile / context)", () => {
  /** Over a TLS that records what it is asked for and leaves the octets as they are. */
  const secured = (script: SmtpTest.Script, options: SmtpSession.Options) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(script)
      const asked: Array<UpgradeOptions> = []
      const pretended = yield* Effect.provide(TlsUpgrade, SmtpTest.layerTls)
      const info = yield* SmtpSession.make({ clientName: "client.test", ...options }).pipe(
        Effect.flatMap((smtp) => smtp.tls),
        Effect.scoped,
        Effect.provideService(SmtpSocket, server.socket),
        Effect.provide(CapabilityCache.layerNone),
        Effect.provideService(TlsUpgrade, {
          upgrade: (connection, upgradeOptions) => {
            asked.push(upgradeOptions)
            return pretended.upgrade(connection, upgradeOptions)
          }
        }),
        server.verify
      )
      return { asked, info }
    }).pipe(Effect.scoped)

  const tlsOptions = {
    ca: "an authority",
    cert: "a certificate",
    key: Redacted.make("a key"),
    minVersion: "TLSv1.3"
  } as const

  it.effect('is tls: "implicit": the handshake comes before the greeting', () =>
    Effect.gen(function* () {
      const { asked, info } = yield* secured(SmtpTest.script(SmtpTest.upgrade, opened(), goodbye), {
        host: "mx.test",
        tls: "implicit",
        tlsOptions
      })
      expect(asked).toMatchObject([{ host: "mx.test", port: 465, tls: tlsOptions }])
      expect(info).toMatchObject({ verified: true, servername: "mx.test" })
    })
  )

  it.effect('is tls: "starttls": the handshake comes after STARTTLS, and EHLO is said again', () =>
    Effect.gen(function* () {
      const { asked } = yield* secured(
        SmtpTest.script(
          opened("STARTTLS"),
          ask("STARTTLS", "220 go ahead"),
          SmtpTest.upgrade,
          ehlo(),
          goodbye
        ),
        { host: "mx.test", tlsOptions }
      )
      expect(asked).toMatchObject([{ host: "mx.test", port: 587, tls: tlsOptions }])
    })
  )

  it.effect("verifies by default: only opportunistic TLS without credentials does not", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("STARTTLS"),
        ask("STARTTLS", "220 go ahead"),
        SmtpTest.upgrade,
        ehlo(),
        goodbye
      )
      const required = yield* secured(script, { host: "mx.test" })
      expect(required.asked.map(({ verifyByDefault }) => verifyByDefault)).toEqual([true])
      const opportunistic = yield* secured(script, { host: "mx.test", tls: "opportunistic" })
      expect(opportunistic.asked.map(({ verifyByDefault }) => verifyByDefault)).toEqual([false])
    })
  )

  it.effect("is startTls by hand", () =>
    Effect.gen(function* () {
      const info = yield* withConnection(
        SmtpTest.script(
          greeting,
          ehlo("STARTTLS"),
          ask("STARTTLS", "220 go ahead"),
          SmtpTest.upgrade,
          ehlo(),
          goodbye
        ),
        (smtp) => Effect.zipLeft(smtp.startTls, smtp.ehlo)
      )
      expect(info.verified).toBe(true)
    })
  )
})

describe("LMTP", () => {
  it.effect('is dialect: "lmtp": LHLO, and a reply for each recipient after the content', () =>
    Effect.gen(function* () {
      const receipt = yield* withSession(
        SmtpTest.script(
          greeting,
          ask("LHLO client.test", "250 mx.test"),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("RCPT TO:<c@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          content(message, "450 b is full"),
          SmtpTest.reply("250 c"),
          goodbye
        ),
        (smtp) => smtp.send({ ...submission, to: ["b@y.test", "c@y.test"] }),
        { dialect: "lmtp" }
      )
      expect(outcomes(receipt)).toEqual(["b@y.test Refused 450 final", "c@y.test Accepted 250"])
    })
  )
})

describe("set_debuglevel", () => {
  it.effect("is a transcript, redacted: these lines and no others", () =>
    Effect.gen(function* () {
      const { entries, listener } = SmtpTranscript.collector()
      yield* withSession(
        SmtpTest.script(
          opened("PIPELINING", "AUTH PLAIN"),
          ask(plain, "235 2.7.0 welcome"),
          SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("354 go"),
          content(message, "250 2.0.0 queued as 42"),
          goodbye
        ),
        (smtp) => smtp.send(submission),
        { auth, allowInsecureAuth: true, transcript: listener }
      )
      expect(entries().map(SmtpTranscript.format)).toEqual([
        "*: connected to mx.test:25",
        "S: 220 mx.test ESMTP",
        "C: EHLO client.test",
        "S: 250-mx.test",
        "S: 250-PIPELINING",
        "S: 250 AUTH PLAIN",
        "C: AUTH PLAIN [redacted]",
        "S: 235 2.7.0 welcome",
        "C: MAIL FROM:<a@x.test>",
        "C: RCPT TO:<b@y.test>",
        "C: DATA",
        "S: 250 ok",
        "S: 250 ok",
        "S: 354 go",
        expect.stringMatching(/^C: \[content: \d+ bytes\]$/),
        "S: 250 2.0.0 queued as 42",
        "C: QUIT",
        "S: 221 2.0.0 bye"
      ])
    })
  )
})

describe("docmd(cmd, argument), putcmd, getreply", () => {
  it.effect("is command(verb, argument): code, enhanced code, lines and their text", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(
        SmtpTest.script(opened(), ask("XCMD a b", "550-5.1.1 one", "550 5.1.1 two"), goodbye),
        (smtp) => smtp.command("XCMD", "a b")
      )
      expect(reply).toMatchObject({ code: 550, enhancedCode: { class: 5, subject: 1, detail: 1 } })
      expect(reply.text).toBe("one\ntwo")
    })
  )

  it.effect("is ServerDisconnected when the connection is lost", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(opened(), SmtpTest.expect("XCMD"), SmtpTest.close),
        (smtp) => Effect.flip(smtp.command("XCMD"))
      )
      expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "command" })
    })
  )
})

describe("helo, ehlo, ehlo_or_helo_if_needed", () => {
  it.effect("have the same names, and the latest answer is the capability set", () =>
    Effect.gen(function* () {
      const sizes = yield* withConnection(
        SmtpTest.script(
          greeting,
          ehlo("SIZE 10"),
          ask("HELO client.test", "250 mx.test"),
          ehlo("SIZE 20"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const seen: Array<number | undefined> = []
            for (const step of [smtp.ehloOrHeloIfNeeded, smtp.ehloOrHeloIfNeeded, smtp.helo, smtp.ehlo]) {
              yield* step
              seen.push((yield* smtp.capabilities).size)
            }
            return seen
          })
      )
      expect(sizes).toEqual([10, 10, undefined, 20])
    })
  )
})

describe("has_extn(name), does_esmtp, esmtp_features", () => {
  it.effect("are capabilities: has in any case, parameters, raw lines", () =>
    Effect.gen(function* () {
      const capabilities = yield* withSession(
        SmtpTest.script(opened("SIZE 1000", "X-Own a b"), goodbye),
        (smtp) => smtp.capabilities
      )
      expect([capabilities.has("size"), capabilities.has("X-OWN"), capabilities.has("DSN")]).toEqual([
        true,
        true,
        false
      ])
      expect(capabilities.parameters("x-own")).toBe("a b")
      expect(capabilities.rawLines).toContain("X-Own a b")
    })
  )
})

describe("verify / vrfy, expn, help, noop, rset, mail, rcpt, data", () => {
  it.effect("are the same verbs, each an effect", () =>
    withSession(
      SmtpTest.script(
        opened(),
        ask("VRFY ann", "252 maybe"),
        ask("EXPN team", "502 no"),
        ask("HELP", "214 read the RFC"),
        ask("NOOP", "250 ok"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RSET", "250 ok"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.vrfy("ann")
          yield* smtp.expn("team")
          yield* smtp.help()
          yield* smtp.noop
          yield* smtp.mail("a@x.test")
          yield* smtp.rset
          yield* smtp.mail("a@x.test")
          yield* smtp.rcpt("b@y.test")
          yield* smtp.data(message)
        })
    )
  )
})

describe("login, auth, initial_response_ok", () => {
  it.effect("are authenticate, with mechanisms as values", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(
        SmtpTest.script(
          opened("AUTH LOGIN PLAIN"),
          ask("AUTH PLAIN", "334 "),
          ask("AGFwcABzZWNyZXQ=", "235 welcome"),
          goodbye
        ),
        (smtp) => smtp.authenticate({ ...auth, mechanisms: ["PLAIN"], initialResponse: false }),
        { allowInsecureAuth: true }
      )
      expect(reply.code).toBe(235)
    })
  )
})

describe("sendmail(from, to, msg, mail_options, rcpt_options)", () => {
  it.effect(
    "is send: options only if offered, success if anybody was accepted, every refusal in the receipt",
    () =>
      Effect.gen(function* () {
        const receipt = yield* withSession(
          SmtpTest.script(
            opened("SIZE", "DSN"),
            ask("MAIL FROM:<a@x.test> SIZE=22 RET=HDRS", "250 ok"),
            ask("RCPT TO:<b@y.test> NOTIFY=FAILURE", "550 5.1.1 no"),
            ask("RCPT TO:<c@y.test> NOTIFY=FAILURE", "250 ok"),
            ask("DATA", "354 go"),
            content(message, "250 ok"),
            goodbye
          ),
          (smtp) =>
            smtp.send({
              ...submission,
              to: ["b@y.test", "c@y.test"],
              parameters: ["RET=HDRS"],
              recipientParameters: ["NOTIFY=FAILURE"]
            })
        )
        expect(outcomes(receipt)).toEqual(["b@y.test Refused 550 rcpt", "c@y.test Accepted 250"])
      })
  )

  it.effect("leaves the connection open after a refusal, and the headers untouched", () =>
    Effect.gen(function* () {
      const text = "Bcc: secret@z.test\r\nX-Odd:  two  spaces\r\n\r\nhello\r\n"
      const error = yield* withSession(
        SmtpTest.script(
          opened(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "550 5.1.1 no"),
          ask("RSET", "250 ok"),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          content(text, "250 ok"),
          goodbye
        ),
        (smtp) =>
          Effect.zipLeft(Effect.flip(smtp.send(submission)), smtp.send({ ...submission, content: text }))
      )
      expect(error).toMatchObject({ _tag: "RecipientsRefused" })
    })
  )
})

describe("quit, close, with", () => {
  it.effect("are quit and the scope: QUIT is said once, whoever says it", () =>
    Effect.gen(function* () {
      yield* withSession(SmtpTest.script(opened(), goodbye), () => Effect.void)
      yield* withSession(SmtpTest.script(opened(), goodbye), (smtp) => smtp.quit)
    })
  )
})

describe("SMTPServerDisconnected and the other exceptions", () => {
  const refusals: ReadonlyArray<
    readonly [string, SmtpTest.Script, (smtp: SmtpSession.Service) => Effect.Effect<unknown, unknown>]
  > = [
    ["CommandRefused", ask("NOOP", "450 no"), (smtp) => smtp.noop],
    ["HeloError", ask("EHLO client.test", "550 no"), (smtp) => smtp.ehlo],
    ["SenderRefused", ask("MAIL FROM:<a@x.test>", "550 no"), (smtp) => smtp.mail("a@x.test")],
    ["DataError", ask("DATA", "503 no"), (smtp) => smtp.data(message)],
    ["AuthenticationError", ask(plain, "535 no"), (smtp) => smtp.authenticate(auth)]
  ]
  for (const [tag, step, use] of refusals) {
    it.effect(`are errors with a Reply each: ${tag}, after which the session is open`, () =>
      Effect.gen(function* () {
        const resets = tag === "DataError" ? [ask("RSET", "250 ok")] : []
        const error = yield* withSession(
          SmtpTest.script(opened("AUTH PLAIN"), step, ...resets, ask("NOOP", "250 ok"), goodbye),
          (smtp) => Effect.zipLeft(Effect.flip(use(smtp)), smtp.noop),
          { allowInsecureAuth: true }
        )
        expect(error).toMatchObject({ _tag: tag, reply: { text: "no" } })
      })
    )
  }

  it.effect("are errors with a Reply each: ServerDisconnected, after which it is closed", () =>
    Effect.gen(function* () {
      const [error, state] = yield* withSession(
        SmtpTest.script(opened(), ask("NOOP", "421 4.3.2 bye"), silentEnd),
        (smtp) => Effect.zip(Effect.flip(smtp.noop), smtp.state)
      )
      expect(error).toMatchObject({ _tag: "ServerDisconnected", reply: { code: 421 } })
      expect(state).toBe("Closed")
    })
  )
})
