import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { readFileSync } from "node:fs"
import { readClientOptions } from "../src/internal/options/client.js"
import { isInvalid } from "../src/protocol/Invalid.js"
import * as SmtpAuth from "../src/SmtpAuth.js"
import * as SmtpClient from "../src/SmtpClient.js"
import * as SmtpProvider from "../src/SmtpProvider.js"
import * as SmtpSession from "../src/SmtpSession.js"
import * as SmtpTest from "../src/SmtpTest.js"
import { names } from "../src/internal/providers/profiles.js"

const ses = SmtpProvider.ses("eu-west-1")

const profiles: ReadonlyArray<readonly [string, SmtpProvider.Profile]> = [
  ...names.filter((name) => !name.startsWith("ses:")),
  "ses:eu-west-1"
].map((name) => {
  const profile = SmtpProvider.fromName(name)
  if (profile === undefined) throw new Error(`no profile ${name}`)
  return [name, profile]
})

describe("every profile", () => {
  it.each(profiles)("%s is made of valid options", (_, profile) => {
    const settings = readClientOptions({ ...profile })
    if (isInvalid(settings)) throw new Error(`${settings.field} ${settings.reason}`)
    const [relay] = settings.relays
    expect([relay?.host, relay?.port]).toEqual([profile.host, profile.port])
  })

  it.each(profiles)("%s is plain data", (_, profile) => {
    expect(JSON.parse(JSON.stringify(profile))).toEqual(profile)
  })

  it.each(profiles)(
    "%s has TLS, unless it delivers nothing and is on this machine",
    (name, { port, tls }) => {
      expect(tls === "none").toBe(["mailpit", "maildev"].includes(name))
      expect(tls === "implicit").toBe(port === 465)
    }
  )

  it.each(profiles)("%s explains each of its readings, whatever stands around the text", (_, profile) => {
    for (const reading of profile.readings) {
      const [category, subject = 0, detail = 0] = reading.enhancedCode?.split(".").map(Number) ?? []
      const reply = {
        code: reading.code,
        enhancedCode:
          reading.enhancedCode === undefined
            ? undefined
            : { class: category === 4 ? (4 as const) : (5 as const), subject, detail, advertised: true },
        text: `Sorry, ${(reading.text ?? "").toUpperCase()} [x1]`
      }
      expect(SmtpProvider.explain(profile, reply)).toBe(reading)
      expect(reading.sentence).toMatch(/^[A-Z].*\.$/)
      expect(SmtpProvider.explain(profile, { ...reply, code: 599 })).toBeUndefined()
    }
  })

  it("is an export of the module", () => {
    const exported = Object.values(SmtpProvider).filter((value) => typeof value === "object")
    expect(exported).toEqual(profiles.slice(0, -1).map(([, profile]) => profile))
  })

  it("has a source with a date", () => {
    const source = readFileSync(new URL("../src/internal/providers/profiles.ts", import.meta.url), "utf8")
    const facts = source.split(/^export const (?=\w+ = (?:\{|\(region))/m).slice(1)
    expect(facts).toHaveLength(profiles.length)
    for (const fact of facts) expect(fact).toMatch(/\/\/ .*\n?.*https:\/\/\S+.* \(2026-\d\d-\d\d\)/)
  })
})

describe("explain", () => {
  it("requires the enhanced code of a reading", () => {
    const reply = {
      code: 550,
      enhancedCode: { class: 5, subject: 4, detail: 5, advertised: true },
      text: "Daily limit"
    } as const
    expect(SmtpProvider.explain(SmtpProvider.gmail, reply)?.meaning).toBe("QuotaExceeded")
    expect(SmtpProvider.explain(SmtpProvider.gmail, { ...reply, enhancedCode: undefined })).toBeUndefined()
  })

  it("tells readings with the same code by their text", () => {
    const meaning = (text: string) =>
      SmtpProvider.explain(ses, { code: 454, enhancedCode: undefined, text })?.meaning
    expect(meaning("Throttling failure: Maximum sending rate exceeded.")).toBe("Throttled")
    expect(meaning("Throttling failure: Daily message quota exceeded.")).toBe("QuotaExceeded")
    expect(meaning("Temporary authentication failure")).toBeUndefined()
  })

  it.effect("reads the reply of a failed log-in", () =>
    Effect.gen(function* () {
      const auth = SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.reply("220 smtp.test"),
          SmtpTest.expect(/^EHLO /),
          SmtpTest.reply("250-smtp.test", "250 STARTTLS"),
          SmtpTest.expect("STARTTLS"),
          SmtpTest.reply("220 go"),
          SmtpTest.upgrade,
          SmtpTest.expect(/^EHLO /),
          SmtpTest.reply("250-smtp.test", "250 AUTH PLAIN"),
          SmtpTest.expect(/^AUTH PLAIN /),
          SmtpTest.reply(
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. [x]"
          ),
          SmtpTest.expect("QUIT"),
          SmtpTest.reply("221 bye")
        )
      )
      const session = SmtpSession.make({ ...SmtpProvider.microsoft365, auth })
      const error = yield* Effect.flip(session).pipe(Effect.provide(server.layer))
      if (error._tag !== "AuthenticationError" || error.reply === undefined) return yield* Effect.die(error)
      expect(SmtpProvider.explain(SmtpProvider.microsoft365, error.reply)?.meaning).toBe("AuthDisabled")
      expect((yield* server.dialled)[0]).toMatchObject({ host: "smtp.office365.com", port: 587 })
    }).pipe(Effect.scoped)
  )
})

describe("fromName", () => {
  it("reads names in any letter case, and the region of Amazon SES", () => {
    expect(SmtpProvider.fromName("GMail")).toBe(SmtpProvider.gmail)
    expect(SmtpProvider.fromName("mailguneu")).toBe(SmtpProvider.mailgunEu)
    expect(SmtpProvider.fromName("ses:eu-west-1")).toEqual(ses)
    expect(ses.host).toBe("email-smtp.eu-west-1.amazonaws.com")
  })

  it.each(["", "ses", "ses:", "ses:a.b", "ses:a@b", "toString", "gmail "])("knows no %j", (name) => {
    expect(SmtpProvider.fromName(name)).toBeUndefined()
  })
})

describe("SMTP_PROVIDER", () => {
  const read = (variables: Readonly<Record<string, string>>) =>
    Effect.withConfigProvider(
      SmtpClient.config("SMTP"),
      ConfigProvider.fromMap(new Map(Object.entries(variables)))
    )

  it.effect("gives host, port, TLS and sessions, beside the credentials", () =>
    Effect.gen(function* () {
      const options = yield* read({
        SMTP_PROVIDER: "microsoft365",
        SMTP_USERNAME: "app@example.com",
        SMTP_PASSWORD: "secret"
      })
      expect(options).toMatchObject({
        host: "smtp.office365.com",
        port: 587,
        tls: "starttls",
        maxSessions: 3
      })
      expect(options.auth).toBeDefined()
    })
  )

  it.effect("gives way to every other variable", () =>
    Effect.gen(function* () {
      expect(
        yield* read({ SMTP_PROVIDER: "microsoft365", SMTP_HOST: "proxy.test", SMTP_MAX_SESSIONS: "1" })
      ).toMatchObject({ host: "proxy.test", port: 587, maxSessions: 1 })
    })
  )

  it.effect("takes port and TLS together: one that is given replaces both", () =>
    Effect.gen(function* () {
      const byPort = yield* read({ SMTP_PROVIDER: "gmail", SMTP_PORT: "587" })
      expect([byPort.port, byPort.tls]).toEqual([587, undefined])
      const byTls = yield* read({ SMTP_PROVIDER: "gmail", SMTP_TLS: "starttls" })
      expect([byTls.port, byTls.tls]).toEqual([undefined, "starttls"])
    })
  )

  it.effect("names the key and the providers if there is no such provider", () =>
    Effect.gen(function* () {
      const message = JSON.stringify(yield* Effect.flip(read({ SMTP_PROVIDER: "gmial" })))
      expect(message).toContain(String.raw`SMTP_PROVIDER is \"gmial\"; use one of gmail, microsoft365, `)
      expect(message).toContain("ses:REGION")
    })
  )

  it.effect("is refused beside a URL", () =>
    Effect.gen(function* () {
      const message = JSON.stringify(
        yield* Effect.flip(read({ SMTP_PROVIDER: "gmail", SMTP_URL: "smtp://mail.example.com" }))
      )
      expect(message).toContain("SMTP_PROVIDER stands beside a URL; remove one of them")
    })
  )
})
