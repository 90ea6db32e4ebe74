import { describe, expect, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { existsSync } from "node:fs"
import { Aiosmtpd, layer as aiosmtpdLayer, start as startAiosmtpd } from "./aiosmtpd.js"
import { suite } from "./availability.js"
import { canonical, stripTrace } from "./delivered.js"
import { Dovecot, layer as dovecotLayer, start as startDovecot } from "./dovecot.js"
import { Exim, layer as eximLayer, start as startExim } from "./exim.js"
import { layer as postfixLayer, Postfix, start as startPostfix } from "./postfix.js"
import type { RawClient } from "./rawClient.js"
import { connect } from "./rawClient.js"
import type { Credentials, Running } from "./running.js"
import {
  ann,
  bob,
  busyRecipient,
  fullRecipient,
  jörg,
  refusedField,
  unknownRecipient,
  user
} from "./running.js"

const octets = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("latin1")

// Everything that a mailbox could spoil: a "From " line, dots, a long line, 8-bit octets, trailing white space.
const content = Buffer.concat([
  Buffer.from("From: <ann@example.test>\r\nSubject: harness\r\n\r\nFrom the start\r\n.\r\n..two\r\n"),
  Buffer.from(`${"x".repeat(990)}\r\n  trailing  \t\r\n\r\n`),
  Buffer.from([0x80, 0xff, 0x01, 0x7f, 0x0d, 0x0a]),
  Buffer.from("the end\r\n")
])
const stuffed = Buffer.from(content.toString("latin1").replaceAll(/^\./gm, ".."), "latin1")

const greet = (client: RawClient, verb = "EHLO"): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(client.exchange(`${verb} client.test\r\n`), (reply) =>
    reply
      .trimEnd()
      .split("\r\n")
      .map((line) => line.slice(4))
  )

const sendWithData = (client: RawClient, recipient: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    expect(yield* client.exchange(`MAIL FROM:<${bob}>\r\n`)).toMatch(/^250/)
    expect(yield* client.exchange(`RCPT TO:<${recipient}>\r\n`)).toMatch(/^250/)
    expect(yield* client.exchange("DATA\r\n")).toMatch(/^354/)
    expect(yield* client.exchange(Buffer.concat([stuffed, Buffer.from(".\r\n")]))).toMatch(/^250/)
  })

const authenticatePlain = (client: RawClient, { password, username }: Credentials): Effect.Effect<string> =>
  client.exchange(`AUTH PLAIN ${Buffer.from(`\0${username}\0${password}`).toString("base64")}\r\n`)

const hasDelivered = (server: Running, recipient: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    const [delivered] = yield* server.awaitMessages(recipient)
    expect(text(delivered?.content)).toBe(content.toString("latin1"))
  })

/** A server is up while its scope is open, and after that neither answers nor has left its folder behind. */
const leavesNothing = <A extends Running & { readonly port: number }, E>(
  start: Effect.Effect<A, E, Scope.Scope>
): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const server = yield* Scope.extend(start, scope)
    expect(existsSync(server.folder)).toBe(true)
    yield* Scope.close(scope, Exit.void)
    expect(existsSync(server.folder)).toBe(false)
    const gone = yield* Effect.scoped(Effect.flatMap(connect(server.port), (client) => client.reply)).pipe(
      Effect.sandbox,
      Effect.isFailure
    )
    expect(gone).toBe(true)
  })

describe("delivered", () => {
  it("makes CRLF of each LF that has no CR", () => {
    expect(text(canonical(octets("a\nb\r\n\nc\n\r")))).toBe("a\r\nb\r\n\r\nc\r\n\r")
    expect(text(canonical(octets("")))).toBe("")
  })

  it("takes folded trace fields from the top only", () => {
    const { content: rest, trace } = stripTrace(
      octets(
        "Return-Path: <>\r\nReceived: from a\r\n\tby b;\r\n today\r\nSubject: x\r\nReceived: mine\r\n\r\n"
      )
    )
    expect(trace).toEqual(["Return-Path: <>", "Received: from a by b; today"])
    expect(text(rest)).toBe("Subject: x\r\nReceived: mine\r\n\r\n")
  })
})

suite("Postfix", ["Postfix"], () => {
  layer(postfixLayer(), { excludeTestServices: true })((it) => {
    it.scoped("announces the extensions, and AUTH only under TLS", () =>
      Effect.gen(function* () {
        const server = yield* Postfix
        const client = yield* connect(server.port)
        expect(yield* client.reply).toMatch(/^220/)
        const clear = yield* greet(client)
        expect(clear).toEqual(
          expect.arrayContaining([
            "PIPELINING",
            "SIZE 52428800",
            "STARTTLS",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "DSN",
            "SMTPUTF8",
            "CHUNKING"
          ])
        )
        expect(clear.join()).not.toContain("AUTH")
        expect(yield* client.exchange("STARTTLS\r\n")).toMatch(/^220/)
        yield* client.secure(server.ca)
        const mechanisms = (yield* greet(client))
          .find((line) => line.startsWith("AUTH "))
          ?.split(" ")
          .slice(1)
        expect(mechanisms?.sort()).toEqual([
          "CRAM-MD5",
          "LOGIN",
          "OAUTHBEARER",
          "PLAIN",
          "SCRAM-SHA-1",
          "SCRAM-SHA-256",
          "XOAUTH2"
        ])
      })
    )

    it.scoped("delivers every octet", () =>
      Effect.gen(function* () {
        const server = yield* Postfix
        const client = yield* connect(server.port)
        yield* client.reply
        yield* greet(client)
        yield* sendWithData(client, ann)
        yield* hasDelivered(server, ann)
      })
    )

    it.scoped("delivers what came by BDAT, and to a mailbox that needs SMTPUTF8", () =>
      Effect.gen(function* () {
        const server = yield* Postfix
        const client = yield* connect(server.port)
        yield* client.reply
        yield* greet(client)
        expect(yield* client.exchange(`MAIL FROM:<${bob}> SMTPUTF8 BODY=8BITMIME\r\n`)).toMatch(/^250/)
        expect(yield* client.exchange(`RCPT TO:<${jörg}>\r\n`)).toMatch(/^250/)
        const chunk = Buffer.concat([Buffer.from(`BDAT ${content.length} LAST\r\n`), content])
        expect(yield* client.exchange(chunk)).toMatch(/^250/)
        yield* hasDelivered(server, jörg)
      })
    )

    it.scoped("refuses at RCPT, for now and for good, and after the content", () =>
      Effect.gen(function* () {
        const client = yield* connect((yield* Postfix).port)
        yield* client.reply
        yield* greet(client)
        yield* client.exchange(`MAIL FROM:<${bob}>\r\n`)
        expect(yield* client.exchange(`RCPT TO:<${unknownRecipient}>\r\n`)).toMatch(/^550 5\.1\.1/)
        expect(yield* client.exchange(`RCPT TO:<${busyRecipient}>\r\n`)).toMatch(/^450 4\.2\.1/)
        expect(yield* client.exchange("RCPT TO:<ann@elsewhere.test>\r\n")).toMatch(/^554 5\.7\.1/)
        yield* client.exchange(`RCPT TO:<${bob}>\r\n`)
        yield* client.exchange("DATA\r\n")
        expect(yield* client.exchange(`${refusedField}\r\n\r\nx\r\n.\r\n`)).toMatch(/^550 5\.7\.1/)
      })
    )

    it.scoped("accepts passwords and bearer tokens on the port with implicit TLS", () =>
      Effect.gen(function* () {
        const server = yield* Postfix
        const attempt = (exchange: (client: RawClient) => Effect.Effect<string>) =>
          Effect.gen(function* () {
            const client = yield* connect(server.tlsPort, server.ca)
            yield* client.reply
            yield* greet(client)
            return yield* exchange(client)
          })
        const bearer = (token: string) => (client: RawClient) =>
          client.exchange(
            `AUTH XOAUTH2 ${Buffer.from(`user=${ann}\x01auth=Bearer ${token}\x01\x01`).toString("base64")}\r\n`
          )
        expect(yield* attempt((client) => authenticatePlain(client, server.credentials))).toMatch(/^235/)
        expect(yield* attempt((client) => authenticatePlain(client, server.unicodeCredentials))).toMatch(
          /^235/
        )
        const wrong = { ...server.credentials, password: "wrong" }
        expect(yield* attempt((client) => authenticatePlain(client, wrong))).toMatch(/^535/)
        expect(yield* attempt(bearer(server.token(ann)))).toMatch(/^235/)
        expect(yield* attempt(bearer(server.token(ann, -60)))).toMatch(/^(?:334|535)/)
      })
    )
  })

  it.scopedLive("takes other limits", () =>
    Effect.gen(function* () {
      const server = yield* startPostfix({ overrides: { smtpd_recipient_limit: "2" } })
      const client = yield* connect(server.port)
      yield* client.reply
      yield* greet(client)
      yield* client.exchange(`MAIL FROM:<${bob}>\r\n`)
      yield* client.exchange(`RCPT TO:<${user(1)}>\r\n`)
      yield* client.exchange(`RCPT TO:<${user(2)}>\r\n`)
      expect(yield* client.exchange(`RCPT TO:<${user(1100)}>\r\n`)).toMatch(/^452/)
    })
  )

  it.live("leaves nothing behind", () => leavesNothing(startPostfix()))
})

suite("Exim", ["Exim"], () => {
  layer(eximLayer(), { excludeTestServices: true })((it) => {
    it.scoped("announces the extensions", () =>
      Effect.gen(function* () {
        const client = yield* connect((yield* Exim).port)
        expect(yield* client.reply).toMatch(/^220/)
        expect(yield* greet(client)).toEqual(
          expect.arrayContaining([
            "SIZE 52428800",
            "8BITMIME",
            "DSN",
            "PIPELINING",
            "AUTH PLAIN LOGIN CRAM-MD5",
            "CHUNKING",
            "STARTTLS",
            "PRDR",
            "SMTPUTF8"
          ])
        )
      })
    )

    it.scoped("delivers every octet, by STARTTLS and DATA or by BDAT", () =>
      Effect.gen(function* () {
        const server = yield* Exim
        const client = yield* connect(server.port)
        yield* client.reply
        yield* greet(client)
        expect(yield* client.exchange("STARTTLS\r\n")).toMatch(/^220/)
        yield* client.secure(server.ca)
        yield* greet(client)
        yield* sendWithData(client, ann)
        yield* hasDelivered(server, ann)
        yield* client.exchange(`MAIL FROM:<${bob}> SMTPUTF8 BODY=8BITMIME\r\n`)
        expect(yield* client.exchange(`RCPT TO:<${jörg}>\r\n`)).toMatch(/^250/)
        const chunk = Buffer.concat([Buffer.from(`BDAT ${content.length} LAST\r\n`), content])
        expect(yield* client.exchange(chunk)).toMatch(/^250/)
        yield* hasDelivered(server, jörg)
      })
    )

    it.scoped("refuses at RCPT, for now and for good, and after the content", () =>
      Effect.gen(function* () {
        const client = yield* connect((yield* Exim).port)
        yield* client.reply
        yield* greet(client)
        yield* client.exchange(`MAIL FROM:<${bob}>\r\n`)
        expect(yield* client.exchange(`RCPT TO:<${unknownRecipient}>\r\n`)).toMatch(/^550 5\.1\.1/)
        expect(yield* client.exchange(`RCPT TO:<${busyRecipient}>\r\n`)).toMatch(/^450 4\.2\.1/)
        expect(yield* client.exchange("RCPT TO:<ann@elsewhere.test>\r\n")).toMatch(/^550 5\.7\.1/)
        yield* client.exchange(`RCPT TO:<${bob}>\r\n`)
        yield* client.exchange("DATA\r\n")
        expect(yield* client.exchange(`${refusedField}\r\n\r\nx\r\n.\r\n`)).toMatch(/^550 5\.7\.1/)
      })
    )

    it.scoped("accepts passwords on the port with implicit TLS", () =>
      Effect.gen(function* () {
        const server = yield* Exim
        const client = yield* connect(server.tlsPort, server.ca)
        yield* client.reply
        yield* greet(client)
        const wrong = { ...server.credentials, password: "wrong" }
        expect(yield* authenticatePlain(client, wrong)).toMatch(/^535/)
        expect(yield* authenticatePlain(client, server.unicodeCredentials)).toMatch(/^235/)
      })
    )
  })

  it.scopedLive("takes other limits", () =>
    Effect.gen(function* () {
      const server = yield* startExim({ overrides: { recipients_max: "1", recipients_max_reject: "false" } })
      const client = yield* connect(server.port)
      yield* client.reply
      yield* greet(client)
      yield* client.exchange(`MAIL FROM:<${bob}>\r\n`)
      yield* client.exchange(`RCPT TO:<${ann}>\r\n`)
      expect(yield* client.exchange(`RCPT TO:<${user(1100)}>\r\n`)).toMatch(/^452/)
    })
  )

  it.live("leaves nothing behind", () => leavesNothing(startExim()))
})

suite("Dovecot", ["Dovecot"], () => {
  layer(dovecotLayer(), { excludeTestServices: true })((it) => {
    it.scoped("answers the content once for each accepted recipient (RFC 2033 section 4.2)", () =>
      Effect.gen(function* () {
        const server = yield* Dovecot
        const client = yield* connect(server.port)
        expect(yield* client.reply).toMatch(/^220/)
        expect(yield* greet(client, "LHLO")).toEqual(
          expect.arrayContaining(["8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES", "PIPELINING"])
        )
        yield* client.exchange(`MAIL FROM:<${bob}>\r\n`)
        expect(yield* client.exchange(`RCPT TO:<${unknownRecipient}>\r\n`)).toMatch(/^550 5\.1\.1/)
        expect(yield* client.exchange(`RCPT TO:<${ann}>\r\n`)).toMatch(/^250/)
        expect(yield* client.exchange(`RCPT TO:<${fullRecipient}>\r\n`)).toMatch(/^250/)
        expect(yield* client.exchange("DATA\r\n")).toMatch(/^354/)
        const message = Buffer.concat([stuffed, Buffer.from(".\r\n")])
        expect(yield* client.exchange(message)).toMatch(/^250 2\.0\.0 <ann/)
        expect(yield* client.reply).toMatch(/^552 5\.2\.2 <full/)
        yield* hasDelivered(server, ann)
      })
    )

    it.scoped("listens on a UNIX socket, too", () =>
      Effect.gen(function* () {
        const server = yield* Dovecot
        const client = yield* connect(server.socket)
        yield* client.reply
        yield* greet(client, "LHLO")
        yield* sendWithData(client, bob)
        yield* hasDelivered(server, bob)
      })
    )
  })

  it.live("leaves nothing behind", () => leavesNothing(startDovecot()))
})

suite("aiosmtpd", ["aiosmtpd"], () => {
  layer(aiosmtpdLayer(), { excludeTestServices: true })((it) => {
    it.scoped("announces the extensions, and AUTH only under TLS", () =>
      Effect.gen(function* () {
        const server = yield* Aiosmtpd
        const client = yield* connect(server.port)
        expect(yield* client.reply).toMatch(/^220/)
        const clear = yield* greet(client)
        expect(clear).toEqual(expect.arrayContaining(["SIZE 52428800", "8BITMIME", "SMTPUTF8", "STARTTLS"]))
        expect(clear.join()).not.toContain("AUTH")
        yield* client.exchange("STARTTLS\r\n")
        yield* client.secure(server.ca)
        expect(yield* greet(client)).toContain("AUTH LOGIN PLAIN")
        expect(yield* authenticatePlain(client, server.unicodeCredentials)).toMatch(/^235/)
      })
    )

    it.scoped("keeps every octet and the envelope", () =>
      Effect.gen(function* () {
        const server = yield* Aiosmtpd
        const client = yield* connect(server.tlsPort, server.ca)
        yield* client.reply
        yield* greet(client)
        yield* authenticatePlain(client, server.credentials)
        yield* sendWithData(client, ann)
        yield* hasDelivered(server, ann)
        expect((yield* server.accepted).map(({ envelope }) => envelope)).toEqual([
          {
            mailFrom: bob,
            mailOptions: [],
            recipients: [ann],
            smtpUtf8: false,
            tls: false,
            helo: "client.test",
            user: ann
          }
        ])
      })
    )

    it.scoped("refuses at RCPT, for now and for good", () =>
      Effect.gen(function* () {
        const client = yield* connect((yield* Aiosmtpd).port)
        yield* client.reply
        yield* greet(client)
        yield* client.exchange(`MAIL FROM:<${bob}>\r\n`)
        expect(yield* client.exchange(`RCPT TO:<${unknownRecipient}>\r\n`)).toMatch(/^550/)
        expect(yield* client.exchange(`RCPT TO:<${busyRecipient}>\r\n`)).toMatch(/^450/)
      })
    )
  })

  it.live("leaves nothing behind", () => leavesNothing(startAiosmtpd()))
})
