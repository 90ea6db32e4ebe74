/**
 * XCLIENT, by which a program in front of a Postfix tells it whom it speaks for (Postfix, XCLIENT_README). A server accepts it
 * from clients that it trusts, and begins the session anew.
 */
import type { Capabilities } from "./Capabilities.js"
import type { Command } from "./Command.js"
import * as Commands from "./Command.js"
import type { Invalid } from "./Invalid.js"
import { invalid, invalidChoice, invalidRecord, invalidText, isInvalid } from "./Invalid.js"
import { octetsOf } from "./IpAddress.js"
import type { Unsupported } from "./Parameters.js"
import { unsupported as unsupportedExtension } from "./Parameters.js"
import { encode } from "./Xtext.js"

/**
 * What is known of the client that the program speaks for. An attribute that is left out stays as the server knows it;
 * `"[UNAVAILABLE]"` says that it is not known, `"[TEMPUNAVAIL]"` that it cannot be found out now.
 */
export interface ClientAttributes {
  /** Its host name. */
  readonly name?: string | undefined
  /** IPv4 or IPv6, without brackets and zone. */
  readonly address?: string | undefined
  readonly port?: number | undefined
  readonly protocol?: "SMTP" | "ESMTP" | undefined
  /** Its argument of EHLO. */
  readonly helo?: string | undefined
  /** The user name that it has authenticated with. */
  readonly login?: string | undefined
  /** Where it connected to. */
  readonly destinationAddress?: string | undefined
  readonly destinationPort?: number | undefined
}

const textOf = (field: string, value: string): string | Invalid =>
  invalidText(field, value) ??
  (value === "" ? invalid(field, "is empty") : (Commands.unsafeText(field, value) ?? encode(value)))

const addressOf = (field: string, value: string): string | Invalid => {
  if (/^\[(?:UNAVAILABLE|TEMPUNAVAIL)\]$/.test(value)) return value
  if (octetsOf(value) === undefined) return invalid(field, "is no IP address")
  return value.includes(":") ? `IPV6:${value}` : value
}

const portOf = (field: string, value: number): string | Invalid =>
  Number.isInteger(value) && value >= 0 && value <= 65_535
    ? String(value)
    : invalid(field, "is not a port: a whole number from 0 to 65535")

/** In the order in which Postfix documents them. */
const attributesOf = (client: ClientAttributes, field: string): ReadonlyArray<string> | Invalid => {
  const choice = invalidChoice(`${field}.protocol`, client.protocol, ["SMTP", "ESMTP"])
  if (choice !== undefined) return choice
  const attributes: Array<string> = []
  let wrong: Invalid | undefined
  const add = <Name extends keyof ClientAttributes>(
    name: string,
    key: Name,
    read: (field: string, value: NonNullable<ClientAttributes[Name]>) => string | Invalid
  ): void => {
    const value = client[key]
    if (value === undefined || wrong !== undefined) return
    const text = read(`${field}.${key}`, value)
    if (isInvalid(text)) wrong = text
    else attributes.push(`${name}=${text}`)
  }
  add("NAME", "name", textOf)
  add("ADDR", "address", addressOf)
  add("PORT", "port", portOf)
  add("PROTO", "protocol", textOf)
  add("HELO", "helo", textOf)
  add("LOGIN", "login", textOf)
  add("DESTADDR", "destinationAddress", addressOf)
  add("DESTPORT", "destinationPort", portOf)
  return wrong ?? (attributes.length === 0 ? invalid(field, "has no attribute") : attributes)
}

/** The command, whatever the server offers; `field` is what the program calls the attributes. */
export const make = (client: ClientAttributes, field: string): Command | Invalid => {
  const attributes = invalidRecord(field, client) ?? attributesOf(client, field)
  if (isInvalid(attributes)) return attributes
  const line = `XCLIENT ${attributes.join(" ")}`
  return Commands.overlongLine(field, line) ?? Commands.xclient(line)
}

/** What the server does not offer of it: XCLIENT itself, or an attribute. */
export const unsupported = (command: Command, capabilities: Capabilities): Unsupported | undefined => {
  const offered = capabilities.parameters("XCLIENT")
  if (offered === undefined) {
    return unsupportedExtension(
      "XCLIENT",
      "the server does not offer it to this client; in Postfix, smtpd_authorized_xclient_hosts names those it trusts"
    )
  }
  const names = offered.toUpperCase().split(" ")
  const missing = [...command.line.matchAll(/ ([A-Z]+)=/g)]
    .map(([, name = ""]) => name)
    .find((name) => !names.includes(name))
  return missing === undefined
    ? undefined
    : unsupportedExtension("XCLIENT", `the server does not take the attribute ${missing}`)
}
