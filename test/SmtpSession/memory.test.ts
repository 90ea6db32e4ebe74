/**
 * What a session at rest still holds of the message that it sent last.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import { makePair } from "../../src/internal/testing/memoryConnection.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { SmtpSocket } from "../../src/SmtpSocket.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { octets } from "./oneSession.js"

const megabyte = 1_048_576
const messageLength = 16 * megabyte

const answerTo = (line: string): string => {
  if (line.startsWith("EHLO")) return "250-mx.test\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
  if (line === "DATA") return "354 go\r\n"
  // The first byte of the content is a chunk of its own, and ends no line.
  return /^(?:RSET|MAIL|RCPT|x?BDAT|QUIT|NOOP|\.$)/.test(line) ? "250 ok\r\n" : ""
}

/** A server that keeps nothing of what it reads: no line of the content begins as a command does. */
const forgetful = Effect.gen(function* () {
  const pair = yield* makePair()
  let rest = ""
  const serve = Effect.flatMap(pair.server.pull, (received) => {
    if (received === undefined) return Effect.never
    const lines = (rest + Buffer.from(received).toString("latin1")).split("\r\n")
    rest = lines.pop() ?? ""
    return pair.server.write([octets(lines.map(answerTo).join(""))])
  })
  yield* Effect.forkScoped(
    Effect.zipRight(pair.server.write([octets("220 mx.test\r\n")]), Effect.forever(serve))
  )
  const socket = Layer.succeed(SmtpSocket, { dial: () => Effect.succeed(pair.client) })
  return Layer.mergeAll(socket, SmtpTest.layerTls, CapabilityCache.layerNone)
})

/** Octets outside the heap, after all that nobody holds has gone. */
const held = Effect.sync((): number => {
  setFlagsFromString("--expose-gc")
  const collect: unknown = runInNewContext("gc")
  for (let times = 0; times < 3; times++) {
    if (typeof collect === "function") Reflect.apply(collect, undefined, [])
  }
  return process.memoryUsage().arrayBuffers
})

describe("a session at rest", () => {
  // Every chunk ends with a line.
  const text = Buffer.alloc(messageLength, "x".repeat(62) + "\r\n")
  const source = Stream.make({ key: 1, submission: { from: "a@x.test", to: "b@y.test", content: text } })

  for (const chunking of ["off", "on"] as const) {
    it.scopedLive.each(["deliver", "sendAll"] as const)(
      `holds nothing of its last message (chunking "${chunking}"): %s`,
      (how) =>
        Effect.gen(function* () {
          const layer = yield* forgetful
          const options = { host: "mx.test", tls: "none", clientName: "client.test", chunking } as const
          const smtp = yield* Effect.provide(SmtpSession.make(options), layer)
          const before = yield* held
          const receipt =
            how === "deliver"
              ? yield* smtp.deliver({ from: "a@x.test", to: "b@y.test", content: text })
              : (yield* Effect.flatten(Stream.runHead(yield* smtp.sendAll(source)))).receipt
          expect(receipt.accepted).toHaveLength(1)
          yield* Effect.sleep("50 millis")
          expect((yield* held) - before).toBeLessThan(4 * megabyte)
          expect(yield* smtp.state).toBe("Ready")
        })
    )
  }
})
