/**
 * The layers for Node: the socket over node:net, TLS over node:tls, and both with the capability cache. With the
 * files that it alone imports it is the only module that imports node:net or node:tls.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as NodeDial from "./internal/nodeDial.js"
import { SmtpSocket } from "./SmtpSocket.js"

/**
 * What a program can say of the transport.
 *
 * @since 0.1.0
 * @category models
 */
export interface SocketOptions {
  /**
   * Finds the addresses of a host name, in the order of preference. Default: the system's resolver. An address
   * literal is dialled without it.
   */
  readonly resolve?: NodeDial.Resolve | undefined
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
