import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import PostalMime from "postal-mime"
import * as MailMessage from "../../src/MailMessage.js"
import { untyped } from "../support/untyped.js"

const base: MailMessage.Input = {
  from: "app@example.com",
  to: "ann@example.net",
  subject: "Hello",
  date: new Date("2026-01-02T03:04:05Z"),
  messageId: "<1@example.com>",
  boundary: "fixed",
  text: "Hello.\n"
}

const octets = <E, R>(stream: Stream.Stream<Uint8Array, E, R>) =>
  Effect.map(Stream.runCollect(stream), (chunks) => new Uint8Array(Buffer.concat([...chunks])))

const text = <E, R>(stream: Stream.Stream<Uint8Array, E, R>) =>
  Effect.map(octets(stream), (all) => new TextDecoder().decode(all))

const contentOf = (input: Partial<MailMessage.Input>) =>
  Effect.flatMap(MailMessage.make({ ...base, ...input }), (message) => text(MailMessage.content(message)))

// What vitest calls any.
const containing = (text: string): unknown => expect.stringContaining(text)

class Broken extends Data.TaggedError("Broken")<{ readonly at: number }> {}

describe("content", () => {
  it.effect("is the same octets each time, when date, id and boundary are given", () =>
    Effect.gen(function* () {
      const input = {
        attachments: [{ filename: "ä.txt", content: "x" }],
        html: "<p>ä</p>",
        bcc: "no@example.net"
      }
      const first = yield* contentOf(input)
      expect(yield* contentOf(input)).toBe(first)
      expect(first).toBe(
        [
          "From: app@example.com",
          "To: ann@example.net",
          "Subject: Hello",
          "Message-ID: <1@example.com>",
          "Date: Fri, 02 Jan 2026 03:04:05 +0000",
          "MIME-Version: 1.0",
          'Content-Type: multipart/mixed; boundary="=_-fixed-Part_1"',
          "",
          "--=_-fixed-Part_1",
          'Content-Type: multipart/alternative; boundary="=_-fixed-Part_2"',
          "",
          "--=_-fixed-Part_2",
          "Content-Type: text/plain; charset=utf-8",
          "Content-Transfer-Encoding: 7bit",
          "",
          "Hello.",
          "",
          "--=_-fixed-Part_2",
          "Content-Type: text/html; charset=utf-8",
          "Content-Transfer-Encoding: quoted-printable",
          "",
          "<p>=C3=A4</p>",
          "--=_-fixed-Part_2--",
          "",
          "--=_-fixed-Part_1",
          'Content-Type: text/plain; name="=?UTF-8?Q?=C3=A4=2Etxt?="',
          "Content-Transfer-Encoding: base64",
          "Content-Disposition: attachment; filename*0*=utf-8''%C3%A4.txt",
          "",
          "eA==",
          "--=_-fixed-Part_1--",
          ""
        ].join("\r\n")
      )
    })
  )

  it.effect("chooses the encoding of text by what it holds", () =>
    Effect.gen(function* () {
      expect(yield* contentOf({ text: "plain\n" })).toContain("Content-Transfer-Encoding: 7bit")
      expect(yield* contentOf({ text: "Grüße, Jörg\n" })).toContain(
        "Content-Transfer-Encoding: quoted-printable"
      )
      expect(yield* contentOf({ text: "日本語の文章です\n" })).toContain("Content-Transfer-Encoding: base64")
      expect(yield* contentOf({ text: `${"x".repeat(2000)}\n` })).toContain(
        "Content-Transfer-Encoding: quoted-printable"
      )
    })
  )

  it.effect(
    "guesses the type of an attachment from its name, and asks octets before it says message/rfc822",
    () =>
      Effect.gen(function* () {
        const types = yield* contentOf({
          text: "",
          attachments: [
            { filename: "a.pdf", content: "x" },
            { filename: "b.PNG", content: "x" },
            { filename: "c.eml", content: "Subject: x\r\n\r\nx\r\n" },
            { filename: "d.eml", content: "Subject: x\n\nx\n" },
            { filename: "e", content: "x" },
            { filename: "f.pdf", contentType: "application/x-own; v=1", content: "x" },
            { filename: "g.eml", contentType: "message/global", content: "Subject: ä\n\nx" }
          ]
        })
        expect([...types.matchAll(/^Content-Type: ([^\s;]+)/gm)].map((found) => found[1]).slice(1)).toEqual([
          "application/pdf",
          "image/png",
          "message/rfc822",
          "application/octet-stream",
          "application/octet-stream",
          "application/x-own",
          "message/global"
        ])
        const [, nested] = types.split("Content-Type: message/rfc822")
        expect(nested).toContain("Content-Transfer-Encoding: 7bit")
        expect(nested?.split("Content-Type: message/global")[1]).toContain(
          "Content-Transfer-Encoding: base64"
        )
      })
  )

  it.effect("has the fields of lists, of one-click unsubscription and of priority to the letter", () =>
    Effect.gen(function* () {
      const header = yield* contentOf({
        list: {
          id: "Dogs <dogs.lists.example.com>",
          unsubscribe: ["https://example.com/u?x=1", "mailto:u@example.com"],
          oneClick: true,
          post: "mailto:dogs@example.com"
        },
        priority: "high",
        inReplyTo: "<2@example.com>",
        references: "<1@example.com> <2@example.com>"
      })
      expect(header.split("\r\n")).toEqual(
        expect.arrayContaining([
          "In-Reply-To: <2@example.com>",
          "References: <1@example.com> <2@example.com>",
          "List-Id: Dogs <dogs.lists.example.com>",
          "List-Unsubscribe: <https://example.com/u?x=1>, <mailto:u@example.com>",
          "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
          "List-Post: <mailto:dogs@example.com>",
          "X-Priority: 1 (Highest)",
          "Importance: High"
        ])
      )
    })
  )

  it.effect("carries an invitation as a part and as a file, with the method of both (RFC 6047)", () =>
    Effect.gen(function* () {
      const event = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"
      const message = yield* MailMessage.make({ ...base, calendar: { method: "REQUEST", content: event } })
      const email = yield* Effect.promise(async () =>
        PostalMime.parse(await Effect.runPromise(octets(MailMessage.content(message))))
      )
      const parts = email.attachments.map(({ content, filename, method, mimeType }) => ({
        content: typeof content === "string" ? content : new TextDecoder().decode(content),
        filename,
        method,
        mimeType
      }))
      const wanted = event.replaceAll("\n", "\r\n")
      expect(
        parts.map((part) => ({ ...part, content: part.content.replace(/\r?\n/g, "\r\n").trimEnd() }))
      ).toEqual([
        { content: wanted.trimEnd(), filename: null, method: "REQUEST", mimeType: "text/calendar" },
        { content: wanted.trimEnd(), filename: "invite.ics", method: undefined, mimeType: "application/ics" }
      ])
    })
  )

  it.effect("has a message that is sent again with its Resent- block on top", () =>
    Effect.gen(function* () {
      const header = yield* contentOf({
        resent: {
          from: "bob@example.com",
          to: "carol@example.net",
          bcc: "secret@example.net",
          date: new Date("2026-02-03T04:05:06Z"),
          messageId: "<2@example.com>"
        }
      })
      expect(header.split("\r\n").slice(0, 5)).toEqual([
        "Resent-Date: Tue, 03 Feb 2026 04:05:06 +0000",
        "Resent-From: bob@example.com",
        "Resent-To: carol@example.net",
        "Resent-Message-ID: <2@example.com>",
        "From: app@example.com"
      ])
      expect(header).not.toContain("secret")
    })
  )
})

const pieces = (count: number, length = 1000): Stream.Stream<Uint8Array> =>
  Stream.range(1, count).pipe(Stream.map((number) => new Uint8Array(length).fill(number)))

const attached = async (
  message: Uint8Array
): Promise<ReadonlyArray<readonly [string | null, Uint8Array]>> => {
  const { attachments } = await PostalMime.parse(message)
  return attachments.map(({ content, filename }) => [
    filename,
    typeof content === "string" ? new TextEncoder().encode(content) : new Uint8Array(content)
  ])
}

describe("attachments that are streams", () => {
  it.effect("arrive octet for octet, each time the content is run", () =>
    Effect.gen(function* () {
      const message = yield* MailMessage.make({ ...base, attachments: [{ filename: "kept", content: "k" }] })
      const content = MailMessage.content(message, {
        attachments: [
          MailMessage.streamed(pieces(100), { filename: "a.bin" }),
          MailMessage.streamed(Stream.empty, { filename: "empty" }),
          MailMessage.streamed(pieces(3, 1), { cid: "x@example.com", contentType: "image/png" })
        ]
      })
      const first = yield* octets(content)
      expect(Buffer.from(first).equals(yield* octets(content))).toBe(true)
      const [kept, a, empty, inline] = yield* Effect.promise(() => attached(first))
      expect(kept).toEqual(["kept", Uint8Array.of(107)])
      expect(a?.[0]).toBe("a.bin")
      expect(Buffer.from(a?.[1] ?? []).equals(yield* octets(pieces(100)))).toBe(true)
      expect(empty).toEqual(["empty", new Uint8Array(0)])
      expect(inline).toEqual([null, Uint8Array.of(1, 2, 3)])
    })
  )

  it.effect("fail with their own errors, and need what they need", () =>
    Effect.gen(function* () {
      class Rows extends Context.Tag("Rows")<Rows, Stream.Stream<Uint8Array, Broken>>() {}
      const message = yield* MailMessage.make(base)
      const content = MailMessage.content(message, {
        attachments: [MailMessage.streamed(Stream.unwrap(Rows), { filename: "rows" })]
      })
      const failing = Stream.concat(pieces(200), Stream.fail(new Broken({ at: 200 })))
      const error: unknown = yield* octets(content).pipe(Effect.provideService(Rows, failing), Effect.flip)
      expect(error).toEqual(new Broken({ at: 200 }))
      const defect = yield* octets(content).pipe(
        Effect.provideService(Rows, Stream.die("a defect")),
        Effect.catchAllDefect((found) => Effect.succeed(found))
      )
      expect(defect).toBe("a defect")
    })
  )

  it.effect.each([42, "text", null, [1, 2]])(
    "that give what is no octets are errors that name them: %#",
    (piece) =>
      Effect.gen(function* () {
        const message = yield* MailMessage.make(base)
        const attachments = [
          MailMessage.streamed(pieces(2), { filename: "good" }),
          MailMessage.streamed(Stream.make(Uint8Array.of(1), untyped(piece)), { filename: "bad" })
        ]
        expect(yield* Effect.flip(octets(MailMessage.content(message, { attachments })))).toMatchObject({
          _tag: "ContentError",
          reason: "Failed",
          detail: containing("attachments[1] gave something that is no Uint8Array")
        })
      })
  )

  it.effect("are described as carefully as those in memory", () =>
    Effect.gen(function* () {
      const message = yield* MailMessage.make({ ...base, attachments: [{ cid: "a@b", content: "" }] })
      const wrong = (options: MailMessage.AttachmentOptions) =>
        Effect.flip(
          MailMessage.submission(message, { attachments: [MailMessage.streamed(Stream.empty, options)] })
        )
      expect(yield* wrong({ filename: "a\nb" })).toMatchObject({ field: "attachments[0].filename" })
      expect(yield* wrong({ contentType: "x" })).toMatchObject({ field: "attachments[0].contentType" })
      const forMake = untyped({ filename: "a", content: "x" })
      const inMemory = MailMessage.submission(message, { attachments: [forMake] })
      expect(yield* Effect.flip(inMemory)).toMatchObject({
        field: "attachments[0]",
        reason: containing("`make`")
      })
      expect(yield* wrong({ contentType: "message/rfc822" })).toMatchObject({
        field: "attachments[0].contentType",
        reason: containing("give message/global")
      })
      expect(yield* wrong({ cid: "a@b" })).toMatchObject({
        field: "attachments[0].cid",
        reason: "is the content ID of message.attachments[0] too"
      })
      const content = MailMessage.content(message, {
        attachments: [MailMessage.streamed(Stream.empty, { cid: "<" })]
      })
      expect(yield* Effect.flip(octets(content))).toMatchObject({ field: "attachments[0].cid" })
    })
  )

  it.live("are read no faster than the content is, and released when nobody reads on", () =>
    Effect.gen(function* () {
      const read = yield* Ref.make(0)
      const released = yield* Deferred.make<undefined>()
      const endless = Stream.repeatEffect(
        Effect.as(
          Ref.update(read, (count) => count + 1),
          new Uint8Array(10_000)
        )
      ).pipe(Stream.ensuring(Deferred.succeed(released, undefined)))
      const message = yield* MailMessage.make(base)
      const content = MailMessage.content(message, { attachments: [MailMessage.streamed(endless)] })
      const taken = yield* Stream.runFold(Stream.take(content, 20), 0, (sum, piece) => sum + piece.length)
      yield* Deferred.await(released)
      expect(taken).toBeGreaterThan(100)
      expect(yield* Ref.get(read)).toBeLessThan(100)
    })
  )

  it.live("do not hold up an interruption, whatever they wait for", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<undefined>()
      const released = yield* Deferred.make<undefined>()
      const stalled = Stream.concat(
        Stream.make(new Uint8Array(100)),
        Stream.fromEffect(Effect.zipRight(Deferred.succeed(waiting, undefined), Effect.never))
      ).pipe(Stream.ensuring(Deferred.succeed(released, undefined)))
      const message = yield* MailMessage.make(base)
      const content = MailMessage.content(message, { attachments: [MailMessage.streamed(stalled)] })
      const fiber = yield* Effect.fork(Stream.runDrain(content))
      yield* Deferred.await(waiting)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(released)
    })
  )
})

describe("attachments that are files", () => {
  const inFolder = <A, E, R>(use: (folder: string, files: FileSystem.FileSystem) => Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      return yield* use(yield* files.makeTempDirectoryScoped(), files)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))

  it.live("arrive under their names, and are read when the message is sent", () =>
    inFolder((folder, files) =>
      Effect.gen(function* () {
        yield* files.writeFile(`${folder}/report.pdf`, Uint8Array.of(1, 2, 255))
        const message = yield* MailMessage.make(base)
        const attachments = [
          MailMessage.file(`${folder}/report.pdf`, { filename: undefined }),
          MailMessage.file(`${folder}/report.pdf`, { filename: "other.png", contentType: "image/png" })
        ]
        const all = yield* octets(MailMessage.content(message, { attachments }))
        expect(yield* Effect.promise(() => attached(all))).toEqual([
          ["report.pdf", Uint8Array.of(1, 2, 255)],
          ["other.png", Uint8Array.of(1, 2, 255)]
        ])
        expect(new TextDecoder().decode(all)).toContain("Content-Type: application/pdf; name=report.pdf")
      })
    )
  )

  it.live("that cannot be read fail before anything is sent", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const message = yield* MailMessage.make(base)
        const attachments = [MailMessage.file(`${folder}/missing`)]
        const error = yield* Effect.flip(MailMessage.submission(message, { attachments }))
        expect(error).toBeInstanceOf(PlatformError.SystemError)
        expect(error).toMatchObject({ reason: "NotFound" })
        const late = yield* Effect.flip(octets(MailMessage.content(message, { attachments })))
        expect(late).toMatchObject({ _tag: "SystemError", reason: "NotFound" })
        const directory = MailMessage.submission(message, { attachments: [MailMessage.file(folder)] })
        expect(yield* Effect.flip(directory)).toMatchObject({
          _tag: "SystemError",
          reason: "BadResource",
          pathOrDescriptor: folder
        })
      })
    )
  )
})

describe("submission", () => {
  it.effect("gives octets for what is small, and a stream for what is not", () =>
    Effect.gen(function* () {
      const small = yield* MailMessage.make(base)
      const expected = yield* octets(MailMessage.content(small))
      const whole = yield* MailMessage.submission(small)
      expect(whole.content).toBeInstanceOf(Uint8Array)
      expect(Uint8Array.from(whole.content instanceof Uint8Array ? whole.content : [])).toEqual(expected)

      const large = yield* MailMessage.make({ ...base, attachments: [{ content: new Uint8Array(200_000) }] })
      expect((yield* MailMessage.submission(large)).content).toMatchObject({
        _tag: "Streamed",
        content7bit: true
      })
      // In base64 it passes the limit.
      const between = yield* MailMessage.make({
        ...base,
        attachments: [{ content: new Uint8Array(110_000) }]
      })
      expect((yield* MailMessage.submission(between)).content).toMatchObject({ _tag: "Streamed" })

      const streamed = yield* MailMessage.submission(small, {
        attachments: [MailMessage.streamed(Stream.empty)]
      })
      expect(streamed.content).toMatchObject({ _tag: "Streamed", content7bit: true, replayable: true })
    })
  )

  it.effect("has the envelope of the message, which what is given outranks", () =>
    Effect.gen(function* () {
      const message = yield* MailMessage.make({ ...base, cc: "carol@example.net", bcc: "dave@example.net" })
      expect(yield* MailMessage.submission(message)).toMatchObject({
        from: "app@example.com",
        to: ["ann@example.net", "carol@example.net", "dave@example.net"]
      })
      const to = [{ address: "x@example.net", notify: ["FAILURE"] as const }]
      const given = yield* Effect.flatMap(
        Effect.succeed(message),
        MailMessage.submission({ from: "", to, recipients: "all", timeout: "1 minute" })
      )
      expect(given).toMatchObject({ from: "", to, recipients: "all", timeout: "1 minute" })
      expect(given).not.toHaveProperty("parameters")
    })
  )

  it.effect("asks for SMTPUTF8 if the header names a mailbox beyond ASCII, and only then", () =>
    Effect.gen(function* () {
      const parametersOf = (input: Partial<MailMessage.Input>, options: MailMessage.RawOptions = {}) =>
        MailMessage.make({ ...base, ...input }).pipe(
          Effect.flatMap(MailMessage.submission(options)),
          Effect.map(({ parameters }) => parameters)
        )
      expect(yield* parametersOf({ subject: "Grüße", to: "Jörg <j@exämple.org>" })).toBeUndefined()
      expect(yield* parametersOf({ bcc: "jörg@example.org" })).toBeUndefined()
      const needed: ReadonlyArray<Partial<MailMessage.Input>> = [
        { from: "jörg@example.org" },
        { sender: "jörg@example.org" },
        { replyTo: "jörg@example.org" },
        { to: { group: "Us", members: [{ address: "jörg@example.org" }] } },
        { cc: "jörg@example.org" },
        { resent: { from: "a@example.org", to: "jörg@example.org" } }
      ]
      for (const input of needed) {
        expect(yield* parametersOf(input)).toEqual({ smtputf8: true })
      }
      const kept = { parameters: { ret: "HDRS" as const } }
      expect(yield* parametersOf({ cc: "jörg@example.org" }, kept)).toEqual({ ret: "HDRS", smtputf8: true })
      expect(yield* contentOf({ to: "jörg@exämple.org" })).toContain("To: jörg@xn--exmple-cua.org\r\n")
    })
  )

  it.effect("of a message for nobody is refused", () =>
    Effect.gen(function* () {
      const message = yield* MailMessage.make({ ...base, to: "undisclosed-recipients:;" })
      expect(yield* Effect.flip(MailMessage.submission(message))).toMatchObject({ field: "to" })
      expect(yield* MailMessage.submission(message, { to: "x@example.net" })).toMatchObject({
        to: "x@example.net"
      })
    })
  )
})
