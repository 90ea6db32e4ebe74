/**
 * Dials through a proxy: a socket to the proxy, TLS with it if requested, and a tunnel by either protocol. The result is
 * a connection like any other, so that TLS with the server runs over its socket.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { domainToASCII } from "node:url"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidText, isInvalid } from "../../protocol/Invalid.js"
import { ConnectError } from "../../SmtpError.js"
import type { DialOptions, Endpoint, Service, TcpEndpoint } from "../../SmtpSocket.js"
import type { Service as TlsService, TlsOptions } from "../../TlsUpgrade.js"
import { withOwnLimit } from "../effect/bestEffort.js"
import { onClose } from "../effect/scope.js"
import { withTimeLimit } from "../effect/timeLimit.js"
import { int } from "../options/fields.js"
import { readHost } from "../options/host.js"
import { formatEndpoint } from "../transport/connection.js"
import type { NodeConnection } from "./connection.js"
import { destroySocket, fromNodeSocket, takeSocket } from "./connection.js"
import type { Resolve } from "./dial.js"
import { dialSocket } from "./dial.js"
import { ProxyError } from "./proxyError.js"
import { makeTlsService } from "./tls.js"

export interface ProxyAddress {
  readonly host: string
  readonly port: number
}

export interface ProxyOptions extends ProxyAddress {
  readonly resolve: Resolve
  /** For TLS with the proxy itself. */
  readonly tls: TlsOptions | undefined
}

/**
 * Asks the proxy for a connection to the destination. The socket is paused and stays so, with all bytes after the
 * proxy's answer still to be read. An interrupted tunnel destroys it.
 */
export type Tunnel = (
  socket: Net.Socket,
  destination: TcpEndpoint,
  limit: DialOptions["timeout"]
) => Effect.Effect<void, ProxyError>

/** Checks what JavaScript callers may get wrong. */
export const checkSecret = (field: string, value: unknown): Invalid | undefined =>
  Redacted.isRedacted(value) && typeof Redacted.value(value) === "string"
    ? undefined
    : invalid(field, "is not Redacted; use Redacted.make")

/** `port` may be part of `host`. */
export const readProxy = (
  host: string,
  port: number | undefined,
  defaultPort: number
): ProxyAddress | Invalid => {
  const read = invalidText("host", host) ?? readHost(host, port)
  if (isInvalid(read)) return read
  const address = { host: read.host, port: read.port ?? defaultPort }
  return int(1, 65_535).problemOf(address.port, "port") ?? address
}

export const nameOfProxy = ({ host, port }: ProxyAddress): string =>
  formatEndpoint({ _tag: "Tcp", host, port })

export const makeProxyService = (proxy: ProxyOptions, tunnel: Tunnel): Effect.Effect<Service> =>
  Effect.map(makeTlsService(proxy.tls ?? {}), (tls) =>
    withOwnLimit({
      dial: (endpoint, options) => {
        const name = formatEndpoint(endpoint)
        return withTimeLimit(
          Effect.mapError(dialThrough(proxy, tls, tunnel, endpoint, options), (cause) => {
            const reason = isTimeout(cause) ? "Timeout" : "Unreachable"
            return new ConnectError({ endpoint: name, reason, cause })
          }),
          options.timeout,
          () => {
            const cause = `the proxy ${nameOfProxy(proxy)} opened no tunnel`
            return new ConnectError({ endpoint: name, reason: "Timeout", cause })
          }
        )
      }
    })
  )

const isTimeout = ({ cause }: ProxyError): boolean =>
  typeof cause === "object" && cause !== null && "reason" in cause && cause.reason === "Timeout"

const dialThrough = (
  proxy: ProxyOptions,
  tls: TlsService,
  tunnel: Tunnel,
  endpoint: Endpoint,
  options: DialOptions
): Effect.Effect<NodeConnection, ProxyError, Scope.Scope> =>
  Effect.gen(function* () {
    const destination = destinationOf(endpoint)
    if (typeof destination === "string") {
      return yield* new ProxyError({
        reason: "NotSupported",
        proxy: nameOfProxy(proxy),
        detail: destination
      })
    }
    const below = yield* connectTo(proxy, destination, options)
    return yield* destroyOnError(tunnelOver(below, proxy, tls, tunnel, destination, options), below)
  })

const tunnelOver = (
  below: Net.Socket,
  proxy: ProxyOptions,
  tls: TlsService,
  tunnel: Tunnel,
  destination: TcpEndpoint,
  options: DialOptions
): Effect.Effect<NodeConnection, ProxyError, Scope.Scope> =>
  Effect.gen(function* () {
    const socket = proxy.tls === undefined ? below : yield* secure(tls, proxy, below, options)
    // Top first: see destroyFirst.
    yield* destroyOnError(tunnel(socket, destination, options.timeout), socket)
    // The proxy does not tell the server's address.
    const { localAddress, localPort } = below
    const addresses = { remoteAddress: undefined, remotePort: undefined, localAddress, localPort }
    const connection = fromNodeSocket(socket, { addresses, onDestroy: () => destroySocket(below) })
    yield* onClose(connection.destroy)
    return connection
  })

const destroyOnError = <A, E, R>(use: Effect.Effect<A, E, R>, socket: Net.Socket) =>
  Effect.onError(use, () => Effect.sync(() => destroySocket(socket)))

/**
 * What to ask the proxy for, or why it cannot be asked. Names become A-labels: neither protocol knows others, and SOCKS
 * counts their bytes in one.
 */
const destinationOf = (endpoint: Endpoint): TcpEndpoint | string => {
  if (endpoint._tag === "Unix") return "it cannot reach a UNIX socket"
  const { host } = endpoint
  if (host.includes("%")) return "it cannot reach an address with a zone, which belongs to this machine"
  if (/[\s\p{Cc}]/u.test(host)) return "the host contains a space or a control character"
  const name = /^\p{ASCII}*$/u.test(host) ? host : domainToASCII(host)
  if (name === "" || name.length > longestName) return "the host is not a DNS name of at most 255 bytes"
  return { ...endpoint, host: name }
}

/** RFC 1928 section 5. */
const longestName = 255

const unreachable = (proxy: ProxyAddress) => (cause: unknown) =>
  new ProxyError({ reason: "Unreachable", proxy: nameOfProxy(proxy), cause })

// Without `except`: it lists addresses of the server, not of the proxy.
const connectTo = (
  proxy: ProxyOptions,
  { localAddress, localPort }: TcpEndpoint,
  { timeout }: DialOptions
): Effect.Effect<Net.Socket, ProxyError, Scope.Scope> =>
  dialSocket(
    { _tag: "Tcp", host: proxy.host, port: proxy.port, localAddress, localPort },
    { timeout },
    proxy.resolve
  ).pipe(Effect.mapError(unreachable(proxy)))

const secure = (
  tls: TlsService,
  proxy: ProxyOptions,
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
