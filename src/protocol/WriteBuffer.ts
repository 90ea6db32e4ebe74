/**
 * Bytes on their way to the wire: command lines and small pieces are gathered into few arrays, so that one write holds
 * many of them; large pieces pass as they are.
 */
import { byteLength } from "./Utf8.js"

const encoder = new TextEncoder()

// To copy fewer bytes costs less than to hand another array to the socket.
const smallLength = 4096

// Bytes that are gathered into one allocation, at first and at most.
const firstSlab = 4096
const largestSlab = 65_536

export class WriteBuffer {
  /** How many bytes were added, ever. */
  put = 0
  /** How many of them `take` has given. */
  taken = 0
  private parts: Array<Uint8Array> = []
  // Lines that are still to be encoded, and how many bytes they will take.
  private text = ""
  private textLength = 0
  private slab = new Uint8Array(0)
  // What lies between is gathered, and not among the parts yet.
  private begin = 0
  private end = 0

  /** Adds a line, given without its CRLF. */
  line(line: string): void {
    const length = byteLength(line) + 2
    this.text += `${line}\r\n`
    this.textLength += length
    this.put += length
  }

  /** Adds bytes; a large array must not change before it is written. */
  bytes(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.put += bytes.length
    this.encodeText()
    if (bytes.length > smallLength) {
      this.closeRegion()
      this.parts.push(bytes)
      return
    }
    this.makeRoom(bytes.length)
    this.slab.set(bytes, this.end)
    this.end += bytes.length
  }

  /** What was added since the last time, in order. The arrays are never written to afterwards. */
  take(): ReadonlyArray<Uint8Array> {
    this.encodeText()
    this.closeRegion()
    const taken = this.parts
    this.parts = []
    this.taken = this.put
    return taken
  }

  private encodeText(): void {
    if (this.textLength === 0) return
    this.makeRoom(this.textLength)
    encoder.encodeInto(this.text, this.slab.subarray(this.end))
    this.end += this.textLength
    this.text = ""
    this.textLength = 0
  }

  private makeRoom(length: number): void {
    if (this.slab.length - this.end >= length) return
    this.closeRegion()
    const next = Math.min(largestSlab, Math.max(firstSlab, 2 * this.slab.length))
    this.slab = new Uint8Array(Math.max(next, length))
    this.begin = 0
    this.end = 0
  }

  private closeRegion(): void {
    if (this.end > this.begin) this.parts.push(this.slab.subarray(this.begin, this.end))
    this.begin = this.end
  }
}
