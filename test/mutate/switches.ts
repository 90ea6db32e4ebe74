/**
 * What the instrumented code calls: which mutant is on, and what the test that runs has reached.
 */
const reached = new Map<string, Set<string>>()
const atLoad = new Set<string>()
const taken = new Map<string, number>()

let active: string | undefined
let recording: Set<string> | undefined
let current = ""
let recordingLoad = true
let steps = 0
let limit = Infinity

/** The mutants that a test reaches. */
export const covered = (test: string): ReadonlySet<string> => reached.get(test) ?? new Set()

/** Whether a mutant is reached while modules load: it is seen only by who loads them anew. */
export const isStatic = (mutant: string): boolean => atLoad.has(mutant)

export const activate = (mutant: string | undefined): void => {
  active = mutant
  recordingLoad = false
  limit = Infinity
}

/** From here on everything is reached by this test. */
export const record = (test: string | undefined): void => {
  if (recording !== undefined) taken.set(current, steps)
  steps = 0
  current = test ?? ""
  recording = test === undefined ? undefined : new Set()
  if (recording !== undefined) reached.set(current, recording)
}

/** A test that takes far more steps than it took without a mutant is in a loop without an end. */
export const limitSteps = (test: string): void => {
  steps = 0
  limit = 10 * (taken.get(test) ?? 0) + 1_000_000
}

const step = (): void => {
  if (++steps > limit) throw new Error("the mutant runs in a loop")
}

/** Called at each place with mutants, when none of them is on. */
const cover = (...mutants: ReadonlyArray<string>): void => {
  step()
  const into = recording ?? (recordingLoad ? atLoad : undefined)
  if (into !== undefined) for (const mutant of mutants) into.add(mutant)
}

Object.assign(globalThis, {
  stryMutAct_9fa48: (mutant: string): boolean => {
    if (mutant !== active) return false
    step()
    return true
  },
  stryCov_9fa48: cover
})
