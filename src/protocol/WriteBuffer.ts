/**
 * Octets on their way to the wire: command lines and small pieces are gathered into few arrays, so that one write
 * holds many of them; large pieces pass as they are. It knows nothing of what they mean.
 */
import { octetLength } from "./Utf8.js"

export interface WriteBuffer {
  /** Adds a line, given without its CRLF. */
  readonly line: (line: string) => void
  /** Adds octets; a large array must not change before it is written. */
  readonly octets: (octets: Uint8Array) => void
  /** How many octets were added, ever. */
  readonly put: () => number
  /** What was added since the last time, in order. The arrays are never written to afterwards. */
  readonly take: () => ReadonlyArray<Uint8Array>
}

const encoder = new TextEncoder()

// To copy fewer octets costs less than to hand another array to the socket.
const smallLength = 4096

// Octets that are gathered into one allocation, at first and at most.
const firstSlab = 4096
const largestSlab = 65_536

export const make = (): WriteBuffer => {
  let parts: Array<Uint8Array> = []
  let put = 0
  // Lines that are still to be encoded, and how many octets they will take.
  let text = ""
  let textLength = 0
  let slab = new Uint8Array(0)
  // What lies between is gathered, and not among the parts yet.
  let begin = 0
  let end = 0

  const closeRegion = (): void => {
    if (end > begin) parts.push(slab.subarray(begin, end))
    begin = end
  }

  const makeRoom = (length: number): void => {
    if (slab.length - end >= length) return
    closeRegion()
    const next = Math.min(largestSlab, Math.max(firstSlab, 2 * slab.length))
    slab = new Uint8Array(Math.max(next, length))
    begin = 0
    end = 0
  }

  const encodeText = (): void => {
    if (textLength === 0) return
    makeRoom(textLength)
    encoder.encodeInto(text, slab.subarray(end))
    end += textLength
    text = ""
    textLength = 0
  }

  return {
    line: (line) => {
      const length = octetLength(line) + 2
      text += `${line}\r\n`
      textLength += length
      put += length
    },
    octets: (octets) => {
      if (octets.length === 0) return
      put += octets.length
      encodeText()
      if (octets.length > smallLength) {
        closeRegion()
        parts.push(octets)
        return
      }
      makeRoom(octets.length)
      slab.set(octets, end)
      end += octets.length
    },
    put: () => put,
    take: () => {
      encodeText()
      closeRegion()
      const taken = parts
      parts = []
      return taken
    }
  }
}
