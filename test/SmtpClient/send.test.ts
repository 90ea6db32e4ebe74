import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import type * as SmtpClient from "../../src/SmtpClient.js"
import * as SmtpRateLimit from "../../src/SmtpRateLimit.js"
import { InvalidArgument } from "../../src/SmtpError.js"
import type { Receipt } from "../../src/SmtpReceipt.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import type * as SmtpSubmission from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { collectLogs } from "../support/logs.js"
import * as TimeOfDay from "../support/timeOfDay.js"
import { untyped } from "../support/untyped.js"
import { ask, content, goodbye, opened, outcomes, submission } from "../SmtpSession/oneSession.js"
import type { Reachable } from "./client.js"
import { joinInTime, makeClient, switchable, texts } from "./client.js"

const { expect: line, reply, script } = SmtpTest

const octets = (text: string): Uint8Array => new TextEncoder().encode(text)

const settle = TestClock.adjust(0)

describe("a client", () => {
  it.scoped("sends over sessions that it keeps, and says QUIT when it is closed", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      for (let count = 0; count < 3; count++) yield* client.send(submission)
      expect((yield* server.messages).map(({ connection }) => connection)).toEqual([1, 1, 1])
      expect(yield* client.state).toMatchObject({ open: 1, idle: 1, waiting: 0, isClosed: false })
      yield* client.close
      expect(yield* server.transcript).toContain("C: QUIT")
      expect(yield* client.state).toMatchObject({ open: 0, isClosed: true })
    })
  )

  it.scoped("refuses at once what is no submission, whoever sends it", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      const sends = [
        client.send,
        client.deliver,
        (given: SmtpSubmission.Submission) =>
          Effect.provide(SmtpSession.sendOnce({ host: "mx.test", tls: "none" }, given), server.layer)
      ]
      for (const send of sends) {
        for (const [field, given] of [
          ["submission", undefined],
          ["from", { ...submission, from: undefined }],
          ["to", { ...submission, to: null }],
          ["to[0]", { ...submission, to: [null] }]
        ] as const) {
          expect(yield* Effect.flip(send(untyped(given)))).toMatchObject({ _tag: "InvalidArgument", field })
        }
      }
      expect(yield* server.transcript).toBe("")
    })
  )

  it.scoped("refuses what are no options of a send", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      for (const send of [client.send, client.deliver]) {
        expect(yield* Effect.flip(send(submission, untyped(null)))).toMatchObject({
          _tag: "InvalidArgument",
          field: "options"
        })
      }
      expect(yield* server.transcript).toBe("")
    })
  )

  it.scoped("refuses a bad submission at once, even with nobody to send it to", () =>
    Effect.gen(function* () {
      const client = yield* makeClient({})
      expect(yield* Effect.flip(client.send({ ...submission, to: "b\r\n@y.test" }))).toMatchObject({
        _tag: "InvalidArgument",
        field: "to[0]"
      })
    })
  )

  it.scoped("accounts for everybody when there is no relay", () =>
    Effect.gen(function* () {
      const client = yield* makeClient({})
      const receipt = yield* client.deliver({ ...submission, to: ["b@y.test", "c@y.test"] })
      expect(outcomes(receipt)).toEqual(["b@y.test NotSent ConnectError", "c@y.test NotSent ConnectError"])
      // A relay that has just failed is left alone for a moment.
      const both = Effect.all([Effect.flip(client.send(submission)), Effect.flip(client.check)], {
        concurrency: 2
      })
      const fiber = yield* Effect.fork(both)
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(fiber)).toMatchObject([{ _tag: "ConnectError" }, { _tag: "ConnectError" }])
    })
  )

  it.scoped("copies what it is given when it is given", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      const message = octets(submission.content)
      const to = ["b@y.test"]
      const send = client.send({ ...submission, to, content: message })
      message.fill(0)
      to.push("c@y.test")
      yield* send
      yield* send
      expect(texts(yield* server.messages)).toEqual([submission.content, submission.content])
    })
  )

  it.scoped("copies the parameters that it is given, to the innermost", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ capabilities: ["DSN", "RRVS", "DELIVERBY", "FUTURERELEASE"] })
      const client = yield* makeClient({ "mx.test": server })
      const notify: Array<"SUCCESS" | "FAILURE"> = ["FAILURE"]
      const originalRecipient = { type: "rfc822", address: "o@y.test" }
      const since = new Date("2020-01-01T00:00:00Z")
      const ofRecipient = [{ keyword: "XR", value: "1" }]
      const ofMail = [{ keyword: "XM", value: "1" }]
      const deliverBy: { seconds: number; mode: "R" | "N" } = { seconds: 900, mode: "N" }
      const holdUntil = new Date("2050-01-01T00:00:00Z")
      const recipient = { notify, originalRecipient, rrvs: { since }, extra: ofRecipient }
      const send = client.send({
        ...submission,
        to: ["b@y.test", { address: "c@y.test", ...recipient }],
        recipientParameters: recipient,
        parameters: { deliverBy, holdUntil, extra: ofMail }
      })
      notify[0] = "SUCCESS"
      originalRecipient.address = "changed@y.test"
      since.setTime(0)
      holdUntil.setTime(0)
      deliverBy.seconds = 1
      for (const extra of [...ofRecipient, ...ofMail]) extra.value = "2"
      yield* send
      const lines = (yield* server.transcript).split("\n")
      const asked = lines.filter((text) => /^C: (?:MAIL|RCPT)/.test(text))
      const rcpt = "NOTIFY=FAILURE ORCPT=rfc822;o@y.test RRVS=2020-01-01T00:00:00Z XR=1"
      expect(asked).toEqual([
        "C: MAIL FROM:<a@x.test> BY=900;N HOLDUNTIL=2050-01-01T00:00:00Z XM=1",
        `C: RCPT TO:<b@y.test> ${rcpt}`,
        `C: RCPT TO:<c@y.test> ${rcpt}`
      ])
    })
  )

  it.scoped("checks a relay by NOOP, and replaces a session that has died meanwhile", () =>
    Effect.gen(function* () {
      const once = script(opened(), ask("NOOP", "250 ok"), line("NOOP"), SmtpTest.close)
      const server = yield* SmtpTest.scripted([once, script(opened(), ask("NOOP", "250 ok"), goodbye)])
      const client = yield* makeClient({ "mx.test": server })
      yield* client.check
      yield* client.check
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("replaces a session that died while it was idle, without a word", () =>
    Effect.gen(function* () {
      const message = script(
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        content(submission.content, "250 ok")
      )
      const dying = script(
        opened(),
        message,
        line("MAIL FROM:<a@x.test>"),
        reply("421 4.4.2 timeout"),
        SmtpTest.close
      )
      const server = yield* SmtpTest.scripted([dying, script(opened(), message, goodbye)])
      const client = yield* makeClient({ "mx.test": server })
      yield* client.send(submission)
      expect((yield* client.send(submission)).accepted.length).toBe(1)
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("replaces it once only: two in a row are the relay's fault", () =>
    Effect.gen(function* () {
      const dying = script(opened(), line("MAIL FROM:<a@x.test>"), SmtpTest.close)
      const first = script(
        opened(),
        ask("MAIL FROM:<a@x.test>", "550 no"),
        ask("RSET", "250 ok"),
        line("MAIL FROM:<a@x.test>"),
        SmtpTest.close
      )
      const server = yield* SmtpTest.scripted([first, dying])
      const client = yield* makeClient({ "mx.test": server })
      expect(outcomes(yield* client.deliver(submission))).toEqual(["b@y.test Refused 550 mail"])
      expect(outcomes(yield* client.deliver(submission))).toEqual([
        "b@y.test NotSent ServerDisconnected mail"
      ])
      yield* server.done
    })
  )

  it.scoped("goes on with another session when one may carry no more transactions (RFC 9422 MAILMAX)", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ capabilities: ["PIPELINING", "LIMITS MAILMAX=2 RCPTMAX=1"] })
      const client = yield* makeClient({ "mx.test": server })
      const to = ["b@y.test", "c@y.test", "d@y.test", "e@y.test", "f@y.test"]
      const receipt = yield* client.send({ ...submission, to })
      expect(receipt.accepted.map(({ recipient }) => recipient)).toEqual(to)
      const messages = yield* server.messages
      expect(messages.map(({ connection }) => connection)).toEqual([1, 1, 2, 2, 3])
      expect(messages.flatMap(({ recipients }) => recipients.map(({ address }) => address))).toEqual(to)
    })
  )

  it.scoped("goes on with another session for those that were too many for the last transaction of one", () =>
    Effect.gen(function* () {
      const session = (...recipients: ReadonlyArray<SmtpTest.Script>) =>
        script(
          opened("LIMITS MAILMAX=1"),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ...recipients,
          ask("DATA", "354 go"),
          content(submission.content, "250 ok"),
          goodbye
        )
      const server = yield* SmtpTest.scripted([
        session(ask("RCPT TO:<b@y.test>", "250 ok"), ask("RCPT TO:<c@y.test>", "452 4.5.3 too many")),
        session(ask("RCPT TO:<c@y.test>", "250 ok"))
      ])
      const client = yield* makeClient({ "mx.test": server })
      const receipt = yield* client.deliver({ ...submission, to: ["b@y.test", "c@y.test"] })
      expect(outcomes(receipt)).toEqual(["b@y.test Accepted 250", "c@y.test Accepted 250"])
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("opens another session in time where the server limits them", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ capabilities: ["LIMITS MAILMAX=2"] })
      const client = yield* makeClient({ "mx.test": server })
      yield* Effect.replicateEffect(client.send(submission), 5)
      expect((yield* server.messages).map(({ connection }) => connection)).toEqual([1, 1, 2, 2, 3])
    })
  )
})

describe("relays", () => {
  const both = (
    own: { readonly main?: SmtpTest.ServerOptions; readonly spare?: SmtpTest.ServerOptions } = {}
  ) =>
    Effect.gen(function* () {
      const main = yield* SmtpTest.server(own.main)
      const spare = yield* SmtpTest.server(own.spare)
      return { main, spare, servers: { main, spare } }
    })

  const relays = { host: undefined, relays: [{ host: "main" }, { host: "spare", priority: 1 }] }

  it.scoped("are tried in turn when one cannot be reached", () =>
    Effect.gen(function* () {
      const { main, spare } = yield* both()
      const { socket, state } = switchable(main)
      const client = yield* makeClient({ main: { socket }, spare }, relays)
      state.isDown = true
      yield* client.send(submission)
      expect((yield* spare.messages).length).toBe(1)
      state.isDown = false
      yield* TestClock.adjust("1 second")
      yield* client.send(submission)
      yield* settle
      yield* client.send(submission)
      expect((yield* main.messages).length).toBe(1)
      expect(yield* client.state).toMatchObject({
        relays: [{ name: "main:25", isTrusted: true }, { open: 1 }]
      })
    })
  )

  it.scoped("are tried in turn when one refuses to authenticate", () =>
    Effect.gen(function* () {
      const { servers, spare } = yield* both({ main: { capabilities: [] } })
      const client = yield* makeClient(servers, {
        ...relays,
        relays: [
          { host: "main", tls: "starttls" },
          { host: "spare", priority: 1 }
        ]
      })
      yield* client.send(submission)
      expect((yield* spare.messages).length).toBe(1)
    })
  )

  it.scoped("are tried in turn when one goes away before the content", () =>
    Effect.gen(function* () {
      const { servers, spare } = yield* both({ main: { accept: () => "421 4.3.2 going down" } })
      const client = yield* makeClient(servers, relays)
      const receipt = yield* client.send(submission)
      expect([receipt.accepted.length, (yield* spare.messages).length]).toEqual([1, 1])
    })
  )

  it.scoped("are not tried when one has refused: a refusal is an answer", () =>
    Effect.gen(function* () {
      const { servers, spare } = yield* both({ main: { accept: () => "450 4.2.1 busy" } })
      const client = yield* makeClient(servers, relays)
      expect(outcomes(yield* client.deliver(submission))).toEqual(["b@y.test Refused 450 rcpt"])
      expect(yield* spare.messages).toEqual([])
    })
  )

  it.scoped("are not tried when the message may have been delivered", () =>
    Effect.gen(function* () {
      const main = yield* SmtpTest.scripted(
        script(
          opened(),
          ask(/^MAIL/, "250 ok"),
          ask(/^RCPT/, "250 ok"),
          ask("DATA", "354 go"),
          SmtpTest.expectContent(submission.content),
          SmtpTest.close
        )
      )
      const spare = yield* SmtpTest.server()
      const client = yield* makeClient({ main, spare }, { ...relays, retry: "briefly" })
      const logs = yield* collectLogs
      const receipt = yield* Effect.provide(client.deliver({ ...submission, parameters: {} }), logs.layer)
      expect(outcomes(receipt)).toEqual(["b@y.test Unknown ServerDisconnected final"])
      expect(yield* spare.messages).toEqual([])
      expect(yield* logs.entries).toMatchObject([{ level: "WARN" }])
    })
  )

  it.scoped("have TLS and credentials of their own", () =>
    Effect.gen(function* () {
      const users: Array<string> = []
      const authenticate = ({ username }: { readonly username: string }): boolean => {
        users.push(username)
        return username === "second"
      }
      const { servers } = yield* both({ main: { authenticate }, spare: { authenticate } })
      const client = yield* makeClient(servers, {
        ...relays,
        tls: "starttls",
        auth: SmtpAuth.password({ username: "first", password: Redacted.make("secret") }),
        relays: [
          { host: "main" },
          {
            host: "spare",
            priority: 1,
            auth: SmtpAuth.password({ username: "second", password: Redacted.make("secret") })
          }
        ]
      })
      expect((yield* client.send(submission)).accepted.length).toBe(1)
      expect(users).toEqual(["first", "second"])
    })
  )
})

describe("trying again", () => {
  /** Refuses a recipient for now, so many times. */
  const greylisting = (times: number, address = "b@y.test"): SmtpTest.ServerOptions => {
    let left = times
    return {
      accept: (path) =>
        path.address === address && left-- > 0 ? "450 4.2.0 greylisted, come back later" : undefined
    }
  }

  const addressees = (messages: ReadonlyArray<SmtpTest.Message>) =>
    messages.map(({ recipients }) => recipients.map(({ address }) => address))

  it.scoped("is for those only who were refused for now, and gives one receipt", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(greylisting(2))
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      const to = ["a@y.test", "b@y.test", "c@y.test"]
      const fiber = yield* Effect.fork(client.send({ ...submission, to }))
      yield* TestClock.adjust("1 minute")
      yield* TestClock.adjust("5 minutes")
      const receipt = yield* Fiber.join(fiber)
      expect(receipt.accepted.map(({ recipient }) => recipient)).toEqual(to)
      expect(addressees(yield* server.messages)).toEqual([["a@y.test", "c@y.test"], ["b@y.test"]])
    })
  )

  it.scoped("ends with the schedule, and the server's last word stands", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(greylisting(100))
      const schedule = Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(2))
      const client = yield* makeClient({ "mx.test": server }, { retry: { schedule } })
      const fiber = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust("2 seconds")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Refused 450 rcpt"])
      const transcript = yield* server.transcript
      expect(transcript.match(/C: RCPT/g)?.length).toBe(3)
    })
  )

  it.scoped("does not come to an end that comes too late", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(greylisting(1))
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      // No time passes: a pause of a minute is over the limit of half of one.
      const receipt = yield* client.deliver({ ...submission, timeout: "30 seconds" })
      expect(outcomes(receipt)).toEqual(["b@y.test Refused 450 rcpt"])
    })
  )

  it.scoped("gives the schedule the receipt so far", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(greylisting(3))
      const seen: Array<number> = []
      const schedule = Schedule.spaced("1 second").pipe(
        Schedule.whileInput((receipt: Receipt) => {
          seen.push(receipt.refused.length)
          return seen.length < 2
        })
      )
      const client = yield* makeClient({ "mx.test": server })
      const fiber = yield* Effect.fork(client.deliver(submission, { retry: { schedule } }))
      yield* TestClock.adjust("5 seconds")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Refused 450 rcpt"])
      expect(seen).toEqual([1, 1])
    })
  )

  it.scoped("survives a relay that is away for some seconds", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const { socket, state } = switchable(server)
      const client = yield* makeClient({ "mx.test": { socket } }, { retry: "briefly" })
      state.isDown = true
      const fiber = yield* Effect.fork(client.send(submission))
      yield* TestClock.adjust("5 seconds")
      state.isDown = false
      yield* TestClock.adjust("1 minute")
      expect((yield* Fiber.join(fiber)).accepted.length).toBe(1)
      expect((yield* server.messages).length).toBe(1)
    })
  )

  it.scoped("never follows a permanent refusal", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ accept: () => "550 5.1.1 no such user" })
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      expect(outcomes(yield* client.deliver(submission))).toEqual(["b@y.test Refused 550 rcpt"])
    })
  )

  it.scoped("never follows credentials that were refused", () =>
    Effect.gen(function* () {
      let attempts = 0
      const server = yield* SmtpTest.server({
        authenticate: () => {
          attempts += 1
          return false
        }
      })
      const auth = SmtpAuth.password({
        username: "app",
        password: Redacted.make("wrong"),
        mechanisms: ["PLAIN"]
      })
      const own = { retry: "briefly", tls: "starttls", auth } as const
      const client = yield* makeClient({ "mx.test": server }, own)
      const error = yield* Effect.flip(client.send(submission))
      expect(error).toMatchObject({ _tag: "AuthenticationError", reason: "Rejected" })
      yield* Effect.flip(client.send(submission))
      expect(attempts).toBe(1)
    })
  )

  const losing = script(
    opened(),
    ask(/^MAIL/, "250 ok"),
    ask(/^RCPT/, "250 ok"),
    ask("DATA", "354 go"),
    SmtpTest.expectContent(submission.content),
    SmtpTest.close
  )
  const taking = script(
    opened(),
    ask(/^MAIL/, "250 ok"),
    ask(/^RCPT/, "250 ok"),
    ask("DATA", "354 go"),
    content(submission.content, "250 ok"),
    goodbye
  )

  it.scoped("follows an unknown outcome only when the program says that it may duplicate", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([losing, losing, taking])
      const client = yield* makeClient({ "mx.test": server })
      expect(outcomes(yield* client.deliver(submission, { retry: "briefly" }))).toEqual([
        "b@y.test Unknown ServerDisconnected final"
      ])
      const fiber = yield* Effect.fork(client.deliver(submission, { retry: { mayDuplicate: true } }))
      yield* TestClock.adjust("10 seconds")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Accepted 250"])
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("leaves an outcome unknown when a later attempt does not get far", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([losing])
      const { socket, state } = switchable(server)
      const client = yield* makeClient({ "mx.test": { socket } })
      const schedule = Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(1))
      const fiber = yield* Effect.fork(
        client.deliver(submission, { retry: { schedule, mayDuplicate: true } })
      )
      yield* TestClock.adjust(10)
      state.isDown = true
      yield* TestClock.adjust("10 seconds")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Unknown ServerDisconnected final"])
      expect(state.dials).toBe(2)
    })
  )

  it.scoped('is for everybody or nobody under recipients: "all"', () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(greylisting(1))
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      const to = ["a@y.test", "b@y.test"]
      const fiber = yield* Effect.fork(client.send({ ...submission, to, recipients: "all" }))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      expect(addressees(yield* server.messages)).toEqual([to])
    })
  )

  it.scoped("runs a stream again", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(greylisting(1))
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      const stream = Stream.fromChunk(Chunk.make(octets("Subject: hi\r\n"), octets("\r\nhello\r\n")))
      const fiber = yield* Effect.fork(client.send({ ...submission, content: stream }))
      yield* joinInTime(fiber, "1 minute")
      expect(texts(yield* server.messages)).toEqual([submission.content])
    })
  )

  it.scoped("is impossible for content that can be run once, and says so of whoever was not sent to", () =>
    Effect.gen(function* () {
      const dropping = script(opened(), line(/^MAIL/), SmtpTest.close)
      const server = yield* SmtpTest.scripted([dropping])
      const client = yield* makeClient({ "mx.test": server }, { retry: "briefly" })
      const once = SmtpContent.once(Stream.make(octets(submission.content)))
      const receipt = yield* client.deliver({ ...submission, content: once })
      expect(receipt.notSent).toMatchObject([{ cause: { _tag: "ContentError", reason: "UsedTwice" } }])
    })
  )

  it.scoped("leaves a server's refusal of such content as it is", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(greylisting(1))
      const client = yield* makeClient({ "mx.test": server }, { retry: "briefly" })
      const once = SmtpContent.once(Stream.make(octets(submission.content)))
      const receipt = yield* client.deliver({ ...submission, to: ["a@y.test", "b@y.test"], content: once })
      expect(outcomes(receipt)).toEqual(["a@y.test Accepted 250", "b@y.test Refused 450 rcpt"])
    })
  )

  it.scoped("gives the content's own failure to its giver the first time, and to the receipt later", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server(greylisting(1))
      const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
      const broken = Stream.fail("broken" as const)
      expect(yield* Effect.flip(client.send({ ...submission, content: broken }))).toBe("broken")
      let runs = 0
      const breaking = Stream.suspend(() =>
        runs++ === 0 ? Stream.make(octets(submission.content)) : Stream.fail("broken" as const)
      )
      const fiber = yield* Effect.fork(
        client.deliver({ ...submission, to: ["a@y.test", "b@y.test"], content: breaking })
      )
      expect(outcomes(yield* joinInTime(fiber, "1 minute"))).toEqual([
        "a@y.test Accepted 250",
        "b@y.test Refused 450 rcpt"
      ])
    })
  )

  it.scoped("is held to what the stream gave before: whoever is left gets no other message", () =>
    Effect.gen(function* () {
      const others = [
        "Subject: hi\r\n\r\n",
        "Subject: hi\r\n\r\nhullo\r\n",
        `${submission.content}more\r\n`,
        ""
      ]
      for (const other of others) {
        const server = yield* SmtpTest.server(greylisting(1))
        const client = yield* makeClient({ "mx.test": server }, { retry: "greylisted" })
        let runs = 0
        const changing = Stream.suspend(() => Stream.make(octets(runs++ === 0 ? submission.content : other)))
        const fiber = yield* Effect.fork(
          client.deliver({ ...submission, to: ["a@y.test", "b@y.test"], content: changing })
        )
        expect(outcomes(yield* joinInTime(fiber, "1 minute"))).toEqual([
          "a@y.test Accepted 250",
          "b@y.test Refused 450 rcpt"
        ])
        expect(runs).toBeGreaterThan(1)
        expect(texts(yield* server.messages)).toEqual([submission.content])
      }
    })
  )

  it.scoped("is held to a run that came to no end, at whatever relay that was", () =>
    Effect.gen(function* () {
      const losing = script(
        opened(),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        SmtpTest.close
      )
      const first = yield* SmtpTest.scripted([losing])
      const second = yield* SmtpTest.server()
      const client = yield* makeClient(
        { "one.test": first, "two.test": second },
        {
          host: undefined,
          relays: [
            { host: "one.test", priority: 1 },
            { host: "two.test", priority: 2 }
          ]
        }
      )
      let runs = 0
      const changing = Stream.suspend(() => {
        const piece = octets(`${runs++ === 0 ? "a" : "b"}\r\n`.repeat(30_000))
        return Stream.make(piece, piece, piece, piece, piece, piece, piece, piece)
      })
      const fiber = yield* Effect.fork(client.deliver({ ...submission, content: changing }))
      const { notSent } = yield* joinInTime(fiber, "1 second")
      expect(runs).toBe(2)
      expect(notSent).toMatchObject([{ cause: { _tag: "ContentError", reason: "Changed" } }])
      expect(yield* second.messages).toEqual([])
    })
  )

  it.scoped("may give another message where the program delivers anew", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      let runs = 0
      const counting = Stream.suspend(() => Stream.make(octets(`Subject: ${++runs}\r\n\r\n`)))
      const delivery = client.deliver({ ...submission, content: counting })
      expect(outcomes(yield* delivery)).toEqual(["b@y.test Accepted 250"])
      expect(outcomes(yield* delivery)).toEqual(["b@y.test Accepted 250"])
      expect(texts(yield* server.messages)).toEqual(["Subject: 1\r\n\r\n", "Subject: 2\r\n\r\n"])
    })
  )
})

describe("the limit of a whole send", () => {
  it.scoped("covers the wait for a session: nothing was sent", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([script(opened(), line(/^MAIL/), SmtpTest.silence)])
      const client = yield* makeClient({ "mx.test": server }, { maxSessions: 1 })
      yield* Effect.fork(client.deliver(submission))
      yield* settle
      const fiber = yield* Effect.fork(client.deliver({ ...submission, timeout: "5 seconds" }))
      yield* TestClock.adjust("5 seconds")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test NotSent ClientUnavailable"])
    })
  )

  it.scoped("does not pass faster when the time of day is set forward", () =>
    Effect.gen(function* () {
      const timeOfDay = yield* TimeOfDay.make
      const server = yield* SmtpTest.server()
      const { socket, state } = switchable(server)
      const client = yield* makeClient({ "mx.test": { socket } }, { retry: "briefly" })
      state.isDown = true
      const sending = client.deliver({ ...submission, timeout: "1 minute" })
      const fiber = yield* Effect.fork(Effect.withClock(sending, timeOfDay.clock))
      yield* settle
      timeOfDay.shift("1 hour", "forward")
      state.isDown = false
      yield* TestClock.adjust("10 seconds")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Accepted 250"])
    })
  )

  it.scoped("ends the send: no relay, no retry and no warning after it, and its hook hears once", () =>
    Effect.gen(function* () {
      const { entries, layer } = yield* collectLogs
      const stuck = script(
        opened(),
        ask(/^MAIL/, "250 ok"),
        line(/^RCPT/),
        SmtpTest.delay("5 seconds"),
        reply("250 ok"),
        ask("RSET", "250 ok"),
        ask("NOOP", "250 ok"),
        goodbye
      )
      const servers = { main: yield* SmtpTest.scripted([stuck]), spare: yield* SmtpTest.server() }
      const client = yield* makeClient(servers, {
        host: undefined,
        relays: [{ host: "main" }, { host: "spare", priority: 1 }],
        retry: { schedule: Schedule.recurs(3) }
      })
      const told: Array<ReadonlyArray<string>> = []
      const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(outcomes(receipt)))
      const sending = client.deliver({ ...submission, onOutcome, timeout: "60.7 millis" })
      const fiber = yield* Effect.fork(Effect.provide(sending, layer))
      yield* TestClock.adjust("60.3 millis")
      const receipt = yield* Fiber.join(fiber)
      expect(outcomes(receipt)).toEqual(["b@y.test NotSent ReplyTimeout rcpt"])
      expect(receipt.notSent.map(({ cause }) => cause.message)).toEqual([
        expect.stringContaining("The timeout of the send, 61 ms, ran out after RCPT")
      ])
      expect(yield* entries).toEqual([])
      yield* TestClock.adjust("5 seconds")
      expect(told).toEqual([["b@y.test NotSent ServerDisconnected data"]])
      expect(yield* servers.spare.transcript).toBe("")
      yield* client.close
      yield* servers.main.done
    })
  )

  it.scoped("is the client's where the submission has none, and tells NotSent from Unknown", () =>
    Effect.gen(function* () {
      const silent = script(
        opened(),
        ask(/^MAIL/, "250 ok"),
        ask(/^RCPT/, "250 ok"),
        ask("DATA", "354 go"),
        SmtpTest.expectContent(submission.content),
        SmtpTest.delay("8 seconds"),
        reply("250 ok"),
        ask("NOOP", "250 ok"),
        goodbye
      )
      const server = yield* SmtpTest.scripted([silent])
      const client = yield* makeClient({ "mx.test": server }, { timeout: "5 seconds" })
      const told: Array<ReadonlyArray<string>> = []
      const onOutcome = (receipt: Receipt) => Effect.sync(() => told.push(outcomes(receipt)))
      const fiber = yield* Effect.fork(client.deliver({ ...submission, onOutcome }))
      yield* TestClock.adjust("5 seconds")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Unknown ReplyTimeout final"])
      // The session is in doubt until the reply is there, and NOOP has been answered.
      expect(yield* client.state).toMatchObject({ open: 1, idle: 0 })
      yield* TestClock.adjust("3 seconds")
      expect(told).toEqual([["b@y.test Accepted 250"]])
      expect(yield* client.state).toMatchObject({ open: 1, idle: 1 })
      yield* client.close
      yield* server.done
    })
  )
})

describe("a timeout while no session is open", () => {
  const timedOut = (server: Reachable, own: SmtpClient.Options = {}) =>
    Effect.gen(function* () {
      const client = yield* makeClient({ "mx.test": server }, { port: 465, ...own })
      const fiber = yield* Effect.fork(client.deliver({ ...submission, timeout: "2 seconds" }))
      yield* joinInTime(fiber, "1 second")
      const { notSent } = yield* Fiber.join(fiber)
      expect(notSent).toMatchObject([{ cause: { _tag: "ClientUnavailable", reason: "Timeout" } }])
      return notSent[0]?.cause.message
    })

  it.scoped("says that the server is silent, and where", () =>
    Effect.gen(function* () {
      const message = yield* timedOut(yield* SmtpTest.scripted(SmtpTest.silence))
      expect(message).toMatch(
        /^No session was open .*: still connecting to mx\.test:465, waiting for the greeting\./
      )
      const dialled = yield* timedOut(yield* SmtpTest.scripted(SmtpTest.unanswered))
      expect(dialled).toMatch(/still connecting to mx\.test:465\./)
      const slow = yield* SmtpTest.scripted(SmtpTest.script(SmtpTest.reply("220 mx.test"), SmtpTest.silence))
      expect(yield* timedOut(slow)).toMatch(/mx\.test:465, waiting for EHLO, STARTTLS and AUTH\./)
      expect(message).toContain("Check host, port, firewall and the option tls")
      expect(message).not.toContain("maxSessions")
    })
  )

  it.scoped("says why the server is not tried again yet", () =>
    Effect.gen(function* () {
      const { socket, state } = switchable(yield* SmtpTest.server())
      state.isDown = true
      const client = yield* makeClient({ "mx.test": { socket } })
      yield* client.deliver(submission)
      const fiber = yield* Effect.fork(client.deliver({ ...submission, timeout: "100 millis" }))
      yield* joinInTime(fiber, "100 millis")
      const { notSent } = yield* Fiber.join(fiber)
      expect(notSent[0]?.cause.message).toMatch(/mx\.test:\d+ is not tried again yet after: Cannot connect/)
    })
  )

  it.scoped("says that all sessions were in use, if they were", () =>
    Effect.gen(function* () {
      const client = yield* makeClient(
        { "mx.test": yield* SmtpTest.server({ acceptMessage: () => undefined }) },
        { maxSessions: 1 }
      )
      yield* Effect.fork(client.send({ ...submission, content: Stream.never }))
      yield* settle
      const fiber = yield* Effect.fork(client.deliver({ ...submission, timeout: "2 seconds" }))
      yield* joinInTime(fiber, "1 second")
      const { notSent } = yield* Fiber.join(fiber)
      expect(notSent[0]?.cause.message).toMatch(/^No session was free .* Raise maxSessions/)
    })
  )
})

describe("a rate limit", () => {
  const limited = (limits: SmtpRateLimit.Limits, own: SmtpClient.Options = {}) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* Effect.provide(
        makeClient({ "mx.test": server }, own),
        SmtpRateLimit.layerMemory(limits)
      )
      return { client, server }
    })

  it.scoped("makes messages wait for their place before they take a session", () =>
    Effect.gen(function* () {
      const { client, server } = yield* limited({ messages: { limit: 2, interval: "10 seconds" } })
      const fibers = yield* Effect.replicateEffect(Effect.fork(client.send(submission)), 5)
      const counts: Array<number> = []
      for (const time of [0, 9_999, 1, 9_999, 1]) {
        yield* TestClock.adjust(time)
        counts.push((yield* server.messages).length)
      }
      expect(counts).toEqual([2, 2, 4, 4, 5])
      yield* Fiber.joinAll(fibers)
    })
  )

  it.scoped("turns away what has no place in time, or never", () =>
    Effect.gen(function* () {
      const { client, server } = yield* limited({ recipients: { limit: 2, interval: "10 seconds" } })
      const to = ["b@y.test", "c@y.test"]
      yield* client.send({ ...submission, to })
      const late = yield* client.deliver({ ...submission, timeout: "5 seconds" })
      expect(late.notSent).toMatchObject([{ cause: { _tag: "ClientUnavailable", reason: "RateLimit" } }])
      expect(yield* Effect.flip(client.send({ ...submission, to: [...to, "d@y.test"] }))).toMatchObject({
        _tag: "InvalidArgument",
        field: "to"
      })
      expect((yield* server.messages).length).toBe(1)
    })
  )

  const once: SmtpRateLimit.Limits = { messages: { limit: 1, interval: "10 seconds" } }

  it.scoped("is an option too, as limits, as a service that clients share, or off", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const count = (clients: ReadonlyArray<SmtpClient.Service>) =>
        Effect.gen(function* () {
          yield* server.takeMessages
          const fibers = yield* Effect.forEach(clients, (client) => Effect.fork(client.send(submission)))
          yield* settle
          const sent = (yield* server.takeMessages).length
          yield* Fiber.interruptAll(fibers)
          return sent
        })
      const client = (rateLimit: SmtpClient.Options["rateLimit"]) =>
        makeClient({ "mx.test": server }, { rateLimit })
      const own = yield* client(once)
      expect(yield* count([own, own])).toBe(1)
      const service = yield* SmtpRateLimit.makeMemory(once)
      expect(yield* count([yield* client(service), yield* client(service)])).toBe(1)
      const off = yield* Effect.provide(client("off"), SmtpRateLimit.layerMemory(once))
      expect(yield* count([off, off])).toBe(2)
    })
  )

  it.scoped("that is provided to the sender alone is no limit, and the send says so", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const unlimited = yield* makeClient({ "mx.test": server })
      const beside = SmtpRateLimit.layerMemory(once)
      for (const send of [unlimited.send, unlimited.deliver]) {
        expect(yield* Effect.flip(Effect.provide(send(submission), beside))).toMatchObject({
          _tag: "InvalidArgument",
          field: "rateLimit"
        })
      }
      const receipts = yield* unlimited
        .sendAll(Stream.make({ key: 1, submission }))
        .pipe(Effect.flatMap(Stream.runCollect), Effect.provide(beside))
      expect(Chunk.toReadonlyArray(receipts)).toMatchObject([{ error: { field: "rateLimit" } }])
      expect(yield* server.messages).toEqual([])
      const off = yield* makeClient({ "mx.test": server }, { rateLimit: "off" })
      yield* Effect.provide(off.send(submission), beside)
      const { client } = yield* limited(once)
      yield* Effect.provide(client.send(submission), beside)
    })
  )

  it.scoped("lets nobody wait for a client that is closed", () =>
    Effect.gen(function* () {
      const { client } = yield* limited({ messages: { limit: 1, interval: "1 hour" } })
      yield* client.send(submission)
      const waiting = yield* Effect.fork(client.deliver(submission))
      yield* settle
      yield* client.close
      expect(outcomes(yield* Fiber.join(waiting))).toEqual(["b@y.test NotSent ClientUnavailable"])
    })
  )
})

describe("sendAll", () => {
  it.scoped("makes submissions that are effects, and one that cannot be made is its own receipt", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server }, { maxSessions: 2 })
      const wrong = new InvalidArgument({ field: "to", reason: "is empty" })
      const submissions = Stream.make<Array<SmtpSubmission.Keyed<number, InvalidArgument | "no such row">>>(
        { key: 1, submission: Effect.delay(Effect.succeed(submission), "1 second") },
        { key: 2, submission: Effect.fail("no such row" as const) },
        { key: 3, submission: Effect.fail(wrong) },
        { key: 4, submission: Effect.die("a bug") },
        { key: 5, submission: Effect.interrupt },
        {
          key: 6,
          submission: Effect.succeed({ ...submission, content: Stream.fail("no such row" as const) })
        },
        { key: 7, submission }
      )
      const fiber = yield* Effect.fork(Effect.flatMap(client.sendAll(submissions), Stream.runCollect))
      const receipts = yield* joinInTime(fiber, "1 second")
      const byKey = Chunk.toReadonlyArray(receipts).toSorted((left, right) => left.key - right.key)
      expect(byKey.map(({ error, key, receipt }) => [key, error, ...outcomes(receipt)])).toEqual([
        [1, undefined, "b@y.test Accepted 250"],
        [2, "no such row", " NotSent ContentError"],
        [3, wrong, " NotSent InvalidArgument"],
        [4, undefined, " NotSent ContentError"],
        [5, undefined, " NotSent ContentError"],
        [6, "no such row", "b@y.test NotSent ContentError"],
        [7, undefined, "b@y.test Accepted 250"]
      ])
      expect(byKey[1]?.receipt.notSent[0]?.cause.message).toContain("the submission failed: no such row")
      expect(byKey[3]?.receipt.notSent[0]?.cause.message).toContain("the submission ended in a defect: a bug")
    })
  )

  it.scoped("gives up a submission that is being made when its reader leaves", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      let interrupted = 0
      const never = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      const receipts = yield* client.sendAll(
        Stream.make({ key: 1, submission }, { key: 2, submission: never })
      )
      expect(Chunk.size(yield* Stream.runCollect(Stream.take(receipts, 1)))).toBe(1)
      expect(interrupted).toBe(1)
    })
  )

  it.scoped("gives one keyed receipt for each submission, whatever becomes of the others", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({
        accept: ({ address }) => (address === "no@y.test" ? "550 5.1.1 no such user" : undefined)
      })
      const client = yield* makeClient({ "mx.test": server })
      const submissions = Stream.make(
        { key: 1, submission },
        { key: 2, submission: { ...submission, to: "no@y.test" } },
        { key: 3, submission: { ...submission, to: "bad address" } },
        { key: 4, submission: { ...submission, content: Stream.fail("broken" as const) } },
        { key: 5, submission }
      )
      const receipts = yield* Stream.runCollect(yield* client.sendAll(submissions))
      const byKey = Chunk.toReadonlyArray(receipts).toSorted((left, right) => left.key - right.key)
      expect(byKey.map(({ error, key, receipt }) => [key, error, ...outcomes(receipt)])).toMatchObject([
        [1, undefined, "b@y.test Accepted 250"],
        [2, undefined, "no@y.test Refused 550 rcpt"],
        [3, { _tag: "InvalidArgument" }, "bad address NotSent InvalidArgument"],
        [4, "broken", "b@y.test NotSent ContentError"],
        [5, undefined, "b@y.test Accepted 250"]
      ])
    })
  )

  it.scoped(
    "gives every other submission its receipt where a content breaks from within, or an item is none",
    () =>
      Effect.gen(function* () {
        const server = yield* SmtpTest.server()
        const client = yield* makeClient({ "mx.test": server })
        const dying = Stream.concat(Stream.make(octets("Subject: x\r\n")), Stream.die("a bug"))
        const submissions = Stream.make(
          { key: 1, submission },
          { key: 2, submission: { ...submission, content: dying } },
          { key: 3, submission: { ...submission, content: Stream.fromEffect(Effect.interrupt) } },
          { key: 4, submission: { ...submission, to: untyped([null]) } },
          { key: 5, submission: untyped(undefined) },
          { key: 6, submission }
        )
        const receipts = yield* Stream.runCollect(yield* client.sendAll(submissions))
        const byKey = Chunk.toReadonlyArray(receipts).toSorted((left, right) => left.key - right.key)
        expect(byKey.map(({ error, key, receipt }) => [key, error?._tag, ...outcomes(receipt)])).toEqual([
          [1, undefined, "b@y.test Accepted 250"],
          [2, undefined, "b@y.test NotSent ContentError"],
          [3, undefined, "b@y.test NotSent ContentError"],
          [4, "InvalidArgument", " NotSent InvalidArgument"],
          [5, "InvalidArgument", " NotSent InvalidArgument"],
          [6, undefined, "b@y.test Accepted 250"]
        ])
        const detail = byKey[1]?.receipt.notSent[0]?.cause.message
        expect(detail).toContain("the stream ended in a defect: a bug")
      })
  )

  it.scoped("ends as its source does, after the receipts of what was under way", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server })
      const some = Stream.range(1, 5).pipe(Stream.map((key) => ({ key, submission })))
      for (const end of [Stream.fail("no more"), Stream.die("no more")]) {
        const keys: Array<number> = []
        const receipts = yield* client.sendAll(Stream.concat(some, end))
        const cause = yield* Effect.flip(
          Effect.sandbox(Stream.runForEach(receipts, ({ key }) => Effect.sync(() => keys.push(key))))
        )
        expect(Cause.squash(cause)).toBe("no more")
        expect(keys.toSorted()).toEqual([1, 2, 3, 4, 5])
      }
    })
  )

  it.scoped("pulls no more than it can send, and keeps no more than it has", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const client = yield* makeClient({ "mx.test": server }, { maxSessions: 2 })
      let pulled = 0
      let taken = 0
      let most = 0
      const submissions = Stream.range(1, 300, 1).pipe(
        Stream.map((key) => {
          pulled += 1
          most = Math.max(most, pulled - taken)
          return { key, submission }
        })
      )
      yield* Stream.runForEach(yield* client.sendAll(submissions), () =>
        Effect.sync(() => {
          taken += 1
        })
      )
      expect([pulled, taken, (yield* server.messages).length]).toEqual([300, 300, 300])
      expect(most).toBeLessThan(100)
    })
  )
})
