/** What every kind of Connection shares. It is public through SmtpSocket. */
import * as Data from "effect/Data"
import type { Endpoint } from "../../SmtpSocket.js"
import { describeCause } from "../effect/cause.js"

/**
 * A read or a write failed: the connection was reset, or was destroyed on this side. Sessions turn it into
 * `ServerDisconnected`.
 */
export class ConnectionLost extends Data.TaggedError("ConnectionLost")<{
  readonly operation: "read" | "write"
  readonly cause: unknown
}> {
  override get message(): string {
    return `The ${this.operation} failed: ${describeCause(this.cause)}`
  }
}

/**
 * The endpoint as messages name it: host and port, with brackets around an IPv6 address, or the path.
 *
 * @example
 * ```ts
 * import { SmtpSocket } from "effect-smtplib"
 *
 * SmtpSocket.formatEndpoint({ _tag: "Tcp", host: "mail.example.com", port: 587 }) // "mail.example.com:587"
 * ```
 */
export const formatEndpoint = (endpoint: Endpoint): string => {
  if (endpoint._tag === "Unix") return endpoint.path
  const host = endpoint.host.includes(":") ? `[${endpoint.host}]` : endpoint.host
  return `${host}:${endpoint.port}`
}

/** What OpenSSL reports, most often an alert of the peer; `undefined` for any other cause. */
export const tlsFailureOf = (cause: unknown): Error | undefined => {
  const error = cause instanceof ConnectionLost ? cause.cause : cause
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_SSL_")
    ? error
    : undefined
}
