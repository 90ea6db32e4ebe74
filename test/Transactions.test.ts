import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as SmtpContent from "../src/SmtpContent.js"
import * as SmtpError from "../src/SmtpError.js"
import type { Receipt } from "../src/SmtpReceipt.js"
import type * as SmtpSession from "../src/SmtpSession.js"
import type { Submission } from "../src/SmtpSubmission.js"
import * as SmtpTest from "../src/SmtpTest.js"
import {
  ask,
  content,
  goodbye,
  message,
  octets,
  opened,
  outcomes,
  silentEnd,
  submission,
  withSession
} from "./SmtpSession/oneSession.js"
import { replies } from "./SmtpSession/severalAtOnce.js"

const { expect: client, expectContent, expectEnd, expectGroup, reply, script } = SmtpTest

const envelope = ["MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"] as const

const group = expectGroup(...envelope, "DATA")

const several = { ...submission, to: ["b@y.test", "c@y.test"] } as const

const groupOfTwo = expectGroup(...envelope, "RCPT TO:<c@y.test>", "DATA")

const pipelined = opened("PIPELINING")

/** Three blocks: the last of them only ends the message once the stream has. */
const block = octets("x".repeat(65_534) + "\r\n")

const failureOf = (smtp: SmtpSession.Service) => Effect.flip(smtp.send(submission))

/** Delivers over the script, and tells the outcomes and whether the session lives. */
const delivering = (
  pieces: SmtpTest.Script,
  own: Partial<Submission> = {},
  options: SmtpSession.Options = {}
) =>
  withSession(
    pieces,
    (smtp) =>
      Effect.gen(function* () {
        const receipt = yield* smtp.deliver({ ...submission, ...own })
        return { told: outcomes(receipt), state: yield* smtp.state, receipt }
      }),
    options
  )

describe("rule 1: a transaction holds its turn from MAIL to its last octet", () => {
  it.effect("so that the commands of other fibers come before it or behind it", () =>
    withSession(
      script(
        pipelined,
        group,
        replies("250 ok", "250 ok", "354 go"),
        content(message, "250 first"),
        ask("NOOP", "250 ok"),
        group,
        replies("250 ok", "250 ok", "354 go"),
        content(message, "250 second"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const [first, , second] = yield* Effect.all(
            [smtp.send(submission), smtp.noop, smtp.send(submission)],
            { concurrency: "unbounded" }
          )
          expect([first, second].map((receipt) => receipt.accepted[0]?.reply.text)).toEqual([
            "first",
            "second"
          ])
        })
    )
  )
})

describe("rule 4: an envelope that may not be the one meant gets no content", () => {
  it.effect("after RSET that was refused", () =>
    withSession(
      script(
        pipelined,
        group,
        replies("250 ok", "250 ok", "452 full"),
        expectGroup("RSET", ...envelope, "DATA"),
        replies("554 no", "250 ok", "250 ok", "354 go"),
        silentEnd
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* failureOf(smtp)
          const error = yield* failureOf(smtp)
          expect(error._tag).toBe("ProtocolError")
          expect(yield* smtp.state).toBe("Closed")
        })
    )
  )
})

describe("rule 7: not an octet before its time", () => {
  it.effect("not after DATA before its reply, whatever waits", () =>
    withSession(
      script(
        pipelined,
        group,
        replies("250 ok", "250 ok"),
        SmtpTest.expectNothing("1 minute"),
        reply("354 go"),
        content(message, "250 ok"),
        ask("NOOP", "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const both = yield* Effect.fork(
            Effect.all([smtp.send(submission), smtp.noop], { concurrency: "unbounded" })
          )
          yield* TestClock.adjust("1 minute")
          yield* Fiber.join(both)
        })
    )
  )
})

describe("rule 11: too many recipients for one transaction", () => {
  it.effect("get none where nobody was accepted before", () =>
    Effect.gen(function* () {
      const { told } = yield* delivering(
        script(
          pipelined,
          groupOfTwo,
          replies("250 ok", "452 4.5.3 too many", "452 4.5.3 too many", "554 nobody"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        several
      )
      expect(told).toEqual(["b@y.test Refused 452 rcpt", "c@y.test Refused 452 rcpt"])
    })
  )

  it.effect("keep the acceptance of the first when the second is lost", () =>
    withSession(
      script(
        pipelined,
        groupOfTwo,
        replies("250 ok", "250 ok", "452 too many", "354 go"),
        content(message, "250 ok"),
        client("MAIL FROM:<a@x.test>"),
        SmtpTest.reset
      ),
      (smtp) =>
        Effect.gen(function* () {
          const receipt = yield* smtp.send(several)
          expect(outcomes(receipt)).toEqual([
            "b@y.test Accepted 250",
            "c@y.test NotSent ServerDisconnected mail"
          ])
        })
    )
  )
})

describe("rules 14 to 17: the end of the connection, at each phase and in each way", () => {
  const ways: Readonly<Record<string, SmtpTest.Script>> = {
    "end of stream": SmtpTest.close,
    reset: SmtpTest.reset,
    "half-close": script(SmtpTest.halfClose, SmtpTest.silence)
  }

  const phases: Readonly<Record<string, { readonly until: SmtpTest.Script; readonly outcome: string }>> = {
    mail: { until: script(opened(), client(envelope[0])), outcome: "NotSent ServerDisconnected mail" },
    rcpt: {
      until: script(opened(), ask(envelope[0], "250 ok"), client(envelope[1])),
      outcome: "NotSent ServerDisconnected rcpt"
    },
    data: {
      until: script(opened(), ask(envelope[0], "250 ok"), ask(envelope[1], "250 ok"), client("DATA")),
      outcome: "NotSent ServerDisconnected data"
    },
    "the final reply": {
      until: script(pipelined, group, replies("250 ok", "250 ok", "354 go"), expectContent(message)),
      outcome: "Unknown ServerDisconnected final"
    }
  }

  for (const [way, end] of Object.entries(ways)) {
    for (const [phase, { outcome, until }] of Object.entries(phases)) {
      it.effect(`${way} where ${phase} is due`, () =>
        withSession(script(until, end), (smtp) =>
          Effect.gen(function* () {
            const receipt = yield* smtp.deliver(submission)
            expect(outcomes(receipt)).toEqual([`b@y.test ${outcome}`])
            const [doubtful] = receipt.unknown
            const [missing] = receipt.notSent
            const cause = doubtful?.cause ?? missing?.cause
            expect(cause === undefined ? undefined : SmtpError.delivery(cause)).toBe(receipt.outcomes[0]._tag)
            expect(cause === undefined ? undefined : SmtpError.isTransient(cause)).toBe(
              doubtful === undefined
            )
            expect(yield* smtp.state).toBe("Closed")
          })
        )
      )
    }

    it.effect(`${way} in the middle of content`, () =>
      withSession(
        script(
          opened("PIPELINING", "8BITMIME"),
          expectGroup(`${envelope[0]} BODY=8BITMIME`, envelope[1], "DATA"),
          replies("250 ok", "250 ok", "354 go"),
          SmtpTest.expectOctets(65_536),
          end
        ),
        (smtp) =>
          Effect.gen(function* () {
            const endless = Stream.concat(Stream.make(block, block), Stream.never)
            const receipt = yield* smtp.deliver({ ...submission, content: endless })
            expect(outcomes(receipt)).toEqual(["b@y.test NotSent ServerDisconnected content"])
            expect(yield* smtp.state).toBe("Closed")
          })
      )
    )
  }

  it.effect("a refusal that was read before the loss wins over it", () =>
    Effect.gen(function* () {
      const { told } = yield* delivering(
        script(pipelined, groupOfTwo, replies("250 ok", "550 no"), SmtpTest.reset),
        several
      )
      expect(told).toEqual(["b@y.test Refused 550 rcpt", "c@y.test NotSent ServerDisconnected rcpt"])
    })
  )
})

describe("rule 16: the server says goodbye", () => {
  const goodbyes = ["421 4.3.2 shutting down", "451 4.3.0 timeout", "554 5.3.0 go away"] as const

  for (const line of goodbyes) {
    it.effect(`${line.slice(0, 3)} while the session is idle is what the next command hears`, () =>
      withSession(
        script(opened(), ask("NOOP", "250 ok"), SmtpTest.inject(`${line}\r\n`), SmtpTest.close),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.noop
            yield* smtp.awaitClosed
            const error = yield* failureOf(smtp)
            expect(error).toMatchObject({
              _tag: "ServerDisconnected",
              reply: { code: Number(line.slice(0, 3)) }
            })
            expect(yield* smtp.state).toBe("Closed")
          })
      )
    )
  }

  it.effect("421 in place of the final reply refuses the message for now", () =>
    Effect.gen(function* () {
      const { receipt, told } = yield* delivering(
        script(
          pipelined,
          group,
          replies("250 ok", "250 ok", "354 go"),
          content(message, "421 bye"),
          SmtpTest.close
        )
      )
      expect(told).toEqual(["b@y.test Refused 421 final"])
      expect(receipt.refused[0]?.permanent).toBe(false)
    })
  )
})

describe("rule 17: what was said before the connection was lost is heard", () => {
  it.effect("421, though the write failed first", () =>
    Effect.gen(function* () {
      const stop = script(pipelined, reply("421 4.7.0 too many connections"), SmtpTest.reset)
      const error = yield* withSession(stop, failureOf)
      expect(error).toMatchObject({ _tag: "ServerDisconnected", reply: { code: 421 } })
    })
  )

  it.effect("552 in the middle of content, though the write failed first", () =>
    Effect.gen(function* () {
      const { told } = yield* delivering(
        script(
          opened("PIPELINING", "8BITMIME"),
          expectGroup(`${envelope[0]} BODY=8BITMIME`, envelope[1], "DATA"),
          replies("250 ok", "250 ok", "354 go"),
          SmtpTest.expectOctets(65_536),
          reply("552 5.3.4 too much"),
          SmtpTest.reset
        ),
        { content: SmtpContent.once(Stream.repeatValue(block).pipe(Stream.take(50))) }
      )
      expect(told).toEqual(["b@y.test Refused 552 content"])
    })
  )
})

describe("rule 20: replies in the middle of content", () => {
  const begun = script(
    opened("PIPELINING", "8BITMIME"),
    expectGroup(`${envelope[0]} BODY=8BITMIME`, envelope[1], "DATA"),
    replies("250 ok", "250 ok", "354 go"),
    SmtpTest.expectOctets(65_536)
  )
  const endless = { content: Stream.concat(Stream.make(block, block), Stream.never) }

  it.effect("a refusal ends it: Refused, and the connection is destroyed", () =>
    Effect.gen(function* () {
      const { state, told } = yield* delivering(
        script(begun, reply("552 5.3.4 too much"), expectEnd),
        endless
      )
      expect(told).toEqual(["b@y.test Refused 552 content"])
      expect(state).toBe("Closed")
    })
  )

  it.effect("a 2yz makes it Unknown", () =>
    Effect.gen(function* () {
      const { state, told } = yield* delivering(script(begun, reply("250 ok"), expectEnd), endless)
      expect(told).toEqual(["b@y.test Unknown ProtocolError content"])
      expect(state).toBe("Closed")
    })
  )

  it.effect("what is no reply leaves it NotSent", () =>
    Effect.gen(function* () {
      const { told } = yield* delivering(script(begun, reply("what?"), expectEnd), endless)
      expect(told).toEqual(["b@y.test NotSent ProtocolError content"])
    })
  )

  it.effect("a verdict that came with the 354 is none: not one octet of the content had left", () =>
    Effect.gen(function* () {
      const all = "250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 queued as 123ABC456\r\n"
      const { state, told } = yield* delivering(script(pipelined, group, SmtpTest.inject(all), silentEnd))
      expect(told).toEqual(["b@y.test Unknown ProtocolError content"])
      expect(state).toBe("Closed")
    })
  )

  it.effect("a refusal that came with the 354 refuses it, and ends the session", () =>
    Effect.gen(function* () {
      const all = "250 ok\r\n250 ok\r\n354 go\r\n554 5.6.0 no\r\n"
      const { state, told } = yield* delivering(script(pipelined, group, SmtpTest.inject(all), silentEnd))
      expect(told).toEqual(["b@y.test Refused 554 content"])
      expect(state).toBe("Closed")
    })
  )

  it.effect.each(["off", "envelope"] as const)(
    "a reply that was there before its command answers nothing: pipelining %s",
    (pipelining) =>
      Effect.gen(function* () {
        const first = pipelining === "off" ? client(envelope[0]) : expectGroup(...envelope)
        const replies = "250 ok\r\n250 ok\r\n354 go\r\n"
        const { state, told } = yield* delivering(
          script(pipelined, first, SmtpTest.inject(replies), silentEnd),
          {},
          { pipelining }
        )
        expect(told[0]).toMatch(/NotSent ProtocolError/)
        expect(state).toBe("Closed")
      })
  )
})

describe("rule 21: which replies are success", () => {
  it.effect("any 2yz is", () =>
    Effect.gen(function* () {
      const { told } = yield* delivering(
        script(
          pipelined,
          group,
          replies("259 ok", "251 will forward", "354 go"),
          content(message, "200 ok"),
          goodbye
        )
      )
      expect(told).toEqual(["b@y.test Accepted 200"])
    })
  )

  for (const code of [150, 334, 354]) {
    it.effect(`${code} to MAIL is a ProtocolError`, () =>
      Effect.gen(function* () {
        const { told } = yield* delivering(script(pipelined, group, reply(`${code} what`), silentEnd))
        expect(told).toEqual(["b@y.test NotSent ProtocolError mail"])
      })
    )
  }
})

describe("rules 22 to 25: content", () => {
  it.effect("that is another in the second transaction is not sent by it", () =>
    Effect.gen(function* () {
      let runs = 0
      const stream = Stream.suspend(() => (++runs === 1 ? Stream.make(octets(message)) : Stream.empty))
      const { told } = yield* delivering(
        script(
          pipelined,
          groupOfTwo,
          replies("250 ok", "250 ok", "452 4.5.3 too many", "354 go"),
          content(message, "250 ok"),
          expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<c@y.test>", "DATA"),
          replies("250 ok", "250 ok", "354 go"),
          expectEnd
        ),
        { ...several, content: SmtpContent.replayable(stream, { content7bit: true }) }
      )
      expect(told).toEqual(["b@y.test Accepted 250", "c@y.test NotSent ContentError"])
    })
  )

  it.effect("of several blocks arrives whole, and the receipt tells what was seen of it", () =>
    withSession(
      script(
        opened("PIPELINING", "8BITMIME"),
        expectGroup(`${envelope[0]} BODY=8BITMIME`, envelope[1], "DATA"),
        replies("250 ok", "250 ok", "354 go"),
        expectContent("x".repeat(65_534) + "\r\n" + "y\r\n".repeat(50_000)),
        reply("250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          const content = Stream.make(block, octets("y\n".repeat(50_000)))
          const receipt: Receipt = yield* smtp.send({ ...submission, content })
          expect(receipt.content).toEqual({ octets: 215_536, changed: true, longestLine: 65_534 })
        })
    )
  )
})

describe("rule 32: a command in the program's own words", () => {
  it.effect("moves the state as its method would", () =>
    withSession(
      script(
        pipelined,
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RSET", "250 ok"),
        group,
        replies("250 ok", "250 ok", "354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) =>
        Effect.gen(function* () {
          yield* smtp.command("MAIL", "FROM:<a@x.test>")
          expect(yield* smtp.state).toBe("Transaction")
          yield* smtp.command("RSET")
          yield* smtp.send(submission)
        })
    )
  )

  it.effect("that is answered by 354 is a ProtocolError", () =>
    withSession(script(opened(), ask("XYZZY", "354 go"), silentEnd), (smtp) =>
      Effect.gen(function* () {
        expect((yield* Effect.flip(smtp.command("XYZZY")))._tag).toBe("ProtocolError")
      })
    )
  )
})
