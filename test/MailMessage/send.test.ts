/**
 * smtplib's own tests of `send_message`, and what goes beyond them, against npm's smtp-server.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import PostalMime from "postal-mime"
import { root } from "../../.ci/modules.js"
import * as MailMessage from "../../src/MailMessage.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import type { RunningSmtpServer, SmtpServerOptions } from "../support/smtpServer.js"
import { startSmtpServer } from "../support/smtpServer.js"

interface Meeting {
  readonly server: RunningSmtpServer
  readonly smtp: SmtpSession.Service
}

const meeting = (options: SmtpServerOptions = {}) =>
  Effect.gen(function* () {
    const server = yield* startSmtpServer(options)
    const smtp = yield* SmtpSession.make({ host: "127.0.0.1", port: server.port, tls: "none" }).pipe(
      Effect.provide(NodeSmtp.layer)
    )
    return { server, smtp }
  })

/** What the server has of the last message: the envelope, the content, and the content read by another parser. */
const arrived = ({ server }: Meeting) =>
  Effect.gen(function* () {
    const last = (yield* server.accepted).at(-1)
    const text = Buffer.from(last?.octets ?? []).toString("utf8")
    const { bodyType, mailFrom, rcptTo, smtpUtf8 } = last?.envelope ?? {}
    return {
      text,
      email: yield* Effect.promise(() => PostalMime.parse(text)),
      from: mailFrom === undefined || mailFrom === false ? undefined : mailFrom.address,
      to: rcptTo?.map(({ address }) => address),
      bodyType,
      smtpUtf8
    }
  })

const sendMessage = (met: Meeting, input: MailMessage.Input, options: MailMessage.RawOptions = {}) =>
  Effect.gen(function* () {
    const message = yield* MailMessage.make(input)
    const receipt = yield* met.smtp.send(yield* MailMessage.submission(message, options))
    expect(receipt.content?.changed).toBe(false)
    return { message, ...(yield* arrived(met)) }
  })

const from = "foo@bar.example"

describe("send_message", () => {
  it.scopedLive("delivers a message equal, with CRLF (testSendMessage)", () =>
    Effect.gen(function* () {
      const met = yield* meeting()
      const { email, text } = yield* sendMessage(met, {
        from,
        to: "John <john@example.net>",
        subject: "A test",
        text: "A test message\n.\n..and dots\n"
      })
      expect(email).toMatchObject({
        from: { address: from },
        to: [{ name: "John", address: "john@example.net" }],
        subject: "A test",
        text: "A test message\n.\n..and dots\n"
      })
      expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/)
    })
  )

  it.scopedLive("addresses To, Cc and Bcc, and never shows Bcc (testSendMessageWithAddresses)", () =>
    Effect.gen(function* () {
      const met = yield* meeting()
      const { message, text, to } = yield* sendMessage(met, {
        from,
        to: ["John <john@example.net>"],
        cc: ["Sally <sally@example.net>", "fred@example.net"],
        bcc: "John Root <root@example.net>"
      })
      expect(to).toEqual(["john@example.net", "sally@example.net", "fred@example.net", "root@example.net"])
      expect(text).not.toMatch(/bcc|root/i)
      expect(message.bcc).toEqual([{ name: "John Root", address: "root@example.net" }])
    })
  )

  it.scopedLive("does without Cc and Bcc (testSendMessageWithSomeAddresses)", () =>
    Effect.gen(function* () {
      const met = yield* meeting()
      const { to } = yield* sendMessage(met, {
        from,
        to: ["John <john@example.net>", "dinsdale@example.net"]
      })
      expect(to).toEqual(["john@example.net", "dinsdale@example.net"])
    })
  )

  it.scopedLive(
    "goes where it is told, whatever the fields say (testSendMessageWithSpecifiedAddresses)",
    () =>
      Effect.gen(function* () {
        const met = yield* meeting()
        const sent = yield* sendMessage(
          met,
          { from, to: ["John <john@example.net>"] },
          { from: "joe@example.com", to: "foo@example.net" }
        )
        expect([sent.from, sent.to]).toEqual(["joe@example.com", ["foo@example.net"]])
        expect(sent.text).toMatch(/^From: foo@bar\.example\r\n/)
      })
  )

  it.scopedLive("is from Sender where there are several authors (testSendMessageWithMultipleFrom)", () =>
    Effect.gen(function* () {
      const met = yield* meeting()
      const sent = yield* sendMessage(met, {
        from: ["Bianca <b@example.com>", "bernard@example.com"],
        sender: "the_rescuers@rescue.example",
        to: "John <john@example.net>"
      })
      expect(sent.from).toBe("the_rescuers@rescue.example")
      expect(sent.text).toContain("From: Bianca <b@example.com>, bernard@example.com\r\n")
    })
  )

  const eml = (...lines: ReadonlyArray<string>): string => `${lines.join("\r\n")}\r\n\r\nbody\r\n`

  it.scopedLive("of a message that was sent again is by its Resent- fields (testSendMessageResent)", () =>
    Effect.gen(function* () {
      const met = yield* meeting()
      const raw = eml(
        "Resent-Date: Thu, 1 Jan 1970 17:42:00 +0000",
        "Resent-From: holy@grail.example",
        "Resent-To: Martha <my_mom@great.cooker.example>, Jeff <jeff@example.net>",
        "Resent-Bcc: doe@losthope.example",
        "From: foo@bar.example",
        "To: John",
        "CC: Sally, Fred",
        "Bcc: John Root <root@localhost.example>, Dinsdale"
      )
      yield* met.smtp.send(yield* MailMessage.raw(raw))
      const sent = yield* arrived(met)
      expect([sent.from, sent.to]).toEqual([
        "holy@grail.example",
        ["my_mom@great.cooker.example", "jeff@example.net", "doe@losthope.example"]
      ])
      expect(sent.text).toBe(raw.replace(/^(?:Resent-)?Bcc: .*\r\n/gm, ""))
      const composed = yield* sendMessage(met, {
        from,
        to: "john@example.net",
        bcc: "root@example.net",
        resent: { from: "holy@grail.example", to: "my_mom@great.cooker.example", bcc: "doe@losthope.example" }
      })
      expect([composed.from, composed.to]).toEqual([
        "holy@grail.example",
        ["my_mom@great.cooker.example", "doe@losthope.example"]
      ])
      expect(composed.text).not.toMatch(/bcc|losthope|root/i)
    })
  )

  it.scopedLive(
    "of a message that was sent again twice is refused (testSendMessageMultipleResentRaises)",
    () =>
      Effect.gen(function* () {
        const met = yield* meeting()
        const raw = eml(
          "Resent-Date: Thu, 1 Jan 1970 17:42:00 +0000",
          "Resent-From: holy@grail.example",
          "Resent-To: my_mom@great.cooker.example",
          "Resent-Date: Thu, 2 Jan 1970 17:42:00 +0000",
          "Resent-To: holy@grail.example",
          "Resent-From: my_mom@great.cooker.example",
          "From: foo@bar.example",
          "To: john@example.net"
        )
        expect(yield* Effect.flip(MailMessage.raw(raw))).toMatchObject({
          _tag: "InvalidArgument",
          field: "Resent-Date"
        })
        expect(yield* met.server.accepted).toEqual([])
      })
  )

  it.scopedLive("leaves the program's options as they are (testSendMessageWithMailOptions)", () =>
    Effect.gen(function* () {
      const met = yield* meeting()
      const parameters: Array<string> = ["RET=HDRS"]
      const to = ["jörg@example.net"]
      yield* sendMessage(met, { from, to }, { parameters })
      yield* sendMessage(met, { from, to }, { parameters })
      expect(parameters).toEqual(["RET=HDRS"])
      expect(to).toEqual(["jörg@example.net"])
    })
  )

  it.scopedLive(
    "says SMTPUTF8 if an address needs it (test_send_message_uses_smtputf8_if_addrs_non_ascii)",
    () =>
      Effect.gen(function* () {
        const met = yield* meeting()
        const sent = yield* sendMessage(met, {
          from: "Páolo <főo@bar.example>",
          to: "Dinsdale <dinsdale@exämple.net>",
          subject: "Nudge nudge, wink, wink \u1f609",
          text: "Oh nő, ő!\n"
        })
        expect(sent).toMatchObject({ smtpUtf8: true, bodyType: "8bitmime", from: "főo@bar.example" })
        expect(sent.to).toEqual([expect.stringMatching(/^dinsdale@(?:exämple|xn--exmple-cua)\.net$/)])
        expect(sent.email).toMatchObject({
          from: { name: "Páolo", address: "főo@bar.example" },
          subject: "Nudge nudge, wink, wink \u1f609",
          text: "Oh nő, ő!\n"
        })
        const plain = yield* sendMessage(met, {
          from: "Páolo <foo@bar.example>",
          to: "d@exämple.net",
          text: "ő"
        })
        expect(plain).toMatchObject({ smtpUtf8: false, bodyType: "7bit" })
      })
  )

  it.scopedLive(
    "is refused if the server knows no SMTPUTF8 (test_send_message_error_on_non_ascii_addrs_if_no_smtputf8)",
    () =>
      Effect.gen(function* () {
        const met = yield* meeting({ server: { hideSMTPUTF8: true } })
        const needy: ReadonlyArray<MailMessage.Input> = [
          { from: "főo@bar.example", to: "ann@example.net" },
          { from, to: "főo@bar.example" },
          // Only the header names it.
          { from, to: "ann@example.net", replyTo: "főo@bar.example" }
        ]
        for (const input of needy) {
          expect(yield* Effect.flip(sendMessage(met, input))).toMatchObject({
            _tag: "NotSupported",
            extension: "SMTPUTF8"
          })
        }
        expect(yield* met.server.accepted).toEqual([])
      })
  )

  it.scopedLive(
    "keeps display names out of the envelope (test_name_field_not_included_in_envelop_addresses)",
    () =>
      Effect.gen(function* () {
        const met = yield* meeting()
        const sent = yield* sendMessage(met, {
          from: { name: "Michaël", address: "michael@example.com" },
          to: { name: "René", address: "rene@example.com" }
        })
        expect([sent.from, sent.to]).toEqual(["michael@example.com", ["rene@example.com"]])
      })
  )

  it.scopedLive("streams what is large, says 7-bit to a server without 8BITMIME, and can be repeated", () =>
    Effect.gen(function* () {
      const met = yield* meeting({ server: { hide8BITMIME: true } })
      const message = yield* MailMessage.make({ from, to: "ann@example.net", text: "Größe\n" })
      const rows = Stream.range(1, 300).pipe(Stream.map((row) => new Uint8Array(1000).fill(row)))
      const attachments = [MailMessage.streamed(rows, { filename: "rows.bin" })]
      const submission = yield* MailMessage.submission(message, { attachments })
      yield* met.smtp.send(submission)
      const first = yield* arrived(met)
      yield* met.smtp.send(submission)
      expect((yield* arrived(met)).text).toBe(first.text)
      const [attachment] = first.email.attachments
      const content = attachment?.content
      const sent = Buffer.concat([...(yield* Stream.runCollect(rows))])
      expect(content instanceof ArrayBuffer && sent.equals(Buffer.from(content))).toBe(true)
    })
  )

  it.scopedLive("goes to each recipient with a return path of its own (VERP)", () =>
    Effect.gen(function* () {
      const met = yield* meeting()
      const message = yield* MailMessage.make({ from, to: ["ann@example.net", "bob@example.net"], text: "x" })
      const each = yield* MailMessage.verp(yield* MailMessage.submission(message), {
        sender: "b@lists.example"
      })
      yield* Effect.forEach(each, (one) => met.smtp.send(one))
      const envelopes = (yield* met.server.accepted).map(({ envelope }) => envelope)
      expect(envelopes).toMatchObject([
        {
          mailFrom: { address: "b+ann=example.net@lists.example" },
          rcptTo: [{ address: "ann@example.net" }]
        },
        { mailFrom: { address: "b+bob=example.net@lists.example" }, rcptTo: [{ address: "bob@example.net" }] }
      ])
    })
  )
})

describe("an attachment of 256 MiB", () => {
  it("goes through a session in constant memory", { timeout: 300_000 }, async () => {
    const args = ["--expose-gc", "--import", "tsx", "test/MailMessage/largeAttachment.ts", "256"]
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root })
    expect(stdout.trim().split("\n").at(-1), stdout).toBe("constant")
  })
})
