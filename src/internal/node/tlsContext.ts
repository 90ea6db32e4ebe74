/**
 * TLS options as contexts of node:tls, built once for equal options: building one costs more than all the rest of
 * a connection. Options that cannot be used are a value, never a throw.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Hash } from "node:crypto"
import { createHash, X509Certificate } from "node:crypto"
import * as Tls from "node:tls"
import type { TlsOptions } from "../../TlsUpgrade.js"
import * as BoundedMap from "../cache/boundedMap.js"

export interface TlsContext {
  readonly context: Tls.SecureContext
  /** Equal for equal options, and for no others. */
  readonly id: string
}

export interface TlsContexts {
  /** The context for these options; fails with what is wrong with them. */
  readonly get: (options: TlsOptions) => Effect.Effect<TlsContext, unknown>
}

export const make = (capacity: number): TlsContexts => {
  const contexts = BoundedMap.make<string, TlsContext>(capacity)
  return {
    get: (options) =>
      Effect.try({
        try: () => {
          const id = identify(options)
          const known = contexts.get(id)
          if (known !== undefined) return known
          const made = { context: build(options), id }
          contexts.set(id, made)
          return made
        },
        catch: (cause) => cause
      })
  }
}

/** The layer's options, outranked by those that the session gives. */
export const merge = (layer: TlsOptions, session: TlsOptions): TlsOptions => {
  // A client certificate and its key belong together: both are of the session, or both of the layer.
  const identity = session.cert === undefined && session.key === undefined ? layer : session
  return {
    ca: session.ca ?? layer.ca,
    cert: identity.cert,
    key: identity.key,
    passphrase: identity.passphrase,
    servername: session.servername ?? layer.servername,
    minVersion: session.minVersion ?? layer.minVersion,
    verify: session.verify ?? layer.verify
  }
}

const pemText = (pem: string | Uint8Array): string =>
  typeof pem === "string" ? pem : Buffer.from(pem).toString("latin1")

const authoritiesOf = (options: TlsOptions): ReadonlyArray<string> | undefined => {
  const { ca } = options
  if (ca === undefined) return undefined
  return typeof ca === "string" || ca instanceof Uint8Array ? [pemText(ca)] : ca.map(pemText)
}

const identify = (options: TlsOptions): string => {
  const hash = createHash("sha256")
  add(hash, options.minVersion)
  add(hash, options.cert)
  add(hash, options.key === undefined ? undefined : Redacted.value(options.key))
  add(hash, options.passphrase === undefined ? undefined : Redacted.value(options.passphrase))
  for (const authority of authoritiesOf(options) ?? [undefined]) add(hash, authority)
  return hash.digest("base64")
}

/** The length keeps neighbours apart. */
const add = (hash: Hash, value: string | Uint8Array | undefined): void => {
  hash.update(value === undefined ? "-" : `${value.length}:`)
  if (value !== undefined) hash.update(value)
}

/** Errors thrown here become the cause of a TlsError. */
const build = (options: TlsOptions): Tls.SecureContext => {
  const authorities = authoritiesOf(options)
  checkAuthorities(authorities)
  checkIdentity(options)
  return Tls.createSecureContext({
    minVersion: options.minVersion ?? "TLSv1.2",
    ca: authorities === undefined ? undefined : [...authorities],
    cert: options.cert === undefined ? undefined : pemText(options.cert),
    key: options.key === undefined ? undefined : Redacted.value(options.key),
    passphrase: options.passphrase === undefined ? undefined : Redacted.value(options.passphrase)
  })
}

const pemCertificate =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g

/** Node takes anything for an authority, and then trusts nobody. */
const checkAuthorities = (authorities: ReadonlyArray<string> | undefined): void => {
  if (authorities === undefined) return
  const certificates = authorities.map((pem) => pem.match(pemCertificate) ?? [])
  if (certificates.length === 0 || certificates.some((found) => found.length === 0)) {
    throw new Error("ca holds no PEM certificate")
  }
  for (const certificate of certificates.flat()) {
    try {
      new X509Certificate(certificate)
    } catch (cause) {
      throw new Error("ca holds a certificate that cannot be read", { cause })
    }
  }
}

const checkIdentity = (options: TlsOptions): void => {
  if ((options.cert === undefined) === (options.key === undefined)) return
  throw new Error("a client certificate needs both cert and key")
}
