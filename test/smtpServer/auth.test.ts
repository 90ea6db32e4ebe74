import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import type { Credentials } from "../servers/running.js"
import { credentials, unicodeCredentials } from "../servers/running.js"
import type { RunningSmtpServer } from "../support/smtpServer.js"
import { startSmtpServer } from "../support/smtpServer.js"

const token = "ya29.a-token"

const password = (
  { password, username }: Credentials,
  ...mechanisms: ReadonlyArray<SmtpAuth.PasswordMechanism>
) => SmtpAuth.password({ username, password: Redacted.make(password), mechanisms })

const bearer = (value: string) =>
  SmtpAuth.oauth2({ username: credentials.username, token: Redacted.make(value), mechanisms: ["XOAUTH2"] })

const wrong = { ...credentials, password: "wrong" }

const mechanisms = [
  ["PLAIN", password(credentials, "PLAIN"), password(wrong, "PLAIN")],
  ["LOGIN", password(credentials, "LOGIN"), password(wrong, "LOGIN")],
  ["CRAM-MD5", password(credentials, "CRAM-MD5"), password(wrong, "CRAM-MD5")],
  ["XOAUTH2", bearer(token), bearer("stale")]
] as const

const ways: Readonly<Record<string, (server: RunningSmtpServer) => SmtpSession.Options>> = {
  "in clear, as the program allows": ({ port }: RunningSmtpServer) => ({
    port,
    tls: "none",
    allowInsecureAuth: true
  }),
  "behind STARTTLS": ({ port }: RunningSmtpServer) => ({ port, tls: "starttls" }),
  "on implicit TLS": ({ tlsPort }: RunningSmtpServer) => ({ port: tlsPort, tls: "implicit" })
}

const start = startSmtpServer({ token, server: { allowInsecureAuth: true } })

const make = (server: RunningSmtpServer, options: SmtpSession.Options) =>
  SmtpSession.make({
    host: "127.0.0.1",
    tlsOptions: { ca: server.certificates.ca },
    ...options
  }).pipe(Effect.provide(NodeSmtp.layer))

for (const [way, optionsOf] of Object.entries(ways)) {
  describe(`AUTH with smtp-server ${way}`, () => {
    for (const [mechanism, right, refused] of mechanisms) {
      it.scopedLive(`by ${mechanism} is accepted, and the message is the user's`, () =>
        Effect.gen(function* () {
          const server = yield* start
          const session = yield* make(server, { ...optionsOf(server), auth: right })
          yield* session.send({
            from: "a@x.test",
            to: "ann@example.test",
            content: "Subject: x\r\n\r\nx\r\n"
          })
          expect(yield* server.attempts).toEqual([mechanism])
          expect(yield* server.accepted).toMatchObject([{ user: credentials.username }])
        })
      )

      it.scopedLive(`by ${mechanism} is refused for the wrong secret, once, and the session goes on`, () =>
        Effect.gen(function* () {
          const server = yield* start
          const session = yield* make(server, optionsOf(server))
          expect(yield* Effect.flip(session.authenticate(refused))).toMatchObject({
            _tag: "AuthenticationError",
            reason: "Rejected",
            mechanism,
            reply: { code: 535 }
          })
          expect(yield* server.attempts).toEqual([mechanism])
          expect((yield* session.authenticate(right)).code).toBe(235)
        })
      )
    }
  })
}

describe("AUTH with smtp-server", () => {
  it.scopedLive("takes user names and passwords beyond ASCII by PLAIN, LOGIN and CRAM-MD5", () =>
    Effect.gen(function* () {
      const server = yield* start
      for (const mechanism of ["PLAIN", "LOGIN", "CRAM-MD5"] as const) {
        const session = yield* make(server, { port: server.port })
        const reply = yield* session.authenticate(password(unicodeCredentials, mechanism))
        expect([mechanism, reply.code]).toEqual([mechanism, 235])
      }
    })
  )

  it.scopedLive("takes a token in two steps where the line would be too long", () =>
    Effect.gen(function* () {
      const long = "t".repeat(3000)
      const server = yield* startSmtpServer({ token: long })
      const session = yield* make(server, { port: server.port, auth: bearer(long) })
      expect(yield* session.state).toBe("Ready")
    })
  )

  it.scopedLive("takes a fresh token after the cached one was refused", () =>
    Effect.gen(function* () {
      const server = yield* start
      const auth = SmtpAuth.oauth2({
        username: credentials.username,
        mechanisms: ["XOAUTH2"],
        token: ({ refresh }) => Effect.succeed(Redacted.make(refresh ? token : "stale"))
      })
      const session = yield* make(server, { port: server.port, auth })
      expect(yield* session.state).toBe("Ready")
      expect(yield* server.attempts).toEqual(["XOAUTH2", "XOAUTH2"])
    })
  )

  it.scopedLive("tries PLAIN after CRAM-MD5 was refused, on verified TLS only", () =>
    Effect.gen(function* () {
      const server = yield* start
      const both = password(wrong, "CRAM-MD5", "PLAIN")
      yield* Effect.flip(make(server, { port: server.port, auth: both }))
      expect(yield* server.attempts).toEqual(["CRAM-MD5", "PLAIN"])
      yield* Effect.flip(
        make(server, { port: server.port, auth: both, tls: "none", allowInsecureAuth: true })
      )
      expect(yield* server.attempts).toEqual(["CRAM-MD5", "PLAIN", "CRAM-MD5"])
    })
  )

  it.scopedLive("is not begun in clear unless the program allows it", () =>
    Effect.gen(function* () {
      const server = yield* start
      const auth = password(credentials, "PLAIN")
      expect(yield* Effect.flip(make(server, { port: server.port, tls: "none", auth }))).toMatchObject({
        _tag: "AuthenticationError",
        reason: "Insecure"
      })
      expect(yield* server.attempts).toEqual([])
    })
  )

  it.scopedLive("is not offered by a server that demands TLS first, and nothing is tried", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer({ server: { disabledCommands: ["AUTH"] } })
      const auth = password(credentials, "PLAIN")
      expect(yield* Effect.flip(make(server, { port: server.port, auth }))).toMatchObject({
        _tag: "AuthenticationError",
        reason: "NotOffered"
      })
      expect(yield* server.attempts).toEqual([])
    })
  )

  it.scopedLive("is SenderRefused for a message without it, where the server requires it", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer({ server: { authOptional: false } })
      const session = yield* make(server, { port: server.port })
      const error = yield* Effect.flip(
        session.send({ from: "a@x.test", to: "ann@example.test", content: "Subject: x\r\n\r\nx\r\n" })
      )
      expect(error).toMatchObject({ _tag: "SenderRefused", reply: { code: 530 } })
    })
  )
})
