import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Schedule from "effect/Schedule"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import type { Receipt } from "../../src/SmtpReceipt.js"
import { suite } from "../servers/availability.js"
import { start } from "../servers/postfix.js"
import { bob, user } from "../servers/running.js"

const messageId = (number: number): string => `message.${number}@client.test`

const content = (number: number): string =>
  `From: <${bob}>\r\nSubject: ${number}\r\nMessage-ID: <${messageId(number)}>\r\n\r\nx\r\n`

/** How often each message has come to its end at the server, by number: what the log says of every queue file. */
const arrivals = (log: string): ReadonlyMap<number, number> => {
  const numbers = new Map<string, number>()
  const sent = new Map<number, number>()
  for (const line of log.split("\n")) {
    const named = /: ([0-9A-Za-z]+): message-id=<message\.(\d+)@client\.test>/.exec(line)
    if (named?.[1] !== undefined) numbers.set(named[1], Number(named[2]))
    const delivered = /: ([0-9A-Za-z]+): to=<[^>]*>,.* status=sent/.exec(line)
    const number = delivered?.[1] === undefined ? undefined : numbers.get(delivered[1])
    if (number !== undefined) sent.set(number, (sent.get(number) ?? 0) + 1)
  }
  return sent
}

suite("a client and Postfix", ["Postfix"], () => {
  it.scopedLive(
    "account for each of 5,000 concurrent messages while Postfix is restarted, away for a while, and throttling",
    () =>
      Effect.gen(function* () {
        const count = 5000
        const maxSessions = 8
        const postfix = yield* start({
          overrides: { virtual_transport: "discard", qmgr_message_active_limit: "10000" }
        })
        const { host, port } = postfix
        const client = yield* SmtpClient.make({
          host,
          port,
          tls: "none",
          maxSessions,
          retry: { schedule: Schedule.spaced("1 second").pipe(Schedule.intersect(Schedule.recurs(60))) }
        })
        const receipts: Array<Receipt> = []
        const fibers = yield* Effect.forEach(
          Array.from({ length: count }, (_, number) => number),
          (number) =>
            client.deliver({ from: bob, to: user(1 + (number % 1000)), content: content(number) }).pipe(
              Effect.tap((receipt) => Effect.sync(() => receipts.push(receipt))),
              Effect.fork
            )
        )
        let most = 0
        const watching = yield* client.state.pipe(
          Effect.tap(({ open, opening }) =>
            Effect.sync(() => {
              most = Math.max(most, open + opening)
            })
          ),
          Effect.zipRight(Effect.sleep(5)),
          Effect.forever,
          Effect.fork
        )
        const after = (part: number) =>
          Effect.suspend(() => (receipts.length >= part * count ? Effect.void : Effect.fail("not yet"))).pipe(
            Effect.retry(Schedule.spaced(10))
          )
        yield* after(0.15)
        yield* Effect.zipRight(postfix.stop, postfix.resume())
        yield* after(0.4)
        yield* postfix.stop
        yield* Effect.sleep("2 seconds")
        // No more than three sessions of one client from now on, and 421 for the others.
        yield* postfix.resume({ smtpd_client_connection_count_limit: "3" })
        const outcomes = (yield* Fiber.join(Fiber.all(fibers))).map((receipt) => receipt.outcomes)
        yield* Fiber.interrupt(watching)
        expect(outcomes.every((each) => each.length === 1)).toBe(true)
        const tags = outcomes.map(([outcome]) => outcome?._tag)
        const accepted = tags.flatMap((tag, number) => (tag === "Accepted" ? [number] : []))
        // What was accepted last is still on its way through the queue.
        const sent = yield* Effect.repeat(Effect.map(postfix.log, arrivals), {
          until: (found) => accepted.every((number) => found.has(number)),
          schedule: Schedule.spaced(100)
        }).pipe(Effect.timeout("30 seconds"), Effect.zipRight(Effect.map(postfix.log, arrivals)))
        const wrong: Array<string> = []
        for (const [number, tag] of tags.entries()) {
          const copies = sent.get(number) ?? 0
          if (copies > 1) wrong.push(`${number} arrived ${copies} times`)
          if (tag === "Accepted" && copies !== 1) wrong.push(`${number} was accepted and is not there`)
          if ((tag === "NotSent" || tag === "Refused") && copies > 0)
            wrong.push(`${number}: ${tag}, and it is there`)
        }
        expect(wrong).toEqual([])
        expect(most).toBeLessThanOrEqual(maxSessions)
        // At most what was under way at the two moments may be in doubt.
        expect(tags.filter((tag) => tag === "Unknown").length).toBeLessThanOrEqual(2 * maxSessions)
        expect(accepted.length).toBeGreaterThanOrEqual(count - 2 * maxSessions)
        const { isTrusted } = (yield* client.state).relays[0] ?? {}
        expect(isTrusted).toBe(true)
      }).pipe(Logger.withMinimumLogLevel(LogLevel.None), Effect.provide(NodeSmtp.layer)),
    180_000
  )

  it.scopedLive("divide a message that Postfix takes in parts only, with one receipt", () =>
    Effect.gen(function* () {
      const postfix = yield* start({ overrides: { smtpd_recipient_limit: "10" } })
      const { awaitMessages, host, port } = postfix
      const client = yield* SmtpClient.make({ host, port, tls: "none" })
      const to = Array.from({ length: 35 }, (_, index) => user(500 + index))
      const receipt = yield* client.send({ from: bob, to, content: content(0) })
      expect(receipt.accepted.map(({ recipient }) => recipient)).toEqual(to)
      for (const recipient of to) expect((yield* awaitMessages(recipient)).length).toBe(1)
    }).pipe(Effect.provide(NodeSmtp.layer))
  )
})
