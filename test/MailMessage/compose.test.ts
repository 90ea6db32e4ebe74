/** A message and its submission in one step, with attachments of any kind. */
import type { FileSystem } from "@effect/platform/FileSystem"
import { layerNoop } from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import PostalMime from "postal-mime"
import * as MailMessage from "../../src/MailMessage.js"
import type { ContentError, InvalidArgument } from "../../src/SmtpError.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import { untyped } from "../support/untyped.js"

class Broken {
  readonly _tag = "Broken"
}

const bytesOf = <E, R>({ content }: Submission<E, R>): Effect.Effect<Uint8Array, E, R> => {
  if (content instanceof Uint8Array) return Effect.succeed(content)
  if (typeof content === "string" || !("_tag" in content) || content._tag !== "Streamed") {
    return Effect.die("no such content here")
  }
  return Effect.map(Stream.runCollect(content.stream), (chunks) => Buffer.concat([...chunks]))
}

const parsed = <E, R>(submission: Submission<E, R>) =>
  Effect.flatMap(bytesOf(submission), (bytes) => Effect.promise(() => PostalMime.parse(bytes)))

const base = { from: "app@example.com", to: "ann@example.net", subject: "Hello", text: "Hello.\n" }
const stream = Stream.make(new TextEncoder().encode("of a stream"))

describe("compose", () => {
  it.effect("makes what make and submission make", () =>
    Effect.gen(function* () {
      const fixed = { ...base, messageId: "<1@example.com>", boundary: "b" }
      const message = yield* MailMessage.make(fixed)
      const inTwoSteps = yield* MailMessage.submission(message, { timeout: "1 minute" })
      expect(yield* MailMessage.compose(fixed, { timeout: "1 minute" })).toEqual(inTwoSteps)
    })
  )

  it.effect("lets options override the envelope, and adds SMTPUTF8 if needed", () =>
    Effect.gen(function* () {
      const submission = yield* MailMessage.compose(
        { ...base, cc: "jörg@example.net" },
        { from: "", to: "x@y.test" }
      )
      expect(submission).toMatchObject({ from: "", to: "x@y.test", parameters: { smtputf8: true } })
    })
  )

  it.effect("takes attachments of any kind in one list, and keeps their order", () =>
    Effect.gen(function* () {
      const submission = yield* MailMessage.compose({
        ...base,
        attachments: [
          MailMessage.streamed(stream, { filename: "1.txt" }),
          { filename: "2.txt", content: "a string" },
          MailMessage.file("/srv/3.txt"),
          { filename: "4.bin", content: Uint8Array.of(1, 2, 3) },
          { filename: "5", content: new URL("data:image/png;base64,AQID") },
          { content: new URL("data:text/plain;charset=utf-8,Gr%C3%BC%C3%9Fe%2C%20Ann"), filename: "6.txt" }
        ]
      })
      const { attachments } = yield* parsed(submission)
      expect(attachments.map(({ filename }) => filename)).toEqual([
        "1.txt",
        "2.txt",
        "3.txt",
        "4.bin",
        "5",
        "6.txt"
      ])
      const text = (position: number): string =>
        new TextDecoder().decode(new Uint8Array(untyped(attachments[position]?.content)))
      expect([text(0), text(1), text(2), text(5)]).toEqual([
        "of a stream",
        "a string",
        "of a file",
        "Grüße, Ann"
      ])
      expect(attachments[4]).toMatchObject({ mimeType: "image/png" })
      expect(text(4)).toBe("\u0001\u0002\u0003")
    }).pipe(
      Effect.provide(
        layerNoop({
          access: () => Effect.void,
          stat: () => Effect.succeed(untyped({ type: "File" })),
          stream: () => Stream.make(new TextEncoder().encode("of a file"))
        })
      )
    )
  )

  it.effect.each([
    [2, { filename: "x" }, "attachments[2].content", "is missing; give bytes, a string or a data: URL"],
    [2, { path: "/srv/x" }, "attachments[2].content", "MailMessage.file"],
    [2, { content: 42 }, "attachments[2].content", "is of another type; give bytes"],
    [2, { content: new URL("https://example.com/x") }, "attachments[2].content", "holds no data (https:)"],
    [2, { content: new URL("data:image/png;base64,%21") }, "attachments[2].content", "holds no data"],
    [2, { content: "", filename: "a\nb" }, "attachments[2].filename", ""],
    [2, { content: "", cid: "same@x" }, "attachments[1].cid", "is the content ID of attachments[2]"],
    [2, null, "attachments[2]", "is not an object"],
    [0, { _tag: "StreamedAttachment" }, "attachments[0]", "is neither"]
  ] as const)("%#: names what is wrong by its place in the list", ([position, wrong, field, reason]) =>
    Effect.gen(function* () {
      const attachments: Array<MailMessage.AttachmentInput | MailMessage.StreamedAttachment<never, never>> = [
        MailMessage.streamed(stream),
        MailMessage.streamed(stream, { cid: "same@x" })
      ]
      attachments[position] = untyped(wrong)
      const error = yield* Effect.flip(MailMessage.compose({ ...base, attachments }))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      expect(error.message).toContain(reason)
    })
  )

  it.effect("refuses a list that is none", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(MailMessage.compose({ ...base, attachments: untyped({}) }))
      expect(error).toMatchObject({ field: "attachments", reason: "is not a list" })
    })
  )

  const served = (bodies: Readonly<Record<string, string>>) => {
    const requests: Array<string> = []
    const client = HttpClient.make((request, url) =>
      Effect.sync(() => {
        requests.push(`${request.method} ${url.href}`)
        const body = bodies[url.href]
        return HttpClientResponse.fromWeb(
          request,
          new Response(body ?? "none", { status: body === undefined ? 404 : 200 })
        )
      })
    )
    return { requests, provide: Effect.provideService(HttpClient.HttpClient, client) }
  }

  it.effect("attaches what a URL gives, through the HttpClient of the program", () =>
    Effect.gen(function* () {
      const { provide, requests } = served({ "https://cdn.test/a/terms.txt?v=1": "the terms" })
      const attachments = [MailMessage.url("https://cdn.test/a/terms.txt?v=1")]
      const submission = yield* provide(MailMessage.compose({ ...base, attachments }))
      expect(requests).toEqual(["GET https://cdn.test/a/terms.txt?v=1"])
      const email = yield* provide(parsed(submission))
      expect(email.attachments).toMatchObject([{ filename: "terms.txt", mimeType: "text/plain" }])
      expect(new TextDecoder().decode(new Uint8Array(untyped(email.attachments[0]?.content)))).toBe(
        "the terms"
      )
    })
  )

  it.effect("fails before anything is sent if a URL gives nothing", () =>
    Effect.gen(function* () {
      const attachments = [MailMessage.url(new URL("https://cdn.test/none"), { filename: "x" })]
      const error = yield* Effect.flip(served({}).provide(MailMessage.compose({ ...base, attachments })))
      expect(error).toMatchObject({ _tag: "ResponseError", reason: "StatusCode" })
    })
  )

  it("infers the errors and requirements of all attachments, and those of point-free calls", () => {
    interface Store {
      readonly _: unique symbol
    }
    type Calls = ReturnType<typeof calls>
    const calls = (broken: Stream.Stream<Uint8Array, Broken, Store>) => ({
      plain: MailMessage.compose(base),
      mixed: MailMessage.compose({
        ...base,
        attachments: [{ content: "" }, MailMessage.streamed(broken), MailMessage.file("/x")]
      }),
      pointFree: Effect.succeed(base).pipe(Effect.flatMap(MailMessage.compose)),
      piped: MailMessage.make(base).pipe(Effect.flatMap(MailMessage.submission))
    })
    expect(calls).toBeTypeOf("function")
    type PlatformError = MailMessage.PartError<ReturnType<typeof MailMessage.file>>
    expectTypeOf<Calls["plain"]>().toEqualTypeOf<Effect.Effect<Submission<ContentError>, InvalidArgument>>()
    expectTypeOf<Calls["mixed"]>().toEqualTypeOf<
      Effect.Effect<
        Submission<ContentError | Broken | PlatformError, Store | FileSystem>,
        InvalidArgument | Broken | PlatformError,
        Store | FileSystem
      >
    >()
    expectTypeOf<Calls["pointFree"]>().toEqualTypeOf<Calls["plain"]>()
    expectTypeOf<Calls["piped"]>().toEqualTypeOf<Calls["plain"]>()
  })
})
