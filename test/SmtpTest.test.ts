import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import { SmtpSocket } from "../src/SmtpSocket.js"
import * as SmtpTest from "../src/SmtpTest.js"
import { TlsUpgrade } from "../src/TlsUpgrade.js"

const endpoint = { _tag: "Tcp", host: "mx.test", port: 25 } as const
const encoder = new TextEncoder()
const decoder = new TextDecoder()

const dial = (server: SmtpTest.Scripted) => server.socket.dial(endpoint, { timeout: Duration.seconds(5) })

type Client = Effect.Effect.Success<ReturnType<typeof dial>>

const send = (client: Client, ...texts: ReadonlyArray<string>) =>
  client.write(texts.map((text) => encoder.encode(text)))

const receive = (client: Client) =>
  Effect.map(client.pull, (octets) => (octets === undefined ? "(end)" : decoder.decode(octets)))

describe("a scripted dialogue", () => {
  it.scoped("ends when the client follows it", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.reply("220 mx.test ESMTP"),
          SmtpTest.expect("EHLO client.test"),
          SmtpTest.reply("250-mx.test", "250 PIPELINING"),
          SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("354 go"),
          SmtpTest.expectContent("Subject: hi\r\n\r\n.hello\r\n"),
          SmtpTest.reply("250 2.0.0 queued as 42"),
          SmtpTest.expect("QUIT"),
          SmtpTest.reply("221 bye"),
          SmtpTest.expectEnd
        )
      )
      const client = yield* dial(server)
      expect(yield* receive(client)).toBe("220 mx.test ESMTP\r\n")
      yield* send(client, "EHLO client.test\r\n")
      expect(yield* receive(client)).toBe("250-mx.test\r\n250 PIPELINING\r\n")
      yield* send(client, "MAIL FROM:<a@x.test>\r\nRCPT TO:", "<b@y.test>\r\nDATA\r\n")
      expect(yield* receive(client)).toBe("250 ok\r\n250 ok\r\n354 go\r\n")
      yield* send(client, "Subject: hi\r\n\r\n..hello\r\n.\r\n")
      expect(yield* receive(client)).toBe("250 2.0.0 queued as 42\r\n")
      yield* send(client, "QUIT\r\n")
      expect(yield* receive(client)).toBe("221 bye\r\n")
      yield* client.destroy
      yield* server.done
      expect((yield* server.transcript).split("\n")).toEqual([
        "S: 220 mx.test ESMTP",
        "C: EHLO client.test",
        "S: 250-mx.test",
        "S: 250 PIPELINING",
        "C: MAIL FROM:<a@x.test>",
        "C: RCPT TO:<b@y.test>",
        "C: DATA",
        "S: 250 ok",
        "S: 250 ok",
        "S: 354 go",
        "C: Subject: hi",
        "C: ",
        "C: ..hello",
        "C: .",
        "S: 250 2.0.0 queued as 42",
        "C: QUIT",
        "S: 221 bye",
        "-- the client ended its stream"
      ])
    })
  )

  it.scoped("fails with both lines and the transcript when the client sends something else", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(SmtpTest.reply("220 mx.test ESMTP"), SmtpTest.expect("EHLO client.test"))
      )
      const client = yield* dial(server)
      yield* receive(client)
      yield* send(client, "EHLO other.test\r\n")
      const failure = yield* Effect.flip(server.done)
      expect(failure.message).toBe(
        [
          "Connection 1, at expect EHLO client.test: the client sent something else, from byte 6 on",
          "  expected: EHLO client.test",
          "  received: EHLO other.test",
          "Transcript:",
          "  S: 220 mx.test ESMTP",
          "  C: EHLO other.test"
        ].join("\n")
      )
    })
  )

  it.scoped("shows where a content differs", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.expectContent("Subject: hi\r\n\r\nhello\r\n"))
      const client = yield* dial(server)
      yield* send(client, "Subject: hi\r\n\r\nhullo\r\n.\r\n")
      const failure = yield* Effect.flip(server.done)
      expect(failure.reason).toBe("Mismatch")
      expect(failure.detail).toBe("the client sent something else, from byte 17 on")
      expect(failure.received).toBe("Subject: hi\\r\\n\\r\\nhullo\\r\\n")
    })
  )

  it.scoped("fails when the client leaves early", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.expectGroup("NOOP", "QUIT"))
      const client = yield* dial(server)
      yield* send(client, "NOOP\r\nQU")
      yield* client.destroy
      const failure = yield* Effect.flip(server.done)
      expect(failure).toMatchObject({ reason: "ClientLeft", expected: "QUIT", received: "QU" })
    })
  )

  it.scoped("closes the connection of a script that fails", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.expect("NOOP"))
      const client = yield* dial(server)
      yield* send(client, "RSET\r\n")
      expect(yield* receive(client)).toBe("(end)")
      yield* Effect.flip(server.done)
    })
  )

  const passedOver: Readonly<
    Record<string, readonly [SmtpTest.Script, (client: Client) => Effect.Effect<unknown, unknown>, string]>
  > = {
    "a mismatch": [
      SmtpTest.expect("NOOP"),
      (client) => Effect.zipRight(send(client, "RSET\r\n"), client.pull),
      "expected: NOOP"
    ],
    "a client that left": [SmtpTest.expect("NOOP"), (client) => client.destroy, "the client left"],
    "a client that ended its stream half-way": [
      SmtpTest.expectGroup("NOOP", "QUIT"),
      (client) => Effect.zipRight(send(client, "NOOP\r\n"), client.destroy),
      "expected: QUIT"
    ],
    "an effect that failed": [
      SmtpTest.effect(Effect.fail("no such file")),
      (client) => client.pull,
      "no such file"
    ],
    "a handler that threw": [
      SmtpTest.branch({
        NOOP: () => {
          throw new Error("the handler is wrong")
        }
      }),
      (client) => Effect.zipRight(send(client, "NOOP\r\n"), client.pull),
      "the handler is wrong"
    ]
  }
  for (const [what, [script, use, words]] of Object.entries(passedOver)) {
    it.effect(`reports ${what} as a defect of the scope`, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.gen(function* () {
          const server = yield* SmtpTest.scripted(script)
          yield* use(yield* dial(server))
        }).pipe(Effect.scoped, Effect.exit)
        expect(Exit.isFailure(exit) && Cause.isDie(exit.cause)).toBe(true)
        expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(words)
      })
    )
  }

  it.effect("reports no defect once the test has seen the failure", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.effect(Effect.fail("no such file")))
      yield* Effect.ignore((yield* dial(server)).pull)
      expect(yield* Effect.flip(server.done)).toMatchObject({ reason: "Effect" })
    }).pipe(Effect.scoped)
  )

  it.scoped("interrupts the client in verify and hides its error", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.expect("NOOP"))
      const client = Effect.gen(function* () {
        yield* send(yield* dial(server), "RSET\r\n")
        return yield* Effect.never
      })
      expect(yield* Effect.flip(server.verify(client))).toMatchObject({ _tag: "ScriptFailure" })
    })
  )

  it.scoped("matches patterns and bytes", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.expect(/^MAIL FROM:<.*> SIZE=\d+$/),
          SmtpTest.expect(Uint8Array.of(0xff, 0x0d, 0x0a, 0x00)),
          SmtpTest.expectOctets(3),
          SmtpTest.expectEnd
        )
      )
      const client = yield* dial(server)
      yield* send(client, "MAIL FROM:<a@x.test> SIZE=12\r\n")
      yield* client.write([Uint8Array.of(0xff, 0x0d), Uint8Array.of(0x0a, 0x00, 1, 2, 3)])
      yield* client.destroy
      yield* server.done
    })
  )

  it.scoped("fails on bytes after the last expected line", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.script(SmtpTest.expect("QUIT"), SmtpTest.expectEnd))
      const client = yield* dial(server)
      yield* send(client, "QUIT\r\nNOOP\r\n")
      expect(yield* Effect.flip(server.done)).toMatchObject({ reason: "Mismatch", received: "NOOP\\r\\n" })
    })
  )
})

describe("the record", () => {
  it.scoped("holds every byte, text or binary, however it was split", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.silence)
      const client = yield* dial(server)
      const octets = Uint8Array.from({ length: 256 }, (_, index) => index)
      yield* client.write([octets.subarray(0, 1), octets.subarray(1, 200)])
      yield* client.write([octets.subarray(200)])
      yield* client.destroy
      yield* server.done
      expect(yield* server.received).toEqual(octets)
      const [connection] = yield* server.connections
      expect(connection?.chunks.map((chunk) => chunk.length)).toEqual([1, 199, 56])
    })
  )

  it.scoped("holds contents with and without dot-stuffing (RFC 5321 section 4.5.2)", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(SmtpTest.expectContent(), SmtpTest.expectContent(), SmtpTest.expectEnd)
      )
      const client = yield* dial(server)
      yield* send(client, "..a\r\n.\n.\r", "\n..\r\n", "\r\n.", "\r\n.\r\n")
      yield* client.destroy
      yield* server.done
      const [connection] = yield* server.connections
      expect(connection?.contents.map(({ octets }) => decoder.decode(octets))).toEqual([
        ".a\r\n\n.\r\n.\r\n\r\n",
        ""
      ])
      expect(connection?.contents.map(({ raw }) => decoder.decode(raw))).toEqual([
        "..a\r\n.\n.\r\n..\r\n\r\n.\r\n",
        ".\r\n"
      ])
    })
  )

  it.scoped("includes what comes after the script's end", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.expect("NOOP"))
      const client = yield* dial(server)
      yield* send(client, "NOOP\r\n")
      yield* server.done
      yield* send(client, "QUIT\r\n")
      yield* client.destroy
      yield* Effect.yieldNow()
      expect(yield* server.receivedText).toBe("NOOP\r\nQUIT\r\n")
    })
  )
})

describe("any split of the same bytes", () => {
  it.effect.prop(
    "ends a script in the same way",
    [FastCheck.array(FastCheck.integer({ min: 0, max: 80 }), { maxLength: 12 })],
    ([cuts]) =>
      Effect.gen(function* () {
        const content = "a\r\n..\r\n.b\r\n"
        const text = `EHLO c\r\nDATA\r\na\r\n...\r\n..b\r\n.\r\nBDAT 3 LAST\r\n\r\n.QUIT\r\n`
        const server = yield* SmtpTest.scripted(
          SmtpTest.script(
            SmtpTest.expectGroup(/^EHLO/, "DATA"),
            SmtpTest.expectContent(content),
            SmtpTest.expect("BDAT 3 LAST"),
            SmtpTest.expectOctets(3),
            SmtpTest.expect(encoder.encode("QUIT\r\n")),
            SmtpTest.expectEnd
          )
        )
        const client = yield* dial(server)
        const offsets = [0, ...cuts.sort((left, right) => left - right), text.length]
        yield* Effect.forEach(offsets.slice(1), (offset, index) =>
          send(client, text.slice(offsets[index], offset))
        )
        yield* client.destroy
        yield* server.done
        expect(yield* server.receivedText).toBe(text)
      }).pipe(Effect.scoped)
  )
})

describe("replies", () => {
  it.scoped("arrive split as requested", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.reply("250 ok", { split: [3, 7] }),
          SmtpTest.reply("250", { split: "byteByByte" }),
          SmtpTest.reply("251 a"),
          SmtpTest.reply("251 b"),
          SmtpTest.reply("251 c", { separate: true }),
          SmtpTest.inject("421")
        )
      )
      const client = yield* dial(server)
      yield* server.done
      const pieces = yield* Effect.replicateEffect(receive(client), 11)
      expect(pieces).toEqual([
        "250",
        " ok\r",
        "\n",
        "2",
        "5",
        "0",
        "\r",
        "\n",
        "251 a\r\n251 b\r\n",
        "251 c\r\n",
        "421"
      ])
    })
  )

  it.scoped("follow Effect's Clock", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(SmtpTest.reply("220-now"), SmtpTest.reply("220 later", { delay: "5 minutes" }))
      )
      const client = yield* dial(server)
      expect(yield* receive(client)).toBe("220-now\r\n")
      const later = yield* Effect.fork(receive(client))
      yield* TestClock.adjust("299 seconds")
      expect(yield* Fiber.poll(later)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(later)).toBe("220 later\r\n")
    })
  )

  it.scoped("pause between pieces", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.reply("220", { split: [1], pause: "1 second" }))
      const client = yield* dial(server)
      expect(yield* receive(client)).toBe("2")
      const rest = yield* Effect.fork(receive(client))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(rest)).toBe("20\r\n")
    })
  )
})

describe("a server that misbehaves", () => {
  it.scoped("stops reading, and the client's writes wait", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(SmtpTest.expect("DATA"), SmtpTest.stopReading),
        {
          capacity: 1000
        }
      )
      const client = yield* dial(server)
      yield* send(client, "DATA\r\n")
      yield* server.done
      yield* client.write([new Uint8Array(1000)])
      const blocked = yield* Effect.fork(client.write([new Uint8Array(1)]))
      yield* TestClock.adjust("1 hour")
      expect(yield* Fiber.poll(blocked)).toMatchObject({ _tag: "None" })
      expect(yield* server.receivedText).toBe("DATA\r\n")
    })
  )

  it.scoped("reads while it is silent", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.silence, { capacity: 10 })
      const client = yield* dial(server)
      yield* client.write([new Uint8Array(1000)])
      expect((yield* server.received).length).toBeGreaterThan(900)
    })
  )

  it.scoped("ends its stream and goes on reading", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(SmtpTest.reply("221 bye"), SmtpTest.halfClose, SmtpTest.expect("NOOP"))
      )
      const client = yield* dial(server)
      expect(yield* receive(client)).toBe("221 bye\r\n")
      expect(yield* receive(client)).toBe("(end)")
      yield* send(client, "NOOP\r\n")
      yield* server.done
    })
  )

  it.scoped("resets the connection", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.script(SmtpTest.reply("220 hi"), SmtpTest.reset))
      const client = yield* dial(server)
      expect(yield* receive(client)).toBe("220 hi\r\n")
      expect(yield* Effect.flip(receive(client))).toMatchObject({ _tag: "ConnectionLost", operation: "read" })
      expect(yield* Effect.flip(send(client, "x"))).toMatchObject({
        _tag: "ConnectionLost",
        operation: "write"
      })
    })
  )

  it.scoped("closes after its last reply", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.script(SmtpTest.reply("554 no"), SmtpTest.close))
      const client = yield* dial(server)
      yield* server.done
      expect([yield* receive(client), yield* receive(client)]).toEqual(["554 no\r\n", "(end)"])
    })
  )

  it.scoped("refuses a dial by script, and a dial without a script", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([SmtpTest.refused])
      expect(yield* Effect.flip(dial(server))).toMatchObject({ reason: "Unreachable" })
      expect((yield* Effect.flip(dial(server))).message).toContain("no script for connection 2")
      yield* server.done
    })
  )

  it.scoped("leaves a dial unanswered until its time limit", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.unanswered)
      const dialling = yield* Effect.fork(dial(server))
      yield* TestClock.adjust("5 seconds")
      expect(yield* Effect.flip(Fiber.join(dialling))).toMatchObject({ reason: "Timeout" })
    })
  )
})

describe("combinators", () => {
  it.scoped("answer by command until the client leaves", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.repeat(
          SmtpTest.branch(
            {
              RCPT: SmtpTest.reply("250 ok"),
              "RCPT TO:<b@y.test>": SmtpTest.reply("550 no"),
              VRFY: (line) => SmtpTest.reply(`252 ${line.slice(5)}`)
            },
            SmtpTest.reply("500 what")
          )
        )
      )
      const client = yield* dial(server)
      const ask = (line: string) => Effect.zipRight(send(client, `${line}\r\n`), receive(client))
      expect(yield* ask("rcpt to:<a@y.test>")).toBe("250 ok\r\n")
      expect(yield* ask("RCPT TO:<b@y.test> NOTIFY=NEVER")).toBe("550 no\r\n")
      expect(yield* ask("VRFY ann")).toBe("252 ann\r\n")
      expect(yield* ask("RCPTX")).toBe("500 what\r\n")
      yield* client.destroy
      yield* server.done
    })
  )

  it.scoped("fail on a line without a handler", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.branch({ NOOP: SmtpTest.reply("250 ok") }))
      const client = yield* dial(server)
      yield* send(client, "EXPN list\r\n")
      expect(yield* Effect.flip(server.done)).toMatchObject({
        expected: "one of NOOP",
        received: "EXPN list"
      })
    })
  )

  it.scoped("repeat a number of times", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(SmtpTest.repeat(SmtpTest.expect("NOOP"), 2), SmtpTest.repeat(SmtpTest.reset, 0))
      )
      const client = yield* dial(server)
      yield* send(client, "NOOP\r\nNOOP\r\n")
      yield* server.done
    })
  )

  it.scoped("run effects in their place in the dialogue", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<string>()
      const release = yield* Deferred.make<string>()
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.expect("NOOP"),
          SmtpTest.effect(Deferred.succeed(arrived, "arrived")),
          SmtpTest.effect(Deferred.await(release)),
          SmtpTest.reply("250 ok")
        )
      )
      const client = yield* dial(server)
      yield* send(client, "NOOP\r\n")
      expect(yield* Deferred.await(arrived)).toBe("arrived")
      yield* Deferred.succeed(release, "released")
      expect(yield* receive(client)).toBe("250 ok\r\n")
    })
  )

  it.scoped("report an effect that fails and a handler that throws", () =>
    Effect.gen(function* () {
      const thrower = (): SmtpTest.Script => {
        throw new Error("a mistake")
      }
      const failing = yield* SmtpTest.scripted(SmtpTest.effect(Effect.fail("no database")))
      yield* dial(failing)
      expect((yield* Effect.flip(failing.done)).detail).toContain("no database")
      const throwing = yield* SmtpTest.scripted(SmtpTest.branch({ NOOP: thrower }))
      yield* send(yield* dial(throwing), "NOOP\r\n")
      expect((yield* Effect.flip(throwing.done)).detail).toContain("a mistake")
    })
  )

  it.scoped("fail on bytes that come too early", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.expect("EHLO c"),
          SmtpTest.expectNothing("1 second"),
          SmtpTest.reply("250 mx")
        )
      )
      const client = yield* dial(server)
      yield* send(client, "EHLO c\r\nMAIL")
      expect(yield* Effect.flip(server.done)).toMatchObject({ reason: "Mismatch", received: "MAIL" })
    })
  )

  it.scoped("go on when nothing came too early", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.expect("EHLO c"),
          SmtpTest.expectNothing("1 second"),
          SmtpTest.reply("250 mx")
        )
      )
      const client = yield* dial(server)
      yield* send(client, "EHLO c\r\n")
      const replies = yield* Effect.fork(receive(client))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(replies)).toBe("250 mx\r\n")
    })
  )
})

describe("many connections", () => {
  it.scoped("run one script each, in dial order", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([
        SmtpTest.reply("220 first"),
        SmtpTest.reply("220 second"),
        SmtpTest.reply("220 third")
      ])
      const clients = yield* Effect.all([dial(server), dial(server), dial(server)])
      expect(yield* Effect.forEach(clients, receive)).toEqual([
        "220 first\r\n",
        "220 second\r\n",
        "220 third\r\n"
      ])
      yield* server.done
      expect(yield* server.dialled).toEqual([endpoint, endpoint, endpoint])
    })
  )

  it.scoped("are unlimited when the scripts are a function", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted((index) => SmtpTest.reply(`220 ${index}`))
      const replies = yield* Effect.replicateEffect(Effect.scoped(Effect.flatMap(dial(server), receive)), 20)
      expect(replies.at(-1)).toBe("220 19\r\n")
      yield* server.done
      expect(yield* server.connections).toHaveLength(20)
    })
  )

  it.scoped("name the connection that failed", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(() => SmtpTest.expect("NOOP"))
      yield* send(yield* dial(server), "NOOP\r\n")
      yield* send(yield* dial(server), "RSET\r\n")
      expect((yield* Effect.flip(server.done)).connection).toBe(2)
    })
  )
})

describe("TLS without cryptography", () => {
  const startTls = SmtpTest.script(
    SmtpTest.expect("STARTTLS"),
    SmtpTest.reply("220 go"),
    SmtpTest.upgrade,
    SmtpTest.expect("EHLO c")
  )

  it.scoped("continues on the same connection", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.ScriptedServer
      const tls = yield* TlsUpgrade
      const client = yield* Effect.flatMap(SmtpSocket, (socket) =>
        socket.dial(endpoint, { timeout: Duration.seconds(1) })
      )
      yield* send(client, "STARTTLS\r\n")
      expect(yield* receive(client)).toBe("220 go\r\n")
      const secured = yield* tls.upgrade(client, {
        host: "mx.test",
        port: 25,
        timeout: Duration.seconds(1),
        tls: {}
      })
      expect(secured.tls).toMatchObject({ servername: "mx.test", verified: true })
      yield* send(secured, "EHLO c\r\n")
      yield* server.done
    }).pipe(Effect.provide(SmtpTest.layerScript(startTls)))
  )

  it.scoped("fails on bytes that follow STARTTLS in clear (RFC 3207 section 4)", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(startTls)
      const client = yield* dial(server)
      yield* send(client, "STARTTLS\r\nEHLO c\r\n")
      expect(yield* Effect.flip(server.done)).toMatchObject({ reason: "Mismatch", step: "upgrade" })
    })
  )
})

describe("a capturing server", () => {
  const dialServer = (server: SmtpTest.Service) =>
    server.socket.dial(endpoint, { timeout: Duration.seconds(5) })

  const converse = (options: SmtpTest.ServerOptions, ...texts: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(options)
      const client = yield* dialServer(server)
      const replies = [yield* receive(client)]
      for (const text of texts) {
        yield* send(client, text)
        replies.push(yield* receive(client))
      }
      return { server, replies, messages: yield* server.messages }
    })

  const envelope = "MAIL FROM:<a@x.test> SIZE=4 BODY=8BITMIME\r\nRCPT TO:<b@y.test> NOTIFY=NEVER\r\n"

  it.scoped("captures envelope, parameters and content", () =>
    Effect.gen(function* () {
      const { replies, messages } = yield* converse(
        { capabilities: ["PIPELINING", "SIZE 100"] },
        "EHLO c\r\n",
        `${envelope}DATA\r\n`,
        "..hi\r\n.\r\nQUIT\r\n"
      )
      expect(replies).toEqual([
        "220 mx.test ESMTP\r\n",
        "250-mx.test\r\n250-PIPELINING\r\n250 SIZE 100\r\n",
        "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 end with a dot on a line of its own\r\n",
        "250 2.0.0 queued as 1\r\n221 2.0.0 bye\r\n"
      ])
      expect(messages).toEqual([
        {
          connection: 1,
          sender: { address: "a@x.test", parameters: ["SIZE=4", "BODY=8BITMIME"] },
          recipients: [{ address: "b@y.test", parameters: ["NOTIFY=NEVER"] }],
          content: encoder.encode(".hi\r\n"),
          source: ".hi\r\n",
          user: undefined,
          secured: false
        }
      ])
    })
  )

  it.scoped("joins the chunks of BDAT (RFC 3030)", () =>
    Effect.gen(function* () {
      const { replies, messages } = yield* converse(
        {},
        "EHLO c\r\n",
        `${envelope}BDAT 3\r\n.\r\nBDAT 0\r\nBDAT 2 LAST\r\nhi`
      )
      expect(replies[2]).toContain("250 2.0.0 queued as 1\r\n")
      expect(messages.map(({ source }) => source)).toEqual([".\r\nhi"])
    })
  )

  it.scoped("reads the bytes of a BDAT that it refuses", () =>
    Effect.gen(function* () {
      const { replies } = yield* converse({}, "EHLO c\r\n", "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
      expect(replies[2]).toBe("503 5.5.1 bad sequence of commands\r\n250 2.0.0 ok\r\n")
    })
  )

  it.scoped("refuses as configured and delivers to the other recipients", () =>
    Effect.gen(function* () {
      const { replies, messages } = yield* converse(
        {
          accept: ({ address }) => (address.startsWith("no") ? "550 5.1.1 no such user" : undefined),
          acceptMessage: ({ source }) => (source.includes("spam") ? "554 5.7.1 spam" : undefined)
        },
        "EHLO c\r\n",
        "MAIL FROM:<>\r\nRCPT TO:<no@y.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n",
        "hi\r\n.\r\n",
        "MAIL FROM:<>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n",
        "spam\r\n.\r\n"
      )
      expect(replies[2]).toContain("550 5.1.1 no such user\r\n250")
      expect(replies[5]).toBe("554 5.7.1 spam\r\n")
      expect(messages).toMatchObject([{ sender: { address: "" }, recipients: [{ address: "b@y.test" }] }])
    })
  )

  it.scoped("refuses DATA without recipients, and a message over SIZE", () =>
    Effect.gen(function* () {
      const { replies, messages } = yield* converse(
        { capabilities: ["SIZE 5"] },
        "EHLO c\r\n",
        "MAIL FROM:<a@x.test> SIZE=6\r\n",
        "MAIL FROM:<a@x.test>\r\nDATA\r\n",
        "RCPT TO:<b@y.test>\r\nDATA\r\n",
        "too long\r\n.\r\n"
      )
      expect(replies[2]).toBe("552 5.3.4 message too large\r\n")
      expect(replies[3]).toContain("554 5.5.1 no valid recipients\r\n")
      expect(replies[5]).toBe("552 5.3.4 message too large\r\n")
      expect(messages).toEqual([])
    })
  )

  it.scoped("enforces the order of commands", () =>
    Effect.gen(function* () {
      const { replies } = yield* converse(
        {},
        "MAIL FROM:<a@x.test>\r\n",
        "EHLO c\r\nRCPT TO:<b@y.test>\r\nDATA\r\n",
        "MAIL FROM:<a@x.test>\r\nMAIL FROM:<a@x.test>\r\nRSET\r\nRCPT TO:<b@y.test>\r\nconstructor\r\n"
      )
      const sequence = "503 5.5.1 bad sequence of commands\r\n"
      expect(replies[1]).toBe(sequence)
      expect(replies[2]).toContain(`250 AUTH PLAIN\r\n${sequence}${sequence}`)
      expect(replies[3]).toBe(
        `250 2.1.0 sender ok\r\n${sequence}250 2.0.0 ok\r\n${sequence}500 5.5.2 command not recognised\r\n`
      )
    })
  )

  const plain = (password: string) => btoa(`\0ann\0${password}`)

  it.scoped("checks AUTH PLAIN with and without an initial response (RFC 4954)", () =>
    Effect.gen(function* () {
      const { replies, messages } = yield* converse(
        {
          authenticate: ({ password, username }) => username === "ann" && Redacted.value(password) === "right"
        },
        "EHLO c\r\n",
        `AUTH PLAIN ${plain("wrong")}\r\n`,
        "AUTH PLAIN\r\n",
        "*\r\n",
        "AUTH PLAIN !!\r\n",
        "AUTH LOGIN\r\n",
        "AUTH PLAIN\r\n",
        `${plain("right")}\r\n`,
        `${envelope}DATA\r\n`,
        "hi\r\n.\r\n"
      )
      expect(replies.slice(2, 9).map((reply) => reply.slice(0, 4))).toEqual([
        "535 ",
        "334 ",
        "501 ",
        "501 ",
        "504 ",
        "334 ",
        "235 "
      ])
      expect(messages[0]?.user).toBe("ann")
    })
  )

  it.scoped("withdraws STARTTLS and discards EHLO after TLS (RFC 3207 section 4.2)", () =>
    Effect.gen(function* () {
      const { replies } = yield* converse(
        { capabilities: ["STARTTLS", "SMTPUTF8"] },
        "EHLO c\r\n",
        "STARTTLS\r\n",
        "MAIL FROM:<a@x.test>\r\n",
        "EHLO c\r\n"
      )
      expect(replies.slice(1)).toEqual([
        "250-mx.test\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n",
        "220 2.0.0 ready to start TLS\r\n",
        "503 5.5.1 bad sequence of commands\r\n",
        "250-mx.test\r\n250 SMTPUTF8\r\n"
      ])
    })
  )

  it.scoped("replies for each recipient with LMTP (RFC 2033 section 4.2)", () =>
    Effect.gen(function* () {
      const { replies, messages } = yield* converse(
        {
          protocol: "lmtp",
          acceptMessage: (_, recipient) => (recipient?.address === "c@y.test" ? "452 4.2.2 full" : undefined)
        },
        "EHLO c\r\n",
        "LHLO c\r\n",
        `${envelope}RCPT TO:<c@y.test>\r\nDATA\r\n`,
        "hi\r\n.\r\n"
      )
      expect(replies[1]).toBe("500 5.5.2 command not recognised\r\n")
      expect(replies[4]).toBe("250 2.0.0 queued as 1\r\n452 4.2.2 full\r\n")
      expect(messages.map(({ recipients }) => recipients.map(({ address }) => address))).toEqual([
        ["b@y.test"]
      ])
    })
  )

  it.effect.each(["EHLO c\r\nMAIL FROM", "EHLO c\r\nAUTH PLAIN\r\n", `${envelope}DATA\r\nSubj`])(
    "lets a client leave at any time: %j",
    (words) =>
      Effect.gen(function* () {
        const server = yield* SmtpTest.server()
        const client = yield* dialServer(server)
        yield* send(client, "EHLO c\r\n", words)
        yield* client.destroy
      }).pipe(Effect.scoped)
  )

  it.scoped("accepts that a client refuses its certificate", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ upgrade: () => Effect.fail(new Error("unknown authority")) })
      const client = yield* dialServer(server)
      yield* receive(client)
      yield* send(client, "EHLO c\r\nSTARTTLS\r\n")
      while ((yield* client.pull) !== undefined);
      expect(yield* server.transcript).toContain("-- the server's TLS handshake failed: unknown authority")
    })
  )

  it.effect("reports an accept function that throws", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.gen(function* () {
        const server = yield* SmtpTest.server({
          accept: () => {
            throw new Error("the policy is wrong")
          }
        })
        const client = yield* dialServer(server)
        yield* send(client, `EHLO c\r\n${envelope}`)
        while ((yield* client.pull) !== undefined);
      }).pipe(Effect.scoped, Effect.exit)
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("the policy is wrong")
    })
  )

  it.scoped("closes after a 421", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ acceptSender: () => "421 4.3.2 shutting down" })
      const client = yield* dialServer(server)
      yield* receive(client)
      yield* send(client, "EHLO c\r\n")
      yield* receive(client)
      yield* send(client, "MAIL FROM:<a@x.test>\r\nNOOP\r\n")
      expect([yield* receive(client), yield* receive(client)]).toEqual([
        "421 4.3.2 shutting down\r\n",
        "(end)"
      ])
    })
  )

  it.scoped("serves its layer, and returns its messages once", () =>
    Effect.gen(function* () {
      const socket = yield* SmtpSocket
      const client = yield* socket.dial(endpoint, { timeout: Duration.seconds(1) })
      yield* send(client, `EHLO c\r\n${envelope}DATA\r\nhi\r\n.\r\nQUIT\r\n`)
      while ((yield* client.pull) !== undefined);
      const server = yield* SmtpTest.SmtpTest
      expect(yield* server.takeMessages).toHaveLength(1)
      expect(yield* server.takeMessages).toEqual([])
    }).pipe(Effect.provide(SmtpTest.layer()))
  )

  it.effect("gives each server of a layer that is built again messages of its own", () =>
    Effect.gen(function* () {
      const layer = SmtpTest.layer()
      const count = Effect.scoped(
        Effect.gen(function* () {
          const socket = yield* SmtpSocket
          const client = yield* socket.dial(endpoint, { timeout: Duration.seconds(1) })
          yield* send(client, `EHLO c\r\n${envelope}DATA\r\nhi\r\n.\r\nQUIT\r\n`)
          while ((yield* client.pull) !== undefined);
          const { messages } = yield* SmtpTest.SmtpTest
          return (yield* messages).length
        })
      )
      expect([yield* Effect.provide(count, layer), yield* Effect.provide(count, layer)]).toEqual([1, 1])
    })
  )
})
