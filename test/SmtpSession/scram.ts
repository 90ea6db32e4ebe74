/**
 * The server's side of SCRAM (RFC 5802) as a script, with the computations of node:crypto: it shares nothing with
 * the library's own.
 */
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from "node:crypto"
import * as SmtpTest from "../../src/SmtpTest.js"

export interface ScramOptions {
  readonly mechanism: `SCRAM-SHA-${1 | 256 | 512}${"" | "-PLUS"}`
  readonly password: string
  /** What the server says instead of its signature. */
  readonly signature?: string | undefined
}

/** What the client said, once it has. */
export interface ScramRecord {
  /** The header and the channel binding data that `c=` holds. */
  binding: Buffer
  proven: boolean
}

interface Hashing {
  readonly hash: (octets: Buffer) => Buffer
  readonly hmac: (key: Buffer, text: string) => Buffer
  readonly salted: (password: string, salt: Buffer) => Buffer
}

const hashingOf = (mechanism: ScramOptions["mechanism"]): Hashing => {
  const name = `sha${mechanism.split("-")[2] ?? ""}`
  const { length } = createHash(name).digest()
  return {
    hash: (octets) => createHash(name).update(octets).digest(),
    hmac: (key, text) => createHmac(name, key).update(text).digest(),
    salted: (password, salt) => pbkdf2Sync(password, salt, 4096, length, name)
  }
}

const fromBase64 = (text: string): string => Buffer.from(text, "base64").toString()

const challenge = (text: string) => SmtpTest.reply(`334 ${Buffer.from(text).toString("base64")}`)

const attribute = (message: string, name: string): string =>
  message
    .split(",")
    .find((part) => part.startsWith(`${name}=`))
    ?.slice(2) ?? ""

const xor = (left: Buffer, right: Buffer): Buffer =>
  Buffer.from(left.map((octet, index) => octet ^ (right[index] ?? 0)))

/** The exchange from AUTH to the reply that ends it; what the client does behind the signature is `then`. */
export const scramServer = (
  { mechanism, password, signature }: ScramOptions,
  then: (proven: boolean) => SmtpTest.Script
): { readonly script: SmtpTest.Script; readonly record: ScramRecord } => {
  const record: ScramRecord = { binding: Buffer.alloc(0), proven: false }
  const salt = Buffer.from("a salt of sixteen")
  const { hash, hmac, salted: saltedPassword } = hashingOf(mechanism)
  const salted = saltedPassword(password, salt)
  const clientKey = hmac(salted, "Client Key")
  const storedKey = hash(clientKey)

  const begin = (line: string): SmtpTest.Script => {
    const first = fromBase64(line.slice(`AUTH ${mechanism} `.length))
    const bare = first.slice(first.indexOf("n=", first.indexOf(",", first.indexOf(",") + 1)))
    const serverFirst = `r=${attribute(bare, "r")}server,s=${salt.toString("base64")},i=4096`
    const finish = (response: string): SmtpTest.Script => {
      const final = fromBase64(response)
      const message = `${bare},${serverFirst},${final.slice(0, final.lastIndexOf(",p="))}`
      const proof = Buffer.from(final.slice(final.lastIndexOf(",p=") + 3), "base64")
      record.binding = Buffer.from(attribute(final, "c"), "base64")
      record.proven = timingSafeEqual(hash(xor(proof, hmac(storedKey, message))), storedKey)
      const right = hmac(hmac(salted, "Server Key"), message).toString("base64")
      return record.proven ? SmtpTest.script(challenge(`v=${signature ?? right}`), then(true)) : then(false)
    }
    return SmtpTest.script(challenge(serverFirst), SmtpTest.branch({}, finish))
  }
  return { script: SmtpTest.branch({ [`AUTH ${mechanism}`]: begin }), record }
}
