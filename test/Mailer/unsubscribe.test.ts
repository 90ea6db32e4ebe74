import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import { generateKeyPairSync } from "node:crypto"
import * as Mailer from "../../src/Mailer.js"
import { untyped } from "../support/untyped.js"
import { layer, received } from "./inbox.js"

const secret = Redacted.make("a secret of enough characters")
const unsubscribe = { url: "https://example.com/unsubscribe?x=1", secret }
const defaults = { from: "app@example.com" }
const news = { to: "ann@example.net", subject: "News", text: "There are news.\n", unsubscribe: "news" }

const privateKey = Redacted.make(
  generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString()
)

const unfolded = (source: string): string => source.replace(/\r\n[ \t]+/g, " ")

const tokenIn = (source: string): string =>
  new URL(/^List-Unsubscribe: <([^>]*)>/m.exec(unfolded(source))?.[1] ?? "none:").searchParams.get("token") ??
  ""

describe("one-click unsubscription", () => {
  it.effect("adds the fields of RFC 8058 under DKIM, with a token that can be verified", () =>
    Effect.gen(function* () {
      yield* Mailer.send(news)
      const text = unfolded((yield* received).source)
      expect(text).toMatch(
        /^List-Unsubscribe: <https:\/\/example\.com\/unsubscribe\?x=1&token=[\w.-]+>, <mailto:/m
      )
      expect(text).toContain("<mailto:leave%3Fa%26b@example.com?subject=unsubscribe>\r\n")
      expect(text).toContain("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")
      expect(text).toContain("List-Id: <news.example.com>\r\n")
      const signed = /h=([^;]*);/.exec(text)?.[1]?.replaceAll(" ", "").split(":")
      expect(signed).toEqual(expect.arrayContaining(["list-unsubscribe", "list-unsubscribe-post"]))
      expect(yield* Mailer.verifyUnsubscribe(tokenIn(text), secret)).toEqual({
        address: "ann@example.net",
        topic: "news"
      })
    }).pipe(
      Effect.provide(
        layer({
          defaults: { ...defaults, list: { id: "news.example.com" } },
          unsubscribe: { ...unsubscribe, mailto: "leave?a&b@example.com" },
          // Without the fields of RFC 8058, which the mailer adds.
          dkim: { keys: [{ domain: "example.com", selector: "s", privateKey }], fields: ["Subject"] }
        })
      )
    )
  )

  it.effect("without a topic names the address alone, and nothing is added unless the message says so", () =>
    Effect.gen(function* () {
      const text = (options: object) =>
        Mailer.send({ ...news, ...options }).pipe(
          Effect.zipRight(received),
          Effect.provide(layer({ defaults, unsubscribe })),
          Effect.map(({ source }) => source)
        )
      const token = tokenIn(yield* text({ unsubscribe: true }))
      expect(yield* Mailer.verifyUnsubscribe(token, secret)).toEqual({ address: "ann@example.net" })
      expect(yield* text({ unsubscribe: undefined })).not.toContain("List-")
    })
  )

  it.effect("names the address that a message is redirected to", () =>
    Effect.gen(function* () {
      yield* Mailer.send(news)
      const token = tokenIn((yield* received).source)
      expect(yield* Mailer.verifyUnsubscribe(token, secret)).toMatchObject({ address: "dev@example.com" })
    }).pipe(
      Effect.provide(
        layer({
          defaults,
          unsubscribe,
          environment: Mailer.redirectAll("dev@example.com", "ops@example.com")
        })
      )
    )
  )

  it.effect("verifies links in texts, by any of several secrets", () =>
    Effect.gen(function* () {
      const next = Redacted.make("the next secret, to rotate")
      const link = yield* Mailer.unsubscribeLink(unsubscribe, { address: "ann@example.net" })
      const token = new URL(link).searchParams.get("token") ?? ""
      expect(yield* Mailer.verifyUnsubscribe(token, [next, secret])).toEqual({ address: "ann@example.net" })
      expect(yield* Effect.flip(Mailer.verifyUnsubscribe(token, next))).toMatchObject({ field: "token" })
    })
  )

  it("refuses a token that was changed anywhere", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(
        FastCheck.nat(),
        FastCheck.base64String({ minLength: 4, maxLength: 4 }),
        async (at, text) => {
          const link = await Effect.runPromise(
            Mailer.unsubscribeLink(unsubscribe, { address: "ann@example.net" })
          )
          const token = new URL(link).searchParams.get("token") ?? ""
          const position = at % token.length
          const changed = token.slice(0, position) + text.slice(0, 1) + token.slice(position + 1)
          const result = await Effect.runPromise(Effect.either(Mailer.verifyUnsubscribe(changed, secret)))
          // The last character of base64 holds bits that decoders ignore.
          if (changed !== token && position < token.length - 1) expect(result._tag).toBe("Left")
        }
      )
    ))

  it.effect.each(["", "a.b", ".", "x".repeat(100), untyped(42), untyped(null)])(
    "%#: refuses what is no token",
    (token) =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(Mailer.verifyUnsubscribe(token, secret))).toMatchObject({ field: "token" })
      })
  )

  it.effect.each([
    [{ to: ["ann@example.net", "bob@example.net"] }, { unsubscribe }, "unsubscribe"],
    [{ list: { unsubscribe: "https://example.com/" } }, { unsubscribe }, "unsubscribe"],
    [{}, {}, "unsubscribe"],
    [{}, { unsubscribe: { url: "http://example.com", secret } }, "unsubscribe.url"],
    [{}, { unsubscribe: { url: "here", secret } }, "unsubscribe.url"],
    [
      {},
      { unsubscribe: { url: "https://example.com", secret: Redacted.make("short") } },
      "unsubscribe.secret"
    ],
    [{}, { unsubscribe: { url: "https://example.com", secret: [] } }, "unsubscribe.secret"],
    [{}, { unsubscribe: { ...unsubscribe, mailto: "nobody" } }, "unsubscribe.mailto"]
  ] as const)("%#: names what is wrong", ([message, options, field]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Mailer.send({ ...news, ...message }).pipe(Effect.provide(layer({ defaults, ...options })))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
    })
  )
})
