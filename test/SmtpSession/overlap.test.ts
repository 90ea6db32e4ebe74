import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import type { Receipt } from "../../src/SmtpReceipt.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ask, ehlo, goodbye, octets, opened, outcomes, silentEnd, withSession } from "./oneSession.js"
import { alone, deliverAll, group, letter, replies, resetGroup, textOf, writes } from "./severalAtOnce.js"

const overlap: SmtpSession.Options = { pipelining: "overlap" }

const accepted = (...words: ReadonlyArray<string>) => words.map((word) => `${word}@y.test Accepted 250`)

const content = (word: string) => SmtpTest.expectContent(textOf(word))

describe("overlap: the content of a message and the next envelope (RFC 2920 section 3.1)", () => {
  const script = SmtpTest.script(
    opened("PIPELINING"),
    alone("one"),
    group("two"),
    replies("250 ok", "250 ok", "354 go"),
    content("two"),
    resetGroup("three"),
    replies("250 two", "250 reset", "250 ok", "250 ok", "354 go"),
    content("three"),
    SmtpTest.reply("250 three"),
    goodbye
  )

  it.effect("leave in one write, from the second message of a session on", () =>
    withSession(
      script,
      (smtp, server) =>
        Effect.gen(function* () {
          const lines = yield* deliverAll(smtp, ["one", "two", "three"].map(letter))
          expect(lines).toEqual(accepted("one", "two", "three"))
          const [together] = (yield* writes(server)).filter((text) => text.includes("RSET"))
          expect(together).toBe(
            `${textOf("two")}.\r\nRSET\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<three@y.test>\r\nDATA\r\n`
          )
        }),
      overlap
    )
  )

  it.effect(
    "leave in one write however long the content is: no more than one message waits for its verdict",
    () =>
      withSession(
        script,
        (smtp, server) =>
          Effect.gen(function* () {
            const lines = yield* deliverAll(smtp, ["one", "two", "three"].map(letter))
            expect(lines).toEqual(accepted("one", "two", "three"))
            expect((yield* writes(server)).filter((text) => /\.\r\nRSET/.test(text))).toHaveLength(1)
          }),
        { ...overlap, advanced: { window: { octets: 1 } } }
      )
  )

  it.effect("leave in one write when the first of them is a stream", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      yield* withSession(
        SmtpTest.script(
          opened("PIPELINING"),
          alone("one"),
          group("two"),
          SmtpTest.effect(Deferred.succeed(gate, undefined)),
          SmtpTest.delay("1 second"),
          replies("250 ok", "250 ok", "354 go"),
          content("two"),
          resetGroup("three"),
          replies("250 two", "250 reset", "250 ok", "250 ok", "354 go"),
          content("three"),
          SmtpTest.reply("250 three"),
          goodbye
        ),
        (smtp, server) =>
          Effect.gen(function* () {
            yield* smtp.deliver(letter("one"))
            const streamed = SmtpContent.replayable(Stream.make(octets(textOf("two"))), { content7bit: true })
            const two = yield* Effect.fork(smtp.deliver({ ...letter("two"), content: streamed }))
            yield* Deferred.await(gate)
            const three = yield* Effect.fork(smtp.deliver(letter("three")))
            yield* TestClock.adjust("1 second")
            const receipts = [yield* Fiber.join(two), yield* Fiber.join(three)]
            expect(receipts.flatMap(outcomes)).toEqual(accepted("two", "three"))
            expect((yield* writes(server)).some((text) => text.includes(".\r\nRSET\r\nMAIL"))).toBe(true)
          }),
        overlap
      )
    })
  )

  it.effect("go without RSET between them if the program says so", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        alone("one"),
        group("two"),
        replies("250 ok", "250 ok", "354 go"),
        content("two"),
        group("three"),
        replies("550 not two", "250 ok", "250 ok", "354 go"),
        content("three"),
        SmtpTest.reply("250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          expect(yield* deliverAll(smtp, ["one", "two", "three"].map(letter))).toEqual([
            "one@y.test Accepted 250",
            "two@y.test Refused 550 final",
            "three@y.test Accepted 250"
          ])
        }),
      { ...overlap, advanced: { resetBetween: false } }
    )
  )

  it.effect("leave recipients that were too many refused if EHLO was said again meanwhile", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        alone("one"),
        SmtpTest.expectGroup(
          "MAIL FROM:<a@x.test>",
          "RCPT TO:<two@y.test>",
          "RCPT TO:<three@y.test>",
          "DATA"
        ),
        replies("250 ok", "250 ok", "452 4.5.3 too many", "354 go"),
        content("two"),
        SmtpTest.reply("250 two"),
        ehlo("PIPELINING"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.deliver(letter("one"))
          const to = ["two@y.test", "three@y.test"]
          const sending = yield* Effect.fork(smtp.deliver({ ...letter("two"), to }))
          yield* Effect.yieldNow()
          yield* smtp.ehlo
          expect(outcomes(yield* Fiber.join(sending))).toEqual([
            "two@y.test Accepted 250",
            "three@y.test Refused 452 rcpt"
          ])
        }),
      overlap
    )
  )

  const lockStep = (name: string, own: SmtpSession.Options, ...capabilities: ReadonlyArray<string>) =>
    it.effect(`wait for each other ${name}`, () =>
      withSession(
        SmtpTest.script(opened(...capabilities), alone("one"), alone("two"), alone("three"), goodbye),
        (smtp) =>
          Effect.map(deliverAll(smtp, ["one", "two", "three"].map(letter)), (lines) => {
            expect(lines).toEqual(accepted("one", "two", "three"))
          }),
        own
      )
    )
  lockStep(
    "with a window of one message",
    { ...overlap, advanced: { window: { messages: 1 } } },
    "PIPELINING"
  )
  lockStep("where the option says no more than data", { pipelining: "data" }, "PIPELINING")

  it.effect("wait for each other in LMTP (RFC 2033 section 4.2)", () =>
    withSession(
      SmtpTest.script(
        SmtpTest.reply("220 mx.test LMTP"),
        ask("LHLO client.test", "250-mx.test", "250 PIPELINING"),
        alone("one"),
        alone("two"),
        alone("three"),
        goodbye
      ),
      (smtp) =>
        Effect.map(deliverAll(smtp, ["one", "two", "three"].map(letter)), (lines) => {
          expect(lines).toEqual(accepted("one", "two", "three"))
        }),
      { ...overlap, dialect: "lmtp" }
    )
  )

  it.effect("wait for each other without PIPELINING", () =>
    withSession(
      SmtpTest.script(
        opened(),
        ...["one", "two"].flatMap((word) => [
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask(`RCPT TO:<${word}@y.test>`, "250 ok"),
          ask("DATA", "354 go"),
          content(word),
          SmtpTest.reply("250 ok")
        ]),
        goodbye
      ),
      (smtp) =>
        Effect.map(deliverAll(smtp, ["one", "two"].map(letter)), (lines) => {
          expect(lines).toEqual(accepted("one", "two"))
        }),
      overlap
    )
  )

  it.effect("let a command have its turn, which waits for all replies, and then go on without RSET", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        alone("one"),
        group("two"),
        replies("250 ok", "250 ok", "354 go"),
        content("two"),
        SmtpTest.expectNothing("1 second"),
        SmtpTest.reply("250 two"),
        ask("NOOP", "250 ok"),
        alone("three"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.deliver(letter("one"))
          const fibers = yield* Effect.all([
            Effect.fork(smtp.deliver(letter("two"))),
            Effect.fork(smtp.noop),
            Effect.fork(smtp.deliver(letter("three")))
          ])
          yield* TestClock.adjust("1 second")
          expect(outcomes(yield* Fiber.join(fibers[0]))).toEqual(accepted("two"))
          expect(outcomes(yield* Fiber.join(fibers[2]))).toEqual(accepted("three"))
        }),
      overlap
    )
  )

  it.effect("are each other's neighbours and no more: a refused recipient, and a refused content", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING"),
        alone("one"),
        group("two"),
        replies("250 ok", "250 ok", "354 go"),
        content("two"),
        resetGroup("three"),
        replies("554 not two", "250 reset", "250 ok", "550 not three", "554 nobody"),
        SmtpTest.expect("RSET"),
        group("four"),
        replies("250 reset", "250 ok", "250 ok", "354 go"),
        content("four"),
        SmtpTest.reply("250 four"),
        goodbye
      ),
      (smtp) =>
        Effect.map(deliverAll(smtp, ["one", "two", "three", "four"].map(letter)), (lines) => {
          expect(lines).toEqual([
            "one@y.test Accepted 250",
            "two@y.test Refused 554 final",
            "three@y.test Refused 550 rcpt",
            "four@y.test Accepted 250"
          ])
        }),
      overlap
    )
  )
})

describe("overlap and the server's limits", () => {
  it.effect("never writes a MAIL beyond MAILMAX (RFC 9422 section 4)", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING", "LIMITS MAILMAX=3"),
        alone("one"),
        group("two"),
        replies("250 ok", "250 ok", "354 go"),
        content("two"),
        resetGroup("three"),
        replies("250 two", "250 reset", "250 ok", "250 ok", "354 go"),
        content("three"),
        SmtpTest.reply("250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.map(deliverAll(smtp, ["one", "two", "three", "four", "five"].map(letter)), (lines) => {
          expect(lines).toEqual([
            ...accepted("one", "two", "three"),
            "four@y.test NotSent NotSupported",
            "five@y.test NotSent NotSupported"
          ])
        }),
      overlap
    )
  )

  const both = { ...letter("two"), to: ["b@y.test", "c@y.test"] }

  const toOne = (recipient: string) =>
    SmtpTest.expectGroup("MAIL FROM:<a@x.test>", `RCPT TO:<${recipient}>`, "DATA")

  it.effect("lets nobody in between the transactions that RCPTMAX asks for", () =>
    withSession(
      SmtpTest.script(
        opened("PIPELINING", "LIMITS RCPTMAX=1"),
        alone("one"),
        toOne("b@y.test"),
        replies("250 ok", "250 ok", "354 go"),
        content("two"),
        SmtpTest.reply("250 two"),
        toOne("c@y.test"),
        replies("250 ok", "250 ok", "354 go"),
        content("two"),
        resetGroup("three"),
        replies("250 two", "250 reset", "250 ok", "250 ok", "354 go"),
        content("three"),
        SmtpTest.reply("250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.map(deliverAll(smtp, [letter("one"), both, letter("three")]), (lines) => {
          expect(lines).toEqual(accepted("one", "b", "c", "three"))
        }),
      overlap
    )
  )

  const twoTooMany = SmtpTest.script(
    opened("PIPELINING"),
    alone("one"),
    SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "RCPT TO:<c@y.test>", "DATA"),
    replies("250 ok", "250 ok", "452 4.5.3 too many", "354 go"),
    content("two")
  )

  it.effect("sends to those who were too many behind whoever has come next", () =>
    withSession(
      SmtpTest.script(
        twoTooMany,
        resetGroup("three"),
        replies("250 two", "250 reset", "250 ok", "250 ok", "354 go"),
        content("three"),
        SmtpTest.expect("RSET"),
        toOne("c@y.test"),
        replies("250 three", "250 reset", "250 ok", "250 ok", "354 go"),
        content("two"),
        SmtpTest.reply("250 two"),
        goodbye
      ),
      (smtp) =>
        Effect.map(deliverAll(smtp, [letter("one"), both, letter("three")]), (lines) => {
          expect(lines).toEqual(accepted("one", "b", "c", "three"))
        }),
      overlap
    )
  )

  it.effect("lets their refusal stand if the program has begun a transaction of its own in between", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      yield* withSession(
        SmtpTest.script(
          twoTooMany,
          SmtpTest.effect(Deferred.succeed(gate, undefined)),
          SmtpTest.expectNothing("1 second"),
          SmtpTest.reply("250 two"),
          ask("MAIL FROM:<hand@x.test>", "250 ok"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.deliver(letter("one"))
            const two = yield* Effect.fork(smtp.deliver(both))
            yield* Deferred.await(gate)
            const byHand = yield* Effect.fork(Effect.zipRight(smtp.mail("hand@x.test"), Effect.never))
            yield* TestClock.adjust("1 second")
            expect(outcomes(yield* Fiber.join(two))).toEqual([
              "b@y.test Accepted 250",
              "c@y.test Refused 452 rcpt"
            ])
            yield* Fiber.interrupt(byHand)
            yield* smtp.rset
          }),
        overlap
      )
    })
  )
})

/** The second message is complete and without a verdict, the group of the third is on the wire. */
const twoAtOnce = SmtpTest.script(
  opened("PIPELINING"),
  alone("one"),
  group("two"),
  replies("250 ok", "250 ok", "354 go"),
  content("two"),
  resetGroup("three")
)

describe("overlap and the end of a session", () => {
  const leaving = {
    "421": SmtpTest.script(SmtpTest.reply("421 4.3.2 bye"), SmtpTest.close),
    "the end of the stream": SmtpTest.close,
    "a reset": SmtpTest.reset
  } as const

  const answers = ["250 two", "250 reset", "250 ok", "250 ok", "354 go"]

  const told: Readonly<Record<keyof typeof leaving, ReadonlyArray<readonly [string, string]>>> = {
    "421": [
      ["Refused 421 final", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected rcpt"],
      ["Accepted 250", "NotSent ServerDisconnected data"]
    ],
    "the end of the stream": [
      ["Unknown ServerDisconnected final", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected rcpt"],
      ["Accepted 250", "NotSent ServerDisconnected data"]
    ],
    "a reset": [
      ["Unknown ServerDisconnected final", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected mail"],
      ["Accepted 250", "NotSent ServerDisconnected rcpt"],
      ["Accepted 250", "NotSent ServerDisconnected data"]
    ]
  }

  for (const how of ["421", "the end of the stream", "a reset"] as const) {
    for (const [index, [two, three]] of told[how].entries()) {
      it.effect(`by ${how} in place of reply ${index + 1}: each message has its own outcome`, () =>
        withSession(
          SmtpTest.script(twoAtOnce, replies(...answers.slice(0, index)), leaving[how]),
          (smtp) =>
            Effect.gen(function* () {
              const lines = yield* deliverAll(smtp, ["one", "two", "three", "four"].map(letter))
              expect(lines).toEqual([
                "one@y.test Accepted 250",
                `two@y.test ${two}`,
                `three@y.test ${three}`,
                "four@y.test NotSent ServerDisconnected idle"
              ])
            }),
          overlap
        )
      )
    }
  }

  it.effect("by a refused RSET leaves nothing to be written: the envelope may still stand", () =>
    withSession(
      SmtpTest.script(twoAtOnce, replies("250 two", "451 not now"), silentEnd),
      (smtp) =>
        Effect.gen(function* () {
          expect(yield* deliverAll(smtp, ["one", "two", "three"].map(letter))).toEqual([
            "one@y.test Accepted 250",
            "two@y.test Accepted 250",
            "three@y.test NotSent ProtocolError mail"
          ])
          expect(yield* smtp.state).toBe("Closed")
        }),
      overlap
    )
  )
})

describe("overlap and time", () => {
  it.effect("runs the limit of the head alone, from the reply before", () =>
    withSession(
      SmtpTest.script(
        twoAtOnce,
        SmtpTest.reply("250 two", { delay: "9 minutes" }),
        SmtpTest.reply("250 reset", { delay: "4 minutes" }),
        SmtpTest.reply("250 ok", { delay: "4 minutes" }),
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("354 go"),
        content("three"),
        SmtpTest.reply("250 three"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const all = yield* Effect.fork(deliverAll(smtp, ["one", "two", "three"].map(letter)))
          yield* TestClock.adjust("17 minutes")
          expect(yield* Fiber.join(all)).toEqual(accepted("one", "two", "three"))
        }),
      overlap
    )
  )

  it.effect("gives up when the verdict does not come: unknown, and the next not sent", () =>
    withSession(
      SmtpTest.script(twoAtOnce, silentEnd),
      (smtp) =>
        Effect.gen(function* () {
          const sends = ["one", "two", "three"].map((name) => smtp.deliver(letter(name)))
          const all = yield* Effect.fork(Effect.all(sends, { concurrency: "unbounded" }))
          yield* TestClock.adjust(Duration.millis(599_999))
          expect(yield* Fiber.poll(all)).toEqual(Option.none())
          yield* TestClock.adjust(Duration.millis(1))
          const receipts = yield* Fiber.join(all)
          const [, own, foreign] = receipts.flatMap((receipt) => [...receipt.outcomes])
          expect(own).not.toHaveProperty("cause.limitPhase")
          expect(foreign).toMatchObject({ cause: { limitMillis: 600_000, limitPhase: "final" } })
          expect(receipts.flatMap(outcomes)).toEqual([
            "one@y.test Accepted 250",
            "two@y.test Unknown ReplyTimeout final",
            "three@y.test NotSent ReplyTimeout mail"
          ])
        }),
      overlap
    )
  )
})

describe("overlap and interruption (rules 18 and 19)", () => {
  /** Interrupts the third as soon as its group is on the wire, while the second waits for its verdict. */
  const interrupted = (
    rest: SmtpTest.Script,
    use: (
      smtp: SmtpSession.Service,
      two: Fiber.Fiber<Receipt, unknown>,
      told: ReadonlyArray<Receipt>
    ) => Effect.Effect<void, unknown>
  ) =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      const told: Array<Receipt> = []
      yield* withSession(
        SmtpTest.script(twoAtOnce, SmtpTest.effect(Deferred.succeed(gate, undefined)), rest),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.deliver(letter("one"))
            const two = yield* Effect.fork(smtp.deliver(letter("two")))
            const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(receipt))
            const three = yield* Effect.fork(smtp.deliver({ ...letter("three"), onOutcome }))
            yield* Deferred.await(gate)
            yield* Fiber.interrupt(three)
            yield* use(smtp, two, told)
          }),
        overlap
      )
    })

  it.effect("leave an earlier message its slow verdict, and the session whole if DATA is refused", () =>
    interrupted(
      SmtpTest.script(
        SmtpTest.reply("250 two", { delay: "9 minutes" }),
        replies("250 reset", "250 ok", "250 ok", "451 later"),
        SmtpTest.expect("RSET"),
        group("four"),
        replies("250 ok", "250 ok", "250 ok", "354 go"),
        content("four"),
        SmtpTest.reply("250 four"),
        goodbye
      ),
      (smtp, two, told) =>
        Effect.gen(function* () {
          const four = yield* Effect.fork(smtp.deliver(letter("four")))
          yield* TestClock.adjust("9 minutes")
          expect(outcomes(yield* Fiber.join(two))).toEqual(accepted("two"))
          expect(outcomes(yield* Fiber.join(four))).toEqual(accepted("four"))
          expect(told.map(outcomes)).toEqual([["three@y.test Refused 451 data"]])
        })
    )
  )

  it.effect("destroy the session at 354, once the earlier message has its verdict", () =>
    interrupted(
      SmtpTest.script(
        SmtpTest.reply("250 two", { delay: "9 minutes" }),
        replies("250 reset", "250 ok", "250 ok", "354 go"),
        silentEnd
      ),
      (smtp, two, told) =>
        Effect.gen(function* () {
          yield* TestClock.adjust("9 minutes")
          expect(outcomes(yield* Fiber.join(two))).toEqual(accepted("two"))
          expect(yield* smtp.state).toBe("Closed")
          expect(told.map(outcomes)).toEqual([["three@y.test NotSent ServerDisconnected content"]])
        })
    )
  )

  it.effect("give the interrupted message ten seconds from the verdict of the earlier one on", () =>
    interrupted(
      SmtpTest.script(
        SmtpTest.reply("250 two", { delay: "9 minutes" }),
        SmtpTest.reply("250 reset"),
        silentEnd
      ),
      (smtp, two, told) =>
        Effect.gen(function* () {
          yield* TestClock.adjust("9 minutes")
          expect(outcomes(yield* Fiber.join(two))).toEqual(accepted("two"))
          yield* TestClock.adjust(Duration.millis(9_999))
          expect(yield* smtp.state).not.toBe("Closed")
          yield* TestClock.adjust(Duration.millis(1))
          expect(yield* smtp.state).toBe("Closed")
          expect(told.map(outcomes)).toEqual([["three@y.test NotSent ServerDisconnected mail"]])
        })
    )
  )

  it.effect("of the complete message tell its verdict to the hook, once, and leave the next one alone", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      const told: Array<Receipt> = []
      yield* withSession(
        SmtpTest.script(
          twoAtOnce,
          SmtpTest.effect(Deferred.succeed(gate, undefined)),
          SmtpTest.delay("1 minute"),
          replies("250 two", "250 reset", "250 ok", "250 ok", "354 go"),
          content("three"),
          SmtpTest.reply("250 three"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.deliver(letter("one"))
            const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(receipt))
            const two = yield* Effect.fork(smtp.deliver({ ...letter("two"), onOutcome }))
            const three = yield* Effect.fork(smtp.deliver(letter("three")))
            yield* Deferred.await(gate)
            yield* Fiber.interrupt(two)
            expect(told).toEqual([])
            yield* TestClock.adjust("1 minute")
            expect(outcomes(yield* Fiber.join(three))).toEqual(accepted("three"))
            expect(told.map(outcomes)).toEqual([accepted("two")])
          }),
        overlap
      )
    })
  )
})

describe("overlap and content that does not come to its end", () => {
  const block = octets("x".repeat(65_534) + "\r\n")

  it.effect("destroys the session, after the verdict on the message before and before the one behind", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      yield* withSession(
        SmtpTest.script(
          twoAtOnce,
          SmtpTest.effect(Deferred.succeed(gate, undefined)),
          SmtpTest.delay("1 second"),
          replies("250 two", "250 reset", "250 ok", "250 ok", "354 go"),
          SmtpTest.expectOctets(65_536),
          silentEnd
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.deliver(letter("one"))
            const failing = SmtpContent.replayable(
              Stream.concat(Stream.make(block, block), Stream.fail("no paper")),
              { content7bit: true }
            )
            const two = yield* Effect.fork(smtp.deliver(letter("two")))
            const three = yield* Effect.fork(
              Effect.flip(smtp.deliver({ ...letter("three"), content: failing }))
            )
            yield* Deferred.await(gate)
            const four = yield* Effect.fork(smtp.deliver(letter("four")))
            yield* TestClock.adjust("1 second")
            expect(yield* Fiber.join(three)).toBe("no paper")
            expect(outcomes(yield* Fiber.join(two))).toEqual(accepted("two"))
            expect(outcomes(yield* Fiber.join(four))).toEqual(["four@y.test NotSent ServerDisconnected idle"])
          }),
        overlap
      )
    })
  )
})

describe("endpoints that hang up on too many commands", () => {
  const words = ["one", "two", "three"]
  const lockStep = SmtpTest.script(opened("PIPELINING"), ...words.map(alone), goodbye)

  const hangsUp = (name: string, farewell: SmtpTest.Script, three: string) =>
    it.effect(`are remembered, and sent one message after the other: ${name}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* SmtpTest.scripted([
            SmtpTest.script(twoAtOnce, SmtpTest.reply("250 two"), farewell),
            lockStep
          ])
          const session = Effect.flatMap(
            SmtpSession.make({ host: "mx.test", tls: "none", clientName: "client.test", ...overlap }),
            (smtp) => deliverAll(smtp, words.map(letter))
          )
          const transport = yield* Layer.build(Layer.merge(server.layer, CapabilityCache.layerMemory))
          const both = Effect.all([Effect.scoped(session), Effect.scoped(session)])
          const [first, second] = yield* server.verify(Effect.provide(both, transport))
          expect(first).toEqual([...accepted("one", "two"), `three@y.test ${three}`])
          expect(second).toEqual(accepted(...words))
        })
      )
    )
  const notSent = "NotSent ServerDisconnected mail"
  hangsUp(
    "421",
    SmtpTest.script(SmtpTest.reply("421 4.7.0 mx.test Error: too many errors"), SmtpTest.close),
    notSent
  )
  hangsUp(
    "554 and the end",
    SmtpTest.script(SmtpTest.reply("554 Too many nonmail commands"), SmtpTest.close),
    notSent
  )
  hangsUp(
    "554 and more, as if it had read on",
    replies("554 Too many nonmail commands", "250 ok"),
    "NotSent ProtocolError rcpt"
  )
})
