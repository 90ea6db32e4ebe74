/**
 * Throw-away certificates for examples and tests: an authority and leaves under it, made in memory in a few
 * milliseconds. They are fit for nothing else.
 */
import "reflect-metadata"
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator
} from "@peculiar/x509"
import * as Effect from "effect/Effect"
import { webcrypto } from "node:crypto"
import { isIP } from "node:net"

/** When a certificate is valid. The default begins an hour ago and ends in a day. */
export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

/** A certificate and its private key, both PEM. */
export interface Certificate {
  readonly certificate: string
  readonly key: string
}

/** A certificate authority: `certificate` is what a client trusts as its `ca`. */
export interface Authority extends Certificate {
  readonly commonName: string
  readonly keys: webcrypto.CryptoKeyPair
}

/** What a leaf is for; all have defaults. */
export interface CertificateOptions {
  /** DNS names and IP addresses of the subjectAltName; `["localhost", "127.0.0.1", "::1"]` by default. */
  readonly names?: ReadonlyArray<string> | undefined
  /** The subject's common name; by default the first of `names`, or "no name" where there is none. */
  readonly commonName?: string | undefined
  readonly validity?: Validity | undefined
  /** The extended key usage; "server" by default. */
  readonly usage?: "server" | "client" | undefined
}

/** The usual set: an authority, and a leaf under it. */
export interface Certificates extends Certificate {
  /** The authority's certificate: what a client gives as `ca`. */
  readonly ca: string
  /** For further leaves under the same authority, e.g. client certificates. */
  readonly authority: Authority
}

const hour = 3_600_000
const day = 24 * hour
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }

const fromNow = (start: number, end: number): Validity => ({
  notBefore: new Date(Date.now() + start),
  notAfter: new Date(Date.now() + end)
})

/** Began an hour ago, ends in a day. */
const current = (): Validity => fromNow(-hour, day)

/** Ended an hour ago. */
export const expired = (): Validity => fromNow(-2 * day, -hour)

/** Begins tomorrow. */
export const notYetValid = (): Validity => fromNow(day, 2 * day)

const makeKeys = Effect.promise(() => webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]))

const exportKey = (keys: webcrypto.CryptoKeyPair): Effect.Effect<string> =>
  Effect.promise(() => webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).pipe(
    Effect.map((octets) => PemConverter.encode(octets, "PRIVATE KEY"))
  )

const distinguishedName = (commonName: string) => [{ CN: [commonName] }]

const commonNameOf = (options: CertificateOptions): string =>
  options.commonName ?? (options.names === undefined ? "localhost" : (options.names[0] ?? "no name"))

const leafExtensions = (options: CertificateOptions) => {
  const names = options.names ?? ["localhost", "127.0.0.1", "::1"]
  const usage = options.usage === "client" ? ExtendedKeyUsage.clientAuth : ExtendedKeyUsage.serverAuth
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([usage]),
    ...(names.length === 0
      ? []
      : [
          new SubjectAlternativeNameExtension(
            names.map((name) => ({ type: isIP(name) === 0 ? "dns" : "ip", value: name }))
          )
        ])
  ]
}

/** An authority of its own key: two calls make two that do not trust each other. */
export const makeAuthority = (
  options: { readonly commonName?: string | undefined; readonly validity?: Validity | undefined } = {}
): Effect.Effect<Authority> =>
  Effect.gen(function* () {
    const commonName = options.commonName ?? "effect-smtplib test authority"
    const keys = yield* makeKeys
    const certificate = yield* Effect.promise(() =>
      X509CertificateGenerator.createSelfSigned({
        name: distinguishedName(commonName),
        keys,
        signingAlgorithm: algorithm,
        ...(options.validity ?? fromNow(-3 * day, 3 * day)),
        extensions: [
          new BasicConstraintsExtension(true, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true)
        ]
      })
    )
    return { commonName, keys, certificate: certificate.toString("pem"), key: yield* exportKey(keys) }
  })

/** A leaf under the authority: a server's certificate, or with `usage: "client"` a client's. */
export const makeCertificate = (
  authority: Authority,
  options: CertificateOptions = {}
): Effect.Effect<Certificate> =>
  Effect.gen(function* () {
    const keys = yield* makeKeys
    const certificate = yield* Effect.promise(() =>
      X509CertificateGenerator.create({
        subject: distinguishedName(commonNameOf(options)),
        issuer: distinguishedName(authority.commonName),
        publicKey: keys.publicKey,
        signingKey: authority.keys.privateKey,
        signingAlgorithm: algorithm,
        ...(options.validity ?? current()),
        extensions: leafExtensions(options)
      })
    )
    return { certificate: certificate.toString("pem"), key: yield* exportKey(keys) }
  })

/** A leaf that signed itself: no authority vouches for it. */
export const makeSelfSigned = (options: CertificateOptions = {}): Effect.Effect<Certificate> =>
  Effect.gen(function* () {
    const keys = yield* makeKeys
    const certificate = yield* Effect.promise(() =>
      X509CertificateGenerator.createSelfSigned({
        name: distinguishedName(commonNameOf(options)),
        keys,
        signingAlgorithm: algorithm,
        ...(options.validity ?? current()),
        extensions: leafExtensions(options)
      })
    )
    return { certificate: certificate.toString("pem"), key: yield* exportKey(keys) }
  })

/**
 * A new authority and one leaf under it. `makeCertificates({ names: ["localhost"] })` is valid for that name
 * only, `{ names: ["elsewhere.test"] }` for a wrong one, `{ validity: expired() }` is too old.
 */
export const makeCertificates = (options: CertificateOptions = {}): Effect.Effect<Certificates> =>
  Effect.gen(function* () {
    const authority = yield* makeAuthority()
    const leaf = yield* makeCertificate(authority, options)
    return { ...leaf, ca: authority.certificate, authority }
  })
