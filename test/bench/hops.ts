/**
 * `npm run hops`: how many functions in how many modules of src one warm message runs through: what a reader has to
 * follow, and what the processor does.
 *
 * `npm run hops -- --list` names them; `npm run hops -- FOLDER` looks at another checkout.
 */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { argv, execPath } from "node:process"
import { root } from "../../.ci/modules.js"
import { compileModules, makeFolder } from "./compile.js"

const args = argv.slice(2)
const checkout = resolve(args.find((arg) => !arg.startsWith("--")) ?? root)
const folder = makeFolder(root)
try {
  compileModules(root, folder, "test/bench")
  compileModules(checkout, folder, "src")
  const { status } = spawnSync(execPath, [join(folder, "test/bench/hops/run.js"), ...args], {
    stdio: "inherit"
  })
  process.exitCode = status ?? 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
