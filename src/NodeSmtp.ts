/**
 * Layers for Node: the socket over node:net, TLS over node:tls, and both with a capability cache.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { CapabilityCache } from "./CapabilityCache.js"
import { layerMemory } from "./CapabilityCache.js"
import { makeSocketService } from "./internal/node/dial.js"
import { makeTlsService } from "./internal/node/tls.js"
import { SmtpSocket } from "./SmtpSocket.js"
import type { TlsOptions } from "./TlsUpgrade.js"
import { TlsUpgrade } from "./TlsUpgrade.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface SocketOptions {
  /** Finds the addresses of a host name, in order of preference. Default: the system's resolver. */
  readonly resolve?: ((host: string) => Effect.Effect<ReadonlyArray<string>, unknown>) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface TransportOptions extends SocketOptions {
  /** Defaults for every session; options of a session override them. */
  readonly tls?: TlsOptions | undefined
}

/**
 * Provides the socket over node:net, with your own resolver.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSocketWith = (options: SocketOptions): Layer.Layer<SmtpSocket> =>
  Layer.succeed(SmtpSocket, makeSocketService(options.resolve))

/**
 * Provides the socket over node:net: TCP and UNIX sockets. All addresses of a host are tried, the next one when the one
 * before has failed, or after 250 ms (RFC 8305).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSocket: Layer.Layer<SmtpSocket> = layerSocketWith({})

/**
 * Provides TLS over node:tls, with defaults for every session. TLS sessions are resumed for the same endpoint, name and
 * options. It also works over connections of other transports, at some cost.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTlsWith = (options: TlsOptions): Layer.Layer<TlsUpgrade> =>
  Layer.effect(TlsUpgrade, makeTlsService(options))

/**
 * Provides TLS over node:tls, verified against Node's own list of authorities.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTls: Layer.Layer<TlsUpgrade> = layerTlsWith({})

/**
 * Provides socket and TLS, with options.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTransportWith = (options: TransportOptions): Layer.Layer<SmtpSocket | TlsUpgrade> =>
  Layer.merge(layerSocketWith(options), layerTlsWith(options.tls ?? {}))

/**
 * Provides socket and TLS.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTransport: Layer.Layer<SmtpSocket | TlsUpgrade> = layerTransportWith({})

/**
 * Provides everything that a session requires, with options for socket and TLS.
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
 * Provides everything that a session requires: socket, TLS, and a capability cache in memory.
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
