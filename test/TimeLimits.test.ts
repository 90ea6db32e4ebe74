import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as SmtpAuth from "../src/SmtpAuth.js"
import * as SmtpCommand from "../src/SmtpCommand.js"
import * as SmtpError from "../src/SmtpError.js"
import type { Phase } from "../src/SmtpError.js"
import type { Receipt } from "../src/SmtpReceipt.js"
import * as SmtpSession from "../src/SmtpSession.js"
import * as SmtpTest from "../src/SmtpTest.js"
import * as TimeOfDay from "./support/timeOfDay.js"
import { breakable } from "./support/brokenWrites.js"
import {
  ask,
  goodbye,
  greeting,
  message,
  octets,
  opened,
  outcomes,
  submission,
  withConnection,
  withSession
} from "./SmtpSession/oneSession.js"

const { expect: client, expectContent, reply, script, silence } = SmtpTest

const minutes = (count: number): number => count * 60_000

/**
 * The effect is still running just before the limit, and fails at it. Time begins when `reached` has ended: a module
 * that is loaded on the way takes real time, of which the clock knows nothing.
 */
const failsAt = <A, E, R>(effect: Effect.Effect<A, E, R>, limitMillis: number, reached = Effect.void) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(Effect.flip(effect))
    yield* reached
    yield* TestClock.adjust(Duration.millis(limitMillis - 1))
    expect(fiber.unsafePoll()).toBeNull()
    yield* TestClock.adjust(Duration.millis(1))
    return yield* Fiber.join(fiber)
  })

type Use = (smtp: SmtpSession.Service) => Effect.Effect<unknown, unknown>

interface Limit {
  readonly script: SmtpTest.Script
  readonly phase: Phase
  readonly millis: number
  readonly use: Use
  readonly own?: SmtpSession.Options
}

const mail = ask("MAIL FROM:<a@x.test>", "250 ok")
const rcpt = ask("RCPT TO:<b@y.test>", "250 ok")
const data = ask("DATA", "354 go")

const credentials = SmtpAuth.password({ username: "app", password: Redacted.make("secret") })

const limits: Readonly<Record<string, Limit>> = {
  EHLO: { script: greeting, phase: "ehlo", millis: minutes(5), use: (smtp) => smtp.ehlo },
  HELO: { script: greeting, phase: "ehlo", millis: minutes(5), use: (smtp) => smtp.helo },
  STARTTLS: {
    script: script(opened("STARTTLS"), client("STARTTLS")),
    phase: "starttls",
    millis: minutes(5),
    use: (smtp) => smtp.startTls
  },
  "a step of AUTH": {
    script: script(opened("AUTH LOGIN"), ask("AUTH LOGIN", "334 VXNlcm5hbWU6"), client(/^[^ ]+$/)),
    phase: "auth",
    millis: minutes(5),
    use: (smtp) => smtp.authenticate(credentials),
    own: { allowInsecureAuth: true }
  },
  MAIL: { script: opened(), phase: "mail", millis: minutes(5), use: (smtp) => smtp.send(submission) },
  RCPT: {
    script: script(opened(), mail),
    phase: "rcpt",
    millis: minutes(5),
    use: (smtp) => smtp.send(submission)
  },
  DATA: {
    script: script(opened(), mail, rcpt),
    phase: "data",
    millis: minutes(2),
    use: (smtp) => smtp.send(submission)
  },
  "the final reply": {
    script: script(opened(), mail, rcpt, data, expectContent(message)),
    phase: "final",
    millis: minutes(10),
    use: (smtp) => smtp.send(submission)
  },
  RSET: { script: opened(), phase: "rset", millis: minutes(5), use: (smtp) => smtp.rset },
  NOOP: { script: opened(), phase: "noop", millis: minutes(5), use: (smtp) => smtp.noop },
  VRFY: { script: opened(), phase: "vrfy", millis: minutes(5), use: (smtp) => smtp.vrfy("ann") },
  EXPN: { script: opened(), phase: "expn", millis: minutes(5), use: (smtp) => smtp.expn("list") },
  HELP: { script: opened(), phase: "help", millis: minutes(5), use: (smtp) => smtp.help() },
  QUIT: { script: opened(), phase: "quit", millis: 5_000, use: (smtp) => smtp.quit },
  "a command in the program's own words": {
    script: opened(),
    phase: "command",
    millis: minutes(5),
    use: (smtp) => smtp.command("XYZZY")
  }
}

describe("rule 28: each phase has its limit, just after which, and not just before, it ends", () => {
  for (const [name, { millis, own, phase, script: until, use }] of Object.entries(limits)) {
    it.effect(`${name}: ${Duration.format(Duration.millis(millis))}`, () =>
      withConnection(
        script(until, silence),
        (smtp) =>
          Effect.gen(function* () {
            const error = yield* failsAt(
              Effect.zipRight(until === greeting ? Effect.void : smtp.ehlo, use(smtp)),
              millis
            )
            expect(error).toMatchObject({ _tag: "ReplyTimeout", phase, limitMillis: millis })
            expect(yield* smtp.state).toBe("Closed")
          }),
        own
      )
    )
  }

  it.effect("the greeting: 5m", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(silence)
      const made = SmtpSession.make({ host: "mx.test", tls: "none" }).pipe(
        Effect.scoped,
        Effect.provide(server.layer)
      )
      const error = yield* failsAt(made, minutes(5))
      expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "greeting", limitMillis: minutes(5) })
    }).pipe(Effect.scoped)
  )

  it.effect("is the program's own where it gives one", () =>
    withSession(
      script(opened(), silence),
      (smtp) =>
        Effect.gen(function* () {
          const error = yield* failsAt(smtp.noop, 7_000)
          expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "noop", limitMillis: 7_000 })
        }),
      { timeouts: { noop: "7 seconds" } }
    )
  )
})

describe("a limit that never ends", () => {
  it.effect("switches no other off", () =>
    withSession(
      script(opened(), client("NOOP"), silence),
      (smtp) =>
        Effect.gen(function* () {
          yield* TestClock.adjust("1 hour")
          const error = yield* failsAt(smtp.noop, 7_000)
          expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "noop", limitMillis: 7_000 })
        }),
      { timeouts: { noop: "7 seconds", content: Duration.infinity } }
    )
  )

  it.effect("does so neither for the command behind its own", () =>
    withSession(
      script(
        opened("PIPELINING"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"),
        reply("250 ok", { delay: "1 hour" }),
        silence
      ),
      (smtp) =>
        Effect.gen(function* () {
          const group = smtp.group([SmtpCommand.mail("a@x.test"), SmtpCommand.rcpt("b@y.test")])
          const error = yield* failsAt(group, 3_600_000 + 7_000)
          expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "rcpt", limitMillis: 7_000 })
        }),
      { timeouts: { mail: Duration.infinity, rcpt: "7 seconds" } }
    )
  )
})

describe("rule 28: a limit bounds the whole reply", () => {
  it.effect("by time that passes, whatever becomes of the time of day meanwhile", () =>
    Effect.gen(function* () {
      const timeOfDay = yield* TimeOfDay.make
      const pieces = script(
        opened("PIPELINING"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
        reply("250 ok", { delay: "3 minutes" }),
        reply("250 ok"),
        reply("354 go"),
        expectContent(message),
        reply("250 ok", { delay: "9 minutes" }),
        goodbye
      )
      const sending = withSession(pieces, (smtp) => smtp.deliver(submission))
      const fiber = yield* Effect.fork(Effect.withClock(sending, timeOfDay.clock))
      yield* TestClock.adjust("1 second")
      timeOfDay.shift("1 hour", "forward")
      yield* TestClock.adjust("4 minutes")
      timeOfDay.shift("1 hour", "forward")
      yield* TestClock.adjust("9 minutes")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Accepted 250"])
    })
  )

  it.effect("so that a server that gives an octet a minute does not extend it", () =>
    withSession(
      script(
        opened(),
        client("NOOP"),
        reply("250-a reply", "250-of many lines", "250 that never ends", {
          split: "byteByByte",
          pause: "1 minute"
        })
      ),
      (smtp) =>
        Effect.gen(function* () {
          const error = yield* failsAt(smtp.noop, minutes(5))
          expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "noop" })
        })
    ).pipe(Effect.ignore)
  )

  it.effect("from the reply before it, for each command of a group", () =>
    withSession(
      script(
        opened("PIPELINING"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
        reply("250 ok", { delay: "4 minutes" }),
        reply("250 ok", { delay: "4 minutes" }),
        reply("354 go", { delay: "1 minute" }),
        expectContent(message),
        reply("250 ok", { delay: "9 minutes" }),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(smtp.send(submission))
          yield* TestClock.adjust("18 minutes")
          expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Accepted 250"])
        })
    )
  )

  it.effect("for each recipient of LMTP anew", () =>
    withSession(
      script(
        greeting,
        ask("LHLO client.test", "250-mx.test", "250 PIPELINING"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "RCPT TO:<c@y.test>", "DATA"),
        reply("250 ok"),
        reply("250 ok"),
        reply("250 ok"),
        reply("354 go"),
        expectContent(message),
        reply("250 b", { delay: "9 minutes" }),
        reply("250 c", { delay: "9 minutes" }),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(smtp.send({ ...submission, to: ["b@y.test", "c@y.test"] }))
          yield* TestClock.adjust("18 minutes")
          expect((yield* Fiber.join(fiber)).accepted).toHaveLength(2)
        }),
      { dialect: "lmtp" }
    )
  )

  it.effect("and is not moved by what is written behind its command", () =>
    withSession(
      script(
        opened("PIPELINING"),
        SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"),
        reply("452 busy"),
        reply("503 no sender"),
        SmtpTest.expectGroup("RSET", "MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"),
        silence
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* Effect.flip(smtp.send(submission))
          const later = Effect.delay(Effect.flip(smtp.send(submission)), "4 minutes")
          const fiber = yield* Effect.fork(later)
          yield* TestClock.adjust(Duration.millis(minutes(5) - 1))
          expect(fiber.unsafePoll()).toBeNull()
          yield* TestClock.adjust(Duration.millis(1))
          expect((yield* Fiber.join(fiber))._tag).toBe("ReplyTimeout")
        }),
      { pipelining: "envelope" }
    )
  )
})

const big = octets("x".repeat(65_534) + "\r\n")

describe("rule 28: content", () => {
  it.effect("that the server stops reading ends after three minutes without progress", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<null>()
      const stop = script(SmtpTest.effect(Deferred.succeed(reached, null)), SmtpTest.stopReading)
      const server = yield* SmtpTest.scripted(
        script(opened("8BITMIME"), ask(/^MAIL/, "250 ok"), rcpt, data, stop),
        { capacity: 1_000 }
      )
      const smtp = yield* SmtpSession.make({ host: "mx.test", tls: "none", clientName: "client.test" }).pipe(
        Effect.provide(server.layer)
      )
      const content = Stream.make(big, big, big)
      const asked = Effect.asVoid(Deferred.await(reached))
      const error = yield* failsAt(smtp.send({ ...submission, content }), minutes(3), asked)
      expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "content", limitMillis: minutes(3) })
    }).pipe(Effect.scoped)
  )

  const nothings = Stream.repeatEffect(Effect.as(Effect.sleep("10 seconds"), new Uint8Array(0)))

  it.effect.each([
    ["is silent", Stream.never],
    ["gives arrays without an octet", nothings]
  ] as const)("whose producer stalls, which %s, is given up, and was not sent", ([, stalling]) =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<null>()
      const asked = script(SmtpTest.effect(Deferred.succeed(reached, null)), SmtpTest.silence)
      yield* withSession(script(opened("8BITMIME"), ask(/^MAIL/, "250 ok"), rcpt, data, asked), (smtp) =>
        Effect.gen(function* () {
          const content = Stream.concat(Stream.make(big, big), stalling)
          const sending = smtp.send({ ...submission, content })
          const error = yield* failsAt(sending, minutes(5), Effect.asVoid(Deferred.await(reached)))
          expect(error).toMatchObject({ _tag: "ContentError", reason: "Stalled" })
          expect(yield* smtp.state).toBe("Closed")
        })
      )
    })
  )
})

describe("rule 17: behind a write that failed", () => {
  /** A session whose NOOP cannot be written; `ended` is what becomes of it. */
  const failing = (
    until: SmtpTest.Script,
    ended: (noop: Effect.Effect<unknown, unknown>) => Effect.Effect<void, unknown>
  ) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(script(opened(), until))
      const { breakWrites, transport } = breakable(yield* Layer.build(server.layer))
      const options = { host: "mx.test", tls: "none", clientName: "client.test" } as const
      const smtp = yield* Effect.provide(SmtpSession.make(options), transport)
      yield* breakWrites
      yield* ended(smtp.noop)
      expect(yield* smtp.state).toBe("Closed")
    }).pipe(Effect.scoped)

  it.effect("the server's reason is read for two seconds", () =>
    failing(script(SmtpTest.delay("1999 millis"), reply("421 4.7.0 enough"), SmtpTest.silence), (noop) =>
      Effect.gen(function* () {
        const error = yield* failsAt(noop, 1_999)
        expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "noop", reply: { code: 421 } })
      })
    )
  )

  it.effect("a server that gives none is left after two seconds", () =>
    failing(silence, (noop) =>
      Effect.gen(function* () {
        const error = yield* failsAt(noop, 2_000)
        expect(error).toMatchObject({
          _tag: "ServerDisconnected",
          phase: "noop",
          reply: undefined,
          cause: { _tag: "ConnectionLost", operation: "write" }
        })
      })
    )
  )
})

describe("the time limit of a whole send", () => {
  const limited = { ...submission, timeout: "1 minute" } as const

  /** What the send came to at its limit, and what the hook heard, then and later. */
  const expiring = (pieces: SmtpTest.Script, later: Duration.DurationInput) => {
    const told: Array<Receipt> = []
    return Effect.map(
      withSession(script(pieces), (smtp) =>
        Effect.gen(function* () {
          const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(receipt))
          const error = yield* failsAt(smtp.send({ ...limited, onOutcome }), minutes(1))
          const toldThen = told.length
          yield* TestClock.adjust(later)
          return { error, toldThen, state: yield* smtp.state }
        })
      ),
      (result) => ({ ...result, told: told.flatMap(outcomes) })
    )
  }

  it.effect("runs while the message waits for its turn", () =>
    withSession(script(opened(), client("NOOP"), reply("250 ok", { delay: "2 minutes" }), goodbye), (smtp) =>
      Effect.gen(function* () {
        const noop = yield* Effect.fork(smtp.noop)
        const error = yield* failsAt(smtp.send(limited), minutes(1))
        expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "idle", limitMillis: minutes(1) })
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(noop)
      })
    )
  )

  it.effect("runs while EHLO is unanswered", () =>
    withConnection(script(greeting, silence), (smtp) =>
      Effect.gen(function* () {
        const error = yield* failsAt(smtp.send(limited), minutes(1))
        expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "idle", limitMillis: minutes(1) })
        yield* TestClock.adjust("10 seconds")
        expect(yield* smtp.state).toBe("Closed")
      })
    )
  )

  it.effect("ends in the envelope: nothing was sent, and the session lives when it is answered in time", () =>
    Effect.gen(function* () {
      const { error, state, told } = yield* expiring(
        script(
          opened("PIPELINING"),
          SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
          reply("250 ok"),
          reply("250 ok"),
          reply("451 later", { delay: "65 seconds" }),
          ask("RSET", "250 ok"),
          goodbye
        ),
        "5 seconds"
      )
      expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "data", limitMillis: minutes(1) })
      expect(SmtpError.isSmtpError(error) && SmtpError.isTransient(error)).toBe(true)
      expect(state).toBe("Ready")
      expect(told).toEqual(["b@y.test Refused 451 data"])
    })
  )

  it.effect("ends after the last octet: Unknown, and the truth comes to the hook", () =>
    Effect.gen(function* () {
      const { error, told, toldThen } = yield* expiring(
        script(
          opened(),
          mail,
          rcpt,
          data,
          expectContent(message),
          reply("250 kept", { delay: "9 minutes" }),
          goodbye
        ),
        "8 minutes"
      )
      expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "final", limitMillis: minutes(1) })
      expect(SmtpError.isSmtpError(error) && SmtpError.isTransient(error)).toBe(false)
      expect(toldThen).toBe(0)
      expect(told).toEqual(["b@y.test Accepted 250"])
    })
  )

  const letter = (lines: number) => `Subject: much\r\n\r\n${`${"x".repeat(76)}\r\n`.repeat(lines)}`
  const envelope = ["MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"]

  it.effect("ends while the end of the content waits for a server that reads slowly: Unknown", () =>
    Effect.gen(function* () {
      const content = letter(4_000)
      const told: Array<Receipt> = []
      const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(receipt))
      const error = yield* withSession(
        script(
          opened("PIPELINING"),
          SmtpTest.expectGroup(...envelope, "DATA"),
          reply("250 ok"),
          reply("250 ok"),
          reply("354 go"),
          SmtpTest.delay("2 minutes"),
          expectContent(content),
          reply("250 kept"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const late = yield* failsAt(smtp.send({ ...limited, content, onOutcome }), minutes(1))
            yield* TestClock.adjust("1 minute")
            return late
          })
      )
      expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "final", limitMillis: minutes(1) })
      expect(told.flatMap(outcomes)).toEqual(["b@y.test Accepted 250"])
    })
  )

  it.effect("ends while the last of several eager messages waits for such a server: Unknown", () =>
    Effect.gen(function* () {
      const content = letter(3_200)
      const told: Array<Receipt> = []
      const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(receipt))
      const bdat = (text: string) => `BDAT ${text.length} LAST`
      const chunked = script(
        SmtpTest.expectGroup(...envelope, bdat(content)),
        SmtpTest.expectOctets(content.length),
        reply("250 ok"),
        reply("250 ok"),
        reply("250 kept")
      )
      const receipts = yield* withSession(
        script(
          opened("PIPELINING", "CHUNKING"),
          SmtpTest.expectGroup(...envelope),
          reply("250 ok"),
          reply("250 ok"),
          client("BDAT 1"),
          SmtpTest.expectOctets(1),
          reply("250 ok"),
          client(bdat(message.slice(1))),
          SmtpTest.expectOctets(message.length - 1),
          reply("250 kept"),
          SmtpTest.delay("2 minutes"),
          chunked,
          ask("RSET", "250 ok"),
          chunked,
          ask("RSET", "250 ok"),
          chunked,
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.send(submission)
            const three = Effect.replicateEffect(smtp.deliver({ ...limited, content, onOutcome }), 3, {
              concurrency: "unbounded"
            })
            const fiber = yield* Effect.fork(three)
            yield* TestClock.adjust("1 minute")
            const then = yield* Fiber.join(fiber)
            yield* TestClock.adjust("1 minute")
            return then
          }),
        { chunking: "eager" }
      )
      expect(receipts.flatMap(outcomes)).toEqual(Array(3).fill("b@y.test Unknown ReplyTimeout final"))
      expect(told.flatMap(outcomes)).toEqual(Array(3).fill("b@y.test Accepted 250"))
    })
  )

  it.effect("ends in the middle of content: not sent, and the connection is destroyed", () =>
    withSession(script(opened("8BITMIME"), ask(/^MAIL/, "250 ok"), rcpt, data, SmtpTest.silence), (smtp) =>
      Effect.gen(function* () {
        const content = Stream.concat(Stream.make(big, big), Stream.never)
        const error = yield* failsAt(smtp.send({ ...limited, content }), minutes(1))
        expect(error).toMatchObject({ _tag: "ReplyTimeout", phase: "content", limitMillis: minutes(1) })
        expect(yield* smtp.state).toBe("Closed")
      })
    )
  )

  it.effect("does not deny an acceptance that comes in the very moment of its end", () =>
    Effect.gen(function* () {
      const told: Array<Receipt> = []
      const receipt = yield* withSession(
        script(
          opened(),
          mail,
          rcpt,
          data,
          expectContent(message),
          reply("250 kept", { delay: "1 minute" }),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const onOutcome = (late: Receipt) => Effect.sync(() => told.push(late))
            const fiber = yield* Effect.fork(smtp.deliver({ ...limited, onOutcome }))
            yield* TestClock.adjust("1 minute")
            return yield* Fiber.join(fiber)
          })
      )
      const [outcome] = receipt.outcomes
      expect(["Accepted", "Unknown"]).toContain(outcome._tag)
      if (outcome._tag === "Unknown") expect(told.flatMap(outcomes)).toEqual(["b@y.test Accepted 250"])
    })
  )
})

describe("the end of a session", () => {
  const closingWith = (pieces: SmtpTest.Script, use: Use) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(pieces)
      const scope = yield* Scope.make()
      const smtp = yield* SmtpSession.make({ host: "mx.test", tls: "none", clientName: "client.test" }).pipe(
        Effect.provide(server.layer),
        Scope.extend(scope)
      )
      yield* use(smtp)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust(Duration.millis(4_999))
      expect(closing.unsafePoll()).toBeNull()
      yield* TestClock.adjust(Duration.millis(1))
      yield* Fiber.join(closing)
      yield* server.done
    }).pipe(Effect.scoped)

  it.effect("waits five seconds for the reply to QUIT, and no longer", () =>
    closingWith(script(opened(), client("QUIT"), silence), () => Effect.void)
  )

  it.effect("waits five seconds for its turn to say QUIT, and no longer", () =>
    closingWith(script(opened(), client("NOOP"), silence), (smtp) =>
      Effect.zipRight(Effect.forkDaemon(smtp.noop), TestClock.adjust("1 milli"))
    )
  )
})
