import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createHash, generateKeyPairSync } from "node:crypto"
import * as Dkim from "../../src/Dkim.js"
import * as Mailer from "../../src/Mailer.js"
import { untyped } from "../support/untyped.js"
import { arrived, layer, received } from "./inbox.js"

const hello = { to: "Ann <ann@example.net>", subject: "Hello", text: "Hello, Ann.\n" }
const defaults = { from: "The App <app@example.com>" }

const suppression: Mailer.Suppression = {
  isSuppressed: (address) => Effect.succeed(/^(?:gone|left)@/.test(address))
}

describe("suppression", () => {
  it.effect("keeps suppressed recipients out of envelope and outcomes, and names them beside", () =>
    Effect.gen(function* () {
      const result = yield* Mailer.send({ ...hello, cc: "gone@example.net", bcc: "left@example.net" })
      expect(result).toMatchObject({
        _tag: "Receipt",
        outcomes: [{ recipient: "ann@example.net" }],
        envelope: { to: ["ann@example.net"] },
        suppressed: [
          { recipient: "gone@example.net", reason: "Suppressed" },
          { recipient: "left@example.net", reason: "Suppressed" }
        ]
      })
      expect((yield* received).to).toEqual(["ann@example.net"])
    }).pipe(Effect.provide(layer({ defaults, suppression })))
  )

  it.effect("of all recipients gives Skipped, and renders nothing", () =>
    Effect.gen(function* () {
      let renderings = 0
      const html = Effect.sync(() => {
        renderings++
        return "<p></p>"
      })
      const result = yield* Mailer.send({ to: ["gone@example.net", "left@example.net"], html })
      expect(result).toMatchObject({ _tag: "Skipped", reason: "Suppressed", envelope: { to: [] } })
      expect(result).not.toHaveProperty("outcomes")
      expect(result.suppressed).toHaveLength(2)
      expect(renderings).toBe(0)
      expect(yield* arrived).toEqual([])
    }).pipe(Effect.provide(layer({ defaults, suppression })))
  )

  it.effect("keeps the parameters of the other recipients", () =>
    Effect.gen(function* () {
      const to = [{ address: "ann@example.net", notify: "NEVER" as const }, "gone@example.net"]
      const composed = yield* Mailer.compose(hello, { to })
      expect(composed).toMatchObject({ _tag: "Composed", submission: { to: [to[0]] } })
    }).pipe(Effect.provide(layer({ defaults, suppression })))
  )

  it.effect("runs again when a submission is delivered, for whoever has unsubscribed meanwhile", () =>
    Effect.gen(function* () {
      const mailer = yield* Mailer.Mailer
      const composed = yield* mailer.compose({ ...hello, cc: "bob@example.org" })
      if (composed._tag === "Skipped") return yield* Effect.die("skipped")
      gone.add("ann@example.net")
      expect(yield* mailer.submit(composed.submission)).toMatchObject({
        _tag: "Receipt",
        envelope: { to: ["bob@example.org"] },
        suppressed: [{ recipient: "ann@example.net" }]
      })
      gone.add("bob@example.org")
      expect(yield* mailer.submit(composed.submission)).toMatchObject({
        _tag: "Skipped",
        reason: "Suppressed"
      })
      expect((yield* received).to).toEqual(["bob@example.org"])
    }).pipe(
      Effect.provide(
        layer({ defaults, suppression: { isSuppressed: (address) => Effect.succeed(gone.has(address)) } })
      )
    )
  )
  const gone = new Set<string>()
})

describe("textFromHtml", () => {
  const html = '<h1>Hello</h1><p>See <a href="https://example.com">this</a>.</p>'

  it.effect("makes plain text by html-to-text", () =>
    Effect.gen(function* () {
      yield* Mailer.send({ to: "ann@example.net", html })
      const { email } = yield* received
      expect(email.text?.trim()).toBe("HELLO\n\nSee this <https://example.com>.")
    }).pipe(Effect.provide(layer({ defaults, textFromHtml: true })))
  )

  it.effect("makes it by a function, and only for messages without text", () =>
    Effect.gen(function* () {
      yield* Mailer.send({ to: "ann@example.net", html: Effect.succeed(html) })
      yield* Mailer.send({ to: "ann@example.net", html, text: "own\n" })
      const texts = (yield* arrived).map(({ email }) => email.text?.trim())
      expect(texts).toEqual([`text of ${html.length}`, "own"])
    }).pipe(Effect.provide(layer({ defaults, textFromHtml: (given) => `text of ${given.length}\n` })))
  )
})

describe("embedImages", () => {
  const png = "data:image/png;base64,iVBORw0KGgo="
  const html = `<img src="${png}"><IMG alt=x src='${png}'><img src=data:image/gif;base64,R0lGODlh><!-- <img src="${png}"> --><p>data:image/png</p>`

  it.effect("attaches images of data: URLs, each once, and refers to them", () =>
    Effect.gen(function* () {
      yield* Mailer.send({ to: "ann@example.net", html, attachments: [{ filename: "a.txt", content: "a" }] })
      const { email, source } = yield* received
      const cids = email.attachments.flatMap(({ contentId = "" }) => (contentId === "" ? [] : [contentId]))
      expect(email.attachments.map(({ filename, mimeType }) => [filename, mimeType])).toEqual([
        ["image1.png", "image/png"],
        ["image2.gif", "image/gif"],
        ["a.txt", "text/plain"]
      ])
      const [first, second] = cids.map((cid) => cid.replace(/[<>]/g, ""))
      expect(email.html?.trim()).toBe(
        `<img src="cid:${first}"><IMG alt=x src="cid:${first}"><img src="cid:${second}"><!-- <img src="${png}"> --><p>data:image/png</p>`
      )
      expect(source).toContain("multipart/related")
    }).pipe(Effect.provide(layer({ defaults })))
  )

  it.effect("can be switched off", () =>
    Effect.gen(function* () {
      yield* Mailer.send({ to: "ann@example.net", html })
      expect((yield* received).email.html?.trim()).toBe(html)
    }).pipe(Effect.provide(layer({ defaults, embedImages: false })))
  )
})

describe("dkim", () => {
  const { privateKey } = generateKeyPairSync("ed25519")
  const pem = Redacted.make(privateKey.export({ format: "pem", type: "pkcs8" }).toString())
  const key = { domain: "example.com", selector: "2026a", privateKey: pem }

  it.effect("signs every message last, with keys that are read once", () =>
    Effect.gen(function* () {
      yield* Mailer.send({ ...hello, html: '<img src="data:image/png;base64,iVBORw0KGgo=">' })
      const { source } = yield* received
      expect(source.startsWith("DKIM-Signature: v=1; a=ed25519-sha256")).toBe(true)
      const body = source.slice(source.indexOf("\r\n\r\n") + 4).replace(/(?:\r\n)*$/, "\r\n")
      const hash = createHash("sha256").update(body).digest("base64")
      expect(/bh=([^;]*);/.exec(source.replace(/\r\n[ \t]+/g, ""))?.[1]).toBe(hash)
    }).pipe(Effect.provide(layer({ defaults, dkim: { keys: [key], canonicalization: "relaxed/simple" } })))
  )

  it.effect("takes keys of Dkim.key", () =>
    Effect.gen(function* () {
      const read = yield* Dkim.key(key)
      const program = Effect.zipRight(Mailer.send(hello), received)
      const { source } = yield* Effect.provide(program, layer({ defaults, dkim: { keys: [read] } }))
      expect(source).toContain("d=example.com;\r\n s=2026a")
    })
  )

  it.effect.each([
    [{ keys: [{ ...key, privateKey: Redacted.make("none") }] }, "dkim.privateKey"],
    [{ keys: [] }, "dkim.keys"],
    [{ keys: [key], canonicalization: "other" }, "dkim.canonicalization"]
  ] as const)("%#: is checked when the mailer is made", ([dkim, field]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.provide(Mailer.send(hello), layer({ defaults, dkim: untyped(dkim) }))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
    })
  )
})
