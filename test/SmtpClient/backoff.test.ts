import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { collectLogs } from "../support/logs.js"
import { ask, content, goodbye, octets, opened, outcomes, submission } from "../SmtpSession/oneSession.js"
import { joinInTime, makeClient, switchable } from "./client.js"

const { script } = SmtpTest

const sendMany = (client: SmtpClient.Service, count: number) =>
  Effect.forEach(
    Array.from({ length: count }, (_, index) => index),
    (index) => client.deliver({ ...submission, from: `a${index}@x.test`, to: `b${index}@y.test` }),
    { concurrency: "unbounded" }
  )

const tags = (receipts: ReadonlyArray<SmtpClient.Receipt>): ReadonlyArray<string> => [
  ...new Set(receipts.flatMap(({ outcomes }) => outcomes.map(({ _tag }) => _tag)))
]

describe("a relay that takes nothing for a while", () => {
  for (const [where, reply] of [
    ["MAIL", "421 4.3.2 try again later"],
    ["MAIL", "451 4.3.2 try again later"],
    ["MAIL", "450 4.7.1 too fast"],
    ["the dot", "421 4.3.2 try again later"],
    ["the dot", "451 4.4.5 congested"]
  ] as const) {
    for (const seconds of [10, 25]) {
      it.scoped(`gets few attempts and then every message: ${reply} to ${where} for ${seconds} s`, () =>
        Effect.gen(function* () {
          let isDown = true
          let refusals = 0
          const answer = () => {
            if (isDown) refusals += 1
            return isDown ? reply : undefined
          }
          const server = yield* SmtpTest.server(
            where === "MAIL" ? { acceptSender: answer } : { acceptMessage: answer }
          )
          const { socket, state } = switchable(server)
          const client = yield* makeClient({ "mx.test": { socket } }, { retry: "briefly" })
          const fiber = yield* Effect.fork(sendMany(client, 200))
          yield* TestClock.adjust(`${seconds} seconds`)
          isDown = false
          expect(tags(yield* joinInTime(fiber, "1 second"))).toEqual(["Accepted"])
          expect((yield* server.messages).length).toBe(200)
          expect(state.dials).toBeLessThan(30)
          expect(refusals).toBeLessThan(30)
        })
      )
    }
  }

  it.scoped("never opens a connection at once after 421", () =>
    Effect.gen(function* () {
      let refusals = 1
      const server = yield* SmtpTest.server({
        acceptSender: () => (refusals-- > 0 ? "421 4.7.0 slow down" : undefined)
      })
      const { socket, state } = switchable(server)
      const client = yield* makeClient({ "mx.test": { socket } }, { retry: "off" })
      expect(outcomes(yield* client.deliver(submission))).toEqual([
        "b@y.test NotSent ServerDisconnected mail"
      ])
      const next = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust(350)
      expect(state.dials).toBe(1)
      yield* TestClock.adjust(300)
      expect(outcomes(yield* Fiber.join(next))).toEqual(["b@y.test Accepted 250"])
    })
  )

  it.scoped("costs a message about the length of its schedule, and a pause or two", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({ acceptSender: () => "421 4.3.2 never" })
      const client = yield* makeClient({ "mx.test": server }, { retry: "briefly" })
      const fiber = yield* Effect.fork(sendMany(client, 20))
      const receipts = yield* joinInTime(fiber, "1 second")
      expect(yield* Clock.currentTimeMillis).toBeLessThan(120_000)
      for (const receipt of receipts) expect(outcomes(receipt)[0]).toMatch(/NotSent ServerDisconnected mail$/)
    })
  )

  it.scoped("costs nobody a pause when only a recipient is refused", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server({
        accept: ({ address }) => (address === "b50@y.test" ? "450 4.7.1 greylisted" : undefined)
      })
      const client = yield* makeClient({ "mx.test": server }, { maxSessions: 1 })
      // No time passes.
      const receipts = yield* sendMany(client, 100)
      expect(receipts.filter(({ accepted }) => accepted.length === 1).length).toBe(99)
      expect((yield* server.connections).length).toBe(1)
    })
  )
})

const byData = (text: string) =>
  script(ask(/^MAIL/, "250 ok"), ask(/^RCPT/, "250 ok"), ask("DATA", "354 go"), content(text, "250 ok"))

const taken = byData(submission.content)

describe("a session that does not do any more", () => {
  for (const reply of ["450 too many messages", "452 4.4.5 later", "451 4.3.2 enough", "450 4.7.1 enough"]) {
    it.scoped(`is replaced at once where it has delivered: ${reply} to MAIL`, () =>
      Effect.gen(function* () {
        const server = yield* SmtpTest.scripted([
          script(opened(), taken, taken, ask(/^MAIL/, reply), ask("RSET", "250 ok"), goodbye),
          script(opened(), taken, goodbye)
        ])
        const client = yield* makeClient({ "mx.test": server }, { maxSessions: 1 })
        for (let count = 0; count < 3; count++) {
          expect(outcomes(yield* client.deliver(submission))).toEqual(["b@y.test Accepted 250"])
        }
        yield* client.close
        yield* server.done
      })
    )
  }

  it.scoped("is not replaced for a sender that is refused for now", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        script(
          opened(),
          taken,
          ask(/^MAIL/, "450 4.1.8 no such domain yet"),
          ask("RSET", "250 ok"),
          taken,
          goodbye
        )
      )
      const client = yield* makeClient({ "mx.test": server }, { maxSessions: 1 })
      yield* client.send(submission)
      expect(outcomes(yield* client.deliver(submission))).toEqual(["b@y.test Refused 450 mail"])
      yield* client.send(submission)
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("is replaced once for a message, and then the relay pauses", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([
        script(opened(), taken, ask(/^MAIL/, "450 later"), ask("RSET", "250 ok"), goodbye),
        script(opened(), ask(/^MAIL/, "450 later"), ask("RSET", "250 ok"), taken, goodbye)
      ])
      const client = yield* makeClient({ "mx.test": server }, { maxSessions: 1 })
      yield* client.send(submission)
      expect(outcomes(yield* client.deliver(submission))).toEqual(["b@y.test Refused 450 mail"])
      const next = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust(350)
      expect(next.unsafePoll()).toBe(null)
      yield* TestClock.adjust(300)
      expect(outcomes(yield* Fiber.join(next))).toEqual(["b@y.test Accepted 250"])
      yield* client.close
      yield* server.done
    })
  )

  for (const reply of ["500 what", "502 no", "503 bad sequence", "451 later"]) {
    it.scoped(`costs an innocent message nothing: RSET answered by ${reply}`, () =>
      Effect.gen(function* () {
        const refusing = script(
          opened(),
          ask(/^MAIL/, "250 ok"),
          ask(/^RCPT/, "550 5.1.1 no"),
          ask("RSET", reply),
          SmtpTest.expectEnd
        )
        const server = yield* SmtpTest.scripted([refusing, script(opened(), taken, taken, goodbye)])
        const client = yield* makeClient({ "mx.test": server }, { maxSessions: 1 })
        const receipts = yield* Effect.all(
          [1, 2, 3].map(() => client.deliver(submission)),
          {
            concurrency: "unbounded"
          }
        )
        expect(receipts.flatMap(outcomes)).toEqual([
          "b@y.test Refused 550 rcpt",
          "b@y.test Accepted 250",
          "b@y.test Accepted 250"
        ])
        yield* client.close
        yield* server.done
      })
    )
  }
})

describe("credentials that are refused", () => {
  const auth = SmtpAuth.password({ username: "app", password: Redacted.make("wrong"), mechanisms: ["PLAIN"] })

  it.scoped("are tried once, told to everybody who waits, and then not for a minute that doubles", () =>
    Effect.gen(function* () {
      let attempts = 0
      const server = yield* SmtpTest.server({
        authenticate: () => {
          attempts += 1
          return false
        }
      })
      const client = yield* makeClient({ "mx.test": server }, { auth, tls: "starttls", retry: "briefly" })
      const rejected = (receipts: ReadonlyArray<SmtpClient.Receipt>) =>
        receipts.every(({ notSent: [first] }) => first?.cause._tag === "AuthenticationError")
      expect(rejected(yield* sendMany(client, 50))).toBe(true)
      expect(attempts).toBe(1)
      for (const [index, seconds] of [60, 120, 240].entries()) {
        yield* TestClock.adjust(`${seconds - 1} seconds`)
        expect(rejected(yield* sendMany(client, 5))).toBe(true)
        expect(attempts).toBe(index + 1)
        yield* TestClock.adjust("1 second")
        expect(rejected(yield* sendMany(client, 5))).toBe(true)
        expect(attempts).toBe(index + 2)
      }
    })
  )

  it.scoped("are tried by one session first", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const { socket } = server
      const slow = {
        dial: (...args: Parameters<typeof socket.dial>) => Effect.delay(socket.dial(...args), "1 second")
      }
      for (const [own, opening] of [
        [{ auth }, 1],
        [{}, 5]
      ] as const) {
        const client = yield* makeClient({ "mx.test": { socket: slow } }, { ...own, tls: "starttls" })
        const fiber = yield* Effect.fork(sendMany(client, 5))
        yield* TestClock.adjust(999)
        expect(yield* client.state).toMatchObject({ opening, waiting: 5 })
        yield* joinInTime(fiber, "1 second")
      }
    })
  )
})

describe("a server that takes three sessions", () => {
  it.scoped("gets every message in its first attempt or its first retry", () =>
    Effect.gen(function* () {
      const users = new Map<number, number>()
      let refusals = 0
      const server = yield* SmtpTest.server({})
      let open = 0
      const crowded = yield* SmtpTest.server({
        acceptSender: () => {
          refusals += 1
          return "432 4.3.2 concurrent connections limit exceeded"
        }
      })
      const socket: SmtpTest.Service["socket"] = {
        dial: (endpoint, options) =>
          Effect.flatMap(
            Effect.acquireRelease(
              Effect.sync(() => ++open > 3),
              () => Effect.sync(() => open--)
            ),
            (isOver) => (isOver ? crowded : server).socket.dial(endpoint, options)
          )
      }
      const client = yield* makeClient({ "mx.test": { socket } }, { retry: "briefly" })
      const fiber = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: 60 }, (_, index) => index),
          (index) =>
            client.deliver({
              ...submission,
              from: `a${index}@x.test`,
              onOutcome: () => Effect.sync(() => users.set(index, 1))
            }),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust(0)
      expect((yield* client.state).relays[0]?.limit).toBeLessThan(4)
      yield* TestClock.adjust("3 seconds")
      expect(tags(yield* Fiber.join(fiber))).toEqual(["Accepted"])
      expect(refusals).toBeLessThanOrEqual(2)
      // It tries more again, slowly.
      const { limit = 0 } = (yield* client.state).relays[0] ?? {}
      yield* TestClock.adjust("11 seconds")
      yield* client.send(submission)
      expect((yield* client.state).relays[0]?.limit).toBe(limit + 1)
    })
  )
})

describe("a server that is silent", () => {
  const mute: SmtpTest.Service["socket"] = {
    dial: (endpoint, options) =>
      Effect.flatMap(SmtpTest.scripted(script(SmtpTest.expectEnd)), ({ socket }) =>
        socket.dial(endpoint, options)
      )
  }
  const unreachable: SmtpTest.Service["socket"] = { dial: () => Effect.never }

  for (const [what, socket, tag, seconds] of [
    ["greeting", mute, "ReplyTimeout", 30],
    ["connection attempt", unreachable, "ConnectError", 60]
  ] as const) {
    it.scoped(`costs a relay that has never worked two attempts and no more: ${what}`, () =>
      Effect.gen(function* () {
        const { socket: counted, state } = switchable({ socket })
        const client = yield* makeClient(
          { "mx.test": { socket: counted } },
          { retry: "briefly", maxSessions: 1 }
        )
        const logs = yield* collectLogs
        const fiber = yield* Effect.fork(Effect.provide(sendMany(client, 3), logs.layer))
        yield* TestClock.adjust("5 seconds")
        yield* joinInTime(fiber, "1 second")
        expect((yield* Fiber.join(fiber)).flatMap(outcomes).join()).toContain(`NotSent ${tag}`)
        expect(state.dials).toBe(2)
        const now = yield* Clock.currentTimeMillis
        expect(now).toBeGreaterThanOrEqual(2000 * seconds)
        expect(now).toBeLessThan(2000 * seconds + 5000)
        // For a while nothing is tried.
        expect(outcomes(yield* client.deliver(submission))).toMatchObject([expect.stringContaining(tag)])
        expect(state.dials).toBe(2)
      })
    )
  }

  it.scoped("is named in a Warning, with what to check", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      yield* Effect.gen(function* () {
        const client = yield* makeClient({ "mx.test": { socket: mute } }, { retry: "off" })
        yield* Effect.fork(client.deliver(submission))
        yield* TestClock.adjust(4999)
        expect(yield* logs.entries).toEqual([])
        yield* TestClock.adjust(1)
      }).pipe(Effect.provide(logs.layer))
      const entries = yield* logs.entries
      expect(entries).toMatchObject([
        { level: "WARN", annotations: { "server.address": "mx.test", "server.port": 25 } }
      ])
      expect(entries[0]?.text).toMatch(/^mx\.test:25 .* during the greeting\. Check .*firewall.*465/)
    })
  )

  it.scoped("costs a relay that has worked the whole schedule", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      let isMute = false
      const socket: SmtpTest.Service["socket"] = {
        dial: (...args) => Effect.suspend(() => (isMute ? mute : server.socket).dial(...args))
      }
      const client = yield* makeClient({ "mx.test": { socket } }, { retry: "briefly", idleTimeout: 0 })
      yield* client.send(submission)
      isMute = true
      const fiber = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust("100 seconds")
      isMute = false
      const receipt = yield* joinInTime(fiber, "1 second")
      expect(outcomes(receipt)).toEqual(["b@y.test Accepted 250"])
    })
  )

  it.scoped("has a minute for MAIL until a message was delivered, and then five", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([
        script(opened(), SmtpTest.expect(/^MAIL/), SmtpTest.expectEnd),
        script(opened(), taken, goodbye),
        script(opened(), SmtpTest.expect(/^MAIL/), SmtpTest.expectEnd)
      ])
      const client = yield* makeClient({ "mx.test": server }, { idleTimeout: 0 })
      const waited: Array<number> = []
      for (let count = 0; count < 3; count++) {
        const since = yield* Clock.currentTimeMillis
        yield* joinInTime(yield* Effect.fork(client.deliver(submission)), "1 second")
        waited.push(Math.round(((yield* Clock.currentTimeMillis) - since) / 60_000))
      }
      expect(waited).toEqual([1, 0, 5])
    })
  )
})

describe("what a server announces and does not do", () => {
  const session = (...steps: ReadonlyArray<SmtpTest.Script>) => script(opened("PIPELINING"), ...steps)

  it.scoped("what is pipelined is lost: every message goes without from then on", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([
        session(
          SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
          SmtpTest.reply("250 ok"),
          SmtpTest.expectEnd
        ),
        session(taken, taken, goodbye),
        session(taken, goodbye)
      ])
      const cache = yield* Effect.map(Layer.build(CapabilityCache.layerMemory), (context) =>
        Context.get(context, CapabilityCache.CapabilityCache)
      )
      const make = Effect.provide(
        SmtpClient.make({ host: "mx.test", tls: "none", clientName: "client.test", retry: "off" }),
        Layer.merge(server.layer, Layer.succeed(CapabilityCache.CapabilityCache, cache))
      )
      const client = yield* make
      const fiber = yield* Effect.fork(client.deliver(submission))
      yield* TestClock.adjust("1 minute")
      expect(outcomes(yield* Fiber.join(fiber))).toEqual(["b@y.test Accepted 250"])
      yield* client.send(submission)
      yield* client.close
      // The cache tells another client.
      const other = yield* make
      yield* other.send(submission)
      yield* other.close
      yield* server.done
    })
  )

  it.scoped("BDAT is unknown on several sessions at once: each message goes by DATA", () =>
    Effect.gen(function* () {
      const text = "Subject: x\r\n\r\nx\r\n"
      const refuses = script(
        opened("CHUNKING"),
        ask(/^MAIL/, "250 ok"),
        ask(/^RCPT/, "250 ok"),
        SmtpTest.expect(/^BDAT/),
        SmtpTest.delay("1 second"),
        SmtpTest.reply("502 5.5.1 what is BDAT"),
        SmtpTest.close
      )
      const takes = script(opened("CHUNKING"), byData(text), goodbye)
      const server = yield* SmtpTest.scripted([refuses, refuses, takes, takes])
      const client = yield* makeClient(
        { "mx.test": server },
        { retry: "off", chunking: "on", maxSessions: 2 }
      )
      const two = Effect.replicateEffect(client.deliver({ ...submission, content: text }), 2, {
        concurrency: "unbounded"
      })
      const receipts = yield* joinInTime(yield* Effect.fork(two), 10)
      expect(receipts.flatMap(outcomes)).toEqual(["b@y.test Accepted 250", "b@y.test Accepted 250"])
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("BDAT is unknown: every message goes by DATA from then on", () =>
    Effect.gen(function* () {
      const text = `Subject: long\r\n\r\n${"as long as it takes to be sent in chunks\r\n".repeat(5000)}`
      const server = yield* SmtpTest.scripted([
        script(
          opened("CHUNKING", "8BITMIME"),
          ask(/^MAIL/, "250 ok"),
          ask(/^RCPT/, "250 ok"),
          SmtpTest.expect(/^BDAT/),
          SmtpTest.reply("502 5.5.1 what is BDAT"),
          SmtpTest.close
        ),
        script(opened("CHUNKING", "8BITMIME"), byData(text), taken, goodbye)
      ])
      const client = yield* makeClient({ "mx.test": server }, { retry: "off", chunking: "on" })
      // The refusal comes before the end of the message.
      let runs = 0
      const bytes = Stream.make(octets(text))
      const stream = Stream.suspend(() => (runs++ === 0 ? Stream.concat(bytes, Stream.never) : bytes))
      const fiber = yield* Effect.fork(client.deliver({ ...submission, content: stream }))
      expect(outcomes(yield* joinInTime(fiber, 10))).toEqual(["b@y.test Accepted 250"])
      yield* client.send(submission)
      yield* client.close
      yield* server.done
    })
  )
})
