/**
 * The socket through a SOCKS proxy, versions 4, 4a and 5 (RFC 1928, RFC 1929), by the package `socks`. The proxy
 * looks names up, and sees what passes unless TLS keeps it from that.
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
import { systemResolve } from "./internal/node/dial.js"
import * as NodeProxy from "./internal/node/proxy.js"
import { tunnel } from "./internal/node/socks.js"
import type { Invalid } from "./protocol/Invalid.js"
import { invalid, invalidText } from "./protocol/Invalid.js"
import type { InvalidArgument } from "./SmtpError.js"
import type { Service } from "./SmtpSocket.js"
import { SmtpSocket } from "./SmtpSocket.js"

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
  /** Default 1080. */
  readonly port?: number | undefined
  /** Default 5. Version 4 reaches names by its extension 4a, and no IPv6 addresses. */
  readonly version?: 4 | 5 | undefined
  /** At most 255 octets. Version 4 knows a user name alone. */
  readonly username?: string | undefined
  /** At most 255 octets. It goes to the proxy in clear (RFC 1929). */
  readonly password?: Redacted.Redacted | undefined
  /** Finds the addresses of the proxy, and of nothing else. Default: the system's resolver. */
  readonly resolve?: ((host: string) => Effect.Effect<ReadonlyArray<string>, unknown>) | undefined
}

/**
 * A service that dials through the proxy. `localAddress` and `localPort` of an endpoint hold for the way to the
 * proxy. What goes wrong is a ConnectError with a `ProxyError` for its cause; UNIX sockets cannot be reached.
 *
 * Fails with `InvalidArgument` for options that cannot be.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Service, InvalidArgument> => {
  const { password, resolve = systemResolve, username, version = 5 } = options
  const endpoint = { host: options.host, port: options.port ?? 1080 }
  const wrong = NodeProxy.wrongEndpoint(endpoint) ?? wrongCredentials(options)
  if (wrong !== undefined) return Effect.fail(invalidArgument(wrong))
  return NodeProxy.makeService(
    { ...endpoint, resolve, tls: undefined },
    tunnel({ ...endpoint, version, username, password })
  )
}

const versions: ReadonlySet<number> = new Set([4, 5])

const wrongCredentials = ({ password, username, version }: Options): Invalid | undefined => {
  if (version !== undefined && !versions.has(version)) return invalid("version", "is neither 4 nor 5")
  if (password !== undefined && username === undefined)
    return invalid("username", "is missing beside password")
  if (password !== undefined && version === 4) return invalid("password", "is nothing that version 4 knows")
  return (
    wrongField("username", username) ??
    (password === undefined
      ? undefined
      : (NodeProxy.wrongSecret("password", password) ?? wrongField("password", Redacted.value(password))))
  )
}

const wrongField = (field: string, value: string | undefined): Invalid | undefined => {
  if (value === undefined) return undefined
  const wrong = invalidText(field, value)
  if (wrong !== undefined) return wrong
  if (value === "") return invalid(field, "is empty")
  if (value.includes("\0")) return invalid(field, "holds a NUL")
  return new TextEncoder().encode(value).length > 255
    ? invalid(field, "is longer than 255 octets")
    : undefined
}

/**
 * The socket through the proxy; TLS and the capability cache are those of other layers.
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
 * Options under names that begin with the prefix: `_HOST`, `_PORT`, `_VERSION`, `_USERNAME` and `_PASSWORD`.
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

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)
