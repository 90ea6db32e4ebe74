/**
 * The CONNECT request to an HTTP proxy (RFC 9110 section 9.3.6), by node:http on a socket that is ours. What the proxy
 * sends behind its answer belongs to the server, and is put back into the socket.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Http from "node:http"
import type { TcpEndpoint } from "../../SmtpSocket.js"
import { formatEndpoint } from "../transport/connection.js"
import { destroySocket } from "./connection.js"
import type { Tunnel } from "./proxy.js"
import { nameOf } from "./proxy.js"
import { ProxyError } from "./proxyError.js"

export interface Options {
  readonly host: string
  readonly port: number
  /** The value of Proxy-Authorization. */
  readonly authorization: Redacted.Redacted | undefined
}

export const tunnel =
  (options: Options): Tunnel =>
  (socket, destination) =>
    Effect.async((resume) => {
      const fail = (
        reason: ProxyError["reason"],
        more: { readonly status?: number; readonly detail?: string }
      ) => resume(Effect.fail(new ProxyError({ reason, proxy: nameOf(options), ...more })))
      try {
        const request = Http.request({
          method: "CONNECT",
          path: authorityOf(destination),
          headers: headersOf(options, destination),
          createConnection: () => socket
        })
        request.once("connect", (response, _socket, head) => {
          const status = response.statusCode ?? 0
          if (status >= 200 && status < 300) {
            if (head.length > 0) socket.unshift(head)
            resume(Effect.void)
          } else {
            const reason = status === 407 ? "Authentication" : status >= 300 ? "Refused" : "Malformed"
            fail(reason, { status, detail: `${status} ${visible(response.statusMessage ?? "")}`.trim() })
          }
        })
        // For ever: the request may report what becomes of the socket later on.
        request.on("error", (cause) => {
          const closed = "code" in cause && (cause.code === "ECONNRESET" || cause.code === "EPIPE")
          fail(closed ? "Closed" : "Malformed", { detail: cause.message })
        })
        request.end()
      } catch (cause) {
        fail("Malformed", { detail: cause instanceof Error ? cause.message : "the request cannot be made" })
      }
      return Effect.sync(() => destroySocket(socket))
    })

/** A name goes as it is, for the proxy to look up. */
const authorityOf = ({ host, port }: TcpEndpoint): string => formatEndpoint({ _tag: "Tcp", host, port })

const headersOf = (
  { authorization }: Options,
  destination: TcpEndpoint
): Readonly<Record<string, string>> => ({
  host: authorityOf(destination),
  ...(authorization === undefined ? {} : { "proxy-authorization": Redacted.value(authorization) })
})

const visible = (text: string): string => text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200)
