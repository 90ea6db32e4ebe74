/** The options of a session: their table, and how they are read before a connection is opened. */
import * as Duration from "effect/Duration"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidRecord, isInvalid } from "../../protocol/Invalid.js"
import { parseClientName } from "../../protocol/Mailbox.js"
import type { Chunking, Pipelining } from "../../protocol/Plan.js"
import type { ProxyAddress } from "../../protocol/ProxyHeader.js"
import * as ProxyHeader from "../../protocol/ProxyHeader.js"
import type { Limits } from "../../protocol/Reply.js"
import { defaultLimits } from "../../protocol/Reply.js"
import type { ClientAttributes } from "../../protocol/Xclient.js"
import type { Command } from "../../protocol/Command.js"
import * as Xclient from "../../protocol/Xclient.js"
import type { Credentials } from "../../SmtpAuth.js"
import type { AdvancedOptions, Options, TlsPolicy, WindowOptions } from "../../SmtpSession.js"
import type { Endpoint } from "../../SmtpSocket.js"
import type { Listener } from "../../SmtpTranscript.js"
import type { TlsOptions } from "../../TlsUpgrade.js"
import type { TimeLimits } from "../session/timeLimits.js"
import * as TimeLimit from "../session/timeLimits.js"
import type { Window } from "../session/turn.js"
import { readAddress, readHost } from "./host.js"
import type { Rows } from "./fields.js"
import {
  choice,
  duration,
  flag,
  int,
  largest,
  opaque,
  option,
  optionWith,
  pem,
  problemOf,
  secret,
  secretPem,
  struct,
  text,
  unchecked,
  written
} from "./fields.js"

// -- the table

const readProxyAddress = (value: string, name: string): ProxyAddress | Invalid => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(value)
  const address = match?.[1] ?? match?.[2]
  return address === undefined
    ? invalid(name, 'is not an address and a port, such as "192.0.2.1:25" or "[2001:db8::1]:25"')
    : { address, port: Number(match?.[3]) }
}

const address = written("address and port", readProxyAddress)

const proxyHeaderRows: Rows<ProxyHeader.ProxyHeader> = {
  version: option(
    written("1 or 2", (value, name) =>
      value === "1" ? 1 : value === "2" ? 2 : invalid(name, 'is none of "1", "2"')
    ),
    "2",
    "Version of the PROXY protocol."
  ),
  source: option(address, "none", "The client that the program speaks for."),
  destination: option(address, "none", "Where that client connected to.")
}

const port = int(0, 65_535)

const xclientRows: Rows<ClientAttributes> = {
  name: option(text, "none", "Host name of the client that the program speaks for."),
  address: option(text, "none", "Its IP address."),
  port: option(port, "none", "Its port."),
  protocol: option(choice("SMTP", "ESMTP"), "none", "Its protocol."),
  helo: option(text, "none", "Its EHLO argument."),
  login: option(text, "none", "The user that it authenticated as."),
  destinationAddress: option(text, "none", "The address that it connected to."),
  destinationPort: option(port, "none", "The port that it connected to.")
}

const tlsRows: Rows<TlsOptions> = {
  ca: option(
    written<NonNullable<TlsOptions["ca"]>>("PEM", pem),
    "Node's list",
    "Certificate authorities to trust."
  ),
  cert: option(
    written<NonNullable<TlsOptions["cert"]>>("PEM", pem),
    "none",
    "Client certificate, with its chain."
  ),
  key: option(secretPem, "none", "Private key of the client certificate, as PEM."),
  passphrase: option(secret, "none", "Passphrase of the private key."),
  servername: option(text, "`host`", "Name for SNI, which the certificate must carry."),
  minVersion: optionWith(choice("TLSv1.2", "TLSv1.3"), "TLSv1.2", "Lowest TLS version to accept."),
  verify: optionWith(flag, true, "Refuses a certificate that is not trusted or not valid for the name.")
}

const limit = int(1, largest)

const windowRows = {
  messages: optionWith(limit, 32, "Messages in flight at once."),
  octets: optionWith(limit, 1_048_576, "Bytes of content in flight at once.")
} satisfies Rows<WindowOptions>

const replyLimitRows: Rows<Limits> = {
  lineLength: optionWith(limit, defaultLimits.lineLength, "Bytes of a reply line."),
  lines: optionWith(limit, defaultLimits.lines, "Lines of a reply."),
  replyLength: optionWith(limit, defaultLimits.replyLength, "Bytes of a reply.")
}

const advancedRows = {
  window: option(struct<WindowOptions>(windowRows, {}), "", ""),
  resetBetween: optionWith(flag, true, "RSET before a transaction that begins before the last verdict."),
  eagerWithin: optionWith(
    duration,
    "2 seconds",
    'Age of the last reply up to which `"eager"` content leaves.'
  ),
  replyLimits: option(struct<Partial<Limits>>(replyLimitRows, {}), "", "")
} satisfies Rows<AdvancedOptions>

export const sessionRows = {
  host: option(
    text,
    "required",
    "Host name or address of the server; `host:port` and `[::1%eth0]:25` are accepted."
  ),
  port: option(int(1, 65_535), "587, 465, 25 or 24", "Port; the default follows from `tls` and `dialect`."),
  path: option(text, "none", "Path of a UNIX socket, instead of `host` and `port`."),
  localAddress: option(text, "any", "Local IP address to connect from."),
  localPort: option(port, "any", "Local port to connect from."),
  proxyHeader: option(unchecked(struct(proxyHeaderRows, { version: 2 })), "", ""),
  xclient: option(unchecked(struct<ClientAttributes>(xclientRows, {})), "", ""),
  dialect: optionWith(choice("smtp", "lmtp"), "smtp", "`lmtp` for a mail store (RFC 2033)."),
  clientName: option(text, "this host", "Name for EHLO: a qualified domain name or an address literal."),
  tls: option(
    choice("starttls", "implicit", "opportunistic", "none"),
    "starttls; implicit on port 465; none for a UNIX socket",
    "When the session is on TLS."
  ),
  tlsOptions: option(unchecked(struct<TlsOptions>(tlsRows, {})), "", ""),
  auth: option(opaque<Credentials>("Credentials"), "none", "Credentials for AUTH."),
  allowInsecureAuth: optionWith(flag, false, "Sends credentials without TLS."),
  pipelining: optionWith(
    choice("off", "envelope", "data", "overlap"),
    "data",
    "How much leaves in one write, where the server offers PIPELINING."
  ),
  chunking: optionWith(
    choice("off", "on", "eager"),
    "off",
    "Sends content by BDAT, where the server offers CHUNKING."
  ),
  timeouts: option(struct<TimeLimit.TimeLimitOptions>(TimeLimit.timeLimitRows, {}), "", ""),
  transcript: option(opaque<Listener>("function"), "none", "Receives every line, redacted."),
  advanced: option(struct<AdvancedOptions>(advancedRows, {}), "", "")
} satisfies Rows<Options>

// -- reading

export interface SessionSettings {
  readonly endpoint: Endpoint
  /** The host whose name the certificate must carry. */
  readonly host: string
  readonly port: number
  readonly dialect: "smtp" | "lmtp"
  readonly tls: TlsPolicy
  readonly clientName: string | undefined
  readonly limits: TimeLimits
  readonly replyLimits: Limits
  readonly pipelining: Pipelining
  readonly chunking: Chunking
  readonly window: Window
  readonly resetBetween: boolean
  /** In milliseconds. */
  readonly eagerWithin: number
  /** The bytes of the PROXY header. */
  readonly proxyHeader: Uint8Array | undefined
  readonly xclient: Command | undefined
}

const defaultPorts: Readonly<Record<TlsPolicy, number>> = {
  starttls: 587,
  implicit: 465,
  opportunistic: 25,
  none: 25
}

export const readSessionOptions = (options: Options): SessionSettings | Invalid => {
  const wrong = invalidRecord("options", options) ?? problemOf(sessionRows, options)
  if (wrong !== undefined) return wrong
  const { advanced = {}, dialect = sessionRows.dialect.default } = options
  const { replyLimits = {}, window = {} } = advanced
  const target = readEndpoint(options, dialect)
  if (isInvalid(target)) return target
  const clientName =
    options.clientName === undefined ? undefined : parseClientName(options.clientName, "clientName")
  if (isInvalid(clientName)) return clientName
  const proxyHeader =
    options.proxyHeader === undefined ? undefined : ProxyHeader.encode(options.proxyHeader, "proxyHeader")
  if (isInvalid(proxyHeader)) return proxyHeader
  const xclient = options.xclient === undefined ? undefined : Xclient.make(options.xclient, "xclient")
  if (isInvalid(xclient)) return xclient
  return {
    ...target,
    dialect,
    clientName,
    limits: TimeLimit.make(options.timeouts ?? {}),
    replyLimits: {
      lineLength: replyLimits.lineLength ?? defaultLimits.lineLength,
      lines: replyLimits.lines ?? defaultLimits.lines,
      replyLength: replyLimits.replyLength ?? defaultLimits.replyLength
    },
    pipelining: options.pipelining ?? sessionRows.pipelining.default,
    chunking: options.chunking ?? sessionRows.chunking.default,
    window: {
      messages: window.messages ?? windowRows.messages.default,
      octets: window.octets ?? windowRows.octets.default
    },
    resetBetween: advanced.resetBetween ?? advancedRows.resetBetween.default,
    eagerWithin: Duration.toMillis(advanced.eagerWithin ?? advancedRows.eagerWithin.default),
    proxyHeader,
    xclient
  }
}

type Target = Pick<SessionSettings, "endpoint" | "host" | "port" | "tls">

const readEndpoint = (options: Options, dialect: "smtp" | "lmtp"): Target | Invalid => {
  const { host, localAddress, localPort, path } = options
  if (path !== undefined) {
    if (host !== undefined) return invalid("path", "cannot be combined with host: give one of them")
    if (path === "" || path.includes("\0")) return invalid("path", "is not the path of a UNIX socket")
    return { endpoint: { _tag: "Unix", path }, host: "localhost", port: 0, tls: options.tls ?? "none" }
  }
  if (host === undefined) return invalid("host", "is missing: give host, or the path of a UNIX socket")
  const read = readHost(host, options.port)
  if (isInvalid(read)) return read
  const given = read.port
  const tls = options.tls ?? (given === defaultPorts.implicit ? "implicit" : "starttls")
  const port = given ?? (dialect === "lmtp" ? 24 : defaultPorts[tls])
  const wrong = sessionRows.port.problemOf(port, "port")
  if (wrong !== undefined) return wrong
  const from = localAddress === undefined ? undefined : readAddress(localAddress)
  if (from === undefined && localAddress !== undefined) return invalid("localAddress", "is not an IP address")
  return {
    endpoint: { _tag: "Tcp", host: read.host, port, localAddress: from, localPort },
    host: read.host,
    port,
    tls
  }
}
