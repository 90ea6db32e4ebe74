/**
 * aiosmtpd on Debian's Python: plain with STARTTLS, and implicit TLS. It keeps exactly the octets that came, and
 * what the envelope said. It announces SIZE, 8BITMIME, SMTPUTF8, STARTTLS and, under TLS, AUTH LOGIN PLAIN; it
 * reads one command at a time and knows neither PIPELINING nor CHUNKING.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as FileSystem from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { find, ServerUnavailable } from "./availability.js"
import type { Certificates } from "./certificates.js"
import type { ServerProcess } from "./process.js"
import { awaitReady, firstLine, inRealTime, makeStateFolder, startProcess } from "./process.js"
import type { Credentials, Running } from "./running.js"
import {
  accounts,
  busyRecipient,
  credentials,
  domain,
  localParts,
  makeRunning,
  unicodeCredentials,
  writeCertificates
} from "./running.js"

const Ports = Schema.parseJson(Schema.Struct({ port: Schema.Number, tlsPort: Schema.Number }))

const Envelope = Schema.Struct({
  mailFrom: Schema.NullOr(Schema.String),
  /** The parameters of MAIL, e.g. `BODY=8BITMIME`. */
  mailOptions: Schema.Array(Schema.String),
  recipients: Schema.Array(Schema.String),
  smtpUtf8: Schema.Boolean,
  /** Whether STARTTLS came before; false on the port with implicit TLS. */
  tls: Schema.Boolean,
  /** What EHLO or HELO said. */
  helo: Schema.NullOr(Schema.String),
  /** Who was authenticated. */
  user: Schema.NullOr(Schema.String)
})

/** What came with one message. */
export type Envelope = typeof Envelope.Type

const decodeEnvelope = Schema.decodeUnknownSync(Schema.parseJson(Envelope))

/** One accepted message, whoever it is for. */
export interface Accepted {
  readonly envelope: Envelope
  /** Exactly the octets that came, with dots unstuffed. */
  readonly octets: Uint8Array
}

export interface RunningAiosmtpd extends Running {
  /** Plain, with STARTTLS. */
  readonly port: number
  /** Implicit TLS. */
  readonly tlsPort: number
  readonly credentials: Credentials
  readonly unicodeCredentials: Credentials
  /** Every message accepted so far, in order. It is there when the reply to the content comes. */
  readonly accepted: Effect.Effect<ReadonlyArray<Accepted>>
}

/** Options of `start`. */
export interface AiosmtpdOptions {
  /** Parameters of aiosmtpd's `SMTP`, e.g. `{ auth_required: true, data_size_limit: 1000 }`. */
  readonly options?: Readonly<Record<string, string | number | boolean>> | undefined
  readonly certificates?: Certificates | undefined
}

const python = "/usr/bin/python3"
const script = fileURLToPath(new URL("./aiosmtpd_server.py", import.meta.url))

const readAccepted = (folder: string): Effect.Effect<ReadonlyArray<Accepted>> =>
  Effect.promise(async () => {
    const names = (await FileSystem.readdir(folder)).filter((name) => name.endsWith(".json")).sort()
    return Promise.all(
      names.map(async (name) => {
        const path = join(folder, name)
        return {
          envelope: decodeEnvelope(await FileSystem.readFile(path, "utf8")),
          octets: new Uint8Array(await FileSystem.readFile(path.replace(/json$/, "eml")))
        }
      })
    )
  })

const announcedPorts = (running: ServerProcess): Effect.Effect<typeof Ports.Type, ServerUnavailable> =>
  firstLine("aiosmtpd", running).pipe(
    Effect.flatMap(Schema.decode(Ports)),
    Effect.catchTag("ParseError", () =>
      Effect.fail(new ServerUnavailable({ server: "aiosmtpd", reason: running.output() }))
    )
  )

/** Starts aiosmtpd. It knows all of `localParts`. */
export const start = (
  options: AiosmtpdOptions = {}
): Effect.Effect<RunningAiosmtpd, ServerUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const installation = yield* find("aiosmtpd")
    const folder = yield* makeStateFolder("aiosmtpd")
    const files = yield* writeCertificates(folder, options.certificates)
    const mail = join(folder, "mail")
    yield* Effect.promise(() => FileSystem.mkdir(mail))
    const settings = {
      folder: mail,
      certificate: files.certificatePath,
      key: files.keyPath,
      recipients: localParts.map((name) => `${name}@${domain}`),
      busy: busyRecipient,
      accounts: Object.fromEntries(accounts.map(({ password, username }) => [username, password])),
      options: options.options ?? {}
    }
    const running = yield* startProcess(installation, [python, script, JSON.stringify(settings)], {
      directory: folder,
      ending: "kill"
    })
    const { port, tlsPort } = yield* announcedPorts(running)
    const log = Effect.sync(running.output)
    yield* awaitReady("aiosmtpd", running, { greeting: [port], silent: [tlsPort], log })
    const accepted = readAccepted(mail)
    const messages = (recipient: string) =>
      Effect.map(accepted, (all) =>
        all
          .filter(({ envelope }) => envelope.recipients.includes(recipient))
          .map(({ octets }) => ({ raw: octets, trace: [], content: octets }))
      )
    return {
      ...makeRunning({ folder, files, log, messages }),
      port,
      tlsPort,
      credentials,
      unicodeCredentials,
      accepted
    }
  }).pipe(inRealTime)

/** A running aiosmtpd, for `it.layer`. */
export class Aiosmtpd extends Context.Tag("test/servers/Aiosmtpd")<Aiosmtpd, RunningAiosmtpd>() {}

/** One server for all the tests under the layer. */
export const layer = (options?: AiosmtpdOptions): Layer.Layer<Aiosmtpd, ServerUnavailable> =>
  Layer.scoped(Aiosmtpd, start(options))
