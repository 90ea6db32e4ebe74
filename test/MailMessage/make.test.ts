import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import * as MailMessage from "../../src/MailMessage.js"

const from = "app@example.com"
const to = "ann@example.net"

const wrongField = (input: MailMessage.Input) =>
  MailMessage.make(input).pipe(
    Effect.flip,
    Effect.map((error) => {
      expect(error._tag).toBe("InvalidArgument")
      return [error.field, error.reason]
    })
  )

/** The field that is wrong, and why; each differs from a good message by one thing. */
const mistakes: ReadonlyArray<readonly [Partial<MailMessage.Input>, string, RegExp]> = [
  [{ from: [] }, "from", /^is empty/],
  [{ from: "app" }, "from", /no @/],
  [{ from: ["a@example.com", "b@example.com"] }, "sender", /^is missing/],
  [{ from: { group: "Us", members: [] } }, "from", /holds a group/],
  [{ sender: { group: "Us", members: [] } }, "sender", /holds a group/],
  [{ to: ["ann@example.net", "bob"] }, "to[1]", /no @/],
  [{ to: "ann@example.net, bob@example.net" }, "to", /several addresses/],
  [{ to: "Ann <ann@example.net> <bob@example.net>" }, "to", /is not written as/],
  [{ to: "Ann <ann@example.net" }, "to", /is not written as/],
  [{ to: [{ name: "A\r\nBcc: x@example.net", address: to }] }, "to[0]", /a CR/],
  [{ cc: { group: "Friends", members: [{ address: "x y@example.net" }] } }, "cc.members[0]", /space|quotes/],
  [{ cc: { group: "", members: [] } }, "cc", /group name that is empty/],
  [{ bcc: "a@b@c" }, "bcc", /more than one @/],
  [{ replyTo: ["<>"] }, "replyTo[0]", /./],
  [{ subject: "a\nb" }, "subject", /an LF/],
  [{ subject: "a\u0000b" }, "subject", /a NUL/],
  [{ subject: "a\u0085b" }, "subject", /U\+0085/],
  [{ subject: "\ud800" }, "subject", /surrogate/],
  [{ date: new Date(Number.NaN) }, "date", /not a valid date/],
  [{ date: new Date("+012026-01-01T00:00:00Z") }, "date", /1900 to 9999/],
  [{ messageId: "no id" }, "messageId", /not a message ID/],
  [{ messageId: "<a@b>\r\nX: y" }, "messageId", /not a message ID/],
  [{ inReplyTo: ["<a@b>", "c"] }, "inReplyTo[1]", /not a message ID/],
  [{ references: "<a@b> c" }, "references", /not a message ID/],
  [{ text: "\udfff" }, "text", /surrogate/],
  [
    { alternatives: [{ contentType: "markdown", content: "" }] },
    "alternatives[0].contentType",
    /not a media type/
  ],
  [
    { alternatives: [{ contentType: "text/x; charset=iso-8859-1", content: "" }] },
    "alternatives[0].contentType",
    /another charset/
  ],
  [
    { alternatives: [{ contentType: "message/rfc822", content: "\u00e4" }] },
    "alternatives[0].contentType",
    /attach it/
  ],
  [
    { attachments: [{ contentType: "text/x; charset=iso-8859-1", content: "\u00e4" }] },
    "attachments[0].contentType",
    /another charset/
  ],
  [{ calendar: { method: "REQUEST", content: "METHOD:REPLY\r\n" } }, "calendar.method", /says REPLY/],
  [{ calendar: { method: "REQUEST", content: "" } }, "calendar.method", /says none/],
  [{ attachments: [{ filename: "a\r\nb", content: "" }] }, "attachments[0].filename", /a CR/],
  [{ attachments: [{ filename: " ", content: "" }] }, "attachments[0].filename", /empty/],
  [
    { attachments: [{ contentType: "text/plain\r\nX: y", content: "" }] },
    "attachments[0].contentType",
    /not a media type/
  ],
  [
    { attachments: [{ contentType: "multipart/mixed", content: "" }] },
    "attachments[0].contentType",
    /multipart/
  ],
  [{ attachments: [{ cid: "<a@b>", content: "" }] }, "attachments[0].cid", /not a content ID/],
  [
    {
      attachments: [
        { cid: "a@b", content: "" },
        { cid: "a@b", content: "" }
      ]
    },
    "attachments[1].cid",
    /attachments\[0\]/
  ],
  [
    { attachments: [{ contentType: "message/rfc822", content: "Subject: ä\r\n\r\n" }] },
    "attachments[0].contentType",
    /not 7-bit.*message\/global/
  ],
  [{ list: { unsubscribe: "example.com" } }, "list.unsubscribe", /not an absolute URI/],
  [{ list: { help: ["https://a.test", "https://b.test/>\r\nX: y"] } }, "list.help[1]", /not a URI/],
  [{ list: { unsubscribe: "mailto:x@example.com", oneClick: true } }, "list.oneClick", /https/],
  [{ list: { id: "no identifier" } }, "list.id", /not a list identifier/],
  [{ headers: { "X-Foo": "a\r\nBcc: b" } }, 'headers["X-Foo"]', /a CR/],
  [{ headers: { "X-Foo": ["a", "b\0"] } }, 'headers["X-Foo"]', /a NUL/],
  [{ headers: { "X Foo": "a" } }, 'headers["X Foo"]', /name/],
  [{ headers: { "X-Foo:": "a" } }, 'headers["X-Foo:"]', /name/],
  [{ headers: { Bcc: to } }, 'headers["Bcc"]', /option `bcc`/],
  [{ headers: { "content-type": "text/html" } }, 'headers["content-type"]', /structure/],
  [{ headers: [{ name: "Resent-Date", value: "now" }] }, 'headers["Resent-Date"]', /option `resent`/],
  [{ headers: { "DKIM-Signature": "v=1" } }, 'headers["DKIM-Signature"]', /Dkim/],
  [{ boundary: "a b" }, "boundary", /letters/],
  [{ boundary: "b", text: "a\r\n--=_-b-Part_1\r\n" }, "boundary", /occurs/],
  [{ resent: { from } }, "resent.to", /is empty/],
  [{ resent: { from, to: "x" } }, "resent.to", /no @/],
  [{ resent: { from: "x", to } }, "resent.from", /no @/]
]

/** What plain JavaScript and parsed JSON may hold, whatever the types say. */
const malformed = [
  ['{ "attachments": null }', "attachments"],
  ['{ "attachments": {} }', "attachments"],
  ['{ "attachments": [null] }', "attachments[0]"],
  ['{ "attachments": [{ "content": "x", "filename": 1 }] }', "attachments[0].filename"],
  ['{ "attachments": [{ "content": "x", "contentType": 1 }] }', "attachments[0].contentType"],
  ['{ "alternatives": null }', "alternatives"],
  ['{ "alternativesOrder": "reverse" }', "alternativesOrder"],
  ['{ "alternatives": ["x"] }', "alternatives[0]"],
  ['{ "calendar": null }', "calendar"],
  ['{ "list": null }', "list"],
  ['{ "resent": null }', "resent"],
  ['{ "headers": null }', "headers"],
  ['{ "headers": "X-Foo: x" }', "headers"],
  ['{ "headers": [null] }', "headers[0]"],
  ['{ "to": { "group": "Us", "members": [null] } }', "to.members[0]"],
  ['{ "to": [["ann@example.net"]] }', "to[0]"],
  ['{ "references": [5] }', "references[0]"]
] as const

describe("make", () => {
  it.effect.each(malformed)("refuses %s and names %s", ([json, field]) =>
    Effect.gen(function* () {
      const wrong: unknown = JSON.parse(json)
      const [found] = yield* wrongField(Object.assign({ from, to }, wrong))
      expect(found).toBe(field)
    })
  )

  it.effect.each(mistakes)("refuses %j and names %s", ([wrong, field, reason]) =>
    Effect.gen(function* () {
      expect(yield* wrongField({ from, to, text: "x", ...wrong })).toEqual([
        field,
        expect.stringMatching(reason)
      ])
    })
  )

  it.effect("fixes date, id and boundary once, to the second of the clock", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_999)
      const first = yield* MailMessage.make({ from: "app@exämple.com", to })
      const second = yield* MailMessage.make({ from: "app@exämple.com", to })
      expect(first.date).toEqual(new Date(1_700_000_000_000))
      expect(first.messageId).toMatch(/^<[0-9a-f]{32}@xn--exmple-cua\.com>$/)
      expect(first.boundary).toMatch(/^[0-9a-f]{32}$/)
      expect(second.messageId).not.toBe(first.messageId)
      expect(second.boundary).not.toBe(first.boundary)
    })
  )

  it.effect("reads addresses with names, quotes, groups and characters beyond ASCII", () =>
    Effect.gen(function* () {
      const message = yield* MailMessage.make({
        from: '"Doe, John" <john@example.com>',
        to: [
          "ann@example.net",
          "Jörg Müller <jörg@exämple.org>",
          { name: "  Bob  B. ", address: '"b o b"@example.org' },
          "Friends: Carol <carol@example.net>, dave@example.net;",
          "undisclosed-recipients:;"
        ]
      })
      expect(message.from).toEqual([{ name: "Doe, John", address: "john@example.com" }])
      expect(message.to).toEqual([
        { address: "ann@example.net" },
        { name: "Jörg Müller", address: "jörg@exämple.org" },
        { name: "Bob B.", address: '"b o b"@example.org' },
        {
          group: "Friends",
          members: [{ name: "Carol", address: "carol@example.net" }, { address: "dave@example.net" }]
        },
        { group: "undisclosed-recipients", members: [] }
      ])
    })
  )

  it.effect("copies what it is given", () =>
    Effect.gen(function* () {
      const content = Uint8Array.of(1, 2, 3)
      const recipients = ["ann@example.net"]
      const message = yield* MailMessage.make({ from, to: recipients, attachments: [{ content }] })
      content.fill(0)
      recipients.push("bob@example.net")
      expect(message.attachments[0]?.content).toEqual(Uint8Array.of(1, 2, 3))
      expect(message.to).toEqual([{ address: "ann@example.net" }])
    })
  )

  it.effect("repeats the ids of others as they are, whatever rules they were made by", () =>
    Effect.gen(function* () {
      const { inReplyTo, references } = yield* MailMessage.make({
        from,
        to,
        inReplyTo: "<a..b@c.>",
        references: "<1:2@c@d><no-at> <[x]@y>"
      })
      expect(inReplyTo).toEqual(["<a..b@c.>"])
      expect(references).toEqual(["<1:2@c@d>", "<no-at>", "<[x]@y>"])
    })
  )

  it.effect("says that a string beyond ASCII is UTF-8", () =>
    Effect.gen(function* () {
      const { attachments } = yield* MailMessage.make({
        from,
        to,
        attachments: [
          { filename: "a.csv", content: "\u00e4" },
          { contentType: "text/plain", content: "\u00e4" },
          { contentType: "text/plain; charset=UTF-8", content: "\u00e4" },
          { filename: "a.csv", content: "a" },
          { filename: "a.csv", content: Uint8Array.of(0xe4) },
          { filename: "a.eml", content: "Subject: \u00e4\r\n\r\n" },
          { filename: "a.json", content: '"\u00e4"' }
        ]
      })
      expect(attachments.map(({ contentType }) => contentType)).toEqual([
        "text/csv; charset=utf-8",
        "text/plain; charset=utf-8",
        "text/plain; charset=UTF-8",
        ...Array.from({ length: 4 }, () => undefined)
      ])
    })
  )

  it.effect("reads ids with and without angle brackets, and those of another message's field", () =>
    Effect.gen(function* () {
      const message = yield* MailMessage.make({
        from,
        messageId: "a@b.test",
        inReplyTo: ["c@d.test"],
        references: " <e@f.test>\t<g@[192.0.2.1]> "
      })
      expect(message).toMatchObject({
        messageId: "<a@b.test>",
        inReplyTo: ["<c@d.test>"],
        references: ["<e@f.test>", "<g@[192.0.2.1]>"]
      })
    })
  )
})

describe("addresses", () => {
  it.effect("reads a list as a header field writes it", () =>
    Effect.gen(function* () {
      expect(
        yield* MailMessage.addresses("Ann <ann@example.net>, bob@example.org, Us: x@example.com;")
      ).toEqual([
        { name: "Ann", address: "ann@example.net" },
        { address: "bob@example.org" },
        { group: "Us", members: [{ address: "x@example.com" }] }
      ])
    })
  )

  it.effect.each([
    "ann@example.net bob@example.org",
    "Ann <ann@example.net> <bob@example.org>",
    "Ann <ann@example.net>bob@example.org",
    "Ann ann@example.net",
    "Ann <ann@example.net>, c.d . bob@example.org",
    'Ann <ann@example.net>, "Bob <bob@example.org>',
    "Us: ann@example.net bob@example.org;"
  ])("refuses what would lose one of them: %s", (text) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(MailMessage.addresses(text))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "addresses" })
    })
  )

  it.effect.each([
    ["(her (own)) ann@example.net (home), ann @ example.org", ["ann@example.net", "ann@example.org"]],
    ["Doe, Ann <ann@example.net>", ["ann@example.net"]],
    ["ann@example.net; bob@example.org;", ["ann@example.net", "bob@example.org"]],
    ['"a b, (c"@example.net, "<x>" <bob@[IPv6:::1]>', ['"a b, (c"@example.net', "bob@[IPv6:::1]"]],
    [
      "<@relay.example,@other.example:ann@example.net>, [List] <bob@example.org>",
      ["ann@example.net", "bob@example.org"]
    ]
  ] as const)("reads %s", ([text, expected]) =>
    Effect.gen(function* () {
      const read = yield* MailMessage.addresses(text)
      expect(read.map((one) => ("address" in one ? one.address : one.group))).toEqual(expected)
    })
  )

  it.effect("names the address that is wrong", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(MailMessage.addresses("ann@example.net, bob"))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "addresses[1]" })
      const injected = yield* Effect.flip(MailMessage.addresses("ann@example.net\r\nBcc: x@example.net"))
      expect(injected).toMatchObject({ field: "addresses", reason: "holds a CR" })
    })
  )
})
