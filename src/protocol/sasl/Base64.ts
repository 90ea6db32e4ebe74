/** Base64 as SASL uses it (RFC 4648 section 4, RFC 4954 section 4): padded, and exactly one text for the same octets. */

export const encode = (octets: Uint8Array): string => {
  let binary = ""
  for (const octet of octets) binary += String.fromCharCode(octet)
  return btoa(binary)
}

const pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** `undefined` for a text that `encode` would not have written: other characters, missing padding, or bits left over. */
export const decode = (text: string): Uint8Array | undefined => {
  if (!pattern.test(text)) return undefined
  const binary = atob(text)
  return btoa(binary) === text ? Uint8Array.from(binary, (character) => character.charCodeAt(0)) : undefined
}
