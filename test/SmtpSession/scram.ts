/**
 * The server's side of SCRAM (RFC 5802) as a script, with the computations of node:crypto: it shares nothing with
 * the library's own.
 */
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from "node:crypto"
import * as SmtpTest from "../../src/SmtpTest.js"

export interface ScramOptions {
  readonly mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS"
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

const hash = (octets: Buffer): Buffer => createHash("sha256").update(octets).digest()

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest()

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
  const salted = pbkdf2Sync(password, salt, 4096, 32, "sha256")
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
