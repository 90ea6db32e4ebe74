/**
 * The addresses of an envelope, and the paths that carry them (RFC 5321 sections 4.1.2 and 4.1.3, RFC 6531). It reads
 * bare addresses, without display names and comments. An address is never rewritten, except for a domain beyond ASCII,
 * which is sent as A-labels.
 */
import type { Invalid } from "./Invalid.js"
import { invalid, isInvalid } from "./Invalid.js"
import { octetsOf } from "./IpAddress.js"
import { byteLength } from "./Utf8.js"

/** An address that can go on a command line. */
export interface Mailbox {
  readonly _tag: "Mailbox"
  /** The address as it was given. */
  readonly source: string
  /** The local part as it was given and is sent, quotes included. */
  readonly localPart: string
  /** The domain or address literal as it was given; empty for the bare `postmaster`. */
  readonly domain: string
  /** The domain as it is sent: A-labels where it is not ASCII, else as it was given. */
  readonly asciiDomain: string
  /** Whether the local part is beyond ASCII. A domain never requires SMTPUTF8. */
  readonly needsSmtpUtf8: boolean
}

// RFC 5321 section 4.5.3.1; octets, a path with its angle brackets.
const localPartLimit = 64
const domainLimit = 255
const pathLimit = 256
const labelLimit = 63

// Cc holds C0, DEL and C1.
const controlPattern = /\p{Cc}|[\u2028\u2029]/u
const loneSurrogatePattern = /\p{Cs}/u
const invisiblePattern = /[\u00AD\u200B\u2060\uFEFF]/u
const whiteSpacePattern = /\p{White_Space}/u
const nonAsciiPattern = /\P{ASCII}/u

const atext = "[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~]|\\P{ASCII}"
const dotStringPattern = new RegExp(`^(?:${atext})+(?:\\.(?:${atext})+)*$`, "u")
const quotedStringPattern = /^"(?:[ !#-[\]-~]|\P{ASCII}|\\[ -~])*"/u

const codePoint = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`

const controlNames: ReadonlyMap<string, string> = new Map([
  ["\r", "a CR"],
  ["\n", "an LF"],
  ["\0", "a NUL"]
])

const findForbidden = (text: string): string | undefined => {
  const control = controlPattern.exec(text)
  if (control !== null) {
    return `holds ${controlNames.get(control[0]) ?? `the control character ${codePoint(control[0])}`}`
  }
  if (loneSurrogatePattern.test(text)) return "holds half a surrogate pair, which is not a character"
  const invisible = invisiblePattern.exec(text)
  return invisible === null ? undefined : `holds the invisible character ${codePoint(invisible[0])}`
}

// The sub-domain of RFC 5321, and the underscore: hosts with one in their names exist and receive mail.
const subDomainPattern = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?$/

const findDomainFault = (domain: string): string | undefined => {
  if (domain.length > domainLimit) return `has a domain of more than ${domainLimit} bytes`
  for (const label of domain.split(".")) {
    if (label === "") return "has a domain with an empty label (two dots in a row, or a dot at an end)"
    if (label.length > labelLimit) return `has a domain label of more than ${labelLimit} bytes`
    if (!subDomainPattern.test(label)) {
      return "has a domain that is not letters, digits and inner hyphens, separated by dots"
    }
  }
  return undefined
}

const isIpv4 = (text: string): boolean => octetsOf(text)?.length === 4

const isIpv6 = (text: string): boolean => octetsOf(text)?.length === 16

// RFC 5321 section 4.1.3: Standardized-tag ":" 1*dcontent.
const generalLiteralPattern = /^(?:[A-Za-z0-9-]*[A-Za-z0-9]):[!-Z^-~]+$/

const findLiteralFault = (literal: string): string | undefined => {
  const content = literal.slice(1, -1)
  if (literal.length > domainLimit) return `has a domain of more than ${domainLimit} bytes`
  if (!literal.endsWith("]")) return "has an address literal without its closing bracket"
  if (isIpv4(content)) return undefined
  if (/^IPv6:/i.test(content)) {
    return isIpv6(content.slice(5)) ? undefined : "has an address literal that is not an IPv6 address"
  }
  if (isIpv6(content)) return `has an IPv6 address literal without its tag; write [IPv6:${content}]`
  return generalLiteralPattern.test(content)
    ? undefined
    : "has an address literal that is neither [1.2.3.4] nor [IPv6:...] nor [tag:...]"
}

// URL would read a port, a path, a user or %41, and "1.2" in full-width digits as an IPv4 address.
const foreignDomainPattern = /^(?:[A-Za-z0-9._-]|\P{ASCII})+$/u

/** A-labels by the UTS 46 processing of URL. */
const toAsciiDomain = (domain: string): string | undefined => {
  if (!foreignDomainPattern.test(domain) || !URL.canParse(`http://${domain}`)) return undefined
  const ascii = new URL(`http://${domain}`).hostname
  return findDomainFault(ascii) === undefined && !isIpv4(ascii) ? ascii : undefined
}

const parseDomain = (domain: string, field: string): string | Invalid => {
  if (domain === "") return invalid(field, "has no domain after the @")
  const isLiteral = domain.startsWith("[")
  if (!isLiteral && domain.includes("@")) {
    return invalid(field, /[,;]/.test(domain) ? severalAddresses : "holds more than one @ outside quotes")
  }
  if (!isLiteral && nonAsciiPattern.test(domain)) {
    return (
      toAsciiDomain(domain) ??
      invalid(field, "has an internationalised domain that cannot be turned into A-labels")
    )
  }
  const fault = isLiteral ? findLiteralFault(domain) : findDomainFault(domain)
  return fault === undefined ? domain : invalid(field, fault)
}

const severalAddresses = "holds more than one address; give an array with one address in each element"

const bareAddressAdvice = "holds a display name or angle brackets; give the bare address"

/** Where the local part ends, or what is wrong with it. */
const splitLocalPart = (address: string, field: string): number | Invalid => {
  const quoted = quotedStringPattern.exec(address)
  const at = quoted === null ? address.indexOf("@") : quoted[0].length
  const outside = quoted === null ? address : address.slice(at)
  if (/[<>]/.test(outside)) return invalid(field, bareAddressAdvice)
  if (whiteSpacePattern.test(outside))
    return invalid(field, /[,;]/.test(outside) ? severalAddresses : "holds a space outside quotes")
  if (address.startsWith("@")) {
    return invalid(
      field,
      address.includes(":")
        ? "holds a source route, which RFC 5321 retired; give the bare address"
        : "has no local part before the @"
    )
  }
  if (quoted !== null) {
    return address[at] === "@" ? at : invalid(field, "has no @ after its quoted local part")
  }
  if (at === -1) return invalid(field, "has no @ and domain")
  if (dotStringPattern.test(address.slice(0, at))) return at
  return invalid(field, "has a local part that must be put in double quotes")
}

const mailbox = (
  source: string,
  localPart: string,
  domain: string,
  asciiDomain: string,
  needsSmtpUtf8: boolean
): Mailbox => ({ _tag: "Mailbox", source, localPart, domain, asciiDomain, needsSmtpUtf8 })

/** Reads `local@domain`. */
export const parse = (address: string, field: string): Mailbox | Invalid =>
  parsePlain(address) ?? parseAny(address, field)

// Nearly every address: a dot-string of ASCII, and a domain of ASCII labels.
const plainPattern =
  /^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?:\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*@(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/

/** Reads a valid address of the plain kind; any other is `undefined`. */
export const parsePlain = (address: string): Mailbox | undefined => {
  if (address.length + 2 > pathLimit || !plainPattern.test(address)) return undefined
  const at = address.indexOf("@")
  if (at > localPartLimit) return undefined
  const domain = address.slice(at + 1)
  const localPart = address.slice(0, at)
  return mailbox(address, localPart, domain, domain, false)
}

const parseAny = (address: string, field: string): Mailbox | Invalid => {
  if (address === "") return invalid(field, "is empty")
  const forbidden = findForbidden(address)
  if (forbidden !== undefined) return invalid(field, forbidden)
  const at = splitLocalPart(address, field)
  if (isInvalid(at)) return at
  const localPart = address.slice(0, at)
  if (byteLength(localPart) > localPartLimit) {
    return invalid(field, `has a local part of more than ${localPartLimit} bytes`)
  }
  const domain = address.slice(at + 1)
  const asciiDomain = parseDomain(domain, field)
  if (isInvalid(asciiDomain)) return asciiDomain
  if (byteLength(localPart) + asciiDomain.length + 3 > pathLimit) {
    return invalid(field, `is a path of more than ${pathLimit} bytes`)
  }
  return mailbox(address, localPart, domain, asciiDomain, nonAsciiPattern.test(localPart))
}

/** Reads the address of MAIL; `""` is the null reverse-path (RFC 5321 section 4.5.5) and becomes `null`. */
export const parseReversePath = (address: string, field: string): Mailbox | null | Invalid => {
  if (address === "<>") return invalid(field, 'holds angle brackets; give "" for the null reverse-path')
  return address === "" ? null : parse(address, field)
}

/** Reads the address of RCPT, or `postmaster` without a domain in any letter case (RFC 5321 section 4.1.1.3). */
export const parseForwardPath = (address: string, field: string): Mailbox | Invalid =>
  /^postmaster$/i.test(address) ? mailbox(address, address, "", "", false) : parse(address, field)

/**
 * The path of MAIL and RCPT, angle brackets included; `null` is the null reverse-path. The domain is always ASCII, since
 * A-labels serve with and without SMTPUTF8 (RFC 6531 section 3.2).
 */
export const toPath = (mailbox: Mailbox | null): string => {
  if (mailbox === null) return "<>"
  return mailbox.asciiDomain === mailbox.domain
    ? `<${mailbox.source}>`
    : `<${mailbox.localPart}@${mailbox.asciiDomain}>`
}

const canonicalLocalPart = (localPart: string): string => {
  if (!localPart.startsWith('"')) return localPart
  const content = localPart.slice(1, -1).replaceAll(/\\(.)/gu, "$1")
  return dotStringPattern.test(content) ? content : `"${content.replaceAll(/["\\]/g, "\\$&")}"`
}

/**
 * Equal for two addresses of the same mailbox as far as a client can know: local parts that are equal without needless
 * quotes, and never case-folded (RFC 5321 section 2.4), and domains that are equal as lower-case A-labels.
 */
export const identity = ({ asciiDomain, domain, localPart, source }: Mailbox): string => {
  if (domain === "") return localPart.toLowerCase()
  const lowerDomain = asciiDomain.toLowerCase()
  return lowerDomain === domain && !localPart.startsWith('"')
    ? source
    : `${canonicalLocalPart(localPart)}@${lowerDomain}`
}

/**
 * Reads the argument of EHLO, HELO or LHLO: a domain name, even of one label, or an address literal, in ASCII (RFC 5321
 * section 4.1.1.1, RFC 6531 section 3.7.1).
 */
export const parseClientName = (name: string, field: string): string | Invalid => {
  if (name === "") return invalid(field, "is empty")
  const forbidden = findForbidden(name)
  if (forbidden !== undefined) return invalid(field, forbidden)
  if (whiteSpacePattern.test(name)) return invalid(field, "holds a space")
  if (nonAsciiPattern.test(name)) return invalid(field, "is not ASCII; give its A-label form (xn--...)")
  const literal = addressLiteral(name)
  if (literal !== undefined) return literal
  const fault = name.startsWith("[") ? findLiteralFault(name) : (findDomainFault(name) ?? hostFault(name))
  return fault === undefined ? name : invalid(field, fault)
}

/** RFC 5321 section 2.3.5 allows letters, digits and hyphens; a last label of digits would be read as an address. */
const hostFault = (name: string): string | undefined =>
  name.includes("_")
    ? "holds an underscore, which no host name has"
    : /(?:^|\.)\d+$/.test(name)
      ? "ends in a label of digits, so it is neither a host name nor an address"
      : undefined

/**
 * The address literal of an IP address (RFC 5321 section 4.1.3): `[192.0.2.1]`, `[IPv6:2001:db8::1]`. A zone is left
 * out, and an IPv4 address mapped into IPv6 becomes IPv4. `undefined` if the text is not an IP address.
 */
export const addressLiteral = (ip: string): string | undefined => {
  const unzoned = ip.replace(/%.*/s, "")
  const address = /^::ffff:(\d[\d.]+)$/i.exec(unzoned)?.[1] ?? unzoned
  if (isIpv4(address)) return `[${address}]`
  return isIpv6(address) ? `[IPv6:${address}]` : undefined
}
