import { describe, expect, it } from "@effect/vitest"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { readClientOptions } from "../../src/internal/options/client.js"
import { fields } from "../../src/internal/options/text.js"
import * as Urls from "../../src/internal/options/url.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { collectLogs } from "../support/logs.js"
import { untyped } from "../support/untyped.js"
import { submission } from "../SmtpSession/oneSession.js"
import { network } from "./client.js"

type Variables = Readonly<Record<string, string>>

const read = (variables: Variables, prefix = "SMTP") =>
  Effect.withConfigProvider(
    SmtpClient.config(prefix),
    ConfigProvider.fromMap(new Map(Object.entries(variables)))
  )

const refusal = (variables: Variables) =>
  Effect.map(Effect.flip(read(variables)), (error) => JSON.stringify(error))

const passwordOf = (username: string) => SmtpAuth.password({ username, password: Redacted.make("secret") })

/** A value for each option that is not its default, as it is written. */
const samples: Readonly<Record<string, string>> = {
  host: "mail.example.com",
  port: "2525",
  localAddress: "127.0.0.1",
  localPort: "1025",
  "proxyHeader.version": "1",
  "proxyHeader.source": "192.0.2.1:25",
  "proxyHeader.destination": "192.0.2.2:26",
  "xclient.name": "client.example.com",
  "xclient.address": "192.0.2.1",
  "xclient.helo": "hello",
  "xclient.login": "ann",
  "xclient.destinationAddress": "192.0.2.2",
  "xclient.port": "25",
  "xclient.destinationPort": "26",
  "xclient.protocol": "ESMTP",
  rateLimitKey: "shared",
  dialect: "lmtp",
  clientName: "client.example.com",
  tls: "opportunistic",
  "tlsOptions.ca": "-----BEGIN CERTIFICATE-----",
  "tlsOptions.cert": "-----BEGIN CERTIFICATE-----",
  "tlsOptions.key": "-----BEGIN PRIVATE KEY-----",
  "tlsOptions.passphrase": "secret phrase",
  "tlsOptions.servername": "other.example.com",
  "tlsOptions.minVersion": "TLSv1.3",
  "tlsOptions.verify": "no",
  username: "app",
  password: "secret word",
  authorizationId: "boss",
  mechanisms: "scram-sha-256,PLAIN",
  initialResponse: "off",
  allowInsecureAuth: "true",
  pipelining: "overlap",
  chunking: "on",
  "advanced.window.messages": "7",
  "advanced.window.octets": "70000",
  "advanced.resetBetween": "0",
  "advanced.eagerWithin": "3 seconds",
  priority: "4",
  maxSessions: "11",
  maxWaiting: "12",
  maxMessages: "13",
  maxAge: "14 minutes",
  idleTimeout: "15 seconds",
  maxPause: "16 seconds",
  timeout: "17 seconds",
  shutdownTimeout: "18 seconds",
  retry: "greylisted",
  "retry.mayDuplicate": "yes"
}

const sampleOf = (name: string): string | undefined =>
  name.startsWith("timeouts.")
    ? "42 seconds"
    : name.startsWith("advanced.replyLimits.")
      ? "4242"
      : samples[name]

const capitals = (name: string): string =>
  `SMTP_${name
    .replaceAll(/([a-z])([A-Z])/g, "$1_$2")
    .replaceAll(".", "_")
    .toUpperCase()}`

const isElsewhere = (name: string): boolean => ["path", "token", "auth"].includes(name)

describe("config", () => {
  it.effect("reads every option that can be written down, each under its name in capitals", () =>
    Effect.gen(function* () {
      const names = fields.map(({ name }) => name).filter((name) => !isElsewhere(name))
      const variables = Object.fromEntries(names.map((name) => [capitals(name), sampleOf(name) ?? ""]))
      const options = yield* read(variables)
      expect(options).toMatchObject({
        host: "mail.example.com",
        port: 2525,
        localAddress: "127.0.0.1",
        localPort: 1025,
        proxyHeader: {
          version: 1,
          source: { address: "192.0.2.1", port: 25 },
          destination: { address: "192.0.2.2", port: 26 }
        },
        xclient: {
          name: "client.example.com",
          address: "192.0.2.1",
          helo: "hello",
          login: "ann",
          destinationAddress: "192.0.2.2",
          port: 25,
          destinationPort: 26,
          protocol: "ESMTP"
        },
        rateLimitKey: "shared",
        dialect: "lmtp",
        clientName: "client.example.com",
        tls: "opportunistic",
        tlsOptions: { servername: "other.example.com", minVersion: "TLSv1.3", verify: false },
        auth: {
          _tag: "Password",
          username: "app",
          authorizationId: "boss",
          mechanisms: ["SCRAM-SHA-256", "PLAIN"],
          initialResponse: false
        },
        allowInsecureAuth: true,
        pipelining: "overlap",
        chunking: "on",
        advanced: {
          window: { messages: 7, octets: 70_000 },
          resetBetween: false,
          eagerWithin: Duration.seconds(3),
          replyLimits: { lineLength: 4242, lines: 4242, replyLength: 4242 }
        },
        maxSessions: 11,
        maxWaiting: 12,
        maxMessages: 13,
        retry: { schedule: "greylisted", mayDuplicate: true }
      })
      for (const [name, seconds] of Object.entries({
        maxAge: 840,
        idleTimeout: 15,
        timeout: 17
      })) {
        const value: unknown = Object.entries(options).find(([key]) => key === name)?.[1]
        expect(value, name).toEqual(Duration.seconds(seconds))
      }
      expect(Object.keys(options.timeouts ?? {}).length).toBe(20)
      expect(Object.values(options.timeouts ?? {})).toEqual(
        Array.from({ length: 20 }, () => Duration.seconds(42))
      )
    })
  )

  it("leaves no option out but those that cannot be written down", () => {
    // Every name, or the types do not agree.
    const options: Readonly<
      Record<Exclude<keyof SmtpClient.Options, "transcript" | "relays" | "rateLimit">, true>
    > = {
      host: true,
      port: true,
      path: true,
      localAddress: true,
      localPort: true,
      proxyHeader: true,
      xclient: true,
      dialect: true,
      clientName: true,
      tls: true,
      tlsOptions: true,
      auth: true,
      allowInsecureAuth: true,
      pipelining: true,
      chunking: true,
      timeouts: true,
      advanced: true,
      maxSessions: true,
      maxWaiting: true,
      maxMessages: true,
      maxAge: true,
      idleTimeout: true,
      maxPause: true,
      retry: true,
      rateLimitKey: true,
      timeout: true,
      shutdownTimeout: true
    }
    const written = new Set(fields.map(({ name }) => name.replace(/\..*$/, "")))
    expect(Object.keys(options).filter((name) => !written.has(name))).toEqual([])
  })

  it.effect("shows no secret", () =>
    Effect.gen(function* () {
      const options = yield* read({
        SMTP_HOST: "mail.example.com",
        SMTP_USERNAME: "app",
        SMTP_PASSWORD: "hunter2",
        SMTP_TLS_OPTIONS_KEY: "-----BEGIN PRIVATE KEY-----hunter2",
        SMTP_TLS_OPTIONS_PASSPHRASE: "hunter2"
      })
      expect(JSON.stringify(options)).not.toContain("hunter2")
      expect(Inspectable.format(options)).not.toContain("hunter2")
    })
  )

  it.effect("takes a token, a client certificate, or nobody in particular", () =>
    Effect.gen(function* () {
      const host = { SMTP_HOST: "mail.example.com" }
      const kinds = [
        { SMTP_USERNAME: "app", SMTP_TOKEN: "abc" },
        { SMTP_AUTH: "external" },
        { SMTP_AUTH: "anonymous", SMTP_USERNAME: "trace" },
        {}
      ]
      const options = yield* Effect.forEach(kinds, (own) => read({ ...host, ...own }))
      expect(options.map(({ auth }) => auth?._tag)).toEqual(["OAuth2", "External", "Anonymous", undefined])
    })
  )

  it.effect("takes an empty user name with no or an empty password for no credentials", () =>
    Effect.gen(function* () {
      const host = { SMTP_HOST: "mail.example.com" }
      const all = yield* Effect.forEach([{}, { SMTP_PASSWORD: "" }], (own) =>
        read({ ...host, SMTP_USERNAME: "", ...own })
      )
      expect(all.map(({ auth }) => auth)).toEqual([undefined, undefined])
      expect(yield* refusal({ ...host, SMTP_USERNAME: "", SMTP_PASSWORD: "x" })).toContain("SMTP_USERNAME")
    })
  )

  it.effect("takes URLs, one for each relay, and what the other names say outranks them", () =>
    Effect.gen(function* () {
      const options = yield* read({
        SMTP_URL: "smtps://app:secret@mx1.example.com smtp://app:secret@mx2.example.com:25?priority=1",
        SMTP_MAX_SESSIONS: "3"
      })
      expect(options).toMatchObject({
        maxSessions: 3,
        relays: [
          { host: "mx1.example.com", tls: "implicit", auth: { username: "app" } },
          { host: "mx2.example.com", port: 25, priority: 1 }
        ]
      })
    })
  )

  const warningsOf = (variables: Variables, prefix?: string) =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      yield* Effect.provide(Effect.either(read(variables, prefix)), logs.layer)
      return (yield* logs.entries).map(({ level, text }) => `${level}: ${text}`)
    })

  it.effect.each([
    ["SMTP_USER", "SMTP_USERNAME"],
    ["SMTP_LOGIN", "SMTP_USERNAME"],
    ["SMTP_AUTH_USER", "SMTP_USERNAME"],
    ["SMTP_PASS", "SMTP_PASSWORD"],
    ["SMTP_AUTH_PASS", "SMTP_PASSWORD"],
    ["SMTP_SECURE", "SMTP_TLS"],
    ["SMTP_SSL", "SMTP_TLS"],
    ["SMTP_USE_TLS", "SMTP_TLS"],
    ["SMTP_TLS_REJECT_UNAUTHORIZED", "SMTP_TLS_OPTIONS_VERIFY"],
    ["SMTP_CA", "SMTP_TLS_OPTIONS_CA"],
    ["SMTP_EHLO_NAME", "SMTP_CLIENT_NAME"],
    ["SMTP_MAX_CONNECTIONS", "SMTP_MAX_SESSIONS"],
    ["SMTP_CONNECTION_TIMEOUT", "SMTP_TIMEOUTS_CONNECT"]
  ] as const)("warns that %s has no effect and names %s", ([wrong, right]) =>
    Effect.gen(function* () {
      const host = { SMTP_HOST: "mail.example.com" }
      const warnings = yield* warningsOf({ ...host, [wrong]: "hunter2" })
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toMatch(new RegExp(`^WARN.*: ${wrong} has no effect: set ${right}[ ,]`))
      expect(warnings[0]).not.toContain("hunter2")
      expect(yield* warningsOf({ ...host, [wrong]: "hunter2", [right]: "x" })).toEqual([])
    })
  )

  it.effect("warns of SMTP_SERVER in place of SMTP_HOST, unless a URL names the server", () =>
    Effect.gen(function* () {
      const server = { SMTP_SERVER: "mail.example.com" }
      expect(yield* warningsOf(server)).toHaveLength(1)
      expect(yield* warningsOf({ ...server, SMTP_URL: "smtp://mail.example.com" })).toEqual([])
    })
  )

  it.effect("does not warn of the variables of other programs without a prefix", () =>
    Effect.gen(function* () {
      const others = { USER: "ann", HOSTNAME: "laptop", PWD: "/home/ann" }
      expect(yield* warningsOf({ HOST: "mail.example.com", ...others }, "")).toEqual([])
    })
  )

  it.scoped("reads the authorities, the certificate and its key from files", () =>
    Effect.gen(function* () {
      const directory = mkdtempSync(join(tmpdir(), "smtp-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true })))
      const pem =
        "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n" +
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"
      const path = join(directory, "x.pem")
      writeFileSync(path, pem)
      const host = { SMTP_HOST: "mail.example.com" }
      const { tlsOptions } = yield* read({
        ...host,
        SMTP_TLS_OPTIONS_CA_FILE: path,
        SMTP_TLS_OPTIONS_CERT_FILE: path,
        SMTP_TLS_OPTIONS_KEY_FILE: path
      })
      expect(tlsOptions).toMatchObject({ ca: pem, cert: pem })
      expect(tlsOptions?.key && Redacted.value(tlsOptions.key)).toBe(pem)

      const both = { SMTP_TLS_OPTIONS_CA_FILE: path, SMTP_TLS_OPTIONS_CA: pem }
      expect(yield* refusal({ ...host, ...both })).toContain("SMTP_TLS_OPTIONS_CA_FILE is given beside")
      const absent = yield* refusal({ ...host, SMTP_TLS_OPTIONS_KEY_FILE: join(directory, "none") })
      expect(absent).toMatch(/SMTP_TLS_OPTIONS_KEY_FILE names a file that cannot be read \(ENOENT\)/)
      for (const key of ["-----BEGIN PRIVATE KEY-----\nhunter2", "hunter2", "hunter2\0"]) {
        const given = yield* refusal({ ...host, SMTP_TLS_OPTIONS_KEY_FILE: key })
        expect(given).toContain("SMTP_TLS_OPTIONS_KEY_FILE")
        expect(given).not.toContain("hunter2")
      }
      writeFileSync(path, pem.slice(0, pem.indexOf("-----BEGIN PRIVATE")))
      expect(yield* refusal({ ...host, SMTP_TLS_OPTIONS_KEY_FILE: path })).toContain("no private key")
      writeFileSync(path, "hunter2\n")
      const { auth } = yield* read({ ...host, SMTP_USERNAME: "ann", SMTP_PASSWORD_FILE: path })
      const password = auth?._tag === "Password" ? auth.password : undefined
      expect(Redacted.isRedacted(password) && Redacted.value(password)).toBe("hunter2")
      const noPem = yield* refusal({ ...host, SMTP_TLS_OPTIONS_KEY_FILE: path })
      expect(noPem).toContain("SMTP_TLS_OPTIONS_KEY_FILE names a file that is not PEM")
      expect(noPem).not.toContain("hunter2")
    })
  )

  it.effect.each(["CA", "CERT", "KEY"])("refuses a path as SMTP_TLS_OPTIONS_%s and says what to do", (name) =>
    Effect.gen(function* () {
      const key = `SMTP_TLS_OPTIONS_${name}`
      const error = yield* refusal({ SMTP_HOST: "mail.example.com", [key]: "/etc/ssl/mail.pem" })
      expect(error).toContain(`${key} is not PEM`)
      expect(error).toContain(`or set ${key}_FILE to it`)
      expect(error).not.toContain("/etc/ssl")
    })
  )

  it.effect("does not take the search path of programs for that of a socket", () =>
    Effect.gen(function* () {
      expect(yield* read({ HOST: "mail.example.com", PATH: "/usr/bin" }, "")).toEqual({
        host: "mail.example.com"
      })
      expect(JSON.stringify(yield* Effect.flip(read({ PATH: "/usr/bin" }, "")))).toContain("HOST")
    })
  )

  const wrong: ReadonlyArray<readonly [string, Variables, string]> = [
    ["nothing", {}, "SMTP_HOST"],
    ["a port that is none", { SMTP_PORT: "many" }, "SMTP_PORT"],
    ["a port out of range", { SMTP_PORT: "70000" }, "SMTP_PORT"],
    ["a policy that is none", { SMTP_TLS: "maybe" }, "SMTP_TLS"],
    ["no sessions", { SMTP_MAX_SESSIONS: "0" }, "SMTP_MAX_SESSIONS"],
    ["a time that is none", { SMTP_IDLE_TIMEOUT: "soon" }, "SMTP_IDLE_TIMEOUT"],
    ["no time at all", { SMTP_TIMEOUTS_GREETING: "0 seconds" }, "SMTP_TIMEOUTS_GREETING"],
    ["a user without a password", { SMTP_USERNAME: "app" }, "SMTP_PASSWORD"],
    ["a password without a user", { SMTP_PASSWORD: "hunter2" }, "SMTP_USERNAME"],
    ["an empty password", { SMTP_USERNAME: "app", SMTP_PASSWORD: "" }, "SMTP_PASSWORD"],
    ["a user name with a NUL", { SMTP_USERNAME: "app\0", SMTP_PASSWORD: "hunter2" }, "SMTP_USERNAME"],
    [
      "a password with the line end of its file",
      { SMTP_USERNAME: "app", SMTP_PASSWORD: "hunter2\n" },
      "SMTP_PASSWORD"
    ],
    [
      "a mechanism that is none",
      { SMTP_USERNAME: "app", SMTP_PASSWORD: "hunter2", SMTP_MECHANISMS: "MAGIC" },
      "SMTP_MECHANISMS"
    ],
    ["mechanisms for nobody", { SMTP_MECHANISMS: "PLAIN" }, "SMTP_MECHANISMS is of no use"],
    ["an identity for nobody", { SMTP_AUTHORIZATION_ID: "boss" }, "SMTP_AUTHORIZATION_ID is of no use"],
    [
      "a password beside a certificate",
      { SMTP_AUTH: "external", SMTP_PASSWORD: "hunter2" },
      "SMTP_PASSWORD does not go"
    ],
    [
      "a password beside a token",
      { SMTP_USERNAME: "app", SMTP_PASSWORD: "hunter2", SMTP_TOKEN: "hunter2" },
      "SMTP_PASSWORD does not go"
    ],
    ["nobody with a password", { SMTP_AUTH: "password" }, 'SMTP_USERNAME is missing: auth is \\"password'],
    ["nobody with a token", { SMTP_AUTH: "oauth2" }, 'SMTP_USERNAME is missing: auth is \\"oauth2'],
    ["a token without a user", { SMTP_TOKEN: "hunter2" }, "SMTP_USERNAME is missing: there is a token"],
    [
      "an option of the client in a URL that is not the first",
      { SMTP_URL: "smtp://a.test smtp://b.test?retry=off" },
      "SMTP_URL holds a URL, number 2 (b.test), whose retry belongs to the first"
    ],
    ["a flag that is none", { SMTP_TLS_OPTIONS_VERIFY: "perhaps" }, "SMTP_TLS_OPTIONS_VERIFY"],
    ["a URL that is none", { SMTP_URL: "http://app:hunter2@mail.example.com" }, "SMTP_URL"],
    ["a header of a proxy that is none", { SMTP_PROXY_HEADER_SOURCE: "x:25" }, "SMTP_PROXY_HEADER_SOURCE "],
    ["a client that is none", { SMTP_XCLIENT_ADDRESS: "x" }, "SMTP_XCLIENT_ADDRESS "],
    ["a trace that is none", { SMTP_AUTH: "anonymous", SMTP_USERNAME: "x".repeat(300) }, "SMTP_USERNAME "],
    ["a URL's option", { SMTP_URL: "smtp://a.test?maxAge=soon" }, "SMTP_URL holds a URL whose maxAge is"],
    [
      "a URL's option among several",
      { SMTP_URL: "smtp://a.test smtp://app:hunter2@b.test?priority=x" },
      "SMTP_URL holds a URL, number 2 (b.test), whose priority is"
    ],
    [
      "an option of the relay of a URL",
      { SMTP_URL: "smtp://a.test smtp://app:hunter2@b.test?maxSessions=0" },
      "SMTP_URL holds a URL, number 2 (b.test), whose maxSessions is"
    ],
    [
      "an option of the client in the first URL",
      { SMTP_URL: "smtp://a.test?maxMessages=0 smtp://b.test" },
      "SMTP_URL holds a URL, number 1 (a.test), whose maxMessages is"
    ],
    [
      "an option beside several URLs",
      { SMTP_URL: "smtp://a.test smtp://b.test", SMTP_MAX_SESSIONS: "0" },
      "SMTP_MAX_SESSIONS is"
    ],
    [
      "a URL without a user, beside a password",
      { SMTP_URL: "smtp://app@a.test smtp://b.test", SMTP_PASSWORD: "hunter2" },
      "SMTP_URL holds a URL, number 2 (b.test), whose username is missing"
    ],
    [
      "a URL whose password has an @ and a slash",
      { SMTP_URL: "smtp://a.test smtp://app:12/hunter2@b.test" },
      "SMTP_URL holds a URL, number 2, which has a path behind the host"
    ],
    ["a URL and retries", { SMTP_URL: "smtp://a.test smtp://b.test", SMTP_RETRY: "always" }, "SMTP_RETRY"],
    [
      "a host beside a URL",
      { SMTP_URL: "smtp://a.test:2587", SMTP_HOST: "b.test" },
      "SMTP_HOST stands beside SMTP_URL"
    ],
    [
      "a port beside a URL",
      { SMTP_URL: "smtp://a.test", SMTP_PORT: "25" },
      "SMTP_PORT stands beside SMTP_URL"
    ]
  ]

  it.effect.each(wrong)("names the key of %s", ([, variables, key]) =>
    Effect.gen(function* () {
      const isBare = Object.keys(variables).length === 0
      const host = isBare || "SMTP_URL" in variables ? {} : { SMTP_HOST: "mail.example.com" }
      const words = yield* refusal({ ...host, ...variables })
      expect(words).toContain(key)
      expect(words).not.toContain("hunter2")
    })
  )
})

describe("a URL", () => {
  const readUrl = (url: string, own: SmtpClient.UrlOptions = {}) => Urls.read(url, own)

  it.effect.each<readonly [string, SmtpClient.Options]>([
    ["smtp://mail.example.com", { host: "mail.example.com" }],
    ["smtp://mail.example.com:2525/?tls=none", { host: "mail.example.com", port: 2525, tls: "none" }],
    ["smtps://mail.example.com:465", { host: "mail.example.com", port: 465, tls: "implicit" }],
    ["smtp://[2001:db8::1]:25?tls=none", { host: "2001:db8::1", port: 25, tls: "none" }],
    ["smtp://[fe80::1%25eth0]:25", { host: "fe80::1%eth0", port: 25 }],
    ["smtps://[fe80::1%2]", { host: "fe80::1%2", tls: "implicit" }],
    ["smtp://192.0.2.1:25", { host: "192.0.2.1", port: 25 }],
    ["smtp://mail.example.com.:25", { host: "mail.example.com.", port: 25 }],
    ["smtp://[::1]:25?tls=opportunistic", { host: "::1", port: 25, tls: "opportunistic" }],
    ["lmtp://store.example.com?tls=none", { host: "store.example.com", dialect: "lmtp", tls: "none" }],
    ["lmtp:///run/dovecot/lmtp", { path: "/run/dovecot/lmtp", dialect: "lmtp" }]
  ])("%s says where and how", ([url, expected]) =>
    Effect.map(readUrl(url), (options) => {
      expect(options).toEqual(expected)
    })
  )

  it.effect("may name a host beyond ASCII", () =>
    Effect.map(readUrl("smtp://b\u00fccher.example"), ({ host }) => {
      expect(host).toBe("b\u00fccher.example")
    })
  )

  it.effect("has every option in its query, by its name", () =>
    Effect.gen(function* () {
      const inUrl = new Set([
        "host",
        "port",
        "path",
        "username",
        "password",
        "dialect",
        "tls",
        "token",
        "auth"
      ])
      const names = fields.map(({ name }) => name).filter((name) => !inUrl.has(name))
      const query = new URLSearchParams(
        Object.fromEntries(names.map((name) => [name, sampleOf(name) ?? ""]))
      ).toString()
      const options = yield* readUrl(`smtps://app:secret%20word@mail.example.com?${query}`)
      expect(options).toMatchObject({
        maxSessions: 11,
        advanced: { window: { messages: 7 } },
        tls: "implicit"
      })
      expect(Object.keys(options.timeouts ?? {}).length).toBe(20)
      const password = options.auth?._tag === "Password" ? options.auth.password : undefined
      expect(Redacted.isRedacted(password) ? Redacted.value(password) : undefined).toBe("secret word")
    })
  )

  it.effect("leaves the password to the program if need be", () =>
    Effect.map(readUrl("smtps://app@mail.example.com", { password: Redacted.make("secret") }), ({ auth }) => {
      expect(auth).toMatchObject({ _tag: "Password", username: "app" })
    })
  )

  it.effect("keeps what it says where the program's own option is undefined", () =>
    Effect.map(
      readUrl("smtps://app:secret@mail.example.com?maxSessions=3", {
        auth: undefined,
        maxSessions: undefined
      }),
      ({ auth, maxSessions }) => {
        expect(auth).toMatchObject({ _tag: "Password", username: "app" })
        expect(maxSessions).toBe(3)
      }
    )
  )

  it.effect("among several is outranked by the program as the only one is", () =>
    Effect.gen(function* () {
      const text = "smtp://mail.example.com?tlsOptions.verify=false&maxSessions=2"
      const own = { tls: "implicit", tlsOptions: { verify: true }, maxSessions: 7 } as const
      const settingsOf = (url: string | ReadonlyArray<string>) =>
        Effect.map(Urls.read(url, own), (options) => readClientOptions(options))
      for (const url of [text, [text, text]]) {
        const settings = yield* settingsOf(url)
        if (isInvalid(settings)) return yield* Effect.dieMessage(settings.field)
        expect(settings.bounds.maxSessions).toBe(7)
        for (const { session } of settings.relays) {
          expect(session).toMatchObject({ tls: "implicit", tlsOptions: { verify: true } })
        }
      }
      // How many sessions each relay may have is said by its URL alone.
      expect(yield* settingsOf([text, text])).toMatchObject({
        relays: [{ maxSessions: 2 }, { maxSessions: 2 }]
      })
    })
  )

  it.effect("and the program set each advanced option by itself, and so do client and relay", () =>
    Effect.gen(function* () {
      const url = "smtp://mail.example.com?advanced.resetBetween=no&advanced.window.messages=7"
      const own = { advanced: { eagerWithin: "1 second", window: { octets: 5 } } } as const
      const expected = { resetBetween: false, eagerWithin: "1 second", window: { octets: 5 } }
      expect((yield* Urls.read(url, own)).advanced).toEqual(expected)
      const { relays } = yield* Urls.read([url, url], own)
      expect(relays?.map(({ advanced }) => advanced)).toEqual([expected, expected])
      const settings = readClientOptions({
        advanced: { resetBetween: false, eagerWithin: "5 seconds" },
        relays: [{ host: "a.test", advanced: { eagerWithin: "1 second" } }, { host: "b.test" }]
      })
      if (isInvalid(settings)) return yield* Effect.dieMessage(settings.field)
      expect(settings.relays.map(({ session }) => session.advanced)).toEqual([
        { resetBetween: false, eagerWithin: "1 second" },
        { resetBetween: false, eagerWithin: "5 seconds" }
      ])
    })
  )

  it.effect.each<readonly [ReadonlyArray<string>, SmtpClient.UrlOptions, string]>([
    [
      ["smtp://app@a.test", "smtp://b.test:26"],
      { password: Redacted.make("hunter2") },
      "url holds a URL, number 2 (b.test), whose username is missing: there is a password"
    ],
    [["smtp://a.test", "smtp://b.test"], { port: 0 }, "port "],
    [["smtp://a.test", "smtp://b.test"], { maxSessions: 0 }, "maxSessions "],
    [
      ["smtp://a.test", "smtp://b.test?maxSessions=0"],
      { maxSessions: 3 },
      "url holds a URL, number 2 (b.test), whose"
    ],
    [["smtp://a.test", "smtp://b.test"], { timeouts: { greeting: 0 } }, "timeouts.greeting "],
    [["smtp://a.test", "smtp://b.test"], { auth: passwordOf("\0") }, "username "],
    [
      ["smtp://a.test", "smtp://b.test?timeouts.greeting=0"],
      {},
      "url holds a URL, number 2 (b.test), whose timeouts.greeting "
    ],
    [["smtp://a.test", "nonsense"], {}, "url holds a URL, number 2, which is not the address"],
    [["smtp://a.test", untyped(5)], {}, "url holds a URL, number 2, which is not the address"],
    [[untyped(null)], {}, "url is not the address"],
    ...["timeout=3 seconds", "maxWaiting=2", "rateLimitKey=x", "retry.mayDuplicate=true"].map(
      (query) =>
        [
          ["smtp://a.test", `smtp://b.test?${query}`],
          { timeout: "1 minute", maxWaiting: 1 },
          `url holds a URL, number 2 (b.test), whose ${query.replace(/=.*/, "")} belongs to the first URL`
        ] as const
    ),
    [[], {}, "url is missing"]
  ])("among several is named where it is wrong, and nothing else: %#", ([urls, own, words]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Urls.read(urls, own))
      expect(JSON.stringify(error)).toContain(`"message":"${words}`)
      expect(JSON.stringify(error)).not.toContain("hunter2")
    })
  )

  it.effect.each([
    ["nonsense", "url"],
    ["http://app:hunter2@mail.example.com", "url"],
    ["smtp://", "url"],
    ["smtp:///path", "url"],
    ["smtp://app:hunter2@mail.example.com/path", "url"],
    ["smtp://app:hunter2@mail.example.com#x", "url"],
    ["smtp://app:hunter2%@mail.example.com", "password"],
    ["smtp://app@mail.example.com", "password"],
    ["smtp://mail.example.com?maxSession=3", "maxSession"],
    ["smtp://mail.example.com?maxSessions=few", "maxSessions"],
    ["smtp://mail.example.com?maxSessions=0", "maxSessions"],
    ["smtp://mail.example.com?maxSessions=1&maxSessions=2", "maxSessions"],
    ["smtp://mail.example.com?password=hunter2", "password"],
    ["smtp://mail.example.com?host=other", "host"],
    ["smtps://mail.example.com?tls=none", "tls"],
    ["smtp://mail.example.com:0", "port"],
    ["smtp://mail.example.com:99999", "with a port up to 65535"],
    ["smtps://app:12?hunter2@mail.example.com", "%3F"],
    ["smtps://app:12?hunter2&more@mail.example.com", "%3F"],
    ["smtp://mail%0D%0A.example.com", "host"],
    ["smtp://mail%ZZ.example.com", "host"]
  ] as const)("%s is refused by a ConfigError that names what is wrong", ([url, key]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Layer.build(SmtpClient.layerUrl(url))).pipe(
        Effect.scoped,
        Effect.provide(network({}))
      )
      expect(Exit.isFailure(exit)).toBe(true)
      const words = JSON.stringify(exit)
      expect(words).toContain(key)
      expect(words).toContain("InvalidData")
      expect(words).not.toContain("hunter2")
    })
  )
})

describe("a layer", () => {
  it.scoped("from a URL sends", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const sent = Effect.flatMap(SmtpClient.SmtpClient, (client) => client.send(submission))
      yield* sent.pipe(
        Effect.provide(SmtpClient.layerUrl("smtp://app:secret@mx.test")),
        Effect.provide(network({ "mx.test": server }))
      )
      expect(yield* server.messages).toMatchObject([{ user: "app", secured: true }])
    })
  )

  it.scoped("from configuration sends", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.server()
      const sent = Effect.flatMap(SmtpClient.SmtpClient, (client) => client.send(submission))
      const variables = new Map([
        ["MAIL_HOST", "mx.test"],
        ["MAIL_TLS", "none"]
      ])
      yield* sent.pipe(
        Effect.provide(SmtpClient.layerConfig(SmtpClient.config("MAIL"))),
        Effect.provide(network({ "mx.test": server })),
        Effect.withConfigProvider(ConfigProvider.fromMap(variables))
      )
      expect((yield* server.messages).length).toBe(1)
    })
  )

  it.effect("of options that cannot be fails with the option's name", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [SmtpClient.Options, string]> = [
        [{}, "host"],
        [{ host: "a.test", relays: [{ host: "b.test" }] }, "host"],
        [{ relays: [] }, "relays"],
        [{ relays: [{ host: "a.test" }, { host: "b test" }] }, "relays[1].host"],
        [{ relays: [{ host: "a.test", maxSessions: 0 }] }, "relays[0].maxSessions"],
        [{ host: "a.test", maxWaiting: -1 }, "maxWaiting"],
        [{ host: "a.test", auth: passwordOf("app\r\n") }, "username"],
        [{ relays: [{ host: "a.test", auth: passwordOf("") }] }, "relays[0].username"],
        [{ host: "a.test", maxMessages: 1.5 }, "maxMessages"],
        [{ host: "a.test", timeout: NaN }, "timeout"],
        [{ host: "a.test", shutdownTimeout: -1 }, "shutdownTimeout"],
        [{ host: "a.test", maxAge: "-5 seconds" }, "maxAge"],
        [{ host: "a.test", idleTimeout: [0, -1] }, "idleTimeout"],
        [{ host: "a.test", maxPause: -1n }, "maxPause"]
      ]
      for (const [options, field] of cases) {
        const error = yield* Effect.flip(Effect.scoped(SmtpClient.make(options)))
        expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      }
    }).pipe(Effect.provide(network({})))
  )

  it.effect("of what plain JavaScript hands over for options fails with the option's name", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [unknown, string]> = [
        [null, "options"],
        [{ relays: "x" }, "relays"],
        [{ relays: { length: 1 } }, "relays"],
        [{ relays: [{ host: "a.test" }, null] }, "relays[1]"],
        [{ host: "a.test", rateLimitKey: 5 }, "rateLimitKey"],
        [{ host: "a.test", rateLimit: "on" }, "rateLimit"],
        [{ host: "a.test", rateLimit: null }, "rateLimit"],
        [{ host: "a.test", rateLimit: {} }, "rateLimit"],
        [{ host: "a.test", rateLimit: { message: { limit: 1, interval: 1 } } }, "rateLimit"],
        [{ host: "a.test", rateLimit: { messages: null } }, "rateLimit.messages"],
        [
          { host: "a.test", rateLimit: { recipients: { limit: 0, interval: 1 } } },
          "rateLimit.recipients.limit"
        ],
        [{ host: 5 }, "host"],
        [{ host: "a.test", allowInsecureAuth: "true" }, "allowInsecureAuth"],
        [{ host: "a.test", timeouts: 5 }, "timeouts"],
        [{ host: "a.test", advanced: null }, "advanced"],
        [{ host: "a.test", advanced: { window: { messages: "1" } } }, "advanced.window.messages"],
        [{ host: "a.test", advanced: { eagerWithin: -1 } }, "advanced.eagerWithin"],
        [{ host: "a.test", retry: null }, "retry"],
        [{ host: "a.test", retry: 5 }, "retry"],
        [{ host: "a.test", retry: { mayDuplicate: "false" } }, "retry.mayDuplicate"],
        [{ host: "a.test", retry: { schedule: {} } }, "retry.schedule"]
      ]
      for (const [options, field] of cases) {
        const error = yield* Effect.flip(Effect.scoped(SmtpClient.make(untyped(options))))
        expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      }
    }).pipe(Effect.provide(network({})))
  )
})
