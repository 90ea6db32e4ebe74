import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../.ci/modules.js"
import { drawing, drawingFile } from "../../.ci/rooms.js"

describe("docs/rooms.svg", () => {
  it("is what `npm run rooms` draws from today's imports", () => {
    expect(readFileSync(join(root, drawingFile), "utf8")).toBe(drawing())
  })
})
