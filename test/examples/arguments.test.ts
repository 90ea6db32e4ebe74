import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readArguments } from "../../examples/support/arguments.js"

const envelope = ["--from", "a@b.c", "--to", "d@e.f"]

describe("the arguments of the demo", () => {
  it.effect("may be none", () =>
    Effect.gen(function* () {
      expect(yield* readArguments([])).toStrictEqual({ _tag: "OwnServer" })
    })
  )

  it.effect.each([
    {
      url: "smtp://mail.example.com",
      server: { host: "mail.example.com", port: undefined, dialect: "smtp", tls: undefined }
    },
    {
      url: "smtp://[::1]:2525?tls=none",
      server: { host: "::1", port: 2525, dialect: "smtp", tls: "none" }
    },
    {
      url: "smtps://mail.example.com:465",
      server: { host: "mail.example.com", port: 465, dialect: "smtp", tls: "implicit" }
    },
    {
      url: "lmtp://localhost:24?tls=opportunistic",
      server: { host: "localhost", port: 24, dialect: "lmtp", tls: "opportunistic" }
    },
    {
      url: "lmtp:///run/dovecot/lmtp",
      server: { path: "/run/dovecot/lmtp", dialect: "lmtp", tls: undefined }
    }
  ])("name a server: $url", ({ server, url }) =>
    Effect.gen(function* () {
      expect(yield* readArguments(["--url", url, ...envelope])).toStrictEqual({
        _tag: "Target",
        target: { server, username: undefined, from: "a@b.c", to: ["d@e.f"], ca: undefined, file: undefined }
      })
    })
  )

  it.effect("take the user name from the URL, and recipients from several --to", () =>
    Effect.gen(function* () {
      const url = "smtp://ann%40example.net@mail.example.com"
      const args = ["--url", url, "--from", "", "--to", "a@x.test, b@x.test", "--to", "c@x.test", "m.eml"]
      expect(yield* readArguments(args)).toMatchObject({
        target: {
          username: "ann@example.net",
          from: "",
          to: ["a@x.test", "b@x.test", "c@x.test"],
          file: "m.eml"
        }
      })
    })
  )

  it.effect.each([
    { args: ["message.eml"], problem: "--url is missing" },
    { args: ["--url", "smtp://mail.example.com", "--to", "d@e.f"], problem: "--from is missing" },
    { args: ["--url", "smtp://mail.example.com", "--from", "a@b.c"], problem: "--to is missing" },
    { args: ["--url", "mail.example.com", ...envelope], problem: "it begins with smtp://" },
    { args: ["--url", "http://ann:pw@mail.example.com", ...envelope], problem: "it begins with smtp://" },
    { args: ["--url", "smtp:///path", ...envelope], problem: "names no host" },
    { args: ["--url", "smtp://ann:pw@mail.example.com", ...envelope], problem: "use SMTP_PASSWORD" },
    { args: ["--url", "smtp://ann%@mail.example.com", ...envelope], problem: "% that encodes nothing" },
    { args: ["--url", "smtp://%ff@mail.example.com", ...envelope], problem: "write a plain % as %25" },
    { args: ["--url", "smtp://mail.example.com?tls=maybe", ...envelope], problem: "?tls=maybe is unknown" },
    { args: ["--url", "smtps://mail.example.com?tls=none", ...envelope], problem: "say smtp://" },
    { args: ["--url", "smtp://mail.example.com", ...envelope, "a.eml", "b.eml"], problem: "Only one FILE" }
  ])("are refused with what is wrong: $problem", ({ args, problem }) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(readArguments(args))
      expect(error._tag).toBe("UsageError")
      expect(error.message).toContain(problem)
      expect(error.message).toContain("usage: npm run demo")
      expect(error.message.split("\n")[0]).not.toContain(":pw@")
    })
  )
})
