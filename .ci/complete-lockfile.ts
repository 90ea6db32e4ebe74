/**
 * Adds to package-lock.json the optional packages for other platforms that npm left out because the registry it
 * asked did not have them: `npm ci` refuses a lock file without them, even where they would not be installed.
 * Run it (`npx tsx .ci/complete-lockfile.ts`) after `npm install`; it changes nothing in a complete lock file.
 * The entries have no integrity, which only the package's own file could give.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { readFileSync, writeFileSync } from "node:fs"
import { stdout } from "node:process"

const path = new URL("../package-lock.json", import.meta.url)

const Unknowns = Schema.Record({ key: Schema.String, value: Schema.Unknown })
const Parent = Schema.Struct({
  dev: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  optionalDependencies: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.String }), {
    default: () => ({})
  })
})
type Parent = typeof Parent.Type

const decodeLock = Schema.decodeUnknownSync(Schema.parseJson(Unknowns))
const decodePackages = Schema.decodeUnknownSync(Unknowns)
const decodeParent = Schema.decodeUnknownOption(Parent)

const systems = [
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32"
]
const processors = ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"]
const libraries = new Map([
  ["gnu", "glibc"],
  ["gnueabihf", "glibc"],
  ["musl", "musl"],
  ["musleabihf", "musl"]
])

const lock = decodeLock(readFileSync(path, "utf8"))
const packages = decodePackages(lock["packages"])

/** Whether Node finds an entry of that name from the package at `from`. */
const isLocked = (from: string, name: string): boolean => {
  if (`${from === "" ? "" : `${from}/`}node_modules/${name}` in packages) return true
  return from !== "" && isLocked(from.slice(0, Math.max(from.lastIndexOf("/node_modules/"), 0)), name)
}

/** The entry as npm writes it, as far as it follows from the package's name, e.g. `@rollup/rollup-linux-x64-musl`. */
const entryOf = (name: string, version: string, parent: Parent): object | undefined => {
  const words = name.split(/[-/]/)
  const os = words.find((word) => systems.includes(word))
  const cpu = words.findLast((word) => processors.includes(word))
  if (os === undefined || cpu === undefined || !/^\d+\.\d+\.\d+$/.test(version)) return undefined
  const library = os === "linux" ? libraries.get(words.at(-1) ?? "") : undefined
  return {
    version,
    cpu: [cpu],
    ...(parent.dev ? { dev: true } : {}),
    ...(library === undefined ? {} : { libc: [library] }),
    optional: true,
    os: [os]
  }
}

const added = Object.entries(packages).flatMap(([from, value]) => {
  const parent = Option.getOrUndefined(decodeParent(value))
  if (parent === undefined) return []
  return Object.entries(parent.optionalDependencies).flatMap(([name, version]) => {
    const entry = isLocked(from, name) ? undefined : entryOf(name, version, parent)
    return entry === undefined ? [] : [[`node_modules/${name}`, entry] as const]
  })
})

if (added.length > 0) {
  const sorted = [...Object.entries(packages), ...added].sort(([a], [b]) => (a < b ? -1 : 1))
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`)
}
stdout.write(`${added.length} entries added to package-lock.json\n`)
