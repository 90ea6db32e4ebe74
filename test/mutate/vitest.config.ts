import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { env } from "node:process"
import { fileURLToPath } from "node:url"
import type { Plugin } from "vitest/config"
import { defineConfig } from "vitest/config"
import base from "../../vitest.config.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = env["MUTATE_FOLDER"] ?? ""

/** Gives the instrumented text of a module where there is one. */
const instrumented: Plugin = {
  name: "instrumented",
  enforce: "pre",
  load: (id) => {
    const path = id.startsWith(root) ? join(folder, id.slice(root.length)) : ""
    return path !== "" && existsSync(path) ? readFileSync(path, "utf8") : undefined
  }
}

const runs = env["MUTATE_RUNS"]

/** Limits the runs of each property test: with a mutant in the code most fail in the first few. */
const fewerRuns: Plugin = {
  name: "fewer-runs",
  enforce: "pre",
  transform: (code, id) =>
    runs === undefined || !id.endsWith(".test.ts")
      ? undefined
      : code.replace(/\bnumRuns: ([^,}\n]+)/g, `numRuns: Math.min($1, ${runs})`)
}

export default defineConfig({
  ...base,
  root,
  plugins: [instrumented, fewerRuns, ...(base.plugins ?? [])],
  test: {
    ...base.test,
    runner: join(root, "test/mutate/runner.ts"),
    setupFiles: [join(root, "test/mutate/setup.ts")],
    poolOptions: { forks: { minForks: 1, maxForks: 1 } },
    reporters: ["dot"],
    silent: true,
    dangerouslyIgnoreUnhandledErrors: true
  }
})
