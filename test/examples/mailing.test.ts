import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { root } from "../../.ci/modules.js"
import { fields } from "../../examples/support/csv.js"
import { compiledExamples } from "./run.js"

const runExample = compiledExamples()

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "effect-smtplib-mailing-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true }))
)

const steps = (journal: string): ReadonlyArray<string> =>
  journal.split("\n").flatMap((line) => (line === "" ? [] : [line]))

describe("the mailing", () => {
  it.scopedLive(
    "goes on where a run ended that was cut off, and sends nothing again",
    () =>
      Effect.gen(function* () {
        const path = yield* folder
        const csv = join(path, "readers.csv")
        const journal = join(path, "journal")
        const addresses = Array.from({ length: 6 }, (_, index) => `r${index}@example.net`)
        yield* Effect.promise(() => writeFile(csv, `address,name\n${addresses.join(",x\n")},x\n`))
        const before = [
          { address: "r0@example.net", step: "accepted" },
          { address: "r1@example.net", step: "later" },
          { address: "r2@example.net", step: "begun" }
        ].map((line) => JSON.stringify(line))
        // Half a line at the end: the run before was killed while it wrote.
        yield* Effect.promise(() => writeFile(journal, `${before.join("\n")}\n{"addr`))
        const { code, stdout } = yield* runExample("mailing", [csv, journal])
        expect(stdout.split("\n")).toEqual(
          expect.arrayContaining([
            "4 to be sent",
            "      5  accepted",
            "      1  unknown: a run was cut off here: r2@example.net"
          ])
        )
        expect(code).toBe(0)
        const again = yield* runExample("mailing", [csv, journal])
        expect(again.stdout.split("\n")).toContain("0 to be sent")
        const written = steps(yield* Effect.promise(() => readFile(journal, "utf8")))
        expect(written.filter((line) => line.includes('"r1@example.net"')).length).toBe(3)
      }),
    60_000
  )

  it.scopedLive(
    "goes to the server that was named, by a URL too, and to no other",
    () =>
      Effect.gen(function* () {
        const path = yield* folder
        const csv = join(path, "readers.csv")
        yield* Effect.promise(() => writeFile(csv, "address,name\nann@example.net,Ann\n"))
        const { stdout } = yield* runExample("mailing", [csv, join(path, "journal")], {
          SMTP_URL: "smtp://127.0.0.1:1?tls=none&retry=off"
        })
        expect(stdout.split("\n")).toContain("      1  not yet: run again later: ann@example.net")
      }),
    60_000
  )

  it("reads fields with and without quotes", () => {
    expect(fields('ann@example.net,"Ann, the ""first""", x ')).toEqual([
      "ann@example.net",
      'Ann, the "first"',
      "x"
    ])
    expect(fields("a,,b")).toEqual(["a", "", "b"])
  })
})

describe("the program that is told to end", () => {
  it.scopedLive(
    "accounts for every message, whenever SIGTERM comes",
    () =>
      Effect.gen(function* () {
        for (const millis of [700, 1500]) {
          const stdout = yield* Effect.async<string>((resume) => {
            const child = execFile(
              process.execPath,
              ["--import", "tsx", "examples/sigterm.ts", "patient"],
              { cwd: root, env: { PATH: process.env["PATH"] } },
              (_error, output) => {
                resume(Effect.succeed(output))
              }
            )
            setTimeout(() => child.kill("SIGTERM"), 1000 + millis)
          })
          // A program that has not begun yet has nothing to account for.
          if (stdout !== "") expect(stdout).toContain("200 of 200 are accounted for")
          const accepted = Number(/Accepted +(\d+)/.exec(stdout)?.[1] ?? 0)
          const there = Number(/the server has (\d+) messages/.exec(stdout)?.[1] ?? 0)
          expect(there).toBe(accepted)
        }
      }),
    60_000
  )
})
