/**
 * Writes what was measured into the project: the summary into README.md between its two markers, every table into
 * RESULTS.md, and the plot.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { format, resolveConfig } from "prettier"
import type { Results } from "./measure.js"
import type { Curve } from "./plot.js"
import { drawPlot } from "./plot.js"
import { linesOf } from "./report.js"

const beginMarker = "<!-- results of npm run bench: begin -->"
const endMarker = "<!-- results of npm run bench: end -->"

/** The text with what is between its markers replaced. */
export const replaceBetweenMarkers = (text: string, content: string): string => {
  const begin = text.indexOf(beginMarker)
  const end = text.indexOf(endMarker)
  if (begin < 0 || end < begin) throw new Error(`README.md has no "${beginMarker}" with its end below it`)
  return `${text.slice(0, begin + beginMarker.length)}\n\n${content}\n\n${text.slice(end)}`
}

const writeFormatted = async (file: string, text: string): Promise<void> => {
  const configuration = (await resolveConfig(file)) ?? {}
  writeFileSync(file, await format(text, { ...configuration, filepath: file }))
}

/** Workloads of the plot, which differ in their delay alone. */
const plotted = ["small", "delay-5", "delay-50"]

/** Enough curves to tell each client's way, and what one connection can bear. */
const isPlotted = (name: string): boolean => !/fibers|chunking on|client |socket (?!window)/.test(name)

const curvesOf = (all: ReadonlyArray<Results>): ReadonlyArray<Curve> => {
  const chosen = all.filter(({ workload }) => plotted.includes(workload.name))
  const lines = chosen.flatMap((results) =>
    linesOf(results).map((line) => ({ line, label: `${results.workload.delay} ms` }))
  )
  const names = [...new Set(lines.map(({ line }) => line.peer.name))].filter(isPlotted)
  return names.flatMap((name) => {
    const points = lines.flatMap(({ label, line }) =>
      line._tag === "Figures" && line.peer.name === name ? [{ label, value: line.figures.rate }] : []
    )
    return points.length === 0 ? [] : [{ name, points, dashed: name.startsWith("socket") }]
  })
}

export const delayPlot = (all: ReadonlyArray<Results>): string =>
  drawPlot({
    title: "One connection, messages of 1 KiB",
    horizontal: "round-trip delay",
    vertical: "messages a second",
    curves: curvesOf(all)
  })

/** What is written, as Markdown. */
export interface Written {
  readonly summary: string
  readonly details: string
}

export const writeResults = async (
  root: string,
  all: ReadonlyArray<Results>,
  { details, summary }: Written
): Promise<void> => {
  const readme = join(root, "README.md")
  await writeFormatted(readme, replaceBetweenMarkers(readFileSync(readme, "utf8"), summary))
  await writeFormatted(join(root, "test/bench/RESULTS.md"), details)
  writeFileSync(join(root, "test/bench/delay.svg"), delayPlot(all))
}
