/** How many bytes well-formed text takes in UTF-8, without encoding it. */
export const byteLength = (text: string): number => {
  let length = text.length
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    // Each half of a surrogate pair stands for two of four bytes.
    if (unit >= 0x80) length += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2
  }
  return length
}

/** Tells whether bytes that come in pieces are well-formed UTF-8 (RFC 3629 section 4). */
export class Utf8Validator {
  private isBroken = false
  /** Bytes that the character lacks, and the bounds of the next. */
  private left = 0
  private low = 0x80
  private high = 0xbf

  push(bytes: Uint8Array, start: number, end: number): void {
    for (let index = start; index < end; index++) this.take(bytes[index] ?? 0)
  }

  /** Whether all so far may be UTF-8. */
  isValid(): boolean {
    return !this.isBroken
  }

  /** To be called when no more bytes follow. */
  end(): void {
    if (this.left > 0) this.isBroken = true
  }

  private take(byte: number): void {
    if (this.left > 0) {
      if (byte < this.low || byte > this.high) this.isBroken = true
      this.left--
      this.low = 0x80
      this.high = 0xbf
    } else if (byte >= 0x80) {
      if (byte < 0xc2 || byte > 0xf4) this.isBroken = true
      this.left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
      if (byte === 0xe0) this.low = 0xa0
      else if (byte === 0xf0) this.low = 0x90
      else if (byte === 0xed) this.high = 0x9f
      else if (byte === 0xf4) this.high = 0x8f
    }
  }
}
