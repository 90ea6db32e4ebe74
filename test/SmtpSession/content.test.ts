import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as SmtpContent from "../../src/SmtpContent.js"
import type { Content } from "../../src/SmtpContent.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpSocket from "../../src/SmtpSocket.js"
import type { ContentOptions } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ask, content, goodbye, message, octets, opened, submission, withSession } from "./oneSession.js"

/** What is on the wire between 354 and the final reply, its dot included, and the receipt. */
const sent = (given: Content, options: ContentOptions = {}) =>
  withSession(
    SmtpTest.script(
      opened("8BITMIME"),
      ask(/^MAIL FROM:<a@x\.test>(?: BODY=8BITMIME)?$/, "250 ok"),
      ask("RCPT TO:<b@y.test>", "250 ok"),
      ask("DATA", "354 go"),
      SmtpTest.expectContent(),
      SmtpTest.reply("250 ok"),
      goodbye
    ),
    (smtp, server) =>
      Effect.gen(function* () {
        const receipt = yield* smtp.send({ ...submission, ...options, content: given })
        const [connection] = yield* server.connections
        const [first] = connection?.contents ?? []
        return { wire: new TextDecoder().decode(first?.raw), report: receipt.content }
      })
  )

const inPieces = (...pieces: ReadonlyArray<string>): Content =>
  SmtpContent.replayable(Stream.fromIterable(pieces.map(octets)), { content7bit: true })

describe("content on the wire (RFC 5321 sections 2.3.8 and 4.5.2)", () => {
  const cases: ReadonlyArray<readonly [string, Content, string, ContentOptions?]> = [
    ["a string", "hello\r\n", "hello\r\n.\r\n"],
    ["bytes", octets("hello\r\n"), "hello\r\n.\r\n"],
    ["a string beyond ASCII, as UTF-8", "Subject: x\r\n\r\ngrüße\r\n", "Subject: x\r\n\r\ngrüße\r\n.\r\n"],
    ["a stream", inPieces("hel", "lo\r\n"), "hello\r\n.\r\n"],
    ["mixed line ends", "a\nb\rc\r\nd\n\re", "a\r\nb\r\nc\r\nd\r\n\r\ne\r\n.\r\n"],
    ["a dot as the first octet", ".hello\r\n", "..hello\r\n.\r\n"],
    ["a lone dot as the whole", ".", "..\r\n.\r\n"],
    ["a line of dots", "a\r\n...\r\n", "a\r\n....\r\n.\r\n"],
    ["a dot in the middle of a line", "a.b\r\n", "a.b\r\n.\r\n"],
    [
      "the end of data in the middle",
      "a\r\n.\r\nMAIL FROM:<c@z.test>\r\n",
      "a\r\n..\r\nMAIL FROM:<c@z.test>\r\n.\r\n"
    ],
    ["bytes with bare LF and a lone dot", octets("a\n.\nb\n"), "a\r\n..\r\nb\r\n.\r\n"],
    ["a smuggled end with bare CR", "a\r.\rRSET\r", "a\r\n..\r\nRSET\r\n.\r\n"],
    ["a smuggled end with bare LF before", "a\n.\r\nRSET\r\n", "a\r\n..\r\nRSET\r\n.\r\n"],
    ["a dot at the start of a stream's second chunk", inPieces("a\r\n", ".b\r\n"), "a\r\n..b\r\n.\r\n"],
    ["CRLF and dot split across chunks", inPieces("a\r", "\n", ".", "\r\n"), "a\r\n..\r\n.\r\n"],
    ["a bare CR at a chunk's end", inPieces("a\r", ".b"), "a\r\n..b\r\n.\r\n"],
    ["no final CRLF", "hello", "hello\r\n.\r\n"],
    ["a CR at the end", "hello\r", "hello\r\n.\r\n"],
    ["nothing but a line end", "\n", "\r\n.\r\n"],
    ["nothing at all, if that is meant", "", ".\r\n", { allowEmpty: true }],
    ["a NUL, if that is meant", "a\0b\r\n", "a\0b\r\n.\r\n", { allowNul: true }]
  ]
  for (const [name, given, wire, options] of cases) {
    it.effect(`is canonical for ${name}`, () =>
      Effect.gen(function* () {
        expect((yield* sent(given, options)).wire).toBe(wire)
      })
    )
  }

  it.effect("is reported: octets as SIZE counts them, and whether anything was changed", () =>
    Effect.gen(function* () {
      expect((yield* sent(".a\nbcd")).report).toEqual({ octets: 9, changed: true, longestLine: 3 })
      expect((yield* sent(".a\r\nbcd\r\n")).report).toEqual({ octets: 9, changed: false, longestLine: 3 })
    })
  )

  it.effect("of more than one write is the same: half a megabyte with a dot in each line", () =>
    Effect.gen(function* () {
      const text = ".\r\n".repeat(200_000)
      expect((yield* sent(text)).wire).toBe(`${"..\r\n".repeat(200_000)}.\r\n`)
    })
  )
})

describe("content that cannot be sent fails before MAIL", () => {
  const refused: ReadonlyArray<readonly [string, Content, ContentOptions, Record<string, string>]> = [
    ["empty", "", {}, { _tag: "InvalidArgument", field: "content" }],
    [
      "an empty stream",
      SmtpContent.replayable(Stream.empty),
      {},
      { _tag: "InvalidArgument", field: "content" }
    ],
    ["half a surrogate pair", "a\ud800", {}, { _tag: "InvalidArgument", field: "content" }],
    ["a NUL", "a\0b", {}, { _tag: "ContentError", reason: "Nul" }],
    ["bare LF under refuse", "a\nb", { lineEnds: "refuse" }, { _tag: "ContentError", reason: "LineEnds" }],
    ["bare CR under refuse", "a\rb", { lineEnds: "refuse" }, { _tag: "ContentError", reason: "LineEnds" }],
    [
      "a line of 999 octets under refuse",
      "x".repeat(999),
      { longLines: "refuse" },
      { _tag: "ContentError", reason: "LineTooLong" }
    ]
  ]
  for (const [name, given, options, error] of refused) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const failure = yield* withSession(SmtpTest.script(opened("8BITMIME"), goodbye), (smtp) =>
          Effect.flip(smtp.send({ ...submission, ...options, content: given }))
        )
        expect(failure).toMatchObject(error)
      })
    )
  }

  it.effect("with the stream's own error, which stays the program's", () =>
    Effect.gen(function* () {
      class Gone extends Data.TaggedError("Gone") {}
      const failure = yield* withSession(SmtpTest.script(opened("8BITMIME"), goodbye), (smtp) =>
        Effect.flip(smtp.send({ ...submission, content: SmtpContent.replayable(Stream.fail(new Gone())) }))
      )
      expect(failure).toEqual(new Gone())
    })
  )
})

/** Looks at the octets of a write as late as it may. */
const late = (socket: SmtpSocket.Service): SmtpSocket.Service => ({
  dial: (endpoint, options) =>
    Effect.map(socket.dial(endpoint, options), (connection) => ({
      ...connection,
      write: (octets) => Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 100), connection.write(octets))
    }))
})

describe("a stream", () => {
  it.live("lets other timers have their turn while it gives nothing but arrays without an octet", () =>
    Effect.gen(function* () {
      let turned = false
      let waited = false
      const nothing = new Uint8Array(0)
      const first = Stream.sync(() => {
        setTimeout(() => {
          turned = true
        }, 0)
        return nothing
      })
      const last = Stream.sync(() => {
        waited = turned
        return octets("hello\r\n")
      })
      const nothings = Stream.take(Stream.forever(Stream.make(nothing)), 1000)
      yield* sent(Stream.concat(first, Stream.concat(nothings, last)))
      expect(waited).toBe(true)
    })
  )

  it.effect.each(["off", "on", "eager"] as const)(
    "of two megabytes arrives as it was given, however late the socket looks at its octets: chunking %s",
    (chunking) =>
      Effect.gen(function* () {
        const lines = Array.from({ length: 200_000 }, (_, line) => `${line % 9 === 0 ? "." : ""}${line}`)
        const pieces = Stream.fromIterable(lines).pipe(
          Stream.grouped(500),
          Stream.map((group) => octets(`${Array.from(group).join("\n")}\n`)),
          Stream.rechunk(1)
        )
        const server = yield* SmtpTest.server()
        yield* SmtpSession.make({ host: "mx.test", tls: "none", clientName: "client.test", chunking }).pipe(
          Effect.flatMap((smtp) => smtp.send({ ...submission, content: SmtpContent.replayable(pieces) })),
          Effect.scoped,
          Effect.updateService(SmtpSocket.SmtpSocket, late),
          Effect.provide(server.layer)
        )
        const [captured] = yield* server.messages
        expect(captured?.source === `${lines.join("\r\n")}\r\n`).toBe(true)
        expect((yield* server.transcript).includes("BDAT")).toBe(chunking !== "off")
      }).pipe(Effect.scoped)
  )

  it.effect("that fails in the middle ends the connection before the dot, with its own error", () =>
    Effect.gen(function* () {
      const seen = yield* Deferred.make<undefined>()
      const failing = Effect.zipRight(Deferred.await(seen), Effect.fail("broken" as const))
      const broken = Stream.concat(Stream.make(octets("a\r\n".repeat(100_000))), Stream.fromEffect(failing))
      const failure = yield* withSession(
        SmtpTest.script(
          opened("8BITMIME"),
          ask("MAIL FROM:<a@x.test> BODY=8BITMIME", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectOctets(1_000),
          SmtpTest.effect(Deferred.succeed(seen, undefined)),
          SmtpTest.silence
        ),
        (smtp, server) =>
          Effect.gen(function* () {
            const error = yield* Effect.flip(
              smtp.send({ ...submission, content: SmtpContent.replayable(broken) })
            )
            expect(yield* smtp.state).toBe("Closed")
            expect(yield* server.receivedText).not.toContain("\r\n.\r\n")
            return error
          })
      )
      expect(failure).toBe("broken")
    })
  )

  it.effect("has its requirements from the caller", () =>
    Effect.gen(function* () {
      class Body extends Context.Tag("test/Body")<Body, string>() {}
      const needy = Stream.map(Body, octets)
      const receipt = yield* withSession(
        SmtpTest.script(
          opened(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          content("from the context\r\n", "250 ok"),
          goodbye
        ),
        (smtp) =>
          smtp
            .send({ ...submission, content: SmtpContent.replayable(needy, { content7bit: true }) })
            .pipe(Effect.provideService(Body, "from the context"))
      )
      expect(receipt.accepted).toHaveLength(1)
    })
  )

  it.effect("that gives more than it declared is not delivered: ContentError, NotSent", () =>
    Effect.gen(function* () {
      const failure = yield* withSession(
        SmtpTest.script(
          opened("SIZE"),
          ask(/^MAIL FROM:<a@x\.test> SIZE=\d+$/, "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.silence
        ),
        (smtp, server) =>
          Effect.gen(function* () {
            const given = SmtpContent.replayable(Stream.make(octets("12345\r\n"), octets("more\r\n")), {
              size: 7,
              content7bit: true
            })
            const error = yield* Effect.flip(smtp.send({ ...submission, content: given }))
            expect(yield* server.receivedText).not.toContain("\r\n.\r\n")
            return error
          })
      )
      expect(failure).toMatchObject({ _tag: "ContentError", reason: "Changed" })
    })
  )

  it.effect("whose server refuses in the middle of it is stopped: DataError, the connection closed", () =>
    Effect.gen(function* () {
      const endless = Stream.forever(Stream.make(octets(`${"x".repeat(998)}\r\n`)))
      const failure = yield* withSession(
        SmtpTest.script(
          opened(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectOctets(2000),
          SmtpTest.inject("552 5.3.4 too much\r\n"),
          SmtpTest.silence
        ),
        (smtp) =>
          Effect.flip(
            smtp.send({ ...submission, content: SmtpContent.replayable(endless, { content7bit: true }) })
          )
      )
      expect(failure).toMatchObject({ _tag: "DataError", phase: "content", reply: { code: 552 } })
    })
  )

  it.effect("that the server accepts before its end is Unknown: ProtocolError", () =>
    Effect.gen(function* () {
      const endless = Stream.forever(Stream.make(octets(`${"x".repeat(998)}\r\n`)))
      const receipt = yield* withSession(
        SmtpTest.script(
          opened(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectOctets(2000),
          SmtpTest.inject("250 thanks\r\n"),
          SmtpTest.silence
        ),
        (smtp) =>
          smtp.deliver({
            ...submission,
            content: SmtpContent.replayable(endless, { content7bit: true })
          })
      )
      expect(receipt.unknown).toMatchObject([{ cause: { _tag: "ProtocolError" } }])
    })
  )
})

describe("SIZE (RFC 1870)", () => {
  it.effect("counts the message with CRLFs and without stuffed dots", () =>
    withSession(
      SmtpTest.script(
        opened("SIZE 1000"),
        ask("MAIL FROM:<a@x.test> SIZE=6", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        content(".a\r\n\r\n", "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send({ ...submission, content: ".a\n\n" })
    )
  )

  it.effect("passed by a message is NotSupported before MAIL", () =>
    Effect.gen(function* () {
      const error = yield* withSession(SmtpTest.script(opened("SIZE 21"), goodbye), (smtp) =>
        Effect.flip(smtp.send(submission))
      )
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "SIZE" })
    })
  )

  it.effect("met exactly is sent; SIZE 0 and SIZE alone are no limit", () =>
    Effect.gen(function* () {
      for (const size of ["SIZE 22", "SIZE 0", "SIZE"]) {
        yield* withSession(
          SmtpTest.script(
            opened(size),
            ask("MAIL FROM:<a@x.test> SIZE=22", "250 ok"),
            ask("RCPT TO:<b@y.test>", "250 ok"),
            ask("DATA", "354 go"),
            content(message, "250 ok"),
            goodbye
          ),
          (smtp) => smtp.send(submission)
        )
      }
    })
  )

  it.effect("passed by a stream in the middle is ContentError, and no dot is sent", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("SIZE 10"),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.silence
        ),
        (smtp, server) =>
          Effect.gen(function* () {
            const failure = yield* Effect.flip(
              smtp.send({ ...submission, content: inPieces("12345\r\n", "67890\r\n") })
            )
            expect(yield* server.receivedText).not.toContain("\r\n.\r\n")
            return failure
          })
      )
      expect(error).toMatchObject({ _tag: "ContentError", reason: "TooLarge" })
    })
  )
})

describe("8BITMIME (RFC 6152)", () => {
  it.effect("is asked for by 8-bit content alone", () =>
    Effect.gen(function* () {
      for (const [text, line] of [
        ["ascii\r\n", "MAIL FROM:<a@x.test>"],
        ["Subject: x\r\n\r\ngrüße\r\n", "MAIL FROM:<a@x.test> BODY=8BITMIME"]
      ] as const) {
        yield* withSession(
          SmtpTest.script(
            opened("8BITMIME", "SMTPUTF8"),
            ask(line, "250 ok"),
            ask("RCPT TO:<b@y.test>", "250 ok"),
            ask("DATA", "354 go"),
            content(text, "250 ok"),
            goodbye
          ),
          (smtp) => smtp.send({ ...submission, content: text })
        )
      }
    })
  )

  it.effect("missing makes 8-bit content NotSupported before MAIL", () =>
    Effect.gen(function* () {
      const error = yield* withSession(SmtpTest.script(opened(), goodbye), (smtp) =>
        Effect.flip(smtp.send({ ...submission, content: "Subject: x\r\n\r\ngrüße\r\n" }))
      )
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "8BITMIME" })
    })
  )

  it.effect("promised to be needless by content7bit, and then needed, aborts before the dot", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.silence
        ),
        (smtp) => Effect.flip(smtp.send({ ...submission, content: inPieces("ascii\r\n", "grüße\r\n") }))
      )
      expect(error).toMatchObject({ _tag: "ContentError", reason: "NotAscii" })
    })
  )
})

describe("SMTPUTF8 (RFC 6531)", () => {
  const international = { ...submission, from: "jürgen@x.test" }

  it.effect("is asked for by an address beyond ASCII, with BODY=8BITMIME by 8-bit content", () =>
    withSession(
      SmtpTest.script(
        opened("8BITMIME", "SMTPUTF8"),
        ask("MAIL FROM:<jürgen@x.test> BODY=8BITMIME SMTPUTF8", "250 ok"),
        ask("RCPT TO:<Δοκιμή@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        content("Subject: x\r\n\r\ngrüße\r\n", "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send({ ...international, to: "Δοκιμή@y.test", content: "Subject: x\r\n\r\ngrüße\r\n" })
    )
  )

  it.effect("is asked for by a header beyond ASCII", () =>
    withSession(
      SmtpTest.script(
        opened("8BITMIME", "SMTPUTF8"),
        ask("MAIL FROM:<a@x.test> BODY=8BITMIME SMTPUTF8", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        content("Subject: grüße\r\n\r\nhello\r\n", "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send({ ...submission, content: "Subject: grüße\r\n\r\nhello\r\n" })
    )
  )

  it.effect("is not asked for by a header in another charset, which goes as it is by 8BITMIME", () =>
    Effect.gen(function* () {
      const given = Uint8Array.from("Subject: gr\xfc\xdfe\r\n\r\nhello\r\n", (letter) => letter.charCodeAt(0))
      for (const form of [
        given,
        Stream.make(given),
        Stream.make(given.subarray(0, 12), given.subarray(12))
      ]) {
        yield* withSession(
          SmtpTest.script(
            opened("8BITMIME", "SMTPUTF8"),
            ask("MAIL FROM:<a@x.test> BODY=8BITMIME", "250 ok"),
            ask("RCPT TO:<b@y.test>", "250 ok"),
            ask("DATA", "354 go"),
            SmtpTest.expectContent(),
            SmtpTest.reply("250 ok"),
            goodbye
          ),
          (smtp, server) =>
            Effect.gen(function* () {
              yield* smtp.send({ ...submission, content: form })
              const [connection] = yield* server.connections
              expect(Buffer.from(connection?.contents[0]?.raw ?? "").toString("latin1")).toBe(
                "Subject: gr\xfc\xdfe\r\n\r\nhello\r\n.\r\n"
              )
            })
        )
      }
    })
  )

  it.effect("is not asked for by a domain alone, which goes as A-labels", () =>
    withSession(
      SmtpTest.script(
        opened("SMTPUTF8"),
        ask("MAIL FROM:<a@xn--mnchen-3ya.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send({ ...submission, from: "a@münchen.test" })
    )
  )

  const needing = [
    ["a sender", international],
    ["a recipient", { ...submission, to: "Δοκιμή@y.test" }],
    ["the parameter", { ...submission, parameters: ["SMTPUTF8"] }],
    ["a header", { ...submission, content: "Subject: grüße\r\n\r\nhello\r\n" }]
  ] as const
  for (const [name, what] of needing) {
    it.effect(`missing is NotSupported for ${name}, before anything is sent`, () =>
      Effect.gen(function* () {
        const error = yield* withSession(SmtpTest.script(opened("8BITMIME"), goodbye), (smtp) =>
          Effect.flip(smtp.send(what))
        )
        expect(error).toMatchObject({ _tag: "NotSupported", extension: "SMTPUTF8" })
      })
    )
  }
})

describe("content by hand", () => {
  it.effect("is canonical and stuffed like that of a send", () =>
    withSession(
      SmtpTest.script(
        opened(),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        SmtpTest.expect(octets("..a\r\n..\r\n.\r\n")),
        SmtpTest.reply("250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.all([smtp.mail("a@x.test"), smtp.rcpt("b@y.test"), smtp.data(inPieces(".a\n", ".", "\r"))])
    )
  )

  it.effect(
    "that the server leaves after is ServerDisconnected in phase final: its delivery is Unknown",
    () =>
      Effect.gen(function* () {
        const error = yield* withSession(
          SmtpTest.script(
            opened(),
            ask("MAIL FROM:<a@x.test>", "250 ok"),
            ask("RCPT TO:<b@y.test>", "250 ok"),
            ask("DATA", "354 go"),
            SmtpTest.expectContent(message),
            SmtpTest.close
          ),
          (smtp) =>
            Effect.gen(function* () {
              yield* smtp.mail("a@x.test")
              yield* smtp.rcpt("b@y.test")
              return yield* Effect.flip(smtp.data(message))
            })
        )
        expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "final" })
      })
  )

  it.effect("that is interrupted in the middle ends the connection, with neither dot nor RSET", () =>
    Effect.gen(function* () {
      const seen = yield* Deferred.make<undefined>()
      const received = yield* withSession(
        SmtpTest.script(
          opened(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectOctets(1_000),
          SmtpTest.effect(Deferred.succeed(seen, undefined)),
          SmtpTest.silence
        ),
        (smtp, server) =>
          Effect.gen(function* () {
            yield* smtp.mail("a@x.test")
            yield* smtp.rcpt("b@y.test")
            const stream = Stream.concat(Stream.make(octets("a\r\n".repeat(100_000))), Stream.never)
            const fiber = yield* Effect.fork(smtp.data(SmtpContent.replayable(stream)))
            yield* Deferred.await(seen)
            yield* Fiber.interrupt(fiber)
            expect(yield* smtp.state).toBe("Closed")
            return yield* server.receivedText
          })
      )
      expect(received).not.toContain("\r\n.\r\n")
      expect(received).not.toContain("RSET")
    })
  )
})
