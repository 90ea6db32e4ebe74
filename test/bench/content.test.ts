import { describe, expect, it } from "@effect/vitest"
import { makeSource, makeWriter, shapeOf, stuff } from "./content.js"

describe("content of the bench", () => {
  it.each([1024, 10_240, 65_536, 1_048_576])("has %i octets as asked, in lines of at most 76", (octets) => {
    const message = makeWriter(shapeOf(octets))(0).toString("latin1")
    expect(message).toHaveLength(octets)
    expect(Math.max(...message.split("\r\n").map(({ length }) => length))).toBe(76)
    expect(message.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/)
    expect(message).toMatch(/\r\n\./)
  })

  it("ends each block with an empty line", () => {
    expect(makeWriter(shapeOf(1024))(0).toString("latin1").endsWith("\r\n\r\n")).toBe(true)
  })

  it("differs from message to message in its number alone", () => {
    const write = makeWriter(shapeOf(1024))
    const [one, other] = [write(7).toString("latin1"), write(1_234_567).toString("latin1")]
    expect(one.replace("0000000007", "0001234567")).toBe(other)
  })

  it("is the same block by block as in one piece", () => {
    const shape = shapeOf(8 * 1_048_576)
    const blocks = Array.from(makeSource(shape)(3), (block) => Buffer.from(block))
    expect(Buffer.concat(blocks).equals(makeWriter(shape)(3))).toBe(true)
  })

  it("is made in memory that is used again after that of the message before", () => {
    const source = makeSource(shapeOf(1024))
    const [first, second, third] = [0, 1, 2].map((message) => source(message).next().value)
    expect(first).not.toBe(second)
    expect(first).toBe(third)
  })

  it("can be prepared for the wire beforehand", () => {
    const shape = shapeOf(131_072)
    const prepared = makeWriter(shape, stuff, ".\r\n")(5)
    expect(prepared.equals(Buffer.concat([stuff(makeWriter(shape)(5)), Buffer.from(".\r\n")]))).toBe(true)
  })

  it("doubles dots at the beginning of lines, and no others", () => {
    expect(stuff(Buffer.from(".a\r\n..b\r\nc.\r\n")).toString()).toBe("..a\r\n...b\r\nc.\r\n")
  })

  it("cannot be of a size that blocks do not fill", () => {
    expect(() => shapeOf(65_537)).toThrow("a message of 65537 octets cannot be made of blocks")
    expect(() => shapeOf(10)).toThrow(RangeError)
  })
})
