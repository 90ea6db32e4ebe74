/**
 * Which independent servers and verifiers this machine can run, and what becomes of the suites that need one. They are
 * Debian's packages, unpacked into a folder by `.ci/install-servers`; nothing of the system's own mail set-up is
 * used or touched.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** Python and dkimpy are no servers: the one parses messages, the other verifies DKIM signatures. */
export type ServerName = "Postfix" | "Exim" | "Dovecot" | "aiosmtpd" | "dkimpy" | "Python"

/** The server is not installed, this user cannot run it, or it did not start; `reason` says which and why. */
export class ServerUnavailable extends Data.TaggedError("ServerUnavailable")<{
  readonly server: ServerName
  readonly reason: string
}> {
  override get message(): string {
    return `${this.server} cannot be used: ${this.reason}`
  }
}

/** Where the unpacked packages are, and the environment in which their programs find their libraries. */
export interface Installation {
  /** The folder that stands for `/` in the packages. */
  readonly root: string
  readonly environment: Readonly<Record<string, string>>
}

const folder = (): string => process.env["EFFECT_SMTPLIB_SERVERS"] ?? "/var/cache/effect-smtplib-servers"

const python = "/usr/bin/python3"

const programs: Record<ServerName, ReadonlyArray<string>> = {
  Postfix: ["usr/lib/postfix/sbin/master", "usr/lib/postfix/sbin/smtpd", "usr/sbin/dovecot"],
  Exim: ["usr/sbin/exim4"],
  Dovecot: ["usr/sbin/dovecot", "usr/lib/dovecot/lmtp"],
  aiosmtpd: ["usr/lib/python3/dist-packages/aiosmtpd/smtp.py"],
  dkimpy: [
    "usr/lib/python3/dist-packages/dkim/__init__.py",
    "usr/lib/python3/dist-packages/nacl/__init__.py"
  ],
  Python: []
}

/** What runs on Python, as any user. */
const onPython: ReadonlyArray<ServerName> = ["aiosmtpd", "dkimpy", "Python"]

const howToInstall = "run .ci/install-servers as root"

const absence = (server: ServerName): string | undefined => {
  const root = folder()
  if (!existsSync(join(root, "library-path"))) return `it is not installed; ${howToInstall}`
  if (programs[server].some((program) => !existsSync(join(root, program)))) {
    return `parts of it are missing; remove the folder of the servers and ${howToInstall}`
  }
  if (onPython.includes(server))
    return existsSync(python) ? undefined : `${python} is missing; ${howToInstall}`
  return process.getuid?.() === 0 ? undefined : "it runs as root only, and the tests do not"
}

/** Why the server cannot be used here; `undefined` when it can. */
const unavailability = (server: ServerName): ServerUnavailable | undefined => {
  const reason = absence(server)
  return reason === undefined ? undefined : new ServerUnavailable({ server, reason })
}

/** The installation that holds the server. */
export const find = (server: ServerName): Effect.Effect<Installation, ServerUnavailable> =>
  Effect.suspend(() => {
    const error = unavailability(server)
    if (error !== undefined) return Effect.fail(error)
    const root = folder()
    const libraries = readFileSync(join(root, "library-path"), "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => join(root, line))
    return Effect.succeed({
      root,
      environment: {
        LD_LIBRARY_PATH: libraries.join(":"),
        PYTHONPATH: join(root, "usr/lib/python3/dist-packages"),
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        LANG: "C.UTF-8",
        TZ: "UTC"
      }
    })
  })

/**
 * A `describe` that needs servers. Where one is missing, the suite fails under CI=true; elsewhere it is skipped
 * under a name that says why and what to do.
 */
export const suite = (name: string, servers: ReadonlyArray<ServerName>, define: () => void): void => {
  const missing = servers.map(unavailability).filter((error) => error !== undefined)
  if (missing.length === 0) {
    describe(name, define)
    return
  }
  const why = missing.map((error) => error.message).join("; ")
  if (process.env["CI"] === "true") {
    describe(name, () => it("has the servers that it needs", () => expect.fail(why)))
    return
  }
  // The reporter counts what is skipped and does not say what it is.
  console.warn(`skipped: ${name} (${why})`)
  // Asked for: a missing server fails the suite in CI, and only there can it be expected.
  describe.skip(`${name} (${why})`, define)
}
