import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { barrel, exportsMap, manifestText, publicModules, root, subpathOnly } from "../../.ci/modules.js"

const advice = "src has modules that are not declared, or the reverse: run `npm run modules`"

describe("package.json", () => {
  it("exports the barrel and each module of src under its own path, and nothing internal", () => {
    const manifest: unknown = JSON.parse(manifestText())
    expect(manifest, advice).toHaveProperty("exports", exportsMap())
  })

  it("lists the paths in the order in which they are looked up", () => {
    const found = [...manifestText().matchAll(/^ {4}"(\.[^"]*)":/gm)].map((match) => match[1])
    expect(found, advice).toStrictEqual(Object.keys(exportsMap()))
  })
})

describe("src/index.ts", () => {
  it("has every module as a namespace but those that are subpaths only", () => {
    expect(readFileSync(`${root}src/index.ts`, "utf8"), advice).toBe(barrel())
  })

  it("leaves out only modules that exist", () => {
    const gone = [...subpathOnly.keys()].filter((name) => !publicModules().includes(name))
    expect(gone).toStrictEqual([])
  })
})
