/** Hosts as people write them: a name, an IPv4 or an IPv6 address, with or without a port. */
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, isInvalid } from "../../protocol/Invalid.js"
import { octetsOf } from "../../protocol/IpAddress.js"

interface Host {
  /** Without brackets. */
  readonly host: string
  readonly port: number | undefined
}

/** RFC 4007 section 11: an address of a link names the link by a zone, e.g. `fe80::1%eth0`. */
const zone = /%[\p{L}\p{N}._~-]+$/u

export const withoutZone = (address: string): string => address.replace(zone, "")

const isIpv6 = (text: string): boolean => text.includes(":") && octetsOf(withoutZone(text)) !== undefined

/** An address without brackets, or `undefined`. */
export const readAddress = (text: string): string | undefined => {
  const address = text.replace(/^\[(.*)\]$/, "$1")
  return isIpv6(address) || octetsOf(address) !== undefined ? address : undefined
}

/** `mail.example.com:587` and `[::1]:587`, as in smtplib; `::1` is an address without a port. */
export const readHost = (host: string, port: number | undefined): Host | Invalid => {
  const split = splitHost(host)
  if (isInvalid(split) || port === undefined) return split
  return split.port === undefined
    ? { ...split, port }
    : invalid("port", "is given twice: in host and on its own")
}

const splitHost = (host: string): Host | Invalid => {
  if (host === "") return invalid("host", "is empty")
  if (/^["'`].*["'`]$/.test(host)) return invalid("host", "stands in quotes; give it without them")
  if (host !== host.trim()) return invalid("host", "begins or ends with white space; remove it")
  // A control character would end the host's part of an OAUTHBEARER message (RFC 7628 section 3.1).
  if (/[\s\p{Cc}\p{Cs}/@<>"'`,;]/u.test(host))
    return invalid("host", "holds a character that no host name has; give a name or an address, and no URL")
  if (isIpv6(host)) return { host, port: undefined }
  const match = /^(?:\[([^[\]]*)\]|([^:[\]%]*[^:[\]%.]\.?))(?::(.*))?$/.exec(host)
  if (match === null) return invalid("host", "is neither a name nor an address, with or without a port")
  const [, literal, name = "", port] = match
  const address = literal === undefined ? name : readAddress(literal)
  if (address === undefined)
    return invalid("host", "has brackets around what is no IP address: write a name without brackets")
  if (port !== undefined && !/^\d{1,5}$/.test(port)) return invalid("host", "has a port that is not a number")
  return { host: address, port: port === undefined ? undefined : Number(port) }
}
