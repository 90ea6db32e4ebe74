/**
 * Draws messages a second against round-trip delay as an SVG: no library, no script, and colours that can be read on a
 * light and on a dark page.
 */

export interface Point {
  /** What stands below the point. */
  readonly label: string
  readonly value: number
}

export interface Curve {
  readonly name: string
  readonly points: ReadonlyArray<Point>
  /** Drawn as a dashed line: what is not a client. */
  readonly dashed: boolean
}

export interface Plot {
  readonly title: string
  readonly horizontal: string
  readonly vertical: string
  readonly curves: ReadonlyArray<Curve>
}

const width = 860
const height = 440
const area = { left: 76, right: 590, top: 44, bottom: 376 }

const colours = [
  "#3b82f6",
  "#0ea5a4",
  "#8b5cf6",
  "#f97316",
  "#d9a406",
  "#ec4899",
  "#84a014",
  "#a16207",
  "#ef4444",
  "#8a8f98"
]

const style = `
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px }
  .grid { stroke: #8b949e; stroke-opacity: 0.35 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
`

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")

interface Scale {
  /** Powers of ten that frame every value. */
  readonly decades: ReadonlyArray<number>
  readonly vertical: (value: number) => number
  readonly horizontal: (index: number) => number
}

const scaleOf = (curves: ReadonlyArray<Curve>, labels: ReadonlyArray<string>): Scale => {
  const values = curves.flatMap(({ points }) => points.map(({ value }) => value)).filter((value) => value > 0)
  const lowest = values.length === 0 ? 0 : Math.floor(Math.log10(Math.min(...values)))
  const highest = Math.max(lowest + 1, values.length === 0 ? 1 : Math.ceil(Math.log10(Math.max(...values))))
  const range = (area.bottom - area.top) / (highest - lowest)
  const step = (area.right - area.left) / Math.max(1, labels.length - 1)
  return {
    decades: Array.from({ length: highest - lowest + 1 }, (_, index) => 10 ** (lowest + index)),
    vertical: (value) => area.bottom - (Math.log10(value) - lowest) * range,
    horizontal: (index) => area.left + index * step
  }
}

const tag = (name: string, attributes: Readonly<Record<string, string | number>>, content = ""): string => {
  const written = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? Math.round(value * 10) / 10 : value}"`)
    .join("")
  return content === "" ? `<${name}${written}/>` : `<${name}${written}>${content}</${name}>`
}

const text = (x: number, y: number, content: string, more: Readonly<Record<string, string>> = {}): string =>
  tag("text", { x, y, ...more }, escape(content))

const horizontalGrid = ({ decades, vertical }: Scale): ReadonlyArray<string> =>
  decades.flatMap((decade) => {
    const y = vertical(decade)
    return [
      tag("line", { x1: area.left, x2: area.right, y1: y, y2: y, class: "grid" }),
      text(area.left - 8, y + 4, decade.toLocaleString("en-US"), { "text-anchor": "end" })
    ]
  })

const verticalGrid = (labels: ReadonlyArray<string>, { horizontal }: Scale): ReadonlyArray<string> =>
  labels.flatMap((label, index) => {
    const x = horizontal(index)
    return [
      tag("line", { x1: x, x2: x, y1: area.top, y2: area.bottom, class: "grid" }),
      text(x, area.bottom + 20, label, { "text-anchor": "middle" })
    ]
  })

const dash = (curve: Curve): Record<string, string> => (curve.dashed ? { "stroke-dasharray": "6 4" } : {})

const drawCurve = (curve: Curve, colour: string, labels: ReadonlyArray<string>, scale: Scale): string => {
  const places = curve.points
    .filter(({ value }) => value > 0)
    .map(({ label, value }) => ({
      x: scale.horizontal(labels.indexOf(label)),
      y: scale.vertical(value),
      hint: `${curve.name}, ${label}: ${Math.round(value).toLocaleString("en-US")}`
    }))
  const line = places.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ")
  const dots = places.map(({ hint, x, y }) =>
    tag("circle", { cx: x, cy: y, r: 3.5, fill: colour }, tag("title", {}, escape(hint)))
  )
  const path = { points: line, fill: "none", stroke: colour, "stroke-width": 2, ...dash(curve) }
  return [tag("polyline", path), ...dots].join("\n")
}

const drawLegend = (curve: Curve, colour: string, index: number): string => {
  const y = area.top + 10 + index * 24
  const x = area.right + 24
  const line = { x1: x, x2: x + 28, y1: y, y2: y, stroke: colour, "stroke-width": 2, ...dash(curve) }
  return [tag("line", line), text(x + 36, y + 4, curve.name)].join("\n")
}

/** The drawing: the values on a scale of powers of ten, the labels in the order of their first use. */
export const drawPlot = ({ curves, horizontal, title, vertical }: Plot): string => {
  const labels = [...new Set(curves.flatMap(({ points }) => points.map(({ label }) => label)))]
  const scale = scaleOf(curves, labels)
  const colour = (index: number): string => colours[index % colours.length] ?? "#8a8f98"
  const middle = (area.top + area.bottom) / 2
  const turned = { "text-anchor": "middle", transform: `rotate(-90 18 ${middle})` }
  const axis = text((area.left + area.right) / 2, area.bottom + 48, horizontal, { "text-anchor": "middle" })
  const size = { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height }
  const content = [
    tag("title", {}, escape(title)),
    tag("style", {}, style),
    text(area.left, 24, title, { class: "title" }),
    ...horizontalGrid(scale),
    ...verticalGrid(labels, scale),
    axis,
    text(18, middle, vertical, turned),
    ...curves.map((curve, index) => drawCurve(curve, colour(index), labels, scale)),
    ...curves.map((curve, index) => drawLegend(curve, colour(index), index))
  ]
  return `${tag("svg", { ...size, role: "img" }, `\n${content.join("\n")}\n`)}\n`
}
