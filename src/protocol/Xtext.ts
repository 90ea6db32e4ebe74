/**
 * xtext (RFC 3461 section 4), the encoding of free text in an esmtp-value, and its sibling for addresses beyond
 * ASCII (RFC 6533 section 3). It decides nothing about which texts a parameter may hold.
 */

/**
 * Encodes a text, taken as UTF-8, as xtext: every octet outside `!` to `~`, and `+` and `=`, becomes `+` and two
 * hexadecimal digits.
 */
export const encode = (text: string): string => {
  let encoded = ""
  for (const octet of new TextEncoder().encode(text)) {
    encoded +=
      octet >= 0x21 && octet <= 0x7e && octet !== 0x2b && octet !== 0x3d
        ? String.fromCharCode(octet)
        : `+${octet.toString(16).toUpperCase().padStart(2, "0")}`
  }
  return encoded
}

const xtextPattern = /^(?:[!-*,-<>-~]|\+[0-9A-F]{2})*$/

/** Decodes xtext; `undefined` when the text is not xtext or its octets are not UTF-8. */
export const decode = (xtext: string): string | undefined => {
  if (!xtextPattern.test(xtext)) return undefined
  const octets: Array<number> = []
  for (let index = 0; index < xtext.length; index++) {
    if (xtext.charCodeAt(index) !== 0x2b) {
      octets.push(xtext.charCodeAt(index))
      continue
    }
    octets.push(Number.parseInt(xtext.slice(index + 1, index + 3), 16))
    index += 2
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(octets))
  } catch {
    return undefined
  }
}

/**
 * Encodes an address as utf-8-addr-xtext, the form of RFC 6533 section 3 that is ASCII and therefore safe with
 * and without SMTPUTF8: whatever is not a QCHAR becomes `\x{...}`.
 */
export const encodeUtf8Address = (address: string): string => {
  let encoded = ""
  for (const character of address) {
    encoded += /[!-*,-<>-[\]-~]/.test(character)
      ? character
      : `\\x{${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(2, "0")}}`
  }
  return encoded
}

/** Decodes utf-8-addr-xtext; `undefined` when the text is not that. */
export const decodeUtf8Address = (text: string): string | undefined => {
  if (!/^(?:[!-*,-<>-[\]-~]|\\x\{[0-9A-F]{2,6}\})*$/.test(text)) return undefined
  const points = [...text.matchAll(/\\x\{([0-9A-F]+)\}/g)].map((match) => Number.parseInt(match[1] ?? "", 16))
  if (points.some((point) => point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))) return undefined
  return text.replaceAll(/\\x\{([0-9A-F]+)\}/g, (_, digits: string) =>
    String.fromCodePoint(Number.parseInt(digits, 16))
  )
}
