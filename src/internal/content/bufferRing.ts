/**
 * Buffers for content on its way to the socket, used in turn. Fresh memory for every block would be collected long
 * after it was written, hundreds of megabytes later; and it is slower.
 */

interface Slot {
  readonly arrays: Array<Uint8Array>
  used: number
}

// Arrays grow by this much at once, so that one that is a little longer than the last does not cost a new one.
const grain = 16_384

const emptySlot = (): Slot => ({ arrays: [], used: 0 })

/**
 * A slot is what one call of a sink is given. Three are enough, since a call ends once the buffers of the calls before
 * are free: one is on its way to the socket, one waits to follow it, one is filled.
 */
export class BufferRing {
  private current = emptySlot()
  private following = emptySlot()
  private last = emptySlot()

  /** An array of exactly this length, of any octets, which is used again three slots later. */
  readonly allocate = (length: number): Uint8Array => {
    const { arrays, used } = this.current
    const array = arrays[used]
    this.current.used++
    if (array !== undefined && array.length >= length) return array.subarray(0, length)
    const grown = Buffer.allocUnsafeSlow(Math.ceil(length / grain) * grain)
    arrays[used] = grown
    return grown.subarray(0, length)
  }

  /** Takes back what was allocated in this slot and not given to anybody. */
  reuse(): void {
    this.current.used = 0
  }

  next(): void {
    const oldest = this.following
    this.following = this.last
    this.last = this.current
    this.current = oldest
    oldest.used = 0
  }
}
