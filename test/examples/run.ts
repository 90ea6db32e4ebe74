/**
 * Runs an example in a process of its own.
 */
import { afterAll, beforeAll } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import { execFile } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../.ci/modules.js"

export interface Finished {
  readonly code: number | string | null | undefined
  readonly stdout: string
  readonly stderr: string
}

const run = (
  program: ReadonlyArray<string>,
  environment: Readonly<Record<string, string>>
): Effect.Effect<Finished> =>
  Effect.async((resume) => {
    const child = execFile(
      process.execPath,
      [...program],
      { cwd: root, env: { PATH: process.env["PATH"], ...environment } },
      (error, stdout, stderr) => {
        resume(Effect.succeed({ code: error === null ? 0 : error.code, stdout, stderr }))
      }
    )
    return Effect.sync(() => {
      child.kill()
    })
  })

/** `environment` is all that the program has, besides the way to its commands. */
type Run = (
  name: string,
  args?: ReadonlyArray<string>,
  environment?: Readonly<Record<string, string>>
) => Effect.Effect<Finished>

/** From the sources, as its user does. */
export const runExample: Run = (name, args = [], environment = {}) =>
  run(["--import", "tsx", `examples/${name}.ts`, ...args], environment)

/** Compiles the examples with the library, below the checkout, where packages are found. */
const compile = async (): Promise<string> => {
  mkdirSync(join(root, ".tmp"), { recursive: true })
  const folder = mkdtempSync(join(root, ".tmp", "examples-"))
  const files = readdirSync(join(root, "examples"), { withFileTypes: true }).filter((file) => file.isFile())
  const isProgram = ({ name }: { readonly name: string }): boolean => name.endsWith(".ts")
  for (const { name } of files.filter((file) => !isProgram(file))) {
    copyFileSync(join(root, "examples", name), join(folder, name))
  }
  await build({
    entryPoints: files.filter(isProgram).map(({ name }) => join(root, "examples", name)),
    outdir: folder,
    bundle: true,
    splitting: true,
    packages: "external",
    format: "esm",
    platform: "node",
    target: "node20",
    tsconfig: join(root, "tsconfig.json"),
    logLevel: "warning"
  })
  return folder
}

/** Compiles the examples before the tests of a file, for programs that are run often: they start in a third of the time. */
export const compiledExamples = (): Run => {
  let folder = ""
  beforeAll(async () => {
    folder = await compile()
  })
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  return (name, args = [], environment = {}) => run([join(folder, `${name}.js`), ...args], environment)
}
