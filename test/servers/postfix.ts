/**
 * Postfix: plain with STARTTLS, and implicit TLS. It offers what a busy mail server does: PIPELINING, SIZE, VRFY,
 * ETRN, STARTTLS, AUTH (after TLS), ENHANCEDSTATUSCODES, 8BITMIME, DSN, SMTPUTF8 and CHUNKING.
 *
 * AUTH goes to a Dovecot of its own: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256, OAUTHBEARER, XOAUTH2.
 * Mail never leaves the machine: whatever is not for `example.test` is refused, with or without AUTH.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { join } from "node:path"
import type { Installation, ServerUnavailable } from "./availability.js"
import { find } from "./availability.js"
import type { Certificates } from "./certificates.js"
import { readMaildir } from "./delivered.js"
import { startAuthentication } from "./dovecot.js"
import {
  awaitReady,
  freePorts,
  inRealTime,
  lookUpGroup,
  lookUpUser,
  makeFolder,
  makeStateFolder,
  nobody,
  readLog,
  startProcess,
  writeOldFile
} from "./process.js"
import type { CertificateFiles, Credentials, Running } from "./running.js"
import {
  busyRecipient,
  credentials,
  domain,
  localPartOf,
  localParts,
  makeRunning,
  unicodeCredentials,
  writeCertificates
} from "./running.js"

export interface RunningPostfix extends Running {
  /** Plain, with STARTTLS. */
  readonly port: number
  /** Implicit TLS. */
  readonly tlsPort: number
  readonly credentials: Credentials
  readonly unicodeCredentials: Credentials
  /** A bearer token that the server accepts for this user; an expired one with a negative lifetime (seconds). */
  readonly token: (username: string, lifetime?: number) => string
  /** Ends Postfix in the middle of whatever it does. What it has accepted stays in its queue. */
  readonly stop: Effect.Effect<void>
  /** Begins again where it was stopped, on the same ports; further parameters win over the earlier ones. */
  readonly resume: (overrides?: Readonly<Record<string, string>>) => Effect.Effect<void, ServerUnavailable>
}

/** Options of `start`. */
export interface PostfixOptions {
  /** Parameters of main.cf, e.g. `{ smtpd_recipient_limit: "3" }`; they win over what `start` sets. */
  readonly overrides?: Readonly<Record<string, string>> | undefined
  readonly certificates?: Certificates | undefined
}

const queueFolders = [
  "active",
  "bounce",
  "corrupt",
  "defer",
  "deferred",
  "flush",
  "hold",
  "incoming",
  "private",
  "saved",
  "trace"
]

const makeFolders = async (folder: string): Promise<void> => {
  const { group, user } = await lookUpUser("postfix")
  const postdrop = await lookUpGroup("postdrop")
  const queue = join(folder, "queue")
  await makeFolder(queue, 0, 0, 0o755)
  await makeFolder(join(queue, "pid"), 0, 0, 0o755)
  await Promise.all(queueFolders.map((name) => makeFolder(join(queue, name), user, group, 0o700)))
  await makeFolder(join(queue, "maildrop"), user, postdrop, 0o730)
  await makeFolder(join(queue, "public"), user, postdrop, 0o710)
  await makeFolder(join(folder, "data"), user, group, 0o700)
  await makeFolder(join(folder, "mail"), nobody, nobody, 0o755)
  await makeFolder(join(folder, "authentication"), 0, 0, 0o755)
  await makeFolder(join(folder, "configuration"), 0, 0, 0o755)
}

const mainParameters = (
  installation: Installation,
  folder: string,
  files: CertificateFiles,
  authenticationSocket: string
): Record<string, string> => ({
  compatibility_level: "3.6",
  queue_directory: `${folder}/queue`,
  data_directory: `${folder}/data`,
  daemon_directory: `${installation.root}/usr/lib/postfix/sbin`,
  command_directory: `${installation.root}/usr/sbin`,
  shlib_directory: `${installation.root}/usr/lib/postfix`,
  meta_directory: `${folder}/configuration`,
  import_environment: "MAIL_CONFIG TZ LANG LD_LIBRARY_PATH",
  maillog_file: `${folder}/postfix.log`,
  maillog_file_prefixes: folder,
  mail_owner: "postfix",
  setgid_group: "postdrop",
  default_privs: "nobody",
  myhostname: "localhost",
  mydestination: "",
  mynetworks: "",
  inet_interfaces: "127.0.0.1",
  inet_protocols: "ipv4",
  disable_dns_lookups: "yes",
  default_transport: "discard",
  relay_transport: "discard",
  alias_maps: "",
  alias_database: "",
  virtual_mailbox_domains: domain,
  virtual_mailbox_base: `${folder}/mail`,
  virtual_mailbox_maps: `texthash:${folder}/configuration/mailboxes`,
  virtual_mailbox_limit: "0",
  virtual_minimum_uid: "1",
  virtual_uid_maps: `static:${nobody}`,
  virtual_gid_maps: `static:${nobody}`,
  message_size_limit: "52428800",
  // Messages of loopback clients are otherwise completed and rewritten.
  local_header_rewrite_clients: "",
  header_checks: "regexp:{{/^X-Test-Refuse: yes/ REJECT 5.7.1 refused for a test}}",
  smtpd_peername_lookup: "no",
  smtpd_error_sleep_time: "0",
  smtpd_client_connection_count_limit: "0",
  smtpd_relay_restrictions: "reject_unauth_destination",
  smtpd_recipient_restrictions: `check_recipient_access inline:{{${busyRecipient} = 450 4.2.1 busy for a test}}`,
  smtpd_tls_security_level: "may",
  smtpd_tls_chain_files: files.chainPath,
  smtpd_tls_auth_only: "yes",
  smtpd_sasl_auth_enable: "yes",
  smtpd_sasl_type: "dovecot",
  smtpd_sasl_path: authenticationSocket
})

// No service is chrooted: the libraries are not in a place of their own.
const services = (port: number, tlsPort: number): string => `
127.0.0.1:${port} inet n - n - - smtpd
127.0.0.1:${tlsPort} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

/** Starts Postfix. It knows all of `localParts`. */
export const start = (
  options: PostfixOptions = {}
): Effect.Effect<RunningPostfix, ServerUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const installation = yield* find("Postfix")
    const folder = yield* makeStateFolder("Postfix")
    const files = yield* writeCertificates(folder, options.certificates)
    const [port, tlsPort] = yield* freePorts
    const configuration = join(folder, "configuration")
    yield* Effect.promise(() => makeFolders(folder))
    const authentication = yield* startAuthentication(installation, join(folder, "authentication"))
    const parameters = {
      ...mainParameters(installation, folder, files, authentication.socket),
      ...options.overrides
    }
    const writeMain = (overrides: Readonly<Record<string, string>> = {}) =>
      Effect.promise(() =>
        writeOldFile(
          join(configuration, "main.cf"),
          Object.entries({ ...parameters, ...overrides })
            .map(([name, value]) => `${name} = ${value}\n`)
            .join("")
        )
      )
    yield* writeMain()
    yield* Effect.promise(() =>
      Promise.all([
        writeOldFile(join(configuration, "master.cf"), services(port, tlsPort)),
        writeOldFile(
          join(configuration, "mailboxes"),
          localParts.map((name) => `${name}@${domain} ${name}/\n`).join("")
        )
      ])
    )
    const startMaster = startProcess(
      { ...installation, environment: { ...installation.environment, MAIL_CONFIG: configuration } },
      [join(installation.root, "usr/lib/postfix/sbin/master"), "-c", configuration, "-s"],
      { directory: join(folder, "queue"), ending: "terminate" }
    )
    const parent = yield* Effect.scope
    let lifetime = yield* Scope.fork(parent, ExecutionStrategy.sequential)
    let running = yield* Scope.extend(startMaster, lifetime)
    const log = Effect.zipWith(
      readLog(join(folder, "postfix.log")),
      authentication.log,
      (postfix, dovecot) => `${dovecot}${postfix}`
    )
    // Behind a proxy it greets nobody before the proxy's header.
    const proxied = options.overrides?.["smtpd_upstream_proxy_protocol"] !== undefined
    const ready = Effect.suspend(() =>
      awaitReady("Postfix", running, {
        greeting: proxied ? [] : [port],
        silent: proxied ? [port, tlsPort] : [tlsPort],
        log
      })
    )
    yield* ready
    const stop = Effect.suspend(() => Scope.close(lifetime, Exit.void))
    const resume = (overrides?: Readonly<Record<string, string>>) =>
      Effect.gen(function* () {
        yield* writeMain(overrides)
        lifetime = yield* Scope.fork(parent, ExecutionStrategy.sequential)
        running = yield* Scope.extend(startMaster, lifetime)
        yield* ready
      }).pipe(inRealTime)
    const messages = (recipient: string) => readMaildir(join(folder, "mail", localPartOf(recipient)))
    return {
      ...makeRunning({ folder, files, log, messages }),
      port,
      tlsPort,
      credentials,
      unicodeCredentials,
      token: authentication.token,
      stop,
      resume
    }
  }).pipe(inRealTime)

/** A running Postfix, for `it.layer`. */
export class Postfix extends Context.Tag("test/servers/Postfix")<Postfix, RunningPostfix>() {}

/** One server for all the tests under the layer. */
export const layer = (options?: PostfixOptions): Layer.Layer<Postfix, ServerUnavailable> =>
  Layer.scoped(Postfix, start(options))
