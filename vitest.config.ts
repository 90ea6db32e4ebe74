import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const src = fileURLToPath(new URL("./src", import.meta.url))

export default defineConfig({
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
