/**
 * Makes JavaScript of the library, the sink and the peers once, before anything is measured: what a user installs is
 * JavaScript, and a loader of TypeScript would add to the start, the memory and the CPU time of each process.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import ts from "typescript"

export interface Compiled {
  /** The folder that has `src` and `test/bench` as JavaScript. */
  readonly folder: string
  readonly remove: () => void
}

const isProgram = (name: string): boolean => name.endsWith(".ts") && !/\.(test|d)\.ts$/.test(name)

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true
}

const compileFile = (from: string, to: string): void => {
  const { outputText } = ts.transpileModule(readFileSync(from, "utf8"), { compilerOptions: options })
  mkdirSync(dirname(to), { recursive: true })
  writeFileSync(to, outputText)
}

/** Compiles into a new folder inside the project, where packages are found. */
export const compile = (root: string): Compiled => {
  mkdirSync(join(root, ".tmp"), { recursive: true })
  const folder = mkdtempSync(join(root, ".tmp", "bench-"))
  for (const room of ["src", "test/bench"]) {
    const files = readdirSync(join(root, room), { recursive: true, encoding: "utf8" }).filter(isProgram)
    for (const file of files) {
      compileFile(join(root, room, file), join(folder, room, file.replace(/\.ts$/, ".js")))
    }
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
