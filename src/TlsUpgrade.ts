/**
 * TLS as a service: turns a Connection into a secured Connection, for implicit TLS and for STARTTLS. The session decides
 * when, and makes sure that nothing was received before.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { TlsError } from "./SmtpError.js"
import type { Connection } from "./SmtpSocket.js"
import { formatEndpoint } from "./SmtpSocket.js"

/**
 * The service that secures connections. `NodeSmtp.layer` and `NodeSmtp.layerTls` provide it.
 *
 * @since 0.1.0
 * @category tags
 */
export class TlsUpgrade extends Context.Tag("effect-smtplib/TlsUpgrade")<TlsUpgrade, Service>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * Does the handshake within the time limit. Do not use the given connection afterwards, whatever the result. The secured
   * connection is destroyed when the scope closes.
   */
  readonly upgrade: (
    connection: Connection,
    options: UpgradeOptions
  ) => Effect.Effect<SecuredConnection, TlsError, Scope.Scope>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface UpgradeOptions {
  /** The name or address of the server: the certificate must be valid for it (RFC 9525). */
  readonly host: string
  /** TLS sessions are resumed per host, port and options. */
  readonly port: number
  readonly timeout: Duration.Duration
  readonly tls: TlsOptions
  /**
   * Whether the certificate is verified if neither `tls` nor the layer says so. Default `true`; `false` for opportunistic
   * TLS (RFC 7435).
   */
  readonly verifyByDefault?: boolean | undefined
}

/**
 * TLS options of a layer or of one session. Those of the session take precedence.
 *
 * @since 0.1.0
 * @category models
 */
export interface TlsOptions {
  /** PEM of the certificate authorities to trust, in place of Node's own list. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /**
   * PEM of the client certificate and its chain. On TLS 1.3 the server checks it after the handshake: its alert is a
   * `TlsError` of the session, and a failed read of the connection.
   */
  readonly cert?: string | Uint8Array | undefined
  /** PEM of the private key of `cert`. */
  readonly key?: Redacted.Redacted | undefined
  /** Passphrase of `key`. */
  readonly passphrase?: Redacted.Redacted | undefined
  /** The name for SNI and for the certificate. Default `host`. */
  readonly servername?: string | undefined
  /** The lowest version to accept. Default `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /**
   * Whether to refuse a certificate that is not trusted, or not valid for the name. Default `true`. With `false` an active
   * attacker can read and change everything.
   */
  readonly verify?: boolean | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SecuredConnection extends Connection {
  readonly tls: TlsInfo
}

/**
 * The result of the handshake.
 *
 * @since 0.1.0
 * @category models
 */
export interface TlsInfo {
  /** e.g. `TLSv1.3` */
  readonly protocol: string
  /** e.g. `TLS_AES_256_GCM_SHA384` */
  readonly cipher: string
  /** The name that the certificate was checked for. */
  readonly servername: string
  /** Whether the certificate was verified for that name. Only `verify: false` leads to `false`. */
  readonly verified: boolean
  /** Whether an earlier TLS session was resumed. */
  readonly resumed: boolean
  /** The server's certificate, if the transport knows it. A resumed session has the one of its first handshake. */
  readonly certificate:
    | {
        readonly subject: string
        readonly issuer: string
        readonly validFrom: Date
        readonly validTo: Date
        /** SHA-256 of the DER form, in hexadecimal with colons. */
        readonly fingerprint256: string
      }
    | undefined
  /**
   * For SCRAM-PLUS: `tls-exporter` on TLS 1.3 (RFC 9266), `tls-unique` before (RFC 5929), `undefined` if the transport has
   * neither.
   */
  readonly channelBinding: ChannelBinding | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ChannelBinding {
  readonly type: "tls-exporter" | "tls-unique"
  readonly data: Uint8Array
}

/**
 * No TLS, for a server on the same machine and for tests. Every upgrade destroys the connection and fails with `TlsError`,
 * reason `Configuration`.
 *
 * @example
 * ```ts
 * import * as Layer from "effect/Layer"
 * import { CapabilityCache, NodeSmtp, TlsUpgrade } from "effect-smtplib"
 *
 * const layer = Layer.mergeAll(NodeSmtp.layerSocket, TlsUpgrade.layerNone, CapabilityCache.layerMemory)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNone: Layer.Layer<TlsUpgrade> = Layer.succeed(TlsUpgrade, {
  upgrade: (connection, { host, port }) =>
    Effect.zipRight(
      connection.destroy,
      Effect.fail(
        new TlsError({
          endpoint: formatEndpoint({ _tag: "Tcp", host, port }),
          reason: "Configuration",
          cause: "TlsUpgrade.layerNone has no TLS. Provide NodeSmtp.layer or NodeSmtp.layerTls instead."
        })
      )
    )
})
