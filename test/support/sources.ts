/**
 * The project's own sources, as text and as TypeScript syntax trees, for the checks on documentation.
 */
import { readdirSync, readFileSync } from "node:fs"
import ts from "typescript"
import { root } from "../../.ci/modules.js"

export interface SourceText {
  /** Relative to the checkout, with slashes. */
  readonly path: string
  readonly text: string
}

export const readSource = (path: string): SourceText => ({
  path,
  text: readFileSync(`${root}${path}`, "utf8")
})

/** Every file under a directory of the checkout whose name has the ending, in alphabetical order. */
export const readSources = (directory: string, ending: string): ReadonlyArray<SourceText> =>
  readdirSync(`${root}${directory}`, { recursive: true, encoding: "utf8" })
    .map((path) => `${directory}/${path.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(ending))
    .sort()
    .map(readSource)

export const parse = ({ path, text }: SourceText): ts.SourceFile =>
  ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true)

export const lineOf = (file: ts.SourceFile, position: number): number =>
  file.getLineAndCharacterOfPosition(position).line + 1
