/**
 * Connects through a SOCKS proxy, versions 4, 4a and 5 (RFC 1928, RFC 1929), by the package `socks`. The proxy resolves
 * host names, and can read everything that is not within TLS.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { ConfigError } from "./internal/effect/config.js"
import { optional } from "./internal/effect/config.js"
import { systemResolve } from "./internal/node/dial.js"
import { checkSecret, makeProxyService, readProxy } from "./internal/node/proxy.js"
import { socksTunnel } from "./internal/node/socks.js"
import { invalidArgument } from "./internal/session/failure.js"
import type { Invalid } from "./protocol/Invalid.js"
import { invalid, invalidText, isInvalid } from "./protocol/Invalid.js"
import type { InvalidArgument } from "./SmtpError.js"
import type { Service } from "./SmtpSocket.js"
import { SmtpSocket } from "./SmtpSocket.js"

export { ProxyError } from "./internal/node/proxyError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Host name or address of the proxy; `host:port` is accepted. */
  readonly host: string
  /** Default 1080. */
  readonly port?: number | undefined
  /** Default 5. Version 4 reaches host names by its extension 4a, but no IPv6 addresses. */
  readonly version?: 4 | 5 | undefined
  /** At most 255 bytes. */
  readonly username?: string | undefined
  /** At most 255 bytes, for version 5. It is sent in clear (RFC 1929). */
  readonly password?: Redacted.Redacted | undefined
  /** Finds the addresses of the proxy. Default: the system's resolver. */
  readonly resolve?: ((host: string) => Effect.Effect<ReadonlyArray<string>, unknown>) | undefined
}

/**
 * Makes a service that dials through the proxy. `localAddress` and `localPort` of an endpoint apply to the connection to
 * the proxy. A failing dial is a ConnectError whose cause is a `ProxyError`. UNIX sockets are not supported.
 *
 * Fails with `InvalidArgument` for an invalid option.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Service, InvalidArgument> => {
  const { password, resolve = systemResolve, username, version = 5 } = options
  const address = checkCredentials(options) ?? readProxy(options.host, options.port, 1080)
  if (isInvalid(address)) return Effect.fail(invalidArgument(address))
  return makeProxyService(
    { ...address, resolve, tls: undefined },
    socksTunnel({ ...address, version, username, password })
  )
}

const versions: ReadonlySet<number> = new Set([4, 5])

const checkCredentials = ({ password, username, version }: Options): Invalid | undefined => {
  if (version !== undefined && !versions.has(version)) return invalid("version", "is neither 4 nor 5")
  if (password === undefined) return checkField("username", username)
  if (username === undefined) return invalid("username", "is missing, but there is a password")
  if (version === 4) return invalid("password", "is not supported by version 4")
  return (
    checkField("username", username) ??
    checkSecret("password", password) ??
    checkField("password", Redacted.value(password))
  )
}

const checkField = (field: string, value: string | undefined): Invalid | undefined => {
  if (value === undefined) return undefined
  const wrong = invalidText(field, value)
  if (wrong !== undefined) return wrong
  if (value === "") return invalid(field, "is empty")
  if (value.includes("\0")) return invalid(field, "contains a NUL")
  return new TextEncoder().encode(value).length > 255 ? invalid(field, "is longer than 255 bytes") : undefined
}

/**
 * Provides the socket through the proxy. Add TLS and a capability cache from other layers.
 *
 * @example
 * ```ts
 * import * as Layer from "effect/Layer"
 * import { CapabilityCache, NodeSmtp } from "effect-smtplib"
 * import * as NodeSmtpSocks from "effect-smtplib/NodeSmtpSocks"
 *
 * const layer = Layer.mergeAll(
 *   NodeSmtpSocks.layer({ host: "proxy.example.com" }),
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
 * Reads options from the keys `_HOST`, `_PORT`, `_VERSION`, `_USERNAME` and `_PASSWORD` behind the prefix.
 *
 * @example
 * ```ts
 * import * as NodeSmtpSocks from "effect-smtplib/NodeSmtpSocks"
 *
 * const layer = NodeSmtpSocks.layerConfig(NodeSmtpSocks.config("SOCKS_PROXY"))
 * ```
 *
 * @since 0.1.0
 * @category config
 */
export const config = (prefix: string): Config.Config<Options> =>
  Config.all({
    host: Config.nonEmptyString(`${prefix}_HOST`),
    port: optional(Config.port(`${prefix}_PORT`)),
    version: optional(
      Config.map(Config.literal("4", "5")(`${prefix}_VERSION`), (version) => (version === "4" ? 4 : 5))
    ),
    username: optional(Config.nonEmptyString(`${prefix}_USERNAME`)),
    password: optional(Config.redacted(Config.nonEmptyString(`${prefix}_PASSWORD`)))
  })
