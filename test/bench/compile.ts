/**
 * Makes JavaScript of the library, the sink and the peers once, before anything is measured: what a user installs is
 * JavaScript, and a loader of TypeScript would add to the start, the memory and the CPU time of each process.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import ts from "typescript"
import { bundle } from "../../.ci/build.js"

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

/** A new folder inside the project, where packages are found. */
export const makeFolder = (root: string): string => {
  mkdirSync(join(root, ".tmp"), { recursive: true })
  return mkdtempSync(join(root, ".tmp", "bench-"))
}

/** Makes JavaScript of the modules of one folder of a checkout, a file for each. */
export const compileModules = (root: string, folder: string, room: string): void => {
  const files = readdirSync(join(root, room), { recursive: true, encoding: "utf8" }).filter(isProgram)
  for (const file of files) {
    compileFile(join(root, room, file), join(folder, room, file.replace(/\.ts$/, ".js")))
  }
}

/** Puts the library, as it is published, and `test/bench` as JavaScript into a folder. */
export const compile = async (root: string, folder: string, library = bundle): Promise<void> => {
  compileModules(root, folder, "test/bench")
  await library(join(folder, "src"))
}
