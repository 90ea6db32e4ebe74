/**
 * Draws the rooms of `src` from the imports: `npm run rooms` writes docs/rooms.svg, and a test compares it with a
 * fresh drawing.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import { argv } from "node:process"
import { fileURLToPath } from "node:url"
import { root } from "./modules.js"

/** The drawing, in the folder of the checkout. */
export const drawingFile = "docs/rooms.svg"

const publicRoom = "src/*.ts"
/** Rooms that most of the others import: they are drawn as floors, and the imports as dots. */
const floors: ReadonlyArray<string> = ["src/internal/effect", "src/protocol"]

const roomOf = (file: string): string => {
  const [, first = "", second = ""] = file.split("/")
  if (first === "protocol") return "src/protocol"
  return first === "internal" ? `src/internal/${second}` : publicRoom
}

const files = (): ReadonlyArray<string> =>
  readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && name !== "index.ts")
    .map((name) => `src/${name.replaceAll("\\", "/")}`)
    .sort()

const statements =
  /(?:^|\n)(?:import|export)(?<type> type)?\s[^;"']*?from "(?<from>\.[^"]+)"|import\("(?<lazy>\.[^"]+)"\)/g

/** The modules that a module needs at run time; types leave no trace. */
const importsOf = (file: string): ReadonlyArray<string> =>
  [...readFileSync(join(root, file), "utf8").matchAll(statements)].flatMap(({ groups }) => {
    const path = groups?.["from"] ?? groups?.["lazy"]
    if (path === undefined || groups?.["type"] !== undefined) return []
    return [posix.join(posix.dirname(file), path.replace(/\.js$/, ".ts"))]
  })

interface Room {
  readonly name: string
  readonly modules: number
  /** How many imports lead to each other room. */
  readonly imports: ReadonlyMap<string, number>
  /** The public modules that import something here. */
  readonly entrances: ReadonlyArray<string>
}

const readRooms = (): ReadonlyMap<string, Room> => {
  const imports = files().flatMap((from) => importsOf(from).map((to) => ({ from, to })))
  const read = (name: string): Room => {
    const own = files().filter((file) => roomOf(file) === name)
    const counts = new Map<string, number>()
    for (const { from, to } of imports) {
      if (roomOf(from) === name && roomOf(to) !== name)
        counts.set(roomOf(to), (counts.get(roomOf(to)) ?? 0) + 1)
    }
    const entering = imports.filter(({ from, to }) => roomOf(to) === name && roomOf(from) === publicRoom)
    return {
      name,
      modules: own.length,
      imports: counts,
      entrances: [...new Set(entering.map(({ from }) => posix.basename(from, ".ts")))].sort()
    }
  }
  return new Map([...new Set(files().map(roomOf))].sort().map((name) => [name, read(name)]))
}

// -- the layout: who imports stands above what it imports

interface Arrow {
  readonly from: string
  readonly to: string
  readonly count: number
}

const arrowsOf = (rooms: ReadonlyMap<string, Room>): ReadonlyArray<Arrow> =>
  [...rooms.values()].flatMap(({ imports, name }) =>
    [...imports]
      .filter(([to]) => ![name, to].some((room) => room === publicRoom || floors.includes(room)))
      .map(([to, count]) => ({ from: name, to, count }))
      .sort((a, b) => (a.to < b.to ? -1 : 1))
  )

/** The order in which fewest imports lead upwards: each time the room goes first that exports least of what is left. */
const ranked = (names: ReadonlyArray<string>, arrows: ReadonlyArray<Arrow>): ReadonlyArray<string> => {
  const left = [...names]
  const order: Array<string> = []
  const weight = (name: string): number =>
    arrows.reduce((sum, { count, from, to }) => {
      if (!left.includes(from) || !left.includes(to)) return sum
      return sum + (to === name ? count : 0) - (from === name ? 0.01 * count : 0)
    }, 0)
  while (left.length > 0) {
    const [first = ""] = [...left].sort((a, b) => weight(a) - weight(b) || (a < b ? -1 : 1))
    left.splice(left.indexOf(first), 1)
    order.push(first)
  }
  return order
}

/** The row of each room: below every room that imports it. */
const rowsOf = (
  names: ReadonlyArray<string>,
  downward: ReadonlyArray<Arrow>
): ReadonlyMap<string, number> => {
  const rows = new Map<string, number>()
  for (const name of names) {
    const above = downward.filter(({ to }) => to === name).map(({ from }) => rows.get(from) ?? 0)
    rows.set(name, Math.max(-1, ...above) + 1)
  }
  // Who is imported by nobody stands as low as it can, beside those that it is like.
  for (const name of [...names].reverse()) {
    const below = downward.filter(({ from }) => from === name).map(({ to }) => rows.get(to) ?? 0)
    const imported = downward.some(({ to }) => to === name)
    if (!imported && below.length > 0) rows.set(name, Math.max(0, Math.min(...below) - 1))
  }
  return rows
}

/** A room in its row, or the place where an arrow passes through a row. */
interface Place {
  readonly id: string
  readonly room: Room | undefined
  readonly row: number
  x: number
}

interface Road extends Arrow {
  readonly places: ReadonlyArray<Place>
}

const boxWidth = 172
const boxHeight = 64
const gap = 22
const passWidth = 16
const rowHeight = 142
const margin = 24

const widthOf = ({ room }: Place): number => (room === undefined ? passWidth : boxWidth)

const spread = (row: ReadonlyArray<Place>, width: number): void => {
  const used = row.reduce((sum, place) => sum + widthOf(place) + gap, -gap)
  let x = (width - used) / 2
  for (const place of row) {
    place.x = x + widthOf(place) / 2
    x += widthOf(place) + gap
  }
}

/** Puts each place near the middle of those that it is joined with. */
const straighten = (rows: ReadonlyArray<Array<Place>>, roads: ReadonlyArray<Road>, width: number): void => {
  const joined = (place: Place): ReadonlyArray<Place> =>
    roads.flatMap(({ places }) => {
      const at = places.indexOf(place)
      return at < 0 ? [] : [places[at - 1], places[at + 1]].filter((other) => other !== undefined)
    })
  const middle = (place: Place): number => {
    const others = joined(place)
    return others.length === 0 ? place.x : others.reduce((sum, { x }) => sum + x, 0) / others.length
  }
  for (let round = 0; round < 24; round++) {
    for (const row of round % 2 === 0 ? rows : [...rows].reverse()) {
      const wanted = new Map(row.map((place) => [place, middle(place)]))
      row.sort((a, b) => (wanted.get(a) ?? 0) - (wanted.get(b) ?? 0) || (a.id < b.id ? -1 : 1))
      spread(row, width)
    }
  }
}

const layOut = (rooms: ReadonlyMap<string, Room>) => {
  const names = [...rooms.keys()].filter((name) => name !== publicRoom && !floors.includes(name))
  const arrows = arrowsOf(rooms)
  const order = ranked(names, arrows)
  const isDownward = ({ from, to }: Arrow): boolean => order.indexOf(from) < order.indexOf(to)
  const rowOf = rowsOf(order, arrows.filter(isDownward))
  const count = Math.max(...rowOf.values()) + 1
  const rows = Array.from({ length: count }, () => Array<Place>())
  const placed = new Map<string, Place>()
  const put = (id: string, room: Room | undefined, row: number): Place => {
    const place = { id, room, row, x: 0 }
    rows[row]?.push(place)
    return place
  }
  for (const name of order) placed.set(name, put(name, rooms.get(name), rowOf.get(name) ?? 0))
  const roads = arrows.flatMap((arrow): ReadonlyArray<Road> => {
    const from = placed.get(arrow.from)
    const to = placed.get(arrow.to)
    if (from === undefined || to === undefined) return []
    const step = from.row < to.row ? 1 : -1
    const between = Array.from({ length: Math.max(0, Math.abs(to.row - from.row) - 1) }, (_, index) =>
      put(`${arrow.from} to ${arrow.to}`, undefined, from.row + step * (index + 1))
    )
    return [{ ...arrow, places: [from, ...between, to] }]
  })
  const widest = Math.max(...rows.map((row) => row.reduce((sum, place) => sum + widthOf(place) + gap, -gap)))
  const width = widest + 2 * margin
  for (const row of rows) spread(row, width)
  straighten(rows, roads, width)
  return { rows, roads, width, isDownward }
}

// -- the drawing

const number = (value: number): string => value.toFixed(1).replace(/\.0$/, "")
const counted = ({ modules }: Room): string => `${modules} module${modules === 1 ? "" : "s"}`

const text = (x: number, y: number, content: string, size: number, more = ""): string =>
  `<text x="${number(x)}" y="${number(y)}" font-size="${size}"${more}>${content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`

const top = 118

const yOf = (row: number): number => top + row * rowHeight

const floorColours = ["#8a5cb8", "#2f7d4f"]

const roomForNames = 26

/** As many names as there is room for. */
const entrances = ({ entrances: names }: Room): string => {
  const all = names.join(", ")
  if (all.length <= roomForNames) return all
  const fitting = names.filter((_, index) => names.slice(0, index + 1).join(", ").length <= roomForNames - 3)
  const shown = fitting.length === 0 ? names.slice(0, 1) : fitting
  return names.length > shown.length
    ? `${shown.join(", ")} +${names.length - shown.length}`
    : shown.join(", ")
}

const drawRoom = ({ room, row, x }: Place): string => {
  if (room === undefined) return ""
  const left = x - boxWidth / 2
  const y = yOf(row)
  const dots = floors
    .map((floor, index) => ({ colour: floorColours[index], used: room.imports.has(floor) }))
    .filter(({ used }) => used)
    .map(
      ({ colour }, index) =>
        `<circle cx="${number(left + boxWidth - 12 - 11 * index)}" cy="${number(y + 14)}" r="4" fill="${colour}"/>`
    )
  const back = room.imports.has(publicRoom)
    ? `<rect x="${number(left)}" y="${number(y)}" width="4" height="${boxHeight}" fill="#3465a4"/>`
    : ""
  return [
    `<rect x="${number(left)}" y="${number(y)}" width="${boxWidth}" height="${boxHeight}" rx="3" fill="#fff" stroke="#555"/>`,
    back,
    ...dots,
    text(left + 12, y + 20, room.name.replace("src/internal/", ""), 15, ' font-weight="bold"'),
    text(left + 12, y + 38, counted(room), 11),
    text(left + 12, y + 54, entrances(room), 10, ' fill="#3465a4"')
  ].join("\n")
}

interface Point {
  readonly x: number
  readonly y: number
}

/** Where a road meets the place that it has at an index: beside the others that come to the same side of a room. */
const pointOf = (road: Road, index: number, roads: ReadonlyArray<Road>): Point => {
  const place = road.places[index]
  if (place === undefined) return { x: 0, y: 0 }
  if (place.room === undefined) return { x: place.x, y: yOf(place.row) + boxHeight / 2 }
  const neighbourOf = ({ places }: Road): Place | undefined =>
    places[0] === place ? places[1] : places[places.indexOf(place) - 1]
  const isBelow = (neighbour: Place | undefined): boolean => (neighbour?.row ?? 0) > place.row
  const side = isBelow(neighbourOf(road))
  const beside = roads
    .filter(({ places }) => places.includes(place))
    .filter((other) => isBelow(neighbourOf(other)) === side)
    .sort(
      (a, b) =>
        (neighbourOf(a)?.x ?? 0) - (neighbourOf(b)?.x ?? 0) ||
        (`${a.from} ${a.to}` < `${b.from} ${b.to}` ? -1 : 1)
    )
  const step = Math.min(30, (boxWidth - 24) / beside.length)
  const x = place.x + step * (beside.indexOf(road) - (beside.length - 1) / 2)
  return { x, y: yOf(place.row) + (side ? boxHeight : 0) }
}

const drawRoad = (road: Road, roads: ReadonlyArray<Road>, downward: boolean): string => {
  const { count, from, places, to } = road
  const points = places.map((_, index) => pointOf(road, index, roads))
  const curve = points.slice(1).map((point, index) => {
    const before = points[index] ?? point
    const middle = (before.y + point.y) / 2
    return `C${number(before.x)} ${number(middle)} ${number(point.x)} ${number(middle)} ${number(point.x)} ${number(point.y)}`
  })
  const [begin = { x: 0, y: 0 }] = points
  const colour = downward ? "#777" : "#c4382f"
  const width = (1 + Math.min(3, Math.log2(count) / 1.5)).toFixed(1)
  const path = `M${number(begin.x)} ${number(begin.y)} ${curve.join(" ")}`
  return [
    `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${width}" marker-end="url(#${downward ? "down" : "up"})">`,
    `<title>${from} imports ${to}: ${count}</title></path>`
  ].join("")
}

const drawBand = (room: Room | undefined, y: number, width: number, colour: string, note: string): string => {
  if (room === undefined) return ""
  const label = `${room.name} (${counted(room)})`
  return [
    `<rect x="${margin}" y="${number(y)}" width="${number(width - 2 * margin)}" height="44" rx="3" fill="${colour}"/>`,
    text(margin + 14, y + 19, label, 14, ' font-weight="bold" fill="#fff"'),
    text(margin + 14, y + 35, note, 11, ' fill="#fff"')
  ].join("\n")
}

const marker = (id: string, colour: string): string =>
  `<marker id="${id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="${colour}"/></marker>`

/** The drawing as text. */
export const drawing = (): string => {
  const rooms = readRooms()
  const { isDownward, roads, rows, width } = layOut(rooms)
  const floor = yOf(rows.length) - rowHeight + boxHeight + 52
  const height = floor + floors.length * 52 + 40
  const notes = [
    "Effect and what Effect 4 renames; below src/internal",
    "what the bytes mean; imports nothing"
  ]
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${number(width)}" height="${number(height)}" viewBox="0 0 ${number(width)} ${number(height)}" font-family="DejaVu Sans, Verdana, sans-serif" fill="#222">`,
    "<title>The rooms of src, and who imports whom</title>",
    `<defs>${marker("down", "#777")}${marker("up", "#c4382f")}</defs>`,
    '<rect width="100%" height="100%" fill="#f7f6f2"/>',
    drawBand(
      rooms.get(publicRoom),
      margin,
      width,
      "#3465a4",
      "what users import; blue names in a room: the public modules that import it"
    ),
    ...roads.map((road) => drawRoad(road, roads, isDownward(road))),
    ...rows.flat().map(drawRoom).filter(Boolean),
    ...floors.map((name, index) =>
      drawBand(rooms.get(name), floor + 52 * index, width, floorColours[index] ?? "", notes[index] ?? "")
    ),
    text(
      margin,
      height - 16,
      "Arrows: imports at run time between rooms of src/internal, the thicker the more; red ones lead upwards. Dots: imports of a floor. Blue edge: imports public modules.",
      11
    ),
    "</svg>"
  ].join("\n")}\n`
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(join(root, dirname(drawingFile)), { recursive: true })
  writeFileSync(join(root, drawingFile), drawing())
}
