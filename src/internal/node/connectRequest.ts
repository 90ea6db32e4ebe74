/**
 * The CONNECT request to an HTTP proxy (RFC 9110 section 9.3.6), by node:http on our socket. What the proxy sends after
 * its answer comes from the server, and is put back into the socket.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Http from "node:http"
import { formatEndpoint } from "../transport/connection.js"
import { destroySocket } from "./connection.js"
import type { ProxyAddress, Tunnel } from "./proxy.js"
import { nameOfProxy } from "./proxy.js"
import { ProxyError } from "./proxyError.js"

export const httpTunnel =
  (proxy: ProxyAddress, authorization: Redacted.Redacted | undefined): Tunnel =>
  (socket, { host, port }) =>
    Effect.async((resume) => {
      const fail = (reason: ProxyError["reason"], detail: string, status?: number) =>
        resume(Effect.fail(new ProxyError({ reason, proxy: nameOfProxy(proxy), detail, status })))
      const authority = formatEndpoint({ _tag: "Tcp", host, port })
      try {
        const request = Http.request({
          method: "CONNECT",
          path: authority,
          headers: {
            host: authority,
            ...(authorization && { "proxy-authorization": Redacted.value(authorization) })
          },
          createConnection: () => socket
        })
        request.once("connect", (response, _socket, head) => {
          const status = response.statusCode ?? 0
          if (status >= 200 && status < 300) {
            if (head.length > 0) socket.unshift(head)
            resume(Effect.void)
          } else {
            const reason = status === 407 ? "Authentication" : status >= 300 ? "Refused" : "Malformed"
            fail(reason, `${status} ${visible(response.statusMessage ?? "")}`.trim(), status)
          }
        })
        // Never removed: the request may report errors of the socket later on.
        request.on("error", (cause) => {
          const closed = "code" in cause && (cause.code === "ECONNRESET" || cause.code === "EPIPE")
          fail(closed ? "Closed" : "Malformed", cause.message)
        })
        request.end()
      } catch (cause) {
        fail("Malformed", cause instanceof Error ? cause.message : "the request cannot be made")
      }
      return Effect.sync(() => destroySocket(socket))
    })

const visible = (text: string): string => text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200)
