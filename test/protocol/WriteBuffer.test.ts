import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { WriteBuffer } from "../../src/protocol/WriteBuffer.js"

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

const joined = (parts: ReadonlyArray<Uint8Array>): string => Buffer.concat(parts).toString("latin1")

describe("octets on their way to the wire", () => {
  it("lines and small pieces are gathered into one array", () => {
    const buffer = new WriteBuffer()
    buffer.line("MAIL FROM:<>")
    buffer.bytes(encode("one"))
    buffer.line("RSET")
    const taken = buffer.take()
    expect(taken.length).toBe(1)
    expect(joined(taken)).toBe("MAIL FROM:<>\r\noneRSET\r\n")
    expect(buffer.take()).toStrictEqual([])
  })

  it("a large piece passes as it is, between what came before it and after it", () => {
    const buffer = new WriteBuffer()
    const large = new Uint8Array(10_000)
    buffer.line("BDAT 10000")
    buffer.bytes(large)
    buffer.line("RSET")
    const taken = buffer.take()
    expect(taken.map((part) => part.length)).toStrictEqual([12, 10_000, 6])
    expect(taken[1]).toBe(large)
  })

  it("a piece of 4,096 bytes is gathered, and nothing is made of empty ones", () => {
    const buffer = new WriteBuffer()
    buffer.bytes(new Uint8Array(0))
    expect([buffer.take(), buffer.put]).toStrictEqual([[], 0])
    const small = new Uint8Array(4096)
    buffer.bytes(small)
    buffer.line("RSET")
    expect(buffer.take().map((part) => part.length)).toStrictEqual([4096, 6])
    expect([buffer.put, buffer.taken]).toStrictEqual([4102, 4102])
    buffer.bytes(new Uint8Array(4097))
    buffer.line("RSET")
    expect(buffer.take().map((part) => part.length)).toStrictEqual([4097, 6])
  })

  it("memory for lines grows up to 64 KiB at a time", () => {
    const buffer = new WriteBuffer()
    const sizes = new Set<number>()
    for (let lines = 0; lines < 40_000; lines++) {
      buffer.line("RSET")
      for (const part of buffer.take()) sizes.add(part.buffer.byteLength)
    }
    expect([...sizes]).toStrictEqual([4096, 8192, 16_384, 32_768, 65_536])
  })

  const pieces = FastCheck.array(
    FastCheck.oneof(
      FastCheck.record({ line: FastCheck.string({ unit: "binary", maxLength: 80 }) }),
      FastCheck.record({ octets: FastCheck.uint8Array({ maxLength: 9000 }) }),
      FastCheck.constant("take" as const)
    ),
    { maxLength: 60 }
  )

  it("whatever is added comes out once and in order, counted in octets, and stays as it was", () => {
    FastCheck.assert(
      FastCheck.property(pieces, (all) => {
        const buffer = new WriteBuffer()
        const expected: Array<Uint8Array> = []
        const takes: Array<{ readonly parts: ReadonlyArray<Uint8Array>; readonly then: string }> = []
        const take = (): void => {
          const parts = buffer.take()
          takes.push({ parts, then: joined(parts) })
        }
        for (const piece of all) {
          if (piece === "take") take()
          else if ("line" in piece) {
            buffer.line(piece.line)
            expected.push(encode(`${piece.line}\r\n`))
          } else {
            buffer.bytes(piece.octets)
            expected.push(piece.octets)
          }
        }
        take()
        const whole = joined(expected)
        expect(takes.map(({ then }) => then).join("")).toBe(whole)
        expect(takes.map(({ parts }) => joined(parts)).join("")).toBe(whole)
        expect(buffer.put).toBe(whole.length)
      })
    )
  })
})
