import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { inspect } from "node:util"
import * as SmtpAuth from "../src/SmtpAuth.js"

describe("credentials", () => {
  const all = [
    SmtpAuth.password({ username: "ann", password: Redacted.make("hunter2") }),
    SmtpAuth.oauth2({ username: "ann", token: Redacted.make("hunter2") }),
    SmtpAuth.mechanism({
      name: "X",
      begin: Effect.succeed({
        initialResponse: Redacted.make(Buffer.from("hunter2")),
        respond: () => Effect.succeed(Redacted.make(Buffer.from("hunter2")))
      })
    })
  ]

  it("show no secret when they are printed, logged or serialised", () => {
    for (const credentials of all) {
      const shown = `${inspect(credentials, { depth: 9 })} ${JSON.stringify(credentials)}`
      expect(shown).not.toContain("hunter2")
      expect(shown).not.toContain(Buffer.from("hunter2").toString("hex"))
      expect(shown).not.toContain(Array.from(Buffer.from("hunter2")).join(","))
    }
  })

  it("without options are those of the lower layers, and of nobody", () => {
    expect(SmtpAuth.external()).toEqual({ _tag: "External" })
    expect(SmtpAuth.anonymous()).toEqual({ _tag: "Anonymous" })
  })
})

describe("the order of password mechanisms", () => {
  const position = (name: SmtpAuth.PasswordMechanism): number => SmtpAuth.passwordMechanisms.indexOf(name)

  it("puts channel binding before SCRAM, SCRAM before CRAM-MD5, and what sends the password last", () => {
    expect(SmtpAuth.passwordMechanisms.slice(0, 3).every((name) => name.endsWith("-PLUS"))).toBe(true)
    expect(position("SCRAM-SHA-1")).toBeLessThan(position("CRAM-MD5"))
    expect(SmtpAuth.passwordMechanisms.slice(-3)).toEqual(["CRAM-MD5", "PLAIN", "LOGIN"])
  })

  it("puts the stronger hash first", () => {
    for (const suffix of ["", "-PLUS"] as const) {
      expect(position(`SCRAM-SHA-512${suffix}`)).toBeLessThan(position(`SCRAM-SHA-256${suffix}`))
      expect(position(`SCRAM-SHA-256${suffix}`)).toBeLessThan(position(`SCRAM-SHA-1${suffix}`))
    }
  })
})
