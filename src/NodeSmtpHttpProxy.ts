/**
 * The socket through an HTTP proxy, by CONNECT (RFC 9110 section 9.3.6), with TLS to the proxy itself if it wants
 * that. The proxy looks names up, and sees what passes unless TLS with the server keeps it from that.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { invalidArgument } from "./internal/session/failure.js"
import { tunnel } from "./internal/node/connectRequest.js"
import { systemResolve } from "./internal/node/dial.js"
import * as NodeProxy from "./internal/node/proxy.js"
import type { Invalid } from "./protocol/Invalid.js"
import { invalid, invalidText } from "./protocol/Invalid.js"
import { encode } from "./protocol/sasl/Base64.js"
import type { InvalidArgument } from "./SmtpError.js"
import type { Service } from "./SmtpSocket.js"
import { SmtpSocket } from "./SmtpSocket.js"
import type { TlsOptions } from "./TlsUpgrade.js"

export {
  /**
   * What went wrong with the proxy, as the cause of a `ConnectError`.
   *
   * @since 0.1.0
   * @category errors
   */
  ProxyError
} from "./internal/node/proxyError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Host name or address of the proxy. */
  readonly host: string
  /** Default 3128, or 443 with `tls`. */
  readonly port?: number | undefined
  /** TLS with the proxy itself, an `https` proxy. Without it, user name and password go to the proxy in clear. */
  readonly tls?: TlsOptions | boolean | undefined
  /** For Basic authentication (RFC 7617); without a colon. */
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** Finds the addresses of the proxy, and of nothing else. Default: the system's resolver. */
  readonly resolve?: ((host: string) => Effect.Effect<ReadonlyArray<string>, unknown>) | undefined
}

/**
 * A service that dials through the proxy. `localAddress` and `localPort` of an endpoint hold for the way to the
 * proxy. What goes wrong is a ConnectError with a `ProxyError` for its cause; UNIX sockets cannot be reached.
 *
 * Many proxies let CONNECT through to port 443 alone: 465 and 587 have to be allowed there.
 *
 * Fails with `InvalidArgument` for options that cannot be.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Service, InvalidArgument> => {
  const { resolve = systemResolve } = options
  const tls = options.tls === true ? {} : options.tls === false ? undefined : options.tls
  const endpoint = { host: options.host, port: options.port ?? (tls === undefined ? 3128 : 443) }
  const wrong = NodeProxy.wrongEndpoint(endpoint) ?? wrongCredentials(options)
  if (wrong !== undefined) return Effect.fail(invalidArgument(wrong))
  return NodeProxy.makeService(
    { ...endpoint, resolve, tls },
    tunnel({ ...endpoint, authorization: authorizationOf(options) })
  )
}

const wrongCredentials = ({ password, username }: Options): Invalid | undefined => {
  if (username === undefined) {
    return password === undefined ? undefined : invalid("username", "is missing beside password")
  }
  const wrong =
    invalidText("username", username) ??
    (password === undefined ? undefined : NodeProxy.wrongSecret("password", password))
  if (wrong !== undefined) return wrong
  // RFC 7617 section 2.
  if (/[:\p{Cc}]/u.test(username)) return invalid("username", "holds a colon or a control character")
  return password !== undefined && /\p{Cc}/u.test(Redacted.value(password))
    ? invalid("password", "holds a control character")
    : undefined
}

const authorizationOf = ({ password, username }: Options): Redacted.Redacted | undefined => {
  if (username === undefined) return undefined
  const credentials = `${username}:${password === undefined ? "" : Redacted.value(password)}`
  return Redacted.make(`Basic ${encode(new TextEncoder().encode(credentials))}`)
}

/**
 * The socket through the proxy; TLS and the capability cache are those of other layers.
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
 * The socket through the proxy, from configuration; see `config` for names that are ready.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SmtpSocket, InvalidArgument | ConfigError.ConfigError> =>
  Layer.effect(SmtpSocket, Effect.flatMap(Config.unwrap(options), make))

/**
 * Options under names that begin with the prefix: `_HOST`, `_PORT`, `_TLS` (`true` or `false`), `_USERNAME` and
 * `_PASSWORD`.
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

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)
