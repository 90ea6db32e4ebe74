import { describe, expect, it } from "@effect/vitest"
import { recipientsOf } from "./job.js"
import type { Outcome, Results, Sample } from "./measure.js"
import type { Peer } from "./peers/catalogue.js"
import { drawPlot } from "./plot.js"
import {
  describeRounds,
  footnotes,
  linesOf,
  recipientTable,
  seriesTables,
  summaryTable,
  tableOf
} from "./report.js"
import { median } from "./statistics.js"
import { showTable, toMarkdown } from "./table.js"
import type { Workload } from "./workloads.js"
import { workloads } from "./workloads.js"
import { delayPlot, replaceBetweenMarkers } from "./write.js"

const peer = (name: string, changes: Partial<Peer> = {}): Peer => ({
  name,
  product: name,
  kind: "Client",
  content: "DATA",
  inFlight: 1,
  share: 1,
  numbered: true,
  recipients: recipientsOf,
  remark: undefined,
  can: () => true,
  absence: undefined,
  version: "1",
  command: () => ({ program: "", args: [], environment: {} }),
  read: () => sample,
  ...changes
})

const sample: Sample = {
  seconds: 2,
  messages: 1000,
  cpu: 0.5,
  peak: 64 * 1024 * 1024,
  idle: 32 * 1024 * 1024,
  trips: 4000,
  sinkCpu: 1
}

const measured = (changes: Partial<Sample> = {}): Outcome => ({
  _tag: "Measured",
  sample: { ...sample, ...changes }
})

const named = (name: string): Workload => {
  const found = workloads.find((workload) => workload.name === name)
  if (found === undefined) throw new Error(`no workload ${name}`)
  return found
}

const own = peer("own", { kind: "Library" })
const ownChunks = peer("own chunks", { kind: "Library", content: "BDAT" })
const other = peer("other")

const results = (name: string, changes: Partial<Sample> = {}): Results => ({
  workload: named(name),
  rows: [
    { peer: own, outcomes: [measured({ seconds: 1, ...changes })] },
    { peer: ownChunks, outcomes: [measured({ seconds: 0.25, ...changes })] },
    { peer: other, outcomes: [measured({ seconds: 2 }), measured({ seconds: 9 }), measured({ seconds: 1 })] }
  ]
})

describe("what is said of a run", () => {
  it("speaks of medians where there are several rounds", () => {
    expect(describeRounds(3)).toBe("Interleaved rounds, of which the medians are shown: 3.")
    expect(describeRounds(1)).not.toContain("median")
  })

  it("has a footnote for each peer whose figures need one, and a mark at its name", () => {
    const waiting = peer("slow", { remark: "waits for each message." })
    const results = { workload: named("small"), rows: [{ peer: waiting, outcomes: [measured()] }] }
    expect(footnotes([peer("quick"), waiting])).toEqual(["* slow waits for each message."])
    expect(tableOf(results)[1]?.[0]).toBe("slow *")
    expect(tableOf({ ...results, rows: [{ peer: peer("quick"), outcomes: [measured()] }] })[1]?.[0]).toBe(
      "quick"
    )
  })
})

describe("a median", () => {
  it("is the value in the middle, or between the two there", () => {
    expect(median([9, 1, 5])).toBe(5)
    expect(median([4, 1, 9, 2])).toBe(3)
    expect(median([7])).toBe(7)
    expect(median([])).toBeNaN()
  })
})

describe("the table of a workload", () => {
  it("has the medians of the rounds, and how many times as fast this library is", () => {
    const [, ...rows] = tableOf(results("small"))
    expect(rows).toEqual([
      ["own", "1,000", "4.00", "0.500", "64", "32", "100 %", "1.00", "4.00"],
      ["own chunks", "4,000", "4.00", "0.500", "64", "32", "400 %", "0.25", "1.00"],
      ["other", "500", "4.00", "0.500", "64", "32", "50 %", "2.00", "8.00"]
    ])
  })

  it("has megabytes a second where messages are large", () => {
    const [head, row] = tableOf(results("1m"))
    expect([head?.[1], row?.[1]]).toEqual(["MB/s", "1,049"])
  })

  it("has no figures for a row in which a message was lost once, nor for a peer that is absent or failed", () => {
    const broken: Results = {
      workload: named("small"),
      rows: [
        { peer: own, outcomes: [measured(), { _tag: "Void", problems: ["1 of 2 messages did not come"] }] },
        { peer: other, outcomes: [{ _tag: "Failed", reason: "no route" }, measured()] },
        { peer: peer("absent", { absence: "not installed" }), outcomes: [] }
      ]
    }
    expect(linesOf(broken).map(({ _tag }) => _tag)).toEqual(["Void", "Failed", "Absent"])
    expect(tableOf(broken).slice(1)).toEqual([
      ["own", "VOID: 1 of 2 messages did not come"],
      ["other", "FAILED: no route"],
      ["absent", "not installed"]
    ])
  })

  it("leaves what memory has grown by open where the peer cannot say it", () => {
    const one: Results = {
      workload: named("small"),
      rows: [{ peer: own, outcomes: [measured({ idle: 0 })] }]
    }
    expect(tableOf(one)[1]?.[5]).toBe("")
  })
})

describe("tables of several workloads", () => {
  it("show what a message costs against the number of messages", () => {
    const all = [results("flat-messages-1000"), results("flat-messages-5000", { cpu: 0.6 })]
    expect(seriesTables(all)).toEqual([
      {
        title: "messages/s (CPU of a message) against number of messages",
        table: [
          ["", "1,000", "5,000"],
          ["own", "1,000 (500 µs)", "1,000 (600 µs)"],
          ["own chunks", "4,000 (500 µs)", "4,000 (600 µs)"],
          ["other", "500 (500 µs)", "500 (500 µs)"]
        ]
      }
    ])
  })

  it("show what a further recipient costs", () => {
    const all = [results("small"), results("recipients-100", { cpu: 0.599 })]
    expect(recipientTable(all)?.slice(1)).toEqual([
      ["own", "1.0"],
      ["own chunks", "1.0"],
      ["other", "0.0"]
    ])
    expect(recipientTable([results("small")])).toBeUndefined()
  })

  it("sum up, with how many times as fast this library is", () => {
    const table = summaryTable(
      [results("small-long"), results("1m")],
      [own, ownChunks, other, peer("absent")]
    )
    expect(table.map((row) => row.filter((cell) => cell !== ""))).toEqual([
      expect.arrayContaining(["messages/s", "1 KiB", "1 MiB, MB/s"]),
      ["own", "1,000", "1,049", "0.500"],
      ["own chunks", "4,000", "4,194", "0.500"],
      ["other", "500 (×8.00)", "524 (×8.00)", "0.500"]
    ])
  })
})

describe("a table", () => {
  const table = [
    ["", "a", "long"],
    ["one", "1", "2"],
    ["other", "a reason that is longer than its column"]
  ]

  it("is shown in columns", () => {
    expect(showTable(table)).toBe(
      "       a  long\none    1     2\nother  a reason that is longer than its column"
    )
  })

  it("is written as Markdown", () => {
    expect(toMarkdown(table)).toBe(
      "|  | a | long |\n| --- | ---: | ---: |\n| one | 1 | 2 |\n| other | a reason that is longer than its column |  |"
    )
  })
})

describe("the plot", () => {
  const point = (label: string, value: number) => ({ label, value })
  const svg = drawPlot({
    title: "Titles & <more>",
    horizontal: "delay",
    vertical: "rate",
    curves: [
      { name: "fast", dashed: false, points: [point("0 ms", 10_000), point("50 ms", 1000)] },
      { name: "slow", dashed: true, points: [point("0 ms", 100), point("50 ms", 0)] }
    ]
  })

  const attribute = (name: string): ReadonlyArray<string> =>
    [...svg.matchAll(new RegExp(` ${name}="([^"]*)"`, "g"))].map(([, value]) => value ?? "")

  it("is well-formed, with what would be markup escaped", () => {
    const opened = [...svg.matchAll(/<([a-z]+)(?: [^>]*[^/])?>/g)].map(([, name]) => name)
    const closed = [...svg.matchAll(/<\/([a-z]+)>/g)].map(([, name]) => name)
    expect(opened.toSorted()).toEqual(closed.toSorted())
    expect(svg).toContain("Titles &amp; &lt;more&gt;")
  })

  it("has its axes named, a line for each power of ten, and a legend", () => {
    for (const words of ["delay", "rate", "0 ms", "50 ms", "100", "1,000", "10,000", "fast", "slow"]) {
      expect(svg).toContain(`>${words}</text>`)
    }
  })

  it("puts the highest value at the top, the lowest at the bottom, and leaves out what is nothing", () => {
    expect(attribute("points")).toEqual(["76.0,44.0 590.0,210.0", "76.0,376.0"])
    expect(attribute("cy")).toEqual(["44", "210", "376"])
  })

  it("can be read on light and on dark pages", () => {
    expect(svg).toContain("prefers-color-scheme: dark")
  })

  it("draws the workloads that differ in their delay", () => {
    const drawn = delayPlot([results("small"), results("delay-5"), results("delay-50"), results("1m")])
    expect(drawn.match(/<polyline/g)).toHaveLength(3)
    for (const label of ["0 ms", "5 ms", "50 ms"]) expect(drawn).toContain(`>${label}</text>`)
  })

  it("has nothing to draw where nothing was measured", () => {
    expect(delayPlot([])).not.toContain("<polyline")
  })
})

describe("README", () => {
  const begin = "<!-- results of npm run bench: begin -->"
  const end = "<!-- results of npm run bench: end -->"

  it("gets new results between its markers, and keeps the rest", () => {
    expect(replaceBetweenMarkers(`a\n${begin}\nold\n${end}\nz`, "new")).toBe(
      `a\n${begin}\n\nnew\n\n${end}\nz`
    )
  })

  it("is left alone where a marker is missing", () => {
    expect(() => replaceBetweenMarkers(`a\n${begin}\n`, "new")).toThrow("README.md has no")
  })
})
