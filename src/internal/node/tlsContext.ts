/** Secure contexts of node:tls, cached: building one costs more than the rest of a connection. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createHash, X509Certificate } from "node:crypto"
import * as Tls from "node:tls"
import type { TlsOptions } from "../../TlsUpgrade.js"
import * as BoundedMap from "../cache/boundedMap.js"

interface TlsContext {
  readonly context: Tls.SecureContext
  /** Equal for equal options only. */
  readonly id: string
}

export interface TlsContexts {
  /** Fails with what is wrong with the options. */
  readonly get: (options: TlsOptions) => Effect.Effect<TlsContext, unknown>
}

export const makeTlsContexts = (capacity: number): TlsContexts => {
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

/** Options of the session override those of the layer; a certificate and its key come from the same one. */
export const mergeTlsOptions = (layer: TlsOptions, session: TlsOptions): TlsOptions => {
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

// An environment variable may give line ends written out, or as blanks.
const pemText = (pem: string | Uint8Array): string =>
  (typeof pem === "string" ? pem : Buffer.from(pem).toString("latin1"))
    .replace(/(?:\\r)?\\n/g, "\n")
    .replace(
      /(-----BEGIN [A-Z0-9 ]+-----) ([A-Za-z0-9+/= ]+) (-----END [A-Z0-9 ]+-----)/g,
      (_, begin: string, body: string, end: string) => `${begin}\n${body.replace(/ +/g, "\n")}\n${end}\n`
    )

const authoritiesOf = ({ ca }: TlsOptions): Array<string> | undefined => {
  if (ca === undefined) return undefined
  return typeof ca === "string" || ca instanceof Uint8Array ? [pemText(ca)] : ca.map(pemText)
}

const secretOf = (secret: Redacted.Redacted | undefined): string | undefined =>
  secret && Redacted.value(secret)

const identify = (options: TlsOptions): string => {
  const { cert, key, minVersion, passphrase } = options
  const hash = createHash("sha256")
  const authorities = authoritiesOf(options) ?? [undefined]
  for (const value of [minVersion, cert, secretOf(key), secretOf(passphrase), ...authorities]) {
    // The length keeps neighbours apart.
    hash.update(value === undefined ? "-" : `${value.length}:`)
    if (value !== undefined) hash.update(value)
  }
  return hash.digest("base64")
}

/** Throws what becomes the cause of a TlsError. */
const build = (options: TlsOptions): Tls.SecureContext => {
  const ca = authoritiesOf(options)
  checkAuthorities(ca)
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw new Error("a client certificate needs both cert and key")
  }
  return Tls.createSecureContext({
    minVersion: options.minVersion ?? "TLSv1.2",
    ca,
    cert: options.cert === undefined ? undefined : pemText(options.cert),
    key: options.key && pemText(Redacted.value(options.key)),
    passphrase: secretOf(options.passphrase)
  })
}

const pemCertificate =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g

/** Node accepts any text as an authority, and then trusts none. */
const checkAuthorities = (authorities: ReadonlyArray<string> | undefined): void => {
  if (authorities === undefined) return
  const certificates = authorities.map((pem) => pem.match(pemCertificate) ?? [])
  if (certificates.length === 0 || certificates.some((found) => found.length === 0)) {
    throw new Error(
      "ca holds no certificate in PEM (-----BEGIN CERTIFICATE-----): give the content of such a file, not its path"
    )
  }
  for (const certificate of certificates.flat()) {
    try {
      new X509Certificate(certificate)
    } catch (cause) {
      throw new Error("ca holds a certificate that cannot be read", { cause })
    }
  }
}
