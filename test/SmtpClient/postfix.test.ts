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
import type { RunningPostfix } from "../servers/postfix.js"
import { start } from "../servers/postfix.js"
import { bob, user } from "../servers/running.js"

const recipients = Array.from({ length: 1000 }, (_, index) => user(1 + index))

const recipientOf = (number: number): string => recipients[number % recipients.length] ?? bob

const messageId = (number: number): string => `message.${number}@client.test`

const content = (number: number): string =>
  `From: <${bob}>\r\nSubject: ${number}\r\nMessage-ID: <${messageId(number)}>\r\n\r\nx\r\n`

/**
 * Under which queue ids each message was delivered, by its number. One queue id twice is a delivery that Postfix
 * repeated because it was stopped before it had noted the first: the client sent that message once.
 */
const arrivals = (postfix: RunningPostfix): Effect.Effect<ReadonlyMap<number, ReadonlySet<string>>> =>
  Effect.map(
    Effect.forEach(recipients, (recipient) => postfix.messages(recipient), { concurrency: 16 }),
    (mailboxes) => {
      const found = new Map<number, Set<string>>()
      for (const { content, trace } of mailboxes.flat()) {
        const number = Number(/^Message-ID: <message\.(\d+)@/m.exec(Buffer.from(content).toString())?.[1])
        const id = trace.map((field) => /^Received: .* with ESMTP id (\w+)/.exec(field)?.[1]).find(Boolean)
        const ids = found.get(number) ?? new Set()
        found.set(number, ids.add(id ?? "without a queue id"))
      }
      return found
    }
  )

suite("a client and Postfix", ["Postfix"], () => {
  it.scopedLive(
    "account for each of 5,000 concurrent messages while Postfix is restarted, away for a while, and throttling",
    () =>
      Effect.gen(function* () {
        const count = 5000
        const maxSessions = 8
        const postfix = yield* start({
          overrides: {
            qmgr_message_active_limit: "10000",
            // What a delivery agent was torn away from is tried again at once, not after five minutes.
            queue_run_delay: "1s",
            minimal_backoff_time: "1s",
            maximal_backoff_time: "1s",
            transport_retry_time: "1s"
          }
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
            client.deliver({ from: bob, to: recipientOf(number), content: content(number) }).pipe(
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
        const tags = outcomes.map(([outcome]) => outcome._tag)
        const accepted = tags.flatMap((tag, number) => (tag === "Accepted" ? [number] : []))
        // What was accepted last is still on its way through the queue.
        const delivered = yield* Effect.repeat(arrivals(postfix), {
          until: (found) => accepted.every((number) => found.has(number)),
          schedule: Schedule.spaced("1 second").pipe(Schedule.upTo("60 seconds"))
        }).pipe(Effect.zipRight(arrivals(postfix)))
        const wrong: Array<string> = []
        for (const [number, [outcome]] of outcomes.entries()) {
          const ids = [...(delivered.get(number) ?? [])]
          if (ids.length > 1) wrong.push(`${number} was taken more than once, as ${ids.join(" and ")}`)
          if (outcome._tag === "Accepted" && outcome.queueId !== ids[0])
            wrong.push(`${number} was accepted as ${outcome.queueId}, and there is ${ids[0] ?? "nothing"}`)
          if ((outcome._tag === "NotSent" || outcome._tag === "Refused") && ids.length > 0)
            wrong.push(`${number}: ${outcome._tag}, and it is there`)
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
