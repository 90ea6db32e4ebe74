/**
 * Compares what arrives of a message with what was promised, octet for octet and without keeping it: native
 * comparison of whole pieces, which says more than a hash would and costs a tenth of it.
 */
import type { Shape } from "../content.js"
import { makeBlocks, numberBegin, numberEnd, setNumbers } from "../content.js"

/** What was seen of a message. */
export type Verdict =
  | { readonly _tag: "Intact"; readonly number: number }
  | { readonly _tag: "Altered"; readonly position: number }

export interface Verifier {
  /** Takes the octets of a buffer from `begin` to `end`: content without stuffed dots, in any split. */
  readonly take: (octets: Buffer, begin: number, end: number) => void
  /** Ends a message, and begins the next. */
  readonly finish: () => Verdict
  /** Forgets what has come of a message, and begins another. */
  readonly forget: () => void
}

export const makeVerifier = (shape: Shape): Verifier => {
  const { first, other } = makeBlocks(shape)
  let position = 0
  let number = 0
  let alteredAt = -1

  const differs = (at: number): void => {
    if (alteredAt < 0) alteredAt = at
  }

  /** The octets that hold the message's number, one by one. */
  const takeMark = (octet: number): void => {
    const digit = octet - 48
    if (position < numberBegin) {
      if (octet !== first[position]) differs(position)
    } else if (digit < 0 || digit > 9) differs(position)
    else number = number * 10 + digit
    position++
    if (position === numberEnd) setNumbers(first, number, 0)
  }

  /** The block that is expected at a position. */
  const expected = (offset: number): Buffer => {
    if (position < shape.blockOctets) return first
    if (offset === 0) setNumbers(other, number, position / shape.blockOctets)
    return other
  }

  const takePiece = (octets: Buffer, begin: number, end: number): number => {
    const offset = position % shape.blockOctets
    const length = Math.min(end - begin, shape.blockOctets - offset)
    const block = expected(offset)
    if (octets.compare(block, offset, offset + length, begin, begin + length) !== 0) {
      const same = octets.subarray(begin).findIndex((octet, index) => octet !== block[offset + index])
      differs(position + same)
    }
    position += length
    return begin + length
  }

  const forget = (): void => {
    position = 0
    number = 0
    alteredAt = -1
  }

  return {
    take: (octets, begin, end) => {
      let at = begin
      while (at < end && position < numberEnd) takeMark(octets[at++] ?? 0)
      while (at < end) at = takePiece(octets, at, end)
    },
    finish: () => {
      if (position !== shape.octets) differs(Math.min(position, shape.octets))
      const verdict: Verdict =
        alteredAt < 0 ? { _tag: "Intact", number } : { _tag: "Altered", position: alteredAt }
      forget()
      return verdict
    },
    forget
  }
}
