/**
 * Exim 4: plain with STARTTLS, and implicit TLS, on Debian's "heavy" build. It announces SIZE, 8BITMIME, DSN,
 * VRFY, PIPELINING, PIPECONNECT, AUTH (in clear, too, unlike our Postfix), CHUNKING, STARTTLS, PRDR and SMTPUTF8.
 *
 * Mail never leaves the machine: whatever is not for `example.test` is refused.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as FileSystem from "node:fs/promises"
import { join } from "node:path"
import type { Installation, ServerUnavailable } from "./availability.js"
import { find } from "./availability.js"
import type { Certificates } from "./certificates.js"
import { readMaildir } from "./delivered.js"
import {
  awaitReady,
  freePorts,
  inRealTime,
  lookUpUser,
  makeFolder,
  makeStateFolder,
  readLog,
  startProcess
} from "./process.js"
import type { CertificateFiles, Credentials, Running } from "./running.js"
import {
  accounts,
  busyRecipient,
  credentials,
  domain,
  localPartOf,
  localParts,
  makeRunning,
  unicodeCredentials,
  writeCertificates
} from "./running.js"

export interface RunningExim extends Running {
  /** Plain, with STARTTLS. */
  readonly port: number
  /** Implicit TLS. */
  readonly tlsPort: number
  readonly credentials: Credentials
  readonly unicodeCredentials: Credentials
}

/** Options of `start`. */
export interface EximOptions {
  /** Main options, e.g. `{ smtp_accept_max_nonmail: "3" }`; they win over what `start` sets. */
  readonly overrides?: Readonly<Record<string, string>> | undefined
  readonly certificates?: Certificates | undefined
}

/** MAIL from it is answered by 421, and the session goes on. */
export const deferredSender = `deferred@${domain}`

const user = "Debian-exim"

const mainOptions = (
  installation: Installation,
  folder: string,
  files: CertificateFiles,
  port: number,
  tlsPort: number
): Record<string, string> => ({
  exim_path: `${installation.root}/usr/sbin/exim4`,
  keep_environment: "LD_LIBRARY_PATH",
  add_environment: "PATH=/usr/bin:/bin",
  spool_directory: `${folder}/spool`,
  log_file_path: `${folder}/log/%slog`,
  pid_file_path: `${folder}/exim.pid`,
  // With a configuration of its own Exim has no root privilege to deliver with, and needs none here.
  deliver_drop_privilege: "true",
  primary_hostname: "localhost",
  qualify_domain: domain,
  local_interfaces: `<; 127.0.0.1.${port} ; 127.0.0.1.${tlsPort}`,
  tls_on_connect_ports: String(tlsPort),
  tls_advertise_hosts: "*",
  tls_certificate: files.certificatePath,
  tls_privatekey: files.keyPath,
  tls_require_ciphers: "NORMAL",
  host_lookup: "",
  rfc1413_hosts: "",
  dns_ipv4_lookup: "*",
  received_header_text: "Received: by localhost id $message_exim_id",
  message_size_limit: "52428800",
  accept_8bitmime: "true",
  chunking_advertise_hosts: "*",
  pipelining_advertise_hosts: "*",
  dsn_advertise_hosts: "*",
  smtputf8_advertise_hosts: "*",
  prdr_enable: "true",
  smtp_accept_max: "0",
  smtp_accept_max_per_connection: "100000",
  smtp_accept_queue_per_connection: "0",
  auth_advertise_hosts: "*",
  acl_smtp_vrfy: "accept",
  acl_smtp_mail: "check_mail",
  acl_smtp_rcpt: "check_rcpt",
  acl_smtp_data: "check_data",
  acl_smtp_data_prdr: "accept"
})

const rest = (folder: string): string => `
begin acl

check_mail:
  defer
    message = 421 4.7.1 later, for a test
    senders = ${deferredSender}
  accept

check_rcpt:
  defer
    message = 450 4.2.1 busy for a test
    local_parts = ${localPartOf(busyRecipient)}
    domains = ${domain}
  require
    message = 550 5.7.1 relay not permitted
    domains = ${domain}
  deny
    message = 550 5.1.1 unknown user
    !verify = recipient
  accept

check_data:
  deny
    message = 550 5.7.1 refused for a test
    condition = \${if eq{$h_X-Test-Refuse:}{yes}}
  accept

begin routers

mailboxes:
  driver = accept
  domains = ${domain}
  local_parts = lsearch;${folder}/mailboxes
  transport = maildir

begin transports

maildir:
  driver = appendfile
  directory = ${folder}/mail/$local_part_data
  maildir_format
  create_directory
  use_crlf
  return_path_add
  delivery_date_add
  envelope_to_add
  directory_mode = 0755
  mode = 0644

begin authenticators

PLAIN:
  driver = plaintext
  server_prompts = :
  server_condition = \${if and{{!eq{$auth3}{}}{eq{$auth3}{\${lookup{$auth2}lsearch{${folder}/accounts}}}}}}
  server_set_id = $auth2

LOGIN:
  driver = plaintext
  server_prompts = <| Username: | Password:
  server_condition = \${if and{{!eq{$auth2}{}}{eq{$auth2}{\${lookup{$auth1}lsearch{${folder}/accounts}}}}}}
  server_set_id = $auth1

CRAM_MD5:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = \${lookup{$auth1}lsearch{${folder}/accounts}{$value}fail}
  server_set_id = $auth1
`

const writeState = async (folder: string, configuration: string): Promise<void> => {
  const owner = await lookUpUser(user)
  await makeFolder(join(folder, "spool"), owner.user, owner.group, 0o750)
  await makeFolder(join(folder, "log"), owner.user, owner.group, 0o755)
  await makeFolder(join(folder, "mail"), owner.user, owner.group, 0o755)
  // The same name on both sides: the looked-up value is what Exim trusts as a part of a path.
  await FileSystem.writeFile(
    join(folder, "mailboxes"),
    localParts.map((name) => `"${name}": ${name}\n`).join("")
  )
  await FileSystem.writeFile(
    join(folder, "accounts"),
    accounts.map(({ password, username }) => `"${username}": ${password}\n`).join("")
  )
  await FileSystem.writeFile(join(folder, "exim.conf"), configuration)
}

/** Starts Exim. It knows all of `localParts`. */
export const start = (
  options: EximOptions = {}
): Effect.Effect<RunningExim, ServerUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const installation = yield* find("Exim")
    const folder = yield* makeStateFolder("Exim")
    const files = yield* writeCertificates(folder, options.certificates)
    const [port, tlsPort] = yield* freePorts
    const main = { ...mainOptions(installation, folder, files, port, tlsPort), ...options.overrides }
    const lines = Object.entries(main).map(([name, value]) => `${name} = ${value}\n`)
    yield* Effect.promise(() => writeState(folder, lines.join("") + rest(folder)))
    const running = yield* startProcess(
      installation,
      [join(installation.root, "usr/sbin/exim4"), "-C", join(folder, "exim.conf"), "-bdf"],
      { directory: folder, ending: "terminate" }
    )
    const log = Effect.zipWith(
      readLog(join(folder, "log/mainlog")),
      readLog(join(folder, "log/paniclog")),
      (mainLog, panicLog) => mainLog + panicLog
    )
    yield* awaitReady("Exim", running, { greeting: [port], silent: [tlsPort], log })
    const messages = (recipient: string) => readMaildir(join(folder, "mail", localPartOf(recipient)))
    return {
      ...makeRunning({ folder, files, log, messages }),
      port,
      tlsPort,
      credentials,
      unicodeCredentials
    }
  }).pipe(inRealTime)

/** A running Exim, for `it.layer`. */
export class Exim extends Context.Tag("test/servers/Exim")<Exim, RunningExim>() {}

/** One server for all the tests under the layer. */
export const layer = (options?: EximOptions): Layer.Layer<Exim, ServerUnavailable> =>
  Layer.scoped(Exim, start(options))
