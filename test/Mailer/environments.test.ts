import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import PostalMime from "postal-mime"
import * as Mailer from "../../src/Mailer.js"
import * as MailMessage from "../../src/MailMessage.js"
import { collectLogs } from "../support/logs.js"
import { untyped } from "../support/untyped.js"
import { arrived, layer, received } from "./inbox.js"

const message = {
  to: ["Ann <ann@example.net>", "bob@example.net"],
  cc: "carol@example.net",
  bcc: "dave@example.net",
  subject: "Your invoice",
  text: "Hello.\n"
}
const defaults = { from: "app@example.com" }

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "effect-smtplib-mailer-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true }))
)

describe("redirectAll", () => {
  const redirected = layer({ defaults, environment: Mailer.redirectAll("dev@example.com") })

  it.effect("sends to these addresses alone, and shows the original recipients", () =>
    Effect.gen(function* () {
      const result = yield* Mailer.send(message)
      const original = ["ann@example.net", "bob@example.net", "carol@example.net", "dave@example.net"]
      expect(result).toMatchObject({
        _tag: "Receipt",
        envelope: { to: ["dev@example.com"] },
        redirectedFrom: original,
        header: { to: [{ address: "dev@example.com" }], cc: [] }
      })
      const { email, source, to } = yield* received
      expect(to).toEqual(["dev@example.com"])
      expect(email.subject).toBe(
        "[ann@example.net, bob@example.net, carol@example.net and 1 more] Your invoice"
      )
      expect(email.to?.map(({ address }) => address)).toEqual(["dev@example.com"])
      expect(email.cc).toBeUndefined()
      expect(source.replace(/\r\n /g, " ")).toContain(`X-Redirected-From: ${original.join(", ")}\r\n`)
    }).pipe(Effect.provide(redirected))
  )

  it.effect("requires no SMTPUTF8 for recipients that it has replaced", () =>
    Effect.gen(function* () {
      const result = yield* Mailer.send({ ...message, to: "jörg@example.net", cc: undefined, bcc: undefined })
      expect(result).toMatchObject({ accepted: [{}], redirectedFrom: ["jörg@example.net"] })
      const { email, source } = yield* received
      expect(email.subject).toBe("[jörg@example.net] Your invoice")
      expect(source).toContain("X-Redirected-From: =?UTF-8?Q?j=C3=B6rg=40example=2Enet?=\r\n")
    }).pipe(
      Effect.provide(
        layer(
          { defaults, environment: Mailer.redirectAll("dev@example.com") },
          { capabilities: ["8BITMIME"] }
        )
      )
    )
  )

  it.effect("redirects the envelope of a submission, of options and of a message that is sent again", () =>
    Effect.gen(function* () {
      const mailer = yield* Mailer.Mailer
      const eml = "From: app@example.com\r\nTo: ann@example.net\r\nSubject: x\r\n\r\nx\r\n"
      expect(yield* mailer.submit(yield* MailMessage.raw(eml))).toMatchObject({
        redirectedFrom: ["ann@example.net"],
        header: undefined
      })
      const to = [{ address: "eve@example.net", notify: "NEVER" as const }]
      expect(yield* mailer.send(message, { to })).toMatchObject({ redirectedFrom: ["eve@example.net"] })
      yield* mailer.send({ ...message, resent: { from: "a@example.com", to: "eve@example.net" } })
      const all = yield* arrived
      expect(all.map((each) => each.to)).toEqual([
        ["dev@example.com"],
        ["dev@example.com"],
        ["dev@example.com"]
      ])
      expect(all[2]?.source).toContain("Resent-To: dev@example.com\r\n")
    }).pipe(Effect.provide(redirected))
  )
})

describe("allowOnly", () => {
  it.effect("sends to these addresses and domains, and suppresses the others", () =>
    Effect.gen(function* () {
      const to = [
        "ann@Example.COM",
        "bob@example.net",
        "tester@example.org",
        "other@example.org",
        "x@sub.example.com"
      ]
      const result = yield* Mailer.send({ ...message, to, cc: undefined, bcc: undefined })
      expect(result).toMatchObject({
        _tag: "Receipt",
        envelope: { to: ["ann@Example.COM", "tester@example.org"] },
        suppressed: [
          { recipient: "bob@example.net", reason: "NotAllowed" },
          { recipient: "other@example.org", reason: "NotAllowed" },
          { recipient: "x@sub.example.com", reason: "NotAllowed" }
        ]
      })
      expect((yield* received).to).toEqual(["ann@Example.COM", "tester@example.org"])
      expect(yield* Mailer.send(message)).toMatchObject({ _tag: "Skipped", reason: "Suppressed" })
    }).pipe(
      Effect.provide(
        layer({ defaults, environment: Mailer.allowOnly(["@example.com", "tester@example.org"]) })
      )
    )
  )

  it.effect("holds for submissions of a queue", () =>
    Effect.gen(function* () {
      const mailer = yield* Mailer.Mailer
      const submission = yield* MailMessage.compose({ ...message, from: "app@example.com" })
      expect(yield* mailer.submit(submission)).toMatchObject({ _tag: "Skipped", reason: "Suppressed" })
      expect(yield* arrived).toEqual([])
    }).pipe(Effect.provide(layer({ defaults, environment: Mailer.allowOnly([]) })))
  )
})

describe("toDirectory", () => {
  it.scoped("writes whole messages, sends nothing and says where they are", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "mail")
      const program = Effect.gen(function* () {
        const attachments = [MailMessage.streamed(Stream.make(Uint8Array.of(65)), { filename: "a.txt" })]
        const result = yield* Mailer.send({ ...message, attachments })
        if (result._tag !== "Skipped") return yield* Effect.die("was sent")
        expect(result).toMatchObject({ reason: "Directory", envelope: { from: "app@example.com" } })
        const written = yield* Effect.promise(() => readFile(result.path ?? "none"))
        const email = yield* Effect.promise(() => PostalMime.parse(written))
        expect(email).toMatchObject({ subject: "Your invoice", attachments: [{ filename: "a.txt" }] })
        yield* Mailer.deliver(message)
        expect(yield* arrived).toEqual([])
      })
      yield* Effect.provide(program, layer({ defaults, environment: Mailer.toDirectory(path) }))
      const names = yield* Effect.promise(() => readdir(path))
      expect(names).toHaveLength(2)
      expect(names.every((name) => name.endsWith(".eml"))).toBe(true)
    })
  )

  it.scoped("fails if the directory cannot be written to", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "file")
      yield* Effect.promise(() => writeFile(path, ""))
      const environment = Mailer.toDirectory(path)
      const error = yield* Effect.flip(Effect.provide(Mailer.send(message), layer({ defaults, environment })))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "toDirectory" })
    })
  )
})

describe("dryRun", () => {
  it.effect("gives what would have been sent, after the other policies", () =>
    Effect.gen(function* () {
      const result = yield* Mailer.send(message)
      if (result._tag !== "Skipped") return yield* Effect.die("was sent")
      expect(result).toMatchObject({
        reason: "DryRun",
        envelope: { to: ["dev@example.com", "ops@example.com"] },
        redirectedFrom: ["ann@example.net", "bob@example.net", "carol@example.net", "dave@example.net"]
      })
      expect(new TextDecoder().decode(result.content)).toContain("To: dev@example.com, ops@example.com\r\n")
      expect(yield* arrived).toEqual([])
    }).pipe(
      Effect.provide(
        layer({
          defaults,
          environment: [Mailer.redirectAll("dev@example.com", "ops@example.com"), Mailer.dryRun]
        })
      )
    )
  )

  it.effect("gives each message of sendAll a result", () =>
    Effect.gen(function* () {
      const results = yield* Stream.make({ key: 1, message }, { key: 2, message }).pipe(
        Mailer.sendAll,
        Stream.runCollect
      )
      expect([...results].map(({ error, result }) => [result._tag, error])).toEqual([
        ["Skipped", undefined],
        ["Skipped", undefined]
      ])
      expect(yield* arrived).toEqual([])
    }).pipe(Effect.provide(layer({ defaults, environment: Mailer.dryRun })))
  )
})

describe("an environment", () => {
  it.effect("is warned of at start, and each message is logged", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      const environment = [Mailer.redirectAll("dev@example.com"), Mailer.dryRun]
      yield* Mailer.send(message).pipe(
        Effect.provide(layer({ defaults, environment })),
        Effect.provide(logs.layer)
      )
      const entries = yield* logs.entries
      expect(entries.map(({ level, text }) => `${level} ${text}`)).toEqual([
        "WARN This is not production: the mailer redirects every message to dev@example.com.",
        "WARN This is not production: the mailer is a dry run and sends nothing.",
        expect.stringMatching(
          /^INFO Message <\S+>: redirected from ann@.* to dev@example\.com; not sent to dev@example\.com: dry run$/
        )
      ])
    })
  )

  it.effect("logs messages that are sent to nobody", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      const environment = Mailer.allowOnly(["@example.com"])
      const sent = Mailer.send({ ...message, to: "ann@example.net", cc: undefined, bcc: undefined })
      yield* sent.pipe(Effect.provide(layer({ defaults, environment })), Effect.provide(logs.layer))
      expect((yield* logs.entries).map(({ text }) => text)).toEqual([
        "This is not production: the mailer sends only to @example.com.",
        "A message: not sent to ann@example.net"
      ])
    })
  )

  it.effect("of production logs nothing", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      yield* Mailer.send(message).pipe(Effect.provide(layer({ defaults })), Effect.provide(logs.layer))
      expect(yield* logs.entries).toEqual([])
    })
  )

  it.effect.each([
    [Mailer.redirectAll(), "redirectAll"],
    [Mailer.redirectAll("dev"), "redirectAll[0]"],
    [Mailer.allowOnly(["@example.com", "b"]), "allowOnly[1]"],
    [Mailer.allowOnly(untyped("example.com")), "allowOnly"],
    [[Mailer.redirectAll("a@example.com"), Mailer.allowOnly(["@example.com"])], "environment"],
    [[Mailer.dryRun, Mailer.toDirectory("/x")], "environment"],
    [untyped("staging"), "environment"]
  ] as const)("%#: that is invalid keeps the mailer from being made", ([environment, field]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.provide(Mailer.send(message), layer({ defaults, environment })))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
    })
  )
})
