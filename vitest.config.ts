import { fileURLToPath } from "node:url"
import type { Plugin } from "vitest/config"
import { defineConfig } from "vitest/config"

const src = fileURLToPath(new URL("./src", import.meta.url))

/**
 * Answers `import("package")` in src by an import of its file. Otherwise vitest asks its main process where the package
 * is, each time, and a test that moves its clock meanwhile moves it before the library has begun to wait.
 */
const packagesAtOnce: Plugin = {
  name: "packages-at-once",
  enforce: "pre",
  transform: (code, id) => {
    if (!id.startsWith(`${src}/`)) return undefined
    const names: Array<string> = []
    const text = code.replace(/\bimport\("([^."][^"]*)"\)/g, (_, name: string) => {
      names.push(name)
      return `Promise.resolve(package${names.length})`
    })
    return text + names.map((name, index) => `\nimport * as package${index + 1} from "${name}"`).join("")
  }
}

export default defineConfig({
  plugins: [packagesAtOnce],
  resolve: {
    alias: [
      { find: /^effect-smtplib$/, replacement: `${src}/index.ts` },
      { find: /^effect-smtplib\/(.*)$/, replacement: `${src}/$1.ts` }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/support/preload.ts"],
    // A process for each file: what one leaves behind in Effect's globals cannot reach another.
    pool: "forks",
    poolOptions: { forks: { minForks: 1, maxForks: 2 } },
    // Enough for the compiler to look at every example on a busy machine; no test waits for anything.
    testTimeout: 60_000,
    hookTimeout: 120_000
  }
})
