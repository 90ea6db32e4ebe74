/**
 * What a table of options is made of: kinds of values (how a value is checked, and how it is read from a text), and the
 * rows that give an option its kind, default and description.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { isObject } from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidChoice, invalidText, isInvalid, notOneOf } from "../../protocol/Invalid.js"

/** A text that an option, or a part of it, can be written as: in a variable of the environment or in a URL. */
export interface Leaf<A> {
  /** `messages` for the part of `window`; empty for an option that is written as a whole. */
  readonly path: string
  readonly type: string
  readonly isSecret: boolean
  /** The value with this part in it. A message never shows the text. */
  readonly read: (text: string, name: string, current: A | undefined) => A | Invalid
  /** Those of the part, where it has its own. */
  readonly fallback?: string
  readonly doc?: string
}

/** A kind of value. */
export interface Kind<A> {
  /** As the reference calls it. */
  readonly type: string
  readonly problemOf: (value: unknown, name: string) => Invalid | undefined
  /** None where a value cannot be written. */
  readonly leaves: ReadonlyArray<Leaf<A>>
}

/** A kind of value that is written as a whole. */
export interface TextKind<A> extends Kind<A> {
  readonly read: (text: string, name: string) => A | Invalid
}

/** An option. */
export interface Row<A> extends Kind<A> {
  /** Its default as the reference shows it. */
  readonly fallback: string
  readonly doc: string
}

/** One row for each option: a row that is missing does not compile. */
export type Rows<O> = { readonly [K in keyof O]-?: Row<Exclude<O[K], undefined>> }

// -- rows

export const option = <A>(kind: Kind<A>, fallback: string, doc: string): Row<A> => ({
  ...kind,
  fallback,
  doc
})

/** An option whose default is a value. */
export const optionWith = <A, const D extends A>(
  kind: Kind<A>,
  value: D,
  doc: string
): Row<A> & { readonly default: D } => ({ ...option(kind, showDefault(value), doc), default: value })

const showDefault = (value: unknown): string => {
  if (value === Infinity) return "none"
  // Not toLocaleString, which loads the language data of Node: 10 ms of the import.
  return typeof value === "number" ? String(value).replace(/\B(?=(?:\d{3})+$)/g, ",") : String(value)
}

type Given<O> = { [K in keyof O]?: O[K] | undefined }

/** The options that the rows name. */
export const pick = <O extends object>(rows: Rows<O>, options: Readonly<Given<NoInfer<O>>>): Given<O> => {
  const picked: Given<O> = {}
  for (const name in rows) picked[name] = options[name]
  return picked
}

export const isGiven = <V>(value: V): value is Exclude<V, undefined> => value !== undefined

/** The first option with an impossible value; `prefix` is what stands before its name. */
export const problemOf = <O extends object>(
  rows: Rows<O>,
  options: object,
  prefix = ""
): Invalid | undefined => {
  for (const name in rows) {
    const value: unknown = Reflect.get(options, name)
    const problem = value === undefined ? undefined : rows[name].problemOf(value, `${prefix}${name}`)
    if (problem !== undefined) return problem
  }
  return undefined
}

// -- kinds of values

const kind = <A>(
  type: string,
  check: Kind<A>["problemOf"],
  read: (text: string, name: string) => A | Invalid,
  isSecret = false
): TextKind<A> => ({ type, problemOf: check, read, leaves: [{ path: "", type, isSecret, read }] })

/** Checked by those who use it. */
export const unchecked = <A>(kind: Kind<A>): Kind<A> => ({ ...kind, problemOf: () => undefined })

/** A value that cannot be written as text. */
export const opaque = <A>(type: string): Kind<A> => ({ type, problemOf: () => undefined, leaves: [] })

const nonEmpty = (text: string, name: string): string | Invalid =>
  text === "" ? invalid(name, "is empty") : text

/** Says no more of the text, which may be a key. */
export const isNotPem = "is not PEM, which holds -----BEGIN: give the content of the file, not its path"

export const pem = (text: string, name: string): string | Invalid =>
  text.includes("-----BEGIN ") ? text : invalid(name, text === "" ? "is empty" : isNotPem)

export const text: TextKind<string> = kind("text", (value, name) => invalidText(name, value), nonEmpty)

const redacted = (read: typeof nonEmpty): Kind<Redacted.Redacted> =>
  kind(
    "Redacted text",
    (value, name) => (Redacted.isRedacted(value) ? undefined : invalid(name, "is not Redacted")),
    (written, name) => {
      const value = read(written, name)
      return isInvalid(value) ? value : Redacted.make(value)
    },
    true
  )

export const secret = redacted(nonEmpty)

export const secretPem = redacted(pem)

const flags: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["yes", true],
  ["on", true],
  ["1", true],
  ["false", false],
  ["no", false],
  ["off", false],
  ["0", false]
])

export const flag: TextKind<boolean> = kind(
  "true or false",
  (value, name) => (typeof value === "boolean" ? undefined : invalid(name, "is neither true nor false")),
  (written, name) => flags.get(written.toLowerCase()) ?? invalid(name, 'is neither "true" nor "false"')
)

const wholeNumber = (written: string, name: string): number | Invalid =>
  /^-?\d{1,15}$/.test(written) ? Number(written) : invalid(name, "is not a whole number")

/** Larger numbers are not exact. */
export const largest = Number.MAX_SAFE_INTEGER

/** A whole number; `Infinity` is one only where there is no upper bound. */
export const int = (least: number, most = Infinity): TextKind<number> => {
  const bounds = most >= largest ? `from ${least}` : `from ${least} to ${most}`
  return kind(
    `whole number ${bounds}`,
    (value, name) =>
      (Number.isInteger(value) || value === Infinity) && Number(value) >= least && Number(value) <= most
        ? undefined
        : invalid(name, `is not a whole number ${bounds}`),
    wholeNumber
  )
}

export const number: Kind<number> = kind(
  "number",
  (value, name) => (Number.isFinite(value) ? undefined : invalid(name, "is not a number")),
  wholeNumber
)

const notADuration = 'is not a duration, such as "30 seconds"'

const durationProblem = (value: unknown, name: string): Invalid | undefined => {
  if (Option.isNone(Duration.decodeUnknown(value))) return invalid(name, notADuration)
  return isNegative(value) ? invalid(name, "is negative, or not a number") : undefined
}

/** Duration takes these for zero. */
const isNegative = (value: unknown): boolean => {
  if (typeof value === "number") return !(value >= 0)
  if (typeof value === "bigint") return value < 0n
  if (typeof value === "string") return value.startsWith("-")
  return Array.isArray(value) && !(Number(value[0]) * 1e9 + Number(value[1]) >= 0)
}

const readDuration = (written: string, name: string): Duration.Duration | Invalid =>
  Option.getOrElse(Duration.decodeUnknown(written), () => invalid(name, notADuration))

export const duration = kind<Duration.DurationInput>("duration", durationProblem, readDuration)

/** A duration above zero. */
export const timeLimit = kind<Duration.DurationInput>(
  "duration",
  (value, name) =>
    durationProblem(value, name) ??
    (Option.contains(Duration.decodeUnknown(value), Duration.zero)
      ? invalid(name, "is zero: no server can meet it")
      : undefined),
  readDuration
)

export const choice = <const A extends string>(...choices: ReadonlyArray<A>): TextKind<A> =>
  kind<A>(
    choices.map((each) => `"${each}"`).join(", "),
    (value, name) => invalidChoice(name, value, choices),
    (written, name) => choices.find((each) => each === written) ?? notOneOf(name, choices)
  )

export const list = kind<ReadonlyArray<string>>(
  "list of texts",
  (value, name) => (Array.isArray(value) ? undefined : invalid(name, "is not a list")),
  (written, name) => {
    const items = written.split(",").map((item) => item.trim())
    return items.includes("") ? invalid(name, "has an empty item: separate items by commas") : items
  }
)

/** A value that is written in a form of its own. */
export const written = <A>(type: string, read: (text: string, name: string) => A | Invalid): Kind<A> =>
  kind(type, () => undefined, read)

/** An object of options, each written by itself; `empty` is what the first that is written is put into. */
export const struct = <S extends object>(rows: Rows<S>, empty: S): Kind<S> => {
  const leaves: Array<Leaf<S>> = []
  for (const name in rows) {
    const row = rows[name]
    for (const leaf of row.leaves) leaves.push(within(name, row, leaf, empty))
  }
  return {
    type: "object",
    problemOf: (value, name) =>
      isObject(value) ? problemOf(rows, value, `${name}.`) : invalid(name, "is not an object"),
    leaves
  }
}

const within = <S extends object, K extends keyof S & string>(
  name: K,
  row: Row<Exclude<S[K], undefined>>,
  leaf: Leaf<Exclude<S[K], undefined>>,
  empty: S
): Leaf<S> => ({
  ...leaf,
  path: join(name, leaf.path),
  fallback: leaf.fallback ?? row.fallback,
  doc: leaf.doc ?? row.doc,
  read: (text, at, current = empty) => {
    const given = current[name]
    const value = leaf.read(text, at, isGiven(given) ? given : undefined)
    return isInvalid(value) ? value : { ...current, [name]: value }
  }
})

const join = (name: string, path: string): string => (path === "" ? name : `${name}.${path}`)
