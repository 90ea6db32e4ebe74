/**
 * What every running server offers a test, and the people whom all of them know.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "node:fs/promises"
import { join } from "node:path"
import type { Certificates } from "./certificates.js"
import { makeCertificates } from "./certificates.js"
import type { Delivered } from "./delivered.js"
import { awaitCount } from "./delivered.js"

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** What all the servers have in common. */
export interface Running {
  readonly host: "127.0.0.1"
  /** The certificate of the authority, PEM: what a client trusts. */
  readonly ca: string
  /** The same, as a file. */
  readonly caPath: string
  /** To make further certificates under the same authority. */
  readonly certificates: Certificates
  /** Everything that the server wrote to its log so far. */
  readonly log: Effect.Effect<string>
  /** The folder of the server's state, removed with its scope. */
  readonly folder: string
  /** What has been delivered to the recipient so far, oldest first. Servers deliver a moment after they accept. */
  readonly messages: (recipient: string) => Effect.Effect<ReadonlyArray<Delivered>>
  /** As `messages`, as soon as there are `count` (1 by default); dies when that takes over 10 seconds. */
  readonly awaitMessages: (recipient: string, count?: number) => Effect.Effect<ReadonlyArray<Delivered>>
}

/** The domain that every server receives mail for. */
export const domain = "example.test"

/** Known to every server. */
export const ann = `ann@${domain}`
export const bob = `bob@${domain}`
/** Known to every server that does SMTPUTF8 (not Dovecot). */
export const jörg = `jörg@${domain}`
/** Refused with 550 at RCPT by every server. */
export const unknownRecipient = `unknown@${domain}`
/** Refused for now, with 450, at RCPT (not by Dovecot). */
export const busyRecipient = `busy@${domain}`
/** Known to Dovecot only, and refused after the content, since the mailbox is full. */
export const fullRecipient = `full@${domain}`

/** `user1@example.test` to `user1100@example.test` are known too, for long lists of recipients. */
export const user = (number: number): string => `user${number}@${domain}`

/** A message with this field is refused with 550 after its content (by Postfix and Exim). */
export const refusedField = "X-Test-Refuse: yes"

/** Every known local part. */
export const localParts: ReadonlyArray<string> = [
  "ann",
  "bob",
  "carol",
  "jörg",
  ...Array.from({ length: 1100 }, (_, index) => `user${index + 1}`)
]

/** The user names and passwords that every server with AUTH accepts. */
export const credentials: Credentials = { username: ann, password: "correct horse battery staple" }
export const unicodeCredentials: Credentials = { username: jörg, password: "pässwörd €" }
export const accounts: ReadonlyArray<Credentials> = [credentials, unicodeCredentials]

/** The part before the last "@". */
export const localPartOf = (address: string): string => address.slice(0, address.lastIndexOf("@"))

/** Where a server finds its certificate, and a client the authority's. */
export interface CertificateFiles {
  readonly certificates: Certificates
  readonly caPath: string
  readonly certificatePath: string
  readonly keyPath: string
  /** Key and certificate in one file. */
  readonly chainPath: string
}

/** Writes the certificates into the folder; the key is readable for all, since it protects nothing. */
export const writeCertificates = (
  folder: string,
  given: Certificates | undefined
): Effect.Effect<CertificateFiles> =>
  Effect.gen(function* () {
    const certificates = given ?? (yield* makeCertificates())
    const files = {
      certificates,
      caPath: join(folder, "ca.pem"),
      certificatePath: join(folder, "certificate.pem"),
      keyPath: join(folder, "key.pem"),
      chainPath: join(folder, "chain.pem")
    }
    yield* Effect.promise(() =>
      Promise.all([
        FileSystem.writeFile(files.caPath, `${certificates.ca}\n`),
        FileSystem.writeFile(files.certificatePath, `${certificates.certificate}\n`),
        FileSystem.writeFile(files.keyPath, `${certificates.key}\n`),
        FileSystem.writeFile(files.chainPath, `${certificates.key}\n${certificates.certificate}\n`)
      ])
    )
    return files
  })

/** The parts of `Running` that follow from the others. */
export const makeRunning = (parts: {
  readonly folder: string
  readonly files: CertificateFiles
  readonly log: Effect.Effect<string>
  readonly messages: (recipient: string) => Effect.Effect<ReadonlyArray<Delivered>>
}): Running => ({
  host: "127.0.0.1",
  ca: parts.files.certificates.ca,
  caPath: parts.files.caPath,
  certificates: parts.files.certificates,
  log: parts.log,
  folder: parts.folder,
  messages: parts.messages,
  awaitMessages: (recipient, count = 1) => awaitCount(parts.messages(recipient), count)
})
