/**
 * How many octets text takes on the wire, without encoding it.
 *
 * @since 0.1.0
 */

/**
 * Octets of well-formed text in UTF-8.
 *
 * @since 0.1.0
 * @category accessors
 */
export const octetLength = (text: string): number => {
  let length = text.length
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    // Each half of a surrogate pair stands for two octets of four.
    if (unit >= 0x80) length += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2
  }
  return length
}
