import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type { Receipt } from "../../src/SmtpReceipt.js"
import type { Service as SocketService } from "../../src/SmtpSocket.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { makeClient, switchable } from "./client.js"

/**
 * What happens once, at the next occasion: the server hangs up, and its last words are lost; it falls silent; it says
 * 421 to RCPT or in place of its verdict; it refuses a recipient for now; it hangs up or falls silent with its verdict.
 */
type Fault = "cut" | "silence" | "lateCut" | "lateSilence" | "goodbye" | "lateGoodbye" | "busy" | "none"

type Event =
  | { readonly _tag: "Send"; readonly recipients: number; readonly timeout: number | undefined }
  | { readonly _tag: "Interrupt"; readonly which: number }
  | { readonly _tag: "Fault"; readonly fault: Fault }
  | { readonly _tag: "Outage"; readonly relay: 0 | 1; readonly isDown: boolean }
  | { readonly _tag: "Pass"; readonly millis: number }

const millis = FastCheck.integer({ min: 0, max: 20_000 })

const event: FastCheck.Arbitrary<Event> = FastCheck.oneof(
  {
    weight: 6,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Send" as const),
      recipients: FastCheck.integer({ min: 1, max: 3 }),
      timeout: FastCheck.option(millis, { nil: undefined })
    })
  },
  {
    weight: 2,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("Interrupt" as const), which: FastCheck.nat(50) })
  },
  {
    weight: 3,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Fault" as const),
      fault: FastCheck.constantFrom(
        "cut" as const,
        "silence" as const,
        "goodbye" as const,
        "lateGoodbye" as const,
        "lateCut" as const,
        "lateSilence" as const,
        "busy" as const
      )
    })
  },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Outage" as const),
      relay: FastCheck.constantFrom(0 as const, 1 as const),
      isDown: FastCheck.boolean()
    })
  },
  { weight: 3, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Pass" as const), millis }) }
)

type Strike = (...wanted: ReadonlyArray<Fault>) => Fault

/** Counts the connections that are open, and does to them what is to happen. */
const disturbed = (
  socket: SocketService,
  counts: { open: number; most: number },
  strike: Strike
): SocketService => ({
  dial: (endpoint, options) =>
    Effect.gen(function* () {
      const connection = yield* socket.dial(endpoint, options)
      counts.open += 1
      counts.most = Math.max(counts.most, counts.open)
      let isOpen = true
      const destroy = Effect.suspend(() => {
        if (isOpen) counts.open -= 1
        isOpen = false
        return connection.destroy
      })
      yield* Effect.addFinalizer(() => destroy)
      const pull = Effect.flatMap(connection.pull, (octets) => {
        if (octets === undefined) return Effect.succeed(octets)
        switch (strike("cut", "silence")) {
          case "cut":
            return Effect.as(destroy, undefined)
          case "silence":
            return Effect.never
          default:
            return Effect.succeed(octets)
        }
      })
      return {
        pull,
        write: connection.write,
        buffered: connection.buffered,
        destroy,
        addresses: connection.addresses
      }
    })
})

interface Sent {
  readonly number: number
  readonly to: ReadonlyArray<string>
  readonly fiber: Fiber.RuntimeFiber<Receipt, unknown>
  readonly told: Array<Receipt>
}

describe("a client under random schedules of sends, interruptions and faults", () => {
  const run = (events: ReadonlyArray<Event>, maxSessions: number, pipelining: "off" | "data" | "overlap") =>
    Effect.gen(function* () {
      const faults: Array<string> = []
      const sent: Array<Sent> = []
      const counts = { open: 0, most: 0 }
      let fault: Fault = "none"
      const strike: Strike = (...wanted) => {
        const struck = wanted.includes(fault) ? fault : "none"
        if (struck !== "none") fault = "none"
        return struck
      }
      const server = yield* SmtpTest.server({
        capabilities: ["PIPELINING"],
        accept: () => {
          switch (strike("busy", "goodbye")) {
            case "busy":
              return "450 4.2.1 busy"
            case "goodbye":
              return "421 4.3.2 going down"
            default:
              return undefined
          }
        },
        acceptMessage: () => {
          switch (strike("lateGoodbye", "lateCut", "lateSilence")) {
            case "lateGoodbye":
              return "421 4.3.2 going down"
            case "lateCut":
              fault = "cut"
              return undefined
            case "lateSilence":
              fault = "silence"
              return undefined
            default:
              return undefined
          }
        }
      })
      const relays = [switchable(server), switchable(server)] as const
      const client = yield* makeClient(
        {
          main: { socket: disturbed(relays[0].socket, counts, strike) },
          spare: { socket: disturbed(relays[1].socket, counts, strike) }
        },
        {
          host: undefined,
          relays: [{ host: "main" }, { host: "spare", priority: 1 }],
          maxSessions,
          maxMessages: 5,
          idleTimeout: "3 seconds",
          maxAge: "8 seconds",
          retry: "briefly",
          pipelining
        }
      )
      const send = (recipients: number, timeout: number | undefined) =>
        Effect.gen(function* () {
          const number = sent.length
          const to = Array.from({ length: recipients }, (_, index) => `r${index}.${number}@y.test`)
          const told: Array<Receipt> = []
          const fiber = yield* Effect.fork(
            client.deliver({
              from: "a@x.test",
              to,
              content: `Subject: ${number}\r\n\r\nx\r\n`,
              timeout,
              onOutcome: (receipt) => Effect.sync(() => told.push(receipt))
            })
          )
          sent.push({ number, to, fiber, told })
        })
      for (const each of events) {
        switch (each._tag) {
          case "Send":
            yield* send(each.recipients, each.timeout)
            break
          case "Interrupt": {
            const one = sent[each.which % Math.max(1, sent.length)]
            if (one !== undefined) yield* Effect.fork(Fiber.interrupt(one.fiber))
            break
          }
          case "Fault":
            fault = each.fault
            break
          case "Outage":
            relays[each.relay].state.isDown = each.isDown
            break
          case "Pass":
            yield* TestClock.adjust(each.millis)
        }
        yield* Effect.yieldNow()
      }
      for (const { state } of relays) state.isDown = false
      yield* TestClock.adjust("15 minutes")
      if (counts.most > maxSessions) faults.push(`${counts.most} connections were open`)
      const messages = yield* server.messages
      const copies = (address: string): number =>
        messages.filter(({ recipients }) => recipients.some((recipient) => recipient.address === address))
          .length
      for (const { fiber, number, to, told } of sent) {
        const exit = fiber.unsafePoll()
        if (exit === null) {
          faults.push(`${number} was never answered`)
          continue
        }
        const receipts = Exit.isSuccess(exit) ? [exit.value, ...told] : told
        if (Exit.isFailure(exit) && !Exit.isInterrupted(exit)) faults.push(`${number} failed`)
        if (told.length > 1) faults.push(`${number} was told ${told.length} times`)
        // The hook may correct what could not be known in time.
        const last = receipts.at(-1)
        for (const [index, address] of to.entries()) {
          const count = copies(address)
          if (count > 1) faults.push(`${address} got it ${count} times`)
          const outcome = last?.outcomes[index]
          if (last !== undefined && outcome?.recipient !== address) faults.push(`${address} has no outcome`)
          if (outcome?._tag === "Accepted" && count !== 1) faults.push(`${address} accepted, and not there`)
          if ((outcome?._tag === "NotSent" || outcome?._tag === "Refused") && count !== 0)
            faults.push(`${address} ${outcome._tag}, and there`)
        }
      }
      const { open, opening, waiting } = yield* client.state
      if (open + opening + waiting > 0) faults.push("something is left over")
      yield* client.close
      if (counts.open > 0) faults.push(`${counts.open} connections are open`)
      return faults
    })

  it.scoped.prop(
    "accounts for everybody, delivers nothing twice, and keeps to its bound",
    [
      FastCheck.array(event, { maxLength: 40 }),
      FastCheck.integer({ min: 1, max: 3 }),
      FastCheck.constantFrom("off" as const, "data" as const, "overlap" as const)
    ],
    ([events, maxSessions, pipelining]) =>
      Effect.map(run(events, maxSessions, pipelining), (faults) => {
        expect(faults).toEqual([])
      }),
    { fastCheck: { numRuns: 60 }, timeout: 120_000 }
  )
})
