/** xtext (RFC 3461 section 4), which encodes free text in an esmtp-value, and its form for addresses (RFC 6533). */

/** Encodes a text as xtext: each byte of its UTF-8 outside `!` to `~`, and `+` and `=`, as `+` and two hex digits. */
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

/** Decodes xtext; `undefined` if the text is not xtext or its bytes are not UTF-8. */
export const decode = (xtext: string): string | undefined => {
  if (!xtextPattern.test(xtext)) return undefined
  const bytes = Array.from(xtext.matchAll(/\+(..)|./g), ([character, digits]) =>
    digits === undefined ? character.charCodeAt(0) : Number.parseInt(digits, 16)
  )
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes))
  } catch {
    return undefined
  }
}

/**
 * Encodes an address as utf-8-addr-xtext (RFC 6533 section 3), which is ASCII and so safe with and without SMTPUTF8: a
 * character that is not a QCHAR becomes `\x{...}`.
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

/** Decodes utf-8-addr-xtext; `undefined` if the text is something else. */
export const decodeUtf8Address = (text: string): string | undefined => {
  if (!/^(?:[!-*,-<>-[\]-~]|\\x\{[0-9A-F]{2,6}\})*$/.test(text)) return undefined
  const points = [...text.matchAll(/\\x\{([0-9A-F]+)\}/g)].map((match) => Number.parseInt(match[1] ?? "", 16))
  if (points.some((point) => point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))) return undefined
  return text.replaceAll(/\\x\{([0-9A-F]+)\}/g, (_, digits: string) =>
    String.fromCodePoint(Number.parseInt(digits, 16))
  )
}
