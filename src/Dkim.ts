/**
 * DKIM signatures (RFC 6376, RFC 8301) by RSA and by Ed25519 (RFC 8463), as a step between a message and its
 * sending. It signs what goes on the wire, and takes any content: composed, raw, in memory or streamed. It verifies
 * nothing, and publishes no keys. The relaxed form of bodies is nodemailer's, which has to be installed beside this
 * library.
 *
 * @since 0.1.0
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { KeyObject } from "node:crypto"
import { createPrivateKey } from "node:crypto"
import type { Key, Settings } from "./internal/dkim/sign.js"
import * as Signing from "./internal/dkim/sign.js"
import { invalidArgument } from "./internal/session/failure.js"
import type { Algorithm, Form } from "./protocol/DkimSignature.js"
import { defaultFields, defaultOversigned } from "./protocol/DkimSignature.js"
import type { Invalid } from "./protocol/Invalid.js"
import { invalid, invalidChoice, isInvalid } from "./protocol/Invalid.js"
import * as Mailboxes from "./protocol/Mailbox.js"
import type { Content } from "./SmtpContent.js"
import type { ContentError, InvalidArgument } from "./SmtpError.js"
import type { Submission } from "./SmtpSubmission.js"

export {
  /**
   * The fields that a signature covers where the message has them, if nothing else is asked for.
   *
   * @since 0.1.0
   * @category constants
   */
  defaultFields,
  /**
   * The fields that nobody may add behind the signature, if nothing else is asked for.
   *
   * @since 0.1.0
   * @category constants
   */
  defaultOversigned
} from "./protocol/DkimSignature.js"

export type {
  /**
   * How a signature is made: `rsa-sha256` or `ed25519-sha256`.
   *
   * @since 0.1.0
   * @category models
   */
  Algorithm
} from "./protocol/DkimSignature.js"

export type {
  /**
   * A key that was read, with the domain and selector under which verifiers find its other half.
   *
   * @since 0.1.0
   * @category models
   */
  Key
} from "./internal/dkim/sign.js"

/**
 * Where verifiers look for the other half of a key: the TXT record at `selector._domainkey.domain`.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyName {
  /** The domain that answers for the message; for DMARC it is that of From, or one above it. */
  readonly domain: string
  readonly selector: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface KeyOptions extends KeyName {
  /** PEM, PKCS #8 or PKCS #1; or the 32 octets of an Ed25519 key in base64, as in RFC 8463. */
  readonly privateKey: Redacted.Redacted
  /** What the PEM is encrypted with. */
  readonly passphrase?: Redacted.Redacted | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface KeyFileOptions extends KeyName {
  /** A file with the PEM. */
  readonly path: string
  readonly passphrase?: Redacted.Redacted | undefined
}

/**
 * The canonical form of header and body (RFC 6376 section 3.4).
 *
 * @since 0.1.0
 * @category models
 */
export type Canonicalization = `${Form}/${Form}`

/**
 * What to sign, and by which keys.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** One signature for each; an RSA key beside an Ed25519 key serves verifiers that do not know the latter yet. */
  readonly keys: ReadonlyArray<Key>
  /** Names of the fields to sign where the message has them. Default `defaultFields`; From is signed always. */
  readonly fields?: ReadonlyArray<string> | undefined
  /** Names of the fields to sign once more than the message has them. Default `defaultOversigned`. */
  readonly oversigned?: ReadonlyArray<string> | undefined
  /** Default `"relaxed/relaxed"`, which outlives what servers do to white space. */
  readonly canonicalization?: Canonicalization | undefined
  /** How long the signature is good for. It does not expire by default. */
  readonly expiresIn?: Duration.DurationInput | undefined
  /**
   * Octets that may be held in memory of a stream that can be run only once, since its signature comes before it.
   * Default 32 MiB. Streams that can be run again take constant memory.
   */
  readonly bufferLimit?: number | undefined
}

// -- keys

const selectorPattern =
  /^[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/

// RFC 1035 section 2.3.4, without the length octets of the first label and of the root.
const nameLimit = 253
const labelLimit = 63

const readDomain = (domain: string): string | Invalid => {
  if (typeof domain !== "string") return invalid("domain", "is no string")
  const mailbox = Mailboxes.parse(`postmaster@${domain}`, "domain")
  if (isInvalid(mailbox)) return mailbox
  return domain.startsWith("[")
    ? invalid("domain", "is an address literal, which holds no keys")
    : mailbox.asciiDomain
}

// RFC 8410 section 7: what comes before the 32 octets of an Ed25519 key in PKCS #8.
const ed25519Prefix = Buffer.from("302e020100300506032b657004220420", "hex")

const seedPattern = /^[A-Za-z0-9+/]{43}=$/

const readKeyObject = (privateKey: string, passphrase: string | undefined): KeyObject | undefined => {
  try {
    const text = privateKey.trim()
    if (seedPattern.test(text)) {
      const key = Buffer.concat([ed25519Prefix, Buffer.from(text, "base64")])
      return createPrivateKey({ key, format: "der", type: "pkcs8" })
    }
    return createPrivateKey({
      key: privateKey,
      format: "pem",
      ...(passphrase === undefined ? {} : { passphrase })
    })
  } catch {
    // What node:crypto says may hold part of the key.
    return undefined
  }
}

// RFC 8301 section 3.2.
const leastModulus = 1024

const algorithmOf = (key: KeyObject): Algorithm | Invalid => {
  switch (key.asymmetricKeyType) {
    case "rsa": {
      const length = key.asymmetricKeyDetails?.modulusLength ?? 0
      if (length >= leastModulus) return "rsa-sha256"
      return invalid(
        "privateKey",
        `is an RSA key of ${length} bits; DKIM wants 1024 at least, and better 2048`
      )
    }
    case "ed25519":
      return "ed25519-sha256"
    default:
      return invalid("privateKey", "is neither an RSA key nor an Ed25519 key")
  }
}

const selectorInvalid = (selector: string, domain: string): Invalid | undefined => {
  if (typeof selector !== "string" || !selectorPattern.test(selector)) {
    return invalid("selector", "is not letters, digits and inner hyphens, separated by dots")
  }
  const tooLong = selector.split(".").some((label) => label.length > labelLimit)
  return tooLong || `${selector}._domainkey.${domain}`.length > nameLimit
    ? invalid("selector", "makes a name that is longer than the DNS allows")
    : undefined
}

// Plain JavaScript knows no types.
const isArray = (value: unknown): boolean => Array.isArray(value)

const isSecret = (value: unknown): boolean =>
  Redacted.isRedacted(value) && typeof Redacted.value(value) === "string"

const readKey = ({ domain, passphrase, privateKey, selector }: KeyOptions): Key | Invalid => {
  const name = readDomain(domain)
  if (isInvalid(name)) return name
  const wrong = selectorInvalid(selector, name)
  if (wrong !== undefined) return wrong
  if (!isSecret(privateKey)) return invalid("privateKey", "is no Redacted string")
  if (passphrase !== undefined && !isSecret(passphrase)) {
    return invalid("passphrase", "is no Redacted string")
  }
  const object = readKeyObject(
    Redacted.value(privateKey),
    passphrase === undefined ? undefined : Redacted.value(passphrase)
  )
  if (object === undefined) {
    return invalid("privateKey", "is no private key in PEM, or is encrypted with another passphrase")
  }
  const algorithm = algorithmOf(object)
  return isInvalid(algorithm)
    ? algorithm
    : { algorithm, domain: name, selector, privateKey: Redacted.make(object) }
}

const orFail = <A>(read: A | Invalid): Effect.Effect<A, InvalidArgument> =>
  isInvalid(read) ? Effect.fail(invalidArgument(read)) : Effect.succeed(read)

/**
 * Reads a key. Fails with `InvalidArgument` if it cannot sign; what it holds is in no error.
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
  Effect.suspend(() => orFail(readKey(options)))

/**
 * Reads a key from a file.
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
}: KeyFileOptions): Effect.Effect<Key, InvalidArgument | PlatformError, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (files) =>
    Effect.flatMap(files.readFileString(path), (text) => key({ ...options, privateKey: Redacted.make(text) }))
  )

// -- signing

const fieldNamePattern = /^[!-9<-~]+$/

const readNames = (names: ReadonlyArray<string>, field: string): ReadonlyArray<string> | Invalid => {
  if (!isArray(names)) return invalid(field, "is no list of names")
  for (const [position, name] of names.entries()) {
    if (typeof name !== "string" || !fieldNamePattern.test(name)) {
      return invalid(`${field}[${position}]`, "is no name of a field")
    }
    // RFC 6376 section 3.5: a signature does not cover itself.
    if (/^dkim-signature$/i.test(name)) return invalid(`${field}[${position}]`, "is DKIM-Signature itself")
  }
  return names
}

interface Forms {
  readonly header: Form
  readonly body: Form
}

const forms: Readonly<Record<Canonicalization, Forms>> = {
  "relaxed/relaxed": { header: "relaxed", body: "relaxed" },
  "relaxed/simple": { header: "relaxed", body: "simple" },
  "simple/relaxed": { header: "simple", body: "relaxed" },
  "simple/simple": { header: "simple", body: "simple" }
}

const readForms = (canonicalization: Canonicalization): Forms | Invalid =>
  invalidChoice("canonicalization", canonicalization, Object.keys(forms)) ?? forms[canonicalization]

// RFC 6376 section 3.5: x= has at most twelve digits.
const latest = 999_999_999_999

const readExpiry = (
  expiresIn: Duration.DurationInput | undefined,
  now: number
): number | undefined | Invalid => {
  if (expiresIn === undefined) return undefined
  const read = Duration.decodeUnknown(expiresIn)
  const seconds = Option.isSome(read) ? Duration.toSeconds(read.value) : 0
  if (seconds < 1) return invalid("expiresIn", `is not a duration of at least a second, such as "7 days"`)
  if (!Number.isFinite(seconds)) return undefined
  const expiry = now + Math.floor(seconds)
  return expiry > latest ? invalid("expiresIn", "ends after what twelve digits of seconds can say") : expiry
}

const isKey = (key: unknown): boolean =>
  Predicate.hasProperty(key, "privateKey") &&
  Redacted.isRedacted(key.privateKey) &&
  Predicate.isObject(Redacted.value(key.privateKey))

const keysInvalid = (keys: ReadonlyArray<Key>): Invalid | undefined => {
  if (!isArray(keys)) return invalid("keys", "is no list of keys")
  if (keys.length === 0) return invalid("keys", "is empty: give at least one")
  const position = keys.findIndex((key) => !isKey(key))
  return position === -1
    ? undefined
    : invalid(`keys[${position}]`, "is no key; make one by `key` or `keyFromFile`")
}

const readSettings = (options: Options, lineEnds: Settings["lineEnds"], now: number): Settings | Invalid => {
  const wrong = keysInvalid(options.keys)
  if (wrong !== undefined) return wrong
  const fields = readNames(options.fields ?? defaultFields, "fields")
  if (isInvalid(fields)) return fields
  const oversigned = readNames(options.oversigned ?? defaultOversigned, "oversigned")
  if (isInvalid(oversigned)) return oversigned
  const canonical = readForms(options.canonicalization ?? "relaxed/relaxed")
  if (isInvalid(canonical)) return canonical
  const signedAt = Math.floor(now / 1000)
  const expiresAt = readExpiry(options.expiresIn, signedAt)
  if (isInvalid(expiresAt)) return expiresAt
  const bufferLimit = options.bufferLimit ?? 33_554_432
  if (!Number.isSafeInteger(bufferLimit) || bufferLimit < 0) {
    return invalid("bufferLimit", "is not a whole number of octets")
  }
  return {
    keys: [...options.keys],
    fields: ["From", ...fields],
    oversigned,
    ...canonical,
    signedAt,
    expiresAt,
    lineEnds,
    bufferLimit
  }
}

const signWith = <E, R>(
  content: Content<E, R>,
  options: Options,
  lineEnds: Settings["lineEnds"]
): Effect.Effect<Content<E | ContentError, R>, ContentError | InvalidArgument | E, R> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.flatMap(
      Effect.suspend(() => orFail(readSettings(options, lineEnds, now))),
      (settings) => Signing.sign(content, settings)
    )
  )

/**
 * The same content with a signature by each key before it. Line ends become CRLF first, since that is what goes on
 * the wire. Octets and strings give octets. A stream that can be run again is run once to be signed, and once for
 * each time it is sent, in constant memory; a later run that differs ends in `ContentError` with reason `Changed`
 * and delivers nothing. A stream that cannot is held in memory.
 *
 * Sign once and send the result: signing again is another signature, with another time.
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
 * Signs the content of a submission, as the last step before it is sent.
 *
 * Fails with `InvalidArgument` if the message has no From, and with what `content` fails with.
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
