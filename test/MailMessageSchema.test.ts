import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import * as MailMessage from "../src/MailMessage.js"
import * as MailMessageSchema from "../src/MailMessageSchema.js"

describe("the codec of a message", () => {
  const complete = MailMessage.make({
    from: [{ name: "Ann", address: "ann@example.com" }, "bob@example.com"],
    sender: "office@example.com",
    to: ["ann@example.net", { group: "Friends", members: [{ address: "x@example.com" }] }],
    bcc: "archive@example.com",
    subject: "Grüße",
    text: "Hello",
    html: "<p>Hello</p>",
    alternatives: [{ contentType: "text/markdown", content: "# Hello" }],
    alternativesOrder: "given",
    calendar: { method: "CANCEL", content: "METHOD:CANCEL\r\n" },
    attachments: [{ filename: "a.bin", cid: "a@b", content: Uint8Array.of(0, 255, 13) }],
    list: { id: "<dogs.example.com>", unsubscribe: "https://example.com/u", oneClick: true },
    priority: "low",
    headers: { "X-Foo": ["1", "2"] },
    resent: { from: "eve@example.com", to: "fred@example.com" }
  })

  it.effect("encodes to JSON and decodes to the same class", () =>
    Effect.gen(function* () {
      const message = yield* complete
      const json = JSON.stringify(yield* Schema.encode(MailMessageSchema.MailMessage)(message))
      expect(json).toContain('"content":"AP8N"')
      const back = yield* Schema.decodeUnknown(Schema.parseJson(MailMessageSchema.MailMessage))(json)
      expect(back).toBeInstanceOf(MailMessage.MailMessage)
      expect(back).toEqual(message)
    })
  )

  it.effect("refuses what make refuses", () =>
    Effect.gen(function* () {
      const json = yield* Effect.flatMap(complete, Schema.encode(MailMessageSchema.MailMessage))
      const decode = Schema.decodeUnknown(MailMessageSchema.MailMessage)
      for (const change of [
        { subject: "a\r\nBcc: x@example.com" },
        { messageId: "a@b" },
        { from: [] },
        { headers: [{ name: "Bcc", value: "x" }] },
        { attachments: [{ filename: "a\nb", content: "" }] },
        {
          attachments: [
            { cid: "a@b", content: "" },
            { cid: "a@b", content: "" }
          ]
        }
      ]) {
        expect((yield* Effect.flip(decode({ ...json, ...change })))._tag).toBe("ParseError")
      }
    })
  )

  it.effect("requires no more than an author, a date, an ID and a boundary", () =>
    Effect.gen(function* () {
      const message = yield* Schema.decodeUnknown(MailMessageSchema.MailMessage)({
        date: "2026-01-01T00:00:00.000Z",
        messageId: "<a@b>",
        boundary: "x",
        from: [{ address: "app@example.com" }]
      })
      expect(MailMessage.envelope(message)).toEqual({ from: "app@example.com", to: [] })
    })
  )
})

/** Messages as they were encoded when MailMessage was a Schema class. Never change this file: programs have stored such. */
const stored = Schema.decodeUnknownSync(
  Schema.parseJson(Schema.Array(Schema.Struct({ name: Schema.String, json: Schema.Unknown })))
)(readFileSync(new URL("MailMessage/stored.json", import.meta.url), "utf8"))

describe("messages that earlier versions stored", () => {
  it.effect.each(stored.map(({ json, name }) => [name, json] as const))(
    "%s: decodes, encodes equal, and composes",
    ([, json]) =>
      Effect.gen(function* () {
        const message = yield* Schema.decodeUnknown(MailMessageSchema.MailMessage)(json)
        expect(message).toBeInstanceOf(MailMessage.MailMessage)
        expect(yield* Schema.encode(MailMessageSchema.MailMessage)(message)).toEqual(json)
        const text = yield* MailMessage.content(message).pipe(Stream.decodeText(), Stream.mkString)
        expect(text).toContain(`\r\nMessage-ID: ${message.messageId}\r\n`)
      })
  )

  it.effect("keep dates, bytes and every other kind of value", () =>
    Effect.gen(function* () {
      const { attachments, calendar, date, headers, list, resent, to } = yield* Schema.decodeUnknown(
        MailMessageSchema.MailMessage
      )(stored[0]?.json)
      expect(date).toEqual(new Date("2026-01-02T03:04:05Z"))
      expect(attachments).toHaveLength(5)
      expect(attachments[0]).toEqual({
        filename: "logo.svg",
        contentType: "image/svg+xml",
        cid: "logo@example.com",
        disposition: "inline",
        content: new TextEncoder().encode("<svg/>")
      })
      expect(attachments[2]?.content).toEqual(Uint8Array.from({ length: 256 }, (_, byte) => byte))
      expect(to).toContainEqual({
        group: "Friends",
        members: [{ address: "x@example.com" }, { name: "Doe, John", address: '"a b"@example.com' }]
      })
      expect(calendar).toMatchObject({ method: "REQUEST", filename: "meeting.ics" })
      expect(list).toMatchObject({ id: "Dogs <dogs.lists.example.com>", oneClick: true })
      expect(headers).toContainEqual({ name: "X-One", value: "2" })
      expect(resent).toMatchObject({
        date: new Date("2026-02-03T04:05:06Z"),
        messageId: "<4@example.com>",
        sender: { address: "eve@example.com" }
      })
    })
  )
})
