import { describe, expect, it } from "@effect/vitest"
import { existsSync } from "node:fs"
import { dirname } from "node:path"
import ts from "typescript"
import { root } from "../../.ci/modules.js"
import type { SourceText } from "../support/sources.js"
import { lineOf, parse, readSource, readSources } from "../support/sources.js"

interface Example {
  /** Where the block begins: a file and its line. */
  readonly where: string
  readonly code: string
}

/** Every block of a text that is fenced as TypeScript; `prefix` is what a line of the text begins with. */
const blocks = (path: string, text: string, firstLine: number, prefix: RegExp): ReadonlyArray<Example> => {
  const found: Array<Example> = []
  let begin: number | undefined
  let code: Array<string> = []
  for (const [index, line] of text.split("\n").entries()) {
    const content = line.replace(prefix, "")
    if (begin === undefined && /^```(ts|typescript)\b/.test(content)) {
      begin = firstLine + index + 1
      code = []
    } else if (begin !== undefined && content.startsWith("```")) {
      found.push({ where: `${path}:${begin}`, code: code.join("\n") })
      begin = undefined
    } else {
      code.push(content)
    }
  }
  return found
}

const fromMarkdown = ({ path, text }: SourceText): ReadonlyArray<Example> => blocks(path, text, 1, /^/)

/** An `@example` may be fenced or not: an unfenced one ends at the next tag or at the end of the comment. */
const unfenced = (path: string, comment: string, firstLine: number): ReadonlyArray<Example> => {
  const lines = comment.split("\n").map((line) => line.replace(/^\s*(\*\/|\* ?)/, ""))
  return lines.flatMap((line, index) => {
    if (!/^@example\b/.test(line)) return []
    const rest = lines.slice(index + 1)
    const end = rest.findIndex((next) => /^@[a-z]+\b/.test(next))
    const code = rest.slice(0, end === -1 ? rest.length : end)
    return code.some((next) => next.startsWith("```"))
      ? []
      : [{ where: `${path}:${firstLine + index + 1}`, code: code.join("\n") }]
  })
}

/** Examples in the doc comments of a file, those of members included. */
const fromDocComments = (source: SourceText): ReadonlyArray<Example> => {
  const file = parse(source)
  return [...source.text.matchAll(/\/\*\*[^]*?\*\//g)].flatMap((match) => {
    const line = lineOf(file, match.index)
    return [...blocks(source.path, match[0], line, /^\s*\* ?/), ...unfenced(source.path, match[0], line)]
  })
}

const documents = ["README.md", "ARCHITECTURE.md"].filter((path) => existsSync(`${root}${path}`))
const examples = [
  ...documents.flatMap((path) => fromMarkdown(readSource(path))),
  ...readSources("src", ".ts").flatMap(fromDocComments)
]

const compilerOptions = (): ts.CompilerOptions => {
  const path = `${root}tsconfig.json`
  const file: { readonly config?: unknown } = ts.readConfigFile(path, (name) => ts.sys.readFile(name))
  const parsed = ts.parseJsonConfigFileContent(file.config, ts.sys, dirname(path))
  // An example may name things only to show them.
  return {
    ...parsed.options,
    noUnusedLocals: false,
    noUnusedParameters: false,
    noEmit: true,
    declaration: false
  }
}

/** One program for all examples, each a module in memory next to README.md: the types are loaded once. */
const diagnose = (all: ReadonlyArray<Example>): ReadonlyArray<string> => {
  const options = compilerOptions()
  const files = new Map(
    all.map((example, index) => [
      `${root}.example-${index}.ts`,
      { example, text: `${example.code}\nexport {}` }
    ])
  )
  const host = ts.createCompilerHost(options)
  const fileExists = host.fileExists.bind(host)
  const readFile = host.readFile.bind(host)
  const getSourceFile = host.getSourceFile.bind(host)
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.readFile = (path) => files.get(path)?.text ?? readFile(path)
  host.getSourceFile = (path, version, onError, create) => {
    const file = files.get(path)
    return file === undefined
      ? getSourceFile(path, version, onError, create)
      : ts.createSourceFile(path, file.text, version)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  return [...files].flatMap(([path, { example }]) => {
    const source = program.getSourceFile(path)
    if (source === undefined) return [`${example.where}: not compiled`]
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText, start }) => {
        const line = start === undefined ? 0 : lineOf(source, start)
        const text = ts.flattenDiagnosticMessageText(messageText, "\n")
        return `${example.where}, line ${line} of the example: ${text}`
      }
    )
  })
}

const broken = { where: "broken.md:7", code: 'import "effect/Effect"\nconst port: number = "587"' }

describe("examples", () => {
  it("of README and doc comments compile against the sources, as a user would write them", () => {
    const problems = diagnose([...examples, broken])
    expect(problems, "the last one shows that this check can fail").toStrictEqual([
      "broken.md:7, line 2 of the example: Type 'string' is not assignable to type 'number'."
    ])
  })

  it("in doc comments are seen by this check", () => {
    expect(examples.map(({ where }) => where.replace(/:\d+$/, ""))).toContain("src/SmtpSchema.ts")
  })

  it("import nothing but public paths and declared packages", () => {
    const specifiers = examples.flatMap(({ code, where }) =>
      [...code.matchAll(/\bfrom "([^"]+)"|\bimport\("([^"]+)"\)/g)].map((match) => ({
        where,
        specifier: match[1] ?? match[2] ?? ""
      }))
    )
    const internal = specifiers.filter(
      ({ specifier }) =>
        specifier.startsWith(".") ||
        /^effect-smtplib\/(internal|protocol)\//.test(specifier) ||
        /^(effect|@effect\/platform)$/.test(specifier)
    )
    expect(internal).toStrictEqual([])
  })
})
