/**
 * TLS as a service: turns a Connection into a secured Connection, for implicit TLS (at once) and for STARTTLS
 * (later) alike. When to upgrade, and that nothing was buffered before it, is the session's business.
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
 * The service that secures connections.
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
   * Performs the handshake within the time limit. The given connection must not be used afterwards, whatever the
   * result. The secured connection is destroyed when the scope closes.
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
  /** The name or address that the program configured: the certificate has to be valid for it (RFC 9525). */
  readonly host: string
  /** The endpoint's port: sessions are resumed per host, port and options. */
  readonly port: number
  /** The limit of the handshake. */
  readonly timeout: Duration.Duration
  readonly tls: TlsOptions
  /**
   * Whether the certificate is verified when neither these options nor the layer's say. Default `true`; `false` for
   * opportunistic TLS (RFC 7435).
   */
  readonly verifyByDefault?: boolean | undefined
}

/**
 * What a program can say of TLS, for a layer or for one session; a session's options outrank the layer's.
 *
 * @since 0.1.0
 * @category models
 */
export interface TlsOptions {
  /** PEM of the authorities to trust instead of Node's own list. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /**
   * PEM of the client certificate and its chain. The server judges it after the handshake on TLS 1.3, so that a
   * refused certificate shows as a lost connection.
   */
  readonly cert?: string | Uint8Array | undefined
  /** PEM of the client certificate's private key. */
  readonly key?: Redacted.Redacted | undefined
  /** Passphrase of the private key. */
  readonly passphrase?: Redacted.Redacted | undefined
  /** The name that is sent in SNI and looked for in the certificate, when it is not `host`. */
  readonly servername?: string | undefined
  /** The lowest version to accept. Default `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /**
   * `true` (default) refuses a certificate that is not trusted or not valid for the name. `false` gives up the
   * protection against an active attacker.
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
 * What the handshake came to.
 *
 * @since 0.1.0
 * @category models
 */
export interface TlsInfo {
  /** e.g. `TLSv1.3` */
  readonly protocol: string
  /** e.g. `TLS_AES_256_GCM_SHA384` */
  readonly cipher: string
  /** The name that was looked for in the certificate. */
  readonly servername: string
  /** Whether the certificate was verified for that name; false only under `verify: false`. */
  readonly verified: boolean
  /** Whether an earlier TLS session was resumed. */
  readonly resumed: boolean
  /** The server's certificate, when the transport knows it; of a resumed session, the one it began with. */
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
   * Channel binding data for SCRAM-PLUS (RFC 9266 `tls-exporter` on TLS 1.3, RFC 5929 `tls-unique` before), or
   * `undefined` when the transport cannot give it.
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
 * No TLS: for programs that speak to a server on the same machine, over a UNIX socket or in tests. Every upgrade
 * fails with a TlsError whose reason is `Configuration`, and the connection is destroyed.
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
          cause:
            "no TLS is provided; provide NodeSmtp.layer or NodeSmtp.layerTls in place of TlsUpgrade.layerNone"
        })
      )
    )
})
