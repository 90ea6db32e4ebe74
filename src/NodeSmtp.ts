/**
 * Layers for Node: the socket over node:net, TLS over node:tls, both with a capability cache, and clients and mailers over
 * them.
 *
 * @since 0.1.0
 */
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { readFile } from "node:fs/promises"
import type { CapabilityCache } from "./CapabilityCache.js"
import { layerMemory } from "./CapabilityCache.js"
import { describeCause } from "./internal/effect/cause.js"
import { makeSocketService } from "./internal/node/dial.js"
import { makeTlsService } from "./internal/node/tls.js"
import type { Mailer, Options as MailerOptions } from "./Mailer.js"
import type { Options as ClientOptions, SmtpClient } from "./SmtpClient.js"
import type { InvalidArgument } from "./SmtpError.js"
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
 * options; not for 10 minutes at an endpoint that has ended such a handshake. It also works over connections of other transports, at some cost.
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

/**
 * Reads a password from a file, such as a Docker or Kubernetes secret, without the line end at its end. As the password of
 * `SmtpAuth.password` it is read for each session, and again if the server refuses it, so that it can be rotated without a
 * restart.
 *
 * @example
 * ```ts
 * import { NodeSmtp, SmtpAuth } from "effect-smtplib"
 *
 * const live = NodeSmtp.layerClient({
 *   host: "mail.example.com",
 *   auth: SmtpAuth.password({ username: "app", password: NodeSmtp.passwordFile("/run/secrets/smtp") })
 * })
 * ```
 *
 * @since 0.1.0
 * @category credentials
 */
export const passwordFile = (path: string): Effect.Effect<Redacted.Redacted, Error> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (error) => new Error(`cannot read the password: ${describeCause(error)}`, { cause: error })
  }).pipe(Effect.map((text) => Redacted.make(text.replace(/\r?\n$/, ""))))

// Loaded with the first layer that needs them: programs that use sessions alone need neither.
const clientModule = Effect.promise(() => import("./SmtpClient.js"))
const mailerModule = Effect.promise(() => import("./Mailer.js"))

/**
 * Provides a client with everything that it requires.
 *
 * @example
 * ```ts
 * import * as Redacted from "effect/Redacted"
 * import { NodeSmtp, SmtpAuth } from "effect-smtplib"
 *
 * const live = NodeSmtp.layerClient({
 *   host: "mail.example.com",
 *   auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (options: ClientOptions): Layer.Layer<SmtpClient, InvalidArgument> =>
  Layer.provide(Layer.unwrapEffect(Effect.map(clientModule, (client) => client.layer(options))), layer)

/**
 * Provides a client from configuration, with everything that it requires: `SMTP_HOST`, `SMTP_USERNAME` and all other keys
 * of `SmtpClient.config(prefix)`.
 *
 * @example
 * ```ts
 * import { NodeSmtp } from "effect-smtplib"
 *
 * const live = NodeSmtp.layerClientConfig("SMTP")
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClientConfig = (prefix = "SMTP"): Layer.Layer<SmtpClient, InvalidArgument | ConfigError> =>
  Layer.provide(
    Layer.unwrapEffect(Effect.map(clientModule, (client) => client.layerConfig(client.config(prefix)))),
    layer
  )

/**
 * Provides a mailer and its client, with everything that they require. nodemailer must be installed (optional peer).
 *
 * @example
 * ```ts
 * import * as Redacted from "effect/Redacted"
 * import { NodeSmtp, SmtpAuth } from "effect-smtplib"
 *
 * const live = NodeSmtp.layerMailer(
 *   { host: "mail.example.com", auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") }) },
 *   { defaults: { from: "The Example App <app@example.com>" } }
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMailer = (
  client: ClientOptions,
  options: MailerOptions = {}
): Layer.Layer<Mailer | SmtpClient, InvalidArgument> =>
  Layer.provideMerge(
    Layer.unwrapEffect(Effect.map(mailerModule, (mailer) => mailer.layer(options))),
    layerClient(client)
  )

/**
 * Provides a mailer and its client from configuration, with everything that they require: the keys of
 * `SmtpClient.config("SMTP")` and of `Mailer.config("MAIL")`. Options in `own` override those of the mailer.
 *
 * @example
 * ```ts
 * import { NodeSmtp } from "effect-smtplib"
 *
 * // SMTP_HOST, SMTP_USERNAME, SMTP_PASSWORD, MAIL_FROM, and on staging MAIL_REDIRECT_ALL.
 * const live = NodeSmtp.layerMailerConfig({ smtp: "SMTP", mail: "MAIL" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMailerConfig = (
  prefixes: { readonly smtp?: string | undefined; readonly mail?: string | undefined } = {},
  own: MailerOptions = {}
): Layer.Layer<Mailer | SmtpClient, InvalidArgument | ConfigError> =>
  Layer.provideMerge(
    Layer.unwrapEffect(
      Effect.map(mailerModule, (mailer) => mailer.layerConfig(mailer.config(prefixes.mail ?? "MAIL"), own))
    ),
    layerClientConfig(prefixes.smtp)
  )
