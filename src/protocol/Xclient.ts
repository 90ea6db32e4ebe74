/**
 * XCLIENT, by which a program that stands before a Postfix tells it whom it speaks for (Postfix, XCLIENT_README). A
 * server takes it from those that it trusts only, and begins the session anew with it.
 */
import type { Capabilities } from "./Capabilities.js"
import type { Command } from "./Command.js"
import * as Commands from "./Command.js"
import type { Invalid } from "./Invalid.js"
import { invalid, invalidChoice, invalidRecord, invalidText, isInvalid } from "./Invalid.js"
import { octetsOf } from "./IpAddress.js"
import type { Unsupported } from "./Parameters.js"
import { encode } from "./Xtext.js"

/**
 * What is known of the client that is spoken for. What is left out stays as the server knows it; `"[UNAVAILABLE]"`
 * says that it is not known, `"[TEMPUNAVAIL]"` that it cannot be found out now.
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
  /** Whom it has authenticated as. */
  readonly login?: string | undefined
  /** Where it connected to. */
  readonly destinationAddress?: string | undefined
  readonly destinationPort?: number | undefined
}

type Attribute = readonly [name: string, value: string]

const unknown = /^\[(?:UNAVAILABLE|TEMPUNAVAIL)\]$/

const textOf = (field: string, value: string): string | Invalid =>
  invalidText(field, value) ??
  (value === "" ? invalid(field, "is empty") : (Commands.unsafeText(field, value) ?? encode(value)))

const addressOf = (field: string, value: string): string | Invalid => {
  if (unknown.test(value)) return value
  if (octetsOf(value) === undefined) return invalid(field, "is no IP address")
  return value.includes(":") ? `IPV6:${value}` : value
}

const portOf = (field: string, value: number): string | Invalid =>
  Number.isInteger(value) && value >= 0 && value <= 65_535
    ? String(value)
    : invalid(field, "is not a port: a whole number from 0 to 65535")

const given = <A>(
  name: string,
  field: string,
  value: A | undefined,
  read: (field: string, value: A) => string | Invalid
): ReadonlyArray<Attribute> | Invalid => {
  if (value === undefined) return []
  const text = read(field, value)
  return isInvalid(text) ? text : [[name, text]]
}

/** In the order in which Postfix documents them. */
const attributesOf = (client: ClientAttributes, field: string): ReadonlyArray<Attribute> | Invalid => {
  const choice = invalidChoice(`${field}.protocol`, client.protocol, ["SMTP", "ESMTP"])
  if (choice !== undefined) return choice
  const all: Array<Attribute> = []
  for (const part of [
    given("NAME", `${field}.name`, client.name, textOf),
    given("ADDR", `${field}.address`, client.address, addressOf),
    given("PORT", `${field}.port`, client.port, portOf),
    given("PROTO", `${field}.protocol`, client.protocol, textOf),
    given("HELO", `${field}.helo`, client.helo, textOf),
    given("LOGIN", `${field}.login`, client.login, textOf),
    given("DESTADDR", `${field}.destinationAddress`, client.destinationAddress, addressOf),
    given("DESTPORT", `${field}.destinationPort`, client.destinationPort, portOf)
  ]) {
    if (isInvalid(part)) return part
    all.push(...part)
  }
  return all.length === 0 ? invalid(field, "has no attribute") : all
}

/** The command, whatever the server offers; `field` is what the program calls the attributes. */
export const make = (client: ClientAttributes, field: string): Command | Invalid => {
  const attributes = invalidRecord(field, client) ?? attributesOf(client, field)
  if (isInvalid(attributes)) return attributes
  const line = `XCLIENT ${attributes.map(([name, value]) => `${name}=${value}`).join(" ")}`
  return Commands.overlongLine(field, line) ?? Commands.xclient(line)
}

/** What the server does not offer of it: XCLIENT itself, or an attribute. */
export const unsupported = (command: Command, capabilities: Capabilities): Unsupported | undefined => {
  const offered = capabilities.parameters("XCLIENT")
  if (offered === undefined) {
    return {
      _tag: "Unsupported",
      extension: "XCLIENT",
      reason:
        "the server does not offer it to this client; in Postfix, smtpd_authorized_xclient_hosts names those it trusts"
    }
  }
  const names = offered.toUpperCase().split(" ")
  const missing = [...command.line.matchAll(/ ([A-Z]+)=/g)]
    .map(([, name = ""]) => name)
    .find((name) => !names.includes(name))
  return missing === undefined
    ? undefined
    : {
        _tag: "Unsupported",
        extension: "XCLIENT",
        reason: `the server does not take the attribute ${missing}`
      }
}
