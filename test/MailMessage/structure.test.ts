/** Where the parts of a message stand, and what its HTML refers to. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import PostalMime from "postal-mime"
import * as MailMessage from "../../src/MailMessage.js"

const base: MailMessage.Input = { from: "app@example.com", to: "ann@example.net", boundary: "fixed" }

const composed = (
  input: Partial<MailMessage.Input>,
  options: MailMessage.ContentOptions<never, never> = {}
) =>
  MailMessage.make({ ...base, ...input }).pipe(
    Effect.flatMap((message) => Stream.runCollect(MailMessage.content(message, options))),
    Effect.map((chunks) => Buffer.concat([...chunks]).toString("latin1"))
  )

/** The media types in order, each indented by how deep it is. */
const outline = (content: string): ReadonlyArray<string> => {
  const open: Array<string> = []
  return content.split("\r\n").flatMap((line, index, lines) => {
    const end = open.findIndex((boundary) => line === `--${boundary}--`)
    if (end !== -1) open.length = end
    const type = /^Content-Type: ([^;\s]+)/.exec(line)?.[1]
    if (type === undefined) return []
    const shown = `${" ".repeat(open.length)}${type}`
    const boundary = /boundary="([^"]+)"/.exec(`${line}${lines[index + 1] ?? ""}`)?.[1]
    if (type.startsWith("multipart/") && boundary !== undefined) open.push(boundary)
    return [shown]
  })
}

const picture = { contentType: "image/png", content: "x" }

describe("an attachment with a content ID", () => {
  it.effect("stands beside the HTML, unless it is to be listed", () =>
    Effect.gen(function* () {
      const content = yield* composed({
        html: '<img src="cid:logo@x">',
        attachments: [
          { ...picture, cid: "logo@x" },
          { ...picture, cid: "report@x", disposition: "attachment", filename: "report.png" }
        ]
      })
      expect(outline(content)).toEqual([
        "multipart/mixed",
        " multipart/related",
        "  text/html",
        "  image/png",
        " image/png"
      ])
      const { attachments } = yield* Effect.promise(() => PostalMime.parse(Buffer.from(content, "latin1")))
      expect(attachments.map(({ contentId, disposition }) => [contentId, disposition])).toEqual([
        ["<logo@x>", "inline"],
        ["<report@x>", "attachment"]
      ])
    })
  )
})

describe("a reference of HTML to a part", () => {
  const missing: ReadonlyArray<readonly [html: string]> = [
    ['<img src="cid:logo@x">'],
    ["<IMG\nSRC = 'CID:logo@x' >"],
    ["<img alt='a > b' src=cid:logo@x>"],
    ['<td background="cid:logo@x">'],
    ['<p style="background: url(&quot;cid:logo@x&quot;)">'],
    ["<style>p { background: URL( 'cid:logo@x' ) }</style>"],
    ["<style>unfinished { background: url(cid:logo@x)"],
    ["<p title=it's><img src='cid:logo@x'>"],
    ['<title>a</title><img/src="cid:logo@x"/>']
  ]

  it.effect.each(missing)("that nothing answers is refused by its name: %s", ([html]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(composed({ html }))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "html" })
      expect(error.message).toContain("cid:logo@x")
      const message = yield* MailMessage.make({ ...base, html })
      expect(yield* Effect.flip(MailMessage.submission(message))).toMatchObject({ field: "html" })
      const attachments = [MailMessage.streamed(Stream.empty, { ...picture, cid: "logo@x" })]
      expect(outline(yield* composed({ html }, { attachments }))).toContain(" image/png")
      expect(yield* composed({ html, attachments: [{ ...picture, cid: "logo@x" }] })).toContain("<logo@x>")
    })
  )

  const texts: ReadonlyArray<readonly [html: string]> = [
    ['<p>Write src="cid:logo@x" there.</p>'],
    ['<p title="src=cid:logo@x">&lt;img src="cid:logo@x"></p>'],
    ["<p>url(cid:logo@x)</p>"],
    ['<!-- <img src="cid:logo@x"> -->'],
    ['<textarea><img src="cid:logo@x"></textarea>'],
    ['<a href="cid:logo@x">'],
    ['<img src="https://example.com/cid:logo@x">'],
    ["<!-- never ends <img src=cid:logo@x>"],
    ["a < b src=cid:logo@x"]
  ]

  it.effect.each(texts)("is not seen in text: %s", ([html]) => Effect.asVoid(composed({ html })))

  it.effect("may be percent-encoded, as URLs are (RFC 2392)", () =>
    Effect.asVoid(composed({ html: '<img src="cid:a%25b@x">', attachments: [{ ...picture, cid: "a%b@x" }] }))
  )

  it.effect("is looked for in other forms of HTML too", () =>
    Effect.gen(function* () {
      const alternatives = [{ contentType: "text/html", content: "<img src=cid:logo@x>" }]
      expect(yield* Effect.flip(composed({ alternatives }))).toMatchObject({
        field: "alternatives[0].content"
      })
    })
  )

  it.effect("is found in a time in proportion to the length", () =>
    Effect.gen(function* () {
      for (const piece of ['<a b="', "<a b='", "<!--", "<style>", "<a <a", "<a = ", "url(", "<textarea"]) {
        yield* composed({
          html: `<img src="cid:logo@x">${piece.repeat(50_000)}`,
          attachments: [{ ...picture, cid: "logo@x" }]
        })
      }
    })
  )
})

const form = (contentType: string) => ({ contentType, content: "x" })

const event = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"

describe("the forms of a text", () => {
  const input: Partial<MailMessage.Input> = {
    text: "x",
    html: "x",
    calendar: { method: "REQUEST", content: event },
    alternatives: [
      form("application/x-form"),
      form("text/x-amp-html"),
      form("text/markdown"),
      form("text/plain; format=flowed")
    ]
  }

  it.effect("come by increasing richness", () =>
    Effect.gen(function* () {
      expect(outline(yield* composed(input))).toEqual([
        "multipart/mixed",
        " multipart/alternative",
        "  text/plain",
        "  text/plain",
        "  text/markdown",
        "  text/x-amp-html",
        "  text/html",
        "  application/x-form",
        "  text/calendar",
        " application/ics"
      ])
    })
  )

  it.effect("come as they were given, if that is wanted", () =>
    Effect.gen(function* () {
      expect(outline(yield* composed({ ...input, alternativesOrder: "given" })).slice(2, -1)).toEqual([
        "  text/plain",
        "  text/html",
        "  text/calendar",
        "  application/x-form",
        "  text/x-amp-html",
        "  text/markdown",
        "  text/plain"
      ])
    })
  )
})
