import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { busyRecipient, credentials, unknownRecipient } from "../servers/running.js"
import { resourcesLeftBy } from "../support/resources.js"
import type { RunningSmtpServer, SmtpServerOptions } from "../support/smtpServer.js"
import { refusal, startSmtpServer } from "../support/smtpServer.js"

const content = "Subject: x\r\n\r\nx\r\n"
const from = "sender@example.test"
const ann = "ann@example.test"
const bob = "bob@example.test"

const open = (server: RunningSmtpServer, options: SmtpSession.Options = {}) =>
  SmtpSession.make({ host: "127.0.0.1", port: server.port, tls: "none", ...options }).pipe(
    Effect.provide(NodeSmtp.layer)
  )

const overUnixSocket = (options: SmtpServerOptions) =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "lmtp-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true }))
    )
    const path = join(folder, "socket")
    const server = yield* startSmtpServer({ ...options, path })
    const session = yield* SmtpSession.make({ path, dialect: "lmtp" }).pipe(Effect.provide(NodeSmtp.layer))
    return { server, session }
  })

describe("the envelope at smtp-server", () => {
  it.scopedLive("is the one that was sent, with its parameters", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer()
      const session = yield* open(server)
      yield* session.send({
        from,
        to: [ann, { address: bob, notify: ["SUCCESS", "FAILURE"], originalRecipient: "b+b@x.test" }],
        content,
        parameters: { ret: "HDRS", envelopeId: "id=1+2 3" }
      })
      const [accepted] = yield* server.accepted
      expect(accepted?.envelope).toMatchObject({
        mailFrom: { address: from },
        dsn: { ret: "HDRS", envid: "id=1+2 3" },
        bodyType: "7bit",
        rcptTo: [
          { address: ann },
          { address: bob, dsn: { notify: ["SUCCESS", "FAILURE"], orcpt: "rfc822;b+b@x.test" } }
        ]
      })
      expect(accepted?.envelope.mailFrom).toMatchObject({ args: { SIZE: String(content.length) } })
    })
  )

  it.scopedLive("says 8BITMIME and SMTPUTF8 where the message needs them (RFC 6152, RFC 6531)", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer()
      const session = yield* open(server)
      yield* session.send({ from, to: ann, content: "Subject: x\r\n\r\nÄ\r\n" })
      yield* session.send({ from, to: "jörg@example.test", content: "Subject: Ä\r\n\r\nÄ\r\n" })
      const envelopes = (yield* server.accepted).map(({ envelope }) => envelope)
      expect(envelopes).toMatchObject([
        { bodyType: "8bitmime", smtpUtf8: false },
        { bodyType: "8bitmime", smtpUtf8: true, rcptTo: [{ address: "jörg@example.test" }] }
      ])
    })
  )

  it.scopedLive("is refused locally where it needs SMTPUTF8 and the server does not know it", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer({ server: { hideSMTPUTF8: true } })
      const session = yield* open(server)
      expect(yield* Effect.flip(session.send({ from, to: "jörg@example.test", content }))).toMatchObject({
        _tag: "NotSupported",
        extension: "SMTPUTF8"
      })
      expect(yield* server.accepted).toEqual([])
    })
  )

  it.scopedLive("tells refusals for now from those for good", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer()
      const session = yield* open(server)
      const receipt = yield* session.send({ from, to: [busyRecipient, ann, unknownRecipient], content })
      expect(receipt.outcomes).toMatchObject([
        { _tag: "Refused", permanent: false, reply: { code: 450 } },
        { _tag: "Accepted", queueId: "1" },
        { _tag: "Refused", permanent: true, reply: { code: 550 } }
      ])
    })
  )
})

describe("SIZE at smtp-server (RFC 1870)", () => {
  const tooLarge = `Subject: x\r\n\r\n${"x".repeat(70)}\r\n`.padEnd(3000, "y\r\n")

  it.scopedLive("is looked at before anything is sent", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer({ server: { size: 1000 } })
      const session = yield* open(server)
      expect((yield* session.capabilities).size).toBe(1000)
      expect(yield* Effect.flip(session.send({ from, to: ann, content: tooLarge }))).toMatchObject({
        _tag: "NotSupported",
        extension: "SIZE"
      })
      yield* session.send({ from, to: ann, content })
      expect((yield* server.accepted).length).toBe(1)
    })
  )

  it.scopedLive("ends a stream that grows beyond it, and nothing is delivered", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer({ server: { size: 100_000 } })
      const session = yield* open(server)
      const endless = Stream.repeatValue(new TextEncoder().encode(`${"x".repeat(70)}\r\n`))
      const error = yield* Effect.flip(
        session.send({ from, to: ann, content: SmtpContent.once(Stream.take(endless, 10_000)) })
      )
      expect(error).toMatchObject({ _tag: "ContentError", reason: "TooLarge" })
      expect(yield* server.accepted).toEqual([])
    })
  )

  it.scopedLive("refused after the content, where the server did not tell its limit, is DataError", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer({
        server: { size: 1000, hideSize: true, rejectOversized: true }
      })
      const session = yield* open(server)
      expect(yield* Effect.flip(session.send({ from, to: ann, content: tooLarge }))).toMatchObject({
        _tag: "DataError",
        phase: "final",
        reply: { code: 552 }
      })
      yield* session.send({ from, to: ann, content })
      expect((yield* server.accepted).length).toBe(1)
    })
  )
})

describe("LMTP at smtp-server over a UNIX socket (RFC 2033)", () => {
  it.scopedLive("gives each accepted recipient the reply that is its own", () =>
    Effect.gen(function* () {
      const { server, session } = yield* overUnixSocket({
        server: { lmtp: true, disabledCommands: ["AUTH", "STARTTLS"] },
        verdict: (recipient) => (recipient === bob ? refusal(452, "mailbox is full") : undefined)
      })
      const carol = "carol@example.test"
      const receipt = yield* session.send({ from, to: [ann, unknownRecipient, bob, carol], content })
      expect(receipt.outcomes).toMatchObject([
        { _tag: "Accepted", recipient: ann, reply: { lines: [expect.stringContaining(ann)] } },
        { _tag: "Refused", recipient: unknownRecipient, phase: "rcpt", permanent: true },
        { _tag: "Refused", recipient: bob, phase: "final", permanent: false },
        { _tag: "Accepted", recipient: carol, reply: { lines: [expect.stringContaining(carol)] } }
      ])
      expect((yield* server.accepted).map(({ envelope }) => envelope.rcptTo.length)).toEqual([2])
    })
  )

  it.scopedLive("fails when the content is refused for everybody", () =>
    Effect.gen(function* () {
      const { session } = yield* overUnixSocket({
        server: { lmtp: true, disabledCommands: ["AUTH", "STARTTLS"] },
        verdict: () => refusal(554, "not this")
      })
      expect(yield* Effect.flip(session.send({ from, to: [ann, bob], content }))).toMatchObject({
        _tag: "RecipientsRefused",
        recipients: [
          { address: ann, reply: { code: 554 } },
          { address: bob, reply: { code: 554 } }
        ]
      })
      expect(yield* session.state).toBe("Ready")
    })
  )
})

describe("a session with smtp-server", () => {
  it.live("leaves nothing open, in clear, on TLS and authenticated", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const server = yield* startSmtpServer()
        const auth = SmtpAuth.password({
          username: credentials.username,
          password: Redacted.make(credentials.password)
        })
        const tlsOptions = { ca: server.certificates.ca }
        for (const options of [
          {},
          { tls: "starttls", tlsOptions, auth },
          { tls: "implicit", port: server.tlsPort, tlsOptions, auth }
        ] as const) {
          yield* Effect.scoped(
            Effect.flatMap(open(server, options), (session) => session.send({ from, to: ann, content }))
          )
        }
        expect((yield* server.accepted).map(({ secure }) => secure)).toEqual([false, true, true])
      })
      expect(yield* resourcesLeftBy(Effect.scoped(program))).toEqual({})
    })
  )

  it.scopedLive("that the server shuts down is told so by 421", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const server = yield* Scope.extend(startSmtpServer(), scope)
      const session = yield* open(server)
      yield* Scope.close(scope, Exit.void)
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "ServerDisconnected", reply: { code: 421 } })
    })
  )
})
