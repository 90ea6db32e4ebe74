/**
 * The header that a proxy puts before all else, to tell a server whom it speaks for: the PROXY protocol, versions 1
 * and 2 (haproxy's proxy-protocol.txt, sections 2.1 and 2.2), without extensions.
 */
import type { Invalid } from "./Invalid.js"
import { invalid, invalidRecord, isInvalid } from "./Invalid.js"
import { octetsOf } from "./IpAddress.js"

/**
 * Without `source` and `destination` the header speaks for the program itself: LOCAL, or in version 1 UNKNOWN.
 */
export interface ProxyHeader {
  /** 1 is a line of text, 2 is binary. */
  readonly version: 1 | 2
  /** The client that is spoken for. */
  readonly source?: ProxyAddress | undefined
  /** Where that client connected to; of the same family as the source. */
  readonly destination?: ProxyAddress | undefined
}

export interface ProxyAddress {
  /** IPv4 or IPv6, without brackets and zone. */
  readonly address: string
  readonly port: number
}

interface Pair {
  readonly family: 4 | 6
  readonly source: ProxyAddress & { readonly octets: ReadonlyArray<number> }
  readonly destination: ProxyAddress & { readonly octets: ReadonlyArray<number> }
}

/** The octets of the header; `field` is what the program calls it. */
export const encode = (header: ProxyHeader, field: string): Uint8Array | Invalid => {
  const pair = invalidRecord(field, header) ?? readPair(header, field)
  if (isInvalid(pair)) return pair
  switch (header.version) {
    case 1:
      return new TextEncoder().encode(lineOf(pair))
    case 2:
      return Uint8Array.from(binaryOf(pair))
    default:
      return invalid(`${field}.version`, "is neither 1 nor 2")
  }
}

const readPair = ({ destination, source }: ProxyHeader, field: string): Pair | Invalid | undefined => {
  if (source === undefined && destination === undefined) return undefined
  const from = readAddress(source, `${field}.source`)
  if (isInvalid(from)) return from
  const to = readAddress(destination, `${field}.destination`)
  if (isInvalid(to)) return to
  if (from.octets.length !== to.octets.length) {
    return invalid(`${field}.destination.address`, "is of another family than that of the source")
  }
  return { family: from.octets.length === 4 ? 4 : 6, source: from, destination: to }
}

const readAddress = (given: ProxyAddress | undefined, field: string): Pair["source"] | Invalid => {
  if (given === undefined) return invalid(field, "is missing: give source and destination, or neither")
  const wrong = invalidRecord(field, given)
  if (wrong !== undefined) return wrong
  const octets = octetsOf(given.address)
  if (octets === undefined) return invalid(`${field}.address`, "is no IP address")
  return Number.isInteger(given.port) && given.port >= 0 && given.port <= 65_535
    ? { ...given, octets }
    : invalid(`${field}.port`, "is not a port: a whole number from 0 to 65535")
}

const lineOf = (pair: Pair | undefined): string => {
  if (pair === undefined) return "PROXY UNKNOWN\r\n"
  const { destination, family, source } = pair
  return `PROXY TCP${family} ${textOf(source.octets)} ${textOf(destination.octets)} ${source.port} ${destination.port}\r\n`
}

/** IPv6 in full: the shortest form that no reader can misunderstand. */
const textOf = (octets: ReadonlyArray<number>): string => {
  if (octets.length === 4) return octets.join(".")
  const groups: Array<string> = []
  for (let index = 0; index < octets.length; index += 2) {
    groups.push((((octets[index] ?? 0) << 8) | (octets[index + 1] ?? 0)).toString(16))
  }
  return groups.join(":")
}

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

const twoOctets = (value: number): ReadonlyArray<number> => [value >> 8, value & 0xff]

const binaryOf = (pair: Pair | undefined): ReadonlyArray<number> => {
  if (pair === undefined) return [...signature, 0x20, 0x00, 0, 0]
  const { destination, family, source } = pair
  const addresses = [
    ...source.octets,
    ...destination.octets,
    ...twoOctets(source.port),
    ...twoOctets(destination.port)
  ]
  return [...signature, 0x21, family === 4 ? 0x11 : 0x21, ...twoOctets(addresses.length), ...addresses]
}
