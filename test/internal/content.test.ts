import { describe, expect, it } from "@effect/vitest"
import * as Content from "effect-smtplib/internal/content/content"
import type { PrepareOptions, RunOptions } from "effect-smtplib/internal/content/model"
import * as Encoding from "effect-smtplib/protocol/Content"
import * as SmtpContent from "effect-smtplib/SmtpContent"
import type { ContentError } from "effect-smtplib/SmtpError"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { runInNewContext } from "node:vm"
import { untyped } from "../support/untyped.js"

const options: PrepareOptions = {
  lineEnds: "convert",
  longLines: "send",
  allowNul: false,
  allowEmpty: false,
  binary: false,
  stallTimeout: Duration.minutes(2)
}

const octets = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0))
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

interface Write {
  readonly text: string
  readonly last: boolean
}

const recorder = () => {
  const writes: Array<Write> = []
  const sink = (arrays: ReadonlyArray<Uint8Array>, last: boolean) =>
    Effect.sync(() => {
      writes.push({ text: arrays.map(text).join(""), last })
    })
  return { writes, sink, wire: () => writes.map((write) => write.text).join("") }
}

/** Looks at the octets of a call as late as it may: when the next call ends, or with the last. */
const lateRecorder = () => {
  let before: ReadonlyArray<Uint8Array> = []
  const read: Array<string> = []
  const memories = new Set<ArrayBufferLike>()
  const sink = (arrays: ReadonlyArray<Uint8Array>, last: boolean) =>
    Effect.sync(() => {
      for (const array of arrays) memories.add(array.buffer)
      read.push(...before.map(text))
      before = arrays
      if (last) read.push(...arrays.map(text))
    })
  return { sink, memories, wire: () => read.join("") }
}

const data: RunOptions = { framing: "data" }

/** A stream that gives the next of these texts each time it is run. */
const runsOf = (...runs: ReadonlyArray<string>): Stream.Stream<Uint8Array> => {
  let run = 0
  return Stream.suspend(() => Stream.make(octets(runs[run++] ?? "")))
}

const prepareStream = <E, R>(content: SmtpContent.Content<E, R>, changes: Partial<PrepareOptions> = {}) =>
  Effect.flatMap(Content.prepare(content, { ...options, ...changes }), (prepared) =>
    prepared._tag === "Stream" ? Effect.succeed(prepared) : Effect.dieMessage("not a stream")
  )

describe("prepare, of content in memory", () => {
  it.scoped("knows everything of it before anything is sent", () =>
    Effect.gen(function* () {
      const prepared = yield* Content.prepare(".a\nb\xe9", options)
      expect(prepared).toMatchObject({
        _tag: "Bytes",
        facts: { octets: 9, eightBit: true, dotLines: 1, changed: true, finalLineEndAdded: true }
      })
    })
  )

  it.scoped("copies octets when it is called, not when it runs", () =>
    Effect.gen(function* () {
      const input = octets("a\r\n")
      const preparing = Content.prepare(input, options)
      input.fill(0)
      const { sink, wire } = recorder()
      yield* Content.run(yield* preparing, data, sink)
      expect(wire()).toBe("a\r\n.\r\n")
    })
  )

  it.scoped("sends a string as UTF-8", () =>
    Effect.gen(function* () {
      const { sink, wire } = recorder()
      yield* Content.run(yield* Content.prepare(SmtpContent.string("\u20ac"), options), data, sink)
      expect(wire()).toBe("\xe2\x82\xac\r\n.\r\n")
    })
  )

  it("makes of a string what it makes of the string's octets in UTF-8", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "grapheme" }), FastCheck.boolean(), (start, long) => {
        const given = `${start}\n.${long ? `${start}\r\n.`.repeat(70_000 / (start.length + 3)) : ""}`
        const fromString = Content.prepareBytes(given, options)
        const fromOctets = Content.prepareBytes(new TextEncoder().encode(given), options)
        if (fromString._tag !== "Bytes" || fromOctets._tag !== "Bytes") {
          expect(fromString).toEqual(fromOctets)
          return
        }
        expect(fromString.facts).toEqual(fromOctets.facts)
        expect(Buffer.compare(fromString.content.octets, fromOctets.content.octets)).toBe(0)
        expect(Buffer.compare(fromString.content.withEndOfData, fromOctets.content.withEndOfData)).toBe(0)
      })
    )
  })

  it.scoped("refuses a string that UTF-8 cannot express, and lets a real U+FFFD pass", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Content.prepare("a\ud800b", options))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "content" })
      yield* Content.prepare("\ufffd\u{1f600}", options)
    })
  )

  it.scoped("refuses empty content unless it is allowed", () =>
    Effect.gen(function* () {
      for (const empty of ["", new Uint8Array(0), SmtpContent.string(""), SmtpContent.bytes(octets(""))]) {
        const error = yield* Effect.flip(Content.prepare(empty, options))
        expect(error).toMatchObject({ _tag: "InvalidArgument", field: "content" })
      }
      const { sink, writes } = recorder()
      yield* Content.run(yield* Content.prepare("", { ...options, allowEmpty: true }), data, sink)
      expect(writes).toEqual([{ text: ".\r\n", last: true }])
    })
  )

  it.scoped("refuses what the options refuse", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Content.prepare("a\nb", { ...options, lineEnds: "refuse" }))
      expect(error).toMatchObject({ _tag: "ContentError", reason: "LineEnds" })
    })
  )

  it.scoped("refuses what is no content at all", () =>
    Effect.gen(function* () {
      const isContent = (value: unknown): value is SmtpContent.Content => value !== undefined
      const readable: unknown = { pipe: () => undefined }
      if (!isContent(readable)) return
      const error = yield* Effect.flip(Content.prepare(readable, options))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "content" })
    })
  )

  it.scoped("takes an array of another realm for octets", () =>
    Effect.gen(function* () {
      const foreign: unknown = runInNewContext("Uint8Array.of(97)")
      const isContent = (value: unknown): value is SmtpContent.Content => value !== undefined
      if (!isContent(foreign)) return
      expect(foreign instanceof Uint8Array).toBe(false)
      expect(yield* Content.prepare(foreign, options)).toMatchObject({ _tag: "Bytes", facts: { octets: 3 } })
    })
  )
})

describe("run, of content in memory", () => {
  it.scoped("marks the write that holds the end of data as the last", () =>
    Effect.gen(function* () {
      const { sink, writes } = recorder()
      yield* Content.run(yield* Content.prepare(".a\r\n", options), data, sink)
      expect(writes).toEqual([{ text: "..a\r\n.\r\n", last: true }])
    })
  )

  it.scoped("gives BDAT the canonical octets and no end of data", () =>
    Effect.gen(function* () {
      const { sink, writes } = recorder()
      yield* Content.run(yield* Content.prepare(".a\n", options), { framing: "bdat" }, sink)
      expect(writes).toEqual([{ text: ".a\r\n", last: true }])
    })
  )

  it.scoped("hands out large content in pieces of at most 256 KiB, the end of data whole in the last", () =>
    Effect.gen(function* () {
      for (const length of [262_144 - 3, 262_144, 262_144 + 1, 600_000]) {
        const line = `${"a".repeat(length - 2)}\r\n`
        const { sink, wire, writes } = recorder()
        yield* Content.run(yield* Content.prepare(line, options), data, sink)
        expect(wire() === `${line}.\r\n`).toBe(true)
        expect(writes.map((write) => write.last).indexOf(true)).toBe(writes.length - 1)
        expect(writes.at(-1)?.text.endsWith(".\r\n")).toBe(true)
        expect(Math.max(...writes.map((write) => write.text.length))).toBeLessThanOrEqual(262_144 + 3)
      }
    })
  )

  it.scoped("gives large content its dots, whatever the pieces", () =>
    Effect.gen(function* () {
      const content = ".a\r\n".repeat(200_000)
      const { sink, wire, writes } = recorder()
      yield* Content.run(yield* Content.prepare(content, options), data, sink)
      expect(wire() === `${"..a\r\n".repeat(200_000)}.\r\n`).toBe(true)
      expect(writes.map((write) => write.last)).toEqual([false, false, false, true])
    })
  )

  it.scoped("leaves the octets of a call alone until the next call has ended", () =>
    Effect.gen(function* () {
      const lines = Array.from({ length: 150_000 }, (_, line) => `.${line}\r\n`)
      const { memories, sink, wire } = lateRecorder()
      yield* Content.run(yield* Content.prepare(lines.join(""), options), data, sink)
      expect(wire() === `${lines.map((line) => `.${line}`).join("")}.\r\n`).toBe(true)
      // Four slices for each of three calls, and the end of data.
      expect(memories.size).toBeLessThanOrEqual(3 * 4 + 1)
    })
  )

  it.scoped("can be run again and again", () =>
    Effect.gen(function* () {
      const prepared = yield* Content.prepare(".a\n", options)
      const first = recorder()
      const second = recorder()
      yield* Content.run(prepared, data, first.sink)
      yield* Content.run(prepared, data, second.sink)
      expect(second.writes).toEqual(first.writes)
    })
  )

  it.scoped("writes nothing of content that the server cannot take", () =>
    Effect.gen(function* () {
      const prepared = yield* Content.prepare("\u00e9", options)
      const { sink, writes } = recorder()
      const large = yield* Effect.flip(Content.run(prepared, { framing: "data", maxSize: 3 }, sink))
      const eightBit = yield* Effect.flip(Content.run(prepared, { framing: "data", require7bit: true }, sink))
      expect([large.reason, eightBit.reason]).toEqual(["TooLarge", "NotAscii"])
      expect(writes).toEqual([])
    })
  )
})

describe("whole", () => {
  it("gives a small message in one array, for DATA and for BDAT", () => {
    const prepared = Content.prepareBytes(".a\n", options)
    if (prepared._tag !== "Bytes") throw prepared
    const wire = Content.whole(prepared, "data", 8)
    const chunk = Content.whole(prepared, "bdat", 4)
    expect([wire && text(wire), chunk && text(chunk)]).toEqual(["..a\r\n.\r\n", ".a\r\n"])
  })

  it("leaves to run what takes more than the bound on the wire", () => {
    const prepared = Content.prepareBytes(".a\n", options)
    if (prepared._tag !== "Bytes") throw prepared
    expect(Content.whole(prepared, "data", 7)).toBeUndefined()
    expect(Content.whole(prepared, "bdat", 3)).toBeUndefined()
  })
})

describe("prepare, of a stream", () => {
  it.scoped("fails with the error of a stream that fails at once", () =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(Content.prepare(Stream.fail("no file"), options))).toBe("no file")
    })
  )

  it.scoped("refuses a stream of no octets unless it is allowed", () =>
    Effect.gen(function* () {
      const stream = Stream.make(octets(""), octets(""))
      const error = yield* Effect.flip(Content.prepare(stream, options))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "content" })
      const { sink, writes } = recorder()
      yield* Content.run(yield* Content.prepare(stream, { ...options, allowEmpty: true }), data, sink)
      expect(writes).toEqual([{ text: ".\r\n", last: true }])
    })
  )

  it.scoped("pulls no further than the first octets", () =>
    Effect.gen(function* () {
      const pulled: Array<string> = []
      const stream = Stream.fromIterable(["", "a", "b"]).pipe(
        Stream.rechunk(1),
        Stream.tap((piece) => Effect.sync(() => pulled.push(piece))),
        Stream.map(octets)
      )
      yield* Content.prepare(stream, options)
      expect(pulled).toEqual(["", "a"])
    })
  )

  it.scoped("refuses a declared size that is no number of octets", () =>
    Effect.gen(function* () {
      for (const size of [-1, 0.5, Number.NaN]) {
        const error = yield* Effect.flip(
          Content.prepare(SmtpContent.replayable(Stream.make(octets("a")), { size }), options)
        )
        expect(error).toMatchObject({ _tag: "InvalidArgument", field: "content.size" })
      }
    })
  )

  it.scoped("says what the program declared and promised", () =>
    Effect.gen(function* () {
      const stream = Stream.make(octets("a"))
      const declared = SmtpContent.replayable(stream, { size: 1, content7bit: true })
      const prepared = yield* prepareStream(declared)
      expect(prepared).toMatchObject({ declaredSize: 1, content7bit: true })
      expect(yield* prepareStream(stream)).toMatchObject({ declaredSize: undefined, content7bit: false })
    })
  )

  it.effect("ends a stream that gives nothing within its time limit", () =>
    Effect.gen(function* () {
      const pulled = yield* Deferred.make<undefined>()
      const stream = Stream.fromEffect(Effect.zipRight(Deferred.succeed(pulled, undefined), Effect.never))
      const fiber = yield* Effect.fork(Effect.scoped(Effect.flip(Content.prepare(stream, options))))
      yield* Deferred.await(pulled)
      yield* TestClock.adjust("2 minutes")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "ContentError", reason: "Stalled" })
    })
  )

  it.effect("releases the stream when the scope closes, if it was never run", () =>
    Effect.gen(function* () {
      let released = 0
      const stream = Stream.acquireRelease(Effect.succeed(octets("a")), () => Effect.sync(() => released++))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Content.prepare(stream, options)
          expect(released).toBe(0)
        })
      )
      expect(released).toBe(1)
    })
  )

  it.effect("refuses a stream that gives something else than octets, at its beginning or later", () =>
    Effect.gen(function* () {
      const refusal = { _tag: "ContentError", reason: "Failed" }
      const strings = Stream.make(untyped("Subject: x"))
      const first = yield* Effect.flip(Effect.scoped(Content.prepare(strings, options)))
      expect(first).toMatchObject(refusal)
      expect(String(first)).toMatch(/Stream\.encodeText/)
      const later = Stream.concat(Stream.make(octets("Subject: x\r\n")), Stream.make(untyped(null)))
      const run = Effect.flatMap(Content.prepare(later, options), (prepared) =>
        Content.run(prepared, data, recorder().sink)
      )
      expect(yield* Effect.flip(Effect.scoped(run))).toMatchObject(refusal)
    })
  )

  it.scoped("refuses a stream for one use when the same value is sent again", () =>
    Effect.gen(function* () {
      const content = SmtpContent.once(Stream.make(octets("a")))
      yield* Content.prepare(content, options)
      const error = yield* Effect.flip(Content.prepare(content, options))
      expect(error).toMatchObject({ _tag: "ContentError", reason: "UsedTwice" })
    })
  )
})

describe("run, of a stream", () => {
  it.scopedLive("gives the wire that the same content in memory gives, for any pieces", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(FastCheck.stringMatching(/^[\r\n.a\xff]{0,8}$/), { maxLength: 20 }),
          FastCheck.constantFrom<Encoding.Framing>("data", "bdat"),
          (pieces, framing) =>
            Effect.gen(function* () {
              const lenient = { ...options, allowEmpty: true }
              const streamed = recorder()
              const stream = Stream.fromIterable(pieces.map(octets)).pipe(Stream.rechunk(3))
              const fromStream = yield* Content.prepare(stream, lenient)
              const streamFacts = yield* Content.run(fromStream, { framing }, streamed.sink)
              const inMemory = recorder()
              const fromMemory = yield* Content.prepare(octets(pieces.join("")), lenient)
              const facts = yield* Content.run(fromMemory, { framing }, inMemory.sink)
              expect(streamed.writes).toEqual(inMemory.writes)
              expect(streamFacts).toEqual(facts)
            }).pipe(Effect.scoped, Effect.runPromise)
        ),
        { numRuns: 200 }
      )
    )
  )

  it.scoped("gathers small pieces, and cuts large ones", () =>
    Effect.gen(function* () {
      const small = Stream.range(1, 20_000).pipe(
        Stream.rechunk(7),
        Stream.map(() => octets("12345678\r\n"))
      )
      const large = Stream.make(octets("12345678\r\n".repeat(20_000)))
      for (const stream of [small, large]) {
        const { sink, wire, writes } = recorder()
        yield* Content.run(yield* Content.prepare(stream, options), data, sink)
        expect(wire() === `${"12345678\r\n".repeat(20_000)}.\r\n`).toBe(true)
        expect(writes.map((write) => write.text.length)).toEqual([65_536, 65_536, 68_928 + 3])
        expect(writes.map((write) => write.last)).toEqual([false, false, true])
      }
    })
  )

  it.scoped("copies what the stream gives, so that a producer may use its memory again", () =>
    Effect.gen(function* () {
      const memory = new Uint8Array(3)
      const stream = Stream.fromIterable(["ab\n", "cd\n", "ef\n"]).pipe(
        Stream.rechunk(1),
        Stream.map((piece) => {
          memory.set(octets(piece))
          return memory
        })
      )
      const { sink, wire } = recorder()
      yield* Content.run(yield* Content.prepare(stream, options), data, sink)
      expect(wire()).toBe("ab\r\ncd\r\nef\r\n.\r\n")
    })
  )

  it.scoped(
    "leaves the octets of a call alone until the next call has ended, and takes no fresh memory",
    () =>
      Effect.gen(function* () {
        for (const framing of ["data", "bdat"] as const) {
          const lines = Array.from({ length: 400_000 }, (_, line) => `${line % 7 === 0 ? "." : ""}${line}`)
          const wireEnds = lines.map((line) =>
            framing === "data" && line.startsWith(".") ? `.${line}` : line
          )
          const stream = Stream.fromIterable(lines).pipe(
            Stream.grouped(1000),
            Stream.map((group) => octets(`${Array.from(group).join("\r\n")}\r\n`)),
            Stream.rechunk(1)
          )
          const { memories, sink, wire } = lateRecorder()
          yield* Content.run(yield* Content.prepare(stream, options), { framing }, sink)
          expect(wire() === `${wireEnds.join("\r\n")}\r\n${framing === "data" ? ".\r\n" : ""}`).toBe(true)
          // Three that grow to their full length, each with what its slices became, and the end of data.
          expect(memories.size).toBeLessThanOrEqual(3 * (2 + 4) + 1)
        }
      })
  )

  it.effect("does so where blocks are short, or give nothing but a CR that is held", () =>
    Effect.gen(function* () {
      const pieces = "a\r\n|b\r\n|\r|\nc\r\n|d\r\n|e\r\n|\r|\r|\n.f|\r|g\r|\n|.\r|\r|h|\r|\n".split("|")
      const slow = Stream.fromIterable(pieces.slice(1)).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sleep("6 seconds"))
      )
      const stream = Stream.map(Stream.concat(Stream.fromIterable(pieces.slice(0, 1)), slow), octets)
      const { sink, wire } = lateRecorder()
      const prepared = yield* Content.prepare(stream, options)
      const fiber = yield* Effect.fork(Content.run(prepared, data, sink))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(fiber)
      const whole = Content.prepareBytes(octets(pieces.join("")), options)
      const wanted = whole._tag === "Bytes" ? Content.whole(whole, "data", 1024) : undefined
      expect(wire()).toBe(wanted && text(wanted))
    }).pipe(Effect.scoped)
  )

  it.scoped("pulls no further while the sink is busy", () =>
    Effect.gen(function* () {
      let pulled = 0
      const stream = Stream.range(1, 10).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => pulled++)),
        Stream.map(() => octets(`${"a".repeat(65_534)}\r\n`))
      )
      const reached = yield* Deferred.make<number>()
      const sink = () => Effect.zipRight(Deferred.succeed(reached, pulled), Effect.never)
      const fiber = yield* Effect.fork(Content.run(yield* Content.prepare(stream, options), data, sink))
      // The first block, and the one that it waits for to know that it is not the last.
      expect(yield* Deferred.await(reached)).toBe(1 + 1)
      yield* Fiber.interrupt(fiber)
      expect(pulled).toBe(1 + 1)
    })
  )

  it.scoped("never writes the end of the message of a stream that fails", () =>
    Effect.gen(function* () {
      const stream = Stream.make(octets("a\r\n".repeat(100_000))).pipe(
        Stream.concat(Stream.fail("broken off"))
      )
      const { sink, writes } = recorder()
      const prepared = yield* Content.prepare(stream, options)
      expect(yield* Effect.flip(Content.run(prepared, data, sink))).toBe("broken off")
      expect(writes.length).toBeGreaterThan(0)
      expect(writes.some((write) => write.last)).toBe(false)
    })
  )

  it.scoped("lets a defect of the stream through", () =>
    Effect.gen(function* () {
      const stream = Stream.make(octets("a")).pipe(Stream.concat(Stream.die("defect")))
      const { sink, writes } = recorder()
      const exit = yield* Effect.exit(Content.run(yield* Content.prepare(stream, options), data, sink))
      expect(exit).toEqual(Exit.die("defect"))
      expect(writes).toEqual([])
    })
  )

  it.scoped("keeps the error of the sink, and releases the stream", () =>
    Effect.gen(function* () {
      let released = 0
      const stream = Stream.acquireRelease(Effect.succeed(octets("a")), () => Effect.sync(() => released++))
      const prepared = yield* Content.prepare(stream, options)
      expect(yield* Effect.flip(Content.run(prepared, data, () => Effect.fail("lost")))).toBe("lost")
      expect(released).toBe(1)
    })
  )

  it.effect("ends a stream that stalls in the middle, and never while the sink is what is waited for", () =>
    Effect.gen(function* () {
      const piece = octets(`${"a".repeat(65_534)}\r\n`)
      const pieces = new Array<Uint8Array>(1 + 1).fill(piece)
      const stream = Stream.fromIterable(pieces).pipe(Stream.rechunk(1), Stream.concat(Stream.never))
      const prepared = yield* Content.prepare(stream, options)
      const sink = () => Effect.sleep("10 minutes")
      const fiber = yield* Effect.fork(Effect.flip(Content.run(prepared, data, sink)))
      yield* TestClock.adjust("10 minutes")
      yield* TestClock.adjust(Duration.millis(119_999))
      expect(fiber.unsafePoll()).toBeNull()
      yield* TestClock.adjust(Duration.millis(1))
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "ContentError", reason: "Stalled" })
    }).pipe(Effect.scoped)
  )

  it.effect("passes on what a slow producer has given, every few seconds", () =>
    Effect.gen(function* () {
      const line = octets("a\r\n")
      const stream = Stream.concat(
        Stream.make(line),
        Stream.repeatEffect(Effect.as(Effect.sleep("1 second"), line))
      )
      const { sink, writes } = recorder()
      const prepared = yield* Content.prepare(stream, options)
      const fiber = yield* Effect.fork(Content.run(prepared, data, sink))
      yield* TestClock.adjust("13 seconds")
      expect(writes).toEqual([{ text: "a\r\n".repeat(6), last: false }])
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.scoped)
  )

  it.scoped("breaks off where a promise of 7-bit is broken", () =>
    Effect.gen(function* () {
      const stream = Stream.make(octets("a\r\n".repeat(60_000)), octets("\xff\r\n"))
      const content = SmtpContent.replayable(stream, { content7bit: true })
      const { sink, writes } = recorder()
      const error = yield* Effect.flip(Content.run(yield* Content.prepare(content, options), data, sink))
      expect(error).toMatchObject({ _tag: "ContentError", reason: "NotAscii" })
      expect(writes.some((write) => write.last)).toBe(false)
    })
  )

  it.scoped("breaks off where the content outgrows the server's SIZE (RFC 1870)", () =>
    Effect.gen(function* () {
      const { sink, writes } = recorder()
      const prepared = yield* Content.prepare(Stream.make(octets("abc")), options)
      const error = yield* Effect.flip(Content.run(prepared, { framing: "data", maxSize: 4 }, sink))
      expect(error).toMatchObject({ _tag: "ContentError", reason: "TooLarge" })
      expect(writes).toEqual([])
    })
  )

  it.scoped("holds the content to its declared size, in octets as the stream gives them", () =>
    Effect.gen(function* () {
      const stream = Stream.make(octets("a\n"), octets("b\n"))
      const outcome = (size: number) =>
        Effect.gen(function* () {
          const { sink, writes } = recorder()
          const prepared = yield* Content.prepare(SmtpContent.replayable(stream, { size }), options)
          const exit = yield* Effect.exit(Content.run(prepared, data, sink))
          return [Exit.isSuccess(exit), writes.length]
        })
      expect(yield* outcome(4)).toEqual([true, 1])
      expect(yield* outcome(3)).toEqual([false, 0])
      expect(yield* outcome(5)).toEqual([false, 0])
    })
  )
})

describe("a second run of a stream", () => {
  const twice = (content: SmtpContent.Content, changes: Partial<PrepareOptions> = {}) =>
    Effect.gen(function* () {
      const prepared = yield* prepareStream(content, changes)
      yield* prepared.run(data, recorder().sink)
      const second = recorder()
      const exit = yield* Effect.exit(prepared.run(data, second.sink))
      return { exit, last: second.writes.some((write) => write.last), wire: second.wire() }
    })

  const reasonOf = (exit: Exit.Exit<unknown, ContentError>) =>
    Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause))?.reason : undefined

  it.scoped("gives the same message again", () =>
    Effect.gen(function* () {
      const { last, wire } = yield* twice(Stream.make(octets("a\n"), octets("b\n")))
      expect([last, wire]).toEqual([true, "a\r\nb\r\n.\r\n"])
    })
  )

  it.scoped("may come in other pieces", () =>
    Effect.gen(function* () {
      let run = 0
      const stream = Stream.suspend(() =>
        run++ === 0 ? Stream.make(octets("abcd")) : Stream.make(octets("a"), octets("bcd"))
      )
      expect((yield* twice(stream)).last).toBe(true)
    })
  )

  it.scoped.each([
    ["other octets", "abc", "abd"],
    ["fewer octets", "abc", "ab"],
    ["more octets", "abc", "abcd"],
    ["no octets", "abc", ""],
    ["no octets where none are allowed", "abc", "", true]
  ] as const)(
    "that gives %s ends in Changed, before the end of the message",
    ([, first, second, allowEmpty]) =>
      Effect.gen(function* () {
        const { exit, last } = yield* twice(runsOf(first, second), { allowEmpty: allowEmpty ?? false })
        expect(reasonOf(exit)).toBe("Changed")
        expect(last).toBe(false)
      })
  )

  it.scoped("that differs only beyond the first write ends in Changed all the same", () =>
    Effect.gen(function* () {
      const start = "a\r\n".repeat(100_000)
      const { exit, last } = yield* twice(runsOf(`${start}b`, `${start}c`))
      expect(reasonOf(exit)).toBe("Changed")
      expect(last).toBe(false)
    })
  )

  it.scoped("is held to as much as a broken first run gave", () =>
    Effect.gen(function* () {
      const start = "a\r\n".repeat(50_000)
      const outcome = (second: string) =>
        Effect.gen(function* () {
          const prepared = yield* prepareStream(runsOf(`${start}b`, second, `${start}b`))
          yield* Effect.flip(prepared.run(data, () => Effect.fail("lost")))
          const { sink, writes } = recorder()
          const exit = yield* Effect.exit(prepared.run(data, sink))
          return [Exit.isSuccess(exit), writes.some((write) => write.last)]
        })
      expect(yield* outcome(`${start}b`)).toEqual([true, true])
      expect(yield* outcome(`b${start.slice(1)}b`)).toEqual([false, false])
      expect(yield* outcome("a\r\n")).toEqual([false, false])
    })
  )

  it.scoped("that gives nothing ends in Changed, even if the first broke before it gave a block", () =>
    Effect.gen(function* () {
      let run = 0
      const stream = Stream.suspend(() =>
        run++ === 0 ? Stream.concat(Stream.make(octets("a")), Stream.fail("broken off")) : Stream.empty
      )
      const prepared = yield* prepareStream(stream)
      expect(yield* Effect.flip(prepared.run(data, recorder().sink))).toBe("broken off")
      const { sink, writes } = recorder()
      const error = yield* Effect.flip(prepared.run(data, sink))
      expect(error).toMatchObject({ reason: "Changed" })
      expect(writes).toEqual([])
    })
  )

  it.scoped("still has to agree with the first after one that did not", () =>
    Effect.gen(function* () {
      const prepared = yield* prepareStream(runsOf("abc", "abd", "abd", "abc"))
      const outcomes: Array<boolean> = []
      for (let run = 0; run < 4; run++) {
        outcomes.push(Exit.isSuccess(yield* Effect.exit(prepared.run(data, recorder().sink))))
      }
      expect(outcomes).toEqual([true, false, false, true])
    })
  )

  it.scoped("is held to the longest run before it, cut anywhere", () =>
    Effect.gen(function* () {
      const first = "a\r\n".repeat(250_000)
      const prepared = yield* prepareStream(
        runsOf(`${first}b`, `${first}b`, `${first}c`, `${first.slice(0, -3)}x\r\nb`, `${first}b`)
      )
      // The first run breaks after its first write, the second is whole.
      yield* Effect.flip(prepared.run(data, () => Effect.fail("lost")))
      const outcomes: Array<string> = []
      for (let run = 1; run < 5; run++) {
        const exit = yield* Effect.exit(prepared.run(data, recorder().sink))
        outcomes.push(reasonOf(exit) ?? "Sent")
      }
      expect(outcomes).toEqual(["Sent", "Changed", "Changed", "Sent"])
    })
  )

  it.scoped("of a stream for one use ends in UsedTwice, and writes nothing", () =>
    Effect.gen(function* () {
      const { exit, wire } = yield* twice(SmtpContent.once(Stream.make(octets("a"))))
      expect(reasonOf(exit)).toBe("UsedTwice")
      expect(wire).toBe("")
    })
  )
})

describe("peek", () => {
  it.scoped("knows everything of a stream that ends within the bound, and the run still gives it", () =>
    Effect.gen(function* () {
      const prepared = yield* prepareStream(Stream.make(octets("Subject: \xff\n"), octets("\n.b")))
      const peek = yield* prepared.peek(1024)
      const known = Encoding.canonicalise(octets("Subject: \xff\n\n.b"), options)
      expect(peek).toEqual({ ended: true, facts: "_tag" in known ? known : known.facts })
      const { sink, wire } = recorder()
      yield* prepared.run(data, sink)
      expect(wire()).toBe(Buffer.from("Subject: \xff\r\n\r\n..b\r\n.\r\n", "latin1").toString("latin1"))
    })
  )

  it.scoped("stops at the bound", () =>
    Effect.gen(function* () {
      let pulled = 0
      const stream = Stream.range(1, 100).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => pulled++)),
        Stream.map(() => octets(`${"a".repeat(65_534)}\r\n`))
      )
      const prepared = yield* prepareStream(stream)
      const peek = yield* prepared.peek(3 * 65_536)
      expect([peek.ended, peek.facts.octets, pulled]).toEqual([false, 3 * 65_536, 3])
      const { sink, writes } = recorder()
      expect((yield* prepared.run(data, sink)).octets).toBe(100 * 65_536)
      // Three that were looked at, one as long as they are, and the rest in the longest.
      expect(writes.length).toBe(3 + 1 + Math.ceil(94 / 4))
    })
  )

  it.scoped("can be asked again, with another bound", () =>
    Effect.gen(function* () {
      const prepared = yield* prepareStream(Stream.make(octets("a\r\n".repeat(50_000))))
      expect((yield* prepared.peek(1)).ended).toBe(false)
      expect(yield* prepared.peek(1_000_000)).toMatchObject({ ended: true, facts: { octets: 150_000 } })
    })
  )

  it.scoped("fails where the content may not be sent", () =>
    Effect.gen(function* () {
      const prepared = yield* prepareStream(Stream.make(octets("a\0")))
      expect(yield* Effect.flip(prepared.peek(1024))).toMatchObject({ reason: "Nul" })
    })
  )

  it.effect("that was interrupted leaves no wait behind that a run is blamed for", () =>
    Effect.gen(function* () {
      const piece = octets(`${"a".repeat(65_534)}\r\n`)
      const stream = Stream.concat(Stream.make(piece, piece), Stream.never)
      const prepared = yield* prepareStream(stream)
      const peeking = yield* Effect.fork(prepared.peek(1_000_000))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.interrupt(peeking)
      yield* TestClock.adjust("1 hour")
      const running = yield* Effect.fork(prepared.run(data, () => Effect.sleep("1 hour")))
      yield* TestClock.adjust("30 minutes")
      expect(running.unsafePoll()).toBeNull()
      yield* Fiber.interrupt(running)
    }).pipe(Effect.scoped)
  )

  it.effect("ends a stream that stalls", () =>
    Effect.gen(function* () {
      const prepared = yield* prepareStream(Stream.concat(Stream.make(octets("a")), Stream.never))
      const fiber = yield* Effect.fork(Effect.flip(prepared.peek(1024)))
      yield* TestClock.adjust("2 minutes")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "ContentError", reason: "Stalled" })
    }).pipe(Effect.scoped)
  )
})
