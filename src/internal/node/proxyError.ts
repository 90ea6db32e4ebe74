/** Why a proxy gave no way through. It is public through NodeSmtpSocks and NodeSmtpHttpProxy. */
import * as Data from "effect/Data"
import { describeCause } from "../effect/cause.js"

/**
 * What went wrong with the proxy, as the cause of a `ConnectError`. No secret is one of its fields.
 *
 * - `Unreachable`: there is no connection to the proxy itself
 * - `Authentication`: the proxy wants other credentials, or any
 * - `Refused`: the proxy cannot or will not connect to the server; `detail` is what it said
 * - `Malformed`: what it said is no answer of such a proxy
 * - `Closed`: it closed the connection before there was a way through
 * - `NotSupported`: the endpoint is none that a proxy can reach
 */
export class ProxyError extends Data.TaggedError("ProxyError")<{
  readonly reason: "Unreachable" | "Authentication" | "Refused" | "Malformed" | "Closed" | "NotSupported"
  /** Host and port of the proxy. */
  readonly proxy: string
  /** The status of an HTTP proxy. */
  readonly status?: number | undefined
  readonly detail?: string | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    const said = this.detail ?? (this.cause === undefined ? undefined : describeCause(this.cause))
    const detail = said === undefined ? "" : `: ${said}`
    switch (this.reason) {
      case "Unreachable":
        return `the proxy ${this.proxy} could not be reached${detail}`
      case "Authentication":
        return `the proxy ${this.proxy} did not accept the credentials${detail}`
      case "Refused":
        return `the proxy ${this.proxy} refused${detail}`
      case "Malformed":
        return `the proxy ${this.proxy} gave an answer that cannot be used${detail}`
      case "Closed":
        return `the proxy ${this.proxy} closed the connection before it was through${detail}`
      case "NotSupported":
        return `the proxy ${this.proxy} cannot be used${detail}`
    }
  }
}
