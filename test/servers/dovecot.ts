/**
 * Dovecot: an LMTP server on TCP and on a UNIX socket, and the authentication behind Postfix.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { createHmac, randomBytes } from "node:crypto"
import * as FileSystem from "node:fs/promises"
import { join } from "node:path"
import type { Installation, ServerUnavailable } from "./availability.js"
import { find } from "./availability.js"
import { readMaildir } from "./delivered.js"
import type { ServerProcess } from "./process.js"
import {
  awaitReady,
  freePorts,
  inRealTime,
  makeFolder,
  makeStateFolder,
  nobody,
  readLog,
  startProcess
} from "./process.js"
import type { Running } from "./running.js"
import { accounts, localPartOf, localParts, makeRunning, writeCertificates } from "./running.js"

const common = (installation: Installation, folder: string): string => `
base_dir = ${folder}/run
state_dir = ${folder}/run
libexec_dir = ${installation.root}/usr/lib/dovecot
mail_plugin_dir = ${installation.root}/usr/lib/dovecot/modules
import_environment = TZ LD_LIBRARY_PATH
log_path = ${folder}/dovecot.log
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
ssl = no
`

/** Starts Dovecot's master; doveconf hands it the settings, since it would look for doveconf in /usr/bin. */
const startMaster = (
  installation: Installation,
  folder: string,
  configuration: string
): Effect.Effect<ServerProcess, never, Scope.Scope> =>
  Effect.gen(function* () {
    const path = join(folder, "dovecot.conf")
    yield* Effect.promise(async () => {
      await FileSystem.mkdir(join(folder, "run"))
      // Where the installed library looks for its modules; see .ci/install-servers.
      await FileSystem.symlink(
        join(installation.root, "usr/lib/dovecot/modules"),
        join(folder, "run/modules")
      )
      await FileSystem.writeFile(path, common(installation, folder) + configuration)
    })
    const dovecot = join(installation.root, "usr/sbin/dovecot")
    const doveconf = join(installation.root, "usr/bin/doveconf")
    return yield* startProcess(
      installation,
      [doveconf, "-f", "service=master", "-c", path, "-p", "-m", "master", "-e", dovecot, "-F", "-c", path],
      { directory: folder, ending: "kill" }
    )
  })

/** An authentication service for Postfix. */
export interface RunningAuthentication {
  readonly process: ServerProcess
  /** The UNIX socket that Postfix asks. */
  readonly socket: string
  readonly log: Effect.Effect<string>
  /** A bearer token for OAUTHBEARER and XOAUTH2, that says who it is for and until when, in seconds from now. */
  readonly token: (username: string, lifetime?: number) => string
}

const base64url = (text: string): string => Buffer.from(text).toString("base64url")

const signToken = (key: Buffer, username: string, lifetime: number): string => {
  const now = Math.floor(Date.now() / 1000)
  const header = base64url(JSON.stringify({ alg: "HS256", typ: "JWT" }))
  const claims = base64url(JSON.stringify({ sub: username, iat: now - 3600, exp: now + lifetime }))
  const signature = createHmac("sha256", key).update(`${header}.${claims}`).digest("base64url")
  return `${header}.${claims}.${signature}`
}

/** Starts the authentication service in an existing folder: all of Dovecot's usual mechanisms. */
export const startAuthentication = (
  installation: Installation,
  folder: string
): Effect.Effect<RunningAuthentication, never, Scope.Scope> =>
  Effect.gen(function* () {
    const key = randomBytes(32)
    const keys = join(folder, "keys/default/HS256")
    const socket = join(folder, "auth-client")
    yield* Effect.promise(async () => {
      await FileSystem.mkdir(keys, { recursive: true })
      await FileSystem.writeFile(join(keys, "default"), key.toString("base64"))
      await FileSystem.writeFile(
        join(folder, "oauth2"),
        `introspection_mode = local
local_validation_key_dict = fs:posix:prefix=${folder}/keys/
username_attribute = sub
`
      )
      await FileSystem.writeFile(
        join(folder, "accounts"),
        accounts.map(({ password, username }) => `${username}:{PLAIN}${password}\n`).join("")
      )
    })
    const running = yield* startMaster(
      installation,
      folder,
      `
protocols =
disable_plaintext_auth = no
auth_username_chars =
auth_failure_delay = 0
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2
passdb {
  driver = passwd-file
  args = ${folder}/accounts
  mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
}
passdb {
  driver = oauth2
  args = ${folder}/oauth2
  mechanisms = oauthbearer xoauth2
}
userdb {
  driver = static
  args = uid=${nobody} gid=${nobody} home=/nonexistent
}
service auth {
  unix_listener ${socket} {
    mode = 0666
  }
}
# One refused password would hold up everybody on this address for seconds.
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`
    )
    return {
      process: running,
      socket,
      log: readLog(join(folder, "dovecot.log")),
      token: (username, lifetime = 3600) => signToken(key, username, lifetime)
    }
  })

/** LMTP (RFC 2033): no AUTH and no TLS; after the content one reply comes for each accepted recipient. */
export interface RunningDovecot extends Running {
  /** LMTP on TCP. */
  readonly port: number
  /** LMTP on a UNIX socket. */
  readonly socket: string
}

/** Options of `start`. */
export interface DovecotOptions {
  /** Further settings, or other values of those that `start` sets. */
  readonly overrides?: Readonly<Record<string, string>> | undefined
}

// One octet is what the mailbox of "full" may hold: its owner is known, and refused after the content.
const users = (folder: string): string =>
  ["full", ...localParts.filter((name) => name !== "jörg")]
    .map((name) => {
      const quota = name === "full" ? " userdb_quota_rule=*:bytes=1" : ""
      return `${name}::${nobody}:${nobody}::${folder}/mail/${name}::${quota}\n`
    })
    .join("")

/** Starts Dovecot's LMTP server. It knows all of `localParts` but jörg, and `fullRecipient`. */
export const start = (
  options: DovecotOptions = {}
): Effect.Effect<RunningDovecot, ServerUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const installation = yield* find("Dovecot")
    const folder = yield* makeStateFolder("Dovecot")
    const files = yield* writeCertificates(folder, undefined)
    const [port] = yield* freePorts
    const socket = join(folder, "lmtp")
    const log = readLog(join(folder, "dovecot.log"))
    yield* Effect.promise(async () => {
      await makeFolder(join(folder, "mail"), nobody, nobody, 0o755)
      await FileSystem.writeFile(join(folder, "users"), users(folder))
    })
    const overrides = Object.entries(options.overrides ?? {}).map(([name, value]) => `${name} = ${value}\n`)
    const running = yield* startMaster(
      installation,
      folder,
      `
protocols = lmtp
hostname = localhost
postmaster_address = postmaster@localhost
first_valid_uid = 1
mail_location = maildir:${folder}/mail/%n
mail_save_crlf = yes
mail_plugins = quota
plugin {
  quota = maildir:User quota
}
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = passwd-file
  args = username_format=%n ${folder}/users
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = ${port}
  }
  unix_listener ${socket} {
    mode = 0666
  }
}
${overrides.join("")}`
    )
    yield* awaitReady("Dovecot", running, { greeting: [port, socket], silent: [], log })
    const messages = (recipient: string) => readMaildir(join(folder, "mail", localPartOf(recipient)))
    return { ...makeRunning({ folder, files, log, messages }), port, socket }
  }).pipe(inRealTime)

/** A running Dovecot, for `it.layer`. */
export class Dovecot extends Context.Tag("test/servers/Dovecot")<Dovecot, RunningDovecot>() {}

/** One server for all the tests under the layer. */
export const layer = (options?: DovecotOptions): Layer.Layer<Dovecot, ServerUnavailable> =>
  Layer.scoped(Dovecot, start(options))
