/**
 * Adverse moments: sessions that end on the way into their turn, regions that cannot be interrupted, fibers in each
 * other's way, programs that are wrong.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpCommand from "../../src/SmtpCommand.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import * as SmtpError from "../../src/SmtpError.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { TlsUpgrade } from "../../src/TlsUpgrade.js"
import { untyped } from "../support/untyped.js"
import {
  ask,
  content,
  ehlo,
  goodbye,
  greeting,
  inTransaction,
  octets,
  opened,
  outcomes,
  silentEnd,
  withConnection,
  withSession
} from "./oneSession.js"

const text = "Subject: hi\r\n\r\nhello\r\n"
const message = { from: "a@x.test", to: "b@y.test", content: text }
const group = SmtpTest.expectGroup(/^MAIL FROM:<a@x\.test>/, "RCPT TO:<b@y.test>", "DATA")
const go = SmtpTest.reply("250 ok", "250 ok", "354 go")
const goOneByOne = SmtpTest.script(
  SmtpTest.reply("250 ok"),
  SmtpTest.reply("250 ok"),
  SmtpTest.reply("354 go")
)

/** Ends with the effect, or fails when it has not ended after a real second. */
const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | string, R> =>
  Effect.timeoutFail(Effect.disconnect(effect), { duration: "1 second", onTimeout: () => "it hangs" })

describe("a session that fails between the queue and the wire", () => {
  for (const farewell of ["close", "421"] as const) {
    for (const pauses of [0, 1, 2, 3]) {
      it.live(`leaves no send waiting: ${farewell} ${pauses} turns after the reply to the send before`, () =>
        inTime(
          Effect.gen(function* () {
            const turns = Effect.repeatN(Effect.yieldNow(), pauses)
            const script = SmtpTest.script(
              opened("PIPELINING"),
              group,
              goOneByOne,
              SmtpTest.expectContent(),
              SmtpTest.reply("250 ok"),
              SmtpTest.effect(turns),
              farewell === "421" ? SmtpTest.inject("421 4.3.2 bye\r\n") : SmtpTest.close
            )
            const server = yield* SmtpTest.scripted(script)
            const smtp = yield* SmtpSession.make({
              host: "mx.test",
              tls: "none",
              clientName: "client.test"
            }).pipe(Effect.provide(server.layer))
            const [first, second] = yield* Effect.all([smtp.deliver(message), smtp.deliver(message)], {
              concurrency: "unbounded"
            })
            expect(first.accepted.length).toBe(1)
            expect(second.accepted.length).toBe(0)
            expect(second.notSent.length).toBe(1)
          }).pipe(Effect.scoped)
        )
      )
    }
  }
})

describe("an uninterruptible region", () => {
  for (const words of ["554 no service", "421 later"]) {
    it.live(`ends a connect that is greeted by ${words}`, () =>
      inTime(
        Effect.gen(function* () {
          const server = yield* SmtpTest.scripted(SmtpTest.script(SmtpTest.reply(words), SmtpTest.silence))
          const error = yield* SmtpSession.connect({
            host: "mx.test",
            clientName: "client.test",
            timeouts: { quit: "50 millis" }
          }).pipe(Effect.provide(server.layer), Effect.uninterruptible, Effect.flip)
          expect(error).toMatchObject({ _tag: "ConnectError", reason: "Greeting" })
        }).pipe(Effect.scoped)
      )
    )
  }

  it.live("keeps the limit of a send", () =>
    inTime(
      Effect.gen(function* () {
        const server = yield* SmtpTest.scripted(
          SmtpTest.script(opened("PIPELINING"), group, SmtpTest.silence)
        )
        const smtp = yield* SmtpSession.make({
          host: "mx.test",
          tls: "none",
          clientName: "client.test",
          timeouts: { quit: "50 millis" }
        }).pipe(Effect.provide(server.layer))
        const receipt = yield* Effect.uninterruptible(smtp.deliver({ ...message, timeout: "50 millis" }))
        expect(outcomes(receipt)).toEqual(["b@y.test NotSent ReplyTimeout mail"])
      }).pipe(Effect.scoped)
    )
  )

  it.live("ends content that the server has refused in its middle, though its stream waits", () =>
    inTime(
      Effect.gen(function* () {
        const server = yield* SmtpTest.scripted(
          SmtpTest.script(
            opened("PIPELINING", "8BITMIME"),
            group,
            go,
            SmtpTest.expectOctets(60_000),
            SmtpTest.reply("552 too much"),
            SmtpTest.silence
          )
        )
        const smtp = yield* SmtpSession.make({
          host: "mx.test",
          tls: "none",
          clientName: "client.test",
          timeouts: { stall: "1 hour" }
        }).pipe(Effect.provide(server.layer))
        const waiting = Stream.concat(
          Stream.make(octets("x\r\n".repeat(50_000))),
          Stream.fromEffect(Effect.never)
        )
        const receipt = yield* Effect.uninterruptible(smtp.deliver({ ...message, content: waiting }))
        expect(outcomes(receipt)).toEqual(["b@y.test Refused 552 content"])
      }).pipe(Effect.scoped)
    )
  )
})

describe("a group that was interrupted", () => {
  it.effect("ends with the replies to what had left, and its envelope is taken back", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<null>()
      const release = yield* Deferred.make<null>()
      yield* withSession(
        SmtpTest.script(
          opened(),
          SmtpTest.expect("MAIL FROM:<a@x.test>"),
          SmtpTest.effect(Effect.zipRight(Deferred.succeed(asked, null), Deferred.await(release))),
          SmtpTest.reply("250 ok"),
          ask("RSET", "250 ok"),
          ask("NOOP", "250 still here"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(
              smtp.group([SmtpCommand.mail("a@x.test"), SmtpCommand.rcpt("b@y.test")])
            )
            yield* Deferred.await(asked)
            yield* Fiber.interrupt(fiber)
            yield* Deferred.succeed(release, null)
            expect((yield* smtp.noop).text).toBe("still here")
            yield* TestClock.adjust("1 minute")
            expect(yield* smtp.state).toBe("Ready")
          })
      )
    })
  )
})

describe("a session that is gone", () => {
  it.effect("says of what was never sent that it was never sent", () =>
    withSession(
      SmtpTest.script(opened("CHUNKING"), SmtpTest.inject("421 4.3.2 bye\r\n"), SmtpTest.close),
      (smtp) =>
        Effect.gen(function* () {
          expect(yield* smtp.awaitClosed).toMatchObject({ _tag: "ServerDisconnected", reply: { code: 421 } })
          const bdat = yield* Effect.flip(smtp.bdat(octets("x"), { last: true }))
          expect(bdat).toMatchObject({ _tag: "ServerDisconnected", phase: "idle", reply: { code: 421 } })
          expect(bdat._tag === "ServerDisconnected" && SmtpError.delivery(bdat)).toBe("NotSent")
          expect(yield* Effect.flip(smtp.noop)).toMatchObject({ phase: "idle", reply: { code: 421 } })
          expect(yield* Effect.flip(smtp.group([SmtpCommand.noop]))).toMatchObject({
            _tag: "ServerDisconnected",
            reply: { code: 421 }
          })
        })
    )
  )

  it.effect("tells the commands of a transaction why", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        SmtpTest.inject("451 4.3.2 maintenance\r\n"),
        SmtpTest.close
      ),
      (smtp) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(
            inTransaction(smtp, ({ rcpt }) => Effect.zipRight(smtp.awaitClosed, rcpt("b@y.test")))
          )
          expect(error).toMatchObject({ _tag: "ServerDisconnected", reply: { code: 451 } })
        })
    )
  )
})

describe("fibers in each other's way", () => {
  it.effect("a send that waits behind STARTTLS says EHLO again before MAIL", () =>
    withConnection(
      SmtpTest.script(
        opened("STARTTLS", "PIPELINING"),
        ask("STARTTLS", "220 go"),
        SmtpTest.upgrade,
        ehlo("PIPELINING"),
        group,
        go,
        content(text, "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.ehlo
          const [, receipt] = yield* Effect.all([smtp.startTls, smtp.deliver(message)], {
            concurrency: "unbounded"
          })
          expect(receipt.accepted.length).toBe(1)
        })
    )
  )

  it.effect("one cannot add to the transaction of another", () =>
    withSession(
      SmtpTest.script(
        opened("CHUNKING"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("RCPT TO:<c@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        content(text, "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const begun = yield* Deferred.make<null>()
          const done = yield* Deferred.make<null>()
          const other = yield* Effect.fork(
            Effect.gen(function* () {
              yield* Deferred.await(begun)
              const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
                smtp.rcpt("eve@z.test"),
                smtp.data(text),
                smtp.bdat(octets("x"), { last: true }),
                smtp.mail("eve@z.test"),
                smtp.group([SmtpCommand.rcpt("eve@z.test")])
              ]
              for (const attempt of attempts) {
                expect(yield* Effect.flip(attempt)).toMatchObject({
                  _tag: "InvalidArgument",
                  field: "session"
                })
              }
              yield* Deferred.succeed(done, null)
            })
          )
          const [reply] = yield* inTransaction(smtp, ({ data, rcpt }) =>
            Effect.gen(function* () {
              yield* rcpt("b@y.test")
              yield* Deferred.succeed(begun, null)
              yield* Deferred.await(done)
              yield* Effect.all([rcpt("c@y.test")], { concurrency: "unbounded" })
              return yield* data(text)
            })
          )
          expect(reply.code).toBe(250)
          yield* Fiber.join(other)
        })
    )
  )

  it.effect("an AUTH under way makes a group wait", () =>
    Effect.gen(function* () {
      const challenged = yield* Deferred.make<null>()
      const release = yield* Deferred.make<null>()
      yield* withSession(
        SmtpTest.script(
          opened("AUTH LOGIN"),
          ask("AUTH LOGIN", "334 VXNlcm5hbWU6"),
          SmtpTest.expect("YW5u"),
          SmtpTest.effect(Effect.zipRight(Deferred.succeed(challenged, null), Deferred.await(release))),
          SmtpTest.reply("334 UGFzc3dvcmQ6"),
          ask("c2VjcmV0", "235 ok"),
          ask("NOOP", "250 ok"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const credentials = SmtpAuth.password({ username: "ann", password: Redacted.make("secret") })
            const authenticating = yield* Effect.fork(smtp.authenticate(credentials))
            yield* Deferred.await(challenged)
            const grouped = yield* Effect.fork(smtp.group([SmtpCommand.noop]))
            yield* Effect.yieldNow()
            yield* Deferred.succeed(release, null)
            expect((yield* Fiber.join(authenticating)).code).toBe(235)
            expect((yield* Fiber.join(grouped))[0].code).toBe(250)
          }),
        { allowInsecureAuth: true }
      )
    })
  )
})

describe("values that are none of the choices", () => {
  it.effect("of a session are InvalidArgument, before a dial", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([])
      const wrong: ReadonlyArray<readonly [string, SmtpSession.Options]> = [
        ["tls", { tls: untyped("ssl") }],
        ["dialect", { dialect: untyped("uucp") }],
        ["pipelining", { pipelining: untyped("none") }]
      ]
      for (const [field, options] of wrong) {
        const error = yield* SmtpSession.connect({ host: "mx.test", ...options }).pipe(
          Effect.provide(server.layer),
          Effect.flip
        )
        expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      }
      expect(yield* server.dialled).toEqual([])
    }).pipe(Effect.scoped)
  )

  it.effect("of a submission are InvalidArgument, before MAIL", () =>
    withSession(SmtpTest.script(opened(), goodbye), (smtp) =>
      Effect.gen(function* () {
        const wrong = [
          ["recipients", { recipients: untyped("every") }],
          ["lineEnds", { lineEnds: untyped("keep") }],
          ["longLines", { longLines: untyped("fold") }]
        ] as const
        for (const [field, options] of wrong) {
          expect(yield* Effect.flip(smtp.send({ ...message, ...options }))).toMatchObject({
            _tag: "InvalidArgument",
            field
          })
        }
      })
    )
  )
})

describe("a transcript listener that throws", () => {
  for (const from of ["client", "server"] as const) {
    it.effect(`is heard of no more, and the session goes on (${from} line)`, () => {
      const heard: Array<string> = []
      return withSession(
        SmtpTest.script(opened(), ask("NOOP", "250 ok"), ask("NOOP", "250 ok"), goodbye),
        (smtp) => Effect.zipRight(smtp.noop, smtp.noop),
        {
          transcript: (entry) => {
            heard.push(entry.text)
            if (entry.from === from) throw new Error("no more paper")
          }
        }
      ).pipe(Effect.map(() => expect(heard).not.toContain("NOOP")))
    })
  }
})

describe("promises about content", () => {
  it.effect("BODY=7BIT is kept by a stream, too", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING", "8BITMIME"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test> BODY=7BIT", "RCPT TO:<b@y.test>", "DATA"),
        go,
        SmtpTest.silence
      ),
      (smtp) =>
        Effect.gen(function* () {
          const late = Stream.make(octets("x".repeat(70_000)), octets("é\r\n"))
          const receipt = yield* smtp.deliver({
            ...message,
            content: SmtpContent.replayable(late),
            parameters: { body: "7BIT" }
          })
          expect(receipt.notSent).toMatchObject([{ cause: { _tag: "ContentError", reason: "NotAscii" } }])
        })
    )
  )

  it.effect("content over SIZE is refused before DATA by hand, whatever its length", () =>
    withSession(
      SmtpTest.script(
        opened("SIZE 1000"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.mail("a@x.test")
          yield* smtp.rcpt("b@y.test")
          for (const length of [2_000, 400_000]) {
            expect(yield* Effect.flip(smtp.data("x".repeat(length)))).toMatchObject({
              _tag: "ContentError",
              reason: "TooLarge"
            })
          }
        })
    )
  )

  it.effect("a size that the program claims does not hide the size of octets in memory", () =>
    withSession(SmtpTest.script(opened("SIZE 100"), goodbye), (smtp) =>
      Effect.gen(function* () {
        const claimed = smtp.send({ ...message, content: "x".repeat(400), parameters: { size: 10 } })
        expect(yield* Effect.flip(claimed)).toMatchObject({ _tag: "NotSupported", extension: "SIZE" })
      })
    )
  )

  it.effect("a last chunk that the server takes for nobody is no success", () =>
    withSession(
      SmtpTest.script(
        opened("CHUNKING"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "550 no"),
        SmtpTest.expect("BDAT 1 LAST"),
        SmtpTest.expectOctets(1),
        SmtpTest.reply("250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.mail("a@x.test")
          yield* Effect.flip(smtp.rcpt("b@y.test"))
          expect(yield* Effect.flip(smtp.bdat(octets("x"), { last: true }))).toMatchObject({
            _tag: "RecipientsRefused"
          })
        })
    )
  )

  it.live("a chunk that the server takes slowly, but takes, has no limit", () =>
    inTime(
      Effect.gen(function* () {
        const slow = SmtpTest.script(
          SmtpTest.expectOctets(400_000),
          SmtpTest.delay("100 millis"),
          SmtpTest.expectOctets(400_000),
          SmtpTest.delay("100 millis"),
          SmtpTest.expectOctets(400_000),
          SmtpTest.delay("100 millis"),
          SmtpTest.expectOctets(400_000)
        )
        const server = yield* SmtpTest.scripted(
          SmtpTest.script(
            opened("CHUNKING"),
            ask("MAIL FROM:<a@x.test>", "250 ok"),
            ask("RCPT TO:<b@y.test>", "250 ok"),
            SmtpTest.expect("BDAT 1600000 LAST"),
            slow,
            SmtpTest.reply("250 ok"),
            goodbye
          )
        )
        const smtp = yield* SmtpSession.make({
          host: "mx.test",
          tls: "none",
          clientName: "client.test",
          timeouts: { content: "250 millis" }
        }).pipe(Effect.provide(server.layer))
        yield* smtp.mail("a@x.test")
        yield* smtp.rcpt("b@y.test")
        const [reply] = yield* smtp.bdat(new Uint8Array(1_600_000), { last: true })
        expect(reply.code).toBe(250)
      }).pipe(Effect.scoped)
    )
  )
})

describe("the order of things", () => {
  it.effect("a transcript shows a reply before the command that it has let go", () => {
    const lines: Array<string> = []
    return withSession(
      SmtpTest.script(
        opened(),
        ask("MAIL FROM:<a@x.test>", "250 sender"),
        ask("RCPT TO:<b@y.test>", "250 recipient"),
        ask("RSET", "250 reset"),
        goodbye
      ),
      (smtp) => smtp.group([SmtpCommand.mail("a@x.test"), SmtpCommand.rcpt("b@y.test"), SmtpCommand.rset]),
      { transcript: ({ text: line }) => lines.push(line) }
    ).pipe(
      Effect.map(() =>
        expect(lines.slice(lines.indexOf("MAIL FROM:<a@x.test>")).slice(0, 6)).toEqual([
          "MAIL FROM:<a@x.test>",
          "250 sender",
          "RCPT TO:<b@y.test>",
          "250 recipient",
          "RSET",
          "250 reset"
        ])
      )
    )
  })

  it.effect("an interrupted transaction is reset once", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<null>()
      const release = yield* Deferred.make<null>()
      yield* withSession(
        SmtpTest.script(
          opened("PIPELINING"),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RCPT TO:<b@y.test>", "250 ok"),
          SmtpTest.expect("DATA"),
          SmtpTest.effect(Effect.zipRight(Deferred.succeed(asked, null), Deferred.await(release))),
          SmtpTest.reply("451 later"),
          ask("RSET", "250 ok"),
          ask("NOOP", "250 ok"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(
              inTransaction(smtp, ({ data, rcpt }) => Effect.zipRight(rcpt("b@y.test"), data(text)))
            )
            yield* Deferred.await(asked)
            yield* Fiber.interrupt(fiber)
            yield* Deferred.succeed(release, null)
            yield* smtp.noop
          })
      )
    })
  )

  it.effect("authenticate by hand never falls back to HELO, which could not grant it", () =>
    withConnection(
      SmtpTest.script(greeting, ask("EHLO client.test", "502 what?"), goodbye),
      (smtp) =>
        Effect.gen(function* () {
          const credentials = SmtpAuth.password({ username: "ann", password: Redacted.make("secret") })
          expect(yield* Effect.flip(smtp.authenticate(credentials))).toMatchObject({
            _tag: "HeloError",
            command: "EHLO"
          })
        }),
      { allowInsecureAuth: true }
    )
  )
})

describe("a part that the program has plugged in, and that is defective", () => {
  const broken = (): never => {
    throw new Error("broken")
  }

  const closedBy = (reason: string) => ({ _tag: "ServerDisconnected", phase: "idle", cause: reason })

  /** The defect reaches the caller, and the session says that it is over. */
  const endsTheSession = <E>(smtp: SmtpSession.Service, use: Effect.Effect<unknown, E>, reason: string) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(use)
      expect(Exit.isFailure(exit) && Cause.isDie(exit.cause)).toBe(true)
      expect(yield* smtp.state).toBe("Closed")
      expect(yield* Effect.flip(smtp.noop)).toMatchObject(closedBy(reason))
      expect(yield* smtp.awaitClosed).toMatchObject(closedBy(reason))
    })

  for (const [what, respond] of [
    ["dies", () => Effect.die("broken")],
    ["throws", () => broken()]
  ] as const) {
    it.effect(`ends the session in the middle of AUTH: a mechanism that ${what}`, () =>
      withConnection(
        SmtpTest.script(opened("AUTH X-OWN"), ask("AUTH X-OWN", "334 "), silentEnd),
        (smtp) =>
          endsTheSession(
            smtp,
            smtp.authenticate(SmtpAuth.mechanism({ name: "X-OWN", begin: Effect.succeed({ respond }) })),
            "authentication ended in a defect"
          ),
        { allowInsecureAuth: true }
      )
    )
  }

  it.scoped("ends the session behind the 220 of STARTTLS: a TlsUpgrade that dies", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(opened("STARTTLS"), ask("STARTTLS", "220 go"), silentEnd)
      )
      const tls = Layer.succeed(TlsUpgrade, { upgrade: () => Effect.die("broken") })
      const client = Effect.flatMap(
        SmtpSession.connect({ host: "mx.test", clientName: "client.test" }),
        (smtp) => endsTheSession(smtp, smtp.startTls, "STARTTLS ended in a defect")
      )
      yield* server.verify(Effect.provide(Effect.scoped(client), Layer.merge(server.layer, tls)))
    })
  )

  it.effect("leaves the session in order after a typed error, as a mechanism's that gives up", () =>
    withConnection(
      SmtpTest.script(
        opened("AUTH X-OWN"),
        ask("AUTH X-OWN", "334 "),
        ask("*", "501 cancelled"),
        ask("NOOP", "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const own = SmtpAuth.mechanism({
            name: "X-OWN",
            begin: Effect.succeed({ respond: () => Effect.fail("no ticket") })
          })
          expect(yield* Effect.flip(smtp.authenticate(own))).toMatchObject({ _tag: "AuthenticationError" })
          yield* smtp.noop
        }),
      { allowInsecureAuth: true }
    )
  )
})
