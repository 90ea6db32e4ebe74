/**
 * The octets of the messages that every peer sends and the sink expects, made of numbered blocks: each begins with
 * the number of its message and its own, so that a message that is lost, doubled or put together wrongly shows. Lines
 * are of 76 octets, and every eighth begins with a dot. The last line of a block is empty: smtp-source adds one to the
 * file that it sends, which is therefore given without it.
 */

/** How large a message is. Blocks are equal, and fill it exactly. */
export interface Shape {
  readonly octets: number
  readonly blockOctets: number
}

/** The first block of a message and the others, with zeros where the numbers go. */
export interface Blocks {
  readonly first: Buffer
  readonly other: Buffer
}

const largestBlock = 65_536
const mark = "X-Block: 0000000000 00000000\r\n"
const header =
  "From: <sender@client.test>\r\nTo: <recipient@sink.test>\r\nSubject: measured\r\nMIME-Version: 1.0\r\n\r\n"
const lineOctets = 76
const dottedEvery = 8

/** Where the digits of a message's number begin and end in its first block; the same in the others. */
export const numberBegin = 9
export const numberEnd = 19
const indexBegin = 20
const indexEnd = 28

/** The shape of messages of a size: a number of octets up to 65,536, or a multiple of that. */
export const shapeOf = (octets: number): Shape => {
  const blockOctets = Math.min(octets, largestBlock)
  if (octets < mark.length + header.length || octets % blockOctets !== 0) {
    throw new RangeError(`a message of ${octets} octets cannot be made of blocks`)
  }
  return { octets, blockOctets }
}

/** A line that leaves no room for less than a line end behind it. */
const line = (room: number, index: number): string => {
  const length = Math.min(lineOctets, room - 2) - (room - 2 === lineOctets + 1 ? 1 : 0)
  const dotted = index % dottedEvery === 0 && length === lineOctets
  return `${(dotted ? "." : "").padEnd(length, "The quick brown fox jumps over the lazy dog. ")}\r\n`
}

const fillWithLines = (beginning: string, octets: number): Buffer => {
  let text = beginning
  const end = octets - 2
  for (let index = 1; text.length < end; index++) text += line(end - text.length, index)
  return Buffer.from(`${text}\r\n`, "latin1")
}

/** The blocks of messages of a shape; they belong to the caller. */
export const makeBlocks = (shape: Shape): Blocks => ({
  first: fillWithLines(mark + header, shape.blockOctets),
  other: fillWithLines(mark, shape.blockOctets)
})

const writeDigits = (block: Buffer, begin: number, end: number, value: number): void => {
  let rest = value
  for (let position = end - 1; position >= begin; position--) {
    block[position] = 48 + (rest % 10)
    rest = Math.floor(rest / 10)
  }
}

/** Writes the number of a message and of a block into a block that begins at an offset. */
export const setNumbers = (block: Buffer, message: number, index: number, offset = 0): void => {
  writeDigits(block, offset + numberBegin, offset + numberEnd, message)
  writeDigits(block, offset + indexBegin, offset + indexEnd, index)
}

/** How many blocks a message has. */
export const blockCount = (shape: Shape): number => shape.octets / shape.blockOctets

const asItIs = (block: Buffer): Buffer => block

/**
 * Makes whole messages of a shape, each in memory of its own. Blocks may be prepared for the wire beforehand, as long as
 * their first line stays where it is, and something may follow the last.
 */
export const makeWriter = (
  shape: Shape,
  prepare: (block: Buffer) => Buffer = asItIs,
  end = ""
): ((message: number) => Buffer) => {
  const { first, other } = makeBlocks(shape)
  const [head, rest] = [prepare(first), prepare(other)]
  const others = Array.from({ length: blockCount(shape) - 1 }, () => rest)
  const template = Buffer.concat([head, ...others, Buffer.from(end)])
  return (message) => {
    const octets = Buffer.from(template)
    setNumbers(octets, message, 0)
    for (let index = 1; index <= others.length; index++) {
      setNumbers(octets, message, index, head.length + (index - 1) * rest.length)
    }
    return octets
  }
}

interface Ring {
  readonly first: Buffer
  readonly others: ReadonlyArray<Buffer>
}

const ringBlocks = 64

const makeRing = (shape: Shape, prepare: (block: Buffer) => Buffer): Ring => {
  const { first, other } = makeBlocks(shape)
  const prepared = prepare(other)
  const length = Math.min(blockCount(shape) - 1, ringBlocks)
  return { first: prepare(first), others: Array.from({ length }, () => Buffer.from(prepared)) }
}

/**
 * Makes messages block by block, in memory that is used again: whoever holds more than `ringOctets` of a message unsent,
 * or something of the message before the last, sends it altered, and the sink sees that.
 */
export const makeSource = (
  shape: Shape,
  prepare: (block: Buffer) => Buffer = asItIs
): ((message: number) => Generator<Buffer, void>) => {
  const even = makeRing(shape, prepare)
  const odd = makeRing(shape, prepare)
  return function* (message) {
    const { first, others } = message % 2 === 0 ? even : odd
    setNumbers(first, message, 0)
    yield first
    for (let index = 1; index < blockCount(shape); index++) {
      const block = others[index % others.length] ?? first
      setNumbers(block, message, index)
      yield block
    }
  }
}

const dotAtLineStart = /^\./gm

/** Octets with a dot more before each dot at the beginning of a line (RFC 5321 section 4.5.2). */
export const stuff = (octets: Buffer): Buffer =>
  Buffer.from(octets.toString("latin1").replace(dotAtLineStart, ".."), "latin1")
