/**
 * The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt, sections 2.1 and 2.2), without extensions: a header
 * that a proxy writes before all else, to tell the server whom it speaks for.
 */
import type { Invalid } from "./Invalid.js"
import { invalid, invalidRecord, isInvalid } from "./Invalid.js"
import { octetsOf } from "./IpAddress.js"

/** Without `source` and `destination` the program speaks for itself: LOCAL, or UNKNOWN in version 1. */
export interface ProxyHeader {
  /** 1 is a line of text, 2 is binary. */
  readonly version: 1 | 2
  /** The client that the program speaks for. */
  readonly source?: ProxyAddress | undefined
  /** Where that client connected to; of the same family as the source. */
  readonly destination?: ProxyAddress | undefined
}

export interface ProxyAddress {
  /** IPv4 or IPv6, without brackets and zone. */
  readonly address: string
  readonly port: number
}

type KnownAddress = ProxyAddress & { readonly octets: ReadonlyArray<number> }

interface Pair {
  readonly family: 4 | 6
  readonly source: KnownAddress
  readonly destination: KnownAddress
}

/** The bytes of the header; `field` is what the program calls it. */
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
  return from.octets.length === to.octets.length
    ? { family: from.octets.length === 4 ? 4 : 6, source: from, destination: to }
    : invalid(`${field}.destination.address`, "is of another family than that of the source")
}

const readAddress = (given: ProxyAddress | undefined, field: string): KnownAddress | Invalid => {
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
  return `PROXY TCP${family} ${textOf(source)} ${textOf(destination)} ${source.port} ${destination.port}\r\n`
}

/** IPv6 in full: no reader can misunderstand it. */
const textOf = ({ octets }: KnownAddress): string => {
  if (octets.length === 4) return octets.join(".")
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((octets[2 * index] ?? 0) << 8) | (octets[2 * index + 1] ?? 0)).toString(16)
  )
  return groups.join(":")
}

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

const twoOctets = (value: number): ReadonlyArray<number> => [value >> 8, value & 0xff]

const binaryOf = (pair: Pair | undefined): ReadonlyArray<number> => {
  if (pair === undefined) return [...signature, 0x20, 0x00, 0, 0]
  const { destination, family, source } = pair
  const ports = [...twoOctets(source.port), ...twoOctets(destination.port)]
  const addresses = [...source.octets, ...destination.octets, ...ports]
  return [...signature, 0x21, family === 4 ? 0x11 : 0x21, ...twoOctets(addresses.length), ...addresses]
}
