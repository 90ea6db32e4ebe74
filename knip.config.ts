/** Files, exports and dependencies that nothing uses are failures; `npm run unused`. */
import type { KnipConfig } from "knip"

const config: KnipConfig = {
  entry: [
    "src/*.ts",
    "examples/*.ts",
    ".ci/*.ts",
    "test/**/*.test.ts",
    // Started as processes of their own.
    "test/MailMessage/{largeAttachment,sink}.ts",
    "test/package/sendOnce.ts",
    "test/runtimes/send.ts",
    "test/bench/{encoder,hops,main}.ts",
    "test/bench/{hops,peers}/*.ts",
    "test/bench/sink/process.ts",
    "test/mutate/{main,runner,setup,vitest.config}.ts"
  ],
  project: ["src/**/*.ts", "test/**/*.ts", "examples/**/*.ts", ".ci/*.ts"],
  // The type of a function's argument or result is exported with it, whether or not it is named elsewhere.
  ignoreExportsUsedInFile: { interface: true, type: true },
  ignoreDependencies: [
    // Run by .ci/test.ts, test/package and test/runtimes by the names of their programs.
    "bun",
    "deno",
    "dependency-cruiser",
    "@arethetypeswrong/cli",
    // What vitest runs on: pinned.
    "vite"
  ]
}

export default config
