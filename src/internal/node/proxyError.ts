/** Why a proxy opened no tunnel. NodeSmtpSocks and NodeSmtpHttpProxy export it. */
import * as Data from "effect/Data"
import { describeCause } from "../effect/cause.js"

/**
 * A proxy opened no tunnel. It is the cause of a `ConnectError`, and holds no secret.
 *
 * - `Unreachable`: no connection to the proxy itself
 * - `Authentication`: the proxy requires credentials, or refused them
 * - `Refused`: the proxy cannot or will not connect to the server; `detail` is its answer
 * - `Malformed`: the answer does not follow the proxy protocol
 * - `Closed`: the proxy closed the connection before the tunnel was open
 * - `NotSupported`: no proxy can reach this endpoint
 *
 * @since 0.1.0
 * @category errors
 */
export class ProxyError extends Data.TaggedError("ProxyError")<{
  readonly reason: "Unreachable" | "Authentication" | "Refused" | "Malformed" | "Closed" | "NotSupported"
  /** Host and port of the proxy. */
  readonly proxy: string
  /** The status code of an HTTP proxy. */
  readonly status?: number | undefined
  readonly detail?: string | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    const said = this.detail ?? (this.cause === undefined ? undefined : describeCause(this.cause))
    const detail = said === undefined ? "" : `: ${said}`
    return `the proxy ${this.proxy} ${what[this.reason]}${detail}`
  }
}

const what = {
  Unreachable: "could not be reached",
  Authentication: "did not accept the credentials",
  Refused: "refused",
  Malformed: "sent an invalid answer",
  Closed: "closed the connection before the tunnel was open",
  NotSupported: "cannot be used"
}
