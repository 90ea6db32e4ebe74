/**
 * Makes `dist`: the declarations by TypeScript, and the code by esbuild, in few files. Node spends most of a short
 * script's start on finding and opening modules, and there are over a hundred of them.
 */
import { build } from "esbuild"
import { execFileSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { argv, execPath } from "node:process"
import { fileURLToPath } from "node:url"
import { publicModules, root } from "./modules.js"

/** Every public module in a file of its name, what they share in `chunks`, and packages where they are. */
export const bundle = async (folder: string): Promise<void> => {
  await build({
    entryPoints: ["index", ...publicModules()].map((name) => join(root, "src", `${name}.ts`)),
    outdir: folder,
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    splitting: true,
    packages: "external",
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: true,
    sourcesContent: false,
    logLevel: "warning"
  })
}

const declare = (): void => {
  execFileSync(execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"], {
    cwd: root,
    stdio: "inherit"
  })
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(join(root, "dist"), { recursive: true, force: true })
  declare()
  await bundle(join(root, "dist"))
}
