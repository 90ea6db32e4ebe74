/** The test of examples/signup: the whole service, from its HTTP request to the message that a server has got. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServer from "@effect/platform/HttpServer"
import { describe, expect, it } from "@effect/vitest"
import { SmtpClient } from "effect-smtplib"
import * as Mailer from "effect-smtplib/Mailer"
import * as SmtpTest from "effect-smtplib/SmtpTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import PostalMime from "postal-mime"
import { development, policies } from "../../examples/signup/layers.js"
import { api, handlers } from "../../examples/signup/service.js"

const inMemory = Mailer.layer(policies).pipe(
  Layer.provideMerge(SmtpClient.layer({ host: "mx.test", tls: "none", retry: "off" })),
  Layer.provideMerge(
    SmtpTest.layer({
      accept: ({ address }) => (address === "nobody@example.org" ? "550 5.1.1 no such user" : undefined)
    })
  )
)

/** Answers a request as the service does, without a socket. */
const signUp = (address: string) =>
  Effect.gen(function* () {
    const mailer = yield* Mailer.Mailer
    const { dispose, handler } = HttpApiBuilder.toWebHandler(
      Layer.merge(
        HttpApiBuilder.api(api).pipe(
          Layer.provide(handlers),
          Layer.provide(Layer.succeed(Mailer.Mailer, mailer))
        ),
        HttpServer.layerContext
      )
    )
    const body = JSON.stringify({ name: "Ann", address })
    const headers = { "content-type": "application/json" }
    const response = yield* Effect.promise(() =>
      handler(new Request("http://localhost/sign-ups", { method: "POST", headers, body }))
    )
    const answer: unknown = yield* Effect.promise(() => response.json())
    yield* Effect.promise(dispose)
    return { status: response.status, answer }
  })

describe("a sign-up", () => {
  it.effect("sends a welcome that can be read, answered and unsubscribed from", () =>
    Effect.gen(function* () {
      expect(yield* signUp("ann@example.net")).toEqual({ status: 200, answer: { welcome: "sent" } })
      const { messages } = yield* SmtpTest.SmtpTest
      const [message] = yield* messages
      const email = yield* Effect.promise(() => PostalMime.parse(message?.content ?? ""))
      expect(email).toMatchObject({
        subject: "Welcome, Ann",
        from: { address: "shop@example.com" },
        replyTo: [{ address: "help@example.com" }],
        to: [{ name: "Ann", address: "ann@example.net" }]
      })
      expect(email.html).toContain("<h1>Welcome, Ann</h1>")
      expect(email.text).toContain("Good to have you.")
      expect(email.headers.map(({ key }) => key)).toContain("list-unsubscribe-post")
    }).pipe(Effect.provide(inMemory))
  )

  it.effect.each([
    ["gone@example.net", { status: 200, answer: { welcome: "suppressed" } }],
    ["nobody@example.org", { status: 422, answer: { _tag: "BadSignUp", detail: "550 5.1.1 no such user" } }]
  ] as const)("of %s says what became of the welcome", ([address, expected]) =>
    Effect.gen(function* () {
      expect(yield* signUp(address)).toEqual(expected)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("names the address that is none", () =>
    Effect.gen(function* () {
      const { answer, status } = yield* signUp("not an address")
      expect(status).toBe(422)
      expect(JSON.stringify(answer)).toContain("Invalid to")
    }).pipe(Effect.provide(inMemory))
  )

  it.scopedLive("is a file in development, and nothing is sent", () =>
    Effect.gen(function* () {
      const directory = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "effect-smtplib-signup-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const answered = yield* Effect.provide(signUp("ann@example.net"), development(directory))
      expect(answered.answer).toEqual({ welcome: "not production" })
      expect(yield* Effect.promise(() => readdir(directory))).toHaveLength(1)
    })
  )
})
