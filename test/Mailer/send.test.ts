import type { FileSystem } from "@effect/platform/FileSystem"
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Mailer from "../../src/Mailer.js"
import * as MailMessage from "../../src/MailMessage.js"
import type * as SmtpClient from "../../src/SmtpClient.js"
import type { ContentError, InvalidArgument } from "../../src/SmtpError.js"
import { untyped } from "../support/untyped.js"
import { arrived, layer, received } from "./inbox.js"

const hello = { to: "Ann <ann@example.net>", subject: "Hello", text: "Hello, Ann.\n" }
const defaults = { from: "The App <app@example.com>" }

const refusing = {
  accept: ({ address }: { readonly address: string }) =>
    address.startsWith("nobody@") ? "550 5.1.1 no such user" : undefined
}

class Templates extends Context.Tag("Templates")<
  Templates,
  { readonly render: (name: string) => Effect.Effect<string, "no such template"> }
>() {}

const template = (name: string) => Effect.flatMap(Templates, ({ render }) => render(name))

const templates = Effect.provideService(Templates, {
  render: (name) => (name === "missing" ? Effect.fail("no such template") : Effect.succeed(`<p>${name}</p>`))
})

describe("send", () => {
  it.effect("composes a message and sends it by one call", () =>
    Effect.gen(function* () {
      const result = yield* Mailer.send({
        ...hello,
        from: "app@example.com",
        cc: "bob@example.org",
        html: "<p>Hello</p>",
        attachments: [
          { filename: "a.txt", content: "one" },
          MailMessage.streamed(Stream.make(new TextEncoder().encode("two")), { filename: "b.txt" })
        ]
      })
      expect(result).toMatchObject({
        _tag: "Receipt",
        envelope: { from: "app@example.com", to: ["ann@example.net", "bob@example.org"] },
        header: { to: [{ name: "Ann", address: "ann@example.net" }], subject: "Hello" },
        suppressed: [],
        redirectedFrom: [],
        accepted: [{ recipient: "ann@example.net" }, { recipient: "bob@example.org" }]
      })
      const { email, from, to } = yield* received
      expect({ from, to }).toEqual(result.envelope)
      expect(email).toMatchObject({ subject: "Hello", html: "<p>Hello</p>\n" })
      expect(email.text?.trim()).toBe("Hello, Ann.")
      expect(email.messageId).toBe(result.header?.messageId)
      expect(email.attachments.map(({ filename }) => filename)).toEqual(["a.txt", "b.txt"])
    }).pipe(Effect.provide(layer()))
  )

  it.effect("fails if nobody was accepted, and deliver reports it", () =>
    Effect.gen(function* () {
      const message = { ...hello, to: "nobody@example.net" }
      expect(yield* Effect.flip(Mailer.send(message))).toMatchObject({ _tag: "RecipientsRefused" })
      const result = yield* Mailer.deliver(message)
      expect(result).toMatchObject({
        _tag: "Receipt",
        accepted: [],
        refused: [{ recipient: "nobody@example.net" }]
      })
      const some = { ...hello, to: ["nobody@example.net", "ann@example.net"] }
      expect(yield* Mailer.send(some)).toMatchObject({ accepted: [{}], refused: [{}] })
      const policy = yield* Effect.flip(Mailer.send(some, { recipients: "all" }))
      expect(policy).toMatchObject({ _tag: "RecipientsRefused" })
    }).pipe(Effect.provide(layer({ defaults }, refusing)))
  )

  it.effect.each([
    [{ to: "ann@example.net" }, "from"],
    [{ from: "app@example.com" }, "to"],
    [{ ...hello, from: "app" }, "from"],
    [
      { ...hello, from: "app@example.com", attachments: [{ content: "" }, { path: "/x" }] },
      "attachments[1].content"
    ],
    [{ ...hello, from: "app@example.com", text: 42 }, "text"],
    [{ ...hello, from: "app@example.com", html: Effect.succeed(42) }, "html"],
    [{ ...hello, from: "app@example.com", headers: 42 }, "headers"],
    [{ ...hello, from: "app@example.com", subject: "a\nb" }, "subject"]
  ] as const)("%#: names the field that is invalid, before anything is sent", ([message, field]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Mailer.send(untyped(message)))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      expect(yield* arrived).toEqual([])
    }).pipe(Effect.provide(layer()))
  )

  it.effect("renders text and html that are effects, with their errors and requirements", () =>
    Effect.gen(function* () {
      yield* Mailer.send({ to: "ann@example.net", text: Effect.succeed("text\n"), html: template("welcome") })
      const { email } = yield* received
      expect([email.text?.trim(), email.html?.trim()]).toEqual(["text", "<p>welcome</p>"])
      const failed = yield* Effect.flip(Mailer.send({ ...hello, html: template("missing") }))
      expect(failed).toBe("no such template")
      expect(yield* arrived).toHaveLength(1)
    }).pipe(templates, Effect.provide(layer({ defaults })))
  )

  it("infers errors and requirements", () => {
    interface Store {
      readonly _: unique symbol
    }
    type Calls = ReturnType<typeof calls>
    const calls = (mailer: Mailer.Service, stream: Stream.Stream<Uint8Array, "broken", Store>) => ({
      plain: mailer.send(hello),
      rendered: mailer.deliver({ ...hello, html: template("x") }),
      attached: Mailer.send({
        ...hello,
        html: template("x"),
        attachments: [{ content: "" }, MailMessage.file("/x"), MailMessage.streamed(stream)]
      }),
      all: mailer.sendAll(Stream.make({ key: 1, message: { ...hello, html: template("x") } }))
    })
    expect(calls).toBeTypeOf("function")
    type PlatformError = MailMessage.PartError<ReturnType<typeof MailMessage.file>>
    expectTypeOf<Calls["plain"]>().toEqualTypeOf<Effect.Effect<Mailer.Result, SmtpClient.SendError>>()
    expectTypeOf<Calls["rendered"]>().toEqualTypeOf<
      Effect.Effect<Mailer.Result, InvalidArgument | ContentError | "no such template", Templates>
    >()
    expectTypeOf<Calls["attached"]>().toEqualTypeOf<
      Effect.Effect<
        Mailer.Result,
        SmtpClient.SendError | "no such template" | "broken" | PlatformError,
        Mailer.Mailer | Templates | Store | FileSystem
      >
    >()
    expectTypeOf<Calls["all"]>().toEqualTypeOf<
      Stream.Stream<Mailer.KeyedResult<number, "no such template">, never, Templates>
    >()
  })
})

describe("defaults", () => {
  const optionsOfAll: Mailer.Options = {
    defaults: {
      ...defaults,
      replyTo: "support@example.com",
      headers: { "X-Team": "billing", "X-Both": "default" },
      list: { id: "news.example.com", help: "https://example.com/help" }
    }
  }

  const capable = { capabilities: ["DSN"] }

  it.effect("stand in for what a message does not give", () =>
    Effect.gen(function* () {
      yield* Mailer.send(hello)
      const { from, source } = yield* received
      expect(from).toBe("bounces@example.com")
      for (const field of [
        "From: The App <app@example.com>",
        "Reply-To: support@example.com",
        "X-Team: billing",
        "X-Both: default",
        "List-Id: <news.example.com>",
        "List-Help: <https://example.com/help>"
      ]) {
        expect(source).toContain(`${field}\r\n`)
      }
    }).pipe(Effect.provide(layer({ ...optionsOfAll, submission: { from: "bounces@example.com" } })))
  )

  it.effect("give way to what it gives: header and list fields by name", () =>
    Effect.gen(function* () {
      yield* Mailer.send(
        {
          ...hello,
          from: "other@example.com",
          replyTo: "ann@example.com",
          headers: [{ name: "x-both", value: "own" }],
          list: { help: "https://example.com/own" }
        },
        { from: "own@example.com" }
      )
      const { from, source } = yield* received
      expect(from).toBe("own@example.com")
      for (const field of [
        "From: other@example.com",
        "Reply-To: ann@example.com",
        "X-Team: billing",
        "x-both: own",
        "List-Id: <news.example.com>",
        "List-Help: <https://example.com/own>"
      ]) {
        expect(source).toContain(`${field}\r\n`)
      }
      expect(source).not.toContain("default")
    }).pipe(Effect.provide(layer(optionsOfAll)))
  )

  it.effect("hold for the submission: parameters go with MAIL", () =>
    Effect.gen(function* () {
      yield* Mailer.send(hello)
      expect(yield* received).toMatchObject({ from: "bounces@example.com" })
    }).pipe(
      Effect.provide(
        layer({ defaults, submission: { from: "bounces@example.com", parameters: { ret: "HDRS" } } }, capable)
      )
    )
  )
})

describe("a submission that is no submission", () => {
  it.effect("is refused by the name of the field, as a row of a queue may be", () =>
    Effect.gen(function* () {
      const mailer = yield* Mailer.Mailer
      for (const row of [
        '{"from":"a@x.test","content":"x"}',
        '{"from":"a@x.test","to":[null],"content":"x"}'
      ]) {
        const error = yield* Effect.flip(mailer.submit(untyped(JSON.parse(row))))
        expect(error).toMatchObject({ _tag: "InvalidArgument", field: "to" })
      }
    }).pipe(Effect.provide(layer({ defaults })))
  )
})

describe("a message without a body", () => {
  const bodies: ReadonlyArray<readonly [{ readonly html?: string | Effect.Effect<string> }, string]> = [
    [{}, "text"],
    [{ html: "" }, "html"],
    [{ html: Effect.succeed("") }, "html"]
  ]
  it.effect.each(bodies)("is refused by the name of the field: %o", ([body, field]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Mailer.send({ to: "ann@example.net", subject: "x", ...body }))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      yield* Mailer.send({ to: "ann@example.net", subject: "x", text: "" })
      expect(yield* arrived).toHaveLength(1)
    }).pipe(Effect.provide(layer({ defaults })))
  )
})

describe("sendAll", () => {
  it.effect("gives each message a result, and a bad one an error beside it", () =>
    Effect.gen(function* () {
      const messages = Stream.fromIterable([
        "ann@example.net",
        "not an address",
        "sue@example.net",
        "missing@example.net"
      ])
      const results = yield* messages.pipe(
        Stream.map((to) => ({
          key: to,
          message: { to, subject: "News", html: template(to.split("@")[0] ?? "") }
        })),
        Mailer.sendAll,
        Stream.runCollect
      )
      const byKey = new Map([...results].map((each) => [each.key, each]))
      expect(byKey.size).toBe(4)
      expect(byKey.get("ann@example.net")).toMatchObject({
        result: {
          _tag: "Receipt",
          accepted: [{}],
          header: { subject: "News" },
          envelope: { to: ["ann@example.net"] }
        },
        error: undefined
      })
      expect(byKey.get("not an address")).toMatchObject({
        result: {
          _tag: "Receipt",
          accepted: [],
          notSent: [{}],
          header: undefined,
          envelope: { from: "", to: [] }
        },
        error: { _tag: "InvalidArgument", field: "to" }
      })
      expect(byKey.get("sue@example.net")).toMatchObject({
        result: { _tag: "Skipped", reason: "Suppressed", suppressed: [{ recipient: "sue@example.net" }] },
        error: undefined
      })
      expect(byKey.get("missing@example.net")).toMatchObject({
        result: {
          envelope: { to: ["missing@example.net"] },
          outcomes: [{ _tag: "NotSent", recipient: "missing@example.net" }]
        },
        error: "no such template"
      })
      expect((yield* arrived).map(({ to }) => to)).toEqual([["ann@example.net"]])
    }).pipe(
      templates,
      Effect.provide(
        layer({
          defaults,
          suppression: { isSuppressed: (address) => Effect.succeed(address.startsWith("sue@")) }
        })
      )
    )
  )
})

describe("hooks", () => {
  it.effect("see each message before and each result after, also of a failed send", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const hooks: Mailer.Options = {
        defaults,
        before: ({ envelope }) => Effect.sync(() => void seen.push(`before ${envelope.to.join()}`)),
        after: (result) =>
          Effect.sync(() => void seen.push(`after ${result._tag} ${result.envelope.to.join()}`))
      }
      yield* Effect.provide(
        Effect.zipRight(Mailer.send(hello), Effect.flip(Mailer.send({ ...hello, to: "nobody@example.net" }))),
        layer(hooks, refusing)
      )
      expect(seen).toEqual([
        "before ann@example.net",
        "after Receipt ann@example.net",
        "before nobody@example.net",
        "after Receipt nobody@example.net"
      ])
    })
  )

  it.effect("that end in a defect affect no message", () =>
    Effect.gen(function* () {
      expect(yield* Mailer.send(hello)).toMatchObject({ _tag: "Receipt" })
      expect(yield* arrived).toHaveLength(1)
    }).pipe(
      Effect.provide(
        layer({
          defaults,
          before: () => Effect.die("broken"),
          after: () => {
            throw new Error("broken")
          }
        })
      )
    )
  )
})
