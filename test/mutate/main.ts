/**
 * `npm run mutate`: changes the code in small ways, one at a time, and sees whether a test fails.
 * `npm run mutate -- --help` names the options.
 */
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { argv, env, stderr, stdout } from "node:process"
import { parseArgs } from "node:util"
import { root } from "../../.ci/modules.js"
import { instrument } from "./mutants.js"
import type { Group } from "./groups.js"
import { filesOf, groups } from "./groups.js"
import { atItSince, forgetPlace, giveUp, mutantsIn, unsettled, verdictsIn } from "./progress.js"
import type { Report } from "./report.js"
import { compare, merge, readReport, reportOf, show } from "./report.js"

const usage = `usage: npm run mutate -- [MODULE OR FOLDER...] [--tests FILE OR FOLDER[,...]] [--runs N] [--limit SECONDS]
                         [--folder FOLDER] [--json FILE]
       npm run mutate -- --compare BEFORE.json AFTER.json

  --tests    judges the given modules by these tests; without it, by those of test/mutate/groups.ts
  --runs     limits the runs of each property test
  --limit    gives up a mutant after so many seconds; 120 without it
  --folder   where the run is kept: the same command goes on where an earlier one was cut off
  --json     writes what became of each mutant
  --compare  lists the mutants of the first report that the second does not kill; ends with 1 if there are any`

/** What a file of tests is told, beside its name. */
interface Settings {
  /** The runs of a property test, at most. */
  readonly runs: string | undefined
  /** A mutant that runs longer than this is in a loop that nothing else has ended. */
  readonly limitMillis: number
  /** The mutants of its own module alone. */
  readonly own: boolean
}

/** Runs one file of tests, in a process group of its own; gives whether it came to its end. */
const runFile = (folder: string, tests: string, { limitMillis, own, runs }: Settings): Promise<boolean> =>
  new Promise((resolve) => {
    forgetPlace(folder, tests)
    const args = ["run", "--config", "test/mutate/vitest.config.ts", tests]
    const child = spawn(join(root, "node_modules/.bin/vitest"), args, {
      cwd: root,
      env: {
        ...env,
        MUTATE_FOLDER: folder,
        MUTATE_TESTS: tests,
        ...(runs === undefined ? {} : { MUTATE_RUNS: runs }),
        ...(own ? { MUTATE_OWN: "yes" } : {})
      },
      stdio: "ignore",
      detached: true
    })
    const watch = setInterval(() => {
      if (atItSince(folder, tests) > limitMillis && child.pid !== undefined)
        process.kill(-child.pid, "SIGKILL")
    }, 1000)
    child.once("close", (code) => {
      clearInterval(watch)
      resolve(code !== null && unsettled(folder, tests) === undefined)
    })
  })

const judge = async (folder: string, tests: string, settings: Settings): Promise<void> => {
  while (!(await runFile(folder, tests, settings))) {
    const id = unsettled(folder, tests)
    if (id === undefined) throw new Error(`${tests} could not be run`)
    giveUp(folder, tests, id)
  }
}

const progress = (text: string): void => {
  if (stderr.isTTY) stderr.write(`\r\u001b[K${text}`)
}

const runGroup = async (
  { modules, tests }: Group,
  folder: string,
  settings: Omit<Settings, "own">
): Promise<Report> => {
  mkdirSync(folder, { recursive: true })
  const mutants = existsSync(join(folder, "mutants.json"))
    ? mutantsIn(folder)
    : await instrument(root, modules, folder)
  const stems = new Set(modules.map((file) => basename(file, ".ts")))
  const ownTests = tests.filter((file) => stems.has(basename(file, ".test.ts")))
  // Most mutants die by the tests of their own module: the others then have little left to do.
  const steps = [
    ...ownTests.map((file) => ({ file, own: true })),
    ...tests.map((file) => ({ file, own: false }))
  ]
  for (const [index, { file, own }] of steps.entries()) {
    progress(`${mutants.length} mutants: ${file}, ${index + 1} of ${steps.length}`)
    await judge(folder, file, { own, ...settings })
  }
  progress("")
  return reportOf(mutants, verdictsIn(folder))
}

const chosenGroups = (paths: ReadonlyArray<string>, tests: string | undefined): ReadonlyArray<Group> => {
  const missing = paths.filter((path) => !existsSync(join(root, path)))
  if (missing.length > 0) throw new Error(`there is no ${missing.join(", ")}`)
  const isChosen = (file: string): boolean =>
    paths.length === 0 ||
    paths.some((path) => file === path || file.startsWith(`${path.replace(/\/$/, "")}/`))
  if (tests !== undefined) {
    return [{ modules: filesOf(root, paths, ".ts"), tests: filesOf(root, tests.split(","), ".test.ts") }]
  }
  return groups(root)
    .map((group) => ({ ...group, modules: group.modules.filter(isChosen) }))
    .filter(({ modules }) => modules.length > 0)
}

const main = async (): Promise<number> => {
  const { positionals, values } = parseArgs({
    args: argv.slice(2),
    allowPositionals: true,
    options: {
      help: { type: "boolean" },
      tests: { type: "string" },
      json: { type: "string" },
      folder: { type: "string" },
      runs: { type: "string" },
      limit: { type: "string" },
      compare: { type: "boolean" }
    }
  })
  if (values.help === true) {
    stdout.write(`${usage}\n`)
    return 0
  }
  if (values.compare === true) {
    const [before, after] = positionals
    if (before === undefined || after === undefined || positionals.length > 2) throw new Error(usage)
    const { lost, text } = compare(readReport(before), readReport(after))
    stdout.write(text)
    return lost.length === 0 ? 0 : 1
  }
  const folder = values.folder ?? mkdtempSync(join(tmpdir(), "effect-smtplib-mutate-"))
  const settings = { runs: values.runs, limitMillis: Number(values.limit ?? 120) * 1000 }
  const reports: Array<Report> = []
  for (const [index, group] of chosenGroups(positionals, values.tests).entries()) {
    reports.push(await runGroup(group, join(folder, String(index)), settings))
  }
  if (values.folder === undefined) rmSync(folder, { recursive: true, force: true })
  const report = merge(reports)
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, undefined, 1)}\n`)
  stdout.write(show(report))
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 2
}
