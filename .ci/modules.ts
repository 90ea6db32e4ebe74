/**
 * The list of public modules, from which the `exports` of package.json and src/index.ts are made.
 * `npm run modules` writes both; a test compares them.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { argv } from "node:process"
import { fileURLToPath } from "node:url"

/** The directory of the checkout. */
export const root = fileURLToPath(new URL("..", import.meta.url))

/** Modules that are subpaths only, and why the barrel leaves them out. */
export const subpathOnly: ReadonlyMap<string, string> = new Map([
  ["CapabilityCacheKeyValue", "it reads what is stored with Schema, which costs over 100 ms to import"],
  ["Dkim", "it needs nodemailer, which is an optional peer"],
  ["MailMessage", "it needs nodemailer, which is an optional peer"],
  ["MailMessageSchema", "it needs nodemailer, which is an optional peer, and Schema"],
  ["Mailer", "it needs nodemailer, which is an optional peer"],
  ["NodeSmtpHttpProxy", "few programs need it, and it imports node:http"],
  ["NodeSmtpSocks", "it needs socks"],
  ["NodeSmtpTest", "programs under test want it, programs in production do not"],
  ["SmtpOAuth", "it needs an HTTP client, which costs over 100 ms to import"],
  ["SmtpRateLimitStore", "it needs @effect/experimental"],
  ["SmtpSchema", "importing Schema costs over 100 ms"],
  ["SmtpTest", "programs under test want it, programs in production do not"]
])

/** Modules that cannot be imported without an optional peer, and which they need. */
export const optionalPeers: ReadonlyMap<string, ReadonlyArray<string>> = new Map([
  ["Dkim", ["nodemailer"]],
  ["MailMessage", ["nodemailer"]],
  ["Mailer", ["nodemailer"]],
  ["MailMessageSchema", ["nodemailer"]],
  ["NodeSmtpSocks", ["socks"]],
  ["SmtpRateLimitStore", ["@effect/experimental"]]
])

/** Every module directly in src, in alphabetical order, without the barrel. */
export const publicModules = (): ReadonlyArray<string> =>
  readdirSync(`${root}src`)
    .filter((name) => name.endsWith(".ts") && name !== "index.ts")
    .map((name) => name.slice(0, -".ts".length))
    .sort()

interface Target {
  readonly types: string
  readonly default: string
}

const target = (name: string): Target => ({ types: `./dist/${name}.d.ts`, default: `./dist/${name}.js` })

/** What `exports` of package.json has to be. */
export const exportsMap = (): Record<string, Target | string | null> => ({
  ".": target("index"),
  ...Object.fromEntries(publicModules().map((name) => [`./${name}`, target(name)])),
  "./internal/*": null,
  "./protocol/*": null,
  "./package.json": "./package.json"
})

/** What src/index.ts has to be. */
export const barrel = (): string => {
  const left = [...subpathOnly]
    .filter(([name]) => publicModules().includes(name))
    .map(([name, reason]) => ` * - \`effect-smtplib/${name}\`: ${reason}`)
  const header = [
    "/**",
    " * Every module as a namespace. Left out, and imported by their own paths:",
    " *",
    ...left,
    " *",
    " * @since 0.1.0",
    " */"
  ]
  const modules = publicModules()
    .filter((name) => !subpathOnly.has(name))
    .map((name) => `export * as ${name} from "./${name}.js"`)
  return `${[...header, ...modules].join("\n")}\n`
}

/** package.json as text. */
export const manifestText = (): string => readFileSync(`${root}package.json`, "utf8")

const write = (): void => {
  const manifest: unknown = JSON.parse(manifestText())
  const next = Object.assign({}, manifest, { exports: exportsMap() })
  writeFileSync(`${root}package.json`, `${JSON.stringify(next, undefined, 2)}\n`)
  writeFileSync(`${root}src/index.ts`, barrel())
}

if (argv[1] === fileURLToPath(import.meta.url)) write()
