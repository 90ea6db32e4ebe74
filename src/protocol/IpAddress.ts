/** IP addresses as octets, from their text (RFC 4291 section 2.2), without zones. */

/** 4 octets for IPv4, 16 for IPv6; `undefined` for what is neither. */
export const octetsOf = (text: unknown): ReadonlyArray<number> | undefined => {
  if (typeof text !== "string") return undefined
  return text.includes(":") ? ipv6Octets(text) : ipv4Octets(text)
}

const ipv4Octets = (text: string): ReadonlyArray<number> | undefined => {
  if (!/^\d{1,3}(?:\.\d{1,3}){3}$/.test(text)) return undefined
  const octets = text.split(".").map(Number)
  return octets.every((octet) => octet <= 255) ? octets : undefined
}

const ipv6Octets = (text: string): ReadonlyArray<number> | undefined => {
  const [head = "", tail, ...more] = text.split("::")
  if (more.length > 0) return undefined
  const front = groupOctets(head, tail === undefined)
  const back = tail === undefined ? [] : groupOctets(tail, true)
  if (front === undefined || back === undefined) return undefined
  const missing = 16 - front.length - back.length
  if (tail === undefined ? missing !== 0 : missing < 2) return undefined
  return [...front, ...Array<number>(missing).fill(0), ...back]
}

/** The last group of an address may be IPv4. */
const groupOctets = (text: string, last: boolean): ReadonlyArray<number> | undefined => {
  if (text === "") return []
  const octets: Array<number> = []
  const groups = text.split(":")
  for (const [index, group] of groups.entries()) {
    const dotted = last && index === groups.length - 1 ? ipv4Octets(group) : undefined
    if (dotted !== undefined) octets.push(...dotted)
    else if (/^[0-9A-Fa-f]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16)
      octets.push(value >> 8, value & 0xff)
    } else return undefined
  }
  return octets
}
