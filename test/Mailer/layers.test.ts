import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { generateKeyPairSync } from "node:crypto"
import * as Mailer from "../../src/Mailer.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { startSmtpServer } from "../support/smtpServer.js"
import { received } from "./inbox.js"

const hello = { to: "ann@example.net", subject: "Hello", text: "Hello.\n" }

const withEnvironment = (variables: Readonly<Record<string, string>>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

const inMemory = SmtpClient.layer({ host: "mx.test", tls: "none" }).pipe(Layer.provideMerge(SmtpTest.layer()))

const configured = (own?: Mailer.Options) =>
  Mailer.layerConfig(Mailer.config("MAIL"), own).pipe(Layer.provideMerge(inMemory))

const pem = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString()

describe("Mailer.layerConfig", () => {
  it.effect("reads defaults, envelope sender and DKIM", () =>
    Effect.gen(function* () {
      yield* Mailer.send(hello)
      const { email, from, source } = yield* received
      expect(from).toBe("bounces@example.com")
      expect(email).toMatchObject({
        from: { name: "The App", address: "app@example.com" },
        replyTo: [{ address: "help@example.com" }]
      })
      expect(source).toMatch(/^DKIM-Signature: /)
    }).pipe(
      Effect.provide(configured()),
      withEnvironment({
        MAIL_FROM: "The App <app@example.com>",
        MAIL_REPLY_TO: "help@example.com",
        MAIL_ENVELOPE_FROM: "bounces@example.com",
        MAIL_TIMEOUT: "1 minute",
        MAIL_DKIM_DOMAIN: "example.com",
        MAIL_DKIM_SELECTOR: "2026a",
        MAIL_DKIM_PRIVATE_KEY: pem
      })
    )
  )

  it.effect.each([
    [
      { MAIL_REDIRECT_ALL: "dev@example.com, ops@example.com" },
      { envelope: { to: ["dev@example.com", "ops@example.com"] } }
    ],
    [{ MAIL_ALLOW_ONLY: "@example.com" }, { _tag: "Skipped", reason: "Suppressed" }],
    [{ MAIL_DRY_RUN: "true" }, { _tag: "Skipped", reason: "DryRun" }],
    [{ MAIL_DRY_RUN: "false" }, { _tag: "Receipt" }]
  ] as const)("%#: reads the environment", ([variables, expected]) =>
    Effect.gen(function* () {
      expect(yield* Mailer.send(hello)).toMatchObject(expected)
    }).pipe(Effect.provide(configured()), withEnvironment({ ...variables, MAIL_FROM: "app@example.com" }))
  )

  it.effect.each([
    ["MAIL_REDIRECT_ALL", "redirectAll"],
    ["MAIL_DIRECTORY", "toDirectory"]
  ] as const)("%s: does not take an empty variable for production", ([key, field]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.provide(Mailer.send(hello), configured()))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
    }).pipe(withEnvironment({ MAIL_FROM: "app@example.com", [key]: "" }))
  )

  it.effect("allows nobody by an empty allow-list", () =>
    Effect.gen(function* () {
      expect(yield* Mailer.send(hello)).toMatchObject({ _tag: "Skipped" })
    }).pipe(
      Effect.provide(configured()),
      withEnvironment({ MAIL_FROM: "app@example.com", MAIL_ALLOW_ONLY: "" })
    )
  )

  it.effect("lets options override it, and merges the defaults", () =>
    Effect.gen(function* () {
      yield* Mailer.send(hello)
      const { email } = yield* received
      expect(email).toMatchObject({
        from: { address: "app@example.com" },
        replyTo: [{ address: "own@example.com" }]
      })
    }).pipe(
      Effect.provide(configured({ defaults: { replyTo: "own@example.com" }, environment: [] })),
      withEnvironment({ MAIL_FROM: "app@example.com", MAIL_REPLY_TO: "a@example.com", MAIL_DRY_RUN: "true" })
    )
  )

  it.effect.each([
    [{ MAIL_DKIM_DOMAIN: "example.com" }, "MAIL_DKIM_SELECTOR"],
    [{ MAIL_DRY_RUN: "perhaps" }, "MAIL_DRY_RUN"],
    [{ MAIL_TIMEOUT: "soon" }, "MAIL_TIMEOUT"]
  ] as const)("%#: names the key that is missing or invalid", ([variables, key]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.provide(Mailer.send(hello), configured()))
      expect(JSON.stringify(error)).toContain(key)
    }).pipe(withEnvironment({ ...variables, MAIL_FROM: "app@example.com" }))
  )
})

describe("NodeSmtp", () => {
  const options = { tls: "none", host: "127.0.0.1" } as const

  it.scopedLive("layerClient is a client with all that it requires", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer()
      const submission = { from: "a@x.test", to: "b@y.test", content: "Subject: x\r\n\r\nx\r\n" }
      yield* Effect.gen(function* () {
        yield* SmtpClient.check
        expect(yield* SmtpClient.send(submission)).toMatchObject({ accepted: [{}] })
        expect(yield* SmtpClient.deliver(submission)).toMatchObject({ accepted: [{}] })
      }).pipe(Effect.provide(NodeSmtp.layerClient({ ...options, port: server.port })))
    })
  )

  it.scopedLive("layerClientConfig reads it from the environment", () =>
    Effect.gen(function* () {
      const { port } = yield* startSmtpServer()
      yield* SmtpClient.check.pipe(
        Effect.provide(NodeSmtp.layerClientConfig()),
        withEnvironment({ SMTP_HOST: "127.0.0.1", SMTP_PORT: String(port), SMTP_TLS: "none" })
      )
    })
  )

  it.scopedLive("layerMailer is a mailer with its client", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer()
      const live = NodeSmtp.layerMailer(
        { ...options, port: server.port },
        { defaults: { from: "app@example.com" } }
      )
      expect(yield* Effect.provide(Mailer.send(hello), live)).toMatchObject({ accepted: [{}] })
      expect(yield* server.accepted).toHaveLength(1)
    })
  )

  it.scopedLive("layerMailerConfig reads both from the environment", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer()
      const result = yield* Mailer.send(hello).pipe(
        Effect.provide(
          NodeSmtp.layerMailerConfig({ mail: "APP_MAIL" }, { submission: { timeout: "1 minute" } })
        ),
        withEnvironment({
          SMTP_HOST: "127.0.0.1",
          SMTP_PORT: String(server.port),
          SMTP_TLS: "none",
          APP_MAIL_FROM: "app@example.com"
        })
      )
      expect(result).toMatchObject({ accepted: [{}] })
      expect(yield* server.accepted).toHaveLength(1)
    })
  )
})
