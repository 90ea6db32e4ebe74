/**
 * Makes `dist`: the declarations by TypeScript, and the code by esbuild, in few files. Node spends most of a short
 * script's start on finding and opening modules, and there are over a hundred of them.
 */
import { build } from "esbuild"
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
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

// The constructors of Data.TaggedError name a type that Effect has since 3.20; before that it was written out.
const withoutNewTypes = (declarations: string): string =>
  declarations.replace(
    /import\("effect\/Types"\)\.VoidIfEmpty<(\{[^{}]*\})>/g,
    'import("effect/Types").Equals<A, {}> extends true ? void : $1'
  )

const declare = (folder: string): void => {
  execFileSync(execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"], {
    cwd: root,
    stdio: "inherit"
  })
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".d.ts")) continue
    const file = join(folder, name)
    writeFileSync(file, withoutNewTypes(readFileSync(file, "utf8")))
  }
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(join(root, "dist"), { recursive: true, force: true })
  declare(join(root, "dist"))
  await bundle(join(root, "dist"))
}
