import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { env, execPath } from "node:process"
import { promisify } from "node:util"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import ts from "typescript"
import { startSmtpServer } from "../support/smtpServer.js"
import { exportsMap, manifestText, optionalPeers, publicModules, root } from "../../.ci/modules.js"

// What a user gets: the tarball, unpacked into a project that has the required peers and no optional one.

const run = promisify(execFile)
const modules = publicModules()
const needy = [...optionalPeers].map(([name, peers]) => [`effect-smtplib/${name}`, peers] as const)
const subpaths = Object.entries(exportsMap())
  .filter(([, target]) => target !== null && typeof target === "object")
  .map(([subpath]) => subpath.replace(/^\./, "effect-smtplib"))
  .filter((subpath) => !needy.some(([specifier]) => specifier === subpath))

const manifest: unknown = JSON.parse(manifestText())
const get = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined
const keysOf = (value: unknown): ReadonlyArray<string> =>
  typeof value === "object" && value !== null ? Object.keys(value) : []

/** Packages that the unpacked one may import; each finds its own dependencies in our node_modules. */
const installed = ["effect", "@effect/platform", ...keysOf(get(manifest, "dependencies"))]

let project = ""
/** The same with the optional peers. */
let complete = ""
let tarball = ""

// What a command printed says more than that it failed.
const fail = (error: unknown): never => {
  const output = ["stdout", "stderr"].map((name) => String(get(error, name))).join("")
  throw new Error(output, { cause: error })
}

const install = async (folder: string, name: string): Promise<void> => {
  const path = join(folder, "node_modules", name)
  await mkdir(dirname(path), { recursive: true })
  await symlink(join(root, "node_modules", name), path, "dir")
}

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "effect-smtplib-package-"))
  await mkdir(join(project, "node_modules"))
  // `npm pack` runs the build first.
  await run("npm", ["pack", "--pack-destination", project], { cwd: root }).catch(fail)
  const name = (await readdir(project)).find((file) => file.endsWith(".tgz"))
  tarball = join(project, name ?? "no tarball")
  await run("tar", ["-xzf", tarball, "-C", project])
  await rename(join(project, "package"), join(project, "node_modules", "effect-smtplib"))
  for (const dependency of installed) await install(project, dependency)
  complete = await mkdtemp(join(tmpdir(), "effect-smtplib-package-"))
  const unpacked = join("node_modules", "effect-smtplib")
  await cp(join(project, unpacked), join(complete, unpacked), { recursive: true })
  const peers = new Set([...optionalPeers.values()].flat())
  for (const dependency of [...installed, ...peers]) await install(complete, dependency)
})

afterAll(() => Promise.all([project, complete].map((folder) => rm(folder, { recursive: true, force: true }))))

interface Imported {
  readonly ok: boolean
  readonly code: string
  /** Every module that was loaded, as the end of its path behind node_modules. */
  readonly loaded: ReadonlyArray<string>
}

// The hook writes to the descriptor, since its thread has no other way out.
const hook = `import { writeSync } from "node:fs"
export const load = (url, context, next) => { writeSync(2, "loaded " + url + "\\n"); return next(url, context) }`

const script = (specifier: string): string => `import { register } from "node:module"
register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)})
import(${JSON.stringify(specifier)}).then(
  () => { process.stdout.write("ok") },
  (error) => { process.stdout.write(String(error.code) + " " + error.message) }
)`

const importInProject = async (specifier: string, cwd = project): Promise<Imported> => {
  const { stderr, stdout } = await run(execPath, ["--input-type=module", "--eval", script(specifier)], {
    cwd,
    env: { PATH: env["PATH"] },
    maxBuffer: 16_777_216
  })
  const loaded = [...stderr.matchAll(/^loaded file:.*\/node_modules\/(\S+)$/gm)].map(
    (match) => match[1] ?? ""
  )
  return { ok: stdout === "ok", code: stdout, loaded }
}

describe("the tarball", () => {
  it("holds the modules, their types and sources, and nothing of the workshop", async () => {
    const { stdout } = await run("tar", ["-tzf", tarball])
    const files = stdout.split("\n").filter((file) => file !== "")
    const top = new Set(files.map((file) => file.split("/")[1]))
    expect([...top].sort()).toStrictEqual([
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "dist",
      "package.json",
      "src"
    ])
    for (const name of modules) {
      expect(files).toEqual(
        expect.arrayContaining([
          `package/dist/${name}.js`,
          `package/dist/${name}.d.ts`,
          `package/src/${name}.ts`
        ])
      )
    }
  })

  it("has no problem that publint knows of", async () => {
    const octets = await readFile(tarball)
    const buffer = new Uint8Array(octets).buffer
    const { messages, pkg } = await publint({ pack: { tarball: buffer }, strict: true, level: "suggestion" })
    expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toStrictEqual([])
  })

  it("has types that resolve as its modules do, for ESM and for bundlers", async () => {
    const attw = join(root, "node_modules", ".bin", "attw")
    await run(attw, [tarball, "--profile", "esm-only", "--format", "ascii", "--no-color"]).catch(fail)
  })
})

describe("in a project without the optional peers", () => {
  it.concurrent.each(subpaths)("%s can be imported, and loads no barrel of Effect", async (specifier) => {
    const { code, loaded, ok } = await importInProject(specifier)
    expect(ok, code).toBe(true)
    expect(loaded).toContainEqual(expect.stringMatching(/^effect-smtplib\/dist\//))
    expect(
      loaded.filter((path) => /^(effect|@effect\/[^/]+)\/dist\/[^/]+\/index\.js$/.test(path))
    ).toStrictEqual([])
  })

  it.concurrent.each([
    "effect-smtplib/internal/effect/cause",
    "effect-smtplib/protocol/Reply",
    "effect-smtplib/dist/index.js"
  ])("%s cannot be imported", async (specifier) => {
    const { code } = await importInProject(specifier)
    expect(code).toContain("ERR_PACKAGE_PATH_NOT_EXPORTED")
  })

  it.concurrent.each(needy)("%s names the one that it misses", async (specifier, peers) => {
    const { code, ok } = await importInProject(specifier)
    expect(ok).toBe(false)
    expect(code).toMatch(/^ERR_MODULE_NOT_FOUND /)
    expect(peers.some((peer) => code.includes(`'${peer}'`))).toBe(true)
  })

  it.concurrent.each(needy)("%s can be imported once they are there", async (specifier) => {
    const { code, loaded, ok } = await importInProject(specifier, complete)
    expect(ok, code).toBe(true)
    expect(
      loaded.filter((path) => /^(effect|@effect\/[^/]+)\/dist\/[^/]+\/index\.js$/.test(path))
    ).toStrictEqual([])
  })

  it("SmtpSchema loads Schema, which takes over 100 ms, and the barrel does not", async () => {
    const schema = "effect/dist/esm/Schema.js"
    expect((await importInProject("effect-smtplib/SmtpSchema")).loaded).toContain(schema)
    expect((await importInProject("effect-smtplib")).loaded).not.toContain(schema)
  })

  it.concurrent.each(["MailMessage", "Mailer", "Dkim"])(
    "%s loads neither Schema nor @effect/platform",
    async (name) => {
      const { loaded, ok } = await importInProject(`effect-smtplib/${name}`, complete)
      expect(ok).toBe(true)
      expect(
        loaded.filter((path) => /^effect\/dist\/esm\/Schema\.js$|^@effect\/platform/.test(path))
      ).toStrictEqual([])
    }
  )

  it.concurrent.each(["SmtpSession", "SmtpError", "NodeSmtp"].filter((name) => modules.includes(name)))(
    "%s loads neither Stream nor Schema",
    async (name) => {
      const { loaded } = await importInProject(`effect-smtplib/${name}`)
      expect(loaded.filter((path) => /^effect\/dist\/esm\/(Stream|Schema)\.js$/.test(path))).toStrictEqual([])
    }
  )
})

describe("a test inbox without postal-mime", () => {
  const program = `import * as Effect from "effect/Effect"
import { SmtpClient } from "effect-smtplib"
import * as SmtpTest from "effect-smtplib/SmtpTest"
const test = Effect.gen(function* () {
  const client = yield* SmtpClient.SmtpClient
  yield* client.send({ from: "a@x.test", to: "b@y.test", content: "Subject: hi\\r\\n\\r\\nHello.\\r\\n" })
  const inbox = yield* SmtpTest.SmtpTest
  const [first] = yield* inbox.messages
  const error = yield* Effect.flip(inbox.waitFor(() => true, "1 second"))
  return first.source + error._tag + " " + error.reason + ": " + error.message
})
process.stdout.write(await Effect.runPromise(Effect.provide(test, SmtpTest.layerClient())))`

  it("has the sources, and says what to install", async () => {
    const { stdout } = await run(execPath, ["--input-type=module", "--eval", program], { cwd: project })
    expect(stdout).toBe(
      "Subject: hi\r\n\r\nHello.\r\nInboxError ParserMissing: Cannot parse the message: the package postal-mime is not installed. " +
        "Run `npm install --save-dev postal-mime@4`, or read `source` of `messages`."
    )
  })
})

describe("the first program of the README", () => {
  const firstProgram = async (): Promise<string> => {
    const readme = await readFile(join(root, "README.md"), "utf8")
    const code = /^```ts\n([^]*?)^```/m.exec(readme)?.[1] ?? ""
    const { outputText } = ts.transpileModule(code, {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 }
    })
    await writeFile(join(complete, "first.mjs"), outputText)
    await install(complete, "@effect/platform-node").catch(() => undefined)
    return join(complete, "first.mjs")
  }

  const runFirst = (port: number) =>
    Effect.promise(async () => {
      const variables = { SMTP_HOST: "127.0.0.1", SMTP_PORT: String(port), SMTP_TLS: "none" }
      const options = {
        cwd: complete,
        env: { PATH: env["PATH"], ...variables, MAIL_FROM: "The App <app@example.com>" }
      }
      const path = await firstProgram()
      return run(execPath, [path], options).then(
        ({ stdout }) => ({ code: 0, stdout }),
        (error: unknown) => ({ code: get(error, "code"), stdout: String(get(error, "stdout")) })
      )
    })

  it.scopedLive("sends a valid message", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer()
      const { code, stdout } = yield* runFirst(server.port)
      expect(stdout).toContain("Accepted")
      expect(code).toBe(0)
      const [message] = yield* server.accepted
      const text = Buffer.from(message?.octets ?? []).toString()
      for (const field of [
        "From: The App <app@example.com>",
        "Date: ",
        "Message-ID: <",
        "To: Ann <ann@example.net>"
      ]) {
        expect(text).toContain(field)
      }
    })
  )

  it.scopedLive("ends with 1 if nobody was accepted", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer({
        server: { onRcptTo: (_address, _session, callback) => callback(new Error("no such user")) }
      })
      const { code, stdout } = yield* runFirst(server.port)
      expect(stdout).toContain("RecipientsRefused")
      expect(code).toBe(1)
    })
  )
})

/** The lowest version that a range allows: `^3.17.0` and `>=0.90.0 <1` begin with theirs. */
const lowest = (name: string): string => {
  const range = String(get(get(manifest, "peerDependencies"), name))
  return `${name}@${/\d+\.\d+\.\d+/.exec(range)?.[0] ?? range}`
}

/** Projects with packages from the registry, each in a folder of its own. */
const folders: Array<string> = []

const installFromRegistry = async (...packages: ReadonlyArray<string>): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "effect-smtplib-peers-"))
  folders.push(folder)
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  const quietly = ["--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"]
  await run("npm", ["install", ...quietly, tarball, ...packages], { cwd: folder }).catch(fail)
  return folder
}

const compile = async (folder: string, files: ReadonlyArray<string>): Promise<void> => {
  const compilerOptions = {
    module: "NodeNext",
    target: "ES2022",
    strict: true,
    exactOptionalPropertyTypes: true,
    types: ["node"],
    typeRoots: [join(root, "node_modules", "@types")]
  }
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }))
  await run(execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder]).catch(fail)
}

describe("with the lowest versions of its peers", () => {
  afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))))

  // Two installs from the registry and two runs of the compiler: half a minute, on a machine that does nothing else.
  const timeout = 300_000

  it.scopedLive(
    "every module has sound types, and a message is sent",
    () =>
      Effect.gen(function* () {
        const server = yield* startSmtpServer()
        const { stdout } = yield* Effect.promise(async () => {
          const names = ["effect", "@effect/platform", "nodemailer", "socks"]
          const folder = await installFromRegistry(...names.map(lowest))
          const others = modules.filter((name) => name !== "SmtpRateLimitStore")
          const imports = others.map((name) => `export * as ${name} from "effect-smtplib/${name}"`)
          await writeFile(join(folder, "all.ts"), imports.join("\n"))
          await cp(join(root, "test/package/sendOnce.ts"), join(folder, "sendOnce.ts"))
          await compile(folder, ["all.ts", "sendOnce.ts"])
          await run(execPath, ["all.js"], { cwd: folder }).catch(fail)
          return run(execPath, ["sendOnce.js", String(server.port)], { cwd: folder }).catch(fail)
        })
        expect(stdout.trim()).toBe("Accepted Accepted Accepted Receipt")
        expect(yield* server.accepted).toHaveLength(4)
      }),
    timeout
  )

  it("SmtpRateLimitStore has sound types, and loads", { timeout }, async () => {
    const folder = await installFromRegistry(lowest("@effect/experimental"))
    await writeFile(join(folder, "store.ts"), 'export * as Store from "effect-smtplib/SmtpRateLimitStore"')
    await compile(folder, ["store.ts"])
    await run(execPath, ["store.js"], { cwd: folder }).catch(fail)
  })
})

describe("CHANGELOG.md", () => {
  it("has a section for the version of package.json", async () => {
    const changes = await readFile(join(root, "CHANGELOG.md"), "utf8")
    expect(changes).toContain(`## [${String(get(manifest, "version"))}]`)
  })
})
