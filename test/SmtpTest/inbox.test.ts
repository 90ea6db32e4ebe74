import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import { linksOf } from "../../src/internal/testing/links.js"
import * as Mailer from "../../src/Mailer.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import * as SmtpTest from "../../src/SmtpTest.js"

const send = (content: string, to = "b@y.test") =>
  Effect.flatMap(SmtpClient.SmtpClient, (client) => client.send({ from: "a@x.test", to, content }))

const simple = (subject: string) => send(`Subject: ${subject}\r\n\r\nHello.\r\n`)

const inbox = SmtpTest.SmtpTest

/** What a reader sees of this content. */
const read = (...lines: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* send(`${lines.join("\r\n")}\r\n`)
    return yield* (yield* inbox).waitFor(() => true, "1 second")
  }).pipe(Effect.provide(SmtpTest.layerClient()))

const html = (...body: ReadonlyArray<string>) =>
  read("MIME-Version: 1.0", "Content-Type: text/html; charset=utf-8", "", ...body)

describe("a parsed message", () => {
  it.effect("has header fields, bodies and attachments without their encodings", () =>
    Effect.gen(function* () {
      const mail = yield* read(
        "From: =?UTF-8?Q?J=C3=B6rg?= <joerg@x.test>",
        "To: Ann <ann@y.test>, Friends: bob@y.test, Cy <cy@y.test>;",
        "Subject: =?UTF-8?B?R3LDvMOfZQ==?=",
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="o"',
        "",
        "--o",
        'Content-Type: multipart/alternative; boundary="i"',
        "",
        "--i",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Gr=C3=BC=C3=9Fe",
        "--i",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        btoa('<p>Code <b>123456</b> <img src="cid:logo@x.test"></p>'),
        "--i--",
        "--o",
        "Content-Type: image/png",
        "Content-ID: <logo@x.test>",
        "Content-Disposition: inline",
        "Content-Transfer-Encoding: base64",
        "",
        btoa("\x01\x02\x03"),
        "--o",
        "Content-Type: message/rfc822",
        'Content-Disposition: attachment; filename="old.eml"',
        "",
        "Subject: old",
        "",
        "An old message.",
        "--o--"
      )
      expect(mail).toMatchObject({
        subject: "Grüße",
        from: { name: "Jörg", address: "joerg@x.test" },
        to: [
          { name: "Ann", address: "ann@y.test" },
          { address: "bob@y.test" },
          { name: "Cy", address: "cy@y.test" }
        ],
        sender: { address: "a@x.test" },
        recipients: [{ address: "b@y.test" }]
      })
      expect(mail.text?.trim()).toBe("Grüße")
      expect(mail.html).toContain("Code <b>123456</b>")
      expect(mail.attachments).toHaveLength(2)
      expect(mail.attachments[0]).toEqual({
        filename: undefined,
        contentType: "image/png",
        cid: "logo@x.test",
        content: new Uint8Array([1, 2, 3])
      })
      expect(mail.attachments[1]).toMatchObject({ filename: "old.eml", contentType: "message/rfc822" })
      expect(mail.source).toContain("Gr=C3=BC=C3=9Fe")
    })
  )

  it.effect("has no fields that the message does not have", () =>
    Effect.gen(function* () {
      const mail = yield* read("X-Nothing: here", "Cc: Di <di@y.test>", "Reply-To: e@x.test", "", "Hello.")
      expect(mail).toMatchObject({
        cc: [{ name: "Di", address: "di@y.test" }],
        replyTo: [{ address: "e@x.test" }]
      })
      expect(mail.headers).toContainEqual({ name: "x-nothing", value: "here" })
      expect(mail).toMatchObject({ subject: undefined, from: undefined, to: [], html: undefined, links: [] })
      expect(mail.text?.trim()).toBe("Hello.")
    })
  )

  it.effect("has bytes that are no message at all", () =>
    Effect.gen(function* () {
      const mail = yield* read("\u0001=?", ":", "--", "")
      expect(mail.attachments).toEqual([])
    })
  )
})

describe("links", () => {
  it.effect.each([
    [
      "of anchors, with their entities",
      '<a href="https://x.test/?a=1&amp;b=2&#x26;c=3&#38;d=&quot;">',
      ['https://x.test/?a=1&b=2&c=3&d="']
    ],
    [
      "in single quotes and without",
      "<A\r\nclass=x HREF='https://x.test/1'>1</A><a href=https://x.test/2>",
      ["https://x.test/1", "https://x.test/2"]
    ],
    [
      "behind attributes that hold angle brackets",
      '<a title="a > b" href="https://x.test/">',
      ["https://x.test/"]
    ],
    ["of any scheme", '<a href="mailto:a@x.test"><a href="#top">', ["mailto:a@x.test", "#top"]],
    ["once each", '<a href="https://x.test/"><a href="https://x.test/">', ["https://x.test/"]],
    ["outside of comments", '<!-- <a href="https://x.test/"> -->', []],
    ["of attributes with this name", `<a title=" href=x" href="https://x.test/">`, ["https://x.test/"]],
    ["of anchors alone", '<abbr href="https://x.test/1"><a data-href="https://x.test/2"><a name="x">', []],
    [
      "with entities that are none",
      '<a href="https://x.test/?a=&nope;&#x110000;&copy=1">',
      ["https://x.test/?a=&nope;\ufffd&copy=1"]
    ]
  ] as const)("are those %s", ([, body, links]) =>
    Effect.map(html(body), (mail) => {
      expect(mail.links).toEqual(links)
    })
  )

  it.effect.each([
    ["Open https://x.test/a?b=c&d=e.", ["https://x.test/a?b=c&d=e"]],
    [
      "<http://x.test/1>, (see https://x.test/2), https://x.test/(3)!",
      ["http://x.test/1", "https://x.test/2", "https://x.test/(3)"]
    ],
    ["confirm [https://x.test/c?d=1], https://x.test/[e]", ["https://x.test/c?d=1", "https://x.test/[e]"]],
    ['"HTTPS://X.TEST/": ftp://x.test mailto:a@x.test xhttps://x.test', ["HTTPS://X.TEST/"]]
  ] as const)("are the URLs of the text: %s", ([text, links]) =>
    Effect.map(read("Subject: links", "", text), (mail) => {
      expect(mail.links).toEqual(links)
    })
  )

  it("are found in linear time", () => {
    const many = 200_000
    const before = performance.now()
    for (const piece of ["<a ", '<a "', "<!--", "<a a a", "<a = ", "&#", " ", "<a href=https://"])
      linksOf(piece.repeat(many))
    for (const piece of [")", "(", ".", "https://"]) linksOf("", `https://x.test/${piece.repeat(many)}`)
    expect(performance.now() - before).toBeLessThan(10_000)
  })
})

describe("waitFor", () => {
  const has =
    (subject: string) =>
    (mail: SmtpTest.ParsedMessage): boolean =>
      mail.subject === subject

  it.effect("gives a message that is already there, and leaves it there", () =>
    Effect.gen(function* () {
      yield* simple("one")
      yield* simple("two")
      const { messages, waitFor } = yield* inbox
      expect((yield* waitFor(has("two"), "1 second")).subject).toBe("two")
      expect((yield* waitFor(() => true, 0)).subject).toBe("one")
      expect(yield* messages).toHaveLength(2)
    }).pipe(Effect.provide(SmtpTest.layerClient()))
  )

  it.effect("waits for a message that comes later, by Effect's Clock", () =>
    Effect.gen(function* () {
      const { waitFor } = yield* inbox
      const waiting = yield* Effect.fork(waitFor(has("late"), "1 hour"))
      yield* simple("early")
      yield* TestClock.adjust("59 minutes")
      yield* simple("late")
      expect((yield* Fiber.join(waiting)).subject).toBe("late")
    }).pipe(Effect.provide(SmtpTest.layerClient()))
  )

  it.effect("fails when the time is over, and says what has arrived", () =>
    Effect.gen(function* () {
      yield* simple("one")
      const { waitFor } = yield* inbox
      const waiting = yield* Effect.fork(Effect.flip(waitFor(has("two"), Duration.minutes(1))))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(waiting)
      expect(error).toMatchObject({ _tag: "InboxError", reason: "NoMatch" })
      expect(error.message).toBe(
        'No message matched within 1m; those that arrived: "one" to b@y.test. Check the predicate, and that the program has sent the message.'
      )
    }).pipe(Effect.provide(SmtpTest.layerClient()))
  )

  it.effect("says that nothing has arrived", () =>
    Effect.gen(function* () {
      const { waitFor } = yield* inbox
      const waiting = yield* Effect.fork(Effect.flip(waitFor(() => true, "1 second")))
      yield* TestClock.adjust("1 second")
      expect((yield* Fiber.join(waiting)).message).toContain("within 1s; none arrived.")
    }).pipe(Effect.provide(SmtpTest.layer()))
  )

  it.effect("looks at each message once, and forgets a waiter that is interrupted", () =>
    Effect.gen(function* () {
      const seen: Array<string | undefined> = []
      const { waitFor } = yield* inbox
      const waiting = yield* Effect.fork(
        waitFor(({ subject }) => {
          seen.push(subject)
          return subject === "three"
        }, "1 hour")
      )
      const stopped = yield* Effect.fork(waitFor(() => false, "1 hour"))
      yield* simple("one")
      yield* Fiber.interrupt(stopped)
      yield* simple("two")
      yield* simple("three")
      yield* Fiber.join(waiting)
      expect(seen).toEqual(["one", "two", "three"])
    }).pipe(Effect.provide(SmtpTest.layerClient()))
  )

  it.effect("does not give a message that was cleared or taken", () =>
    Effect.gen(function* () {
      const { clear, messages, parsedMessages, takeMessages, waitFor } = yield* inbox
      yield* simple("old")
      yield* clear
      expect(yield* messages).toEqual([])
      yield* simple("old")
      expect(yield* takeMessages).toHaveLength(1)
      yield* simple("new")
      expect((yield* waitFor(() => true, "1 second")).subject).toBe("new")
      expect((yield* parsedMessages).map(({ subject }) => subject)).toEqual(["new"])
    }).pipe(Effect.provide(SmtpTest.layerClient()))
  )
})

describe("layerClient", () => {
  const auth = SmtpAuth.password({ username: "app", password: Redacted.make("secret") })

  it.effect("has the options of the client and of the server", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(simple("one"))
      expect(error).toMatchObject({ _tag: "RecipientsRefused" })
      const { connections, messages } = yield* inbox
      expect(yield* messages).toEqual([])
      expect((yield* connections)[0]?.transcript.join("\n")).toContain("C: AUTH PLAIN")
    }).pipe(Effect.provide(SmtpTest.layerClient({ auth, retry: "off" }, { accept: () => "550 5.1.1 no" })))
  )

  it.effect("is secured and authenticated as in production", () =>
    Effect.gen(function* () {
      yield* simple("one")
      expect(yield* (yield* inbox).messages).toMatchObject([{ secured: true, user: "app" }])
    }).pipe(Effect.provide(SmtpTest.layerClient({ auth })))
  )
})

describe("layerMailer", () => {
  it.effect("has the options of the mailer, the client and the server", () =>
    Effect.gen(function* () {
      yield* Mailer.send({ to: "b@y.test", subject: "Hi", html: "<p>Ünïcode</p>" })
      const mail = yield* (yield* inbox).waitFor(() => true, "1 second")
      expect(mail).toMatchObject({ from: { address: "app@x.test" }, secured: false })
      expect(mail.html).toContain("Ünïcode")
    }).pipe(
      Effect.provide(
        SmtpTest.layerMailer(
          { defaults: { from: "app@x.test" } },
          { tls: "none", host: "other.test" },
          { capabilities: ["PIPELINING"] }
        )
      )
    )
  )
})
