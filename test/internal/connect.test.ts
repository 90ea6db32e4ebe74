import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as SmtpError from "../../src/SmtpError.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { SmtpSocket } from "../../src/SmtpSocket.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { counting } from "../support/dials.js"
import { joinInTime } from "../SmtpClient/client.js"
import { goodbye, opened } from "../SmtpSession/oneSession.js"

const options: SmtpSession.Options = {
  host: "mx.test",
  tls: "none",
  clientName: "client.test",
  pipelining: "overlap"
}

/** What a session came to whose host has another address for every look-up, and how it was dialled. */
const connectTo = (greeting: SmtpTest.Script) =>
  Effect.gen(function* () {
    const server = yield* SmtpTest.scripted(Array.from({ length: 20 }, () => greeting))
    const { dials, transport } = counting(yield* Layer.build(server.layer), (index) => `192.0.2.${index}`)
    const error = yield* SmtpSession.connect({ host: "mx.test", tls: "none" }).pipe(
      Effect.flip,
      Effect.provide(transport)
    )
    return { error, dials: dials() }
  })

const busy = SmtpTest.script(SmtpTest.reply("421 4.3.2 busy"), SmtpTest.close)

describe("a host whose every look-up gives another address, each of which is busy", () => {
  it.scoped("is dialled eight times and no more", () =>
    Effect.gen(function* () {
      const { dials, error } = yield* connectTo(busy)
      expect(error).toMatchObject({ _tag: "ConnectError", reason: "Greeting", reply: { code: 421 } })
      expect(SmtpError.isTransient(error)).toBe(true)
      expect(dials.count).toBe(8)
    })
  )

  it.scoped("is dialled no later than the limit of a greeting after the first time", () =>
    Effect.gen(function* () {
      const connecting = yield* Effect.fork(connectTo(SmtpTest.script(SmtpTest.delay("4 minutes"), busy)))
      yield* Effect.repeatN(TestClock.adjust("1 minute"), 40)
      const { dials, error } = yield* Fiber.join(connecting)
      expect(error).toMatchObject({ _tag: "ConnectError", reason: "Greeting", reply: { code: 421 } })
      expect(dials.count).toBe(2)
    })
  )

  it.scoped("has one connection at a time, and none in the end", () =>
    Effect.gen(function* () {
      const polite = SmtpTest.script(
        SmtpTest.reply("450 4.3.2 busy"),
        SmtpTest.expect("QUIT"),
        SmtpTest.reply("221 bye"),
        SmtpTest.expectEnd
      )
      const { dials } = yield* connectTo(polite)
      expect(dials).toEqual({ count: 8, open: 0, openAtOnce: 1 })
    })
  )
})

describe("what a program has plugged in, and does not come to an end", () => {
  it.scoped("fails a session in time where it does not read the PROXY header", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted([SmtpTest.silence])
      const deaf = Layer.succeed(SmtpSocket, {
        dial: (...args) =>
          Effect.map(server.socket.dial(...args), (connection) => ({
            ...connection,
            write: () => Effect.never
          }))
      })
      const connecting = yield* SmtpSession.connect({
        host: "mx.test",
        timeouts: { connect: 3000 },
        proxyHeader: { version: 2 }
      }).pipe(
        Effect.flip,
        Effect.uninterruptible,
        Effect.provide(Layer.mergeAll(deaf, SmtpTest.layerTls, CapabilityCache.layerNone)),
        Effect.fork
      )
      yield* TestClock.adjust(2999)
      expect(connecting.unsafePoll()).toBe(null)
      yield* TestClock.adjust(1)
      expect(connecting.unsafePoll()).toMatchObject({ value: { _tag: "ConnectError", reason: "Timeout" } })
    })
  )

  it.scoped("fails a session in time where it dials", () =>
    Effect.gen(function* () {
      const layer = Layer.mergeAll(
        Layer.succeed(SmtpSocket, { dial: () => Effect.never }),
        SmtpTest.layerTls,
        CapabilityCache.layerNone
      )
      const connecting = yield* SmtpSession.connect({ host: "mx.test", timeouts: { connect: 3000 } }).pipe(
        Effect.flip,
        Effect.uninterruptible,
        Effect.provide(layer),
        Effect.fork
      )
      yield* TestClock.adjust(2999)
      expect(connecting.unsafePoll()).toBe(null)
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(connecting)).toMatchObject({ _tag: "ConnectError", reason: "Timeout" })
    })
  )

  for (const [name, answer] of [
    ["does not answer", Effect.never],
    ["dies", Effect.die("a bug")]
  ] as const) {
    it.scoped(`costs a session a short while, and the log one line, where it remembers and ${name}`, () =>
      Effect.gen(function* () {
        const ask = () => answer
        const cache = {
          get: ask,
          put: ask,
          pin: ask,
          pinned: ask,
          bind: ask,
          bound: ask,
          restrain: ask,
          restrained: ask,
          loseInput: ask,
          losesInput: ask
        }
        const script = SmtpTest.script(opened(), goodbye)
        const server = yield* SmtpTest.scripted([script, script])
        const lines: Array<unknown> = []
        const logger = Logger.make(({ message }) => lines.push(message))
        const session = Effect.scoped(SmtpSession.make(options)).pipe(
          Effect.provideService(SmtpSocket, server.socket),
          Effect.provideService(CapabilityCache.CapabilityCache, cache),
          Effect.provide(SmtpTest.layerTls),
          Effect.provide(Logger.replace(Logger.defaultLogger, logger))
        )
        yield* joinInTime(yield* Effect.fork(Effect.repeatN(session, 1)), "1 second")
        expect(lines).toHaveLength(1)
        yield* server.done
      })
    )
  }
})
