/**
 * Connects through an HTTP proxy, by CONNECT (RFC 9110 section 9.3.6), with TLS to the proxy itself if you ask for it.
 * The proxy resolves host names, and can read everything that is not within TLS with the server.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { ConfigError } from "./internal/effect/config.js"
import { optional } from "./internal/effect/config.js"
import { httpTunnel } from "./internal/node/connectRequest.js"
import { systemResolve } from "./internal/node/dial.js"
import { checkSecret, makeProxyService, readProxy } from "./internal/node/proxy.js"
import { invalidArgument } from "./internal/session/failure.js"
import type { Invalid } from "./protocol/Invalid.js"
import { invalid, invalidText, isInvalid } from "./protocol/Invalid.js"
import { encode } from "./protocol/sasl/Base64.js"
import type { InvalidArgument } from "./SmtpError.js"
import type { Service } from "./SmtpSocket.js"
import { SmtpSocket } from "./SmtpSocket.js"
import type { TlsOptions } from "./TlsUpgrade.js"

export { ProxyError } from "./internal/node/proxyError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Host name or address of the proxy; `host:port` is accepted. */
  readonly host: string
  /** Default 3128, or 443 with `tls`. */
  readonly port?: number | undefined
  /** TLS with the proxy itself (an `https` proxy). Without it the credentials are sent in clear. */
  readonly tls?: TlsOptions | boolean | undefined
  /** For Basic authentication (RFC 7617), without a colon. */
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** Finds the addresses of the proxy. Default: the system's resolver. */
  readonly resolve?: ((host: string) => Effect.Effect<ReadonlyArray<string>, unknown>) | undefined
}

/**
 * Makes a service that dials through the proxy. `localAddress` and `localPort` of an endpoint apply to the connection to
 * the proxy. A failing dial is a ConnectError whose cause is a `ProxyError`. UNIX sockets are not supported.
 *
 * Many proxies allow CONNECT to port 443 only: ports 465 and 587 must be allowed there.
 *
 * Fails with `InvalidArgument` for an invalid option.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Service, InvalidArgument> => {
  const { resolve = systemResolve } = options
  const tls = options.tls === true ? {} : options.tls === false ? undefined : options.tls
  const address =
    checkCredentials(options) ?? readProxy(options.host, options.port, tls === undefined ? 3128 : 443)
  if (isInvalid(address)) return Effect.fail(invalidArgument(address))
  return makeProxyService({ ...address, resolve, tls }, httpTunnel(address, authorizationOf(options)))
}

const checkCredentials = ({ password, username }: Options): Invalid | undefined => {
  if (username === undefined) {
    return password === undefined ? undefined : invalid("username", "is missing, but there is a password")
  }
  const wrong =
    invalidText("username", username) ??
    (password === undefined ? undefined : checkSecret("password", password))
  if (wrong !== undefined) return wrong
  // RFC 7617 section 2.
  if (/[:\p{Cc}]/u.test(username)) return invalid("username", "contains a colon or a control character")
  return password !== undefined && /\p{Cc}/u.test(Redacted.value(password))
    ? invalid("password", "contains a control character")
    : undefined
}

const authorizationOf = ({ password, username }: Options): Redacted.Redacted | undefined => {
  if (username === undefined) return undefined
  const credentials = `${username}:${password === undefined ? "" : Redacted.value(password)}`
  return Redacted.make(`Basic ${encode(new TextEncoder().encode(credentials))}`)
}

/**
 * Provides the socket through the proxy. Add TLS and a capability cache from other layers.
 *
 * @example
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as Redacted from "effect/Redacted"
 * import { CapabilityCache, NodeSmtp } from "effect-smtplib"
 * import * as NodeSmtpHttpProxy from "effect-smtplib/NodeSmtpHttpProxy"
 *
 * const layer = Layer.mergeAll(
 *   NodeSmtpHttpProxy.layer({
 *     host: "proxy.example.com",
 *     tls: true,
 *     username: "app",
 *     password: Redacted.make("secret")
 *   }),
 *   NodeSmtp.layerTls,
 *   CapabilityCache.layerMemory
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SmtpSocket, InvalidArgument> =>
  Layer.effect(SmtpSocket, make(options))

/**
 * Provides the socket through the proxy, with options from configuration: a Config of your own for each option, or
 * `config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SmtpSocket, InvalidArgument | ConfigError> =>
  Layer.effect(SmtpSocket, Effect.flatMap(Config.unwrap(options), make))

/**
 * Reads options from the keys `_HOST`, `_PORT`, `_TLS` (`true` or `false`), `_USERNAME` and `_PASSWORD` behind the
 * prefix.
 *
 * @example
 * ```ts
 * import * as NodeSmtpHttpProxy from "effect-smtplib/NodeSmtpHttpProxy"
 *
 * const layer = NodeSmtpHttpProxy.layerConfig(NodeSmtpHttpProxy.config("HTTP_PROXY"))
 * ```
 *
 * @since 0.1.0
 * @category config
 */
export const config = (prefix: string): Config.Config<Options> =>
  Config.all({
    host: Config.nonEmptyString(`${prefix}_HOST`),
    port: optional(Config.port(`${prefix}_PORT`)),
    tls: optional(Config.boolean(`${prefix}_TLS`)),
    username: optional(Config.nonEmptyString(`${prefix}_USERNAME`)),
    password: optional(Config.redacted(Config.nonEmptyString(`${prefix}_PASSWORD`)))
  })
