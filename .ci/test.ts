/**
 * Every check of the project, whatever became of the ones before: types, lint, format, structure, tests, package.
 * Ends with 1 when any failed. `npm test -- lint structure` runs only those named.
 *
 * With TEST_COUNTS set, the file that it names gets {"passed":n,"failed":n}: each test counts, and each other
 * check counts as one.
 */
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { argv, env, exit, stdout } from "node:process"
import { root } from "./modules.js"

interface Counts {
  readonly passed: number
  readonly failed: number
}

interface Step {
  readonly name: string
  readonly run: () => Promise<Counts>
}

interface Result extends Counts {
  readonly name: string
  readonly seconds: number
}

interface Finished {
  readonly ok: boolean
  readonly output: string
}

const scratch = mkdtempSync(join(tmpdir(), "effect-smtplib-test-"))

const execute = (name: string, args: ReadonlyArray<string>, output: "inherit" | "pipe"): Promise<Finished> =>
  new Promise((resolve) => {
    const command = join(root, "node_modules", ".bin", name)
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", output, output] })
    const chunks: Array<Buffer> = []
    child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk))
    child.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk))
    const finish = (ok: boolean, rest: string): void => {
      resolve({ ok, output: Buffer.concat(chunks).toString("utf8") + rest })
    }
    child.once("error", (error) => {
      finish(false, `${name}: ${error.message}; run \`npm ci\` first\n`)
    })
    child.once("close", (code) => {
      finish(code === 0, "")
    })
  })

const heading = (name: string): string => `\n# ${name}\n`

/** A check that has one result, and prints it when it is there: two of them run at a time. */
const check = (name: string, command: string, ...args: ReadonlyArray<string>): Step => ({
  name,
  run: async () => {
    const { ok, output } = await execute(command, args, "pipe")
    stdout.write(heading(name) + (ok ? "ok\n" : output))
    return ok ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
  }
})

const field = (report: unknown, name: string): number => {
  const value: unknown = typeof report === "object" && report !== null ? Reflect.get(report, name) : undefined
  return typeof value === "number" ? value : 0
}

const readReport = (file: string): Counts => {
  try {
    const report: unknown = JSON.parse(readFileSync(file, "utf8"))
    return { passed: field(report, "numPassedTests"), failed: field(report, "numFailedTests") }
  } catch {
    return { passed: 0, failed: 0 }
  }
}

/** A run of vitest, whose output is shown as it comes. */
const vitest = (name: string, ...args: ReadonlyArray<string>): Step => ({
  name,
  run: async () => {
    stdout.write(heading(name))
    const file = join(scratch, `${name}.json`)
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`]
    const { ok, output } = await execute("vitest", ["run", ...reporters, ...args], "inherit")
    stdout.write(output)
    const { failed, passed } = readReport(file)
    // A file that cannot be loaded and an error outside every test fail the run without a failed test.
    return { passed, failed: ok ? failed : Math.max(failed, 1) }
  }
})

const sources = ["src", "examples", "bench"].filter((directory) => existsSync(join(root, directory)))

const checks: ReadonlyArray<Step> = [
  check("lint", "eslint", "."),
  check("types", "tsc", "--noEmit"),
  check("unused", "knip"),
  check("format", "prettier", "--check", "--log-level=warn", "."),
  check(
    "structure",
    "depcruise",
    "--config",
    ".dependency-cruiser.cjs",
    "--output-type",
    "err-long",
    ...sources
  )
]

const tests: ReadonlyArray<Step> = [
  vitest("tests", "--exclude", "test/package/**", "--exclude", "test/runtimes/**"),
  vitest("package", "test/package"),
  // 15 seconds: Node.js, Deno and Bun, each twice.
  vitest("runtimes", "test/runtimes")
]

const names = argv.slice(2)
const known = [...checks, ...tests].map(({ name }) => name)
const strange = names.filter((name) => !known.includes(name))
if (strange.length > 0) {
  stdout.write(`There is no check ${strange.join(", ")}: choose from ${known.join(", ")}\n`)
  exit(2)
}
const chosen = ({ name }: Step): boolean => names.length === 0 || names.includes(name)

const results: Array<Result> = []
const work = async (queue: Array<Step>): Promise<void> => {
  for (let step = queue.shift(); step !== undefined; step = queue.shift()) {
    const begin = performance.now()
    const counts = await step.run()
    results.push({ name: step.name, ...counts, seconds: (performance.now() - begin) / 1000 })
  }
}

const queue = checks.filter(chosen)
await Promise.all([work(queue), work(queue)])
await work(tests.filter(chosen))
rmSync(scratch, { recursive: true, force: true })

const sum = (key: keyof Counts): number => results.reduce((total, result) => total + result[key], 0)
const passed = sum("passed")
const failed = sum("failed")

stdout.write("\n")
for (const result of results) {
  const verdict = result.failed === 0 ? "ok" : `FAILED (${result.failed})`
  stdout.write(`${result.name.padEnd(10)} ${result.seconds.toFixed(1).padStart(6)} s  ${verdict}\n`)
}
stdout.write(`${passed} passed, ${failed} failed\n`)

if (env["TEST_COUNTS"] !== undefined) {
  writeFileSync(env["TEST_COUNTS"], `${JSON.stringify({ passed, failed })}\n`)
}
exit(failed === 0 ? 0 : 1)
