import { describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Stream from "effect/Stream"
import * as MailMessage from "../../src/MailMessage.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import { untyped } from "../support/untyped.js"

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

const header = (...lines: ReadonlyArray<string>): string => [...lines, "", "body\r\n"].join("\r\n")

const simple = header("From: app@example.com", "To: Ann <ann@example.net>, bob@example.net", "Subject: x")

/** The octets of a submission, whatever its content is. */
const octets = <E, R>({ content }: Submission<E, R>): Effect.Effect<string, E, R> => {
  if (typeof content === "string") return Effect.succeed(content)
  if (content instanceof Uint8Array) return Effect.succeed(new TextDecoder().decode(content))
  if (!("_tag" in content)) return Effect.die("no such content here")
  if (content._tag === "Streamed") {
    return Effect.map(Stream.runCollect(content.stream), (chunks) =>
      new TextDecoder().decode(Buffer.concat([...chunks]))
    )
  }
  return Effect.succeed(content._tag === "Bytes" ? new TextDecoder().decode(content.octets) : content.text)
}

const inPieces = (text: string, length: number): Stream.Stream<Uint8Array> => {
  const all = utf8(text)
  const pieces = Array.from({ length: Math.ceil(all.length / length) }, (_, index) =>
    all.subarray(index * length, (index + 1) * length)
  )
  return Stream.fromChunk(Chunk.unsafeFromArray(pieces))
}

describe("the envelope of a raw message", () => {
  const envelopeOf = (text: string, options?: MailMessage.RawOptions) =>
    Effect.map(MailMessage.raw(text, options), ({ from, to }) => ({ from, to }))

  it.effect.each([
    [simple, "app@example.com", ["ann@example.net", "bob@example.net"]],
    [
      header(
        "From: a@example.com, b@example.com",
        "Sender: c@example.com",
        "Cc: d@example.net",
        "Bcc: e@example.net"
      ),
      "c@example.com",
      ["d@example.net", "e@example.net"]
    ],
    // smtplib takes the first of several authors.
    [header("From: a@example.com, b@example.com", "To: d@example.net"), "a@example.com", ["d@example.net"]],
    [
      header(
        "Resent-Date: Thu, 1 Jan 1970 17:42:00 +0000",
        "Resent-From: r@example.com",
        "Resent-Sender: s@example.com",
        "Resent-To: t@example.net",
        "Resent-Cc: u@example.net",
        "Resent-Bcc: v@example.net",
        "From: a@example.com",
        "Sender: b@example.com",
        "To: c@example.net",
        "Bcc: d@example.net"
      ),
      "s@example.com",
      ["t@example.net", "u@example.net", "v@example.net"]
    ],
    // Folded, in another letter case, with a group, a comment and a quoted comma.
    [
      header(
        'FROM:\r\n "Doe, John"\r\n\t<john@example.com> (himself)',
        "to : Friends: Ann <ann@example.net>,\r\n bob@example.net;, undisclosed-recipients:;"
      ),
      "john@example.com",
      ["ann@example.net", "bob@example.net"]
    ],
    [header("From: a@example.com", "To: jörg@example.net"), "a@example.com", ["jörg@example.net"]],
    ["From: a@example.com\nTo: b@example.net\n\nBcc: no@example.net\n", "a@example.com", ["b@example.net"]],
    ["From: a@example.com\rTo: b@example.net\r\rx", "a@example.com", ["b@example.net"]],
    ["From: a@example.com\r\nTo: b@example.net", "a@example.com", ["b@example.net"]]
  ] as const)("%#: is what the header says", ([text, from, to]) =>
    Effect.gen(function* () {
      expect(yield* envelopeOf(text)).toEqual({ from, to })
    })
  )

  it.effect("names each mailbox once, in its first place", () =>
    Effect.gen(function* () {
      const text = header(
        "From: app@example.com",
        "To: Ann <ann@example.net>",
        "Cc: bob@example.net, ann@Example.NET",
        "Bcc: bob@example.net, carol@example.net"
      )
      expect((yield* envelopeOf(text)).to).toEqual([
        "ann@example.net",
        "bob@example.net",
        "carol@example.net"
      ])
    })
  )

  it.effect("is outranked by what is given", () =>
    Effect.gen(function* () {
      expect(yield* envelopeOf(simple, { from: "", to: "x@example.net" })).toEqual({
        from: "",
        to: "x@example.net"
      })
      expect(yield* envelopeOf(simple, { to: ["x@example.net"] })).toEqual({
        from: "app@example.com",
        to: ["x@example.net"]
      })
      expect((yield* envelopeOf(simple, { from: "y@example.com" })).from).toBe("y@example.com")
    })
  )

  it.effect.each([
    [header("To: a@example.net"), "From"],
    [header("From: a@example.com"), "To"],
    [header("From: a@example.com", "To: b"), "To"],
    [header("From: a@example.com", "To: b@example.net c@example.net"), "To"],
    [header("From: a@example.com", "To: b@example.net", "Cc: C <c@example.net> <d@example.net>"), "Cc"],
    [header("From: a . b@example.com", "To: b@example.net"), "From"],
    [Buffer.from(header("From: a@example.com", "To: Jos\u00e9@example.net"), "latin1"), "To"],
    [header("From: a@example.com", "To: b@example.net", "Bcc: c@-.example"), "Bcc"],
    [
      header("Resent-Date: x", "Resent-From: r@example.com", "From: a@example.com", "To: b@example.net"),
      "Resent-To"
    ],
    [header("Resent-Date: x", "Resent-Date: y", "From: a@example.com", "To: b@example.net"), "Resent-Date"],
    ["", "From"]
  ] as const)("%#: is an error that names the field", ([text, field]) =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(MailMessage.raw(text))).toMatchObject({ _tag: "InvalidArgument", field })
    })
  )
})

describe("a raw message", () => {
  it.effect("passes untouched, whatever it is made of", () =>
    Effect.gen(function* () {
      const bytes = utf8(simple)
      expect((yield* MailMessage.raw(bytes)).content).toBe(bytes)
      expect((yield* MailMessage.raw(simple)).content).toBe(simple)
      const copied = SmtpContent.bytes(bytes)
      expect((yield* MailMessage.raw(copied)).content).toBe(copied)
      expect(yield* octets(yield* MailMessage.raw(inPieces(simple, 3)))).toBe(simple)
    })
  )

  const secret = header(
    "Bcc: x@example.net,",
    "From: app@example.com",
    "bcc: Hidden <y@example.net>,\r\n\tz@example.net",
    "To: ann@example.net",
    "Resent-BCC : w@example.net"
  )
  const open = header("From: app@example.com", "To: ann@example.net")

  it.effect("loses its blind copies, and nothing else", () =>
    Effect.gen(function* () {
      const submission = yield* MailMessage.raw(secret.replace("example.net,\r\nFrom", "example.net\r\nFrom"))
      expect(submission.to).toEqual(["ann@example.net", "x@example.net", "y@example.net", "z@example.net"])
      expect(yield* octets(submission)).toBe(open)
      const given = yield* MailMessage.raw(secret, { from: "", to: "a@example.net" })
      expect(yield* octets(given)).toBe(open)
      expect(yield* octets(yield* MailMessage.raw(`${open}Bcc: in the body\r\n`))).toContain(
        "Bcc: in the body"
      )
    })
  )

  it.effect("is read in a time in proportion to its length", () =>
    Effect.gen(function* () {
      const spaces = " ".repeat(100_000)
      const long = header("From: a@example.com", `To: b@example.net${spaces},c@example.net`)
      expect((yield* MailMessage.raw(long)).to).toEqual(["b@example.net", "c@example.net"])
      const many = header("From: a@example.com", "To: b@example.net", "X: y\r\n".repeat(10_000) + "X: z")
      expect((yield* MailMessage.raw(inPieces(many, 1))).to).toEqual(["b@example.net"])
    })
  )

  it("loses them in a stream of any pieces, with any line ends", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(
        FastCheck.integer({ min: 1, max: 200 }),
        FastCheck.constantFrom("\r\n", "\n", "\r"),
        FastCheck.boolean(),
        async (length, lineEnd, once) => {
          const text = (whole: string): string => whole.replaceAll("\r\n", lineEnd)
          const pieces = inPieces(text(secret), length)
          const content = once ? SmtpContent.once(pieces) : pieces
          const sent = await Effect.runPromise(
            Effect.flatMap(MailMessage.raw(content, { from: "", to: "a@example.net" }), octets)
          )
          expect(sent).toBe(text(open))
        }
      )
    ))

  it.effect("as a stream is known in size and octets before it is sent", () =>
    Effect.gen(function* () {
      const { content } = yield* MailMessage.raw(inPieces(secret.replace("net,\r\nF", "net\r\nF"), 7))
      expect(content).toMatchObject({
        _tag: "Streamed",
        size: open.length,
        content7bit: true,
        replayable: true
      })
      const international = yield* MailMessage.raw(inPieces(`${simple}ä\r\n`, 7))
      expect(international.content).toMatchObject({ size: utf8(simple).length + 4, content7bit: false })
      expect(international.parameters).toBeUndefined()
    })
  )

  it.effect("that can be run only once needs its envelope, and is run once", () =>
    Effect.gen(function* () {
      const content = SmtpContent.once(inPieces(simple, 10))
      expect(yield* Effect.flip(MailMessage.raw(content))).toMatchObject({
        _tag: "InvalidArgument",
        field: "content"
      })
      const submission = yield* MailMessage.raw(content, { from: "", to: "a@example.net" })
      expect(submission.content).toMatchObject({ replayable: false })
      expect(yield* octets(submission)).toBe(simple)
      const marked = SmtpContent.once(inPieces(`\uFEFFBcc: c@example.net\r\n${simple}`, 10))
      const unmarked = yield* MailMessage.raw(marked, { from: "", to: "a@example.net" })
      expect(yield* octets(unmarked)).toBe(simple)
      expect(yield* Effect.flip(octets(submission))).toMatchObject({
        _tag: "ContentError",
        reason: "UsedTwice"
      })
    })
  )

  it.effect("whose stream fails, or has no end of its header, fails before anything is sent", () =>
    Effect.gen(function* () {
      const failing = Stream.concat(inPieces(simple, 5), Stream.fail("broken" as const))
      expect(yield* Effect.flip(MailMessage.raw(failing))).toBe("broken")
      const endless = Stream.repeatValue(utf8(`X-Long: ${"x".repeat(60_000)}\r\n`))
      expect(yield* Effect.flip(MailMessage.raw(endless))).toMatchObject({
        _tag: "ContentError",
        reason: "TooLarge"
      })
    })
  )

  it.effect.each([1, 2, 3, 4, 1000])(
    "loses a byte order mark before its first field, in pieces of %d",
    (length) =>
      Effect.gen(function* () {
        const marked = `\uFEFF${secret}`
        const given = { from: "", to: "a@example.net" }
        const pieces = inPieces(marked, length)
        const replayable = yield* MailMessage.raw(pieces, given)
        expect(replayable.content).toMatchObject({ size: open.length, content7bit: true })
        expect(replayable.parameters).toBeUndefined()
        expect(yield* octets(replayable)).toBe(open)
        expect(yield* octets(yield* MailMessage.raw(SmtpContent.once(pieces), given))).toBe(open)
        expect(yield* octets(yield* MailMessage.raw(marked, given))).toBe(open)
        expect(yield* octets(yield* MailMessage.raw(utf8(`\uFEFF${simple}`)))).toBe(simple)
      })
  )

  it.effect.each(["\uFEFF", "\uFEFF\r\nFrom: a@example.com\r\n", "\u00EF", "\uFEFE"])(
    "keeps what is behind a byte order mark, and what is none: %#",
    (text) =>
      Effect.gen(function* () {
        const given = { from: "", to: "a@example.net", allowHeaderless: true }
        for (const content of [text, inPieces(text, 1), SmtpContent.once(inPieces(text, 2))]) {
          expect(yield* octets(yield* MailMessage.raw(content, given))).toBe(text.replace(/^\uFEFF/, ""))
        }
      })
  )

  it.effect("whose stream gives what is no octets is a ContentError", () =>
    Effect.gen(function* () {
      const content = Stream.make(untyped(simple))
      expect(yield* Effect.flip(MailMessage.raw(content))).toMatchObject({
        _tag: "ContentError",
        reason: "Failed"
      })
    })
  )

  it.effect("that is no content, or no UTF-8, is refused", () =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(MailMessage.raw("From: a@b\r\n\r\n\ud800"))).toMatchObject({
        field: "content"
      })
      expect(yield* Effect.flip(MailMessage.raw(untyped(42)))).toMatchObject({ field: "content" })
    })
  )
})

describe("the header of a raw message", () => {
  const given = { from: "app@example.com", to: "ann@example.net" }
  const headless: ReadonlyArray<readonly [string, string]> = [
    ["Hello, Ann.\r\nHow are you?\r\n", "does not begin with a header"],
    ["\r\nFrom: app@example.com\r\n\r\nHello.\r\n", "does not begin with a header"],
    [header("Subject: x", "To: ann@example.net"), "add it to the header"]
  ]

  it.effect.each(headless)("%#: without From it is refused before anything is sent", ([text, reason]) =>
    Effect.gen(function* () {
      for (const content of [text, utf8(text), inPieces(text, 3)]) {
        const error = yield* Effect.flip(MailMessage.raw(content, given))
        expect(error).toMatchObject({ _tag: "InvalidArgument", field: "From" })
        expect(error.message).toContain(reason)
        const { content: allowed } = yield* MailMessage.raw(content, { ...given, allowHeaderless: true })
        expect(yield* octets({ ...given, content: allowed })).toBe(text)
      }
    })
  )

  it.effect.each(headless)("%#: of a stream that can run only once, it is a ContentError", ([text, reason]) =>
    Effect.gen(function* () {
      const submission = yield* MailMessage.raw(SmtpContent.once(inPieces(text, 3)), given)
      const error = yield* Effect.flip(octets(submission))
      expect(error).toMatchObject({ _tag: "ContentError", reason: "Failed" })
      expect(error.message).toContain(reason)
    })
  )

  const dated = (id: string): string =>
    `Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <${id}@example.com>\r\n`

  it.effect("gets Date and Message-ID by an option, the same each time it is read", () =>
    Effect.gen(function* () {
      const secret = `Bcc: x@example.net\r\n${simple}`
      for (const content of [
        secret,
        utf8(secret),
        inPieces(secret, 3),
        SmtpContent.once(inPieces(secret, 3))
      ]) {
        const submission = yield* MailMessage.raw(content, { ...given, addMissing: true })
        const text = yield* octets(submission)
        const id = /^Message-ID: <([0-9a-f]{32})@/m.exec(text)?.[1] ?? "none"
        expect(text).toBe(dated(id) + simple)
        const again = yield* Effect.either(octets(submission))
        if (again._tag === "Right") expect(again.right).toBe(text)
      }
      const { content } = yield* MailMessage.raw(inPieces(secret, 3), { ...given, addMissing: true })
      expect(content).toMatchObject({ size: (dated("x".repeat(32)) + simple).length })
    })
  )

  it.effect("keeps the Date and the Message-ID that it has", () =>
    Effect.gen(function* () {
      const complete = header("date : x", "MESSAGE-ID: <y@z>", "From: app@example.com", "To: ann@example.net")
      expect((yield* MailMessage.raw(complete, { addMissing: true })).content).toBe(complete)
      const half = header("Message-ID: <y@z>", "From: app@example.com", "To: ann@example.net")
      const text = yield* octets(yield* MailMessage.raw(half, { addMissing: true }))
      expect(text).toBe(`Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n${half}`)
      expect((yield* MailMessage.raw(simple)).content).toBe(simple)
    })
  )
})

describe("SMTPUTF8 for a raw message (RFC 6531)", () => {
  const multipart = (partHeader: string, type = 'multipart/mixed; boundary="b"'): string =>
    header("From: app@example.com", "To: ann@example.net", `Content-Type: ${type}`) +
    `--b\r\n${partHeader}\r\n\r\nbody ä\r\n--b--\r\n`

  const needed = (content: string, options?: MailMessage.RawOptions) =>
    Effect.map(MailMessage.raw(content, options), ({ parameters }) => parameters)

  it.effect.each([
    ["a plain one", simple, false],
    ["8-bit text", `${simple}ä\r\n`, false],
    ["the header itself", header("From: a@example.com", "To: b@example.net", "Subject: ä"), true],
    ["an address", header("From: a@example.com", "To: jörg@example.net"), true],
    ["the header of a part", multipart("Content-Disposition: attachment; filename=ä.txt"), true],
    ["only the body of a part", multipart("Content-Type: text/plain; charset=utf-8"), false],
    ["what looks like a part", multipart("X: ä").replace('boundary="b"', "boundary=c"), false],
    ["a message in a part", multipart("Content-Type: message/rfc822\r\n\r\nSubject: ä"), true],
    [
      "an encoded message in a part",
      multipart("Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdA=="),
      false
    ],
    [
      "a part of a part",
      multipart(
        "Content-Type: multipart/alternative;\r\n boundary = inner\r\n\r\n--inner\r\nX-Foo: ä\r\n\r\n--inner--"
      ),
      true
    ],
    ["what comes behind the last delimiter", `${multipart("X: a")}--b\r\n`, false]
  ] as const)("%s", ([, content, wanted]) =>
    Effect.gen(function* () {
      const expected = wanted ? { smtputf8: true } : undefined
      expect(yield* needed(content)).toEqual(expected)
      const streamed = yield* MailMessage.raw(inPieces(content, 11))
      expect(streamed.parameters).toEqual(expected)
    })
  )

  it.effect.each([
    ["the header itself", header("From: a@example.com", "To: b@example.net", "Subject: ä")],
    ["the header of a part", multipart("Content-Disposition: attachment; filename=ä.txt")],
    ["a message in a part", multipart("Content-Type: message/rfc822\r\n\r\nSubject: ä")]
  ] as const)("is not requested for Latin-1: %s", ([, content]) =>
    Effect.gen(function* () {
      const octets = Buffer.from(content, "latin1")
      expect((yield* MailMessage.raw(octets)).parameters).toBeUndefined()
      const pieces = Array.from(octets, (octet) => Uint8Array.of(octet))
      expect((yield* MailMessage.raw(Stream.fromIterable(pieces))).parameters).toBeUndefined()
    })
  )

  it.effect("is added to what the program asks for, in either form, and never twice", () =>
    Effect.gen(function* () {
      const content = header("From: a@example.com", "To: jörg@example.net")
      expect(yield* needed(content, { parameters: { ret: "HDRS" } })).toEqual({ ret: "HDRS", smtputf8: true })
      expect(yield* needed(content, { parameters: ["RET=HDRS"] })).toEqual(["RET=HDRS", "SMTPUTF8"])
      expect(yield* needed(content, { parameters: ["smtputf8"] })).toEqual(["smtputf8"])
      expect(yield* needed(simple, { parameters: { ret: "FULL" } })).toEqual({ ret: "FULL" })
    })
  )
})
