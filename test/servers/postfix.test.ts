import { expect, layer } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpCommand from "../../src/SmtpCommand.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { suite } from "./availability.js"
import { conformance, expectOctets, fromRunning } from "./conformance.js"
import { agreesOnEveryMessage, deliversOverSessions, levels } from "./levels.js"
import { layer as postfixLayer, Postfix, start } from "./postfix.js"
import { bob, busyRecipient, refusedField, user } from "./running.js"

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const content = encode("From: <bob@example.test>\r\nSubject: Postfix\r\n\r\n.dots\r\n")

const session = Effect.flatMap(Postfix, ({ host, port }) => SmtpSession.make({ host, port, tls: "none" }))

suite("Postfix", ["Postfix"], () => {
  conformance("Postfix", Effect.map(start(), fromRunning), [
    "STARTTLS",
    "implicit",
    "AUTH",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
    "PIPELINING"
  ])

  layer(Layer.merge(postfixLayer(), NodeSmtp.layer), { excludeTestServices: true })("and a session", (it) => {
    it.scoped("learn a recipient's refusal for now, and the queue id of the others", () =>
      Effect.gen(function* () {
        const smtp = yield* session
        const receipt = yield* smtp.send({ from: bob, to: [busyRecipient, user(301)], content })
        expect(receipt.refused).toMatchObject([{ recipient: busyRecipient, permanent: false, phase: "rcpt" }])
        expect(receipt.accepted[0]?.queueId).toMatch(/^[0-9A-Za-z]{6,}$/)
      })
    )

    it.scoped("learn a refusal after the content, and go on", () =>
      Effect.gen(function* () {
        const smtp = yield* session
        const refused = encode(`${refusedField}\r\n\r\nx\r\n`)
        const error = yield* Effect.flip(smtp.send({ from: bob, to: user(302), content: refused }))
        expect(error).toMatchObject({
          _tag: "DataError",
          phase: "final",
          reply: { code: 550, enhancedCode: { class: 5, subject: 7, detail: 1, advertised: true } }
        })
        expect((yield* smtp.send({ from: bob, to: user(302), content })).accepted.length).toBe(1)
      })
    )

    it.scoped("agree on lines over 998 octets, as long as Postfix takes them in one piece", () =>
      Effect.gen(function* () {
        const { awaitMessages } = yield* Postfix
        const lines = [998, 999, 2000].map((length) => "x".repeat(length))
        const long = encode(`Subject: long\r\n\r\n${lines.join("\r\n")}\r\n`)
        const receipt = yield* (yield* session).send({ from: bob, to: user(308), content: long })
        expect(receipt.content).toEqual({ octets: long.length, changed: false, longestLine: 2000 })
        expectOctets((yield* awaitMessages(user(308)))[0]?.content, long)
      })
    )

    it.scoped.each(Object.keys(levels).map((level, index) => [level, index] as const))(
      "agree on every message of many at once: %s",
      ([level, index]) =>
        Effect.flatMap(Postfix, (server) => agreesOnEveryMessage(server, level, 501 + 50 * index))
    )

    it.scoped("agree on commands by hand, in a group and in a transaction", () =>
      Effect.gen(function* () {
        const { awaitMessages } = yield* Postfix
        const smtp = yield* session
        const replies = yield* smtp.group([
          SmtpCommand.mail(bob),
          SmtpCommand.rcpt(busyRecipient),
          SmtpCommand.rset,
          SmtpCommand.vrfy(user(306))
        ])
        expect(replies.map(({ code }) => code)).toEqual([250, 450, 250, 252])
        const [final] = yield* Effect.scoped(
          Effect.gen(function* () {
            const transaction = yield* smtp.transaction(bob, ["RET=HDRS", "ENVID=by-hand"])
            yield* transaction.rcpt(user(306), ["NOTIFY=NEVER"])
            return yield* transaction.data(content)
          })
        )
        expect(final.code).toBe(250)
        expectOctets((yield* awaitMessages(user(306)))[0]?.content, content)
        expect((yield* smtp.command("ETRN", "elsewhere.test")).code).toBeGreaterThanOrEqual(400)
      })
    )

    it.scoped("agree on BDAT by hand (RFC 3030)", () =>
      Effect.gen(function* () {
        const { awaitMessages } = yield* Postfix
        const smtp = yield* session
        yield* smtp.mail(bob)
        yield* smtp.rcpt(user(307))
        yield* smtp.bdat(content.subarray(0, 20))
        yield* smtp.bdat(content.subarray(20))
        const [final] = yield* smtp.bdat(new Uint8Array(0), { last: true })
        expect(final.code).toBe(250)
        expectOctets((yield* awaitMessages(user(307)))[0]?.content, content)
      })
    )

    it.scoped("authenticate by SCRAM without a second thought, and refuse a wrong bearer token", () =>
      Effect.gen(function* () {
        const { ca, credentials, host, port, token } = yield* Postfix
        const open = (auth: SmtpAuth.Credentials) =>
          SmtpSession.make({ host, port, tlsOptions: { ca }, auth })
        const { password, username } = credentials
        yield* open(
          SmtpAuth.password({ username, password: Redacted.make(password), mechanisms: ["SCRAM-SHA-256"] })
        )
        yield* open(SmtpAuth.oauth2({ username, token: Redacted.make(token(username)) }))
        const late = SmtpAuth.oauth2({ username, token: Redacted.make(token(username, -60)) })
        expect(yield* Effect.flip(open(late))).toMatchObject({
          _tag: "AuthenticationError",
          reason: "Rejected"
        })
      })
    )
  })

  layer(
    Layer.merge(
      postfixLayer({ overrides: { smtpd_upstream_proxy_protocol: "haproxy", inet_protocols: "all" } }),
      NodeSmtp.layer
    ),
    { excludeTestServices: true }
  )("behind a proxy's header and a session", (it) => {
    const headers: ReadonlyArray<SmtpSession.ProxyHeader> = ([1, 2] as const).flatMap((version) => [
      {
        version,
        source: { address: "192.0.2.7", port: 4711 },
        destination: { address: "198.51.100.2", port: 25 }
      },
      {
        version,
        source: { address: "2001:db8::7", port: 4711 },
        destination: { address: "2001:db8::25", port: 25 }
      }
    ])
    for (const [index, proxyHeader] of headers.entries()) {
      for (const tls of ["none", "implicit", "starttls"] as const) {
        const address = proxyHeader.source?.address ?? ""
        it.scoped(`agree on whom version ${proxyHeader.version} speaks for: ${address}, tls "${tls}"`, () =>
          Effect.gen(function* () {
            const { awaitMessages, ca, host, port, tlsPort } = yield* Postfix
            const smtp = yield* SmtpSession.make({
              host,
              port: tls === "implicit" ? tlsPort : port,
              tls,
              tlsOptions: { ca },
              proxyHeader
            })
            const recipient = user(460 + index)
            const before = yield* smtp.send({ from: bob, to: recipient, content })
            expect(before.accepted.length).toBe(1)
            const messages = yield* awaitMessages(recipient)
            expect(messages.at(-1)?.trace.join("\n")).toContain(address)
          })
        )
      }
    }
  })

  layer(
    Layer.merge(
      postfixLayer({ overrides: { smtpd_authorized_xclient_hosts: "127.0.0.1", inet_protocols: "all" } }),
      NodeSmtp.layer
    ),
    { excludeTestServices: true }
  )("that trusts XCLIENT and a session", (it) => {
    for (const tls of ["none", "starttls", "implicit"] as const) {
      it.scoped(`agree on whom it speaks for, tls "${tls}"`, () =>
        Effect.gen(function* () {
          const { awaitMessages, ca, credentials, host, port, tlsPort } = yield* Postfix
          const { password, username } = credentials
          const smtp = yield* SmtpSession.make({
            host,
            port: tls === "implicit" ? tlsPort : port,
            tls,
            tlsOptions: { ca },
            ...(tls === "none"
              ? {}
              : { auth: SmtpAuth.password({ username, password: Redacted.make(password) }) }),
            xclient: {
              name: "client.example.net",
              address: "2001:db8::9",
              port: 4711,
              helo: "spoken-for.example.net",
              protocol: "ESMTP"
            }
          })
          expect((yield* smtp.capabilities).has("SIZE")).toBe(true)
          const recipient = user({ none: 470, starttls: 471, implicit: 472 }[tls])
          yield* smtp.send({ from: bob, to: recipient, content })
          const [message] = yield* awaitMessages(recipient)
          expect(message?.trace.join("\n")).toContain("client.example.net")
          expect(message?.trace.join("\n")).toMatch(/2001:db8::9/i)
        })
      )
    }
  })

  layer(
    Layer.merge(
      postfixLayer({ overrides: { smtpd_recipient_limit: "10", message_size_limit: "20000" } }),
      NodeSmtp.layer
    ),
    { excludeTestServices: true }
  )("with lowered limits and a session", (it) => {
    it.scoped("divide the recipients of one message into as many transactions as it takes", () =>
      Effect.gen(function* () {
        const { awaitMessages } = yield* Postfix
        const smtp = yield* session
        const to = Array.from({ length: 25 }, (_, index) => user(400 + index))
        const receipt = yield* smtp.send({ from: bob, to, content })
        expect(receipt.outcomes.map(({ _tag, recipient }) => [recipient, _tag])).toEqual(
          to.map((recipient) => [recipient, "Accepted"])
        )
        expect(new Set(receipt.accepted.map(({ queueId }) => queueId)).size).toBe(3)
        for (const recipient of to) {
          const messages = yield* awaitMessages(recipient)
          expect(messages.length).toBe(1)
          expectOctets(messages[0]?.content, content)
        }
      })
    )

    it.scoped("run a stream again for each transaction", () =>
      Effect.gen(function* () {
        const { awaitMessages } = yield* Postfix
        const smtp = yield* session
        const to = Array.from({ length: 12 }, (_, index) => user(430 + index))
        const pieces = Chunk.make(content.subarray(0, 30), content.subarray(30))
        const streamed = SmtpContent.replayable(Stream.fromChunk(pieces))
        expect((yield* smtp.send({ from: bob, to, content: streamed })).accepted.length).toBe(12)
        for (const recipient of to) {
          expectOctets((yield* awaitMessages(recipient))[0]?.content, content)
        }
      })
    )

    it.scoped("refuse what is over SIZE before MAIL", () =>
      Effect.gen(function* () {
        const smtp = yield* session
        const large = encode(`Subject: large\r\n\r\n${"x".repeat(76)}\r\n`.repeat(300))
        expect(yield* Effect.flip(smtp.send({ from: bob, to: user(450), content: large }))).toMatchObject({
          _tag: "NotSupported",
          extension: "SIZE"
        })
        expect(yield* smtp.state).toBe("Ready")
      })
    )
  })

  layer(
    Layer.merge(
      postfixLayer({ overrides: { smtpd_junk_command_limit: "1", smtpd_hard_error_limit: "4" } }),
      NodeSmtp.layer
    ),
    { excludeTestServices: true }
  )("that ends sessions for few commands without mail, and sessions", (it) => {
    it.scoped.each(Object.keys(levels).map((level, index) => [level, index] as const))(
      "deliver every message once: %s",
      ([level, index]) =>
        Effect.gen(function* () {
          const sessions = yield* deliversOverSessions(yield* Postfix, level, 501 + 50 * index)
          expect(sessions).toBeGreaterThan(1)
        })
    )
  })
})
