/** Fields of a program's own, and group names, are encoded so that other programs read what was meant. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import addressparser from "nodemailer/lib/addressparser"
import PostalMime from "postal-mime"
import * as MailMessage from "../../src/MailMessage.js"
import { suite } from "../servers/availability.js"
import { startPythonMail } from "../support/pythonMail.js"

const composed = (input: Partial<MailMessage.Input>) =>
  MailMessage.make({ from: "app@example.com", to: "ann@example.net", text: "Hello.\n", ...input }).pipe(
    Effect.flatMap((message) => Stream.runCollect(MailMessage.content(message))),
    Effect.map((chunks) => new Uint8Array(Buffer.concat([...chunks])))
  )

const header = (input: Partial<MailMessage.Input>) =>
  Effect.map(composed(input), (octets) => Buffer.from(octets).toString("latin1").split("\r\n\r\n")[0] ?? "")

const office = "Büro Süd <office@example.com>"

const long = "Ä".repeat(300)

describe("a header field of a program's own", () => {
  it.effect("that holds addresses leaves the addresses readable", () =>
    Effect.gen(function* () {
      for (const name of [
        "Disposition-Notification-To",
        "return-receipt-to",
        "Errors-To",
        "X-Confirm-Reading-To"
      ]) {
        const found = yield* header({ headers: { [name]: office } })
        expect(found.replaceAll("\r\n ", " ")).toContain(
          `\r\n${name}: =?UTF-8?Q?B=C3=BCro_S=C3=BCd?= <office@example.com>\r\n`
        )
      }
      const several = yield* header({
        headers: { "Mail-Followup-To": `${office}, "Doe, J." <j@exämple.org>` }
      })
      const field = /\r\nMail-Followup-To:((?:.|\r\n )*)/.exec(several)?.[1]?.replaceAll("\r\n", "") ?? ""
      expect(addressparser(field).map(({ address }) => address)).toEqual([
        "office@example.com",
        "j@xn--exmple-cua.org"
      ])
      expect(field).toContain('"Doe, J." <')
    })
  )

  it.effect("that holds phrases is encoded phrase by phrase", () =>
    Effect.gen(function* () {
      expect(yield* header({ headers: { Keywords: 'Grüße, "a, b", plain' } })).toContain(
        'Keywords: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=, "a, b", plain'
      )
    })
  )

  it.effect("that holds tokens stays as it is, but for its comments", () =>
    Effect.gen(function* () {
      const found = yield* header({
        headers: {
          "Auto-Submitted": 'auto-generated (Grüße); x="(=?"',
          "Disposition-Notification-Options": "signed-receipt=optional,  pkcs7-signature"
        }
      })
      expect(found).toContain('Auto-Submitted: auto-generated (=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=); x="(=?"')
      expect(found).toContain("Disposition-Notification-Options: signed-receipt=optional,  pkcs7-signature")
    })
  )

  it.effect("that is not known is unstructured text", () =>
    Effect.gen(function* () {
      expect(yield* header({ headers: { "X-Office": office } })).toMatch(/X-Office: =\?UTF-8\?Q\?.*office=40/)
    })
  )

  const refused: ReadonlyArray<readonly [name: string, value: string, reason: RegExp]> = [
    ["Disposition-Notification-To", "the office", /name without an address/],
    ["Return-Receipt-To", "", /no address/],
    ["Errors-To", "a@example.com b@example.com", /comma|space/],
    ["Auto-Submitted", "größe", /beyond ASCII/],
    ["Auto-Submitted", 'a="(ä)"', /beyond ASCII/],
    ["Archived-At", `<https://example.com/${"x".repeat(1000)}>`, /no line of 998/],
    ["Archived-At", "<https://example.com/ä>", /beyond ASCII/]
  ]

  it.effect.each(refused)("is refused by name: %s: %s", ([name, value, reason]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(composed({ headers: { [name]: value } }))
      expect(error).toMatchObject({ _tag: "InvalidArgument" })
      expect(error.message).toContain(`headers["${name}"]`)
      expect(error.message).toMatch(reason)
    })
  )

  it.effect("keeps every line within 998 characters, however long the names in it", () =>
    Effect.gen(function* () {
      const found = yield* header({
        headers: { "Errors-To": `${long} <a@example.com>`, Keywords: `${"k".repeat(3000)}, ${long}` }
      })
      for (const line of found.split("\r\n")) expect(line.length).toBeLessThanOrEqual(998)
    })
  )

  it.effect("requests SMTPUTF8 if its address requires it", () =>
    Effect.gen(function* () {
      const message = yield* MailMessage.make({
        from: "app@example.com",
        to: "ann@example.net",
        headers: { "Disposition-Notification-To": "büro@example.com" }
      })
      expect(yield* MailMessage.submission(message)).toMatchObject({ parameters: { smtputf8: true } })
    })
  )
})

const groups: ReadonlyArray<MailMessage.Group> = [
  { group: "Süd", members: [{ name: "Jörg", address: "j@example.net" }] },
  { group: "=?x?=", members: [] },
  { group: long, members: [{ address: "k@example.net" }] },
  { group: "Team: A", members: [] },
  { group: "Plain", members: [{ address: "l@example.net" }] }
]

describe("a group", () => {
  it.effect("has white space between an encoded name and its colon (RFC 2047 section 5)", () =>
    Effect.gen(function* () {
      const found = yield* header({ to: groups })
      expect(found).not.toContain("?=:")
      expect(found).toContain("=?UTF-8?Q?S=C3=BCd?= : =?UTF-8?Q?J=C3=B6rg?= <j@example.net>;")
      expect(found).toContain("Plain: l@example.net;")
    })
  )

  it.effect("is read back by postal-mime", () =>
    Effect.gen(function* () {
      const octets = yield* composed({ to: groups })
      const { to } = yield* Effect.promise(() => PostalMime.parse(octets))
      expect(to?.map(({ name }) => name)).toEqual(groups.map(({ group }) => group))
    })
  )
})

const fileNames = [
  "a*b.txt",
  `a*b${"x".repeat(57)}.txt`,
  `a*b${"x".repeat(70)}.txt`,
  `*${"x".repeat(200)}* 'y' %41.txt`,
  "=?UTF-8?Q?x?= a*b",
  `=?UTF-8?Q?x?=*${"x".repeat(70)}`,
  `ä*${"x".repeat(70)}*`
]

suite("fields to Python's email package", ["Python"], () => {
  it.scopedLive.each(fileNames)("keep the file name %s", (filename) =>
    Effect.gen(function* () {
      const python = yield* startPythonMail
      const octets = yield* composed({
        attachments: [{ filename, contentType: "application/pdf", content: "x" }]
      })
      const { parts } = yield* Effect.promise(() => python.parse(octets))
      expect(parts.at(-1)?.filename).toBe(filename)
    })
  )

  it.scopedLive("say what was meant", () =>
    Effect.gen(function* () {
      const python = yield* startPythonMail
      const octets = yield* composed({
        to: groups,
        headers: { "Disposition-Notification-To": office, Keywords: "Grüße, plain" }
      })
      const read = yield* Effect.promise(() => python.parse(octets))
      expect(read.defects).toEqual([])
      expect(read.addresses["to"]?.map(([name]) => name)).toEqual(groups.map(({ group }) => group))
      const fields = new Map(read.fields)
      expect(fields.get("Disposition-Notification-To")).toBe(office)
      expect(fields.get("Keywords")).toBe("Grüße, plain")
    })
  )
})
