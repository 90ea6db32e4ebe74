/**
 * That no value of a message can become a field, a part or a recipient of its own: each field in turn gets hostile
 * text, and what comes of it is read by a parser that shares nothing with the library. `FUZZ_RUNS` sets the number of
 * runs of each property.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import PostalMime from "postal-mime"
import * as Dkim from "../../src/Dkim.js"
import * as MailMessage from "../../src/MailMessage.js"
import type { InvalidArgument } from "../../src/SmtpError.js"
import { runsOf } from "../support/runs.js"

const runs = runsOf(60)

const harmless: MailMessage.Input = {
  from: "app@example.com",
  sender: "office@example.com",
  replyTo: "reply@example.com",
  to: { name: "Ann", address: "ann@example.net" },
  cc: { group: "Friends", members: [{ name: "Bob", address: "bob@example.net" }] },
  bcc: "archive@example.com",
  subject: "Hello",
  messageId: "<1@example.com>",
  inReplyTo: "<2@example.com>",
  references: ["<3@example.com>"],
  date: new Date("2026-01-02T03:04:05Z"),
  boundary: "fixed",
  text: "text",
  html: "<p>html</p>",
  alternatives: [{ contentType: "text/markdown", content: "md" }],
  calendar: { method: "REQUEST", content: "METHOD:REQUEST\r\n", filename: "i.ics" },
  attachments: [{ filename: "a.bin", contentType: "image/png", cid: "c@d", content: "x" }],
  list: {
    id: "Dogs <dogs.example.com>",
    unsubscribe: "https://example.com/u",
    help: "https://example.com/h"
  },
  headers: { "X-Foo": "foo" },
  resent: { from: "eve@example.com", to: "fred@example.com", messageId: "<4@example.com>" }
}

/** Each field of a header, set to a text. */
const headerFields: Readonly<Record<string, (text: string) => Partial<MailMessage.Input>>> = {
  from: (text) => ({ from: text }),
  "from name": (text) => ({ from: { name: text, address: "app@example.com" } }),
  "from address": (text) => ({ from: { address: text } }),
  sender: (text) => ({ sender: text }),
  "sender name": (text) => ({ sender: { name: text, address: "office@example.com" } }),
  replyTo: (text) => ({ replyTo: [text] }),
  "replyTo name": (text) => ({ replyTo: [{ name: text, address: "reply@example.com" }] }),
  to: (text) => ({ to: ["ann@example.net", text] }),
  "to name": (text) => ({ to: { name: text, address: "ann@example.net" } }),
  "cc group": (text) => ({ cc: { group: text, members: [] } }),
  "cc member": (text) => ({ cc: { group: "Friends", members: [{ address: text }] } }),
  "cc member name": (text) => ({
    cc: { group: "Friends", members: [{ name: text, address: "bob@example.net" }] }
  }),
  bcc: (text) => ({ bcc: text }),
  subject: (text) => ({ subject: text }),
  messageId: (text) => ({ messageId: text }),
  inReplyTo: (text) => ({ inReplyTo: [text] }),
  references: (text) => ({ references: [text] }),
  boundary: (text) => ({ boundary: text }),
  "alternative type": (text) => ({ alternatives: [{ contentType: text, content: "" }] }),
  "calendar filename": (text) => ({
    calendar: { method: "REQUEST", content: "METHOD:REQUEST", filename: text }
  }),
  "attachment filename": (text) => ({ attachments: [{ filename: text, content: "x" }] }),
  "attachment type": (text) => ({ attachments: [{ contentType: text, content: "x" }] }),
  "attachment cid": (text) => ({ attachments: [{ cid: text, content: "x" }] }),
  "list id": (text) => ({ list: { id: text } }),
  "list uri": (text) => ({ list: { unsubscribe: text } }),
  "list uris": (text) => ({ list: { post: ["mailto:a@example.com", text] } }),
  "header name": (text) => ({ headers: { [text]: "x" } }),
  "header value": (text) => ({ headers: { "X-Foo": text } }),
  "header values": (text) => ({ headers: [{ name: "X-Foo", value: text }] }),
  "resent from": (text) => ({ resent: { from: text, to: "fred@example.com" } }),
  "resent to name": (text) => ({
    resent: { from: "eve@example.com", to: { name: text, address: "fred@example.com" } }
  }),
  "resent id": (text) => ({ resent: { from: "eve@example.com", to: "fred@example.com", messageId: text } })
}

/** Each part, set to a text: it may hold anything. */
const parts: Readonly<Record<string, (text: string) => Partial<MailMessage.Input>>> = {
  text: (text) => ({ text: `x${text}` }),
  html: (text) => ({ html: `x${text}` }),
  alternative: (text) => ({ alternatives: [{ contentType: "text/markdown", content: text }] }),
  calendar: (text) => ({
    calendar: { method: "REQUEST", content: `METHOD:REQUEST\r\n${text}`, filename: "i.ics" }
  }),
  attachment: (text) => ({
    attachments: [{ filename: "a.bin", contentType: "image/png", cid: "c@d", content: text }]
  })
}

const lineEnds = FastCheck.constantFrom(
  "\r\n",
  "\n",
  "\r",
  "\0",
  "\r\n\r\n",
  "\r\n ",
  "\n\t",
  "\u0085",
  "\u2028"
)

const payload = FastCheck.constantFrom(
  "Bcc: victim@example.org",
  "X-Injected: yes",
  "Content-Type: text/html",
  "\r\n<script>",
  "--=_-fixed-Part_1",
  "--=_-fixed-Part_2--",
  ".",
  "=?utf-8?Q?=0D=0ABcc:_victim@example.org?=",
  ", victim@example.org",
  '"; filename="b.exe'
)

/** Good values of each kind, cut open. */
const pieces = FastCheck.constantFrom(
  "",
  "x",
  "ann@example.net",
  "Ann <ann@example.net>",
  "<1@example.com>",
  "https://example.com/",
  "text/plain",
  "X-Foo"
)

const hostile = FastCheck.tuple(
  pieces,
  lineEnds,
  payload,
  FastCheck.option(lineEnds, { nil: "" }),
  pieces
).map((all) => all.join(""))

/** Without a character that is always refused. */
const devious = FastCheck.tuple(pieces, payload, pieces)
  .map((all) => all.join(""))
  .filter((text) => !/\p{Cc}/u.test(text))

const octets = (message: MailMessage.MailMessage) =>
  Effect.map(Stream.runCollect(MailMessage.content(message)), (chunks) => Buffer.concat([...chunks]))

const make = (input: MailMessage.Input): Promise<Either.Either<MailMessage.MailMessage, InvalidArgument>> =>
  Effect.runPromise(Effect.either(MailMessage.make(input)))

const structureOf = async (message: MailMessage.MailMessage) => {
  const { attachments, headers, to, cc } = await PostalMime.parse(await Effect.runPromise(octets(message)))
  return {
    names: headers.map(({ key }) => key),
    parts: attachments.length,
    recipients: [to?.length, cc?.length]
  }
}

const fieldNames =
  /^(from|sender|replyTo|to|cc|bcc|subject|messageId|inReplyTo|references|boundary|alternatives|calendar|attachments|list|headers|resent)/

describe("CR, LF, NUL and their relatives", () => {
  it.each(Object.keys(headerFields))("in %s are an error that names the field", (name) =>
    FastCheck.assert(
      FastCheck.asyncProperty(hostile, async (text) => {
        const made = await make({ ...harmless, ...headerFields[name]?.(text) })
        if (Either.isRight(made)) throw new Error(`accepted: ${JSON.stringify(made.right)}`)
        expect(made.left._tag).toBe("InvalidArgument")
        expect(made.left.field).toMatch(fieldNames)
        expect(made.left.message).not.toMatch(/[\r\n\0]/)
      }),
      { numRuns: runs }
    )
  )

  it.each(Object.keys(headerFields))("in %s are an error in a message made by hand, too", (name) =>
    FastCheck.assert(
      FastCheck.asyncProperty(hostile, async (text) => {
        const good = await Effect.runPromise(MailMessage.make(harmless))
        const changed = headerFields[name]?.(text) ?? {}
        // In the form that a message has.
        const list = (value: unknown): unknown => (Array.isArray(value) ? value : [value])
        const formed = Object.fromEntries(
          Object.entries(changed).map(([key, value]) => [
            key,
            ["from", "replyTo", "to", "cc", "bcc", "inReplyTo", "references"].includes(key)
              ? list(value)
              : value
          ])
        )
        const message = new MailMessage.MailMessage(Object.assign({}, good, formed))
        const composed = await Effect.runPromise(Effect.either(octets(message)))
        expect(Either.isLeft(composed)).toBe(true)
        const submitted = await Effect.runPromise(Effect.either(MailMessage.submission(message)))
        expect(Either.isLeft(submitted)).toBe(true)
      }),
      { numRuns: Math.ceil(runs / 10) }
    )
  )
})

describe("whatever is accepted", () => {
  it.each(Object.keys(headerFields))("in %s adds no field, no part and no recipient", async (name) => {
    await FastCheck.assert(
      FastCheck.asyncProperty(devious, async (text) => {
        const made = await make({ ...harmless, ...headerFields[name]?.(text) })
        if (Either.isLeft(made)) {
          expect(made.left._tag).toBe("InvalidArgument")
          return
        }
        const { names, recipients } = await structureOf(made.right)
        expect(names.filter((key) => /injected|^bcc$|^resent-bcc$/.test(key))).toEqual([])
        expect(new Set(names).size).toBe(names.length)
        expect(recipients[0]).toBe(made.right.to.length)
        expect(recipients[1]).toBe(made.right.cc.length === 0 ? undefined : made.right.cc.length)
        expect(MailMessage.envelope(made.right).to.join()).not.toContain("victim@example.org,")
      }),
      { numRuns: Math.ceil(runs / 3) }
    )
  })

  it.each(Object.keys(parts))("as %s leaves the structure of the message as it was", async (name) => {
    const usual = await structureOf(await Effect.runPromise(MailMessage.make(harmless)))
    await FastCheck.assert(
      FastCheck.asyncProperty(hostile, async (text) => {
        const made = await make({ ...harmless, ...parts[name]?.(text) })
        if (Either.isLeft(made)) {
          // The boundary is the program's own here, and known to whoever is hostile.
          expect(made.left.field).toBe("boundary")
          return
        }
        expect(await structureOf(made.right)).toEqual(usual)
      }),
      { numRuns: runs }
    )
  })
})

describe("a key of DKIM", () => {
  it("takes no domain and no selector with CR, LF or NUL", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(hostile, FastCheck.boolean(), async (text, inDomain) => {
        const name = inDomain ? { domain: text, selector: "s" } : { domain: "example.com", selector: text }
        const error = await Effect.runPromise(
          Effect.flip(Dkim.key({ ...name, privateKey: Redacted.make("x") }))
        )
        expect(error.field).toBe(inDomain ? "domain" : "selector")
      }),
      { numRuns: runs }
    ))
})
