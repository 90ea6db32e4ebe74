/**
 * The socket as a service: dials an endpoint and gives a Connection of octets. It speaks no SMTP and no TLS,
 * so that a proxy, an in-memory pair or any other transport can take its place.
 *
 * @since 0.1.0
 */
import type * as PlatformSocket from "@effect/platform/Socket"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ConnectionLost } from "./internal/transport/connection.js"
import type { ConnectError } from "./SmtpError.js"

/**
 * The service that dials endpoints.
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpSocket extends Context.Tag("effect-smtplib/SmtpSocket")<SmtpSocket, Service>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * Dials the endpoint within the time limit. The connection is destroyed when the scope closes; an interrupted
   * dial leaves nothing open. One that goes on beyond the limit is interrupted.
   */
  readonly dial: (
    endpoint: Endpoint,
    options: DialOptions
  ) => Effect.Effect<Connection, ConnectError, Scope.Scope>
}

/**
 * Where a server listens.
 *
 * @since 0.1.0
 * @category models
 */
export type Endpoint = TcpEndpoint | UnixEndpoint

/**
 * A host name or address literal (without brackets) and a port.
 *
 * @since 0.1.0
 * @category models
 */
export interface TcpEndpoint {
  readonly _tag: "Tcp"
  readonly host: string
  readonly port: number
  /** The local address to dial from, smtplib's `source_address`. */
  readonly localAddress?: string | undefined
  /** The local port to dial from. */
  readonly localPort?: number | undefined
}

/**
 * The path of a UNIX socket; LMTP servers often listen on one.
 *
 * @since 0.1.0
 * @category models
 */
export interface UnixEndpoint {
  readonly _tag: "Unix"
  readonly path: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface DialOptions {
  /** The limit of the whole dial: name resolution and every address that is tried; over node:net 16 at most. */
  readonly timeout: Duration.Duration
  /**
   * Addresses of the host that are not to be dialled, because they have just turned the session away (a 4yz
   * greeting). With no other address left the dial fails as unreachable.
   */
  readonly except?: ReadonlyArray<string> | undefined
}

/**
 * A two-way stream of octets. One fiber pulls and one fiber writes; both may be interrupted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Connection {
  /**
   * The next octets, never an empty array, or `undefined` at the end of the peer's stream. Nothing is read from
   * the operating system while nobody pulls, beyond one bounded buffer. Octets that were received before an
   * error or a reset are given before the error.
   */
  readonly pull: Effect.Effect<Uint8Array | undefined, ConnectionLost>
  /**
   * Hands the arrays to the operating system in order, in as few writes as it takes, and ends when they are
   * flushed. The arrays must not change before that. Interruption stops the wait, not the octets.
   */
  readonly write: (octets: ReadonlyArray<Uint8Array>) => Effect.Effect<void, ConnectionLost>
  /** How many octets have been received that nobody has pulled: must be zero when TLS begins. */
  readonly buffered: () => number
  /** Closes at once, in both directions, and drops what is not yet flushed. A second call does nothing. */
  readonly destroy: Effect.Effect<void>
  /** The two ends, as far as the transport knows them. */
  readonly addresses: Addresses
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Addresses {
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
}

export {
  /**
   * A read or a write failed: the connection was reset, or was destroyed on this side. Sessions turn it into
   * `ServerDisconnected`.
   *
   * @since 0.1.0
   * @category errors
   */
  ConnectionLost,
  /**
   * The endpoint as messages name it: host and port, with brackets around an IPv6 address, or the path.
   *
   * @example
   * ```ts
   * import { SmtpSocket } from "effect-smtplib"
   *
   * SmtpSocket.formatEndpoint({ _tag: "Tcp", host: "mail.example.com", port: 587 }) // "mail.example.com:587"
   * ```
   *
   * @since 0.1.0
   * @category accessors
   */
  formatEndpoint
} from "./internal/transport/connection.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface FromSocketOptions extends DialOptions {
  /** How many octets may wait to be pulled before the connection is given up. Default 1,048,576. */
  readonly maxBuffered?: number | undefined
}

/**
 * Plugs a Socket of @effect/platform in, e.g. one that a proxy or a WebSocket tunnel has made. It is opened here,
 * and closed with the scope. `endpoint` is for messages only.
 *
 * Such a Socket does less than the one of NodeSmtp, which is to be preferred where it will do:
 *
 * - it does not stop reading when nobody pulls: the connection is lost beyond `maxBuffered`;
 * - the end of the peer's stream closes both directions;
 * - what the peer said may be lost when a write fails;
 * - a dial that is interrupted or runs out of time may leave its descriptor to the operating system;
 * - the addresses are not known.
 *
 * Fails with ConnectError when the socket does not open, or not in time.
 *
 * @example
 * ```ts
 * import { NodeSocket } from "@effect/platform-node"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import { SmtpSocket } from "effect-smtplib"
 *
 * const throughProxy = Layer.succeed(SmtpSocket.SmtpSocket, {
 *   dial: (endpoint, options) =>
 *     NodeSocket.makeNet({ host: "proxy.example.com", port: 2525 }).pipe(
 *       Effect.orDie,
 *       Effect.flatMap((socket) => SmtpSocket.fromSocket(socket, endpoint, options))
 *     )
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSocket: (
  socket: PlatformSocket.Socket,
  endpoint: Endpoint,
  options: FromSocketOptions
) => Effect.Effect<Connection, ConnectError, Scope.Scope> = (socket, endpoint, options) =>
  Effect.flatMap(
    Effect.promise(() => import("./internal/transport/platformConnection.js")),
    (platform) => platform.fromSocket(socket, endpoint, options)
  )
