/**
 * Reads the options of a session: every value that a program can get wrong is checked here, before a connection is
 * opened.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as ProxyHeader from "../../protocol/ProxyHeader.js"
import * as Xclient from "../../protocol/Xclient.js"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidChoice, invalidRecord, isInvalid } from "../../protocol/Invalid.js"
import { parseClientName } from "../../protocol/Mailbox.js"
import type { Limits } from "../../protocol/Reply.js"
import { defaultLimits } from "../../protocol/Reply.js"
import type { Chunking, Pipelining } from "../../protocol/Plan.js"
import type { AdvancedOptions, Options, TlsPolicy } from "../../SmtpSession.js"
import type { Endpoint } from "../../SmtpSocket.js"
import type { Window } from "../session/turn.js"
import type { TimeLimits } from "../session/timeLimits.js"
import * as TimeLimit from "../session/timeLimits.js"

export interface Settings {
  readonly endpoint: Endpoint
  /** The host whose name the certificate has to carry. */
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
  /** The octets of the PROXY header. */
  readonly proxyHeader: Uint8Array | undefined
}

const defaultPorts: Readonly<Record<TlsPolicy, number>> = {
  starttls: 587,
  implicit: 465,
  opportunistic: 25,
  none: 25
}

export const read = (options: Options): Settings | Invalid => {
  const choice = firstInvalidChoice(options)
  if (choice !== undefined) return choice
  const dialect = options.dialect ?? "smtp"
  const tls = options.tls ?? (options.path === undefined ? "starttls" : "none")
  const target = readEndpoint(options, dialect === "lmtp" ? 24 : defaultPorts[tls])
  if (isInvalid(target)) return target
  const clientName =
    options.clientName === undefined ? undefined : parseClientName(options.clientName, "clientName")
  if (isInvalid(clientName)) return clientName
  const limits = readTimeLimits(options.timeouts ?? {})
  if (isInvalid(limits)) return limits
  const { advanced = {} } = options
  const notAnObject = invalidRecord("advanced", advanced)
  if (notAnObject !== undefined) return notAnObject
  const replyLimits = readReplyLimits(advanced.replyLimits ?? {})
  if (isInvalid(replyLimits)) return replyLimits
  const window = readWindow(advanced.window ?? {})
  if (isInvalid(window)) return window
  const eagerWithin = Duration.decodeUnknown(advanced.eagerWithin ?? "2 seconds")
  if (Option.isNone(eagerWithin)) return invalid("advanced.eagerWithin", notADuration)
  const proxyHeader =
    options.proxyHeader === undefined ? undefined : ProxyHeader.encode(options.proxyHeader, "proxyHeader")
  if (isInvalid(proxyHeader)) return proxyHeader
  const xclient = options.xclient === undefined ? undefined : Xclient.make(options.xclient, "xclient")
  if (isInvalid(xclient)) return xclient
  return {
    ...target,
    dialect,
    tls,
    clientName,
    limits,
    replyLimits,
    pipelining: options.pipelining ?? "data",
    chunking: options.chunking ?? "off",
    window,
    resetBetween: advanced.resetBetween ?? true,
    eagerWithin: Duration.toMillis(eagerWithin.value),
    proxyHeader
  }
}

const notADuration = 'is not a duration, such as "30 seconds"'

const firstInvalidChoice = ({ chunking, dialect, pipelining, tls }: Options): Invalid | undefined =>
  invalidChoice("tls", tls, Object.keys(defaultPorts)) ??
  invalidChoice("dialect", dialect, ["smtp", "lmtp"]) ??
  invalidChoice("pipelining", pipelining, ["off", "envelope", "data", "overlap"]) ??
  invalidChoice("chunking", chunking, ["off", "on", "eager"])

type Target = Pick<Settings, "endpoint" | "host" | "port">

const readEndpoint = (options: Options, defaultPort: number): Target | Invalid => {
  const { host, path } = options
  if (path !== undefined) {
    if (host !== undefined) return invalid("path", "cannot be combined with host: give one of them")
    if (path === "" || path.includes("\0")) return invalid("path", "is not the path of a UNIX socket")
    return { endpoint: { _tag: "Unix", path }, host: "localhost", port: 0 }
  }
  if (host === undefined) return invalid("host", "is missing: give host, or the path of a UNIX socket")
  const split = splitHost(host)
  if (isInvalid(split)) return split
  if (split.port !== undefined && options.port !== undefined) {
    return invalid("port", "is given twice: in host and on its own")
  }
  const port = readPort(split.port ?? options.port ?? defaultPort, "port", 1)
  if (isInvalid(port)) return port
  const localPort = options.localPort === undefined ? undefined : readPort(options.localPort, "localPort", 0)
  if (isInvalid(localPort)) return localPort
  const { localAddress } = options
  if (localAddress !== undefined && !/^[0-9A-Fa-f.:]+(?:%\S+)?$/.test(localAddress)) {
    return invalid("localAddress", "is not an IP address")
  }
  return {
    endpoint: { _tag: "Tcp", host: split.host, port, localAddress, localPort },
    host: split.host,
    port
  }
}

const readPort = (port: number, field: string, lowest: number): number | Invalid =>
  Number.isInteger(port) && port >= lowest && port <= 65_535
    ? port
    : invalid(field, `is not a port: a whole number from ${lowest} to 65535`)

// `mail.example.com:587` and `[::1]:587`, as smtplib takes them; `::1` is an address and no port.
const splitHost = (host: string): { readonly host: string; readonly port: number | undefined } | Invalid => {
  if (host === "") return invalid("host", "is empty")
  // A control character would end the host's part of an OAUTHBEARER message (RFC 7628 section 3.1).
  if (/[\s\p{Cc}\p{Cs}/@<>]/u.test(host))
    return invalid("host", "holds a character that no host name has; give a name or address, no URL")
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(.*))?$/.exec(host)
  if (match === null) {
    return /^[0-9A-Fa-f:.]+(?:%\S+)?$/.test(host)
      ? { host, port: undefined }
      : invalid("host", "is neither a name nor an address, with or without a port")
  }
  const [, literal, name, port] = match
  if (port !== undefined && !/^\d{1,5}$/.test(port)) return invalid("host", "has a port that is not a number")
  return { host: literal ?? name ?? host, port: port === undefined ? undefined : Number(port) }
}

const readTimeLimits = (options: NonNullable<Options["timeouts"]>): TimeLimits | Invalid => {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue
    const limit = Duration.decodeUnknown(value)
    if (Option.isNone(limit)) return invalid(`timeouts.${name}`, notADuration)
    if (Duration.toMillis(limit.value) === 0)
      return invalid(`timeouts.${name}`, "is zero: no server can meet it")
  }
  return TimeLimit.make(options)
}

const readWindow = ({
  messages = 32,
  octets = 1_048_576
}: NonNullable<AdvancedOptions["window"]>): Window | Invalid => {
  for (const [name, value] of Object.entries({ messages, octets })) {
    if (!Number.isInteger(value) || value < 1)
      return invalid(`advanced.window.${name}`, "is not a whole number above zero")
  }
  return { messages, octets }
}

const readReplyLimits = (options: Partial<Limits>): Limits | Invalid => {
  const limits = { ...defaultLimits, ...options }
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isInteger(value) || value < 1)
      return invalid(`advanced.replyLimits.${name}`, "is not a whole number above zero")
  }
  return limits
}
