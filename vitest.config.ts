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
    // Files share a process: to load Effect anew for each costs more than most of them take.
    pool: "forks",
    poolOptions: { forks: { isolate: false, minForks: 1, maxForks: 2 } },
    testTimeout: 20_000,
    hookTimeout: 120_000
  }
})
