import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { optionsFiles } from "../../.ci/options.js"

describe("the reference of the options", () => {
  it("is that of their tables: `npm run options` writes it", async () => {
    for (const [path, content] of await optionsFiles()) expect(readFileSync(path, "utf8"), path).toBe(content)
    for (const content of (await optionsFiles()).values()) expect(content).toContain("| `maxSessions` ")
  })

  it("describes every option in a phrase", async () => {
    const [reference = ""] = (await optionsFiles()).values()
    const rows = reference.split("\n").filter((line) => line.startsWith("| `"))
    const cells = rows.map((row) => row.split("|").map((cell) => cell.trim()))
    expect(cells.length).toBeGreaterThan(70)
    expect(cells.filter(([, , type, fallback, , doc]) => !type || !fallback || doc === undefined)).toEqual([])
    expect(cells.flat().filter((cell) => cell.length > 100)).toEqual([])
  })
})
