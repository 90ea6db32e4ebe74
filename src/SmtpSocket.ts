/**
 * The service that connects: dials an endpoint and gives a Connection of bytes. SMTP and TLS are outside of it, so that
 * you can use a proxy, an in-memory pair or any other transport.
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
 * The service that dials endpoints. `NodeSmtp.layer` provides it; NodeSmtpSocks, NodeSmtpHttpProxy and SmtpTest provide others.
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
   * Dials the endpoint within the time limit. The connection is destroyed when the scope closes; an interrupted dial leaves
   * nothing open. A dial that exceeds the limit is interrupted.
   */
  readonly dial: (
    endpoint: Endpoint,
    options: DialOptions
  ) => Effect.Effect<Connection, ConnectError, Scope.Scope>
}

/**
 * The address of a server.
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
  /** Local address to dial from, smtplib's `source_address`. */
  readonly localAddress?: string | undefined
  /** Local port to dial from. */
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
  /** Limit of the whole dial: name resolution and every address that is tried (at most 16 with NodeSmtp). */
  readonly timeout: Duration.Duration
  /**
   * Addresses of the host to skip, because they have just answered with a 4yz greeting. The dial fails as unreachable if
   * no other address is left.
   */
  readonly except?: ReadonlyArray<string> | undefined
}

/**
 * A two-way stream of bytes. One fiber pulls and one fiber writes; both may be interrupted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Connection {
  /**
   * The next bytes, never an empty array, or `undefined` at the end of the peer's stream. While no fiber pulls, at most one
   * bounded buffer is read from the operating system. Bytes that were received before an error come before the error.
   */
  readonly pull: Effect.Effect<Uint8Array | undefined, ConnectionLost>
  /**
   * Hands the arrays to the operating system in order, in as few writes as possible, and ends when they are flushed. The
   * arrays must not change before that. Interruption stops the wait, not the write.
   */
  readonly write: (bytes: ReadonlyArray<Uint8Array>) => Effect.Effect<void, ConnectionLost>
  /** Number of bytes that were received and not pulled. Must be zero when TLS begins. */
  readonly buffered: () => number
  /** Closes at once, in both directions, and drops what is not flushed. A second call does nothing. */
  readonly destroy: Effect.Effect<void>
  /** The two ends, if the transport knows them. */
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
  /** Limit of the bytes that wait to be pulled, beyond which the connection fails. Default 1,048,576. */
  readonly maxBuffered?: number | undefined
}

/**
 * Makes a Connection of a Socket of @effect/platform, e.g. one through a proxy or a WebSocket tunnel. Opens the socket, and
 * closes it with the scope. `endpoint` only appears in error messages.
 *
 * Prefer NodeSmtp where you can, since a Socket of @effect/platform has limits:
 *
 * - it does not stop reading while no fiber pulls: the connection fails beyond `maxBuffered`;
 * - the end of the peer's stream closes both directions;
 * - the last words of the peer may be lost when a write fails;
 * - a dial that is interrupted or times out may leave its descriptor to the operating system;
 * - the addresses are unknown.
 *
 * Fails with `ConnectError` if the socket does not open in time.
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
