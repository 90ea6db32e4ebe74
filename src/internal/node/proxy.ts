/**
 * Dialling through a proxy: the socket to the proxy, TLS with it if it wants that, and a tunnel whose protocol is a
 * parameter. What comes out is a connection like any other, so that TLS with the server runs over its socket.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { domainToASCII } from "node:url"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidText } from "../../protocol/Invalid.js"
import { ConnectError } from "../../SmtpError.js"
import type { DialOptions, Endpoint, Service, TcpEndpoint } from "../../SmtpSocket.js"
import type { TlsOptions } from "../../TlsUpgrade.js"
import { formatEndpoint } from "../transport/connection.js"
import { destroySocket, fromNodeSocket, takeSocket } from "./connection.js"
import type { Resolve } from "./dial.js"
import { dialSocket } from "./dial.js"
import * as NodeTls from "./tls.js"
import { withOwnLimit } from "../effect/ownLimit.js"
import { ProxyError } from "./proxyError.js"

export interface Proxy {
  readonly host: string
  readonly port: number
  readonly resolve: Resolve
  /** TLS with the proxy itself. */
  readonly tls: TlsOptions | undefined
}

/**
 * Asks the proxy for a way to the server. The socket is paused, and has to be left so, with all that is behind the
 * proxy's answer still to be read. Its interruption leaves the socket to be destroyed.
 */
export type Tunnel = (
  socket: Net.Socket,
  destination: TcpEndpoint,
  limit: DialOptions["timeout"]
) => Effect.Effect<void, ProxyError>

/** What is no secret: plain JavaScript knows no types. */
export const wrongSecret = (field: string, value: unknown): Invalid | undefined =>
  Redacted.isRedacted(value) && typeof Redacted.value(value) === "string"
    ? undefined
    : invalid(field, "is not Redacted: give it by Redacted.make")

/** What is wrong with the host or port of a proxy. */
export const wrongEndpoint = ({
  host,
  port
}: {
  readonly host: string
  readonly port: number
}): Invalid | undefined => {
  const wrong = invalidText("host", host)
  if (wrong !== undefined) return wrong
  if (host === "" || /[\s\p{Cc}\p{Cs}/@<>[\]]/u.test(host)) {
    return invalid("host", "is neither a name nor an address; give no URL")
  }
  return Number.isInteger(port) && port >= 1 && port <= 65_535
    ? undefined
    : invalid("port", "is not a port: a whole number from 1 to 65535")
}

export const nameOf = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  formatEndpoint({ _tag: "Tcp", host, port })

export const makeService = (proxy: Proxy, tunnel: Tunnel): Effect.Effect<Service> =>
  Effect.map(NodeTls.makeService(proxy.tls ?? {}), (tls): Service => {
    const through = (below: Net.Socket, endpoint: TcpEndpoint, options: DialOptions) =>
      Effect.gen(function* () {
        const socket = proxy.tls === undefined ? below : yield* secure(tls, proxy, below, options)
        // What is above goes first: see destroyFirst.
        yield* Effect.onError(tunnel(socket, endpoint, options.timeout), () =>
          Effect.sync(() => destroySocket(socket))
        )
        // Whose address the proxy has chosen is not known: the one at the other end is the proxy's own.
        const { localAddress, localPort } = below
        const addresses = { remoteAddress: undefined, remotePort: undefined, localAddress, localPort }
        const connection = fromNodeSocket(socket, { addresses, onDestroy: () => destroySocket(below) })
        yield* Effect.addFinalizer(() => connection.destroy)
        return connection
      })
    return withOwnLimit({
      dial: (endpoint, options) =>
        Effect.gen(function* () {
          const destination = destinationOf(endpoint)
          if (typeof destination === "string") {
            return yield* new ProxyError({
              reason: "NotSupported",
              proxy: nameOf(proxy),
              detail: destination
            })
          }
          const below = yield* connect(proxy, destination, options)
          return yield* Effect.onError(through(below, destination, options), () =>
            Effect.sync(() => destroySocket(below))
          )
        }).pipe(
          Effect.mapError((cause) => {
            const reason = isTimeout(cause) ? "Timeout" : "Unreachable"
            return new ConnectError({ endpoint: formatEndpoint(endpoint), reason, cause })
          }),
          // So that the limit holds in an uninterruptible region too.
          Effect.interruptible,
          Effect.timeoutFail({
            duration: options.timeout,
            onTimeout: () =>
              new ConnectError({
                endpoint: formatEndpoint(endpoint),
                reason: "Timeout",
                cause: `the proxy ${nameOf(proxy)} was not through`
              })
          })
        )
    })
  })

/**
 * What the proxy is asked for, or why it cannot be. Names go in A-labels: neither protocol knows others, and SOCKS
 * counts their octets by one of them.
 */
const destinationOf = (endpoint: Endpoint): TcpEndpoint | string => {
  if (endpoint._tag === "Unix") return "it cannot reach a UNIX socket"
  const { host } = endpoint
  if (host.includes("%")) return "it cannot reach an address with a zone, which is of this machine alone"
  if (/[\s\p{Cc}]/u.test(host)) return "it cannot be asked for a host with a space or a control character"
  const name = /^\p{ASCII}*$/u.test(host) ? host : domainToASCII(host)
  if (name === "" || name.length > longestName) {
    return "it cannot be asked for a host that is no name of the DNS, or one with more than 255 octets"
  }
  return { ...endpoint, host: name }
}

// RFC 1928 section 5 has one octet for the length, and DNS knows no longer names.
const longestName = 255

const isTimeout = ({ cause }: ProxyError): boolean =>
  typeof cause === "object" && cause !== null && "reason" in cause && cause.reason === "Timeout"

const unreachable = (proxy: Proxy) => (cause: unknown) =>
  new ProxyError({ reason: "Unreachable", proxy: nameOf(proxy), cause })

// An address that a server was reached at says nothing about the proxy: `except` is not for it.
const connect = (
  proxy: Proxy,
  { localAddress, localPort }: TcpEndpoint,
  { timeout }: DialOptions
): Effect.Effect<Net.Socket, ProxyError, Scope.Scope> =>
  Effect.mapError(
    dialSocket(
      { _tag: "Tcp", host: proxy.host, port: proxy.port, localAddress, localPort },
      { timeout },
      proxy.resolve
    ),
    unreachable(proxy)
  )

const secure = (
  tls: Effect.Effect.Success<ReturnType<typeof NodeTls.makeService>>,
  proxy: Proxy,
  below: Net.Socket,
  { timeout }: DialOptions
): Effect.Effect<Net.Socket, ProxyError, Scope.Scope> =>
  tls.upgrade(fromNodeSocket(below), { host: proxy.host, port: proxy.port, timeout, tls: {} }).pipe(
    Effect.flatMap((secured) => {
      const socket = takeSocket(secured)
      return socket === undefined
        ? Effect.fail(new Error("the connection has no socket"))
        : Effect.succeed(socket)
    }),
    Effect.mapError(unreachable(proxy))
  )
