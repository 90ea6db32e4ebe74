/** A send over STARTTLS with AUTH on runtimes other than Node.js, from the packages `deno` and `bun`. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { build } from "esbuild"
import { execFile } from "node:child_process"
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { root } from "../../.ci/modules.js"
import * as NodeSmtpTest from "../../src/NodeSmtpTest.js"
import { makeCertificates } from "../servers/certificates.js"

const run = promisify(execFile)

/** The program in one file, with packages where they are. */
const bundled = Effect.acquireRelease(
  Effect.promise(async () => {
    const folder = await mkdtemp(join(tmpdir(), "effect-smtplib-runtimes-"))
    await symlink(join(root, "node_modules"), join(folder, "node_modules"), "dir")
    await writeFile(join(folder, "package.json"), '{ "type": "module" }')
    await build({
      entryPoints: [join(root, "test/runtimes/send.ts")],
      outdir: folder,
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      alias: { "effect-smtplib": join(root, "src/index.ts") },
      external: ["effect", "@effect/platform", "@mongodb-js/saslprep"]
    })
    return folder
  }),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const runtimes = {
  node: ["node"],
  deno: ["deno", "run", "--quiet", "--no-lock", "--node-modules-dir=manual", "--allow-all"],
  bun: ["bun", "run"]
} as const

describe("a send over STARTTLS with AUTH", () => {
  for (const [name, [program, ...args]] of Object.entries(runtimes)) {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      it.scopedLive(`runs on ${name}, ${version}`, () =>
        Effect.gen(function* () {
          const made = yield* makeCertificates()
          const { port, server } = yield* NodeSmtpTest.server({
            tls: { cert: made.certificate, key: made.key, maxVersion: version },
            authenticate: ({ password }) => Redacted.value(password) === "pässword"
          })
          const folder = yield* bundled
          const authority = join(folder, "ca.pem")
          const { stdout } = yield* Effect.promise(async () => {
            await writeFile(authority, made.ca)
            return run(program, [...args, join(folder, "send.js"), String(port), authority, "pässword"], {
              cwd: folder,
              env: {
                ...process.env,
                PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"] ?? ""}`
              },
              timeout: 30_000
            })
          })
          expect(stdout.trim()).toBe(`${version} verified Accepted Accepted Certificate`)
          expect(yield* server.messages).toMatchObject([
            { user: "app", secured: true },
            { user: "app", secured: true }
          ])
        })
      )
    }
  }
})
