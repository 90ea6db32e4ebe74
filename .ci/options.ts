/**
 * The reference of the options, made from their tables in src/internal/options. `npm run options` writes docs/options.md
 * and the table of README.md; a test compares both.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { argv } from "node:process"
import { fileURLToPath } from "node:url"
import { format, resolveConfig } from "prettier"
import { clientRows, relayRows } from "../src/internal/options/client.js"
import { capitals } from "../src/internal/options/config.js"
import { credentialRows } from "../src/internal/options/credentials.js"
import type { Row } from "../src/internal/options/fields.js"
import { sessionRows } from "../src/internal/options/session.js"
import { root } from "./modules.js"

const referencePath = `${root}docs/options.md`
const readmePath = `${root}README.md`

interface Line {
  readonly name: string
  readonly type: string
  readonly fallback: string
  readonly key: string
  readonly doc: string
}

type Described = Pick<Row<never>, "type" | "fallback" | "doc"> & {
  readonly leaves: ReadonlyArray<{
    readonly path: string
    readonly type: string
    readonly fallback?: string
    readonly doc?: string
  }>
}

/** An option that cannot be written as text has one line without a variable; any other a line for each text. */
const linesOf = (name: string, { doc, fallback, leaves, type }: Described): ReadonlyArray<Line> =>
  leaves.length === 0
    ? [{ name: `\`${name}\``, type, fallback, key: "", doc }]
    : leaves.map((leaf) => {
        const full = leaf.path === "" ? name : `${name}.${leaf.path}`
        return {
          name: `\`${full}\``,
          type: leaf.type,
          fallback: leaf.fallback ?? fallback,
          key: `\`SMTP_${capitals(full)}\``,
          doc: leaf.doc ?? doc
        }
      })

const headings: Readonly<Record<keyof Line, string>> = {
  name: "option",
  type: "type",
  fallback: "default",
  key: "variable",
  doc: "what it does"
}

const table = (
  rows: Readonly<Record<string, Described>>,
  columns: ReadonlyArray<keyof Line> = ["name", "type", "fallback", "key", "doc"]
): string => {
  const lines = Object.entries(rows).flatMap(([name, row]) => linesOf(name, row))
  return [
    columns.map((column) => headings[column]),
    columns.map(() => "---"),
    ...lines.map((line) => columns.map((column) => line[column]))
  ]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n")
}

const text = (): string => `# Options

<!-- Made by \`npm run options\` from the tables in src/internal/options: change those. -->

Options in TypeScript, in the environment and in URLs have the same names. \`SmtpClient.config("SMTP")\` reads the variables
below; another prefix takes the place of \`SMTP\`. \`SmtpClient.layerUrl\` reads the options by their names from the query of
a URL, except \`host\`, \`port\`, \`path\`, \`username\`, \`password\` and \`dialect\`, which stand before it. \`SMTP_URL\` holds one
URL, or several separated by spaces; \`SMTP_PROVIDER\` names a profile of \`SmtpProvider\` instead. An option without a variable cannot be written as text.

A duration is a \`Duration\`, a number of milliseconds, or a text such as \`30 seconds\`. A flag is written as \`true\`, \`yes\`,
\`on\` or \`1\`, or as \`false\`, \`no\`, \`off\` or \`0\`.

## Session

For \`SmtpSession\`, and for every session of an \`SmtpClient\`.

${table(sessionRows)}

## Credentials

In a program \`auth\` holds credentials that \`SmtpAuth\` makes. Written as text, they are these variables. In a URL, user and
password stand before the host.

${table(credentialRows)}

## Client

For \`SmtpClient\`, beside those of the session.

${table(clientRows)}

## Relay

For an entry of \`relays\`, and for one of several URLs, beside those of the session. Options of the client are the defaults
of every relay.

${table(relayRows, ["name", "type", "fallback", "doc"])}
`

const readme = (): string => {
  const between = /(<!-- options of a client: begin -->)[^]*(<!-- options of a client: end -->)/
  const own = table(clientRows, ["name", "fallback", "doc"])
  return readFileSync(readmePath, "utf8").replace(
    between,
    (_, begin: string, end: string) => `${begin}\n\n${own}\n\n${end}`
  )
}

const formatted = async (path: string, markdown: string): Promise<string> =>
  format(markdown, { ...(await resolveConfig(path)), parser: "markdown" })

/** The files as they have to be, by path. */
export const optionsFiles = async (): Promise<ReadonlyMap<string, string>> =>
  new Map([
    [referencePath, await formatted(referencePath, text())],
    [readmePath, await formatted(readmePath, readme())]
  ])

if (argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(`${root}docs`, { recursive: true })
  for (const [path, content] of await optionsFiles()) writeFileSync(path, content)
}
