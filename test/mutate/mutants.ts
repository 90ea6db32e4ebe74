/**
 * The mutants of a set of modules: Stryker's instrumenter compiles all of them in, each behind a switch, so that the
 * tests load the code once.
 */
import type { File } from "@stryker-mutator/instrumenter"
import { Instrumenter } from "@stryker-mutator/instrumenter"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"

export interface Mutant {
  readonly id: string
  /** The same for the same change of the same text, wherever the text stands in its file. */
  readonly key: string
  readonly file: string
  readonly line: number
  readonly mutator: string
  readonly original: string
  readonly replacement: string
}

const silent = () => undefined
const no = () => false

const logger = {
  isTraceEnabled: no,
  isDebugEnabled: no,
  isInfoEnabled: no,
  isWarnEnabled: no,
  isErrorEnabled: no,
  isFatalEnabled: no,
  trace: silent,
  debug: silent,
  info: silent,
  warn: silent,
  error: silent,
  fatal: silent
}

interface Position {
  readonly line: number
  readonly column: number
}

const oneLine = (text: string): string => text.replace(/\s+/g, " ").trim()

const offsetIn = (lines: ReadonlyArray<string>, { column, line }: Position): number =>
  lines.slice(0, line).reduce((sum, text) => sum + text.length + 1, column)

const textBetween = (text: string, start: Position, end: Position): string => {
  const lines = text.split("\n")
  return text.slice(offsetIn(lines, start), offsetIn(lines, end))
}

/** Writes the instrumented modules into a folder under their own paths, and the list of their mutants. */
export const instrument = async (
  root: string,
  files: ReadonlyArray<string>,
  folder: string
): Promise<ReadonlyArray<Mutant>> => {
  const given = files.map((name): File => ({
    name,
    mutate: true,
    content: readFileSync(join(root, name), "utf8")
  }))
  const contents = new Map(given.map(({ content, name }) => [name, content]))
  const options = { plugins: null, excludedMutations: [], ignorers: [], noHeader: true }
  const result = await new Instrumenter(logger).instrument(given, options)
  for (const { content, name } of result.files) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
  const seen = new Map<string, number>()
  const mutants = result.mutants.map((mutant): Mutant => {
    const { fileName: file, id, location, mutatorName: mutator, replacement } = mutant
    const original = oneLine(textBetween(contents.get(file) ?? "", location.start, location.end))
    const text = [file, mutator, original, oneLine(replacement)].join(" | ")
    const count = (seen.get(text) ?? 0) + 1
    seen.set(text, count)
    return {
      id,
      key: count === 1 ? text : `${text} | ${count}`,
      file,
      line: location.start.line + 1,
      mutator,
      original,
      replacement: oneLine(replacement)
    }
  })
  writeFileSync(join(folder, "mutants.json"), JSON.stringify(mutants))
  return mutants
}
