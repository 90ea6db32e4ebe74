import { describe, expect, it } from "@effect/vitest"
import ts from "typescript"
import type { SourceText } from "../support/sources.js"
import { lineOf, parse, readSources } from "../support/sources.js"

interface Docs {
  readonly description: string
  readonly tags: ReadonlyArray<string>
}

interface Export {
  readonly name: string
  readonly isType: boolean
  readonly where: string
  readonly docs: Docs
}

const docsOf = (node: ts.Node): Docs => {
  const block = ts.getJSDocCommentsAndTags(node).findLast(ts.isJSDoc)
  const tags = block?.tags?.map((tag) => tag.tagName.text) ?? []
  return { description: ts.getTextOfJSDocComment(block?.comment) ?? "", tags }
}

const isExported = (node: ts.Statement): boolean =>
  ts.canHaveModifiers(node) &&
  (ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false)

const namesOf = (statement: ts.Statement): ReadonlyArray<string> => {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText())
  }
  if (
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement) ||
    ts.isEnumDeclaration(statement) ||
    ts.isModuleDeclaration(statement)
  ) {
    return [statement.name?.text ?? "default"]
  }
  return []
}

/** What a file declares and exports. An overloaded function has its docs on the first signature. */
const declaredExports = (source: SourceText): ReadonlyArray<Export> => {
  const file = parse(source)
  const found = new Map<string, Export>()
  for (const statement of file.statements.filter(isExported)) {
    for (const name of namesOf(statement)) {
      const where = `${source.path}:${lineOf(file, statement.getStart())}`
      const key = ts.isFunctionDeclaration(statement) ? name : `${name} ${where}`
      const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)
      if (!found.has(key)) found.set(key, { name, isType, where, docs: docsOf(statement) })
    }
  }
  return [...found.values()]
}

/** `export { A } from "./b.js"`: its docs are its own, or else those of the declaration in the other file. */
const reexports = (source: SourceText, all: ReadonlyArray<SourceText>): ReadonlyArray<Export> => {
  const file = parse(source)
  return file.statements.filter(ts.isExportDeclaration).flatMap((statement) => {
    const clause = statement.exportClause
    if (clause === undefined || !ts.isNamedExports(clause)) return []
    const from = statement.moduleSpecifier
    const target =
      from !== undefined && ts.isStringLiteral(from)
        ? new URL(from.text.replace(/\.js$/, ".ts"), `file:///${source.path}`).pathname.slice(1)
        : source.path
    const origin = all.find(({ path }) => path === target)
    const candidates = origin === undefined ? [] : declaredExports(origin)
    return clause.elements.map((element): Export => {
      const originalName = (element.propertyName ?? element.name).text
      const original = candidates.find(({ name }) => name === originalName)
      const docs = [element, statement].map(docsOf).find(({ tags }) => tags.length > 0)
      return {
        name: element.name.text,
        isType: original?.isType ?? statement.isTypeOnly,
        where: `${source.path}:${lineOf(file, element.getStart())}`,
        docs: docs ?? original?.docs ?? { description: "", tags: [] }
      }
    })
  })
}

const sources = readSources("src", ".ts").filter(({ path }) => path !== "src/index.ts")
const exports = sources.flatMap((source) => [...declaredExports(source), ...reexports(source, sources)])
const isPublic = ({ where }: Export): boolean => /^src\/[^/]+$/.test(where)
const list = (found: ReadonlyArray<Export>): ReadonlyArray<string> =>
  found.map(({ name, where }) => `${where} ${name}`)

/** The line that declares it. */
const declarationOf = ({ where }: Export): string => {
  const [path, line] = where.split(":")
  return sources.find((source) => source.path === path)?.text.split("\n")[Number(line) - 1] ?? ""
}

const isPublicModule = (path: string): boolean => /^src\/[^/]+$/.test(path)

/** Declarations in private rooms whose doc block serves a public module, which exports them without one of its own. */
const lent = new Set(
  exports
    .filter(isPublic)
    .flatMap(({ docs, name }) => (docs.tags.length > 0 ? [`${name}: ${docs.description}`] : []))
)

describe("doc blocks", () => {
  it.each(["since", "category"])("of every public export have @%s", (tag) => {
    expect(list(exports.filter((found) => isPublic(found) && !found.docs.tags.includes(tag)))).toStrictEqual(
      []
    )
  })

  it.each(["since", "category"])("of private declarations have no @%s", (tag) => {
    const tagged = exports.filter((found) => !isPublic(found) && found.docs.tags.includes(tag))
    const unneeded = tagged.filter(({ docs, name }) => !lent.has(`${name}: ${docs.description}`))
    expect(list(unneeded)).toStrictEqual([])
  })

  it("of every value that a public module exports say what it is or does", () => {
    const mute = exports.filter((found) => isPublic(found) && !found.isType && found.docs.description === "")
    expect(list(mute)).toStrictEqual([])
  })

  it("of every tag name the layers that provide it", () => {
    const tags = exports.filter((found) => isPublic(found) && /Context\.Tag\(/.test(declarationOf(found)))
    expect(tags.length).toBeGreaterThan(5)
    expect(list(tags.filter(({ docs }) => !/provide/.test(docs.description)))).toStrictEqual([])
  })

  it("stand at the head of every module, with @since on public ones", () => {
    const withTag = /^\/\*\*\n(?: \*.*\n)*? \* @since \S+\n \*\/\n/
    const headless = sources.filter(
      ({ path, text }) => !(isPublicModule(path) ? withTag.test(text) : text.startsWith("/**"))
    )
    expect(headless.map(({ path }) => path)).toStrictEqual([])
  })
})

describe("sources", () => {
  it("have no default export", () => {
    const found = sources.filter(({ text }) => /^export default\b|^export = /m.test(text))
    expect(found.map(({ path }) => path)).toStrictEqual([])
  })

  it("are seen by this check", () => {
    expect(exports.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["SmtpSocket", "ConnectError", "isTransient", "Parser"])
    )
  })
})
