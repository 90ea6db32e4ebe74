import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import { makePair } from "../../src/internal/testing/memoryConnection.js"
import type { Connection } from "../../src/SmtpSocket.js"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (octets: Uint8Array | undefined) =>
  octets === undefined ? undefined : new TextDecoder().decode(octets)
const pullText = (connection: Connection) => Effect.map(connection.pull, text)

describe("memoryConnection", () => {
  it.effect("gives the octets of one end to the other, array by array, both ways", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      yield* server.write([bytes("220 "), bytes("ready\r\n")])
      yield* client.write([bytes("QUIT\r\n")])
      expect(yield* pullText(client)).toBe("220 ")
      expect(yield* pullText(client)).toBe("ready\r\n")
      expect(yield* pullText(server)).toBe("QUIT\r\n")
    })
  )

  it.effect("suspends a pull until octets arrive", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      const pulling = yield* Effect.fork(pullText(client))
      yield* Effect.yieldNow()
      expect(yield* Fiber.poll(pulling)).toMatchObject({ _tag: "None" })
      yield* server.write([bytes("220")])
      expect(yield* Fiber.join(pulling)).toBe("220")
    })
  )

  it.effect("counts what was received and not pulled", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair({ capacity: 4 })
      expect(client.buffered()).toBe(0)
      yield* server.write([bytes("abc")])
      expect(client.buffered()).toBe(3)
      yield* Effect.fork(server.write([bytes("defgh")]))
      yield* Effect.yieldNow()
      expect(client.buffered()).toBe(4)
      yield* client.pull
      expect(client.buffered()).toBe(4)
    })
  )

  it.effect("ends a write only when the peer's pipe has taken it", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair({ capacity: 4 })
      const writing = yield* Effect.fork(client.write([bytes("abcd"), bytes("efgh")]))
      yield* Effect.yieldNow()
      expect(yield* Fiber.poll(writing)).toMatchObject({ _tag: "None" })
      expect(yield* pullText(server)).toBe("abcd")
      yield* Fiber.join(writing)
    })
  )

  it.effect("delivers the octets of an interrupted write", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair({ capacity: 2 })
      const writing = yield* Effect.fork(client.write([bytes("abcd")]))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(writing)
      expect(yield* pullText(server)).toBe("ab")
      expect(yield* pullText(server)).toBe("cd")
    })
  )

  it.effect("loses nothing to an interrupted pull", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      const pulling = yield* Effect.fork(client.pull)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(pulling)
      yield* server.write([bytes("220")])
      expect(yield* pullText(client)).toBe("220")
    })
  )

  it.effect("copies what it is given", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      const octets = bytes("abc")
      yield* client.write([octets])
      octets.fill(0)
      expect(yield* pullText(server)).toBe("abc")
    })
  )

  it.effect("never gives an empty array", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      yield* client.write([bytes(""), bytes("a"), bytes("")])
      expect(yield* pullText(server)).toBe("a")
      expect(server.buffered()).toBe(0)
    })
  )

  it.effect("shows the end of the stream after what was written, and still takes the client's octets", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      yield* server.write([bytes("421 bye\r\n")])
      yield* server.end
      yield* client.write([bytes("QUIT\r\n")])
      expect(yield* pullText(client)).toBe("421 bye\r\n")
      expect(yield* client.pull).toBeUndefined()
      expect(yield* client.pull).toBeUndefined()
      expect(yield* pullText(server)).toBe("QUIT\r\n")
    })
  )

  it.effect("completes a write that was waiting when its own side ended", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair({ capacity: 2 })
      const writing = yield* Effect.fork(server.write([bytes("abcd")]))
      yield* Effect.yieldNow()
      yield* server.end
      expect(yield* pullText(client)).toBe("ab")
      expect(yield* pullText(client)).toBe("cd")
      yield* Fiber.join(writing)
      expect(yield* client.pull).toBeUndefined()
    })
  )

  it.effect("wakes a waiting pull at the end of the stream", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      const pulling = yield* Effect.fork(client.pull)
      yield* Effect.yieldNow()
      yield* server.end
      expect(yield* Fiber.join(pulling)).toBeUndefined()
    })
  )

  it.effect("gives what was received before a reset, then the loss", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      yield* server.write([bytes("421 bye\r\n")])
      yield* server.reset
      expect(yield* Effect.flip(client.write([bytes("x")]))).toMatchObject({ operation: "write" })
      expect(yield* pullText(client)).toBe("421 bye\r\n")
      expect(yield* Effect.flip(client.pull)).toMatchObject({
        _tag: "ConnectionLost",
        operation: "read",
        message: "The read failed: the peer has reset the connection"
      })
    })
  )

  it.effect("fails a waiting pull and a waiting write at a reset", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair({ capacity: 1 })
      const pulling = yield* Effect.fork(Effect.flip(client.pull))
      const writing = yield* Effect.fork(Effect.flip(client.write([bytes("abc")])))
      yield* Effect.yieldNow()
      yield* server.reset
      expect(yield* Fiber.join(pulling)).toMatchObject({ operation: "read" })
      expect(yield* Fiber.join(writing)).toMatchObject({ operation: "write" })
    })
  )

  it.effect("fails this side's pull and write after destroy, and does nothing the second time", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair()
      yield* server.write([bytes("220")])
      yield* client.destroy
      yield* client.destroy
      expect(yield* Effect.flip(client.pull)).toMatchObject({ operation: "read" })
      expect(yield* Effect.flip(client.write([bytes("x")]))).toMatchObject({ operation: "write" })
      expect(client.buffered()).toBe(0)
    })
  )

  it.effect("shows the peer of a destroyed end what was flushed, then the end, and refuses its writes", () =>
    Effect.gen(function* () {
      const { client, server } = yield* makePair({ capacity: 2 })
      const writing = yield* Effect.fork(Effect.flip(client.write([bytes("abcd")])))
      yield* Effect.yieldNow()
      yield* client.destroy
      expect(yield* pullText(server)).toBe("ab")
      expect(yield* server.pull).toBeUndefined()
      expect(yield* Effect.flip(server.write([bytes("x")]))).toMatchObject({ operation: "write" })
      expect(yield* Fiber.join(writing)).toMatchObject({ operation: "write" })
    })
  )

  it.effect("keeps the order of octets whatever the sizes", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(FastCheck.uint8Array({ maxLength: 20 })),
          FastCheck.integer({ min: 1, max: 16 }),
          (written, capacity) =>
            Effect.runPromise(
              Effect.gen(function* () {
                const { client, server } = yield* makePair({ capacity })
                yield* Effect.fork(Effect.zipRight(server.write(written), server.end))
                const received: Array<number> = []
                for (;;) {
                  const octets = yield* client.pull
                  if (octets === undefined) break
                  expect(octets.length).toBeLessThanOrEqual(capacity)
                  received.push(...octets)
                }
                expect(received).toEqual(written.flatMap((octets) => [...octets]))
              })
            )
        )
      )
    )
  )
})
