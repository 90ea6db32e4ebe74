import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import type { Prepared } from "effect-smtplib/internal/content/model"
import { prepare } from "effect-smtplib/internal/content/content"
import * as SmtpContent from "effect-smtplib/SmtpContent"
import type { ContentError, InvalidArgument } from "effect-smtplib/SmtpError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

class Broken extends Data.TaggedError("Broken") {}

class Store extends Context.Tag("Store")<Store, Stream.Stream<Uint8Array, Broken>>() {}

const octets = new TextEncoder().encode("Subject: a\r\n\r\nb\r\n")

const options = {
  lineEnds: "convert",
  longLines: "send",
  allowNul: false,
  allowEmpty: false,
  binary: false,
  stallTimeout: Duration.minutes(2)
} as const

type Preparing<E, R> = Effect.Effect<Prepared<E, R>, ContentError | InvalidArgument | E, R | Scope.Scope>

describe("Content", () => {
  it("leaves errors and requirements empty for octets and strings", () => {
    expectTypeOf(prepare("a", options)).toEqualTypeOf<Preparing<never, never>>()
    expectTypeOf(prepare(octets, options)).toEqualTypeOf<Preparing<never, never>>()
    expectTypeOf(prepare(SmtpContent.bytes(octets), options)).toEqualTypeOf<Preparing<never, never>>()
    expectTypeOf(prepare(SmtpContent.string("a"), options)).toEqualTypeOf<Preparing<never, never>>()
  })

  it("keeps the errors and requirements of a stream, wrapped or not", () => {
    const stream = Stream.unwrap(Store)
    expectTypeOf(prepare(stream, options)).toEqualTypeOf<Preparing<Broken, Store>>()
    expectTypeOf(prepare(SmtpContent.replayable(stream), options)).toEqualTypeOf<Preparing<Broken, Store>>()
    expectTypeOf(prepare(SmtpContent.once(stream), options)).toEqualTypeOf<Preparing<Broken, Store>>()
    expectTypeOf(prepare(Stream.make(octets), options)).toEqualTypeOf<Preparing<never, never>>()
  })
})

describe("bytes", () => {
  it("copies the octets, even out of a Buffer", () => {
    const buffer = Buffer.from("a\r\n")
    const content = SmtpContent.bytes(buffer)
    buffer.fill(0)
    expect(Array.from(content.octets)).toEqual([0x61, 0x0d, 0x0a])
  })
})

describe("string", () => {
  it("is content of the text", () => {
    expect(SmtpContent.string("a")).toEqual({ _tag: "Text", text: "a" })
  })
})

describe("replayable", () => {
  it("promises nothing by itself", () => {
    expect(SmtpContent.replayable(Stream.empty)).toMatchObject({ size: undefined, content7bit: false })
  })

  it("carries the declared size and the promise of 7-bit", () => {
    const content = SmtpContent.replayable(Stream.make(octets), { size: 18, content7bit: true })
    expect(content).toMatchObject({ size: 18, content7bit: true })
  })

  it("may be run any number of times", () => {
    const content = SmtpContent.replayable(Stream.empty)
    expect([content.claim(), content.claim()]).toEqual([true, true])
  })
})

describe("once", () => {
  it("may be run once", () => {
    const content = SmtpContent.once(Stream.empty, { size: 0 })
    expect([content.claim(), content.claim()]).toEqual([true, false])
    expect(content.size).toBe(0)
  })
})
