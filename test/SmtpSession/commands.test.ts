import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as SmtpCommand from "../../src/SmtpCommand.js"
import type { Service } from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import * as OneSession from "./oneSession.js"
import {
  ask,
  ehlo,
  goodbye,
  greeting,
  inTransaction,
  opened,
  silentEnd,
  withConnection,
  withSession
} from "./oneSession.js"

const makeSignal = Deferred.make<undefined>()

/** A session that said EHLO, then this, then QUIT. */
const said = (...pieces: ReadonlyArray<SmtpTest.Script>) => SmtpTest.script(opened(), ...pieces, goodbye)

describe("a plain verb gives its reply", () => {
  it.effect("to NOOP", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(said(ask("NOOP", "250 OK")), (smtp) => smtp.noop)
      expect([reply.code, reply.text]).toEqual([250, "OK"])
    })
  )

  it.effect("to RSET", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(said(ask("RSET", "250 2.0.0 OK")), (smtp) => smtp.rset)
      expect([reply.code, reply.enhancedCode, reply.text]).toMatchObject([250, { class: 2 }, "OK"])
    })
  )

  it.effect("to EHLO, with all of its lines joined", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(said(ehlo("SIZE 33554432", "HELP")), (smtp) => smtp.ehlo)
      expect([reply.code, reply.text]).toEqual([250, "mx.test\nSIZE 33554432\nHELP"])
    })
  )

  it.effect("to HELO", () =>
    Effect.gen(function* () {
      const reply = yield* withConnection(
        SmtpTest.script(greeting, ask("HELO client.test", "250 mx.test"), goodbye),
        (smtp) => smtp.helo
      )
      expect([reply.code, reply.text]).toEqual([250, "mx.test"])
    })
  )

  it.effect("to HELP, with a topic or without", () =>
    Effect.gen(function* () {
      const replies = yield* withSession(
        said(ask("HELP", "250 Supported commands: EHLO HELO"), ask("HELP MAIL", "504 no")),
        (smtp) => Effect.all([smtp.help(), smtp.help("MAIL")])
      )
      expect(replies.map(({ code }) => code)).toEqual([250, 504])
      expect(replies[0].text).toBe("Supported commands: EHLO HELO")
    })
  )

  it.effect("to EXPN, 502 included", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(said(ask("EXPN team", "502 EXPN not implemented")), (smtp) =>
        smtp.expn("team")
      )
      expect([reply.code, reply.text]).toEqual([502, "EXPN not implemented"])
    })
  )

  it.effect("to EXPN, its lines joined with LF", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(
        said(ask("EXPN list", "250-Matt <matt@x.test>", "250 Sue <sue@x.test>")),
        (smtp) => smtp.expn("list")
      )
      expect(reply.text).toBe("Matt <matt@x.test>\nSue <sue@x.test>")
    })
  )

  it.effect("to VRFY, 252 (neither yes nor no) and 550 included", () =>
    Effect.gen(function* () {
      const replies = yield* withSession(
        said(
          ask("VRFY ann@x.test", "252 cannot VRFY user, but will accept message"),
          ask("VRFY nobody@x.test", "550 5.1.1 no such user"),
          ask("VRFY sue", "250 <sue@x.test>")
        ),
        (smtp) => Effect.all([smtp.vrfy("ann@x.test"), smtp.vrfy("nobody@x.test"), smtp.vrfy("sue")])
      )
      expect(replies.map(({ code, text }) => `${code} ${text}`)).toEqual([
        "252 cannot VRFY user, but will accept message",
        "550 no such user",
        "250 <sue@x.test>"
      ])
    })
  )

  it.effect("to a command in the program's own words, whatever it is", () =>
    Effect.gen(function* () {
      const replies = yield* withSession(
        said(ask("ETRN example.org", "458 unable to queue"), ask("xyzzy", "500 what?")),
        (smtp) => Effect.all([smtp.command("ETRN", "example.org"), smtp.command("xyzzy")])
      )
      expect(replies.map(({ code }) => code)).toEqual([458, 500])
    })
  )
})

describe("a refused verb", () => {
  it.effect("is HeloError for the second HELO, answered 503, and the session is open", () =>
    Effect.gen(function* () {
      const error = yield* withConnection(
        SmtpTest.script(
          greeting,
          ask("HELO client.test", "250 mx.test"),
          ask("HELO client.test", "503 5.5.1 duplicate HELO"),
          ask("NOOP", "250 OK"),
          goodbye
        ),
        (smtp) => Effect.zipRight(smtp.helo, Effect.zipLeft(Effect.flip(smtp.helo), smtp.noop))
      )
      expect(error).toMatchObject({ _tag: "HeloError", command: "HELO", reply: { code: 503 } })
    })
  )

  it.effect("is CommandRefused for NOOP, RSET and QUIT", () =>
    Effect.gen(function* () {
      const errors = yield* withSession(
        said(ask("NOOP", "450 not now"), ask("RSET", "550 never"), ask("QUIT", "554 stay")),
        (smtp) => Effect.all([Effect.flip(smtp.noop), Effect.flip(smtp.rset), Effect.flip(smtp.quit)])
      )
      expect(errors).toMatchObject([
        { _tag: "CommandRefused", command: "NOOP", phase: "noop", reply: { code: 450 } },
        { _tag: "CommandRefused", command: "RSET", phase: "rset", reply: { code: 550 } },
        { _tag: "CommandRefused", command: "QUIT", phase: "quit", reply: { code: 554 } }
      ])
    })
  )

  it.effect("is ServerDisconnected for 421, in every phase (RFC 5321 section 3.8)", () =>
    Effect.gen(function* () {
      const verbs: ReadonlyArray<readonly [string, (smtp: Service) => Effect.Effect<unknown, unknown>]> = [
        ["NOOP", (smtp) => smtp.noop],
        ["RSET", (smtp) => smtp.rset],
        ["VRFY ann", (smtp) => smtp.vrfy("ann")],
        ["EXPN team", (smtp) => smtp.expn("team")],
        ["HELP", (smtp) => smtp.help()],
        ["ETRN", (smtp) => smtp.command("ETRN")],
        ["MAIL FROM:<a@x.test>", (smtp) => smtp.mail("a@x.test")]
      ]
      for (const [line, run] of verbs) {
        const error = yield* withSession(
          SmtpTest.script(opened(), ask(line, "421 4.3.2 shutting down"), silentEnd),
          (smtp) => Effect.flip(run(smtp))
        )
        expect(error).toMatchObject({ _tag: "ServerDisconnected", reply: { code: 421 } })
      }
    })
  )
})

describe("a reply that nobody can use ends the session as ProtocolError", () => {
  const replies: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
    ["codes that disagree (RFC 5321 section 4.2.1)", ["250-one", "251 two"]],
    ["a code that is not a number", ["OK"]],
    ["1yz", ["150 hold on"]],
    ["3yz where nothing is asked for", ["354 go"]],
    ["334 outside AUTH", ["334 "]],
    ["a reply that never ends", Array.from({ length: 600 }, () => "250-more")],
    ["a line that never ends", [`250 ${"x".repeat(20_000)}`]]
  ]
  for (const [name, lines] of replies) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const error = yield* withSession(
          SmtpTest.script(opened(), ask("X-OWN", ...lines), silentEnd),
          (smtp) => Effect.flip(smtp.command("X-OWN"))
        )
        expect(error).toMatchObject({ _tag: "ProtocolError", phase: "command" })
      })
    )
  }

  it.effect("but the end of the stream within its lines is ServerDisconnected", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(opened(), ask("NOOP", "250-one"), SmtpTest.close),
        (smtp) => Effect.flip(smtp.noop)
      )
      expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "noop" })
    })
  )

  it.effect("and the last lines on the wire are on the error", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(opened(), ask("NOOP", "250-one", "251 two"), silentEnd),
        (smtp) => Effect.flip(smtp.noop)
      )
      expect(error).toMatchObject({
        transcript: [
          "*: connected to mx.test:25",
          "S: 220 mx.test ESMTP",
          "C: EHLO client.test",
          "S: 250 mx.test",
          "C: NOOP"
        ]
      })
    })
  )
})

describe("an argument that would be another command is InvalidArgument, and not an octet is sent", () => {
  const injections: ReadonlyArray<
    readonly [string, string, (smtp: Service) => Effect.Effect<unknown, unknown>]
  > = [
    ["VRFY", "user", (smtp) => smtp.vrfy("ann\r\nRSET")],
    ["EXPN", "list", (smtp) => smtp.expn("team\nRSET")],
    ["HELP", "topic", (smtp) => smtp.help("MAIL\rRSET")],
    ["the argument of a command", "argument", (smtp) => smtp.command("ETRN", "x\nX-INJECTED")],
    ["the verb of a command", "verb", (smtp) => smtp.command("NOOP\r\nX-INJECTED")],
    ["an empty verb", "verb", (smtp) => smtp.command("")],
    ["a NUL in an argument", "argument", (smtp) => smtp.command("ETRN", "a\0b")],
    ["a command line over 512 octets", "argument", (smtp) => smtp.command("ETRN", "x".repeat(506))],
    ["DATA in the program's own words", "verb", (smtp) => smtp.command("DATA")],
    ["BDAT in the program's own words", "verb", (smtp) => smtp.command("bdat", "86 LAST")],
    ["STARTTLS in the program's own words", "verb", (smtp) => smtp.command("starttls")],
    ["AUTH in the program's own words", "verb", (smtp) => smtp.command("AUTH", "PLAIN AGEAYg==")],
    ["the sender", "from", (smtp) => smtp.mail("a@x.test>\r\nRCPT TO:<c@z.test")],
    ["a sender in brackets", "from", (smtp) => smtp.mail("<a@x.test>")],
    ["a sender without a domain", "from", (smtp) => smtp.mail("a")],
    ["a parameter of MAIL", "parameters", (smtp) => smtp.mail("a@x.test", ["SIZE=1\r\nRSET"])],
    ["a parameter of MAIL with a space", "parameters", (smtp) => smtp.mail("a@x.test", ["RET=FULL X=Y"])],
    ["the recipient", "to", (smtp) => smtp.rcpt("b@y.test>\nRSET")],
    ["an empty recipient", "to", (smtp) => smtp.rcpt("")],
    ["a display name with the recipient", "to", (smtp) => smtp.rcpt("Bob <b@y.test>")],
    ["a parameter of RCPT", "parameters", (smtp) => smtp.rcpt("b@y.test", ["NOTIFY=NEVER\r\nRSET"])]
  ]
  for (const [name, field, run] of injections) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const error = yield* withSession(said(), (smtp) => Effect.flip(run(smtp)))
        expect(error).toMatchObject({ _tag: "InvalidArgument" })
        expect(error).toHaveProperty("field", expect.stringMatching(new RegExp(`^${field}`)))
      })
    )
  }

  it.effect("and a session of the SMTP dialect says no LHLO", () =>
    Effect.gen(function* () {
      const error = yield* withSession(said(), (smtp) => Effect.flip(smtp.lhlo))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "dialect" })
    })
  )
})

describe("beyond ASCII", () => {
  it.effect("a VRFY is NotSupported without SMTPUTF8", () =>
    Effect.gen(function* () {
      const error = yield* withSession(said(), (smtp) => Effect.flip(smtp.vrfy("jürgen")))
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "SMTPUTF8" })
    })
  )

  it.effect("a VRFY has the parameter SMTPUTF8 with it (RFC 6531 section 3.7.4.2)", () =>
    withSession(
      SmtpTest.script(opened("SMTPUTF8"), ask("VRFY jürgen SMTPUTF8", "252 maybe"), goodbye),
      (smtp) => smtp.vrfy("jürgen")
    )
  )

  it.effect("a sender by hand needs the parameter, and says so", () =>
    Effect.gen(function* () {
      const error = yield* withSession(SmtpTest.script(opened("SMTPUTF8"), goodbye), (smtp) =>
        Effect.flip(smtp.mail("jürgen@x.test"))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "from" })
    })
  )

  it.effect("a sender with SMTPUTF8 is NotSupported where it is not offered", () =>
    Effect.gen(function* () {
      const error = yield* withSession(said(), (smtp) =>
        Effect.flip(smtp.mail("jürgen@x.test", ["BODY=8BITMIME", "SMTPUTF8"]))
      )
      expect(error).toMatchObject({ _tag: "NotSupported" })
    })
  )

  it.effect("a recipient is NotSupported where SMTPUTF8 is not offered", () =>
    Effect.gen(function* () {
      const error = yield* withSession(said(), (smtp) => Effect.flip(smtp.rcpt("jürgen@y.test")))
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "SMTPUTF8" })
    })
  )

  it.effect("a domain goes as A-labels, which needs no extension (RFC 6531 section 3.2)", () =>
    withSession(said(ask("MAIL FROM:<a@xn--mnchen-3ya.test>", "250 ok"), ask("RSET", "250 ok")), (smtp) =>
      Effect.zipRight(smtp.mail("a@münchen.test"), smtp.rset)
    )
  )
})

describe("parameters", () => {
  it.effect("are typed, or written as they are", () =>
    withSession(
      SmtpTest.script(
        opened("DSN", "SIZE"),
        ask("MAIL FROM:<a@x.test> SIZE=86 RET=HDRS ENVID=QQ314159", "250 ok"),
        ask("RCPT TO:<b@y.test> NOTIFY=SUCCESS,FAILURE", "250 ok"),
        ask("RSET", "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.all([
          smtp.mail("a@x.test", { size: 86, ret: "HDRS", envelopeId: "QQ314159" }),
          smtp.rcpt("b@y.test", ["NOTIFY=SUCCESS,FAILURE"]),
          smtp.rset
        ])
    )
  )

  it.effect("that the server does not offer are NotSupported, and nothing is sent", () =>
    Effect.gen(function* () {
      const error = yield* withSession(said(), (smtp) => Effect.flip(smtp.mail("a@x.test", { ret: "HDRS" })))
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "DSN" })
    })
  )

  it.effect("in a list of the caller are left as they were, call after call", () =>
    Effect.gen(function* () {
      const parameters = ["RET=HDRS"]
      yield* withSession(
        SmtpTest.script(
          opened("DSN"),
          ask("MAIL FROM:<a@x.test> RET=HDRS", "250 ok"),
          ask("RSET", "250 ok"),
          ask("MAIL FROM:<a@x.test> RET=HDRS", "250 ok"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        (smtp) =>
          Effect.all([
            smtp.mail("a@x.test", parameters),
            smtp.rset,
            smtp.mail("a@x.test", parameters),
            smtp.rset
          ])
      )
      expect(parameters).toEqual(["RET=HDRS"])
    })
  )
})

describe("several fibers", () => {
  it.effect("have their commands carried out one after the other, in the order of asking", () =>
    Effect.gen(function* () {
      const replies = yield* withSession(
        said(ask("VRFY a", "250 a"), ask("VRFY b", "250 b"), ask("VRFY c", "250 c")),
        (smtp) => Effect.all(["a", "b", "c"].map(smtp.vrfy), { concurrency: "unbounded" })
      )
      expect(replies.map(({ text }) => text)).toEqual(["a", "b", "c"])
    })
  )

  it.effect("do not lose a reply when one of them is interrupted", () =>
    Effect.gen(function* () {
      const asked = yield* makeSignal
      const interrupted = yield* makeSignal
      const reply = yield* withSession(
        said(
          SmtpTest.expect("VRFY a"),
          SmtpTest.effect(Deferred.succeed(asked, undefined)),
          SmtpTest.effect(Deferred.await(interrupted)),
          SmtpTest.reply("250 a"),
          ask("VRFY b", "250 b")
        ),
        (smtp) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(smtp.vrfy("a"))
            yield* Deferred.await(asked)
            yield* Fiber.interrupt(fiber)
            yield* Deferred.succeed(interrupted, undefined)
            return yield* smtp.vrfy("b")
          })
      )
      expect(reply.text).toBe("b")
    })
  )
})

describe("run", () => {
  it.effect("gives the reply of a command that is a value", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(said(ask("NOOP", "250 ok")), (smtp) => smtp.run(SmtpCommand.noop))
      expect(reply.code).toBe(250)
    })
  )

  it.effect("fails with the error that the command makes of a refusal", () =>
    Effect.gen(function* () {
      const errors = yield* withSession(
        said(
          ask("MAIL FROM:<a@x.test>", "550 5.7.1 no"),
          ask("RCPT TO:<b@y.test>", "503 need MAIL"),
          ask("RSET", "451 later"),
          ask("NOOP", "451 later")
        ),
        (smtp) =>
          Effect.all([
            Effect.flip(smtp.run(SmtpCommand.mail("a@x.test"))),
            Effect.flip(smtp.run(SmtpCommand.rcpt("b@y.test"))),
            Effect.flip(smtp.run(SmtpCommand.rset)),
            Effect.flip(smtp.run(SmtpCommand.noop))
          ])
      )
      expect(errors).toMatchObject([
        { _tag: "SenderRefused", sender: "a@x.test", reply: { code: 550 } },
        { _tag: "RecipientsRefused", recipients: [{ address: "b@y.test", reply: { code: 503 } }] },
        { _tag: "CommandRefused", command: "RSET" },
        { _tag: "CommandRefused", command: "NOOP" }
      ])
    })
  )
})

describe("group", () => {
  const envelope = [
    SmtpCommand.mail("a@x.test"),
    SmtpCommand.rcpt("b@y.test"),
    SmtpCommand.rcpt("c@y.test")
  ] as const

  it.effect("leaves in one write with PIPELINING (RFC 2920), and gives a reply to each", () =>
    Effect.gen(function* () {
      const [replies, chunks] = yield* withSession(
        SmtpTest.script(
          opened("PIPELINING"),
          SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "RCPT TO:<c@y.test>"),
          SmtpTest.reply("250 sender"),
          SmtpTest.reply("550 nobody"),
          SmtpTest.reply("251 forwards"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        (smtp, server) =>
          Effect.gen(function* () {
            const all = yield* smtp.group(envelope)
            yield* smtp.rset
            const [connection] = yield* server.connections
            return [all, connection?.chunks.map((chunk) => new TextDecoder().decode(chunk))] as const
          })
      )
      const [mail, first, second] = replies
      expect([mail.code, first.code, second.code]).toEqual([250, 550, 251])
      expect(chunks).toContain("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nRCPT TO:<c@y.test>\r\n")
    })
  )

  it.effect("leaves one by one without PIPELINING", () =>
    Effect.gen(function* () {
      const replies = yield* withSession(
        said(
          SmtpTest.expect("MAIL FROM:<a@x.test>"),
          SmtpTest.expectNothing("0 millis"),
          SmtpTest.reply("250 sender"),
          SmtpTest.expect("RCPT TO:<b@y.test>"),
          SmtpTest.expectNothing("0 millis"),
          SmtpTest.reply("250 b"),
          ask("RCPT TO:<c@y.test>", "250 c"),
          ask("RSET", "250 ok")
        ),
        (smtp) => Effect.zipLeft(smtp.group(envelope), smtp.rset)
      )
      expect(replies.map(({ text }) => text)).toEqual(["sender", "b", "c"])
    })
  )

  it.effect("may end in a command that has to be last", () =>
    Effect.gen(function* () {
      const [reset, noop] = yield* withSession(
        SmtpTest.script(
          opened("PIPELINING"),
          SmtpTest.expectGroup("RSET", "NOOP"),
          SmtpTest.reply("250 reset"),
          SmtpTest.reply("250 noop"),
          goodbye
        ),
        (smtp) => smtp.group([SmtpCommand.rset, SmtpCommand.noop])
      )
      expect([reset.text, noop.text]).toEqual(["reset", "noop"])
    })
  )

  it.effect("sends nothing when one of its commands cannot be sent", () =>
    Effect.gen(function* () {
      const error = yield* withSession(SmtpTest.script(opened("PIPELINING"), goodbye), (smtp) =>
        Effect.flip(
          smtp.group([SmtpCommand.mail("a@x.test"), SmtpCommand.rcpt("b@y.test\r\nRSET"), SmtpCommand.rset])
        )
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "to" })
    })
  )

  for (const index of [0, 1, 2]) {
    it.effect(`is ServerDisconnected when the reply to command ${index + 1} of 3 is 421`, () =>
      Effect.gen(function* () {
        const phases = ["mail", "rcpt", "rcpt"]
        const error = yield* withSession(
          SmtpTest.script(
            opened("PIPELINING"),
            SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "RCPT TO:<c@y.test>"),
            ...Array.from({ length: index }, () => SmtpTest.reply("250 ok")),
            SmtpTest.reply("421 4.3.2 bye"),
            silentEnd
          ),
          (smtp) => Effect.flip(smtp.group(envelope))
        )
        expect(error).toMatchObject({
          _tag: "ServerDisconnected",
          phase: phases[index],
          reply: { code: 421 }
        })
      })
    )
  }
})

describe("MAIL, RCPT and DATA by hand", () => {
  it.effect("send a message", () =>
    Effect.gen(function* () {
      const replies = yield* withSession(
        said(
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("RCPT TO:<c@y.test>", "251 will forward"),
          ask("DATA", "354 go"),
          OneSession.content(".dot\r\n", "250 2.0.0 queued")
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("a@x.test")
            yield* smtp.rcpt("b@y.test")
            yield* smtp.rcpt("c@y.test")
            const result = yield* smtp.data(".dot")
            expect(yield* smtp.state).toBe("Ready")
            return result
          })
      )
      expect(replies.map(({ code }) => code)).toEqual([250])
    })
  )

  it.effect("leave the other recipients standing when one is refused", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(
          ask("MAIL FROM:<>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("RCPT TO:<nobody@y.test>", "550 5.1.1 no such user"),
          ask("DATA", "354 go"),
          OneSession.content(OneSession.message, "250 ok")
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("")
            yield* smtp.rcpt("b@y.test")
            const refused = yield* Effect.flip(smtp.rcpt("nobody@y.test"))
            yield* smtp.data(OneSession.message)
            return refused
          })
      )
      expect(error).toMatchObject({
        _tag: "RecipientsRefused",
        recipients: [{ address: "nobody@y.test", reply: { code: 550 } }]
      })
    })
  )

  it.effect("reset the transaction when DATA is refused", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "451 4.3.0 later"),
          ask("RSET", "250 ok")
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("a@x.test")
            yield* smtp.rcpt("b@y.test")
            return yield* Effect.flip(smtp.data(OneSession.message))
          })
      )
      expect(error).toMatchObject({ _tag: "DataError", phase: "data", reply: { code: 451 } })
    })
  )

  it.effect("reset the transaction when the content is refused", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          OneSession.content(OneSession.message, "554 5.6.0 spam"),
          ask("RSET", "250 ok")
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("a@x.test")
            yield* smtp.rcpt("b@y.test")
            return yield* Effect.flip(smtp.data(OneSession.message))
          })
      )
      expect(error).toMatchObject({ _tag: "DataError", phase: "final", reply: { code: 554 } })
    })
  )

  it.effect("decline 354 with nobody accepted by a single dot, whose 250 is no acceptance (RFC 2920)", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<nobody@y.test>", "550 no"),
          ask("DATA", "354 go"),
          ask(".", "250 an empty message")
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("a@x.test")
            yield* Effect.flip(smtp.rcpt("nobody@y.test"))
            return yield* Effect.flip(smtp.data(OneSession.message))
          })
      )
      expect(error).toMatchObject({ _tag: "RecipientsRefused" })
    })
  )

  it.effect("send no content after 250 to DATA", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "250 ok"),
          silentEnd
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("a@x.test")
            yield* smtp.rcpt("b@y.test")
            return yield* Effect.flip(smtp.data(OneSession.message))
          })
      )
      expect(error).toMatchObject({ _tag: "ProtocolError", phase: "data", reply: { code: 250 } })
    })
  )

  it.effect("refuse empty content before DATA", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("RSET", "250 ok")
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("a@x.test")
            yield* smtp.rcpt("b@y.test")
            const refused = yield* Effect.flip(smtp.data(""))
            yield* smtp.rset
            return refused
          })
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "content" })
    })
  )

  it.effect("keep a send out until they are done", () =>
    Effect.gen(function* () {
      const [sent, delivered] = yield* withSession(
        said(ask("MAIL FROM:<own@x.test>", "250 ok"), ask("RSET", "250 ok")),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("own@x.test")
            const errors = [
              yield* Effect.flip(smtp.send(OneSession.submission)),
              yield* Effect.flip(smtp.deliver(OneSession.submission))
            ]
            yield* smtp.rset
            return errors
          })
      )
      expect(sent).toMatchObject({ _tag: "InvalidArgument", field: "session" })
      expect(delivered).toMatchObject({ _tag: "InvalidArgument", field: "session" })
    })
  )

  it.effect("let a send in again after RSET, EHLO or a refused MAIL", () =>
    Effect.gen(function* () {
      const message = SmtpTest.script(
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        OneSession.content(OneSession.message, "250 ok")
      )
      yield* withSession(
        said(
          ask("MAIL FROM:<own@x.test>", "250 ok"),
          ask("RSET", "250 ok"),
          message,
          ask("MAIL FROM:<own@x.test>", "250 ok"),
          ehlo(),
          message,
          ask("MAIL FROM:<own@x.test>", "550 no"),
          message
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("own@x.test")
            yield* smtp.rset
            yield* smtp.send(OneSession.submission)
            yield* smtp.mail("own@x.test")
            yield* smtp.ehlo
            yield* smtp.send(OneSession.submission)
            yield* Effect.flip(smtp.mail("own@x.test"))
            yield* smtp.send(OneSession.submission)
          })
      )
    })
  )

  it.effect("are kept out while a send is under way", () =>
    Effect.gen(function* () {
      const begun = yield* makeSignal
      const tried = yield* makeSignal
      const errors = yield* withSession(
        said(
          SmtpTest.expect("MAIL FROM:<a@x.test>"),
          SmtpTest.effect(Deferred.succeed(begun, undefined)),
          SmtpTest.effect(Deferred.await(tried)),
          SmtpTest.reply("250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          OneSession.content(OneSession.message, "250 ok")
        ),
        (smtp) =>
          Effect.gen(function* () {
            const sending = yield* Effect.fork(smtp.send(OneSession.submission))
            yield* Deferred.await(begun)
            const refused = [
              yield* Effect.flip(smtp.mail("own@x.test")),
              yield* Effect.flip(smtp.command("MAIL", "FROM:<own@x.test>"))
            ]
            yield* Deferred.succeed(tried, undefined)
            yield* Fiber.join(sending)
            return refused
          })
      )
      for (const error of errors) {
        expect(error).toMatchObject({ _tag: "InvalidArgument", field: "session" })
      }
    })
  )

  it.effect("hold their envelope when a second MAIL is refused (RFC 5321 section 4.1.4)", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("MAIL FROM:<c@x.test>", "503 5.5.1 nested MAIL"),
          ask("RSET", "250 ok")
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.mail("a@x.test")
            yield* Effect.flip(smtp.mail("c@x.test"))
            expect(yield* smtp.state).toBe("Transaction")
            const refused = yield* Effect.flip(smtp.send(OneSession.submission))
            yield* smtp.rset
            return refused
          })
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "session" })
    })
  )
})

describe("BDAT by hand (RFC 3030)", () => {
  const started = [ask("MAIL FROM:<a@x.test>", "250 ok"), ask("RCPT TO:<b@y.test>", "250 ok")]
  const envelope = (smtp: Service) => Effect.zipRight(smtp.mail("a@x.test"), smtp.rcpt("b@y.test"))

  it.effect("sends chunks octet for octet: no transparency, no final dot", () =>
    Effect.gen(function* () {
      const replies = yield* withSession(
        SmtpTest.script(
          opened("CHUNKING"),
          ...started,
          SmtpTest.expect("BDAT 7"),
          SmtpTest.expect(OneSession.octets(".\r\n.a\nb")),
          SmtpTest.reply("250 7 octets"),
          SmtpTest.expect("BDAT 0 LAST"),
          SmtpTest.reply("250 2.0.0 queued"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* envelope(smtp)
            yield* smtp.bdat(OneSession.octets(".\r\n.a\nb"))
            return yield* smtp.bdat(new Uint8Array(0), { last: true })
          })
      )
      expect(replies.map(({ code }) => code)).toEqual([250])
    })
  )

  it.effect("is NotSupported where CHUNKING is not offered", () =>
    Effect.gen(function* () {
      const error = yield* withSession(said(), (smtp) => Effect.flip(smtp.bdat(OneSession.octets("a"))))
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "CHUNKING" })
    })
  )

  it.effect("resets the transaction when a chunk is refused", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("CHUNKING"),
          ...started,
          SmtpTest.expect("BDAT 1"),
          SmtpTest.expectOctets(1),
          SmtpTest.reply("452 4.3.1 full"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        (smtp) => Effect.zipRight(envelope(smtp), Effect.flip(smtp.bdat(OneSession.octets("a"))))
      )
      expect(error).toMatchObject({ _tag: "DataError", phase: "bdat", reply: { code: 452 } })
    })
  )

  it.effect("resets the transaction when the last chunk is refused", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("CHUNKING"),
          ...started,
          SmtpTest.expect("BDAT 1 LAST"),
          SmtpTest.expectOctets(1),
          SmtpTest.reply("554 5.6.0 spam"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        (smtp) =>
          Effect.zipRight(envelope(smtp), Effect.flip(smtp.bdat(OneSession.octets("a"), { last: true })))
      )
      expect(error).toMatchObject({ _tag: "DataError", phase: "final", reply: { code: 554 } })
    })
  )

  it.effect("ends the session when the server does not know it: the chunk was taken for commands", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("CHUNKING"),
          ...started,
          SmtpTest.expect("BDAT 1 LAST"),
          SmtpTest.expectOctets(1),
          SmtpTest.reply("500 what?"),
          silentEnd
        ),
        (smtp) =>
          Effect.zipRight(envelope(smtp), Effect.flip(smtp.bdat(OneSession.octets("a"), { last: true })))
      )
      expect(error).toMatchObject({ _tag: "DataError", phase: "bdat", reply: { code: 500 } })
    })
  )
})

describe("transaction", () => {
  it.effect("holds the session: other fibers' commands wait for its end", () =>
    Effect.gen(function* () {
      const begun = yield* makeSignal
      const order = yield* withSession(
        said(
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          OneSession.content(OneSession.message, "250 ok"),
          ask("NOOP", "250 ok")
        ),
        (smtp) =>
          Effect.gen(function* () {
            const finished: Array<string> = []
            const other = yield* Effect.fork(
              Deferred.await(begun).pipe(
                Effect.zipRight(smtp.noop),
                Effect.zipRight(Effect.sync(() => finished.push("noop")))
              )
            )
            yield* inTransaction(smtp, ({ data, rcpt }) =>
              Effect.gen(function* () {
                yield* Deferred.succeed(begun, undefined)
                yield* Effect.yieldNow()
                yield* rcpt("b@y.test")
                yield* data(OneSession.message)
                finished.push("transaction")
              })
            )
            yield* Fiber.join(other)
            return finished
          })
      )
      expect(order).toEqual(["transaction", "noop"])
    })
  )

  it.effect("answers commands and refuses messages at once in child fibers, such as under a timeout", () =>
    withSession(
      said(
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("NOOP", "250 ok"),
        ask("NOOP", "250 ok"),
        ask("RSET", "250 ok")
      ),
      (smtp) =>
        Effect.scoped(
          Effect.gen(function* () {
            yield* Effect.timeout(smtp.transaction("a@x.test"), "1 minute")
            yield* smtp.noop
            yield* Effect.timeout(smtp.noop, "1 minute")
            const message = OneSession.submission
            const errors = [
              yield* Effect.flip(smtp.send(message)),
              yield* Effect.flip(Effect.timeout(smtp.send(message), "1 minute")),
              yield* Effect.flip(Effect.scoped(Effect.timeout(smtp.transaction("c@x.test"), "1 minute")))
            ]
            expect(errors.map(({ _tag }) => _tag)).toEqual(Array(3).fill("InvalidArgument"))
          })
        )
    )
  )

  it.effect("gives what its program gives, and passes parameters to MAIL", () =>
    Effect.gen(function* () {
      const result = yield* withSession(
        SmtpTest.script(
          opened("DSN"),
          ask("MAIL FROM:<a@x.test> RET=FULL", "250 ok"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        (smtp) => inTransaction(smtp, () => Effect.succeed(42), "a@x.test", { ret: "FULL" })
      )
      expect(result).toBe(42)
    })
  )

  it.effect("is reset when its program succeeds without having sent", () =>
    withSession(
      said(ask("MAIL FROM:<a@x.test>", "250 ok"), ask("RCPT TO:<b@y.test>", "250 ok"), ask("RSET", "250 ok")),
      (smtp) => inTransaction(smtp, ({ rcpt }) => rcpt("b@y.test"))
    )
  )

  it.effect("is reset when its program fails", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(ask("MAIL FROM:<a@x.test>", "250 ok"), ask("RSET", "250 ok"), ask("NOOP", "250 ok")),
        (smtp) =>
          Effect.zipLeft(Effect.flip(inTransaction(smtp, () => Effect.fail("changed my mind"))), smtp.noop)
      )
      expect(error).toBe("changed my mind")
    })
  )

  it.effect("is reset when it is interrupted, and the session goes on", () =>
    Effect.gen(function* () {
      const begun = yield* makeSignal
      yield* withSession(
        said(ask("MAIL FROM:<a@x.test>", "250 ok"), ask("RSET", "250 ok"), ask("NOOP", "250 ok")),
        (smtp) =>
          Effect.gen(function* () {
            const use = Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
            const fiber = yield* Effect.fork(inTransaction(smtp, () => use))
            yield* Deferred.await(begun)
            yield* Fiber.interrupt(fiber)
            yield* smtp.noop
          })
      )
    })
  )

  it.effect("does not run its program when MAIL is refused", () =>
    Effect.gen(function* () {
      const error = yield* withSession(said(ask("MAIL FROM:<a@x.test>", "550 no")), (smtp) =>
        Effect.flip(inTransaction(smtp, () => Effect.die("it ran")))
      )
      expect(error).toMatchObject({ _tag: "SenderRefused", sender: "a@x.test" })
    })
  )

  it.effect("takes no send inside, which could never begin", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(ask("MAIL FROM:<a@x.test>", "250 ok"), ask("RSET", "250 ok")),
        (smtp) => inTransaction(smtp, () => Effect.flip(smtp.send(OneSession.submission)))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "session" })
    })
  )

  it.effect("takes no other transaction inside", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        said(ask("MAIL FROM:<a@x.test>", "250 ok"), ask("RSET", "250 ok")),
        (smtp) => inTransaction(smtp, () => Effect.flip(smtp.transaction("c@x.test")))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "session" })
    })
  )

  it.effect("waits for the one before it", () =>
    withSession(
      said(
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RSET", "250 ok"),
        ask("MAIL FROM:<c@x.test>", "250 ok"),
        ask("RSET", "250 ok")
      ),
      (smtp) =>
        Effect.all(
          [
            inTransaction(smtp, () => Effect.yieldNow()),
            inTransaction(smtp, () => Effect.yieldNow(), "c@x.test")
          ],
          { concurrency: "unbounded" }
        )
    )
  )

  it.effect("waits for a send of another fiber, and that for it", () =>
    withSession(
      said(
        ask("MAIL FROM:<own@x.test>", "250 ok"),
        ask("RSET", "250 ok"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        OneSession.content(OneSession.message, "250 ok"),
        ask("MAIL FROM:<own@x.test>", "250 ok"),
        ask("RSET", "250 ok")
      ),
      (smtp) =>
        Effect.all(
          [
            inTransaction(smtp, () => Effect.yieldNow(), "own@x.test"),
            smtp.send(OneSession.submission),
            inTransaction(smtp, () => Effect.yieldNow(), "own@x.test")
          ],
          { concurrency: "unbounded" }
        )
    )
  )

  it.effect("is over with the session, and says so", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "421 bye"),
          silentEnd
        ),
        (smtp) => Effect.flip(inTransaction(smtp, ({ rcpt }) => rcpt("b@y.test")))
      )
      expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "rcpt", reply: { code: 421 } })
    })
  )

  it.effect("puts concurrent recipients into one write where the server offers PIPELINING", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        SmtpTest.expectGroup("RCPT TO:<b@y.test>", "RCPT TO:<c@y.test>"),
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("550 no"),
        ask("RSET", "250 ok"),
        goodbye
      ),
      (smtp) =>
        inTransaction(smtp, ({ rcpt }) =>
          Effect.gen(function* () {
            const both = [rcpt("b@y.test"), Effect.flip(rcpt("c@y.test"))] as const
            const [accepted, refused] = yield* Effect.all(both, { concurrency: "unbounded" })
            expect(accepted.code).toBe(250)
            expect(refused).toMatchObject({ _tag: "RecipientsRefused" })
          })
        )
    )
  )

  it.effect("sends chunks, and ends with the last of them", () =>
    withSession(
      SmtpTest.script(
        opened("CHUNKING"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        SmtpTest.expect("BDAT 1 LAST"),
        SmtpTest.expectOctets(1),
        SmtpTest.reply("250 queued"),
        goodbye
      ),
      (smtp) =>
        inTransaction(smtp, ({ bdat, rcpt }) =>
          Effect.gen(function* () {
            yield* rcpt("b@y.test")
            const [reply] = yield* bdat(OneSession.octets("a"), { last: true })
            expect(reply.code).toBe(250)
            const late: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
              rcpt("c@y.test"),
              bdat(OneSession.octets("b")),
              smtp.rcpt("c@y.test")
            ]
            for (const attempt of late) {
              expect(yield* Effect.flip(attempt)).toMatchObject({ _tag: "InvalidArgument" })
            }
          })
        )
    )
  )

  it.effect("is over with its scope, and sends nothing more", () =>
    withSession(said(ask("MAIL FROM:<a@x.test>", "250 ok"), ask("RSET", "250 ok")), (smtp) =>
      Effect.gen(function* () {
        const { data, rcpt } = yield* Effect.scoped(smtp.transaction("a@x.test"))
        const late: ReadonlyArray<Effect.Effect<unknown, unknown>> = [rcpt("b@y.test"), data("late")]
        for (const attempt of late) {
          expect(yield* Effect.flip(attempt)).toMatchObject({ _tag: "InvalidArgument", field: "transaction" })
        }
      })
    )
  )

  it.effect("lets its fiber run commands of the session", () =>
    withSession(
      said(ask("MAIL FROM:<a@x.test>", "250 ok"), ask("NOOP", "250 ok"), ask("RSET", "250 ok")),
      (smtp) => inTransaction(smtp, () => smtp.noop)
    )
  )

  it.effect("gives the session back when MAIL is interrupted", () =>
    Effect.gen(function* () {
      const asked = yield* makeSignal
      const release = yield* makeSignal
      yield* withSession(
        said(
          SmtpTest.expect("MAIL FROM:<a@x.test>"),
          SmtpTest.effect(Effect.zipRight(Deferred.succeed(asked, undefined), Deferred.await(release))),
          SmtpTest.reply("250 ok"),
          ask("RSET", "250 ok"),
          ask("NOOP", "250 ok")
        ),
        (smtp) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(inTransaction(smtp, () => Effect.void))
            yield* Deferred.await(asked)
            yield* Fiber.interrupt(fiber)
            yield* Deferred.succeed(release, undefined)
            yield* smtp.noop
          })
      )
    })
  )
})

describe("MAIL by hand makes a session one fiber's", () => {
  it.effect("and mail of any fiber fails at once until somebody ends the transaction", () =>
    withSession(
      said(
        ask("MAIL FROM:<own@x.test>", "250 ok"),
        ask("RSET", "250 ok"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RSET", "250 ok")
      ),
      (smtp) =>
        Effect.gen(function* () {
          // The fiber that has said MAIL is dead by then.
          yield* Fiber.join(yield* Effect.fork(smtp.mail("own@x.test")))
          const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
            smtp.send(OneSession.submission),
            smtp.deliver(OneSession.submission),
            inTransaction(smtp, () => Effect.void)
          ]
          for (const attempt of attempts) {
            for (const use of [attempt, Effect.flatMap(Effect.fork(attempt), Fiber.join)]) {
              expect(yield* Effect.flip(use)).toMatchObject({ _tag: "InvalidArgument", field: "session" })
            }
          }
          yield* smtp.rset
          yield* inTransaction(smtp, () => Effect.void)
        })
    )
  )
})
