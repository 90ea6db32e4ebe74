import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { collectLogs } from "./logs.js"

describe("collectLogs", () => {
  it.effect("keeps level, text and annotations of what is logged", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      yield* Effect.logWarning("outcome", { of: "m1" }).pipe(
        Effect.annotateLogs("envelope", "e1"),
        Effect.provide(logs.layer)
      )
      const [entry] = yield* logs.entries
      expect(entry).toMatchObject({ level: "WARN", annotations: { envelope: "e1" } })
      expect(entry?.text).toContain("outcome")
      expect(entry?.text).toContain("m1")
    })
  )
})
