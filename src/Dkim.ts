/**
 * Signs messages with DKIM (RFC 6376, RFC 8301) by RSA and Ed25519 (RFC 8463), as the last step before they are sent.
 * Signs any content: composed, raw, in memory or streamed. Does not verify signatures and does not publish keys.
 * nodemailer canonicalizes bodies and must be installed (optional peer).
 *
 * @since 0.1.0
 */
import type { PlatformError } from "@effect/platform/Error"
import type { FileSystem } from "@effect/platform/FileSystem"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { KeyObject } from "node:crypto"
import { createPrivateKey } from "node:crypto"
import type { Key, SigningOptions } from "./internal/dkim/sign.js"
import * as Signing from "./internal/dkim/sign.js"
import { fileSystem } from "./internal/effect/fileSystem.js"
import { accept, attempt, isList, refusal } from "./internal/mail/refuse.js"
import type { Algorithm, Form } from "./protocol/DkimSignature.js"
import { defaultFields } from "./protocol/DkimSignature.js"
import { invalidChoice } from "./protocol/Invalid.js"
import * as Mailboxes from "./protocol/Mailbox.js"
import type { Content } from "./SmtpContent.js"
import type { ContentError, InvalidArgument } from "./SmtpError.js"
import type { Submission } from "./SmtpSubmission.js"

/**
 * The header fields that a signature covers by default, and those of which nobody may add one more.
 *
 * @since 0.1.0
 * @category constants
 */
export { defaultFields, defaultOversigned } from "./protocol/DkimSignature.js"

/**
 * @since 0.1.0
 * @category models
 */
export type { Algorithm } from "./protocol/DkimSignature.js"

/**
 * @since 0.1.0
 * @category models
 */
export type { Key } from "./internal/dkim/sign.js"

/**
 * Where verifiers find the public key: the TXT record at `selector._domainkey.domain`.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyName {
  /** The domain that is responsible for the message. For DMARC: the domain of From, or one above it. */
  readonly domain: string
  readonly selector: string
}

/**
 * A private key as text.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyOptions extends KeyName {
  /**
   * PEM (PKCS #8 or PKCS #1), or the 32 bytes of an Ed25519 key in base64, as in RFC 8463. Line ends of a PEM may be
   * written out as `\n`, as environment variables hold them.
   */
  readonly privateKey: Redacted.Redacted
  /** Decrypts the PEM. */
  readonly passphrase?: Redacted.Redacted | undefined
}

/**
 * A private key in a file.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyFileOptions extends KeyName {
  /** The path of a PEM file. */
  readonly path: string
  readonly passphrase?: Redacted.Redacted | undefined
}

/**
 * The canonical forms of header and body (RFC 6376 section 3.4).
 *
 * @since 0.1.0
 * @category models
 */
export type Canonicalization = `${Form}/${Form}`

/**
 * What to sign, and with which keys.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Each key makes one signature. Add an RSA key to an Ed25519 key for verifiers that support only RSA. */
  readonly keys: ReadonlyArray<Key>
  /** The header fields to sign, if the message has them. Default `defaultFields`. From is always signed. */
  readonly fields?: ReadonlyArray<string> | undefined
  /**
   * The header fields of which nobody may add one more, whether the message has them or not. Default
   * `defaultOversigned`, of which Date, Message-ID, To and MIME-Version count only if the message has them: submission
   * servers add them.
   */
  readonly oversigned?: ReadonlyArray<string> | undefined
  /** Default `"relaxed/relaxed"`, which tolerates changes of white space on the way. */
  readonly canonicalization?: Canonicalization | undefined
  /** How long the signature is valid, at least a second. Default unlimited. */
  readonly expiresIn?: Duration.DurationInput | undefined
  /**
   * The most bytes to hold of a stream that can run only once, since its signature comes first. Default 32 MiB. Other
   * streams are not held.
   */
  readonly bufferLimit?: number | undefined
}

// -- keys

const selectorPattern =
  /^[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/

// RFC 1035 section 2.3.4, without the length bytes of the first label and of the root.
const nameLimit = 253
const labelLimit = 63

const readDomain = (domain: string): string => {
  if (typeof domain !== "string") throw refusal("domain", "is not a string")
  const { asciiDomain } = accept(Mailboxes.parse(`postmaster@${domain}`, "domain"))
  if (domain.startsWith("[")) throw refusal("domain", "is an address literal; give a domain name")
  return asciiDomain
}

const readSelector = (selector: string, domain: string): string => {
  if (typeof selector !== "string" || !selectorPattern.test(selector)) {
    throw refusal("selector", "is not letters, digits and inner hyphens, separated by dots")
  }
  if (/(?:^|\.)_domainkey(?:\.|$)/i.test(selector)) {
    throw refusal("selector", "is the whole name of the record; give the part before ._domainkey")
  }
  const tooLong = selector.split(".").some((label) => label.length > labelLimit)
  if (tooLong || `${selector}._domainkey.${domain}`.length > nameLimit) {
    throw refusal("selector", "makes a name that is longer than the DNS allows; shorten it")
  }
  return selector
}

// RFC 8410 section 7: what precedes the 32 bytes of an Ed25519 key in PKCS #8.
const ed25519Prefix = Buffer.from("302e020100300506032b657004220420", "hex")

const readKeyObject = (privateKey: string, passphrase: string | undefined): KeyObject => {
  try {
    const text = privateKey.trim()
    if (/^[A-Za-z0-9+/]{43}=$/.test(text)) {
      const key = Buffer.concat([ed25519Prefix, Buffer.from(text, "base64")])
      return createPrivateKey({ key, format: "der", type: "pkcs8" })
    }
    return createPrivateKey({
      // Environment variables often hold line ends written out.
      key: privateKey.replace(/(?:\\r)?\\n/g, "\n"),
      format: "pem",
      ...(passphrase === undefined ? {} : { passphrase })
    })
  } catch {
    // The error of node:crypto may hold part of the key.
    const isPem = privateKey.includes("-----BEGIN")
    const advice = isPem ? "the passphrase may be wrong" : "give the content of the file, not its path"
    throw refusal("privateKey", `is not a private key in PEM: ${advice}`)
  }
}

const algorithmOf = (key: KeyObject): Algorithm => {
  if (key.asymmetricKeyType === "ed25519") return "ed25519-sha256"
  if (key.asymmetricKeyType !== "rsa") throw refusal("privateKey", "is neither an RSA key nor an Ed25519 key")
  const length = key.asymmetricKeyDetails?.modulusLength ?? 0
  // RFC 8301 section 3.2.
  if (length >= 1024) return "rsa-sha256"
  throw refusal("privateKey", `is an RSA key of ${length} bits; DKIM requires 1024, and 2048 is better`)
}

const secretText = (secret: Redacted.Redacted, field: string): string => {
  const text: unknown = Redacted.isRedacted(secret) ? Redacted.value(secret) : undefined
  if (typeof text !== "string") throw refusal(field, "is not a Redacted string")
  return text
}

/**
 * Reads a private key. Fails with `InvalidArgument` if the key cannot sign; no error shows any part of the key.
 *
 * @example
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Effect from "effect/Effect"
 * import * as Dkim from "effect-smtplib/Dkim"
 *
 * const key = Effect.flatMap(Config.redacted("DKIM_PRIVATE_KEY"), (privateKey) =>
 *   Dkim.key({ domain: "example.com", selector: "2026a", privateKey })
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const key = (options: KeyOptions): Effect.Effect<Key, InvalidArgument> =>
  attempt(() => {
    const domain = readDomain(options.domain)
    const selector = readSelector(options.selector, domain)
    const text = secretText(options.privateKey, "privateKey")
    const passphrase =
      options.passphrase === undefined ? undefined : secretText(options.passphrase, "passphrase")
    const object = readKeyObject(text, passphrase)
    return { algorithm: algorithmOf(object), domain, selector, privateKey: Redacted.make(object) }
  })

/**
 * Reads a private key from a PEM file. Fails like `key`, and with a `PlatformError` if the file cannot be read.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Dkim from "effect-smtplib/Dkim"
 *
 * const keys = Effect.all([
 *   Dkim.keyFromFile({ domain: "example.com", selector: "rsa", path: "/etc/dkim/rsa.pem" }),
 *   Dkim.keyFromFile({ domain: "example.com", selector: "ed", path: "/etc/dkim/ed25519.pem" })
 * ])
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const keyFromFile = ({
  path,
  ...options
}: KeyFileOptions): Effect.Effect<Key, InvalidArgument | PlatformError, FileSystem> =>
  Effect.flatMap(fileSystem, (files) =>
    Effect.flatMap(files.readFileString(path), (text) => key({ ...options, privateKey: Redacted.make(text) }))
  )

// -- signing

const readNames = (names: ReadonlyArray<string>, field: string): ReadonlyArray<string> => {
  if (!isList(names)) throw refusal(field, "is not a list of field names")
  for (const [position, name] of names.entries()) {
    if (typeof name !== "string" || !/^[!-9<-~]+$/.test(name)) {
      throw refusal(`${field}[${position}]`, "is not a field name")
    }
    // RFC 6376 section 3.5.
    if (/^dkim-signature$/i.test(name)) {
      throw refusal(`${field}[${position}]`, "is DKIM-Signature, which a signature cannot cover")
    }
  }
  return names
}

const forms: Readonly<Record<Canonicalization, { readonly header: Form; readonly body: Form }>> = {
  "relaxed/relaxed": { header: "relaxed", body: "relaxed" },
  "relaxed/simple": { header: "relaxed", body: "simple" },
  "simple/relaxed": { header: "simple", body: "relaxed" },
  "simple/simple": { header: "simple", body: "simple" }
}

// RFC 6376 section 3.5: x= has at most twelve digits.
const latest = 999_999_999_999

const readExpiry = (expiresIn: Duration.DurationInput | undefined, now: number): number | undefined => {
  if (expiresIn === undefined) return undefined
  const read = Duration.decodeUnknown(expiresIn)
  const seconds = Option.isSome(read) ? Duration.toSeconds(read.value) : 0
  if (seconds < 1) throw refusal("expiresIn", `is not a duration of at least a second, such as "7 days"`)
  if (!Number.isFinite(seconds)) return undefined
  const expiry = now + Math.floor(seconds)
  if (expiry > latest) throw refusal("expiresIn", "ends later than a signature can express; shorten it")
  return expiry
}

const isKey = (key: unknown): boolean =>
  Predicate.hasProperty(key, "privateKey") &&
  Redacted.isRedacted(key.privateKey) &&
  Predicate.isObject(Redacted.value(key.privateKey))

const readKeys = (keys: ReadonlyArray<Key>): ReadonlyArray<Key> => {
  if (!isList(keys)) throw refusal("keys", "is not a list of keys")
  if (keys.length === 0) throw refusal("keys", "is empty; give at least one key")
  const position = keys.findIndex((key) => !isKey(key))
  if (position !== -1)
    throw refusal(`keys[${position}]`, "is not a key; make one with `key` or `keyFromFile`")
  return [...keys]
}

const readOptions = (options: Options, lineEnds: SigningOptions["lineEnds"], now: number): SigningOptions => {
  const keys = readKeys(options.keys)
  const fields = readNames(options.fields ?? defaultFields, "fields")
  const oversigned = options.oversigned && readNames(options.oversigned, "oversigned")
  const { bufferLimit = 33_554_432, canonicalization = "relaxed/relaxed" } = options
  accept(invalidChoice("canonicalization", canonicalization, Object.keys(forms)))
  const signedAt = Math.floor(now / 1000)
  const expiresAt = readExpiry(options.expiresIn, signedAt)
  if (!Number.isSafeInteger(bufferLimit) || bufferLimit < 0) {
    throw refusal("bufferLimit", "is not a whole number of bytes")
  }
  return {
    keys,
    fields: ["From", ...fields],
    oversigned,
    ...forms[canonicalization],
    signedAt,
    expiresAt,
    lineEnds,
    bufferLimit
  }
}

const signWith = <E, R>(
  content: Content<E, R>,
  options: Options,
  lineEnds: SigningOptions["lineEnds"]
): Effect.Effect<Content<E | ContentError, R>, ContentError | InvalidArgument | E, R> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.flatMap(
      attempt(() => readOptions(options, lineEnds, now)),
      (read) => Signing.sign(content, read)
    )
  )

/**
 * Signs content, and returns it with one signature per key before it. Converts line ends to CRLF first, as they are
 * sent.
 *
 * Bytes and strings give bytes. A replayable stream runs once to be signed and once per send, in constant memory; if a
 * later run differs, the send fails with `ContentError` (`Changed`) and delivers nothing. A stream that can run only
 * once is held in memory, up to `bufferLimit`.
 *
 * Sign once and send the result: each call makes another signature with another time.
 *
 * Some services replace Date and Message-ID (Amazon SES does): leave both out of `fields` and of `oversigned`, or let the
 * service sign.
 *
 * Fails with `InvalidArgument` if an
 * option is invalid or the message has no From, and with `ContentError` if the header has more than 1 MiB.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Dkim from "effect-smtplib/Dkim"
 *
 * const signed = (key: Dkim.Key, eml: Uint8Array) => Dkim.signContent(eml, { keys: [key] })
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const signContent = <E = never, R = never>(
  content: Content<E, R>,
  options: Options
): Effect.Effect<Content<E | ContentError, R>, ContentError | InvalidArgument | E, R> =>
  signWith(content, options, "convert")

/**
 * Signs the content of a submission, as the last step before it is sent. Behaves and fails like `signContent`.
 *
 * @example
 * ```ts
 * import { SmtpSession } from "effect-smtplib"
 * import * as Dkim from "effect-smtplib/Dkim"
 * import * as MailMessage from "effect-smtplib/MailMessage"
 * import * as Effect from "effect/Effect"
 *
 * const sendSigned = (message: MailMessage.MailMessage, keys: ReadonlyArray<Dkim.Key>) =>
 *   Effect.gen(function* () {
 *     const smtp = yield* SmtpSession.SmtpSession
 *     const submission = yield* MailMessage.submission(message)
 *     return yield* smtp.send(yield* Dkim.sign(submission, { keys }))
 *   })
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const sign = <E = never, R = never>(
  submission: Submission<E, R>,
  options: Options
): Effect.Effect<Submission<E | ContentError, R>, ContentError | InvalidArgument | E, R> =>
  Effect.map(signWith(submission.content, options, submission.lineEnds ?? "convert"), (content) => ({
    ...submission,
    content
  }))
