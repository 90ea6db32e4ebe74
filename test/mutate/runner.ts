/**
 * Judges the mutants by one file of tests, in one process: runs the file as it is to see which test reaches which
 * mutant, then once more for each mutant that is still alive, with the tests that reach it, up to the first failure.
 */
import type { RunnerTask, RunnerTestCase, RunnerTestFile, RunnerTestSuite } from "vitest"
import { startTests } from "vitest/internal/browser"
import { VitestTestRunner } from "vitest/runners"
import { alive, begin, settle } from "./progress.js"
import { activate, covered, isStatic, limitSteps, record } from "./switches.js"

type Config = ConstructorParameters<typeof VitestTestRunner>[0]

/** The types of vitest do not say that it is one. */
const isRunner = (value: unknown): value is Parameters<typeof startTests>[1] =>
  value instanceof VitestTestRunner

const own = /\/(src|test)\//

/** Forgets what was loaded, so that it is evaluated again: the file of tests alone, or with all modules of the project. */
const forget = (file: string, all: boolean): void => {
  const worker: unknown = Reflect.get(globalThis, "__vitest_worker__")
  const cache: unknown =
    typeof worker === "object" && worker !== null ? Reflect.get(worker, "moduleCache") : undefined
  if (!(cache instanceof Map)) throw new Error("vitest keeps its modules elsewhere")
  for (const name of [...cache.keys()].map(String)) {
    if (
      name === file ||
      (all && own.test(name) && !name.includes("node_modules") && !name.includes("/test/mutate/"))
    ) {
      cache.delete(name)
    }
  }
}

const testsOf = (tasks: ReadonlyArray<RunnerTask>): ReadonlyArray<RunnerTestCase> =>
  tasks.flatMap((task) => (task.type === "suite" ? testsOf(task.tasks) : [task]))

/** Runs chosen tests of a file without a word to anybody, and stops at the first that fails. */
class Trial extends VitestTestRunner {
  /** The name of the test that failed. */
  failed: string | undefined
  constructor(
    config: Config,
    readonly isChosen: (test: RunnerTestCase) => boolean,
    readonly baseline: ReadonlyMap<string, number>
  ) {
    super(config)
  }
  onCollected(files: ReadonlyArray<RunnerTestFile>): void {
    for (const file of files) {
      if (file.result?.state === "fail") this.failed ??= "the file could not be loaded"
      this.arrange(file)
    }
  }
  /** Leaves out what does not reach the mutant, and puts the quick tests first. */
  arrange(suite: RunnerTestSuite): number {
    let time = 0
    const times = new Map<RunnerTask, number>()
    for (const task of suite.tasks) {
      if (task.type === "test" && !this.isChosen(task)) task.mode = "skip"
      const own = task.type === "suite" ? this.arrange(task) : (this.baseline.get(task.id) ?? 0)
      times.set(task, own)
      time += own
    }
    suite.tasks.sort((a, b) => (times.get(a) ?? 0) - (times.get(b) ?? 0))
    return time
  }
  override onBeforeRunTask(test: RunnerTestCase): Promise<void> {
    if (this.failed !== undefined) test.mode = "skip"
    limitSteps(test.id)
    return super.onBeforeRunTask(test)
  }
  override onAfterRunTask(test: RunnerTestCase): void {
    if (test.result?.state === "fail") this.failed ??= test.name
    super.onAfterRunTask(test)
  }
  override onAfterRunSuite(suite: RunnerTestSuite): Promise<void> {
    if (suite.result?.state === "fail") this.failed ??= suite.name
    return Promise.resolve()
  }
}

export default class MutationRunner extends VitestTestRunner {
  readonly times = new Map<string, number>()

  override async onBeforeRunTask(test: RunnerTestCase): Promise<void> {
    await super.onBeforeRunTask(test)
    record(test.id)
  }

  override onAfterRunTask(test: RunnerTestCase): void {
    record(undefined)
    if (test.result?.state === "pass") this.times.set(test.id, test.result.duration ?? 0)
    super.onAfterRunTask(test)
  }

  /** Every mutant that is still alive and that this file reaches. */
  async judge(file: RunnerTestFile): Promise<void> {
    const tests = testsOf(file.tasks).map(({ id }) => id)
    const slowest = Math.max(0, ...this.times.values())
    const config = { ...this.config, testTimeout: Math.max(10_000, 10 * slowest) }
    for (const { id } of alive()) {
      const everything = isStatic(id)
      const reaching = new Set(
        tests.filter((test) => this.times.has(test) && (everything || covered(test).has(id)))
      )
      if (reaching.size === 0) continue
      begin(id)
      const trial = new Trial(config, (test) => reaching.has(test.id), this.times)
      Object.defineProperty(trial, "__vitest_executor", { value: Reflect.get(this, "__vitest_executor") })
      forget(file.filepath, everything)
      activate(id)
      if (isRunner(trial)) await startTests([{ filepath: file.filepath, testLocations: undefined }], trial)
      activate(undefined)
      settle(id, trial.failed)
      if (everything) forget(file.filepath, true)
    }
  }

  override async onAfterRunSuite(suite: RunnerTestSuite): Promise<void> {
    await super.onAfterRunSuite(suite)
    if ("filepath" in suite) await this.judge(suite.file)
  }
}
