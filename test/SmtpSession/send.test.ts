import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as SmtpContent from "../../src/SmtpContent.js"
import * as SmtpError from "../../src/SmtpError.js"
import type { Service } from "../../src/SmtpSession.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import {
  ask,
  content,
  goodbye,
  greeting,
  judged,
  message,
  octets,
  opened,
  outcomes,
  silentEnd,
  submission,
  withConnection,
  withSession
} from "./oneSession.js"
import { replies as severalReplies } from "./severalAtOnce.js"

const mail = "MAIL FROM:<a@x.test>"
const rcpt = (name: string): string => `RCPT TO:<${name}@y.test>`

/** MAIL, RCPT and DATA in one write, and these replies. */
const group = (names: ReadonlyArray<string>, ...replies: ReadonlyArray<string>): SmtpTest.Script =>
  SmtpTest.script(
    SmtpTest.expectGroup(mail, ...names.map(rcpt), "DATA"),
    ...replies.map((reply) => SmtpTest.reply(reply))
  )

const to = (...names: ReadonlyArray<string>): Submission => ({
  ...submission,
  to: names.map((name) => `${name}@y.test`)
})

/** What deliver and send make of the same script; both have to leave the same octets on the wire. */
const both = (
  script: SmtpTest.Script,
  what: Submission = submission
): Effect.Effect<{ readonly outcomes: ReadonlyArray<string>; readonly error: unknown }, unknown> =>
  Effect.gen(function* () {
    const receipt = yield* withSession(script, (smtp) => smtp.deliver(what))
    const error = yield* withSession(script, (smtp) =>
      Effect.match(smtp.send(what), { onFailure: (failure): unknown => failure, onSuccess: () => undefined })
    )
    return { outcomes: outcomes(receipt), error }
  })

const pipelined = (...pieces: ReadonlyArray<SmtpTest.Script>) =>
  SmtpTest.script(opened("PIPELINING"), ...pieces)

const plain = (...pieces: ReadonlyArray<SmtpTest.Script>) => SmtpTest.script(opened(), ...pieces)

describe("a message", () => {
  it.effect("is accepted, and the receipt has the reply and the queue id", () =>
    Effect.gen(function* () {
      const receipt = yield* withSession(
        pipelined(
          group(["b"], "250 ok", "250 ok", "354 go"),
          content(message, "250 2.0.0 Ok: queued as 4Xyz12"),
          goodbye
        ),
        (smtp) => smtp.send(submission)
      )
      expect(outcomes(receipt)).toEqual(["b@y.test Accepted 250"])
      expect(receipt.accepted).toMatchObject([{ recipient: "b@y.test", queueId: "4Xyz12" }])
      expect(receipt.content).toEqual({ octets: 22, changed: false, longestLine: 11 })
    })
  )

  it.effect("goes command by command without PIPELINING", () =>
    withSession(
      plain(
        SmtpTest.expect(mail),
        SmtpTest.expectNothing("0 millis"),
        SmtpTest.reply("250 ok"),
        SmtpTest.expect(rcpt("b")),
        SmtpTest.expectNothing("0 millis"),
        SmtpTest.reply("250 ok"),
        SmtpTest.expect("DATA"),
        SmtpTest.expectNothing("0 millis"),
        SmtpTest.reply("354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send(submission)
    )
  )

  it.effect('goes in one write up to DATA with PIPELINING, the default `pipelining: "data"` (RFC 2920)', () =>
    Effect.gen(function* () {
      const chunks = yield* withSession(
        pipelined(
          group(["b", "c"], "250 ok", "250 ok", "250 ok", "354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        (smtp, server) =>
          Effect.gen(function* () {
            yield* smtp.send(to("b", "c"))
            const [connection] = yield* server.connections
            return connection?.chunks.map((chunk) => new TextDecoder().decode(chunk))
          })
      )
      expect(chunks?.slice(1)).toEqual([
        `${mail}\r\n${rcpt("b")}\r\n${rcpt("c")}\r\nDATA\r\n`,
        `${message}.\r\n`
      ])
    })
  )

  it.effect('holds DATA back with `pipelining: "envelope"`', () =>
    withSession(
      pipelined(
        SmtpTest.expectGroup(mail, rcpt("b")),
        SmtpTest.expectNothing("0 millis"),
        SmtpTest.reply("250 ok"),
        SmtpTest.reply("250 ok"),
        ask("DATA", "354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send(submission),
      { pipelining: "envelope" }
    )
  )

  it.effect('goes command by command with `pipelining: "off"`, whatever is offered', () =>
    withSession(
      pipelined(
        SmtpTest.expect(mail),
        SmtpTest.expectNothing("0 millis"),
        SmtpTest.reply("250 ok"),
        ask(rcpt("b"), "250 ok"),
        ask("DATA", "354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send(submission),
      { pipelining: "off" }
    )
  )

  it.effect("is followed by the next over the same session, without RSET", () =>
    withSession(
      pipelined(
        group(["b"], "250 ok", "250 ok", "354 go"),
        content(message, "250 ok"),
        group(["b"], "250 ok", "250 ok", "354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) => Effect.zipRight(smtp.send(submission), smtp.send(submission))
    )
  )

  it.effect("of several fibers goes out one after the other, never interleaved", () =>
    Effect.gen(function* () {
      const receipts = yield* withSession(
        plain(
          ...Array.from({ length: 3 }, () =>
            SmtpTest.script(
              ask(mail, "250 ok"),
              ask(rcpt("b"), "250 ok"),
              ask("DATA", "354 go"),
              content(message, "250 ok")
            )
          ),
          goodbye
        ),
        (smtp) => Effect.replicateEffect(smtp.send(submission), 3, { concurrency: "unbounded" })
      )
      expect(receipts.flatMap(outcomes)).toEqual(Array.from({ length: 3 }, () => "b@y.test Accepted 250"))
    })
  )

  it.effect("has the null reverse-path when its sender is empty (RFC 5321 section 4.5.5)", () =>
    withSession(
      plain(
        ask("MAIL FROM:<>", "250 ok"),
        ask(rcpt("b"), "250 ok"),
        ask("DATA", "354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send({ ...submission, from: "" })
    )
  )

  it.effect("is given to a server that understands lower case as well: verbs go in upper case", () =>
    withSession(
      plain(
        SmtpTest.branch({ "mail from": SmtpTest.reply("250 ok") }),
        SmtpTest.branch({ "rcpt to": SmtpTest.reply("250 ok") }),
        ask("DATA", "354 go"),
        content(message, "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send(submission)
    )
  )

  it.effect("leaves the parameters that the caller gave as they were, and copies what it is given", () =>
    Effect.gen(function* () {
      const parameters = ["RET=HDRS"]
      const recipients = [{ address: "b@y.test", notify: ["FAILURE"] as const }]
      const bytes = octets(message)
      const given = { from: "a@x.test", to: recipients, content: bytes, parameters }
      const before = structuredClone(given)
      yield* withSession(
        SmtpTest.script(
          opened("PIPELINING", "DSN", "SIZE", "8BITMIME"),
          SmtpTest.expectGroup(
            "MAIL FROM:<a@x.test> SIZE=22 RET=HDRS",
            "RCPT TO:<b@y.test> NOTIFY=FAILURE",
            "DATA"
          ),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        (smtp) => smtp.send(given)
      )
      expect(given).toEqual(before)
    })
  )
})

describe("recipients", () => {
  it.effect("that are equal are sent once, and each has its outcome", () =>
    Effect.gen(function* () {
      const receipt = yield* withSession(
        pipelined(group(["b"], "250 ok", "250 ok", "354 go"), content(message, "250 ok"), goodbye),
        (smtp) => smtp.send({ ...submission, to: ["b@y.test", "b@Y.TEST", '"b"@y.test'] })
      )
      expect(outcomes(receipt)).toEqual([
        "b@y.test Accepted 250",
        "b@Y.TEST Accepted 250",
        '"b"@y.test Accepted 250'
      ])
    })
  )

  it.effect("that are refused twice over do not reach DATA", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(ask(mail, "250 ok"), ask(rcpt("b"), "550 5.1.1 no"), ask("RSET", "250 ok"), goodbye),
        to("b", "b")
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 550 rcpt", "b@y.test Refused 550 rcpt"])
      expect(result.error).toMatchObject({ _tag: "RecipientsRefused", policy: "any" })
    })
  )

  it.effect("with other parameters for the same mailbox are InvalidArgument", () =>
    Effect.gen(function* () {
      const error = yield* withSession(SmtpTest.script(opened("DSN"), goodbye), (smtp) =>
        Effect.flip(smtp.send({ ...submission, to: ["b@y.test", { address: "b@y.test", notify: "NEVER" }] }))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "to[1]" })
    })
  )

  it.effect("that are refused do not keep the message from the others", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          group(["b", "nobody", "c"], "250 ok", "250 ok", "550 5.1.1 no", "251 forwards", "354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        to("b", "nobody", "c")
      )
      expect(result.outcomes).toEqual([
        "b@y.test Accepted 250",
        "nobody@y.test Refused 550 rcpt",
        "c@y.test Accepted 250"
      ])
      expect(result.error).toBeUndefined()
    })
  )

  it.effect("that are all refused get a single dot for 354, whose 250 is no acceptance (RFC 2920)", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          group(["b", "c"], "250 ok", "550 no", "450 later", "354 go"),
          ask(".", "250 queued an empty mail"),
          goodbye
        ),
        to("b", "c")
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 550 rcpt", "c@y.test Refused 450 rcpt"])
      expect(result.error).toMatchObject({
        _tag: "RecipientsRefused",
        recipients: [{ address: "b@y.test" }, { address: "c@y.test" }]
      })
    })
  )

  it.effect("that are all refused lead to RSET where DATA is refused with them", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(group(["b"], "250 ok", "550 no", "503 no valid recipients"), ask("RSET", "250 ok"), goodbye)
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 550 rcpt"])
      expect(result.error).toMatchObject({ _tag: "RecipientsRefused" })
    })
  )

  const impossible: ReadonlyArray<readonly [string, Partial<Submission>, string]> = [
    ["none", { to: [] }, "to"],
    ["one with a line break", { to: ["b@y.test", "c@y.test\r\nRSET"] }, "to[1]"],
    ["one with a display name", { to: "Bob <b@y.test>" }, "to[0]"],
    ["a sender with a line break", { from: "a@x.test\nRSET" }, "from"],
    ["a parameter with a line break", { parameters: ["RET=HDRS\r\nRSET"] }, "parameters[0]"],
    [
      "a parameter of RCPT with a line break",
      { recipientParameters: ["NOTIFY=NEVER\nX"] },
      "recipientParameters[0]"
    ],
    ["a number of splits below zero", { advanced: { maxSplits: -1 } }, "advanced.maxSplits"]
  ]
  for (const [name, part, field] of impossible) {
    it.effect(`are InvalidArgument before anything is sent: ${name}`, () =>
      Effect.gen(function* () {
        const what = { ...submission, ...part }
        const errors = yield* withSession(
          SmtpTest.script(opened("DSN", "BINARYMIME", "CHUNKING"), goodbye),
          (smtp) => Effect.all([Effect.flip(smtp.send(what)), Effect.flip(smtp.deliver(what))])
        )
        for (const error of errors) expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      })
    )
  }
})

describe("a refusal leaves the session usable", () => {
  const judgements = {
    mail: ["SenderRefused", undefined],
    rcpt: ["RecipientsRefused", undefined],
    data: ["DataError", "data"],
    final: ["DataError", "final"]
  } as const
  const oneByOne = (phase: keyof typeof judgements, code: string): SmtpTest.Script => {
    const sender = ask(mail, "250 ok")
    const recipient = ask(rcpt("b"), "250 ok")
    switch (phase) {
      case "mail":
        return plain(ask(mail, code))
      case "rcpt":
        return plain(sender, ask(rcpt("b"), code))
      case "data":
        return plain(sender, recipient, ask("DATA", code))
      case "final":
        return plain(sender, recipient, ask("DATA", "354 go"), content(message, code))
    }
  }
  const inGroup = (phase: keyof typeof judgements, code: string): SmtpTest.Script => {
    switch (phase) {
      case "mail":
        return pipelined(group(["b"], code, "503 need MAIL", "503 need RCPT"))
      case "rcpt":
        return pipelined(group(["b"], "250 ok", code, "554 nobody"))
      case "data":
        return pipelined(group(["b"], "250 ok", "250 ok", code))
      case "final":
        return pipelined(group(["b"], "250 ok", "250 ok", "354 go"), content(message, code))
    }
  }
  for (const phase of ["mail", "rcpt", "data", "final"] as const) {
    for (const code of [400, 450, 451, 452, 499, 500, 503, 550, 552, 554, 599]) {
      for (const [how, refusing] of [
        ["one by one", oneByOne],
        ["in a group", inGroup]
      ] as const) {
        it.effect(`${code} to ${phase}, ${how}`, () =>
          Effect.gen(function* () {
            const script = SmtpTest.script(
              refusing(phase, `${code} no`),
              ask("RSET", "250 ok"),
              ask("NOOP", "250 ok"),
              goodbye
            )
            const receipt = yield* withSession(script, (smtp) =>
              Effect.zipLeft(smtp.deliver(submission), smtp.noop)
            )
            expect(outcomes(receipt)).toEqual([`b@y.test Refused ${code} ${phase}`])
            expect(receipt.refused[0]?.permanent).toBe(code >= 500)
            const [error, state] = yield* withSession(script, (smtp) =>
              Effect.gen(function* () {
                const failure = yield* Effect.flip(smtp.send(submission))
                yield* smtp.noop
                return [failure, yield* smtp.state] as const
              })
            )
            const mayPass = code < 500 ? "transient" : "permanent"
            expect([...judged(error), state]).toEqual([...judgements[phase], mayPass, "Refused", "Ready"])
          })
        )
      }
    }
  }

  it.effect("of the sender: SenderRefused, RSET", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(ask(mail, "550 5.7.1 no"), ask("RSET", "250 ok"), goodbye),
        to("b", "c")
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 550 mail", "c@y.test Refused 550 mail"])
      expect(result.error).toMatchObject({ _tag: "SenderRefused", sender: "a@x.test", reply: { code: 550 } })
    })
  )

  it.effect("of the sender in a group: what follows it is read, and reset", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          group(["b"], "451 4.7.1 later", "503 need MAIL", "503 need RCPT"),
          ask("RSET", "250 ok"),
          goodbye
        )
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 451 mail"])
      expect(result.error).toMatchObject({ _tag: "SenderRefused", reply: { code: 451 } })
    })
  )

  it.effect("of DATA by 550: DataError, RSET", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(
          ask(mail, "250 ok"),
          ask(rcpt("b"), "250 ok"),
          ask("DATA", "550 5.7.1 no"),
          ask("RSET", "250 ok"),
          goodbye
        )
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 550 data"])
      expect(result.error).toMatchObject({ _tag: "DataError", phase: "data", reply: { code: 550 } })
    })
  )

  it.effect("of the content: DataError, RSET", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(
          ask(mail, "250 ok"),
          ask(rcpt("b"), "250 ok"),
          ask("DATA", "354 go"),
          content(message, "554 5.6.0 spam"),
          ask("RSET", "250 ok"),
          goodbye
        )
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 554 final"])
      expect(result.error).toMatchObject({ _tag: "DataError", phase: "final", reply: { code: 554 } })
    })
  )

  it.effect("refused RSET ends it: the envelope may still stand (RFC 5321 section 4.1.1.5)", () =>
    Effect.gen(function* () {
      const state = yield* withSession(plain(ask(mail, "550 no"), ask("RSET", "451 no"), silentEnd), (smtp) =>
        Effect.zipRight(smtp.deliver(submission), Effect.zipRight(smtp.awaitClosed, smtp.state))
      )
      expect(state).toBe("Closed")
    })
  )
})

describe("421 ends the session, without RSET and without QUIT (RFC 5321 section 3.8)", () => {
  const replies = ["250 ok", "250 ok", "250 ok", "354 go"]
  const phases = ["mail", "rcpt", "rcpt", "data"]
  for (const [index, phase] of phases.entries()) {
    it.effect(`as reply ${index + 1} of a group of 4`, () =>
      Effect.gen(function* () {
        const result = yield* both(
          pipelined(group(["b", "c"], ...replies.slice(0, index), "421 4.3.2 shutting down"), silentEnd),
          to("b", "c")
        )
        expect(result.outcomes).toEqual([
          `b@y.test NotSent ServerDisconnected ${phase}`,
          `c@y.test NotSent ServerDisconnected ${phase}`
        ])
        expect(result.error).toMatchObject({ _tag: "ServerDisconnected", phase, reply: { code: 421 } })
        expect(SmtpError.isSmtpError(result.error) && SmtpError.isTransient(result.error)).toBe(true)
      })
    )

    it.effect(`as the reply to command ${index + 1} of 4, one by one`, () =>
      Effect.gen(function* () {
        const lines = [mail, rcpt("b"), rcpt("c"), "DATA"]
        const result = yield* both(
          plain(
            ...lines.slice(0, index).map((line, at) => ask(line, replies[at] ?? "")),
            ask(lines[index] ?? "", "421 4.3.2 shutting down"),
            silentEnd
          ),
          to("b", "c")
        )
        expect(result.error).toMatchObject({ _tag: "ServerDisconnected", phase, reply: { code: 421 } })
      })
    )
  }

  it.effect("in place of the verdict on the content is a refusal for now", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(
          ask(mail, "250 ok"),
          ask(rcpt("b"), "250 ok"),
          ask("DATA", "354 go"),
          content(message, "421 4.3.2 shutting down"),
          SmtpTest.close
        )
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 421 final"])
      expect(result.error).toMatchObject({ _tag: "DataError", phase: "final", reply: { code: 421 } })
    })
  )

  it.effect("before the verdict on the content, which then comes: neither counts", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(
          ask(mail, "250 ok"),
          ask(rcpt("b"), "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectContent(message),
          severalReplies("421 4.3.2 shutting down", "250 2.0.0 queued"),
          SmtpTest.close
        )
      )
      expect(result.outcomes).toEqual(["b@y.test Unknown ServerDisconnected final"])
      expect(result.error).toMatchObject({ _tag: "ServerDisconnected", phase: "final", reply: undefined })
    })
  )

  it.effect("keeps the refusals that were read before it", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(
          ask(mail, "250 ok"),
          ask(rcpt("b"), "550 5.1.1 no"),
          ask(rcpt("c"), "421 4.3.2 shutting down"),
          silentEnd
        ),
        to("b", "c", "d")
      )
      expect(result.outcomes).toEqual([
        "b@y.test Refused 550 rcpt",
        "c@y.test NotSent ServerDisconnected rcpt",
        "d@y.test NotSent ServerDisconnected rcpt"
      ])
      expect(result.error).toMatchObject({
        _tag: "ServerDisconnected",
        refused: [{ address: "b@y.test", reply: { code: 550 } }]
      })
    })
  )
})

describe("a lost connection", () => {
  it.effect("after 451 to MAIL leaves the refusal standing: SenderRefused", () =>
    Effect.gen(function* () {
      const result = yield* both(plain(ask(mail, "451 4.3.0 later"), SmtpTest.close))
      expect(result.outcomes).toEqual(["b@y.test Refused 451 mail"])
      expect(result.error).toMatchObject({ _tag: "SenderRefused", reply: { code: 451 } })
    })
  )

  it.effect("before the last octet of the content is NotSent", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(ask(mail, "250 ok"), ask(rcpt("b"), "250 ok"), SmtpTest.expect("DATA"), SmtpTest.close)
      )
      expect(result.outcomes).toEqual(["b@y.test NotSent ServerDisconnected data"])
      expect(result.error).toMatchObject({ _tag: "ServerDisconnected", phase: "data" })
    })
  )

  it.effect("after the final dot is Unknown, and no transient error", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(
          ask(mail, "250 ok"),
          ask(rcpt("b"), "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectContent(message),
          SmtpTest.close
        )
      )
      expect(result.outcomes).toEqual(["b@y.test Unknown ServerDisconnected final"])
      expect(result.error).toMatchObject({ _tag: "ServerDisconnected", phase: "final" })
      expect(SmtpError.isSmtpError(result.error) && SmtpError.delivery(result.error)).toBe("Unknown")
      expect(SmtpError.isSmtpError(result.error) && SmtpError.isTransient(result.error)).toBe(false)
    })
  )

  it.effect("after the final dot leaves refused recipients refused", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          group(["b", "c"], "250 ok", "550 no", "250 ok", "354 go"),
          SmtpTest.expectContent(message),
          SmtpTest.reset
        ),
        to("b", "c")
      )
      expect(result.outcomes).toEqual([
        "b@y.test Refused 550 rcpt",
        "c@y.test Unknown ServerDisconnected final"
      ])
      expect(result.error).toMatchObject({ _tag: "ServerDisconnected", phase: "final" })
    })
  )

  it.effect("before the send is NotSent", () =>
    Effect.gen(function* () {
      const receipt = yield* withSession(plain(ask("NOOP", "421 bye"), silentEnd), (smtp) =>
        Effect.zipRight(Effect.flip(smtp.noop), smtp.deliver(submission))
      )
      expect(outcomes(receipt)).toEqual(["b@y.test NotSent ServerDisconnected idle"])
    })
  )

  it.effect("by a time limit after the final dot is Unknown (RFC 5321 section 4.5.3.2.6: ten minutes)", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        withSession(
          plain(
            ask(mail, "250 ok"),
            ask(rcpt("b"), "250 ok"),
            ask("DATA", "354 go"),
            SmtpTest.expectContent(message),
            SmtpTest.expectEnd
          ),
          (smtp) => smtp.deliver(submission)
        )
      )
      yield* TestClock.adjust("10 minutes")
      const receipt = yield* Fiber.join(fiber)
      expect(receipt.unknown).toMatchObject([
        { recipient: "b@y.test", cause: { _tag: "ReplyTimeout", phase: "final", limitMillis: 600_000 } }
      ])
    })
  )

  it.effect("by the send's own time limit tells NotSent and Unknown apart", () =>
    Effect.gen(function* () {
      const limited = { ...submission, timeout: "30 seconds" } as const
      const before = yield* Effect.fork(
        withSession(plain(SmtpTest.expect(mail), SmtpTest.silence), (smtp) => smtp.deliver(limited))
      )
      const after = yield* Effect.fork(
        withSession(
          plain(
            ask(mail, "250 ok"),
            ask(rcpt("b"), "250 ok"),
            ask("DATA", "354 go"),
            SmtpTest.expectContent(message),
            SmtpTest.silence
          ),
          (smtp) => smtp.deliver(limited)
        )
      )
      yield* TestClock.adjust("30 seconds")
      yield* TestClock.adjust("1 minute")
      expect(outcomes(yield* Fiber.join(before))).toEqual(["b@y.test NotSent ReplyTimeout mail"])
      expect(outcomes(yield* Fiber.join(after))).toEqual(["b@y.test Unknown ReplyTimeout final"])
    })
  )
})

describe("a broken protocol", () => {
  it.effect("of 250 to DATA sends no content: ProtocolError, NotSent", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(ask(mail, "250 ok"), ask(rcpt("b"), "250 ok"), ask("DATA", "250 ok"), silentEnd)
      )
      expect(result.outcomes).toEqual(["b@y.test NotSent ProtocolError data"])
      expect(result.error).toMatchObject({ _tag: "ProtocolError", reply: { code: 250 } })
    })
  )

  it.effect("of a recipient accepted after a refused sender sends neither content nor dot", () =>
    Effect.gen(function* () {
      const result = yield* both(pipelined(group(["b"], "550 no", "250 ok", "354 go"), silentEnd))
      expect(result.outcomes).toEqual(["b@y.test Refused 550 mail"])
      expect(result.error).toMatchObject({ _tag: "SenderRefused" })
    })
  )

  it.effect("of a malformed verdict on the content is Unknown", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(
          ask(mail, "250 ok"),
          ask(rcpt("b"), "250 ok"),
          ask("DATA", "354 go"),
          content(message, "queued, thanks"),
          silentEnd
        )
      )
      expect(result.outcomes).toEqual(["b@y.test Unknown ProtocolError final"])
      expect(result.error).toMatchObject({ _tag: "ProtocolError", phase: "final" })
    })
  )

  it.effect("of 354 as the verdict on the content is Unknown", () =>
    Effect.gen(function* () {
      const result = yield* both(
        plain(
          ask(mail, "250 ok"),
          ask(rcpt("b"), "250 ok"),
          ask("DATA", "354 go"),
          content(message, "354 go on"),
          silentEnd
        )
      )
      expect(result.outcomes).toEqual(["b@y.test Unknown ProtocolError final"])
    })
  )
})

describe("deliver is total: whatever the server does, each recipient has one outcome", () => {
  const behaviours: ReadonlyArray<readonly [string, SmtpTest.Script]> = [
    ["hangs up", SmtpTest.close],
    ["resets", SmtpTest.reset],
    ["says 421", SmtpTest.script(SmtpTest.reply("421 bye"), SmtpTest.close)],
    ["says 554", SmtpTest.script(SmtpTest.reply("554 no"), SmtpTest.close)],
    ["says 150", SmtpTest.reply("150 hm")],
    ["says 334", SmtpTest.reply("334 ")],
    ["says nonsense", SmtpTest.reply("hello")],
    ["says half a reply", SmtpTest.script(SmtpTest.inject("250-mx"), SmtpTest.close)],
    ["says too much", SmtpTest.inject("2".repeat(20_000))]
  ]
  const steps = [
    SmtpTest.script(SmtpTest.expect(mail)),
    SmtpTest.script(ask(mail, "250 ok"), SmtpTest.expect(rcpt("b"))),
    SmtpTest.script(ask(mail, "250 ok"), ask(rcpt("b"), "250 ok"), SmtpTest.expect(rcpt("c"))),
    SmtpTest.script(
      ask(mail, "250 ok"),
      ask(rcpt("b"), "250 ok"),
      ask(rcpt("c"), "250 ok"),
      SmtpTest.expect("DATA")
    ),
    SmtpTest.script(
      ask(mail, "250 ok"),
      ask(rcpt("b"), "250 ok"),
      ask(rcpt("c"), "250 ok"),
      ask("DATA", "354 go"),
      SmtpTest.expectContent(message)
    )
  ]
  const names = ["MAIL", "the first RCPT", "the last RCPT", "DATA", "the content"]
  for (const [what, behaviour] of behaviours) {
    for (const [index, step] of steps.entries()) {
      it.effect(`${what} at ${names[index] ?? ""}`, () =>
        Effect.gen(function* () {
          const receipt = yield* withSession(plain(step, behaviour), (smtp) => smtp.deliver(to("b", "c")))
          expect(receipt.outcomes.map(({ recipient }) => recipient)).toEqual(["b@y.test", "c@y.test"])
          expect(receipt.accepted).toEqual([])
          const { length } = receipt.outcomes
          expect(receipt.refused.length + receipt.notSent.length + receipt.unknown.length).toBe(length)
          expect(receipt.unknown.length > 0).toBe(
            names[index] === "the content" && !["says 421", "says 554"].includes(what)
          )
        })
      )
    }
  }

  it.effect("refuses EHLO", () =>
    Effect.gen(function* () {
      const receipt = yield* withConnection(
        SmtpTest.script(greeting, ask("EHLO client.test", "554 no"), goodbye),
        (smtp) => smtp.deliver(to("b", "c"))
      )
      expect(outcomes(receipt)).toEqual(["b@y.test NotSent HeloError", "c@y.test NotSent HeloError"])
    })
  )
})

describe('`recipients: "all"`', () => {
  const all = (...names: ReadonlyArray<string>): Submission => ({ ...to(...names), recipients: "all" })

  it.effect("holds DATA back until everybody was accepted", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          SmtpTest.expectGroup(mail, rcpt("b"), rcpt("c")),
          SmtpTest.expectNothing("0 millis"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          ask("DATA", "354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        all("b", "c")
      )
      expect(result.outcomes).toEqual(["b@y.test Accepted 250", "c@y.test Accepted 250"])
    })
  )

  it.effect("sends to nobody when somebody is refused: RSET, RecipientsRefused", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          SmtpTest.expectGroup(mail, rcpt("b"), rcpt("c")),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("550 5.1.1 no"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        all("b", "c")
      )
      expect(result.outcomes).toEqual(["b@y.test NotSent RecipientsRefused", "c@y.test Refused 550 rcpt"])
      expect(result.error).toMatchObject({
        _tag: "RecipientsRefused",
        policy: "all",
        recipients: [{ address: "c@y.test", reply: { code: 550 } }]
      })
    })
  )

  it.effect("sends nothing for a 354 that nobody asked for: ProtocolError", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          SmtpTest.expectGroup(mail, rcpt("b"), rcpt("c")),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("354 go"),
          SmtpTest.expectEnd
        ),
        all("b", "c")
      )
      expect(result.outcomes).toEqual([
        "b@y.test NotSent ProtocolError rcpt",
        "c@y.test NotSent ProtocolError rcpt"
      ])
      expect(result.error).toMatchObject({ _tag: "ProtocolError", phase: "rcpt" })
    })
  )

  it.effect("is NotSupported, before MAIL, for more recipients than RCPTMAX (RFC 9422)", () =>
    Effect.gen(function* () {
      const result = yield* both(SmtpTest.script(opened("LIMITS RCPTMAX=1"), goodbye), all("b", "c"))
      expect(result.outcomes).toEqual(["b@y.test NotSent NotSupported", "c@y.test NotSent NotSupported"])
      expect(result.error).toMatchObject({ _tag: "NotSupported", extension: "LIMITS" })
    })
  )
})

describe("more recipients than a transaction takes", () => {
  const second = (...names: ReadonlyArray<string>) =>
    SmtpTest.script(
      group(names, "250 ok", ...names.map(() => "250 ok"), "354 go"),
      content(message, "250 second")
    )

  it.effect(
    "are split by 452, with one receipt, and the content said again (RFC 5321 section 4.5.3.1.10)",
    () =>
      Effect.gen(function* () {
        const receipt = yield* withSession(
          pipelined(
            group(["b", "c", "d"], "250 ok", "250 ok", "452 too many", "452 too many", "354 go"),
            content(message, "250 first"),
            second("c", "d"),
            goodbye
          ),
          (smtp) => smtp.send(to("b", "c", "d"))
        )
        expect(receipt.accepted.map(({ recipient, reply }) => `${recipient} ${reply.text}`)).toEqual([
          "b@y.test first",
          "c@y.test second",
          "d@y.test second"
        ])
      })
  )

  it.effect("are not split by 452 with a code that means the mailbox (RFC 1870 section 6.4)", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          group(["b", "c"], "250 ok", "250 ok", "452 4.2.2 mailbox full", "354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        to("b", "c")
      )
      expect(result.outcomes).toEqual(["b@y.test Accepted 250", "c@y.test Refused 452 rcpt"])
    })
  )

  it.effect("are not split by 452 to the first of them", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(group(["b"], "250 ok", "452 too many", "503 no recipients"), ask("RSET", "250 ok"), goodbye)
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 452 rcpt"])
    })
  )

  it.effect("are split no further when a transaction got nobody accepted", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          group(["b", "c"], "250 ok", "250 ok", "452 4.5.3 too many", "354 go"),
          content(message, "451 not today"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        to("b", "c")
      )
      expect(result.outcomes).toEqual(["b@y.test Refused 451 final", "c@y.test Refused 452 rcpt"])
    })
  )

  it.effect("are split no more often than maxSplits", () =>
    Effect.gen(function* () {
      const result = yield* both(
        pipelined(
          group(["b", "c"], "250 ok", "250 ok", "452 4.5.3 too many", "354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        { ...to("b", "c"), advanced: { maxSplits: 0 } }
      )
      expect(result.outcomes).toEqual(["b@y.test Accepted 250", "c@y.test Refused 452 rcpt"])
    })
  )

  it.effect("are split by RCPTMAX before anything is refused (RFC 9422)", () =>
    Effect.gen(function* () {
      const receipt = yield* withSession(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS RCPTMAX=2"),
          group(["b", "c"], "250 ok", "250 ok", "250 ok", "354 go"),
          content(message, "250 first"),
          second("d"),
          goodbye
        ),
        (smtp) => smtp.send(to("b", "c", "d"))
      )
      expect(receipt.accepted.map(({ reply }) => reply.text)).toEqual(["first", "first", "second"])
    })
  )

  it.effect("are split by RCPTDOMAINMAX, domain by domain (RFC 9422)", () =>
    Effect.gen(function* () {
      const receipt = yield* withSession(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS RCPTDOMAINMAX=1"),
          group(["b", "d"], "250 ok", "250 ok", "250 ok", "354 go"),
          content(message, "250 first"),
          SmtpTest.expectGroup(mail, "RCPT TO:<c@z.test>", "DATA"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("354 go"),
          content(message, "250 second"),
          goodbye
        ),
        (smtp) => smtp.send({ ...submission, to: ["b@y.test", "c@z.test", "d@y.test"] })
      )
      expect(receipt.accepted.map(({ reply }) => reply.text)).toEqual(["first", "second", "first"])
    })
  )

  it.effect("and the connection is lost in the second transaction: the first keeps its outcome", () =>
    Effect.gen(function* () {
      const result = yield* both(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS RCPTMAX=1"),
          group(["b"], "250 ok", "250 ok", "354 go"),
          content(message, "250 first"),
          group(["c"], "250 ok", "421 bye"),
          silentEnd
        ),
        to("b", "c", "d")
      )
      expect(result.outcomes).toEqual([
        "b@y.test Accepted 250",
        "c@y.test NotSent ServerDisconnected rcpt",
        "d@y.test NotSent ServerDisconnected idle"
      ])
      expect(result.error).toBeUndefined()
    })
  )

  const stream = Stream.make(octets(message))

  it.effect("have a replayable stream run once for each transaction", () =>
    Effect.gen(function* () {
      let runs = 0
      const counted = Stream.suspend(() => {
        runs++
        return stream
      })
      yield* withSession(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS RCPTMAX=1"),
          group(["b"], "250 ok", "250 ok", "354 go"),
          content(message, "250 ok"),
          group(["c"], "250 ok", "250 ok", "354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        (smtp) =>
          smtp.send({
            ...to("b", "c"),
            content: SmtpContent.replayable(counted, { content7bit: true })
          })
      )
      expect(runs).toBe(2)
    })
  )

  it.effect(
    "cannot be served by SmtpContent.once: the rest is NotSent, and nothing of it is on the wire",
    () =>
      Effect.gen(function* () {
        const receipt = yield* withSession(
          SmtpTest.script(
            opened("PIPELINING", "LIMITS RCPTMAX=1"),
            group(["b"], "250 ok", "250 ok", "354 go"),
            content(message, "250 ok"),
            goodbye
          ),
          (smtp) => smtp.send({ ...to("b", "c"), content: SmtpContent.once(stream, { content7bit: true }) })
        )
        expect(outcomes(receipt)).toEqual(["b@y.test Accepted 250", "c@y.test NotSent ContentError"])
        expect(receipt.notSent).toMatchObject([{ cause: { reason: "UsedTwice" } }])
      })
  )
})

describe("MAILMAX (RFC 9422 section 4.1)", () => {
  it.effect("counts every MAIL of the session, refused or not", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS MAILMAX=2"),
          group(["b"], "250 ok", "250 ok", "354 go"),
          content(message, "250 ok"),
          ask(mail, "550 no"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.send(submission)
            yield* Effect.flip(smtp.mail("a@x.test"))
            return yield* Effect.flip(smtp.send(submission))
          })
      )
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "LIMITS" })
    })
  )

  it.effect("reached between two transactions of a message leaves the rest NotSent", () =>
    Effect.gen(function* () {
      const result = yield* both(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS MAILMAX=1 RCPTMAX=1"),
          group(["b"], "250 ok", "250 ok", "354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        to("b", "c")
      )
      expect(result.outcomes).toEqual(["b@y.test Accepted 250", "c@y.test NotSent NotSupported"])
    })
  )

  it.effect("reached by those that were too many for a transaction leaves them NotSent", () =>
    Effect.gen(function* () {
      const result = yield* both(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS MAILMAX=1"),
          group(["b", "c"], "250 ok", "250 ok", "452 4.5.3 too many", "354 go"),
          content(message, "250 ok"),
          goodbye
        ),
        to("b", "c")
      )
      expect(result.outcomes).toEqual(["b@y.test Accepted 250", "c@y.test NotSent NotSupported"])
    })
  )
})

describe("send fails with the cause of the most doubtful outcome", () => {
  const lost = (smtp: Service) => Effect.flip(smtp.send(to("b", "c", "d")))

  it.effect("Unknown before NotSent and Refused", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS RCPTMAX=2"),
          group(["b", "c"], "250 ok", "550 no", "250 ok", "354 go"),
          SmtpTest.expectContent(message),
          SmtpTest.close
        ),
        lost
      )
      expect(SmtpError.isSmtpError(error) && SmtpError.delivery(error)).toBe("Unknown")
    })
  )

  it.effect("NotSent before Refused", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("PIPELINING", "LIMITS RCPTMAX=2"),
          group(["b", "c"], "250 ok", "550 no", "421 bye"),
          silentEnd
        ),
        lost
      )
      expect(SmtpError.isSmtpError(error) && SmtpError.delivery(error)).toBe("NotSent")
    })
  )
})
