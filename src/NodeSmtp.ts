/**
 * The layers for Node: the socket over node:net, TLS over node:tls, and both with the capability cache. With the
 * files that it alone imports it is the only module that imports node:net or node:tls.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { CapabilityCache } from "./CapabilityCache.js"
import { layerMemory } from "./CapabilityCache.js"
import * as NodeDial from "./internal/node/dial.js"
import * as NodeTls from "./internal/node/tls.js"
import { SmtpSocket } from "./SmtpSocket.js"
import type { TlsOptions } from "./TlsUpgrade.js"
import { TlsUpgrade } from "./TlsUpgrade.js"

/**
 * What a program can say of the socket.
 *
 * @since 0.1.0
 * @category models
 */
export interface SocketOptions {
  /**
   * Finds the addresses of a host name, in the order of preference. Default: the system's resolver. An address
   * literal is dialled without it.
   */
  readonly resolve?: ((host: string) => Effect.Effect<ReadonlyArray<string>, unknown>) | undefined
}

/**
 * What a program can say of the socket and of TLS.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransportOptions extends SocketOptions {
  /** Holds for every session that does not say otherwise. */
  readonly tls?: TlsOptions | undefined
}

/**
 * The socket over node:net, with a resolver of the program's choice.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSocketWith = (options: SocketOptions): Layer.Layer<SmtpSocket> =>
  Layer.succeed(SmtpSocket, NodeDial.makeService(options.resolve ?? NodeDial.systemResolve))

/**
 * The socket over node:net: TCP and UNIX sockets. Every address of a host is tried: the next one when the one
 * before has failed, or 250 ms later (RFC 8305).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSocket: Layer.Layer<SmtpSocket> = layerSocketWith({})

/**
 * TLS over node:tls, with options that hold for every session that does not say otherwise. Contexts are built
 * once for equal options, and TLS sessions are resumed for the same endpoint, name and options; both are owned by
 * the layer. Over a connection of another transport it works as well, at some cost.
 *
 * @example
 * ```ts
 * import { NodeSmtp } from "effect-smtplib"
 *
 * declare const authority: string
 * const layer = NodeSmtp.layerTlsWith({ ca: authority, minVersion: "TLSv1.3" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTlsWith = (options: TlsOptions): Layer.Layer<TlsUpgrade> =>
  Layer.effect(TlsUpgrade, NodeTls.makeService(options))

/**
 * TLS over node:tls, verified against Node's own list of authorities.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTls: Layer.Layer<TlsUpgrade> = layerTlsWith({})

/**
 * Socket and TLS, with options.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTransportWith = (options: TransportOptions): Layer.Layer<SmtpSocket | TlsUpgrade> =>
  Layer.merge(layerSocketWith(options), layerTlsWith(options.tls ?? {}))

/**
 * Socket and TLS.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTransport: Layer.Layer<SmtpSocket | TlsUpgrade> = layerTransportWith({})

/**
 * Everything that a session needs, with options for socket and TLS.
 *
 * @example
 * ```ts
 * import { NodeSmtp } from "effect-smtplib"
 *
 * declare const authority: string
 * const layer = NodeSmtp.layerWith({ tls: { ca: authority } })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (
  options: TransportOptions
): Layer.Layer<SmtpSocket | TlsUpgrade | CapabilityCache> =>
  Layer.merge(layerTransportWith(options), layerMemory)

/**
 * Everything that a session needs: socket, TLS, and a capability cache in memory.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeSmtp, SmtpSession } from "effect-smtplib"
 *
 * const program = SmtpSession.make({ host: "mail.example.com", port: 587 }).pipe(
 *   Effect.flatMap((smtp) => smtp.noop),
 *   Effect.scoped,
 *   Effect.provide(NodeSmtp.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SmtpSocket | TlsUpgrade | CapabilityCache> = layerWith({})
