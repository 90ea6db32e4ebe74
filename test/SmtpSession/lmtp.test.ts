import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpError from "../../src/SmtpError.js"
import type { Service } from "../../src/SmtpSession.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { listen } from "../support/listen.js"
import {
  ask,
  content,
  goodbye,
  greeting,
  message,
  octets,
  outcomes,
  silentEnd,
  submission,
  withSession
} from "./oneSession.js"

const lhlo = SmtpTest.script(
  SmtpTest.expect("LHLO client.test"),
  SmtpTest.reply("250-mx.test", "250-PIPELINING", "250 CHUNKING")
)

const withLmtp = <A, E>(
  pieces: ReadonlyArray<SmtpTest.Script>,
  use: (smtp: Service) => Effect.Effect<A, E, SmtpTest.Transport>
) => withSession(SmtpTest.script(greeting, lhlo, ...pieces), use, { dialect: "lmtp" })

const names = ["b", "c", "d"]
const to = names.map((name) => `${name}@y.test`)

const group = (...replies: ReadonlyArray<string>): SmtpTest.Script =>
  SmtpTest.script(
    SmtpTest.expectGroup("MAIL FROM:<a@x.test>", ...to.map((address) => `RCPT TO:<${address}>`), "DATA"),
    ...replies.map((reply) => SmtpTest.reply(reply))
  )

describe("an LMTP session (RFC 2033)", () => {
  it.effect("says LHLO, and again when the program asks", () =>
    Effect.gen(function* () {
      const replies = yield* withLmtp([lhlo, lhlo, goodbye], (smtp) => Effect.all([smtp.lhlo, smtp.ehlo]))
      expect(replies.map(({ code }) => code)).toEqual([250, 250])
    })
  )

  it.effect("says no HELO", () =>
    Effect.gen(function* () {
      const error = yield* withLmtp([goodbye], (smtp) => Effect.flip(smtp.helo))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "dialect" })
    })
  )

  it.effect("does not fall back to HELO", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(greeting, ask("LHLO client.test", "502 what?"), goodbye),
          () => Effect.void,
          { dialect: "lmtp" }
        )
      )
      expect(error).toMatchObject({ _tag: "HeloError", command: "LHLO", reply: { code: 502 } })
    })
  )

  it.scopedLive("runs over a UNIX socket", () =>
    Effect.gen(function* () {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), "lmtp-"))),
        (path) => Effect.sync(() => NodeFs.rmSync(path, { recursive: true }))
      )
      const path = NodePath.join(directory, "socket")
      const { server } = yield* listen(
        SmtpTest.script(
          greeting,
          lhlo,
          group("250 ok", "250 ok", "250 ok", "250 ok", "354 go"),
          content(message, "250 b"),
          SmtpTest.reply("250 c"),
          SmtpTest.reply("250 d"),
          goodbye
        ),
        { path }
      )
      const receipt = yield* server.verify(
        SmtpSession.make({ path, dialect: "lmtp", clientName: "client.test" }).pipe(
          Effect.flatMap((smtp) => smtp.send({ ...submission, to })),
          Effect.scoped,
          Effect.provide(NodeSmtp.layer)
        )
      )
      expect(receipt.accepted.map(({ reply }) => reply.text)).toEqual(["b", "c", "d"])
    })
  )
})

describe("the content of LMTP has one reply per accepted recipient (RFC 2033 section 4.2)", () => {
  it.effect("which is that recipient's outcome", () =>
    Effect.gen(function* () {
      const receipt = yield* withLmtp(
        [
          group("250 ok", "250 ok", "550 no", "250 ok", "354 go"),
          content(message, "250 2.0.0 stored"),
          SmtpTest.reply("452 4.2.2 mailbox full"),
          ask("RSET", "250 ok"),
          goodbye
        ],
        (smtp) => smtp.send({ ...submission, to })
      )
      expect(outcomes(receipt)).toEqual([
        "b@y.test Accepted 250",
        "c@y.test Refused 550 rcpt",
        "d@y.test Refused 452 final"
      ])
    })
  )

  it.effect("all of them refused is RecipientsRefused, each with its own", () =>
    Effect.gen(function* () {
      const error = yield* withLmtp(
        [
          group("250 ok", "250 ok", "250 ok", "250 ok", "354 go"),
          content(message, "452 full"),
          SmtpTest.reply("550 quota"),
          SmtpTest.reply("552 never"),
          ask("RSET", "250 ok"),
          goodbye
        ],
        (smtp) => Effect.flip(smtp.send({ ...submission, to }))
      )
      expect(error).toMatchObject({
        _tag: "RecipientsRefused",
        recipients: [{ reply: { code: 452 } }, { reply: { code: 550 } }, { reply: { code: 552 } }]
      })
    })
  )

  it.effect("a missing one leaves its recipient Unknown; the others keep theirs", () =>
    Effect.gen(function* () {
      const receipt = yield* withLmtp(
        [
          group("250 ok", "250 ok", "250 ok", "250 ok", "354 go"),
          content(message, "250 stored"),
          SmtpTest.reply("550 quota"),
          SmtpTest.close
        ],
        (smtp) => smtp.send({ ...submission, to })
      )
      expect(outcomes(receipt)).toEqual([
        "b@y.test Accepted 250",
        "c@y.test Refused 550 final",
        "d@y.test Unknown ServerDisconnected final"
      ])
    })
  )

  it.effect("and nothing is sent after 503 to DATA with nobody accepted but RSET", () =>
    Effect.gen(function* () {
      const receipt = yield* withLmtp(
        [group("250 ok", "550 no", "550 no", "550 no", "503 no recipients"), ask("RSET", "250 ok"), goodbye],
        (smtp) => smtp.deliver({ ...submission, to })
      )
      expect(receipt.refused).toHaveLength(3)
    })
  )

  it.effect(
    "and 354 with nobody accepted ends the session: how many replies a dot gets is anybody's guess",
    () =>
      Effect.gen(function* () {
        const receipt = yield* withLmtp(
          [group("250 ok", "550 no", "550 no", "550 no", "354 go"), silentEnd],
          (smtp) => smtp.deliver({ ...submission, to })
        )
        expect(receipt.refused).toHaveLength(3)
      })
  )

  it.effect('and `recipients: "all"` cannot be kept for several: InvalidArgument', () =>
    Effect.gen(function* () {
      const error = yield* withLmtp([goodbye], (smtp) =>
        Effect.flip(smtp.send({ ...submission, to, recipients: "all" }))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "recipients" })
    })
  )
})

describe("LMTP by hand", () => {
  const envelope = [
    ask("MAIL FROM:<a@x.test>", "250 ok"),
    ask("RCPT TO:<b@y.test>", "250 ok"),
    ask("RCPT TO:<nobody@y.test>", "550 no"),
    ask("RCPT TO:<c@y.test>", "250 ok")
  ]
  const openEnvelope = (smtp: Service) =>
    Effect.all([
      smtp.mail("a@x.test"),
      smtp.rcpt("b@y.test"),
      Effect.flip(smtp.rcpt("nobody@y.test")),
      smtp.rcpt("c@y.test")
    ])

  it.effect("gives a reply to DATA for each accepted recipient", () =>
    Effect.gen(function* () {
      const replies = yield* withLmtp(
        [
          ...envelope,
          ask("DATA", "354 go"),
          content(message, "250 b"),
          SmtpTest.reply("452 c"),
          ask("RSET", "250 ok"),
          goodbye
        ],
        (smtp) => Effect.zipRight(openEnvelope(smtp), smtp.data(message))
      )
      expect(replies.map(({ code, text }) => `${code} ${text}`)).toEqual(["250 b", "452 c"])
    })
  )

  it.effect("gives a reply to BDAT LAST for each accepted recipient", () =>
    Effect.gen(function* () {
      const replies = yield* withLmtp(
        [
          ...envelope,
          SmtpTest.expect("BDAT 4"),
          SmtpTest.expect(octets("a\r\nb")),
          SmtpTest.reply("250 4 octets"),
          SmtpTest.expect("BDAT 2 LAST"),
          SmtpTest.expect(octets("\r\n")),
          SmtpTest.reply("250 b"),
          SmtpTest.reply("250 c"),
          goodbye
        ],
        (smtp) =>
          Effect.gen(function* () {
            yield* openEnvelope(smtp)
            const chunk = yield* smtp.bdat(octets("a\r\nb"))
            return [...chunk, ...(yield* smtp.bdat(octets("\r\n"), { last: true }))]
          })
      )
      expect(replies.map(({ text }) => text)).toEqual(["4 octets", "b", "c"])
    })
  )

  it.effect("gives the replies that came when the rest are missing, and is Closed", () =>
    Effect.gen(function* () {
      const [replies, state] = yield* withLmtp(
        [...envelope, ask("DATA", "354 go"), content(message, "250 b"), SmtpTest.close],
        (smtp) => Effect.zipRight(openEnvelope(smtp), Effect.zip(smtp.data(message), smtp.state))
      )
      expect(replies.map(({ text }) => text)).toEqual(["b"])
      expect(state).toBe("Closed")
    })
  )

  it.effect("is in doubt, and no DataError, when one is refused and the other's reply is missing", () =>
    Effect.gen(function* () {
      const error = yield* withLmtp(
        [...envelope, ask("DATA", "354 go"), content(message, "452 b"), SmtpTest.close],
        (smtp) => Effect.zipRight(openEnvelope(smtp), Effect.flip(smtp.data(message)))
      )
      expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "final" })
      expect(SmtpError.isSmtpError(error) && SmtpError.delivery(error)).toBe("Unknown")
    })
  )
})
